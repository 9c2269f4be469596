/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the daemon knows, as JSON (jansson). All return a new reference, NULL when out of memory. */
#ifndef BOOTWELL_STATUS_H
#define BOOTWELL_STATUS_H

#include <jansson.h>

#include "daemon/bootwelld.h"

json_t *status_all(struct daemon *d);
json_t *status_clients(struct daemon *d);
json_t *status_client(struct daemon *d, const char *name); /* NULL also: there is none */
json_t *status_boots(struct daemon *d, const char *client);
json_t *status_images(struct daemon *d);
/* Other DHCP servers that a scan found. */
json_t *status_servers(const struct dhcp_scan_server *servers, unsigned int count);

#endif
