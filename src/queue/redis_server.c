/* SPDX-License-Identifier: Apache-2.0 */
/* Which Redis it is that serves, and whether what was read from it, or from another one before it,
 * is still true (docs/decisions/redis-failover.md). */
#include "queue/redis.h"

#include <stdio.h>

bool redis_cursor_of(struct str id, uint64_t *ret_cursor)
{
    struct str seq;
    struct str ms = str_cut(id, '-', &seq);
    uint64_t a, b;
    if (str_to_u64(ms, &a) || str_to_u64(seq, &b) || a >> 42 || b >> REDIS_SEQ_BITS)
        return false;
    *ret_cursor = a << REDIS_SEQ_BITS | b;
    return true;
}

/* "NUMBER ID MS-SEQ COUNT CHUNK", newest first. */
bool redis_read_history(struct resp_cursor *c, struct history *ret_history)
{
    size_t count;
    if (!resp_next_array(c, &count) || count > HISTORY_MAX)
        return false;
    ret_history->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct str line, rest;
        char text[256];
        uint64_t cursor;
        if (!resp_next_str(c, &line))
            return false;
        struct str number = str_cut(line, ' ', &rest), id = str_cut(rest, ' ', &rest);
        if (!rest.ptr || !redis_cursor_of(str_cut(rest, ' ', &rest), &cursor) || !rest.ptr)
            return false;
        snprintf(text, sizeof text, "%.*s %.*s %llu %.*s", STR_ARG(number), STR_ARG(id),
                 (unsigned long long)cursor, STR_ARG(rest));
        if (!history_add(ret_history, str_of(text)))
            return false;
    }
    return true;
}

/* Whether what was read up to the cursor is still true. */
int redis_check_history(struct queue_results *r, const struct history *now, struct err *err)
{
    struct history mine;
    struct history_entry fork;
    if (!history_read(&mine, str_of(r->history)))
        return err_set(err, TTG_EINVAL, "the history of the cursor is no history");
    enum history_verdict verdict = history_compare(&mine, now, &fork);
    if (verdict == HISTORY_UNKNOWN)
        return err_set(err, TTG_ERANGE, "CURSOR of another history");
    history_write(now, r->history);
    if (verdict == HISTORY_SAME || r->cursor <= fork.cursor)
        return 0;
    r->last = fork.cursor;
    r->kept = fork.count;
    r->kept_chunk = fork.chunk;
    return err_set(err, TTG_ESTALE, "the server lost its newest changes");
}

/* --- the greeting: is it the master, and which one? --- */

int redis_greet(struct resp_engine *e, struct buf *out)
{
    static const char *const sections[] = {"server", "replication"};
    int rc = resp_command(out, 1) | resp_word(out, STR("PING"));
    memset(e->server, 0, sizeof e->server);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        rc |= resp_command(out, 2) | resp_word(out, STR("INFO")) |
              resp_word(out, str_of(sections[i]));
    return rc ? TTG_ENOMEM : 3;
}

/* The value of "name:value" in INFO's lines; empty when it is not there. */
static struct str info_value(struct str info, struct str name)
{
    while (info.ptr && info.len > 0) {
        struct str value, line = str_cut(info, '\n', &info);
        struct str key = str_cut(line, ':', &value);
        if (value.ptr && str_eq(key, name))
            return str_trim(value);
    }
    return STR("");
}

/* A server without INFO (rights, or something that only speaks the protocol) has no identity. */
int redis_greeted(struct resp_engine *e, struct str reply, struct err *err)
{
    enum { PART = 8 };
    struct resp_cursor c = resp_cursor_of(reply);
    struct resp_value v;
    if (e->hello_left >= 2 || !resp_next(&c, &v))
        return 0; /* PING, and what comes before */
    if (v.type == RESP_ERROR && !str_starts(v.s, STR("NOPERM")) && !str_starts(v.s, STR("ERR")))
        return 0;
    struct str run = v.type == RESP_STR ? info_value(v.s, STR("run_id")) : STR("");
    struct str replication = v.type == RESP_STR ? info_value(v.s, STR("master_replid")) : STR("");
    if (v.type == RESP_STR && str_eq(info_value(v.s, STR("role")), STR("slave")))
        return err_set(err, TTG_EAGAIN, "READONLY this server is a replica");
    if (run.len >= PART)
        memcpy(e->server, run.ptr, PART);
    if (replication.len >= PART && e->server[0])
        memcpy(e->server + PART, replication.ptr, PART);
    else if (e->hello_left == 0)
        e->server[0] = '\0';
    if (strspn(e->server, "0123456789abcdefghijklmnopqrstuvwxyz") < strlen(e->server))
        e->server[0] = '\0'; /* nothing that a history could keep */
    return 1;
}
