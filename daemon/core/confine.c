// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Landlock's structures are written out here: those of the headers that it is built with may be older than the kernel
 * that it runs on. A larger structure whose new members are zero is taken by every kernel, so what a version does not
 * have is left zero, and there is one structure for all.
 *
 * The seccomp filter is a list of what is allowed, as runs of numbers; the kernel asks it once for each call number
 * and keeps the answer (5.11), so its length costs nothing. Only clone() and socket() are looked at each time.
 */
#include "daemon/core/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- Landlock: include/uapi/linux/landlock.h --- */

#define FS_EXECUTE     (1u << 0)
#define FS_WRITE_FILE  (1u << 1)
#define FS_REMOVE_DIR  (1u << 4)
#define FS_REMOVE_FILE (1u << 5)
#define FS_MAKE_CHAR   (1u << 6)
#define FS_MAKE_DIR    (1u << 7)
#define FS_MAKE_REG    (1u << 8)
#define FS_MAKE_SOCK   (1u << 9)
#define FS_MAKE_FIFO   (1u << 10)
#define FS_MAKE_BLOCK  (1u << 11)
#define FS_MAKE_SYM    (1u << 12)
#define FS_REFER       (1u << 13) /* since version 2; without it no file gets into another folder */
#define FS_TRUNCATE    (1u << 14) /* 3 */
#define FS_IOCTL_DEV   (1u << 15) /* 5 */
#define NET_BIND       (1u << 0)  /* 4 */
#define NET_CONNECT    (1u << 1)  /* 4 */
#define SCOPE_SIGNAL   (1u << 1)  /* 6 */

#define ABI_FIRST    2
#define RULE_BENEATH 1
#define RULE_PORT    2

#define MAKE_ANY  (FS_MAKE_DIR | FS_MAKE_REG | FS_MAKE_SOCK | FS_MAKE_FIFO | FS_MAKE_SYM)
#define FILE_ONLY (FS_EXECUTE | FS_WRITE_FILE | FS_TRUNCATE)

struct ruleset {
	uint64_t fs, net, scoped;
};

struct rule_beneath {
	uint64_t access;
	int32_t fd;
} __attribute__((packed));

struct rule_port {
	uint64_t access, port;
};

static struct ruleset handled_by(int abi)
{
	struct ruleset r = {.fs = FS_EXECUTE | FS_WRITE_FILE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_CHAR |
				  FS_MAKE_BLOCK | MAKE_ANY | FS_REFER};

	if (abi >= 3)
		r.fs |= FS_TRUNCATE;
	if (abi >= 4)
		r.net = NET_BIND | NET_CONNECT;
	if (abi >= 5)
		r.fs |= FS_IOCTL_DEV;
	if (abi >= 6)
		r.scoped = SCOPE_SIGNAL;
	return r;
}

static int allow_beneath(int set, const char *path, uint64_t access)
{
	struct rule_beneath rule = {.access = access};
	struct stat st;
	int r = 0;

	rule.fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	if (fstat(rule.fd, &st) < 0)
		r = -errno;
	else if (!S_ISDIR(st.st_mode))
		rule.access &= FILE_ONLY;
	if (!r && syscall(SYS_landlock_add_rule, set, RULE_BENEATH, &rule, 0) < 0)
		r = -errno;
	close(rule.fd);
	return r;
}

static int allow_port(int set, uint16_t port)
{
	struct rule_port rule = {.access = NET_BIND, .port = port};

	return syscall(SYS_landlock_add_rule, set, RULE_PORT, &rule, 0) < 0 ? -errno : 0;
}

static int add_rules(int set, const struct ruleset *handled, const struct confine *c)
{
	uint64_t write = handled->fs & ~(uint64_t)(FS_EXECUTE | FS_MAKE_CHAR | FS_MAKE_BLOCK | FS_IOCTL_DEV);
	int r = 0;

	for (unsigned int i = 0; !r && i < CONFINE_PATHS && c->write[i]; i++)
		r = allow_beneath(set, c->write[i], write);
	for (unsigned int i = 0; !r && i < CONFINE_PATHS && c->run[i]; i++)
		r = allow_beneath(set, c->run[i], FS_EXECUTE);
	for (unsigned int i = 0; !r && handled->net && i < CONFINE_PORTS && c->listen[i]; i++)
		r = allow_port(set, c->listen[i]);
	return r;
}

int confine_files(const struct confine *c)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1u /* asks for the version */);
	struct ruleset handled;
	int set, r;

	if (abi < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	if (abi < ABI_FIRST)
		return 0;
	handled = handled_by((int)abi);
	if (c->connect)
		handled.net &= ~(uint64_t)NET_CONNECT;
	set = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
	if (set < 0)
		return -errno;
	r = add_rules(set, &handled, c);
	if (!r && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (!r && syscall(SYS_landlock_restrict_self, set, 0) < 0)
		r = -errno;
	close(set);
	return r ? r : (int)abi;
}

/* --- seccomp --- */

#define CALLS_MAX 512 /* greater than every number below */

/* By what they are for. What is missing on purpose: changes of namespaces and mounts, of users and owners, of the
 * kernel and its clock; keys; other processes' memory; perf; userfaultfd; file handles. */
static const uint16_t allowed[] = {
	/* files */
	SYS_read, SYS_write, SYS_open, SYS_close, SYS_stat, SYS_fstat, SYS_lstat, SYS_lseek, SYS_pread64, SYS_pwrite64,
	SYS_readv, SYS_writev, SYS_preadv, SYS_pwritev, SYS_preadv2, SYS_pwritev2, SYS_access, SYS_faccessat,
	SYS_faccessat2, SYS_dup, SYS_dup2, SYS_dup3, SYS_fcntl, SYS_flock, SYS_fsync, SYS_fdatasync, SYS_sync,
	SYS_syncfs, SYS_sync_file_range, SYS_truncate, SYS_ftruncate, SYS_fallocate, SYS_fadvise64, SYS_readahead,
	SYS_getdents, SYS_getdents64, SYS_getcwd, SYS_chdir, SYS_fchdir, SYS_rename, SYS_renameat, SYS_renameat2,
	SYS_mkdir, SYS_mkdirat, SYS_rmdir, SYS_creat, SYS_link, SYS_linkat, SYS_unlink, SYS_unlinkat, SYS_symlink,
	SYS_symlinkat, SYS_readlink, SYS_readlinkat, SYS_chmod, SYS_fchmod, SYS_fchmodat, SYS_umask, SYS_utimensat,
	SYS_utimes, SYS_utime, SYS_futimesat, SYS_statfs, SYS_fstatfs, SYS_statx, SYS_openat, SYS_openat2,
	SYS_newfstatat, SYS_mknod, SYS_mknodat, SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, SYS_listxattr,
	SYS_llistxattr, SYS_flistxattr, SYS_copy_file_range, SYS_sendfile, SYS_splice, SYS_tee, SYS_close_range,
	SYS_inotify_init, SYS_inotify_init1, SYS_inotify_add_watch, SYS_inotify_rm_watch, SYS_ioctl, SYS_memfd_create,
	/* waiting */
	SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_epoll_create, SYS_epoll_create1, SYS_epoll_ctl,
	SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_eventfd, SYS_eventfd2, SYS_signalfd, SYS_signalfd4,
	SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime, SYS_pipe, SYS_pipe2, SYS_io_uring_setup,
	SYS_io_uring_enter, SYS_io_uring_register, SYS_pause, SYS_nanosleep, SYS_clock_nanosleep, SYS_restart_syscall,
	/* the network; socket() is looked at closer */
	SYS_socketpair, SYS_connect, SYS_accept, SYS_accept4, SYS_bind, SYS_listen, SYS_getsockname, SYS_getpeername,
	SYS_getsockopt, SYS_setsockopt, SYS_shutdown, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg,
	SYS_recvmmsg, SYS_bpf,
	/* memory */
	SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_msync, SYS_mincore, SYS_brk, SYS_mlock,
	SYS_mlock2, SYS_munlock, SYS_mlockall, SYS_munlockall, SYS_membarrier,
	/* threads and children; clone() is looked at closer */
	SYS_fork, SYS_vfork, SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_kill,
	SYS_tkill, SYS_tgkill, SYS_pidfd_open, SYS_pidfd_send_signal, SYS_futex, SYS_futex_waitv, SYS_set_robust_list,
	SYS_get_robust_list, SYS_rseq, SYS_set_tid_address, SYS_arch_prctl, SYS_prctl, SYS_sched_yield,
	SYS_sched_getaffinity, SYS_sched_setaffinity, SYS_sched_getparam, SYS_sched_getscheduler,
	SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_sched_setscheduler, SYS_getpriority,
	SYS_setpriority, SYS_ioprio_get, SYS_ioprio_set, SYS_setsid, SYS_setpgid, SYS_getpgid, SYS_getpgrp, SYS_getsid,
	SYS_capget, SYS_capset, SYS_seccomp,
	/* signals, clocks, limits, who we are */
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigtimedwait,
	SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_rt_sigsuspend, SYS_sigaltstack, SYS_alarm, SYS_getitimer,
	SYS_setitimer, SYS_timer_create, SYS_timer_settime, SYS_timer_gettime, SYS_timer_getoverrun, SYS_timer_delete,
	SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_time, SYS_times, SYS_getrusage, SYS_getrlimit,
	SYS_setrlimit, SYS_prlimit64, SYS_sysinfo, SYS_uname, SYS_getrandom, SYS_getcpu, SYS_getpid, SYS_getppid,
	SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getgroups, SYS_getresuid, SYS_getresgid};

static const uint16_t families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET};

#define NAMESPACES 0x7e020000u /* of clone()'s flags: all CLONE_NEW that it takes */
#define NEWEST     SYS_futex_waitv

struct program {
	struct sock_filter code[1024];
	unsigned short length;
};

static void put(struct program *p, struct sock_filter code)
{
	if (p->length < sizeof(p->code) / sizeof(p->code[0]))
		p->code[p->length++] = code;
}

#define LOAD(field)   ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field)))
#define RETURN(value) ((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (value)))
#define IF(what, value, yes, no)                                                                                       \
	((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_K | (what), (uint32_t)(value), (yes), (no)))
#define REFUSE(error) RETURN(SECCOMP_RET_ERRNO | (error))

/* The low half of an argument: both are int in the kernel. */
static void put_closer_looks(struct program *p)
{
	unsigned int n = sizeof(families) / sizeof(families[0]);

	put(p, IF(BPF_JEQ, SYS_clone3, 0, 1)); /* its flags are behind a pointer; libc then takes clone() */
	put(p, REFUSE(ENOSYS));
	put(p, IF(BPF_JEQ, SYS_clone, 0, 4));
	put(p, LOAD(args[0]));
	put(p, IF(BPF_JSET, NAMESPACES, 0, 1));
	put(p, REFUSE(EPERM));
	put(p, RETURN(SECCOMP_RET_ALLOW));
	put(p, IF(BPF_JEQ, SYS_socket, 0, (uint8_t)(n * 2 + 2)));
	put(p, LOAD(args[0]));
	for (unsigned int i = 0; i < n; i++) {
		put(p, IF(BPF_JEQ, families[i], 0, 1));
		put(p, RETURN(SECCOMP_RET_ALLOW));
	}
	put(p, REFUSE(EAFNOSUPPORT));
}

/* Returns how many numbers are allowed. */
static int put_runs(struct program *p)
{
	bool is[CALLS_MAX] = {false};
	int count = 0;

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		is[allowed[i]] = true;
	for (unsigned int from = 0; from < CALLS_MAX; from++) {
		unsigned int to = from;

		if (!is[from])
			continue;
		while (to + 1 < CALLS_MAX && is[to + 1])
			to++;
		put(p, IF(BPF_JGE, from, 0, 2));
		put(p, IF(BPF_JGT, to, 1, 0));
		put(p, RETURN(SECCOMP_RET_ALLOW));
		count += (int)(to - from + 1);
		from = to;
	}
	return count;
}

int confine_calls(void)
{
	struct program p = {.length = 0};
	struct sock_fprog program;
	int count;
	long r;

	put(&p, LOAD(arch));
	put(&p, IF(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0));
	put(&p, RETURN(SECCOMP_RET_KILL_PROCESS));
	put(&p, LOAD(nr));
	put(&p, IF(BPF_JGE, 0x40000000, 0, 1)); /* the x32 calls */
	put(&p, REFUSE(EPERM));
	put_closer_looks(&p);
	count = put_runs(&p);
	put(&p, IF(BPF_JGT, NEWEST, 0, 1));
	put(&p, REFUSE(ENOSYS));
	put(&p, REFUSE(EPERM));
	program = (struct sock_fprog){.len = p.length, .filter = p.code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	(void)prctl(65 /* PR_SET_MDWE */, 1ul /* PR_MDWE_REFUSE_EXEC_GAIN */, 0, 0, 0); /* Linux 6.3 */
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
	if (r)
		return r < 0 ? -errno : -ESRCH; /* a thread with another filter */
	return count + 2;
}
