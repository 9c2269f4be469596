/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests of uploads over loopback:
 *	tool_upload serve FOLDER PORT	the upload service; a token is the name of who sends (PC101 without one; PC103
 * may not; "operator" is one). Prints what it publishes. tool_upload send ARGUMENTS	as `bootwell image upload
 * ARGUMENTS` tool_upload digest FILE		checksum of what an image holds
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/cli/cli.h"
#include "daemon/image/digest_file.h"
#include "daemon/image/chain.h"
#include "daemon/upload/upload.h"

static char folder[256];

static int op_exists(void *arg, const char *image)
{
	char path[512];

	(void)arg;
	snprintf(path, sizeof(path), "%s/.catalogue-%s", folder, image);
	return access(path, F_OK) == 0;
}

static int op_publish(void *arg, struct upload_image *image, struct upload_refusal *error)
{
	char path[512], digest[DIGEST_TEXT];
	FILE *f;

	(void)arg;
	(void)error;
	snprintf(path, sizeof(path), "%s/.catalogue-%s", folder, image->image);
	f = fopen(path, "w");
	if (f)
		fclose(f);
	digest_to_text(image->digest, digest);
	printf("published %s %s %s by %s\n", image->image, image->file, digest, image->who);
	return 0;
}

static int op_permit(void *arg, const struct upload_asking *asking, struct upload_asker *ret,
		     struct upload_refusal *error)
{
	const char *token = asking->authorization && !strncmp(asking->authorization, "Bearer ", 7)
				    ? asking->authorization + 7
				    : NULL;

	(void)arg;
	if (token && strcmp(token, "PC103") == 0) {
		snprintf(error->why.text, sizeof(error->why.text),
			 "PC103 may not upload images; allow it with upload = yes");
		return -EACCES;
	}
	snprintf(ret->who, sizeof(ret->who), "%s", token ? token : "PC101");
	ret->is_operator = token && !strcmp(token, "operator");
	return 0;
}

static void op_log(void *arg, bool bad, const char *sentence)
{
	(void)arg;
	printf("%s %s\n", bad ? "log!" : "log", sentence);
}

static int serve(const char *port, const char *address)
{
	struct upload_owner owner = {
		.ops = {.exists = op_exists, .publish = op_publish}, .permit = op_permit, .log = op_log};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	struct upload_server *server;
	struct upload_store *store;
	struct upload_refusal error = {.why = {""}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, signo;
	sigset_t set;

	setvbuf(stdout, NULL, _IOLBF, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	to.sin_addr.s_addr = inet_addr(address);
	if (bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 || listen(fd, 64) < 0) {
		perror("bind");
		return 1;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (upload_store_new(&store, folder, &owner.ops, &error) ||
	    upload_server_new(&server, fd, store, &owner, &error)) {
		fprintf(stderr, "%s\n", error.why.text);
		return 1;
	}
	printf("ready\n");
	sigwait(&set, &signo);
	upload_server_free(server);
	return 0;
}

static int digest(const char *path)
{
	struct sentence err;
	struct image *img;
	uint8_t found[DIGEST_SIZE];
	char text[DIGEST_TEXT];

	if (chain_open(&img, path, NULL, &err) || digest_image(img, found, NULL, NULL)) {
		fprintf(stderr, "%s: cannot be read\n", path);
		return 1;
	}
	digest_to_text(found, text);
	puts(text);
	image_close(img);
	return 0;
}

int main(int argc, char **argv)
{
	if ((argc == 4 || argc == 5) && strcmp(argv[1], "serve") == 0) {
		snprintf(folder, sizeof(folder), "%s", argv[2]);
		return serve(argv[3], argc == 5 ? argv[4] : "127.0.0.1");
	}
	if (argc >= 3 && strcmp(argv[1], "send") == 0)
		return cli_upload(argc - 1, argv + 1);
	if (argc == 3 && strcmp(argv[1], "digest") == 0)
		return digest(argv[2]);
	fprintf(stderr, "usage: tool_upload serve FOLDER PORT [ADDRESS] | send ARGUMENTS | digest FILE\n");
	return 2;
}
