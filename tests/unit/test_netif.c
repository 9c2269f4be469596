/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs in a network namespace of its own; skipped where that is not allowed. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <sched.h>

#include "daemon/core/netif.h"

struct world {
	struct loop *loop;
	struct netif *netif;
	struct netif_watch *watch, *other;
	unsigned int changes, wanted;
	bool (*until)(struct world *world);
};

static void too_late(void *arg)
{
	struct world *w = arg;

	loop_stop(w->loop, -ETIME);
}

static void on_change(void *arg)
{
	struct world *w = arg;

	w->changes++;
	if (w->until && w->until(w))
		loop_stop(w->loop, 7);
}

static int run(struct world *w)
{
	struct loop_source *guard;
	int r;

	if (loop_add_timer(w->loop, loop_now(w->loop) + 10000000000ull, too_late, w, &guard) < 0)
		return -ENOMEM;
	r = loop_run(w->loop);
	loop_source_free(guard);
	return r;
}

static void begin(struct world *w)
{
	CU_ASSERT_EQUAL_FATAL(loop_new(&w->loop), 0);
	CU_ASSERT_EQUAL_FATAL(netif_new(&w->netif, w->loop), 0);
	CU_ASSERT_EQUAL_FATAL(netif_watch_add(w->netif, on_change, w, &w->watch), 0);
}

static void end(struct world *w)
{
	netif_watch_free(w->watch);
	netif_free(w->netif);
	loop_free(w->loop);
}

static void ip(const char *command)
{
	CU_ASSERT_EQUAL_FATAL(system(command), 0);
}

static void test_netif_reads_links_and_addresses(void)
{
	struct world w = {0};
	const struct netif_link *link;
	const struct netif_address *address;

	ip("ip link add va type veth peer name vb && ip link set va address 02:00:00:00:00:0a mtu 1400 up &&"
	   "ip link set vb up && ip addr add 192.0.2.1/24 brd + dev va && ip addr add 192.0.2.9/24 dev va &&"
	   "ip addr add 198.51.100.1/30 dev va");
	begin(&w);
	link = netif_link_by_name(w.netif, "va");
	CU_ASSERT_PTR_NOT_NULL_FATAL(link);
	CU_ASSERT_EQUAL(link->mtu, 1400);
	CU_ASSERT_EQUAL(link->mac[5], 0x0a);
	CU_ASSERT(link->up && link->running && !link->loopback);
	CU_ASSERT_PTR_EQUAL(netif_link_by_index(w.netif, link->index), link);
	CU_ASSERT_PTR_NULL(netif_link_by_name(w.netif, "nosuch"));
	CU_ASSERT(netif_link_at(w.netif, 0)->loopback);
	address = netif_address_at(w.netif, link->index, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(address);
	CU_ASSERT_EQUAL(address->address, 0xc0000201);
	CU_ASSERT_EQUAL(address->prefix, 24);
	CU_ASSERT_EQUAL(address->broadcast, 0xc00002ff);
	address = netif_address_in(w.netif, link->index, 0xc6336400, 30);
	CU_ASSERT_PTR_NOT_NULL_FATAL(address);
	CU_ASSERT_EQUAL(address->address, 0xc6336401);
	CU_ASSERT_PTR_NULL(netif_address_in(w.netif, link->index + 1, 0xc6336400, 30));
	CU_ASSERT_PTR_NULL(netif_address_in(w.netif, 0, 0x0a000000, 8));
	CU_ASSERT_PTR_NOT_NULL(netif_address_own(w.netif, 0xc0000209));
	CU_ASSERT_PTR_NULL(netif_address_own(w.netif, 0xc0000208));
	end(&w);
}

static bool has_new_address(struct world *w)
{
	return netif_address_own(w->netif, 0xc0000222);
}

static bool is_gone(struct world *w)
{
	return !netif_link_by_name(w->netif, "va");
}

static bool has_mtu(struct world *w)
{
	return netif_link_by_name(w->netif, "va")->mtu == 1300;
}

static bool is_down(struct world *w)
{
	return !netif_link_by_name(w->netif, "va")->running;
}

static void test_netif_follows_changes(void)
{
	struct world w = {.until = has_new_address};

	begin(&w);
	ip("ip addr add 192.0.2.34/24 dev va");
	CU_ASSERT_EQUAL(run(&w), 7);
	w.until = has_mtu;
	ip("ip link set va mtu 1300");
	CU_ASSERT_EQUAL(run(&w), 7);
	w.until = is_down;
	ip("ip link set vb down");
	CU_ASSERT_EQUAL(run(&w), 7);
	w.until = is_gone;
	ip("ip link del va");
	CU_ASSERT_EQUAL(run(&w), 7);
	CU_ASSERT_PTR_NULL(netif_address_own(w.netif, 0xc0000222));
	end(&w);
}

static void free_watches(void *arg)
{
	struct world *w = arg;

	netif_watch_free(w->other);
	netif_watch_free(w->watch);
	w->watch = w->other = NULL;
	w->changes++;
	loop_stop(w->loop, 7);
}

static void test_netif_watch_may_free_itself_and_others(void)
{
	struct world w = {0};

	begin(&w);
	netif_watch_free(w.watch);
	CU_ASSERT_EQUAL(netif_watch_add(w.netif, free_watches, &w, &w.watch), 0);
	CU_ASSERT_EQUAL(netif_watch_add(w.netif, free_watches, &w, &w.other), 0);
	ip("ip link add vc type veth peer name vd");
	CU_ASSERT_EQUAL(run(&w), 7);
	CU_ASSERT_EQUAL(w.changes, 1);
	end(&w);
}

static const struct unit_case cases[] = {
	UNIT(test_netif_reads_links_and_addresses),
	UNIT(test_netif_follows_changes),
	UNIT(test_netif_watch_may_free_itself_and_others),
};

int main(int argc, char **argv)
{
	if (unshare(CLONE_NEWNET) < 0 || system("command -v ip >/dev/null && ip link set lo up") != 0) {
		printf("1..0 # SKIP needs root (a network namespace of its own) and iproute2\n");
		return 77;
	}
	return unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
