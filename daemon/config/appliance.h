/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the appliance itself takes from bootwell.conf: [appliance] and [network NAME]. bootwelld
 * checks these with the rest, so that one file is right or wrong as a whole; the appliance's
 * start-up (initramfs/setup) asks for them with `bootwell system settings FILE`. On a Debian that a
 * person installed they change nothing.
 *
 * Private to config*.c and cli/system.c.
 */
#ifndef BOOTWELL_CONFIG_APPLIANCE_H
#define BOOTWELL_CONFIG_APPLIANCE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define APPLIANCE_KEYS     16   /* ssh keys, and keys that may sign an update, each */
#define APPLIANCE_KEY_MAX  1024 /* bytes with NUL: RSA with 4096 bits needs 740 and a comment */
#define APPLIANCE_NETWORKS 8
#define APPLIANCE_HOSTS    256 /* bytes with NUL: a list of hosts */

struct config_keys {
	char key[APPLIANCE_KEYS][APPLIANCE_KEY_MAX];
	unsigned int count;
};

struct config_appliance {
	unsigned int line; /* of [appliance]; 0: there is none */
	char hostname[64];
	char ntp[APPLIANCE_HOSTS]; /* hosts, blanks between; "" = what DHCP says, else Debian's pool
				    */
	char state_disk[128];      /* "serial:S" or "label:L"; "" = the one labelled BW-STATE */
	bool format_state_disk;    /* only ever when it is empty */
	char images[256];          /* "state", "nfs:HOST:/PATH", "label:L", "serial:S"; "" = state */
	struct config_keys ssh, update;
	unsigned int format_line;
};

/* [network NAME]: one wired interface. */
struct config_network {
	char name[64];
	unsigned int line;
	char interface[32]; /* name or MAC in small letters; "" = every wired one (alone in the
			       file) */
	char address[32];   /* "dhcp" or A.B.C.D/N */
	char gateway[16];   /* "" none */
	char dns[APPLIANCE_HOSTS];
};

/* Parsers in the manner of config/value.h: NULL, or what is wrong with the value. */
const char *appliance_host(const char *text, char *ret, size_t size);
const char *appliance_hosts(const char *text, char *ret, size_t size);
const char *appliance_disk(const char *text, char *ret, size_t size);
const char *appliance_images(const char *text, char *ret, size_t size);
const char *appliance_interface(const char *text, char *ret, size_t size);
const char *appliance_address(const char *text, char *ret, size_t size);
const char *appliance_gateway(const char *text, char *ret, size_t size);
const char *appliance_key(const char *text, struct config_keys *keys); /* appended */

/* The network of an `address`; false when it comes from DHCP. */
bool appliance_network(const char *address, uint32_t *ret_network, uint8_t *ret_prefix);

/*
 * Whether the two kinds of section make sense together; calls `mistake` for each thing that is
 * wrong.
 */
typedef void (*appliance_mistake_fn)(void *arg, unsigned int line, const char *message);
void appliance_check(const struct config_appliance *appliance, const struct config_network *network, size_t networks,
		     appliance_mistake_fn mistake, void *arg);

/* Writes them as assignments that a shell can read, each value quoted. */
void appliance_print(FILE *to, const struct config_appliance *appliance, const struct config_network *network,
		     size_t networks);

#endif
