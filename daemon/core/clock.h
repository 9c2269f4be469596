/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's clocks (clock_gettime(2)), for everybody who is not on the loop, where loop_now() is at hand. */
#ifndef BOOTWELL_CLOCK_H
#define BOOTWELL_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define CLOCK_NS 1000000000ull /* of a second */

uint64_t clock_monotonic_ns(void); /* never goes back; stands still while the machine sleeps */
uint64_t clock_boottime_ns(void);  /* the same, and goes on while it sleeps */
uint64_t clock_realtime_ns(void);  /* since 1970; a person or NTP may set it to anything */
int64_t clock_realtime_s(void);
bool clock_is_right(void); /* somebody who knows what time it is (NTP, PTP) has told the kernel: adjtimex(2) */

/* Which boot of the machine this is: a random number that the kernel makes (random(4)). All 0: it cannot be read. */
void clock_boot_id(uint8_t ret[16]);

/* The moment in `ns` from now, by CLOCK_MONOTONIC: for a pthread condition that was made to wait by that clock. */
struct timespec clock_deadline(uint64_t ns);

#endif
