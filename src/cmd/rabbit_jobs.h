/* SPDX-License-Identifier: Apache-2.0 */
/* rabbit_jobs - the jobs of a RabbitMQ broker, which only its management API can list: each has a
 * queue ttg[.NAME].job, its marker. Other queues are not looked at, whatever their names. */
#ifndef TTG_CMD_RABBIT_JOBS_H
#define TTG_CMD_RABBIT_JOBS_H

#include "base/err.h"

struct loop;
struct queue_config;

/* Turns the loop until all have been named; `on_job` ends it with an error. `given`: the address of
 * the API, or NULL. Errors say how to make it answer. */
int rabbit_jobs(struct loop *loop, const struct queue_config *config, const char *given,
                int (*on_job)(void *ctx, const char *job, struct err *err), void *ctx,
                struct err *err);

#endif
