/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Static tracepoints (USDT) of provider `bootwell`: bpftrace, perf and SystemTap find them in the program. One that
 * nobody looks at is a nop, and its arguments are left where they are; built without <sys/sdt.h> (Debian's
 * systemtap-sdt-dev) there are none. docs/tracing.md lists them all.
 */
#ifndef BOOTWELL_TRACE_H
#define BOOTWELL_TRACE_H

#if __has_include(<sys/sdt.h>)
#define SDT_USE_VARIADIC 1
#include <sys/sdt.h>
#define TRACE(name, ...) STAP_PROBEV(bootwell, name, __VA_ARGS__)
#else
#define TRACE(name, ...)                                                                                               \
	do {                                                                                                           \
	} while (0)
#endif

#endif
