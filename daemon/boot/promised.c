// SPDX-License-Identifier: GPL-2.0-or-later
/* Names that the other server of a pair has given: a table by key, which only grows, up to its bound. */
#include "daemon/boot/promised.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BUCKETS 1024

struct promised {
	struct promised_name *bucket[BUCKETS];
	unsigned int count;
};

static unsigned int bucket_of(const char *key)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *key; key++)
		h = (h ^ (unsigned char)*key) * 16777619u;
	return h % BUCKETS;
}

int promised_new(struct promised **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

void promised_free(struct promised *promised)
{
	for (unsigned int i = 0; promised && i < BUCKETS; i++) {
		while (promised->bucket[i]) {
			struct promised_name *gone = promised->bucket[i];

			promised->bucket[i] = gone->next;
			free(gone);
		}
	}
	free(promised);
}

static struct promised_name *find(const struct promised *promised, const char *key)
{
	struct promised_name *p = promised->bucket[bucket_of(key)];

	while (p && strcmp(p->key, key) != 0)
		p = p->next;
	return p;
}

void promised_put(struct promised *promised, const char *key, const char *name, uint32_t named)
{
	struct promised_name *p = find(promised, key);

	if (!p) {
		p = promised->count < PROMISED_MAX ? calloc(1, sizeof(*p)) : NULL;
		if (!p)
			return;
		snprintf(p->key, sizeof(p->key), "%s", key);
		p->next = promised->bucket[bucket_of(key)];
		promised->bucket[bucket_of(key)] = p;
		promised->count++;
	}
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->named = named;
}

const struct promised_name *promised_to(const struct promised *promised, const char *key)
{
	return find(promised, key);
}

const struct promised_name *promised_who(const struct promised *promised, const char *name)
{
	for (unsigned int i = 0; i < BUCKETS; i++)
		for (const struct promised_name *p = promised->bucket[i]; p; p = p->next)
			if (!strcasecmp(p->name, name))
				return p;
	return NULL;
}
