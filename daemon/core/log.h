/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages for the administrator: one line, one sentence, on stderr with sd-daemon priority prefixes when the journal
 * listens, plain otherwise. Only callers that know client, file and offset log; libraries return errors.
 */
#ifndef BOOTWELL_LOG_H
#define BOOTWELL_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

void log_set_level(enum log_level level);
bool log_wanted(enum log_level level); /* for lines that cost something to make */
void log_message(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_message(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * The same for what a stranger on the network can provoke, which is each line of what a packet, a request or a PC's
 * boot leads to. Its kind is its format (a literal, the same one each time): of a kind at most `burst` lines in
 * LOG_WINDOW seconds, and of all kinds together LOG_WINDOW_LINES, of which notices and less may have LOG_WINDOW_QUIET.
 * What was left out is counted, and told by one line a kind when the window is over: by log_tick(), or before the next
 * one of its kind. Debug lines count only for their kind: whoever wants them has asked. Any thread.
 */
#define LOG_WINDOW       10 /* s */
#define LOG_WINDOW_LINES 100
#define LOG_WINDOW_QUIET 60
void log_limited(uint32_t burst, enum log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* To be called every few seconds. */
void log_tick(void);

#define LOG_LINE 1000 /* bytes of a message, with NUL */

struct log_entry {
	int64_t time; /* CLOCK_REALTIME, s */
	enum log_level level;
	char text[LOG_LINE];
};
/* The last messages at NOTICE or worse, newest first, for status; index 0..127; false past the last. */
bool log_recent(unsigned int index, struct log_entry *ret);
const char *log_level_name(enum log_level level); /* "error", "warning", ... */

#endif
