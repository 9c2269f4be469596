// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * VHDX and qcow2 come in through qemu-img, in a sandbox. What would make qemu-img look at other
 * files, or guess, is refused here first, with a sentence: backing files, data files, encryption,
 * logs that were not played back. (In the sandbox there are no other files, so a mistake here gives
 * a failed conversion and nothing worse.)
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/core/fileio.h"
#include "daemon/image/convert.h"
#include "daemon/image/output.h"
#include "daemon/image/sandbox.h"
#include "tcmu-handler/image/bytes.h"

#define QEMU_IMG     "/usr/bin/qemu-img"
#define ASK_EVERY_MS 500
#define VHDX_HEADS   65536 /* bytes: the first of two headers; the second follows 64 KiB later */

static bool read_at(int fd, uint64_t at, void *to, size_t length)
{
	return fileio_read(fd, to, length, at) == 0;
}

const char *convert_foreign_format(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	const char *format = NULL;
	uint8_t magic[8];

	if (fd >= 0 && read_at(fd, 0, magic, sizeof(magic))) {
		if (memcmp(magic, "vhdxfile", 8) == 0)
			format = "vhdx";
		else if (memcmp(magic, "QFI\xfb", 4) == 0)
			format = "qcow2";
	}
	if (fd >= 0)
		close(fd);
	return format;
}

/* docs/interop/qcow2.txt in QEMU */
static int check_qcow2(int fd, const char *name, struct sentence *err)
{
	uint8_t h[104] = {0};
	uint32_t version;
	uint64_t features;

	if (!read_at(fd, 0, h, 72) || memcmp(h, "QFI\xfb", 4) != 0)
		return sentence_fail(err, -EBADMSG, "%s: is not a qcow2", name);
	version = be32_at(h + 4);
	if (version != 2 && version != 3)
		return sentence_fail(err, -ENOTSUP, "%s: is a qcow of version %u; 2 and 3 are known", name, version);
	if (be64_at(h + 8))
		return sentence_fail(err, -EPERM,
				     "%s: has a backing file, and those are not followed; merge both "
				     "first: qemu-img convert -O qcow2",
				     name);
	if (be32_at(h + 32))
		return sentence_fail(err, -ENOTSUP, "%s: is encrypted; decrypt it first with qemu-img", name);
	features = version == 3 && read_at(fd, 0, h, sizeof(h)) ? be64_at(h + 72) : 0;
	if (features & 4)
		return sentence_fail(err, -EPERM,
				     "%s: keeps its data in another file, and that is not followed; "
				     "make it one file first: "
				     "qemu-img convert -O qcow2",
				     name);
	if (features & 3)
		return sentence_fail(err, -EUCLEAN,
				     "%s: was not closed cleanly; mend it first with: qemu-img check -r all", name);
	return 0;
}

/* GUIDs as they lie in the file, [MS-VHDX] 2.2.3.2 and 2.6.2. */
static const uint8_t region_metadata[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
					    0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t item_parameters[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
					    0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
static const uint8_t item_sector_size[16] = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
					     0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f};

#define VHDX_REGIONS     ((uint64_t)192 << 10) /* bytes: the first of two tables; the second follows 64 KiB later */
#define VHDX_REGIONS_MAX 2047
#define VHDX_ITEMS_MAX   2047
#define VHDX_HAS_PARENT  2u /* flag of the file parameters */

/* The metadata region: two copies of the table say where; either will do. */
static bool vhdx_metadata(int fd, uint64_t *ret)
{
	for (unsigned int copy = 0; copy < 2; copy++) {
		uint64_t at = VHDX_REGIONS + copy * ((uint64_t)64 << 10);
		uint8_t head[16], entry[32];
		uint32_t n;

		if (!read_at(fd, at, head, sizeof(head)) || memcmp(head, "regi", 4) != 0)
			continue;
		n = le32_at(head + 8);
		for (uint32_t i = 0; i < n && i < VHDX_REGIONS_MAX; i++) {
			if (!read_at(fd, at + 16 + 32 * (uint64_t)i, entry, sizeof(entry)))
				break;
			if (memcmp(entry, region_metadata, 16) == 0) {
				*ret = le64_at(entry + 16);
				return true;
			}
		}
	}
	return false;
}

/* A number of the metadata; `otherwise` if it is not there, or cannot be read: qemu-img will say so. */
static uint32_t vhdx_item(int fd, uint64_t metadata, const uint8_t guid[16], uint32_t offset, uint32_t otherwise)
{
	uint8_t head[32], entry[32], value[4];

	if (!read_at(fd, metadata, head, sizeof(head)) || memcmp(head, "metadata", 8) != 0)
		return otherwise;
	for (uint32_t i = 0; i < le16_at(head + 10) && i < VHDX_ITEMS_MAX; i++) {
		if (!read_at(fd, metadata + 32 + 32 * (uint64_t)i, entry, sizeof(entry)))
			break;
		if (memcmp(entry, guid, 16) == 0 && metadata <= INT64_MAX - UINT32_MAX)
			return read_at(fd, metadata + le32_at(entry + 16) + offset, value, 4) ? le32_at(value)
											      : otherwise;
	}
	return otherwise;
}

/* What Hyper-V makes and qemu-img does not read: said here, with what to do there. */
static int check_vhdx_kind(int fd, const char *name, struct sentence *err)
{
	uint64_t metadata;
	uint32_t sector;

	if (!vhdx_metadata(fd, &metadata) || metadata > INT64_MAX / 2)
		return 0;
	if (vhdx_item(fd, metadata, item_parameters, 4, 0) & VHDX_HAS_PARENT)
		return sentence_fail(
			err, -ENOTSUP,
			"%s: is a differencing VHDX (a checkpoint), and its parent is another file; make one disk of "
			"them in Hyper-V: delete the checkpoint, or \"Edit Disk\" and \"Merge\", or "
			"Convert-VHD -VHDType Dynamic; then take the new file",
			name);
	sector = vhdx_item(fd, metadata, item_sector_size, 0, 512);
	if (sector != 512)
		return sentence_fail(
			err, -ENOTSUP,
			"%s: is a disk with sectors of %u bytes, and PCs get sectors of 512; in Hyper-V make a new "
			"disk "
			"with New-VHD -LogicalSectorSizeBytes 512, copy the system into it (capture and apply it "
			"with DISM, then bcdboot), and take that",
			name, sector);
	return 0;
}

/* [MS-VHDX] 2.2.2: the valid header with the higher number counts; a log GUID there means a log to
 * be played back. */
static int check_vhdx(int fd, const char *name, struct sentence *err)
{
	static const uint8_t none[16];
	uint64_t best = 0;
	bool found = false, dirty = false;

	for (unsigned int i = 1; i <= 2; i++) {
		uint8_t h[80];

		if (!read_at(fd, (uint64_t)i * VHDX_HEADS, h, sizeof(h)) || memcmp(h, "head", 4) != 0)
			continue;
		if (found && le64_at(h + 8) <= best)
			continue;
		found = true;
		best = le64_at(h + 8);
		dirty = memcmp(h + 48, none, 16) != 0;
	}
	if (!found)
		return sentence_fail(err, -EBADMSG, "%s: has no VHDX header; is it truncated?", name);
	if (dirty)
		return sentence_fail(err, -EUCLEAN,
				     "%s: was not closed cleanly, its log must be played back: attach "
				     "it once in Windows, "
				     "or use qemu-img check -r all",
				     name);
	return check_vhdx_kind(fd, name, err);
}

int convert_foreign_check(int fd, const char *foreign, const char *name, struct sentence *err)
{
	return strcmp(foreign, "vhdx") == 0 ? check_vhdx(fd, name, err) : check_qcow2(fd, name, err);
}

/* --- running qemu-img --- */

struct run {
	pid_t pid;
	int text, errors; /* our ends of its stdout and stderr */
	char line[128];
	size_t line_n;
	char said[256];
	size_t said_n;
	uint64_t done; /* of 10000 */
	bool stopped;
};

/* "    (12.34/100%)\r" */
static void take_progress(struct run *run, const char *p, size_t n, convert_progress_fn progress, void *arg)
{
	for (size_t i = 0; i < n; i++) {
		double percent;

		if (p[i] != '\r' && p[i] != '\n') {
			if (run->line_n < sizeof(run->line) - 1)
				run->line[run->line_n++] = p[i];
			continue;
		}
		run->line[run->line_n] = '\0';
		run->line_n = 0;
		if (sscanf(run->line, " (%lf/100%%)", &percent) == 1 && percent >= 0 && percent <= 100)
			run->done = (uint64_t)(percent * 100);
		if (progress && progress(arg, run->done, 10000) != 0)
			run->stopped = true;
	}
}

static void take_said(struct run *run, const char *p, size_t n)
{
	if (n > sizeof(run->said) - 1 - run->said_n)
		n = sizeof(run->said) - 1 - run->said_n;
	memcpy(run->said + run->said_n, p, n);
	run->said_n += n;
	run->said[run->said_n] = '\0';
}

/* Until both pipes are closed. The caller is asked now and then, however long a percent takes. */
static void follow(struct run *run, convert_progress_fn progress, void *arg)
{
	struct pollfd p[2] = {{.fd = run->text, .events = POLLIN}, {.fd = run->errors, .events = POLLIN}};
	char buffer[4096];

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		int n_ready = poll(p, 2, ASK_EVERY_MS);

		if (n_ready < 0 && errno != EINTR)
			break;
		if (n_ready <= 0 && progress && progress(arg, run->done, 10000) != 0)
			run->stopped = true;
		for (int i = 0; i < 2; i++) {
			ssize_t n;

			if (n_ready <= 0 || p[i].fd < 0 || !p[i].revents)
				continue;
			n = read(p[i].fd, buffer, sizeof(buffer));
			if (n == 0 || (n < 0 && errno != EINTR))
				p[i].fd = -1;
			else if (n > 0 && i == 0)
				take_progress(run, buffer, (size_t)n, progress, arg);
			else if (n > 0)
				take_said(run, buffer, (size_t)n);
		}
		if (run->stopped)
			kill(run->pid, SIGKILL);
	}
}

static int judge(const struct run *run, int status, const char *name, struct sentence *err)
{
	const char *said = run->said;
	size_t n;

	for (const char *line = said; (line = strstr(line, "qemu-img: ")); line++)
		said = line + 10; /* the last is what it died of */
	n = strcspn(said, "\n");
	if (run->stopped)
		return sentence_fail(err, -ECANCELED, "%s: the conversion was stopped", name);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == SANDBOX_FAILED)
		return sentence_fail(err, -EPERM,
				     "%s: qemu-img is not run without a sandbox (%.*s); run this as "
				     "root, or convert the file to raw yourself",
				     name, (int)n, said);
	return sentence_fail(err, -EBADMSG, "%s: qemu-img refuses it: %.*s", name, n ? (int)n : 15,
			     n ? said : "no reason given");
}

static int run_qemu(int in, int out, const char *format, const char *name, convert_progress_fn progress, void *arg,
		    struct sentence *err)
{
	char *argv[] = {(char *)QEMU_IMG, (char *)"convert", (char *)"-p",  (char *)"-f",   (char *)format,
			(char *)"-O",     (char *)"raw",     (char *)"/in", (char *)"/out", NULL};
	int text[2], errors[2], status = 0;
	struct run run = {0};

	if (pipe2(text, O_CLOEXEC) < 0)
		return sentence_fail(err, -errno, "%s: no pipe: %s", name, strerror(errno));
	if (pipe2(errors, O_CLOEXEC) < 0) {
		close(text[0]);
		close(text[1]);
		return sentence_fail(err, -EMFILE, "%s: no pipe", name);
	}
	run.text = text[0];
	run.errors = errors[0];
	run.pid = sandbox_start(
		&(struct sandbox){.in = in, .out = out, .out_text = text[1], .err_text = errors[1], .argv = argv});
	close(text[1]);
	close(errors[1]);
	if (run.pid > 0) {
		follow(&run, progress, arg);
		while (waitpid(run.pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	close(text[0]);
	close(errors[0]);
	return run.pid < 0 ? sentence_fail(err, (int)run.pid, "%s: cannot start qemu-img", name)
			   : judge(&run, status, name, err);
}

static int convert_open(int in, const char *from, const char *format, struct output *out, convert_progress_fn progress,
			void *arg, struct sentence *err)
{
	struct stat st;
	int r = convert_foreign_check(in, format, from, err);

	if (r == 0)
		r = run_qemu(in, out->fd, format, from, progress, arg, err);
	if (r < 0)
		return r;
	if (fstat(out->fd, &st) < 0 || st.st_size == 0)
		return sentence_fail(err, -EBADMSG, "%s: qemu-img made nothing of it", from);
	if (st.st_size % 512) /* QEMU's disks may end within a sector; ours do not */
		r = output_resize(out, round_up((uint64_t)st.st_size, 512), err);
	return r < 0 ? r : output_commit(out, err);
}

int convert_foreign(const char *from, const char *foreign, const char *to_raw, convert_progress_fn progress, void *arg,
		    struct sentence *err)
{
	struct output out;
	struct stat st;
	int in, r;

	if (strcmp(foreign, "vhdx") != 0 && strcmp(foreign, "qcow2") != 0)
		return sentence_fail(err, -EINVAL, "%s: %s is no format to convert from", from, foreign);
	if (access(QEMU_IMG, X_OK) < 0)
		return sentence_fail(err, -ENOENT, "%s: to convert it, %s is needed: apt install qemu-utils", from,
				     QEMU_IMG);
	in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (in < 0 || fstat(in, &st) < 0 || !S_ISREG(st.st_mode)) {
		r = sentence_fail(err, in < 0 ? -errno : -EMEDIUMTYPE, "%s: %s", from,
				  in < 0 ? strerror(errno) : "not a regular file");
	} else {
		r = output_begin(&out, to_raw, err);
		if (r == 0) {
			r = convert_open(in, from, foreign, &out, progress, arg, err);
			output_done(&out);
		}
	}
	if (in >= 0)
		close(in);
	return r;
}
