// SPDX-License-Identifier: GPL-2.0-or-later
/* What a program in the sandbox can do, asked of a shell that is put there. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/image/sandbox.h"
#include "tests/unit/unit.h"

static char said[4096];

/* Runs the script with "source" as /in and an empty /out; returns the exit status, said is all that
 * it printed. */
static int run(const char *script, char *ret_out, size_t size)
{
	char in_name[] = "/tmp/bootwell-in.XXXXXX", out_name[] = "/tmp/bootwell-out.XXXXXX";
	char *argv[] = {(char *)"/usr/bin/sh", (char *)"-c", (char *)script, NULL};
	int in = mkstemp(in_name), out = mkstemp(out_name), pipes[2], status = -1;
	size_t n = 0;
	ssize_t r;
	pid_t pid;

	if (in < 0 || out < 0 || pipe2(pipes, O_CLOEXEC) < 0 || write(in, "source", 6) != 6)
		abort();
	pid = sandbox_start(
		&(struct sandbox){.in = in, .out = out, .out_text = pipes[1], .err_text = pipes[1], .argv = argv});
	close(pipes[1]);
	while ((r = read(pipes[0], said + n, sizeof(said) - 1 - n)) > 0)
		n += (size_t)r;
	said[n] = '\0';
	close(pipes[0]);
	waitpid(pid, &status, 0);
	if (ret_out) {
		r = pread(out, ret_out, size - 1, 0);
		ret_out[r > 0 ? r : 0] = '\0';
	}
	unlink(in_name);
	unlink(out_name);
	close(in);
	close(out);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const char *script, int status)
{
	int got = run(script, NULL, 0);

	if (got != status) {
		printf("# %s: status %d instead of %d: %s\n", script, got, status, said);
		CU_FAIL("another status");
	}
}

static void test_sandbox_reads_in_and_writes_out(void)
{
	char out[64];

	CU_ASSERT_EQUAL(run("cat /in >/out", out, sizeof(out)), 0);
	CU_ASSERT_STRING_EQUAL(out, "source");
}

static void test_sandbox_has_no_other_files(void)
{
	CU_ASSERT_EQUAL(run("ls /", NULL, 0), 0);
	CU_ASSERT_STRING_EQUAL(said, "bin\ndev\nin\nlib\nlib64\nout\nusr\n");
	expect("ls /dev", 0);
	CU_ASSERT_STRING_EQUAL(said, "null\n");
	expect("test -e /etc || test -e /proc || test -e /sys || test -e /tmp || test -e /home || "
	       "test -e /root",
	       1);
}

static void test_sandbox_writes_nowhere_else(void)
{
	expect("echo x >/in", 2);
	expect("echo x >/new", 2);
	expect("echo x >/usr/bootwell-test", 2);
	expect("ln -s /in /link", 1);
	expect("mkdir /new", 1);
}

static void test_sandbox_is_alone_and_without_privileges(void)
{
	expect("test $$ = 1", 0); /* a PID namespace of its own */
	expect("mount -t tmpfs none /usr 2>/dev/null", 32);
	expect("unshare -m true", 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "Operation not permitted"));
	expect("kill -0 2", 1);
	expect("setpriv --dump", 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "no_new_privs: 1"));
	CU_ASSERT_PTR_NOT_NULL(strstr(said, geteuid() == 0 ? "Capability bounding set: dac_read_search\n"
							   : "Capability bounding set: [none]"));
}

static void test_sandbox_inherits_no_descriptors(void)
{
	int fd = open("/etc/passwd", O_RDONLY); /* without O_CLOEXEC, as a careless library would */

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	for (int i = 3; i < 20; i++) {
		char script[64];

		snprintf(script, sizeof(script), "cat <&%d", i);
		CU_ASSERT_NOT_EQUAL(run(script, NULL, 0), 0);
		CU_ASSERT_PTR_NULL(strstr(said, "root"));
	}
	close(fd);
}

static void test_sandbox_has_limits(void)
{
	CU_ASSERT_EQUAL(run("ulimit -v; ulimit -c; ulimit -n; ulimit -t", NULL, 0), 0);
	CU_ASSERT_STRING_EQUAL(said, "4194304\n0\n64\n21600\n");
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		UNIT(test_sandbox_reads_in_and_writes_out), UNIT(test_sandbox_has_no_other_files),
		UNIT(test_sandbox_writes_nowhere_else),     UNIT(test_sandbox_is_alone_and_without_privileges),
		UNIT(test_sandbox_inherits_no_descriptors), UNIT(test_sandbox_has_limits),
	};

	if (run("true", NULL, 0) == SANDBOX_FAILED) {
		printf("1..0 # SKIP %s", said);
		return 77;
	}
	return unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
