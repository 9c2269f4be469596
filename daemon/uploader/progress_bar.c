// SPDX-License-Identifier: GPL-2.0-or-later
/* On a terminal the line is written over; elsewhere a new one is printed now and then (LOG_EVERY). */
#include "daemon/uploader/progress_bar.h"
#include "daemon/core/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WIDTH     30
#define LOG_EVERY 5000 /* ms between lines where there is no terminal */

static int64_t now_ms(void)
{
	return (int64_t)(clock_monotonic_ns() / 1000000);
}

void progress_bar_init(struct progress_bar *bar, FILE *to, bool quiet)
{
	memset(bar, 0, sizeof(*bar));
	bar->to = to;
	bar->quiet = quiet;
	/* The capture system's output goes to several terminals by a pipe. */
	bar->terminal = isatty(fileno(to)) || getenv("BOOTWELL_TERMINAL");
}

static void bytes_text(char *to, size_t size, uint64_t bytes)
{
	if (bytes < (uint64_t)10 << 20)
		snprintf(to, size, "%llu KiB", (unsigned long long)(bytes >> 10));
	else if (bytes < (uint64_t)10 << 30)
		snprintf(to, size, "%llu MiB", (unsigned long long)(bytes >> 20));
	else
		snprintf(to, size, "%llu.%llu GiB", (unsigned long long)(bytes >> 30),
			 (unsigned long long)((bytes >> 20 & 1023) * 10 / 1024));
}

void progress_bar_text(char *ret, size_t size, uint64_t done, uint64_t total, uint64_t rate, uint64_t left_s,
		       const char *note)
{
	/* Of nothing, all is done: who does not know the total yet shows no bar. */
	unsigned int percent = total ? (unsigned int)((double)done * 100 / (double)total) : 100;
	char bar[WIDTH + 1], a[32], b[32], c[32], left[32] = "";

	for (unsigned int i = 0; i < WIDTH; i++)
		bar[i] = i < percent * WIDTH / 100 ? '#' : '.';
	bar[WIDTH] = '\0';
	bytes_text(a, sizeof(a), done);
	bytes_text(b, sizeof(b), total);
	bytes_text(c, sizeof(c), rate);
	if (left_s != UINT64_MAX && left_s < 360000)
		snprintf(left, sizeof(left), "  %llu:%02llu left", (unsigned long long)(left_s / 60),
			 (unsigned long long)(left_s % 60));
	snprintf(ret, size, "[%s] %3u %%  %s of %s  %s/s%s%s%s", bar, percent, a, b, c, left, note ? "  " : "",
		 note ? note : "");
}

void progress_bar_line(struct progress_bar *bar, const char *text)
{
	int64_t now = now_ms();

	if (bar->quiet || (!bar->terminal && bar->shown && now - bar->last < LOG_EVERY))
		return;
	fprintf(bar->to, bar->terminal ? "\r%s\033[K" : "%s\n", text);
	fflush(bar->to);
	bar->last = now;
	bar->shown = true;
}

void progress_bar_upload(struct progress_bar *bar, const struct uploader_progress *p)
{
	char text[512], note[320] = "";

	if (!p->used && !p->finishing && !p->trouble)
		return;
	if (p->trouble)
		snprintf(note, sizeof(note), "waiting for %u s: %.250s", p->seconds_trouble, p->trouble);
	else if (p->finishing)
		snprintf(note, sizeof(note), "the server checks and syncs it");
	progress_bar_text(text, sizeof(text), p->done, p->used, p->rate, p->finishing ? UINT64_MAX : p->left_s,
			  note[0] ? note : NULL);
	progress_bar_line(bar, text);
}

void progress_bar_done(struct progress_bar *bar)
{
	if (!bar->quiet && bar->terminal && bar->shown)
		fputc('\n', bar->to);
}
