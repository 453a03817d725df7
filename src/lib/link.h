/* SPDX-License-Identifier: Apache-2.0 */
/* link - a queue that is asked and waited for: what makes calls out of requests.
 *
 * One handle's own loop and connection. Between calls nobody looks at the connection; the next call
 * finds out whether it still stands, and a lost one is opened anew. */
#ifndef TTG_LIB_LINK_H
#define TTG_LIB_LINK_H

#include "io/loop.h"
#include "lib/address.h"

struct link {
    struct address *address;
    struct queue_config config;
    struct loop *loop;
    struct queue *queue; /* NULL: not opened yet, or lost */
    struct loop_timer pause;
    bool pausing, answered;
    bool keep; /* the connection stays between calls also where it costs others something */
    int rc;
    struct err err; /* of the last call that failed */
};

/* Takes the reference. Nothing can fail: the rest happens with the first call. */
void link_init(struct link *l, struct address *address);
void link_done(struct link *l);

/* Sends `r` and waits for its answer. `on_answer` (NULL: nothing to take) is called while its views
 * live, with what the request ended with; what it returns is returned. */
int link_call(struct link *l, struct queue_request *r,
              int (*on_answer)(void *ctx, int rc, struct err *err), void *ctx);

int link_pause(struct link *l, uint64_t ms);
uint64_t link_now_ms(struct link *l);

/* A job's name as the program gives it, NULL being "default"; TTG_EINVAL with a message. */
int link_job(const char *job, struct str *ret_job, struct err *err);

#endif
