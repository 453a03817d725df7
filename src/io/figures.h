/* SPDX-License-Identifier: Apache-2.0 */
/* figures - /metrics, /healthz and /readyz of any process of ttg, and its own figures. */
#ifndef TTG_IO_FIGURES_H
#define TTG_IO_FIGURES_H

#include "base/metric.h"
#include "io/http.h"

/* Of this process, from the system. */
void figures_process(struct process_figures *ret_figures);

struct figures_config {
    const char *address, *kind; /* "worker" */
    void *ctx;
    void (*write)(void *ctx, struct buf *out); /* the rest of /metrics */
    bool (*ready)(void *ctx);                  /* NULL: always */
    /* Other paths; may be NULL. */
    void (*on_request)(void *ctx, struct http_exchange *x, const struct http_request *r);
};

struct figures {
    struct figures_config config;
    struct http_server *http;
};
/* `f` stays where it is. */
int figures_open(struct figures *f, struct loop *loop, const struct figures_config *config,
                 struct err *err);
/* Harmless when not open (and zeroed). */
void figures_close(struct figures *f);

/* Answers with what `write` and the process say. */
void figures_answer(struct http_exchange *x, const char *kind,
                    void (*write)(void *ctx, struct buf *out), void *ctx);

#endif
