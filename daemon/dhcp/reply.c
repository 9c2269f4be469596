/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One answer. Order matters twice: what decides comes first, because some firmware reads no further than it must, and
 * option 82 comes last (RFC 3046 §2.2), so room for it is kept from the beginning. What does not fit into the size that
 * the client takes (option 57) is left out, least important last.
 */
#include "daemon/dhcp/private.h"
#include "daemon/core/inet.h"

#include <stdio.h>
#include <string.h>

#define UDP_OVERHEAD 28

uint32_t dhcp_lease_time(const struct dhcp_server *server, const struct dhcp_request *request)
{
	uint32_t wanted, configured = server->config->subnet[request->subnet].lease_time;

	if (request->time_left)
		return request->time_left;
	if (request->brief && configured > DHCP_LEASE_BRIEF)
		configured = DHCP_LEASE_BRIEF;
	if (dhcp_option_u32(&request->packet, DHCP_OPT_LEASE_TIME, &wanted) && wanted < configured)
		return wanted < DHCP_LEASE_MIN ? DHCP_LEASE_MIN : wanted;
	return configured;
}

static size_t size_limit(const struct dhcp_server *server, const struct dhcp_request *request)
{
	const struct netif_link *link = netif_link_by_index(server->netif, request->ifindex);
	uint16_t size = DHCP_SIZE_FLOOR;

	dhcp_option_u16(&request->packet, DHCP_OPT_MAX_SIZE, &size);
	if (size < DHCP_SIZE_FLOOR)
		size = DHCP_SIZE_FLOOR;
	if (link && !link->loopback && size > link->mtu && link->mtu >= DHCP_SIZE_FLOOR)
		size = (uint16_t)link->mtu;
	return size - UDP_OVERHEAD;
}

/* The option as configured for the PC, else for its subnet; NULL: not configured. */
static const struct config_option *configured(const struct config_options *options, uint8_t code)
{
	for (unsigned int i = 0; i < options->count; i++)
		if (options->option[i].code == code)
			return &options->option[i];
	return NULL;
}

/* What a firmware that boots is told by us; configured ones are for telephones and the like, which use the same
 * numbers. */
static bool is_of_boot(uint8_t code)
{
	return code == DHCP_OPT_VENDOR_INFO || code == DHCP_OPT_VENDOR_CLASS || code == DHCP_OPT_TFTP_SERVER ||
	       code == DHCP_OPT_BOOT_FILE || code == DHCP_OPT_IPXE || code == DHCP_OPT_INITIATOR;
}

static void put_configured(struct dhcp_writer *w, const struct config_subnet *subnet,
			   const struct config_profile *profile, bool boots)
{
	for (unsigned int i = 0; profile && i < profile->options.count; i++) {
		const struct config_option *o = &profile->options.option[i];

		if (!boots || !is_of_boot(o->code))
			dhcp_writer_option(w, o->code, o->data, o->length);
	}
	for (unsigned int i = 0; i < subnet->options.count; i++) {
		const struct config_option *o = &subnet->options.option[i];

		if (boots && is_of_boot(o->code))
			continue;
		if (!profile || !configured(&profile->options, o->code))
			dhcp_writer_option(w, o->code, o->data, o->length);
	}
}

/* An option that configuration sets by number replaces the one that we would have made. */
static bool ours(const struct dhcp_request *request, const struct config_subnet *subnet, uint8_t code)
{
	const struct config_profile *profile = request->boot.profile;

	return !configured(&subnet->options, code) && !(profile && configured(&profile->options, code));
}

static void put_addresses(struct dhcp_writer *w, const struct dhcp_request *request, const struct config_subnet *subnet,
			  uint8_t code, const struct config_addresses *list)
{
	if (list->count && dhcp_wants(&request->packet, code) && ours(request, subnet, code))
		dhcp_writer_addresses(w, code, list->address, list->count);
}

static void put_text(struct dhcp_writer *w, const struct dhcp_request *request, const struct config_subnet *subnet,
		     uint8_t code, const char *text)
{
	if (*text && dhcp_wants(&request->packet, code) && ours(request, subnet, code))
		dhcp_writer_text(w, code, text);
}

static void put_network(struct dhcp_writer *w, const struct dhcp_request *request, const struct config_subnet *subnet)
{
	uint32_t mask = subnet->prefix ? ~0u << (32 - subnet->prefix) : 0;

	if (ours(request, subnet, DHCP_OPT_NETMASK))
		dhcp_writer_u32(w, DHCP_OPT_NETMASK, mask);
	put_addresses(w, request, subnet, DHCP_OPT_ROUTER, &subnet->router);
	put_addresses(w, request, subnet, DHCP_OPT_DNS, &subnet->dns);
	put_text(w, request, subnet, DHCP_OPT_HOSTNAME, request->boot.hostname);
	put_text(w, request, subnet, DHCP_OPT_DOMAIN, subnet->domain);
	if (dhcp_wants(&request->packet, DHCP_OPT_BROADCAST) && ours(request, subnet, DHCP_OPT_BROADCAST))
		dhcp_writer_u32(w, DHCP_OPT_BROADCAST, subnet->network | ~mask);
	put_addresses(w, request, subnet, DHCP_OPT_NTP, &subnet->ntp);
}

static void put_ipxe(struct dhcp_writer *w, const struct dhcp_server *server, const struct dhcp_request *request)
{
	/* keep-san: the disk stays attached when the script goes on; no-pxedhcp: no waiting for a proxy. */
	static const uint8_t full[] = {DHCP_IPXE_KEEP_SAN, 1, 1, DHCP_IPXE_NO_PXEDHCP, 1, 1};
	size_t n = server->config->dhcp_mode == CONFIG_DHCP_FULL ? 6 : 3;

	dhcp_writer_option(w, DHCP_OPT_IPXE, full, n);
	if (*request->boot.initiator)
		dhcp_writer_text(w, DHCP_OPT_INITIATOR, request->boot.initiator);
}

/* The NUL is for EDK2, which copies option 67 as it is and uses it as a string. */
static void put_boot_file(struct dhcp_writer *w, const struct dhcp_request *request)
{
	const char *file = request->boot.nbp;
	bool field = dhcp_writer_file(w, file) == 0;

	if (!field || request->boot.http_boot || dhcp_wants(&request->packet, DHCP_OPT_BOOT_FILE))
		dhcp_writer_option(w, DHCP_OPT_BOOT_FILE, file, strlen(file) + 1);
	if (dhcp_wants(&request->packet, DHCP_OPT_TFTP_SERVER) && !request->boot.http_boot)
		dhcp_writer_text(w, DHCP_OPT_TFTP_SERVER, inet_text(request->server).s);
}

/*
 * Option 60 from a full server without a valid option 43 sends EDK2 to port 4011, so it goes out only where it must:
 * from a proxy, and to HTTP boot. Discovery control 8: take the boot file of this message and look no further.
 */
static void put_boot(struct dhcp_writer *w, const struct dhcp_server *server, const struct dhcp_request *request)
{
	static const uint8_t pxe[] = {DHCP_PXE_DISCOVERY, 1, 8, DHCP_PXE_PROMPT, 4, 0, 'P', 'X', 'E', 255};
	bool pxe_port = request->listener->port == DHCP_PORT_PXE;

	if (request->boot.http_boot) {
		dhcp_writer_text(w, DHCP_OPT_VENDOR_CLASS, "HTTPClient");
	} else if (pxe_port || server->config->dhcp_mode == CONFIG_DHCP_PROXY) {
		dhcp_writer_text(w, DHCP_OPT_VENDOR_CLASS, "PXEClient");
		if (!request->sender.ipxe)
			dhcp_writer_option(w, DHCP_OPT_VENDOR_INFO, pxe, sizeof(pxe));
	}
	if (*request->boot.nbp)
		put_boot_file(w, request);
	if (request->sender.ipxe)
		put_ipxe(w, server, request);
}

/*
 * A Raspberry Pi takes no boot file: it looks for this menu entry, then fetches SERIAL/start4.elf, or start4.elf, by
 * TFTP.
 */
static void put_pi(struct dhcp_writer *w, const struct dhcp_request *request)
{
	static const char menu[] = "\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot\xff";

	dhcp_writer_text(w, DHCP_OPT_VENDOR_CLASS, "PXEClient");
	dhcp_writer_option(w, DHCP_OPT_VENDOR_INFO, menu, sizeof(menu) - 1);
	dhcp_writer_text(w, DHCP_OPT_TFTP_SERVER, inet_text(request->server).s);
}

/* PXE boot server request (43.71 in, ACK with 43.71 out, PXE 2.1 §2.2.5): only who asked for an item gets one. */
static void put_boot_item(struct dhcp_writer *w, const struct dhcp_request *request)
{
	size_t length, n;
	const uint8_t *value = dhcp_option(&request->packet, DHCP_OPT_VENDOR_INFO, &length), *item;
	uint8_t out[16] = {DHCP_PXE_BOOT_ITEM, 4};

	item = value ? dhcp_suboption(value, length, DHCP_PXE_BOOT_ITEM, &n) : NULL;
	if (!item || n != 4)
		return;
	memcpy(out + 2, item, 4);
	out[6] = 255;
	dhcp_writer_option(w, DHCP_OPT_VENDOR_INFO, out, 7);
}

static bool asks_boot_item(const struct dhcp_request *request)
{
	size_t length, n;
	const uint8_t *value = dhcp_option(&request->packet, DHCP_OPT_VENDOR_INFO, &length);

	return value && dhcp_suboption(value, length, DHCP_PXE_BOOT_ITEM, &n);
}

/* RFC 6842, PXE 2.1: clients may drop an answer without them, so they come before what configuration may fill it with.
 */
static void put_echoes(struct dhcp_writer *w, const struct dhcp_request *request)
{
	dhcp_writer_echo(w, &request->packet, DHCP_OPT_UUID);
	dhcp_writer_echo(w, &request->packet, DHCP_OPT_CLIENT_ID);
}

static void fill(struct dhcp_writer *w, const struct dhcp_server *server, const struct dhcp_request *request,
		 uint8_t type, const struct lease *lease)
{
	const struct config_subnet *subnet = &server->config->subnet[request->subnet];
	bool full = server->config->dhcp_mode == CONFIG_DHCP_FULL && request->listener->port != DHCP_PORT_PXE;
	bool boots = request->who.pxe || request->sender.ipxe;

	if (lease)
		dhcp_writer_yiaddr(w, lease->address);
	if (type == DHCP_ACK)
		dhcp_writer_ciaddr(w, request->packet.ciaddr);
	if (lease) {
		uint32_t time = dhcp_lease_time(server, request);

		dhcp_writer_u32(w, DHCP_OPT_LEASE_TIME, time);
		if (time != UINT32_MAX) {
			dhcp_writer_u32(w, DHCP_OPT_RENEWAL, time / 2);
			dhcp_writer_u32(w, DHCP_OPT_REBINDING, (uint32_t)((uint64_t)time * 7 / 8));
		}
	}
	if (boots)
		dhcp_writer_siaddr(w, request->server);
	else if (subnet->next_server)
		dhcp_writer_siaddr(w, subnet->next_server);
	if (!boots && subnet->next_server && ours(request, subnet, DHCP_OPT_TFTP_SERVER) &&
	    dhcp_wants(&request->packet, DHCP_OPT_TFTP_SERVER))
		dhcp_writer_text(w, DHCP_OPT_TFTP_SERVER, inet_text(subnet->next_server).s);
	if (full)
		put_network(w, request, subnet);
	if (request->sender.pi) {
		put_pi(w, request);
	} else if (boots && asks_boot_item(request) && request->listener->port == DHCP_PORT_PXE) {
		dhcp_writer_text(w, DHCP_OPT_VENDOR_CLASS, "PXEClient");
		put_boot_item(w, request);
		if (*request->boot.nbp)
			put_boot_file(w, request);
	} else if (boots) {
		put_boot(w, server, request);
	}
	put_echoes(w, request);
	if (full)
		put_configured(w, subnet, request->boot.profile, boots);
}

struct dhcp_answer *dhcp_reply(struct dhcp_server *server, const struct dhcp_request *request, uint8_t type,
			       const struct lease *lease, const char *message)
{
	struct dhcp_answer *answer = dhcp_answer_new(server, type == DHCP_ACK && lease);
	struct dhcp_writer w;
	size_t relay = 0;

	dhcp_route(&answer->to, server, request, type, lease ? lease->address : 0);
	dhcp_writer_begin(&w, &request->packet, size_limit(server, request));
	if (dhcp_option(&request->packet, DHCP_OPT_RELAY, &relay))
		dhcp_writer_reserve(&w, relay);
	if (type == DHCP_NAK && request->packet.giaddr)
		dhcp_writer_flags(&w, request->packet.flags | DHCP_FLAG_BROADCAST);
	dhcp_writer_u8(&w, DHCP_OPT_TYPE, type);
	dhcp_writer_u32(&w, DHCP_OPT_SERVER_ID, request->server_id);
	if (type == DHCP_NAK)
		put_echoes(&w, request);
	else
		fill(&w, server, request, type, lease);
	if (message)
		dhcp_writer_text(&w, DHCP_OPT_MESSAGE, message);
	dhcp_writer_release(&w);
	dhcp_writer_echo(&w, &request->packet, DHCP_OPT_RELAY);
	answer->length = (uint16_t)dhcp_writer_end(&w);
	memcpy(answer->data, w.data, answer->length);
	answer->type = type;
	answer->xid = request->packet.xid;
	memcpy(answer->chaddr, request->packet.chaddr, sizeof(answer->chaddr));
	/* An ACK of a lease is an answer once it is committed. */
	if (type != DHCP_ACK || !lease)
		dhcp_tell_answered(server, answer->xid, answer->chaddr);
	return answer;
}
