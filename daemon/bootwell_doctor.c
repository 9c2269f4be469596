// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bootwell-doctor: what a first boot of a Windows image over iSCSI would stumble over. `bootwell image doctor`
 * runs it; a program of its own, so that only who asks for it needs the libraries of NTFS and the registry.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/cli.h"
#include "daemon/doctor.h"
#include "daemon/image_chain.h"

static void print_finding(void *arg, enum doctor_level level, const char *finding, const char *advice)
{
	static const char *const marks[] = {"      ", "ok    ", "watch ", "BAD   "};

	(void)arg;
	printf("%s%s\n", marks[level], finding);
	if (advice && level >= DOCTOR_WARNING)
		printf("        -> %s\n", advice);
}

static void add_finding(void *arg, enum doctor_level level, const char *finding, const char *advice)
{
	static const char *const names[] = {"info", "good", "warning", "bad"};
	json_t *o = json_pack("{s:s, s:s}", "level", names[level], "finding", finding);

	if (advice)
		json_object_set_new(o, "advice", json_string(advice));
	json_array_append_new(arg, o);
}

int main(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);
	struct image_error err;
	struct image *img;
	json_t *list = json_array();
	int r;

	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: bootwell image doctor FILE [--json]\n");
		json_decref(list);
		return CLI_USAGE;
	}
	r = chain_open(&img, argv[1], NULL, &err);
	if (r < 0) {
		fprintf(stderr, "bootwell: %s\n", err.text);
		json_decref(list);
		return CLI_FAILED;
	}
	r = json ? doctor_look(img, add_finding, list) : doctor_look(img, print_finding, NULL);
	if (json)
		json_dumpf(list, stdout, JSON_INDENT(2));
	else if (r == 0)
		printf("nothing stands against a boot over the network\n");
	else if (r > 0)
		printf("%d %s against a boot over the network\n", r, r == 1 ? "thing stands" : "things stand");
	json_decref(list);
	image_close(img);
	return r == 0 ? CLI_OK : CLI_FAILED;
}
