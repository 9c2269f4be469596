// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `bootwell state list|check|restore`: the state and its copies (state/copies.h), whether bootwelld runs or cannot
 * start. A restore holds bootwelld's own lock, so that none runs or starts meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"
#include "daemon/config/config.h"
#include "daemon/state/copies.h"

struct place {
	char file[300]; /* the state */
	char lock[300]; /* bootwelld's */
};

static int complain(const char *on, const char *why)
{
	fprintf(stderr, "bootwell state: %s: %s\n", on, why);
	return CLI_FAILED;
}

static int find_place(struct place *p)
{
	static const struct config_known known = {.image = cli_any_image, .elsewhere = true};
	const char *file = getenv("BOOTWELL_CONFIG");
	struct config *config;

	file = file ? file : CLI_DEFAULT_CONFIG;
	if (config_read_known(&config, file, &known, cli_report_mistake, NULL))
		return complain(file, "this configuration has mistakes");
	snprintf(p->file, sizeof(p->file), "%s/bootwell.db", config->state_path);
	snprintf(p->lock, sizeof(p->lock), "%s/lock", config->run_path);
	config_free(config);
	return CLI_OK;
}

static const char *date_of(int64_t when, char ret[32])
{
	time_t t = when;
	struct tm tm;

	strftime(ret, 32, "%Y-%m-%d %H:%M:%S", localtime_r(&t, &tm));
	return ret;
}

static int list(const struct place *p, bool json)
{
	json_t *all = json_array();
	struct copies copies;
	char date[32], size[16];
	int r = copies_list(p->file, &copies);

	if (r) {
		json_decref(all);
		return complain(p->file, strerror(-r));
	}
	if (!json && copies.n)
		printf("%-44s %-20s %s\n", "COPY", "MADE", "SIZE");
	for (unsigned int i = 0; i < copies.n; i++) {
		if (!json)
			printf("%-44s %-20s %s\n", copies.copy[i].name, date_of(copies.copy[i].made, date),
			       cli_size(size, copies.copy[i].bytes));
		json_array_append_new(all, json_pack("{s:s, s:I, s:I}", "name", copies.copy[i].name, "made",
						     (json_int_t)copies.copy[i].made, "bytes",
						     (json_int_t)copies.copy[i].bytes));
	}
	if (json)
		cli_print_json(all);
	else if (!copies.n)
		printf("there is no copy of %s yet: bootwelld makes one each day\n", p->file);
	json_decref(all);
	return CLI_OK;
}

/* What a person can do about a damaged state. */
static void tell_copy(const struct place *p)
{
	struct copies copies;
	int good = copies_list(p->file, &copies) ? -ENOENT : copies_newest_good(p->file, &copies);

	if (good >= 0)
		fprintf(stderr, "the newest good copy is %s: \"bootwell state restore %s\" goes back to it\n",
			copies.copy[good].name, copies.copy[good].name);
	else
		fprintf(stderr, "there is no good copy beside it; \"bootwell restore FILE\" takes a backup\n");
}

static int check(const struct place *p, const char *name, bool json)
{
	struct sentence why = {""};
	char path[400];
	json_t *o;
	int r = 0;

	snprintf(path, sizeof(path), "%s", p->file);
	if (name && copies_path(p->file, name, path, sizeof(path)))
		return complain(name, "this is no copy; \"bootwell state list\" names them");
	r = copies_check(path, &why);
	if (json) {
		o = json_pack("{s:s, s:b, s:s}", "file", path, "good", r == 0, "why", why.text);
		cli_print_json(o);
		json_decref(o);
	} else if (!r) {
		printf("%s is whole\n", path);
	}
	if (!r)
		return CLI_OK;
	complain(path, why.text);
	if (!name)
		tell_copy(p);
	return CLI_FAILED;
}

/* bootwelld's lock, to be held until the end; -EBUSY: it runs. A folder that is not there is held by nobody. */
static int lock(const struct place *p)
{
	int fd = open(p->lock, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!flock(fd, LOCK_EX | LOCK_NB))
		return 0; /* until the process ends */
	close(fd);
	return -EBUSY;
}

static int restore(const struct place *p, const char *name, bool json)
{
	struct sentence why = {""};
	json_t *o;
	int r = cli_daemon_runs() ? -EBUSY : lock(p);

	if (r == -EBUSY)
		return complain(p->file, "bootwelld runs; stop it first: systemctl stop bootwell");
	if (r)
		return complain(p->lock, strerror(-r));
	if (copies_restore(p->file, name, &why))
		return complain(name, why.text);
	if (json) {
		o = json_pack("{s:s, s:s}", "restored", name, "file", p->file);
		cli_print_json(o);
		json_decref(o);
	} else {
		printf("%s is what it was in %s; what was there is beside it as bootwell.db.before-restore\n", p->file,
		       name);
	}
	return CLI_OK;
}

int cli_state(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);
	struct place p;

	for (int i = 2; i < argc; i++)
		if (argv[i][0] == '-')
			argc = 0;
	if (argc == 2 && !strcmp(argv[1], "list"))
		return find_place(&p) ? CLI_FAILED : list(&p, json);
	if ((argc == 2 || argc == 3) && !strcmp(argv[1], "check"))
		return find_place(&p) ? CLI_FAILED : check(&p, argc == 3 ? argv[2] : NULL, json);
	if (argc == 3 && !strcmp(argv[1], "restore"))
		return find_place(&p) ? CLI_FAILED : restore(&p, argv[2], json);
	return cli_usage("state list | check [COPY] | restore COPY  [--json]");
}
