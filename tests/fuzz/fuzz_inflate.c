// SPDX-License-Identifier: GPL-2.0-or-later
/* Bytes 0 and 1: the unit's length in sectors and the least of it; then zlib data. The unit is
 * filled, nothing past it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/inflate/inflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t length, least;
	uint8_t *unit;

	if (size < 2)
		return 0;
	length = ((size_t)data[0] + 1) * 512;
	least = (size_t)data[1] * 512 < length ? (size_t)data[1] * 512 : length;
	unit = malloc(length); /* exactly: ASan sees one byte too many */
	if (inflate_unit(unit, length, least, data + 2, size - 2) == 0 && unit[length - 1] == 1 && unit[0] == 2)
		memset(unit, 0, length); /* reads both ends: MSan and Valgrind see what was not filled */
	free(unit);
	return 0;
}
