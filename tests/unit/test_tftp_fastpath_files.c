// SPDX-License-Identifier: GPL-2.0-or-later
/* The cache of file contents behind the kernel programs, on plain memory. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/core/clock.h"
#include "daemon/tftp/fastpath.h"
#include "daemon/tftp/fastpath_files.h"
#include "tests/unit/unit.h"

#define CHUNKS 8
#define SECOND 1000000000ull

static struct tftp_chunk *memory;
static struct tftp_files files;
static uint64_t rng;

static void begin(void)
{
	memory = calloc(CHUNKS, sizeof(*memory));
	memset(memory, 0xa5, CHUNKS * sizeof(*memory));
	tftp_files_init(&files, memory, CHUNKS);
}

static void end(void)
{
	tftp_files_done(&files);
	free(memory);
}

/* A file of random bytes, without a name. */
static int make(uint32_t size, uint8_t **ret)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	uint8_t *bytes = malloc(size + 1);

	for (uint32_t i = 0; i < size; i++) {
		rng = rng * 6364136223846793005u + 1442695040888963407u;
		bytes[i] = (uint8_t)(rng >> 40);
	}
	CU_ASSERT_EQUAL_FATAL(pwrite(fd, bytes, size, 0), (ssize_t)size);
	if (ret)
		*ret = bytes;
	else
		free(bytes);
	return fd;
}

static uint64_t later(void)
{
	static uint64_t seconds;

	return clock_monotonic_ns() + (seconds += 10) * SECOND;
}

static struct tftp_fastpath_file *get_loaded(int fd)
{
	struct tftp_fastpath_file *file = NULL;

	CU_ASSERT_EQUAL_FATAL(tftp_files_get(&files, fd, later(), &file), 0);
	CU_ASSERT_EQUAL_FATAL(tftp_fastpath_file_load(file, UINT32_MAX), 0);
	return file;
}

static uint16_t sum_of(const uint8_t *p, uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i += 2)
		sum += p[i] | (i + 1 < n ? p[i + 1] << 8 : 0);
	return tftp_shared_fold(sum);
}

static void test_tftp_fastpath_files_hold_each_block_whole_with_its_sum(void)
{
	static const uint32_t sizes[] = {0,
					 1,
					 511,
					 TFTP_STRIDE - 1,
					 TFTP_STRIDE,
					 TFTP_STRIDE + 1,
					 TFTP_CHUNK_DATA,
					 3 * TFTP_STRIDE + 77,
					 7 * TFTP_STRIDE};
	static const uint32_t blksizes[] = {512, 1432, 1468, 2048};
	unsigned int wrong = 0;

	for (unsigned int s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		struct tftp_fastpath_file *file;
		uint8_t *bytes;
		int fd;

		begin();
		fd = make(sizes[s], &bytes);
		file = get_loaded(fd);
		for (unsigned int b = 0; b < sizeof(blksizes) / sizeof(blksizes[0]); b++)
			for (uint32_t offset = 0; offset <= sizes[s]; offset += blksizes[b]) {
				uint32_t length = sizes[s] - offset < blksizes[b] ? sizes[s] - offset : blksizes[b];
				uint32_t at = offset % TFTP_STRIDE;
				const struct tftp_chunk *c = &memory[file->first_chunk + offset / TFTP_STRIDE];
				uint16_t from = c->sums[at / 4], to = c->sums[(at + length + 3) / 4];
				uint32_t sum = tftp_shared_fold((uint64_t)to + 0xffff - from);

				CU_ASSERT_FATAL(offset / TFTP_STRIDE < file->chunks);
				wrong += memcmp(c->data + at, bytes + offset, length) != 0;
				wrong += sum % 0xffff != sum_of(bytes + offset, length) % 0xffffu;
			}
		tftp_fastpath_file_put(file);
		close(fd);
		free(bytes);
		end();
	}
	CU_ASSERT_EQUAL(wrong, 0);
}

static void test_tftp_fastpath_files_are_shared(void)
{
	struct tftp_fastpath_file *a, *b, *c;
	int fd, other;

	begin();
	fd = make(1000, NULL);
	other = make(1000, NULL);
	usleep(100000); /* what was written this very moment is not shared */
	a = get_loaded(fd);
	CU_ASSERT_EQUAL(tftp_files_get(&files, fd, later(), &b), 0);
	CU_ASSERT_PTR_EQUAL(a, b);
	CU_ASSERT(tftp_file_loaded(b));
	c = get_loaded(other);
	CU_ASSERT_PTR_NOT_EQUAL(a, c);
	CU_ASSERT_EQUAL(files.files, 2);
	tftp_fastpath_file_put(a);
	tftp_fastpath_file_put(b);
	tftp_fastpath_file_put(c);
	tftp_fastpath_file_put(NULL);
	close(fd);
	close(other);
	end();
}

static void test_tftp_fastpath_files_changed_one_is_a_new_generation(void)
{
	struct tftp_fastpath_file *old, *new;
	uint8_t *bytes;
	int fd;

	begin();
	fd = make(1000, &bytes);
	old = get_loaded(fd);
	CU_ASSERT_EQUAL(pwrite(fd, "changed", 7, 0), 7);
	futimens(fd, (struct timespec[2]){{1, 0}, {1, 0}}); /* whatever the clock's grain is */
	new = get_loaded(fd);
	CU_ASSERT_PTR_NOT_EQUAL(old, new);
	CU_ASSERT_NOT_EQUAL(old->first_chunk, new->first_chunk);
	CU_ASSERT(!memcmp(memory[old->first_chunk].data, bytes, 1000)); /* for those who began with it */
	CU_ASSERT(!memcmp(memory[new->first_chunk].data, "changed", 7));
	tftp_files_tick(&files, later());
	CU_ASSERT_EQUAL(files.files, 2); /* still in use */
	tftp_fastpath_file_put(old);
	tftp_files_tick(&files, clock_monotonic_ns());
	CU_ASSERT_EQUAL(files.files, 2); /* and then it rests for a while */
	tftp_files_tick(&files, later());
	CU_ASSERT_EQUAL(files.files, 1);
	tftp_fastpath_file_put(new);
	close(fd);
	free(bytes);
	end();
}

static void test_tftp_fastpath_files_just_written_is_not_trusted_again(void)
{
	struct tftp_fastpath_file *a, *b;
	int fd;

	begin();
	fd = make(1000, NULL);
	a = get_loaded(fd); /* a write in the same tick of the clock could follow */
	CU_ASSERT_EQUAL(pwrite(fd, "again", 5, 0), 5);
	b = get_loaded(fd);
	CU_ASSERT_PTR_NOT_EQUAL(a, b);
	CU_ASSERT(!memcmp(memory[b->first_chunk].data, "again", 5));
	tftp_fastpath_file_put(a);
	tftp_fastpath_file_put(b);
	close(fd);
	end();
}

static void test_tftp_fastpath_files_change_while_loading_is_noticed(void)
{
	struct tftp_fastpath_file *file;
	int fd;

	begin();
	fd = make(5 * TFTP_STRIDE, NULL);
	CU_ASSERT_EQUAL(tftp_files_get(&files, fd, later(), &file), 0);
	CU_ASSERT_EQUAL(tftp_fastpath_file_load(file, 1), 1);
	CU_ASSERT(!tftp_file_loaded(file));
	futimens(fd, (struct timespec[2]){{1, 0}, {1, 0}});
	CU_ASSERT_EQUAL(tftp_fastpath_file_load(file, UINT32_MAX), -ESTALE);
	CU_ASSERT(!tftp_file_loaded(file));
	tftp_fastpath_file_put(file);
	CU_ASSERT_EQUAL(tftp_files_get(&files, fd, later(), &file), 0);
	CU_ASSERT_EQUAL(tftp_fastpath_file_load(file, 1), 1);
	CU_ASSERT_EQUAL(ftruncate(fd, 100), 0); /* shorter than it was */
	CU_ASSERT_EQUAL(tftp_fastpath_file_load(file, UINT32_MAX), -ESTALE);
	tftp_fastpath_file_put(file);
	file = get_loaded(fd);
	CU_ASSERT_EQUAL(file->id.size, 100);
	tftp_fastpath_file_put(file);
	close(fd);
	end();
}

static void test_tftp_fastpath_files_loading_goes_on_where_it_stopped(void)
{
	struct tftp_fastpath_file *file;
	unsigned int steps = 1;
	uint8_t *bytes;
	int fd, r;

	begin();
	fd = make(5 * TFTP_STRIDE, &bytes);
	CU_ASSERT_EQUAL(tftp_files_get(&files, fd, later(), &file), 0);
	CU_ASSERT_EQUAL(tftp_fastpath_file_load(file, TFTP_STRIDE), 1);
	tftp_fastpath_file_put(file); /* that client went away */
	CU_ASSERT_EQUAL(tftp_files_get(&files, fd, later(), &file), 0);
	for (; (r = tftp_fastpath_file_load(file, TFTP_STRIDE)) == 1 && steps < 20; steps++)
		;
	CU_ASSERT_EQUAL(r, 0);
	CU_ASSERT(steps > 1 && steps < 6);
	for (uint32_t i = 0; i < 5; i++)
		CU_ASSERT(!memcmp(memory[file->first_chunk + i].data, bytes + i * TFTP_STRIDE, TFTP_STRIDE));
	tftp_fastpath_file_put(file);
	close(fd);
	free(bytes);
	end();
}

static void test_tftp_fastpath_files_oldest_unused_goes_first(void)
{
	struct tftp_fastpath_file *file[5];
	int fd[6];

	begin();
	for (int i = 0; i < 4; i++) { /* two chunks each: all there is */
		fd[i] = make(TFTP_STRIDE + 1, NULL);
		file[i] = get_loaded(fd[i]);
	}
	fd[4] = make(100, NULL);
	fd[5] = make(CHUNKS * TFTP_STRIDE, NULL);
	CU_ASSERT_EQUAL(files.used, CHUNKS);
	CU_ASSERT_EQUAL(tftp_files_get(&files, fd[4], later(), &file[4]), -ENOSPC); /* all in use */
	CU_ASSERT_EQUAL(tftp_files_get(&files, fd[5], later(), &file[4]), -EFBIG);
	tftp_fastpath_file_put(file[2]);
	tftp_fastpath_file_put(file[1]);
	/* Just put back: a program may still read it. */
	CU_ASSERT_EQUAL(tftp_files_get(&files, fd[4], clock_monotonic_ns(), &file[4]), -ENOSPC);
	CU_ASSERT_EQUAL(tftp_files_get(&files, fd[4], later(), &file[4]), 0);
	CU_ASSERT_EQUAL(files.evicted, 1);
	CU_ASSERT_EQUAL(file[4]->first_chunk, 4); /* where file 2 was, which was put back first */
	tftp_fastpath_file_put(file[4]);
	tftp_fastpath_file_put(file[0]);
	tftp_fastpath_file_put(file[3]);
	for (int i = 0; i < 6; i++)
		close(fd[i]);
	end();
}

static void test_tftp_fastpath_files_only_regular_ones(void)
{
	struct tftp_fastpath_file *file;
	int p[2], fd;

	begin();
	CU_ASSERT_EQUAL(pipe(p), 0);
	CU_ASSERT_EQUAL(tftp_files_get(&files, p[0], later(), &file), -EINVAL);
	fd = open("/", O_RDONLY | O_DIRECTORY);
	CU_ASSERT_EQUAL(tftp_files_get(&files, fd, later(), &file), -EINVAL);
	CU_ASSERT_EQUAL(tftp_files_get(&files, -1, later(), &file), -EBADF);
	close(fd);
	close(p[0]);
	close(p[1]);
	end();
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		UNIT(test_tftp_fastpath_files_hold_each_block_whole_with_its_sum),
		UNIT(test_tftp_fastpath_files_are_shared),
		UNIT(test_tftp_fastpath_files_changed_one_is_a_new_generation),
		UNIT(test_tftp_fastpath_files_just_written_is_not_trusted_again),
		UNIT(test_tftp_fastpath_files_change_while_loading_is_noticed),
		UNIT(test_tftp_fastpath_files_loading_goes_on_where_it_stopped),
		UNIT(test_tftp_fastpath_files_oldest_unused_goes_first),
		UNIT(test_tftp_fastpath_files_only_regular_ones),
	};

	rng = unit_seed();
	return unit_main(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
