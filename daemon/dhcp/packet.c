/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Parsing makes two passes over the option fields (options, then file and sname when option 52 says so): the first
 * checks every length and sums up the pieces of each option, the second copies them next to each other. So a getter can
 * hand out one piece of memory, and nothing refers to the packet any more.
 */
#include "daemon/dhcp/packet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tcmu-handler/image/bytes.h"

#define MAGIC 0x63825363u

enum {
	AT_HTYPE = 1,
	AT_HLEN = 2,
	AT_HOPS = 3,
	AT_XID = 4,
	AT_SECS = 8,
	AT_FLAGS = 10,
	AT_CIADDR = 12,
	AT_YIADDR = 16,
	AT_SIADDR = 20,
	AT_GIADDR = 24,
	AT_CHADDR = 28,
	AT_SNAME = 44,
	AT_FILE = 108,
	AT_MAGIC = 236,
};

struct field {
	const uint8_t *data;
	size_t length;
};

static bool present(const struct dhcp_packet *packet, uint8_t code)
{
	return packet->present[code / 8] & 1u << code % 8;
}

/* Calls for each option of one field; -EBADMSG if one runs out of it. A field without an end mark ends where it ends.
 */
static int field_each(struct dhcp_packet *packet, const struct field *field,
		      void (*fn)(struct dhcp_packet *packet, uint8_t code, const uint8_t *value, uint8_t length))
{
	for (size_t i = 0; i < field->length && field->data[i] != DHCP_OPT_END;) {
		uint8_t code = field->data[i++], length;

		if (code == DHCP_OPT_PAD)
			continue;
		if (i == field->length || field->length - i - 1 < field->data[i])
			return -EBADMSG;
		length = field->data[i++];
		fn(packet, code, field->data + i, length);
		i += length;
	}
	return 0;
}

/*
 * Options of a fixed size are never sent in pieces, and firmware sends some of them twice, or empty, or too short. One
 * of the wrong size is as good as not there, and the first right one counts: no PC is lost for an option that decides
 * nothing. Only what decides which message this is (53), and to whom it speaks (54), has to be right.
 */
static const struct {
	uint8_t code, size;
	bool decides;
} fixed[] = {
	{DHCP_OPT_TYPE, 1, true},      {DHCP_OPT_SERVER_ID, 4, true},   {DHCP_OPT_REQUESTED_ADDRESS, 4, false},
	{DHCP_OPT_MAX_SIZE, 2, false}, {DHCP_OPT_LEASE_TIME, 4, false}, {DHCP_OPT_SUBNET_SELECTION, 4, false},
	{DHCP_OPT_OVERLOAD, 1, false},
};

/* Is this piece to be left out? `have`: bytes of that option so far. */
static bool leave_out(struct dhcp_packet *packet, uint8_t code, uint8_t length, uint16_t have)
{
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (fixed[i].code != code)
			continue;
		packet->bad |= fixed[i].decides && length != fixed[i].size && !have;
		return have || length != fixed[i].size;
	}
	return false;
}

static void count_piece(struct dhcp_packet *packet, uint8_t code, const uint8_t *value, uint8_t length)
{
	(void)value;
	if (leave_out(packet, code, length, packet->length[code]))
		return;
	packet->present[code / 8] |= (uint8_t)(1u << code % 8);
	packet->length[code] = (uint16_t)(packet->length[code] + length);
}

/* `offset` is where the option's value begins once it is placed; `length` counts up again while pieces arrive. */
static void copy_piece(struct dhcp_packet *packet, uint8_t code, const uint8_t *value, uint8_t length)
{
	if (leave_out(packet, code, length, packet->length[code]))
		return;
	memcpy(packet->data + packet->offset[code] + packet->length[code], value, length);
	packet->length[code] = (uint16_t)(packet->length[code] + length);
}

static void place_options(struct dhcp_packet *packet)
{
	for (unsigned int code = 0; code < 256; code++) {
		if (!present(packet, (uint8_t)code))
			continue;
		packet->offset[code] = packet->used;
		packet->used = (uint16_t)(packet->used + packet->length[code]);
		packet->length[code] = 0;
	}
}

static int parse_options(struct dhcp_packet *packet, const uint8_t *data, size_t length)
{
	struct field field[3] = {{data + DHCP_HEADER, length - DHCP_HEADER}};
	size_t fields = 1;
	int r = field_each(packet, &field[0], count_piece);

	if (r < 0)
		return r;
	if (present(packet, DHCP_OPT_OVERLOAD)) {
		uint8_t which = 0;

		/* Its value has not been copied yet: look for it in the one field where it may be (RFC 2132 §9.3). */
		for (size_t i = 0; i < field[0].length && field[0].data[i] != DHCP_OPT_END;) {
			uint8_t code = field[0].data[i++];

			if (code == DHCP_OPT_PAD)
				continue;
			if (code == DHCP_OPT_OVERLOAD && field[0].data[i] == 1 && !which)
				which = field[0].data[i + 1];
			i += 1u + field[0].data[i];
		}
		if (which > 3)
			which = 0; /* no field is named: there is nothing in them */
		if (which & 1)
			field[fields++] = (struct field){data + AT_FILE, 128};
		if (which & 2)
			field[fields++] = (struct field){data + AT_SNAME, 64};
		for (size_t i = 1; i < fields; i++) {
			r = field_each(packet, &field[i], count_piece);
			if (r < 0)
				return r;
		}
		if (which & 1)
			packet->file[0] = '\0';
		if (which & 2)
			packet->sname[0] = '\0';
	}
	place_options(packet);
	for (size_t i = 0; i < fields; i++)
		field_each(packet, &field[i], copy_piece);
	return 0;
}

static int check_options(struct dhcp_packet *packet)
{
	if (packet->bad)
		return -EBADMSG;
	if (dhcp_option_u8(packet, DHCP_OPT_TYPE, &packet->type) && (!packet->type || packet->type > DHCP_TYPE_LAST))
		return -EBADMSG;
	return 0;
}

int dhcp_packet_parse(struct dhcp_packet *packet, const void *data, size_t length)
{
	const uint8_t *p = data;
	int r;

	if (length < DHCP_HEADER || length > DHCP_PACKET_MAX || be32_at(p + AT_MAGIC) != MAGIC)
		return -EBADMSG;
	memset(packet, 0, offsetof(struct dhcp_packet, data));
	packet->used = 0;
	packet->op = p[0];
	packet->htype = p[AT_HTYPE];
	packet->hlen = p[AT_HLEN];
	packet->hops = p[AT_HOPS];
	packet->xid = be32_at(p + AT_XID);
	packet->secs = be16_at(p + AT_SECS);
	packet->flags = be16_at(p + AT_FLAGS);
	packet->ciaddr = be32_at(p + AT_CIADDR);
	packet->yiaddr = be32_at(p + AT_YIADDR);
	packet->siaddr = be32_at(p + AT_SIADDR);
	packet->giaddr = be32_at(p + AT_GIADDR);
	memcpy(packet->chaddr, p + AT_CHADDR, sizeof(packet->chaddr));
	memcpy(packet->sname, p + AT_SNAME, 64);
	memcpy(packet->file, p + AT_FILE, 128);
	if ((packet->op != 1 && packet->op != 2) || packet->hlen > sizeof(packet->chaddr))
		return -EBADMSG;
	r = parse_options(packet, p, length);
	return r < 0 ? r : check_options(packet);
}

const uint8_t *dhcp_option(const struct dhcp_packet *packet, uint8_t code, size_t *ret_length)
{
	if (!present(packet, code))
		return NULL;
	*ret_length = packet->length[code];
	return packet->data + packet->offset[code];
}

bool dhcp_option_u8(const struct dhcp_packet *packet, uint8_t code, uint8_t *ret)
{
	size_t length;
	const uint8_t *value = dhcp_option(packet, code, &length);

	if (!value || length != 1)
		return false;
	*ret = *value;
	return true;
}

bool dhcp_option_u16(const struct dhcp_packet *packet, uint8_t code, uint16_t *ret)
{
	size_t length;
	const uint8_t *value = dhcp_option(packet, code, &length);

	if (!value || length != 2)
		return false;
	*ret = be16_at(value);
	return true;
}

bool dhcp_option_u32(const struct dhcp_packet *packet, uint8_t code, uint32_t *ret)
{
	size_t length;
	const uint8_t *value = dhcp_option(packet, code, &length);

	if (!value || length != 4)
		return false;
	*ret = be32_at(value);
	return true;
}

const uint8_t *dhcp_suboption(const uint8_t *value, size_t length, uint8_t code, size_t *ret_length)
{
	for (size_t i = 0; value && i + 2 <= length && length - i - 2 >= value[i + 1]; i += 2u + value[i + 1]) {
		if (value[i] == code) {
			*ret_length = value[i + 1];
			return value + i + 2;
		}
	}
	return NULL;
}

bool dhcp_wants(const struct dhcp_packet *packet, uint8_t code)
{
	size_t length;
	const uint8_t *list = dhcp_option(packet, DHCP_OPT_PARAMETERS, &length);

	return !list || memchr(list, code, length);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */
void dhcp_writer_begin(struct dhcp_writer *writer, const struct dhcp_packet *request, size_t limit)
{
	uint8_t *p = writer->data;

	memset(p, 0, DHCP_HEADER);
	p[0] = 2;
	p[AT_HTYPE] = request->htype;
	p[AT_HLEN] = request->hlen;
	be32_put(p + AT_XID, request->xid);
	be16_put(p + AT_FLAGS, request->flags);
	be32_put(p + AT_GIADDR, request->giaddr);
	memcpy(p + AT_CHADDR, request->chaddr, sizeof(request->chaddr));
	be32_put(p + AT_MAGIC, MAGIC);
	writer->length = DHCP_HEADER;
	writer->tail = 0;
	writer->limit = limit > sizeof(writer->data) ? sizeof(writer->data)
			: limit < DHCP_PACKET_MIN    ? DHCP_PACKET_MIN
						     : limit;
}

void dhcp_writer_ciaddr(struct dhcp_writer *writer, uint32_t address)
{
	be32_put(writer->data + AT_CIADDR, address);
}

void dhcp_writer_yiaddr(struct dhcp_writer *writer, uint32_t address)
{
	be32_put(writer->data + AT_YIADDR, address);
}

void dhcp_writer_siaddr(struct dhcp_writer *writer, uint32_t address)
{
	be32_put(writer->data + AT_SIADDR, address);
}

void dhcp_writer_flags(struct dhcp_writer *writer, uint16_t flags)
{
	be16_put(writer->data + AT_FLAGS, flags);
}

static int field_text(uint8_t *field, size_t size, const char *text)
{
	size_t length = strlen(text);

	if (length >= size)
		return -ENOSPC;
	memset(field, 0, size);
	memcpy(field, text, length);
	return 0;
}

int dhcp_writer_file(struct dhcp_writer *writer, const char *file)
{
	return field_text(writer->data + AT_FILE, 128, file);
}

int dhcp_writer_sname(struct dhcp_writer *writer, const char *name)
{
	return field_text(writer->data + AT_SNAME, 64, name);
}

int dhcp_writer_option(struct dhcp_writer *writer, uint8_t code, const void *data, size_t length)
{
	const uint8_t *from = data;
	size_t pieces = length ? (length + 254) / 255 : 1;

	/* One byte stays for the end mark. */
	if (length > sizeof(writer->data) || writer->length + length + 2 * pieces + 1 + writer->tail > writer->limit)
		return -ENOSPC;
	do {
		size_t n = length > 255 ? 255 : length;

		writer->data[writer->length++] = code;
		writer->data[writer->length++] = (uint8_t)n;
		if (n)
			memcpy(writer->data + writer->length, from, n);
		writer->length += n;
		from += n;
		length -= n;
	} while (length);
	return 0;
}

int dhcp_writer_u8(struct dhcp_writer *writer, uint8_t code, uint8_t value)
{
	return dhcp_writer_option(writer, code, &value, 1);
}

int dhcp_writer_u16(struct dhcp_writer *writer, uint8_t code, uint16_t value)
{
	uint8_t wire[2];

	be16_put(wire, value);
	return dhcp_writer_option(writer, code, wire, sizeof(wire));
}

int dhcp_writer_u32(struct dhcp_writer *writer, uint8_t code, uint32_t value)
{
	uint8_t wire[4];

	be32_put(wire, value);
	return dhcp_writer_option(writer, code, wire, sizeof(wire));
}

int dhcp_writer_addresses(struct dhcp_writer *writer, uint8_t code, const uint32_t *address, size_t count)
{
	uint8_t wire[4 * 32];

	if (!count)
		return 0;
	if (count > sizeof(wire) / 4)
		return -ENOSPC;
	for (size_t i = 0; i < count; i++)
		be32_put(wire + 4 * i, address[i]);
	return dhcp_writer_option(writer, code, wire, 4 * count);
}

int dhcp_writer_text(struct dhcp_writer *writer, uint8_t code, const char *text)
{
	return *text ? dhcp_writer_option(writer, code, text, strlen(text)) : 0;
}

int dhcp_writer_echo(struct dhcp_writer *writer, const struct dhcp_packet *request, uint8_t code)
{
	size_t length;
	const uint8_t *value = dhcp_option(request, code, &length);

	return value ? dhcp_writer_option(writer, code, value, length) : 0;
}

void dhcp_writer_reserve(struct dhcp_writer *writer, size_t length)
{
	writer->tail = length + 2 * (length / 255 + 1);
}

void dhcp_writer_release(struct dhcp_writer *writer)
{
	writer->tail = 0;
}

size_t dhcp_writer_end(struct dhcp_writer *writer)
{
	writer->data[writer->length++] = DHCP_OPT_END;
	while (writer->length < DHCP_PACKET_MIN)
		writer->data[writer->length++] = DHCP_OPT_PAD;
	return writer->length;
}

const char *dhcp_message_name(unsigned int type)
{
	static const char *const name[] = {"bootp", "discover", "offer",   "request", "decline",
					   "ack",   "nak",      "release", "inform"};

	return type < sizeof(name) / sizeof(name[0]) ? name[type] : "other";
}

/* --- who sent it -------------------------------------------------------------------------------------------------- */
static bool begins(const uint8_t *value, size_t length, const char *text)
{
	size_t n = strlen(text);

	return value && length >= n && !memcmp(value, text, n);
}

/* "PXEClient:Arch:00007:UNDI:003016" */
static uint16_t arch_in_class(const uint8_t *value, size_t length)
{
	uint32_t arch = 0;
	size_t i = 15;

	if (!begins(value, length, "PXEClient:Arch:"))
		return 0xffff;
	for (; i < length && i < 20 && value[i] >= '0' && value[i] <= '9'; i++)
		arch = arch * 10 + (uint32_t)(value[i] - '0');
	return i == 15 || arch > 0xfffe ? 0xffff : (uint16_t)arch;
}

/*
 * A Raspberry Pi's firmware says PXEClient with architecture 0, but runs no BIOS program. From the 4 on its option 97
 * begins with "RPi" and a digit (bootloader configuration, DHCP_OPTION97); those before are known by their MAC (IEEE's
 * list).
 */
static bool is_pi(const struct dhcp_sender *sender)
{
	static const uint8_t oui[][3] = {
		{0xb8, 0x27, 0xeb}, {0xdc, 0xa6, 0x32}, {0xe4, 0x5f, 0x01}, {0x28, 0xcd, 0xc1},
		{0xd8, 0x3a, 0xdd}, {0x2c, 0xcf, 0x67}, {0x88, 0xa2, 0x9e},
	};

	if (!sender->pxe || sender->arch != 0 || sender->ipxe)
		return false;
	if (sender->has_uuid && !memcmp(sender->uuid, "RPi", 3) && sender->uuid[3] >= '0' && sender->uuid[3] <= '9')
		return true;
	for (size_t i = 0; sender->has_mac && i < sizeof(oui) / sizeof(oui[0]); i++)
		if (!memcmp(sender->mac, oui[i], 3))
			return true;
	return false;
}

/* iPXE sends the bare string; RFC 3004 wants a length byte before each class. */
static bool is_ipxe(const struct dhcp_packet *packet)
{
	size_t length;
	const uint8_t *value = dhcp_option(packet, DHCP_OPT_USER_CLASS, &length);

	if (begins(value, length, "iPXE") && length == 4)
		return true;
	for (size_t i = 0; value && i < length; i += 1u + value[i])
		if (value[i] == 4 && begins(value + i + 1, length - i - 1, "iPXE"))
			return true;
	return present(packet, DHCP_OPT_IPXE);
}

static void read_circuit(char to[128], const uint8_t *value, size_t length)
{
	static const char digit[] = "0123456789abcdef";
	bool printable = length < 128;

	for (size_t i = 0; i < length; i++)
		printable &= value[i] > ' ' && value[i] < 127;
	if (printable) {
		memcpy(to, value, length);
		return;
	}
	for (size_t i = 0; i < length && i < 63; i++) {
		to[2 * i] = digit[value[i] >> 4];
		to[2 * i + 1] = digit[value[i] & 15];
	}
}

/* What an iPXE was built with: sub-options of a feature have one byte that is not 0 (iPXE, features.h). */
static uint64_t ipxe_features(const struct dhcp_packet *packet)
{
	uint64_t features = 0;
	const uint8_t *value;
	size_t length;

	value = dhcp_option(packet, DHCP_OPT_IPXE, &length);
	for (size_t at = 0; value && at < length && value[at] != 0xff;) {
		if (!value[at]) { /* padding */
			at++;
			continue;
		}
		if (at + 2 > length || at + 2 + value[at + 1] > length)
			break;
		if (value[at] >= 16 && value[at] < 64 && value[at + 1] == 1 && value[at + 2])
			features |= 1ull << value[at];
		at += 2 + value[at + 1];
	}
	return features;
}

void dhcp_sender_read(struct dhcp_sender *sender, const struct dhcp_packet *packet)
{
	static const uint8_t zero[6];
	size_t length, n;
	const uint8_t *value;

	memset(sender, 0, sizeof(*sender));
	if (packet->htype == 1 && packet->hlen == 6 && memcmp(packet->chaddr, zero, 6) && !(packet->chaddr[0] & 1)) {
		sender->has_mac = true;
		memcpy(sender->mac, packet->chaddr, 6);
	}
	value = dhcp_option(packet, DHCP_OPT_UUID, &length);
	if (value && length == 17 && !value[0]) {
		sender->has_uuid = true;
		memcpy(sender->uuid, value + 1, 16);
	}
	value = dhcp_option(packet, DHCP_OPT_VENDOR_CLASS, &length);
	sender->pxe = begins(value, length, "PXEClient");
	sender->http = begins(value, length, "HTTPClient");
	sender->arch = arch_in_class(value, length);
	value = dhcp_option(packet, DHCP_OPT_ARCH, &length);
	if (value && length >= 2)
		sender->arch = be16_at(value);
	sender->ipxe = is_ipxe(packet);
	sender->features = ipxe_features(packet);
	value = dhcp_option(packet, DHCP_OPT_RELAY, &length);
	value = value ? dhcp_suboption(value, length, DHCP_RELAY_CIRCUIT, &n) : NULL;
	if (value)
		read_circuit(sender->circuit, value, n);
	sender->pi = is_pi(sender);
}
