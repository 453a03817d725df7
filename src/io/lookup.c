/* SPDX-License-Identifier: Apache-2.0 */
#include "io/lookup.h"

#include "base/mem.h"
#include "io/thread.h"

#include <netinet/in.h>
#include <pthread.h>
#include <resolv.h>
#include <stdio.h>

enum { NAME_BYTES = 256, ASK_AGAIN_S = 1, ASK_TIMES = 5 };

/* Owned by the loop and by the thread: who leaves last frees it. */
struct lookup {
    struct loop_async done;
    pthread_mutex_t lock;
    bool stopped, left; /* by the loop; by one of the two */
    char host[NAME_BYTES];
    uint16_t port;
    struct net_addr addrs[LOOKUP_ADDRS_MAX];
    size_t count;
    struct err err;
    void (*on_found)(void *ctx, const struct net_addr *addrs, size_t count, const struct err *err);
    void *ctx;
};

static void leave(struct lookup *l)
{
    bool last = l->left;
    l->left = true;
    pthread_mutex_unlock(&l->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}

/* A question that gets lost is asked again in a second, not in five: name servers of containers
 * lose some whenever a container starts. For this thread only. */
static void ask_often(void)
{
    if (res_init() || _res.retrans <= ASK_AGAIN_S)
        return;
    _res.retrans = ASK_AGAIN_S;
    _res.retry = ASK_TIMES;
}

static void *thread_main(void *arg)
{
    struct lookup *l = arg;
    ask_often();
    net_resolve(l->host, l->port, l->addrs, LOOKUP_ADDRS_MAX, &l->count, &l->err);
    pthread_mutex_lock(&l->lock);
    if (!l->stopped)
        loop_async_send(&l->done);
    leave(l);
    return NULL;
}

static void on_done(struct loop_async *a)
{
    struct lookup *l = container_of(a, struct lookup, done);
    l->on_found(l->ctx, l->addrs, l->count, &l->err);
}

int lookup_start(struct lookup **ret_lookup, struct loop *loop, const char *host, uint16_t port,
                 void (*on_found)(void *ctx, const struct net_addr *addrs, size_t count,
                                  const struct err *err),
                 void *ctx, struct err *err)
{
    struct lookup *l = mem_zalloc(sizeof *l);
    if (!l)
        return err_set(err, TTG_ENOMEM, "out of memory");
    snprintf(l->host, sizeof l->host, "%s", host);
    l->port = port;
    l->on_found = on_found;
    l->ctx = ctx;
    pthread_mutex_init(&l->lock, NULL);
    loop_async_start(&l->done, loop, on_done);
    int rc = thread_start_detached(thread_main, l);
    if (rc) {
        l->left = true;
        lookup_stop(l);
        return err_set_errno(err, rc, "cannot start a thread that looks '%s' up", host);
    }
    *ret_lookup = l;
    return 0;
}

void lookup_stop(struct lookup *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopped = true;
    loop_async_stop(&l->done);
    leave(l);
}
