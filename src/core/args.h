/* SPDX-License-Identifier: Apache-2.0 */
/* args - reading a command's words, with the error answers that clients know. Each function that
 * returns false has answered. */
#ifndef TTG_CORE_ARGS_H
#define TTG_CORE_ARGS_H

#include "core/keys.h"
#include "core/stream.h"

static inline bool arg_is(const struct core_call *call, size_t i, const char *word)
{
    return str_eq_nocase(call->argv[i], str_of(word));
}

/* A whole number; `complaint` NULL: "value is not an integer or out of range". */
bool arg_i64(struct core_call *call, size_t i, const char *complaint, int64_t *ret_value);
/* The same without an answer. */
bool args_parse_i64(struct str s, int64_t *ret_value);

/* "5-3", or "5" with `seq_missing`. `ret_auto` (may be NULL) allows "5-*". `strict` refuses the
 * short forms "-" and "+". */
bool args_parse_id(struct str s, uint64_t seq_missing, bool strict, bool *ret_auto,
                   struct stream_id *ret_id);
bool arg_id(struct core_call *call, size_t i, uint64_t seq_missing, bool strict,
            struct stream_id *ret_id);
/* Both ends of an interval, where "(" leaves the end itself out. */
bool arg_range(struct core_call *call, size_t from_at, size_t to_at, struct stream_id *ret_from,
               struct stream_id *ret_to);
bool arg_range_start(struct core_call *call, size_t i, struct stream_id *ret_from);

void reply_syntax(struct reply *r);
void reply_wrong_type(struct reply *r);
void reply_no_memory(struct reply *r);
void reply_no_key(struct reply *r);
void reply_failure(struct reply *r, int rc); /* TTG_E... of a stream function */
/* "wrong number of arguments for 'xadd' command". */
void reply_arity(struct core_call *call, const char *name);
void reply_id(struct reply *r, struct stream_id id);
void reply_help(struct reply *r, const char *command, const char *const *lines);

/* The stream behind argv[i]; NULL in ret_stream when there is no such key. False: another type. */
bool arg_stream(struct core *c, struct core_call *call, size_t i, struct stream **ret_stream);
/* True when nobody guards it. */
bool arg_unguarded(struct core_call *call, const struct stream *s);

/* Room for `count` ids; on the stack if they are few. */
struct id_list {
    struct stream_id few[8], *ids;
};
bool id_list_init(struct id_list *l, struct core_call *call, size_t count);
void id_list_done(struct id_list *l);

#endif
