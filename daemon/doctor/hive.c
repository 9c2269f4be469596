// SPDX-License-Identifier: GPL-2.0-or-later
/* A hive goes through a memory file, because hivex wants a name; what it wrote is read back from there. */
#include "daemon/doctor/hive.h"
#include "daemon/core/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tcmu-handler/image/bytes.h"

#define NAME_IN  "hive:in"
#define NAME_OUT "hive:out"

struct doctor_hive {
	hive_h *h;
};

/* Of the process: hivex's names have no other place to point to. */
static int fd_in = -1, fd_out = -1;

int doctor_hive_prepare(void)
{
	/* The library of each conversion is loaded at the first use, and stays while one is open. */
	static const char *const conversions[][2] = {
		{"UTF-8", "UTF-16LE"}, {"UTF-16LE", "UTF-8"}, {"UTF-8", "LATIN1"}, {"LATIN1", "UTF-8"}};

	for (unsigned int i = 0; i < sizeof(conversions) / sizeof(conversions[0]); i++)
		if (iconv_open(conversions[i][0], conversions[i][1]) == (iconv_t)-1)
			return -errno;
	fd_in = memfd_create("hive", MFD_CLOEXEC);
	fd_out = memfd_create("hive", MFD_CLOEXEC);
	return fd_in < 0 || fd_out < 0 ? -errno : 0;
}

int doctor_hive_fd(const char *name)
{
	int fd = !strcmp(name, NAME_IN) ? fd_in : !strcmp(name, NAME_OUT) ? fd_out : -1;

	if (fd < 0)
		return -1;
	lseek(fd, 0, SEEK_SET);
	return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static int write_all(int fd, const uint8_t *data, size_t length)
{
	size_t done = 0;

	if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	while (done < length) {
		ssize_t n = write(fd, data + done, length - done);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

int doctor_hive_open(struct doctor_hive **ret, const uint8_t *data, size_t length, bool write)
{
	struct doctor_hive *hive = calloc(1, sizeof(*hive));
	int r = hive ? write_all(fd_in, data, length) : -ENOMEM;

	if (!r) {
		hive->h = hivex_open(NAME_IN, write ? HIVEX_OPEN_WRITE : 0);
		r = hive->h ? 0 : -EUCLEAN;
	}
	if (r) {
		free(hive);
		return r;
	}
	*ret = hive;
	return 0;
}

void doctor_hive_close(struct doctor_hive *hive)
{
	if (!hive)
		return;
	hivex_close(hive->h);
	free(hive);
}

int doctor_hive_commit(struct doctor_hive *hive, uint8_t **ret, size_t *ret_length)
{
	struct stat st;
	uint8_t *data;

	if (ftruncate(fd_out, 0) < 0)
		return -errno;
	if (hivex_commit(hive->h, NAME_OUT, 0) < 0 || fstat(fd_out, &st) < 0)
		return errno ? -errno : -EIO;
	if (st.st_size <= 0 || st.st_size > DOCTOR_HIVE_MAX)
		return -EFBIG;
	data = malloc((size_t)st.st_size);
	if (!data)
		return -ENOMEM;
	if (fileio_read(fd_out, data, (size_t)st.st_size, 0)) {
		free(data);
		return -EIO;
	}
	*ret = data;
	*ret_length = (size_t)st.st_size;
	return 0;
}

/* Two sequence numbers at 4 and 8: the first is written before a change, the second behind it. */
bool doctor_hive_is_whole(const uint8_t *data, size_t length)
{
	return length >= 4096 && le32_at(data + 4) == le32_at(data + 8);
}

hive_h *doctor_hive_h(struct doctor_hive *hive)
{
	return hive->h;
}

hive_node_h doctor_hive_root(struct doctor_hive *hive)
{
	return hivex_root(hive->h);
}

hive_node_h doctor_hive_key(struct doctor_hive *hive, hive_node_h from, const char *path)
{
	char part[256];

	while (from && *path) {
		size_t n = strcspn(path, "\\");

		if (n >= sizeof(part))
			return 0;
		memcpy(part, path, n);
		part[n] = '\0';
		from = hivex_node_get_child(hive->h, from, part);
		path += n + (path[n] == '\\');
	}
	return from;
}

/* A value of one of two types; 0: none. */
static hive_value_h value_of(struct doctor_hive *hive, hive_node_h key, const char *name, hive_type type,
			     hive_type other)
{
	hive_value_h v = key ? hivex_node_get_value(hive->h, key, name) : 0;
	hive_type found;
	size_t length;

	if (!v || hivex_value_type(hive->h, v, &found, &length) < 0 || (found != type && found != other))
		return 0;
	return v;
}

bool doctor_hive_number(struct doctor_hive *hive, hive_node_h key, const char *name, int32_t *ret)
{
	hive_value_h v = value_of(hive, key, name, hive_t_REG_DWORD, hive_t_REG_DWORD);
	hive_type type;
	size_t length;

	if (!v || hivex_value_type(hive->h, v, &type, &length) < 0 || length != 4)
		return false;
	*ret = hivex_value_dword(hive->h, v);
	return true;
}

char *doctor_hive_text(struct doctor_hive *hive, hive_node_h key, const char *name)
{
	hive_value_h v = value_of(hive, key, name, hive_t_REG_SZ, hive_t_REG_EXPAND_SZ);

	return v ? hivex_value_string(hive->h, v) : NULL;
}

char **doctor_hive_texts(struct doctor_hive *hive, hive_node_h key, const char *name)
{
	hive_value_h v = value_of(hive, key, name, hive_t_REG_MULTI_SZ, hive_t_REG_MULTI_SZ);

	return v ? hivex_value_multiple_strings(hive->h, v) : NULL;
}

void doctor_hive_texts_free(char **texts)
{
	for (size_t i = 0; texts && texts[i]; i++)
		free(texts[i]);
	free(texts);
}

static int set(struct doctor_hive *hive, hive_node_h key, const char *name, hive_type type, const void *data,
	       size_t length)
{
	char *own_name = strdup(name), *own = malloc(length);
	hive_set_value value = {.key = own_name, .t = type, .len = length, .value = own};
	int r = -ENOMEM;

	if (own_name && own) {
		memcpy(own, data, length);
		r = !key ? -ENOENT : hivex_node_set_value(hive->h, key, &value, 0) ? (errno ? -errno : -EIO) : 0;
	}
	free(own_name);
	free(own);
	return r;
}

int doctor_hive_set_number(struct doctor_hive *hive, hive_node_h key, const char *name, uint32_t number)
{
	uint8_t data[4];

	le32_put(data, number);
	return set(hive, key, name, hive_t_REG_DWORD, data, sizeof(data));
}

/* UTF-16LE with `ends` NULs behind it. */
static int set_wide(struct doctor_hive *hive, hive_node_h key, const char *name, hive_type type, const char *text,
		    size_t ends)
{
	size_t n = strlen(text);
	uint8_t *wide = calloc(n + ends, 2);
	int r;

	if (!wide)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		wide[2 * i] = (uint8_t)text[i];
	r = set(hive, key, name, type, wide, 2 * (n + ends));
	free(wide);
	return r;
}

int doctor_hive_set_text(struct doctor_hive *hive, hive_node_h key, const char *name, const char *text)
{
	return set_wide(hive, key, name, hive_t_REG_SZ, text, 1);
}

int doctor_hive_set_texts(struct doctor_hive *hive, hive_node_h key, const char *name, const char *text)
{
	return set_wide(hive, key, name, hive_t_REG_MULTI_SZ, text, 2);
}
