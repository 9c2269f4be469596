/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a stranger can make the log say: so much of a kind, so much in all, and how much was left out. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/log.h"

static time_t now = 1000; /* CLOCK_MONOTONIC, s */
static int lines_fd = -1;

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	(void)clock;
	*ret = (struct timespec){.tv_sec = __atomic_load_n(&now, __ATOMIC_RELAXED)};
	return 0;
}

/* What was written since the last call; static. */
static const char *said(void)
{
	static char text[1 << 20];
	ssize_t n = pread(lines_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	if (ftruncate(lines_fd, 0) || lseek(lines_fd, 0, SEEK_SET))
		abort();
	return text;
}

static unsigned int count(const char *text, const char *what)
{
	unsigned int n = 0;

	for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
		n++;
	return n;
}

/* Windows of the tests before are over. */
static void begin(void)
{
	if (lines_fd < 0) {
		unsetenv("JOURNAL_STREAM");
		lines_fd = memfd_create("lines", 0);
		if (lines_fd < 0 || dup2(lines_fd, STDERR_FILENO) < 0 || fcntl(STDERR_FILENO, F_SETFL, O_APPEND))
			abort();
	}
	now += 2 * LOG_WINDOW;
	log_tick();
	now += 2 * LOG_WINDOW;
	said();
}

static void ask_in_vain(unsigned int n)
{
	log_limited(10, LOG_LEVEL_WARNING, "client PC%u was refused", n);
}

static void test_log_of_a_kind_there_are_so_many(void)
{
	const char *text;

	begin();
	for (unsigned int i = 0; i < 3000; i++)
		ask_in_vain(i);
	text = said();
	CU_ASSERT_EQUAL(count(text, "\n"), 10);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "warning: client PC9 was refused\n"));
}

static void test_log_tells_how_many_more_when_the_window_is_over(void)
{
	const char *text;

	begin();
	for (unsigned int i = 0; i < 3000; i++)
		ask_in_vain(i);
	said();
	now += LOG_WINDOW - 1;
	log_tick();
	CU_ASSERT_STRING_EQUAL(said(), "");
	now += 1;
	log_tick();
	CU_ASSERT_STRING_EQUAL(said(), "warning: 2990 more like it in 10 s: client PC10 was refused\n");
	log_tick();
	CU_ASSERT_STRING_EQUAL(said(), "");
	/* Without a tick it is said before the next one. */
	for (unsigned int i = 0; i < 13; i++)
		ask_in_vain(i);
	said();
	now += LOG_WINDOW;
	ask_in_vain(77);
	text = said();
	CU_ASSERT_STRING_EQUAL(text, "warning: 3 more like it in 10 s: client PC10 was refused\n"
				     "warning: client PC77 was refused\n");
}

/* Twelve kinds; the formats are built, as there are not so many here. */
static char formats[12][32];

static void flood(enum log_level level)
{
	for (unsigned int i = 0; i < 12; i++)
		for (unsigned int k = 0; k < 1000; k++)
			log_limited(50, level, formats[i], k);
}

static void test_log_of_all_kinds_there_are_so_many(void)
{
	const char *text;

	for (unsigned int i = 0; i < 12; i++)
		snprintf(formats[i], sizeof(formats[i]), "kind %u: %%u", i);
	begin();
	flood(LOG_LEVEL_NOTICE);
	CU_ASSERT_EQUAL(count(said(), "\n"), LOG_WINDOW_QUIET);
	/* Warnings are not drowned in notices. */
	ask_in_vain(1);
	CU_ASSERT_STRING_EQUAL(said(), "warning: client PC1 was refused\n");
	flood(LOG_LEVEL_WARNING);
	CU_ASSERT_EQUAL(count(said(), "\n"), LOG_WINDOW_LINES - LOG_WINDOW_QUIET - 1);
	/* Then one line a kind says how many. */
	now += LOG_WINDOW;
	log_tick();
	text = said();
	CU_ASSERT_EQUAL(count(text, "\n"), 12);
	CU_ASSERT_EQUAL(count(text, " more like it in 10 s: kind "), 12);
	/* What is no stranger's doing is always said. */
	flood(LOG_LEVEL_WARNING);
	said();
	log_error("the disk is full");
	CU_ASSERT_STRING_EQUAL(said(), "error: the disk is full\n");
}

static void *flood_thread(void *arg)
{
	(void)arg;
	for (unsigned int i = 0; i < 10000; i++)
		ask_in_vain(i);
	return NULL;
}

static void test_log_is_limited_across_threads(void)
{
	pthread_t thread[4];

	begin();
	for (unsigned int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, flood_thread, NULL), 0);
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	CU_ASSERT_EQUAL(count(said(), "\n"), 10);
	now += LOG_WINDOW;
	log_tick();
	CU_ASSERT_PTR_NOT_NULL(strstr(said(), ": 39990 more like it"));
}

static void test_log_writes_no_line_that_a_packet_made(void)
{
	begin();
	log_limited(3, LOG_LEVEL_WARNING, "TFTP: somebody asks for %s", "a\nerror: b\x1b[31m");
	CU_ASSERT_STRING_EQUAL(said(), "warning: TFTP: somebody asks for a?error: b?[31m\n");
	for (unsigned int i = 0; i < 5; i++)
		log_limited(3, LOG_LEVEL_WARNING, "TFTP: again %s", "a\nb");
	said();
	now += LOG_WINDOW;
	log_tick();
	CU_ASSERT_STRING_EQUAL(said(), "warning: 2 more like it in 10 s: TFTP: again a?b\n");
}

UNIT_MAIN(UNIT(test_log_of_a_kind_there_are_so_many), UNIT(test_log_tells_how_many_more_when_the_window_is_over),
	  UNIT(test_log_of_all_kinds_there_are_so_many), UNIT(test_log_is_limited_across_threads),
	  UNIT(test_log_writes_no_line_that_a_packet_made))
