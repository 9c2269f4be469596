// SPDX-License-Identifier: GPL-2.0-or-later
/* The files of the page are put into the program as they are, so that it needs none at run time. */
#include <string.h>

#include "daemon/control/page.h"

/* The files as they are, between two symbols each (the Makefile says that this object depends on them). */
#define PAGE_FILE(symbol, file)                                                                                        \
	__asm__(".section .rodata\n" #symbol ":\n.incbin \"daemon/control/page/" file "\"\n" #symbol                   \
		"_end:\n.previous\n");                                                                                 \
	extern const char symbol[] __attribute__((visibility("hidden")));                                              \
	extern const char symbol##_end[] __attribute__((visibility("hidden")))

PAGE_FILE(page_html, "index.html");
PAGE_FILE(page_css, "page.css");
PAGE_FILE(page_js, "page.js");
PAGE_FILE(page_operator, "operator.js");
PAGE_FILE(page_tools, "tools.js");

static const struct page_file files[] = {
	{"/", "text/html; charset=utf-8", page_html, page_html_end},
	{"/page.css", "text/css; charset=utf-8", page_css, page_css_end},
	{"/page.js", "text/javascript; charset=utf-8", page_js, page_js_end},
	{"/operator.js", "text/javascript; charset=utf-8", page_operator, page_operator_end},
	{"/tools.js", "text/javascript; charset=utf-8", page_tools, page_tools_end},
};

const struct page_file *page_find(const char *path)
{
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (!strcmp(files[i].path, path))
			return &files[i];
	return NULL;
}
