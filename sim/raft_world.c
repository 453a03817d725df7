/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/raft_world.h"

#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sim/raft_inner.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CONTENT_BYTES = 256 };

static void dump(struct world *w)
{
    for (uint32_t p = 1; w->trace && p <= w->places; p++)
        for (uint32_t g = 0; g < w->plan.groups; g++) {
            const struct vw_node *n = &w->nodes[p];
            struct raft_status s;
            if (!n->up || !n->raft[g])
                continue;
            raft_status(n->raft[g], &s);
            fprintf(stderr,
                    "  n%u.%u g%u role %d term %llu log %llu..%llu stable %llu commit %llu "
                    "applied %llu snap %llu damaged %llu%s members",
                    p, (uint32_t)n->id, g, (int)s.role, (unsigned long long)s.term,
                    (unsigned long long)s.first, (unsigned long long)s.last,
                    (unsigned long long)s.stable, (unsigned long long)s.commit,
                    (unsigned long long)s.applied, (unsigned long long)s.snap_index,
                    (unsigned long long)s.damaged, s.halted ? " halted" : "");
            for (uint32_t i = 0; i < s.config->count; i++)
                fprintf(stderr, " %u.%u%s", vw_place(s.config->members[i].id),
                        (uint32_t)s.config->members[i].id,
                        s.config->members[i].voter ? "" : "(learner)");
            fputc('\n', stderr);
        }
}

void vw_fail(struct world *w, const char *format, ...)
{
    if (w->result->failed)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(w->result->what, sizeof w->result->what, format, args);
    va_end(args);
    w->result->failed = true;
    w->result->at_us = w->now;
    vw_trace(w, "BREACH: %s", w->result->what);
    dump(w);
}

void vw_trace(struct world *w, const char *format, ...)
{
    if (!w->trace)
        return;
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%10.3f ms  ", (double)w->now / 1000);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

/* Time. */

uint64_t vw_local(const struct world *w, const struct vw_node *n)
{
    return n->clock_us + (w->now - n->clock_at_us) * n->clock_permille / 1000;
}

static bool sooner(const struct vw_event *a, const struct vw_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void vw_push(struct world *w, uint64_t at_us, struct vw_event ev)
{
    if (w->heap_count == w->heap_cap) {
        w->heap_cap = w->heap_cap * 2 + 1024;
        w->heap = mem_realloc(w->heap, w->heap_cap * sizeof *w->heap);
        ensure(w->heap);
    }
    ev.at_us = at_us;
    ev.order = w->order++;
    size_t i = w->heap_count++;
    for (; i > 0 && sooner(&ev, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = ev;
}

static struct vw_event pop(struct world *w)
{
    struct vw_event first = w->heap[0], last = w->heap[--w->heap_count];
    size_t i = 0, n = w->heap_count;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n)
            break;
        child += child + 1 < n && sooner(&w->heap[child + 1], &w->heap[child]);
        if (!sooner(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return first;
}

struct vw_node *vw_node_of(struct world *w, uint64_t id)
{
    uint32_t place = vw_place(id);
    return place > 0 && place <= w->places && w->nodes[place].id == id ? &w->nodes[place] : NULL;
}

struct vw_node *vw_find_leader(struct world *w, uint32_t group)
{
    struct vw_node *best = NULL;
    for (uint32_t p = 1; p <= w->places; p++) {
        struct vw_node *n = &w->nodes[p];
        if (n->up && !n->paused && n->role[group] == RAFT_LEADER &&
            (!best || n->term[group] > best->term[group]))
            best = n;
    }
    return best;
}

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

void vw_step(struct world *w, struct vw_node *n, uint32_t g, const struct raft_event *ev)
{
    if (w->result->failed || !n->up)
        return;
    int rc = raft_step(n->raft[g], ev, vw_local(w, n));
    if (rc)
        vw_fail(w, "n%u refuses an event: %d", n->place, rc);
    else
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

static void on_timer(struct world *w, struct vw_event *ev)
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

static void on_taken(struct world *w, struct vw_event *ev)
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

static void on_chunk(struct world *w, struct vw_event *ev)
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

/* The loop. */

static void handle(struct world *w, struct vw_event *ev)
{
    struct vw_node *n = &w->nodes[ev->node];
    switch ((enum vw_event_kind)ev->kind) {
    case VW_EV_MAIL:
        vw_on_mail(w, ev);
        break;
    case VW_EV_TIMER:
        on_timer(w, ev);
        break;
    case VW_EV_SYNC:
        if (n->up && n->life == ev->life) {
            vw_disk_synced(w, n);
            vw_disk_sync(w, n);
            vw_settle(w, n);
        }
        break;
    case VW_EV_TAKEN:
        on_taken(w, ev);
        break;
    case VW_EV_CHUNK:
        on_chunk(w, ev);
        break;
    case VW_EV_CLIENT:
        vw_on_client(w, ev);
        break;
    case VW_EV_ADMIN:
        vw_on_admin(w, ev);
        break;
    case VW_EV_FAULT:
        vw_on_fault(w, ev);
        break;
    case VW_EV_END_FAULT:
        vw_on_end_fault(w, ev);
        break;
    case VW_EV_START:
        if (!n->up)
            vw_start(w, n);
        break;
    }
}

bool vw_run_until(struct world *w, uint64_t end_us)
{
    while (w->heap_count > 0 && w->heap[0].at_us <= end_us && !w->result->failed) {
        struct vw_event ev = pop(w);
        w->now = ev.at_us;
        handle(w, &ev);
    }
    if (!w->result->failed && w->now < end_us)
        w->now = end_us;
    return !w->result->failed;
}

static void first_config(const struct vw_plan *plan, struct raft_config *c)
{
    *c = (struct raft_config){.count = plan->nodes};
    for (uint32_t i = 0; i < plan->nodes; i++)
        c->members[i] = (struct raft_member){.id = raft_identity(i + 1, 0, 0), .voter = true};
}

void vw_open(struct world *w, const struct vw_plan *plan, struct vw_result *result)
{
    memset(result, 0, sizeof *result);
    w->plan = *plan;
    w->result = result;
    w->now = 1000000;
    prng_init(&w->net, plan->seed * 8 + 1);
    prng_init(&w->disk, plan->seed * 8 + 2);
    prng_init(&w->load, plan->seed * 8 + 3);
    prng_init(&w->chaos, plan->seed * 8 + 4);
    w->order = 0;
    w->places = plan->nodes + plan->spares;
    w->parted = w->healed = false;
    memset(w->cut, 0, sizeof w->cut);
    memset(w->fifo_us, 0, sizeof w->fifo_us);
    vw_check_start(w);
    struct raft_config config;
    first_config(plan, &config);
    for (uint32_t g = 0; g < plan->groups; g++)
        w->history[g].config = config;
    for (uint32_t p = 1; p <= w->places; p++) {
        struct vw_node *n = &w->nodes[p];
        n->place = p;
        n->formatted = 0;
        n->id = raft_identity(p, 0, 0);
        n->clock_at_us = w->now;
        n->clock_us = 1000000 + prng_below(&w->chaos, 100000);
        n->clock_permille = 1000;
        n->mailbox = NULL;
        n->mailbox_end = &n->mailbox;
        n->disk.full = false;
        n->disk.slow_until_us = 0;
        for (uint32_t g = 0; g < plan->groups; g++)
            if (p <= plan->nodes)
                n->disk.images[g].snap.config = config;
        vw_start(w, n);
    }
    vw_load_start(w);
    vw_fault_start(w);
}

void vw_close(struct world *w)
{
    w->result->sim_us = w->now - 1000000;
    for (uint32_t p = 1; p <= w->places; p++) {
        vw_stop(w, &w->nodes[p], VW_STOP_KILL);
        vw_disk_wipe(&w->nodes[p].disk);
    }
    while (w->heap_count > 0) {
        struct vw_event ev = w->heap[--w->heap_count];
        if (ev.kind == VW_EV_MAIL)
            vw_mail_free(w, ev.mail);
        else if (ev.kind == VW_EV_CHUNK)
            mem_free(ev.read);
    }
}

void vw_run(struct world *w, const struct vw_plan *plan, struct vw_result *ret_result)
{
    vw_open(w, plan, ret_result);
    if (vw_run_until(w, w->now + plan->chaos_us) && vw_heal(w))
        vw_check_end(w);
    vw_close(w);
}

struct world *vw_new(void)
{
    struct world *w = mem_zalloc(sizeof *w);
    ensure(w);
    return w;
}

void vw_free(struct world *w)
{
    if (!w)
        return;
    while (w->free_mail) {
        struct vw_mail *mail = w->free_mail;
        w->free_mail = mail->next;
        mem_free(mail->entries);
        mem_free(mail);
    }
    for (uint32_t p = 0; p <= VW_PLACES_MAX; p++) {
        mem_free(w->nodes[p].disk.pending);
        for (uint32_t g = 0; g < VW_GROUPS_MAX; g++)
            mem_free(w->nodes[p].disk.images[g].entries);
    }
    for (uint32_t g = 0; g < VW_GROUPS_MAX; g++) {
        mem_free(w->history[g].committed);
        mem_free(w->history[g].idents);
        mem_free(w->history[g].leaders);
    }
    for (size_t i = 0; i < w->ident_blocks_cap; i++)
        mem_free(w->ident_blocks[i]);
    mem_free(w->ident_blocks);
    mem_free(w->heap);
    mem_free(w->ops);
    mem_free(w);
}
