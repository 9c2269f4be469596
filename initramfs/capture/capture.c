// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bootwell-capture: sends a disk of this PC to the server. In the capture system it is all that a person sees; on any
 * Linux it can be run by hand. What it is not told, on the kernel's command line (bootwell.server=, bootwell.name=,
 * bootwell.disk=) or by options, it asks. A disk of which nothing useful can come (doctor/unfit.h) is refused, unless a
 * person says that it is to be sent all the same: by an answer, -f or bootwell.anyway=1.
 *
 * Exit status: 0 captured, 1 refused or failed, 2 wrong usage.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/image/sparse_file.h"
#include "daemon/uploader/progress_bar.h"
#include "daemon/uploader/uploader.h"
#include "daemon/doctor/unfit.h"
#include "initramfs/capture/disks.h"

struct settings {
	char server[256], name[256], disk[64], token[256], secret[64], pin[80];
	uint16_t port;
	bool loops, update, anyway;
};

static volatile sig_atomic_t interrupted;

static void interrupt(int signo)
{
	(void)signo;
	interrupted = 1;
}

static void say(const char *sentence)
{
	printf("  %s\n", sentence);
	fflush(stdout);
}

static int show(void *arg, const struct uploader_progress *p)
{
	progress_bar_upload(arg, p);
	return interrupted;
}

/* --- settings -----------------------------------------------------------------------------------------------------*/

static void set_server(struct settings *s, const char *text)
{
	char *colon;

	snprintf(s->server, sizeof(s->server), "%s", text);
	colon = strrchr(s->server, ':');
	if (colon) {
		s->port = (uint16_t)strtoul(colon + 1, NULL, 10);
		*colon = '\0';
	}
}

static void take_word(struct settings *s, const char *word)
{
	if (strncmp(word, "bootwell.server=", 16) == 0)
		set_server(s, word + 16);
	else if (strncmp(word, "bootwell.name=", 14) == 0)
		snprintf(s->name, sizeof(s->name), "%s", word + 14);
	else if (strncmp(word, "bootwell.secret=", 16) == 0)
		snprintf(s->secret, sizeof(s->secret), "%s", word + 16);
	else if (strncmp(word, "bootwell.pin=", 13) == 0)
		snprintf(s->pin, sizeof(s->pin), "%s", word + 13);
	else if (strncmp(word, "bootwell.disk=", 14) == 0)
		snprintf(s->disk, sizeof(s->disk), "%s", word + 14);
	else if (strcmp(word, "bootwell.update=1") == 0)
		s->update = true;
	else if (strcmp(word, "bootwell.anyway=1") == 0)
		s->anyway = true;
}

static void read_cmdline(struct settings *s)
{
	char line[4096] = "", *save = NULL;
	FILE *f = fopen("/proc/cmdline", "re");

	if (f && fgets(line, sizeof(line), f))
		for (char *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save))
			take_word(s, w);
	if (f)
		fclose(f);
}

static int read_options(struct settings *s, int argc, char **argv)
{
	const char *token = getenv("BOOTWELL_TOKEN"), *secret = getenv("BOOTWELL_SECRET"),
		   *pin = getenv("BOOTWELL_PIN");
	int c;

	snprintf(s->token, sizeof(s->token), "%s", token ? token : "");
	if (secret)
		snprintf(s->secret, sizeof(s->secret), "%s", secret);
	if (pin)
		snprintf(s->pin, sizeof(s->pin), "%s", pin);
	while ((c = getopt(argc, argv, "s:n:d:luf")) != -1) {
		if (c == 's')
			set_server(s, optarg);
		else if (c == 'n')
			snprintf(s->name, sizeof(s->name), "%s", optarg);
		else if (c == 'd')
			snprintf(s->disk, sizeof(s->disk), "%s", strncmp(optarg, "/dev/", 5) ? optarg : optarg + 5);
		else if (c == 'l')
			s->loops = true;
		else if (c == 'u')
			s->update = true;
		else if (c == 'f')
			s->anyway = true;
		else
			return -EINVAL;
	}
	return optind == argc ? 0 : -EINVAL;
}

/* A line from the person. False at the end of input: nobody is there. */
static bool ask(const char *question, char *to, size_t size)
{
	char line[256];

	printf("%s ", question);
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return false;
	line[strcspn(line, "\r\n")] = '\0';
	snprintf(to, size, "%s", line);
	return true;
}

/* --- the disk -----------------------------------------------------------------------------------------------------*/

static void print_disks(struct disk *disks, unsigned int n)
{
	printf("\nDisks of this PC:\n");
	for (unsigned int i = 0; i < n; i++) {
		printf("  %u  %-10s %8.1f GB  %s\n", i + 1, disks[i].name, (double)disks[i].size / 1e9, disks[i].model);
		disk_look(&disks[i]);
		for (unsigned int k = 0; k < disks[i].partitions; k++) {
			const struct partition *p = &disks[i].partition[k];

			printf("       %-10s %8.1f GB  %s%s%s\n", p->name, (double)p->size / 1e9,
			       p->type[0] ? p->type : "unknown", p->label[0] ? "  " : "", p->label);
		}
	}
	fflush(stdout);
}

static const struct disk *choose_disk(struct settings *s, struct disk *disks, unsigned int n)
{
	char answer[64];

	for (unsigned int i = 0; s->disk[0] && i < n; i++)
		if (strcmp(disks[i].name, s->disk) == 0)
			return &disks[i];
	if (s->disk[0]) {
		fprintf(stderr, "This PC has no disk %s.\n", s->disk);
		return NULL;
	}
	if (n == 1)
		return &disks[0];
	while (ask("Number of the disk to send:", answer, sizeof(answer))) {
		unsigned long i = strtoul(answer, NULL, 10);

		if (i >= 1 && i <= n)
			return &disks[i - 1];
	}
	fprintf(stderr, "No disk was chosen.\n");
	return NULL;
}

static void tell_unfit(void *arg, enum unfit what, unsigned int partition, const char *sentence, const char *remedy)
{
	bool *is_4kn = arg;

	(void)partition;
	*is_4kn |= what == UNFIT_4KN;
	printf("\nThis disk is not fit for an image: %s.\n  What helps: %s.\n", sentence, remedy);
}

/* What would make the image worthless is said now, and not when an hour of sending is over. 0: it is to be sent. */
static int look_at_fitness(const struct settings *s, const struct disk *disk)
{
	struct doctor_disk *view = NULL;
	unsigned int found = 0;
	bool is_4kn = false;
	char path[64], answer[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", disk->name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && doctor_disk_new_fd(&view, fd, disk->size) == 0)
		found = unfit_look(view, tell_unfit, &is_4kn);
	doctor_disk_free(view);
	if (fd >= 0)
		close(fd);
	if (disk->sector == 4096 && !is_4kn)
		found += unfit_4kn(tell_unfit, &is_4kn);
	if (!found)
		return 0;
	if (s->anyway) {
		printf("\nIt is sent all the same, as was asked for.\n");
		return 0;
	}
	if (ask("\nSend it all the same? [y/N]", answer, sizeof(answer)) && (answer[0] == 'y' || answer[0] == 'Y'))
		return 0;
	fprintf(stderr, "Nothing was sent.\n");
	return -ECANCELED;
}

/* --- sending ------------------------------------------------------------------------------------------------------*/

static int greet(const struct settings *s, const struct uploader_options *options)
{
	char who[UPLOAD_WHO_MAX];
	struct uploader_result result;
	int r = uploader_hello(options, who, &result);

	for (unsigned int i = 0; r == -ECONNRESET && i < 60 && !interrupted; i++) {
		if (i == 0)
			printf("Waiting for the server %s ...\n", s->server);
		sleep(1);
		r = uploader_hello(options, who, &result);
	}
	if (r < 0)
		fprintf(stderr, "The server %s says: %s\n", s->server, result.error.text);
	else
		printf("The server %s knows this PC as %s.\n", s->server, who);
	return r;
}

static int send_disk(const struct disk *disk, struct uploader_options *options, struct uploader_result *result)
{
	struct progress_bar bar;
	struct upload_source *source;
	struct sentence err;
	char path[64];
	int r;

	printf("\nLooking at what is in use on %s:\n", disk->name);
	snprintf(path, sizeof(path), "/dev/%s", disk->name);
	r = source_open_disk(&source, path, disk_used(disk, say), &err);
	if (r < 0) {
		result->error = err;
		return r;
	}
	printf("Sending %s as %s, at most %" PRIu64 " MiB of %" PRIu64 " MiB:\n", disk->name, options->name,
	       source_used(source) >> 20, source_size(source) >> 20);
	progress_bar_init(&bar, stdout, false);
	options->progress = show;
	options->arg = &bar;
	r = uploader_run(source, options, result);
	progress_bar_done(&bar);
	source_close(source);
	return r;
}

static int capture(struct settings *s)
{
	struct uploader_options options = {.server = s->server,
					   .port = s->port,
					   .name = s->name,
					   .update = s->update,
					   .token = s->token[0] ? s->token : NULL,
					   .secret = s->secret[0] ? s->secret : NULL,
					   .tls = s->pin[0],
					   .pin = s->pin[0] ? s->pin : NULL,
					   .alone = true};
	static struct disk disks[DISKS_MAX];
	struct uploader_result result = {0};
	const struct disk *disk;
	char digest[DIGEST_TEXT];
	unsigned int n;
	int r = greet(s, &options);

	if (r < 0)
		return r;
	n = disks_find(disks, DISKS_MAX, s->loops);
	if (!n) {
		fprintf(stderr, "This PC has no disk that can be sent.\n");
		return -ENODEV;
	}
	print_disks(disks, n);
	disk = choose_disk(s, disks, n);
	if (!disk)
		return -ENODEV;
	r = look_at_fitness(s, disk);
	if (r < 0)
		return r;
	if (!s->name[0] && !ask("Name of the image, ending in " SPARSE_ENDINGS ":", s->name, sizeof(s->name))) {
		fprintf(stderr, "No name was given.\n");
		return -EINVAL;
	}
	r = send_disk(disk, &options, &result);
	if (r < 0) {
		fprintf(stderr, "\nNot done: %s\n", result.error.text);
		return r;
	}
	digest_to_text(result.digest, digest);
	if (result.current && result.current != result.generation)
		printf("\nIt is generation %u; PCs start generation %u until somebody makes it the current one.\n",
		       result.generation, result.current);
	printf("\nDone: the server has it as image %s (%s), %" PRIu64 " MiB were sent.\nSHA-256 of the content: %s\n",
	       result.image, result.file, result.sent >> 20, digest);
	return 0;
}

int main(int argc, char **argv)
{
	struct settings s = {0};

	read_cmdline(&s);
	if (read_options(&s, argc, argv) < 0) {
		fprintf(stderr,
			"usage: bootwell-capture [-s SERVER[:PORT]] [-n NAME.vmdk|NAME.vhd] [-d DISK] [-u] [-f] [-l]\n"
			"  -u  the next generation of an image that is there\n"
			"  -f  also a disk that is not fit for an image (hibernated, encrypted ...)\n"
			"  -l  loop devices are disks too\n");
		return 2;
	}
	signal(SIGINT, interrupt);
	signal(SIGTERM, interrupt);
	if (!s.server[0] && !ask("Address of the bootwell server:", s.server, sizeof(s.server)))
		return 2;
	return capture(&s) < 0 ? 1 : 0;
}
