/* SPDX-License-Identifier: Apache-2.0 */
/* plugin - chunks computed by a shared library inside this process (include/ttg/plugin.h), or by a
 * function of the program that links ttg.
 *
 * A chunk that may take long runs in its slot's thread, so that the loop goes on. A hand-over to a
 * thread and back costs ten microseconds or more; a plugin whose chunks have proved to be quick is
 * called at once instead, as long as no time limit asks for a watch. Nobody can end a thread: a
 * call that ignores ttg_stopped past the grace time makes its slot *wedged*, and only the end of
 * the process helps. */
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/realclock.h"
#include "io/thread.h"
#include "worker/feed.h"
#include "worker/kernel_impl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <ttg/plugin.h>

enum {
    QUICK_NS = 20000, /* a chunk that took less is quick */
    QUICK_RUNS = 16,  /* so many in a row, and the next one runs at once */
    REASON_BYTES = 256,
};

enum thread_state { THREAD_NONE, THREAD_IDLE, THREAD_RUN, THREAD_QUIT };

/* What the slot's thread sees. Of its own memory: a call that does not come back in time keeps it,
 * and the thread frees it if the call ever does. */
struct run {
    struct ttg_call call;
    const struct ttg_plugin *plugin;
    void *state; /* the plugin's */
    struct buf output, lines;
    __int128 sum;
    bool has_sum, has_output;
    int write_error;
    char reason[REASON_BYTES];
    int answer;
    uint64_t ns;
    atomic_bool stopped;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    enum thread_state thread_state;
    bool ended;
    bool abandoned; /* nobody waits any more: the thread cleans up */
    void (*done)(
        void *state); /* to call at the end; a copy, since the plugin may be gone by then */
    struct loop_async async;
    struct plugin_slot *slot;
};

struct plugin_slot {
    struct kernel_slot base;
    struct run *run;
    unsigned quick;
    bool in_thread;
    struct loop_timer grace; /* from stop to wedged */
};

static struct plugin_slot *plugin_slot(struct kernel_slot *s)
{
    return container_of(s, struct plugin_slot, base);
}

/* ---- the host's functions ---- */

static struct run *run_of(struct ttg_call *call)
{
    return container_of(call, struct run, call);
}

static void host_sum(struct ttg_call *call, int64_t value)
{
    struct run *r = run_of(call);
    r->has_sum = true;
    r->sum += value; /* 2^64 calls of 2^63 would be needed to leave the 128 bits */
}

static int host_write(struct ttg_call *call, const void *bytes, size_t len)
{
    struct run *r = run_of(call);
    r->has_output = true;
    if (!r->write_error)
        r->write_error = buf_add(&r->output, bytes, len);
    return r->write_error;
}

static void host_fail(struct ttg_call *call, const char *reason)
{
    snprintf(run_of(call)->reason, REASON_BYTES, "%s", reason ? reason : "");
}

static int host_stopped(struct ttg_call *call)
{
    return atomic_load_explicit(&run_of(call)->stopped, memory_order_relaxed);
}

static const struct ttg_host host = {
    .size = sizeof host,
    .sum = host_sum,
    .write = host_write,
    .fail = host_fail,
    .stopped = host_stopped,
};

/* ---- one call ---- */

static void run_call(struct run *r)
{
    struct clock *c = realclock();
    uint64_t start_ns = c->mono_ns(c);
    r->answer = r->plugin->run(r->state, &r->call);
    r->ns = c->mono_ns(c) - start_ns;
}

static void run_free(struct run *r)
{
    if (r->done)
        r->done(r->state);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    buf_done(&r->output);
    buf_done(&r->lines);
    mem_free(r);
}

static void *thread_main(void *arg)
{
    struct run *r = arg;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        while (r->thread_state == THREAD_IDLE)
            pthread_cond_wait(&r->changed, &r->lock);
        if (r->thread_state == THREAD_QUIT || r->abandoned)
            break;
        pthread_mutex_unlock(&r->lock);
        run_call(r);
        pthread_mutex_lock(&r->lock);
        if (r->thread_state == THREAD_RUN)
            r->thread_state = THREAD_IDLE;
        if (!r->abandoned)
            loop_async_send(&r->async);
    }
    r->ended = true;
    bool abandoned = r->abandoned;
    pthread_mutex_unlock(&r->lock);
    if (abandoned)
        run_free(r);
    return NULL;
}

/* What the call said, as the chunk's result. */
static void take_result(struct plugin_slot *ps)
{
    struct kernel_slot *s = &ps->base;
    struct run *r = ps->run;
    ps->quick = r->ns < QUICK_NS ? ps->quick + 1 : 0;
    if (r->write_error == TTG_EFULL)
        kernel_failed(s, KERNEL_FAILED, "output over the limit of %zu bytes (--output-max)",
                      s->k->config.output_bytes_max);
    else if (r->write_error)
        kernel_failed(s, KERNEL_FAILED, "%s", err_text(r->write_error));
    else if (r->answer == TTG_RETRY || r->answer == TTG_PERMANENT)
        kernel_failed(s, r->answer == TTG_RETRY ? KERNEL_FAILED : KERNEL_PERMANENT, "%s",
                      r->reason[0] ? r->reason : "no reason was given");
    else if (r->answer != TTG_DONE)
        kernel_failed(s, KERNEL_FAILED, "run returned %d, which means nothing", r->answer);
    else if (r->has_sum && r->has_output)
        kernel_failed(s, KERNEL_PERMANENT, "run gave a sum and output; it must choose one");
    else if (r->has_sum) {
        s->result.has_sum = true;
        s->result.sum = r->sum;
    } else
        s->result.output = buf_str(&r->output);
}

static void on_thread_done(struct loop_async *a)
{
    struct plugin_slot *ps = container_of(a, struct run, async)->slot;
    if (ps->base.result.wedged || !ps->in_thread)
        return;
    ps->in_thread = false;
    loop_timer_stop(&ps->grace);
    take_result(ps);
    kernel_finish(&ps->base);
}

static void on_grace_over(struct loop_timer *t)
{
    struct plugin_slot *ps = container_of(t, struct plugin_slot, grace);
    if (!ps->in_thread || ps->base.result.wedged)
        return;
    log_error("plugin.wedged", kv_u64("slot", ps->base.index),
              kv_u64("chunk", ps->base.task.chunk));
    ps->base.result.wedged = true;
    kernel_finish(&ps->base);
}

/* ---- start ---- */

static int read_lines(struct run *r, const struct kernel_task *t)
{
    bool ended = false;
    int rc = 0;
    buf_clear(&r->lines);
    while (!ended && !rc)
        rc = buf_len(&r->lines) > KERNEL_LINES_BYTES_MAX
                 ? TTG_EFULL
                 : t->lines->read(t->lines, &r->lines, FEED_BYTES, &ended);
    r->call.lines = buf_str(&r->lines).ptr;
    r->call.lines_bytes = buf_len(&r->lines);
    return rc;
}

static int hand_over(struct plugin_slot *ps)
{
    struct run *r = ps->run;
    int errnum = 0;
    pthread_mutex_lock(&r->lock);
    if (r->thread_state == THREAD_NONE)
        errnum = thread_start(&r->thread, thread_main, r);
    if (!errnum) {
        r->thread_state = THREAD_RUN;
        ps->in_thread = true;
        pthread_cond_signal(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
    return errnum ? err_from_errno(errnum) : 0;
}

static bool plugin_start(struct kernel_slot *s)
{
    struct plugin_slot *ps = plugin_slot(s);
    struct run *r = ps->run;
    const struct kernel_task *t = &s->task;
    r->call.start = t->start;
    r->call.end = t->end;
    r->call.chunk = t->chunk;
    r->call.attempt = t->attempt;
    r->call.job = t->job;
    buf_clear(&r->output);
    r->sum = 0;
    r->has_sum = r->has_output = false;
    r->write_error = 0;
    r->reason[0] = '\0';
    atomic_store_explicit(&r->stopped, false, memory_order_relaxed);
    int rc = t->lines ? read_lines(r, t) : 0;
    if (!rc && (ps->quick < QUICK_RUNS || s->k->config.timeout_ms > 0)) {
        rc = hand_over(ps);
        if (!rc)
            return false;
    } else if (!rc) {
        run_call(r);
        take_result(ps);
        return true;
    }
    kernel_failed(s, KERNEL_FAILED, "cannot start the chunk: %s",
                  rc == TTG_EFULL ? "its lines take too much memory; use smaller chunks"
                                  : err_text(rc));
    return true;
}

static void plugin_stop(struct kernel_slot *s)
{
    struct plugin_slot *ps = plugin_slot(s);
    atomic_store(&ps->run->stopped, true);
    int rc = loop_timer_after_ms(&ps->grace, s->k->config.kill_grace_ms);
    if (rc)
        log_warn("plugin.stop", kv_u64("slot", s->index), kv_str("error", err_text(rc)));
}

/* ---- open ---- */

static int check_plugin(const struct ttg_plugin *p, const char *path, struct err *err)
{
    if (p->abi != TTG_PLUGIN_ABI)
        return err_set(err, TTG_EVERSION,
                       "plugin %s speaks interface version %u, this ttg %d: compile it again with "
                       "this version's <ttg/plugin.h>",
                       path, p->abi, TTG_PLUGIN_ABI);
    if (p->size < sizeof *p)
        return err_set(err, TTG_EVERSION,
                       "plugin %s: its struct ttg_plugin is too small (%u bytes)", path, p->size);
    if (!p->run)
        return err_set(err, TTG_EVERSION, "plugin %s has no run function", path);
    return 0;
}

static int load_plugin(struct kernel *k, const struct ttg_plugin **ret_plugin, struct err *err)
{
    const char *path = k->config.plugin;
    if (!path || !path[0])
        return err_set(err, TTG_EUSAGE, "no plugin given; write --plugin ./LIB.so");
    struct buf local; /* a bare name is a file here, not one of the system's libraries */
    buf_init(&local, 8192);
    int rc = buf_printf(&local, "%s%s", strchr(path, '/') ? "" : "./", path);
    const char *text = rc ? NULL : buf_cstr(&local);
    if (text)
        k->library = dlopen(text, RTLD_NOW | RTLD_LOCAL);
    buf_done(&local);
    if (!text)
        return err_set(err, rc ? rc : TTG_ENOMEM, "plugin %s: %s", path, err_text(TTG_ENOMEM));
    if (!k->library)
        return err_set(err, TTG_EUSAGE, "cannot load plugin: %s", dlerror());
    const struct ttg_plugin *p = dlsym(k->library, "ttg_plugin");
    if (!p)
        return err_set(err, TTG_EUSAGE,
                       "%s is no plugin: it exports no ttg_plugin; see TTG_PLUGIN in "
                       "<ttg/plugin.h>",
                       path);
    *ret_plugin = p;
    return check_plugin(p, path, err);
}

static const char *plugin_name(const struct kernel *k)
{
    const struct ttg_plugin *p = k->config.function;
    return k->config.plugin ? k->config.plugin : p && p->name ? p->name : "";
}

static int open_slot(struct plugin_slot *ps, const struct ttg_plugin *plugin, struct err *err)
{
    struct kernel *k = ps->base.k;
    struct run *r = ps->run = mem_zalloc(sizeof *r);
    if (!r)
        return err_set(err, TTG_ENOMEM, "plugin: out of memory");
    r->plugin = plugin;
    r->slot = ps;
    r->state = k->config.function_state;
    r->call.size = sizeof r->call;
    r->call.slot = ps->base.index;
    r->call.worker = k->config.worker ? k->config.worker : "";
    r->call.host = &host;
    buf_init(&r->output, k->config.output_bytes_max);
    buf_init(&r->lines, 2ul * KERNEL_LINES_BYTES_MAX);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    loop_async_start(&r->async, k->loop, on_thread_done);
    loop_timer_init(&ps->grace, k->loop, on_grace_over);

    char reason[REASON_BYTES] = "";
    const char *arg = k->config.plugin_arg ? k->config.plugin_arg : "";
    int rc = plugin->init ? plugin->init(ps->base.index, arg, &r->state, reason) : 0;
    reason[REASON_BYTES - 1] = '\0';
    if (rc)
        return err_set(err, TTG_EUSAGE, "%s %s refused to start: %s", k->ops->name, plugin_name(k),
                       reason[0] ? reason : "it gave no reason");
    r->done = plugin->done;
    return 0;
}

static int open_slots(struct kernel *k, const struct ttg_plugin *plugin, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < k->config.slots && !rc; i++)
        rc = open_slot(plugin_slot(kernel_slot(k, i)), plugin, err);
    return rc;
}

static int plugin_open(struct kernel *k, struct err *err)
{
    const struct ttg_plugin *plugin = NULL;
    int rc = load_plugin(k, &plugin, err);
    return rc ? rc : open_slots(k, plugin, err);
}

static int function_open(struct kernel *k, struct err *err)
{
    return open_slots(k, k->config.function, err);
}

/* ---- close ---- */

/* False: the call did not come back; its memory must stay. */
static bool end_thread(struct run *r, uint64_t grace_ms)
{
    atomic_store(&r->stopped, true);
    pthread_mutex_lock(&r->lock);
    bool exists = r->thread_state != THREAD_NONE;
    if (exists)
        r->thread_state = THREAD_QUIT;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    if (!exists)
        return true;
    struct clock *c = realclock();
    struct timespec until = {.tv_sec = (time_t)((c->wall_ms(c) + grace_ms) / 1000 + 1)};
    if (pthread_timedjoin_np(r->thread, NULL, &until) == 0)
        return true;
    pthread_t thread = r->thread;
    pthread_mutex_lock(&r->lock);
    bool ended = r->ended;
    r->abandoned = !ended;
    if (!ended)
        loop_async_stop(&r->async);
    pthread_mutex_unlock(&r->lock); /* from here on an abandoned run may be gone */
    if (ended)
        pthread_join(thread, NULL);
    else
        pthread_detach(thread);
    return ended;
}

static bool close_slot(struct plugin_slot *ps)
{
    struct run *r = ps->run;
    loop_timer_stop(&ps->grace);
    if (!r)
        return true;
    bool came_back = end_thread(r, ps->base.result.wedged ? 0 : ps->base.k->config.kill_grace_ms);
    if (came_back) {
        loop_async_stop(&r->async);
        run_free(r);
    }
    return came_back;
}

static void plugin_close(struct kernel *k)
{
    bool all = true;
    for (uint32_t i = 0; i < k->config.slots; i++)
        all &= close_slot(plugin_slot(kernel_slot(k, i)));
    if (k->library && all)
        dlclose(k->library);
}

const struct kernel_ops plugin_ops = {
    .name = "plugin",
    .slot_bytes = sizeof(struct plugin_slot),
    .open = plugin_open,
    .start = plugin_start,
    .stop = plugin_stop,
    .close = plugin_close,
};

const struct kernel_ops function_ops = {
    .name = "function",
    .slot_bytes = sizeof(struct plugin_slot),
    .open = function_open,
    .start = plugin_start,
    .stop = plugin_stop,
    .close = plugin_close,
};
