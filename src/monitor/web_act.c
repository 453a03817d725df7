/* SPDX-License-Identifier: Apache-2.0 */
/* Actions of the page: {"action":"redrive","job":"NAME","chunk":7} and so on. The answer comes when
 * the queue has answered. */
#include "base/log.h"
#include "base/mem.h"
#include "monitor/web_state.h"
#include "wire/json.h"

#include <inttypes.h>

enum { ACTIONS_MAX = 32 };

struct action {
    struct web *web;
    struct web_line *line;
    struct http_exchange *x; /* NULL: who asked has gone */
    struct buf job;
    const char *name;
    union {
        struct queue_request request;
        struct queue_call call;
        struct queue_dead_redrive redrive;
        struct queue_control_call control;
        struct queue_explain explain;
    } as;
};

static const struct act {
    const char *name;
    enum queue_verb verb;
    enum queue_control control;
} acts[] = {
    {"redrive", QUEUE_DEAD_REDRIVE, 0},
    {"pause", QUEUE_CONTROL, QUEUE_PAUSE},
    {"resume", QUEUE_CONTROL, QUEUE_RESUME},
};

static void action_free(struct action *a)
{
    a->web->action_count--;
    if (a->line)
        a->line->action_count--;
    queue_request_done(&a->as.request);
    buf_done(&a->job);
    mem_free(a);
}

static void say(struct action *a, int rc, const struct err *err, struct buf *out)
{
    buf_printf(out, "{\"ok\":%s", rc ? "false" : "true");
    if (rc) {
        buf_add_str(out, STR(",\"error\":"));
        buf_add_json(out, str_of(err && err->text[0] ? err->text : err_text(rc)));
    } else if (a->as.request.verb == QUEUE_DEAD_REDRIVE) {
        buf_printf(out, ",\"redriven\":%" PRIu64, a->as.redrive.redriven);
    } else if (a->as.request.verb == QUEUE_EXPLAIN) {
        buf_add_str(out, STR(",\"place\":"));
        buf_add_json(out, a->as.explain.place);
        buf_add_str(out, STR(",\"why\":"));
        buf_add_json(out, a->as.explain.why);
        buf_add_str(out, STR(",\"worker\":"));
        buf_add_json(out, a->as.explain.worker);
        buf_add_str(out, STR(",\"reason\":"));
        buf_add_json(out, a->as.explain.reason);
        buf_printf(out, ",\"attempts\":%" PRIu64, a->as.explain.attempts);
    }
    buf_add_str(out, STR("}\n"));
}

static void on_done(struct queue_request *r, int rc, const struct err *err)
{
    struct action *a = r->ctx;
    struct web_line *line = a->line;
    if (a->x) {
        struct buf out;
        buf_init(&out, 65536);
        say(a, rc, err, &out);
        http_answer(a->x, rc ? "409 Conflict" : "200 OK", "application/json", NULL, buf_str(&out));
        buf_done(&out);
    }
    if (r->verb != QUEUE_EXPLAIN)
        log_info("monitor.action", kv_str("action", a->name), kv_s("job", buf_str(&a->job)),
                 kv_str("result", rc ? err_text(rc) : "done"));
    action_free(a);
    if (rc != TTG_ECANCELED)
        web_watch_hurry(line);
}

static void on_closed(void *owner)
{
    ((struct action *)owner)->x = NULL;
}

static void prepare(struct action *a, const char *name, enum queue_verb verb)
{
    queue_request_init(&a->as.request, verb, on_done, a);
    a->name = name;
    a->as.call.job = buf_str(&a->job);
}

/* Fills `a` from the body. False: it makes no sense. */
static bool parse(struct action *a, struct str body)
{
    struct json object, name, value;
    struct err err;
    const struct act *act = NULL;
    bool has_chunk = false;
    uint64_t chunk = 0;
    if (json_parse(body, &object, &err) || object.type != JSON_OBJECT)
        return false;
    struct str at = json_inside(object);
    while (json_next(&at, &name, &value)) {
        if (json_is(name, STR("job")) && json_add_text(value, &a->job))
            return false;
        for (size_t i = 0; json_is(name, STR("action")) && i < sizeof acts / sizeof *acts; i++)
            if (value.type == JSON_STRING && json_is(value, str_of(acts[i].name)))
                act = &acts[i];
        if (json_is(name, STR("chunk")) && value.type != JSON_NULL) {
            has_chunk = true;
            if (json_u64(value, &chunk))
                return false;
        }
    }
    if (!act || buf_len(&a->job) == 0)
        return false;
    prepare(a, act->name, act->verb);
    if (act->verb == QUEUE_CONTROL) {
        a->as.control.control = act->control;
    } else {
        a->as.redrive.all = !has_chunk;
        a->as.redrive.chunk = chunk;
    }
    return true;
}

static struct action *action_new(struct web *w, struct http_exchange *x)
{
    struct action *a = w->action_count < ACTIONS_MAX ? mem_zalloc(sizeof *a) : NULL;
    if (!a) {
        http_answer_text(x, "503 Service Unavailable", "busy\n");
        return NULL;
    }
    a->web = w;
    a->x = x;
    buf_init(&a->job, MODEL_NAME_BYTES);
    w->action_count++;
    return a;
}

static void action_send(struct action *a, bool good)
{
    struct err err = {0};
    a->line = good ? web_line(a->web, buf_cstr(&a->job), &err) : NULL;
    if (a->line) {
        a->line->action_count++;
        http_later(a->x, a, on_closed);
        queue_send(a->line->queue, &a->as.request);
        return;
    }
    http_answer_text(a->x, good ? "503 Service Unavailable" : "400 Bad Request",
                     good ? err.text : "what is asked makes no sense; see docs/monitor.md\n");
    action_free(a);
}

void web_act_request(struct web *w, struct http_exchange *x, const struct http_request *r)
{
    struct action *a = action_new(w, x);
    if (a)
        action_send(a, parse(a, r->body));
}

void web_act_explain(struct web *w, struct http_exchange *x, const struct http_request *r)
{
    char job[MODEL_NAME_BYTES], chunk[32];
    struct action *a = action_new(w, x);
    if (!a)
        return;
    bool good = http_param(r->query, "job", job, sizeof job) && job[0];
    good = good && !buf_add_str(&a->job, str_of(job));
    prepare(a, "explain", QUEUE_EXPLAIN);
    a->as.explain.of_chunk = http_param(r->query, "chunk", chunk, sizeof chunk);
    if (a->as.explain.of_chunk && str_to_u64(str_of(chunk), &a->as.explain.chunk))
        good = false;
    action_send(a, good);
}
