/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's parts in one place, for those who look at all of them: bootwelld.c, control.c,
 * status.c, metrics.c. */
#ifndef BOOTWELL_BOOTWELLD_H
#define BOOTWELL_BOOTWELLD_H

#include <stdint.h>

#include "daemon/boot.h"
#include "daemon/catalogue.h"
#include "daemon/commit_service.h"
#include "daemon/config.h"
#include "daemon/dhcp_scan.h"
#include "daemon/dhcp_server.h"
#include "daemon/http.h"
#include "daemon/loop.h"
#include "daemon/monitor.h"
#include "daemon/netif.h"
#include "daemon/store.h"
#include "daemon/target.h"
#include "daemon/tftp_server.h"
#include "daemon/upload_service.h"

struct daemon {
	struct loop *loop;
	struct config *config;
	struct store *store;
	struct catalogue *catalogue;
	struct targets *targets; /* NULL: off */
	struct boot *boot;
	struct netif *netif;
	struct dhcp_server *dhcp;
	struct tftp_server *tftp;
	struct http *http;    /* NULL: its port is taken */
	struct http *control; /* the unix socket */
	struct monitor *monitor; /* NULL: not yet, or no memory for it */
	int bpf_counting;        /* kernel_bpf_count(), or -errno */
	struct commit_service *commits;
	struct upload_service *uploads; /* NULL: its port is taken, or the folder of images is not there */
	char upload_problem[512];       /* why; "" */

	char http_problem[256];       /* why it is NULL; "" */
	int64_t started, config_read; /* CLOCK_REALTIME, s */
	char config_refused[1024]; /* the first mistake of a configuration that was refused since;
				      "" */
	unsigned int config_mistakes; /* in it */

	struct dhcp_scan *scan;
	struct http_request *scan_waiter;
	struct dhcp_scan_server
		rogue[DHCP_SCAN_SERVERS]; /* other DHCP servers that the last scan found */
	unsigned int rogues;
	int64_t scanned; /* CLOCK_REALTIME, s; 0: never */
};

/* The HTTP requests of both sockets. */
void control_request(void *arg, struct http_request *request);

/* Looks for other DHCP servers on the interfaces that we serve; `request` (or NULL) is answered
 * when it is done. */
void control_scan(struct daemon *d, struct http_request *request);

/* Reads the configuration anew; 0, or -errno and the old one stays. */
int daemon_reload(struct daemon *d);

#endif
