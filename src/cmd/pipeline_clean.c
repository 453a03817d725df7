/* SPDX-License-Identifier: Apache-2.0 */
/* ttg pipeline clean: the state directory goes, and before that the pipeline's inboxes on a queue
 * that is not inside it. */
#include "base/mem.h"
#include "cmd/pipeline_place.h"
#include "cmd/state_dir.h"
#include "io/loop.h"
#include "pipeline/home.h"
#include "queue/pipe.h"

#include <stdio.h>

struct clean {
    struct loop *loop;
    struct pipe *pipe;
    char **names;
    size_t count;
    bool done;
    struct err err;
};

static void on_ready(void *ctx)
{
    struct clean *c = ctx;
    if (pipe_remove(c->pipe)) {
        err_set(&c->err, TTG_ENOMEM, "out of memory");
        c->done = true;
    }
}

static void on_committed(void *ctx)
{
    struct clean *c = ctx;
    c->done = true;
}

static void on_lost(void *ctx, const struct err *err)
{
    struct clean *c = ctx;
    c->err = *err;
    c->done = true;
}

static int add_name(struct clean *c, const char *stage, const char *part)
{
    char name[PIPE_NAME_BYTES];
    snprintf(name, sizeof name, "%s.%s", stage, part);
    c->names[c->count] = mem_strdup(name);
    return c->names[c->count++] ? 0 : TTG_ENOMEM;
}

static int name_all(struct clean *c, const struct spec *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->stage_count; i++)
        count += s->stages[i].partitions + 1;
    c->names = mem_zalloc(count * sizeof *c->names);
    int rc = c->names ? 0 : TTG_ENOMEM;
    for (size_t i = 0; i < s->stage_count && !rc; i++) {
        for (size_t k = 0; k < s->stages[i].partitions && !rc; k++) {
            char number[24];
            snprintf(number, sizeof number, "%zu", k);
            rc = add_name(c, s->stages[i].name, number);
        }
        if (!rc)
            rc = add_name(c, s->stages[i].name, "dead");
    }
    return rc;
}

static int clean_queue(struct pipeline_place *p, struct err *err)
{
    struct clean c = {0};
    int rc = name_all(&c, &p->spec);
    struct pipe_config config = {.queue = &p->choice.config,
                                 .name = p->spec.name,
                                 .downs = (const char *const *)c.names,
                                 .down_count = c.count,
                                 .ctx = &c,
                                 .on_ready = on_ready,
                                 .on_committed = on_committed,
                                 .on_lost = on_lost};
    if (rc)
        err_set(err, rc, "out of memory");
    if (!rc)
        rc = loop_open(&c.loop, err);
    if (!rc)
        rc = pipe_open(&c.pipe, c.loop, &config, err);
    while (!rc && !c.done)
        rc = loop_turn(c.loop, LOOP_FOREVER);
    if (!rc && c.err.code) {
        rc = c.err.code;
        *err = c.err;
    }
    pipe_close(c.pipe);
    loop_close(c.loop);
    for (size_t i = 0; i < c.count; i++)
        mem_free(c.names[i]);
    mem_free(c.names);
    return rc;
}

int pipeline_clean(struct command_run *r)
{
    struct pipeline_place p;
    struct err err = {0};
    int rc = pipeline_place_open(&p, r, r->args[1], false, &err);
    if (!rc && home_supervisor(p.state) > 0)
        rc = err_set(&err, TTG_EBUSY, "pipeline %s runs; `ttg pipeline drain` first", p.spec.name);
    if (!rc)
        rc = pipeline_place_queue(&p, r, &err);
    if (!rc && !p.embedded)
        rc = clean_queue(&p, &err);
    if (!rc && !state_dir_remove(p.state))
        rc = err_set(&err, TTG_EIO, "%s could not be removed", p.state);
    pipeline_place_close(&p);
    return rc ? command_fail(r, &err) : EXIT_DONE;
}
