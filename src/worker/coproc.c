/* SPDX-License-Identifier: Apache-2.0 */
/* coproc - a command that stays: one JSON line in for each chunk, one out. docs/kernels.md has the
 * form of both.
 *
 * One child a slot, started with its first chunk and again when it has died, so that a program with
 * a costly start (Python with its imports) pays it once. A child that breaks the protocol, answers
 * when it was not asked or runs over its time is replaced: after that nobody could tell which
 * answer belongs to which task. */
#include "base/ensure.h"
#include "base/log.h"
#include "base/tail.h"
#include "io/process.h"
#include "wire/answer.h"
#include "worker/feed.h"
#include "worker/kernel_impl.h"
#include "worker/stream.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    /* An answer is JSON: escapes make it longer than the output it carries. */
    ANSWER_OVERHEAD = 6,
    ANSWER_BYTES_MIN = 65536,
    QUIT_MS = 1000, /* from the end of stdin to TERM */
    EXIT_MS = 200,  /* from the end of its stdout to its exit */
};

struct coproc_slot {
    struct kernel_slot base;
    struct process process;
    struct command_line line;
    struct stream in, out, err;
    struct buf request, answer, output;
    size_t looked;        /* so much of the answer has no line end */
    size_t request_bytes; /* all of it */
    char chunk_id[24];
    struct feed feed; /* lines of a file */
    struct tail tail;
    struct loop_timer quit; /* the end of stdin did not help */
    bool ending;            /* this child gets no more tasks */
    bool answered;          /* this child has, once at least */
    bool refused;           /* it was gone before it could be given the task */
    bool just_read;         /* all that it said is known: no need to look again */
    bool closed;            /* it closed its output, and did not exit soon after */
};

static struct coproc_slot *coproc_slot(struct kernel_slot *s)
{
    return container_of(s, struct coproc_slot, base);
}

static void close_streams(struct coproc_slot *cs)
{
    stream_close(&cs->in);
    stream_close(&cs->out);
    stream_close(&cs->err);
}

static void drop_answer(struct coproc_slot *cs)
{
    buf_clear(&cs->answer);
    cs->looked = 0;
}

/* ---- the task line ---- */

static int add_lines(struct coproc_slot *cs)
{
    struct feed *f = &cs->feed;
    feed_start(f, &cs->base.task);
    int rc = 0;
    while (!f->ended && !rc)
        rc = buf_len(&f->buf) > KERNEL_LINES_BYTES_MAX ? TTG_EFULL : feed_more(f, FEED_BYTES);
    struct str rest = buf_str(&f->buf);
    const char *separator = ",\"params\":[";
    if (!rc && rest.len == 0)
        rc = buf_add_str(&cs->request, STR(",\"params\":["));
    while (rest.len > 0 && !rc) {
        rc = buf_add_str(&cs->request, str_of(separator));
        if (!rc)
            rc = buf_add_json(&cs->request, str_cut(rest, f->separator, &rest));
        separator = ",";
    }
    if (!rc)
        rc = buf_add_char(&cs->request, ']');
    buf_done(&f->buf);
    return rc;
}

/* The lines as they are: what stands in them is between their maker and the command. */
static int make_bare_request(struct coproc_slot *cs)
{
    struct kernel_source *lines = cs->base.task.lines;
    bool end = false;
    int rc = 0;
    while (!end && !rc)
        rc = buf_len(&cs->request) > KERNEL_LINES_BYTES_MAX
                 ? TTG_EFULL
                 : lines->read(lines, &cs->request, FEED_BYTES, &end);
    return rc;
}

static int make_request(struct coproc_slot *cs)
{
    const struct kernel_task *t = &cs->base.task;
    struct buf *b = &cs->request;
    buf_clear(b);
    if (cs->base.k->config.bare_lines)
        return make_bare_request(cs);
    snprintf(cs->chunk_id, sizeof cs->chunk_id, "%05llu", (unsigned long long)t->chunk);
    int rc = buf_printf(b,
                        "{\"chunk_id\":\"%s\",\"start_param\":%lld,\"end_param\":%lld,"
                        "\"total_in_chunk\":%llu,\"attempt\":%u,\"job\":",
                        cs->chunk_id, (long long)t->start, (long long)t->end,
                        (unsigned long long)kernel_task_params(t), t->attempt);
    if (!rc)
        rc = buf_add_json(b, str_of(t->job));
    if (!rc && t->lines)
        rc = add_lines(cs);
    return rc ? rc : buf_add_str(b, STR("}\n"));
}

/* ---- the child's life ---- */

/* It gets no more tasks; the chunk, if one runs, ends when the child has. */
static void end_child(struct coproc_slot *cs, uint64_t grace_ms)
{
    cs->ending = true;
    process_end(&cs->process, grace_ms);
}

static void broken(struct coproc_slot *cs, const char *why)
{
    struct kernel_slot *s = &cs->base;
    if (s->busy && s->result.status == KERNEL_OK)
        kernel_failed(s, KERNEL_FAILED, "%s", why);
    else if (!s->busy)
        log_warn("coproc.replaced", kv_u64("slot", s->index), kv_str("reason", why));
    end_child(cs, 0);
}

static void on_quit_timer(struct loop_timer *t)
{
    struct coproc_slot *cs = container_of(t, struct coproc_slot, quit);
    /* If it was exiting all the same, only slowly or while we did not look, its status says why. */
    cs->closed = cs->base.busy;
    end_child(cs, cs->base.busy ? 0 : cs->base.k->config.kill_grace_ms);
}

/* The polite end: no more input. */
static void quit_child(struct coproc_slot *cs)
{
    if (!process_runs(&cs->process) || cs->ending)
        return;
    cs->ending = true;
    stream_close(&cs->in);
    if (loop_timer_after_ms(&cs->quit, QUIT_MS) != 0)
        end_child(cs, cs->base.k->config.kill_grace_ms);
}

static bool take_answer(struct coproc_slot *cs);
static bool send_task(struct coproc_slot *cs);

/* A child that ended after its last answer, before it took this task, did not fail it: the whole
 * line is still in the pipe. Another child gets it; a file's lines are gone, they need a retry. */
static bool task_untouched(struct coproc_slot *cs)
{
    if (!cs->answered || cs->base.stop || cs->base.task.lines || !stream_is_open(&cs->in))
        return false;
    int unread = 0;
    if (cs->refused)
        return true;
    return buf_len(&cs->request) == 0 && ioctl(cs->in.fd, FIONREAD, &unread) == 0 && unread > 0 &&
           (size_t)unread == cs->request_bytes;
}

static void on_child_exit(struct process *p, struct process_exit e)
{
    struct coproc_slot *cs = container_of(p, struct coproc_slot, process);
    struct kernel_slot *s = &cs->base;
    /* Its last words may be the answer. */
    while (stream_is_open(&cs->out) && stream_read(&cs->out, &cs->answer) > 0)
        ;
    while (stream_read_tail(&cs->err, &cs->tail, kernel_log_line, s))
        ;
    tail_end(&cs->tail, kernel_log_line, s);
    loop_timer_stop(&cs->quit);
    bool again =
        s->busy && s->result.status == KERNEL_OK && buf_len(&cs->answer) == 0 && task_untouched(cs);
    close_streams(cs);
    if (!s->busy) {
        if (!cs->ending && !s->k->draining)
            log_info("coproc.exit", kv_u64("slot", s->index), kv_i64("status", e.status),
                     kv_i64("signal", e.signal));
        kernel_quiet(s->k);
        return;
    }
    s->result.stderr_tail = tail_str(&cs->tail);
    if (again && send_task(cs))
        return;
    if (!again && s->result.status == KERNEL_OK && !take_answer(cs)) {
        kernel_exit_failed(s, e.status, e.signal, e.core_dumped);
        if (cs->closed && e.signal == SIGKILL)
            kernel_failed(s, KERNEL_FAILED, "closed its output without an answer");
        if (e.status == 0)
            kernel_failed(s, KERNEL_FAILED, "exited without an answer");
    }
    kernel_finish(s);
}

/* ---- the answer ---- */

static void use_answer(struct coproc_slot *cs, struct str line)
{
    struct kernel_slot *s = &cs->base;
    struct answer a;
    struct err err;
    cs->answered = true;
    buf_clear(&cs->output);
    int rc = answer_parse(line, str_of(cs->chunk_id), &a, &cs->output, &err);
    if (rc == TTG_EFULL)
        kernel_failed(s, KERNEL_FAILED, "output over the limit of %zu bytes (--output-max)",
                      s->k->config.output_bytes_max);
    else if (rc == TTG_ENOMEM)
        kernel_failed(s, KERNEL_FAILED, "out of memory");
    else if (rc)
        kernel_failed(s, KERNEL_FAILED, "bad answer: %s: %.*s%s", err.text,
                      line.len > 80 ? 80 : (int)line.len, line.ptr, line.len > 80 ? "..." : "");
    else if (a.kind == ANSWER_ERROR)
        kernel_failed(s, a.permanent ? KERNEL_PERMANENT : KERNEL_FAILED, "%.*s",
                      STR_ARG(buf_str(&cs->output)));
    s->result.has_sum = !rc && a.kind == ANSWER_SUM;
    if (!rc && a.kind == ANSWER_SUM)
        s->result.sum = a.sum;
    if (!rc && a.kind == ANSWER_RESULT)
        s->result.output = buf_str(&cs->output);
    /* A line that cannot be read may be a stray print before the real answer; one that came before
     * the whole task was taken leaves the pipe in the middle of a line. */
    if (rc == TTG_EPROTO || buf_len(&cs->answer) > line.len + 1 || buf_len(&cs->request) > 0)
        end_child(cs, 0);
}

/* Whether there was a whole line. */
static bool take_answer(struct coproc_slot *cs)
{
    struct str all = buf_str(&cs->answer);
    const char *newline =
        all.len > 0 ? memchr(all.ptr + cs->looked, '\n', all.len - cs->looked) : NULL;
    cs->looked = all.len;
    if (!newline)
        return false;
    use_answer(cs, str_make(all.ptr, (size_t)(newline - all.ptr)));
    drop_answer(cs);
    return true;
}

static void on_out_ready(struct loop_poll *p, unsigned events)
{
    (void)events;
    struct coproc_slot *cs = container_of(p, struct coproc_slot, out.poll);
    struct kernel_slot *s = &cs->base;
    int n = stream_read(&cs->out, &cs->answer);
    if (n == TTG_EAGAIN)
        return;
    if (n <= 0)
        stream_close(&cs->out);
    if (n == 0) { /* most likely it exits, which says more: wait for that */
        cs->ending = true;
        if (loop_timer_after_ms(&cs->quit, EXIT_MS) == 0)
            return;
    }
    if (n <= 0) {
        broken(cs, n == TTG_EFULL ? "answer line too long" : err_text(n < 0 ? n : TTG_ECLOSED));
        return;
    }
    if (!s->busy || cs->ending) {
        drop_answer(cs);
        if (!cs->ending)
            broken(cs, "answered without a task");
        return;
    }
    if (!take_answer(cs))
        return;
    s->result.stderr_tail = tail_str(&cs->tail);
    cs->just_read = true;
    kernel_finish(s);
    cs->just_read = false;
}

static void on_err_ready(struct loop_poll *p, unsigned events)
{
    (void)events;
    struct coproc_slot *cs = container_of(p, struct coproc_slot, err.poll);
    stream_read_tail(&cs->err, &cs->tail, kernel_log_line, &cs->base);
}

/* ---- the request ---- */

/* TTG_EAGAIN when the pipe is full. A closed pipe is no error here: the child's exit says more. */
static int write_request(struct coproc_slot *cs)
{
    while (buf_len(&cs->request) > 0) {
        ssize_t n = write(cs->in.fd, buf_ptr(&cs->request), buf_len(&cs->request));
        if (n >= 0)
            buf_consume(&cs->request, (size_t)n);
        else if (errno == EAGAIN)
            return TTG_EAGAIN;
        else if (errno != EINTR) {
            cs->refused = buf_len(&cs->request) == cs->request_bytes;
            buf_clear(&cs->request);
        }
    }
    return 0;
}

static void on_in_ready(struct loop_poll *p, unsigned events)
{
    (void)events;
    struct coproc_slot *cs = container_of(p, struct coproc_slot, in.poll);
    if (write_request(cs) == 0)
        loop_poll_stop(&cs->in.poll);
}

static int open_child(struct coproc_slot *cs, struct process_spec *spec, struct err *err)
{
    struct loop *l = cs->base.k->loop;
    int rc = command_fill(&cs->base.k->command, &cs->line, NULL, (struct command_params){0});
    if (!rc)
        rc = stream_open(&cs->in, true, &spec->fds[0], err);
    if (!rc)
        rc = stream_open(&cs->out, false, &spec->fds[1], err);
    if (!rc)
        rc = stream_open(&cs->err, false, &spec->fds[2], err);
    if (!rc)
        rc = stream_watch(&cs->out, l, LOOP_READ, on_out_ready);
    if (!rc)
        rc = stream_watch(&cs->err, l, LOOP_READ, on_err_ready);
    spec->argv = cs->line.argv;
    spec->envp = cs->line.envp;
    return rc;
}

static int start_child(struct coproc_slot *cs, struct err *err)
{
    struct kernel *k = cs->base.k;
    struct process_spec spec = {
        .file = k->command.file,
        .dir = k->config.dir,
        .fds = {-1, -1, -1},
        .group = guard_slot(k->guard, cs->base.index),
    };
    struct err why = {0};
    int rc = guard_check(k->guard, err);
    if (rc)
        return rc;
    cs->ending = cs->answered = cs->closed = false;
    drop_answer(cs);
    rc = open_child(cs, &spec, &why);
    if (rc)
        err_set(err, rc, "cannot start %s: %s", k->command.argv[0],
                why.code ? why.text : err_text(rc));
    else
        rc = process_start(&cs->process, k->loop, &spec, on_child_exit, err);
    for (int i = 0; i < 3; i++)
        if (spec.fds[i] >= 0)
            close(spec.fds[i]);
    if (rc)
        close_streams(cs);
    return rc;
}

/* False: the chunk has failed. */
static bool send_task(struct coproc_slot *cs)
{
    struct kernel_slot *s = &cs->base;
    struct err err;
    int rc = make_request(cs);
    if (rc) {
        kernel_failed(s, KERNEL_FAILED, "task line: %s",
                      rc == TTG_EFULL ? "the lines of the chunk take too much memory; use smaller "
                                        "chunks"
                                      : err_text(rc));
        return false;
    }
    cs->request_bytes = buf_len(&cs->request);
    cs->refused = false;
    if (!process_runs(&cs->process) && start_child(cs, &err) != 0) {
        kernel_failed(s, KERNEL_FAILED, "%s", err.text);
        return false;
    }
    if (write_request(cs) == TTG_EAGAIN) {
        rc = stream_watch(&cs->in, s->k->loop, LOOP_WRITE, on_in_ready);
        if (rc)
            broken(cs, err_text(rc));
    }
    return true;
}

static bool coproc_start(struct kernel_slot *s)
{
    struct coproc_slot *cs = coproc_slot(s);
    tail_start(&cs->tail);
    /* What it said since its last answer would be taken for the next one. */
    if (!cs->just_read && process_runs(&cs->process) && stream_is_open(&cs->out) &&
        stream_read(&cs->out, &cs->answer) > 0)
        cs->ending = true;
    /* A child that was told to end may still be at it. */
    if (process_runs(&cs->process) && cs->ending) {
        process_kill(&cs->process);
        loop_timer_stop(&cs->quit);
        close_streams(cs);
    }
    return !send_task(cs);
}

static void coproc_stop(struct kernel_slot *s)
{
    end_child(coproc_slot(s), s->k->config.kill_grace_ms);
}

static void coproc_drain(struct kernel_slot *s)
{
    quit_child(coproc_slot(s));
}

static bool coproc_is_quiet(struct kernel_slot *s)
{
    return !process_runs(&coproc_slot(s)->process);
}

/* ---- open and close ---- */

static int coproc_open(struct kernel *k, struct err *err)
{
    size_t output_max = k->config.output_bytes_max;
    size_t answer_max = output_max < SIZE_MAX / 16 ? output_max * ANSWER_OVERHEAD : output_max;
    for (uint32_t i = 0; i < k->config.slots; i++) {
        struct coproc_slot *cs = coproc_slot(kernel_slot(k, i));
        stream_init(&cs->in);
        stream_init(&cs->out);
        stream_init(&cs->err);
        buf_init(&cs->request, 8ul * KERNEL_LINES_BYTES_MAX);
        buf_init(&cs->answer, answer_max > ANSWER_BYTES_MIN ? answer_max : ANSWER_BYTES_MIN);
        buf_init(&cs->output, output_max);
        loop_timer_init(&cs->quit, k->loop, on_quit_timer);
    }
    loop_expect_soon(k->loop);
    return kernel_open_command(k, err);
}

static void coproc_close(struct kernel *k)
{
    for (uint32_t i = 0; i < k->config.slots; i++) {
        struct coproc_slot *cs = coproc_slot(kernel_slot(k, i));
        process_kill(&cs->process);
        loop_timer_stop(&cs->quit);
        close_streams(cs);
        command_line_done(&cs->line);
        feed_done(&cs->feed);
        buf_done(&cs->request);
        buf_done(&cs->answer);
        buf_done(&cs->output);
    }
    kernel_close_command(k);
}

const struct kernel_ops coproc_ops = {
    .name = "coproc",
    .slot_bytes = sizeof(struct coproc_slot),
    .open = coproc_open,
    .start = coproc_start,
    .stop = coproc_stop,
    .drain = coproc_drain,
    .is_quiet = coproc_is_quiet,
    .close = coproc_close,
};
