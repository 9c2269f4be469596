// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel's counts that belong to no client: interfaces, block devices, BPF programs. */
#include <stdio.h>
#include <string.h>

#include "daemon/control/metrics_private.h"

/* --- interfaces ------------------------------------------------------------------------------- */

static void take_links(struct metrics_sample *s, const struct config *config)
{
	for (size_t i = 0; i < config->subnets && s->links < METRICS_LINKS; i++) {
		const char *name = config->subnet[i].interface;
		bool known = !*name;

		for (unsigned int k = 0; k < s->links; k++)
			known |= !strcmp(s->link[k], name);
		if (!known)
			snprintf(s->link[s->links++], sizeof(s->link[0]), "%s", name);
	}
}

struct member {
	const char *name, *type, *help;
	size_t offset;
	double unit;
};

#define LINK(name, type, help, member)                                                                                 \
	{                                                                                                              \
		name, type, help, offsetof(struct kernel_link, member), 1                                              \
	}
static const struct member link_members[] = {
	LINK("bootwell_network_receive_bytes_total", "counter", "Bytes that the interface received.", rx_bytes),
	LINK("bootwell_network_receive_packets_total", "counter", "Packets that it received.", rx_packets),
	LINK("bootwell_network_receive_errors_total", "counter", "Receive errors.", rx_errors),
	LINK("bootwell_network_receive_drops_total", "counter", "Received packets that were dropped.", rx_dropped),
	LINK("bootwell_network_transmit_bytes_total", "counter", "Bytes that the interface sent.", tx_bytes),
	LINK("bootwell_network_transmit_packets_total", "counter", "Packets that it sent.", tx_packets),
	LINK("bootwell_network_transmit_errors_total", "counter", "Transmit errors.", tx_errors),
	LINK("bootwell_network_transmit_drops_total", "counter", "Packets to be sent that were dropped.", tx_dropped),
	LINK("bootwell_network_carrier", "gauge", "1 while the interface has a link.", carrier),
	{"bootwell_network_speed_bytes", "gauge", "Bytes a second that the link can carry, 0 when that is not known.",
	 offsetof(struct kernel_link, speed), 8},
};
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* Families of one value a thing, from members of the structures at `data`, `size` bytes each. */
static void write_members(struct metrics_text *m, const struct member *member, size_t members, const char *label,
			  const char *const *name, const void *data, size_t size, unsigned int things)
{
	for (size_t k = 0; k < members; k++) {
		metrics_family(m, member[k].name, member[k].type, member[k].help);
		for (unsigned int i = 0; i < things; i++) {
			uint64_t value;

			memcpy(&value, (const char *)data + i * size + member[k].offset, sizeof(value));
			metrics_value(m, value / member[k].unit, label, name[i], NULL);
		}
	}
}

static void write_links(struct metrics_sample *s)
{
	struct kernel_link counts[METRICS_LINKS];
	const char *name[METRICS_LINKS];
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->links; i++)
		if (!kernel_link_read("/sys", s->link[i], &counts[n]))
			name[n++] = s->link[i];
	write_members(&s->text, link_members, COUNT(link_members), "interface", name, counts, sizeof(counts[0]), n);
}

/* --- block devices ---------------------------------------------------------------------------- */

#define BLOCK(name, type, help, member, unit)                                                                          \
	{                                                                                                              \
		name, type, help, offsetof(struct kernel_block, member), unit                                          \
	}
static const struct member block_members[] = {
	BLOCK("bootwell_block_reads_total", "counter", "Reads that the device completed.", reads, 1),
	BLOCK("bootwell_block_read_bytes_total", "counter", "Bytes of them.", read_bytes, 1),
	BLOCK("bootwell_block_read_seconds_total", "counter", "Time that they took.", read_ms, 1e3),
	BLOCK("bootwell_block_writes_total", "counter", "Writes that the device completed.", writes, 1),
	BLOCK("bootwell_block_written_bytes_total", "counter", "Bytes of them.", written_bytes, 1),
	BLOCK("bootwell_block_write_seconds_total", "counter", "Time that they took.", write_ms, 1e3),
	BLOCK("bootwell_block_flushes_total", "counter", "Flushes that the device completed.", flushes, 1),
	BLOCK("bootwell_block_flush_seconds_total", "counter", "Time that they took.", flush_ms, 1e3),
	BLOCK("bootwell_block_in_flight", "gauge", "Commands that the device has now.", in_flight, 1),
	BLOCK("bootwell_block_busy_seconds_total", "counter", "Time in which the device had commands.", busy_ms, 1e3),
};

static void write_blocks(struct metrics_sample *s)
{
	struct kernel_block counts[METRICS_DEVICES];
	const char *name[METRICS_DEVICES];
	unsigned int n = 0;

	metrics_family(&s->text, "bootwell_block_info", "gauge",
		       "Always 1; the block devices that state, store and images lie on.");
	for (unsigned int i = 0; i < s->devices; i++)
		metrics_count(&s->text, 1, "device", s->device[i].name, "holds", s->device[i].holds, NULL);
	for (unsigned int i = 0; i < s->devices; i++)
		if (!kernel_block_read("/sys", s->device[i].name, &counts[n]))
			name[n++] = s->device[i].name;
	write_members(&s->text, block_members, COUNT(block_members), "device", name, counts, sizeof(counts[0]), n);
}

/* --- BPF -------------------------------------------------------------------------------------- */

static void write_programs(struct metrics_sample *s, struct daemon *d)
{
	static const enum tftp_path paths[] = {TFTP_PATH_TC, TFTP_PATH_XDP};
	static const struct member members[] = {
		{"bootwell_bpf_runs_total", "counter", "Times that the kernel ran the program.",
		 offsetof(struct kernel_bpf, runs), 1},
		{"bootwell_bpf_run_seconds_total", "counter", "Time that these runs took.",
		 offsetof(struct kernel_bpf, run_ns), 1e9},
	};
	struct kernel_bpf counts[COUNT(paths)];
	const char *name[COUNT(paths)];
	unsigned int n = 0;

	for (unsigned int i = 0; i < COUNT(paths); i++) {
		int fd = tftp_server_program(d->tftp, paths[i]);

		if (fd >= 0 && !kernel_bpf_read(fd, &counts[n]))
			name[n++] = tftp_path_name(paths[i]);
	}
	metrics_family(&s->text, "bootwell_bpf_counting", "gauge",
		       "1 while the kernel counts runs of BPF programs (sysctl kernel.bpf_stats_enabled).");
	metrics_count(&s->text, d->bpf_counting >= 0 || kernel_bpf_counts("/proc"), NULL);
	write_members(&s->text, members, COUNT(members), "program", name, counts, sizeof(counts[0]), n);
}

void metrics_kernel_take(struct metrics_sample *s, struct daemon *d)
{
	take_links(s, d->config);
	write_programs(s, d);
}

void metrics_kernel_complete(struct metrics_sample *s)
{
	write_links(s);
	write_blocks(s);
}
