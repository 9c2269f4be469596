// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * JSON of what the daemon knows. Names and units of the members are an interface: docs/bootwell.1.scd, the page and
 * scripts read them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/control/alerts.h"
#include "daemon/control/parts.h"
#include "daemon/control/status.h"
#include "daemon/core/inet.h"
#include "daemon/core/log.h"
#include "daemon/target/disk_stats.h"

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
	set_text(object, key, a ? inet_text(a).s : "");
}

static void set_mac(json_t *object, const char *key, const uint8_t m[6])
{
	json_object_set_new(object, key, json_string(inet_mac_text(m).s));
}

/* As dmidecode and a person write it: the first three fields are little-endian on the wire. */
static void set_uuid(json_t *object, const char *key, const uint8_t u[16])
{
	char text[37];

	snprintf(text, sizeof(text), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[3], u[2],
		 u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
	json_object_set_new(object, key, json_string(text));
}

/* --- boots ------------------------------------------------------------------------------------ */

static json_t *boot_json(const struct state_boot *b)
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
				    steps[i].at && steps[i].at >= began ? json_real((steps[i].at - began) / 1e9)
									: json_null());
	json_object_set_new(boot, "seconds", list);
	if (b->settled_ns)
		json_object_set_new(boot, "idle",
				    json_pack("{s:I, s:f, s:f}", "gaps", (json_int_t)b->idle_gaps, "seconds",
					      b->idle_ns / 1e9, "longest_seconds", b->idle_longest_ns / 1e9));
	set_text(boot, "failure", b->failure);
	return boot;
}

static void add_boot(void *arg, const struct state_boot *b)
{
	json_array_append_new(arg, boot_json(b));
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
		   s->errors[STATS_READ] + s->errors[STATS_WRITE] + s->errors[STATS_FLUSH] + s->errors[STATS_UNMAP]);
	set_number(disk, "write_back_bytes", s->overlay_bytes);
	set_number(disk, "opens", s->opens);
	set_number(disk, "cache_hit_bytes", s->base_hit_bytes);
	set_number(disk, "cache_miss_bytes", s->base_miss_bytes);
	json_object_set_new(disk, "read_seconds", json_real(s->latency_ns[STATS_READ] / 1e9));
	json_object_set_new(disk, "write_seconds", json_real(s->latency_ns[STATS_WRITE] / 1e9));
	return disk;
}

static json_t *disks_json(const struct snapshot_client *c)
{
	static const char *const modes[] = {
		[CONFIG_DISK_READ_ONLY] = "read-only", [CONFIG_DISK_OWN] = "own", [CONFIG_DISK_KEEP] = "keep"};
	json_t *disks = json_array();

	for (unsigned int i = 0; i < c->extras; i++)
		json_array_append_new(disks, json_pack("{s:i, s:s, s:s}", "lun", (int)i + 1, "image", c->extra[i].image,
						       "mode", modes[c->extra[i].mode]));
	return disks;
}

/* The image that the client is updating; NULL: none. */
static const char *update_of(const struct status_source *s, int64_t client)
{
	for (size_t i = 0; s->rows && i < s->rows->sessions; i++)
		if (s->rows->session[i].client == client)
			return s->rows->session[i].image;
	return NULL;
}

/* Who it is, what it may start, what a person has set for it. */
static void set_identity(json_t *o, const struct snapshot_client *v)
{
	const struct state_client *c = &v->rec;
	json_t *images = json_array();

	set_text(o, "name", c->name);
	json_object_set_new(o, "named", json_boolean(c->named || v->has_section));
	set_text(o, "key", c->key);
	set_text(o, "state", boot_state_name(v->state));
	set_mac(o, "mac", c->mac);
	if (c->has_uuid)
		set_uuid(o, "uuid", c->uuid);
	set_address(o, "address", c->address);
	set_text(o, "group", v->section_group[0] ? v->section_group : c->group[0] ? c->group : "default");
	for (unsigned int i = 0; i < v->choices; i++)
		json_array_append_new(images, json_string(v->choice[i]));
	json_object_set_new(o, "images", images);
	json_object_set_new(o, "disks", disks_json(v));
	json_object_set_new(o, "keep", json_boolean(v->keep));
	json_object_set_new(o, "upload", json_boolean(v->upload));
	/* What a person has set for it beside the configuration; null: what configuration says. */
	json_object_set_new(o, "own",
			    json_pack("{s:s?, s:o, s:o}", "image", c->image[0] ? c->image : NULL, "keep",
				      c->keep < 0 ? json_null() : json_boolean(c->keep), "upload",
				      c->upload < 0 ? json_null() : json_boolean(c->upload)));
}

static json_t *client_json(const struct status_source *s, const struct snapshot_client *v)
{
	const struct state_client *c = &v->rec;
	const char *update = update_of(s, c->id);
	json_t *o = json_object();
	struct stats_disk stats;

	set_identity(o, v);
	if (update)
		set_text(o, "update_image", update);
	set_text(o, "firmware", boot_firmware_name(c->arch));
	set_text(o, "nbp", c->nbp);
	json_object_set_new(o, "nbp_failed", json_boolean(c->nbp_failed));
	if (v->has_section)
		set_number(o, "config_line", v->section_line);
	set_time(o, "first_seen", c->first_seen);
	set_time(o, "last_seen", c->last_seen);
	set_time(o, "last_boot", c->last_boot);
	set_text(o, "running_image", v->image);
	set_text(o, "session", v->session);
	if (v->boot.id || v->boot.script_ns)
		json_object_set_new(o, "boot", boot_json(&v->boot));
	if (v->has_target && !disk_stats_read(s->run, v->disk, &stats))
		json_object_set_new(o, "disk", disk_json(&stats));
	return o;
}

/* --- images ----------------------------------------------------------------------------------- */

struct images {
	const struct status_source *source;
	FILE *to;
	unsigned int n;
};

static bool uses(const struct snapshot_client *c, const struct state_image *image)
{
	for (unsigned int i = 0; i < c->uses; i++)
		if (!strcmp(c->use[i].image, image->name) &&
		    (!c->use[i].generation || c->use[i].generation == image->generation))
			return true;
	return false;
}

static json_t *users_json(const struct status_source *s, const struct state_image *image)
{
	json_t *users = json_array();
	int64_t updating = 0;

	for (size_t i = 0; s->rows && i < s->rows->sessions; i++)
		if (!strcmp(s->rows->session[i].image, image->name) &&
		    s->rows->session[i].generation == image->generation)
			updating = s->rows->session[i].client;
	for (size_t i = 0; i < s->snapshot->clients; i++) {
		const struct snapshot_client *c = s->snapshot->client[i];

		if (c->rec.id == updating || uses(c, image))
			json_array_append_new(users, json_string(c->rec.name));
	}
	return users;
}

/* One at a time: the text of thousands is small, their objects are not. */
static void print_object(FILE *to, unsigned int n, json_t *o)
{
	fputs(n ? ",\n" : "", to);
	json_dumpf(o, to, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);
	json_decref(o);
}

static void print_image(void *arg, const struct state_image *image)
{
	struct images *i = arg;
	json_t *o = json_object(), *users = users_json(i->source, image);
	enum image_outcome file_is = image_looks_find(i->source->looks, image->name, image->generation);
	int outcome = state_image_outcome(image);
	char path[600];

	set_text(o, "name", image->name);
	set_number(o, "generation", image->generation);
	json_object_set_new(o, "current", json_boolean(image->current));
	set_text(o, "file", image->file);
	snprintf(path, sizeof(path), "%s/%s", i->source->images, image->file);
	set_text(o, "path", path);
	set_text(o, "format", image->format);
	set_text(o, "id", image->image_id);
	set_text(o, "parent", image->parent_id);
	set_number(o, "size_bytes", image->virtual_size);
	set_number(o, "file_bytes", image->file_size);
	set_time(o, "added", image->added);
	set_time(o, "checked", image->checked);
	json_object_set_new(o, "check_failed", json_boolean(image->check_failed));
	json_object_set_new(o, "check",
			    outcome < 0 ? json_null() : json_string(image_outcome_word((enum image_outcome)outcome)));
	set_time(o, "check_missed", image->missed);
	json_object_set_new(o, "file_is", json_string(file_is == IMAGE_GOOD ? "there" : image_outcome_word(file_is)));
	json_object_set_new(o, "in_use", json_boolean(json_array_size(users) != 0));
	json_object_set_new(o, "users", users);
	print_object(i->to, i->n++, o);
}

/* --- the whole -------------------------------------------------------------------------------- */

static void add_check_problem(void *arg, const struct state_image *image)
{
	char text[400];

	if (image->check_failed) {
		snprintf(text, sizeof(text),
			 "image %s: generation %u does not hold what it held when it was made; \"bootwell image "
			 "rollback %s\" goes back to another one",
			 image->name, image->generation, image->name);
		json_array_append_new(arg, json_string(text));
	}
	/* One that is absent is a problem as long as it is: of the image watch. */
	if (image->missed && image->missed_why == IMAGE_UNREADABLE) {
		snprintf(text, sizeof(text),
			 "image %s: generation %u could not be read when it was to be verified, so whether it is as it "
			 "was is not known: look at the disk that it lies on (journalctl -k), then \"bootwell image "
			 "verify %s\"",
			 image->name, image->generation, image->name);
		json_array_append_new(arg, json_string(text));
	}
}

static json_t *problems_json(struct daemon *d)
{
	json_t *list = json_array();
	char text[1400];
	const char *p;

	if (d->config_refused[0]) {
		snprintf(text, sizeof(text), "a newer configuration was refused, the old one is in use: %s",
			 d->config_refused);
		json_array_append_new(list, json_string(text));
	}
	for (unsigned int i = 0; (p = keeper_problem(d->keeper, i)); i++)
		json_array_append_new(list, json_string(p));
	for (unsigned int i = 0; (p = dhcp_server_problem(d->dhcp, i)); i++)
		json_array_append_new(list, json_string(p));
	for (unsigned int i = 0; (p = tftp_server_problem(d->tftp, i)); i++)
		json_array_append_new(list, json_string(p));
	for (unsigned int i = 0; (p = image_watch_problem(d->image_watch, i)); i++)
		json_array_append_new(list, json_string(p));
	for (unsigned int i = 0; !image_watch_folder_away(d->image_watch) && (p = catalogue_problem(d->catalogue, i));
	     i++)
		json_array_append_new(list, json_string(p));
	p = upload_service_problem(d->uploads);
	if (p)
		json_array_append_new(list, json_string(p));
	if (d->http_problem[0])
		json_array_append_new(list, json_string(d->http_problem));
	for (unsigned int i = 0; (p = alerts_problem(d->alerts, i)); i++)
		json_array_append_new(list, json_string(p));
	for (unsigned int i = 0; i < d->rogues; i++) {
		const struct dhcp_scan_server *s = &d->rogue[i];

		snprintf(text, sizeof(text), "another DHCP server answers on %s: %s (%s); stop one of the two",
			 s->interface, inet_text(s->server).s, inet_mac_text(s->mac).s);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

static json_t *dhcp_json(const struct daemon *d)
{
	static const char *const modes[] = {"off", "full", "proxy"};
	const struct dhcp_stats *s = dhcp_server_stats(d->dhcp);
	json_t *o = json_object(), *subnets = json_array();
	struct dhcp_subnet_stats usage;

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
		if (dhcp_server_subnet(d->dhcp, (unsigned int)i, &usage)) {
			set_number(one, "addresses", usage.addresses);
			set_number(one, "leases", usage.leases);
			set_number(one, "offers", usage.offers);
			set_number(one, "quarantined", usage.quarantined);
			json_object_set_new(one, "full", json_boolean(usage.full));
		}
		json_array_append_new(subnets, one);
	}
	json_object_set_new(o, "subnets", subnets);
	if (dhcp_server_peer(d->dhcp) != DHCP_PEER_NONE)
		set_text(o, "peer", dhcp_server_peer(d->dhcp) == DHCP_PEER_ALIVE ? "alive" : "silent");
	set_time(o, "scanned", d->scanned);
	json_object_set_new(o, "foreign_servers", dhcp_scan_json(d->rogue, d->rogues));
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

static json_t *store_json(const char *run)
{
	struct stats_store s;
	json_t *o;

	if (disk_stats_store(run, &s))
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
	struct upload_store *store = upload_service_store(d->uploads);
	char *text = store ? upload_status_json(store) : NULL;
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

static json_t *server_json(struct daemon *d)
{
	json_t *server = json_object();

	set_text(server, "name", d->config->server_name);
	set_text(server, "version", BOOTWELL_VERSION);
	set_time(server, "started", d->started);
	set_text(server, "config", d->config->file);
	set_text(server, "state_path", d->config->state_path);
	set_time(server, "config_read", d->config_read);
	set_text(server, "config_refused", d->config_refused);
	json_object_set_new(server, "targets", json_boolean(d->targets != NULL));
	json_object_set_new(server, "operator", json_boolean(d->config->token[0] || d->config->operators));
	json_object_set_new(server, "loop_gap_seconds", json_real(loop_longest_gap(d->loop) / 1e9));
	json_object_set_new(server, "https",
			    d->tls_key ? json_pack("{s:s, s:s}", "certificate_sha256", d->tls_names.certificate,
						   "key_sha256", d->tls_names.key)
				       : json_null());
	return server;
}

/* --- sources ---------------------------------------------------------------------------------- */

void status_source_init(struct status_source *s, struct daemon *d, struct snapshot *snapshot)
{
	memset(s, 0, sizeof(*s));
	s->snapshot = snapshot_ref(snapshot);
	s->reader = d->reader;
	s->rows = state_rows(d->state);
	s->looks = image_watch_looks(d->image_watch);
	snprintf(s->run, sizeof(s->run), "%s", d->config->run_path);
	snprintf(s->images, sizeof(s->images), "%s", d->config->images_path);
}

void status_source_all(struct status_source *s, struct daemon *d)
{
	s->server = server_json(d);
	s->problems = problems_json(d);
	s->dhcp = dhcp_json(d);
	s->tftp = tftp_json(d);
	s->uploads = uploads_json(d);
	s->commit = commit_service_json(d->commits);
	s->history = monitor_history(d->monitor);
}

void status_source_done(struct status_source *s)
{
	json_t *const parts[] = {s->server, s->problems, s->dhcp, s->tftp, s->uploads, s->commit, s->history};

	for (unsigned int i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		json_decref(parts[i]);
	snapshot_unref(s->snapshot);
	image_looks_unref(s->looks);
	state_rows_unref(s->rows);
	memset(s, 0, sizeof(*s));
}

/* --- printing: any thread --------------------------------------------------------------------- */

static void print_clients(const struct status_source *s, FILE *to)
{
	fputs("[", to);
	for (size_t i = 0; i < s->snapshot->clients; i++)
		print_object(to, i, client_json(s, s->snapshot->client[i]));
	fputs("]", to);
}

static void print_images(const struct status_source *s, FILE *to)
{
	struct images images = {.source = s, .to = to};

	fputs("[", to);
	state_rows_each(s->rows, print_image, &images);
	fputs("]", to);
}

static void print_part(FILE *to, const char *name, json_t *part)
{
	fprintf(to, "\"%s\": ", name);
	print_object(to, 0, json_incref(part));
	fputs(",\n", to);
}

static void print_own(FILE *to, const char *name, json_t *part)
{
	print_part(to, name, part);
	json_decref(part);
}

static void print_all(const struct status_source *s, FILE *to)
{
	state_rows_each(s->rows, add_check_problem, s->problems);
	if (!s->rows)
		json_array_append_new(s->problems, json_string("the state cannot be read for the status; images are "
							       "not shown"));
	fputs("{", to);
	print_part(to, "server", s->server);
	print_part(to, "problems", s->problems);
	print_part(to, "dhcp", s->dhcp);
	print_part(to, "tftp", s->tftp);
	fputs("\"images\": ", to);
	print_images(s, to);
	fputs(",\n", to);
	print_part(to, "uploads", s->uploads);
	print_part(to, "commit", s->commit);
	fputs("\"clients\": ", to);
	print_clients(s, to);
	fputs(",\n", to);
	print_own(to, "store", store_json(s->run));
	print_part(to, "history", s->history);
	fputs("\"log\": ", to);
	print_object(to, 0, log_json());
	fputs("}\n", to);
}

static void print_boots(const struct status_source *s, FILE *to)
{
	struct state *state = reader_enter(s->reader);
	json_t *list = json_array();

	if (state && s->snapshot->clients)
		state_boot_each(state, s->snapshot->client[0]->rec.id, STATE_BOOTS_KEPT, add_boot, list);
	reader_leave(s->reader);
	print_object(to, 0, list);
}

char *status_print(struct status_source *s, enum status_what what, size_t *ret_length)
{
	char *text = NULL;
	FILE *to = open_memstream(&text, ret_length);
	bool failed;

	if (!to)
		return NULL;
	if (what == STATUS_ALL)
		print_all(s, to);
	else if (what == STATUS_CLIENTS)
		print_clients(s, to);
	else if (what == STATUS_IMAGES)
		print_images(s, to);
	else if (what == STATUS_BOOTS)
		print_boots(s, to);
	else if (s->snapshot->clients)
		print_object(to, 0, client_json(s, s->snapshot->client[0]));
	failed = ferror(to) || s->snapshot->failed;
	if (fclose(to) || failed) {
		free(text);
		return NULL;
	}
	return text;
}
