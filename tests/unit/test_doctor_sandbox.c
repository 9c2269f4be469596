/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a doctor that an image has taken over can still do: read and write what it has open, and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/doctor/sandbox.h"
#include "tests/unit/unit.h"

static int fd;

/* Runs it in a process that is in the sandbox; its status. */
static int inside(int (*fn)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (doctor_sandbox_enter())
			_exit(99);
		_exit(fn());
	}
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int refused(long r)
{
	return r < 0 && errno == EPERM ? 0 : 1;
}

static int may_work(void)
{
	char byte;
	void *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED || pread(fd, &byte, 1, 0) != 1;
}

static int may_not_open(void)
{
	return refused(open("/etc/passwd", O_RDONLY)) || refused(open("/tmp/x", O_WRONLY | O_CREAT, 0600)) ||
	       refused(syscall(SYS_open, "/etc/passwd", O_RDONLY));
}

static int may_not_execute(void)
{
	char *argv[] = {(char *)"/bin/true", NULL};

	return refused(execv("/bin/true", argv));
}

static int may_not_fork(void)
{
	return refused(fork());
}

static int may_not_talk(void)
{
	return refused(socket(AF_UNIX, SOCK_STREAM, 0)) || refused(socket(AF_INET, SOCK_DGRAM, 0));
}

static int may_not_kill(void)
{
	return refused(kill(getppid(), 0)) || refused(syscall(SYS_ptrace, 0, 0, 0, 0));
}

static int may_not_change_files(void)
{
	return refused(unlink("/tmp/x")) || refused(rename("/tmp/x", "/tmp/y")) || refused(fchmod(fd, 0777)) ||
	       refused(chdir("/"));
}

static int may_not_grow(void)
{
	/* In pieces: one that is larger than memory would be refused anyway. */
	for (unsigned int i = 0; i < 64; i++)
		if (mmap(NULL, 1u << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
			return i > 8;
	return 1;
}

static int is_no_root(void)
{
	/* Raising the priority needs CAP_SYS_NICE, and the call itself is not there. */
	return refused(syscall(SYS_setpriority, 0, 0, -5)) || refused(setuid(0));
}

static void test_doctor_sandbox(void)
{
	fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	CU_ASSERT_EQUAL(inside(may_work), 0);
	CU_ASSERT_EQUAL(inside(may_not_open), 0);
	CU_ASSERT_EQUAL(inside(may_not_execute), 0);
	CU_ASSERT_EQUAL(inside(may_not_fork), 0);
	CU_ASSERT_EQUAL(inside(may_not_talk), 0);
	CU_ASSERT_EQUAL(inside(may_not_kill), 0);
	CU_ASSERT_EQUAL(inside(may_not_change_files), 0);
#ifndef __SANITIZE_ADDRESS__
	CU_ASSERT_EQUAL(inside(may_not_grow), 0);
#else
	(void)may_not_grow;
#endif
	CU_ASSERT_EQUAL(inside(is_no_root), 0);
	close(fd);
}

UNIT_MAIN(UNIT(test_doctor_sandbox))
