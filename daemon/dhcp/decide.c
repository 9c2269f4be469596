/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What becomes of a message (RFC 2131 §4.3). The subnet first: a relay's giaddr (or the link that it names) decides,
 * else the interface; where several subnets share an interface, the one that already knows the client, else the first
 * with a free address. Then the four states of a REQUEST, told apart by §4.3.2:
 *
 *	option 54	option 50	ciaddr
 *	yes		yes		0	SELECTING: ours or another's
 *	no		yes		0	INIT-REBOOT: NAK what is wrong, silence about who is unknown
 *	no		no		set	RENEWING (unicast) and REBINDING (broadcast)
 *
 * In proxy mode nobody gets an address from us: only PXE DISCOVERs and requests on port 4011 are answered.
 */
#include "daemon/core/clock.h"
#include "daemon/core/inet.h"
#include "daemon/dhcp/book.h"
#include "daemon/dhcp/peer.h"

#include <errno.h>
#include <string.h>

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
		[DHCP_OUTCOME_STORE_FAILED] = "state_failed",
		[DHCP_OUTCOME_SEND_FAILED] = "send_failed",
		[DHCP_OUTCOME_PROBING] = "probing",
		[DHCP_OUTCOME_STANDBY] = "standby",
		[DHCP_OUTCOME_NOTED] = "noted",
	};

	return (unsigned int)outcome < DHCP_OUTCOMES ? name[outcome] : "?";
}

static bool in_subnet(const struct config_subnet *s, uint32_t address)
{
	return inet_within(address, s->network, s->prefix);
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
		request->server_id = (uint32_t) override[0] << 24 | (uint32_t) override[1] << 16 |
				     (uint32_t) override[2] << 8 | override[3];
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
	const struct config_client *named = identity_section_of(config, request->who.key, NULL);
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
		score = named && named->address && in_subnet(&config->subnet[i], named->address) ? 5
			: lease && lease->state == LEASE_BOUND                                   ? 4
			: selection && in_subnet(&config->subnet[i], selection)                  ? 3
			: lease                                                                  ? 2
			: asked && in_subnet(&config->subnet[i], asked)                          ? 1
												 : 0;
		if (score > most) {
			most = score;
			best = i;
		}
	}
	return best < config->subnets ? take_subnet(server, request, best) : -ENOENT;
}

/*
 * RFC 2131 §4.3.2: whoever has an address and sends to ours is where that address is (a renewal, an INFORM or a RELEASE
 * from behind a router). A broadcast with an address of elsewhere is a PC that was moved: it is on this interface.
 */
static int find_subnet(struct dhcp_server *server, struct dhcp_request *request)
{
	uint32_t link = relayed_link(request), ciaddr = request->packet.ciaddr;
	int r = -ENOENT;

	request->routed = false;
	if (link) {
		r = subnet_by_address(server, request, link);
		if (!r)
			lease_table_notes(server->leases, request->subnet)->relayed = true;
		return r;
	}
	if (ciaddr && netif_address_own(server->netif, request->local))
		r = subnet_by_address(server, request, ciaddr);
	if (r < 0)
		r = subnet_by_interface(server, request);
	if (r < 0 && ciaddr && ciaddr == request->source)
		r = subnet_by_address(server, request, ciaddr);
	request->routed = !r && ciaddr && !is_local(server, request, request->subnet);
	return r;
}

static void identify(struct dhcp_server *server, struct dhcp_request *request)
{
	memset(&request->boot, 0, sizeof(request->boot));
	boot_identify(server->boot, &request->who, request->server, &request->boot);
	if (request->sender.pi) /* no program for a PC's BIOS */
		request->boot.nbp[0] = '\0';
}

static int64_t lease_end(const struct dhcp_server *server, const struct dhcp_request *request)
{
	uint32_t time = dhcp_lease_time(server, request);

	return time == UINT32_MAX ? LEASE_FOREVER : dhcp_now(server) + time;
}

/* An ACK that says less than the one before may be lost: the PC keeps to what it was told, and so do we. */
static int64_t later_end(const struct dhcp_server *server, const struct dhcp_request *request,
			 const struct lease *lease)
{
	int64_t end = lease_end(server, request);

	return lease->state == LEASE_BOUND && lease->promised > end ? lease->promised : end;
}

/* Why this outcome: told where it is counted, at log = debug. */
static enum dhcp_outcome because(struct dhcp_request *request, enum dhcp_outcome outcome, const char *why)
{
	request->why = why;
	return outcome;
}

static struct dhcp_answer *answer(struct dhcp_server *server, struct dhcp_request *request, uint8_t type,
				  const struct lease *lease, const char *why)
{
	request->answer = type;
	request->given = lease ? lease->address : 0;
	request->why = why;
	return dhcp_reply(server, request, type, lease, type == DHCP_NAK ? why : NULL);
}

static bool is_of(const struct dhcp_request *request, const struct lease *lease)
{
	return lease && lease->known && lease_client_equal(&lease->client, &request->client);
}

/* The PC is known by more than its network card, and has the address by another card. */
static bool by_other_card(const struct dhcp_request *request, const struct lease *lease)
{
	return is_of(request, lease) && lease->state == LEASE_BOUND && lease->client.keyed &&
	       !lease_client_same_card(&lease->client, &request->client);
}

static bool is_his(const struct dhcp_request *request, const struct lease *lease)
{
	return is_of(request, lease) && !by_other_card(request, lease);
}

/* --- two cards of one PC ------------------------------------------------------------------------------------------ */
/*
 * A UUID and a circuit can be told by anybody. So who comes in the name of a PC by another card than the one that has
 * its address is that PC only when nobody is at that address any more. Else it is somebody else, known by its card,
 * with a record and a disk of its own.
 */
static void take_for_its_card(struct dhcp_request *request)
{
	identity_of_mac(request->who.mac, request->who.key);
	request->client.keyed = false;
	request->client.id_length = 0;
}

static void on_other_card(struct dhcp_server *server, struct dhcp_request *request, enum dhcp_heard heard)
{
	struct lease *lease = lease_by_client(server->leases, request->subnet, &request->client);
	bool routed = request->packet.giaddr || request->routed; /* a ping cannot tell who he is */
	enum dhcp_outcome outcome;

	request->rounds = 1;
	if (heard == DHCP_HEARD_OTHER || (heard == DHCP_HEARD_HIM && routed)) {
		log_limited(
			3, LOG_LEVEL_WARNING,
			"DHCP: %s says that it is the PC at %s (%s), but that is on, with the network card %s: the one "
			"that asks is taken for another PC",
			inet_mac_text(request->sender.mac).s, lease ? inet_text(lease->address).s : "?",
			identity_text(server->config, request->who.key).s,
			lease ? inet_mac_text(lease->client.mac).s : "?");
		take_for_its_card(request);
	} else if (lease && by_other_card(request, lease)) {
		memcpy(lease->client.mac, request->client.mac, sizeof(lease->client.mac));
	}
	outcome = dhcp_decide_probed(server, request);
	server->stats.outcome[outcome]++;
}

/* What was offered to it as somebody else it may have as that. */
static void take_as_offered(struct dhcp_server *server, struct dhcp_request *request, uint32_t address)
{
	const struct lease *lease = request->client.keyed ? lease_by_address(server->leases, address) : NULL;

	if (!lease || !lease->known || lease->client.keyed || lease->state == LEASE_FREE ||
	    !lease_client_same_card(&lease->client, &request->client))
		return;
	take_for_its_card(request);
	identify(server, request);
}

/* --- brief leases ------------------------------------------------------------------------------------------------- */
/*
 * Whoever invents MACs gets a lease for each, so the first one of a PC that nothing is known of is short. It lasts as
 * configuration says once the PC has asked for its script, or has answered by ARP (behind a router: by a ping) when it
 * renewed. A PC that goes on without DHCP is asked after when the short one ends: dhcp_batch_expire().
 */
static bool stays_brief(const struct dhcp_server *server, const struct dhcp_request *request, const struct lease *lease)
{
	uint32_t time = server->config->subnet[request->subnet].lease_time;

	if (time <= DHCP_LEASE_BRIEF || request->boot.booted || lease->address == request->boot.reserved)
		return false;
	return !is_his(request, lease) || lease->state != LEASE_BOUND || lease->brief;
}

static void on_holder(struct dhcp_server *server, struct dhcp_request *request, enum dhcp_heard heard)
{
	struct lease *lease = lease_by_address(server->leases, request->packet.ciaddr);

	if (heard == DHCP_HEARD_HIM && is_his(request, lease) && lease->state == LEASE_BOUND)
		lease->brief = false; /* from his next renewal on */
}

/* A renewal of a brief lease: is he really there? */
static void look_at_holder(struct dhcp_server *server, struct dhcp_request *request, struct lease *lease)
{
	if (!lease->brief || request->packet.ciaddr != lease->address)
		return;
	if (!server->prober)
		lease->brief = false;
	else
		dhcp_probe_holder(server->prober, request, lease->address, 0, on_holder); /* else the next time */
}

/* --- leases ------------------------------------------------------------------------------------------------------- */
/*
 * Somebody sends more in this PC's name than a PC does. It may be the PC's own message all the same, so it is answered;
 * but what is promised already is only said again, and costs no commit.
 */
static bool say_again(struct dhcp_server *server, struct dhcp_request *request, struct lease *lease)
{
	int64_t left = lease->promised - dhcp_now(server);

	if (!request->hurried || lease->state != LEASE_BOUND || !is_his(request, lease) || !lease->written ||
	    left < DHCP_LEASE_MIN)
		return false;
	request->time_left = lease->promised == LEASE_FOREVER || left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
	return true;
}

/* One more PC that was never seen before? Where PCs are not registered none is ever known, and there is no limit. */
static bool admits_new(struct dhcp_server *server, const struct dhcp_request *request)
{
	return !server->config->register_clients ||
	       ratelimit_take(server->newcomers, request->subnet, loop_now(server->loop));
}

/* `boots`: the message is of a PC that boots, not of one that has its address for long. */
static enum dhcp_outcome acknowledge(struct dhcp_server *server, struct dhcp_request *request, struct lease *lease,
				     bool boots, const char *why)
{
	bool again = say_again(server, request, lease), is_new = !request->boot.known && !lease->had;
	struct dhcp_answer *a;

	if (is_new && !admits_new(server, request)) {
		log_limited(
			1, LOG_LEVEL_WARNING,
			"DHCP: more new PCs in [subnet %s] than %u at once and %u a second: those that the server has "
			"not seen before wait; if they are not yours, look which port of the switch they come from",
			server->config->subnet[request->subnet].name, DHCP_NEW_BURST, DHCP_NEW_RATE);
		return because(request, DHCP_OUTCOME_LIMITED, "too many new PCs at once");
	}
	request->brief = stays_brief(server, request, lease);
	if (!again) {
		lease_set(server->leases, lease, LEASE_BOUND, &request->client, later_end(server, request, lease));
		dhcp_stamp(server, lease);
		lease->brief = request->brief;
		lease->had = true;
	}
	a = answer(server, request, DHCP_ACK, lease, why);
	a->registers = true;
	a->address = lease->address;
	a->who = request->who;
	/* Only the handshake of a boot is one: a single datagram in a PC's name changes nothing for it. */
	a->who.pxe &= boots;
	a->who.ipxe &= boots;
	memcpy(a->nbp, request->boot.nbp, sizeof(a->nbp));
	if (again)
		return DHCP_OUTCOME_ANSWERED;
	dhcp_record(server, a, lease);
	look_at_holder(server, request, lease);
	return DHCP_OUTCOME_ANSWERED;
}

static enum dhcp_outcome refuse(struct dhcp_server *server, struct dhcp_request *request, const char *why)
{
	answer(server, request, DHCP_NAK, NULL, why);
	return DHCP_OUTCOME_ANSWERED;
}

/* Not of an address that this client has, or was offered a moment ago. */
static bool needs_probe(const struct dhcp_server *server, const struct dhcp_request *request, const struct lease *lease)
{
	if (!server->prober || (is_his(request, lease) && lease->state == LEASE_BOUND))
		return false;
	return !lease->probed || lease->probed + DHCP_PROBE_FRESH < dhcp_now(server);
}

static enum dhcp_outcome exhausted(struct dhcp_server *server, struct dhcp_request *request)
{
	lease_table_notes(server->leases, request->subnet)->asked_in_vain = dhcp_now(server);
	log_limited(
		3, LOG_LEVEL_WARNING,
		"DHCP: no free address left in [subnet %s] for a PC that asks for one: make its range larger or its "
		"lease time shorter, or free addresses with `bootwell dhcp free`",
		server->config->subnet[request->subnet].name);
	return because(request, DHCP_OUTCOME_EXHAUSTED, "no address is free");
}

static enum dhcp_outcome discover(struct dhcp_server *server, struct dhcp_request *request)
{
	struct lease *lease;
	const char *why;
	int64_t end;
	bool needs;

	/* An offer that cannot become a lease would only keep the other server of the pair from making its own. */
	if (server->state_failed && dhcp_peer_alive(server->peer) &&
	    dhcp_now(server) < server->state_failed + DHCP_STORE_RETRY)
		return because(request, DHCP_OUTCOME_STORE_FAILED,
			       "leases cannot be written, the other server answers");
	if (!request->rounds && dhcp_probing(server->prober, request))
		return because(request, DHCP_OUTCOME_PROBING, "its address is being probed already");
	if (lease_choose(server->leases, request->subnet, &request->client, request->boot.reserved, request->requested,
			 &lease) < 0)
		return exhausted(server, request);
	why = lease->address == request->boot.reserved ? "reserved for it"
	      : is_his(request, lease)                 ? "the address that it has or had"
	      : lease->address == request->requested   ? "the address that it asks for"
						       : "a free address";
	if (by_other_card(request, lease)) {
		int r = dhcp_probe_holder(server->prober, request, lease->address, 0, on_other_card);

		if (!r || r == -EALREADY)
			return because(request, DHCP_OUTCOME_PROBING, "its other network card is asked for first");
		memcpy(lease->client.mac, request->client.mac, sizeof(lease->client.mac));
	}
	needs = needs_probe(server, request, lease);
	/* Whoever still has a lease keeps it while he asks again. */
	end = dhcp_now(server) + LEASE_OFFER_TIME;
	request->brief = stays_brief(server, request, lease);
	lease->had &= is_his(request, lease);
	if (lease->state != LEASE_BOUND)
		lease_set(server->leases, lease, LEASE_OFFERED, &request->client, end);
	if (needs && request->rounds < DHCP_PROBE_ROUNDS && dhcp_probe(server->prober, request, lease->address) == 0)
		return because(request, DHCP_OUTCOME_PROBING, "the network is asked first who uses that address");
	answer(server, request, DHCP_OFFER, lease, why);
	return DHCP_OUTCOME_ANSWERED;
}

static enum dhcp_outcome other_server(struct dhcp_server *server, struct dhcp_request *request)
{
	struct lease *lease = lease_by_client(server->leases, request->subnet, &request->client);

	if (lease && lease->state == LEASE_OFFERED)
		lease_set(server->leases, lease, LEASE_FREE, NULL, 0);
	return because(request, DHCP_OUTCOME_OTHER_SERVER, "it chose another server");
}

/* What was neither offered to this PC nor is its own is not given: one datagram would take a PC's place. */
static enum dhcp_outcome select_request(struct dhcp_server *server, struct dhcp_request *request)
{
	struct lease *lease = lease_by_address(server->leases, request->requested);
	int r;

	take_as_offered(server, request, request->requested);
	if (request->chosen_server != request->server_id && request->chosen_server != request->server)
		return other_server(server, request);
	if (!request->has_requested)
		return because(request, DHCP_OUTCOME_MALFORMED, "it names no address");
	if (!is_his(request, lease) && request->requested != request->boot.reserved) {
		log_limited(3, LOG_LEVEL_NOTICE,
			    "DHCP: %s asks for %s, which it was not offered and does not have: refused",
			    inet_mac_text(request->sender.mac).s, inet_text(request->requested).s);
		return refuse(server, request, "that address was not offered");
	}
	r = by_other_card(request, lease) ? -EADDRINUSE
					  : lease_claim(server->leases, request->subnet, &request->client,
							request->boot.reserved, request->requested, &lease);
	if (r == -EADDRINUSE)
		return refuse(server, request, "address is not available");
	if (r < 0)
		return because(request, DHCP_OUTCOME_EXHAUSTED, "no memory");
	return acknowledge(server, request, lease, true, "it takes the offer");
}

/* INIT-REBOOT, RENEWING and REBINDING: the client names an address that it believes to have. */
static enum dhcp_outcome confirm(struct dhcp_server *server, struct dhcp_request *request, uint32_t address)
{
	struct lease *lease = lease_by_address(server->leases, address), *own;
	bool known;

	take_as_offered(server, request, address);
	known = is_his(request, lease);

	if (!in_subnet(&server->config->subnet[request->subnet], address))
		return refuse(server, request, "wrong network");
	if (!lease_allowed(server->leases, request->subnet, address, request->boot.reserved) ||
	    (lease && lease->state == LEASE_BOUND && !known) || (lease && lease->state == LEASE_QUARANTINED))
		return refuse(server, request, "address is not available");
	if (known || address == request->boot.reserved) {
		int r = lease_claim(server->leases, request->subnet, &request->client, request->boot.reserved, address,
				    &lease);

		return r < 0 ? because(request, DHCP_OUTCOME_EXHAUSTED, "no memory")
			     : acknowledge(server, request, lease, false, "its own address");
	}
	own = lease_by_client(server->leases, request->subnet, &request->client);
	if (own && own->state == LEASE_BOUND)
		return refuse(server, request, "another address is yours");
	return because(request, DHCP_OUTCOME_UNKNOWN, "nothing is known of that address");
}

static enum dhcp_outcome on_request(struct dhcp_server *server, struct dhcp_request *request)
{
	if (request->has_server_id)
		return select_request(server, request);
	if (request->packet.ciaddr)
		return confirm(server, request, request->packet.ciaddr);
	if (request->has_requested)
		return confirm(server, request, request->requested);
	return because(request, DHCP_OUTCOME_MALFORMED, "it names no address");
}

/* Only the holder may decline or release: a stranger who names an address changes nothing. */
static struct lease *held(struct dhcp_server *server, const struct dhcp_request *request, uint32_t address)
{
	struct lease *lease = lease_by_address(server->leases, address);

	if (request->has_server_id && request->chosen_server != request->server_id &&
	    request->chosen_server != request->server)
		return NULL;
	if (!is_his(request, lease))
		return NULL;
	return lease->state == LEASE_BOUND || lease->state == LEASE_OFFERED ? lease : NULL;
}

/* The sentence for what would have taken an address from a PC that is on. */
static bool is_still_there(const struct dhcp_request *request, const struct lease *lease, enum dhcp_heard heard)
{
	if (heard != DHCP_HEARD_HIM)
		return false;
	log_limited(3, LOG_LEVEL_WARNING,
		    "DHCP: a %s of %s in the name of %s is not believed: that PC still answers there",
		    dhcp_message_name(request->packet.type), inet_text(lease->address).s,
		    inet_mac_text(lease->client.mac).s);
	return true;
}

/* A newer lease than the one that the message was about is not ended by it: its PC got it while we asked. */
static bool is_that_one(const struct dhcp_request *request, const struct lease *lease)
{
	return !memcmp(lease->version, request->version, sizeof(lease->version));
}

static void on_declined(struct dhcp_server *server, struct dhcp_request *request, enum dhcp_heard heard)
{
	struct lease *lease = held(server, request, request->requested);

	if (lease && is_that_one(request, lease) && !is_still_there(request, lease, heard))
		book_quarantine(server, lease, "says the PC that was given it");
}

static enum dhcp_outcome decline(struct dhcp_server *server, struct dhcp_request *request)
{
	struct lease *lease = held(server, request, request->requested);
	int r = -ENOSYS;

	if (!lease)
		return because(request, DHCP_OUTCOME_UNKNOWN, "that address is not its own");
	memcpy(request->version, lease->version, sizeof(request->version));
	if (lease->state == LEASE_BOUND)
		r = dhcp_probe_holder(server->prober, request, lease->address, 0, on_declined);
	if (r == -EALREADY)
		return because(request, DHCP_OUTCOME_PROBING, "the network is being asked about that address");
	if (r < 0)
		on_declined(server, request, DHCP_HEARD_OTHER);
	return because(request, DHCP_OUTCOME_NOTED, "it found somebody there");
}

static void on_released(struct dhcp_server *server, struct dhcp_request *request, enum dhcp_heard heard)
{
	struct lease *lease = held(server, request, request->packet.ciaddr);

	if (!lease || !is_that_one(request, lease) || is_still_there(request, lease, heard))
		return;
	lease_set(server->leases, lease, LEASE_FREE, NULL, 0);
	dhcp_stamp(server, lease);
	dhcp_record(server, dhcp_answer_new(server, true), lease);
}

/* An address that is given back is asked for after a moment in which its PC lets go of it. */
static enum dhcp_outcome release(struct dhcp_server *server, struct dhcp_request *request)
{
	struct lease *lease = held(server, request, request->packet.ciaddr);
	int r;

	if (!lease)
		return because(request, DHCP_OUTCOME_UNKNOWN, "that address is not its own");
	memcpy(request->version, lease->version, sizeof(request->version));
	r = dhcp_probe_holder(server->prober, request, lease->address, DHCP_RELEASE_NS, on_released);
	if (r == -EALREADY)
		return because(request, DHCP_OUTCOME_PROBING, "the network is being asked about that address");
	if (r < 0)
		on_released(server, request, DHCP_HEARD_NOBODY);
	return because(request, DHCP_OUTCOME_NOTED, "it gives the address back");
}

static enum dhcp_outcome inform(struct dhcp_server *server, struct dhcp_request *request)
{
	if (!request->packet.ciaddr && !request->source)
		return because(request, DHCP_OUTCOME_MALFORMED, "it has no address");
	answer(server, request, DHCP_ACK, NULL, "it has an address and asks for the rest");
	return DHCP_OUTCOME_ANSWERED;
}

/* A PC that is registered only when its script is asked for: how many new ones iPXE may ask for is limited here. */
static enum dhcp_outcome proxy(struct dhcp_server *server, struct dhcp_request *request)
{
	bool pxe_port = request->listener->port == DHCP_PORT_PXE;
	uint8_t type = request->packet.type;

	if (!(request->sender.pxe || request->sender.http || request->sender.ipxe))
		return because(request, DHCP_OUTCOME_NOT_OURS,
			       "it does not boot, its address is another server's matter");
	if (!*request->boot.nbp && !request->sender.pi)
		return because(request, DHCP_OUTCOME_NOT_OURS, "there is no boot file for it");
	if (type == DHCP_DISCOVER && !pxe_port)
		type = DHCP_OFFER;
	else if (pxe_port && (type == DHCP_REQUEST || type == DHCP_DISCOVER || type == DHCP_INFORM))
		type = DHCP_ACK;
	else
		return because(request, DHCP_OUTCOME_NOT_OURS, "as proxy only boot files are told");
	if (request->sender.ipxe && !request->boot.known && !admits_new(server, request))
		return because(request, DHCP_OUTCOME_LIMITED, "too many new PCs at once");
	answer(server, request, type, NULL, "its boot file");
	return DHCP_OUTCOME_ANSWERED;
}

static enum dhcp_outcome serve(struct dhcp_server *server, struct dhcp_request *request)
{
	if ((request->packet.type == DHCP_DISCOVER || request->packet.type == DHCP_REQUEST) &&
	    dhcp_peer_waits(server->peer))
		return because(request, DHCP_OUTCOME_STANDBY, "this server first has to hear what the other one did");
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
		return because(request, DHCP_OUTCOME_NOT_OURS, "no server answers that kind of message");
	}
}

static void fill_identity(struct dhcp_server *server, struct dhcp_request *request)
{
	char key[IDENTITY_KEY_MAX];
	const struct dhcp_sender *sender = &request->sender;
	size_t length;
	const uint8_t *id = dhcp_option(&request->packet, DHCP_OPT_CLIENT_ID, &length);

	memset(&request->client, 0, sizeof(request->client));
	request->client.has_mac = sender->has_mac;
	memcpy(request->client.mac, sender->mac, sizeof(sender->mac));
	if (id && length && length <= LEASE_ID_MAX && !identity_of_lease_id(id, (uint8_t)length, key)) {
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
	request->who.http = sender->http;
	request->who.ipxe = sender->ipxe;
	request->who.features = sender->features;
	boot_who(server->boot, &request->who);
	if (!identity_is_mac(request->who.key)) {
		request->client.keyed = true;
		request->client.id_length = identity_lease_id(request->who.key, request->client.id);
	}
	request->requested = request->chosen_server = 0;
	request->has_requested = dhcp_option_u32(&request->packet, DHCP_OPT_REQUESTED_ADDRESS, &request->requested);
	request->has_server_id = dhcp_option_u32(&request->packet, DHCP_OPT_SERVER_ID, &request->chosen_server);
}

/* A relay is one machine: an answer to "all" or to a group would be a gift to somebody who floods. */
static bool giaddr_is_sane(uint32_t giaddr)
{
	return !giaddr || (giaddr >> 24 != 127 && giaddr >> 24 != 0 && giaddr >> 28 < 0xe);
}

/* --- what is told ------------------------------------------------------------------------------------------------- */
static const char *link_name(const struct dhcp_server *server, int ifindex)
{
	const struct netif_link *link = netif_link_by_index(server->netif, ifindex);

	return link ? link->name : "an interface that is gone";
}

/* A relay or an interface that no subnet is configured for: once an hour each, as far as they are remembered. */
static void tell_unserved(struct dhcp_server *server, const struct dhcp_request *request)
{
	uint32_t relay = relayed_link(request);
	int64_t now = dhcp_now(server);
	unsigned int oldest = 0;

	for (unsigned int i = 0; i < DHCP_UNSERVED; i++) {
		if (server->unserved[i].told && server->unserved[i].relay == relay &&
		    server->unserved[i].ifindex == request->ifindex && now < server->unserved[i].told + DHCP_UNSERVED_S)
			return;
		if (server->unserved[i].told < server->unserved[oldest].told)
			oldest = i;
	}
	server->unserved[oldest].relay = relay;
	server->unserved[oldest].ifindex = request->ifindex;
	server->unserved[oldest].told = now ? now : 1;
	if (relay)
		log_limited(5, LOG_LEVEL_WARNING,
			    "DHCP: the relay %s asks for PCs of %s, and no [subnet] has that address: add one, or take "
			    "this server out of the relay's list",
			    inet_text(request->packet.giaddr).s, inet_text(relay).s);
	else
		log_limited(5, LOG_LEVEL_WARNING,
			    "DHCP: PCs ask on %s, and no [subnet] is served there: give a [subnet] interface = %s, or "
			    "this is not for us",
			    link_name(server, request->ifindex), link_name(server, request->ifindex));
}

static void tell_odd(struct dhcp_server *server, const struct dhcp_request *request, const char *what)
{
	log_limited(3, LOG_LEVEL_NOTICE, "DHCP: a message (%s) of %s on %s is not answered: %s: %s",
		    dhcp_message_name(request->packet.type), inet_mac_text(request->packet.chaddr).s,
		    link_name(server, request->ifindex), what, request->why ? request->why : "?");
}

/* What a person has to know; beside that all at log = debug: why this answer, or why none. */
static enum dhcp_outcome told(struct dhcp_server *server, const struct dhcp_request *request, enum dhcp_outcome outcome)
{
	if (outcome == DHCP_OUTCOME_NO_SUBNET)
		tell_unserved(server, request);
	else if (outcome == DHCP_OUTCOME_MALFORMED)
		tell_odd(server, request, "it contradicts itself");
	else if (outcome == DHCP_OUTCOME_NOT_OURS && server->config->dhcp_mode == CONFIG_DHCP_FULL)
		tell_odd(server, request, "it is none that this server serves");
	if (!log_wanted(LOG_LEVEL_DEBUG))
		return outcome;
	if (request->answer)
		log_limited(DHCP_DEBUG_BURST, LOG_LEVEL_DEBUG, "DHCP: %s of %s on %s: %s %s: %s",
			    dhcp_message_name(request->packet.type), inet_mac_text(request->packet.chaddr).s,
			    link_name(server, request->ifindex), dhcp_message_name(request->answer),
			    inet_text(request->given).s, request->why ? request->why : "");
	else
		log_limited(DHCP_DEBUG_BURST, LOG_LEVEL_DEBUG, "DHCP: %s of %s on %s: no answer (%s): %s",
			    dhcp_message_name(request->packet.type), inet_mac_text(request->packet.chaddr).s,
			    link_name(server, request->ifindex), dhcp_outcome_name(outcome),
			    request->why ? request->why : "");
	return outcome;
}

void dhcp_decide_unreadable(struct dhcp_server *server, uint32_t source, int ifindex, size_t length)
{
	log_limited(3, LOG_LEVEL_NOTICE, "DHCP: %zu bytes from %s on %s are no DHCP message that can be read: dropped",
		    length, inet_text(source).s, link_name(server, ifindex));
}

/* --- the ways in -------------------------------------------------------------------------------------------------- */
enum dhcp_outcome dhcp_decide_probed(struct dhcp_server *server, struct dhcp_request *request)
{
	request->answer = 0;
	identify(server, request); /* the client's record may have changed meanwhile */
	return told(server, request, discover(server, request));
}

static enum dhcp_outcome decide(struct dhcp_server *server, struct dhcp_request *request)
{
	if (request->packet.type != DHCP_DISCOVER && dhcp_batch_is_full(server))
		return because(request, DHCP_OUTCOME_STORE_FAILED, "too many leases wait for the disk of the state");
	if (find_subnet(server, request) < 0)
		return because(request, DHCP_OUTCOME_NO_SUBNET, "no [subnet] is served where it is");
	identify(server, request);
	if (server->config->dhcp_mode == CONFIG_DHCP_PROXY || request->listener->port == DHCP_PORT_PXE)
		return proxy(server, request);
	return serve(server, request);
}

enum dhcp_outcome dhcp_decide_held(struct dhcp_server *server, struct dhcp_request *request)
{
	return told(server, request, decide(server, request));
}

/* Over the rate of its MAC? A PC is not to go without DHCP because somebody shouts in its name: see say_again(). */
static bool is_over(struct dhcp_server *server, struct dhcp_request *request)
{
	uint64_t source = 0, now = loop_now(server->loop);
	uint8_t type = request->packet.type;

	for (size_t i = 0; i < sizeof(request->packet.chaddr); i++)
		source = source * 257 + request->packet.chaddr[i];
	request->hurried = !ratelimit_take(server->limit, source, now);
	if (!request->hurried)
		return false;
	log_limited(1, LOG_LEVEL_WARNING,
		    "DHCP: more than %u messages a second in the name of %s on %s; a PC sends a few: look which port "
		    "of the "
		    "switch they come from",
		    DHCP_SOURCE_RATE, inet_mac_text(request->packet.chaddr).s, link_name(server, request->ifindex));
	return (type != DHCP_DISCOVER && type != DHCP_REQUEST) || !ratelimit_take(server->over, 0, now);
}

static enum dhcp_outcome admit(struct dhcp_server *server, struct dhcp_request *request)
{
	request->rounds = request->time_left = request->given = 0;
	request->answer = 0;
	request->brief = request->routed = request->hurried = false;
	request->why = NULL;
	if (request->packet.op != 1)
		return because(request, DHCP_OUTCOME_MALFORMED, "it is an answer, not a question");
	if (!giaddr_is_sane(request->packet.giaddr))
		return because(request, DHCP_OUTCOME_MALFORMED, "its relay has no address that a machine can have");
	fill_identity(server, request);
	if (!request->client.has_mac && !request->client.id_length)
		return because(request, DHCP_OUTCOME_MALFORMED, "it says neither MAC nor client identifier");
	if (is_over(server, request))
		return because(request, DHCP_OUTCOME_LIMITED, "too many in its name");
	if (!request->packet.type)
		return because(request, DHCP_OUTCOME_NOT_OURS, "BOOTP, without a DHCP message type");
	if (dhcp_peer_holds(server->peer, request))
		return because(request, DHCP_OUTCOME_STANDBY, "the primary is given time to answer");
	return decide(server, request);
}

enum dhcp_outcome dhcp_decide(struct dhcp_server *server, struct dhcp_request *request)
{
	return told(server, request, admit(server, request));
}
