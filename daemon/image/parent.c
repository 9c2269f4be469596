// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Three questions, from the narrow to the wide: does the candidate lie in the child's folder under the hint's name;
 * does it anywhere; was it called so when it was made (a VMDK remembers its own first name)? The first question that
 * somebody answers with yes decides, if it is only one.
 */
#include "daemon/image/parent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tcmu-handler/image/identity.h"

#define SHOWN 4 /* candidates in a sentence */

const char *parent_last_part(const char *path)
{
	const char *name = path;

	for (const char *c = path; *c; c++)
		if (*c == '/' || *c == '\\')
			name = c + 1;
	return name;
}

static bool same_folder(const char *a, const char *b)
{
	size_t n = (size_t)(parent_last_part(a) - a);

	return n == (size_t)(parent_last_part(b) - b) && strncmp(a, b, n) == 0;
}

/* The child's own child: where a chain keeps one CID, it fits as well. */
static bool made_from(const struct parent_candidate *c, const struct parent_child *child)
{
	return image_id_same(c->parent_id, child->id) && c->hint[0] &&
	       strcasecmp(parent_last_part(c->hint), parent_last_part(child->file)) == 0;
}

static bool is_named(const struct parent_child *child, const struct parent_candidate *c, unsigned int question)
{
	const char *hint = parent_last_part(child->hint);
	bool name = strcasecmp(parent_last_part(c->file), hint) == 0;

	if (!hint[0])
		return false;
	if (question == 0)
		return name && same_folder(c->file, child->file);
	return question == 1 ? name : strcasecmp(parent_last_part(c->own_name), hint) == 0;
}

/* A CID that VMware writes where none was chosen yet says nothing; nor does one that a whole chain of snapshots has. */
static bool says_nothing(const struct parent_child *child)
{
	return image_id_same(child->parent_id, child->id) ||
	       (child->format == IMAGE_VMDK && strcmp(child->parent_id, "fffffffe") == 0);
}

static int refuse(const struct parent_child *child, const struct parent_candidate *list, size_t n, struct sentence *err)
{
	const char *hint = parent_last_part(child->hint);
	char names[400] = "";
	size_t length = 0, shown = 0;

	for (size_t i = 0; i < n && shown < SHOWN; i++)
		if (!made_from(&list[i], child))
			length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%.90s",
						   shown++ ? ", " : "", list[i].file);
	return sentence_fail(
		err, -ENOTUNIQ,
		"%s: which image is its parent cannot be known: it wants %s %s%s%s, and these have it%s: %s%s; "
		"give the one that it was made from the name that it remembers, or leave only that one here",
		child->file, image_id_word(child->format), child->parent_id, hint[0] ? ", once called " : "", hint,
		says_nothing(child) ? " (it is not theirs alone)" : "", names, n > SHOWN ? ", ..." : "");
}

int parent_choose(const struct parent_child *child, const struct parent_candidate *list, size_t n, size_t *ret,
		  bool *ret_named, struct sentence *err)
{
	size_t fit = 0, only = 0;

	for (unsigned int question = 0; question < 3; question++) {
		size_t found = 0, which = 0;

		for (size_t i = 0; i < n; i++) {
			if (made_from(&list[i], child) || !is_named(child, &list[i], question))
				continue;
			found++;
			which = i;
		}
		if (found > 1)
			return refuse(child, list, n, err);
		if (found == 1) {
			*ret = which;
			*ret_named = true;
			return 0;
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (made_from(&list[i], child))
			continue;
		only = i;
		fit++;
	}
	if (fit == 0)
		return -ENOENT;
	if (fit > 1 || says_nothing(child))
		return refuse(child, list, n, err);
	*ret = only;
	*ret_named = !child->hint[0]; /* nothing was said, so nothing is contradicted */
	return 0;
}

void parent_remark(const struct parent_child *child, const struct parent_candidate *parent, struct sentence *ret)
{
	sentence_set(ret,
		     "%s: its parent %s fits by its %s only: the child remembers it as %s; if that is another image, "
		     "what the "
		     "child reads is wrong",
		     child->file, parent->file, image_id_word(child->format), parent_last_part(child->hint));
}
