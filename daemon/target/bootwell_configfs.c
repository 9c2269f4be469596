// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bootwell-configfs: changes the kernel's iSCSI target for bootwelld, configfs_remote.h. Started by
 * systemd when somebody connects to its socket, which only root and the group bootwell may. It
 * reads nothing but the request, and each request stands for itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/target/configfs.h"
#include "daemon/target/configfs_remote.h"

#define THREADS_MAX 64 /* one may wait for a dead tcmu-runner, the others go on */

static struct configfs fs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t fewer = PTHREAD_COND_INITIALIZER;
static unsigned int threads;

static int set_parameter(const char *name, const char *value)
{
	char path[128];
	ssize_t n;
	int fd, r;

	snprintf(path, sizeof(path), "/sys/module/target_core_user/parameters/%.32s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, value, strlen(value));
	r = n < 0 ? -errno : 0;
	close(fd);
	return r;
}

static int perform(int operation, const char *path, const char *value)
{
	switch (operation) {
	case CONFIGFS_MKDIR:
		return configfs_mkdir(&fs, "%s", path);
	case CONFIGFS_RMDIR:
		return configfs_rmdir(&fs, "%s", path);
	case CONFIGFS_WRITE:
		return configfs_write(&fs, value, "%s", path);
	case CONFIGFS_LINK:
		return configfs_link(&fs, value, "%s", path);
	case CONFIGFS_UNLINK:
		return configfs_unlink(&fs, "%s", path);
	case CONFIGFS_PARAMETER:
		return set_parameter(path, value);
	}
	return -EINVAL;
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg, operation, answer = -EPERM;
	char request[CONFIGFS_REQUEST_MAX + 1];
	const char *path, *value;
	ssize_t n;

	n = recv(fd, request, sizeof(request), 0);
	if (n > 0 && configfs_request_parse(request, n, &operation, &path, &value))
		answer = perform(operation, path, value);
	else if (n > 0)
		fprintf(stderr, "<4>a request that bootwell never makes was refused\n");
	explicit_bzero(request, sizeof(request));
	if (n > 0 && send(fd, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
		fprintf(stderr, "<4>an answer could not be sent: %s\n", strerror(errno));
	close(fd);
	pthread_mutex_lock(&lock);
	threads--;
	pthread_cond_signal(&fewer);
	pthread_mutex_unlock(&lock);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *root = argc == 2 ? argv[1] : NULL; /* a plain directory, for tests */
	int listener = SD_LISTEN_FDS_START;
	pthread_attr_t detached;

	if (argc > 2 || sd_listen_fds(1) != 1 || sd_is_socket(listener, AF_UNIX, SOCK_SEQPACKET, 1) <= 0) {
		fputs("bootwell-configfs is started by systemd, for its socket\n", stderr);
		return 2;
	}
	snprintf(fs.root, sizeof(fs.root), "%s", root ? root : "/sys/kernel/config/target");
	fs.plain = root != NULL;
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	for (;;) {
		pthread_t thread;
		int fd;

		pthread_mutex_lock(&lock);
		while (threads == THREADS_MAX)
			pthread_cond_wait(&fewer, &lock);
		threads++;
		pthread_mutex_unlock(&lock);
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0 && !pthread_create(&thread, &detached, serve, (void *)(intptr_t)fd))
			continue;
		if (fd >= 0)
			close(fd);
		pthread_mutex_lock(&lock);
		threads--;
		pthread_mutex_unlock(&lock);
	}
}
