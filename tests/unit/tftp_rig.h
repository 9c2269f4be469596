/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A TFTP server whose datagrams do not leave: what it would send comes to caught(), what it is to hear is made here.
 * For a program of one source file, which starts `tftp_rig_server` and has caught().
 */
#ifndef BOOTWELL_TFTP_RIG_H
#define BOOTWELL_TFTP_RIG_H

#include <arpa/inet.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/tftp/private.h"

static struct tftp_server *tftp_rig_server;

static void caught(int fd, const struct msghdr *msg);

static inline bool tftp_rig_owns(int fd)
{
	const struct tftp_server *server = tftp_rig_server;
	bool found = server && fd == server->fd;

	for (const struct tftp_session *s = server ? server->first : NULL; s && !found; s = s->next)
		found = s->fd == fd;
	return found;
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	if (!tftp_rig_owns(fd))
		return syscall(SYS_sendmsg, fd, msg, flags);
	caught(fd, msg);
	return 1;
}

int sendmmsg(int fd, struct mmsghdr *msg, unsigned int n, int flags)
{
	(void)flags;
	for (unsigned int i = 0; i < n; i++)
		caught(fd, &msg[i].msg_hdr);
	return (int)n;
}

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size)
{
	struct iovec iov = {(void *)(uintptr_t)data, length};
	struct msghdr msg = {.msg_name = (void *)(uintptr_t)to, .msg_namelen = size, .msg_iov = &iov, .msg_iovlen = 1};

	if (!tftp_rig_owns(fd))
		return syscall(SYS_sendto, fd, data, length, flags, to, size);
	caught(fd, &msg);
	return (ssize_t)length;
}

/* A datagram at the server's port, which came in by interface 1 for the address `local`. */
static inline void tftp_rig_ask(const struct sockaddr_in *from, uint32_t local, const uint8_t *data, size_t size)
{
	struct in_pktinfo info = {
		.ipi_ifindex = 1, .ipi_addr.s_addr = htonl(local), .ipi_spec_dst.s_addr = htonl(local)};
	union {
		struct cmsghdr align;
		uint8_t space[CMSG_SPACE(sizeof(info))];
	} control = {0};
	struct msghdr msg = {.msg_control = &control, .msg_controllen = sizeof(control)};
	struct cmsghdr *c = &control.align;
	struct loop_datagram d = {.data = data,
				  .length = (uint32_t)size,
				  .name = (const struct sockaddr *)from,
				  .name_length = sizeof(*from),
				  .control = &msg};

	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(c), &info, sizeof(info));
	tftp_server_hear(tftp_rig_server, &d);
}

#endif
