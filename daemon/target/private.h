/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What target.c and target/stats.c share. */
#ifndef BOOTWELL_TARGET_PRIVATE_H
#define BOOTWELL_TARGET_PRIVATE_H

#include "daemon/target/configfs.h"
#include "daemon/target/target.h"

#define TARGET_HBA "core/user_0"

const struct configfs *targets_configfs(const struct targets *targets);

#endif
