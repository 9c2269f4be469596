// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of update sessions. */
#include <errno.h>
#include <string.h>

#include "daemon/state/private.h"

#define SESSION_COLUMNS "image, client, generation, overlay, reset, started"

static int session_one(struct state *state, sqlite3_stmt *s, struct state_session *ret)
{
	int r = state_step(state, s);

	if (r <= 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	state_column_text(s, 0, ret->image, sizeof(ret->image));
	ret->client = sqlite3_column_int64(s, 1);
	ret->generation = sqlite3_column_int64(s, 2);
	state_column_text(s, 3, ret->overlay, sizeof(ret->overlay));
	state_column_text(s, 4, ret->reset, sizeof(ret->reset));
	ret->started = sqlite3_column_int64(s, 5);
	state_end(s);
	return 1;
}

int state_session_put(struct state *state, const struct state_session *session)
{
	sqlite3_stmt *s = state_statement(state, "INSERT INTO session (" SESSION_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?)");

	if (!s)
		return -EIO;
	state_bind_text(s, 1, session->image);
	sqlite3_bind_int64(s, 2, session->client);
	sqlite3_bind_int64(s, 3, session->generation);
	state_bind_text(s, 4, session->overlay);
	state_bind_text(s, 5, session->reset);
	sqlite3_bind_int64(s, 6, session->started);
	state->changes++;
	return state_run(state, s);
}

int state_session_remove(struct state *state, const char *image)
{
	sqlite3_stmt *s = state_statement(state, "DELETE FROM session WHERE image = ?");

	if (!s)
		return -EIO;
	state_bind_text(s, 1, image);
	state->changes++;
	return state_run(state, s);
}

int state_session_by_image(struct state *state, const char *image, struct state_session *ret)
{
	sqlite3_stmt *s = state_statement(state, "SELECT " SESSION_COLUMNS " FROM session WHERE image = ?");

	if (!s)
		return -EIO;
	state_bind_text(s, 1, image);
	return session_one(state, s, ret);
}

int state_session_by_client(struct state *state, int64_t client, struct state_session *ret)
{
	sqlite3_stmt *s = state_statement(state, "SELECT " SESSION_COLUMNS " FROM session WHERE client = ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, client);
	return session_one(state, s, ret);
}
