/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The scripts that iPXE runs on a PC: text only, no state. All return the length (without NUL), or
 * -ENOSPC when the text does not fit; IPXE_SCRIPT_MAX is enough for each of them with the longest
 * names. Texts that go to the screen are made harmless: iPXE would expand ${...} and take `||`,
 * `&&`, `;` and `#` as its own.
 */
#ifndef BOOTWELL_IPXE_SCRIPT_H
#define BOOTWELL_IPXE_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/boot/nonce.h"
#include "daemon/config/config.h"

#define IPXE_SCRIPT_MAX 8192

/* Where a script is asked for again. */
struct ipxe_script_where {
	uint32_t server;
	uint16_t port;
	bool tftp;
	char nonce[BOOT_NONCE_MAX];  /* "" none */
	char image[CONFIG_NAME_MAX]; /* chosen; "" none */
	char pc[CONFIG_HOST_MAX];    /* its [client] section, "": the MAC says who it is */
};

struct ipxe_script_disk {
	const char *client; /* the PC's name */
	const char *image;
	uint32_t generation;
	uint32_t server; /* host byte order */
	uint16_t iscsi_port, http_port;
	const char *iqn, *initiator, *user, *secret;
	const char *nonce;  /* of its script's path, "" none */
	const char *pc;     /* as above */
	bool clear_gateway; /* the iBFT names none: the server is on the PC's own network */
	bool ask_name;      /* offer to name the PC before it starts */
};

/* Starts the PC's disk: a few tries, then the reason on the screen and a restart. */
int ipxe_script_boot(char *ret, size_t size, const struct ipxe_script_disk *disk);

struct ipxe_script_capture {
	const char *client;
	uint32_t server; /* host byte order */
	uint16_t http_port, upload_port;
	const char *name, *disk; /* what it is sent as, and which; "": the capture system asks */
	const char *secret;      /* its right to upload */
	const char *pin;         /* of the server's key, "" no TLS */
};

/* Starts the capture system, which sends the PC's disk. */
int ipxe_script_capture(char *ret, size_t size, const struct ipxe_script_capture *capture);

/* Which image? The first is taken when nobody chooses within `seconds`. */
int ipxe_script_menu(char *ret, size_t size, const char *client, const struct ipxe_script_where *where,
		     const char *const *images, unsigned int count, unsigned int seconds);

/* The PC's former session, from `address`, may still run: says so and asks again in a moment. */
int ipxe_script_wait(char *ret, size_t size, const char *client, const char *address,
		     const struct ipxe_script_where *where);

/* For who asks for a script without its nonce: goes on with what DHCP told. */
int ipxe_script_redirect(char *ret, size_t size);

/* Shows why there is no disk; then tries again after a while (`retry`), or leaves the PC to its
 * next boot device. */
int ipxe_script_message(char *ret, size_t size, const char *client, const char *message, bool retry);

/* The answer to a name that was typed at the prompt; `wrong` NULL: it was taken. Fails (for the
 * caller) if wrong. */
int ipxe_script_named(char *ret, size_t size, const char *name, const char *wrong);

#endif
