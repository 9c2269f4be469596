// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Looks at the configuration as a whole, when every line has been read: what one section says about
 * another, what must not be there twice, what the machine must have. Fills in what the file may
 * leave out: the interface and network of [dhcp], and the image when there is only one.
 */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config/config.h"
#include "daemon/config/private.h"
#include "daemon/config/value.h"
#include "daemon/core/inet.h"

static bool in_network(const struct config_subnet *subnet, uint32_t address)
{
	return inet_within(address, subnet->network, subnet->prefix);
}

/* --- this machine's interfaces --- */

static uint32_t host_order(const struct sockaddr *address)
{
	struct sockaddr_in in;

	memcpy(&in, address, sizeof(in));
	return ntohl(in.sin_addr.s_addr);
}

static bool has_ipv4(const struct ifaddrs *at)
{
	return at->ifa_addr && at->ifa_addr->sa_family == AF_INET && at->ifa_netmask;
}

static void list_interfaces(char *text, size_t size)
{
	struct if_nameindex *all = if_nameindex();
	size_t n = 0;

	text[0] = '\0';
	for (struct if_nameindex *at = all; at && at->if_index && n < size; at++)
		n += snprintf(text + n, size - n, "%s%s", n ? ", " : "", at->if_name);
	if (all)
		if_freenameindex(all);
}

/*
 * The address of this machine that is in the same network as `inside` (0: any), on `interface` ("":
 * on any). Returns how many there are on different interfaces; *ret_name, *ret_network and
 * *ret_prefix are of the first.
 */
static unsigned int find_network(const char *interface, uint32_t inside, char ret_name[IFNAMSIZ], uint32_t *ret_network,
				 uint8_t *ret_prefix)
{
	struct ifaddrs *all;
	unsigned int found = 0;

	if (getifaddrs(&all))
		return 0;
	for (struct ifaddrs *at = all; at; at = at->ifa_next) {
		uint32_t address, mask;

		if (!has_ipv4(at) || (*interface && strcmp(at->ifa_name, interface)))
			continue;
		if (!*interface && !inside && (at->ifa_flags & IFF_LOOPBACK))
			continue;
		address = host_order(at->ifa_addr);
		mask = host_order(at->ifa_netmask);
		if (inside && ((address ^ inside) & mask))
			continue;
		if (found && !strcmp(ret_name, at->ifa_name))
			continue;
		if (!found++) {
			snprintf(ret_name, IFNAMSIZ, "%.15s", at->ifa_name);
			*ret_network = address & mask;
			*ret_prefix = __builtin_popcount(mask);
		}
	}
	freeifaddrs(all);
	return found;
}

/*
 * The same by what [network NAME] will give, for the appliance before it has a network. Returns 1
 * if it is known, 0 if not, -1 if nobody can know yet: an address that comes from DHCP.
 */
static int planned_network(const struct config *c, uint32_t inside, uint32_t *ret_network, uint8_t *ret_prefix)
{
	bool dhcp = !c->networks;

	for (size_t i = 0; i < c->networks; i++) {
		uint32_t network;
		uint8_t prefix;

		if (!appliance_network(c->network[i].address, &network, &prefix)) {
			dhcp = true;
			continue;
		}
		if ((network ^ inside) >> (32 - prefix))
			continue;
		*ret_network = network;
		*ret_prefix = prefix;
		return 1;
	}
	return dhcp ? -1 : 0;
}

/* --- subnets ---------------------------------------------------------------------------------- */

static const char *where(const struct config_subnet *subnet, bool lan, char buffer[96])
{
	if (lan)
		return "[dhcp]";
	snprintf(buffer, 96, "[subnet %s]", subnet->name);
	return buffer;
}

/* The interface and the network of a subnet, from each other. False after a mistake. */
static bool resolve_network(struct config_parser *p, struct config_subnet *s, const struct config_subnet_lines *at)
{
	uint32_t inside = s->ranges ? s->range[0].first : s->network;
	char name[IFNAMSIZ], names[256];
	uint32_t network = 0;
	uint8_t prefix = 0;
	unsigned int n;
	int known;

	if (*s->interface && !if_nametoindex(s->interface)) {
		list_interfaces(names, sizeof(names));
		config_mistake(p, at->interface, "there is no interface \"%s\"; this machine has: %s", s->interface,
			       names);
		return false;
	}
	if (*s->interface && s->prefix)
		return true;
	n = find_network(s->interface, inside, name, &network, &prefix);
	if (n == 1 || (n && *s->interface)) {
		if (!s->prefix) {
			s->network = network;
			s->prefix = prefix;
		}
		/* With a network written down but no interface, PCs come by a relay unless one is
		 * found. */
		if (!*s->interface)
			snprintf(s->interface, sizeof(s->interface), "%s", name);
		return true;
	}
	if (s->prefix)
		return true;
	known = p->known && p->known->planned && inside ? planned_network(p->config, inside, &s->network, &s->prefix)
							: 0;
	if (known)
		return known > 0;
	if (n > 1)
		config_mistake(p, at->range ? at->range : s->line,
			       "more than one interface could be meant here; write interface = NAME");
	else if (*s->interface && inside)
		config_mistake(p, at->range,
			       "interface %s has no address in the network of %s; give it one, or "
			       "write network = A.B.C.D/N",
			       s->interface, inet_text(inside).s);
	else if (*s->interface)
		config_mistake(p, at->interface, "interface %s has no IPv4 address; give it one first", s->interface);
	else if (inside)
		config_mistake(p, at->range,
			       "no interface of this machine has an address in the network of %s; write "
			       "interface = NAME, and network = A.B.C.D/N if PCs come through a relay",
			       inet_text(inside).s);
	else
		config_mistake(p, s->line, "range = FIRST-LAST is missing, so the network is not known");
	return false;
}

static void check_ranges(struct config_parser *p, const struct config_subnet *s, const struct config_subnet_lines *at)
{
	uint32_t last = s->network | ~inet_mask(s->prefix);

	for (unsigned int i = 0; i < s->ranges; i++) {
		const struct config_range *r = &s->range[i];

		if (!in_network(s, r->first) || !in_network(s, r->last))
			config_mistake(p, at->range, "range %s-%s is not within the network %s/%u",
				       inet_text(r->first).s, inet_text(r->last).s, inet_text(s->network).s, s->prefix);
		else if (r->first == s->network || r->last == last)
			config_mistake(p, at->range,
				       "range %s-%s holds the network's own or its broadcast "
				       "address: %s and %s are no PC's",
				       inet_text(r->first).s, inet_text(r->last).s, inet_text(s->network).s,
				       inet_text(last).s);
		for (unsigned int j = 0; j < i; j++)
			if (r->first <= s->range[j].last && s->range[j].first <= r->last)
				config_mistake(p, at->range, "range %s-%s overlaps another range",
					       inet_text(r->first).s, inet_text(r->last).s);
	}
	for (unsigned int i = 0; i < s->excludes; i++)
		if (!in_network(s, s->exclude[i].first) || !in_network(s, s->exclude[i].last))
			config_mistake(p, at->exclude, "exclude %s-%s is not within the network %s/%u",
				       inet_text(s->exclude[i].first).s, inet_text(s->exclude[i].last).s,
				       inet_text(s->network).s, s->prefix);
}

static bool holds(const struct config_range *list, unsigned int n, uint32_t address)
{
	for (unsigned int i = 0; i < n; i++)
		if (list[i].first <= address && address <= list[i].last)
			return true;
	return false;
}

/* Is every address of the range excluded? */
static bool is_excluded(const struct config_subnet *s, const struct config_range *r)
{
	uint64_t at = r->first;

	for (unsigned int i = 0; i < s->excludes && at <= r->last; i++)
		if (s->exclude[i].first <= at && at <= s->exclude[i].last) {
			at = (uint64_t)s->exclude[i].last + 1;
			i = -1u; /* again from the first */
		}
	return at > r->last;
}

static void check_left(struct config_parser *p, const struct config_subnet *s, const struct config_subnet_lines *at)
{
	uint32_t peer = p->config->dhcp_peer;
	bool left = !s->ranges;

	for (unsigned int i = 0; i < s->ranges; i++)
		left |= !is_excluded(s, &s->range[i]);
	if (peer && holds(s->range, s->ranges, peer) && !holds(s->exclude, s->excludes, peer))
		config_mistake(p, at->range, "range holds %s, the address of the peer: exclude it", inet_text(peer).s);
	if (!left)
		config_mistake(p, at->exclude, "exclude leaves no address of the range for the PCs");
}

static void check_subnet(struct config_parser *p, size_t i)
{
	struct config *c = p->config;
	struct config_subnet *s = &c->subnet[i];
	const struct config_subnet_lines *at = &p->subnet_lines[i];
	bool lan = s->line >= p->dhcp_line && !strcmp(s->name, "lan") && p->dhcp_line;
	char buffer[96];

	if (!s->ranges && c->dhcp_mode == CONFIG_DHCP_FULL) {
		config_mistake(p, s->line, "%s has no range = FIRST-LAST of addresses for the PCs",
			       where(s, lan, buffer));
		return;
	}
	if ((p->known && p->known->elsewhere) || !resolve_network(p, s, at))
		return;
	s->range_line = at->range;
	s->exclude_line = at->exclude;
	check_ranges(p, s, at);
	check_left(p, s, at);
	if (s->server && !in_network(s, s->server))
		config_mistake(p, at->server, "server %s is not within the network %s/%u", inet_text(s->server).s,
			       inet_text(s->network).s, s->prefix);
	for (unsigned int r = 0; r < s->router.count; r++)
		if (!in_network(s, s->router.address[r]))
			config_mistake(p, at->router, "router %s is not within the network %s/%u",
				       inet_text(s->router.address[r]).s, inet_text(s->network).s, s->prefix);
	for (size_t j = 0; j < i; j++)
		if (c->subnet[j].prefix &&
		    (in_network(&c->subnet[j], s->network) || in_network(s, c->subnet[j].network)))
			config_mistake(p, s->line, "the network %s/%u overlaps that of subnet %s (line %u)",
				       inet_text(s->network).s, s->prefix, c->subnet[j].name, c->subnet[j].line);
}

static void check_dhcp(struct config_parser *p)
{
	struct config *c = p->config;

	if (!p->dhcp_line && c->subnets)
		config_mistake(p, c->subnet[0].line,
			       "[subnet %s] needs a section [dhcp] with mode = full or proxy: "
			       "without it no DHCP is served",
			       c->subnet[0].name);
	if (c->dhcp_backup && !c->dhcp_peer)
		config_mistake(p, p->backup_line, "backup = yes needs peer = the address of the primary server");
	if (c->dhcp_split && !c->dhcp_peer)
		config_mistake(p, c->dhcp_split_line, "split = yes needs peer = the address of the other server");
	if (c->dhcp_backup && !p->port_line)
		c->dhcp_port = 66;
	if (c->dhcp_mode == CONFIG_DHCP_FULL && !c->subnets)
		config_mistake(p, p->dhcp_line, "[dhcp] has no range = FIRST-LAST of addresses for the PCs");
	if (c->dhcp_mode == CONFIG_DHCP_PROXY && !c->subnets)
		config_mistake(p, p->dhcp_line, "[dhcp] has no interface = NAME to answer PCs on");
	if (c->dhcp_mode == CONFIG_DHCP_OFF)
		return;
	for (size_t i = 0; i < c->subnets; i++)
		check_subnet(p, i);
}

/* --- clients, groups, images --- */

static void check_address(struct config_parser *p, const struct config_client *client)
{
	const struct config_subnet *subnet = config_subnet_for_address(p->config, client->address);

	if (p->config->dhcp_mode != CONFIG_DHCP_FULL || (p->known && p->known->elsewhere))
		return;
	if (!subnet || !subnet->prefix) {
		config_mistake(p, client->line, "[client %s]: address %s is in no subnet of this file", client->name,
			       inet_text(client->address).s);
		return;
	}
	if (client->address == subnet->network || client->address == (subnet->network | ~inet_mask(subnet->prefix)))
		config_mistake(p, client->line,
			       "[client %s]: address %s is the network's own or its broadcast address, "
			       "no PC's",
			       client->name, inet_text(client->address).s);
	if (client->address == p->config->dhcp_peer)
		config_mistake(p, client->line, "[client %s]: address %s is the peer's", client->name,
			       inet_text(client->address).s);
	if (client->address == subnet->server)
		config_mistake(p, client->line, "[client %s]: address %s is the server's own", client->name,
			       inet_text(client->address).s);
	for (unsigned int i = 0; i < subnet->router.count; i++)
		if (subnet->router.address[i] == client->address)
			config_mistake(p, client->line, "[client %s]: address %s is the router's", client->name,
				       inet_text(client->address).s);
	if (!client->has_mac && !client->has_uuid && !client->circuit[0])
		config_mistake(p, client->line, "[client %s]: address needs mac, uuid or circuit to know the PC by",
			       client->name);
}

static void check_clients(struct config_parser *p)
{
	const struct config *c = p->config;

	for (size_t i = 0; i < c->clients; i++) {
		const struct config_client *a = &c->client[i];

		identity_fill(&p->config->client[i]);
		if (a->address)
			check_address(p, a);
		for (size_t j = 0; j < i; j++) {
			const struct config_client *b = &c->client[j];
			const char *same = identity_in_both(a, b);

			if (!same && a->address && a->address == b->address)
				same = "address";
			if (same)
				config_mistake(p, a->line, "[client %s] has the %s of [client %s] (line %u)", a->name,
					       same, b->name, b->line);
		}
	}
}

/* All names of a kind, for the nearest; to be freed. */
static const char **names_of(const struct config *c, int what)
{
	size_t n = what == CONFIG_REFERENCE_IMAGE ? c->images : c->groups;
	const char **names = calloc(n + 1, sizeof(*names));

	for (size_t i = 0; names && i < n; i++)
		names[i] = what == CONFIG_REFERENCE_IMAGE ? c->image[i].name : c->group[i].name;
	return names;
}

static void check_references(struct config_parser *p)
{
	const struct config *c = p->config;

	for (size_t i = 0; i < p->references; i++) {
		const struct config_reference *r = &p->reference[i];
		const char *what = r->what == CONFIG_REFERENCE_IMAGE ? "image" : "group", *near;
		const char **names;

		if (r->what == CONFIG_REFERENCE_GROUP && config_group_find(c, r->name))
			continue;
		if (r->what == CONFIG_REFERENCE_IMAGE &&
		    (config_image_find(c, r->name) ||
		     (p->known && p->known->image && p->known->image(p->known->arg, c, r->name))))
			continue;
		names = names_of(c, r->what);
		near = names ? value_nearest(r->name, names) : NULL;
		if (near)
			config_mistake(p, r->line, "%s: there is no %s \"%s\"; did you mean \"%s\"?", r->from, what,
				       r->name, near);
		else
			config_mistake(p, r->line, "%s: there is no %s \"%s\"; a section [%s %s] would make it",
				       r->from, what, r->name, what, r->name);
		free(names);
	}
}

static void check_images(struct config_parser *p)
{
	struct config *c = p->config;
	struct config_profile *standard = &c->group[0].profile;

	for (size_t i = 0; i < c->images; i++)
		if (!c->image[i].file[0])
			config_mistake(p, c->image[i].line, "[image %s] has no file = NAME", c->image[i].name);
	if (c->images == 1 && !standard->images) {
		strcpy(standard->image[0], c->image[0].name);
		standard->images = 1;
	}
}

static void appliance_mistake(void *arg, unsigned int line, const char *message)
{
	config_mistake(arg, line, "%s", message);
}

static void check_operators(struct config_parser *p)
{
	const struct config *c = p->config;

	for (size_t i = 0; i < c->operators; i++)
		if (!c->operator[i].token[0])
			config_mistake(p, c->operator[i].line,
				       "[operator %s] has no token: \"bootwell token\" makes one", c->operator[i].name);
	if (!c->tls_certificate[0] != !c->tls_key[0])
		config_mistake(p, 0, "[http] tls-certificate and tls-key belong together; one of them is missing");
}

static void check_alert(struct config_parser *p)
{
	struct config_alert *a = &p->config->alert;
	char host[64] = "";

	if (!a->line)
		return;
	if (a->mail[0] && !a->smtp[0])
		config_mistake(p, a->line, "[alert] has mail and no smtp = smtp://HOST:587, the server that takes it");
	if (!a->mail[0] && (a->smtp[0] || a->mail_from[0] || a->smtp_user[0]))
		config_mistake(p, a->line, "[alert] says how mail is sent, and has no mail = NAME@HOST to send it to");
	if (!a->smtp_user[0] != !a->smtp_password_file[0])
		config_mistake(p, a->line,
			       "[alert] smtp-user and smtp-password-file belong together; one of them is missing");
	if (a->smtp_user[0] && a->smtp_tls == CONFIG_SMTP_TLS_OFF && !strncmp(a->smtp, "smtp://", 7))
		config_mistake(p, a->line,
			       "[alert] smtp-tls = off would send the password of smtp-user in clear: leave out one of "
			       "the two");
	if (!a->mail[0] && !a->webhook[0] && !a->command[0])
		config_mistake(p, a->line, "[alert] tells nobody: it needs mail, webhook or command");
	if (a->mail[0] && !a->mail_from[0]) {
		gethostname(host, sizeof(host) - 1);
		snprintf(a->mail_from, sizeof(a->mail_from), "bootwell@%s", host[0] ? host : "localhost");
	}
}

/* The handler makes it, a file, or takes a block device. */
static void check_store(struct config_parser *p)
{
	const struct config *c = p->config;
	struct stat st;

	if (c->targets && !stat(c->store_path, &st) && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		config_mistake(p, p->store_line,
			       "[write-back] path %s is %s: it names the file that the PCs' changes lie in, such as "
			       "%s/write-back.state",
			       c->store_path, S_ISDIR(st.st_mode) ? "a folder" : "neither a file nor a block device",
			       S_ISDIR(st.st_mode) ? c->store_path : "/var/lib/bootwell");
	if (c->store_size < 1 << 20)
		config_mistake(p, 0, "[write-back] size is less than 1M");
}

void config_check(struct config_parser *p)
{
	const struct config *c = p->config;
	bool read_well = !p->mistakes;

	check_references(p);
	/* What a refused line leaves out would only be missed a second time. */
	if (read_well) {
		check_dhcp(p);
		check_images(p);
		check_clients(p);
		check_operators(p);
		check_alert(p);
	}
	appliance_check(&c->appliance, c->network, c->networks, appliance_mistake, p);
	if (c->http_port == c->upload_port)
		config_mistake(p, 0, "[http] port and upload-port are both %u", c->http_port);
	if (c->targets && (c->http_port == c->iscsi_port || c->upload_port == c->iscsi_port))
		config_mistake(p, 0, "[http] %s and [iscsi] port are both %u",
			       c->http_port == c->iscsi_port ? "port" : "upload-port", c->iscsi_port);
	if (c->tftp && c->dhcp_mode != CONFIG_DHCP_OFF && c->dhcp_port == c->tftp_port)
		config_mistake(p, p->port_line, "[dhcp] port and [tftp] port are both %u", c->tftp_port);
	check_store(p);
}
