// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What can be asked over HTTP: boot scripts by PCs, the rest by operators and by the command line. What each needs is
 * in rights.c: the unix socket, which only root can open, may everything. Documents and the page are answered on the
 * HTTP thread; all else on the loop. Every change is written to the audit log. Answers are JSON; a refusal is {"error":
 * "one sentence"}.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "daemon/boot/nonce.h"
#include "daemon/control/alerts.h"
#include "daemon/control/control.h"
#include "daemon/control/parts.h"
#include "daemon/control/rights.h"
#include "daemon/control/audit.h"
#include "daemon/config/value.h"
#include "daemon/core/log.h"
#include "daemon/control/page.h"
#include "daemon/control/status.h"
#include "daemon/boot/wake.h"
#include "daemon/core/inet.h"

#define SCAN_SECONDS 4

/* Status of the request that is being handled, and what the audit log will say of it; loop's thread. */
static unsigned int answered;
static json_t *auditing; /* NULL: it changes nothing, or is answered later */

static void reply_json(struct http_request *request, unsigned int status, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;

	json_decref(json);
	answered = status;
	if (text)
		http_reply(request, status, "application/json", text, strlen(text));
	else
		http_reply(request, 500, "text/plain", "out of memory\n", 14);
	free(text);
}

static void refuse(struct http_request *request, unsigned int status, const char *why)
{
	reply_json(request, status, json_pack("{s:s}", "error", why));
}

static unsigned int status_of(int error)
{
	switch (error) {
	case -ENOENT:
		return 404;
	case -EINVAL:
	case -EPERM:
	case -EMEDIUMTYPE:
	case -EISDIR:
	case -EBADMSG: /* a damaged image */
		return 400;
	case -ETIMEDOUT: /* a file does not answer */
	case -EAGAIN:
	case -ECANCELED:
		return 503;
	case -EEXIST:
	case -EBUSY:
	case -ENOTUNIQ: /* an image whose parent cannot be known */
		return 409;
	default:
		return 500;
	}
}

/* --- for PCs ---------------------------------------------------------------------------------- */

static void send_script(void *arg, const char *text, uint32_t length)
{
	http_reply(arg, 200, "text/plain", text, length);
}

static bool take_mac(struct http_request *request, uint8_t mac[6])
{
	const char *text = http_query(request, "mac");

	memset(mac, 0, 6);
	if (!text || !value_mac(text, mac))
		return true;
	refuse(request, 400, "mac must be a MAC address such as 52:54:00:12:34:56");
	return false;
}

/* /boot/NONCE/boot.ipxe and /boot/NONCE/name.ipxe, or without boot/NONCE. False: it is neither. */
static bool get_script(struct daemon *d, struct http_request *request, const char *path)
{
	struct boot_ask ask = {.address = http_peer(request), .server = http_server(request)};
	const char *name = http_query(request, "name");
	bool boots, names;
	char nonce[BOOT_NONCE_MAX];

	boots = boot_script_path(path + 1, "boot.ipxe", nonce);
	names = !boots && boot_script_path(path + 1, "name.ipxe", nonce);
	if (!boots && !names)
		return false;
	ask.nonce = nonce;
	ask.image = http_query(request, "image");
	ask.pc = http_query(request, "pc");
	if (!take_mac(request, ask.mac))
		return true;
	if (boots)
		boot_script(d->boot, &ask, send_script, request);
	else
		boot_script_name(d->boot, &ask, name ? name : "", send_script, request);
	return true;
}

/* Kernel and initrd of the capture system: what bootwell-capture-system made here, or what the appliance came with. */
static void get_capture(struct http_request *request, const char *name)
{
	const char *folders[] = {getenv("BOOTWELL_CAPTURE"), "/var/cache/bootwell/capture",
				 "/usr/share/bootwell/capture"};
	bool known = !strcmp(name, "vmlinuz") || !strcmp(name, "initrd.img");
	char path[512];
	struct stat st;
	int fd = -1;

	for (size_t i = 0; known && fd < 0 && i < sizeof(folders) / sizeof(folders[0]); i++) {
		if (!folders[i])
			continue;
		snprintf(path, sizeof(path), "%.400s/%s", folders[i], name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode)) {
		http_reply_file(request, fd, st.st_size);
		return;
	}
	if (fd >= 0)
		close(fd);
	refuse(request, 404, "there is no capture system here: bootwell-capture-system makes it");
}

/* A boot program by HTTP: a file beneath [tftp] root. */
static void get_nbp(struct daemon *d, struct http_request *request, const char *name)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	struct stat st;
	int dir, fd;

	dir = open(d->config->tftp_root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
	if (dir >= 0)
		close(dir);
	/* As by TFTP: what is not readable for all is not for the network. */
	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_mode & S_IROTH) {
		http_reply_file(request, fd, st.st_size);
		return;
	}
	if (fd >= 0)
		close(fd);
	refuse(request, 404, "there is no such boot program");
}

/* --- clients ---------------------------------------------------------------------------------- */

/* yes, no, or null for what configuration says. */
static bool take_tristate(json_t *body, const char *key, int *ret)
{
	json_t *value = json_object_get(body, key);

	*ret = !value ? BOOT_UNCHANGED : json_is_null(value) ? -1 : json_is_true(value);
	return !value || json_is_null(value) || json_is_boolean(value);
}

static bool take_string(json_t *body, const char *key, const char **ret)
{
	json_t *value = json_object_get(body, key);

	*ret = json_is_null(value) ? "" : json_string_value(value);
	return !value || json_is_string(value) || json_is_null(value);
}

static json_t *take_body(struct http_request *request)
{
	size_t length;
	const char *text = http_body(request, &length);
	json_t *body = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(body))
		return body;
	json_decref(body);
	refuse(request, 400, "the body must be a JSON object");
	return NULL;
}

static void patch_client(struct daemon *d, struct http_request *request, const char *name)
{
	json_t *body = take_body(request), *value;
	static const char *const known[] = {"name", "group", "image", "keep", "upload", "drop_write_back"};
	struct boot_change change = {};
	struct sentence error = {""};
	const char *key, *now;
	bool good;
	int r;

	if (!body)
		return;
	good = take_string(body, "name", &change.name) && take_string(body, "group", &change.group) &&
	       take_string(body, "image", &change.image) && take_tristate(body, "keep", &change.keep) &&
	       take_tristate(body, "upload", &change.upload);
	change.drop_write_back = json_is_true(json_object_get(body, "drop_write_back"));
	json_object_foreach(body, key, value)
	{
		bool found = false;

		for (unsigned int i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			found |= !strcmp(key, known[i]);
		good &= found;
	}
	if (!good) {
		refuse(request, 400,
		       "a client has name, group, image (text), keep, upload (true, false, null) "
		       "and "
		       "drop_write_back (true)");
		json_decref(body);
		return;
	}
	r = boot_change(d->boot, name, &change, &error);
	now = change.name ? change.name : name;
	if (r) {
		refuse(request, status_of(r), error.text);
	} else {
		answered = 200;
		documents_client(d->documents, now, false, request);
	}
	json_decref(body);
}

static void take_wake(void *arg, const struct boot_view *view)
{
	*(struct state_client *)arg = *view->client;
}

static void wake_client(struct daemon *d, struct http_request *request, const char *name)
{
	struct state_client client;
	struct sentence error = {""};
	int r;

	if (boot_view_name(d->boot, name, take_wake, &client)) {
		refuse(request, 404, "there is no such client");
		return;
	}
	r = wake_send(d->netif, d->config, client.mac, client.address, &error);
	if (r)
		refuse(request, 500, error.text);
	else
		reply_json(request, 200, json_pack("{s:s}", "woken", client.name));
}

static void delete_client(struct daemon *d, struct http_request *request, const char *name)
{
	struct sentence error = {""};
	int r = boot_remove(d->boot, name, &error);

	if (r)
		refuse(request, status_of(r), error.text);
	else
		reply_json(request, 200, json_pack("{s:s}", "removed", name));
}

static void move_client(struct daemon *d, struct http_request *request, const char *name)
{
	json_t *body = take_body(request);
	struct sentence error = {""};
	char now[CONFIG_HOST_MAX];
	const char *to;
	int r;

	if (!body)
		return;
	if (!take_string(body, "to", &to) || !to) {
		refuse(request, 400,
		       "a client is moved to the name of another one, or to a MAC address: to, and drop (true)");
	} else {
		r = boot_move(d->boot, name, to, json_is_true(json_object_get(body, "drop")), now, &error);
		if (r)
			refuse(request, status_of(r), error.text);
		else
			reply_json(request, 200,
				   json_pack("{s:s, s:s, s:s, s:s?}", "moved", name, "to", to, "name", now, "warning",
					     error.text[0] ? error.text : NULL));
	}
	json_decref(body);
}

/* Behind /api/clients/: NAME, NAME/boots, NAME/wake, NAME/move. */
static void on_client(struct daemon *d, struct http_request *request, const char *rest)
{
	const char *method = http_method(request), *slash = strchr(rest, '/');
	char name[64];

	snprintf(name, sizeof(name), "%.*s", slash ? (int)(slash - rest) : (int)strlen(rest), rest);
	if (!strcmp(method, "GET") && !slash)
		documents_client(d->documents, name, false, request);
	else if (!strcmp(method, "GET") && slash && !strcmp(slash, "/boots"))
		documents_client(d->documents, name, true, request);
	else if (!strcmp(method, "GET"))
		refuse(request, 404, "there is nothing here");
	else if (!strcmp(method, "PATCH") && !slash)
		patch_client(d, request, name);
	else if (!strcmp(method, "DELETE") && !slash)
		delete_client(d, request, name);
	else if (!strcmp(method, "POST") && slash && !strcmp(slash, "/wake"))
		wake_client(d, request, name);
	else if (!strcmp(method, "POST") && slash && !strcmp(slash, "/move"))
		move_client(d, request, name);
	else
		refuse(request, 405, "this cannot be done here");
}

/* --- what is answered later -------------------------------------------------------------------- */

static void changed(struct daemon *d);
static void settle(struct daemon *d, struct http_request *request, json_t *change);

/* A change that waits for files of images. */
struct later {
	struct daemon *d;
	struct http_request *request;
	json_t *change; /* for the audit log */
};

/* NULL: it was refused. */
static struct later *later_begin(struct daemon *d, struct http_request *request)
{
	struct later *later = calloc(1, sizeof(*later));

	if (!later) {
		refuse(request, 500, "out of memory");
		return NULL;
	}
	*later = (struct later){.d = d, .request = request, .change = auditing};
	auditing = NULL;
	return later;
}

/* It was answered just now. */
static void later_end(struct later *later)
{
	changed(later->d);
	if (later->change)
		settle(later->d, later->request, later->change);
	free(later);
}

/* --- images ----------------------------------------------------------------------------------- */

static void image_seen(void *arg, const struct state_image *seen, int result, const char *why)
{
	struct later *later = arg;
	struct daemon *d = later->d;
	struct sentence error = {""};
	struct state_image image;
	int r = result;

	if (r)
		sentence_set(&error, "%s", why);
	else
		r = catalogue_add(d->catalogue, seen, &image, &error);
	changed(d);
	if (r)
		refuse(later->request, status_of(r), error.text);
	else
		reply_json(later->request, 200,
			   json_pack("{s:s, s:i, s:s, s:I, s:s?}", "added", image.name, "generation",
				     (int)image.generation, "format", image.format, "size_bytes",
				     (json_int_t)image.virtual_size, "warning", error.text[0] ? error.text : NULL));
	later_end(later);
}

static void post_image(struct daemon *d, struct http_request *request)
{
	json_t *body = take_body(request);
	const char *name, *file, *format, *wrong = NULL;
	struct sentence error = {""};
	char copy[256];
	struct state_image image;
	struct later *later;

	if (!body)
		return;
	if (!take_string(body, "name", &name) || !take_string(body, "file", &file) ||
	    !take_string(body, "format", &format) || !name || !file) {
		refuse(request, 400, "an image needs name and file, and may have format");
		json_decref(body);
		return;
	}
	wrong = value_name(name, copy, CONFIG_NAME_MAX);
	if (!wrong)
		wrong = value_beneath(file, copy, sizeof(copy));
	if (wrong) {
		sentence_set(&error, "\"%.200s\" %s", value_name(name, copy, CONFIG_NAME_MAX) ? name : file, wrong);
		refuse(request, 400, error.text);
	} else if ((later = later_begin(d, request))) {
		catalogue_prepare(d->catalogue, name, file, format ? format : "",
				  json_integer_value(json_object_get(body, "size")), &image);
		catalogue_look(d->catalogue, d->config, &image, image_seen, later);
	}
	json_decref(body);
}

#define USERS_NAMED 8

struct image_users {
	char text[USERS_NAMED * 20];
	unsigned int n;
};

static void add_user(void *arg, const char *client)
{
	struct image_users *u = arg;
	size_t length = strlen(u->text);

	if (u->n++ < USERS_NAMED)
		snprintf(u->text + length, sizeof(u->text) - length, "%s%s", length ? ", " : "", client);
}

/* True, and it was refused: PCs have the image as their disk. */
static bool refuse_used(struct daemon *d, struct http_request *request, const char *name)
{
	struct image_users users = {};
	char error[400], more[40] = "";

	boot_image_users(d->boot, name, 0, add_user, &users);
	if (!users.n)
		return false;
	if (users.n > USERS_NAMED)
		snprintf(more, sizeof(more), " and %u more", users.n - USERS_NAMED);
	snprintf(error, sizeof(error), "image %.63s is the disk of %s%s: switch %s off, or give another image", name,
		 users.text, more, users.n == 1 ? "it" : "them");
	refuse(request, 409, error);
	return true;
}

static void delete_image(struct daemon *d, struct http_request *request, const char *name)
{
	struct sentence error = {""};
	int r;

	if (refuse_used(d, request, name))
		return;
	r = catalogue_remove(d->catalogue, d->config, name, &error);
	if (r)
		refuse(request, status_of(r), error.text);
	else
		reply_json(request, 200, json_pack("{s:s}", "removed", name));
}

/*
 * POST /api/images/NAME/session {"client":text} and DELETE: the super client. POST /api/images/NAME/commit
 * {"format":text, "look":bool} and DELETE: begins, stops. GET says how it goes.
 */
static void on_session(struct daemon *d, struct http_request *request, const char *image, bool commit)
{
	bool begin = !strcmp(http_method(request), "POST");
	json_t *body = begin ? take_body(request) : json_object();
	const char *client = NULL, *format = NULL;
	struct sentence error = {""};
	int r;

	if (!body)
		return;
	if (!take_string(body, "client", &client) || !take_string(body, "format", &format) ||
	    (begin && !commit && !client)) {
		r = -EINVAL;
		sentence_set(&error, "a session needs a client; a commit may have format and look");
	} else if (commit && begin) {
		r = commit_service_begin(d->commits, image, format ? format : "",
					 json_is_true(json_object_get(body, "look")), &error);
	} else if (commit) {
		r = commit_service_cancel(d->commits, image, &error);
	} else if (begin) {
		r = boot_session_begin(d->boot, client, image, &error);
	} else {
		r = boot_session_end(d->boot, image, &error);
	}
	if (r)
		refuse(request, status_of(r), error.text);
	else
		reply_json(request, 200, commit ? commit_service_json(d->commits) : json_pack("{s:s}", "image", image));
	json_decref(body);
}

/* POST /api/images/NAME/rollback {"generation":n}, /api/images/NAME/rename {"to":text} */
static void change_image(struct daemon *d, struct http_request *request, const char *name, const char *what)
{
	struct sentence error = {""};
	char copy[CONFIG_NAME_MAX];
	struct state_image image = {};
	json_t *body = take_body(request);
	const char *to = NULL, *wrong = NULL;
	int r = -EINVAL;

	if (!body)
		return;
	if (!strcmp(what, "rollback")) {
		r = catalogue_rollback(d->catalogue, name, json_integer_value(json_object_get(body, "generation")),
				       &image, &error);
	} else if (!take_string(body, "to", &to) || !to) {
		sentence_set(&error, "a new name is needed");
	} else if ((wrong = value_name(to, copy, CONFIG_NAME_MAX))) {
		sentence_set(&error, "\"%.100s\" %s", to, wrong);
	} else if (refuse_used(d, request, name)) {
		json_decref(body);
		return;
	} else {
		r = catalogue_rename(d->catalogue, d->config, name, to, &error);
	}
	if (r)
		refuse(request, status_of(r), error.text);
	else
		reply_json(request, 200,
			   json_pack("{s:s, s:i}", "image", to ? to : name, "generation", (int)image.generation));
	json_decref(body);
}

/* POST /api/images/NAME/checked {"generation":n, "outcome":text}: what `bootwell image verify` found. */
static void image_checked(struct daemon *d, struct http_request *request, const char *image)
{
	json_t *body = take_body(request);
	struct sentence error = {""};
	enum image_outcome outcome;
	int r;

	if (!body)
		return;
	r = image_outcome_from_word(json_string_value(json_object_get(body, "outcome")), &outcome);
	if (r)
		sentence_set(&error, "outcome: is good, damaged, absent or unreadable");
	else
		r = catalogue_checked(d->catalogue, image,
				      (uint32_t)json_integer_value(json_object_get(body, "generation")), outcome,
				      &error);
	if (r)
		refuse(request, status_of(r), error.text);
	else
		reply_json(request, 200, json_pack("{s:s}", "image", image));
	json_decref(body);
}

/* POST /api/images/NAME/mend {"format":text}: what the doctor can mend becomes the next generation. GET .../commit says
 * how it goes. */
static void mend_image(struct daemon *d, struct http_request *request, const char *image)
{
	json_t *body = take_body(request);
	const char *format = NULL;
	struct sentence error = {""};
	int r = -EINVAL;

	if (!body)
		return;
	if (!take_string(body, "format", &format))
		sentence_set(&error, "the format is vmdk or vhd");
	else
		r = commit_service_mend(d->commits, image, format ? format : "", &error);
	if (r)
		refuse(request, status_of(r), error.text);
	else
		reply_json(request, 200, commit_service_json(d->commits));
	json_decref(body);
}

static void on_image(struct daemon *d, struct http_request *request, const char *name)
{
	const char *method = http_method(request), *slash = name ? strchr(name, '/') : NULL;
	char image[CONFIG_NAME_MAX];

	if (slash && (size_t)(slash - name) < sizeof(image))
		snprintf(image, sizeof(image), "%.*s", (int)(slash - name), name);
	if (!strcmp(method, "GET") && !name)
		documents_reply(d->documents, DOCUMENT_IMAGES, http_is_local(request), request);
	else if (!strcmp(method, "GET") && slash && !strcmp(slash, "/commit"))
		reply_json(request, 200, commit_service_json(d->commits));
	else if (!strcmp(method, "GET"))
		refuse(request, 404, "there is nothing here");
	else if (!strcmp(method, "POST") && !name)
		post_image(d, request);
	else if (!strcmp(method, "POST") && slash && (size_t)(slash - name) < sizeof(image) &&
		 (!strcmp(slash, "/rollback") || !strcmp(slash, "/rename")))
		change_image(d, request, image, slash + 1);
	else if (!strcmp(method, "POST") && slash && (size_t)(slash - name) < sizeof(image) && !strcmp(slash, "/mend"))
		mend_image(d, request, image);
	else if (!strcmp(method, "POST") && slash && (size_t)(slash - name) < sizeof(image) &&
		 !strcmp(slash, "/checked"))
		image_checked(d, request, image);
	else if (slash && (size_t)(slash - name) < sizeof(image) &&
		 (!strcmp(slash, "/session") || !strcmp(slash, "/commit")) &&
		 (!strcmp(method, "POST") || !strcmp(method, "DELETE")))
		on_session(d, request, image, !strcmp(slash, "/commit"));
	else if (!strcmp(method, "DELETE") && name && !slash)
		delete_image(d, request, name);
	else
		refuse(request, 405, "this cannot be done here");
}

/* --- other DHCP servers ----------------------------------------------------------------------- */

static void scan_done(void *arg, const struct dhcp_scan_server *servers, unsigned int count, int error)
{
	struct daemon *d = arg;
	struct http_request *waiter = d->scan_waiter;

	d->scan_waiter = NULL;
	dhcp_scan_free(d->scan);
	d->scan = NULL;
	if (!error) {
		d->scanned = time(NULL);
		d->rogues = 0;
	}
	for (unsigned int i = 0; !error && i < count; i++) {
		if (servers[i].ours || dhcp_server_is_peer(d->dhcp, servers[i].server))
			continue;
		d->rogue[d->rogues++] = servers[i];
		log_limited(8, LOG_LEVEL_WARNING, "another DHCP server answers on %s: %s; stop one of the two",
			    servers[i].interface, inet_text(servers[i].server).s);
	}
	if (error)
		log_limited(2, LOG_LEVEL_WARNING, "cannot look for other DHCP servers: %s", strerror(-error));
	if (waiter && error)
		refuse(waiter, 500, strerror(-error));
	else if (waiter)
		reply_json(waiter, 200, dhcp_scan_json(d->rogue, d->rogues));
}

static void control_scan(struct daemon *d, struct http_request *request)
{
	const char *interface = request ? http_query(request, "interface") : NULL;
	int r;

	if (d->scan) {
		if (request)
			refuse(request, 409, "a scan is under way: ask again in a few seconds");
		return;
	}
	d->scan_waiter = request;
	r = dhcp_scan_start(&d->scan, d->loop, d->netif, interface ? interface : "", SCAN_SECONDS, scan_done, d);
	if (!r)
		return;
	d->scan_waiter = NULL;
	if (request)
		refuse(request, status_of(r),
		       r == -ENOENT || r == -ENODEV ? "there is no such interface" : strerror(-r));
	else
		log_warning("cannot look for other DHCP servers: %s", strerror(-r));
}

/* POST /api/dhcp/free {"address":text} or {"unbooted":true} or {"all":true} */
static void free_leases(struct daemon *d, struct http_request *request)
{
	json_t *body = take_body(request);
	const char *text = NULL;
	bool unbooted, all;
	uint32_t address = 0;
	unsigned int n;

	if (!body)
		return;
	unbooted = json_is_true(json_object_get(body, "unbooted"));
	all = json_is_true(json_object_get(body, "all"));
	if (!take_string(body, "address", &text) || (text ? 1 : 0) + unbooted + all != 1 ||
	    (text && value_address(text, &address))) {
		refuse(request, 400, "name one address, or \"unbooted\", or \"all\"");
		json_decref(body);
		return;
	}
	n = dhcp_server_free_leases(d->dhcp, address, unbooted);
	log_notice("%u addresses were freed by an operator: %s", n, text ? text : unbooted ? "not gone on" : "all");
	if (text && !n)
		refuse(request, 404, "that address is not given to anybody");
	else
		reply_json(request, 200, json_pack("{s:i}", "freed", (int)n));
	json_decref(body);
}

/* --- the table -------------------------------------------------------------------------------- */

static bool begins(const char *path, const char *with)
{
	return !strncmp(path, with, strlen(with));
}

static void on_get(struct daemon *d, struct http_request *request, const char *path)
{
	const struct page_file *page;

	if (get_script(d, request, path))
		return;
	if (begins(path, "/nbp/"))
		get_nbp(d, request, path + strlen("/nbp/"));
	else if (begins(path, "/capture/"))
		get_capture(request, path + strlen("/capture/"));
	else if (!strcmp(path, "/status"))
		documents_reply(d->documents, DOCUMENT_STATUS, http_is_local(request), request);
	else if (!strcmp(path, "/api/alerts"))
		reply_json(request, 200, alerts_json(d->alerts));
	else if (!strcmp(path, "/api/audit"))
		audit_reply(d->audit, request);
	else if (!strcmp(path, "/metrics"))
		monitor_scrape(d->monitor, request, http_is_local(request));
	else if (!strcmp(path, "/api/clients"))
		documents_reply(d->documents, DOCUMENT_CLIENTS, http_is_local(request), request);
	else if ((page = page_find(path)))
		http_reply_page(request, page->type, page->data, page->end - page->data);
	else
		refuse(request, 404, "there is nothing here; see /, /status and /metrics");
}

static void tell_operator(struct daemon *d, struct http_request *request)
{
	struct access_who who;

	rights_known(d->access, request, ACCESS_ROLE_SEE, &who);
	reply_json(
		request, 200,
		json_pack("{s:b, s:s, s:s}", "operator", true, "name", who.name, "role", access_role_name(who.role)));
}

static void reloaded(void *arg, int64_t id, const char *why)
{
	struct later *later = arg;
	struct daemon *d = later->d;

	(void)id;
	changed(d);
	if (why)
		refuse(later->request, 503, why);
	else
		reply_json(later->request, 200,
			   json_pack("{s:s, s:s?}", "read", d->config->file, "kept",
				     d->config_kept[0] ? d->config_kept : NULL));
	later_end(later);
}

/* Answered when its images were looked at, so that who asks for them next sees them. */
static void reload(struct daemon *d, struct http_request *request)
{
	struct later *later;

	if (parts_reload(d))
		refuse(request, 400, d->config_refused);
	else if ((later = later_begin(d, request)))
		catalogue_when_settled(d->catalogue, reloaded, later);
}

static void alerts_tested(void *arg, json_t *results)
{
	struct later *later = arg;

	changed(later->d);
	reply_json(later->request, 200, json_pack("{s:o}", "results", results));
	later_end(later);
}

/* POST /api/alerts/test */
static void test_alerts(struct daemon *d, struct http_request *request)
{
	struct later *later = later_begin(d, request);
	int r = later ? alerts_test(d->alerts, alerts_tested, later) : 0;

	if (!r)
		return;
	refuse(request, r == -ENOENT ? 409 : 500,
	       r == -ENOENT ? "the configuration has no [alert] with mail, webhook or command: bootwell.conf(5)"
			    : "out of memory");
	later_end(later);
}

static void on_post(struct daemon *d, struct http_request *request, const char *path)
{
	if (!strcmp(path, "/api/dhcp/scan"))
		control_scan(d, request);
	else if (!strcmp(path, "/api/dhcp/free"))
		free_leases(d, request);
	else if (!strcmp(path, "/api/operator"))
		tell_operator(d, request); /* the token is the right one */
	else if (!strcmp(path, "/api/alerts/test"))
		test_alerts(d, request);
	else if (!strcmp(path, "/api/reload"))
		reload(d, request);
	else
		refuse(request, 404, "there is nothing here");
}

static void route(struct daemon *d, struct http_request *request, const char *path, const char *method)
{
	if (begins(path, "/api/clients/"))
		on_client(d, request, path + strlen("/api/clients/"));
	else if (!strcmp(path, "/api/images"))
		on_image(d, request, NULL);
	else if (begins(path, "/api/images/"))
		on_image(d, request, path + strlen("/api/images/"));
	else if (!strcmp(method, "GET") || !strcmp(method, "HEAD"))
		on_get(d, request, path);
	else if (!strcmp(method, "POST"))
		on_post(d, request, path);
	else
		refuse(request, 405, "this cannot be done here");
}

/* What was made before is not shown any more. */
static void changed(struct daemon *d)
{
	documents_changed(d->documents);
	monitor_changed(d->monitor);
}

/* --- what is written down ---------------------------------------------------------------------- */

/* A client as a person may set it; null: there is none. */
static void take_settings(void *arg, const struct boot_view *v)
{
	const struct state_client *c = v->client;

	*(json_t **)arg = json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", c->name, "group", c->group, "image", c->image,
				    "keep", c->keep < 0 ? json_null() : json_boolean(c->keep), "upload",
				    c->upload < 0 ? json_null() : json_boolean(c->upload));
}

static void end_audit(struct daemon *d, json_t *change);

/* A change that is made, and answered when it is on the disk. */
struct settling {
	struct daemon *d;
	struct http_request *request;
	json_t *change;
	unsigned int answered;
};

static void settled(void *arg, int result)
{
	struct settling *s = arg;
	char text[600];

	/* At the end who waits is told by http_free(). */
	if (result == -ECANCELED) {
		json_decref(s->change);
		free(s);
		return;
	}
	answered = result && s->answered < 300 ? 500 : s->answered;
	end_audit(s->d, s->change);
	if (result)
		snprintf(text, sizeof(text),
			 "{\"error\": \"it is so now, but cannot be written to the state (%.300s): a restart would "
			 "forget it; it is tried again until it can be\"}\n",
			 state_error(s->d->state));
	http_release(s->request, answered == 500 && result ? text : NULL);
	free(s);
}

/* The answer to `request` was given, or is being made: it goes when what was changed is on the disk. */
static void settle(struct daemon *d, struct http_request *request, json_t *change)
{
	struct settling *s = answered < 300 ? calloc(1, sizeof(*s)) : NULL;

	if (!s) { /* it was refused, mostly */
		end_audit(d, change);
		http_release(request, NULL);
		return;
	}
	*s = (struct settling){.d = d, .request = request, .change = change, .answered = answered};
	state_when(d->state, state_position(d->state), settled, s);
}

/* What a change of `path` is about, as it is now. */
static json_t *thing_of(struct daemon *d, const char *path)
{
	char name[CONFIG_NAME_MAX];
	const char *at = NULL;
	json_t *o = NULL;

	if (begins(path, "/api/clients/")) {
		at = path + strlen("/api/clients/");
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, "/"), at);
		boot_view_name(d->boot, name, take_settings, &o);
	} else if (begins(path, "/api/images/")) {
		struct state_image image;

		at = path + strlen("/api/images/");
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, "/"), at);
		if (state_image_current(d->state, name, &image) > 0)
			o = json_pack("{s:s, s:i, s:s}", "name", image.name, "generation", (int)image.generation,
				      "file", image.file);
	}
	return o ? o : json_null();
}

/* A body is shown as the object that it is, as long as it is short. */
static json_t *body_of(struct http_request *request)
{
	size_t length;
	const char *text = http_body(request, &length);
	json_t *body = length < 4096 ? json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL) : NULL;

	return body ? body : json_null();
}

static json_t *begin_audit(struct daemon *d, struct http_request *request, const struct access_who *who)
{
	char time_text[32];
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(time_text, sizeof(time_text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "time", time_text, "who", who->name, "from",
			 http_is_local(request) ? "this machine" : inet_text(http_peer(request)).s, "method",
			 http_method(request), "path", http_path(request), "body", body_of(request), "before",
			 thing_of(d, http_path(request)));
}

static void end_audit(struct daemon *d, json_t *change)
{
	/* What was renamed is found by its new name. */
	const char *path = json_string_value(json_object_get(change, "path"));
	const char *to = json_string_value(json_object_get(json_object_get(change, "body"), "name"));
	char now[300];

	if (to && begins(path, "/api/clients/"))
		snprintf(now, sizeof(now), "/api/clients/%s", to);
	else
		snprintf(now, sizeof(now), "%s", path);
	json_object_set_new(change, "status", json_integer(answered));
	json_object_set_new(change, "after", thing_of(d, now));
	audit_write(d->audit, change);
}

static bool is_change(const char *method, const char *path)
{
	return strcmp(method, "GET") && strcmp(method, "HEAD") && strcmp(path, "/api/operator") &&
	       strcmp(path, "/api/dhcp/scan");
}

/* --- both threads ------------------------------------------------------------------------------ */

static void control_request(void *arg, struct http_request *request)
{
	struct daemon *d = arg;
	const char *method = http_method(request), *path = http_path(request);
	enum access_role needed = rights_needed(d->access, method, path);
	struct access_who who;
	int r;

	if (rights_refuse_host(d->access, request))
		return;
	r = rights_known(d->access, request, needed, &who);
	if (r == -EAGAIN) {
		rights_check(d->rights, request);
	} else if (r) {
		rights_refuse(request, needed, &who);
	} else if (is_change(method, path)) {
		/* Once it is answered the request may be gone at any moment. */
		auditing = begin_audit(d, request, &who);
		answered = 0;
		changed(d);
		http_hold(request);
		route(d, request, path, method);
		changed(d);
		if (auditing)
			settle(d, request, auditing);
		auditing = NULL;
	} else {
		route(d, request, path, method);
	}
}

static void control_request_again(struct daemon *d, struct http_request *request)
{
	control_request(d, request);
}

static bool early_document(struct daemon *d, struct http_request *request, const char *path)
{
	if (!strcmp(path, "/status"))
		return documents_early(d->documents, DOCUMENT_STATUS, request);
	if (!strcmp(path, "/api/clients"))
		return documents_early(d->documents, DOCUMENT_CLIENTS, request);
	if (!strcmp(path, "/api/images"))
		return documents_early(d->documents, DOCUMENT_IMAGES, request);
	return false;
}

/* For who watches over us: that the loop goes round, and that it serves. */
static void tell_health(struct daemon *d, struct http_request *request, const char *path)
{
	bool good =
		!strcmp(path, "/-/ready") ? documents_alive(d->documents) && d->serving : documents_alive(d->documents);

	if (good)
		http_reply(request, 200, "text/plain", "OK\n", 3);
	else
		http_reply(request, 503, "text/plain", "not now\n", 8);
}

/* The page is for operators, who have tokens. */
static bool send_to_tls(struct http_request *request, const char *path)
{
	const char *host = http_header(request, "Host");
	char to[400];

	if (!host)
		return false;
	snprintf(to, sizeof(to), "https://%.300s%s", host, path);
	http_reply_with(request, 308, "text/plain", "by https\n", 9, "Location", to);
	return true;
}

/* What needs neither the loop nor anything of it. */
static bool control_early(void *arg, struct http_request *request)
{
	struct daemon *d = arg;
	const char *path = http_path(request), *method = http_method(request);
	enum access_role needed = rights_needed(d->access, method, path);
	const struct page_file *page;
	struct access_who who;
	int r;

	if (rights_refuse_host(d->access, request))
		return true;
	r = rights_known(d->access, request, needed, &who);
	if (r == -EACCES)
		rights_refuse(request, needed, &who);
	if (r)
		return r == -EACCES;
	if (strcmp(method, "GET") && strcmp(method, "HEAD"))
		return false;
	if (begins(path, "/-/")) {
		tell_health(d, request, path);
		return true;
	}
	page = page_find(path);
	if (page && http_has_tls(request) && !http_is_tls(request) && send_to_tls(request, path))
		return true;
	if (page)
		http_reply_page(request, page->type, page->data, page->end - page->data);
	return page || early_document(d, request, path);
}

const struct parts_calls control_calls = {
	.request = control_request, .early = control_early, .again = control_request_again, .scan = control_scan};
