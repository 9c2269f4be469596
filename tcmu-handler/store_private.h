/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between store.c and store_space.c only; the store's lock is held, or nobody else knows the store
 * yet. */
#ifndef BOOTWELL_STORE_PRIVATE_H
#define BOOTWELL_STORE_PRIVATE_H

#include "tcmu-handler/store.h"

void store_segment_link(struct store *store, uint32_t segment,
			uint32_t place); /* into the place's list */
void store_free_push(struct store *store, uint32_t segment);

#endif
