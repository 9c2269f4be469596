/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of config/ share. tree.c is beneath the others: names of sections, growing, finding, telling a
 * mistake; keys.c takes a key, check.c looks at the whole, config.c reads the file and calls both.
 */
#ifndef BOOTWELL_CONFIG_PARSE_H
#define BOOTWELL_CONFIG_PARSE_H

#include <stdio.h>

#include "daemon/config/config.h"

/* Lines of what is checked after reading; 0: not given. */
struct config_subnet_lines {
	unsigned int interface, network, server, range, exclude, router;
};

/* A name that must exist somewhere in the file. */
struct config_reference {
	unsigned int line;
	enum { CONFIG_REFERENCE_IMAGE, CONFIG_REFERENCE_GROUP } what;
	char name[CONFIG_NAME_MAX];
	char from[96]; /* "[client PC101]" */
};

struct config_parser {
	struct config *config;
	config_report_fn report;
	void *report_arg;
	const struct config_known *known;
	unsigned int line;
	unsigned int mistakes;
	struct config_subnet_lines *subnet_lines; /* as long as config->subnet */
	struct config_reference *reference;
	size_t references;
	unsigned int dhcp_line; /* of [dhcp]; 0: there is none */
	unsigned int backup_line, port_line, state_line, store_line;
};

enum config_section {
	SECTION_SERVER,
	SECTION_DHCP,
	SECTION_SUBNET,
	SECTION_TFTP,
	SECTION_HTTP,
	SECTION_ISCSI,
	SECTION_IMAGES,
	SECTION_WRITE_BACK,
	SECTION_CACHE,
	SECTION_CLIENTS,
	SECTION_IMAGE,
	SECTION_GROUP,
	SECTION_CLIENT,
	SECTION_APPLIANCE,
	SECTION_NETWORK,
	SECTION_OPERATOR,
	SECTION_ALERT,
	SECTIONS
};
extern const char *const config_section_names[SECTIONS + 1];

/* Sections of the form [subnet NAME], any number of them. */
static inline bool config_section_named(int s)
{
	return s == SECTION_SUBNET || s == SECTION_IMAGE || s == SECTION_GROUP || s == SECTION_CLIENT ||
	       s == SECTION_NETWORK || s == SECTION_OPERATOR;
}

#define CONFIG_KEYS_MAX 128

/* Where the reader is. */
struct config_reader {
	struct config_parser parser;
	FILE *file;
	int section;                         /* enum config_section; -1: in an unknown one, which was reported */
	bool before_first;                   /* no section yet */
	char label[96];                      /* "[client PC101]" */
	size_t index;                        /* of the current subnet, image, group or client */
	size_t lan;                          /* index of the subnet that [dhcp] makes, + 1; 0: none yet */
	unsigned int once[SECTIONS];         /* line of a section that may come once */
	unsigned int given[CONFIG_KEYS_MAX]; /* by key in the table: its line in this section */
	bool out_of_memory;
};

/* Takes one "name = value" of the current section. */
void config_take_key(struct config_reader *reader, const char *name, const char *value);

/* Adds a subnet with the defaults; false: out of memory. */
bool config_add_subnet(struct config_reader *reader, const char *name);

/* Makes room for one more element of the array at *(void **)array, zeroed; NULL: out of memory. */
void *config_append(struct config_reader *reader, void *array, size_t *count, size_t size);

/* Reports one mistake, on `line`. */
void config_mistake(struct config_parser *parser, unsigned int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Looks at the whole; fills in what is derived (networks from interfaces, the default image). */
void config_check(struct config_parser *parser);

#endif
