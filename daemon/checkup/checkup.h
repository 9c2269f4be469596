/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * `bootwell doctor`: what of this machine keeps a room from starting, found by looking, whether bootwelld runs or not.
 * Each look adds what it finds, in a sentence, with what to do about it; what is right is said, too, so that a person
 * sees that it was looked at. Nothing is changed, and no look waits for long: a folder that does not answer is a
 * finding.
 */
#ifndef BOOTWELL_CHECKUP_H
#define BOOTWELL_CHECKUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/config/config.h"

/* BAD: PCs do not start, or data is at risk. WARN: it can become that, or one cannot be sure. */
enum checkup_level { CHECKUP_OK, CHECKUP_WARN, CHECKUP_BAD };

#define CHECKUP_MAX  128 /* findings; more are not kept */
#define CHECKUP_TEXT 512 /* bytes with NUL */

struct checkup_finding {
	enum checkup_level level;
	const char *about; /* "ports": a static word */
	char what[CHECKUP_TEXT];
	char todo[CHECKUP_TEXT]; /* "": nothing */
};

struct checkup {
	const struct config *config;
	bool runs;    /* bootwelld answers at its socket */
	pid_t server; /* its process; 0: none was found */
	struct checkup_finding finding[CHECKUP_MAX];
	size_t count;
};

/* `todo` may be "". */
void checkup_say(struct checkup *checkup, enum checkup_level level, const char *about, const char *todo,
		 const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The looks, each complete by itself. */
void checkup_links(struct checkup *checkup);    /* the interfaces of [subnet], [dhcp] */
void checkup_ports(struct checkup *checkup);    /* who listens where PCs ask */
void checkup_firewall(struct checkup *checkup); /* nftables, which iptables of today is, too */
void checkup_places(struct checkup *checkup);   /* folders of images, state, write-back */
void checkup_target(struct checkup *checkup);   /* LIO, tcmu-runner, the handler, versions */
void checkup_machine(struct checkup *checkup);  /* clock, memory, what the kernel has logged */

/* The first process of that name (proc_pid_comm(5), 15 characters); 0: none. */
pid_t checkup_process(const char *name);
/* A file of a line or two, as in /proc and /sys, without the last newline; "" when it cannot be read. */
void checkup_read(const char *path, char *ret, size_t size);

/* What a line of the kernel's log tells that matters here, and what to do; NULL: nothing. */
const char *checkup_kernel_line(const char *line, const char **todo);
/*
 * Of a ruleset (`nft -j list ruleset`), is a port let in? `udp`, port in host byte order. A base chain of input whose
 * policy is drop counts as closed unless some rule names the port.
 */
bool checkup_lets_in(const char *ruleset, bool udp, uint16_t port);

#endif
