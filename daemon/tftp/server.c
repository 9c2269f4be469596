/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests. What a stranger can make us do is bounded: requests a second from one address, transfers at once (when the
 * table is full, the oldest one that nobody has confirmed makes way, so a flood of spoofed requests does not lock PCs
 * out), answers to an address that never answered. Only requests to one of our own unicast addresses are served.
 */
#include "daemon/core/datagram.h"
#include "daemon/core/udp.h"
#include "daemon/tftp/private.h"
#include "daemon/core/inet.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define NS            1000000000ull
#define RECV_BUFFERS  256
#define SOCKET_BUFFER (1 << 20) /* bytes */

const char *tftp_path_name(enum tftp_path path)
{
	static const char *const name[TFTP_PATHS] = {"user", "tc", "xdp"};

	return (unsigned int)path < TFTP_PATHS ? name[path] : "?";
}

/* --- requests ----------------------------------------------------------------------------------------------------- */
static void refuse(struct tftp_server *server, const struct datagram_addresses *asked, enum tftp_error code,
		   const char *text, const char *name)
{
	tftp_send_error(server, server->fd, asked->local, asked->source, asked->source_port, code, text);
	log_limited(5, LOG_LEVEL_INFO, "TFTP: %s asks for %s: %s", inet_text(asked->source).s, name, text);
}

static bool make_room(struct tftp_server *server)
{
	if (server->stats.sessions < server->config->tftp_sessions_max)
		return true;
	server->stats.limited++;
	log_limited(
		1, LOG_LEVEL_WARNING,
		"TFTP: %u transfers at once, as many as [tftp] sessions allows; the oldest unanswered one makes way",
		server->stats.sessions);
	return tftp_session_evict(server);
}

static void serve(struct tftp_server *server, const struct datagram_addresses *asked,
		  const struct tftp_request *request)
{
	struct tftp_session *session = tftp_session_find(server, asked->source, asked->source_port);
	const char *text;
	enum tftp_error code;
	int r;

	if (session) {
		server->stats.repeated++;
		if (tftp_session_repeated(session, request) == TFTP_REPEAT_ABSORBED)
			return;
		tftp_session_free(session);
	} else if (tftp_told_before(server, asked->source, asked->source_port)) {
		server->stats.repeated++;
		return;
	}
	if (request->write) {
		refuse(server, asked, TFTP_ERROR_ACCESS, "this server only sends", request->name);
		return;
	}
	if (!make_room(server)) {
		refuse(server, asked, TFTP_ERROR_OTHER, "server is busy, try again", request->name);
		return;
	}
	r = tftp_session_new(server, request, asked->source, asked->source_port, asked->local, asked->ifindex);
	if (r == 0)
		return;
	code = tftp_content_error(r, &text);
	refuse(server, asked, code, text, request->name);
}

void tftp_server_hear(void *arg, const struct loop_datagram *dgram)
{
	struct tftp_server *server = arg;
	struct tftp_request request;
	struct datagram_addresses asked;
	int r;

	if (dgram->truncated || !datagram_addresses(dgram, &asked) || !asked.source || !asked.source_port ||
	    !netif_address_own(server->netif, asked.local)) {
		server->stats.malformed++;
		return;
	}
	if (!ratelimit_take(server->limit, asked.source, loop_now(server->loop))) {
		server->stats.limited++;
		return;
	}
	r = tftp_request_parse(&request, dgram->data, dgram->length);
	if (r == -EOPNOTSUPP) {
		server->stats.requests++;
		refuse(server, &asked, TFTP_ERROR_OPERATION, "mode is neither octet nor netascii", request.name);
	} else if (r < 0) {
		server->stats.malformed++;
	} else {
		server->stats.requests++;
		serve(server, &asked, &request);
	}
}

/* --- sockets and folders ------------------------------------------------------------------------------------------ */
const char *tftp_server_problem(const struct tftp_server *server, unsigned int n)
{
	return problems_at(&server->problems, n);
}

static void close_socket(struct tftp_server *server)
{
	loop_source_free(server->recv);
	server->recv = NULL;
	if (server->fd >= 0)
		close(server->fd);
	server->fd = -1;
}

static void sync_socket(struct tftp_server *server)
{
	const struct config *c = server->config;
	int r;

	if (server->fd >= 0 && (!c->tftp || server->port != c->tftp_port))
		close_socket(server);
	if (!c->tftp || server->fd >= 0)
		return;
	r = udp_open(&(struct udp_server){.port = c->tftp_port, .receive = SOCKET_BUFFER});
	if (r >= 0) {
		server->fd = r;
		server->port = c->tftp_port;
		r = loop_add_recv(server->loop, server->fd, TFTP_REQUEST_MAX + 1, RECV_BUFFERS, tftp_server_hear,
				  server, &server->recv);
		if (r < 0)
			close_socket(server);
	}
	if (r < 0)
		udp_problem(&server->problems, "TFTP is not served", c->tftp_port, r);
}

static void sync_root(struct tftp_server *server)
{
	const struct config *c = server->config;
	int fd;

	if (!c->tftp)
		return;
	fd = open(c->tftp_root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		problems_add(
			&server->problems,
			"TFTP has no files: the folder %s cannot be opened: %s; install the package ipxe or set [tftp] "
			"root",
			c->tftp_root, strerror(errno));
		return;
	}
	if (server->root_fd >= 0)
		close(server->root_fd);
	server->root_fd = fd;
}

/* --- the fast path's links ---------------------------------------------------------------------------------------- */
/* Those that a subnet names; all that have an address when none does. */
static bool is_of_interest(const struct tftp_server *server, const struct netif_link *link)
{
	const struct config *c = server->config;
	bool named = false;

	for (size_t i = 0; i < c->subnets; i++) {
		if (*c->subnet[i].interface && !strcmp(c->subnet[i].interface, link->name))
			return true;
		named |= *c->subnet[i].interface;
	}
	return !named && netif_address_at(server->netif, link->index, 0);
}

bool tftp_server_link(const struct tftp_server *server, unsigned int n, struct tftp_link *ret)
{
	const struct netif_link *link;

	for (size_t i = 0; server->config->tftp && (link = netif_link_at(server->netif, i)); i++) {
		if (link->loopback || !is_of_interest(server, link) || n--)
			continue;
		ret->interface = link->name;
		ret->path = tftp_fastpath_tier_name(tftp_fastpath_tier(server->fast, link->index));
		ret->why = tftp_fastpath_why(server->fast, link->index);
		return true;
	}
	return false;
}

static void sync_links(struct tftp_server *server)
{
	const struct netif_link *link;

	for (size_t i = 0; server->fast && (link = netif_link_at(server->netif, i)); i++) {
		if (!link->loopback && link->up && is_of_interest(server, link))
			tftp_fastpath_attach(server->fast, link->index);
	}
}

static void open_fastpath(struct tftp_server *server)
{
	const struct config *c = server->config;
	struct tftp_fastpath_config fast = {
		.memory = c->tftp_fastpath_memory,
		.sessions_max = c->tftp_sessions_max > 65536 ? 65536 : c->tftp_sessions_max,
	};
	int r = tftp_fastpath_mode_parse(c->tftp_fastpath, &fast.mode);

	if (r < 0 || !c->tftp || fast.mode == TFTP_FASTPATH_OFF)
		return;
	r = tftp_fastpath_new(&server->fast, &fast);
	if (r >= 0)
		return;
	server->fast = NULL;
	log_notice("TFTP: the kernel's fast path is not used: %s; all is served in user space",
		   r == -EPERM ? "CAP_BPF and CAP_NET_ADMIN are missing" : strerror(-r));
}

static void close_fastpath(struct tftp_server *server)
{
	for (struct tftp_session *s = server->first; s; s = s->next)
		tftp_session_leave_kernel(s);
	tftp_loads_stop(server);
	tftp_fastpath_free(server->fast);
	server->fast = NULL;
}

/* --- life --------------------------------------------------------------------------------------------------------- */
static void sync_all(struct tftp_server *server)
{
	problems_begin(&server->problems);
	sync_root(server);
	sync_socket(server);
	problems_end(&server->problems);
	sync_links(server);
}

static void on_change(void *arg)
{
	sync_all(arg);
}

static void on_tick(void *arg)
{
	struct tftp_server *server = arg;

	tftp_fastpath_tick(server->fast, loop_now(server->loop));
	loop_timer_set(server->tick, server->fast ? loop_now(server->loop) + NS : UINT64_MAX);
}

/* Each transfer has a socket: the soft limit of 1,024 files would be the first to be reached. */
static void raise_file_limit(const struct config *config)
{
	struct rlimit limit;
	rlim_t wanted = (rlim_t)config->tftp_sessions_max * 2 + 1024;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
		return;
	if (limit.rlim_max < wanted && geteuid() == 0)
		limit.rlim_max = wanted;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_notice("TFTP: the limit of open files stays at %llu", (unsigned long long)limit.rlim_cur);
}

static int start(struct tftp_server *server)
{
	int r = ratelimit_new(&server->limit, TFTP_SOURCE_RATE, TFTP_SOURCE_BURST);

	if (!r)
		r = tftp_ready_new(server, tftp_session_hear);
	if (!r)
		r = problems_init(&server->problems, server->loop, on_change, server);
	if (!r)
		r = loop_add_timer(server->loop, UINT64_MAX, on_tick, server, &server->tick);
	if (!r)
		r = netif_watch_add(server->netif, on_change, server, &server->watch);
	return r;
}

int tftp_server_new(struct tftp_server **ret, struct loop *loop, struct netif *netif, const struct config *config,
		    struct boot *boot)
{
	struct tftp_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->netif = netif;
	server->config = config;
	server->boot = boot;
	server->fd = server->root_fd = server->ready_fd = -1;
	r = start(server);
	if (r < 0) {
		tftp_server_free(server);
		return r;
	}
	raise_file_limit(config);
	open_fastpath(server);
	sync_all(server);
	on_tick(server);
	*ret = server;
	return 0;
}

int tftp_server_reload(struct tftp_server *server, const struct config *config)
{
	const struct config *old = server->config;
	bool fast = strcmp(old->tftp_fastpath, config->tftp_fastpath) || old->tftp != config->tftp ||
		    old->tftp_fastpath_memory != config->tftp_fastpath_memory ||
		    old->tftp_sessions_max != config->tftp_sessions_max;

	server->config = config;
	raise_file_limit(config);
	if (fast) {
		close_fastpath(server);
		open_fastpath(server);
	}
	sync_all(server);
	on_tick(server);
	return 0;
}

void tftp_server_free(struct tftp_server *server)
{
	if (!server)
		return;
	while (server->first)
		tftp_session_free(server->first);
	close_socket(server);
	if (server->root_fd >= 0)
		close(server->root_fd);
	netif_watch_free(server->watch);
	problems_done(&server->problems);
	loop_source_free(server->tick);
	tftp_ready_free(server);
	tftp_loads_stop(server);
	tftp_fastpath_free(server->fast);
	ratelimit_free(server->limit);
	free(server);
}

int tftp_server_program(const struct tftp_server *server, enum tftp_path path)
{
	return !server->fast           ? -1
	       : path == TFTP_PATH_XDP ? tftp_fastpath_program(server->fast, TFTP_FASTPATH_TIER_XDP)
	       : path == TFTP_PATH_TC  ? tftp_fastpath_program(server->fast, TFTP_FASTPATH_TIER_TC)
				       : -1;
}

const struct tftp_stats *tftp_server_stats(struct tftp_server *server)
{
	struct tftp_fastpath_stats fast = {0};

	if (server->fast)
		tftp_fastpath_stats(server->fast, &fast);
	server->stats.blocks[TFTP_PATH_TC] = fast.tc.blocks;
	server->stats.bytes[TFTP_PATH_TC] = fast.tc.bytes;
	server->stats.blocks[TFTP_PATH_XDP] = fast.xdp.blocks;
	server->stats.bytes[TFTP_PATH_XDP] = fast.xdp.bytes;
	return &server->stats;
}
