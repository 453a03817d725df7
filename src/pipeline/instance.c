/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/instance.h"

#include "base/log.h"
#include "base/mem.h"
#include "io/realclock.h"
#include "io/thread.h"
#include "pipeline/part.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 1 << 20, REPORT_BYTES_MAX = 1 << 20 };

struct owned {
    struct instance *instance;
    struct part *part;
    uint64_t epoch;
    bool over;
    struct err why;
};

struct instance {
    struct instance_config config;
    struct loop *loop;
    struct loop_poll in;
    struct loop_timer report;
    struct loop_signal term, interrupt;
    struct buf line;
    struct owned owned[SPEC_PARTITIONS_MAX];
    bool draining, stopped;

    pthread_mutex_t lock; /* of what is written */
    pthread_cond_t ending;
    pthread_t pulse;
    struct buf out;
    bool ended;
};

/* --- what we say --- */

/* As much as the pipe takes; the lock is held. */
static void flush(struct instance *i)
{
    while (buf_len(&i->out) > 0) {
        ssize_t n = write(i->config.out, buf_ptr(&i->out), buf_len(&i->out));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        buf_consume(&i->out, (size_t)n);
    }
}

static void *pulse_main(void *ctx)
{
    struct instance *i = ctx;
    struct clock *clock = realclock();
    pthread_mutex_lock(&i->lock);
    while (!i->ended) {
        if (buf_len(&i->out) == 0)
            buf_add_char(&i->out, '\n');
        flush(i);
        uint64_t until_ms = clock->mono_ns(clock) / 1000000 + INSTANCE_BEAT_MS;
        const struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                                       .tv_nsec = (long)(until_ms % 1000) * 1000000};
        pthread_cond_clockwait(&i->ending, &i->lock, CLOCK_MONOTONIC, &until);
    }
    pthread_mutex_unlock(&i->lock);
    return NULL;
}

static void add_part(struct buf *b, size_t n, const struct owned *o, bool first)
{
    const struct part_counts *c = &o->part->counts;
    buf_printf(b,
               "%s{\"part\":%zu,\"epoch\":%llu,\"owned\":%s,\"idle\":%s,\"finished\":%s,"
               "\"in\":%llu,\"out\":%llu,\"ends\":%llu,\"retries\":%llu,\"dead\":%llu,"
               "\"duplicates\":%llu}",
               first ? "" : ",", n, (unsigned long long)o->epoch, o->part->owned ? "true" : "false",
               part_is_idle(o->part) ? "true" : "false", o->part->finished ? "true" : "false",
               (unsigned long long)c->in, (unsigned long long)c->out, (unsigned long long)c->ends,
               (unsigned long long)c->retries, (unsigned long long)c->dead,
               (unsigned long long)c->duplicates);
}

static void report(struct instance *i)
{
    bool first = true;
    pthread_mutex_lock(&i->lock);
    if (buf_len(&i->out) == 0) { /* else nobody reads: the next one says it all */
        buf_add_str(&i->out, STR("{\"parts\":["));
        for (size_t n = 0; n < SPEC_PARTITIONS_MAX; n++)
            if (i->owned[n].part && !i->owned[n].over) {
                add_part(&i->out, n, &i->owned[n], first);
                first = false;
            }
        buf_add_str(&i->out, STR("]}\n"));
    }
    flush(i);
    pthread_mutex_unlock(&i->lock);
}

static void report_lost(struct instance *i, size_t n, uint64_t epoch, const struct err *why)
{
    pthread_mutex_lock(&i->lock);
    buf_printf(&i->out, "{\"lost\":%zu,\"epoch\":%llu,\"code\":%d,\"reason\":", n,
               (unsigned long long)epoch, why->code);
    buf_add_json(&i->out, str_of(why->text));
    buf_add_str(&i->out, STR("}\n"));
    flush(i);
    pthread_mutex_unlock(&i->lock);
}

/* --- what we are told --- */

static void drop(struct instance *i, size_t n)
{
    part_close(i->owned[n].part);
    i->owned[n] = (struct owned){0};
}

static void on_over(void *ctx, struct part *p, const struct err *err)
{
    struct owned *o = ctx;
    (void)p;
    o->over = true;
    o->why = *err;
    loop_timer_after_ms(&o->instance->report, 0); /* it is closed from the loop */
}

static void own(struct instance *i, size_t n, uint64_t epoch)
{
    struct owned *o = &i->owned[n];
    struct err err = {0};
    drop(i, n);
    struct part_config config = {.loop = i->loop,
                                 .spec = i->config.spec,
                                 .stage = i->config.stage,
                                 .partition = n,
                                 .epoch = epoch,
                                 .queue = i->config.queue,
                                 .state = i->config.state,
                                 .ctx = o,
                                 .on_over = on_over};
    *o = (struct owned){.instance = i, .epoch = epoch};
    int rc = part_open(&o->part, &config, &err);
    if (rc) {
        report_lost(i, n, epoch, &err);
        *o = (struct owned){0};
        return;
    }
    log_debug("partition.owned", kv_str("stage", i->config.spec->stages[i->config.stage].name),
              kv_u64("partition", n), kv_u64("epoch", epoch));
    if (i->draining)
        part_drain(o->part);
}

static void stop(struct instance *i)
{
    i->stopped = true;
    loop_stop(i->loop);
}

static void command(struct instance *i, struct str line)
{
    struct str rest, word = str_cut(line, ' ', &rest), epoch_text;
    struct str number = str_cut(rest, ' ', &epoch_text);
    uint64_t n = 0, epoch = 0;
    bool numbered = str_to_u64(number, &n) == 0 && n < SPEC_PARTITIONS_MAX;
    if (str_eq(word, STR("own")) && numbered && str_to_u64(epoch_text, &epoch) == 0) {
        own(i, (size_t)n, epoch);
    } else if (str_eq(word, STR("drop")) && numbered) {
        drop(i, (size_t)n);
    } else if (str_eq(word, STR("drain"))) {
        i->draining = true;
        for (size_t k = 0; k < SPEC_PARTITIONS_MAX; k++)
            if (i->owned[k].part)
                part_drain(i->owned[k].part);
    } else if (str_eq(word, STR("stop"))) {
        stop(i);
    }
}

static void on_in(struct loop_poll *poll, unsigned events)
{
    struct instance *i = container_of(poll, struct instance, in);
    char *at;
    (void)events;
    if (buf_reserve(&i->line, 4096, &at)) {
        stop(i);
        return;
    }
    ssize_t n = read(i->config.in, at, 4096);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        stop(i);
        return;
    }
    buf_grew(&i->line, (size_t)n);
    for (const char *end;
         buf_len(&i->line) > 0 && (end = memchr(buf_ptr(&i->line), '\n', buf_len(&i->line)));) {
        size_t len = (size_t)(end - buf_ptr(&i->line));
        command(i, str_make(buf_ptr(&i->line), len));
        buf_consume(&i->line, len + 1);
    }
}

static void on_report(struct loop_timer *t)
{
    struct instance *i = container_of(t, struct instance, report);
    for (size_t n = 0; n < SPEC_PARTITIONS_MAX; n++)
        if (i->owned[n].over) {
            struct err why = i->owned[n].why;
            uint64_t epoch = i->owned[n].epoch;
            drop(i, n);
            report_lost(i, n, epoch, &why);
        }
    report(i);
    loop_timer_after_ms(t, INSTANCE_REPORT_MS);
}

/* The supervisor decides when to end; a signal for the whole group (Ctrl-C) is his. */
static void on_signal(struct loop_signal *s)
{
    (void)s;
}

/* --- life --- */

static int start(struct instance *i, struct err *err)
{
    int rc = loop_open(&i->loop, err);
    if (rc)
        return rc;
    loop_timer_init(&i->report, i->loop, on_report);
    fcntl(i->config.in, F_SETFL, O_NONBLOCK);
    fcntl(i->config.out, F_SETFL, O_NONBLOCK);
    rc = loop_poll_start(&i->in, i->loop, i->config.in, LOOP_READ, on_in);
    if (!rc)
        rc = loop_signal_start(&i->term, i->loop, SIGTERM, on_signal);
    if (!rc)
        rc = loop_signal_start(&i->interrupt, i->loop, SIGINT, on_signal);
    if (!rc)
        rc = loop_timer_after_ms(&i->report, 0);
    return rc ? err_set(err, rc, "cannot start: %s", err_text(rc)) : 0;
}

static void end(struct instance *i)
{
    for (size_t n = 0; n < SPEC_PARTITIONS_MAX; n++)
        drop(i, n);
    loop_poll_stop(&i->in);
    loop_timer_stop(&i->report);
    if (i->term.loop)
        loop_signal_stop(&i->term);
    if (i->interrupt.loop)
        loop_signal_stop(&i->interrupt);
    loop_close(i->loop);
    buf_done(&i->line);
    buf_done(&i->out);
    pthread_cond_destroy(&i->ending);
    pthread_mutex_destroy(&i->lock);
    mem_free(i);
}

int instance_run(const struct instance_config *config, struct err *err)
{
    struct instance *i = mem_zalloc(sizeof *i);
    if (!i)
        return err_set(err, TTG_ENOMEM, "out of memory");
    i->config = *config;
    buf_init(&i->line, LINE_BYTES_MAX);
    buf_init(&i->out, REPORT_BYTES_MAX);
    pthread_mutex_init(&i->lock, NULL);
    pthread_cond_init(&i->ending, NULL);
    int rc = start(i, err);
    if (!rc) {
        int failed = thread_start(&i->pulse, pulse_main, i);
        if (failed) {
            rc = err_set_errno(err, failed, "cannot start a thread");
        } else {
            rc = loop_run(i->loop);
            report(i);
            pthread_mutex_lock(&i->lock);
            i->ended = true;
            pthread_cond_signal(&i->ending);
            pthread_mutex_unlock(&i->lock);
            pthread_join(i->pulse, NULL);
        }
    }
    end(i);
    return rc;
}
