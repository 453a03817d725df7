/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/url.h"

#include <stdio.h>

struct scheme_row {
    const char *name;
    enum url_scheme scheme;
    bool tls, hosts;
    uint16_t port;
};

static const struct scheme_row schemes[] = {
    {"embedded", URL_EMBEDDED, false, false, 0},
    {"ttg+unix", URL_TTG_UNIX, false, false, 0},
    {"ttg", URL_TTG, false, true, 7379},
    {"ttgs", URL_TTG, true, true, 7379},
    {"redis", URL_REDIS, false, true, 6379},
    {"rediss", URL_REDIS, true, true, 6379},
    {"redis+sentinel", URL_REDIS_SENTINEL, false, true, 26379},
    {"rediss+sentinel", URL_REDIS_SENTINEL, true, true, 26379},
    {"redis+cluster", URL_REDIS_CLUSTER, false, true, 6379},
    {"rediss+cluster", URL_REDIS_CLUSTER, true, true, 6379},
    {"amqp", URL_AMQP, false, true, 5672},
    {"amqps", URL_AMQP, true, true, 5671},
};

enum { SCHEMES = sizeof schemes / sizeof *schemes };

/* Copies into u->bytes; the text is short enough for all parts together to fit. */
struct keeper {
    struct url *u;
    size_t used;
};

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static const char *keep(struct keeper *k, struct str s)
{
    char *at = k->u->bytes + k->used;
    memcpy(at, s.ptr, s.len);
    at[s.len] = '\0';
    k->used += s.len + 1;
    return at;
}

/* NULL when an escape is broken or stands for NUL. */
static const char *keep_decoded(struct keeper *k, struct str s)
{
    char *at = k->u->bytes + k->used, *out = at;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '%') {
            *out++ = s.ptr[i];
            continue;
        }
        int high = i + 2 < s.len ? hex(s.ptr[i + 1]) : -1;
        int low = i + 2 < s.len ? hex(s.ptr[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return NULL;
        *out++ = (char)(high << 4 | low);
        i += 2;
    }
    *out = '\0';
    k->used += (size_t)(out - at) + 1;
    return at;
}

static int parse_host(struct keeper *k, struct str text, uint16_t port, struct err *err)
{
    struct url *u = k->u;
    struct str name, rest = {0};
    uint64_t number = port;
    if (text.len > 0 && text.ptr[0] == '[') {
        struct str inner = str_cut(str_make(text.ptr + 1, text.len - 1), ']', &rest);
        if (!rest.ptr || (rest.len > 0 && rest.ptr[0] != ':'))
            return err_set(err, TTG_EUSAGE,
                           "queue address: '%.*s': an IPv6 address is written [ADDRESS]:PORT",
                           STR_ARG(text));
        name = inner;
        rest = rest.len > 0 ? str_make(rest.ptr + 1, rest.len - 1) : (struct str){0};
    } else {
        name = str_cut(text, ':', &rest);
    }
    if (name.len == 0)
        return err_set(err, TTG_EUSAGE, "queue address: a host name is missing");
    if (rest.ptr && (str_to_u64(rest, &number) || number == 0 || number > 65535))
        return err_set(err, TTG_EUSAGE,
                       "queue address: port '%.*s' is not a number from 1 to 65535", STR_ARG(rest));
    if (u->host_count == URL_HOSTS_MAX)
        return err_set(err, TTG_EUSAGE, "queue address: more than %d hosts", URL_HOSTS_MAX);
    u->hosts[u->host_count].name = keep(k, name);
    u->hosts[u->host_count++].port = (uint16_t)number;
    return 0;
}

static int parse_db(struct url *u, struct str text, struct err *err)
{
    uint64_t db = 0;
    if (text.len > 0 && (str_to_u64(text, &db) || db > 65535))
        return err_set(err, TTG_EUSAGE, "queue address: database '%.*s' is not a number",
                       STR_ARG(text));
    u->db = (unsigned)db;
    return 0;
}

/* "sentinel_user=U&sentinel_password=P" */
static int parse_query(struct keeper *k, struct str query, struct err *err)
{
    struct url *u = k->u;
    while (query.len > 0) {
        struct str rest, value, one = str_cut(query, '&', &rest);
        struct str name = str_cut(one, '=', &value);
        const char **slot = str_eq(name, STR("sentinel_user"))       ? &u->sentinel_user
                            : str_eq(name, STR("sentinel_password")) ? &u->sentinel_password
                                                                     : NULL;
        if (!slot || !value.ptr || u->scheme != URL_REDIS_SENTINEL)
            return err_set(err, TTG_EUSAGE,
                           "queue address: '?%.*s' is not known; redis+sentinel takes "
                           "sentinel_user= and sentinel_password=",
                           STR_ARG(name));
        *slot = keep_decoded(k, value);
        if (!*slot)
            return err_set(err, TTG_EUSAGE, "queue address: broken %%XX in %.*s", STR_ARG(name));
        query = rest;
    }
    return 0;
}

/* The part behind the hosts: what it means depends on the scheme. */
static int parse_tail(struct keeper *k, struct str tail, struct err *err)
{
    struct url *u = k->u;
    struct str rest;
    int rc;
    switch (u->scheme) {
    case URL_REDIS:
        rc = parse_db(u, tail, err);
        if (rc)
            return rc;
        break;
    case URL_REDIS_SENTINEL:
        tail = str_cut(tail, '/', &rest);
        rc = parse_db(u, rest, err);
        if (rc)
            return rc;
        if (tail.len == 0)
            return err_set(err, TTG_EUSAGE,
                           "queue address: redis+sentinel needs the name of the master: "
                           "redis+sentinel://HOST,HOST/NAME");
        break;
    case URL_AMQP:
        if (tail.len == 0)
            tail = STR("/");
        break;
    default:
        if (tail.len > 0)
            return err_set(err, TTG_EUSAGE,
                           "queue address: nothing may follow the hosts, found '/%.*s'",
                           STR_ARG(tail));
        return 0;
    }
    u->path = u->scheme == URL_REDIS ? "" : keep_decoded(k, tail);
    return u->path
               ? 0
               : err_set(err, TTG_EUSAGE, "queue address: broken %%XX in '%.*s'", STR_ARG(tail));
}

static int parse_user(struct keeper *k, struct str user, struct err *err)
{
    struct str password;
    struct str name = str_cut(user, ':', &password);
    if (name.len > 0)
        k->u->user = keep_decoded(k, name);
    if (password.ptr)
        k->u->password = keep_decoded(k, password);
    if ((name.len > 0 && !k->u->user) || (password.ptr && !k->u->password))
        return err_set(err, TTG_EUSAGE, "queue address: broken %%XX in the user name or password");
    return 0;
}

static int parse_network(struct keeper *k, struct str rest, uint16_t port, struct err *err)
{
    if (!str_starts(rest, STR("//")))
        return err_set(err, TTG_EUSAGE, "queue address: '//' is missing behind the scheme");
    rest = str_make(rest.ptr + 2, rest.len - 2);
    struct str query = {0};
    if (k->u->scheme == URL_REDIS_SENTINEL) { /* elsewhere a ? is part of a name or a mistake */
        rest = str_cut(rest, '?', &query);
        int rc = parse_query(k, query, err);
        if (rc)
            return rc;
    }
    /* A password may hold '@' only as %40, but people forget: the last one before '/' counts. */
    struct str tail, authority = str_cut(rest, '/', &tail), hosts = authority;
    const char *at = authority.len > 0 ? memrchr(authority.ptr, '@', authority.len) : NULL;
    if (at) {
        size_t len = (size_t)(at - authority.ptr);
        hosts = str_make(at + 1, authority.len - len - 1);
        int rc = parse_user(k, str_make(authority.ptr, len), err);
        if (rc)
            return rc;
    }
    do {
        struct str next, host = str_cut(hosts, ',', &next);
        int rc = parse_host(k, host, port, err);
        if (rc)
            return rc;
        hosts = next;
    } while (hosts.ptr);
    return parse_tail(k, tail, err);
}

int url_parse(struct url *u, struct str text, struct err *err)
{
    *u = (struct url){.path = ""};
    struct keeper k = {u, 0};
    struct str rest, name = str_cut(text, ':', &rest);
    if (text.len >= URL_TEXT_BYTES_MAX || memchr(text.ptr, '\0', text.len))
        return err_set(err, TTG_EUSAGE, "queue address: longer than %d bytes, or with a NUL byte",
                       URL_TEXT_BYTES_MAX - 1);
    const struct scheme_row *row = NULL;
    for (size_t i = 0; i < SCHEMES && !row; i++)
        if (str_eq(name, str_of(schemes[i].name)))
            row = &schemes[i];
    if (!row || !rest.ptr)
        return err_set(
            err, TTG_EUSAGE,
            "queue address: unknown kind '%.*s'; use embedded:DIR, ttg://, ttgs://, ttg+unix:PATH, "
            "redis://, rediss://, redis+sentinel://, redis+cluster://, rediss+sentinel://, "
            "rediss+cluster://, amqp:// or amqps://",
            (int)(name.len > 40 ? 40 : name.len), name.ptr);
    u->scheme = row->scheme;
    u->tls = row->tls;
    if (row->hosts)
        return parse_network(&k, rest, row->port, err);
    if (rest.len == 0)
        return err_set(err, TTG_EUSAGE, "queue address: %s: needs a path", row->name);
    u->path = keep(&k, rest);
    return 0;
}

void url_show(const struct url *u, char *out)
{
    size_t used = 0, cap = URL_TEXT_BYTES_MAX;
    const struct scheme_row *row = schemes;
    while (row->scheme != u->scheme || row->tls != u->tls)
        row++;
    used += (size_t)snprintf(out, cap, row->hosts ? "%s://" : "%s:", row->name);
    if (u->user)
        used += (size_t)snprintf(out + used, cap - used, "%s@", u->user);
    for (size_t i = 0; i < u->host_count && used < cap; i++) {
        bool six = strchr(u->hosts[i].name, ':');
        used +=
            (size_t)snprintf(out + used, cap - used, "%s%s%s%s:%u", i ? "," : "", six ? "[" : "",
                             u->hosts[i].name, six ? "]" : "", u->hosts[i].port);
    }
    if (*u->path && used < cap)
        used += (size_t)snprintf(out + used, cap - used, "%s%s",
                                 row->hosts && strcmp(u->path, "/") != 0 ? "/" : "", u->path);
    if (u->db > 0 && used < cap)
        snprintf(out + used, cap - used, "/%u", u->db);
}
