/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"

#include "base/ensure.h"
#include "base/mem.h"
#include "io/realclock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EVENTS_MAX = 128, SIGNALS_MAX = 65, TIMERS_RESERVED = 63 };

struct loop {
    int epoll_fd, wake_fd;
    bool stopping;
    bool coarse; /* no epoll_pwait2: waits in whole milliseconds */
    bool soon;   /* events are expected soon */
    bool look;   /* the next wait is none */
    struct loop_spin spin;
    uint64_t now_ns;
    struct heap timers;
    struct list hooks, signals;

    struct epoll_event events[EVENTS_MAX]; /* of the present turn; stopped ones are NULL */
    int event_count, event_at;

    pthread_mutex_t lock; /* for asyncs */
    struct list asyncs;

    char block[LOOP_BLOCK_BYTES];
};

/* What a handler may touch: it only notes the signal and wakes the loop. */
static _Atomic int signal_wake_fd = -1;
static _Atomic bool signal_fired[SIGNALS_MAX];

static void wake(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one); /* full means: awake already */
    (void)n;
}

int loop_open(struct loop **ret_loop, struct err *err)
{
    struct loop *l = mem_zalloc(sizeof *l);
    if (!l)
        return err_set(err, TTG_ENOMEM, "event loop: out of memory");
    heap_init(&l->timers);
    list_init(&l->hooks);
    list_init(&l->signals);
    list_init(&l->asyncs);
    pthread_mutex_init(&l->lock, NULL);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = l};
    if (l->epoll_fd < 0 || l->wake_fd < 0 ||
        epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &ev) < 0) {
        int rc = err_set_errno(err, errno, "event loop");
        loop_close(l);
        return rc;
    }
    /* So that a queue or a worker, which has a handful, never waits for a timer that was not set.
     */
    if (heap_reserve(&l->timers, TIMERS_RESERVED)) {
        loop_close(l);
        return err_set(err, TTG_ENOMEM, "event loop: out of memory");
    }
    loop_now_update(l);
    *ret_loop = l;
    return 0;
}

void loop_close(struct loop *l)
{
    if (!l)
        return;
    ensure(l->timers.count == 0);
    ensure(list_empty(&l->signals));
    heap_done(&l->timers);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}

uint64_t loop_now_ns(const struct loop *l)
{
    return l->now_ns;
}

uint64_t loop_now_update(struct loop *l)
{
    struct clock *c = realclock();
    return l->now_ns = c->mono_ns(c);
}

char *loop_block(struct loop *l)
{
    return l->block;
}

void loop_wake(struct loop *l)
{
    wake(l->wake_fd);
}

/* ---- one turn ---- */

bool loop_spin_try(struct loop_spin *s)
{
    if (s->skip == 0)
        return true;
    s->skip--;
    return false;
}

void loop_spin_ended(struct loop_spin *s, bool paid)
{
    s->pause = paid ? s->pause / 2 : s->pause * 2 + 1;
    if (s->pause > LOOP_SPIN_PAUSE_MAX)
        s->pause = LOOP_SPIN_PAUSE_MAX;
    s->skip = paid ? 0 : s->pause;
}

void loop_expect_soon(struct loop *l)
{
    l->soon = true;
}

void loop_look_again(struct loop *l)
{
    l->look = true;
}

/* The number of events, or 0: they do not come that soon. */
static int spin_events(struct loop *l, uint64_t wait_ns)
{
    uint64_t until_ns = loop_now_update(l) + (wait_ns < LOOP_SPIN_NS ? wait_ns : LOOP_SPIN_NS);
    int n;
    do
        n = epoll_wait(l->epoll_fd, l->events, EVENTS_MAX, 0);
    while (n == 0 && loop_now_update(l) < until_ns);
    loop_spin_ended(&l->spin, n > 0);
    return n;
}

static int wait_events(struct loop *l, uint64_t wait_ns)
{
    if (l->soon && wait_ns > 0 && loop_spin_try(&l->spin)) {
        int n = spin_events(l, wait_ns);
        if (n != 0 || wait_ns <= LOOP_SPIN_NS)
            return n;
    }
    if (!l->coarse) {
        struct timespec ts = {(time_t)(wait_ns / 1000000000u), (long)(wait_ns % 1000000000u)};
        int n = epoll_pwait2(l->epoll_fd, l->events, EVENTS_MAX,
                             wait_ns == LOOP_FOREVER ? NULL : &ts, NULL);
        if (n >= 0 || errno != ENOSYS)
            return n;
        l->coarse = true;
    }
    uint64_t ms = wait_ns / 1000000 + (wait_ns % 1000000 != 0);
    int timeout = wait_ns == LOOP_FOREVER ? -1 : ms > 3600000 ? 3600000 : (int)ms;
    return epoll_wait(l->epoll_fd, l->events, EVENTS_MAX, timeout);
}

static uint64_t wait_limit(struct loop *l, uint64_t wait_ms)
{
    uint64_t wait_ns = LOOP_FOREVER;
    if (wait_ms == 0 || l->stopping || l->look) {
        l->look = false;
        return 0;
    }
    if (wait_ms < LOOP_FOREVER / 1000000)
        wait_ns = wait_ms * 1000000;
    struct heap_node *first = heap_min(&l->timers);
    if (first) {
        uint64_t now_ns = loop_now_update(l);
        uint64_t due_ns = first->key > now_ns ? first->key - now_ns : 0;
        if (due_ns < wait_ns)
            wait_ns = due_ns;
    }
    return wait_ns;
}

static void run_timers(struct loop *l)
{
    /* A timer that is set again for now waits for the next turn, or descriptors would starve. */
    size_t budget = l->timers.count;
    for (struct heap_node *n; budget > 0 && (n = heap_min(&l->timers)) && n->key <= l->now_ns;
         budget--) {
        struct loop_timer *t = container_of(n, struct loop_timer, node);
        heap_remove(&l->timers, n);
        t->on_timer(t);
    }
}

static void run_signals(struct loop *l)
{
    for (int signo = 1; signo < SIGNALS_MAX; signo++) {
        if (!atomic_load_explicit(&signal_fired[signo], memory_order_relaxed) ||
            !atomic_exchange(&signal_fired[signo], false))
            continue;
        list_each(it, &l->signals)
        {
            struct loop_signal *s = container_of(it, struct loop_signal, link);
            if (s->signo == signo)
                s->on_signal(s);
        }
    }
}

static void run_asyncs(struct loop *l)
{
    struct list *first;
    do {
        pthread_mutex_lock(&l->lock);
        first = list_pop_front(&l->asyncs);
        struct loop_async *a = first ? container_of(first, struct loop_async, link) : NULL;
        if (a)
            a->sent = false;
        pthread_mutex_unlock(&l->lock);
        if (a)
            a->on_async(a);
    } while (first);
}

static void run_wake(struct loop *l)
{
    uint64_t count;
    ssize_t n = read(l->wake_fd, &count, sizeof count);
    (void)n;
    if (!list_empty(&l->signals))
        run_signals(l);
    run_asyncs(l);
}

static void run_event(struct loop *l, const struct epoll_event *ev)
{
    if (ev->data.ptr == l) {
        run_wake(l);
        return;
    }
    struct loop_poll *p = ev->data.ptr;
    unsigned events = 0;
    if (ev->events & EPOLLIN)
        events |= LOOP_READ;
    if (ev->events & EPOLLOUT)
        events |= LOOP_WRITE;
    if (ev->events & (EPOLLERR | EPOLLHUP))
        events |= p->events | LOOP_HANGUP;
    p->on_ready(p, events);
}

int loop_turn(struct loop *l, uint64_t wait_ms)
{
    list_each(it, &l->hooks)
    {
        struct loop_hook *h = container_of(it, struct loop_hook, link);
        h->on_turn(h);
    }
    int n = wait_events(l, wait_limit(l, wait_ms));
    if (n < 0 && errno != EINTR)
        return err_from_errno(errno);
    loop_now_update(l);
    /* Before the timers: what they stop must not get an event of this turn either. */
    l->event_count = n < 0 ? 0 : n;
    l->event_at = 0;
    run_timers(l);
    while (l->event_at < l->event_count) {
        const struct epoll_event *ev = &l->events[l->event_at++];
        if (ev->data.ptr)
            run_event(l, ev);
    }
    l->event_count = 0;
    return 0;
}

int loop_run(struct loop *l)
{
    int rc = 0;
    while (!rc && !l->stopping)
        rc = loop_turn(l, LOOP_FOREVER);
    l->stopping = false;
    return rc;
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
}

/* ---- timers ---- */

void loop_timer_init(struct loop_timer *t, struct loop *l, void (*on_timer)(struct loop_timer *t))
{
    *t = (struct loop_timer){.loop = l, .on_timer = on_timer};
}

int loop_timer_at_ns(struct loop_timer *t, uint64_t at_ns)
{
    return heap_set(&t->loop->timers, &t->node, at_ns);
}

int loop_timer_after_ms(struct loop_timer *t, uint64_t ms)
{
    uint64_t now_ns = t->loop->now_ns;
    bool far = ms >= (UINT64_MAX - now_ns) / 1000000;
    return loop_timer_at_ns(t, far ? UINT64_MAX : now_ns + ms * 1000000);
}

void loop_timer_stop(struct loop_timer *t)
{
    if (t->loop)
        heap_remove(&t->loop->timers, &t->node);
}

/* ---- descriptors ---- */

static int poll_ctl(struct loop_poll *p, int op)
{
    struct epoll_event ev = {.data.ptr = p};
    if (p->events & LOOP_READ)
        ev.events |= EPOLLIN;
    if (p->events & LOOP_WRITE)
        ev.events |= EPOLLOUT;
    return epoll_ctl(p->loop->epoll_fd, op, p->fd, &ev) < 0 ? err_from_errno(errno) : 0;
}

int loop_poll_start(struct loop_poll *p, struct loop *l, int fd, unsigned events,
                    void (*on_ready)(struct loop_poll *p, unsigned events))
{
    *p = (struct loop_poll){l, fd, events, on_ready};
    int rc = poll_ctl(p, EPOLL_CTL_ADD);
    if (rc)
        p->loop = NULL;
    return rc;
}

int loop_poll_change(struct loop_poll *p, unsigned events)
{
    ensure(p->loop != NULL);
    if (events == p->events)
        return 0;
    p->events = events;
    return poll_ctl(p, EPOLL_CTL_MOD);
}

void loop_poll_stop(struct loop_poll *p)
{
    struct loop *l = p->loop;
    if (!l)
        return;
    int rc = poll_ctl(p, EPOLL_CTL_DEL);
    ensure(rc == 0); /* the descriptor was closed too early */
    /* Events of this turn that have not been looked at yet may speak of it. */
    for (int i = l->event_at; i < l->event_count; i++)
        if (l->events[i].data.ptr == p)
            l->events[i].data.ptr = NULL;
    p->loop = NULL;
}

/* ---- wake-ups ---- */

void loop_async_start(struct loop_async *a, struct loop *l, void (*on_async)(struct loop_async *a))
{
    *a = (struct loop_async){.loop = l, .on_async = on_async};
    list_init(&a->link);
}

void loop_async_send(struct loop_async *a)
{
    struct loop *l = a->loop;
    pthread_mutex_lock(&l->lock);
    bool first = list_empty(&l->asyncs);
    if (!a->sent) {
        a->sent = true;
        list_push_back(&l->asyncs, &a->link);
    }
    /* Inside the lock: afterwards the receiver may already have closed the loop. */
    if (first)
        wake(l->wake_fd);
    pthread_mutex_unlock(&l->lock);
}

void loop_async_stop(struct loop_async *a)
{
    if (!a->loop)
        return;
    pthread_mutex_lock(&a->loop->lock);
    list_remove(&a->link);
    a->sent = false;
    pthread_mutex_unlock(&a->loop->lock);
}

/* ---- signals ---- */

static void on_signal_caught(int signo)
{
    int saved = errno;
    atomic_store(&signal_fired[signo], true);
    int fd = atomic_load(&signal_wake_fd);
    if (fd >= 0)
        wake(fd);
    errno = saved;
}

int loop_signal_start(struct loop_signal *s, struct loop *l, int signo,
                      void (*on_signal)(struct loop_signal *s))
{
    ensure(signo > 0 && signo < SIGNALS_MAX);
    *s = (struct loop_signal){.loop = l, .signo = signo, .on_signal = on_signal};
    list_push_back(&l->signals, &s->link);
    atomic_store(&signal_wake_fd, l->wake_fd);
    struct sigaction sa = {.sa_handler = on_signal_caught, .sa_flags = SA_RESTART};
    sigfillset(&sa.sa_mask);
    if (sigaction(signo, &sa, NULL) == 0)
        return 0;
    int rc = err_from_errno(errno);
    list_remove(&s->link);
    s->loop = NULL;
    return rc;
}

void loop_signal_stop(struct loop_signal *s)
{
    struct loop *l = s->loop;
    if (!l)
        return;
    list_remove(&s->link);
    s->loop = NULL;
    bool others = false;
    list_each(it, &l->signals) others |=
        container_of(it, struct loop_signal, link)->signo == s->signo;
    if (!others)
        signal(s->signo, SIG_DFL);
    if (list_empty(&l->signals))
        atomic_store(&signal_wake_fd, -1);
}

/* ---- hooks ---- */

void loop_hook_start(struct loop_hook *h, struct loop *l, void (*on_turn)(struct loop_hook *h))
{
    h->on_turn = on_turn;
    list_push_back(&l->hooks, &h->link);
}

void loop_hook_stop(struct loop_hook *h)
{
    list_remove(&h->link);
}
