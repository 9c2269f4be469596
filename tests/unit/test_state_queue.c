/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A state with a queue: what is changed is true at once and in the file later, in that order and as the same rows; who
 * waits is told when it is there, or that it is not; while the file takes nothing, changes are refused.
 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/core/clock.h"
#include "daemon/state/state.h"

static char file[32];
static struct state *state;
static sqlite3 *other; /* another program */
static atomic_uint wakes;

static void on_wake(void *arg)
{
	(void)arg;
	wakes++;
}

static void open_queued(void)
{
	struct sentence error = {""};

	CU_ASSERT_EQUAL_FATAL(state_new_queued(&state, file, &error), 0);
	CU_ASSERT_EQUAL_FATAL(state_begin_queue(state, on_wake, NULL), 0);
}

static void begin(void)
{
	snprintf(file, sizeof(file), "/tmp/bootwell-q.XXXXXX");
	close(mkstemp(file));
	unlink(file);
	open_queued();
	CU_ASSERT_EQUAL_FATAL(sqlite3_open(file, &other), SQLITE_OK);
}

static void end(void)
{
	char command[128];

	state_free(state);
	sqlite3_close(other);
	snprintf(command, sizeof(command), "rm -f %s %s-wal %s-shm", file, file, file);
	CU_ASSERT_EQUAL(system(command), 0);
}

static void lock(bool on)
{
	CU_ASSERT_EQUAL_FATAL(sqlite3_exec(other, on ? "BEGIN IMMEDIATE" : "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
}

static int in_file(const char *sql)
{
	sqlite3_stmt *s = NULL;
	int n = -1;

	CU_ASSERT_EQUAL(sqlite3_prepare_v2(other, sql, -1, &s, NULL), SQLITE_OK);
	if (sqlite3_step(s) == SQLITE_ROW)
		n = sqlite3_column_int(s, 0);
	else
		printf("# %s: %s\n", sql, sqlite3_errmsg(other));
	sqlite3_finalize(s);
	return n;
}

static struct state_client client_of(unsigned int n)
{
	struct state_client c = {.keep = -1, .upload = -1, .mac = {2, 0, 0, 0, 0, (uint8_t)n}};

	snprintf(c.key, sizeof(c.key), "mac-%u", n);
	snprintf(c.name, sizeof(c.name), "PC%u's", n); /* with what SQL would have quoted */
	return c;
}

static int result;
static unsigned int told;

static void tell(void *arg, int r)
{
	(void)arg;
	result = r;
	told++;
}

static void wait_until_told(unsigned int n)
{
	uint64_t until = clock_monotonic_ns() + 20 * CLOCK_NS;

	while (told < n && clock_monotonic_ns() < until) {
		state_deliver(state);
		usleep(1000);
	}
	CU_ASSERT_EQUAL(told, n);
}

static void test_changes_are_true_at_once_and_in_the_file_in_order(void)
{
	struct state_client a, found;
	struct state_image image = {
		.name = "one", .generation = 1, .file = "one.raw", .format = "raw", .current = true};
	struct state_boot boot = {.image = "one", .generation = 1};

	begin();
	told = 0;
	for (unsigned int i = 1; i <= 20; i++) {
		a = client_of(i);
		CU_ASSERT_EQUAL(state_client_put(state, &a), 0);
		CU_ASSERT_EQUAL(a.id, i);
		if (i % 2)
			CU_ASSERT_EQUAL(state_client_remove(state, a.id), 0);
	}
	CU_ASSERT_EQUAL(state_client_by_key(state, "mac-20", &found), 1);
	CU_ASSERT_EQUAL(state_client_by_key(state, "mac-19", &found), 0);
	CU_ASSERT_EQUAL(state_image_put(state, &image), 0);
	boot.client = 20;
	CU_ASSERT_EQUAL(state_boot_put(state, &boot), 0);
	boot.ready_ns = 7;
	CU_ASSERT_EQUAL(state_boot_put(state, &boot), 0);
	state_when(state, state_position(state), tell, NULL);
	wait_until_told(1);
	CU_ASSERT_EQUAL(result, 0);
	CU_ASSERT(wakes > 0);
	CU_ASSERT_EQUAL(in_file("SELECT count(*) FROM client"), 10);
	CU_ASSERT_EQUAL(in_file("SELECT id FROM client WHERE name = 'PC20''s'"), 20);
	CU_ASSERT_EQUAL(in_file("SELECT ready_ns FROM boot WHERE client = 20"), 7);
	CU_ASSERT_EQUAL(in_file("SELECT count(*) FROM image WHERE current"), 1);
	/* Numbers go on where they were, also those of rows that are gone. */
	state_free(state);
	open_queued();
	a = client_of(21);
	CU_ASSERT_EQUAL(state_client_put(state, &a), 0);
	CU_ASSERT_EQUAL(a.id, 21);
	memset(&boot, 0, sizeof(boot));
	boot.client = 21;
	CU_ASSERT_EQUAL(state_boot_put(state, &boot), 0);
	CU_ASSERT_EQUAL(boot.id, 2);
	CU_ASSERT_TRUE(state_flush(state, 5 * CLOCK_NS));
	CU_ASSERT_EQUAL(in_file("SELECT client FROM boot WHERE id = 2"), 21);
	end();
}

static void test_a_transaction_is_whole_in_both(void)
{
	struct state_client a = client_of(1), b = client_of(2), found;

	begin();
	CU_ASSERT_EQUAL(state_begin(state), 0);
	CU_ASSERT_EQUAL(state_client_put(state, &a), 0);
	state_rollback(state);
	CU_ASSERT_EQUAL(state_client_by_key(state, "mac-1", &found), 0);
	CU_ASSERT_EQUAL(state_begin_lazy(state), 0);
	CU_ASSERT_EQUAL(state_client_put(state, &b), 0);
	CU_ASSERT_FALSE(state_is_durable(state, state_position(state)));
	CU_ASSERT_EQUAL(state_commit(state), 0);
	CU_ASSERT_TRUE(state_flush(state, 5 * CLOCK_NS));
	CU_ASSERT_TRUE(state_is_durable(state, state_position(state)));
	CU_ASSERT_EQUAL(in_file("SELECT count(*) FROM client"), 1);
	/* The name is taken: refused here, so it never gets there. */
	a = client_of(3);
	snprintf(a.name, sizeof(a.name), "%s", b.name);
	CU_ASSERT_EQUAL(state_client_put(state, &a), -EEXIST);
	end();
}

static int put_lease(struct state *disk, void *data)
{
	return state_lease_put(disk, data);
}

static struct state_lease *lease_of(uint32_t address)
{
	struct state_lease *lease = calloc(1, sizeof(*lease));

	lease->address = address;
	lease->state = STATE_LEASE_BOUND;
	return lease;
}

/* A job comes after what was changed before it, in one transaction with it, and fails with it. */
static void test_who_waits_is_told_what_became_of_it(void)
{
	struct state_client a = client_of(1), b = client_of(2);

	begin();
	told = 0;
	lock(true);
	CU_ASSERT_EQUAL(state_client_put(state, &a), 0);
	state_when(state, state_position(state), tell, NULL);
	state_job(state, put_lease, lease_of(7), tell, NULL);
	usleep(100000);
	state_deliver(state);
	CU_ASSERT_EQUAL(told, 0);
	wait_until_told(2);
	CU_ASSERT(result < 0);
	/* It does not take anything now: neither do we. */
	CU_ASSERT(state_client_put(state, &b) < 0);
	CU_ASSERT(strlen(state_error(state)) > 0);
	CU_ASSERT_EQUAL(state_client_by_key(state, "mac-2", &b), 0);
	lock(false);
	CU_ASSERT_FALSE(state_is_durable(state, state_position(state)));
	for (int i = 0; i < 1000 && !state_is_durable(state, state_position(state)); i++)
		usleep(10000);
	/* What was true stayed true, and is tried again. */
	CU_ASSERT_EQUAL(in_file("SELECT count(*) FROM client"), 1);
	b = client_of(2);
	CU_ASSERT_EQUAL(state_client_put(state, &b), 0);
	state_job(state, put_lease, lease_of(8), tell, NULL);
	wait_until_told(3);
	CU_ASSERT_EQUAL(result, 0);
	CU_ASSERT_EQUAL(in_file("SELECT count(*) FROM client"), 2);
	CU_ASSERT_EQUAL(in_file("SELECT count(*) FROM lease WHERE address = 8"), 1);
	end();
}

/* The end does not wait for a file that takes nothing, and everybody is told once. */
static void test_the_end_is_told(void)
{
	struct state_client a = client_of(1);
	uint64_t began;

	begin();
	told = 0;
	lock(true);
	CU_ASSERT_EQUAL(state_client_put(state, &a), 0);
	state_when(state, state_position(state), tell, NULL);
	state_job(state, put_lease, lease_of(7), tell, NULL);
	began = clock_monotonic_ns();
	CU_ASSERT_FALSE(state_settle(state, CLOCK_NS / 5));
	CU_ASSERT(clock_monotonic_ns() - began < 4 * CLOCK_NS);
	CU_ASSERT_EQUAL(told, 2);
	CU_ASSERT_EQUAL(result, -ECANCELED);
	state_when(state, state_position(state), tell, NULL);
	CU_ASSERT_EQUAL(told, 3);
	lock(false);
	end();
}

/* What was told is there after kill -9, and of the rest a beginning. */
static void test_what_was_told_survives(void)
{
	int pipefd[2], status;
	unsigned int last = 0;
	char byte;
	pid_t pid;

	begin();
	state_free(state);
	state = NULL;
	sqlite3_close(other);
	CU_ASSERT_EQUAL_FATAL(pipe(pipefd), 0);
	pid = fork();
	if (pid == 0) {
		open_queued();
		for (unsigned int i = 1; i < 200; i++) {
			struct state_client a = client_of(i);

			told = 0;
			if (state_client_put(state, &a))
				_exit(1);
			state_when(state, state_position(state), tell, NULL);
			while (!told) {
				state_deliver(state);
				usleep(100);
			}
			byte = (char)i;
			if (result || write(pipefd[1], &byte, 1) != 1)
				_exit(1);
		}
		pause();
		_exit(0);
	}
	close(pipefd[1]);
	while (last < 50 && read(pipefd[0], &byte, 1) == 1)
		last = (unsigned char)byte;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	while (read(pipefd[0], &byte, 1) == 1)
		last = (unsigned char)byte;
	close(pipefd[0]);
	CU_ASSERT_EQUAL_FATAL(sqlite3_open(file, &other), SQLITE_OK);
	CU_ASSERT(in_file("SELECT count(*) FROM client") >= (int)last);
	CU_ASSERT_EQUAL(in_file("SELECT count(*) FROM client"), in_file("SELECT max(id) FROM client"));
	end();
}

UNIT_MAIN(UNIT(test_changes_are_true_at_once_and_in_the_file_in_order), UNIT(test_a_transaction_is_whole_in_both),
	  UNIT(test_who_waits_is_told_what_became_of_it), UNIT(test_the_end_is_told), UNIT(test_what_was_told_survives))
