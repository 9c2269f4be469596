/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Targets in a directory that stands in for configfs: the order of operations, and every one of
 * them failing. */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/target/target.h"
#include "tests/unit/unit.h"

static char root[] = "/tmp/bootwell-target.XXXXXX";

struct trace {
	char line[128][512];
	unsigned int count;
	unsigned int fail_at; /* 1..; 0: none */
	unsigned int calls;
};

static int on_operation(void *arg, const char *operation, const char *path, const char *value)
{
	struct trace *trace = arg;

	if (trace->count < 128)
		snprintf(trace->line[trace->count++], 512, "%s %s %s", operation, path, value);
	return ++trace->calls == trace->fail_at ? -EIO : 0;
}

static int find(const struct trace *trace, const char *begin)
{
	for (unsigned int i = 0; i < trace->count; i++)
		if (!strncmp(trace->line[i], begin, strlen(begin)))
			return i;
	return -1;
}

static const struct target_disk disk = {
	.id = "12-0",
	.iqn = "iqn.2026-01.org.bootwell:disk-525400123456",
	.initiator = "iqn.2026-01.org.bootwell:pc-525400123456",
	.user = "pc-525400123456",
	.secret = "0123456789abcdef",
	.serial = "5f9d3c1e-0000-4000-8000-000000000001",
	.size = 40ull << 30,
	.port = 3260,
};

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	return ftw->level ? remove(path) : 0;
}

static void empty_root(void)
{
	nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Entries below iscsi/ and core/user_0/. */
static unsigned int leftovers(void)
{
	static const char *const folders[] = {"iscsi", "core/user_0"};
	unsigned int n = 0;

	for (unsigned int i = 0; i < 2; i++) {
		char path[256];
		struct dirent *entry;
		DIR *dir;

		snprintf(path, sizeof(path), "%s/%s", root, folders[i]);
		dir = opendir(path);
		while (dir && (entry = readdir(dir)))
			n += entry->d_name[0] != '.';
		if (dir)
			closedir(dir);
	}
	return n;
}

static struct targets *begin(struct trace *trace)
{
	struct targets *t = NULL;
	struct sentence error = {""};

	empty_root();
	memset(trace, 0, sizeof(*trace));
	CU_ASSERT_EQUAL(targets_new(&t, root, root), 0);
	CU_ASSERT_EQUAL(targets_check(t, &error), 0);
	targets_trace(t, on_operation, trace);
	return t;
}

#define IQN  "iscsi/iqn.2026-01.org.bootwell:disk-525400123456"
#define TPG  IQN "/tpgt_1"
#define ACL  TPG "/acls/iqn.2026-01.org.bootwell:pc-525400123456"
#define BACK "core/user_0/12-0"

/* Each of these comes after the one before it. */
static void expect_order(const struct trace *trace, const char *const *lines)
{
	int last = -1;

	for (; *lines; lines++) {
		int at = find(trace, *lines);

		if (at <= last)
			printf("# out of order or missing: %s\n", *lines);
		CU_ASSERT(at > last);
		last = at;
	}
}

static void test_target_add_order(void)
{
	static const char *const order[] = {
		"mkdir " BACK,
		"write " BACK "/control "
		"dev_config=bootwell/"
		"12-0,dev_size=42949672960,hw_block_size=512,hw_max_sectors=2048,",
		"write " BACK "/wwn/vpd_unit_serial 5f9d3c1e-",
		"write " BACK "/enable 1",
		"write " BACK "/attrib/cmd_time_out ",
		"mkdir " IQN,
		"write " TPG "/attrib/authentication 1",
		"mkdir " TPG "/lun/lun_0",
		"link " TPG "/lun/lun_0/",
		"mkdir " ACL " ",
		"write " ACL "/auth/userid pc-525400123456",
		"write " ACL "/auth/password 0123456789abcdef",
		"link " ACL "/lun_0/",
		"mkdir " TPG "/np/0.0.0.0:3260",
		"write " TPG "/enable 1",
		NULL,
	};
	static const char *const closed[] = {"/attrib/generate_node_acls 0", "/attrib/demo_mode_discovery 0",
					     "/attrib/demo_mode_write_protect 1", "/attrib/cache_dynamic_acls 0"};
	struct sentence error = {""};
	char line[256];
	struct trace trace;
	struct targets *t = begin(&trace);

	CU_ASSERT_EQUAL(target_add(t, &disk, &error), 0);
	expect_order(&trace, order);
	for (unsigned int i = 0; i < 4; i++) {
		snprintf(line, sizeof(line), "write " TPG "%s", closed[i]);
		CU_ASSERT(find(&trace, line) >= 0 && find(&trace, line) < find(&trace, "write " TPG "/enable 1"));
	}
	/* A newline would become part of a secret. */
	for (unsigned int i = 0; i < trace.count; i++)
		CU_ASSERT_PTR_NULL(strchr(trace.line[i], '\n'));
	targets_free(t);
}

static void test_target_remove_order(void)
{
	static const char *const order[] = {
		"write " TPG "/enable 0",
		"unlink " ACL "/lun_0/",
		"rmdir " ACL "/lun_0 ",
		"rmdir " ACL " ",
		"unlink " TPG "/lun/lun_0/",
		"rmdir " TPG "/lun/lun_0 ",
		"rmdir " TPG "/np/0.0.0.0:3260 ",
		"rmdir " TPG " ",
		"rmdir " IQN " ",
		"rmdir " BACK " ",
		NULL,
	};
	struct sentence error = {""};
	struct trace trace;
	struct targets *t = begin(&trace);

	CU_ASSERT_EQUAL(target_add(t, &disk, &error), 0);
	trace.count = 0;
	CU_ASSERT_EQUAL(target_remove(t, disk.iqn, disk.id, &error), 0);
	expect_order(&trace, order);
	CU_ASSERT_EQUAL(leftovers(), 0);
	/* What is not there is fine. */
	CU_ASSERT_EQUAL(target_remove(t, disk.iqn, disk.id, &error), 0);
	targets_free(t);
}

/* Whatever step of making a target fails: an error, a sentence, and nothing left behind. */
static void test_target_add_takes_back(void)
{
	struct sentence error = {""};
	struct trace trace;
	struct targets *t = begin(&trace);
	unsigned int steps;

	CU_ASSERT_EQUAL(target_add(t, &disk, &error), 0);
	steps = trace.calls;
	CU_ASSERT(steps > 20);
	targets_free(t);
	for (unsigned int i = 1; i <= steps; i++) {
		t = begin(&trace);
		trace.fail_at = i;
		CU_ASSERT(target_add(t, &disk, &error) < 0);
		CU_ASSERT(strlen(error.text) > 20);
		CU_ASSERT_EQUAL(leftovers(), 0);
		if (leftovers())
			printf("# left behind after a failure of: %s\n", trace.line[i - 1]);
		targets_free(t);
	}
}

/* Further disks: LUNs of the same target, one of them only to read; all of it goes again. */
static void test_target_luns(void)
{
	static const char *const order[] = {
		"write " BACK "/enable 1",
		"write core/user_0/12-1/enable 1",
		"write core/user_0/12-2/enable 1",
		"link " TPG "/lun/lun_0/",
		"link " TPG "/lun/lun_1/12-1",
		"link " TPG "/lun/lun_2/12-2",
		"link " ACL "/lun_0/",
		"link " ACL "/lun_1/",
		"write " ACL "/lun_1/write_protect 1",
		"link " ACL "/lun_2/",
		"write " TPG "/enable 1",
		NULL,
	};
	struct target_disk d = disk;
	struct sentence error = {""};
	struct trace trace;
	struct targets *t = begin(&trace);
	unsigned int steps;

	d.luns = 2;
	d.lun[0] = (struct target_lun){
		.id = "12-1", .serial = "5f9d3c1e-0000-9000-8000-000000000001", .size = 1 << 20, .read_only = true};
	d.lun[1] = (struct target_lun){.id = "12-2", .serial = "5f9d3c1e-0000-a000-8000-000000000001", .size = 2 << 20};
	CU_ASSERT_EQUAL(target_add(t, &d, &error), 0);
	expect_order(&trace, order);
	CU_ASSERT(find(&trace, "write " ACL "/lun_0/write_protect") < 0);
	CU_ASSERT(find(&trace, "write " ACL "/lun_2/write_protect") < 0);
	steps = trace.calls;
	/* Who removes it knows of its first disk only. */
	CU_ASSERT_EQUAL(target_remove(t, d.iqn, d.id, &error), 0);
	CU_ASSERT_EQUAL(leftovers(), 0);
	targets_free(t);
	for (unsigned int i = 1; i <= steps; i++) {
		t = begin(&trace);
		trace.fail_at = i;
		CU_ASSERT(target_add(t, &d, &error) < 0);
		CU_ASSERT_EQUAL(leftovers(), 0);
		if (leftovers())
			printf("# left behind after a failure of: %s\n", trace.line[i - 1]);
		targets_free(t);
	}
}

static void test_target_touch(void)
{
	struct sentence error = {""};
	struct trace trace;
	struct targets *t = begin(&trace);

	CU_ASSERT_EQUAL(target_touch(t, &disk, &error), 0);
	CU_ASSERT(find(&trace, "write " BACK "/enable 1") >= 0);
	CU_ASSERT(find(&trace, "rmdir " BACK) > find(&trace, "write " BACK "/enable 1"));
	CU_ASSERT(find(&trace, "mkdir " IQN) < 0);
	CU_ASSERT_EQUAL(leftovers(), 0);
	targets_free(t);
}

static void test_target_handler_reason(void)
{
	struct sentence error = {""};
	char path[256];
	struct trace trace;
	struct targets *t = begin(&trace);
	FILE *file;

	snprintf(path, sizeof(path), "%s/disk", root);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/disk/12-0.error", root);
	file = fopen(path, "w");
	fputs("image xp01: the footer's checksum is wrong\n", file);
	fclose(file);
	/* The kernel only says that enable failed. */
	while (trace.fail_at == 0 || find(&trace, "write " BACK "/enable 1") != (int)trace.fail_at - 1) {
		unsigned int next = trace.fail_at + 1;

		targets_free(t);
		t = NULL;
		if (next > 20)
			break;
		targets_new(&t, root, root);
		memset(&trace, 0, sizeof(trace));
		targets_trace(t, on_operation, &trace);
		trace.fail_at = next;
		target_add(t, &disk, &error);
	}
	CU_ASSERT_STRING_EQUAL(&error, "image xp01: the footer's checksum is wrong");
	targets_free(t);
}

static void write_info(const char *text)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/" ACL "/info", root);
	file = fopen(path, "w");
	fputs(text, file);
	fclose(file);
}

static void test_target_session(void)
{
	struct target_session session;
	struct sentence error = {""};
	struct trace trace;
	struct targets *t = begin(&trace);

	CU_ASSERT_EQUAL(target_session(t, disk.iqn, &session), -ENOENT);
	CU_ASSERT_EQUAL(target_add(t, &disk, &error), 0);
	write_info("No active iSCSI Session for Initiator Endpoint: "
		   "iqn.2026-01.org.bootwell:pc-525400123456\n");
	CU_ASSERT_EQUAL(target_session(t, disk.iqn, &session), 0);
	CU_ASSERT_FALSE(session.logged_in);
	write_info("InitiatorName: iqn.2026-01.org.bootwell:pc-525400123456\nInitiatorAlias: \n"
		   "LIO Session ID: 1   ISID: 0x69 50 58 45 00 00  TSIH: 1  SessionType: Normal\n"
		   "Session State: TARG_SESS_STATE_LOGGED_IN\n"
		   "---------------------[iSCSI Connections]-------------------------\n"
		   "CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN\n   Address 10.77.0.101 "
		   "TCP  StatSN: 0x00000004\n");
	CU_ASSERT_EQUAL(target_session(t, disk.iqn, &session), 0);
	CU_ASSERT_TRUE(session.logged_in);
	CU_ASSERT_STRING_EQUAL(session.address, "10.77.0.101");
	/* A session that failed keeps its place, but nobody is there. */
	write_info("Session State: TARG_SESS_STATE_FAILED\n");
	CU_ASSERT_EQUAL(target_session(t, disk.iqn, &session), 0);
	CU_ASSERT_FALSE(session.logged_in);
	targets_free(t);
}

struct seen {
	struct target_found found[8];
	char orphan[8][TARGET_ID_MAX];
	unsigned int targets, orphans;
};

static void see_target(void *arg, const struct target_found *found)
{
	struct seen *seen = arg;

	seen->found[seen->targets++] = *found;
}

static void see_orphan(void *arg, const char *id)
{
	struct seen *seen = arg;

	snprintf(seen->orphan[seen->orphans++], TARGET_ID_MAX, "%s", id);
}

static void test_target_each_finds_what_is_left(void)
{
	struct target_disk other = disk;
	struct sentence error = {""};
	char path[512];
	struct seen seen = {};
	struct trace trace;
	struct targets *t = begin(&trace);

	CU_ASSERT_EQUAL(target_add(t, &disk, &error), 0);
	strcpy(other.id, "13-0");
	strcpy(other.iqn, "iqn.2026-01.org.example:somebody");
	CU_ASSERT_EQUAL(target_add(t, &other, &error), 0);
	snprintf(path, sizeof(path), "%s/iscsi/iqn.2026-01.org.bootwell:disk-000000000001", root);
	mkdir(path, 0755);
	CU_ASSERT_EQUAL(target_each(t, "iqn.2026-01.org.bootwell:disk-", see_target, &seen), 0);
	CU_ASSERT_EQUAL(seen.targets, 2);
	for (unsigned int i = 0; i < seen.targets; i++) {
		bool ours = !strcmp(seen.found[i].iqn, disk.iqn);

		CU_ASSERT_EQUAL(seen.found[i].complete, ours);
		CU_ASSERT_STRING_EQUAL(seen.found[i].id, ours ? "12-0" : "");
		CU_ASSERT_STRING_EQUAL(seen.found[i].initiator, ours ? disk.initiator : "");
	}
	/* Backstores: ours without a target; not one that is served, not another handler's. */
	for (unsigned int i = 0; i < 2; i++) {
		FILE *file;

		snprintf(path, sizeof(path), "%s/core/user_0/%s", root, i ? "20-0" : "glfs");
		mkdir(path, 0755);
		strcat(path, "/control");
		file = fopen(path, "w");
		fputs(i ? "dev_config=bootwell/20-0,dev_size=512" : "dev_config=glfs/20-0,dev_size=512", file);
		fclose(file);
	}
	CU_ASSERT_EQUAL(target_each_orphan(t, see_orphan, &seen), 0);
	CU_ASSERT_EQUAL(seen.orphans, 1);
	CU_ASSERT_STRING_EQUAL(seen.orphan[0], "20-0");
	targets_free(t);
}

static void test_target_check_without_kernel(void)
{
	struct sentence error = {""};
	struct targets *t;

	CU_ASSERT_EQUAL(targets_new(&t, "/nonexistent/target", root), 0);
	CU_ASSERT_EQUAL(targets_check(t, &error), -ENOSYS);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "linux-image-amd64"));
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "targets = off"));
	targets_free(t);
}

static void test_target_cleanup(void)
{
	empty_root();
	CU_ASSERT_EQUAL(rmdir(root), 0);
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		UNIT(test_target_add_order),
		UNIT(test_target_remove_order),
		UNIT(test_target_add_takes_back),
		UNIT(test_target_luns),
		UNIT(test_target_touch),
		UNIT(test_target_handler_reason),
		UNIT(test_target_session),
		UNIT(test_target_each_finds_what_is_left),
		UNIT(test_target_check_without_kernel),
		UNIT(test_target_cleanup),
	};

	if (!mkdtemp(root))
		return 1;
	return unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
