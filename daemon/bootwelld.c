// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bootwelld: reads its configuration, opens what it serves, gives up the privileges that it does
 * not need, and runs the loop. What it cannot serve (a port is taken, an image is broken) is said
 * once and shown in the status; it fails to start only when it could do nothing right: mistakes in
 * the configuration, no state, no iSCSI target in the kernel.
 *
 * Stopping leaves the targets in the kernel: PCs run on, and the next start takes them over
 * (boot_adopt()).
 */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "daemon/boot_disk.h"
#include "daemon/bootwelld.h"
#include "daemon/kernel_stats.h"
#include "daemon/known_images.h"
#include "daemon/log.h"

#define DEFAULT_CONFIG "/etc/bootwell/bootwell.conf"
#define SCAN_EVERY     (900 * 1000000000ull)
#define SCAN_AFTER     (3 * 1000000000ull) /* ns after the start */
#define HTTP_RETRY     (10 * 1000000000ull)

struct options {
	const char *config;
	bool check, debug;
};

struct extras {
	struct daemon *d;
	struct loop_source *term, *interrupt, *hangup, *watchdog, *scan, *retry;
	uint64_t watchdog_ns;
};

static const char usage[] = "usage: bootwelld [-c FILE] [-d] [-n]\n"
			    "  -c FILE  the configuration (" DEFAULT_CONFIG ")\n"
			    "  -d       say more\n"
			    "  -n       check the configuration and exit\n"
			    "  -V       version\n";

/* --- the configuration --- */

static void report_first(void *arg, const char *file, unsigned int line, const char *message)
{
	struct daemon *d = arg;

	if (!d->config_mistakes++)
		snprintf(d->config_refused, sizeof(d->config_refused), "%.200s:%u: %s", file, line,
			 message);
	if (line)
		log_error("%s:%u: %s", file, line, message);
	else
		log_error("%s: %s", file, message);
}

static int read_config(struct daemon *d, const char *file, struct config **ret)
{
	struct known_images images = {.store = d->store};
	struct config_known known = {.image = known_images_has, .arg = &images};
	int r;

	d->config_mistakes = 0;
	d->config_refused[0] = '\0';
	r = config_read_known(ret, file, &known, report_first, d);
	known_images_done(&images);
	return r;
}

static void warn_restart(const struct config *old, const struct config *now)
{
	if (old->targets != now->targets || strcmp(old->state_path, now->state_path) ||
	    strcmp(old->run_path, now->run_path) || strcmp(old->user, now->user) ||
	    old->http_port != now->http_port || strcmp(old->iqn_prefix, now->iqn_prefix))
		log_warning("changes of [server] targets, state, run, user, of [http] port and of "
			    "[iscsi] prefix take "
			    "effect at \"systemctl restart bootwell\"");
}

int daemon_reload(struct daemon *d)
{
	struct config *old = d->config, *now;
	char error[TARGET_ERROR_MAX], run[256];
	int r;

	sd_notify(0, "RELOADING=1");
	r = read_config(d, old->file, &now);
	if (r) {
		log_error("%s has %u mistake%s: the old configuration stays in use", old->file,
			  d->config_mistakes, d->config_mistakes == 1 ? "" : "s");
		sd_notify(0, "READY=1\nSTATUS=a newer configuration was refused");
		return r;
	}
	warn_restart(old, now);
	/* What the running parts stand on does not move under them. */
	now->targets = old->targets;
	now->http_port = old->http_port;
	memcpy(now->state_path, old->state_path, sizeof(now->state_path));
	snprintf(run, sizeof(run), "%s", old->run_path);
	memcpy(now->run_path, run, sizeof(now->run_path));
	memcpy(now->iqn_prefix, old->iqn_prefix, sizeof(now->iqn_prefix));
	log_set_level(now->log_level);
	if (d->targets && boot_disks_write_engine(now, error))
		log_error("%s", error);
	catalogue_sync(d->catalogue, now);
	boot_reload(d->boot, now);
	dhcp_server_reload(d->dhcp, now);
	tftp_server_reload(d->tftp, now);
	d->config = now;
	d->config_read = time(NULL);
	monitor_reload(d->monitor);
	config_free(old);
	log_notice("read %s again", now->file);
	sd_notify(0, "READY=1\nSTATUS=serving");
	return 0;
}

/* --- folders, state, targets --- */

/* The folder and those above it. */
static int make_folder(const char *path, mode_t mode)
{
	char part[300];
	size_t n = strlen(path);

	if (n >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t i = 1; i <= n; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, i == n ? mode : 0755) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int open_folders(const struct config *c)
{
	const char *const folders[] = {c->state_path, c->run_path, c->images_path};
	int r;

	for (unsigned int i = 0; i < 3; i++) {
		r = make_folder(folders[i], i == 0 ? 0750 : 0755);
		/* The images may be on a file system that only others write to. */
		if (r && i < 2) {
			log_error("cannot make the folder %s: %s", folders[i], strerror(-r));
			return r;
		}
	}
	return 0;
}

/* Only one bootwelld a folder: held until the process ends. */
static int take_lock(const struct config *c)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/lock", c->run_path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB))
		return 0;
	if (fd >= 0 && errno == EWOULDBLOCK)
		log_error("another bootwelld runs with %s: \"systemctl stop bootwell\" ends it",
			  c->run_path);
	else
		log_error("cannot lock %s: %s", path, strerror(errno));
	return -EBUSY;
}

static int open_state(struct daemon *d)
{
	char file[300], error[256];
	int r;

	snprintf(file, sizeof(file), "%s/bootwell.db", d->config->state_path);
	r = store_new(&d->store, file, error);
	if (r) {
		log_error("cannot open the state %s: %s", file, error);
		return r;
	}
	r = catalogue_new(&d->catalogue, d->store);
	if (!r)
		catalogue_sync(d->catalogue, d->config);
	return r;
}

static int open_targets(struct daemon *d)
{
	const char *helper = getenv("BOOTWELL_CONFIGFS_HELPER");
	char error[TARGET_ERROR_MAX];
	int r;

	if (!d->config->targets)
		return 0;
	r = targets_new(&d->targets, getenv("BOOTWELL_CONFIGFS"), d->config->run_path);
	if (r)
		return r;
	if (helper)
		targets_helper(d->targets, helper);
	r = targets_check(d->targets, error);
	if (!r)
		r = boot_disks_write_engine(d->config, error);
	if (r)
		log_error("%s", error);
	return r;
}

/* --- privileges ------------------------------------------------------------------------------- */

/*
 * Ports may be opened again after a reload (BIND_SERVICE), DHCP and ARP need raw sockets, the fast
 * path attaches BPF programs, image files may belong to others. configfs belongs to root: as
 * another user that takes DAC_OVERRIDE; and the kernel's iSCSI target lets nobody without SYS_ADMIN
 * change a portal group or a CHAP secret (drivers/target/iscsi/iscsi_target_configfs.c).
 */
static int drop_privileges(const struct config *c)
{
	const unsigned int keep[] = {
		CAP_NET_BIND_SERVICE, CAP_NET_RAW,         CAP_NET_ADMIN,   CAP_BPF,
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
		if (have[i] && (user || keep[i] != CAP_DAC_OVERRIDE) &&
		    (c->targets || keep[i] != CAP_SYS_ADMIN))
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, keep[i]);
	if (user)
		r = capng_change_id(user->pw_uid, user->pw_gid,
				    CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING);
	else
		r = capng_apply(CAPNG_SELECT_CAPS);
	if (r) {
		log_error("cannot give up privileges (libcap-ng says %d)", r);
		return -EPERM;
	}
	return 0;
}

/* --- what it serves --------------------------------------------------------------------------- */

static void open_http(struct daemon *d)
{
	int fd = http_listen_tcp(d->config->http_port), r = fd;
	bool known = d->http_problem[0];

	d->http_problem[0] = '\0';
	if (fd >= 0)
		r = http_new(&d->http, d->loop, fd, false, control_request, d);
	if (r >= 0)
		return;
	snprintf(d->http_problem, sizeof(d->http_problem),
		 "TCP port %u for status, metrics and scripts cannot be opened (%s): another "
		 "program may have it; see [http] "
		 "port",
		 d->config->http_port, strerror(-r));
	if (!known)
		log_error("%s", d->http_problem);
}

static void open_uploads(struct daemon *d)
{
	struct upload_service_parts parts = {.loop = d->loop, .boot = d->boot, .catalogue = d->catalogue,
					     .store = d->store, .config = &d->config};
	struct upload_error error = {.text = ""};
	bool known = d->upload_problem[0];

	d->upload_problem[0] = '\0';
	if (!upload_service_new(&d->uploads, &parts, &error))
		return;
	snprintf(d->upload_problem, sizeof(d->upload_problem), "%s", error.text);
	if (!known)
		log_error("%s", d->upload_problem);
}

static int open_control(struct daemon *d)
{
	char path[300];
	int fd, r;

	snprintf(path, sizeof(path), "%s/control", d->config->run_path);
	fd = http_listen_unix(path);
	r = fd < 0 ? fd : http_new(&d->control, d->loop, fd, true, control_request, d);
	if (r)
		log_error("cannot open %s: %s", path, strerror(-r));
	return r;
}

static int open_services(struct daemon *d)
{
	int r;

	r = netif_new(&d->netif, d->loop);
	if (r)
		log_error("cannot read the network interfaces: %s", strerror(-r));
	if (!r)
		r = boot_new(&d->boot, d->loop, d->config, d->store, d->catalogue, d->targets);
	if (!r)
		r = dhcp_server_new(&d->dhcp, d->loop, d->netif, d->config, d->store, d->boot);
	if (!r)
		r = tftp_server_new(&d->tftp, d->loop, d->netif, d->config, d->boot);
	if (r)
		log_error("cannot start: %s", strerror(-r));
	if (!r)
		r = open_control(d);
	if (!r)
		open_http(d);
	return r;
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_stop(void *arg, int signo)
{
	struct extras *x = arg;

	log_notice("%s: stopping; PCs that run keep their disks",
		   signo == SIGTERM ? "SIGTERM" : "SIGINT");
	sd_notify(0, "STOPPING=1");
	loop_stop(x->d->loop, 0);
}

static void on_hangup(void *arg, int signo)
{
	struct extras *x = arg;

	(void)signo;
	daemon_reload(x->d);
}

static void on_watchdog(void *arg)
{
	struct extras *x = arg;

	sd_notify(0, "WATCHDOG=1");
	loop_timer_set(x->watchdog, loop_now(x->d->loop) + x->watchdog_ns);
}

static void on_scan(void *arg)
{
	struct extras *x = arg;

	loop_timer_set(x->scan, loop_now(x->d->loop) + SCAN_EVERY);
	if (x->d->config->dhcp_mode != CONFIG_DHCP_OFF)
		control_scan(x->d, NULL);
}

static void on_retry(void *arg)
{
	struct extras *x = arg;

	if (!x->d->http)
		open_http(x->d);
	if (!x->d->uploads)
		open_uploads(x->d);
	if (!x->d->http || !x->d->uploads)
		loop_timer_set(x->retry, loop_now(x->d->loop) + HTTP_RETRY);
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
		r = loop_add_timer(loop, loop_now(loop) + SCAN_AFTER, on_scan, x, &x->scan);
	if (!r)
		r = loop_add_timer(loop, loop_now(loop) + HTTP_RETRY, on_retry, x, &x->retry);
	if (!r && sd_watchdog_enabled(0, &usec) > 0 && usec) {
		x->watchdog_ns = usec * 1000 / 3;
		r = loop_add_timer(loop, loop_now(loop) + x->watchdog_ns, on_watchdog, x,
				   &x->watchdog);
	}
	return r;
}

static void close_all(struct extras *x)
{
	struct daemon *d = x->d;

	loop_source_free(x->term);
	loop_source_free(x->interrupt);
	loop_source_free(x->hangup);
	loop_source_free(x->watchdog);
	loop_source_free(x->scan);
	loop_source_free(x->retry);
	monitor_stop(d->monitor);
	dhcp_scan_free(d->scan);
	dhcp_server_free(d->dhcp); /* commits what it has, which may register PCs with boot */
	upload_service_stop(d->uploads);
	commit_service_stop(d->commits);
	boot_free(d->boot);	   /* answers who waits for a script: before those who asked are gone */
	tftp_server_free(d->tftp);
	http_free(d->http);
	http_free(d->control);
	netif_free(d->netif);
	if (d->targets)
		target_rescue(d->targets,
			      5); /* a helper thread that hangs in the kernel would hang the stop */
	loop_free(d->loop);
	monitor_free(d->monitor);
	if (d->bpf_counting >= 0)
		close(d->bpf_counting);
	upload_service_free(d->uploads);
	commit_service_free(d->commits);
	targets_free(d->targets);
	catalogue_free(d->catalogue);
	store_free(d->store);
	config_free(d->config);
}

static int serve(struct daemon *d)
{
	struct extras x = {.d = d};
	int r;

	signal(SIGPIPE, SIG_IGN);
	r = open_folders(d->config);
	if (!r)
		r = take_lock(d->config);
	if (!r)
		r = open_targets(d);
	if (!r)
		r = open_state(d);
	if (!r)
		r = loop_new(&d->loop);
	if (!r)
		r = open_services(d);
	d->bpf_counting = kernel_bpf_count(); /* only with SYS_ADMIN, which bootwell.service does not give: there it is a sysctl */
	if (!r)
		r = drop_privileges(d->config);
	if (!r)
		r = open_events(&x);
	if (!r)
		r = monitor_new(&d->monitor, d); /* its files are those of the user that we are then */
	if (!r) {
		r = commit_service_new(&d->commits, &(struct commit_parts){.loop = d->loop, .boot = d->boot,
									   .catalogue = d->catalogue, .store = d->store,
									   .config = &d->config});
	}
	if (!r) {
		open_uploads(d); /* after privileges are dropped: its threads have what we have then */
		boot_adopt(d->boot);
		log_notice("bootwelld %s serves with %s", BOOTWELL_VERSION, d->config->file);
		sd_notify(0, "READY=1\nSTATUS=serving");
		r = loop_run(d->loop);
	}
	close_all(&x);
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
	struct daemon d = {.bpf_counting = -1};
	int r;

	r = take_options(argc, argv, &o);
	if (r)
		return r - 1;
	r = read_config(&d, o.config, &d.config);
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
