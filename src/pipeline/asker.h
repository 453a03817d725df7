/* SPDX-License-Identifier: Apache-2.0 */
/* asker - a coprocess of a stage that is asked one thing at a time: a line in, a line out. */
#ifndef TTG_PIPELINE_ASKER_H
#define TTG_PIPELINE_ASKER_H

#include "base/buf.h"
#include "worker/kernel.h"

struct part;
struct asker;

/* The answer; views until the next question. */
typedef void asker_on_answer(void *ctx, const struct kernel_result *answer);

int asker_open(struct asker **ret_ask, struct part *p, asker_on_answer *on_answer, void *ctx,
               struct err *err);
/* NULL is fine. */
void asker_close(struct asker *a);

/* Where the question is put together: one line with its newline. */
struct buf *asker_line(struct asker *a);
/* True: the answer is there already, and on_answer is not called. */
bool asker_start(struct asker *a, uint32_t attempt, struct kernel_result *ret_answer);
/* No answer to what was asked: false when it still has to end; ask again soon. */
bool asker_forget(struct asker *a);

#endif
