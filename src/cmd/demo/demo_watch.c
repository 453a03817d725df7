/* SPDX-License-Identifier: Apache-2.0 */
/* The monitors beside a demo. */
#include "cmd/demo/demo.h"
#include "cmd/terminal.h"
#include "io/stdio.h"

#include <stdio.h>
#include <unistd.h>

enum { PERIOD_MS = 100, HOLD_MS = 2000, LATER_BYTES_MAX = 1 << 20 };

static void on_end(void *ctx, int rc, const struct err *err)
{
    struct demo *d = ctx;
    struct monitor_term *t = d->term;
    (void)rc;
    (void)err;
    d->term = NULL;
    monitor_term_close(t);
    demo_say_later(d);
}

void demo_watch_open(struct demo *d, const struct demo_act *a, const struct demo_place *place)
{
    struct monitor_term_config config = {.queue = place->queue,
                                         .job = a->job,
                                         .place = place->address,
                                         .period_ms = PERIOD_MS,
                                         .full = true,
                                         .color = d->command->color_out,
                                         .ctx = d,
                                         .on_end = on_end};
    struct err err;
    if (!d->cli || d->signal)
        return;
    buf_init(&d->later, LATER_BYTES_MAX);
    config.queue.client_name = "monitor";
    if (monitor_term_open(&d->term, d->loop, &config, &err)) {
        d->term = NULL;
        demo_say(d, "no monitor: %s", err.text);
    }
}

void demo_watch_hold(struct demo *d)
{
    if (d->term)
        monitor_term_hold(d->term);
}

/* Turns the loop for a while, or until a signal. */
static void wait_ms(struct demo *d, uint64_t ms)
{
    uint64_t until_ms = loop_now_update(d->loop) / 1000000 + ms;
    while (!d->signal && d->term && loop_now_ms(d->loop) < until_ms)
        loop_turn(d->loop, until_ms - loop_now_ms(d->loop));
}

void demo_watch_close(struct demo *d)
{
    struct monitor_term *t = d->term;
    if (t) {
        wait_ms(d, HOLD_MS);
        t = d->term;
        d->term = NULL;
        monitor_term_close(t);
        demo_say_later(d);
    }
    buf_done(&d->later);
}

struct enter {
    struct loop_poll poll;
    bool pressed;
};

static void on_input(struct loop_poll *p, unsigned events)
{
    struct enter *e = container_of(p, struct enter, poll);
    char bytes[256];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    e->pressed = n <= 0 || memchr(bytes, '\n', (size_t)n) || (events & LOOP_HANGUP);
}

void demo_wait_for_enter(struct demo *d, const char *what)
{
    struct enter e = {.pressed = false};
    if (!d->web || !stdio_is_terminal(STDIO_IN) || d->signal)
        return;
    demo_say(d, "press Enter to %s", what);
    if (loop_poll_start(&e.poll, d->loop, STDIN_FILENO, LOOP_READ, on_input))
        return;
    while (!e.pressed && !d->signal && loop_turn(d->loop, LOOP_FOREVER) == 0)
        ;
    loop_poll_stop(&e.poll);
}
