// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Building, reloading and freeing the daemon's parts, in the order that they stand on each other. What cannot be served
 * (a port is taken, an image is broken) is said once, shown in the status, and tried again; it fails only where nothing
 * could be done right: no state, no iSCSI target in the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <stddef.h>
#include <unistd.h>

#include "daemon/boot/disk.h"
#include "daemon/control/kernel_stats.h"
#include "daemon/config/room.h"
#include "daemon/control/alerts.h"
#include "daemon/control/parts.h"
#include "daemon/core/confine.h"
#include "daemon/core/log.h"
#include "daemon/state/known_images.h"

#define SCAN_EVERY     (900 * 1000000000ull)
#define SCAN_AFTER     (3 * 1000000000ull) /* ns after the start */
#define HTTP_RETRY     (10 * 1000000000ull)
#define STATE_LOOK     (250 * 1000000ull)
#define STATE_END      (3 * 1000000000ull) /* that the end waits for the disk of the state */
#define IMAGES_WAIT_MS 2000                /* that the start waits for files of images, each of two times */

/* --- the configuration --- */

static void report_first(void *arg, const char *file, unsigned int line, const char *message)
{
	struct daemon *d = arg;

	if (!d->config_mistakes++)
		snprintf(d->config_refused, sizeof(d->config_refused), "%.200s:%u: %s", file, line, message);
	if (line)
		log_error("%s:%u: %s", file, line, message);
	else
		log_error("%s: %s", file, message);
}

static void report_room(void *arg, const char *file, unsigned int line, const char *message)
{
	(void)arg;
	if (line)
		log_warning("%s:%u: %s", file, line, message);
	else
		log_warning("%s: %s", file, message);
}

int parts_read_config(struct daemon *d, const char *file, struct config **ret)
{
	struct known_images images = {.state = d->state};
	struct config_known known = {.image = known_images_has, .arg = &images};
	int r;

	d->config_mistakes = 0;
	d->config_refused[0] = '\0';
	r = config_read_known(ret, file, &known, report_first, d);
	known_images_done(&images);
	return r;
}

static void set_access(struct daemon *d, const struct config *c)
{
	const struct access_settings settings = {.operator= c->operator,
						 .operators = c->operators,
						 .token = c->token,
						 .names = c->http_names,
						 .server = c->server_name,
						 .open_status = c->open_status,
						 .open_metrics = c->open_metrics};

	access_set(d->access, &settings);
}

/*
 * What the running parts stand on: does not move under them. bootwell.conf(5), RELOAD, has the same table for people.
 */
#define FIXED(key, member, handler)                                                                                    \
	{                                                                                                              \
		key, offsetof(struct config, member), sizeof(((struct config *)0)->member), handler                    \
	}
static const struct {
	const char *key;
	size_t offset, size;
	bool handler; /* tcmu-runner's handler stands on it, under the disks of the PCs */
} fixed[] = {
	FIXED("[server] targets", targets, false),
	FIXED("[server] state", state_path, false),
	FIXED("[server] run", run_path, false),
	FIXED("[server] user", user, false),
	FIXED("[http] port", http_port, false),
	FIXED("[http] upload-port", upload_port, false),
	FIXED("[http] tls-certificate", tls_certificate, false),
	FIXED("[http] tls-key", tls_key, false),
	FIXED("[iscsi] port", iscsi_port, false),
	FIXED("[iscsi] prefix", iqn_prefix, false),
	FIXED("[images] path", images_path, false),
	FIXED("[write-back] path", store_path, true),
	FIXED("[write-back] size", store_size, true),
	FIXED("[cache] image_ram", image_ram, true),
	FIXED("[cache] write_back_ram", write_back_ram, true),
	FIXED("[cache] threads", engine_threads, true),
};

static void keep_fixed(struct daemon *d, const struct config *old, struct config *now)
{
	d->config_kept[0] = '\0';
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		const char *from = (const char *)old + fixed[i].offset;
		char *to = (char *)now + fixed[i].offset;
		size_t n = strlen(d->config_kept);

		if (!memcmp(from, to, fixed[i].size))
			continue;
		log_warning("%s: %s is as it was before: it changes %s", now->file, fixed[i].key,
			    fixed[i].handler ? "when all PCs are off, at \"systemctl restart bootwell tcmu-runner\""
					     : "at \"systemctl restart bootwell\", which PCs that run do not notice");
		snprintf(d->config_kept + n, sizeof(d->config_kept) - n, "%s%s", n ? ", " : "", fixed[i].key);
		memcpy(to, from, fixed[i].size);
	}
}

int parts_reload(struct daemon *d)
{
	struct config *old = d->config, *now;
	struct sentence error = {""};
	int r;

	sd_notify(0, "RELOADING=1");
	r = parts_read_config(d, old->file, &now);
	if (r) {
		log_error("%s has %u mistake%s: the old configuration stays in use", old->file, d->config_mistakes,
			  d->config_mistakes == 1 ? "" : "s");
		sd_notify(0, "READY=1\nSTATUS=a newer configuration was refused");
		return r;
	}
	keep_fixed(d, old, now);
	log_set_level(now->log_level);
	if (d->targets && boot_disks_write_engine(now, &error))
		log_error("%s", error.text);
	catalogue_sync(d->catalogue, now);
	boot_reload(d->boot, now);
	dhcp_server_reload(d->dhcp, now);
	tftp_server_reload(d->tftp, now);
	d->config = now;
	d->config_read = time(NULL);
	monitor_reload(d->monitor);
	set_access(d, now);
	documents_changed(d->documents);
	config_free(old);
	log_notice("read %s again", now->file);
	config_look_at_room(now, report_room, NULL);
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

/*
 * The images may be on a file system that only others write to, so that their folder cannot be made is no mistake; or
 * on one that hangs: then we serve without it. In a process of its own, as a thread would keep all privileges. False:
 * it does not answer.
 */
static bool make_folder_of_images(const char *path)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	pid_t pid = fork();

	if (pid == 0) {
		make_folder(path, 0755);
		_exit(0);
	}
	for (unsigned int ms = 0; pid > 0 && ms < IMAGES_WAIT_MS; ms++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		nanosleep(&pause, NULL);
	}
	if (pid > 0)
		kill(pid, SIGKILL);
	log_error("[images] path: %s does not answer; nothing can be written into it before a restart", path);
	return false;
}

static int open_folders(struct daemon *d)
{
	const struct config *c = d->config;
	const char *const folders[] = {c->state_path, c->run_path};
	int r;

	for (unsigned int i = 0; i < 2; i++) {
		r = make_folder(folders[i], i == 0 ? 0750 : 0755);
		if (r) {
			log_error("cannot make the folder %s: %s", folders[i], strerror(-r));
			return r;
		}
	}
	d->images_answer = make_folder_of_images(c->images_path);
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
		log_error("another bootwelld runs with %s: \"systemctl stop bootwell\" ends it", c->run_path);
	else
		log_error("cannot lock %s: %s", path, strerror(errno));
	return -EBUSY;
}

static int open_state(struct daemon *d)
{
	struct sentence error = {""};
	char file[300];
	int r;

	snprintf(file, sizeof(file), "%s/bootwell.db", d->config->state_path);
	r = keeper_begin_state(file, BOOTWELL_VERSION);
	if (r)
		return r;
	r = state_new_queued(&d->state, file, &error);
	if (r) {
		log_error("cannot open the state %s: %s", file, error.text);
		return r;
	}
	return catalogue_new(&d->catalogue, d->state, d->loop);
}

static int open_targets(struct daemon *d)
{
	const char *helper = getenv("BOOTWELL_CONFIGFS_HELPER");
	struct sentence error = {""};
	int r;

	if (!d->config->targets)
		return 0;
	r = targets_new(&d->targets, getenv("BOOTWELL_CONFIGFS"), d->config->run_path);
	if (r)
		return r;
	if (helper)
		targets_helper(d->targets, helper);
	r = targets_check(d->targets, &error);
	if (!r)
		r = boot_disks_write_engine(d->config, &error);
	if (r)
		log_error("%s", error.text);
	return r;
}

/* --- what it gives up --- */

/* Where the kernel's target is changed when no helper does it. The module may not be there yet. */
static unsigned int target_paths(const struct config *c, const char *ret[2])
{
	static const char parameters[] = "/sys/module/target_core_user/parameters";
	const char *env = getenv("BOOTWELL_CONFIGFS");

	if (!c->targets || getenv("BOOTWELL_CONFIGFS_HELPER"))
		return 0;
	ret[0] = env ? env : "/sys/kernel/config/target";
	ret[1] = parameters;
	return 2;
}

/* Its own folders, and what its children are started from: nothing else is written or run from here on. */
static void keep_to_files(const struct daemon *d)
{
	const struct config *c = d->config;
	const char *overlay = getenv("BOOTWELL_OVERLAY"), *doctor = getenv("BOOTWELL_DOCTOR");
	struct confine confine = {
		.write = {c->state_path, c->run_path, "/tmp", "/var/tmp", "/dev/null"},
		.run = {"/usr", "/lib", "/lib64"},
		.listen = {c->http_port, c->upload_port},
	};
	unsigned int n = 3, writes = 5;
	int r;

	if (d->images_answer) /* it is opened for that */
		confine.write[writes++] = c->images_path;
	target_paths(c, confine.write + writes);
	if (overlay)
		confine.run[n++] = overlay;
	if (doctor)
		confine.run[n++] = doctor;
	r = confine_files(&confine);
	if (r > 0)
		log_info("Landlock %d: only %s, %s, %s and /tmp are written, only programs of /usr are started", r,
			 c->state_path, c->run_path, c->images_path);
	else if (r == 0)
		log_info("this kernel has no Landlock that could keep bootwelld to its folders");
	else
		log_warning("Landlock does not keep bootwelld to its folders: %s", strerror(-r));
}

/* --- what it serves --------------------------------------------------------------------------- */

/* The text of a small file; NULL and the reason in errno. */
static char *read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t room = 0;
	ssize_t n = file ? getdelim(&text, &room, '\0', file) : -1;

	if (file)
		fclose(file);
	if (n > 0 && n < 1 << 20)
		return text;
	free(text);
	return NULL;
}

/* Certificate and key, while we may read them. Without them nobody could log in safely, so it is an error. */
static int open_tls(struct daemon *d)
{
	const struct config *c = d->config;

	if (!c->tls_certificate[0])
		return 0;
	d->tls_certificate = read_file(c->tls_certificate);
	if (d->tls_certificate)
		d->tls_key = read_file(c->tls_key);
	if (d->tls_key && certificate_names(d->tls_certificate, &d->tls_names) < 0) {
		log_error("[http] tls-certificate: %s is no certificate (PEM)", c->tls_certificate);
		return -EINVAL;
	}
	if (d->tls_key) {
		log_notice("https: SHA-256 of the certificate %s, of its key %s", d->tls_names.certificate,
			   d->tls_names.key);
		return 0;
	}
	log_error("[http] %s: %s: %s", d->tls_certificate ? "tls-key" : "tls-certificate",
		  d->tls_certificate ? c->tls_key : c->tls_certificate, errno ? strerror(errno) : "it is empty");
	return -EINVAL;
}

static void open_http(struct daemon *d)
{
	int fd = http_listen_tcp(d->config->http_port), r = fd;
	struct http_options o = {.fd = fd,
				 .name = "the HTTP port",
				 .tls_certificate = d->tls_certificate,
				 .tls_key = d->tls_key,
				 .early = d->calls->early,
				 .fn = d->calls->request,
				 .arg = d};
	bool known = d->http_problem[0];

	d->http_problem[0] = '\0';
	if (fd >= 0)
		r = http_new(&d->http, d->loop, &o);
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

static void note_upload(void *arg, const struct upload_event *event)
{
	struct daemon *d = arg;

	audit_write(d->audit, audit_upload(event));
}

static int open_uploads(struct daemon *d)
{
	struct upload_service_parts parts = {.loop = d->loop,
					     .boot = d->boot,
					     .catalogue = d->catalogue,
					     .state = d->state,
					     .config = &d->config,
					     .access = d->access,
					     .tls_certificate = d->tls_certificate,
					     .tls_key = d->tls_key,
					     .note = note_upload,
					     .arg = d};

	return upload_service_new(&d->uploads, &parts);
}

static int open_control(struct daemon *d)
{
	struct http_options o = {.local = true, .name = "the control socket", .fn = d->calls->request, .arg = d};
	char path[300];
	int fd, r;

	snprintf(path, sizeof(path), "%s/control", d->config->run_path);
	fd = http_listen_unix(path);
	o.fd = fd;
	r = fd < 0 ? fd : http_new(&d->control, d->loop, &o);
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
		r = boot_new(&d->boot, d->loop, d->config, d->state, d->catalogue, d->targets);
	if (!r)
		boot_set_pin(d->boot, d->tls_names.pin);
	if (!r)
		r = dhcp_server_new(&d->dhcp, d->loop, d->netif, d->config, d->state, d->boot);
	if (!r)
		r = tftp_server_new(&d->tftp, d->loop, d->netif, d->config, d->boot);
	if (r)
		log_error("cannot start: %s", strerror(-r));
	if (!r)
		r = snapshots_new(&d->snapshots, d->loop, d->boot);
	if (!r)
		r = reader_new(&d->reader, state_file(d->state));
	if (!r)
		r = documents_new(&d->documents, d);
	if (!r)
		r = access_new(&d->access);
	if (!r)
		set_access(d, d->config);
	if (!r)
		r = rights_new(&d->rights, d, d->calls->again);
	if (!r)
		r = audit_new(&d->audit, d->loop, d->config->state_path);
	if (!r)
		r = open_control(d);
	if (!r)
		open_http(d);
	return r;
}

/* --- what it does by itself --- */

static void on_scan(void *arg)
{
	struct daemon *d = arg;

	loop_timer_set(d->scan_timer, loop_now(d->loop) + SCAN_EVERY);
	if (d->config->dhcp_mode != CONFIG_DHCP_OFF)
		d->calls->scan(d, NULL);
}

static void on_retry(void *arg)
{
	struct daemon *d = arg;

	if (!d->http)
		open_http(d);
	upload_service_try(d->uploads);
	if (!d->http || !upload_service_serves(d->uploads))
		loop_timer_set(d->retry_timer, loop_now(d->loop) + HTTP_RETRY);
}

static void images_taken(void *arg, int64_t id, const char *why)
{
	struct daemon *d = arg;

	(void)id;
	(void)why;
	documents_changed(d->documents);
}

/* What could not be taken while its file was away can be now. */
static void on_image_back(void *arg)
{
	struct daemon *d = arg;

	catalogue_sync(d->catalogue, d->config);
	catalogue_when_settled(d->catalogue, images_taken, d);
}

static int open_image_watch(struct daemon *d)
{
	const struct image_watch_parts parts = {
		.loop = d->loop, .state = d->state, .config = &d->config, .back = on_image_back, .arg = d};

	return image_watch_new(&d->image_watch, &parts);
}

/* --- all of it --- */

int parts_open_first(struct daemon *d)
{
	int r;

	/* The first of all: a child has what is open, the lock too. */
	d->alert_fd = alert_sender_start(d->config->user);
	if (d->alert_fd < 0)
		log_error("no alerts can be sent: %s", strerror(-d->alert_fd));
	r = open_folders(d);
	if (!r)
		r = take_lock(d->config);
	if (!r)
		r = open_tls(d);
	if (!r)
		r = open_targets(d);
	d->bpf_counting = kernel_bpf_count(); /* only with SYS_ADMIN, which bootwell.service does not give: there it is
						 a sysctl */
	return r;
}

int parts_open(struct daemon *d)
{
	int r;

	keep_to_files(d);
	r = loop_new(&d->loop);
	if (!r)
		r = open_state(d);
	if (!r)
		r = open_services(d);
	return r;
}

/*
 * Without the privileges that were given up: what is an image is read here. What does not answer soon is taken when it
 * does.
 */
static void begin_images(struct daemon *d)
{
	catalogue_sync(d->catalogue, d->config);
	catalogue_settle(d->catalogue, IMAGES_WAIT_MS);
}

/* --- the state --- */

static void deliver(void *arg)
{
	struct daemon *d = arg;
	unsigned int lost;

	state_deliver(d->state);
	lost = state_lost(d->state);
	if (lost)
		log_error("%u changes cannot be written to the state %s: %s; restart bootwelld, it reads what is there",
			  lost, state_file(d->state), state_error(d->state));
}

/* On the state's thread. */
static void on_state(void *arg)
{
	struct daemon *d = arg;

	/* Without memory for the call the timer comes. */
	loop_wake(d->loop, deliver, d);
}

static void on_state_timer(void *arg)
{
	struct daemon *d = arg;

	loop_timer_set(d->state_timer, loop_now(d->loop) + STATE_LOOK);
	deliver(d);
}

/* What is changed from here on waits for no disk. */
static int begin_state(struct daemon *d)
{
	int r = loop_add_timer(d->loop, loop_now(d->loop) + STATE_LOOK, on_state_timer, d, &d->state_timer);

	return r ? r : state_begin_queue(d->state, on_state, d);
}

static void end_state(struct daemon *d)
{
	if (d->state && !state_settle(d->state, STATE_END))
		log_error("the disk of the state %s does not take the last changes: what was not answered is lost",
			  state_file(d->state));
}

int parts_begin(struct daemon *d)
{
	struct commit_parts commit = {
		.loop = d->loop, .boot = d->boot, .catalogue = d->catalogue, .state = d->state, .config = &d->config};
	int r;

	begin_images(d);
	r = begin_state(d);
	if (!r)
		r = alerts_new(&d->alerts, d, d->alert_fd);
	d->alert_fd = -1;
	if (!r)
		r = monitor_new(&d->monitor, d);
	if (!r)
		r = keeper_new(&d->keeper, d->loop, state_file(d->state));
	if (!r)
		r = open_image_watch(d);
	if (!r)
		r = commit_service_new(&d->commits, &commit);
	if (!r)
		r = loop_add_timer(d->loop, loop_now(d->loop) + SCAN_AFTER, on_scan, d, &d->scan_timer);
	if (!r)
		r = loop_add_timer(d->loop, loop_now(d->loop) + HTTP_RETRY, on_retry, d, &d->retry_timer);
	if (!r)
		r = open_uploads(d);
	if (r)
		return r;
	boot_adopt(d->boot);
	d->serving = true;
	config_look_at_room(d->config, report_room, NULL);
	return 0;
}

void parts_close(struct daemon *d)
{
	loop_source_free(d->scan_timer);
	loop_source_free(d->retry_timer);
	loop_source_free(d->state_timer);
	monitor_stop(d->monitor);
	alerts_stop(d->alerts);
	documents_stop(d->documents);
	rights_stop(d->rights);
	snapshots_free(d->snapshots);
	d->snapshots = NULL;
	dhcp_scan_free(d->scan);
	dhcp_server_free(d->dhcp); /* commits what it has, which may register PCs with boot */
	end_state(d);
	audit_stop(d->audit);
	upload_service_stop(d->uploads);
	commit_service_stop(d->commits);
	keeper_free(d->keeper);
	d->keeper = NULL;
	image_watch_free(d->image_watch);
	d->image_watch = NULL;
	boot_free(d->boot); /* answers who waits for a script: before those who asked are gone */
	catalogue_free(d->catalogue);
	tftp_server_free(d->tftp);
	http_free(d->http);
	http_free(d->control);
	netif_free(d->netif);
	if (d->targets)
		target_rescue(d->targets, 5); /* a helper thread that hangs in the kernel would hang the stop */
	loop_free(d->loop);
	monitor_free(d->monitor);
	alerts_free(d->alerts);
	documents_free(d->documents);
	rights_free(d->rights);
	audit_free(d->audit);
	access_free(d->access);
	free(d->tls_certificate);
	if (d->tls_key)
		explicit_bzero(d->tls_key, strlen(d->tls_key));
	free(d->tls_key);
	reader_free(d->reader);
	if (d->bpf_counting >= 0)
		close(d->bpf_counting);
	upload_service_free(d->uploads);
	commit_service_free(d->commits);
	targets_free(d->targets);
	state_free(d->state);
	config_free(d->config);
}
