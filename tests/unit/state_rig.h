/* SPDX-License-Identifier: Apache-2.0 */
/* A state on two simulated disks, whose clients add up numbers. */
#ifndef TESTS_STATE_RIG_H
#define TESTS_STATE_RIG_H

#include "base/buf.h"
#include "base/mem.h"
#include "sim/disk.h"
#include "state/state.h"

#include <stdio.h>
#include <stdlib.h>

struct rig_sum {
    uint64_t count, sum;
};

struct rig {
    struct sim_disk *rows, *log;
    struct clock_virtual clock;
    struct state_options o;
    struct state *state;
    uint64_t expected; /* messages until a client is ready; 0: never */
    uint64_t pieces;   /* a merge gives so many rows; 0: one */
    struct err e;
};

static const struct str rig_columns[] = {{"msg_id", 6}, {"chunk_number", 12}, {"value", 5}};

static inline int rig_apply(void *user, struct str client, void *state, const struct state_row *row)
{
    struct rig_sum *s = state;
    uint64_t value;
    (void)user;
    (void)client;
    int rc = str_to_u64(row->values[1], &value);
    if (rc)
        return rc;
    s->count += row->rows;
    s->sum += value;
    return 0;
}

static inline int rig_merge(void *user, struct str client, const void *state,
                            struct state_values *values)
{
    const struct rig *r = user;
    const struct rig_sum *s = state;
    uint64_t left = s->sum;
    char digits[20];
    int rc = 0;
    (void)client;
    for (uint64_t i = r->pieces ? r->pieces : 1; i > 0 && !rc; i--) {
        uint64_t part = left / i;
        left -= part;
        rc = state_value_add(values, STR(""));
        if (!rc)
            rc = state_value_add(values, str_make(digits, str_from_u64(digits, part)));
    }
    return rc;
}

static inline bool rig_ready(void *user, struct str client, const void *state)
{
    const struct rig *r = user;
    const struct rig_sum *s = state;
    (void)client;
    return r->expected && s->count >= r->expected;
}

static inline void rig_init(struct rig *r, uint64_t seed)
{
    *r = (struct rig){0};
    if (sim_disk_new(seed, &r->rows) || sim_disk_new(seed + 1, &r->log))
        abort();
    clock_virtual_init(&r->clock, 0);
    r->o = (struct state_options){
        .columns = rig_columns,
        .column_count = 3,
        .state_bytes = sizeof(struct rig_sum),
        .user = r,
        .apply = rig_apply,
        .merge = rig_merge,
        .ready = rig_ready,
        .clock = &r->clock.clock,
        .disk_rows = sim_disk_disk(r->rows),
        .disk_log = sim_disk_disk(r->log),
    };
}

static inline int rig_open(struct rig *r)
{
    r->e = (struct err){0};
    r->state = NULL;
    return state_open("sim", &r->o, &r->state, &r->e);
}

static inline void rig_done(struct rig *r)
{
    state_close(r->state);
    r->state = NULL;
    sim_disk_free(r->rows);
    sim_disk_free(r->log);
}

/* The process dies: everything written is kept. */
static inline void rig_kill(struct rig *r)
{
    sim_disk_crash(r->rows); /* so that close writes nothing */
    sim_disk_crash(r->log);
    state_close(r->state);
    r->state = NULL;
}

/* Message `n` of a client: its value is n. */
static inline int rig_send(struct rig *r, const char *client, uint64_t n, enum state_outcome *ret)
{
    char id[40], digits[20];
    int len = snprintf(id, sizeof id, "%s%08llu", client, (unsigned long long)n);
    struct str value = str_make(digits, str_from_u64(digits, n));
    const struct str values[] = {value, value};
    const struct state_message m = {.client = str_of(client),
                                    .id = str_make(id, (size_t)len),
                                    .values = values,
                                    .value_count = 2};
    return state_process(r->state, &m, ret, &r->e);
}

/* The client's state; zeros when there is none. */
static inline struct rig_sum rig_sum(struct rig *r, const char *client, int *ret_rc)
{
    void *state = NULL;
    int rc = state_get(r->state, str_of(client), &state, NULL, &r->e);
    if (ret_rc)
        *ret_rc = rc;
    return rc ? (struct rig_sum){0} : *(struct rig_sum *)state;
}

/* A client's file as text; "" when there is none. */
static inline const char *rig_file(struct rig *r, const char *name)
{
    static char text[65536];
    size_t len;
    const char *bytes = sim_disk_bytes(r->rows, name, &len);
    if (!bytes)
        return "";
    len = len < sizeof text ? len : sizeof text - 1;
    memcpy(text, bytes, len);
    text[len] = '\0';
    return text;
}

#endif
