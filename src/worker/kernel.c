/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/kernel.h"

#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/trace.h"
#include "io/process.h"
#include "worker/kernel_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <ttg/plugin.h>

static const struct kernel_ops *const all_ops[] = {
    [KERNEL_SIMULATE] = &simulate_ops, [KERNEL_EXEC] = &exec_ops,
    [KERNEL_COPROC] = &coproc_ops,     [KERNEL_PLUGIN] = &plugin_ops,
    [KERNEL_FUNCTION] = &function_ops,
};

void kernel_config_init(struct kernel_config *c)
{
    *c = (struct kernel_config){
        .type = KERNEL_SIMULATE,
        .slots = 1,
        .kill_grace_ms = KERNEL_GRACE_MS_DEFAULT,
        .output_bytes_max = KERNEL_OUTPUT_BYTES_DEFAULT,
    };
}

int kernel_check_chunk(const struct kernel_config *c, uint64_t chunk_params, struct err *err)
{
    if (c->type != KERNEL_EXEC || chunk_params == 1)
        return 0;
    for (char *const *arg = c->argv; arg && *arg; arg++)
        if (command_takes_one(*arg))
            return err_set(err, TTG_EUSAGE,
                           "{param} in the command stands for a single parameter, and a chunk has "
                           "%llu: add --chunk 1, or use {} for all of them",
                           (unsigned long long)chunk_params);
    return 0;
}

int kernel_describe(const struct kernel_config *c, struct buf *out)
{
    if (c->type == KERNEL_SIMULATE)
        return buf_printf(out, "simulate %g ms", c->simulate_ms);
    int rc = buf_add_str(out, str_of(all_ops[c->type]->name));
    if (c->type == KERNEL_PLUGIN) {
        if (!rc)
            rc = buf_printf(out, " %s", c->plugin);
        if (!rc && c->plugin_arg && c->plugin_arg[0])
            rc = buf_printf(out, " %s", c->plugin_arg);
        return rc;
    }
    if (c->type == KERNEL_FUNCTION)
        return rc || !c->function->name ? rc : buf_printf(out, " %s", c->function->name);
    for (char *const *arg = c->argv; arg && *arg && !rc; arg++)
        rc = buf_printf(out, " %s", *arg);
    return rc;
}

/* ---- open and close ---- */

static void on_deadline(struct loop_timer *t)
{
    struct kernel_slot *s = container_of(t, struct kernel_slot, deadline);
    if (!s->busy || s->stop)
        return;
    s->stop = STOP_TIMEOUT;
    s->k->ops->stop(s);
}

static bool all_quiet(struct kernel *k)
{
    if (k->busy > 0)
        return false;
    for (uint32_t i = 0; k->ops->is_quiet && i < k->config.slots; i++)
        if (!k->ops->is_quiet(kernel_slot(k, i)))
            return false;
    return true;
}

static void on_drained_timer(struct loop_timer *t)
{
    struct kernel *k = container_of(t, struct kernel, drained);
    if (!k->on_drained || !all_quiet(k))
        return;
    void (*on_drained)(void *ctx) = k->on_drained;
    k->on_drained = NULL;
    on_drained(k->drained_ctx);
}

static int config_check(const struct kernel_config *c, struct err *err)
{
    if (c->slots < 1 || c->slots > KERNEL_SLOTS_MAX)
        return err_set(err, TTG_EUSAGE, "slots: %u is not in 1..%d", c->slots, KERNEL_SLOTS_MAX);
    if (!(c->fault_rate >= 0 && c->fault_rate <= 1))
        return err_set(err, TTG_EUSAGE, "fault rate: %g is not in 0..1", c->fault_rate);
    if (!(c->simulate_ms >= 0 && c->simulate_ms <= 1e12))
        return err_set(err, TTG_EUSAGE, "simulated time per parameter: %g ms is not in 0..1e12",
                       c->simulate_ms);
    ensure(c->on_done != NULL);
    return 0;
}

static uint64_t seed_of(const struct kernel_config *c)
{
    uint64_t seed = c->fault_seed;
    if (seed == 0 && getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = 1;
    return seed;
}

int kernel_open(struct kernel **ret_kernel, struct loop *loop, const struct kernel_config *config,
                struct err *err)
{
    int rc = config_check(config, err);
    if (rc)
        return rc;
    struct kernel *k = mem_zalloc(sizeof *k);
    if (!k)
        return err_set(err, TTG_ENOMEM, "kernel: out of memory");
    k->ops = all_ops[config->type];
    k->config = *config;
    k->loop = loop;
    k->fault_seed = seed_of(config);
    loop_timer_init(&k->drained, loop, on_drained_timer);
    k->slots = mem_zalloc(config->slots * k->ops->slot_bytes);
    if (!k->slots) {
        mem_free(k);
        return err_set(err, TTG_ENOMEM, "kernel: out of memory");
    }
    for (uint32_t i = 0; i < config->slots; i++) {
        struct kernel_slot *s = kernel_slot(k, i);
        s->k = k;
        s->index = i;
        loop_timer_init(&s->deadline, loop, on_deadline);
    }
    rc = k->ops->open(k, err);
    if (rc) {
        kernel_close(k);
        return rc;
    }
    *ret_kernel = k;
    return 0;
}

void kernel_close(struct kernel *k)
{
    if (!k)
        return;
    k->ops->close(k);
    for (uint32_t i = 0; i < k->config.slots; i++)
        loop_timer_stop(&kernel_slot(k, i)->deadline);
    loop_timer_stop(&k->drained);
    mem_free(k->slots);
    mem_free(k);
}

/* ---- a chunk ---- */

void kernel_failed(struct kernel_slot *s, enum kernel_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(s->why.text, sizeof s->why.text, format, args);
    va_end(args);
    s->result.status = status;
    s->result.reason = str_of(s->why.text);
}

/* The same chunks and attempts fail for the same seed, whoever runs them and in which order. */
static bool fault_hits(const struct kernel_slot *s)
{
    double rate = s->k->config.fault_rate;
    if (rate <= 0)
        return false;
    uint64_t h = hash_u64(s->k->fault_seed + hash_u64(s->task.chunk * 64 + s->task.attempt));
    return (double)(h >> 11) * 0x1p-53 < rate;
}

/* What all results have in common, before they are handed out. */
static void settle(struct kernel_slot *s)
{
    struct kernel_result *r = &s->result;
    const struct kernel_config *c = &s->k->config;
    loop_timer_stop(&s->deadline);
    r->duration_ns = loop_now_update(s->k->loop) - s->started_ns;
    /* What a command answers to its TERM may be half a result: it does not count. */
    if (s->stop == STOP_CANCEL)
        kernel_failed(s, KERNEL_CANCELED, "canceled");
    else if (s->stop == STOP_TIMEOUT)
        kernel_failed(s, KERNEL_TIMEOUT, "over the time limit of %g s",
                      (double)c->timeout_ms / 1000);
    else if (r->status == KERNEL_OK && fault_hits(s))
        kernel_failed(s, KERNEL_FAILED, "simulated fault (fault rate %g)", c->fault_rate);
    if (r->status == KERNEL_OK)
        r->params = kernel_task_params(&s->task);
    r->output_is_utf8 = r->has_sum || str_is_utf8(r->output);
    if (!r->wedged) {
        s->busy = false;
        s->k->busy--;
    }
}

bool kernel_start(struct kernel *k, uint32_t slot, const struct kernel_task *t,
                  struct kernel_result *ret_result)
{
    ensure(slot < k->config.slots);
    ensure(t->start <= t->end);
    struct kernel_slot *s = kernel_slot(k, slot);
    ensure(!s->busy);
    s->task = *t;
    s->stop = STOP_NO;
    s->lines_logged = 0;
    s->result = (struct kernel_result){
        .exit_status = -1, .output = STR(""), .reason = STR(""), .stderr_tail = STR("")};
    s->started_ns = loop_now_update(k->loop);
    s->busy = true;
    k->busy++;
    bool over = true;
    if (k->draining)
        kernel_failed(s, KERNEL_CANCELED, "canceled: the worker is being stopped");
    else if (k->config.timeout_ms > 0 &&
             loop_timer_after_ms(&s->deadline, k->config.timeout_ms) != 0)
        kernel_failed(s, KERNEL_FAILED, "out of memory");
    else
        over = k->ops->start(s);
    if (over) {
        settle(s);
        *ret_result = s->result;
    }
    return over;
}

void kernel_finish(struct kernel_slot *s)
{
    struct kernel *k = s->k;
    settle(s);
    if (k->draining && k->ops->drain && !s->busy)
        k->ops->drain(s);
    k->config.on_done(k->config.ctx, s->index, &s->result);
    kernel_quiet(k);
}

void kernel_cancel(struct kernel *k, uint32_t slot)
{
    ensure(slot < k->config.slots);
    struct kernel_slot *s = kernel_slot(k, slot);
    if (!s->busy || s->stop)
        return;
    s->stop = STOP_CANCEL;
    k->ops->stop(s);
}

/* ---- drain ---- */

void kernel_quiet(struct kernel *k)
{
    if (!k->on_drained || !all_quiet(k))
        return;
    /* Without memory for the timer the next event of a slot, or the caller's own limit, helps. */
    int rc = loop_timer_after_ms(&k->drained, 0);
    if (rc)
        log_warn("kernel.drain", kv_str("error", err_text(rc)));
}

void kernel_drain(struct kernel *k, void (*on_drained)(void *ctx), void *ctx)
{
    k->draining = true;
    k->on_drained = on_drained;
    k->drained_ctx = ctx;
    for (uint32_t i = 0; k->ops->drain && i < k->config.slots; i++)
        if (!kernel_slot(k, i)->busy)
            k->ops->drain(kernel_slot(k, i));
    kernel_quiet(k);
}

uint32_t kernel_busy(const struct kernel *k)
{
    return k->busy;
}

/* ---- shared by the kernels with commands ---- */

int kernel_open_command(struct kernel *k, struct err *err)
{
    int rc = command_open(&k->command, k->config.argv, k->config.worker, err);
    if (!rc && k->config.dir)
        rc = command_make_absolute(&k->command, err);
    return rc ? rc : guard_open(&k->guard, k->config.slots, err);
}

void kernel_close_command(struct kernel *k)
{
    guard_close(k->guard);
    command_close(&k->command);
}

void kernel_exit_failed(struct kernel_slot *s, int status, int signal, bool core_dumped)
{
    char name[PROCESS_SIGNAL_BYTES];
    s->result.exit_status = status;
    s->result.signal = signal;
    if (signal)
        kernel_failed(s, KERNEL_FAILED, "killed by %s%s", process_signal_name(signal, name),
                      core_dumped ? " (core dumped)" : "");
    else if (status == KERNEL_EXIT_PERMANENT)
        kernel_failed(s, KERNEL_PERMANENT, "exit status 100: not to be retried");
    else if (status < 0)
        kernel_failed(s, KERNEL_FAILED, "exit status unknown");
    else
        kernel_failed(s, KERNEL_FAILED, "exit status %d", status);
}

void kernel_log_line(void *slot, struct str line)
{
    struct kernel_slot *s = slot;
    struct trace t;
    trace_of(&t, str_of(s->task.job), s->task.created_ms, s->task.chunk, s->task.epoch);
    if (s->lines_logged > KERNEL_STDERR_LOGGED_MAX)
        return;
    if (s->lines_logged++ == KERNEL_STDERR_LOGGED_MAX)
        log_warn("command.stderr_cut", kv_str("job", s->task.job), kv_u64("chunk", s->task.chunk),
                 kv_u64("lines", KERNEL_STDERR_LOGGED_MAX));
    else if (s->busy)
        log_info("command.stderr", kv_str("job", s->task.job), kv_u64("chunk", s->task.chunk),
                 kv_u64("attempt", s->task.attempt), kv_s("line", line), kv_trace(&t), kv_span(&t));
    else
        log_info("command.stderr", kv_u64("slot", s->index), kv_s("line", line));
}
