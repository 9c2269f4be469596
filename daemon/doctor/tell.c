// SPDX-License-Identifier: GPL-2.0-or-later
/* How a finding is told to the caller, and counted. */
#include "daemon/doctor/doctor.h"

#include <stdarg.h>
#include <stdio.h>

/* What is told comes from the image in part: nothing that a terminal would obey. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

void doctor_tell(struct doctor *d, enum doctor_level level, const char *advice, const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	make_printable(text);
	d->result.bad += level == DOCTOR_BAD;
	d->result.doubts += level == DOCTOR_WARNING || level == DOCTOR_UNKNOWN;
	d->report(d->arg, level, text, advice);
}
