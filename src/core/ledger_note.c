/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts that were made and counted elsewhere: see ledger.h. */
#include "core/ledger_state.h"

/* The chunk, if it is open. One that nobody had yet becomes an object. */
static struct ledger_chunk *open_chunk(struct ledger *l, uint64_t chunk, uint64_t now_ms)
{
    if (chunk >= l->fed || l->state == LEDGER_CANCELED)
        return NULL;
    if (chunk >= l->next) {
        if (ledger_reserve(l, chunk - l->next + 1))
            return NULL;
        ledger_chunk_ready(l, ledger_chunk_skip_to(l, chunk, now_ms), NULL, now_ms);
    }
    struct ledger_chunk *c = ledger_chunk_find(l, chunk);
    return c && c->state != CHUNK_DEAD && c->state != CHUNK_DROPPED ? c : NULL;
}

static void raise_attempts(struct ledger *l, struct ledger_chunk *c, uint32_t attempts)
{
    if (attempts <= c->attempts)
        return;
    l->attempts += attempts - c->attempts;
    c->attempts = attempts;
}

bool ledger_note_failure(struct ledger *l, struct str worker, uint64_t chunk, uint32_t attempt,
                         enum ledger_note what, struct str reason, uint64_t now_ms)
{
    bool final = what == LEDGER_NOTE_FINAL, failed = what != LEDGER_NOTE_LOST;
    struct ledger_chunk *c = open_chunk(l, chunk, now_ms);
    struct ledger_worker *w = NULL;
    if (!c || (attempt <= c->attempts && !final))
        return false;
    if (worker.len > 0 && worker.len <= LEDGER_NAME_BYTES_MAX &&
        ledger_join_foreign(l, worker, now_ms, &w) == 0)
        w->failed += failed;
    struct ledger_name *name = w ? w->name : NULL;
    bool told = attempt <= c->attempts;
    raise_attempts(l, c, attempt);
    if (!told) {
        l->failures += failed;
        ledger_reason_add(c, name, reason, now_ms);
    }
    if (!final) {
        ledger_event_add(l, LEDGER_EV_FAILED, now_ms, chunk, 0, name, NULL, reason);
        return true;
    }
    ledger_chunk_leave(l, c);
    ledger_chunk_bury(l, c, false, now_ms);
    ledger_event_add(l, LEDGER_EV_DEAD, now_ms, chunk, c->attempts, name, NULL, reason);
    if (l->ops.on_dead)
        l->ops.on_dead(l->ops.ctx, chunk, w);
    ledger_settle(l, now_ms);
    return true;
}

void ledger_note_attempt(struct ledger *l, uint64_t chunk, uint32_t attempt,
                         const struct ledger_worker *heir, uint64_t now_ms)
{
    struct ledger_chunk *c = open_chunk(l, chunk, now_ms);
    if (!c)
        return;
    if (attempt > 1)
        raise_attempts(l, c, attempt - 1); /* the commit charges the last one */
    if (heir) {
        l->reclaimed++;
        ledger_event_add(l, LEDGER_EV_RECLAIMED, now_ms, chunk, 0, NULL, heir->name, STR(""));
    }
}

void ledger_note_span(struct ledger *l, uint64_t started_ms, uint64_t finished_ms)
{
    uint64_t start_ms = started_ms > l->created_ms ? started_ms : l->created_ms;
    if (started_ms > 0 && (l->started_ms == 0 || start_ms < l->started_ms))
        l->started_ms = start_ms;
    if (finished_ms > 0 && l->finished_ms > 0)
        l->finished_ms = finished_ms > l->started_ms ? finished_ms : l->started_ms;
}
