/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a person, or a program that has no list of authorities, knows a server's certificate by. */
#ifndef BOOTWELL_CERTIFICATE_H
#define BOOTWELL_CERTIFICATE_H

#define CERTIFICATE_PRINT 96 /* 32 bytes in hexadecimal, with colons */
#define CERTIFICATE_PIN   53 /* "sha256//" and 44 digits of base64 */

struct certificate_names {
	char certificate[CERTIFICATE_PRINT]; /* SHA-256 of all of it, as browsers show it */
	char key[CERTIFICATE_PRINT]; /* SHA-256 of its key (SubjectPublicKeyInfo, RFC 5280), which a new one may keep */
	char pin[CERTIFICATE_PIN];   /* the same as libcurl wants it (RFC 7469, 2.4) */
};

/*
 * A new key (EC, P-256) and a certificate that it signs itself, for `name`, good for 30 years: who it is, people
 * compare. PEM, each to be freed; the key to be wiped before. -EIO: GnuTLS cannot, -ENOMEM.
 */
int certificate_make(const char *name, char **ret_certificate, char **ret_key);

/* The first certificate of `pem`. -EINVAL: there is none. */
int certificate_names(const char *pem, struct certificate_names *ret);

#endif
