/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The codec of TFTP: requests and their options (RFC 1350, 2347 to 2349, 7440), answers, what is refused. */
#include "tests/unit/unit.h"

#include <errno.h>

#include "daemon/tftp/packet.h"

#define PARSE(r, text) tftp_request_parse(r, text, sizeof(text) - 1)

static void test_tftp_request_with_options(void)
{
	struct tftp_request r;

	CU_ASSERT_EQUAL(PARSE(&r, "\0\1snponly.efi\0octet\0tsize\0"
				  "0\0blksize\0"
				  "1468\0WindowSize\0"
				  "4\0timeout\0"
				  "5\0"),
			0);
	CU_ASSERT(!r.write && !r.netascii);
	CU_ASSERT_STRING_EQUAL(r.name, "snponly.efi");
	CU_ASSERT(r.has_tsize && r.has_blksize && r.has_windowsize && r.has_timeout);
	CU_ASSERT_EQUAL(r.blksize, 1468);
	CU_ASSERT_EQUAL(r.windowsize, 4);
	CU_ASSERT_EQUAL(r.timeout, 5);
	CU_ASSERT_EQUAL(PARSE(&r, "\0\2x\0NETASCII\0"), 0);
	CU_ASSERT(r.write && r.netascii);
}

static void test_tftp_request_ignores_options_out_of_range(void)
{
	struct tftp_request r;

	CU_ASSERT_EQUAL(PARSE(&r, "\0\1x\0octet\0blksize\0"
				  "7\0windowsize\0"
				  "0\0timeout\0"
				  "256\0"),
			0);
	CU_ASSERT(!r.has_blksize && !r.has_windowsize && !r.has_timeout);
	CU_ASSERT_EQUAL(PARSE(&r, "\0\1x\0octet\0blksize\0"
				  "-8\0blksize\0"
				  "512x\0blksize\0\0blksize\0"
				  "99999999999\0"),
			0);
	CU_ASSERT(!r.has_blksize);
	CU_ASSERT_EQUAL(PARSE(&r, "\0\1x\0octet\0blksize\0"
				  "600\0blksize\0"
				  "700\0nonsense\0yes\0"),
			0);
	CU_ASSERT(r.has_blksize && r.blksize == 600); /* the first one counts */
	CU_ASSERT_EQUAL(PARSE(&r, "\0\1x\0octet\0blksize\0"
				  "600"),
			0); /* no end: no option */
	CU_ASSERT(!r.has_blksize);
}

static void test_tftp_request_refuses_damage(void)
{
	struct tftp_request r;
	char big[600] = "\0\1";

	CU_ASSERT_EQUAL(PARSE(&r, "\0\1"), -EBADMSG);
	CU_ASSERT_EQUAL(PARSE(&r, "\0\1x"), -EBADMSG);
	CU_ASSERT_EQUAL(PARSE(&r, "\0\1x\0octet"), -EBADMSG);
	CU_ASSERT_EQUAL(PARSE(&r, "\0\1\0octet\0"), -EBADMSG);
	CU_ASSERT_EQUAL(PARSE(&r, "\0\1///\0octet\0"), -EBADMSG);
	CU_ASSERT_EQUAL(PARSE(&r, "\0\1a\nb\0octet\0"), -EBADMSG);
	CU_ASSERT_EQUAL(PARSE(&r, "\0\3x\0octet\0"), -EBADMSG);
	CU_ASSERT_EQUAL(PARSE(&r, "\0\1x\0mail\0"), -EOPNOTSUPP);
	memset(big + 2, 'a', 300);
	memcpy(big + 302, "\0octet", 7);
	CU_ASSERT_EQUAL(tftp_request_parse(&r, big, 309), -EBADMSG);
	memset(big + 2, 0, sizeof(big) - 2);
	memcpy(big + 2, "x\0octet", 8);
	CU_ASSERT_EQUAL(tftp_request_parse(&r, big, 512), 0); /* padded with zeros */
	CU_ASSERT_EQUAL(tftp_request_parse(&r, big, 513), -EBADMSG);
}

static void test_tftp_name_clean(void)
{
	char a[] = "\\boot\\x64\\file", b[] = "//a", c[] = "../x", d[] = "/";

	CU_ASSERT_EQUAL(tftp_name_clean(a), 0);
	CU_ASSERT_STRING_EQUAL(a, "boot/x64/file");
	CU_ASSERT_EQUAL(tftp_name_clean(b), 0);
	CU_ASSERT_STRING_EQUAL(b, "a");
	CU_ASSERT_EQUAL(tftp_name_clean(c), 0); /* openat2() sees to that */
	CU_ASSERT_EQUAL(tftp_name_clean(d), -EBADMSG);
}

static void test_tftp_options_lower_never_raise_answer_only_what_was_asked(void)
{
	struct tftp_request r;
	struct tftp_options o;
	uint8_t oack[TFTP_OACK_MAX];
	size_t n;

	PARSE(&r, "\0\1x\0octet\0BLKSIZE\0"
		  "9000\0windowsize\0"
		  "100\0");
	tftp_options_grant(&o, &r, 1468, 64, 5);
	n = tftp_oack_write(oack, &o);
	CU_ASSERT_EQUAL(n, 2 + 8 + 5 + 11 + 3);
	CU_ASSERT(!memcmp(oack,
			  "\0\6blksize\0"
			  "1468\0windowsize\0"
			  "64\0",
			  n));
	PARSE(&r, "\0\1x\0octet\0blksize\0"
		  "500\0tsize\0"
		  "0\0timeout\0"
		  "9\0");
	tftp_options_grant(&o, &r, 1468, 64, 12345678901234ull);
	n = tftp_oack_write(oack, &o);
	CU_ASSERT(!memcmp(oack,
			  "\0\6blksize\0"
			  "500\0tsize\0"
			  "12345678901234\0timeout\0"
			  "9\0",
			  n));
	CU_ASSERT_EQUAL(o.windowsize_value, 1);
	PARSE(&r, "\0\1x\0octet\0");
	tftp_options_grant(&o, &r, 1468, 64, 5);
	CU_ASSERT(!tftp_options_any(&o));
	CU_ASSERT_EQUAL(o.blksize_value, 512);
	memset(&o, 0xff, sizeof(o));
	o.blksize = o.tsize = o.timeout = o.windowsize = true;
	CU_ASSERT(tftp_oack_write(oack, &o) <= TFTP_OACK_MAX);
}

static void test_tftp_answer(void)
{
	struct tftp_answer a;

	CU_ASSERT_EQUAL(tftp_answer_parse(&a, "\0\4\x12\x34", 4), 0);
	CU_ASSERT(a.opcode == TFTP_ACK && a.block == 0x1234);
	CU_ASSERT_EQUAL(tftp_answer_parse(&a, "\0\5\0\10no", 6), 0);
	CU_ASSERT(a.opcode == TFTP_ERROR && a.code == 8);
	CU_ASSERT_EQUAL(tftp_answer_parse(&a, "\0\4\0", 3), -EBADMSG);
	CU_ASSERT_EQUAL(tftp_answer_parse(&a, "\0\3\0\1", 4), -EBADMSG);
}

static void test_tftp_block_numbers_wrap(void)
{
	CU_ASSERT_EQUAL(tftp_block_unwrap(65534, 65535), 65535);
	CU_ASSERT_EQUAL(tftp_block_unwrap(65535, 0), 65536);
	CU_ASSERT_EQUAL(tftp_block_unwrap(131071, 1), 131073);
	CU_ASSERT_EQUAL(tftp_block_unwrap(5, 5), 5);
	CU_ASSERT_EQUAL(tftp_block_unwrap(5, 4), 65540); /* before: so far off that it is beyond what was sent */
}

static void test_tftp_netascii(void)
{
	char out[32];
	size_t n = tftp_netascii(out, sizeof(out), "a\nb\rc\r\n", 7);

	CU_ASSERT_EQUAL(n, 11);
	CU_ASSERT(!memcmp(out, "a\r\nb\r\0c\r\0\r\n", 11));
	CU_ASSERT_EQUAL(tftp_netascii(NULL, 0, "a\nb\rc\r\n", 7), 11);
	memset(out, 'x', sizeof(out));
	CU_ASSERT_EQUAL(tftp_netascii(out, 2, "\n\n", 2), 4);
	CU_ASSERT_EQUAL(out[2], 'x');
}

static void test_tftp_error_is_cut_to_fit(void)
{
	char out[12];

	CU_ASSERT_EQUAL(tftp_error_write(out, sizeof(out), TFTP_ERROR_NOT_FOUND, "file not found"), 12);
	CU_ASSERT(!memcmp(out, "\0\5\0\1file no\0", 12));
}

UNIT_MAIN(UNIT(test_tftp_request_with_options), UNIT(test_tftp_request_ignores_options_out_of_range),
	  UNIT(test_tftp_request_refuses_damage), UNIT(test_tftp_name_clean),
	  UNIT(test_tftp_options_lower_never_raise_answer_only_what_was_asked), UNIT(test_tftp_answer),
	  UNIT(test_tftp_block_numbers_wrap), UNIT(test_tftp_netascii), UNIT(test_tftp_error_is_cut_to_fit))
