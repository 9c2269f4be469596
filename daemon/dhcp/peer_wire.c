/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes of a pair's datagrams. What is damaged is refused whole, but for leases, of which those before are read. */
#include "daemon/dhcp/peer_wire.h"

#include <errno.h>
#include <string.h>

#include "tcmu-handler/image/bytes.h"

#define HELLO_FIXED   (PEER_HEAD + 58)
#define LEASES_FIXED  (PEER_HEAD + 56)
#define LEASE_FIXED   32
#define ANSWERED_SIZE 10
#define LINE_FIXED    (PEER_HEAD + 24)

static uint8_t *begin(struct peer_out *out, enum peer_kind kind, size_t length)
{
	memset(out->data, 0, length);
	memcpy(out->data, "BWDP", 4);
	out->data[4] = PEER_VERSION;
	out->data[5] = (uint8_t)kind;
	out->length = length;
	return out->data + PEER_HEAD;
}

int peer_wire_kind(const uint8_t *p, size_t length, unsigned int *ret)
{
	if (length < PEER_HEAD || memcmp(p, "BWDP", 4) != 0)
		return -EPROTO;
	*ret = p[4] == PEER_VERSION ? p[5] : p[4];
	return p[4] == PEER_VERSION ? 0 : -EPROTONOSUPPORT;
}

/* --- HELLO -------------------------------------------------------------------------------------------------------- */
void peer_wire_hello(struct peer_out *out, const struct peer_hello *hello)
{
	uint8_t *p = begin(out, PEER_HELLO, HELLO_FIXED + 4u * hello->addresses);

	be64_put(p, hello->run);
	be64_put(p + 8, hello->sees);
	be32_put(p + 16, hello->session);
	be32_put(p + 20, hello->of_session);
	be64_put(p + 24, hello->last);
	be64_put(p + 32, hello->has);
	be64_put(p + 40, (uint64_t)hello->clock);
	be64_put(p + 48, hello->lines);
	p[56] = hello->backup;
	p[57] = (uint8_t)hello->addresses;
	for (unsigned int i = 0; i < hello->addresses; i++)
		be32_put(p + 58 + 4u * i, hello->address[i]);
}

bool peer_read_hello(struct peer_hello *ret, const uint8_t *p, size_t length)
{
	if (length < HELLO_FIXED || p[PEER_HEAD + 57] > PEER_ADDRESSES ||
	    length != HELLO_FIXED + 4u * p[PEER_HEAD + 57])
		return false;
	p += PEER_HEAD;
	*ret = (struct peer_hello){.run = be64_at(p),
				   .sees = be64_at(p + 8),
				   .session = be32_at(p + 16),
				   .of_session = be32_at(p + 20),
				   .last = be64_at(p + 24),
				   .has = be64_at(p + 32),
				   .clock = (int64_t)be64_at(p + 40),
				   .lines = be64_at(p + 48),
				   .backup = p[56] != 0,
				   .addresses = p[57]};
	for (unsigned int i = 0; i < ret->addresses; i++)
		ret->address[i] = be32_at(p + 58 + 4u * i);
	return ret->run != 0;
}

/* --- names -------------------------------------------------------------------------------------------------------- */
uint8_t *peer_wire_names(struct peer_out *out)
{
	return begin(out, PEER_NAMES, PEER_HEAD);
}

/* --- leases ------------------------------------------------------------------------------------------------------- */
void peer_wire_leases(struct peer_out *out)
{
	begin(out, PEER_LEASES, LEASES_FIXED);
}

bool peer_wire_lease(struct peer_out *out, const struct peer_lease *from)
{
	const struct state_lease *lease = &from->lease;
	uint8_t *p = out->data + out->length;

	if (out->length + LEASE_FIXED + lease->id_length > sizeof(out->data))
		return false;
	be32_put(p, lease->address);
	p[4] = (uint8_t)lease->state;
	memcpy(p + 5, lease->mac, 6);
	be32_put(p + 11, from->left);
	be64_put(p + 15, lease->version[0]);
	be64_put(p + 23, lease->version[1]);
	p[31] = lease->id_length;
	memcpy(p + LEASE_FIXED, lease->id, lease->id_length);
	out->length += LEASE_FIXED + (size_t)lease->id_length;
	return true;
}

void peer_wire_leases_end(struct peer_out *out, const struct peer_leases *leases)
{
	uint8_t *p = out->data + PEER_HEAD;

	be64_put(p, leases->run);
	be64_put(p + 8, leases->to_run);
	be32_put(p + 16, leases->session);
	be32_put(p + 20, leases->of_session);
	be64_put(p + 24, leases->from);
	be64_put(p + 32, leases->to);
	be64_put(p + 40, leases->last);
	be64_put(p + 48, leases->has);
}

bool peer_read_leases(struct peer_leases *ret, const uint8_t *p, size_t length)
{
	if (length < LEASES_FIXED)
		return false;
	p += PEER_HEAD;
	*ret = (struct peer_leases){.run = be64_at(p),
				    .to_run = be64_at(p + 8),
				    .session = be32_at(p + 16),
				    .of_session = be32_at(p + 20),
				    .from = be64_at(p + 24),
				    .to = be64_at(p + 32),
				    .last = be64_at(p + 40),
				    .has = be64_at(p + 48)};
	return ret->from <= ret->to && ret->to <= ret->last;
}

bool peer_read_lease(struct peer_lease *ret, const uint8_t *p, size_t length, size_t *at)
{
	size_t left;

	*at = *at ? *at : LEASES_FIXED;
	left = length - *at;
	p += *at;
	if (left < LEASE_FIXED || p[31] > sizeof(ret->lease.id) || left - LEASE_FIXED < p[31] ||
	    p[4] > STATE_LEASE_DECLINED)
		return false;
	memset(ret, 0, sizeof(*ret));
	ret->lease.address = be32_at(p);
	ret->lease.state = (enum state_lease_state)p[4];
	memcpy(ret->lease.mac, p + 5, 6);
	ret->left = be32_at(p + 11);
	ret->lease.version[0] = be64_at(p + 15);
	ret->lease.version[1] = be64_at(p + 23);
	ret->lease.id_length = p[31];
	memcpy(ret->lease.id, p + LEASE_FIXED, p[31]);
	*at += LEASE_FIXED + (size_t)p[31];
	return true;
}

/* --- ANSWERED ----------------------------------------------------------------------------------------------------- */
bool peer_wire_answered(struct peer_out *out, uint32_t xid, const uint8_t chaddr[6])
{
	if (!out->length)
		begin(out, PEER_ANSWERED, PEER_HEAD);
	if (out->length + ANSWERED_SIZE > sizeof(out->data))
		return false;
	be32_put(out->data + out->length, xid);
	memcpy(out->data + out->length + 4, chaddr, 6);
	out->length += ANSWERED_SIZE;
	return true;
}

bool peer_read_answered(const uint8_t *p, size_t length, size_t n, uint32_t *xid, const uint8_t **chaddr)
{
	if (PEER_HEAD + (n + 1) * ANSWERED_SIZE > length)
		return false;
	*xid = be32_at(p + PEER_HEAD + n * ANSWERED_SIZE);
	*chaddr = p + PEER_HEAD + n * ANSWERED_SIZE + 4;
	return true;
}

/* --- lines of the configuration ----------------------------------------------------------------------------------- */
static size_t put_text(uint8_t *p, const char *text)
{
	size_t n = strlen(text);

	be16_put(p, (uint16_t)n);
	memcpy(p + 2, text, n);
	return n + 2;
}

void peer_wire_line(struct peer_out *out, const struct peer_line *line)
{
	uint8_t *p = begin(out, PEER_LINES, LINE_FIXED);

	be64_put(p, line->run);
	be64_put(p + 8, line->lines);
	be16_put(p + 16, line->index);
	be16_put(p + 18, line->count);
	be32_put(p + 20, line->line);
	out->length += put_text(out->data + out->length, line->file);
	out->length += put_text(out->data + out->length, line->key);
	out->length += put_text(out->data + out->length, line->value);
}

/* Text that goes into a log: printable ASCII only, whoever sent it. */
static bool get_text(char *ret, size_t size, const uint8_t *p, size_t length, size_t *at)
{
	size_t n;

	if (length - *at < 2)
		return false;
	n = be16_at(p + *at);
	*at += 2;
	if (n >= size || n > length - *at)
		return false;
	for (size_t i = 0; i < n; i++)
		ret[i] = p[*at + i] >= ' ' && p[*at + i] < 127 ? (char)p[*at + i] : '?';
	ret[n] = '\0';
	*at += n;
	return true;
}

bool peer_read_line(struct peer_line *ret, const uint8_t *p, size_t length)
{
	size_t at = LINE_FIXED;

	if (length < LINE_FIXED)
		return false;
	ret->run = be64_at(p + PEER_HEAD);
	ret->lines = be64_at(p + PEER_HEAD + 8);
	ret->index = be16_at(p + PEER_HEAD + 16);
	ret->count = be16_at(p + PEER_HEAD + 18);
	ret->line = be32_at(p + PEER_HEAD + 20);
	return get_text(ret->file, sizeof(ret->file), p, length, &at) &&
	       get_text(ret->key, sizeof(ret->key), p, length, &at) &&
	       get_text(ret->value, sizeof(ret->value), p, length, &at) && at == length && ret->index < ret->count;
}
