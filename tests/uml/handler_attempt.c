// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A handler of tcmu-runner that handles nothing: when it is loaded it tries, inside of that process, what somebody
 * would who has found a hole in a parser of images, and says on stderr, so in the unit's journal, what came of it:
 * "attempt NAME: done" or "attempt NAME: ERROR". tests/uml/test_sandbox.sh builds it and reads that.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int handler_init(void);

static void say(const char *name, long result)
{
	fprintf(stderr, "attempt %s: %s\n", name, result < 0 ? strerror(errno) : "done");
}

static void open_it(const char *name, const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	say(name, fd);
	if (fd >= 0)
		close(fd);
}

/* What systemd lays over a file that is not to be read is empty. */
static void read_it(const char *name, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char c;

	fprintf(stderr, "attempt %s: %s\n", name, fd >= 0 && read(fd, &c, 1) == 1 ? "done" : "nothing");
	if (fd >= 0)
		close(fd);
}

static void make_in(const char *name, const char *folder)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/attempt", folder);
	open_it(name, path, O_WRONLY | O_CREAT);
}

static void map_both(void)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	say("write-and-execute", at == MAP_FAILED ? -1 : 0);
}

/* A file of the test names the folders, one a line: images, state, store. */
static void make_in_folders(void)
{
	FILE *file = fopen("/usr/lib/attempt", "re");
	char line[300];

	while (file && fgets(line, sizeof(line), file)) {
		char *name = strtok(line, " \n"), *path = strtok(NULL, " \n");

		if (name && path && !strcmp(name, "file"))
			open_it("store", path, O_RDWR);
		else if (name && path)
			make_in(name, path);
	}
	if (file)
		fclose(file);
}

static void try_all(void)
{
	char parameters[512] = "";

	make_in("etc", "/etc");
	make_in("usr", "/usr/bin");
	make_in("root", "/");
	make_in("run", "/run");
	make_in_folders();
	read_it("shadow", "/etc/shadow");
	open_it("disk", "/dev/ubda", O_RDONLY);
	open_it("sysctl", "/proc/sys/kernel/core_pattern", O_WRONLY);
	open_it("parameters", "/sys/module/target_core_user/parameters/block_netlink", O_WRONLY);
	open_it("configfs", "/sys/kernel/config/target/dbroot", O_WRONLY);
	say("ptrace", ptrace(PTRACE_SEIZE, 1, NULL, NULL));
	say("mount", mount("none", "/mnt", "tmpfs", 0, NULL));
	say("remount", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
	say("namespace", unshare(CLONE_NEWUSER));
	say("internet", socket(AF_INET, SOCK_STREAM, 0));
	say("packet", socket(AF_PACKET, SOCK_RAW, 0));
	say("module", syscall(SYS_init_module, parameters, 0UL, parameters));
	say("chown", chown("/run/bootwell", 0, 0));
	map_both();
	say("io_uring", syscall(SYS_io_uring_setup, 4, parameters));
	say("setuid", setuid(65534)); /* the last: it may have come through */
	fprintf(stderr, "attempt all: done\n");
}

/* In a child, so that what comes through does no harm to the test. */
__attribute__((visibility("default"))) int handler_init(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		try_all();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return -1;
}
