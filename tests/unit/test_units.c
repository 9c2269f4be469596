// SPDX-License-Identifier: GPL-2.0-or-later
/* What systemd's sandboxes are told of the configuration: the lines of the drop-ins, config/units.h. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config/units.h"
#include "tests/unit/unit.h"

static char folder[] = "/tmp/bootwell-units.XXXXXX";
static char *text;

static void put(const char *name, const char *what)
{
	char path[200];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fputs(what, file);
	fclose(file);
}

/* The drop-in of a configuration, in `text`; NULL when there is none. */
static void make(bool runner, const char *configuration, const struct units_used *used)
{
	const struct units_used none = {.store = ""};
	struct config *config = NULL;
	char path[200];
	size_t size;
	FILE *to;
	bool any;

	free(text);
	text = NULL;
	put("bootwell.conf", configuration);
	snprintf(path, sizeof(path), "%s/bootwell.conf", folder);
	CU_ASSERT_EQUAL_FATAL(config_read_leniently(&config, path), 0);
	to = open_memstream(&text, &size);
	any = runner ? units_write_runner(to, config, used ? used : &none) : units_write_daemon(to, config);
	fclose(to);
	config_free(config);
	if (!any) {
		CU_ASSERT_EQUAL(size, 0);
		free(text);
		text = NULL;
	}
}

static bool has(const char *line)
{
	char whole[400];

	snprintf(whole, sizeof(whole), "\n%s\n", line);
	return text && strstr(text, whole);
}

static void test_units_runner_may_write_the_store_and_its_records(void)
{
	make(true, "[write-back]\npath = /mnt/fast/store\n[images]\npath = /srv/images\n", NULL);
	CU_ASSERT(has("ProtectSystem=strict"));
	CU_ASSERT(has("ReadWritePaths=-/mnt/fast/store"));
	CU_ASSERT(has("ReadWritePaths=-/run/bootwell"));
	CU_ASSERT(has("ReadOnlyPaths=-/run"));
	CU_ASSERT(has("InaccessiblePaths=-/etc/bootwell"));
	CU_ASSERT(has("InaccessiblePaths=-/var/lib/bootwell/bootwell.db"));
	CU_ASSERT(has("ProtectHome=yes"));
	CU_ASSERT(has("PrivateTmp=yes"));
	CU_ASSERT_PTR_NULL(strstr(text, "/srv/images"));
	CU_ASSERT_PTR_NULL(strstr(text, "BOOTWELL_RUN"));
	CU_ASSERT_PTR_NULL(strstr(text, "DeviceAllow"));
}

static void test_units_daemon_may_write_state_records_and_images(void)
{
	make(false, "[server]\nstate = /srv/state\nrun = /run/other\n[images]\npath = /srv/images\n", NULL);
	CU_ASSERT(has("ProtectSystem=strict"));
	CU_ASSERT(has("ReadWritePaths=-/srv/state"));
	CU_ASSERT(has("ReadWritePaths=-/run/other"));
	CU_ASSERT(has("ReadWritePaths=-/srv/images"));
	CU_ASSERT(has("ProtectHome=yes"));
}

static void test_units_what_a_path_leads_through_is_not_hidden(void)
{
	make(true, "[images]\npath = /home/room/images\n[write-back]\npath = /var/tmp/store\n", NULL);
	CU_ASSERT(has("ProtectHome=read-only"));
	CU_ASSERT(has("PrivateTmp=no"));
	make(false, "[images]\npath = /root/images\n", NULL);
	CU_ASSERT(has("ProtectHome=read-only"));
	make(true, "[images]\npath = /homes/images\n", NULL); /* not /home */
	CU_ASSERT(has("ProtectHome=yes"));
	make(true, "[images]\npath = /etc/bootwell/images\n[write-back]\npath = /var/lib/bootwell/copies/store\n",
	     NULL);
	CU_ASSERT_FALSE(has("InaccessiblePaths=-/etc/bootwell"));
	CU_ASSERT(has("InaccessiblePaths=-/etc/ssh"));
	CU_ASSERT_FALSE(has("InaccessiblePaths=-/var/lib/bootwell/copies"));
	make(true, "[server]\nrun = /run\n", NULL);
	CU_ASSERT_FALSE(has("ReadOnlyPaths=-/run"));
}

static void test_units_other_folders_and_devices(void)
{
	make(true, "[server]\nrun = /run/100%\n[write-back]\npath = /dev/mapper-x/sdb\n", NULL);
	CU_ASSERT(has("ReadWritePaths=-/run/100%%"));
	CU_ASSERT(has("Environment=BOOTWELL_RUN=/run/100%%"));
	CU_ASSERT(has("DeviceAllow=/dev/mapper-x/sdb rw"));
	CU_ASSERT(has("After=dev-mapper\\x2dx-sdb.device"));
	make(true, "[images]\npath = /srv/a\"b\n", NULL);
	CU_ASSERT_PTR_NULL(text);
	make(false, "[images]\npath = /srv/a\\b\n", NULL);
	CU_ASSERT_PTR_NULL(text);
}

static void test_units_mistakes_elsewhere_take_nothing_away(void)
{
	make(true, "nonsense\n[dhcp]\nrnage = 1\n[nothing]\n[write-back]\nsize = many\npath = /mnt/store\n", NULL);
	CU_ASSERT(has("ReadWritePaths=-/mnt/store"));
}

static void test_units_what_disks_stand_on_stays(void)
{
	struct units_used used;
	char path[200], engine[300];

	units_read_used(&used, folder);
	CU_ASSERT_STRING_EQUAL(used.store, "");
	snprintf(engine, sizeof(engine), "store_size=1\nstore=%s/store\nthreads=0\n", folder);
	put("engine.conf", engine);
	put("store", "root:x:0:0");
	units_read_used(&used, folder);
	CU_ASSERT_STRING_EQUAL(used.store, ""); /* another file gets no more open by that name */
	put("store", "\x42\x4b\x57\x42 and so on");
	snprintf(path, sizeof(path), "%s/disk", folder);
	CU_ASSERT_EQUAL_FATAL(mkdir(path, 0700), 0);
	put("disk/1-0.conf", "client=x\nlayer=vhd /home/room/images a.vhd\n");
	put("disk/1-0.error", "layer=vhd /tmp/x a.vhd\n"); /* no record */
	units_read_used(&used, folder);
	snprintf(path, sizeof(path), "%s/store", folder);
	CU_ASSERT_STRING_EQUAL(used.store, path);
	CU_ASSERT_TRUE(used.home);
	CU_ASSERT_FALSE(used.temporary);
	make(true, "[write-back]\npath = /mnt/new/store\n", &used);
	CU_ASSERT(has("ReadWritePaths=-/mnt/new/store"));
	snprintf(engine, sizeof(engine), "ReadWritePaths=-%s/store", folder);
	CU_ASSERT(has(engine));
	CU_ASSERT(has("ProtectHome=read-only"));
}

static void test_units_no_file_is_said(void)
{
	struct config *config;

	CU_ASSERT_EQUAL(config_read_leniently(&config, "/nonexistent/bootwell.conf"), -ENOENT);
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		UNIT(test_units_runner_may_write_the_store_and_its_records),
		UNIT(test_units_daemon_may_write_state_records_and_images),
		UNIT(test_units_what_a_path_leads_through_is_not_hidden),
		UNIT(test_units_other_folders_and_devices),
		UNIT(test_units_mistakes_elsewhere_take_nothing_away),
		UNIT(test_units_what_disks_stand_on_stays),
		UNIT(test_units_no_file_is_said),
	};
	char command[100];
	int r;

	if (!mkdtemp(folder))
		return 1;
	r = unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
	free(text);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) ? 1 : r;
}
