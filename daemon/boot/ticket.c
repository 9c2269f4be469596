// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A list, as short as there are PCs that capture. Every secret that comes is hashed, and its hash compared with all of
 * the list, each in constant time.
 *
 * Time is CLOCK_BOOTTIME, which nobody sets; in the file it is the time of the day, and what is read from there lasts
 * BOOT_TICKET_LIFE at most, wherever that clock stands by then.
 */
#include "daemon/boot/ticket.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define HASH SHA256_DIGEST_SIZE

struct entry {
	struct entry *next;
	struct boot_ticket ticket;
	uint8_t hash[HASH];
	uint64_t ends; /* s, CLOCK_BOOTTIME */
	uint64_t used; /* s, CLOCK_BOOTTIME; 0: not yet */
};

struct boot_tickets {
	unsigned int refs; /* atomic */
	char path[300], beside[310];
	pthread_mutex_t lock; /* of the list */
	struct entry *first;  /* the newest */
	uint64_t changes;
	pthread_mutex_t file; /* taken before `lock` */
	uint64_t saved;
};

static uint64_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec;
}

static void hash_of(const char *secret, uint8_t ret[HASH])
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, strlen(secret), (const uint8_t *)secret);
	sha256_digest(&ctx, HASH, ret);
}

/* --- the list; the lock is held -----------------------------------------------------------------------------------*/

typedef bool (*entry_fn)(const struct entry *e, const void *arg);

static void remove_where(struct boot_tickets *t, entry_fn fn, const void *arg)
{
	for (struct entry **p = &t->first; *p;) {
		struct entry *e = *p;

		if (!fn(e, arg)) {
			p = &e->next;
			continue;
		}
		*p = e->next;
		explicit_bzero(e, sizeof(*e));
		free(e);
		t->changes++;
	}
}

static bool is_over(const struct entry *e, const void *arg)
{
	return e->ends <= *(const uint64_t *)arg;
}

static bool is_client(const struct entry *e, const void *arg)
{
	return e->ticket.client == *(const int64_t *)arg;
}

static bool is_upload(const struct entry *e, const void *arg)
{
	const struct boot_ticket *want = arg;

	return !strcmp(e->ticket.name, want->name) && !strcmp(e->ticket.image, want->image);
}

static bool is_last(const struct entry *e, const void *arg)
{
	(void)arg;
	return !e->next;
}

static struct entry *find(struct boot_tickets *t, const char *secret)
{
	uint64_t now = now_s();
	struct entry *found = NULL;
	uint8_t hash[HASH];

	remove_where(t, is_over, &now);
	if (strlen(secret) != BOOT_TICKET_MAX - 1)
		return NULL;
	hash_of(secret, hash);
	for (struct entry *e = t->first; e; e = e->next)
		if (memeql_sec(e->hash, hash, HASH))
			found = e;
	if (found)
		found->used = now;
	return found;
}

static void add(struct boot_tickets *t, struct entry *e)
{
	unsigned int n = 1;

	for (struct entry *i = t->first; i; i = i->next)
		n++;
	if (n > BOOT_TICKETS)
		remove_where(t, is_last, NULL);
	e->next = t->first;
	t->first = e;
	t->changes++;
}

/* --- the file -----------------------------------------------------------------------------------------------------*/

/* A line: hash, id of the client, end (time of the day), 1 if it is spent, name, image or "-". */
static struct entry *entry_of(const char *line)
{
	struct entry *e = calloc(1, sizeof(*e));
	int64_t ends, now = time(NULL);
	char hash[2 * HASH + 1];
	int spent;

	if (!e)
		return NULL;
	if (sscanf(line, "%64[0-9a-f] %" SCNd64 " %" SCNd64 " %d %63s %63s", hash, &e->ticket.client, &ends, &spent,
		   e->ticket.name, e->ticket.image) != 6 ||
	    strlen(hash) != 2 * HASH || ends <= now) {
		free(e);
		return NULL;
	}
	for (unsigned int i = 0; i < HASH; i++)
		sscanf(hash + 2 * i, "%2hhx", &e->hash[i]);
	if (!strcmp(e->ticket.image, "-"))
		e->ticket.image[0] = '\0';
	e->ticket.spent = spent;
	e->ends = now_s() + (uint64_t)(ends - now < BOOT_TICKET_LIFE ? ends - now : BOOT_TICKET_LIFE);
	return e;
}

static void load(struct boot_tickets *t)
{
	int fd = open(t->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
	struct entry **last = &t->first;
	char line[512];

	if (!f) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (unsigned int n = 0; n < BOOT_TICKETS && fgets(line, sizeof(line), f); n++) {
		struct entry *e = entry_of(line);

		if (!e)
			continue;
		*last = e;
		last = &e->next;
	}
	fclose(f);
}

/* All of the list as text; NULL: out of memory. */
static char *text_of(struct boot_tickets *t, size_t *ret_length)
{
	int64_t offset = (int64_t)time(NULL) - (int64_t)now_s();
	char *text = NULL;
	FILE *f = open_memstream(&text, ret_length);

	if (!f)
		return NULL;
	for (const struct entry *e = t->first; e; e = e->next) {
		for (unsigned int i = 0; i < HASH; i++)
			fprintf(f, "%02x", e->hash[i]);
		fprintf(f, " %" PRId64 " %" PRId64 " %d %s %s\n", e->ticket.client, (int64_t)e->ends + offset,
			e->ticket.spent, e->ticket.name, e->ticket.image[0] ? e->ticket.image : "-");
	}
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

static int write_file(const struct boot_tickets *t, const char *text, size_t length)
{
	int fd = open(t->beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), r = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, length);
	if (n != (ssize_t)length)
		r = n < 0 ? -errno : -ENOSPC;
	if (r == 0 && fdatasync(fd) < 0)
		r = -errno;
	close(fd);
	if (r == 0 && rename(t->beside, t->path) < 0)
		r = -errno;
	if (r)
		unlink(t->beside);
	return r;
}

int boot_tickets_save(struct boot_tickets *t)
{
	uint64_t changes;
	size_t length = 0;
	char *text;
	int r = 0;

	pthread_mutex_lock(&t->file);
	pthread_mutex_lock(&t->lock);
	changes = t->changes;
	text = changes == t->saved ? NULL : text_of(t, &length);
	pthread_mutex_unlock(&t->lock);
	if (changes != t->saved)
		r = text ? write_file(t, text, length) : -ENOMEM;
	if (r == 0)
		t->saved = changes;
	pthread_mutex_unlock(&t->file);
	free(text);
	return r;
}

int boot_tickets_new(struct boot_tickets **ret, const char *folder)
{
	struct boot_tickets *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->refs = 1;
	snprintf(t->path, sizeof(t->path), "%.280s/upload-tickets", folder);
	snprintf(t->beside, sizeof(t->beside), "%s.new", t->path);
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->file, NULL);
	load(t);
	*ret = t;
	return 0;
}

void boot_tickets_ref(struct boot_tickets *t)
{
	__atomic_fetch_add(&t->refs, 1, __ATOMIC_RELAXED);
}

void boot_tickets_unref(struct boot_tickets *t)
{
	struct entry *e;

	if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
		return;
	while ((e = t->first)) {
		t->first = e->next;
		free(e);
	}
	pthread_mutex_destroy(&t->lock);
	pthread_mutex_destroy(&t->file);
	free(t);
}

/* --- making, using, ending ----------------------------------------------------------------------------------------*/

int boot_ticket_make(struct boot_tickets *t, int64_t client, const char *name, const char *image,
		     char ret[BOOT_TICKET_MAX])
{
	struct entry *e = calloc(1, sizeof(*e));
	uint64_t now = now_s();
	uint8_t random[16];

	if (!e)
		return -ENOMEM;
	if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
		free(e);
		return -EIO;
	}
	for (unsigned int i = 0; i < sizeof(random); i++)
		snprintf(ret + 2 * i, 3, "%02x", random[i]);
	explicit_bzero(random, sizeof(random));
	hash_of(ret, e->hash);
	e->ticket.client = client;
	snprintf(e->ticket.name, sizeof(e->ticket.name), "%s", name);
	snprintf(e->ticket.image, sizeof(e->ticket.image), "%s", image);
	e->ends = now + BOOT_TICKET_LIFE;
	pthread_mutex_lock(&t->lock);
	remove_where(t, is_over, &now);
	remove_where(t, is_client, &client);
	add(t, e);
	pthread_mutex_unlock(&t->lock);
	return 0;
}

int boot_ticket_check(struct boot_tickets *t, const char *secret, struct boot_ticket *ret)
{
	const struct entry *e;

	pthread_mutex_lock(&t->lock);
	e = find(t, secret);
	if (e)
		*ret = e->ticket;
	pthread_mutex_unlock(&t->lock);
	return e ? 0 : -EACCES;
}

int boot_ticket_claim(struct boot_tickets *t, const char *secret, const char *image)
{
	struct entry *e;
	int r = -EACCES;

	pthread_mutex_lock(&t->lock);
	e = find(t, secret);
	if (e && !e->ticket.spent && strcmp(e->ticket.image, image) == 0) {
		r = 0;
	} else if (e && !e->ticket.spent && !e->ticket.image[0] && *image) {
		snprintf(e->ticket.image, sizeof(e->ticket.image), "%s", image);
		t->changes++;
		r = 1;
	}
	pthread_mutex_unlock(&t->lock);
	return r;
}

void boot_ticket_unclaim(struct boot_tickets *t, const char *secret)
{
	struct entry *e;

	pthread_mutex_lock(&t->lock);
	e = find(t, secret);
	if (e && !e->ticket.spent) {
		e->ticket.image[0] = '\0';
		t->changes++;
	}
	pthread_mutex_unlock(&t->lock);
}

void boot_ticket_spend(struct boot_tickets *t, const char *name, const char *image)
{
	pthread_mutex_lock(&t->lock);
	for (struct entry *e = t->first; e; e = e->next)
		if (!strcmp(e->ticket.name, name) && !strcmp(e->ticket.image, image) && !e->ticket.spent) {
			e->ticket.spent = true;
			t->changes++;
		}
	pthread_mutex_unlock(&t->lock);
}

bool boot_ticket_end(struct boot_tickets *t, int64_t client)
{
	uint64_t before;
	bool had;

	pthread_mutex_lock(&t->lock);
	before = t->changes;
	remove_where(t, is_client, &client);
	had = t->changes != before;
	pthread_mutex_unlock(&t->lock);
	return had;
}

void boot_ticket_end_upload(struct boot_tickets *t, const char *name, const char *image)
{
	struct boot_ticket want = {0};

	snprintf(want.name, sizeof(want.name), "%s", name);
	snprintf(want.image, sizeof(want.image), "%s", image);
	pthread_mutex_lock(&t->lock);
	remove_where(t, is_upload, &want);
	pthread_mutex_unlock(&t->lock);
}

uint64_t boot_ticket_silence(struct boot_tickets *t, int64_t client)
{
	uint64_t now = now_s(), silence = UINT64_MAX;

	pthread_mutex_lock(&t->lock);
	for (const struct entry *e = t->first; e; e = e->next)
		if (e->ticket.client == client && e->used && !e->ticket.spent)
			silence = now - e->used;
	pthread_mutex_unlock(&t->lock);
	return silence;
}
