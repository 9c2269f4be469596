// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two sorted lists of (path, value): what is on disk, and what is to be. A commit walks both.
 *
 * On tmpfs a file with contents takes a page. Most counters of errors are 0 for ever, so all files that hold 0 are hard
 * links to one; that is safe because no file is ever written to once it has its name.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/control/stat_tree.h"

#define NEW  ".new" /* the next value, before it gets its name */
#define ZERO ".zero"

struct entry {
	uint32_t path, value; /* offsets in the arena */
	bool failed;          /* on disk is something else */
};

struct list {
	struct entry *entry;
	size_t count, room;
	char *arena;
	size_t used, size;
	bool broken; /* out of memory */
};

struct stat_tree {
	int dir;
	char path[512];
	struct list now, next;
	struct stat_tree_stats stats;
};

/* --- lists ------------------------------------------------------------------------------------ */

static void list_done(struct list *l)
{
	free(l->entry);
	free(l->arena);
	memset(l, 0, sizeof(*l));
}

static uint32_t add_text(struct list *l, const char *text, size_t length)
{
	uint32_t at = l->used;

	if (l->used + length + 1 > l->size) {
		size_t size = l->size ? 2 * l->size : 65536;
		char *more;

		while (size < l->used + length + 1)
			size *= 2;
		more = size < UINT32_MAX ? realloc(l->arena, size) : NULL;
		if (!more) {
			l->broken = true;
			return 0;
		}
		l->arena = more;
		l->size = size;
	}
	memcpy(l->arena + at, text, length);
	l->arena[at + length] = '\0';
	l->used += length + 1;
	return at;
}

static void add_entry(struct list *l, const char *path, const char *value)
{
	struct entry *e;

	if (l->count == l->room) {
		size_t room = l->room ? 2 * l->room : 1024;
		struct entry *more = reallocarray(l->entry, room, sizeof(*more));

		if (!more) {
			l->broken = true;
			return;
		}
		l->entry = more;
		l->room = room;
	}
	e = &l->entry[l->count];
	e->path = add_text(l, path, strlen(path));
	e->value = add_text(l, value, strlen(value));
	e->failed = false;
	if (!l->broken)
		l->count++;
}

static int by_path(const void *a, const void *b, void *arena)
{
	const struct entry *ea = a, *eb = b;

	return strcmp((char *)arena + ea->path, (char *)arena + eb->path);
}

/* --- from a metric to its path ---------------------------------------------------------------- */

/* The thing that a metric is about: its label, its folder, and the word that its metrics begin with. */
static const struct {
	const char *label, *folder, *word;
} things[] = {
	{"client", "client", "client_"}, {"image", "image", "image_"}, {"interface", "network", "network_"},
	{"device", "block", "block_"},   {"program", "bpf", "bpf_"},
};

/* Metrics of no thing go by their first word, if it is one of these. */
static const char *const folders[] = {"dhcp_", "tftp_", "store_", "image_cache_", "bpf_"};

struct path {
	char text[256];
	size_t length;
	bool bad;
};

/* A word from a metric's name or a fixed one. */
static void add_word(struct path *p, const char *word, size_t length)
{
	if (p->length + length + 2 > sizeof(p->text)) {
		p->bad = true;
		return;
	}
	memcpy(p->text + p->length, word, length);
	p->length += length;
	p->text[p->length] = '\0';
}

static void add_slash(struct path *p)
{
	add_word(p, "/", 1);
}

/* A label's value as the name of a file: names are clean, but nothing here depends on it. */
static void add_name(struct path *p, const char *value)
{
	size_t begin = p->length;

	add_word(p, value, strlen(value));
	p->bad |= !*value;
	for (size_t i = begin; i < p->length; i++)
		if (p->text[i] == '/' || (p->text[i] == '.' && i == begin))
			p->text[i] = '_';
}

/* Client before device and so on: a value is of the first thing that it names. */
static const struct metrics_label *find_thing(const struct metrics_label *label, unsigned int labels, unsigned int *ret)
{
	for (unsigned int t = 0; t < sizeof(things) / sizeof(things[0]); t++)
		for (unsigned int i = 0; i < labels; i++)
			if (!strcmp(label[i].name, things[t].label)) {
				*ret = t;
				return &label[i];
			}
	return NULL;
}

/* "client/PC101/" or "dhcp/"; what is left of the metric's name. */
static const char *begin_path(struct path *p, const char *name, const struct metrics_label *thing, unsigned int t)
{
	if (!strncmp(name, "bootwell_", 9))
		name += 9;
	if (thing) {
		add_word(p, things[t].folder, strlen(things[t].folder));
		add_slash(p);
		add_name(p, thing->value);
		add_slash(p);
		return strncmp(name, things[t].word, strlen(things[t].word)) ? name : name + strlen(things[t].word);
	}
	for (unsigned int i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		size_t n = strlen(folders[i]);

		if (strncmp(name, folders[i], n))
			continue;
		add_word(p, name, n - 1);
		add_slash(p);
		return name + n;
	}
	add_word(p, "server/", 7);
	return name;
}

/* Text is in labels: `_info` and `_state` are always 1, and each of their labels is a file. */
static bool is_text(const char *name)
{
	const char *end = strrchr(name, '_');

	return end && (!strcmp(end, "_info") || !strcmp(end, "_state"));
}

void stat_tree_see(void *arg, const char *name, const char *suffix, const struct metrics_label *label,
		   unsigned int labels, const char *value)
{
	struct stat_tree *tree = arg;
	struct path p = {.length = 0};
	const struct metrics_label *thing;
	const char *rest;
	unsigned int t = 0;
	size_t begin;

	if (!strcmp(suffix, "_bucket"))
		return;
	thing = find_thing(label, labels, &t);
	rest = begin_path(&p, name, thing, t);
	begin = p.length;
	if (!is_text(name)) {
		add_word(&p, rest, strlen(rest));
		add_word(&p, suffix, strlen(suffix));
	}
	for (unsigned int i = 0; i < labels; i++) {
		if (&label[i] == thing)
			continue;
		if (is_text(name)) {
			p.length = begin;
			add_name(&p, label[i].name);
			if (!p.bad)
				add_entry(&tree->next, p.text, label[i].value);
		} else {
			add_slash(&p);
			add_name(&p, label[i].value);
		}
	}
	if (!is_text(name) && !p.bad)
		add_entry(&tree->next, p.text, value);
}

/* --- files ------------------------------------------------------------------------------------ */

static int make_folders(int dir, const char *path)
{
	char part[256];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		if (mkdirat(dir, part, 0755) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int make_file(int dir, const char *name, const char *value)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "%.500s\n", value), fd, r = 0;

	unlinkat(dir, name, 0);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	if (write(fd, text, n) != n)
		r = errno ? -errno : -ENOSPC;
	close(fd);
	return r;
}

static int make_value(int dir, const char *value)
{
	if (strcmp(value, "0") || linkat(dir, ZERO, dir, NEW, 0))
		return make_file(dir, NEW, value);
	return 0;
}

static int put_file(struct stat_tree *tree, const char *path, const char *value)
{
	int r;

	r = make_value(tree->dir, value);
	if (r)
		return r;
	if (!renameat(tree->dir, NEW, tree->dir, path))
		return 0;
	if (errno != ENOENT)
		return -errno;
	r = make_folders(tree->dir, path);
	return r ? r : renameat(tree->dir, NEW, tree->dir, path) ? -errno : 0;
}

/* And the folders above it that are empty then. */
static void remove_file(struct stat_tree *tree, const char *path)
{
	char part[256], *slash;

	unlinkat(tree->dir, path, 0);
	snprintf(part, sizeof(part), "%s", path);
	while ((slash = strrchr(part, '/'))) {
		*slash = '\0';
		if (unlinkat(tree->dir, part, AT_REMOVEDIR))
			break;
	}
}

void stat_tree_begin(struct stat_tree *tree)
{
	tree->next.count = 0;
	tree->next.used = 0;
	tree->next.broken = false;
}

static int write_entry(struct stat_tree *tree, struct entry *e, const char *arena)
{
	int r = put_file(tree, arena + e->path, arena + e->value);

	e->failed = r != 0;
	tree->stats.written += !r;
	return r;
}

int stat_tree_commit(struct stat_tree *tree)
{
	struct list *now = &tree->now, *next = &tree->next, swap;
	int r = 0, first = 0;
	size_t i = 0, k = 0;

	if (next->broken)
		return -ENOMEM;
	qsort_r(next->entry, next->count, sizeof(struct entry), by_path, next->arena);
	tree->stats.written = tree->stats.removed = 0;
	/* What goes, goes first: a folder may have become a file. */
	while (i < now->count) {
		const char *path = now->arena + now->entry[i].path;
		int order = k < next->count ? strcmp(path, next->arena + next->entry[k].path) : -1;

		if (order > 0) {
			k++;
			continue;
		}
		if (order < 0) {
			remove_file(tree, path);
			tree->stats.removed++;
		}
		i++;
	}
	for (i = k = 0; k < next->count; k++) {
		struct entry *e = &next->entry[k];
		const char *path = next->arena + e->path;

		while (i < now->count && strcmp(now->arena + now->entry[i].path, path) < 0)
			i++;
		if (i < now->count && !now->entry[i].failed && !strcmp(now->arena + now->entry[i].path, path) &&
		    !strcmp(now->arena + now->entry[i].value, next->arena + e->value))
			continue;
		r = write_entry(tree, e, next->arena);
		if (r && !first)
			first = r;
	}
	tree->stats.files = next->count;
	swap = *now;
	*now = *next;
	*next = swap;
	return first;
}

void stat_tree_stats(const struct stat_tree *tree, struct stat_tree_stats *ret)
{
	*ret = tree->stats;
}

/* --- beginning and end ------------------------------------------------------------------------ */

/* Everything in the folder; takes the descriptor. */
static void empty_folder(int fd)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		int inner;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (!unlinkat(fd, entry->d_name, 0) || errno != EISDIR)
			continue;
		inner = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (inner >= 0)
			empty_folder(inner);
		unlinkat(fd, entry->d_name, AT_REMOVEDIR);
	}
	closedir(dir);
}

int stat_tree_new(struct stat_tree **ret, const char *path)
{
	struct stat_tree *tree = calloc(1, sizeof(*tree));
	int r = 0;

	if (!tree)
		return -ENOMEM;
	if (mkdir(path, 0755) && errno != EEXIST)
		r = -errno;
	snprintf(tree->path, sizeof(tree->path), "%s", path);
	tree->dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (!r && tree->dir < 0)
		r = -errno;
	if (!r)
		empty_folder(openat(tree->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (!r)
		r = make_file(tree->dir, ZERO, "0");
	if (r) {
		if (tree->dir >= 0)
			close(tree->dir);
		free(tree);
		return r;
	}
	*ret = tree;
	return 0;
}

void stat_tree_free(struct stat_tree *tree)
{
	if (!tree)
		return;
	empty_folder(openat(tree->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	rmdir(tree->path);
	close(tree->dir);
	list_done(&tree->now);
	list_done(&tree->next);
	free(tree);
}
