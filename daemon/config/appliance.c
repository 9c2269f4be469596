// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The values of [appliance] and [network NAME], and their way into the start-up's shell. Every
 * value ends up in a file of systemd's, of ssh's or in a mount, so each parser takes a short list
 * of characters and nothing else.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/config/appliance.h"
#include "daemon/config/value.h"

static const char *copy(const char *text, char *ret, size_t size)
{
	size_t n = strlen(text);

	if (n >= size)
		return "is too long";
	memcpy(ret, text, n + 1);
	return NULL;
}

/* A host name of RFC 1123: labels of letters, digits and inner hyphens, dots between. */
static bool host_is_good(const char *text, size_t n)
{
	if (!n || n > 253 || text[0] == '.' || text[n - 1] == '.')
		return false;
	for (size_t i = 0, label = 0; i < n; i++) {
		bool edge = label == 0 || i + 1 == n || text[i + 1] == '.';

		if (text[i] == '.') {
			if (!label)
				return false;
			label = 0;
			continue;
		}
		if (!isalnum((unsigned char)text[i]) && (text[i] != '-' || edge))
			return false;
		if (++label > 63)
			return false;
	}
	return true;
}

const char *appliance_host(const char *text, char *ret, size_t size)
{
	if (!host_is_good(text, strlen(text)) || strchr(text, '.'))
		return "is not a host name: letters, digits and hyphens within, no dot, at most 63";
	return copy(text, ret, size);
}

const char *appliance_hosts(const char *text, char *ret, size_t size)
{
	char list[APPLIANCE_HOSTS] = "";
	size_t used = 0;

	while (*(text += strspn(text, ", \t"))) {
		size_t n = strcspn(text, ", \t");

		if (!host_is_good(text, n))
			return "is not a list of hosts or addresses such as 192.168.1.1, "
			       "time.example.org";
		if (used + n + 2 > sizeof(list) || used + n + 2 > size)
			return "is too long";
		if (used)
			list[used++] = ' ';
		memcpy(list + used, text, n);
		list[used += n] = '\0';
		text += n;
	}
	return used ? copy(list, ret, size) : "names no host";
}

/* Labels and serial numbers: what udev has in /dev/disk, but no slash and nothing for a shell. */
static bool disk_name_is_good(const char *text)
{
	for (const char *at = text; *at; at++)
		if (!isalnum((unsigned char)*at) && !strchr("._-+:", *at))
			return false;
	return *text && *text != '.' && *text != '-';
}

const char *appliance_disk(const char *text, char *ret, size_t size)
{
	const char *name = !strncmp(text, "serial:", 7) ? text + 7 : !strncmp(text, "label:", 6) ? text + 6 : NULL;

	if (!name)
		return "is not a disk: write serial:NUMBER or label:NAME";
	if (!disk_name_is_good(name))
		return "has something in it other than letters, digits and ._-+:";
	return copy(text, ret, size);
}

const char *appliance_images(const char *text, char *ret, size_t size)
{
	const char *path;

	if (!strcmp(text, "state") || !strncmp(text, "serial:", 7) || !strncmp(text, "label:", 6))
		return !strcmp(text, "state") ? copy(text, ret, size) : appliance_disk(text, ret, size);
	if (strncmp(text, "nfs:", 4))
		return "is no place for images: state, nfs:HOST:/PATH, label:NAME or serial:NUMBER";
	path = strstr(text + 4, ":/");
	if (!path || !host_is_good(text + 4, path - text - 4))
		return "is not nfs:HOST:/PATH";
	for (path++; *path; path++)
		if (!isalnum((unsigned char)*path) && !strchr("/._-+", *path))
			return "has something in its path other than letters, digits and /._-+";
	return copy(text, ret, size);
}

const char *appliance_interface(const char *text, char *ret, size_t size)
{
	uint8_t mac[6];

	if (strchr(text, ':') && !value_mac(text, mac)) {
		snprintf(ret, size, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
		return NULL;
	}
	if (strlen(text) >= IFNAMSIZ)
		return "is neither the name of an interface nor a MAC address";
	for (const char *at = text; *at; at++)
		if (!isalnum((unsigned char)*at) && (at == text || !strchr("._-", *at)))
			return "is neither the name of an interface nor a MAC address";
	return copy(text, ret, size);
}

const char *appliance_address(const char *text, char *ret, size_t size)
{
	const char *slash = strchr(text, '/');
	char address[INET_ADDRSTRLEN];
	struct in_addr in;
	uint64_t prefix;
	uint32_t host;

	if (!strcmp(text, "dhcp"))
		return copy(text, ret, size);
	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return "is not an address: dhcp, or an address with its prefix such as "
		       "192.168.1.10/24";
	memcpy(address, text, slash - text);
	address[slash - text] = '\0';
	if (inet_pton(AF_INET, address, &in) != 1 || value_number(slash + 1, 8, 31, &prefix))
		return "is not an address: dhcp, or an address with its prefix such as "
		       "192.168.1.10/24";
	host = ntohl(in.s_addr) & (0xffffffffu >> prefix);
	if (prefix < 31 && (!host || host == 0xffffffffu >> prefix))
		return "is the network itself or its broadcast address, not an address in it";
	return copy(text, ret, size);
}

bool appliance_network(const char *address, uint32_t *ret_network, uint8_t *ret_prefix)
{
	const char *slash = strchr(address, '/');
	char text[INET_ADDRSTRLEN];
	struct in_addr in;

	if (!slash)
		return false;
	snprintf(text, sizeof(text), "%.*s", (int)(slash - address), address);
	if (inet_pton(AF_INET, text, &in) != 1)
		return false;
	*ret_prefix = strtoul(slash + 1, NULL, 10);
	*ret_network = ntohl(in.s_addr) & (0xffffffffu << (32 - *ret_prefix));
	return true;
}

const char *appliance_gateway(const char *text, char *ret, size_t size)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1)
		return "is not an IPv4 address";
	return copy(text, ret, size);
}

const char *appliance_key(const char *text, struct config_keys *keys)
{
	static const char *const kinds[] = {"ssh-ed25519 ",
					    "ecdsa-sha2-nistp256 ",
					    "ecdsa-sha2-nistp384 ",
					    "ecdsa-sha2-nistp521 ",
					    "ssh-rsa ",
					    "sk-ssh-ed25519@openssh.com ",
					    "sk-ecdsa-sha2-nistp256@openssh.com "};
	const char *data = NULL;
	size_t n;

	for (size_t i = 0; !data && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strncmp(text, kinds[i], strlen(kinds[i])))
			data = text + strlen(kinds[i]);
	if (!data)
		return "is not a public key: it begins with ssh-ed25519, ecdsa-sha2-… or ssh-rsa";
	n = strspn(data, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
	if (n < 60 || (data[n] && data[n] != ' '))
		return "is not a whole public key: the long word in it is too short or has a "
		       "character that does not belong there";
	for (const char *at = data + n; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			return "has a control character in it";
	if (keys->count == APPLIANCE_KEYS)
		return "is one key too many: 16 is the most";
	return copy(text, keys->key[keys->count], APPLIANCE_KEY_MAX) ? "is too long" : (keys->count++, NULL);
}

void appliance_check(const struct config_appliance *appliance, const struct config_network *network, size_t networks,
		     appliance_mistake_fn mistake, void *arg)
{
	char text[256];

	if (appliance->format_state_disk && strncmp(appliance->state_disk, "serial:", 7))
		mistake(arg, appliance->format_line,
			"format-state-disk needs state-disk = serial:NUMBER: a label names no "
			"empty "
			"disk");
	for (size_t i = 0; i < networks; i++) {
		if (networks > 1 && !network[i].interface[0]) {
			snprintf(text, sizeof(text),
				 "[network %s] needs interface = NAME or MAC: there is more than "
				 "one network",
				 network[i].name);
			mistake(arg, network[i].line, text);
		}
		if (!network[i].address[0] || !strcmp(network[i].address, "dhcp")) {
			if (network[i].gateway[0]) {
				snprintf(text, sizeof(text),
					 "[network %s] has a gateway, but its address comes from "
					 "DHCP",
					 network[i].name);
				mistake(arg, network[i].line, text);
			}
		}
		for (size_t j = 0; j < i; j++)
			if (network[i].interface[0] && !strcmp(network[i].interface, network[j].interface)) {
				snprintf(text, sizeof(text), "[network %s] has the interface of [network %s] (line %u)",
					 network[i].name, network[j].name, network[j].line);
				mistake(arg, network[i].line, text);
			}
	}
}

/* NAME='value', where the value may have a quote in it. */
static void print_value(FILE *to, const char *name, const char *value)
{
	fprintf(to, "%s='", name);
	for (; *value; value++) {
		if (*value == '\'')
			fputs("'\\''", to);
		else
			fputc(*value, to);
	}
	fputs("'\n", to);
}

static void print_indexed(FILE *to, const char *name, size_t i, const char *value)
{
	char text[64];

	snprintf(text, sizeof(text), "%s_%zu", name, i);
	print_value(to, text, value);
}

void appliance_print(FILE *to, const struct config_appliance *appliance, const struct config_network *network,
		     size_t networks)
{
	print_value(to, "CONF_HOSTNAME", appliance->hostname);
	print_value(to, "CONF_NTP", appliance->ntp);
	print_value(to, "CONF_STATE_DISK", appliance->state_disk);
	print_value(to, "CONF_FORMAT_STATE_DISK", appliance->format_state_disk ? "yes" : "no");
	print_value(to, "CONF_IMAGES", appliance->images);
	fprintf(to, "CONF_SSH_KEYS=%u\n", appliance->ssh.count);
	for (unsigned int i = 0; i < appliance->ssh.count; i++)
		print_indexed(to, "CONF_SSH_KEY", i, appliance->ssh.key[i]);
	fprintf(to, "CONF_UPDATE_KEYS=%u\n", appliance->update.count);
	for (unsigned int i = 0; i < appliance->update.count; i++)
		print_indexed(to, "CONF_UPDATE_KEY", i, appliance->update.key[i]);
	fprintf(to, "CONF_NETWORKS=%zu\n", networks);
	for (size_t i = 0; i < networks; i++) {
		print_indexed(to, "CONF_NETWORK_NAME", i, network[i].name);
		print_indexed(to, "CONF_NETWORK_INTERFACE", i, network[i].interface);
		print_indexed(to, "CONF_NETWORK_ADDRESS", i, network[i].address[0] ? network[i].address : "dhcp");
		print_indexed(to, "CONF_NETWORK_GATEWAY", i, network[i].gateway);
		print_indexed(to, "CONF_NETWORK_DNS", i, network[i].dns);
	}
}
