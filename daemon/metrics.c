// SPDX-License-Identifier: GPL-2.0-or-later
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/disk_stats.h"
#include "daemon/metrics.h"

static void write_server(struct daemon *d, struct metrics_text *m)
{
	metrics_family(m, "bootwell_build_info", "gauge", "Always 1; the version is in the label.");
	metrics_count(m, 1, "version", BOOTWELL_VERSION, NULL);
	metrics_family(m, "bootwell_start_time_seconds", "gauge",
		       "When bootwelld started, since 1970.");
	metrics_count(m, d->started, NULL);
	metrics_family(m, "bootwell_config_read_time_seconds", "gauge",
		       "When the configuration in use was read, since 1970.");
	metrics_count(m, d->config_read, NULL);
	metrics_family(
		m, "bootwell_config_refused", "gauge",
		"1 when a newer configuration has mistakes and the old one is still in use.");
	metrics_count(m, d->config_refused[0] != '\0', NULL);
}

static void write_dhcp(struct daemon *d, struct metrics_text *m)
{
	const struct dhcp_stats *s = dhcp_server_stats(d->dhcp);

	metrics_family(m, "bootwell_dhcp_received_total", "counter", "DHCP messages received.");
	for (unsigned int i = 0; i < DHCP_STATS_TYPES; i++)
		if (s->received[i])
			metrics_count(m, s->received[i], "type", dhcp_message_name(i), NULL);
	metrics_family(m, "bootwell_dhcp_sent_total", "counter", "DHCP messages sent.");
	for (unsigned int i = 0; i < DHCP_STATS_TYPES; i++)
		if (s->sent[i])
			metrics_count(m, s->sent[i], "type", dhcp_message_name(i), NULL);
	metrics_family(m, "bootwell_dhcp_outcomes_total", "counter",
		       "What became of the messages received.");
	for (unsigned int i = 0; i < DHCP_OUTCOMES; i++)
		metrics_count(m, s->outcome[i], "outcome", dhcp_outcome_name(i), NULL);
	metrics_family(m, "bootwell_dhcp_conflicts_total", "counter",
		       "Addresses found in use by somebody else.");
	metrics_count(m, s->conflicts, NULL);
	metrics_family(m, "bootwell_dhcp_commits_total", "counter",
		       "Transactions that made leases durable.");
	metrics_count(m, s->commits, NULL);
	metrics_family(m, "bootwell_dhcp_commit_seconds_total", "counter",
		       "Time spent in these transactions.");
	metrics_value(m, s->commit_ns / 1e9, NULL);
	metrics_family(m, "bootwell_dhcp_leases", "gauge", "Leases that are bound.");
	metrics_count(m, s->leases, NULL);
	metrics_family(m, "bootwell_dhcp_quarantined_addresses", "gauge",
		       "Addresses declined or found in use.");
	metrics_count(m, s->quarantined, NULL);
	metrics_family(m, "bootwell_dhcp_range_addresses", "gauge", "Addresses in all ranges.");
	metrics_count(m, s->addresses, NULL);
	metrics_family(m, "bootwell_dhcp_foreign_servers", "gauge",
		       "Other DHCP servers that the last scan found.");
	metrics_count(m, d->rogues, NULL);
	metrics_family(m, "bootwell_dhcp_scan_time_seconds", "gauge",
		       "When other DHCP servers were looked for last, since 1970.");
	metrics_count(m, d->scanned, NULL);
}

static void write_tftp(struct daemon *d, struct metrics_text *m)
{
	const struct tftp_stats *s = tftp_server_stats(d->tftp);
	const struct {
		const char *outcome;
		uint64_t count;
	} ends[] = {{"completed", s->completed},
		    {"size_probe", s->probed},
		    {"aborted", s->aborted},
		    {"timed_out", s->timed_out}};
	char code[4];

	metrics_family(m, "bootwell_tftp_requests_total", "counter", "TFTP requests.");
	metrics_count(m, s->requests, NULL);
	metrics_family(m, "bootwell_tftp_transfers_total", "counter", "How TFTP transfers ended.");
	for (unsigned int i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		metrics_count(m, ends[i].count, "outcome", ends[i].outcome, NULL);
	metrics_family(m, "bootwell_tftp_errors_total", "counter", "TFTP errors sent, by code.");
	for (unsigned int i = 0; i < 9; i++) {
		snprintf(code, sizeof(code), "%u", i);
		metrics_count(m, s->errors[i], "code", code, NULL);
	}
	metrics_family(m, "bootwell_tftp_blocks_total", "counter",
		       "Data blocks sent, by path: user space, tc or XDP program.");
	for (unsigned int i = 0; i < TFTP_PATHS; i++)
		metrics_count(m, s->blocks[i], "path", tftp_path_name(i), NULL);
	metrics_family(m, "bootwell_tftp_sent_bytes_total", "counter",
		       "Bytes of data sent, by path.");
	for (unsigned int i = 0; i < TFTP_PATHS; i++)
		metrics_count(m, s->bytes[i], "path", tftp_path_name(i), NULL);
	metrics_family(m, "bootwell_tftp_retransmitted_blocks_total", "counter",
		       "Blocks that user space sent again.");
	metrics_count(m, s->retransmits, NULL);
	metrics_family(m, "bootwell_tftp_sessions", "gauge", "Transfers that are going on.");
	metrics_count(m, s->sessions, NULL);
}

static void write_boot(struct daemon *d, struct metrics_text *m)
{
	struct boot_stats s;

	boot_stats(d->boot, &s);
	metrics_family(m, "bootwell_clients", "gauge", "Clients, by state.");
	for (unsigned int i = 0; i < BOOT_STATES; i++)
		metrics_count(m, s.clients_by_state[i], "state", boot_state_name(i), NULL);
	metrics_family(m, "bootwell_clients_registered_total", "counter",
		       "Clients that registered by themselves.");
	metrics_count(m, s.registered, NULL);
	metrics_family(m, "bootwell_boot_scripts_total", "counter", "Boot scripts asked for.");
	metrics_count(m, s.scripts, NULL);
	metrics_family(m, "bootwell_boots_total", "counter",
		       "Boots, by whether the disk was made ready.");
	metrics_count(m, s.boots, "outcome", "ready", NULL);
	metrics_count(m, s.failures, "outcome", "failed", NULL);
	metrics_family(m, "bootwell_boot_handoff_failures_total", "counter",
		       "Boot programs that were sent and that no script request followed.");
	metrics_count(m, s.handoff_failures, NULL);
	metrics_family(m, "bootwell_target_seconds_total", "counter", "Time spent making targets.");
	metrics_value(m, s.target_ns / 1e9, NULL);
	metrics_family(m, "bootwell_targets_waiting", "gauge",
		       "Targets that are waiting to be made.");
	metrics_count(m, s.waiting, NULL);
}

/* --- clients ---------------------------------------------------------------------------------- */

struct client_metrics {
	char name[16], image[64];
	enum boot_state state;
	struct store_boot boot;
	bool has_disk;
	struct stats_disk disk;
};

struct collect {
	const char *run;
	struct client_metrics *client;
	size_t count, room;
};

static void collect_one(void *arg, const struct boot_view *v)
{
	struct collect *c = arg;
	struct client_metrics *at;

	if (c->count == c->room) {
		size_t room = c->room ? 2 * c->room : 64;
		struct client_metrics *more = reallocarray(c->client, room, sizeof(*more));

		if (!more)
			return;
		c->client = more;
		c->room = room;
	}
	at = &c->client[c->count++];
	memset(at, 0, sizeof(*at));
	snprintf(at->name, sizeof(at->name), "%s", v->client->name);
	snprintf(at->image, sizeof(at->image), "%s", v->image);
	at->state = v->state;
	at->boot = *v->boot;
	if (v->has_target)
		at->has_disk = !disk_stats_read(c->run, v->disk, &at->disk);
}

static const char *const op_names[STATS_OPS] = {"read", "write", "flush", "unmap"};

/* One family of a u64 for each operation of each disk. */
static void write_ops(struct metrics_text *m, const struct collect *c, const char *name,
		      const char *help, size_t offset)
{
	metrics_family(m, name, "counter", help);
	for (size_t i = 0; i < c->count; i++) {
		uint64_t values[STATS_OPS];

		if (!c->client[i].has_disk)
			continue;
		memcpy(values, (const char *)&c->client[i].disk + offset, sizeof(values));
		for (unsigned int op = 0; op < STATS_OPS; op++)
			metrics_count(m, values[op], "client", c->client[i].name, "op",
				      op_names[op], NULL);
	}
}

static void write_gauge(struct metrics_text *m, const struct collect *c, const char *name,
			const char *type, const char *help, size_t offset)
{
	metrics_family(m, name, type, help);
	for (size_t i = 0; i < c->count; i++) {
		uint64_t value;

		if (!c->client[i].has_disk)
			continue;
		memcpy(&value, (const char *)&c->client[i].disk + offset, sizeof(value));
		metrics_count(m, value, "client", c->client[i].name, NULL);
	}
}

/*
 * Of the handler's 24 buckets every third: 4 us, 33 us, 262 us, 2 ms, 17 ms, 134 ms, 1 s and the
 * rest. Each client and operation would be 24 series otherwise, and 500 clients are scraped every
 * few seconds.
 */
#define BUCKET_STEP 3

static void write_buckets(struct metrics_text *m, const struct client_metrics *client,
			  unsigned int op)
{
	const char *name = client->name, *op_name = op_names[op];
	uint64_t sum = 0;
	char le[32];

	for (unsigned int b = 0; b < STATS_HISTOGRAM; b++) {
		sum += client->disk.histogram[op][b];
		if (b % BUCKET_STEP != BUCKET_STEP - 1)
			continue;
		snprintf(le, sizeof(le), "%.9g", (double)(1ull << (b + 10)) / 1e9);
		metrics_suffix(m, "_bucket", sum, "client", name, "op", op_name, "le",
			       b + 1 < STATS_HISTOGRAM ? le : "+Inf", NULL);
	}
	metrics_suffix(m, "_sum", client->disk.latency_ns[op] / 1e9, "client", name, "op", op_name,
		       NULL);
	metrics_suffix(m, "_count", sum, "client", name, "op", op_name, NULL);
}
_Static_assert(STATS_HISTOGRAM % BUCKET_STEP == 0, "the last bucket is the one without a bound");

static void write_histogram(struct metrics_text *m, const struct collect *c)
{
	metrics_family(m, "bootwell_disk_latency_seconds", "histogram",
		       "Time that a command took in the handler.");
	for (size_t i = 0; i < c->count; i++)
		for (unsigned int op = 0; c->client[i].has_disk && op < STATS_OPS; op++)
			if (c->client[i].disk.ops[op])
				write_buckets(m, &c->client[i], op);
}

static void write_boot_steps(struct metrics_text *m, const struct collect *c)
{
	static const struct {
		const char *name;
		size_t offset;
	} steps[] = {
		{"tftp", offsetof(struct store_boot, tftp_ns)},
		{"ipxe", offsetof(struct store_boot, ipxe_ns)},
		{"script", offsetof(struct store_boot, script_ns)},
		{"ready", offsetof(struct store_boot, ready_ns)},
		{"login", offsetof(struct store_boot, login_ns)},
		{"first_read", offsetof(struct store_boot, first_read_ns)},
	};

	metrics_family(m, "bootwell_client_last_boot_step_seconds", "gauge",
		       "Steps of the client's last boot, since its first DHCP packet.");
	for (size_t i = 0; i < c->count; i++)
		for (unsigned int k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
			const struct store_boot *boot = &c->client[i].boot;
			uint64_t at;

			memcpy(&at, (const char *)boot + steps[k].offset, sizeof(at));
			if (at && boot->dhcp_ns && at >= boot->dhcp_ns)
				metrics_value(m, (at - boot->dhcp_ns) / 1e9, "client",
					      c->client[i].name, "step", steps[k].name, NULL);
		}
	metrics_family(m, "bootwell_client_last_boot_time_seconds", "gauge",
		       "When the client's last boot began, since 1970.");
	for (size_t i = 0; i < c->count; i++)
		if (c->client[i].boot.script_ns)
			metrics_value(m, c->client[i].boot.script_ns / 1e9, "client",
				      c->client[i].name, NULL);
}

#define DISK(member) offsetof(struct stats_disk, member)

static void write_clients(struct daemon *d, struct metrics_text *m)
{
	struct collect c = {.run = d->config->run_path};

	boot_each(d->boot, collect_one, &c);
	metrics_family(m, "bootwell_client_up", "gauge",
		       "1 while the client is logged in to its disk.");
	for (size_t i = 0; i < c.count; i++)
		metrics_count(m, c.client[i].state == BOOT_RUNNING, "client", c.client[i].name,
			      NULL);
	write_boot_steps(m, &c);
	write_ops(m, &c, "bootwell_disk_commands_total", "Commands completed.", DISK(ops));
	write_ops(m, &c, "bootwell_disk_bytes_total", "Bytes of these commands.", DISK(bytes));
	write_ops(m, &c, "bootwell_disk_errors_total", "Commands that failed.", DISK(errors));
	write_histogram(m, &c);
	write_gauge(m, &c, "bootwell_disk_opens_total", "counter",
		    "Times that the handler opened the disk.", DISK(opens));
	write_gauge(m, &c, "bootwell_disk_base_hit_bytes_total", "counter",
		    "Bytes read from the shared image cache.", DISK(base_hit_bytes));
	write_gauge(m, &c, "bootwell_disk_base_miss_bytes_total", "counter",
		    "Bytes read from image files.", DISK(base_miss_bytes));
	write_gauge(m, &c, "bootwell_disk_overlay_bytes", "gauge",
		    "Bytes that the client's own writes occupy.", DISK(overlay_bytes));
	write_gauge(m, &c, "bootwell_disk_store_write_bytes_total", "counter",
		    "Bytes written to the store for the client.", DISK(store_write_bytes));
	write_gauge(m, &c, "bootwell_disk_map_bytes", "gauge", "Memory of the overlay's map.",
		    DISK(map_bytes));
	free(c.client);
}

static void write_store(struct daemon *d, struct metrics_text *m)
{
	struct stats_store s;

	if (disk_stats_store(d->config->run_path, &s))
		return;
	metrics_family(m, "bootwell_store_size_bytes", "gauge",
		       "Bytes of the write-back store that data may use.");
	metrics_count(m, s.size_bytes, NULL);
	metrics_family(m, "bootwell_store_used_bytes", "gauge", "Bytes of it that are used.");
	metrics_count(m, s.used_bytes, NULL);
	metrics_family(m, "bootwell_store_failed", "gauge",
		       "1 after a failed fdatasync: nothing is written any more.");
	metrics_count(m, s.failed, NULL);
	metrics_family(m, "bootwell_store_flushes_total", "counter", "fdatasync calls.");
	metrics_count(m, s.flushes, NULL);
	metrics_family(m, "bootwell_store_flush_waiters_total", "counter",
		       "FLUSH and FUA commands that they served.");
	metrics_count(m, s.flush_waiters, NULL);
	metrics_family(m, "bootwell_store_flush_seconds_total", "counter", "Time that they took.");
	metrics_value(m, s.flush_ns / 1e9, NULL);
	metrics_family(m, "bootwell_store_cleaned_bytes_total", "counter",
		       "Bytes moved to free space.");
	metrics_count(m, s.cleaned_bytes, NULL);
	metrics_family(m, "bootwell_image_cache_bytes", "gauge",
		       "Memory of the shared image cache.");
	metrics_count(m, s.cache_bytes, NULL);
	metrics_family(m, "bootwell_image_cache_limit_bytes", "gauge",
		       "Most memory that it may take.");
	metrics_count(m, s.cache_limit_bytes, NULL);
	metrics_family(m, "bootwell_image_cache_hits_total", "counter",
		       "Reads that the cache answered.");
	metrics_count(m, s.cache_hits, NULL);
	metrics_family(m, "bootwell_image_cache_misses_total", "counter",
		       "Reads that went to an image file.");
	metrics_count(m, s.cache_misses, NULL);
	metrics_family(m, "bootwell_image_cache_evictions_total", "counter",
		       "Blocks that made room for others.");
	metrics_count(m, s.cache_evictions, NULL);
}

static void count_image(void *arg, const struct store_image *image)
{
	struct metrics_text *m = arg;
	char generation[16];

	if (!image->current)
		return;
	snprintf(generation, sizeof(generation), "%u", image->generation);
	metrics_count(m, 1, "image", image->name, "generation", generation, "format", image->format,
		      NULL);
}

static void count_check(void *arg, const struct store_image *image)
{
	struct metrics_text *m = arg;
	char generation[16];

	if (!image->current && !image->checked)
		return;
	snprintf(generation, sizeof(generation), "%u", image->generation);
	metrics_count(m, image->check_failed, "image", image->name, "generation", generation, NULL);
}

static void count_check_time(void *arg, const struct store_image *image)
{
	struct metrics_text *m = arg;
	char generation[16];

	if (!image->checked)
		return;
	snprintf(generation, sizeof(generation), "%u", image->generation);
	metrics_count(m, (uint64_t)image->checked, "image", image->name, "generation", generation, NULL);
}

void metrics_write(struct daemon *d, struct metrics_text *m)
{
	write_server(d, m);
	write_dhcp(d, m);
	write_tftp(d, m);
	write_boot(d, m);
	write_store(d, m);
	metrics_family(m, "bootwell_image_info", "gauge",
		       "Always 1; the images that new boots get.");
	store_image_each(d->store, count_image, m);
	metrics_family(m, "bootwell_image_check_failed", "gauge",
		       "1 when the last check found that the image does not hold what it held when it was made.");
	store_image_each(d->store, count_check, m);
	metrics_family(m, "bootwell_image_check_time_seconds", "gauge", "When the image was checked last, since 1970.");
	store_image_each(d->store, count_check_time, m);
	write_clients(d, m);
}
