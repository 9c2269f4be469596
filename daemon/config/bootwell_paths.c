// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bootwell-paths: gives systemd's sandboxes the paths that the configuration names (units.h).
 *
 * As bootwell-generator (systemd.generator(7)) it writes both drop-ins, at each start of the machine and each
 * "systemctl daemon-reload". Neither happens when an administrator edits the configuration and starts or restarts a
 * unit, so both units begin with "bootwell-paths prepare UNIT", as root and outside of the sandbox: what systemd has
 * is compared with what the configuration says, systemd is asked to read it anew when they differ, and what the
 * sandbox opens is made, for a path that is not there when the sandbox is built stays read-only.
 *
 * tcmu-runner keeps the sandbox that it was started with. Which one that was is noted, so that the start of bootwelld
 * can restart a runner without disks, and say what to do about one that PCs work on.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/config/units.h"

#define RUNNER         "tcmu-runner.service"
#define DAEMON         "bootwell.service"
#define GENERATED      "/run/systemd/generator"
#define NOTED          "/run/bootwell-paths" /* what the tcmu-runner that runs was started with */
#define COMMAND_SECOND 20

static const char usage[] = "usage: bootwell-paths show " RUNNER "|" DAEMON "\n"
			    "       bootwell-paths prepare " RUNNER "|" DAEMON "\n"
			    "The configuration is $BOOTWELL_CONFIG, /etc/bootwell/bootwell.conf.\n";

static struct config *config;
static struct units_used used;

/* The text of a unit's drop-in, to be freed; NULL: there is none. */
static char *wanted(const char *unit)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);
	bool any;

	if (!to)
		return NULL;
	any = strcmp(unit, RUNNER) ? units_write_daemon(to, config) : units_write_runner(to, config, &used);
	if (fclose(to) || !any) {
		free(text);
		return NULL;
	}
	return text;
}

static char *read_text(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;

	if (file && getdelim(&text, &room, '\0', file) < 0) {
		free(text);
		text = NULL;
	}
	if (file)
		fclose(file);
	return text;
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool differs(const char *path, const char *text)
{
	char *is = read_text(path);
	bool r = !same(is, text);

	free(is);
	return r;
}

static int write_text(const char *folder, const char *name, const char *text)
{
	char path[600];
	FILE *file;

	snprintf(path, sizeof(path), "%.250s/%.300s", folder, name);
	if (mkdir(folder, 0755) && errno != EEXIST)
		return -errno;
	file = fopen(path, "we");
	if (!file)
		return -errno;
	fputs(text, file);
	return fclose(file) ? -errno : 0;
}

/* --- the generator --- */

static int generate(const char *folder)
{
	static const char *const units[] = {RUNNER, DAEMON};
	char path[300];
	int r = 0;

	for (unsigned int i = 0; !r && i < 2; i++) {
		char *text = wanted(units[i]);

		snprintf(path, sizeof(path), "%.250s/%s.d", folder, units[i]);
		if (text)
			r = write_text(path, UNITS_DROPIN, text);
		free(text);
	}
	if (r)
		fprintf(stderr, "bootwell-generator: %s cannot be written: %s\n", path, strerror(-r));
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* --- preparing a start --- */

/* Its exit status; -1: it could not be run, or took too long. */
static int run(const char *verb, const char *unit)
{
	const char *const argv[] = {"systemctl", verb, unit, NULL};
	const struct timespec pause = {.tv_nsec = 10000000};
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	for (unsigned int i = 0; pid > 0 && i < COMMAND_SECOND * 100; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		nanosleep(&pause, NULL);
	}
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	return -1;
}

static bool is_stale(const char *unit)
{
	char path[300], *text = wanted(unit);
	bool r;

	snprintf(path, sizeof(path), GENERATED "/%s.d/" UNITS_DROPIN, unit);
	r = differs(path, text);
	free(text);
	return r;
}

static void refresh(void)
{
	if (!is_stale(RUNNER) && !is_stale(DAEMON))
		return;
	if (run("daemon-reload", NULL) || is_stale(RUNNER) || is_stale(DAEMON))
		fprintf(stderr,
			"bootwell: systemd does not take the paths of %s over for its sandboxes: look at \"systemctl "
			"daemon-reload\"\n",
			config->file);
}

/*
 * The folder and those above it, for who bootwelld runs as; only in folders of root's: in another one its owner may
 * have put a link in the way, and bootwelld can make what lies in its own.
 */
static void make_folder(const char *path, mode_t mode)
{
	const struct passwd *user = getpwnam("bootwell");
	char part[300] = "/";
	size_t n = strlen(path);
	struct stat above;

	for (size_t i = 1; i <= n && n < sizeof(part); i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		if (stat(part, &above) || above.st_uid != 0)
			return;
		memcpy(part, path, i);
		part[i] = '\0';
		if (!mkdir(part, i == n ? mode : 0755) && i == n && user && lchown(part, user->pw_uid, user->pw_gid))
			fprintf(stderr, "bootwell: %s: %s\n", part, strerror(errno));
	}
}

static void make_file(const char *path, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);

	if (fd >= 0)
		close(fd);
}

static void prepare_runner(void)
{
	char *text = wanted(RUNNER);

	make_folder(config->run_path, 0755);
	if (config->targets && strncmp(config->store_path, "/dev/", 5))
		make_file(config->store_path, 0600);
	make_file(UNITS_RUNNER_LOCK, 0600);
	if (write_text(NOTED, RUNNER, text ? text : ""))
		fprintf(stderr, "bootwell: %s: %s\n", NOTED, strerror(errno));
	free(text);
}

/* Is there a disk of ours? The kernel calls its uio device tcm-user/HBA/NAME/bootwell/ID. */
static bool has_disks(void)
{
	DIR *dir = opendir("/sys/class/uio");
	struct dirent *entry;
	bool found = false;
	char path[300];

	while (dir && !found && (entry = readdir(dir))) {
		char *name;

		snprintf(path, sizeof(path), "/sys/class/uio/%.200s/name", entry->d_name);
		name = entry->d_name[0] == '.' ? NULL : read_text(path);
		found = name && !strncmp(name, "tcm-user/", 9) && strstr(name, "/bootwell/");
		free(name);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void prepare_daemon(void)
{
	char *text = wanted(RUNNER);

	make_folder(config->state_path, 0750);
	make_folder(config->run_path, 0755);
	make_folder(config->images_path, 0755);
	if (text && config->targets && differs(NOTED "/" RUNNER, text) && !run("is-active", RUNNER)) {
		if (!has_disks())
			run("try-restart", RUNNER);
		else
			fputs("bootwell: tcmu-runner goes on with the paths that it was started with: when all PCs are "
			      "off, "
			      "\"systemctl restart tcmu-runner\" gives it those of the configuration\n",
			      stderr);
	}
	free(text);
}

static int show(const char *unit)
{
	char *text = wanted(unit);

	if (!text)
		return EXIT_FAILURE;
	fputs(text, stdout);
	free(text);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	const char *env = getenv("BOOTWELL_CONFIG"), *file = env ? env : "/etc/bootwell/bootwell.conf";
	bool generator = !strcmp(basename(argv[0]), "bootwell-generator");
	int r;

	if (!generator && (argc != 3 || (strcmp(argv[2], RUNNER) && strcmp(argv[2], DAEMON)) ||
			   (strcmp(argv[1], "show") && strcmp(argv[1], "prepare")))) {
		fputs(usage, stderr);
		return 2;
	}
	r = config_read_leniently(&config, file);
	if (r == -ENOENT && (generator || !strcmp(argv[1], "prepare")))
		return EXIT_SUCCESS; /* nothing is served yet */
	if (r) {
		fprintf(stderr, "bootwell: %s cannot be read: %s\n", file, strerror(-r));
		return EXIT_FAILURE;
	}
	units_read_used(&used, config->run_path);
	if (generator)
		return generate(argc > 1 ? argv[1] : GENERATED);
	if (!strcmp(argv[1], "show"))
		return show(argv[2]);
	refresh();
	if (!strcmp(argv[2], RUNNER))
		prepare_runner();
	else
		prepare_daemon();
	return EXIT_SUCCESS;
}
