// SPDX-License-Identifier: GPL-2.0-or-later
/* Limits, capabilities, then a seccomp filter that knows the few calls that are left. */
#include "daemon/doctor/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static int set_limit(int what, uint64_t value)
{
	struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

	return setrlimit((__rlimit_resource_t)what, &limit);
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {};

	return (int)syscall(SYS_capset, &header, none);
}

#define ALLOW(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static int filter_calls(void)
{
	static struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_read),
		ALLOW(SYS_pread64),
		ALLOW(SYS_readv),
		ALLOW(SYS_preadv),
		ALLOW(SYS_write),
		ALLOW(SYS_pwrite64),
		ALLOW(SYS_writev),
		ALLOW(SYS_lseek),
		ALLOW(SYS_fstat),
		ALLOW(SYS_fcntl),
		ALLOW(SYS_dup),
		ALLOW(SYS_close),
		ALLOW(SYS_ftruncate),
		ALLOW(SYS_fsync),
		ALLOW(SYS_mmap),
		ALLOW(SYS_munmap),
		ALLOW(SYS_mremap),
		ALLOW(SYS_mprotect),
		ALLOW(SYS_madvise),
		ALLOW(SYS_brk),
		ALLOW(SYS_futex),
		ALLOW(SYS_getrandom),
		ALLOW(SYS_clock_gettime),
		ALLOW(SYS_gettimeofday),
		ALLOW(SYS_time),
		ALLOW(SYS_getpid),
		ALLOW(SYS_gettid),
		ALLOW(SYS_getuid),
		ALLOW(SYS_getgid),
		ALLOW(SYS_geteuid),
		ALLOW(SYS_getegid),
		ALLOW(SYS_rt_sigprocmask),
		ALLOW(SYS_rt_sigaction),
		ALLOW(SYS_rt_sigreturn),
		ALLOW(SYS_restart_syscall),
		ALLOW(SYS_sched_yield),
#ifdef __SANITIZE_ADDRESS__ /* it takes its own stack for signals away when a program ends */
		ALLOW(SYS_sigaltstack),
#endif
		ALLOW(SYS_exit),
		ALLOW(SYS_exit_group),
		/* newfstatat(fd, "", AT_EMPTY_PATH) is how libc does fstat(). */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_newfstatat, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x1000 /* AT_EMPTY_PATH */, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

#ifdef __SANITIZE_ADDRESS__
/* ASan asks: looking for leaks at the end takes another process, which the sandbox forbids. */
__attribute__((visibility("default"), used)) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

int doctor_sandbox_enter(void)
{
	const char *what = "its limits";
	int r = set_limit(RLIMIT_CPU, DOCTOR_CPU_SECONDS) || set_limit(RLIMIT_CORE, 0) ||
		set_limit(RLIMIT_FSIZE, (uint64_t)1 << 30);

#ifndef __SANITIZE_ADDRESS__ /* which has terabytes of address space */
	r = r || set_limit(RLIMIT_AS, DOCTOR_MEMORY);
#endif

	alarm(DOCTOR_SECONDS);
	if (!r) {
		what = "its privileges";
		r = prctl(PR_SET_DUMPABLE, 0) || drop_capabilities() || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	}
	if (!r) {
		what = "its system calls";
		r = filter_calls();
	}
	if (!r)
		return 0;
	r = errno ? -errno : -EPERM;
	fprintf(stderr, "bootwell: the image is not looked at: the doctor cannot give up %s: %s\n", what, strerror(-r));
	return r;
}
