/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the store's files share: the connection, and statements that are prepared once and kept. A
 * statement is named by its text, which must be a string literal (its address is the key).
 */
#ifndef BOOTWELL_STATE_PRIVATE_H
#define BOOTWELL_STATE_PRIVATE_H

#include <sqlite3.h>
#include <stddef.h>

#include "daemon/state/state.h"

#define STATE_STATEMENTS 64

struct state {
	sqlite3 *db;
	struct {
		const char *sql;
		sqlite3_stmt *statement;
	} kept[STATE_STATEMENTS];
	bool in_transaction;
	char why[256]; /* something failed last, since the transaction began */
};

/* The statement of `sql`, reset and without bindings; NULL on an error, which state_error() tells.
 */
sqlite3_stmt *state_statement(struct state *state, const char *sql);

/* Binds `n` text fields and blobs by hand; these save the casts. A text of "" is bound as such. */
void state_bind_text(sqlite3_stmt *s, int at, const char *text);
void state_bind_blob(sqlite3_stmt *s, int at, const void *data, size_t size);
void state_column_text(sqlite3_stmt *s, int at, char *ret, size_t size);
/* Copies exactly `size` bytes; false when the column has another length. */
bool state_column_blob(sqlite3_stmt *s, int at, void *ret, size_t size);

/* Runs a statement that returns no rows. -errno by SQLite's code. */
int state_run(struct state *state, sqlite3_stmt *s);
/* Steps: 1 a row, 0 the end, -errno. */
int state_step(struct state *state, sqlite3_stmt *s);
/* Ends a statement early, so that it holds no lock; the row's columns are gone. */
void state_end(sqlite3_stmt *s);

int state_errno(int code); /* SQLite's code as 0 or -errno */
int state_schema_version(void);
/* Tables of a state of `version` in an empty database; SQLite's code. */
int state_schema_make(sqlite3 *db, int version);

#endif
