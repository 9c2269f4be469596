/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests and answers of the TFTP codec; what is read, granted and written stays within its bounds. */
#include <stdlib.h>
#include <string.h>

#include "daemon/tftp/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int what)
{
	if (!what)
		abort();
}

static void request(const uint8_t *data, size_t size)
{
	struct tftp_request r;
	struct tftp_options o;
	uint8_t oack[TFTP_OACK_MAX];
	size_t n;

	if (tftp_request_parse(&r, data, size) < 0)
		return;
	n = strlen(r.name);
	must(n > 0 && n < TFTP_NAME_MAX && r.name[0] != '/' && !strchr(r.name, '\\'));
	must(!r.has_blksize || (r.blksize >= TFTP_BLKSIZE_MIN && r.blksize <= TFTP_BLKSIZE_MAX));
	must(!r.has_windowsize || (r.windowsize >= 1 && r.windowsize <= 65535));
	tftp_options_grant(&o, &r, 1468, 64, UINT64_MAX);
	must(o.blksize_value >= TFTP_BLKSIZE_MIN && o.blksize_value <= 1468);
	must(o.windowsize_value >= 1 && o.windowsize_value <= 64);
	must(!o.blksize || o.blksize_value <= r.blksize);
	n = tftp_oack_write(oack, &o);
	must(n >= 2 && n <= sizeof(oack) && (n == 2) == !tftp_options_any(&o));
}

static void text(const uint8_t *data, size_t size)
{
	size_t n = tftp_netascii(NULL, 0, data, size), back = 0;
	uint8_t *out = malloc(n ? n : 1), *plain = malloc(size ? size : 1);

	must(n >= size && n <= 2 * size);
	must(tftp_netascii(out, n, data, size) == n);
	/* And back: CR LF is LF, CR NUL is CR. */
	for (size_t i = 0; i < n; i++) {
		uint8_t c = out[i];

		if (c == '\r') {
			must(i + 1 < n && (out[i + 1] == '\n' || out[i + 1] == '\0'));
			c = out[++i] == '\n' ? '\n' : '\r';
		}
		plain[back++] = c;
	}
	must(back == size && !memcmp(plain, data, size));
	free(plain);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tftp_answer answer;

	request(data, size);
	if (tftp_answer_parse(&answer, data, size) == 0)
		must(answer.opcode == TFTP_ACK || answer.opcode == TFTP_ERROR);
	text(data, size);
	return 0;
}
