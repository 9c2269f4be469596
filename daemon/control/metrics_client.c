// SPDX-License-Identifier: GPL-2.0-or-later
/* The metrics of each client: its boot from the daemon's memory, its disk from the handler and from the kernel. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/control/metrics_private.h"
#include "daemon/core/inet.h"
#include "daemon/target/disk_stats.h"

#define SHARES_MAX  4  /* threads that read counts */
#define SHARE_LEAST 32 /* clients that are worth a thread */

/* --- what memory knows ------------------------------------------------------------------------ */

static void take_one(struct metrics_client *to, const struct snapshot_client *v)
{
	const struct state_client *c = &v->rec;
	uint32_t a = c->address;

	snprintf(to->name, sizeof(to->name), "%s", c->name);
	snprintf(to->image, sizeof(to->image), "%s", v->image[0] ? v->image : v->choices ? v->choice[0] : "");
	snprintf(to->mac, sizeof(to->mac), "%s", inet_mac_text(c->mac).s);
	if (a)
		snprintf(to->address, sizeof(to->address), "%s", inet_text(a).s);
	snprintf(to->session, sizeof(to->session), "%s", v->session);
	to->state = v->state;
	to->boot = v->boot;
	to->has_target = v->has_target;
	snprintf(to->iqn, sizeof(to->iqn), "%s", v->iqn);
	snprintf(to->disk_id, sizeof(to->disk_id), "%s", v->disk);
}

static bool take(struct metrics_sample *s)
{
	s->client = calloc(s->snapshot->clients + 1, sizeof(*s->client));
	if (!s->client)
		return false;
	for (; s->clients < s->snapshot->clients; s->clients++)
		take_one(&s->client[s->clients], s->snapshot->client[s->clients]);
	return true;
}

static void write_info(struct metrics_sample *s)
{
	struct metrics_text *m = &s->text;
	char generation[16];

	metrics_family(m, "bootwell_client_info", "gauge",
		       "Always 1; the image is that of its disk, or what its next boot gets.");
	for (size_t i = 0; i < s->clients; i++) {
		const struct metrics_client *c = &s->client[i];

		snprintf(generation, sizeof(generation), "%u", c->has_target ? c->boot.generation : 0);
		metrics_count(m, 1, "client", c->name, "mac", c->mac, "address", c->address, "session", c->session,
			      "image", c->image, "generation", c->has_target && c->boot.generation ? generation : "",
			      "target", c->iqn, NULL);
	}
	metrics_family(m, "bootwell_client_state", "gauge", "Always 1; the state is in the label.");
	for (size_t i = 0; i < s->clients; i++)
		metrics_count(m, 1, "client", s->client[i].name, "state", boot_state_name(s->client[i].state), NULL);
	metrics_family(m, "bootwell_client_up", "gauge", "1 while the client is logged in to its disk.");
	for (size_t i = 0; i < s->clients; i++)
		metrics_count(m, s->client[i].state == BOOT_RUNNING, "client", s->client[i].name, NULL);
}

static void write_steps(struct metrics_sample *s)
{
	static const struct {
		const char *name;
		size_t offset;
	} steps[] = {
		{"dhcp", offsetof(struct state_boot, dhcp_ns)},
		{"tftp", offsetof(struct state_boot, tftp_ns)},
		{"ipxe", offsetof(struct state_boot, ipxe_ns)},
		{"script", offsetof(struct state_boot, script_ns)},
		{"ready", offsetof(struct state_boot, ready_ns)},
		{"login", offsetof(struct state_boot, login_ns)},
		{"first_read", offsetof(struct state_boot, first_read_ns)},
		{"settled", offsetof(struct state_boot, settled_ns)},
	};

	metrics_family(&s->text, "bootwell_client_last_boot_step_seconds", "gauge",
		       "Steps of the client's last boot, since its first DHCP packet.");
	for (size_t i = 0; i < s->clients; i++)
		for (unsigned int k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
			const struct state_boot *boot = &s->client[i].boot;
			uint64_t at;

			memcpy(&at, (const char *)boot + steps[k].offset, sizeof(at));
			if (at && boot->dhcp_ns && at >= boot->dhcp_ns)
				metrics_value(&s->text, (at - boot->dhcp_ns) / 1e9, "client", s->client[i].name, "step",
					      steps[k].name, NULL);
		}
}

/* One value a client, of a member of its boot; `unit` of them are one; only what has happened. */
static void write_boot(struct metrics_sample *s, const char *name, const char *help, size_t offset, double unit,
		       size_t when)
{
	metrics_family(&s->text, name, "gauge", help);
	for (size_t i = 0; i < s->clients; i++) {
		const char *boot = (const char *)&s->client[i].boot;
		uint64_t value, happened;

		memcpy(&value, boot + offset, sizeof(value));
		memcpy(&happened, boot + when, sizeof(happened));
		if (happened)
			metrics_value(&s->text, value / unit, "client", s->client[i].name, NULL);
	}
}

#define BOOT(member) offsetof(struct state_boot, member)

void metrics_clients_write(struct metrics_sample *s)
{
	if (!take(s)) {
		s->text.failed = true;
		return;
	}
	write_info(s);
	write_boot(s, "bootwell_client_last_boot_time_seconds", "When the client's last boot began, since 1970.",
		   BOOT(script_ns), 1e9, BOOT(script_ns));
	write_steps(s);
	write_boot(s, "bootwell_client_last_boot_idle_seconds",
		   "Time of its last boot, from the first read until it settled, in which it left its disk alone "
		   "for half a second or more.",
		   BOOT(idle_ns), 1e9, BOOT(settled_ns));
	write_boot(s, "bootwell_client_last_boot_idle_gaps", "How many times that were.", BOOT(idle_gaps), 1,
		   BOOT(settled_ns));
	write_boot(s, "bootwell_client_last_boot_longest_idle_seconds", "The longest of them.", BOOT(idle_longest_ns),
		   1e9, BOOT(settled_ns));
}

/* --- the handler's counters ------------------------------------------------------------------- */

static const char *const op_names[STATS_OPS] = {"read", "write", "flush", "unmap"};

/* One family of a u64 for each operation of each disk. */
static void write_ops(struct metrics_sample *s, const char *name, const char *help, size_t offset)
{
	metrics_family(&s->text, name, "counter", help);
	for (size_t i = 0; i < s->clients; i++) {
		uint64_t values[STATS_OPS];

		if (!s->client[i].has_disk)
			continue;
		memcpy(values, (const char *)&s->client[i].disk + offset, sizeof(values));
		for (unsigned int op = 0; op < STATS_OPS; op++)
			metrics_count(&s->text, values[op], "client", s->client[i].name, "op", op_names[op], NULL);
	}
}

static void write_number(struct metrics_sample *s, const char *name, const char *type, const char *help, size_t offset)
{
	metrics_family(&s->text, name, type, help);
	for (size_t i = 0; i < s->clients; i++) {
		uint64_t value;

		if (!s->client[i].has_disk)
			continue;
		memcpy(&value, (const char *)&s->client[i].disk + offset, sizeof(value));
		metrics_count(&s->text, value, "client", s->client[i].name, NULL);
	}
}

/*
 * Of the handler's 24 buckets every third: 4 us, 33 us, 262 us, 2 ms, 17 ms, 134 ms, 1 s and the
 * rest. Each client and operation would be 24 series otherwise, and 500 clients are scraped every
 * few seconds.
 */
#define BUCKET_STEP 3
_Static_assert(STATS_HISTOGRAM % BUCKET_STEP == 0, "the last bucket is the one without a bound");

static void write_buckets(struct metrics_text *m, const struct metrics_client *client, unsigned int op)
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
	metrics_suffix(m, "_sum", client->disk.latency_ns[op] / 1e9, "client", name, "op", op_name, NULL);
	metrics_suffix(m, "_count", sum, "client", name, "op", op_name, NULL);
}

static void write_histogram(struct metrics_sample *s)
{
	metrics_family(&s->text, "bootwell_disk_latency_seconds", "histogram",
		       "Time that a command took in the handler.");
	for (size_t i = 0; i < s->clients; i++)
		for (unsigned int op = 0; s->client[i].has_disk && op < STATS_OPS; op++)
			if (s->client[i].disk.ops[op])
				write_buckets(&s->text, &s->client[i], op);
}

#define DISK(member) offsetof(struct stats_disk, member)

static void write_disks(struct metrics_sample *s)
{
	write_ops(s, "bootwell_disk_commands_total", "Commands completed.", DISK(ops));
	write_ops(s, "bootwell_disk_bytes_total", "Bytes of these commands.", DISK(bytes));
	write_ops(s, "bootwell_disk_errors_total", "Commands that failed.", DISK(errors));
	write_histogram(s);
	write_number(s, "bootwell_disk_opens_total", "counter", "Times that the handler opened the disk.", DISK(opens));
	write_number(s, "bootwell_disk_base_hit_bytes_total", "counter", "Bytes read from the shared image cache.",
		     DISK(base_hit_bytes));
	write_number(s, "bootwell_disk_base_miss_bytes_total", "counter", "Bytes read from image files.",
		     DISK(base_miss_bytes));
	write_number(s, "bootwell_disk_overlay_read_bytes_total", "counter",
		     "Bytes read of what the client has written itself.", DISK(overlay_read_bytes));
	write_number(s, "bootwell_disk_overlay_bytes", "gauge", "Bytes that the client's own writes occupy.",
		     DISK(overlay_bytes));
	write_number(s, "bootwell_disk_store_write_bytes_total", "counter",
		     "Bytes written to the store for the client.", DISK(store_write_bytes));
	write_number(s, "bootwell_disk_map_bytes", "gauge", "Memory of the overlay's map.", DISK(map_bytes));
}

/* --- the kernel's ----------------------------------------------------------------------------- */

/* A family with one more label (NULL: none) that has a fixed value; several make up the family. */
struct part {
	const char *value;
	size_t offset;
};

static void write_parts(struct metrics_sample *s, const char *name, const char *type, const char *help,
			const char *label, const struct part *part, unsigned int parts)
{
	metrics_family(&s->text, name, type, help);
	for (size_t i = 0; i < s->clients; i++)
		for (unsigned int k = 0; s->client[i].has_counts && k < parts; k++) {
			uint64_t value;

			memcpy(&value, (const char *)&s->client[i].counts + part[k].offset, sizeof(value));
			metrics_count(&s->text, value, "client", s->client[i].name, label, part[k].value, NULL);
		}
}

#define PART(text, member)                                                                                             \
	{                                                                                                              \
		text, offsetof(struct target_counts, member)                                                           \
	}
#define PARTS(list) list, sizeof(list) / sizeof(list[0])

static void write_luns(struct metrics_sample *s, const char *name, const char *help, size_t offset)
{
	metrics_family(&s->text, name, "counter", help);
	for (size_t i = 0; i < s->clients; i++)
		for (unsigned int k = 0; s->client[i].has_counts && k < s->client[i].counts.luns; k++) {
			char lun[12];
			uint64_t value;

			snprintf(lun, sizeof(lun), "%u", k);
			memcpy(&value, (const char *)&s->client[i].counts.lun[k] + offset, sizeof(value));
			metrics_count(&s->text, value, "client", s->client[i].name, "lun", lun, NULL);
		}
}

static void write_kernel(struct metrics_sample *s)
{
	static const struct part none_sessions[] = {PART("", sessions)}, aborts[] = {PART("", aborts)},
				 resets[] = {PART("", resets)};
	static const struct part logins[] = {PART("accepted", logins), PART("authenticate", logins_authenticate),
					     PART("authorize", logins_authorize), PART("negotiate", logins_negotiate),
					     PART("other", logins_other)};
	static const struct part logouts[] = {PART("normal", logouts), PART("abnormal", logouts_abnormal)};
	static const struct part errors[] = {PART("digest", errors_digest), PART("connection", errors_connection),
					     PART("format", errors_format)};
	static const struct part pdus[] = {PART("received", session_commands), PART("sent", session_responses)};
	static const struct part bytes[] = {PART("received", session_received_bytes), PART("sent", session_sent_bytes)};

	write_parts(s, "bootwell_lio_sessions", "gauge", "iSCSI sessions that the kernel has with the client.", NULL,
		    PARTS(none_sessions));
	write_parts(s, "bootwell_lio_logins_total", "counter",
		    "Logins to the client's target since it was made, and refusals by reason.", "outcome",
		    PARTS(logins));
	write_parts(s, "bootwell_lio_logouts_total", "counter", "Sessions that ended.", "kind", PARTS(logouts));
	write_parts(s, "bootwell_lio_session_errors_total", "counter", "Sessions that failed, by reason.", "reason",
		    PARTS(errors));
	write_parts(s, "bootwell_lio_session_pdus_total", "counter",
		    "Command PDUs received and response PDUs sent in the session.", "direction", PARTS(pdus));
	write_parts(s, "bootwell_lio_session_bytes_total", "counter", "Bytes of data received and sent in the session.",
		    "direction", PARTS(bytes));
	write_luns(s, "bootwell_lio_lun_commands_total", "SCSI commands that the LUN received.",
		   offsetof(struct target_lun_counts, commands));
	write_luns(s, "bootwell_lio_lun_read_bytes_total", "Bytes read from the LUN; whole MiB.",
		   offsetof(struct target_lun_counts, read_bytes));
	write_luns(s, "bootwell_lio_lun_written_bytes_total", "Bytes written to the LUN; whole MiB.",
		   offsetof(struct target_lun_counts, written_bytes));
	write_parts(s, "bootwell_lio_device_aborts_total", "counter", "Commands of the backstore that were aborted.",
		    NULL, PARTS(aborts));
	write_parts(s, "bootwell_lio_device_resets_total", "counter", "Resets of the backstore.", NULL, PARTS(resets));
}

/* Thousands of small files, each opened for one number: the counts of a share of the clients. */
struct share {
	pthread_t thread;
	struct metrics_sample *sample;
	size_t first, step;
	bool running;
};

static void *read_share(void *arg)
{
	const struct share *share = arg;
	struct metrics_sample *s = share->sample;

	for (size_t i = share->first; i < s->clients; i += share->step) {
		struct metrics_client *c = &s->client[i];

		if (!c->has_target)
			continue;
		c->has_disk = !disk_stats_read(s->run, c->disk_id, &c->disk);
		c->has_counts = s->targets && !target_counts(s->targets, c->iqn, c->disk_id, &c->counts);
	}
	return NULL;
}

void metrics_clients_complete(struct metrics_sample *s)
{
	struct share share[SHARES_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t shares = s->clients / SHARE_LEAST;

	if (shares > SHARES_MAX)
		shares = SHARES_MAX;
	if (cpus > 0 && shares > (size_t)cpus)
		shares = (size_t)cpus;
	if (!shares)
		shares = 1;
	for (size_t i = 1; i < shares; i++) {
		share[i] = (struct share){.sample = s, .first = i, .step = shares};
		share[i].running = !pthread_create(&share[i].thread, NULL, read_share, &share[i]);
	}
	share[0] = (struct share){.sample = s, .first = 0, .step = shares};
	read_share(&share[0]);
	for (size_t i = 1; i < shares; i++)
		if (share[i].running)
			pthread_join(share[i].thread, NULL);
		else
			read_share(&share[i]);
	write_disks(s);
	write_kernel(s);
}

void metrics_sample_totals(const struct metrics_sample *s, struct metrics_totals *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < s->clients; i++) {
		ret->running += s->client[i].state == BOOT_RUNNING;
		ret->read_bytes += s->client[i].disk.bytes[STATS_READ];
		ret->written_bytes += s->client[i].disk.bytes[STATS_WRITE];
	}
}
