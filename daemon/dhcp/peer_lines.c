/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A line is a key ("range of 10.0.0.0/24") and a value. The number is a sum of hashes, so the order of sections in the
 * file does not matter. A line that only we have is found when all of the other server's have been seen.
 */
#include "daemon/dhcp/peer_lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/inet.h"

struct line {
	char key[64];
	char value[PEER_TEXT_MAX];
	unsigned int line;
	bool seen; /* the other server has it, too */
};

struct peer_lines {
	char file[PEER_NAME_MAX];
	uint64_t sum;
	struct line *line;
	size_t count, room;
	unsigned int seen; /* of the other server's, one after the other */
};

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
static uint64_t hash(const char *text, uint64_t h)
{
	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001b3ull;
	return (h ^ 0xff) * 0x100000001b3ull;
}

static struct line *add(struct peer_lines *lines, unsigned int at)
{
	struct line *line;

	if (lines->count == lines->room) {
		size_t room = lines->room ? 2 * lines->room : 16;
		struct line *larger = realloc(lines->line, room * sizeof(*larger));

		if (!larger)
			return NULL;
		lines->line = larger;
		lines->room = room;
	}
	line = &lines->line[lines->count++];
	memset(line, 0, sizeof(*line));
	line->line = at;
	return line;
}

static void put_ranges(char *ret, size_t size, const struct config_range *range, unsigned int n)
{
	size_t length = 0;

	for (unsigned int i = 0; i < n && length < size; i++)
		length += (size_t)snprintf(ret + length, size - length, "%s%s-%s", i ? ", " : "",
					   inet_text(range[i].first).s, inet_text(range[i].last).s);
	if (!n)
		snprintf(ret, size, "none");
}

static int add_subnet(struct peer_lines *lines, const struct config_subnet *s)
{
	struct line *line = add(lines, s->range_line ? s->range_line : s->line);

	if (!line)
		return -ENOMEM;
	snprintf(line->key, sizeof(line->key), "range of %s/%u", inet_text(s->network).s, s->prefix);
	put_ranges(line->value, sizeof(line->value), s->range, s->ranges);
	line = add(lines, s->exclude_line ? s->exclude_line : s->line);
	if (!line)
		return -ENOMEM;
	snprintf(line->key, sizeof(line->key), "exclude of %s/%u", inet_text(s->network).s, s->prefix);
	put_ranges(line->value, sizeof(line->value), s->exclude, s->excludes);
	return 0;
}

static int add_client(struct peer_lines *lines, const struct config_client *client)
{
	struct line *line = add(lines, client->line);

	if (!line)
		return -ENOMEM;
	snprintf(line->key, sizeof(line->key), "the PC of %s", inet_text(client->address).s);
	snprintf(line->value, sizeof(line->value), "%s", client->key[0] ? client->key : client->name);
	return 0;
}

int peer_lines_new(struct peer_lines **ret, const struct config *config)
{
	struct peer_lines *lines = calloc(1, sizeof(*lines));
	struct line *split = lines ? add(lines, config->dhcp_split_line) : NULL;
	size_t length = strlen(config->file);
	int r = split ? 0 : -ENOMEM;

	if (!r) {
		snprintf(split->key, sizeof(split->key), "split");
		snprintf(split->value, sizeof(split->value), "%s", config->dhcp_split ? "yes" : "no");
		/* Of a name that is too long the end says more. */
		snprintf(lines->file, sizeof(lines->file), "%s",
			 config->file + (length >= PEER_NAME_MAX ? length - PEER_NAME_MAX + 1 : 0));
	}
	for (size_t i = 0; !r && i < config->subnets; i++)
		r = add_subnet(lines, &config->subnet[i]);
	for (size_t i = 0; !r && i < config->clients; i++)
		if (config->client[i].address)
			r = add_client(lines, &config->client[i]);
	if (r < 0) {
		peer_lines_free(lines);
		return r;
	}
	for (size_t i = 0; i < lines->count; i++)
		lines->sum += hash(lines->line[i].value, hash(lines->line[i].key, 0xcbf29ce484222325ull));
	*ret = lines;
	return 0;
}

void peer_lines_free(struct peer_lines *lines)
{
	if (!lines)
		return;
	free(lines->line);
	free(lines);
}

uint64_t peer_lines_sum(const struct peer_lines *lines)
{
	return lines->sum;
}

bool peer_lines_at(const struct peer_lines *lines, uint64_t n, struct peer_line *ret)
{
	const struct line *line;

	if (lines->count > PEER_LINES_MAX)
		return false;
	line = &lines->line[n % lines->count];
	memset(ret, 0, sizeof(*ret));
	ret->lines = lines->sum;
	ret->index = (uint16_t)(n % lines->count);
	ret->count = (uint16_t)lines->count;
	ret->line = line->line;
	memcpy(ret->file, lines->file, sizeof(ret->file));
	memcpy(ret->key, line->key, sizeof(line->key));
	memcpy(ret->value, line->value, sizeof(ret->value));
	return true;
}

void peer_lines_begin(struct peer_lines *lines)
{
	lines->seen = 0;
	for (size_t i = 0; i < lines->count; i++)
		lines->line[i].seen = false;
}

/* "FILE:12", or "FILE" where it is not said. */
static const char *place(char *ret, size_t size, const char *file, unsigned int line)
{
	if (line)
		snprintf(ret, size, "%s:%u", file, line);
	else
		snprintf(ret, size, "%s", file);
	return ret;
}

static void tell(const struct peer_lines *lines, const struct line *ours, const struct peer_line *theirs, char *ret,
		 size_t size)
{
	char here[PEER_NAME_MAX + 12], there[PEER_NAME_MAX + 12];

	snprintf(ret, size, "%s is %.150s in %s here and %.150s in %s there", theirs ? theirs->key : ours->key,
		 ours ? ours->value : "not", place(here, sizeof(here), lines->file, ours ? ours->line : 0),
		 theirs && theirs->value[0] ? theirs->value : "not",
		 theirs ? place(there, sizeof(there), theirs->file, theirs->line) : "its file");
}

bool peer_lines_compare(struct peer_lines *lines, const struct peer_line *theirs, char *ret, size_t size)
{
	struct line *ours = NULL;

	for (size_t i = 0; i < lines->count && !ours; i++)
		if (!strcmp(lines->line[i].key, theirs->key))
			ours = &lines->line[i];
	if (!ours || strcmp(ours->value, theirs->value) != 0) {
		tell(lines, ours, theirs, ret, size);
		return true;
	}
	ours->seen = true;
	/* In order, so that a lost one is waited for: they are said round and round. */
	lines->seen += theirs->index == lines->seen;
	for (size_t i = 0; lines->seen == theirs->count && i < lines->count; i++)
		if (!lines->line[i].seen) {
			tell(lines, &lines->line[i], NULL, ret, size);
			return true;
		}
	return false;
}
