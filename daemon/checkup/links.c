// SPDX-License-Identifier: GPL-2.0-or-later
/* The interfaces that the configuration names: are they there, up, with a cable, fast enough? */
#include "daemon/checkup/checkup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ABOUT   "network"
#define SLOW_MB 1000 /* Mbit/s: a room wants at least that */

static void attribute(const char *interface, const char *name, char *ret, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", interface, name);
	checkup_read(path, ret, size);
}

static void look_at(struct checkup *checkup, const char *interface)
{
	char path[128], state[32], carrier[8], speed[16];
	long mbit;

	snprintf(path, sizeof(path), "/sys/class/net/%s", interface);
	if (access(path, F_OK) < 0) {
		checkup_say(checkup, CHECKUP_BAD, ABOUT,
			    "see \"ip link\" for the names that there are, and set interface =",
			    "there is no network interface %s", interface);
		return;
	}
	attribute(interface, "operstate", state, sizeof(state));
	attribute(interface, "carrier", carrier, sizeof(carrier));
	attribute(interface, "speed", speed, sizeof(speed));
	mbit = atol(speed);
	if (strcmp(carrier, "1") != 0)
		checkup_say(checkup, CHECKUP_BAD, ABOUT, "see cable and switch; \"ip link set IFACE up\" if nobody has",
			    "%s has no link (%s)", interface, *state ? state : "down");
	else if (mbit > 0 && mbit < SLOW_MB)
		checkup_say(checkup, CHECKUP_WARN, ABOUT,
			    "a cable with a broken pair and an old switch do that; see \"ethtool IFACE\"",
			    "%s runs at %ld Mbit/s only: a room that starts waits for it", interface, mbit);
	else if (mbit > 0)
		checkup_say(checkup, CHECKUP_OK, ABOUT, "", "%s has a link of %ld Mbit/s", interface, mbit);
	else
		checkup_say(checkup, CHECKUP_OK, ABOUT, "", "%s has a link", interface);
}

static bool seen_before(const struct config *config, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(config->subnet[i].interface, config->subnet[n].interface))
			return true;
	return false;
}

void checkup_links(struct checkup *checkup)
{
	const struct config *config = checkup->config;

	if (config->dhcp_mode == CONFIG_DHCP_OFF)
		checkup_say(checkup, CHECKUP_WARN, ABOUT, "set [dhcp] interface and range, or mode = proxy",
			    "DHCP is off: PCs find this server only if another DHCP server names it");
	for (size_t i = 0; i < config->subnets; i++)
		if (config->subnet[i].interface[0] && !seen_before(config, i))
			look_at(checkup, config->subnet[i].interface);
}
