// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `bootwell system`: the appliance. `settings FILE` is for its start-up (initramfs/setup): checks
 * the whole file as bootwelld does and prints [appliance] and [network NAME] for a shell. It runs
 * before the state disk and the addresses are there, so a name of an image may be one of the
 * catalogue: --catalogue looks, later. The other words are initramfs/system, a script that only the
 * appliance has.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli.h"
#include "daemon/cli_private.h"
#include "daemon/config.h"
#include "daemon/known_images.h"

#define SYSTEM_SCRIPT "/usr/lib/bootwell/system"
#define NO_APPLIANCE  "this is no appliance: the system is updated by Debian's packages"

static void report(void *arg, const char *file, unsigned int line, const char *message)
{
	(void)arg;
	if (line)
		fprintf(stderr, "%s:%u: %s\n", file, line, message);
	else
		fprintf(stderr, "%s: %s\n", file, message);
}

static bool any_image(void *arg, const struct config *config, const char *name)
{
	(void)arg;
	(void)config;
	(void)name;
	return true;
}

static void print_path(const char *name, const char *path)
{
	/* Paths have no blank (value_path()), but may have a quote. */
	printf("%s='", name);
	for (; *path; path++)
		if (*path == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*path);
	puts("'");
}

/* `catalogue`: the state disk is there, so an image has to be in the file or in the catalogue. */
static int settings(const char *file, bool catalogue)
{
	struct known_images images = {};
	struct config_known known = {
		.image = catalogue ? known_images_has : any_image, .arg = &images, .planned = true};
	struct config *config;
	int r;

	r = config_read_known(&config, file, &known, report, NULL);
	known_images_done(&images);
	if (r)
		return CLI_FAILED;
	print_path("CONF_PATH_STATE", config->state_path);
	print_path("CONF_PATH_IMAGES", config->images_path);
	print_path("CONF_PATH_STORE", config->store_path);
	appliance_print(stdout, &config->appliance, config->network, config->networks);
	config_free(config);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

/* The script's lines are `key: value`. */
static int status_json(void)
{
	json_t *o = json_object();
	char line[600], *value;
	FILE *out = access(SYSTEM_SCRIPT, X_OK) ? NULL : popen(SYSTEM_SCRIPT " status", "re");
	int r = -1;

	while (out && fgets(line, sizeof(line), out)) {
		line[strcspn(line, "\n")] = '\0';
		value = strstr(line, ": ");
		if (!value)
			continue;
		*value = '\0';
		json_object_set_new(o, line, json_string(value + 2));
	}
	if (out)
		r = pclose(out);
	else
		fprintf(stderr, "bootwell system status: " NO_APPLIANCE "\n");
	if (!r)
		cli_print_json(o);
	json_decref(o);
	return r ? CLI_FAILED : CLI_OK;
}

int cli_system(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);

	if (argc == 3 && !strcmp(argv[1], "settings"))
		return settings(argv[2], false);
	if (argc == 4 && !strcmp(argv[1], "settings") && !strcmp(argv[2], "--catalogue"))
		return settings(argv[3], true);
	if (argc < 2 || (strcmp(argv[1], "status") && strcmp(argv[1], "update")) || !strcmp(argv[argc - 1], "--help")) {
		fputs("usage: bootwell system status | update FILE [--older] | settings FILE\n",
		      stderr);
		return CLI_USAGE;
	}
	if (json && !strcmp(argv[1], "status"))
		return status_json();
	argv[0] = SYSTEM_SCRIPT;
	execv(SYSTEM_SCRIPT, argv);
	fprintf(stderr, "bootwell system %s: %s\n", argv[1],
		errno == ENOENT ? NO_APPLIANCE
				: strerror(errno));
	return CLI_FAILED;
}
