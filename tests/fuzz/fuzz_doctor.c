/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the doctor parses by itself, the first byte says which: 'c' an initial RAM disk, 'i' an INF file, 'p' a
 * partition table, whose partitions lie within the disk; the disk in memory holds what is written to it, and tells of
 * that and no more.
 */
#include "daemon/doctor/doctor.h"
#include "daemon/doctor/cpio.h"
#include "daemon/doctor/esp.h"
#include "daemon/doctor/inf.h"
#include "tests/fuzz/fuzz_image.h"

static void take(void *arg, const char *name, const uint8_t *data, size_t length)
{
	size_t *n = arg;

	/* Reads all that it is told, for ASan. */
	*n += strlen(name);
	for (size_t i = 0; data && i <= length; i++)
		*n += data[i];
	fuzz_must(!data || (length <= DOCTOR_CPIO_KEPT && !data[length]));
}

static void fuzz_inf(const uint8_t *data, size_t size)
{
	static uint32_t id[DOCTOR_HARDWARE_MAX];
	uint8_t *copy = malloc(size + 1);
	unsigned int n;

	memcpy(copy, data, size);
	n = doctor_inf_ids(copy, size, id);
	fuzz_must(n <= DOCTOR_HARDWARE_MAX);
	for (unsigned int i = 1; i < n; i++)
		fuzz_must(id[i] > id[i - 1]);
	free(copy);
}

static void fuzz_disk(struct doctor_disk *disk, const uint8_t *data, size_t size)
{
	uint64_t all = doctor_disk_size(disk), at = data[0] * 251u % all, n = size < all - at ? size : all - at, bytes;
	uint8_t *back = malloc(n + 1);
	uint32_t ranges;

	fuzz_must(!doctor_disk_write(disk, at, data, n));
	fuzz_must(!doctor_disk_read(disk, at, back, n) && !memcmp(back, data, n));
	fuzz_must(!doctor_disk_changed(disk, &bytes, &ranges) && bytes <= n + 1024 && bytes % 512 == 0 &&
		  ranges * 512ull <= bytes);
	fuzz_must(doctor_disk_write(disk, all, data, 1) == -ERANGE);
	free(back);
}

static void fuzz_partitions(const uint8_t *data, size_t size)
{
	struct doctor_partition part[DOCTOR_PARTITIONS];
	struct doctor_disk *disk = NULL;
	struct image *img;
	bool gpt, there;
	int n;

	if (size < 512)
		return;
	fuzz_file(0, data, size / 512 * 512);
	img = fuzz_open(0, IMAGE_RAW);
	fuzz_must(img && !doctor_disk_new(&disk, img));
	n = doctor_partitions(disk, part, DOCTOR_PARTITIONS, &gpt);
	fuzz_must(n <= DOCTOR_PARTITIONS && n);
	doctor_esp_look(disk, 0, doctor_disk_size(disk), &there);
	for (int i = 0; i < n; i++) {
		doctor_esp_look(disk, part[i].start, part[i].size, &there);
		fuzz_must(part[i].past_end ? part[i].start + part[i].size <= doctor_disk_size(disk)
					   : part[i].size && part[i].start < doctor_disk_size(disk) &&
						     part[i].size <= doctor_disk_size(disk) - part[i].start);
	}
	fuzz_disk(disk, data, size);
	doctor_disk_free(disk);
	image_close(img);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n = 0;

	if (size < 2)
		return 0;
	if (*data == 'c')
		doctor_cpio_look(data + 1, size - 1, take, &n);
	else if (*data == 'i')
		fuzz_inf(data + 1, size - 1);
	else if (*data == 'p')
		fuzz_partitions(data + 1, size - 1);
	return 0;
}
