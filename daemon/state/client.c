// SPDX-License-Identifier: GPL-2.0-or-later
/* Clients, and the history of their boots. */
#include <errno.h>
#include <string.h>

#include "daemon/state/private.h"

#define CLIENT_COLUMNS                                                                                                 \
	"id, mac, uuid, name, named, \"group\", image, keep, upload, arch, nbp, nbp_failed, "                          \
	"address, first_seen, "                                                                                        \
	"last_seen, last_boot, overlay, reset, pc_key"

static bool client_row(sqlite3_stmt *s, struct state_client *client)
{
	memset(client, 0, sizeof(*client));
	client->id = sqlite3_column_int64(s, 0);
	if (!state_column_blob(s, 1, client->mac, 6))
		return false;
	client->has_uuid = state_column_blob(s, 2, client->uuid, 16);
	state_column_text(s, 3, client->name, sizeof(client->name));
	client->named = (uint32_t)sqlite3_column_int64(s, 4);
	state_column_text(s, 5, client->group, sizeof(client->group));
	state_column_text(s, 6, client->image, sizeof(client->image));
	client->keep = sqlite3_column_int(s, 7);
	client->upload = sqlite3_column_int(s, 8);
	client->arch = sqlite3_column_int(s, 9);
	state_column_text(s, 10, client->nbp, sizeof(client->nbp));
	client->nbp_failed = sqlite3_column_int(s, 11);
	client->address = sqlite3_column_int64(s, 12);
	client->first_seen = sqlite3_column_int64(s, 13);
	client->last_seen = sqlite3_column_int64(s, 14);
	client->last_boot = sqlite3_column_int64(s, 15);
	state_column_text(s, 16, client->overlay, sizeof(client->overlay));
	state_column_text(s, 17, client->reset, sizeof(client->reset));
	state_column_text(s, 18, client->key, sizeof(client->key));
	return true;
}

/* The one row of a statement that is bound already. */
static int client_one(struct state *state, sqlite3_stmt *s, struct state_client *ret)
{
	struct state_client client;
	int r = state_step(state, s);

	if (r <= 0)
		return r;
	r = client_row(s, &client) ? 1 : -EUCLEAN;
	state_end(s);
	if (r > 0)
		*ret = client;
	return r;
}

int state_client_by_key(struct state *state, const char *key, struct state_client *ret)
{
	sqlite3_stmt *s = state_statement(state, "SELECT " CLIENT_COLUMNS " FROM client WHERE pc_key = ?");

	if (!s)
		return -EIO;
	state_bind_text(s, 1, key);
	return client_one(state, s, ret);
}

int state_client_by_mac(struct state *state, const uint8_t mac[6], struct state_client *ret)
{
	sqlite3_stmt *s = state_statement(state, "SELECT " CLIENT_COLUMNS " FROM client WHERE mac = ?"
						 " ORDER BY last_seen DESC LIMIT 1");

	if (!s)
		return -EIO;
	state_bind_blob(s, 1, mac, 6);
	return client_one(state, s, ret);
}

int state_client_by_name(struct state *state, const char *name, struct state_client *ret)
{
	sqlite3_stmt *s = state_statement(state, "SELECT " CLIENT_COLUMNS " FROM client WHERE name = ?");

	if (!s)
		return -EIO;
	state_bind_text(s, 1, name);
	return client_one(state, s, ret);
}

int state_client_by_id(struct state *state, int64_t id, struct state_client *ret)
{
	sqlite3_stmt *s = state_statement(state, "SELECT " CLIENT_COLUMNS " FROM client WHERE id = ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	return client_one(state, s, ret);
}

int state_client_by_address(struct state *state, uint32_t address, struct state_client *ret)
{
	sqlite3_stmt *s = state_statement(state, "SELECT " CLIENT_COLUMNS " FROM client WHERE address = ?"
						 " ORDER BY last_seen DESC LIMIT 1");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, address);
	return client_one(state, s, ret);
}

static void client_bind(sqlite3_stmt *s, const struct state_client *client)
{
	state_bind_blob(s, 2, client->mac, 6);
	if (client->has_uuid)
		state_bind_blob(s, 3, client->uuid, 16);
	state_bind_text(s, 4, client->name);
	sqlite3_bind_int64(s, 5, client->named);
	state_bind_text(s, 6, client->group);
	state_bind_text(s, 7, client->image);
	sqlite3_bind_int(s, 8, client->keep);
	sqlite3_bind_int(s, 9, client->upload);
	sqlite3_bind_int(s, 10, client->arch);
	state_bind_text(s, 11, client->nbp);
	sqlite3_bind_int(s, 12, client->nbp_failed);
	sqlite3_bind_int64(s, 13, client->address);
	sqlite3_bind_int64(s, 14, client->first_seen);
	sqlite3_bind_int64(s, 15, client->last_seen);
	sqlite3_bind_int64(s, 16, client->last_boot);
	state_bind_text(s, 17, client->overlay);
	state_bind_text(s, 18, client->reset);
	state_bind_text(s, 19, client->key);
}

int state_client_put(struct state *state, struct state_client *client)
{
	sqlite3_stmt *s;
	int r;

	/* Not INSERT OR REPLACE: that would delete whoever has the name already. */
	if (client->id)
		s = state_statement(state, "UPDATE client SET mac = ?2, uuid = ?3, name = ?4, "
					   "named = ?5, \"group\" = ?6,"
					   " image = ?7, keep = ?8, upload = ?9, arch = ?10, nbp = "
					   "?11, nbp_failed = ?12,"
					   " address = ?13, first_seen = ?14, last_seen = ?15, "
					   "last_boot = ?16, overlay = ?17, reset = ?18"
					   " WHERE id = ?1 AND pc_key = ?19");
	else
		s = state_statement(state, "INSERT INTO client (" CLIENT_COLUMNS ")"
					   " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
	if (!s)
		return -EIO;
	client_bind(s, client);
	if (!client->id)
		return state_insert(state, s, &client->id);
	sqlite3_bind_int64(s, 1, client->id);
	r = state_run(state, s);
	return r ? r : sqlite3_changes(state->db) ? 0 : -ENOENT;
}

int state_client_rekey(struct state *state, int64_t id, const char *key)
{
	sqlite3_stmt *s = state_statement(state, "UPDATE client SET pc_key = ?2 WHERE id = ?1");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	state_bind_text(s, 2, key);
	return state_run(state, s);
}

int state_client_remove(struct state *state, int64_t id)
{
	sqlite3_stmt *s = state_statement(state, "DELETE FROM client WHERE id = ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, id);
	state->changes++; /* its session goes with it */
	return state_run(state, s);
}

int state_client_each(struct state *state, void (*fn)(void *arg, const struct state_client *client), void *arg)
{
	sqlite3_stmt *s = state_statement(state, "SELECT " CLIENT_COLUMNS " FROM client ORDER BY name COLLATE NOCASE");
	struct state_client client;
	int r;

	while ((r = state_step(state, s)) > 0)
		if (client_row(s, &client))
			fn(arg, &client);
	return r;
}

#define BOOT_COLUMNS                                                                                                   \
	"id, client, image, generation, dhcp_ns, tftp_ns, ipxe_ns, script_ns, ready_ns, "                              \
	"login_ns, first_read_ns, failure, settled_ns, idle_gaps, idle_ns, idle_longest_ns"

static int forget_old_boots(struct state *state, int64_t client)
{
	sqlite3_stmt *s =
		state_statement(state, "DELETE FROM boot WHERE client = ?1 AND id <= (SELECT id FROM boot WHERE"
				       " client = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, client);
	sqlite3_bind_int(s, 2, STATE_BOOTS_KEPT);
	return state_run_on_disk(state, s);
}

int state_boot_put(struct state *state, struct state_boot *boot)
{
	const uint64_t steps[] = {boot->dhcp_ns,  boot->tftp_ns,  boot->ipxe_ns,      boot->script_ns,
				  boot->ready_ns, boot->login_ns, boot->first_read_ns};
	const uint64_t after[] = {boot->settled_ns, boot->idle_gaps, boot->idle_ns, boot->idle_longest_ns};
	int64_t id = boot->id;
	sqlite3_stmt *s;
	int r;

	if (boot->id)
		s = state_statement(state, "UPDATE boot SET client = ?2, image = ?3, generation = ?4, dhcp_ns = ?5,"
					   " tftp_ns = ?6, ipxe_ns = ?7, script_ns = ?8, ready_ns = ?9, login_ns = "
					   "?10,"
					   " first_read_ns = ?11, failure = ?12, settled_ns = ?13, idle_gaps = ?14,"
					   " idle_ns = ?15, idle_longest_ns = ?16 WHERE id = ?1");
	else
		s = state_statement(state, "INSERT INTO boot (" BOOT_COLUMNS ")"
					   " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
	if (!s)
		return -EIO;
	if (!id && state->queue)
		id = queue_next_boot(state);
	if (id)
		sqlite3_bind_int64(s, 1, id);
	sqlite3_bind_int64(s, 2, boot->client);
	state_bind_text(s, 3, boot->image);
	sqlite3_bind_int64(s, 4, boot->generation);
	for (unsigned int i = 0; i < 7; i++)
		sqlite3_bind_int64(s, 5 + i, steps[i]);
	state_bind_text(s, 12, boot->failure);
	for (unsigned int i = 0; i < 4; i++)
		sqlite3_bind_int64(s, 13 + i, after[i]);
	r = state_run_on_disk(state, s);
	if (r || boot->id)
		return r;
	boot->id = id ? id : sqlite3_last_insert_rowid(state->db);
	return forget_old_boots(state, boot->client);
}

int state_boot_each(struct state *state, int64_t client, int limit,
		    void (*fn)(void *arg, const struct state_boot *boot), void *arg)
{
	sqlite3_stmt *s;
	int r;

	if (state->queue)
		state = queue_disk(state);
	if (!state)
		return -EOPNOTSUPP;
	s = state_statement(state, "SELECT " BOOT_COLUMNS " FROM boot WHERE client = ? ORDER BY id DESC LIMIT ?");

	if (!s)
		return -EIO;
	sqlite3_bind_int64(s, 1, client);
	sqlite3_bind_int(s, 2, limit);
	while ((r = state_step(state, s)) > 0) {
		struct state_boot boot = {
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

		state_column_text(s, 2, boot.image, sizeof(boot.image));
		state_column_text(s, 11, boot.failure, sizeof(boot.failure));
		fn(arg, &boot);
	}
	return r;
}
