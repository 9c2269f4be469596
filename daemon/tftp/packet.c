/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A request is a row of strings, each ended by a NUL. An option that cannot be read or is out of bounds is left out of
 * the OACK, as RFC 2347 wants it; only a request without name or mode is no request.
 */
#include "daemon/tftp/packet.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tcmu-handler/image/bytes.h"

/* The next string of a request; NULL if it does not end within it. */
static const char *next_string(const char **at, const char *end)
{
	const char *begin = *at, *nul = begin < end ? memchr(begin, '\0', (size_t)(end - begin)) : NULL;

	if (!nul)
		return NULL;
	*at = nul + 1;
	return begin;
}

int tftp_name_clean(char *name)
{
	char *from = name;

	for (char *p = name; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 127)
			return -EBADMSG;
		if (*p == '\\')
			*p = '/';
	}
	while (*from == '/')
		from++;
	if (!*from)
		return -EBADMSG;
	memmove(name, from, strlen(from) + 1);
	return 0;
}

/* A decimal number in full, within the limits. */
static bool number(const char *text, uint32_t min, uint32_t max, uint32_t *ret)
{
	uint64_t n = 0;

	if (!*text || strlen(text) > 10)
		return false;
	for (; *text; text++) {
		if (!isdigit((unsigned char)*text))
			return false;
		n = n * 10 + (uint64_t)(*text - '0');
	}
	if (n < min || n > max)
		return false;
	*ret = (uint32_t)n;
	return true;
}

static void take_option(struct tftp_request *request, const char *name, const char *value)
{
	uint32_t n;

	if (!strcasecmp(name, "blksize") && !request->has_blksize)
		request->has_blksize = number(value, TFTP_BLKSIZE_MIN, TFTP_BLKSIZE_MAX, &request->blksize);
	else if (!strcasecmp(name, "windowsize") && !request->has_windowsize)
		request->has_windowsize = number(value, 1, 65535, &request->windowsize);
	else if (!strcasecmp(name, "tsize"))
		request->has_tsize = true; /* the value of a read request is 0; some send other things */
	else if (!strcasecmp(name, "timeout") && !request->has_timeout && number(value, 1, 255, &n)) {
		request->has_timeout = true;
		request->timeout = (uint8_t)n;
	}
}

int tftp_request_parse(struct tftp_request *request, const void *data, size_t length)
{
	const char *at = (const char *)data + 2, *end = (const char *)data + length, *name, *mode, *option, *value;
	uint16_t opcode;

	if (length < 4 || length > TFTP_REQUEST_MAX)
		return -EBADMSG;
	opcode = be16_at(data);
	if (opcode != TFTP_RRQ && opcode != TFTP_WRQ)
		return -EBADMSG;
	memset(request, 0, sizeof(*request));
	request->write = opcode == TFTP_WRQ;
	name = next_string(&at, end);
	mode = name ? next_string(&at, end) : NULL;
	if (!mode || strlen(name) >= sizeof(request->name))
		return -EBADMSG;
	memcpy(request->name, name, strlen(name) + 1);
	if (tftp_name_clean(request->name) < 0)
		return -EBADMSG;
	request->netascii = !strcasecmp(mode, "netascii");
	if (!request->netascii && strcasecmp(mode, "octet"))
		return -EOPNOTSUPP;
	/* Some firmware pads its request: what is no pair of strings any more ends the list. */
	while ((option = next_string(&at, end)) && (value = next_string(&at, end)))
		take_option(request, option, value);
	return 0;
}

static uint32_t lower(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

void tftp_options_grant(struct tftp_options *options, const struct tftp_request *request, uint32_t blksize_max,
			uint32_t windowsize_max, uint64_t size)
{
	memset(options, 0, sizeof(*options));
	options->blksize = request->has_blksize;
	options->blksize_value = request->has_blksize ? lower(request->blksize, blksize_max) : TFTP_BLKSIZE;
	options->windowsize = request->has_windowsize;
	options->windowsize_value = request->has_windowsize ? lower(request->windowsize, windowsize_max) : 1;
	options->timeout = request->has_timeout;
	options->timeout_value = request->timeout;
	options->tsize = request->has_tsize;
	options->tsize_value = size;
}

static size_t put_option(uint8_t *to, const char *name, uint64_t value)
{
	size_t n = strlen(name) + 1;

	memcpy(to, name, n);
	return n + (size_t)snprintf((char *)to + n, 21, "%llu", (unsigned long long)value) + 1;
}

size_t tftp_oack_write(void *to, const struct tftp_options *options)
{
	uint8_t *p = to;
	size_t n = 2;

	be16_put(p, TFTP_OACK);
	if (options->blksize)
		n += put_option(p + n, "blksize", options->blksize_value);
	if (options->tsize)
		n += put_option(p + n, "tsize", options->tsize_value);
	if (options->timeout)
		n += put_option(p + n, "timeout", options->timeout_value);
	if (options->windowsize)
		n += put_option(p + n, "windowsize", options->windowsize_value);
	return n;
}

size_t tftp_error_write(void *to, size_t size, enum tftp_error code, const char *text)
{
	uint8_t *p = to;
	size_t n = strlen(text);

	n = n > size - 5 ? size - 5 : n;
	be16_put(p, TFTP_ERROR);
	be16_put(p + 2, (uint16_t)code);
	memcpy(p + 4, text, n);
	p[4 + n] = '\0';
	return n + 5;
}

void tftp_data_write(void *to, uint16_t block)
{
	be16_put(to, TFTP_DATA);
	be16_put((uint8_t *)to + 2, block);
}

int tftp_answer_parse(struct tftp_answer *answer, const void *data, size_t length)
{
	const uint8_t *p = data;
	uint16_t opcode;

	if (length < 4)
		return -EBADMSG;
	opcode = be16_at(p);
	if (opcode != TFTP_ACK && opcode != TFTP_ERROR)
		return -EBADMSG;
	answer->opcode = (enum tftp_opcode)opcode;
	answer->block = answer->code = be16_at(p + 2);
	return 0;
}

size_t tftp_netascii(void *to, size_t size, const void *from, size_t length)
{
	const uint8_t *in = from;
	uint8_t *out = to;
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		if (in[i] == '\n') {
			if (n < size)
				out[n] = '\r';
			n++;
		}
		if (n < size)
			out[n] = in[i];
		n++;
		if (in[i] == '\r') {
			if (n < size)
				out[n] = '\0';
			n++;
		}
	}
	return n;
}
