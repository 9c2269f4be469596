/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clients and their boots: registration, names, boot programs, who gets a script, what becomes of
 * an earlier run. */
#include <errno.h>
#include <ftw.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/boot/boot.h"
#include "daemon/boot/disk.h"
#include "daemon/boot/nonce.h"
#include "daemon/boot/private.h"
#include "daemon/catalogue/catalogue.h"
#include "daemon/core/loop.h"
#include "daemon/core/log.h"
#include "daemon/target/target.h"
#include "tcmu-handler/stats.h"
#include "tests/unit/catalogue_add.h"
#include "tests/unit/state_old.h"
#include "tests/unit/unit.h"

#define SERVER 0x7f000001u

static char root[] = "/tmp/bootwell-boot.XXXXXX";

/* A daemon's parts around boot, on a directory of its own. */
struct rig {
	struct loop *loop;
	struct config *config;
	struct state *state;
	struct catalogue *catalogue;
	struct targets *targets;
	struct boot *boot;
	struct loop_source *ticker;
	bool (*condition)(struct rig *rig);
	int ticks;
	/* what scripts said */
	char nonce[256][BOOT_NONCE_MAX]; /* of each PC's last DHCP answer as iPXE */
	char script[8][8192];
	unsigned int scripts;
};

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	return ftw->level ? remove(path) : 0;
}

/* A shell command there; its status. */
static int in_root(const char *command)
{
	char text[512];

	snprintf(text, sizeof(text), "cd %s && { %s; }", root, command);
	return system(text);
}

static void report(void *arg, const char *file, unsigned int line, const char *message)
{
	(void)arg;
	printf("# %s:%u: %s\n", file, line, message);
}

static void make_file(const char *name, const char *text, size_t size)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	file = fopen(path, "w");
	if (!file)
		abort();
	fputs(text, file);
	fclose(file);
	if (size && truncate(path, size))
		abort();
}

static struct config *make_config(const char *more)
{
	struct config *config = NULL;
	char text[4096], path[128];

	snprintf(text, sizeof(text),
		 "[server]\nstate = %s\nrun = %s\n[images]\npath = %s\n[dhcp]\nrange = "
		 "127.0.0.101-127.0.0.150\n"
		 "[image one]\nfile = one.raw\n[image two]\nfile = two.raw\n[group default]\nimage "
		 "= one\n%s",
		 root, root, root, more);
	make_file("bootwell.conf", text, 0);
	snprintf(path, sizeof(path), "%s/bootwell.conf", root);
	CU_ASSERT_EQUAL_FATAL(config_read(&config, path, report, NULL), 0);
	return config;
}

/* The state and configfs stay when the rig is closed: open_rig(..., true) is a restart. */
static struct rig *open_rig(const char *more, bool again)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct sentence error = {""};
	char path[128];

	if (!again) {
		nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
		make_file("one.raw", "", 1 << 20);
		make_file("two.raw", "", 2 << 20);
		snprintf(path, sizeof(path), "%s/configfs", root);
		mkdir(path, 0755);
	}
	rig->config = make_config(more);
	snprintf(path, sizeof(path), "%s/bootwell.db", root);
	CU_ASSERT_EQUAL_FATAL(state_new(&rig->state, path, &error), 0);
	CU_ASSERT_EQUAL_FATAL(catalogue_new(&rig->catalogue, rig->state, NULL), 0);
	catalogue_sync(rig->catalogue, rig->config);
	snprintf(path, sizeof(path), "%s/configfs", root);
	CU_ASSERT_EQUAL_FATAL(targets_new(&rig->targets, path, root), 0);
	CU_ASSERT_EQUAL_FATAL(targets_check(rig->targets, &error), 0);
	CU_ASSERT_EQUAL_FATAL(boot_disks_write_engine(rig->config, &error), 0);
	CU_ASSERT_EQUAL_FATAL(loop_new(&rig->loop), 0);
	CU_ASSERT_EQUAL_FATAL(boot_new(&rig->boot, rig->loop, rig->config, rig->state, rig->catalogue, rig->targets),
			      0);
	boot_adopt(rig->boot);
	return rig;
}

static void close_rig(struct rig *rig)
{
	boot_free(rig->boot);
	loop_source_free(rig->ticker);
	loop_free(rig->loop);
	targets_free(rig->targets);
	catalogue_free(rig->catalogue);
	state_free(rig->state);
	config_free(rig->config);
	free(rig);
}

static void tick(void *arg)
{
	struct rig *rig = arg;

	if (rig->condition(rig) || ++rig->ticks > 3000)
		loop_stop(rig->loop, 0);
	else
		loop_timer_set(rig->ticker, loop_now(rig->loop) + 10000000);
}

/* Runs the loop until the condition holds; false when it never does. */
static bool run_until(struct rig *rig, bool (*condition)(struct rig *rig))
{
	rig->condition = condition;
	rig->ticks = 0;
	if (!rig->ticker)
		loop_add_timer(rig->loop, 0, tick, rig, &rig->ticker);
	loop_timer_set(rig->ticker, 0);
	loop_run(rig->loop);
	return condition(rig);
}

static struct boot_identity firmware(uint8_t last, uint16_t arch)
{
	return (struct boot_identity){.mac = {2, 0, 0, 0, 0, last}, .arch = arch, .pxe = true};
}

static struct boot_identity ipxe(uint8_t last)
{
	return (struct boot_identity){.mac = {2, 0, 0, 0, 0, last}, .arch = 0, .pxe = true, .ipxe = true};
}

static uint32_t address_of(uint8_t last)
{
	return 0x7f000000u + last;
}

/* The two DHCP exchanges of a PC. */
static void dhcp(struct rig *rig, uint8_t last, uint16_t arch)
{
	struct boot_identity who = firmware(last, arch);
	struct boot_answer answer;

	boot_identify(rig->boot, &who, SERVER, &answer);
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, address_of(last), answer.nbp), 0);
	who = ipxe(last);
	who.arch = arch;
	boot_identify(rig->boot, &who, SERVER, &answer);
	CU_ASSERT(boot_script_path(answer.nbp, "boot.ipxe", rig->nonce[last]));
	CU_ASSERT_EQUAL(strlen(rig->nonce[last]), BOOT_NONCE_MAX - 1);
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, address_of(last), answer.nbp), 0);
}

static void take_script(void *arg, const char *text, uint32_t length)
{
	struct rig *rig = arg;

	CU_ASSERT_EQUAL(strlen(text), length);
	snprintf(rig->script[rig->scripts++ % 8], sizeof(rig->script[0]), "%s", text);
}

static void ask_with(struct rig *rig, uint8_t last, const char *nonce)
{
	struct boot_ask how = {.address = address_of(last), .server = SERVER, .nonce = nonce, .tftp = true};

	boot_script(rig->boot, &how, take_script, rig);
}

static void ask(struct rig *rig, uint8_t last)
{
	ask_with(rig, last, rig->nonce[last][0] ? rig->nonce[last] : "0123456789abcdef0123456789abcdef");
}

static bool one_script(struct rig *rig)
{
	return rig->scripts >= 1;
}

static bool four_scripts(struct rig *rig)
{
	return rig->scripts >= 4;
}

struct seen {
	struct state_client client;
	enum boot_state state;
	struct state_boot boot;
	bool has_target;
};

static void copy_view(void *arg, const struct boot_view *view)
{
	struct seen *seen = arg;

	seen->client = *view->client;
	seen->state = view->state;
	seen->boot = *view->boot;
	seen->has_target = view->has_target;
}

static struct seen look(struct rig *rig, const char *name)
{
	struct seen seen = {};

	if (boot_view_name(rig->boot, name, copy_view, &seen))
		seen.client.id = -1;
	return seen;
}

static unsigned int count_targets(void)
{
	char command[160];
	FILE *pipe;
	unsigned int n = 0;

	snprintf(command, sizeof(command), "ls %s/configfs/iscsi | wc -l", root);
	pipe = popen(command, "r");
	if (!pipe || fscanf(pipe, "%u", &n) != 1)
		abort();
	pclose(pipe);
	return n;
}

/* --- registration --- */

static void test_boot_registers_at_first_lease(void)
{
	struct rig *rig = open_rig("", false);
	struct boot_identity who = firmware(101, 0), other = firmware(7, 0);
	struct boot_answer answer;
	struct seen seen;

	boot_identify(rig->boot, &who, SERVER, &answer);
	CU_ASSERT_FALSE(answer.known);
	CU_ASSERT_STRING_EQUAL(answer.hostname, "");
	CU_ASSERT_STRING_EQUAL(answer.initiator, "iqn.2026-01.org.bootwell:pc-020000000065");
	CU_ASSERT_EQUAL(look(rig, "PC101").client.id, -1); /* asking registers nothing */
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, address_of(101), "undionly.kpxe"), 0);
	seen = look(rig, "pc101");
	CU_ASSERT(seen.client.id > 0);
	CU_ASSERT_STRING_EQUAL(seen.client.name, "PC101");
	CU_ASSERT_STRING_EQUAL(seen.client.nbp, "undionly.kpxe");
	CU_ASSERT_EQUAL(seen.state, BOOT_STARTING);
	/* Another one with the same last octet gets another name. */
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &other, 0x7f000165, ""), 0);
	CU_ASSERT_STRING_EQUAL(look(rig, "PC256").client.name, "PC256");
	boot_identify(rig->boot, &who, SERVER, &answer);
	CU_ASSERT_TRUE(answer.known);
	CU_ASSERT_STRING_EQUAL(answer.hostname, "PC101");
	close_rig(rig);
	rig = open_rig("", true);
	CU_ASSERT_STRING_EQUAL(look(rig, "PC101").client.name, "PC101");
	close_rig(rig);
}

static void test_boot_register_off(void)
{
	struct rig *rig = open_rig("[clients]\nregister = no\n[client KNOWN]\nmac = 02:00:00:00:00:66\n", false);
	struct boot_identity who = firmware(101, 0), known = firmware(0x66, 0);
	struct boot_stats stats;

	CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, address_of(101), ""), 0);
	boot_stats(rig->boot, &stats);
	CU_ASSERT_EQUAL(stats.clients, 0);
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &known, address_of(102), ""), 0);
	CU_ASSERT_STRING_EQUAL(look(rig, "known").client.name, "KNOWN");
	close_rig(rig);
}

/* MAC addresses cost a stranger nothing: the table has an end, leases go on. */
static void test_boot_register_limit(void)
{
	struct rig *rig = open_rig("", false);
	struct boot_stats stats;

	log_set_level(LOG_LEVEL_ERROR);
	CU_ASSERT_EQUAL(state_begin(rig->state), 0);
	for (unsigned int i = 0; i < 5000; i++) {
		struct boot_identity who = {.mac = {2, 1, 0, 0, i >> 8, i & 255}, .arch = 0xffff};

		CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, 0x0a000000 + i, ""), 0);
	}
	CU_ASSERT_EQUAL(state_commit(rig->state), 0);
	boot_stats(rig->boot, &stats);
	CU_ASSERT_EQUAL(stats.clients, 4096);
	close_rig(rig);
	log_set_level(LOG_LEVEL_WARNING);
}

/* The lease's transaction is rolled back: the client in memory has no row; it gets one at its next
 * lease. */
static void test_boot_register_rolled_back(void)
{
	struct rig *rig = open_rig("", false);
	struct boot_identity a = firmware(101, 0), b = firmware(102, 0);
	struct state_client row;

	CU_ASSERT_EQUAL(state_begin(rig->state), 0);
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &a, address_of(101), "undionly.kpxe"), 0);
	state_rollback(rig->state);
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &b, address_of(102), "undionly.kpxe"), 0);
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &a, address_of(103), "undionly.kpxe"), 0);
	CU_ASSERT_EQUAL(state_client_by_mac(rig->state, a.mac, &row), 1);
	CU_ASSERT_STRING_EQUAL(row.name, "PC101");
	CU_ASSERT_EQUAL(state_client_by_mac(rig->state, b.mac, &row), 1);
	CU_ASSERT_STRING_EQUAL(row.name, "PC102");
	close_rig(rig);
}

static void test_boot_section_takes_the_name(void)
{
	struct rig *rig = open_rig("", false);
	struct boot_identity a = firmware(101, 0), b = firmware(102, 0);

	boot_leased(rig->boot, &a, address_of(101), "");
	boot_leased(rig->boot, &b, address_of(102), "");
	close_rig(rig);
	/* The file gives PC101's name to the other PC. */
	rig = open_rig("[client PC101]\nmac = 02:00:00:00:00:66\n", true);
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &b, address_of(102), ""), 0);
	CU_ASSERT_EQUAL(look(rig, "PC101").client.mac[5], 102);
	CU_ASSERT_EQUAL(look(rig, "PC256").client.mac[5], 101);
	close_rig(rig);
}

/* --- what a PC gets --- */

static const char *nbp_of(struct rig *rig, uint8_t last, uint16_t arch)
{
	static struct boot_answer answer;
	struct boot_identity who = firmware(last, arch);

	boot_identify(rig->boot, &who, SERVER, &answer);
	return answer.nbp;
}

static void test_boot_nbp_by_firmware(void)
{
	struct rig *rig = open_rig("[client A]\nmac = 02:00:00:00:00:66\nnbp-bios = a.kpxe\nnbp-uefi = a.efi\n"
				   "nbp-riscv64 = r.efi\n",
				   false);
	struct boot_identity system = {.mac = {2, 0, 0, 0, 0, 9}, .arch = 0xffff};
	/*
	 * HTTP boot (RFC 5970 and IANA's list): x86 UEFI, x64, "EBC", arm32, arm64, BIOS, RISC-V, LoongArch; and
	 * firmware that says HTTPClient with the number of its CPU.
	 */
	static const struct {
		uint16_t arch;
		const char *nbp;
	} http[] = {
		{15, "i386-efi/snponly.efi"},
		{16, "snponly.efi"},
		{19, "arm64-efi/snponly.efi"},
		{20, "undionly.kpxe"},
		{17, "snponly.efi"},
		{18, "arm32-efi/snponly.efi"},
		{28, "riscv64-efi/snponly.efi"},
		{40, "loong64-efi/snponly.efi"},
		{7, "snponly.efi"},
		{11, "arm64-efi/snponly.efi"},
	};
	struct boot_answer answer;

	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 9, 0), "undionly.kpxe");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 9, 7), "snponly.efi");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 9, 9), "snponly.efi");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 9, 11), "arm64-efi/snponly.efi"); /* arm64: Debian has no iPXE for it */
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 0x66, 0), "a.kpxe");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 0x66, 7), "a.efi");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 9, 27), "riscv64-efi/snponly.efi");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 9, 39), "loong64-efi/snponly.efi");
	/* A program for x64 is none for another CPU, which has a key of its own. */
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 0x66, 11), "arm64-efi/snponly.efi");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 0x66, 27), "r.efi");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 0x66, 99), "a.efi");
	for (size_t i = 0; i < sizeof(http) / sizeof(http[0]); i++) {
		struct boot_identity who = firmware(9, http[i].arch);
		char url[96];

		who.http = true;
		boot_identify(rig->boot, &who, SERVER, &answer);
		CU_ASSERT_TRUE(answer.http_boot);
		snprintf(url, sizeof(url), "http://127.0.0.1:8001/nbp/%s", http[i].nbp);
		CU_ASSERT_STRING_EQUAL(answer.nbp, url);
	}
	/* PXEClient is no HTTPClient, whatever number it sends. */
	for (uint16_t arch = 0; arch < 50; arch++) {
		struct boot_identity who = firmware(9, arch);

		boot_identify(rig->boot, &who, SERVER, &answer);
		CU_ASSERT_FALSE(answer.http_boot);
		CU_ASSERT(strncmp(answer.nbp, "http", 4));
	}
	boot_identify(rig->boot, &system, SERVER, &answer);
	CU_ASSERT_STRING_EQUAL(answer.nbp, ""); /* an operating system boots nothing */
	close_rig(rig);
}

static bool handoff_failed(struct rig *rig)
{
	return look(rig, "PC101").client.nbp_failed;
}

/* What a person is shown is of the same table as the program. */
static void test_boot_firmware_has_a_name(void)
{
	static const struct {
		uint16_t arch;
		const char *name;
	} cases[] = {
		{0, "bios"},          {6, "uefi-ia32"},     {7, "uefi-x64"},          {9, "uefi-x64"},
		{17, "http-x64"},     {16, "http-x64"},     {11, "uefi-arm64"},       {18, "http-arm32"},
		{27, "uefi-riscv64"}, {28, "http-riscv64"}, {39, "uefi-loongarch64"}, {40, "http-loongarch64"},
		{1, "other"},         {0xffff, ""},
	};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CU_ASSERT_STRING_EQUAL(boot_firmware_name(cases[i].arch), cases[i].name);
}

static void test_boot_other_nbp_after_failed_handoff(void)
{
	struct rig *rig = open_rig("", false);
	struct boot_identity who = firmware(101, 7);
	struct boot_stats stats;

	rig->config->handoff_timeout = 0;
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, address_of(101), nbp_of(rig, 101, 7)), 0);
	CU_ASSERT(run_until(rig, handoff_failed));
	boot_stats(rig->boot, &stats);
	CU_ASSERT_EQUAL(stats.handoff_failures, 1);
	CU_ASSERT_STRING_EQUAL(look(rig, "PC101").boot.failure, "snponly.efi was sent, and no script was asked for");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 101, 7), "ipxe.efi");
	close_rig(rig);
	/* It is remembered, and what then works stays. */
	rig = open_rig("", true);
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 101, 7), "ipxe.efi");
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, address_of(101), "ipxe.efi"), 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_FALSE(look(rig, "PC101").client.nbp_failed);
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 101, 7), "ipxe.efi");
	close_rig(rig);
	/* When that fails too, the first has its turn again. */
	rig = open_rig("", true);
	rig->config->handoff_timeout = 0;
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, address_of(101), "ipxe.efi"), 0);
	CU_ASSERT(run_until(rig, handoff_failed));
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 101, 7), "snponly.efi");
	close_rig(rig);
}

/* Section, then `client set`, then group, then [group default]. */
static void test_boot_profile_order(void)
{
	struct rig *rig = open_rig("keep = yes\noption.150 = 127.0.0.1\n[group g]\nimage = "
				   "two\noption.150 = 127.0.0.2\n"
				   "option.151 = 127.0.0.3\n[client S]\nmac = "
				   "02:00:00:00:00:66\nkeep = no\nimage = two, one\n",
				   false);
	struct boot_identity who = firmware(101, 0), s = firmware(0x66, 0);
	struct boot_change change = {.group = "g", .keep = BOOT_UNCHANGED, .upload = 1};
	struct sentence error = {""};
	struct boot_answer a;

	boot_leased(rig->boot, &who, address_of(101), "");
	boot_leased(rig->boot, &s, address_of(102), "");
	boot_identify(rig->boot, &who, SERVER, &a);
	CU_ASSERT_STRING_EQUAL(a.profile->image[0], "one");
	CU_ASSERT_EQUAL(a.profile->keep, CONFIG_YES);
	CU_ASSERT_EQUAL(a.profile->upload, CONFIG_NO);
	CU_ASSERT_EQUAL(boot_change(rig->boot, "PC101", &change, &error), 0);
	boot_identify(rig->boot, &who, SERVER, &a);
	CU_ASSERT_STRING_EQUAL(a.profile->image[0], "two");
	CU_ASSERT_EQUAL(a.profile->keep, CONFIG_YES); /* of the default group still */
	CU_ASSERT_EQUAL(a.profile->upload, CONFIG_YES);
	CU_ASSERT_EQUAL(a.profile->options.count, 2);
	CU_ASSERT_EQUAL(a.profile->options.option[0].data[3], 2);
	change = (struct boot_change){.image = "one", .keep = 0, .upload = -1};
	CU_ASSERT_EQUAL(boot_change(rig->boot, "PC101", &change, &error), 0);
	boot_identify(rig->boot, &who, SERVER, &a);
	CU_ASSERT_STRING_EQUAL(a.profile->image[0], "one");
	CU_ASSERT_EQUAL(a.profile->keep, CONFIG_NO);
	CU_ASSERT_EQUAL(a.profile->upload, CONFIG_NO);
	/* What the file says cannot be changed in the state, and the sentence says where it stands.
	 */
	change = (struct boot_change){.keep = 1, .upload = BOOT_UNCHANGED};
	CU_ASSERT_EQUAL(boot_change(rig->boot, "S", &change, &error), -EPERM);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "bootwell.conf line 20"));
	boot_identify(rig->boot, &s, SERVER, &a);
	CU_ASSERT_EQUAL(a.profile->images, 2);
	CU_ASSERT_EQUAL(a.profile->keep, CONFIG_NO);
	close_rig(rig);
}

static void test_boot_change_names(void)
{
	struct rig *rig = open_rig("[client FILE]\nmac = 02:00:00:00:00:66\n", false);
	struct boot_identity a = firmware(101, 0), b = firmware(102, 0), c = firmware(103, 0);
	struct boot_change change = {.keep = BOOT_UNCHANGED, .upload = BOOT_UNCHANGED};
	static const struct {
		const char *name;
		int result;
	} names[] = {{"a b", -EINVAL},
		     {"", -EINVAL},
		     {"1234", -EINVAL},
		     {"-x", -EINVAL},
		     {"sixteen-letters-", -EINVAL},
		     {"pc103", -EEXIST},
		     {"file", -EEXIST},
		     {"Desk-1", 0},
		     {"DESK-1", 0}};
	struct sentence error = {""};
	const char *now = "PC101";

	boot_leased(rig->boot, &a, address_of(101), "");
	boot_leased(rig->boot, &b, address_of(102), "");
	boot_leased(rig->boot, &c, address_of(103), "");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		change.name = names[i].name;
		CU_ASSERT_EQUAL(boot_change(rig->boot, now, &change, &error), names[i].result);
		if (!names[i].result)
			now = names[i].name;
	}
	CU_ASSERT_TRUE(look(rig, "desk-1").client.named);
	change.name = "Other";
	CU_ASSERT_EQUAL(boot_change(rig->boot, "FILE", &change, &error), -EPERM);
	change.name = NULL;
	change.image = "three";
	CU_ASSERT_EQUAL(boot_change(rig->boot, "PC103", &change, &error), -ENOENT);
	change.image = NULL;
	change.group = "nobody";
	CU_ASSERT_EQUAL(boot_change(rig->boot, "PC103", &change, &error), -ENOENT);
	CU_ASSERT_EQUAL(boot_change(rig->boot, "PC999", &change, &error), -ENOENT);
	close_rig(rig);
}

/* --- scripts and disks --- */

static void test_boot_script_makes_the_disk(void)
{
	struct rig *rig = open_rig("", false);
	struct seen seen;

	dhcp(rig, 101, 0);
	boot_tftp_started(rig->boot, address_of(101), "undionly.kpxe");
	ask(rig, 101);
	CU_ASSERT_EQUAL(look(rig, "PC101").state, BOOT_PREPARING);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(
		strstr(rig->script[0], "sanboot iscsi:127.0.0.1:::0:iqn.2026-01.org.bootwell:disk-020000000065"));
	seen = look(rig, "PC101");
	CU_ASSERT_EQUAL(seen.state, BOOT_READY);
	CU_ASSERT_TRUE(seen.has_target);
	CU_ASSERT_STRING_EQUAL(seen.boot.image, "one");
	CU_ASSERT(seen.boot.dhcp_ns && seen.boot.tftp_ns && seen.boot.ipxe_ns);
	CU_ASSERT(seen.boot.script_ns >= seen.boot.ipxe_ns && seen.boot.ready_ns >= seen.boot.script_ns);
	CU_ASSERT_EQUAL(count_targets(), 1);
	CU_ASSERT_TRUE(boot_uses_image(rig->boot, "one"));
	close_rig(rig);
}

/* The same PC asks again while its disk is being made: all of them get the one answer. */
static void test_boot_script_asked_twice(void)
{
	struct rig *rig = open_rig("", false);
	struct boot_stats stats;

	dhcp(rig, 101, 0);
	for (int i = 0; i < 4; i++)
		ask(rig, 101);
	ask(rig, 101); /* one too many: told so at once */
	CU_ASSERT_EQUAL(rig->scripts, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "too often"));
	rig->scripts = 0;
	CU_ASSERT(run_until(rig, four_scripts));
	CU_ASSERT_EQUAL(rig->scripts, 4);
	for (int i = 1; i < 4; i++)
		CU_ASSERT_STRING_EQUAL(rig->script[0], rig->script[i]);
	boot_stats(rig->boot, &stats);
	CU_ASSERT_EQUAL(stats.boots, 1);
	close_rig(rig);
}

static void test_boot_many_at_once(void)
{
	struct rig *rig = open_rig("", false);

	for (uint8_t i = 0; i < 4; i++)
		dhcp(rig, 101 + i, 0);
	for (uint8_t i = 0; i < 4; i++)
		ask(rig, 101 + i);
	CU_ASSERT(run_until(rig, four_scripts));
	for (int i = 0; i < 4; i++)
		CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[i], "sanboot"));
	CU_ASSERT_EQUAL(count_targets(), 4);
	close_rig(rig);
}

/* The daemon stops while PCs wait: each is answered, exactly once. */
static void test_boot_free_answers_who_waits(void)
{
	struct rig *rig = open_rig("", false);

	dhcp(rig, 101, 0);
	ask(rig, 101);
	boot_free(rig->boot);
	rig->boot = NULL;
	CU_ASSERT_EQUAL(rig->scripts, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "being stopped"));
	close_rig(rig);
}

static void ask_proxy(struct rig *rig, uint8_t last, uint32_t address, const char *nonce)
{
	struct boot_ask how = {.address = address, .server = SERVER, .mac = {2, 0, 0, 0, 0, last}, .nonce = nonce};

	boot_script(rig->boot, &how, take_script, rig);
}

/* Somebody who makes up MACs, and has DHCP answer each: so many new PCs at once, and no more. */
static void test_boot_as_proxy_newcomers_are_counted(void)
{
	struct rig *rig = open_rig("", false);
	struct boot_answer answer;
	struct boot_stats stats;

	rig->config->dhcp_mode = CONFIG_DHCP_PROXY;
	for (unsigned int i = 0; i < BOOT_NEW_BURST + 200; i++) {
		struct boot_identity who = {.mac = {2, 9, 0, 0, i >> 8, i}, .ipxe = true};
		struct boot_ask how = {
			.address = address_of(1), .server = SERVER, .mac = {2, 9, 0, 0, i >> 8, i}, .image = "none"};
		char nonce[BOOT_NONCE_MAX];

		boot_identify(rig->boot, &who, SERVER, &answer);
		CU_ASSERT(boot_script_path(strstr(answer.nbp, "boot/"), "boot.ipxe?mac=${netX/mac}", nonce));
		how.nonce = nonce;
		boot_script(rig->boot, &how, take_script, rig);
	}
	boot_stats(rig->boot, &stats);
	CU_ASSERT_EQUAL(stats.clients, BOOT_NEW_BURST);
	close_rig(rig);
}

/* Beside another DHCP server we see no lease: iPXE tells its MAC with the request for its script. */
static void test_boot_as_proxy(void)
{
	struct rig *rig = open_rig("", false);
	struct boot_identity who = ipxe(50);
	struct boot_answer answer;
	struct boot_stats stats;
	char secret[64];

	rig->config->dhcp_mode = CONFIG_DHCP_PROXY;
	boot_identify(rig->boot, &who, SERVER, &answer);
	CU_ASSERT_EQUAL(
		sscanf(answer.nbp, "http://127.0.0.1:8001/boot/%32[0-9a-f]/boot.ipxe?mac=${netX/mac}", rig->nonce[50]),
		1);
	/* A MAC that DHCP has not answered, or another PC's nonce: no record, no target. */
	ask_proxy(rig, 50, address_of(50), "");
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "chain --replace --autofree ${filename}"));
	ask_proxy(rig, 51, address_of(51), rig->nonce[50]);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[1], "does not know it"));
	boot_stats(rig->boot, &stats);
	CU_ASSERT_EQUAL(stats.clients, 0);
	CU_ASSERT_EQUAL(count_targets(), 0);
	rig->scripts = 0;
	ask_proxy(rig, 50, address_of(50), rig->nonce[50]);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	CU_ASSERT_STRING_EQUAL(look(rig, "PC050").client.name, "PC050");
	/* Each boot has a secret of its own. */
	CU_ASSERT_EQUAL(sscanf(strstr(rig->script[0], "set password"), "%63[^\n]", secret), 1);
	CU_ASSERT_EQUAL(strlen(secret), strlen("set password ") + 16);
	rig->scripts = 0;
	ask_proxy(rig, 50, address_of(51), rig->nonce[50]);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	CU_ASSERT_PTR_NULL(strstr(rig->script[0], secret));
	CU_ASSERT_EQUAL(count_targets(), 1);
	close_rig(rig);
}

static int fail_enable(void *arg, const char *operation, const char *path, const char *value)
{
	(void)arg;
	(void)value;
	return !strcmp(operation, "write") && strstr(path, "core/user_0") && strstr(path, "/enable") ? -ENOENT : 0;
}

static void test_boot_script_says_why_not(void)
{
	struct rig *rig = open_rig("", false);
	struct seen seen;
	char path[160];

	targets_trace(rig->targets, fail_enable, NULL);
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "tcmu-runner"));
	CU_ASSERT_PTR_NULL(strstr(rig->script[0], "sanboot"));
	seen = look(rig, "PC101");
	CU_ASSERT_EQUAL(seen.state, BOOT_FAILED);
	CU_ASSERT_FALSE(seen.has_target);
	CU_ASSERT_PTR_NOT_NULL(strstr(seen.boot.failure, "tcmu-runner"));
	CU_ASSERT_EQUAL(count_targets(), 0);
	/* The next try may do better. */
	targets_trace(rig->targets, NULL, NULL);
	rig->scripts = 0;
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	/* An address that nobody has. */
	rig->scripts = 0;
	ask(rig, 66);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "does not know it"));
	close_rig(rig);
	/* An image whose file is missing: a sentence, and it is taken as soon as it is there. */
	snprintf(path, sizeof(path), "%s/three.raw", root);
	rig = open_rig("[image three]\nfile = three.raw\n[client T]\nmac = "
		       "02:00:00:00:00:66\nimage = three\n",
		       true);
	CU_ASSERT_PTR_NOT_NULL(catalogue_problem(rig->catalogue, 0));
	dhcp(rig, 102, 0);
	ask(rig, 102);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "three"));
	make_file("three.raw", "", 1 << 20);
	rig->scripts = 0;
	ask(rig, 102);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	close_rig(rig);
}

static void write_info(const char *mac, const char *text)
{
	char name[300];

	snprintf(name, sizeof(name),
		 "configfs/iscsi/iqn.2026-01.org.bootwell:disk-%s/tpgt_1/acls/"
		 "iqn.2026-01.org.bootwell:pc-%s/info",
		 mac, mac);
	make_file(name, text, 0);
}

static bool is_running(struct rig *rig)
{
	return look(rig, "PC101").state == BOOT_RUNNING;
}

#define LOGGED_IN "Session State: TARG_SESS_STATE_LOGGED_IN\n   Address 127.0.0.101 TCP  StatSN: 0x1\n"

/* The handler's counters of PC101's disk say that it was read or written so many ms ago. */
static void last_io(uint64_t ms_ago)
{
	struct stats_disk stats = {.magic = STATS_MAGIC, .version = STATS_VERSION};
	char path[200];
	FILE *file;

	stats.last_io_ns = boot_realtime_ns() - ms_ago * 1000000;
	snprintf(path, sizeof(path), "%s/disk/1-0.stat", root);
	file = fopen(path, "w");
	if (!file || fwrite(&stats, sizeof(stats), 1, file) != 1)
		abort();
	fclose(file);
}

/* A request must not end a running PC's session; a PC that was reset may, when the old session has gone silent. */
static void test_boot_script_while_it_runs(void)
{
	struct rig *rig = open_rig("", false);

	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	write_info("020000000065", LOGGED_IN);
	CU_ASSERT(run_until(rig, is_running));
	CU_ASSERT(look(rig, "PC101").boot.login_ns > 0);
	/* The nonce has had its boot. */
	rig->scripts = 0;
	ask(rig, 101);
	CU_ASSERT_EQUAL(rig->scripts, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "not that of its last DHCP answer"));
	CU_ASSERT_EQUAL(look(rig, "PC101").state, BOOT_RUNNING);
	/* Somebody does DHCP in its name; its session goes on. */
	dhcp(rig, 101, 0);
	usleep(1500000); /* more than the guard's slack: what is read below was read since */
	last_io(0);
	rig->scripts = 0;
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "still answers"));
	CU_ASSERT_EQUAL(count_targets(), 1);
	CU_ASSERT_EQUAL(look(rig, "PC101").state, BOOT_RUNNING);
	/* It was reset a moment ago: its screen says what it waits for, and it asks again by itself. */
	last_io(4000);
	rig->scripts = 0;
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "was at work a moment ago, from 127.0.0.101"));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], rig->nonce[101]));
	CU_ASSERT_EQUAL(look(rig, "PC101").state, BOOT_RUNNING);
	/* And then it is clear. */
	last_io(BOOT_QUIET_MS + 1000);
	rig->scripts = 0;
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	close_rig(rig);
}

static void test_boot_script_needs_its_nonce(void)
{
	struct rig *rig = open_rig("", false);
	char old[BOOT_NONCE_MAX];

	dhcp(rig, 101, 0);
	dhcp(rig, 102, 0);
	ask_with(rig, 101, "");
	CU_ASSERT_EQUAL(rig->scripts, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "chain --replace --autofree ${filename}"));
	ask_with(rig, 101, rig->nonce[102]);
	CU_ASSERT_EQUAL(rig->scripts, 2);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[1], "not that of its last DHCP answer"));
	memcpy(old, rig->nonce[101], sizeof(old));
	old[BOOT_NONCE_MAX - 2] ^= 1;
	ask_with(rig, 101, old);
	CU_ASSERT_EQUAL(rig->scripts, 3);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[2], "not that of its last DHCP answer"));
	CU_ASSERT_EQUAL(count_targets(), 0);
	/* A restart of the daemon in the middle of a boot does no harm. */
	memcpy(old, rig->nonce[101], sizeof(old));
	close_rig(rig);
	rig = open_rig("", true);
	ask_with(rig, 101, old);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	close_rig(rig);
	/* The operator may do without. */
	rig = open_rig("[clients]\nscript-nonce = no\n", false);
	dhcp(rig, 101, 0);
	ask_with(rig, 101, "");
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	close_rig(rig);
}

/* VirtualBox's iPXE has no iSCSI (17), FlexBoot's no menu (39) and no HTTP (19): they get the whole program first. */
static void test_boot_of_an_ipxe_that_cannot(void)
{
	const uint64_t iscsi = 1ull << 17, http = 1ull << 19, menu = 1ull << 39, other = 1ull << 21;
	const struct {
		const char *image;
		uint64_t features;
		bool script;
	} cases[] = {
		{"one", 0, true},
		{"one", iscsi, true},
		{"one", other | http | menu, false},
		{"one, two", iscsi, false},
		{"one, two", iscsi | menu, false},
		{"one, two", iscsi | menu | http, true},
	};
	char more[100];

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct boot_identity who = ipxe(101);
		struct boot_answer answer;
		struct rig *rig;

		snprintf(more, sizeof(more), "[client X]\nmac = 02:00:00:00:00:65\nimage = %s\n", cases[i].image);
		rig = open_rig(more, false);
		who.features = cases[i].features;
		boot_identify(rig->boot, &who, SERVER, &answer);
		CU_ASSERT_EQUAL(strstr(answer.nbp, "boot.ipxe") != NULL, cases[i].script);
		CU_ASSERT_EQUAL(!strcmp(answer.nbp, "undionly.kpxe"), !cases[i].script);
		CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, address_of(101), answer.nbp), 0);
		CU_ASSERT_EQUAL(look(rig, "X").client.nbp[0] != '\0', !cases[i].script);
		close_rig(rig);
	}
}

/* Windows would send its iSCSI through the gateway of the iBFT, though the server is its neighbour. */
static void test_boot_gateway(void)
{
	struct rig *rig = open_rig("", false);

	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "\nset netX/gateway 0.0.0.0\nset tries"));
	close_rig(rig);
	/* Linux with ip=ibft has its default route from there. */
	rig = open_rig("[client X]\nmac = 02:00:00:00:00:65\nibft-gateway = yes\n", false);
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	CU_ASSERT_PTR_NULL(strstr(rig->script[0], "gateway"));
	close_rig(rig);
	/* A PC behind a relay reaches the server through its gateway. */
	rig = open_rig("[subnet far]\nnetwork = 10.9.0.0/24\nrange = 10.9.0.101-10.9.0.110\n", false);
	{
		struct boot_identity who = ipxe(101);
		struct boot_answer answer;
		char nonce[BOOT_NONCE_MAX];
		struct boot_ask how = {.address = 0x0a090065, .server = SERVER, .nonce = nonce, .tftp = true};

		boot_identify(rig->boot, &who, SERVER, &answer);
		CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, how.address, answer.nbp), 0);
		CU_ASSERT(boot_script_path(answer.nbp, "boot.ipxe", nonce));
		boot_script(rig->boot, &how, take_script, rig);
	}
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	CU_ASSERT_PTR_NULL(strstr(rig->script[0], "gateway"));
	close_rig(rig);
}

static void test_boot_verdict(void)
{
	/* Spoke 0.1 s ago, DHCP was 5 s ago: it runs. However long somebody waits. */
	CU_ASSERT_EQUAL(boot_verdict(true, 100, 5000, 0), BOOT_ANSWERS);
	CU_ASSERT_EQUAL(boot_verdict(true, 100, 500000, 400000), BOOT_ANSWERS);
	/* Silent since before its DHCP. */
	CU_ASSERT_EQUAL(boot_verdict(true, 6000, 5000, 0), BOOT_WAIT);
	CU_ASSERT_EQUAL(boot_verdict(true, BOOT_QUIET_MS, 5000, 0), BOOT_END_SESSION);
	/* Nothing is known: it is waited for, not for ever. */
	CU_ASSERT_EQUAL(boot_verdict(false, 0, 5000, 0), BOOT_WAIT);
	CU_ASSERT_EQUAL(boot_verdict(false, 0, 5000, BOOT_QUIET_MS), BOOT_END_SESSION);
}

/* A line of a disk's record. */
static bool record_has(const char *line)
{
	char command[256];

	snprintf(command, sizeof(command), "grep -qx '%s' %s/disk/1-0.conf", line, root);
	return system(command) == 0;
}

static void never_frozen(void *arg, int result, const char *error)
{
	(void)arg;
	(void)result;
	(void)error;
	CU_FAIL("a disk was taken from its PC");
}

static bool is_off(struct rig *rig)
{
	return look(rig, "PC101").state == BOOT_OFF;
}

/* The super client: a write-back of its own, kept, on one generation; nobody else; no commit while it may be at work.
 */
/* What is done with the backstore that empties an ended session's write-back; called on the helper thread. */
static struct {
	int enabled, removed, record;
} drop;

static int see_drop(void *arg, const char *operation, const char *path, const char *value)
{
	(void)arg;
	(void)value;
	if (!strcmp(operation, "write") && !strcmp(path, "core/user_0/1-drop/enable")) {
		__atomic_store_n(&drop.record, !in_root("grep -qx mode=keep disk/1-drop.conf"), __ATOMIC_SEQ_CST);
		__atomic_store_n(&drop.enabled, 1, __ATOMIC_SEQ_CST);
	}
	if (!strcmp(operation, "rmdir") && !strcmp(path, "core/user_0/1-drop"))
		__atomic_store_n(&drop.removed, 1, __ATOMIC_SEQ_CST);
	return 0;
}

static bool is_dropped(struct rig *rig)
{
	(void)rig;
	return __atomic_load_n(&drop.removed, __ATOMIC_SEQ_CST);
}

/* The record goes after the device: whoever sees the device gone may still find it. */
static bool is_forgotten(struct rig *rig)
{
	(void)rig;
	return in_root("ls disk/1-drop.conf 2>/dev/null") != 0;
}

static void test_boot_session(void)
{
	struct rig *rig = open_rig("", false);
	struct state_session session;
	struct sentence error = {""};
	char line[64];
	struct state_image row;

	dhcp(rig, 101, 0);
	dhcp(rig, 102, 0);
	CU_ASSERT_EQUAL(boot_session_begin(rig->boot, "PC101", "none", &error), -ENOENT);
	CU_ASSERT_EQUAL(boot_session_begin(rig->boot, "PC101", "two", &error), 0);
	CU_ASSERT_EQUAL(boot_session_begin(rig->boot, "PC102", "two", &error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "updated by client PC101 already"));
	CU_ASSERT_EQUAL(boot_session_begin(rig->boot, "PC101", "one", &error), -EBUSY);
	CU_ASSERT_EQUAL_FATAL(state_session_by_image(rig->state, "two", &session), 1);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	CU_ASSERT_STRING_EQUAL(look(rig, "PC101").boot.image, "two"); /* its own would be one */
	CU_ASSERT(record_has("mode=keep"));
	snprintf(line, sizeof(line), "overlay=%s", session.overlay);
	CU_ASSERT(record_has(line));
	snprintf(line, sizeof(line), "reset=%s", session.reset);
	CU_ASSERT(record_has(line));
	CU_ASSERT_STRING_NOT_EQUAL(session.overlay, look(rig, "PC101").client.overlay);
	write_info("020000000065", LOGGED_IN);
	CU_ASSERT(run_until(rig, is_running));
	CU_ASSERT_EQUAL(boot_session_freeze(rig->boot, &session, never_frozen, NULL, &error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "is running"));
	CU_ASSERT_EQUAL(boot_session_end(rig->boot, "two", &error), -EBUSY);
	write_info("020000000065", "No active iSCSI Session for Initiator Endpoint\n");
	CU_ASSERT(run_until(rig, is_off));
	CU_ASSERT_EQUAL(boot_session_freeze(rig->boot, &session, never_frozen, NULL, &error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "make sure that it is shut down"));

	/* The image moves on without it: said, not mixed. */
	make_file("three.raw", "", 3 << 20);
	CU_ASSERT_EQUAL(add_next(rig->catalogue, rig->config, "two", "three.raw", "raw", true, &row, &error), 0);
	rig->scripts = 0;
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NULL(strstr(rig->script[0], "sanboot"));
	CU_ASSERT_PTR_NOT_NULL(strstr(look(rig, "PC101").boot.failure, "lies on generation 1 of two"));
	targets_trace(rig->targets, see_drop, NULL);
	CU_ASSERT_EQUAL(boot_session_end(rig->boot, "two", &error), 0);
	/* The room that it took in the store is free at once, not only at its next session. */
	CU_ASSERT(run_until(rig, is_dropped));
	CU_ASSERT(drop.enabled && drop.record);
	CU_ASSERT(run_until(rig, is_forgotten));
	targets_trace(rig->targets, NULL, NULL);
	rig->scripts = 0;
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_STRING_EQUAL(look(rig, "PC101").boot.image, "one");
	CU_ASSERT(record_has("mode=discard"));
	close_rig(rig);
}

static bool lun_has(unsigned int lun, const char *line)
{
	char command[256];

	snprintf(command, sizeof(command), "grep -qx '%s' %s/disk/1-%u.conf", line, root, lun);
	return system(command) == 0;
}

/* What a PC that is off has kept holds the generation that it lies on. */
static void test_boot_kept_generation(void)
{
	struct rig *rig = open_rig("keep = yes\n", false);

	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	close_rig(rig);
	CU_ASSERT_EQUAL(in_root("rm -r configfs && mkdir configfs"), 0); /* the server was rebooted */
	rig = open_rig("keep = yes\n", true);
	CU_ASSERT_FALSE(look(rig, "PC101").has_target);
	CU_ASSERT_FALSE(boot_uses_image(rig->boot, "one"));
	CU_ASSERT_TRUE(boot_uses_generation(rig->boot, "one", 1));
	CU_ASSERT_FALSE(boot_uses_generation(rig->boot, "one", 2));
	CU_ASSERT_FALSE(boot_uses_generation(rig->boot, "two", 1));
	close_rig(rig);
	rig = open_rig("keep = no\n", true);
	CU_ASSERT_FALSE(boot_uses_generation(rig->boot, "one", 1));
	close_rig(rig);
}

/* A PC's name goes into its write-back, by a doctor that says what to write; one that fails keeps no PC from its start.
 */
static void test_boot_computer_name(void)
{
	struct rig *rig =
		open_rig("computer-name = yes\n[client PC102]\nmac = 02:00:00:00:00:66\ncomputer-name = no\n", false);
	struct sentence error = {""};
	char path[128];

	snprintf(path, sizeof(path), "%s/doctor", root);
	make_file(
		"doctor",
		"#!/bin/sh\necho \"$@\" >>$(dirname $0)/asked\n[ -e $(dirname $0)/bad ] && { echo torn >&2; exit 1; }\n"
		"[ -e $(dirname $0)/none ] && exit 3\necho patch\n",
		0);
	CU_ASSERT_EQUAL(chmod(path, 0755), 0);
	setenv("BOOTWELL_DOCTOR", path, 1);
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_EQUAL(in_root("grep -q '^--computer-name PC101 one 1 [^ ]* [^ ]* raw one.raw 0$' asked && "
				"[ \"$(cat disk/1-0.patch)\" = patch ] && rm disk/1-0.patch"),
			0);
	/* The same again: nobody is asked a second time. */
	rig->scripts = 0;
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_EQUAL(in_root("[ $(wc -l <asked) = 1 ] && [ -e disk/1-0.patch ]"), 0);
	/* Not while it updates an image: it would become everybody's name. */
	CU_ASSERT_EQUAL(boot_session_begin(rig->boot, "PC101", "two", &error), 0);
	rig->scripts = 0;
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_EQUAL(in_root("[ $(wc -l <asked) = 1 ] && [ ! -e disk/1-0.patch ]"), 0);
	/* Who does not want it. */
	rig->scripts = 0;
	dhcp(rig, 102, 0);
	ask(rig, 102);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_EQUAL(in_root("[ $(wc -l <asked) = 1 ]"), 0);
	/* No Windows; a doctor that fails. */
	make_file("none", "", 0);
	rig->scripts = 0;
	dhcp(rig, 103, 0);
	ask(rig, 103);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_EQUAL(in_root("[ $(wc -l <asked) = 2 ] && ! ls disk/*.patch"), 0);
	make_file("bad", "", 0);
	rig->scripts = 0;
	dhcp(rig, 104, 0);
	ask(rig, 104);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	CU_ASSERT_EQUAL(in_root("[ $(wc -l <asked) = 3 ] && ! ls disk/*.patch"), 0);
	unsetenv("BOOTWELL_DOCTOR");
	close_rig(rig);
}

/* Game and data disks: of the group, until the client says otherwise. */
static void test_boot_further_disks(void)
{
	struct rig *rig = open_rig(
		"disks = two, three own, four keep\n[image three]\nfile = three.raw\n[image four]\nfile = four.raw\n"
		"[client PC103]\nmac = 02:00:00:00:00:67\ndisks = none\n",
		false);
	struct sentence error = {""};
	char line[64], overlay[40];

	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NULL(strstr(rig->script[0], "sanboot")); /* three.raw is not there */
	CU_ASSERT_PTR_NOT_NULL(strstr(look(rig, "PC101").boot.failure, "three"));
	make_file("three.raw", "", 3 << 20);
	make_file("four.raw", "", 4 << 20);
	catalogue_sync(rig->catalogue, rig->config);
	rig->scripts = 0;
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	CU_ASSERT(record_has("mode=discard"));
	CU_ASSERT(lun_has(1, "mode=readonly"));
	CU_ASSERT(lun_has(1, "generation=two 1 "));
	CU_ASSERT(lun_has(1, "size=2097152"));
	CU_ASSERT(lun_has(2, "mode=discard"));
	CU_ASSERT(lun_has(3, "mode=keep"));
	/* Each has a write-back of its own. */
	snprintf(overlay, sizeof(overlay), "%s", look(rig, "PC101").client.overlay);
	overlay[14] = 'a';
	snprintf(line, sizeof(line), "overlay=%s", overlay);
	CU_ASSERT(lun_has(2, line));
	CU_ASSERT_FALSE(lun_has(3, line));
	CU_ASSERT_TRUE(boot_uses_image(rig->boot, "three"));
	CU_ASSERT_TRUE(boot_uses_generation(rig->boot, "three", 1));
	CU_ASSERT_FALSE(boot_uses_generation(rig->boot, "three", 2));
	CU_ASSERT_EQUAL(catalogue_remove(rig->catalogue, rig->config, "two", &error), -EBUSY);
	dhcp(rig, 103, 0);
	rig->scripts = 0;
	ask(rig, 103);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_EQUAL(in_root("test $(ls disk/*-1.conf | wc -l) = 1"), 0);
	/* With a new boot of the PC the records go, too. */
	close_rig(rig);
	rig = open_rig("[image three]\nfile = three.raw\n", true);
	CU_ASSERT_TRUE(look(rig, "PC101").has_target);
	rig->scripts = 0;
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_EQUAL(in_root("ls disk/*-[1-9].conf >/dev/null 2>&1 && exit 1; exit 0"), 0);
	CU_ASSERT_FALSE(boot_uses_image(rig->boot, "three"));
	close_rig(rig);
}

/* The secret of a capture script. */
static void secret_of(const char *script, char ret[BOOT_TICKET_MAX])
{
	const char *at = strstr(script, " bootwell.secret=");

	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	at += strlen(" bootwell.secret=");
	CU_ASSERT_EQUAL_FATAL(strspn(at, "0123456789abcdef"), BOOT_TICKET_MAX - 1);
	snprintf(ret, BOOT_TICKET_MAX, "%s", at);
}

#define CAPTURES                                                                                                       \
	"[client MASTER]\nmac = 02:00:00:00:00:65\nupload = yes\ncapture = pc.vmdk\n"                                  \
	"capture-disk = sda\n"

/* A PC that may upload gets the capture system until its image is there, and with it the right to make it. */
static void test_boot_capture(void)
{
	struct rig *rig = open_rig(CAPTURES, false);
	struct sentence error = {""};
	char secret[BOOT_TICKET_MAX];
	struct boot_ticket ticket;
	struct state_image row;

	dhcp(rig, 101, 0);
	dhcp(rig, 102, 0);
	ask(rig, 101);
	CU_ASSERT_EQUAL(rig->scripts, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "/capture\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], " bootwell.name=pc.vmdk bootwell.disk=sda"));
	CU_ASSERT_PTR_NULL(strstr(rig->script[0], "bootwell.pin="));
	secret_of(rig->script[0], secret);
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(101), secret, &ticket, &error), 0);
	CU_ASSERT_STRING_EQUAL(ticket.name, "MASTER");
	CU_ASSERT_STRING_EQUAL(ticket.image, "pc");
	/* The capture system may have another address, but not another PC's. */
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(103), secret, &ticket, &error), 0);
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(102), secret, &ticket, &error), -EACCES);
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(101), "", &ticket, &error), -EACCES);
	secret[5] ^= 1;
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(101), secret, &ticket, &error), -EACCES);
	CU_ASSERT_PTR_NULL(strstr(error.text, secret));
	CU_ASSERT_EQUAL(add_image(rig->catalogue, rig->config, "pc", "two.raw", "raw", &row, &error), 0);
	boot_ticket_spend(boot_tickets(rig->boot), "MASTER", "pc");
	rig->scripts = 0;
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	close_rig(rig);
}

/* Each new script ends the right that the one before gave; while a PC sends its disk, there is no new script. */
static void test_boot_capture_secret_ends(void)
{
	struct rig *rig = open_rig(CAPTURES, false);
	char first[BOOT_TICKET_MAX], second[BOOT_TICKET_MAX];
	struct boot_change no = {.keep = BOOT_UNCHANGED, .upload = 0};
	struct boot_ticket ticket;
	struct sentence error;

	dhcp(rig, 101, 0);
	ask(rig, 101);
	secret_of(rig->script[0], first);
	ask(rig, 101);
	secret_of(rig->script[1], second);
	CU_ASSERT_NOT_EQUAL(strcmp(first, second), 0);
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(101), first, &ticket, &error), -EACCES);
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(101), second, &ticket, &error), 0);
	ask(rig, 101);
	CU_ASSERT_EQUAL(rig->scripts, 3);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[2], "waiting until its former session"));
	CU_ASSERT_PTR_NULL(strstr(rig->script[2], "secret"));
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(101), second, &ticket, &error), 0);
	CU_ASSERT_EQUAL(boot_change(rig->boot, "MASTER", &no, &error), -EPERM); /* it stands in the section */
	rig->config->client[0].profile.upload = CONFIG_NO;
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(101), second, &ticket, &error), -EACCES);
	rig->config->client[0].profile.upload = CONFIG_YES;
	CU_ASSERT_EQUAL(boot_remove(rig->boot, "MASTER", &error), 0);
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(101), second, &ticket, &error), -EACCES);
	close_rig(rig);
}

static bool tickets_saved(struct rig *rig)
{
	char path[128];

	(void)rig;
	snprintf(path, sizeof(path), "%s/upload-tickets", root);
	return access(path, F_OK) == 0;
}

/* A restart of the daemon in the middle: the PC goes on with the secret that it has. With TLS it is told the key. */
static void test_boot_capture_goes_on_after_restart(void)
{
	struct rig *rig = open_rig(CAPTURES, false);
	char secret[BOOT_TICKET_MAX];
	struct boot_ticket ticket;
	struct sentence error;

	boot_set_pin(rig->boot, "sha256//AAAA=");
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], " bootwell.pin=sha256//AAAA= "));
	secret_of(rig->script[0], secret);
	CU_ASSERT(run_until(rig, tickets_saved));
	close_rig(rig);
	rig = open_rig(CAPTURES, true);
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(101), secret, &ticket, &error), 0);
	CU_ASSERT_STRING_EQUAL(ticket.image, "pc");
	close_rig(rig);
}

static bool is_failed(struct rig *rig)
{
	return look(rig, "PC101").state == BOOT_FAILED;
}

/* tcmu-runner was restarted and could not open the disk again: somebody must be told. */
static void test_boot_disk_lost(void)
{
	struct rig *rig = open_rig("", false);
	char path[128];

	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	write_info("020000000065", LOGGED_IN);
	CU_ASSERT(run_until(rig, is_running));
	make_file("disk/1-0.error", "image one: the file is gone\n", 0);
	CU_ASSERT(run_until(rig, is_failed));
	CU_ASSERT_PTR_NOT_NULL(strstr(look(rig, "PC101").boot.failure, "image one: the file is gone"));
	snprintf(path, sizeof(path), "%s/disk/1-0.error", root);
	unlink(path);
	CU_ASSERT(run_until(rig, is_running));
	CU_ASSERT_STRING_EQUAL(look(rig, "PC101").boot.failure, "");
	close_rig(rig);
}

static bool nothing_waits(struct rig *rig)
{
	struct boot_stats stats;

	boot_stats(rig->boot, &stats);
	return stats.waiting == 0;
}

/* A restart of the daemon: who runs is left alone, what is broken or nobody's goes. */
static void test_boot_adopt(void)
{
	struct rig *rig = open_rig("", false);
	struct sentence error = {""};
	char path[160];
	struct seen seen;

	for (uint8_t i = 0; i < 3; i++)
		dhcp(rig, 101 + i, 0);
	for (uint8_t i = 0; i < 3; i++)
		ask(rig, 101 + i);
	rig->scripts = 1;
	CU_ASSERT(run_until(rig, four_scripts));
	write_info("020000000065", LOGGED_IN);
	/* The second one lost its enable, the third its client. */
	make_file("configfs/iscsi/iqn.2026-01.org.bootwell:disk-020000000066/tpgt_1/enable", "0", 0);
	close_rig(rig);
	rig = open_rig("", true);
	state_client_remove(rig->state, look(rig, "PC103").client.id);
	close_rig(rig);

	rig = open_rig("", true);
	seen = look(rig, "PC101");
	CU_ASSERT_EQUAL(seen.state, BOOT_RUNNING);
	CU_ASSERT_TRUE(seen.has_target);
	CU_ASSERT_STRING_EQUAL(seen.boot.image, "one");
	CU_ASSERT_FALSE(look(rig, "PC102").has_target);
	CU_ASSERT(run_until(rig, nothing_waits));
	CU_ASSERT_EQUAL(count_targets(), 1);
	CU_ASSERT_EQUAL(boot_remove(rig->boot, "PC101", &error), -EBUSY);
	snprintf(path, sizeof(path), "%s/configfs/core/user_0", root);
	CU_ASSERT_EQUAL(boot_remove(rig->boot, "PC102", &error), 0);
	CU_ASSERT_EQUAL(look(rig, "PC102").client.id, -1);
	close_rig(rig);
}

/*
 * For the kernel it has a session for two minutes more; nobody answers at its address (nor does anybody here, on lo).
 */
static void test_boot_without_power_is_off(void)
{
	struct rig *rig = open_rig("", false);
	struct state_session session = {};
	struct sentence error = {""};

	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	write_info("020000000065", LOGGED_IN);
	last_io(1000);
	CU_ASSERT(run_until(rig, is_running));
	CU_ASSERT_EQUAL(boot_session_begin(rig->boot, "PC101", "two", &error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "has said nothing for 1 s, and without power counts as off in 24 s"));
	CU_ASSERT_EQUAL(boot_remove(rig->boot, "PC101", &error), -EBUSY);
	last_io(12000);
	CU_ASSERT(run_until(rig, is_off));
	CU_ASSERT_EQUAL(boot_session_begin(rig->boot, "PC101", "two", &error), 0);
	/* What it wrote is not committed at once: it may have been a cable. */
	CU_ASSERT_EQUAL(state_session_by_image(rig->state, "two", &session), 1);
	CU_ASSERT_EQUAL(boot_session_freeze(rig->boot, &session, never_frozen, NULL, &error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "had its disk until"));
	last_io(1000);
	CU_ASSERT(run_until(rig, is_running));
	close_rig(rig);
}

/* --- whose disk is it? -------------------------------------------------------------------------------------------- */

#define ANNA_UUID "a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a2"
#define BERT_UUID "b1b1b1b1-b1b1-b1b1-b1b1-b1b1b1b1b1b2"
#define ANNA_KEY  "uuid-a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a2"
#define BERT_KEY  "uuid-b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b2"
#define TWO       "[client ANNA]\nuuid = " ANNA_UUID "\nkeep = yes\n[client BERT]\nuuid = " BERT_UUID "\nkeep = yes\n"

/* The two DHCP exchanges and the request for the script of a PC with that card, whose board says `uuid`; 0: none. */
static void boot_board(struct rig *rig, uint8_t card, uint8_t uuid, uint32_t address)
{
	struct boot_answer answer;
	struct boot_identity who;

	for (int i = 0; i < 2; i++) {
		who = i ? ipxe(card) : firmware(card, 0);
		who.has_uuid = uuid;
		memset(who.uuid, uuid, 16);
		who.uuid[15]++;
		boot_identify(rig->boot, &who, SERVER, &answer);
		CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, address, answer.nbp), 0);
	}
	CU_ASSERT(boot_script_path(answer.nbp, "boot.ipxe", rig->nonce[card]));
	rig->scripts = 0;
	boot_script(rig->boot,
		    &(struct boot_ask){.address = address, .server = SERVER, .nonce = rig->nonce[card], .tftp = true},
		    take_script, rig);
	CU_ASSERT(run_until(rig, one_script));
}

static bool script_has(struct rig *rig, const char *what)
{
	if (strstr(rig->script[0], what))
		return true;
	printf("# no \"%s\" in:\n%s\n", what, rig->script[0]);
	return false;
}

/* What the handler is told of a disk. */
static char *record_of(struct seen seen)
{
	static char text[4096];
	char path[200];
	size_t n;
	FILE *file;

	snprintf(path, sizeof(path), "%s/disk/%lld-0.conf", root, (long long)seen.client.id);
	file = fopen(path, "r");
	n = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
	text[n] = '\0';
	if (file)
		fclose(file);
	return text;
}

/* Two PCs that share a dock, and so a network card: each has its own record, disk and target. */
static void test_boot_two_pcs_with_one_card(void)
{
	struct rig *rig = open_rig(TWO, false);
	struct seen anna, bert;

	boot_board(rig, 101, 0xa1, address_of(101));
	CU_ASSERT(script_has(rig, "disk-" ANNA_KEY));
	boot_board(rig, 101, 0xb1, address_of(102));
	CU_ASSERT(script_has(rig, "disk-" BERT_KEY));
	anna = look(rig, "ANNA");
	bert = look(rig, "BERT");
	CU_ASSERT_STRING_EQUAL(anna.client.key, ANNA_KEY);
	CU_ASSERT_STRING_EQUAL(bert.client.key, BERT_KEY);
	CU_ASSERT(anna.client.id != bert.client.id);
	CU_ASSERT(anna.client.overlay[0] && bert.client.overlay[0]);
	CU_ASSERT_STRING_NOT_EQUAL(anna.client.overlay, bert.client.overlay);
	CU_ASSERT_EQUAL(count_targets(), 2);
	CU_ASSERT_PTR_NOT_NULL(strstr(record_of(bert), bert.client.overlay));
	CU_ASSERT_PTR_NULL(strstr(record_of(bert), anna.client.overlay));
	CU_ASSERT_PTR_NOT_NULL(strstr(record_of(anna), anna.client.overlay));
	close_rig(rig);

	/* Also after a restart; and a third one, that the file does not name, is somebody else. */
	rig = open_rig(TWO, true);
	CU_ASSERT_TRUE(look(rig, "ANNA").has_target);
	boot_board(rig, 101, 0xa1, address_of(101));
	CU_ASSERT(script_has(rig, "disk-" ANNA_KEY));
	CU_ASSERT_STRING_EQUAL(look(rig, "ANNA").client.overlay, anna.client.overlay);
	boot_board(rig, 101, 0xc1, address_of(103));
	CU_ASSERT(script_has(rig, "disk-020000000065"));
	CU_ASSERT_STRING_EQUAL(look(rig, "PC103").client.key, "020000000065");
	CU_ASSERT_STRING_NOT_EQUAL(look(rig, "PC103").client.overlay, anna.client.overlay);
	/* And who says nothing of its board is not the one that came last. */
	boot_board(rig, 101, 0xa1, address_of(101));
	boot_board(rig, 101, 0, address_of(103));
	CU_ASSERT(script_has(rig, "disk-020000000065"));
	close_rig(rig);
}

/* On another card ANNA is ANNA still, and there is one of her. */
static void test_boot_known_by_uuid_on_another_card(void)
{
	struct rig *rig = open_rig(TWO, false);
	struct boot_identity who = {.mac = {2, 0, 0, 0, 0, 110}, .arch = 0xffff};
	struct boot_stats stats;
	struct seen before;

	boot_board(rig, 101, 0xa1, address_of(101));
	before = look(rig, "ANNA");
	boot_board(rig, 110, 0xa1, address_of(101));
	CU_ASSERT(script_has(rig, "disk-" ANNA_KEY));
	CU_ASSERT_EQUAL(look(rig, "ANNA").client.id, before.client.id);
	CU_ASSERT_STRING_EQUAL(look(rig, "ANNA").client.overlay, before.client.overlay);
	CU_ASSERT_EQUAL(look(rig, "ANNA").client.mac[5], 110);
	boot_stats(rig->boot, &stats);
	CU_ASSERT_EQUAL(stats.clients, 1);
	/* Her operating system tells no UUID: it is hers by the card that she came with last. */
	boot_who(rig->boot, &who);
	CU_ASSERT_STRING_EQUAL(who.key, ANNA_KEY);
	boot_board(rig, 110, 0xb1, address_of(102));
	boot_who(rig->boot, &who);
	CU_ASSERT_STRING_EQUAL(who.key, BERT_KEY);
	close_rig(rig);
}

/* On a pair: what was named more times, then the primary's; what is none, or of nobody, changes nothing. */
static void test_boot_one_name_on_a_pair(void)
{
	struct rig *rig = open_rig("[client BOSS]\nmac = 02:00:00:00:00:70\n", false);
	struct boot_shared_name told = {.key = "020000000065", .name = "PC102"}, tells;

	dhcp(rig, 101, 0);
	dhcp(rig, 102, 0);
	boot_shared_name_heard(rig->boot, &told, false); /* the backup's word against the primary's */
	CU_ASSERT_EQUAL(look(rig, "PC102").client.mac[5], 102);
	boot_shared_name_heard(rig->boot, &told, true);
	CU_ASSERT_EQUAL(look(rig, "PC102").client.mac[5], 101);
	CU_ASSERT_EQUAL(look(rig, "PC256").client.mac[5], 102); /* 101's and 102's are promised or taken */
	strcpy(told.name, "ANNA");
	told.named = 2;
	boot_shared_name_heard(rig->boot, &told, false);
	CU_ASSERT_EQUAL(look(rig, "ANNA").client.mac[5], 101);
	CU_ASSERT_EQUAL(look(rig, "ANNA").client.named, 2);
	told.named = 1;
	strcpy(told.name, "OLD");
	boot_shared_name_heard(rig->boot, &told, true);
	CU_ASSERT_EQUAL(look(rig, "OLD").client.id, -1);
	told.named = 9;
	for (unsigned int i = 0; i < 3; i++) { /* no name, a section's, one that cannot be counted further */
		static const char *const wrong[] = {"-x y", "BOSS", "HIGH"};

		strcpy(told.name, wrong[i]);
		told.named = i == 2 ? UINT32_MAX : 9;
		boot_shared_name_heard(rig->boot, &told, true);
		CU_ASSERT_EQUAL(look(rig, "ANNA").client.mac[5], 101);
	}
	/* Who comes here for the first time has the name that it has there, and nobody else gets it. */
	strcpy(told.key, "020000000069");
	strcpy(told.name, "PC106");
	told.named = 0;
	boot_shared_name_heard(rig->boot, &told, false);
	dhcp(rig, 106, 0);
	CU_ASSERT_EQUAL(look(rig, "PC106").client.id, -1);
	dhcp(rig, 105, 0);
	CU_ASSERT_EQUAL(look(rig, "PC106").client.mac[5], 105);
	CU_ASSERT(boot_shared_name_at(rig->boot, 0, &tells));
	CU_ASSERT(tells.key[0] && tells.name[0]);
	CU_ASSERT(!boot_shared_name_at(rig->boot, 4, &tells));
	close_rig(rig);
}

/* As proxy only the script's request is seen: its path carries who it is, and nobody can say so without that nonce. */
static void test_boot_two_pcs_with_one_card_as_proxy(void)
{
	struct rig *rig = open_rig(TWO, false);
	struct boot_identity who = ipxe(50);
	struct boot_answer anna, bert;
	char nonce[2][BOOT_NONCE_MAX];
	struct boot_ask how = {.address = address_of(50), .server = SERVER, .mac = {2, 0, 0, 0, 0, 50}};

	rig->config->dhcp_mode = CONFIG_DHCP_PROXY;
	who.has_uuid = true;
	memcpy(who.uuid, rig->config->client[0].uuid, 16);
	boot_identify(rig->boot, &who, SERVER, &anna);
	CU_ASSERT_PTR_NOT_NULL(strstr(anna.nbp, "&pc=ANNA"));
	memcpy(who.uuid, rig->config->client[1].uuid, 16);
	boot_identify(rig->boot, &who, SERVER, &bert);
	CU_ASSERT_PTR_NOT_NULL(strstr(bert.nbp, "&pc=BERT"));
	CU_ASSERT_EQUAL(sscanf(strstr(anna.nbp, "boot/"), "boot/%32[0-9a-f]", nonce[0]), 1);
	CU_ASSERT_EQUAL(sscanf(strstr(bert.nbp, "boot/"), "boot/%32[0-9a-f]", nonce[1]), 1);
	/* BERT's nonce with ANNA's name: nothing. */
	how.nonce = nonce[1];
	how.pc = "ANNA";
	boot_script(rig->boot, &how, take_script, rig);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "does not know it"));
	for (int i = 0; i < 2; i++) {
		rig->scripts = 0;
		how.nonce = nonce[i];
		how.pc = i ? "BERT" : "ANNA";
		boot_script(rig->boot, &how, take_script, rig);
		CU_ASSERT(run_until(rig, one_script));
		CU_ASSERT(script_has(rig, i ? "disk-" BERT_KEY : "disk-" ANNA_KEY));
	}
	CU_ASSERT_EQUAL(look(rig, "ANNA").client.mac[5], 50);
	CU_ASSERT_STRING_NOT_EQUAL(look(rig, "ANNA").client.overlay, look(rig, "BERT").client.overlay);
	rig->scripts = 0;
	how.pc = "ANNA"; /* now that both have records */
	boot_script(rig->boot, &how, take_script, rig);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "is not that of its last DHCP answer"));
	close_rig(rig);
}

static bool was_told(const char *what)
{
	char command[400];

	snprintf(command, sizeof(command), "grep -q '%s' log", what);
	return in_root(command) == 0;
}

/* A board that was changed: the file has the new one's UUID, and one command gives it what the old one had. */
static void test_boot_move(void)
{
	struct rig *rig = open_rig(TWO, false);
	struct sentence error = {""};
	char name[CONFIG_HOST_MAX], path[200];
	struct seen old, fresh;
	int err;

	boot_board(rig, 101, 0xa1, address_of(101));
	boot_board(rig, 105, 0, address_of(105));
	old = look(rig, "ANNA");
	close_rig(rig);
	rig = open_rig("[client ANNA]\nuuid = " BERT_UUID "\nkeep = yes\n", true);
	snprintf(path, sizeof(path), "%s/log", root);
	err = dup(2);
	CU_ASSERT_PTR_NOT_NULL(freopen(path, "w", stderr));
	boot_board(rig, 101, 0xb1, address_of(102));
	fflush(stderr);
	dup2(err, 2);
	close(err);
	CU_ASSERT(was_told("client ANNA (uuid " BERT_UUID ") is a new PC, .*: client PC[0-9]* (uuid " ANNA_UUID
			   ") had its name until now; .* .bootwell client move PC[0-9]* ANNA"));
	fresh = look(rig, "ANNA");
	CU_ASSERT(fresh.client.id != old.client.id);
	CU_ASSERT_STRING_NOT_EQUAL(fresh.client.overlay, old.client.overlay);
	old = look(rig, "PC256"); /* it yielded its name: 101 is the card's next one's */
	if (old.client.id < 0)
		old = look(rig, "PC101");
	CU_ASSERT_FATAL(old.client.id > 0);

	/* Both were there at the same second, which new boards are not. */
	CU_ASSERT_EQUAL(boot_move(rig->boot, "nobody", "ANNA", false, name, &error), -ENOENT);
	CU_ASSERT_EQUAL(boot_move(rig->boot, old.client.name, "nobody", false, name, &error), -ENOENT);
	CU_ASSERT_EQUAL(boot_move(rig->boot, "ANNA", "ANNA", false, name, &error), -EINVAL);
	CU_ASSERT_EQUAL(boot_move(rig->boot, old.client.name, "ANNA", true, name, &error), 0);
	CU_ASSERT_STRING_EQUAL(name, "ANNA");
	CU_ASSERT_EQUAL(look(rig, "ANNA").client.id, old.client.id);
	CU_ASSERT_STRING_EQUAL(look(rig, "ANNA").client.overlay, old.client.overlay);
	CU_ASSERT_STRING_EQUAL(look(rig, "ANNA").client.key, BERT_KEY);
	CU_ASSERT_EQUAL(look(rig, old.client.name).client.id, -1);
	boot_board(rig, 101, 0xb1, address_of(102));
	CU_ASSERT(script_has(rig, "disk-" BERT_KEY));
	CU_ASSERT_PTR_NOT_NULL(strstr(record_of(look(rig, "ANNA")), old.client.overlay));

	/* A card that was changed and was not seen yet; the name stays. */
	old = look(rig, "PC105");
	CU_ASSERT_EQUAL(boot_move(rig->boot, "PC105", "02:00:00:00:00:78", false, name, &error), 0);
	CU_ASSERT_STRING_EQUAL(name, "PC105");
	boot_board(rig, 0x78, 0, address_of(106));
	CU_ASSERT_EQUAL(look(rig, "PC105").client.id, old.client.id);
	CU_ASSERT_STRING_EQUAL(look(rig, "PC105").client.overlay, old.client.overlay);
	/* Not of who runs. */
	write_info("020000000078", LOGGED_IN);
	close_rig(rig);
	rig = open_rig("[client ANNA]\nuuid = " BERT_UUID "\nkeep = yes\n", true);
	CU_ASSERT_EQUAL(boot_move(rig->boot, "PC105", "ANNA", true, name, &error), -EBUSY);
	CU_ASSERT_EQUAL(boot_move(rig->boot, "ANNA", "PC105", true, name, &error), -EBUSY);
	close_rig(rig);
	rig = open_rig("keep = yes\n[client ANNA]\nuuid = " BERT_UUID "\n", true);
	boot_board(rig, 107, 0, address_of(107));
	boot_board(rig, 108, 0, address_of(108));
	sleep(1);
	boot_board(rig, 107, 0, address_of(109)); /* seen after PC108 was: two PCs */
	CU_ASSERT_EQUAL(boot_move(rig->boot, "PC107", "PC108", false, name, &error), -EEXIST);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "--drop"));
	/* What a section says of the old one is told. */
	CU_ASSERT_EQUAL(boot_move(rig->boot, "ANNA", "PC108", true, name, &error), 0);
	CU_ASSERT_STRING_EQUAL(name, "PC108");
	CU_ASSERT_PTR_NOT_NULL(
		strstr(error.text, "still names the old one: write network card 02:00:00:00:00:6c there"));
	close_rig(rig);
}

static void check_old_lease(void *arg, const struct state_lease *lease)
{
	char key[IDENTITY_KEY_MAX];

	if (lease->address == 2130706533)
		*(bool *)arg = identity_of_lease_id(lease->id, lease->id_length, key) && !strcmp(key, ANNA_KEY);
	else
		CU_ASSERT_EQUAL(lease->id_length, 0);
}

/* A state and targets that a version made that knew PCs by MAC only. */
static void test_boot_carries_over_what_went_by_mac(void)
{
	static const char config[] = TWO "[client PORT7]\ncircuit = port 7\nkeep = yes\n";
	struct rig *rig = open_rig("", false);
	bool rekeyed = false;
	char path[200];
	sqlite3 *db;

	/* ANNA runs, from a target of the old name. */
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	write_info("020000000065", LOGGED_IN);
	close_rig(rig);
	CU_ASSERT_EQUAL(in_root("rm bootwell.db*; sed -i s/1-0/7-0/ configfs/core/*/*/* 2>/dev/null; "
				"find configfs -depth -name 1-0 -execdir mv {} 7-0 \\; ; "
				"find configfs -lname '*1-0*' | while read l; do t=$(readlink $l); "
				"ln -sfn $(echo $t | sed s,/1-0,/7-0,) $l; done"),
			0);
	snprintf(path, sizeof(path), "%s/bootwell.db", root);
	CU_ASSERT_EQUAL_FATAL(sqlite3_open(path, &db), 0);
	CU_ASSERT_EQUAL_FATAL(sqlite3_exec(db, state_old, NULL, NULL, NULL), 0);
	sqlite3_close(db);

	rig = open_rig(config, true);
	CU_ASSERT_STRING_EQUAL(look(rig, "ANNA").client.key, ANNA_KEY);
	CU_ASSERT_STRING_EQUAL(look(rig, "PC102").client.key, "020000000066");
	CU_ASSERT_STRING_EQUAL(look(rig, "PORT7").client.key, rig->config->client[2].key);
	CU_ASSERT_EQUAL(look(rig, "ANNA").state, BOOT_RUNNING);
	CU_ASSERT_EQUAL(count_targets(), 1);
	CU_ASSERT_EQUAL(state_lease_each(rig->state, check_old_lease, &rekeyed), 0);
	CU_ASSERT(rekeyed);
	close_rig(rig);
	/* She boots again, on the dock that BERT had in the meantime. */
	CU_ASSERT_EQUAL(in_root("for i in configfs/iscsi/*/tpgt_1/acls/*/info; do echo none >$i; done"), 0);
	rig = open_rig(config, true);
	boot_board(rig, 101, 0xb1, address_of(104));
	CU_ASSERT_PTR_NULL(strstr(record_of(look(rig, "BERT")), "00000000000a"));
	boot_board(rig, 101, 0xa1, address_of(101));
	CU_ASSERT_EQUAL(look(rig, "ANNA").client.id, 7);
	CU_ASSERT_PTR_NOT_NULL(strstr(record_of(look(rig, "ANNA")), "5f9d3c1e-0000-4000-8000-00000000000a"));
	CU_ASSERT_PTR_NOT_NULL(strstr(record_of(look(rig, "ANNA")), "mode=keep"));
	boot_board(rig, 102, 0, address_of(102));
	CU_ASSERT_PTR_NOT_NULL(strstr(record_of(look(rig, "PC102")), "5f9d3c1e-0000-8000-8000-00000000000b"));
	close_rig(rig);
}

static void test_boot_cleanup(void)
{
	nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	CU_ASSERT_EQUAL(rmdir(root), 0);
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		UNIT(test_boot_registers_at_first_lease),
		UNIT(test_boot_register_off),
		UNIT(test_boot_register_limit),
		UNIT(test_boot_register_rolled_back),
		UNIT(test_boot_section_takes_the_name),
		UNIT(test_boot_nbp_by_firmware),
		UNIT(test_boot_other_nbp_after_failed_handoff),
		UNIT(test_boot_firmware_has_a_name),
		UNIT(test_boot_profile_order),
		UNIT(test_boot_change_names),
		UNIT(test_boot_script_makes_the_disk),
		UNIT(test_boot_script_asked_twice),
		UNIT(test_boot_many_at_once),
		UNIT(test_boot_as_proxy),
		UNIT(test_boot_free_answers_who_waits),
		UNIT(test_boot_as_proxy_newcomers_are_counted),
		UNIT(test_boot_script_needs_its_nonce),
		UNIT(test_boot_of_an_ipxe_that_cannot),
		UNIT(test_boot_gateway),
		UNIT(test_boot_verdict),
		UNIT(test_boot_script_says_why_not),
		UNIT(test_boot_script_while_it_runs),
		UNIT(test_boot_disk_lost),
		UNIT(test_boot_session),
		UNIT(test_boot_kept_generation),
		UNIT(test_boot_computer_name),
		UNIT(test_boot_further_disks),
		UNIT(test_boot_capture),
		UNIT(test_boot_capture_secret_ends),
		UNIT(test_boot_capture_goes_on_after_restart),
		UNIT(test_boot_adopt),
		UNIT(test_boot_without_power_is_off),
		UNIT(test_boot_two_pcs_with_one_card),
		UNIT(test_boot_known_by_uuid_on_another_card),
		UNIT(test_boot_one_name_on_a_pair),
		UNIT(test_boot_two_pcs_with_one_card_as_proxy),
		UNIT(test_boot_move),
		UNIT(test_boot_carries_over_what_went_by_mac),
		UNIT(test_boot_cleanup),
	};

	if (!mkdtemp(root))
		return 1;
	log_set_level(LOG_LEVEL_WARNING);
	return unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
