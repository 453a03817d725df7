/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/resp_locate.h"

#include "queue/resp.h"

#include <stdio.h>

enum { LOOK_MS = 1000, SLOTS = 16384 };

/* --- slots --- */

/* CRC-16/XMODEM, as the cluster specification says. */
static unsigned crc16(struct str s)
{
    unsigned crc = 0;
    for (size_t i = 0; i < s.len; i++) {
        crc ^= (unsigned)(unsigned char)s.ptr[i] << 8;
        for (int k = 0; k < 8; k++)
            crc = crc & 0x8000 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1;
    }
    return crc & 0xffff;
}

unsigned resp_key_slot(struct str key)
{
    struct str behind, tag, rest;
    str_cut(key, '{', &behind);
    if (behind.ptr) {
        tag = str_cut(behind, '}', &rest);
        if (rest.ptr && tag.len > 0)
            key = tag;
    }
    return crc16(key) % SLOTS;
}

bool resp_node_set(struct resp_node *n, struct str host, int64_t port)
{
    if (host.len >= sizeof n->host || port <= 0 || port > 65535)
        return false;
    memcpy(n->host, host.ptr, host.len);
    n->host[host.len] = '\0';
    n->port = (uint16_t)port;
    return true;
}

bool resp_slots_begin(struct resp_slots *s, struct str reply)
{
    s->at = resp_cursor_of(reply);
    return resp_next_array(&s->at, &s->left);
}

/* [first, last, [host, port, ...] of the master, ... of its replicas] */
bool resp_slots_next(struct resp_slots *s, const struct resp_node *from, unsigned *ret_first,
                     unsigned *ret_last, struct resp_node *ret_node)
{
    struct resp_value host;
    int64_t first, last, port;
    size_t parts, words;
    if (s->left == 0 || !resp_next_array(&s->at, &parts) || parts < 3 ||
        !resp_next_int(&s->at, &first) || !resp_next_int(&s->at, &last) ||
        !resp_next_array(&s->at, &words) || words < 2 || !resp_next(&s->at, &host) ||
        !resp_next_int(&s->at, &port) || first < 0 || last < first || last >= SLOTS)
        return false;
    s->left--;
    /* Without a host: the same one as answered. */
    bool named = host.type == RESP_STR && host.s.len > 0 && !str_eq(host.s, STR("?"));
    if (!resp_node_set(ret_node, named ? host.s : str_of(from->host), port))
        return false;
    for (size_t i = 2; i < words; i++)
        resp_skip(&s->at);
    for (size_t i = 3; i < parts; i++)
        resp_skip(&s->at);
    *ret_first = (unsigned)first;
    *ret_last = (unsigned)last;
    return true;
}

/* --- the answers --- */

static void learn(struct resp_locate *l, const struct resp_node *n)
{
    for (size_t i = 0; i < l->learned_count; i++)
        if (l->learned[i].port == n->port && strcmp(l->learned[i].host, n->host) == 0)
            return;
    if (l->learned_count < URL_HOSTS_MAX)
        l->learned[l->learned_count++] = *n;
}

static int read_slots(struct resp_locate *l, struct str reply, struct err *err)
{
    struct resp_slots s;
    struct resp_node node;
    unsigned first, last;
    bool found = false;
    if (!resp_slots_begin(&s, reply))
        return err_set(err, TTG_EPROTO, "%s:%u is no node of a Redis Cluster", l->asked.host,
                       l->asked.port);
    while (resp_slots_next(&s, &l->asked, &first, &last, &node)) {
        learn(l, &node);
        if (l->slot >= first && l->slot <= last) {
            l->found = node;
            found = true;
        }
    }
    return found ? 0
                 : err_set(err, TTG_EAGAIN, "CLUSTERDOWN nobody serves slot %u, says %s:%u",
                           l->slot, l->asked.host, l->asked.port);
}

static int read_master(struct resp_locate *l, struct str reply, struct err *err)
{
    struct resp_cursor c = resp_cursor_of(reply);
    struct str host;
    int64_t port;
    size_t count;
    if (!resp_next_array(&c, &count) || count != 2)
        return err_set(err, TTG_EAGAIN, "the sentinel %s:%u knows no master called %s",
                       l->asked.host, l->asked.port, l->url->path);
    if (!resp_next_str(&c, &host) || !resp_next_int(&c, &port) ||
        !resp_node_set(&l->found, host, port))
        return err_set(err, TTG_EPROTO, "the sentinel %s:%u gives no address", l->asked.host,
                       l->asked.port);
    return 0;
}

static void on_answer(struct resp_ask *a, int rc, const struct err *why)
{
    struct resp_locate *l = container_of(a, struct resp_locate, ask);
    struct resp_value v;
    struct err err = {0};
    if (rc) {
        err_set(&err, rc, "%s:%u: %s", l->asked.host, l->asked.port, why->text);
    } else {
        struct str reply = resp_ask_reply(a, a->expected - 1);
        struct resp_cursor c = resp_cursor_of(reply);
        bool sentinel = l->url->scheme == URL_REDIS_SENTINEL;
        if (resp_next(&c, &v) && v.type == RESP_ERROR)
            rc = resp_decode_error(v.s, &err);
        else
            rc = sentinel ? read_master(l, reply, &err) : read_slots(l, reply, &err);
    }
    l->on_done(l, rc ? &err : NULL);
}

/* --- asking --- */

static const struct resp_node *next_seed(struct resp_locate *l)
{
    size_t i = l->seed++ % (l->url->host_count + l->learned_count);
    if (i >= l->url->host_count)
        l->asked = l->learned[i - l->url->host_count];
    else
        resp_node_set(&l->asked, str_of(l->url->hosts[i].name), l->url->hosts[i].port);
    return &l->asked;
}

int resp_locate_start(struct resp_locate *l, struct err *err)
{
    const struct url *u = l->url;
    const struct resp_node *node = next_seed(l);
    bool sentinel = u->scheme == URL_REDIS_SENTINEL;
    resp_ask_reset(&l->ask);
    /* A sentinel without a password refuses AUTH and answers all the same. */
    int rc = sentinel && u->sentinel_password
                 ? resp_ask_auth(&l->ask, u->sentinel_user, u->sentinel_password)
                 : resp_ask_auth(&l->ask, u->user, u->password);
    if (!rc && sentinel)
        rc = resp_ask_put(&l->ask, 3,
                          (const char *const[]){"SENTINEL", "GET-MASTER-ADDR-BY-NAME", u->path});
    else if (!rc)
        rc = resp_ask_put(&l->ask, 2, (const char *const[]){"CLUSTER", "SLOTS"});
    if (rc)
        return err_set(err, rc, "out of memory");
    return resp_ask_start(
        &l->ask, &(struct resp_server){.host = node->host, .port = node->port, .tls = l->tls},
        LOOK_MS, err);
}

void resp_locate_init(struct resp_locate *l, struct loop *loop, const struct url *url,
                      struct tls *tls, void (*on_done)(struct resp_locate *l, const struct err *e),
                      void *ctx)
{
    *l = (struct resp_locate){.url = url, .tls = tls, .on_done = on_done, .ctx = ctx};
    resp_ask_init(&l->ask, loop, on_answer, l);
}

void resp_locate_done(struct resp_locate *l)
{
    resp_ask_done(&l->ask);
}

void resp_locate_stop(struct resp_locate *l)
{
    resp_ask_reset(&l->ask);
}
