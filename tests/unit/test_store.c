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

#include "daemon/store.h"
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

static struct store *open_again(void)
{
	struct store *store = NULL;
	char error[256];

	CU_ASSERT_EQUAL_FATAL(store_new(&store, file, error), 0);
	return store;
}

static struct store *open_new(void)
{
	remove_file();
	return open_again();
}

static void count_lease(void *arg, const struct store_lease *lease)
{
	struct store_lease *last = arg;

	*last = *lease;
	last->updated++; /* counts them, the test writes 0 */
}

static void test_store_leases_survive(void)
{
	struct store *store = open_new();
	struct store_lease lease = {.address = 0xc0a80165,
				    .state = STORE_LEASE_BOUND,
				    .mac = {2, 0, 0, 0, 0, 1},
				    .id_length = 3,
				    .id = "\x01\x00\xff",
				    .expires = 1800000000},
			   got = {};

	CU_ASSERT_EQUAL(store_lease_put(store, &lease), 0);
	lease.expires = 1900000000; /* by address: the same lease again */
	CU_ASSERT_EQUAL(store_lease_put(store, &lease), 0);
	store_free(store);
	store = open_again();
	CU_ASSERT_EQUAL(store_lease_each(store, count_lease, &got), 0);
	CU_ASSERT_EQUAL(got.updated, 1);
	CU_ASSERT_EQUAL(got.address, 0xc0a80165);
	CU_ASSERT_EQUAL(got.state, STORE_LEASE_BOUND);
	CU_ASSERT_EQUAL(got.id_length, 3);
	CU_ASSERT_EQUAL(memcmp(got.id, "\x01\x00\xff", 3), 0);
	CU_ASSERT_EQUAL(got.expires, 1900000000);
	CU_ASSERT_EQUAL(store_lease_remove(store, 0xc0a80165), 0);
	memset(&got, 0, sizeof(got));
	CU_ASSERT_EQUAL(store_lease_each(store, count_lease, &got), 0);
	CU_ASSERT_EQUAL(got.updated, 0);
	store_free(store);
}

static struct store_client new_client(uint8_t last, const char *name)
{
	struct store_client client = {.mac = {2, 0, 0, 0, 0, last},
				      .keep = -1,
				      .upload = -1,
				      .arch = 7,
				      .address = 0x0a000000u + last,
				      .last_seen = last};

	snprintf(client.name, sizeof(client.name), "%s", name);
	return client;
}

static void test_store_clients(void)
{
	struct store *store = open_new();
	struct store_client a = new_client(1, "PC101"), b = new_client(2, "PC102"), got;

	a.has_uuid = true;
	memset(a.uuid, 0xab, 16);
	strcpy(a.overlay, "5f9d3c1e-0000-4000-8000-000000000001");
	CU_ASSERT_EQUAL(store_client_put(store, &a), 0);
	CU_ASSERT_EQUAL(store_client_put(store, &b), 0);
	CU_ASSERT(a.id > 0 && b.id > a.id);
	CU_ASSERT_EQUAL(store_client_by_mac(store, a.mac, &got), 1);
	CU_ASSERT_EQUAL(memcmp(&got, &a, sizeof(a)), 0);
	CU_ASSERT_EQUAL(store_client_by_name(store, "pc102", &got), 1); /* any case */
	CU_ASSERT_FALSE(got.has_uuid);
	CU_ASSERT_EQUAL(store_client_by_id(store, a.id, &got), 1);
	CU_ASSERT_EQUAL(store_client_by_address(store, 0x0a000002, &got), 1);
	CU_ASSERT_EQUAL(got.id, b.id);
	CU_ASSERT_EQUAL(store_client_by_name(store, "PC103", &got), 0);
	store_free(store);
}

static void test_store_names_are_unique(void)
{
	struct store *store = open_new();
	struct store_client a = new_client(1, "PC101"), b = new_client(2, "pc101"),
			    c = new_client(3, "PC103"), got;

	CU_ASSERT_EQUAL(store_client_put(store, &a), 0);
	CU_ASSERT_EQUAL(store_client_put(store, &b), -EEXIST);
	CU_ASSERT_EQUAL(b.id, 0);
	CU_ASSERT_EQUAL(store_client_put(store, &c), 0);
	strcpy(c.name, "Pc101");
	CU_ASSERT_EQUAL(store_client_put(store, &c), -EEXIST);
	/* Nobody lost anything by it. */
	CU_ASSERT_EQUAL(store_client_by_mac(store, a.mac, &got), 1);
	CU_ASSERT_STRING_EQUAL(got.name, "PC101");
	CU_ASSERT_EQUAL(store_client_by_mac(store, c.mac, &got), 1);
	CU_ASSERT_STRING_EQUAL(got.name, "PC103");
	store_free(store);
}

/* An id that a rolled-back transaction gave away is another client's now: it must not be
 * overwritten. */
static void test_store_stale_id(void)
{
	struct store *store = open_new();
	struct store_client a = new_client(1, "PC101"), b = new_client(2, "PC102"), got;

	CU_ASSERT_EQUAL(store_begin(store), 0);
	CU_ASSERT_EQUAL(store_client_put(store, &a), 0);
	store_rollback(store);
	CU_ASSERT_EQUAL(store_client_put(store, &b), 0);
	CU_ASSERT_EQUAL(a.id, b.id);
	CU_ASSERT_EQUAL(store_client_put(store, &a), -ENOENT);
	CU_ASSERT_EQUAL(store_client_by_id(store, b.id, &got), 1);
	CU_ASSERT_STRING_EQUAL(got.name, "PC102");
	store_free(store);
}

static void test_store_rollback(void)
{
	struct store *store = open_new();
	struct store_lease lease = {.address = 1}, got = {};

	CU_ASSERT_EQUAL(store_begin(store), 0);
	CU_ASSERT_EQUAL(store_lease_put(store, &lease), 0);
	store_rollback(store);
	CU_ASSERT_EQUAL(store_lease_each(store, count_lease, &got), 0);
	CU_ASSERT_EQUAL(got.updated, 0);
	/* The connection goes on. */
	CU_ASSERT_EQUAL(store_begin(store), 0);
	CU_ASSERT_EQUAL(store_lease_put(store, &lease), 0);
	CU_ASSERT_EQUAL(store_commit(store), 0);
	CU_ASSERT_EQUAL(store_lease_each(store, count_lease, &got), 0);
	CU_ASSERT_EQUAL(got.updated, 1);
	store_free(store);
}

static void count_int(void *arg, const struct store_lease *lease)
{
	(void)lease;
	++*(int *)arg;
}

/* A process that is killed: what was committed is there, of the rest nothing. */
static void test_store_kill(void)
{
	struct store *store = open_new();
	int count = 0, status;
	pid_t child;

	store_free(store);
	child = fork();
	if (child == 0) {
		struct store_lease lease = {};

		store = open_again();
		for (int round = 0; round < 5; round++) {
			if (store_begin(store))
				_exit(1);
			for (int i = 0; i < 10; i++) {
				lease.address = 1 + round * 10 + i;
				if (store_lease_put(store, &lease))
					_exit(1);
			}
			if (round < 4 && store_commit(store))
				_exit(1);
		}
		raise(SIGKILL);
	}
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT_TRUE(WIFSIGNALED(status));
	store = open_again();
	CU_ASSERT_EQUAL(store_lease_each(store, count_int, &count), 0);
	CU_ASSERT_EQUAL(count, 40);
	store_free(store);
}

static void test_store_images(void)
{
	struct store *store = open_new();
	struct store_image one = {.name = "xp01",
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
	CU_ASSERT_EQUAL(store_image_put(store, &one), 0);
	CU_ASSERT_EQUAL(store_image_put(store, &two), 0);
	CU_ASSERT_EQUAL(store_image_current(store, "xp01", &got), 1);
	CU_ASSERT_EQUAL(memcmp(&got, &one, sizeof(got)), 0);
	CU_ASSERT_EQUAL(store_image_make_current(store, two.id), 0);
	CU_ASSERT_EQUAL(store_image_current(store, "xp01", &got), 1);
	CU_ASSERT_EQUAL(got.generation, 2);
	CU_ASSERT_EQUAL(store_image_by_image_id(store, "0badcafe", &got), 1);
	CU_ASSERT_FALSE(got.current);
	CU_ASSERT_EQUAL(store_image_current(store, "xp02", &got), 0);
	one.id = 0; /* the same generation twice */
	CU_ASSERT_EQUAL(store_image_put(store, &one), -EEXIST);
	CU_ASSERT_EQUAL(store_image_remove(store, two.id), 0);
	CU_ASSERT_EQUAL(store_image_by_id(store, two.id, &got), 0);
	store_free(store);
}

struct boots {
	int64_t id[100];
	int count;
	uint64_t first_read;
};

static void count_boot(void *arg, const struct store_boot *boot)
{
	struct boots *boots = arg;

	boots->id[boots->count++] = boot->id;
	if (boot->first_read_ns)
		boots->first_read = boot->first_read_ns;
}

/* Power may go right after a commit: it is on the disk by then, not in the kernel's memory. */
static void test_store_commit_is_synced(void)
{
	struct store *store = open_new();
	struct store_lease lease = {.address = 0x0a4d0064, .state = STORE_LEASE_BOUND, .expires = 1000, .updated = 1};

	for (int i = 0; i < 3; i++) {
		unsigned int before = syncs;

		lease.updated++;
		CU_ASSERT_EQUAL(store_begin(store), 0);
		CU_ASSERT_EQUAL(store_lease_put(store, &lease), 0);
		CU_ASSERT_EQUAL(store_commit(store), 0);
		CU_ASSERT(syncs > before);
	}
	store_free(store);
}

static void test_store_boots(void)
{
	struct store *store = open_new();
	struct store_client a = new_client(1, "A"), b = new_client(2, "B");
	struct store_boot boot = {.image = "xp01", .generation = 3, .dhcp_ns = 1, .failure = ""};
	struct boots boots = {};

	store_client_put(store, &a);
	store_client_put(store, &b);
	boot.client = b.id;
	CU_ASSERT_EQUAL(store_boot_put(store, &boot), 0);
	boot.client = a.id;
	for (int i = 0; i < STORE_BOOTS_KEPT + 10; i++) {
		boot.id = 0;
		CU_ASSERT_EQUAL(store_boot_put(store, &boot), 0);
	}
	boot.first_read_ns = 12345;
	CU_ASSERT_EQUAL(store_boot_put(store, &boot), 0);
	CU_ASSERT_EQUAL(store_boot_each(store, a.id, 100, count_boot, &boots), 0);
	CU_ASSERT_EQUAL(boots.count, STORE_BOOTS_KEPT);
	CU_ASSERT_EQUAL(boots.id[0], boot.id); /* newest first */
	CU_ASSERT_EQUAL(boots.first_read, 12345);
	memset(&boots, 0, sizeof(boots));
	CU_ASSERT_EQUAL(store_boot_each(store, b.id, 100, count_boot, &boots), 0);
	CU_ASSERT_EQUAL(boots.count, 1); /* another client's history is its own */
	CU_ASSERT_EQUAL(store_client_remove(store, b.id), 0);
	memset(&boots, 0, sizeof(boots));
	CU_ASSERT_EQUAL(store_boot_each(store, b.id, 100, count_boot, &boots), 0);
	CU_ASSERT_EQUAL(boots.count, 0);
	store_free(store);
}

static void test_store_refuses_what_it_cannot_read(void)
{
	struct store *store = open_new();
	char error[256];
	struct stat st;
	sqlite3 *db;
	FILE *f;

	store_free(store);
	CU_ASSERT_EQUAL(stat(file, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0077, 0); /* nobody else reads it */
	sqlite3_open(file, &db);
	sqlite3_exec(db, "PRAGMA user_version = 999", NULL, NULL, NULL);
	sqlite3_close(db);
	CU_ASSERT(store_new(&store, file, error) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "version 999"));
	remove_file();
	f = fopen(file, "w");
	for (int i = 0; i < 4096; i++)
		fputc('x', f);
	fclose(f);
	CU_ASSERT(store_new(&store, file, error) < 0);
	CU_ASSERT(error[0] != '\0');
	CU_ASSERT(store_new(&store, "/nonexistent/bootwell.db", error) < 0);
	remove_file();
	rmdir(folder);
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		UNIT(test_store_leases_survive),
		UNIT(test_store_clients),
		UNIT(test_store_names_are_unique),
		UNIT(test_store_stale_id),
		UNIT(test_store_rollback),
		UNIT(test_store_kill),
		UNIT(test_store_images),
		UNIT(test_store_commit_is_synced),
		UNIT(test_store_boots),
		UNIT(test_store_refuses_what_it_cannot_read),
	};

	if (!mkdtemp(folder))
		return 1;
	snprintf(file, sizeof(file), "%s/bootwell.db", folder);
	return unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
