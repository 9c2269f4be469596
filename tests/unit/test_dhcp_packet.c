/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The codec of DHCP messages: options, overload, long options (RFC 3396), what is refused, what comes out again. */
#include "tests/unit/unit.h"

#include <errno.h>

#include "daemon/dhcp/packet.h"
#include "tcmu-handler/image/bytes.h"

/* A request with a header, the cookie and whatever options. */
struct made {
	uint8_t data[2000];
	size_t length;
};

static void make(struct made *m)
{
	memset(m, 0, sizeof(*m));
	m->data[0] = 1;
	m->data[1] = 1;
	m->data[2] = 6;
	be32_put(m->data + 4, 0x12345678);
	memcpy(m->data + 28, "\x02\x00\x00\x00\x00\x01", 6);
	be32_put(m->data + 236, 0x63825363);
	m->length = DHCP_HEADER;
}

static void add(struct made *m, uint8_t code, const void *data, size_t length)
{
	m->data[m->length++] = code;
	m->data[m->length++] = (uint8_t)length;
	memcpy(m->data + m->length, data, length);
	m->length += length;
}

static int parse(struct dhcp_packet *p, const struct made *m)
{
	return dhcp_packet_parse(p, m->data, m->length);
}

static void test_dhcp_packet_reads_header_and_options(void)
{
	struct made m;
	struct dhcp_packet p;
	uint32_t address;
	uint16_t size;
	size_t n;

	make(&m);
	be16_put(m.data + 10, DHCP_FLAG_BROADCAST);
	be32_put(m.data + 24, 0x0a000001);
	add(&m, 53, "\x03", 1);
	add(&m, 50, "\x0a\x00\x00\x63", 4);
	add(&m, 57, "\x05\xc0", 2);
	add(&m, 12, "", 0);
	m.data[m.length++] = 255;
	CU_ASSERT_EQUAL_FATAL(parse(&p, &m), 0);
	CU_ASSERT_EQUAL(p.xid, 0x12345678);
	CU_ASSERT_EQUAL(p.flags, DHCP_FLAG_BROADCAST);
	CU_ASSERT_EQUAL(p.giaddr, 0x0a000001);
	CU_ASSERT_EQUAL(p.type, DHCP_REQUEST);
	CU_ASSERT(dhcp_option_u32(&p, 50, &address) && address == 0x0a000063);
	CU_ASSERT(dhcp_option_u16(&p, 57, &size) && size == 1472);
	CU_ASSERT_PTR_NOT_NULL(dhcp_option(&p, 12, &n));
	CU_ASSERT_EQUAL(n, 0);
	CU_ASSERT_PTR_NULL(dhcp_option(&p, 13, &n));
	CU_ASSERT(!dhcp_option_u16(&p, 50, &size));
}

static void test_dhcp_packet_joins_pieces_of_an_option(void)
{
	struct made m;
	struct dhcp_packet p;
	const uint8_t *value;
	size_t n;

	make(&m);
	add(&m, 43, "abc", 3);
	add(&m, 53, "\x01", 1);
	add(&m, 43, "", 0);
	add(&m, 43, "defg", 4);
	CU_ASSERT_EQUAL_FATAL(parse(&p, &m), 0);
	value = dhcp_option(&p, 43, &n);
	CU_ASSERT_EQUAL_FATAL(n, 7);
	CU_ASSERT(!memcmp(value, "abcdefg", 7));
}

static void test_dhcp_packet_reads_overloaded_fields_in_order(void)
{
	struct made m;
	struct dhcp_packet p;
	const uint8_t *value;
	size_t n;

	/* RFC 3396 §5: options, then file, then sname. */
	make(&m);
	add(&m, 53, "\x01", 1);
	add(&m, 52, "\x03", 1);
	add(&m, 43, "A", 1);
	memcpy(m.data + 108, "\x2b\x01\x42\x0c\x02pc\xff", 8);
	memcpy(m.data + 44, "\x2b\x01\x43\xff", 4);
	CU_ASSERT_EQUAL_FATAL(parse(&p, &m), 0);
	value = dhcp_option(&p, 43, &n);
	CU_ASSERT_EQUAL_FATAL(n, 3);
	CU_ASSERT(!memcmp(value, "ABC", 3));
	CU_ASSERT_PTR_NOT_NULL(dhcp_option(&p, 12, &n));
	CU_ASSERT_STRING_EQUAL(p.file, "");
	CU_ASSERT_STRING_EQUAL(p.sname, "");
}

static void test_dhcp_packet_refuses_damage(void)
{
	struct made m;
	struct dhcp_packet p;

	make(&m);
	add(&m, 53, "\x01", 1);
	for (size_t n = 0; n < DHCP_HEADER; n++)
		CU_ASSERT_EQUAL(dhcp_packet_parse(&p, m.data, n), -EBADMSG);
	CU_ASSERT_EQUAL(dhcp_packet_parse(&p, m.data, DHCP_PACKET_MAX + 1), -EBADMSG);
	m.data[236] ^= 1;
	CU_ASSERT_EQUAL(parse(&p, &m), -EBADMSG);
	m.data[236] ^= 1;
	m.data[0] = 3;
	CU_ASSERT_EQUAL(parse(&p, &m), -EBADMSG);
	m.data[0] = 1;
	m.data[2] = 17;
	CU_ASSERT_EQUAL(parse(&p, &m), -EBADMSG);
	m.data[2] = 6;
	CU_ASSERT_EQUAL(parse(&p, &m), 0);
	m.data[m.length++] = 12; /* a code without a length */
	CU_ASSERT_EQUAL(parse(&p, &m), -EBADMSG);
	m.data[m.length++] = 1; /* a length without a value */
	CU_ASSERT_EQUAL(parse(&p, &m), -EBADMSG);
	m.data[m.length++] = 'x';
	CU_ASSERT_EQUAL(parse(&p, &m), 0);
	make(&m);
	add(&m, 53, "\x13", 1); /* no such type */
	CU_ASSERT_EQUAL(parse(&p, &m), -EBADMSG);
	make(&m);
	add(&m, 53, "\x01\x01", 2);
	CU_ASSERT_EQUAL(parse(&p, &m), -EBADMSG);
	make(&m);
	add(&m, 53, "\x03", 1);
	add(&m, 54, "abc", 3); /* whom it speaks to decides */
	CU_ASSERT_EQUAL(parse(&p, &m), -EBADMSG);
	make(&m);
	add(&m, 52, "\x01", 1);
	memset(m.data + 108, 200, 128); /* options of the field run out of it */
	CU_ASSERT_EQUAL(parse(&p, &m), -EBADMSG);
}

/* As public reports have them: such a PC is served all the same. */
static void test_dhcp_packet_bad_option_that_decides_nothing_is_left_out(void)
{
	static const uint8_t code[] = {50, 51, 57, 118, 52};
	uint32_t address;
	uint16_t size;
	struct made m;
	struct dhcp_packet p;
	size_t n;

	for (size_t i = 0; i < sizeof(code); i++) {
		for (size_t length = 0; length < 8; length++) {
			if (length == 4 || (code[i] == 57 && length == 2))
				continue;
			make(&m);
			add(&m, 53, "\x01", 1);
			add(&m, code[i], "\x09\0\0\0\0\0\0\0", (uint8_t)length);
			CU_ASSERT_EQUAL(parse(&p, &m), 0);
			CU_ASSERT_EQUAL(p.type, DHCP_DISCOVER);
			CU_ASSERT(code[i] == 52 || !dhcp_option(&p, code[i], &n));
		}
	}
	/* Of two the first counts, and one that is none is no first. */
	make(&m);
	add(&m, 50, "", 0);
	add(&m, 53, "\x03", 1);
	add(&m, 57, "\x05", 1);
	add(&m, 50, "\x0a\0\0\x63", 4);
	add(&m, 57, "\x05\xc0", 2);
	add(&m, 53, "\x01", 1);
	add(&m, 50, "\x0a\0\0\x64", 4);
	add(&m, 57, "\x02\x40", 2);
	CU_ASSERT_EQUAL_FATAL(parse(&p, &m), 0);
	CU_ASSERT_EQUAL(p.type, DHCP_REQUEST);
	CU_ASSERT(dhcp_option_u32(&p, 50, &address) && address == 0x0a000063);
	CU_ASSERT(dhcp_option_u16(&p, 57, &size) && size == 1472);
}

static void test_dhcp_packet_random_bytes_never_go_beyond_the_value_store(void)
{
	struct dhcp_packet p;
	struct made m;
	unsigned int good = 0;

	srand((unsigned int)unit_seed());
	for (int round = 0; round < 20000; round++) {
		size_t extra = (size_t)rand() % 1200;

		make(&m);
		if (rand() % 4 == 0)
			add(&m, 52, "\x03", 1);
		for (size_t i = 0; i < extra; i++)
			m.data[m.length++] = rand() % 3 ? (uint8_t)(rand() % 4) : (uint8_t)rand();
		if (parse(&p, &m) < 0)
			continue;
		good++;
		for (unsigned int code = 0; code < 256; code++) {
			size_t n;
			const uint8_t *value = dhcp_option(&p, (uint8_t)code, &n);

			CU_ASSERT(!value || (value >= p.data && value + n <= p.data + p.used));
		}
		CU_ASSERT(p.used <= DHCP_PACKET_MAX);
	}
	CU_ASSERT(good > 100);
}

static void test_dhcp_writer_splits_long_options_and_reads_back(void)
{
	struct dhcp_packet request = {.xid = 7, .htype = 1, .hlen = 6, .giaddr = 9}, p;
	struct dhcp_writer w;
	uint8_t big[600];
	const uint8_t *value;
	size_t n;

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)i;
	dhcp_writer_begin(&w, &request, 1472);
	CU_ASSERT_EQUAL(dhcp_writer_u8(&w, 53, DHCP_OFFER), 0);
	CU_ASSERT_EQUAL(dhcp_writer_option(&w, 43, big, sizeof(big)), 0);
	CU_ASSERT_EQUAL(dhcp_writer_option(&w, 80, NULL, 0), 0);
	CU_ASSERT_EQUAL(dhcp_writer_file(&w, "undionly.kpxe"), 0);
	n = dhcp_writer_end(&w);
	CU_ASSERT_EQUAL_FATAL(dhcp_packet_parse(&p, w.data, n), 0);
	CU_ASSERT_EQUAL(p.op, 2);
	CU_ASSERT_EQUAL(p.xid, 7);
	CU_ASSERT_EQUAL(p.giaddr, 9);
	CU_ASSERT_STRING_EQUAL(p.file, "undionly.kpxe");
	value = dhcp_option(&p, 43, &n);
	CU_ASSERT_EQUAL_FATAL(n, sizeof(big));
	CU_ASSERT(!memcmp(value, big, sizeof(big)));
	CU_ASSERT_PTR_NOT_NULL(dhcp_option(&p, 80, &n));
}

static void test_dhcp_writer_never_passes_its_limit(void)
{
	struct dhcp_packet request = {.htype = 1, .hlen = 6};
	struct dhcp_writer w;
	uint8_t big[255] = {0};
	size_t n;

	dhcp_writer_begin(&w, &request, 548);
	dhcp_writer_reserve(&w, 20);
	CU_ASSERT_EQUAL(dhcp_writer_option(&w, 1, big, 255), 0);
	CU_ASSERT_EQUAL(dhcp_writer_option(&w, 2, big, 255), -ENOSPC);
	/* 548 - 240 - 257 - end mark - (20 + 2) kept = 28: an option of 26 */
	CU_ASSERT_EQUAL(dhcp_writer_option(&w, 3, big, 27), -ENOSPC);
	CU_ASSERT_EQUAL(dhcp_writer_option(&w, 3, big, 26), 0);
	CU_ASSERT_EQUAL(dhcp_writer_option(&w, 4, big, 0), -ENOSPC);
	dhcp_writer_release(&w);
	CU_ASSERT_EQUAL(dhcp_writer_option(&w, 82, big, 20), 0);
	n = dhcp_writer_end(&w);
	CU_ASSERT_EQUAL(n, 548);
	CU_ASSERT_EQUAL(
		dhcp_writer_file(&w, "a name that is longer than a hundred and twenty seven characters "
				     "is not cut, because half a name is another file: it has to go into option 67"),
		-ENOSPC);
}

static void test_dhcp_writer_pads_to_the_least_length(void)
{
	struct dhcp_packet request = {.htype = 1, .hlen = 6};
	struct dhcp_writer w;

	dhcp_writer_begin(&w, &request, 10);
	dhcp_writer_u8(&w, 53, DHCP_NAK);
	CU_ASSERT_EQUAL(dhcp_writer_end(&w), DHCP_PACKET_MIN);
	CU_ASSERT_EQUAL(w.data[243], 255);
	CU_ASSERT_EQUAL(w.data[299], 0);
}

static void sender_of(struct dhcp_sender *s, const struct made *m)
{
	struct dhcp_packet p;

	CU_ASSERT_EQUAL_FATAL(parse(&p, m), 0);
	dhcp_sender_read(s, &p);
}

static void test_dhcp_sender_knows_firmware_and_ipxe(void)
{
	struct dhcp_sender s;
	struct made m;

	make(&m);
	add(&m, 60, "PXEClient:Arch:00007:UNDI:003016", 32);
	sender_of(&s, &m);
	CU_ASSERT(s.pxe && !s.http && !s.ipxe);
	CU_ASSERT_EQUAL(s.arch, 7);
	add(&m, 93, "\x00\x09\x00\x07", 4);
	sender_of(&s, &m);
	CU_ASSERT_EQUAL(s.arch, 9); /* option 93 decides, its first entry */

	make(&m);
	add(&m, 77, "iPXE", 4);
	sender_of(&s, &m);
	CU_ASSERT(s.ipxe);
	CU_ASSERT_EQUAL(s.arch, 0xffff);
	make(&m);
	add(&m, 77,
	    "\x03"
	    "abc"
	    "\x04"
	    "iPXE",
	    9);
	sender_of(&s, &m);
	CU_ASSERT(s.ipxe);
	make(&m);
	add(&m, 77, "xiPXE", 5);
	sender_of(&s, &m);
	CU_ASSERT(!s.ipxe);
	make(&m);
	add(&m, 175, "\x13\x01\x01", 3);
	sender_of(&s, &m);
	CU_ASSERT(s.ipxe);
	make(&m);
	add(&m, 60, "HTTPClient:Arch:00016:UNDI:003001", 33);
	add(&m, 93, "\x00\x10", 2);
	sender_of(&s, &m);
	CU_ASSERT(s.http && !s.pxe && s.arch == 16);
	make(&m);
	add(&m, 60, "PXEClient:Arch:", 15);
	sender_of(&s, &m);
	CU_ASSERT(s.pxe && s.arch == 0xffff);
}

/* What iPXE says it was built with, and what is no feature: a version (235), a feature that is off, one that is cut. */
static void test_dhcp_sender_features_of_ipxe(void)
{
	struct dhcp_sender s;
	struct made m;

	make(&m);
	add(&m, 175, "\x11\x01\x01\x13\x01\x00\xeb\x03\x01\x15\x01\x27\x01\x01\x18\x01", 16);
	sender_of(&s, &m);
	CU_ASSERT(s.ipxe);
	CU_ASSERT_EQUAL(s.features, 1ull << 17 | 1ull << 39);
	make(&m);
	add(&m, 77, "iPXE", 4);
	sender_of(&s, &m);
	CU_ASSERT_EQUAL(s.features, 0);
}

static void test_dhcp_sender_identity(void)
{
	struct dhcp_sender s;
	struct made m;

	make(&m);
	add(&m, 97,
	    "\x00"
	    "0123456789abcdef",
	    17);
	add(&m, 82,
	    "\x01\x04"
	    "port"
	    "\x02\x03"
	    "abc",
	    11);
	sender_of(&s, &m);
	CU_ASSERT(s.has_mac && s.has_uuid);
	CU_ASSERT_EQUAL(s.mac[5], 1);
	CU_ASSERT(!memcmp(s.uuid, "0123456789abcdef", 16));
	CU_ASSERT_STRING_EQUAL(s.circuit, "port");
	make(&m);
	add(&m, 97,
	    "\x01"
	    "0123456789abcdef",
	    17); /* not a UUID */
	add(&m, 82, "\x01\x03\x00\x04\x1f", 5);
	m.data[28] = 0x03; /* a group is nobody's address */
	sender_of(&s, &m);
	CU_ASSERT(!s.has_mac && !s.has_uuid);
	CU_ASSERT_STRING_EQUAL(s.circuit, "00041f");
}

static void test_dhcp_suboption_stops_at_damage(void)
{
	static const uint8_t value[] = {1, 2, 'a', 'b', 5, 1, 'c', 9, 200, 'd'};
	size_t n;

	CU_ASSERT_PTR_EQUAL(dhcp_suboption(value, sizeof(value), 5, &n), value + 6);
	CU_ASSERT_EQUAL(n, 1);
	CU_ASSERT_PTR_NULL(dhcp_suboption(value, sizeof(value), 9, &n));
	CU_ASSERT_PTR_NULL(dhcp_suboption(value, 1, 1, &n));
	CU_ASSERT_PTR_NULL(dhcp_suboption(value, 3, 1, &n)); /* one byte is missing */
	CU_ASSERT_PTR_NULL(dhcp_suboption(NULL, 0, 1, &n));
}

static void test_dhcp_wants_what_is_listed_or_everything(void)
{
	struct dhcp_packet p;
	struct made m;

	make(&m);
	CU_ASSERT_EQUAL_FATAL(parse(&p, &m), 0);
	CU_ASSERT(dhcp_wants(&p, 3));
	add(&m, 55, "\x01\x06", 2);
	CU_ASSERT_EQUAL_FATAL(parse(&p, &m), 0);
	CU_ASSERT(dhcp_wants(&p, 6));
	CU_ASSERT(!dhcp_wants(&p, 3));
}

UNIT_MAIN(UNIT(test_dhcp_packet_reads_header_and_options), UNIT(test_dhcp_packet_joins_pieces_of_an_option),
	  UNIT(test_dhcp_packet_reads_overloaded_fields_in_order), UNIT(test_dhcp_packet_refuses_damage),
	  UNIT(test_dhcp_packet_bad_option_that_decides_nothing_is_left_out),
	  UNIT(test_dhcp_packet_random_bytes_never_go_beyond_the_value_store),
	  UNIT(test_dhcp_writer_splits_long_options_and_reads_back), UNIT(test_dhcp_writer_never_passes_its_limit),
	  UNIT(test_dhcp_writer_pads_to_the_least_length), UNIT(test_dhcp_sender_knows_firmware_and_ipxe),
	  UNIT(test_dhcp_sender_features_of_ipxe), UNIT(test_dhcp_sender_identity),
	  UNIT(test_dhcp_suboption_stops_at_damage), UNIT(test_dhcp_wants_what_is_listed_or_everything))
