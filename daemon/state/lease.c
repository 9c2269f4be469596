// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of leases, one row an address.
 */
#include <errno.h>

#include "daemon/state/private.h"

int state_lease_put(struct state *state, const struct state_lease *lease)
{
	sqlite3_stmt *s =
		state_statement(state, "INSERT OR REPLACE INTO lease (address, state, mac, id, expires, updated,"
				       " left_s, boot, boot_s, version_primary, version_backup)"
				       " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");

	if (!s)
		return -EIO;
	if (lease->id_length > sizeof(lease->id))
		return -EINVAL;
	sqlite3_bind_int64(s, 1, lease->address);
	sqlite3_bind_int(s, 2, lease->state);
	state_bind_blob(s, 3, lease->mac, 6);
	state_bind_blob(s, 4, lease->id, lease->id_length);
	sqlite3_bind_int64(s, 5, lease->expires);
	sqlite3_bind_int64(s, 6, lease->updated);
	sqlite3_bind_int64(s, 7, lease->left);
	state_bind_blob(s, 8, lease->boot, sizeof(lease->boot));
	sqlite3_bind_int64(s, 9, lease->boot_s);
	sqlite3_bind_int64(s, 10, (int64_t)lease->version[0]);
	sqlite3_bind_int64(s, 11, (int64_t)lease->version[1]);
	return state_run_on_disk(state, s);
}

int state_lease_rekey(struct state *state, uint32_t address, const uint8_t mac[6], const void *id, uint8_t id_length)
{
	sqlite3_stmt *s = state_statement(state, "UPDATE lease SET id = ?3 WHERE address = ?1 AND mac = ?2");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, address);
	state_bind_blob(s, 2, mac, 6);
	state_bind_blob(s, 3, id, id_length);
	return state_run_on_disk(state, s);
}

int state_lease_remove(struct state *state, uint32_t address)
{
	sqlite3_stmt *s = state_statement(state, "DELETE FROM lease WHERE address = ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, address);
	return state_run_on_disk(state, s);
}

int state_lease_each(struct state *state, void (*fn)(void *arg, const struct state_lease *lease), void *arg)
{
	sqlite3_stmt *s;
	int r;

	if (state->queue)
		state = queue_disk(state);
	if (!state)
		return -EOPNOTSUPP;
	s = state_statement(state, "SELECT address, state, mac, id, expires, updated, left_s, boot, boot_s,"
				   " version_primary, version_backup FROM lease ORDER BY address");

	while ((r = state_step(state, s)) > 0) {
		struct state_lease lease = {
			.address = sqlite3_column_int64(s, 0),
			.state = sqlite3_column_int(s, 1),
			.expires = sqlite3_column_int64(s, 4),
			.updated = sqlite3_column_int64(s, 5),
			.left = sqlite3_column_int64(s, 6),
			.boot_s = sqlite3_column_int64(s, 8),
			.version = {(uint64_t)sqlite3_column_int64(s, 9), (uint64_t)sqlite3_column_int64(s, 10)},
		};
		int length = sqlite3_column_bytes(s, 3);

		if (!state_column_blob(s, 2, lease.mac, 6) || length > (int)sizeof(lease.id))
			continue;
		if (length && state_column_blob(s, 3, lease.id, length))
			lease.id_length = length;
		state_column_blob(s, 7, lease.boot, sizeof(lease.boot)); /* else it is of no boot that is known */
		fn(arg, &lease);
	}
	return r;
}
