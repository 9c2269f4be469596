/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The TFTP server (RFC 1350, 2347, 2348, 2349, 7440), read only, beneath [tftp] root. `boot.ipxe` and
 * `boot/NONCE/boot.ipxe` are no files but boot_script() of the client. Loop's thread only. As with DHCP, a taken port
 * is a problem that is listed and tried again, not a failure of tftp_server_new().
 */
#ifndef BOOTWELL_TFTP_SERVER_H
#define BOOTWELL_TFTP_SERVER_H

#include <stdint.h>

#include "daemon/boot/boot.h"
#include "daemon/config/config.h"
#include "daemon/core/loop.h"
#include "daemon/core/netif.h"

struct tftp_server;

enum tftp_path { TFTP_PATH_USER, TFTP_PATH_TC, TFTP_PATH_XDP, TFTP_PATHS };

struct tftp_stats {
	uint64_t requests;    /* RRQ and WRQ that could be read */
	uint64_t malformed;   /* packets that could not */
	uint64_t limited;     /* over the rate of a source or the table of sessions */
	uint64_t repeated;    /* the same request again from the same port */
	uint64_t completed;   /* transfers whose last block was acknowledged */
	uint64_t probed;      /* given up by the client after the OACK: it wanted the size (EDK2) */
	uint64_t aborted;     /* ended by an ERROR of the client */
	uint64_t timed_out;   /* client fell silent */
	uint64_t errors[9];   /* ERRORs sent, by code */
	uint64_t strangers;   /* packets from another address or port than the transfer's */
	uint64_t retransmits; /* blocks sent again by user space */
	uint64_t blocks[TFTP_PATHS];
	uint64_t bytes[TFTP_PATHS]; /* of data */
	uint32_t sessions;          /* now */
	uint32_t sessions_most;     /* at once, ever */
};

int tftp_server_new(struct tftp_server **ret, struct loop *loop, struct netif *netif, const struct config *config,
		    struct boot *boot);
/* Running transfers go on with the files that they have open. */
int tftp_server_reload(struct tftp_server *server, const struct config *config);
void tftp_server_free(struct tftp_server *server);

const struct tftp_stats *tftp_server_stats(struct tftp_server *server);
/* The descriptor of the BPF program of a path, -1: none is loaded. */
int tftp_server_program(const struct tftp_server *server, enum tftp_path path);
const char *tftp_path_name(enum tftp_path path); /* "user", "tc", "xdp" */

/* Who answers block reads at an interface that PCs are served on. */
struct tftp_link {
	const char *interface, *path; /* path: "user", "tc", "xdp" */
	const char *why;              /* a clause */
};
/* The n-th of them; false past the last. */
bool tftp_server_link(const struct tftp_server *server, unsigned int n, struct tftp_link *ret);

/* What is not served at the moment and why, one sentence each; NULL past the last. */
const char *tftp_server_problem(const struct tftp_server *server, unsigned int n);

#endif
