/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hash of what is held, by transaction; each has a timer of its own. */
#include "daemon/dhcp/peer_held.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOLD_NS (700 * 1000000ull)
#define BUCKETS 256

struct message {
	struct peer_held *held;
	struct message *next;
	struct loop_source *timer;
	struct dhcp_request request;
};

struct peer_held {
	struct dhcp_server *server;
	dhcp_resume_fn resume;
	struct message *bucket[BUCKETS];
	unsigned int count;
};

static struct message **bucket_of(struct peer_held *held, uint32_t xid)
{
	return &held->bucket[(xid ^ xid >> 8 ^ xid >> 16) % BUCKETS];
}

static void drop(struct message *message)
{
	struct message **p = bucket_of(message->held, message->request.packet.xid);

	while (*p != message)
		p = &(*p)->next;
	*p = message->next;
	message->held->count--;
	loop_source_free(message->timer);
	free(message);
}

static struct message *find(struct peer_held *held, uint32_t xid, const uint8_t mac[6])
{
	struct message *message = *bucket_of(held, xid);

	while (message && (message->request.packet.xid != xid || memcmp(message->request.packet.chaddr, mac, 6) != 0))
		message = message->next;
	return message;
}

static void on_time(void *arg)
{
	struct message *message = arg;
	struct peer_held *held = message->held;
	static struct dhcp_request request;

	request = message->request;
	drop(message);
	held->resume(held->server, &request);
}

void peer_held_add(struct peer_held *held, const struct dhcp_request *request)
{
	struct message *message, **bucket;

	if (held->count >= DHCP_PEER_HELD || find(held, request->packet.xid, request->packet.chaddr))
		return;
	message = calloc(1, sizeof(*message));
	if (!message)
		return;
	message->held = held;
	message->request = *request;
	if (loop_add_timer(held->server->loop, loop_now(held->server->loop) + HOLD_NS, on_time, message,
			   &message->timer) < 0) {
		free(message);
		return;
	}
	bucket = bucket_of(held, request->packet.xid);
	message->next = *bucket;
	*bucket = message;
	held->count++;
}

void peer_held_answered(struct peer_held *held, uint32_t xid, const uint8_t chaddr[6])
{
	struct message *message = find(held, xid, chaddr);

	if (message)
		drop(message);
}

void peer_held_stop(struct peer_held *held)
{
	for (size_t i = 0; held && i < BUCKETS; i++)
		while (held->bucket[i])
			drop(held->bucket[i]);
}

int peer_held_new(struct peer_held **ret, struct dhcp_server *server, dhcp_resume_fn resume)
{
	struct peer_held *held = calloc(1, sizeof(*held));

	if (!held)
		return -ENOMEM;
	held->server = server;
	held->resume = resume;
	*ret = held;
	return 0;
}

void peer_held_free(struct peer_held *held)
{
	peer_held_stop(held);
	free(held);
}
