/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/asker.h"

#include "base/list.h"
#include "base/mem.h"
#include "pipeline/part.h"

enum { ANSWER_BYTES_MAX = 64 << 20, LINE_BYTES_MAX = 1 << 30, GRACE_MS = 1000 };

struct asker {
    struct part *part;
    struct kernel *kernel;
    struct kernel_source source;
    struct buf line;
    size_t at; /* so much of it was handed out */
    uint64_t runs;
    bool busy, forgot;
    asker_on_answer *on_answer;
    void *ctx;
};

static int ask_read(struct kernel_source *s, struct buf *out, size_t bytes_max, bool *ret_end)
{
    struct asker *a = container_of(s, struct asker, source);
    size_t len = buf_len(&a->line) - a->at;
    struct str piece = str_make(buf_ptr(&a->line) + a->at, len < bytes_max ? len : bytes_max);
    a->at += piece.len;
    *ret_end = a->at == buf_len(&a->line);
    return buf_add_str(out, piece);
}

static void on_done(void *ctx, uint32_t slot, const struct kernel_result *result)
{
    struct asker *a = ctx;
    (void)slot;
    a->busy = false;
    if (!a->forgot)
        a->on_answer(a->ctx, result);
}

int asker_open(struct asker **ret_ask, struct part *p, asker_on_answer *on_answer, void *ctx,
               struct err *err)
{
    struct kernel_config config;
    struct asker *a = mem_zalloc(sizeof *a);
    if (!a)
        return err_set(err, TTG_ENOMEM, "out of memory");
    a->part = p;
    a->on_answer = on_answer;
    a->ctx = ctx;
    a->source.read = ask_read;
    buf_init(&a->line, LINE_BYTES_MAX);
    kernel_config_init(&config);
    config.type = KERNEL_COPROC;
    config.slots = 1;
    config.worker = p->name;
    config.timeout_ms = p->stage->timeout_ms;
    config.kill_grace_ms = GRACE_MS;
    config.output_bytes_max = ANSWER_BYTES_MAX;
    config.argv = p->stage->argv;
    config.bare_lines = true;
    config.on_done = on_done;
    config.ctx = a;
    int rc = kernel_open(&a->kernel, p->config.loop, &config, err);
    if (rc) {
        asker_close(a);
        return rc;
    }
    *ret_ask = a;
    return 0;
}

void asker_close(struct asker *a)
{
    if (!a)
        return;
    kernel_close(a->kernel);
    buf_done(&a->line);
    mem_free(a);
}

struct buf *asker_line(struct asker *a)
{
    return &a->line;
}

bool asker_start(struct asker *a, uint32_t attempt, struct kernel_result *ret_answer)
{
    struct kernel_task task = {.chunk = a->runs++,
                               .attempt = attempt,
                               .job = a->part->config.spec->name,
                               .lines = &a->source};
    a->at = 0;
    a->busy = !kernel_start(a->kernel, 0, &task, ret_answer);
    return !a->busy;
}

bool asker_forget(struct asker *a)
{
    a->forgot = a->busy;
    if (a->busy)
        kernel_cancel(a->kernel, 0);
    return !a->busy;
}
