/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Generations of images in the catalogue: next, rollback, pruning, rename, and what the configuration says of it. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "daemon/catalogue/catalogue.h"
#include "tests/unit/catalogue_add.h"
#include "tests/unit/unit.h"

static char folder[64];
static struct state *state;
static struct catalogue *catalogue;
static struct config config;
static struct config_image section;

static void make_file(const char *name, off_t size)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(ftruncate(fd, size), 0);
	CU_ASSERT_EQUAL(pwrite(fd, "\x55\xaa", 2, 510), 2);
	close(fd);
}

static bool there(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return access(path, F_OK) == 0;
}

static void begin(void)
{
	struct sentence error = {""};
	char command[256];

	snprintf(folder, sizeof(folder), "/tmp/bootwell-generation.%d", getpid());
	snprintf(command, sizeof(command), "rm -rf %s && mkdir %s", folder, folder);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
	memset(&config, 0, sizeof(config));
	snprintf(config.images_path, sizeof(config.images_path), "%s", folder);
	snprintf(command, sizeof(command), "%s/state.db", folder);
	CU_ASSERT_EQUAL_FATAL(state_new(&state, command, &error), 0);
	CU_ASSERT_EQUAL_FATAL(catalogue_new(&catalogue, state, NULL), 0);
	memset(&section, 0, sizeof(section));
	snprintf(section.name, sizeof(section.name), "xp01");
	snprintf(section.file, sizeof(section.file), "xp01.raw");
	snprintf(section.format, sizeof(section.format), "raw");
	make_file("xp01.raw", 1 << 20);
	make_file("two.raw", 2 << 20);
	make_file("three.raw", 3 << 20);
	make_file("four.raw", 4 << 20);
}

static void end(void)
{
	char command[128];

	catalogue_free(catalogue);
	state_free(state);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	CU_ASSERT_EQUAL(system(command), 0);
}

static uint32_t current(const char *name, const char *file)
{
	struct state_image row;

	if (state_image_current(state, name, &row) <= 0)
		return 0;
	CU_ASSERT_STRING_EQUAL(row.file, file);
	return row.generation;
}

static void add_all(void)
{
	struct sentence error = {""};
	struct state_image row;

	CU_ASSERT_EQUAL(add_image(catalogue, &config, "xp01", "xp01.raw", "raw", &row, &error), 0);
	CU_ASSERT_EQUAL(add_next(catalogue, &config, "xp01", "two.raw", "raw", true, &row, &error), 0);
	CU_ASSERT_EQUAL(row.generation, 2);
	CU_ASSERT_EQUAL(add_next(catalogue, &config, "xp01", "three.raw", "raw", true, &row, &error), 0);
	CU_ASSERT_EQUAL(row.generation, 3);
	if (error.text[0])
		printf("# %s\n", error.text);
}

static void test_generation_next_and_rollback(void)
{
	struct sentence error = {""};
	struct state_image row;

	begin();
	CU_ASSERT_EQUAL(add_next(catalogue, &config, "xp01", "two.raw", "raw", true, &row, &error), -ENOENT);
	add_all();
	CU_ASSERT_EQUAL(current("xp01", "three.raw"), 3);
	CU_ASSERT_EQUAL(add_next(catalogue, &config, "xp01", "three.raw", "raw", true, &row, &error), 0);
	CU_ASSERT_EQUAL(row.generation, 3); /* told twice, after a crash */
	CU_ASSERT_EQUAL(catalogue_rollback(catalogue, "xp01", 0, &row, &error), 0);
	CU_ASSERT_EQUAL(current("xp01", "two.raw"), 2);
	CU_ASSERT_EQUAL(add_next(catalogue, &config, "xp01", "four.raw", "raw", true, &row, &error), 0);
	CU_ASSERT_EQUAL(current("xp01", "four.raw"), 4); /* not 3 again */
	CU_ASSERT_EQUAL(catalogue_rollback(catalogue, "xp01", 1, &row, &error), 0);
	CU_ASSERT_EQUAL(current("xp01", "xp01.raw"), 1);
	CU_ASSERT_EQUAL(catalogue_rollback(catalogue, "xp01", 0, &row, &error), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "no generation before 1"));
	CU_ASSERT_EQUAL(catalogue_rollback(catalogue, "xp01", 9, &row, &error), -ENOENT);
	CU_ASSERT_EQUAL(add_next(catalogue, &config, "xp01", "gone.raw", "raw", true, &row, &error), -ENOENT);
	CU_ASSERT_EQUAL(current("xp01", "xp01.raw"), 1);
	end();
}

/* What an upload made is there, and new boots do not get it before somebody says so. */
static void test_generation_not_current_by_itself(void)
{
	struct sentence error = {""};
	struct state_image row;

	begin();
	add_all();
	CU_ASSERT_EQUAL(add_next(catalogue, &config, "xp01", "four.raw", "raw", false, &row, &error), 0);
	CU_ASSERT_EQUAL(row.generation, 4);
	CU_ASSERT_EQUAL(row.current, false);
	CU_ASSERT_EQUAL(current("xp01", "three.raw"), 3);
	CU_ASSERT_EQUAL(add_next(catalogue, &config, "xp01", "four.raw", "raw", false, &row, &error), 0);
	CU_ASSERT_EQUAL(row.generation, 4); /* told twice, after a crash */
	CU_ASSERT_EQUAL(catalogue_last_generation(catalogue, "xp01"), 4);
	config.image = &section;
	config.images = 1;
	catalogue_sync(catalogue, &config);
	CU_ASSERT_EQUAL(current("xp01", "three.raw"), 3);
	CU_ASSERT_EQUAL(catalogue_rollback(catalogue, "xp01", 4, &row, &error), 0);
	CU_ASSERT_EQUAL(current("xp01", "four.raw"), 4);
	end();
}

/* A section that names the first file does not take the image back to it at each reload. */
static void test_generation_survives_reload(void)
{
	begin();
	add_all();
	config.image = &section;
	config.images = 1;
	catalogue_sync(catalogue, &config);
	CU_ASSERT_EQUAL(current("xp01", "three.raw"), 3);
	snprintf(section.file, sizeof(section.file), "four.raw");
	catalogue_sync(catalogue, &config); /* but a new file there is a new generation */
	CU_ASSERT_EQUAL(current("xp01", "four.raw"), 4);
	end();
}

static bool uses(void *arg, const struct state_image *image)
{
	return image->generation == *(uint32_t *)arg;
}

static void test_generation_prune(void)
{
	struct sentence error = {""};
	struct state_image row;
	uint32_t running = 2, none = 0;

	begin();
	add_all();
	CU_ASSERT_EQUAL(add_next(catalogue, &config, "xp01", "four.raw", "raw", true, &row, &error), 0);
	CU_ASSERT_EQUAL(catalogue_prune(catalogue, &config, "xp01", 2, uses, &running), 1);
	CU_ASSERT(!there("xp01.raw")); /* generation 1 */
	CU_ASSERT(there("two.raw"));   /* a PC runs on it */
	CU_ASSERT(there("three.raw") && there("four.raw"));
	CU_ASSERT_EQUAL(catalogue_prune(catalogue, &config, "xp01", 2, uses, &none), 1);
	CU_ASSERT(!there("two.raw"));
	CU_ASSERT_EQUAL(catalogue_rollback(catalogue, "xp01", 3, &row, &error), 0);
	CU_ASSERT_EQUAL(catalogue_prune(catalogue, &config, "xp01", 1, NULL, NULL), 0);
	CU_ASSERT(there("three.raw")); /* what new boots get never goes */
	end();
}

/* The file of one that goes may be the file of one that stays, and a child needs its parent, whatever its age. */
static void test_generation_prune_leaves_what_others_need(void)
{
	struct sentence error = {""};
	struct state_image row;

	begin();
	add_all();
	CU_ASSERT_EQUAL(add_next(catalogue, &config, "xp01", "xp01.raw", "raw", true, &row, &error), 0);
	CU_ASSERT_EQUAL(row.generation, 4);
	CU_ASSERT_EQUAL(catalogue_prune(catalogue, &config, "xp01", 1, NULL, NULL), 3);
	CU_ASSERT(there("xp01.raw") && !there("two.raw") && !there("three.raw"));
	CU_ASSERT_EQUAL(current("xp01", "xp01.raw"), 4);
	end();
}

static void test_generation_rename(void)
{
	struct state_client client = {.name = "PC101", .mac = {2}, .keep = -1, .upload = -1};
	struct sentence error = {""};

	begin();
	add_all();
	CU_ASSERT_EQUAL(catalogue_rename(catalogue, &config, "xp01", "xp02", &error), 0);
	CU_ASSERT_EQUAL(current("xp01", ""), 0);
	CU_ASSERT_EQUAL(current("xp02", "three.raw"), 3);
	CU_ASSERT_EQUAL(catalogue_rename(catalogue, &config, "xp01", "xp03", &error), -ENOENT);
	CU_ASSERT_EQUAL(catalogue_rename(catalogue, &config, "xp02", "xp02", &error), -EEXIST);
	config.image = &section;
	config.images = 1;
	snprintf(section.name, sizeof(section.name), "xp02");
	CU_ASSERT_EQUAL(catalogue_rename(catalogue, &config, "xp02", "xp03", &error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "rename it there"));
	config.images = 0;
	snprintf(client.image, sizeof(client.image), "xp02");
	CU_ASSERT_EQUAL(state_client_put(state, &client), 0);
	CU_ASSERT_EQUAL(catalogue_rename(catalogue, &config, "xp02", "xp03", &error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "PC101"));
	end();
}

/* --- which image is the parent ---------------------------------------------------------------------------------- */

/* A flat VMDK of 4 KiB, as ESXi describes it. */
static void make_vmdk(const char *name, const char *cid, const char *parent, const char *hint)
{
	char path[128], flat[64];
	FILE *f;

	snprintf(flat, sizeof(flat), "%s-flat.bin", name);
	make_file(flat, 4096);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fprintf(f, "# Disk DescriptorFile\nversion=1\nCID=%s\nparentCID=%s\ncreateType=\"monolithicFlat\"\n", cid,
		parent);
	if (hint)
		fprintf(f, "parentFileNameHint=\"%s\"\n", hint);
	fprintf(f, "RW 8 FLAT \"%s\" 0\n", flat);
	fclose(f);
}

static int add(const char *name, const char *file, struct sentence *error)
{
	struct state_image row;

	return add_image(catalogue, &config, name, file, "", &row, error);
}

/* The files of an image's chain, "child.vmdk parent.vmdk", or what is wrong. */
static const char *chain_of(const char *name)
{
	static char text[SENTENCE_MAX];
	struct catalogue_chain chain;
	struct sentence error = {""};

	text[0] = '\0';
	if (catalogue_resolve(catalogue, name, &chain, &error))
		snprintf(text, sizeof(text), "%s", error.text);
	else
		for (unsigned int i = 0; i < chain.layers; i++)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "",
				 chain.layer[i].file);
	return text;
}

#define NONE "ffffffff"
#define ESXI "fffffffe"

static void test_parent_is_the_one_that_the_hint_names(void)
{
	struct sentence error;

	begin();
	make_vmdk("vm.vmdk", ESXI, NONE, NULL);
	make_vmdk("vm_1.vmdk", ESXI, NONE, NULL);
	make_vmdk("vm-000001.vmdk", "12345678", ESXI, "C:\\\\vms\\\\VM.vmdk");
	CU_ASSERT_EQUAL(add("vm", "vm.vmdk", &error), 0);
	CU_ASSERT_EQUAL(add("vm1", "vm_1.vmdk", &error), 0);
	CU_ASSERT_EQUAL(add("child", "vm-000001.vmdk", &error), 0);
	CU_ASSERT_STRING_EQUAL(error.text, "");
	CU_ASSERT_STRING_EQUAL(chain_of("child"), "vm-000001.vmdk vm.vmdk");
	/* vm1 is nobody's parent, whatever its CID says */
	CU_ASSERT_EQUAL(catalogue_remove(catalogue, &config, "vm1", &error), 0);
	CU_ASSERT_EQUAL(catalogue_remove(catalogue, &config, "vm", &error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "used by image child"));
	end();
}

static void test_snapshots_that_keep_one_cid(void)
{
	struct sentence error;

	begin();
	make_vmdk("sql.vmdk", "7e1d0001", NONE, NULL);
	make_vmdk("sql-000001.vmdk", "7e1d0001", "7e1d0001", "sql.vmdk");
	make_vmdk("sql-000002.vmdk", "7e1d0001", "7e1d0001", "sql-000001.vmdk");
	/* the last one first: it waits for what it is made of, and is told so */
	CU_ASSERT_EQUAL(add("two", "sql-000002.vmdk", &error), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "needs its parent 7e1d0001, once called sql-000001.vmdk"));
	CU_ASSERT_EQUAL(add("one", "sql-000001.vmdk", &error), 0);
	CU_ASSERT_EQUAL(add("sql", "sql.vmdk", &error), 0);
	CU_ASSERT_STRING_EQUAL(chain_of("two"), "sql-000002.vmdk sql-000001.vmdk sql.vmdk");
	CU_ASSERT_STRING_EQUAL(chain_of("one"), "sql-000001.vmdk sql.vmdk");
	end();
}

static void test_parent_that_cannot_be_known_is_refused(void)
{
	struct sentence error;
	struct state_image row;

	begin();
	make_vmdk("a.vmdk", "7e1d0001", NONE, NULL);
	make_vmdk("b.vmdk", "7e1d0001", NONE, NULL);
	make_vmdk("e.vmdk", ESXI, NONE, NULL);
	make_vmdk("child.vmdk", "00000001", "7e1d0001", "gone.vmdk");
	make_vmdk("lost.vmdk", "00000002", ESXI, "gone.vmdk");
	CU_ASSERT_EQUAL(add("a", "a.vmdk", &error), 0);
	CU_ASSERT_EQUAL(add("child", "child.vmdk", &error), 0); /* one fits, under another name: told of */
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text,
				      "child.vmdk: its parent a.vmdk fits by its CID only: the child remembers "
				      "it as gone.vmdk"));
	CU_ASSERT_EQUAL(add("b", "b.vmdk", &error), 0);
	CU_ASSERT_STRING_EQUAL(chain_of("child"), "child.vmdk a.vmdk"); /* what was decided stays */
	CU_ASSERT_EQUAL(add("again", "child.vmdk", &error), -ENOTUNIQ);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text,
				      "wants CID 7e1d0001, once called gone.vmdk, and these have it: a.vmdk, "
				      "b.vmdk"));
	CU_ASSERT_EQUAL(state_image_current(state, "again", &row), 0);
	CU_ASSERT_EQUAL(add("e", "e.vmdk", &error), 0);
	CU_ASSERT_EQUAL(add("lost", "lost.vmdk", &error), -ENOTUNIQ); /* that CID says nothing */
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "(it is not theirs alone): e.vmdk"));
	end();
}

static void test_prune_leaves_a_parent(void)
{
	struct sentence error;
	struct state_image row;

	begin();
	make_vmdk("a.vmdk", "7e1d0001", NONE, NULL);
	make_vmdk("a2.vmdk", "7e1d0002", NONE, NULL);
	make_vmdk("child.vmdk", "00000001", "7e1d0001", "a.vmdk");
	CU_ASSERT_EQUAL(add("a", "a.vmdk", &error), 0);
	CU_ASSERT_EQUAL(add("child", "child.vmdk", &error), 0);
	CU_ASSERT_EQUAL(add_next(catalogue, &config, "a", "a2.vmdk", "", true, &row, &error), 0);
	CU_ASSERT_EQUAL(catalogue_prune(catalogue, &config, "a", 1, NULL, NULL), 0);
	CU_ASSERT(there("a.vmdk"));
	CU_ASSERT_STRING_EQUAL(chain_of("child"), "child.vmdk a.vmdk");
	end();
}

static void test_file_changed_in_its_place_is_the_next_generation(void)
{
	struct sentence error;
	struct state_image row;

	begin();
	make_vmdk("a.vmdk", "00000001", NONE, NULL);
	CU_ASSERT_EQUAL(add("a", "a.vmdk", &error), 0);
	CU_ASSERT_EQUAL(state_image_current(state, "a", &row), 1);
	CU_ASSERT_NOT_EQUAL(row.fingerprint, 0);
	CU_ASSERT_EQUAL(add("a", "a.vmdk", &error), -EEXIST);
	make_vmdk("a.vmdk", "00000002", NONE, NULL);
	CU_ASSERT_EQUAL(add("a", "a.vmdk", &error), 0);
	CU_ASSERT_EQUAL(current("a", "a.vmdk"), 2);
	end();
}

UNIT_MAIN(UNIT(test_generation_next_and_rollback), UNIT(test_generation_not_current_by_itself),
	  UNIT(test_generation_survives_reload), UNIT(test_generation_prune),
	  UNIT(test_generation_prune_leaves_what_others_need), UNIT(test_prune_leaves_a_parent),
	  UNIT(test_generation_rename), UNIT(test_parent_is_the_one_that_the_hint_names),
	  UNIT(test_snapshots_that_keep_one_cid), UNIT(test_parent_that_cannot_be_known_is_refused),
	  UNIT(test_file_changed_in_its_place_is_the_next_generation))
