/* SPDX-License-Identifier: Apache-2.0 */
/* queue_choice - the queue and the job that a command works on, ready to open. */
#ifndef TTG_CMD_QUEUE_CHOICE_H
#define TTG_CMD_QUEUE_CHOICE_H

#include "cmd/options.h"
#include "queue/queue.h"

struct queue_choice {
    bool given;     /* false: nothing names a queue, the rest is not to be used */
    struct url url; /* what config.url points to: do not move the struct */
    struct queue_config config;
    const char *job; /* "default" unless named */
    bool job_given;
};

/* TTG_EUSAGE with a message. */
int queue_choose(struct queue_choice *ret_choice, const struct command_run *r, struct err *err);

/* A number that no other process has, for incarnations and seeds; below 2^63. */
uint64_t queue_random(void);

#endif
