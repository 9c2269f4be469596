// SPDX-License-Identifier: GPL-2.0-or-later
/* bootwell image info|check|convert: what a person can ask of an image file. The catalogue's words
 * are in cli/catalogue.c. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon/cli/cli.h"
#include "daemon/core/fileio.h"
#include "daemon/image/chain.h"
#include "daemon/image/convert.h"
#include "tcmu-handler/image/utf.h"
#include "tcmu-handler/inflate/inflate.h"

static int image_usage(void)
{
	fprintf(stderr, "usage: bootwell image info [--json] [--format " IMAGE_FORMAT_NAMES "] FILE\n"
			"       bootwell image check [--json] [--format " IMAGE_FORMAT_NAMES "] FILE\n"
			"       bootwell image convert [-p] [--json] [--format " IMAGE_FORMAT_NAMES
			"] [-O " CONVERT_TARGET_NAMES "] SRC DST\n");
	return CLI_USAGE;
}

struct options {
	const enum image_format *format;
	enum image_format format_value;
	enum convert_target target;
	bool has_target, progress;
};

static bool take_options(int argc, char **argv, const char *letters, int operands, struct options *o)
{
	static const struct option longs[] = {{"format", required_argument, NULL, 'f'},
					      {"output", required_argument, NULL, 'O'},
					      {"progress", no_argument, NULL, 'p'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int c;

	optind = 0;
	while ((c = getopt_long(argc, argv, letters, longs, NULL)) >= 0) {
		switch (c) {
		case 'f':
			if (image_format_from_name(optarg, &o->format_value) < 0)
				return false;
			o->format = &o->format_value;
			break;
		case 'O':
			if (!strchr(letters, 'O') || convert_target_from_name(optarg, &o->target) < 0)
				return false;
			o->has_target = true;
			break;
		case 'p':
			o->progress = true;
			break;
		default:
			return false;
		}
	}
	return argc - optind == operands;
}

/* --- info --- */

/* Names of files are bytes; what is shown, and JSON, is UTF-8. */
struct shown {
	char text[1024];
};

static struct shown shown(const char *s)
{
	struct shown ret;

	utf8_escape(ret.text, sizeof(ret.text), s, strlen(s));
	return ret;
}

static json_t *json_text(const char *s)
{
	return json_string(shown(s).text);
}

static void human(uint64_t bytes, char out[32])
{
	static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	double v = (double)bytes;
	unsigned int i = 0;

	while (v >= 1024 && i < 4) {
		v /= 1024;
		i++;
	}
	snprintf(out, 32, i ? "%.1f %s" : "%.0f %s", v, unit[i]);
}

static json_t *json_parent(const struct image *img)
{
	const struct image_info *info = image_info(img);
	const struct image *parent = image_parent(img);

	if (!parent && !image_needs_parent(img))
		return json_null();
	return json_pack("{s:o,s:o,s:o}", "id", json_text(info->parent_id), "hint", json_text(info->parent_hint),
			 "file", parent ? json_text(image_file(parent, 0)->name) : json_null());
}

static json_t *json_files(const struct image *img)
{
	json_t *files = json_array();
	unsigned int n = image_file_count(img) - (image_parent(img) ? image_file_count(image_parent(img)) : 0);

	for (unsigned int i = 0; i < n; i++)
		json_array_append_new(files, json_text(image_file(img, i)->name));
	return files;
}

static json_t *json_image(const struct image *img)
{
	const struct image_info *info = image_info(img);
	json_t *geometry = info->cylinders ? json_pack("{s:i,s:i,s:i}", "cylinders", info->cylinders, "heads",
						       info->heads, "sectors", info->sectors)
					   : json_null();

	return json_pack("{s:o,s:s,s:s,s:I,s:I,s:I,s:i,s:o,s:o,s:o,s:o,s:o,s:b,s:o}", "file",
			 json_text(image_file(img, 0)->name), "format", image_format_name(info->format), "subformat",
			 info->subformat, "virtual_size", (json_int_t)info->virtual_size, "allocated_size",
			 (json_int_t)info->allocated_size, "file_size", (json_int_t)info->file_size, "block_size",
			 (int)info->block_size, "geometry", geometry, "id", json_text(info->id), "creator",
			 json_text(info->creator), "parent", json_parent(img), "files", json_files(img), "damaged",
			 info->damaged, "damage", info->damaged ? json_text(info->damage) : json_null());
}

static void print_json(json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(j);
}

static void print_image(const struct image *img, const char *indent)
{
	const struct image_info *info = image_info(img);
	char size[32], allocated[32];

	human(info->virtual_size, size);
	human(info->allocated_size, allocated);
	printf("%s%s: %s %s, disk of %s (%" PRIu64 " bytes), %s in the file\n", indent,
	       shown(image_file(img, 0)->name).text, image_format_name(info->format), info->subformat, size,
	       info->virtual_size, allocated);
	if (info->block_size)
		printf("%s  unit: %u bytes\n", indent, info->block_size);
	if (info->cylinders)
		printf("%s  geometry: %u/%u/%u\n", indent, info->cylinders, info->heads, info->sectors);
	if (info->id[0])
		printf("%s  %s: %s\n", indent, image_id_word(info->format), info->id);
	if (info->creator[0])
		printf("%s  made by: %s\n", indent, info->creator);
	if (info->parent_id[0])
		printf("%s  parent: %s%s%s%s\n", indent, info->parent_id, info->parent_hint[0] ? ", once called " : "",
		       info->parent_hint, image_parent(img) ? ", found:" : ", missing");
	if (info->damaged)
		printf("%s  damaged: %s\n", indent, info->damage);
}

static int print_info(const char *path, const enum image_format *format, bool json)
{
	struct sentence err;
	struct image *img = NULL;

	chain_open(&img, path, format, &err);
	if (!img) {
		fprintf(stderr, "bootwell: %s\n", err.text);
		return CLI_FAILED;
	}
	if (json) {
		json_t *j = json_image(img), *chain = json_array();

		for (const struct image *p = image_parent(img); p; p = image_parent(p))
			json_array_append_new(chain, json_image(p));
		json_object_set_new(j, "parents", chain);
		print_json(j);
	} else {
		char indent[2 * IMAGE_CHAIN_MAX + 1] = "";

		for (const struct image *p = img; p; p = image_parent(p), strcat(indent, "  "))
			print_image(p, indent);
	}
	if (err.text[0]) /* or a remark */
		fprintf(stderr, "bootwell: %s\n", err.text);
	image_close(img);
	return CLI_OK;
}

static int image_info_command(int argc, char **argv, bool json)
{
	struct options o = {0};

	if (!take_options(argc, argv, "f:", 1, &o))
		return image_usage();
	return print_info(argv[optind], o.format, json);
}

/* --- check --- */

struct findings {
	json_t *list; /* NULL: print */
	int n;
};

static void report(void *arg, const char *finding, const char *fix)
{
	struct findings *f = arg;

	f->n++;
	if (f->list) {
		json_array_append_new(f->list, json_pack("{s:o,s:o}", "finding", json_text(finding), "fix",
							 fix ? json_text(fix) : json_null()));
		return;
	}
	printf("%s\n", finding);
	if (fix)
		printf("  what helps: %s\n", fix);
}

static bool unit_is_good(const struct image_extent *e, uint8_t *in, uint8_t *out)
{
	return fileio_read(e->file->fd, in, e->compressed_length, e->offset) == 0 &&
	       inflate_unit(out, e->unit_length, e->unit_least, in, e->compressed_length) == 0;
}

/* Inflates every compressed unit once: image_check() knows the tables only. */
static int check_compressed(const struct image *img, struct findings *f)
{
	uint64_t size = image_info(img)->virtual_size, bad = 0, first = 0;
	uint8_t *in = malloc(2 * (size_t)IMAGE_UNIT_MAX), *out = malloc(IMAGE_UNIT_MAX);
	struct image_extent e;
	char text[256];
	int r = in && out ? 0 : -ENOMEM;

	for (uint64_t at = 0; r == 0 && at < size; at += e.length) {
		r = image_map(img, at, size - at, &e);
		if (r < 0 || e.type != IMAGE_EXTENT_COMPRESSED || unit_is_good(&e, in, out))
			continue;
		if (bad++ == 0)
			first = at;
	}
	free(in);
	free(out);
	if (bad) {
		snprintf(text, sizeof(text),
			 "%s: %" PRIu64 " compressed units are damaged, the first at byte %" PRIu64 " of the disk",
			 image_file(img, 0)->name, bad, first);
		report(f, text, "copy the file again from where it came");
	}
	return r;
}

static int check_chain(const struct image *img, struct findings *f)
{
	int r = 0;

	for (const struct image *p = img; p && r >= 0; p = image_parent(p))
		r = image_check(p, report, f);
	if (r >= 0)
		r = check_compressed(img, f);
	return r;
}

static int print_check(const struct image *img, const char *path, struct findings *f)
{
	if (f->list) {
		json_t *chain = json_array();

		for (const struct image *p = img; p; p = image_parent(p))
			json_array_append_new(chain, json_text(image_file(p, 0)->name));
		print_json(json_pack("{s:o,s:o,s:b,s:o}", "file", json_text(path), "chain", chain, "good", f->n == 0,
				     "findings", f->list));
	} else if (f->n == 0) {
		printf("%s: good", shown(path).text);
		for (const struct image *p = image_parent(img); p; p = image_parent(p))
			printf("%s%s", p == image_parent(img) ? "; its parents: " : ", ",
			       shown(image_file(p, 0)->name).text);
		putchar('\n');
	}
	if (f->n)
		fprintf(stderr, "bootwell: %s: %d thing%s wrong with it\n", shown(path).text, f->n,
			f->n == 1 ? " is" : "s are");
	return f->n ? CLI_FAILED : CLI_OK;
}

static int image_check_command(int argc, char **argv, bool json)
{
	struct findings f = {0};
	struct options o = {0};
	struct sentence err = {0};
	struct image *img = NULL;
	int r;

	if (!take_options(argc, argv, "f:", 1, &o))
		return image_usage();
	f.list = json ? json_array() : NULL;
	r = chain_open(&img, argv[optind], o.format, &err);
	if (r < 0)
		report(&f, err.text, image_advice(r));
	else if (err.text[0])
		report(&f, err.text, "give the parent the name that the child remembers, if it is the right one");
	if (r == 0 && check_chain(img, &f) < 0)
		report(&f, "the file cannot be read to its end", "look at the disk that it lies on: dmesg");
	r = print_check(img, argv[optind], &f);
	image_close(img);
	return r;
}

/* --- convert --- */

static volatile sig_atomic_t interrupted;

static void interrupt(int signo)
{
	(void)signo;
	interrupted = 1;
}

/* So that an interrupted conversion removes what it has written; what nohup ignores stays ignored.
 * A second signal ends it at once. */
static void catch_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction act = {.sa_handler = interrupt, .sa_flags = SA_RESTART | SA_RESETHAND}, old;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(signals[i], &act, NULL);
}

static int keep_on(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)done;
	(void)total;
	return interrupted;
}

static int show_progress(void *arg, uint64_t done, uint64_t total)
{
	int *last = arg, now = total ? (int)(done * 1000 / total) : 1000;

	if (now != *last) {
		fprintf(stderr, "\r%5.1f %%%s", now / 10.0, done == total ? "\n" : "");
		*last = now;
	}
	return interrupted;
}

static int convert_known(const char *from, const char *to, const struct options *o, convert_progress_fn progress,
			 struct sentence *err)
{
	struct image *img = NULL;
	int last = -1, r = chain_open(&img, from, o->format, err);

	if (r == 0 && err->text[0])
		fprintf(stderr, "bootwell: %s\n", err->text);
	if (r == 0)
		r = convert_image(img, to, o->target, progress, &last, err);
	image_close(img);
	return r;
}

/* Through a raw file beside the destination, which sparse data make small. */
static int convert_unknown(const char *from, const char *foreign, const char *to, const struct options *o,
			   convert_progress_fn progress, struct sentence *err)
{
	static const enum image_format raw = IMAGE_RAW;
	struct options second = *o;
	int last = -1, r;
	uint64_t random;
	char *between;

	if (o->target == CONVERT_RAW)
		return convert_foreign(from, foreign, to, progress, &last, err);
	if (getrandom(&random, sizeof(random), 0) < 0 || asprintf(&between, "%s.%016" PRIx64 ".tmp", to, random) < 0)
		return -ENOMEM;
	r = convert_foreign(from, foreign, between, keep_on, NULL, err);
	second.format = &raw;
	if (r == 0)
		r = convert_known(between, to, &second, progress, err);
	unlink(between);
	free(between);
	return r;
}

static int image_convert_command(int argc, char **argv, bool json)
{
	struct options o = {0};
	enum image_format written;
	convert_progress_fn progress;
	struct sentence err = {0};
	const char *foreign, *from, *to;
	int r;

	if (!take_options(argc, argv, "f:O:p", 2, &o))
		return image_usage();
	from = argv[optind];
	to = argv[optind + 1];
	if (!o.has_target)
		o.target = convert_target_from_file(to);
	progress = o.progress ? show_progress : keep_on;
	catch_signals();
	foreign = o.format ? NULL : convert_foreign_format(from);
	r = foreign ? convert_unknown(from, foreign, to, &o, progress, &err)
		    : convert_known(from, to, &o, progress, &err);
	if (r < 0) {
		fprintf(stderr, "bootwell: %s\n", err.text[0] ? err.text : strerror(-r));
		return CLI_FAILED;
	}
	written = convert_target_format(o.target);
	return json ? print_info(to, &written, true) : CLI_OK;
}

int cli_image(int argc, char **argv)
{
	bool json;

	if (argc < 2)
		return cli_catalogue(argc, argv);
	if (strcmp(argv[1], "upload") == 0)
		return cli_upload(argc - 1, argv + 1);
	if (strcmp(argv[1], "doctor") == 0)
		return cli_doctor(argc - 1, argv + 1);
	if (strcmp(argv[1], "verify") == 0)
		return cli_verify(argc - 1, argv + 1);
	if (strcmp(argv[1], "info") != 0 && strcmp(argv[1], "check") != 0 && strcmp(argv[1], "convert") != 0)
		return cli_catalogue(argc, argv);
	json = cli_take_json(&argc, argv);
	if (strcmp(argv[1], "convert") == 0)
		return image_convert_command(argc - 1, argv + 1, json);
	return strcmp(argv[1], "info") == 0 ? image_info_command(argc - 1, argv + 1, json)
					    : image_check_command(argc - 1, argv + 1, json);
}
