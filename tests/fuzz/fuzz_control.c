// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bytes to the control socket of a whole bootwelld without network: HTTP with JSON bodies, as root would send them. It
 * answers or ends the connection; it goes on answering. The daemon runs on a thread of its own, in folders beneath
 * /dev/shm, and is the same one for all inputs.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/control/control.h"
#include "daemon/control/parts.h"
#include "daemon/core/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);

/* The daemon lives as long as the process: what it holds at the end is no leak. */
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static char folder[] = "/dev/shm/bootwell-fuzz.XXXXXX";
static struct daemon bootwelld = {.bpf_counting = -1, .calls = &control_calls};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ready = PTHREAD_COND_INITIALIZER;
static bool serving;

static void must(bool what)
{
	if (!what)
		abort();
}

static void remove_folder(void)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	must(!system(command));
}

static void write_config(const char *path)
{
	FILE *f = fopen(path, "we");
	char image[100];

	must(f);
	fprintf(f,
		"[server]\ntargets = off\nstate = %s/state\nrun = %s/run\n[tftp]\nenable = no\n"
		"[http]\nport = 18711\nupload-port = 18712\ntoken = opensesame\n[images]\npath = %s/images\n"
		"[write-back]\npath = %s/store\nsize = 64M\n[image one]\nfile = one.raw\n[client PC1]\nimage = one\n",
		folder, folder, folder, folder);
	fclose(f);
	snprintf(image, sizeof(image), "%s/images", folder);
	must(!mkdir(image, 0700));
	strcat(image, "/one.raw");
	f = fopen(image, "we");
	must(f && !ftruncate(fileno(f), 1 << 20));
	fclose(f);
}

static void *serve(void *arg)
{
	char path[100];

	(void)arg;
	snprintf(path, sizeof(path), "%s/conf", folder);
	write_config(path);
	log_set_level((enum log_level)0);
	must(!parts_read_config(&bootwelld, path, &bootwelld.config));
	must(!parts_open_first(&bootwelld) && !parts_open(&bootwelld) && !parts_begin(&bootwelld));
	pthread_mutex_lock(&lock);
	serving = true;
	pthread_cond_signal(&ready);
	pthread_mutex_unlock(&lock);
	loop_run(bootwelld.loop);
	return NULL;
}

static void begin(void)
{
	pthread_t thread;

	must(mkdtemp(folder));
	atexit(remove_folder);
	must(!pthread_create(&thread, NULL, serve, NULL));
	pthread_mutex_lock(&lock);
	while (!serving)
		pthread_cond_wait(&ready, &lock);
	pthread_mutex_unlock(&lock);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct timeval most = {.tv_sec = 8};
	char answer[4096];
	ssize_t n;
	int fd;

	if (!serving)
		begin();
	snprintf(un.sun_path, sizeof(un.sun_path), "%s/run/control", folder);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(fd >= 0 && !connect(fd, (struct sockaddr *)&un, sizeof(un)));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most));
	for (size_t at = 0; at < size; at += (size_t)n) {
		n = send(fd, data + at, size - at, MSG_NOSIGNAL);
		if (n <= 0)
			break; /* it has ended the conversation */
	}
	shutdown(fd, SHUT_WR);
	while ((n = recv(fd, answer, sizeof(answer), 0)) > 0)
		;
	close(fd);
	return 0;
}
