/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who a PC is. What its [client] section names decides, the strongest that it names:
 *
 *	uuid		the board: with whatever network card, dock or port of a switch
 *	mac		the network card, in whatever board
 *	circuit		whoever is plugged in there
 *	none		a section that has only its name is about the client that has that name
 *
 * A PC without a section is its network card. This makes a PC's key, a word of small letters, digits and hyphens, which
 * its record, its write-back, its target and its lease go by; another key is another PC. Nobody else compares MACs,
 * UUIDs or circuits to find out who a PC is.
 */
#ifndef BOOTWELL_CONFIG_IDENTITY_H
#define BOOTWELL_CONFIG_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#define IDENTITY_KEY_MAX 48 /* bytes with NUL: "525400123456", "uuid-" and 32 digits, "circuit-" and 16 */

struct config;
struct config_client;

/* What a message tells of who sends it. */
struct identity {
	const uint8_t *mac;
	const uint8_t *uuid; /* as in option 97, NULL: not told */
	const char *circuit; /* "" or NULL: not told */
};

/* 32 times the same byte or what boards have whose maker gave them none: it tells nothing. */
bool identity_uuid_is_useless(const uint8_t uuid[16]);
/* Firmware sends SMBIOS's byte order, some iPXE the order of the text: both are the same PC. */
bool identity_uuid_same(const uint8_t a[16], const uint8_t b[16]);

struct identity_text {
	char s[180];
};
/* As people write it. */
struct identity_text identity_uuid_text(const uint8_t uuid[16]);
/* "uuid 4c4c4544-…", "network card 52:54:00:12:34:56", "relay's circuit port 7". */
struct identity_text identity_text(const struct config *config, const char *key);

/* Fills in section->key: "" when it has only its name. */
void identity_fill(struct config_client *section);
void identity_of_mac(const uint8_t mac[6], char ret[IDENTITY_KEY_MAX]);
/* By its network card, or by something stronger? */
bool identity_is_mac(const char *key);
bool identity_is_uuid(const char *key);
/* Is it a word that may be a key at all? What comes from a network or a file is asked first. */
bool identity_is_key(const char *text);

/*
 * A PC's key as the identifier that its leases are kept by, in place of what it sends as option 61; its length. 0: it
 * is a MAC, and that is in the lease anyway.
 */
#define IDENTITY_LEASE_ID_MAX 64
uint8_t identity_lease_id(const char *key, uint8_t ret[IDENTITY_LEASE_ID_MAX]);
/* The key in such an identifier; false: it is none. */
bool identity_of_lease_id(const uint8_t *id, uint8_t length, char ret[IDENTITY_KEY_MAX]);

/*
 * The section that is about the sender; NULL: none. What a section names and the message tells otherwise is another PC.
 */
const struct config_client *identity_section(const struct config *config, const struct identity *who);
/* Is the board of a section that names a UUID the one that was seen? Where none is told, its card says so. */
bool identity_is_board(const struct config_client *section, const struct identity *who);
/* What both sections name, which is a mistake: "mac", "uuid", "circuit"; NULL: nothing. */
const char *identity_in_both(const struct config_client *a, const struct config_client *b);
/* The section of a record; `name`: its name. */
const struct config_client *identity_section_of(const struct config *config, const char *key, const char *name);

#endif
