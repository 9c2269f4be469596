/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One PC's way from power-on to its disk: who it is, what it is given, when each step happened. The
 * network servers report what they saw and ask what to answer; the disk side (target.c) is started
 * from here when the script is asked for. All calls are on the loop's thread.
 */
#ifndef BOOTWELL_BOOT_H
#define BOOTWELL_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/config.h"
#include "daemon/store.h"

struct boot; /* all clients */
struct loop;

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
	char hostname[16];                    /* "" none */
	uint32_t reserved;                    /* reserved address, 0 none */
	bool known;                           /* has a client record or a [client] section */
	char initiator[256];                  /* iqn for option 203 */
	const struct config_profile *profile; /* merged; valid until the next call into boot */
	char nbp[128];  /* boot file for this firmware ("" none); for iPXE the script's URL or name
			 */
	bool http_boot; /* answer with HTTPClient and a URI */
};

/* DHCP saw a DISCOVER or REQUEST. `server`: our address on that subnet. Does not register anything.
 */
int boot_identify(struct boot *boot, const struct boot_identity *who, uint32_t server,
		  struct boot_answer *ret);

/*
 * A lease is about to be acknowledged (inside the store's open transaction): registers an unknown
 * PC, notes address, architecture, NBP and time. -errno: do not send the ACK.
 */
int boot_leased(struct boot *boot, const struct boot_identity *who, uint32_t address,
		const char *nbp);

/* TFTP began to send `file` to `address`. */
void boot_tftp_started(struct boot *boot, uint32_t address, const char *file);

/*
 * A boot script was asked for, by address (TFTP) or MAC (HTTP; all zero: by address). Begins a new
 * boot: the old target goes, the write-back is reset or kept, the new target is made. `done` is
 * called, now or later but always, with the script's text (valid within the call); also when it
 * could not be done: then the script shows the reason on the PC's screen.
 */
typedef void (*boot_script_fn)(void *arg, const char *text, uint32_t length);
void boot_script(struct boot *boot, uint32_t address, const uint8_t mac[6], uint32_t server,
		 boot_script_fn done, void *arg);

/* The same, when the PC chose `image` from its menu. */
void boot_script_image(struct boot *boot, uint32_t address, const uint8_t mac[6], uint32_t server,
		       const char *image, boot_script_fn done, void *arg);

/* A name was typed at a PC's first boot. Answers with the script that tells whether it was taken.
 */
void boot_script_name(struct boot *boot, uint32_t address, const uint8_t mac[6], const char *name,
		      boot_script_fn done, void *arg);

/* `targets` NULL: [server] targets = off. `config` stays valid until boot_reload() with another, or
 * boot_free(). */
struct catalogue;
struct targets;
int boot_new(struct boot **ret, struct loop *loop, const struct config *config, struct store *store,
	     struct catalogue *catalogue, struct targets *targets);
void boot_reload(struct boot *boot, const struct config *config);
/* Before loop_free(). Targets stay in the kernel, so that PCs run on. */
void boot_free(struct boot *boot);

/* Takes over the targets that an earlier run left, and removes what is left of broken ones. Before
 * anything is served. */
void boot_adopt(struct boot *boot);

enum boot_state {
	BOOT_OFF,       /* nothing is known of it since the start, or its session ended */
	BOOT_STARTING,  /* DHCP as firmware or iPXE */
	BOOT_LOADING,   /* fetches its boot program */
	BOOT_PREPARING, /* its target is being made */
	BOOT_READY,     /* the target waits for its login */
	BOOT_RUNNING,   /* logged in */
	BOOT_FAILED,    /* the last boot got no disk: steps.failure */
	BOOT_STATES
};
const char *boot_state_name(enum boot_state state); /* "off", "starting", ... */

/* One client as status and metrics show it; pointers are valid within the call. */
struct boot_view {
	const struct store_client *client;
	const struct store_boot *boot;        /* its last boot */
	const struct config_profile *profile; /* merged */
	const struct config_client *section;  /* NULL: none */
	enum boot_state state;
	bool has_target;
	const char *image;           /* of its target */
	const char *disk;            /* id of its disk */
	const char *iqn;             /* of its target */
	const char *session_address; /* "" no session */
};
void boot_each(struct boot *boot, void (*fn)(void *arg, const struct boot_view *view), void *arg);
/* -ENOENT */
int boot_view_name(struct boot *boot, const char *name,
		   void (*fn)(void *arg, const struct boot_view *view), void *arg);

/* Changes of a client by a person. NULL or BOOT_KEEP: as it is. */
#define BOOT_UNCHANGED (-2)
struct boot_change {
	const char *name;
	const char *group;    /* "" = default */
	const char *image;    /* "" = what configuration says */
	int keep, upload;     /* 1, 0, -1 = what configuration says, BOOT_UNCHANGED */
	bool drop_write_back; /* a kept write-back is empty at the next boot */
};
#define BOOT_ERROR_MAX 640
int boot_change(struct boot *boot, const char *name, const struct boot_change *change,
		char error[BOOT_ERROR_MAX]);
/* Forgets a client and removes its target. -EBUSY while it runs. */
int boot_remove(struct boot *boot, const char *name, char error[BOOT_ERROR_MAX]);

/*
 * Super clients. begin: the PC's next boots are the update session of `image`, in a write-back of its own that is kept;
 * end: it boots as before, what it changed is dropped at its next session. -EBUSY: the image or the PC has a session.
 */
int boot_session_begin(struct boot *boot, const char *client, const char *image, char error[BOOT_ERROR_MAX]);
int boot_session_end(struct boot *boot, const char *image, char error[BOOT_ERROR_MAX]);
/*
 * For a commit: the session's PC is off, gets no disk from now on, and its target goes, so that all that it wrote is in the
 * store. `done` is called with the outcome, from the loop. -EBUSY: it runs, or something is being committed.
 */
int boot_session_freeze(struct boot *boot, const struct store_session *session,
			void (*done)(void *arg, int result, const char *error), void *arg,
			char error[BOOT_ERROR_MAX]);
void boot_session_thaw(struct boot *boot);
/* What an ended session's PC wrote is thrown away, so that the store has its room again. Its disk is closed. */
void boot_session_drop(struct boot *boot, const struct store_session *session);

/*
 * Does a PC's target serve this generation (or one that is not known: taken over from an earlier run)? Or does what a PC has
 * written and keeps, or an update session, lie on it?
 */
bool boot_uses_generation(struct boot *boot, const char *image, uint32_t generation);

/* May the PC at that address upload an image? 0 and its name, or -EACCES with the sentence. */
int boot_may_upload(struct boot *boot, uint32_t address, char ret_name[CONFIG_HOST_MAX],
		    char error[BOOT_ERROR_MAX]);

/* Whether a PC's target serves an image. */
bool boot_uses_image(const struct boot *boot, const char *image);
/* Calls fn with the name of each PC whose disk is of that generation (0: of any) of the image, or is updating it. */
void boot_image_users(const struct boot *boot, const char *image, uint32_t generation, void (*fn)(void *arg, const char *client),
		      void *arg);

struct boot_stats {
	uint64_t scripts;          /* scripts asked for */
	uint64_t boots;            /* disks made ready */
	uint64_t failures;         /* boots that got no disk */
	uint64_t registered;       /* clients that registered by themselves since the start */
	uint64_t handoff_failures; /* boot programs that no script request followed */
	uint64_t target_ns;        /* time spent making targets, sum */
	uint32_t clients, clients_by_state[BOOT_STATES];
	uint32_t waiting; /* targets that are waiting to be made */
};
void boot_stats(struct boot *boot, struct boot_stats *ret);

#endif
