/* SPDX-License-Identifier: Apache-2.0 */
/* exec - a command per chunk: parameters on stdin, the result on stdout, stderr to the log.
 *
 * All three pipes are served at once, so none can block another. Most chunks' parameters fit into a
 * pipe: they are written before the command starts, and stdin needs no watching at all. Likewise
 * most results fit: stdout and stderr are watched once a command has run for FIRST_LOOK_MS, so that
 * a short one wakes us when it has ended and not for each line before. The chunk is over when the
 * command exits; what still hangs on its pipes then (a grandchild that left the group) is not
 * waited for. */
#include "base/ensure.h"
#include "base/mem.h"
#include "base/tail.h"
#include "io/process.h"
#include "worker/feed.h"
#include "worker/kernel_impl.h"
#include "worker/stream.h"

#include <unistd.h>

enum {
    FIRST_LOOK_MS = 4,
    /* Whoever wrote so much may have waited for the first look: the next command is watched from
     * its start. */
    MUCH_OUTPUT_BYTES = 32 << 10,
    /* Of stderr that a process outside the group goes on writing, at most so many at the end. */
    LAST_READS_MAX = 64,
    PARAMS_BYTES_MAX = 1 << 20,        /* as arguments, with their pointers: half of Linux' usual */
    PARAM_BYTES_MAX = (128 << 10) - 1, /* one argument; Linux has no more */
};

struct exec_slot {
    struct kernel_slot base;
    struct process process;
    struct command_line line;
    struct feed feed;
    struct stream in, out, err;
    struct loop_timer first_look;
    bool wrote_much;   /* the last command */
    struct buf output; /* limit: one byte more than allowed, to see that it is too much */
    struct tail tail;
};

static struct exec_slot *exec_slot(struct kernel_slot *s)
{
    return container_of(s, struct exec_slot, base);
}

static void close_streams(struct exec_slot *es)
{
    loop_timer_stop(&es->first_look);
    stream_close(&es->in);
    stream_close(&es->out);
    stream_close(&es->err);
}

/* ---- while it runs ---- */

static void fail_and_kill(struct exec_slot *es, const char *what, int rc)
{
    if (rc == TTG_EFULL)
        kernel_failed(&es->base, KERNEL_FAILED, "output over the limit of %zu bytes (--output-max)",
                      es->base.k->config.output_bytes_max);
    else
        kernel_failed(&es->base, KERNEL_FAILED, "%s: %s", what, err_text(rc));
    process_end(&es->process, 0);
}

static void on_in_ready(struct loop_poll *p, unsigned events)
{
    (void)events;
    struct exec_slot *es = container_of(p, struct exec_slot, in.poll);
    int rc = feed_write(&es->feed, es->in.fd);
    if (rc == TTG_EAGAIN)
        return;
    stream_close(&es->in);
    if (rc && rc != TTG_ECLOSED) /* a command need not read its input */
        fail_and_kill(es, "parameters", rc);
}

/* True when more may be there. */
static bool read_output(struct exec_slot *es)
{
    if (!stream_is_open(&es->out))
        return false;
    int n = stream_read(&es->out, &es->output);
    if (n == TTG_EAGAIN)
        return false;
    if (n > 0 && buf_len(&es->output) > es->base.k->config.output_bytes_max)
        n = TTG_EFULL;
    if (n <= 0)
        stream_close(&es->out);
    if (n < 0)
        fail_and_kill(es, "output", n);
    return n > 0;
}

static void on_out_ready(struct loop_poll *p, unsigned events)
{
    (void)events;
    read_output(container_of(p, struct exec_slot, out.poll));
}

static void on_err_ready(struct loop_poll *p, unsigned events)
{
    (void)events;
    struct exec_slot *es = container_of(p, struct exec_slot, err.poll);
    stream_read_tail(&es->err, &es->tail, kernel_log_line, &es->base);
}

static int watch_output(struct exec_slot *es)
{
    struct loop *l = es->base.k->loop;
    int rc = stream_watch(&es->out, l, LOOP_READ, on_out_ready);
    return rc ? rc : stream_watch(&es->err, l, LOOP_READ, on_err_ready);
}

static void on_first_look(struct loop_timer *t)
{
    struct exec_slot *es = container_of(t, struct exec_slot, first_look);
    int rc = watch_output(es);
    if (rc)
        fail_and_kill(es, "output", rc);
}

static void on_exit(struct process *p, struct process_exit e)
{
    struct exec_slot *es = container_of(p, struct exec_slot, process);
    struct kernel_slot *s = &es->base;
    while (read_output(es))
        ;
    for (int i = 0; i < LAST_READS_MAX; i++)
        if (!stream_read_tail(&es->err, &es->tail, kernel_log_line, s))
            break;
    close_streams(es);
    es->wrote_much = buf_len(&es->output) >= MUCH_OUTPUT_BYTES;
    tail_end(&es->tail, kernel_log_line, s);
    s->result.exit_status = e.status;
    s->result.stderr_tail = tail_str(&es->tail);
    bool failed_before = s->result.status != KERNEL_OK; /* and we killed it */
    if (!failed_before && e.status == 0)
        s->result.output = buf_str(&es->output);
    else if (!failed_before)
        kernel_exit_failed(s, e.status, e.signal, e.core_dumped);
    kernel_finish(s);
}

/* ---- start ---- */

/* Our ends in es, theirs in `theirs`; -1 for those that were not made. */
static int open_pipes(struct exec_slot *es, int theirs[3], struct err *err)
{
    struct loop *l = es->base.k->loop;
    int rc = stream_open(&es->in, true, &theirs[0], err);
    if (!rc)
        rc = stream_open(&es->out, false, &theirs[1], err);
    if (!rc)
        rc = stream_open(&es->err, false, &theirs[2], err);
    if (!rc)
        rc =
            es->wrote_much ? watch_output(es) : loop_timer_after_ms(&es->first_look, FIRST_LOOK_MS);
    if (rc)
        return rc;
    rc = feed_write(&es->feed, es->in.fd);
    if (rc == TTG_EAGAIN)
        return stream_watch(&es->in, l, LOOP_WRITE, on_in_ready);
    stream_close(&es->in);
    return rc;
}

/* TTG_EUSAGE: no other attempt will do either. */
static int check_params(struct exec_slot *es, struct err *err)
{
    struct str text = buf_str(&es->feed.buf), rest, param;
    size_t bytes = 0;
    bool fits = true;
    for (rest = text; rest.len > 0; bytes += param.len + 1 + sizeof(char *)) {
        param = str_cut(rest, es->feed.separator, &rest);
        if (memchr(param.ptr, '\0', param.len))
            return err_set(err, TTG_EUSAGE,
                           "a parameter holds a NUL byte: it cannot be an argument");
        fits = fits && param.len <= PARAM_BYTES_MAX;
    }
    if (!fits || bytes > PARAMS_BYTES_MAX)
        return err_set(
            err, TTG_EUSAGE,
            "the parameters are too long for arguments: use smaller chunks, or read them "
            "from standard input");
    return kernel_check_chunk(&es->base.k->config, kernel_task_params(&es->base.task), err);
}

/* They are arguments, and standard input is empty, so that nobody waits for it. */
static int gather_params(struct exec_slot *es, struct command_params *ret_params, struct err *err)
{
    struct feed *f = &es->feed;
    int rc = 0;
    while (!f->ended && buf_len(&f->buf) <= PARAMS_BYTES_MAX && !rc)
        rc = feed_more(f, FEED_BYTES);
    if (rc)
        return err_set(err, rc, "parameters: %s", err_text(rc));
    rc = check_params(es, err);
    *ret_params = (struct command_params){buf_str(&f->buf), f->separator};
    return rc;
}

static int start_command(struct exec_slot *es, struct err *err)
{
    struct kernel *k = es->base.k;
    struct process_spec spec = {
        .file = k->command.file,
        .dir = k->config.dir,
        .fds = {-1, -1, -1},
        .group = guard_slot(k->guard, es->base.index),
    };
    struct err why = {0};
    int rc = guard_check(k->guard, err);
    if (rc)
        return rc;
    struct command_params params = {0};
    if (k->command.takes_params)
        rc = gather_params(es, &params, err);
    if (rc)
        return rc;
    rc = command_fill(&k->command, &es->line, &es->base.task, params);
    if (k->command.takes_params)
        buf_clear(&es->feed.buf);
    if (!rc)
        rc = open_pipes(es, spec.fds, &why);
    if (rc) {
        err_set(err, rc, "cannot start %s: %s", k->command.argv[0],
                why.code ? why.text : err_text(rc));
    } else {
        spec.argv = es->line.argv;
        spec.envp = es->line.envp;
        rc = process_start(&es->process, k->loop, &spec, on_exit, err);
    }
    for (int i = 0; i < 3; i++)
        if (spec.fds[i] >= 0)
            close(spec.fds[i]);
    return rc;
}

static bool exec_start(struct kernel_slot *s)
{
    struct exec_slot *es = exec_slot(s);
    struct err err;
    feed_start(&es->feed, &s->task);
    tail_start(&es->tail);
    buf_clear(&es->output);
    if (start_command(es, &err) == 0)
        return false;
    close_streams(es);
    kernel_failed(s, err.code == TTG_EUSAGE ? KERNEL_PERMANENT : KERNEL_FAILED, "%s", err.text);
    return true;
}

static void exec_stop(struct kernel_slot *s)
{
    process_end(&exec_slot(s)->process, s->k->config.kill_grace_ms);
}

/* ---- open and close ---- */

static int exec_open(struct kernel *k, struct err *err)
{
    for (uint32_t i = 0; i < k->config.slots; i++) {
        struct exec_slot *es = exec_slot(kernel_slot(k, i));
        loop_timer_init(&es->first_look, k->loop, on_first_look);
        stream_init(&es->in);
        stream_init(&es->out);
        stream_init(&es->err);
        buf_init(&es->output, k->config.output_bytes_max + 1);
    }
    return kernel_open_command(k, err);
}

static void exec_close(struct kernel *k)
{
    for (uint32_t i = 0; i < k->config.slots; i++) {
        struct exec_slot *es = exec_slot(kernel_slot(k, i));
        process_kill(&es->process);
        close_streams(es);
        command_line_done(&es->line);
        feed_done(&es->feed);
        buf_done(&es->output);
    }
    kernel_close_command(k);
}

const struct kernel_ops exec_ops = {
    .name = "exec",
    .slot_bytes = sizeof(struct exec_slot),
    .open = exec_open,
    .start = exec_start,
    .stop = exec_stop,
    .close = exec_close,
};
