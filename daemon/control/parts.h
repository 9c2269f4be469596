/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's parts in one place, for those who look at all of them: control.c, status.c, metrics.c; and how they are
 * built, given another configuration, and freed. Loop's thread only.
 */
#ifndef BOOTWELL_PARTS_H
#define BOOTWELL_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/certificate.h"
#include "daemon/core/access.h"
#include "daemon/boot/boot.h"
#include "daemon/catalogue/catalogue.h"
#include "daemon/commit/service.h"
#include "daemon/config/config.h"
#include "daemon/control/audit.h"
#include "daemon/control/documents.h"
#include "daemon/control/image_watch.h"
#include "daemon/control/keeper.h"
#include "daemon/control/monitor.h"
#include "daemon/control/page.h"
#include "daemon/control/reader.h"
#include "daemon/control/rights.h"
#include "daemon/control/snapshot.h"
#include "daemon/core/http.h"
#include "daemon/core/loop.h"
#include "daemon/core/netif.h"
#include "daemon/dhcp/scan.h"
#include "daemon/dhcp/server.h"
#include "daemon/state/state.h"
#include "daemon/target/target.h"
#include "daemon/tftp/server.h"
#include "daemon/upload/service.h"

struct daemon;

/* What the sockets and timers of the parts call: control.h has it, bootwelld.c says it. */
struct parts_calls {
	void (*request)(void *daemon, struct http_request *request); /* of both sockets, on the loop */
	bool (*early)(void *daemon, struct http_request *request);   /* of the port, on its thread, before that */
	void (*again)(struct daemon *daemon, struct http_request *request); /* once its token was looked at */
	void (*scan)(struct daemon *daemon,
		     struct http_request *request); /* for other DHCP servers; request: or NULL */
};

struct daemon {
	const struct parts_calls *calls; /* set before parts_open() */
	struct loop *loop;
	bool images_answer; /* their folder, at the start */
	struct config *config;
	struct state *state;
	struct catalogue *catalogue;
	struct targets *targets; /* NULL: off */
	struct boot *boot;
	struct netif *netif;
	struct dhcp_server *dhcp;
	struct tftp_server *tftp;
	struct http *http;    /* NULL: its port is taken */
	struct http *control; /* the unix socket */
	struct access *access;
	struct rights *rights;
	struct audit *audit;
	struct reader *reader;
	struct keeper *keeper; /* of the state */
	struct image_watch *image_watch;
	struct snapshots *snapshots;
	struct documents *documents;
	int alert_fd;            /* of alert_sender_start() until alerts has it; < 0: none */
	struct alerts *alerts;   /* NULL: not yet */
	struct monitor *monitor; /* NULL: not yet, or no memory for it */
	int bpf_counting;        /* kernel_bpf_count(), or -errno */
	struct commit_service *commits;
	struct upload_service *uploads; /* NULL: not yet */

	char *tls_certificate, *tls_key; /* PEM; NULL: no TLS */
	struct certificate_names tls_names;
	char http_problem[256];       /* why it is NULL; "" */
	bool serving;                 /* read by the HTTP thread, for /-/ready */
	int64_t started, config_read; /* CLOCK_REALTIME, s */
	char config_refused[1024];    /* the first mistake of a configuration that was refused since;
					 "" */
	unsigned int config_mistakes; /* in it */
	char config_kept[400];        /* keys that the last reload could not change, commas between */

	struct loop_source *scan_timer, *retry_timer, *state_timer;
	struct dhcp_scan *scan;
	struct http_request *scan_waiter;
	struct dhcp_scan_server rogue[DHCP_SCAN_SERVERS]; /* other DHCP servers that the last scan found */
	unsigned int rogues;
	int64_t scanned; /* CLOCK_REALTIME, s; 0: never */
};

/* Reads and checks a configuration, with the catalogue's images where they are known; mistakes are logged. */
int parts_read_config(struct daemon *d, const char *file, struct config **ret);
/* Reads the configuration anew; 0, or -errno and the old one stays. */
int parts_reload(struct daemon *d);

/*
 * Folders, lock, key, targets: what may take more privileges than those that stay. No thread is made: it would keep
 * all of them. Logs why not.
 */
int parts_open_first(struct daemon *d);
/* State, loop and what listens, with the privileges that stay. Gives up all files but its own (core/confine.h). */
int parts_open(struct daemon *d);
/* The rest. */
int parts_begin(struct daemon *d);
/* As much of it as there is. */
void parts_close(struct daemon *d);

#endif
