/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records of leases, in the state and from the other server of a pair: which PC they are of. */
#ifndef BOOTWELL_DHCP_WHOSE_H
#define BOOTWELL_DHCP_WHOSE_H

#include <stdbool.h>

#include "daemon/dhcp/lease.h"
#include "daemon/state/state.h"

struct lease_client whose_record(const struct state_lease *from);
/* Is the lease that PC's whose the record is? And by the same network card, if it has several? */
bool whose_is_his(const struct lease *lease, const struct state_lease *from);
bool whose_is_his_card(const struct lease *lease, const struct state_lease *from);

#endif
