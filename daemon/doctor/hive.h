/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file of Windows' registry in memory, through hivex. That library only knows files by name: the sandbox has none, so
 * bootwell_doctor.c's own open() answers the names of doctor_hive_fd(), which lead to memory.
 *
 * Keys are named as paths below another key: "Control\\Class\\...". 0 is no key; all functions take it.
 */
#ifndef BOOTWELL_DOCTOR_HIVE_H
#define BOOTWELL_DOCTOR_HIVE_H

#include <hivex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOCTOR_HIVE_MAX (256u << 20) /* bytes of a registry file that is read */

struct doctor_hive;

/* Before the sandbox: memory for hives, and what conversions of texts need. 0 or -errno. */
int doctor_hive_prepare(void);
/* What open() shall return for a name: a descriptor of its own, or -1: it is none of ours. */
int doctor_hive_fd(const char *name);

/* One at a time. `write`: it may be changed. -EUCLEAN: it is no registry file, or damaged. */
int doctor_hive_open(struct doctor_hive **ret, const uint8_t *data, size_t length, bool write);
void doctor_hive_close(struct doctor_hive *hive); /* NULL is fine */
/* The file with its changes, to be freed. */
int doctor_hive_commit(struct doctor_hive *hive, uint8_t **ret, size_t *ret_length);
/* Has Windows written out all that belongs into this file? If not, it replays its logs over whatever is changed here.
 */
bool doctor_hive_is_whole(const uint8_t *data, size_t length);

hive_h *doctor_hive_h(struct doctor_hive *hive);
hive_node_h doctor_hive_root(struct doctor_hive *hive);
hive_node_h doctor_hive_key(struct doctor_hive *hive, hive_node_h from, const char *path);
bool doctor_hive_number(struct doctor_hive *hive, hive_node_h key, const char *name, int32_t *ret);
/* To be freed; NULL if there is none. */
char *doctor_hive_text(struct doctor_hive *hive, hive_node_h key, const char *name);
char **doctor_hive_texts(struct doctor_hive *hive, hive_node_h key, const char *name);
void doctor_hive_texts_free(char **texts);

/* Changes. Texts are ASCII. 0 or -errno. */
int doctor_hive_set_number(struct doctor_hive *hive, hive_node_h key, const char *name, uint32_t number);
int doctor_hive_set_text(struct doctor_hive *hive, hive_node_h key, const char *name, const char *text);
int doctor_hive_set_texts(struct doctor_hive *hive, hive_node_h key, const char *name,
			  const char *text); /* one of them */

#endif
