// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a firmware can do: which boot program it gets, and whether its iPXE runs our script. For which CPU it is, option
 * 93 says (RFC 4578, and IANA's list "Processor Architecture Types"; the ones for HTTP are the same CPUs); how it is
 * fetched, by TFTP or as a URI, says the class of option 60 alone. Each kind of CPU is a row: a new one is a row here,
 * and a key of its own if people have programs of their own for it.
 */
#include <stddef.h>
#include <string.h>

#include "daemon/boot/private.h"

/* Features of iPXE, as its option 175 numbers them. */
#define IPXE_ISCSI (1ull << 17)
#define IPXE_HTTP  (1ull << 19)
#define IPXE_MENU  (1ull << 39)

#define KEY(field) offsetof(struct config_profile, field)

/* The two programs that a firmware may like; the first is tried first. Debian builds iPXE for BIOS and x64 only; the
 * others have the names that they have on boot.ipxe.org. */
static const struct cpu {
	const char *name, *http_name; /* for a person; http_name: where the number is one of HTTP */
	const char *pair[2];
	size_t key; /* in a profile: what configuration names instead */
	uint16_t arch[4];
	unsigned int archs;
} cpu[] = {
	{"bios", "http-bios", {"undionly.kpxe", "ipxe.pxe"}, KEY(nbp_bios), {0, 20, 0xffff}, 3},
	{"uefi-x64",
	 "http-x64",
	 {"snponly.efi", "ipxe.efi"},
	 KEY(nbp_uefi),
	 {7, 9, 16, 17},
	 4}, /* 9 and 17 say EBC, and are x64 in fact */
	{"uefi-ia32", "http-ia32", {"i386-efi/snponly.efi", "i386-efi/ipxe.efi"}, KEY(nbp_ia32), {6, 15}, 2},
	{"uefi-arm32", "http-arm32", {"arm32-efi/snponly.efi", "arm32-efi/ipxe.efi"}, KEY(nbp_arm32), {10, 18}, 2},
	{"uefi-arm64", "http-arm64", {"arm64-efi/snponly.efi", "arm64-efi/ipxe.efi"}, KEY(nbp_arm64), {11, 19}, 2},
	{"uefi-riscv64",
	 "http-riscv64",
	 {"riscv64-efi/snponly.efi", "riscv64-efi/ipxe.efi"},
	 KEY(nbp_riscv64),
	 {27, 28},
	 2},
	{"uefi-loongarch64",
	 "http-loongarch64",
	 {"loong64-efi/snponly.efi", "loong64-efi/ipxe.efi"},
	 KEY(nbp_loongarch64),
	 {39, 40},
	 2},
};

static const struct cpu *cpu_of(uint16_t arch)
{
	for (size_t i = 0; i < sizeof(cpu) / sizeof(cpu[0]); i++)
		for (unsigned int k = 0; k < cpu[i].archs; k++)
			if (cpu[i].arch[k] == arch)
				return &cpu[i];
	return NULL;
}

bool boot_firmware_known(uint16_t arch)
{
	return cpu_of(arch);
}

const char *boot_firmware_name(uint16_t arch)
{
	const struct cpu *c = cpu_of(arch);

	if (arch == 0xffff)
		return "";
	if (!c)
		return "other";
	return (arch >= 15 && arch <= 20) || arch == 28 || arch == 40 ? c->http_name : c->name;
}

const char *boot_firmware_program(const struct config_profile *profile, const struct state_client *rec, uint16_t arch)
{
	const struct cpu *c = cpu_of(arch);
	const char *configured = c ? (const char *)profile + c->key : profile->nbp_uefi;
	unsigned int now = 0;

	if (!c || *configured)
		return configured;
	if (rec && !strcmp(rec->nbp, c->pair[1]))
		now = 1;
	if (rec && rec->nbp_failed && !strcmp(rec->nbp, c->pair[now]))
		now = !now;
	return c->pair[now];
}

bool boot_firmware_runs_script(const struct config *config, const struct config_profile *profile, uint64_t features)
{
	uint64_t needs = IPXE_ISCSI;

	if (!features)
		return true;
	if (profile->images > 1)
		needs |= IPXE_MENU | IPXE_HTTP;
	if (config->dhcp_mode == CONFIG_DHCP_PROXY || profile->upload == CONFIG_YES)
		needs |= IPXE_HTTP;
	return (features & needs) == needs;
}
