/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages are decided one by one as they arrive; what they change in the table of leases is true at once, but an ACK
 * is a promise, so it leaves only after its lease is on the disk. Answers gather in queues:
 *
 *	plain		OFFERs and NAKs: leave at the end of the loop's round
 *	filling		changed leases with their ACKs, until the commit before is done
 *	committing	handed to the state's thread (state_job()), which writes them in one transaction; then their
 *			ACKs leave, and what has gathered meanwhile is next
 *
 * So one fsync serves everybody who asked while the one before ran: the busier the server, the larger the batch, and
 * OFFERs never wait for the disk. PCs that are seen for the first time are registered before their leases are handed
 * over, so that both are on the disk before the ACK. A commit that fails takes the promises back: no ACK, the addresses
 * stay offered, and who had a lease has it as long as he was told before. A disk that is slow is waited for: after a
 * second, who had a lease is told of what is left of it; after STATE_PATIENCE it has failed. What comes when both
 * queues are full is not answered.
 *
 * Where there is a pair, an ACK waits in one more queue until the other server knows its lease, too: dhcp/peer.h.
 */
#include "daemon/core/clock.h"
#include "daemon/dhcp/private.h"
#include "daemon/dhcp/whose.h"
#include "tcmu-handler/image/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HURRY CLOCK_NS /* ns that an ACK waits before who has a lease is told of what is left of it */

struct dhcp_commit {
	struct dhcp_server *server; /* NULL: it is gone, the end of the job frees this */
	struct dhcp_queue filling, committing;
	struct dhcp_queue waiting; /* for the other server; its room is made when it is first needed */
	struct loop_source *hurry;
	bool busy; /* the state has what is committing */
	uint64_t began;
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
	int64_t now = clock_realtime_s();

	r->address = lease->address;
	r->state = lease->state == LEASE_BOUND         ? STATE_LEASE_BOUND
		   : lease->state == LEASE_QUARANTINED ? STATE_LEASE_DECLINED
						       : STATE_LEASE_FREE;
	memcpy(r->mac, lease->client.mac, sizeof(r->mac));
	r->id_length = lease->client.id_length;
	memcpy(r->id, lease->client.id, sizeof(r->id));
	r->updated = clock_is_right() ? now : 0;
	r->left = lease->expires == LEASE_FOREVER ? LEASE_FOREVER
		  : lease->expires                ? lease->expires - dhcp_now(server)
						  : 0;
	r->expires = r->left == LEASE_FOREVER ? LEASE_FOREVER : now + r->left;
	memcpy(r->boot, server->boot_id, sizeof(r->boot));
	r->boot_s = (int64_t)(clock_boottime_ns() / CLOCK_NS);
	memcpy(r->version, lease->version, sizeof(r->version));
	answer->expires = lease->expires;
}

/* --- one transaction ---------------------------------------------------------------------------------------------- */
struct lease_rows {
	size_t n;
	struct state_lease row[];
};

/* On the state's thread. */
static int write_leases(struct state *disk, void *data)
{
	const struct lease_rows *rows = data;
	int r = 0;

	for (size_t i = 0; i < rows->n && !r; i++)
		r = state_lease_put(disk, &rows->row[i]);
	return r;
}

static struct lease_rows *rows_of(const struct dhcp_queue *queue)
{
	struct lease_rows *rows = malloc(sizeof(*rows) + queue->count * sizeof(rows->row[0]));

	if (!rows)
		return NULL;
	rows->n = 0;
	for (size_t i = 0; i < queue->count; i++)
		if (queue->answer[i].record.address)
			rows->row[rows->n++] = queue->answer[i].record;
	return rows;
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
 * How long an ACK may last that nothing could be written for. What was promised before and is on our disk, of that the
 * PC gets the rest. A new one that boots gets its address for as long as the offer of it stands in memory, only to be
 * told on its screen why it gets no disk. If we start again meanwhile, it is found by the probe; without probes, or
 * where a second server gives addresses too, it gets nothing.
 */
static int64_t may_last(const struct dhcp_server *server, const struct dhcp_answer *answer, const struct lease *lease,
			int64_t now)
{
	if (!lease)
		return 0;
	if (lease->promised > now && !lease->written)
		return 0; /* the other server of the pair promised it, and may know better by now */
	if (lease->promised > now)
		return lease->promised == LEASE_FOREVER ? UINT32_MAX : lease->promised - now;
	if (!server->prober || server->sink.lease || !(answer->who.pxe || answer->who.ipxe))
		return 0;
	return LEASE_OFFER_TIME;
}

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

/* The other server of a pair is told what is in our memory now. The position that an ACK waits for; 0: none. */
static uint64_t tell(struct dhcp_server *server, const struct dhcp_answer *answer)
{
	return server->sink.lease && !answer->foreign ? server->sink.lease(server->sink.arg, &answer->record) : 0;
}

/*
 * The change is in memory, with its version, so the other server is told although the disk does not have it: else it
 * would believe a version that is older than ours.
 */
static void take_back(struct dhcp_server *server, struct dhcp_answer *answer)
{
	struct lease *lease = acknowledged(server, answer);
	int64_t now = dhcp_now(server), left = may_last(server, answer, lease, now);
	uint32_t time = left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
	uint64_t position;

	if (!answer->record.address) /* it says again what is on the disk, or was taken back already */
		return;
	if (lease && lease->promised > now)
		lease_set(server->leases, lease, LEASE_BOUND, NULL, lease->promised);
	else if (lease)
		lease_set(server->leases, lease, LEASE_OFFERED, NULL, now + LEASE_OFFER_TIME);
	server->state_failed = now;
	server->stats.outcome[DHCP_OUTCOME_STORE_FAILED]++;
	position = tell(server, answer);
	if (left < LEASE_OFFER_TIME || !lower_option(answer, DHCP_OPT_LEASE_TIME, time)) {
		answer->type = 0;
		answer->record.address = 0;
		return;
	}
	lower_option(answer, DHCP_OPT_RENEWAL, time / 2);
	lower_option(answer, DHCP_OPT_REBINDING, (uint32_t)(time * 7ull / 8));
	if (lease->state == LEASE_OFFERED)
		boot_not_noted(server->boot, &answer->who);
	answer->expires = lease->expires;
	if (position)
		wait_for_other(server->commit, answer, position);
	answer->record.address = 0;
}

/* An ACK leaves. */
static void promise(struct dhcp_server *server, const struct dhcp_answer *answer)
{
	struct lease *lease = acknowledged(server, answer);

	if (lease) {
		lease->promised = answer->record.expires == LEASE_FOREVER ? LEASE_FOREVER : answer->expires;
		lease->written = true;
	}
	dhcp_tell_answered(server, answer->xid, answer->chaddr);
}

/* --- those that wait for the other server of a pair --------------------------------------------------------------- */
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

/* What was promised by the other server, or in another boot of this one, is on our disk as it stands in memory. */
static void wrote(struct dhcp_server *server, const struct dhcp_answer *answer)
{
	struct lease *lease = lease_by_address(server->leases, answer->record.address);

	if (lease && !memcmp(lease->version, answer->record.version, sizeof(lease->version)))
		lease->written = true;
}

/* It is on the disk. */
static void keep(struct dhcp_server *server, struct dhcp_answer *answer)
{
	uint64_t position;

	if (!answer->record.address)
		return; /* said before, and promised then */
	server->state_failed = 0;
	if (answer->foreign)
		wrote(server, answer);
	position = tell(server, answer);
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
static void finish(struct dhcp_commit *commit, int result)
{
	struct dhcp_server *server = commit->server;
	unsigned int theirs = 0;

	server->stats.commits++;
	server->stats.commit_ns += clock_monotonic_ns() - commit->began;
	if (result < 0) {
		log_limited(
			3, LOG_LEVEL_ERROR,
			"DHCP: leases cannot be written to %s: %s; who has one keeps it, new PCs get none until they "
			"can: look for a full or broken disk",
			state_file(server->state), state_error(server->state));
		for (size_t i = 0; i < commit->committing.count; i++)
			take_back(server, &commit->committing.answer[i]);
	}
	for (size_t i = 0; result >= 0 && i < commit->committing.count; i++)
		keep(server, &commit->committing.answer[i]);
	for (size_t i = 0; i < commit->committing.count; i++)
		theirs += commit->committing.answer[i].theirs;
	if (theirs && server->sink.theirs)
		server->sink.theirs(server->sink.arg, theirs);
	flush_sink(server);
	dhcp_send_queue(server, &commit->committing);
}

/* The disk is slow. Who has a lease that is on it is told of that now; the rest comes when he asks again. */
static void hurry_queue(struct dhcp_server *server, struct dhcp_queue *queue)
{
	int64_t now = dhcp_now(server);

	for (size_t i = 0; i < queue->count; i++) {
		struct dhcp_answer *answer = &queue->answer[i], *early;
		const struct lease *lease = acknowledged(server, answer);
		int64_t left = lease && lease->promised > now ? may_last(server, answer, lease, now) : 0;
		uint32_t time = left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;

		if (left < LEASE_OFFER_TIME || !lower_option(answer, DHCP_OPT_LEASE_TIME, time))
			continue;
		lower_option(answer, DHCP_OPT_RENEWAL, time / 2);
		lower_option(answer, DHCP_OPT_REBINDING, (uint32_t)(time * 7ull / 8));
		early = dhcp_answer_new(server, false);
		*early = *answer;
		dhcp_tell_answered(server, answer->xid, answer->chaddr);
		answer->type = 0; /* what it changes is written all the same */
	}
}

static void on_hurry(void *arg)
{
	struct dhcp_commit *commit = arg;

	if (!commit->busy)
		return;
	hurry_queue(commit->server, &commit->committing);
	hurry_queue(commit->server, &commit->filling);
	loop_timer_set(commit->hurry, loop_now(commit->server->loop) + HURRY);
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
	for (size_t i = 0; i < queue->count; i++) {
		if (!queue->answer[i].registers)
			continue;
		take_back(server, &queue->answer[i]);
		boot_rolled_back(server->boot, &queue->answer[i].who);
	}
}

/* --- the queues --------------------------------------------------------------------------------------------------- */
static void start_commit(struct dhcp_commit *commit);

static void committed(void *arg, int result)
{
	struct dhcp_commit *commit = arg;

	commit->busy = false;
	if (!commit->server) {
		free(commit->committing.answer);
		free(commit);
		return;
	}
	loop_timer_set(commit->hurry, UINT64_MAX);
	finish(commit, result);
	start_commit(commit);
}

/* What has gathered goes to the state's thread, if it has nothing of ours. */
static void start_commit(struct dhcp_commit *commit)
{
	struct dhcp_server *server = commit->server;
	struct dhcp_queue empty = commit->committing;
	struct lease_rows *rows;

	if (!commit->filling.count || commit->busy)
		return;
	register_clients(server, &commit->filling);
	commit->committing = commit->filling;
	commit->filling = empty;
	commit->began = clock_monotonic_ns();
	commit->busy = true;
	rows = rows_of(&commit->committing);
	if (!rows) {
		committed(commit, -ENOMEM);
		return;
	}
	loop_timer_set(commit->hurry, loop_now(server->loop) + HURRY);
	state_job(server->state, write_leases, rows, committed, commit);
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

static void forget_answers(struct dhcp_queue *queue)
{
	for (size_t i = 0; i < queue->count; i++)
		queue->answer[i].type = 0;
}

void dhcp_batch_drain(struct dhcp_server *server)
{
	struct dhcp_commit *commit = server->commit;
	uint64_t until = clock_monotonic_ns() + DHCP_DRAIN_NS, now;

	dhcp_send_queue(server, &server->plain);
	start_commit(commit);
	while (commit->busy && (now = clock_monotonic_ns()) < until)
		if (!state_flush(server->state, until - now))
			break;
	/* The PCs ask again. */
	forget_answers(&commit->committing);
	forget_answers(&commit->filling);
}

bool dhcp_batch_is_full(struct dhcp_server *server)
{
	struct dhcp_commit *commit = server->commit;

	if (commit->filling.count >= DHCP_DURABLE)
		start_commit(commit);
	return commit->filling.count >= DHCP_DURABLE;
}

/* What the server changes by itself, beside what it is asked, is bounded by the number of addresses. */
static bool make_room(struct dhcp_queue *queue)
{
	struct dhcp_answer *more = reallocarray(queue->answer, 2 * queue->room, sizeof(*more));

	if (!more)
		return false;
	queue->answer = more;
	queue->room *= 2;
	return true;
}

struct dhcp_answer *dhcp_answer_new(struct dhcp_server *server, bool durable)
{
	struct dhcp_queue *queue = durable ? &server->commit->filling : &server->plain;
	struct dhcp_answer *answer;

	if (queue->count == queue->room && !durable)
		dhcp_send_queue(server, queue);
	if (queue->count == queue->room && !make_room(queue)) {
		log_limited(1, LOG_LEVEL_ERROR, "DHCP: a lease is not written: out of memory");
		queue->count--;
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
	int r;

	if (!commit)
		return -ENOMEM;
	server->commit = commit;
	commit->server = server;
	if (queue_init(&server->plain, DHCP_BATCH) < 0 || queue_init(&commit->filling, DHCP_DURABLE) < 0 ||
	    queue_init(&commit->committing, DHCP_DURABLE) < 0)
		return -ENOMEM;
	r = loop_add_timer(server->loop, UINT64_MAX, on_expiry, server, &server->expiry);
	if (!r)
		r = loop_add_timer(server->loop, UINT64_MAX, on_hurry, commit, &commit->hurry);
	return r < 0 ? r : loop_add_batch(server->loop, on_batch, server, &server->batch);
}

static void nobody_waits(void *arg, int result)
{
	(void)arg;
	(void)result;
}

/* What the disk was too slow for is written when it can be, and told to nobody. */
static void write_rest(struct dhcp_server *server, const struct dhcp_queue *queue)
{
	struct lease_rows *rows = queue->count ? rows_of(queue) : NULL;

	if (rows)
		state_job(server->state, write_leases, rows, nobody_waits, NULL);
}

void dhcp_batch_free(struct dhcp_server *server)
{
	struct dhcp_commit *commit = server->commit;

	if (commit && commit->committing.answer)
		dhcp_batch_drain(server);
	loop_source_free(server->batch);
	loop_source_free(server->expiry);
	free(server->plain.answer);
	if (!commit)
		return;
	loop_source_free(commit->hurry);
	write_rest(server, &commit->filling);
	free(commit->filling.answer);
	free(commit->waiting.answer);
	commit->server = NULL;
	server->commit = NULL;
	if (commit->busy) /* committed() frees it */
		return;
	free(commit->committing.answer);
	free(commit);
}
