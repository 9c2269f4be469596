// SPDX-License-Identifier: GPL-2.0-or-later
/* What a scan found, as the status and `bootwell dhcp scan --json` show it. */
#include <stdio.h>

#include "daemon/dhcp/scan.h"

static void set_address(json_t *object, const char *key, uint32_t a)
{
	char text[16];

	snprintf(text, sizeof(text), "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
	json_object_set_new(object, key, a ? json_string(text) : json_null());
}

static json_t *server_json(const struct dhcp_scan_server *s)
{
	const uint8_t *m = s->mac;
	json_t *o = json_pack("{s:s}", "interface", s->interface);
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
	set_address(o, "server", s->server);
	set_address(o, "source", s->source);
	json_object_set_new(o, "mac", json_string(mac));
	set_address(o, "offers", s->offered);
	set_address(o, "router", s->router);
	set_address(o, "next_server", s->next_server);
	json_object_set_new(o, "boot_file", s->boot_file[0] ? json_string(s->boot_file) : json_null());
	json_object_set_new(o, "lease_seconds", json_integer(s->lease_time));
	return o;
}

json_t *dhcp_scan_json(const struct dhcp_scan_server *servers, unsigned int count)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < count; i++)
		json_array_append_new(list, server_json(&servers[i]));
	return list;
}
