/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trace.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>

void trace_of(struct trace *t, struct str job, uint64_t created_ms, uint64_t chunk, uint64_t epoch)
{
    *t = (struct trace){{0}, {0}};
    const uint64_t numbers[] = {created_ms, chunk};
    uint64_t high = hash_xxh3_two(job.ptr, job.len, numbers, sizeof numbers, 1);
    uint64_t low = hash_xxh3_two(job.ptr, job.len, numbers, sizeof numbers, 2);
    /* All zeros would be no name. */
    snprintf(t->id, sizeof t->id, "%016" PRIx64 "%016" PRIx64, high, low ? low : 1);
    uint64_t span = hash_u64(epoch ^ low);
    snprintf(t->span, sizeof t->span, "%016" PRIx64, span ? span : 1);
    if (epoch == 0)
        t->span[0] = '\0';
}

void trace_parent(const struct trace *t, char out[TRACE_PARENT_BYTES])
{
    snprintf(out, TRACE_PARENT_BYTES, "00-%s-%s-01", t->id, t->span);
}

struct kv kv_trace(const struct trace *t)
{
    struct kv kv = kv_str("trace_id", t->id);
    kv.type = log_is_json() ? KV_STR : KV_NONE;
    return kv;
}

struct kv kv_span(const struct trace *t)
{
    struct kv kv = kv_str("span_id", t->span);
    kv.type = t->span[0] && log_is_json() ? KV_STR : KV_NONE;
    return kv;
}
