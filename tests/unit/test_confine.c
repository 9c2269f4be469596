// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a process has given up, tried in a child each time: core/confine.h. A kernel without Landlock is told apart by
 * what confine_files() says, and the rest is tried all the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/core/confine.h"
#include "daemon/doctor/sandbox.h"
#include "tests/unit/unit.h"

static char mine[64], other[64], path[128];

/* The exit status of what is tried in a child; 100 + a signal's number. */
static int in_child(int (*try)(void))
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(try());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

static const char *in(const char *folder, const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static int made(const char *file)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);

	if (fd >= 0)
		close(fd);
	return fd >= 0 ? 0 : errno;
}

static int abi(void)
{
	return confine_files(&(struct confine){.write = {mine}, .run = {"/usr", "/lib64"}, .listen = {45873}});
}

static int probe(void)
{
	int r = abi();

	return r < 0 ? 99 : r;
}

#define SKIP_WITHOUT(version)                                                                                          \
	do {                                                                                                           \
		if (in_child(probe) < (version)) {                                                                     \
			printf("# NOTE this kernel has no Landlock %d\n", version);                                    \
			return;                                                                                        \
		}                                                                                                      \
	} while (0)

/* --- files --- */

static int try_mine(void)
{
	char to[128];

	abi();
	if (made(in(mine, "a")) || mkdir(in(mine, "d"), 0700))
		return 1;
	snprintf(to, sizeof(to), "%s/d/a", mine);
	if (rename(in(mine, "a"), to) || truncate(to, 10) || unlink(to) || rmdir(in(mine, "d")))
		return 2;
	return 0;
}

static int try_other(void)
{
	abi();
	return made(in(other, "a"));
}

static int try_existing(void)
{
	int fd;

	abi();
	fd = open(in(other, "there"), O_WRONLY);
	if (fd >= 0)
		return 0;
	return unlink(path) == 0 || rename(path, in(mine, "there")) == 0 || open(in(other, "there"), O_RDONLY) < 0
		       ? 1
		       : EACCES;
}

static void test_files_are_written_in_its_own_folders(void)
{
	CU_ASSERT_EQUAL(in_child(try_mine), 0);
	SKIP_WITHOUT(2);
	CU_ASSERT_EQUAL(in_child(try_other), EACCES);
	CU_ASSERT_EQUAL(made(in(other, "there")), 0);
	CU_ASSERT_EQUAL(in_child(try_existing), EACCES);
}

static int start(const char *program)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execl(program, program, "/usr/bin/true", NULL);
		_exit(errno == EACCES ? 77 : 78);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 79;
}

static int try_start(void)
{
	abi();
	confine_calls();
	return start("/usr/bin/true");
}

static int try_start_own(void)
{
	abi();
	return start(in(mine, "program"));
}

static void test_programs_are_started_from_usr(void)
{
	char command[200];

	CU_ASSERT_EQUAL(in_child(try_start), 0);
	SKIP_WITHOUT(2);
	snprintf(command, sizeof(command), "cp /usr/bin/true %s/program", mine);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
	CU_ASSERT_EQUAL(start(in(mine, "program")), 0);
	CU_ASSERT_EQUAL(in_child(try_start_own), 77);
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(0x7f000001)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || listen(fd, 1) < 0)
		return errno;
	return connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int try_listen(void)
{
	abi();
	return -listen_on(45873); /* listens; connecting is refused */
}

static int try_listen_elsewhere(void)
{
	abi();
	return listen_on(45874);
}

static void test_tcp_is_served_on_its_own_ports(void)
{
	SKIP_WITHOUT(4);
	CU_ASSERT_EQUAL(in_child(try_listen), EACCES);
	CU_ASSERT_EQUAL(in_child(try_listen_elsewhere), EACCES);
}

/* --- calls --- */

static int refused(long r, int error)
{
	return r >= 0 ? 1 : errno == error ? 0 : 2;
}

static int try_ptrace(void)
{
	confine_calls();
	return refused(ptrace(PTRACE_SEIZE, getppid(), NULL, NULL), EPERM);
}

static int try_mount(void)
{
	confine_calls();
	return refused(mount("none", mine, "tmpfs", 0, NULL), EPERM) || refused(umount2("/", MNT_DETACH), EPERM);
}

static int try_namespaces(void)
{
	confine_calls();
	return refused(unshare(CLONE_NEWUSER), EPERM) ||
	       refused(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0), EPERM) ||
	       refused(syscall(SYS_clone3, NULL, 0), ENOSYS);
}

static int try_sockets(void)
{
	confine_calls();
	return refused(socket(AF_VSOCK, SOCK_STREAM, 0), EAFNOSUPPORT) ||
	       refused(socket(AF_ALG, SOCK_SEQPACKET, 0), EAFNOSUPPORT) || socket(AF_INET, SOCK_DGRAM, 0) < 0 ||
	       socket(AF_UNIX, SOCK_STREAM, 0) < 0;
}

static int try_other_calls(void)
{
	confine_calls();
	return refused(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0), EPERM) ||
	       refused(syscall(SYS_keyctl, 0, 0), EPERM) || refused(syscall(SYS_init_module, "", 0, ""), EPERM) ||
	       refused(syscall(SYS_setuid, getuid()), EPERM) || refused(syscall(SYS_perf_event_open, 0), EPERM) ||
	       refused(syscall(SYS_open_by_handle_at, 0, 0, 0), EPERM) || refused(syscall(2000), ENOSYS);
}

static void *in_thread(void *arg)
{
	*(int *)arg = made(in(mine, "thread"));
	return NULL;
}

static int try_needed(void)
{
	char params[512] = {0};
	pthread_t thread;
	int r = -1;

	confine_calls();
	if (pthread_create(&thread, NULL, in_thread, &r) || pthread_join(thread, NULL) || r)
		return 1;
	if (syscall(SYS_io_uring_setup, 4, params) < 0)
		return errno == EPERM ? 2 : 0; /* a kernel may have it switched off, as with ENOSYS */
	return 0;
}

static pthread_barrier_t barrier;

static void *try_later(void *arg)
{
	pthread_barrier_wait(&barrier);
	*(int *)arg = refused(ptrace(PTRACE_SEIZE, getppid(), NULL, NULL), EPERM);
	return NULL;
}

static int try_thread_of_before(void)
{
	pthread_t thread;
	int r = -1;

	pthread_barrier_init(&barrier, NULL, 2);
	if (pthread_create(&thread, NULL, try_later, &r) || confine_calls() < 0)
		return 3;
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	return r;
}

static int count(void)
{
	int n = confine_calls();

	return n > 100 && n < 256 ? 0 : n < 0 ? -n : 1;
}

static void test_calls_that_a_server_does_not_need_are_refused(void)
{
	CU_ASSERT_EQUAL(in_child(count), 0);
	CU_ASSERT_EQUAL(in_child(try_ptrace), 0);
	CU_ASSERT_EQUAL(in_child(try_mount), 0);
	CU_ASSERT_EQUAL(in_child(try_namespaces), 0);
	CU_ASSERT_EQUAL(in_child(try_sockets), 0);
	CU_ASSERT_EQUAL(in_child(try_other_calls), 0);
	CU_ASSERT_EQUAL(in_child(try_thread_of_before), 0);
}

/* What it starts builds a sandbox of its own. */
static int try_doctor(void)
{
	int status = -1;
	pid_t pid;

	abi();
	confine_calls();
	pid = fork();
	if (pid == 0)
		_exit(doctor_sandbox_enter() ? 1 : 0);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

static void test_calls_that_it_needs_are_there(void)
{
	CU_ASSERT_EQUAL(in_child(try_needed), 0);
	CU_ASSERT_EQUAL(in_child(try_doctor), 0);
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		UNIT(test_files_are_written_in_its_own_folders),
		UNIT(test_programs_are_started_from_usr),
		UNIT(test_tcp_is_served_on_its_own_ports),
		UNIT(test_calls_that_a_server_does_not_need_are_refused),
		UNIT(test_calls_that_it_needs_are_there),
	};
	char command[200];
	int r;

	strcpy(mine, "/tmp/bootwell-confine.XXXXXX");
	strcpy(other, "/tmp/bootwell-confine.XXXXXX");
	if (!mkdtemp(mine) || !mkdtemp(other))
		return 1;
	r = unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
	snprintf(command, sizeof(command), "rm -rf %s %s", mine, other);
	return system(command) ? 1 : r;
}
