/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One sentence for a person: what failed, on what, what to do. Set whenever a function that takes
 * it returns < 0. */
#ifndef BOOTWELL_ERROR_H
#define BOOTWELL_ERROR_H

#include <stdarg.h>
#include <stdio.h>

struct engine_error {
	char text[768];
};

/* Formats the sentence and returns `r`, for `return engine_fail(err, -EINVAL, "...")`. err may be
 * NULL. */
__attribute__((format(printf, 3, 4))) static inline int engine_fail(struct engine_error *err, int r,
								    const char *format, ...)
{
	va_list args;

	if (!err)
		return r;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return r;
}

#endif
