/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/amqp_wire.h"

#include "base/mem.h"
#include "io/loop.h"
#include "io/realclock.h"
#include "io/thread.h"
#include "queue/amqp_link.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CLOSE_S = 3,   /* then a thread that hangs in a write is cut off */
    IDLE_MS = 500, /* heartbeats need a look now and then */
};

struct posted {
    struct list link;
    struct amqp_call call;
    char bytes[];
};

struct amqp_wire {
    struct loop_async *news;
    pthread_t thread;
    pthread_mutex_t lock;
    int wake;
    /* under the lock */
    struct list calls, events;
    bool stop;
    int fd; /* of the connection, -1 */

    /* the thread's */
    struct amqp_link *link;
    struct list held; /* publishing while the broker takes nothing */
    uint64_t held_gen;
};

void amqp_event_free(struct amqp_event *e)
{
    mem_free(e);
}

static void set_fd(struct amqp_wire *w, int fd)
{
    pthread_mutex_lock(&w->lock);
    w->fd = fd;
    pthread_mutex_unlock(&w->lock);
}

static void hand_over(struct amqp_wire *w)
{
    struct list *fresh = amqp_link_events(w->link);
    if (list_empty(fresh))
        return;
    pthread_mutex_lock(&w->lock);
    for (struct list *it; (it = list_first(fresh));) {
        list_remove(it);
        list_push_back(&w->events, it);
    }
    pthread_mutex_unlock(&w->lock);
    loop_async_send(w->news);
}

/* --- the thread --- */

/* False: stop. */
static bool run_calls(struct amqp_wire *w)
{
    struct list todo;
    list_init(&todo);
    if (!amqp_link_blocked(w->link, w->held_gen))
        for (struct list *it; (it = list_first(&w->held));) {
            list_remove(it);
            list_push_back(&todo, it);
        }
    pthread_mutex_lock(&w->lock);
    for (struct list *it; (it = list_first(&w->calls));) {
        list_remove(it);
        list_push_back(&todo, it);
    }
    bool stop = w->stop;
    pthread_mutex_unlock(&w->lock);
    for (struct list *it; (it = list_first(&todo));) {
        struct posted *p = container_of(it, struct posted, link);
        list_remove(it);
        bool publishes = p->call.op == AMQP_PUBLISH || p->call.op == AMQP_ANNOUNCE ||
                         p->call.op == AMQP_ASK || p->call.op == AMQP_REPLY;
        if (publishes && amqp_link_blocked(w->link, p->call.gen)) {
            w->held_gen = p->call.gen;
            list_push_back(&w->held, it);
            continue;
        }
        if (p->call.op == AMQP_CONNECT)
            set_fd(w, -1);
        amqp_link_run(w->link, &p->call);
        mem_free(p);
    }
    amqp_link_flush(w->link);
    return !stop;
}

static void wait_for_something(struct amqp_wire *w)
{
    struct pollfd fds[2] = {{.fd = w->wake, .events = POLLIN},
                            {.fd = amqp_link_fd(w->link), .events = POLLIN}};
    uint64_t count;
    bool waiting = amqp_link_has_more(w->link);
    if (poll(fds, 2, waiting ? 0 : IDLE_MS) > 0 && (fds[0].revents & POLLIN) &&
        read(w->wake, &count, sizeof count) < 0)
        return; /* somebody else's signal; the next turn looks again */
}

static void *thread_main(void *arg)
{
    struct amqp_wire *w = arg;
    while (run_calls(w)) {
        amqp_link_read(w->link);
        set_fd(w, amqp_link_fd(w->link));
        hand_over(w);
        wait_for_something(w);
    }
    set_fd(w, -1);
    amqp_link_close(w->link);
    return NULL;
}

static void poke(struct amqp_wire *w)
{
    uint64_t one = 1;
    ssize_t n = write(w->wake, &one, sizeof one);
    (void)n; /* full: it is awake already */
}

/* --- the owner's side --- */

int amqp_wire_open(struct amqp_wire **ret_wire, const struct queue_config *config,
                   struct loop_async *news, struct err *err)
{
    struct amqp_wire *w = mem_zalloc(sizeof *w);
    struct amqp_link *link = w ? amqp_link_new(config) : NULL;
    if (!link) {
        mem_free(w);
        return err_set(err, TTG_ENOMEM, "out of memory");
    }
    w->link = link;
    w->news = news;
    w->fd = -1;
    list_init(&w->calls);
    list_init(&w->events);
    list_init(&w->held);
    pthread_mutex_init(&w->lock, NULL);
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = w->wake < 0 ? errno : thread_start(&w->thread, thread_main, w);
    if (rc) {
        if (w->wake >= 0)
            close(w->wake);
        amqp_link_close(link);
        mem_free(w);
        return err_set_errno(err, rc, "cannot start a thread");
    }
    *ret_wire = w;
    return 0;
}

int amqp_wire_post(struct amqp_wire *w, const struct amqp_call *call)
{
    struct str *views[5];
    size_t at = 0, bytes = call->queue.len + call->dead_to.len + call->reason.len +
                           call->history.len + call->body.len;
    struct posted *p = mem_alloc(sizeof *p + bytes);
    if (!p)
        return TTG_ENOMEM;
    p->call = *call;
    list_init(&p->link);
    views[0] = &p->call.queue;
    views[1] = &p->call.dead_to;
    views[2] = &p->call.reason;
    views[3] = &p->call.history;
    views[4] = &p->call.body;
    for (int i = 0; i < 5; i++) {
        if (views[i]->len > 0)
            memcpy(p->bytes + at, views[i]->ptr, views[i]->len);
        views[i]->ptr = p->bytes + at;
        at += views[i]->len;
    }
    pthread_mutex_lock(&w->lock);
    bool first = list_empty(&w->calls);
    list_push_back(&w->calls, &p->link);
    pthread_mutex_unlock(&w->lock);
    if (first)
        poke(w);
    return 0;
}

void amqp_wire_events(struct amqp_wire *w, struct list *to)
{
    pthread_mutex_lock(&w->lock);
    for (struct list *it; (it = list_first(&w->events));) {
        list_remove(it);
        list_push_back(to, it);
    }
    pthread_mutex_unlock(&w->lock);
}

static void free_events(struct list *events)
{
    for (struct list *it; (it = list_first(events));) {
        list_remove(it);
        amqp_event_free(container_of(it, struct amqp_event, link));
    }
}

static void free_calls(struct list *calls)
{
    for (struct list *it; (it = list_first(calls));) {
        list_remove(it);
        mem_free(container_of(it, struct posted, link));
    }
}

void amqp_wire_close(struct amqp_wire *w)
{
    struct timespec limit;
    struct clock *clock = realclock();
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_mutex_unlock(&w->lock);
    poke(w);
    limit = (struct timespec){.tv_sec = (time_t)(clock->wall_ms(clock) / 1000) + CLOSE_S};
    if (pthread_timedjoin_np(w->thread, NULL, &limit) != 0) {
        pthread_mutex_lock(&w->lock);
        if (w->fd >= 0)
            shutdown(w->fd, SHUT_RDWR);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    free_events(&w->events);
    free_calls(&w->calls);
    free_calls(&w->held);
    close(w->wake);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}
