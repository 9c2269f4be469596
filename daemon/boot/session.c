// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Update sessions: one PC (the super client) works on an image, and what it writes will be the next generation. It
 * boots the image's generation of that moment from a write-back that is not its usual one, so its own kept data stay as
 * they are. The write-back's UUID is derived from the PC's own, so a PC never has more than two; each session has a
 * `reset` of its own that empties it at its first boot.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/boot/private.h"
#include "daemon/core/log.h"

#define SETTLE_NS (60 * 1000000000ull) /* that a super client must have been gone before its work is committed */

int boot_session_of(struct boot *boot, const struct boot_client *client, struct state_session *ret)
{
	return state_session_by_client(boot->state, client->rec.id, ret);
}

int boot_session_job(const struct state_session *session, struct boot_disk_job *job, struct sentence *error)
{
	if (job->chain.image.generation != session->generation) {
		sentence_set(
			error,
			"its update session lies on generation %u of %s, but the current one is %u: \"bootwell image "
			"rollback %s %u\", or "
			"end the session with \"bootwell client set %s update-image=-\"",
			session->generation, session->image, job->chain.image.generation, session->image,
			session->generation, job->name);
		return -ESTALE;
	}
	job->keep = true;
	job->set_name = false; /* it would become the image's */
	snprintf(job->overlay, sizeof(job->overlay), "%s", session->overlay);
	snprintf(job->reset, sizeof(job->reset), "%s", session->reset);
	return 0;
}

/* The PC's own UUID with another version digit: 8, which RFC 9562 leaves to whoever uses it. */
static int session_overlay(struct boot *boot, struct boot_client *client, char ret[40])
{
	if (!client->rec.overlay[0]) {
		boot_uuid(client->rec.overlay);
		if (boot_clients_put(boot->clients, &client->rec, NULL)) {
			client->rec.overlay[0] = '\0';
			return -EIO;
		}
	}
	memcpy(ret, client->rec.overlay, 40);
	ret[14] = '8';
	return 0;
}

int boot_session_begin(struct boot *boot, const char *name, const char *image, struct sentence *error)
{
	struct boot_client *client = boot_clients_by_name(boot->clients, name), *other;
	struct state_session session = {.started = time(NULL)}, there;
	struct state_image row;
	int r;

	if (!client)
		return sentence_fail(error, -ENOENT,
				     "there is no client \"%.40s\"; \"bootwell client list\" shows them", name);
	if (state_image_current(boot->state, image, &row) <= 0)
		return sentence_fail(error, -ENOENT, "there is no image \"%.63s\"; \"bootwell image list\" shows them",
				     image);
	if (state_session_by_image(boot->state, image, &there) > 0) {
		other = boot_clients_by_id(boot->clients, there.client);
		return sentence_fail(error, -EBUSY, "image %s is being updated by client %s already", image,
				     other ? other->rec.name : "?");
	}
	if (state_session_by_client(boot->state, client->rec.id, &there) > 0)
		return sentence_fail(error, -EBUSY, "client %s is updating image %s already", client->rec.name,
				     there.image);
	r = boot_is_off(boot, client, BOOT_SWITCH_OFF, error);
	if (r)
		return r;
	snprintf(session.image, sizeof(session.image), "%s", row.name);
	session.client = client->rec.id;
	session.generation = row.generation;
	boot_uuid(session.reset);
	r = session_overlay(boot, client, session.overlay);
	if (!r)
		r = state_session_put(boot->state, &session);
	if (r)
		return sentence_fail(error, r, "the session cannot be noted in the state: %s",
				     state_error(boot->state));
	client->noted = state_position(boot->state);
	log_notice("client %s updates image %s, generation %u", client->rec.name, image, row.generation);
	return 0;
}

static void dropped(void *arg, struct boot_disk_job *job, int result)
{
	(void)arg;
	if (result)
		log_warning("what the update session of client %s wrote still takes room, until its next session: %s",
			    job->name, job->error.text);
}

void boot_session_drop(struct boot *boot, const struct state_session *session)
{
	struct boot_client *client = boot_clients_by_id(boot->clients, session->client);
	struct sentence error = {""};
	struct boot_disk_job *job = calloc(1, sizeof(*job));

	/* Opened once with another `reset` than the one it remembers, it is empty: docs/handover.md. Not while the PC
	 * may use it. */
	if (client && client->has_target &&
	    (client->logged_in || client->waiters || (client->state != BOOT_OFF && client->state != BOOT_FAILED))) {
		free(job);
		return;
	}
	if (!job || !boot->targets || catalogue_resolve(boot->catalogue, session->image, &job->chain, &error)) {
		free(job);
		return;
	}
	job->make = job->touch = job->keep = true;
	job->done = dropped;
	snprintf(job->name, sizeof(job->name), "%s", client ? client->rec.name : "?");
	snprintf(job->images_path, sizeof(job->images_path), "%s", boot->config->images_path);
	snprintf(job->overlay, sizeof(job->overlay), "%s", session->overlay);
	boot_uuid(job->boot);
	boot_uuid(job->reset);
	snprintf(job->disk.id, sizeof(job->disk.id), "%lld-drop", (long long)session->client);
	snprintf(job->disk.serial, sizeof(job->disk.serial), "%s", session->overlay);
	job->disk.size = job->chain.image.virtual_size;
	if (client && client->has_target) {
		snprintf(job->old_iqn, sizeof(job->old_iqn), "%s", client->iqn);
		snprintf(job->old_disk, sizeof(job->old_disk), "%s", client->disk);
		client->has_target = false;
	}
	boot_disks_queue(boot->disks, job);
}

int boot_session_end(struct boot *boot, const char *image, struct sentence *error)
{
	struct state_session session;
	struct boot_client *client;
	int r;

	if (state_session_by_image(boot->state, image, &session) <= 0)
		return sentence_fail(error, -ENOENT, "no client is updating image %s", image);
	client = boot_clients_by_id(boot->clients, session.client);
	if (boot->committing == session.client)
		return sentence_fail(error, -EBUSY, "image %s is being committed", image);
	r = client ? boot_is_off(boot, client, BOOT_SWITCH_OFF, error) : 0;
	if (r)
		return r;
	r = state_session_remove(boot->state, image);
	if (r)
		return sentence_fail(error, r, "the session cannot be removed from the state: %s",
				     state_error(boot->state));
	boot_session_drop(boot, &session);
	return 0;
}

/* --- for a commit -------------------------------------------------------------------------------------------------*/

struct freeze {
	struct boot *boot;
	void (*done)(void *arg, int result, const char *error);
	void *arg;
};

static void frozen(void *arg, struct boot_disk_job *job, int result)
{
	struct freeze *f = arg;
	struct boot_client *client = boot_clients_by_id(f->boot->clients, job->client);

	if (!result && client)
		client->has_target = false;
	if (result)
		f->boot->committing = 0;
	f->done(f->arg, result, job->error.text);
	free(f);
}

int boot_session_freeze(struct boot *boot, const struct state_session *session,
			void (*done)(void *arg, int result, const char *error), void *arg, struct sentence *error)
{
	struct boot_client *client = boot_clients_by_id(boot->clients, session->client);
	struct boot_disk_job *job;
	struct freeze *f;

	if (boot->committing)
		return sentence_fail(error, -EBUSY, "another commit is running; wait until it is done");
	if (!client)
		return sentence_fail(error, -ENOENT, "the client of this session is gone");
	if (boot_is_off(boot, client, "shut it down first, so that its file system is whole", error))
		return -EBUSY;
	/* A session also ends when a cable is pulled, or a PC is too busy to answer: it may come back to its disk. */
	if (client->logged_out_ns && loop_now(boot->loop) - client->logged_out_ns < SETTLE_NS)
		return sentence_fail(
			error, -EBUSY,
			"client %s had its disk until %u s ago: make sure that it is shut down, and try again in %u s",
			client->rec.name, (unsigned int)((loop_now(boot->loop) - client->logged_out_ns) / 1000000000),
			(unsigned int)((SETTLE_NS - (loop_now(boot->loop) - client->logged_out_ns)) / 1000000000 + 1));
	job = calloc(1, sizeof(*job));
	f = calloc(1, sizeof(*f));
	if (!job || !f) {
		free(job);
		free(f);
		return sentence_fail(error, -ENOMEM, "out of memory");
	}
	boot->committing = session->client;
	*f = (struct freeze){.boot = boot, .done = done, .arg = arg};
	job->client = session->client;
	job->done = frozen;
	job->arg = f;
	if (client->has_target) {
		snprintf(job->old_iqn, sizeof(job->old_iqn), "%s", client->iqn);
		snprintf(job->old_disk, sizeof(job->old_disk), "%s", client->disk);
	}
	boot_disks_queue(boot->disks, job);
	return 0;
}

void boot_session_thaw(struct boot *boot)
{
	boot->committing = 0;
}

/*
 * A PC that is off may have written something that only fits the generation that it was started from: by the last boot
 * that got a disk. One that was refused, for the image has moved on, leaves the write-back as it was.
 */
static bool kept_on(struct boot *boot, const struct boot_client *client, const char *image, uint32_t generation)
{
	if (boot_profile(boot, boot_section(boot, client), &client->rec)->keep != CONFIG_YES)
		return false;
	return client->ready_generation == generation && !strcmp(client->ready_image, image);
}

bool boot_uses_generation(struct boot *boot, const char *image, uint32_t generation)
{
	const struct boot_client *client;
	struct state_session session;

	if (state_session_by_image(boot->state, image, &session) > 0 && session.generation == generation)
		return true;
	for (size_t i = 0; (client = boot_clients_at(boot->clients, i)); i++)
		if (boot_luns_use(client, image, generation) || kept_on(boot, client, image, generation))
			return true;
	return false;
}
