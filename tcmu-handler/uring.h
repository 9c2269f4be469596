/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queues on io_uring: the only file of the handler that knows liburing. */
#ifndef BOOTWELL_URING_H
#define BOOTWELL_URING_H

#include "tcmu-handler/io.h"

/* The backend that makes io_uring queues; one for the whole process, never freed. */
struct io_backend *uring_backend(void);

#endif
