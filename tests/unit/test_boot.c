/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clients and their boots: registration, names, boot programs, who gets a script, what becomes of
 * an earlier run. */
#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/boot.h"
#include "daemon/boot_disk.h"
#include "daemon/catalogue.h"
#include "daemon/loop.h"
#include "daemon/log.h"
#include "daemon/target.h"
#include "tests/unit/unit.h"

#define SERVER 0x7f000001u

static char root[] = "/tmp/bootwell-boot.XXXXXX";

/* A daemon's parts around boot, on a directory of its own. */
struct rig {
	struct loop *loop;
	struct config *config;
	struct store *store;
	struct catalogue *catalogue;
	struct targets *targets;
	struct boot *boot;
	struct loop_source *ticker;
	bool (*condition)(struct rig *rig);
	int ticks;
	/* what scripts said */
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
	char path[128], error[CATALOGUE_ERROR_MAX];

	if (!again) {
		nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
		make_file("one.raw", "", 1 << 20);
		make_file("two.raw", "", 2 << 20);
		snprintf(path, sizeof(path), "%s/configfs", root);
		mkdir(path, 0755);
	}
	rig->config = make_config(more);
	snprintf(path, sizeof(path), "%s/bootwell.db", root);
	CU_ASSERT_EQUAL_FATAL(store_new(&rig->store, path, error), 0);
	CU_ASSERT_EQUAL_FATAL(catalogue_new(&rig->catalogue, rig->store), 0);
	catalogue_sync(rig->catalogue, rig->config);
	snprintf(path, sizeof(path), "%s/configfs", root);
	CU_ASSERT_EQUAL_FATAL(targets_new(&rig->targets, path, root), 0);
	CU_ASSERT_EQUAL_FATAL(targets_check(rig->targets, error), 0);
	CU_ASSERT_EQUAL_FATAL(boot_disks_write_engine(rig->config, error), 0);
	CU_ASSERT_EQUAL_FATAL(loop_new(&rig->loop), 0);
	CU_ASSERT_EQUAL_FATAL(boot_new(&rig->boot, rig->loop, rig->config, rig->store,
				       rig->catalogue, rig->targets),
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
	store_free(rig->store);
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
	return (struct boot_identity){
		.mac = {2, 0, 0, 0, 0, last}, .arch = 0, .pxe = true, .ipxe = true};
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
	CU_ASSERT_STRING_EQUAL(answer.nbp, "boot.ipxe");
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, address_of(last), answer.nbp), 0);
}

static void take_script(void *arg, const char *text, uint32_t length)
{
	struct rig *rig = arg;

	CU_ASSERT_EQUAL(strlen(text), length);
	snprintf(rig->script[rig->scripts++ % 8], sizeof(rig->script[0]), "%s", text);
}

static const uint8_t no_mac[6];

static void ask(struct rig *rig, uint8_t last)
{
	boot_script(rig->boot, address_of(last), no_mac, SERVER, take_script, rig);
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
	struct store_client client;
	enum boot_state state;
	struct store_boot boot;
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
	struct rig *rig = open_rig(
		"[clients]\nregister = no\n[client KNOWN]\nmac = 02:00:00:00:00:66\n", false);
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
	CU_ASSERT_EQUAL(store_begin(rig->store), 0);
	for (unsigned int i = 0; i < 5000; i++) {
		struct boot_identity who = {.mac = {2, 1, 0, 0, i >> 8, i & 255}, .arch = 0xffff};

		CU_ASSERT_EQUAL(boot_leased(rig->boot, &who, 0x0a000000 + i, ""), 0);
	}
	CU_ASSERT_EQUAL(store_commit(rig->store), 0);
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
	struct store_client row;

	CU_ASSERT_EQUAL(store_begin(rig->store), 0);
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &a, address_of(101), "undionly.kpxe"), 0);
	store_rollback(rig->store);
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &b, address_of(102), "undionly.kpxe"), 0);
	CU_ASSERT_EQUAL(boot_leased(rig->boot, &a, address_of(103), "undionly.kpxe"), 0);
	CU_ASSERT_EQUAL(store_client_by_mac(rig->store, a.mac, &row), 1);
	CU_ASSERT_STRING_EQUAL(row.name, "PC101");
	CU_ASSERT_EQUAL(store_client_by_mac(rig->store, b.mac, &row), 1);
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
	struct rig *rig = open_rig(
		"[client A]\nmac = 02:00:00:00:00:66\nnbp-bios = a.kpxe\nnbp-uefi = a.efi\n",
		false);
	struct boot_identity system = {.mac = {2, 0, 0, 0, 0, 9}, .arch = 0xffff};
	/* HTTP boot (RFC 5970 and IANA's list): x86 UEFI, x64, arm64, BIOS */
	static const struct {
		uint16_t arch;
		const char *nbp;
	} http[] = {
		{15, "i386-efi/snponly.efi"},
		{16, "snponly.efi"},
		{19, "arm64-efi/snponly.efi"},
		{20, "undionly.kpxe"},
	};
	struct boot_answer answer;

	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 9, 0), "undionly.kpxe");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 9, 7), "snponly.efi");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 9, 9), "snponly.efi");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 9, 11), "arm64-efi/snponly.efi"); /* arm64: Debian has no iPXE for it */
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 0x66, 0), "a.kpxe");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 0x66, 7), "a.efi");
	CU_ASSERT_STRING_EQUAL(nbp_of(rig, 0x66, 11), "a.efi");
	for (size_t i = 0; i < sizeof(http) / sizeof(http[0]); i++) {
		struct boot_identity who = firmware(9, http[i].arch);
		char url[96];

		boot_identify(rig->boot, &who, SERVER, &answer);
		CU_ASSERT_TRUE(answer.http_boot);
		snprintf(url, sizeof(url), "http://127.0.0.1:8001/nbp/%s", http[i].nbp);
		CU_ASSERT_STRING_EQUAL(answer.nbp, url);
	}
	for (uint16_t arch = 0; arch < 15; arch++) {
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
	CU_ASSERT_STRING_EQUAL(look(rig, "PC101").boot.failure,
			       "snponly.efi was sent, and no script was asked for");
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
	char error[BOOT_ERROR_MAX];
	struct boot_answer a;

	boot_leased(rig->boot, &who, address_of(101), "");
	boot_leased(rig->boot, &s, address_of(102), "");
	boot_identify(rig->boot, &who, SERVER, &a);
	CU_ASSERT_STRING_EQUAL(a.profile->image[0], "one");
	CU_ASSERT_EQUAL(a.profile->keep, CONFIG_YES);
	CU_ASSERT_EQUAL(a.profile->upload, CONFIG_NO);
	CU_ASSERT_EQUAL(boot_change(rig->boot, "PC101", &change, error), 0);
	boot_identify(rig->boot, &who, SERVER, &a);
	CU_ASSERT_STRING_EQUAL(a.profile->image[0], "two");
	CU_ASSERT_EQUAL(a.profile->keep, CONFIG_YES); /* of the default group still */
	CU_ASSERT_EQUAL(a.profile->upload, CONFIG_YES);
	CU_ASSERT_EQUAL(a.profile->options.count, 2);
	CU_ASSERT_EQUAL(a.profile->options.option[0].data[3], 2);
	change = (struct boot_change){.image = "one", .keep = 0, .upload = -1};
	CU_ASSERT_EQUAL(boot_change(rig->boot, "PC101", &change, error), 0);
	boot_identify(rig->boot, &who, SERVER, &a);
	CU_ASSERT_STRING_EQUAL(a.profile->image[0], "one");
	CU_ASSERT_EQUAL(a.profile->keep, CONFIG_NO);
	CU_ASSERT_EQUAL(a.profile->upload, CONFIG_NO);
	/* What the file says cannot be changed in the state, and the sentence says where it stands.
	 */
	change = (struct boot_change){.keep = 1, .upload = BOOT_UNCHANGED};
	CU_ASSERT_EQUAL(boot_change(rig->boot, "S", &change, error), -EPERM);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "bootwell.conf line 20"));
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
	char error[BOOT_ERROR_MAX];
	const char *now = "PC101";

	boot_leased(rig->boot, &a, address_of(101), "");
	boot_leased(rig->boot, &b, address_of(102), "");
	boot_leased(rig->boot, &c, address_of(103), "");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		change.name = names[i].name;
		CU_ASSERT_EQUAL(boot_change(rig->boot, now, &change, error), names[i].result);
		if (!names[i].result)
			now = names[i].name;
	}
	CU_ASSERT_TRUE(look(rig, "desk-1").client.named);
	change.name = "Other";
	CU_ASSERT_EQUAL(boot_change(rig->boot, "FILE", &change, error), -EPERM);
	change.name = NULL;
	change.image = "three";
	CU_ASSERT_EQUAL(boot_change(rig->boot, "PC103", &change, error), -ENOENT);
	change.image = NULL;
	change.group = "nobody";
	CU_ASSERT_EQUAL(boot_change(rig->boot, "PC103", &change, error), -ENOENT);
	CU_ASSERT_EQUAL(boot_change(rig->boot, "PC999", &change, error), -ENOENT);
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
		strstr(rig->script[0],
		       "sanboot iscsi:127.0.0.1:::0:iqn.2026-01.org.bootwell:disk-020000000065"));
	seen = look(rig, "PC101");
	CU_ASSERT_EQUAL(seen.state, BOOT_READY);
	CU_ASSERT_TRUE(seen.has_target);
	CU_ASSERT_STRING_EQUAL(seen.boot.image, "one");
	CU_ASSERT(seen.boot.dhcp_ns && seen.boot.tftp_ns && seen.boot.ipxe_ns);
	CU_ASSERT(seen.boot.script_ns >= seen.boot.ipxe_ns &&
		  seen.boot.ready_ns >= seen.boot.script_ns);
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

/* Beside another DHCP server we see no lease: iPXE tells its MAC with the request for its script. */
static void test_boot_as_proxy(void)
{
	struct rig *rig = open_rig("", false);
	struct boot_identity who = ipxe(50);
	struct boot_answer answer;
	char secret[64];

	rig->config->dhcp_mode = CONFIG_DHCP_PROXY;
	boot_identify(rig->boot, &who, SERVER, &answer);
	CU_ASSERT_STRING_EQUAL(answer.nbp, "http://127.0.0.1:8001/boot.ipxe?mac=${netX/mac}");
	boot_script(rig->boot, address_of(50), who.mac, SERVER, take_script, rig);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	CU_ASSERT_STRING_EQUAL(look(rig, "PC050").client.name, "PC050");
	/* Each boot has a secret of its own. */
	CU_ASSERT_EQUAL(sscanf(strstr(rig->script[0], "set password"), "%63[^\n]", secret), 1);
	CU_ASSERT_EQUAL(strlen(secret), strlen("set password ") + 16);
	rig->scripts = 0;
	boot_script(rig->boot, address_of(51), who.mac, SERVER, take_script, rig);
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
	return !strcmp(operation, "write") && strstr(path, "core/user_0") && strstr(path, "/enable")
		       ? -ENOENT
		       : 0;
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

#define LOGGED_IN                                                                                  \
	"Session State: TARG_SESS_STATE_LOGGED_IN\n   Address 127.0.0.101 TCP  StatSN: 0x1\n"

/* One forged request must not end a running PC's session; a PC that boots again may. */
static void test_boot_script_while_it_runs(void)
{
	struct rig *rig = open_rig("", false);

	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	write_info("020000000065", LOGGED_IN);
	CU_ASSERT(run_until(rig, is_running));
	CU_ASSERT(look(rig, "PC101").boot.login_ns > 0);
	rig->scripts = 0;
	ask(rig, 101);
	CU_ASSERT_EQUAL(rig->scripts, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "still runs"));
	CU_ASSERT_EQUAL(look(rig, "PC101").state, BOOT_RUNNING);
	dhcp(rig, 101, 0);
	rig->scripts = 0;
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
	close_rig(rig);
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

/* The super client: a write-back of its own, kept, on one generation; nobody else; no commit while it may be at work. */
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
	struct store_session session;
	char error[BOOT_ERROR_MAX], line[64];
	struct store_image row;

	dhcp(rig, 101, 0);
	dhcp(rig, 102, 0);
	CU_ASSERT_EQUAL(boot_session_begin(rig->boot, "PC101", "none", error), -ENOENT);
	CU_ASSERT_EQUAL(boot_session_begin(rig->boot, "PC101", "two", error), 0);
	CU_ASSERT_EQUAL(boot_session_begin(rig->boot, "PC102", "two", error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "updated by client PC101 already"));
	CU_ASSERT_EQUAL(boot_session_begin(rig->boot, "PC101", "one", error), -EBUSY);
	CU_ASSERT_EQUAL_FATAL(store_session_by_image(rig->store, "two", &session), 1);
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
	CU_ASSERT_EQUAL(boot_session_freeze(rig->boot, &session, never_frozen, NULL, error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "is running"));
	CU_ASSERT_EQUAL(boot_session_end(rig->boot, "two", error), -EBUSY);
	write_info("020000000065", "No active iSCSI Session for Initiator Endpoint\n");
	CU_ASSERT(run_until(rig, is_off));
	CU_ASSERT_EQUAL(boot_session_freeze(rig->boot, &session, never_frozen, NULL, error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "make sure that it is shut down"));

	/* The image moves on without it: said, not mixed. */
	make_file("three.raw", "", 3 << 20);
	CU_ASSERT_EQUAL(catalogue_add_generation(rig->catalogue, rig->config, "two", "three.raw", "raw", &row, error), 0);
	rig->scripts = 0;
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NULL(strstr(rig->script[0], "sanboot"));
	CU_ASSERT_PTR_NOT_NULL(strstr(look(rig, "PC101").boot.failure, "lies on generation 1 of two"));
	targets_trace(rig->targets, see_drop, NULL);
	CU_ASSERT_EQUAL(boot_session_end(rig->boot, "two", error), 0);
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

/* A PC's name goes into its write-back, by a doctor that says what to write; one that fails keeps no PC from its start. */
static void test_boot_computer_name(void)
{
	struct rig *rig = open_rig("computer-name = yes\n[client PC102]\nmac = 02:00:00:00:00:66\ncomputer-name = no\n", false);
	char path[128], error[BOOT_ERROR_MAX];

	snprintf(path, sizeof(path), "%s/doctor", root);
	make_file("doctor", "#!/bin/sh\necho \"$@\" >>$(dirname $0)/asked\n[ -e $(dirname $0)/bad ] && { echo torn >&2; exit 1; }\n"
			    "[ -e $(dirname $0)/none ] && exit 3\necho patch\n", 0);
	CU_ASSERT_EQUAL(chmod(path, 0755), 0);
	setenv("BOOTWELL_DOCTOR", path, 1);
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_EQUAL(in_root("grep -q '^--computer-name PC101 one 1 [^ ]* [^ ]* raw one.raw 0$' asked && "
			       "[ \"$(cat disk/1-0.patch)\" = patch ] && rm disk/1-0.patch"), 0);
	/* The same again: nobody is asked a second time. */
	rig->scripts = 0;
	dhcp(rig, 101, 0);
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_EQUAL(in_root("[ $(wc -l <asked) = 1 ] && [ -e disk/1-0.patch ]"), 0);
	/* Not while it updates an image: it would become everybody's name. */
	CU_ASSERT_EQUAL(boot_session_begin(rig->boot, "PC101", "two", error), 0);
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
	struct rig *rig = open_rig("disks = two, three own, four keep\n[image three]\nfile = three.raw\n[image four]\nfile = four.raw\n"
				   "[client PC103]\nmac = 02:00:00:00:00:67\ndisks = none\n", false);
	char error[CATALOGUE_ERROR_MAX], line[64], overlay[40];

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
	CU_ASSERT_EQUAL(catalogue_remove(rig->catalogue, rig->config, "two", error), -EBUSY);
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

/* A PC that may upload gets the capture system until its image is there. */
static void test_boot_capture(void)
{
	struct rig *rig = open_rig("[client MASTER]\nmac = 02:00:00:00:00:65\nupload = yes\ncapture = pc.vmdk\n"
				   "capture-disk = sda\n",
				   false);
	char error[CATALOGUE_ERROR_MAX], who[CONFIG_HOST_MAX];
	struct store_image row;

	dhcp(rig, 101, 0);
	dhcp(rig, 102, 0);
	ask(rig, 101);
	CU_ASSERT_EQUAL(rig->scripts, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "/capture\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], " bootwell.name=pc.vmdk bootwell.disk=sda"));
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(101), who, error), 0);
	CU_ASSERT_STRING_EQUAL(who, "MASTER");
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(102), who, error), -EACCES);
	CU_ASSERT_EQUAL(boot_may_upload(rig->boot, address_of(103), who, error), -EACCES);
	CU_ASSERT_EQUAL(catalogue_add(rig->catalogue, rig->config, "pc", "two.raw", "raw", 0, &row, error), 0);
	rig->scripts = 0;
	ask(rig, 101);
	CU_ASSERT(run_until(rig, one_script));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig->script[0], "sanboot"));
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
	char error[BOOT_ERROR_MAX], path[160];
	struct seen seen;

	for (uint8_t i = 0; i < 3; i++)
		dhcp(rig, 101 + i, 0);
	for (uint8_t i = 0; i < 3; i++)
		ask(rig, 101 + i);
	rig->scripts = 1;
	CU_ASSERT(run_until(rig, four_scripts));
	write_info("020000000065", LOGGED_IN);
	/* The second one lost its enable, the third its client. */
	make_file("configfs/iscsi/iqn.2026-01.org.bootwell:disk-020000000066/tpgt_1/enable", "0",
		  0);
	close_rig(rig);
	rig = open_rig("", true);
	store_client_remove(rig->store, look(rig, "PC103").client.id);
	close_rig(rig);

	rig = open_rig("", true);
	seen = look(rig, "PC101");
	CU_ASSERT_EQUAL(seen.state, BOOT_RUNNING);
	CU_ASSERT_TRUE(seen.has_target);
	CU_ASSERT_STRING_EQUAL(seen.boot.image, "one");
	CU_ASSERT_FALSE(look(rig, "PC102").has_target);
	CU_ASSERT(run_until(rig, nothing_waits));
	CU_ASSERT_EQUAL(count_targets(), 1);
	CU_ASSERT_EQUAL(boot_remove(rig->boot, "PC101", error), -EBUSY);
	snprintf(path, sizeof(path), "%s/configfs/core/user_0", root);
	CU_ASSERT_EQUAL(boot_remove(rig->boot, "PC102", error), 0);
	CU_ASSERT_EQUAL(look(rig, "PC102").client.id, -1);
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
		UNIT(test_boot_profile_order),
		UNIT(test_boot_change_names),
		UNIT(test_boot_script_makes_the_disk),
		UNIT(test_boot_script_asked_twice),
		UNIT(test_boot_many_at_once),
		UNIT(test_boot_as_proxy),
		UNIT(test_boot_free_answers_who_waits),
		UNIT(test_boot_script_says_why_not),
		UNIT(test_boot_script_while_it_runs),
		UNIT(test_boot_disk_lost),
		UNIT(test_boot_session),
		UNIT(test_boot_kept_generation),
		UNIT(test_boot_computer_name),
		UNIT(test_boot_further_disks),
		UNIT(test_boot_capture),
		UNIT(test_boot_adopt),
		UNIT(test_boot_cleanup),
	};

	if (!mkdtemp(root))
		return 1;
	log_set_level(LOG_LEVEL_WARNING);
	return unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
