/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the server has learned by itself, in SQLite: clients, leases, catalogue of images, history
 * of boots. One connection, used from one thread at a time. journal_mode=WAL, synchronous=FULL:
 * after state_commit() returned 0 the changes survive a power loss. Addresses in host byte order;
 * times are CLOCK_REALTIME seconds since 1970.
 *
 * Changes outside state_begin()/state_commit() are transactions of their own.
 */
#ifndef BOOTWELL_STATE_H
#define BOOTWELL_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/config/identity.h"
#include "tcmu-handler/image/image.h"
#include "tcmu-handler/image/sentence.h"

struct state;

int state_new(struct state **ret, const char *file, struct sentence *error);
void state_free(struct state *state);

/*
 * For a thread that must not wait for a disk: all reading is of memory (not of leases and boots, see below), and what
 * is changed is true here at once, and written to the file by a thread of its own, in that order. What must be on the
 * disk before somebody is told of it waits by state_when(). While the disk takes nothing changes are refused, and
 * state_error() says why.
 *
 * Until state_begin_queue() everything is as with state_new(); leases and boots can be read until then only. `wake` is
 * called on that thread, and must not call back here; then the owner calls state_deliver(), and four times a second.
 */
#define STATE_PATIENCE (5 * 1000000000ull) /* ns that somebody waits for the disk, then he is told -ETIMEDOUT */

int state_new_queued(struct state **ret, const char *file, struct sentence *error);
int state_begin_queue(struct state *state, void (*wake)(void *arg), void *arg);
void state_deliver(struct state *state);
/* Changes that the file does not take for they contradict it, since it was asked last; state_error() has the reason. */
unsigned int state_lost(struct state *state);

/* Where the changes until now end. */
uint64_t state_position(const struct state *state);
bool state_is_durable(const struct state *state, uint64_t position);
/*
 * `done` when all is on the disk until there: 0, at once when it is, or there is no queue. -errno: it could not be
 * written yet. It stays true here and is tried again, but would be forgotten by a crash. Always called, once.
 */
typedef void (*state_done_fn)(void *arg, int result);
void state_when(struct state *state, uint64_t position, state_done_fn done, void *arg);
/*
 * A part of a transaction, on the thread, after all changes until now: 0 or -errno. Tried once: `done` is told how the
 * transaction went. `data` (malloc) is freed then. Without a queue: at once.
 */
typedef int (*state_job_fn)(struct state *disk, void *data);
void state_job(struct state *state, state_job_fn work, void *data, state_done_fn done, void *arg);
/* Waits until all is written, at most so long, and tells who waits; false: it is not. */
bool state_flush(struct state *state, uint64_t ns);
/* The same at the end: all who wait are told, with -ECANCELED, and from then on at once. */
bool state_settle(struct state *state, uint64_t ns);

int state_begin(struct state *state);
/* As state_begin(), but locks nothing before the first change: one without changes is free. Change, then read. */
int state_begin_lazy(struct state *state);
int state_commit(struct state *state);
void state_rollback(struct state *state);
/* The file, for a second connection (one a thread). */
const char *state_file(const struct state *state);
const char *state_error(const struct state *state); /* what SQLite said last */

enum state_lease_state { STATE_LEASE_FREE, STATE_LEASE_BOUND, STATE_LEASE_DECLINED };

struct state_lease {
	uint32_t address;
	enum state_lease_state state;
	uint8_t mac[6];
	uint8_t id_length; /* DHCP client identifier (option 61), or a PC's key: identity_lease_id() */
	uint8_t id[64];
	int64_t expires;
	int64_t updated; /* 0: by a clock that was not known to be right; then `expires` is no better */
	/*
	 * What was left of it when it was written (s; INT64_MAX: it does not end), in which boot of this machine that
	 * was, and when by that boot's CLOCK_BOOTTIME (s): what no person and no dead battery can change. The boot is
	 * all 0 in rows of before there was this.
	 */
	int64_t left;
	uint8_t boot[16];
	int64_t boot_s;
	/* Which change of the address it is: how often the primary and the backup of a pair had changed it. */
	uint64_t version[2];
};
int state_lease_put(struct state *state, const struct state_lease *lease); /* by address */
/* Makes the lease that a PC has by its MAC that of its key. */
int state_lease_rekey(struct state *state, uint32_t address, const uint8_t mac[6], const void *id, uint8_t id_length);
int state_lease_remove(struct state *state, uint32_t address);
/* With a queue before it has begun only, as boots. */
int state_lease_each(struct state *state, void (*fn)(void *arg, const struct state_lease *lease), void *arg);

struct state_client {
	int64_t id;                 /* 0 for a new one; state_client_put() sets it */
	char key[IDENTITY_KEY_MAX]; /* who it is, daemon/config/identity.h; unique */
	uint8_t mac[6];             /* the network card that it came with last */
	bool has_uuid;
	uint8_t uuid[16];
	char name[16];    /* "PC101"; unique without regard to case */
	uint32_t named;   /* how many times a person has chosen it: do not ask at boot; 0: it is automatic */
	char group[64];   /* "" = default */
	char image[64];   /* state: `client set`; "" = what configuration says */
	int keep;         /* -1: what configuration says */
	int upload;       /* -1 */
	uint16_t arch;    /* option 93 at its last boot, 0xffff unknown */
	char nbp[64];     /* last NBP sent */
	bool nbp_failed;  /* no script request followed it */
	uint32_t address; /* last lease */
	int64_t first_seen, last_seen, last_boot;
	char overlay[40]; /* UUID of its write-back, made when it is first needed */
	char reset[40];   /* UUID: a kept write-back that remembers another one is dropped */
};
/* Returns 1 if found, 0 if not, -errno. */
int state_client_by_key(struct state *state, const char *key, struct state_client *ret);
int state_client_by_mac(struct state *state, const uint8_t mac[6], struct state_client *ret); /* the last one seen */
int state_client_by_name(struct state *state, const char *name, struct state_client *ret);
int state_client_by_id(struct state *state, int64_t id, struct state_client *ret);
int state_client_by_address(struct state *state, uint32_t address, struct state_client *ret); /* the last one seen */
int state_client_put(struct state *state, struct state_client *client); /* -EEXIST: the name is taken */
/* It is another PC from now on, and what it has goes with it. -EEXIST: there is a record of that PC. */
int state_client_rekey(struct state *state, int64_t id, const char *key);
/* Before keys there were MACs only: such a record's key is "old-" and its MAC, until daemon/boot/ has decided. */
#define STATE_KEY_OLD "old-"
int state_client_remove(struct state *state, int64_t id);
int state_client_each(struct state *state, void (*fn)(void *arg, const struct state_client *client), void *arg);

/* The catalogue: one row a generation of an image. */
struct state_image {
	int64_t id;
	char name[64];
	uint32_t generation; /* 1.. */
	char file[256];      /* beneath images_path */
	char format[16];
	char image_id[40]; /* UUID or CID */
	char parent_id[40];
	char parent_hint[256], own_name[128]; /* what the child calls its parent, what the file was called once */
	uint64_t fingerprint;                 /* of headers and tables; 0: added by a version that did not note it */
	int64_t parent;                       /* the row of the parent, 0: not decided yet */
	uint64_t virtual_size, file_size;
	uint64_t size_override;
	int64_t added;
	bool current; /* what new boots get */
	/* Of the last `image verify` that could compare: when (0: never), and whether it holds something else than when
	 * it was made. */
	int64_t checked;
	bool check_failed;
	/* Of a later one that could not: when (0: there was none), and whether its file was absent or unreadable. */
	int64_t missed;
	enum image_outcome missed_why;
};
int state_image_put(struct state *state, struct state_image *image); /* all but the check */
int state_image_set_check(struct state *state, int64_t id, int64_t when, enum image_outcome outcome);
int state_image_outcome(const struct state_image *image); /* enum image_outcome of the last look; -1: there was none */
int state_image_remove(struct state *state, int64_t id);
int state_image_current(struct state *state, const char *name, struct state_image *ret);
int state_image_by_id(struct state *state, int64_t id, struct state_image *ret);
/* Makes it the one that new boots get, and every other generation of that name not. */
int state_image_make_current(struct state *state, int64_t id);
int state_image_each(struct state *state, void (*fn)(void *arg, const struct state_image *image), void *arg);

/*
 * A super client: the one client whose write-back will be the next generation of an image. One for an image, one for a
 * client. It lies on `generation`, in an overlay of its own, kept over reboots: state/session.c.
 */
struct state_session {
	char image[64];
	int64_t client;
	uint32_t generation;
	char overlay[40], reset[40]; /* UUIDs; `reset`: of this session, docs/handover.md */
	int64_t started;
};
int state_session_put(struct state *state, const struct state_session *session); /* -EEXIST: image or client has one */
int state_session_remove(struct state *state, const char *image);
/* 1, 0, -errno. */
int state_session_by_image(struct state *state, const char *image, struct state_session *ret);
int state_session_by_client(struct state *state, int64_t client, struct state_session *ret);

#define STATE_BOOTS_KEPT 50 /* of each client */

/* Steps of a boot; one that has not happened is 0. CLOCK_REALTIME ns. Put again (by id) as its
 * steps happen. */
struct state_boot {
	int64_t id;
	int64_t client;
	char image[64];
	uint32_t generation;
	uint64_t dhcp_ns, tftp_ns, ipxe_ns, script_ns, ready_ns, login_ns, first_read_ns;
	/* Known once it has settled (tcmu-handler/boot_idle.h): the last command of the boot, and the times without one
	 * before that: how many of half a second and more, their sum, the longest. */
	uint64_t settled_ns, idle_gaps, idle_ns, idle_longest_ns;
	char failure[256];
};
int state_boot_put(struct state *state, struct state_boot *boot);
int state_boot_each(struct state *state, int64_t client, int limit,
		    void (*fn)(void *arg, const struct state_boot *boot), void *arg); /* newest first */

#endif
