/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Generations of images in the catalogue: next, rollback, pruning, rename, and what the configuration says of it. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "daemon/catalogue.h"
#include "tests/unit/unit.h"

static char folder[64];
static struct store *store;
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
	char command[256], error[256];

	snprintf(folder, sizeof(folder), "/tmp/bootwell-generation.%d", getpid());
	snprintf(command, sizeof(command), "rm -rf %s && mkdir %s", folder, folder);
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
	memset(&config, 0, sizeof(config));
	snprintf(config.images_path, sizeof(config.images_path), "%s", folder);
	snprintf(command, sizeof(command), "%s/state.db", folder);
	CU_ASSERT_EQUAL_FATAL(store_new(&store, command, error), 0);
	CU_ASSERT_EQUAL_FATAL(catalogue_new(&catalogue, store), 0);
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
	store_free(store);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	CU_ASSERT_EQUAL(system(command), 0);
}

static uint32_t current(const char *name, const char *file)
{
	struct store_image row;

	if (store_image_current(store, name, &row) <= 0)
		return 0;
	CU_ASSERT_STRING_EQUAL(row.file, file);
	return row.generation;
}

static void add_all(void)
{
	char error[CATALOGUE_ERROR_MAX] = "";
	struct store_image row;

	CU_ASSERT_EQUAL(catalogue_add(catalogue, &config, "xp01", "xp01.raw", "raw", 0, &row, error), 0);
	CU_ASSERT_EQUAL(catalogue_add_generation(catalogue, &config, "xp01", "two.raw", "raw", &row, error), 0);
	CU_ASSERT_EQUAL(row.generation, 2);
	CU_ASSERT_EQUAL(catalogue_add_generation(catalogue, &config, "xp01", "three.raw", "raw", &row, error), 0);
	CU_ASSERT_EQUAL(row.generation, 3);
	if (error[0])
		printf("# %s\n", error);
}

static void test_generation_next_and_rollback(void)
{
	char error[CATALOGUE_ERROR_MAX];
	struct store_image row;

	begin();
	CU_ASSERT_EQUAL(catalogue_add_generation(catalogue, &config, "xp01", "two.raw", "raw", &row, error), -ENOENT);
	add_all();
	CU_ASSERT_EQUAL(current("xp01", "three.raw"), 3);
	CU_ASSERT_EQUAL(catalogue_add_generation(catalogue, &config, "xp01", "three.raw", "raw", &row, error), 0);
	CU_ASSERT_EQUAL(row.generation, 3); /* told twice, after a crash */
	CU_ASSERT_EQUAL(catalogue_rollback(catalogue, "xp01", 0, &row, error), 0);
	CU_ASSERT_EQUAL(current("xp01", "two.raw"), 2);
	CU_ASSERT_EQUAL(catalogue_add_generation(catalogue, &config, "xp01", "four.raw", "raw", &row, error), 0);
	CU_ASSERT_EQUAL(current("xp01", "four.raw"), 4); /* not 3 again */
	CU_ASSERT_EQUAL(catalogue_rollback(catalogue, "xp01", 1, &row, error), 0);
	CU_ASSERT_EQUAL(current("xp01", "xp01.raw"), 1);
	CU_ASSERT_EQUAL(catalogue_rollback(catalogue, "xp01", 0, &row, error), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "no generation before 1"));
	CU_ASSERT_EQUAL(catalogue_rollback(catalogue, "xp01", 9, &row, error), -ENOENT);
	CU_ASSERT_EQUAL(catalogue_add_generation(catalogue, &config, "xp01", "gone.raw", "raw", &row, error), -ENOENT);
	CU_ASSERT_EQUAL(current("xp01", "xp01.raw"), 1);
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

static bool uses(void *arg, const struct store_image *image)
{
	return image->generation == *(uint32_t *)arg;
}

static void test_generation_prune(void)
{
	char error[CATALOGUE_ERROR_MAX];
	struct store_image row;
	uint32_t running = 2, none = 0;

	begin();
	add_all();
	CU_ASSERT_EQUAL(catalogue_add_generation(catalogue, &config, "xp01", "four.raw", "raw", &row, error), 0);
	CU_ASSERT_EQUAL(catalogue_prune(catalogue, &config, "xp01", 2, uses, &running), 1);
	CU_ASSERT(!there("xp01.raw")); /* generation 1 */
	CU_ASSERT(there("two.raw"));   /* a PC runs on it */
	CU_ASSERT(there("three.raw") && there("four.raw"));
	CU_ASSERT_EQUAL(catalogue_prune(catalogue, &config, "xp01", 2, uses, &none), 1);
	CU_ASSERT(!there("two.raw"));
	CU_ASSERT_EQUAL(catalogue_rollback(catalogue, "xp01", 3, &row, error), 0);
	CU_ASSERT_EQUAL(catalogue_prune(catalogue, &config, "xp01", 1, NULL, NULL), 0);
	CU_ASSERT(there("three.raw")); /* what new boots get never goes */
	end();
}

static void test_generation_rename(void)
{
	struct store_client client = {.name = "PC101", .mac = {2}, .keep = -1, .upload = -1};
	char error[CATALOGUE_ERROR_MAX];

	begin();
	add_all();
	CU_ASSERT_EQUAL(catalogue_rename(catalogue, &config, "xp01", "xp02", error), 0);
	CU_ASSERT_EQUAL(current("xp01", ""), 0);
	CU_ASSERT_EQUAL(current("xp02", "three.raw"), 3);
	CU_ASSERT_EQUAL(catalogue_rename(catalogue, &config, "xp01", "xp03", error), -ENOENT);
	CU_ASSERT_EQUAL(catalogue_rename(catalogue, &config, "xp02", "xp02", error), -EEXIST);
	snprintf(client.image, sizeof(client.image), "xp02");
	CU_ASSERT_EQUAL(store_client_put(store, &client), 0);
	CU_ASSERT_EQUAL(catalogue_rename(catalogue, &config, "xp02", "xp03", error), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "PC101"));
	end();
}

UNIT_MAIN(UNIT(test_generation_next_and_rollback), UNIT(test_generation_survives_reload), UNIT(test_generation_prune),
	  UNIT(test_generation_rename))
