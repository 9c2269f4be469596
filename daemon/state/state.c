// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state's SQLite file: opening, schema, transactions. The tables are in state/lease.c,
 * state/client.c, state/image.c.
 *
 * WAL with synchronous=FULL: a commit is one append and one fsync, and survives a power loss. The
 * schema's version is in user_version; a file of a newer version is refused rather than guessed at.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/state/private.h"

/* Each step leads from its index to the next version. */
static const char *const schema[] = {
	"CREATE TABLE lease ("
	" address INTEGER PRIMARY KEY, state INTEGER NOT NULL, mac BLOB NOT NULL, id BLOB NOT NULL,"
	" expires INTEGER NOT NULL, updated INTEGER NOT NULL);"
	"CREATE TABLE client ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, mac BLOB NOT NULL UNIQUE, uuid BLOB,"
	" name TEXT NOT NULL UNIQUE COLLATE NOCASE, named INTEGER NOT NULL, \"group\" TEXT NOT "
	"NULL,"
	" image TEXT NOT NULL, keep INTEGER NOT NULL, upload INTEGER NOT NULL, arch INTEGER NOT "
	"NULL,"
	" nbp TEXT NOT NULL, nbp_failed INTEGER NOT NULL, address INTEGER NOT NULL, first_seen "
	"INTEGER NOT NULL,"
	" last_seen INTEGER NOT NULL, last_boot INTEGER NOT NULL, overlay TEXT NOT NULL, reset TEXT NOT NULL);"
	"CREATE INDEX client_address ON client (address);"
	"CREATE TABLE image ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, generation INTEGER NOT NULL, "
	"file TEXT NOT NULL,"
	" format TEXT NOT NULL, image_id TEXT NOT NULL, parent_id TEXT NOT NULL, virtual_size "
	"INTEGER NOT NULL,"
	" file_size INTEGER NOT NULL, size_override INTEGER NOT NULL, added INTEGER NOT NULL,"
	" current INTEGER NOT NULL, UNIQUE (name, generation));"
	"CREATE INDEX image_image_id ON image (image_id);"
	"CREATE TABLE boot ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, client INTEGER NOT NULL REFERENCES client (id) ON "
	"DELETE CASCADE,"
	" image TEXT NOT NULL, generation INTEGER NOT NULL, dhcp_ns INTEGER NOT NULL, tftp_ns "
	"INTEGER NOT NULL,"
	" ipxe_ns INTEGER NOT NULL, script_ns INTEGER NOT NULL, ready_ns INTEGER NOT NULL, "
	"login_ns INTEGER NOT NULL,"
	" first_read_ns INTEGER NOT NULL, failure TEXT NOT NULL);"
	"CREATE INDEX boot_client ON boot (client, id);",
	"CREATE TABLE session ("
	" image TEXT PRIMARY KEY, client INTEGER NOT NULL UNIQUE REFERENCES client (id) ON DELETE CASCADE,"
	" generation INTEGER NOT NULL, overlay TEXT NOT NULL, reset TEXT NOT NULL, started INTEGER NOT NULL);",
	"ALTER TABLE image ADD COLUMN checked INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE image ADD COLUMN check_failed INTEGER NOT NULL DEFAULT 0;",
	"ALTER TABLE boot ADD COLUMN settled_ns INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE boot ADD COLUMN idle_gaps INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE boot ADD COLUMN idle_ns INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE boot ADD COLUMN idle_longest_ns INTEGER NOT NULL DEFAULT 0;",
	"ALTER TABLE image ADD COLUMN parent_hint TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE image ADD COLUMN own_name TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE image ADD COLUMN fingerprint INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE image ADD COLUMN parent INTEGER NOT NULL DEFAULT 0;",
	/* A PC is no longer its MAC. SQLite cannot take a UNIQUE away, so the table is made anew. */
	"CREATE TABLE client_new ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, mac BLOB NOT NULL, uuid BLOB,"
	" name TEXT NOT NULL UNIQUE COLLATE NOCASE, named INTEGER NOT NULL, \"group\" TEXT NOT NULL,"
	" image TEXT NOT NULL, keep INTEGER NOT NULL, upload INTEGER NOT NULL, arch INTEGER NOT NULL,"
	" nbp TEXT NOT NULL, nbp_failed INTEGER NOT NULL, address INTEGER NOT NULL, first_seen INTEGER NOT NULL,"
	" last_seen INTEGER NOT NULL, last_boot INTEGER NOT NULL, overlay TEXT NOT NULL, reset TEXT NOT NULL,"
	" pc_key TEXT NOT NULL UNIQUE);"
	"INSERT INTO client_new SELECT id, mac, uuid, name, named, \"group\", image, keep, upload, arch, nbp,"
	" nbp_failed, address, first_seen, last_seen, last_boot, overlay, reset, '" STATE_KEY_OLD "' || lower(hex(mac))"
	" FROM client;"
	"DELETE FROM sqlite_sequence WHERE name = 'client_new';"
	"INSERT INTO sqlite_sequence (name, seq) SELECT 'client_new', seq FROM sqlite_sequence WHERE name = 'client';"
	"DROP TABLE client;"
	"ALTER TABLE client_new RENAME TO client;"
	"CREATE INDEX client_address ON client (address);"
	"CREATE INDEX client_mac ON client (mac);",
	"ALTER TABLE image ADD COLUMN missed INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE image ADD COLUMN missed_why INTEGER NOT NULL DEFAULT 0;",
	"ALTER TABLE lease ADD COLUMN left_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE lease ADD COLUMN boot BLOB NOT NULL DEFAULT x'00000000000000000000000000000000';"
	"ALTER TABLE lease ADD COLUMN boot_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE lease ADD COLUMN version_primary INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE lease ADD COLUMN version_backup INTEGER NOT NULL DEFAULT 0;"
	"UPDATE lease SET left_s = CASE WHEN expires = 9223372036854775807 THEN expires"
	" WHEN updated > 0 AND expires > updated THEN expires - updated ELSE 0 END;",
};
#define SCHEMA_VERSION ((int)(sizeof(schema) / sizeof(schema[0])))

int state_errno(int code)
{
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return -EROFS;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_CANTOPEN:
		return -ENOENT;
	default:
		return -EIO;
	}
}

sqlite3_stmt *state_statement(struct state *state, const char *sql)
{
	unsigned int i;

	for (i = 0; i < STATE_STATEMENTS && state->kept[i].sql; i++) {
		if (state->kept[i].sql != sql)
			continue;
		sqlite3_reset(state->kept[i].statement);
		sqlite3_clear_bindings(state->kept[i].statement);
		return state->kept[i].statement;
	}
	if (i == STATE_STATEMENTS)
		return NULL;
	if (sqlite3_prepare_v3(state->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &state->kept[i].statement, NULL))
		return NULL;
	state->kept[i].sql = sql;
	return state->kept[i].statement;
}

void state_bind_text(sqlite3_stmt *s, int at, const char *text)
{
	sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
}

void state_bind_blob(sqlite3_stmt *s, int at, const void *data, size_t size)
{
	sqlite3_bind_blob(s, at, size ? data : "", size, SQLITE_TRANSIENT);
}

void state_column_text(sqlite3_stmt *s, int at, char *ret, size_t size)
{
	const unsigned char *text = sqlite3_column_text(s, at);

	snprintf(ret, size, "%s", text ? (const char *)text : "");
}

bool state_column_blob(sqlite3_stmt *s, int at, void *ret, size_t size)
{
	const void *data = sqlite3_column_blob(s, at);

	if (!data || (size_t)sqlite3_column_bytes(s, at) != size)
		return false;
	memcpy(ret, data, size);
	return true;
}

int state_step(struct state *state, sqlite3_stmt *s)
{
	int code;

	code = s ? sqlite3_step(s) : SQLITE_IOERR;
	if (code == SQLITE_ROW)
		return 1;
	if (code != SQLITE_DONE)
		snprintf(state->why, sizeof(state->why), "%s", sqlite3_errmsg(state->db));
	sqlite3_reset(s);
	return code == SQLITE_DONE ? 0 : state_errno(code);
}

static int run(struct state *state, sqlite3_stmt *s)
{
	int r = state_step(state, s);

	if (r > 0) {
		state_end(s);
		return 0;
	}
	return r;
}

int state_run(struct state *state, sqlite3_stmt *s)
{
	int r = state->queue ? state->calls->may(state) : 0;

	if (!r)
		r = run(state, s);
	return !r && state->queue ? state->calls->note(state, s) : r;
}

int state_insert(struct state *state, sqlite3_stmt *s, int64_t *ret)
{
	int r = state->queue ? state->calls->may(state) : 0;

	if (!r)
		r = run(state, s);
	if (r)
		return r;
	*ret = sqlite3_last_insert_rowid(state->db);
	if (!state->queue)
		return 0;
	sqlite3_reset(s);
	sqlite3_bind_int64(s, 1, *ret); /* the file's row has the same number */
	return state->calls->note(state, s);
}

int state_run_on_disk(struct state *state, sqlite3_stmt *s)
{
	int r;

	if (!state->queue)
		return run(state, s);
	r = state->calls->may(state);
	return r ? r : state->calls->note(state, s);
}

void state_end(sqlite3_stmt *s)
{
	if (s)
		sqlite3_reset(s);
}

int state_schema_version(void)
{
	return SCHEMA_VERSION;
}

int state_schema_make(sqlite3 *db, int version)
{
	int code = SQLITE_OK;

	for (int i = 0; !code && i < version && i < SCHEMA_VERSION; i++)
		code = sqlite3_exec(db, schema[i], NULL, NULL, NULL);
	return code;
}

static int execute(struct state *state, const char *sql)
{
	return state_errno(sqlite3_exec(state->db, sql, NULL, NULL, NULL));
}

static int schema_version(struct state *state)
{
	sqlite3_stmt *s;
	int version = -1;

	if (sqlite3_prepare_v2(state->db, "PRAGMA user_version", -1, &s, NULL))
		return -1;
	if (sqlite3_step(s) == SQLITE_ROW)
		version = sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	return version;
}

static int upgrade(struct state *state, struct sentence *error)
{
	int version = schema_version(state), r;
	char pragma[64];

	if (version > SCHEMA_VERSION) {
		sentence_set(error, "it is of version %d and this bootwelld knows %d: take the newer bootwelld",
			     version, SCHEMA_VERSION);
		return -EPROTO;
	}
	if (version < 0)
		return -EUCLEAN;
	/* A table that is made anew must not take with it what refers to it. */
	r = execute(state, "PRAGMA foreign_keys=OFF");
	for (; !r && version < SCHEMA_VERSION; version++) {
		snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", version + 1);
		r = execute(state, "BEGIN IMMEDIATE");
		if (!r)
			r = execute(state, schema[version]);
		if (!r)
			r = execute(state, pragma);
		if (!r)
			r = execute(state, "COMMIT");
		if (r) {
			sentence_set(error, "%s", sqlite3_errmsg(state->db));
			execute(state, "ROLLBACK");
			return r;
		}
	}
	return r ? r : execute(state, "PRAGMA foreign_keys=ON");
}

int state_new(struct state **ret, const char *file, struct sentence *error)
{
	struct state *state = calloc(1, sizeof(*state));
	mode_t mask;
	int r;

	if (!state)
		return -ENOMEM;
	error->text[0] = '\0';
	mask = umask(0077);
	r = state_errno(sqlite3_open_v2(file, &state->db,
					SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL));
	if (!r) {
		sqlite3_busy_timeout(state->db, 5000);
		r = execute(state, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;");
	}
	umask(mask);
	if (!r)
		r = upgrade(state, error);
	if (!r) {
		*ret = state;
		return 0;
	}
	if (!error->text[0])
		sentence_set(error, "%s", state->db ? sqlite3_errmsg(state->db) : "out of memory");
	state_free(state);
	return r;
}

void state_free(struct state *state)
{
	if (!state)
		return;
	if (state->in_transaction)
		state_rollback(state);
	if (state->rows)
		state->drop_rows(state->rows);
	if (state->queue)
		state->calls->free(state);
	for (unsigned int i = 0; i < STATE_STATEMENTS; i++)
		sqlite3_finalize(state->kept[i].statement);
	sqlite3_close(state->db);
	free(state);
}

int state_begin(struct state *state)
{
	int r;

	state->why[0] = '\0';
	r = state->queue ? state->calls->may(state) : 0;
	if (!r)
		r = run(state, state_statement(state, "BEGIN IMMEDIATE"));
	state->in_transaction = !r;
	return r;
}

int state_begin_lazy(struct state *state)
{
	int r;

	state->why[0] = '\0';
	r = run(state, state_statement(state, "BEGIN"));
	state->in_transaction = !r;
	return r;
}

int state_commit(struct state *state)
{
	int r = state->queue ? state->calls->commit(state) : 0;

	if (!r)
		r = run(state, state_statement(state, "COMMIT"));
	if (r)
		state_rollback(state);
	state->in_transaction = false;
	return r;
}

void state_rollback(struct state *state)
{
	char why[sizeof(state->why)];

	/* What went wrong, not how the rollback went; a full disk has made SQLite roll back by itself. */
	memcpy(why, state->why, sizeof(why));
	if (!sqlite3_get_autocommit(state->db))
		run(state, state_statement(state, "ROLLBACK"));
	if (state->queue)
		state->calls->rollback(state);
	state->changes++;
	memcpy(state->why, why, sizeof(why));
	state->in_transaction = false;
}

const char *state_file(const struct state *state)
{
	return state->queue ? state->calls->file(state) : sqlite3_db_filename(state->db, "main");
}

const char *state_error(const struct state *state)
{
	return state->why[0] ? state->why : sqlite3_errmsg(state->db);
}
