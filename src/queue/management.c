/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/management.h"

#include "io/loop.h"
#include "io/tls.h"

#include <stdio.h>

enum {
    ANSWER_MS = 10000,
    MANAGEMENT_PORT = 15672,
    MANAGEMENT_PORT_TLS = 15671,
    PATH_BYTES_MAX = 4096,
};

static void on_done(struct http_client *c, int rc, const struct http_answer *answer,
                    const struct err *err)
{
    struct management *m = c->ctx;
    struct json value = {.type = JSON_NULL};
    struct err why = {0};
    if (rc)
        why = *err;
    else if (answer->status != 200)
        rc = err_set(&why, answer->status == 401 || answer->status == 403 ? TTG_EAUTH : TTG_EPROTO,
                     "the management API answers %d to %s", answer->status, buf_cstr(&m->path));
    m->date_ms = rc ? 0 : answer->date_ms;
    buf_clear(&m->body);
    if (!rc && buf_add_str(&m->body, answer->body))
        rc = err_set(&why, TTG_ENOMEM, "out of memory");
    if (!rc)
        rc = json_parse(buf_str(&m->body), &value, &why);
    m->at += rc != 0;
    m->on_answer(m->ctx, rc, value, &why);
}

/* "http://HOST:PORT", or the host of the queue's address whose turn it is. */
static int choose(struct management *m, struct err *err)
{
    const struct url *u = m->config->url;
    const char *given = m->given;
    uint64_t port = 0;
    m->secure = given ? strncmp(given, "https://", 8) == 0 : u->tls;
    m->port = m->secure ? MANAGEMENT_PORT_TLS : MANAGEMENT_PORT;
    if (!given) {
        snprintf(m->host, sizeof m->host, "%s", u->hosts[m->at % u->host_count].name);
        return 0;
    }
    struct str rest = str_of(given), end;
    rest = m->secure                           ? str_make(given + 8, rest.len - 8)
           : strncmp(given, "http://", 7) == 0 ? str_make(given + 7, rest.len - 7)
                                               : (struct str){0};
    struct str authority = str_cut(rest, '/', &end);
    const char *colon = authority.len ? memrchr(authority.ptr, ':', authority.len) : NULL;
    size_t len = colon ? (size_t)(colon - authority.ptr) : authority.len;
    if (len == 0 || len >= sizeof m->host ||
        (colon && (str_to_u64(str_make(colon + 1, authority.len - len - 1), &port) || port == 0 ||
                   port > 65535)))
        return err_set(err, TTG_EUSAGE, "--management %s is no http://HOST:PORT", given);
    if (colon)
        m->port = (uint16_t)port;
    bool six = authority.ptr[0] == '[' && len > 2;
    snprintf(m->host, sizeof m->host, "%.*s", (int)(six ? len - 2 : len),
             authority.ptr + (six ? 1 : 0));
    return 0;
}

int management_open(struct management *m, struct loop *loop, const struct queue_config *config,
                    const char *given, struct err *err)
{
    *m = (struct management){.config = config, .given = given};
    buf_init(&m->path, PATH_BYTES_MAX);
    buf_init(&m->body, HTTP_BODY_BYTES_MAX);
    http_client_init(&m->client, loop, on_done, m);
    int rc = choose(m, err);
    return rc || !m->secure ? rc : queue_tls(config, &m->tls, err);
}

void management_close(struct management *m)
{
    if (!m->config)
        return;
    http_client_done(&m->client);
    buf_done(&m->path);
    buf_done(&m->body);
    tls_free(m->tls);
}

int management_start(struct management *m, const char *path, struct err *err)
{
    const struct url *u = m->config->url;
    struct http_get what = {.host = m->host,
                            .port = m->port,
                            .path = path,
                            .user = u->user ? u->user : "guest",
                            .password = u->password ? u->password : "guest",
                            .timeout_ms = ANSWER_MS};
    buf_clear(&m->path);
    int rc = choose(m, err);
    what.tls = m->tls;
    if (!rc && buf_add_str(&m->path, str_of(path)))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    if (!rc && (rc = http_client_start(&m->client, &what, err)) != 0)
        m->at++;
    return rc;
}

struct waiting {
    bool done;
    int rc;
    struct json value;
    struct err *err;
};

static void on_waited(void *ctx, int rc, struct json value, const struct err *err)
{
    struct waiting *w = ctx;
    w->done = true;
    w->rc = rc;
    w->value = value;
    if (rc)
        *w->err = *err;
}

int management_get(struct management *m, const char *path, struct json *ret_value, struct err *err)
{
    size_t tries = m->given || m->one_host ? 1 : m->config->url->host_count;
    int rc = TTG_EUNREACH;
    m->on_answer = on_waited;
    for (size_t i = 0; rc && i < tries; i++) {
        struct waiting w = {.err = err};
        m->ctx = &w;
        rc = management_start(m, path, err);
        while (!rc && !w.done)
            rc = loop_turn(m->client.loop, LOOP_FOREVER);
        rc = rc ? rc : w.rc;
        if (!rc)
            *ret_value = w.value;
    }
    return rc;
}

struct json management_member(struct json object, struct str name)
{
    struct str at = object.type == JSON_OBJECT ? json_inside(object) : STR("");
    struct json key, value;
    while (json_next(&at, &key, &value))
        if (json_is(key, name))
            return value;
    return (struct json){.type = JSON_NULL};
}

int management_add_word(struct buf *out, struct str text)
{
    int rc = 0;
    for (size_t i = 0; i < text.len && !rc; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || c == '.';
        rc = plain ? buf_add_char(out, (char)c) : buf_printf(out, "%%%02X", c);
    }
    return rc;
}
