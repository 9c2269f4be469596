/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tcmu-runner 1.5.4 (as Debian packages it, x86_64) and a handler share, declared by us: no package has the
 * headers. The sizes and offsets asserted below were compared with the runner's own source and handlers.
 *
 * Nothing here is linked: the runner and its libtcmu.so.2 provide the functions when they load the
 * handler.
 */
#ifndef BOOTWELL_TCMUR_ABI_H
#define BOOTWELL_TCMUR_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

enum {
	TCMU_STS_ASYNC_HANDLED = -2,
	TCMU_STS_NOT_HANDLED = -1,
	TCMU_STS_OK = 0,
	TCMU_STS_NO_RESOURCE = 1,     /* TASK SET FULL */
	TCMU_STS_PASSTHROUGH_ERR = 2, /* the handler has set the sense data */
	TCMU_STS_BUSY = 3,
	TCMU_STS_WR_ERR = 4, /* MEDIUM ERROR, write error */
	TCMU_STS_RD_ERR = 5, /* MEDIUM ERROR, unrecovered read error */
	TCMU_STS_MISCOMPARE = 6,
	TCMU_STS_INVALID_CMD = 7,
	TCMU_STS_INVALID_CDB = 8,
	TCMU_STS_HW_ERR = 13,
	TCMU_STS_RANGE = 14,
};

struct tcmu_device;

struct tcmulib_cmd {
	uint16_t cmd_id;
	uint8_t *cdb;
	struct iovec *iovec;
	size_t iov_cnt;
	uint8_t sense_buf[96];
	void *hm_private;
};

struct tcmur_cmd {
	struct tcmulib_cmd *lib_cmd;
	struct iovec *iovec;
	size_t iov_cnt;
	void *iov_base_copy;
	void *cmd_state;
	size_t requested;
	void *list_entry[2];
	struct timespec start_time;
	bool timed_out;
	void (*done)(struct tcmu_device *dev, struct tcmur_cmd *cmd, int ret);
};

struct tcmulib_cfg_info; /* for reconfig(), which we refuse */

struct tcmur_handler {
	const char *name;
	const char *subtype;
	const char *cfg_desc;
	void *opaque;
	bool (*check_config)(const char *config, char **reason); /* *reason is free()d by the caller */
	int (*reconfig)(struct tcmu_device *dev, struct tcmulib_cfg_info *info);
	int (*open)(struct tcmu_device *dev, bool reopen);
	void (*close)(struct tcmu_device *dev);
	int nr_threads; /* 0: the callbacks run in the device's command thread and may queue */
	/* Synchronous: a TCMU_STS, NOT_HANDLED hands the command to the runner's emulation. */
	int (*handle_cmd)(struct tcmu_device *dev, struct tcmur_cmd *cmd);
	/* 0: queued, tcmur_cmd_complete() has been or will be called, by any thread; else the
	 * status. */
	int (*read)(struct tcmu_device *dev, struct tcmur_cmd *cmd, struct iovec *iov, size_t iov_cnt, size_t length,
		    off_t offset);
	int (*write)(struct tcmu_device *dev, struct tcmur_cmd *cmd, struct iovec *iov, size_t iov_cnt, size_t length,
		     off_t offset);
	int (*flush)(struct tcmu_device *dev, struct tcmur_cmd *cmd);
	int (*unmap)(struct tcmu_device *dev, struct tcmur_cmd *cmd, uint64_t offset, uint64_t length);
	int (*writesame)(struct tcmu_device *dev, struct tcmur_cmd *cmd, uint64_t offset, uint64_t length,
			 struct iovec *iov, size_t iov_cnt);
	int (*caw)(struct tcmu_device *dev, struct tcmur_cmd *cmd, uint64_t offset, uint64_t length, struct iovec *iov,
		   size_t iov_cnt);
	int (*report_event)(struct tcmu_device *dev);
	int (*lock)(struct tcmu_device *dev, uint16_t tag);
	int (*unlock)(struct tcmu_device *dev);
	int (*get_lock_tag)(struct tcmu_device *dev, uint16_t *tag);
	int (*get_lock_state)(struct tcmu_device *dev);
	bool _is_dbus_handler;
	bool (*update_logdir)(void);
	int (*init)(void);
	void (*destroy)(void);
};

#ifdef __x86_64__
_Static_assert(sizeof(struct tcmur_handler) == 200, "struct tcmur_handler");
_Static_assert(offsetof(struct tcmur_handler, nr_threads) == 64, "nr_threads");
_Static_assert(offsetof(struct tcmur_handler, handle_cmd) == 72, "handle_cmd");
_Static_assert(offsetof(struct tcmur_handler, unmap) == 104, "unmap");
_Static_assert(offsetof(struct tcmur_handler, report_event) == 128, "report_event");
_Static_assert(offsetof(struct tcmur_handler, _is_dbus_handler) == 168, "_is_dbus_handler");
_Static_assert(offsetof(struct tcmur_handler, destroy) == 192, "destroy");
_Static_assert(sizeof(struct tcmur_cmd) == 96, "struct tcmur_cmd");
_Static_assert(offsetof(struct tcmur_cmd, done) == 88, "done");
_Static_assert(sizeof(struct tcmulib_cmd) == 136, "struct tcmulib_cmd");
_Static_assert(offsetof(struct tcmulib_cmd, sense_buf) == 32, "sense_buf");
#endif

int tcmur_register_handler(struct tcmur_handler *handler);
void tcmur_cmd_complete(struct tcmu_device *dev, void *cmd, int status);
void *tcmur_dev_get_private(struct tcmu_device *dev);
void tcmur_dev_set_private(struct tcmu_device *dev, void *value);

char *tcmu_dev_get_cfgstring(struct tcmu_device *dev);
uint32_t tcmu_dev_get_block_size(struct tcmu_device *dev);
uint64_t tcmu_dev_get_num_lbas(struct tcmu_device *dev);
void tcmu_dev_set_unmap_gran_align(struct tcmu_device *dev, uint32_t length);
void tcmu_dev_set_opt_unmap_gran(struct tcmu_device *dev, uint32_t length, bool split);
void tcmu_dev_set_write_cache_enabled(struct tcmu_device *dev, bool enabled);
void tcmu_dev_set_solid_state_media(struct tcmu_device *dev, bool solid_state);
uint64_t tcmu_cdb_get_lba(uint8_t *cdb);
uint32_t tcmu_cdb_get_xfer_length(uint8_t *cdb);
size_t tcmu_iovec_length(struct iovec *iov, size_t iov_cnt);
int tcmu_sense_set_data(uint8_t *sense, uint8_t key, uint16_t asc_ascq);

__attribute__((format(printf, 4, 5))) void tcmu_err_message(struct tcmu_device *dev, const char *function, int line,
							    const char *format, ...);
__attribute__((format(printf, 4, 5))) void tcmu_warn_message(struct tcmu_device *dev, const char *function, int line,
							     const char *format, ...);
__attribute__((format(printf, 4, 5))) void tcmu_info_message(struct tcmu_device *dev, const char *function, int line,
							     const char *format, ...);
__attribute__((format(printf, 4, 5))) void tcmu_dbg_message(struct tcmu_device *dev, const char *function, int line,
							    const char *format, ...);

#endif
