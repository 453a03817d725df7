/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream_store.h"

static bool open_block(struct stream_iter *it)
{
    const struct stream_block *b = store_block(it->s, it->block);
    it->data = b->data;
    if (b->spilled) {
        it->rc = stream_store_read(it->s, b, &it->spilled);
        if (it->rc)
            return false;
        it->data = buf_ptr(&it->spilled);
    }
    it->end = it->data + b->bytes;
    it->at = it->reverse ? it->end : it->data + b->skip;
    return true;
}

void stream_iter_open(struct stream_iter *it, const struct stream *s, struct stream_id from,
                      struct stream_id to, bool reverse)
{
    *it = (struct stream_iter){.s = s, .from = from, .to = to, .reverse = reverse};
    buf_init(&it->spilled, STORE_BLOCK_BYTES_MAX);
    size_t start = stream_id_cmp(from, to) > 0 ? STORE_NONE : store_find(s, reverse ? to : from);
    if (start == STORE_NONE && !reverse && s->count > 0)
        start = 0; /* all blocks begin behind `from` */
    it->block = start;
}

void stream_iter_close(struct stream_iter *it)
{
    buf_done(&it->spilled);
}

/* The next entry of the open block, deleted ones too. */
static bool step(struct stream_iter *it, const struct stream_block *b, struct block_entry *ret)
{
    if (!it->reverse) {
        if (it->at == it->end)
            return false;
        block_parse(b, it->at, ret);
        it->at = ret->next;
        return true;
    }
    if (it->at == it->data + b->skip)
        return false;
    it->at = block_before(it->at);
    block_parse(b, it->at, ret);
    return true;
}

static void describe(const struct stream_iter *it, const struct block_entry *e,
                     struct stream_entry *ret_entry)
{
    uint64_t pairs;
    ret_entry->id = e->id;
    ret_entry->own_names = *e->flags & ENTRY_OWN_NAMES;
    if (ret_entry->own_names) {
        uint64_t len;
        ret_entry->names = ret_entry->values = block_u64(e->body, &pairs);
        for (uint64_t i = 0; i < pairs; i++) {
            ret_entry->values = block_u64(ret_entry->values, &len);
            ret_entry->values += len;
        }
    } else {
        ret_entry->names = block_u64(it->data, &pairs);
        ret_entry->values = e->body;
    }
    ret_entry->pairs = pairs;
}

/* Whether the walk goes on in the neighbouring block. */
static bool next_block(struct stream_iter *it)
{
    it->data = NULL;
    if (it->reverse ? it->block == 0 : it->block + 1 >= it->s->count) {
        it->block = STORE_NONE;
        return false;
    }
    it->block += it->reverse ? SIZE_MAX : 1;
    return true;
}

bool stream_iter_next(struct stream_iter *it, struct stream_entry *ret_entry)
{
    while (it->block != STORE_NONE && !it->rc) {
        const struct stream_block *b = store_block(it->s, it->block);
        bool outside = it->reverse ? stream_id_cmp(b->last, it->from) < 0
                                   : stream_id_cmp(b->first, it->to) > 0;
        if (outside)
            break;
        bool before = !it->reverse && stream_id_cmp(b->last, it->from) < 0;
        if (!before && !it->data && !open_block(it))
            break;
        struct block_entry e;
        while (!before && step(it, b, &e)) {
            int low = stream_id_cmp(e.id, it->from), high = stream_id_cmp(e.id, it->to);
            if (it->reverse ? low < 0 : high > 0) {
                it->block = STORE_NONE;
                return false;
            }
            if (low < 0 || high > 0 || *e.flags & ENTRY_DELETED)
                continue;
            describe(it, &e, ret_entry);
            return true;
        }
        next_block(it);
    }
    it->block = STORE_NONE;
    return false;
}

void stream_entry_field(struct stream_entry *e, struct str *ret_name, struct str *ret_value)
{
    uint64_t len;
    e->names = block_u64(e->names, &len);
    *ret_name = str_make(e->names, len);
    e->names += len;
    e->values = block_u64(e->values, &len);
    *ret_value = str_make(e->values, len);
    e->values += len;
}
