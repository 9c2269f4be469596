// SPDX-License-Identifier: GPL-2.0-or-later
/* bootwell image verify: does an image still hold what it held when it was made? */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"
#include "daemon/image/digest_file.h"
#include "daemon/image/chain.h"
#include "daemon/uploader/progress_bar.h"
#include "daemon/core/clock.h"

struct showing {
	struct progress_bar bar;
	uint64_t started; /* ns, CLOCK_MONOTONIC */
};

static int show(void *arg, uint64_t done, uint64_t size)
{
	struct showing *s = arg;
	char text[256];
	double seconds;
	uint64_t rate;

	seconds = (double)(clock_monotonic_ns() - s->started) / CLOCK_NS;
	rate = seconds > 1 ? (uint64_t)((double)done / seconds) : 0;
	progress_bar_text(text, sizeof(text), done, size, rate, rate ? (size - done) / rate : UINT64_MAX, NULL);
	progress_bar_line(&s->bar, text);
	return 0;
}

/* The folder that an image lies in, opened, and its name in it. */
static int folder_of(const char *path, char name[256])
{
	char folder[4096];
	const char *slash = strrchr(path, '/');
	int dir;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
	snprintf(name, 256, "%s", slash ? slash + 1 : path);
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -errno : dir;
}

/* An image of the catalogue that came without a checksum: from now on it has one. */
static int keep_digest(const struct cli_image_file *image, const uint8_t digest[DIGEST_SIZE])
{
	char name[256];
	int dir = folder_of(image->path, name), r;

	if (dir < 0)
		return dir;
	r = digest_file_write(dir, name, digest);
	close(dir);
	return r;
}

/* What was kept for the file when it was made. */
static int kept_digest(const char *path, uint8_t ret[DIGEST_SIZE])
{
	char name[256];
	int dir = folder_of(path, name), r;

	if (dir < 0)
		return dir;
	r = digest_file_read(dir, name, ret);
	close(dir);
	return r;
}

/* The server shows it in its status, and as a metric. */
static int report(const struct cli_image_file *image, enum image_outcome outcome)
{
	char escaped[200], path[256];
	json_t *answer;
	int r;

	if (!image->name[0])
		return CLI_OK;
	cli_escape(escaped, sizeof(escaped), image->name);
	snprintf(path, sizeof(path), "/api/images/%s/checked", escaped);
	r = cli_ask(
		"POST", path,
		json_pack("{s:i, s:s}", "generation", (int)image->generation, "outcome", image_outcome_word(outcome)),
		&answer);
	if (!r)
		json_decref(answer);
	return r;
}

/*
 * Every answer has the same members; `kept` is null when there was nothing to compare with, and then so is the outcome
 * of a file that could be read.
 */
static void append_json(json_t *list, const struct cli_image_file *image, const char *sha256, json_t *kept, bool now,
			const char *outcome, const char *error)
{
	json_array_append_new(list, json_pack("{s:s?, s:o, s:s, s:s?, s:o, s:b, s:s?, s:s?}", "image",
					      image->name[0] ? image->name : NULL, "generation",
					      image->name[0] ? json_integer(image->generation) : json_null(), "file",
					      image->path, "sha256", sha256, "kept", kept, "kept_now", now, "outcome",
					      outcome, "error", error));
}

/* Nothing could be compared, or its bytes say by themselves that they are damaged. */
static int not_compared(const struct cli_image_file *image, enum image_outcome outcome, const char *why, json_t *list)
{
	if (list)
		append_json(list, image, NULL, json_null(), false, image_outcome_word(outcome), why);
	if (outcome == IMAGE_DAMAGED)
		fprintf(stderr, "bootwell: %s; \"bootwell image rollback\" goes back to a good generation\n", why);
	else
		fprintf(stderr,
			"bootwell: %s; so whether it is as it was cannot be said, and what the last look found stays\n",
			why);
	report(image, outcome);
	return CLI_FAILED;
}

static int verdict(const struct cli_image_file *image, const uint8_t found[DIGEST_SIZE], json_t *list)
{
	const char *what = image->name[0] ? image->name : image->path;
	char text[DIGEST_TEXT], was[DIGEST_TEXT], why[5000];
	uint8_t kept[DIGEST_SIZE];
	int r = kept_digest(image->path, kept);
	bool none = r == -ENOENT, same = r == 0 && memcmp(kept, found, DIGEST_SIZE) == 0, now;

	digest_to_text(found, text);
	if (r && !none) {
		snprintf(why, sizeof(why), "the checksum kept for %s cannot be read: %s", what, strerror(-r));
		return not_compared(image, IMAGE_UNREADABLE, why, list);
	}
	now = none && image->name[0] && !keep_digest(image, found);
	if (list)
		append_json(list, image, text, none ? json_null() : json_boolean(same), now,
			    same || now ? image_outcome_word(IMAGE_GOOD)
			    : none      ? NULL
					: image_outcome_word(IMAGE_DAMAGED),
			    NULL);
	else if (now)
		printf("%s: SHA-256 of the content %s; none was kept when it was added, this one is from now on\n",
		       what, text);
	else if (none)
		printf("%s: SHA-256 of the content %s; none was kept when it was made\n", what, text);
	else if (same)
		printf("%s: holds what it held when it was made, SHA-256 of the content %s\n", what, text);
	if (!none && !same) {
		digest_to_text(kept, was);
		fprintf(stderr,
			"bootwell: %s has changed since it was made: SHA-256 of the content %s, was %s; go back to a "
			"good "
			"generation with \"bootwell image rollback\"\n",
			what, text, was);
		report(image, IMAGE_DAMAGED);
		return CLI_FAILED;
	}
	return same || now ? report(image, IMAGE_GOOD) : CLI_OK;
}

/* `list`: takes what there is to say, as JSON; NULL: a sentence. */
static int verify(const char *what, json_t *list)
{
	struct cli_image_file image;
	enum image_format format;
	bool known;
	uint8_t found[DIGEST_SIZE];
	struct showing showing;
	struct sentence err;
	struct image *img = NULL;
	char text[5000];
	int r;

	r = cli_find_image(what, &image);
	if (r)
		return r;
	known = !image_format_from_name(image.format, &format);
	r = chain_open(&img, image.path, known ? &format : NULL, &err);
	if (r < 0) {
		image_close(img);
		return not_compared(&image, image_outcome(r), err.text, list);
	}
	showing.started = clock_monotonic_ns();
	progress_bar_init(&showing.bar, stderr, list);
	r = digest_image(img, found, show, &showing);
	progress_bar_done(&showing.bar);
	image_close(img);
	if (r < 0) {
		snprintf(text, sizeof(text), "%s cannot be read: %s", image.path, strerror(-r));
		return not_compared(&image, image_outcome(r), text, list);
	}
	return verdict(&image, found, list);
}

/* Those that new boots get, one after the other. */
static int verify_all(json_t *list)
{
	json_t *images, *image;
	int r, worst = CLI_OK;
	size_t i;

	r = cli_ask("GET", "/api/images", NULL, &images);
	if (r)
		return r;
	json_array_foreach(images, i, image)
	{
		if (!json_is_true(json_object_get(image, "current")))
			continue;
		r = verify(cli_text(image, "name", ""), list);
		if (r > worst)
			worst = r;
	}
	json_decref(images);
	return worst;
}

int cli_verify(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);
	bool all = argc == 2 && !strcmp(argv[1], "--all");
	json_t *list = NULL;
	int r;

	if (argc != 2 || (argv[1][0] == '-' && !all))
		return cli_usage("image verify NAME|FILE|--all [--json]");
	if (json)
		list = json_array();
	r = all ? verify_all(list) : verify(argv[1], list);
	if (list && (all || json_array_size(list)))
		cli_print_json(all ? list : json_array_get(list, 0));
	json_decref(list);
	return r;
}
