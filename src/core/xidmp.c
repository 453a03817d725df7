/* SPDX-License-Identifier: Apache-2.0 */
/* xidmp - XCFGSET, and in snapshots what streams know beyond Redis 7: producers, released entries.
 */
#include "base/err.h"
#include "base/hash.h"
#include "core/stream_idmp.h"
#include "core/xcmd.h"

static bool parse_number(struct core_call *call, size_t i, int64_t max, const char *complaint,
                         uint64_t *ret_value)
{
    int64_t value;
    if (!arg_i64(call, i, NULL, &value))
        return false;
    if (value < 1 || value > max) {
        reply_error(call->reply, "ERR %s", complaint);
        return false;
    }
    *ret_value = (uint64_t)value;
    return true;
}

/* 0: not given. */
static bool parse(struct core_call *call, uint64_t *ret_duration_s, uint64_t *ret_ids_max)
{
    *ret_duration_s = *ret_ids_max = 0;
    for (size_t i = 2; i < call->argc; i += 2) {
        bool more = i + 1 < call->argc, fits = false;
        if (more && arg_is(call, i, "IDMP-DURATION"))
            fits =
                parse_number(call, i + 1, IDMP_DURATION_S_MAX,
                             "IDMP-DURATION must be between 1 and 86400 seconds", ret_duration_s);
        else if (more && arg_is(call, i, "IDMP-MAXSIZE"))
            fits = parse_number(call, i + 1, IDMP_IDS_MAX,
                                "IDMP-MAXSIZE must be between 1 and 10000 entries", ret_ids_max);
        else
            reply_syntax(call->reply);
        if (!fits)
            return false;
    }
    return true;
}

void xcfgset(struct core *c, struct core_call *call)
{
    uint64_t duration_s, ids_max;
    struct stream *s;
    if (!parse(call, &duration_s, &ids_max) || !arg_stream(c, call, 1, &s))
        return;
    if (!s) {
        reply_no_key(call->reply);
        return;
    }
    if (!arg_unguarded(call, s))
        return;
    struct stream_idmp *m = s->idmp ? s->idmp : idmp_new();
    if (!m) {
        reply_no_memory(call->reply);
        return;
    }
    duration_s = duration_s ? duration_s : m->duration_s;
    ids_max = ids_max ? ids_max : m->ids_max;
    bool other = duration_s != m->duration_s || ids_max != m->ids_max;
    if (other)
        idmp_clear(m);
    m->duration_s = duration_s;
    m->ids_max = ids_max;
    call->changed = other || !s->idmp;
    s->idmp = m;
    reply_status(call->reply, "OK");
}

static struct stream_idmp *of_key(const struct key *k)
{
    return k->type == KEY_STREAM ? k->stream->idmp : NULL;
}

enum extra { EXTRA_END, EXTRA_PRODUCERS, EXTRA_RELEASED };

void xidmp_save(const struct core *c, struct core_saver *out)
{
    for (struct key *k = key_from(c, 0); k; k = key_next(k)) {
        if (of_key(k)) {
            pack_u64(&out->p, EXTRA_PRODUCERS);
            pack_str(&out->p, k->name);
            idmp_save(of_key(k), out);
        }
        if (k->type == KEY_STREAM && stream_has_released(k->stream)) {
            pack_u64(&out->p, EXTRA_RELEASED);
            pack_str(&out->p, k->name);
            stream_released_save(k->stream, out);
        }
    }
    pack_u64(&out->p, EXTRA_END);
}

void xidmp_load(struct core *c, struct unpacker *u)
{
    uint64_t kind;
    while ((kind = unpack_u64(u)) != EXTRA_END && !u->rc) {
        struct stream *s = key_stream(c, unpack_str(u));
        if (s && kind == EXTRA_PRODUCERS && !s->idmp)
            s->idmp = idmp_load(u);
        else if (s && kind == EXTRA_RELEASED && !stream_has_released(s))
            stream_released_load(s, u);
        else
            u->rc = TTG_ECORRUPT;
    }
}

uint64_t xidmp_digest(const struct core *c)
{
    uint64_t sum = 0;
    for (struct key *k = key_from(c, 0); k; k = key_next(k))
        if (of_key(k))
            sum = hash_xxh3(k->name.ptr, k->name.len, sum + idmp_digest(of_key(k)));
    return sum;
}
