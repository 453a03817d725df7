/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics of a monitor: the jobs of its queue, asked for when somebody asks. So jobs on a plain
 * Redis have figures, too. */
#include "base/mem.h"
#include "io/figures.h"
#include "monitor/web_state.h"
#include "wire/job_metrics.h"

#include <stdio.h>

struct scrape {
    struct web *web;
    struct web_line *line;
    struct http_exchange *x; /* NULL: who asked has gone */
    struct queue_list list;
    struct queue_status status;
    size_t count, at; /* jobs; the one being asked for */
    struct scrape_job {
        char name[MODEL_NAME_BYTES];
    } names[JOB_METRICS_MAX];
    struct job_metrics rows[JOB_METRICS_MAX];
    bool reached;
};

static void write_figures(void *ctx, struct buf *out)
{
    struct scrape *s = ctx;
    metric_one(out, "ttg_monitor_queue_up", "gauge", "1 when the queue has answered.", s->reached);
    metric_one(out, "ttg_monitor_watches", "gauge", "Jobs that somebody looks at.",
               s->web->watch_count);
    job_metrics_write(out, s->rows, s->count);
}

static void scrape_end(struct scrape *s)
{
    if (s->x)
        figures_answer(s->x, "monitor", write_figures, s);
    if (s->line)
        s->line->action_count--;
    queue_request_done(&s->list.call.request);
    queue_request_done(&s->status.call.request);
    mem_free(s);
}

static void next_job(struct scrape *s)
{
    if (s->at == s->count) {
        scrape_end(s);
        return;
    }
    s->status.call.job = str_of(s->names[s->at].name);
    queue_send(s->line->queue, &s->status.call.request);
}

static void on_status(struct queue_request *r, int rc, const struct err *err)
{
    struct scrape *s = r->ctx;
    (void)err;
    s->reached = s->reached || (rc != TTG_ECANCELED && rc != TTG_EUNREACH && rc != TTG_ETIMEOUT);
    if (rc == TTG_ECANCELED) {
        s->count = s->at;
    } else if (rc) { /* gone meanwhile */
        s->names[s->at] = s->names[--s->count];
    } else {
        s->rows[s->at] =
            (struct job_metrics){.job = str_of(s->names[s->at].name), .status = s->status.status};
        s->at++;
    }
    next_job(s);
}

/* A broker lists no jobs, and a connection to it is for one: for the one that it shows. */
static void only_one(struct scrape *s)
{
    const char *job = s->web->config.job ? s->web->config.job : "default";
    snprintf(s->names[0].name, sizeof s->names[0].name, "%s", job);
    s->count = 1;
}

static void on_list(struct queue_request *r, int rc, const struct err *err)
{
    struct scrape *s = r->ctx;
    (void)err;
    s->reached = !rc;
    for (size_t i = s->list.count; !rc && i-- > 0 && s->count < JOB_METRICS_MAX;) {
        struct str job = s->list.jobs[i].job;
        if (job.len < MODEL_NAME_BYTES)
            memcpy(s->names[s->count++].name, job.ptr, job.len);
    }
    if (rc == TTG_EUNSUPPORTED)
        only_one(s);
    next_job(s);
}

static void on_closed(void *owner)
{
    ((struct scrape *)owner)->x = NULL;
}

void web_metrics(struct web *w, struct http_exchange *x)
{
    struct err err = {0};
    struct scrape *s = mem_zalloc(sizeof *s);
    if (!s) {
        http_answer_text(x, "503 Service Unavailable", "out of memory\n");
        return;
    }
    s->web = w;
    s->x = x;
    queue_request_init(&s->list.call.request, QUEUE_LIST, on_list, s);
    queue_request_init(&s->status.call.request, QUEUE_STATUS, on_status, s);
    s->line = web_line(w, "", &err);
    if (!s->line) {
        scrape_end(s);
        return;
    }
    s->line->action_count++;
    http_later(x, s, on_closed);
    if (queue_is_up(s->line->queue) || queue_pending(s->line->queue) == 0)
        queue_send(s->line->queue, &s->list.call.request);
    else
        scrape_end(s); /* it is away: that is the answer */
}
