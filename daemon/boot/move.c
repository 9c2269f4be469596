// SPDX-License-Identifier: GPL-2.0-or-later
/* A PC got another board or another network card: what it had becomes that of the PC that it is now. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/boot/private.h"
#include "daemon/config/value.h"
#include "daemon/core/inet.h"
#include "daemon/core/log.h"

struct move {
	struct boot *boot;
	struct boot_client *from, *to; /* to NULL: it was not seen yet, `mac` is what is known of it */
	uint8_t mac[6];
	char key[IDENTITY_KEY_MAX];
};

static int find(struct move *m, const char *from, const char *to, struct sentence *error)
{
	static const char *const none = "there is no client \"%.40s\"; \"bootwell client list\" shows them";

	m->from = boot_clients_by_name(m->boot->clients, from);
	if (!m->from)
		return sentence_fail(error, -ENOENT, none, from);
	m->to = boot_clients_by_name(m->boot->clients, to);
	if (m->to) {
		memcpy(m->key, m->to->rec.key, sizeof(m->key));
	} else {
		if (value_mac(to, m->mac))
			return sentence_fail(
				error, -ENOENT,
				"\"%.40s\" is neither a client nor a MAC address; \"bootwell client list\" "
				"shows the clients",
				to);
		identity_of_mac(m->mac, m->key);
		m->to = boot_clients_by_key(m->boot->clients, m->key);
	}
	if (m->to == m->from)
		return sentence_fail(error, -EINVAL, "%.40s and %.40s are the same client", from, to);
	return 0;
}

static int is_idle(const struct boot *boot, const struct boot_client *client, struct sentence *error)
{
	int r = boot_is_off(boot, client, BOOT_SWITCH_OFF, error);

	if (r)
		return r;
	if (boot->committing == client->rec.id)
		return sentence_fail(error, -EBUSY, "what client %s changed is being committed", client->rec.name);
	return 0;
}

/* Has it kept data, and was it there beside the other one? Then it is no new board of that. */
static int may_go(struct boot *boot, const struct move *m, bool drop, struct sentence *error)
{
	const struct boot_client *to = m->to;
	struct state_session session;

	if (state_session_by_client(boot->state, to->rec.id, &session) > 0)
		return sentence_fail(error, -EBUSY, "client %s is updating image %s", to->rec.name, session.image);
	if (drop || !to->rec.last_boot || to->rec.first_seen >= m->from->rec.last_seen ||
	    boot_profile(boot, boot_section(boot, to), &to->rec)->keep != CONFIG_YES)
		return 0;
	return sentence_fail(
		error, -EEXIST,
		"client %s has a write-back of its own that is kept, and was there while %s still came: they "
		"look like two PCs; with --drop what %s has written is thrown away",
		to->rec.name, m->from->rec.name, to->rec.name);
}

static void remove_target(struct boot *boot, const struct boot_client *client,
			  void (*done)(void *arg, struct boot_disk_job *job, int result))
{
	struct boot_disk_job *job = client->has_target ? calloc(1, sizeof(*job)) : NULL;

	if (!job)
		return; /* the PC's next boot removes it, or the next start */
	snprintf(job->old_iqn, sizeof(job->old_iqn), "%s", client->iqn);
	snprintf(job->old_disk, sizeof(job->old_disk), "%s", client->disk);
	job->done = done;
	boot_disks_queue(boot->disks, job);
}

static void target_removed(void *arg, struct boot_disk_job *job, int result)
{
	(void)arg;
	if (result)
		log_warning("the disk %s of a client that was moved is left: %s", job->old_disk, job->error.text);
}

/* What is of the hardware: the rest is of the PC. */
static void take_hardware(struct state_client *rec, const struct move *m)
{
	memcpy(rec->key, m->key, sizeof(rec->key));
	memcpy(rec->mac, m->to ? m->to->rec.mac : m->mac, sizeof(rec->mac));
	rec->has_uuid = m->to && m->to->rec.has_uuid;
	memset(rec->uuid, 0, sizeof(rec->uuid));
	if (rec->has_uuid)
		memcpy(rec->uuid, m->to->rec.uuid, sizeof(rec->uuid));
	rec->arch = m->to ? m->to->rec.arch : 0xffff;
	rec->nbp_failed = m->to && m->to->rec.nbp_failed;
	snprintf(rec->nbp, sizeof(rec->nbp), "%s", m->to ? m->to->rec.nbp : "");
	rec->address = m->to ? m->to->rec.address : 0;
	if (m->to)
		rec->last_seen = m->to->rec.last_seen;
}

/* A [client] section that is about the old hardware keeps its name for that. */
static int choose_name(struct move *m, struct state_client *rec, struct sentence *error)
{
	const struct config_client *old = identity_section_of(m->boot->config, m->from->rec.key, NULL);
	const struct config_client *now = identity_section_of(m->boot->config, m->key, NULL);
	int r = 0;

	if (now)
		snprintf(rec->name, sizeof(rec->name), "%s", now->name);
	else if (old && m->to)
		snprintf(rec->name, sizeof(rec->name), "%s", m->to->rec.name);
	else if (old)
		r = boot_clients_new_name(m->boot->clients, m->boot->config->client_name_pattern, 0, m->boot->promised,
					  rec->name);
	if (old)
		sentence_set(error,
			     "[client %s] in %.200s line %u still names the old one: write %s there, then \"bootwell "
			     "config reload\"",
			     old->name, m->boot->config->file, old->line, identity_text(m->boot->config, m->key).s);
	return r;
}

int boot_move(struct boot *boot, const char *from, const char *to, bool drop, char ret_name[CONFIG_HOST_MAX],
	      struct sentence *error)
{
	struct move m = {.boot = boot};
	struct identity_text was;
	struct state_client rec;
	int r = find(&m, from, to, error);

	if (!r)
		r = is_idle(boot, m.from, error);
	if (!r && m.to)
		r = is_idle(boot, m.to, error);
	if (!r && m.to)
		r = may_go(boot, &m, drop, error);
	if (r)
		return r;
	rec = m.from->rec;
	was = identity_text(boot->config, rec.key);
	take_hardware(&rec, &m);
	r = choose_name(&m, &rec, error);
	if (r)
		return sentence_fail(error, r, "no name is free for it");
	remove_target(boot, m.from, target_removed);
	m.from->has_target = false;
	m.from->state = BOOT_OFF;
	if (m.to) {
		remove_target(boot, m.to, target_removed);
		m.to->has_target = false;
		m.to->state = BOOT_OFF;
	}
	r = boot_clients_move(boot->clients, m.from, &rec, m.to);
	if (r)
		return sentence_fail(error, r, "client %.40s cannot be noted in the state: %s", from,
				     state_error(boot->state));
	snprintf(ret_name, CONFIG_HOST_MAX, "%s", rec.name);
	log_notice("client %s (%s) is %s now, as client %s", from, was.s, identity_text(boot->config, rec.key).s,
		   rec.name);
	return 0;
}
