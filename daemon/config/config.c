// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the configuration file. libinih splits lines into sections, names and values; what may
 * stand where is in config/keys.c, and whether the whole makes sense in config/check.c. The reader
 * function that feeds libinih counts lines and opens sections itself: libinih tells neither lines
 * nor empty sections, and would say only the first mistake.
 *
 * Nothing stops at a mistake: all of them are reported, and then the file is refused as a whole.
 */
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "daemon/config/config.h"
#include "daemon/config/private.h"
#include "daemon/config/value.h"
#include "daemon/core/log.h"

#define LINE_MAX_BYTES 4096
#define SECTIONS_MAX   8192 /* of the kinds that may come more than once, each */
#define FILE_MAX_BYTES (8 << 20)

/* --- sections --------------------------------------------------------------------------------- */

static void profile_init(struct config_profile *profile)
{
	profile->keep = profile->upload = profile->computer_name = profile->ibft_gateway = CONFIG_UNSET;
}

/* Where an earlier section of that kind and name is; 0: nowhere. *index is its place in the array.
 */
static unsigned int section_line(const struct config *c, enum config_section kind, const char *name, size_t *index)
{
	size_t n = kind == SECTION_SUBNET     ? c->subnets
		   : kind == SECTION_IMAGE    ? c->images
		   : kind == SECTION_GROUP    ? c->groups
		   : kind == SECTION_NETWORK  ? c->networks
		   : kind == SECTION_OPERATOR ? c->operators
					      : c->clients;

	for (size_t i = 0; i < n; i++) {
		const char *other = kind == SECTION_SUBNET    ? c->subnet[i].name
				    : kind == SECTION_IMAGE   ? c->image[i].name
				    : kind == SECTION_GROUP   ? c->group[i].name
				    : kind == SECTION_NETWORK ? c->network[i].name
							      : kind == SECTION_OPERATOR
					    ? c->operator[i].name : c->client[i].name;
		unsigned int line = kind == SECTION_SUBNET    ? c->subnet[i].line
				    : kind == SECTION_IMAGE   ? c->image[i].line
				    : kind == SECTION_GROUP   ? c->group[i].line
				    : kind == SECTION_NETWORK ? c->network[i].line
							      : kind == SECTION_OPERATOR
					    ? c->operator[i].line : c->client[i].line;

		if (!strcasecmp(name, other)) {
			*index = i;
			return line;
		}
	}
	*index = n;
	return 0;
}

static bool section_add(struct config_reader *reader, enum config_section kind, const char *name)
{
	struct config_parser *p = &reader->parser;
	struct config *c = p->config;
	struct config_client *client;
	struct config_image *image;
	struct config_group *group;
	struct config_network *network;
	struct access_operator *operator;

	switch (kind) {
	case SECTION_SUBNET:
		return config_add_subnet(reader, name);
	case SECTION_IMAGE:
		image = config_append(reader, &c->image, &c->images, sizeof(*image));
		if (!image)
			return false;
		image->line = p->line;
		image->upload_becomes_current = CONFIG_UNSET;
		snprintf(image->name, sizeof(image->name), "%s", name);
		return true;
	case SECTION_GROUP:
		if (!strcmp(name, "default")) { /* made at the start, without a line */
			c->group[0].line = p->line;
			return true;
		}
		group = config_append(reader, &c->group, &c->groups, sizeof(*group));
		if (!group)
			return false;
		group->line = p->line;
		profile_init(&group->profile);
		snprintf(group->name, sizeof(group->name), "%s", name);
		return true;
	case SECTION_NETWORK:
		network = config_append(reader, &c->network, &c->networks, sizeof(*network));
		if (!network)
			return false;
		network->line = p->line;
		snprintf(network->name, sizeof(network->name), "%s", name);
		return true;
	case SECTION_OPERATOR:
		operator= config_append(reader, &c->operator, & c->operators, sizeof(*operator));
		if (!operator)
			return false;
		operator->line = p->line;
		operator->role = ACCESS_ROLE_SEE;
		snprintf(operator->name, sizeof(operator->name), "%s", name);
		return true;
	default:
		client = config_append(reader, &c->client, &c->clients, sizeof(*client));
		if (!client)
			return false;
		client->line = p->line;
		profile_init(&client->profile);
		snprintf(client->name, sizeof(client->name), "%s", name);
		return true;
	}
}

static bool open_named(struct config_reader *reader, enum config_section kind, const char *name)
{
	struct config_parser *p = &reader->parser;
	char copy[CONFIG_NAME_MAX];
	unsigned int line;
	const char *wrong;
	size_t index;

	wrong = kind == SECTION_CLIENT ? value_host(name, copy) : value_name(name, copy, sizeof(copy));
	if (wrong) {
		config_mistake(p, p->line, "[%s %s]: the name \"%s\" %s", config_section_names[kind], name, name,
			       wrong);
		return false;
	}
	line = section_line(p->config, kind, name, &index);
	if (line) {
		config_mistake(p, p->line, "[%s %s] is given a second time; the first is on line %u",
			       config_section_names[kind], name, line);
		return false;
	}
	if (index >= (kind == SECTION_NETWORK ? APPLIANCE_NETWORKS : SECTIONS_MAX)) {
		config_mistake(p, p->line, "there are more than %zu sections [%s NAME]", index,
			       config_section_names[kind]);
		return false;
	}
	reader->index = index;
	return section_add(reader, kind, name);
}

static int unknown_section(struct config_reader *reader, const char *word)
{
	const char *near = value_nearest(word, config_section_names);

	if (near)
		config_mistake(&reader->parser, reader->parser.line, "there is no section [%s]; did you mean [%s]?",
			       word, near);
	else
		config_mistake(&reader->parser, reader->parser.line,
			       "there is no section [%s]; bootwell.conf(5) lists them", word);
	return -1;
}

/* `title`: what stands between the brackets. Returns the section, -1 after a mistake. */
static int open_section(struct config_reader *reader, char *title)
{
	struct config_parser *p = &reader->parser;
	char *word, *name, *rest;
	int kind = 0;

	word = strtok_r(title, " \t", &rest);
	name = strtok_r(NULL, " \t", &rest);
	memset(reader->given, 0, sizeof(reader->given));
	snprintf(reader->label, sizeof(reader->label), "[%.20s%s%.70s]", word ? word : "", name ? " " : "",
		 name ? name : "");
	if (!word)
		return unknown_section(reader, "");
	while (kind < SECTIONS && strcmp(word, config_section_names[kind]))
		kind++;
	if (kind == SECTIONS)
		return unknown_section(reader, word);
	if (strtok_r(NULL, " \t", &rest) || (name && !config_section_named(kind)) ||
	    (!name && config_section_named(kind))) {
		config_mistake(p, p->line,
			       config_section_named(kind) ? "[%s NAME] needs one name, without blanks"
							  : "[%s] has no name behind it",
			       config_section_names[kind]);
		return -1;
	}
	if (name)
		return open_named(reader, kind, name) ? kind : -1;
	if (reader->once[kind]) {
		config_mistake(p, p->line, "[%s] is given a second time; the first is on line %u", word,
			       reader->once[kind]);
		return -1;
	}
	reader->once[kind] = p->line;
	if (kind == SECTION_APPLIANCE)
		p->config->appliance.line = p->line;
	if (kind == SECTION_DHCP) {
		p->dhcp_line = p->line;
		p->config->dhcp_mode = CONFIG_DHCP_FULL;
	}
	return kind;
}

/* --- lines ------------------------------------------------------------------------------------ */

/* Looks at one line before libinih does: opens sections, finds what libinih could not make sense
 * of. */
static void look_at(struct config_reader *reader, const char *line)
{
	struct config_parser *p = &reader->parser;
	char title[128];
	const char *end;

	line += strspn(line, " \t");
	if (*line == '[') {
		reader->before_first = false;
		end = strchr(line, ']');
		if (!end || (size_t)(end - line) >= sizeof(title)) {
			config_mistake(p, p->line,
				       end ? "the name of this section is too long"
					   : "this section has no ] at its end");
			reader->section = -1;
			return;
		}
		memcpy(title, line + 1, end - line - 1);
		title[end - line - 1] = '\0';
		reader->section = open_section(reader, title);
		return;
	}
	if (*line && !strchr("#;\r\n", *line) && !strpbrk(line, "=:"))
		config_mistake(p, p->line, "this line is no [section], no \"key = value\" and no # comment");
}

/* libinih's source of lines. */
static char *next_line(char *buffer, int size, void *stream)
{
	struct config_reader *reader = stream;
	size_t n;

	if (reader->out_of_memory || !fgets(buffer, size, reader->file))
		return NULL;
	n = strlen(buffer);
	reader->parser.line++;
	if (n + 1 == (size_t)size && buffer[n - 1] != '\n') {
		int c;

		config_mistake(&reader->parser, reader->parser.line, "this line is longer than %d characters",
			       size - 2);
		do
			c = fgetc(reader->file);
		while (c != EOF && c != '\n');
		buffer[0] = '\0';
		return buffer;
	}
	if (reader->parser.line == 1 && !strncmp(buffer, "\xef\xbb\xbf", 3))
		memmove(buffer, buffer + 3, n - 2);
	look_at(reader, buffer);
	return buffer;
}

/* libinih's handler: one name and value. Always 1: our own bookkeeping counts the mistakes. */
static int take_key(void *user, const char *section, const char *name, const char *value)
{
	struct config_reader *reader = user;
	struct config_parser *p = &reader->parser;

	(void)section; /* cut at 49 characters by libinih; open_section() has it whole */
	if (reader->before_first)
		config_mistake(p, p->line, "\"%s\" stands before the first [section]", name);
	else if (reader->section >= 0)
		config_take_key(reader, name, value);
	return 1;
}

static void read_lines(struct config_reader *reader)
{
	ini_use_stack = false;
	ini_initial_alloc = ini_max_line = LINE_MAX_BYTES;
	ini_allow_multiline = false; /* an indented key is a key */
	ini_inline_comment_prefixes = ";#";
	reader->before_first = true;
	reader->section = -1;
	if (ini_parse_stream(next_line, reader, take_key, reader) == -2)
		reader->out_of_memory = true;
}

/* --- the whole -------------------------------------------------------------------------------- */

static struct config *config_defaults(const char *file)
{
	struct config *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->group = calloc(1, sizeof(*c->group));
	if (!c->group) {
		free(c);
		return NULL;
	}
	c->groups = 1;
	strcpy(c->group[0].name, "default");
	profile_init(&c->group[0].profile);
	snprintf(c->file, sizeof(c->file), "%s", file);
	strcpy(c->server_name, "bootwell");
	c->targets = true;
	strcpy(c->state_path, "/var/lib/bootwell");
	strcpy(c->run_path, "/run/bootwell");
	c->log_level = LOG_LEVEL_INFO;
	c->dhcp_mode = CONFIG_DHCP_OFF;
	c->dhcp_port = 67;
	c->dhcp_probe = true;
	c->handoff_timeout = 60;
	c->tftp = true;
	c->tftp_port = 69;
	strcpy(c->tftp_root, "/usr/lib/ipxe");
	c->tftp_blksize_max = 1468;
	c->tftp_windowsize_max = 64;
	strcpy(c->tftp_fastpath, "auto");
	c->tftp_fastpath_memory = 64 << 20;
	c->tftp_sessions_max = 4096;
	c->http_port = 8001;
	c->upload_port = 1000;
	c->iscsi_port = 3260;
	strcpy(c->iqn_prefix, "iqn.2026-01.org.bootwell");
	strcpy(c->images_path, "/var/lib/bootwell/images");
	strcpy(c->store_path, "/var/lib/bootwell/write-back.state");
	c->store_size = 8ULL << 30;
	c->image_ram = 512 << 20;
	c->write_back_ram = 64 << 20;
	c->register_clients = c->ask_name = c->script_nonce = true;
	strcpy(c->client_name_pattern, "PC%03u");
	c->alert.end_after = 300;
	return c;
}

static int open_file(struct config_reader *reader, const char *file)
{
	struct stat st;

	reader->file = fopen(file, "re");
	if (!reader->file) {
		int error = errno;

		config_mistake(&reader->parser, 0, "cannot open the configuration: %s", strerror(error));
		return -error;
	}
	if (!fstat(fileno(reader->file), &st) && S_ISREG(st.st_mode) && st.st_size <= FILE_MAX_BYTES)
		return 0;
	config_mistake(&reader->parser, 0, "this is no file of at most %d MiB", FILE_MAX_BYTES >> 20);
	return -EINVAL;
}

int config_read_known(struct config **ret, const char *file, const struct config_known *known, config_report_fn report,
		      void *arg)
{
	struct config_reader reader = {.parser = {.report = report, .report_arg = arg, .known = known}};
	struct config_parser *p = &reader.parser;
	int r;

	p->config = config_defaults(file);
	if (!p->config)
		return -ENOMEM;
	r = open_file(&reader, file);
	if (!r) {
		read_lines(&reader);
		config_check(p);
		if (reader.out_of_memory)
			r = -ENOMEM;
		else if (p->mistakes)
			r = -EINVAL;
	}
	if (r == -ENOMEM)
		config_mistake(p, 0, "out of memory");
	if (reader.file)
		fclose(reader.file);
	free(p->subnet_lines);
	free(p->reference);
	if (r) {
		config_free(p->config);
		return r;
	}
	*ret = p->config;
	return 0;
}

static void report_nothing(void *arg, const char *file, unsigned int line, const char *message)
{
	(void)arg, (void)file, (void)line, (void)message;
}

int config_read_leniently(struct config **ret, const char *file)
{
	struct config_reader reader = {.parser = {.report = report_nothing}};
	struct config_parser *p = &reader.parser;
	int r;

	p->config = config_defaults(file);
	if (!p->config)
		return -ENOMEM;
	r = open_file(&reader, file);
	if (!r) {
		read_lines(&reader);
		if (reader.out_of_memory)
			r = -ENOMEM;
	}
	if (reader.file)
		fclose(reader.file);
	free(p->subnet_lines);
	free(p->reference);
	if (r) {
		config_free(p->config);
		return r;
	}
	*ret = p->config;
	return 0;
}

int config_read(struct config **ret, const char *file, config_report_fn report, void *arg)
{
	return config_read_known(ret, file, NULL, report, arg);
}

void config_free(struct config *config)
{
	if (!config)
		return;
	free(config->subnet);
	free(config->group);
	free(config->client);
	free(config->image);
	free(config->network);
	if (config->operator)
		explicit_bzero(config->operator, config->operators * sizeof(*config->operator));
	free(config->operator);
	explicit_bzero(config->token, sizeof(config->token));
	free(config);
}
