// SPDX-License-Identifier: GPL-2.0-or-later
/* Sentences for a person: formatting, and what a stranger's bytes may not do in them. */
#include "tcmu-handler/image/sentence.h"

#include <stdio.h>
#include <string.h>

#include "tcmu-handler/image/utf.h"

/* Bytes at the end of a cut text that are no whole character any more. */
static size_t cut_character(const char *text, size_t n)
{
	size_t i = n;

	while (i > 0 && n - i < 3 && ((unsigned char)text[i - 1] & 0xc0) == 0x80)
		i--;
	return i > 0 && (unsigned char)text[i - 1] >= 0xc0 ? n - i + 1 : 0;
}

void sentence_format(char *to, size_t size, const char *format, va_list args)
{
	char text[SENTENCE_MAX];
	int n = vsnprintf(text, sizeof(text), format, args);
	size_t length = strlen(text);

	if (n < 0)
		length = 0;
	else if ((size_t)n >= sizeof(text))
		length -= cut_character(text, length);
	utf8_escape(to, size, text, length);
}

void sentence_setv(struct sentence *s, const char *format, va_list args)
{
	if (s)
		sentence_format(s->text, sizeof(s->text), format, args);
}

void sentence_set(struct sentence *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	sentence_setv(s, format, args);
	va_end(args);
}

int sentence_fail(struct sentence *s, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	sentence_setv(s, format, args);
	va_end(args);
	return r;
}
