// SPDX-License-Identifier: GPL-2.0-or-later
/* `bootwell image upload`: sends an image file, or a disk, to a server's upload port. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli.h"
#include "daemon/progress_bar.h"
#include "daemon/uploader.h"

static volatile sig_atomic_t interrupted;

static void interrupt(int signo)
{
	(void)signo;
	interrupted = 1;
}

static int show(void *arg, const struct uploader_progress *p)
{
	progress_bar_upload(arg, p);
	return interrupted;
}

static void usage(FILE *to)
{
	fputs("usage: bootwell image upload [options] FILE\n"
	      "       bootwell image upload [options] --abort IMAGE\n"
	      "Sends an image (raw, VHD, VMDK) or a disk to a bootwell server; what breaks off is gone on with when the same is\n"
	      "sent again.\n"
	      "  -s, --server HOST[:PORT]  the server; default 127.0.0.1:1000\n"
	      "  -n, --name NAME           its name there, ending in .vmdk or .vhd, which chooses the format; default: as FILE\n"
	      "  -t, --token-file FILE     the operator's token; default: $BOOTWELL_TOKEN\n"
	      "  -u, --update              becomes the next generation of an image that is there\n"
	      "  -d, --disk                FILE is a disk, byte for byte\n"
	      "  -l, --limit MIB           a second at most\n"
	      "  -g, --give-up SECONDS     without an answer; default 600, 0: never\n"
	      "      --abort IMAGE         ends somebody's unfinished upload\n",
	      to);
}

struct arguments {
	struct uploader_options options;
	char host[256], name[256], token[256];
	const char *file, *abort;
	bool disk;
};

static int read_token(struct arguments *a, const char *file)
{
	FILE *f = fopen(file, "re");

	if (!f || !fgets(a->token, sizeof(a->token), f)) {
		fprintf(stderr, "bootwell: the token cannot be read from %s: %s\n", file, f ? "the file is empty" : strerror(errno));
		if (f)
			fclose(f);
		return -EINVAL;
	}
	fclose(f);
	a->token[strcspn(a->token, "\r\n")] = '\0';
	return 0;
}

static int parse_server(struct arguments *a, const char *text)
{
	char *colon;

	if (strlen(text) >= sizeof(a->host))
		return -EINVAL;
	strcpy(a->host, text);
	colon = strrchr(a->host, ':');
	if (colon) {
		char *end;
		unsigned long port = strtoul(colon + 1, &end, 10);

		if (*end || !port || port > 65535)
			return -EINVAL;
		a->options.port = (uint16_t)port;
		*colon = '\0';
	}
	return a->host[0] ? 0 : -EINVAL;
}

static int parse_number(const char *text, uint64_t most, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno || end == text || *end || *text == '-' || *ret > most ? -EINVAL : 0;
}

static int parse(struct arguments *a, int argc, char **argv)
{
	static const struct option longs[] = {
		{"server", required_argument, NULL, 's'}, {"name", required_argument, NULL, 'n'},
		{"token-file", required_argument, NULL, 't'}, {"update", no_argument, NULL, 'u'},
		{"disk", no_argument, NULL, 'd'}, {"limit", required_argument, NULL, 'l'}, {"give-up", required_argument, NULL, 'g'},
		{"abort", required_argument, NULL, 'A'}, {"help", no_argument, NULL, 'h'}, {0}};
	const char *token = getenv("BOOTWELL_TOKEN");
	uint64_t n = 0;
	int c, r = 0;

	strcpy(a->host, "127.0.0.1");
	a->options.give_up = 600;
	if (token)
		snprintf(a->token, sizeof(a->token), "%s", token);
	optind = 1;
	while (r == 0 && (c = getopt_long(argc, argv, "s:n:t:udl:g:h", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			r = parse_server(a, optarg);
			break;
		case 'n':
			snprintf(a->name, sizeof(a->name), "%s", optarg);
			break;
		case 't':
			r = read_token(a, optarg);
			break;
		case 'u':
			a->options.update = true;
			break;
		case 'd':
			a->disk = true;
			break;
		case 'g':
			r = parse_number(optarg, 86400 * 365, &n);
			a->options.give_up = (unsigned int)n;
			break;
		case 'l':
			r = parse_number(optarg, 1 << 20, &n);
			a->options.limit = n << 20;
			break;
		case 'A':
			a->abort = optarg;
			break;
		default:
			r = -EINVAL;
		}
	}
	if (r == 0 && !a->abort && optind + 1 == argc)
		a->file = argv[optind];
	return r == 0 && (a->file || (a->abort && optind == argc)) ? 0 : -EINVAL;
}

static int failed(const struct uploader_result *result)
{
	fprintf(stderr, "bootwell: %s\n", result->error);
	return CLI_FAILED;
}

static int send_it(struct arguments *a, bool json)
{
	struct progress_bar bar;
	struct upload_source *source;
	struct uploader_result result;
	struct image_error err;
	char digest[DIGEST_TEXT];
	int r;

	if (!a->name[0]) {
		const char *base = strrchr(a->file, '/');

		snprintf(a->name, sizeof(a->name), "%s", base ? base + 1 : a->file);
	}
	r = a->disk ? source_open_disk(&source, a->file, NULL, &err) : source_open_image(&source, a->file, &err);
	if (r < 0) {
		fprintf(stderr, "bootwell: %s\n", err.text);
		return CLI_FAILED;
	}
	signal(SIGINT, interrupt);
	signal(SIGTERM, interrupt);
	progress_bar_init(&bar, stderr, json);
	a->options.progress = show;
	a->options.arg = &bar;
	r = uploader_run(source, &a->options, &result);
	progress_bar_done(&bar);
	source_close(source);
	if (r < 0)
		return failed(&result);
	digest_to_text(result.digest, digest);
	if (json)
		printf("{\"image\":\"%s\",\"file\":\"%s\",\"sent\":%llu,\"disk_bytes\":%llu,\"sha256\":\"%s\"}\n", result.image,
		       result.file, (unsigned long long)result.sent, (unsigned long long)result.disk_bytes, digest);
	else
		printf("image %s is on the server as %s: %llu MiB sent, %llu MiB on its disk, SHA-256 of the content %s\n",
		       result.image, result.file, (unsigned long long)result.sent >> 20,
		       (unsigned long long)result.disk_bytes >> 20, digest);
	return CLI_OK;
}

int cli_upload(int argc, char **argv)
{
	struct arguments a = {0};
	struct uploader_result result;
	bool json = cli_take_json(&argc, argv);

	if (parse(&a, argc, argv) < 0) {
		usage(stderr);
		return CLI_USAGE;
	}
	a.options.server = a.host;
	a.options.name = a.name;
	a.options.token = a.token[0] ? a.token : NULL;
	if (a.abort)
		return uploader_abort(&a.options, a.abort, &result) < 0 ? failed(&result) : CLI_OK;
	return send_it(&a, json);
}
