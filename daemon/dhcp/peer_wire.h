/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The datagrams of a pair on UDP port 66: a codec, no I/O. Each begins with a head of 8 bytes ("BWDP", version, kind,
 * two bytes 0); everything is in network byte order. What they mean is said in dhcp/peer.h. Version 1 told of changes
 * by the clock of the day; a server of version 2 does not share leases with one of that.
 */
#ifndef BOOTWELL_DHCP_PEER_WIRE_H
#define BOOTWELL_DHCP_PEER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/state/state.h"

#define PEER_VERSION    2
#define PEER_PACKET_MAX 1400 /* bytes */
#define PEER_HEAD       8
#define PEER_ADDRESSES  64 /* of a server, that are told */
#define PEER_LEASE_MAX  (32 + 64)
#define PEER_TEXT_MAX   600 /* bytes of a value that is compared */
#define PEER_NAME_MAX   200 /* of a file's name, and of a key */
#define PEER_FOREVER    UINT32_MAX

enum peer_kind { PEER_HELLO = 1, PEER_LEASES, PEER_ANSWERED, PEER_LINES = 5, PEER_NAMES };

struct peer_out {
	uint8_t data[PEER_PACKET_MAX];
	size_t length; /* 0: empty */
};

struct peer_hello {
	uint64_t run;  /* a random number for each start of the sender */
	uint64_t sees; /* the run that it hears; 0: nobody */
	/* Of the stream of leases that it sends, and of the one that it receives: peer_leases. */
	uint32_t session, of_session;
	uint64_t last, has;
	int64_t clock;  /* s since 1970 */
	uint64_t lines; /* what both must agree about, in one number: peer_lines_sum() */
	bool backup;
	uint32_t address[PEER_ADDRESSES]; /* its own */
	unsigned int addresses;
};

/*
 * Leases, as a stream: each one that is told has a position, and one that changes gets the next. A datagram holds all
 * that stand at positions from + 1 to `to` still. `has` (of the session of_session): the receiver of the other stream
 * has all up to there, on its disk. A session begins with all leases.
 */
struct peer_leases {
	uint64_t run, to_run;
	uint32_t session, of_session;
	uint64_t from, to, last, has;
};

struct peer_lease {
	struct state_lease lease; /* address, state, mac, id, version */
	uint32_t left;            /* s; PEER_FOREVER */
};

/* One thing that both must agree about. */
struct peer_line {
	uint64_t run, lines; /* of the HELLO that it belongs to */
	uint16_t index, count;
	uint32_t line; /* in the file; 0: not there, this is what goes without */
	char file[PEER_NAME_MAX], key[PEER_NAME_MAX], value[PEER_TEXT_MAX];
};

/* 0 and the kind; -EPROTO: none of ours; -EPROTONOSUPPORT: ours, of another version (then *ret is that). */
int peer_wire_kind(const uint8_t *p, size_t length, unsigned int *ret);

void peer_wire_hello(struct peer_out *out, const struct peer_hello *hello);
bool peer_read_hello(struct peer_hello *ret, const uint8_t *p, size_t length);

/* Begins one, adds a lease (false: it is full), writes what is known at the end. */
void peer_wire_leases(struct peer_out *out);
bool peer_wire_lease(struct peer_out *out, const struct peer_lease *lease);
void peer_wire_leases_end(struct peer_out *out, const struct peer_leases *leases);
bool peer_read_leases(struct peer_leases *ret, const uint8_t *p, size_t length);
/* The lease at *at, which is 0 for the first one; false: there is no further one, or it is damaged. */
bool peer_read_lease(struct peer_lease *ret, const uint8_t *p, size_t length, size_t *at);

bool peer_wire_answered(struct peer_out *out, uint32_t xid, const uint8_t chaddr[6]);
bool peer_read_answered(const uint8_t *p, size_t length, size_t n, uint32_t *xid, const uint8_t **chaddr);

/* Begins one: where its records go, PEER_PACKET_MAX - PEER_HEAD bytes at most (dhcp/peer_names.h). */
uint8_t *peer_wire_names(struct peer_out *out);

void peer_wire_line(struct peer_out *out, const struct peer_line *line);
bool peer_read_line(struct peer_line *ret, const uint8_t *p, size_t length);

#endif
