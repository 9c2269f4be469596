// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One function a kind of value. None knows of a file or a line: the sentence that it returns is put behind the value by
 * whoever asked.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/config/value.h"

const char *value_bool(const char *text, bool *ret)
{
	static const char *const yes[] = {"yes", "on", "true", "1"}, *const no[] = {"no", "off", "false", "0"};

	for (unsigned int i = 0; i < 4; i++) {
		if (!strcasecmp(text, yes[i])) {
			*ret = true;
			return NULL;
		}
		if (!strcasecmp(text, no[i])) {
			*ret = false;
			return NULL;
		}
	}
	return "is neither yes nor no";
}

/* Digits at the front of *text; moves *text behind them. */
static bool take_number(const char **text, uint64_t *ret)
{
	char *end;

	if (!isdigit((unsigned char)**text))
		return false;
	errno = 0;
	*ret = strtoull(*text, &end, 10);
	if (errno)
		return false;
	*text = end;
	return true;
}

const char *value_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	static _Thread_local char wrong[96];
	uint64_t n;

	if (!take_number(&text, &n) || *text || n < min || n > max) {
		snprintf(wrong, sizeof(wrong), "is not a number from %" PRIu64 " to %" PRIu64, min, max);
		return wrong;
	}
	*ret = n;
	return NULL;
}

const char *value_size(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGTP", wrong[] = "is not a size: write a number with K, M, G or T, such as 20G";
	unsigned int shift = 0;
	const char *unit;
	uint64_t n;

	if (!take_number(&text, &n))
		return wrong;
	while (*text == ' ')
		text++;
	unit = *text ? strchr(units, toupper((unsigned char)*text)) : NULL;
	if (unit) {
		shift = 10 * (unit - units + 1);
		text++;
		if (*text == 'i')
			text++;
		if (*text == 'B')
			text++;
	}
	if (*text || (n << shift) >> shift != n || n > UINT64_MAX >> shift)
		return wrong;
	*ret = n << shift;
	return NULL;
}

const char *value_duration(const char *text, uint32_t *ret)
{
	static const char wrong[] = "is not a time: write a number with s, m, h or d, such as 12h (at most 365d)";
	const uint64_t most = 365 * 86400;
	uint64_t total = 0, n;

	if (!*text)
		return wrong;
	while (*text) {
		uint64_t unit = 1;

		if (!take_number(&text, &n) || n > most)
			return wrong;
		switch (*text) {
		case 'd':
			unit *= 24; /* fall through */
		case 'h':
			unit *= 60; /* fall through */
		case 'm':
			unit *= 60; /* fall through */
		case 's':
			text++; /* fall through */
		case '\0':
			break;
		default:
			return wrong;
		}
		total += n * unit;
		if (total > most)
			return wrong;
	}
	*ret = total;
	return NULL;
}

const char *value_address(const char *text, uint32_t *ret)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1)
		return "is not an IPv4 address such as 192.168.1.10";
	*ret = ntohl(in.s_addr);
	return NULL;
}

/* The next word of a list with commas or blanks between; false at its end. */
static bool take_word(const char **text, char *word, size_t size, bool *too_long)
{
	size_t n;

	*text += strspn(*text, ", \t");
	n = strcspn(*text, ", \t");
	*too_long = n >= size;
	if (!n || *too_long)
		return false;
	memcpy(word, *text, n);
	word[n] = '\0';
	*text += n;
	return true;
}

const char *value_addresses(const char *text, struct config_addresses *ret)
{
	struct config_addresses list = {};
	char word[32];
	bool too_long;

	while (take_word(&text, word, sizeof(word), &too_long)) {
		if (list.count == CONFIG_ADDRESSES)
			return "has more than 8 addresses";
		if (value_address(word, &list.address[list.count++]))
			return "is not a list of IPv4 addresses such as 192.168.1.1, 192.168.1.2";
	}
	if (!list.count || too_long)
		return "is not a list of IPv4 addresses such as 192.168.1.1, 192.168.1.2";
	*ret = list;
	return NULL;
}

/* Blanks around the hyphen of a range would part it into words. */
static void join_hyphens(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (*from == '-') {
			while (to > text && to[-1] == ' ')
				to--;
			*to++ = '-';
			while (from[1] == ' ')
				from++;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

const char *value_ranges(const char *text, struct config_range *ret, unsigned int *ret_count)
{
	static const char wrong[] = "is not a range of addresses such as 192.168.1.101-192.168.1.254";
	struct config_range list[CONFIG_RANGES];
	char copy[1024], word[40];
	const char *at = copy;
	unsigned int n = 0;
	bool too_long;

	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy))
		return wrong;
	join_hyphens(copy);
	while (take_word(&at, word, sizeof(word), &too_long)) {
		char *hyphen = strchr(word, '-');

		if (n == CONFIG_RANGES)
			return "has more than 16 ranges";
		if (hyphen)
			*hyphen++ = '\0';
		if (value_address(word, &list[n].first) || value_address(hyphen ? hyphen : word, &list[n].last))
			return wrong;
		if (list[n].last < list[n].first)
			return "ends before it begins";
		n++;
	}
	if (!n || too_long)
		return wrong;
	memcpy(ret, list, n * sizeof(*list));
	*ret_count = n;
	return NULL;
}

const char *value_network(const char *text, uint32_t *ret_network, uint8_t *ret_prefix)
{
	static const char wrong[] = "is not a network such as 192.168.1.0/24";
	char address[32];
	const char *slash = strchr(text, '/');
	uint64_t prefix;
	uint32_t network;

	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return wrong;
	memcpy(address, text, slash - text);
	address[slash - text] = '\0';
	if (value_address(address, &network) || value_number(slash + 1, 8, 30, &prefix))
		return wrong;
	if (network & (0xffffffffu >> prefix))
		return "has bits set behind its prefix: the network of 192.168.1.7/24 is "
		       "192.168.1.0/24";
	*ret_network = network;
	*ret_prefix = prefix;
	return NULL;
}

const char *value_text(const char *text, char *ret, size_t size)
{
	size_t n = strlen(text);

	if (n >= 2 && text[0] == '"' && text[n - 1] == '"') {
		text++;
		n -= 2;
	}
	if (n >= size)
		return "is too long";
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return "has a control character in it";
	memcpy(ret, text, n);
	ret[n] = '\0';
	return NULL;
}

const char *value_path(const char *text, char *ret, size_t size)
{
	if (text[0] != '/')
		return "is not an absolute path: it must begin with /";
	if (strpbrk(text, " \t"))
		return "has a blank in it, which a path here cannot have";
	return value_text(text, ret, size);
}

static bool is_hash(const char *text)
{
	return !strncmp(text, "$7$", 3) || !strncmp(text, "$y$", 3) || !strncmp(text, "$gy$", 4);
}

const char *value_token(const char *text, char *ret, size_t size)
{
	char copy[256];
	const char *wrong = value_text(text, copy, sizeof(copy));

	if (wrong)
		return wrong;
	if (copy[0] == '$')
		return value_hash(text, ret, size);
	if (strlen(copy) < CONFIG_TOKEN_MIN)
		return "is shorter than 10 characters: whoever tries them all would find it; \"bootwell token\" makes "
		       "one";
	return value_text(text, ret, size);
}

const char *value_hash(const char *text, char *ret, size_t size)
{
	char copy[256];
	const char *wrong = value_text(text, copy, sizeof(copy));

	if (wrong)
		return wrong;
	if (!is_hash(copy) || strlen(copy) < 40)
		return "is no hash: \"bootwell token\" makes a token, and the hash of it that belongs here";
	return value_text(text, ret, size);
}

const char *value_beneath(const char *text, char *ret, size_t size)
{
	if (!*text || text[0] == '/')
		return "must be the name of a file beneath its folder, without a leading /";
	for (const char *at = text; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL)
		if (!strncmp(at, "..", 2) && (at[2] == '/' || !at[2]))
			return "must not lead out of its folder with ..";
	if (strchr(text, '\\'))
		return "has a backslash in it: write / between folders";
	return value_text(text, ret, size);
}

const char *value_name(const char *text, char *ret, size_t size)
{
	size_t n = strlen(text);

	if (!n || n >= size)
		return "must have 1 to 63 characters";
	if (!isalnum((unsigned char)text[0]))
		return "must begin with a letter or digit";
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("._-", text[i]))
			return "may only have letters, digits, dots, hyphens and underscores";
	memcpy(ret, text, n + 1);
	return NULL;
}

const char *value_host(const char *text, char ret[CONFIG_HOST_MAX])
{
	size_t n = strlen(text);
	bool letter = false;

	if (!n || n >= CONFIG_HOST_MAX)
		return "must have 1 to 15 characters, as a PC's name";
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)text[i]) && text[i] != '-')
			return "may only have letters, digits and hyphens, as a PC's name";
		letter |= !isdigit((unsigned char)text[i]);
	}
	if (text[0] == '-' || text[n - 1] == '-')
		return "must not begin or end with a hyphen, as a PC's name";
	if (!letter)
		return "must not be digits only, as a PC's name";
	memcpy(ret, text, n + 1);
	return NULL;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Pairs of hex digits, with or without one of `between` between the bytes. Returns bytes, or -1. */
static int hex_bytes(const char *text, const char *between, uint8_t *ret, size_t size)
{
	size_t n = 0;

	while (*text) {
		int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0 || n == size)
			return -1;
		ret[n++] = high << 4 | low;
		text += 2;
		if (*text && strchr(between, *text)) {
			text++;
			if (!*text)
				return -1;
		}
	}
	return n;
}

const char *value_mac(const char *text, uint8_t ret[6])
{
	uint8_t mac[6];

	if (hex_bytes(text, ":-", mac, sizeof(mac)) != 6)
		return "is not a MAC address such as 52:54:00:12:34:56";
	if (mac[0] & 1)
		return "is a group address: no network card has it";
	memcpy(ret, mac, 6);
	return NULL;
}

const char *value_uuid(const char *text, uint8_t ret[16])
{
	static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
	uint8_t uuid[16];

	if (hex_bytes(text, "-", uuid, sizeof(uuid)) != 16)
		return "is not a UUID such as 4c4c4544-0036-3510-8052-b4c04f4e3132";
	for (unsigned int i = 0; i < 16; i++)
		ret[i] = uuid[order[i]];
	return NULL;
}

const char *value_pattern(const char *text, char *ret, size_t size)
{
	static const char wrong[] = "must be a PC's name with one place for the number, such as PC%03u";
	const char *percent = strchr(text, '%'), *at;
	char example[64], host[CONFIG_HOST_MAX];

	if (!percent || strlen(text) >= size)
		return wrong;
	at = percent + 1;
	if (*at == '0')
		at++;
	if (*at >= '1' && *at <= '5')
		at++;
	if (*at != 'u' || strchr(at, '%'))
		return wrong;
	snprintf(example, sizeof(example), "%.*s00000%s", (int)(percent - text), text, at + 1);
	if (value_host(example, host))
		return "leaves no room for a number of five digits: at most 10 letters, digits and "
		       "hyphens beside it";
	snprintf(ret, size, "%s", text);
	return NULL;
}

const char *value_iqn(const char *text, char *ret, size_t size)
{
	static const char wrong[] = "is not the beginning of an iSCSI name such as iqn.2026-01.org.example";
	size_t n = strlen(text);

	if (n < 13 || n >= size || strncmp(text, "iqn.", 4) || text[8] != '-' || text[11] != '.')
		return wrong;
	for (unsigned int i = 4; i < 11; i++)
		if (i != 8 && !isdigit((unsigned char)text[i]))
			return wrong;
	for (size_t i = 12; i < n; i++)
		if (!islower((unsigned char)text[i]) && !isdigit((unsigned char)text[i]) && !strchr(".-:", text[i]))
			return wrong;
	memcpy(ret, text, n + 1);
	return NULL;
}

static int option_number(const char *text, uint8_t *data)
{
	static const char *const prefix[] = {"u8:", "u16:", "u32:"};
	static const uint64_t most[] = {UINT8_MAX, UINT16_MAX, UINT32_MAX};

	for (unsigned int i = 0; i < 3; i++) {
		unsigned int bytes = 1u << i;
		uint64_t n;

		if (strncmp(text, prefix[i], strlen(prefix[i])))
			continue;
		if (value_number(text + strlen(prefix[i]), 0, most[i], &n))
			return -1;
		for (unsigned int b = 0; b < bytes; b++)
			data[b] = n >> 8 * (bytes - 1 - b);
		return bytes;
	}
	return 0;
}

/* The value of option.N: hex:..., u8:5, addresses, "text" or text. Returns its length, or -1 and
 * *wrong. */
static int option_data(const char *text, uint8_t data[255], const char **wrong)
{
	struct config_addresses list;
	char string[256];
	int n;

	*wrong = "is not a value for an option: an address, text, \"text\", hex:0a0b, u8:5, "
		 "u16:500 or u32:70000";
	if (!strncmp(text, "hex:", 4)) {
		n = hex_bytes(text + 4, ": ", data, 255);
		return n > 0 ? n : -1;
	}
	n = option_number(text, data);
	if (n)
		return n;
	if (!value_addresses(text, &list)) {
		for (unsigned int i = 0; i < list.count; i++) {
			uint32_t be = htonl(list.address[i]);

			memcpy(data + 4 * i, &be, 4);
		}
		return 4 * list.count;
	}
	if (text[strspn(text, "0123456789")] == '\0') {
		*wrong = "is a bare number: write u8:N, u16:N or u32:N, or \"N\" when it is text";
		return -1;
	}
	if (value_text(text, string, sizeof(string)) || !string[0])
		return -1;
	memcpy(data, string, strlen(string));
	return strlen(string);
}

const char *value_option(const char *code, const char *text, struct config_options *list)
{
	/* What the server itself must say or only a client says. */
	static const uint8_t owned[] = {50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 61, 82, 97};
	struct config_option option = {};
	const char *wrong;
	uint64_t n;
	int length;

	if (value_number(code, 1, 254, &n))
		return "belongs to no option: the number after option. is 1 to 254";
	for (unsigned int i = 0; i < sizeof(owned); i++)
		if (owned[i] == n)
			return "is for an option that the server sets by itself";
	for (unsigned int i = 0; i < list->count; i++)
		if (list->option[i].code == n)
			return "is given a second time in this section";
	if (list->count == CONFIG_OPTIONS)
		return "is one option too many: 32 fit into a section";
	length = option_data(text, option.data, &wrong);
	if (length < 0)
		return wrong;
	option.code = n;
	option.length = length;
	list->option[list->count++] = option;
	return NULL;
}

/* Changes (insert, remove, replace, swap of neighbours) that make a of b. */
static unsigned int distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	unsigned int row[3][48];

	if (la >= 47 || lb >= 47)
		return 99;
	for (size_t j = 0; j <= lb; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= la; i++) {
		unsigned int *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
			unsigned int best = up[j - 1] + !same;

			if (up[j] + 1 < best)
				best = up[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
				best = up2[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[la % 3][lb];
}

const char *value_nearest(const char *word, const char *const *names)
{
	unsigned int best = strlen(word) <= 4 ? 2 : 3;
	const char *found = NULL;

	for (; *names; names++) {
		unsigned int d = distance(word, *names);

		if (d < best) {
			best = d;
			found = *names;
		}
	}
	return found;
}
