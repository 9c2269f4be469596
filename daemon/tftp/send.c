/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A window leaves in one system call: all its blocks are equally long but the last one, which is what UDP_SEGMENT (GSO)
 * wants. The kernel takes at most 64 segments and 64 KiB at once, so a larger window takes several calls. Where GSO is
 * refused (a device without checksums), sendmmsg() does it, once found out, for ever.
 */
#include "daemon/tftp/private.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define SEGMENTS_MAX 64u
#define GSO_BYTES    65000u

uint32_t tftp_block_length(const struct tftp_session *session, uint64_t block)
{
	uint64_t offset = (block - 1) * session->options.blksize_value, left;

	left = session->content.size > offset ? session->content.size - offset : 0;
	return left < session->options.blksize_value ? (uint32_t)left : session->options.blksize_value;
}

static struct sockaddr_in client_of(const struct tftp_session *session)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(session->client_port),
				    .sin_addr.s_addr = htonl(session->client)};
}

void tftp_send_options(struct tftp_session *session)
{
	struct sockaddr_in to = client_of(session);
	uint8_t data[TFTP_OACK_MAX];
	size_t n = tftp_oack_write(data, &session->options);

	(void)!sendto(session->fd, data, n, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
}

void tftp_send_error(struct tftp_server *server, int fd, uint32_t local, uint32_t client, uint16_t port,
		     enum tftp_error code, const char *text)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(client)};
	struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(local)};
	union {
		struct cmsghdr align;
		uint8_t space[CMSG_SPACE(sizeof(info))];
	} control = {0};
	uint8_t data[128];
	struct iovec iov = {data, tftp_error_write(data, sizeof(data), code, text)};
	struct msghdr msg = {.msg_name = &to,
			     .msg_namelen = sizeof(to),
			     .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(c), &info, sizeof(info));
	if (sendmsg(fd, &msg, MSG_DONTWAIT) >= 0)
		server->stats.errors[code <= 8 ? code : 0]++;
}

/* Header and content of n blocks from `first` on, as pairs of iovecs. */
struct window {
	uint8_t header[SEGMENTS_MAX][TFTP_HEADER];
	struct iovec iov[2 * SEGMENTS_MAX];
	uint64_t bytes; /* of content */
};

static void window_make(struct window *w, const struct tftp_session *session, uint64_t first, unsigned int n)
{
	w->bytes = 0;
	for (unsigned int i = 0; i < n; i++) {
		uint64_t offset = (first + i - 1) * session->options.blksize_value;
		uint32_t length = tftp_block_length(session, first + i);

		tftp_data_write(w->header[i], (uint16_t)(first + i));
		w->iov[2 * i] = (struct iovec){w->header[i], TFTP_HEADER};
		w->iov[2 * i + 1] =
			(struct iovec){length ? (void *)(uintptr_t)(session->content.data + offset) : NULL, length};
		w->bytes += length;
	}
}

static int send_segments(const struct tftp_session *session, struct window *w, unsigned int n, struct sockaddr_in *to)
{
	uint16_t size = (uint16_t)(TFTP_HEADER + session->options.blksize_value);
	union {
		struct cmsghdr align;
		uint8_t space[CMSG_SPACE(sizeof(size))];
	} control = {0};
	struct msghdr msg = {.msg_name = to, .msg_namelen = sizeof(*to), .msg_iov = w->iov, .msg_iovlen = 2 * n};

	if (n > 1) {
		struct cmsghdr *c;

		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = IPPROTO_UDP;
		c->cmsg_type = UDP_SEGMENT;
		c->cmsg_len = CMSG_LEN(sizeof(size));
		memcpy(CMSG_DATA(c), &size, sizeof(size));
	}
	return sendmsg(session->fd, &msg, MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int send_each(const struct tftp_session *session, struct window *w, unsigned int n, struct sockaddr_in *to)
{
	struct mmsghdr msg[SEGMENTS_MAX];

	memset(msg, 0, sizeof(msg));
	for (unsigned int i = 0; i < n; i++) {
		msg[i].msg_hdr.msg_name = to;
		msg[i].msg_hdr.msg_namelen = sizeof(*to);
		msg[i].msg_hdr.msg_iov = &w->iov[2 * i];
		msg[i].msg_hdr.msg_iovlen = 2;
	}
	return sendmmsg(session->fd, msg, n, MSG_DONTWAIT) < 0 ? -errno : 0;
}

static bool is_refusal_of_gso(int error)
{
	return error == -EIO || error == -EINVAL || error == -ENOPROTOOPT || error == -EOPNOTSUPP || error == -EMSGSIZE;
}

static unsigned int segments_at_once(const struct tftp_session *session)
{
	unsigned int n = GSO_BYTES / (session->options.blksize_value + TFTP_HEADER);

	return n > SEGMENTS_MAX ? SEGMENTS_MAX : n < 1 ? 1 : n;
}

int tftp_send_blocks(struct tftp_session *session, uint64_t first, uint64_t last)
{
	struct tftp_server *server = session->server;
	struct sockaddr_in to = client_of(session);
	unsigned int most = segments_at_once(session);
	struct window w;

	for (uint64_t next = first; next <= last;) {
		unsigned int n = last - next + 1 < most ? (unsigned int)(last - next + 1) : most;
		int r;

		window_make(&w, session, next, n);
		r = server->no_gso && n > 1 ? send_each(session, &w, n, &to) : send_segments(session, &w, n, &to);
		if (n > 1 && !server->no_gso && is_refusal_of_gso(r)) {
			server->no_gso = true;
			r = send_each(session, &w, n, &to);
		}
		if (r == -EFAULT)
			return r;
		server->stats.blocks[TFTP_PATH_USER] += n;
		server->stats.bytes[TFTP_PATH_USER] += w.bytes;
		next += n;
	}
	return 0;
}
