// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two processes: the first makes the namespaces and waits; the second is process 1 of the new PID
 * namespace, builds the root, gives up everything, and becomes the program. In between only system
 * calls, because the caller may have threads.
 *
 * A caller who is root keeps all user ids in the new user namespace, and of its privileges only
 * reading: the source may belong to anybody. Any other caller is the one user that there is.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/image/sandbox.h"

static void __attribute__((noreturn)) die(const char *what)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "no sandbox: %s: %s\n", what, strerror(errno));

	if (write(STDERR_FILENO, text, (size_t)n) < 0) {
		/* nobody listens */
	}
	_exit(SANDBOX_FAILED);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die(path);
	close(fd);
}

/* Every id that there is here, as itself. */
static void map_all(pid_t pid, const char *which)
{
	char path[64], text[4096] = "", line[128];
	unsigned long inside, outside, count;
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/%s", which);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) && n < sizeof(text) - 64)
		if (sscanf(line, "%lu %lu %lu", &inside, &outside, &count) == 3)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%lu %lu %lu\n", inside, inside, count);
	if (f)
		fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, which);
	write_text(path, text);
}

static void map_one(uid_t uid, gid_t gid)
{
	char text[64];

	write_text("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "%u %u 1\n", uid, uid);
	write_text("/proc/self/uid_map", text);
	snprintf(text, sizeof(text), "%u %u 1\n", gid, gid);
	write_text("/proc/self/gid_map", text);
}

/* Only a process outside of the new namespace may map more than one id: a child that was made
 * before. */
static pid_t start_mapper(int go[2])
{
	pid_t self = getpid(), pid;
	char c;

	if (pipe2(go, O_CLOEXEC) < 0)
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid > 0) {
		close(go[0]);
		return pid;
	}
	close(go[1]);
	if (read(go[0], &c, 1) != 1)
		_exit(SANDBOX_FAILED);
	map_all(self, "uid_map");
	map_all(self, "gid_map");
	_exit(0);
}

static void enter_namespaces(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int go[2], status = 0;
	pid_t mapper = uid == 0 ? start_mapper(go) : 0;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		die("the kernel does not allow user namespaces");
	if (!mapper) {
		map_one(uid, gid);
		return;
	}
	if (write(go[1], "", 1) != 1 || waitpid(mapper, &status, 0) < 0)
		die("user ids");
	close(go[1]);
	if (status)
		_exit(SANDBOX_FAILED); /* the mapper has said why */
}

/* --- the root --- */

/* What a mount has, a remount in a new user namespace may not take away. */
static unsigned long kept_flags(const char *path)
{
	static const struct {
		unsigned long st, ms;
	} flags[] = {{ST_NODEV, MS_NODEV},     {ST_NOSUID, MS_NOSUID},         {ST_NOEXEC, MS_NOEXEC},
		     {ST_NOATIME, MS_NOATIME}, {ST_NODIRATIME, MS_NODIRATIME}, {ST_RELATIME, MS_RELATIME}};
	unsigned long r = 0;
	struct statvfs st;

	if (statvfs(path, &st) < 0)
		die(path);
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (st.f_flag & flags[i].st)
			r |= flags[i].ms;
	return r;
}

static void bind_at(const char *from, const char *to, bool writable)
{
	unsigned long flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | (writable ? MS_NOEXEC : MS_RDONLY);

	if (mount(from, to, NULL, MS_BIND, NULL) < 0)
		die(to);
	if (mount(NULL, to, NULL, flags | kept_flags(to), NULL) < 0)
		die("remount");
}

static void bind_file(int fd, const char *to, bool writable)
{
	char from[32];
	int made = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (made < 0)
		die(to);
	close(made);
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	bind_at(from, to, writable);
}

/* qemu-img tries out on it whether locks work. */
static void bind_null(void)
{
	int made;

	if (mkdir("/tmp/dev", 0755) < 0)
		die("/dev");
	made = open("/tmp/dev/null", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (made < 0)
		die("/dev/null");
	close(made);
	if (mount("/dev/null", "/tmp/dev/null", NULL, MS_BIND, NULL) < 0)
		die("/dev/null");
}

/* The same file by its name: what was opened outside belongs to another mount namespace and cannot
 * be bound. */
static int find_again(int fd)
{
	char link[32], path[4096];
	struct stat a, b;
	ssize_t n;
	int again;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		die("readlink");
	path[n] = '\0';
	again = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (again < 0 || fstat(fd, &a) < 0 || fstat(again, &b) < 0)
		die(path);
	if (a.st_dev != b.st_dev || a.st_ino != b.st_ino) {
		errno = ESTALE;
		die(path);
	}
	return again;
}

static void build_root(const struct sandbox *s)
{
	int in = find_again(s->in), out = find_again(s->out);

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		die("mount /");
	if (mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,nr_inodes=32,mode=0755") < 0)
		die("mount tmpfs");
	if (chdir("/tmp") < 0 || mkdir("usr", 0755) < 0 || symlink("usr/lib", "lib") < 0 ||
	    symlink("usr/lib64", "lib64") < 0 || symlink("usr/bin", "bin") < 0)
		die("root");
	bind_at("/usr", "/tmp/usr", false);
	bind_null();
	bind_file(in, "/tmp/in", false);
	bind_file(out, "/tmp/out", true);
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		die("pivot_root");
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0)
		die("remount /");
}

/* --- giving up --- */

static void set_limit(int what, uint64_t value)
{
	struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

	if (setrlimit((__rlimit_resource_t)what, &limit) < 0)
		die("setrlimit");
}

static void drop_privileges(bool root)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	/* qemu-img is executed, so what it shall have must be ambient; the bounding set goes first
	 */
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (!(root && cap == CAP_DAC_READ_SEARCH))
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	if (root)
		data[0].effective = data[0].permitted = data[0].inheritable = 1u << CAP_DAC_READ_SEARCH;
	if (syscall(SYS_capset, &header, data) < 0)
		die("capset");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		die("no_new_privs");
}

#define DENY(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

/* Not what a converter needs, and each has had its holes. Namespaces and lost privileges are the
 * wall; this is the moat. */
static void filter_calls(void)
{
	static struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1), /* the x32 calls */
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		DENY(SYS_ptrace),
		DENY(SYS_mount),
		DENY(SYS_umount2),
		DENY(SYS_pivot_root),
		DENY(SYS_chroot),
		DENY(SYS_unshare),
		DENY(SYS_setns),
		DENY(SYS_bpf),
		DENY(SYS_perf_event_open),
		DENY(SYS_userfaultfd),
		DENY(SYS_keyctl),
		DENY(SYS_add_key),
		DENY(SYS_request_key),
		DENY(SYS_io_uring_setup),
		DENY(SYS_open_by_handle_at),
		DENY(SYS_socket),
		DENY(SYS_open_tree),
		DENY(SYS_move_mount),
		DENY(SYS_fsopen),
		DENY(SYS_process_vm_writev),
		DENY(SYS_process_vm_readv),
		DENY(SYS_pidfd_getfd),
		DENY(SYS_personality),
		DENY(SYS_modify_ldt),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
		die("seccomp");
}

static void __attribute__((noreturn)) become(const struct sandbox *s, bool root)
{
	static char *const environment[] = {(char *)"PATH=/usr/bin", (char *)"LC_ALL=C", NULL};

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		die("prctl");
	build_root(s);
	set_limit(RLIMIT_AS, SANDBOX_MEMORY);
	set_limit(RLIMIT_CPU, SANDBOX_CPU_SECONDS);
	set_limit(RLIMIT_NOFILE, 64);
	set_limit(RLIMIT_CORE, 0);
	if (syscall(SYS_close_range, 3, ~0u, 0) < 0)
		die("close_range");
	drop_privileges(root);
	filter_calls();
	execve(s->argv[0], s->argv, environment);
	die(s->argv[0]);
}

static void __attribute__((noreturn)) first_process(const struct sandbox *s)
{
	bool root = geteuid() == 0;
	int status;
	pid_t pid;

	if (dup2(s->out_text, STDOUT_FILENO) < 0 || dup2(s->err_text, STDERR_FILENO) < 0)
		_exit(SANDBOX_FAILED);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		die("prctl");
	enter_namespaces();
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		become(s, root);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			_exit(SANDBOX_FAILED);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

pid_t sandbox_start(const struct sandbox *s)
{
	pid_t pid = fork();

	if (pid == 0)
		first_process(s);
	return pid < 0 ? -errno : pid;
}
