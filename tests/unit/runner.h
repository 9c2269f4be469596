/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tcmu-runner made for tests, in the test's own program, which includes handler.c behind this: the functions that the
 * runner and libtcmu have, and a command that takes the way that it takes there (handle_cmd first, then the
 * emulation, which calls read, write, flush, unmap and writesame). RUNNER_SIZE: bytes of every device.
 */
#ifndef BOOTWELL_TEST_RUNNER_H
#define BOOTWELL_TEST_RUNNER_H

#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tcmu-handler/tcmur_abi.h"

struct tcmu_device {
	char config[100];
	void *private;
	uint32_t unmap_align, unmap_gran;
	bool write_cache;
};

static struct tcmur_handler *registered;
static char last_log[1024], last_warning[1024], last_debug[1024];

int tcmur_register_handler(struct tcmur_handler *h)
{
	registered = h;
	return 0;
}

void tcmur_cmd_complete(struct tcmu_device *dev, void *cmd, int status)
{
	((struct tcmur_cmd *)cmd)->done(dev, cmd, status);
}

void *tcmur_dev_get_private(struct tcmu_device *dev)
{
	return dev->private;
}

void tcmur_dev_set_private(struct tcmu_device *dev, void *value)
{
	dev->private = value;
}

char *tcmu_dev_get_cfgstring(struct tcmu_device *dev)
{
	return dev->config;
}

uint32_t tcmu_dev_get_block_size(struct tcmu_device *dev)
{
	(void)dev;
	return 512;
}

uint64_t tcmu_dev_get_num_lbas(struct tcmu_device *dev)
{
	(void)dev;
	return RUNNER_SIZE / 512;
}

void tcmu_dev_set_unmap_gran_align(struct tcmu_device *dev, uint32_t length)
{
	dev->unmap_align = length;
}

void tcmu_dev_set_opt_unmap_gran(struct tcmu_device *dev, uint32_t length, bool split)
{
	(void)split;
	dev->unmap_gran = length;
}

void tcmu_dev_set_write_cache_enabled(struct tcmu_device *dev, bool enabled)
{
	dev->write_cache = enabled;
}

void tcmu_dev_set_solid_state_media(struct tcmu_device *dev, bool solid_state)
{
	(void)dev;
	(void)solid_state;
}

static uint64_t be(const uint8_t *p, unsigned int n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

uint64_t tcmu_cdb_get_lba(uint8_t *cdb)
{
	return cdb[0] >> 5 == 4 ? be(cdb + 2, 8) : be(cdb + 2, 4);
}

uint32_t tcmu_cdb_get_xfer_length(uint8_t *cdb)
{
	return (uint32_t)(cdb[0] >> 5 == 4 ? be(cdb + 10, 4) : cdb[0] >> 5 == 5 ? be(cdb + 6, 4) : be(cdb + 7, 2));
}

size_t tcmu_iovec_length(struct iovec *iov, size_t iov_cnt)
{
	size_t n = 0;

	while (iov_cnt--)
		n += iov++->iov_len;
	return n;
}

int tcmu_sense_set_data(uint8_t *sense, uint8_t key, uint16_t asc_ascq)
{
	memset(sense, 0, 96);
	sense[0] = 0x70;
	sense[2] = key;
	sense[12] = (uint8_t)(asc_ascq >> 8);
	sense[13] = (uint8_t)asc_ascq;
	return TCMU_STS_PASSTHROUGH_ERR;
}

#define LOGGER(name, to)                                                                                               \
	void name(struct tcmu_device *dev, const char *function, int line, const char *format, ...)                    \
	{                                                                                                              \
		va_list args;                                                                                          \
                                                                                                                       \
		(void)dev, (void)function, (void)line;                                                                 \
		va_start(args, format);                                                                                \
		vsnprintf(to, sizeof(to), format, args);                                                               \
		va_end(args);                                                                                          \
	}
LOGGER(tcmu_err_message, last_log)
LOGGER(tcmu_warn_message, last_warning)
LOGGER(tcmu_info_message, last_log)
LOGGER(tcmu_dbg_message, last_debug)

/* --- commands --- */

struct command {
	struct tcmur_cmd cmd;
	struct tcmulib_cmd lib;
	uint8_t cdb[16];
	struct iovec iov[2];
	sem_t sem;
	int status;
	bool inline_done; /* by handle_cmd */
};

static void completed(struct tcmu_device *dev, struct tcmur_cmd *cmd, int status)
{
	struct command *c = (struct command *)cmd;

	(void)dev;
	c->status = status;
	sem_post(&c->sem);
}

static inline void put_be(uint8_t *p, uint64_t v, unsigned int n)
{
	while (n--) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

/* The emulation of the runner for the commands that we send. */
static int emulate(struct tcmu_device *dev, struct command *c)
{
	uint64_t offset = tcmu_cdb_get_lba(c->cdb) * 512;
	size_t length = tcmu_iovec_length(c->lib.iovec, c->lib.iov_cnt);

	switch (c->cdb[0]) {
	case 0x28: /* READ (10), (12), (16) */
	case 0xa8:
	case 0x88:
		return registered->read(dev, &c->cmd, c->lib.iovec, c->lib.iov_cnt, length, (off_t)offset);
	case 0x2a: /* WRITE, WRITE AND VERIFY (10), (12), (16) */
	case 0xaa:
	case 0x8a:
	case 0x2e:
	case 0xae:
	case 0x8e:
		return registered->write(dev, &c->cmd, c->lib.iovec, c->lib.iov_cnt, length, (off_t)offset);
	case 0x35: /* SYNCHRONIZE CACHE (10), (16) */
	case 0x91:
		return registered->flush(dev, &c->cmd);
	case 0x42: /* UNMAP, of what the CDB says: the runner reads a list */
		return registered->unmap(dev, &c->cmd, be(c->cdb + 2, 4) * 512, be(c->cdb + 6, 3) * 512);
	case 0x41: /* WRITE SAME (10), (16) */
	case 0x93:
		return registered->writesame(dev, &c->cmd, offset, (uint64_t)tcmu_cdb_get_xfer_length(c->cdb) * 512,
					     c->lib.iovec, c->lib.iov_cnt);
	default:
		return TCMU_STS_INVALID_CMD;
	}
}

/* The data in two pieces of memory. */
static inline int send_iov(struct tcmu_device *dev, struct command *c, void *first, size_t first_length, void *second,
			   size_t second_length)
{
	int r;

	c->iov[0] = (struct iovec){first, first_length};
	c->iov[1] = (struct iovec){second, second_length};
	c->lib = (struct tcmulib_cmd){.cdb = c->cdb, .iovec = c->iov, .iov_cnt = 2};
	c->cmd.lib_cmd = &c->lib;
	c->cmd.done = NULL;
	r = registered->handle_cmd(dev, &c->cmd);
	c->inline_done = r != TCMU_STS_NOT_HANDLED;
	if (c->inline_done)
		return c->status = r;
	sem_init(&c->sem, 0, 0);
	c->cmd.done = completed;
	r = emulate(dev, c);
	if (r)
		return c->status = r;
	while (sem_wait(&c->sem))
		continue;
	return c->status;
}

static inline int send_cdb(struct tcmu_device *dev, struct command *c, void *data, size_t length)
{
	return send_iov(dev, c, data, length / 2, (char *)data + length / 2, length - length / 2);
}

#endif
