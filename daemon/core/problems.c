/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Those of the look before stand behind the new ones until problems_end(): so what is not new is not logged again. */
#include "daemon/core/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/log.h"

int problems_init(struct problems *problems, struct loop *loop, loop_timer_fn again, void *arg)
{
	memset(problems, 0, sizeof(*problems));
	problems->loop = loop;
	return loop_add_timer(loop, UINT64_MAX, again, arg, &problems->retry);
}

void problems_done(struct problems *problems)
{
	loop_source_free(problems->retry);
	problems->retry = NULL;
}

void problems_begin(struct problems *problems)
{
	problems->count = 0;
}

void problems_add(struct problems *problems, const char *format, ...)
{
	char text[PROBLEMS_TEXT];
	va_list args;
	bool known = false;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (unsigned int i = 0; i < PROBLEMS_MAX; i++)
		known |= !strcmp(problems->text[i], text);
	if (!known)
		log_error("%s", text);
	if (problems->count == PROBLEMS_MAX)
		return;
	memmove(problems->text[problems->count + 1], problems->text[problems->count],
		(PROBLEMS_MAX - problems->count - 1) * sizeof(problems->text[0]));
	memcpy(problems->text[problems->count++], text, sizeof(text));
}

void problems_end(struct problems *problems)
{
	for (unsigned int i = problems->count; i < PROBLEMS_MAX; i++)
		problems->text[i][0] = '\0';
	loop_timer_set(problems->retry, problems->count ? loop_now(problems->loop) + PROBLEMS_RETRY_NS : UINT64_MAX);
}

const char *problems_at(const struct problems *problems, unsigned int n)
{
	return n < problems->count ? problems->text[n] : NULL;
}
