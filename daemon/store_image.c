// SPDX-License-Identifier: GPL-2.0-or-later
/* The catalogue's table: one row a generation of an image. */
#include <errno.h>
#include <string.h>

#include "daemon/store_private.h"

#define IMAGE_COLUMNS                                                                              \
	"id, name, generation, file, format, image_id, parent_id, virtual_size, file_size, "       \
	"size_override, added, current"

#define IMAGE_SELECT "SELECT " IMAGE_COLUMNS ", checked, check_failed"

static void image_row(sqlite3_stmt *s, struct store_image *image)
{
	memset(image, 0, sizeof(*image));
	image->id = sqlite3_column_int64(s, 0);
	store_column_text(s, 1, image->name, sizeof(image->name));
	image->generation = sqlite3_column_int64(s, 2);
	store_column_text(s, 3, image->file, sizeof(image->file));
	store_column_text(s, 4, image->format, sizeof(image->format));
	store_column_text(s, 5, image->image_id, sizeof(image->image_id));
	store_column_text(s, 6, image->parent_id, sizeof(image->parent_id));
	image->virtual_size = sqlite3_column_int64(s, 7);
	image->file_size = sqlite3_column_int64(s, 8);
	image->size_override = sqlite3_column_int64(s, 9);
	image->added = sqlite3_column_int64(s, 10);
	image->current = sqlite3_column_int(s, 11);
	image->checked = sqlite3_column_int64(s, 12);
	image->check_failed = sqlite3_column_int(s, 13);
}

static int image_one(struct store *store, sqlite3_stmt *s, struct store_image *ret)
{
	int r = store_step(store, s);

	if (r <= 0)
		return r;
	image_row(s, ret);
	store_end(s);
	return 1;
}

int store_image_put(struct store *store, struct store_image *image)
{
	sqlite3_stmt *s;
	int r;

	if (image->id)
		s = store_statement(
			store,
			"UPDATE image SET name = ?2, generation = ?3, file = ?4, format = ?5,"
			" image_id = ?6, parent_id = ?7, virtual_size = ?8, file_size = ?9,"
			" size_override = ?10, added = ?11, current = ?12 WHERE id = ?1");
	else
		s = store_statement(store, "INSERT INTO image (" IMAGE_COLUMNS ")"
					   " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
	if (!s)
		return -EIO;
	if (image->id)
		sqlite3_bind_int64(s, 1, image->id);
	store_bind_text(s, 2, image->name);
	sqlite3_bind_int64(s, 3, image->generation);
	store_bind_text(s, 4, image->file);
	store_bind_text(s, 5, image->format);
	store_bind_text(s, 6, image->image_id);
	store_bind_text(s, 7, image->parent_id);
	sqlite3_bind_int64(s, 8, image->virtual_size);
	sqlite3_bind_int64(s, 9, image->file_size);
	sqlite3_bind_int64(s, 10, image->size_override);
	sqlite3_bind_int64(s, 11, image->added);
	sqlite3_bind_int(s, 12, image->current);
	r = store_run(store, s);
	if (!r && !image->id)
		image->id = sqlite3_last_insert_rowid(store->db);
	return r;
}

int store_image_remove(struct store *store, int64_t id)
{
	sqlite3_stmt *s = store_statement(store, "DELETE FROM image WHERE id = ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	return store_run(store, s);
}

int store_image_set_check(struct store *store, int64_t id, int64_t when, bool failed)
{
	sqlite3_stmt *s = store_statement(store, "UPDATE image SET checked = ?2, check_failed = ?3 WHERE id = ?1");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	sqlite3_bind_int64(s, 2, when);
	sqlite3_bind_int(s, 3, failed);
	return store_run(store, s);
}

int store_image_current(struct store *store, const char *name, struct store_image *ret)
{
	sqlite3_stmt *s = store_statement(store, IMAGE_SELECT
						 " FROM image WHERE name = ? AND current");

	if (!s)
		return -EIO;
	store_bind_text(s, 1, name);
	return image_one(store, s, ret);
}

int store_image_by_image_id(struct store *store, const char *image_id, struct store_image *ret)
{
	sqlite3_stmt *s =
		store_statement(store, IMAGE_SELECT " FROM image WHERE image_id = ?"
				       " ORDER BY current DESC, id DESC LIMIT 1");

	if (!s)
		return -EIO;
	store_bind_text(s, 1, image_id);
	return image_one(store, s, ret);
}

int store_image_by_id(struct store *store, int64_t id, struct store_image *ret)
{
	sqlite3_stmt *s =
		store_statement(store, IMAGE_SELECT " FROM image WHERE id = ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	return image_one(store, s, ret);
}

int store_image_make_current(struct store *store, int64_t id)
{
	sqlite3_stmt *s =
		store_statement(store, "UPDATE image SET current = (id = ?1)"
				       " WHERE name = (SELECT name FROM image WHERE id = ?1)");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	return store_run(store, s);
}

int store_image_each(struct store *store, void (*fn)(void *arg, const struct store_image *image),
		     void *arg)
{
	sqlite3_stmt *s = store_statement(store, IMAGE_SELECT
						 " FROM image ORDER BY name, generation");
	struct store_image image;
	int r;

	while ((r = store_step(store, s)) > 0) {
		image_row(s, &image);
		fn(arg, &image);
	}
	return r;
}
