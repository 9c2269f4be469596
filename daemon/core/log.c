// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One line a message on stderr. When stderr is the journal ($JOURNAL_STREAM names it), a line
 * begins with its priority in sd-daemon's form; for a person's terminal it begins with a word for
 * what is worse than a notice. A line is written with one write(2), so lines of several threads do
 * not mix.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/clock.h"
#include "daemon/core/log.h"

#define LOG_RECENT 128
#define LOG_KINDS  256
#define LOG_TEXT   320 /* bytes of a line that was left out, with NUL */

static enum log_level log_max = LOG_LEVEL_INFO;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_entry recent[LOG_RECENT];
static unsigned int recent_next, recent_count;

/* What was left out in a window: how many, and the first of them. */
struct left_out {
	uint32_t count;
	enum log_level level;
	char text[LOG_TEXT];
};

static struct {
	pthread_mutex_t lock;
	uint64_t began; /* CLOCK_MONOTONIC, s, as below */
	uint32_t sent;
	struct kind {
		const char *format;
		uint64_t began;
		uint32_t sent, dropped;
		enum log_level level;
		char text[LOG_TEXT];
	} kind[LOG_KINDS];
} limits = {.lock = PTHREAD_MUTEX_INITIALIZER};

void log_set_level(enum log_level level)
{
	log_max = level;
}

/* stderr is the journal's stream when its device and inode are those that systemd wrote down for
 * us. */
static bool to_journal(void)
{
	static int known = -1;
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (known < 0)
		known = stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) &&
			st.st_dev == dev && st.st_ino == ino;
	return known;
}

static const char *prefix_of(enum log_level level, char buffer[4])
{
	if (to_journal()) {
		snprintf(buffer, 4, "<%c>", '0' + (int)level);
		return buffer;
	}
	if (level <= LOG_LEVEL_ERROR)
		return "error: ";
	if (level == LOG_LEVEL_WARNING)
		return "warning: ";
	return "";
}

static void remember(enum log_level level, const char *text)
{
	struct log_entry *entry;

	pthread_mutex_lock(&log_lock);
	entry = &recent[recent_next];
	entry->time = time(NULL);
	entry->level = level;
	snprintf(entry->text, sizeof(entry->text), "%s", text);
	recent_next = (recent_next + 1) % LOG_RECENT;
	if (recent_count < LOG_RECENT)
		recent_count++;
	pthread_mutex_unlock(&log_lock);
}

/* What comes from the network must not write lines of its own, nor escape sequences to a terminal.
 */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

static void log_write(enum log_level level, const char *format, va_list args)
{
	char text[LOG_LINE], line[LOG_LINE + 32], prefix[4];
	int n;

	vsnprintf(text, sizeof(text), format, args);
	make_printable(text);
	n = snprintf(line, sizeof(line), "%s%s\n", prefix_of(level, prefix), text);
	if (n > 0 && write(STDERR_FILENO, line, n) < 0) {
		/* nowhere left to say it */
	}
	if (level <= LOG_LEVEL_NOTICE)
		remember(level, text);
}

bool log_wanted(enum log_level level)
{
	return level <= log_max;
}

void log_message(enum log_level level, const char *format, ...)
{
	va_list args;

	if (level > log_max)
		return;
	va_start(args, format);
	log_write(level, format, args);
	va_end(args);
}

/* --- what strangers cause ----------------------------------------------------------------------------------------- */

/* A kind's place is found by its format's address. There are fewer of them in the sources than places here. */
static struct kind *kind_of(const char *format)
{
	size_t at = ((uintptr_t)format / 8) % LOG_KINDS;

	for (size_t i = 0; i < LOG_KINDS; i++) {
		struct kind *kind = &limits.kind[(at + i) % LOG_KINDS];

		if (!kind->format)
			kind->format = format;
		if (kind->format == format)
			return kind;
	}
	return NULL;
}

/* A window that is over; what was left out in it goes to `ret`, to be told without the lock. */
static bool next_window(struct kind *kind, uint64_t now, struct left_out *ret)
{
	bool tell = kind->dropped > 0;

	if (now - kind->began < LOG_WINDOW)
		return false;
	ret->count = kind->dropped;
	ret->level = kind->level;
	memcpy(ret->text, kind->text, sizeof(ret->text));
	kind->began = now;
	kind->sent = kind->dropped = 0;
	return tell;
}

static void tell_left_out(const struct left_out *out)
{
	log_message(out->level, "%u more like it in %u s: %s", out->count, LOG_WINDOW, out->text);
}

/* Of all kinds together: may one more be written? Warnings have some to themselves. */
static bool take_line(enum log_level level, uint64_t now)
{
	if (level >= LOG_LEVEL_DEBUG)
		return true;
	if (now - limits.began >= LOG_WINDOW) {
		limits.began = now;
		limits.sent = 0;
	}
	if (limits.sent >= (level >= LOG_LEVEL_NOTICE ? LOG_WINDOW_QUIET : LOG_WINDOW_LINES))
		return false;
	limits.sent++;
	return true;
}

void log_limited(uint32_t burst, enum log_level level, const char *format, ...)
{
	struct left_out out;
	struct kind *kind;
	uint64_t now;
	bool tell = false, write;
	va_list args;

	if (level > log_max)
		return;
	pthread_mutex_lock(&limits.lock);
	now = clock_monotonic_ns() / 1000000000 + LOG_WINDOW;
	kind = kind_of(format);
	if (kind)
		tell = next_window(kind, now, &out);
	write = (!kind || kind->sent < burst) && take_line(level, now);
	if (kind && write)
		kind->sent++;
	if (kind && !write && !kind->dropped++) {
		kind->level = level;
		va_start(args, format);
		vsnprintf(kind->text, sizeof(kind->text), format, args);
		va_end(args);
	}
	pthread_mutex_unlock(&limits.lock);
	if (tell)
		tell_left_out(&out);
	if (!write)
		return;
	va_start(args, format);
	log_write(level, format, args);
	va_end(args);
}

void log_tick(void)
{
	struct left_out out;

	for (size_t i = 0; i < LOG_KINDS; i++) {
		struct kind *kind = &limits.kind[i];
		bool tell;

		pthread_mutex_lock(&limits.lock);
		tell = kind->dropped && next_window(kind, clock_monotonic_ns() / 1000000000 + LOG_WINDOW, &out);
		pthread_mutex_unlock(&limits.lock);
		if (tell)
			tell_left_out(&out);
	}
}

bool log_recent(unsigned int index, struct log_entry *ret)
{
	bool found;

	pthread_mutex_lock(&log_lock);
	found = index < recent_count;
	if (found)
		*ret = recent[(recent_next + LOG_RECENT - 1 - index) % LOG_RECENT];
	pthread_mutex_unlock(&log_lock);
	return found;
}

const char *log_level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error";
	case LOG_LEVEL_WARNING:
		return "warning";
	case LOG_LEVEL_NOTICE:
		return "notice";
	case LOG_LEVEL_INFO:
		return "info";
	default:
		return "debug";
	}
}
