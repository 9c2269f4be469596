/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When CPUs are short the loop comes first, which answers packets. Threads that others can keep busy say so. */
#ifndef BOOTWELL_BACKGROUND_H
#define BOOTWELL_BACKGROUND_H

#define BACKGROUND_NICE 5 /* of threads in the background: a third of the share of a CPU that the loop has */

/* The calling thread comes after all others of the process from now on, for ever: it needs no right to step back. */
void background(void);

#endif
