/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of PCs on the wire of a pair. What they may be is looked at by who takes them. */
#include "daemon/dhcp/peer_names.h"

#include <string.h>

#include "tcmu-handler/image/bytes.h"

size_t peer_names_write(const struct boot *boot, size_t *at, uint8_t *to, size_t room)
{
	struct boot_shared_name name;
	size_t length = 0;

	for (; boot_shared_name_at(boot, *at, &name); (*at)++) {
		size_t key = strlen(name.key), text = strlen(name.name);

		if (!key || !text)
			continue;
		if (length + key + text + 6 > room)
			return length;
		to[length++] = (uint8_t)key;
		memcpy(to + length, name.key, key);
		length += key;
		to[length++] = (uint8_t)text;
		memcpy(to + length, name.name, text);
		length += text;
		be32_put(to + length, name.named);
		length += 4;
	}
	*at = 0;
	return length;
}

/* A text with its length before it, into `to` of `size`; false: it is none. */
static bool read_text(const uint8_t **p, size_t *length, char *to, size_t size)
{
	size_t n = *length ? (*p)[0] : 0;

	if (!n || n >= size || *length - 1 < n || memchr(*p + 1, 0, n))
		return false;
	memcpy(to, *p + 1, n);
	to[n] = '\0';
	*p += n + 1;
	*length -= n + 1;
	return true;
}

void peer_names_read(struct boot *boot, const uint8_t *p, size_t length, bool primary)
{
	struct boot_shared_name name;

	while (read_text(&p, &length, name.key, sizeof(name.key)) &&
	       read_text(&p, &length, name.name, sizeof(name.name)) && length >= 4) {
		name.named = be32_at(p);
		p += 4;
		length -= 4;
		boot_shared_name_heard(boot, &name, primary);
	}
}
