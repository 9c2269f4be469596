/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One transfer. Block numbers have 64 bits here; `acked` is the last block that the client has, `sent` the last one
 * that left; between them at most one window.
 *
 *	RRQ -> (WAITING for the script) -> OFFERED (OACK, acknowledged as block 0) -> SENDING -> end
 *	RRQ without options -> SENDING
 *
 * An acknowledgement of `sent` opens the next window. One below it says that something was lost in the window: the rest
 * is sent again, once for each value, because a client that acknowledges every unexpected block (EDK2) would otherwise
 * have each of them answered by a window. With a window of one block, nothing is ever sent on a duplicate
 * acknowledgement, only on the time-out (the Sorcerer's Apprentice bug, RFC 1123 §4.2.3.1).
 *
 * A transfer that the kernel answers (tftp/fastpath.h) is here as well: what its socket hears is what the programs left
 * to us, and its time-outs are ours.
 */
#include "daemon/tftp/private.h"

#include "daemon/boot/nonce.h"
#include "daemon/core/inet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOAD_AT_ONCE (2 << 20) /* bytes that are read into the fast path's memory while the client waits */
#define LOAD_STEP    (8 << 20)

struct tftp_wait {
	struct tftp_session *session; /* NULL: the transfer ended meanwhile */
};

bool tftp_session_evict(struct tftp_server *server)
{
	for (struct tftp_session *s = server->first; s; s = s->next) {
		if (s->confirmed)
			continue;
		tftp_session_free(s);
		return true;
	}
	return false;
}

void tftp_session_free(struct tftp_session *session)
{
	if (!session)
		return;
	tftp_table_remove(session);
	if (session->in_kernel)
		tftp_fastpath_session_remove(session->server->fast, session->fast_session);
	tftp_fastpath_file_put(session->fast_file);
	if (session->wait)
		session->wait->session = NULL;
	tftp_ready_remove(session);
	loop_source_free(session->timer);
	if (session->fd >= 0)
		close(session->fd);
	tftp_content_done(&session->content);
	free(session);
}

/* One line for each transfer: what became of it. */
static void tell_end(const struct tftp_session *session, const char *how)
{
	struct tftp_server *server = session->server;

	if (log_wanted(LOG_LEVEL_DEBUG))
		log_limited(
			TFTP_DEBUG_BURST, LOG_LEVEL_DEBUG,
			"TFTP: %s:%u, %s of %llu bytes: %s after %llu ms, %llu of %llu blocks of %u, window %u, by %s",
			inet_text(session->client).s, session->client_port, session->request.name,
			(unsigned long long)session->content.size, how,
			(unsigned long long)(loop_now(server->loop) - session->started) / 1000000,
			(unsigned long long)session->acked, (unsigned long long)session->final,
			session->options.blksize_value, session->options.windowsize_value,
			session->fast_file ? "the kernel" : "user space");
}

static void give_up(struct tftp_session *session, enum tftp_error code, const char *text)
{
	tftp_send_error(session->server, session->fd, session->local, session->client, session->client_port, code,
			text);
	tell_end(session, text);
	tftp_session_free(session);
}

/* --- sending ------------------------------------------------------------------------------------------------------ */
/* The time-out is checked when the timer fires, so that progress does not move the timer. */
static void restart_clock(struct tftp_session *session)
{
	session->deadline = loop_now(session->server->loop) + session->timeout;
}

static uint64_t window_end(const struct tftp_session *session)
{
	uint64_t end = session->acked + session->options.windowsize_value;

	return end < session->final ? end : session->final;
}

/* Frees the session when the file was cut short under us. */
static bool send_window(struct tftp_session *session)
{
	uint64_t end = window_end(session);

	if (tftp_send_blocks(session, session->acked + 1, end) < 0) {
		give_up(session, TFTP_ERROR_OTHER, "the file was changed while it was being sent");
		return false;
	}
	session->sent = end;
	restart_clock(session);
	return true;
}

/* --- the kernel's part -------------------------------------------------------------------------------------------- */
/*
 * A file on its way into the fast path's memory, by a helper. The fast path must not be freed while one is read, and a
 * load that has not begun must not begin afterwards: so each has a state that both threads change.
 */
enum { LOAD_QUEUED, LOAD_RUNNING, LOAD_OVER };

struct tftp_load {
	struct tftp_server *server; /* NULL: it has lost interest */
	struct tftp_load *next;
	struct tftp_fastpath_file *file;
	_Atomic int state;
};

static int load_work(void *arg)
{
	struct tftp_load *load = arg;
	int queued = LOAD_QUEUED, r;

	if (!atomic_compare_exchange_strong(&load->state, &queued, LOAD_RUNNING))
		return -ECANCELED;
	do
		r = tftp_fastpath_file_load(load->file, LOAD_STEP);
	while (r > 0);
	atomic_store(&load->state, LOAD_OVER);
	return r;
}

static void load_unlink(struct tftp_load *load)
{
	struct tftp_load **p = &load->server->loads;

	while (*p != load)
		p = &(*p)->next;
	*p = load->next;
	tftp_fastpath_file_put(load->file);
	load->server = NULL;
}

static void load_done(void *arg, int result)
{
	struct tftp_load *load = arg;

	(void)result; /* session_add() says whether it is there now */
	if (load->server)
		load_unlink(load);
	free(load);
}

void tftp_loads_stop(struct tftp_server *server)
{
	static const struct timespec moment = {.tv_nsec = 1000000};

	while (server->loads) {
		struct tftp_load *load = server->loads;
		int queued = LOAD_QUEUED;

		if (!atomic_compare_exchange_strong(&load->state, &queued, LOAD_OVER))
			while (atomic_load(&load->state) != LOAD_OVER)
				nanosleep(&moment, NULL);
		load_unlink(load);
	}
}

/* Large files are read by a helper; until then user space serves the transfer. */
static void load_later(struct tftp_session *session)
{
	struct tftp_server *server = session->server;
	struct tftp_load *load = calloc(1, sizeof(*load));

	if (!load)
		return;
	if (tftp_fastpath_file_get(server->fast, session->content.fd, loop_now(server->loop), &load->file) < 0) {
		free(load);
		return;
	}
	load->server = server;
	load->next = server->loads;
	server->loads = load;
	if (loop_work(server->loop, load_work, load_done, load) < 0)
		load_done(load, -ENOMEM);
	else
		session->fast_loading = true;
}

static void fast_prepare(struct tftp_session *session)
{
	struct tftp_server *server = session->server;
	int r;

	if (!server->fast || session->content.fd < 0 ||
	    tftp_fastpath_tier(server->fast, session->ifindex) == TFTP_FASTPATH_TIER_USER)
		return;
	if (tftp_fastpath_file_get(server->fast, session->content.fd, loop_now(server->loop), &session->fast_file) <
	    0) {
		session->fast_file = NULL;
		return;
	}
	if (session->content.size > LOAD_AT_ONCE) {
		load_later(session);
		return;
	}
	do
		r = tftp_fastpath_file_load(session->fast_file, LOAD_AT_ONCE);
	while (r > 0);
}

static void fast_add(struct tftp_session *session)
{
	struct tftp_server *server = session->server;
	struct tftp_fastpath_transfer transfer = {
		.client = session->client,
		.server = session->local,
		.client_port = session->client_port,
		.server_port = session->local_port,
		.ifindex = session->ifindex,
		.blksize = (uint16_t)session->options.blksize_value,
		.windowsize = (uint16_t)session->options.windowsize_value,
		.sent = (uint32_t)session->sent,
		.now = loop_now(server->loop),
	};
	int r;

	if (!session->fast_file || session->in_kernel || session->final > UINT32_MAX)
		return;
	r = tftp_fastpath_session_add(server->fast, &transfer, session->fast_file, &session->fast_session);
	session->in_kernel = r >= 0;
	if (r >= 0 || (r == -EAGAIN && session->fast_loading))
		return;
	/* Not this one, and not later either. */
	tftp_fastpath_file_put(session->fast_file);
	session->fast_file = NULL;
}

/* Takes over what the kernel has sent, so that what follows can treat the packet as if we had. */
static void fast_pause(struct tftp_session *session)
{
	uint64_t last, w = session->options.windowsize_value;
	uint32_t sent;

	if (!session->in_kernel)
		return;
	sent = tftp_fastpath_session_pause(session->server->fast, session->fast_session, &last);
	if (sent > session->sent) {
		session->sent = sent;
		session->acked = sent > w ? sent - w : 0;
		session->confirmed = true;
		session->retries = 0;
		if (last + session->timeout > session->deadline)
			session->deadline = last + session->timeout;
	}
}

static void fast_resume(struct tftp_session *session)
{
	struct tftp_server *server = session->server;

	if (session->in_kernel)
		tftp_fastpath_session_resume(server->fast, session->fast_session, (uint32_t)session->sent,
					     loop_now(server->loop));
}

void tftp_session_leave_kernel(struct tftp_session *session)
{
	fast_pause(session);
	if (session->in_kernel)
		tftp_fastpath_session_remove(session->server->fast, session->fast_session);
	session->in_kernel = false;
	tftp_fastpath_file_put(session->fast_file);
	session->fast_file = NULL;
}

/* --- what the client says ----------------------------------------------------------------------------------------- */
static void note_told(const struct tftp_session *session)
{
	struct tftp_server *server = session->server;

	server->told[server->told_next++ % TFTP_TOLD] = (struct tftp_told){
		.client = session->client, .port = session->client_port, .at = loop_now(server->loop)};
}

/*
 * A script that takes a while is asked for again; such a request may still lie in the socket when the answer to the one
 * before it has been taken already. It would begin another boot, whose secret the client, on its way with the first
 * one, does not know.
 */
bool tftp_told_before(const struct tftp_server *server, uint32_t client, uint16_t port)
{
	for (unsigned int i = 0; i < TFTP_TOLD; i++) {
		const struct tftp_told *told = &server->told[i];

		if (told->at && told->client == client && told->port == port &&
		    loop_now(server->loop) - told->at < TFTP_TOLD_NS)
			return true;
	}
	return false;
}

static void on_ack(struct tftp_session *session, uint16_t number)
{
	uint64_t block = tftp_block_unwrap(session->acked, number), before = session->acked;

	if (session->state == TFTP_WAITING || block > session->sent)
		return;
	session->confirmed = true;
	if (session->state == TFTP_OFFERED) {
		session->state = TFTP_SENDING;
	} else if (block == session->acked || block < session->sent) {
		/* Something got lost, or this is a duplicate. */
		if (session->options.windowsize_value == 1 || session->rolled == block)
			return;
		session->rolled = block;
		session->server->stats.retransmits += session->sent - block;
	}
	session->acked = block;
	if (block > before) {
		session->retries = 0;
		session->timeout =
			session->options.timeout ? session->options.timeout_value * 1000000000ull : TFTP_TIMEOUT_NS;
	}
	if (block == session->final) {
		session->server->stats.completed++;
		tell_end(session, "done");
		if (session->script)
			note_told(session);
		tftp_session_free(session);
		return;
	}
	if (session->state == TFTP_SENDING && send_window(session))
		fast_add(session);
}

static void on_error(struct tftp_session *session, uint16_t code)
{
	/* EDK2 asks for the size, is told it, and hangs up with error 8. */
	if (session->state == TFTP_OFFERED && (code == TFTP_ERROR_OPTIONS || code == TFTP_ERROR_OTHER))
		session->server->stats.probed++;
	else
		session->server->stats.aborted++;
	tell_end(session, session->state == TFTP_OFFERED ? "only its size was wanted" : "ended by the client");
	tftp_session_free(session);
}

static void on_answer(struct tftp_session *session, const struct tftp_answer *answer)
{
	struct tftp_server *server = session->server;
	uint32_t client = session->client;
	uint16_t port = session->client_port;

	if (answer->opcode == TFTP_ERROR) {
		on_error(session, answer->code);
		return;
	}
	fast_pause(session);
	on_ack(session, answer->block);
	if (tftp_session_find(server, client, port) == session)
		fast_resume(session);
}

void tftp_session_hear(struct tftp_session *session, const struct sockaddr_in *from, const uint8_t *data, size_t length)
{
	struct tftp_server *server = session->server;
	uint32_t client = ntohl(from->sin_addr.s_addr);
	uint16_t port = ntohs(from->sin_port);
	struct tftp_answer answer;

	if (client != session->client || port != session->client_port) {
		server->stats.strangers++;
		if (ratelimit_take(server->limit, client, loop_now(server->loop)))
			tftp_send_error(server, session->fd, session->local, client, port, TFTP_ERROR_TRANSFER,
					"unknown transfer");
		return;
	}
	if (tftp_answer_parse(&answer, data, length) < 0)
		server->stats.malformed++;
	else
		on_answer(session, &answer);
}

/* --- time --------------------------------------------------------------------------------------------------------- */
static void timed_out(struct tftp_session *session)
{
	struct tftp_server *server = session->server;
	unsigned int most = session->confirmed ? TFTP_RETRIES : TFTP_RETRIES_UNSEEN;

	if (++session->retries > most) {
		server->stats.timed_out++;
		tell_end(session, "the client is silent");
		if (session->confirmed)
			log_limited(5, LOG_LEVEL_INFO,
				    "TFTP: %s fell silent in the middle of %s, at block %llu of %llu",
				    inet_text(session->client).s, session->request.name,
				    (unsigned long long)session->sent, (unsigned long long)session->final);
		tftp_session_free(session);
		return;
	}
	if (session->timeout < TFTP_TIMEOUT_MAX_NS && !session->options.timeout)
		session->timeout *= 2;
	session->rolled = UINT64_MAX;
	if (session->state == TFTP_OFFERED) {
		tftp_send_options(session);
	} else {
		server->stats.retransmits += window_end(session) - session->acked;
		if (!send_window(session))
			return;
	}
	restart_clock(session);
	fast_resume(session);
	loop_timer_set(session->timer, session->deadline);
}

static void on_timer(void *arg)
{
	struct tftp_session *session = arg;
	uint64_t now = loop_now(session->server->loop), last = 0;

	if (session->in_kernel) {
		tftp_fastpath_session_peek(session->server->fast, session->fast_session, &last);
		if (last + session->timeout > session->deadline)
			session->deadline = last + session->timeout;
	}
	if (session->state == TFTP_WAITING) {
		/* boot_script() always answers; the client asks again by itself meanwhile. */
		loop_timer_set(session->timer, now + session->timeout);
		return;
	}
	if (session->deadline <= now) {
		fast_pause(session);
		if (session->deadline <= now) {
			timed_out(session);
			return;
		}
		fast_resume(session);
	}
	loop_timer_set(session->timer, session->deadline);
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */
static uint32_t blksize_max(const struct tftp_session *session)
{
	const struct netif_link *link = netif_link_by_index(session->server->netif, session->ifindex);
	uint32_t most = session->server->config->tftp_blksize_max,
		 path = link && link->mtu > 64 ? link->mtu - 32 : most;

	return path < most ? path : most;
}

/* The content is there: say what it is, or begin. */
static void begin(struct tftp_session *session)
{
	struct tftp_server *server = session->server;
	uint32_t window = server->config->tftp_windowsize_max ? server->config->tftp_windowsize_max : 1;

	tftp_options_grant(&session->options, &session->request, blksize_max(session), window, session->content.size);
	if (session->options.timeout)
		session->timeout = session->options.timeout_value * 1000000000ull;
	session->final = session->content.size / session->options.blksize_value + 1;
	restart_clock(session);
	loop_timer_set(session->timer, session->deadline);
	if (tftp_options_any(&session->options)) {
		session->state = TFTP_OFFERED;
		fast_prepare(session);
		tftp_send_options(session);
	} else {
		session->state = TFTP_SENDING;
		if (send_window(session))
			fast_prepare(session);
	}
}

static void on_script(void *arg, const char *text, uint32_t length)
{
	struct tftp_wait *wait = arg;
	struct tftp_session *session = wait->session;
	int r;

	free(wait);
	if (!session)
		return;
	session->wait = NULL;
	r = tftp_content_text(&session->content, text, length, session->request.netascii);
	if (r < 0)
		give_up(session, TFTP_ERROR_OTHER, "no memory");
	else
		begin(session);
}

static int ask_for_script(struct tftp_session *session, const char *nonce)
{
	struct boot_ask ask = {.address = session->client, .server = session->local, .nonce = nonce, .tftp = true};
	struct tftp_wait *wait = calloc(1, sizeof(*wait));

	if (!wait)
		return -ENOMEM;
	wait->session = session;
	session->wait = wait;
	session->state = TFTP_WAITING;
	session->script = true;
	loop_timer_set(session->timer, loop_now(session->server->loop) + session->timeout);
	boot_script(session->server->boot, &ask, on_script, wait);
	return 0;
}

static int open_socket(struct tftp_session *session)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(session->local)};
	socklen_t length = sizeof(at);
	int size = 1 << 20;

	session->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (session->fd < 0 || bind(session->fd, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    getsockname(session->fd, (struct sockaddr *)&at, &length) < 0)
		return -errno;
	session->local_port = ntohs(at.sin_port);
	setsockopt(session->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return 0;
}

static int open_content(struct tftp_session *session)
{
	struct tftp_server *server = session->server;
	char nonce[BOOT_NONCE_MAX];
	int r;

	if (boot_script_path(session->request.name, "boot.ipxe", nonce))
		return ask_for_script(session, nonce);
	r = tftp_content_open(&session->content, server->root_fd, session->request.name, session->request.netascii);
	if (r < 0)
		return r;
	boot_tftp_started(server->boot, session->client, session->request.name);
	begin(session);
	return 0;
}

int tftp_session_new(struct tftp_server *server, const struct tftp_request *request, uint32_t client,
		     uint16_t client_port, uint32_t local, int ifindex)
{
	struct tftp_session *session = calloc(1, sizeof(*session));
	int r;

	if (!session)
		return -ENOMEM;
	session->server = server;
	session->client = client;
	session->client_port = client_port;
	session->local = local;
	session->ifindex = ifindex;
	session->fd = session->content.fd = -1;
	session->request = *request;
	session->rolled = UINT64_MAX;
	session->started = loop_now(server->loop);
	session->timeout = TFTP_TIMEOUT_NS;
	tftp_table_add(session);
	r = open_socket(session);
	if (!r)
		r = tftp_ready_add(session);
	if (!r)
		r = loop_add_timer(server->loop, UINT64_MAX, on_timer, session, &session->timer);
	if (!r)
		r = open_content(session);
	if (r < 0)
		tftp_session_free(session);
	return r;
}

static bool same_request(const struct tftp_request *a, const struct tftp_request *b)
{
	return a->netascii == b->netascii && !strcmp(a->name, b->name) && a->has_blksize == b->has_blksize &&
	       a->blksize == b->blksize && a->has_windowsize == b->has_windowsize && a->windowsize == b->windowsize &&
	       a->has_tsize == b->has_tsize && a->has_timeout == b->has_timeout && a->timeout == b->timeout;
}

enum tftp_repeat tftp_session_repeated(struct tftp_session *session, const struct tftp_request *request)
{
	if (!same_request(&session->request, request))
		return TFTP_REPEAT_RESTART;
	if (session->state == TFTP_WAITING)
		return TFTP_REPEAT_ABSORBED;
	if (!session->confirmed) {
		/* Our first answer was lost, or is slow. */
		if (session->state == TFTP_OFFERED)
			tftp_send_options(session);
		return TFTP_REPEAT_ABSORBED;
	}
	return loop_now(session->server->loop) - session->started < TFTP_REPEAT_NS ? TFTP_REPEAT_ABSORBED
										   : TFTP_REPEAT_RESTART;
}
