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

struct state;

/* How state.c tells the queue, which stands above it: state/queue.c. */
struct state_queue_calls {
	int (*may)(struct state *state); /* 0: changes are taken; -errno: state_error() says why not */
	int (*note)(struct state *state, sqlite3_stmt *s); /* what was done in the copy is to be done in the file */
	int (*commit)(struct state *state);                /* what was noted in this transaction is whole */
	void (*rollback)(struct state *state);
	const char *(*file)(const struct state *state);
	void (*free)(struct state *state);
};

struct state {
	sqlite3 *db;
	struct {
		const char *sql;
		sqlite3_stmt *statement;
	} kept[STATE_STATEMENTS];
	bool in_transaction;
	struct state_queue *queue; /* this is a copy in memory; NULL: it is the file */
	const struct state_queue_calls *calls;
	unsigned int changes;    /* of the catalogue and the sessions */
	struct state_rows *rows; /* state/rows.c: as they were after so many */
	unsigned int rows_of;
	void (*drop_rows)(struct state_rows *rows);
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
/* The same for one that makes a row, whose number is its first value: *ret. */
int state_insert(struct state *state, sqlite3_stmt *s, int64_t *ret);
/* The same for tables that are not in a copy: it is written, and true in the file only. */
int state_run_on_disk(struct state *state, sqlite3_stmt *s);
/* Steps: 1 a row, 0 the end, -errno. */
int state_step(struct state *state, sqlite3_stmt *s);
/* Ends a statement early, so that it holds no lock; the row's columns are gone. */
void state_end(sqlite3_stmt *s);

int state_errno(int code); /* SQLite's code as 0 or -errno */
int state_schema_version(void);
/* Tables of a state of `version` in an empty database; SQLite's code. */
int state_schema_make(sqlite3 *db, int version);

/* state/queue.c, of a state with a queue. */
int64_t queue_next_boot(struct state *state);
struct state *queue_disk(struct state *state); /* before the thread: the file; then NULL */

#endif
