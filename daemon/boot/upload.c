// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which PC may upload an image: one whose record, section or group says so, and that has the secret of the script that
 * sent it to its capture system (boot/ticket.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/boot/private.h"
#include "daemon/core/log.h"
#include "daemon/core/inet.h"

/* A name in the catalogue: the file's without its ending. */
static void image_of(const char *file, char ret[BOOT_TICKET_WORDS])
{
	const char *dot = strrchr(file, '.');

	snprintf(ret, BOOT_TICKET_WORDS, "%.*s", dot ? (int)(dot - file) : (int)strlen(file), file);
}

struct boot_tickets *boot_tickets(struct boot *boot)
{
	return boot->tickets;
}

int boot_may_upload(struct boot *boot, uint32_t address, const char *secret, struct boot_ticket *ret,
		    struct sentence *error)
{
	struct boot_client *client, *there = boot_clients_by_address(boot->clients, address);
	const struct config_profile *profile;

	if (boot_ticket_check(boot->tickets, secret, ret))
		return sentence_fail(
			error, -EACCES,
			"%s may not upload images: its secret is none that a capture script has now; start "
			"the PC from the network again",
			inet_text(address).s);
	client = boot_clients_by_id(boot->clients, ret->client);
	if (!client || (there && there != client))
		return sentence_fail(error, -EACCES, "%s may not upload images: its secret is another PC's",
				     inet_text(address).s);
	profile = boot_profile(boot, boot_section(boot, client), &client->rec);
	if (profile->upload != CONFIG_YES)
		return sentence_fail(
			error, -EACCES,
			"client %s may not upload images: allow it with \"bootwell client set %s --upload yes\"",
			client->rec.name, client->rec.name);
	return 0;
}

/* --- the file of the secrets is written aside ---------------------------------------------------------------------*/

struct saving {
	struct aside_job job;
	struct boot_tickets *tickets;
	int result;
};

static void save_work(struct aside_job *job)
{
	struct saving *s = (struct saving *)job;

	s->result = boot_tickets_save(s->tickets);
}

static void save_drop(struct aside_job *job)
{
	boot_tickets_unref(((struct saving *)job)->tickets);
	free(job);
}

static void saved(void *owner, struct aside_job *job)
{
	int result = ((struct saving *)job)->result;

	((struct boot *)owner)->saving--;
	if (result)
		log_limited(1, LOG_LEVEL_WARNING,
			    "what PCs may upload cannot be kept in the folder of the state: %s; a PC that sends its "
			    "disk has to be started again when bootwelld is",
			    strerror(-result));
	save_drop(job);
}

static void save(struct boot *boot)
{
	struct saving *s = calloc(1, sizeof(*s));

	if (!s)
		return;
	s->job = (struct aside_job){.work = save_work, .done = saved, .drop = save_drop};
	s->tickets = boot->tickets;
	boot_tickets_ref(boot->tickets);
	if (aside_begin(boot->saver, &s->job))
		save_drop(&s->job);
	else
		boot->saving++;
}

void boot_end_ticket(struct boot *boot, const struct boot_client *client)
{
	if (boot_ticket_end(boot->tickets, client->rec.id))
		save(boot);
}

/* --- the capture system -------------------------------------------------------------------------------------------*/

void boot_set_pin(struct boot *boot, const char *pin)
{
	snprintf(boot->pin, sizeof(boot->pin), "%s", pin);
}

/* Is there such an image by now? */
static bool captured(struct boot *boot, const char *file)
{
	char name[BOOT_TICKET_WORDS];
	struct state_image row;

	image_of(file, name);
	return state_image_current(boot->state, name, &row) > 0;
}

static void send_script(struct boot *boot, struct boot_client *client, const struct config_profile *profile,
			boot_script_fn done, void *arg)
{
	char text[IPXE_SCRIPT_MAX], secret[BOOT_TICKET_MAX], image[BOOT_TICKET_WORDS];
	int n, r;

	image_of(profile->capture, image);
	r = boot_ticket_make(boot->tickets, client->rec.id, client->rec.name, image, secret);
	if (r) {
		n = ipxe_script_message(text, sizeof(text), client->rec.name, "the server is out of memory", true);
		done(arg, n > 0 ? text : "", n > 0 ? n : 0);
		return;
	}
	save(boot);
	log_limited(10, LOG_LEVEL_NOTICE, "client %s starts the capture system", client->rec.name);
	n = ipxe_script_capture(text, sizeof(text),
				&(struct ipxe_script_capture){.client = client->rec.name,
							      .server = client->server,
							      .http_port = boot->config->http_port,
							      .upload_port = boot->config->upload_port,
							      .name = profile->capture,
							      .disk = profile->capture_disk,
							      .secret = secret,
							      .pin = boot->pin});
	done(arg, n > 0 ? text : "", n > 0 ? n : 0);
	explicit_bzero(text, sizeof(text));
	explicit_bzero(secret, sizeof(secret));
}

/* A script ends what the PC sent before. So while it still sends, whoever asks in its name has to wait. */
bool boot_wait_upload(struct boot *boot, struct boot_client *client, const struct boot_ask *ask, boot_script_fn done,
		      void *arg)
{
	char text[IPXE_SCRIPT_MAX];
	struct ipxe_script_where where = {.server = client->server,
					  .port = ask->tftp ? boot->config->tftp_port : boot->config->http_port,
					  .tftp = ask->tftp};
	int n;

	if (boot_ticket_silence(boot->tickets, client->rec.id) >= BOOT_UPLOAD_SILENCE)
		return false;
	snprintf(where.nonce, sizeof(where.nonce), "%s", ask->nonce);
	snprintf(where.image, sizeof(where.image), "%s", ask->image ? ask->image : "");
	n = ipxe_script_wait(text, sizeof(text), client->rec.name, "", &where);
	done(arg, n > 0 ? text : "", n > 0 ? n : 0);
	return true;
}

/*
 * A PC that may upload gets the capture system while the image that `capture` names is not there yet, or when it has no
 * image to start from anyway. Once captured it boots as the others do.
 */
bool boot_send_capture(struct boot *boot, struct boot_client *client, const struct config_profile *profile,
		       boot_script_fn done, void *arg)
{
	if (profile->upload != CONFIG_YES || client->state == BOOT_PREPARING)
		return false;
	if (profile->capture[0] ? captured(boot, profile->capture) : profile->images > 0)
		return false;
	client->nbp_sent_ns = 0;
	send_script(boot, client, profile, done, arg);
	return true;
}
