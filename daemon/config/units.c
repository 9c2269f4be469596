// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The drop-ins of the two units. Paths are named with a "-": one that is not there (a disk that is mounted later)
 * must not keep a unit from starting, and what is mounted later comes through, with the rights that it has outside.
 *
 * The images of tcmu-runner are not named: all that is not listed can be read. The store is named as the file that it
 * is, so that neither the state beside it nor the images can be written.
 */
#include "daemon/config/units.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORDS_MAX 65536 /* disks that are looked at */

static const char *const homes[] = {"/home", "/root", "/run/user", NULL};
static const char *const temporaries[] = {"/tmp", "/var/tmp", NULL};
/* Nothing there is tcmu-runner's business. */
static const char *const secrets[] = {"/etc/bootwell",    "/etc/shadow", "/etc/gshadow", "/etc/ssh", "/etc/ssl/private",
				      "/var/log/journal", NULL};

/* Is it the folder, or beneath it? */
static bool is_in(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return !strncmp(path, folder, n) && (path[n] == '/' || path[n] == '\0');
}

static bool is_in_any(const char *path, const char *const *folders)
{
	for (; *folders; folders++)
		if (is_in(path, *folders))
			return true;
	return false;
}

/* --- what is in use --- */

static bool can_be_named(const char *path)
{
	for (; *path; path++)
		if ((unsigned char)*path <= ' ' || *path == 0x7f || strchr("\"'\\", *path))
			return false;
	return true;
}

/* The records are bootwelld's. Who owns that one may not open another file to tcmu-runner by naming it: it has to
 * begin as a store does (docs/store-format.md). */
static bool is_store(const char *path)
{
	static const char magic[4] = {0x42, 0x4b, 0x57, 0x42};
	int fd = can_be_named(path) ? open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC) : -1;
	char head[4] = "";
	struct stat st;
	bool r;

	if (fd < 0)
		return false;
	r = !fstat(fd, &st) && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) && read(fd, head, 4) == 4 &&
	    !memcmp(head, magic, 4);
	close(fd);
	return r;
}

static void take_layer(struct units_used *used, char *value)
{
	char *rest, *dir;

	if (!strtok_r(value, " ", &rest) || !(dir = strtok_r(NULL, " ", &rest)))
		return;
	used->home |= is_in_any(dir, homes);
	used->temporary |= is_in_any(dir, temporaries);
}

static void read_record(struct units_used *used, const char *path)
{
	char line[HANDOVER_DIR_MAX + HANDOVER_FILE_MAX + 64], *value;
	FILE *file = fopen(path, "re");

	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		value = strchr(line, '=');
		if (!value)
			continue;
		*value++ = '\0';
		if (!strcmp(line, HANDOVER_STORE) && value[0] == '/' && is_store(value))
			snprintf(used->store, sizeof(used->store), "%.*s", HANDOVER_STORE_MAX - 1, value);
		else if (!strcmp(line, HANDOVER_LAYER))
			take_layer(used, value);
	}
	if (file)
		fclose(file);
}

void units_read_used(struct units_used *ret, const char *run_path)
{
	unsigned int left = RECORDS_MAX;
	struct dirent *entry;
	char path[900];
	DIR *dir;

	memset(ret, 0, sizeof(*ret));
	snprintf(path, sizeof(path), HANDOVER_ENGINE, run_path);
	read_record(ret, path);
	snprintf(path, sizeof(path), "%s/disk", run_path);
	dir = opendir(path);
	while (dir && left-- && (entry = readdir(dir))) {
		const char *end = strrchr(entry->d_name, '.');

		if (!end || strcmp(end, ".conf"))
			continue;
		snprintf(path, sizeof(path), "%.300s/disk/%.255s", run_path, entry->d_name);
		read_record(ret, path);
	}
	if (dir)
		closedir(dir);
}

/* --- the text --- */

static bool all_can_be_named(const char *const *path)
{
	for (; *path; path++)
		if (!can_be_named(*path))
			return false;
	return true;
}

/* What systemd would take for a specifier is doubled. */
static void put_text(FILE *to, const char *path)
{
	for (; *path; path++) {
		if (*path == '%')
			fputc('%', to);
		fputc(*path, to);
	}
}

static void put_path(FILE *to, const char *key, const char *path)
{
	fprintf(to, "%s=-", key);
	put_text(to, path);
	fputc('\n', to);
}

static void put_head(FILE *to, const struct config *c)
{
	fprintf(to,
		"# Made by bootwell-paths, of %s; \"systemctl daemon-reload\" makes it anew.\n"
		"[Service]\n"
		"ProtectSystem=strict\n",
		c->file);
	/* systemd 252 leaves it out of strict when it lays kernel tunables or control groups read-only. */
	if (strcmp(c->run_path, "/run"))
		put_path(to, "ReadOnlyPaths", "/run");
}

static bool any_in(const char *const *path, const char *const *folders)
{
	for (; *path; path++)
		if (is_in_any(*path, folders))
			return true;
	return false;
}

static void put_secrets(FILE *to, const char *const *path)
{
	for (const char *const *s = secrets; *s; s++) {
		bool needed = false;

		for (const char *const *p = path; *p; p++)
			needed |= is_in(*p, *s);
		if (!needed)
			put_path(to, "InaccessiblePaths", *s);
	}
}

/* The state lies beside the store: its parts are named, not its folder. */
static void put_state(FILE *to, const struct config *c)
{
	static const char *const parts[] = {"bootwell.db", "copies", "tls", NULL};
	char path[300];

	for (const char *const *part = parts; *part; part++) {
		snprintf(path, sizeof(path), "%.250s/%s", c->state_path, *part);
		if (!is_in(c->store_path, path) && !is_in(c->images_path, path) && !is_in(c->run_path, path))
			put_path(to, "InaccessiblePaths", path);
	}
}

/* As systemd-escape does it for a path (systemd.unit(5)): "dev-disk\x2d1.device". */
static void put_device_unit(FILE *to, const char *key, const char *path)
{
	fprintf(to, "%s=", key);
	for (const char *p = path + 1; *p; p++) {
		if (*p == '/')
			fputc('-', to);
		else if (isalnum((unsigned char)*p) || *p == ':' || *p == '_' || *p == '.')
			fputc(*p, to);
		else
			fprintf(to, "\\x%02x", (unsigned char)*p);
	}
	fputs(".device\n", to);
}

/* A block device is known to the sandbox of devices by its number: it has to be there by then. */
static void put_device(FILE *to, const char *store)
{
	fputs("DeviceAllow=", to);
	put_text(to, store);
	fputs(" rw\n[Unit]\n", to);
	put_device_unit(to, "Wants", store);
	put_device_unit(to, "After", store);
	fputs("[Service]\n", to);
}

static void put_store(FILE *to, const char *store)
{
	put_path(to, "ReadWritePaths", store);
	if (is_in(store, "/dev"))
		put_device(to, store);
}

bool units_write_runner(FILE *to, const struct config *c, const struct units_used *used)
{
	const char *const paths[] = {
		c->store_path, c->run_path, c->images_path, c->state_path, used->store[0] ? used->store : NULL, NULL};
	bool elsewhere = strcmp(c->run_path, HANDOVER_RUN) != 0;

	if (!all_can_be_named(paths))
		return false;
	put_head(to, c);
	put_store(to, c->store_path);
	if (used->store[0] && strcmp(used->store, c->store_path))
		put_store(to, used->store);
	put_path(to, "ReadWritePaths", c->run_path);
	put_path(to, "ReadWritePaths", UNITS_RUNNER_LOCK);
	if (elsewhere) {
		fputs("Environment=BOOTWELL_RUN=", to);
		put_text(to, c->run_path);
		fputc('\n', to);
	}
	fprintf(to, "ProtectHome=%s\n", used->home || any_in(paths, homes) ? "read-only" : "yes");
	fprintf(to, "PrivateTmp=%s\n", used->temporary || any_in(paths, temporaries) ? "no" : "yes");
	put_secrets(to, paths);
	put_state(to, c);
	return true;
}

bool units_write_daemon(FILE *to, const struct config *c)
{
	const char *const paths[] = {c->state_path, c->run_path, c->images_path,     c->store_path,
				     c->tftp_root,  c->tls_key,  c->tls_certificate, NULL};

	if (!all_can_be_named(paths))
		return false;
	put_head(to, c);
	put_path(to, "ReadWritePaths", c->state_path);
	put_path(to, "ReadWritePaths", c->run_path);
	put_path(to, "ReadWritePaths", c->images_path);
	fprintf(to, "ProtectHome=%s\n", any_in(paths, homes) ? "read-only" : "yes");
	fprintf(to, "PrivateTmp=%s\n", any_in(paths, temporaries) ? "no" : "yes");
	return true;
}
