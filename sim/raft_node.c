/* SPDX-License-Identifier: Apache-2.0 */
/* One node: the state machine behind raft, the host that carries its effects out, its lives. */
#include "base/ensure.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sim/raft_inner.h"

#include <string.h>

enum { CONTENT_BYTES = 256 };

/* The state machine. */

static struct raft_blob *state_save(const struct vw_state *s)
{
    char bytes[CONTENT_BYTES];
    memset(bytes, (int)(s->hash & 0xff), sizeof bytes);
    memcpy(bytes, s, sizeof *s);
    struct raft_blob *b = raft_blob_new(str_make(bytes, sizeof *s + (s->hash >> 8) % 200));
    ensure(b);
    return b;
}

static void state_load(struct vw_state *s, const struct raft_blob *b)
{
    if (b && b->len >= sizeof *s)
        memcpy(s, b->bytes, sizeof *s);
}

static void state_apply(struct world *w, struct vw_node *n, uint32_t g, uint64_t index)
{
    const struct raft_entry *e = raft_entry_at(n->raft[g], index);
    struct vw_state *s = &n->state[g];
    if (e->damaged) {
        vw_fail(w, "a damaged entry was handed out");
        return;
    }
    s->applied = index;
    s->hash = vw_chain(s->hash, vw_entry_hash(e));
    if (e->kind == RAFT_DATA && e->data->len == sizeof(struct vw_command)) {
        struct vw_command c;
        memcpy(&c, e->data->bytes, sizeof c);
        s->keys[c.key % VW_KEYS] = c.op + 1;
    }
    vw_check_applied(w, n, g, index, e, s->hash);
}

void vw_finish_reads(struct world *w, struct vw_node *n, uint32_t g)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n->wait_count[g]; i++) {
        struct vw_wait wait = n->waits[g][i];
        if (n->state[g].applied >= wait.index)
            vw_end_op(w, wait.op, VW_OP_DONE, n->state[g].keys[w->ops[wait.op].key]);
        else
            n->waits[g][kept++] = wait;
    }
    n->wait_count[g] = kept;
}

/* Effects. */

static void install(struct world *w, struct vw_node *n, uint32_t g, const struct raft_snap *s)
{
    const struct raft_blob *b = vw_disk_part(n, g);
    if (!b || hash_xxh3(b->bytes, b->len, 0) != s->digest) {
        vw_fail(w, "a snapshot with a wrong digest was installed");
        return;
    }
    state_load(&n->state[g], b);
    w->result->counts.snapshots_installed++;
    vw_trace(w, "n%u g%u installs snapshot %llu", n->place, g, (unsigned long long)s->index);
    vw_check_loaded(w, n, g);
}

static void on_write(struct world *w, struct vw_node *n, uint32_t g, const struct raft_write *wr)
{
    struct raft_status s;
    switch (wr->kind) {
    case RAFT_WRITE_CUT:
        w->result->counts.truncations++;
        raft_status(n->raft[g], &s);
        w->result->counts.dropped_damage += s.role == RAFT_CANDIDATE || s.role == RAFT_LEADER;
        vw_check_cut(w, n, g, wr->index);
        break;
    case RAFT_WRITE_APPEND:
        vw_check_append(w, n, g, wr);
        break;
    case RAFT_WRITE_REPAIR:
        w->result->counts.repaired_entries++;
        vw_check_append(w, n, g, wr);
        break;
    case RAFT_WRITE_INSTALL:
        install(w, n, g, wr->snap);
        break;
    case RAFT_WRITE_CHUNK:
        if (wr->offset > 0 && n->fetching[g] != wr->snap->digest)
            w->result->counts.fetches_resumed++;
        n->fetching[g] = wr->snap->digest;
        break;
    default:
        break;
    }
}

static void take_snapshot(struct world *w, struct vw_node *n, uint32_t g)
{
    if (n->taking[g])
        return;
    n->taking[g] = state_save(&n->state[g]);
    n->taking_snap[g] =
        (struct raft_snap){.index = n->state[g].applied,
                           .bytes = n->taking[g]->len,
                           .digest = hash_xxh3(n->taking[g]->bytes, n->taking[g]->len, 0)};
    vw_push(
        w, w->now + 2 * w->plan.sync_us + 1000,
        (struct vw_event){
            .kind = VW_EV_TAKEN, .node = (uint8_t)n->place, .group = (uint8_t)g, .life = n->life});
}

static void note_role(struct world *w, struct vw_node *n, uint32_t g)
{
    struct raft_status s;
    raft_status(n->raft[g], &s);
    if (s.role == RAFT_LEADER && (n->role[g] != RAFT_LEADER || n->term[g] != s.term)) {
        w->result->counts.elections++;
        vw_trace(w, "n%u g%u leads term %llu", n->place, g, (unsigned long long)s.term);
        vw_check_leader(w, n, g);
        if (vw_has(w, VW_HUNT))
            vw_hunt(w, n);
        if (vw_has(w, VW_MEMBER))
            vw_push(w, w->now + prng_below(&w->load, 3000),
                    (struct vw_event){.kind = VW_EV_ADMIN, .node = (uint8_t)n->place});
    } else if (n->role[g] == RAFT_LEADER && s.role != RAFT_LEADER) {
        bool member = false;
        for (uint32_t i = 0; i < s.config->count; i++)
            member |= s.config->members[i].id == n->id;
        w->result->counts.leaders_removed += !member;
        vw_trace(w, "n%u g%u steps down at term %llu", n->place, g, (unsigned long long)s.term);
    }
    if (s.commit < n->commit[g])
        vw_fail(w, "n%u: the commit index went back", n->place);
    if (s.commit > n->commit[g] && s.term == n->term[g] &&
        (s.role == RAFT_LEADER || n->role[g] == RAFT_LEADER))
        vw_check_commit(w, n, g, n->commit[g]);
    n->commit[g] = s.commit;
    n->role[g] = s.role;
    n->term[g] = s.term;
}

static void store_failed(struct world *w, struct vw_node *n)
{
    vw_trace(w, "n%u disk fails", n->place);
    n->broken = true;
    vw_disk_stop(w, n, VW_STOP_CRASH);
    n->life++;
    for (uint32_t g = 0; g < w->plan.groups; g++)
        vw_step(w, n, g, &(struct raft_event){.kind = RAFT_EV_STORE_FAILED});
}

static void send_all(struct world *w, struct vw_node *n, const struct raft_effects *fx)
{
    for (uint32_t i = 0; i < fx->message_count; i++) {
        const struct raft_message *m = &fx->messages[i];
        if (!raft_beats_add(&n->beats, m))
            vw_send(w, m);
    }
}

static void effects(struct world *w, struct vw_node *n, uint32_t g)
{
    const struct raft_effects *fx = raft_effects(n->raft[g]);
    bool failing = n->disk.full && fx->write_count > 0;
    for (uint32_t i = 0; i < fx->write_count; i++) {
        on_write(w, n, g, &fx->writes[i]);
        if (!n->disk.full)
            vw_disk_write(w, n, g, fx->write_seq, &fx->writes[i]);
    }
    for (uint64_t i = n->state[g].applied + 1; i <= fx->apply_to && !w->result->failed; i++)
        state_apply(w, n, g, i);
    note_role(w, n, g);
    if (!failing || n->broken)
        send_all(w, n, fx);
    for (uint32_t i = 0; i < fx->reply_count; i++)
        vw_on_reply(w, n, g, &fx->replies[i]);
    if (fx->snap_read.to) {
        struct raft_snap_read *read = mem_alloc(sizeof *read);
        ensure(read);
        *read = fx->snap_read;
        vw_push(w, w->now + 200,
                (struct vw_event){.kind = VW_EV_CHUNK,
                                  .node = (uint8_t)n->place,
                                  .group = (uint8_t)g,
                                  .life = n->life,
                                  .read = read});
    }
    if (fx->take_snapshot)
        take_snapshot(w, n, g);
    if (n->wait_count[g])
        vw_finish_reads(w, n, g);
    if (failing)
        store_failed(w, n);
    else
        vw_disk_sync(w, n);
}

/* What may be refused when there is no memory. */
static bool adds(const struct raft_event *ev)
{
    return ev->kind == RAFT_EV_MEMBER || (ev->kind == RAFT_EV_MESSAGE && ev->message->count > 0);
}

void vw_step(struct world *w, struct vw_node *n, uint32_t g, const struct raft_event *ev)
{
    if (w->result->failed || !n->up)
        return;
    bool starved = vw_has(w, VW_MEMORY) && prng_chance(&w->net, w->plan.rate[VW_MEMORY]);
    if (starved)
        mem_fail_at(1 + (size_t)prng_below(&w->net, 2));
    int rc = raft_step(n->raft[g], ev, vw_local(w, n));
    if (starved) {
        w->result->counts.allocations_failed += (uint64_t)mem_failed();
        mem_fail_at(0);
    }
    /* Lost, or surely not done; nothing else may fail. */
    if (rc == TTG_ENOMEM && starved && ev->kind == RAFT_EV_PROPOSE)
        vw_end_op(w, (uint32_t)(ev->cookie - 1), VW_OP_NOT_DONE, 0);
    else if (rc && !(rc == TTG_ENOMEM && starved && adds(ev)))
        vw_fail(w, "n%u refuses an event: %d", n->place, rc);
    effects(w, n, g);
}

void vw_settle(struct world *w, struct vw_node *n)
{
    for (uint32_t i = 0; i < n->beats.frame_count; i++)
        vw_send_frame(w, &n->beats.frames[i]);
    raft_beats_clear(&n->beats);
    if (!n->up || n->paused)
        return;
    uint64_t next = UINT64_MAX;
    for (uint32_t g = 0; g < w->plan.groups; g++) {
        uint64_t due = raft_next_us(n->raft[g]);
        next = due < next ? due : next;
    }
    if (next == UINT64_MAX)
        return;
    uint64_t local = vw_local(w, n), at = w->now + 1;
    if (next > local)
        at = w->now + (next - local) * 1000 / n->clock_permille + 1;
    if (n->timer_us > w->now && n->timer_us <= at)
        return;
    n->timer_us = at;
    vw_push(w, at, (struct vw_event){.kind = VW_EV_TIMER, .node = (uint8_t)n->place});
}

void vw_on_timer(struct world *w, struct vw_event *ev)
{
    struct vw_node *n = &w->nodes[ev->node];
    if (n->timer_us != ev->at_us || !n->up || n->paused)
        return;
    n->timer_us = 0;
    uint16_t life = n->life;
    for (uint32_t g = 0; g < w->plan.groups && n->life == life; g++)
        if (raft_next_us(n->raft[g]) <= vw_local(w, n))
            vw_step(w, n, g, &(struct raft_event){.kind = RAFT_EV_TICK});
    vw_settle(w, n);
}

void vw_on_taken(struct world *w, struct vw_event *ev)
{
    struct vw_node *n = &w->nodes[ev->node];
    if (!n->up || n->life != ev->life || !n->taking[ev->group])
        return;
    w->result->counts.snapshots_taken++;
    vw_step(w, n, ev->group,
            &(struct raft_event){.kind = RAFT_EV_SNAP_TAKEN, .snap = &n->taking_snap[ev->group]});
    raft_blob_unref(n->taking[ev->group]);
    n->taking[ev->group] = NULL;
    vw_settle(w, n);
}

/* The snapshot to read from: the newest that raft was told of, durable or just on its way. */
static const struct raft_blob *content_of(const struct vw_node *n, uint32_t g, uint64_t index)
{
    const struct vw_disk *d = &n->disk;
    for (size_t k = d->pending_count; k-- > 0;)
        if (d->pending[k].group == g && d->pending[k].snap && d->pending[k].blob &&
            d->pending[k].kind != RAFT_WRITE_CHUNK && d->pending[k].snap->index == index)
            return d->pending[k].blob;
    return d->images[g].snap.index == index ? d->images[g].content : NULL;
}

void vw_on_chunk(struct world *w, struct vw_event *ev)
{
    struct vw_node *n = &w->nodes[ev->node];
    const struct raft_snap_read *read = ev->read;
    if (n->up && n->life == ev->life) {
        const struct raft_blob *b = content_of(n, ev->group, read->index);
        if (b && read->offset + read->bytes <= b->len)
            vw_step(w, n, ev->group,
                    &(struct raft_event){.kind = RAFT_EV_SNAP_READ,
                                         .to = read->to,
                                         .index = read->index,
                                         .offset = read->offset,
                                         .bytes = str_make(b->bytes + read->offset, read->bytes)});
        vw_settle(w, n);
    }
    mem_free(ev->read);
}

/* Lives of a node. */

void vw_start(struct world *w, struct vw_node *n)
{
    ensure(!n->up);
    n->up = true;
    n->paused = n->broken = false;
    n->life++;
    n->timer_us = 0;
    n->disk.full = false;
    if (raft_beats_init(&n->beats, VW_PLACES_MAX * 2, VW_GROUPS_MAX * 4))
        ensure(false);
    for (uint32_t g = 0; g < w->plan.groups; g++) {
        const struct vw_image *i = &n->disk.images[g];
        struct raft_boot boot = {.term = i->term,
                                 .vote = i->vote,
                                 .snap = i->snap,
                                 .snap_damaged = i->content_damaged,
                                 .base = i->base,
                                 .base_term = i->base_term,
                                 .entries = i->entries,
                                 .count = i->count,
                                 .partial = i->part,
                                 .partial_bytes = i->part_bytes};
        struct raft_options o = w->plan.options;
        o.id = n->id;
        o.group = g;
        o.seed = prng_u64(&w->chaos);
        if (raft_new(&o, &boot, vw_local(w, n), &n->raft[g])) {
            vw_fail(w, "n%u g%u: the disk contradicts itself", n->place, g);
            n->up = false;
            return;
        }
        n->state[g] = (struct vw_state){0};
        n->role[g] = RAFT_FOLLOWER;
        n->term[g] = i->term;
        n->commit[g] = 0;
        n->wait_count[g] = 0;
        n->fetching[g] = 0;
        if (i->content && !i->content_damaged)
            state_load(&n->state[g], i->content);
    }
    vw_trace(w, "n%u starts", n->place);
    vw_settle(w, n);
}

void vw_stop(struct world *w, struct vw_node *n, enum vw_stop how)
{
    if (!n->up)
        return;
    vw_trace(w, "n%u %s", n->place, how == VW_STOP_CRASH ? "crashes" : "is killed");
    n->up = n->paused = false;
    n->life++;
    for (uint32_t g = 0; g < w->plan.groups; g++) {
        n->role[g] = RAFT_FOLLOWER;
        raft_free(n->raft[g]);
        n->raft[g] = NULL;
    }
    raft_beats_done(&n->beats);
    vw_disk_stop(w, n, how);
    while (n->mailbox) {
        struct vw_mail *mail = n->mailbox;
        n->mailbox = mail->next;
        if (mail->kind == VW_REQUEST)
            vw_end_op(w, mail->op, VW_OP_NOT_DONE, 0);
        vw_mail_free(w, mail);
    }
    n->mailbox_end = &n->mailbox;
}
