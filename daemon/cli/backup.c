// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `bootwell backup FILE` and `bootwell restore FILE`: the configuration, what the server has
 * learned (bootwell.db) and, on the appliance, host keys and the keys that sign updates. Not the
 * images, and not what PCs wrote.
 *
 * An archive is a tar.gz of few files with fixed names; restore takes these names out of it and
 * nothing else, looks at all of them, and only then puts the first one into its place. What was
 * there stays beside it as NAME.before-restore.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"
#include "daemon/config/config.h"

#define KIND "bootwell-backup 1\n"

/* Where things are; the environment is for tests. */
struct places {
	char config[512];
	char state[512];   /* [server] state */
	char signers[512]; /* update-signers beside the configuration */
	char folder[64];   /* for the archive's files; removed at the end */
};

/* The names in the archive; host keys may be missing, as on a Debian that a person installed. */
static const char *const names[] = {
	"backup",
	"bootwell.conf",
	"bootwell.db",
	"update-signers",
	"ssh/ssh_host_ed25519_key",
	"ssh/ssh_host_ed25519_key.pub",
	"ssh/ssh_host_ecdsa_key",
	"ssh/ssh_host_ecdsa_key.pub",
	"ssh/ssh_host_rsa_key",
	"ssh/ssh_host_rsa_key.pub",
};
#define NAMES (sizeof(names) / sizeof(names[0]))

static int complain(const char *what, const char *on, const char *why)
{
	fprintf(stderr, "bootwell %s: %s: %s\n", what, on, why);
	return CLI_FAILED;
}

/* --- small things --- */

/* Runs a program with its output thrown away when `quiet`; 0 when it ended with 0. */
static int run(bool quiet, const char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (quiet) {
			int null = open("/dev/null", O_RDWR);

			dup2(null, 1);
			dup2(null, 2);
		}
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

/* Copies a regular file durably; -ENOENT when there is none. */
static int copy_file(const char *from, const char *to, mode_t mode)
{
	int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), out, r = 0;
	char buffer[65536];
	struct stat st;
	ssize_t n;

	if (in < 0)
		return -errno;
	if (fstat(in, &st) || !S_ISREG(st.st_mode)) {
		close(in);
		return -EINVAL;
	}
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (out < 0)
		r = -errno;
	while (!r && (n = read(in, buffer, sizeof(buffer))) != 0) {
		if (n < 0)
			r = -errno;
		for (ssize_t done = 0, w; !r && done < n; done += w) {
			w = write(out, buffer + done, n - done);
			if (w < 0) {
				r = -errno;
				break;
			}
		}
	}
	if (!r && (fchmod(out, mode) || fsync(out)))
		r = -errno;
	if (out >= 0)
		close(out);
	close(in);
	return r;
}

static void in_folder(const struct places *p, const char *name, char *ret, size_t size)
{
	snprintf(ret, size, "%s/%s", p->folder, name);
}

/* Where a name of the archive lives on this machine. */
static void at_home(const struct places *p, const char *name, char *ret, size_t size)
{
	if (!strcmp(name, "bootwell.conf"))
		snprintf(ret, size, "%s", p->config);
	else if (!strcmp(name, "bootwell.db"))
		snprintf(ret, size, "%s/bootwell.db", p->state);
	else if (!strcmp(name, "update-signers"))
		snprintf(ret, size, "%s", p->signers);
	else
		snprintf(ret, size, "%s/ssh/etc/%s", p->state, name);
}

/* --- places --- */

/* The state's folder is in the configuration. Images may be of a catalogue that is not here yet. */
static int find_state(struct places *p, const char *config_file, const char *what)
{
	static const struct config_known known = {.image = cli_any_image, .elsewhere = true};
	struct config *config;

	if (config_read_known(&config, config_file, &known, cli_report_mistake, NULL)) {
		return complain(what, config_file, "this configuration has mistakes");
	}
	snprintf(p->state, sizeof(p->state), "%s", config->state_path);
	config_free(config);
	return CLI_OK;
}

/* A daemon that runs says what it was started with. */
static int ask_daemon(struct places *p)
{
	json_t *status, *server;
	int r;

	if (!cli_daemon_runs())
		return CLI_OK;
	r = cli_ask("GET", "/status", NULL, &status);
	if (r)
		return r;
	server = json_object_get(status, "server");
	snprintf(p->config, sizeof(p->config), "%s", cli_text(server, "config", CLI_DEFAULT_CONFIG));
	snprintf(p->state, sizeof(p->state), "%s", cli_text(server, "state_path", ""));
	json_decref(status);
	if (p->config[0] == '/')
		return CLI_OK;
	return complain("backup", p->config,
			"bootwelld was started with this path from somewhere else: give the whole path "
			"with -c FILE");
}

/* `-c FILE` behind the subcommand; the rest is left in argv. */
static const char *take_config(int *argc, char **argv)
{
	const char *file;

	if (*argc < 3 || strcmp(argv[1], "-c") != 0)
		return getenv("BOOTWELL_CONFIG");
	file = argv[2];
	for (int i = 1; i + 2 <= *argc; i++)
		argv[i] = argv[i + 2];
	*argc -= 2;
	return file;
}

static int places_init(struct places *p, const char *what, const char *config)
{
	int r;

	snprintf(p->config, sizeof(p->config), "%s", config ? config : CLI_DEFAULT_CONFIG);
	r = config || strcmp(what, "backup") != 0 ? CLI_OK : ask_daemon(p);
	if (r)
		return r;
	snprintf(p->signers, sizeof(p->signers), "%.*s/update-signers",
		 (int)(strrchr(p->config, '/') ? strrchr(p->config, '/') - p->config : 0), p->config);
	strcpy(p->folder, "/tmp/bootwell-backup.XXXXXX");
	umask(077); /* host keys and tokens are in it */
	if (!mkdtemp(p->folder)) {
		p->folder[0] = '\0';
		return complain(what, "/tmp", strerror(errno));
	}
	return CLI_OK;
}

static void places_done(struct places *p)
{
	if (p->folder[0])
		run(true, (const char *const[]){"rm", "-rf", "--", p->folder, NULL});
}

/* --- backup --- */

/* A copy of the database as of now, also while bootwelld writes it. */
static int copy_database(const struct places *p)
{
	char from[600], to[128];
	sqlite3 *db = NULL;
	sqlite3_stmt *statement = NULL;
	int r;

	at_home(p, "bootwell.db", from, sizeof(from));
	in_folder(p, "bootwell.db", to, sizeof(to));
	r = sqlite3_open_v2(from, &db, SQLITE_OPEN_READWRITE, NULL);
	if (r == SQLITE_OK)
		sqlite3_busy_timeout(db, 10000);
	if (r == SQLITE_OK)
		r = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &statement, NULL);
	if (r == SQLITE_OK)
		sqlite3_bind_text(statement, 1, to, -1, SQLITE_STATIC);
	if (r == SQLITE_OK && sqlite3_step(statement) != SQLITE_DONE)
		r = SQLITE_ERROR;
	if (r != SQLITE_OK)
		complain("backup", from, db ? sqlite3_errmsg(db) : "out of memory");
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return r == SQLITE_OK ? CLI_OK : CLI_FAILED;
}

static int write_kind(const struct places *p)
{
	char path[128], date[64];
	time_t now = time(NULL);
	FILE *file;

	in_folder(p, "backup", path, sizeof(path));
	file = fopen(path, "we");
	if (!file)
		return complain("backup", path, strerror(errno));
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	fprintf(file, "%sversion %s\ndate %s\n", KIND, BOOTWELL_VERSION, date);
	return fclose(file) ? complain("backup", path, strerror(errno)) : CLI_OK;
}

/* What there is of configuration and keys; the first two names are made otherwise. */
static int collect_files(const struct places *p)
{
	char from[600], to[128];

	in_folder(p, "ssh", to, sizeof(to));
	mkdir(to, 0700);
	for (size_t i = 0; i < NAMES; i++) {
		int r;

		if (!strcmp(names[i], "backup") || !strcmp(names[i], "bootwell.db"))
			continue;
		at_home(p, names[i], from, sizeof(from));
		in_folder(p, names[i], to, sizeof(to));
		r = copy_file(from, to, 0600);
		if (r == -ENOENT && strcmp(names[i], "bootwell.conf"))
			continue;
		if (r)
			return complain("backup", from, strerror(-r));
	}
	return CLI_OK;
}

static int pack(const struct places *p, const char *file)
{
	char new[4096];
	int fd;

	if (snprintf(new, sizeof(new), "%s.new", file) >= (int)sizeof(new))
		return complain("backup", file, "this name is too long");
	if (run(false, (const char *const[]){"tar", "-C", p->folder, "-czf", new, "--owner=0", "--group=0", ".", NULL}))
		return complain("backup", file, "tar could not write it");
	fd = open(new, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) || rename(new, file)) {
		int error = errno;

		if (fd >= 0)
			close(fd);
		return complain("backup", file, strerror(error));
	}
	close(fd);
	return CLI_OK;
}

static void print_done(const char *what, const char *file, const struct places *p)
{
	json_t *o = json_pack("{s:s, s:s, s:s}", what, file, "configuration", p->config, "state", p->state);

	cli_print_json(o);
	json_decref(o);
}

int cli_backup(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);
	const char *config = take_config(&argc, argv);
	struct places p = {};
	int r;

	if (argc != 2 || argv[1][0] == '-')
		return cli_usage("backup [-c CONFIG] FILE [--json]");
	r = places_init(&p, "backup", config);
	if (!r && !p.state[0])
		r = find_state(&p, p.config, "backup");
	if (!r)
		r = collect_files(&p);
	if (!r)
		r = copy_database(&p);
	if (!r)
		r = write_kind(&p);
	if (!r)
		r = pack(&p, argv[1]);
	if (!r && json)
		print_done("backup", argv[1], &p);
	else if (!r)
		printf("%s has the configuration, clients, leases and catalogue; images are not in "
		       "it\n",
		       argv[1]);
	places_done(&p);
	return r;
}

/* --- restore --- */

/* Takes the known names out of the archive, each of which has to be an ordinary file. */
static int unpack(const struct places *p, const char *file)
{
	char path[128], first[64] = "";
	struct stat st;
	FILE *kind;

	for (size_t i = 0; i < NAMES; i++) {
		char member[64];

		snprintf(member, sizeof(member), "./%s", names[i]);
		run(true, (const char *const[]){"tar", "-C", p->folder, "-xzf", file, "--no-same-owner",
						"--no-same-permissions", "--", member, NULL});
		in_folder(p, names[i], path, sizeof(path));
		if (!lstat(path, &st) && (!S_ISREG(st.st_mode) || st.st_nlink != 1))
			return complain("restore", file, "something in it is no ordinary file");
	}
	in_folder(p, "backup", path, sizeof(path));
	kind = fopen(path, "re");
	if (!kind || !fgets(first, sizeof(first), kind) || strcmp(first, KIND)) {
		if (kind)
			fclose(kind);
		return complain("restore", file, "this is no backup that this version knows");
	}
	fclose(kind);
	return CLI_OK;
}

static int check_database(const struct places *p, const char *file)
{
	char path[128];
	sqlite3 *db = NULL;
	sqlite3_stmt *statement = NULL;
	bool good = false;

	in_folder(p, "bootwell.db", path, sizeof(path));
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		good = !strcmp((const char *)sqlite3_column_text(statement, 0), "ok");
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return good ? CLI_OK : complain("restore", file, "its database is damaged");
}

/* The new one is written beside the old one, which stays as NAME.before-restore. Nobody reads it who could not read
 * the old one: it may hold a token. */
static int put(const char *from, const char *to, mode_t mode)
{
	char new[640], old[640];
	struct stat st;
	int r;

	snprintf(new, sizeof(new), "%s.restoring", to);
	snprintf(old, sizeof(old), "%s.before-restore", to);
	if (!stat(to, &st))
		mode &= st.st_mode;
	r = copy_file(from, new, mode);
	if (!r && !stat(to, &st) && chown(new, st.st_uid, st.st_gid))
		r = -errno;
	if (!r && !access(to, F_OK)) {
		unlink(old);
		if (link(to, old))
			r = -errno;
	}
	if (!r && rename(new, to))
		r = -errno;
	return r ? complain("restore", to, strerror(-r)) : CLI_OK;
}

/* A new configuration is root's alone. */
static mode_t mode_of(const char *name, const char *to)
{
	bool all = strstr(name, ".pub") || !strcmp(name, "update-signers");

	return all || (!strcmp(name, "bootwell.conf") && !access(to, F_OK)) ? 0644 : 0600;
}

static int put_all(const struct places *p)
{
	char from[128], to[600], folder[600];
	struct stat st;

	snprintf(folder, sizeof(folder), "%s/ssh/etc/ssh", p->state);
	for (size_t i = 1; i < NAMES; i++) {
		bool key = !strncmp(names[i], "ssh/", 4);

		in_folder(p, names[i], from, sizeof(from));
		at_home(p, names[i], to, sizeof(to));
		/* Host keys have a place on an appliance only. */
		if (access(from, F_OK) || (key && stat(folder, &st)))
			continue;
		if (put(from, to, mode_of(names[i], to)))
			return CLI_FAILED;
		if (!strcmp(names[i], "bootwell.db")) {
			/* The old one's journal must not be taken for the new one's. */
			snprintf(to, sizeof(to), "%s/bootwell.db-wal", p->state);
			unlink(to);
			snprintf(to, sizeof(to), "%s/bootwell.db-shm", p->state);
			unlink(to);
		}
		/* The appliance's copy that counts at its next start. */
		snprintf(to, sizeof(to), "%s/config/bootwell.conf", p->state);
		if (!strcmp(names[i], "bootwell.conf") && !access(to, F_OK) && put(from, to, mode_of(names[i], to)))
			return CLI_FAILED;
	}
	sync();
	return CLI_OK;
}

int cli_restore(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);
	const char *config = take_config(&argc, argv);
	struct places p = {};
	char path[128];
	int r;

	if (argc != 2 || argv[1][0] == '-')
		return cli_usage("restore [-c CONFIG] FILE [--json]");
	if (access(argv[1], R_OK))
		return complain("restore", argv[1], strerror(errno));
	if (cli_daemon_runs())
		return complain("restore", argv[1], "bootwelld runs; stop it first: systemctl stop bootwell");
	r = places_init(&p, "restore", config);
	if (!r)
		r = unpack(&p, argv[1]);
	if (!r) {
		in_folder(&p, "bootwell.conf", path, sizeof(path));
		r = find_state(&p, path, "restore");
	}
	if (!r)
		r = check_database(&p, argv[1]);
	if (!r && run(false, (const char *const[]){"mkdir", "-p", "--", p.state, NULL}))
		r = complain("restore", p.state, "cannot be made");
	if (!r)
		r = put_all(&p);
	if (!r && json)
		print_done("restored", argv[1], &p);
	else if (!r)
		printf("restored; what was there is beside it as NAME.before-restore\n");
	places_done(&p);
	return r;
}
