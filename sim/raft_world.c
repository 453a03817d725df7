/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/raft_world.h"

#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sim/raft_inner.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

/* The loop. */

static void handle(struct world *w, struct vw_event *ev)
{
    struct vw_node *n = &w->nodes[ev->node];
    switch ((enum vw_event_kind)ev->kind) {
    case VW_EV_MAIL:
        vw_on_mail(w, ev);
        break;
    case VW_EV_TIMER:
        vw_on_timer(w, ev);
        break;
    case VW_EV_SYNC:
        if (n->up && n->life == ev->life) {
            vw_disk_synced(w, n);
            vw_disk_sync(w, n);
            vw_settle(w, n);
        }
        break;
    case VW_EV_TAKEN:
        vw_on_taken(w, ev);
        break;
    case VW_EV_CHUNK:
        vw_on_chunk(w, ev);
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
