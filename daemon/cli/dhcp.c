// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bootwell dhcp free: addresses that were given are free again. bootwell dhcp scan: by bootwelld, which remembers what
 * it has seen; before it is started for the first time, when the question matters most, by this program itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"
#include "daemon/dhcp/scan.h"
#include "daemon/core/loop.h"
#include "daemon/core/netif.h"

#define SCAN_SECONDS 4

static const char usage[] = "dhcp scan [INTERFACE] [--json] | free ADDRESS|--unbooted|--all [--json]";

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

struct scan {
	struct loop *loop;
	json_t *servers;
};

static void scanned(void *arg, const struct dhcp_scan_server *servers, unsigned int count, int error)
{
	struct scan *scan = arg;

	if (!error)
		scan->servers = dhcp_scan_json(servers, count);
	loop_stop(scan->loop, error);
}

static int scan_here(const char *interface, json_t **ret)
{
	struct scan scan = {};
	struct netif *netif = NULL;
	struct dhcp_scan *running = NULL;
	int r = loop_new(&scan.loop);

	if (!r)
		r = netif_new(&netif, scan.loop);
	if (!r)
		r = dhcp_scan_start(&running, scan.loop, netif, interface, SCAN_SECONDS, scanned, &scan);
	if (!r)
		r = loop_run(scan.loop);
	dhcp_scan_free(running);
	netif_free(netif);
	loop_free(scan.loop);
	if (!r && scan.servers) {
		*ret = scan.servers;
		return CLI_OK;
	}
	fprintf(stderr, "bootwell: cannot look for DHCP servers%s%s: %s\n", *interface ? " on " : "", interface,
		r == -ENODEV || r == -ENOENT ? *interface ? "there is no such interface" : "no interface is up"
		: r == -EPERM                ? "only root may"
					     : strerror(r ? -r : ENOMEM));
	return CLI_FAILED;
}

int cli_dhcp_scan(const char *interface, json_t **ret)
{
	char escaped[64] = "", path[128];

	if (!cli_daemon_runs())
		return scan_here(interface, ret);
	cli_escape(escaped, sizeof(escaped), interface);
	snprintf(path, sizeof(path), "/api/dhcp/scan%s%s", *escaped ? "?interface=" : "", escaped);
	return cli_ask("POST", path, NULL, ret);
}

/* free ADDRESS | --unbooted | --all */
static int free_leases(const char *what, bool json)
{
	json_t *body, *answer;
	int r;

	if (!strcmp(what, "--unbooted") || !strcmp(what, "--all"))
		body = json_pack("{s:b}", what + 2, true);
	else if (what[0] != '-')
		body = json_pack("{s:s}", "address", what);
	else
		return cli_usage(usage);
	r = cli_ask("POST", "/api/dhcp/free", body, &answer);
	if (r)
		return r;
	if (json)
		cli_print_json(answer);
	else
		printf("%lld addresses are free again\n",
		       (long long)json_integer_value(json_object_get(answer, "freed")));
	json_decref(answer);
	return CLI_OK;
}

int cli_dhcp(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);
	json_t *servers;
	int r;

	if (argc == 3 && !strcmp(argv[1], "free"))
		return free_leases(argv[2], json);
	if (argc < 2 || argc > 3 || strcmp(argv[1], "scan") || (argc == 3 && argv[2][0] == '-'))
		return cli_usage(usage);
	r = cli_dhcp_scan(argc == 3 ? argv[2] : "", &servers);
	if (r)
		return r;
	if (json)
		cli_print_json(servers);
	else
		print_servers(servers);
	json_decref(servers);
	return CLI_OK;
}
