/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prometheus text exposition format 0.0.4: a growing text. A family's values follow its header
 * without another family between. Text only; knows nothing of what it shows.
 */
#ifndef BOOTWELL_METRICS_TEXT_H
#define BOOTWELL_METRICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METRICS_LABELS 8 /* of one value, at most */

struct metrics_label {
	const char *name, *value;
};

/* Sees each value: its family's name, "" or "_sum" and the like, its labels, the number as text. */
typedef void (*metrics_see_fn)(void *arg, const char *name, const char *suffix, const struct metrics_label *label,
			       unsigned int labels, const char *value);

struct metrics_text {
	char *text; /* malloc()ed, NUL at its end; NULL: empty */
	size_t length, room;
	bool failed;        /* out of memory: the text is not to be used */
	const char *name;   /* of the family */
	metrics_see_fn see; /* NULL: nobody */
	void *see_arg;
};

void metrics_text_init(struct metrics_text *m);
void metrics_text_done(struct metrics_text *m);

/* `type`: counter, gauge, histogram. */
void metrics_family(struct metrics_text *m, const char *name, const char *type, const char *help);
/* Labels: name, value, name, value, NULL. */
void metrics_value(struct metrics_text *m, double value, ...) __attribute__((sentinel));
void metrics_count(struct metrics_text *m, uint64_t value, ...) __attribute__((sentinel));
/* A value of NAME_suffix, for histograms. */
void metrics_suffix(struct metrics_text *m, const char *suffix, double value, ...) __attribute__((sentinel));

#endif
