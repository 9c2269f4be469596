// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A token that is not known yet is hashed on a helper thread; a wrong one is answered a second later, so that guessing
 * is slow for who does it, and costs the daemon a sleeping connection only. There are never more than CHECKS of them.
 */
#include "daemon/boot/nonce.h"
#include "daemon/control/rights.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/parts.h"
#include "daemon/core/clock.h"
#include "daemon/core/inet.h"
#include "daemon/core/log.h"

#define CHECKS     32       /* at work or waiting for their second */
#define WRONG_WAIT CLOCK_NS /* before a wrong token is answered */

struct check {
	struct rights *rights;
	struct check *next; /* of those that wait for their second */
	struct http_request *request;
	uint32_t address;
	char authorization[300];
	struct access_who who;
	struct sentence error;
	int result;
	uint64_t due; /* loop_now() */
};

struct rights {
	struct daemon *d;
	void (*go_on)(struct daemon *d, struct http_request *request);
	struct loop_source *timer;
	struct check *first, **last;
	unsigned int checks;
	bool stopped;
};

/* --- what is needed ----------------------------------------------------------------------------------------------- */

static bool begins(const char *path, const char *with)
{
	return !strncmp(path, with, strlen(with));
}

static bool is_for_all(const char *path)
{
	static const char *const names[] = {"/-/healthy", "/-/ready"};
	char nonce[BOOT_NONCE_MAX];

	if (*path == '/' &&
	    (boot_script_path(path + 1, "boot.ipxe", nonce) || boot_script_path(path + 1, "name.ipxe", nonce)))
		return true; /* boot/script.c sees to it who gets what */
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(path, names[i]))
			return true;
	return begins(path, "/nbp/") || begins(path, "/capture/") || page_find(path);
}

enum access_role rights_needed(struct access *a, const char *method, const char *path)
{
	bool looks = !strcmp(method, "GET") || !strcmp(method, "HEAD");

	if (looks && is_for_all(path))
		return ACCESS_ROLE_NONE;
	if (looks && !strcmp(path, "/metrics"))
		return access_open_metrics(a) ? ACCESS_ROLE_NONE : ACCESS_ROLE_SEE;
	if (!strcmp(path, "/api/audit") || !strcmp(path, "/api/reload"))
		return ACCESS_ROLE_ADMIN;
	if (looks)
		return access_open_status(a) ? ACCESS_ROLE_NONE : ACCESS_ROLE_SEE;
	if (!strcmp(path, "/api/operator"))
		return ACCESS_ROLE_SEE;
	if (begins(path, "/api/clients/") || begins(path, "/api/dhcp/") || begins(path, "/api/alerts/") ||
	    (begins(path, "/api/images/") && strstr(path, "/session")))
		return ACCESS_ROLE_OPERATE;
	return ACCESS_ROLE_ADMIN;
}

bool rights_refuse_host(struct access *a, struct http_request *request)
{
	static const char text[] =
		"{\"error\": \"this server is not asked by that name; bootwell.conf(5): [http] names\"}\n";

	if (http_is_local(request) || access_host(a, http_header(request, "Host")))
		return false;
	http_reply(request, 421, "application/json", text, strlen(text));
	return true;
}

int rights_known(struct access *a, struct http_request *request, enum access_role needed, struct access_who *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	if (http_is_local(request)) {
		*ret = (struct access_who){"root", ACCESS_ROLE_ADMIN};
		return 0;
	}
	if (needed == ACCESS_ROLE_NONE)
		return 0;
	if (http_has_tls(request) && !http_is_tls(request))
		return -EACCES; /* no token is taken that went in clear where it need not */
	r = access_known(a, http_header(request, "Authorization"), ret);
	if (r == -EAGAIN)
		return r;
	return !r && ret->role >= needed ? 0 : -EACCES;
}

void rights_refuse(struct http_request *request, enum access_role needed, const struct access_who *who)
{
	char text[300];

	if (who->name[0])
		snprintf(text, sizeof(text), "{\"error\": \"%s may %s here, and this needs the role %s\"}\n", who->name,
			 access_role_name(who->role), access_role_name(needed));
	else if (http_has_tls(request) && !http_is_tls(request))
		snprintf(text, sizeof(text), "{\"error\": \"this is for operators, by https on the same port\"}\n");
	else
		snprintf(text, sizeof(text), "{\"error\": \"%s\"}\n",
			 needed == ACCESS_ROLE_SEE ? "looking needs root's socket or an operator's token"
						   : "changes need root's socket or the operator's token");
	http_reply(request, 403, "application/json", text, strlen(text));
}

/* --- looking at a token ------------------------------------------------------------------------------------------- */

static void answer(struct check *c)
{
	struct rights *s = c->rights;
	char text[800];

	s->checks--;
	if (!s->stopped) {
		snprintf(text, sizeof(text), "{\"error\": \"%s\"}\n", c->error.text);
		http_reply(c->request, c->result == -EBUSY ? 429 : 403, "application/json", text, strlen(text));
	}
	free(c);
}

static void on_timer(void *arg)
{
	struct rights *s = arg;
	struct check *c;

	while ((c = s->first) && c->due <= loop_now(s->d->loop)) {
		s->first = c->next;
		if (!s->first)
			s->last = &s->first;
		answer(c);
	}
	loop_timer_set(s->timer, s->first ? s->first->due : UINT64_MAX);
}

static int look(void *arg)
{
	struct check *c = arg;

	c->result = access_check(c->rights->d->access, c->address, c->authorization, &c->who, &c->error);
	return 0;
}

static void looked(void *arg, int result)
{
	struct check *c = arg;
	struct rights *s = c->rights;
	struct http_request *request = c->request;

	if (result || s->stopped || !c->result) {
		bool good = !result && !s->stopped;

		s->checks--;
		free(c);
		if (good)
			s->go_on(s->d, request);
		return;
	}
	if (c->result == -EACCES)
		log_limited(3, LOG_LEVEL_WARNING, "%s sent a token that is no operator's", inet_text(c->address).s);
	c->due = loop_now(s->d->loop) + WRONG_WAIT;
	*s->last = c;
	s->last = &c->next;
	loop_timer_set(s->timer, s->first->due);
}

void rights_check(struct rights *s, struct http_request *request)
{
	static const char text[] =
		"{\"error\": \"too many ask with tokens that are not known; come again in a second\"}\n";
	const char *authorization = http_header(request, "Authorization");
	struct check *c = s->checks < CHECKS ? calloc(1, sizeof(*c)) : NULL;

	if (c) {
		c->rights = s;
		c->request = request;
		c->address = http_peer(request);
		snprintf(c->authorization, sizeof(c->authorization), "%s", authorization ? authorization : "");
		s->checks++;
		if (!loop_work(s->d->loop, look, looked, c))
			return;
		s->checks--;
		free(c);
	}
	http_reply(request, 429, "application/json", text, strlen(text));
}

int rights_new(struct rights **ret, struct daemon *d, void (*go_on)(struct daemon *d, struct http_request *request))
{
	struct rights *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->d = d;
	s->go_on = go_on;
	s->last = &s->first;
	r = loop_add_timer(d->loop, UINT64_MAX, on_timer, s, &s->timer);
	if (r) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void rights_stop(struct rights *s)
{
	if (!s)
		return;
	s->stopped = true;
	loop_source_free(s->timer);
	while (s->first) {
		struct check *c = s->first;

		s->first = c->next;
		answer(c);
	}
}

void rights_free(struct rights *s)
{
	free(s);
}
