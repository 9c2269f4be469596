// SPDX-License-Identifier: GPL-2.0-or-later
/* Which PC may upload an image: the one at that address whose record, section or group says so. */
#include <errno.h>
#include <stdio.h>

#include "daemon/boot_private.h"

int boot_may_upload(struct boot *boot, uint32_t address, char ret_name[CONFIG_HOST_MAX],
		    char error[BOOT_ERROR_MAX])
{
	struct boot_client *client = boot_clients_by_address(boot->clients, address);
	const struct config_profile *profile;

	if (!client) {
		snprintf(error, BOOT_ERROR_MAX,
			 "no client has the address %u.%u.%u.%u: only PCs that were started from this server, "
			 "or an operator with the token of [http], may upload images",
			 address >> 24, address >> 16 & 0xff, address >> 8 & 0xff, address & 0xff);
		return -EACCES;
	}
	profile = boot_profile(boot, boot_section(boot, client), &client->rec);
	if (profile->upload != CONFIG_YES) {
		snprintf(error, BOOT_ERROR_MAX,
			 "client %s may not upload images: allow it with \"bootwell client set %s --upload yes\"",
			 client->rec.name, client->rec.name);
		return -EACCES;
	}
	snprintf(ret_name, CONFIG_HOST_MAX, "%s", client->rec.name);
	return 0;
}
