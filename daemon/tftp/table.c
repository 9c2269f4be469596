/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The transfers: by client and port, and all of them in order of age. */
#include "daemon/tftp/private.h"

static size_t bucket_of(uint32_t client, uint16_t port)
{
	uint64_t h = ((uint64_t)client << 16 | port) * 0x9e3779b97f4a7c15ull;

	return (h >> 40) % TFTP_BUCKETS;
}

struct tftp_session *tftp_session_find(struct tftp_server *server, uint32_t client, uint16_t port)
{
	struct tftp_session *s = server->bucket[bucket_of(client, port)];

	while (s && (s->client != client || s->client_port != port))
		s = s->next_bucket;
	return s;
}

void tftp_table_add(struct tftp_session *session)
{
	struct tftp_server *server = session->server;
	struct tftp_session **bucket = &server->bucket[bucket_of(session->client, session->client_port)];

	session->next_bucket = *bucket;
	*bucket = session;
	session->prev = server->last;
	*(server->last ? &server->last->next : &server->first) = session;
	server->last = session;
	if (++server->stats.sessions > server->stats.sessions_most)
		server->stats.sessions_most = server->stats.sessions;
}

void tftp_table_remove(struct tftp_session *session)
{
	struct tftp_server *server = session->server;
	struct tftp_session **p = &server->bucket[bucket_of(session->client, session->client_port)];

	while (*p != session)
		p = &(*p)->next_bucket;
	*p = session->next_bucket;
	*(session->prev ? &session->prev->next : &server->first) = session->next;
	*(session->next ? &session->next->prev : &server->last) = session->prev;
	server->stats.sessions--;
}
