/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/queue_options.h"

#include "queue/url.h"

/* A host that holds part of a URL would quietly mean another queue. */
static int check_host(const struct options *o, enum option_id id, struct err *err)
{
    const char *host = option_text(o, id), *bad = strpbrk(host, "/@,?#% \t");
    return bad ? err_set(err, TTG_EUSAGE, "%s=%s is no host name", option_rows[id].variable, host)
               : 0;
}

/* An IPv6 address needs brackets inside a URL. */
static int add_host(struct buf *out, const char *host, uint64_t port)
{
    bool bare_ipv6 = strchr(host, ':') && host[0] != '[';
    return buf_printf(out, bare_ipv6 ? "[%s]:%llu" : "%s:%llu", host, (unsigned long long)port);
}

/* A password may hold what means something in a URL. */
static int add_escaped(struct buf *out, struct str text)
{
    int rc = 0;
    for (size_t i = 0; i < text.len && !rc; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     (c != 0 && strchr("-._~", c) != NULL);
        rc = plain ? buf_add_char(out, (char)c) : buf_printf(out, "%%%02X", c);
    }
    return rc;
}

static int add_login(struct buf *out, struct str user, struct str password)
{
    int rc = add_escaped(out, user);
    if (!rc)
        rc = buf_add_char(out, ':');
    if (!rc)
        rc = add_escaped(out, password);
    return rc ? rc : buf_add_char(out, '@');
}

static int add_redis(const struct options *o, struct buf *out)
{
    struct str password = option_str(o, OPT_REDIS_PASSWORD);
    int rc = buf_add_str(out, STR("redis://"));
    if (!rc && password.len > 0)
        rc = add_login(out, STR(""), password);
    return rc ? rc : add_host(out, option_text(o, OPT_REDIS_HOST), option_u64(o, OPT_REDIS_PORT));
}

static int add_rabbitmq(const struct options *o, struct buf *out)
{
    int rc = buf_add_str(out, STR("amqp://"));
    if (!rc)
        rc = add_login(out, option_str(o, OPT_RABBITMQ_USER), option_str(o, OPT_RABBITMQ_PASSWORD));
    if (!rc)
        rc = add_host(out, option_text(o, OPT_RABBITMQ_HOST), option_u64(o, OPT_RABBITMQ_PORT));
    return rc ? rc : buf_add_str(out, STR("/%2F"));
}

static int add_older(const struct options *o, struct buf *out)
{
    bool redis = str_eq(option_str(o, OPT_QUEUE_BACKEND), STR("redis"));
    return redis ? add_redis(o, out) : add_rabbitmq(o, out);
}

int queue_address(const struct options *o, struct buf *out, struct err *err)
{
    struct url url;
    struct err why = {0};
    size_t start = buf_len(out);
    const char *named = option_text(o, OPT_QUEUE);
    if (!named && !option_bool(o, OPT_QUEUE_MODE))
        return 0;
    int rc = 0;
    if (!named && (rc = check_host(o, OPT_REDIS_HOST, err)))
        return rc;
    if (!named && (rc = check_host(o, OPT_RABBITMQ_HOST, err)))
        return rc;
    rc = named ? buf_add_str(out, str_of(named)) : add_older(o, out);
    if (rc)
        return err_set(err, rc, "queue: %s", err_text(rc));
    rc = url_parse(&url, str_make(buf_ptr(out) + start, buf_len(out) - start), &why);
    if (rc) {
        buf_truncate(out, start);
        return err_set(err, rc, "queue: %s", why.text);
    }
    return 0;
}
