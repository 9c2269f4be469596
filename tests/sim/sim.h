/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A room in one process: two DHCP servers of a pair, as they are built (daemon/), and PCs, on a clock, wires and disks
 * that are made here, with faults that a seed chooses. The same seed is the same room, event by event.
 *
 *	time.c		the events and their order, chance, the clocks of the servers, the trace
 *	loop.c		daemon/core/loop.h
 *	wire.c		sockets: between the servers, and from PCs to servers and back
 *	aside.c		daemon/core/aside.h
 *	netif.c		daemon/core/netif.h
 *	disk.c		a disk below SQLite, which loses what was not flushed when the power fails
 *	server.c	a server's life: start, kill, power cut, freeze
 *	pc.c		the PCs, what they believe, and the rule that an address has one PC
 *	boots.c		PCs that ask for their script, and start their disk
 *	kernel.c	the iSCSI targets of a server, in place of the kernel's
 *	check.c		what else must hold, while it runs and at its end
 *	fault.c		what goes wrong, and when
 *	rare.c		paths that some seed must reach, by name
 *	test_room.c	many seeds, one after the other
 *
 * `sim_server` is the server whose code runs now; NULL: none.
 */
#ifndef BOOTWELL_SIM_H
#define BOOTWELL_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "daemon/config/config.h"

#define S  1000000000ull /* ns */
#define MS 1000000ull

#define SIM_SERVERS 2
#define SIM_PCS     12
#define SIM_NET     0x0a520000u /* 10.82.0.0/24: servers .1 and .2, the range from .100 */
#define SIM_LINK    0x0a630000u /* 10.99.0.0/30, the cable between the servers: .1 and .2 */
#define SIM_FIRST   100
#define SIM_STATE   "/state/bootwell.db"

struct sim_disk;
struct sim_server {
	unsigned int n;
	const char *name;
	bool up;
	unsigned int cuts;      /* of its power, so far */
	bool dark;              /* it has no power */
	bool dead;              /* it has been killed, and is only taken apart: nothing leaves, nothing is written */
	uint64_t listens;       /* since when it can: its start, or when it went on after it stood still */
	uint64_t stalled_until; /* frozen, or in a slow write */
	int64_t booted;         /* when CLOCK_MONOTONIC was 0, by the room's clock */
	uint64_t machine;       /* which boot of the machine it is */
	int64_t wrong;          /* ns that CLOCK_REALTIME is ahead */
	bool ntp;               /* it is known to be right, and is */
	uint64_t wake;          /* the event that is awaited; 0: none */
	bool dies;              /* by that: it is not killed only */
	unsigned int die_in;    /* writes until the power fails within one; 0: it does not */
	struct config *config;
	struct sim_disk *disk, *survives; /* what of it is left after it died; NULL: it did not */
	struct loop *loop;
	struct netif *netif;
	struct state *state;
	struct catalogue *catalogue;
	struct boot *boot;
	struct dhcp_server *dhcp;
};
extern struct sim_server sim_servers[SIM_SERVERS], *sim_server;

/* --- time.c --- */
extern uint64_t sim_now; /* ns since the room began */
extern bool sim_loud;    /* the trace is printed */
/* `fn(arg, data)` at that moment; `data` is freed after it. */
typedef void (*sim_event_fn)(void *arg, void *data);
void sim_at(uint64_t when, sim_event_fn fn, void *arg, void *data);
bool sim_step(uint64_t until); /* the next event; false: none before `until`, and it is that time now */
void sim_time_init(uint64_t seed);
void sim_time_done(void);
uint64_t sim_random(void);
uint64_t sim_below(uint64_t n);                   /* 0 to n - 1 */
uint64_t sim_between(uint64_t from, uint64_t to); /* both may come */
bool sim_chance(unsigned int permille);
void sim_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t sim_trace_sum(void); /* of all that was said */
void sim_trace_tail(void);    /* prints the last of it */
/* The room is not as it must be: told, and the seed has failed. The first one counts. */
void sim_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern char sim_failed[400]; /* "": nothing yet */

/* --- loop.c: of `server`, which is the current one meanwhile --- */
struct sim_datagram {
	int fd;
	uint32_t from, to; /* IP */
	uint16_t port;     /* it comes from */
	int ifindex;
	uint32_t length;
	uint8_t data[];
};
void sim_loop_hear(struct sim_server *server, struct sim_datagram *dgram);       /* frees it, later */
void sim_loop_poll(struct sim_server *server, int fd);                           /* that fd is readable */
void sim_loop_call(struct sim_server *server, void (*fn)(void *arg), void *arg); /* as within a round, now */
void sim_wake(struct sim_server *server, uint64_t when); /* its next round, then at the latest */

/* --- wire.c --- */
struct sim_wire {
	unsigned int loss;  /* permille */
	unsigned int twice; /* permille that come twice */
	uint64_t delay;     /* ns, at most */
	bool cut;
};
extern struct sim_wire sim_cable[SIM_SERVERS];  /* from that server to the other one */
extern struct sim_wire sim_lan[SIM_SERVERS][2]; /* from PCs to that server, and back */
void sim_wire_init(void);
uint64_t sim_lan_delay(void);                                                    /* the longest, ns */
void sim_pc_send(unsigned int pc, uint32_t to, const void *data, size_t length); /* to: 0xffffffff, or a server's */
void sim_clock_set(struct sim_server *server);                                   /* somebody set CLOCK_REALTIME */
void sim_wire_closed(struct sim_server *server); /* it is gone: are all its sockets closed? */

/* --- disk.c --- */
struct sim_disk {
	bool full;     /* no file can grow */
	bool broken;   /* no write succeeds */
	uint64_t slow; /* ns that a flush takes, at most */
	struct sim_file *file[4];
};
struct sim_disk *sim_disk_new(void); /* with an empty state */
/* What is there after a crash. `power`: of what was not flushed only some sectors. The old one stays. */
struct sim_disk *sim_disk_after(struct sim_disk *disk, bool power);
void sim_disk_free(struct sim_disk *disk);
size_t sim_disk_size(const struct sim_disk *disk);
uint64_t sim_disk_took(void);     /* ns that the flushes since the last call took */
void sim_disk_takes(uint64_t ns); /* something else took so long */

/* --- server.c --- */
bool sim_server_start(struct sim_server *server);
void sim_server_stop(struct sim_server *server); /* as systemd does it */
void sim_server_kill(struct sim_server *server, bool power);
void sim_server_bury(struct sim_server *server); /* one that died within an event */
void sim_server_reload(struct sim_server *server);
bool sim_is_stalled(const struct sim_server *server);
enum sim_mode { SIM_DOWN, SIM_WAITING, SIM_ALONE, SIM_TOGETHER };
enum sim_mode sim_mode_of(const struct sim_server *server);
void sim_config_load(void);
void sim_server_clear(struct sim_server *server); /* what is in /run is gone */

/* --- pc.c --- */
struct sim_pc {
	uint8_t mac[6];
	uint32_t address;      /* 0: none */
	uint32_t server;       /* who acknowledged it last */
	uint32_t promised;     /* who promised it for so long */
	uint64_t acked, until; /* when it was told last; until when it may use the address */
	uint8_t waits;         /* for that message; 0: for none */
	uint32_t xid;
	uint32_t asked_for;
	uint64_t asked;     /* when it sent its last DISCOVER or REQUEST */
	bool boots_from_us; /* it is one that starts its disk from a server */
	bool running;       /* from its disk */
	uint64_t boots;     /* how often it was started */
	uint64_t turn;      /* of its events only the last one counts */
};
extern struct sim_pc sim_pcs[SIM_PCS];
extern unsigned int sim_pcs_count;
void sim_pcs_start(unsigned int count, uint64_t pace, bool boot);
void sim_pcs_quiet(bool only_ask); /* no more but asking for an address; false: nothing at all */
void sim_pc_hear(unsigned int pc, const void *data, size_t length);
int sim_pc_by_mac(const uint8_t mac[6]); /* -1: none */
int sim_pc_at(uint32_t address);         /* who answers there by ARP; -1: nobody */

void sim_pc_script(unsigned int pc, struct sim_server *server, const char *iqn,
		   const char *secret); /* iqn NULL: not yet */
void sim_pc_cut_off(unsigned int pc);   /* its disk is gone */

/* --- boots.c --- */
void sim_boot_ask(unsigned int pc, const char *file); /* what DHCP told, of the server that told it */
bool sim_boot_knows(struct sim_server *server, const char *iqn);

/* --- kernel.c --- */
void sim_kernel_init(void);
void sim_kernel_power(struct sim_server *server); /* it was cut: all targets are gone */
bool sim_kernel_login(struct sim_server *server, unsigned int pc, const char *iqn, const char *secret);
void sim_kernel_silent(unsigned int pc);                     /* it says nothing any more */
void sim_kernel_check(struct sim_server *server, bool idle); /* idle: nothing is being made */

/* --- check.c --- */
void sim_check_init(bool split, bool bad_cable);       /* the cable may lose, without being cut */
void sim_check_step(void);                             /* after each event */
bool sim_check_excused(uint64_t acked);                /* may two have an address, one of them told it then? */
void sim_check_start(const struct sim_server *server); /* it has just started */
void sim_check_same(void);                             /* both servers know the same, and what the PCs know */
void sim_check_free(void);                             /* no lease is left */

/* --- fault.c --- */
struct sim_plan {
	bool split, probe, registers, targets;
	uint32_t lease; /* s */
	unsigned int addresses, pcs;
	uint64_t pace;       /* ns between two things that a PC does, at the mean */
	uint64_t lasts;      /* ns in which things go wrong */
	unsigned int faults; /* a bit a kind */
	uint64_t every;      /* ns between two faults, at the mean */
};
void sim_plan_make(struct sim_plan *plan, uint64_t lasts);
void sim_faults_start(const struct sim_plan *plan);
void sim_power_lost(struct sim_server *server);      /* it comes again, after a while */
bool sim_plan_is_lossy(const struct sim_plan *plan); /* of the cable */
void sim_faults_end(void);                           /* everything is well again, both servers run */

/* --- rare.c --- */
void sim_rare(const char *name);      /* was reached; one of those in rare.c */
int sim_rare_missing(bool print_all); /* how many were not, over all seeds; told by name */

#endif
