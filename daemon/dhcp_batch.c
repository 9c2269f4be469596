/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages are decided one by one as they arrive; what they change in the table of leases is true at once, but an ACK is a
 * promise, so it leaves only after its lease is on the disk. Answers gather in queues:
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
 */
#include "daemon/dhcp_peer.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS 1000000000ull

enum { COMMIT_IDLE, COMMIT_QUEUED, COMMIT_RUNNING, COMMIT_OVER };

struct dhcp_commit {
	struct dhcp_server *server; /* NULL: it is gone, the last one out frees this */
	struct store *store;	    /* the helper's own connection */
	struct dhcp_queue filling, committing;
	_Atomic int state;
	bool delivered; /* done() is still to come back from the pool */
	int result;
	uint64_t ns;
};

uint64_t dhcp_clock(bool realtime)
{
	struct timespec ts;

	clock_gettime(realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

void dhcp_record(const struct dhcp_server *server, struct dhcp_answer *answer, const struct lease *lease)
{
	struct store_lease *r = &answer->record;

	r->address = lease->address;
	r->state = lease->state == LEASE_BOUND	       ? STORE_LEASE_BOUND
		   : lease->state == LEASE_QUARANTINED ? STORE_LEASE_DECLINED
						       : STORE_LEASE_FREE;
	memcpy(r->mac, lease->client.mac, sizeof(r->mac));
	r->id_length = lease->client.id_length;
	memcpy(r->id, lease->client.id, sizeof(r->id));
	r->updated = (int64_t)(dhcp_clock(true) / NS);
	r->expires = lease->expires == LEASE_FOREVER ? LEASE_FOREVER
		     : lease->expires		     ? lease->expires + server->clock_offset
						     : r->updated;
}

/* --- one transaction ---------------------------------------------------------------------------------------------- */
/* On the helper's thread, or on the loop's while the helper is idle. */
static int write_leases(struct dhcp_commit *commit)
{
	int r = store_begin(commit->store);

	if (r < 0)
		return r;
	for (size_t i = 0; i < commit->committing.count && !r; i++)
		if (commit->committing.answer[i].record.address)
			r = store_lease_put(commit->store, &commit->committing.answer[i].record);
	if (!r)
		return store_commit(commit->store);
	store_rollback(commit->store);
	return r;
}

static int commit_work(void *arg)
{
	struct dhcp_commit *commit = arg;
	int queued = COMMIT_QUEUED;
	uint64_t begin = dhcp_clock(false);

	if (!atomic_compare_exchange_strong(&commit->state, &queued, COMMIT_RUNNING))
		return -ECANCELED; /* dhcp_batch_drain() did it itself */
	commit->result = write_leases(commit);
	commit->ns = dhcp_clock(false) - begin;
	atomic_store(&commit->state, COMMIT_OVER);
	return 0;
}

/* The lease that an ACK is about, if it is still as the ACK says. */
static struct lease *acknowledged(const struct dhcp_server *server, const struct dhcp_answer *answer)
{
	struct lease *lease = answer->record.address ? lease_by_address(server->leases, answer->record.address) : NULL;
	const struct store_lease *r = &answer->record;

	if (answer->type != DHCP_ACK || !lease || lease->state != LEASE_BOUND)
		return NULL;
	if (memcmp(lease->client.mac, r->mac, sizeof(r->mac)) || lease->client.id_length != r->id_length ||
	    memcmp(lease->client.id, r->id, r->id_length))
		return NULL;
	return lease;
}

static void take_back(struct dhcp_server *server, struct dhcp_answer *answer)
{
	struct lease *lease = acknowledged(server, answer);
	int64_t now = dhcp_now(server);

	if (lease && lease->promised > now)
		lease_set(server->leases, lease, LEASE_BOUND, NULL, lease->promised);
	else if (lease)
		lease_set(server->leases, lease, LEASE_OFFERED, NULL, now + LEASE_OFFER_TIME);
	server->store_failed = now;
	answer->type = 0;
	answer->record.address = 0;
	server->stats.outcome[DHCP_OUTCOME_STORE_FAILED]++;
}

/* It is on the disk. */
static void keep(struct dhcp_server *server, const struct dhcp_answer *answer)
{
	struct lease *lease = acknowledged(server, answer);

	if (answer->record.address)
		server->store_failed = 0;
	if (lease)
		lease->promised = answer->record.expires == LEASE_FOREVER
					  ? LEASE_FOREVER
					  : answer->record.expires - server->clock_offset;
	if (!server->peer || !answer->record.address || answer->foreign)
		return;
	if (answer->type == DHCP_ACK)
		dhcp_peer_answered(server->peer, answer->xid, answer->chaddr);
	dhcp_peer_lease(server->peer, &answer->record);
}

/* The transaction is over: the ACKs leave, or are taken back. */
static void finish(struct dhcp_commit *commit)
{
	struct dhcp_server *server = commit->server;

	server->stats.commits++;
	server->stats.commit_ns += commit->ns;
	if (commit->result < 0) {
		log_limited(&server->log_store, 3, LOG_LEVEL_ERROR,
			    "DHCP: leases cannot be written to %s: %s; no address is given until they can: look for a full "
			    "or broken disk",
			    store_file(commit->store), store_error(commit->store));
		for (size_t i = 0; i < commit->committing.count; i++)
			take_back(server, &commit->committing.answer[i]);
	}
	for (size_t i = 0; commit->result >= 0 && i < commit->committing.count; i++)
		keep(server, &commit->committing.answer[i]);
	dhcp_peer_flush(server->peer);
	dhcp_send_queue(server, &commit->committing);
	atomic_store(&commit->state, COMMIT_IDLE);
}

/* --- registering new PCs ------------------------------------------------------------------------------------------ */
static void register_clients(struct dhcp_server *server, struct dhcp_queue *queue)
{
	int r = store_begin_lazy(server->store), error = r;

	for (size_t i = 0; i < queue->count; i++) {
		struct dhcp_answer *answer = &queue->answer[i];

		if (!answer->registers)
			continue;
		if (r >= 0)
			error = boot_leased(server->boot, &answer->who, answer->record.address, answer->nbp);
		if (r >= 0 && error >= 0)
			continue;
		log_limited(&server->log_store, 3, LOG_LEVEL_ERROR,
			    "DHCP: a PC cannot be noted in %s: %s; it gets no address", store_file(server->store),
			    store_error(server->store));
		take_back(server, answer);
	}
	if (r < 0 || store_commit(server->store) >= 0)
		return;
	log_limited(&server->log_store, 3, LOG_LEVEL_ERROR, "DHCP: PCs cannot be noted in %s: %s; they get no address",
		    store_file(server->store), store_error(server->store));
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

	if (!commit->filling.count || atomic_load(&commit->state) != COMMIT_IDLE || commit->delivered)
		return;
	register_clients(server, &commit->filling);
	commit->committing = commit->filling;
	commit->filling = empty;
	atomic_store(&commit->state, COMMIT_QUEUED);
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
	if (atomic_load(&commit->state) == COMMIT_OVER)
		finish(commit);
	start_commit(commit);
}

static void on_batch(void *arg)
{
	struct dhcp_server *server = arg;

	dhcp_send_queue(server, &server->plain);
	dhcp_peer_flush(server->peer);
	start_commit(server->commit);
	dhcp_lease_expired(server);
}

/* Waits for the helper, or does its work when it has not begun. */
static void wait_for_commit(struct dhcp_commit *commit)
{
	static const struct timespec moment = {.tv_nsec = 200000};
	int queued = COMMIT_QUEUED;

	if (atomic_compare_exchange_strong(&commit->state, &queued, COMMIT_RUNNING)) {
		commit->result = write_leases(commit);
		atomic_store(&commit->state, COMMIT_OVER);
	}
	while (atomic_load(&commit->state) == COMMIT_RUNNING)
		nanosleep(&moment, NULL);
	if (atomic_load(&commit->state) == COMMIT_OVER)
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
	char error[256];
	int r;

	if (!commit)
		return -ENOMEM;
	server->commit = commit;
	commit->server = server;
	if (queue_init(&server->plain, DHCP_BATCH) < 0 || queue_init(&commit->filling, DHCP_DURABLE) < 0 ||
	    queue_init(&commit->committing, DHCP_DURABLE) < 0)
		return -ENOMEM;
	r = store_new(&commit->store, store_file(server->store), error);
	if (r < 0) {
		log_error("DHCP: %s cannot be opened a second time for the leases: %s", store_file(server->store), error);
		return r;
	}
	return loop_add_batch(server->loop, on_batch, server, &server->batch);
}

void dhcp_batch_free(struct dhcp_server *server)
{
	struct dhcp_commit *commit = server->commit;

	if (commit && commit->store)
		dhcp_batch_drain(server);
	loop_source_free(server->batch);
	free(server->plain.answer);
	if (!commit)
		return;
	store_free(commit->store);
	free(commit->filling.answer);
	free(commit->committing.answer);
	commit->server = NULL;
	server->commit = NULL;
	/* When the pool still holds it, commit_done() frees it; a loop that ends first leaves these bytes. */
	if (!commit->delivered)
		free(commit);
}
