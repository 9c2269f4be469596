// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tool_inside PID FOLDER: has each thread of a running process make system calls, as somebody would who has found a
 * hole in it, and prints what the kernel said: "TID NAME: done" or "TID NAME: ERROR". FOLDER is one that it may write.
 *
 * The thread is stopped, its registers are set to a call at the place of the one that it sits in, and set back: what
 * it was waiting for is then asked for again. x86-64.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

struct attempt {
	const char *name;
	long nr;
	const char *path; /* becomes the first argument, or the second of openat() and mkdirat() */
	unsigned long long argument[4];
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* The stack below the red zone is nobody's. */
static unsigned long long put_path(pid_t tid, const struct user_regs_struct *regs, const char *path)
{
	unsigned long long at = (regs->rsp - 1024) & ~15ull;
	struct iovec from = {.iov_base = (char *)path, .iov_len = strlen(path) + 1};
	struct iovec to = {.iov_base = (void *)(uintptr_t)at, .iov_len = from.iov_len};

	if (process_vm_writev(tid, &from, 1, &to, 1, 0) < 0)
		fail("process_vm_writev");
	return at;
}

static long make_call(pid_t tid, const struct user_regs_struct *old, const struct attempt *a)
{
	struct user_regs_struct regs = *old;
	int status;

	regs.rip -= 2; /* the instruction itself */
	regs.orig_rax = ~0ull;
	regs.rax = (unsigned long long)a->nr;
	regs.rdi = a->argument[0];
	regs.rsi = a->argument[1];
	regs.rdx = a->argument[2];
	regs.r10 = a->argument[3];
	if (a->path && (a->nr == SYS_openat || a->nr == SYS_mkdirat))
		regs.rsi = put_path(tid, old, a->path);
	else if (a->path)
		regs.rdi = put_path(tid, old, a->path);
	if (ptrace(PTRACE_SETREGS, tid, NULL, &regs) < 0 || ptrace(PTRACE_SINGLESTEP, tid, NULL, NULL) < 0)
		fail("ptrace");
	if (waitpid(tid, &status, __WALL) < 0 || !WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0)
		fail("the thread has ended");
	return (long)regs.rax;
}

static void try_all(pid_t tid, const struct attempt *attempts)
{
	struct user_regs_struct regs;
	int status;

	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0 || ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 ||
	    waitpid(tid, &status, __WALL) < 0 || ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0)
		fail("ptrace");
	if ((long)regs.orig_rax < 0) {
		printf("%d sits in no call\n", tid);
	} else {
		for (const struct attempt *a = attempts; a->name; a++) {
			long r = make_call(tid, &regs, a);

			printf("%d %s: %s\n", tid, a->name, r < 0 ? strerror((int)-r) : "done");
		}
	}
	if (ptrace(PTRACE_SETREGS, tid, NULL, &regs) < 0 || ptrace(PTRACE_DETACH, tid, NULL, NULL) < 0)
		fail("ptrace");
}

int main(int argc, char **argv)
{
	char own[300], tasks[64];
	const struct attempt attempts[] = {
		{"own", SYS_openat, own, {AT_FDCWD, 0, O_WRONLY | O_CREAT, 0600}},
		{"etc", SYS_openat, "/etc/bootwell-attempt", {AT_FDCWD, 0, O_WRONLY | O_CREAT, 0600}},
		{"existing", SYS_openat, "/etc/passwd", {AT_FDCWD, 0, O_WRONLY | O_APPEND, 0}},
		{"folder", SYS_mkdirat, "/var/lib/bootwell-attempt", {AT_FDCWD, 0, 0700, 0}},
		{"remove", SYS_unlink, "/etc/bootwell-none", {0}},
		{"read", SYS_openat, "/etc/passwd", {AT_FDCWD, 0, O_RDONLY, 0}},
		{"ptrace", SYS_ptrace, NULL, {PTRACE_SEIZE, 1, 0, 0}},
		{"mount", SYS_mount, "/tmp", {0, 0, 0, 0}},
		{"unshare", SYS_unshare, NULL, {CLONE_NEWUSER, 0, 0, 0}},
		{"module", SYS_init_module, NULL, {0, 0, 0, 0}},
		{"setuid", SYS_setuid, NULL, {0, 0, 0, 0}},
		{"vsock", SYS_socket, NULL, {AF_VSOCK, SOCK_STREAM, 0, 0}},
		{NULL, 0, NULL, {0}},
	};
	struct dirent *entry;
	DIR *dir;

	if (argc != 3)
		return 2;
	snprintf(own, sizeof(own), "%s/attempt", argv[2]);
	snprintf(tasks, sizeof(tasks), "/proc/%d/task", atoi(argv[1]));
	dir = opendir(tasks);
	if (!dir)
		fail(tasks);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			try_all(atoi(entry->d_name), attempts);
	closedir(dir);
	return 0;
}
