// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `checking` is held while a hash is worked out: one at a time, for it takes 16 MiB and a tenth of a second, and that
 * is what a stranger can cost us. `lock` is held for moments only, so who is known already does not wait behind that.
 */
#include "daemon/core/access.h"

#include <arpa/inet.h>
#include <crypt.h>
#include <errno.h>
#include <nettle/base64.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon/core/clock.h"

#define KNOWN    64               /* right tokens that are remembered, */
#define KNOWN_NS (600 * CLOCK_NS) /* for so long */
#define GUESSERS 1024             /* addresses that sent wrong ones */
#define FORGET   (600 * CLOCK_NS)
#define TOKEN    256 /* bytes of NAME:TOKEN */

struct known {
	uint8_t digest[SHA256_DIGEST_SIZE]; /* of the header */
	struct access_who who;
	uint64_t until;
};

struct guesser {
	uint32_t address;
	unsigned int wrong;
	uint64_t wait, last; /* CLOCK_MONOTONIC: not before; the last wrong one */
};

struct access {
	pthread_mutex_t lock, checking;
	struct access_operator *operator; /* a copy */
	size_t operators;
	char token[160], names[256], host[256], server[ACCESS_NAME_MAX];
	bool open_status, open_metrics;
	struct known known[KNOWN];
	unsigned int next_known;
	struct guesser guesser[GUESSERS];
	struct access_stats stats;
};

const char *access_role_name(enum access_role role)
{
	static const char *const names[] = {"none", "see", "operate", "admin"};

	return role < sizeof(names) / sizeof(names[0]) ? names[role] : "none";
}

/* --- configuration ------------------------------------------------------------------------------------------------ */

void access_set(struct access *a, const struct access_settings *from)
{
	pthread_mutex_lock(&a->lock);
	free(a->operator);
	a->operators = 0;
	a->operator= calloc(from->operators + 1, sizeof(*a->operator));
	if (a->operator) {
		a->operators = from->operators;
		if (a->operators)
			memcpy(a->operator, from->operator, a->operators * sizeof(*a->operator));
	}
	snprintf(a->token, sizeof(a->token), "%s", from->token);
	snprintf(a->names, sizeof(a->names), "%s", from->names);
	snprintf(a->server, sizeof(a->server), "%s", from->server);
	a->open_status = from->open_status;
	a->open_metrics = from->open_metrics;
	memset(a->known, 0, sizeof(a->known));
	pthread_mutex_unlock(&a->lock);
}

bool access_open_status(struct access *a)
{
	bool open;

	pthread_mutex_lock(&a->lock);
	open = a->open_status;
	pthread_mutex_unlock(&a->lock);
	return open;
}

bool access_open_metrics(struct access *a)
{
	bool open;

	pthread_mutex_lock(&a->lock);
	open = a->open_metrics;
	pthread_mutex_unlock(&a->lock);
	return open;
}

void access_stats(struct access *a, struct access_stats *ret)
{
	pthread_mutex_lock(&a->lock);
	*ret = a->stats;
	pthread_mutex_unlock(&a->lock);
}

/* --- hosts -------------------------------------------------------------------------------------------------------- */

static bool in_list(const char *list, const char *name)
{
	size_t length = strlen(name);

	for (; *list; list += strcspn(list, ", \t")) {
		list += strspn(list, ", \t");
		if (!strncasecmp(list, name, length) && strchr(", \t", list[length]))
			return true;
	}
	return false;
}

bool access_host(struct access *a, const char *host)
{
	char name[256];
	struct in6_addr address;
	bool good;
	size_t n;

	if (!host)
		return true;
	n = host[0] == '[' ? strcspn(host, "]") : strcspn(host, ":");
	if (n >= sizeof(name))
		return false;
	snprintf(name, sizeof(name), "%.*s", (int)n, host);
	if (name[0] == '[')
		return inet_pton(AF_INET6, name + 1, &address) == 1;
	if (inet_pton(AF_INET, name, &address) == 1 || !strcasecmp(name, "localhost"))
		return true;
	pthread_mutex_lock(&a->lock);
	good = *name && (!strcasecmp(name, a->server) || !strcasecmp(name, a->host) || in_list(a->names, name));
	pthread_mutex_unlock(&a->lock);
	return good;
}

/* --- tokens ------------------------------------------------------------------------------------------------------- */

/* "NAME:TOKEN" or "TOKEN" of the header; false: it has none that we know. */
static bool take_token(const char *authorization, char ret[TOKEN])
{
	struct base64_decode_ctx base64;
	size_t length = TOKEN - 1, given;

	if (!authorization)
		return false;
	if (!strncasecmp(authorization, "Bearer ", 7))
		return (size_t)snprintf(ret, TOKEN, "%s", authorization + 7) < TOKEN && *ret;
	if (strncasecmp(authorization, "Basic ", 6))
		return false;
	given = strlen(authorization + 6);
	if (BASE64_DECODE_LENGTH(given) >= TOKEN)
		return false;
	base64_decode_init(&base64);
	if (!base64_decode_update(&base64, &length, (uint8_t *)ret, given, authorization + 6) ||
	    !base64_decode_final(&base64))
		return false;
	ret[length] = '\0';
	return *ret;
}

static void digest_of(const char *authorization, uint8_t ret[SHA256_DIGEST_SIZE])
{
	struct sha256_ctx sha;

	sha256_init(&sha);
	sha256_update(&sha, strlen(authorization), (const uint8_t *)authorization);
	sha256_digest(&sha, SHA256_DIGEST_SIZE, ret);
}

int access_known(struct access *a, const char *authorization, struct access_who *ret)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	uint64_t now = clock_monotonic_ns();
	char token[TOKEN];
	int r = -EAGAIN;

	if (!take_token(authorization, token))
		return -ENOENT;
	explicit_bzero(token, sizeof(token));
	digest_of(authorization, digest);
	pthread_mutex_lock(&a->lock);
	for (unsigned int i = 0; i < KNOWN && r; i++)
		if (a->known[i].until > now && memeql_sec(a->known[i].digest, digest, sizeof(digest))) {
			*ret = a->known[i].who;
			r = 0;
		}
	pthread_mutex_unlock(&a->lock);
	return r;
}

static void remember(struct access *a, const char *authorization, const struct access_who *who)
{
	struct known *k;

	pthread_mutex_lock(&a->lock);
	k = &a->known[a->next_known++ % KNOWN];
	digest_of(authorization, k->digest);
	k->who = *who;
	k->until = clock_monotonic_ns() + KNOWN_NS;
	pthread_mutex_unlock(&a->lock);
}

/* Of equal digests the texts are equal; the time does not depend on where they differ. */
static bool same_secret(const char *one, const char *other)
{
	uint8_t x[SHA256_DIGEST_SIZE], y[SHA256_DIGEST_SIZE];

	digest_of(one, x);
	digest_of(other, y);
	return memeql_sec(x, y, sizeof(x));
}

static bool matches(const char *token, const char *kept)
{
	struct crypt_data *data;
	const char *made;
	bool same;

	if (kept[0] != '$')
		return *kept && same_secret(token, kept);
	data = calloc(1, sizeof(*data));
	if (!data)
		return false;
	made = crypt_r(token, kept, data);
	same = made && made[0] == '$' && same_secret(made, kept);
	explicit_bzero(data, sizeof(*data));
	free(data);
	return same;
}

/* Whose token it would be; the one of [http] token where no operator is named. */
static bool find(struct access *a, const char *token, struct access_who *who, char kept[160], const char **ret_secret)
{
	const char *colon = strchr(token, ':');
	bool found = false;

	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; colon && i < a->operators && !found; i++) {
		const struct access_operator *o = &a->operator[i];

		if (strlen(o->name) != (size_t)(colon - token) || strncmp(o->name, token, (size_t)(colon - token)))
			continue;
		snprintf(who->name, sizeof(who->name), "%s", o->name);
		who->role = o->role;
		strcpy(kept, o->token);
		*ret_secret = colon + 1;
		found = true;
	}
	if (!found && a->token[0]) {
		*who = (struct access_who){"operator", ACCESS_ROLE_ADMIN};
		strcpy(kept, a->token);
		*ret_secret = token;
		found = true;
	}
	pthread_mutex_unlock(&a->lock);
	return found;
}

/* --- guesses ------------------------------------------------------------------------------------------------------ */

/* With the lock: the address's place, or the one that was wrong the longest ago. */
static struct guesser *guesser_of(struct access *a, uint32_t address, uint64_t now)
{
	struct guesser *oldest = &a->guesser[0];

	for (unsigned int i = 0; i < GUESSERS; i++) {
		struct guesser *g = &a->guesser[i];

		if (g->address == address && g->wrong) {
			if (now - g->last > FORGET)
				g->wrong = 0;
			return g;
		}
		if (g->last < oldest->last)
			oldest = g;
	}
	*oldest = (struct guesser){.address = address};
	return oldest;
}

/* s that the address has to wait; 0: it may try. */
static unsigned int must_wait(struct access *a, uint32_t address)
{
	uint64_t now = clock_monotonic_ns();
	struct guesser *g;
	unsigned int wait;

	pthread_mutex_lock(&a->lock);
	g = guesser_of(a, address, now);
	wait = g->wait > now ? (unsigned int)((g->wait - now) / CLOCK_NS) + 1 : 0;
	a->stats.delayed += wait != 0;
	pthread_mutex_unlock(&a->lock);
	return wait;
}

static void note_outcome(struct access *a, uint32_t address, bool right)
{
	uint64_t now = clock_monotonic_ns(), wait;
	struct guesser *g;

	pthread_mutex_lock(&a->lock);
	g = guesser_of(a, address, now);
	if (right) {
		g->wrong = 0;
		g->wait = 0;
	} else {
		a->stats.wrong++;
		g->last = now;
		g->wrong++;
		wait = g->wrong <= ACCESS_FREE_TRIES      ? 0
		       : g->wrong - ACCESS_FREE_TRIES > 6 ? ACCESS_WAIT_MAX
							  : 1u << (g->wrong - ACCESS_FREE_TRIES - 1);
		g->wait = now + wait * CLOCK_NS;
	}
	pthread_mutex_unlock(&a->lock);
}

int access_check(struct access *a, uint32_t address, const char *authorization, struct access_who *ret,
		 struct sentence *error)
{
	char token[TOKEN], kept[160] = "";
	const char *secret = token;
	struct access_who who = {.role = ACCESS_ROLE_NONE};
	unsigned int wait;
	bool right;

	if (!access_known(a, authorization, ret))
		return 0;
	if (!take_token(authorization, token)) {
		sentence_set(error, "this needs an operator's token");
		return -EACCES;
	}
	pthread_mutex_lock(&a->checking);
	wait = must_wait(a, address);
	if (wait) {
		pthread_mutex_unlock(&a->checking);
		sentence_set(error, "too many wrong tokens came from here; the next is looked at in %u s", wait);
		return -EBUSY;
	}
	right = find(a, token, &who, kept, &secret) && matches(secret, kept);
	note_outcome(a, address, right);
	pthread_mutex_unlock(&a->checking);
	explicit_bzero(token, sizeof(token));
	explicit_bzero(kept, sizeof(kept));
	if (!right) {
		sentence_set(error, "this is not an operator's token");
		return -EACCES;
	}
	remember(a, authorization, &who);
	*ret = who;
	return 0;
}

/* --- making tokens ------------------------------------------------------------------------------------------------ */

int access_token_new(char ret[33])
{
	static const char digits[] = "abcdefghijkmnpqrstuvwxyz23456789"; /* 32 of them, none like another */
	uint8_t random[32];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	for (unsigned int i = 0; i < 32; i++)
		ret[i] = digits[random[i] % 32];
	ret[32] = '\0';
	return 0;
}

int access_token_hash(const char *token, char ret[160])
{
	struct crypt_data *data = calloc(1, sizeof(*data));
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *made;
	int r = -EIO;

	if (!data)
		return -ENOMEM;
	if (crypt_gensalt_rn("$7$", 0, NULL, 0, salt, sizeof(salt))) {
		made = crypt_r(token, salt, data);
		if (made && made[0] == '$' && strlen(made) < 160) {
			strcpy(ret, made);
			r = 0;
		}
	}
	explicit_bzero(data, sizeof(*data));
	free(data);
	return r;
}

int access_new(struct access **ret)
{
	struct access *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	pthread_mutex_init(&a->lock, NULL);
	pthread_mutex_init(&a->checking, NULL);
	if (gethostname(a->host, sizeof(a->host) - 1))
		a->host[0] = '\0';
	*ret = a;
	return 0;
}

void access_free(struct access *a)
{
	if (!a)
		return;
	if (a->operator)
		explicit_bzero(a->operator, a->operators * sizeof(*a->operator));
	free(a->operator);
	explicit_bzero(a->token, sizeof(a->token));
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->checking);
	free(a);
}
