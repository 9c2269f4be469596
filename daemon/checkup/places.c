// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The folders of images, of the state, of what PCs write: there, writable, with room left. Another process looks, for
 * one on a server that is gone never comes back from it.
 */
#include "daemon/checkup/checkup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define ABOUT      "disks"
#define PATIENCE   3000 /* ms that a folder may take to answer */
#define LITTLE     10   /* % free */
#define FEW        (1ull << 30)
#define CIFS_MAGIC 0xff534d42

struct look {
	int error; /* of stat() */
	bool folder, block, read_only, over_network;
	uint64_t size;     /* of a file, apparent */
	uint64_t has;      /* of that on the disk */
	uint64_t free, of; /* bytes of the file system */
};

static void look_there(const char *path, struct look *ret)
{
	struct statvfs vfs;
	struct statfs fs;
	struct stat st;

	memset(ret, 0, sizeof(*ret));
	if (stat(path, &st) < 0) {
		ret->error = errno;
		return;
	}
	ret->folder = S_ISDIR(st.st_mode);
	ret->block = S_ISBLK(st.st_mode);
	ret->size = (uint64_t)st.st_size;
	ret->has = (uint64_t)st.st_blocks * 512;
	if (!statvfs(path, &vfs)) {
		ret->read_only = vfs.f_flag & ST_RDONLY;
		ret->free = (uint64_t)vfs.f_bavail * vfs.f_frsize;
		ret->of = (uint64_t)vfs.f_blocks * vfs.f_frsize;
	}
	if (!statfs(path, &fs))
		ret->over_network = fs.f_type == NFS_SUPER_MAGIC || fs.f_type == (typeof(fs.f_type))CIFS_MAGIC;
}

/* 0, or -ETIMEDOUT: it does not answer. */
static int look(const char *path, struct look *ret)
{
	struct pollfd answer = {.events = POLLIN};
	int fds[2], r = -ETIMEDOUT;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		look_there(path, ret);
		_exit(write(fds[1], ret, sizeof(*ret)) != sizeof(*ret));
	}
	close(fds[1]);
	answer.fd = fds[0];
	if (pid > 0 && poll(&answer, 1, PATIENCE) == 1 && read(fds[0], ret, sizeof(*ret)) == sizeof(*ret))
		r = 0;
	close(fds[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, r ? WNOHANG : 0); /* one that hangs in the kernel ends when it is let go */
	}
	return r;
}

static const char *bytes(char ret[32], uint64_t n)
{
	static const char units[] = "BKMGTP";
	double value = (double)n;
	int unit = 0;

	for (; value >= 1024 && units[unit + 1]; unit++)
		value /= 1024;
	snprintf(ret, 32, unit ? "%.1f%c" : "%.0f%c", value, units[unit]);
	return ret;
}

/* Whatever is wrong with the path itself; false: it is, and was said. */
static bool is_there(struct checkup *checkup, const char *what, const char *path, const char *key, struct look *ret)
{
	char todo[CHECKUP_TEXT];

	if (look(path, ret) < 0) {
		checkup_say(checkup, CHECKUP_BAD, ABOUT,
			    "see whether the server or disk behind it is there (\"findmnt -T PATH\", \"dmesg\")",
			    "%s %s has not answered for %d s", what, path, PATIENCE / 1000);
		return false;
	}
	if (ret->error) {
		snprintf(todo, sizeof(todo), "mount its disk, make it, or correct %s in the configuration", key);
		checkup_say(checkup, CHECKUP_BAD, ABOUT, todo, "%s %s: %s", what, path, strerror(ret->error));
		return false;
	}
	return true;
}

static void look_at_room(struct checkup *checkup, const char *what, const char *path, const struct look *l)
{
	char free[32], of[32];

	bytes(free, l->free);
	bytes(of, l->of);
	if (l->free < FEW || l->free / LITTLE < l->of / 100)
		checkup_say(checkup, l->free < FEW / 16 ? CHECKUP_BAD : CHECKUP_WARN, ABOUT,
			    "free some, or move it to a larger disk", "%s %s: only %s of %s are free", what, path, free,
			    of);
	else
		checkup_say(checkup, CHECKUP_OK, ABOUT, "", "%s %s%s: %s of %s are free", what, path,
			    l->over_network ? " (on another server)" : "", free, of);
}

static void look_at_folder(struct checkup *checkup, const char *what, const char *path, const char *key, bool writes)
{
	char todo[CHECKUP_TEXT];
	struct look l;

	if (!is_there(checkup, what, path, key, &l))
		return;
	if (!l.folder) {
		snprintf(todo, sizeof(todo), "correct %s in the configuration", key);
		checkup_say(checkup, CHECKUP_BAD, ABOUT, todo, "%s %s is no folder", what, path);
	} else if (l.read_only) {
		checkup_say(checkup, writes ? CHECKUP_BAD : CHECKUP_WARN, ABOUT,
			    "see \"dmesg\" for a file system that went read-only by an error, and /etc/fstab",
			    "%s %s is mounted read-only", what, path);
	} else {
		look_at_room(checkup, what, path, &l);
	}
}

static void look_at_store(struct checkup *checkup)
{
	const struct config *c = checkup->config;
	uint64_t size = c->store_size, more;
	char folder[300], needs[32], free[32];
	char *slash;
	struct look l;

	snprintf(folder, sizeof(folder), "%s", c->store_path);
	if (!look(folder, &l) && l.error == ENOENT) {
		slash = strrchr(folder, '/');
		if (slash && slash != folder)
			*slash = '\0';
	}
	if (!is_there(checkup, "the folder of the write-back store", folder, "[write-back] path", &l) || l.block)
		return;
	more = l.folder ? size : size > l.has ? size - l.has : 0;
	if (l.read_only)
		checkup_say(checkup, CHECKUP_BAD, ABOUT, "see \"dmesg\" and /etc/fstab",
			    "the write-back store %s lies on a file system that is read-only", c->store_path);
	else if (more > l.free)
		checkup_say(checkup, CHECKUP_BAD, ABOUT, "free some, or make [write-back] size smaller",
			    "the write-back store %s may still grow by %s, and its file system has %s free",
			    c->store_path, bytes(needs, more), bytes(free, l.free));
	else
		checkup_say(checkup, CHECKUP_OK, ABOUT, "", "the write-back store %s has its place", c->store_path);
}

void checkup_places(struct checkup *checkup)
{
	const struct config *c = checkup->config;

	look_at_folder(checkup, "the folder of the state", c->state_path, "[server] state", true);
	if (c->images_path[0])
		look_at_folder(checkup, "the folder of the images", c->images_path, "[images] path", false);
	if (c->tftp)
		look_at_folder(checkup, "the folder of boot programs", c->tftp_root, "[tftp] root", false);
	if (c->targets && c->store_path[0])
		look_at_store(checkup);
}
