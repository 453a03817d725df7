/* SPDX-License-Identifier: Apache-2.0 */
/* Peers say whatever they like: raft refuses or goes on, and no assertion of its own breaks.
 *
 * Bytes become messages to one of three voters, with news of the disk and time between them. What
 * a lying peer can do to safety is another matter: Raft trusts its members. */
#include "base/ensure.h"
#include "core/raft/raft.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at, *end;
};

static uint64_t take(struct input *in)
{
    if (in->at == in->end)
        return 0;
    uint8_t b = *in->at++;
    if (b < 0xf0)
        return b & 15; /* mostly small numbers: they meet what is there */
    uint64_t n = 0;
    for (int i = 0; i < 8 && in->at < in->end; i++)
        n = n << 8 | *in->at++;
    return n;
}

static struct raft *start(void)
{
    const struct raft_options o = {.id = 1,
                                   .seed = 1,
                                   .election_us = 1000,
                                   .beat_us = 200,
                                   .resend_us = 300,
                                   .lease_reads = true,
                                   .entries_max = 100,
                                   .waiting_max = 10,
                                   .batch_entries = 8,
                                   .batch_bytes = 100,
                                   .window_entries = 16,
                                   .window_bytes = 200,
                                   .snap_entries = 5,
                                   .keep_entries = 2,
                                   .chunk_bytes = 8};
    struct raft_boot boot = {0};
    boot.snap.config =
        (struct raft_config){.count = 3, .members = {{1, true}, {2, true}, {3, true}}};
    struct raft *r = NULL;
    ensure(raft_new(&o, &boot, 0, &r) == 0);
    return r;
}

static void read_entries(struct input *in, struct raft_entry *entries, struct raft_message *m)
{
    m->entries = entries;
    m->count = (uint32_t)(take(in) & 7);
    for (uint32_t i = 0; i < m->count; i++) {
        entries[i] = (struct raft_entry){.term = take(in), .kind = (uint8_t)(take(in) & 3)};
        size_t len = (size_t)(take(in) & 15), left = (size_t)(in->end - in->at);
        len = len < left ? len : left;
        entries[i].data = len ? raft_blob_new(str_make(in->at, len)) : NULL;
        in->at += len;
    }
}

static void message(struct raft *r, struct input *in, uint64_t now)
{
    struct raft_entry entries[8];
    struct raft_snap snap = {.index = take(in), .term = take(in), .bytes = take(in)};
    struct raft_message m = {.kind = (uint8_t)(take(in) % (RAFT_READ_REPLY + 2)), .to = 1};
    uint64_t flags = take(in);
    m.reject = flags & 1;
    m.force = flags & 2;
    m.lacks = flags & 4;
    m.from = 1 + take(in) % 4;
    m.term = take(in);
    m.index = take(in);
    m.log_term = take(in);
    m.commit = take(in);
    m.hint = take(in);
    m.hint_term = take(in);
    m.round = take(in);
    m.echo_us = take(in);
    m.offset = take(in);
    m.snap = flags & 8 ? NULL : &snap;
    m.bytes = STR("12345678");
    snap.config.count = 3;
    snap.config.members[0] = (struct raft_member){1, true};
    read_entries(in, entries, &m);
    raft_step(r, &(struct raft_event){.kind = RAFT_EV_MESSAGE, .message = &m}, now);
    for (uint32_t i = 0; i < m.count; i++)
        raft_blob_unref(entries[i].data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct raft *r = start();
    uint64_t now = 0, seq = 0, fetched = 0, fetch_index = 0;
    while (in.at < in.end) {
        uint64_t what = take(&in);
        struct raft_event ev = {.kind = RAFT_EV_TICK};
        now += take(&in) & 0xfff;
        if (what == 1)
            now = raft_next_us(r) < UINT64_MAX && raft_next_us(r) > now ? raft_next_us(r) : now;
        else if (what == 2)
            ev = (struct raft_event){.kind = RAFT_EV_STORED, .seq = seq};
        else if (what == 3)
            ev = (struct raft_event){.kind = RAFT_EV_PROPOSE, .bytes = STR("x"), .cookie = 1};
        else if (what == 4)
            ev = (struct raft_event){.kind = RAFT_EV_READ, .cookie = 2};
        else if (what == 5)
            ev = (struct raft_event){
                .kind = RAFT_EV_SNAP_STORED, .index = fetch_index, .offset = fetched};
        if (what < 6)
            raft_step(r, &ev, now);
        else
            message(r, &in, now);
        const struct raft_effects *fx = raft_effects(r);
        for (uint32_t i = 0; i < fx->write_count; i++) {
            seq = fx->write_seq;
            if (fx->writes[i].kind == RAFT_WRITE_CHUNK) {
                fetch_index = fx->writes[i].snap->index;
                fetched = fx->writes[i].offset + fx->writes[i].bytes.len;
            }
        }
        struct raft_status s;
        raft_status(r, &s);
        ensure(s.commit <= s.last && s.applied <= s.commit);
    }
    raft_free(r);
    return 0;
}
