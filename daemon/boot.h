/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One PC's way from power-on to its disk: who it is, what it is given, when each step happened. The network servers
 * report what they saw and ask what to answer; the disk side (target.c) is started from here when the script is asked
 * for. All calls are on the loop's thread.
 */
#ifndef BOOTWELL_BOOT_H
#define BOOTWELL_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/store.h"

struct boot; /* all clients */

/* What a DHCP packet says about a PC. */
struct boot_identity {
	uint8_t mac[6];
	bool has_uuid;
	uint8_t uuid[16];
	char circuit[128];
	uint16_t arch; /* option 93, 0xffff: none */
	bool pxe;      /* a PXE or HTTP boot request, not an operating system */
	bool ipxe;     /* iPXE asks */
};

/* What the answer depends on; all from configuration and client record, merged. */
struct boot_answer {
	char hostname[16];	     /* "" none */
	uint32_t reserved;	     /* reserved address, 0 none */
	bool known;		     /* has a client record or a [client] section */
	char initiator[256];	     /* iqn for option 203 */
	const struct config_profile *profile; /* merged; valid until the next call into boot */
	char nbp[128];		     /* boot file for this firmware ("" none); for iPXE the script's URL or name */
	bool http_boot;		     /* answer with HTTPClient and a URI */
};

/* DHCP saw a DISCOVER or REQUEST. `server`: our address on that subnet. Does not register anything. */
int boot_identify(struct boot *boot, const struct boot_identity *who, uint32_t server, struct boot_answer *ret);

/*
 * A lease is about to be acknowledged (inside the store's open transaction): registers an unknown PC, notes address,
 * architecture, NBP and time. -errno: do not send the ACK.
 */
int boot_leased(struct boot *boot, const struct boot_identity *who, uint32_t address, const char *nbp);

/* TFTP began to send `file` to `address`. */
void boot_tftp_started(struct boot *boot, uint32_t address, const char *file);

/*
 * A boot script was asked for, by address (TFTP) or MAC (HTTP; all zero: by address). Begins a new boot: the old target
 * goes, the write-back is reset or kept, the new target is made. `done` is called, now or later but always, with the
 * script's text (valid within the call); also when it could not be done: then the script shows the reason on the PC's
 * screen.
 */
typedef void (*boot_script_fn)(void *arg, const char *text, uint32_t length);
void boot_script(struct boot *boot, uint32_t address, const uint8_t mac[6], uint32_t server, boot_script_fn done,
		 void *arg);

#endif
