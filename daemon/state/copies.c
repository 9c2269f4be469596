// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Copies of the state. One is made by SQLite's backup in a single step, which in WAL mode is a read transaction: the
 * daemon writes on. It becomes a file without a journal, is checked, synced, and only then gets its name.
 *
 * A restore moves the old journal away before the copy takes the state's name. After a crash in between there is the
 * old state without its last changes, and the restore can be done again; the other way round SQLite would play the old
 * journal into the copy.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/fileio.h"
#include "daemon/state/copies.h"
#include "daemon/state/private.h"

/* --- names --- */

static int folder_of(const char *file, char *ret, size_t size)
{
	const char *slash = strrchr(file, '/');
	int n = snprintf(ret, size, "%.*s/copies", slash ? (int)(slash - file) : 1, slash ? file : ".");

	return n >= (int)size ? -ENAMETOOLONG : 0;
}

/* YYYYMMDD-HHMMSS[-before-VERSION].db */
static bool is_name(const char *name)
{
	static const char form[] = "dddddddd-dddddd";
	size_t n = strlen(name), i;

	if (n < sizeof(form) + 2 || n >= sizeof(((struct copies *)NULL)->copy[0].name) || strchr(name, '/') ||
	    strcmp(name + n - 3, ".db"))
		return false;
	for (i = 0; form[i]; i++)
		if (form[i] == 'd' ? name[i] < '0' || name[i] > '9' : name[i] != form[i])
			return false;
	return n == i + 3 || !strncmp(name + i, "-before-", 8);
}

int copies_path(const char *file, const char *name, char *ret, size_t size)
{
	char folder[PATH_MAX];
	int r = is_name(name) ? folder_of(file, folder, sizeof(folder)) : -EINVAL;

	if (!r && snprintf(ret, size, "%s/%s", folder, name) >= (int)size)
		r = -ENAMETOOLONG;
	return r;
}

/* --- what there is --- */

static int is_copy(const struct dirent *entry)
{
	return is_name(entry->d_name);
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*b)->d_name, (*a)->d_name);
}

int copies_list(const char *file, struct copies *ret)
{
	char folder[PATH_MAX], path[PATH_MAX];
	struct dirent **entry;
	struct stat st;
	int n, r = folder_of(file, folder, sizeof(folder));

	memset(ret, 0, sizeof(*ret));
	if (r)
		return r;
	n = scandir(folder, &entry, is_copy, newest_first);
	if (n < 0)
		return errno == ENOENT ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		if (ret->n < COPIES_MAX && !copies_path(file, entry[i]->d_name, path, sizeof(path)) &&
		    !lstat(path, &st) && S_ISREG(st.st_mode)) {
			strcpy(ret->copy[ret->n].name, entry[i]->d_name); /* is_name() has its length */
			ret->copy[ret->n].made = st.st_mtime;
			ret->copy[ret->n].before = strstr(entry[i]->d_name, "-before-") != NULL;
			ret->copy[ret->n++].bytes = st.st_size;
		}
		free(entry[i]);
	}
	free(entry);
	return 0;
}

bool copies_has_version(const struct copies *copies, const char *version)
{
	char end[64];

	snprintf(end, sizeof(end), "-before-%s.db", version);
	for (unsigned int i = 0; i < copies->n; i++)
		if (copies->copy[i].before && !strcmp(copies->copy[i].name + 15, end))
			return true;
	return false;
}

int copies_newest_good(const char *file, const struct copies *copies)
{
	struct sentence ignored;
	char path[PATH_MAX];

	for (unsigned int i = 0; i < copies->n; i++)
		if (!copies_path(file, copies->copy[i].name, path, sizeof(path)) && !copies_check(path, &ignored))
			return (int)i;
	return -ENOENT;
}

/* --- check --- */

/* The first row's text of a statement, "" without a row. SQLite's code. */
static int first_text(sqlite3 *db, const char *sql, const char *bind, char *ret, size_t size)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(db, sql, -1, &s, NULL);

	ret[0] = '\0';
	if (!code && bind)
		code = sqlite3_bind_text(s, 1, bind, -1, SQLITE_TRANSIENT);
	if (!code) {
		code = sqlite3_step(s);
		if (code == SQLITE_ROW)
			state_column_text(s, 0, ret, size);
		code = code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
	}
	sqlite3_finalize(s);
	return code;
}

/* Has it each column that a state of its version has? */
static int check_columns(sqlite3 *db, int version, struct sentence *error)
{
	sqlite3 *model = NULL;
	sqlite3_stmt *s = NULL;
	char missing[128] = "", found[128];
	int code = sqlite3_open(":memory:", &model), step = SQLITE_DONE;

	if (!code)
		code = state_schema_make(model, version);
	if (!code)
		code = sqlite3_prepare_v2(
			model,
			"SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c"
			" WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'",
			-1, &s, NULL);
	while (!code && !missing[0] && (step = sqlite3_step(s)) == SQLITE_ROW) {
		state_column_text(s, 0, missing, sizeof(missing));
		code = first_text(db,
				  "SELECT m.name FROM sqlite_schema m, pragma_table_info(m.name) c"
				  " WHERE m.type = 'table' AND m.name || '.' || c.name = ?1",
				  missing, found, sizeof(found));
		if (!code && found[0])
			missing[0] = '\0';
	}
	sqlite3_finalize(s);
	sqlite3_close(model);
	if (!code && missing[0])
		return sentence_fail(error, -EUCLEAN, "%s is missing in it", missing);
	return code ? sentence_fail(error, -EIO, "%s", sqlite3_errstr(code)) : 0;
}

static int check_open(sqlite3 *db, struct sentence *error)
{
	char text[200] = "";
	int code = first_text(db, "PRAGMA integrity_check(1)", NULL, text, sizeof(text)), version;

	if (code)
		return sentence_fail(error, state_errno(code), "%s", sqlite3_errmsg(db));
	if (strcmp(text, "ok"))
		/* "*** in database main ***", and in a line of its own what it is */
		return sentence_fail(error, -EUCLEAN, "%s", strchr(text, '\n') ? strchr(text, '\n') + 1 : text);
	code = first_text(db, "PRAGMA user_version", NULL, text, sizeof(text));
	if (code)
		return sentence_fail(error, state_errno(code), "%s", sqlite3_errmsg(db));
	version = atoi(text);
	if (version < 1)
		return sentence_fail(error, -EUCLEAN, "it holds no state of bootwell");
	if (version > state_schema_version())
		return sentence_fail(error, -EPROTO,
				     "it is of version %d and this bootwell knows %d: take the newer bootwell", version,
				     state_schema_version());
	return check_columns(db, version, error);
}

int copies_check(const char *file, struct sentence *error)
{
	sqlite3 *db = NULL;
	int code, r;

	error->text[0] = '\0';
	if (access(file, F_OK))
		return sentence_fail(error, -errno, "%s", strerror(errno));
	/* Read-only: a check that closes last would write the journal into a file that may be damaged. */
	code = sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY, NULL);
	if (!code)
		sqlite3_busy_timeout(db, 5000);
	r = code ? sentence_fail(error, state_errno(code), "%s", db ? sqlite3_errmsg(db) : "out of memory")
		 : check_open(db, error);
	sqlite3_close(db);
	return r;
}

/* --- make --- */

static int sync_path(const char *path, int flags)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | flags), r = 0;

	if (fd < 0 || fsync(fd))
		r = -errno;
	if (fd >= 0)
		close(fd);
	return r;
}

/* SQLite's code, with its sentence. */
static int back_up(const char *file, const char *to, struct sentence *error)
{
	sqlite3 *db = NULL, *copy = NULL;
	sqlite3_backup *backup = NULL;
	int code = sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE, NULL);

	if (!code) {
		sqlite3_busy_timeout(db, 5000);
		code = sqlite3_open_v2(to, &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
	}
	if (!code) {
		backup = sqlite3_backup_init(copy, "main", db, "main");
		code = backup ? sqlite3_backup_step(backup, -1) : sqlite3_errcode(copy);
		sqlite3_backup_finish(backup);
		code = code == SQLITE_DONE ? SQLITE_OK : code;
	}
	if (!code)
		code = sqlite3_exec(copy, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
	if (code)
		sentence_set(error, "%s", sqlite3_errstr(code));
	sqlite3_close(copy);
	sqlite3_close(db);
	return code;
}

static void prune(const char *file)
{
	unsigned int daily = 0, before = 0;
	char path[PATH_MAX];
	struct copies all;

	if (copies_list(file, &all))
		return;
	for (unsigned int i = 0; i < all.n; i++)
		if ((all.copy[i].before ? ++before > COPIES_BEFORE : ++daily > COPIES_DAILY) &&
		    !copies_path(file, all.copy[i].name, path, sizeof(path)))
			unlink(path);
}

static int give_name(const char *folder, const char *made, const char *version, struct sentence *error)
{
	char date[32], path[PATH_MAX];
	time_t now = time(NULL);
	struct tm tm;
	int r;

	strftime(date, sizeof(date), "%Y%m%d-%H%M%S", gmtime_r(&now, &tm));
	if (snprintf(path, sizeof(path), "%s/%s%s%.40s.db", folder, date, version ? "-before-" : "",
		     version ? version : "") >= (int)sizeof(path))
		return sentence_fail(error, -ENAMETOOLONG, "%s", strerror(ENAMETOOLONG));
	r = sync_path(made, 0);
	if (!r && rename(made, path))
		r = -errno;
	if (!r)
		r = sync_path(folder, O_DIRECTORY);
	return r ? sentence_fail(error, r, "%s", strerror(-r)) : 0;
}

int copies_make(const char *file, const char *version, struct sentence *error)
{
	char folder[PATH_MAX], made[PATH_MAX];
	int r = folder_of(file, folder, sizeof(folder)), code, fd;

	error->text[0] = '\0';
	if (!r && mkdir(folder, 0700) && errno != EEXIST)
		r = -errno;
	if (!r && snprintf(made, sizeof(made), "%s/new", folder) >= (int)sizeof(made))
		r = -ENAMETOOLONG;
	if (r)
		return sentence_fail(error, r, "%s: %s", folder, strerror(-r));
	/* What one that was broken off has left. Nobody else may read it: tokens are beside it, PCs' names in it. */
	unlink(made);
	fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return sentence_fail(error, -errno, "%s: %s", made, strerror(errno));
	close(fd);
	code = back_up(file, made, error);
	r = code ? state_errno(code) : copies_check(made, error);
	if (!r)
		r = give_name(folder, made, version, error);
	if (r)
		unlink(made);
	else
		prune(file);
	return r;
}

/* --- restore --- */

static int copy_bytes(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), out = -1, r = in < 0 ? -errno : 0;
	static const size_t room = 65536;
	char *buffer = malloc(room);
	uint64_t at = 0;
	ssize_t n = 1;

	if (!r && !buffer)
		r = -ENOMEM;
	if (!r) {
		out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
		r = out < 0 ? -errno : 0;
	}
	while (!r && n > 0) {
		n = fileio_read_some(in, buffer, room, at);
		r = n < 0 ? (int)n : fileio_write(out, buffer, n, at);
		at += n > 0 ? n : 0;
	}
	if (!r && fsync(out))
		r = -errno;
	if (out >= 0)
		close(out);
	if (in >= 0)
		close(in);
	free(buffer);
	return r;
}

/* Whose the state was, or whose the folder is. */
static int give_owner(const char *file, const char *folder, const char *to)
{
	struct stat st;

	if (stat(file, &st) && stat(folder, &st))
		return -errno;
	return geteuid() == 0 && chown(to, st.st_uid, st.st_gid) ? -errno : 0;
}

/* The old file and its journals; one that is not there is none of ours either. */
static int put_aside(const char *file)
{
	static const char *const end[] = {"-wal", "-shm", ""};
	char from[PATH_MAX], to[PATH_MAX];

	for (unsigned int i = 0; i < 3; i++) {
		if (snprintf(from, sizeof(from), "%s%s", file, end[i]) >= (int)sizeof(from) ||
		    snprintf(to, sizeof(to), "%s.before-restore%s", file, end[i]) >= (int)sizeof(to))
			return -ENAMETOOLONG;
		unlink(to);
		if ((end[i][0] ? rename(from, to) : link(from, to)) && errno != ENOENT)
			return -errno;
	}
	return 0;
}

int copies_restore(const char *file, const char *name, struct sentence *error)
{
	char from[PATH_MAX], new[PATH_MAX], folder[PATH_MAX];
	int r = copies_path(file, name, from, sizeof(from));

	if (r)
		return sentence_fail(error, r, "%s is no copy: \"bootwell state list\" names them", name);
	r = copies_check(from, error);
	if (r)
		return r;
	snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(file, '/') - file), file);
	r = snprintf(new, sizeof(new), "%s.restoring", file) >= (int)sizeof(new) ? -ENAMETOOLONG : 0;
	if (!r)
		r = copy_bytes(from, new);
	if (!r)
		r = give_owner(file, folder, new);
	if (!r)
		r = put_aside(file);
	if (!r && rename(new, file))
		r = -errno;
	if (!r)
		r = sync_path(folder, O_DIRECTORY);
	if (r)
		unlink(new);
	return r ? sentence_fail(error, r, "%s: %s", file, strerror(-r)) : 0;
}
