// SPDX-License-Identifier: GPL-2.0-or-later
/* bootwell client: the PCs that bootwelld knows, and what a person sets for one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"

static const char usage[] = "client list | show NAME | set NAME SETTING=VALUE... | remove NAME | remove --unseen-since "
			    "30d|12h|2026-01-31 | "
			    "move OLD NEW [--drop] | wake NAME   [--json]\n"
			    "SETTING=VALUE may be written --SETTING VALUE, too; settings: name=NAME image=IMAGE|- "
			    "group=GROUP|- keep=yes|no|- upload=yes|no|- "
			    "write-back=drop update-image=IMAGE|-   (-: what the configuration says)";

static const char *yes_no(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key)) ? "yes" : "no";
}

static void print_list(const json_t *clients)
{
	json_t *c;
	size_t i;

	printf("%-15s  %-17s  %-15s  %-9s  %-12s  %-4s  %s\n", "NAME", "MAC", "ADDRESS", "STATE", "IMAGE", "KEEP",
	       "LAST SEEN");
	json_array_foreach(clients, i, c)
	{
		const char *image = json_string_value(json_array_get(json_object_get(c, "images"), 0));

		printf("%-15s  %-17s  %-15s  %-9s  %-12s  %-4s  %s\n", cli_text(c, "name", ""), cli_text(c, "mac", ""),
		       cli_text(c, "address", "-"), cli_text(c, "state", ""), image ? image : "-", yes_no(c, "keep"),
		       cli_text(c, "last_seen", "-"));
	}
}

static void print_boots(const json_t *boots)
{
	static const char *const steps[] = {"tftp", "ipxe", "script", "ready", "login", "first_read"};
	json_t *boot;
	size_t i;

	json_array_foreach(boots, i, boot)
	{
		const json_t *seconds = json_object_get(boot, "seconds");

		printf("  %s  %s", cli_text(boot, "began", "-"), cli_text(boot, "image", "-"));
		for (unsigned int k = 0; k < sizeof(steps) / sizeof(steps[0]); k++)
			if (json_is_number(json_object_get(seconds, steps[k])))
				printf("  %s %.2f s", steps[k], json_number_value(json_object_get(seconds, steps[k])));
		printf("%s%s\n", cli_text(boot, "failure", NULL) ? "  failed: " : "", cli_text(boot, "failure", ""));
	}
}

static void print_client(const json_t *c, const json_t *boots)
{
	static const char *const lines[][2] = {
		{"state", "state"},
		{"mac", "mac"},
		{"uuid", "uuid"},
		{"address", "address"},
		{"group", "group"},
		{"firmware", "firmware"},
		{"boot program", "nbp"},
		{"running image", "running_image"},
		{"updates image", "update_image"},
		{"session from", "session"},
		{"first seen", "first_seen"},
		{"last seen", "last_seen"},
	};
	json_t *image;
	size_t i;

	printf("%s\n", cli_text(c, "name", ""));
	for (unsigned int k = 0; k < sizeof(lines) / sizeof(lines[0]); k++)
		if (cli_text(c, lines[k][1], NULL))
			printf("  %-14s %s\n", lines[k][0], cli_text(c, lines[k][1], ""));
	printf("  %-14s", "images");
	json_array_foreach(json_object_get(c, "images"), i, image) printf(" %s", json_string_value(image));
	if (json_array_size(json_object_get(c, "disks")))
		printf("\n  %-14s", "further disks");
	json_array_foreach(json_object_get(c, "disks"), i, image)
		printf("%s %s %s", i ? "," : "", cli_text(image, "image", ""), cli_text(image, "mode", ""));
	printf("\n  %-14s %s\n  %-14s %s\n", "keep", yes_no(c, "keep"), "upload", yes_no(c, "upload"));
	if (json_is_true(json_object_get(c, "nbp_failed")))
		printf("  its boot program did not start; it gets the other one next time\n");
	if (json_array_size(boots))
		printf("boots, newest first, seconds since the first DHCP packet\n");
	print_boots(boots);
}

static int show(const char *path, bool json)
{
	char boots_path[300];
	json_t *client, *boots;
	int r = cli_ask("GET", path, NULL, &client);

	if (r)
		return r;
	snprintf(boots_path, sizeof(boots_path), "%s/boots", path);
	r = cli_ask("GET", boots_path, NULL, &boots);
	if (r) {
		json_decref(client);
		return r;
	}
	if (json) {
		json_object_set(client, "boots", boots);
		cli_print_json(client);
	} else {
		print_client(client, boots);
	}
	json_decref(boots);
	json_decref(client);
	return CLI_OK;
}

/* One SETTING=VALUE into the request. */
static bool take_setting(json_t *body, const char *setting)
{
	static const char *const texts[] = {"name", "image", "group"}, *const switches[] = {"keep", "upload"};
	const char *equals = strchr(setting, '='), *value = equals ? equals + 1 : "";
	char key[16];

	if (!equals || equals - setting >= (long)sizeof(key) || !*value)
		return false;
	snprintf(key, sizeof(key), "%.*s", (int)(equals - setting), setting);
	if (!strcmp(key, "write-back") && !strcmp(value, "drop"))
		return !json_object_set_new(body, "drop_write_back", json_true());
	for (unsigned int i = 0; i < 3; i++)
		if (!strcmp(key, texts[i]))
			return !json_object_set_new(body, key, strcmp(value, "-") ? json_string(value) : json_null());
	for (unsigned int i = 0; i < 2; i++) {
		if (strcmp(key, switches[i]))
			continue;
		if (strcmp(value, "yes") && strcmp(value, "no") && strcmp(value, "-"))
			return false;
		return !json_object_set_new(body, key, *value == '-' ? json_null() : json_boolean(*value == 'y'));
	}
	return false;
}

/* update-image=IMAGE makes it the super client of an image, update-image=- ends that. */
static int set_session(const char *name, const char *image, bool json)
{
	char escaped[200], path[256], own[128];
	json_t *answer, *body = NULL;
	const char *method = "DELETE";
	int r;

	if (!strcmp(image, "-")) {
		cli_escape(escaped, sizeof(escaped), name);
		snprintf(path, sizeof(path), "/api/clients/%s", escaped);
		r = cli_ask("GET", path, NULL, &answer);
		if (r)
			return r;
		snprintf(own, sizeof(own), "%s", cli_text(answer, "update_image", ""));
		json_decref(answer);
		if (!own[0]) {
			fprintf(stderr, "bootwell: %s is not updating an image\n", name);
			return CLI_FAILED;
		}
		image = own;
	} else {
		method = "POST";
		body = json_pack("{s:s}", "client", name);
	}
	cli_escape(escaped, sizeof(escaped), image);
	snprintf(path, sizeof(path), "/api/images/%s/session", escaped);
	r = cli_ask(method, path, body, &answer);
	if (r)
		return r;
	if (json)
		cli_print_json(answer);
	else if (body)
		printf("%s is the super client of %s now: start it, change what is to change, shut it down, then "
		       "\"bootwell image commit "
		       "%s\"\n",
		       name, image, image);
	else
		printf("%s boots as the others do again; what it changed is dropped\n", name);
	json_decref(answer);
	return CLI_OK;
}

static int set(const char *path, int argc, char **argv, bool json)
{
	json_t *body = json_object(), *client;
	int r;

	for (int i = 0; i < argc; i++)
		if (!take_setting(body, argv[i])) {
			fprintf(stderr, "bootwell: \"%s\" is no setting of a client\n", argv[i]);
			json_decref(body);
			return cli_usage(usage);
		}
	r = cli_ask("PATCH", path, body, &client);
	if (r)
		return r;
	if (json)
		cli_print_json(client);
	else
		print_client(client, NULL);
	json_decref(client);
	return CLI_OK;
}

static int simple(const char *method, const char *path, bool json, const char *key)
{
	json_t *answer;
	int r = cli_ask(method, path, NULL, &answer);

	if (r)
		return r;
	if (json)
		cli_print_json(answer);
	else
		printf("%s %s\n", cli_text(answer, key, ""), key);
	json_decref(answer);
	return CLI_OK;
}

static int move(const char *path, const char *to, bool drop, bool json)
{
	json_t *answer;
	int r = cli_ask("POST", path, json_pack("{s:s, s:b}", "to", to, "drop", drop), &answer);

	if (r)
		return r;
	if (json)
		cli_print_json(answer);
	else
		printf("what %s had is %s's now, from its next boot on\n", cli_text(answer, "moved", ""),
		       cli_text(answer, "name", ""));
	if (!json && *cli_text(answer, "warning", ""))
		printf("%s\n", cli_text(answer, "warning", ""));
	json_decref(answer);
	return CLI_OK;
}

static int list(bool json)
{
	json_t *clients;
	int r = cli_ask("GET", "/api/clients", NULL, &clients);

	if (r)
		return r;
	if (json)
		cli_print_json(clients);
	else
		print_list(clients);
	json_decref(clients);
	return CLI_OK;
}

/* "--SETTING VALUE" becomes "SETTING=VALUE"; in place, the texts are never freed. */
static int join_settings(int argc, char **argv)
{
	int n = 0;

	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "--", 2) || !argv[i][2] || i + 1 == argc || strchr(argv[i], '='))
			argv[n++] = argv[i];
		else if (asprintf(&argv[n], "%s=%s", argv[i] + 2, argv[i + 1]) >= 0)
			n++, i++;
		else
			return -1;
	}
	return n;
}

/* "30d", "12h", "45m" ago, or a date: s since 1970; -1: neither. */
static time_t parse_since(const char *text)
{
	struct tm tm = {0};
	char *end;
	long n = strtol(text, &end, 10), unit = 0;

	if (end != text && *end && !end[1])
		unit = *end == 'd' ? 86400 : *end == 'h' ? 3600 : *end == 'm' ? 60 : 0;
	if (unit && n > 0 && n < 100000)
		return time(NULL) - n * unit;
	end = strptime(text, "%Y-%m-%d", &tm);
	return end && !*end ? timegm(&tm) : -1;
}

/* When it was seen last; 0: never. */
static time_t seen(const json_t *client)
{
	struct tm tm = {0};
	const char *text = cli_text(client, "last_seen", "");

	return strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? timegm(&tm) : 0;
}

/* Those that run, or that have a [client] section, are left: the server refuses them. */
static int remove_unseen(const char *since, bool json)
{
	time_t limit = parse_since(since);
	json_t *clients, *client, *answer;
	char name[128], path[200];
	unsigned int removed = 0, left = 0;
	size_t i;
	int r;

	if (limit < 0)
		return cli_usage(usage);
	r = cli_ask("GET", "/api/clients", NULL, &clients);
	if (r)
		return r;
	json_array_foreach(clients, i, client)
	{
		if (seen(client) >= limit)
			continue;
		cli_escape(name, sizeof(name), cli_text(client, "name", ""));
		snprintf(path, sizeof(path), "/api/clients/%s", name);
		if (cli_ask("DELETE", path, NULL, &answer)) {
			left++;
			continue;
		}
		json_decref(answer);
		removed++;
	}
	json_decref(clients);
	if (json)
		printf("{\"removed\": %u, \"left\": %u}\n", removed, left);
	else
		printf("%u clients removed%s\n", removed, left ? ", those that are named above are left" : "");
	return left ? CLI_FAILED : CLI_OK;
}

int cli_client(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);
	char name[128], path[200];

	if (argc == 2 && !strcmp(argv[1], "list"))
		return list(json);
	if (argc == 4 && !strcmp(argv[1], "remove") && !strcmp(argv[2], "--unseen-since"))
		return remove_unseen(argv[3], json);
	if (argc == 3 && !strcmp(argv[1], "remove") && !strncmp(argv[2], "--unseen-since=", 15))
		return remove_unseen(argv[2] + 15, json);
	if (argc < 3)
		return cli_usage(usage);
	cli_escape(name, sizeof(name), argv[2]);
	snprintf(path, sizeof(path), "/api/clients/%s", name);
	if (argc == 3 && !strcmp(argv[1], "show"))
		return show(path, json);
	if (argc > 3 && !strcmp(argv[1], "set")) {
		int n = join_settings(argc - 3, argv + 3);

		argc = n < 0 ? 3 : n + 3;
	}
	if (argc > 3 && !strcmp(argv[1], "set"))
		return argc == 4 && !strncmp(argv[3], "update-image=", 13) && argv[3][13]
			       ? set_session(argv[2], argv[3] + 13, json)
			       : set(path, argc - 3, argv + 3, json);
	if (argc == 3 && !strcmp(argv[1], "remove"))
		return simple("DELETE", path, json, "removed");
	if ((argc == 4 || (argc == 5 && !strcmp(argv[4], "--drop"))) && !strcmp(argv[1], "move")) {
		snprintf(path, sizeof(path), "/api/clients/%s/move", name);
		return move(path, argv[3], argc == 5, json);
	}
	if (argc == 3 && !strcmp(argv[1], "wake")) {
		snprintf(path, sizeof(path), "/api/clients/%s/wake", name);
		return simple("POST", path, json, "woken");
	}
	return cli_usage(usage);
}
