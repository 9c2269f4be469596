// SPDX-License-Identifier: GPL-2.0-or-later
/* A configuration file of any bytes: it is read or refused, each refusal has a sentence and a line of the file, and
 * what is read has texts that end and what the checks promise. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	unsigned int mistakes, lines;
};

static void must(bool what)
{
	if (!what)
		abort();
}

static void report(void *arg, const char *file, unsigned int line, const char *message)
{
	struct seen *seen = arg;

	seen->mistakes++;
	must(file && *message && line <= seen->lines + 1);
}

static void look(const struct config *c)
{
	must(c->groups >= 1 && c->http_port && c->upload_port && c->http_port != c->upload_port);
	must(memchr(c->token, '\0', sizeof(c->token)) && (!*c->token || strlen(c->token) >= CONFIG_TOKEN_MIN));
	for (size_t i = 0; i < c->operators; i++)
		must(c->operator[i].token[0] == '$' && c->operator[i].role != ACCESS_ROLE_NONE);
	for (size_t i = 0; i < c->images; i++)
		must(c->image[i].file[0] && c->image[i].file[0] != '/');
	for (size_t i = 0; i < c->groups; i++)
		must(c->group[i].profile.images <= CONFIG_IMAGES && c->group[i].profile.disks <= CONFIG_DISKS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen seen = {};
	struct config *config;
	char path[64];
	int fd = memfd_create("config", MFD_CLOEXEC), r;

	must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	for (size_t i = 0; i < size; i++)
		seen.lines += data[i] == '\n';
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = config_read(&config, path, report, &seen);
	close(fd);
	must(!r == !seen.mistakes);
	if (r)
		return 0;
	look(config);
	config_free(config);
	return 0;
}
