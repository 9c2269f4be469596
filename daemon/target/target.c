// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The order of things in configfs (kernel: drivers/target, Documentation/target):
 *
 *	core/user_0/ID			the backstore; `control` first, `enable` asks tcmu-runner
 *	iscsi/IQN/tpgt_1		its portal group: attributes, then lun/lun_0 -> backstore
 *	  acls/INITIATOR		who may log in, with CHAP; lun_0/x -> ../../../lun/lun_0
 *	  ... lun_1 to lun_4		the same for further disks; write_protect where the PC may only read
 *	  np/0.0.0.0:PORT		where it listens
 *	  enable			last: only a complete target answers
 *
 * Taking down is the other way round; `enable` = 0 first, which drops the session and waits for its
 * commands.
 *
 * Two waits have no end of their own. `enable` of a backstore waits for tcmu-runner's netlink
 * answer: when the runner is dead, nothing but a reset of the module's netlink state wakes it.
 * Taking down a target waits for commands in the ring: when the runner is dead, the ring must be
 * closed from the kernel's side. target_rescue() does either; it touches a ring only when no runner
 * is there, because a live ring must never be reset.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/target/configfs.h"
#include "daemon/target/configfs_remote.h"
#include "daemon/target/target.h"
#include "daemon/target/private.h"
#include "daemon/core/clock.h"
#include "tcmu-handler/handover.h"

#define HBA             TARGET_HBA
#define RUNNER_WAIT     30  /* tenths of a second: systemd starts a crashed runner within one */
#define RUNNER_PATIENCE 180 /* s that one which is alive may take to open a disk */
#define CMD_TIME_OUT    "180"

struct targets {
	struct configfs fs;
	char run[256];
	pthread_mutex_t turn; /* held by target_add() and target_remove() */
	pthread_mutex_t lock; /* of what follows: what is being done now */
	enum { IDLE, ENABLING, REMOVING } doing;
	char doing_id[TARGET_ID_MAX];
	time_t since; /* CLOCK_BOOTTIME */
};

int targets_new(struct targets **ret, const char *root, const char *run)
{
	struct targets *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	snprintf(t->fs.root, sizeof(t->fs.root), "%s", root ? root : "/sys/kernel/config/target");
	t->fs.plain = root != NULL;
	snprintf(t->run, sizeof(t->run), "%s", run);
	pthread_mutex_init(&t->turn, NULL);
	pthread_mutex_init(&t->lock, NULL);
	*ret = t;
	return 0;
}

void targets_free(struct targets *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->turn);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

const struct configfs *targets_configfs(const struct targets *t)
{
	return &t->fs;
}

void targets_helper(struct targets *t, const char *socket)
{
	snprintf(t->fs.helper, sizeof(t->fs.helper), "%s", socket);
}

void targets_trace(struct targets *t,
		   int (*trace)(void *arg, const char *operation, const char *path, const char *value), void *arg)
{
	t->fs.trace = trace;
	t->fs.trace_arg = arg;
}

int targets_check(struct targets *t, struct sentence *error)
{
	int r;

	if (!configfs_exists(&t->fs, ".")) {
		sentence_set(error,
			     "the kernel has no iSCSI target (%s is missing): install "
			     "linux-image-amd64 and load it with "
			     "\"modprobe -a target_core_user iscsi_target_mod\", or set targets = off "
			     "in [server] to serve "
			     "DHCP and TFTP only",
			     t->fs.root);
		return -ENOSYS;
	}
	r = configfs_mkdir(&t->fs, "iscsi"); /* loads iscsi_target_mod */
	if (!r && t->fs.plain)
		r = configfs_mkdir(&t->fs, "core");
	if (!r)
		r = configfs_mkdir(&t->fs, HBA); /* loads target_core_user */
	if (r)
		sentence_set(error,
			     "the kernel's iSCSI target cannot be used (%s): load it with \"modprobe "
			     "-a target_core_user "
			     "iscsi_target_mod\", or set targets = off in [server] to serve DHCP and "
			     "TFTP only",
			     strerror(-r));
	return r;
}

/* --- tcmu-runner ------------------------------------------------------------------------------ */

static bool is_runner(const char *pid)
{
	char path[64], comm[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(comm, sizeof(comm), file))
		comm[0] = '\0';
	fclose(file);
	return !strcmp(comm, "tcmu-runner\n");
}

/* When a process began, seconds since the machine did; proc(5): the 22nd field, behind a name in parentheses. */
static time_t began(const char *pid)
{
	char path[64], text[1024] = "";
	unsigned long long ticks = 0;
	const char *at;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	at = strrchr(text, ')');
	for (unsigned int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at)
		sscanf(at, "%llu", &ticks);
	return (time_t)(ticks / (unsigned long long)sysconf(_SC_CLK_TCK));
}

/* *ret_began may be NULL. */
static bool runner_alive(time_t *ret_began)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	bool found = false;

	if (!proc)
		return true;
	while (!found && (entry = readdir(proc))) {
		found = isdigit((unsigned char)entry->d_name[0]) && is_runner(entry->d_name);
		if (found && ret_began)
			*ret_began = began(entry->d_name);
	}
	closedir(proc);
	return found;
}

/* After a crash the runner is back in a moment; a runner that is not there at all would hang
 * `enable`. */
static bool wait_for_runner(const struct targets *t)
{
	const struct timespec tenth = {.tv_nsec = 100000000};

	if (t->fs.plain)
		return true;
	for (int i = 0; i < RUNNER_WAIT; i++) {
		if (runner_alive(NULL))
			return true;
		nanosleep(&tenth, NULL);
	}
	return false;
}

static time_t since_boot(void)
{
	return (time_t)(clock_boottime_ns() / CLOCK_NS);
}

static void now_doing(struct targets *t, int what, const char *id)
{
	pthread_mutex_lock(&t->lock);
	t->doing = what;
	t->since = since_boot();
	snprintf(t->doing_id, sizeof(t->doing_id), "%s", id);
	pthread_mutex_unlock(&t->lock);
}

static void module_parameter(const struct targets *t, const char *name, const char *value)
{
	char path[128];
	int fd;

	if (t->fs.helper[0]) {
		configfs_remote(t->fs.helper, CONFIGFS_PARAMETER, name, value);
		return;
	}
	snprintf(path, sizeof(path), "/sys/module/target_core_user/parameters/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, value, strlen(value)) < 0) {
		/* the enable goes on waiting; the next rescue tries again */
	}
	close(fd);
}

/* Of a disk's backstore and those of the same PC's other LUNs, the ones that are there. */
static void each_backstore(struct targets *t, const char *id, void (*fn)(struct targets *t, const char *id, int *r),
			   int *r)
{
	const char *dash = strrchr(id, '-');
	char other[TARGET_ID_MAX];

	if (configfs_exists(&t->fs, HBA "/%s", id))
		fn(t, id, r);
	if (!dash || strcmp(dash, "-0"))
		return;
	for (unsigned int lun = 1; lun <= TARGET_LUNS; lun++) {
		snprintf(other, sizeof(other), "%.*s-%u", (int)(dash - id), id, lun);
		if (configfs_exists(&t->fs, HBA "/%s", other))
			fn(t, other, r);
	}
}

static void close_ring(struct targets *t, const char *id, int *r)
{
	(void)r;
	configfs_write(&t->fs, "1", HBA "/%s/action/block_dev", id);
	configfs_write(&t->fs, "2", HBA "/%s/action/reset_ring", id);
}

/*
 * A runner that was there when it was asked, and still is, is at work: the first disk allocates the store, a machine
 * may be busy. One that began later does not know that it was asked.
 */
static bool runner_works(time_t asked)
{
	time_t at = 0;

	return runner_alive(&at) && at < asked && since_boot() - asked < RUNNER_PATIENCE;
}

void target_rescue(struct targets *t, unsigned int seconds)
{
	char id[TARGET_ID_MAX];
	int doing;

	pthread_mutex_lock(&t->lock);
	doing = since_boot() - t->since >= (time_t)seconds ? (int)t->doing : IDLE;
	if (doing == ENABLING && !t->fs.plain && runner_works(t->since))
		doing = IDLE;
	snprintf(id, sizeof(id), "%s", t->doing_id);
	if (doing != IDLE)
		t->since = since_boot();
	pthread_mutex_unlock(&t->lock);

	if (doing == ENABLING && !t->fs.plain) {
		module_parameter(t, "block_netlink", "1");
		module_parameter(t, "reset_netlink", "1");
		module_parameter(t, "block_netlink", "0");
	}
	if (doing == REMOVING && !t->fs.plain && !runner_alive(NULL))
		each_backstore(t, id, close_ring, NULL);
}

/* --- making ----------------------------------------------------------------------------------- */

/* The handler's own sentence about why it could not open the disk. */
static bool handler_error(const struct targets *t, const char *id, char *ret, size_t size)
{
	char path[512];
	FILE *file;
	bool found;

	snprintf(path, sizeof(path), HANDOVER_ERROR, t->run, id);
	file = fopen(path, "re");
	if (!file)
		return false;
	found = fgets(ret, size, file) != NULL;
	fclose(file);
	if (found)
		ret[strcspn(ret, "\n")] = '\0';
	return found && *ret;
}

static int add_backstore(struct targets *t, const struct target_lun *d, struct sentence *error)
{
	char control[512];
	int r;

	r = configfs_mkdir(&t->fs, HBA);
	if (!r)
		r = configfs_mkdir(&t->fs, HBA "/%s", d->id);
	snprintf(control, sizeof(control),
		 "dev_config=bootwell/"
		 "%s,dev_size=%llu,hw_block_size=512,hw_max_sectors=2048,max_data_area_mb=64,"
		 "cmd_ring_size_mb=1",
		 d->id, (unsigned long long)d->size);
	if (!r)
		r = configfs_write(&t->fs, control, HBA "/%s/control", d->id);
	if (!r)
		r = configfs_write(&t->fs, d->serial, HBA "/%s/wwn/vpd_unit_serial", d->id);
	if (r) {
		sentence_set(error, "the kernel refused the disk's backstore: %s", strerror(-r));
		return r;
	}
	if (!wait_for_runner(t)) {
		sentence_set(error, "tcmu-runner is not running: start it with \"systemctl start "
				    "tcmu-runner\"");
		return -ECONNREFUSED;
	}
	now_doing(t, ENABLING, d->id);
	r = configfs_write(&t->fs, "1", HBA "/%s/enable", d->id);
	now_doing(t, IDLE, "");
	if (r && !handler_error(t, d->id, error->text, sizeof(error->text)))
		sentence_set(error,
			     "tcmu-runner did not open the disk (%s): see \"journalctl -u "
			     "tcmu-runner\", and whether "
			     "handler_bootwell.so is installed",
			     strerror(-r));
	if (!r)
		r = configfs_write(&t->fs, CMD_TIME_OUT, HBA "/%s/attrib/cmd_time_out", d->id);
	/* Nobody to reserve it against; the kernel would keep a file for each disk in /var/target. Kernels before 5.0
	 * have no such switch. */
	if (!r) {
		r = configfs_write(&t->fs, "0", HBA "/%s/attrib/emulate_pr", d->id);
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

static struct target_lun lun_0(const struct target_disk *d)
{
	struct target_lun lun = {.size = d->size};

	memcpy(lun.id, d->id, sizeof(lun.id));
	memcpy(lun.serial, d->serial, sizeof(lun.serial));
	return lun;
}

static int add_backstores(struct targets *t, const struct target_disk *d, struct sentence *error)
{
	struct target_lun first = lun_0(d);
	int r = add_backstore(t, &first, error);

	for (unsigned int i = 0; !r && i < d->luns; i++)
		r = add_backstore(t, &d->lun[i], error);
	return r;
}

/* Attributes of the portal group: nobody without CHAP, nobody without an ACL, nobody may look
 * around. */
static const struct {
	const char *name, *value;
} group_settings[] = {
	{"attrib/authentication", "1"},      {"attrib/generate_node_acls", "0"},
	{"attrib/demo_mode_discovery", "0"}, {"attrib/demo_mode_write_protect", "1"},
	{"attrib/cache_dynamic_acls", "0"},  {"param/InitialR2T", "No"},
	{"param/ImmediateData", "Yes"},      {"param/MaxRecvDataSegmentLength", "262144"},
};

static int add_lun(struct targets *t, const char *iqn, unsigned int number, const char *id)
{
	char backstore[128];
	int r = configfs_mkdir(&t->fs, "iscsi/%s/tpgt_1/lun/lun_%u", iqn, number);

	snprintf(backstore, sizeof(backstore), HBA "/%s", id);
	return r ? r : configfs_link(&t->fs, backstore, "iscsi/%s/tpgt_1/lun/lun_%u/%s", iqn, number, id);
}

static int add_group(struct targets *t, const struct target_disk *d)
{
	int r;

	r = configfs_mkdir(&t->fs, "iscsi/%s", d->iqn);
	if (!r)
		r = configfs_mkdir(&t->fs, "iscsi/%s/tpgt_1", d->iqn);
	for (unsigned int i = 0; !r && i < sizeof(group_settings) / sizeof(group_settings[0]); i++)
		r = configfs_write(&t->fs, group_settings[i].value, "iscsi/%s/tpgt_1/%s", d->iqn,
				   group_settings[i].name);
	if (!r && t->fs.plain)
		r = configfs_mkdir(&t->fs, "iscsi/%s/tpgt_1/lun", d->iqn);
	if (!r)
		r = add_lun(t, d->iqn, 0, d->id);
	for (unsigned int i = 0; !r && i < d->luns; i++)
		r = add_lun(t, d->iqn, i + 1, d->lun[i].id);
	return r;
}

/*
 * s, the most that the kernel takes. Firmware answers a NOP-In only while somebody reads its disk: with the kernel's
 * 15 and 30 s, a PC that waits in a boot menu would lose its session.
 */
static const char *const patience[] = {"nopin_response_timeout", "nopin_timeout"};

static int map_lun(struct targets *t, const struct target_disk *d, unsigned int number, bool read_only)
{
	char lun[TARGET_NAME_MAX + 64];
	int r = configfs_mkdir(&t->fs, "iscsi/%s/tpgt_1/acls/%s/lun_%u", d->iqn, d->initiator, number);

	snprintf(lun, sizeof(lun), "iscsi/%s/tpgt_1/lun/lun_%u", d->iqn, number);
	if (!r)
		r = configfs_link(&t->fs, lun, "iscsi/%s/tpgt_1/acls/%s/lun_%u/disk", d->iqn, d->initiator, number);
	if (!r && read_only)
		r = configfs_write(&t->fs, "1", "iscsi/%s/tpgt_1/acls/%s/lun_%u/write_protect", d->iqn, d->initiator,
				   number);
	return r;
}

static int add_acl(struct targets *t, const struct target_disk *d)
{
	int r = 0;

	if (t->fs.plain)
		r = configfs_mkdir(&t->fs, "iscsi/%s/tpgt_1/acls", d->iqn);
	if (!r)
		r = configfs_mkdir(&t->fs, "iscsi/%s/tpgt_1/acls/%s", d->iqn, d->initiator);
	if (!r && t->fs.plain)
		r = configfs_mkdir(&t->fs, "iscsi/%s/tpgt_1/acls/%s/attrib", d->iqn, d->initiator);
	for (unsigned int i = 0; !r && i < sizeof(patience) / sizeof(patience[0]); i++)
		r = configfs_write(&t->fs, "60", "iscsi/%s/tpgt_1/acls/%s/attrib/%s", d->iqn, d->initiator,
				   patience[i]);
	if (!r)
		r = configfs_write(&t->fs, d->user, "iscsi/%s/tpgt_1/acls/%s/auth/userid", d->iqn, d->initiator);
	if (!r)
		r = configfs_write(&t->fs, d->secret, "iscsi/%s/tpgt_1/acls/%s/auth/password", d->iqn, d->initiator);
	if (!r)
		r = map_lun(t, d, 0, false);
	for (unsigned int i = 0; !r && i < d->luns; i++)
		r = map_lun(t, d, i + 1, d->lun[i].read_only);
	return r;
}

static int open_portal(struct targets *t, const struct target_disk *d, struct sentence *error)
{
	int r = 0;

	if (t->fs.plain)
		r = configfs_mkdir(&t->fs, "iscsi/%s/tpgt_1/np", d->iqn);
	if (!r)
		r = configfs_mkdir(&t->fs, "iscsi/%s/tpgt_1/np/0.0.0.0:%u", d->iqn, d->port);
	if (r) {
		sentence_set(error,
			     "port %u for iSCSI cannot be opened (%s): another target may have it; see "
			     "[iscsi] port",
			     d->port, strerror(-r));
		return r;
	}
	return configfs_write(&t->fs, "1", "iscsi/%s/tpgt_1/enable", d->iqn);
}

static int take_down(struct targets *t, const char *iqn, const char *id);

int target_add(struct targets *t, const struct target_disk *d, struct sentence *error)
{
	int r;

	error->text[0] = '\0';
	pthread_mutex_lock(&t->turn);
	r = add_backstores(t, d, error);
	if (!r)
		r = configfs_mkdir(&t->fs, "iscsi");
	if (!r)
		r = add_group(t, d);
	if (!r)
		r = add_acl(t, d);
	if (!r)
		r = open_portal(t, d, error);
	if (r && !error->text[0])
		sentence_set(error, "the kernel refused the target %s: %s", d->iqn, strerror(-r));
	if (r)
		take_down(t, d->iqn, d->id);
	pthread_mutex_unlock(&t->turn);
	return r;
}

/* --- taking down ------------------------------------------------------------------------------ */

struct names {
	char name[8][TARGET_NAME_MAX];
	unsigned int count;
};

static void take_name(void *arg, const char *name)
{
	struct names *names = arg;

	if (names->count < 8)
		snprintf(names->name[names->count++], TARGET_NAME_MAX, "%s", name);
}

/* Keeps the first error that is not "it is not there". */
static void keep_error(int *r, int now)
{
	if (now && now != -ENOENT && !*r)
		*r = now;
}

/* Removes the links in a directory of configfs: what a LUN refers to. */
static void remove_links(const struct targets *t, int *r, const char *path)
{
	char full[CONFIGFS_PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	if (snprintf(full, sizeof(full), "%s/%s", t->fs.root, path) >= (int)sizeof(full))
		return;
	dir = opendir(full);
	while (dir && (entry = readdir(dir)))
		if (entry->d_type == DT_LNK)
			keep_error(r, configfs_unlink(&t->fs, "%s/%s", path, entry->d_name));
	if (dir)
		closedir(dir);
}

static void remove_lun(const struct targets *t, int *r, const char *path)
{
	remove_links(t, r, path);
	keep_error(r, configfs_rmdir(&t->fs, "%s", path));
}

static void remove_acl(struct targets *t, int *r, const char *iqn, const char *initiator)
{
	char path[TARGET_NAME_MAX * 2 + 64];

	for (unsigned int lun = 0; lun <= TARGET_LUNS; lun++) {
		snprintf(path, sizeof(path), "iscsi/%s/tpgt_1/acls/%s/lun_%u", iqn, initiator, lun);
		if (!lun || configfs_exists(&t->fs, "%s", path))
			remove_lun(t, r, path);
	}
	keep_error(r, configfs_rmdir(&t->fs, "iscsi/%s/tpgt_1/acls/%s", iqn, initiator));
}

static void remove_backstore(struct targets *t, const char *id, int *r)
{
	keep_error(r, configfs_rmdir(&t->fs, HBA "/%s", id));
}

static int take_down(struct targets *t, const char *iqn, const char *id)
{
	struct names acls = {}, portals = {};
	char path[TARGET_NAME_MAX + 64];
	int r = 0;

	now_doing(t, REMOVING, id);
	if (*iqn && configfs_exists(&t->fs, "iscsi/%s", iqn)) {
		keep_error(&r, configfs_write(&t->fs, "0", "iscsi/%s/tpgt_1/enable", iqn));
		configfs_list(&t->fs, take_name, &acls, "iscsi/%s/tpgt_1/acls", iqn);
		for (unsigned int i = 0; i < acls.count; i++)
			remove_acl(t, &r, iqn, acls.name[i]);
		for (unsigned int lun = 0; lun <= TARGET_LUNS; lun++) {
			snprintf(path, sizeof(path), "iscsi/%s/tpgt_1/lun/lun_%u", iqn, lun);
			if (!lun || configfs_exists(&t->fs, "%s", path))
				remove_lun(t, &r, path);
		}
		configfs_list(&t->fs, take_name, &portals, "iscsi/%s/tpgt_1/np", iqn);
		for (unsigned int i = 0; i < portals.count; i++)
			keep_error(&r, configfs_rmdir(&t->fs, "iscsi/%s/tpgt_1/np/%s", iqn, portals.name[i]));
		keep_error(&r, configfs_rmdir(&t->fs, "iscsi/%s/tpgt_1", iqn));
		keep_error(&r, configfs_rmdir(&t->fs, "iscsi/%s", iqn));
	}
	if (*id)
		each_backstore(t, id, remove_backstore, &r);
	now_doing(t, IDLE, "");
	return r;
}

int target_remove(struct targets *t, const char *iqn, const char *id, struct sentence *error)
{
	int r;

	error->text[0] = '\0';
	pthread_mutex_lock(&t->turn);
	r = take_down(t, iqn, id);
	pthread_mutex_unlock(&t->turn);
	if (r)
		sentence_set(error, "the kernel did not let go of the old target %s (%s): see dmesg", iqn,
			     strerror(-r));
	return r;
}

int target_touch(struct targets *t, const struct target_disk *d, struct sentence *error)
{
	struct target_lun lun = lun_0(d);
	int r, taken;

	error->text[0] = '\0';
	pthread_mutex_lock(&t->turn);
	r = add_backstore(t, &lun, error);
	taken = take_down(t, "", d->id);
	pthread_mutex_unlock(&t->turn);
	if (!r && taken) {
		r = taken;
		sentence_set(error, "the kernel did not let go of the disk %s (%s): see dmesg", d->id, strerror(-r));
	}
	return r;
}

/* --- looking ---------------------------------------------------------------------------------- */

/*
 * ACL `info` (kernel: lio_target_nacl_info_show): "No active iSCSI Session ..." or lines with the
 * session's state and, for each connection, "   Address 192.168.1.101 TCP  StatSN: ...".
 */
static void parse_info(const char *info, struct target_session *session)
{
	const char *at = strstr(info, "Address ");

	session->logged_in = strstr(info, "TARG_SESS_STATE_LOGGED_IN") != NULL;
	session->address[0] = '\0';
	if (session->logged_in && at)
		sscanf(at, "Address %63s", session->address);
}

static int session_of(const struct targets *t, const char *iqn, const char *initiator, struct target_session *ret)
{
	char info[4096];
	int r;

	r = configfs_read(&t->fs, info, sizeof(info), "iscsi/%s/tpgt_1/acls/%s/info", iqn, initiator);
	if (!r)
		parse_info(info, ret);
	return r;
}

int target_session(struct targets *t, const char *iqn, struct target_session *ret)
{
	struct names acls = {};

	configfs_list(&t->fs, take_name, &acls, "iscsi/%s/tpgt_1/acls", iqn);
	if (!acls.count)
		return -ENOENT;
	return session_of(t, iqn, acls.name[0], ret);
}

/* The name of the backstore that a LUN's link leads to. */
static void find_backstore(const struct targets *t, const char *iqn, unsigned int lun, char id[TARGET_ID_MAX])
{
	char path[CONFIGFS_PATH_MAX], to[CONFIGFS_PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	id[0] = '\0';
	if (snprintf(path, sizeof(path), "%s/iscsi/%s/tpgt_1/lun/lun_%u", t->fs.root, iqn, lun) >= (int)sizeof(path))
		return;
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		ssize_t n;

		if (entry->d_type != DT_LNK)
			continue;
		n = readlinkat(dirfd(dir), entry->d_name, to, sizeof(to) - 1);
		if (n <= 0)
			continue;
		to[n] = '\0';
		snprintf(id, TARGET_ID_MAX, "%.64s", strrchr(to, '/') ? strrchr(to, '/') + 1 : to);
	}
	if (dir)
		closedir(dir);
}

struct each {
	struct targets *t;
	const char *prefix;
	void (*fn)(void *arg, const struct target_found *found);
	void (*orphan)(void *arg, const char *id);
	void *arg;
	char (*served)[TARGET_ID_MAX];
	size_t served_count;
};

static void look_at_target(void *arg, const char *iqn)
{
	struct each *e = arg;
	struct target_found found = {};
	struct target_session session = {};
	struct names acls = {};
	char enabled[8] = "";

	if (strncmp(iqn, e->prefix, strlen(e->prefix)))
		return;
	snprintf(found.iqn, sizeof(found.iqn), "%s", iqn);
	find_backstore(e->t, iqn, 0, found.id);
	configfs_list(&e->t->fs, take_name, &acls, "iscsi/%s/tpgt_1/acls", iqn);
	if (acls.count == 1) {
		snprintf(found.initiator, sizeof(found.initiator), "%s", acls.name[0]);
		session_of(e->t, iqn, found.initiator, &session);
	}
	configfs_read(&e->t->fs, enabled, sizeof(enabled), "iscsi/%s/tpgt_1/enable", iqn);
	found.complete = found.id[0] && found.initiator[0] && enabled[0] == '1';
	found.logged_in = session.logged_in;
	e->fn(e->arg, &found);
}

int target_each(struct targets *t, const char *prefix, void (*fn)(void *arg, const struct target_found *found),
		void *arg)
{
	struct each e = {.t = t, .prefix = prefix, .fn = fn, .arg = arg};

	return configfs_list(&t->fs, look_at_target, &e, "iscsi");
}

static void note_served(void *arg, const char *iqn)
{
	struct each *e = arg;
	char(*more)[TARGET_ID_MAX] = reallocarray(e->served, e->served_count + TARGET_LUNS + 1, sizeof(*more));

	if (!more)
		return;
	e->served = more;
	for (unsigned int lun = 0; lun <= TARGET_LUNS; lun++)
		find_backstore(e->t, iqn, lun, more[e->served_count++]);
}

static void look_at_backstore(void *arg, const char *id)
{
	struct each *e = arg;
	char info[1024] = "", ours[TARGET_ID_MAX + 32];

	for (size_t i = 0; i < e->served_count; i++)
		if (!strcmp(e->served[i], id))
			return;
	/* Others may use TCMU as well: ours have our handler's name in their configuration. */
	snprintf(ours, sizeof(ours), "bootwell/%s", id);
	if (configfs_read(&e->t->fs, info, sizeof(info), HBA "/%s/%s", id, e->t->fs.plain ? "control" : "info") ||
	    !strstr(info, ours))
		return;
	e->orphan(e->arg, id);
}

int target_each_orphan(struct targets *t, void (*fn)(void *arg, const char *id), void *arg)
{
	struct each e = {.t = t, .orphan = fn, .arg = arg};
	int r;

	r = configfs_list(&t->fs, note_served, &e, "iscsi");
	if (!r)
		r = configfs_list(&t->fs, look_at_backstore, &e, HBA);
	free(e.served);
	return r;
}
