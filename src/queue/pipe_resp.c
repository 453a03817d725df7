/* SPDX-License-Identifier: Apache-2.0 */
/* pipe_resp - a pipe on a ttg node or a single Redis.
 *
 * An inbox is a stream that holds exactly what was not acknowledged. Its owner reads it from the
 * start with a cursor of its own: no group, since a second, older reader then does no harm. The key
 * beside it names the owner's epoch and is watched all the time; a commit is
 *
 *     MULTI, XADD ... to other inboxes, XTRIM of this one, EXEC, WATCH owner, GET owner, XLEN ...
 *
 * in one write, so it happens as a whole and only while nobody else has taken the inbox. Two
 * connections: one may wait in XREAD while the other commits. */
#include "base/log.h"
#include "base/mem.h"
#include "queue/pipe_impl.h"
#include "queue/queue.h"
#include "queue/resp_line.h"

#include <stdio.h>

enum {
    READ_BLOCK_MS = 2000,
    REFUSED_PAUSE_MS = 200, /* a full disk or memory at the other end */
    COMMIT_BYTES_MAX = 256 << 20,
};

struct entry_id {
    uint64_t ms, seq;
};

enum step { STEP_IDLE, STEP_CLAIM, STEP_LOOK, STEP_COMMIT };

struct pipe_resp {
    struct pipe pipe;
    struct resp_line reader, writer;
    char inbox[PIPE_NAME_BYTES + 80], owner[PIPE_NAME_BYTES + 80];
    enum step step;
    size_t head, reply;  /* of the present step: answers of the transaction; which comes next */
    uint64_t owned_by;   /* what GET of the owner said in this step */
    bool taken, refused; /* EXEC did not happen; some command was refused */
    bool looking;        /* on_looked is due */
    bool waiting;        /* a commit waits for the end of a look */
    struct buf commit;   /* its commands, for sending again */
    size_t commit_words;
    struct loop_timer pause;
    struct entry_id last; /* read so far */
    bool reading;
    struct entry_id *given; /* not acknowledged: a ring */
    uint32_t given_cap, given_at, given_count;
    uint64_t first_tag; /* of the oldest of them */
};

static struct pipe_resp *resp_of(struct pipe *p)
{
    return container_of(p, struct pipe_resp, pipe);
}

static void key_of(const struct pipe_resp *p, char out[PIPE_NAME_BYTES + 80], const char *kind,
                   const char *inbox)
{
    snprintf(out, PIPE_NAME_BYTES + 80, "ttg:{%s}:%s:%s", p->pipe.config.name, kind, inbox);
}

static int word(struct buf *b, const char *text)
{
    return resp_word(b, str_of(text));
}

static void lose(struct pipe_resp *p, const struct err *why)
{
    struct err err = *why; /* which may be inside of what is closed here */
    loop_timer_stop(&p->pause);
    resp_line_close(&p->reader);
    resp_line_close(&p->writer);
    pipe_lose(&p->pipe, &err);
}

static void lose_memory(struct pipe_resp *p)
{
    struct err err;
    err_set(&err, TTG_ENOMEM, "out of memory");
    lose(p, &err);
}

static void fence(struct pipe_resp *p)
{
    struct err err;
    err_set(&err, TTG_ESTALE, "%s has another owner: epoch %llu, ours is %llu",
            p->pipe.config.inbox, (unsigned long long)p->owned_by,
            (unsigned long long)p->pipe.config.epoch);
    lose(p, &err);
}

/* --- reading --- */

static void read_more(struct pipe_resp *p)
{
    struct buf *b = &p->reader.conn.out;
    const struct pipe_config *c = &p->pipe.config;
    char from[48];
    /* Half of the credit first: many small reads would cost more than they bring. */
    if (!p->pipe.ready || !p->reader.up || p->reading || !c->inbox ||
        p->given_count > c->credit / 2)
        return;
    snprintf(from, sizeof from, "%llu-%llu", (unsigned long long)p->last.ms,
             (unsigned long long)p->last.seq);
    int rc = resp_command(b, 8) | word(b, "XREAD") | word(b, "COUNT") |
             resp_word_u64(b, c->credit - p->given_count) | word(b, "BLOCK") |
             resp_word_u64(b, READ_BLOCK_MS) | word(b, "STREAMS") | word(b, p->inbox) |
             word(b, from);
    if (rc) {
        lose_memory(p);
        return;
    }
    p->reading = true;
    resp_line_send(&p->reader, 1, READ_BLOCK_MS);
}

static bool parse_id(struct str text, struct entry_id *ret_id)
{
    struct str rest, ms = str_cut(text, '-', &rest);
    return str_to_u64(ms, &ret_id->ms) == 0 && str_to_u64(rest, &ret_id->seq) == 0;
}

static bool give(struct pipe_resp *p, struct resp_cursor *c)
{
    struct str id, field, body = STR("");
    size_t two, fields;
    struct entry_id at;
    if (!resp_next_array(c, &two) || two != 2 || !resp_next_str(c, &id) || !parse_id(id, &at) ||
        !resp_next_array(c, &fields) || fields % 2 != 0)
        return false;
    for (size_t i = 0; i < fields; i += 2) {
        struct str value;
        if (!resp_next_str(c, &field) || !resp_next_str(c, &value))
            return false;
        if (str_eq(field, STR("message")))
            body = value;
    }
    if (p->given_count == p->given_cap) /* more than asked for */
        return false;
    p->given[(p->given_at + p->given_count++) % p->given_cap] = at;
    p->last = at;
    p->pipe.config.on_message(p->pipe.config.ctx, p->first_tag + p->given_count - 1, body);
    return true;
}

static bool use_read(struct pipe_resp *p, struct str reply, struct err *err)
{
    struct resp_cursor c = resp_cursor_of(reply);
    struct resp_value v;
    struct str key;
    size_t two, count;
    if (!resp_next(&c, &v))
        return false;
    if (v.type == RESP_NULL)
        return true;
    if (v.type == RESP_ERROR) {
        err_set(err, TTG_EAGAIN, "XREAD: %.*s", STR_ARG(v.s));
        return false;
    }
    err_set(err, TTG_EPROTO, "an answer to XREAD that makes no sense");
    if (v.type != RESP_ARRAY || v.count != 1 || !resp_next_array(&c, &two) || two != 2 ||
        !resp_next_str(&c, &key) || !resp_next_array(&c, &count))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!give(p, &c))
            return false;
        else if (!p->pipe.ready) /* lost from inside */
            return true;
    return true;
}

static void send_look(struct pipe_resp *p, enum step step);

static void reader_reply(struct resp_line *l, struct str reply)
{
    struct pipe_resp *p = container_of(l, struct pipe_resp, reader);
    struct err err = {0};
    p->reading = false;
    if (!use_read(p, reply, &err)) {
        resp_line_cut(l, &err);
        return;
    }
    read_more(p);
    /* Nothing for a while: an owner without work learns here that it is none any more. */
    if (p->given_count == 0 && p->pipe.ready && p->step == STEP_IDLE && !p->pipe.committing)
        send_look(p, STEP_LOOK);
}

static void reader_up(struct resp_line *l)
{
    read_more(container_of(l, struct pipe_resp, reader));
}

/* A read is repeatable: nothing is taken by it. */
static void reader_down(struct resp_line *l, const struct err *err)
{
    (void)err;
    container_of(l, struct pipe_resp, reader)->reading = false;
}

/* --- writing --- */

/* What is sent in one go: head (a transaction, or nothing), WATCH and GET of the owner, lengths. */
static void step_send(struct pipe_resp *p, enum step step, size_t head)
{
    p->step = step;
    p->head = head;
    p->reply = 0;
    p->owned_by = 0;
    p->taken = p->refused = false;
    resp_line_send(&p->writer, head + (p->pipe.config.inbox ? 2 : 0) + p->pipe.config.down_count,
                   0);
}

static int add_tail(struct pipe_resp *p, struct buf *b)
{
    char key[PIPE_NAME_BYTES + 80];
    int rc = 0;
    if (p->pipe.config.inbox)
        rc = resp_command(b, 2) | word(b, "WATCH") | word(b, p->owner) | resp_command(b, 2) |
             word(b, "GET") | word(b, p->owner);
    for (size_t i = 0; i < p->pipe.config.down_count && !rc; i++) {
        key_of(p, key, "pipe", p->pipe.config.downs[i]);
        rc = resp_command(b, 2) | word(b, "XLEN") | word(b, key);
    }
    return rc;
}

static void send_look(struct pipe_resp *p, enum step step)
{
    if (add_tail(p, &p->writer.conn.out))
        lose_memory(p);
    else
        step_send(p, step, 0);
}

static void send_claim(struct pipe_resp *p)
{
    struct buf *b = &p->writer.conn.out;
    int rc = resp_command(b, 1) | word(b, "MULTI") | resp_command(b, 3) | word(b, "SET") |
             word(b, p->owner) | resp_word_u64(b, p->pipe.config.epoch) | resp_command(b, 1) |
             word(b, "EXEC") | add_tail(p, b);
    if (rc)
        lose_memory(p);
    else
        step_send(p, STEP_CLAIM, 3);
}

/* The commands are kept, so that they can be sent again after a refusal. */
static void send_commit(struct pipe_resp *p)
{
    struct buf *b = &p->writer.conn.out;
    p->waiting = false;
    if (buf_add_str(b, buf_str(&p->commit)) || add_tail(p, b))
        lose_memory(p);
    else
        step_send(p, STEP_COMMIT, p->commit_words);
}

static void on_pause(struct loop_timer *t)
{
    send_commit(container_of(t, struct pipe_resp, pause));
}

static void become_ready(struct pipe_resp *p)
{
    p->pipe.ready = true;
    p->last = (struct entry_id){0};
    p->given_at = p->given_count = 0;
    p->first_tag = 1;
    p->pipe.config.on_ready(p->pipe.config.ctx);
    if (!p->pipe.ready)
        return;
    if (p->reading) { /* it asked for what follows an older cursor: its answer must not count */
        struct err err;
        err_set(&err, TTG_EAGAIN, "starting afresh");
        resp_line_cut(&p->reader, &err);
    }
    read_more(p);
}

static void writer_up(struct resp_line *l)
{
    struct pipe_resp *p = container_of(l, struct pipe_resp, writer);
    if (p->pipe.config.inbox || p->pipe.config.down_count > 0) {
        send_look(p, STEP_CLAIM);
        return;
    }
    p->step = STEP_IDLE;
    become_ready(p);
}

static void writer_down(struct resp_line *l, const struct err *err)
{
    struct pipe_resp *p = container_of(l, struct pipe_resp, writer);
    (void)err;
    loop_timer_stop(&p->pause);
    p->pipe.ready = p->pipe.committing = p->looking = p->waiting = false;
}

static void end_claim(struct pipe_resp *p)
{
    uint64_t ours = p->pipe.config.epoch;
    if (p->refused) {
        struct err err;
        err_set(&err, TTG_EAGAIN, "the inbox cannot be taken for now");
        resp_line_cut(&p->writer, &err);
    } else if (!p->pipe.config.inbox || p->owned_by == ours) {
        become_ready(p);
    } else if (p->owned_by > ours) {
        fence(p);
    } else {
        send_claim(p);
    }
}

static void end_commit(struct pipe_resp *p)
{
    if (p->refused) {
        loop_timer_after_ms(&p->pause, REFUSED_PAUSE_MS);
        return;
    }
    p->pipe.committing = false;
    read_more(p);
    p->pipe.config.on_committed(p->pipe.config.ctx);
}

static void step_end(struct pipe_resp *p)
{
    enum step step = p->step;
    bool looked = p->looking && step != STEP_CLAIM;
    p->step = STEP_IDLE;
    if (step == STEP_CLAIM) {
        end_claim(p);
        return;
    }
    if (p->taken || (p->pipe.config.inbox && p->owned_by != p->pipe.config.epoch)) {
        fence(p);
        return;
    }
    if (looked)
        p->looking = false;
    if (step == STEP_COMMIT)
        end_commit(p);
    else if (p->waiting)
        send_commit(p);
    if (looked && p->pipe.ready)
        p->pipe.config.on_looked(p->pipe.config.ctx);
}

/* An answer to the transaction or a part of it. */
static void head_reply(struct pipe_resp *p, const struct resp_value *v, bool exec)
{
    if (exec && v->type == RESP_NULL)
        p->taken = p->step == STEP_COMMIT; /* somebody changed the owner's key */
    if (v->type != RESP_ERROR)
        return;
    if (!p->refused)
        log_warn("pipe.refused", kv_str("inbox", p->inbox), kv_s("reason", v->s),
                 kv_str("then", "it is sent again until it is taken"));
    p->refused = true;
}

static void writer_reply(struct resp_line *l, struct str reply)
{
    struct pipe_resp *p = container_of(l, struct pipe_resp, writer);
    const struct pipe_config *config = &p->pipe.config;
    struct resp_cursor c = resp_cursor_of(reply);
    struct resp_value v = {0};
    size_t at = p->reply++, lengths = p->head + (config->inbox ? 2 : 0);
    resp_next(&c, &v);
    if (at < p->head)
        head_reply(p, &v, at + 1 == p->head);
    else if (at < lengths && v.type == RESP_STR && str_to_u64(v.s, &p->owned_by))
        p->owned_by = UINT64_MAX; /* no epoch: not ours */
    else if (at >= lengths && v.type == RESP_INT)
        p->pipe.lengths[at - lengths] = v.number > 0 ? (uint64_t)v.number : 0;
    if (at + 1 == lengths + config->down_count)
        step_end(p);
}

static void writer_lost(struct resp_line *l, const struct err *err)
{
    lose(container_of(l, struct pipe_resp, writer), err);
}

static void reader_lost(struct resp_line *l, const struct err *err)
{
    lose(container_of(l, struct pipe_resp, reader), err);
}

/* --- the interface --- */

static int add_trim(struct pipe_resp *p, struct buf *b, uint64_t acked)
{
    uint32_t count = (uint32_t)(acked - p->first_tag) + 1;
    struct entry_id id = p->given[(p->given_at + count - 1) % p->given_cap];
    char from[48];
    snprintf(from, sizeof from, "%llu-%llu", (unsigned long long)id.ms,
             (unsigned long long)id.seq + 1);
    return resp_command(b, 4) | word(b, "XTRIM") | word(b, p->inbox) | word(b, "MINID") |
           word(b, from);
}

static int build_commit(struct pipe_resp *p, const struct pipe_out *outs, size_t out_count,
                        uint64_t acked)
{
    struct buf *b = &p->commit;
    char key[PIPE_NAME_BYTES + 80];
    buf_clear(b);
    int rc = resp_command(b, 1) | word(b, "MULTI");
    for (size_t i = 0; i < out_count && !rc; i++) {
        key_of(p, key, "pipe", outs[i].to);
        rc =
            resp_command(b, 5) | word(b, "XADD") | word(b, key) | word(b, "*") | word(b, "message");
        rc = rc ? rc : resp_word(b, outs[i].body);
    }
    if (!rc && acked)
        rc = add_trim(p, b, acked);
    if (!rc)
        rc = resp_command(b, 1) | word(b, "EXEC");
    p->commit_words = 2 + out_count + (acked ? 1 : 0);
    return rc ? (rc == TTG_EFULL ? TTG_EFULL : TTG_ENOMEM) : 0;
}

static int resp_commit(struct pipe *pipe, const struct pipe_out *outs, size_t out_count,
                       uint64_t acked)
{
    struct pipe_resp *p = resp_of(pipe);
    if (acked && (acked < p->first_tag || acked - p->first_tag >= p->given_count))
        return TTG_EINVAL;
    int rc = build_commit(p, outs, out_count, acked);
    if (rc)
        return rc;
    if (acked) {
        uint32_t count = (uint32_t)(acked - p->first_tag) + 1;
        p->given_at = (p->given_at + count) % p->given_cap;
        p->given_count -= count;
        p->first_tag = acked + 1;
    }
    if (p->step == STEP_IDLE)
        send_commit(p);
    else
        p->waiting = true;
    return 0;
}

static int resp_remove(struct pipe *pipe)
{
    struct pipe_resp *p = resp_of(pipe);
    struct buf *b = &p->commit;
    char key[PIPE_NAME_BYTES + 80], owner[PIPE_NAME_BYTES + 80];
    buf_clear(b);
    int rc = resp_command(b, 1) | word(b, "MULTI");
    for (size_t i = 0; i < pipe->config.down_count && !rc; i++) {
        key_of(p, key, "pipe", pipe->config.downs[i]);
        key_of(p, owner, "owner", pipe->config.downs[i]);
        rc = resp_command(b, 3) | word(b, "DEL") | word(b, key) | word(b, owner);
    }
    if (rc || resp_command(b, 1) || word(b, "EXEC"))
        return TTG_ENOMEM;
    p->commit_words = 2 + pipe->config.down_count;
    if (p->step == STEP_IDLE)
        send_commit(p);
    else
        p->waiting = true;
    return 0;
}

static void resp_look(struct pipe *pipe)
{
    struct pipe_resp *p = resp_of(pipe);
    if (p->looking)
        return;
    p->looking = true;
    if (p->step == STEP_IDLE && !pipe->committing)
        send_look(p, STEP_LOOK);
}

static void resp_close(struct pipe *pipe)
{
    struct pipe_resp *p = resp_of(pipe);
    loop_timer_stop(&p->pause);
    resp_line_close(&p->reader);
    resp_line_close(&p->writer);
    buf_done(&p->commit);
    mem_free(p->given);
    mem_free(p);
}

static const struct pipe_engine resp_pipe = {
    .close = resp_close, .commit = resp_commit, .remove = resp_remove, .look = resp_look};

static int resp_init(struct pipe_resp *p, struct err *err)
{
    const struct pipe_config *c = &p->pipe.config;
    p->given_cap = c->credit;
    p->given = mem_array(c->credit + 1, sizeof *p->given);
    p->pipe.lengths = mem_array(c->down_count + 1, sizeof *p->pipe.lengths);
    if (!p->given || !p->pipe.lengths)
        return err_set(err, TTG_ENOMEM, "out of memory");
    memset(p->pipe.lengths, 0, (c->down_count + 1) * sizeof *p->pipe.lengths);
    if (c->inbox) {
        key_of(p, p->inbox, "pipe", c->inbox);
        key_of(p, p->owner, "owner", c->inbox);
    }
    int rc = resp_line_open(&p->writer, p->pipe.loop, c->queue, err);
    if (!rc && c->inbox)
        rc = resp_line_open(&p->reader, p->pipe.loop, c->queue, err);
    return rc;
}

struct pipe *pipe_resp_new(struct loop *loop, const struct pipe_config *config, struct err *err)
{
    struct pipe_resp *p = mem_zalloc(sizeof *p);
    if (!p) {
        err_set(err, TTG_ENOMEM, "out of memory");
        return NULL;
    }
    p->pipe = (struct pipe){.engine = &resp_pipe, .config = *config, .loop = loop};
    p->reader = (struct resp_line){.on_up = reader_up,
                                   .on_reply = reader_reply,
                                   .on_down = reader_down,
                                   .on_lost = reader_lost};
    p->writer = (struct resp_line){.on_up = writer_up,
                                   .on_reply = writer_reply,
                                   .on_down = writer_down,
                                   .on_lost = writer_lost};
    buf_init(&p->commit, COMMIT_BYTES_MAX);
    loop_timer_init(&p->pause, loop, on_pause);
    if (resp_init(p, err)) {
        uint64_t *lengths = p->pipe.lengths;
        resp_close(&p->pipe);
        mem_free(lengths);
        return NULL;
    }
    return &p->pipe;
}
