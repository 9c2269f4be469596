/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DHCP messages (RFC 2131, 2132, 3046, 3396, 4578): a parser whose result borrows nothing from the packet, typed
 * getters, a writer that never writes past its buffer, and what a message says about the machine that sent it. Pure: no
 * sockets, no clock. Addresses in host byte order.
 */
#ifndef BOOTWELL_DHCP_PACKET_H
#define BOOTWELL_DHCP_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DHCP_HEADER     240  /* with the magic cookie */
#define DHCP_PACKET_MAX 1472 /* read and written at most: one Ethernet frame */
#define DHCP_PACKET_MIN 300  /* written at least: BOOTP relays drop shorter ones (RFC 1542 §2.1) */
#define DHCP_SIZE_FLOOR 576  /* IP datagram that every client takes (RFC 2131 §2), 548 of it DHCP */

#define DHCP_PORT_SERVER 67
#define DHCP_PORT_CLIENT 68
#define DHCP_PORT_PXE    4011

#define DHCP_FLAG_BROADCAST 0x8000

enum dhcp_type {
	DHCP_BOOTP = 0,
	DHCP_DISCOVER = 1,
	DHCP_OFFER,
	DHCP_REQUEST,
	DHCP_DECLINE,
	DHCP_ACK,
	DHCP_NAK,
	DHCP_RELEASE,
	DHCP_INFORM,
	DHCP_TYPE_LAST = 18, /* DHCPTLS, RFC 7724 */
};

/* Options by number (IANA, bootp-dhcp-parameters). */
enum dhcp_option_code {
	DHCP_OPT_PAD = 0,
	DHCP_OPT_NETMASK = 1,
	DHCP_OPT_ROUTER = 3,
	DHCP_OPT_DNS = 6,
	DHCP_OPT_HOSTNAME = 12,
	DHCP_OPT_DOMAIN = 15,
	DHCP_OPT_ROOT_PATH = 17,
	DHCP_OPT_BROADCAST = 28,
	DHCP_OPT_NTP = 42,
	DHCP_OPT_VENDOR_INFO = 43,
	DHCP_OPT_REQUESTED_ADDRESS = 50,
	DHCP_OPT_LEASE_TIME = 51,
	DHCP_OPT_OVERLOAD = 52,
	DHCP_OPT_TYPE = 53,
	DHCP_OPT_SERVER_ID = 54,
	DHCP_OPT_PARAMETERS = 55,
	DHCP_OPT_MESSAGE = 56,
	DHCP_OPT_MAX_SIZE = 57,
	DHCP_OPT_RENEWAL = 58,
	DHCP_OPT_REBINDING = 59,
	DHCP_OPT_VENDOR_CLASS = 60,
	DHCP_OPT_CLIENT_ID = 61,
	DHCP_OPT_TFTP_SERVER = 66,
	DHCP_OPT_BOOT_FILE = 67,
	DHCP_OPT_USER_CLASS = 77,
	DHCP_OPT_RAPID_COMMIT = 80,
	DHCP_OPT_RELAY = 82,
	DHCP_OPT_ARCH = 93,
	DHCP_OPT_NDI = 94,
	DHCP_OPT_UUID = 97,
	DHCP_OPT_SUBNET_SELECTION = 118,
	DHCP_OPT_IPXE = 175,
	DHCP_OPT_INITIATOR = 203,
	DHCP_OPT_END = 255,
};

/* Sub-options. */
#define DHCP_PXE_DISCOVERY   6    /* of 43: PXE_DISCOVERY_CONTROL */
#define DHCP_PXE_PROMPT      10   /* of 43: PXE_MENU_PROMPT */
#define DHCP_PXE_BOOT_ITEM   71   /* of 43 */
#define DHCP_RELAY_CIRCUIT   1    /* of 82 */
#define DHCP_RELAY_REMOTE    2    /* of 82 */
#define DHCP_RELAY_LINK      5    /* of 82: link selection, RFC 3527 */
#define DHCP_RELAY_SERVER_ID 11   /* of 82: server identifier override, RFC 5107 */
#define DHCP_IPXE_KEEP_SAN   0x08 /* of 175 */
#define DHCP_IPXE_NO_PXEDHCP 0xb0 /* of 175 */

struct dhcp_packet {
	uint8_t op, htype, hlen, hops;
	uint32_t xid;
	uint16_t secs, flags;
	uint32_t ciaddr, yiaddr, siaddr, giaddr;
	uint8_t chaddr[16];
	char sname[65], file[129]; /* "" when overloaded */
	uint8_t type;              /* option 53, DHCP_BOOTP without it */
	bool bad;                  /* while it is parsed: an option that decides is of the wrong size */

	/* Options, pieces of one joined (RFC 3396), overloaded fields included. */
	uint8_t present[32]; /* a bit an option */
	uint16_t offset[256], length[256];
	uint8_t data[DHCP_PACKET_MAX];
	uint16_t used;
};

/*
 * -EBADMSG: too short, too long, no magic cookie, an option that runs out of its field, hlen over 16, an option 53 or
 * 54 that is none. Another option of a fixed size that has a wrong one is left out; of two the first counts. On failure
 * *ret is undefined.
 */
int dhcp_packet_parse(struct dhcp_packet *ret, const void *data, size_t length);

/* The value, or NULL if there is none; an empty option is not NULL. */
const uint8_t *dhcp_option(const struct dhcp_packet *packet, uint8_t code, size_t *ret_length);
/* False unless the option is there and has exactly that size. */
bool dhcp_option_u8(const struct dhcp_packet *packet, uint8_t code, uint8_t *ret);
bool dhcp_option_u16(const struct dhcp_packet *packet, uint8_t code, uint16_t *ret);
bool dhcp_option_u32(const struct dhcp_packet *packet, uint8_t code, uint32_t *ret);
/* Sub-option of an encapsulated value (43, 82, 175); NULL if there is none or the value is damaged before it. */
const uint8_t *dhcp_suboption(const uint8_t *value, size_t length, uint8_t code, size_t *ret_length);
/* Did the client ask for it in option 55? Without option 55: everything is asked for. */
bool dhcp_wants(const struct dhcp_packet *packet, uint8_t code);

struct dhcp_writer {
	uint8_t data[DHCP_PACKET_MAX];
	size_t length; /* so far, without the end mark */
	size_t limit;  /* of the whole message */
	size_t tail;   /* bytes kept free for what must come last */
};

/* Begins a reply to `request`: BOOTREPLY with its xid, flags, giaddr and chaddr; `limit` bytes at most. */
void dhcp_writer_begin(struct dhcp_writer *writer, const struct dhcp_packet *request, size_t limit);
void dhcp_writer_ciaddr(struct dhcp_writer *writer, uint32_t address);
void dhcp_writer_yiaddr(struct dhcp_writer *writer, uint32_t address);
void dhcp_writer_siaddr(struct dhcp_writer *writer, uint32_t address);
void dhcp_writer_flags(struct dhcp_writer *writer, uint16_t flags);
/* Fills the field `file` or `sname`; -ENOSPC if the text and its NUL do not fit (then nothing is written). */
int dhcp_writer_file(struct dhcp_writer *writer, const char *file);
int dhcp_writer_sname(struct dhcp_writer *writer, const char *name);
/* Adds an option, in pieces of 255 bytes when it is longer. -ENOSPC: no room, nothing was written. */
int dhcp_writer_option(struct dhcp_writer *writer, uint8_t code, const void *data, size_t length);
int dhcp_writer_u8(struct dhcp_writer *writer, uint8_t code, uint8_t value);
int dhcp_writer_u16(struct dhcp_writer *writer, uint8_t code, uint16_t value);
int dhcp_writer_u32(struct dhcp_writer *writer, uint8_t code, uint32_t value);
int dhcp_writer_addresses(struct dhcp_writer *writer, uint8_t code, const uint32_t *address, size_t count);
int dhcp_writer_text(struct dhcp_writer *writer, uint8_t code, const char *text);
/* Copies the option of the request, if it has it. */
int dhcp_writer_echo(struct dhcp_writer *writer, const struct dhcp_packet *request, uint8_t code);
/* Keeps room for an option of `length` bytes that comes last; release it before writing that option. */
void dhcp_writer_reserve(struct dhcp_writer *writer, size_t length);
void dhcp_writer_release(struct dhcp_writer *writer);
/* End mark and padding; the length of the message. */
size_t dhcp_writer_end(struct dhcp_writer *writer);

const char *dhcp_message_name(unsigned int type); /* "discover", ...; "bootp" for 0; "other" for unknown */

/* What a message says about its sender. */
struct dhcp_sender {
	bool has_mac; /* Ethernet, not all zero, not multicast */
	uint8_t mac[6];
	bool has_uuid;
	uint8_t uuid[16];  /* option 97 as on the wire */
	uint16_t arch;     /* first of option 93, or from PXEClient:Arch: of option 60; 0xffff: none */
	bool pxe;          /* option 60 begins with PXEClient */
	bool http;         /* option 60 begins with HTTPClient */
	bool ipxe;         /* user class iPXE, or option 175 */
	uint64_t features; /* of option 175: bit n of sub-option n; 0: it says nothing */
	char circuit[128]; /* option 82.1: printable as it is, else hex */
	/* A Raspberry Pi's own firmware: PXEClient, and an identifier or a MAC of theirs. */
	bool pi;
};
void dhcp_sender_read(struct dhcp_sender *ret, const struct dhcp_packet *packet);

#endif
