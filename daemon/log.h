/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages for the administrator: one line, one sentence, on stderr with sd-daemon priority prefixes when the journal
 * listens, plain otherwise. Only callers that know client, file and offset log; libraries return errors.
 */
#ifndef BOOTWELL_LOG_H
#define BOOTWELL_LOG_H

#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

void log_set_level(enum log_level level);
void log_message(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)	 log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_message(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)	 log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * The same for what a stranger on the network can provoke: at most `burst` lines in ten seconds for each place in the
 * code; the next line after a gap says how many were left out.
 */
struct log_limit {
	uint64_t window_start; /* s */
	uint32_t sent, dropped;
};
void log_limited(struct log_limit *limit, uint32_t burst, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* The last lines at WARNING or worse, newest first, for status; index 0..31; NULL past the last. */
const char *log_recent(unsigned int index);

#endif
