// SPDX-License-Identifier: GPL-2.0-or-later
/* bootwell status, bootwell metrics: what bootwelld says, as a table for a person. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"
#include "daemon/uploader/progress_bar.h"

#define GAP_SAID 0.25 /* s, as the alert BootwellLoopGap */

static double number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

/* "dhcp 0.0, script 3.2, login 4.0 s": the steps of a boot that happened. */
static void print_steps(const json_t *boot)
{
	static const char *const steps[] = {"tftp", "ipxe", "script", "ready", "login", "first_read"};
	const json_t *seconds = json_object_get(boot, "seconds");
	const char *between = "";

	for (unsigned int i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		const json_t *at = json_object_get(seconds, steps[i]);

		if (!json_is_number(at))
			continue;
		printf("%s%s %.1f", between, steps[i], json_number_value(at));
		between = ", ";
	}
	if (*between)
		printf(" s");
}

static void print_client(const json_t *client)
{
	const json_t *boot = json_object_get(client, "boot"), *disk = json_object_get(client, "disk");
	const char *failure = cli_text(boot, "failure", NULL);
	char size[16];

	printf("  %-15s  %-9s  %-15s  %-12s", cli_text(client, "name", ""), cli_text(client, "state", ""),
	       cli_text(client, "address", "-"), cli_text(client, "running_image", cli_text(boot, "image", "-")));
	if (disk)
		printf("  own %5s", cli_size(size, number(disk, "write_back_bytes")));
	if (boot) {
		printf("  ");
		print_steps(boot);
	}
	if (json_is_true(json_object_get(client, "nbp_failed")))
		printf("  (%s did not start; it gets the other boot program)", cli_text(client, "nbp", ""));
	printf("\n");
	if (failure)
		printf("  %-15s  ! %s\n", "", failure);
}

static void print_list(const json_t *list, const char *prefix)
{
	size_t i;
	json_t *item;

	json_array_foreach(list, i, item) printf("%s%s\n", prefix, json_string_value(item));
}

/* An upload that goes on, or waits for its sender; one that is done is an image by now. */
static void print_upload(const json_t *upload)
{
	const char *state = cli_text(upload, "state", "");
	const json_t *left = json_object_get(upload, "left_s");
	char text[256];

	if (!strcmp(state, "done"))
		return;
	progress_bar_text(text, sizeof(text), (uint64_t)number(upload, "received"), (uint64_t)number(upload, "used"),
			  (uint64_t)number(upload, "rate"), left ? (uint64_t)json_integer_value(left) : UINT64_MAX,
			  !strcmp(state, "waiting")     ? "waiting for its sender"
			  : !strcmp(state, "finishing") ? "being checked and synced"
							: NULL);
	printf("upload %s by %s: %s\n", cli_text(upload, "file", "?"), cli_text(upload, "by", "?"), text);
}

static void print_commit(const json_t *commit)
{
	char text[256];

	if (strcmp(cli_text(commit, "state", ""), "writing") || !number(commit, "total"))
		return;
	cli_commit_bar(commit, text, sizeof(text));
	printf("commit of %s: %s\n", cli_text(commit, "image", "?"), text);
}

/* What an operator compares when a browser or "bootwell image upload" asks whose server this is. */
static void print_server(const json_t *server)
{
	const json_t *https = json_object_get(server, "https");
	double gap = number(server, "loop_gap_seconds");

	printf("%s: bootwelld %s since %s%s\n", cli_text(server, "name", "bootwell"), cli_text(server, "version", "?"),
	       cli_text(server, "started", "?"),
	       json_is_true(json_object_get(server, "targets")) ? "" : ", targets = off: DHCP and TFTP only");
	if (json_is_object(https))
		printf("https: SHA-256 of the certificate %s, of its key %s\n",
		       cli_text(https, "certificate_sha256", "?"), cli_text(https, "key_sha256", "?"));
	if (gap > GAP_SAID)
		printf("! for %.1f s of the last minutes no packet was answered: a disk that stalls, or a CPU that "
		       "others use\n",
		       gap);
}

static void print_status(const json_t *all)
{
	const json_t *server = json_object_get(all, "server"), *dhcp = json_object_get(all, "dhcp"),
		     *tftp = json_object_get(all, "tftp"), *store = json_object_get(all, "store"),
		     *clients = json_object_get(all, "clients"), *blocks = json_object_get(tftp, "blocks"), *one;
	char used[16], size[16];
	size_t i;

	print_server(server);
	printf("DHCP %s, %.0f of %.0f addresses leased; TFTP %.0f transfers, blocks: user %.0f, tc "
	       "%.0f, xdp %.0f\n",
	       cli_text(dhcp, "mode", "?"), number(dhcp, "leases"), number(dhcp, "addresses"),
	       number(tftp, "completed"), number(blocks, "user"), number(blocks, "tc"), number(blocks, "xdp"));
	json_array_foreach(json_object_get(tftp, "links"), i, one)
		printf("TFTP at %s is answered by %s: %s\n", cli_text(one, "interface", "?"),
		       !strcmp(cli_text(one, "path", "user"), "user") ? "user space" : cli_text(one, "path", ""),
		       cli_text(one, "why", ""));
	if (json_is_object(store))
		printf("write-back store %s of %s used%s\n", cli_size(used, number(store, "used_bytes")),
		       cli_size(size, number(store, "size_bytes")),
		       json_is_true(json_object_get(store, "failed")) ? ", FAILED: nothing is written any more" : "");
	print_list(json_object_get(all, "problems"), "! ");
	json_array_foreach(json_object_get(all, "images"), i, one)
	{
		if (json_is_true(json_object_get(one, "current")))
			printf("image %s: generation %.0f, %s, %s\n", cli_text(one, "name", ""),
			       number(one, "generation"), cli_text(one, "format", ""),
			       cli_size(size, number(one, "size_bytes")));
	}
	json_array_foreach(json_object_get(all, "uploads"), i, one) print_upload(one);
	print_commit(json_object_get(all, "commit"));
	printf("%zu client%s\n", json_array_size(clients), json_array_size(clients) == 1 ? "" : "s");
	json_array_foreach(clients, i, one) print_client(one);
}

int cli_status(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);
	json_t *all;
	int r;

	if (argc != 1)
		return cli_usage("status [--json]");
	r = cli_ask("GET", "/status", NULL, &all);
	if (r)
		return r;
	if (json)
		cli_print_json(all);
	else
		print_status(all);
	json_decref(all);
	return CLI_OK;
}

/* A textfile for node_exporter, whole or not at all. */
static int write_textfile(const char *folder, const char *text)
{
	char path[4096], beside[4200];
	FILE *file;
	bool good;

	if (snprintf(path, sizeof(path), "%s/bootwell.prom", folder) >= (int)sizeof(path))
		return CLI_FAILED;
	snprintf(beside, sizeof(beside), "%s.new", path);
	file = fopen(beside, "we");
	good = file && fputs(text, file) >= 0;
	if (file && fclose(file))
		good = false;
	if (good && !chmod(beside, 0644) && !rename(beside, path))
		return CLI_OK;
	fprintf(stderr, "bootwell: cannot write %s: %m\n", path);
	if (file)
		unlink(beside);
	return CLI_FAILED;
}

static void print_metrics_json(const char *text)
{
	json_t *all = json_object();

	while (*text) {
		size_t line = strcspn(text, "\n"), name = line;

		while (name && text[name - 1] != ' ')
			name--;
		if (*text != '#' && name > 1) {
			char key[1024];
			double value = 0;

			snprintf(key, sizeof(key), "%.*s", (int)(name - 1), text);
			if (sscanf(text + name, "%lf", &value) == 1)
				json_object_set_new(all, key, json_real(value));
		}
		text += line + (text[line] == '\n');
	}
	cli_print_json(all);
	json_decref(all);
}

int cli_metrics(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);
	const char *folder = NULL;
	char *text;
	int r;

	if (argc == 3 && !strcmp(argv[1], "--textfile"))
		folder = argv[2];
	else if (argc != 1)
		return cli_usage("metrics [--textfile DIR] [--json]");
	r = cli_ask_text("GET", "/metrics", &text);
	if (r)
		return r;
	if (folder)
		r = write_textfile(folder, text);
	else if (json)
		print_metrics_json(text);
	else
		fputs(text, stdout);
	free(text);
	return r;
}
