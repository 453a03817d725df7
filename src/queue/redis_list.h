/* SPDX-License-Identifier: Apache-2.0 */
/* redis_list - the jobs of a Redis Cluster, looked for on all its masters.
 *
 * A job's keys lie together in the job's slot, and no slot knows of the others. So each master is
 * asked for keys that look like a job's (SCAN), and for what those hold. One master after the
 * other; on a large cluster this takes its time, but holds nobody up. */
#ifndef TTG_QUEUE_REDIS_LIST_H
#define TTG_QUEUE_REDIS_LIST_H

#include "queue/engine.h"

struct redis_list;
struct tls;

/* Takes the request off its queue and ends it with queue_finish, from the loop. */
int redis_list_start(struct redis_list **ret_list, struct queue_list *request, struct tls *tls,
                     struct err *err);
/* The request is given back if it has not ended. NULL is fine. */
void redis_list_stop(struct redis_list *l);

#endif
