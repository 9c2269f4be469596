// SPDX-License-Identifier: GPL-2.0-or-later
/* `bootwell image upload`: sends an image file, or a disk, to a server's upload port. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli/cli.h"
#include "daemon/image/sparse_file.h"
#include "daemon/uploader/progress_bar.h"
#include "daemon/uploader/uploader.h"

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
	      "Sends an image (" IMAGE_FORMAT_NAMES
	      ") or a disk to a bootwell server; what breaks off is gone on with when "
	      "the same is\n"
	      "sent again.\n"
	      "  -s, --server [https://]HOST[:PORT]  the server; default 127.0.0.1:1000\n"
	      "  -f, --fingerprint SHA256  of the server's key, as \"bootwell status\" there shows it: by https\n"
	      "  -c, --ca FILE             who may have signed the server's certificate: by https\n"
	      "  -n, --name NAME           its name there, ending in " SPARSE_ENDINGS
	      ", which chooses the format; default: "
	      "as FILE\n"
	      "  -t, --token-file FILE     the operator's token; default: $BOOTWELL_TOKEN\n"
	      "  -u, --update              becomes the next generation of an image that is there\n"
	      "      --current             and new boots get it\n"
	      "  -d, --disk                FILE is a disk, byte for byte\n"
	      "  -l, --limit MIB           a second at most\n"
	      "  -g, --give-up SECONDS     without an answer; default 600, 0: never\n"
	      "      --abort IMAGE         ends somebody's unfinished upload\n",
	      to);
}

struct arguments {
	struct uploader_options options;
	char host[256], name[256], token[256], pin[80];
	const char *file, *abort;
	bool disk;
};

static int read_token(struct arguments *a, const char *file)
{
	FILE *f = fopen(file, "re");

	if (!f || !fgets(a->token, sizeof(a->token), f)) {
		fprintf(stderr, "bootwell: the token cannot be read from %s: %s\n", file,
			f ? "the file is empty" : strerror(errno));
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
	static const char https[] = "https://";
	char *colon;

	if (strncmp(text, https, strlen(https)) == 0) {
		a->options.tls = true;
		text += strlen(https);
	}
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

/* The SHA-256 of the server's key: 64 hexadecimal digits, with or without colons, or as curl has it. */
static int parse_fingerprint(struct arguments *a, const char *text)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned int n = 0, bits = 0;
	uint32_t value = 0;
	char *to = a->pin + snprintf(a->pin, sizeof(a->pin), "sha256//");

	a->options.tls = true;
	a->options.pin = a->pin;
	if (strncmp(text, "sha256//", 8) == 0)
		return snprintf(a->pin, sizeof(a->pin), "%s", text) == 8 + 44 ? 0 : -EINVAL;
	for (; *text; text++) {
		const char *hex = "0123456789abcdef", *at = strchr(hex, tolower((unsigned char)*text));

		if (*text == ':')
			continue;
		if (!at || ++n > 64)
			return -EINVAL;
		value = value << 4 | (uint32_t)(at - hex);
		bits += 4;
		if (bits >= 6) {
			bits -= 6;
			*to++ = digits[value >> bits & 63];
		}
	}
	*to++ = digits[value << (6 - bits) & 63];
	strcpy(to, "=");
	return n == 64 ? 0 : -EINVAL;
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
	static const struct option longs[] = {{"server", required_argument, NULL, 's'},
					      {"name", required_argument, NULL, 'n'},
					      {"token-file", required_argument, NULL, 't'},
					      {"update", no_argument, NULL, 'u'},
					      {"current", no_argument, NULL, 'C'},
					      {"fingerprint", required_argument, NULL, 'f'},
					      {"ca", required_argument, NULL, 'c'},
					      {"disk", no_argument, NULL, 'd'},
					      {"limit", required_argument, NULL, 'l'},
					      {"give-up", required_argument, NULL, 'g'},
					      {"abort", required_argument, NULL, 'A'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	const char *token = getenv("BOOTWELL_TOKEN");
	uint64_t n = 0;
	int c, r = 0;

	strcpy(a->host, "127.0.0.1");
	a->options.give_up = 600;
	if (token)
		snprintf(a->token, sizeof(a->token), "%s", token);
	optind = 1;
	while (r == 0 && (c = getopt_long(argc, argv, "s:n:t:udl:g:f:c:h", longs, NULL)) != -1) {
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
		case 'C':
			a->options.make_current = true;
			break;
		case 'f':
			r = parse_fingerprint(a, optarg);
			break;
		case 'c':
			a->options.ca = optarg;
			a->options.tls = true;
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
	fprintf(stderr, "bootwell: %s\n", result->error.text);
	return CLI_FAILED;
}

static int send_it(struct arguments *a, bool json)
{
	struct progress_bar bar;
	struct upload_source *source;
	struct uploader_result result;
	struct sentence err;
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
		printf("{\"image\":\"%s\",\"file\":\"%s\",\"generation\":%u,\"current\":%u,\"sent\":%llu,"
		       "\"disk_bytes\":%llu,\"sha256\":\"%s\"}\n",
		       result.image, result.file, result.generation, result.current, (unsigned long long)result.sent,
		       (unsigned long long)result.disk_bytes, digest);
	else
		printf("image %s is on the server as %s: %llu MiB sent, %llu MiB on its disk, SHA-256 of the content "
		       "%s\n",
		       result.image, result.file, (unsigned long long)result.sent >> 20,
		       (unsigned long long)result.disk_bytes >> 20, digest);
	if (!json && result.current && result.current != result.generation)
		printf("It is generation %u; new boots get generation %u until \"bootwell image current %s %u\" "
		       "there.\n",
		       result.generation, result.current, result.image, result.generation);
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
