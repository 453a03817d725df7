/* SPDX-License-Identifier: Apache-2.0 */
/* Pending entries that nobody has touched for a while.
 *
 * They are not kept in the order of their delivery, as that would cost each delivery and each
 * acknowledgement something, and few ask. A group knows a bound for its oldest delivery; each look
 * at all of them makes it exact. So as long as nothing is idle, asking costs nothing. */
#include "base/err.h"
#include "base/mem.h"
#include "core/stream.h"

#include <stdlib.h>

enum { IDLE_LOOK_MS = 100 }; /* between looks while something is idle that cannot be had */

struct idle {
    uint64_t delivered_ms;
    struct stream_id id;
};

static bool idle_since(uint64_t delivered_ms, uint64_t now_ms, uint64_t idle_ms)
{
    return delivered_ms <= now_ms && now_ms - delivered_ms >= idle_ms;
}

static struct stream_pending *first_pending(const struct stream_group *g)
{
    return stream_pending_from(g, NULL, STREAM_ID_MIN);
}

bool stream_idle_any(struct stream_group *g, uint64_t now_ms, uint64_t idle_ms)
{
    if (g->pending.count == 0 || !idle_since(g->oldest_ms, now_ms, idle_ms))
        return false;
    uint64_t oldest_ms = UINT64_MAX;
    for (struct stream_pending *p = first_pending(g); p; p = stream_pending_next(p, false)) {
        if (!p->owner && idle_since(p->delivered_ms, now_ms, idle_ms) &&
            stream_has(g->stream, p->id))
            return true;
        if (p->delivered_ms < oldest_ms)
            oldest_ms = p->delivered_ms;
    }
    g->oldest_ms = oldest_ms;
    return false;
}

static int by_delivery(const void *one, const void *other)
{
    const struct idle *a = one, *b = other;
    if (a->delivered_ms != b->delivered_ms)
        return a->delivered_ms < b->delivered_ms ? -1 : 1;
    return stream_id_cmp(a->id, b->id);
}

int stream_idle_list(struct stream_group *g, uint64_t now_ms, uint64_t idle_ms,
                     struct stream_id **ret_ids, size_t *ret_count)
{
    size_t count = 0;
    *ret_ids = NULL;
    *ret_count = 0;
    if (g->pending.count == 0)
        return 0;
    struct idle *found = mem_alloc(g->pending.count * sizeof *found);
    struct stream_id *ids = mem_alloc(g->pending.count * sizeof *ids);
    if (!found || !ids) {
        mem_free(found);
        mem_free(ids);
        return TTG_ENOMEM;
    }
    for (struct stream_pending *p = first_pending(g); p; p = stream_pending_next(p, false))
        if (!p->owner && idle_since(p->delivered_ms, now_ms, idle_ms))
            found[count++] = (struct idle){p->delivered_ms, p->id};
    qsort(found, count, sizeof *found, by_delivery);
    for (size_t i = 0; i < count; i++)
        ids[i] = found[i].id;
    mem_free(found);
    *ret_ids = ids;
    *ret_count = count;
    return 0;
}

uint64_t stream_idle_next_ms(const struct stream_group *g, uint64_t now_ms, uint64_t idle_ms)
{
    uint64_t from_ms = g->pending.count > 0 && g->oldest_ms < now_ms ? g->oldest_ms : now_ms;
    uint64_t next_ms = idle_ms > UINT64_MAX - from_ms ? UINT64_MAX : from_ms + idle_ms;
    return next_ms > now_ms + IDLE_LOOK_MS ? next_ms : now_ms + IDLE_LOOK_MS;
}
