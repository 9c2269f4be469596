// SPDX-License-Identifier: GPL-2.0-or-later
/* The catalogue's table: one row a generation of an image. */
#include <errno.h>
#include <string.h>

#include "daemon/state/private.h"

#define IMAGE_COLUMNS                                                                                                  \
	"id, name, generation, file, format, image_id, parent_id, virtual_size, file_size, "                           \
	"size_override, added, current, parent_hint, own_name, fingerprint, parent"

#define IMAGE_SELECT "SELECT " IMAGE_COLUMNS ", checked, check_failed, missed, missed_why"

static void image_row(sqlite3_stmt *s, struct state_image *image)
{
	memset(image, 0, sizeof(*image));
	image->id = sqlite3_column_int64(s, 0);
	state_column_text(s, 1, image->name, sizeof(image->name));
	image->generation = sqlite3_column_int64(s, 2);
	state_column_text(s, 3, image->file, sizeof(image->file));
	state_column_text(s, 4, image->format, sizeof(image->format));
	state_column_text(s, 5, image->image_id, sizeof(image->image_id));
	state_column_text(s, 6, image->parent_id, sizeof(image->parent_id));
	image->virtual_size = sqlite3_column_int64(s, 7);
	image->file_size = sqlite3_column_int64(s, 8);
	image->size_override = sqlite3_column_int64(s, 9);
	image->added = sqlite3_column_int64(s, 10);
	image->current = sqlite3_column_int(s, 11);
	state_column_text(s, 12, image->parent_hint, sizeof(image->parent_hint));
	state_column_text(s, 13, image->own_name, sizeof(image->own_name));
	image->fingerprint = (uint64_t)sqlite3_column_int64(s, 14);
	image->parent = sqlite3_column_int64(s, 15);
	image->checked = sqlite3_column_int64(s, 16);
	image->check_failed = sqlite3_column_int(s, 17);
	image->missed = sqlite3_column_int64(s, 18);
	if (image->missed)
		image->missed_why = sqlite3_column_int(s, 19) == IMAGE_ABSENT ? IMAGE_ABSENT : IMAGE_UNREADABLE;
}

static int image_one(struct state *state, sqlite3_stmt *s, struct state_image *ret)
{
	int r = state_step(state, s);

	if (r <= 0)
		return r;
	image_row(s, ret);
	state_end(s);
	return 1;
}

int state_image_put(struct state *state, struct state_image *image)
{
	sqlite3_stmt *s;

	if (image->id)
		s = state_statement(state, "UPDATE image SET name = ?2, generation = ?3, file = ?4, format = ?5,"
					   " image_id = ?6, parent_id = ?7, virtual_size = ?8, file_size = ?9,"
					   " size_override = ?10, added = ?11, current = ?12, parent_hint = ?13,"
					   " own_name = ?14, fingerprint = ?15, parent = ?16 WHERE id = ?1");
	else
		s = state_statement(state, "INSERT INTO image (" IMAGE_COLUMNS ")"
					   " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
	if (!s)
		return -EIO;
	state_bind_text(s, 2, image->name);
	sqlite3_bind_int64(s, 3, image->generation);
	state_bind_text(s, 4, image->file);
	state_bind_text(s, 5, image->format);
	state_bind_text(s, 6, image->image_id);
	state_bind_text(s, 7, image->parent_id);
	sqlite3_bind_int64(s, 8, image->virtual_size);
	sqlite3_bind_int64(s, 9, image->file_size);
	sqlite3_bind_int64(s, 10, image->size_override);
	sqlite3_bind_int64(s, 11, image->added);
	sqlite3_bind_int(s, 12, image->current);
	state_bind_text(s, 13, image->parent_hint);
	state_bind_text(s, 14, image->own_name);
	sqlite3_bind_int64(s, 15, (int64_t)image->fingerprint);
	sqlite3_bind_int64(s, 16, image->parent);
	state->changes++;
	if (!image->id)
		return state_insert(state, s, &image->id);
	sqlite3_bind_int64(s, 1, image->id);
	return state_run(state, s);
}

int state_image_remove(struct state *state, int64_t id)
{
	sqlite3_stmt *s = state_statement(state, "DELETE FROM image WHERE id = ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	state->changes++;
	return state_run(state, s);
}

/* A look that could not compare changes nothing of what the last one found that could. */
int state_image_set_check(struct state *state, int64_t id, int64_t when, enum image_outcome outcome)
{
	bool compared = outcome == IMAGE_GOOD || outcome == IMAGE_DAMAGED;
	sqlite3_stmt *s = state_statement(
		state, compared ? "UPDATE image SET checked = ?2, check_failed = ?3, missed = 0 WHERE id = ?1"
				: "UPDATE image SET missed = ?2, missed_why = ?3 WHERE id = ?1");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	sqlite3_bind_int64(s, 2, when);
	sqlite3_bind_int(s, 3, compared ? outcome == IMAGE_DAMAGED : (int)outcome);
	state->changes++;
	return state_run(state, s);
}

int state_image_outcome(const struct state_image *image)
{
	if (image->missed)
		return image->missed_why;
	return image->checked ? image->check_failed ? IMAGE_DAMAGED : IMAGE_GOOD : -1;
}

int state_image_current(struct state *state, const char *name, struct state_image *ret)
{
	sqlite3_stmt *s = state_statement(state, IMAGE_SELECT " FROM image WHERE name = ? AND current");

	if (!s)
		return -EIO;
	state_bind_text(s, 1, name);
	return image_one(state, s, ret);
}

int state_image_by_id(struct state *state, int64_t id, struct state_image *ret)
{
	sqlite3_stmt *s = state_statement(state, IMAGE_SELECT " FROM image WHERE id = ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	return image_one(state, s, ret);
}

int state_image_make_current(struct state *state, int64_t id)
{
	sqlite3_stmt *s = state_statement(state, "UPDATE image SET current = (id = ?1)"
						 " WHERE name = (SELECT name FROM image WHERE id = ?1)");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	state->changes++;
	return state_run(state, s);
}

int state_image_each(struct state *state, void (*fn)(void *arg, const struct state_image *image), void *arg)
{
	sqlite3_stmt *s = state_statement(state, IMAGE_SELECT " FROM image ORDER BY name, generation");
	struct state_image image;
	int r;

	while ((r = state_step(state, s)) > 0) {
		image_row(s, &image);
		fn(arg, &image);
	}
	return r;
}
