/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events in order of their time, of the same time in the order in which they were made: that, and one stream of random
 * numbers, makes a seed the same room each time. Whatever the daemon asks the machine for (clocks, random numbers) is
 * answered here; the linker leads its calls to the __wrap_ functions.
 */
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "daemon/core/clock.h"

#define SINCE_1970 1700000000ll /* s, when the room begins */
#define TAIL       2000         /* lines that are kept */
#define LINE       200

struct event {
	uint64_t when, order;
	sim_event_fn fn;
	void *arg, *data;
};

uint64_t sim_now;
bool sim_loud;
char sim_failed[400];
static struct event *heap;
static size_t events, room;
static uint64_t order, chance[2], sum;
static char (*tail)[LINE];
static uint64_t lines;

/* --- chance ------------------------------------------------------------------------------------------------------- */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

uint64_t sim_random(void)
{
	return mix(chance[0] += chance[1]);
}

uint64_t sim_below(uint64_t n)
{
	return n ? sim_random() % n : 0;
}

uint64_t sim_between(uint64_t from, uint64_t to)
{
	return from + sim_below(to - from + 1);
}

bool sim_chance(unsigned int permille)
{
	return sim_below(1000) < permille;
}

/* --- the trace ---------------------------------------------------------------------------------------------------- */
void sim_say(const char *format, ...)
{
	char *line = tail[lines++ % TAIL];
	va_list args;
	int n = snprintf(line, LINE, "%10.4f ", (double)sim_now / (double)S);

	va_start(args, format);
	vsnprintf(line + n, LINE - (size_t)n, format, args);
	va_end(args);
	for (const char *p = line; *p; p++)
		sum = (sum ^ (uint8_t)*p) * 0x100000001b3ull;
	if (sim_loud)
		printf("# %s\n", line);
}

uint64_t sim_trace_sum(void)
{
	return sum;
}

void sim_trace_tail(void)
{
	for (uint64_t i = lines > TAIL ? lines - TAIL : 0; i < lines; i++)
		printf("# %s\n", tail[i % TAIL]);
}

void sim_wrong(const char *format, ...)
{
	va_list args;

	if (sim_failed[0])
		return;
	va_start(args, format);
	vsnprintf(sim_failed, sizeof(sim_failed), format, args);
	va_end(args);
	sim_say("WRONG: %s", sim_failed);
}

/* --- events ------------------------------------------------------------------------------------------------------- */
static bool before(const struct event *a, const struct event *b)
{
	return a->when < b->when || (a->when == b->when && a->order < b->order);
}

void sim_at(uint64_t when, sim_event_fn fn, void *arg, void *data)
{
	struct event e = {when < sim_now ? sim_now : when, order++, fn, arg, data};
	size_t i = events++;

	if (events > room) {
		room = room ? 2 * room : 8192;
		heap = realloc(heap, room * sizeof(*heap));
		if (!heap)
			abort();
	}
	for (; i && before(&e, &heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = e;
}

static struct event take(void)
{
	struct event first = heap[0], last = heap[--events];
	size_t i = 0;

	for (size_t child; (child = 2 * i + 1) < events; i = child) {
		if (child + 1 < events && before(&heap[child + 1], &heap[child]))
			child++;
		if (!before(&heap[child], &last))
			break;
		heap[i] = heap[child];
	}
	heap[i] = last;
	return first;
}

bool sim_step(uint64_t until)
{
	struct event e;

	if (!events || heap[0].when > until) {
		sim_now = until;
		return false;
	}
	e = take();
	sim_now = e.when;
	e.fn(e.arg, e.data);
	free(e.data);
	return true;
}

void sim_time_init(uint64_t seed)
{
	if (!tail)
		tail = calloc(TAIL, LINE);
	if (!tail)
		abort();
	chance[0] = mix(seed + 1);
	chance[1] = 0x9e3779b97f4a7c15ull;
	sim_now = order = lines = 0;
	sum = 0xcbf29ce484222325ull;
	sim_failed[0] = '\0';
}

void sim_time_done(void)
{
	for (size_t i = 0; i < events; i++)
		free(heap[i].data);
	events = 0;
}

/* --- the clocks of a server --------------------------------------------------------------------------------------- */
uint64_t clock_monotonic_ns(void)
{
	return sim_now - (uint64_t)(sim_server ? sim_server->booted : 0);
}

uint64_t clock_boottime_ns(void)
{
	return clock_monotonic_ns();
}

uint64_t clock_realtime_ns(void)
{
	return (uint64_t)SINCE_1970 * CLOCK_NS + sim_now + (uint64_t)(sim_server ? sim_server->wrong : 0);
}

int64_t clock_realtime_s(void)
{
	return (int64_t)(clock_realtime_ns() / CLOCK_NS);
}

bool clock_is_right(void)
{
	return sim_server->ntp;
}

void clock_boot_id(uint8_t ret[16])
{
	uint64_t id[2] = {mix(sim_server->machine), sim_server->n + 1};

	memcpy(ret, id, sizeof(id));
}

struct timespec clock_deadline(uint64_t ns)
{
	uint64_t until = clock_monotonic_ns() + ns;

	return (struct timespec){.tv_sec = (time_t)(until / CLOCK_NS), .tv_nsec = (long)(until % CLOCK_NS)};
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	uint64_t ns = clock == CLOCK_REALTIME ? clock_realtime_ns() : clock_monotonic_ns();

	*ret = (struct timespec){.tv_sec = (time_t)(ns / CLOCK_NS), .tv_nsec = (long)(ns % CLOCK_NS)};
	return 0;
}

time_t __wrap_time(time_t *ret);
time_t __wrap_time(time_t *ret)
{
	time_t now = (time_t)clock_realtime_s();

	if (ret)
		*ret = now;
	return now;
}

ssize_t __wrap_getrandom(void *to, size_t length, unsigned int flags);
ssize_t __wrap_getrandom(void *to, size_t length, unsigned int flags)
{
	uint8_t *p = to;

	(void)flags;
	for (size_t i = 0; i < length; i++)
		p[i] = (uint8_t)sim_random();
	return (ssize_t)length;
}
