/* SPDX-License-Identifier: Apache-2.0 */
/* tls - encryption and certificates for connections, by OpenSSL.
 *
 * TLS 1.2 or newer. A server may ask its clients for certificates; a client checks the server's
 * name against its certificate unless told not to. */
#ifndef TTG_IO_TLS_H
#define TTG_IO_TLS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct tls;         /* settings, for many connections */
struct tls_session; /* one connection */

struct tls_options {
    bool server;
    const char *cert_file, *key_file; /* PEM; a server needs them */
    const char *ca_file;              /* NULL: the system's for a client, none for a server */
    bool
        verify; /* server: clients must show a certificate of `ca_file`; client: check the server */
};

int tls_new(const struct tls_options *options, struct tls **ret_tls, struct err *err);
void tls_free(struct tls *t);

/* `host` NULL: no name is checked (or: server). The descriptor stays the caller's. */
int tls_session_new(struct tls *t, int fd, const char *host, struct tls_session **ret_session);
void tls_session_free(struct tls_session *s);

enum tls_want { TLS_WANT_NOTHING, TLS_WANT_READ, TLS_WANT_WRITE };

/* 0 when done; TTG_EAGAIN and what to wait for; TTG_EAUTH for a bad certificate, TTG_EPROTO,
 * TTG_ECLOSED, TTG_EIO with a text. */
int tls_handshake(struct tls_session *s, enum tls_want *ret_want, struct err *err);
/* Bytes, or the same codes. A clean end of the peer is TTG_ECLOSED. */
long tls_read(struct tls_session *s, void *bytes, size_t len, enum tls_want *ret_want,
              struct err *err);
long tls_write(struct tls_session *s, const void *bytes, size_t len, enum tls_want *ret_want,
               struct err *err);
/* Says good-bye, without waiting. */
void tls_bye(struct tls_session *s);

#endif
