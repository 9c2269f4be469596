/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the subcommands share: asking the daemon, printing. */
#ifndef BOOTWELL_CLI_PRIVATE_H
#define BOOTWELL_CLI_PRIVATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "daemon/config/config.h"

#define CLI_DEFAULT_CONFIG "/etc/bootwell/bootwell.conf"

/* A mistake of a configuration on stderr (a config_report_fn). */
void cli_report_mistake(void *arg, const char *file, unsigned int line, const char *message);
/* For struct config_known, where the catalogue is not to be asked: it may be what is damaged, or not be here yet. */
bool cli_any_image(void *arg, const struct config *config, const char *name);

/*
 * Asks bootwelld through its unix socket ($BOOTWELL_SOCKET, or /run/bootwell/control). `body` may
 * be NULL; it is consumed. Returns CLI_OK and the answer, or CLI_FAILED with the reason on stderr.
 */
int cli_ask(const char *method, const char *path, json_t *body, json_t **ret);
/* The same, for an answer that is text; to be freed. */
int cli_ask_text(const char *method, const char *path, char **ret);

/* Whether bootwelld can be reached there. A socket that nobody listens on is what a killed one leaves. */
bool cli_daemon_runs(void);

/* Who else answers DHCP there ("": at all interfaces): by bootwelld, or by this program when none runs. */
int cli_dhcp_scan(const char *interface, json_t **ret);

/* A part of a path: letters, digits, `._-` as they are, the rest as %XX. */
void cli_escape(char *ret, size_t size, const char *text);

void cli_print_json(const json_t *json);

/* A member as text; `none` if it is missing or null. */
const char *cli_text(const json_t *object, const char *key, const char *none);
/* Bytes for a person: 512, 1.5K, 20G. */
const char *cli_size(char buffer[16], double bytes);

/* image commit NAME ...: cli/commit.c */
int cli_commit(int argc, char **argv, bool json);
/* Waits until the commit that GET `path` tells of has ended, showing how it goes; CLI_OK and the last answer. */
int cli_commit_wait(const char *path, json_t **ret, bool quiet);
/* The progress bar of a commit that is being written, as the server tells of it. */
void cli_commit_bar(const json_t *commit, char *text, size_t size);

/*
 * A file, or an image of the catalogue, of which it is the current generation: what has a / in it, or is the name of a
 * file, is a file; everything else the server is asked for.
 */
struct cli_image_file {
	char name[64]; /* "": a file */
	unsigned int generation;
	char format[16]; /* as it was when the image was added; "" for a file: as it looks */
	char path[4096];
};
int cli_find_image(const char *operand, struct cli_image_file *ret);

/* Complains about wrong usage. */
int cli_usage(const char *text);

#endif
