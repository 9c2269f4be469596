// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What may stand in the configuration file: one table of keys, each with its section, its parser
 * and the place of its value. A key that is missing in the table does not exist: it is refused,
 * with the nearest one that does.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/config_parse.h"
#include "daemon/config_value.h"
#include "daemon/log.h"

/* --- the table of keys --- */

/* Parses `text` into `field`; `size` is that of the table. Returns NULL or what is wrong. */
typedef const char *(*key_fn)(struct config_reader *reader, const char *text, void *field,
			      size_t size);

struct key {
	enum config_section section;
	const char *name;
	key_fn parse;
	size_t offset; /* in struct config, or in the section's own structure */
	size_t size;   /* of a text; the least and most of a number are with its parser */
};

static const char *key_text(struct config_reader *reader, const char *text, void *field,
			    size_t size)
{
	(void)reader;
	return value_text(text, field, size);
}

static const char *key_name(struct config_reader *reader, const char *text, void *field,
			    size_t size)
{
	(void)reader;
	return value_name(text, field, size);
}

static const char *key_path(struct config_reader *reader, const char *text, void *field,
			    size_t size)
{
	(void)reader;
	return value_path(text, field, size);
}

static const char *key_beneath(struct config_reader *reader, const char *text, void *field,
			       size_t size)
{
	(void)reader;
	return value_beneath(text, field, size);
}

static const char *key_bool(struct config_reader *reader, const char *text, void *field,
			    size_t size)
{
	(void)reader;
	(void)size;
	return value_bool(text, field);
}

static const char *key_tristate(struct config_reader *reader, const char *text, void *field,
				size_t size)
{
	const char *wrong;
	bool yes;

	(void)reader;
	(void)size;
	wrong = value_bool(text, &yes);
	if (!wrong)
		*(enum config_tristate *)field = yes ? CONFIG_YES : CONFIG_NO;
	return wrong;
}

static const char *key_size(struct config_reader *reader, const char *text, void *field,
			    size_t size)
{
	(void)reader;
	(void)size;
	return value_size(text, field);
}

static const char *key_duration(struct config_reader *reader, const char *text, void *field,
				size_t least)
{
	static char text_least[48];
	const char *wrong;
	uint32_t s;

	(void)reader;
	wrong = value_duration(text, &s);
	if (!wrong && s < least) {
		snprintf(text_least, sizeof(text_least), "is too short: %zus at least", least);
		return text_least;
	}
	if (!wrong)
		*(uint32_t *)field = s;
	return wrong;
}

static const char *key_port(struct config_reader *reader, const char *text, void *field,
			    size_t size)
{
	const char *wrong;
	uint64_t n;

	(void)reader;
	(void)size;
	wrong = value_number(text, 1, 65535, &n);
	if (!wrong)
		*(uint16_t *)field = n;
	return wrong;
}

static const char *key_blksize(struct config_reader *reader, const char *text, void *field,
			       size_t size)
{
	const char *wrong;
	uint64_t n;

	(void)reader;
	(void)size;
	wrong = value_number(text, 512, 65464, &n);
	if (!wrong)
		*(uint16_t *)field = n;
	return wrong;
}

static const char *key_windowsize(struct config_reader *reader, const char *text, void *field,
				  size_t size)
{
	const char *wrong;
	uint64_t n;

	(void)reader;
	(void)size;
	wrong = value_number(text, 1, 64, &n);
	if (!wrong)
		*(uint16_t *)field = n;
	return wrong;
}

static const char *key_u32(struct config_reader *reader, const char *text, void *field, size_t most)
{
	const char *wrong;
	uint64_t n;

	(void)reader;
	wrong = value_number(text, 1, most, &n);
	if (!wrong)
		*(uint32_t *)field = n;
	return wrong;
}

static const char *key_threads(struct config_reader *reader, const char *text, void *field,
			       size_t size)
{
	const char *wrong;
	uint64_t n;

	(void)reader;
	(void)size;
	wrong = value_number(text, 0, 64, &n);
	if (!wrong)
		*(unsigned int *)field = n;
	return wrong;
}

static const char *key_address(struct config_reader *reader, const char *text, void *field,
			       size_t size)
{
	(void)reader;
	(void)size;
	return value_address(text, field);
}

static const char *key_addresses(struct config_reader *reader, const char *text, void *field,
				 size_t size)
{
	(void)reader;
	(void)size;
	return value_addresses(text, field);
}

static const char *key_iqn(struct config_reader *reader, const char *text, void *field, size_t size)
{
	(void)reader;
	return value_iqn(text, field, size);
}

static const char *key_pattern(struct config_reader *reader, const char *text, void *field,
			       size_t size)
{
	(void)reader;
	return value_pattern(text, field, size);
}

static const char *key_mode(struct config_reader *reader, const char *text, void *field,
			    size_t size)
{
	static const char *const names[] = {"off", "full", "proxy"};

	(void)reader;
	(void)size;
	for (unsigned int i = 0; i < 3; i++)
		if (!strcmp(text, names[i])) {
			*(enum config_dhcp_mode *)field = i;
			return NULL;
		}
	return "is not a mode: full (the network's DHCP server), proxy (beside another one) or off";
}

static const char *key_log(struct config_reader *reader, const char *text, void *field, size_t size)
{
	static const char *const names[] = {"error", "warning", "notice", "info", "debug"};

	(void)reader;
	(void)size;
	for (unsigned int i = 0; i < 5; i++)
		if (!strcmp(text, names[i])) {
			*(int *)field = LOG_LEVEL_ERROR + i;
			return NULL;
		}
	return "is not a level: error, warning, notice, info or debug";
}

static const char *key_fastpath(struct config_reader *reader, const char *text, void *field,
				size_t size)
{
	(void)reader;
	if (strcmp(text, "auto") && strcmp(text, "xdp") && strcmp(text, "tc") &&
	    strcmp(text, "off"))
		return "is not a way to answer: auto, xdp, tc or off";
	return value_text(text, field, size);
}

static const char *key_format(struct config_reader *reader, const char *text, void *field,
			      size_t size)
{
	(void)reader;
	if (strcmp(text, "raw") && strcmp(text, "vhd") && strcmp(text, "vmdk"))
		return "is not a format: raw, vhd or vmdk";
	return value_text(text, field, size);
}

static const char *key_image_size(struct config_reader *reader, const char *text, void *field,
				  size_t size)
{
	const char *wrong;
	uint64_t n;

	(void)reader;
	(void)size;
	wrong = value_size(text, &n);
	if (!wrong && (!n || n % 512))
		return "is not a size of whole sectors of 512 bytes";
	if (!wrong)
		*(uint64_t *)field = n;
	return wrong;
}

static const char *key_mac(struct config_reader *reader, const char *text, void *field, size_t size)
{
	struct config_client *client = field;
	const char *wrong = value_mac(text, client->mac);

	(void)reader;
	(void)size;
	client->has_mac = !wrong;
	return wrong;
}

static const char *key_uuid(struct config_reader *reader, const char *text, void *field,
			    size_t size)
{
	struct config_client *client = field;
	const char *wrong = value_uuid(text, client->uuid);

	(void)reader;
	(void)size;
	client->has_uuid = !wrong;
	return wrong;
}

static const char *key_ranges(struct config_reader *reader, const char *text, void *field,
			      size_t size)
{
	struct config_subnet *subnet = field;

	(void)reader;
	(void)size;
	return value_ranges(text, subnet->range, &subnet->ranges);
}

static const char *key_excludes(struct config_reader *reader, const char *text, void *field,
				size_t size)
{
	struct config_subnet *subnet = field;

	(void)reader;
	(void)size;
	return value_ranges(text, subnet->exclude, &subnet->excludes);
}

static const char *key_network(struct config_reader *reader, const char *text, void *field,
			       size_t size)
{
	struct config_subnet *subnet = field;

	(void)reader;
	(void)size;
	return value_network(text, &subnet->network, &subnet->prefix);
}

static const char *refer(struct config_reader *reader, int what, const char *name)
{
	struct config_parser *p = &reader->parser;
	struct config_reference *more =
		reallocarray(p->reference, p->references + 1, sizeof(*more));

	if (!more) {
		reader->out_of_memory = true;
		return NULL;
	}
	p->reference = more;
	more += p->references++;
	more->line = p->line;
	more->what = what;
	snprintf(more->name, sizeof(more->name), "%s", name);
	snprintf(more->from, sizeof(more->from), "%s", reader->label);
	return NULL;
}

static const char *key_group(struct config_reader *reader, const char *text, void *field,
			     size_t size)
{
	const char *wrong = value_name(text, field, size);

	return wrong ? wrong : refer(reader, CONFIG_REFERENCE_GROUP, field);
}

static const char *key_images(struct config_reader *reader, const char *text, void *field,
			      size_t size)
{
	struct config_profile *profile = field;

	(void)size;
	profile->images = 0;
	while (*(text += strspn(text, ", \t"))) {
		size_t n = strcspn(text, ", \t");
		char name[CONFIG_NAME_MAX];
		const char *wrong;

		if (n >= sizeof(name))
			return "has a name of more than 63 characters";
		if (profile->images == CONFIG_IMAGES)
			return "has more than 8 images";
		memcpy(name, text, n);
		name[n] = '\0';
		wrong = value_name(name, profile->image[profile->images], CONFIG_NAME_MAX);
		if (wrong)
			return wrong;
		refer(reader, CONFIG_REFERENCE_IMAGE, name);
		profile->images++;
		text += n;
	}
	return profile->images ? NULL : "names no image";
}

/* "NAME" or "NAME MODE", `n` bytes of text. */
static const char *take_disk(struct config_reader *reader, const char *text, size_t n, struct config_disk *ret)
{
	static const char *const modes[] = {"read-only", "own", "keep"};
	size_t name = strcspn(text, ", \t"), i;
	char copy[CONFIG_NAME_MAX];
	const char *mode = text + name + strspn(text + name, " \t"), *wrong;
	size_t length = mode < text + n ? (size_t)(text + n - mode) : 0;

	if (name >= sizeof(copy))
		return "has a name of more than 63 characters";
	memcpy(copy, text, name);
	copy[name] = '\0';
	wrong = value_name(copy, ret->image, sizeof(ret->image));
	if (wrong)
		return wrong;
	while (length && strchr(" \t", mode[length - 1]))
		length--;
	ret->mode = CONFIG_DISK_READ_ONLY;
	for (i = 0; length && i < 3; i++)
		if (strlen(modes[i]) == length && !strncmp(mode, modes[i], length)) {
			ret->mode = (enum config_disk_mode)i;
			break;
		}
	if (i == 3)
		return "has a mode that is none: behind the image's name read-only, own or keep";
	return refer(reader, CONFIG_REFERENCE_IMAGE, ret->image);
}

static const char *key_disks(struct config_reader *reader, const char *text, void *field, size_t size)
{
	struct config_profile *profile = field;

	(void)size;
	profile->disks = 0;
	profile->disks_given = true;
	if (!strcmp(text, "none"))
		return NULL;
	while (*(text += strspn(text, ", \t"))) {
		size_t n = strcspn(text, ",");
		const char *wrong;

		if (profile->disks == CONFIG_DISKS)
			return "has more than 4 disks";
		wrong = take_disk(reader, text, n, &profile->disk[profile->disks]);
		if (wrong)
			return wrong;
		for (unsigned int i = 0; i < profile->disks; i++)
			if (!strcmp(profile->disk[i].image, profile->disk[profile->disks].image))
				return "names an image twice";
		profile->disks++;
		text += n;
	}
	return profile->disks ? NULL : "names no image";
}

/* Values of the appliance, config_appliance.h. */
#define APPLIANCE_TEXT(value)                                                                      \
	static const char *key_appliance_##value(struct config_reader *reader, const char *text,   \
						 void *field, size_t size)                         \
	{                                                                                          \
		(void)reader;                                                                      \
		return appliance_##value(text, field, size);                                       \
	}
APPLIANCE_TEXT(host)
APPLIANCE_TEXT(hosts)
APPLIANCE_TEXT(disk)
APPLIANCE_TEXT(images)
APPLIANCE_TEXT(interface)
APPLIANCE_TEXT(address)
APPLIANCE_TEXT(gateway)

#define IN_CONFIG(section, name, parse, member)                                                    \
	{                                                                                          \
		section, name, parse, offsetof(struct config, member),                             \
			sizeof(((struct config *)0)->member)                                       \
	}
#define IN_SUBNET(name, parse, member)                                                             \
	{                                                                                          \
		SECTION_SUBNET, name, parse, offsetof(struct config_subnet, member),               \
			sizeof(((struct config_subnet *)0)->member)                                \
	}
#define IN_IMAGE(name, parse, member)                                                              \
	{                                                                                          \
		SECTION_IMAGE, name, parse, offsetof(struct config_image, member),                 \
			sizeof(((struct config_image *)0)->member)                                 \
	}
#define IN_CLIENT(name, parse, member)                                                             \
	{                                                                                          \
		SECTION_CLIENT, name, parse, offsetof(struct config_client, member),               \
			sizeof(((struct config_client *)0)->member)                                \
	}
#define IN_NETWORK(name, parse, member)                                                            \
	{                                                                                          \
		SECTION_NETWORK, name, parse, offsetof(struct config_network, member),             \
			sizeof(((struct config_network *)0)->member)                               \
	}
/* What groups and clients have in common; parsed into the profile of either. */
#define IN_PROFILE(name, parse, member)                                                            \
	{                                                                                          \
		SECTION_GROUP, name, parse, offsetof(struct config_profile, member),               \
			sizeof(((struct config_profile *)0)->member)                               \
	}

static const struct key keys[] = {
	IN_CONFIG(SECTION_SERVER, "name", key_name, server_name),
	IN_CONFIG(SECTION_SERVER, "targets", key_bool, targets),
	IN_CONFIG(SECTION_SERVER, "state", key_path, state_path),
	IN_CONFIG(SECTION_SERVER, "run", key_path, run_path),
	IN_CONFIG(SECTION_SERVER, "user", key_name, user),
	IN_CONFIG(SECTION_SERVER, "log", key_log, log_level),
	IN_CONFIG(SECTION_DHCP, "mode", key_mode, dhcp_mode),
	IN_CONFIG(SECTION_DHCP, "port", key_port, dhcp_port),
	IN_CONFIG(SECTION_DHCP, "peer", key_address, dhcp_peer),
	IN_CONFIG(SECTION_DHCP, "backup", key_bool, dhcp_backup),
	IN_CONFIG(SECTION_DHCP, "probe", key_bool, dhcp_probe),
	{SECTION_DHCP, "handoff-timeout", key_duration, offsetof(struct config, handoff_timeout),
	 5},
	IN_SUBNET("interface", key_text, interface),
	{SECTION_SUBNET, "network", key_network, 0, 0},
	IN_SUBNET("server", key_address, server),
	{SECTION_SUBNET, "range", key_ranges, 0, 0},
	{SECTION_SUBNET, "exclude", key_excludes, 0, 0},
	IN_SUBNET("router", key_addresses, router),
	IN_SUBNET("dns", key_addresses, dns),
	IN_SUBNET("ntp", key_addresses, ntp),
	IN_SUBNET("domain", key_name, domain),
	{SECTION_SUBNET, "lease", key_duration, offsetof(struct config_subnet, lease_time), 60},
	IN_CONFIG(SECTION_TFTP, "enable", key_bool, tftp),
	IN_CONFIG(SECTION_TFTP, "port", key_port, tftp_port),
	IN_CONFIG(SECTION_TFTP, "root", key_path, tftp_root),
	IN_CONFIG(SECTION_TFTP, "blksize", key_blksize, tftp_blksize_max),
	IN_CONFIG(SECTION_TFTP, "windowsize", key_windowsize, tftp_windowsize_max),
	IN_CONFIG(SECTION_TFTP, "fastpath", key_fastpath, tftp_fastpath),
	IN_CONFIG(SECTION_TFTP, "fastpath-memory", key_size, tftp_fastpath_memory),
	{SECTION_TFTP, "sessions", key_u32, offsetof(struct config, tftp_sessions_max), 1000000},
	IN_CONFIG(SECTION_HTTP, "port", key_port, http_port),
	IN_CONFIG(SECTION_HTTP, "upload-port", key_port, upload_port),
	IN_CONFIG(SECTION_HTTP, "token", key_text, token),
	IN_CONFIG(SECTION_ISCSI, "port", key_port, iscsi_port),
	IN_CONFIG(SECTION_ISCSI, "prefix", key_iqn, iqn_prefix),
	IN_CONFIG(SECTION_IMAGES, "path", key_path, images_path),
	{SECTION_IMAGES, "keep-generations", key_u32, offsetof(struct config, keep_generations), 1000},
	IN_CONFIG(SECTION_WRITE_BACK, "path", key_path, store_path),
	IN_CONFIG(SECTION_WRITE_BACK, "size", key_size, store_size),
	IN_CONFIG(SECTION_CACHE, "image_ram", key_size, image_ram),
	IN_CONFIG(SECTION_CACHE, "write_back_ram", key_size, write_back_ram),
	IN_CONFIG(SECTION_CACHE, "threads", key_threads, engine_threads),
	IN_CONFIG(SECTION_CLIENTS, "register", key_bool, register_clients),
	IN_CONFIG(SECTION_CLIENTS, "ask-name", key_bool, ask_name),
	IN_CONFIG(SECTION_CLIENTS, "name-pattern", key_pattern, client_name_pattern),
	IN_IMAGE("file", key_beneath, file),
	IN_IMAGE("format", key_format, format),
	IN_IMAGE("size", key_image_size, size_override),
	{SECTION_CLIENT, "mac", key_mac, 0, 0},
	{SECTION_CLIENT, "uuid", key_uuid, 0, 0},
	IN_CLIENT("circuit", key_text, circuit),
	IN_CLIENT("address", key_address, address),
	IN_CLIENT("group", key_group, group),
	{SECTION_GROUP, "image", key_images, 0, 0},
	{SECTION_GROUP, "disks", key_disks, 0, 0},
	IN_PROFILE("keep", key_tristate, keep),
	IN_PROFILE("upload", key_tristate, upload),
	IN_PROFILE("computer-name", key_tristate, computer_name),
	IN_PROFILE("capture", key_beneath, capture),
	IN_PROFILE("capture-disk", key_beneath, capture_disk),
	IN_PROFILE("nbp-bios", key_beneath, nbp_bios),
	IN_PROFILE("nbp-uefi", key_beneath, nbp_uefi),
	IN_CONFIG(SECTION_APPLIANCE, "hostname", key_appliance_host, appliance.hostname),
	IN_CONFIG(SECTION_APPLIANCE, "ntp", key_appliance_hosts, appliance.ntp),
	IN_CONFIG(SECTION_APPLIANCE, "state-disk", key_appliance_disk, appliance.state_disk),
	IN_CONFIG(SECTION_APPLIANCE, "format-state-disk", key_bool, appliance.format_state_disk),
	IN_CONFIG(SECTION_APPLIANCE, "images", key_appliance_images, appliance.images),
	IN_NETWORK("interface", key_appliance_interface, interface),
	IN_NETWORK("address", key_appliance_address, address),
	IN_NETWORK("gateway", key_appliance_gateway, gateway),
	IN_NETWORK("dns", key_appliance_hosts, dns),
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))
_Static_assert(KEYS < CONFIG_KEYS_MAX, "struct config_reader has room for the lines of all keys");

/* --- where a key's value goes --- */

static bool key_belongs(const struct key *key, int section)
{
	return (int)key->section == section ||
	       (key->section == SECTION_SUBNET && section == SECTION_DHCP) ||
	       (key->section == SECTION_GROUP && section == SECTION_CLIENT);
}

static struct config_options *options_of(struct config_reader *reader)
{
	struct config *c = reader->parser.config;

	switch (reader->section) {
	case SECTION_SUBNET:
		return &c->subnet[reader->index].options;
	case SECTION_DHCP:
		return &c->subnet[reader->lan - 1].options;
	case SECTION_GROUP:
		return &c->group[reader->index].profile.options;
	case SECTION_CLIENT:
		return &c->client[reader->index].profile.options;
	}
	return NULL;
}

/* Makes room for one more of an array's elements, zeroed. */
void *config_append(struct config_reader *reader, void *array, size_t *count, size_t size)
{
	void **base = array, *more = reallocarray(*base, *count + 1, size);

	if (!more) {
		reader->out_of_memory = true;
		return NULL;
	}
	*base = more;
	more = (char *)more + *count * size;
	memset(more, 0, size);
	++*count;
	return more;
}

bool config_add_subnet(struct config_reader *reader, const char *name)
{
	struct config *c = reader->parser.config;
	size_t n = c->subnets;
	struct config_subnet *subnet;

	if (!config_append(reader, &reader->parser.subnet_lines, &n,
			   sizeof(*reader->parser.subnet_lines)))
		return false;
	subnet = config_append(reader, &c->subnet, &c->subnets, sizeof(*subnet));
	if (!subnet)
		return false;
	snprintf(subnet->name, sizeof(subnet->name), "%s", name);
	subnet->line = reader->parser.line;
	subnet->lease_time = 12 * 3600;
	return true;
}

/* The structure that `key` writes into; NULL: no memory. */
static void *base_of(struct config_reader *reader, const struct key *key)
{
	struct config *c = reader->parser.config;

	switch (key->section) {
	case SECTION_SUBNET:
		if (reader->section == SECTION_SUBNET)
			return &c->subnet[reader->index];
		if (!reader->lan) {
			if (!config_add_subnet(reader, "lan"))
				return NULL;
			reader->lan = c->subnets;
		}
		return &c->subnet[reader->lan - 1];
	case SECTION_IMAGE:
		return &c->image[reader->index];
	case SECTION_GROUP:
		return reader->section == SECTION_GROUP ? &c->group[reader->index].profile
							: &c->client[reader->index].profile;
	case SECTION_CLIENT:
		return &c->client[reader->index];
	case SECTION_NETWORK:
		return &c->network[reader->index];
	default:
		return c;
	}
}

static void note_line(struct config_reader *reader, const struct key *key)
{
	struct config_parser *p = &reader->parser;
	static const struct {
		const char *name;
		size_t offset;
	} subnet[] = {
		{"interface", offsetof(struct config_subnet_lines, interface)},
		{"network", offsetof(struct config_subnet_lines, network)},
		{"server", offsetof(struct config_subnet_lines, server)},
		{"range", offsetof(struct config_subnet_lines, range)},
		{"exclude", offsetof(struct config_subnet_lines, exclude)},
		{"router", offsetof(struct config_subnet_lines, router)},
	};
	size_t i = reader->section == SECTION_DHCP ? reader->lan - 1 : reader->index;

	if (key->section == SECTION_DHCP && !strcmp(key->name, "backup"))
		p->backup_line = p->line;
	if (key->section == SECTION_APPLIANCE && !strcmp(key->name, "format-state-disk"))
		p->config->appliance.format_line = p->line;
	if (key->section == SECTION_DHCP && !strcmp(key->name, "port"))
		p->port_line = p->line;
	if (key->section != SECTION_SUBNET)
		return;
	for (size_t k = 0; k < sizeof(subnet) / sizeof(subnet[0]); k++)
		if (!strcmp(key->name, subnet[k].name))
			*(unsigned int *)((char *)&p->subnet_lines[i] + subnet[k].offset) = p->line;
}

static void unknown_key(struct config_reader *reader, const char *name)
{
	struct config_parser *p = &reader->parser;
	const char *here[KEYS + 1], *near;
	size_t n = 0;

	for (size_t i = 0; i < KEYS; i++)
		if (key_belongs(&keys[i], reader->section))
			here[n++] = keys[i].name;
	here[n] = NULL;
	near = value_nearest(name, here);
	if (near) {
		config_mistake(p, p->line, "%s has no key \"%s\"; did you mean \"%s\"?",
			       reader->label, name, near);
		return;
	}
	for (size_t i = 0; i < KEYS; i++)
		if (!strcmp(keys[i].name, name)) {
			config_mistake(p, p->line, "%s has no key \"%s\"; it belongs into [%s%s]",
				       reader->label, name, config_section_names[keys[i].section],
				       config_section_named(keys[i].section) ? " NAME" : "");
			return;
		}
	config_mistake(p, p->line, "%s has no key \"%s\"; bootwell.conf(5) lists them",
		       reader->label, name);
}

static void take_option(struct config_reader *reader, const char *name, const char *value)
{
	static const struct key subnet_key = {SECTION_SUBNET, "option", NULL, 0, 0};
	struct config_parser *p = &reader->parser;
	const char *wrong;

	if (reader->section != SECTION_SUBNET && reader->section != SECTION_DHCP &&
	    reader->section != SECTION_GROUP && reader->section != SECTION_CLIENT) {
		config_mistake(
			p, p->line,
			"%s has no options; %s belongs into [dhcp], [subnet], [group] or [client]",
			reader->label, name);
		return;
	}
	if (reader->section == SECTION_DHCP && !base_of(reader, &subnet_key))
		return;
	wrong = value_option(name + strlen("option."), value, options_of(reader));
	if (wrong)
		config_mistake(p, p->line, "%s: \"%s\" %s", name, value, wrong);
}

/* ssh-key.NAME and update-key.NAME of [appliance]: any number of either. */
static bool take_ssh_key(struct config_reader *reader, const char *name, const char *value)
{
	struct config_appliance *a = &reader->parser.config->appliance;
	struct config_keys *list = !strncmp(name, "ssh-key.", 8)       ? &a->ssh
				   : !strncmp(name, "update-key.", 11) ? &a->update
								       : NULL;
	const char *wrong;

	if (!list || reader->section != SECTION_APPLIANCE)
		return false;
	wrong = appliance_key(value, list);
	if (wrong)
		config_mistake(&reader->parser, reader->parser.line, "%s: \"%.40s\" %s", name,
			       value, wrong);
	return true;
}

void config_take_key(struct config_reader *reader, const char *name, const char *value)
{
	struct config_parser *p = &reader->parser;
	const char *wrong;
	void *base;

	if (!strncmp(name, "option.", 7)) {
		take_option(reader, name, value);
		return;
	}
	if (take_ssh_key(reader, name, value))
		return;
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(keys[i].name, name) || !key_belongs(&keys[i], reader->section))
			continue;
		if (reader->given[i]) {
			config_mistake(p, p->line,
				       "\"%s\" is given a second time; the first is on line %u",
				       name, reader->given[i]);
			return;
		}
		reader->given[i] = p->line;
		base = base_of(reader, &keys[i]);
		if (!base)
			return;
		wrong = *value ? keys[i].parse(reader, value, (char *)base + keys[i].offset,
					       keys[i].size)
			       : "has no value behind the =";
		if (wrong && *value)
			config_mistake(p, p->line, "%s: \"%s\" %s", name, value, wrong);
		else if (wrong)
			config_mistake(p, p->line, "%s %s", name, wrong);
		note_line(reader, &keys[i]);
		return;
	}
	unknown_key(reader, name);
	return;
}
