// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <string.h>

#include "daemon/cli.h"
#include "daemon/cli_private.h"

static void print_servers(const json_t *servers)
{
	json_t *s;
	size_t i;

	if (!json_array_size(servers))
		printf("no other DHCP server answered\n");
	json_array_foreach(servers, i, s)
	{
		printf("%s: DHCP server %s, MAC %s, offers %s", cli_text(s, "interface", "?"),
		       cli_text(s, "server", "?"), cli_text(s, "mac", "?"),
		       cli_text(s, "offers", "no address (a PXE proxy)"));
		if (cli_text(s, "router", NULL))
			printf(", router %s", cli_text(s, "router", ""));
		if (cli_text(s, "boot_file", NULL))
			printf(", boot file %s", cli_text(s, "boot_file", ""));
		printf("\n");
	}
}

/* Exit status 1 when another server answered: for scripts. */
int cli_dhcp(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);
	char interface[64] = "", path[128];
	json_t *servers;
	size_t count;
	int r;

	if (argc < 2 || argc > 3 || strcmp(argv[1], "scan"))
		return cli_usage("dhcp scan [INTERFACE] [--json]   (exit status 1: another server "
				 "answered)");
	if (argc == 3)
		cli_escape(interface, sizeof(interface), argv[2]);
	snprintf(path, sizeof(path), "/api/dhcp/scan%s%s", argc == 3 ? "?interface=" : "",
		 interface);
	r = cli_ask("POST", path, NULL, &servers);
	if (r)
		return r;
	if (json)
		cli_print_json(servers);
	else
		print_servers(servers);
	count = json_array_size(servers);
	json_decref(servers);
	return count ? CLI_FAILED : CLI_OK;
}
