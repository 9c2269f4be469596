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

#define IPXE_SCRIPT_MAX 8192

struct ipxe_script_disk {
	const char *client; /* the PC's name */
	const char *image;
	uint32_t generation;
	uint32_t server; /* host byte order */
	uint16_t iscsi_port, http_port;
	const char *iqn, *initiator, *user, *secret;
	bool ask_name; /* offer to name the PC before it starts */
};

/* Starts the PC's disk: a few tries, then the reason on the screen and a restart. */
int ipxe_script_boot(char *ret, size_t size, const struct ipxe_script_disk *disk);

/* Starts the capture system, which sends the PC's disk as `name`; name and disk may be "": it asks. */
int ipxe_script_capture(char *ret, size_t size, const char *client, uint32_t server,
			uint16_t http_port, uint16_t upload_port, const char *name,
			const char *disk);

/* Which image? The first is taken when nobody chooses within `seconds`. */
int ipxe_script_menu(char *ret, size_t size, const char *client, uint32_t server,
		     uint16_t http_port, const char *const *images, unsigned int count,
		     unsigned int seconds);

/* Shows why there is no disk; then tries again after a while (`retry`), or leaves the PC to its
 * next boot device. */
int ipxe_script_message(char *ret, size_t size, const char *client, const char *message,
			bool retry);

/* The answer to a name that was typed at the prompt; `wrong` NULL: it was taken. Fails (for the
 * caller) if wrong. */
int ipxe_script_named(char *ret, size_t size, const char *name, const char *wrong);

#endif
