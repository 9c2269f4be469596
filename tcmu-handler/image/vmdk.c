// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include "tcmu-handler/image/internal.h"
int vmdk_open(struct image *img, const struct image_source *src, struct image_error *err)
{
	(void)src;
	return image_fail(err, -ENOTSUP, "%s: VMDK is being written", img->name);
}
