// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include "tcmu-handler/image/internal.h"
int image_check(const struct image *img, image_report_fn report, void *arg)
{
	for (unsigned int i = 0; i < img->n_notes; i++)
		report(arg, img->notes[i].finding, img->notes[i].fix);
	return (int)img->n_notes;
}
