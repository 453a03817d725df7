/* SPDX-License-Identifier: Apache-2.0 */
/* pipe_impl - one table of functions for each kind of engine behind a pipe. */
#ifndef TTG_QUEUE_PIPE_IMPL_H
#define TTG_QUEUE_PIPE_IMPL_H

#include "queue/pipe.h"

#include <stdbool.h>

struct pipe_engine {
    void (*close)(struct pipe *p);
    int (*commit)(struct pipe *p, const struct pipe_out *outs, size_t out_count, uint64_t acked);
    int (*remove)(struct pipe *p);
    void (*look)(struct pipe *p);
};

struct pipe {
    const struct pipe_engine *engine;
    struct pipe_config config;
    struct loop *loop;
    uint64_t *lengths; /* of the downs */
    bool ready, committing, lost;
};

/* Tells the owner that it is over; once. */
void pipe_lose(struct pipe *p, const struct err *err);

struct pipe *pipe_resp_new(struct loop *loop, const struct pipe_config *config, struct err *err);
struct pipe *pipe_amqp_new(struct loop *loop, const struct pipe_config *config, struct err *err);

#endif
