/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cleanup/cleanup.h"
#include "cmd/rabbit_jobs.h"

struct place {
    struct cleanup *cleanup;
    size_t source;
};

static int on_job(void *ctx, const char *job, struct err *err)
{
    struct place *p = ctx;
    struct cleanup_item item = {.kind = CLEANUP_JOB,
                                .source = p->source,
                                .name = (char *)(uintptr_t)job,
                                .note = (char *)(uintptr_t) "with its queues"};
    return cleanup_add(p->cleanup, &item, err);
}

int cleanup_rabbit_find(struct cleanup *c, size_t source, const struct queue_config *config,
                        struct err *err)
{
    struct place p = {c, source};
    return rabbit_jobs(c->loop, config, option_text(c->command->options, OPT_MANAGEMENT), on_job,
                       &p, err);
}
