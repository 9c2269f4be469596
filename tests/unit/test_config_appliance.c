// SPDX-License-Identifier: GPL-2.0-or-later
/* [appliance] and [network NAME]: what is taken, what is refused and on which line, what the shell
 * gets. */
#include <unistd.h>

#include "daemon/config/config.h"
#include "tests/unit/unit.h"

#define KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPmYwNbCq0r5kzQ0zTn4v0b9v3GQKqK0wB0Yc4rH1n2M"

static char reports[4096];

static void note(void *arg, const char *file, unsigned int line, const char *message)
{
	size_t n = strlen(reports);

	(void)arg;
	(void)file;
	snprintf(reports + n, sizeof(reports) - n, "%u: %s\n", line, message);
}

static struct config *read_text(const char *text)
{
	char file[] = "/tmp/bootwell-unit.XXXXXX";
	struct config *c = NULL;
	int fd = mkstemp(file);

	reports[0] = '\0';
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
	config_read(&c, file, note, NULL);
	unlink(file);
	return c;
}

static void refused(const char *text, const char *want)
{
	struct config *c = read_text(text);

	CU_ASSERT_PTR_NULL(c);
	if (c || !strstr(reports, want))
		printf("# %s# said: %s# wanted: %s\n", text, reports, want);
	CU_ASSERT_PTR_NOT_NULL(strstr(reports, want));
	config_free(c);
}

static void test_appliance_takes_what_the_manual_has(void)
{
	struct config *c = read_text("[appliance]\r\n"
				     "hostname = server\r\n"
				     "ntp = 192.168.1.1, time.example.org\r\n"
				     "state-disk = serial:WD-123_4\r\n"
				     "format-state-disk = yes\r\n"
				     "images = nfs:nas.lan:/volume1/images\r\n"
				     "ssh-key.anna = " KEY " anna@desk\r\n"
				     "ssh-key.bert = " KEY "\r\n"
				     "update-key.us = " KEY "\r\n"
				     "[network room]\r\n"
				     "interface = 52:54:00:AB:cd:01\r\n"
				     "address = 192.168.1.10/24\r\n"
				     "gateway = 192.168.1.1\r\n"
				     "dns = 192.168.1.1\r\n"
				     "[network office]\r\n"
				     "interface = enp2s0\r\n");

	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_STRING_EQUAL(c->appliance.hostname, "server");
	CU_ASSERT_STRING_EQUAL(c->appliance.ntp, "192.168.1.1 time.example.org");
	CU_ASSERT_STRING_EQUAL(c->appliance.state_disk, "serial:WD-123_4");
	CU_ASSERT_TRUE(c->appliance.format_state_disk);
	CU_ASSERT_EQUAL(c->appliance.ssh.count, 2);
	CU_ASSERT_STRING_EQUAL(c->appliance.ssh.key[0], KEY " anna@desk");
	CU_ASSERT_EQUAL(c->appliance.update.count, 1);
	CU_ASSERT_EQUAL(c->networks, 2);
	CU_ASSERT_STRING_EQUAL(c->network[0].interface, "52:54:00:ab:cd:01");
	CU_ASSERT_EQUAL(c->dhcp_mode, CONFIG_DHCP_OFF);
	config_free(c);
}

static void test_appliance_names_line_and_reason(void)
{
	refused("[appliance]\nhostname = bad_name\n", "2: hostname: \"bad_name\" is not a host name");
	refused("[appliance]\nhostname = a.b\n", "2: hostname");
	refused("[appliance]\nstate-disk = /dev/sda\n", "2: state-disk: \"/dev/sda\" is not a disk");
	refused("[appliance]\nstate-disk = serial:a;reboot\n", "2: ");
	refused("[appliance]\nstate-disk = label:$(id)\n", "2: state-disk");
	refused("[appliance]\nimages = nfs:nas:/a b\n", "2: images");
	refused("[appliance]\nimages = nfs:nas:/a,exec\n", "2: images");
	refused("[appliance]\nstate-disk = label:X\nformat-state-disk = yes\n",
		"3: format-state-disk needs state-disk = serial:NUMBER");
	refused("[appliance]\nssh-key.a = ssh-ed25519 AAAA\n", "2: ssh-key.a");
	refused("[appliance]\nssh-key.a = command=\"x\" " KEY "\n", "2: ssh-key.a");
	refused("[appliance]\nntp = a..b\n", "2: ntp");
	refused("[network]\naddress = dhcp\n", "1: [network NAME] needs one name");
	refused("[network a]\naddress = 192.168.1.0/24\n", "2: address: \"192.168.1.0/24\" is the network");
	refused("[network a]\naddress = 192.168.1.10\n", "2: address");
	refused("[network a]\ngateway = 192.168.1.1\n", "1: [network a] has a gateway");
	refused("[network a]\n[network b]\ninterface = eth0\n", "1: [network a] needs interface");
	refused("[network a]\ninterface = eth0\n[network b]\ninterface = eth0\n",
		"3: [network b] has the interface of [network a] (line 1)");
	refused("[network a]\nadress = dhcp\n", "did you mean \"address\"?");
	refused("[server]\nssh-key.a = " KEY "\n", "2: [server] has no key");
}

static void test_appliance_shell_gets_quoted_values(void)
{
	struct config *c = read_text("[appliance]\nssh-key.a = " KEY " it's $(id) `id`\n"
				     "[network a]\naddress = 10.0.0.5/8\n");
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	appliance_print(to, &c->appliance, c->network, c->networks);
	fclose(to);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "CONF_SSH_KEY_0='" KEY " it'\\''s $(id) `id`'\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "CONF_NETWORK_ADDRESS_0='10.0.0.5/8'\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "CONF_NETWORKS=1\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "CONF_FORMAT_STATE_DISK='no'\n"));
	free(text);
	config_free(c);
}

static struct config *read_planned(const char *text)
{
	static const struct config_known known = {.planned = true};
	char file[] = "/tmp/bootwell-unit.XXXXXX";
	struct config *c = NULL;
	int fd = mkstemp(file);

	reports[0] = '\0';
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	close(fd);
	config_read_known(&c, file, &known, note, NULL);
	unlink(file);
	return c;
}

/* Before there is a network, ranges are held against the addresses that [network] will give. */
static void test_appliance_checks_ranges_against_planned_addresses(void)
{
	static const char good[] = "[dhcp]\nrange = 10.77.7.10-10.77.7.20\n"
				   "[network a]\naddress = 10.77.7.1/24\n";
	struct config *c = read_text(good);

	CU_ASSERT_PTR_NULL(c);
	config_free(c);
	c = read_planned(good);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_EQUAL(c->subnet[0].network, 0x0a4d0700);
	CU_ASSERT_EQUAL(c->subnet[0].prefix, 24);
	config_free(c);
	c = read_planned("[dhcp]\nrange = 10.77.8.10-10.77.8.20\n"
			 "[network a]\naddress = 10.77.7.1/24\n");
	CU_ASSERT_PTR_NULL(c);
	CU_ASSERT_PTR_NOT_NULL(strstr(reports, "2: no interface of this machine"));
	config_free(c);
	c = read_planned("[dhcp]\nrange = 10.77.7.10-10.77.8.20\n"
			 "[network a]\naddress = 10.77.7.1/24\n");
	CU_ASSERT_PTR_NULL(c);
	CU_ASSERT_PTR_NOT_NULL(strstr(reports, "2: range"));
	config_free(c);
	c = read_planned("[dhcp]\nrange = 10.77.8.10-10.77.8.20\n"
			 "[network a]\naddress = dhcp\n");
	CU_ASSERT_PTR_NOT_NULL(c);
	config_free(c);
}

UNIT_MAIN(UNIT(test_appliance_checks_ranges_against_planned_addresses), UNIT(test_appliance_takes_what_the_manual_has),
	  UNIT(test_appliance_names_line_and_reason), UNIT(test_appliance_shell_gets_quoted_values))
