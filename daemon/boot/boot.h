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

#include "daemon/boot/ticket.h"
#include "daemon/config/config.h"
#include "daemon/state/state.h"
#include "tcmu-handler/image/sentence.h"

struct boot; /* all clients */
struct loop;

/* What a DHCP packet says about a PC. */
struct boot_identity {
	uint8_t mac[6];
	bool has_uuid;
	uint8_t uuid[16];
	char circuit[128];
	char key[IDENTITY_KEY_MAX]; /* by boot_who(); "": not asked yet */
	uint16_t arch;              /* option 93, 0xffff: none */
	bool pxe;                   /* a PXE or HTTP boot request, not an operating system */
	bool http;                  /* it boots by HTTP, says its class (option 60) */
	bool ipxe;                  /* iPXE asks */
	uint64_t features;          /* that it says it has, bit n of feature n of its option 175; 0: it says nothing */
};

/* What the answer depends on; all from configuration and client record, merged. */
struct boot_answer {
	char hostname[16];                    /* "" none */
	uint32_t reserved;                    /* reserved address, 0 none */
	bool known;                           /* has a client record or a [client] section */
	bool booted;                          /* has a [client] section, or has asked for a script before */
	char initiator[256];                  /* iqn for option 203 */
	const struct config_profile *profile; /* merged; valid until the next call into boot */
	char nbp[128];  /* boot file for this firmware ("" none); for iPXE the script's URL or name
			 */
	bool http_boot; /* answer with HTTPClient and a URI */
};

/*
 * Who that is (daemon/config/identity.h): fills in who->key. An operating system tells neither UUID nor circuit: then
 * it is the PC that came with this network card last.
 */
void boot_who(struct boot *boot, struct boot_identity *who);

/* DHCP saw a DISCOVER or REQUEST. `server`: our address on that subnet. Does not register anything.
 */
void boot_identify(struct boot *boot, const struct boot_identity *who, uint32_t server, struct boot_answer *ret);

/*
 * A lease is about to be acknowledged (inside the store's open transaction): registers an unknown
 * PC, notes address, architecture, NBP and time. -errno: do not send the ACK.
 */
int boot_leased(struct boot *boot, const struct boot_identity *who, uint32_t address, const char *nbp);

/* What boot_leased() noted of a new PC may not be there any more: its script says so, if it cannot be noted then. */
void boot_not_noted(struct boot *boot, const struct boot_identity *who);
/* The transaction in which boot_leased() noted it was rolled back: a PC that was new has no record in the state. */
void boot_rolled_back(struct boot *boot, const struct boot_identity *who);

/* TFTP began to send `file` to `address`. */
void boot_tftp_started(struct boot *boot, uint32_t address, const char *file);

/* Who asks for a script, and how. */
struct boot_ask {
	uint32_t address; /* that it asks from */
	uint32_t server;  /* ours, that it asked */
	uint8_t mac[6];   /* HTTP; all zero: by address */
	const char *pc;   /* with mac: the [client] section that it is said to be; NULL or "": the MAC says who it is */
	const char *nonce; /* of the path that was asked for (boot/nonce.h), "" none */
	const char *image; /* chosen from the menu; NULL none */
	bool tftp;         /* else HTTP */
};

/*
 * A boot script was asked for. Begins a new boot: the old target goes, the write-back is reset or kept, the new target
 * is made. `done` is called, now or later but always, with the script's text (valid within the call); also when it
 * could not be done: then the script shows the reason on the PC's screen.
 */
typedef void (*boot_script_fn)(void *arg, const char *text, uint32_t length);
void boot_script(struct boot *boot, const struct boot_ask *ask, boot_script_fn done, void *arg);

/* A name was typed at a PC's first boot. Answers with the script that tells whether it was taken. */
void boot_script_name(struct boot *boot, const struct boot_ask *ask, const char *name, boot_script_fn done, void *arg);

/*
 * Names on a pair of servers, boot/shared_names.c: each tells the other those of its PCs, n = 0.. (false: past the
 * last; name "": it stands in the configuration, which says it on both), and takes what it hears. `primary`: the
 * primary says it.
 */
struct boot_shared_name {
	char key[IDENTITY_KEY_MAX];
	char name[16];
	uint32_t named; /* how many times a person has chosen it; 0: it is automatic */
};
bool boot_shared_name_at(const struct boot *boot, size_t n, struct boot_shared_name *ret);
void boot_shared_name_heard(struct boot *boot, const struct boot_shared_name *told, bool primary);

/* `targets` NULL: [server] targets = off. `config` stays valid until boot_reload() with another, or
 * boot_free(). */
struct catalogue;
struct targets;
int boot_new(struct boot **ret, struct loop *loop, const struct config *config, struct state *state,
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
const char *boot_firmware_name(uint16_t arch);      /* of option 93: "uefi-x64"; "other"; 0xffff: "" */

/* One client as status and metrics show it; pointers are valid within the call. */
struct boot_view {
	const struct state_client *client;
	const struct state_boot *boot;        /* its last boot */
	const struct config_profile *profile; /* merged */
	const struct config_client *section;  /* NULL: none */
	enum boot_state state;
	bool has_target;
	const char *image;           /* of its target */
	const char *disk;            /* id of its disk */
	const char *iqn;             /* of its target */
	const char *session_address; /* "" no session */
	struct boot_use {
		const char *image;
		uint32_t generation; /* 0: not known, it was taken over from an earlier run */
	} use[CONFIG_DISKS + 1];     /* what its target serves */
	unsigned int uses;
};
/* Some of them, in no order, from the `first`; returns the next one, 0: that was the last. Between two calls clients
 * may come and go: then one is told twice, or not. */
size_t boot_each_some(struct boot *boot, size_t first, size_t count,
		      void (*fn)(void *arg, const struct boot_view *view), void *arg);
void boot_each(struct boot *boot, void (*fn)(void *arg, const struct boot_view *view), void *arg);
/* -ENOENT */
int boot_view_name(struct boot *boot, const char *name, void (*fn)(void *arg, const struct boot_view *view), void *arg);

/* Changes of a client by a person. NULL or BOOT_KEEP: as it is. */
#define BOOT_UNCHANGED (-2)
struct boot_change {
	const char *name;
	const char *group;    /* "" = default */
	const char *image;    /* "" = what configuration says */
	int keep, upload;     /* 1, 0, -1 = what configuration says, BOOT_UNCHANGED */
	bool drop_write_back; /* a kept write-back is empty at the next boot */
};
int boot_change(struct boot *boot, const char *name, const struct boot_change *change, struct sentence *error);
/*
 * The PC that is known as `to` (a client's name, or the MAC of a network card that was not seen yet) is the one that
 * was known as `from`, with another board or card: it gets `from`'s record, with its name unless a [client] section
 * names `to`, its write-back and its history. `to`'s own record goes, and what it has written; where that would be kept
 * and both have been PCs at the same time only with `drop`. What is left for the person to do is in `error`, also at 0;
 * `ret_name`: the name that it has now. -EBUSY: one of them runs.
 */
int boot_move(struct boot *boot, const char *from, const char *to, bool drop, char ret_name[CONFIG_HOST_MAX],
	      struct sentence *error);
/* Forgets a client and removes its target. -EBUSY while it runs. */
int boot_remove(struct boot *boot, const char *name, struct sentence *error);

/*
 * Super clients. begin: the PC's next boots are the update session of `image`, in a write-back of its own that is kept;
 * end: it boots as before, what it changed is dropped at its next session. -EBUSY: the image or the PC has a session.
 */
int boot_session_begin(struct boot *boot, const char *client, const char *image, struct sentence *error);
int boot_session_end(struct boot *boot, const char *image, struct sentence *error);
/*
 * For a commit: the session's PC is off, gets no disk from now on, and its target goes, so that all that it wrote is in
 * the store. `done` is called with the outcome, from the loop. -EBUSY: it runs, or something is being committed.
 */
int boot_session_freeze(struct boot *boot, const struct state_session *session,
			void (*done)(void *arg, int result, const char *error), void *arg, struct sentence *error);
void boot_session_thaw(struct boot *boot);
/* What an ended session's PC wrote is thrown away, so that the store has its room again. Its disk is closed. */
void boot_session_drop(struct boot *boot, const struct state_session *session);

/*
 * Does a PC's target serve this generation (or one that is not known: taken over from an earlier run)? Or does what a
 * PC has written and keeps, or an update session, lie on it?
 */
bool boot_uses_generation(struct boot *boot, const char *image, uint32_t generation);

/*
 * May who asks from that address, with that secret of a capture script, upload an image? 0 and whose the secret is and
 * for what (boot/ticket.h), or -EACCES with the sentence.
 */
int boot_may_upload(struct boot *boot, uint32_t address, const char *secret, struct boot_ticket *ret,
		    struct sentence *error);
/* For other threads; valid until boot_free(). */
struct boot_tickets *boot_tickets(struct boot *boot);
/* What the capture system knows the server's key by: "sha256//...", "": the server has no TLS. */
void boot_set_pin(struct boot *boot, const char *pin);

/* Whether a PC's target serves an image. */
bool boot_uses_image(const struct boot *boot, const char *image);
/* Calls fn with the name of each PC whose disk is of that generation (0: of any) of the image, or is updating it. */
void boot_image_users(const struct boot *boot, const char *image, uint32_t generation,
		      void (*fn)(void *arg, const char *client), void *arg);

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
