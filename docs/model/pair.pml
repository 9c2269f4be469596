/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rules of the pair on UDP port 66 (daemon/dhcp/peer.h) as a model for Spin: two servers, two PCs, one address, which
 * is in the primary's half. The network loses, delays and repeats what it likes, in each direction by itself; a server may
 * believe the other one dead at any moment, rightly or not; it may be killed at any moment and has its disk afterwards;
 * the PCs ask whom they like, and may give the address back. Time is a few ticks; a lease lasts for LEASE.
 *
 * What must hold, in each state that can be reached:
 *
 *	The leases of both PCs run at the same time only if there was a moment at which each of the two servers was ALONE,
 *	or had been and the other one did not yet have what it had done meanwhile. With -DSPLIT: never.
 *
 * tests/unit/test_pair_model.sh has Spin check that, and that it no longer holds when a rule is left out:
 *
 *	NO_CONFIRM	an ACK does not wait for the other server
 *	NO_WAIT		a server that is heard and does not hear, or that has just begun, answers
 *	SECONDS		changes are told apart by a clock of seconds, as version 1 of the protocol did it
 *	FREE_WINS	of two changes that did not know of each other the free address is kept
 *	OURS_WINS	of two such the primary keeps its own, although the backup made its one ALONE, and told a PC
 *	RELEASED	a server that is ALONE now sends the ACKs that waited for the other one
 *	REFUSED		a change that was refused is confirmed all the same
 *	NEVER		none: that the two leases can run once both were ALONE
 *	AT_ONCE		with SPLIT: TOGETHER, an address goes to another PC as soon as it is free here
 *	REVIVE		with SPLIT: the backup gives an address of the primary's half to its last holder when it has ended
 *
 * With SPLIT and leases that are renewed while ALONE (LEASE=2) Spin does find a way: a message that says when a lease ends
 * comes only after that end, and the lease was renewed meanwhile. So the server wants the end to be SURE_S (60 s, peer.c)
 * before the two last knew the same: that no datagram is on its way for longer is what split = yes relies on.
 *
 * In the model each message holds the lease and what is confirmed, so a confirmation never comes before what it was decided
 * against. Where the two travel apart (peer.c), a change that is older than the own one is not confirmed: the other server
 * says it again until it has the newer one.
 *
 * Left out: how long things take (each order is tried), and so the primary that goes on by itself because leases have not
 * got through for 10 s, the stream of many leases (with one, each message holds it), and
 * the clock, which no rule uses.
 */
#ifndef TICKS
#define TICKS 1
#endif
#ifndef LEASE
#define LEASE 1 /* ticks */
#endif
#ifndef CHANGES
#define CHANGES 3 /* of the lease, by PCs */
#endif
#ifndef DEATHS
#define DEATHS 2 /* times that a server believes the other one dead */
#endif
#ifndef KILLS
#define KILLS 1
#endif

#define WAITING  0
#define ALONE    1
#define TOGETHER 2
#define NOBODY   2

#ifdef SECONDS /* of a change, in place of its version */
#define SECOND byte second;
#define set_second(to, from) to.second = from
#else
#define SECOND
#define set_second(to, from) skip
#endif
#ifdef SPLIT
#define set_sure(x, to) s[x].sure = to
#else
#define set_sure(x, to) skip
#endif

typedef server {
	/* on the disk */
	byte version[2]; /* odd: that change was made ALONE */
	byte who; /* holder, or last holder */
	bool bound;
	byte end;
	SECOND
	/* in memory */
	byte mode;
	byte contact; /* a number for each time that it begins to listen */
	byte hears;   /* the other one's; 0: it does not hear it */
	byte waiting; /* the PC whose ACK waits, */
	byte waiting_end, waiting_for; /* until when its lease runs, and for which of its changes */
	byte has;     /* of the other one's changes, the last one that is confirmed */
	bool sure;    /* the address was free when both knew the same */
	bool solo;    /* has been ALONE, and the other one does not yet have what it did */
}
server s[2];

/* On its way from that server */
typedef message {
	bool there;
	byte contact, hears, has;
	byte version[2];
	byte who, end;
	SECOND
	bool bound;
}
message m[2];

byte now;
byte pc_end[2]; /* the PC's lease runs until then */
byte changes, deaths, kills;
bool both_alone;

#define other(x)   (1 - (x))
#define runs(x)    (s[x].bound && now < s[x].end)
#define most(a, b) ((a) > (b) -> (a) : (b))

inline see_solo() { both_alone = both_alone || (s[0].solo && s[1].solo) }
inline drop_waiting(x) { s[x].waiting = NOBODY; s[x].waiting_end = 0; s[x].waiting_for = 0 }

inline stamp(x, alone) {
	s[x].version[x] = (most(s[x].version[0], s[x].version[1]) / 2 + 1) * 2 + alone;
	set_second(s[x], now + 1);
	set_sure(x, false)
}

/* The ACK that waits leaves, if its lease is still what it says. */
inline ack_waiting(x) {
	if
	:: s[x].waiting != NOBODY && s[x].bound && s[x].who == s[x].waiting ->
		pc_end[s[x].waiting] = most(pc_end[s[x].waiting], s[x].waiting_end)
	:: else
	fi;
	drop_waiting(x)
}

/* --- messages --- */
inline send(x) {
	m[x].there = true;
	m[x].contact = s[x].contact; m[x].hears = s[x].hears; m[x].has = s[x].has;
	m[x].version[0] = s[x].version[0]; m[x].version[1] = s[x].version[1];
	m[x].who = s[x].who; m[x].end = s[x].end; m[x].bound = s[x].bound;
	set_second(m[x], s[x].second)
}

inline forget(x) {
	m[x].there = false;
	m[x].contact = 0; m[x].hears = 0; m[x].has = 0; m[x].version[0] = 0; m[x].version[1] = 0;
	m[x].who = 0; m[x].end = 0; m[x].bound = false;
	set_second(m[x], 0)
}

#define mine(x, i)   s[x].version[i]
#define their(x, i)  m[other(x)].version[i]
#define is_newer(x)  (their(x, 0) >= mine(x, 0) && their(x, 1) >= mine(x, 1))
#define is_older(x)  (their(x, 0) <= mine(x, 0) && their(x, 1) <= mine(x, 1))
#define they_run(x)  (m[other(x)].bound && now < m[other(x)].end)
/* A change that was made TOGETHER, and that the other one did not know of, was told to no PC. */
#ifdef OURS_WINS
#define told_more(x) false
#else
#define told_more(x) (their(x, 1) % 2 && !(mine(x, 0) % 2))
#endif
#ifdef FREE_WINS
#define take_theirs(x) (!they_run(x))
#else
#define take_theirs(x) (they_run(x) && (!runs(x) || s[x].who == m[other(x)].who || told_more(x)))
#endif

inline take(x) {
	s[x].version[0] = their(x, 0); s[x].version[1] = their(x, 1);
	s[x].who = m[other(x)].who; s[x].end = m[other(x)].end; s[x].bound = m[other(x)].bound;
	set_second(s[x], m[other(x)].second);
	set_sure(x, false)
}

inline hear_lease(x) {
#ifdef SECONDS
	if
	:: m[other(x)].second > s[x].second -> take(x)
	:: else
	fi;
	s[x].has = most(s[x].has, their(x, other(x)))
#else
	if
	:: is_older(x) -> skip
	:: is_newer(x) && !is_older(x) -> take(x)
	:: else -> /* neither knew of the other's: the primary decides */
		if
		:: x == 1 -> refused = true
		:: x == 0 && take_theirs(x) ->
			m[1].version[0] = most(their(0, 0), mine(0, 0));
			m[1].end = (runs(0) && s[0].who == m[1].who -> most(s[0].end, m[1].end) : m[1].end);
			take(0);
			stamp(0, their(0, 1) % 2)
		:: else ->
			s[0].version[1] = most(their(0, 1), mine(0, 1));
			stamp(0, mine(0, 0) % 2)
		fi
	fi;
#ifdef REFUSED
	s[x].has = most(s[x].has, their(x, other(x)))
#else
	s[x].has = s[x].version[other(x)]
#endif
#endif
}

bool is_new, refused; /* within this only */
inline hear(x) {
	is_new = s[x].hears != m[other(x)].contact;
	refused = false;
	s[x].hears = m[other(x)].contact;
	if
	:: m[other(x)].hears == s[x].contact -> /* it hears us, and is not ALONE */
		hear_lease(x);
		if
		:: refused && is_new -> s[x].mode = WAITING /* it does not yet have what the other one did */
		:: refused && !is_new -> skip
		:: else -> s[x].mode = TOGETHER
		fi;
		if
		:: !refused && m[other(x)].contact == s[other(x)].contact -> s[other(x)].solo = false
		:: else
		fi;
		if
		:: s[x].waiting != NOBODY && m[other(x)].has >= s[x].waiting_for -> ack_waiting(x)
		:: else
		fi;
		if /* both know the same */
		:: m[other(x)].has >= mine(x, x) -> set_sure(x, !runs(x))
		:: else
		fi
	:: else ->
#ifndef NO_WAIT
		s[x].mode = WAITING;
#endif
		drop_waiting(x)
	fi;
	is_new = false;
	refused = false
}

/* --- PCs --- */
#define never(x) (s[x].version[0] + s[x].version[1] == 0)
#ifdef AT_ONCE
#define knows_free(x) (s[x].mode == TOGETHER || never(x) || s[x].sure)
#else
#define knows_free(x) (never(x) || s[x].sure)
#endif
#ifdef REVIVE
#define backup_may(pc) (s[1].who == pc)
#else
#define backup_may(pc) (s[1].who == pc && runs(1))
#endif
#ifdef SPLIT
#define may(x, pc) ((x == 0 && (s[0].who == pc || (!runs(0) && knows_free(0)))) || (x == 1 && backup_may(pc)))
#else
#define may(x, pc) (!runs(x) || s[x].who == pc)
#endif

inline give(x, pc) {
	s[x].who = pc; s[x].bound = true; s[x].end = now + LEASE;
	stamp(x, (s[x].mode == ALONE -> 1 : 0));
	changes++;
	s[x].waiting = pc; s[x].waiting_end = s[x].end; s[x].waiting_for = mine(x, x);
	if
#ifdef NO_CONFIRM
	:: true -> ack_waiting(x)
#else
	:: s[x].mode == ALONE -> ack_waiting(x)
	:: else
#endif
	fi
}

/* The PC gives its address back, and waits for no ACK any more. */
inline release(x, pc) {
	s[x].bound = false;
	stamp(x, (s[x].mode == ALONE -> 1 : 0));
	changes++;
	pc_end[pc] = 0;
	if :: s[0].waiting == pc -> drop_waiting(0) :: else fi;
	if :: s[1].waiting == pc -> drop_waiting(1) :: else fi
}

/* --- what befalls a server --- */
inline die(x) { /* nothing is heard of the other one */
	deaths++;
	s[x].hears = 0; s[x].contact++; s[x].mode = ALONE; s[x].solo = true;
	see_solo();
#ifdef RELEASED
	ack_waiting(x);
#endif
	drop_waiting(x)
}

inline killed(x) {
	kills++;
	s[x].hears = 0; s[x].contact++;
	set_sure(x, false);
#ifdef NO_WAIT
	s[x].mode = ALONE;
#else
	s[x].mode = WAITING;
#endif
	drop_waiting(x)
}

#define asks(x, pc)     changes < CHANGES && s[x].mode != WAITING && may(x, pc)
#define releases(x, pc) changes < CHANGES && runs(x) && s[x].who == pc && now < pc_end[pc]
#define server_steps(x) \
	:: d_step { send(x) } \
	:: d_step { m[other(x)].there -> hear(x); forget(other(x)) } \
	:: d_step { m[other(x)].there -> hear(x) } /* and it comes again */ \
	:: d_step { asks(x, 0) -> give(x, 0) } \
	:: d_step { asks(x, 1) -> give(x, 1) } \
	:: d_step { releases(x, 0) -> release(x, 0) } \
	:: d_step { releases(x, 1) -> release(x, 1) } \
	:: d_step { deaths < DEATHS && s[x].mode != ALONE -> die(x) } \
	:: d_step { kills < KILLS -> killed(x) }

init {
	d_step {
		s[0].contact = 1; s[1].contact = 1; s[0].who = NOBODY; s[1].who = NOBODY;
		s[0].waiting = NOBODY; s[1].waiting = NOBODY
	}
	do
	server_steps(0)
	server_steps(1)
	:: d_step { now < TICKS -> now++ }
	:: d_step { now < pc_end[0] && now < pc_end[1] ->
#if defined(SPLIT) || defined(NEVER)
		assert(false)
#else
		assert(both_alone)
#endif
	   }
	od
}
