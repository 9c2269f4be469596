// SPDX-License-Identifier: GPL-2.0-or-later
/* The journal of an upload of any bytes, as a crash or a broken disk may leave it: it is refused, or what it tells
 * holds its limits; what is appended then is found again behind the same records. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/upload/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int dir = -1;

static void must(bool what)
{
	if (!what)
		abort();
}

static char path[64];

static void remove_folder(void)
{
	unlinkat(dir, "j", 0);
	rmdir(path);
}

static void open_folder(void)
{
	char folder[] = "/dev/shm/bootwell-fuzz.XXXXXX";

	must(mkdtemp(folder));
	dir = open(folder, O_DIRECTORY | O_CLOEXEC);
	must(dir >= 0);
	snprintf(path, sizeof(path), "%s", folder);
	atexit(remove_folder);
}

struct count {
	unsigned int records;
	struct upload_record last;
};

static int count(void *arg, const struct upload_record *record)
{
	struct count *c = arg;

	must(record->type >= UPLOAD_RECORD_PART && record->type <= UPLOAD_RECORD_DONE);
	c->records++;
	c->last = *record;
	return 0;
}

static void look(const struct upload_header *h)
{
	must(memchr(h->file, '\0', sizeof(h->file)) && memchr(h->who, '\0', sizeof(h->who)));
	must(memchr(h->session, '\0', sizeof(h->session)) && memchr(h->id, '\0', sizeof(h->id)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct upload_record more = {.type = UPLOAD_RECORD_ZERO, .part = 3, .count = 7};
	struct count first = {}, again = {};
	struct upload_header header;
	int fd;

	if (dir < 0)
		open_folder();
	fd = openat(dir, "j", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
	if (journal_open(dir, "j", &header, count, &first, &fd))
		return 0;
	look(&header);
	must(!journal_append(fd, &more));
	close(fd);
	must(!journal_open(dir, "j", &header, count, &again, NULL));
	must(again.records == first.records + 1 && again.last.type == more.type && again.last.count == more.count);
	return 0;
}
