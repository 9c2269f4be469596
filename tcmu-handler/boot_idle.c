// SPDX-License-Identifier: GPL-2.0-or-later
/* When a boot is over: boot_idle.h says what counts. Called for each command that ends, so it takes no lock. */
#include <stdbool.h>

#include "tcmu-handler/boot_idle.h"

static uint64_t get(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void boot_ends(struct stats_disk *s, uint64_t real)
{
	uint64_t none = 0;

	__atomic_compare_exchange_n(&s->boot_end_ns, &none, real, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void boot_idle_note(struct stats_disk *s, uint64_t *last, uint64_t start, uint64_t now, uint64_t real)
{
	uint64_t before, gap, longest;

	if (get(&s->boot_end_ns) || !get(&s->first_read_ns))
		return;
	before = __atomic_exchange_n(last, now, __ATOMIC_RELAXED);
	gap = before && start > before ? start - before : 0;
	if (gap >= STATS_SILENCE_NS) {
		boot_ends(s, real - (now - before));
		return;
	}
	if (real - get(&s->first_read_ns) >= STATS_BOOT_NS) {
		boot_ends(s, real);
		return;
	}
	if (gap < STATS_GAP_NS)
		return;
	__atomic_fetch_add(&s->boot_gaps, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&s->boot_gap_ns, gap, __ATOMIC_RELAXED);
	longest = get(&s->boot_gap_longest_ns);
	while (gap > longest && !__atomic_compare_exchange_n(&s->boot_gap_longest_ns, &longest, gap, false,
							     __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void boot_idle_reset(struct stats_disk *s)
{
	__atomic_store_n(&s->boot_gaps, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&s->boot_gap_ns, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&s->boot_gap_longest_ns, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&s->boot_end_ns, 0, __ATOMIC_RELAXED);
}
