/* SPDX-License-Identifier: Apache-2.0 */
#include "core/args.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdio.h>

enum { ID_TEXT_BYTES_MAX = 127 };

/* One spelling per number: no leading zeros, no plus. */
bool args_parse_i64(struct str s, int64_t *ret_value)
{
    size_t sign = s.len > 0 && s.ptr[0] == '-';
    bool zero_first = s.len > sign && s.ptr[sign] == '0';
    if (zero_first && s.len > 1)
        return false;
    return str_to_i64(s, ret_value) == 0;
}

bool arg_i64(struct core_call *call, size_t i, const char *complaint, int64_t *ret_value)
{
    if (args_parse_i64(call->argv[i], ret_value))
        return true;
    reply_error(call->reply, "ERR %s",
                complaint ? complaint : "value is not an integer or out of range");
    return false;
}

bool args_parse_id(struct str s, uint64_t seq_missing, bool strict, bool *ret_auto,
                   struct stream_id *ret_id)
{
    if (ret_auto)
        *ret_auto = false;
    if (s.len > ID_TEXT_BYTES_MAX)
        return false;
    if (s.len == 1 && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        *ret_id = s.ptr[0] == '-' ? STREAM_ID_MIN : STREAM_ID_MAX;
        return !strict;
    }
    struct str seq, ms = str_cut(s, '-', &seq);
    struct stream_id id = {.seq = seq_missing};
    if (str_to_u64(ms, &id.ms))
        return false;
    if (ret_auto && str_eq(seq, STR("*"))) {
        *ret_auto = true;
        id.seq = 0;
    } else if (seq.ptr && str_to_u64(seq, &id.seq)) {
        return false;
    }
    *ret_id = id;
    return true;
}

static void reply_bad_id(struct reply *r)
{
    reply_error(r, "ERR Invalid stream ID specified as stream command argument");
}

bool arg_id(struct core_call *call, size_t i, uint64_t seq_missing, bool strict,
            struct stream_id *ret_id)
{
    if (args_parse_id(call->argv[i], seq_missing, strict, NULL, ret_id))
        return true;
    reply_bad_id(call->reply);
    return false;
}

static bool range_end(struct core_call *call, size_t i, bool is_start, struct stream_id *ret_id)
{
    struct str s = call->argv[i];
    bool open = s.len > 1 && s.ptr[0] == '(';
    if (open)
        s = str_make(s.ptr + 1, s.len - 1);
    struct stream_id id;
    if (!args_parse_id(s, is_start ? 0 : UINT64_MAX, open, NULL, &id)) {
        reply_bad_id(call->reply);
        return false;
    }
    if (open && !(is_start ? stream_id_next(&id) : stream_id_prev(&id))) {
        reply_error(call->reply, "ERR invalid %s ID for the interval", is_start ? "start" : "end");
        return false;
    }
    *ret_id = id;
    return true;
}

bool arg_range_start(struct core_call *call, size_t i, struct stream_id *ret_from)
{
    return range_end(call, i, true, ret_from);
}

bool arg_range(struct core_call *call, size_t from_at, size_t to_at, struct stream_id *ret_from,
               struct stream_id *ret_to)
{
    return range_end(call, from_at, true, ret_from) && range_end(call, to_at, false, ret_to);
}

void reply_syntax(struct reply *r)
{
    reply_error(r, "ERR syntax error");
}

void reply_wrong_type(struct reply *r)
{
    reply_error(r, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

void reply_no_memory(struct reply *r)
{
    reply_error(r, "OOM not enough memory for this command");
}

void reply_no_key(struct reply *r)
{
    reply_error(r, "ERR no such key");
}

void reply_failure(struct reply *r, int rc)
{
    if (rc == TTG_ENOMEM)
        reply_no_memory(r);
    else if (rc == TTG_EFULL)
        reply_error(r, "ERR Elements are too large to be stored");
    else
        reply_error(r, "ERR old entries cannot be read back from disk: %s", err_text(rc));
}

void reply_arity(struct core_call *call, const char *name)
{
    reply_error(call->reply, "ERR wrong number of arguments for '%s' command", name);
}

void reply_id(struct reply *r, struct stream_id id)
{
    char text[41];
    if (!r->out)
        return;
    size_t n = str_from_u64(text, id.ms);
    text[n++] = '-';
    n += str_from_u64(text + n, id.seq);
    reply_str(r, str_make(text, n));
}

void reply_help(struct reply *r, const char *command, const char *const *lines)
{
    size_t mark = reply_open(r), count = 3;
    char text[160];
    snprintf(text, sizeof text,
             "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", command);
    reply_status(r, text);
    for (; *lines; lines++, count++)
        reply_status(r, *lines);
    reply_status(r, "HELP");
    reply_status(r, "    Prints this help.");
    reply_close(r, mark, count);
}

bool arg_stream(struct core *c, struct core_call *call, size_t i, struct stream **ret_stream)
{
    struct key *k = key_find(c, call->argv[i]);
    if (k && k->type != KEY_STREAM) {
        reply_wrong_type(call->reply);
        return false;
    }
    *ret_stream = k ? k->stream : NULL;
    return true;
}

bool arg_unguarded(struct core_call *call, const struct stream *s)
{
    if (s && s->guard)
        reply_error(call->reply, "ERR %s", s->guard);
    return !s || !s->guard;
}

bool id_list_init(struct id_list *l, struct core_call *call, size_t count)
{
    l->ids = l->few;
    if (count > sizeof l->few / sizeof *l->few)
        l->ids = mem_array(count, sizeof *l->ids);
    if (!l->ids)
        reply_no_memory(call->reply);
    return l->ids;
}

void id_list_done(struct id_list *l)
{
    if (l->ids != l->few)
        mem_free(l->ids);
}
