// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What can be asked over HTTP: boot scripts by PCs, status and metrics by everybody, the rest by
 * the command line. Changes need the unix socket, which only root can open, or the operator's token
 * ([http] token) as `Authorization: Bearer TOKEN`. Answers are JSON; a refusal is {"error": "one
 * sentence"}.
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

#include "daemon/bootwelld.h"
#include "daemon/config_value.h"
#include "daemon/log.h"
#include "daemon/page.h"
#include "daemon/status.h"
#include "daemon/wake.h"

#define SCAN_SECONDS 4

static void reply_json(struct http_request *request, unsigned int status, json_t *json)
{
	char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;

	json_decref(json);
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
	case -EBADMSG: /* a damaged image */
		return 400;
	case -EEXIST:
	case -EBUSY:
		return 409;
	default:
		return 500;
	}
}

/* Compares in a time that does not depend on where they differ. */
static bool same_secret(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	unsigned char differ = la != lb;

	for (size_t i = 0; i < la && i < lb; i++)
		differ |= a[i] ^ b[i];
	return !differ;
}

static bool may_change(const struct daemon *d, const struct http_request *request)
{
	const char *header = http_header(request, "Authorization");

	if (http_is_local(request))
		return true;
	return d->config->token[0] && header && !strncmp(header, "Bearer ", 7) &&
	       same_secret(header + 7, d->config->token);
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

static void get_boot_script(struct daemon *d, struct http_request *request)
{
	uint8_t mac[6];

	if (take_mac(request, mac))
		boot_script_image(d->boot, http_peer(request), mac, http_server(request),
				  http_query(request, "image"), send_script, request);
}

static void get_name_script(struct daemon *d, struct http_request *request)
{
	const char *name = http_query(request, "name");
	uint8_t mac[6];

	if (take_mac(request, mac))
		boot_script_name(d->boot, http_peer(request), mac, name ? name : "", send_script,
				 request);
}

/* Kernel and initrd of the capture system: what bootwell-capture-system made here, or what the appliance came with. */
static void get_capture(struct http_request *request, const char *name)
{
	const char *folders[] = {getenv("BOOTWELL_CAPTURE"), "/var/cache/bootwell/capture", "/usr/share/bootwell/capture"};
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
	static const char *const known[] = {"name", "group",  "image",
					    "keep", "upload", "drop_write_back"};
	struct boot_change change = {};
	char error[BOOT_ERROR_MAX];
	const char *key, *now;
	bool good;
	int r;

	if (!body)
		return;
	good = take_string(body, "name", &change.name) &&
	       take_string(body, "group", &change.group) &&
	       take_string(body, "image", &change.image) &&
	       take_tristate(body, "keep", &change.keep) &&
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
	r = boot_change(d->boot, name, &change, error);
	now = change.name ? change.name : name;
	if (r)
		refuse(request, status_of(r), error);
	else
		reply_json(request, 200, status_client(d, now));
	json_decref(body);
}

static void take_wake(void *arg, const struct boot_view *view)
{
	*(struct store_client *)arg = *view->client;
}

static void wake_client(struct daemon *d, struct http_request *request, const char *name)
{
	struct store_client client;
	char error[WAKE_ERROR_MAX];
	int r;

	if (boot_view_name(d->boot, name, take_wake, &client)) {
		refuse(request, 404, "there is no such client");
		return;
	}
	r = wake_send(d->netif, d->config, client.mac, client.address, error);
	if (r)
		refuse(request, 500, error);
	else
		reply_json(request, 200, json_pack("{s:s}", "woken", client.name));
}

static void delete_client(struct daemon *d, struct http_request *request, const char *name)
{
	char error[BOOT_ERROR_MAX];
	int r = boot_remove(d->boot, name, error);

	if (r)
		refuse(request, status_of(r), error);
	else
		reply_json(request, 200, json_pack("{s:s}", "removed", name));
}

static void get_client(struct daemon *d, struct http_request *request, json_t *json)
{
	(void)d;
	if (json)
		reply_json(request, 200, json);
	else
		refuse(request, 404,
		       "there is no such client; \"bootwell client list\" shows them");
}

/* Behind /api/clients/: NAME, NAME/boots, NAME/wake. */
static void on_client(struct daemon *d, struct http_request *request, const char *rest)
{
	const char *method = http_method(request), *slash = strchr(rest, '/');
	char name[64];

	snprintf(name, sizeof(name), "%.*s", slash ? (int)(slash - rest) : (int)strlen(rest), rest);
	if (!strcmp(method, "GET") && !slash)
		get_client(d, request, status_client(d, name));
	else if (!strcmp(method, "GET") && slash && !strcmp(slash, "/boots"))
		get_client(d, request, status_boots(d, name));
	else if (!strcmp(method, "GET"))
		refuse(request, 404, "there is nothing here");
	else if (!may_change(d, request))
		refuse(request, 403, "changes need root's socket or the operator's token");
	else if (!strcmp(method, "PATCH") && !slash)
		patch_client(d, request, name);
	else if (!strcmp(method, "DELETE") && !slash)
		delete_client(d, request, name);
	else if (!strcmp(method, "POST") && slash && !strcmp(slash, "/wake"))
		wake_client(d, request, name);
	else
		refuse(request, 405, "this cannot be done here");
}

/* --- images ----------------------------------------------------------------------------------- */

static void post_image(struct daemon *d, struct http_request *request)
{
	json_t *body = take_body(request);
	const char *name, *file, *format, *wrong = NULL;
	char copy[256], error[CATALOGUE_ERROR_MAX];
	struct store_image image;
	int r;

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
		snprintf(error, sizeof(error), "\"%.200s\" %s",
			 value_name(name, copy, CONFIG_NAME_MAX) ? name : file, wrong);
		refuse(request, 400, error);
	} else {
		r = catalogue_add(d->catalogue, d->config, name, file, format ? format : "",
				  json_integer_value(json_object_get(body, "size")), &image, error);
		if (r)
			refuse(request, status_of(r), error);
		else
			reply_json(request, 200,
				   json_pack("{s:s, s:s, s:I}", "added", image.name, "format",
					     image.format, "size_bytes",
					     (json_int_t)image.virtual_size));
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
	snprintf(error, sizeof(error), "image %.63s is the disk of %s%s: switch %s off, or give another image", name, users.text, more,
		 users.n == 1 ? "it" : "them");
	refuse(request, 409, error);
	return true;
}

static void delete_image(struct daemon *d, struct http_request *request, const char *name)
{
	char error[CATALOGUE_ERROR_MAX];
	int r;

	if (refuse_used(d, request, name))
		return;
	r = catalogue_remove(d->catalogue, d->config, name, error);
	if (r)
		refuse(request, status_of(r), error);
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
	char error[BOOT_ERROR_MAX] = "";
	int r;

	if (!body)
		return;
	if (!take_string(body, "client", &client) || !take_string(body, "format", &format) || (begin && !commit && !client)) {
		r = -EINVAL;
		snprintf(error, sizeof(error), "a session needs a client; a commit may have format and look");
	} else if (commit && begin) {
		r = commit_service_begin(d->commits, image, format ? format : "", json_is_true(json_object_get(body, "look")), error);
	} else if (commit) {
		r = commit_service_cancel(d->commits, image, error);
	} else if (begin) {
		r = boot_session_begin(d->boot, client, image, error);
	} else {
		r = boot_session_end(d->boot, image, error);
	}
	if (r)
		refuse(request, status_of(r), error);
	else
		reply_json(request, 200, commit ? commit_service_json(d->commits) : json_pack("{s:s}", "image", image));
	json_decref(body);
}

/* POST /api/images/NAME/rollback {"generation":n}, /api/images/NAME/rename {"to":text} */
static void change_image(struct daemon *d, struct http_request *request, const char *name, const char *what)
{
	char error[CATALOGUE_ERROR_MAX] = "", copy[CONFIG_NAME_MAX];
	struct store_image image = {};
	json_t *body = take_body(request);
	const char *to = NULL, *wrong = NULL;
	int r = -EINVAL;

	if (!body)
		return;
	if (!strcmp(what, "rollback")) {
		r = catalogue_rollback(d->catalogue, name,
				       json_integer_value(json_object_get(body, "generation")), &image, error);
	} else if (!take_string(body, "to", &to) || !to) {
		snprintf(error, sizeof(error), "a new name is needed");
	} else if ((wrong = value_name(to, copy, CONFIG_NAME_MAX))) {
		snprintf(error, sizeof(error), "\"%.100s\" %s", to, wrong);
	} else if (refuse_used(d, request, name)) {
		json_decref(body);
		return;
	} else {
		r = catalogue_rename(d->catalogue, d->config, name, to, error);
	}
	if (r)
		refuse(request, status_of(r), error);
	else
		reply_json(request, 200, json_pack("{s:s, s:i}", "image", to ? to : name, "generation",
						   (int)image.generation));
	json_decref(body);
}

/* POST /api/images/NAME/checked {"generation":n, "failed":bool}: what `bootwell image verify` found. */
static void image_checked(struct daemon *d, struct http_request *request, const char *image)
{
	json_t *body = take_body(request);
	char error[CATALOGUE_ERROR_MAX];
	int r;

	if (!body)
		return;
	r = catalogue_checked(d->catalogue, image, (uint32_t)json_integer_value(json_object_get(body, "generation")),
			      json_is_true(json_object_get(body, "failed")), error);
	if (r)
		refuse(request, status_of(r), error);
	else
		reply_json(request, 200, json_pack("{s:s}", "image", image));
	json_decref(body);
}

/* POST /api/images/NAME/mend {"format":text}: what the doctor can mend becomes the next generation. GET .../commit says how it goes. */
static void mend_image(struct daemon *d, struct http_request *request, const char *image)
{
	json_t *body = take_body(request);
	const char *format = NULL;
	char error[BOOT_ERROR_MAX] = "";
	int r = -EINVAL;

	if (!body)
		return;
	if (!take_string(body, "format", &format))
		snprintf(error, sizeof(error), "the format is vmdk or vhd");
	else
		r = commit_service_mend(d->commits, image, format ? format : "", error);
	if (r)
		refuse(request, status_of(r), error);
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
		reply_json(request, 200, status_images(d));
	else if (!strcmp(method, "GET") && slash && !strcmp(slash, "/commit"))
		reply_json(request, 200, commit_service_json(d->commits));
	else if (!strcmp(method, "GET"))
		refuse(request, 404, "there is nothing here");
	else if (!may_change(d, request))
		refuse(request, 403, "changes need root's socket or the operator's token");
	else if (!strcmp(method, "POST") && !name)
		post_image(d, request);
	else if (!strcmp(method, "POST") && slash && (size_t)(slash - name) < sizeof(image) &&
		 (!strcmp(slash, "/rollback") || !strcmp(slash, "/rename")))
		change_image(d, request, image, slash + 1);
	else if (!strcmp(method, "POST") && slash && (size_t)(slash - name) < sizeof(image) && !strcmp(slash, "/mend"))
		mend_image(d, request, image);
	else if (!strcmp(method, "POST") && slash && (size_t)(slash - name) < sizeof(image) && !strcmp(slash, "/checked"))
		image_checked(d, request, image);
	else if (slash && (size_t)(slash - name) < sizeof(image) && (!strcmp(slash, "/session") || !strcmp(slash, "/commit")) &&
		 (!strcmp(method, "POST") || !strcmp(method, "DELETE")))
		on_session(d, request, image, !strcmp(slash, "/commit"));
	else if (!strcmp(method, "DELETE") && name && !slash)
		delete_image(d, request, name);
	else
		refuse(request, 405, "this cannot be done here");
}

/* --- other DHCP servers ----------------------------------------------------------------------- */

static void scan_done(void *arg, const struct dhcp_scan_server *servers, unsigned int count,
		      int error)
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
		if (servers[i].ours)
			continue;
		d->rogue[d->rogues++] = servers[i];
		log_warning("another DHCP server answers on %s: %u.%u.%u.%u; stop one of the two",
			    servers[i].interface, servers[i].server >> 24,
			    servers[i].server >> 16 & 255, servers[i].server >> 8 & 255,
			    servers[i].server & 255);
	}
	if (error)
		log_warning("cannot look for other DHCP servers: %s", strerror(-error));
	if (waiter && error)
		refuse(waiter, 500, strerror(-error));
	else if (waiter)
		reply_json(waiter, 200, status_servers(d->rogue, d->rogues));
}

void control_scan(struct daemon *d, struct http_request *request)
{
	const char *interface = request ? http_query(request, "interface") : NULL;
	int r;

	if (d->scan) {
		if (request)
			refuse(request, 409, "a scan is under way: ask again in a few seconds");
		return;
	}
	d->scan_waiter = request;
	r = dhcp_scan_start(&d->scan, d->loop, d->netif, interface ? interface : "", SCAN_SECONDS,
			    scan_done, d);
	if (!r)
		return;
	d->scan_waiter = NULL;
	if (request)
		refuse(request, status_of(r),
		       r == -ENOENT || r == -ENODEV ? "there is no such interface" : strerror(-r));
	else
		log_warning("cannot look for other DHCP servers: %s", strerror(-r));
}

/* --- the table -------------------------------------------------------------------------------- */

static bool begins(const char *path, const char *with)
{
	return !strncmp(path, with, strlen(with));
}

static void on_get(struct daemon *d, struct http_request *request, const char *path)
{
	const struct page_file *page;

	if (!strcmp(path, "/boot.ipxe"))
		get_boot_script(d, request);
	else if (!strcmp(path, "/name.ipxe"))
		get_name_script(d, request);
	else if (begins(path, "/nbp/"))
		get_nbp(d, request, path + strlen("/nbp/"));
	else if (begins(path, "/capture/"))
		get_capture(request, path + strlen("/capture/"));
	else if (!strcmp(path, "/status"))
		reply_json(request, 200, status_all(d));
	else if (!strcmp(path, "/metrics"))
		monitor_scrape(d->monitor, d, request);
	else if (!strcmp(path, "/api/clients"))
		reply_json(request, 200, status_clients(d));
	else if ((page = page_find(path)))
		http_reply_page(request, page->type, page->data, page->end - page->data);
	else
		refuse(request, 404, "there is nothing here; see /, /status and /metrics");
}

static void on_post(struct daemon *d, struct http_request *request, const char *path)
{
	if (!may_change(d, request))
		refuse(request, 403, "changes need root's socket or the operator's token");
	else if (!strcmp(path, "/api/dhcp/scan"))
		control_scan(d, request);
	else if (!strcmp(path, "/api/operator"))
		reply_json(request, 200, json_pack("{s:b}", "operator", true)); /* the token is the right one */
	else if (!strcmp(path, "/api/reload"))
		daemon_reload(d)
			? refuse(request, 400, d->config_refused)
			: reply_json(request, 200, json_pack("{s:s}", "read", d->config->file));
	else
		refuse(request, 404, "there is nothing here");
}

void control_request(void *arg, struct http_request *request)
{
	struct daemon *d = arg;
	const char *path = http_path(request), *method = http_method(request);

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
