/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that write and read registers, an administrator who changes members and leaders, and
 * what must work again once everything has healed. */
#include "base/ensure.h"
#include "base/mem.h"
#include "sim/raft_inner.h"

#include <string.h>

enum { CLIENT_TIMEOUT_US = 700000, ADMIN_BIT = 40, PROBE_CLIENT = VW_CLIENTS_MAX };

uint32_t vw_new_op(struct world *w, uint32_t client, uint32_t group, uint32_t key, bool write)
{
    if (w->op_count == w->op_cap) {
        w->op_cap = w->op_cap * 2 + 1024;
        w->ops = mem_realloc(w->ops, w->op_cap * sizeof *w->ops);
        ensure(w->ops);
    }
    w->ops[w->op_count] = (struct vw_op){.start_us = w->now,
                                         .end_us = UINT64_MAX,
                                         .client = client,
                                         .group = (uint8_t)group,
                                         .key = (uint8_t)key,
                                         .write = write,
                                         .value = write ? w->op_count + 1 : 0};
    return w->op_count++;
}

static void wake_client(struct world *w, uint32_t client, uint64_t at_us, uint32_t op)
{
    vw_push(w, at_us, (struct vw_event){.kind = VW_EV_CLIENT, .a = client, .b = op});
}

void vw_end_op(struct world *w, uint32_t i, enum vw_op_state state, uint64_t value)
{
    struct vw_op *op = &w->ops[i];
    if (op->state != VW_OP_OPEN)
        return;
    op->state = (uint8_t)state;
    if (state == VW_OP_DONE) {
        op->end_us = w->now;
        if (!op->write)
            op->value = value;
    }
    w->result->counts.writes_done += op->write && state == VW_OP_DONE;
    w->result->counts.writes_unknown += op->write && state == VW_OP_UNKNOWN;
    w->result->counts.reads_done += !op->write && state == VW_OP_DONE;
    if (op->client < w->plan.clients && w->clients[op->client].op == i) {
        w->clients[op->client].op = UINT32_MAX;
        wake_client(w, op->client, w->now + 1 + prng_below(&w->load, w->plan.think_us * 2),
                    UINT32_MAX);
    }
}

void vw_on_request(struct world *w, struct vw_node *n, uint32_t i)
{
    struct vw_op *op = &w->ops[i];
    if (op->state != VW_OP_OPEN)
        return;
    if (!op->write) {
        vw_step(w, n, op->group, &(struct raft_event){.kind = RAFT_EV_READ, .cookie = i + 1ull});
        return;
    }
    struct vw_command c = {.op = i, .key = op->key};
    vw_step(w, n, op->group,
            &(struct raft_event){
                .kind = RAFT_EV_PROPOSE, .bytes = str_make(&c, sizeof c), .cookie = i + 1ull});
}

static void note_leader(struct world *w, const struct vw_op *op, uint64_t leader)
{
    if (op->client < w->plan.clients)
        w->clients[op->client].leader[op->group] =
            leader ? vw_place(leader) : 1 + (uint32_t)prng_below(&w->load, w->places);
}

void vw_on_reply(struct world *w, struct vw_node *n, uint32_t g, const struct raft_reply *r)
{
    if (r->cookie >> ADMIN_BIT || r->cookie == 0) {
        w->result->counts.transfers += r->cookie >> (ADMIN_BIT + 1) && r->outcome == RAFT_DONE;
        return;
    }
    uint32_t i = (uint32_t)(r->cookie - 1);
    struct vw_op *op = &w->ops[i];
    if (r->outcome == RAFT_DONE && !op->write) {
        w->result->counts.follower_reads += n->role[g] != RAFT_LEADER;
        if (n->state[g].applied >= r->index)
            vw_end_op(w, i, VW_OP_DONE, n->state[g].keys[op->key]);
        else if (n->wait_count[g] < VW_WAITS_MAX)
            n->waits[g][n->wait_count[g]++] = (struct vw_wait){i, r->index};
        else
            vw_end_op(w, i, VW_OP_NOT_DONE, 0);
        return;
    }
    if (r->outcome == RAFT_DONE) {
        op->index = r->index;
        vw_end_op(w, i, VW_OP_DONE, 0);
        return;
    }
    note_leader(w, op, r->outcome == RAFT_NOT_LEADER || r->outcome == RAFT_BUSY ? r->leader : 0);
    vw_end_op(w, i, r->outcome == RAFT_UNKNOWN ? VW_OP_UNKNOWN : VW_OP_NOT_DONE, 0);
}

static void start_op(struct world *w, uint32_t client)
{
    struct vw_client *c = &w->clients[client];
    uint32_t g = (uint32_t)prng_below(&w->load, w->plan.groups);
    uint32_t key = (uint32_t)prng_below(&w->load, VW_KEYS);
    bool write = prng_chance(&w->load, 0.6);
    uint32_t place = c->leader[g];
    if (prng_chance(&w->load, write ? w->plan.roams : 0.5))
        place = 1 + (uint32_t)prng_below(&w->load, w->places);
    if (prng_chance(&w->load, w->plan.bursts))
        for (uint32_t k = (uint32_t)prng_below(&w->load, 30); k > 0; k--) /* a burst */
            vw_send_request(w, place, vw_new_op(w, PROBE_CLIENT, g, key, true));
    c->op = vw_new_op(w, client, g, key, write);
    vw_send_request(w, place, c->op);
    wake_client(w, client, w->now + CLIENT_TIMEOUT_US, c->op);
}

void vw_on_client(struct world *w, struct vw_event *ev)
{
    struct vw_client *c = &w->clients[ev->a];
    if (w->healed)
        return;
    if (c->op != (uint32_t)ev->b)
        return; /* a timeout of something that has ended */
    if (c->op != UINT32_MAX) {
        uint32_t i = c->op;
        note_leader(w, &w->ops[i], 0);
        vw_end_op(w, i, VW_OP_UNKNOWN, 0);
        return;
    }
    start_op(w, ev->a);
}

/* The administrator. */

static void change(struct world *w, struct vw_node *n, uint32_t g, enum raft_change what,
                   uint64_t id)
{
    vw_trace(w, "n%u g%u is asked to change %d of n%u", n->place, g, (int)what, vw_place(id));
    vw_step(w, n, g,
            &(struct raft_event){
                .kind = RAFT_EV_MEMBER, .change = what, .to = id, .cookie = 1ull << ADMIN_BIT});
}

static uint64_t pick_outsider(struct world *w, const struct raft_config *c)
{
    uint32_t from = (uint32_t)prng_below(&w->load, w->places);
    for (uint32_t k = 0; k < w->places; k++) {
        const struct vw_node *n = &w->nodes[1 + (from + k) % w->places];
        bool member = false;
        for (uint32_t i = 0; i < c->count; i++)
            member |= c->members[i].id == n->id;
        if (!member)
            return n->id;
    }
    return 0;
}

static void administer(struct world *w, struct vw_node *n, uint32_t g)
{
    struct raft_status s;
    raft_status(n->raft[g], &s);
    struct raft_config c = *s.config;
    uint32_t voters = 0, learner = UINT32_MAX;
    for (uint32_t i = 0; i < c.count; i++) {
        if (!vw_node_of(w, c.members[i].id)) {
            change(w, n, g, RAFT_REMOVE, c.members[i].id); /* wiped */
            return;
        }
        voters += c.members[i].voter;
        if (!c.members[i].voter)
            learner = i;
    }
    bool churn = vw_has(w, VW_MEMBER);
    if (vw_has(w, VW_TRANSFER) && prng_chance(&w->load, w->plan.rate[VW_TRANSFER])) {
        vw_step(w, n, g,
                &(struct raft_event){.kind = RAFT_EV_TRANSFER,
                                     .to = c.members[prng_below(&w->load, c.count)].id,
                                     .cookie = 3ull << ADMIN_BIT});
        return;
    }
    if (learner != UINT32_MAX && prng_chance(&w->load, 0.7)) {
        change(w, n, g, RAFT_PROMOTE, c.members[learner].id);
        return;
    }
    if (voters < w->plan.nodes || (churn && prng_chance(&w->load, 0.5))) {
        uint64_t id = pick_outsider(w, &c);
        if (id)
            change(w, n, g, RAFT_ADD_LEARNER, id);
        return;
    }
    if (churn && voters > 1)
        change(w, n, g, RAFT_REMOVE, c.members[prng_below(&w->load, c.count)].id);
}

void vw_on_admin(struct world *w, struct vw_event *ev)
{
    if (w->healed)
        return;
    struct vw_node *fresh = &w->nodes[ev->node];
    if (ev->node) { /* a new leader is asked at once: nothing is committed yet */
        for (uint32_t g = 0; g < w->plan.groups; g++)
            if (fresh->up && !fresh->paused && fresh->role[g] == RAFT_LEADER)
                administer(w, fresh, g);
        vw_settle(w, fresh);
        return;
    }
    uint32_t g = (uint32_t)prng_below(&w->load, w->plan.groups);
    uint32_t from = (uint32_t)prng_below(&w->load, w->places);
    for (uint32_t k = 0; k < w->places; k++) {
        /* Any node that takes itself for the leader, the true one or not. */
        struct vw_node *n = &w->nodes[1 + (from + k) % w->places];
        if (n->up && !n->paused && n->role[g] == RAFT_LEADER) {
            administer(w, n, g);
            vw_settle(w, n);
            break;
        }
    }
    uint64_t mean = vw_has(w, VW_MEMBER) ? (uint64_t)w->plan.rate[VW_MEMBER] : 200000;
    vw_push(w, w->now + mean / 2 + prng_below(&w->load, mean),
            (struct vw_event){.kind = VW_EV_ADMIN});
}

void vw_load_start(struct world *w)
{
    for (uint32_t i = 0; i < w->plan.clients; i++) {
        w->clients[i].op = UINT32_MAX;
        for (uint32_t g = 0; g < VW_GROUPS_MAX; g++)
            w->clients[i].leader[g] = 1 + (uint32_t)prng_below(&w->load, w->places);
        wake_client(w, i, w->now + 350000 + prng_below(&w->load, 100000), UINT32_MAX);
    }
    vw_push(w, w->now + 500000, (struct vw_event){.kind = VW_EV_ADMIN});
}

/* After the faults. */

static bool is_member(struct world *w, const struct vw_node *n, uint32_t g)
{
    const struct raft_config *c = &w->history[g].config;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->members[i].id == n->id)
            return true;
    return false;
}

/* A read through every member, again and again, until one is answered. */
static bool heal_reads(struct world *w, uint32_t g)
{
    uint32_t first = w->op_count;
    for (uint32_t tick = 0; tick < VW_LEADER_TICKS; tick += 2) {
        for (uint32_t p = 1; p <= w->places; p++)
            if (is_member(w, &w->nodes[p], g))
                vw_send_request(w, p, vw_new_op(w, PROBE_CLIENT, g, 0, false));
        if (!vw_run_until(w, w->now + 2 * VW_BEAT_US))
            return false;
        for (uint32_t i = first; i < w->op_count; i++)
            if (w->ops[i].group == g && w->ops[i].state == VW_OP_DONE)
                return true;
    }
    vw_fail(w, "g%u: no read within %d ticks after healing", g, VW_LEADER_TICKS);
    return false;
}

/* How often somebody was told of a write since. */
static uint32_t acks_since(const struct world *w, uint32_t g, uint32_t first, uint64_t since)
{
    uint64_t last = 0;
    uint32_t n = 0;
    for (uint32_t i = first; i < w->op_count; i++) {
        const struct vw_op *op = &w->ops[i];
        if (op->group == g && op->state == VW_OP_DONE && op->end_us >= since && op->end_us != last)
            n++;
        if (op->state == VW_OP_DONE)
            last = op->end_us;
    }
    return n;
}

/* Writes that never pause for the network: they must not wait for a pause either. A window is good
 * when they were acknowledged one after the other all along. */
static bool heal_writes(struct world *w, uint32_t g)
{
    uint32_t first = w->op_count;
    for (uint32_t tick = 0; tick < VW_WRITE_TICKS; tick += VW_WINDOW_TICKS) {
        uint64_t since = w->now;
        while (w->now < since + (uint64_t)VW_WINDOW_TICKS * VW_BEAT_US) {
            struct vw_node *n = vw_find_leader(w, g);
            if (n)
                vw_send_request(w, n->place, vw_new_op(w, PROBE_CLIENT, g, 1, true));
            if (!vw_run_until(w, w->now + 4000))
                return false;
        }
        if (acks_since(w, g, first, since) >= VW_WINDOW_ACKS)
            return true;
    }
    vw_fail(w, "g%u: writes do not flow within %d ticks after healing", g, VW_WRITE_TICKS);
    return false;
}

static bool is_behind(struct world *w, uint32_t g, uint64_t index, uint32_t *ret_place)
{
    for (uint32_t p = 1; p <= w->places; p++) {
        struct vw_node *n = &w->nodes[p];
        struct raft_status s;
        raft_status(n->raft[g], &s);
        *ret_place = p;
        if (is_member(w, n, g) && (n->state[g].applied < index || s.damaged))
            return true;
    }
    return false;
}

static bool heal_catchup(struct world *w, uint32_t g)
{
    uint64_t index = w->history[g].count;
    uint32_t place = 0;
    for (uint32_t tick = 0; tick < VW_CATCHUP_TICKS; tick += 4) {
        if (!is_behind(w, g, index, &place))
            return true;
        if (!vw_run_until(w, w->now + 4 * VW_BEAT_US))
            return false;
    }
    vw_fail(w, "g%u: n%u has not caught up within %d ticks after healing", g, place,
            VW_CATCHUP_TICKS);
    return false;
}

bool vw_heal(struct world *w)
{
    vw_trace(w, "healing");
    vw_end_all_faults(w);
    w->healed = true;
    for (uint32_t p = 1; p <= w->places; p++)
        if (!w->nodes[p].up)
            vw_start(w, &w->nodes[p]);
    for (uint32_t g = 0; g < w->plan.groups; g++)
        if (!heal_reads(w, g) || !heal_writes(w, g))
            return false;
    for (uint32_t g = 0; g < w->plan.groups; g++)
        if (!heal_catchup(w, g))
            return false;
    return true;
}
