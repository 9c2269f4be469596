/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who asks over the network, and what he may: operators by their tokens. Tokens are kept as hashes that take long to
 * try (scrypt, crypt(5)), so a right one is remembered for a while; wrong ones are counted, and who sends them has to
 * wait longer each time before the next is looked at. Safe from any thread.
 */
#ifndef BOOTWELL_ACCESS_H
#define BOOTWELL_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tcmu-handler/image/sentence.h"

#define ACCESS_FREE_TRIES 3  /* wrong tokens of an address before it has to wait: 1 s, 2, 4, ... */
#define ACCESS_WAIT_MAX   60 /* s */

#define ACCESS_NAME_MAX 64 /* bytes with NUL: an operator's name */

/* What an operator may: each includes those before it. */
enum access_role {
	ACCESS_ROLE_NONE,
	ACCESS_ROLE_SEE,     /* look */
	ACCESS_ROLE_OPERATE, /* PCs: settings, wake, remove, update sessions; look for DHCP servers */
	ACCESS_ROLE_ADMIN,   /* images and uploads, reload, the audit log */
};

struct access_operator {
	char name[ACCESS_NAME_MAX];
	unsigned int line; /* of the configuration */
	enum access_role role;
	char token[160]; /* crypt(5) hash */
};

/* Copied. */
struct access_settings {
	const struct access_operator *operator;
	size_t operators;
	const char *token;  /* of an operator without a name: itself or its hash; "" none */
	const char *names;  /* host names that we are asked by, besides addresses; commas between */
	const char *server; /* one more */
	bool open_status, open_metrics;
};

struct access;

struct access_who {
	char name[ACCESS_NAME_MAX]; /* "operator": of [http] token */
	enum access_role role;
};

int access_new(struct access **ret);
void access_free(struct access *access);
/* What counts from now on; what was remembered is forgotten. */
void access_set(struct access *access, const struct access_settings *settings);

/* `authorization`: the header as it came, "Bearer TOKEN", "Bearer NAME:TOKEN" or "Basic BASE64", or NULL. Does not take
 * long: 0 and who it is; -ENOENT: nobody; -EAGAIN: it must be checked. */
int access_known(struct access *access, const char *authorization, struct access_who *ret);
/* Takes a tenth of a second, and waits for others who are checked. -EACCES: it is wrong, counted; -EBUSY: the address
 * has to wait, nothing was looked at. */
int access_check(struct access *access, uint32_t address, const char *authorization, struct access_who *ret,
		 struct sentence *error);

/* Whether everyone may look, read the metrics. */
bool access_open_status(struct access *access);
bool access_open_metrics(struct access *access);
/* Whether the Host of a request (NULL: none) is this machine: an address, localhost, a name that the configuration has.
 * A page of another site whose name was made to lead here asks by that name. */
bool access_host(struct access *access, const char *host);

struct access_stats {
	uint64_t wrong, delayed; /* tokens that were wrong; that were not looked at */
};
void access_stats(struct access *access, struct access_stats *ret);

/* A new token of 32 characters, and the hash of one; -errno. */
int access_token_new(char ret[33]);
int access_token_hash(const char *token, char ret[160]);
const char *access_role_name(enum access_role role);

#endif
