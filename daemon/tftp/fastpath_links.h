/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the kernel programs are attached, and by which tier. Used by tftp/fastpath.c only. */
#ifndef BOOTWELL_TFTP_FASTPATH_LINKS_H
#define BOOTWELL_TFTP_FASTPATH_LINKS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/tftp/fastpath.h"

#define TFTP_LINKS_MAX 64

struct tftp_fastpath_link {
	int ifindex; /* 0: free */
	enum tftp_fastpath_tier tier;
	const char *why;
	uint8_t mac[6];
	uint32_t mtu;
	int xdp_fd;   /* BPF link, -1 none */
	int tcx_fd;   /* BPF link, -1 none */
	bool filter;  /* an old-style tc filter was made */
	bool probing; /* the probe is what xdp_fd runs */
};

/* Descriptors of loaded programs and maps; -1 where there is none. */
struct tftp_programs {
	int xdp, probe, tc, tc_stub;
	int probes_map, jump_map;
};

struct tftp_links {
	enum tftp_fastpath_mode mode;
	struct tftp_programs programs;
	struct tftp_fastpath_link link[TFTP_LINKS_MAX];
};

void tftp_links_init(struct tftp_links *links, enum tftp_fastpath_mode mode, const struct tftp_programs *programs);
void tftp_links_done(struct tftp_links *links);
struct tftp_fastpath_link *tftp_links_find(const struct tftp_links *links, int ifindex);
/* As tftp_fastpath_attach(). */
int tftp_links_attach(struct tftp_links *links, int ifindex);
void tftp_links_detach(struct tftp_links *links, int ifindex);
/* Forgets interfaces that are gone, takes the results of probes. */
void tftp_links_tick(struct tftp_links *links);
/* Takes the probe's result, if there is one. */
void tftp_links_settle(struct tftp_links *links, struct tftp_fastpath_link *link);

#endif
