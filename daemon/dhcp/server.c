/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets: one for each interface of a subnet, bound to that device, so that other DHCP servers may serve other
 * interfaces of this machine; one for all when a subnet is only reached through relays.
 */
#include "daemon/core/datagram.h"
#include "daemon/core/inet.h"
#include "daemon/core/udp.h"
#include "daemon/dhcp/book.h"
#include "daemon/dhcp/peer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define RECV_BUFFERS  512
#define SOCKET_BUFFER (4 << 20) /* bytes: what arrives while a commit runs */

/* --- receiving ---------------------------------------------------------------------------------------------------- */
static void on_datagram(void *arg, const struct loop_datagram *dgram)
{
	struct dhcp_listener *listener = arg;
	struct dhcp_server *server = listener->server;
	static struct dhcp_request request;
	struct datagram_addresses from;
	enum dhcp_outcome outcome = DHCP_OUTCOME_MALFORMED;

	request.listener = listener;
	if (!datagram_addresses(dgram, &from))
		return; /* not by IPv4 */
	if (dgram->truncated || dhcp_packet_parse(&request.packet, dgram->data, dgram->length) < 0) {
		dhcp_decide_unreadable(server, from.source, from.ifindex, dgram->length);
	} else {
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

/* A message that waited for a probe of its address, or for the other one of the pair, is decided now. */
static void on_probed(struct dhcp_server *server, struct dhcp_request *request)
{
	enum dhcp_outcome outcome = dhcp_decide_probed(server, request);

	if (outcome != DHCP_OUTCOME_PROBING) /* counted when it came */
		server->stats.outcome[outcome]++;
}

static void on_held(struct dhcp_server *server, struct dhcp_request *request)
{
	server->stats.outcome[dhcp_decide_held(server, request)]++;
}

/* --- sockets ------------------------------------------------------------------------------------------------------ */
/* A subnet whose addresses are all taken, and somebody asked in vain a moment ago. */
static bool is_full(const struct dhcp_server *server, unsigned int i)
{
	int64_t asked = lease_table_notes(server->leases, i)->asked_in_vain;

	return asked && dhcp_now(server) < asked + DHCP_FULL_TOLD;
}

static const char *full_problem(struct dhcp_server *server, unsigned int *n)
{
	struct lease_usage usage;

	for (unsigned int i = 0; i < server->config->subnets; i++) {
		if (!is_full(server, i) || (*n)--)
			continue;
		lease_table_usage(server->leases, i, &usage);
		snprintf(
			server->full_text, sizeof(server->full_text),
			"DHCP: PCs ask in vain for an address of [subnet %s]: of its %llu addresses %zu are leased and "
			"%zu found in use by others; make its range larger or its lease time shorter, or free "
			"addresses "
			"with `bootwell dhcp free`",
			server->config->subnet[i].name, (unsigned long long)usage.addresses, usage.bound,
			usage.quarantined);
		return server->full_text;
	}
	return NULL;
}

const char *dhcp_server_problem(struct dhcp_server *server, unsigned int n)
{
	const char *text = problems_at(&server->problems, n);

	if (text)
		return text;
	n -= server->problems.count;
	text = full_problem(server, &n);
	return text ? text : dhcp_peer_problem(server->peer, n, server->peer_text, sizeof(server->peer_text));
}

enum dhcp_peer_state dhcp_server_peer(const struct dhcp_server *server)
{
	return !server->peer ? DHCP_PEER_NONE : dhcp_peer_alive(server->peer) ? DHCP_PEER_ALIVE : DHCP_PEER_SILENT;
}

bool dhcp_server_is_peer(const struct dhcp_server *server, uint32_t address)
{
	return server->peer && (address == server->peer_address || dhcp_peer_has(server->peer, address));
}

bool dhcp_server_subnet(const struct dhcp_server *server, unsigned int n, struct dhcp_subnet_stats *ret)
{
	struct lease_usage usage;

	if (n >= server->config->subnets || server->config->dhcp_mode != CONFIG_DHCP_FULL)
		return false;
	lease_table_usage(server->leases, n, &usage);
	*ret = (struct dhcp_subnet_stats){.name = server->config->subnet[n].name,
					  .addresses = usage.addresses,
					  .leases = usage.bound,
					  .offers = usage.offered,
					  .quarantined = usage.quarantined,
					  .full = is_full(server, n)};
	return true;
}

unsigned int dhcp_server_free_leases(struct dhcp_server *server, uint32_t address, bool unbooted)
{
	return book_free(server, address, unbooted);
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
	listener->fd = r = udp_open(&(struct udp_server){
		.port = port, .interface = listener->interface, .receive = SOCKET_BUFFER, .send = SOCKET_BUFFER});
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
	char what[64];
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
	snprintf(what, sizeof(what), "DHCP is not served on %s", *interface ? interface : "all interfaces");
	if (r < 0)
		udp_problem(&server->problems, what, port, r);
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

	if (!link) {
		problems_add(&server->problems,
			     "%s:%u: [subnet %s] is not served: there is no interface %s (see `ip link`); it is served "
			     "as soon "
			     "as there is",
			     server->config->file, s->line, s->name, s->interface);
		return;
	}
	/* Its PCs come by a relay, then, and our address on the way to it will do. */
	if (!s->server && !netif_address_in(server->netif, link->index, s->network, s->prefix) &&
	    !lease_table_notes(server->leases, (unsigned int)(s - server->config->subnet))->relayed)
		problems_add(&server->problems,
			     "%s:%u: PCs on interface %s are not served from [subnet %s]: the interface has no address "
			     "in %s/%u; "
			     "give it one with `ip addr add`; if its PCs come by a relay, leave this until the first "
			     "one does, or "
			     "leave `interface` out",
			     server->config->file, s->line, s->interface, s->name, inet_text(s->network).s, s->prefix);
	else if (s->server && !netif_address_own(server->netif, s->server))
		problems_add(&server->problems,
			     "%s:%u: [subnet %s] answers with a server address that this machine does not have; give "
			     "it to %s "
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
		dhcp_batch_unconfirmed(server);
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
					       : link && link->index == l->ifindex &&
							 !strcmp(l->interface, c->subnet[k].interface);
		l->wanted = wanted && (l->port == dhcp_client_port(c) ||
				       (l->port == DHCP_PORT_PXE && dhcp_client_port(c) == DHCP_PORT_SERVER));
	}
}

uint16_t dhcp_client_port(const struct config *config)
{
	return config->dhcp_backup && config->dhcp_port == DHCP_PEER_PORT ? DHCP_PORT_SERVER : config->dhcp_port;
}

static void close_peer(struct dhcp_server *server)
{
	dhcp_peer_free(server->peer);
	server->peer = NULL;
	server->sink = (struct dhcp_sink){0};
}

static void open_peer(struct dhcp_server *server)
{
	const struct config *c = server->config;
	bool wanted = c->dhcp_peer && c->dhcp_mode == CONFIG_DHCP_FULL;
	int r;

	if (server->peer && (!wanted || server->peer_address != c->dhcp_peer || server->is_backup != c->dhcp_backup)) {
		close_peer(server);
	}
	if (!wanted || server->peer)
		return;
	r = dhcp_peer_new(&server->peer, server, c->dhcp_peer, c->dhcp_backup, on_held);
	if (r >= 0)
		server->sink = dhcp_peer_sink(server->peer);
	server->peer_address = c->dhcp_peer;
	server->is_backup = c->dhcp_backup;
	if (r < 0)
		udp_problem(&server->problems, "DHCP leases are not shared with the peer", DHCP_PEER_PORT, r);
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
	r = dhcp_prober_new(&server->prober, server, on_probed);
	if (r < 0)
		problems_add(&server->problems,
			     "DHCP offers addresses without asking first whether somebody uses them: %s; start the "
			     "server as "
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
	problems_begin(&server->problems);
	if (c->dhcp_mode == CONFIG_DHCP_OFF) {
		close_peer(server);
		goto out;
	}
	if (server->packet_fd < 0)
		server->packet_fd = dhcp_packet_socket();
	if (server->packet_fd < 0)
		problems_add(&server->problems,
			     "DHCP answers go out as broadcasts only: no packet socket: %s; start the server as root "
			     "or with "
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
	problems_end(&server->problems);
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

/* A lease that went with the change of another one is written down, too. */
static void on_freed(void *arg, struct lease *lease)
{
	struct dhcp_server *server = arg;

	if (!lease->version[0] && !lease->version[1])
		return; /* only offered so far */
	dhcp_stamp(server, lease);
	dhcp_record(server, dhcp_answer_new(server, true), lease);
}

/* --- leases at the start ------------------------------------------------------------------------------------------ */
static int load(struct dhcp_server *server)
{
	int r = lease_table_new(&server->leases, server->config);

	if (r < 0)
		return r;
	lease_table_backwards(server->leases, server->config->dhcp_backup);
	lease_table_on_freed(server->leases, on_freed, server);
	avoid_own(server);
	r = book_open(server);
	if (r < 0) {
		log_error("DHCP: leases cannot be read from %s/bootwell.db: %s; restore that file from a copy, or move "
			  "it away to "
			  "begin with none",
			  server->config->state_path, state_error(server->state));
		return r;
	}
	return 0;
}

/* --- the clock ---------------------------------------------------------------------------------------------------- */
/* The kernel tells who waits for a moment of CLOCK_REALTIME that the clock was set (timerfd_create(2)). */
static int arm_clock(int fd)
{
	struct itimerspec never = {.it_value.tv_sec = INT32_MAX};

	return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0 ? -errno : 0;
}

static void on_clock(void *arg, uint32_t revents)
{
	struct dhcp_server *server = arg;
	uint64_t ticks;

	(void)revents;
	if (read(server->clock_fd, &ticks, sizeof(ticks)) < 0 && errno == EAGAIN)
		return;
	log_limited(1, LOG_LEVEL_NOTICE, "the clock was set: leases are written anew by it");
	book_clock_was_set(server);
	arm_clock(server->clock_fd);
}

static int watch_clock(struct dhcp_server *server)
{
	int r;

	server->clock_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (server->clock_fd < 0)
		return -errno;
	r = arm_clock(server->clock_fd);
	return r < 0 ? r : loop_add_poll(server->loop, server->clock_fd, POLLIN, on_clock, server, &server->clock);
}

/* --- life --------------------------------------------------------------------------------------------------------- */
static int start(struct dhcp_server *server)
{
	struct loop *loop = server->loop;
	int r = dhcp_batch_new(server);

	if (!r)
		r = ratelimit_new(&server->limit, DHCP_SOURCE_RATE, DHCP_SOURCE_BURST);
	if (!r)
		r = ratelimit_new(&server->over, DHCP_OVER_RATE, DHCP_OVER_RATE);
	if (!r)
		r = ratelimit_new(&server->newcomers, DHCP_NEW_RATE, DHCP_NEW_BURST);
	if (!r)
		r = problems_init(&server->problems, loop, on_change, server);
	if (!r)
		r = netif_watch_add(server->netif, on_change, server, &server->watch);
	if (!r)
		r = load(server);
	if (!r)
		r = watch_clock(server);
	return r;
}

/* A range beside mode = proxy: somebody expects addresses from it. */
static void tell_unused(const struct config *config)
{
	for (size_t i = 0; i < config->subnets && config->dhcp_mode == CONFIG_DHCP_PROXY; i++)
		if (config->subnet[i].ranges)
			log_warning(
				"%s:%u: range of [subnet %s] is not used: with mode = proxy another server gives the "
				"addresses",
				config->file, config->subnet[i].line, config->subnet[i].name);
}

int dhcp_server_new(struct dhcp_server **ret, struct loop *loop, struct netif *netif, const struct config *config,
		    struct state *state, struct boot *boot)
{
	struct dhcp_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->netif = netif;
	server->config = config;
	server->state = state;
	server->boot = boot;
	server->packet_fd = server->clock_fd = -1;
	r = start(server);
	if (r < 0) {
		dhcp_server_free(server);
		return r;
	}
	tell_unused(config);
	sync_sockets(server);
	dhcp_batch_expire(server);
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
	dhcp_batch_unconfirmed(server);
	lease_table_copy(leases, server->leases);
	lease_table_free(server->leases);
	server->leases = leases;
	server->config = config;
	lease_table_backwards(leases, config->dhcp_backup);
	lease_table_on_freed(leases, on_freed, server);
	avoid_own(server);
	tell_unused(config);
	sync_sockets(server);
	dhcp_batch_expire(server);
	return dhcp_peer_reload(server->peer);
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
	problems_done(&server->problems);
	loop_source_free(server->clock);
	if (server->clock_fd >= 0)
		close(server->clock_fd);
	if (server->packet_fd >= 0)
		close(server->packet_fd);
	lease_table_free(server->leases);
	ratelimit_free(server->limit);
	ratelimit_free(server->over);
	ratelimit_free(server->newcomers);
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
