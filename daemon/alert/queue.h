/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What waits to be sent: a list for each way, in order, of ALERT_QUEUE_MAX at most. What fails is tried again, later
 * and later; after ALERT_TRIES it is given up, and counted. A way that fails holds up no other. Loop's thread only.
 */
#ifndef BOOTWELL_ALERT_QUEUE_H
#define BOOTWELL_ALERT_QUEUE_H

#include <jansson.h>

#include "daemon/alert/sender.h"
#include "daemon/config/config.h"
#include "daemon/core/loop.h"

#define ALERT_QUEUE_MAX   64 /* messages of one way */
#define ALERT_TRIES       10 /* in some 50 minutes: 5 s, 10 s, ... 15 minutes between */
#define ALERT_FIRST_RETRY (5 * 1000000000ull)
#define ALERT_LAST_RETRY  (900 * 1000000000ull)

enum alert_way { ALERT_MAIL, ALERT_WEBHOOK, ALERT_COMMAND, ALERT_WAYS };
const char *alert_way_name(enum alert_way way);
/* Whether the configuration has it. */
bool alert_way_is_on(const struct config *config, enum alert_way way);

/* The end of one message by one way: it arrived, or is given up (a test at once). `answer`: one line. */
typedef void (*alert_sent_fn)(void *arg, void *token, enum alert_way way, bool ok, const char *answer);

struct alert_way_stats {
	uint64_t sent, lost;           /* messages */
	unsigned int waiting;          /* now */
	bool failing;                  /* the last try failed */
	char answer[ALERT_ANSWER_MAX]; /* and why */
};

struct alert_queue;

/* `fd`: of alert_sender_start(), the queue's from here on; < 0: there is none. `config` may point to another later. */
int alert_queue_new(struct alert_queue **ret, struct loop *loop, int fd, struct config **config, alert_sent_fn sent,
		    void *arg);
/* Nothing is told any more. NULL is fine. */
void alert_queue_free(struct alert_queue *queue);
/*
 * Takes a reference of `message`. `test`: tried once, now, whatever waits. -ENOBUFS: too many wait, it counts as lost;
 * -ENOMEM. Then `sent` is not called.
 */
int alert_queue_put(struct alert_queue *queue, enum alert_way way, json_t *message, bool test, void *token);
void alert_queue_stats(const struct alert_queue *queue, enum alert_way way, struct alert_way_stats *ret);
/* ns until the try after `tries` that failed. */
uint64_t alert_queue_pause(unsigned int tries);

#endif
