/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SCSI commands on a disk, before the runner's emulation sees them. handler.c uses it, and the fuzz harness. */
#ifndef BOOTWELL_SCSI_H
#define BOOTWELL_SCSI_H

#include "tcmu-handler/engine.h"
#include "tcmu-handler/tcmur_abi.h"

/*
 * Does the command, or not: TCMU_STS_NOT_HANDLED, then the runner emulates it. Any CDB (cdb: at least 16 bytes) and any
 * iovecs. VERIFY waits for the disk, everything else is answered from memory. Other values: TCMU_STS_*.
 */
int scsi_command(struct tcmu_device *dev, struct disk *disk, struct tcmulib_cmd *cmd);

/* Is what the command writes to be durable before it is done? */
bool scsi_wants_fua(const uint8_t *cdb);

/* "READ (10)"; "a command" if there is none such in the table. */
const char *scsi_name(uint8_t opcode);

/* The TCMU_STS_* of a request that ended with `error` (engine.h); it may set `sense`, 96 bytes. */
int scsi_status(enum disk_op op, int error, uint8_t *sense);

#endif
