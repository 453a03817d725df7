/* SPDX-License-Identifier: Apache-2.0 */
/* What a monitor draws: all chunks as a strip of cells, leases, and who ran what when. */
#include "base/ensure.h"
#include "base/mem.h"
#include "core/ledger_state.h"

uint64_t ledger_per_cell(const struct ledger *l, uint64_t cells_max)
{
    ensure(cells_max > 0);
    uint64_t whole = l->chunk_count / cells_max;
    return whole + (l->chunk_count % cells_max > 0 || whole == 0);
}

static uint64_t *cell_place(struct ledger_cell *cell, enum chunk_state state)
{
    switch (state) {
    case CHUNK_LEASED:
        return &cell->leased;
    case CHUNK_READY:
        return &cell->ready;
    case CHUNK_DELAYED:
        return &cell->delayed;
    case CHUNK_DEAD:
    case CHUNK_DROPPED:
    case CHUNK_STATES:
        break;
    }
    return &cell->dead;
}

void ledger_cells(const struct ledger *l, uint64_t per_cell, struct ledger_cell *cells)
{
    uint64_t count = l->chunk_count / per_cell + (l->chunk_count % per_cell > 0);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t from = i * per_cell, begun = l->next > from ? l->next - from : 0;
        cells[i] = (struct ledger_cell){.done = begun < per_cell ? begun : per_cell};
    }
    for (const struct map_node *n = NULL; (n = map_next(&l->chunks, n));) {
        const struct ledger_chunk *c = container_of(n, const struct ledger_chunk, node);
        struct ledger_cell *cell = &cells[c->index / per_cell];
        cell->done--;
        ++*cell_place(cell, (enum chunk_state)c->state);
    }
}

bool ledger_lease(const struct ledger_worker *w, uint64_t i, struct ledger_lease *ret_lease)
{
    const struct list *it = w->leases.next;
    for (; it != &w->leases && i > 0; i--)
        it = it->next;
    if (it == &w->leases)
        return false;
    const struct ledger_chunk *c = container_of(it, const struct ledger_chunk, link);
    *ret_lease = (struct ledger_lease){c->index, c->epoch, c->since_ms,
                                       c->charged ? c->attempts : c->attempts + 1};
    return true;
}

/* --- who ran what --- */

const struct ledger_figures *ledger_figures(const struct ledger *l)
{
    return &l->figures;
}

void ledger_ran_add(struct ledger *l, struct ledger_name *by, const struct ledger_result *r)
{
    histogram_add(&l->figures.took, r->duration_us);
    if (!l->ran)
        l->ran = mem_zalloc(LEDGER_RAN_MAX * sizeof *l->ran);
    if (!l->ran)
        return;
    struct ledger_ran_kept *k = &l->ran[r->seq % LEDGER_RAN_MAX];
    ledger_name_free(k->worker);
    *k = (struct ledger_ran_kept){by ? ledger_name_ref(by) : ledger_name_new(r->worker), r->chunk,
                                  r->now_ms, r->duration_us, r->attempt};
}

void ledger_ran_free(struct ledger *l)
{
    for (size_t i = 0; l->ran && i < LEDGER_RAN_MAX; i++)
        ledger_name_free(l->ran[i].worker);
    mem_free(l->ran);
    l->ran = NULL;
}

bool ledger_ran(const struct ledger *l, uint64_t seq, struct ledger_ran *ret_ran)
{
    if (!l->ran || seq > l->result_seq || seq == 0 || l->result_seq - seq >= LEDGER_RAN_MAX)
        return false;
    const struct ledger_ran_kept *k = &l->ran[seq % LEDGER_RAN_MAX];
    if (!k->worker) /* before the snapshot, or no memory */
        return false;
    *ret_ran = (struct ledger_ran){ledger_name_str(k->worker), k->chunk, k->end_ms, k->duration_us,
                                   k->attempt};
    return true;
}
