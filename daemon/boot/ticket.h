/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The right of a PC to upload one image: a secret that is made when the PC is sent to the capture system and handed to
 * it through that script. It ends with the upload, with the PC's next script, or after BOOT_TICKET_LIFE. What is kept
 * is the SHA-256 of each, in STATE/upload-tickets (mode 0600), so that an upload goes on after a restart of the daemon
 * or of the machine. All calls may come from any thread.
 */
#ifndef BOOTWELL_BOOT_TICKET_H
#define BOOTWELL_BOOT_TICKET_H

#include <stdbool.h>
#include <stdint.h>

#define BOOT_TICKET_MAX   33              /* 32 hexadecimal digits: 128 bits */
#define BOOT_TICKET_LIFE  (3 * 24 * 3600) /* s: a disk of 2 TiB at 10 MB/s takes 61 hours */
#define BOOT_TICKETS      4096            /* one a PC; with more the oldest goes */
#define BOOT_TICKET_WORDS 64              /* bytes of a name with NUL */

struct boot_tickets;

/* Whose a secret is, and what for. */
struct boot_ticket {
	int64_t client;
	char name[BOOT_TICKET_WORDS];  /* of the PC, when it was made */
	char image[BOOT_TICKET_WORDS]; /* without an ending; "": the first that it is used for */
	bool spent;                    /* its upload is done: only that may be asked about */
};

/* Reads what an earlier run kept in `folder`; what it cannot understand is no ticket. */
int boot_tickets_new(struct boot_tickets **ret, const char *folder);
/* References: whoever saves on another thread has one. NULL is fine. */
void boot_tickets_ref(struct boot_tickets *tickets);
void boot_tickets_unref(struct boot_tickets *tickets);
/* Writes the file, when something changed. Blocks as files do. */
int boot_tickets_save(struct boot_tickets *tickets);

/* A new one for a PC, in place of what it had. `image` "": it may choose one. -EIO: no random numbers; -ENOMEM. */
int boot_ticket_make(struct boot_tickets *tickets, int64_t client, const char *name, const char *image,
		     char ret[BOOT_TICKET_MAX]);
/* 0 and whose it is, or -EACCES. The time that it takes does not tell how much of a secret is right. */
int boot_ticket_check(struct boot_tickets *tickets, const char *secret, struct boot_ticket *ret);
/*
 * Takes it for an upload of `image` (without an ending). 0: it was for that already; 1: from now on it is for that and
 * no other; -EACCES: it is for another one, spent, or none at all.
 */
int boot_ticket_claim(struct boot_tickets *tickets, const char *secret, const char *image);
/* After a claim that returned 1, when the upload was refused: the PC may choose again. */
void boot_ticket_unclaim(struct boot_tickets *tickets, const char *secret);
/* The upload of `image` by that PC is done. */
void boot_ticket_spend(struct boot_tickets *tickets, const char *name, const char *image);
/* The PC starts anew: true, it had one. Or its upload was ended for it (by name and image). */
bool boot_ticket_end(struct boot_tickets *tickets, int64_t client);
void boot_ticket_end_upload(struct boot_tickets *tickets, const char *name, const char *image);
/* Seconds since the PC's ticket was last used; UINT64_MAX: it has none, or never used it. */
uint64_t boot_ticket_silence(struct boot_tickets *tickets, int64_t client);

#endif
