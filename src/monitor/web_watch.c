/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs being watched: one feed for each, and viewers, who each get what is new to them. */
#include "base/mem.h"
#include "monitor/web_state.h"

#include <stdio.h>

enum { STATE_BYTES_MAX = HTTP_ANSWER_BYTES_MAX - 4096, WATCH_IDLE_MS = 30000 };

struct watch {
    struct list link;
    struct web_line *line;
    struct feed *feed;
    char job[MODEL_NAME_BYTES]; /* "": the newest */
    struct list viewers;
    uint64_t idle_since_ms;
    bool ending;
};

struct viewer {
    struct list link;
    struct http_stream *stream;
    struct model_mark mark;
};

static void viewer_free(struct viewer *v)
{
    list_remove(&v->link);
    mem_free(v);
}

static void on_viewer_closed(void *owner)
{
    viewer_free(owner);
}

/* --- telling --- */

static bool mark_eq(const struct model_mark *a, const struct model_mark *b)
{
    return a->span_seq == b->span_seq && a->event_count == b->event_count &&
           a->point_ms == b->point_ms && a->worker_changes == b->worker_changes;
}

static int event_make(const struct watch *w, struct model_mark *mark, struct buf *out)
{
    buf_clear(out);
    int rc = buf_add_str(out, STR("event: state\ndata: "));
    if (!rc)
        rc = model_json(feed_model(w->feed), mark, out);
    return rc ? rc : buf_add_str(out, STR("\n\n"));
}

/* Mostly all viewers know the same, and get the same bytes. */
static void tell(struct watch *w)
{
    struct model_mark from = {0}, to = {0};
    struct buf out;
    bool made = false;
    buf_init(&out, STATE_BYTES_MAX);
    for (struct list *it = w->viewers.next, *next; it != &w->viewers; it = next) {
        struct viewer *v = container_of(it, struct viewer, link);
        next = it->next;
        if (!made || !mark_eq(&v->mark, &from)) {
            from = to = v->mark;
            if (event_make(w, &to, &out))
                break;
            made = true;
        }
        if (!http_stream_send(v->stream, buf_str(&out)))
            v->mark = to;
    }
    buf_done(&out);
}

static void on_round(void *ctx)
{
    tell(ctx);
}

/* --- watches --- */

static struct watch *watch_find(struct web_line *line, const char *job)
{
    list_each(it, &line->watches)
    {
        struct watch *h = container_of(it, struct watch, link);
        if (!h->ending && strcmp(h->job, job) == 0)
            return h;
    }
    return NULL;
}

static struct watch *watch_new(struct web_line *line, const char *job, struct err *err)
{
    struct web *w = line->web;
    struct watch *h = w->watch_count < WEB_WATCHES_MAX ? mem_zalloc(sizeof *h) : NULL;
    if (!h) {
        err_set(err, TTG_EFULL, "too many jobs are watched");
        return NULL;
    }
    struct feed_config config = {.queue = line->queue,
                                 .loop = w->config.loop,
                                 .job = job[0] ? job : NULL,
                                 .period_ms = WEB_PERIOD_MS,
                                 .server = &line->config,
                                 .management = w->config.management,
                                 .ctx = h,
                                 .on_round = on_round};
    h->line = line;
    snprintf(h->job, sizeof h->job, "%s", job);
    list_init(&h->viewers);
    if (feed_open(&h->feed, &config, err)) {
        mem_free(h);
        return NULL;
    }
    list_push_back(&line->watches, &h->link);
    w->watch_count++;
    return h;
}

static void watch_drop(struct watch *h)
{
    for (struct list *it; (it = list_first(&h->viewers));) {
        struct viewer *v = container_of(it, struct viewer, link);
        http_stream_close(v->stream);
        viewer_free(v);
    }
    feed_close(h->feed);
    list_remove(&h->link);
    h->line->web->watch_count--;
    mem_free(h);
}

/* Who walks through many jobs leaves watches behind: one that nobody looks at makes room. */
static void make_room(struct web *w)
{
    list_each(at, &w->lines)
    {
        struct web_line *line = container_of(at, struct web_line, link);
        list_each(it, &line->watches)
        {
            struct watch *h = container_of(it, struct watch, link);
            if (!list_empty(&h->viewers) || feed_busy(h->feed))
                continue;
            watch_drop(h);
            return;
        }
    }
}

void web_watch_request(struct web *w, struct http_exchange *x, const struct http_request *r)
{
    char job[MODEL_NAME_BYTES] = "";
    struct err err = {0};
    if (!http_param(r->query, "job", job, sizeof job) && w->config.job)
        snprintf(job, sizeof job, "%s", w->config.job);
    struct web_line *line = web_line(w, job, &err);
    struct watch *h = line ? watch_find(line, job) : NULL;
    if (!h && line && w->watch_count == WEB_WATCHES_MAX)
        make_room(w);
    if (!h && line)
        h = watch_new(line, job, &err);
    struct viewer *v = h ? mem_zalloc(sizeof *v) : NULL;
    if (!v) {
        http_answer_text(x, "503 Service Unavailable", err.code ? err.text : "out of memory");
        return;
    }
    list_init(&v->link);
    v->stream = http_stream(x, "text/event-stream; charset=utf-8", NULL, v, on_viewer_closed);
    if (!v->stream) {
        mem_free(v);
        return;
    }
    list_push_back(&h->viewers, &v->link);
    h->idle_since_ms = line->idle_since_ms = 0;
    tell(h); /* at once: what is known */
}

void web_watch_link(struct web_line *line, bool up, const struct err *why)
{
    list_each(it, &line->watches) feed_link(container_of(it, struct watch, link)->feed, up, why);
}

void web_watch_hurry(struct web_line *line)
{
    list_each(it, &line->watches) feed_hurry(container_of(it, struct watch, link)->feed);
}

bool web_watch_sweep(struct web_line *line, uint64_t now_ms)
{
    bool watched = false;
    for (struct list *it = line->watches.next, *next; it != &line->watches; it = next) {
        struct watch *h = container_of(it, struct watch, link);
        next = it->next;
        if (!list_empty(&h->viewers)) {
            watched = true;
        } else if (h->idle_since_ms == 0) {
            h->idle_since_ms = now_ms;
        } else if (now_ms - h->idle_since_ms >= WATCH_IDLE_MS) {
            h->ending = true;
            feed_stop(h->feed);
            if (!feed_busy(h->feed))
                watch_drop(h);
        }
    }
    return watched;
}

void web_watch_stop(struct web_line *line)
{
    list_each(it, &line->watches) feed_stop(container_of(it, struct watch, link)->feed);
}

void web_watch_free(struct web_line *line)
{
    for (struct list *it; (it = list_first(&line->watches));)
        watch_drop(container_of(it, struct watch, link));
}
