/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SCHED_BATCH: it preempts nobody when it wakes (sched(7)); also out of a real-time policy, which an operator may have
 * given to the whole process. The nice value is a thread's own on Linux (setpriority(2)), and a lower one than that
 * which the process was started with is not taken.
 */
#include "daemon/core/background.h"

#include <errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

void background(void)
{
	const struct sched_param none = {};
	id_t self = (id_t)gettid();
	int nice;

	/* Where it is forbidden the thread works all the same. */
	if (sched_setscheduler(0, SCHED_BATCH, &none))
		return;
	errno = 0;
	nice = getpriority(PRIO_PROCESS, self);
	if (!errno && nice < BACKGROUND_NICE && setpriority(PRIO_PROCESS, self, BACKGROUND_NICE))
		return;
}
