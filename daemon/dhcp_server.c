/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets: one for each interface of a subnet, bound to that device, so that other DHCP servers may serve other interfaces
 * of this machine; one for all when a subnet is only reached through relays.
 */
#include "daemon/datagram.h"
#include "daemon/dhcp_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS		1000000000ull
#define RECV_BUFFERS	512
#define SOCKET_BUFFER	(4 << 20) /* bytes: what arrives while a commit runs */

int64_t dhcp_now(const struct dhcp_server *server)
{
	return (int64_t)(loop_now(server->loop) / NS);
}

const char *dhcp_message_name(unsigned int type)
{
	static const char *const name[] = {"bootp",   "discover", "offer", "request", "decline",
					   "ack",     "nak",	  "release", "inform"};

	return type < sizeof(name) / sizeof(name[0]) ? name[type] : "other";
}

const char *dhcp_outcome_name(enum dhcp_outcome outcome)
{
	static const char *const name[DHCP_OUTCOMES] = {
		[DHCP_OUTCOME_ANSWERED] = "answered",
		[DHCP_OUTCOME_MALFORMED] = "malformed",
		[DHCP_OUTCOME_LIMITED] = "limited",
		[DHCP_OUTCOME_NO_SUBNET] = "no_subnet",
		[DHCP_OUTCOME_OTHER_SERVER] = "other_server",
		[DHCP_OUTCOME_NOT_OURS] = "not_ours",
		[DHCP_OUTCOME_EXHAUSTED] = "exhausted",
		[DHCP_OUTCOME_UNKNOWN] = "unknown",
		[DHCP_OUTCOME_STORE_FAILED] = "store_failed",
		[DHCP_OUTCOME_SEND_FAILED] = "send_failed",
		[DHCP_OUTCOME_PROBING] = "probing",
		[DHCP_OUTCOME_STANDBY] = "standby",
		[DHCP_OUTCOME_NOTED] = "noted",
	};

	return (unsigned int)outcome < DHCP_OUTCOMES ? name[outcome] : "?";
}

/* --- leases ------------------------------------------------------------------------------------------------------- */
void dhcp_lease_expired(struct dhcp_server *server)
{
	int64_t next = lease_table_expire(server->leases, dhcp_now(server));

	loop_timer_set(server->expiry, next == LEASE_FOREVER ? UINT64_MAX : (uint64_t)next * NS + NS);
}

static void on_expiry(void *arg)
{
	dhcp_lease_expired(arg);
}

void dhcp_quarantine(struct dhcp_server *server, struct lease *lease, const char *who)
{
	uint32_t a = lease->address;

	server->stats.conflicts++;
	log_limited(&server->log_declined, 5, LOG_LEVEL_WARNING,
		    "DHCP: %u.%u.%u.%u is used by another machine, %s: it is left alone for an hour; find the machine with "
		    "that fixed address, or exclude the address in [subnet %s]",
		    a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255, who, server->config->subnet[lease->subnet].name);
	lease_set(server->leases, lease, LEASE_QUARANTINED, NULL, dhcp_now(server) + LEASE_QUARANTINE);
	lease->updated = (int64_t)(dhcp_clock(true) / NS);
	dhcp_record(server, dhcp_answer_new(server, true), lease);
}

/* --- receiving ---------------------------------------------------------------------------------------------------- */
static void on_datagram(void *arg, const struct loop_datagram *dgram)
{
	struct dhcp_listener *listener = arg;
	struct dhcp_server *server = listener->server;
	static struct dhcp_request request;
	struct datagram_addresses from;
	enum dhcp_outcome outcome = DHCP_OUTCOME_MALFORMED;

	request.listener = listener;
	if (!dgram->truncated && datagram_addresses(dgram, &from) &&
	    dhcp_packet_parse(&request.packet, dgram->data, dgram->length) == 0) {
		request.source = from.source;
		request.source_port = from.source_port;
		request.local = from.local;
		request.ifindex = from.ifindex;
		server->stats.received[request.packet.type]++;
		dhcp_sender_read(&request.sender, &request.packet);
		outcome = dhcp_decide(server, &request);
	}
	server->stats.outcome[outcome]++;
}

/* --- sockets ------------------------------------------------------------------------------------------------------ */
void dhcp_problem(struct dhcp_server *server, const char *format, ...)
{
	char text[sizeof(server->problem[0])];
	va_list args;
	bool known = false;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* Those of the try before are still there, beyond the count: what is not new is not logged again. */
	for (unsigned int i = 0; i < DHCP_PROBLEMS; i++)
		known |= !strcmp(server->problem[i], text);
	if (!known)
		log_error("%s", text);
	if (server->problems == DHCP_PROBLEMS)
		return;
	memmove(server->problem[server->problems + 1], server->problem[server->problems],
		(DHCP_PROBLEMS - server->problems - 1) * sizeof(server->problem[0]));
	snprintf(server->problem[server->problems++], sizeof(server->problem[0]), "%s", text);
}

const char *dhcp_server_problem(const struct dhcp_server *server, unsigned int n)
{
	return n < server->problems ? server->problem[n] : NULL;
}

static int open_socket(const struct dhcp_listener *listener)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(listener->port)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, size = SOCKET_BUFFER, r;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)) < 0 ||
	    (*listener->interface && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, listener->interface,
						(socklen_t)strlen(listener->interface)) < 0) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return fd;
}

static void listener_free(struct dhcp_listener *listener)
{
	if (!listener)
		return;
	loop_source_free(listener->recv);
	if (listener->fd >= 0)
		close(listener->fd);
	free(listener);
}

static int listener_new(struct dhcp_server *server, const char *interface, int ifindex, uint16_t port)
{
	struct dhcp_listener *listener;
	int r;

	if (server->listeners == DHCP_LISTENERS)
		return -ENOSPC;
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return -ENOMEM;
	listener->server = server;
	listener->ifindex = ifindex;
	listener->port = port;
	listener->wanted = true;
	snprintf(listener->interface, sizeof(listener->interface), "%s", interface);
	listener->fd = r = open_socket(listener);
	if (r >= 0)
		r = loop_add_recv(server->loop, listener->fd, DHCP_PACKET_MAX + 1, RECV_BUFFERS, on_datagram, listener,
				  &listener->recv);
	if (r < 0) {
		listener_free(listener);
		return r;
	}
	server->listener[server->listeners++] = listener;
	return 0;
}

static void want_listener(struct dhcp_server *server, const char *interface, int ifindex, uint16_t port)
{
	const char *where = *interface ? interface : "all interfaces";
	int r;

	for (size_t i = 0; i < server->listeners; i++) {
		struct dhcp_listener *l = server->listener[i];

		/* An interface that went and came back has another index: the old socket hears nothing. */
		if (strcmp(l->interface, interface) || l->port != port || l->ifindex != ifindex)
			continue;
		l->wanted = true;
		return;
	}
	r = listener_new(server, interface, ifindex, port);
	if (r == -EADDRINUSE)
		dhcp_problem(server,
			     "DHCP is not served on %s: another program has UDP port %u there; find it with `ss -ulpn sport "
			     "= %u` and stop it (tried again every few seconds)",
			     where, port, port);
	else if (r == -EPERM || r == -EACCES)
		dhcp_problem(server,
			     "DHCP is not served on %s: UDP port %u may not be opened; start the server as root or with "
			     "CAP_NET_BIND_SERVICE and CAP_NET_RAW",
			     where, port);
	else if (r < 0)
		dhcp_problem(server, "DHCP is not served on %s: UDP port %u cannot be opened: %s (tried again)", where, port,
			     strerror(-r));
}

static void want_ports(struct dhcp_server *server, const char *interface, int ifindex)
{
	const struct config *c = server->config;

	want_listener(server, interface, ifindex, dhcp_client_port(c));
	if (dhcp_client_port(c) == DHCP_PORT_SERVER)
		want_listener(server, interface, ifindex, DHCP_PORT_PXE);
}

static void want_subnet(struct dhcp_server *server, const struct config_subnet *s, bool own_socket)
{
	const struct netif_link *link = netif_link_by_name(server->netif, s->interface);
	struct in_addr network = {htonl(s->network)};
	char text[INET_ADDRSTRLEN];

	if (!link) {
		dhcp_problem(server,
			     "%s:%u: [subnet %s] is not served: there is no interface %s (see `ip link`); it is served as soon "
			     "as there is",
			     server->config->file, s->line, s->name, s->interface);
		return;
	}
	if (!s->server && !netif_address_in(server->netif, link->index, s->network, s->prefix))
		dhcp_problem(server,
			     "%s:%u: [subnet %s] is not served: interface %s has no address in %s/%u; give it one with `ip "
			     "addr add`",
			     server->config->file, s->line, s->name, s->interface,
			     inet_ntop(AF_INET, &network, text, sizeof(text)), s->prefix);
	else if (s->server && !netif_address_own(server->netif, s->server))
		dhcp_problem(server,
			     "%s:%u: [subnet %s] answers with a server address that this machine does not have; give it to %s "
			     "with `ip addr add`, or correct `server`",
			     server->config->file, s->line, s->name, s->interface);
	if (own_socket)
		want_ports(server, s->interface, link->index);
}

static bool needs_all(const struct config *config)
{
	for (size_t i = 0; i < config->subnets; i++)
		if (!*config->subnet[i].interface)
			return true;
	return false;
}

static void drop_unwanted(struct dhcp_server *server)
{
	size_t kept = 0;

	for (size_t i = 0; i < server->listeners; i++) {
		if (server->listener[i]->wanted) {
			server->listener[kept++] = server->listener[i];
			continue;
		}
		/* Answers that wait would leave by a socket that is gone. */
		dhcp_prober_stop_all(server->prober);
		dhcp_peer_stop_held(server->peer);
		dhcp_batch_drain(server);
		listener_free(server->listener[i]);
	}
	server->listeners = kept;
}

static void mark(struct dhcp_server *server)
{
	const struct config *c = server->config;

	for (size_t i = 0; i < server->listeners; i++) {
		struct dhcp_listener *l = server->listener[i];
		const struct netif_link *link = *l->interface ? netif_link_by_name(server->netif, l->interface) : NULL;
		bool wanted = false;

		for (size_t k = 0; k < c->subnets && c->dhcp_mode != CONFIG_DHCP_OFF; k++)
			wanted |= needs_all(c) ? !*l->interface
					       : link && link->index == l->ifindex && !strcmp(l->interface, c->subnet[k].interface);
		l->wanted = wanted && (l->port == dhcp_client_port(c) ||
				       (l->port == DHCP_PORT_PXE && dhcp_client_port(c) == DHCP_PORT_SERVER));
	}
}

uint16_t dhcp_client_port(const struct config *config)
{
	return config->dhcp_backup && config->dhcp_port == DHCP_PEER_PORT ? DHCP_PORT_SERVER : config->dhcp_port;
}

static void open_peer(struct dhcp_server *server)
{
	const struct config *c = server->config;
	bool wanted = c->dhcp_peer && c->dhcp_mode == CONFIG_DHCP_FULL;
	int r;

	if (server->peer && (!wanted || server->peer_address != c->dhcp_peer || server->is_backup != c->dhcp_backup)) {
		dhcp_peer_free(server->peer);
		server->peer = NULL;
	}
	if (!wanted || server->peer)
		return;
	r = dhcp_peer_new(&server->peer, server, c->dhcp_peer, c->dhcp_backup);
	server->peer_address = c->dhcp_peer;
	server->is_backup = c->dhcp_backup;
	if (r < 0)
		dhcp_problem(server,
			     "DHCP leases are not shared with the peer: UDP port %u cannot be opened: %s; find who has it with "
			     "`ss -ulpn sport = %u` (tried again)",
			     DHCP_PEER_PORT, strerror(-r), DHCP_PEER_PORT);
}

static void open_prober(struct dhcp_server *server)
{
	bool wanted = server->config->dhcp_probe && server->config->dhcp_mode == CONFIG_DHCP_FULL;
	int r;

	if (!wanted) {
		dhcp_prober_free(server->prober);
		server->prober = NULL;
	}
	if (!wanted || server->prober)
		return;
	r = dhcp_prober_new(&server->prober, server);
	if (r < 0)
		dhcp_problem(server,
			     "DHCP offers addresses without asking first whether somebody uses them: %s; start the server as "
			     "root or with CAP_NET_RAW, or set [dhcp] probe = no",
			     strerror(-r));
}

/* Opens what the configuration and the interfaces of now want, closes the rest, says what is missing. */
static void sync_sockets(struct dhcp_server *server)
{
	const struct config *c = server->config;
	bool all = needs_all(c);

	mark(server);
	drop_unwanted(server); /* first: a socket for all would be refused beside one for an interface */
	server->problems = 0;
	if (c->dhcp_mode == CONFIG_DHCP_OFF) {
		dhcp_peer_free(server->peer);
		server->peer = NULL;
		goto out;
	}
	if (server->packet_fd < 0)
		server->packet_fd = dhcp_packet_socket();
	if (server->packet_fd < 0)
		dhcp_problem(server,
			     "DHCP answers go out as broadcasts only: no packet socket: %s; start the server as root or with "
			     "CAP_NET_RAW",
			     strerror(-server->packet_fd));
	open_prober(server);
	open_peer(server);
	if (all)
		want_ports(server, "", 0);
	for (size_t i = 0; i < c->subnets; i++)
		if (*c->subnet[i].interface)
			want_subnet(server, &c->subnet[i], !all);
out:
	for (unsigned int i = server->problems; i < DHCP_PROBLEMS; i++)
		server->problem[i][0] = '\0';
	loop_timer_set(server->retry, server->problems ? loop_now(server->loop) + DHCP_RETRY_NS : UINT64_MAX);
}

static void avoid_own(struct dhcp_server *server)
{
	const struct netif_address *a;

	for (size_t i = 0; (a = netif_address_at(server->netif, 0, i)); i++)
		lease_table_avoid(server->leases, a->address);
}

static void on_change(void *arg)
{
	avoid_own(arg);
	sync_sockets(arg);
}

/* --- leases at the start ------------------------------------------------------------------------------------------ */
void dhcp_restore(struct dhcp_server *server, const struct store_lease *from)
{
	struct lease *lease;
	struct lease_client client = {0};
	static const uint8_t none[6];
	int64_t now = (int64_t)(dhcp_clock(true) / NS), expires = from->expires;
	enum lease_state state = from->state == STORE_LEASE_BOUND      ? LEASE_BOUND
				 : from->state == STORE_LEASE_DECLINED ? LEASE_QUARANTINED
								       : LEASE_FREE;

	client.has_mac = memcmp(from->mac, none, sizeof(none)) != 0;
	memcpy(client.mac, from->mac, sizeof(client.mac));
	client.id_length = from->id_length > LEASE_ID_MAX ? LEASE_ID_MAX : from->id_length;
	memcpy(client.id, from->id, client.id_length);
	if (state != LEASE_FREE && expires <= now)
		state = LEASE_FREE;
	if (expires != LEASE_FOREVER)
		expires -= server->clock_offset;
	lease_table_restore(server->leases, from->address, state,
			    state == LEASE_QUARANTINED || (!client.has_mac && !client.id_length) ? NULL : &client, expires);
	lease = lease_by_address(server->leases, from->address);
	if (lease)
		lease->updated = from->updated;
}

static void restore(void *arg, const struct store_lease *from)
{
	dhcp_restore(arg, from);
}

static int load(struct dhcp_server *server)
{
	int r = lease_table_new(&server->leases, server->config);

	if (r < 0)
		return r;
	lease_table_backwards(server->leases, server->config->dhcp_backup);
	avoid_own(server);
	r = store_lease_each(server->store, restore, server);
	if (r < 0) {
		log_error("DHCP: leases cannot be read from %s/bootwell.db: %s; restore that file from a copy, or move it away to "
			  "begin with none",
			  server->config->state_path, store_error(server->store));
		return r;
	}
	return 0;
}

/* --- life --------------------------------------------------------------------------------------------------------- */
static int start(struct dhcp_server *server)
{
	struct loop *loop = server->loop;
	int r;

	server->clock_offset = (int64_t)(dhcp_clock(true) / NS) - (int64_t)(dhcp_clock(false) / NS);
	r = dhcp_batch_new(server);
	if (!r)
		r = ratelimit_new(&server->limit, DHCP_SOURCE_RATE, DHCP_SOURCE_BURST);
	if (!r)
		r = loop_add_timer(loop, UINT64_MAX, on_expiry, server, &server->expiry);
	if (!r)
		r = loop_add_timer(loop, UINT64_MAX, on_change, server, &server->retry);
	if (!r)
		r = netif_watch_add(server->netif, on_change, server, &server->watch);
	if (!r)
		r = load(server);
	return r;
}

int dhcp_server_new(struct dhcp_server **ret, struct loop *loop, struct netif *netif, const struct config *config,
		    struct store *store, struct boot *boot)
{
	struct dhcp_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->netif = netif;
	server->config = config;
	server->store = store;
	server->boot = boot;
	server->packet_fd = -1;
	r = start(server);
	if (r < 0) {
		dhcp_server_free(server);
		return r;
	}
	sync_sockets(server);
	dhcp_lease_expired(server);
	*ret = server;
	return 0;
}

int dhcp_server_reload(struct dhcp_server *server, const struct config *config)
{
	struct lease_table *leases;
	int r = lease_table_new(&leases, config);

	if (r < 0)
		return r;
	dhcp_prober_stop_all(server->prober);
	dhcp_peer_stop_held(server->peer);
	dhcp_batch_drain(server);
	lease_table_copy(leases, server->leases);
	lease_table_free(server->leases);
	server->leases = leases;
	server->config = config;
	lease_table_backwards(leases, config->dhcp_backup);
	avoid_own(server);
	sync_sockets(server);
	dhcp_lease_expired(server);
	return 0;
}

void dhcp_server_free(struct dhcp_server *server)
{
	if (!server)
		return;
	dhcp_prober_free(server->prober);
	dhcp_batch_free(server);
	dhcp_peer_free(server->peer);
	for (size_t i = 0; i < server->listeners; i++)
		listener_free(server->listener[i]);
	netif_watch_free(server->watch);
	loop_source_free(server->retry);
	loop_source_free(server->expiry);
	if (server->packet_fd >= 0)
		close(server->packet_fd);
	lease_table_free(server->leases);
	ratelimit_free(server->limit);
	free(server);
}

const struct dhcp_stats *dhcp_server_stats(struct dhcp_server *server)
{
	struct dhcp_stats *s = &server->stats;

	s->leases = (uint32_t)lease_table_count(server->leases, LEASE_BOUND);
	s->offers = (uint32_t)lease_table_count(server->leases, LEASE_OFFERED);
	s->quarantined = (uint32_t)lease_table_count(server->leases, LEASE_QUARANTINED);
	s->addresses = lease_table_addresses(server->leases);
	return s;
}
