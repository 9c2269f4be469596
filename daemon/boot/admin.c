// SPDX-License-Identifier: GPL-2.0-or-later
/* What people ask of the clients and change in them. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/boot/private.h"
#include "daemon/config/value.h"
#include "daemon/core/log.h"

const char *boot_state_name(enum boot_state state)
{
	static const char *const names[BOOT_STATES] = {"off",   "starting", "loading", "preparing",
						       "ready", "running",  "failed"};

	return state < BOOT_STATES ? names[state] : "unknown";
}

static void view(struct boot *boot, struct boot_client *client, void (*fn)(void *arg, const struct boot_view *view),
		 void *arg)
{
	struct boot_view v = {
		.client = &client->rec,
		.boot = &client->steps,
		.section = boot_section(boot, client),
		.state = client->state,
		.has_target = client->has_target,
		.image = client->has_target ? client->image : "",
		.disk = client->has_target ? client->disk : "",
		.iqn = client->has_target ? client->iqn : "",
		.session_address = client->session_address,
	};

	if (client->has_target)
		v.use[v.uses++] = (struct boot_use){client->image, client->steps.generation};
	for (unsigned int i = 0; client->has_target && i < client->extras; i++)
		v.use[v.uses++] = (struct boot_use){client->extra[i].image, client->extra[i].generation};
	v.profile = boot_profile(boot, v.section, &client->rec);
	fn(arg, &v);
}

/* PC2 before PC10: runs of digits compare as numbers. */
static int by_name(const void *a, const void *b)
{
	const struct boot_client *const *ca = a, *const *cb = b;

	return strverscmp((*ca)->rec.name, (*cb)->rec.name);
}

void boot_each(struct boot *boot, void (*fn)(void *arg, const struct boot_view *view), void *arg)
{
	size_t n = boot_clients_count(boot->clients);
	struct boot_client **sorted = calloc(n + 1, sizeof(struct boot_client *));

	for (size_t i = 0; sorted && i < n; i++)
		sorted[i] = boot_clients_at(boot->clients, i);
	if (sorted)
		qsort(sorted, n, sizeof(struct boot_client *), by_name);
	for (size_t i = 0; i < n; i++)
		view(boot, sorted ? sorted[i] : boot_clients_at(boot->clients, i), fn, arg);
	free(sorted);
}

size_t boot_each_some(struct boot *boot, size_t first, size_t count,
		      void (*fn)(void *arg, const struct boot_view *view), void *arg)
{
	size_t n = boot_clients_count(boot->clients), i;

	for (i = first; i < n && i < first + count; i++)
		view(boot, boot_clients_at(boot->clients, i), fn, arg);
	return i < n ? i : 0;
}

int boot_view_name(struct boot *boot, const char *name, void (*fn)(void *arg, const struct boot_view *view), void *arg)
{
	struct boot_client *client = boot_clients_by_name(boot->clients, name);

	if (!client)
		return -ENOENT;
	view(boot, client, fn, arg);
	return 0;
}

static int change_name(struct boot *boot, struct boot_client *client, const struct config_client *section,
		       const char *name, struct state_client *rec, struct sentence *error)
{
	const struct config_client *other = config_client_named(boot->config, name);
	struct boot_client *holder = boot_clients_by_name(boot->clients, name);
	char checked[CONFIG_HOST_MAX];
	const char *wrong = value_host(name, checked);

	if (wrong)
		return sentence_fail(error, -EINVAL, "\"%.40s\" %s", name, wrong);
	if (section && strcmp(name, section->name))
		return sentence_fail(error, -EPERM, "the name %s stands in %.200s line %u: change it there",
				     section->name, boot->config->file, section->line);
	if ((holder && holder != client) || (other && other != section))
		return sentence_fail(error, -EEXIST, "another client has the name %s already", name);
	snprintf(rec->name, sizeof(rec->name), "%s", checked);
	rec->named++;
	return 0;
}

/* What a section says, a record cannot say otherwise. */
static int fixed_in_config(const struct boot *boot, const struct config_client *section, const char *what,
			   struct sentence *error)
{
	return sentence_fail(error, -EPERM,
			     "the %s of %s stands in %.200s line %u: change it there, then \"systemctl "
			     "reload bootwell\"",
			     what, section->name, boot->config->file, section->line);
}

static int change_rest(struct boot *boot, const struct config_client *section, const struct boot_change *change,
		       struct state_client *rec, struct sentence *error)
{
	struct state_image row;

	if (change->group) {
		if (section && section->group[0])
			return fixed_in_config(boot, section, "group", error);
		if (!config_group_find(boot->config, change->group))
			return sentence_fail(error, -ENOENT, "there is no group \"%.63s\"", change->group);
		snprintf(rec->group, sizeof(rec->group), "%s", change->group);
	}
	if (change->image) {
		if (section && section->profile.images)
			return fixed_in_config(boot, section, "image", error);
		if (*change->image && state_image_current(boot->state, change->image, &row) <= 0)
			return sentence_fail(error, -ENOENT,
					     "there is no image \"%.63s\"; \"bootwell image list\" shows them",
					     change->image);
		snprintf(rec->image, sizeof(rec->image), "%s", change->image);
	}
	if (change->keep != BOOT_UNCHANGED) {
		if (section && section->profile.keep != CONFIG_UNSET)
			return fixed_in_config(boot, section, "keep", error);
		rec->keep = change->keep;
	}
	if (change->upload != BOOT_UNCHANGED) {
		if (section && section->profile.upload != CONFIG_UNSET)
			return fixed_in_config(boot, section, "upload", error);
		rec->upload = change->upload;
	}
	if (change->drop_write_back)
		boot_uuid(rec->reset);
	return 0;
}

int boot_change(struct boot *boot, const char *name, const struct boot_change *change, struct sentence *error)
{
	struct boot_client *client = boot_clients_by_name(boot->clients, name);
	const struct config_client *section;
	struct state_client rec;
	int r = 0;

	if (!client)
		return sentence_fail(error, -ENOENT,
				     "there is no client \"%.40s\"; \"bootwell client list\" shows them", name);
	section = boot_section(boot, client);
	rec = client->rec;
	if (change->name)
		r = change_name(boot, client, section, change->name, &rec, error);
	if (!r)
		r = change_rest(boot, section, change, &rec, error);
	if (r)
		return r;
	r = boot_clients_put(boot->clients, &rec, NULL);
	if (r)
		return sentence_fail(error, r, "client %.40s cannot be noted in the state: %s", name,
				     state_error(boot->state));
	if (change->upload == 0)
		boot_end_ticket(boot, client);
	return 0;
}

static void target_removed(void *arg, struct boot_disk_job *job, int result)
{
	(void)arg;
	if (result)
		log_warning("the disk %s of a removed client is left: %s", job->old_disk, job->error.text);
}

int boot_remove(struct boot *boot, const char *name, struct sentence *error)
{
	struct boot_client *client = boot_clients_by_name(boot->clients, name);
	struct boot_disk_job *job = NULL;
	int r;

	if (!client)
		return sentence_fail(error, -ENOENT,
				     "there is no client \"%.40s\"; \"bootwell client list\" shows them", name);
	r = boot_is_off(boot, client, BOOT_SWITCH_OFF, error);
	if (r)
		return r;
	if (client->has_target) {
		job = calloc(1, sizeof(*job));
		if (!job)
			return sentence_fail(error, -ENOMEM, "out of memory");
		snprintf(job->old_iqn, sizeof(job->old_iqn), "%s", client->iqn);
		snprintf(job->old_disk, sizeof(job->old_disk), "%s", client->disk);
		job->done = target_removed;
	}
	boot_end_ticket(boot, client);
	r = boot_clients_remove(boot->clients, client);
	if (r) {
		free(job);
		return sentence_fail(error, r, "client %.40s cannot be removed from the state: %s", name,
				     state_error(boot->state));
	}
	if (job)
		boot_disks_queue(boot->disks, job);
	return 0;
}

bool boot_uses_image(const struct boot *boot, const char *image)
{
	const struct boot_client *client;

	for (size_t i = 0; (client = boot_clients_at(boot->clients, i)); i++)
		if (boot_luns_use(client, image, 0))
			return true;
	return false;
}

void boot_image_users(const struct boot *boot, const char *image, uint32_t generation,
		      void (*fn)(void *arg, const char *client), void *arg)
{
	const struct boot_client *client;
	struct state_session session;
	int64_t updating = 0;

	if (state_session_by_image(boot->state, image, &session) > 0 &&
	    (!generation || generation == session.generation))
		updating = session.client;
	for (size_t i = 0; (client = boot_clients_at(boot->clients, i)); i++)
		if (client->rec.id == updating || boot_luns_use(client, image, generation))
			fn(arg, client->rec.name);
}

void boot_stats(struct boot *boot, struct boot_stats *ret)
{
	const struct boot_client *client;

	*ret = boot->stats;
	for (size_t i = 0; (client = boot_clients_at(boot->clients, i)); i++) {
		ret->clients++;
		ret->clients_by_state[client->state]++;
	}
	ret->waiting = boot_disks_waiting(boot->disks);
}
