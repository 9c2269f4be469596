// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The state's SQLite file: opening, schema, transactions. The tables are in store_lease.c,
 * store_client.c, store_image.c.
 *
 * WAL with synchronous=FULL: a commit is one append and one fsync, and survives a power loss. The
 * schema's version is in user_version; a file of a newer version is refused rather than guessed at.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/store_private.h"

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
};
#define SCHEMA_VERSION ((int)(sizeof(schema) / sizeof(schema[0])))

static int error_of(int code)
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

sqlite3_stmt *store_statement(struct store *store, const char *sql)
{
	unsigned int i;

	for (i = 0; i < STORE_STATEMENTS && store->kept[i].sql; i++) {
		if (store->kept[i].sql != sql)
			continue;
		sqlite3_reset(store->kept[i].statement);
		sqlite3_clear_bindings(store->kept[i].statement);
		return store->kept[i].statement;
	}
	if (i == STORE_STATEMENTS)
		return NULL;
	if (sqlite3_prepare_v3(store->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
			       &store->kept[i].statement, NULL))
		return NULL;
	store->kept[i].sql = sql;
	return store->kept[i].statement;
}

void store_bind_text(sqlite3_stmt *s, int at, const char *text)
{
	sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
}

void store_bind_blob(sqlite3_stmt *s, int at, const void *data, size_t size)
{
	sqlite3_bind_blob(s, at, size ? data : "", size, SQLITE_TRANSIENT);
}

void store_column_text(sqlite3_stmt *s, int at, char *ret, size_t size)
{
	const unsigned char *text = sqlite3_column_text(s, at);

	snprintf(ret, size, "%s", text ? (const char *)text : "");
}

bool store_column_blob(sqlite3_stmt *s, int at, void *ret, size_t size)
{
	const void *data = sqlite3_column_blob(s, at);

	if (!data || (size_t)sqlite3_column_bytes(s, at) != size)
		return false;
	memcpy(ret, data, size);
	return true;
}

int store_step(struct store *store, sqlite3_stmt *s)
{
	int code;

	code = s ? sqlite3_step(s) : SQLITE_IOERR;
	if (code == SQLITE_ROW)
		return 1;
	if (code != SQLITE_DONE)
		snprintf(store->why, sizeof(store->why), "%s", sqlite3_errmsg(store->db));
	sqlite3_reset(s);
	return code == SQLITE_DONE ? 0 : error_of(code);
}

int store_run(struct store *store, sqlite3_stmt *s)
{
	int r = store_step(store, s);

	if (r > 0) {
		store_end(s);
		return 0;
	}
	return r;
}

void store_end(sqlite3_stmt *s)
{
	if (s)
		sqlite3_reset(s);
}

static int execute(struct store *store, const char *sql)
{
	return error_of(sqlite3_exec(store->db, sql, NULL, NULL, NULL));
}

static int schema_version(struct store *store)
{
	sqlite3_stmt *s;
	int version = -1;

	if (sqlite3_prepare_v2(store->db, "PRAGMA user_version", -1, &s, NULL))
		return -1;
	if (sqlite3_step(s) == SQLITE_ROW)
		version = sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	return version;
}

static int upgrade(struct store *store, char error[256])
{
	int version = schema_version(store), r;
	char pragma[64];

	if (version > SCHEMA_VERSION) {
		snprintf(
			error, 256,
			"it is of version %d and this bootwelld knows %d: take the newer bootwelld",
			version, SCHEMA_VERSION);
		return -EPROTO;
	}
	if (version < 0)
		return -EUCLEAN;
	for (; version < SCHEMA_VERSION; version++) {
		snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", version + 1);
		r = execute(store, "BEGIN IMMEDIATE");
		if (!r)
			r = execute(store, schema[version]);
		if (!r)
			r = execute(store, pragma);
		if (!r)
			r = execute(store, "COMMIT");
		if (r) {
			snprintf(error, 256, "%s", sqlite3_errmsg(store->db));
			execute(store, "ROLLBACK");
			return r;
		}
	}
	return 0;
}

int store_new(struct store **ret, const char *file, char error[256])
{
	struct store *store = calloc(1, sizeof(*store));
	mode_t mask;
	int r;

	if (!store)
		return -ENOMEM;
	error[0] = '\0';
	mask = umask(0077);
	r = error_of(sqlite3_open_v2(
		file, &store->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL));
	if (!r) {
		sqlite3_busy_timeout(store->db, 5000);
		r = execute(store, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA "
				   "foreign_keys=ON;");
	}
	umask(mask);
	if (!r)
		r = upgrade(store, error);
	if (!r) {
		*ret = store;
		return 0;
	}
	if (!error[0])
		snprintf(error, 256, "%s", store->db ? sqlite3_errmsg(store->db) : "out of memory");
	store_free(store);
	return r;
}

void store_free(struct store *store)
{
	if (!store)
		return;
	if (store->in_transaction)
		store_rollback(store);
	for (unsigned int i = 0; i < STORE_STATEMENTS; i++)
		sqlite3_finalize(store->kept[i].statement);
	sqlite3_close(store->db);
	free(store);
}

int store_begin(struct store *store)
{
	int r;

	store->why[0] = '\0';
	r = store_run(store, store_statement(store, "BEGIN IMMEDIATE"));
	store->in_transaction = !r;
	return r;
}

int store_begin_lazy(struct store *store)
{
	int r;

	store->why[0] = '\0';
	r = store_run(store, store_statement(store, "BEGIN"));
	store->in_transaction = !r;
	return r;
}

int store_commit(struct store *store)
{
	int r = store_run(store, store_statement(store, "COMMIT"));

	if (r)
		store_rollback(store);
	store->in_transaction = false;
	return r;
}

void store_rollback(struct store *store)
{
	char why[sizeof(store->why)];

	/* What went wrong, not how the rollback went; a full disk has made SQLite roll back by itself. */
	memcpy(why, store->why, sizeof(why));
	if (!sqlite3_get_autocommit(store->db))
		store_run(store, store_statement(store, "ROLLBACK"));
	memcpy(store->why, why, sizeof(why));
	store->in_transaction = false;
}

const char *store_file(const struct store *store)
{
	return sqlite3_db_filename(store->db, "main");
}

const char *store_error(const struct store *store)
{
	return store->why[0] ? store->why : sqlite3_errmsg(store->db);
}
