// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bootwell-doctor: what a first boot of an image over iSCSI would stumble over. A program of its own: it reads what a
 * stranger made, so it first opens what it needs and then gives up everything else (doctor/sandbox.h).
 *
 *	bootwell-doctor [--json] [--cards] [--format FORMAT] FILE	for people, by `bootwell image doctor`
 *	bootwell-doctor --mend GENERATION DIR LAYER...		for a commit (commit.h)
 *	bootwell-doctor --computer-name NAME GENERATION DIR LAYER...	for a boot (boot/disk.c)
 *
 * LAYER is FORMAT FILE SIZE, itself first, then its parents; SIZE 0: as the file says. The last two write what is to be
 * changed to standard output, in the format of bootwell-overlay (tcmu-handler/export), and what that is to standard
 * error. Exit status of these: 0; 3: there is nothing to change; 1: it failed, the first line on standard error says
 * why.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/command.h"
#include "daemon/doctor/doctor.h"
#include "daemon/doctor/hive.h"
#include "daemon/doctor/sandbox.h"
#include "daemon/image/chain.h"
#include "daemon/image/layers.h"

#define NOTHING  3
#define UNMENDED "not mended: "

/* hivex opens files by name, and finds this before libc's: doctor/hive.h. Everything else in this program gets what it
 * asks for, or the sandbox's no. */
__attribute__((visibility("default"))) int open(const char *path, int flags, ...)
{
	int fd = doctor_hive_fd(path);
	mode_t mode = 0;
	va_list ap;

	if (fd >= 0)
		return fd;
	if (flags & (O_CREAT | __O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return openat(AT_FDCWD, path, flags, mode);
}

static int enter(void)
{
	int r = doctor_hive_prepare();

	if (r) {
		fprintf(stderr, "bootwell: the doctor cannot start: %s\n", strerror(-r));
		return r;
	}
	return doctor_sandbox_enter();
}

/* --- for people ----------------------------------------------------------------------------------------------------*/

static void print_finding(void *arg, enum doctor_level level, const char *finding, const char *advice)
{
	static const char *const marks[] = {"      ", "ok    ", "watch ", "BAD   ", "fixed ", "?     "};

	(void)arg;
	printf("%s%s\n", marks[level], finding);
	if (advice && (level == DOCTOR_WARNING || level == DOCTOR_BAD || level == DOCTOR_UNKNOWN))
		printf("        -> %s\n", advice);
}

static void add_finding(void *arg, enum doctor_level level, const char *finding, const char *advice)
{
	static const char *const names[] = {"info", "good", "warning", "bad", "fixed", "unknown"};
	static const char *const sure[] = {"certain", "certain", "likely", "certain", "certain", "unknown"};
	json_t *o = json_pack("{s:s, s:s, s:s}", "level", names[level], "sure", sure[level], "finding", finding);

	if (advice)
		json_object_set_new(o, "advice", json_string(advice));
	json_array_append_new(arg, o);
}

static int look(const char *path, const enum image_format *format, const struct doctor_options *options, bool json)
{
	struct doctor_result result = {};
	struct doctor_disk *disk = NULL;
	json_t *list = json_array();
	struct image *img = NULL;
	struct sentence err;
	int r = chain_open(&img, path, format, &err);

	if (r < 0) {
		fprintf(stderr, "bootwell: %s\n", err.text);
		return CLI_FAILED;
	}
	r = doctor_disk_new(&disk, img);
	if (!r)
		r = enter();
	if (r)
		return CLI_FAILED;
	r = json ? doctor_look(disk, options, add_finding, list, &result)
		 : doctor_look(disk, options, print_finding, NULL, &result);
	if (json)
		json_dumpf(list, stdout, JSON_INDENT(2));
	else if (!r && !result.bad)
		printf("nothing certain stands against a boot over the network%s\n",
		       result.doubts ? "; \"watch\" is likely to, and \"?\" is not known" : "");
	else if (!r)
		printf("%d %s against a boot over the network\n", result.bad,
		       result.bad == 1 ? "thing stands" : "things stand");
	fflush(stdout);
	json_decref(list);
	doctor_disk_free(disk);
	image_close(img);
	return !r && !result.bad ? CLI_OK : CLI_FAILED;
}

/* --- for the daemon ------------------------------------------------------------------------------------------------*/

struct told {
	char text[8192]; /* lines */
	size_t length;
};

static void note_finding(void *arg, enum doctor_level level, const char *finding, const char *advice)
{
	struct told *t = arg;
	int n;

	(void)advice;
	if (level != DOCTOR_MENDED && level != DOCTOR_BAD)
		return;
	n = snprintf(t->text + t->length, sizeof(t->text) - t->length, "%s%s\n", level == DOCTOR_BAD ? UNMENDED : "",
		     finding);
	if (n > 0 && (size_t)n < sizeof(t->text) - t->length)
		t->length += (size_t)n;
	else
		t->text[t->length] = '\0';
}

static int change(const struct doctor_options *options, const char *generation, const char *dir, char **layers,
		  int count)
{
	struct doctor_result result = {};
	struct doctor_disk *disk = NULL;
	struct sentence err = {""};
	struct layers base = {};
	struct image *img = NULL;
	struct told told = {};
	int r;

	if (count < 3 || count % 3 || count / 3 > IMAGE_CHAIN_MAX)
		return CLI_USAGE;
	for (; base.layers < (unsigned int)count / 3; base.layers++, layers += 3) {
		snprintf(base.layer[base.layers].format, sizeof(base.layer[0].format), "%s", layers[0]);
		snprintf(base.layer[base.layers].file, sizeof(base.layer[0].file), "%s", layers[1]);
		base.layer[base.layers].size_override = strtoull(layers[2], NULL, 10);
	}
	r = layers_open(&img, dir, &base, &err);
	if (r) {
		fprintf(stderr, "%s\n", err.text[0] ? err.text : strerror(-r));
		return CLI_FAILED;
	}
	r = doctor_disk_new(&disk, img);
	if (!r)
		r = enter();
	if (r)
		return CLI_FAILED;
	r = doctor_look(disk, options, note_finding, &told, &result);
	if (r == -ENOENT && !result.windows) /* not even partitions */
		r = 0;
	if (result.failure[0]) {
		fprintf(stderr, "%s\n", result.failure);
		return CLI_FAILED;
	}
	if (!r && !result.changes) {
		if (result.refused) {
			fprintf(stderr, "%s\n%s", result.refused, told.text);
			return options->computer_name ? CLI_FAILED : NOTHING;
		}
		if (options->computer_name && result.bad && result.windows) {
			fputs(told.text + (strncmp(told.text, UNMENDED, strlen(UNMENDED)) ? 0 : strlen(UNMENDED)),
			      stderr);
			return CLI_FAILED;
		}
		if (options->computer_name && result.unreadable && !result.windows) {
			fprintf(stderr, "its NTFS cannot be read: it was not shut down wholly, or is damaged\n");
			return CLI_FAILED;
		}
		fprintf(stderr, "%s\n%s",
			options->computer_name
				? result.windows ? "its Windows has this name already" : "no Windows is in it"
			: result.windows ? "nothing was found that can be mended"
					 : "only a Windows can be mended, and none is in it",
			result.windows ? told.text : "");
		return NOTHING;
	}
	if (!r)
		r = doctor_disk_dump(disk, generation, stdout);
	if (r)
		fprintf(stderr, "what was mended cannot be told: %s\n", strerror(-r));
	fputs(told.text, stderr);
	doctor_disk_free(disk);
	image_close(img);
	return r ? CLI_FAILED : 0;
}

int main(int argc, char **argv)
{
	struct doctor_options options = {};
	bool json, usage = false, known = false;
	enum image_format format;
	const char *path = NULL;

	if (argc > 4 && !strcmp(argv[1], "--mend")) {
		options.mend = true;
		return change(&options, argv[2], argv[3], argv + 4, argc - 4);
	}
	if (argc > 5 && !strcmp(argv[1], "--computer-name") && strlen(argv[2]) < DOCTOR_NAME_MAX) {
		options.computer_name = argv[2];
		return change(&options, argv[3], argv[4], argv + 5, argc - 5);
	}
	json = cli_take_json(&argc, argv);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--cards"))
			options.cards = true;
		else if (!strcmp(argv[i], "--format") && i + 1 < argc && !image_format_from_name(argv[i + 1], &format))
			known = argv[++i] != NULL;
		else if (argv[i][0] != '-' && !path)
			path = argv[i];
		else
			usage = true;
	}
	if (usage || !path) {
		fprintf(stderr, "usage: bootwell image doctor NAME|FILE [--cards] [--json]\n"
				"       bootwell image doctor NAME --fix [--format vmdk|vhd] [--yes] [--json]\n");
		return CLI_USAGE;
	}
	return look(path, known ? &format : NULL, &options, json);
}
