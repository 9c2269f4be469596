/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of metrics share. */
#ifndef BOOTWELL_METRICS_PRIVATE_H
#define BOOTWELL_METRICS_PRIVATE_H

#include "daemon/control/kernel_stats.h"
#include "daemon/control/metrics.h"
#include "daemon/state/rows.h"
#include "daemon/target/target.h"
#include "tcmu-handler/stats.h"

#define METRICS_LINKS    16
#define METRICS_PROGRAMS 2

struct metrics_client {
	char name[16], image[64], running_image[64];
	char address[16], session[64], mac[18];
	enum boot_state state;
	struct state_boot boot;
	bool has_target;
	char iqn[TARGET_NAME_MAX], disk_id[TARGET_ID_MAX];
	/* read by metrics_sample_complete() */
	bool has_disk, has_counts;
	struct stats_disk disk;
	struct target_counts counts;
};

struct metrics_program {
	char name[16];
	struct kernel_bpf counts;
};

struct metrics_sample {
	struct metrics_text text;
	char run[256];
	struct targets *targets; /* NULL: off */
	struct snapshot *snapshot;
	struct state_rows *rows; /* NULL: they cannot be read */
	struct image_looks *looks;
	struct metrics_client *client;
	size_t clients;
	char link[METRICS_LINKS][16]; /* interfaces that we serve on */
	unsigned int links;
	struct metrics_device device[METRICS_DEVICES];
	unsigned int devices;
};

/* metrics_client.c: any thread, what the snapshot has. */
void metrics_clients_write(struct metrics_sample *s);
/* Any thread: reads and writes the rest. */
void metrics_clients_complete(struct metrics_sample *s);

/* metrics_kernel.c */
void metrics_kernel_take(struct metrics_sample *s, struct daemon *d); /* loop's thread; writes the programs */
void metrics_kernel_complete(struct metrics_sample *s);

#endif
