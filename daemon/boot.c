// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The way of one boot, as the server sees it:
 *
 *	boot_identify		DHCP asks who this is and what it gets: [client] section, record
 *				in the state, group, defaults
 *	boot_leased		the lease is being committed: an unknown PC becomes a record;
 *				`coming` notes the time
 *	boot_tftp_started	it fetches its boot program
 *	boot_script		the moment of a new boot: `coming` becomes `steps`, the disk's job
 *				is queued (boot_disk.c), its end answers the PC
 *	polling			login and first read are seen in configfs and in the handler's
 *				counters (boot_watch.c)
 *
 * A hand-off is awaited from the lease that named a boot program until the script is asked for;
 * when nobody asks within [dhcp] handoff-timeout, the PC gets the other program of the pair the next
 * time.
 *
 * Whoever asks for a script ends what the PC ran before. So the asker must have the PC's address,
 * and when a session of it lives, DHCP must have seen the PC as firmware or iPXE since its login:
 * one forged datagram ends nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "daemon/boot_private.h"
#include "daemon/config_value.h"
#include "daemon/ipxe_script.h"
#include "daemon/log.h"

#define MENU_SECONDS 10
#define SEEN_EVERY   60 /* s: how exact last_seen is in the state */

static struct log_limit limit_store, limit_full, limit_arch;

uint64_t boot_realtime_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* --- who is it, and what does it get --- */

static void merge_profile(struct config_profile *into, const struct config_profile *from)
{
	if (!into->images) {
		memcpy(into->image, from->image, sizeof(into->image));
		into->images = from->images;
	}
	if (!into->disks_given && from->disks_given) {
		memcpy(into->disk, from->disk, sizeof(into->disk));
		into->disks = from->disks;
		into->disks_given = true;
	}
	if (into->keep == CONFIG_UNSET)
		into->keep = from->keep;
	if (into->upload == CONFIG_UNSET)
		into->upload = from->upload;
	if (into->computer_name == CONFIG_UNSET)
		into->computer_name = from->computer_name;
	if (!into->capture[0])
		memcpy(into->capture, from->capture, sizeof(into->capture));
	if (!into->capture_disk[0])
		memcpy(into->capture_disk, from->capture_disk, sizeof(into->capture_disk));
	if (!into->nbp_bios[0])
		memcpy(into->nbp_bios, from->nbp_bios, sizeof(into->nbp_bios));
	if (!into->nbp_uefi[0])
		memcpy(into->nbp_uefi, from->nbp_uefi, sizeof(into->nbp_uefi));
	for (unsigned int i = 0; i < from->options.count; i++) {
		const struct config_option *option = &from->options.option[i];
		unsigned int k = 0;

		while (k < into->options.count && into->options.option[k].code != option->code)
			k++;
		if (k == into->options.count && k < CONFIG_OPTIONS)
			into->options.option[into->options.count++] = *option;
	}
}

/* Section, then what `bootwell client set` said, then the group, then [group default]. */
const struct config_profile *boot_profile(struct boot *boot, const struct config_client *section,
					  const struct store_client *rec)
{
	struct config_profile *p = &boot->merged;
	const struct config_group *group;

	memset(p, 0, sizeof(*p));
	p->keep = p->upload = p->computer_name = CONFIG_UNSET;
	if (section)
		merge_profile(p, &section->profile);
	if (rec && rec->image[0] && !p->images) {
		snprintf(p->image[0], sizeof(p->image[0]), "%s", rec->image);
		p->images = 1;
	}
	if (rec && p->keep == CONFIG_UNSET && rec->keep >= 0)
		p->keep = rec->keep ? CONFIG_YES : CONFIG_NO;
	if (rec && p->upload == CONFIG_UNSET && rec->upload >= 0)
		p->upload = rec->upload ? CONFIG_YES : CONFIG_NO;
	group = config_group_find(boot->config, section && section->group[0] ? section->group
						: rec                        ? rec->group
									     : "");
	if (group)
		merge_profile(p, &group->profile);
	merge_profile(p, &boot->config->group[0].profile);
	if (p->keep == CONFIG_UNSET)
		p->keep = CONFIG_NO;
	if (p->upload == CONFIG_UNSET)
		p->upload = CONFIG_NO;
	return p;
}

const struct config_client *boot_section(const struct boot *boot, const struct boot_client *client)
{
	const struct store_client *rec = &client->rec;
	const struct config_client *section =
		config_client_find(boot->config, rec->mac, rec->has_uuid ? rec->uuid : NULL, NULL);

	if (section)
		return section;
	section = config_client_named(boot->config, rec->name);
	/* A section that knows its PC by something else is not for a PC of the same name. */
	return section && !section->has_mac && !section->has_uuid ? section : NULL;
}

enum firmware { FIRMWARE_BIOS, FIRMWARE_X64, FIRMWARE_IA32, FIRMWARE_ARM64, FIRMWARE_OTHER };

static enum firmware firmware_of(uint16_t arch)
{
	switch (arch) {
	case 0:
	case 20: /* BIOS by HTTP */
	case 0xffff:
		return FIRMWARE_BIOS;
	case 7:
	case 9:
	case 16:
		return FIRMWARE_X64;
	case 6:
	case 15:
		return FIRMWARE_IA32;
	case 11:
	case 19:
		return FIRMWARE_ARM64;
	default:
		return FIRMWARE_OTHER;
	}
}

static bool arch_is_http(uint16_t arch)
{
	return arch == 15 || arch == 16 || arch == 19 || arch == 20;
}

/* The two programs that a firmware may like; the first is tried first. Debian builds iPXE for BIOS
 * and x64 only; the others have the names that they have on boot.ipxe.org. */
static const char *const pairs[][2] = {
	[FIRMWARE_BIOS] = {"undionly.kpxe", "ipxe.pxe"},
	[FIRMWARE_X64] = {"snponly.efi", "ipxe.efi"},
	[FIRMWARE_IA32] = {"i386-efi/snponly.efi", "i386-efi/ipxe.efi"},
	[FIRMWARE_ARM64] = {"arm64-efi/snponly.efi", "arm64-efi/ipxe.efi"},
	[FIRMWARE_OTHER] = {"", ""},
};

/* What worked stays; after a failed hand-off the other one has its turn. */
static const char *choose_nbp(const struct config_profile *profile, const struct store_client *rec,
			      uint16_t arch)
{
	enum firmware firmware = firmware_of(arch);
	const char *const *pair = pairs[firmware];
	unsigned int now = 0;

	if (firmware == FIRMWARE_BIOS && profile->nbp_bios[0])
		return profile->nbp_bios;
	if (firmware != FIRMWARE_BIOS && profile->nbp_uefi[0])
		return profile->nbp_uefi;
	if (rec && !strcmp(rec->nbp, pair[1]))
		now = 1;
	if (rec && rec->nbp_failed && !strcmp(rec->nbp, pair[now]))
		now = !now;
	return pair[now];
}

/* What the handler's disk is reached by; of the MAC, which stays when the PC is renamed. */
static void name_iqn(const struct boot *boot, const char *what, const uint8_t mac[6],
		     char ret[TARGET_NAME_MAX])
{
	snprintf(ret, TARGET_NAME_MAX, "%s:%s-%02x%02x%02x%02x%02x%02x", boot->config->iqn_prefix,
		 what, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static void answer_nbp(const struct boot *boot, const struct boot_identity *who,
		       const struct store_client *rec, uint32_t server, struct boot_answer *a)
{
	const char *nbp;

	if (who->ipxe && boot->config->dhcp_mode == CONFIG_DHCP_FULL) {
		snprintf(a->nbp, sizeof(a->nbp), "boot.ipxe");
		return;
	}
	if (who->ipxe) { /* as proxy we do not know the PC by its address */
		snprintf(a->nbp, sizeof(a->nbp), "http://%u.%u.%u.%u:%u/boot.ipxe?mac=${netX/mac}",
			 server >> 24, server >> 16 & 255, server >> 8 & 255, server & 255,
			 boot->config->http_port);
		return;
	}
	if (!who->pxe)
		return;
	nbp = choose_nbp(a->profile, rec, who->arch);
	a->http_boot = arch_is_http(who->arch) && *nbp;
	if (a->http_boot)
		snprintf(a->nbp, sizeof(a->nbp), "http://%u.%u.%u.%u:%u/nbp/%.80s", server >> 24,
			 server >> 16 & 255, server >> 8 & 255, server & 255,
			 boot->config->http_port, nbp);
	else
		snprintf(a->nbp, sizeof(a->nbp), "%s", nbp);
}

int boot_identify(struct boot *boot, const struct boot_identity *who, uint32_t server,
		  struct boot_answer *ret)
{
	struct boot_client *client = boot_clients_by_mac(boot->clients, who->mac);
	const struct config_client *section;

	section = config_client_find(boot->config, who->mac, who->has_uuid ? who->uuid : NULL,
				     who->circuit);
	if (!section && client)
		section = boot_section(boot, client);
	memset(ret, 0, sizeof(*ret));
	ret->known = client || section;
	if (section)
		snprintf(ret->hostname, sizeof(ret->hostname), "%s", section->name);
	else if (client)
		snprintf(ret->hostname, sizeof(ret->hostname), "%s", client->rec.name);
	ret->reserved = section ? section->address : 0;
	name_iqn(boot, "pc", who->mac, ret->initiator);
	ret->profile = boot_profile(boot, section, client ? &client->rec : NULL);
	answer_nbp(boot, who, client ? &client->rec : NULL, server, ret);
	return 0;
}

/* --- a lease is committed --- */

/* Frees a name that a section gives to another PC: its holder gets an automatic one. */
static void yield_name(struct boot *boot, const char *name, const struct boot_client *to)
{
	struct boot_client *holder = boot_clients_by_name(boot->clients, name);
	struct store_client rec;

	if (!holder || holder == to)
		return;
	rec = holder->rec;
	rec.named = false;
	if (boot_clients_new_name(boot->clients, boot->config->client_name_pattern, rec.address,
				  rec.name))
		return;
	if (!boot_clients_put(boot->clients, &rec, NULL))
		log_notice("client %s is now %s: [client %s] is another PC", name, rec.name, name);
}

/* The record of a PC that has none. 0: none is made. */
static int begin_record(struct boot *boot, const struct boot_identity *who, uint32_t address,
			const struct config_client *section, struct store_client *rec)
{
	if (!section && !boot->config->register_clients)
		return 0;
	if (!section && boot_clients_count(boot->clients) >= BOOT_CLIENTS_MAX) {
		log_limited(&limit_full, 1, LOG_LEVEL_WARNING,
			    "%u clients are registered; a new one is not: remove old ones with "
			    "\"bootwell client remove\"",
			    BOOT_CLIENTS_MAX);
		return 0;
	}
	memset(rec, 0, sizeof(*rec));
	memcpy(rec->mac, who->mac, 6);
	rec->keep = rec->upload = -1;
	rec->arch = 0xffff;
	rec->first_seen = time(NULL);
	if (section)
		return 1;
	return boot_clients_new_name(boot->clients, boot->config->client_name_pattern, address,
				     rec->name)
		       ? 0
		       : 1;
}

/* What a packet tells about a PC, into its record. True if something changed that is worth a write.
 */
static bool update_record(struct store_client *rec, const struct boot_identity *who,
			  uint32_t address, const char *nbp)
{
	struct store_client old = *rec;

	if (address)
		rec->address = address;
	if (who->has_uuid) {
		rec->has_uuid = true;
		memcpy(rec->uuid, who->uuid, 16);
	}
	if ((who->pxe || who->ipxe) && who->arch != 0xffff)
		rec->arch = who->arch;
	if (who->pxe && !who->ipxe && *nbp && strcmp(nbp, rec->nbp)) {
		snprintf(rec->nbp, sizeof(rec->nbp), "%s", nbp);
		rec->nbp_failed = false;
	}
	if (!memcmp(rec, &old, sizeof(old)) && time(NULL) - rec->last_seen < SEEN_EVERY)
		return false;
	rec->last_seen = time(NULL);
	return true;
}

static void note_steps(struct boot *boot, struct boot_client *client,
		       const struct boot_identity *who, const char *nbp)
{
	uint64_t now = boot_realtime_ns();

	if (!who->pxe && !who->ipxe)
		return;
	client->ipxe_seen_ns = loop_now(boot->loop);
	if (!who->ipxe) {
		memset(&client->coming, 0, sizeof(client->coming));
		client->coming.dhcp_ns = now;
		client->nbp_sent_ns = *nbp ? loop_now(boot->loop) : 0;
		if (!*nbp && firmware_of(who->arch) == FIRMWARE_OTHER)
			log_limited(&limit_arch, 3, LOG_LEVEL_WARNING,
				    "client %s has firmware of architecture %u (RFC 4578, option 93), and there is no boot "
				    "program for it; name one below [tftp] root as nbp-uefi of the client or its group",
				    client->rec.name, who->arch);
	} else {
		if (!client->coming.dhcp_ns) /* iPXE is in its ROM */
			client->coming.dhcp_ns = now;
		client->coming.ipxe_ns = now;
	}
	if (!client->has_target || !client->logged_in)
		client->state = client->waiters ? BOOT_PREPARING : BOOT_STARTING;
}

int boot_leased(struct boot *boot, const struct boot_identity *who, uint32_t address,
		const char *nbp)
{
	struct boot_client *client = boot_clients_by_mac(boot->clients, who->mac);
	const struct config_client *section;
	struct store_client rec;
	bool fresh = !client;
	int r;

	section = config_client_find(boot->config, who->mac, who->has_uuid ? who->uuid : NULL,
				     who->circuit);
	if (client)
		rec = client->rec;
	else if (!begin_record(boot, who, address, section, &rec))
		return 0;
	if (section && strcmp(rec.name, section->name)) {
		yield_name(boot, section->name, client);
		snprintf(rec.name, sizeof(rec.name), "%s", section->name);
		fresh = true;
	}
	if (strstr(nbp, "/nbp/")) /* of a URI the file's name */
		nbp = strstr(nbp, "/nbp/") + strlen("/nbp/");
	if (update_record(&rec, who, address, nbp) || fresh) {
		r = boot_clients_put(boot->clients, &rec, &client);
		if (r) {
			log_limited(&limit_store, 3, LOG_LEVEL_ERROR,
				    "client %s cannot be noted in the state: %s", rec.name,
				    store_error(boot->store));
			return r;
		}
		if (!rec.id) {
			boot->stats.registered++;
			log_notice("new client %s, %02x:%02x:%02x:%02x:%02x:%02x", rec.name,
				   rec.mac[0], rec.mac[1], rec.mac[2], rec.mac[3], rec.mac[4],
				   rec.mac[5]);
		}
	}
	note_steps(boot, client, who, nbp);
	boot_watch_arm(boot);
	return 0;
}

void boot_tftp_started(struct boot *boot, uint32_t address, const char *file)
{
	struct boot_client *client = boot_clients_by_address(boot->clients, address);

	(void)file;
	if (!client)
		return;
	if (!client->coming.tftp_ns)
		client->coming.tftp_ns = boot_realtime_ns();
	if (client->state == BOOT_STARTING)
		client->state = BOOT_LOADING;
}

/* --- the script ------------------------------------------------------------------------------- */

static void send_message(const char *client, const char *message, bool retry, boot_script_fn done,
			 void *arg)
{
	char text[IPXE_SCRIPT_MAX];
	int n = ipxe_script_message(text, sizeof(text), client, message, retry);

	done(arg, n > 0 ? text : "", n > 0 ? n : 0);
}

static void answer_all(struct boot_client *client, const char *text, int length)
{
	/* A callback may ask again at once: the list is empty by then. */
	struct boot_waiter waiter[BOOT_WAITERS_MAX];
	unsigned int n = client->waiters;

	memcpy(waiter, client->waiter, sizeof(waiter));
	client->waiters = 0;
	for (unsigned int i = 0; i < n; i++)
		waiter[i].done(waiter[i].arg, text, length);
}

static void save_steps(struct boot *boot, struct boot_client *client)
{
	int r = store_boot_put(boot->store, &client->steps);

	if (r)
		log_limited(&limit_store, 3, LOG_LEVEL_ERROR,
			    "the boot of client %s cannot be noted in the state: %s",
			    client->rec.name, store_error(boot->store));
}

/* The boot that `coming` prepared begins. */
static void begin_steps(struct boot_client *client)
{
	client->steps = client->coming;
	memset(&client->coming, 0, sizeof(client->coming));
	client->steps.client = client->rec.id;
	client->steps.script_ns = boot_realtime_ns();
	client->nbp_sent_ns = 0;
}

static void boot_failed(struct boot *boot, struct boot_client *client, const char *why, bool retry)
{
	char text[IPXE_SCRIPT_MAX];
	int n;

	boot->stats.failures++;
	client->state = BOOT_FAILED;
	snprintf(client->steps.failure, sizeof(client->steps.failure), "%s", why);
	log_error("client %s gets no disk: %s", client->rec.name, why);
	save_steps(boot, client);
	n = ipxe_script_message(text, sizeof(text), client->rec.name, why, retry);
	answer_all(client, n > 0 ? text : "", n > 0 ? n : 0);
}

static void disk_ready(void *arg, struct boot_disk_job *job, int result)
{
	struct boot *boot = arg;
	struct boot_client *client = boot_clients_by_id(boot->clients, job->client);
	char text[IPXE_SCRIPT_MAX];
	int n;

	if (!client)
		return;
	boot->stats.target_ns += job->took_ns;
	client->has_target = !result;
	client->disk_failed = false;
	client->logged_in = false;
	client->session_address[0] = '\0';
	if (result) {
		boot_failed(boot, client, job->error[0] ? job->error : strerror(-result), true);
		return;
	}
	boot->stats.boots++;
	client->state = BOOT_READY;
	client->steps.ready_ns = boot_realtime_ns();
	snprintf(client->iqn, sizeof(client->iqn), "%s", job->disk.iqn);
	snprintf(client->disk, sizeof(client->disk), "%s", job->disk.id);
	snprintf(client->image, sizeof(client->image), "%s", job->chain.image.name);
	boot_luns_ready(client, job);
	client->rec.last_boot = time(NULL);
	if (boot_clients_put(boot->clients, &client->rec, NULL))
		log_limited(&limit_store, 3, LOG_LEVEL_ERROR,
			    "client %s cannot be noted in the state: %s", client->rec.name,
			    store_error(boot->store));
	save_steps(boot, client);
	boot_watch_arm(boot);

	n = ipxe_script_boot(text, sizeof(text),
			     &(struct ipxe_script_disk){
				     .client = client->rec.name,
				     .image = client->image,
				     .generation = job->chain.image.generation,
				     .server = client->server,
				     .iscsi_port = boot->config->iscsi_port,
				     .http_port = boot->config->http_port,
				     .iqn = job->disk.iqn,
				     .initiator = job->disk.initiator,
				     .user = job->disk.user,
				     .secret = job->disk.secret,
				     .ask_name = boot->config->ask_name && !client->rec.named &&
						 !boot_section(boot, client),
			     });
	answer_all(client, n > 0 ? text : "", n > 0 ? n : 0);
	explicit_bzero(text, sizeof(text));
}

/* Everything that the helper thread needs to know, copied. */
static struct boot_disk_job *make_job(struct boot *boot, struct boot_client *client,
				      const struct config_profile *profile,
				      const struct catalogue_chain *chain)
{
	struct boot_disk_job *job = calloc(1, sizeof(*job));
	const uint8_t *mac = client->rec.mac;

	if (!job)
		return NULL;
	job->client = client->rec.id;
	job->make = true;
	job->done = disk_ready;
	job->arg = boot;
	job->chain = *chain;
	job->keep = profile->keep == CONFIG_YES;
	job->set_name = profile->computer_name == CONFIG_YES;
	snprintf(job->name, sizeof(job->name), "%s", client->rec.name);
	snprintf(job->images_path, sizeof(job->images_path), "%s", boot->config->images_path);
	snprintf(job->overlay, sizeof(job->overlay), "%s", client->rec.overlay);
	snprintf(job->reset, sizeof(job->reset), "%s", client->rec.reset);
	boot_uuid(job->boot);
	snprintf(job->disk.id, sizeof(job->disk.id), "%lld-0", (long long)client->rec.id);
	name_iqn(boot, "disk", mac, job->disk.iqn);
	name_iqn(boot, "pc", mac, job->disk.initiator);
	snprintf(job->disk.user, sizeof(job->disk.user), "pc-%02x%02x%02x%02x%02x%02x", mac[0],
		 mac[1], mac[2], mac[3], mac[4], mac[5]);
	boot_secret(job->disk.secret);
	snprintf(job->disk.serial, sizeof(job->disk.serial), "%s", client->rec.overlay);
	job->disk.size = chain->image.virtual_size;
	job->disk.port = boot->config->iscsi_port;
	/* Also when we know of none: one of an earlier run may be half there. */
	snprintf(job->old_iqn, sizeof(job->old_iqn), "%s",
		 client->has_target ? client->iqn : job->disk.iqn);
	snprintf(job->old_disk, sizeof(job->old_disk), "%s", job->disk.id);
	return job;
}

static void start_disk(struct boot *boot, struct boot_client *client,
		       const struct config_profile *profile, const char *image)
{
	char error[CATALOGUE_ERROR_MAX];
	struct store_session session;
	struct catalogue_chain chain;
	struct boot_disk_job *job;

	snprintf(client->steps.image, sizeof(client->steps.image), "%s", image);
	if (!boot->targets) {
		boot_failed(boot, client,
			    "this server only serves DHCP and TFTP ([server] targets = off)",
			    false);
		return;
	}
	if (catalogue_resolve(boot->catalogue, image, &chain, error)) {
		/* The file may have come since the configuration was read. */
		catalogue_sync(boot->catalogue, boot->config);
		if (catalogue_resolve(boot->catalogue, image, &chain, error)) {
			boot_failed(boot, client, error, true);
			return;
		}
	}
	client->steps.generation = chain.image.generation;
	if (!client->rec.overlay[0]) {
		boot_uuid(client->rec.overlay);
		if (boot_clients_put(boot->clients, &client->rec, NULL)) {
			client->rec.overlay[0] = '\0';
			boot_failed(boot, client, "the server cannot write its state; see its log",
				    true);
			return;
		}
	}
	job = make_job(boot, client, profile, &chain);
	if (!job) {
		boot_failed(boot, client, "the server is out of memory", true);
		return;
	}
	if (boot_session_of(boot, client, &session) > 0 && boot_session_job(&session, job, error)) {
		free(job);
		boot_failed(boot, client, error, false);
		return;
	}
	if (boot_luns_job(boot, client, profile, job, error)) {
		free(job);
		boot_failed(boot, client, error, true);
		return;
	}
	client->state = BOOT_PREPARING;
	boot_disks_queue(boot->disks, job);
}

/* Why this asker does not get the PC's script; NULL: it does. */
static const char *refuse(const struct boot *boot, const struct boot_client *client,
			  uint32_t address)
{
	if (boot->config->dhcp_mode != CONFIG_DHCP_FULL)
		return NULL;
	if (client->rec.address && client->rec.address != address)
		return "this PC was given another address than the one that asks; restart it";
	if (boot->committing == client->rec.id)
		return "what it changed is being committed to its image; this takes some minutes";
	if (client->logged_in && client->ipxe_seen_ns < client->logged_in_ns)
		return "its disk is in use by a session that still runs; restart the PC to end it";
	return NULL;
}

static struct boot_client *find_client(struct boot *boot, uint32_t address, const uint8_t mac[6])
{
	static const uint8_t zero[6];
	struct boot_identity who = {.arch = 0xffff, .ipxe = true};

	if (!memcmp(mac, zero, 6))
		return boot_clients_by_address(boot->clients, address);
	/* As proxy we see no lease: the script is the first that is certain about the PC. */
	if (boot->config->dhcp_mode == CONFIG_DHCP_PROXY) {
		memcpy(who.mac, mac, 6);
		boot_leased(boot, &who, address, "");
	}
	return boot_clients_by_mac(boot->clients, mac);
}

void boot_script_image(struct boot *boot, uint32_t address, const uint8_t mac[6], uint32_t server,
		       const char *image, boot_script_fn done, void *arg)
{
	struct boot_client *client = find_client(boot, address, mac);
	struct store_session session = {};
	const struct config_profile *profile;
	const char *why;

	boot->stats.scripts++;
	if (!client) {
		send_message("this PC",
			     "the server does not know it: it got no address from this server, or "
			     "[clients] register is off",
			     true, done, arg);
		return;
	}
	why = refuse(boot, client, address);
	if (!why && client->waiters == BOOT_WAITERS_MAX)
		why = "it asks too often";
	if (why) {
		log_warning("client %s was refused its script: %s", client->rec.name, why);
		send_message(client->rec.name, why, true, done, arg);
		return;
	}
	client->server = server;
	profile = boot_profile(boot, boot_section(boot, client), &client->rec);
	if (boot_session_of(boot, client, &session) > 0) {
		image = session.image;
	} else if (!image && boot_send_capture(boot, client, profile, done, arg)) {
		return;
	}
	if (!image && profile->images > 1 && client->state != BOOT_PREPARING) {
		boot_send_menu(boot, client, profile, done, arg);
		return;
	}
	client->waiter[client->waiters++] = (struct boot_waiter){.done = done, .arg = arg};
	if (client->state == BOOT_PREPARING)
		return;
	begin_steps(client);
	if (image && !strcmp(image, session.image)) {
		start_disk(boot, client, profile, image);
		return;
	}
	if (!profile->images) {
		boot_failed(boot, client,
			    "no image is chosen for it: write image = NAME into [group default] or "
			    "its [client] section, or "
			    "use \"bootwell client set\"",
			    false);
		return;
	}
	if (!image)
		image = profile->image[0];
	for (unsigned int i = 0; i < profile->images; i++)
		if (!strcmp(profile->image[i], image)) {
			start_disk(boot, client, profile, profile->image[i]);
			return;
		}
	boot_failed(boot, client, "the image that was chosen is not among those that it may start",
		    true);
}

void boot_script(struct boot *boot, uint32_t address, const uint8_t mac[6], uint32_t server,
		 boot_script_fn done, void *arg)
{
	boot_script_image(boot, address, mac, server, NULL, done, arg);
}

void boot_send_menu(struct boot *boot, struct boot_client *client,
		    const struct config_profile *profile, boot_script_fn done, void *arg)
{
	const char *names[CONFIG_IMAGES];
	char text[IPXE_SCRIPT_MAX];
	int n;

	for (unsigned int i = 0; i < profile->images; i++)
		names[i] = profile->image[i];
	client->nbp_sent_ns = 0;
	n = ipxe_script_menu(text, sizeof(text), client->rec.name, client->server,
			     boot->config->http_port, names, profile->images, MENU_SECONDS);
	done(arg, n > 0 ? text : "", n > 0 ? n : 0);
}

void boot_script_name(struct boot *boot, uint32_t address, const uint8_t mac[6], const char *name,
		      boot_script_fn done, void *arg)
{
	struct boot_client *client = find_client(boot, address, mac);
	char error[BOOT_ERROR_MAX] = "this PC is not known", text[IPXE_SCRIPT_MAX];
	const char *wrong = error;
	int n;

	if (client && client->rec.address != address && boot->config->dhcp_mode == CONFIG_DHCP_FULL)
		client = NULL;
	if (client && (client->rec.named || !boot->config->ask_name))
		snprintf(error, sizeof(error), "this PC has its name already: %s",
			 client->rec.name);
	else if (client && !boot_change(boot, client->rec.name,
					&(struct boot_change){.name = name,
							      .keep = BOOT_UNCHANGED,
							      .upload = BOOT_UNCHANGED},
					error))
		wrong = NULL;
	n = ipxe_script_named(text, sizeof(text), wrong ? "" : client->rec.name, wrong);
	done(arg, n > 0 ? text : "", n > 0 ? n : 0);
}
