// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Addresses of [alert]. They go into headers of a mail and to libcurl, so what may stand in them is what such addresses
 * are made of, and no more: no blanks, no brackets, no control characters.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "daemon/config/value.h"

static bool all_of(const char *text, size_t n, const char *also)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr(also, text[i]))
			return false;
	return n > 0;
}

/* `n` bytes: NAME@HOST */
static bool is_mail(const char *text, size_t n)
{
	const char *at = memchr(text, '@', n);
	size_t name = at ? (size_t)(at - text) : 0;

	return at && n < 128 && all_of(text, name, "._+-=") && all_of(at + 1, n - name - 1, ".-");
}

const char *value_mail(const char *text, char *ret, size_t size)
{
	if (!is_mail(text, strlen(text)))
		return "is no mail address: NAME@HOST, of letters, digits and . _ + - =";
	return value_text(text, ret, size);
}

const char *value_mails(const char *text, char *ret, size_t size)
{
	size_t used = 0, n, count = 0;

	for (const char *at = text + strspn(text, ", \t"); *at; at += n + strspn(at + n, ", \t")) {
		n = strcspn(at, ", \t");
		if (!is_mail(at, n))
			return "has what is no mail address: NAME@HOST, of letters, digits and . _ + - =";
		if (used + n + 3 > size || ++count > 16)
			return "has too many addresses: 16 at most";
		used += (size_t)snprintf(ret + used, size - used, "%s%.*s", used ? ", " : "", (int)n, at);
	}
	return count ? NULL : "names no address";
}

/* HOST[:PORT], `n` bytes. */
static bool is_host(const char *text, size_t n)
{
	const char *colon = memchr(text, ':', n);
	size_t host = colon ? (size_t)(colon - text) : n, port = colon ? n - host - 1 : 1;

	if (!all_of(text, host, ".-") || (colon && !port) || port > 5)
		return false;
	for (size_t i = 0; colon && i < port; i++)
		if (!isdigit((unsigned char)colon[1 + i]))
			return false;
	return true;
}

const char *value_smtp(const char *text, char *ret, size_t size)
{
	size_t scheme = !strncmp(text, "smtp://", 7) ? 7 : !strncmp(text, "smtps://", 8) ? 8 : 0;

	if (!scheme || !is_host(text + scheme, strlen(text + scheme)))
		return "is no mail server: smtp://HOST:587, or smtps://HOST:465; user and password have keys of their "
		       "own";
	return value_text(text, ret, size);
}

const char *value_web(const char *text, char *ret, size_t size)
{
	size_t scheme = !strncmp(text, "http://", 7) ? 7 : !strncmp(text, "https://", 8) ? 8 : 0;
	const char *rest = text + scheme;

	if (!scheme || !is_host(rest, strcspn(rest, "/?")))
		return "is no address of a web server: https://HOST[:PORT]/PATH";
	for (const char *at = rest; *at; at++)
		if (*at <= 0x20 || *at > 0x7e || *at == '"')
			return "holds a character that has to be written as %XX in an address";
	return value_text(text, ret, size);
}
