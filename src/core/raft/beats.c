/* SPDX-License-Identifier: Apache-2.0 */
#include "core/raft/beats.h"

#include "base/err.h"
#include "base/mem.h"

int raft_beats_init(struct raft_beats *b, uint32_t nodes, uint32_t beats_max)
{
    *b = (struct raft_beats){.frames_max = nodes, .beats_max = beats_max};
    b->frames = mem_array(nodes, sizeof *b->frames);
    b->store = mem_array((size_t)nodes * beats_max, sizeof *b->store);
    if (b->frames && b->store)
        return 0;
    raft_beats_done(b);
    return TTG_ENOMEM;
}

void raft_beats_done(struct raft_beats *b)
{
    mem_free(b->frames);
    mem_free(b->store);
    *b = (struct raft_beats){0};
}

bool raft_beats_add(struct raft_beats *b, const struct raft_message *m)
{
    if (m->kind != RAFT_BEAT && m->kind != RAFT_BEAT_REPLY)
        return false;
    uint32_t i = 0;
    while (i < b->frame_count && (b->frames[i].to != m->to || b->frames[i].from != m->from))
        i++;
    if (i == b->frames_max)
        return false;
    struct raft_frame *f = &b->frames[i];
    if (i == b->frame_count) {
        *f = (struct raft_frame){.from = m->from, .to = m->to};
        f->beats = b->store + (size_t)i * b->beats_max;
        b->frame_count++;
    }
    if (f->count == b->beats_max)
        return false;
    f->beats[f->count++] = (struct raft_beat){.group = m->group,
                                              .kind = m->kind,
                                              .reject = m->reject,
                                              .lacks = m->lacks,
                                              .term = m->term,
                                              .index = m->index,
                                              .commit = m->commit,
                                              .round = m->round,
                                              .echo_us = m->echo_us};
    return true;
}

void raft_beats_clear(struct raft_beats *b)
{
    b->frame_count = 0;
}

void raft_beats_get(const struct raft_frame *f, uint32_t i, struct raft_message *ret_message)
{
    const struct raft_beat *beat = &f->beats[i];
    *ret_message = (struct raft_message){.kind = beat->kind,
                                         .group = beat->group,
                                         .from = f->from,
                                         .to = f->to,
                                         .reject = beat->reject,
                                         .lacks = beat->lacks,
                                         .term = beat->term,
                                         .index = beat->index,
                                         .commit = beat->commit,
                                         .round = beat->round,
                                         .echo_us = beat->echo_us};
}
