/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What store.c uses of store_space.c besides store.h. */
#ifndef BOOTWELL_STORE_PRIVATE_H
#define BOOTWELL_STORE_PRIVATE_H

#include "tcmu-handler/store.h"

/* The lock is held, or nobody else knows the store yet. */
void store_segment_link(struct store *store, uint32_t segment, uint32_t place); /* into the place's list */
void store_free_push(struct store *store, uint32_t segment);

/* All segments of the place are free. */
void store_free_place(struct store *store, uint32_t place);

#endif
