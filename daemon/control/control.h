/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can be asked of the daemon over HTTP, on the port and on the unix socket. */
#ifndef BOOTWELL_CONTROL_H
#define BOOTWELL_CONTROL_H

#include "daemon/control/parts.h"

/* The requests of both sockets and the scan for other DHCP servers, for parts_open(). */
extern const struct parts_calls control_calls;

#endif
