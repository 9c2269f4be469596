/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The clocks that are read here are always there (POSIX), so reading them cannot fail. */
#include "daemon/core/clock.h"

#include <stdio.h>
#include <string.h>
#include <sys/timex.h>

static uint64_t read_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * CLOCK_NS + (uint64_t)now.tv_nsec;
}

uint64_t clock_monotonic_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_boottime_ns(void)
{
	return read_ns(CLOCK_BOOTTIME);
}

uint64_t clock_realtime_ns(void)
{
	return read_ns(CLOCK_REALTIME);
}

int64_t clock_realtime_s(void)
{
	return (int64_t)(clock_realtime_ns() / CLOCK_NS);
}

bool clock_is_right(void)
{
	struct timex t = {0};

	return adjtimex(&t) != TIME_ERROR && !(t.status & STA_UNSYNC);
}

void clock_boot_id(uint8_t ret[16])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	char text[40] = "", hex[33] = "";
	unsigned int byte;
	size_t n = 0;

	memset(ret, 0, 16);
	if (!f)
		return;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	for (const char *p = text; *p && n < 32; p++)
		if (*p != '-' && *p != '\n')
			hex[n++] = *p;
	for (size_t i = 0; n == 32 && i < 16 && sscanf(hex + 2 * i, "%2x", &byte) == 1; i++)
		ret[i] = (uint8_t)byte;
}

struct timespec clock_deadline(uint64_t ns)
{
	uint64_t until = clock_monotonic_ns() + ns;

	return (struct timespec){.tv_sec = (time_t)(until / CLOCK_NS), .tv_nsec = (long)(until % CLOCK_NS)};
}
