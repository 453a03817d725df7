/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/run_web.h"

#include "wire/job_metrics.h"

static void write_figures(void *ctx, struct buf *out)
{
    struct run_web *rw = ctx;
    struct job_metrics job = {.job = str_of(rw->job), .status = rw->status};
    figures_of_run(out, &rw->run);
    job_metrics_write(out, &job, rw->has_status);
}

static void on_request(void *ctx, struct http_exchange *x, const struct http_request *r)
{
    struct run_web *rw = ctx;
    web_request(rw->web, x, r);
}

int run_web_open(struct run_web *rw, struct loop *loop, const struct options *o,
                 const struct queue_config *queue, const char *job, struct err *err)
{
    const char *address = option_text(o, OPT_HTTP);
    if (!address)
        return 0;
    int rc = web_access_choose(&rw->access, address, o, err);
    if (rc)
        return rc;
    rw->job = job;
    struct web_config config = {.loop = loop,
                                .queue = *queue,
                                .job = job,
                                .token = rw->access.token,
                                .open = rw->access.local};
    config.queue.retry_ms = web_patience_ms;
    config.queue.client_name = "monitor";
    struct figures_config figures = {.address = address,
                                     .kind = "run",
                                     .ctx = rw,
                                     .write = write_figures,
                                     .on_request = on_request};
    rc = web_open(&rw->web, &config, err);
    if (!rc)
        rc = figures_open(&rw->figures, loop, &figures, err);
    if (!rc)
        web_access_say(&rw->access, "run", http_addr(rw->figures.http));
    return rc;
}

void run_web_close(struct run_web *rw)
{
    figures_close(&rw->figures);
    web_close(rw->web);
    rw->web = NULL;
}
