// SPDX-License-Identifier: GPL-2.0-or-later
#include "tcmu-handler/record.h"

#include <errno.h>
#include <string.h>

#include "tcmu-handler/bytes.h"
#include "tcmu-handler/crc32c.h"

#define SIZE  4096
#define MAGIC 0x43525742u /* "BWRC" */
#define ENTRY 16
#define FIRST 64

void record_encode(void *block, const struct record_head *head, const struct record_entry *entries)
{
	uint8_t *p = block;

	memset(p, 0, SIZE);
	put_le32(p, MAGIC);
	memcpy(p + 8, head->store, 16);
	put_le64(p + 24, head->epoch);
	put_le64(p + 32, head->segment);
	put_le64(p + 40, head->batch);
	put_le64(p + 48, head->durable);
	put_le16(p + 56, head->position);
	put_le16(p + 58, head->zeros);
	put_le16(p + 60, head->data);
	for (unsigned int i = 0; i < head->zeros + head->data; i++) {
		uint8_t *e = p + FIRST + i * ENTRY;

		put_le32(e, entries[i].block);
		put_le32(e + 4, i < head->zeros ? entries[i].count : entries[i].crc);
		e[8] = entries[i].mask;
	}
	put_le32(p + 4, crc32c_4k(p));
}

int record_decode(const void *block, const uint8_t store[16], struct record_head *ret,
		  struct record_entry *entries)
{
	const uint8_t *p = block;
	uint8_t copy[SIZE];

	if (le32_at(p) != MAGIC || memcmp(p + 8, store, 16))
		return -EINVAL;
	memcpy(copy, p, SIZE);
	put_le32(copy + 4, 0);
	if (crc32c_4k(copy) != le32_at(p + 4))
		return -EINVAL;
	memcpy(ret->store, p + 8, 16);
	ret->epoch = le64_at(p + 24);
	ret->segment = le64_at(p + 32);
	ret->batch = le64_at(p + 40);
	ret->durable = le64_at(p + 48);
	ret->position = le16_at(p + 56);
	ret->zeros = le16_at(p + 58);
	ret->data = le16_at(p + 60);
	if (ret->zeros + ret->data > RECORD_ENTRIES)
		return -EINVAL;
	for (unsigned int i = 0; entries && i < (unsigned int)ret->zeros + ret->data; i++) {
		const uint8_t *e = p + FIRST + i * ENTRY;

		memset(&entries[i], 0, sizeof(entries[i]));
		entries[i].block = le32_at(e);
		if (i < ret->zeros)
			entries[i].count = le32_at(e + 4);
		else
			entries[i].crc = le32_at(e + 4);
		entries[i].mask = e[8];
	}
	return 0;
}
