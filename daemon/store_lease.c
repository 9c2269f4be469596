// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>

#include "daemon/store_private.h"

int store_lease_put(struct store *store, const struct store_lease *lease)
{
	sqlite3_stmt *s = store_statement(
		store, "INSERT OR REPLACE INTO lease (address, state, mac, id, expires, updated)"
		       " VALUES (?, ?, ?, ?, ?, ?)");

	if (!s)
		return -EIO;
	if (lease->id_length > sizeof(lease->id))
		return -EINVAL;
	sqlite3_bind_int64(s, 1, lease->address);
	sqlite3_bind_int(s, 2, lease->state);
	store_bind_blob(s, 3, lease->mac, 6);
	store_bind_blob(s, 4, lease->id, lease->id_length);
	sqlite3_bind_int64(s, 5, lease->expires);
	sqlite3_bind_int64(s, 6, lease->updated);
	return store_run(store, s);
}

int store_lease_remove(struct store *store, uint32_t address)
{
	sqlite3_stmt *s = store_statement(store, "DELETE FROM lease WHERE address = ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, address);
	return store_run(store, s);
}

int store_lease_each(struct store *store, void (*fn)(void *arg, const struct store_lease *lease),
		     void *arg)
{
	sqlite3_stmt *s = store_statement(
		store,
		"SELECT address, state, mac, id, expires, updated FROM lease ORDER BY address");
	int r;

	while ((r = store_step(store, s)) > 0) {
		struct store_lease lease = {
			.address = sqlite3_column_int64(s, 0),
			.state = sqlite3_column_int(s, 1),
			.expires = sqlite3_column_int64(s, 4),
			.updated = sqlite3_column_int64(s, 5),
		};
		int length = sqlite3_column_bytes(s, 3);

		if (!store_column_blob(s, 2, lease.mac, 6) || length > (int)sizeof(lease.id))
			continue;
		if (length && store_column_blob(s, 3, lease.id, length))
			lease.id_length = length;
		fn(arg, &lease);
	}
	return r;
}
