/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What becomes of a message (RFC 2131 §4.3). The subnet first: a relay's giaddr (or the link that it names) decides, else
 * the interface; where several subnets share an interface, the one that already knows the client, else the first with a
 * free address. Then the four states of a REQUEST, told apart by §4.3.2:
 *
 *	option 54	option 50	ciaddr
 *	yes		yes		0	SELECTING: ours or another's
 *	no		yes		0	INIT-REBOOT: NAK what is wrong, silence about who is unknown
 *	no		no		set	RENEWING (unicast) and REBINDING (broadcast)
 *
 * In proxy mode nobody gets an address from us: only PXE DISCOVERs and requests on port 4011 are answered.
 */
#include "daemon/dhcp_peer.h"

#include <errno.h>
#include <string.h>

static bool in_subnet(const struct config_subnet *s, uint32_t address)
{
	uint32_t mask = s->prefix ? ~0u << (32 - s->prefix) : 0;

	return (address & mask) == (s->network & mask);
}

/* Where the client is, as told by a relay; 0: not by a relay. */
static uint32_t relayed_link(const struct dhcp_request *request)
{
	size_t length, n;
	const uint8_t *value = dhcp_option(&request->packet, DHCP_OPT_RELAY, &length), *link;
	uint32_t address;

	if (!request->packet.giaddr)
		return 0;
	link = value ? dhcp_suboption(value, length, DHCP_RELAY_LINK, &n) : NULL;
	if (link && n == 4)
		return (uint32_t)link[0] << 24 | (uint32_t)link[1] << 16 | (uint32_t)link[2] << 8 | link[3];
	if (dhcp_option_u32(&request->packet, DHCP_OPT_SUBNET_SELECTION, &address) && address)
		return address;
	return request->packet.giaddr;
}

/* Our address on the subnet; 0: we have none, so we cannot serve it. */
static uint32_t server_address(const struct dhcp_server *server, const struct dhcp_request *request,
			       const struct config_subnet *s)
{
	const struct netif_address *a;

	if (s->server)
		return s->server;
	if (*s->interface) {
		const struct netif_link *link = netif_link_by_name(server->netif, s->interface);

		a = link ? netif_address_in(server->netif, link->index, s->network, s->prefix) : NULL;
		if (a)
			return a->address;
	}
	if (netif_address_own(server->netif, request->local))
		return request->local;
	a = netif_address_at(server->netif, request->ifindex, 0);
	return a ? a->address : 0;
}

static int take_subnet(struct dhcp_server *server, struct dhcp_request *request, size_t i)
{
	struct config_subnet *s = &server->config->subnet[i];
	size_t length, n;
	const uint8_t *value, *override;

	request->subnet = (unsigned int)i;
	request->server = request->server_id = server_address(server, request, s);
	if (!request->server)
		return -ENOENT;
	value = dhcp_option(&request->packet, DHCP_OPT_RELAY, &length);
	override = value && request->packet.giaddr ? dhcp_suboption(value, length, DHCP_RELAY_SERVER_ID, &n) : NULL;
	if (override && n == 4)
		request->server_id = (uint32_t)override[0] << 24 | (uint32_t)override[1] << 16 |
				     (uint32_t)override[2] << 8 | override[3];
	return 0;
}

static bool is_local(const struct dhcp_server *server, const struct dhcp_request *request, size_t i)
{
	const struct config_subnet *s = &server->config->subnet[i];
	const struct netif_link *link = netif_link_by_index(server->netif, request->ifindex);

	return link && *s->interface && !strcmp(link->name, s->interface);
}

static int subnet_by_address(struct dhcp_server *server, struct dhcp_request *request, uint32_t address)
{
	for (size_t i = 0; i < server->config->subnets; i++)
		if (in_subnet(&server->config->subnet[i], address))
			return take_subnet(server, request, i);
	return -ENOENT;
}

/* Of the subnets on this interface: the one that knows the client, the one it asks for, the first that has room. */
static int subnet_by_interface(struct dhcp_server *server, struct dhcp_request *request)
{
	const struct config *config = server->config;
	const struct config_client *named =
		config_client_find(config, request->who.mac, request->who.has_uuid ? request->who.uuid : NULL,
				   request->who.circuit);
	uint32_t asked = request->packet.ciaddr ? request->packet.ciaddr : request->requested, selection;
	size_t best = config->subnets;
	int score, most = -1;

	if (!dhcp_option_u32(&request->packet, DHCP_OPT_SUBNET_SELECTION, &selection))
		selection = 0;
	for (size_t i = 0; i < config->subnets; i++) {
		struct lease *lease;

		if (!is_local(server, request, i))
			continue;
		lease = lease_by_client(server->leases, (unsigned int)i, &request->client);
		score = selection && in_subnet(&config->subnet[i], selection)			   ? 5
			: named && named->address && in_subnet(&config->subnet[i], named->address) ? 4
			: lease && lease->state == LEASE_BOUND					   ? 3
			: lease									   ? 2
			: asked && in_subnet(&config->subnet[i], asked)				   ? 1
												   : 0;
		if (score > most) {
			most = score;
			best = i;
		}
	}
	return best < config->subnets ? take_subnet(server, request, best) : -ENOENT;
}

static int find_subnet(struct dhcp_server *server, struct dhcp_request *request)
{
	uint32_t link = relayed_link(request);
	int r;

	if (link)
		return subnet_by_address(server, request, link);
	r = subnet_by_interface(server, request);
	/* A renewal that was routed to us: from a subnet behind a relay. */
	if (r < 0 && request->packet.ciaddr && request->packet.ciaddr == request->source)
		return subnet_by_address(server, request, request->packet.ciaddr);
	return r;
}

static int identify(struct dhcp_server *server, struct dhcp_request *request)
{
	memset(&request->boot, 0, sizeof(request->boot));
	return boot_identify(server->boot, &request->who, request->server, &request->boot);
}

static int64_t lease_end(const struct dhcp_server *server, const struct dhcp_request *request)
{
	uint32_t time = dhcp_lease_time(server, request);

	return time == UINT32_MAX ? LEASE_FOREVER : dhcp_now(server) + time;
}

static enum dhcp_outcome acknowledge(struct dhcp_server *server, struct dhcp_request *request, struct lease *lease)
{
	struct dhcp_answer *answer;

	lease_set(server->leases, lease, LEASE_BOUND, &request->client, lease_end(server, request));
	lease->updated = (int64_t)(dhcp_clock(true) / 1000000000ull);
	answer = dhcp_reply(server, request, DHCP_ACK, lease, NULL);
	answer->registers = true;
	answer->who = request->who;
	memcpy(answer->nbp, request->boot.nbp, sizeof(answer->nbp));
	dhcp_record(server, answer, lease);
	return DHCP_OUTCOME_ANSWERED;
}

static enum dhcp_outcome refuse(struct dhcp_server *server, struct dhcp_request *request, const char *why)
{
	dhcp_reply(server, request, DHCP_NAK, NULL, why);
	return DHCP_OUTCOME_ANSWERED;
}

/* Not of an address that this client has, or was offered a moment ago. */
static bool needs_probe(const struct dhcp_server *server, const struct dhcp_request *request, const struct lease *lease)
{
	bool his = lease->known && lease_client_equal(&lease->client, &request->client);

	if (!server->prober || (his && (lease->state == LEASE_BOUND)))
		return false;
	return !lease->probed || lease->probed + DHCP_PROBE_FRESH < dhcp_now(server);
}

static enum dhcp_outcome discover(struct dhcp_server *server, struct dhcp_request *request)
{
	struct lease *lease;
	int64_t end;
	bool needs;
	int r;

	/* An offer that cannot become a lease would only keep the other server of the pair from making its own. */
	if (server->store_failed && dhcp_peer_alive(server->peer) &&
	    dhcp_now(server) < server->store_failed + DHCP_STORE_RETRY)
		return DHCP_OUTCOME_STORE_FAILED;
	if (!request->rounds && dhcp_probing(server->prober, request))
		return DHCP_OUTCOME_PROBING;
	r = lease_choose(server->leases, request->subnet, &request->client, request->boot.reserved,
			     request->requested, &lease);

	if (r < 0) {
		log_limited(&server->log_full, 3, LOG_LEVEL_WARNING,
			    "DHCP: no free address left in [subnet %s] for a PC that asks for one: make its range larger "
			    "or its lease time shorter",
			    server->config->subnet[request->subnet].name);
		return DHCP_OUTCOME_EXHAUSTED;
	}
	needs = needs_probe(server, request, lease);
	/* Whoever still has a lease keeps it while he asks again. */
	end = dhcp_now(server) + LEASE_OFFER_TIME;
	if (lease->state != LEASE_BOUND)
		lease_set(server->leases, lease, LEASE_OFFERED, &request->client, end);
	if (needs && request->rounds < DHCP_PROBE_ROUNDS && dhcp_probe(server->prober, request, lease->address) == 0)
		return DHCP_OUTCOME_PROBING;
	dhcp_reply(server, request, DHCP_OFFER, lease, NULL);
	return DHCP_OUTCOME_ANSWERED;
}

static enum dhcp_outcome other_server(struct dhcp_server *server, struct dhcp_request *request)
{
	struct lease *lease = lease_by_client(server->leases, request->subnet, &request->client);

	if (lease && lease->state == LEASE_OFFERED)
		lease_set(server->leases, lease, LEASE_FREE, NULL, 0);
	return DHCP_OUTCOME_OTHER_SERVER;
}

static enum dhcp_outcome select_request(struct dhcp_server *server, struct dhcp_request *request)
{
	struct lease *lease;
	int r;

	if (request->chosen_server != request->server_id && request->chosen_server != request->server)
		return other_server(server, request);
	if (!request->has_requested)
		return DHCP_OUTCOME_MALFORMED;
	r = lease_claim(server->leases, request->subnet, &request->client, request->boot.reserved, request->requested,
			&lease);
	if (r == -EADDRINUSE)
		return refuse(server, request, "address is not available");
	return r < 0 ? DHCP_OUTCOME_EXHAUSTED : acknowledge(server, request, lease);
}

/* INIT-REBOOT, RENEWING and REBINDING: the client names an address that it believes to have. */
static enum dhcp_outcome confirm(struct dhcp_server *server, struct dhcp_request *request, uint32_t address)
{
	struct lease *lease = lease_by_address(server->leases, address), *own;
	bool known = lease && lease->known && lease_client_equal(&lease->client, &request->client);

	if (!in_subnet(&server->config->subnet[request->subnet], address))
		return refuse(server, request, "wrong network");
	if (!lease_allowed(server->leases, request->subnet, address, request->boot.reserved) ||
	    (lease && lease->state == LEASE_BOUND && !known) || (lease && lease->state == LEASE_QUARANTINED))
		return refuse(server, request, "address is not available");
	if (known || address == request->boot.reserved) {
		int r = lease_claim(server->leases, request->subnet, &request->client, request->boot.reserved, address,
				    &lease);

		return r < 0 ? DHCP_OUTCOME_EXHAUSTED : acknowledge(server, request, lease);
	}
	own = lease_by_client(server->leases, request->subnet, &request->client);
	if (own && own->state == LEASE_BOUND)
		return refuse(server, request, "another address is yours");
	return DHCP_OUTCOME_UNKNOWN;
}

static enum dhcp_outcome on_request(struct dhcp_server *server, struct dhcp_request *request)
{
	if (request->has_server_id)
		return select_request(server, request);
	if (request->packet.ciaddr)
		return confirm(server, request, request->packet.ciaddr);
	if (request->has_requested)
		return confirm(server, request, request->requested);
	return DHCP_OUTCOME_MALFORMED;
}

/* Only the holder may decline or release: a stranger who names an address changes nothing. */
static struct lease *held(struct dhcp_server *server, const struct dhcp_request *request, uint32_t address)
{
	struct lease *lease = lease_by_address(server->leases, address);

	if (request->has_server_id && request->chosen_server != request->server_id &&
	    request->chosen_server != request->server)
		return NULL;
	if (!lease || !lease->known || !lease_client_equal(&lease->client, &request->client))
		return NULL;
	return lease->state == LEASE_BOUND || lease->state == LEASE_OFFERED ? lease : NULL;
}

static enum dhcp_outcome decline(struct dhcp_server *server, struct dhcp_request *request)
{
	struct lease *lease = held(server, request, request->requested);

	if (!lease)
		return DHCP_OUTCOME_UNKNOWN;
	dhcp_quarantine(server, lease, "says the PC that was given it");
	return DHCP_OUTCOME_NOTED;
}

static enum dhcp_outcome release(struct dhcp_server *server, struct dhcp_request *request)
{
	struct lease *lease = held(server, request, request->packet.ciaddr);

	if (!lease)
		return DHCP_OUTCOME_UNKNOWN;
	lease_set(server->leases, lease, LEASE_FREE, NULL, 0);
	lease->updated = (int64_t)(dhcp_clock(true) / 1000000000ull);
	dhcp_record(server, dhcp_answer_new(server, true), lease);
	return DHCP_OUTCOME_NOTED;
}

static enum dhcp_outcome inform(struct dhcp_server *server, struct dhcp_request *request)
{
	if (!request->packet.ciaddr && !request->source)
		return DHCP_OUTCOME_MALFORMED;
	dhcp_reply(server, request, DHCP_ACK, NULL, NULL);
	return DHCP_OUTCOME_ANSWERED;
}

static enum dhcp_outcome proxy(struct dhcp_server *server, struct dhcp_request *request)
{
	bool pxe_port = request->listener->port == DHCP_PORT_PXE;
	uint8_t type = request->packet.type;

	if (!(request->sender.pxe || request->sender.http || request->sender.ipxe) || !*request->boot.nbp)
		return DHCP_OUTCOME_NOT_OURS;
	if (type == DHCP_DISCOVER && !pxe_port)
		dhcp_reply(server, request, DHCP_OFFER, NULL, NULL);
	else if (pxe_port && (type == DHCP_REQUEST || type == DHCP_DISCOVER || type == DHCP_INFORM))
		dhcp_reply(server, request, DHCP_ACK, NULL, NULL);
	else
		return DHCP_OUTCOME_NOT_OURS;
	return DHCP_OUTCOME_ANSWERED;
}

static enum dhcp_outcome serve(struct dhcp_server *server, struct dhcp_request *request)
{
	switch (request->packet.type) {
	case DHCP_DISCOVER:
		return discover(server, request);
	case DHCP_REQUEST:
		return on_request(server, request);
	case DHCP_DECLINE:
		return decline(server, request);
	case DHCP_RELEASE:
		return release(server, request);
	case DHCP_INFORM:
		return inform(server, request);
	default:
		return DHCP_OUTCOME_NOT_OURS;
	}
}

static void fill_identity(struct dhcp_request *request)
{
	const struct dhcp_sender *sender = &request->sender;
	size_t length;
	const uint8_t *id = dhcp_option(&request->packet, DHCP_OPT_CLIENT_ID, &length);

	memset(&request->client, 0, sizeof(request->client));
	request->client.has_mac = sender->has_mac;
	memcpy(request->client.mac, sender->mac, sizeof(sender->mac));
	if (id && length && length <= LEASE_ID_MAX) {
		request->client.id_length = (uint8_t)length;
		memcpy(request->client.id, id, length);
	}
	memset(&request->who, 0, sizeof(request->who));
	memcpy(request->who.mac, sender->mac, sizeof(sender->mac));
	request->who.has_uuid = sender->has_uuid;
	memcpy(request->who.uuid, sender->uuid, sizeof(sender->uuid));
	memcpy(request->who.circuit, sender->circuit, sizeof(sender->circuit));
	request->who.arch = sender->arch;
	request->who.pxe = sender->pxe || sender->http;
	request->who.ipxe = sender->ipxe;
	request->requested = request->chosen_server = 0;
	request->has_requested = dhcp_option_u32(&request->packet, DHCP_OPT_REQUESTED_ADDRESS, &request->requested);
	request->has_server_id = dhcp_option_u32(&request->packet, DHCP_OPT_SERVER_ID, &request->chosen_server);
}

/* A relay is one machine: an answer to "all" or to a group would be a gift to somebody who floods. */
static bool giaddr_is_sane(uint32_t giaddr)
{
	return !giaddr || (giaddr >> 24 != 127 && giaddr >> 24 != 0 && giaddr >> 28 < 0xe);
}

enum dhcp_outcome dhcp_decide_probed(struct dhcp_server *server, struct dhcp_request *request)
{
	/* The client's record may have changed meanwhile. */
	if (identify(server, request) < 0)
		return DHCP_OUTCOME_STORE_FAILED;
	return discover(server, request);
}

enum dhcp_outcome dhcp_decide_held(struct dhcp_server *server, struct dhcp_request *request)
{
	if (find_subnet(server, request) < 0)
		return DHCP_OUTCOME_NO_SUBNET;
	if (identify(server, request) < 0)
		return DHCP_OUTCOME_STORE_FAILED;
	if (server->config->dhcp_mode == CONFIG_DHCP_PROXY || request->listener->port == DHCP_PORT_PXE)
		return proxy(server, request);
	return serve(server, request);
}

enum dhcp_outcome dhcp_decide(struct dhcp_server *server, struct dhcp_request *request)
{
	uint64_t source = 0;

	request->rounds = 0;
	if (request->packet.op != 1 || !giaddr_is_sane(request->packet.giaddr))
		return DHCP_OUTCOME_MALFORMED;
	fill_identity(request);
	if (!request->client.has_mac && !request->client.id_length)
		return DHCP_OUTCOME_MALFORMED;
	for (size_t i = 0; i < sizeof(request->packet.chaddr); i++)
		source = source * 257 + request->packet.chaddr[i];
	if (!ratelimit_take(server->limit, source, loop_now(server->loop)))
		return DHCP_OUTCOME_LIMITED;
	if (!request->packet.type)
		return DHCP_OUTCOME_NOT_OURS;
	if (dhcp_peer_holds(server->peer, request))
		return DHCP_OUTCOME_STANDBY;
	return dhcp_decide_held(server, request);
}
