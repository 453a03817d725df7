/* SPDX-License-Identifier: Apache-2.0 */
/* The network: delays, reorders, doubles and drops. */
#include "base/ensure.h"
#include "base/mem.h"
#include "sim/raft_inner.h"

#include <string.h>

static struct vw_mail *mail_new(struct world *w)
{
    struct vw_mail *mail = w->free_mail;
    if (mail) {
        w->free_mail = mail->next;
    } else {
        mail = mem_zalloc(sizeof *mail);
        ensure(mail);
    }
    mail->next = NULL;
    return mail;
}

void vw_mail_free(struct world *w, struct vw_mail *mail)
{
    for (uint32_t i = 0; mail->kind == VW_MESSAGE && i < mail->m.count; i++)
        raft_blob_unref(mail->entries[i].data);
    if (mail->kind == VW_MESSAGE)
        raft_blob_unref(mail->bytes);
    mail->bytes = NULL;
    mail->next = w->free_mail;
    w->free_mail = mail;
}

static struct vw_mail *mail_of(struct world *w, const struct raft_message *m)
{
    struct vw_mail *mail = mail_new(w);
    mail->kind = VW_MESSAGE;
    mail->m = *m;
    mail->bytes = NULL;
    if (m->count > mail->entries_cap) {
        mem_free(mail->entries);
        mail->entries_cap = m->count + 16;
        mail->entries = mem_array(mail->entries_cap, sizeof *mail->entries);
        ensure(mail->entries);
    }
    for (uint32_t i = 0; i < m->count; i++) {
        mail->entries[i] = m->entries[i];
        mail->entries[i].cookie = mail->entries[i].seq = mail->entries[i].total = 0;
        raft_blob_ref(mail->entries[i].data);
    }
    mail->m.entries = mail->entries;
    if (m->snap) {
        mail->snap = *m->snap;
        mail->m.snap = &mail->snap;
    }
    if (m->bytes.len) {
        mail->bytes = raft_blob_new(m->bytes);
        ensure(mail->bytes);
        mail->m.bytes = str_make(mail->bytes->bytes, mail->bytes->len);
    }
    return mail;
}

static void post(struct world *w, struct vw_mail *mail, uint32_t from, uint32_t to)
{
    uint64_t delay = w->plan.delay_us + prng_below(&w->net, w->plan.jitter_us + 1);
    if (w->healed)
        delay = 5000;
    if (vw_has(w, VW_DELAY) && prng_chance(&w->net, w->plan.rate[VW_DELAY]))
        delay += prng_below(&w->net, 400000);
    uint64_t at = w->now + delay;
    if (vw_has(w, VW_REORDER) && prng_chance(&w->net, w->plan.rate[VW_REORDER])) {
        at += prng_below(&w->net, 20000);
    } else {
        if (at <= w->fifo_us[from][to])
            at = w->fifo_us[from][to] + 1;
        w->fifo_us[from][to] = at;
    }
    vw_push(w, at,
            (struct vw_event){.kind = VW_EV_MAIL, .node = (uint8_t)to, .a = from, .mail = mail});
}

static bool is_cut(const struct world *w, uint32_t from, uint32_t to)
{
    return w->cut[from][to] || (w->parted && w->side[from] != w->side[to]);
}

static bool is_lost(struct world *w, uint32_t from, uint32_t to)
{
    w->result->counts.messages++;
    if (is_cut(w, from, to))
        return true;
    if (vw_has(w, VW_DROP) && prng_chance(&w->net, w->plan.rate[VW_DROP])) {
        w->result->counts.dropped++;
        return true;
    }
    return false;
}

static bool is_doubled(struct world *w)
{
    if (!vw_has(w, VW_DUPLICATE) || !prng_chance(&w->net, w->plan.rate[VW_DUPLICATE]))
        return false;
    w->result->counts.duplicated++;
    return true;
}

void vw_send(struct world *w, const struct raft_message *m)
{
    uint32_t from = vw_place(m->from), to = vw_place(m->to);
    vw_check_message(w, m);
    if (to == 0 || to > w->places || is_lost(w, from, to))
        return;
    post(w, mail_of(w, m), from, to);
    if (is_doubled(w))
        post(w, mail_of(w, m), from, to);
    if (m->kind == RAFT_CHUNK && vw_has(w, VW_SNAPCUT) &&
        prng_chance(&w->chaos, w->plan.rate[VW_SNAPCUT])) {
        uint32_t victim = prng_chance(&w->chaos, 0.5) ? from : to;
        vw_push(w, w->now + prng_below(&w->chaos, 10000),
                (struct vw_event){.kind = VW_EV_FAULT, .node = (uint8_t)victim, .a = VW_SNAPCUT});
    }
}

static void post_frame(struct world *w, const struct raft_frame *f, uint32_t from, uint32_t to)
{
    struct vw_mail *mail = mail_new(w);
    mail->kind = VW_FRAME;
    mail->frame = *f;
    ensure(f->count <= sizeof mail->beats / sizeof *mail->beats);
    memcpy(mail->beats, f->beats, f->count * sizeof *f->beats);
    mail->frame.beats = mail->beats;
    post(w, mail, from, to);
}

void vw_send_frame(struct world *w, const struct raft_frame *f)
{
    uint32_t from = vw_place(f->from), to = vw_place(f->to);
    if (f->count > 1)
        w->result->counts.coalesced_beats += f->count - 1;
    if (to == 0 || to > w->places || is_lost(w, from, to))
        return;
    post_frame(w, f, from, to);
    if (is_doubled(w))
        post_frame(w, f, from, to);
}

void vw_send_request(struct world *w, uint32_t place, uint32_t op)
{
    struct vw_mail *mail = mail_new(w);
    mail->kind = VW_REQUEST;
    mail->op = op;
    vw_push(
        w, w->now + 100,
        (struct vw_event){.kind = VW_EV_MAIL, .node = (uint8_t)place, .a = place, .mail = mail});
}

void vw_receive(struct world *w, struct vw_node *n, struct vw_mail *mail)
{
    if (mail->kind == VW_REQUEST) {
        vw_on_request(w, n, mail->op);
    } else if (mail->kind == VW_MESSAGE) {
        vw_step(w, n, mail->m.group,
                &(struct raft_event){.kind = RAFT_EV_MESSAGE, .message = &mail->m});
    } else {
        for (uint32_t i = 0; i < mail->frame.count && n->up; i++) {
            struct raft_message m;
            raft_beats_get(&mail->frame, i, &m);
            vw_step(w, n, m.group, &(struct raft_event){.kind = RAFT_EV_MESSAGE, .message = &m});
        }
    }
    vw_mail_free(w, mail);
}

void vw_on_mail(struct world *w, struct vw_event *ev)
{
    struct vw_node *n = &w->nodes[ev->node];
    struct vw_mail *mail = ev->mail;
    if (!n->up) {
        if (mail->kind == VW_REQUEST) /* refused connection: surely not done */
            vw_end_op(w, mail->op, VW_OP_NOT_DONE, 0);
        vw_mail_free(w, mail);
        return;
    }
    if (n->paused) {
        mail->next = NULL;
        *n->mailbox_end = mail;
        n->mailbox_end = &mail->next;
        return;
    }
    vw_receive(w, n, mail);
    vw_settle(w, n);
}
