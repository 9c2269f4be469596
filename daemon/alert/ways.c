// SPDX-License-Identifier: GPL-2.0-or-later
/* By mail and by webhook, with libcurl, which waits: in the process of the one job. Nothing of a URL is told on: it may
 * hold a secret. */
#include "daemon/alert/sender.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/alert/message.h"

#define RECIPIENTS_MAX 16
#define ANSWER_READ    (64u << 10) /* bytes of a webhook's answer; more ends it */

struct upload {
	const char *text;
	size_t length, at;
};

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static size_t read_upload(char *to, size_t size, size_t n, void *arg)
{
	struct upload *u = arg;
	size_t some = u->length - u->at < size * n ? u->length - u->at : size * n;

	memcpy(to, u->text + u->at, some);
	u->at += some;
	return some;
}

/* The last line in which the server refused something (RFC 5321, 4.2.1). */
static size_t note_line(char *text, size_t size, size_t n, void *arg)
{
	if (size * n > 2 && (*text == '4' || *text == '5'))
		snprintf(arg, ALERT_ANSWER_MAX, "%.*s", (int)(size * n < 200 ? size * n : 200), text);
	return size * n;
}

static size_t count_answer(char *text, size_t size, size_t n, void *arg)
{
	size_t *seen = arg;

	(void)text;
	*seen += size * n;
	return *seen > ANSWER_READ ? 0 : size * n;
}

static CURL *begin(const json_t *job, long seconds, char error[CURL_ERROR_SIZE])
{
	const char *ca = text_of(job, "ca");
	CURL *c = curl_easy_init();

	if (!c)
		return NULL;
	error[0] = '\0';
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)ALERT_CONNECT_SECONDS);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, seconds);
	if (*ca)
		curl_easy_setopt(c, CURLOPT_CAINFO, ca);
	return c;
}

/* --- mail --------------------------------------------------------------------------------------------------------- */

/* False, with the reason: it must be ours alone. */
static bool read_password(const char *path, char *ret, size_t size, char answer[ALERT_ANSWER_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	ssize_t n = -1;

	if (fd < 0 || fstat(fd, &st)) {
		snprintf(answer, ALERT_ANSWER_MAX, "smtp-password-file %.150s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || st.st_mode & S_IRWXO) {
		snprintf(answer, ALERT_ANSWER_MAX,
			 "smtp-password-file %.150s is not used, because others may read it: chmod o= does that", path);
	} else {
		n = read(fd, ret, size - 1);
		if (n <= 0)
			snprintf(answer, ALERT_ANSWER_MAX, "smtp-password-file %.150s is empty", path);
	}
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	ret[n] = '\0';
	ret[strcspn(ret, "\r\n")] = '\0';
	return true;
}

static struct curl_slist *recipients(const char *to)
{
	struct curl_slist *list = NULL;
	unsigned int n = 0;

	while (*(to += strspn(to, ", \t")) && n++ < RECIPIENTS_MAX) {
		size_t length = strcspn(to, ", \t");
		char one[300];

		snprintf(one, sizeof(one), "<%.*s>", (int)(length < 256 ? length : 256), to);
		list = curl_slist_append(list, one);
		to += length;
	}
	return list;
}

static bool log_in(CURL *c, const json_t *job, char answer[ALERT_ANSWER_MAX])
{
	char password[300];

	if (!*text_of(job, "user"))
		return true;
	if (!read_password(text_of(job, "password_file"), password, sizeof(password), answer))
		return false;
	curl_easy_setopt(c, CURLOPT_USERNAME, text_of(job, "user"));
	curl_easy_setopt(c, CURLOPT_PASSWORD, password);
	explicit_bzero(password, sizeof(password));
	return true;
}

static bool post_mail(CURL *c, const json_t *job, struct curl_slist *to, struct upload *u, const char *error,
		      char answer[ALERT_ANSWER_MAX])
{
	char from[300], said[ALERT_ANSWER_MAX] = "";
	CURLcode r;

	snprintf(from, sizeof(from), "<%.256s>", text_of(job, "from"));
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(c, CURLOPT_URL, text_of(job, "smtp"));
	curl_easy_setopt(c, CURLOPT_USE_SSL,
			 (long)(json_is_true(json_object_get(job, "tls")) ? CURLUSESSL_ALL : CURLUSESSL_NONE));
	curl_easy_setopt(c, CURLOPT_MAIL_FROM, from);
	curl_easy_setopt(c, CURLOPT_MAIL_RCPT, to);
	curl_easy_setopt(c, CURLOPT_READFUNCTION, read_upload);
	curl_easy_setopt(c, CURLOPT_READDATA, u);
	curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, note_line);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, (void *)said);
	r = curl_easy_perform(c);
	if (r == CURLE_OK)
		snprintf(answer, ALERT_ANSWER_MAX, "the mail server took it");
	else
		snprintf(answer, ALERT_ANSWER_MAX, "%.120s%s%.150s", *error ? error : curl_easy_strerror(r),
			 *said ? "; the mail server said: " : "", said);
	return r == CURLE_OK;
}

bool alert_send_mail(const json_t *job, char answer[ALERT_ANSWER_MAX])
{
	struct curl_slist *to = recipients(text_of(job, "to"));
	char error[CURL_ERROR_SIZE];
	CURL *c = begin(job, ALERT_MAIL_SECONDS, error);
	struct upload u = {0};
	uint64_t id = 0;
	char *text;
	bool ok = false;

	if (getrandom(&id, sizeof(id), 0) < 0)
		id = (uint64_t)getpid();
	text = alert_mail_text(json_object_get(job, "message"), text_of(job, "from"), text_of(job, "to"), id,
			       time(NULL));
	snprintf(answer, ALERT_ANSWER_MAX, "out of memory");
	if (c && to && text && log_in(c, job, answer)) {
		u = (struct upload){.text = text, .length = strlen(text)};
		ok = post_mail(c, job, to, &u, error, answer);
	}
	free(text);
	curl_slist_free_all(to);
	curl_easy_cleanup(c);
	return ok;
}

/* --- webhook ------------------------------------------------------------------------------------------------------ */

bool alert_send_hook(const json_t *job, char answer[ALERT_ANSWER_MAX])
{
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	char *body = json_dumps(json_object_get(job, "message"), JSON_COMPACT | JSON_PRESERVE_ORDER);
	char error[CURL_ERROR_SIZE];
	CURL *c = begin(job, ALERT_HOOK_SECONDS, error);
	size_t seen = 0;
	long status = 0;
	CURLcode r = CURLE_OUT_OF_MEMORY;

	if (c && body) {
		curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
		curl_easy_setopt(c, CURLOPT_URL, text_of(job, "url"));
		curl_easy_setopt(c, CURLOPT_USERAGENT, "bootwell/" BOOTWELL_VERSION);
		curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, count_answer);
		curl_easy_setopt(c, CURLOPT_WRITEDATA, &seen);
		r = curl_easy_perform(c);
		curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	}
	if (r == CURLE_OK)
		snprintf(answer, ALERT_ANSWER_MAX, "it answered HTTP %ld", status);
	else
		snprintf(answer, ALERT_ANSWER_MAX, "%.200s", c && *error ? error : curl_easy_strerror(r));
	free(body);
	curl_slist_free_all(headers);
	curl_easy_cleanup(c);
	return r == CURLE_OK && status >= 200 && status < 300;
}
