/* SPDX-License-Identifier: Apache-2.0 */
/* redis - a plain Redis as a queue: scripts, made from src/queue/redis/ at build time, and which
 * server runs them. */
#ifndef TTG_QUEUE_REDIS_H
#define TTG_QUEUE_REDIS_H

#include "queue/resp.h"

enum { REDIS_SEQ_BITS = 22 }; /* of a cursor; milliseconds above them */

struct redis_script {
    const char *name, *sha, *text;
};

extern const struct redis_script redis_scripts[]; /* ends with a NULL name */

/* "MS-SEQ" */
bool redis_cursor_of(struct str id, uint64_t *ret_cursor);
/* An array of "NUMBER ID MS-SEQ COUNT CHUNK", newest first. */
bool redis_read_history(struct resp_cursor *c, struct history *ret_history);
/* Whether what was read up to the cursor is still true: TTG_ESTALE, TTG_ERANGE, see QUEUE_RESULTS.
 * Keeps `now` in the request. */
int redis_check_history(struct queue_results *r, const struct history *now, struct err *err);

/* The greeting: is it the master, and which one? See struct resp_dialect. */
int redis_greet(struct resp_engine *e, struct buf *out);
int redis_greeted(struct resp_engine *e, struct str reply, struct err *err);

#endif
