// SPDX-License-Identifier: GPL-2.0-or-later
/* bootwell image list|add|remove|rename|current|rollback: the catalogue. What is asked of files is in cli/image.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"
#include "daemon/config/value.h"
#include "daemon/image/sparse_file.h"

static const char usage[] = "image list | add NAME FILE [--format " IMAGE_FORMAT_NAMES "] [--size BYTES] | "
			    "remove NAME | rename NAME TO | current NAME GENERATION | "
			    "rollback NAME [GENERATION] | "
			    "commit NAME [--format " SPARSE_FORMAT_NAMES "] [--yes]   [--json]\n"
			    "FILE is the name of a file beneath the folder of [images] path";

/* PC1,PC2,+3 */
static const char *users_of(const json_t *image, char ret[64])
{
	const json_t *users = json_object_get(image, "users"), *user;
	size_t n = json_array_size(users), i, length = 0;

	snprintf(ret, 64, "%s", n ? "" : "-");
	json_array_foreach(users, i, user)
	{
		if (i == 3 && n > 3)
			length += (size_t)snprintf(ret + length, 64 - length, ",+%zu", n - 3);
		else if (i < 3)
			length += (size_t)snprintf(ret + length, 64 - length, "%s%.15s", i ? "," : "",
						   json_string_value(user));
	}
	return ret;
}

/* The disk that is not there now says more than the last verify; damage more than a later look that saw nothing. */
static const char *check_of(const json_t *image)
{
	const char *file_is = cli_text(image, "file_is", "there"), *check = cli_text(image, "check", "-");

	if (json_is_true(json_object_get(image, "check_failed")))
		return "FAILED";
	return strcmp(file_is, "there") ? file_is : check;
}

static void print_list(const json_t *images)
{
	char size[16], file[16], users[64];
	json_t *image;
	size_t i;

	printf("%-20s  %3s  %-6s  %6s  %7s  %-10s  %-10s  %s\n", "NAME", "GEN", "FORMAT", "DISK", "ON FILE", "CHECKED",
	       "USED BY", "FILE");
	json_array_foreach(images, i, image)
	{
		bool current = json_is_true(json_object_get(image, "current"));

		printf("%-20s  %3lld%s %-6s  %6s  %7s  %-10s  %-10s  %s%s%s\n", cli_text(image, "name", ""),
		       (long long)json_integer_value(json_object_get(image, "generation")), current ? "*" : " ",
		       cli_text(image, "format", ""),
		       cli_size(size, json_number_value(json_object_get(image, "size_bytes"))),
		       cli_size(file, json_number_value(json_object_get(image, "file_bytes"))), check_of(image),
		       users_of(image, users), cli_text(image, "file", ""),
		       cli_text(image, "parent", NULL) ? "  parent " : "", cli_text(image, "parent", ""));
	}
}

int cli_find_image(const char *operand, struct cli_image_file *ret)
{
	json_t *images, *image;
	size_t i;
	int r;

	memset(ret, 0, sizeof(*ret));
	snprintf(ret->path, sizeof(ret->path), "%s", operand);
	if (strchr(operand, '/') || !access(operand, F_OK))
		return CLI_OK;
	r = cli_ask("GET", "/api/images", NULL, &images);
	if (r)
		return r;
	json_array_foreach(images, i, image)
	{
		if (strcmp(cli_text(image, "name", ""), operand) || !json_is_true(json_object_get(image, "current")))
			continue;
		snprintf(ret->name, sizeof(ret->name), "%s", operand);
		snprintf(ret->path, sizeof(ret->path), "%s", cli_text(image, "path", ""));
		snprintf(ret->format, sizeof(ret->format), "%s", cli_text(image, "format", ""));
		ret->generation = (unsigned int)json_integer_value(json_object_get(image, "generation"));
	}
	json_decref(images);
	if (ret->name[0])
		return CLI_OK;
	fprintf(stderr,
		"bootwell: %s is neither a file nor an image of the catalogue; \"bootwell image list\" shows these\n",
		operand);
	return CLI_FAILED;
}

static int list(bool json)
{
	json_t *images;
	int r = cli_ask("GET", "/api/images", NULL, &images);

	if (r)
		return r;
	if (json)
		cli_print_json(images);
	else
		print_list(images);
	json_decref(images);
	return CLI_OK;
}

static int add(int argc, char **argv, bool json)
{
	json_t *body, *answer;
	const char *operand[2], *format = NULL;
	char size[16];
	uint64_t bytes = 0;
	int n = 0, r;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--format") && i + 1 < argc)
			format = argv[++i];
		else if (!strcmp(argv[i], "--size") && i + 1 < argc && !value_size(argv[i + 1], &bytes))
			i++;
		else if (argv[i][0] != '-' && n < 2)
			operand[n++] = argv[i];
		else
			return cli_usage(usage);
	}
	if (n != 2)
		return cli_usage(usage);
	body = json_pack("{s:s, s:s}", "name", operand[0], "file", operand[1]);
	if (format)
		json_object_set_new(body, "format", json_string(format));
	if (bytes)
		json_object_set_new(body, "size", json_integer((json_int_t)bytes));
	r = cli_ask("POST", "/api/images", body, &answer);
	if (r)
		return r;
	if (cli_text(answer, "warning", "")[0])
		fprintf(stderr, "bootwell: %s\n", cli_text(answer, "warning", ""));
	if (json)
		cli_print_json(answer);
	else
		printf("%s added: %s, %s\n", cli_text(answer, "added", ""), cli_text(answer, "format", ""),
		       cli_size(size, json_number_value(json_object_get(answer, "size_bytes"))));
	json_decref(answer);
	return CLI_OK;
}

static int remove_image(const char *name, bool json)
{
	char escaped[200], path[256];
	json_t *answer;
	int r;

	cli_escape(escaped, sizeof(escaped), name);
	snprintf(path, sizeof(path), "/api/images/%s", escaped);
	r = cli_ask("DELETE", path, NULL, &answer);
	if (r)
		return r;
	if (json)
		cli_print_json(answer);
	else
		printf("%s is out of the catalogue; its file is still there\n", name);
	json_decref(answer);
	return CLI_OK;
}

/* POST /api/images/NAME/WHAT with `body`, which is taken. */
static int change(const char *name, const char *what, json_t *body, json_t **ret)
{
	char escaped[200], path[256];

	cli_escape(escaped, sizeof(escaped), name);
	snprintf(path, sizeof(path), "/api/images/%s/%s", escaped, what);
	return cli_ask("POST", path, body, ret);
}

static int rollback(const char *name, const char *generation, bool json)
{
	long to = generation ? strtol(generation, NULL, 10) : 0;
	json_t *answer;
	int r;

	if (generation && to <= 0)
		return cli_usage(usage);
	r = change(name, "rollback", json_pack("{s:I}", "generation", (json_int_t)to), &answer);
	if (r)
		return r;
	if (json)
		cli_print_json(answer);
	else
		printf("new boots of %s get generation %lld; PCs that run keep theirs until they are restarted\n", name,
		       (long long)json_integer_value(json_object_get(answer, "generation")));
	json_decref(answer);
	return CLI_OK;
}

static int rename_image(const char *name, const char *to, bool json)
{
	json_t *answer;
	int r = change(name, "rename", json_pack("{s:s}", "to", to), &answer);

	if (r)
		return r;
	if (json)
		cli_print_json(answer);
	else
		printf("%s is %s now\n", name, to);
	json_decref(answer);
	return CLI_OK;
}

int cli_catalogue(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);

	if (argc == 2 && !strcmp(argv[1], "list"))
		return list(json);
	if (argc > 2 && !strcmp(argv[1], "add"))
		return add(argc - 2, argv + 2, json);
	if (argc == 3 && !strcmp(argv[1], "remove"))
		return remove_image(argv[2], json);
	if ((argc == 3 || argc == 4) && !strcmp(argv[1], "rollback"))
		return rollback(argv[2], argc == 4 ? argv[3] : NULL, json);
	if (argc == 4 && !strcmp(argv[1], "current"))
		return rollback(argv[2], argv[3], json);
	if (argc == 4 && !strcmp(argv[1], "rename"))
		return rename_image(argv[2], argv[3], json);
	if (argc > 2 && !strcmp(argv[1], "commit"))
		return cli_commit(argc - 1, argv + 1, json);
	return cli_usage(usage);
}
