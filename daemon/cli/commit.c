// SPDX-License-Identifier: GPL-2.0-or-later
/* bootwell image commit: what the super client changed becomes the next generation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"
#include "daemon/image/sparse_file.h"
#include "daemon/uploader/progress_bar.h"

static const char usage[] = "image commit NAME [--format " SPARSE_FORMAT_NAMES "] [--yes] [--json]";

static bool in_state(const json_t *o, const char *state)
{
	return !strcmp(cli_text(o, "state", ""), state);
}

void cli_commit_bar(const json_t *o, char *text, size_t size)
{
	const json_t *left = json_object_get(o, "left_s");

	progress_bar_text(text, size, (uint64_t)json_integer_value(json_object_get(o, "done")),
			  (uint64_t)json_integer_value(json_object_get(o, "total")),
			  (uint64_t)json_integer_value(json_object_get(o, "rate")),
			  left ? (uint64_t)json_integer_value(left) : UINT64_MAX, NULL);
}

int cli_commit_wait(const char *path, json_t **ret, bool quiet)
{
	struct progress_bar bar;
	char text[256];
	int r = CLI_OK;

	progress_bar_init(&bar, stderr, quiet);
	for (;; usleep(250000)) {
		r = cli_ask("GET", path, NULL, ret);
		if (r)
			return r;
		if (in_state(*ret, "done") || in_state(*ret, "failed"))
			break;
		if (in_state(*ret, "writing") && json_integer_value(json_object_get(*ret, "total"))) {
			cli_commit_bar(*ret, text, sizeof(text));
			progress_bar_line(&bar, text);
		}
		json_decref(*ret);
	}
	progress_bar_done(&bar);
	if (in_state(*ret, "done"))
		return CLI_OK;
	fprintf(stderr, "bootwell: %s\n", cli_text(*ret, "error", "the commit failed"));
	json_decref(*ret);
	return CLI_FAILED;
}

static int ask_for(const char *path, const char *format, bool look, json_t **ret, bool quiet)
{
	json_t *body = json_pack("{s:b}", "look", look), *answer;
	int r;

	if (format)
		json_object_set_new(body, "format", json_string(format));
	r = cli_ask("POST", path, body, &answer);
	if (r)
		return r;
	json_decref(answer);
	return cli_commit_wait(path, ret, quiet);
}

static bool confirmed(const json_t *o, const char *image, bool yes)
{
	char size[16], answer[8];
	json_t *part;
	size_t i;

	printf("%s: %s in %lld places were changed; all of it becomes the next generation, as %s.\n", image,
	       cli_size(size, json_number_value(json_object_get(o, "changed"))),
	       (long long)json_integer_value(json_object_get(o, "ranges")), cli_text(o, "format", "?"));
	json_array_foreach(json_object_get(o, "partitions"), i, part)
	{
		json_int_t number = json_integer_value(json_object_get(part, "number"));

		cli_size(size, json_number_value(json_object_get(part, "changed")));
		if (number)
			printf("  %-6s in partition %lld (%s)\n", size, (long long)number, cli_text(part, "kind", "?"));
		else
			printf("  %-6s outside of all partitions (boot loader, partition table)\n", size);
	}
	if (yes)
		return true;
	if (!isatty(STDIN_FILENO)) {
		fprintf(stderr, "bootwell: nothing was committed: say --yes\n");
		return false;
	}
	printf("Commit? [y/N] ");
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

int cli_commit(int argc, char **argv, bool json)
{
	const char *image = NULL, *format = NULL;
	char escaped[200], path[256], size[16];
	bool yes = false;
	json_t *o;
	int r;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--yes"))
			yes = true;
		else if (!strcmp(argv[i], "--format") && i + 1 < argc)
			format = argv[++i];
		else if (argv[i][0] != '-' && !image)
			image = argv[i];
		else
			return cli_usage(usage);
	}
	if (!image)
		return cli_usage(usage);
	cli_escape(escaped, sizeof(escaped), image);
	snprintf(path, sizeof(path), "/api/images/%s/commit", escaped);
	if (!json) {
		r = ask_for(path, format, true, &o, true);
		if (r)
			return r;
		yes = confirmed(o, image, yes);
		json_decref(o);
		if (!yes)
			return CLI_FAILED;
	}
	r = ask_for(path, format, false, &o, json);
	if (r)
		return r;
	if (json)
		cli_print_json(o);
	else
		printf("%s: generation %lld is %s, %s on the disk; PCs get it at their next start. \"bootwell image "
		       "rollback %s\" goes back.\n",
		       image, (long long)json_integer_value(json_object_get(o, "generation")), cli_text(o, "file", "?"),
		       cli_size(size, json_number_value(json_object_get(o, "disk_bytes"))), image);
	json_decref(o);
	return CLI_OK;
}
