/* SPDX-License-Identifier: Apache-2.0 */
#include "core/served.h"

#include "base/err.h"

enum { GAP_MS = 2 * CORE_MARK_MS };

void served_note(struct core *c, uint64_t now_ms)
{
    if (now_ms <= c->now_ms)
        return;
    uint64_t gap_ms = now_ms - c->now_ms;
    c->served_ms += gap_ms < GAP_MS ? gap_ms : GAP_MS;
    c->now_ms = now_ms;
}

void served_boot(struct core *c, uint64_t now_ms)
{
    if (now_ms > c->now_ms)
        c->now_ms = now_ms;
}

static void served_save(const struct core *c, struct core_saver *s)
{
    pack_u64(&s->p, c->now_ms);
    pack_u64(&s->p, c->served_ms);
}

static void served_load(struct core *c, struct unpacker *u)
{
    c->now_ms = unpack_u64(u);
    c->served_ms = unpack_u64(u);
    if (!u->rc && (c->now_ms > INT64_MAX || c->served_ms > INT64_MAX))
        u->rc = TTG_ECORRUPT;
}

const struct core_part served_part = {.name = "served", .save = served_save, .load = served_load};
