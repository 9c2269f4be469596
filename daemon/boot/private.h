/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of boot/ share. profile.c is beneath the others; start.c is above them. */
#ifndef BOOTWELL_BOOT_PRIVATE_H
#define BOOTWELL_BOOT_PRIVATE_H

#include "daemon/boot/boot.h"
#include "daemon/boot/clients.h"
#include "daemon/boot/disk.h"
#include "daemon/boot/ipxe_script.h"
#include "daemon/boot/nonce.h"
#include "daemon/catalogue/catalogue.h"
#include "daemon/core/aside.h"
#include "daemon/core/loop.h"
#include "daemon/core/ratelimit.h"
#include "tcmu-handler/image/sentence.h"

/* New clients that a proxy registers. */
#define BOOT_NEW_RATE  10  /* a second */
#define BOOT_NEW_BURST 600 /* at once: a room that is switched on */

struct boot_poll;

struct boot {
	struct loop *loop;
	const struct config *config;
	struct state *state;
	struct catalogue *catalogue;
	struct targets *targets; /* NULL: off */
	struct boot_clients *clients;
	struct promised *promised; /* by the other server of a pair */
	struct boot_disks *disks;
	struct boot_stats stats;
	struct config_profile merged; /* of the last boot_profile() */

	struct boot_nonces nonces;
	struct boot_tickets *tickets;
	struct aside *saver; /* writes their file: that disk may hang */
	unsigned int saving;
	char pin[80];                /* of the server's certificate, for the capture system; "": there is none */
	struct guard *guards;        /* that look on a helper thread, boot/guard.c */
	struct ratelimit *newcomers; /* clients that a proxy registers */
	uint64_t not_noted_ns;       /* loop_now() when a PC could not be noted last; 0: never */

	unsigned int adopted, adopted_running; /* targets that an earlier run left */

	int64_t committing; /* client whose session is being committed: it must not start; 0 none */

	struct loop_source *timer; /* polling */
	struct boot_poll *poll;    /* the look that is under way on a helper thread */
	uint64_t slow_poll_ns;     /* CLOCK_MONOTONIC of the last look at everybody */
};

uint64_t boot_realtime_ns(void); /* CLOCK_REALTIME */

/* What a PC's disk is reached by; of its key, which stays when the PC is renamed. */
void boot_name_iqn(const struct boot *boot, const char *what, const char *key, char ret[TARGET_NAME_MAX]);

/* One line for a step of a boot at log = debug: "boot of PC101: ...". At most 100 in ten seconds. */
void boot_step(const struct boot_client *client, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What the PC is given, boot/profile.c: merged; valid until the next call. */
const struct config_profile *boot_profile(struct boot *boot, const struct config_client *section,
					  const struct state_client *rec);
/* The section that is about this PC; NULL: none. */
const struct config_client *boot_section(const struct boot *boot, const struct boot_client *client);

/*
 * boot/who.c. settle: records of a version that knew PCs by MAC only become what they are; before anything is served.
 */
int boot_who_settle(struct boot *boot);
/* A PC has a record from now on: who may be meant by its name or its network card is told of. */
void boot_who_is_new(struct boot *boot, const struct boot_client *client, const struct boot_client *had_card,
		     const struct boot_client *had_name);

/* A new record gets the name that its PC has on the other server of a pair, boot/shared_names.c; false: it has none. */
bool boot_shared_name_of(struct boot *boot, struct state_client *rec);

void boot_send_menu(struct boot *boot, struct boot_client *client, const struct config_profile *profile,
		    const char *nonce, boot_script_fn done, void *arg);

/* May what the PC ran be ended? boot/guard.c. `from`: the session's address. */
#define BOOT_QUIET_MS 10000 /* a session that said nothing for so long is that of a PC that was reset */
enum boot_verdict { BOOT_END_SESSION, BOOT_WAIT, BOOT_ANSWERS };
enum boot_verdict boot_verdict(bool known, uint64_t quiet_ms, uint64_t since_dhcp_ms, uint64_t waited_ms);
typedef void (*boot_guard_fn)(struct boot *boot, struct boot_client *client, enum boot_verdict verdict,
			      const char *from);
/* Calls `done` now or later, unless the client is gone by then. */
void boot_guard(struct boot *boot, struct boot_client *client, boot_guard_fn done);
void boot_guards_stop(struct boot *boot); /* those that look call nobody any more */

/* True, and the script of the capture system is sent, when the PC's disk is to be captured: boot/upload.c. */
bool boot_send_capture(struct boot *boot, struct boot_client *client, const struct config_profile *profile,
		       boot_script_fn done, void *arg);
/* True, and a script that asks again in a moment is sent, while the PC still sends its disk. */
bool boot_wait_upload(struct boot *boot, struct boot_client *client, const struct boot_ask *ask, boot_script_fn done,
		      void *arg);
#define BOOT_UPLOAD_SILENCE 30 /* s: a PC that sent nothing of its upload for so long was reset */
/* The PC's right to upload ends. */
void boot_end_ticket(struct boot *boot, const struct boot_client *client);

/* The update session of a PC, boot/session.c: what it boots instead of anything else. 1, 0, -errno. */
int boot_session_of(struct boot *boot, const struct boot_client *client, struct state_session *ret);
/* Makes the PC's disk the session's. -ESTALE with the sentence: the image has moved on. */
int boot_session_job(const struct state_session *session, struct boot_disk_job *job, struct sentence *error);

/* The further disks of a PC, boot/luns.c. boot_luns_job: -errno with the sentence. */
int boot_luns_job(struct boot *boot, const struct boot_client *client, const struct config_profile *profile,
		  struct boot_disk_job *job, struct sentence *error);
void boot_luns_ready(struct boot_client *client, const struct boot_disk_job *job);
void boot_luns_adopt(struct boot_client *client, const struct config_profile *profile);
/* Has the PC's target a disk of the image? generation 0: any; one that is not known counts as that. */
bool boot_luns_use(const struct boot_client *client, const char *image, uint32_t generation);

/*
 * A PC without power says nothing, and LIO keeps its session for two minutes. One that has said nothing for
 * BOOT_SILENT_MS is asked for by ARP at each look; after BOOT_UNANSWERED of them it is off. Behind a router nobody can
 * be asked for: there it is LIO's word.
 */
#define BOOT_SILENT_MS  10000
#define BOOT_UNANSWERED 2
#define BOOT_OFF_S      25 /* s without power until a PC is known to be off: the silence, and looks 5 s apart */
#define BOOT_SWITCH_OFF "switch it off first"
/* -EBUSY, with the sentence that says `what` to do and until when, when its session runs or begins. */
int boot_is_off(const struct boot *boot, const struct boot_client *client, const char *what, struct sentence *error);

/* Looking at who runs, boot/watch.c. start: from -errno. arm: looks often for a while, something happens. */
int boot_watch_start(struct boot *boot);
void boot_watch_stop(struct boot *boot);
void boot_watch_arm(struct boot *boot);

/*
 * boot/firmware.c: the boot program for a firmware of that option 93 ("": there is none). What worked stays; after a
 * failed hand-off the other one of the pair has its turn.
 */
const char *boot_firmware_program(const struct config_profile *profile, const struct state_client *rec, uint16_t arch);
bool boot_firmware_known(uint16_t arch);
/*
 * Can an iPXE of these features (of its option 175, 0: it tells none) do what the PC's script needs? Network cards and
 * virtual machines come with small ones (VirtualBox's, FlexBoot) that have no iSCSI; such a one is firmware for us, and
 * gets the whole boot program first.
 */
bool boot_firmware_runs_script(const struct config *config, const struct config_profile *profile, uint64_t features);

#endif
