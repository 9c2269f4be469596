/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which address belongs to whom: the index in memory of all subnets' ranges, reservations and leases. No I/O, no clock:
 * `now` and `expires` are seconds of any clock that never goes back. Every operation takes constant time, or O(log n)
 * where a moment of expiry changes, however many addresses there are; memory grows with the addresses that were ever
 * given, not with the size of a range.
 */
#ifndef BOOTWELL_LEASE_H
#define BOOTWELL_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/config/config.h"

#define LEASE_ID_MAX     64
#define LEASE_FOREVER    INT64_MAX
#define LEASE_OFFER_TIME 60   /* s that an offer is kept for its client */
#define LEASE_QUARANTINE 3600 /* s that an address found in use is left alone */

struct lease_table;

enum lease_state {
	LEASE_FREE,        /* nobody's, but its last holder is remembered and gets it again if he can */
	LEASE_OFFERED,     /* kept for a client, unless the range runs out: then the oldest offer is used again */
	LEASE_BOUND,       /* acknowledged */
	LEASE_QUARANTINED, /* declined, or found in use by somebody */
	LEASE_STATES
};

/*
 * Who a client is: by the PC's key, where the configuration knows it by more than its network card; else by MAC, so
 * that firmware, iPXE and operating system of one PC, which send three different client identifiers, keep one address
 * (the disk hangs on it). Without a usable MAC (no Ethernet): by client identifier.
 */
struct lease_client {
	bool keyed; /* id is a PC's key, identity_lease_id(); `mac` is the card that it has now */
	bool has_mac;
	uint8_t mac[6];
	uint8_t id_length;
	uint8_t id[LEASE_ID_MAX];
};

struct lease {
	uint32_t address;
	enum lease_state state;
	struct lease_client client; /* holder, or last holder */
	int64_t expires;
	unsigned int subnet; /* index in the configuration */
	bool dynamic;        /* in a range, neither excluded nor reserved */
	uint64_t version[2]; /* for the caller: of its last change, peer.h; both 0: never given */
	uint64_t position;   /* for the caller: in what the other server of a pair is being told */
	int64_t freed;       /* when it became free, by the table's clock */
	int64_t probed;      /* for the caller: when nobody answered there; 0 never */
	bool had;            /* for the caller: client has had it bound, not only offered */
	bool brief;          /* for the caller: bound for a short time, until its holder has gone on */
	int64_t promised;    /* for the caller: while bound, the expiry that the holder was told last; 0: none yet */
	bool written;        /* for the caller: that is on our own disk, not only on the other server's */

	/* lease.c only */
	struct lease *next_address, *next_client, *prev, *next;
	size_t heap;
	bool known; /* client is filled in and hashed */
};

/* `config` must stay valid as long as the table. */
int lease_table_new(struct lease_table **ret, const struct config *config);
void lease_table_free(struct lease_table *table);

/*
 * What a server of a pair may give to whom, where the range is split by halves: to somebody new only addresses of its
 * own half, and of those only such as both know to be free: never given, or free since before `sure` (by the table's
 * clock). Also while it hears the other one: that may end before the other one has learnt of the change. The last
 * holder of one of its own half gets it in any case, and who has a running lease keeps it wherever it is. Halves are
 * counted in each subnet's ranges; LEASE_WHOLE: no such rule.
 */
enum lease_half { LEASE_WHOLE, LEASE_LOWER, LEASE_UPPER };
void lease_table_split(struct lease_table *table, enum lease_half half);
void lease_table_sure(struct lease_table *table, int64_t sure, int64_t now);

/* Is called for a lease that lease_set() frees beside the one that it changes; with what the caller may write down. */
typedef void (*lease_freed_fn)(void *arg, struct lease *lease);
void lease_table_on_freed(struct lease_table *table, lease_freed_fn fn, void *arg);

/* Give addresses from the end of the ranges: the backup of a pair, so that two that cannot talk rarely meet. */
void lease_table_backwards(struct lease_table *table, bool backwards);

/* Never give this address to anybody (the server's own, a router's). */
int lease_table_avoid(struct lease_table *table, uint32_t address);

/*
 * Takes over a lease from a store, from the other server or from the table before a reload; ignored (0) if no subnet
 * has a place for it. Nothing else is freed by it: another lease of that client stays as it is, but is
 * nobody's any more, until it ends. `is_his` false: this one is such a lease.
 */
int lease_table_restore(struct lease_table *table, uint32_t address, enum lease_state state,
			const struct lease_client *client, int64_t expires, bool is_his);
void lease_table_copy(struct lease_table *to, const struct lease_table *from);

/* The next one that has expired by `now`; NULL: none. For the caller who may want to bind it longer. */
struct lease *lease_table_due(struct lease_table *table, int64_t now);
/* Lets go what has expired by `now`; returns when it must be called again (LEASE_FOREVER: nothing to wait for). */
int64_t lease_table_expire(struct lease_table *table, int64_t now);

size_t lease_table_count(const struct lease_table *table, enum lease_state state);
/* In ranges, reserved ones and excluded not counted out. */
uint64_t lease_table_addresses(const struct lease_table *table);

/* One subnet's ranges. */
struct lease_usage {
	uint64_t addresses; /* that can be given: without the reserved and the excluded ones */
	size_t bound, offered, quarantined;
};
/* For the caller, one a subnet. */
struct lease_notes {
	int64_t asked_in_vain; /* when somebody last did; 0: never */
	bool relayed;          /* a relay has brought messages of it */
};
struct lease_notes *lease_table_notes(struct lease_table *table, unsigned int subnet);
void lease_table_usage(struct lease_table *table, unsigned int subnet, struct lease_usage *ret);

/* What is known about an address; NULL: nothing yet. */
struct lease *lease_by_address(struct lease_table *table, uint32_t address);
/* The client's address in that subnet, in whatever state; NULL: none. */
struct lease *lease_by_client(struct lease_table *table, unsigned int subnet, const struct lease_client *client);
bool lease_client_equal(const struct lease_client *a, const struct lease_client *b);
/* One PC may have several network cards: is it the same one of them? */
bool lease_client_same_card(const struct lease_client *a, const struct lease_client *b);

/* May this client have this address at all: in a range and nobody else's reservation, or its own reservation? */
bool lease_allowed(const struct lease_table *table, unsigned int subnet, uint32_t address, uint32_t reserved);

/*
 * Finds the address to offer: the reserved one, the one that the client has or had, the one that it asks for, one never
 * given, the one longest free, the oldest offer of somebody else. The result is not changed yet: lease_set() does that.
 * -ENOSPC: all are taken. -ENOMEM.
 */
int lease_choose(struct lease_table *table, unsigned int subnet, const struct lease_client *client, uint32_t reserved,
		 uint32_t requested, struct lease **ret);
/* The lease of one particular address for this client, if it may have it and nobody else has it; else -EADDRINUSE. */
int lease_claim(struct lease_table *table, unsigned int subnet, const struct lease_client *client, uint32_t reserved,
		uint32_t address, struct lease **ret);

/*
 * Changes state. `client` NULL keeps the holder. A client has one address a subnet: one that it held before is freed,
 * when it is given this one; while this one is only offered, it stays, as nobody's, until it ends.
 * Quarantine holds at most a quarter of a subnet's addresses (32 at least): then the oldest one is freed.
 */
void lease_set(struct lease_table *table, struct lease *lease, enum lease_state state,
	       const struct lease_client *client, int64_t expires);

void lease_each(const struct lease_table *table, void (*fn)(void *arg, const struct lease *lease), void *arg);

#endif
