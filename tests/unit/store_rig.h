/* SPDX-License-Identifier: Apache-2.0 */
/* A store on a simulated disk, and a model of what it was told: what was acknowledged must be there
 * after whatever happened, what was not may be, and nothing else ever is. */
#ifndef TESTS_STORE_RIG_H
#define TESTS_STORE_RIG_H

#include "base/hash.h"
#include "base/mem.h"
#include "base/pack.h"
#include "sim/disk.h"
#include "store/blob.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

enum { RIG_RECORDS_MAX = 4096, RIG_RECORD_BYTES_MAX = 6000, RIG_BLOBS_MAX = 64 };

/* The "core" of the tests: a digest of all records, and blobs that some of them write and free. */
struct rig_state {
    uint64_t last, digest;
    struct {
        struct blob_ref ref;
        uint64_t salt, len;
    } blobs[RIG_BLOBS_MAX];
    size_t blob_count;
};

struct rig {
    struct sim_disk *sim;
    struct store_options o;
    struct store *store;
    struct rig_state state;
    uint64_t acked; /* by an earlier life or this one */
    uint64_t appended;
    uint64_t digests[RIG_RECORDS_MAX + 1]; /* of the state after each record */
    uint64_t salt;                         /* so that a rewritten record has other bytes */
    struct store_report report;
    struct err e;
    bool blobs;
    char why[200]; /* what promise was broken */
};

static inline void rig_init(struct rig *r, uint64_t seed)
{
    memset(r, 0, sizeof *r);
    if (sim_disk_new(seed, &r->sim))
        abort();
    r->o = (struct store_options){
        .disk = sim_disk_disk(r->sim), .segment_bytes = 16384, .blob_file_bytes = 4096};
    r->salt = seed * 1000;
}

static inline void rig_done(struct rig *r)
{
    store_close(r->store);
    r->store = NULL;
    sim_disk_free(r->sim);
}

static inline void rig_bytes(char *out, size_t len, uint64_t salt)
{
    struct prng p;
    prng_init(&p, salt);
    for (size_t i = 0; i < len; i++)
        out[i] = (char)prng_u64(&p);
}

static inline int rig_broken(struct rig *r, const char *what, uint64_t at)
{
    if (!r->why[0])
        snprintf(r->why, sizeof r->why, "%s at %llu", what, (unsigned long long)at);
    return TTG_ECANCELED;
}

static inline int rig_blob_write(struct rig *r, uint64_t salt)
{
    static char bytes[1500];
    struct rig_state *s = &r->state;
    size_t len = 100 + salt % 1400;
    if (s->blob_count == RIG_BLOBS_MAX)
        return 0;
    rig_bytes(bytes, len, salt);
    struct blob_ref ref;
    /* As the core does: what cannot be moved out stays in memory, here: is not kept. */
    if (store_blob_write(r->store, str_make(bytes, len), &ref))
        return 0;
    s->blobs[s->blob_count].ref = ref;
    s->blobs[s->blob_count].salt = salt;
    s->blobs[s->blob_count++].len = len;
    return 0;
}

static inline int rig_blobs_check(struct rig *r)
{
    static char bytes[1500];
    for (size_t i = 0; i < r->state.blob_count; i++) {
        struct buf out;
        buf_init(&out, 10000);
        size_t len = (size_t)r->state.blobs[i].len;
        rig_bytes(bytes, len, r->state.blobs[i].salt);
        int rc = store_blob_read(r->store, r->state.blobs[i].ref, &out);
        bool same = !rc && str_eq(buf_str(&out), str_make(bytes, len));
        buf_done(&out);
        if (!same)
            return rig_broken(r, "a blob is not what was written", i);
    }
    return 0;
}

/* Runs a record, live or in replay. */
static inline void rig_apply(struct rig *r, uint64_t position, uint32_t group, uint32_t type,
                             struct str bytes)
{
    struct rig_state *s = &r->state;
    s->digest = hash_xxh3(bytes.ptr, bytes.len, s->digest + position * 31 + group * 7 + type);
    s->last = position;
    if (!r->blobs)
        return;
    if (type % 4 == 1)
        rig_blob_write(r, s->digest);
    if (type % 4 == 2 && s->blob_count > 0) {
        size_t i = s->digest % s->blob_count;
        store_blob_free(r->store, s->blobs[i].ref);
        s->blobs[i] = s->blobs[--s->blob_count];
    }
}

static inline int rig_on_record(void *ctx, const struct store_record *rec)
{
    struct rig *r = ctx;
    if (rec->position != r->state.last + 1)
        return rig_broken(r, "a record has the wrong position", rec->position);
    rig_apply(r, rec->position, rec->group, rec->type, rec->bytes);
    if (rec->position > r->appended || r->state.digest != r->digests[rec->position])
        return rig_broken(r, "a record has other bytes", rec->position);
    return 0;
}

static inline int rig_on_snapshot(void *ctx, uint64_t position, struct str bytes)
{
    struct rig *r = ctx;
    if (bytes.len < sizeof r->state)
        return rig_broken(r, "a snapshot is short", position);
    memcpy(&r->state, bytes.ptr, sizeof r->state);
    if (r->state.last != position || r->state.digest != r->digests[position])
        return rig_broken(r, "a snapshot has another state", position);
    return 0;
}

/* Opens and replays. 0, or the error of the store; a broken promise is in `why`. */
static inline int rig_start(struct rig *r)
{
    r->state = (struct rig_state){0};
    r->e = (struct err){0};
    int rc = store_open(&r->o, &r->store, &r->e);
    if (rc) {
        r->store = NULL;
        return rc;
    }
    const struct store_recovery recovery = {r, rig_on_snapshot, rig_on_record};
    rc = store_recover(r->store, &recovery, &r->report, &r->e);
    if (rc) {
        store_close(r->store);
        r->store = NULL;
        return rc;
    }
    if (r->report.last < r->acked)
        return rig_broken(r, "acknowledged records are lost behind", r->report.last);
    if (r->state.last != r->report.last || store_last_position(r->store) != r->report.last)
        return rig_broken(r, "the report is wrong", r->report.last);
    r->appended = r->acked = r->report.last;
    return r->blobs ? rig_blobs_check(r) : 0;
}

/* Without the rig's state: `on_record` counts in a uint64_t, which is returned. */
static inline uint64_t
rig_start_counting(struct rig *r, int (*on_record)(void *ctx, const struct store_record *rec))
{
    uint64_t count = 0;
    const struct store_recovery recovery = {&count, NULL, on_record};
    if (store_open(&r->o, &r->store, &r->e) || store_recover(r->store, &recovery, NULL, &r->e))
        fail_msg("%s", r->e.text);
    return count;
}

static inline void rig_stop(struct rig *r)
{
    store_close(r->store);
    r->store = NULL;
}

/* Appends one record of a size that follows from its position. */
static inline int rig_append(struct rig *r, uint64_t now_ms)
{
    static char bytes[RIG_RECORD_BYTES_MAX];
    struct prng p;
    prng_init(&p, ++r->salt);
    size_t len = prng_chance(&p, 0.1) ? prng_below(&p, RIG_RECORD_BYTES_MAX) : prng_below(&p, 120);
    uint32_t type = (uint32_t)prng_below(&p, 5), group = (uint32_t)prng_below(&p, 3);
    uint64_t position;
    rig_bytes(bytes, len, r->salt);
    int rc = store_reserve(r->store, 1, len, now_ms);
    if (rc)
        return rc;
    rig_apply(r, r->appended + 1, group, type, str_make(bytes, len));
    rc = store_append(r->store, group, type, str_make(bytes, len), &position);
    if (rc)
        return rc;
    if (position != r->appended + 1)
        return rig_broken(r, "append gave the position", position);
    r->appended = position;
    r->digests[position] = r->state.digest;
    return 0;
}

/* One batch through take, write, done; then what the store says may be answered. */
static inline int rig_batch(struct rig *r, uint64_t now_ms)
{
    struct store_batch *b = store_batch_take(r->store, now_ms);
    if (!b)
        return 0;
    store_batch_write(r->store, b);
    int rc = store_batch_done(r->store, b, &r->e);
    if (!rc && r->o.sync == STORE_SYNC_ALWAYS)
        r->acked = store_ack_position(r->store);
    return rc;
}

static inline int rig_snapshot(struct rig *r, size_t filler)
{
    static char bytes[512];
    struct store_snapshot *w;
    int rc = store_snapshot_begin(r->store, &w, &r->e);
    if (rc == TTG_EDONE)
        return 0;
    if (rc)
        return rc;
    rc = store_snapshot_write(w, str_make(&r->state, sizeof r->state));
    for (size_t at = 0; at < filler && !rc; at += sizeof bytes) {
        rig_bytes(bytes, sizeof bytes, at);
        rc = store_snapshot_write(w, str_make(bytes, sizeof bytes));
    }
    if (!rc)
        rc = store_snapshot_end(w);
    return store_snapshot_finish(r->store, rc, &r->e);
}

/* A life: records in batches of a few, a snapshot now and then. Ends early with an error. */
static inline int rig_work(struct rig *r, int batches)
{
    struct prng p;
    prng_init(&p, r->salt);
    int rc = 0;
    for (int i = 0; i < batches && !rc; i++) {
        int n = 1 + (int)prng_below(&p, 5);
        for (int k = 0; k < n && !rc; k++)
            rc = rig_append(r, (uint64_t)i);
        if (!rc)
            rc = rig_batch(r, (uint64_t)i);
        if (!rc && prng_chance(&p, 0.12))
            rc = rig_snapshot(r, prng_chance(&p, 0.2) ? 70000 : 0);
    }
    return rc;
}

#endif
