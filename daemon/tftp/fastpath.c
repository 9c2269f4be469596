// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The fast path: three ways for a block to be sent, one set of maps.
 *
 *	XDP	the ACK's frame grows into the next block and goes back out of the driver's own ring
 *	tc	the same on the socket buffer, on any device; windows too, one clone a block
 *	user	tftp/server.c: everything that is not the plain case
 *
 * A transfer starts in user space: it checks the request, opens the file, answers with an OACK, and
 * only then is there a session for the programs to find. They send nothing before the client has
 * acknowledged the OACK, so a request with a forged source gets one OACK and no data: no amplifier.
 *
 * A session is a slot in memory that both sides map. Its state is one 64-bit word, {epoch, block
 * sent last}. A program that has an ACK of just that block moves the word on by compare-and-exchange
 * and then sends; if the exchange fails, another CPU has answered, or user space took the session
 * over, and the packet is passed. User space takes it over by clearing the epoch, also atomically,
 * and so knows exactly what was sent. Any other packet (duplicate ACK, ACK within a window, ERROR,
 * the ACK of the last block) reaches the transfer's socket as without us, and the state machine
 * there decides, with the state that pause() tells. So retransmission, time-outs and the end exist
 * once, in user space.
 *
 * Who may read what, and when: slots and chunks are plain memory that programs read without locks.
 * A slot or chunk is given to somebody else only TFTP_REST_NS after its last use; the epoch in the
 * table of sessions tells a slot's tenants apart.
 *
 * A file is copied into the chunks once and read from there by all transfers: a file that changes
 * on disk is a new generation, and running transfers keep the old one to the end.
 */
#include "daemon/core/clock.h"
#include "daemon/tftp/fastpath.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf/tftp_shared.h"
#include "bpf/tftp_tc.skel.h"
#include "bpf/tftp_xdp.skel.h"
#include "daemon/tftp/fastpath_files.h"
#include "daemon/tftp/fastpath_links.h"

#define MEMORY_MIN (1ull << 20)
#define MEMORY_MAX (1ull << 30)

/* What user space knows of a slot beside what is in it. */
struct session {
	struct tftp_key key;
	struct tftp_fastpath_file *file; /* NULL: free */
	uint32_t epoch;
	uint32_t next_free;
	uint64_t freed; /* ns */
};

struct tftp_fastpath {
	struct tftp_tc_bpf *tc;
	struct tftp_xdp_bpf *xdp; /* NULL: mode TC, or the kernel does not take it */
	struct tftp_slot *slots;
	size_t slots_size; /* bytes mapped */
	struct tftp_chunk *chunks;
	size_t chunks_size;
	struct tftp_files files;
	struct tftp_links links;
	struct session *session;
	uint32_t session_slots, sessions_max, sessions;
	uint32_t first_free, last_free; /* a queue: the slot that rested longest comes first */
	uint32_t epoch;
};

#define NO_SLOT UINT32_MAX

int tftp_fastpath_mode_parse(const char *text, enum tftp_fastpath_mode *ret)
{
	static const char *const names[] = {
		[TFTP_FASTPATH_OFF] = "off",
		[TFTP_FASTPATH_AUTO] = "auto",
		[TFTP_FASTPATH_XDP] = "xdp",
		[TFTP_FASTPATH_TC] = "tc",
	};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(text, names[i])) {
			*ret = (enum tftp_fastpath_mode)i;
			return 0;
		}
	return -EINVAL;
}

const char *tftp_fastpath_tier_name(enum tftp_fastpath_tier tier)
{
	static const char *const names[] = {"user", "tc", "xdp"};

	return names[tier];
}

/* --- loading --- */

static int quiet(enum libbpf_print_level level, const char *format, va_list ap)
{
	return getenv("BOOTWELL_DEBUG_BPF") && level <= LIBBPF_INFO ? vfprintf(stderr, format, ap) : 0;
}

static int load_tc(struct tftp_fastpath *fp, const struct tftp_fastpath_config *config)
{
	uint32_t chunks = (uint32_t)(config->memory / sizeof(struct tftp_chunk));
	int r;

	fp->tc = tftp_tc_bpf__open();
	if (!fp->tc)
		return -errno;
	fp->tc->rodata->tftp_zero_checksums = config->zero_checksums;
	r = bpf_map__set_max_entries(fp->tc->maps.tftp_sessions, config->sessions_max);
	if (r == 0)
		r = bpf_map__set_max_entries(fp->tc->maps.tftp_slots, fp->session_slots);
	if (r == 0)
		r = bpf_map__set_max_entries(fp->tc->maps.tftp_chunks, chunks);
	if (r == 0)
		r = tftp_tc_bpf__load(fp->tc);
	return r;
}

/* The XDP program on the tc program's maps. */
static int load_xdp(struct tftp_fastpath *fp, const struct tftp_fastpath_config *config)
{
	int r;

	fp->xdp = tftp_xdp_bpf__open();
	if (!fp->xdp)
		return -errno;
	fp->xdp->rodata->tftp_zero_checksums = config->zero_checksums;
	r = bpf_map__reuse_fd(fp->xdp->maps.tftp_sessions, bpf_map__fd(fp->tc->maps.tftp_sessions));
	if (r == 0)
		r = bpf_map__reuse_fd(fp->xdp->maps.tftp_slots, bpf_map__fd(fp->tc->maps.tftp_slots));
	if (r == 0)
		r = bpf_map__reuse_fd(fp->xdp->maps.tftp_chunks, bpf_map__fd(fp->tc->maps.tftp_chunks));
	if (r == 0)
		r = bpf_map__reuse_fd(fp->xdp->maps.tftp_counts, bpf_map__fd(fp->tc->maps.tftp_counts));
	if (r == 0)
		r = tftp_xdp_bpf__load(fp->xdp);
	if (r < 0) {
		tftp_xdp_bpf__destroy(fp->xdp);
		fp->xdp = NULL;
	}
	return r;
}

static int map_memory(const struct bpf_map *map, void *ret_address, size_t *ret_size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = (size_t)bpf_map__max_entries(map) * bpf_map__value_size(map);
	void *address;

	size = (size + page - 1) / page * page;
	address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	if (address == MAP_FAILED)
		return -errno;
	memcpy(ret_address, &address, sizeof(address));
	*ret_size = size;
	return 0;
}

static void slots_init(struct tftp_fastpath *fp)
{
	for (uint32_t i = 0; i < fp->session_slots; i++)
		fp->session[i].next_free = i + 1 < fp->session_slots ? i + 1 : NO_SLOT;
	fp->first_free = 0;
	fp->last_free = fp->session_slots - 1;
}

static int fastpath_load(struct tftp_fastpath *fp, const struct tftp_fastpath_config *config)
{
	struct tftp_programs programs = {-1, -1, -1, -1, -1, -1};
	int r;

	r = load_tc(fp, config);
	if (r < 0)
		return r;
	programs.tc = bpf_program__fd(fp->tc->progs.tftp_tc);
	programs.tc_stub = bpf_program__fd(fp->tc->progs.tftp_tc_stub);
	programs.jump_map = bpf_map__fd(fp->tc->maps.tftp_jump);
	if (config->mode != TFTP_FASTPATH_TC && load_xdp(fp, config) == 0) {
		programs.xdp = bpf_program__fd(fp->xdp->progs.tftp_xdp);
		programs.probe = bpf_program__fd(fp->xdp->progs.tftp_probe);
		programs.probes_map = bpf_map__fd(fp->xdp->maps.tftp_probes);
	}
	r = map_memory(fp->tc->maps.tftp_slots, &fp->slots, &fp->slots_size);
	if (r == 0)
		r = map_memory(fp->tc->maps.tftp_chunks, &fp->chunks, &fp->chunks_size);
	if (r < 0)
		return r;
	tftp_files_init(&fp->files, fp->chunks, bpf_map__max_entries(fp->tc->maps.tftp_chunks));
	tftp_links_init(&fp->links, config->mode, &programs);
	return 0;
}

int tftp_fastpath_new(struct tftp_fastpath **ret, const struct tftp_fastpath_config *config)
{
	struct tftp_fastpath *fp;
	int r;

	if (config->mode == TFTP_FASTPATH_OFF)
		return -ENOTSUP;
	if (config->memory < MEMORY_MIN || config->memory > MEMORY_MAX || config->sessions_max < 1 ||
	    config->sessions_max > TFTP_SESSIONS_LIMIT)
		return -EINVAL;
	fp = calloc(1, sizeof(*fp));
	if (!fp)
		return -ENOMEM;
	fp->sessions_max = config->sessions_max;
	fp->session_slots = 2 * config->sessions_max; /* half of them may be resting */
	fp->session = calloc(fp->session_slots, sizeof(*fp->session));
	if (!fp->session) {
		free(fp);
		return -ENOMEM;
	}
	slots_init(fp);
	libbpf_set_print(quiet);
	r = fastpath_load(fp, config);
	if (r < 0) {
		tftp_fastpath_free(fp);
		return r;
	}
	*ret = fp;
	return 0;
}

void tftp_fastpath_free(struct tftp_fastpath *fp)
{
	if (!fp)
		return;
	tftp_links_done(&fp->links);
	tftp_files_done(&fp->files);
	if (fp->slots)
		munmap(fp->slots, fp->slots_size);
	if (fp->chunks)
		munmap(fp->chunks, fp->chunks_size);
	tftp_xdp_bpf__destroy(fp->xdp);
	tftp_tc_bpf__destroy(fp->tc);
	free(fp->session);
	free(fp);
}

/* --- interfaces --- */

int tftp_fastpath_attach(struct tftp_fastpath *fp, int ifindex)
{
	return fp ? tftp_links_attach(&fp->links, ifindex) : -ENOTSUP;
}

void tftp_fastpath_detach(struct tftp_fastpath *fp, int ifindex)
{
	if (fp)
		tftp_links_detach(&fp->links, ifindex);
}

enum tftp_fastpath_tier tftp_fastpath_tier(const struct tftp_fastpath *fp, int ifindex)
{
	const struct tftp_fastpath_link *link = fp ? tftp_links_find(&fp->links, ifindex) : NULL;

	return link ? link->tier : TFTP_FASTPATH_TIER_USER;
}

const char *tftp_fastpath_why(const struct tftp_fastpath *fp, int ifindex)
{
	const struct tftp_fastpath_link *link = fp ? tftp_links_find(&fp->links, ifindex) : NULL;

	return link ? link->why : fp ? "the interface is not attached" : "the fast path is off";
}

int tftp_fastpath_program(const struct tftp_fastpath *fp, enum tftp_fastpath_tier tier)
{
	return tier == TFTP_FASTPATH_TIER_XDP  ? fp->links.programs.xdp
	       : tier == TFTP_FASTPATH_TIER_TC ? fp->links.programs.tc
					       : -1;
}

void tftp_fastpath_tick(struct tftp_fastpath *fp, uint64_t now)
{
	if (!fp)
		return;
	tftp_links_tick(&fp->links);
	tftp_files_tick(&fp->files, now);
}

int tftp_fastpath_file_get(struct tftp_fastpath *fp, int fd, uint64_t now, struct tftp_fastpath_file **ret)
{
	return fp ? tftp_files_get(&fp->files, fd, now, ret) : -ENOTSUP;
}

/* --- sessions --- */

static bool slot_take(struct tftp_fastpath *fp, uint64_t now, uint32_t *ret)
{
	uint32_t i = fp->first_free;

	if (i == NO_SLOT || fp->sessions >= fp->sessions_max)
		return false;
	if (fp->session[i].freed && now < fp->session[i].freed + TFTP_REST_NS)
		return false;
	fp->first_free = fp->session[i].next_free;
	if (fp->first_free == NO_SLOT)
		fp->last_free = NO_SLOT;
	fp->sessions++;
	*ret = i;
	return true;
}

static void slot_give(struct tftp_fastpath *fp, uint32_t i)
{
	struct session *session = &fp->session[i];

	fp->slots[i].chunks = 0;
	tftp_fastpath_file_put(session->file);
	*session = (struct session){.next_free = NO_SLOT, .freed = clock_monotonic_ns()};
	if (fp->last_free == NO_SLOT)
		fp->first_free = i;
	else
		fp->session[fp->last_free].next_free = i;
	fp->last_free = i;
	fp->sessions--;
}

static void slot_fill(struct tftp_slot *slot, const struct tftp_fastpath_transfer *t,
		      const struct tftp_fastpath_file *file, const struct tftp_fastpath_link *link)
{
	uint64_t blocks = file->id.size / t->blksize + 1;
	uint64_t tail = file->id.size - (blocks - 1) * t->blksize;

	slot->last = t->now;
	slot->size = file->id.size;
	slot->first_chunk = file->first_chunk;
	slot->chunks = file->chunks;
	slot->blocks = (uint32_t)blocks;
	slot->fast = (uint32_t)(tail >= TFTP_DATA_MIN ? blocks : blocks - 1);
	slot->blksize = t->blksize;
	slot->window = t->windowsize;
	memcpy(slot->mac, link->mac, 6);
}

static bool transfer_fits(const struct tftp_fastpath_transfer *t, const struct tftp_fastpath_link *link)
{
	return t->blksize >= TFTP_DATA_MIN && t->blksize % 4 == 0 && t->blksize <= TFTP_BLKSIZE_MAX &&
	       t->blksize + 32u <= link->mtu && t->windowsize >= 1 && t->windowsize <= TFTP_WINDOW_MAX;
}

static void set_key(struct tftp_key *key, const struct tftp_fastpath_transfer *t)
{
	key->client = htonl(t->client);
	key->server = htonl(t->server);
	key->client_port = htons(t->client_port);
	key->server_port = htons(t->server_port);
	key->ifindex = (uint32_t)t->ifindex;
}

int tftp_fastpath_session_add(struct tftp_fastpath *fp, const struct tftp_fastpath_transfer *transfer,
			      struct tftp_fastpath_file *file, uint32_t *ret)
{
	struct tftp_fastpath_link *link = fp ? tftp_links_find(&fp->links, transfer->ifindex) : NULL;
	struct tftp_ref ref;
	struct session *session;
	int r;

	if (!link || !transfer_fits(transfer, link))
		return -ENOTSUP;
	if (!tftp_file_loaded(file))
		return -EAGAIN;
	tftp_links_settle(&fp->links, link);
	if (!slot_take(fp, transfer->now, &ref.slot))
		return -ENOSPC;
	if (++fp->epoch == 0)
		fp->epoch = 1;
	ref.epoch = fp->epoch;
	session = &fp->session[ref.slot];
	*session = (struct session){.file = file, .epoch = ref.epoch};
	file->refs++;
	set_key(&session->key, transfer);
	slot_fill(&fp->slots[ref.slot], transfer, file, link);
	tftp_fastpath_session_resume(fp, ref.slot, transfer->sent, transfer->now);
	r = bpf_map_update_elem(bpf_map__fd(fp->tc->maps.tftp_sessions), &session->key, &ref, BPF_NOEXIST);
	if (r < 0) {
		slot_give(fp, ref.slot);
		return r == -E2BIG ? -ENOSPC : r;
	}
	*ret = ref.slot;
	return 0;
}

static uint32_t slot_read(const struct tftp_slot *slot, uint64_t state, uint64_t *ret_last)
{
	if (ret_last)
		*ret_last = __atomic_load_n(&slot->last, __ATOMIC_ACQUIRE);
	return (uint32_t)state;
}

uint32_t tftp_fastpath_session_peek(const struct tftp_fastpath *fp, uint32_t session, uint64_t *ret_last)
{
	const struct tftp_slot *slot = &fp->slots[session];

	return slot_read(slot, __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE), ret_last);
}

uint32_t tftp_fastpath_session_pause(struct tftp_fastpath *fp, uint32_t session, uint64_t *ret_last)
{
	struct tftp_slot *slot = &fp->slots[session];

	return slot_read(slot, __atomic_fetch_and(&slot->state, 0xffffffff, __ATOMIC_SEQ_CST), ret_last);
}

void tftp_fastpath_session_resume(struct tftp_fastpath *fp, uint32_t session, uint32_t sent, uint64_t now)
{
	struct tftp_slot *slot = &fp->slots[session];
	uint64_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);

	if (state >> 32)
		return; /* not paused: the programs may be far beyond `sent` by now */
	/* A duplicate ACK that user space ignored is no progress: it must not put off the time-out.
	 */
	if ((uint32_t)state != sent)
		__atomic_store_n(&slot->last, now, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->state, (uint64_t)fp->session[session].epoch << 32 | sent, __ATOMIC_RELEASE);
}

void tftp_fastpath_session_remove(struct tftp_fastpath *fp, uint32_t session)
{
	tftp_fastpath_session_pause(fp, session, NULL);
	bpf_map_delete_elem(bpf_map__fd(fp->tc->maps.tftp_sessions), &fp->session[session].key);
	slot_give(fp, session);
}

/* --- counters --- */

static void read_count(const struct tftp_fastpath *fp, uint32_t which, struct tftp_fastpath_path_stats *ret)
{
	int cpus = libbpf_num_possible_cpus();
	struct tftp_count *count = cpus > 0 ? calloc((size_t)cpus, sizeof(*count)) : NULL;

	if (count && !bpf_map_lookup_elem(bpf_map__fd(fp->tc->maps.tftp_counts), &which, count))
		for (int i = 0; i < cpus; i++) {
			ret->blocks += count[i].blocks;
			ret->bytes += count[i].bytes;
			ret->passed += count[i].passed;
			ret->failed += count[i].failed;
		}
	free(count);
}

void tftp_fastpath_stats(const struct tftp_fastpath *fp, struct tftp_fastpath_stats *ret)
{
	*ret = (struct tftp_fastpath_stats){0};
	if (!fp)
		return;
	read_count(fp, TFTP_COUNT_TC, &ret->tc);
	read_count(fp, TFTP_COUNT_XDP, &ret->xdp);
	ret->memory = (uint64_t)fp->files.count * sizeof(struct tftp_chunk);
	ret->memory_used = (uint64_t)fp->files.used * sizeof(struct tftp_chunk);
	ret->evicted = fp->files.evicted;
	ret->files = fp->files.files;
	ret->sessions = fp->sessions;
}
