// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Data and game disks: LUN 1 and on of a PC's target, each an image of the catalogue, shared and read-only, or with a
 * write-back of the PC's own. The boot script does not hook them: the iBFT that iPXE leaves tells of LUN 0, and the
 * operating system that logs in to that target finds all of its LUNs by itself (REPORT LUNS).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/boot/private.h"

_Static_assert(CONFIG_DISKS == TARGET_LUNS, "each disk that may be written into the configuration has a LUN");

/*
 * The write-back's UUID is derived from the PC's own, as that of its update session (boot/session.c, digit 8): it stays
 * the same for ever, and needs no place in the state.
 */
static void overlay_of(const struct boot_client *client, unsigned int lun, char ret[40])
{
	memcpy(ret, client->rec.overlay, 40);
	ret[14] = "9abc"[lun - 1];
}

int boot_luns_job(struct boot *boot, const struct boot_client *client, const struct config_profile *profile,
		  struct boot_disk_job *job, struct sentence *error)
{
	for (unsigned int i = 0; i < profile->disks; i++) {
		struct boot_disk_extra *extra = &job->extra[i];
		struct target_lun *lun = &job->disk.lun[i];
		int r = catalogue_resolve(boot->catalogue, profile->disk[i].image, &extra->chain, error);

		if (r)
			return r;
		extra->mode = profile->disk[i].mode;
		overlay_of(client, i + 1, extra->overlay);
		snprintf(lun->id, sizeof(lun->id), "%lld-%u", (long long)client->rec.id, i + 1);
		snprintf(lun->serial, sizeof(lun->serial), "%s", extra->overlay);
		lun->size = extra->chain.image.virtual_size;
		lun->read_only = extra->mode == CONFIG_DISK_READ_ONLY;
		job->disk.luns = i + 1;
	}
	return 0;
}

void boot_luns_ready(struct boot_client *client, const struct boot_disk_job *job)
{
	client->extras = job->disk.luns;
	for (unsigned int i = 0; i < client->extras; i++) {
		snprintf(client->extra[i].image, sizeof(client->extra[i].image), "%s", job->extra[i].chain.image.name);
		client->extra[i].generation = job->extra[i].chain.image.generation;
	}
}

/* A target of an earlier run: what the configuration says now is the best guess. */
void boot_luns_adopt(struct boot_client *client, const struct config_profile *profile)
{
	client->extras = profile->disks;
	for (unsigned int i = 0; i < client->extras; i++) {
		snprintf(client->extra[i].image, sizeof(client->extra[i].image), "%s", profile->disk[i].image);
		client->extra[i].generation = 0;
	}
}

bool boot_luns_use(const struct boot_client *client, const char *image, uint32_t generation)
{
	if (!client->has_target)
		return false;
	if (!strcmp(client->image, image) &&
	    (!generation || !client->steps.generation || client->steps.generation == generation))
		return true;
	for (unsigned int i = 0; i < client->extras; i++)
		if (!strcmp(client->extra[i].image, image) &&
		    (!generation || !client->extra[i].generation || client->extra[i].generation == generation))
			return true;
	return false;
}
