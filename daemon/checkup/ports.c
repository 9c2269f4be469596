// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who listens at the ports where PCs and operators ask. /proc/net has the sockets of this network namespace with their
 * inodes (proc_pid_net(5)); whose an inode is stands in /proc/PID/fd, which only root may read of others.
 */
#include "daemon/checkup/checkup.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ABOUT      "ports"
#define TCP_LISTEN 0x0a /* "st" of /proc/net/tcp */
#define DHCP_PROXY 4011 /* PXE boot server, beside 67, in proxy mode */
#define DHCP_PEER  66

struct port {
	uint16_t number;
	bool udp;
	bool kernel; /* the kernel's own: no process has it */
	const char *what;
};

struct holder {
	bool found;
	pid_t pid; /* 0: nobody's, or not to be seen */
	char name[32];
};

/* The inode of a socket that listens there, in one of /proc/net's tables; false: none does. */
static bool find_socket(const char *table, bool udp, uint16_t port, unsigned long *ret)
{
	FILE *file = fopen(table, "re");
	bool found = false;
	char line[512];

	while (file && !found && fgets(line, sizeof(line), file)) {
		unsigned int local = 0, state = 0;

		/* sl local:port remote:port st tx:rx tr:when retrnsmt uid timeout inode */
		if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*d %lu", &local, &state,
			   ret) == 3)
			found = local == port && (udp || state == TCP_LISTEN);
	}
	if (file)
		fclose(file);
	return found;
}

static bool has_inode(const char *pid, unsigned long inode)
{
	char path[300], link[64], wanted[64];
	struct dirent *e;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	dir = opendir(path);
	while (dir && !found && (e = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), e->d_name, link, sizeof(link) - 1);

		found = n > 0 && (size_t)n == strlen(wanted) && !memcmp(link, wanted, (size_t)n);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void find_holder(unsigned long inode, struct holder *ret)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;

	while (dir && !ret->pid && (e = readdir(dir))) {
		char path[300];

		if (!isdigit((unsigned char)e->d_name[0]) || !has_inode(e->d_name, inode))
			continue;
		ret->pid = atoi(e->d_name);
		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		checkup_read(path, ret->name, sizeof(ret->name));
	}
	if (dir)
		closedir(dir);
}

static struct holder holder_of(const struct port *port)
{
	static const char *const tables[2][2] = {{"/proc/net/tcp", "/proc/net/tcp6"},
						 {"/proc/net/udp", "/proc/net/udp6"}};
	struct holder ret = {.found = false};
	unsigned long inode = 0;

	for (int i = 0; i < 2 && !ret.found; i++)
		ret.found = find_socket(tables[port->udp][i], port->udp, port->number, &inode);
	if (ret.found && inode)
		find_holder(inode, &ret);
	return ret;
}

static void look_at(struct checkup *checkup, const struct port *port)
{
	struct holder holder = holder_of(port);
	const char *kind = port->udp ? "UDP" : "TCP";
	bool ours = port->kernel ? holder.found && !holder.pid : holder.found && !strcmp(holder.name, "bootwelld");
	char todo[CHECKUP_TEXT];

	if (ours) {
		checkup_say(checkup, CHECKUP_OK, ABOUT, "", "%s port %u (%s) is served", kind, port->number,
			    port->what);
	} else if (holder.found && holder.pid) {
		snprintf(todo, sizeof(todo),
			 "stop it (\"systemctl status %d\" names its service), or give one of the two another port",
			 (int)holder.pid);
		checkup_say(checkup, CHECKUP_BAD, ABOUT, todo, "%s port %u (%s) is held by %s, process %d", kind,
			    port->number, port->what, holder.name, (int)holder.pid);
	} else if (holder.found) {
		checkup_say(checkup, CHECKUP_WARN, ABOUT, "ask again as root",
			    "%s port %u (%s) is held by a process "
			    "that cannot be seen",
			    kind, port->number, port->what);
	} else if (checkup->runs) {
		checkup_say(checkup, port->kernel ? CHECKUP_WARN : CHECKUP_BAD, ABOUT,
			    port->kernel ? "it is there once the first PC has a disk; else see \"bootwell status\""
					 : "see \"bootwell status\" and \"journalctl -u bootwell\"",
			    "nobody listens at %s port %u (%s)", kind, port->number, port->what);
	} else {
		checkup_say(checkup, CHECKUP_OK, ABOUT, "", "%s port %u (%s) is free for bootwelld", kind, port->number,
			    port->what);
	}
}

void checkup_ports(struct checkup *checkup)
{
	const struct config *c = checkup->config;
	bool dhcp = c->dhcp_mode != CONFIG_DHCP_OFF;
	const struct {
		bool wanted;
		struct port port;
	} all[] = {
		{dhcp, {c->dhcp_port, true, false, "DHCP"}},
		{c->dhcp_mode == CONFIG_DHCP_PROXY, {DHCP_PROXY, true, false, "PXE boot server"}},
		{dhcp && c->dhcp_peer && c->dhcp_port != DHCP_PEER, {DHCP_PEER, true, false, "the other DHCP server"}},
		{c->tftp, {c->tftp_port, true, false, "TFTP"}},
		{true, {c->http_port, false, false, "scripts, status, page"}},
		{true, {c->upload_port, false, false, "image upload"}},
		{c->targets, {c->iscsi_port, false, true, "iSCSI"}},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i].wanted && all[i].port.number)
			look_at(checkup, &all[i].port);
}
