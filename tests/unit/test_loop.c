/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop: timers, signals, descriptors, jobs of the pool, in which order. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "daemon/core/loop.h"

struct trace {
	struct loop *loop;
	struct loop_source *source, *other;
	int fd;
	unsigned int calls, limit, length;
	char order[64];
	bool truncated;
	uint8_t last[64];
	struct sockaddr_in from;
	pthread_t thread;
};

static void note(struct trace *t, char c)
{
	size_t n = strlen(t->order);

	if (n < sizeof(t->order) - 1)
		t->order[n] = c;
}

static void stop(void *arg)
{
	struct trace *t = arg;

	loop_stop(t->loop, 7);
}

static void too_late(void *arg)
{
	struct trace *t = arg;

	loop_stop(t->loop, -ETIME);
}

/* Runs until a callback stops the loop; ten seconds are a failure. */
static int run(struct trace *t)
{
	struct loop_source *guard;
	int r;

	if (loop_add_timer(t->loop, loop_now(t->loop) + 10000000000ull, too_late, t, &guard) < 0)
		return -ENOMEM;
	r = loop_run(t->loop);
	loop_source_free(guard);
	return r;
}

static int udp(struct sockaddr_in *at)
{
	socklen_t length = sizeof(*at);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

	memset(at, 0, sizeof(*at));
	at->sin_family = AF_INET;
	at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)at, sizeof(*at)) < 0 || getsockname(fd, (struct sockaddr *)at, &length) < 0)
		abort();
	return fd;
}

static void on_timer_a(void *arg)
{
	note(arg, 'a');
}
static void on_timer_b(void *arg)
{
	note(arg, 'b');
}
static void on_timer_c(void *arg)
{
	note(arg, 'c');
	stop(arg);
}

static void test_loop_timers_in_order_of_time(void)
{
	struct trace t = {0};
	struct loop_source *a, *b, *c, *off;
	uint64_t now;

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	now = loop_now(t.loop);
	CU_ASSERT_EQUAL(loop_add_timer(t.loop, now + 30000000, on_timer_c, &t, &c), 0);
	CU_ASSERT_EQUAL(loop_add_timer(t.loop, now + 90000000, on_timer_a, &t, &a), 0);
	CU_ASSERT_EQUAL(loop_add_timer(t.loop, now + 20000000, on_timer_b, &t, &b), 0);
	CU_ASSERT_EQUAL(loop_add_timer(t.loop, now + 5000000, on_timer_b, &t, &off), 0);
	loop_timer_set(off, UINT64_MAX);
	loop_timer_set(a, now + 10000000);
	CU_ASSERT_EQUAL(run(&t), 7);
	CU_ASSERT_STRING_EQUAL(t.order, "abc");
	loop_source_free(a);
	loop_source_free(b);
	loop_source_free(c);
	loop_source_free(off);
	loop_free(t.loop);
}

static void on_slow(void *arg)
{
	usleep(300000);
	note(arg, 's');
}

/* A round that takes long is seen, in the rounds after it too. */
static void test_loop_tells_its_longest_gap(void)
{
	struct trace t = {0};
	struct loop_source *slow, *end;
	uint64_t now;

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL(loop_longest_gap(t.loop), 0);
	now = loop_now(t.loop);
	CU_ASSERT_EQUAL(loop_add_timer(t.loop, now + 1000000, on_slow, &t, &slow), 0);
	CU_ASSERT_EQUAL(loop_add_timer(t.loop, now + 310000000, on_timer_c, &t, &end), 0);
	CU_ASSERT_EQUAL(run(&t), 7);
	CU_ASSERT_STRING_EQUAL(t.order, "sc");
	CU_ASSERT(loop_longest_gap(t.loop) >= 300000000);
	loop_source_free(slow);
	loop_source_free(end);
	loop_free(t.loop);
}

static uint64_t last_when;
static unsigned int fired;
static void on_many(void *arg)
{
	uint64_t *when = arg;

	CU_ASSERT(*when >= last_when);
	last_when = *when;
	fired++;
}

static void test_loop_many_timers_set_and_freed_at_random(void)
{
	enum { N = 500 };
	struct trace t = {0};
	struct loop_source *timer[N], *end;
	uint64_t when[N], now;
	unsigned int expected = 0;

	srand((unsigned int)unit_seed());
	last_when = fired = 0;
	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	now = loop_now(t.loop);
	for (int i = 0; i < N; i++) {
		when[i] = now + (uint64_t)(rand() % 20000000);
		CU_ASSERT_EQUAL_FATAL(loop_add_timer(t.loop, when[i], on_many, &when[i], &timer[i]), 0);
	}
	for (int i = 0; i < N; i++) {
		if (i % 3 == 0) {
			when[i] = now + (uint64_t)(rand() % 20000000);
			loop_timer_set(timer[i], when[i]);
		}
		if (i % 5 == 0) {
			loop_source_free(timer[i]);
			timer[i] = NULL;
		}
		expected += timer[i] != NULL;
	}
	loop_add_timer(t.loop, now + 30000000, stop, &t, &end);
	CU_ASSERT_EQUAL(run(&t), 7);
	CU_ASSERT_EQUAL(fired, expected);
	for (int i = 0; i < N; i++)
		loop_source_free(timer[i]);
	loop_source_free(end);
	loop_free(t.loop);
}

static void on_datagram(void *arg, const struct loop_datagram *dgram)
{
	struct trace *t = arg;

	t->calls++;
	t->length = dgram->length;
	t->truncated = dgram->truncated;
	memcpy(t->last, dgram->data, dgram->length < sizeof(t->last) ? dgram->length : sizeof(t->last));
	if (dgram->name_length >= sizeof(t->from))
		memcpy(&t->from, dgram->name, sizeof(t->from));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(dgram->control); c; c = CMSG_NXTHDR(dgram->control, c))
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			note(t, 'i');
	if (t->calls == t->limit)
		loop_stop(t->loop, 7);
}

static void test_loop_receives_with_name_and_control(void)
{
	struct trace t = {.limit = 1};
	struct sockaddr_in to, from;
	int a = udp(&to), b = udp(&from);

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL_FATAL(loop_add_recv(t.loop, a, 64, 4, on_datagram, &t, &t.source), 0);
	CU_ASSERT_EQUAL(sendto(b, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
	CU_ASSERT_EQUAL(run(&t), 7);
	CU_ASSERT_EQUAL(t.length, 5);
	CU_ASSERT(!memcmp(t.last, "hello", 5));
	CU_ASSERT_EQUAL(t.from.sin_port, from.sin_port);
	CU_ASSERT_STRING_EQUAL(t.order, "i");
	CU_ASSERT(!t.truncated);
	loop_source_free(t.source);
	loop_free(t.loop);
	close(a);
	close(b);
}

static void test_loop_receives_more_than_it_has_buffers(void)
{
	enum { N = 200 };
	struct trace t = {.limit = N};
	struct sockaddr_in to, from;
	int a = udp(&to), b = udp(&from);

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL_FATAL(loop_add_recv(t.loop, a, 64, 4, on_datagram, &t, &t.source), 0);
	for (uint8_t i = 0; i < N; i++)
		CU_ASSERT_EQUAL(sendto(b, &i, 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	CU_ASSERT_EQUAL(run(&t), 7);
	CU_ASSERT_EQUAL(t.calls, N);
	CU_ASSERT_EQUAL(t.last[0], N - 1);
	loop_source_free(t.source);
	loop_free(t.loop);
	close(a);
	close(b);
}

static void test_loop_marks_a_datagram_that_is_too_long(void)
{
	struct trace t = {.limit = 1};
	struct sockaddr_in to, from;
	char big[1000] = "x";
	int a = udp(&to), b = udp(&from);

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL_FATAL(loop_add_recv(t.loop, a, 64, 4, on_datagram, &t, &t.source), 0);
	sendto(b, big, sizeof(big), 0, (struct sockaddr *)&to, sizeof(to));
	CU_ASSERT_EQUAL(run(&t), 7);
	CU_ASSERT(t.truncated);
	CU_ASSERT(t.length >= 64 && t.length < 128);
	loop_source_free(t.source);
	loop_free(t.loop);
	close(a);
	close(b);
}

static void on_datagram_free(void *arg, const struct loop_datagram *dgram)
{
	struct trace *t = arg;

	on_datagram(arg, dgram);
	loop_source_free(t->source);
	t->source = NULL;
}

static void test_loop_receiver_freed_in_its_callback_hears_no_more(void)
{
	struct trace t = {0};
	struct loop_source *end;
	struct sockaddr_in to, from;
	int a = udp(&to), b = udp(&from);

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL_FATAL(loop_add_recv(t.loop, a, 64, 8, on_datagram_free, &t, &t.source), 0);
	for (int i = 0; i < 5; i++)
		sendto(b, "x", 1, 0, (struct sockaddr *)&to, sizeof(to));
	loop_add_timer(t.loop, loop_now(t.loop) + 30000000, stop, &t, &end);
	CU_ASSERT_EQUAL(run(&t), 7);
	CU_ASSERT_EQUAL(t.calls, 1);
	loop_source_free(end);
	loop_free(t.loop);
	close(a);
	close(b);
}

/* The daemon reopens its sockets on a change of interfaces: the port must be free at once. */
static void test_loop_port_is_free_after_source_free_and_close(void)
{
	struct trace t = {.limit = 1};
	struct sockaddr_in to, from;
	int a = udp(&to), b = udp(&from), again;

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL_FATAL(loop_add_recv(t.loop, a, 64, 4, on_datagram, &t, &t.source), 0);
	sendto(b, "x", 1, 0, (struct sockaddr *)&to, sizeof(to));
	CU_ASSERT_EQUAL(run(&t), 7);
	loop_source_free(t.source);
	close(a);
	again = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CU_ASSERT_EQUAL(bind(again, (struct sockaddr *)&to, sizeof(to)), 0);
	close(again);
	loop_free(t.loop);
	close(b);
}

static void on_pipe(void *arg, uint32_t revents)
{
	struct trace *t = arg;

	CU_ASSERT(revents & POLLIN);
	if (++t->calls == 3) /* twice not read: it must be told again */
		CU_ASSERT_EQUAL(read(t->fd, t->last, 1), 1);
	if (t->calls == 3)
		loop_source_free(t->source);
}

static void test_loop_poll_is_level_triggered_and_may_free_itself(void)
{
	struct trace t = {0};
	struct loop_source *end;
	int fd[2];

	CU_ASSERT_EQUAL_FATAL(pipe(fd), 0);
	t.fd = fd[0];
	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL(loop_add_poll(t.loop, fd[0], POLLIN, on_pipe, &t, &t.source), 0);
	CU_ASSERT_EQUAL(write(fd[1], "ab", 2), 2);
	loop_add_timer(t.loop, loop_now(t.loop) + 30000000, stop, &t, &end);
	CU_ASSERT_EQUAL(run(&t), 7);
	CU_ASSERT_EQUAL(t.calls, 3);
	loop_source_free(end);
	loop_free(t.loop);
	close(fd[0]);
	close(fd[1]);
}

static void on_batch(void *arg)
{
	struct trace *t = arg;

	note(t, 'B');
	if (t->calls == t->limit)
		loop_stop(t->loop, 7);
}

static void on_datagram_batch(void *arg, const struct loop_datagram *dgram)
{
	struct trace *t = arg;

	(void)dgram;
	t->calls++;
	note(t, 'd');
	loop_batch_arm(t->other);
	loop_batch_arm(t->other);
}

static void test_loop_batch_runs_once_after_all_datagrams_of_a_round(void)
{
	struct trace t = {.limit = 5};
	struct sockaddr_in to, from;
	int a = udp(&to), b = udp(&from);

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL(loop_add_batch(t.loop, on_batch, &t, &t.other), 0);
	CU_ASSERT_EQUAL(loop_add_recv(t.loop, a, 64, 8, on_datagram_batch, &t, &t.source), 0);
	for (int i = 0; i < 5; i++)
		sendto(b, "x", 1, 0, (struct sockaddr *)&to, sizeof(to));
	CU_ASSERT_EQUAL(run(&t), 7);
	CU_ASSERT_STRING_EQUAL(t.order, "dddddB");
	loop_source_free(t.source);
	loop_source_free(t.other);
	loop_free(t.loop);
	close(a);
	close(b);
}

static void on_batch_again(void *arg)
{
	struct trace *t = arg;

	note(t, 'B');
	if (++t->calls < 3)
		loop_batch_arm(t->other);
	else
		loop_stop(t->loop, 7);
}

static void test_loop_batch_that_arms_itself_runs_next_round(void)
{
	struct trace t = {0};

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL(loop_add_batch(t.loop, on_batch_again, &t, &t.other), 0);
	loop_batch_arm(t.other);
	CU_ASSERT_EQUAL(run(&t), 7);
	CU_ASSERT_STRING_EQUAL(t.order, "BBB");
	loop_batch_arm(t.other);
	loop_source_free(t.other);
	loop_free(t.loop);
}

static void on_signal(void *arg, int signo)
{
	struct trace *t = arg;

	CU_ASSERT_EQUAL(signo, SIGUSR1);
	loop_stop(t->loop, 7);
}

static void test_loop_signal(void)
{
	struct trace t = {0};

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL_FATAL(loop_add_signal(t.loop, SIGUSR1, on_signal, &t, &t.source), 0);
	kill(getpid(), SIGUSR1);
	CU_ASSERT_EQUAL(run(&t), 7);
	loop_source_free(t.source);
	loop_free(t.loop);
}

static int work(void *arg)
{
	struct trace *t = arg;

	__atomic_store_n(&t->thread, pthread_self(), __ATOMIC_RELAXED); /* of several, the last one */
	return 42;
}

static void work_done(void *arg, int result)
{
	struct trace *t = arg;

	CU_ASSERT_EQUAL(result, 42);
	CU_ASSERT(!pthread_equal(__atomic_load_n(&t->thread, __ATOMIC_RELAXED), pthread_self()));
	if (++t->calls == t->limit)
		loop_stop(t->loop, 7);
}

static void test_loop_work_runs_elsewhere_and_comes_back(void)
{
	struct trace t = {.limit = 20};

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	for (int i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(loop_work(t.loop, work, work_done, &t), 0);
	CU_ASSERT_EQUAL(run(&t), 7);
	CU_ASSERT_EQUAL(t.calls, 20);
	loop_free(t.loop);
}

static void on_wake(void *arg)
{
	struct trace *t = arg;

	if (++t->calls == 1000)
		loop_stop(t->loop, 7);
}

static void *waker(void *arg)
{
	struct trace *t = arg;

	for (int i = 0; i < 1000; i++)
		loop_wake(t->loop, on_wake, t);
	return NULL;
}

static void test_loop_wake_from_another_thread_loses_nothing(void)
{
	struct trace t = {0};
	pthread_t thread;

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, waker, &t), 0);
	CU_ASSERT_EQUAL(run(&t), 7);
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(t.calls, 1000);
	loop_free(t.loop);
}

static void test_loop_free_with_sources_left(void)
{
	struct trace t = {0};
	struct sockaddr_in to;
	struct loop_source *s;
	int a = udp(&to), fd[2];

	CU_ASSERT_EQUAL_FATAL(pipe(fd), 0);
	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL(loop_add_recv(t.loop, a, 64, 8, on_datagram, &t, &s), 0);
	CU_ASSERT_EQUAL(loop_add_poll(t.loop, fd[0], POLLIN, on_pipe, &t, &s), 0);
	CU_ASSERT_EQUAL(loop_add_signal(t.loop, SIGUSR2, on_signal, &t, &s), 0);
	CU_ASSERT_EQUAL(loop_add_timer(t.loop, loop_now(t.loop) + 5000000, stop, &t, &s), 0);
	CU_ASSERT_EQUAL(run(&t), 7);
	loop_free(t.loop);
	loop_free(NULL);
	loop_source_free(NULL);
	close(a);
	close(fd[0]);
	close(fd[1]);
}

static void test_loop_recv_refuses_nonsense_sizes(void)
{
	struct trace t = {0};

	CU_ASSERT_EQUAL_FATAL(loop_new(&t.loop), 0);
	CU_ASSERT_EQUAL(loop_add_recv(t.loop, 0, 0, 4, on_datagram, &t, &t.source), -EINVAL);
	CU_ASSERT_EQUAL(loop_add_recv(t.loop, 0, 70000, 4, on_datagram, &t, &t.source), -EINVAL);
	CU_ASSERT_EQUAL(loop_add_recv(t.loop, 0, 64, 0, on_datagram, &t, &t.source), -EINVAL);
	CU_ASSERT_EQUAL(loop_add_recv(t.loop, 0, 64, 40000, on_datagram, &t, &t.source), -EINVAL);
	loop_free(t.loop);
}

UNIT_MAIN(UNIT(test_loop_timers_in_order_of_time), UNIT(test_loop_tells_its_longest_gap),
	  UNIT(test_loop_many_timers_set_and_freed_at_random), UNIT(test_loop_receives_with_name_and_control),
	  UNIT(test_loop_receives_more_than_it_has_buffers), UNIT(test_loop_marks_a_datagram_that_is_too_long),
	  UNIT(test_loop_receiver_freed_in_its_callback_hears_no_more),
	  UNIT(test_loop_port_is_free_after_source_free_and_close),
	  UNIT(test_loop_poll_is_level_triggered_and_may_free_itself),
	  UNIT(test_loop_batch_runs_once_after_all_datagrams_of_a_round),
	  UNIT(test_loop_batch_that_arms_itself_runs_next_round), UNIT(test_loop_signal),
	  UNIT(test_loop_work_runs_elsewhere_and_comes_back), UNIT(test_loop_wake_from_another_thread_loses_nothing),
	  UNIT(test_loop_free_with_sources_left), UNIT(test_loop_recv_refuses_nonsense_sizes))
