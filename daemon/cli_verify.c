// SPDX-License-Identifier: GPL-2.0-or-later
/* `bootwell image verify`: does an image still hold what it held when it was made? */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/cli.h"
#include "daemon/digest_file.h"
#include "daemon/image_chain.h"
#include "daemon/progress_bar.h"

struct showing {
	struct progress_bar bar;
	struct timespec started;
};

static int show(void *arg, uint64_t done, uint64_t size)
{
	struct showing *s = arg;
	struct timespec now;
	char text[256];
	double seconds;
	uint64_t rate;

	clock_gettime(CLOCK_MONOTONIC, &now);
	seconds = (double)(now.tv_sec - s->started.tv_sec) + (double)(now.tv_nsec - s->started.tv_nsec) / 1e9;
	rate = seconds > 1 ? (uint64_t)((double)done / seconds) : 0;
	progress_bar_text(text, sizeof(text), done, size, rate, rate ? (size - done) / rate : UINT64_MAX, NULL);
	progress_bar_line(&s->bar, text);
	return 0;
}

/* What was kept for the file when it was made. */
static int kept_digest(const char *path, uint8_t ret[DIGEST_SIZE])
{
	char folder[4096], name[4096];
	int dir, r;

	if (strlen(path) >= sizeof(folder))
		return -ENAMETOOLONG;
	strcpy(folder, path);
	strcpy(name, path);
	dir = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	r = digest_file_read(dir, basename(name), ret);
	close(dir);
	return r;
}

static int verdict(const char *path, const uint8_t found[DIGEST_SIZE], bool json)
{
	uint8_t kept[DIGEST_SIZE];
	char text[DIGEST_TEXT], was[DIGEST_TEXT];
	int r = kept_digest(path, kept);
	bool same = r == 0 && memcmp(kept, found, DIGEST_SIZE) == 0;

	digest_to_text(found, text);
	if (json)
		printf("{\"sha256\":\"%s\",\"kept\":%s}\n", text, r ? "null" : same ? "true" : "false");
	else if (r == -ENOENT)
		printf("%s: SHA-256 of the content %s; none was kept when it was made\n", path, text);
	else if (same)
		printf("%s: holds what it held when it was made, SHA-256 of the content %s\n", path, text);
	if (r == 0 && !same) {
		digest_to_text(kept, was);
		fprintf(stderr, "bootwell: %s has changed since it was made: SHA-256 of the content %s, was %s; go back to a good "
				"generation with \"bootwell image rollback\"\n", path, text, was);
		return CLI_FAILED;
	}
	if (r && r != -ENOENT) {
		fprintf(stderr, "bootwell: the checksum kept for %s cannot be read: %s\n", path, strerror(-r));
		return CLI_FAILED;
	}
	return CLI_OK;
}

int cli_verify(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);
	uint8_t found[DIGEST_SIZE];
	struct showing showing;
	struct image_error err;
	struct image *img;
	int r;

	if (argc != 2 || argv[1][0] == '-') {
		fprintf(stderr, "usage: bootwell image verify FILE [--json]\n");
		return CLI_USAGE;
	}
	r = chain_open(&img, argv[1], NULL, &err);
	if (r < 0) {
		fprintf(stderr, "bootwell: %s\n", err.text);
		return CLI_FAILED;
	}
	clock_gettime(CLOCK_MONOTONIC, &showing.started);
	progress_bar_init(&showing.bar, stderr, json);
	r = digest_image(img, found, show, &showing);
	progress_bar_done(&showing.bar);
	image_close(img);
	if (r < 0) {
		fprintf(stderr, "bootwell: %s cannot be read: %s\n", argv[1], strerror(-r));
		return CLI_FAILED;
	}
	return verdict(argv[1], found, json);
}
