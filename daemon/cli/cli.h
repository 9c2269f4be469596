/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line tool's subcommands: `bootwell WORD ...` finds WORD in a table and calls its function with argv[0] =
 * WORD. They return the exit status: 0 done, 1 refused or failed (reason on stderr), 2 wrong usage.
 */
#ifndef BOOTWELL_CLI_H
#define BOOTWELL_CLI_H

#include "daemon/core/command.h"

struct cli_command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help; /* one line */
};

int cli_config(int argc, char **argv);    /* check FILE */
int cli_image(int argc, char **argv);     /* info|check|convert: cli/image.c; the rest: cli/catalogue.c */
int cli_catalogue(int argc, char **argv); /* image list|add|remove|commit|rollback */
int cli_upload(int argc, char **argv);    /* image upload FILE */
int cli_verify(int argc, char **argv);    /* image verify NAME|FILE */
int cli_doctor(int argc, char **argv);    /* image doctor NAME|FILE */
int cli_checkup(int argc, char **argv);   /* doctor [-c FILE] */
int cli_client(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_metrics(int argc, char **argv);
int cli_dhcp(int argc, char **argv);   /* scan */
int cli_system(int argc, char **argv); /* status|update FILE|settings FILE: the appliance */
int cli_token(int argc, char **argv);  /* [--hash] */
int cli_audit(int argc, char **argv);
int cli_alert(int argc, char **argv);   /* list|test */
int cli_backup(int argc, char **argv);  /* FILE */
int cli_restore(int argc, char **argv); /* FILE */
int cli_state(int argc, char **argv);   /* list|check [COPY]|restore COPY */

#endif
