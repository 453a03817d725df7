/* SPDX-License-Identifier: Apache-2.0 */
/* loop - the event loop: timers, descriptors, wake-ups from other threads, signals.
 *
 * A process has one for its signals; other threads may have loops of their own, which share
 * nothing. All objects live inside their owners and are stopped at once: after a ..._stop the
 * callback does not come any more and the memory may go, also from inside any callback. `now` is
 * taken once a turn. Directly on epoll: see docs/decisions/event-loop.md. */
#ifndef TTG_IO_LOOP_H
#define TTG_IO_LOOP_H

#include "base/clock.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

int loop_open(struct loop **ret_loop, struct err *err);
/* All objects have been stopped. NULL is fine. */
void loop_close(struct loop *l);

/* Turns until loop_stop was called. 0, or TTG_EIO when the kernel refuses to wait. */
int loop_run(struct loop *l);
/* From a callback or a handler of this thread: the present turn is the last one. */
void loop_stop(struct loop *l);
/* One turn: waits at most `wait_ms` (0: does not wait; LOOP_FOREVER) for the first event. */
int loop_turn(struct loop *l, uint64_t wait_ms);
#define LOOP_FOREVER UINT64_MAX

/* Monotonic, as of the start of this turn (after the wait). */
uint64_t loop_now_ns(const struct loop *l);
static inline uint64_t loop_now_ms(const struct loop *l)
{
    return loop_now_ns(l) / 1000000;
}
/* Reads the clock again: after a long computation inside a callback. */
uint64_t loop_now_update(struct loop *l);

/* Room to read into, for whoever is being called back: what it holds is void afterwards. */
enum { LOOP_BLOCK_BYTES = 64 * 1024 };
char *loop_block(struct loop *l);

/* What comes next often comes within microseconds (a coprocess that answers at once): going to
 * sleep and being woken costs more than that. From now on a wait may first look again for up to
 * LOOP_SPIN_NS, as long as this pays; after each time that it did not, twice as many waits go to
 * sleep at once, so that an idle or slow loop burns nothing. */
enum { LOOP_SPIN_NS = 20000, LOOP_SPIN_PAUSE_MAX = 1023 };
void loop_expect_soon(struct loop *l);

/* Whether to look again: the decision alone. */
struct loop_spin {
    uint32_t pause, skip;
};
bool loop_spin_try(struct loop_spin *s);
void loop_spin_ended(struct loop_spin *s, bool paid);

/* The next wait takes what is there and does not sleep: for a hook that puts off its work while
 * more of it comes in. */
void loop_look_again(struct loop *l);

/* Ends the present wait, or the next one. From any thread, and from a signal handler. */
void loop_wake(struct loop *l);

/* ---- timers: fire once, may be set again from their callback ---- */
struct loop_timer {
    struct heap_node node;
    struct loop *loop;
    void (*on_timer)(struct loop_timer *t);
};

void loop_timer_init(struct loop_timer *t, struct loop *l, void (*on_timer)(struct loop_timer *t));
/* Sets or moves it. TTG_ENOMEM only when it was not set. */
int loop_timer_at_ns(struct loop_timer *t, uint64_t at_ns);
int loop_timer_after_ms(struct loop_timer *t, uint64_t ms); /* counted from loop_now_ns */
void loop_timer_stop(struct loop_timer *t);                 /* harmless when not set */
static inline bool loop_timer_is_set(const struct loop_timer *t)
{
    return heap_has(&t->node);
}

/* ---- descriptors: level-triggered ---- */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4 }; /* HANGUP is reported, never asked for */

struct loop_poll {
    struct loop *loop; /* NULL: stopped */
    int fd;
    unsigned events;
    void (*on_ready)(struct loop_poll *p, unsigned events);
};

/* The descriptor stays the caller's. On an error or a hang-up on_ready gets what was asked for,
 * plus LOOP_HANGUP: the next read or write tells. TTG_ENOMEM, TTG_EIO. */
int loop_poll_start(struct loop_poll *p, struct loop *l, int fd, unsigned events,
                    void (*on_ready)(struct loop_poll *p, unsigned events));
/* With 0 only a hang-up is reported. */
int loop_poll_change(struct loop_poll *p, unsigned events);
/* Before the descriptor is closed. Harmless when not started (and zeroed). */
void loop_poll_stop(struct loop_poll *p);

/* ---- wake-ups from other threads ---- */
struct loop_async {
    struct list link;
    struct loop *loop;
    bool sent;
    void (*on_async)(struct loop_async *a);
};

void loop_async_start(struct loop_async *a, struct loop *l, void (*on_async)(struct loop_async *a));
/* From any thread; several sends before the callback runs count as one. */
void loop_async_send(struct loop_async *a);
/* No thread sends any more. */
void loop_async_stop(struct loop_async *a);

/* ---- signals: delivered as events, one loop per process ---- */
struct loop_signal {
    struct list link;
    struct loop *loop;
    int signo;
    void (*on_signal)(struct loop_signal *s);
};

int loop_signal_start(struct loop_signal *s, struct loop *l, int signo,
                      void (*on_signal)(struct loop_signal *s));
/* The signal has its default effect again when nobody else listens. */
void loop_signal_stop(struct loop_signal *s);

/* ---- at the end of each turn, before the wait: to write in one go what a turn produced ---- */
struct loop_hook {
    struct list link;
    void (*on_turn)(struct loop_hook *h);
};

void loop_hook_start(struct loop_hook *h, struct loop *l, void (*on_turn)(struct loop_hook *h));
void loop_hook_stop(struct loop_hook *h);

#endif
