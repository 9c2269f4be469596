/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The address that a datagram was sent to comes as a control message of IP_PKTINFO (ip(7)); without one it is dropped.
 */
#include "daemon/core/datagram.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

bool datagram_addresses(const struct loop_datagram *datagram, struct datagram_addresses *ret)
{
	const struct sockaddr_in *from = (const struct sockaddr_in *)datagram->name;

	if (!from || datagram->name_length < sizeof(*from) || from->sin_family != AF_INET)
		return false;
	ret->source = ntohl(from->sin_addr.s_addr);
	ret->source_port = ntohs(from->sin_port);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(datagram->control); c; c = CMSG_NXTHDR(datagram->control, c)) {
		struct in_pktinfo info;

		if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO || c->cmsg_len < CMSG_LEN(sizeof(info)))
			continue;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		ret->ifindex = info.ipi_ifindex;
		ret->local = ntohl(info.ipi_addr.s_addr);
		return true;
	}
	return false;
}
