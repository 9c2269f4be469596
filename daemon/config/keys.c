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

#include "daemon/config/config.h"
#include "daemon/config/private.h"
#include "daemon/config/value.h"
#include "daemon/core/log.h"
#include "tcmu-handler/handover.h"
#include "tcmu-handler/image/image.h"

/* --- the table of keys ------------------------------------------------------------------------ */

/* A key and how its value is read: one of the five ways. All return NULL, or what is wrong with the value. */
struct key {
	enum config_section section;
	const char *name;
	size_t offset; /* in struct config, or in the section's own structure */
	size_t size;   /* of the field */

	const char *(*text)(const char *text, char *ret, size_t size);               /* into a text of at most `size` */
	const char *(*value)(const char *text, void *field);                         /* into a field of its own type */
	const char *(*number)(const struct key *key, const char *text, void *field); /* from `least` to `most` */
	const char *(*word)(const struct key *key, const char *text, void *field);   /* one of `words` */
	const char *(*refers)(struct config_reader *reader, const char *text, void *field); /* names others */

	uint64_t least, most;
	const char *const *words; /* NULL at its end */
	const char *wrong;        /* said of a word that is none of them */
	bool secret;              /* what was written is not shown */
};

/* --- numbers and words: their bounds stand in the row --- */

static void put_number(const struct key *key, uint64_t n, void *field)
{
	if (key->size == sizeof(uint16_t))
		*(uint16_t *)field = n;
	else
		*(uint32_t *)field = n;
}

static const char *key_number(const struct key *key, const char *text, void *field)
{
	const char *wrong;
	uint64_t n;

	wrong = value_number(text, key->least, key->most, &n);
	if (!wrong)
		put_number(key, n, field);
	return wrong;
}

static const char *key_duration(const struct key *key, const char *text, void *field)
{
	static char too_short[48];
	const char *wrong;
	uint32_t s;

	wrong = value_duration(text, &s);
	if (!wrong && s < key->least) {
		snprintf(too_short, sizeof(too_short), "is too short: %us at least", (unsigned int)key->least);
		return too_short;
	}
	if (!wrong)
		put_number(key, s, field);
	return wrong;
}

/* A time, or 0. */
static const char *key_repeat(const struct key *key, const char *text, void *field)
{
	struct key hour = *key;

	hour.least = 3600;
	if (strcmp(text, "0") != 0)
		return key_duration(&hour, text, field);
	put_number(key, 0, field);
	return NULL;
}

static int word_index(const struct key *key, const char *text)
{
	for (int i = 0; key->words[i]; i++)
		if (!strcmp(text, key->words[i]))
			return i;
	return -1;
}

/* The field is the word's number, counted from `least`. */
static const char *key_choice(const struct key *key, const char *text, void *field)
{
	int i = word_index(key, text);

	if (i < 0)
		return key->wrong;
	*(int *)field = (int)key->least + i;
	return NULL;
}

/* The field is the word itself. */
static const char *key_word(const struct key *key, const char *text, void *field)
{
	return word_index(key, text) < 0 ? key->wrong : value_text(text, field, key->size);
}

static const char *const words_mode[] = {"off", "full", "proxy", NULL};
static const char *const words_log[] = {"error", "warning", "notice", "info", "debug", NULL};
static const char *const words_fastpath[] = {"auto", "xdp", "tc", "off", NULL};
#define FORMAT_WORD(NAME, name) #name,
static const char *const words_format[] = {IMAGE_FORMATS(FORMAT_WORD, FORMAT_WORD) NULL};
static const char *const words_readers[] = {"operators", "everyone", NULL};
static const char *const words_smtp_tls[] = {"required", "off", NULL};
static const char *const words_alert[] = {"warning", "critical", NULL};
static const char *const words_role[] = {"see", "operate", "admin", NULL};

_Static_assert(sizeof(enum config_dhcp_mode) == sizeof(int), "key_choice() writes an int");

/* --- values of a type of their own --- */

static const char *key_bool(const char *text, void *field)
{
	return value_bool(text, field);
}

static const char *key_tristate(const char *text, void *field)
{
	const char *wrong;
	bool yes;

	wrong = value_bool(text, &yes);
	if (!wrong)
		*(enum config_tristate *)field = yes ? CONFIG_YES : CONFIG_NO;
	return wrong;
}

static const char *key_size(const char *text, void *field)
{
	return value_size(text, field);
}

static const char *key_image_size(const char *text, void *field)
{
	const char *wrong;
	uint64_t n;

	wrong = value_size(text, &n);
	if (!wrong && (!n || n % 512))
		return "is not a size of whole sectors of 512 bytes";
	if (!wrong)
		*(uint64_t *)field = n;
	return wrong;
}

static const char *key_address(const char *text, void *field)
{
	return value_address(text, field);
}

static const char *key_addresses(const char *text, void *field)
{
	return value_addresses(text, field);
}

static const char *key_mac(const char *text, void *field)
{
	struct config_client *client = field;
	const char *wrong = value_mac(text, client->mac);

	client->has_mac = !wrong;
	return wrong;
}

static const char *key_uuid(const char *text, void *field)
{
	struct config_client *client = field;
	const char *wrong = value_uuid(text, client->uuid);

	if (!wrong && identity_uuid_is_useless(client->uuid))
		wrong = "is what many boards have whose maker gave them none: it tells no PC; use mac";

	client->has_uuid = !wrong;
	return wrong;
}

static const char *key_ranges(const char *text, void *field)
{
	struct config_subnet *subnet = field;

	return value_ranges(text, subnet->range, &subnet->ranges);
}

static const char *key_excludes(const char *text, void *field)
{
	struct config_subnet *subnet = field;

	return value_ranges(text, subnet->exclude, &subnet->excludes);
}

static const char *key_network(const char *text, void *field)
{
	struct config_subnet *subnet = field;

	return value_network(text, &subnet->network, &subnet->prefix);
}

/* --- values that name another section --- */

static const char *refer(struct config_reader *reader, int what, const char *name)
{
	struct config_parser *p = &reader->parser;
	struct config_reference *more = reallocarray(p->reference, p->references + 1, sizeof(*more));

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

static const char *key_group(struct config_reader *reader, const char *text, void *field)
{
	const char *wrong = value_name(text, field, CONFIG_NAME_MAX);

	return wrong ? wrong : refer(reader, CONFIG_REFERENCE_GROUP, field);
}

static const char *key_images(struct config_reader *reader, const char *text, void *field)
{
	struct config_profile *profile = field;

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

static const char *key_disks(struct config_reader *reader, const char *text, void *field)
{
	struct config_profile *profile = field;

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

#define FIELD(structure, member)   .offset = offsetof(structure, member), .size = sizeof(((structure *)0)->member)
#define IN_CONFIG(in, key, member) .section = (in), .name = (key), FIELD(struct config, member)
#define IN_SUBNET(key, member)     .section = SECTION_SUBNET, .name = (key), FIELD(struct config_subnet, member)
#define IN_IMAGE(key, member)      .section = SECTION_IMAGE, .name = (key), FIELD(struct config_image, member)
#define IN_CLIENT(key, member)     .section = SECTION_CLIENT, .name = (key), FIELD(struct config_client, member)
#define IN_OPERATOR(key, member)   .section = SECTION_OPERATOR, .name = (key), FIELD(struct access_operator, member)
#define IN_NETWORK(key, member)    .section = SECTION_NETWORK, .name = (key), FIELD(struct config_network, member)
/* What groups and clients have in common; parsed into the profile of either. */
#define IN_PROFILE(key, member)    .section = SECTION_GROUP, .name = (key), FIELD(struct config_profile, member)
/* Of more than one field: the parser gets the section's whole structure. */
#define IN_WHOLE(in, key)          .section = (in), .name = (key)

static const struct key keys[] = {
	{IN_CONFIG(SECTION_SERVER, "name", server_name), .text = value_name},
	{IN_CONFIG(SECTION_SERVER, "targets", targets), .value = key_bool},
	{IN_CONFIG(SECTION_SERVER, "state", state_path), .text = value_path},
	{IN_CONFIG(SECTION_SERVER, "run", run_path), .text = value_path},
	{IN_CONFIG(SECTION_SERVER, "user", user), .text = value_name},
	{IN_CONFIG(SECTION_SERVER, "log", log_level), .word = key_choice, .words = words_log, .least = LOG_LEVEL_ERROR,
	 .wrong = "is not a level: error, warning, notice, info or debug"},
	{IN_CONFIG(SECTION_DHCP, "mode", dhcp_mode), .word = key_choice, .words = words_mode,
	 .wrong = "is not a mode: full (the network's DHCP server), proxy (beside another one) or off"},
	{IN_CONFIG(SECTION_DHCP, "port", dhcp_port), .number = key_number, .least = 1, .most = 65535},
	{IN_CONFIG(SECTION_DHCP, "peer", dhcp_peer), .value = key_address},
	{IN_CONFIG(SECTION_DHCP, "backup", dhcp_backup), .value = key_bool},
	{IN_CONFIG(SECTION_DHCP, "split", dhcp_split), .value = key_bool},
	{IN_CONFIG(SECTION_DHCP, "probe", dhcp_probe), .value = key_bool},
	{IN_CONFIG(SECTION_DHCP, "handoff-timeout", handoff_timeout), .number = key_duration, .least = 5},
	{IN_SUBNET("interface", interface), .text = value_text},
	{IN_WHOLE(SECTION_SUBNET, "network"), .value = key_network},
	{IN_SUBNET("server", server), .value = key_address},
	{IN_SUBNET("next-server", next_server), .value = key_address},
	{IN_WHOLE(SECTION_SUBNET, "range"), .value = key_ranges},
	{IN_WHOLE(SECTION_SUBNET, "exclude"), .value = key_excludes},
	{IN_SUBNET("router", router), .value = key_addresses},
	{IN_SUBNET("dns", dns), .value = key_addresses},
	{IN_SUBNET("ntp", ntp), .value = key_addresses},
	{IN_SUBNET("domain", domain), .text = value_name},
	{IN_SUBNET("lease", lease_time), .number = key_duration, .least = 60},
	{IN_CONFIG(SECTION_TFTP, "enable", tftp), .value = key_bool},
	{IN_CONFIG(SECTION_TFTP, "port", tftp_port), .number = key_number, .least = 1, .most = 65535},
	{IN_CONFIG(SECTION_TFTP, "root", tftp_root), .text = value_path},
	{IN_CONFIG(SECTION_TFTP, "blksize", tftp_blksize_max), .number = key_number, .least = 512, .most = 65464},
	{IN_CONFIG(SECTION_TFTP, "windowsize", tftp_windowsize_max), .number = key_number, .least = 1, .most = 64},
	{IN_CONFIG(SECTION_TFTP, "fastpath", tftp_fastpath), .word = key_word, .words = words_fastpath,
	 .wrong = "is not a way to answer: auto, xdp, tc or off"},
	{IN_CONFIG(SECTION_TFTP, "fastpath-memory", tftp_fastpath_memory), .value = key_size},
	{IN_CONFIG(SECTION_TFTP, "sessions", tftp_sessions_max), .number = key_number, .least = 1, .most = 1000000},
	{IN_CONFIG(SECTION_HTTP, "port", http_port), .number = key_number, .least = 1, .most = 65535},
	{IN_CONFIG(SECTION_HTTP, "upload-port", upload_port), .number = key_number, .least = 1, .most = 65535},
	{IN_CONFIG(SECTION_HTTP, "token", token), .text = value_token},
	{IN_CONFIG(SECTION_HTTP, "metrics", open_metrics), .word = key_choice, .words = words_readers,
	 .wrong = "is nobody who reads: operators or everyone"},
	{IN_CONFIG(SECTION_HTTP, "status", open_status), .word = key_choice, .words = words_readers,
	 .wrong = "is nobody who reads: operators or everyone"},
	{IN_CONFIG(SECTION_HTTP, "names", http_names), .text = value_text},
	{IN_CONFIG(SECTION_HTTP, "tls-certificate", tls_certificate), .text = value_path},
	{IN_CONFIG(SECTION_HTTP, "tls-key", tls_key), .text = value_path},
	{IN_OPERATOR("role", role), .word = key_choice, .words = words_role, .least = ACCESS_ROLE_SEE,
	 .wrong = "is not a role: see, operate or admin"},
	{IN_OPERATOR("token", token), .text = value_hash},
	{IN_CONFIG(SECTION_ISCSI, "port", iscsi_port), .number = key_number, .least = 1, .most = 65535},
	{IN_CONFIG(SECTION_ISCSI, "prefix", iqn_prefix), .text = value_iqn},
	{IN_CONFIG(SECTION_IMAGES, "path", images_path), .text = value_path},
	{IN_CONFIG(SECTION_IMAGES, "keep-generations", keep_generations), .number = key_number, .least = 1,
	 .most = 1000},
	{IN_CONFIG(SECTION_IMAGES, "upload-becomes-current", upload_becomes_current), .value = key_bool},
	{IN_CONFIG(SECTION_WRITE_BACK, "path", store_path), .text = value_path},
	{IN_CONFIG(SECTION_WRITE_BACK, "size", store_size), .value = key_size},
	{IN_CONFIG(SECTION_CACHE, "image_ram", image_ram), .value = key_size},
	{IN_CONFIG(SECTION_CACHE, "write_back_ram", write_back_ram), .value = key_size},
	{IN_CONFIG(SECTION_CACHE, "threads", engine_threads), .number = key_number, .least = 0,
	 .most = HANDOVER_THREADS_MAX},
	{IN_CONFIG(SECTION_CLIENTS, "register", register_clients), .value = key_bool},
	{IN_CONFIG(SECTION_CLIENTS, "ask-name", ask_name), .value = key_bool},
	{IN_CONFIG(SECTION_CLIENTS, "script-nonce", script_nonce), .value = key_bool},
	{IN_CONFIG(SECTION_CLIENTS, "name-pattern", client_name_pattern), .text = value_pattern},
	{IN_IMAGE("file", file), .text = value_beneath},
	{IN_IMAGE("format", format), .word = key_word, .words = words_format,
	 .wrong = "is not a format: one of " IMAGE_FORMAT_NAMES},
	{IN_IMAGE("size", size_override), .value = key_image_size},
	{IN_IMAGE("upload-becomes-current", upload_becomes_current), .value = key_tristate},
	{IN_WHOLE(SECTION_CLIENT, "mac"), .value = key_mac},
	{IN_WHOLE(SECTION_CLIENT, "uuid"), .value = key_uuid},
	{IN_CLIENT("circuit", circuit), .text = value_text},
	{IN_CLIENT("address", address), .value = key_address},
	{IN_CLIENT("group", group), .refers = key_group},
	{IN_WHOLE(SECTION_GROUP, "image"), .refers = key_images},
	{IN_WHOLE(SECTION_GROUP, "disks"), .refers = key_disks},
	{IN_PROFILE("keep", keep), .value = key_tristate},
	{IN_PROFILE("upload", upload), .value = key_tristate},
	{IN_PROFILE("computer-name", computer_name), .value = key_tristate},
	{IN_PROFILE("ibft-gateway", ibft_gateway), .value = key_tristate},
	{IN_PROFILE("capture", capture), .text = value_beneath},
	{IN_PROFILE("capture-disk", capture_disk), .text = value_beneath},
	{IN_PROFILE("nbp-bios", nbp_bios), .text = value_beneath},
	{IN_PROFILE("nbp-uefi", nbp_uefi), .text = value_beneath},
	{IN_PROFILE("nbp-ia32", nbp_ia32), .text = value_beneath},
	{IN_PROFILE("nbp-arm32", nbp_arm32), .text = value_beneath},
	{IN_PROFILE("nbp-arm64", nbp_arm64), .text = value_beneath},
	{IN_PROFILE("nbp-riscv64", nbp_riscv64), .text = value_beneath},
	{IN_PROFILE("nbp-loongarch64", nbp_loongarch64), .text = value_beneath},
	{IN_CONFIG(SECTION_APPLIANCE, "hostname", appliance.hostname), .text = appliance_host},
	{IN_CONFIG(SECTION_APPLIANCE, "ntp", appliance.ntp), .text = appliance_hosts},
	{IN_CONFIG(SECTION_APPLIANCE, "state-disk", appliance.state_disk), .text = appliance_disk},
	{IN_CONFIG(SECTION_APPLIANCE, "format-state-disk", appliance.format_state_disk), .value = key_bool},
	{IN_CONFIG(SECTION_APPLIANCE, "images", appliance.images), .text = appliance_images},
	{IN_CONFIG(SECTION_ALERT, "mail", alert.mail), .text = value_mails},
	{IN_CONFIG(SECTION_ALERT, "mail-from", alert.mail_from), .text = value_mail},
	{IN_CONFIG(SECTION_ALERT, "smtp", alert.smtp), .text = value_smtp},
	{IN_CONFIG(SECTION_ALERT, "smtp-tls", alert.smtp_tls), .word = key_choice, .words = words_smtp_tls,
	 .wrong = "is neither required nor off"},
	{IN_CONFIG(SECTION_ALERT, "smtp-user", alert.smtp_user), .text = value_text},
	{IN_CONFIG(SECTION_ALERT, "smtp-password-file", alert.smtp_password_file), .text = value_path},
	{IN_CONFIG(SECTION_ALERT, "webhook", alert.webhook), .text = value_web, .secret = true},
	{IN_CONFIG(SECTION_ALERT, "command", alert.command), .text = value_path},
	{IN_CONFIG(SECTION_ALERT, "ca-file", alert.ca_file), .text = value_path},
	{IN_CONFIG(SECTION_ALERT, "level", alert.level), .word = key_choice, .words = words_alert,
	 .wrong = "is not a level: warning (all) or critical"},
	{IN_CONFIG(SECTION_ALERT, "repeat", alert.repeat), .number = key_repeat},
	{IN_CONFIG(SECTION_ALERT, "end-after", alert.end_after), .number = key_duration, .least = 5},
	{IN_NETWORK("interface", interface), .text = appliance_interface},
	{IN_NETWORK("address", address), .text = appliance_address},
	{IN_NETWORK("gateway", gateway), .text = appliance_gateway},
	{IN_NETWORK("dns", dns), .text = appliance_hosts},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))
_Static_assert(KEYS < CONFIG_KEYS_MAX, "struct config_reader has room for the lines of all keys");

/* --- where a key's value goes --- */

static bool key_belongs(const struct key *key, int section)
{
	return (int)key->section == section || (key->section == SECTION_SUBNET && section == SECTION_DHCP) ||
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
	case SECTION_OPERATOR:
		return &c->operator[reader->index];
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
	if (key->section == SECTION_DHCP && !strcmp(key->name, "split"))
		p->config->dhcp_split_line = p->line;
	if (key->section == SECTION_APPLIANCE && !strcmp(key->name, "format-state-disk"))
		p->config->appliance.format_line = p->line;
	if (key->section == SECTION_WRITE_BACK && !strcmp(key->name, "path"))
		p->store_line = p->line;
	if (key->section == SECTION_DHCP && !strcmp(key->name, "port"))
		p->port_line = p->line;
	if (key->section == SECTION_ALERT && !p->config->alert.line)
		p->config->alert.line = p->line;
	if (key->section != SECTION_SUBNET)
		return;
	for (size_t k = 0; k < sizeof(subnet) / sizeof(subnet[0]); k++)
		if (!strcmp(key->name, subnet[k].name))
			*(unsigned int *)((char *)&p->subnet_lines[i] + subnet[k].offset) = p->line;
}

/* What other servers call it, where that is not near to our word in letters. */
static const char *other_word(const char *name, int section)
{
	static const char *const word[][2] = {
		{"gateway", "router"},       {"gateways", "router"},
		{"routers", "router"},       {"default-gateway", "router"},
		{"mask", "network"},         {"netmask", "network"},
		{"subnet-mask", "network"},  {"prefix", "network"},
		{"subnet", "network"},       {"nameserver", "dns"},
		{"nameservers", "dns"},      {"dns-server", "dns"},
		{"dns-servers", "dns"},      {"domain-name-servers", "dns"},
		{"domain-name", "domain"},   {"search", "domain"},
		{"pool", "range"},           {"dhcp-range", "range"},
		{"lease-time", "lease"},     {"default-lease-time", "lease"},
		{"max-lease-time", "lease"}, {"ntp-servers", "ntp"},
	};

	if (section != SECTION_DHCP && section != SECTION_SUBNET)
		return NULL;
	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++)
		if (!strcmp(name, word[i][0]))
			return word[i][1];
	return NULL;
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
	near = other_word(name, reader->section);
	if (!near)
		near = value_nearest(name, here);
	if (near && !strcmp(near, "network") && strcmp(name, "network") != 0 && other_word(name, reader->section)) {
		config_mistake(
			p, p->line,
			"%s has no key \"%s\": the mask is part of network = A.B.C.D/N, such as 192.168.1.0/24, and "
			"comes from the interface where there is none",
			reader->label, name);
		return;
	}
	if (near) {
		config_mistake(p, p->line, "%s has no key \"%s\"; did you mean \"%s\"?", reader->label, name, near);
		return;
	}
	for (size_t i = 0; i < KEYS; i++)
		if (!strcmp(keys[i].name, name)) {
			config_mistake(p, p->line, "%s has no key \"%s\"; it belongs into [%s%s]", reader->label, name,
				       config_section_names[keys[i].section],
				       config_section_named(keys[i].section) ? " NAME" : "");
			return;
		}
	config_mistake(p, p->line, "%s has no key \"%s\"; bootwell.conf(5) lists them", reader->label, name);
}

static void take_option(struct config_reader *reader, const char *name, const char *value)
{
	static const struct key subnet_key = {IN_WHOLE(SECTION_SUBNET, "option")};
	struct config_parser *p = &reader->parser;
	const char *wrong;

	if (reader->section != SECTION_SUBNET && reader->section != SECTION_DHCP && reader->section != SECTION_GROUP &&
	    reader->section != SECTION_CLIENT) {
		config_mistake(p, p->line, "%s has no options; %s belongs into [dhcp], [subnet], [group] or [client]",
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
		config_mistake(&reader->parser, reader->parser.line, "%s: \"%.40s\" %s", name, value, wrong);
	return true;
}

static const char *read_value(struct config_reader *reader, const struct key *key, const char *text, void *field)
{
	if (key->text)
		return key->text(text, field, key->size);
	if (key->value)
		return key->value(text, field);
	if (key->number)
		return key->number(key, text, field);
	return key->word ? key->word(key, text, field) : key->refers(reader, text, field);
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
			config_mistake(p, p->line, "\"%s\" is given a second time; the first is on line %u", name,
				       reader->given[i]);
			return;
		}
		reader->given[i] = p->line;
		base = base_of(reader, &keys[i]);
		if (!base)
			return;
		wrong = *value ? read_value(reader, &keys[i], value, (char *)base + keys[i].offset)
			       : "has no value behind the =";
		if (wrong && *value && keys[i].secret)
			config_mistake(p, p->line, "%s: what stands there %s", name, wrong);
		else if (wrong && *value)
			config_mistake(p, p->line, "%s: \"%s\" %s", name, value, wrong);
		else if (wrong)
			config_mistake(p, p->line, "%s %s", name, wrong);
		note_line(reader, &keys[i]);
		return;
	}
	unknown_key(reader, name);
}
