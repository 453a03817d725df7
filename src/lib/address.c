/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/address.h"

#include "base/mem.h"
#include "io/random.h"
#include "lib/sized.h"

static int check_scheme(const struct url *u, struct err *err)
{
    switch (u->scheme) {
    case URL_TTG_UNIX:
    case URL_TTG:
    case URL_REDIS:
    case URL_REDIS_SENTINEL:
    case URL_REDIS_CLUSTER:
    case URL_AMQP:
        return 0;
    case URL_EMBEDDED:
        return err_set(err, TTG_EUNSUPPORTED,
                       "the library has no node inside: start one with `ttg node --data DIR --unix "
                       "PATH` and use ttg+unix:PATH");
    }
    return err_set(err, TTG_EUNSUPPORTED, "the library does not know this kind of queue");
}

static int fill(struct address *a, const char *url, const struct ttg_queue_options *options,
                struct err *err)
{
    struct ttg_queue_options o;
    int rc = sized_in(&o, sizeof o, options, err);
    if (!rc)
        rc = url_parse(&a->url, str_of(url), err);
    if (!rc)
        rc = check_scheme(&a->url, err);
    if (rc)
        return rc;
    const char *given[] = {o.client_name, o.tls_ca_file, o.tls_cert_file, o.tls_key_file};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        if (given[i] && !(a->texts[i] = mem_strdup(given[i])))
            return err_set(err, TTG_ENOMEM, "out of memory");
    a->config = (struct queue_config){
        .url = &a->url,
        .client_name = a->texts[0],
        .tls_ca = a->texts[1],
        .tls_cert = a->texts[2],
        .tls_key = a->texts[3],
        .tls_no_verify = o.tls_no_verify != 0,
        .retry_ms = o.retry_ms ? o.retry_ms : QUEUE_RETRY_MS,
    };
    return 0;
}

int address_new(struct address **ret_address, const char *url,
                const struct ttg_queue_options *options, struct err *err)
{
    if (!url)
        return err_set(err, TTG_EINVAL, "no address of a queue given");
    struct address *a = mem_zalloc(sizeof *a);
    if (!a)
        return err_set(err, TTG_ENOMEM, "out of memory");
    a->refs = 1;
    int rc = fill(a, url, options, err);
    if (rc)
        address_unref(a);
    else
        *ret_address = a;
    return rc;
}

struct address *address_ref(struct address *a)
{
    atomic_fetch_add(&a->refs, 1);
    return a;
}

void address_unref(struct address *a)
{
    if (!a || atomic_fetch_sub(&a->refs, 1) > 1)
        return;
    for (size_t i = 0; i < sizeof a->texts / sizeof *a->texts; i++)
        mem_free(a->texts[i]);
    mem_free(a);
}

struct queue_config address_config(const struct address *a)
{
    struct queue_config c = a->config;
    c.seed = random_u64();
    return c;
}
