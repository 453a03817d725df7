/* SPDX-License-Identifier: Apache-2.0 */
/* ttg pipeline dlq: the messages that stages gave up. The letters of a stage are an inbox like any
 * other, so whoever lists owns it for a moment and acknowledges nothing, whoever drops
 * acknowledges, and whoever redrives sends them back in the same commit. */
#include "base/mem.h"
#include "cmd/pipeline_place.h"
#include "io/loop.h"
#include "io/realclock.h"
#include "job/crew.h"
#include "pipeline/message.h"
#include "pipeline/route.h"
#include "queue/pipe.h"
#include "wire/json.h"

#include <stdio.h>

enum { CREDIT = 1000, PATIENCE_MS = 300, OUT_BYTES_MAX = 1 << 30 };
enum action { LIST, REDRIVE, DROP, ACTIONS };
static const char *const actions[ACTIONS] = {"list", "redrive", "drop"};

struct letters {
    struct command_run *command;
    struct pipeline_place place;
    enum action action;
    struct loop *loop;
    struct crew *crew;
    struct pipe *pipe;
    struct loop_timer quiet;
    const struct spec_stage *stage;
    char inbox[PIPE_NAME_BYTES];
    char **downs;
    size_t down_count;
    struct buf out, room, text;
    struct pipe_out outs[CREDIT];
    char *bodies[CREDIT];
    size_t out_count;
    uint64_t tag, total; /* tag: of the last letter seen and not settled */
    uint64_t left;       /* of those there were at the start: more may come meanwhile */
    bool done, counted, crew_stopped;
    struct err err;
};

static void finish(struct letters *l)
{
    l->done = true;
    loop_stop(l->loop);
}

static void failed(struct letters *l, const struct err *err)
{
    l->err = *err;
    finish(l);
}

static struct json member(struct json object, struct str name)
{
    struct str at = json_inside(object);
    struct json key, value;
    while (object.type == JSON_OBJECT && json_next(&at, &key, &value))
        if (json_is(key, name))
            return value;
    return (struct json){JSON_NULL, STR("")};
}

static void list_one(struct letters *l, struct str body, struct json root)
{
    if (option_bool(l->command->options, OPT_JSON)) {
        buf_add_str(&l->out, body);
        buf_add_char(&l->out, '\n');
        return;
    }
    buf_clear(&l->text);
    json_add_text(member(root, STR("reason")), &l->text);
    struct str rest, reason = str_cut(buf_str(&l->text), '\n', &rest);
    buf_printf(&l->out, "%-16s %-8.*s %s: ", l->stage->name,
               STR_ARG(member(root, STR("attempts")).raw), "attempts");
    buf_add_str(&l->out, reason);
    buf_clear(&l->text);
    json_add_text(member(root, STR("message")), &l->text);
    buf_printf(&l->out, "\n    %.*s\n", (int)(buf_len(&l->text) > 300 ? 300 : buf_len(&l->text)),
               buf_ptr(&l->text));
}

/* Back to the partition it came from, which its letter names. */
static int redrive_one(struct letters *l, struct json root)
{
    uint64_t partition;
    buf_clear(&l->text);
    if (json_add_text(member(root, STR("message")), &l->text) ||
        json_u64(member(root, STR("partition")), &partition) || partition >= l->stage->partitions)
        return TTG_EPROTO;
    char *body = mem_dup(buf_ptr(&l->text), buf_len(&l->text));
    if (!body)
        return TTG_ENOMEM;
    l->bodies[l->out_count] = body;
    l->outs[l->out_count++] =
        (struct pipe_out){l->downs[partition], str_make(body, buf_len(&l->text))};
    return 0;
}

static void on_message(void *ctx, uint64_t tag, struct str body)
{
    struct letters *l = ctx;
    struct json root = {0};
    struct err err;
    if (l->done || l->left == 0)
        return;
    if (json_parse(body, &root, NULL))
        root = (struct json){JSON_NULL, body};
    int rc = 0;
    if (l->action == LIST)
        list_one(l, body, root);
    else if (l->action == REDRIVE)
        rc = redrive_one(l, root);
    if (rc) {
        err_set(&err, rc, "a dead letter of stage %s that makes no sense", l->stage->name);
        failed(l, &err);
        return;
    }
    l->tag = tag;
    l->total++;
    l->left--;
    loop_timer_after_ms(&l->quiet, l->left > 0 && l->out_count < CREDIT ? PATIENCE_MS : 0);
}

static void free_outs(struct letters *l)
{
    for (size_t i = 0; i < l->out_count; i++)
        mem_free(l->bodies[i]);
    l->out_count = 0;
}

static void on_ready(void *ctx)
{
    struct letters *l = ctx;
    if (l->crew)
        crew_progress(l->crew);
    free_outs(l);
    l->tag = 0;
    if (!l->counted) /* the letters' own inbox is the last one that is looked at */
        l->left = pipe_backlog_of(l->pipe, l->down_count - 1);
    l->counted = true;
    loop_timer_after_ms(&l->quiet, l->left > 0 ? PATIENCE_MS : 0);
}

/* No more came for a while: these are all, or as many as one gets without settling any. */
static void on_quiet(struct loop_timer *t)
{
    struct letters *l = container_of(t, struct letters, quiet);
    if (l->action == LIST || l->tag == 0 || !pipe_is_ready(l->pipe)) {
        finish(l);
        return;
    }
    int rc = pipe_commit(l->pipe, l->outs, l->out_count, l->tag);
    free_outs(l);
    if (rc) {
        err_set(&l->err, rc, "%s", err_text(rc));
        finish(l);
    }
}

static void on_committed(void *ctx)
{
    struct letters *l = ctx;
    l->tag = 0;
    loop_timer_after_ms(&l->quiet, l->left > 0 ? PATIENCE_MS : 0);
}

static void on_looked(void *ctx)
{
    (void)ctx;
}

static void on_lost(void *ctx, const struct err *err)
{
    failed(ctx, err);
}

static int name_partitions(struct letters *l)
{
    l->down_count = l->stage->partitions + 1;
    l->downs = mem_zalloc(l->down_count * sizeof *l->downs);
    for (size_t i = 0; l->downs && i < l->down_count; i++) {
        char name[PIPE_NAME_BYTES];
        snprintf(name, sizeof name, "%s.%zu", l->stage->name, i);
        l->downs[i] = mem_strdup(i + 1 < l->down_count ? name : l->inbox);
        if (!l->downs[i])
            return TTG_ENOMEM;
    }
    return l->downs ? 0 : TTG_ENOMEM;
}

static void free_partitions(struct letters *l)
{
    for (size_t i = 0; l->downs && i < l->down_count; i++)
        mem_free(l->downs[i]);
    mem_free(l->downs);
    l->downs = NULL;
}

static int do_stage(struct letters *l, size_t stage, struct err *err)
{
    struct clock *clock = realclock();
    l->stage = &l->place.spec.stages[stage];
    snprintf(l->inbox, sizeof l->inbox, "%s.dead", l->stage->name);
    l->done = l->counted = false;
    l->left = 0;
    int rc = name_partitions(l);
    if (!rc && l->action == REDRIVE && l->stage->kind == SPEC_SOURCE) {
        free_partitions(l); /* lines that were no messages: there is no stage to go through */
        return 0;
    }
    if (rc)
        return err_set(err, rc, "out of memory");
    struct pipe_config config = {.queue = &l->place.choice.config,
                                 .name = l->place.spec.name,
                                 .inbox = l->inbox,
                                 .epoch = clock->wall_ms(clock),
                                 .credit = CREDIT,
                                 .downs = (const char *const *)l->downs,
                                 .down_count = l->down_count,
                                 .ctx = l,
                                 .on_ready = on_ready,
                                 .on_message = on_message,
                                 .on_committed = on_committed,
                                 .on_looked = on_looked,
                                 .on_lost = on_lost};
    rc = pipe_open(&l->pipe, l->loop, &config, err);
    while (!rc && !l->done)
        rc = loop_turn(l->loop, LOOP_FOREVER);
    loop_timer_stop(&l->quiet);
    pipe_close(l->pipe);
    l->pipe = NULL;
    free_outs(l);
    free_partitions(l);
    if (!rc && l->err.code)
        *err = l->err;
    return rc ? rc : l->err.code;
}

static void on_crew_failed(void *ctx, const struct err *err)
{
    failed(ctx, err);
}

static void on_crew_stopped(void *ctx)
{
    struct letters *l = ctx;
    l->crew_stopped = true;
}

static bool on_node_needed(void *ctx)
{
    struct letters *l = ctx;
    return !l->pipe || !pipe_is_ready(l->pipe);
}

static int start_node(struct letters *l, struct err *err)
{
    struct crew_config crew = {.node = l->place.node.list,
                               .node_lives = run_dir_node_lives(&l->place.dir),
                               .worker = l->place.node.list,
                               .ctx = l,
                               .node_needed = on_node_needed,
                               .on_failed = on_crew_failed,
                               .on_stopped = on_crew_stopped};
    return crew_start(&l->crew, l->loop, &crew, err);
}

static int do_stages(struct letters *l, const char *named, struct err *err)
{
    const struct spec *s = &l->place.spec;
    size_t only = named ? spec_stage_of(s, str_of(named)) : SPEC_STAGES_MAX;
    if (named && only == SPEC_STAGES_MAX)
        return err_set(err, TTG_EUSAGE, "there is no stage '%s'", named);
    int rc = loop_open(&l->loop, err);
    if (!rc) {
        loop_timer_init(&l->quiet, l->loop, on_quiet);
        rc = l->place.embedded ? start_node(l, err) : 0;
    }
    for (size_t i = 0; i < s->stage_count && !rc; i++)
        if (!named || i == only)
            rc = do_stage(l, i, err);
    if (l->crew) {
        crew_stop(l->crew);
        while (!l->crew_stopped && loop_turn(l->loop, LOOP_FOREVER) == 0)
            ;
        crew_free(l->crew);
    }
    if (l->loop)
        loop_close(l->loop);
    return rc;
}

static int choose(const char *word, enum action *ret_action, struct err *err)
{
    for (int i = 0; i < ACTIONS; i++)
        if (strcmp(actions[i], word) == 0) {
            *ret_action = (enum action)i;
            return 0;
        }
    return err_set(err, TTG_EUSAGE, "dlq does list, redrive or drop, not '%s'", word);
}

int pipeline_dlq(struct command_run *r)
{
    struct letters *l = mem_zalloc(sizeof *l);
    struct err err = {0};
    if (!l)
        return command_exit_code(TTG_ENOMEM);
    l->command = r;
    buf_init(&l->out, OUT_BYTES_MAX);
    buf_init(&l->text, OUT_BYTES_MAX);
    int rc = choose(r->args[1], &l->action, &err);
    if (!rc) {
        rc = pipeline_place_open(&l->place, r, r->args[2], false, &err);
        if (!rc)
            rc = pipeline_place_queue(&l->place, r, &err);
        if (!rc)
            rc = do_stages(l, r->arg_count > 3 ? r->args[3] : NULL, &err);
        if (!rc && l->action != LIST)
            buf_printf(&l->out, "%llu dead letters of pipeline %s %s\n",
                       (unsigned long long)l->total, l->place.spec.name,
                       l->action == DROP ? "dropped" : "sent back to their stages");
        pipeline_place_close(&l->place);
    }
    int code = rc ? command_fail(r, &err) : command_print(r, buf_str(&l->out));
    buf_done(&l->out);
    buf_done(&l->text);
    mem_free(l);
    return code;
}
