// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include "daemon/image_convert.h"
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
