// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a PC is given, merged from the places that say something about it: its [client] section, its record (what
 * `bootwell client set` said), its group, [group default]. Beneath all other files of boot/.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/boot/private.h"
#include "daemon/core/clock.h"
#include "daemon/core/log.h"

uint64_t boot_realtime_ns(void)
{
	return clock_realtime_ns();
}

void boot_step(const struct boot_client *client, const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_limited(100, LOG_LEVEL_DEBUG, "boot of %s: %s", client->rec.name, text);
}

static void merge_text(char *into, const char *from, size_t size)
{
	if (!*into)
		memcpy(into, from, size);
}

static void merge_profile(struct config_profile *into, const struct config_profile *from)
{
	if (!into->images) {
		memcpy(into->image, from->image, sizeof(into->image));
		into->images = from->images;
	}
	if (!into->disks_given && from->disks_given) {
		memcpy(into->disk, from->disk, sizeof(into->disk));
		into->disks = from->disks;
		into->disks_given = true;
	}
	if (into->keep == CONFIG_UNSET)
		into->keep = from->keep;
	if (into->upload == CONFIG_UNSET)
		into->upload = from->upload;
	if (into->computer_name == CONFIG_UNSET)
		into->computer_name = from->computer_name;
	if (into->ibft_gateway == CONFIG_UNSET)
		into->ibft_gateway = from->ibft_gateway;
	if (!into->capture[0])
		memcpy(into->capture, from->capture, sizeof(into->capture));
	if (!into->capture_disk[0])
		memcpy(into->capture_disk, from->capture_disk, sizeof(into->capture_disk));
	merge_text(into->nbp_bios, from->nbp_bios, sizeof(into->nbp_bios));
	merge_text(into->nbp_uefi, from->nbp_uefi, sizeof(into->nbp_uefi));
	merge_text(into->nbp_ia32, from->nbp_ia32, sizeof(into->nbp_ia32));
	merge_text(into->nbp_arm32, from->nbp_arm32, sizeof(into->nbp_arm32));
	merge_text(into->nbp_arm64, from->nbp_arm64, sizeof(into->nbp_arm64));
	merge_text(into->nbp_riscv64, from->nbp_riscv64, sizeof(into->nbp_riscv64));
	merge_text(into->nbp_loongarch64, from->nbp_loongarch64, sizeof(into->nbp_loongarch64));
	for (unsigned int i = 0; i < from->options.count; i++) {
		const struct config_option *option = &from->options.option[i];
		unsigned int k = 0;

		while (k < into->options.count && into->options.option[k].code != option->code)
			k++;
		if (k == into->options.count && k < CONFIG_OPTIONS)
			into->options.option[into->options.count++] = *option;
	}
}

/* Section, then what `bootwell client set` said, then the group, then [group default]. */
const struct config_profile *boot_profile(struct boot *boot, const struct config_client *section,
					  const struct state_client *rec)
{
	struct config_profile *p = &boot->merged;
	const struct config_group *group;

	memset(p, 0, sizeof(*p));
	p->keep = p->upload = p->computer_name = p->ibft_gateway = CONFIG_UNSET;
	if (section)
		merge_profile(p, &section->profile);
	if (rec && rec->image[0] && !p->images) {
		snprintf(p->image[0], sizeof(p->image[0]), "%s", rec->image);
		p->images = 1;
	}
	if (rec && p->keep == CONFIG_UNSET && rec->keep >= 0)
		p->keep = rec->keep ? CONFIG_YES : CONFIG_NO;
	if (rec && p->upload == CONFIG_UNSET && rec->upload >= 0)
		p->upload = rec->upload ? CONFIG_YES : CONFIG_NO;
	group = config_group_find(boot->config, section && section->group[0] ? section->group : rec ? rec->group : "");
	if (group)
		merge_profile(p, &group->profile);
	merge_profile(p, &boot->config->group[0].profile);
	if (p->keep == CONFIG_UNSET)
		p->keep = CONFIG_NO;
	if (p->upload == CONFIG_UNSET)
		p->upload = CONFIG_NO;
	return p;
}

const struct config_client *boot_section(const struct boot *boot, const struct boot_client *client)
{
	return identity_section_of(boot->config, client->rec.key, client->rec.name);
}

void boot_name_iqn(const struct boot *boot, const char *what, const char *key, char ret[TARGET_NAME_MAX])
{
	snprintf(ret, TARGET_NAME_MAX, "%s:%s-%s", boot->config->iqn_prefix, what, key);
}
