/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who asks for images while their files are looked at: files that hang, come later, are named again by a reload. What
 * opens a file is a stand-in here, which hangs as long as the test wants.
 */
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "daemon/catalogue/catalogue.h"
#include "daemon/core/clock.h"
#include "daemon/core/loop.h"
#include "tests/unit/unit.h"

#define SECTIONS 40

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool hang, missing;                   /* files whose names begin so: hang..., missing... */
static unsigned int inside, most, looks, ms; /* looks now, at most, in all; how long one takes */

/* In place of catalogue/inspect.c. */
int catalogue_inspect(const char *path, struct state_image *row, struct sentence *error)
{
	bool gone;

	(void)path;
	pthread_mutex_lock(&lock);
	looks++;
	inside++;
	if (inside > most)
		most = inside;
	pthread_cond_broadcast(&changed);
	while (hang && !strncmp(row->file, "hang", 4))
		pthread_cond_wait(&changed, &lock);
	gone = missing && !strncmp(row->file, "missing", 7);
	inside--;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	if (ms)
		usleep(ms * 1000);
	if (gone)
		return sentence_fail(error, -ENOENT, "image %s cannot be used: it is not there", row->name);
	snprintf(row->format, sizeof(row->format), "raw");
	row->fingerprint = 7;
	row->virtual_size = row->file_size = 1 << 20;
	return 0;
}

struct rig {
	struct loop *loop;
	struct state *state;
	struct catalogue *catalogue;
	struct config config;
	struct config_image section[SECTIONS];
	/* what was answered */
	unsigned int answers, waited_for;
	int64_t id;
	bool fine;
	char why[SENTENCE_MAX];
	int result;
};

static void set(bool *what, bool to)
{
	pthread_mutex_lock(&lock);
	*what = to;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static unsigned int count(const unsigned int *what)
{
	unsigned int n;

	pthread_mutex_lock(&lock);
	n = *what;
	pthread_mutex_unlock(&lock);
	return n;
}

static void wait_inside(unsigned int n)
{
	pthread_mutex_lock(&lock);
	while (inside != n)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static void add_section(struct rig *rig, const char *name, const char *file)
{
	struct config_image *s = &rig->section[rig->config.images++];

	snprintf(s->name, sizeof(s->name), "%s", name);
	snprintf(s->file, sizeof(s->file), "%s", file);
}

static void begin(struct rig *rig)
{
	struct sentence error = {""};

	memset(rig, 0, sizeof(*rig));
	hang = missing = true;
	inside = most = looks = ms = 0;
	rig->config.image = rig->section;
	strcpy(rig->config.file, "a.conf");
	CU_ASSERT_EQUAL_FATAL(state_new(&rig->state, ":memory:", &error), 0);
	CU_ASSERT_EQUAL_FATAL(loop_new(&rig->loop), 0);
	CU_ASSERT_EQUAL_FATAL(catalogue_new(&rig->catalogue, rig->state, rig->loop), 0);
}

/* Also while something hangs; then it is let go. */
static void end(struct rig *rig)
{
	catalogue_free(rig->catalogue);
	loop_free(rig->loop);
	state_free(rig->state);
	set(&hang, false);
	wait_inside(0);
}

static void one_answer(struct rig *rig)
{
	if (++rig->answers == rig->waited_for)
		loop_stop(rig->loop, 0);
}

static void answered(void *arg, int64_t id, const char *why)
{
	struct rig *rig = arg;

	rig->id = id;
	rig->fine = !why;
	snprintf(rig->why, sizeof(rig->why), "%s", why ? why : "");
	one_answer(rig);
}

static void seen(void *arg, const struct state_image *row, int result, const char *error)
{
	struct rig *rig = arg;

	(void)row;
	rig->result = result;
	snprintf(rig->why, sizeof(rig->why), "%s", error);
	one_answer(rig);
}

/* Runs the loop until so many more were answered. */
static void await(struct rig *rig, unsigned int answers)
{
	rig->waited_for = answers;
	if (rig->answers < answers)
		loop_run(rig->loop);
	CU_ASSERT_EQUAL(rig->answers, answers);
	rig->answers = rig->waited_for = 0;
}

static void stop(void *arg)
{
	loop_stop(((struct rig *)arg)->loop, 0);
}

/* One round of the loop, with what has ended. */
static void turn(struct rig *rig)
{
	CU_ASSERT_EQUAL_FATAL(loop_wake(rig->loop, stop, rig), 0);
	loop_run(rig->loop);
}

static bool asked(struct rig *rig, const char *name)
{
	catalogue_ask(rig->catalogue, name, answered, rig, 5);
	await(rig, 1);
	CU_ASSERT_EQUAL(rig->id, 5);
	return rig->fine;
}

/* Asks until it can be had. */
static void get(struct rig *rig, const char *name)
{
	while (!asked(rig, name))
		turn(rig);
}

static uint32_t generation(struct rig *rig, const char *name)
{
	struct state_image row;

	return state_image_current(rig->state, name, &row) > 0 ? row.generation : 0;
}

static void test_ask_known(void)
{
	struct rig rig;

	begin(&rig);
	add_section(&rig, "one", "one.raw");
	add_section(&rig, "two", "two.raw");
	catalogue_sync(rig.catalogue, &rig.config);
	CU_ASSERT_TRUE(asked(&rig, "one"));
	CU_ASSERT_EQUAL(generation(&rig, "one"), 1);
	catalogue_when_settled(rig.catalogue, answered, &rig);
	await(&rig, 1);
	CU_ASSERT_EQUAL(generation(&rig, "two"), 1);
	CU_ASSERT_PTR_NULL(catalogue_problem(rig.catalogue, 0));
	CU_ASSERT_EQUAL(count(&looks), 2);
	/* What is known is not looked at. */
	CU_ASSERT_TRUE(asked(&rig, "two"));
	CU_ASSERT_EQUAL(count(&looks), 2);
	CU_ASSERT_FALSE(asked(&rig, "three"));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.why, "image three is not in the catalogue"));
	end(&rig);
}

/* It hangs: the others do not; who asks for it is told; ten reloads later it is still one look, and one more when it
 * answers, for its file may be another by now. */
static void test_ask_hangs(void)
{
	struct rig rig;

	begin(&rig);
	add_section(&rig, "hung", "hang.raw");
	add_section(&rig, "one", "one.raw");
	catalogue_sync(rig.catalogue, &rig.config);
	CU_ASSERT_TRUE(asked(&rig, "one"));
	CU_ASSERT_FALSE(asked(&rig, "hung"));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.why, "image hung: its file hang.raw has not answered for"));
	CU_ASSERT_PTR_NOT_NULL_FATAL(catalogue_problem(rig.catalogue, 0));
	CU_ASSERT_PTR_NOT_NULL(strstr(catalogue_problem(rig.catalogue, 0), "hang.raw has not answered for"));
	CU_ASSERT_PTR_NULL(catalogue_problem(rig.catalogue, 1));
	CU_ASSERT_FALSE(asked(&rig, "hung")); /* at once: it is late */
	for (unsigned int i = 0; i < 10; i++) {
		catalogue_sync(rig.catalogue, &rig.config);
		CU_ASSERT_TRUE(asked(&rig, "one"));
	}
	CU_ASSERT_EQUAL(count(&inside), 1);
	CU_ASSERT_EQUAL(count(&looks), 1 + 11);
	set(&hang, false);
	get(&rig, "hung");
	CU_ASSERT_EQUAL(count(&looks), 2 + 11);
	CU_ASSERT_PTR_NULL(catalogue_problem(rig.catalogue, 0));
	CU_ASSERT_EQUAL(generation(&rig, "hung"), 1);
	end(&rig);
}

/* A section that the next configuration has not: its look is nobody's, and what it sees is not taken. */
static void test_ask_section_goes(void)
{
	struct rig rig;

	begin(&rig);
	add_section(&rig, "one", "one.raw");
	add_section(&rig, "hung", "hang.raw");
	catalogue_sync(rig.catalogue, &rig.config);
	CU_ASSERT_TRUE(asked(&rig, "one"));
	wait_inside(1);
	rig.config.images = 1;
	catalogue_sync(rig.catalogue, &rig.config);
	CU_ASSERT_TRUE(asked(&rig, "one"));
	set(&hang, false);
	wait_inside(0);
	catalogue_sync(rig.catalogue, &rig.config);
	CU_ASSERT_TRUE(asked(&rig, "one"));
	CU_ASSERT_EQUAL(generation(&rig, "hung"), 0);
	end(&rig);
}

/* However many hang, they hold so many threads; then nothing else is looked at, and who asks is told. */
static void test_ask_all_hang(void)
{
	struct rig rig;
	char name[16], file[24];

	begin(&rig);
	for (unsigned int i = 0; i < SECTIONS - 1; i++) {
		snprintf(name, sizeof(name), "h%u", i);
		snprintf(file, sizeof(file), "hang%u.raw", i);
		add_section(&rig, name, file);
	}
	add_section(&rig, "one", "one.raw");
	catalogue_sync(rig.catalogue, &rig.config);
	CU_ASSERT_FALSE(asked(&rig, "one"));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.why, "has not answered for"));
	CU_ASSERT_EQUAL(count(&most), CATALOGUE_LOOKS);
	CU_ASSERT_PTR_NOT_NULL(catalogue_problem(rig.catalogue, 0));
	CU_ASSERT_PTR_NOT_NULL(catalogue_problem(rig.catalogue, SECTIONS - 1));
	set(&hang, false);
	get(&rig, "one");
	get(&rig, "h3");
	CU_ASSERT_EQUAL(count(&most), CATALOGUE_LOOKS);
	end(&rig);
}

/* What was not there is looked at again when somebody asks for it; what takes long, not each time. */
static void test_ask_comes_later(void)
{
	struct rig rig;
	unsigned int before;

	begin(&rig);
	add_section(&rig, "one", "one.raw");
	add_section(&rig, "late", "missing.raw");
	catalogue_sync(rig.catalogue, &rig.config);
	CU_ASSERT_FALSE(asked(&rig, "late"));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.why, "image late is not in the catalogue"));
	CU_ASSERT_PTR_NOT_NULL_FATAL(catalogue_problem(rig.catalogue, 0));
	CU_ASSERT_STRING_EQUAL(catalogue_problem(rig.catalogue, 0),
			       "a.conf:0: image late cannot be used: it is not there");
	ms = 200;
	catalogue_sync(rig.catalogue, &rig.config);
	CU_ASSERT_FALSE(asked(&rig, "late"));
	before = count(&looks);
	for (unsigned int i = 0; i < 20; i++)
		CU_ASSERT_FALSE(asked(&rig, "late"));
	CU_ASSERT(count(&looks) <= before + 1);
	set(&missing, false);
	get(&rig, "late");
	CU_ASSERT_EQUAL(generation(&rig, "late"), 1);
	CU_ASSERT_PTR_NULL(catalogue_problem(rig.catalogue, 0));
	end(&rig);
}

/* Files that somebody adds hold a few of the threads only. */
static void test_look_hangs(void)
{
	struct state_image row;
	struct rig rig;

	begin(&rig);
	catalogue_prepare(rig.catalogue, "more", "more.raw", "", 0, &row);
	catalogue_look(rig.catalogue, &rig.config, &row, seen, &rig);
	await(&rig, 1);
	CU_ASSERT_EQUAL(rig.result, 0);
	catalogue_prepare(rig.catalogue, "more", "hang.raw", "", 0, &row);
	for (unsigned int i = 0; i < 4; i++)
		catalogue_look(rig.catalogue, &rig.config, &row, seen, &rig);
	CU_ASSERT_EQUAL(rig.answers, 0);
	catalogue_look(rig.catalogue, &rig.config, &row, seen, &rig);
	await(&rig, 1);
	CU_ASSERT_EQUAL(rig.result, -EAGAIN);
	wait_inside(4);
	set(&hang, false);
	await(&rig, 4);
	CU_ASSERT_EQUAL(rig.result, 0);
	end(&rig);
}

/* The end comes while something hangs: who waits is told, or has been forgotten; the thread comes back to nothing. */
static void test_ask_end(void)
{
	struct state_image row;
	struct rig rig;

	begin(&rig);
	add_section(&rig, "hung", "hang.raw");
	catalogue_sync(rig.catalogue, &rig.config);
	catalogue_ask(rig.catalogue, "hung", answered, &rig, 1);
	catalogue_forget(rig.catalogue, &rig);
	catalogue_ask(rig.catalogue, "hung", answered, &rig, 2);
	catalogue_prepare(rig.catalogue, "more", "hang2.raw", "", 0, &row);
	catalogue_look(rig.catalogue, &rig.config, &row, seen, &rig);
	wait_inside(2);
	end(&rig);
	CU_ASSERT_EQUAL(rig.answers, 2);
	CU_ASSERT_EQUAL(rig.id, 2);
	CU_ASSERT_EQUAL(rig.result, -ECANCELED);
	CU_ASSERT_STRING_EQUAL(rig.why, "the server is being stopped");
}

UNIT_MAIN(UNIT(test_ask_known), UNIT(test_ask_hangs), UNIT(test_ask_section_goes), UNIT(test_ask_all_hang),
	  UNIT(test_ask_comes_later), UNIT(test_look_hangs), UNIT(test_ask_end))
