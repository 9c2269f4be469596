/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state in SQLite: what is put is there again after closing, transactions are whole or not at
 * all. */
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/state/copies.h"
#include "daemon/state/state.h"
#include "tests/unit/state_old.h"
#include "tests/unit/unit.h"

/* SQLite's, counted. */
static unsigned int syncs;
__attribute__((visibility("default"))) int fdatasync(int fd)
{
	syncs++;
	return (int)syscall(SYS_fdatasync, fd);
}

static char folder[] = "/tmp/bootwell-store.XXXXXX";
static char file[64];

static void remove_file(void)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char path[96];

	for (unsigned int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s%s", file, ends[i]);
		unlink(path);
	}
}

static struct state *open_again(void)
{
	struct state *state = NULL;
	struct sentence error = {""};

	CU_ASSERT_EQUAL_FATAL(state_new(&state, file, &error), 0);
	return state;
}

static struct state *open_new(void)
{
	remove_file();
	return open_again();
}

static void count_lease(void *arg, const struct state_lease *lease)
{
	struct state_lease *last = arg;

	*last = *lease;
	last->updated++; /* counts them, the test writes 0 */
}

static void test_store_leases_survive(void)
{
	struct state *state = open_new();
	struct state_lease lease = {.address = 0xc0a80165,
				    .state = STATE_LEASE_BOUND,
				    .mac = {2, 0, 0, 0, 0, 1},
				    .id_length = 3,
				    .id = "\x01\x00\xff",
				    .expires = 1800000000,
				    .left = 77,
				    .boot = {9, 8, 7},
				    .boot_s = 66,
				    .version = {1ull << 61, 5}},
			   got = {};

	CU_ASSERT_EQUAL(state_lease_put(state, &lease), 0);
	lease.expires = 1900000000; /* by address: the same lease again */
	CU_ASSERT_EQUAL(state_lease_put(state, &lease), 0);
	state_free(state);
	state = open_again();
	CU_ASSERT_EQUAL(state_lease_each(state, count_lease, &got), 0);
	CU_ASSERT_EQUAL(got.updated, 1);
	CU_ASSERT_EQUAL(got.address, 0xc0a80165);
	CU_ASSERT_EQUAL(got.state, STATE_LEASE_BOUND);
	CU_ASSERT_EQUAL(got.id_length, 3);
	CU_ASSERT_EQUAL(memcmp(got.id, "\x01\x00\xff", 3), 0);
	CU_ASSERT_EQUAL(got.expires, 1900000000);
	CU_ASSERT(got.left == 77 && got.boot_s == 66 && !memcmp(got.boot, lease.boot, sizeof(got.boot)));
	CU_ASSERT(got.version[0] == 1ull << 61 && got.version[1] == 5);
	CU_ASSERT_EQUAL(state_lease_remove(state, 0xc0a80165), 0);
	memset(&got, 0, sizeof(got));
	CU_ASSERT_EQUAL(state_lease_each(state, count_lease, &got), 0);
	CU_ASSERT_EQUAL(got.updated, 0);
	state_free(state);
}

static struct state_client new_client(uint8_t last, const char *name)
{
	struct state_client client = {.mac = {2, 0, 0, 0, 0, last},
				      .keep = -1,
				      .upload = -1,
				      .arch = 7,
				      .address = 0x0a000000u + last,
				      .last_seen = last};

	snprintf(client.name, sizeof(client.name), "%s", name);
	identity_of_mac(client.mac, client.key);
	return client;
}

static void sum_boot(void *arg, const struct state_boot *boot)
{
	*(int64_t *)arg += boot->first_read_ns;
}

/* PCs have keys: who was there stays, with all that hangs on it. */
static void test_store_of_macs_is_carried_over(void)
{
	struct state_client got;
	struct state_session session;
	struct state_lease lease = {};
	struct state *state;
	struct state_client fresh = new_client(9, "PC109");
	int64_t sum = 0;
	sqlite3 *db;

	remove_file();
	CU_ASSERT_EQUAL_FATAL(sqlite3_open(file, &db), 0);
	CU_ASSERT_EQUAL_FATAL(sqlite3_exec(db, state_old, NULL, NULL, NULL), 0);
	sqlite3_close(db);
	state = open_again();
	CU_ASSERT_EQUAL(state_client_by_key(state, "old-020000000065", &got), 1);
	CU_ASSERT_STRING_EQUAL(got.name, "ANNA");
	CU_ASSERT_EQUAL(got.id, 7);
	CU_ASSERT_EQUAL(got.mac[5], 0x65);
	CU_ASSERT(got.has_uuid && got.uuid[0] == 0xa1);
	CU_ASSERT_STRING_EQUAL(got.overlay, "5f9d3c1e-0000-4000-8000-00000000000a");
	CU_ASSERT_EQUAL(state_boot_each(state, 7, 9, sum_boot, &sum), 0);
	CU_ASSERT_EQUAL(sum, 7);
	CU_ASSERT_EQUAL(state_session_by_image(state, "two", &session), 1);
	CU_ASSERT_EQUAL(session.client, 8);
	CU_ASSERT_EQUAL(state_lease_each(state, count_lease, &lease), 0);
	CU_ASSERT_EQUAL(lease.address, 2130706534);
	CU_ASSERT_EQUAL(lease.left, 9000000000 - 1700000000); /* all that it was given for */
	CU_ASSERT(!lease.version[0] && !lease.version[1] && !lease.boot[0]);
	/* What refers to a client still goes with it; a number is not given a second time. */
	CU_ASSERT_EQUAL(state_client_remove(state, 9), 0);
	CU_ASSERT_EQUAL(state_client_put(state, &fresh), 0);
	CU_ASSERT_EQUAL(fresh.id, 10);
	CU_ASSERT_EQUAL(state_client_remove(state, 8), 0);
	CU_ASSERT_EQUAL(state_session_by_image(state, "two", &session), 0);
	/* Another key, and one that is taken. */
	CU_ASSERT_EQUAL(state_client_rekey(state, 7, fresh.key), -EEXIST);
	CU_ASSERT_EQUAL(state_client_rekey(state, 7, "uuid-1"), 0);
	state_free(state);
	state = open_again();
	CU_ASSERT_EQUAL(state_client_by_key(state, "uuid-1", &got), 1);
	CU_ASSERT_EQUAL(got.id, 7);
	state_free(state);
}

static void test_store_clients(void)
{
	struct state *state = open_new();
	struct state_client a = new_client(1, "PC101"), b = new_client(2, "PC102"), got;

	a.has_uuid = true;
	memset(a.uuid, 0xab, 16);
	strcpy(a.overlay, "5f9d3c1e-0000-4000-8000-000000000001");
	CU_ASSERT_EQUAL(state_client_put(state, &a), 0);
	CU_ASSERT_EQUAL(state_client_put(state, &b), 0);
	CU_ASSERT(a.id > 0 && b.id > a.id);
	CU_ASSERT_EQUAL(state_client_by_mac(state, a.mac, &got), 1);
	CU_ASSERT_EQUAL(memcmp(&got, &a, sizeof(a)), 0);
	CU_ASSERT_EQUAL(state_client_by_name(state, "pc102", &got), 1); /* any case */
	CU_ASSERT_FALSE(got.has_uuid);
	CU_ASSERT_EQUAL(state_client_by_id(state, a.id, &got), 1);
	CU_ASSERT_EQUAL(state_client_by_address(state, 0x0a000002, &got), 1);
	CU_ASSERT_EQUAL(got.id, b.id);
	CU_ASSERT_EQUAL(state_client_by_name(state, "PC103", &got), 0);
	state_free(state);
}

static void test_store_names_are_unique(void)
{
	struct state *state = open_new();
	struct state_client a = new_client(1, "PC101"), b = new_client(2, "pc101"), c = new_client(3, "PC103"), got;

	CU_ASSERT_EQUAL(state_client_put(state, &a), 0);
	CU_ASSERT_EQUAL(state_client_put(state, &b), -EEXIST);
	CU_ASSERT_EQUAL(b.id, 0);
	CU_ASSERT_EQUAL(state_client_put(state, &c), 0);
	strcpy(c.name, "Pc101");
	CU_ASSERT_EQUAL(state_client_put(state, &c), -EEXIST);
	/* Nobody lost anything by it. */
	CU_ASSERT_EQUAL(state_client_by_mac(state, a.mac, &got), 1);
	CU_ASSERT_STRING_EQUAL(got.name, "PC101");
	CU_ASSERT_EQUAL(state_client_by_mac(state, c.mac, &got), 1);
	CU_ASSERT_STRING_EQUAL(got.name, "PC103");
	state_free(state);
}

/* An id that a rolled-back transaction gave away is another client's now: it must not be
 * overwritten. */
static void test_store_stale_id(void)
{
	struct state *state = open_new();
	struct state_client a = new_client(1, "PC101"), b = new_client(2, "PC102"), got;

	CU_ASSERT_EQUAL(state_begin(state), 0);
	CU_ASSERT_EQUAL(state_client_put(state, &a), 0);
	state_rollback(state);
	CU_ASSERT_EQUAL(state_client_put(state, &b), 0);
	CU_ASSERT_EQUAL(a.id, b.id);
	CU_ASSERT_EQUAL(state_client_put(state, &a), -ENOENT);
	CU_ASSERT_EQUAL(state_client_by_id(state, b.id, &got), 1);
	CU_ASSERT_STRING_EQUAL(got.name, "PC102");
	state_free(state);
}

static void test_store_rollback(void)
{
	struct state *state = open_new();
	struct state_lease lease = {.address = 1}, got = {};

	CU_ASSERT_EQUAL(state_begin(state), 0);
	CU_ASSERT_EQUAL(state_lease_put(state, &lease), 0);
	state_rollback(state);
	CU_ASSERT_EQUAL(state_lease_each(state, count_lease, &got), 0);
	CU_ASSERT_EQUAL(got.updated, 0);
	/* The connection goes on. */
	CU_ASSERT_EQUAL(state_begin(state), 0);
	CU_ASSERT_EQUAL(state_lease_put(state, &lease), 0);
	CU_ASSERT_EQUAL(state_commit(state), 0);
	CU_ASSERT_EQUAL(state_lease_each(state, count_lease, &got), 0);
	CU_ASSERT_EQUAL(got.updated, 1);
	state_free(state);
}

static void count_int(void *arg, const struct state_lease *lease)
{
	(void)lease;
	++*(int *)arg;
}

/* A process that is killed: what was committed is there, of the rest nothing. */
static void test_store_kill(void)
{
	struct state *state = open_new();
	int count = 0, status;
	pid_t child;

	state_free(state);
	child = fork();
	if (child == 0) {
		struct state_lease lease = {};

		state = open_again();
		for (int round = 0; round < 5; round++) {
			if (state_begin(state))
				_exit(1);
			for (int i = 0; i < 10; i++) {
				lease.address = 1 + round * 10 + i;
				if (state_lease_put(state, &lease))
					_exit(1);
			}
			if (round < 4 && state_commit(state))
				_exit(1);
		}
		raise(SIGKILL);
	}
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT_TRUE(WIFSIGNALED(status));
	state = open_again();
	CU_ASSERT_EQUAL(state_lease_each(state, count_int, &count), 0);
	CU_ASSERT_EQUAL(count, 40);
	state_free(state);
}

static void test_store_images(void)
{
	struct state *state = open_new();
	struct state_image one = {.name = "xp01",
				  .generation = 1,
				  .file = "xp01.vmdk",
				  .format = "vmdk",
				  .image_id = "0badcafe",
				  .virtual_size = 40ull << 30,
				  .current = true},
			   two = one, got;

	two.generation = 2;
	strcpy(two.file, "xp01-2.vmdk");
	strcpy(two.image_id, "deadbeef");
	two.current = false;
	CU_ASSERT_EQUAL(state_image_put(state, &one), 0);
	CU_ASSERT_EQUAL(state_image_put(state, &two), 0);
	CU_ASSERT_EQUAL(state_image_current(state, "xp01", &got), 1);
	CU_ASSERT_EQUAL(memcmp(&got, &one, sizeof(got)), 0);
	CU_ASSERT_EQUAL(state_image_make_current(state, two.id), 0);
	CU_ASSERT_EQUAL(state_image_current(state, "xp01", &got), 1);
	CU_ASSERT_EQUAL(got.generation, 2);
	CU_ASSERT_EQUAL(state_image_by_id(state, one.id, &got), 1);
	CU_ASSERT_FALSE(got.current);
	CU_ASSERT_EQUAL(state_image_current(state, "xp02", &got), 0);

	CU_ASSERT_EQUAL(state_image_by_id(state, one.id, &got), 1);
	CU_ASSERT_EQUAL(state_image_outcome(&got), -1);
	CU_ASSERT_EQUAL(state_image_set_check(state, one.id, 1000, IMAGE_DAMAGED), 0);
	CU_ASSERT_EQUAL(state_image_set_check(state, one.id, 2000, IMAGE_ABSENT), 0);
	CU_ASSERT_EQUAL(state_image_by_id(state, one.id, &got), 1);
	CU_ASSERT_EQUAL(state_image_outcome(&got), IMAGE_ABSENT);
	CU_ASSERT_TRUE(got.check_failed && got.checked == 1000 && got.missed == 2000);
	CU_ASSERT_EQUAL(state_image_set_check(state, one.id, 3000, IMAGE_GOOD), 0);
	CU_ASSERT_EQUAL(state_image_by_id(state, one.id, &got), 1);
	CU_ASSERT_EQUAL(state_image_outcome(&got), IMAGE_GOOD);
	CU_ASSERT_TRUE(!got.check_failed && got.checked == 3000 && got.missed == 0);
	one.id = 0; /* the same generation twice */
	CU_ASSERT_EQUAL(state_image_put(state, &one), -EEXIST);
	CU_ASSERT_EQUAL(state_image_remove(state, two.id), 0);
	CU_ASSERT_EQUAL(state_image_by_id(state, two.id, &got), 0);
	state_free(state);
}

struct boots {
	int64_t id[100];
	int count;
	uint64_t first_read;
};

static void count_boot(void *arg, const struct state_boot *boot)
{
	struct boots *boots = arg;

	boots->id[boots->count++] = boot->id;
	if (boot->first_read_ns)
		boots->first_read = boot->first_read_ns;
}

/* Power may go right after a commit: it is on the disk by then, not in the kernel's memory. */
static void test_store_commit_is_synced(void)
{
	struct state *state = open_new();
	struct state_lease lease = {.address = 0x0a4d0064, .state = STATE_LEASE_BOUND, .expires = 1000, .updated = 1};

	for (int i = 0; i < 3; i++) {
		unsigned int before = syncs;

		lease.updated++;
		CU_ASSERT_EQUAL(state_begin(state), 0);
		CU_ASSERT_EQUAL(state_lease_put(state, &lease), 0);
		CU_ASSERT_EQUAL(state_commit(state), 0);
		CU_ASSERT(syncs > before);
	}
	state_free(state);
}

static void test_store_boots(void)
{
	struct state *state = open_new();
	struct state_client a = new_client(1, "A"), b = new_client(2, "B");
	struct state_boot boot = {.image = "xp01", .generation = 3, .dhcp_ns = 1, .failure = ""};
	struct boots boots = {};

	state_client_put(state, &a);
	state_client_put(state, &b);
	boot.client = b.id;
	CU_ASSERT_EQUAL(state_boot_put(state, &boot), 0);
	boot.client = a.id;
	for (int i = 0; i < STATE_BOOTS_KEPT + 10; i++) {
		boot.id = 0;
		CU_ASSERT_EQUAL(state_boot_put(state, &boot), 0);
	}
	boot.first_read_ns = 12345;
	CU_ASSERT_EQUAL(state_boot_put(state, &boot), 0);
	CU_ASSERT_EQUAL(state_boot_each(state, a.id, 100, count_boot, &boots), 0);
	CU_ASSERT_EQUAL(boots.count, STATE_BOOTS_KEPT);
	CU_ASSERT_EQUAL(boots.id[0], boot.id); /* newest first */
	CU_ASSERT_EQUAL(boots.first_read, 12345);
	memset(&boots, 0, sizeof(boots));
	CU_ASSERT_EQUAL(state_boot_each(state, b.id, 100, count_boot, &boots), 0);
	CU_ASSERT_EQUAL(boots.count, 1); /* another client's history is its own */
	CU_ASSERT_EQUAL(state_client_remove(state, b.id), 0);
	memset(&boots, 0, sizeof(boots));
	CU_ASSERT_EQUAL(state_boot_each(state, b.id, 100, count_boot, &boots), 0);
	CU_ASSERT_EQUAL(boots.count, 0);
	state_free(state);
}

static void put_image(const char *name)
{
	struct state_image image = {.generation = 1, .current = true};
	struct state *state = open_again();

	snprintf(image.name, sizeof(image.name), "%s", name);
	snprintf(image.file, sizeof(image.file), "%s.vmdk", name);
	snprintf(image.format, sizeof(image.format), "vmdk");
	CU_ASSERT_EQUAL(state_image_put(state, &image), 0);
	state_free(state);
}

static bool has_image(const char *name)
{
	struct state *state = open_again();
	struct state_image image;
	bool has = state_image_current(state, name, &image) > 0;

	state_free(state);
	return has;
}

/* Overwrites all pages but the first of a file. */
static void damage(const char *path)
{
	FILE *f = fopen(path, "r+");

	fseek(f, 0, SEEK_END);
	long size = ftell(f);
	fseek(f, 4096, SEEK_SET);
	for (long i = 4096; i < size; i++)
		fputc(0x5a, f);
	fclose(f);
}

static void empty_copies(void)
{
	char path[200];
	struct copies all;

	CU_ASSERT_EQUAL(copies_list(file, &all), 0);
	for (unsigned int i = 0; i < all.n; i++)
		if (!copies_path(file, all.copy[i].name, path, sizeof(path)))
			unlink(path);
	snprintf(path, sizeof(path), "%s/copies", folder);
	rmdir(path);
}

static void test_store_copy_is_restored(void)
{
	struct state *state = open_new(); /* stays open: a copy is made while others have the state */
	struct sentence error;
	struct copies all;
	char path[200];
	struct stat st;

	put_image("early");
	CU_ASSERT_EQUAL_FATAL(copies_make(file, NULL, &error), 0);
	put_image("late");
	state_free(state);
	CU_ASSERT_EQUAL(copies_list(file, &all), 0);
	CU_ASSERT_EQUAL_FATAL(all.n, 1);
	CU_ASSERT(!copies_path(file, all.copy[0].name, path, sizeof(path)) && !stat(path, &st));
	CU_ASSERT_EQUAL(st.st_mode & 0077, 0);
	CU_ASSERT_EQUAL(copies_check(file, &error), 0);

	damage(file);
	CU_ASSERT_EQUAL(copies_check(file, &error), -EUCLEAN);
	CU_ASSERT(error.text[0] != '\0');
	/* A damaged state makes no copy and drives none out. */
	CU_ASSERT(copies_make(file, NULL, &error) < 0);
	CU_ASSERT_EQUAL(copies_list(file, &all), 0);
	CU_ASSERT_EQUAL(all.n, 1);
	CU_ASSERT_EQUAL(copies_newest_good(file, &all), 0);

	CU_ASSERT_EQUAL(copies_restore(file, all.copy[0].name, &error), 0);
	CU_ASSERT_EQUAL(copies_check(file, &error), 0);
	CU_ASSERT(has_image("early"));
	CU_ASSERT(!has_image("late"));

	/* A damaged copy is refused, and the state stays. */
	damage(path);
	CU_ASSERT_EQUAL(copies_restore(file, all.copy[0].name, &error), -EUCLEAN);
	CU_ASSERT(has_image("early"));
	CU_ASSERT_EQUAL(copies_newest_good(file, &all), -ENOENT);
	CU_ASSERT_EQUAL(copies_restore(file, "../bootwell.db", &error), -EINVAL);
	empty_copies();
	snprintf(path, sizeof(path), "%s.before-restore", file);
	unlink(path);
}

/* The journal of the state that was is not played into the copy. */
static void test_store_restore_leaves_the_old_journal(void)
{
	struct sentence error;
	struct copies all;
	char path[200];
	pid_t pid;

	state_free(open_new());
	put_image("early");
	CU_ASSERT_EQUAL_FATAL(copies_make(file, NULL, &error), 0);
	pid = fork();
	if (!pid) {
		struct state *state = open_again();

		put_image("late");
		(void)state;
		_exit(0); /* as if the power went: the journal stays */
	}
	waitpid(pid, NULL, 0);
	snprintf(path, sizeof(path), "%s-wal", file);
	CU_ASSERT_EQUAL(access(path, F_OK), 0);
	CU_ASSERT_EQUAL(copies_list(file, &all), 0);
	CU_ASSERT_EQUAL_FATAL(all.n, 1);
	CU_ASSERT_EQUAL(copies_restore(file, all.copy[0].name, &error), 0);
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
	CU_ASSERT(has_image("early"));
	CU_ASSERT(!has_image("late"));
	for (unsigned int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s.before-restore%s", file, i == 0 ? "" : i == 1 ? "-wal" : "-shm");
		unlink(path);
	}
	empty_copies();
}

static void test_store_copies_are_bounded(void)
{
	unsigned int daily = 0, before = 0;
	struct sentence error;
	struct copies all;
	char path[200];

	state_free(open_new());
	snprintf(path, sizeof(path), "%s/copies", folder);
	mkdir(path, 0700);
	for (unsigned int i = 0; i < 20; i++) {
		FILE *f;

		snprintf(path, sizeof(path), "%s/copies/202001%02u-000000%s.db", folder, i + 1,
			 i % 2 ? "" : "-before-0.9");
		f = fopen(path, "w");
		fclose(f);
	}
	CU_ASSERT_EQUAL(copies_make(file, NULL, &error), 0);
	CU_ASSERT_EQUAL(copies_make(file, "1.0", &error), 0);
	CU_ASSERT_EQUAL(copies_list(file, &all), 0);
	for (unsigned int i = 0; i < all.n; i++)
		*(all.copy[i].before ? &before : &daily) += 1;
	CU_ASSERT_EQUAL(daily, COPIES_DAILY);
	CU_ASSERT_EQUAL(before, COPIES_BEFORE);
	CU_ASSERT(copies_has_version(&all, "1.0"));
	CU_ASSERT(!copies_has_version(&all, "0.1"));
	CU_ASSERT(copies_newest_good(file, &all) <= 1 && copies_newest_good(file, &all) >= 0);
	empty_copies();
}

/* A state in which a column is missing is whole for SQLite, and none for us. */
static void test_store_check_knows_the_schema(void)
{
	struct sentence error;
	sqlite3 *db;

	state_free(open_new());
	sqlite3_open(file, &db);
	sqlite3_exec(db, "ALTER TABLE boot DROP COLUMN failure", NULL, NULL, NULL);
	sqlite3_close(db);
	CU_ASSERT_EQUAL(copies_check(file, &error), -EUCLEAN);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "boot.failure"));
}

static void test_store_refuses_what_it_cannot_read(void)
{
	struct state *state = open_new();
	struct sentence error = {""};
	struct stat st;
	sqlite3 *db;
	FILE *f;

	state_free(state);
	CU_ASSERT_EQUAL(stat(file, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0077, 0); /* nobody else reads it */
	sqlite3_open(file, &db);
	sqlite3_exec(db, "PRAGMA user_version = 999", NULL, NULL, NULL);
	sqlite3_close(db);
	CU_ASSERT(state_new(&state, file, &error) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(error.text, "version 999"));
	remove_file();
	f = fopen(file, "w");
	for (int i = 0; i < 4096; i++)
		fputc('x', f);
	fclose(f);
	CU_ASSERT(state_new(&state, file, &error) < 0);
	CU_ASSERT(error.text[0] != '\0');
	CU_ASSERT(state_new(&state, "/nonexistent/bootwell.db", &error) < 0);
	remove_file();
	rmdir(folder);
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		UNIT(test_store_leases_survive),
		UNIT(test_store_clients),
		UNIT(test_store_of_macs_is_carried_over),
		UNIT(test_store_names_are_unique),
		UNIT(test_store_stale_id),
		UNIT(test_store_rollback),
		UNIT(test_store_kill),
		UNIT(test_store_images),
		UNIT(test_store_commit_is_synced),
		UNIT(test_store_boots),
		UNIT(test_store_copy_is_restored),
		UNIT(test_store_restore_leaves_the_old_journal),
		UNIT(test_store_copies_are_bounded),
		UNIT(test_store_check_knows_the_schema),
		UNIT(test_store_refuses_what_it_cannot_read),
	};

	if (!mkdtemp(folder))
		return 1;
	snprintf(file, sizeof(file), "%s/bootwell.db", folder);
	return unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
