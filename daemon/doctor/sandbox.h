/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the doctor works: it reads what a stranger made, with libraries for NTFS, ext and the registry. From here on
 * the process can read and write what it has open, ask for memory, and nothing else: no file is opened, nothing is
 * executed, no socket, no process; no privileges. Works inside a service that may make no namespaces.
 */
#ifndef BOOTWELL_DOCTOR_SANDBOX_H
#define BOOTWELL_DOCTOR_SANDBOX_H

#include <stdint.h>

#define DOCTOR_MEMORY      ((uint64_t)3 << 30) /* bytes of address space */
#define DOCTOR_CPU_SECONDS 120
#define DOCTOR_SECONDS     300 /* then it is ended, whatever it waits for */

/* 0 or -errno, with one sentence on stderr: then nothing may be looked at. Cannot be undone. */
int doctor_sandbox_enter(void);

#endif
