/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/part.h"

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/realclock.h"
#include "pipeline/claim.h"
#include "pipeline/kinds.h"

#include <stdio.h>

enum {
    ROOM_PAUSE_MS = 10,   /* between looks at a full stage downstream */
    READY_PAUSE_MS = 100, /* until a file is free */
    PATH_BYTES_MAX = 300, /* longer ones are hashed */
};

/* --- putting a commit together --- */

struct part_message *part_first(struct part *p)
{
    struct list *it = list_first(&p->messages);
    return it ? container_of(it, struct part_message, link) : NULL;
}

void part_done(struct part *p, struct part_message *m)
{
    p->acked = m->tag;
    list_remove(&m->link);
    p->message_count--;
    mem_free(m);
}

static int add_send(struct part *p, size_t down, size_t at)
{
    if (p->send_count == p->send_cap) {
        size_t cap = p->send_cap ? p->send_cap * 2 : 64;
        struct part_send *more = mem_realloc(p->sends, cap * sizeof *more);
        if (!more)
            return TTG_ENOMEM;
        p->sends = more;
        p->send_cap = cap;
    }
    p->sends[p->send_count++] = (struct part_send){down, at, buf_len(&p->bytes) - at};
    return 0;
}

int part_send(struct part *p, const struct message *m)
{
    size_t at = buf_len(&p->bytes), base = 0;
    int rc = message_add(&p->bytes, m);
    for (size_t k = 0; k < p->stage->to_count && !rc; k++) {
        const struct spec_stage *to = &p->config.spec->stages[p->stage->to[k]];
        bool all = m->end && route_end_to_all(to, m->client);
        size_t first = all ? 0 : route_partition(to, m), last = all ? to->partitions - 1 : first;
        for (size_t i = first; i <= last && !rc; i++)
            rc = add_send(p, base + i, at);
        base += to->partitions;
    }
    p->sent += !m->end;
    return rc;
}

int part_send_end(struct part *p, struct str client, struct str path)
{
    char hash[MESSAGE_TEXT_BYTES_MAX];
    struct buf whole, id;
    buf_init(&whole, 2ul * MESSAGE_TEXT_BYTES_MAX);
    buf_init(&id, 2ul * MESSAGE_TEXT_BYTES_MAX);
    int rc = path.len > 0 ? buf_printf(&whole, "%.*s/%s", STR_ARG(path), p->name)
                          : buf_add_str(&whole, str_of(p->name));
    struct message m = {.client = client, .end = true, .path = buf_str(&whole)};
    if (m.path.len > PATH_BYTES_MAX)
        m.path = message_hash_id(hash, path, str_of(p->name));
    if (!rc)
        rc = buf_printf(&id, "end:%.*s", STR_ARG(m.path));
    m.id = buf_str(&id);
    if (!rc)
        rc = part_send(p, &m);
    buf_done(&whole);
    buf_done(&id);
    return rc;
}

int part_send_dead(struct part *p, struct str text, struct str reason, uint64_t attempts)
{
    char at_text[CLOCK_TEXT_BYTES];
    struct clock *clock = realclock();
    struct buf *b = &p->bytes;
    size_t at = buf_len(b);
    clock_text(at_text, clock->wall_ms(clock));
    int rc =
        buf_printf(b, "{\"stage\":\"%s\",\"partition\":%zu,\"attempts\":%llu,\"dead_at\":\"%s\",",
                   p->stage->name, p->config.partition, (unsigned long long)attempts, at_text);
    if (!rc)
        rc = buf_add_str(b, STR("\"reason\":"));
    if (!rc)
        rc = buf_add_json(b, reason);
    if (!rc)
        rc = buf_add_str(b, STR(",\"message\":"));
    if (!rc)
        rc = buf_add_json(b, text);
    if (!rc)
        rc = buf_add_char(b, '}');
    log_warn("message.dead", kv_str("partition", p->name), kv_s("reason", reason),
             kv_u64("attempts", attempts));
    p->counts.dead += !rc;
    return rc ? rc : add_send(p, p->down_count - 1, at);
}

void part_unsend(struct part *p)
{
    buf_clear(&p->bytes);
    p->send_count = 0;
    p->sent = 0;
}

bool part_is_enough(const struct part *p)
{
    return p->send_count >= PART_OUTS_MAX || buf_len(&p->bytes) >= PART_OUT_BYTES;
}

/* --- turns --- */

static void forget(struct part *p)
{
    for (struct part_message *m; (m = part_first(p));)
        part_done(p, m);
    buf_clear(&p->bytes);
    p->send_count = 0;
    p->acked = p->sent = 0;
    p->working = p->committing = false;
    loop_timer_stop(&p->timer);
}

void part_fail(struct part *p, const struct err *err)
{
    struct err why = *err;
    if (p->over)
        return;
    p->over = true;
    p->owned = false;
    loop_timer_stop(&p->timer);
    p->config.on_over(p->config.ctx, p, &why);
}

static bool is_full(const struct part *p)
{
    size_t i = 0;
    for (size_t k = 0; k < p->stage->to_count; k++) {
        const struct spec_stage *to = &p->config.spec->stages[p->stage->to[k]];
        for (size_t n = 0; n < to->partitions; n++)
            if (pipe_backlog_of(p->pipe, i++) >= to->limit)
                return true;
    }
    return false;
}

void part_pump(struct part *p)
{
    if (p->over || !p->owned || p->working || p->committing)
        return;
    if (list_empty(&p->messages) && !(p->kind->wants && p->kind->wants(p)))
        return;
    if (is_full(p)) { /* back-pressure: what is upstream waits, too */
        loop_timer_after_ms(&p->timer, ROOM_PAUSE_MS);
        return;
    }
    p->working = true;
    p->kind->work(p);
}

static void start_commit(struct part *p)
{
    struct err err;
    struct pipe_out *outs = mem_array(p->send_count + 1, sizeof *outs);
    int rc = outs ? 0 : TTG_ENOMEM;
    for (size_t i = 0; i < p->send_count && !rc; i++)
        outs[i] = (struct pipe_out){p->downs[p->sends[i].down],
                                    str_make(buf_ptr(&p->bytes) + p->sends[i].at, p->sends[i].len)};
    p->committing = true;
    if (!rc)
        rc = pipe_commit(p->pipe, outs, p->send_count, p->acked);
    mem_free(outs);
    buf_clear(&p->bytes);
    p->send_count = 0;
    p->acked = 0;
    if (rc) {
        err_set(&err, rc, "%s: a commit cannot be sent: %s", p->name, err_text(rc));
        part_fail(p, &err);
    }
}

void part_commit(struct part *p)
{
    ensure(p->working);
    p->working = false;
    if (p->over)
        return;
    if (p->send_count > 0 || p->acked > 0)
        start_commit(p);
    else
        part_pump(p);
}

void part_pause(struct part *p, uint64_t ms)
{
    ensure(p->working);
    if (p->over)
        return;
    if (p->send_count > 0 || p->acked > 0) {
        p->working = false;
        start_commit(p); /* the kind finds out by itself how long it still has to wait */
        return;
    }
    p->working = false;
    loop_timer_after_ms(&p->timer, ms);
}

static void on_committed(void *ctx)
{
    struct part *p = ctx;
    struct err err;
    p->committing = false;
    p->counts.out += p->sent;
    p->sent = 0;
    int rc = p->kind->committed ? p->kind->committed(p, &err) : 0;
    if (rc)
        part_fail(p, &err);
    else
        part_pump(p);
}

static void on_looked(void *ctx)
{
    part_pump(ctx);
}

static void become_ready(struct part *p)
{
    struct err err = {0};
    int rc = claim_epoch(p->config.state, p->name, p->config.epoch, &err);
    if (!rc)
        rc = p->kind->ready(p, &err);
    if (rc == TTG_EAGAIN) {
        loop_timer_after_ms(&p->timer, READY_PAUSE_MS);
        return;
    }
    if (rc) {
        part_fail(p, &err);
        return;
    }
    p->owned = true;
    part_pump(p);
}

/* Who waits: for a file, for room downstream, for the time of another attempt. */
static void on_timer(struct loop_timer *t)
{
    struct part *p = container_of(t, struct part, timer);
    if (p->over)
        return;
    if (!p->owned)
        become_ready(p);
    else if (is_full(p))
        pipe_look(p->pipe);
    else
        part_pump(p);
}

static void on_ready(void *ctx)
{
    struct part *p = ctx;
    if (p->over)
        return;
    forget(p);
    p->owned = false;
    /* From the loop: the pipe is still busy telling us. */
    loop_timer_after_ms(&p->timer, 0);
}

static void on_message(void *ctx, uint64_t tag, struct str body)
{
    struct part *p = ctx;
    struct part_message *m = mem_alloc(sizeof *m + body.len + 1);
    struct err err;
    if (p->over)
        return;
    if (!m) {
        err_set(&err, TTG_ENOMEM, "%s: out of memory", p->name);
        part_fail(p, &err);
        return;
    }
    m->tag = tag;
    m->len = body.len;
    memcpy(m->bytes, body.ptr, body.len);
    list_push_back(&p->messages, &m->link);
    p->message_count++;
    if (!loop_timer_is_set(&p->timer))
        loop_timer_after_ms(&p->timer, 0); /* what came together is handled together */
}

static void on_lost(void *ctx, const struct err *err)
{
    part_fail(ctx, err);
}

/* --- life --- */

static const struct part_kind *kind_of(const struct spec_stage *st)
{
    switch (st->kind) {
    case SPEC_SOURCE:
        return &source_kind;
    case SPEC_AGGREGATE:
        return &aggregate_kind;
    case SPEC_SINK:
        return &sink_kind;
    default:
        return &run_kind;
    }
}

static int name_downs(struct part *p)
{
    size_t count = 1, at = 0;
    for (size_t k = 0; k < p->stage->to_count; k++)
        count += p->config.spec->stages[p->stage->to[k]].partitions;
    p->downs = mem_zalloc(count * sizeof *p->downs);
    if (!p->downs)
        return TTG_ENOMEM;
    p->down_count = count;
    for (size_t k = 0; k < p->stage->to_count; k++) {
        const struct spec_stage *to = &p->config.spec->stages[p->stage->to[k]];
        for (size_t i = 0; i < to->partitions; i++) {
            char name[PIPE_NAME_BYTES];
            snprintf(name, sizeof name, "%s.%zu", to->name, i);
            p->downs[at++] = mem_strdup(name);
        }
    }
    char dead[PIPE_NAME_BYTES];
    snprintf(dead, sizeof dead, "%s.dead", p->stage->name);
    p->downs[at++] = mem_strdup(dead);
    for (size_t i = 0; i < count; i++)
        if (!p->downs[i])
            return TTG_ENOMEM;
    return 0;
}

static int open_pipe(struct part *p, struct err *err)
{
    struct pipe_config config = {.queue = p->config.queue,
                                 .name = p->config.spec->name,
                                 .inbox = p->name,
                                 .epoch = p->config.epoch,
                                 .credit = PART_CREDIT,
                                 .downs = (const char *const *)p->downs,
                                 .down_count = p->down_count,
                                 .ctx = p,
                                 .on_ready = on_ready,
                                 .on_message = on_message,
                                 .on_committed = on_committed,
                                 .on_looked = on_looked,
                                 .on_lost = on_lost};
    return pipe_open(&p->pipe, p->config.loop, &config, err);
}

int part_open(struct part **ret_part, const struct part_config *config, struct err *err)
{
    struct part *p = mem_zalloc(sizeof *p);
    if (!p)
        return err_set(err, TTG_ENOMEM, "out of memory");
    p->config = *config;
    p->stage = &config->spec->stages[config->stage];
    p->kind = kind_of(p->stage);
    list_init(&p->messages);
    buf_init(&p->bytes, 1 << 30);
    buf_init(&p->room, MESSAGE_BYTES_MAX);
    loop_timer_init(&p->timer, config->loop, on_timer);
    snprintf(p->name, sizeof p->name, "%s.%zu", p->stage->name, config->partition);
    int rc = name_downs(p);
    if (rc)
        err_set(err, rc, "%s: out of memory", p->name);
    if (!rc && p->kind->open)
        rc = p->kind->open(p, err);
    if (!rc)
        rc = open_pipe(p, err);
    if (rc) {
        part_close(p);
        return rc;
    }
    *ret_part = p;
    return 0;
}

void part_close(struct part *p)
{
    if (!p)
        return;
    p->over = true;
    loop_timer_stop(&p->timer);
    pipe_close(p->pipe);
    p->kind->close(p);
    forget(p);
    for (size_t i = 0; p->downs && i < p->down_count; i++)
        mem_free(p->downs[i]);
    mem_free(p->downs);
    mem_free(p->sends);
    buf_done(&p->bytes);
    buf_done(&p->room);
    mem_free(p);
}

void part_drain(struct part *p)
{
    p->draining = true;
}

bool part_is_idle(const struct part *p)
{
    return p->owned && !p->working && !p->committing && list_empty(&p->messages) &&
           !(p->kind->wants && p->kind->wants(p));
}
