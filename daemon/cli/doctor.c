// SPDX-License-Identifier: GPL-2.0-or-later
/* bootwell image doctor: a program of its own looks (bootwell_doctor.c); with --fix the server makes a new generation.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cli/cli.h"
#include "daemon/cli/private.h"
#include "daemon/image/sparse_file.h"

static const char usage[] =
	"image doctor NAME|FILE [--cards] [--json]\n"
	"       bootwell image doctor NAME --fix [--format " SPARSE_FORMAT_NAMES "] [--yes] [--json]";

/* Beside this program in a build, or where it is installed. */
static void become_doctor(char **argv)
{
	char path[4096 + 20];
	ssize_t n = readlink("/proc/self/exe", path, 4096);
	char *slash;

	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash) {
		strcpy(slash + 1, "bootwell-doctor");
		execv(path, argv);
	}
	execv("/usr/lib/bootwell/bootwell-doctor", argv);
	fprintf(stderr,
		"bootwell: bootwell-doctor cannot be run (%s): is it installed, with libntfs-3g and libhivex?\n",
		strerror(errno));
	_exit(127);
}

static int look(const struct cli_image_file *image, bool cards, bool json)
{
	const char *argv[7] = {"bootwell-doctor", image->path};
	unsigned int n = 2;
	int status = 0;
	pid_t pid;

	if (cards)
		argv[n++] = "--cards";
	if (json)
		argv[n++] = "--json";
	if (image->format[0]) {
		argv[n++] = "--format";
		argv[n++] = image->format;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		become_doctor((char **)argv);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return CLI_FAILED;
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "bootwell: the doctor was ended by signal %d: the image is damaged, or made to harm\n",
			WTERMSIG(status));
		return CLI_FAILED;
	}
	return WEXITSTATUS(status) == 127 ? CLI_FAILED : WEXITSTATUS(status);
}

static bool confirmed(const char *name)
{
	char answer[8];

	if (!isatty(STDIN_FILENO)) {
		fprintf(stderr, "bootwell: nothing was mended: say --yes\n");
		return false;
	}
	printf("Mend what can be mended, as a new generation of %s? [y/N] ", name);
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int mend(const char *name, const char *format, bool json)
{
	json_t *body = json_object(), *o;
	char escaped[200], path[256], size[16];
	int r;

	if (format)
		json_object_set_new(body, "format", json_string(format));
	cli_escape(escaped, sizeof(escaped), name);
	snprintf(path, sizeof(path), "/api/images/%s/mend", escaped);
	r = cli_ask("POST", path, body, &o);
	if (r)
		return r;
	json_decref(o);
	snprintf(path, sizeof(path), "/api/images/%s/commit", escaped);
	r = cli_commit_wait(path, &o, json);
	if (r)
		return r;
	if (json)
		cli_print_json(o);
	else
		printf("%s%s: generation %lld is %s, %s on the disk; PCs get it at their next start. \"bootwell image "
		       "rollback %s\" goes back.\n",
		       cli_text(o, "told", ""), name, (long long)json_integer_value(json_object_get(o, "generation")),
		       cli_text(o, "file", "?"), cli_size(size, json_number_value(json_object_get(o, "disk_bytes"))),
		       name);
	json_decref(o);
	return CLI_OK;
}

int cli_doctor(int argc, char **argv)
{
	bool json = cli_take_json(&argc, argv), fix = false, yes = false, cards = false;
	const char *operand = NULL, *format = NULL;
	struct cli_image_file image;
	int r;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--fix"))
			fix = true;
		else if (!strcmp(argv[i], "--yes"))
			yes = true;
		else if (!strcmp(argv[i], "--cards"))
			cards = true;
		else if (!strcmp(argv[i], "--format") && i + 1 < argc)
			format = argv[++i];
		else if (argv[i][0] != '-' && !operand)
			operand = argv[i];
		else
			return cli_usage(usage);
	}
	if (!operand || (format && !fix) || (yes && !fix))
		return cli_usage(usage);
	r = cli_find_image(operand, &image);
	if (r)
		return r;
	if (!fix)
		return look(&image, cards, json);
	if (!image.name[0]) {
		fprintf(stderr,
			"bootwell: %s is a file; --fix makes a new generation of an image of the catalogue: add it "
			"first with \"bootwell image add\"\n",
			operand);
		return CLI_FAILED;
	}
	if (!json && !yes) {
		look(&image, false, false);
		if (!confirmed(image.name))
			return CLI_FAILED;
	}
	return mend(image.name, format, json);
}
