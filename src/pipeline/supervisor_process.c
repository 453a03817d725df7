/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_process - the processes of a pipeline: started, listened to, started again. */
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/instance.h"
#include "pipeline/supervisor_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { STABLE_MS = 5000, PAUSE_MS_MAX = 2000, ORDER_BYTES_MAX = 1 << 20, SAID_BYTES_MAX = 1 << 22 };

static const char *stage_name(const struct watched_instance *w)
{
    return w->s->spec->stages[w->stage].name;
}

static void on_restart(struct loop_timer *t)
{
    struct watched_instance *w = container_of(t, struct watched_instance, restart);
    if (!w->s->stopping)
        instance_start(w);
}

int instance_init(struct supervisor *s, struct watched_instance *w, size_t stage, size_t number)
{
    size_t count = 0;
    *w = (struct watched_instance){.s = s, .stage = stage, .number = number};
    stream_init(&w->in);
    stream_init(&w->out);
    buf_init(&w->said, SAID_BYTES_MAX);
    buf_init(&w->orders, ORDER_BYTES_MAX);
    loop_timer_init(&w->restart, s->loop, on_restart);
    while (s->config.instance[count])
        count++;
    w->argv = mem_array(count + 1, sizeof *w->argv);
    if (!w->argv)
        return TTG_ENOMEM;
    for (size_t i = 0; i <= count; i++) {
        char *word = s->config.instance[i];
        bool stage_word = word && strcmp(word, SUPERVISOR_STAGE) == 0;
        w->argv[i] = stage_word ? (char *)(uintptr_t)s->spec->stages[stage].name : word;
    }
    return 0;
}

void instance_free(struct watched_instance *w)
{
    if (!w->s)
        return;
    loop_timer_stop(&w->restart);
    process_kill(&w->process);
    stream_close(&w->in);
    stream_close(&w->out);
    buf_done(&w->said);
    buf_done(&w->orders);
    mem_free(w->argv);
}

/* --- orders --- */

static void on_in_ready(struct loop_poll *p, unsigned events);

static void write_orders(struct watched_instance *w)
{
    while (stream_is_open(&w->in) && buf_len(&w->orders) > 0) {
        ssize_t n = write(w->in.fd, buf_ptr(&w->orders), buf_len(&w->orders));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            if (!w->in.poll.loop)
                stream_watch(&w->in, w->s->loop, LOOP_WRITE, on_in_ready);
            return;
        }
        if (n < 0) {
            buf_clear(&w->orders); /* it is dying */
            break;
        }
        buf_consume(&w->orders, (size_t)n);
    }
    if (w->in.poll.loop)
        loop_poll_stop(&w->in.poll);
}

static void on_in_ready(struct loop_poll *p, unsigned events)
{
    (void)events;
    write_orders(container_of(p, struct watched_instance, in.poll));
}

void instance_order(struct watched_instance *w, const char *format, ...)
{
    va_list args;
    if (!stream_is_open(&w->in))
        return;
    va_start(args, format);
    buf_vprintf(&w->orders, format, args);
    va_end(args);
    write_orders(w);
}

/* --- what it says --- */

static void on_out_ready(struct loop_poll *p, unsigned events)
{
    struct watched_instance *w = container_of(p, struct watched_instance, out.poll);
    (void)events;
    int n = stream_read(&w->out, &w->said);
    if (n == TTG_EAGAIN)
        return;
    if (n <= 0) {
        stream_close(&w->out);
        return;
    }
    w->heard_ms = loop_now_ms(w->s->loop);
    for (const char *end;
         buf_len(&w->said) > 0 && (end = memchr(buf_ptr(&w->said), '\n', buf_len(&w->said)));) {
        size_t len = (size_t)(end - buf_ptr(&w->said));
        if (len > 0)
            supervisor_heard(w, str_make(buf_ptr(&w->said), len));
        buf_consume(&w->said, len + 1);
    }
}

/* --- life and death --- */

static void on_exit_of(struct process *p, struct process_exit e)
{
    struct watched_instance *w = container_of(p, struct watched_instance, process);
    struct supervisor *s = w->s;
    char room[PROCESS_SIGNAL_BYTES], reason[64];
    uint64_t now_ms = loop_now_ms(s->loop);
    if (e.signal)
        snprintf(reason, sizeof reason, "killed by %s", process_signal_name(e.signal, room));
    else
        snprintf(reason, sizeof reason, "exit status %d", e.status);
    if (stream_is_open(&w->out)) /* its last words */
        on_out_ready(&w->out.poll, LOOP_READ);
    stream_close(&w->in);
    stream_close(&w->out);
    buf_clear(&w->said);
    buf_clear(&w->orders);
    supervisor_down(w);
    if (s->stopping)
        return;
    log_warn("instance.died", kv_str("stage", stage_name(w)), kv_u64("instance", w->number),
             kv_str("reason", reason), kv_str("then", "it is started again"));
    w->restarts++;
    w->failures = now_ms - w->started_ms > STABLE_MS ? 1 : w->failures + 1;
    uint64_t pause_ms = w->failures <= 1 ? 0 : w->failures > 11 ? PAUSE_MS_MAX : 1u << w->failures;
    loop_timer_after_ms(&w->restart, pause_ms < PAUSE_MS_MAX ? pause_ms : PAUSE_MS_MAX);
}

void instance_start(struct watched_instance *w)
{
    struct supervisor *s = w->s;
    struct err err = {0};
    struct process_spec spec = {.file = s->program,
                                .argv = w->argv,
                                .envp = environ,
                                .fds = {-1, -1, fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)},
                                .group = &w->group};
    w->started_ms = w->heard_ms = loop_now_ms(s->loop);
    int rc = stream_open(&w->in, true, &spec.fds[0], &err);
    if (!rc)
        rc = stream_open(&w->out, false, &spec.fds[1], &err);
    if (!rc)
        rc = stream_watch(&w->out, s->loop, LOOP_READ, on_out_ready);
    if (!rc)
        rc = process_start(&w->process, s->loop, &spec, on_exit_of, &err);
    for (int i = 0; i < 3; i++)
        if (spec.fds[i] >= 0)
            close(spec.fds[i]);
    if (rc) {
        log_warn("start.failed", kv_str("stage", stage_name(w)), kv_str("reason", err.text));
        stream_close(&w->in);
        stream_close(&w->out);
        loop_timer_after_ms(&w->restart, PAUSE_MS_MAX);
        return;
    }
    log_debug("instance.started", kv_str("stage", stage_name(w)), kv_u64("instance", w->number),
              kv_i64("pid", w->process.pid));
    supervisor_up(w);
}
