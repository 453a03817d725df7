/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to the queue: opened for who comes first, closed when nobody has used them for a
 * while. */
#include "base/log.h"
#include "base/mem.h"
#include "core/job.h"
#include "monitor/web_state.h"

#include <stdio.h>

static void on_up(void *ctx)
{
    web_watch_link(ctx, true, NULL);
}

static void on_down(void *ctx, const struct err *e)
{
    web_watch_link(ctx, false, e);
}

static void on_lost(void *ctx, const struct err *e)
{
    struct web_line *line = ctx;
    line->lost = *e;
    log_warn("monitor.queue_lost", kv_str("why", e->text));
    web_watch_link(line, false, e);
}

static void line_close(struct web_line *line)
{
    web_watch_stop(line);
    queue_close(line->queue); /* ends all requests */
    line->queue = NULL;
    web_watch_free(line);
    list_remove(&line->link);
    line->web->line_count--;
    mem_free(line);
}

/* Nobody watches, and nobody waits for an answer. */
static bool is_idle(const struct web_line *line)
{
    return line->idle_since_ms > 0 && line->action_count == 0;
}

/* For one more: the one that has been idle for longest goes. */
static bool make_room(struct web *w)
{
    struct web_line *oldest = NULL;
    if (w->line_count < WEB_LINES_MAX)
        return true;
    list_each(it, &w->lines)
    {
        struct web_line *line = container_of(it, struct web_line, link);
        if (is_idle(line) && (!oldest || line->idle_since_ms < oldest->idle_since_ms))
            oldest = line;
    }
    if (oldest)
        line_close(oldest);
    return oldest != NULL;
}

static struct web_line *line_open(struct web *w, const char *job, struct err *err)
{
    struct web_line *line = make_room(w) ? mem_zalloc(sizeof *line) : NULL;
    if (!line) {
        err_set(err, TTG_EFULL, "too many jobs are asked about at a time");
        return NULL;
    }
    line->web = w;
    snprintf(line->job, sizeof line->job, "%s", job);
    list_init(&line->watches);
    line->config = w->config.queue;
    line->config.ctx = line;
    line->config.on_up = on_up;
    line->config.on_down = on_down;
    line->config.on_lost = on_lost;
    if (queue_open(&line->queue, w->config.loop, &line->config, err)) {
        mem_free(line);
        return NULL;
    }
    list_push_back(&w->lines, &line->link);
    w->line_count++;
    return line;
}

struct web_line *web_line(struct web *w, const char *job, struct err *err)
{
    bool one = queue_is_one(&w->config.queue);
    const char *name = !one ? "" : job[0] ? job : w->config.job ? w->config.job : "default";
    if (one && !job_name_valid(str_of(name))) {
        err_set(err, TTG_EUSAGE, "this is no name of a job");
        return NULL;
    }
    list_each(it, &w->lines)
    {
        struct web_line *line = container_of(it, struct web_line, link);
        if (strcmp(line->job, name) == 0)
            return line;
    }
    return line_open(w, name, err);
}

void web_line_sweep(struct web *w, uint64_t now_ms)
{
    for (struct list *it = w->lines.next, *next; it != &w->lines; it = next) {
        struct web_line *line = container_of(it, struct web_line, link);
        next = it->next;
        if (web_watch_sweep(line, now_ms) || line->action_count > 0)
            line->idle_since_ms = 0;
        else if (line->idle_since_ms == 0)
            line->idle_since_ms = now_ms;
        else if (now_ms - line->idle_since_ms >= WEB_IDLE_MS || line->lost.code)
            line_close(line);
    }
}

void web_line_close_all(struct web *w)
{
    for (struct list *it; (it = list_first(&w->lines));)
        line_close(container_of(it, struct web_line, link));
}
