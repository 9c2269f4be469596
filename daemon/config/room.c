// SPDX-License-Identifier: GPL-2.0-or-later
/* The folders, the memory and the network that a right file is for: what is not there, or too small. */
#include "daemon/config/room.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

struct room {
	const struct config *config;
	config_report_fn report;
	void *arg;
};

static void warn(const struct room *room, unsigned int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void warn(const struct room *room, unsigned int line, const char *format, ...)
{
	char text[700];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	room->report(room->arg, room->config->file, line, text);
}

/* Is this one of the folders that bootwelld makes itself, or one above it? */
static bool is_made(const struct config *c, const char *folder)
{
	const char *const made[] = {c->state_path, c->run_path, c->images_path};
	size_t n = strlen(folder);

	for (unsigned int i = 0; i < 3; i++)
		if (!strncmp(made[i], folder, n) && (!made[i][n] || made[i][n] == '/'))
			return true;
	return false;
}

/* The store is made by the handler; the folder that it shall lie in is not. */
static void look_at_store(const struct room *room)
{
	const struct config *c = room->config;
	const char *slash = strrchr(c->store_path, '/');
	char folder[sizeof(c->store_path)];
	struct stat st;

	if (!c->targets || !slash || !stat(c->store_path, &st))
		return;
	snprintf(folder, sizeof(folder), "%.*s", slash == c->store_path ? 1 : (int)(slash - c->store_path),
		 c->store_path);
	if (!stat(folder, &st) && S_ISDIR(st.st_mode))
		return;
	if (!is_made(c, folder))
		warn(room, 0, "[write-back] path: there is no folder %s: no PC gets a disk before it is there", folder);
}

/* The caches are touched page by page: what is more than the machine has ends in somebody's being killed. */
static void look_at_memory(const struct room *room)
{
	const struct config *c = room->config;
	struct sysinfo info;
	uint64_t has, wants = c->image_ram + c->write_back_ram;

	if (!c->targets || sysinfo(&info))
		return;
	has = (uint64_t)info.totalram * info.mem_unit;
	if (wants > has / 4 * 3)
		warn(room, 0,
		     "[cache] image_ram and write_back_ram are %llu MiB, and this machine has %llu MiB of memory: "
		     "leave a "
		     "quarter of it for the rest",
		     (unsigned long long)wants >> 20, (unsigned long long)has >> 20);
}

/* As who we are now: access() asks for the user who started us, without a service's capabilities. */
static bool can(const char *path, int what)
{
	return !faccessat(AT_FDCWD, path, what, AT_EACCESS);
}

static void look_at_folders(const struct room *room)
{
	const struct config *c = room->config;

	if (c->tftp && !can(c->tftp_root, X_OK))
		warn(room, 0,
		     "[tftp] root %s: %s; it holds the boot programs (the package ipxe has them in /usr/lib/ipxe)",
		     c->tftp_root, strerror(errno));
	if (c->tls_certificate[0] && !can(c->tls_certificate, R_OK))
		warn(room, 0, "[http] tls-certificate %s: %s", c->tls_certificate, strerror(errno));
	if (c->tls_key[0] && !can(c->tls_key, R_OK))
		warn(room, 0, "[http] tls-key %s: %s", c->tls_key, strerror(errno));
}

void config_look_at_images(const struct config *c, config_report_fn report, void *arg)
{
	const struct room room = {.config = c, .report = report, .arg = arg};
	char path[600];

	for (size_t i = 0; i < c->images; i++) {
		snprintf(path, sizeof(path), "%s/%s", c->images_path, c->image[i].file);
		if (!can(path, R_OK))
			warn(&room, c->image[i].line, "image %s cannot be read: %s: %s", c->image[i].name, path,
			     strerror(errno));
	}
}

static void look_at_alert(const struct room *room)
{
	const struct config_alert *a = &room->config->alert;
	struct stat st;

	if (a->smtp_password_file[0] && stat(a->smtp_password_file, &st))
		warn(room, a->line, "[alert] smtp-password-file %s: %s", a->smtp_password_file, strerror(errno));
	else if (a->smtp_password_file[0] && st.st_mode & S_IRWXO)
		warn(room, a->line,
		     "[alert] smtp-password-file %s is not used, because others may read it: \"chmod o= %s\" does that",
		     a->smtp_password_file, a->smtp_password_file);
	if (a->command[0] && !can(a->command, X_OK))
		warn(room, a->line, "[alert] command %s cannot be started: %s", a->command, strerror(errno));
	if (a->ca_file[0] && !can(a->ca_file, R_OK))
		warn(room, a->line, "[alert] ca-file %s: %s", a->ca_file, strerror(errno));
}

/* What PCs will miss, and what is written down for nothing. */
static void look_at_subnets(const struct room *room)
{
	const struct config *c = room->config;

	for (size_t i = 0; i < c->subnets; i++) {
		const struct config_subnet *s = &c->subnet[i];
		bool router = s->router.count, dns = s->dns.count;

		if (c->dhcp_mode == CONFIG_DHCP_PROXY && s->ranges)
			warn(room, s->line,
			     "range of [subnet %s] is not used: with mode = proxy another server gives the addresses",
			     s->name);
		if (c->dhcp_mode != CONFIG_DHCP_FULL || (router && dns))
			continue;
		warn(room, s->line,
		     "PCs of [subnet %s] are told no %s: write %s%s%s, if they shall reach other networks", s->name,
		     !router && !dns ? "router and no DNS"
		     : !router       ? "router"
				     : "DNS",
		     router ? "" : "router = ADDRESS", router || dns ? "" : " and ", dns ? "" : "dns = ADDRESS");
	}
}

void config_look_at_room(const struct config *config, config_report_fn report, void *arg)
{
	const struct room room = {.config = config, .report = report, .arg = arg};

	look_at_folders(&room);
	look_at_store(&room);
	look_at_memory(&room);
	look_at_subnets(&room);
	look_at_alert(&room);
}
