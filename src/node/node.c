/* SPDX-License-Identifier: Apache-2.0 */
#include "node/node.h"

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/prng.h"
#include "base/trace.h"
#include "node/health.h"
#include "node/listen.h"
#include "node/presence.h"
#include "node/snapshot.h"
#include "node/state.h"
#include "store/blob.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    ROUNDS_MAX = 64,
    FULL_RETRY_MS = 100,
    FULL_LOOK_MS = 500,
    FULL_LOOK_BYTES = 64 << 10,
    DRAIN_MS = 3000,
    SLOW_US = 100000,
    ORPHAN_MS = 500,
    GATHER_NS = 100000,
    RECORD_TYPE = 1,
    RECORD_GROUP = 0
};

uint64_t node_now_ms(struct node *n)
{
    n->now_ms = clock_steady_ms(&n->steady, n->clock);
    return n->now_ms;
}

uint64_t node_lap_ns(struct node *n)
{
    uint64_t before_ns = n->lap_ns;
    n->lap_ns = n->clock->mono_ns(n->clock);
    return n->lap_ns - before_ns;
}

void node_fail(struct node *n, int rc, const struct err *err)
{
    if (n->failed_rc)
        return;
    n->failed_rc = rc;
    n->failure = *err;
    log_error("node.failed", kv_str("reason", err->text));
    loop_stop(n->loop);
}

/* ---- the log ---- */
int node_reserve(struct node *n, uint64_t bytes)
{
    char *room;
    buf_clear(&n->record);
    int rc = buf_reserve(&n->record, bytes, &room);
    if (rc)
        return rc;
    rc = store_reserve(n->store, 1, bytes, n->now_ms);
    if (rc == TTG_EAGAIN) {
        /* The batch is full: if none is under way it can be taken at once. */
        node_commit(n);
        rc = store_reserve(n->store, 1, bytes, n->now_ms);
    }
    if (rc == TTG_ENOSPC && !n->disk_full)
        log_error("disk.full", kv_str("action", "commands that write are refused"));
    if (rc == 0 && n->disk_full)
        log_info("disk.room", kv_str("action", "writing again"));
    if (rc == 0 || rc == TTG_ENOSPC)
        n->disk_full = rc == TTG_ENOSPC;
    if (n->disk_full && !loop_timer_is_set(&n->full_timer))
        loop_timer_after_ms(&n->full_timer, FULL_LOOK_MS);
    if (rc == TTG_EIO) {
        struct err err;
        err_set(&err, rc, "the log cannot be written any more");
        node_fail(n, rc, &err);
    }
    return rc;
}

void node_log(struct node *n)
{
    uint64_t position;
    int rc = store_append(n->store, RECORD_GROUP, RECORD_TYPE, buf_str(&n->record), &position);
    ensure(rc == 0); /* node_reserve made the room */
}

static void count_sync(struct node *n, uint64_t us)
{
    uint64_t left_out;
    if (us > SLOW_US && log_limit_pass(&n->slow_sync, n->now_ms, &left_out))
        log_warn("log.slow_sync", kv_u64("ms", us / 1000), kv_left_out(left_out),
                 kv_str("effect", "answers waited for the disk"));
    size_t bucket = 0;
    while (bucket + 1 < NODE_LATENCY_BUCKETS && us >> (bucket + 1))
        bucket++;
    n->stats.sync_buckets[bucket]++;
    n->stats.sync_us_sum += us;
    n->stats.sync_count++;
}

void node_commit(struct node *n)
{
    struct err err;
    uint64_t before = store_ack_position(n->store);
    int rc = store_writer_poll(n->writer, n->now_ms, &err);
    bool moved = store_ack_position(n->store) != before;
    if (moved)
        count_sync(n, store_writer_took_ns(n->writer) / 1000);
    if (moved || !store_writer_busy(n->writer))
        n->stalled = false;
    if (rc == TTG_ENOSPC)
        loop_timer_after_ms(&n->full_timer, FULL_RETRY_MS);
    else if (rc)
        node_fail(n, rc, &err);
}

static void on_writer(struct loop_poll *p, unsigned events)
{
    (void)p, (void)events; /* the end of the turn collects */
}

/* The end of the turn tries again what waits. Where nobody writes we look ourselves: who asks
 * whether the node is ready may be the one who lets writers in again. */
static void on_full_timer(struct loop_timer *t)
{
    struct node *n = container_of(t, struct node, full_timer);
    if (!n->disk_full)
        return;
    node_now_ms(n);
    node_reserve(n, FULL_LOOK_BYTES);
}

/* ---- time ---- */
int node_tick(struct node *n)
{
    int rc = node_reserve(n, RECORD_HEAD_BYTES_MAX);
    if (rc)
        return rc;
    rc = record_begin(&n->record, RECORD_TICK, n->now_ms, 0);
    ensure(rc == 0);
    core_tick(n->core, n->now_ms);
    node_log(n);
    return 0;
}

static void on_due(struct loop_timer *t)
{
    struct node *n = container_of(t, struct node, due_timer);
    if (core_next_ms(n->core) <= node_now_ms(n))
        node_tick(n);
}

void node_schedule(struct node *n)
{
    uint64_t next = core_next_ms(n->core), store_next = store_next_ms(n->store);
    if (store_next < next)
        next = store_next;
    if (next == n->due_ms && loop_timer_is_set(&n->due_timer))
        return;
    n->due_ms = next;
    if (next == UINT64_MAX)
        loop_timer_stop(&n->due_timer);
    else if (next > n->now_ms)
        loop_timer_after_ms(&n->due_timer, next - n->now_ms);
    else /* due, and not done: the log had no room */
        loop_timer_after_ms(&n->due_timer, n->disk_full ? FULL_RETRY_MS : 1);
}

/* ---- the end of a turn ---- */
static void go_on(struct node *n)
{
    for (int i = 0; i < ROUNDS_MAX && !n->stalled; i++) {
        if (!list_empty(&n->park_ready))
            park_serve(n);
        if (list_empty(&n->again))
            return;
        struct list todo;
        list_init(&todo);
        while (!list_empty(&n->again))
            list_push_back(&todo, list_pop_front(&n->again));
        while (!list_empty(&todo)) {
            struct list *first = list_pop_front(&todo);
            struct client *c = container_of(first, struct client, again);
            conn_show(&c->conn);
            if (!c->dead)
                client_release(c);
        }
    }
    loop_timer_after_ms(&n->full_timer, 1); /* others want a turn, too */
}

/* Whatever keeps the loop from turning keeps everybody waiting. */
static void watch_stall(struct node *n)
{
    uint64_t left_out, us = (n->clock->mono_ns(n->clock) - loop_now_ns(n->loop)) / 1000;
    if (us > n->stats.turn_us_max)
        n->stats.turn_us_max = us;
    if (us > SLOW_US && log_limit_pass(&n->slow_turn, n->now_ms, &left_out))
        log_warn("node.slow_turn", kv_u64("ms", us / 1000), kv_left_out(left_out));
}

/* Whether to look for more requests before the batch is written: a sync costs the same for one
 * record as for fifty, and who comes a moment too late waits for two. Goes on only as long as each
 * look finds something, so that nobody waits for requests that may never come. */
static bool gather(struct node *n)
{
    uint64_t last = store_last_position(n->store), now_ns = n->clock->mono_ns(n->clock);
    if (n->stopping || n->stalled || !list_empty(&n->again) || !store_writer_has_room(n->writer))
        return false;
    if (n->gathered <= store_ack_position(n->store))
        n->gather_ns = now_ns;
    else if (last == n->gathered || now_ns - n->gather_ns > GATHER_NS)
        return false;
    n->gathered = last;
    loop_look_again(n->loop);
    return true;
}

static void on_turn(struct loop_hook *h)
{
    struct node *n = container_of(h, struct node, turn);
    node_now_ms(n);
    go_on(n);
    if (gather(n))
        return;
    node_commit(n);
    if (!n->stalled && (!list_empty(&n->again) || !list_empty(&n->park_ready)))
        go_on(n);
    if (n->failed_rc)
        return;
    uint64_t ack = store_ack_position(n->store);
    if (ack != n->released) {
        n->released = ack;
        list_each(it, &n->held) client_release(container_of(it, struct client, held));
    }
    client_bury(n);
    hugeheap_grow(&n->heap);
    snapshot_check(n);
    node_schedule(n);
    watch_stall(n);
    if (n->stopping && list_empty(&n->held) && !store_writer_busy(n->writer))
        loop_stop(n->loop);
}

/* ---- start and stop ---- */
void node_stop(struct node *n)
{
    if (n->stopping)
        return;
    n->stopping = true;
    log_info("node.stopping", kv_u64("clients", n->client_count));
    if (n->options.on_stopping)
        n->options.on_stopping();
    listen_close(n);
    list_each(it, &n->clients)
    {
        struct client *c = container_of(it, struct client, link);
        conn_pause(&c->conn);
    }
    loop_timer_after_ms(&n->drain_timer, DRAIN_MS);
}

static void on_drain_timer(struct loop_timer *t)
{
    loop_stop(t->loop);
}

static void on_stop_signal(struct loop_signal *s)
{
    struct node *n = s->signo == SIGTERM ? container_of(s, struct node, sigterm)
                                         : container_of(s, struct node, sigint);
    node_stop(n);
}

/* Who started us is gone. Its workers may still have results to commit: once they are gone too, and
 * nobody has come for a while, there is no more reason to stay. */
static void on_orphan_timer(struct loop_timer *t)
{
    struct node *n = container_of(t, struct node, orphan_timer);
    n->orphan_quiet = n->client_count == 0 ? n->orphan_quiet + 1 : 0;
    if (n->orphan_quiet > 1)
        node_stop(n);
    else
        loop_timer_after_ms(t, ORPHAN_MS);
}

static void on_input(struct loop_poll *p, unsigned events)
{
    struct node *n = container_of(p, struct node, input_poll);
    char bytes[64];
    (void)events;
    ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    loop_poll_stop(p);
    log_info("node.orphaned", kv_u64("clients", n->client_count));
    loop_timer_after_ms(&n->orphan_timer, ORPHAN_MS);
}

static void on_hangup_signal(struct loop_signal *s)
{
    struct node *n = container_of(s, struct node, sighup);
    if (n->options.on_hangup)
        n->options.on_hangup(n->options.on_hangup_ctx);
    log_info("node.reopened_logs");
}

/* As many clients as asked for, as far as descriptors go. */
static void limit_clients(struct node *n)
{
    struct rlimit limit;
    uint64_t wanted = n->options.clients_max ? n->options.clients_max : NODE_CLIENTS_MAX;
    n->clients_max = n->clients_limit = wanted;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    if (limit.rlim_cur < wanted + NODE_SPARE_FDS) {
        rlim_t asked = wanted + NODE_SPARE_FDS;
        limit.rlim_cur = limit.rlim_max < asked ? limit.rlim_max : asked;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur > NODE_SPARE_FDS)
        n->clients_limit = limit.rlim_cur - NODE_SPARE_FDS;
    if (n->clients_limit >= wanted)
        return;
    n->clients_max = n->clients_limit;
    log_warn("node.fewer_clients", kv_u64("wanted", wanted), kv_u64("possible", n->clients_max),
             kv_str("reason", "the limit of open files (ulimit -Hn) allows no more"));
}

static void env_ready(void *ctx, struct str key)
{
    park_ready(ctx, key);
}

static int env_blob_write(void *ctx, struct str bytes, struct blob_ref *ret_ref)
{
    return store_blob_write(((struct node *)ctx)->store, bytes, ret_ref);
}

static int env_blob_read(void *ctx, struct blob_ref ref, struct buf *out)
{
    return store_blob_read(((struct node *)ctx)->store, ref, out);
}

static void env_blob_free(void *ctx, struct blob_ref ref)
{
    store_blob_free(((struct node *)ctx)->store, ref);
}

/* What was replayed was told when it happened. */
static void env_move(void *ctx, const struct core_move *m)
{
    struct node *n = ctx;
    struct trace t;
    if (!n->serving)
        return;
    trace_of(&t, m->job, m->created_ms, m->chunk, m->epoch);
    if (m->epoch == 0) /* of no lease any more */
        log_debug(m->event, kv_s("job", m->job), kv_u64("chunk", m->chunk),
                  kv_s("worker", m->worker), kv_trace(&t));
    else
        log_debug(m->event, kv_s("job", m->job), kv_u64("chunk", m->chunk),
                  kv_s("worker", m->worker), kv_u64("epoch", m->epoch),
                  kv_u64("attempt", m->attempt), kv_trace(&t), kv_span(&t));
}

static int state_open(struct node *n, struct err *err)
{
    struct store_options so = {0};
    struct core_env env = {n,
                           env_blob_write,
                           env_blob_read,
                           env_blob_free,
                           env_ready,
                           log_enabled(LOG_DEBUG) ? env_move : NULL};
    int rc = store_sync_parse(str_of(n->options.sync ? n->options.sync : "always"), &so, err);
    if (!rc)
        rc = disk_open(n->options.data_dir, 1, &n->disk, err);
    so.disk = n->disk;
    if (!rc)
        rc = store_open(&so, &n->store, err);
    if (!rc && core_new(&env, &n->core))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    if (!rc)
        rc = recover(n, err);
    return rc;
}

static int service_open(struct node *n, struct err *err)
{
    int rc = 0;
    if (exec_init(n) || store_writer_start(n->store, n->clock, &n->writer))
        rc = err_set(err, TTG_ENOMEM, "cannot start the thread that writes the log");
    if (!rc &&
        loop_poll_start(&n->writer_poll, n->loop, store_writer_fd(n->writer), LOOP_READ, on_writer))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    if (!rc)
        rc = snapshot_open(n, err);
    if (!rc)
        rc = presence_open(n, err);
    limit_clients(n);
    if (!rc)
        rc = listen_open(n, err);
    if (!rc && n->options.http)
        rc = health_open(n, n->options.http, err);
    if (rc)
        return rc;
    n->serving = true;
    loop_hook_start(&n->turn, n->loop, on_turn);
    if (n->options.until_eof &&
        loop_poll_start(&n->input_poll, n->loop, STDIN_FILENO, LOOP_READ, on_input))
        return err_set(err, TTG_EUSAGE, "--until-eof needs a pipe as standard input");
    loop_signal_start(&n->sigterm, n->loop, SIGTERM, on_stop_signal);
    loop_signal_start(&n->sigint, n->loop, SIGINT, on_stop_signal);
    loop_signal_start(&n->sighup, n->loop, SIGHUP, on_hangup_signal);
    return 0;
}

/* Names this run of the process; not a secret. */
static void make_run_id(struct node *n)
{
    struct prng p;
    prng_init(&p, n->started_wall_ms << 20 ^ n->clock->mono_ns(n->clock) ^ (uint64_t)getpid());
    for (size_t i = 0; i < sizeof(n->run_id) - 1; i++)
        n->run_id[i] = "0123456789abcdef"[prng_below(&p, 16)];
}

int node_open(const struct node_options *options, struct node **ret_node, struct err *err)
{
    struct node *n = mem_zalloc(sizeof(*n));
    if (!n)
        return err_set(err, TTG_ENOMEM, "out of memory");
    n->options = *options;
    n->clock = options->clock;
    if (!n->options.client_out_bytes_max)
        n->options.client_out_bytes_max = NODE_OUT_BYTES_MAX;
    n->snapshot_log_bytes =
        options->snapshot_log_bytes ? options->snapshot_log_bytes : NODE_SNAPSHOT_LOG_BYTES;
    list_init(&n->clients);
    list_init(&n->held);
    list_init(&n->again);
    list_init(&n->dead);
    resp_request_init(&n->request);
    buf_init(&n->record, STORE_RECORD_BYTES_MAX);
    int rc = loop_open(&n->loop, err);
    if (rc) {
        mem_free(n);
        return rc;
    }
    n->started_mono_ms = n->clock->mono_ns(n->clock) / 1000000;
    n->started_wall_ms = n->clock->wall_ms(n->clock);
    make_run_id(n);
    hugeheap_init(&n->heap);
    park_init(n);
    loop_timer_init(&n->due_timer, n->loop, on_due);
    loop_timer_init(&n->full_timer, n->loop, on_full_timer);
    loop_timer_init(&n->drain_timer, n->loop, on_drain_timer);
    loop_timer_init(&n->orphan_timer, n->loop, on_orphan_timer);
    node_now_ms(n);
    rc = listen_check(n, err);
    if (!rc)
        rc = state_open(n, err);
    if (!rc)
        rc = service_open(n, err);
    if (rc)
        node_close(n);
    else
        *ret_node = n;
    return rc;
}

int node_run(struct node *n, struct err *err)
{
    int rc = loop_run(n->loop);
    if (n->failed_rc) {
        *err = n->failure;
        return n->failed_rc;
    }
    return rc ? err_set(err, rc, "the event loop failed") : 0;
}

static void state_close(struct node *n)
{
    struct err err;
    store_writer_stop(n->writer);
    if (n->writer && !n->failed_rc && store_flush(n->store, &err))
        log_error("log.flush_failed", kv_str("reason", err.text));
    if (n->core)
        core_free(n->core);
    if (n->store)
        store_close(n->store);
    disk_free(n->disk);
}

void node_close(struct node *n)
{
    if (!n)
        return;
    http_close(n->http);
    list_each(it, &n->clients) client_close(container_of(it, struct client, link));
    client_bury(n);
    presence_close(n);
    for (size_t i = 0; i < n->listener_count; i++)
        listener_close(&n->listeners[i]);
    snapshot_close(n);
    loop_poll_stop(&n->writer_poll);
    if (n->serving) {
        loop_hook_stop(&n->turn);
        loop_signal_stop(&n->sigterm);
        loop_signal_stop(&n->sigint);
        loop_signal_stop(&n->sighup);
    }
    loop_timer_stop(&n->due_timer);
    loop_timer_stop(&n->full_timer);
    loop_timer_stop(&n->drain_timer);
    loop_timer_stop(&n->orphan_timer);
    loop_poll_stop(&n->input_poll);
    park_done(n);
    exec_done(n);
    state_close(n);
    tls_free(n->tls);
    resp_request_done(&n->request);
    buf_done(&n->record);
    loop_close(n->loop);
    mem_free(n);
}

const char *node_address(const struct node *n, size_t i)
{
    return i < n->listener_count ? n->addresses[i] : NULL;
}

struct loop *node_loop(const struct node *n)
{
    return n->loop;
}

const struct net_addr *node_http_addr(const struct node *n)
{
    return n->http ? http_addr(n->http) : NULL;
}
