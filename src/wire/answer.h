/* SPDX-License-Identifier: Apache-2.0 */
/* answer - the line with which a coprocess answers a task line. See docs/kernels.md.
 *
 *     {"result": ANY}                      text as it is, any other value as its JSON
 *     {"sum": INTEGER}                     or in a string, up to 128 bits
 *     {"error": "TEXT", "permanent": BOOL} a failed attempt
 *
 * Exactly one of the three must be there. A "chunk_id" must be the task's; other members are
 * ignored. */
#ifndef TTG_WIRE_ANSWER_H
#define TTG_WIRE_ANSWER_H

#include "base/buf.h"
#include "base/err.h"

enum answer_kind { ANSWER_RESULT, ANSWER_SUM, ANSWER_ERROR };

struct answer {
    enum answer_kind kind;
    __int128 sum;
    bool permanent;
};

/* The text of a result or an error is added to `text`. `chunk_id` is the task's. TTG_EPROTO with a
 * message when the line is no answer to it, TTG_EFULL, TTG_ENOMEM. */
int answer_parse(struct str line, struct str chunk_id, struct answer *ret_answer, struct buf *text,
                 struct err *err);

#endif
