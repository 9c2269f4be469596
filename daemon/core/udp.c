/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SO_REUSEADDR is not set: a second server on the port is a mistake that has to be seen. */
#include "daemon/core/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool prepare(int fd, const struct udp_server *server)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(server->port)};
	const char *interface = server->interface ? server->interface : "";
	int one = 1;

	return setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)) == 0 &&
	       setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)) == 0 &&
	       (!*interface ||
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface)) == 0) &&
	       bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
}

int udp_open(const struct udp_server *server)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r;

	if (fd < 0)
		return -errno;
	if (!prepare(fd, server)) {
		r = -errno;
		close(fd);
		return r;
	}
	if (server->receive &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &server->receive, sizeof(server->receive)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &server->receive, sizeof(server->receive));
	if (server->send)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &server->send, sizeof(server->send));
	return fd;
}

void udp_problem(struct problems *problems, const char *what, uint16_t port, int error)
{
	if (error == -EADDRINUSE)
		problems_add(problems,
			     "%s: another program has UDP port %u; find it with `ss -ulpn sport = %u` and stop it "
			     "(tried again every few seconds)",
			     what, port, port);
	else if (error == -EPERM || error == -EACCES)
		problems_add(problems,
			     "%s: UDP port %u may not be opened; start the server as root or with "
			     "CAP_NET_BIND_SERVICE and CAP_NET_RAW",
			     what, port);
	else
		problems_add(problems, "%s: UDP port %u cannot be opened: %s (tried again)", what, port,
			     strerror(-error));
}
