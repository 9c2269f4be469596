// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>
#include "daemon/image_convert.h"
int convert_target_from_name(const char *name, enum convert_target *ret)
{
	static const char *const names[] = {
		[CONVERT_RAW] = "raw",	 [CONVERT_VHD] = "vhd",		   [CONVERT_VHD_FIXED] = "vhd-fixed",
		[CONVERT_VMDK] = "vmdk", [CONVERT_VMDK_STREAM] = "vmdk-stream",
	};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum convert_target)i;
			return 0;
		}
	}
	return -EINVAL;
}
int convert_image(const struct image *img, const char *path, enum convert_target target, convert_progress_fn progress,
		  void *arg, struct image_error *err)
{
	(void)img; (void)target; (void)progress; (void)arg;
	return image_fail(err, -ENOTSUP, "%s: convert is being written", path);
}
int convert_foreign(const char *from, const char *foreign, const char *to_raw, convert_progress_fn progress, void *arg,
		    struct image_error *err)
{
	(void)foreign; (void)to_raw; (void)progress; (void)arg;
	return image_fail(err, -ENOTSUP, "%s: convert is being written", from);
}
const char *convert_foreign_format(const char *path)
{
	(void)path;
	return NULL;
}
