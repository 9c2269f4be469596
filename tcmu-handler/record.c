// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Records to bytes and back: docs/store-format.md, "Segment". What is decoded is in bounds, whatever the block
 * holds.
 */
#include "tcmu-handler/record.h"

#include <errno.h>
#include <string.h>

#include "tcmu-handler/image/bytes.h"
#include "tcmu-handler/crc32c.h"

#define SIZE  4096
#define MAGIC 0x43525742u /* "BWRC" */
#define ENTRY 16
#define FIRST 64

void record_encode(void *block, const struct record_head *head, const struct record_entry *entries)
{
	uint8_t *p = block;

	memset(p, 0, SIZE);
	le32_put(p, MAGIC);
	memcpy(p + 8, head->store, 16);
	le64_put(p + 24, head->epoch);
	le64_put(p + 32, head->segment);
	le64_put(p + 40, head->batch);
	le64_put(p + 48, head->durable);
	le16_put(p + 56, head->position);
	le16_put(p + 58, head->zeros);
	le16_put(p + 60, head->data);
	le16_put(p + 62, head->home);
	for (unsigned int i = 0; i < head->zeros + head->data; i++) {
		uint8_t *e = p + FIRST + i * ENTRY;

		le32_put(e, entries[i].block);
		le32_put(e + 4, i < head->zeros ? entries[i].count : entries[i].crc);
		e[8] = entries[i].mask;
	}
	le32_put(p + 4, crc32c_4k(p));
}

int record_decode(const void *block, const uint8_t store[16], struct record_head *ret, struct record_entry *entries)
{
	const uint8_t *p = block;
	uint8_t copy[SIZE];

	if (le32_at(p) != MAGIC || memcmp(p + 8, store, 16))
		return -EINVAL;
	memcpy(copy, p, SIZE);
	le32_put(copy + 4, 0);
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
	ret->home = le16_at(p + 62);
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
