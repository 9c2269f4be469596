// SPDX-License-Identifier: GPL-2.0-or-later
/* Text that strangers wrote, as UTF-8 that can be shown: what is no character is told byte by byte. */
#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/image/utf.h"

/* Bytes written, 0 if it does not fit with a NUL behind it. */
static size_t put_utf8(char *to, size_t room, uint32_t c)
{
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

	if (room <= n)
		return 0;
	if (n == 1) {
		to[0] = c < 0x20 || c == 0x7f ? '?' : (char)c;
		return 1;
	}
	for (size_t i = n - 1; i > 0; i--) {
		to[i] = (char)(0x80 | (c & 0x3f));
		c >>= 6;
	}
	to[0] = (char)(lead[n] | c);
	return n;
}

void utf8_from_utf16(char *to, size_t size, const uint8_t *from, size_t length, bool big_endian)
{
	size_t out = 0;

	for (size_t i = 0; i + 1 < length; i += 2) {
		uint32_t c = big_endian ? be16_at(from + i) : le16_at(from + i);
		size_t n;

		if (c == 0)
			break;
		if (c >= 0xd800 && c < 0xdc00 && i + 3 < length) {
			uint32_t low = big_endian ? be16_at(from + i + 2) : le16_at(from + i + 2);

			if (low >= 0xdc00 && low < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
				i += 2;
			}
		}
		if ((c >= 0xd800 && c < 0xe000) || (c >= 0x80 && c < 0xa0))
			c = '?';
		n = put_utf8(to + out, size - out, c);
		if (!n)
			break;
		out += n;
	}
	to[out] = '\0';
}

/* The character at p and its length; 0 if the bytes are not UTF-8. */
static size_t get_utf8(const uint8_t *p, size_t left, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
	uint32_t c = n == 1 ? p[0] : n ? p[0] & (0x7fu >> n) : 0;

	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (n > 1 && (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)))
		return 0;
	*ret = c;
	return n;
}

void utf8_escape(char *to, size_t size, const char *from, size_t length)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *p = (const uint8_t *)from;
	size_t out = 0;

	for (size_t i = 0; i < length;) {
		uint32_t c;
		size_t used = get_utf8(p + i, length - i, &c), n;

		if (!used) {
			if (size - out < 5) /* never half of it */
				break;
			memcpy(to + out, (const char[]){'\\', 'x', hex[p[i] >> 4], hex[p[i] & 15]}, 4);
			out += 4;
			i++;
			continue;
		}
		n = put_utf8(to + out, size - out, c >= 0x80 && c < 0xa0 ? '?' : c);
		if (!n)
			break;
		out += n;
		i += used;
	}
	to[out] = '\0';
}
