// SPDX-License-Identifier: GPL-2.0-or-later
/* bootwell config: checks a file as bootwelld would, with warnings of what is no mistake of the file; reload. */
#include <stdio.h>
#include <string.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"
#include "daemon/config/config.h"
#include "daemon/config/room.h"
#include "daemon/state/known_images.h"

struct report {
	bool json;
	json_t *list;
	unsigned int count;
};

static void report_one(void *arg, const char *file, unsigned int line, const char *message)
{
	struct report *report = arg;

	report->count++;
	if (report->json)
		json_array_append_new(report->list, json_pack("{s:s, s:i, s:s}", "file", file, "line", (int)line,
							      "message", message));
	else if (line)
		fprintf(stderr, "%s:%u: %s\n", file, line, message);
	else
		fprintf(stderr, "%s: %s\n", file, message);
}

static void warn_one(void *arg, const char *file, unsigned int line, const char *message)
{
	char text[720];

	snprintf(text, sizeof(text), "warning: %s", message);
	report_one(arg, file, line, text);
}

static int check(const char *file, bool json)
{
	struct report report = {.json = json, .list = json_array()};
	struct known_images images = {};
	struct config_known known = {.image = known_images_has, .arg = &images};
	struct config *config = NULL;
	int r;

	r = config_read_known(&config, file, &known, report_one, &report);
	known_images_done(&images);
	if (!r) {
		config_look_at_images(config, warn_one, &report);
		config_look_at_room(config, warn_one, &report);
	}
	if (json)
		cli_print_json(report.list);
	else if (!r)
		printf("%s %s: %zu image%s, %zu client section%s, %zu subnet%s\n", file,
		       report.count ? "has no mistake, but see the warnings" : "is right", config->images,
		       config->images == 1 ? "" : "s", config->clients, config->clients == 1 ? "" : "s",
		       config->subnets, config->subnets == 1 ? "" : "s");
	else
		fprintf(stderr, "%u mistake%s\n", report.count, report.count == 1 ? "" : "s");
	json_decref(report.list);
	config_free(config);
	return r ? CLI_FAILED : CLI_OK;
}

static int reload(bool json)
{
	json_t *answer;
	int r = cli_ask("POST", "/api/reload", NULL, &answer);

	if (r)
		return r;
	if (json)
		cli_print_json(answer);
	else
		printf("bootwelld has read %s\n", cli_text(answer, "read", "its configuration"));
	if (!json && *cli_text(answer, "kept", ""))
		printf("as before until it is restarted (bootwell.conf(5), RELOAD): %s\n",
		       cli_text(answer, "kept", ""));
	json_decref(answer);
	return CLI_OK;
}

int cli_config(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);

	if ((argc == 2 || (argc == 3 && argv[2][0] != '-')) && !strcmp(argv[1], "check"))
		return check(argc == 3 ? argv[2] : CLI_DEFAULT_CONFIG, json);
	if (argc == 2 && !strcmp(argv[1], "reload"))
		return reload(json);
	return cli_usage("config check [FILE] | reload   [--json]");
}
