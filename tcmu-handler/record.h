/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A record: the block of 4 KiB that stands before the data blocks of one batch in a segment and
 * says what they are. Pure codec; docs/store-format.md has the layout.
 */
#ifndef BOOTWELL_RECORD_H
#define BOOTWELL_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#define RECORD_ENTRIES 252

struct record_head {
	uint8_t store[16];
	uint64_t epoch;
	uint64_t segment;  /* sequence number of the segment */
	uint64_t batch;    /* number within the epoch, from 1 */
	uint64_t durable;  /* batches up to this one were durable (keep) or written (discard) */
	uint16_t position; /* block within the segment */
	uint16_t zeros, data;
	uint16_t home; /* record_home() of the segment it was written to; 0: by a version that did not say */
};

struct record_entry {
	uint32_t block;
	uint32_t count; /* of a zero entry */
	uint32_t crc;   /* of a data entry: CRC32C of the block */
	uint8_t mask;   /* of a data entry: the sectors that it has */
};

/* Tells a record that has come to lie in another segment than its own, as a misdirected write puts it. */
static inline uint16_t record_home(uint32_t segment)
{
	return (uint16_t)(segment % 65535 + 1);
}

/* `block` is 4096 bytes; entries: zeros first, then data. */
void record_encode(void *block, const struct record_head *head, const struct record_entry *entries);
/* -EINVAL: not a record of this store, or damaged. `entries` has room for RECORD_ENTRIES. */
int record_decode(const void *block, const uint8_t store[16], struct record_head *ret, struct record_entry *entries);

#endif
