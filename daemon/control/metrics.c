// SPDX-License-Identifier: GPL-2.0-or-later
/* The metrics of the server as a whole, and the life of a sample; those of each PC are in metrics_client.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/control/alerts.h"
#include "daemon/target/disk_stats.h"
#include "daemon/control/metrics_private.h"

static void write_subnets(struct daemon *d, struct metrics_text *m)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} row[] = {
		{"bootwell_dhcp_subnet_addresses", "Addresses of a subnet's ranges that can be given.",
		 offsetof(struct dhcp_subnet_stats, addresses)},
		{"bootwell_dhcp_subnet_leases", "Of these: leased.", offsetof(struct dhcp_subnet_stats, leases)},
		{"bootwell_dhcp_subnet_offers", "Of these: offered and not taken yet.",
		 offsetof(struct dhcp_subnet_stats, offers)},
		{"bootwell_dhcp_subnet_quarantined_addresses", "Of these: declined or found in use by others.",
		 offsetof(struct dhcp_subnet_stats, quarantined)},
	};
	struct dhcp_subnet_stats s;

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		metrics_family(m, row[i].name, "gauge", row[i].help);
		for (unsigned int n = 0; dhcp_server_subnet(d->dhcp, n, &s); n++)
			metrics_count(m, *(const uint64_t *)((const char *)&s + row[i].offset), "subnet", s.name, NULL);
	}
	metrics_family(m, "bootwell_dhcp_subnet_full", "gauge",
		       "1 when a PC asked in vain for an address within the last minutes.");
	for (unsigned int n = 0; dhcp_server_subnet(d->dhcp, n, &s); n++)
		metrics_count(m, s.full, "subnet", s.name, NULL);
	metrics_family(m, "bootwell_dhcp_peer_up", "gauge", "1 while the other server of a pair is heard.");
	if (dhcp_server_peer(d->dhcp) != DHCP_PEER_NONE)
		metrics_count(m, dhcp_server_peer(d->dhcp) == DHCP_PEER_ALIVE, NULL);
}

static void write_server(struct daemon *d, struct metrics_text *m)
{
	metrics_family(m, "bootwell_build_info", "gauge", "Always 1; the version is in the label.");
	metrics_count(m, 1, "version", BOOTWELL_VERSION, NULL);
	metrics_family(m, "bootwell_start_time_seconds", "gauge", "When bootwelld started, since 1970.");
	metrics_count(m, d->started, NULL);
	metrics_family(m, "bootwell_config_read_time_seconds", "gauge",
		       "When the configuration in use was read, since 1970.");
	metrics_count(m, d->config_read, NULL);
	metrics_family(m, "bootwell_state_writable", "gauge",
		       "0 while the disk of the state is full, read-only or does not answer.");
	metrics_count(m, keeper_writable(d->keeper), NULL);
	metrics_family(m, "bootwell_state_copy_time_seconds", "gauge",
		       "When the newest daily copy of the state was made, since 1970; 0: there is none.");
	metrics_count(m, keeper_copied(d->keeper), NULL);
	metrics_family(m, "bootwell_config_refused", "gauge",
		       "1 when a newer configuration has mistakes and the old one is still in use.");
	metrics_count(m, d->config_refused[0] != '\0', NULL);
}

static void write_http(struct daemon *d, struct metrics_text *m)
{
	struct gate_stats s = {};

	if (d->http)
		http_stats(d->http, &s);
	metrics_family(m, "bootwell_loop_gap_seconds", "gauge",
		       "Longest time of the last minute in which the loop answered no packet.");
	metrics_value(m, loop_longest_gap(d->loop) / 1e9, NULL);
	metrics_family(m, "bootwell_http_connections", "gauge", "Connections to the HTTP port.");
	metrics_count(m, s.open, NULL);
	metrics_family(m, "bootwell_http_accepted_total", "counter", "Connections that were accepted.");
	metrics_count(m, s.accepted, NULL);
	metrics_family(m, "bootwell_http_ended_total", "counter",
		       "Connections that were ended: too slow, or to make room for others.");
	metrics_count(m, s.ended_late, "reason", "slow", NULL);
	metrics_count(m, s.ended_crowd, "reason", "crowd", NULL);
}

static void write_access(struct daemon *d, struct metrics_text *m)
{
	struct access_stats s;

	access_stats(d->access, &s);
	metrics_family(m, "bootwell_access_wrong_tokens_total", "counter", "Tokens that are no operator's.");
	metrics_count(m, s.wrong, NULL);
	metrics_family(m, "bootwell_access_delayed_tokens_total", "counter",
		       "Tokens that were not looked at, because too many wrong ones came from that address.");
	metrics_count(m, s.delayed, NULL);
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
	metrics_family(m, "bootwell_dhcp_outcomes_total", "counter", "What became of the messages received.");
	for (unsigned int i = 0; i < DHCP_OUTCOMES; i++)
		metrics_count(m, s->outcome[i], "outcome", dhcp_outcome_name(i), NULL);
	metrics_family(m, "bootwell_dhcp_conflicts_total", "counter", "Addresses found in use by somebody else.");
	metrics_count(m, s->conflicts, NULL);
	metrics_family(m, "bootwell_dhcp_commits_total", "counter", "Transactions that made leases durable.");
	metrics_count(m, s->commits, NULL);
	metrics_family(m, "bootwell_dhcp_commit_seconds_total", "counter", "Time spent in these transactions.");
	metrics_value(m, s->commit_ns / 1e9, NULL);
	metrics_family(m, "bootwell_dhcp_leases", "gauge", "Leases that are bound.");
	metrics_count(m, s->leases, NULL);
	metrics_family(m, "bootwell_dhcp_quarantined_addresses", "gauge", "Addresses declined or found in use.");
	metrics_count(m, s->quarantined, NULL);
	metrics_family(m, "bootwell_dhcp_range_addresses", "gauge", "Addresses in all ranges.");
	metrics_count(m, s->addresses, NULL);
	write_subnets(d, m);
	metrics_family(m, "bootwell_dhcp_foreign_servers", "gauge", "Other DHCP servers that the last scan found.");
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
	struct tftp_link link;
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
	metrics_family(m, "bootwell_tftp_sent_bytes_total", "counter", "Bytes of data sent, by path.");
	for (unsigned int i = 0; i < TFTP_PATHS; i++)
		metrics_count(m, s->bytes[i], "path", tftp_path_name(i), NULL);
	metrics_family(m, "bootwell_tftp_path", "gauge",
		       "Who answers block reads at an interface: user space, tc or XDP program.");
	for (unsigned int i = 0; tftp_server_link(d->tftp, i, &link); i++)
		metrics_count(m, 1, "interface", link.interface, "path", link.path, NULL);
	metrics_family(m, "bootwell_tftp_retransmitted_blocks_total", "counter", "Blocks that user space sent again.");
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
	metrics_family(m, "bootwell_clients_registered_total", "counter", "Clients that registered by themselves.");
	metrics_count(m, s.registered, NULL);
	metrics_family(m, "bootwell_boot_scripts_total", "counter", "Boot scripts asked for.");
	metrics_count(m, s.scripts, NULL);
	metrics_family(m, "bootwell_boots_total", "counter", "Boots, by whether the disk was made ready.");
	metrics_count(m, s.boots, "outcome", "ready", NULL);
	metrics_count(m, s.failures, "outcome", "failed", NULL);
	metrics_family(m, "bootwell_boot_handoff_failures_total", "counter",
		       "Boot programs that were sent and that no script request followed.");
	metrics_count(m, s.handoff_failures, NULL);
	metrics_family(m, "bootwell_target_seconds_total", "counter", "Time spent making targets.");
	metrics_value(m, s.target_ns / 1e9, NULL);
	metrics_family(m, "bootwell_targets_waiting", "gauge", "Targets that are waiting to be made.");
	metrics_count(m, s.waiting, NULL);
}

static void write_store(const char *run, struct metrics_text *m)
{
	struct stats_store s;

	if (disk_stats_store(run, &s))
		return;
	metrics_family(m, "bootwell_store_size_bytes", "gauge", "Bytes of the write-back store that data may use.");
	metrics_count(m, s.size_bytes, NULL);
	metrics_family(m, "bootwell_store_used_bytes", "gauge", "Bytes of it that are used.");
	metrics_count(m, s.used_bytes, NULL);
	metrics_family(m, "bootwell_store_failed", "gauge", "1 after a failed fdatasync: nothing is written any more.");
	metrics_count(m, s.failed, NULL);
	metrics_family(m, "bootwell_store_flushes_total", "counter", "fdatasync calls.");
	metrics_count(m, s.flushes, NULL);
	metrics_family(m, "bootwell_store_flush_waiters_total", "counter", "FLUSH and FUA commands that they served.");
	metrics_count(m, s.flush_waiters, NULL);
	metrics_family(m, "bootwell_store_flush_seconds_total", "counter", "Time that they took.");
	metrics_value(m, s.flush_ns / 1e9, NULL);
	metrics_family(m, "bootwell_store_cleaned_bytes_total", "counter", "Bytes moved to free space.");
	metrics_count(m, s.cleaned_bytes, NULL);
	metrics_family(m, "bootwell_image_cache_bytes", "gauge", "Memory of the shared image cache.");
	metrics_count(m, s.cache_bytes, NULL);
	metrics_family(m, "bootwell_image_cache_limit_bytes", "gauge", "Most memory that it may take.");
	metrics_count(m, s.cache_limit_bytes, NULL);
	metrics_family(m, "bootwell_image_cache_hits_total", "counter", "Reads that the cache answered.");
	metrics_count(m, s.cache_hits, NULL);
	metrics_family(m, "bootwell_image_cache_misses_total", "counter", "Reads that went to an image file.");
	metrics_count(m, s.cache_misses, NULL);
	metrics_family(m, "bootwell_image_cache_evictions_total", "counter", "Blocks that made room for others.");
	metrics_count(m, s.cache_evictions, NULL);
}

/* --- images ----------------------------------------------------------------------------------- */

struct images {
	struct metrics_text *text;
	const struct image_looks *looks;
	enum { IMAGE_INFO, IMAGE_SIZE, IMAGE_FAILED, IMAGE_CHECKED, IMAGE_AWAY, IMAGE_NOT_READ } what;
};

/* What is true now says more than what the last verify met. */
static bool is(const struct images *i, const struct state_image *image, enum image_outcome outcome)
{
	enum image_outcome now = image_looks_find(i->looks, image->name, image->generation);
	bool missed = image->missed && image->missed_why == outcome;

	return now == outcome || (now == IMAGE_GOOD && missed && !(image->current && outcome == IMAGE_ABSENT));
}

static void write_image(void *arg, const struct state_image *image)
{
	const struct images *i = arg;
	char generation[16];

	snprintf(generation, sizeof(generation), "%u", image->generation);
	if (i->what == IMAGE_INFO && image->current)
		metrics_count(i->text, 1, "image", image->name, "generation", generation, "format", image->format,
			      NULL);
	if (i->what == IMAGE_SIZE && image->current)
		metrics_count(i->text, image->virtual_size, "image", image->name, NULL);
	if (i->what == IMAGE_FAILED && (image->current || image->checked))
		metrics_count(i->text, image->check_failed, "image", image->name, "generation", generation, NULL);
	if (i->what == IMAGE_CHECKED && image->checked)
		metrics_count(i->text, (uint64_t)image->checked, "image", image->name, "generation", generation, NULL);
	if (i->what == IMAGE_AWAY && (image->current || image->missed))
		metrics_count(i->text, is(i, image, IMAGE_ABSENT), "image", image->name, "generation", generation,
			      NULL);
	if (i->what == IMAGE_NOT_READ && (image->current || image->missed))
		metrics_count(i->text, is(i, image, IMAGE_UNREADABLE), "image", image->name, "generation", generation,
			      NULL);
}

static void write_images(const struct state_rows *rows, const struct image_looks *looks, struct metrics_text *m)
{
	struct images i = {.text = m, .looks = looks, .what = IMAGE_INFO};

	metrics_family(m, "bootwell_image_info", "gauge", "Always 1; the images that new boots get.");
	state_rows_each(rows, write_image, &i);
	metrics_family(m, "bootwell_image_size_bytes", "gauge", "Size of the disk that it holds.");
	i.what = IMAGE_SIZE;
	state_rows_each(rows, write_image, &i);
	metrics_family(m, "bootwell_image_check_failed", "gauge",
		       "1 when the last check found that the image does not hold what it held when it was made.");
	i.what = IMAGE_FAILED;
	state_rows_each(rows, write_image, &i);
	metrics_family(m, "bootwell_image_check_time_seconds", "gauge", "When the image was checked last, since 1970.");
	i.what = IMAGE_CHECKED;
	state_rows_each(rows, write_image, &i);
	metrics_family(m, "bootwell_image_absent", "gauge",
		       "1 while the file of the image is not there, which says nothing of what it holds.");
	i.what = IMAGE_AWAY;
	state_rows_each(rows, write_image, &i);
	metrics_family(m, "bootwell_image_unreadable", "gauge",
		       "1 while the file of the image cannot be read, which says nothing of what it holds.");
	i.what = IMAGE_NOT_READ;
	state_rows_each(rows, write_image, &i);
}

/* --- samples ---------------------------------------------------------------------------------- */

struct metrics_sample *metrics_sample_new(struct daemon *d, struct snapshot *snapshot,
					  const struct metrics_device *device, unsigned int devices, metrics_see_fn see,
					  void *see_arg)
{
	struct metrics_sample *s = calloc(1, sizeof(*s));
	struct metrics_text *m;

	if (!s)
		return NULL;
	m = &s->text;
	metrics_text_init(m);
	m->see = see;
	m->see_arg = see_arg;
	snprintf(s->run, sizeof(s->run), "%s", d->config->run_path);
	s->targets = d->targets;
	s->snapshot = snapshot_ref(snapshot);
	s->rows = state_rows(d->state);
	s->looks = image_watch_looks(d->image_watch);
	s->devices = devices < METRICS_DEVICES ? devices : METRICS_DEVICES;
	memcpy(s->device, device, s->devices * sizeof(*device));
	write_server(d, m);
	write_http(d, m);
	write_access(d, m);
	alerts_metrics(d->alerts, m);
	write_dhcp(d, m);
	write_tftp(d, m);
	write_boot(d, m);
	metrics_kernel_take(s, d);
	return s;
}

void metrics_sample_write(struct metrics_sample *s)
{
	metrics_clients_write(s);
}

void metrics_sample_complete(struct metrics_sample *s)
{
	if (s->rows)
		write_images(s->rows, s->looks, &s->text);
	write_store(s->run, &s->text);
	metrics_kernel_complete(s);
	metrics_clients_complete(s);
}

const struct metrics_text *metrics_sample_text(const struct metrics_sample *s)
{
	return &s->text;
}

void metrics_sample_free(struct metrics_sample *s)
{
	if (!s)
		return;
	metrics_text_done(&s->text);
	snapshot_unref(s->snapshot);
	image_looks_unref(s->looks);
	state_rows_unref(s->rows);
	free(s->client);
	free(s);
}
