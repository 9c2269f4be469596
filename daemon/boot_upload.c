// SPDX-License-Identifier: GPL-2.0-or-later
/* Which PC may upload an image: the one at that address whose record, section or group says so. Its capture system. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/boot_private.h"
#include "daemon/ipxe_script.h"
#include "daemon/log.h"

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

/* Is there such an image by now? The name in the catalogue is the file's without its ending. */
static bool captured(struct boot *boot, const char *file)
{
	const char *dot = strrchr(file, '.');
	char name[CONFIG_NAME_MAX];
	struct store_image row;

	snprintf(name, sizeof(name), "%.*s", dot ? (int)(dot - file) : (int)strlen(file), file);
	return store_image_current(boot->store, name, &row) > 0;
}

/*
 * A PC that may upload gets the capture system while the image that `capture` names is not there yet, or when it has no
 * image to start from anyway. Once captured it boots as the others do.
 */
bool boot_send_capture(struct boot *boot, struct boot_client *client,
		       const struct config_profile *profile, boot_script_fn done, void *arg)
{
	char text[IPXE_SCRIPT_MAX];
	int n;

	if (profile->upload != CONFIG_YES || client->state == BOOT_PREPARING)
		return false;
	if (profile->capture[0] ? captured(boot, profile->capture) : profile->images > 0)
		return false;
	client->nbp_sent_ns = 0;
	log_notice("client %s starts the capture system", client->rec.name);
	n = ipxe_script_capture(text, sizeof(text), client->rec.name, client->server, boot->config->http_port,
				boot->config->upload_port, profile->capture, profile->capture_disk);
	done(arg, n > 0 ? text : "", n > 0 ? n : 0);
	return true;
}
