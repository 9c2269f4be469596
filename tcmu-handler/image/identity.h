/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an image is known by: the UUID or CID in its header, which a child names, and the fingerprint of its headers and
 * tables, which is noted when it is added. Whoever asks whether two images are one asks here. Which of several images
 * with one id a child means, is daemon/image/parent.h. Pure: no I/O.
 */
#ifndef BOOTWELL_IMAGE_IDENTITY_H
#define BOOTWELL_IMAGE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

/* Are both the id of one image? As image_open() writes them; an image without one ("") is no other image. */
bool image_id_same(const char *a, const char *b);
/* Can it be the image whose fingerprint was noted? 0: it was not noted, and it can. */
bool image_fingerprint_fits(uint64_t noted, uint64_t seen);

#endif
