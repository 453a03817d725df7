/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tls.h"

#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>

struct tls {
    SSL_CTX *ctx;
    BIO_METHOD *socket; /* of its sessions */
    bool server;
};

struct tls_session {
    SSL *ssl;
};

/* The first reason that OpenSSL noted, with what we tried. */
static int fail(struct err *err, int rc, const char *what, const char *file)
{
    char reason[200] = "unknown reason";
    unsigned long code = ERR_peek_error();
    if (code)
        ERR_error_string_n(code, reason, sizeof(reason));
    ERR_clear_error();
    return err_set(err, rc, "%s%s%s: %s", what, file ? " " : "", file ? file : "", reason);
}

/* OpenSSL's own way to write to a socket raises SIGPIPE, which is not ours to change in a program
 * that merely links the library. */
static int socket_write(BIO *bio, const char *bytes, int len)
{
    int fd = -1;
    BIO_get_fd(bio, &fd);
    BIO_clear_retry_flags(bio);
    errno = 0;
    int n = (int)send(fd, bytes, (size_t)len, MSG_NOSIGNAL);
    if (n <= 0 && BIO_sock_should_retry(n))
        BIO_set_retry_write(bio);
    return n;
}

static BIO_METHOD *socket_method(void)
{
    const BIO_METHOD *standard = BIO_s_socket();
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOCKET, "socket without SIGPIPE");
    if (m && BIO_meth_set_write(m, socket_write) &&
        BIO_meth_set_read(m, BIO_meth_get_read(standard)) &&
        BIO_meth_set_ctrl(m, BIO_meth_get_ctrl(standard)) &&
        BIO_meth_set_create(m, BIO_meth_get_create(standard)) &&
        BIO_meth_set_destroy(m, BIO_meth_get_destroy(standard)))
        return m;
    BIO_meth_free(m);
    return NULL;
}

static int context_setup(SSL_CTX *ctx, const struct tls_options *o, struct err *err)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    if (o->cert_file && SSL_CTX_use_certificate_chain_file(ctx, o->cert_file) != 1)
        return fail(err, TTG_EUSAGE, "TLS certificate", o->cert_file);
    if (o->key_file && SSL_CTX_use_PrivateKey_file(ctx, o->key_file, SSL_FILETYPE_PEM) != 1)
        return fail(err, TTG_EUSAGE, "TLS key", o->key_file);
    if (o->cert_file && SSL_CTX_check_private_key(ctx) != 1)
        return fail(err, TTG_EUSAGE, "the TLS key does not fit the certificate", o->cert_file);
    if (o->ca_file && SSL_CTX_load_verify_locations(ctx, o->ca_file, NULL) != 1)
        return fail(err, TTG_EUSAGE, "TLS CA file", o->ca_file);
    if (!o->ca_file && !o->server)
        SSL_CTX_set_default_verify_paths(ctx);
    if (o->server && o->ca_file)
        SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(o->ca_file));
    int mode = SSL_VERIFY_NONE;
    if (o->verify)
        mode = SSL_VERIFY_PEER | (o->server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    SSL_CTX_set_verify(ctx, mode, NULL);
    if (o->server)
        SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"ttg", 3);
    return 0;
}

int tls_new(const struct tls_options *options, struct tls **ret_tls, struct err *err)
{
    if (options->server && (!options->cert_file || !options->key_file))
        return err_set(err, TTG_EUSAGE, "a TLS listener needs a certificate and a key");
    if (options->server && options->verify && !options->ca_file)
        return err_set(err, TTG_EUSAGE, "to check client certificates a CA file is needed");
    if (!options->cert_file != !options->key_file)
        return err_set(err, TTG_EUSAGE, "a TLS certificate and its key belong together");
    struct tls *t = mem_zalloc(sizeof(*t));
    if (!t)
        return err_set(err, TTG_ENOMEM, "out of memory");
    t->server = options->server;
    t->ctx = SSL_CTX_new(options->server ? TLS_server_method() : TLS_client_method());
    t->socket = socket_method();
    int rc =
        t->ctx && t->socket ? context_setup(t->ctx, options, err) : err_set(err, TTG_ENOMEM, "TLS");
    if (rc)
        tls_free(t);
    else
        *ret_tls = t;
    return rc;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    BIO_meth_free(t->socket);
    mem_free(t);
}

int tls_session_new(struct tls *t, int fd, const char *host, struct tls_session **ret_session)
{
    struct tls_session *s = mem_zalloc(sizeof(*s));
    s ? (void)(s->ssl = SSL_new(t->ctx)) : (void)0;
    BIO *bio = s && s->ssl ? BIO_new(t->socket) : NULL;
    if (!bio)
        goto fail;
    BIO_set_fd(bio, fd, BIO_NOCLOSE);
    SSL_set_bio(s->ssl, bio, bio);
    if (t->server) {
        SSL_set_accept_state(s->ssl);
    } else {
        SSL_set_connect_state(s->ssl);
        if (host) {
            SSL_set_hostflags(s->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
            X509_VERIFY_PARAM *param = SSL_get0_param(s->ssl);
            if (X509_VERIFY_PARAM_set1_ip_asc(param, host) != 1 &&
                (SSL_set1_host(s->ssl, host) != 1 || SSL_set_tlsext_host_name(s->ssl, host) != 1))
                goto fail;
        }
        ERR_clear_error();
    }
    *ret_session = s;
    return 0;
fail:
    ERR_clear_error();
    tls_session_free(s);
    return TTG_ENOMEM;
}

void tls_session_free(struct tls_session *s)
{
    if (!s)
        return;
    SSL_free(s->ssl);
    mem_free(s);
}

/* What a failed call means. */
static int outcome(struct tls_session *s, int n, enum tls_want *ret_want, struct err *err)
{
    *ret_want = TLS_WANT_NOTHING;
    switch (SSL_get_error(s->ssl, n)) {
    case SSL_ERROR_WANT_READ:
        *ret_want = TLS_WANT_READ;
        return TTG_EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        *ret_want = TLS_WANT_WRITE;
        return TTG_EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return err_set(err, TTG_ECLOSED, "closed by the peer");
    case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        return err_set(err, TTG_ECLOSED, "closed by the peer without good-bye");
    default:
        break;
    }
    long verified = SSL_get_verify_result(s->ssl);
    if (verified != X509_V_OK) {
        ERR_clear_error();
        return err_set(err, TTG_EAUTH, "certificate refused: %s",
                       X509_verify_cert_error_string(verified));
    }
    return fail(err, TTG_EPROTO, "TLS", NULL);
}

int tls_handshake(struct tls_session *s, enum tls_want *ret_want, struct err *err)
{
    ERR_clear_error();
    int n = SSL_do_handshake(s->ssl);
    return n == 1 ? 0 : outcome(s, n, ret_want, err);
}

long tls_read(struct tls_session *s, void *bytes, size_t len, enum tls_want *ret_want,
              struct err *err)
{
    ERR_clear_error();
    int n = SSL_read(s->ssl, bytes, len > INT_MAX ? INT_MAX : (int)len);
    return n > 0 ? n : outcome(s, n, ret_want, err);
}

long tls_write(struct tls_session *s, const void *bytes, size_t len, enum tls_want *ret_want,
               struct err *err)
{
    ERR_clear_error();
    int n = SSL_write(s->ssl, bytes, len > INT_MAX ? INT_MAX : (int)len);
    return n > 0 ? n : outcome(s, n, ret_want, err);
}

void tls_bye(struct tls_session *s)
{
    ERR_clear_error();
    SSL_shutdown(s->ssl);
    ERR_clear_error();
}
