/* SPDX-License-Identifier: Apache-2.0 */
#include "store/writer.h"

#include "base/ensure.h"
#include "base/mem.h"
#include "io/thread.h"
#include "store/state.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A batch goes over in `todo` and comes back in `done`; a descriptor each wakes the other side. No
 * lock: waking somebody only to have it wait for one costs as much as the write. */
struct store_writer {
    struct store *store;
    struct clock *clock;
    pthread_t thread;
    _Atomic(struct store_batch *) todo, done;
    atomic_bool stop;
    int wake, event;
    struct store_batch *under_way; /* the owner's */
    uint64_t took_ns;              /* the last write; of whoever holds the batch */
    uint64_t own;                  /* batches that the owner wrote */
    unsigned quick_row;            /* so many writes in a row were quick */
    uint64_t wait_ms;              /* the disk was full: not before this time */
};

enum { WRITER_FULL_WAIT_MS = 100, WRITER_QUICK_NS = 1000000, WRITER_QUICK_ROW = 16 };
/* Where a batch has become large enough: its records still fit into one that is light. */
enum { WRITER_ENOUGH_BYTES = STORE_LIGHT_BATCH_BYTES / 4 * 3 };

static void signal_event(int event)
{
    uint64_t one = 1;
    ssize_t n = write(event, &one, sizeof one);
    ensure(n == sizeof one);
}

static void write_timed(struct store_writer *w, struct store_batch *b)
{
    uint64_t began_ns = w->clock->mono_ns(w->clock);
    store_batch_write(w->store, b);
    w->took_ns = w->clock->mono_ns(w->clock) - began_ns;
}

static void *writer_main(void *arg)
{
    struct store_writer *w = arg;
    for (;;) {
        struct store_batch *b = atomic_exchange(&w->todo, NULL);
        if (b) {
            write_timed(w, b);
            atomic_store(&w->done, b);
            signal_event(w->event);
            continue;
        }
        if (atomic_load(&w->stop))
            return NULL;
        uint64_t count;
        ssize_t n = read(w->wake, &count, sizeof count);
        ensure(n == sizeof count || errno == EINTR);
    }
}

static void writer_free(struct store_writer *w)
{
    if (w->wake >= 0)
        close(w->wake);
    if (w->event >= 0)
        close(w->event);
    mem_free(w);
}

int store_writer_start(struct store *s, struct clock *clock, struct store_writer **ret_writer)
{
    struct store_writer *w = mem_zalloc(sizeof *w);
    if (!w)
        return TTG_ENOMEM;
    w->store = s;
    w->clock = clock;
    w->wake = eventfd(0, EFD_CLOEXEC);
    w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake < 0 || w->event < 0) {
        int rc = err_from_errno(errno);
        writer_free(w);
        return rc;
    }
    int errnum = thread_start(&w->thread, writer_main, w);
    if (errnum) {
        writer_free(w);
        return err_from_errno(errnum);
    }
    *ret_writer = w;
    return 0;
}

void store_writer_stop(struct store_writer *w)
{
    if (!w)
        return;
    atomic_store(&w->stop, true);
    signal_event(w->wake);
    pthread_join(w->thread, NULL);
    if (w->under_way)
        store_batch_done(w->store, w->under_way, NULL);
    writer_free(w);
}

int store_writer_fd(const struct store_writer *w)
{
    return w->event;
}

bool store_writer_busy(const struct store_writer *w)
{
    return w->under_way != NULL;
}

bool store_writer_has_room(const struct store_writer *w)
{
    uint64_t bytes = store_filling_bytes(w->store);
    return !w->under_way && w->quick_row >= WRITER_QUICK_ROW && bytes > 0 &&
           bytes < WRITER_ENOUGH_BYTES;
}

void store_writer_yield(struct store_writer *w)
{
    w->quick_row = 0;
}

void store_writer_urgent(struct store_writer *w)
{
    if (w->store->o.sync == STORE_SYNC_ALWAYS)
        store_writer_yield(w);
}

uint64_t store_writer_took_ns(const struct store_writer *w)
{
    return w->took_ns;
}

uint64_t store_writer_own(const struct store_writer *w)
{
    return w->own;
}

static int finish(struct store_writer *w, struct store_batch *b, uint64_t now_ms, struct err *e)
{
    w->under_way = NULL;
    w->quick_row = w->took_ns <= WRITER_QUICK_NS ? w->quick_row + 1 : 0;
    int rc = store_batch_done(w->store, b, e);
    if (rc == TTG_ENOSPC) {
        w->quick_row = 0;
        w->wait_ms = now_ms + WRITER_FULL_WAIT_MS;
    }
    return rc;
}

static int collect(struct store_writer *w, uint64_t now_ms, struct err *e)
{
    struct store_batch *b = atomic_exchange(&w->done, NULL);
    if (!b)
        return 0;
    /* The other side signals after handing over: a wake-up that comes later finds nothing. */
    uint64_t count;
    ssize_t n = read(w->event, &count, sizeof count);
    ensure(n == sizeof count || errno == EAGAIN);
    return finish(w, b, now_ms, e);
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
    if (w->quick_row >= WRITER_QUICK_ROW && store_batch_is_light(w->store, b)) {
        w->own++;
        write_timed(w, b);
        return finish(w, b, now_ms, e);
    }
    atomic_store(&w->todo, b);
    signal_event(w->wake);
    return 0;
}
