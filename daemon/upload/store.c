// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * All uploads: one for an image's name, found in memory or in .upload. Whoever began one may come back to it: at once
 * with the same key (its connection broke, or the server was restarted), after a silence with another (the PC was
 * restarted). Everybody else is refused.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "daemon/core/clock.h"
#include "daemon/upload/private.h"

#define FOLDER        ".upload"
#define REMEMBER_DONE 600 /* s, in memory */
#define EACH_NS       (50 * 1000000ull)
#define KEEP_DONE     (24 * 3600) /* s that a finished upload's journal stays */

/* What upload_fail() said passes by itself. */
static int passes(struct upload_refusal *error, int code, unsigned int seconds)
{
	if (error)
		error->retry_after = seconds;
	return code;
}

int upload_image_name(const char *file, char ret[UPLOAD_NAME_MAX], struct upload_refusal *error)
{
	const char *dot = strrchr(file, '.');
	enum image_format format;
	size_t length = dot ? (size_t)(dot - file) : 0;

	if (!dot || sparse_format(file, &format) < 0)
		return upload_fail(error, -EINVAL, "the name must end in " SPARSE_ENDINGS ": that chooses the format");
	if (!length || strlen(file) >= UPLOAD_NAME_MAX || !isalnum((unsigned char)file[0]))
		return upload_fail(error, -EINVAL,
				   "the name must begin with a letter or digit and have at most %d characters",
				   UPLOAD_NAME_MAX - 1);
	for (const char *p = file; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
			return upload_fail(
				error, -EINVAL,
				"the name may have letters, digits, '.', '_' and '-' only: no spaces, no folders");
	memcpy(ret, file, length);
	ret[length] = '\0';
	return 0;
}

static void unref_locked(struct upload_session *s)
{
	if (--s->refs == 0)
		session_free(s);
}

void upload_unref(struct upload_session *s)
{
	struct upload_store *store;

	if (!s)
		return;
	store = s->store;
	pthread_mutex_lock(&store->lock);
	unref_locked(s);
	pthread_mutex_unlock(&store->lock);
}

/* Takes it out of the list; no request finds it any more, and those that have it see that it ended. */
static void end_locked(struct upload_session *s)
{
	struct upload_session **p = &s->store->sessions;

	while (*p && *p != s)
		p = &(*p)->next;
	if (!*p)
		return;
	*p = s->next;
	pthread_mutex_lock(&s->lock);
	s->state = SESSION_ENDED;
	pthread_mutex_unlock(&s->lock);
	unref_locked(s);
}

static struct upload_session *find_image(struct upload_store *store, const char *image)
{
	for (struct upload_session *s = store->sessions; s; s = s->next)
		if (strcmp(s->image, image) == 0)
			return s;
	return NULL;
}

struct upload_session *upload_find(struct upload_store *store, const char *id)
{
	struct upload_session *s;

	pthread_mutex_lock(&store->lock);
	for (s = store->sessions; s; s = s->next)
		if (s->state != SESSION_LOADING && strcmp(s->header.id, id) == 0)
			break;
	if (s)
		s->refs++;
	pthread_mutex_unlock(&store->lock);
	return s;
}

const char *upload_id(const struct upload_session *s)
{
	return s->header.id;
}

uint64_t upload_size(const struct upload_session *s)
{
	return s->header.size;
}

const char *upload_image(const struct upload_session *s)
{
	return s->image;
}

const char *upload_file(const struct upload_session *s)
{
	return s->header.file;
}

const char *upload_who(const struct upload_session *s)
{
	return s->header.who;
}

bool upload_by_pc(const struct upload_session *s)
{
	return s->header.pc;
}

bool upload_is_whole(struct upload_session *s)
{
	bool done;

	pthread_mutex_lock(&s->lock);
	done = s->state == SESSION_DONE || s->state == SESSION_FINISHING;
	pthread_mutex_unlock(&s->lock);
	return done;
}

static struct upload_session *session_new(struct upload_store *store, const char *image)
{
	struct upload_session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->store = store;
	s->refs = 1;
	s->dirfd = s->data = s->journal = -1;
	s->state = SESSION_LOADING;
	snprintf(s->image, sizeof(s->image), "%s", image);
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

static int new_id(char ret[UPLOAD_KEY_MAX])
{
	uint8_t random[16];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	for (unsigned int i = 0; i < sizeof(random); i++)
		snprintf(ret + 2 * i, 3, "%02x", random[i]);
	return 0;
}

/* --- beginning ----------------------------------------------------------------------------------------------------*/

uint64_t upload_promised(struct upload_store *store, const struct upload_session *but)
{
	uint64_t bytes = 0;

	pthread_mutex_lock(&store->lock);
	for (struct upload_session *s = store->sessions; s; s = s->next) {
		if (s == but || s->state == SESSION_DONE || s->state == SESSION_LOADING)
			continue;
		pthread_mutex_lock(&s->lock);
		if (s->header.used > s->received)
			bytes += s->header.used - s->received;
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_unlock(&store->lock);
	return bytes;
}

static int check_space(struct upload_session *s, struct upload_refusal *error)
{
	uint64_t need = s->header.used - (s->received < s->header.used ? s->received : s->header.used);
	uint64_t promised = upload_promised(s->store, s), have;
	struct statvfs fs;

	if (fstatvfs(s->store->images, &fs) < 0)
		return upload_fail(error, -errno, "the server cannot look at %s: %s", s->store->path, strerror(errno));
	have = (uint64_t)fs.f_bavail * fs.f_frsize;
	need += promised + UPLOAD_RESERVE;
	if (have >= need)
		return 0;
	return upload_fail(error, -ENOSPC,
			   "%s: the server's disk with the images (%s) has %" PRIu64 " MiB free, but %" PRIu64
			   " MiB are needed; make room there, then try again",
			   s->header.file, s->store->path, have >> 20, need >> 20);
}

static int check_request(const struct upload_request *r, char image[UPLOAD_NAME_MAX], struct upload_refusal *error)
{
	enum image_format format;
	int e = upload_image_name(r->file, image, error);
	uint64_t most;

	if (e)
		return e;
	sparse_format(r->file, &format);
	most = sparse_size_max(format);
	if (!r->size || r->size % 512)
		return upload_fail(error, -EINVAL, "%s: the disk's size must be a multiple of 512 bytes", r->file);
	if (r->size > most)
		return upload_fail(error, -EFBIG,
				   "%s: the disk has %" PRIu64 " GiB, the format at most %" PRIu64 " GiB", r->file,
				   r->size >> 30, most >> 30);
	if (strlen(r->session) != UPLOAD_KEY_MAX - 1 || strspn(r->session, "0123456789abcdef") != UPLOAD_KEY_MAX - 1)
		return upload_fail(error, -EINVAL, "the key of the upload must be 32 hexadecimal digits");
	return 0;
}

static int check_catalogue(struct upload_store *store, const struct upload_request *r, const char *image,
			   struct upload_refusal *error)
{
	int there = store->ops.exists(store->ops.arg, image);
	struct stat st;

	if (there < 0)
		return upload_fail(error, there, "the server cannot read its catalogue: %s", strerror(-there));
	if (there && !r->update)
		return upload_fail(
			error, -EEXIST,
			"there is an image %s already; take another name, or upload it as its next generation", image);
	if (!there && r->update)
		return upload_fail(error, -ENOENT, "there is no image %s to make a next generation of", image);
	if (!there && fstatat(store->images, r->file, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return upload_fail(error, -EEXIST,
				   "there is a file %s in the server's folder of images (%s), though it is not in the "
				   "catalogue; add it there, or take another name",
				   r->file, store->path);
	return 0;
}

/* May this request go on with that session? 1 yes, 0 begin anew, -errno no. The session's lock is held. */
static int may_resume(const struct upload_session *s, enum session_state state, const struct upload_request *r,
		      struct upload_refusal *error)
{
	bool same_key = strcmp(s->header.session, r->session) == 0;
	bool silent = !s->last_seen || upload_now() - s->last_seen > UPLOAD_SILENCE;

	if (strcmp(s->header.who, r->who))
		return upload_fail(
			error, -EBUSY,
			"%s is uploading %s; wait until it is done, take another name, or end it on the server with "
			"`bootwell image upload --abort %s`",
			s->header.who, s->header.file, s->image);
	if (state == SESSION_FINISHING || (!same_key && !silent)) {
		upload_fail(error, -EBUSY,
			    "%s is being uploaded from this PC already; wait %d seconds if that was cut off",
			    s->header.file, UPLOAD_SILENCE);
		return passes(error, -EBUSY,
			      silent ? 1 : (unsigned int)(s->last_seen + UPLOAD_SILENCE + 1 - upload_now()));
	}
	return s->header.size == r->size && strcmp(s->header.file, r->file) == 0 && s->header.update == r->update;
}

/* Finished ones are remembered for a while only; the journal on disk remembers longer. */
static void purge_locked(struct upload_store *store)
{
	for (struct upload_session *s = store->sessions, *next; s; s = next) {
		next = s->next;
		if (s->state == SESSION_DONE && upload_now() - s->last_seen > REMEMBER_DONE)
			end_locked(s);
	}
}

/* A loading session in the list, so that a second request for the name sees it; or the one that is there already. */
static int enter(struct upload_store *store, const struct upload_request *r, const char *image,
		 struct upload_session **ret, bool *ret_there, struct upload_refusal *error)
{
	struct upload_session *s;
	unsigned int n = 0;
	int e = 0;

	pthread_mutex_lock(&store->lock);
	purge_locked(store);
	for (s = store->sessions; s; s = s->next)
		n += s->state != SESSION_DONE;
	s = find_image(store, image);
	*ret_there = s != NULL;
	if (s && s->state == SESSION_LOADING) {
		upload_fail(error, -EAGAIN,
			    "%s: another request for this image is being answered; try again in a moment", r->file);
		e = passes(error, -EAGAIN, 1);
	} else if (s) {
		s->refs++;
		*ret = s;
	} else if (n >= UPLOAD_SESSIONS) {
		e = upload_fail(error, -EMFILE, "the server has %d unfinished uploads already; end one of them first",
				UPLOAD_SESSIONS);
	} else {
		s = session_new(store, image);
		if (s) {
			s->next = store->sessions;
			store->sessions = s;
			s->refs++; /* the list's and the caller's */
			*ret = s;
		} else {
			e = upload_fail(error, -ENOMEM, "the server is out of memory");
		}
	}
	pthread_mutex_unlock(&store->lock);
	return e;
}

static void discard(struct upload_session *s)
{
	struct upload_store *store = s->store;

	pthread_mutex_lock(&store->lock);
	end_locked(s);
	unref_locked(s);
	pthread_mutex_unlock(&store->lock);
}

/* Gives the session to this sender: a new id, so that the old one's requests find nothing. Both locks held. */
static int take_over(struct upload_session *s, const struct upload_request *r, struct upload_refusal *error)
{
	if (new_id(s->header.id) < 0)
		return upload_fail(error, -EIO, "the server has no random numbers");
	snprintf(s->header.session, sizeof(s->header.session), "%s", r->session);
	if (r->used)
		s->header.used = r->used < r->size ? r->used : r->size;
	s->header.pc = r->pc;
	s->header.make_current = r->make_current;
	s->last_seen = upload_now();
	s->samples = 0;
	return 0;
}

/* A new one, in place of whatever is on disk. */
static int start(struct upload_session *s, const struct upload_request *r, struct upload_refusal *error)
{
	int e = check_catalogue(s->store, r, s->image, error);

	if (e)
		return e;
	e = session_files_remove(s->store, s->image);
	if (e)
		return upload_fail(error, e, "%s: what is left of an old upload cannot be removed: %s", r->file,
				   strerror(-e));
	memset(&s->header, 0, sizeof(s->header));
	snprintf(s->header.file, sizeof(s->header.file), "%s", r->file);
	snprintf(s->header.who, sizeof(s->header.who), "%s", r->who);
	s->header.size = r->size;
	s->header.used = r->used && r->used < r->size ? r->used : r->size;
	s->header.started = time(NULL);
	s->header.update = r->update;
	s->header.pc = r->pc;
	s->header.make_current = r->make_current;
	snprintf(s->header.session, sizeof(s->header.session), "%s", r->session);
	if (new_id(s->header.id) < 0)
		return upload_fail(error, -EIO, "the server has no random numbers");
	sparse_format(r->file, &s->format);
	e = check_space(s, error);
	return e ? e : session_create(s, error);
}

/* What was loaded from disk is not wanted. */
static void empty(struct upload_session *s)
{
	session_close(s);
	free(s->part);
	free(s->digest);
	s->part = NULL;
	s->digest = NULL;
	s->parts = s->parts_have = s->received = 0;
	memset(&s->result, 0, sizeof(s->result));
}

static int spent_fail(const struct upload_request *r, struct upload_refusal *error)
{
	return upload_fail(error, -EACCES,
			   "%s: the secret of this PC's capture script was for one upload, which is done; start the PC "
			   "from the network again",
			   r->file);
}

/* For a session that is new in memory: from disk if there is something to go on with. *ret: its state. */
static int load_or_start(struct upload_session *s, const struct upload_request *r, enum session_state *ret,
			 struct upload_refusal *error)
{
	int e = session_load(s, ret, NULL);

	if (e == 0 && *ret == SESSION_DONE && strcmp(s->header.session, r->session) == 0 &&
	    strcmp(s->header.who, r->who) == 0)
		return 0;
	if (r->spent)
		return spent_fail(r, error);
	if (e == 0 && *ret == SESSION_OPEN) {
		e = may_resume(s, *ret, r, error);
		if (e < 0)
			return e;
		if (e > 0)
			return check_space(s, error);
	}
	empty(s);
	*ret = SESSION_OPEN;
	return start(s, r, error);
}

/* The session is in memory. 1: it is the sender's now; 0: it is gone, begin anew; -errno. */
static int resume(struct upload_session *s, const struct upload_request *r, struct upload_refusal *error)
{
	struct upload_store *store = s->store;
	int e;

	pthread_mutex_lock(&store->lock);
	pthread_mutex_lock(&s->lock);
	if (s->state == SESSION_ENDED)
		e = 0;
	else if (s->state == SESSION_DONE)
		e = strcmp(s->header.session, r->session) == 0 && strcmp(s->header.who, r->who) == 0;
	else
		e = may_resume(s, s->state, r, error);
	if (r->spent && e >= 0 && !(e > 0 && s->state == SESSION_DONE))
		e = spent_fail(r, error);
	if (e > 0 && s->state == SESSION_OPEN && take_over(s, r, error) < 0)
		e = -EIO;
	pthread_mutex_unlock(&s->lock);
	if (e == 0)
		end_locked(s);
	pthread_mutex_unlock(&store->lock);
	return e;
}

static int begin_new(struct upload_session *s, const struct upload_request *r, struct upload_refusal *error)
{
	enum session_state state = SESSION_OPEN;
	int e = load_or_start(s, r, &state, error);

	pthread_mutex_lock(&s->store->lock);
	pthread_mutex_lock(&s->lock);
	if (e == 0 && state == SESSION_OPEN)
		e = take_over(s, r, error);
	if (e == 0)
		s->state = state;
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_unlock(&s->store->lock);
	return e;
}

int upload_begin(struct upload_store *store, const struct upload_request *r, struct upload_session **ret,
		 struct upload_refusal *error)
{
	char image[UPLOAD_NAME_MAX];
	struct upload_session *s = NULL;
	bool there;
	int e = check_request(r, image, error);

	for (unsigned int i = 0; e == 0 && i < 3; i++) {
		e = enter(store, r, image, &s, &there, error);
		if (e)
			return e;
		e = there ? resume(s, r, error) : begin_new(s, r, error);
		if (!there && e < 0)
			discard(s);
		else if (e < 0 || (there && e == 0))
			upload_unref(s);
		else {
			*ret = s;
			return 0;
		}
	}
	if (e)
		return e;
	upload_fail(error, -EAGAIN, "%s: try again in a moment", r->file);
	return passes(error, -EAGAIN, 1);
}

/* --- the end ------------------------------------------------------------------------------------------------------*/

/* Under the lock: may it end now? Fills the digest. */
static int finish_begin(struct upload_session *s, const uint8_t *digest, struct upload_refusal *error)
{
	uint8_t found[DIGEST_SIZE];

	if (s->state == SESSION_ENDED)
		return upload_fail(error, -ESTALE, "%s: this upload was ended or taken over", s->header.file);
	if (s->state == SESSION_FINISHING)
		return upload_fail(error, -EBUSY, "%s: the image is being finished", s->header.file);
	if (s->parts_have < s->parts)
		return upload_fail(error, -ENODATA, "%s: %" PRIu64 " of %" PRIu64 " parts have not arrived",
				   s->header.file, s->parts - s->parts_have, s->parts);
	digest_disk(s->header.size, s->digest, found);
	if (memcmp(found, digest, DIGEST_SIZE))
		return upload_fail(error, -EBADMSG,
				   "%s: the image's SHA-256 is not the disk's; ask for the parts' checksums and "
				   "send again those that differ",
				   s->header.file);
	s->state = SESSION_FINISHING;
	memcpy(s->result.digest, digest, DIGEST_SIZE);
	return 0;
}

int upload_finish(struct upload_session *s, const uint8_t digest[DIGEST_SIZE], struct upload_image *ret,
		  struct upload_refusal *error)
{
	int r = 0;

	pthread_mutex_lock(&s->lock);
	s->last_seen = upload_now();
	if (s->state == SESSION_DONE) {
		r = memcmp(s->result.digest, digest, DIGEST_SIZE)
			    ? upload_fail(error, -EBADMSG, "%s: was finished with another checksum", s->header.file)
			    : 0;
		*ret = s->result;
		pthread_mutex_unlock(&s->lock);
		return r;
	}
	r = finish_begin(s, digest, error);
	pthread_mutex_unlock(&s->lock);
	if (r)
		return r;
	r = session_complete(s, error);
	pthread_mutex_lock(&s->lock);
	s->state = r == 0 ? SESSION_DONE : SESSION_OPEN;
	s->last_seen = upload_now();
	if (r == 0)
		*ret = s->result;
	pthread_mutex_unlock(&s->lock);
	return r;
}

int upload_abort(struct upload_session *s)
{
	struct upload_store *store = s->store;
	bool busy;
	int r = 0;

	pthread_mutex_lock(&store->lock);
	pthread_mutex_lock(&s->lock);
	busy = s->state != SESSION_OPEN && s->state != SESSION_DONE;
	pthread_mutex_unlock(&s->lock);
	if (busy) {
		r = -EBUSY;
	} else {
		r = session_files_remove(store, s->image);
		end_locked(s);
	}
	pthread_mutex_unlock(&store->lock);
	return r;
}

/* What is on disk only: who sent it, then it goes. */
static int remove_name(struct upload_store *store, const char *image, char ret_who[UPLOAD_WHO_MAX])
{
	char name[2 * UPLOAD_NAME_MAX];
	struct upload_header header;

	snprintf(name, sizeof(name), "%s/journal", image);
	if (!journal_open(store->dir, name, &header, NULL, NULL, NULL) && header.pc)
		memcpy(ret_who, header.who, UPLOAD_WHO_MAX);
	return session_files_remove(store, image);
}

int upload_abort_name(struct upload_store *store, const char *image, char ret_who[UPLOAD_WHO_MAX],
		      struct upload_refusal *error)
{
	char name[UPLOAD_NAME_MAX + 8];
	char checked[UPLOAD_NAME_MAX];
	struct upload_session *s;
	int r;

	ret_who[0] = '\0';
	snprintf(name, sizeof(name), "%s.vhd", image); /* the rule for names, in one place */
	r = upload_image_name(name, checked, error);
	if (r)
		return r;
	pthread_mutex_lock(&store->lock);
	s = find_image(store, image);
	if (s)
		s->refs++;
	pthread_mutex_unlock(&store->lock);
	if (s) {
		if (s->header.pc)
			memcpy(ret_who, s->header.who, UPLOAD_WHO_MAX);
		r = upload_abort(s);
		upload_unref(s);
	} else if (faccessat(store->dir, image, F_OK, 0) == 0) {
		r = remove_name(store, image, ret_who);
	} else {
		r = -ENOENT;
	}
	if (r == -ENOENT)
		return upload_fail(error, r, "there is no unfinished upload of %s", image);
	return r ? upload_fail(error, r, "the upload of %s cannot be ended now: %s", image, strerror(-r)) : 0;
}

/* --- all of them --------------------------------------------------------------------------------------------------*/

static uint64_t rate_of(const struct upload_session *s)
{
	unsigned int n = s->samples < RATE_SAMPLES ? s->samples : RATE_SAMPLES;
	const struct rate_sample *first, *last;
	time_t now = upload_now();

	if (n < 2)
		return 0;
	last = &s->sample[(s->samples - 1) % RATE_SAMPLES];
	first = &s->sample[(s->samples - n) % RATE_SAMPLES];
	if (now - last->at > 5 || last->at <= first->at || last->received < first->received)
		return 0;
	return (last->received - first->received) / (uint64_t)(last->at - first->at);
}

static void describe(struct upload_session *s, struct upload_progress *p)
{
	static const char *const names[] = {"loading", "receiving", "finishing", "done", "ended"};
	uint64_t left;

	memset(p, 0, sizeof(*p));
	snprintf(p->file, sizeof(p->file), "%s", s->header.file[0] ? s->header.file : s->image);
	snprintf(p->who, sizeof(p->who), "%s", s->header.who);
	p->state = names[s->state];
	if (s->state == SESSION_OPEN && (!s->last_seen || upload_now() - s->last_seen > UPLOAD_SILENCE))
		p->state = "waiting";
	p->size = s->header.size;
	p->used = s->header.used;
	p->parts = s->parts;
	p->parts_have = s->parts_have;
	p->received = s->received;
	p->started = s->header.started;
	p->rate = s->state == SESSION_OPEN ? rate_of(s) : 0;
	left = s->header.used > s->received ? s->header.used - s->received : 0;
	p->left_s = p->rate ? left / p->rate : UINT64_MAX;
}

/* Files are closed and removed under the locks, in a folder that may hang; who asks here is the loop. */
void upload_each(struct upload_store *store, void (*fn)(void *arg, const struct upload_progress *p), void *arg)
{
	const struct timespec until = clock_deadline(EACH_NS);
	struct upload_progress all[UPLOAD_SESSIONS * 2];
	unsigned int n = 0;

	if (pthread_mutex_clocklock(&store->lock, CLOCK_MONOTONIC, &until))
		return;
	for (struct upload_session *s = store->sessions; s && n < UPLOAD_SESSIONS * 2; s = s->next) {
		if (pthread_mutex_clocklock(&s->lock, CLOCK_MONOTONIC, &until))
			continue;
		if (s->state != SESSION_LOADING)
			describe(s, &all[n++]);
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_unlock(&store->lock);
	for (unsigned int i = 0; i < n; i++)
		fn(arg, &all[i]);
}

static int see_done(void *arg, const struct upload_record *record)
{
	if (record->type == UPLOAD_RECORD_DONE)
		*(bool *)arg = true;
	return 0;
}

/* At start: what was cut off between DONE and the catalogue is carried on; old remains of finished ones go. */
static void recover_one(struct upload_store *store, const char *image)
{
	struct upload_session *s = session_new(store, image);
	struct upload_header header;
	char name[2 * UPLOAD_NAME_MAX];
	enum session_state state;
	bool done = false;

	if (!s)
		return;
	snprintf(name, sizeof(name), "%s/journal", image);
	if (journal_open(store->dir, name, &header, see_done, &done, NULL) == 0 && done &&
	    session_load(s, &state, NULL) == 0 && state == SESSION_DONE) {
		if (s->data >= 0)
			session_adopt(s, NULL);
		if (time(NULL) - header.started > KEEP_DONE)
			session_files_remove(store, image);
	}
	session_free(s);
}

static void recover(struct upload_store *store)
{
	DIR *d = fdopendir(dup(store->dir));
	struct dirent *e;

	if (!d)
		return;
	rewinddir(d);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.' && strlen(e->d_name) < UPLOAD_NAME_MAX)
			recover_one(store, e->d_name);
	closedir(d);
}

int upload_store_new(struct upload_store **ret, const char *path, const struct upload_ops *ops,
		     struct upload_refusal *error)
{
	struct upload_store *store = calloc(1, sizeof(*store));

	if (!store)
		return upload_fail(error, -ENOMEM, "out of memory");
	snprintf(store->path, sizeof(store->path), "%s", path);
	store->ops = *ops;
	pthread_mutex_init(&store->lock, NULL);
	store->dir = -1;
	store->images = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->images >= 0)
		store->dir = openat(store->images, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (store->dir < 0 && store->images >= 0 && mkdirat(store->images, FOLDER, 0700) == 0)
		store->dir = openat(store->images, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (store->dir < 0) {
		int r = upload_fail(error, -errno, "images cannot be received into %s: %s", path, strerror(errno));

		upload_store_free(store);
		return r;
	}
	recover(store);
	*ret = store;
	return 0;
}

void upload_store_free(struct upload_store *store)
{
	if (!store)
		return;
	while (store->sessions)
		end_locked(store->sessions);
	if (store->dir >= 0)
		close(store->dir);
	if (store->images >= 0)
		close(store->images);
	pthread_mutex_destroy(&store->lock);
	free(store);
}
