/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a request needs, and whether its asker has it. */
#ifndef BOOTWELL_RIGHTS_H
#define BOOTWELL_RIGHTS_H

#include "daemon/core/access.h"

struct daemon;
struct http_request;

/* The least role for it; ACCESS_ROLE_NONE: everybody's. Any thread. */
enum access_role rights_needed(struct access *access, const char *method, const char *path);
/* Refuses a request that came by another name than ours; true: it did. Any thread. */
bool rights_refuse_host(struct access *access, struct http_request *request);
/* Any thread; never waits. 0: it may, and who it is; -EAGAIN: rights_check() has to look; -EACCES: it may not. */
int rights_known(struct access *access, struct http_request *request, enum access_role needed, struct access_who *ret);

/* Loop's thread: looks at a token on a helper thread, then calls go_on() with the request, which is known then; or
 * answers it with a refusal, a while later. */
struct rights;
int rights_new(struct rights **ret, struct daemon *d, void (*go_on)(struct daemon *d, struct http_request *request));
void rights_stop(struct rights *rights); /* before the HTTP servers go; NULL is fine */
void rights_free(struct rights *rights); /* after loop_free() */
void rights_check(struct rights *rights, struct http_request *request);
/* The answer to who may not. */
void rights_refuse(struct http_request *request, enum access_role needed, const struct access_who *who);

#endif
