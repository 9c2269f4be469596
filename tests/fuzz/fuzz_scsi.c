// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SCSI commands from an initiator that sends anything. The input is commands, each: where the data is cut into two
 * iovecs (u8), bytes of data (u16, little-endian), what they are filled with (u8), a CDB of 16 bytes. They go through
 * handle_cmd() and, when that does not want them, through the emulation, on a small disk that is unmapped first.
 *
 * Properties: a status of the list, nothing outside of the iovecs is touched (they are just as long as they say), the
 * disk holds what the commands that succeeded wrote, and a VERIFY knows it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE         (512u << 10)
#define RUNNER_SIZE  SIZE
#define HEAD         20
#define COMMANDS_MAX 64

#include "tests/unit/runner.h"

#include "tcmu-handler/handler.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tcmu_device dev = {.config = "bootwell/f"};
static char dir[64];
static uint8_t model[SIZE];

static void clean(void)
{
	char command[100];

	registered->close(&dev);
	registered->destroy();
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command))
		abort();
}

static void save(const char *name, const char *text)
{
	char path[100];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f))
		abort();
}

static void start(void)
{
	char text[500], path[100];

	snprintf(dir, sizeof(dir), "%s/bootwell-fuzz.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/disk", dir);
	mkdir(path, 0700);
	save("base", "");
	snprintf(path, sizeof(path), "%s/base", dir);
	if (truncate(path, SIZE))
		abort();
	snprintf(text, sizeof(text),
		 "store=%s/store\nstore_size=33554432\nimage_ram=4194304\nwrite_back_ram=8388608\nthreads=1\n", dir);
	save("engine.conf", text);
	snprintf(text, sizeof(text),
		 "client=f\nsize=%u\noverlay=11111111-2222-3333-4444-555555555555\nmode=keep\n"
		 "boot=aaaaaaaa-2222-3333-4444-555555555555\ngeneration=g\nlayer=raw %s base\n",
		 SIZE, dir);
	save("disk/f.conf", text);
	setenv("BOOTWELL_RUN", dir, 1);
	if (handler_init() || registered->open(&dev, false)) {
		fprintf(stderr, "%s\n", last_log);
		abort();
	}
	atexit(clean);
}

static bool is_read(uint8_t opcode)
{
	return opcode == 0x28 || opcode == 0xa8 || opcode == 0x88;
}

static bool is_write(uint8_t opcode)
{
	return opcode == 0x2a || opcode == 0xaa || opcode == 0x8a || opcode == 0x2e || opcode == 0xae || opcode == 0x8e;
}

static bool is_verify(uint8_t opcode)
{
	return opcode == 0x2f || opcode == 0xaf || opcode == 0x8f;
}

/* What the command is to have done, as it succeeded. */
static void follow(const struct command *c, const uint8_t *data, size_t length)
{
	uint64_t at = tcmu_cdb_get_lba((uint8_t *)c->cdb) * 512, n;

	if (is_read(c->cdb[0]) && length && memcmp(data, model + at, length)) {
		fprintf(stderr, "a read of %zu bytes at %llu got something else\n", length, (unsigned long long)at);
		abort();
	}
	if (is_write(c->cdb[0]))
		memcpy(model + at, data, length);
	if (c->cdb[0] == 0x42)
		memset(model + be(c->cdb + 2, 4) * 512, 0, be(c->cdb + 6, 3) * 512);
	n = c->cdb[0] == 0x41 || c->cdb[0] == 0x93 ? (uint64_t)tcmu_cdb_get_xfer_length((uint8_t *)c->cdb) * 512 : 0;
	for (uint64_t k = 0; k < n; k += length)
		memcpy(model + at + k, data, length);
}

/* Does a VERIFY find what is there? */
static bool matches(const struct command *c, const uint8_t *data)
{
	unsigned int bytchk = c->cdb[1] >> 1 & 3;
	uint64_t at = tcmu_cdb_get_lba((uint8_t *)c->cdb) * 512;
	uint64_t n = (uint64_t)tcmu_cdb_get_xfer_length((uint8_t *)c->cdb) * 512;

	for (uint64_t k = 0; bytchk && k < n; k += 512)
		if (memcmp(model + at + k, data + (bytchk == 3 ? 0 : k), 512))
			return false;
	return true;
}

static void one_command(const uint8_t *input)
{
	size_t length = (size_t)input[1] | (size_t)input[2] << 8, cut = length * input[0] / 255;
	uint8_t *data = malloc(length + 1), *second;
	struct command c = {.status = 0};
	int status;

	/* Two blocks of memory, so that a step over the end of the first is seen. */
	memset(data, input[3], length);
	for (size_t i = 0; i < length; i += 512)
		data[i] = (uint8_t)(i >> 9);
	second = malloc(length - cut + 1);
	memcpy(second, data + cut, length - cut);
	memcpy(c.cdb, input + 4, 16);
	uint8_t *first = malloc(cut + !cut);

	memcpy(first, data, cut);
	status = send_iov(&dev, &c, first, cut, second, length - cut);
	memcpy(data, first, cut);
	memcpy(data + cut, second, length - cut);
	if (status < TCMU_STS_OK || status > TCMU_STS_RANGE) {
		fprintf(stderr, "status %d of %02x\n", status, c.cdb[0]);
		abort();
	}
	if (is_verify(c.cdb[0]) && (status == TCMU_STS_OK || status == TCMU_STS_MISCOMPARE) &&
	    matches(&c, data) != (status == TCMU_STS_OK)) {
		fprintf(stderr, "VERIFY said %d\n", status);
		abort();
	}
	if (status == TCMU_STS_OK)
		follow(&c, data, length);
	free(first);
	free(second);
	free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct command all = {.cdb = {0x42, 0, 0, 0, 0, 0, 0, SIZE / 512 >> 8, SIZE / 512 & 0xff}};
	unsigned int n = 0;

	if (!dir[0])
		start();
	if (send_iov(&dev, &all, NULL, 0, NULL, 0) != TCMU_STS_OK)
		abort();
	memset(model, 0, sizeof(model));
	for (; size >= HEAD && n < COMMANDS_MAX; data += HEAD, size -= HEAD, n++)
		one_command(data);
	return 0;
}
