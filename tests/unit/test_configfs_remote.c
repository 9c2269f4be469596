// SPDX-License-Identifier: GPL-2.0-or-later
/* What bootwell-configfs lets bootwelld do, and the two of them together on an ordinary directory.
 */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/target/configfs.h"
#include "daemon/target/configfs_remote.h"
#include "tests/unit/unit.h"

static void test_configfs_remote_allows_what_bootwell_does(void)
{
	static const struct {
		int operation;
		const char *path, *value;
	} good[] = {
		{CONFIGFS_MKDIR, "core", ""},
		{CONFIGFS_MKDIR, "core/user_0", ""},
		{CONFIGFS_MKDIR, "core/user_0/1-0", ""},
		{CONFIGFS_MKDIR, "iscsi", ""},
		{CONFIGFS_MKDIR, "iscsi/iqn.2026-01.org.bootwell:pc1/tpgt_1/np/0.0.0.0:3260", ""},
		{CONFIGFS_WRITE, "core/user_0/1-0/control", "dev_config=bootwell/1-0,dev_size=1"},
		{CONFIGFS_WRITE, "core/user_0/1-0/enable", "1"},
		{CONFIGFS_WRITE, "iscsi/iqn.x/tpgt_1/acls/iqn.y/auth/password", "a b\nc"},
		{CONFIGFS_LINK, "iscsi/iqn.x/tpgt_1/lun/lun_0/1-0", "core/user_0/1-0"},
		{CONFIGFS_LINK, "iscsi/iqn.x/tpgt_1/acls/iqn.y/lun_0/disk", "iscsi/iqn.x/tpgt_1/lun/lun_0"},
		{CONFIGFS_UNLINK, "iscsi/iqn.x/tpgt_1/lun/lun_0/1-0", ""},
		{CONFIGFS_RMDIR, "core/user_0/1-0", ""},
		{CONFIGFS_PARAMETER, "block_netlink", "1"},
	};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		bool allowed = configfs_request_allowed(good[i].operation, good[i].path, good[i].value);

		if (!allowed)
			printf("# refused: %c %s\n", good[i].operation, good[i].path);
		CU_ASSERT_TRUE(allowed);
	}
}

static void test_configfs_remote_refuses_all_else(void)
{
	char deep[2048];
	static const struct {
		int operation;
		const char *path, *value;
	} bad[] = {
		{CONFIGFS_MKDIR, "", ""},
		{CONFIGFS_MKDIR, "/etc/x", ""},
		{CONFIGFS_MKDIR, "..", ""},
		{CONFIGFS_MKDIR, "iscsi/../../x", ""},
		{CONFIGFS_MKDIR, "iscsi/./x", ""},
		{CONFIGFS_MKDIR, "iscsi//x", ""},
		{CONFIGFS_MKDIR, "iscsi/x/", ""},
		{CONFIGFS_MKDIR, "iscsix/y", ""},
		{CONFIGFS_MKDIR, "core/iblock_0/x", ""},
		{CONFIGFS_MKDIR, "core/user_01/x", ""},
		{CONFIGFS_MKDIR, "vhost/x", ""},
		{CONFIGFS_MKDIR, "iscsi/a b", ""},
		{CONFIGFS_RMDIR, "core/user_0", ""},
		{CONFIGFS_RMDIR, "iscsi", ""},
		{CONFIGFS_WRITE, "core/user_0/a/control", "dev_config=qcow//etc/shadow"},
		{CONFIGFS_WRITE, "core/user_0/a/control", "dev_size=1,dev_config=fbo//dev/sda"},
		{CONFIGFS_WRITE, "core/user_0/a/control", "dev_config=bootwell/a,dev_config=fbo//dev/sda"},
		{CONFIGFS_WRITE, "dbroot", "/tmp"},
		{CONFIGFS_WRITE, "iscsi/discovery_auth", "x"},
		{CONFIGFS_LINK, "iscsi/iqn.x/tpgt_1/lun/lun_0/x", "core/iblock_0/x"},
		{CONFIGFS_LINK, "iscsi/iqn.x/tpgt_1/lun/lun_0/x", "../../../etc"},
		{CONFIGFS_LINK, "core/user_0/a/b", "core/user_0/a"},
		{CONFIGFS_PARAMETER, "global_max_data_area_mb", "1"},
		{CONFIGFS_PARAMETER, "../../x", "1"},
		{CONFIGFS_PARAMETER, "block_netlink", "2"},
		{'x', "iscsi/a", ""},
		{0, "iscsi/a", ""},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bool allowed = configfs_request_allowed(bad[i].operation, bad[i].path, bad[i].value);

		if (allowed)
			printf("# allowed: %c %s %s\n", bad[i].operation, bad[i].path, bad[i].value);
		CU_ASSERT_FALSE(allowed);
	}
	memset(deep, 'a', sizeof(deep));
	memcpy(deep, "iscsi/", 6);
	deep[sizeof(deep) - 1] = '\0';
	CU_ASSERT_FALSE(configfs_request_allowed(CONFIGFS_MKDIR, deep, ""));
}

static void test_configfs_remote_takes_requests_apart(void)
{
	static const char good[] = "wiscsi/a/b\0value";
	const char *path, *value;
	char copy[sizeof(good)];
	int operation;

	CU_ASSERT_TRUE(configfs_request_parse(good, sizeof(good), &operation, &path, &value));
	CU_ASSERT_EQUAL(operation, CONFIGFS_WRITE);
	CU_ASSERT_STRING_EQUAL(path, "iscsi/a/b");
	CU_ASSERT_STRING_EQUAL(value, "value");
	/* Every shorter one is refused, and read no further than it is long (ASan watches). */
	for (size_t n = 0; n < sizeof(good); n++) {
		char *exact = malloc(n ? n : 1);

		memcpy(exact, good, n);
		CU_ASSERT_FALSE(configfs_request_parse(exact, n, &operation, &path, &value));
		free(exact);
	}
	memcpy(copy, good, sizeof(good));
	copy[13] = '\0'; /* a third text */
	CU_ASSERT_FALSE(configfs_request_parse(copy, sizeof(copy), &operation, &path, &value));
}

/* --- the program itself --- */

static char folder[] = "/tmp/bootwell-unit.XXXXXX";

static pid_t start_helper(const char *socket_path, const char *root)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char program[512], pid_text[16];
	ssize_t n;
	pid_t pid;
	int fd;

	n = readlink("/proc/self/exe", program, sizeof(program) - 64);
	program[n > 0 ? n : 0] = '\0';
	for (int i = 0; i < 3; i++)
		*strrchr(program, '/') = '\0';
	strcat(program, "/bootwell-configfs");
	fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", socket_path);
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 16))
		abort();
	pid = fork();
	if (!pid) {
		if (fd != 3)
			dup2(fd, 3);
		snprintf(pid_text, sizeof(pid_text), "%d", getpid());
		setenv("LISTEN_PID", pid_text, 1);
		setenv("LISTEN_FDS", "1", 1);
		execl(program, "bootwell-configfs", root, NULL);
		_exit(127);
	}
	close(fd);
	return pid;
}

static void test_configfs_remote_program_makes_the_changes(void)
{
	struct configfs fs = {.plain = true};
	char path[600], text[64];
	struct stat st;
	pid_t pid;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(fs.root, sizeof(fs.root), "%s/root", folder);
	snprintf(fs.helper, sizeof(fs.helper), "%s/socket", folder);
	mkdir(fs.root, 0755);
	CU_ASSERT_EQUAL(configfs_mkdir(&fs, "core"), -ENOENT); /* no helper, no change */
	pid = start_helper(fs.helper, fs.root);

	CU_ASSERT_EQUAL(configfs_mkdir(&fs, "core"), 0);
	CU_ASSERT_EQUAL(configfs_mkdir(&fs, "core/user_0"), 0);
	CU_ASSERT_EQUAL(configfs_mkdir(&fs, "core/user_0"), 0);
	CU_ASSERT_EQUAL(configfs_mkdir(&fs, "core/user_0/%d-0", 7), 0);
	CU_ASSERT_EQUAL(configfs_write(&fs, "1", "core/user_0/7-0/enable"), 0);
	CU_ASSERT_EQUAL(configfs_read(&fs, text, sizeof(text), "core/user_0/7-0/enable"), 0);
	CU_ASSERT_STRING_EQUAL(text, "1");
	CU_ASSERT_EQUAL(configfs_mkdir(&fs, "iscsi"), 0);
	CU_ASSERT_EQUAL(configfs_mkdir(&fs, "iscsi/t"), 0);
	CU_ASSERT_EQUAL(configfs_link(&fs, "core/user_0/7-0", "iscsi/t/disk"), 0);
	snprintf(path, sizeof(path), "%s/iscsi/t/disk/enable", fs.root);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(configfs_unlink(&fs, "iscsi/t/disk"), 0);
	CU_ASSERT_EQUAL(configfs_rmdir(&fs, "core/user_0/7-0"), 0);
	CU_ASSERT_EQUAL(configfs_rmdir(&fs, "core/user_0/7-0"), -ENOENT);
	CU_ASSERT_EQUAL(configfs_mkdir(&fs, "other"), -EPERM);
	snprintf(path, sizeof(path), "%s/other", fs.root);
	CU_ASSERT_NOT_EQUAL(stat(path, &st), 0);

	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	snprintf(path, sizeof(path), "rm -rf %s", folder);
	CU_ASSERT_EQUAL(system(path), 0);
}

UNIT_MAIN(UNIT(test_configfs_remote_allows_what_bootwell_does), UNIT(test_configfs_remote_refuses_all_else),
	  UNIT(test_configfs_remote_takes_requests_apart), UNIT(test_configfs_remote_program_makes_the_changes))
