// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line tool: finds the subcommand in a table. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli/cli.h"

static const struct cli_command commands[] = {
	{"status", cli_status, "what the server and the PCs do"},
	{"doctor", cli_checkup, "looks at this machine: what keeps PCs from starting, and what to do"},
	{"client", cli_client, "the PCs: list, show, set, remove, wake"},
	{"image", cli_image, "the images: list, add, remove; info, check, convert of a file"},
	{"dhcp", cli_dhcp, "scan: other DHCP servers on the network; free: addresses that were given"},
	{"metrics", cli_metrics, "counters as Prometheus text"},
	{"config", cli_config, "check a configuration file, reload it"},
	{"system", cli_system, "the appliance's own system: status, update"},
	{"token", cli_token, "a token for an operator, and its hash"},
	{"alert", cli_alert, "list: what is wrong now; test: a message by each way of [alert]"},
	{"audit", cli_audit, "what was changed, by whom"},
	{"backup", cli_backup, "configuration and state into one file"},
	{"restore", cli_restore, "and back, while bootwelld is stopped"},
	{"state", cli_state, "copies of the state: list, check, restore"},
};

static void help(FILE *to)
{
	fprintf(to, "usage: bootwell COMMAND ...\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].help);
	fprintf(to, "\nAll of them know --json. The manual page bootwell(1) says more.\n");
}

int main(int argc, char **argv)
{
	static char json[] = "--json";
	bool asked;

	if (argc < 2) {
		help(stderr);
		return CLI_USAGE;
	}
	asked = !strcmp(argv[argc - 1], "--help");
	if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		help(stdout);
		return CLI_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("bootwell %s\n", BOOTWELL_VERSION);
		return CLI_OK;
	}
	/* --json may stand before the command, too. */
	if (!strcmp(argv[1], "--json") && argc > 2) {
		memmove(argv + 1, argv + 2, (argc - 2) * sizeof(*argv));
		argv[argc - 1] = json;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[1], commands[i].name)) {
			int r;

			/* Asked for, a command's usage is its answer and no mistake. */
			if (asked)
				dup2(STDOUT_FILENO, STDERR_FILENO);
			r = commands[i].run(argc - 1, argv + 1);
			return asked && r == CLI_USAGE ? CLI_OK : r;
		}
	fprintf(stderr, "bootwell: there is no command \"%s\"\n", argv[1]);
	help(stderr);
	return CLI_USAGE;
}
