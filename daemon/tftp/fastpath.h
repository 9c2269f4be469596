/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * TFTP answered inside the kernel: loads and attaches the programs of bpf/, fills their maps, reads
 * their counters. The protocol belongs to the caller (tftp_server): it answers the request, sends
 * the OACK, and then hands the transfer over; the kernel answers each ACK that completes what was
 * sent last with the next block (or window), and hands every other packet to the caller's socket as
 * if it were not there. The design is told in tftp/fastpath.c.
 *
 * The caller's part, for each transfer:
 *	file_get(), file_load() until it says 0		once for each request; the file is cached
 *	send the OACK, then session_add(sent = 0)	or fail: then serve it in user space,
 * nothing was lost any packet on the transfer's socket:		session_pause() says which block was
 * sent last: treat the packet with that state, as if user space had sent everything, then
 *							session_resume() with the new state, or
 * session_remove()
 *	every now and then:				session_peek(): the block sent last and
 * when; after a time-out pause, send it (or its window) again, resume the end: session_remove(),
 * file_put() While paused, the kernel passes all packets of the transfer. The ACK of the last block
 * is always passed.
 *
 * One thread, except tftp_fastpath_file_load(). Never logs. Every function takes a NULL fast path
 * (there is none then).
 */
#ifndef BOOTWELL_TFTP_FASTPATH_H
#define BOOTWELL_TFTP_FASTPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tftp_fastpath;
struct tftp_fastpath_file;

enum tftp_fastpath_mode {
	TFTP_FASTPATH_OFF,
	TFTP_FASTPATH_AUTO, /* XDP where a received frame has room to grow, tc elsewhere */
	TFTP_FASTPATH_XDP,  /* as AUTO, without the probe; tc answers what XDP cannot */
	TFTP_FASTPATH_TC,
};

/* Who answers on an interface. */
enum tftp_fastpath_tier { TFTP_FASTPATH_TIER_USER, TFTP_FASTPATH_TIER_TC, TFTP_FASTPATH_TIER_XDP };

/* "off", "auto", "xdp", "tc"; -EINVAL. */
int tftp_fastpath_mode_parse(const char *text, enum tftp_fastpath_mode *ret);
const char *tftp_fastpath_tier_name(enum tftp_fastpath_tier tier); /* "user", "tc", "xdp" */

struct tftp_fastpath_config {
	enum tftp_fastpath_mode mode;
	uint64_t memory;       /* bytes of kernel memory for file contents, taken at once; 1 MiB to 1 GiB
				*/
	uint32_t sessions_max; /* at once, 1 to 65536 */
	bool zero_checksums;   /* send UDP checksum 0 (RFC 768: none) in place of a real one */
};

/*
 * Loads the programs. -ENOTSUP when mode is OFF, -EPERM without CAP_BPF and CAP_NET_ADMIN, -ENOMEM,
 * -EINVAL (config out of range, or the kernel refuses the programs). On failure go on with *ret =
 * NULL: everything is then served in user space.
 */
int tftp_fastpath_new(struct tftp_fastpath **ret, const struct tftp_fastpath_config *config);
/* Detaches everywhere. The process's end, by whatever cause, does the same. */
void tftp_fastpath_free(struct tftp_fastpath *fp);

/*
 * Attaches to an Ethernet interface; again on the same one refreshes its MAC address and does no
 * more, so call it for each link of interest whenever the links change. Another XDP program there
 * is respected: tc then. A tier is always found or -errno: -ENODEV, -ENOTSUP (no Ethernet), -EPERM,
 * -ENOSPC (64 interfaces).
 */
int tftp_fastpath_attach(struct tftp_fastpath *fp, int ifindex);
/* Sessions on it stay and are served by user space: the programs no longer see their packets. */
void tftp_fastpath_detach(struct tftp_fastpath *fp, int ifindex);

enum tftp_fastpath_tier tftp_fastpath_tier(const struct tftp_fastpath *fp, int ifindex);
/* Why it is that tier: one clause for status, never NULL, e.g. "another XDP program is on the
 * interface". */
const char *tftp_fastpath_why(const struct tftp_fastpath *fp, int ifindex);

/* Once a second or so, with CLOCK_MONOTONIC in ns: takes results of probes, frees what was evicted.
 */
void tftp_fastpath_tick(struct tftp_fastpath *fp, uint64_t now);

/*
 * The cached content of an open regular file. It is recognised by device, inode, size, mtime and
 * ctime: a changed file is a new generation beside the old one, which goes when its last transfer
 * ends. Returns a reference for tftp_fastpath_file_put(). Files that nobody refers to are evicted,
 * least recently used first, when memory is short. -EFBIG: larger than the memory; -ENOSPC: no room
 * now; -EINVAL: not a regular file. `fd` is duplicated while loading.
 */
int tftp_fastpath_file_get(struct tftp_fastpath *fp, int fd, uint64_t now, struct tftp_fastpath_file **ret);
/*
 * Reads up to `bytes` more of it: 0 when all is there (at once if it was already), 1 when there is
 * more to read, -errno
 * (-ESTALE: the file was changed meanwhile; drop the reference and get it again). Blocks on the
 * disk; may be called on a helper thread, by one at a time, while the reference is held. Until it
 * is loaded, session_add() says -EAGAIN.
 */
int tftp_fastpath_file_load(struct tftp_fastpath_file *file, uint64_t bytes);
void tftp_fastpath_file_put(struct tftp_fastpath_file *file); /* NULL is fine */

struct tftp_fastpath_transfer {
	uint32_t client, server; /* addresses, host byte order */
	uint16_t client_port, server_port;
	int ifindex;         /* where the request came in (IP_PKTINFO's ipi_ifindex) */
	uint16_t blksize;    /* bytes */
	uint16_t windowsize; /* blocks, 1 without the option */
	uint32_t sent;       /* number of the block that was sent last, not wrapped at 65536; 0: the OACK
			      */
	uint64_t now;        /* CLOCK_MONOTONIC, ns */
};

/*
 * Hands a transfer to the kernel; *ret names it until session_remove(). Keeps a reference of its
 * own to the file. -ENOTSUP: this one is user space's (interface not attached, blksize not a
 * multiple of 4 or beyond the frame, a window that the interface's tier does not send); -EAGAIN:
 * file not loaded; -EEXIST; -ENOSPC.
 */
int tftp_fastpath_session_add(struct tftp_fastpath *fp, const struct tftp_fastpath_transfer *transfer,
			      struct tftp_fastpath_file *file, uint32_t *ret);
/* The number (not wrapped) of the block sent last, and when; *ret_last may be NULL. Costs no system
 * call. */
uint32_t tftp_fastpath_session_peek(const struct tftp_fastpath *fp, uint32_t session, uint64_t *ret_last);
/* Stops the kernel on this transfer and says the same; exact: no block beyond it is sent before
 * session_resume(). */
uint32_t tftp_fastpath_session_pause(struct tftp_fastpath *fp, uint32_t session, uint64_t *ret_last);
/*
 * `sent`: the block that user space sent last (with windows: the last one of the window). `now` is
 * noted as the time of sending only if that is another block than at the pause: a packet that
 * changed nothing does not put off a time-out. Does nothing to a session that is not paused: the
 * programs may be far beyond `sent` already. Best called right before `sent` is sent: an ACK that
 * comes while still paused is passed, and a quick client could keep user space busy for ever.
 */
void tftp_fastpath_session_resume(struct tftp_fastpath *fp, uint32_t session, uint32_t sent, uint64_t now);
void tftp_fastpath_session_remove(struct tftp_fastpath *fp, uint32_t session);

struct tftp_fastpath_path_stats {
	uint64_t blocks, bytes; /* DATA sent, bytes of data */
	uint64_t passed;        /* packets of known sessions that were left to user space (XDP: or to tc) */
	uint64_t failed;        /* frames that could not grow or be sent */
};
struct tftp_fastpath_stats {
	struct tftp_fastpath_path_stats tc, xdp;
	uint64_t memory; /* bytes */
	uint64_t memory_used;
	uint64_t evicted;         /* files */
	uint32_t files, sessions; /* now */
};
/* The descriptor of a loaded program, -1: none. For tests, which run it on packets
 * (BPF_PROG_TEST_RUN). */
int tftp_fastpath_program(const struct tftp_fastpath *fp, enum tftp_fastpath_tier tier);

void tftp_fastpath_stats(const struct tftp_fastpath *fp, struct tftp_fastpath_stats *ret);

#endif
