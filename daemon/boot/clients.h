/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All clients in memory, found by key, MAC, address, name or id, beside their rows in the store. Private
 * to boot*.c.
 */
#ifndef BOOTWELL_BOOT_CLIENTS_H
#define BOOTWELL_BOOT_CLIENTS_H

#include <stdint.h>

#include "daemon/boot/boot.h"
#include "daemon/boot/ipxe_script.h"
#include "daemon/state/state.h"
#include "daemon/target/target.h"

#define BOOT_CLIENTS_MAX 4096 /* that register by themselves; a stranger can make up MAC addresses */
#define BOOT_WAITERS_MAX 4    /* script requests of one PC that wait for the same target */

struct boot_waiter {
	boot_script_fn done;
	void *arg;
};

struct boot_client {
	struct state_client rec;
	struct boot_client *next[5]; /* in the chains of the five tables */
	uint64_t seen;               /* a larger number: seen later; 0: not since the start */

	enum boot_state state;
	struct state_boot steps;  /* of the boot that is going on or went last */
	struct state_boot coming; /* what DHCP and TFTP saw of the next one; becomes `steps` with
				     the script */
	uint64_t nbp_sent_ns;     /* CLOCK_MONOTONIC; 0: no hand-off is awaited */
	uint64_t ipxe_seen_ns;    /* CLOCK_MONOTONIC of the last DHCP as firmware or iPXE */

	bool has_target;
	bool disk_failed; /* tcmu-runner could not open it again after a restart */
	bool logged_in;
	uint64_t quiet_ms;       /* of its session, when it was looked at last: since anything was heard of it */
	uint64_t looked_ns;      /* CLOCK_MONOTONIC of that; 0: how quiet it is is not known */
	unsigned int unanswered; /* how many times in a row it answered no ARP */
	bool by_arp;             /* it is on a wire of ours: a PC that is off is known by ARP */
	uint64_t logged_in_ns;   /* CLOCK_MONOTONIC */
	uint64_t logged_out_ns;  /* CLOCK_MONOTONIC of the end of its last session; 0: none that we saw */
	char session_address[64];
	char iqn[TARGET_NAME_MAX];
	char disk[TARGET_ID_MAX];
	char image[CONFIG_NAME_MAX]; /* what the target serves */
	struct {
		char image[CONFIG_NAME_MAX];
		uint32_t generation; /* 0: not known, it was taken over from an earlier run */
	} extra[CONFIG_DISKS];       /* further disks */
	unsigned int extras;

	/* The script that is being asked for. */
	struct {
		uint64_t first_ms, last_ms; /* boot_nonce_now() of the first request, and of the last one */
		uint64_t nonce_ms;          /* when its nonce was made; 0: it has none */
		uint32_t address;
		char image[CONFIG_NAME_MAX]; /* "" none was chosen */
		struct ipxe_script_where where;
		unsigned int disks; /* further ones whose images were asked for */
	} asked;
	bool asking;            /* the catalogue is asked for its images */
	bool guarding;          /* boot/guard.c is looking */
	uint64_t nonce_used_ms; /* nonces that were made before have had their boot */
	bool not_noted;         /* its record is in memory, perhaps not in the state */
	uint64_t noted;         /* state_position() behind what its disk stands on; 0: that is on the disk */
	bool noting;            /* it is waited for */

	/* Of the last boot that got a disk; "" none. */
	char ready_image[CONFIG_NAME_MAX];
	uint32_t ready_generation;

	uint32_t server; /* our address that it talks to */
	struct boot_waiter waiter[BOOT_WAITERS_MAX];
	unsigned int waiters;
};

struct boot_clients;
struct promised; /* boot/promised.h */

int boot_clients_new(struct boot_clients **ret, struct state *state); /* loads them */
void boot_clients_free(struct boot_clients *clients);

struct boot_client *boot_clients_by_key(const struct boot_clients *clients, const char *key);
/* The one that came with this network card last. */
struct boot_client *boot_clients_by_mac(const struct boot_clients *clients, const uint8_t mac[6]);
/* All that came with it last, in no order; `after` NULL: the first. */
struct boot_client *boot_clients_of_mac(const struct boot_clients *clients, const uint8_t mac[6],
					const struct boot_client *after);
/* A message of it came just now. */
void boot_clients_seen(struct boot_clients *clients, struct boot_client *client);
struct boot_client *boot_clients_by_address(const struct boot_clients *clients, uint32_t address);
struct boot_client *boot_clients_by_name(const struct boot_clients *clients, const char *name); /* any case */
struct boot_client *boot_clients_by_id(const struct boot_clients *clients, int64_t id);
struct boot_client *boot_clients_at(const struct boot_clients *clients, size_t n); /* NULL past the last */
size_t boot_clients_count(const struct boot_clients *clients);

/* Writes `rec` (id 0: a new client) and keeps tables and memory as the row is. -EEXIST: the name is
 * taken. */
int boot_clients_put(struct boot_clients *clients, const struct state_client *rec, struct boot_client **ret);
/* Its record is another PC's from now on. -EEXIST: that has one already. */
/* It has no record in the state: the number that it had there is another PC's, or will be. */
void boot_clients_lost(struct boot_clients *c, struct boot_client *client);
int boot_clients_rekey(struct boot_clients *clients, struct boot_client *client, const char *key);
/* `client` becomes what `rec` says, another key included, and `gone` (NULL: nobody) goes: both or neither. */
int boot_clients_move(struct boot_clients *clients, struct boot_client *client, const struct state_client *rec,
		      struct boot_client *gone);
int boot_clients_remove(struct boot_clients *clients, struct boot_client *client);

/* A name by `pattern` that nobody has, nor is promised: of the address's last octet if that is free. */
int boot_clients_new_name(struct boot_clients *clients, const char *pattern, uint32_t address,
			  const struct promised *promised, char ret[16]);

#endif
