/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk in memory, below SQLite (sqlite3_vfs, https://sqlite.org/vfs.html). What is written is there at once for who
 * reads; what was not flushed is lost, sector by sector as chance wants, when the power fails. New names and removed
 * ones are there at once (a journal's work). A disk that is full lets no file grow; a flush takes time.
 */
#include "tests/sim/sim.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/state/state.h"

#define SECTOR 512u
#define FILES  4
#define SHARED 4 /* regions of 32 KiB */

/* A sector as it was when the file was flushed last. */
struct old {
	size_t sector;
	uint8_t data[SECTOR];
};

struct sim_file {
	char name[64];
	struct sim_disk *disk;
	unsigned int users;
	uint8_t *data;
	size_t size, room, flushed_size;
	uint8_t *dirty; /* a byte a sector */
	size_t dirty_room;
	struct old *old;
	size_t olds, olds_room;
	unsigned int readers;  /* SQLite's locks of a file: SHARED ones, */
	struct handle *writer; /* and who has RESERVED or more */
	/* -shm: */
	void *shared[SHARED];
	unsigned int shared_users;
	unsigned int share[SQLITE_SHM_NLOCK];
	struct handle *exclusive[SQLITE_SHM_NLOCK];
};

struct handle {
	sqlite3_file base;
	struct sim_file *file;
	int level;
	bool maps;
	bool shares[SQLITE_SHM_NLOCK];
};

static uint64_t took;

uint64_t sim_disk_took(void)
{
	uint64_t ret = took;

	took = 0;
	return ret;
}

void sim_disk_takes(uint64_t ns)
{
	took += ns;
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* --- the bytes ---------------------------------------------------------------------------------------------------- */
static void grow(struct sim_file *f, size_t size)
{
	size_t sectors = (size + SECTOR - 1) / SECTOR;

	if (size > f->room) {
		size_t room = (size + 65535) & ~(size_t)65535;

		f->data = must(realloc(f->data, room));
		memset(f->data + f->room, 0, room - f->room);
		f->room = room;
	}
	if (sectors > f->dirty_room) {
		size_t room = (sectors + 127) & ~(size_t)127;

		f->dirty = must(realloc(f->dirty, room));
		memset(f->dirty + f->dirty_room, 0, room - f->dirty_room);
		f->dirty_room = room;
	}
}

static void remember(struct sim_file *f, size_t sector)
{
	if (f->dirty[sector])
		return;
	f->dirty[sector] = 1;
	if (f->olds == f->olds_room) {
		f->olds_room = f->olds_room ? 2 * f->olds_room : 64;
		f->old = must(realloc(f->old, f->olds_room * sizeof(*f->old)));
	}
	f->old[f->olds].sector = sector;
	memcpy(f->old[f->olds++].data, f->data + sector * SECTOR, SECTOR);
}

static void put(struct sim_file *f, const void *data, size_t length, size_t at)
{
	grow(f, at + length + SECTOR);
	for (size_t sector = at / SECTOR; sector <= (at + length - 1) / SECTOR; sector++)
		remember(f, sector);
	memcpy(f->data + at, data, length);
	if (at + length > f->size)
		f->size = at + length;
}

static void flushed(struct sim_file *f)
{
	for (size_t i = 0; i < f->olds; i++)
		f->dirty[f->old[i].sector] = 0;
	f->olds = 0;
	f->flushed_size = f->size;
}

static void lose(struct sim_file *f)
{
	for (size_t i = 0; i < f->olds; i++)
		if (sim_chance(500))
			memcpy(f->data + f->old[i].sector * SECTOR, f->old[i].data, SECTOR);
	if (f->size != f->flushed_size && sim_chance(500)) {
		grow(f, f->flushed_size + SECTOR);
		f->size = f->flushed_size;
	}
	if (f->olds)
		sim_rare("the power took what was not flushed");
	flushed(f);
}

/* --- files -------------------------------------------------------------------------------------------------------- */
static struct sim_file *find(struct sim_disk *disk, const char *name)
{
	for (int i = 0; i < FILES; i++)
		if (disk->file[i] && !strcmp(disk->file[i]->name, name))
			return disk->file[i];
	return NULL;
}

static struct sim_file *create(struct sim_disk *disk, const char *name)
{
	for (int i = 0; i < FILES; i++) {
		struct sim_file *f;

		if (disk->file[i])
			continue;
		f = disk->file[i] = must(calloc(1, sizeof(*f)));
		strncpy(f->name, name, sizeof(f->name) - 1);
		f->disk = disk;
		grow(f, SECTOR);
		return f;
	}
	abort();
}

static void file_free(struct sim_file *f)
{
	for (int i = 0; i < SHARED; i++)
		free(f->shared[i]);
	free(f->data);
	free(f->dirty);
	free(f->old);
	free(f);
}

static void drop(struct sim_file *f)
{
	for (int i = 0; i < FILES; i++)
		if (f->disk->file[i] == f)
			f->disk->file[i] = NULL;
	file_free(f);
}

size_t sim_disk_size(const struct sim_disk *disk)
{
	size_t size = 0;

	for (int i = 0; i < FILES; i++)
		size += disk->file[i] ? disk->file[i]->size : 0;
	return size;
}

struct sim_disk *sim_disk_after(struct sim_disk *disk, bool power)
{
	struct sim_disk *ret = must(calloc(1, sizeof(*ret)));

	ret->slow = disk->slow;
	for (int i = 0; i < FILES; i++) {
		struct sim_file *from = disk->file[i], *to;

		if (!from)
			continue;
		to = create(ret, from->name);
		grow(to, from->room);
		memcpy(to->data, from->data, from->room);
		to->size = from->size;
		to->flushed_size = from->flushed_size;
		for (size_t k = 0; k < from->olds; k++) {
			remember(to, from->old[k].sector);
			memcpy(to->old[k].data, from->old[k].data, SECTOR);
		}
		if (power)
			lose(to);
	}
	return ret;
}

void sim_disk_free(struct sim_disk *disk)
{
	for (int i = 0; disk && i < FILES; i++)
		if (disk->file[i])
			file_free(disk->file[i]);
	free(disk);
}

/* --- sqlite3_file ------------------------------------------------------------------------------------------------- */
static struct handle *handle_of(sqlite3_file *f)
{
	return (struct handle *)f;
}

static int f_close(sqlite3_file *f)
{
	handle_of(f)->file->users--;
	return SQLITE_OK;
}

static int f_read(sqlite3_file *file, void *to, int length, sqlite3_int64 at)
{
	struct sim_file *f = handle_of(file)->file;
	size_t n = (size_t)at < f->size ? f->size - (size_t)at : 0;

	n = n < (size_t)length ? n : (size_t)length;
	memcpy(to, f->data + (n ? at : 0), n);
	memset((uint8_t *)to + n, 0, (size_t)length - n);
	return n == (size_t)length ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

/* The power fails now: what is on the disk stays so, whatever the server does until it is taken apart. */
static void die(struct sim_server *server)
{
	sim_say("%s: the power fails within a write", server->name);
	sim_rare("the power failed within a write");
	server->dead = server->dies = true;
	server->survives = sim_disk_after(server->disk, true);
}

static int f_write(sqlite3_file *file, const void *data, int length, sqlite3_int64 at)
{
	struct sim_file *f = handle_of(file)->file;

	if (f->disk->broken)
		return SQLITE_IOERR_WRITE;
	if (f->disk->full && (size_t)(at + length) > f->size)
		return SQLITE_FULL;
	if (sim_server && !sim_server->dead && sim_server->die_in && !--sim_server->die_in)
		die(sim_server);
	put(f, data, (size_t)length, (size_t)at);
	return SQLITE_OK;
}

static int f_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct sim_file *f = handle_of(file)->file;

	for (size_t sector = (size_t)size / SECTOR; sector * SECTOR < f->size; sector++)
		remember(f, sector);
	if ((size_t)size < f->size)
		memset(f->data + size, 0, f->size - (size_t)size);
	f->size = (size_t)size < f->size ? (size_t)size : f->size;
	return SQLITE_OK;
}

static int f_sync(sqlite3_file *file, int flags)
{
	struct sim_file *f = handle_of(file)->file;

	(void)flags;
	if (f->disk->broken)
		return SQLITE_IOERR_FSYNC;
	took += 100000 + sim_below(f->disk->slow ? f->disk->slow : MS);
	flushed(f);
	return SQLITE_OK;
}

static int f_size(sqlite3_file *file, sqlite3_int64 *ret)
{
	*ret = (sqlite3_int64)handle_of(file)->file->size;
	return SQLITE_OK;
}

static int f_lock(sqlite3_file *file, int level)
{
	struct handle *h = handle_of(file);
	struct sim_file *f = h->file;

	if (level <= h->level)
		return SQLITE_OK;
	if (level > SQLITE_LOCK_SHARED) {
		if ((f->writer && f->writer != h) || (level == SQLITE_LOCK_EXCLUSIVE && f->readers > 1))
			return SQLITE_BUSY;
		f->writer = h;
	}
	f->readers += h->level == SQLITE_LOCK_NONE;
	h->level = level;
	return SQLITE_OK;
}

static int f_unlock(sqlite3_file *file, int level)
{
	struct handle *h = handle_of(file);

	if (h->file->writer == h && level <= SQLITE_LOCK_SHARED)
		h->file->writer = NULL;
	h->file->readers -= level == SQLITE_LOCK_NONE && h->level != SQLITE_LOCK_NONE;
	h->level = level;
	return SQLITE_OK;
}

static int f_reserved(sqlite3_file *file, int *ret)
{
	*ret = handle_of(file)->file->writer != NULL;
	return SQLITE_OK;
}

static int f_control(sqlite3_file *file, int op, void *arg)
{
	(void)file, (void)op, (void)arg;
	return SQLITE_NOTFOUND;
}

static int f_sector(sqlite3_file *file)
{
	(void)file;
	return SECTOR;
}

static int f_traits(sqlite3_file *file)
{
	(void)file;
	return 0;
}

static int f_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret)
{
	struct handle *h = handle_of(file);

	if (region >= SHARED)
		return SQLITE_IOERR_SHMSIZE;
	h->file->shared_users += !h->maps;
	h->maps = true;
	if (!h->file->shared[region] && extend)
		h->file->shared[region] = must(calloc(1, (size_t)size));
	*ret = h->file->shared[region];
	return SQLITE_OK;
}

static int f_shm_lock(sqlite3_file *file, int first, int n, int flags)
{
	struct handle *h = handle_of(file);
	struct sim_file *f = h->file;
	bool lock = flags & SQLITE_SHM_LOCK, exclusive = flags & SQLITE_SHM_EXCLUSIVE;

	for (int i = first; lock && i < first + n; i++)
		if ((f->exclusive[i] && f->exclusive[i] != h) || (exclusive && f->share[i] > (h->shares[i] ? 1u : 0u)))
			return SQLITE_BUSY;
	for (int i = first; i < first + n; i++) {
		if (exclusive) {
			f->exclusive[i] = lock ? h : NULL;
		} else if (h->shares[i] != lock) {
			f->share[i] += lock ? 1u : -1u;
			h->shares[i] = lock;
		}
	}
	return SQLITE_OK;
}

static void f_shm_barrier(sqlite3_file *file)
{
	(void)file;
}

static int f_shm_unmap(sqlite3_file *file, int remove)
{
	struct handle *h = handle_of(file);

	(void)remove;
	if (!h->maps)
		return SQLITE_OK;
	h->maps = false;
	if (--h->file->shared_users)
		return SQLITE_OK;
	for (int i = 0; i < SHARED; i++) {
		free(h->file->shared[i]);
		h->file->shared[i] = NULL;
	}
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {.iVersion = 2,
					   .xClose = f_close,
					   .xRead = f_read,
					   .xWrite = f_write,
					   .xTruncate = f_truncate,
					   .xSync = f_sync,
					   .xFileSize = f_size,
					   .xLock = f_lock,
					   .xUnlock = f_unlock,
					   .xCheckReservedLock = f_reserved,
					   .xFileControl = f_control,
					   .xSectorSize = f_sector,
					   .xDeviceCharacteristics = f_traits,
					   .xShmMap = f_shm_map,
					   .xShmLock = f_shm_lock,
					   .xShmBarrier = f_shm_barrier,
					   .xShmUnmap = f_shm_unmap};

/* --- sqlite3_vfs -------------------------------------------------------------------------------------------------- */
static int v_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
	struct handle *h = handle_of(file);
	struct sim_file *f;

	(void)vfs;
	memset(h, 0, sizeof(*h));
	if (!name)
		return SQLITE_CANTOPEN; /* temporary files are in memory */
	f = find(sim_server->disk, name);
	if (!f && sim_server->disk->full)
		return SQLITE_FULL;
	if (!f)
		f = create(sim_server->disk, name);
	f->users++;
	h->file = f;
	h->base.pMethods = &methods;
	if (ret_flags)
		*ret_flags = flags;
	return SQLITE_OK;
}

static int v_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	struct sim_file *f = find(sim_server->disk, name);

	(void)vfs, (void)sync;
	if (!f)
		return SQLITE_IOERR_DELETE_NOENT;
	drop(f);
	return SQLITE_OK;
}

static int v_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	(void)vfs, (void)flags;
	*ret = find(sim_server->disk, name) != NULL;
	return SQLITE_OK;
}

static int v_path(sqlite3_vfs *vfs, const char *name, int room, char *ret)
{
	(void)vfs;
	strncpy(ret, name, (size_t)room);
	return SQLITE_OK;
}

static int v_random(sqlite3_vfs *vfs, int n, char *ret)
{
	(void)vfs;
	for (int i = 0; i < n; i++)
		ret[i] = (char)sim_random();
	return n;
}

static int v_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	return us;
}

static int v_time(sqlite3_vfs *vfs, double *ret)
{
	(void)vfs;
	*ret = 2460000.5;
	return SQLITE_OK;
}

static int v_error(sqlite3_vfs *vfs, int room, char *ret)
{
	(void)vfs, (void)room, (void)ret;
	return 0;
}

static sqlite3_vfs vfs = {.iVersion = 1,
			  .szOsFile = sizeof(struct handle),
			  .mxPathname = 200,
			  .zName = "sim",
			  .xOpen = v_open,
			  .xDelete = v_delete,
			  .xAccess = v_access,
			  .xFullPathname = v_path,
			  .xRandomness = v_random,
			  .xSleep = v_sleep,
			  .xCurrentTime = v_time,
			  .xGetLastError = v_error};

struct sim_disk *sim_disk_new(void)
{
	static struct sim_disk *made;
	struct sim_server maker = {.name = "maker"};
	struct sentence error = {""};
	struct state *state;

	if (!made) {
		sqlite3_vfs_register(&vfs, 1);
		maker.disk = made = must(calloc(1, sizeof(*made)));
		sim_server = &maker;
		if (state_new(&state, SIM_STATE, &error) < 0) {
			fprintf(stderr, "sim: %s\n", error.text);
			abort();
		}
		state_free(state);
		sim_server = NULL;
	}
	sqlite3_randomness(0, NULL); /* begins anew, from v_random() */
	return sim_disk_after(made, false);
}
