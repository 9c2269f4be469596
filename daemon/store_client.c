// SPDX-License-Identifier: GPL-2.0-or-later
/* Clients, and the history of their boots. */
#include <errno.h>
#include <string.h>

#include "daemon/store_private.h"

#define CLIENT_COLUMNS                                                                             \
	"id, mac, uuid, name, named, \"group\", image, keep, upload, arch, nbp, nbp_failed, "      \
	"address, first_seen, "                                                                    \
	"last_seen, last_boot, overlay, reset"

static bool client_row(sqlite3_stmt *s, struct store_client *client)
{
	memset(client, 0, sizeof(*client));
	client->id = sqlite3_column_int64(s, 0);
	if (!store_column_blob(s, 1, client->mac, 6))
		return false;
	client->has_uuid = store_column_blob(s, 2, client->uuid, 16);
	store_column_text(s, 3, client->name, sizeof(client->name));
	client->named = sqlite3_column_int(s, 4);
	store_column_text(s, 5, client->group, sizeof(client->group));
	store_column_text(s, 6, client->image, sizeof(client->image));
	client->keep = sqlite3_column_int(s, 7);
	client->upload = sqlite3_column_int(s, 8);
	client->arch = sqlite3_column_int(s, 9);
	store_column_text(s, 10, client->nbp, sizeof(client->nbp));
	client->nbp_failed = sqlite3_column_int(s, 11);
	client->address = sqlite3_column_int64(s, 12);
	client->first_seen = sqlite3_column_int64(s, 13);
	client->last_seen = sqlite3_column_int64(s, 14);
	client->last_boot = sqlite3_column_int64(s, 15);
	store_column_text(s, 16, client->overlay, sizeof(client->overlay));
	store_column_text(s, 17, client->reset, sizeof(client->reset));
	return true;
}

/* The one row of a statement that is bound already. */
static int client_one(struct store *store, sqlite3_stmt *s, struct store_client *ret)
{
	struct store_client client;
	int r = store_step(store, s);

	if (r <= 0)
		return r;
	r = client_row(s, &client) ? 1 : -EUCLEAN;
	store_end(s);
	if (r > 0)
		*ret = client;
	return r;
}

int store_client_by_mac(struct store *store, const uint8_t mac[6], struct store_client *ret)
{
	sqlite3_stmt *s =
		store_statement(store, "SELECT " CLIENT_COLUMNS " FROM client WHERE mac = ?");

	if (!s)
		return -EIO;
	store_bind_blob(s, 1, mac, 6);
	return client_one(store, s, ret);
}

int store_client_by_name(struct store *store, const char *name, struct store_client *ret)
{
	sqlite3_stmt *s =
		store_statement(store, "SELECT " CLIENT_COLUMNS " FROM client WHERE name = ?");

	if (!s)
		return -EIO;
	store_bind_text(s, 1, name);
	return client_one(store, s, ret);
}

int store_client_by_id(struct store *store, int64_t id, struct store_client *ret)
{
	sqlite3_stmt *s =
		store_statement(store, "SELECT " CLIENT_COLUMNS " FROM client WHERE id = ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	return client_one(store, s, ret);
}

int store_client_by_address(struct store *store, uint32_t address, struct store_client *ret)
{
	sqlite3_stmt *s =
		store_statement(store, "SELECT " CLIENT_COLUMNS " FROM client WHERE address = ?"
				       " ORDER BY last_seen DESC LIMIT 1");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, address);
	return client_one(store, s, ret);
}

static void client_bind(sqlite3_stmt *s, const struct store_client *client)
{
	store_bind_blob(s, 2, client->mac, 6);
	if (client->has_uuid)
		store_bind_blob(s, 3, client->uuid, 16);
	store_bind_text(s, 4, client->name);
	sqlite3_bind_int(s, 5, client->named);
	store_bind_text(s, 6, client->group);
	store_bind_text(s, 7, client->image);
	sqlite3_bind_int(s, 8, client->keep);
	sqlite3_bind_int(s, 9, client->upload);
	sqlite3_bind_int(s, 10, client->arch);
	store_bind_text(s, 11, client->nbp);
	sqlite3_bind_int(s, 12, client->nbp_failed);
	sqlite3_bind_int64(s, 13, client->address);
	sqlite3_bind_int64(s, 14, client->first_seen);
	sqlite3_bind_int64(s, 15, client->last_seen);
	sqlite3_bind_int64(s, 16, client->last_boot);
	store_bind_text(s, 17, client->overlay);
	store_bind_text(s, 18, client->reset);
}

int store_client_put(struct store *store, struct store_client *client)
{
	sqlite3_stmt *s;
	int r;

	/* Not INSERT OR REPLACE: that would delete whoever has the name already. */
	if (client->id)
		s = store_statement(store, "UPDATE client SET uuid = ?3, name = ?4, "
					   "named = ?5, \"group\" = ?6,"
					   " image = ?7, keep = ?8, upload = ?9, arch = ?10, nbp = "
					   "?11, nbp_failed = ?12,"
					   " address = ?13, first_seen = ?14, last_seen = ?15, "
					   "last_boot = ?16, overlay = ?17, reset = ?18"
					   " WHERE id = ?1 AND mac = ?2");
	else
		s = store_statement(store,
				    "INSERT INTO client (" CLIENT_COLUMNS ")"
				    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
	if (!s)
		return -EIO;
	if (client->id)
		sqlite3_bind_int64(s, 1, client->id);
	client_bind(s, client);
	r = store_run(store, s);
	if (!r && !client->id)
		client->id = sqlite3_last_insert_rowid(store->db);
	else if (!r && !sqlite3_changes(store->db))
		return -ENOENT;
	return r;
}

int store_client_remove(struct store *store, int64_t id)
{
	sqlite3_stmt *s = store_statement(store, "DELETE FROM client WHERE id = ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	return store_run(store, s);
}

int store_client_each(struct store *store, void (*fn)(void *arg, const struct store_client *client),
		      void *arg)
{
	sqlite3_stmt *s = store_statement(store, "SELECT " CLIENT_COLUMNS
						 " FROM client ORDER BY name COLLATE NOCASE");
	struct store_client client;
	int r;

	while ((r = store_step(store, s)) > 0)
		if (client_row(s, &client))
			fn(arg, &client);
	return r;
}

#define BOOT_COLUMNS                                                                               \
	"id, client, image, generation, dhcp_ns, tftp_ns, ipxe_ns, script_ns, ready_ns, "          \
	"login_ns, first_read_ns, failure, settled_ns, idle_gaps, idle_ns, idle_longest_ns"

static int forget_old_boots(struct store *store, int64_t client)
{
	sqlite3_stmt *s = store_statement(
		store, "DELETE FROM boot WHERE client = ?1 AND id <= (SELECT id FROM boot WHERE"
		       " client = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, client);
	sqlite3_bind_int(s, 2, STORE_BOOTS_KEPT);
	return store_run(store, s);
}

int store_boot_put(struct store *store, struct store_boot *boot)
{
	const uint64_t steps[] = {boot->dhcp_ns,      boot->tftp_ns,  boot->ipxe_ns,
				  boot->script_ns,    boot->ready_ns, boot->login_ns,
				  boot->first_read_ns};
	const uint64_t after[] = {boot->settled_ns, boot->idle_gaps, boot->idle_ns, boot->idle_longest_ns};
	sqlite3_stmt *s;
	int r;

	if (boot->id)
		s = store_statement(
			store,
			"UPDATE boot SET client = ?2, image = ?3, generation = ?4, dhcp_ns = ?5,"
			" tftp_ns = ?6, ipxe_ns = ?7, script_ns = ?8, ready_ns = ?9, login_ns = "
			"?10,"
			" first_read_ns = ?11, failure = ?12, settled_ns = ?13, idle_gaps = ?14,"
			" idle_ns = ?15, idle_longest_ns = ?16 WHERE id = ?1");
	else
		s = store_statement(store, "INSERT INTO boot (" BOOT_COLUMNS ")"
					   " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
	if (!s)
		return -EIO;
	if (boot->id)
		sqlite3_bind_int64(s, 1, boot->id);
	sqlite3_bind_int64(s, 2, boot->client);
	store_bind_text(s, 3, boot->image);
	sqlite3_bind_int64(s, 4, boot->generation);
	for (unsigned int i = 0; i < 7; i++)
		sqlite3_bind_int64(s, 5 + i, steps[i]);
	store_bind_text(s, 12, boot->failure);
	for (unsigned int i = 0; i < 4; i++)
		sqlite3_bind_int64(s, 13 + i, after[i]);
	r = store_run(store, s);
	if (r || boot->id)
		return r;
	boot->id = sqlite3_last_insert_rowid(store->db);
	return forget_old_boots(store, boot->client);
}

int store_boot_each(struct store *store, int64_t client, int limit,
		    void (*fn)(void *arg, const struct store_boot *boot), void *arg)
{
	sqlite3_stmt *s =
		store_statement(store, "SELECT " BOOT_COLUMNS
				       " FROM boot WHERE client = ? ORDER BY id DESC LIMIT ?");
	int r;

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, client);
	sqlite3_bind_int(s, 2, limit);
	while ((r = store_step(store, s)) > 0) {
		struct store_boot boot = {
			.id = sqlite3_column_int64(s, 0),
			.client = sqlite3_column_int64(s, 1),
			.generation = sqlite3_column_int64(s, 3),
			.dhcp_ns = sqlite3_column_int64(s, 4),
			.tftp_ns = sqlite3_column_int64(s, 5),
			.ipxe_ns = sqlite3_column_int64(s, 6),
			.script_ns = sqlite3_column_int64(s, 7),
			.ready_ns = sqlite3_column_int64(s, 8),
			.login_ns = sqlite3_column_int64(s, 9),
			.first_read_ns = sqlite3_column_int64(s, 10),
			.settled_ns = sqlite3_column_int64(s, 12),
			.idle_gaps = sqlite3_column_int64(s, 13),
			.idle_ns = sqlite3_column_int64(s, 14),
			.idle_longest_ns = sqlite3_column_int64(s, 15),
		};

		store_column_text(s, 2, boot.image, sizeof(boot.image));
		store_column_text(s, 11, boot.failure, sizeof(boot.failure));
		fn(arg, &boot);
	}
	return r;
}
