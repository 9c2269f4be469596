// SPDX-License-Identifier: GPL-2.0-or-later
/* Flags that a command takes wherever they stand among its words. */
#include "daemon/core/command.h"

#include <string.h>

bool cli_take_json(int *argc, char **argv)
{
	bool found = false;
	int n = 0;

	for (int i = 0; i < *argc; i++) {
		if (i && !strcmp(argv[i], "--json"))
			found = true;
		else
			argv[n++] = argv[i];
	}
	*argc = n;
	argv[n] = NULL;
	return found;
}
