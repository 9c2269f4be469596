/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One sentence for a person: what failed, on what (client, image, file:line, offset), what to do next. What fails with
 * -errno and may be seen by somebody takes a `struct sentence *` and sets it before it returns < 0; the caller that
 * knows who reads it logs it, prints it or sends it. The same everywhere: image reader, engine, daemon, command line.
 */
#ifndef BOOTWELL_SENTENCE_H
#define BOOTWELL_SENTENCE_H

#include <stdarg.h>
#include <stddef.h>

#define SENTENCE_MAX 768 /* bytes with the NUL; what is longer is cut */

struct sentence {
	char text[SENTENCE_MAX];
};

/*
 * Sets the sentence. Whatever was put into it comes out as UTF-8 that can be shown: a control character is '?', a byte
 * of a name in another encoding "\xe9". `s` may be NULL: nobody wants to know. sentence_fail() returns `r`, for `return
 * sentence_fail(why, -EINVAL, "...")`.
 */
int sentence_fail(struct sentence *s, int r, const char *format, ...) __attribute__((format(printf, 3, 4)));
void sentence_set(struct sentence *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sentence_setv(struct sentence *s, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

/* The same for a text that is kept elsewhere: at most `size` bytes with the NUL, and no more than SENTENCE_MAX. */
void sentence_format(char *to, size_t size, const char *format, va_list args) __attribute__((format(printf, 3, 0)));

#endif
