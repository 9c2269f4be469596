// SPDX-License-Identifier: GPL-2.0-or-later
/* bootwell token: a token for an operator, and the hash of it for the configuration. bootwell audit: what was
 * changed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "daemon/config/config.h"
#include "daemon/core/access.h"
#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"

/* One line of standard input, not shown on a terminal. */
static bool read_token(char *ret, size_t size)
{
	struct termios before, silent;
	bool terminal = isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &before);
	bool good;

	if (terminal) {
		silent = before;
		silent.c_lflag &= (tcflag_t)~ECHO;
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
		fputs("token: ", stderr);
	}
	good = fgets(ret, (int)size, stdin);
	if (terminal) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		fputc('\n', stderr);
	}
	if (good)
		ret[strcspn(ret, "\r\n")] = '\0';
	return good;
}

int cli_token(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv), given = argc == 2 && !strcmp(argv[1], "--hash");
	char token[256], hash[160];

	if (argc != 1 && !given)
		return cli_usage("token [--hash] [--json]");
	if (given ? !read_token(token, sizeof(token)) : access_token_new(token)) {
		fputs("bootwell: there is no token\n", stderr);
		return CLI_FAILED;
	}
	if (strlen(token) < CONFIG_TOKEN_MIN) {
		fprintf(stderr, "bootwell: a token has at least %d characters\n", CONFIG_TOKEN_MIN);
		return CLI_FAILED;
	}
	if (access_token_hash(token, hash)) {
		fputs("bootwell: the token cannot be hashed\n", stderr);
		return CLI_FAILED;
	}
	if (json) {
		json_t *o = json_pack("{s:s?, s:s}", "token", given ? NULL : token, "hash", hash);

		cli_print_json(o);
		json_decref(o);
		return CLI_OK;
	}
	if (!given)
		printf("token, for the operator: %s\n", token);
	printf("in bootwell.conf, beneath [operator NAME]: token = %s\n", hash);
	return CLI_OK;
}

/* An object's members that another has not, or has otherwise: "image one -> two". */
static void print_difference(const json_t *before, const json_t *after)
{
	const char *key;
	json_t *value;

	if (json_is_null(after) && !json_is_null(before))
		printf(", it is gone");
	json_object_foreach((json_t *)after, key, value)
	{
		const json_t *was = json_object_get(before, key);
		char *old = json_dumps(was ? was : json_null(), JSON_ENCODE_ANY);
		char *now = json_dumps(value, JSON_ENCODE_ANY);

		if (old && now && strcmp(old, now))
			printf(", %s %s -> %s", key, old, now);
		free(old);
		free(now);
	}
}

static void print_upload(const json_t *upload)
{
	long long generation = json_integer_value(json_object_get(upload, "generation"));

	if (!upload)
		return;
	if (cli_text(upload, "why", NULL))
		printf(": %s", cli_text(upload, "why", ""));
	if (generation)
		printf(", generation %lld of %s; new boots get %lld", generation, cli_text(upload, "image", "?"),
		       (long long)json_integer_value(json_object_get(upload, "current")));
	if (json_object_get(upload, "bytes"))
		printf(", %lld bytes", (long long)json_integer_value(json_object_get(upload, "bytes")));
}

int cli_audit(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);
	json_t *changes, *c;
	size_t i;
	int r;

	if (argc != 1)
		return cli_usage("audit [--json]");
	r = cli_ask("GET", "/api/audit", NULL, &changes);
	if (r)
		return r;
	if (json)
		cli_print_json(changes);
	else
		json_array_foreach(changes, i, c)
		{
			int status = (int)json_integer_value(json_object_get(c, "status"));

			printf("%s  %s at %s: %s %s", cli_text(c, "time", "?"), cli_text(c, "who", "?"),
			       cli_text(c, "from", "?"), cli_text(c, "method", "?"), cli_text(c, "path", "?"));
			if (status && status != 200)
				printf(", refused (%d)", status);
			print_upload(json_object_get(c, "upload"));
			print_difference(json_object_get(c, "before"), json_object_get(c, "after"));
			putchar('\n');
		}
	json_decref(changes);
	return CLI_OK;
}
