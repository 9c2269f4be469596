// SPDX-License-Identifier: GPL-2.0-or-later
/* libcurl does the talking; here is what is sent with it, how much of an answer is taken, and what a status means. */
#include "daemon/uploader/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A pulled cable is noticed after this long; data that the other side has acknowledged may wait longer for its answer.
 */
#define DEAD_MS 20000

struct uploader_http {
	CURL *curl;
	const struct uploader_options *options;
	const uint8_t *body;
	size_t length, at;
	struct uploader_reply *reply;
};

static int set_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	unsigned int ms = DEAD_MS;

	(void)arg;
	(void)purpose;
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
	return CURL_SOCKOPT_OK;
}

static size_t give_body(char *to, size_t size, size_t n, void *arg)
{
	struct uploader_http *http = arg;
	size_t room = size * n, left = http->length - http->at;

	if (room > left)
		room = left;
	memcpy(to, http->body + http->at, room);
	http->at += room;
	return room;
}

static int rewind_body(void *arg, curl_off_t offset, int origin)
{
	struct uploader_http *http = arg;

	if (origin != SEEK_SET || offset < 0 || (size_t)offset > http->length)
		return CURL_SEEKFUNC_CANTSEEK;
	http->at = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

static size_t take_reply(char *from, size_t size, size_t n, void *arg)
{
	struct uploader_http *http = arg;
	size_t length = size * n;
	char *more;

	if (http->reply->length + length > UPLOADER_REPLY_MAX)
		return 0;
	more = realloc(http->reply->body, http->reply->length + length + 1);
	if (!more)
		return 0;
	memcpy(more + http->reply->length, from, length);
	http->reply->body = more;
	http->reply->length += length;
	more[http->reply->length] = '\0';
	return length;
}

/* A key that is known needs nobody to vouch for it, and no clock that is right. */
static void set_tls(CURL *curl, const struct uploader_options *options)
{
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (options->ca)
		curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca);
	if (!options->pin)
		return;
	curl_easy_setopt(curl, CURLOPT_PINNEDPUBLICKEY, options->pin);
	if (!options->ca) {
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

struct uploader_http *uploader_http_new(const struct uploader_options *options, uint64_t limit)
{
	struct uploader_http *http = calloc(1, sizeof(*http));

	if (!http)
		return NULL;
	http->options = options;
	http->curl = curl_easy_init();
	if (!http->curl) {
		free(http);
		return NULL;
	}
	curl_easy_setopt(http->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(http->curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(http->curl, CURLOPT_PROTOCOLS_STR, options->tls ? "https" : "http");
	if (options->tls)
		set_tls(http->curl, options);
	curl_easy_setopt(http->curl, CURLOPT_CONNECTTIMEOUT, 10L);
	curl_easy_setopt(http->curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(http->curl, CURLOPT_TCP_KEEPIDLE, 5L);
	curl_easy_setopt(http->curl, CURLOPT_TCP_KEEPINTVL, 5L);
	curl_easy_setopt(http->curl, CURLOPT_SOCKOPTFUNCTION, set_socket);
	curl_easy_setopt(http->curl, CURLOPT_UPLOAD_BUFFERSIZE, 1048576L);
	curl_easy_setopt(http->curl, CURLOPT_MAX_SEND_SPEED_LARGE, (curl_off_t)limit);
	curl_easy_setopt(http->curl, CURLOPT_READFUNCTION, give_body);
	curl_easy_setopt(http->curl, CURLOPT_READDATA, http);
	curl_easy_setopt(http->curl, CURLOPT_SEEKFUNCTION, rewind_body);
	curl_easy_setopt(http->curl, CURLOPT_SEEKDATA, http);
	curl_easy_setopt(http->curl, CURLOPT_WRITEFUNCTION, take_reply);
	curl_easy_setopt(http->curl, CURLOPT_WRITEDATA, http);
	return http;
}

void uploader_http_free(struct uploader_http *http)
{
	if (!http)
		return;
	curl_easy_cleanup(http->curl);
	free(http);
}

static int meaning(long status, const char *reason)
{
	switch (status) {
	case 400:
		return -EINVAL;
	case 401:
	case 403:
		return -EACCES;
	case 404:
		return -ENOENT;
	case 409:
		return strcmp(reason, "exists") == 0 ? -EEXIST : strcmp(reason, "incomplete") == 0 ? -ENODATA : -EBUSY;
	case 410:
		return -ESTALE;
	case 413:
		return -EFBIG;
	case 422:
		return -EBADMSG;
	case 503:
		return strcmp(reason, "refused") == 0 ? -EMFILE : -EAGAIN;
	case 507:
		return -ENOSPC;
	default:
		return -EIO;
	}
}

static void read_error(struct uploader_reply *reply)
{
	json_t *o = reply->body ? json_loads(reply->body, 0, NULL) : NULL;
	const char *text = json_string_value(json_object_get(o, "error"));
	const char *reason = json_string_value(json_object_get(o, "reason"));

	if (text)
		sentence_set(&reply->error, "%s", text);
	else
		sentence_set(&reply->error, "the server answered with HTTP status %ld", reply->status);
	snprintf(reply->reason, sizeof(reply->reason), "%s", reason ? reason : "");
	json_decref(o);
}

static struct curl_slist *headers(const struct uploader_options *options, const char *digest)
{
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");
	char line[256];

	list = curl_slist_append(list, "Content-Type: application/octet-stream");
	if (digest) {
		snprintf(line, sizeof(line), "X-Bootwell-SHA256: %s", digest);
		list = curl_slist_append(list, line);
	}
	if (options->token || options->secret) {
		snprintf(line, sizeof(line), "Authorization: %s %s", options->token ? "Bearer" : "Ticket",
			 options->token ? options->token : options->secret);
		list = curl_slist_append(list, line);
		explicit_bzero(line, sizeof(line));
	}
	return list;
}

/* Time does not mend that. */
static bool is_other_server(CURLcode code)
{
	return code == CURLE_SSL_PINNEDPUBKEYNOTMATCH || code == CURLE_PEER_FAILED_VERIFICATION ||
	       code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_ISSUER_ERROR;
}

int uploader_request(struct uploader_http *http, const char *method, const char *path, const void *body, size_t length,
		     const char *digest, struct uploader_reply *ret)
{
	struct curl_slist *list = headers(http->options, digest);
	curl_off_t seconds = 0;
	char url[512];
	CURLcode code;

	memset(ret, 0, sizeof(*ret));
	snprintf(url, sizeof(url), "http%s://%s:%u%s", http->options->tls ? "s" : "", http->options->server,
		 http->options->port ? http->options->port : UPLOAD_PORT, path);
	http->body = body;
	http->length = length;
	http->at = 0;
	http->reply = ret;
	curl_easy_setopt(http->curl, CURLOPT_URL, url);
	curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER, list);
	curl_easy_setopt(http->curl, CURLOPT_UPLOAD, body ? 1L : 0L);
	if (!body)
		curl_easy_setopt(http->curl, CURLOPT_HTTPGET, 1L);
	curl_easy_setopt(http->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)length);
	curl_easy_setopt(http->curl, CURLOPT_CUSTOMREQUEST, method);
	code = curl_easy_perform(http->curl);
	curl_slist_free_all(list);
	if (is_other_server(code)) {
		sentence_set(&ret->error,
			     "%s is not the server that it should be (%s): its certificate or key is another one",
			     http->options->server, curl_easy_strerror(code));
		return -EACCES;
	}
	if (code != CURLE_OK) {
		sentence_set(&ret->error, "no answer from %s: %s", http->options->server, curl_easy_strerror(code));
		return -ECONNRESET;
	}
	curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &ret->status);
	if (ret->status >= 200 && ret->status < 300)
		return 0;
	if (curl_easy_getinfo(http->curl, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK && seconds > 0)
		ret->retry_after = seconds < UPLOADER_WAIT_MAX ? (unsigned int)seconds : UPLOADER_WAIT_MAX;
	read_error(ret);
	return meaning(ret->status, ret->reason);
}

void uploader_reply_done(struct uploader_reply *reply)
{
	free(reply->body);
	reply->body = NULL;
	reply->length = 0;
}
