// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * `bootwell system`: the appliance. `settings FILE` is for its start-up (initramfs/setup): checks
 * the whole file as bootwelld does and prints [appliance] and [network NAME] for a shell. It runs
 * before the state disk and the addresses are there, so a name of an image may be one of the
 * catalogue: --catalogue looks, later. The other words are initramfs/system, a script that only the
 * appliance has.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"
#include "daemon/config/config.h"
#include "daemon/core/certificate.h"
#include "daemon/state/known_images.h"

#define SYSTEM_SCRIPT "/usr/lib/bootwell/system"
#define NO_APPLIANCE  "this is no appliance: the system is updated by Debian's packages"

static void print_path(const char *name, const char *path)
{
	/* Paths have no blank (value_path()), but may have a quote. */
	printf("%s='", name);
	for (; *path; path++)
		if (*path == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*path);
	puts("'");
}

/* `catalogue`: the state disk is there, so an image has to be in the file or in the catalogue. */
static int settings(const char *file, bool catalogue)
{
	struct known_images images = {};
	struct config_known known = {
		.image = catalogue ? known_images_has : cli_any_image, .arg = &images, .planned = true};
	struct config *config;
	int r;

	r = config_read_known(&config, file, &known, cli_report_mistake, NULL);
	known_images_done(&images);
	if (r)
		return CLI_FAILED;
	print_path("CONF_PATH_STATE", config->state_path);
	print_path("CONF_PATH_IMAGES", config->images_path);
	print_path("CONF_PATH_STORE", config->store_path);
	appliance_print(stdout, &config->appliance, config->network, config->networks);
	config_free(config);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

/* The script's lines are `key: value`. */
static int status_json(void)
{
	json_t *o = json_object();
	char line[600], *value;
	FILE *out = access(SYSTEM_SCRIPT, X_OK) ? NULL : popen(SYSTEM_SCRIPT " status", "re");
	int r = -1;

	while (out && fgets(line, sizeof(line), out)) {
		line[strcspn(line, "\n")] = '\0';
		value = strstr(line, ": ");
		if (!value)
			continue;
		*value = '\0';
		json_object_set_new(o, line, json_string(value + 2));
	}
	if (out)
		r = pclose(out);
	else
		fprintf(stderr, "bootwell system status: " NO_APPLIANCE "\n");
	if (!r)
		cli_print_json(o);
	json_decref(o);
	return r ? CLI_FAILED : CLI_OK;
}

static int write_new(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd) < 0)
		r = errno ? -errno : -EIO;
	close(fd);
	return r;
}

/* FOLDER/key.pem and cert.pem, the certificate last: when it is there, both are. */
static int make_certificate(const char *key_file, const char *file, const char *name)
{
	char *certificate = NULL, *key = NULL, beside[520];
	int r = certificate_make(name, &certificate, &key);

	snprintf(beside, sizeof(beside), "%s.new", file);
	if (!r)
		r = write_new(key_file, key);
	if (!r)
		r = write_new(beside, certificate);
	if (!r && rename(beside, file) < 0)
		r = -errno;
	if (key)
		explicit_bzero(key, strlen(key));
	free(key);
	free(certificate);
	return r;
}

/* Makes a self-signed certificate where there is none, and prints what people know it by. */
static int certificate(const char *folder, const char *name)
{
	char file[512], key_file[512], pem[65536] = "";
	struct certificate_names names;
	FILE *f;
	int r = 0;

	snprintf(file, sizeof(file), "%.490s/cert.pem", folder);
	snprintf(key_file, sizeof(key_file), "%.490s/key.pem", folder);
	if (access(file, F_OK) || access(key_file, F_OK))
		r = make_certificate(key_file, file, name);
	f = r ? NULL : fopen(file, "re");
	if (f) {
		pem[fread(pem, 1, sizeof(pem) - 1, f)] = '\0';
		fclose(f);
	}
	if (!r)
		r = certificate_names(pem, &names);
	if (r) {
		fprintf(stderr, "bootwell: no certificate can be made in %s: %s\n", folder, strerror(-r));
		return CLI_FAILED;
	}
	printf("%s\n%s\n", names.certificate, names.key);
	return CLI_OK;
}

int cli_system(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv);

	if (argc == 3 && !strcmp(argv[1], "settings"))
		return settings(argv[2], false);
	if (argc == 4 && !strcmp(argv[1], "settings") && !strcmp(argv[2], "--catalogue"))
		return settings(argv[3], true);
	if (argc == 4 && !strcmp(argv[1], "certificate"))
		return certificate(argv[2], argv[3]);
	if (argc < 2 || (strcmp(argv[1], "status") && strcmp(argv[1], "update")) || !strcmp(argv[argc - 1], "--help")) {
		fputs("usage: bootwell system status | update FILE [--older] | settings FILE | "
		      "certificate FOLDER NAME\n",
		      stderr);
		return CLI_USAGE;
	}
	if (json && !strcmp(argv[1], "status"))
		return status_json();
	argv[0] = SYSTEM_SCRIPT;
	execv(SYSTEM_SCRIPT, argv);
	fprintf(stderr, "bootwell system %s: %s\n", argv[1], errno == ENOENT ? NO_APPLIANCE : strerror(errno));
	return CLI_FAILED;
}
