/* SPDX-License-Identifier: Apache-2.0 */
/* What must never happen, looked at after every step; only what the step changed is compared.
 *
 * - one leader a term; no node votes twice in a term
 * - log matching: index and term name one entry and one predecessor, over all nodes and times
 * - the same command at the same index on all nodes; what is committed stays
 * - at the moment of commit a majority of the voters has the entry on disk
 * - a new leader has all that was committed in earlier terms
 * - what was acknowledged is committed, what was refused is not */
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sim/raft_inner.h"

#include <string.h>

static unsigned long long num(uint64_t n)
{
    return n;
}

static void grow(void *array, uint64_t *cap, uint64_t need, size_t bytes)
{
    void **at = array;
    if (need < *cap)
        return;
    uint64_t more = need * 2 + 256;
    *at = mem_realloc(*at, more * bytes);
    ensure(*at);
    memset((char *)*at + *cap * bytes, 0, (more - *cap) * bytes);
    *cap = more;
}

void vw_check_start(struct world *w)
{
    w->stamp++;
    w->ident_count = 0;
    w->op_count = 0;
    for (uint32_t g = 0; g < VW_GROUPS_MAX; g++) {
        struct vw_history *h = &w->history[g];
        h->count = 0;
        if (h->ident_cap)
            memset(h->idents, 0, h->ident_cap * sizeof(void *));
        if (h->leader_cap)
            memset(h->leaders, 0, h->leader_cap * sizeof *h->leaders);
    }
}

uint64_t vw_entry_hash(const struct raft_entry *e)
{
    uint64_t h = e->kind + 1;
    if (e->data && e->data->len == sizeof(struct vw_command)) {
        struct vw_command c;
        memcpy(&c, e->data->bytes, sizeof c);
        return hash_u64(h ^ c.op << 8 ^ c.key << 4);
    }
    return e->data ? hash_xxh3(e->data->bytes, e->data->len, h) : hash_u64(h);
}

uint64_t vw_chain(uint64_t chain, uint64_t hash)
{
    return hash_u64(chain * 31 + hash);
}

static void check_vote(struct world *w, uint32_t group, uint64_t id, uint64_t term, uint64_t to)
{
    uint64_t at = hash_u64(id * 7 + term * 131 + group) % VW_VOTES;
    for (uint32_t k = 0; k < VW_VOTES; k++, at = (at + 1) % VW_VOTES) {
        struct vw_vote *v = &w->votes[at];
        if (v->stamp != w->stamp) {
            *v = (struct vw_vote){
                .id = id, .term = term, .candidate = to, .stamp = w->stamp, .group = group};
            return;
        }
        if (v->id == id && v->term == term && v->group == group) {
            if (v->candidate != to)
                vw_fail(w, "g%u: n%u votes twice in term %llu", group, vw_place(id), num(term));
            return;
        }
    }
}

void vw_check_message(struct world *w, const struct raft_message *m)
{
    if (m->kind == RAFT_VOTE_REPLY && !m->reject)
        check_vote(w, m->group, m->from, m->term, m->to);
    if (m->kind == RAFT_VOTE)
        check_vote(w, m->group, m->from, m->term, m->from);
}

static struct vw_ident *ident_new(struct world *w)
{
    size_t block = w->ident_count / VW_IDENTS_BLOCK;
    if (block == w->ident_blocks_cap) {
        w->ident_blocks = mem_realloc(w->ident_blocks, (block + 1) * sizeof(void *));
        ensure(w->ident_blocks);
        w->ident_blocks[w->ident_blocks_cap++] =
            mem_array(VW_IDENTS_BLOCK, sizeof(struct vw_ident));
        ensure(w->ident_blocks[block]);
    }
    return &w->ident_blocks[block][w->ident_count++ % VW_IDENTS_BLOCK];
}

void vw_check_append(struct world *w, const struct vw_node *n, uint32_t g,
                     const struct raft_write *write)
{
    struct vw_history *h = &w->history[g];
    for (uint32_t k = 0; k < write->count; k++) {
        const struct raft_entry *e = &write->entries[k];
        uint64_t index = write->index + k, hash = vw_entry_hash(e), prev = 0;
        struct raft_status s;
        raft_status(n->raft[g], &s);
        if (index > s.first)
            prev = raft_entry_at(n->raft[g], index - 1)->term;
        grow(&h->idents, &h->ident_cap, index, sizeof(void *));
        struct vw_ident *i = h->idents[index];
        while (i && i->term != e->term)
            i = i->next;
        if (!i) {
            i = ident_new(w);
            *i = (struct vw_ident){h->idents[index], e->term, hash, prev};
            h->idents[index] = i;
        } else if (i->hash != hash || (prev && i->prev_term && prev != i->prev_term)) {
            vw_fail(w, "g%u: n%u breaks log matching at %llu of term %llu", g, n->place, num(index),
                    num(e->term));
        }
    }
}

void vw_check_cut(struct world *w, const struct vw_node *n, uint32_t g, uint64_t index)
{
    const struct vw_history *h = &w->history[g];
    const struct vw_disk *d = &n->disk;
    for (size_t k = 0; k < d->pending_count; k++)
        if (d->pending[k].group == g && d->pending[k].kind == RAFT_WRITE_CUT)
            return; /* the image is not what the node has in memory */
    struct raft_status s;
    raft_status(n->raft[g], &s);
    /* A leader of an earlier term than the one that committed may still do this, on a node that has
     * not heard of the later term and so was not counted. */
    for (uint64_t i = index; i <= h->count; i++)
        if (i > d->images[g].base && h->committed[i - 1].by_term <= s.term &&
            vw_image_has(&d->images[g], i, h->committed[i - 1].term) != VW_NONE)
            vw_fail(w, "g%u: n%u cuts the committed entry %llu", g, n->place, num(i));
}

/* Votes and acknowledgements of a wiped identity were given while it had its disk. */
static void check_durable(struct world *w, const struct vw_node *n, uint32_t g, uint64_t index,
                          uint64_t term)
{
    struct raft_status s;
    uint32_t voters = 0, have = 0;
    raft_status(n->raft[g], &s);
    for (uint32_t i = 0; i < s.config->count; i++) {
        const struct raft_member *m = &s.config->members[i];
        if (!m->voter)
            continue;
        voters++;
        const struct vw_node *other = vw_node_of(w, m->id);
        have += !other || vw_image_had(&other->disk.images[g], index, term);
    }
    if (have < voters / 2 + 1)
        vw_fail(w, "g%u: n%u commits %llu of term %llu, which only %u of %u voters have on disk", g,
                n->place, num(index), num(term), have, voters);
}

void vw_check_commit(struct world *w, const struct vw_node *n, uint32_t g, uint64_t from)
{
    struct raft_status s;
    raft_status(n->raft[g], &s);
    for (uint64_t i = from + 1; i <= s.commit; i++)
        if (i >= s.first)
            check_durable(w, n, g, i, raft_entry_at(n->raft[g], i)->term);
}

void vw_check_applied(struct world *w, struct vw_node *n, uint32_t g, uint64_t index,
                      const struct raft_entry *e, uint64_t chain)
{
    struct vw_history *h = &w->history[g];
    uint64_t hash = vw_entry_hash(e);
    if (index > h->count + 1) {
        vw_fail(w, "g%u: n%u skips to %llu", g, n->place, num(index));
        return;
    }
    if (index <= h->count) {
        const struct vw_committed *c = &h->committed[index - 1];
        if (c->term != e->term || c->hash != hash || c->chain != chain)
            vw_fail(w, "g%u: n%u applies another command at %llu", g, n->place, num(index));
        return;
    }
    grow(&h->committed, &h->cap, index, sizeof *h->committed);
    struct raft_status s;
    raft_status(n->raft[g], &s);
    h->committed[h->count++] =
        (struct vw_committed){.term = e->term, .hash = hash, .chain = chain, .by_term = s.term};
    if (e->kind == RAFT_CONFIG &&
        raft_config_parse(str_make(e->data->bytes, e->data->len), &h->config)) {
        w->result->counts.member_changes++;
        vw_trace(w, "g%u has %u members at %llu", g, h->config.count, num(index));
    }
}

void vw_check_loaded(struct world *w, struct vw_node *n, uint32_t g)
{
    const struct vw_history *h = &w->history[g];
    const struct vw_state *s = &n->state[g];
    if (s->applied == 0 || s->applied > h->count || h->committed[s->applied - 1].chain != s->hash)
        vw_fail(w, "g%u: n%u loads a snapshot that nobody can have taken", g, n->place);
}

void vw_check_leader(struct world *w, const struct vw_node *n, uint32_t g)
{
    struct vw_history *h = &w->history[g];
    struct raft_status s;
    raft_status(n->raft[g], &s);
    grow(&h->leaders, &h->leader_cap, s.term, sizeof *h->leaders);
    if (h->leaders[s.term] && h->leaders[s.term] != n->id)
        vw_fail(w, "g%u: n%u and n%u lead term %llu", g, vw_place(h->leaders[s.term]), n->place,
                num(s.term));
    h->leaders[s.term] = n->id;
    for (uint64_t i = s.first; i <= h->count; i++) {
        const struct vw_committed *c = &h->committed[i - 1];
        if (c->by_term < s.term && (i > s.last || raft_entry_at(n->raft[g], i)->term != c->term)) {
            vw_fail(w, "g%u: the leader n%u of term %llu lacks the committed entry %llu", g,
                    n->place, num(s.term), num(i));
            return;
        }
    }
}

static void check_op(struct world *w, uint32_t i)
{
    const struct vw_op *op = &w->ops[i];
    const struct vw_history *h = &w->history[op->group];
    struct vw_command c = {.op = i, .key = op->key};
    char bytes[sizeof(struct raft_blob) + sizeof c] __attribute__((aligned(8)));
    struct raft_blob *b = (struct raft_blob *)(void *)bytes;
    b->refs = 1;
    b->len = sizeof c;
    memcpy(b->bytes, &c, sizeof c);
    struct raft_entry e = {.kind = RAFT_DATA, .data = b};
    uint64_t hash = vw_entry_hash(&e);
    if (op->state == VW_OP_DONE &&
        (op->index == 0 || op->index > h->count || h->committed[op->index - 1].hash != hash))
        vw_fail(w, "g%u: the acknowledged write %u is not there", op->group, i);
    for (uint64_t k = 0; op->state == VW_OP_NOT_DONE && k < h->count; k++)
        if (h->committed[k].hash == hash)
            vw_fail(w, "g%u: the write %u was refused and is there", op->group, i);
}

void vw_check_end(struct world *w)
{
    for (uint32_t i = 0; i < w->op_count && !w->result->failed; i++)
        if (w->ops[i].write)
            check_op(w, i);
    for (uint32_t g = 0; g < w->plan.groups && !w->result->failed; g++)
        for (uint32_t key = 0; key < VW_KEYS && !w->result->failed; key++) {
            const char *breach = vw_lin_check(w->ops, w->op_count, g, key);
            if (breach)
                vw_fail(w, "g%u: not linearizable: %s (key %u)", g, breach, key);
        }
}
