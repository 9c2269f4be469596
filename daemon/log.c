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

#include "daemon/log.h"

#define LOG_RECENT 128

static enum log_level log_max = LOG_LEVEL_INFO;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_entry recent[LOG_RECENT];
static unsigned int recent_next, recent_count;

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
		known = stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
			!fstat(STDERR_FILENO, &st) && st.st_dev == dev && st.st_ino == ino;
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

void log_message(enum log_level level, const char *format, ...)
{
	va_list args;

	if (level > log_max)
		return;
	va_start(args, format);
	log_write(level, format, args);
	va_end(args);
}

void log_limited(struct log_limit *limit, uint32_t burst, enum log_level level, const char *format,
		 ...)
{
	uint64_t now = time(NULL);
	va_list args;

	if (level > log_max)
		return;
	if (now - limit->window_start >= 10) {
		if (limit->dropped)
			log_message(level,
				    "%u more messages of the kind that follows were left out",
				    limit->dropped);
		limit->window_start = now;
		limit->sent = limit->dropped = 0;
	}
	if (limit->sent >= burst) {
		limit->dropped++;
		return;
	}
	limit->sent++;
	va_start(args, format);
	log_write(level, format, args);
	va_end(args);
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
