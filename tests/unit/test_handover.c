// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The daemon's writer and the handler's reader of docs/handover.md at one table: what goes in comes out, or is
 * refused.
 */
#include <errno.h>

#include "daemon/boot/record.h"
#include "tcmu-handler/conf.h"
#include "tests/unit/unit.h"

#define OVERLAY "11111111-2222-8333-8444-555555555555"
#define BOOT    "0a0b0c0d-0e0f-4011-8213-141516171819"
#define RESET   "ffffffff-0000-4000-8000-000000000001"

static struct catalogue_chain chain;
static char text[HANDOVER_BYTES_MAX];

static const uint8_t overlay_bytes[16] = {0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x83, 0x33,
					  0x84, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55};
static const uint8_t boot_bytes[16] = {0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x40, 0x11,
				       0x82, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19};

static struct boot_record record_of(const char *mode)
{
	memset(&chain, 0, sizeof(chain));
	strcpy(chain.image.name, "win10");
	strcpy(chain.image.image_id, "cid:12345678");
	chain.image.generation = 7;
	chain.layers = 2;
	strcpy(chain.layer[0].format, "vmdk");
	strcpy(chain.layer[0].file, "win 10 = child.vmdk"); /* a file may have blanks and = in its name */
	strcpy(chain.layer[1].format, "raw");
	strcpy(chain.layer[1].file, "sub/base.img");
	chain.layer[1].size_override = 1 << 30;
	chain.layer[1].fingerprint = 0xfedcba9876543210u;
	return (struct boot_record){.client = "PC101",
				    .size = 10ull << 30,
				    .overlay = OVERLAY,
				    .mode = mode,
				    .boot = BOOT,
				    .reset = RESET,
				    .images_path = "/srv/images",
				    .chain = &chain};
}

static int through(const struct boot_record *record, struct disk_config *ret)
{
	struct sentence err = {};
	int r = boot_record_disk(text, sizeof(text), record);

	if (r)
		return r;
	r = conf_parse_disk(ret, text, "1-0.conf", &err);
	CU_ASSERT_EQUAL(r, 0);
	return 0;
}

static void test_a_disk_comes_out_as_it_went_in(void)
{
	static const struct {
		const char *text;
		enum disk_mode mode;
	} modes[] = {{HANDOVER_KEEP, DISK_KEEP}, {HANDOVER_DISCARD, DISK_DISCARD}, {HANDOVER_READONLY, DISK_READONLY}};
	static const uint8_t none[16];

	for (unsigned int i = 0; i < 3; i++) {
		struct boot_record record = record_of(modes[i].text);
		struct disk_config d;

		CU_ASSERT_EQUAL_FATAL(through(&record, &d), 0);
		CU_ASSERT_EQUAL(d.mode, modes[i].mode);
		CU_ASSERT_STRING_EQUAL(d.client, "PC101");
		CU_ASSERT_EQUAL(d.size, 10ull << 30);
		CU_ASSERT_STRING_EQUAL(d.generation, "win10 7 cid:12345678");
		CU_ASSERT(!memcmp(d.overlay, overlay_bytes, 16));
		CU_ASSERT(!memcmp(d.boot, boot_bytes, 16));
		CU_ASSERT_EQUAL(memcmp(d.reset, none, 16) != 0, modes[i].mode == DISK_KEEP);
		CU_ASSERT_EQUAL(d.layers, 2);
		CU_ASSERT_EQUAL(d.layer[0].format, IMAGE_VMDK);
		CU_ASSERT_STRING_EQUAL(d.layer[0].dir, "/srv/images");
		CU_ASSERT_STRING_EQUAL(d.layer[0].file, "win 10 = child.vmdk");
		CU_ASSERT_EQUAL(d.layer[0].size_override, 0);
		CU_ASSERT_EQUAL(d.layer[1].format, IMAGE_RAW);
		CU_ASSERT_STRING_EQUAL(d.layer[1].file, "sub/base.img");
		CU_ASSERT_EQUAL(d.layer[1].size_override, 1 << 30);
		CU_ASSERT_EQUAL(d.layer[0].fingerprint, 0);
		CU_ASSERT_EQUAL(d.layer[1].fingerprint, 0xfedcba9876543210u);
	}
}

/* The longest of everything that the configuration and the catalogue can hold. */
static void test_the_longest_record_is_not_cut(void)
{
	struct boot_record record = record_of(HANDOVER_KEEP);
	char path[sizeof(((struct config *)0)->images_path)];
	struct disk_config d;

	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	record.images_path = path;
	memset(chain.image.name, 'n', sizeof(chain.image.name) - 1);
	memset(chain.image.image_id, 'i', sizeof(chain.image.image_id) - 1);
	chain.image.generation = UINT32_MAX;
	chain.layers = IMAGE_CHAIN_MAX;
	for (unsigned int i = 0; i < IMAGE_CHAIN_MAX; i++) {
		strcpy(chain.layer[i].format, "vmdk");
		memset(chain.layer[i].file, 'a' + (int)i, sizeof(chain.layer[i].file) - 1);
		chain.layer[i].file[sizeof(chain.layer[i].file) - 1] = '\0';
		chain.layer[i].size_override = IMAGE_SIZE_MAX - 512 * i;
	}
	CU_ASSERT_EQUAL_FATAL(through(&record, &d), 0);
	CU_ASSERT_EQUAL(d.layers, IMAGE_CHAIN_MAX);
	for (unsigned int i = 0; i < d.layers; i++) {
		CU_ASSERT_STRING_EQUAL(d.layer[i].file, chain.layer[i].file);
		CU_ASSERT_STRING_EQUAL(d.layer[i].dir, path);
		CU_ASSERT_EQUAL(d.layer[i].size_override, IMAGE_SIZE_MAX - 512 * i);
	}
}

static void test_what_the_reader_would_misread_is_not_written(void)
{
	struct boot_record record = record_of(HANDOVER_KEEP);
	struct disk_config d;

	strcpy(chain.layer[0].file, "a\nsize=512");
	CU_ASSERT_EQUAL(through(&record, &d), -EINVAL);
	record = record_of(HANDOVER_KEEP);
	record.images_path = "/srv/my images";
	CU_ASSERT_EQUAL(through(&record, &d), -EINVAL);
	record = record_of(HANDOVER_KEEP);
	CU_ASSERT_EQUAL(boot_record_disk(text, 100, &record), -ENOSPC);
}

static void test_the_engine_comes_out_as_it_went_in(void)
{
	static struct config config;
	struct engine_config e;
	struct sentence err = {};

	strcpy(config.store_path, "/var/lib/bootwell/write-back.state");
	config.store_size = 8ull << 40;
	config.image_ram = 512 << 20;
	config.write_back_ram = 64 << 20;
	config.engine_threads = 3;
	CU_ASSERT_EQUAL_FATAL(boot_record_engine(text, sizeof(text), &config), 0);
	CU_ASSERT_EQUAL_FATAL(conf_parse_engine(&e, text, "engine.conf", &err), 0);
	CU_ASSERT_STRING_EQUAL(e.store, config.store_path);
	CU_ASSERT_EQUAL(e.store_size, config.store_size);
	CU_ASSERT_EQUAL(e.image_ram, config.image_ram);
	CU_ASSERT_EQUAL(e.write_back_ram, config.write_back_ram);
	CU_ASSERT_EQUAL(e.threads, 3);
}

static void test_the_configuration_cannot_ask_for_more_threads_than_the_handler_has(void)
{
	static struct config config;
	struct engine_config e;
	struct sentence err = {};

	strcpy(config.store_path, "/s");
	config.store_size = config.image_ram = config.write_back_ram = 64 << 20;
	config.engine_threads = HANDOVER_THREADS_MAX;
	CU_ASSERT_EQUAL_FATAL(boot_record_engine(text, sizeof(text), &config), 0);
	CU_ASSERT_EQUAL(conf_parse_engine(&e, text, "engine.conf", &err), 0);
	config.engine_threads = HANDOVER_THREADS_MAX + 1;
	CU_ASSERT_EQUAL(boot_record_engine(text, sizeof(text), &config), -EINVAL);
}

static void test_ids(void)
{
	char id[HANDOVER_ID_MAX + 1];

	CU_ASSERT(handover_id_valid("9223372036854775807-drop"));
	CU_ASSERT(!handover_id_valid(""));
	CU_ASSERT(!handover_id_valid(".."));
	CU_ASSERT(!handover_id_valid("a/b"));
	memset(id, 'a', sizeof(id));
	id[HANDOVER_ID_MAX] = '\0';
	CU_ASSERT(!handover_id_valid(id));
	id[HANDOVER_ID_MAX - 1] = '\0';
	CU_ASSERT(handover_id_valid(id));
}

UNIT_MAIN(UNIT(test_a_disk_comes_out_as_it_went_in), UNIT(test_the_longest_record_is_not_cut),
	  UNIT(test_what_the_reader_would_misread_is_not_written), UNIT(test_the_engine_comes_out_as_it_went_in),
	  UNIT(test_the_configuration_cannot_ask_for_more_threads_than_the_handler_has), UNIT(test_ids))
