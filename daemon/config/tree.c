// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The configuration as a tree of sections, beneath its reader (config.c), the table of keys (keys.c) and the look at
 * the whole (check.c): the names of sections, room for one more of them, finding one, and how a mistake is told.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/config/config.h"
#include "daemon/config/private.h"

const char *const config_section_names[SECTIONS + 1] = {
	"server",  "dhcp",  "subnet", "tftp",   "http",      "iscsi",   "images",   "write-back", "cache",
	"clients", "image", "group",  "client", "appliance", "network", "operator", "alert",      NULL,
};

void config_mistake(struct config_parser *parser, unsigned int line, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	parser->mistakes++;
	parser->report(parser->report_arg, parser->config->file, line, text);
}

/* --- growing ---------------------------------------------------------------------------------- */

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

	if (!config_append(reader, &reader->parser.subnet_lines, &n, sizeof(*reader->parser.subnet_lines)))
		return false;
	subnet = config_append(reader, &c->subnet, &c->subnets, sizeof(*subnet));
	if (!subnet)
		return false;
	snprintf(subnet->name, sizeof(subnet->name), "%s", name);
	subnet->line = reader->parser.line;
	subnet->lease_time = 12 * 3600;
	return true;
}

/* --- finding ---------------------------------------------------------------------------------- */

const struct config_image *config_image_find(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->images; i++)
		if (!strcmp(config->image[i].name, name))
			return &config->image[i];
	return NULL;
}

const struct config_group *config_group_find(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->groups; i++)
		if (!strcmp(config->group[i].name, *name ? name : "default"))
			return &config->group[i];
	return NULL;
}

const struct config_client *config_client_named(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->clients; i++)
		if (!strcasecmp(config->client[i].name, name))
			return &config->client[i];
	return NULL;
}

const struct config_subnet *config_subnet_for_address(const struct config *config, uint32_t address)
{
	for (size_t i = 0; i < config->subnets; i++)
		if (((address ^ config->subnet[i].network) & ~(0xffffffffu >> config->subnet[i].prefix)) == 0)
			return &config->subnet[i];
	return NULL;
}
