/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page that a browser gets: the files of daemon/control/page/, built into the program. */
#ifndef BOOTWELL_PAGE_H
#define BOOTWELL_PAGE_H

#include <stddef.h>

struct page_file {
	const char *path; /* "/page.css" */
	const char *type; /* Content-Type */
	const char *data, *end;
};

/* The file at the path of a request ("/" is the page itself); NULL: none. */
const struct page_file *page_find(const char *path);

#endif
