// SPDX-License-Identifier: GPL-2.0-or-later
/* What an upload says when it fails, and the clock that its silences are measured by. */
#include <stdarg.h>
#include <stdio.h>

#include "daemon/core/clock.h"
#include "daemon/upload/private.h"

int upload_fail(struct upload_refusal *error, int code, const char *format, ...)
{
	va_list ap;

	if (!error)
		return code;
	va_start(ap, format);
	sentence_setv(&error->why, format, ap);
	va_end(ap);
	error->retry_after = 0;
	return code;
}

time_t upload_now(void)
{
	return (time_t)(clock_monotonic_ns() / CLOCK_NS) + 1; /* never 0 */
}
