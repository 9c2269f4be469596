// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/disk_stats.h"
#include "daemon/log.h"
#include "daemon/status.h"

static void set_text(json_t *object, const char *key, const char *text)
{
	json_object_set_new(object, key, *text ? json_string(text) : json_null());
}

static void set_number(json_t *object, const char *key, uint64_t n)
{
	json_object_set_new(object, key, json_integer((json_int_t)n));
}

/* Seconds since 1970 as ISO 8601 in UTC; 0 is null. */
static void set_time(json_t *object, const char *key, int64_t when)
{
	char text[32];
	time_t t = when;
	struct tm tm;

	if (!when) {
		json_object_set_new(object, key, json_null());
		return;
	}
	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	json_object_set_new(object, key, json_string(text));
}

static void set_address(json_t *object, const char *key, uint32_t a)
{
	char text[16];

	snprintf(text, sizeof(text), "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
	set_text(object, key, a ? text : "");
}

static void set_mac(json_t *object, const char *key, const uint8_t m[6])
{
	char text[18];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	json_object_set_new(object, key, json_string(text));
}

/* As dmidecode and a person write it: the first three fields are little-endian on the wire. */
static void set_uuid(json_t *object, const char *key, const uint8_t u[16])
{
	char text[37];

	snprintf(text, sizeof(text),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[3], u[2],
		 u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		 u[15]);
	json_object_set_new(object, key, json_string(text));
}

/* --- boots ------------------------------------------------------------------------------------ */

static json_t *boot_json(const struct store_boot *b)
{
	const struct {
		const char *name;
		uint64_t at;
	} steps[] = {
		{"dhcp", b->dhcp_ns},
		{"tftp", b->tftp_ns},
		{"ipxe", b->ipxe_ns},
		{"script", b->script_ns},
		{"ready", b->ready_ns},
		{"login", b->login_ns},
		{"first_read", b->first_read_ns},
		{"settled", b->settled_ns},
	};
	uint64_t began = b->dhcp_ns ? b->dhcp_ns : b->script_ns;
	json_t *boot = json_object(), *list = json_object();

	set_time(boot, "began", began / 1000000000);
	set_text(boot, "image", b->image);
	set_number(boot, "generation", b->generation);
	for (unsigned int i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		json_object_set_new(list, steps[i].name,
				    steps[i].at && steps[i].at >= began
					    ? json_real((steps[i].at - began) / 1e9)
					    : json_null());
	json_object_set_new(boot, "seconds", list);
	if (b->settled_ns)
		json_object_set_new(boot, "idle",
				    json_pack("{s:I, s:f, s:f}", "gaps", (json_int_t)b->idle_gaps, "seconds", b->idle_ns / 1e9,
					      "longest_seconds", b->idle_longest_ns / 1e9));
	set_text(boot, "failure", b->failure);
	return boot;
}

static void add_boot(void *arg, const struct store_boot *b)
{
	json_array_append_new(arg, boot_json(b));
}

struct find_id {
	int64_t id;
};

static void take_id(void *arg, const struct boot_view *v)
{
	((struct find_id *)arg)->id = v->client->id;
}

json_t *status_boots(struct daemon *d, const char *client)
{
	struct find_id find = {};
	json_t *list;

	if (boot_view_name(d->boot, client, take_id, &find))
		return NULL;
	list = json_array();
	store_boot_each(d->store, find.id, STORE_BOOTS_KEPT, add_boot, list);
	return list;
}

/* --- clients ---------------------------------------------------------------------------------- */

static json_t *disk_json(const struct stats_disk *s)
{
	json_t *disk = json_object();

	set_number(disk, "read_bytes", s->bytes[STATS_READ]);
	set_number(disk, "written_bytes", s->bytes[STATS_WRITE]);
	set_number(disk, "reads", s->ops[STATS_READ]);
	set_number(disk, "writes", s->ops[STATS_WRITE]);
	set_number(disk, "flushes", s->ops[STATS_FLUSH]);
	set_number(disk, "errors",
		   s->errors[STATS_READ] + s->errors[STATS_WRITE] + s->errors[STATS_FLUSH] +
			   s->errors[STATS_UNMAP]);
	set_number(disk, "write_back_bytes", s->overlay_bytes);
	set_number(disk, "opens", s->opens);
	set_number(disk, "cache_hit_bytes", s->base_hit_bytes);
	set_number(disk, "cache_miss_bytes", s->base_miss_bytes);
	json_object_set_new(disk, "read_seconds", json_real(s->latency_ns[STATS_READ] / 1e9));
	json_object_set_new(disk, "write_seconds", json_real(s->latency_ns[STATS_WRITE] / 1e9));
	return disk;
}

static const char *arch_name(uint16_t arch)
{
	switch (arch) {
	case 0:
		return "bios";
	case 6:
		return "uefi-ia32";
	case 7:
	case 9:
		return "uefi-x64";
	case 10:
		return "uefi-arm32";
	case 11:
		return "uefi-arm64";
	case 15:
		return "http-ia32";
	case 16:
		return "http-x64";
	case 19:
		return "http-arm64";
	case 20:
		return "http-bios";
	case 27:
		return "uefi-riscv64";
	case 0xffff:
		return "";
	default:
		return "other";
	}
}

static json_t *disks_json(const struct config_profile *profile)
{
	static const char *const modes[] = {
		[CONFIG_DISK_READ_ONLY] = "read-only", [CONFIG_DISK_OWN] = "own", [CONFIG_DISK_KEEP] = "keep"};
	json_t *disks = json_array();

	for (unsigned int i = 0; i < profile->disks; i++)
		json_array_append_new(disks, json_pack("{s:i, s:s, s:s}", "lun", (int)i + 1, "image", profile->disk[i].image, "mode",
						       modes[profile->disk[i].mode]));
	return disks;
}

static json_t *client_json(const struct daemon *d, const struct boot_view *v)
{
	const struct store_client *c = v->client;
	json_t *o = json_object(), *images = json_array();
	struct store_session session;
	struct stats_disk stats;

	set_text(o, "name", c->name);
	json_object_set_new(o, "named", json_boolean(c->named || v->section));
	set_text(o, "state", boot_state_name(v->state));
	set_mac(o, "mac", c->mac);
	if (c->has_uuid)
		set_uuid(o, "uuid", c->uuid);
	set_address(o, "address", c->address);
	set_text(o, "group",
		 v->section && v->section->group[0] ? v->section->group
		 : c->group[0]                      ? c->group
						    : "default");
	for (unsigned int i = 0; i < v->profile->images; i++)
		json_array_append_new(images, json_string(v->profile->image[i]));
	json_object_set_new(o, "images", images);
	json_object_set_new(o, "disks", disks_json(v->profile));
	json_object_set_new(o, "keep", json_boolean(v->profile->keep == CONFIG_YES));
	json_object_set_new(o, "upload", json_boolean(v->profile->upload == CONFIG_YES));
	/* What a person has set for it beside the configuration; null: what configuration says. */
	json_object_set_new(o, "own",
			    json_pack("{s:s?, s:o, s:o}", "image", c->image[0] ? c->image : NULL, "keep",
				      c->keep < 0 ? json_null() : json_boolean(c->keep), "upload",
				      c->upload < 0 ? json_null() : json_boolean(c->upload)));
	if (store_session_by_client(d->store, c->id, &session) > 0)
		set_text(o, "update_image", session.image);
	set_text(o, "firmware", arch_name(c->arch));
	set_text(o, "nbp", c->nbp);
	json_object_set_new(o, "nbp_failed", json_boolean(c->nbp_failed));
	if (v->section)
		set_number(o, "config_line", v->section->line);
	set_time(o, "first_seen", c->first_seen);
	set_time(o, "last_seen", c->last_seen);
	set_time(o, "last_boot", c->last_boot);
	set_text(o, "running_image", v->image);
	set_text(o, "session", v->session_address);
	if (v->boot->id || v->boot->script_ns)
		json_object_set_new(o, "boot", boot_json(v->boot));
	if (v->has_target && !disk_stats_read(d->config->run_path, v->disk, &stats))
		json_object_set_new(o, "disk", disk_json(&stats));
	return o;
}

struct list {
	struct daemon *d;
	json_t *json;
};

static void add_client(void *arg, const struct boot_view *v)
{
	struct list *list = arg;

	json_array_append_new(list->json, client_json(list->d, v));
}

static void one_client(void *arg, const struct boot_view *v)
{
	struct list *list = arg;

	list->json = client_json(list->d, v);
}

json_t *status_clients(struct daemon *d)
{
	struct list list = {.d = d, .json = json_array()};

	boot_each(d->boot, add_client, &list);
	return list.json;
}

json_t *status_client(struct daemon *d, const char *name)
{
	struct list list = {.d = d};

	boot_view_name(d->boot, name, one_client, &list);
	return list.json;
}

/* --- images ----------------------------------------------------------------------------------- */

static void add_name(void *arg, const char *name)
{
	json_array_append_new(arg, json_string(name));
}

static void add_image(void *arg, const struct store_image *image)
{
	struct list *list = arg;
	json_t *o = json_object(), *users = json_array();
	char path[600];

	set_text(o, "name", image->name);
	set_number(o, "generation", image->generation);
	json_object_set_new(o, "current", json_boolean(image->current));
	set_text(o, "file", image->file);
	snprintf(path, sizeof(path), "%s/%s", list->d->config->images_path, image->file);
	set_text(o, "path", path);
	set_text(o, "format", image->format);
	set_text(o, "id", image->image_id);
	set_text(o, "parent", image->parent_id);
	set_number(o, "size_bytes", image->virtual_size);
	set_number(o, "file_bytes", image->file_size);
	set_time(o, "added", image->added);
	set_time(o, "checked", image->checked);
	json_object_set_new(o, "check_failed", json_boolean(image->check_failed));
	boot_image_users(list->d->boot, image->name, image->generation, add_name, users);
	json_object_set_new(o, "in_use", json_boolean(json_array_size(users) != 0));
	json_object_set_new(o, "users", users);
	json_array_append_new(list->json, o);
}

json_t *status_images(struct daemon *d)
{
	struct list list = {.d = d, .json = json_array()};

	store_image_each(d->store, add_image, &list);
	return list.json;
}

/* --- the whole -------------------------------------------------------------------------------- */

json_t *status_servers(const struct dhcp_scan_server *servers, unsigned int count)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < count; i++) {
		const struct dhcp_scan_server *s = &servers[i];
		json_t *o = json_object();

		set_text(o, "interface", s->interface);
		set_address(o, "server", s->server);
		set_address(o, "source", s->source);
		set_mac(o, "mac", s->mac);
		set_address(o, "offers", s->offered);
		set_address(o, "router", s->router);
		set_address(o, "next_server", s->next_server);
		set_text(o, "boot_file", s->boot_file);
		set_number(o, "lease_seconds", s->lease_time);
		json_array_append_new(list, o);
	}
	return list;
}

static void add_check_problem(void *arg, const struct store_image *image)
{
	char text[400];

	if (!image->check_failed)
		return;
	snprintf(text, sizeof(text),
		 "image %s: generation %u does not hold what it held when it was made; \"bootwell image rollback %s\" goes back to another one",
		 image->name, image->generation, image->name);
	json_array_append_new(arg, json_string(text));
}

static json_t *problems_json(struct daemon *d)
{
	json_t *list = json_array();
	char text[1400];
	const char *p;

	if (d->config_refused[0]) {
		snprintf(text, sizeof(text),
			 "a newer configuration was refused, the old one is in use: %s",
			 d->config_refused);
		json_array_append_new(list, json_string(text));
	}
	for (unsigned int i = 0; (p = dhcp_server_problem(d->dhcp, i)); i++)
		json_array_append_new(list, json_string(p));
	for (unsigned int i = 0; (p = tftp_server_problem(d->tftp, i)); i++)
		json_array_append_new(list, json_string(p));
	for (unsigned int i = 0; (p = catalogue_problem(d->catalogue, i)); i++)
		json_array_append_new(list, json_string(p));
	store_image_each(d->store, add_check_problem, list);
	if (d->upload_problem[0])
		json_array_append_new(list, json_string(d->upload_problem));
	if (d->http_problem[0])
		json_array_append_new(list, json_string(d->http_problem));
	for (unsigned int i = 0; i < d->rogues; i++) {
		const struct dhcp_scan_server *s = &d->rogue[i];

		snprintf(text, sizeof(text),
			 "another DHCP server answers on %s: %u.%u.%u.%u "
			 "(%02x:%02x:%02x:%02x:%02x:%02x); stop one of the two",
			 s->interface, s->server >> 24, s->server >> 16 & 255, s->server >> 8 & 255,
			 s->server & 255, s->mac[0], s->mac[1], s->mac[2], s->mac[3], s->mac[4],
			 s->mac[5]);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

static json_t *dhcp_json(const struct daemon *d)
{
	static const char *const modes[] = {"off", "full", "proxy"};
	const struct dhcp_stats *s = dhcp_server_stats(d->dhcp);
	json_t *o = json_object(), *subnets = json_array();

	set_text(o, "mode", modes[d->config->dhcp_mode]);
	set_number(o, "leases", s->leases);
	set_number(o, "addresses", s->addresses);
	for (size_t i = 0; i < d->config->subnets; i++) {
		const struct config_subnet *subnet = &d->config->subnet[i];
		json_t *one = json_object();

		set_text(one, "name", subnet->name);
		set_text(one, "interface", subnet->interface);
		set_address(one, "network", subnet->network);
		set_number(one, "prefix", subnet->prefix);
		json_array_append_new(subnets, one);
	}
	json_object_set_new(o, "subnets", subnets);
	set_time(o, "scanned", d->scanned);
	json_object_set_new(o, "foreign_servers", status_servers(d->rogue, d->rogues));
	return o;
}

static json_t *tftp_json(const struct daemon *d)
{
	const struct tftp_stats *s = tftp_server_stats(d->tftp);
	json_t *o = json_object(), *blocks = json_object(), *links = json_array();
	struct tftp_link link;

	json_object_set_new(o, "enabled", json_boolean(d->config->tftp));
	set_text(o, "root", d->config->tftp_root);
	set_number(o, "requests", s->requests);
	set_number(o, "completed", s->completed);
	set_number(o, "sessions", s->sessions);
	for (unsigned int i = 0; i < TFTP_PATHS; i++)
		set_number(blocks, tftp_path_name(i), s->blocks[i]);
	json_object_set_new(o, "blocks", blocks);
	for (unsigned int i = 0; tftp_server_link(d->tftp, i, &link); i++) {
		json_t *one = json_object();

		set_text(one, "interface", link.interface);
		set_text(one, "path", link.path);
		set_text(one, "why", link.why);
		json_array_append_new(links, one);
	}
	json_object_set_new(o, "links", links);
	return o;
}

static json_t *store_json(const struct daemon *d)
{
	struct stats_store s;
	json_t *o;

	if (disk_stats_store(d->config->run_path, &s))
		return json_null();
	o = json_object();
	set_number(o, "size_bytes", s.size_bytes);
	set_number(o, "used_bytes", s.used_bytes);
	json_object_set_new(o, "failed", json_boolean(s.failed));
	set_number(o, "cache_bytes", s.cache_bytes);
	set_number(o, "cache_hits", s.cache_hits);
	set_number(o, "cache_misses", s.cache_misses);
	return o;
}

static json_t *uploads_json(struct daemon *d)
{
	char *text = d->uploads ? upload_status_json(upload_service_store(d->uploads)) : NULL;
	json_t *list = text ? json_loads(text, 0, NULL) : NULL;

	free(text);
	return list ? list : json_array();
}

static json_t *log_json(void)
{
	json_t *log = json_array();
	struct log_entry entry;

	for (unsigned int i = 0; log_recent(i, &entry); i++) {
		json_t *o = json_object();

		set_time(o, "time", entry.time);
		set_text(o, "level", log_level_name(entry.level));
		set_text(o, "text", entry.text);
		json_array_append_new(log, o);
	}
	return log;
}

json_t *status_all(struct daemon *d)
{
	json_t *all = json_object(), *server = json_object();

	set_text(server, "name", d->config->server_name);
	set_text(server, "version", BOOTWELL_VERSION);
	set_time(server, "started", d->started);
	set_text(server, "config", d->config->file);
	set_time(server, "config_read", d->config_read);
	set_text(server, "config_refused", d->config_refused);
	json_object_set_new(server, "targets", json_boolean(d->targets != NULL));
	json_object_set_new(server, "operator", json_boolean(d->config->token[0] != '\0'));
	json_object_set_new(all, "server", server);
	json_object_set_new(all, "problems", problems_json(d));
	json_object_set_new(all, "dhcp", dhcp_json(d));
	json_object_set_new(all, "tftp", tftp_json(d));
	json_object_set_new(all, "images", status_images(d));
	json_object_set_new(all, "uploads", uploads_json(d));
	json_object_set_new(all, "commit", commit_service_json(d->commits));
	json_object_set_new(all, "clients", status_clients(d));
	json_object_set_new(all, "store", store_json(d));
	json_object_set_new(all, "history", monitor_history(d->monitor));
	json_object_set_new(all, "log", log_json());
	return all;
}
