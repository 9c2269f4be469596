// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bootwelld: reads its configuration, opens what takes root, gives up the privileges that it does
 * not need, opens what it serves, and runs the loop. What it cannot serve (a port is taken, an image is broken) is said
 * once and shown in the status; it fails to start only when it could do nothing right: mistakes in
 * the configuration, no state, no iSCSI target in the kernel.
 *
 * Stopping leaves the targets in the kernel: PCs run on, and the next start takes them over
 * (boot_adopt()). What it is made of is in control/parts.c.
 */
#include <cap-ng.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control/control.h"
#include "daemon/control/parts.h"
#include "daemon/core/confine.h"
#include "daemon/core/log.h"

#define DEFAULT_CONFIG "/etc/bootwell/bootwell.conf"
#define END_SECONDS    15            /* that the end may take; bootwell.service gives it 20 */
#define LOG_TICK       2000000000ull /* ns */

struct options {
	const char *config;
	bool check, debug;
};

struct extras {
	struct daemon *d;
	struct loop_source *term, *interrupt, *hangup, *watchdog, *log;
	uint64_t watchdog_ns;
};

static const char usage[] = "usage: bootwelld [-c FILE] [-d] [-n]\n"
			    "  -c FILE  the configuration (" DEFAULT_CONFIG ")\n"
			    "  -d       say more\n"
			    "  -n       check the configuration and exit\n"
			    "  -V       version\n";

/* --- privileges ------------------------------------------------------------------------------- */

/*
 * Ports may be opened again after a reload (BIND_SERVICE), DHCP and ARP need raw sockets, the fast
 * path attaches BPF programs, image files may belong to others. configfs belongs to root: as
 * another user that takes DAC_OVERRIDE; and the kernel's iSCSI target lets nobody without SYS_ADMIN
 * change a portal group or a CHAP secret (drivers/target/iscsi/iscsi_target_configfs.c).
 */
static int drop_privileges(const struct config *c)
{
	const unsigned int keep[] = {CAP_NET_BIND_SERVICE, CAP_NET_RAW,         CAP_NET_ADMIN,    CAP_BPF,
				     CAP_PERFMON,          CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE, CAP_SYS_ADMIN};
	const struct passwd *user = c->user[0] ? getpwnam(c->user) : NULL;
	bool have[sizeof(keep) / sizeof(keep[0])];
	int r;

	if (c->user[0] && !user) {
		log_error("%s: [server] user: there is no user %s", c->file, c->user);
		return -ENOENT;
	}
	if (geteuid() != 0)
		return 0;
	capng_get_caps_process();
	for (unsigned int i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, keep[i]);
	capng_clear(CAPNG_SELECT_BOTH);
	for (unsigned int i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
		if (have[i] && (user || keep[i] != CAP_DAC_OVERRIDE) && (c->targets || keep[i] != CAP_SYS_ADMIN))
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, keep[i]);
	if (user)
		r = capng_change_id(user->pw_uid, user->pw_gid, CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING);
	else
		r = capng_apply(CAPNG_SELECT_CAPS);
	if (r) {
		log_error("cannot give up privileges (libcap-ng says %d)", r);
		return -EPERM;
	}
	return 0;
}

/* The calls that it needs for that are over. */
static void keep_to_calls(void)
{
	int n = confine_calls();

	if (n > 0)
		log_info("seccomp: %d system calls are left", n);
	else
		log_warning("seccomp does not keep bootwelld from any system call: %s", strerror(-n));
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_stop(void *arg, int signo)
{
	struct extras *x = arg;

	log_notice("%s: stopping; PCs that run keep their disks", signo == SIGTERM ? "SIGTERM" : "SIGINT");
	sd_notify(0, "STOPPING=1");
	loop_stop(x->d->loop, 0);
}

static void on_hangup(void *arg, int signo)
{
	struct extras *x = arg;

	(void)signo;
	parts_reload(x->d);
}

static void on_watchdog(void *arg)
{
	struct extras *x = arg;

	sd_notify(0, "WATCHDOG=1");
	loop_timer_set(x->watchdog, loop_now(x->d->loop) + x->watchdog_ns);
}

static void on_log(void *arg)
{
	struct extras *x = arg;

	log_tick();
	loop_timer_set(x->log, loop_now(x->d->loop) + LOG_TICK);
}

static int open_events(struct extras *x)
{
	struct loop *loop = x->d->loop;
	uint64_t usec = 0;
	int r;

	r = loop_add_signal(loop, SIGTERM, on_stop, x, &x->term);
	if (!r)
		r = loop_add_signal(loop, SIGINT, on_stop, x, &x->interrupt);
	if (!r)
		r = loop_add_signal(loop, SIGHUP, on_hangup, x, &x->hangup);
	if (!r)
		r = loop_add_timer(loop, loop_now(loop) + LOG_TICK, on_log, x, &x->log);
	if (!r && sd_watchdog_enabled(0, &usec) > 0 && usec) {
		x->watchdog_ns = usec * 1000 / 3;
		r = loop_add_timer(loop, loop_now(loop) + x->watchdog_ns, on_watchdog, x, &x->watchdog);
	}
	return r;
}

static void close_events(struct extras *x)
{
	loop_source_free(x->term);
	loop_source_free(x->interrupt);
	loop_source_free(x->hangup);
	loop_source_free(x->watchdog);
	loop_source_free(x->log);
}

/* Nothing may hold the end: what was answered is on the disk, and PCs keep their disks. */
static void on_end(int signo)
{
	static const char text[] = "bootwelld: something that hangs held the end; it ends all the same\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)signo;
	(void)n;
	_exit(EXIT_SUCCESS);
}

static int serve(struct daemon *d)
{
	struct extras x = {.d = d};
	int r;

	signal(SIGPIPE, SIG_IGN);
	d->calls = &control_calls;
	r = parts_open_first(d);
	if (!r)
		r = drop_privileges(d->config); /* of this thread: before there is another one */
	if (!r)
		r = parts_open(d);
	if (!r)
		keep_to_calls();
	if (!r)
		r = open_events(&x);
	if (!r)
		r = parts_begin(d);
	if (!r) {
		log_notice("bootwelld %s serves with %s", BOOTWELL_VERSION, d->config->file);
		sd_notify(0, "READY=1\nSTATUS=serving");
		r = loop_run(d->loop);
	}
	signal(SIGALRM, on_end);
	alarm(END_SECONDS);
	close_events(&x);
	parts_close(d);
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* 0: go on; else the exit status + 1. */
static int take_options(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt(argc, argv, "c:dhnV")) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 'd':
			o->debug = true;
			break;
		case 'n':
			o->check = true;
			break;
		case 'V':
			printf("bootwelld %s\n", BOOTWELL_VERSION);
			return 1;
		case 'h':
			fputs(usage, stdout);
			return 1;
		default:
			fputs(usage, stderr);
			return 3;
		}
	}
	if (optind == argc)
		return 0;
	fputs(usage, stderr);
	return 3;
}

int main(int argc, char **argv)
{
	struct options o = {.config = DEFAULT_CONFIG};
	struct daemon d = {.bpf_counting = -1, .alert_fd = -1};
	int r;

	r = take_options(argc, argv, &o);
	if (r)
		return r - 1;
	r = parts_read_config(&d, o.config, &d.config);
	if (r)
		return EXIT_FAILURE;
	if (o.check) {
		printf("%s is right\n", o.config);
		config_free(d.config);
		return EXIT_SUCCESS;
	}
	d.started = d.config_read = time(NULL);
	log_set_level(o.debug ? LOG_LEVEL_DEBUG : (enum log_level)d.config->log_level);
	return serve(&d);
}
