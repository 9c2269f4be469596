// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli.h"
#include "daemon/cli_private.h"
#include "daemon/config.h"
#include "daemon/known_images.h"

#define DEFAULT_CONFIG "/etc/bootwell/bootwell.conf"

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
		json_array_append_new(report->list,
				      json_pack("{s:s, s:i, s:s}", "file", file, "line", (int)line,
						"message", message));
	else if (line)
		fprintf(stderr, "%s:%u: %s\n", file, line, message);
	else
		fprintf(stderr, "%s: %s\n", file, message);
}

/* What is no mistake of the file, but will be one of the room. */
static void warn_of_images(const struct config *config, struct report *report)
{
	for (size_t i = 0; i < config->images; i++) {
		const struct config_image *image = &config->image[i];
		char path[600], text[700];

		snprintf(path, sizeof(path), "%s/%s", config->images_path, image->file);
		if (!access(path, R_OK))
			continue;
		snprintf(text, sizeof(text), "warning: image %s cannot be read: %s: %s",
			 image->name, path, strerror(errno));
		report_one(report, config->file, image->line, text);
	}
}

static void warn_of_root(const struct config *config, struct report *report)
{
	char text[500];

	if (!config->tftp || !access(config->tftp_root, X_OK))
		return;
	snprintf(text, sizeof(text),
		 "warning: [tftp] root %s: %s; it holds the boot programs (the package ipxe has them "
		 "in /usr/lib/ipxe)",
		 config->tftp_root, strerror(errno));
	report_one(report, config->file, 0, text);
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
		warn_of_images(config, &report);
		warn_of_root(config, &report);
	}
	if (json)
		cli_print_json(report.list);
	else if (!r)
		printf("%s is right: %zu image%s, %zu client section%s, %zu subnet%s\n", file,
		       config->images, config->images == 1 ? "" : "s", config->clients,
		       config->clients == 1 ? "" : "s", config->subnets,
		       config->subnets == 1 ? "" : "s");
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
	json_decref(answer);
	return CLI_OK;
}

int cli_config(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);

	if ((argc == 2 || (argc == 3 && argv[2][0] != '-')) && !strcmp(argv[1], "check"))
		return check(argc == 3 ? argv[2] : DEFAULT_CONFIG, json);
	if (argc == 2 && !strcmp(argv[1], "reload"))
		return reload(json);
	return cli_usage("config check [FILE] | reload   [--json]");
}
