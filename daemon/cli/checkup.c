// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bootwell doctor: the looks of checkup/checkup.h at this machine, what bootwelld itself calls a problem, and who else
 * answers DHCP.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/checkup/checkup.h"
#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"
#include "daemon/config/room.h"
#include "daemon/state/known_images.h"

static const char usage[] = "doctor [-c FILE] [--json]";

static void say_of_config(struct checkup *checkup, enum checkup_level level, const char *file, unsigned int line,
			  const char *message)
{
	if (line)
		checkup_say(checkup, level, "configuration", "", "%s:%u: %s", file, line, message);
	else
		checkup_say(checkup, level, "configuration", "", "%s: %s", file, message);
}

static void mistake(void *arg, const char *file, unsigned int line, const char *message)
{
	say_of_config(arg, CHECKUP_BAD, file, line, message);
}

static void remark(void *arg, const char *file, unsigned int line, const char *message)
{
	say_of_config(arg, CHECKUP_WARN, file, line, message);
}

/* What can be read of it; NULL: nothing can. */
static struct config *read_config(struct checkup *checkup, const char *file)
{
	struct known_images images = {};
	struct config_known known = {.image = known_images_has, .arg = &images};
	struct config *config = NULL;
	int r = config_read_known(&config, file, &known, mistake, checkup);

	known_images_done(&images);
	if (!r) {
		checkup_say(checkup, CHECKUP_OK, "configuration", "", "%s has no mistake", file);
		return config;
	}
	return config_read_leniently(&config, file) ? NULL : config;
}

/* What bootwelld knows of itself. */
static void ask_server(struct checkup *checkup)
{
	json_t *status, *one;
	const char *version;
	size_t i;

	if (!checkup->runs) {
		checkup_say(checkup, CHECKUP_BAD, "bootwelld",
			    "\"systemctl start bootwell\"; why it ended: \"journalctl "
			    "-u bootwell\"",
			    "it does not run");
		return;
	}
	if (cli_ask("GET", "/status", NULL, &status)) {
		checkup_say(checkup, CHECKUP_BAD, "bootwelld", "see \"journalctl -u bootwell\"",
			    "it runs, and does not tell its status");
		return;
	}
	version = cli_text(json_object_get(status, "server"), "version", "?");
	if (strcmp(version, BOOTWELL_VERSION) != 0)
		checkup_say(checkup, CHECKUP_WARN, "bootwelld", "restart it: \"systemctl restart bootwell\"",
			    "version %s runs, and this is bootwell %s", version, BOOTWELL_VERSION);
	else
		checkup_say(checkup, CHECKUP_OK, "bootwelld", "", "version %s runs", version);
	json_array_foreach(json_object_get(status, "problems"), i, one)
		checkup_say(checkup, CHECKUP_BAD, "bootwelld", "", "%s", json_string_value(one));
	json_decref(status);
}

/* In proxy mode there must be another one; else there must be none, but the other one of a pair. */
static void ask_network(struct checkup *checkup)
{
	const struct config *config = checkup->config;
	bool proxy = config->dhcp_mode == CONFIG_DHCP_PROXY;
	json_t *servers, *one;
	size_t i, others = 0;

	/* Which of them is the other one of a pair, bootwelld knows; a stranger is a problem in its status. */
	if (config->dhcp_mode == CONFIG_DHCP_OFF || (config->dhcp_peer && checkup->runs))
		return;
	if (cli_dhcp_scan("", &servers)) {
		checkup_say(checkup, CHECKUP_WARN, "other DHCP servers", "ask again as root",
			    "could not be looked for");
		return;
	}
	json_array_foreach(servers, i, one)
	{
		const char *offers = cli_text(one, "offers", NULL);

		others += offers != NULL;
		if (!proxy || !offers)
			checkup_say(checkup, config->dhcp_peer ? CHECKUP_WARN : CHECKUP_BAD, "other DHCP servers",
				    config->dhcp_peer ? "if it is not the other one of the pair, stop it"
				    : proxy           ? "two that name boot files race for each PC: stop one"
					    : "stop it, or let it give the addresses and set mode = proxy here",
				    "%s (MAC %s) answers on %s, offers %s", cli_text(one, "server", "?"),
				    cli_text(one, "mac", "?"), cli_text(one, "interface", "?"),
				    offers ? offers : "no address (a PXE proxy)");
	}
	if (proxy && !others)
		checkup_say(checkup, CHECKUP_BAD, "other DHCP servers", "start it, or set mode = full here",
			    "mode = proxy, and no DHCP server answers that gives addresses");
	else if (!others)
		checkup_say(checkup, CHECKUP_OK, "other DHCP servers", "", "none answers");
	else if (proxy)
		checkup_say(checkup, CHECKUP_OK, "other DHCP servers", "",
			    "one gives the addresses, as mode = proxy wants");
	json_decref(servers);
}

static void print(const struct checkup *checkup, bool json)
{
	static const char *const levels[] = {"ok", "warn", "BAD"};
	static const char *const names[] = {"ok", "warn", "bad"};
	unsigned int count[3] = {0};
	json_t *list = json_array();

	for (size_t i = 0; i < checkup->count; i++) {
		const struct checkup_finding *f = &checkup->finding[i];

		count[f->level]++;
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "level", names[f->level], "about",
						      f->about, "what", f->what, "do", f->todo));
		if (json)
			continue;
		printf("%-4s  %s: %s\n", levels[f->level], f->about, f->what);
		if (f->todo[0])
			printf("      -> %s\n", f->todo);
	}
	if (json)
		cli_print_json(list);
	else
		printf("%u bad, %u to know, %u ok\n", count[CHECKUP_BAD], count[CHECKUP_WARN], count[CHECKUP_OK]);
	json_decref(list);
}

static bool has_bad(const struct checkup *checkup, const char *about)
{
	for (size_t i = 0; i < checkup->count; i++)
		if (checkup->finding[i].level == CHECKUP_BAD && (!about || !strcmp(checkup->finding[i].about, about)))
			return true;
	return false;
}

int cli_checkup(int argc, char **argv)
{
	static struct checkup checkup;
	bool json = cli_take_json(&argc, argv);
	const char *file = getenv("BOOTWELL_CONFIG");
	struct config *config;

	if (argc == 3 && !strcmp(argv[1], "-c"))
		file = argv[2];
	else if (argc != 1)
		return cli_usage(usage);
	file = file ? file : CLI_DEFAULT_CONFIG;
	checkup.runs = cli_daemon_runs();
	checkup.server = checkup.runs ? checkup_process("bootwelld") : 0;
	config = read_config(&checkup, file);
	ask_server(&checkup);
	if (config) {
		checkup.config = config;
		checkup_links(&checkup);
		checkup_ports(&checkup);
		checkup_firewall(&checkup);
		ask_network(&checkup);
		checkup_places(&checkup);
		if (!has_bad(&checkup, "disks")) { /* else these looks may wait for ever */
			config_look_at_images(config, remark, &checkup);
			config_look_at_room(config, remark, &checkup);
		}
		checkup_target(&checkup);
	}
	checkup_machine(&checkup);
	print(&checkup, json);
	config_free(config);
	return has_bad(&checkup, NULL) ? CLI_FAILED : CLI_OK;
}
