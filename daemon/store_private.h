/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the store's files share: the connection, and statements that are prepared once and kept. A
 * statement is named by its text, which must be a string literal (its address is the key).
 */
#ifndef BOOTWELL_STORE_PRIVATE_H
#define BOOTWELL_STORE_PRIVATE_H

#include <sqlite3.h>
#include <stddef.h>

#include "daemon/store.h"

#define STORE_STATEMENTS 64

struct store {
	sqlite3 *db;
	struct {
		const char *sql;
		sqlite3_stmt *statement;
	} kept[STORE_STATEMENTS];
	bool in_transaction;
	char why[256]; /* something failed last, since the transaction began */
};

/* The statement of `sql`, reset and without bindings; NULL on an error, which store_error() tells.
 */
sqlite3_stmt *store_statement(struct store *store, const char *sql);

/* Binds `n` text fields and blobs by hand; these save the casts. A text of "" is bound as such. */
void store_bind_text(sqlite3_stmt *s, int at, const char *text);
void store_bind_blob(sqlite3_stmt *s, int at, const void *data, size_t size);
void store_column_text(sqlite3_stmt *s, int at, char *ret, size_t size);
/* Copies exactly `size` bytes; false when the column has another length. */
bool store_column_blob(sqlite3_stmt *s, int at, void *ret, size_t size);

/* Runs a statement that returns no rows. -errno by SQLite's code. */
int store_run(struct store *store, sqlite3_stmt *s);
/* Steps: 1 a row, 0 the end, -errno. */
int store_step(struct store *store, sqlite3_stmt *s);
/* Ends a statement early, so that it holds no lock; the row's columns are gone. */
void store_end(sqlite3_stmt *s);

#endif
