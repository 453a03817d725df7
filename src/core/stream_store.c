/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream_store.h"

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"

enum { STORE_FIRST = 4 };

size_t store_find(const struct stream *s, struct stream_id id)
{
    if (s->count == 0 || stream_id_cmp(store_block(s, 0)->first, id) > 0)
        return STORE_NONE;
    size_t lo = 0, hi = s->count; /* block lo begins at or before the id, block hi behind it */
    if (stream_id_cmp(store_block(s, hi - 1)->first, id) <= 0)
        return hi - 1;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (stream_id_cmp(store_block(s, mid)->first, id) <= 0)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

int stream_store_reserve(struct stream *s)
{
    if (s->at + s->count < s->cap)
        return 0;
    if (s->at > s->cap / 2) {
        memmove(s->blocks, s->blocks + s->at, s->count * sizeof(struct stream_block *));
        s->at = 0;
        return 0;
    }
    size_t cap = s->cap ? s->cap * 2 : STORE_FIRST;
    struct stream_block **blocks = mem_realloc(s->blocks, cap * sizeof(struct stream_block *));
    if (!blocks)
        return TTG_ENOMEM;
    s->blocks = blocks;
    s->cap = cap;
    return 0;
}

static void spill(struct stream *s, struct stream_block *b)
{
    struct blob_ref ref;
    if (s->env->blob_write(s->env->ctx, str_make(b->data, b->bytes), &ref))
        return; /* it stays in memory; the next block tries again */
    block_give(b);
    b->ref = ref;
    b->spilled = true;
}

void store_push(struct stream *s, struct stream_block *b)
{
    ensure(s->at + s->count < s->cap);
    if (s->count > 0 && !store_block(s, s->count - 1)->spilled)
        block_seal(store_block(s, s->count - 1));
    s->blocks[s->at + s->count++] = b;
    if (!s->spill || !s->env->blob_write || s->count <= STORE_IN_MEMORY)
        return;
    size_t i = s->count - STORE_IN_MEMORY;
    for (int n = 0; n < STORE_SPILL_AT_ONCE && i-- > 0 && !store_block(s, i)->spilled; n++)
        spill(s, store_block(s, i));
}

void store_block_free(struct stream *s, struct stream_block *b)
{
    if (b->spilled && s->env->blob_free)
        s->env->blob_free(s->env->ctx, b->ref);
    block_free(b);
}

void store_drop(struct stream *s, size_t i, size_t n)
{
    ensure(n <= s->count && i <= s->count - n);
    if (n == 0)
        return;
    struct stream_block **at = s->blocks + s->at + i;
    for (size_t k = 0; k < n; k++)
        store_block_free(s, at[k]);
    s->count -= n;
    if (i == 0)
        s->at += n;
    else
        memmove(at, at + n, (s->count - i) * sizeof(struct stream_block *));
    if (s->count == 0)
        s->at = 0;
}

int stream_store_read(const struct stream *s, const struct stream_block *b, struct buf *out)
{
    ensure(b->spilled);
    buf_clear(out);
    if (!s->env->blob_read)
        return TTG_EIO;
    int rc = s->env->blob_read(s->env->ctx, b->ref, out);
    if (!rc && !block_check(b, buf_str(out).ptr, buf_len(out)))
        rc = TTG_ECORRUPT;
    return rc;
}

int store_fetch(struct stream *s, struct stream_block *b)
{
    if (!b->spilled)
        return 0;
    struct buf in;
    buf_init(&in, STORE_BLOCK_BYTES_MAX);
    int rc = stream_store_read(s, b, &in);
    char *data = rc ? NULL : mem_dup(buf_ptr(&in), buf_len(&in));
    buf_done(&in);
    if (!data)
        return rc ? rc : TTG_ENOMEM;
    struct blob_ref ref = b->ref;
    b->spilled = false;
    b->data = data;
    b->cap = b->bytes;
    if (s->env->blob_free)
        s->env->blob_free(s->env->ctx, ref);
    return 0;
}
