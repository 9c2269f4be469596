/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the server has learned by itself, in SQLite: clients, leases, catalogue of images, history
 * of boots. One connection, used from one thread at a time. journal_mode=WAL, synchronous=FULL:
 * after store_commit() returned 0 the changes survive a power loss. Addresses in host byte order;
 * times are CLOCK_REALTIME seconds since 1970.
 *
 * Changes outside store_begin()/store_commit() are transactions of their own.
 */
#ifndef BOOTWELL_STORE_H
#define BOOTWELL_STORE_H

#include <stdbool.h>
#include <stdint.h>

struct store;

int store_new(struct store **ret, const char *file, char error[256]);
void store_free(struct store *store);
int store_begin(struct store *store);
/* As store_begin(), but locks nothing before the first change: one without changes is free. Change, then read. */
int store_begin_lazy(struct store *store);
int store_commit(struct store *store);
void store_rollback(struct store *store);
/* The file, for a second connection (one a thread). */
const char *store_file(const struct store *store);
const char *store_error(const struct store *store); /* what SQLite said last */

enum store_lease_state { STORE_LEASE_FREE, STORE_LEASE_BOUND, STORE_LEASE_DECLINED };

struct store_lease {
	uint32_t address;
	enum store_lease_state state;
	uint8_t mac[6];
	uint8_t id_length; /* DHCP client identifier (option 61), 0: by MAC */
	uint8_t id[64];
	int64_t expires;
	int64_t updated;
};
int store_lease_put(struct store *store, const struct store_lease *lease); /* by address */
int store_lease_remove(struct store *store, uint32_t address);
int store_lease_each(struct store *store, void (*fn)(void *arg, const struct store_lease *lease),
		     void *arg);

struct store_client {
	int64_t id; /* 0 for a new one; store_client_put() sets it */
	uint8_t mac[6];
	bool has_uuid;
	uint8_t uuid[16];
	char name[16];    /* "PC101"; unique without regard to case */
	bool named;       /* a person chose it: do not ask at boot */
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
int store_client_by_mac(struct store *store, const uint8_t mac[6], struct store_client *ret);
int store_client_by_name(struct store *store, const char *name, struct store_client *ret);
int store_client_by_id(struct store *store, int64_t id, struct store_client *ret);
int store_client_by_address(struct store *store, uint32_t address,
			    struct store_client *ret); /* the last one seen */
int store_client_put(struct store *store,
		     struct store_client *client); /* -EEXIST: the name is taken */
int store_client_remove(struct store *store, int64_t id);
int store_client_each(struct store *store, void (*fn)(void *arg, const struct store_client *client),
		      void *arg);

/* The catalogue: one row a generation of an image. */
struct store_image {
	int64_t id;
	char name[64];
	uint32_t generation; /* 1.. */
	char file[256];      /* beneath images_path */
	char format[16];
	char image_id[40]; /* UUID or CID */
	char parent_id[40];
	uint64_t virtual_size, file_size;
	uint64_t size_override;
	int64_t added;
	bool current; /* what new boots get */
	/* Of the last `image verify`: when (0: never), and whether it holds something else than when it was made. */
	int64_t checked;
	bool check_failed;
};
int store_image_put(struct store *store, struct store_image *image); /* all but the check */
int store_image_set_check(struct store *store, int64_t id, int64_t when, bool failed);
int store_image_remove(struct store *store, int64_t id);
int store_image_current(struct store *store, const char *name, struct store_image *ret);
int store_image_by_image_id(struct store *store, const char *image_id, struct store_image *ret);
int store_image_by_id(struct store *store, int64_t id, struct store_image *ret);
/* Makes it the one that new boots get, and every other generation of that name not. */
int store_image_make_current(struct store *store, int64_t id);
int store_image_each(struct store *store, void (*fn)(void *arg, const struct store_image *image),
		     void *arg);

/*
 * A super client: the one client whose write-back will be the next generation of an image. One for an image, one for a
 * client. It lies on `generation`, in an overlay of its own, kept over reboots: store_session.c.
 */
struct store_session {
	char image[64];
	int64_t client;
	uint32_t generation;
	char overlay[40], reset[40]; /* UUIDs; `reset`: of this session, docs/handover.md */
	int64_t started;
};
int store_session_put(struct store *store, const struct store_session *session); /* -EEXIST: image or client has one */
int store_session_remove(struct store *store, const char *image);
/* 1, 0, -errno. */
int store_session_by_image(struct store *store, const char *image, struct store_session *ret);
int store_session_by_client(struct store *store, int64_t client, struct store_session *ret);

#define STORE_BOOTS_KEPT 50 /* of each client */

/* Steps of a boot; one that has not happened is 0. CLOCK_REALTIME ns. Put again (by id) as its
 * steps happen. */
struct store_boot {
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
int store_boot_put(struct store *store, struct store_boot *boot);
int store_boot_each(struct store *store, int64_t client, int limit,
		    void (*fn)(void *arg, const struct store_boot *boot),
		    void *arg); /* newest first */

#endif
