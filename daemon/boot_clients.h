/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All clients in memory, found by MAC, address, name or id, beside their rows in the store. Private
 * to boot*.c.
 */
#ifndef BOOTWELL_BOOT_CLIENTS_H
#define BOOTWELL_BOOT_CLIENTS_H

#include <stdint.h>

#include "daemon/boot.h"
#include "daemon/store.h"
#include "daemon/target.h"

#define BOOT_CLIENTS_MAX                                                                           \
	4096               /* that register by themselves; a stranger can make up MAC addresses */
#define BOOT_WAITERS_MAX 4 /* script requests of one PC that wait for the same target */

struct boot_waiter {
	boot_script_fn done;
	void *arg;
};

struct boot_client {
	struct store_client rec;
	struct boot_client *next[4]; /* in the chains of the four tables */

	enum boot_state state;
	struct store_boot steps;  /* of the boot that is going on or went last */
	struct store_boot coming; /* what DHCP and TFTP saw of the next one; becomes `steps` with
				     the script */
	uint64_t nbp_sent_ns;     /* CLOCK_MONOTONIC; 0: no hand-off is awaited */
	uint64_t ipxe_seen_ns;    /* CLOCK_MONOTONIC of the last DHCP as firmware or iPXE */

	bool has_target;
	bool disk_failed; /* tcmu-runner could not open it again after a restart */
	bool logged_in;
	uint64_t logged_in_ns; /* CLOCK_MONOTONIC */
	uint64_t logged_out_ns; /* CLOCK_MONOTONIC of the end of its last session; 0: none that we saw */
	char session_address[64];
	char iqn[TARGET_NAME_MAX];
	char disk[TARGET_ID_MAX];
	char image[CONFIG_NAME_MAX]; /* what the target serves */
	struct {
		char image[CONFIG_NAME_MAX];
		uint32_t generation; /* 0: not known, it was taken over from an earlier run */
	} extra[CONFIG_DISKS]; /* further disks */
	unsigned int extras;

	uint32_t server; /* our address that it talks to */
	struct boot_waiter waiter[BOOT_WAITERS_MAX];
	unsigned int waiters;
};

struct boot_clients;

int boot_clients_new(struct boot_clients **ret, struct store *store); /* loads them */
void boot_clients_free(struct boot_clients *clients);

struct boot_client *boot_clients_by_mac(const struct boot_clients *clients, const uint8_t mac[6]);
struct boot_client *boot_clients_by_address(const struct boot_clients *clients, uint32_t address);
struct boot_client *boot_clients_by_name(const struct boot_clients *clients,
					 const char *name); /* any case */
struct boot_client *boot_clients_by_id(const struct boot_clients *clients, int64_t id);
struct boot_client *boot_clients_at(const struct boot_clients *clients,
				    size_t n); /* NULL past the last */
size_t boot_clients_count(const struct boot_clients *clients);

/* Writes `rec` (id 0: a new client) and keeps tables and memory as the row is. -EEXIST: the name is
 * taken. */
int boot_clients_put(struct boot_clients *clients, const struct store_client *rec,
		     struct boot_client **ret);
int boot_clients_remove(struct boot_clients *clients, struct boot_client *client);

/* A name by `pattern` that nobody has: of the address's last octet if that is free. */
int boot_clients_new_name(struct boot_clients *clients, const char *pattern, uint32_t address,
			  char ret[16]);

#endif
