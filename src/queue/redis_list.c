/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/redis_list.h"

#include "base/mem.h"
#include "io/loop.h"
#include "queue/resp.h"

enum {
    ANSWER_MS = 5000,
    AGAIN_MS = 300, /* after a failure: a master may be about to be replaced */
    JOBS_A_TURN = 20,
    JOB_BYTES = 65,
    JOBS_MAX = 100000,
    MASTERS_MAX = 1024,
};

enum step { STEP_SLOTS, STEP_SCAN, STEP_JOBS };

struct found {
    char name[JOB_BYTES];
    struct queue_job_info info;
};

struct redis_list {
    struct queue *queue;
    struct queue_list *request;
    struct resp_ask ask;
    struct loop_timer next; /* the next question is put from the loop */
    struct tls *tls;
    enum step step;
    size_t seed, master, master_count;
    struct resp_node masters[MASTERS_MAX];
    char cursor[24];
    struct buf keys; /* that SCAN has found, each with a NUL */
    size_t asked;    /* of them in this turn */
    struct buf found, jobs;
    uint64_t deadline_ms;
};

/* --- the end --- */

static void finish(struct redis_list *l, int rc, const struct err *err)
{
    struct queue_list *r = l->request;
    l->request = NULL;
    loop_timer_stop(&l->next);
    resp_ask_reset(&l->ask);
    queue_finish(&r->call.request, rc, err);
}

static void answer(struct redis_list *l)
{
    struct found *found = (struct found *)(void *)buf_str(&l->found).ptr;
    size_t count = buf_len(&l->found) / sizeof *found;
    struct err err;
    buf_clear(&l->jobs);
    for (size_t i = 0; i < count; i++) {
        found[i].info.job = str_of(found[i].name);
        if (buf_add(&l->jobs, &found[i].info, sizeof found[i].info)) {
            err_set(&err, TTG_ENOMEM, "out of memory");
            finish(l, TTG_ENOMEM, &err);
            return;
        }
    }
    l->request->jobs = (const struct queue_job_info *)(const void *)buf_str(&l->jobs).ptr;
    l->request->count = count;
    finish(l, 0, NULL);
}

/* From the start: what was learned may not be true any more. */
static void again(struct redis_list *l, const struct err *err)
{
    if (loop_now_ms(l->queue->loop) >= l->deadline_ms || err->code == TTG_EAUTH) {
        finish(l, err->code == TTG_EAUTH ? err->code : TTG_EUNREACH, err);
        return;
    }
    l->step = STEP_SLOTS;
    buf_clear(&l->found);
    loop_timer_after_ms(&l->next, AGAIN_MS);
}

/* --- the questions --- */

/* ttg:{NAME}:job */
static bool name_of(const char *key, char out[JOB_BYTES])
{
    struct str s = str_of(key), tail = STR("}:job"), head = STR("ttg:{");
    if (s.len <= head.len + tail.len || s.len - head.len - tail.len >= JOB_BYTES)
        return false;
    size_t len = s.len - head.len - tail.len;
    memcpy(out, s.ptr + head.len, len);
    out[len] = '\0';
    return true;
}

static int put_jobs(struct redis_list *l)
{
    const char *key = buf_cstr(&l->keys), *end = key + buf_len(&l->keys);
    int rc = key ? 0 : TTG_ENOMEM;
    l->asked = 0;
    for (; !rc && key < end && l->asked < JOBS_A_TURN; key += strlen(key) + 1, l->asked++) {
        char workers[128], name[JOB_BYTES];
        name_of(key, name);
        struct buf text;
        buf_init(&text, sizeof workers - 1);
        rc = buf_printf(&text, "ttg:{%s}:workers", name);
        if (!rc) {
            memcpy(workers, buf_ptr(&text), buf_len(&text));
            workers[buf_len(&text)] = '\0';
            rc = resp_ask_put(&l->ask, 8,
                              (const char *const[]){"HMGET", key, "name", "state", "chunks",
                                                    "completed", "dead", "created_ms"});
        }
        if (!rc)
            rc = resp_ask_put(&l->ask, 2, (const char *const[]){"HLEN", workers});
        buf_done(&text);
    }
    return rc;
}

static void on_next(struct loop_timer *t)
{
    struct redis_list *l = container_of(t, struct redis_list, next);
    const struct url *u = l->queue->config->url;
    struct resp_node node;
    struct err err = {0};
    resp_ask_reset(&l->ask);
    int rc = resp_ask_auth(&l->ask, u->user, u->password);
    if (l->step == STEP_SLOTS) {
        size_t i = l->seed++ % u->host_count;
        rc |= !resp_node_set(&node, str_of(u->hosts[i].name), u->hosts[i].port);
        rc |= resp_ask_put(&l->ask, 2, (const char *const[]){"CLUSTER", "SLOTS"});
        l->masters[0] = node;
        l->master = 0;
    } else if (l->step == STEP_SCAN) {
        rc |= resp_ask_put(
            &l->ask, 6,
            (const char *const[]){"SCAN", l->cursor, "MATCH", "ttg:{*}:job", "COUNT", "10000"});
    } else {
        rc |= put_jobs(l);
    }
    const struct resp_node *n = &l->masters[l->master];
    rc = rc ? err_set(&err, TTG_ENOMEM, "out of memory")
            : resp_ask_start(&l->ask,
                             &(struct resp_server){.host = n->host, .port = n->port, .tls = l->tls},
                             ANSWER_MS, &err);
    if (rc)
        again(l, &err);
}

/* --- the answers --- */

static int read_masters(struct redis_list *l, struct str reply, struct err *err)
{
    struct resp_node from = l->masters[0], node;
    struct resp_slots s;
    unsigned first, last;
    if (!resp_slots_begin(&s, reply))
        return err_set(err, TTG_EPROTO, "%s:%u is no node of a Redis Cluster", from.host,
                       from.port);
    l->master_count = 0;
    while (resp_slots_next(&s, &from, &first, &last, &node)) {
        size_t i = 0;
        while (i < l->master_count &&
               (l->masters[i].port != node.port || strcmp(l->masters[i].host, node.host) != 0))
            i++;
        if (i == l->master_count && i < MASTERS_MAX)
            l->masters[l->master_count++] = node;
    }
    if (l->master_count == 0)
        return err_set(err, TTG_EAGAIN, "CLUSTERDOWN nobody serves any slot");
    l->master = 0;
    l->step = STEP_SCAN;
    memcpy(l->cursor, "0", 2);
    return 0;
}

static void next_page(struct redis_list *l)
{
    l->step = STEP_SCAN;
    if (strcmp(l->cursor, "0") == 0)
        l->master++;
}

static int read_keys(struct redis_list *l, struct str reply, struct err *err)
{
    struct resp_cursor c = resp_cursor_of(reply);
    struct str cursor, key;
    size_t parts, count;
    char name[JOB_BYTES], text[128];
    if (!resp_next_array(&c, &parts) || parts != 2 || !resp_next_str(&c, &cursor) ||
        cursor.len >= sizeof l->cursor || !resp_next_array(&c, &count))
        return err_set(err, TTG_EPROTO, "an unexpected answer to SCAN");
    memcpy(l->cursor, cursor.ptr, cursor.len);
    l->cursor[cursor.len] = '\0';
    for (; count > 0 && resp_next_str(&c, &key); count--) {
        if (key.len >= sizeof text)
            continue;
        memcpy(text, key.ptr, key.len);
        text[key.len] = '\0';
        if (name_of(text, name) && buf_add(&l->keys, text, key.len + 1))
            return err_set(err, TTG_ENOMEM, "out of memory");
    }
    if (buf_len(&l->keys) > 0)
        l->step = STEP_JOBS;
    else
        next_page(l);
    return 0;
}

static bool next_number(struct resp_cursor *c, uint64_t *ret)
{
    struct resp_value v;
    *ret = 0;
    if (!resp_next(c, &v))
        return false;
    if (v.type == RESP_INT)
        *ret = (uint64_t)v.number;
    return v.type == RESP_NULL || v.type == RESP_INT ||
           (v.type == RESP_STR && str_to_u64(v.s, ret) == 0);
}

/* A key of that name that is no job is passed over. */
static int read_job(struct redis_list *l, struct str fields, struct str workers)
{
    struct resp_cursor c = resp_cursor_of(fields), w = resp_cursor_of(workers);
    struct found f = {0};
    struct str name;
    uint64_t state;
    size_t parts;
    if (!resp_next_array(&c, &parts) || parts != 6 || !resp_next_str(&c, &name) ||
        name.len >= sizeof f.name || !next_number(&c, &state) || state > LEDGER_CANCELED ||
        !next_number(&c, &f.info.chunks) || !next_number(&c, &f.info.completed) ||
        !next_number(&c, &f.info.dead) || !next_number(&c, &f.info.created_ms) ||
        !next_number(&w, &f.info.workers))
        return 0;
    memcpy(f.name, name.ptr, name.len);
    f.info.state = (enum ledger_state)state;
    return buf_add(&l->found, &f, sizeof f);
}

static int read_jobs(struct redis_list *l, size_t first, struct err *err)
{
    for (size_t i = 0; i < l->asked; i++) {
        if (read_job(l, resp_ask_reply(&l->ask, first + 2 * i),
                     resp_ask_reply(&l->ask, first + 2 * i + 1)))
            return err_set(err, TTG_ENOMEM, "more jobs than can be listed");
        buf_consume(&l->keys, strlen(buf_ptr(&l->keys)) + 1);
    }
    if (buf_len(&l->keys) == 0)
        next_page(l);
    return 0;
}

static void on_answer(struct resp_ask *a, int rc, const struct err *why)
{
    struct redis_list *l = container_of(a, struct redis_list, ask);
    struct err err = {0};
    size_t first = l->queue->config->url->password ? 1 : 0;
    if (rc) {
        again(l, why);
        return;
    }
    struct str reply = resp_ask_reply(a, first);
    struct resp_cursor c = resp_cursor_of(reply);
    struct resp_value v;
    if (resp_next(&c, &v) && v.type == RESP_ERROR)
        rc = resp_decode_error(v.s, &err);
    else
        rc = l->step == STEP_SLOTS  ? read_masters(l, reply, &err)
             : l->step == STEP_SCAN ? read_keys(l, reply, &err)
                                    : read_jobs(l, first, &err);
    if (rc)
        again(l, &err);
    else if (l->step == STEP_SCAN && l->master == l->master_count)
        answer(l);
    else
        loop_timer_after_ms(&l->next, 0);
}

int redis_list_start(struct redis_list **ret_list, struct queue_list *request, struct tls *tls,
                     struct err *err)
{
    struct queue *q = request->call.request.queue;
    struct redis_list *l = mem_zalloc(sizeof *l);
    if (!l)
        return err_set(err, TTG_ENOMEM, "out of memory");
    l->queue = q;
    l->request = request;
    l->tls = tls;
    l->deadline_ms = loop_now_ms(q->loop) + q->config->retry_ms;
    buf_init(&l->keys, 16 << 20);
    buf_init(&l->found, JOBS_MAX * sizeof(struct found));
    buf_init(&l->jobs, JOBS_MAX * sizeof(struct queue_job_info));
    resp_ask_init(&l->ask, q->loop, on_answer, l);
    loop_timer_init(&l->next, q->loop, on_next);
    list_remove(&request->call.request.link); /* it is no matter of the queue's own connection */
    list_init(&request->call.request.link);
    loop_timer_after_ms(&l->next, 0);
    *ret_list = l;
    return 0;
}

void redis_list_stop(struct redis_list *l)
{
    struct err err;
    if (!l)
        return;
    err_set(&err, TTG_ECANCELED, "the queue was closed");
    if (l->request)
        finish(l, TTG_ECANCELED, &err);
    loop_timer_stop(&l->next);
    resp_ask_done(&l->ask);
    buf_done(&l->keys);
    buf_done(&l->found);
    buf_done(&l->jobs);
    mem_free(l);
}
