/* SPDX-License-Identifier: Apache-2.0 */
/* ttg dlq: chunks that were given up: see them, give them another chance, or close them for good.
 */
#include "base/clock.h"
#include "cmd/ask.h"

typedef unsigned long long number; /* for printf */

enum { PAGE = 1000 };

struct dlq {
    struct ask ask;
    struct buf out;
    bool json;
    struct queue_dead_list list;
    struct queue_dead_show show;
    struct queue_dead_redrive redrive;
    struct queue_dead_drop drop;
    uint64_t last; /* chunk of the page's last letter */
    uint64_t total;
    uint64_t page[PAGE];
    size_t page_count;
};

static void first_line(struct buf *out, struct str text)
{
    struct str rest, line = str_cut(text, '\n', &rest);
    for (size_t i = 0; i < line.len && i < 200; i++)
        buf_add_char(out, (unsigned char)line.ptr[i] < ' ' ? ' ' : line.ptr[i]);
}

/* --- list --- */

static void keep_page(struct dlq *d)
{
    d->page_count = 0;
    for (size_t i = 0; i < d->list.dead_count && i < PAGE; i++)
        d->page[d->page_count++] = d->list.dead[i].chunk;
    if (d->page_count > 0)
        d->last = d->page[d->page_count - 1];
    d->total += d->page_count;
}

static void on_page(void *ctx)
{
    struct dlq *d = ctx;
    char at[CLOCK_TEXT_BYTES];
    if (d->total == 0 && d->list.dead_count > 0 && !d->json)
        buf_printf(&d->out, "%-10s %8s  %-20s  %-12s  %s\n", "CHUNK", "ATTEMPTS", "SINCE", "WORKER",
                   "REASON");
    for (size_t i = 0; i < d->list.dead_count; i++) {
        const struct queue_dead *l = &d->list.dead[i];
        clock_text(at, l->dead_ms);
        if (d->json) {
            buf_printf(&d->out, "{\"chunk\":%llu,\"attempts\":%u,\"dead_at\":\"%s\",\"worker\":",
                       (number)l->chunk, l->attempts, at);
            buf_add_json(&d->out, l->worker);
            buf_add_str(&d->out, STR(",\"reason\":"));
            buf_add_json(&d->out, l->reason);
            buf_add_str(&d->out, STR("}\n"));
        } else {
            buf_printf(&d->out, "%-10llu %8u  %-20s  %-12.*s  ", (number)l->chunk, l->attempts, at,
                       STR_ARG(l->worker));
            first_line(&d->out, l->reason);
            buf_add_char(&d->out, '\n');
        }
    }
    keep_page(d);
}

static void on_silent_page(void *ctx)
{
    keep_page(ctx);
}

/* One page of the letters; `from_start` or behind the last one. */
static int ask_page(struct dlq *d, bool from_start, void (*on_answer)(void *ctx), struct err *err)
{
    ask_init(&d->ask, &d->list.call, QUEUE_DEAD_LIST);
    d->list.from_start = from_start;
    d->list.after = d->last;
    d->list.count = PAGE;
    return ask_once(&d->ask, &d->list.call, on_answer, d, err);
}

static int dlq_list(struct dlq *d, struct err *err)
{
    int rc = ask_page(d, true, on_page, err);
    while (!rc && d->page_count == PAGE)
        rc = ask_page(d, false, on_page, err);
    if (!rc && d->total == 0 && !d->json)
        buf_printf(&d->out, "job %s has no dead letters\n", d->ask.job);
    return rc;
}

/* --- show --- */

static void show_json(struct dlq *d)
{
    const struct queue_dead_show *s = &d->show;
    char at[CLOCK_TEXT_BYTES];
    clock_text(at, s->dead_ms);
    buf_printf(&d->out,
               "{\"chunk\":%llu,\"start_param\":%lld,\"end_param\":%lld,\"attempts\":%u,"
               "\"dead_at\":\"%s\",\"reasons\":[",
               (number)s->chunk, (long long)s->first, (long long)s->last, s->attempts, at);
    for (size_t i = 0; i < s->reason_count; i++) {
        clock_text(at, s->reasons[i].at_ms);
        buf_printf(&d->out, "%s{\"at\":\"%s\",\"attempt\":%u,\"worker\":", i ? "," : "", at,
                   s->reasons[i].attempt);
        buf_add_json(&d->out, s->reasons[i].worker);
        buf_add_str(&d->out, STR(",\"reason\":"));
        buf_add_json(&d->out, s->reasons[i].reason);
        buf_add_char(&d->out, '}');
    }
    buf_add_str(&d->out, STR("]}\n"));
}

static void on_shown(void *ctx)
{
    struct dlq *d = ctx;
    const struct queue_dead_show *s = &d->show;
    char at[CLOCK_TEXT_BYTES];
    if (d->json) {
        show_json(d);
        return;
    }
    clock_text(at, s->dead_ms);
    buf_printf(&d->out,
               "chunk      %llu\nparameters %lld to %lld\ngiven up   %s after %u attempts\n",
               (number)s->chunk, (long long)s->first, (long long)s->last, at, s->attempts);
    for (size_t i = 0; i < s->reason_count; i++) {
        clock_text(at, s->reasons[i].at_ms);
        buf_printf(&d->out, "\nattempt %u on %.*s, %s\n%.*s\n", s->reasons[i].attempt,
                   STR_ARG(s->reasons[i].worker), at, STR_ARG(s->reasons[i].reason));
    }
}

static int no_letter(const struct dlq *d, uint64_t chunk, struct err *err)
{
    return err_set(err, TTG_EINVAL, "chunk %llu of job %s is no dead letter; `ttg dlq list`",
                   (number)chunk, d->ask.job);
}

static int dlq_show(struct dlq *d, uint64_t chunk, struct err *err)
{
    ask_init(&d->ask, &d->show.call, QUEUE_DEAD_SHOW);
    d->show.chunk = chunk;
    int rc = ask_once(&d->ask, &d->show.call, on_shown, d, err);
    return rc == TTG_ENOENT ? no_letter(d, chunk, err) : rc;
}

/* --- redrive and drop --- */

static int dlq_redrive(struct dlq *d, bool all, uint64_t chunk, struct err *err)
{
    ask_init(&d->ask, &d->redrive.call, QUEUE_DEAD_REDRIVE);
    d->redrive.all = all;
    d->redrive.chunk = chunk;
    int rc = ask_once(&d->ask, &d->redrive.call, NULL, NULL, err);
    if (!rc && !all && d->redrive.redriven == 0)
        return no_letter(d, chunk, err);
    d->total += rc ? 0 : d->redrive.redriven;
    return rc;
}

static int dlq_drop(struct dlq *d, uint64_t chunk, struct err *err)
{
    ask_init(&d->ask, &d->drop.call, QUEUE_DEAD_DROP);
    d->drop.chunk = chunk;
    int rc = ask_once(&d->ask, &d->drop.call, NULL, NULL, err);
    if (!rc && !d->drop.dropped)
        return no_letter(d, chunk, err);
    return rc;
}

static int drop_all(struct dlq *d, uint64_t *ret_count, struct err *err)
{
    int rc = ask_page(d, true, on_silent_page, err);
    while (!rc && d->page_count > 0) {
        for (size_t i = 0; i < d->page_count && !rc; i++) {
            rc = dlq_drop(d, d->page[i], err);
            *ret_count += !rc;
        }
        if (!rc)
            rc = ask_page(d, true, on_silent_page, err);
    }
    return rc;
}

/* --- the command --- */

enum action { LIST, SHOW, REDRIVE, DROP, ACTIONS };
static const char *const actions[] = {"list", "show", "redrive", "drop"};

static const char *const wants[] = {"no chunk", "the number of a chunk",
                                    "the number of a chunk, or --all",
                                    "the number of a chunk, or --all"};

/* [JOB], and [CHUNK] where it needs one: what stands alone is what it needs. */
static int choose_action(const struct command_run *r, enum action *ret_action, const char **ret_job,
                         uint64_t *ret_chunk, struct err *err)
{
    bool all = option_bool(r->options, OPT_ALL);
    int i = 0;
    while (i < ACTIONS && (r->arg_count == 0 || strcmp(r->args[0], actions[i]) != 0))
        i++;
    if (i == ACTIONS && r->arg_count > 0)
        return err_set(err, TTG_EUSAGE, "'%s' is none of list, show, redrive and drop", r->args[0]);
    if (i == ACTIONS)
        return err_set(err, TTG_EUSAGE, "what to do is missing: list, show, redrive or drop");
    bool chunk = i != LIST && !all;
    size_t words = r->arg_count - 1;
    if ((all && i < REDRIVE) || words < chunk || words > 1u + chunk)
        return err_set(err, TTG_EUSAGE, "%s takes %s, and before that the name of a job",
                       actions[i], wants[i]);
    if (chunk && str_to_u64(str_of(r->args[words]), ret_chunk))
        return err_set(err, TTG_EUSAGE, "'%s' is no number of a chunk: %s takes %s", r->args[words],
                       actions[i], wants[i]);
    if (words > chunk)
        *ret_job = r->args[1];
    *ret_action = (enum action)i;
    return 0;
}

static void say_count(struct dlq *d, const char *member, number count, const char *what)
{
    if (!d->json) {
        buf_printf(&d->out, "%llu chunks of job %s %s\n", count, d->ask.job, what);
        return;
    }
    buf_add_str(&d->out, STR("{\"job\":"));
    buf_add_json(&d->out, str_of(d->ask.job));
    buf_printf(&d->out, ",\"%s\":%llu}\n", member, count);
}

static int act(struct dlq *d, enum action action, bool all, uint64_t chunk, struct err *err)
{
    uint64_t count = 1;
    int rc;
    switch (action) {
    case LIST:
        return dlq_list(d, err);
    case SHOW:
        return dlq_show(d, chunk, err);
    case REDRIVE:
        rc = dlq_redrive(d, all, chunk, err);
        if (!rc)
            say_count(d, "redriven", d->total, "are tried again");
        return rc;
    default:
        count = all ? 0 : 1;
        rc = all ? drop_all(d, &count, err) : dlq_drop(d, chunk, err);
        if (!rc)
            say_count(d, "dropped", count, "closed without a result");
        return rc;
    }
}

int cmd_dlq(struct command_run *r)
{
    struct dlq d = {.json = option_bool(r->options, OPT_JSON)};
    struct ask_config config = {0};
    struct err err = {0};
    enum action action = LIST;
    uint64_t chunk = 0;
    buf_init(&d.out, 1 << 30);
    int rc = choose_action(r, &action, &config.job, &chunk, &err);
    if (!rc) {
        rc = ask_open(&d.ask, r, &config, &err);
        if (!rc)
            rc = act(&d, action, option_bool(r->options, OPT_ALL), chunk, &err);
        ask_close(&d.ask);
    }
    int code = rc ? command_fail(r, &err) : command_print(r, buf_str(&d.out));
    buf_done(&d.out);
    return code;
}
