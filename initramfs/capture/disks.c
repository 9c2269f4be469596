// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel has read the partition tables (/sys/block), blkid says what is on a partition, partclone which blocks of
 * it are in use (a domain log, see used_map.h). What lies between partitions is always sent: boot loaders and the
 * tables themselves live there. A file system that was not left clean may have taken blocks that its bitmap does not
 * show yet, so it is sent whole.
 */
#include "initramfs/capture/disks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tcmu-handler/image/bytes.h"

#define SECTOR 512u

/* --- /sys ---------------------------------------------------------------------------------------------------------*/

static bool read_text(const char *path, char *to, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(to, (int)size, f);
	size_t n;

	if (f)
		fclose(f);
	if (!ok)
		return false;
	for (n = strlen(to); n && strchr(" \n", to[n - 1]); n--)
		to[n - 1] = '\0';
	return true;
}

static uint64_t read_number(const char *format, const char *a, const char *b)
{
	char path[256], text[32];

	snprintf(path, sizeof(path), format, a, b);
	return read_text(path, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

static bool wanted(const char *name, bool loops)
{
	static const char *const not_disks[] = {"ram", "zram", "sr", "fd", "md", "dm-", "nbd", "mtd"};
	char path[128], target[512];
	ssize_t n;

	if (strncmp(name, "loop", 4) == 0)
		return loops && read_number("/sys/block/%s/size%s", name, "") > 0;
	for (size_t i = 0; i < sizeof(not_disks) / sizeof(not_disks[0]); i++)
		if (strncmp(name, not_disks[i], strlen(not_disks[i])) == 0)
			return false;
	snprintf(path, sizeof(path), "/sys/block/%s", name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return !strstr(target, "/session") && read_number("/sys/block/%s/size%s", name, "") > 0;
}

static int by_start(const void *a, const void *b)
{
	const struct partition *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void find_partitions(struct disk *disk)
{
	char path[128];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/block/%s", disk->name);
	d = opendir(path);
	while (d && (e = readdir(d)) && disk->partitions < PARTITIONS_MAX) {
		struct partition *p = &disk->partition[disk->partitions];

		if (strncmp(e->d_name, disk->name, strlen(disk->name)) || strlen(e->d_name) >= sizeof(p->name))
			continue;
		memset(p, 0, sizeof(*p));
		strcpy(p->name, e->d_name);
		p->start = read_number("/sys/block/%s/%s/start", disk->name, p->name) * SECTOR;
		p->size = read_number("/sys/block/%s/%s/size", disk->name, p->name) * SECTOR;
		if (p->size)
			disk->partitions++;
	}
	if (d)
		closedir(d);
	qsort(disk->partition, disk->partitions, sizeof(disk->partition[0]), by_start);
}

/* sda, sdb, ... sdz, sdaa: /sys has no order of its own, and a person counts. */
static int by_name(const void *a, const void *b)
{
	const struct disk *x = a, *y = b;
	size_t n = strlen(x->name), m = strlen(y->name);

	return n != m ? (n < m ? -1 : 1) : strcmp(x->name, y->name);
}

unsigned int disks_find(struct disk *disks, unsigned int max, bool loops)
{
	DIR *d = opendir("/sys/block");
	unsigned int n = 0;
	struct dirent *e;
	char path[128];

	while (d && (e = readdir(d)) && n < max) {
		struct disk *disk = &disks[n];

		if (e->d_name[0] == '.' || strlen(e->d_name) >= sizeof(disk->name) || !wanted(e->d_name, loops))
			continue;
		memset(disk, 0, sizeof(*disk));
		strcpy(disk->name, e->d_name);
		disk->size = read_number("/sys/block/%s/size%s", disk->name, "") * SECTOR;
		disk->sector = read_number("/sys/block/%s/queue/logical_block_size%s", disk->name, "");
		snprintf(path, sizeof(path), "/sys/block/%s/device/model", disk->name);
		if (!read_text(path, disk->model, sizeof(disk->model)))
			snprintf(disk->model, sizeof(disk->model), "disk");
		find_partitions(disk);
		n++;
	}
	if (d)
		closedir(d);
	qsort(disks, n, sizeof(*disks), by_name);
	return n;
}

/* --- programs -----------------------------------------------------------------------------------------------------*/

/* Runs a program with its output (and what it says) to `out`; its exit status, or -errno. */
static int run(const char *const argv[], int out)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, STDIN_FILENO);
		dup2(out >= 0 ? out : null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

static void take_field(const char *line, const char *key, char *to, size_t size)
{
	size_t n = strlen(key);

	if (strncmp(line, key, n) == 0 && line[n] == '=') {
		snprintf(to, size, "%s", line + n + 1);
		to[strcspn(to, "\n")] = '\0';
	}
}

static void look(struct partition *p)
{
	char device[64], line[512];
	const char *const argv[] = {"blkid", "-p", "-o", "export", device, NULL};
	FILE *f = tmpfile();

	snprintf(device, sizeof(device), "/dev/%s", p->name);
	if (!f)
		return;
	if (run(argv, fileno(f)) == 0) {
		rewind(f);
		while (fgets(line, sizeof(line), f)) {
			take_field(line, "TYPE", p->type, sizeof(p->type));
			take_field(line, "LABEL", p->label, sizeof(p->label));
		}
	}
	fclose(f);
}

void disk_look(struct disk *disk)
{
	for (unsigned int i = 0; i < disk->partitions; i++)
		look(&disk->partition[i]);
}

/* --- use ----------------------------------------------------------------------------------------------------------*/

static const char *partclone_for(const char *type)
{
	if (strcmp(type, "ext2") == 0 || strcmp(type, "ext3") == 0 || strcmp(type, "ext4") == 0)
		return "partclone.extfs";
	if (strcmp(type, "ntfs") == 0)
		return "partclone.ntfs";
	if (strcmp(type, "vfat") == 0)
		return "partclone.fat";
	return NULL;
}

/* Was it left as it should be? The journal of an ext file system may hold what its bitmaps do not show. */
static bool left_clean(const struct disk *disk, const struct partition *p)
{
	uint8_t super[1024];
	char device[64];
	bool clean = true;
	int fd;

	if (strncmp(p->type, "ext", 3))
		return true; /* partclone looks at the others' own marks */
	snprintf(device, sizeof(device), "/dev/%s", disk->name);
	fd = open(device, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, super, sizeof(super), (off_t)(p->start + 1024)) != sizeof(super))
		clean = false;
	else if (le16_at(super + 0x38) != 0xef53 || le32_at(super + 0x60) & 4 /* needs recovery */ ||
		 !(le16_at(super + 0x3a) & 1))
		clean = false;
	if (fd >= 0)
		close(fd);
	return clean;
}

static void tell(void (*say)(const char *), const struct partition *p, const char *text)
{
	char sentence[320];

	snprintf(sentence, sizeof(sentence), "%s: %s%s%.60s%s%s", p->name, p->type[0] ? p->type : "unknown",
		 p->label[0] ? " \"" : "", p->label, p->label[0] ? "\", " : ", ", text);
	say(sentence);
}

/* A map of its own, so that a failure in the middle leaves nothing behind. */
static struct used_map *partition_map(const struct disk *disk, const struct partition *p, const char *program)
{
	char device[64], offset[64], log[] = "/tmp/bootwell-domain.XXXXXX";
	const char *const argv[] = {program, "-D", "-s", device, "-o", log, offset, "-L", "/dev/null", NULL};
	struct used_map *map = used_map_new(disk->size);
	int fd = mkstemp(log), r = -1;
	FILE *f = NULL;

	snprintf(device, sizeof(device), "/dev/%s", p->name);
	snprintf(offset, sizeof(offset), "--offset_domain=%" PRIu64, p->start);
	if (map && fd >= 0) {
		unlink(log); /* partclone makes it anew */
		r = run(argv, -1);
		f = r == 0 ? fopen(log, "re") : NULL;
		r = f ? used_map_read_log(map, f, p->start, p->start + p->size) : -1;
		unlink(log);
	}
	if (f)
		fclose(f);
	if (fd >= 0)
		close(fd);
	if (r == 0)
		return map;
	used_map_free(map);
	return NULL;
}

static void add_partition(struct used_map *map, const struct disk *disk, const struct partition *p,
			  void (*say)(const char *))
{
	const char *program = partclone_for(p->type);
	struct used_map *own;
	char text[128];

	if (strcmp(p->type, "swap") == 0) {
		used_map_add_free(map, p->start + 4096, p->start + p->size - 4096);
		tell(say, p, "only its header is sent");
		return;
	}
	if (!program) {
		tell(say, p, "sent whole");
		return;
	}
	if (!left_clean(disk, p)) {
		tell(say, p, "was not shut down cleanly: sent whole");
		return;
	}
	own = partition_map(disk, p, program);
	if (!own) {
		tell(say, p, "its use cannot be found out (not shut down cleanly, or hibernated?): sent whole");
		return;
	}
	snprintf(text, sizeof(text), "%" PRIu64 " MiB of %" PRIu64 " MiB in use",
		 used_map_count(own, p->start, p->start + p->size) >> 20, p->size >> 20);
	for (size_t i = 0; i < own->n_free; i++)
		used_map_add_free(map, own->free[i].start, own->free[i].end);
	used_map_free(own);
	tell(say, p, text);
}

struct used_map *disk_used(const struct disk *disk, void (*say)(const char *sentence))
{
	struct used_map *map = used_map_new(disk->size);
	uint64_t end = 0;

	for (unsigned int i = 0; map && i < disk->partitions; i++) {
		const struct partition *p = &disk->partition[i];

		/* An extended partition is the frame of others, and they are looked at by themselves. */
		if (p->start < end || p->size <= 2 * SECTOR || p->size > disk->size || p->start > disk->size - p->size)
			continue;
		add_partition(map, disk, p, say);
		end = p->start + p->size;
	}
	return map;
}
