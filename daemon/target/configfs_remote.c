// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The same calls, sent over a socket to bootwell-configfs, for a daemon that gave up its rights.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/target/configfs_remote.h"

#define BACKSTORES "core/user_0"

/* --- what is allowed --- */

/* Components of names and addresses, none of them "." or "..", none empty. Returns how many. */
static unsigned int components(const char *path)
{
	unsigned int n = 0;

	if (strlen(path) >= 1024)
		return 0;
	for (;;) {
		size_t length = strcspn(path, "/");

		if (!length || (path[0] == '.' && (length == 1 || (length == 2 && path[1] == '.'))))
			return 0;
		for (size_t i = 0; i < length; i++)
			if (!isalnum((unsigned char)path[i]) && !strchr("._:-", path[i]))
				return 0;
		n++;
		if (!path[length])
			return n;
		path += length + 1;
	}
}

/* How deep a path is beneath core/user_0 or iscsi; -1: elsewhere. */
static int depth(const char *path)
{
	int n = components(path);

	if (!strncmp(path, BACKSTORES "/", strlen(BACKSTORES "/")))
		return n - 2;
	if (!strncmp(path, "iscsi/", strlen("iscsi/")))
		return n - 1;
	if (!strcmp(path, BACKSTORES) || !strcmp(path, "iscsi"))
		return 0;
	return -1;
}

static bool write_allowed(const char *path, const char *value)
{
	const char *name = strrchr(path, '/');

	if (depth(path) < 2)
		return false;
	/* The one attribute that says what a backstore is: never another handler's. */
	if (!strncmp(path, BACKSTORES "/", strlen(BACKSTORES "/")) && !strcmp(name, "/control"))
		return !strncmp(value, "dev_config=bootwell/", 20) && !strstr(value + 20, "dev_config");
	return true;
}

bool configfs_request_allowed(int operation, const char *path, const char *value)
{
	switch (operation) {
	case CONFIGFS_MKDIR:
		return depth(path) >= 0 || !strcmp(path, "core");
	case CONFIGFS_RMDIR:
	case CONFIGFS_UNLINK:
		return depth(path) >= 1;
	case CONFIGFS_WRITE:
		return write_allowed(path, value);
	case CONFIGFS_LINK:
		return depth(path) >= 2 && !strncmp(path, "iscsi/", 6) && depth(value) >= 1;
	case CONFIGFS_PARAMETER:
		return (!strcmp(path, "block_netlink") || !strcmp(path, "reset_netlink")) &&
		       (!strcmp(value, "0") || !strcmp(value, "1"));
	}
	return false;
}

bool configfs_request_parse(const char *request, size_t length, int *ret_operation, const char **ret_path,
			    const char **ret_value)
{
	const char *path = request + 1, *end, *value;

	if (length < 4 || length > CONFIGFS_REQUEST_MAX || request[length - 1])
		return false;
	end = memchr(path, '\0', length - 1);
	value = end + 1;
	/* Two texts, and nothing behind them. */
	if (value >= request + length || memchr(value, '\0', request + length - value) != request + length - 1)
		return false;
	if (!configfs_request_allowed(request[0], path, value))
		return false;
	*ret_operation = request[0];
	*ret_path = path;
	*ret_value = value;
	return true;
}

/* --- asking --- */

int configfs_remote(const char *socket_path, enum configfs_operation operation, const char *path, const char *value)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char request[CONFIGFS_REQUEST_MAX];
	size_t np = strlen(path) + 1, nv = strlen(value) + 1;
	int fd, answer, r = 0;
	ssize_t n;

	if (1 + np + nv > sizeof(request) || strlen(socket_path) >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	request[0] = (char)operation;
	memcpy(request + 1, path, np);
	memcpy(request + 1 + np, value, nv);
	strcpy(to.sun_path, socket_path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ||
	    send(fd, request, 1 + np + nv, MSG_NOSIGNAL) < 0)
		r = -errno;
	while (!r && (n = recv(fd, &answer, sizeof(answer), 0)) != (ssize_t)sizeof(answer))
		if (n >= 0 || errno != EINTR)
			r = n < 0 ? -errno : -EPIPE;
	explicit_bzero(request, sizeof(request)); /* it may be a CHAP secret */
	close(fd);
	return r ? r : answer;
}
