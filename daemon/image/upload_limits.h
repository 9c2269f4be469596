/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits of the upload service: both sides keep to them; docs/upload-protocol.md lists them. */
#ifndef BOOTWELL_UPLOAD_LIMITS_H
#define BOOTWELL_UPLOAD_LIMITS_H

#define UPLOAD_NAME_MAX    64 /* bytes with NUL: "xp01.vmdk" */
#define UPLOAD_WHO_MAX     64
#define UPLOAD_KEY_MAX     33 /* 32 hexadecimal digits */
#define UPLOAD_SESSIONS    16 /* unfinished uploads on the server */
#define UPLOAD_CONNECTIONS 64
#define UPLOAD_PER_ADDRESS 8     /* connections of one PC */
#define UPLOAD_BODIES      12    /* parts in memory at once, 4 MiB each; more are told to come again (503) */
#define UPLOAD_JSON_MAX    65536 /* bytes of a JSON request */
#define UPLOAD_SILENCE     30 /* s: an upload whose sender said nothing for so long may be taken over by the same PC */
#define UPLOAD_RESERVE     ((uint64_t)64 << 20) /* bytes of the file system that no upload and no commit may take */
#define UPLOAD_PORT        1000

#endif
