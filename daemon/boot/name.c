// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A PC's Windows starts under the PC's own name: bootwell-doctor, in a process of its own, makes the few changed
 * sectors of the image's registry; they are kept for each generation and name, and linked beside the disk's record.
 */
#include "daemon/boot/name.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tcmu-handler/handover.h"

#define DOCTOR    "/usr/lib/bootwell/bootwell-doctor"
#define NOTHING   3 /* its exit status: no Windows, or it has the name */
#define ARGUMENTS (5 + 3 * IMAGE_CHAIN_MAX + 1)

void boot_name_forget(const char *run_path, const char *disk)
{
	char path[400];

	snprintf(path, sizeof(path), HANDOVER_PATCH, run_path, disk);
	unlink(path);
	snprintf(path, sizeof(path), HANDOVER_PATCHING, run_path, disk);
	unlink(path);
}

void boot_name_clean(const char *run_path)
{
	char path[600];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%.300s/name", run_path);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
}

/* --- the doctor ----------------------------------------------------------------------------------------------------*/

static void make_arguments(const struct boot_disk_job *job, const char *generation, const char *argv[ARGUMENTS],
			   char size[IMAGE_CHAIN_MAX][24])
{
	const char *env = getenv("BOOTWELL_DOCTOR");
	unsigned int n = 0;

	argv[n++] = env ? env : DOCTOR;
	argv[n++] = "--computer-name";
	argv[n++] = job->name;
	argv[n++] = generation;
	argv[n++] = job->images_path;
	for (unsigned int i = 0; i < job->chain.layers; i++) {
		snprintf(size[i], 24, "%llu", (unsigned long long)job->chain.layer[i].size_override);
		argv[n++] = job->chain.layer[i].format;
		argv[n++] = job->chain.layer[i].file;
		argv[n++] = size[i];
	}
	argv[n] = NULL;
}

/* Its exit status, or -errno; it is ended after BOOT_NAME_SECONDS. */
static int wait_for(pid_t pid)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	int status;

	for (unsigned int i = 0; i < BOOT_NAME_SECONDS * 50; i++) {
		pid_t r = waitpid(pid, &status, WNOHANG);

		if (r == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
		if (r < 0 && errno != EINTR)
			return -errno;
		nanosleep(&pause, NULL);
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return -ETIMEDOUT;
}

static int run_doctor(const struct boot_disk_job *job, int out, FILE *says)
{
	const struct state_image *image = &job->chain.image;
	char generation[256], size[IMAGE_CHAIN_MAX][24];
	const char *argv[ARGUMENTS];
	pid_t pid;

	/* As in the disk's record. */
	snprintf(generation, sizeof(generation), "%s %u %s", image->name, image->generation, image->image_id);
	make_arguments(job, generation, argv, size);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		dup2(out, STDOUT_FILENO);
		dup2(fileno(says), STDERR_FILENO);
		execv(argv[0], (char *const *)argv);
		dprintf(STDERR_FILENO, "%s cannot be run: %s\n", argv[0], strerror(errno));
		_exit(126);
	}
	return wait_for(pid);
}

static int doctor_error(int status, FILE *says, struct sentence *error)
{
	char line[200] = "";

	rewind(says);
	if (fgets(line, sizeof(line), says))
		line[strcspn(line, "\n")] = '\0';
	for (char *p = line; *p; p++)
		if (!isprint((unsigned char)*p))
			*p = '?';
	sentence_set(error, "%s",
		     line[0]                ? line
		     : status == -ETIMEDOUT ? "the doctor took too long"
					    : "the doctor ended early");
	return status < 0 ? status : -EIO;
}

/* --- what is kept --------------------------------------------------------------------------------------------------*/

/* Makes `kept`: the patch, or an empty file when there is nothing to change. */
static int make_kept(const char *kept, const struct boot_disk_job *job, struct sentence *error)
{
	char beside[600];
	FILE *says = tmpfile();
	int fd, r;

	snprintf(beside, sizeof(beside), "%s.new", kept);
	fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0 || !says) {
		r = errno ? -errno : -EIO;
		sentence_set(error, "%.200s cannot be written: %s", beside, strerror(-r));
	} else {
		r = run_doctor(job, fd, says);
		if (r == NOTHING)
			r = ftruncate(fd, 0) ? -errno : 0;
		else if (r)
			r = doctor_error(r, says, error);
	}
	if (!r && rename(beside, kept))
		r = -errno;
	if (r)
		unlink(beside);
	if (fd >= 0)
		close(fd);
	if (says)
		fclose(says);
	return r;
}

int boot_name_patch(const char *run_path, const struct boot_disk_job *job, struct sentence *error)
{
	char kept[500], patch[400];
	struct stat st;
	int r = 0;

	error->text[0] = '\0';
	snprintf(kept, sizeof(kept), "%.300s/name", run_path);
	if (mkdir(kept, 0750) && errno != EEXIST)
		return -errno;
	snprintf(kept, sizeof(kept), "%.300s/name/%lld-%s", run_path, (long long)job->chain.image.id, job->name);
	if (stat(kept, &st))
		r = make_kept(kept, job, error);
	if (!r && stat(kept, &st))
		r = -errno;
	if (r || !st.st_size)
		return r;
	/* The handler renames and removes its own name of it. */
	snprintf(patch, sizeof(patch), HANDOVER_PATCH, run_path, job->disk.id);
	if (link(kept, patch))
		r = -errno;
	return r;
}
