/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages are decided one by one as they arrive; what they change in the table of leases is true at once, but an ACK
 * is a promise, so it leaves only after its lease is on the disk. Answers gather in queues:
 *
 *	plain		OFFERs and NAKs: leave at the end of the loop's round
 *	filling		changed leases with their ACKs, until the commit before is done
 *	committing	in the hands of a helper thread, which has a connection to the store of its own and writes them
 *			in one transaction; then their ACKs leave, and what has gathered meanwhile is next
 *
 * So one fsync serves everybody who asked while the one before ran: the busier the server, the larger the batch, and
 * OFFERs never wait for the disk. PCs that are seen for the first time are registered on the loop's thread, also in one
 * transaction for the batch, before their leases go to the helper. A commit that fails takes the promises back: no ACK,
 * the addresses stay offered, and who had a lease has it as long as he was told before.
 *
 * Where there is a pair, an ACK waits in one more queue until the other server knows its lease, too: dhcp/peer.h.
 */
#include "daemon/core/clock.h"
#include "daemon/dhcp/private.h"
#include "daemon/dhcp/whose.h"
#include "tcmu-handler/image/bytes.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COMMIT_IDLE, COMMIT_QUEUED, COMMIT_RUNNING, COMMIT_OVER };

struct dhcp_commit {
	struct dhcp_server *server; /* NULL: it is gone, the last one out frees this */
	struct state *state;        /* the helper's own connection */
	struct dhcp_queue filling, committing;
	struct dhcp_queue waiting; /* for the other server; its room is made when it is first needed */
	_Atomic int phase;
	bool delivered; /* done() is still to come back from the pool */
	int result;
	uint64_t ns;
};

void dhcp_stamp_as(struct dhcp_server *server, struct lease *lease, bool alone)
{
	server->seq = (server->seq | 1) + 1 + alone;
	lease->version[dhcp_role(server)] = server->seq;
}

void dhcp_stamp(struct dhcp_server *server, struct lease *lease)
{
	dhcp_stamp_as(server, lease, !server->sink.alone || server->sink.alone(server->sink.arg));
}

/* The two clocks are set against each other at the moment of each record, so that a clock that is set counts at once.
 */
void dhcp_record(const struct dhcp_server *server, struct dhcp_answer *answer, const struct lease *lease)
{
	struct state_lease *r = &answer->record;

	r->address = lease->address;
	r->state = lease->state == LEASE_BOUND         ? STATE_LEASE_BOUND
		   : lease->state == LEASE_QUARANTINED ? STATE_LEASE_DECLINED
						       : STATE_LEASE_FREE;
	memcpy(r->mac, lease->client.mac, sizeof(r->mac));
	r->id_length = lease->client.id_length;
	memcpy(r->id, lease->client.id, sizeof(r->id));
	r->updated = clock_realtime_s();
	r->expires = lease->expires == LEASE_FOREVER ? LEASE_FOREVER
		     : lease->expires                ? r->updated + lease->expires - dhcp_now(server)
						     : r->updated;
	r->left = lease->expires == LEASE_FOREVER ? LEASE_FOREVER : r->expires - r->updated;
	memcpy(r->boot, server->boot_id, sizeof(r->boot));
	r->boot_s = (int64_t)(clock_boottime_ns() / CLOCK_NS);
	memcpy(r->version, lease->version, sizeof(r->version));
	answer->expires = lease->expires;
}

/* --- one transaction ---------------------------------------------------------------------------------------------- */
/* On the helper's thread, or on the loop's while the helper is idle. */
static int write_leases(struct dhcp_commit *commit)
{
	int r = state_begin(commit->state);

	if (r < 0)
		return r;
	for (size_t i = 0; i < commit->committing.count && !r; i++)
		if (commit->committing.answer[i].record.address)
			r = state_lease_put(commit->state, &commit->committing.answer[i].record);
	if (!r)
		return state_commit(commit->state);
	state_rollback(commit->state);
	return r;
}

static int commit_work(void *arg)
{
	struct dhcp_commit *commit = arg;
	int queued = COMMIT_QUEUED;
	uint64_t begin = clock_monotonic_ns();

	if (!atomic_compare_exchange_strong(&commit->phase, &queued, COMMIT_RUNNING))
		return -ECANCELED; /* dhcp_batch_drain() did it itself */
	commit->result = write_leases(commit);
	commit->ns = clock_monotonic_ns() - begin;
	atomic_store(&commit->phase, COMMIT_OVER);
	return 0;
}

/* The lease that an ACK is about, if it is still as the ACK says. */
static struct lease *acknowledged(const struct dhcp_server *server, const struct dhcp_answer *answer)
{
	struct lease *lease = answer->record.address ? lease_by_address(server->leases, answer->record.address) : NULL;
	const struct state_lease *r = &answer->record;

	if (answer->type != DHCP_ACK || !lease || lease->state != LEASE_BOUND)
		return NULL;
	return whose_is_his_card(lease, r) ? lease : NULL;
}

/* An option of four bytes in a message that we made, to be `most` at most; false: it is not there. */
static bool lower_option(struct dhcp_answer *answer, uint8_t code, uint32_t most)
{
	for (size_t at = DHCP_HEADER; at + 6 <= answer->length && answer->data[at] != DHCP_OPT_END;
	     at += answer->data[at] ? 2u + answer->data[at + 1] : 1u) {
		if (answer->data[at] != code || answer->data[at + 1] != 4)
			continue;
		if (be32_at(answer->data + at + 2) > most)
			be32_put(answer->data + at + 2, most);
		return true;
	}
	return false;
}

/*
 * How long an ACK may last that nothing could be written for. What was promised before is on the disk: the PC gets the
 * rest of that. A new one that boots gets its address for as long as the offer of it stands in memory, only to be told
 * on its screen why it gets no disk. If we start again meanwhile, it is found by the probe; without probes, or where a
 * second server gives addresses too, it gets nothing.
 */
static int64_t may_last(const struct dhcp_server *server, const struct dhcp_answer *answer, const struct lease *lease,
			int64_t now)
{
	if (!lease)
		return 0;
	if (lease->promised > now)
		return lease->promised == LEASE_FOREVER ? UINT32_MAX : lease->promised - now;
	if (!server->prober || server->sink.lease || !(answer->who.pxe || answer->who.ipxe))
		return 0;
	return LEASE_OFFER_TIME;
}

static void take_back(struct dhcp_server *server, struct dhcp_answer *answer)
{
	struct lease *lease = acknowledged(server, answer);
	int64_t now = dhcp_now(server), left = may_last(server, answer, lease, now);
	uint32_t time = left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;

	if (!answer->record.address) /* it says again what is on the disk, or was taken back already */
		return;
	if (lease && lease->promised > now)
		lease_set(server->leases, lease, LEASE_BOUND, NULL, lease->promised);
	else if (lease)
		lease_set(server->leases, lease, LEASE_OFFERED, NULL, now + LEASE_OFFER_TIME);
	server->state_failed = now;
	server->stats.outcome[DHCP_OUTCOME_STORE_FAILED]++;
	answer->record.address = 0;
	if (left < LEASE_OFFER_TIME || !lower_option(answer, DHCP_OPT_LEASE_TIME, time)) {
		answer->type = 0;
		return;
	}
	lower_option(answer, DHCP_OPT_RENEWAL, time / 2);
	lower_option(answer, DHCP_OPT_REBINDING, (uint32_t)(time * 7ull / 8));
	if (lease->state == LEASE_OFFERED)
		boot_not_noted(server->boot, &answer->who);
}

/* An ACK leaves. */
static void promise(struct dhcp_server *server, const struct dhcp_answer *answer)
{
	struct lease *lease = acknowledged(server, answer);

	if (lease)
		lease->promised = answer->record.expires == LEASE_FOREVER ? LEASE_FOREVER : answer->expires;
	dhcp_tell_answered(server, answer->xid, answer->chaddr);
}

/* --- those that wait for the other server of a pair --------------------------------------------------------------- */
static void wait_for_other(struct dhcp_commit *commit, struct dhcp_answer *answer, uint64_t position)
{
	struct dhcp_queue *queue = &commit->waiting;

	if (!queue->room) {
		queue->answer = calloc(DHCP_UNCONFIRMED, sizeof(*queue->answer));
		queue->room = queue->answer ? DHCP_UNCONFIRMED : 0;
	}
	if (queue->room && queue->count == queue->room)
		memmove(queue->answer, queue->answer + 1, --queue->count * sizeof(*queue->answer));
	if (queue->room) {
		queue->answer[queue->count] = *answer;
		queue->answer[queue->count++].position = position;
	}
	answer->type = 0; /* of the copy that would leave now */
}

void dhcp_batch_confirmed(struct dhcp_server *server, uint64_t position)
{
	struct dhcp_queue *queue = &server->commit->waiting;
	size_t left = 0;

	for (size_t i = 0; i < queue->count; i++) {
		struct dhcp_answer *answer = &queue->answer[i];

		if (answer->position > position) {
			if (left != i)
				queue->answer[left] = *answer;
			left++;
		} else if (acknowledged(server, answer)) {
			promise(server, answer);
			*dhcp_answer_new(server, false) = *answer;
		}
	}
	queue->count = left;
}

void dhcp_batch_unconfirmed(struct dhcp_server *server)
{
	server->commit->waiting.count = 0;
}

void dhcp_batch_wait_for(struct dhcp_server *server, uint64_t position)
{
	for (size_t i = 0; i < server->commit->waiting.count; i++)
		server->commit->waiting.answer[i].position = position;
}

/* It is on the disk. */
static void keep(struct dhcp_server *server, struct dhcp_answer *answer)
{
	uint64_t position;

	if (!answer->record.address)
		return; /* said before, and promised then */
	server->state_failed = 0;
	position = server->sink.lease && !answer->foreign ? server->sink.lease(server->sink.arg, &answer->record) : 0;
	if (answer->type == DHCP_ACK && position)
		wait_for_other(server->commit, answer, position);
	else if (answer->type == DHCP_ACK)
		promise(server, answer);
}

static void flush_sink(struct dhcp_server *server)
{
	if (server->sink.flush)
		server->sink.flush(server->sink.arg);
}

/* The transaction is over: the ACKs leave, or are taken back. */
static void finish(struct dhcp_commit *commit)
{
	struct dhcp_server *server = commit->server;
	unsigned int theirs = 0;

	server->stats.commits++;
	server->stats.commit_ns += commit->ns;
	if (commit->result < 0) {
		log_limited(
			3, LOG_LEVEL_ERROR,
			"DHCP: leases cannot be written to %s: %s; who has one keeps it, new PCs get none until they "
			"can: look for a full or broken disk",
			state_file(commit->state), state_error(commit->state));
		for (size_t i = 0; i < commit->committing.count; i++)
			take_back(server, &commit->committing.answer[i]);
	}
	for (size_t i = 0; commit->result >= 0 && i < commit->committing.count; i++)
		keep(server, &commit->committing.answer[i]);
	for (size_t i = 0; i < commit->committing.count; i++)
		theirs += commit->committing.answer[i].theirs;
	if (theirs && server->sink.theirs)
		server->sink.theirs(server->sink.arg, theirs);
	flush_sink(server);
	dhcp_send_queue(server, &commit->committing);
	atomic_store(&commit->phase, COMMIT_IDLE);
}

/* --- registering new PCs ------------------------------------------------------------------------------------------ */
static void register_clients(struct dhcp_server *server, struct dhcp_queue *queue)
{
	int r = state_begin_lazy(server->state), error = r;

	for (size_t i = 0; i < queue->count; i++) {
		struct dhcp_answer *answer = &queue->answer[i];

		if (!answer->registers)
			continue;
		if (r >= 0)
			error = boot_leased(server->boot, &answer->who, answer->address, answer->nbp);
		if (r >= 0 && error >= 0)
			continue;
		log_limited(3, LOG_LEVEL_ERROR, "DHCP: a PC cannot be noted in %s: %s; if it is new it gets no disk",
			    state_file(server->state), state_error(server->state));
		take_back(server, answer);
	}
	if (r < 0 || state_commit(server->state) >= 0)
		return;
	log_limited(3, LOG_LEVEL_ERROR, "DHCP: PCs cannot be noted in %s: %s; new ones get no disk",
		    state_file(server->state), state_error(server->state));
	for (size_t i = 0; i < queue->count; i++)
		if (queue->answer[i].registers)
			take_back(server, &queue->answer[i]);
}

/* --- the queues --------------------------------------------------------------------------------------------------- */
static void commit_done(void *arg, int result);

/* What has gathered goes to the helper, if it is idle. */
static void start_commit(struct dhcp_commit *commit)
{
	struct dhcp_server *server = commit->server;
	struct dhcp_queue empty = commit->committing;

	if (!commit->filling.count || atomic_load(&commit->phase) != COMMIT_IDLE || commit->delivered)
		return;
	register_clients(server, &commit->filling);
	commit->committing = commit->filling;
	commit->filling = empty;
	atomic_store(&commit->phase, COMMIT_QUEUED);
	if (loop_work(server->loop, commit_work, commit_done, commit) >= 0) {
		commit->delivered = true;
		return;
	}
	commit->result = write_leases(commit);
	finish(commit);
}

static void commit_done(void *arg, int result)
{
	struct dhcp_commit *commit = arg;

	(void)result;
	commit->delivered = false;
	if (!commit->server) {
		free(commit);
		return;
	}
	if (atomic_load(&commit->phase) == COMMIT_OVER)
		finish(commit);
	start_commit(commit);
}

/* Has the holder of a brief lease asked for its script meanwhile? Some go on without DHCP: then this lasts as any
 * other. */
static bool has_gone_on(struct dhcp_server *server, const struct lease *lease)
{
	struct boot_identity who = {.arch = 0xffff};
	static struct boot_answer answer;

	memcpy(who.mac, lease->client.mac, sizeof(who.mac));
	if (lease->client.keyed)
		identity_of_lease_id(lease->client.id, lease->client.id_length, who.key);
	boot_identify(server->boot, &who, 0, &answer);
	return answer.booted;
}

/*
 * It has ended. That is no change, the other server of a pair sees it by itself; but the state is to know, so that no
 * clock can make it a lease again.
 */
static void let_go(struct dhcp_server *server, struct lease *lease)
{
	bool was_given = lease->state == LEASE_BOUND || lease->state == LEASE_QUARANTINED;
	struct dhcp_answer *answer;

	lease_set(server->leases, lease, LEASE_FREE, NULL, 0);
	if (!was_given)
		return;
	answer = dhcp_answer_new(server, true);
	answer->foreign = true;
	dhcp_record(server, answer, lease);
}

void dhcp_batch_expire(struct dhcp_server *server)
{
	int64_t now = dhcp_now(server), next;
	struct lease *lease;

	while ((lease = lease_table_due(server->leases, now)) && lease->brief && lease->client.has_mac &&
	       has_gone_on(server, lease)) {
		uint32_t time = server->config->subnet[lease->subnet].lease_time;

		lease->brief = false;
		lease_set(server->leases, lease, LEASE_BOUND, NULL, time == UINT32_MAX ? LEASE_FOREVER : now + time);
		dhcp_stamp(server, lease);
		dhcp_record(server, dhcp_answer_new(server, true), lease);
	}
	now -= DHCP_LEASE_GRACE;
	while ((lease = lease_table_due(server->leases, now)))
		let_go(server, lease);
	next = lease_table_expire(server->leases, now);

	loop_timer_set(server->expiry,
		       next == LEASE_FOREVER ? UINT64_MAX : (uint64_t)(next + DHCP_LEASE_GRACE + 1) * CLOCK_NS);
}

static void on_expiry(void *arg)
{
	dhcp_batch_expire(arg);
}

static void on_batch(void *arg)
{
	struct dhcp_server *server = arg;

	dhcp_send_queue(server, &server->plain);
	flush_sink(server);
	start_commit(server->commit);
	dhcp_batch_expire(server);
}

/* Waits for the helper, or does its work when it has not begun. */
static void wait_for_commit(struct dhcp_commit *commit)
{
	static const struct timespec moment = {.tv_nsec = 200000};
	int queued = COMMIT_QUEUED;

	if (atomic_compare_exchange_strong(&commit->phase, &queued, COMMIT_RUNNING)) {
		commit->result = write_leases(commit);
		atomic_store(&commit->phase, COMMIT_OVER);
	}
	while (atomic_load(&commit->phase) == COMMIT_RUNNING)
		nanosleep(&moment, NULL);
	if (atomic_load(&commit->phase) == COMMIT_OVER)
		finish(commit);
}

void dhcp_batch_drain(struct dhcp_server *server)
{
	struct dhcp_commit *commit = server->commit;
	struct dhcp_queue empty;

	dhcp_send_queue(server, &server->plain);
	wait_for_commit(commit);
	if (!commit->filling.count)
		return;
	register_clients(server, &commit->filling);
	empty = commit->committing;
	commit->committing = commit->filling;
	commit->filling = empty;
	commit->result = write_leases(commit);
	finish(commit);
}

struct dhcp_answer *dhcp_answer_new(struct dhcp_server *server, bool durable)
{
	struct dhcp_queue *queue = durable ? &server->commit->filling : &server->plain;
	struct dhcp_answer *answer;

	if (queue->count == queue->room) {
		if (durable)
			dhcp_batch_drain(server); /* the disk does not keep up: everybody waits for it */
		else
			dhcp_send_queue(server, queue);
		queue = durable ? &server->commit->filling : &server->plain;
	}
	answer = &queue->answer[queue->count++];
	memset(answer, 0, offsetof(struct dhcp_answer, data));
	loop_batch_arm(server->batch);
	return answer;
}

static int queue_init(struct dhcp_queue *queue, size_t room)
{
	queue->answer = calloc(room, sizeof(*queue->answer));
	queue->room = room;
	return queue->answer ? 0 : -ENOMEM;
}

int dhcp_batch_new(struct dhcp_server *server)
{
	struct dhcp_commit *commit = calloc(1, sizeof(*commit));
	struct sentence error = {""};
	int r;

	if (!commit)
		return -ENOMEM;
	server->commit = commit;
	commit->server = server;
	if (queue_init(&server->plain, DHCP_BATCH) < 0 || queue_init(&commit->filling, DHCP_DURABLE) < 0 ||
	    queue_init(&commit->committing, DHCP_DURABLE) < 0)
		return -ENOMEM;
	r = state_new(&commit->state, state_file(server->state), &error);
	if (r < 0) {
		log_error("DHCP: %s cannot be opened a second time for the leases: %s", state_file(server->state),
			  error.text);
		return r;
	}
	r = loop_add_timer(server->loop, UINT64_MAX, on_expiry, server, &server->expiry);
	return r < 0 ? r : loop_add_batch(server->loop, on_batch, server, &server->batch);
}

void dhcp_batch_free(struct dhcp_server *server)
{
	struct dhcp_commit *commit = server->commit;

	if (commit && commit->state)
		dhcp_batch_drain(server);
	loop_source_free(server->batch);
	loop_source_free(server->expiry);
	free(server->plain.answer);
	if (!commit)
		return;
	state_free(commit->state);
	free(commit->filling.answer);
	free(commit->committing.answer);
	free(commit->waiting.answer);
	commit->server = NULL;
	server->commit = NULL;
	/* When the pool still holds it, commit_done() frees it; a loop that ends first leaves these bytes. */
	if (!commit->delivered)
		free(commit);
}
