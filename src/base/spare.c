/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spare.h"

#include "base/mem.h"

#include <stdatomic.h>

/* What stands in a piece that is kept. */
struct piece {
    size_t bytes;
};

static _Atomic(struct piece *) pieces[SPARE_PIECES];

static bool keep(struct piece *p)
{
    for (int i = 0; i < SPARE_PIECES; i++) {
        struct piece *none = NULL;
        if (atomic_compare_exchange_strong(&pieces[i], &none, p))
            return true;
    }
    return false;
}

void *spare_take(size_t bytes, size_t *ret_bytes)
{
    if (bytes < SPARE_BYTES_MIN || bytes > SPARE_BYTES_MAX)
        return NULL;
    for (int i = 0; i < SPARE_PIECES; i++) {
        /* Its size may be read only by whoever has it. */
        struct piece *p = atomic_load(&pieces[i]) ? atomic_exchange(&pieces[i], NULL) : NULL;
        if (!p)
            continue;
        if (p->bytes >= bytes && p->bytes / SPARE_WASTE <= bytes) {
            *ret_bytes = p->bytes;
            return p;
        }
        if (!keep(p))
            mem_free(p);
    }
    return NULL;
}

bool spare_give(void *piece, size_t bytes)
{
    if (!piece || bytes < SPARE_BYTES_MIN || bytes > SPARE_BYTES_MAX)
        return false;
    struct piece *p = piece;
    p->bytes = bytes;
    return keep(p);
}

void spare_free(void *piece, size_t bytes)
{
    if (!spare_give(piece, bytes))
        mem_free(piece);
}

void spare_drop(void)
{
    for (int i = 0; i < SPARE_PIECES; i++)
        mem_free(atomic_exchange(&pieces[i], NULL));
}
