// SPDX-License-Identifier: GPL-2.0-or-later
/* GnuTLS reads the certificate, as libmicrohttpd has it do when it serves it; nettle makes text of the sums. */
#include "daemon/core/certificate.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <nettle/base64.h>
#include <nettle/sha2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void sum(const gnutls_datum_t *data, uint8_t ret[SHA256_DIGEST_SIZE])
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, data->size, data->data);
	sha256_digest(&ctx, SHA256_DIGEST_SIZE, ret);
}

static void print(const uint8_t hash[SHA256_DIGEST_SIZE], char ret[CERTIFICATE_PRINT])
{
	for (unsigned int i = 0; i < SHA256_DIGEST_SIZE; i++)
		ret += sprintf(ret, "%s%02X", i ? ":" : "", hash[i]);
}

static int name_key(gnutls_x509_crt_t crt, struct certificate_names *ret)
{
	uint8_t hash[SHA256_DIGEST_SIZE];
	gnutls_datum_t der = {0};
	gnutls_pubkey_t key;
	int r = gnutls_pubkey_init(&key);

	if (r < 0)
		return -ENOMEM;
	r = gnutls_pubkey_import_x509(key, crt, 0);
	if (r >= 0)
		r = gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der);
	gnutls_pubkey_deinit(key);
	if (r < 0)
		return -EINVAL;
	sum(&der, hash);
	gnutls_free(der.data);
	print(hash, ret->key);
	strcpy(ret->pin, "sha256//");
	base64_encode_raw(ret->pin + strlen(ret->pin), sizeof(hash), hash);
	ret->pin[CERTIFICATE_PIN - 1] = '\0';
	return 0;
}

int certificate_names(const char *pem, struct certificate_names *ret)
{
	gnutls_datum_t text = {(unsigned char *)(uintptr_t)pem, (unsigned int)strlen(pem)}, der = {0};
	uint8_t hash[SHA256_DIGEST_SIZE];
	gnutls_x509_crt_t crt;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (gnutls_x509_crt_init(&crt) < 0)
		return -ENOMEM;
	r = gnutls_x509_crt_import(crt, &text, GNUTLS_X509_FMT_PEM);
	if (r >= 0)
		r = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der);
	if (r >= 0) {
		sum(&der, hash);
		gnutls_free(der.data);
		print(hash, ret->certificate);
		r = name_key(crt, ret);
	} else {
		r = -EINVAL;
	}
	gnutls_x509_crt_deinit(crt);
	return r;
}

/* GnuTLS's memory is not ours to give away. */
static char *text_of(gnutls_datum_t *data)
{
	char *text = strndup((const char *)data->data, data->size);

	explicit_bzero(data->data, data->size);
	gnutls_free(data->data);
	data->data = NULL;
	return text;
}

static int describe(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const char *name)
{
	time_t now = time(NULL);
	uint8_t serial[8];
	int r = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));

	serial[0] &= 0x7f; /* a positive number */
	if (r >= 0)
		r = gnutls_x509_crt_set_version(crt, 3);
	if (r >= 0)
		r = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
	if (r >= 0) /* a machine whose clock is behind must not be before it */
		r = gnutls_x509_crt_set_activation_time(crt, now - 86400 * 365);
	if (r >= 0)
		r = gnutls_x509_crt_set_expiration_time(crt, now + 86400ll * 365 * 30);
	if (r >= 0)
		r = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
						  (unsigned int)strlen(name));
	if (r >= 0)
		r = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, name, (unsigned int)strlen(name),
							 GNUTLS_FSAN_SET);
	if (r >= 0)
		r = gnutls_x509_crt_set_key(crt, key);
	if (r >= 0)
		r = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
	return r;
}

int certificate_make(const char *name, char **ret_certificate, char **ret_key)
{
	gnutls_datum_t pem = {0}, key_pem = {0};
	gnutls_x509_privkey_t key = NULL;
	gnutls_x509_crt_t crt = NULL;
	int r = gnutls_x509_privkey_init(&key);

	if (r >= 0)
		r = gnutls_x509_crt_init(&crt);
	if (r >= 0)
		r = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
						 0);
	if (r >= 0)
		r = describe(crt, key, name);
	if (r >= 0)
		r = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);
	if (r >= 0)
		r = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &key_pem);
	if (r >= 0) {
		*ret_certificate = text_of(&pem);
		*ret_key = text_of(&key_pem);
		r = *ret_certificate && *ret_key ? 0 : -ENOMEM;
	} else {
		gnutls_free(pem.data);
		r = -EIO;
	}
	if (crt)
		gnutls_x509_crt_deinit(crt);
	if (key)
		gnutls_x509_privkey_deinit(key);
	return r;
}
