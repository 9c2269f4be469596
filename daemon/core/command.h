/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What our programs for people have in common: how they end, and --json. */
#ifndef BOOTWELL_CORE_COMMAND_H
#define BOOTWELL_CORE_COMMAND_H

#include <stdbool.h>

/* Exit status: done; refused or failed, with the reason on stderr; wrong usage. */
#define CLI_OK     0
#define CLI_FAILED 1
#define CLI_USAGE  2

/* Takes --json out of argv wherever it stands, and says whether it was there. */
bool cli_take_json(int *argc, char **argv);

#endif
