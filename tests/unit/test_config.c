/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration file: what is taken, and what is refused with which line and words. */
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "daemon/config/config.h"
#include "daemon/config/room.h"
#include "tests/unit/unit.h"

struct mistakes {
	struct {
		unsigned int line;
		char text[512];
	} one[64];
	unsigned int count;
};

static void note(void *arg, const char *file, unsigned int line, const char *message)
{
	struct mistakes *m = arg;

	(void)file;
	if (m->count == 64)
		return;
	m->one[m->count].line = line;
	snprintf(m->one[m->count++].text, sizeof(m->one[0].text), "%s", message);
}

static struct config *read_bytes(const void *data, size_t size, const struct config_known *known, struct mistakes *m)
{
	char file[] = "/tmp/bootwell-config.XXXXXX";
	struct config *config = NULL;
	int fd = mkstemp(file), r;

	memset(m, 0, sizeof(*m));
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
	r = config_read_known(&config, file, known, note, m);
	unlink(file);
	CU_ASSERT_EQUAL(r, m->count ? -EINVAL : 0);
	CU_ASSERT_EQUAL(config != NULL, m->count == 0);
	return config;
}

static struct config *read_text(const char *text, struct mistakes *m)
{
	return read_bytes(text, strlen(text), NULL, m);
}

static struct config *read_right(const char *text)
{
	struct mistakes m;
	struct config *config = read_text(text, &m);

	for (unsigned int i = 0; i < m.count; i++)
		printf("# line %u: %s\n", m.one[i].line, m.one[i].text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(config);
	return config;
}

static void test_config_smallest(void)
{
	struct config *c = read_right("[dhcp]\nrange = 127.0.0.101-127.0.0.254\nrouter = 127.0.0.1\ndns = 127.0.0.1\n"
				      "[image xp01]\nfile = xp01.vmdk\n");

	CU_ASSERT_EQUAL(c->dhcp_mode, CONFIG_DHCP_FULL);
	CU_ASSERT_EQUAL(c->subnets, 1);
	CU_ASSERT_STRING_EQUAL(c->subnet[0].name, "lan");
	CU_ASSERT_STRING_EQUAL(c->subnet[0].interface, "lo"); /* found by the range's network */
	CU_ASSERT_EQUAL(c->subnet[0].network, 0x7f000000);
	CU_ASSERT_EQUAL(c->subnet[0].prefix, 8);
	CU_ASSERT_EQUAL(c->subnet[0].range[0].first, 0x7f000065);
	CU_ASSERT_EQUAL(c->subnet[0].range[0].last, 0x7f0000fe);
	CU_ASSERT_EQUAL(c->subnet[0].lease_time, 12 * 3600);
	CU_ASSERT_STRING_EQUAL(c->group[0].name, "default");
	CU_ASSERT_EQUAL(c->group[0].profile.images, 1); /* the only image is the default */
	CU_ASSERT_STRING_EQUAL(c->group[0].profile.image[0], "xp01");
	config_free(c);
}

static void test_config_empty_serves_nothing(void)
{
	struct config *c = read_right("");

	CU_ASSERT_EQUAL(c->dhcp_mode, CONFIG_DHCP_OFF);
	CU_ASSERT_EQUAL(c->http_port, 8001);
	CU_ASSERT_EQUAL(c->upload_port, 1000);
	CU_ASSERT_TRUE(c->targets);
	config_free(c);
}

/* A webhook's address may hold a secret: of a mistake in it nothing is shown. */
static void test_config_shows_no_webhook(void)
{
	struct mistakes m;

	CU_ASSERT_PTR_NULL(read_text("[alert]\nwebhook = https://h/SECRET here\n", &m));
	CU_ASSERT_EQUAL_FATAL(m.count, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(m.one[0].text, "webhook: what stands there"));
	CU_ASSERT_PTR_NULL(strstr(m.one[0].text, "SECRET"));
}

static void test_config_alert(void)
{
	struct config *c = read_right("[alert]\nmail = a@b.c,d+e@f  g@h\nsmtp = smtps://h:465\n"
				      "webhook = https://h:8/x?y=%20\nrepeat = 24h\nlevel = critical\n");

	CU_ASSERT_STRING_EQUAL(c->alert.mail, "a@b.c, d+e@f, g@h");
	CU_ASSERT(!strncmp(c->alert.mail_from, "bootwell@", 9));
	CU_ASSERT_EQUAL(c->alert.smtp_tls, CONFIG_SMTP_TLS_REQUIRED);
	CU_ASSERT_STRING_EQUAL(c->alert.webhook, "https://h:8/x?y=%20");
	CU_ASSERT_EQUAL(c->alert.repeat, 86400);
	CU_ASSERT_EQUAL(c->alert.end_after, 300);
	CU_ASSERT_EQUAL(c->alert.level, 1);
	config_free(c);
}

static void test_config_everything(void)
{
	struct config *c =
		read_right("# comment\n; another\n"
			   "[server]\nname = room1\ntargets = off\nstate = /srv/state\nrun = /run/x\nlog = "
			   "debug\n"
			   "[dhcp]\nmode = full\nport = 6767\nhandoff-timeout = 2m\nprobe = no\n"
			   "[subnet a]\ninterface = lo\nnetwork = 10.1.0.0/16\nserver = 10.1.0.1\n"
			   "range = 10.1.1.1-10.1.1.9, 10.1.2.1 - 10.1.2.9\nexclude = 10.1.1.5\nrouter = "
			   "10.1.0.1\n"
			   "dns = 10.1.0.1, 10.1.0.2\nntp = 10.1.0.3\ndomain = room.example\nlease = 1h30m\n"
			   "option.150 = 10.1.0.1\noption.252 = \"http://x/y\"\noption.43 = "
			   "hex:06:01:08\noption.26 = u16:1400\n"
			   "[tftp]\nport = 6969\nroot = /srv/tftp\nblksize = 1432\nwindowsize = 16\nfastpath "
			   "= tc\n"
			   "fastpath-memory = 16M\nsessions = 100\n"
			   "[http]\nport = 80\nupload-port = 1001\ntoken = \"a-long-token # b\"\n"
			   "[iscsi]\nport = 3261\nprefix = iqn.2020-02.org.example:room\n"
			   "[images]\npath = /srv/images\n[write-back]\npath = /srv/store\nsize = 20G\n"
			   "[cache]\nimage_ram = 2GiB\nwrite_back_ram = 100M\nthreads = 2\n"
			   "[clients]\nregister = no\nask-name = no\nname-pattern = LAB-%02u\n"
			   "[image one]\nfile = a/one.vhd\nformat = vhd\nsize = 40G\n[image two]\nfile = "
			   "two.raw\n"
			   "[group default]\nimage = one\nkeep = no\ndisks = two,one  keep\n"
			   "  [group teachers]\n  image = two, one\n  upload = yes ; indented lines are "
			   "lines\n"
			   "[client BOSS]\nmac = 02-00-00-00-00-01\nuuid = "
			   "00112233-4455-6677-8899-aabbccddeeff\n"
			   "circuit = \"port 7\"\naddress = 10.1.0.77\ngroup = teachers\nkeep = yes\nnbp-bios "
			   "= ipxe.pxe\ndisks = none\n"
			   "nbp-uefi = sub/ipxe.efi\noption.12 = boss\n");
	const struct config_client *boss = &c->client[0];
	static const uint8_t wire[16] = {0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66,
					 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
			     text[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
					 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff},
			     mac[6] = {2, 0, 0, 0, 0, 1}, other[6] = {2, 0, 0, 0, 0, 2}, mac_as_uuid[16] = {2, 1};

	CU_ASSERT_EQUAL(c->handoff_timeout, 120);
	CU_ASSERT_EQUAL(c->subnet[0].ranges, 2);
	CU_ASSERT_EQUAL(c->subnet[0].range[1].last, 0x0a010209);
	CU_ASSERT_EQUAL(c->subnet[0].lease_time, 5400);
	CU_ASSERT_EQUAL(c->subnet[0].options.count, 4);
	CU_ASSERT_EQUAL(c->subnet[0].options.option[0].length, 4);
	CU_ASSERT_EQUAL(c->subnet[0].options.option[1].length, 10);
	CU_ASSERT_EQUAL(memcmp(c->subnet[0].options.option[2].data, "\x06\x01\x08", 3), 0);
	CU_ASSERT_EQUAL(memcmp(c->subnet[0].options.option[3].data, "\x05\x78", 2), 0);
	CU_ASSERT_STRING_EQUAL(c->tftp_fastpath, "tc");
	CU_ASSERT_EQUAL(c->tftp_fastpath_memory, 16 << 20);
	CU_ASSERT_EQUAL(c->store_size, 20ull << 30);
	CU_ASSERT_EQUAL(c->image_ram, 2ull << 30);
	CU_ASSERT_STRING_EQUAL(c->client_name_pattern, "LAB-%02u");
	CU_ASSERT_EQUAL(c->image[0].size_override, 40ull << 30);
	CU_ASSERT_EQUAL(c->group[0].profile.disks, 2);
	CU_ASSERT_STRING_EQUAL(c->group[0].profile.disk[0].image, "two");
	CU_ASSERT_EQUAL(c->group[0].profile.disk[0].mode, CONFIG_DISK_READ_ONLY);
	CU_ASSERT_STRING_EQUAL(c->group[0].profile.disk[1].image, "one");
	CU_ASSERT_EQUAL(c->group[0].profile.disk[1].mode, CONFIG_DISK_KEEP);
	CU_ASSERT(boss->profile.disks_given && !boss->profile.disks);
	CU_ASSERT_FALSE(config_group_find(c, "teachers")->profile.disks_given);
	CU_ASSERT_EQUAL(config_group_find(c, "teachers")->profile.images, 2);
	CU_ASSERT_EQUAL(config_group_find(c, "teachers")->profile.upload, CONFIG_YES);
	CU_ASSERT_EQUAL(config_group_find(c, "teachers")->profile.keep, CONFIG_UNSET);
	CU_ASSERT_PTR_EQUAL(config_group_find(c, ""), &c->group[0]);
	/* By UUID in the byte order of firmware or of text; by the rest where no UUID is told; by name. */
	CU_ASSERT_PTR_EQUAL(identity_section(c, &(struct identity){.mac = mac}), boss);
	CU_ASSERT_PTR_EQUAL(identity_section(c, &(struct identity){other, wire, NULL}), boss);
	CU_ASSERT_PTR_EQUAL(identity_section(c, &(struct identity){other, text, NULL}), boss);
	CU_ASSERT_PTR_NULL(identity_section(c, &(struct identity){other, NULL, "port 7"}));
	CU_ASSERT_PTR_NULL(identity_section(c, &(struct identity){other, NULL, ""}));
	CU_ASSERT_PTR_NULL(identity_section(c, &(struct identity){mac, mac_as_uuid, "port 7"}));
	CU_ASSERT_PTR_EQUAL(config_client_named(c, "boss"), boss);
	CU_ASSERT_PTR_EQUAL(config_subnet_for_address(c, 0x0a01ffff), &c->subnet[0]);
	CU_ASSERT_PTR_NULL(config_subnet_for_address(c, 0x0a020000));
	config_free(c);
}

/* What the file says of a machine that is another one. */
static unsigned int look(const char *text, struct mistakes *m)
{
	struct config *config = read_right(text);

	memset(m, 0, sizeof(*m));
	config_look_at_images(config, note, m);
	config_look_at_room(config, note, m);
	config_free(config);
	return m->count;
}

static bool noted(const struct mistakes *m, const char *what)
{
	for (unsigned int i = 0; i < m->count; i++)
		if (strstr(m->one[i].text, what))
			return true;
	return false;
}

#define ROOM                                                                                                           \
	"[dhcp]\ninterface = lo\nrange = 127.0.0.5-127.0.0.9\nrouter = 127.0.0.1\ndns = 127.0.0.1\n"                   \
	"[tftp]\nroot = /tmp\n[cache]\nimage_ram = 1M\nwrite_back_ram = 1M\n"

static void test_config_looks_at_the_room(void)
{
	struct mistakes m;

	CU_ASSERT_EQUAL(look(ROOM "[write-back]\npath = /tmp/store\n", &m), 0);
	/* The folder of the state is made by bootwelld, and those above it; another one is not. */
	CU_ASSERT_EQUAL(look(ROOM "[server]\nstate = /tmp/a/b\n[write-back]\npath = /tmp/a/store\n", &m), 0);
	CU_ASSERT_EQUAL(look(ROOM "[write-back]\npath = /tmp/nowhere-of-all/store\n", &m), 1);
	CU_ASSERT(noted(&m, "[write-back] path: there is no folder /tmp/nowhere-of-all: no PC gets a disk"));
	CU_ASSERT_EQUAL(look(ROOM "[server]\ntargets = off\n[write-back]\npath = /tmp/nowhere-of-all/store\n", &m), 0);
	CU_ASSERT_EQUAL(look("[tftp]\nroot = /tmp/nowhere-of-all\n[cache]\nimage_ram = 900000G\n", &m), 2);
	CU_ASSERT(noted(&m, "[tftp] root /tmp/nowhere-of-all: No such file"));
	CU_ASSERT(noted(&m, "[cache] image_ram and write_back_ram are"));
	CU_ASSERT_EQUAL(look("[tftp]\nroot = /tmp\n[cache]\nimage_ram = 1M\n[dhcp]\ninterface = lo\n"
			     "range = 127.0.0.5-127.0.0.9\n",
			     &m),
			1);
	CU_ASSERT(noted(&m, "are told no router and no DNS"));
	CU_ASSERT_EQUAL(look("[tftp]\nroot = /tmp\n[cache]\nimage_ram = 1M\n[dhcp]\nmode = proxy\ninterface = lo\n"
			     "range = 127.0.0.5-127.0.0.9\n",
			     &m),
			1);
	CU_ASSERT(noted(&m, "is not used: with mode = proxy"));
	CU_ASSERT_EQUAL(look("[tftp]\nroot = /tmp\n[cache]\nimage_ram = 1M\n[image one]\nfile = nowhere.vhd\n", &m), 1);
	CU_ASSERT(noted(&m, "image one cannot be read"));
	CU_ASSERT_EQUAL(m.one[0].line, 5);
}

static void test_config_windows_editor(void)
{
	struct config *c = read_right("\xef\xbb\xbf[server]\r\ntargets = off\r\n\r\n[tftp]\r\nport = 70\r\n");

	CU_ASSERT_FALSE(c->targets);
	CU_ASSERT_EQUAL(c->tftp_port, 70);
	config_free(c);
}

/* One mistake each: its line and words that a person needs. */
static const struct {
	const char *text;
	unsigned int line;
	const char *words[3];
} mistakes[] = {
	{"[sever]\n", 1, {"[sever]", "did you mean [server]"}},
	{"[quux]\n", 1, {"[quux]", "bootwell.conf(5)"}},
	{"[server]\ntagrets = off\n", 2, {"\"tagrets\"", "did you mean \"targets\""}},
	{"[dhcp]\ngateway = 10.0.0.1\n", 2, {"\"gateway\"", "did you mean \"router\""}},
	{"[write-back]\npath = /tmp\n", 2, {"[write-back] path /tmp is a folder", "/tmp/write-back.state"}},
	{"[write-back]\npath = /dev/null\n", 2, {"is neither a file nor a block device"}},
	{"[client X]\nuuid = 03000200-0400-0500-0006-000700080009\n", 2, {"is what many boards have", "use mac"}},
	{"[client X]\nuuid = ffffffff-ffff-ffff-ffff-ffffffffffff\n", 2, {"is what many boards have"}},
	/* One board, told in the two orders of bytes that firmware and systems write a UUID in. */
	{"[client X]\nuuid = 00112233-4455-6677-8899-aabbccddeeff\n"
	 "[client Y]\nuuid = 33221100-5544-7766-8899-aabbccddeeff\n",
	 3,
	 {"has the uuid of [client X]"}},
	{"[dhcp]\nmask = 255.255.255.0\n", 2, {"\"mask\"", "part of network = A.B.C.D/N"}},
	{"[server]\nrange = 1.2.3.4-1.2.3.5\n", 2, {"\"range\"", "belongs into [subnet NAME]"}},
	{"[alert]\nlevel = critical\n", 2, {"tells nobody", "mail, webhook or command"}},
	{"[alert]\nmail = a@b\n", 2, {"no smtp = smtp://HOST:587"}},
	{"[alert]\nsmtp = smtp://h:25\nwebhook = http://h/\n", 2, {"no mail = NAME@HOST"}},
	{"[alert]\nmail = a@b\nsmtp = smtp://h\nsmtp-user = u\n", 2, {"smtp-password-file", "one of them is missing"}},
	{"[alert]\nmail = a@b\nsmtp = smtp://h\nsmtp-user = u\nsmtp-password-file = /p\nsmtp-tls = off\n",
	 2,
	 {"in clear"}},
	{"[alert]\nmail = a@b, c\nsmtp = smtp://h\n", 2, {"no mail address"}},
	{"[alert]\nmail = a@b>\nsmtp = smtp://h\n", 2, {"no mail address"}},
	{"[alert]\nmail-from = a\n", 2, {"no mail address"}},
	{"[alert]\nmail = a@b\nsmtp = h:587\n", 3, {"no mail server", "smtp://HOST:587"}},
	{"[alert]\nmail = a@b\nsmtp = smtp://u:p@h\n", 3, {"keys of their own"}},
	{"[alert]\nwebhook = ftp://h\n", 2, {"no address of a web server"}},
	{"[alert]\nwebhook = https://h/a b\n", 2, {"%XX"}},
	{"[alert]\ncommand = tell\n", 2, {"absolute"}},
	{"[alert]\nrepeat = 5m\n", 2, {"3600s at least"}},
	{"[alert]\nend-after = 1s\n", 2, {"5s at least"}},
	{"[alert]\nlevel = loud\n", 2, {"warning (all) or critical"}},
	{"[server]\ntargets = maybe\n", 2, {"\"maybe\"", "neither yes nor no"}},
	{"[server]\ntargets =\n", 2, {"no value"}},
	{"[server]\n\n\ntargets\n", 4, {"no \"key = value\""}},
	{"targets = off\n", 1, {"before the first [section]"}},
	{"[server\ntargets = off\n", 1, {"no ]"}},
	{"[server]\ntargets = off\ntargets = on\n", 3, {"second time", "line 2"}},
	{"[server]\n[tftp]\n[server]\n", 3, {"second time", "line 1"}},
	{"[server two]\n", 1, {"no name behind it"}},
	{"[image]\n", 1, {"needs one name"}},
	{"[image a b]\n", 1, {"needs one name"}},
	{"[image a]\nfile = a\n[image A]\nfile = b\n", 3, {"second time", "line 1"}},
	{"[client sixteen-letters-]\n", 1, {"1 to 15 characters"}},
	{"[client a_b]\n", 1, {"letters, digits and hyphens"}},
	{"[client 12]\n", 1, {"digits only"}},
	{"[server]\nstate = relative\n", 2, {"absolute"}},
	{"[server]\nlog = loud\n", 2, {"\"loud\"", "debug"}},
	{"[images]\npath = /a b\n", 2, {"blank"}},
	{"[image a]\nfile = ../../etc/passwd\n", 2, {".."}},
	{"[image a]\nfile = /etc/passwd\n", 2, {"beneath"}},
	{"[image a]\nfile = a\nformat = qcow2\n", 3, {"qcow2", "raw|vhd|vmdk"}},
	{"[image a]\nfile = a\nsize = 100\n", 3, {"512"}},
	{"[image a]\nformat = raw\n", 1, {"no file ="}},
	{"[write-back]\nsize = 20X\n", 2, {"\"20X\"", "20G"}},
	{"[write-back]\nsize = 99999999T\n", 2, {"not a size"}},
	{"[tftp]\nport = 65536\n", 2, {"1 to 65535"}},
	{"[tftp]\nblksize = 100\n", 2, {"512"}},
	{"[tftp]\nfastpath = warp\n", 2, {"xdp"}},
	{"[iscsi]\nprefix = my-targets\n", 2, {"iqn.2026-01"}},
	{"[clients]\nname-pattern = PC%s\n", 2, {"PC%03u"}},
	{"[clients]\nname-pattern = A-VERY-LONG-%03u\n", 2, {"room"}},
	{"[clients]\nname-pattern = %u%n\n", 2, {"PC%03u"}},
	{"[dhcp]\nmode = on\n", 2, {"full", "proxy"}},
	{"[dhcp]\n", 1, {"no range"}},
	{"[dhcp]\nmode = proxy\n", 1, {"no interface"}},
	{"[dhcp]\nrange = 127.0.0.9-127.0.0.1\n", 2, {"ends before it begins"}},
	{"[dhcp]\nrange = 127.0.0.1-128.0.0.1\n", 2, {"not within the network 127.0.0.0/8"}},
	{"[dhcp]\nrange = 127.0.0.0-127.0.0.9\n", 2, {"network's own"}},
	{"[dhcp]\nrange = 127.0.0.1-127.0.0.9, 127.0.0.9-127.0.0.10\n", 2, {"overlaps"}},
	{"[dhcp]\nrange = 203.0.113.5-203.0.113.9\n", 2, {"no interface of this machine", "203.0.113.5"}},
	{"[dhcp]\ninterface = nope0\nrange = 127.0.0.1-127.0.0.9\n", 2, {"nope0", "this machine has", "lo"}},
	{"[dhcp]\ninterface = lo\nrange = 203.0.113.5-203.0.113.9\n", 3, {"interface lo", "network = "}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\nrouter = 192.168.1.1\n", 3, {"192.168.1.1", "not within"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\nserver = 192.168.1.1\n", 3, {"192.168.1.1", "not within"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\nlease = 12x\n", 3, {"12h"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\nlease = 5s\n", 3, {"too short"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\nbackup = yes\n", 3, {"peer"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\nsplit = yes\n", 3, {"split", "peer"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\noption.53 = u8:2\n", 3, {"sets by itself"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\noption.26 = 1400\n", 3, {"u16:N"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\noption.x = 1\n", 3, {"1 to 254"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\noption.43 = hex:0g\n", 3, {"hex:"}},
	{"[server]\noption.43 = hex:00\n", 2, {"no options"}},
	{"[subnet a]\nnetwork = 10.0.0.0/24\nrange = 10.0.0.1-10.0.0.9\n", 1, {"[dhcp]"}},
	{"[dhcp]\n[subnet a]\nnetwork = 10.0.0.1/24\nrange = 10.0.0.2-10.0.0.9\n", 3, {"192.168.1.0/24"}},
	{"[dhcp]\n[subnet a]\nnetwork = 10.0.0.0/16\nrange = 10.0.0.2-10.0.0.9\n"
	 "[subnet b]\nnetwork = 10.0.1.0/24\nrange = 10.0.1.2-10.0.1.9\n",
	 5,
	 {"overlaps", "line 2"}},
	{"[image one]\nfile = a\n[client X]\nmac = 02:00:00:00:00:01\nimage = oen\n",
	 5,
	 {"[client X]", "no image \"oen\"", "did you mean \"one\""}},
	{"[group default]\nimage = xp01\n", 2, {"[group default]", "no image \"xp01\"", "[image xp01]"}},
	{"[image one]\nfile = a\n[client X]\ndisks = oen own\n",
	 4,
	 {"[client X]", "no image \"oen\"", "did you mean \"one\""}},
	{"[image one]\nfile = a\n[client X]\ndisks = one writable\n", 4, {"disks", "read-only, own or keep"}},
	{"[image one]\nfile = a\n[client X]\ndisks = one own keep\n", 4, {"disks", "read-only, own or keep"}},
	{"[image one]\nfile = a\n[client X]\ndisks = one own, one\n", 4, {"disks", "twice"}},
	{"[image a]\nfile = a\n[image b]\nfile = b\n[image c]\nfile = c\n[image d]\nfile = d\n[image e]\nfile = e\n"
	 "[client X]\ndisks = a, b, c, d, e\n",
	 12,
	 {"disks", "more than 4"}},
	{"[client X]\ngroup = teachers\n", 2, {"no group \"teachers\""}},
	{"[client X]\nmac = 01:00:5e:00:00:01\n", 2, {"group address"}},
	{"[client X]\nmac = 02:00:00:00:01\n", 2, {"MAC address"}},
	{"[client X]\nuuid = 1234\n", 2, {"UUID"}},
	{"[client X]\nmac = 02:00:00:00:00:01\n[client Y]\nmac = 020000000001\n", 3, {"mac of [client X]", "line 1"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\n[client X]\nmac = 02:00:00:00:00:01\naddress = "
	 "10.9.9.9\n",
	 3,
	 {"10.9.9.9", "no subnet"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\nrouter = 127.0.0.1\n[client X]\nmac = "
	 "02:00:00:00:00:01\n"
	 "address = 127.0.0.1\n",
	 4,
	 {"router's"}},
	{"[dhcp]\nnetwork = 127.0.0.0/24\ninterface = lo\nrange = 127.0.0.2-127.0.0.9\n[client X]\nmac = "
	 "02:00:00:00:00:01\n"
	 "address = 127.0.0.255\n",
	 5,
	 {"127.0.0.255", "broadcast address"}},
	{"[dhcp]\nnetwork = 127.0.0.0/24\ninterface = lo\nrange = 127.0.0.2-127.0.0.9\n[client X]\nmac = "
	 "02:00:00:00:00:01\n"
	 "address = 127.0.0.0\n",
	 5,
	 {"127.0.0.0", "network's own"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9, 127.0.0.20-127.0.0.21\nexclude = 127.0.0.6-127.0.0.9, "
	 "127.0.0.1-127.0.0.5, "
	 "127.0.0.20-127.0.0.30\n",
	 3,
	 {"leaves no address"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\npeer = 127.0.0.5\n", 2, {"127.0.0.5", "peer"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\npeer = 127.0.0.50\n[client X]\nmac = 02:00:00:00:00:01\naddress = "
	 "127.0.0.50\n",
	 4,
	 {"127.0.0.50", "the peer's"}},
	{"[dhcp]\nrange = 127.0.0.2-127.0.0.9\n[client X]\naddress = 127.0.0.3\n", 3, {"mac, uuid or circuit"}},
	{"[http]\nport = 3260\n", 0, {"[http] port and [iscsi] port are both 3260"}},
	{"[http]\nupload-port = 3260\n", 0, {"upload-port"}},
	{"[dhcp]\nport = 69\nrange = 127.0.0.2-127.0.0.9\n", 2, {"[tftp] port are both 69"}},
	{"[http]\nport = 90\nupload-port = 90\n", 0, {"both 90"}},
	{"[http]\ntoken = \"a\001b\"\n", 2, {"control character"}},
};

static void test_config_mistakes(void)
{
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		struct mistakes m;
		bool good;

		config_free(read_text(mistakes[i].text, &m));
		good = m.count == 1 && m.one[0].line == mistakes[i].line;
		for (unsigned int k = 0; good && k < 3 && mistakes[i].words[k]; k++)
			good = strstr(m.one[0].text, mistakes[i].words[k]) != NULL;
		CU_ASSERT(good);
		if (good)
			continue;
		printf("# in: %s", mistakes[i].text);
		for (unsigned int k = 0; k < m.count; k++)
			printf("#   got line %u: %s\n", m.one[k].line, m.one[k].text);
		printf("#   expected line %u: %s\n", mistakes[i].line, mistakes[i].words[0]);
	}
}

/* All mistakes come at once, in one reading. */
static void test_config_all_mistakes_at_once(void)
{
	struct mistakes m;

	config_free(read_text("[server]\ntagrets = off\nlog = loud\nnonsense\n[tfpt]\nport = "
			      "1\n[http]\nport = x\n",
			      &m));
	CU_ASSERT_EQUAL(m.count, 5);
	for (unsigned int i = 0; i < m.count; i++) {
		static const unsigned int lines[] = {2, 3, 4, 5, 8};

		CU_ASSERT_EQUAL(m.one[i].line, lines[i]);
	}
}

static bool know_xp01(void *arg, const struct config *config, const char *name)
{
	(void)config;
	++*(int *)arg;
	return !strcmp(name, "xp01");
}

static void test_config_images_of_the_catalogue(void)
{
	int asked = 0;
	struct config_known known = {.image = know_xp01, .arg = &asked};
	const char *text = "[group default]\nimage = xp01\n[client X]\nimage = xp02\n";
	struct mistakes m;

	config_free(read_bytes(text, strlen(text), &known, &m));
	CU_ASSERT_EQUAL(asked, 2);
	CU_ASSERT_EQUAL(m.count, 1);
	CU_ASSERT_EQUAL(m.one[0].line, 4);
}

static void test_config_missing_file(void)
{
	struct config *config = NULL;
	struct mistakes m = {};

	CU_ASSERT_EQUAL(config_read(&config, "/nonexistent/bootwell.conf", note, &m), -ENOENT);
	CU_ASSERT_PTR_NULL(config);
	CU_ASSERT_EQUAL(m.count, 1);
	memset(&m, 0, sizeof(m));
	CU_ASSERT(config_read(&config, "/dev/zero", note, &m) < 0);
	CU_ASSERT_EQUAL(m.count, 1);
}

static void test_config_long_lines(void)
{
	char text[9000];
	struct mistakes m;

	memset(text, 'x', sizeof(text));
	memcpy(text, "[server]\nname = ", 16);
	memcpy(text + 8980, "\n[tfpt]\n", 9);
	config_free(read_text(text, &m));
	CU_ASSERT_EQUAL(m.count, 2);
	CU_ASSERT_EQUAL(m.one[0].line, 2);
	CU_ASSERT_EQUAL(m.one[1].line, 3); /* counting goes on right */
}

/* Random bytes and random mutations of a right file: never a crash, always either a configuration
 * or a mistake. */
static void test_config_random(void)
{
	static const char right[] = "[dhcp]\nrange = 127.0.0.101-127.0.0.254\nrouter = 127.0.0.1\noption.43 = "
				    "hex:0102\n"
				    "[image xp01]\nfile = xp01.vmdk\nsize = 20G\n[client A]\nmac = 02:00:00:00:00:01\n"
				    "image = xp01\n[clients]\nname-pattern = PC%03u\n";
	uint64_t x = unit_seed() | 1;
	char text[sizeof(right) + 64];

	for (int round = 0; round < 3000; round++) {
		size_t size = sizeof(right) - 1;
		struct mistakes m;

		memcpy(text, right, size);
		for (int k = 0; k < 1 + round % 8; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			text[x % size] = round % 3 ? "[]=:#;\n\"%, .-\\\0"[(x >> 20) % 15] : (char)(x >> 32);
		}
		config_free(read_bytes(text, size, NULL, &m));
	}
}

UNIT_MAIN(UNIT(test_config_smallest), UNIT(test_config_empty_serves_nothing), UNIT(test_config_everything),
	  UNIT(test_config_looks_at_the_room), UNIT(test_config_windows_editor), UNIT(test_config_mistakes),
	  UNIT(test_config_all_mistakes_at_once), UNIT(test_config_images_of_the_catalogue),
	  UNIT(test_config_missing_file), UNIT(test_config_long_lines), UNIT(test_config_alert),
	  UNIT(test_config_shows_no_webhook), UNIT(test_config_random))
