/* SPDX-License-Identifier: Apache-2.0 */
/* run_web - `ttg run --http`: figures of the run and its job, and the dashboard of its queue. */
#ifndef TTG_CMD_RUN_WEB_H
#define TTG_CMD_RUN_WEB_H

#include "cmd/figures_text.h"
#include "cmd/monitor_web.h"
#include "io/figures.h"

struct run_web {
    struct figures figures;
    struct web *web;
    struct web_access access;
    struct run_figures run;
    struct ledger_status status; /* the newest */
    bool has_status;
    const char *job;
};

/* Without --http nothing happens. Close it also after a failure. `queue` is copied. */
int run_web_open(struct run_web *rw, struct loop *loop, const struct options *o,
                 const struct queue_config *queue, const char *job, struct err *err);
/* Before the loop is closed. */
void run_web_close(struct run_web *rw);

#endif
