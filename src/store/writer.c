/* SPDX-License-Identifier: Apache-2.0 */
#include "store/writer.h"

#include "base/ensure.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct store_writer {
    struct store *store;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct store_batch *todo, *done; /* under the lock */
    bool stop;
    int event;
    struct store_batch *under_way; /* the owner's */
    uint64_t wait_ms;              /* the disk was full: not before this time */
};

enum { WRITER_FULL_WAIT_MS = 100 };

static void *writer_main(void *arg)
{
    struct store_writer *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->todo && !w->stop)
            pthread_cond_wait(&w->wake, &w->lock);
        if (!w->todo)
            break;
        struct store_batch *b = w->todo;
        w->todo = NULL;
        pthread_mutex_unlock(&w->lock);
        store_batch_write(w->store, b);
        pthread_mutex_lock(&w->lock);
        w->done = b;
        uint64_t one = 1;
        ssize_t n = write(w->event, &one, sizeof one);
        ensure(n == sizeof one);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int store_writer_start(struct store *s, struct store_writer **ret_writer)
{
    struct store_writer *w = mem_zalloc(sizeof *w);
    if (!w)
        return TTG_ENOMEM;
    w->store = s;
    w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event < 0) {
        int rc = err_from_errno(errno);
        mem_free(w);
        return rc;
    }
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    /* Signals are the owner's business. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int errnum = pthread_create(&w->thread, NULL, writer_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errnum) {
        close(w->event);
        mem_free(w);
        return err_from_errno(errnum);
    }
    *ret_writer = w;
    return 0;
}

void store_writer_stop(struct store_writer *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    if (w->under_way)
        store_batch_done(w->store, w->under_way, NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->wake);
    close(w->event);
    mem_free(w);
}

int store_writer_fd(const struct store_writer *w)
{
    return w->event;
}

bool store_writer_busy(const struct store_writer *w)
{
    return w->under_way != NULL;
}

static int collect(struct store_writer *w, uint64_t now_ms, struct err *e)
{
    pthread_mutex_lock(&w->lock);
    struct store_batch *b = w->done;
    w->done = NULL;
    pthread_mutex_unlock(&w->lock);
    if (!b)
        return 0;
    uint64_t count;
    ssize_t n = read(w->event, &count, sizeof count);
    ensure(n == sizeof count);
    w->under_way = NULL;
    int rc = store_batch_done(w->store, b, e);
    if (rc == TTG_ENOSPC)
        w->wait_ms = now_ms + WRITER_FULL_WAIT_MS;
    return rc;
}

int store_writer_poll(struct store_writer *w, uint64_t now_ms, struct err *e)
{
    int rc = w->under_way ? collect(w, now_ms, e) : 0;
    if (rc || w->under_way || now_ms < w->wait_ms)
        return rc;
    struct store_batch *b = store_batch_take(w->store, now_ms);
    if (!b)
        return 0;
    w->under_way = b;
    pthread_mutex_lock(&w->lock);
    w->todo = b;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    return 0;
}
