// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of update sessions. */
#include <errno.h>
#include <string.h>

#include "daemon/store_private.h"

#define SESSION_COLUMNS "image, client, generation, overlay, reset, started"

static int session_one(struct store *store, sqlite3_stmt *s, struct store_session *ret)
{
	int r = store_step(store, s);

	if (r <= 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	store_column_text(s, 0, ret->image, sizeof(ret->image));
	ret->client = sqlite3_column_int64(s, 1);
	ret->generation = sqlite3_column_int64(s, 2);
	store_column_text(s, 3, ret->overlay, sizeof(ret->overlay));
	store_column_text(s, 4, ret->reset, sizeof(ret->reset));
	ret->started = sqlite3_column_int64(s, 5);
	store_end(s);
	return 1;
}

int store_session_put(struct store *store, const struct store_session *session)
{
	sqlite3_stmt *s = store_statement(store, "INSERT INTO session (" SESSION_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?)");

	if (!s)
		return -EIO;
	store_bind_text(s, 1, session->image);
	sqlite3_bind_int64(s, 2, session->client);
	sqlite3_bind_int64(s, 3, session->generation);
	store_bind_text(s, 4, session->overlay);
	store_bind_text(s, 5, session->reset);
	sqlite3_bind_int64(s, 6, session->started);
	return store_run(store, s);
}

int store_session_remove(struct store *store, const char *image)
{
	sqlite3_stmt *s = store_statement(store, "DELETE FROM session WHERE image = ?");

	if (!s)
		return -EIO;
	store_bind_text(s, 1, image);
	return store_run(store, s);
}

int store_session_by_image(struct store *store, const char *image, struct store_session *ret)
{
	sqlite3_stmt *s = store_statement(store, "SELECT " SESSION_COLUMNS " FROM session WHERE image = ?");

	if (!s)
		return -EIO;
	store_bind_text(s, 1, image);
	return session_one(store, s, ret);
}

int store_session_by_client(struct store *store, int64_t client, struct store_session *ret)
{
	sqlite3_stmt *s = store_statement(store, "SELECT " SESSION_COLUMNS " FROM session WHERE client = ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, client);
	return session_one(store, s, ret);
}
