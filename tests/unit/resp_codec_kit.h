/* SPDX-License-Identifier: Apache-2.0 */
/* resp_codec_kit - one request of each kind, and an engine that has no connection. */
#ifndef TESTS_RESP_CODEC_KIT_H
#define TESTS_RESP_CODEC_KIT_H

#include "tap.h"

#include "queue/redis.h"
#include "queue/resp.h"

#include <stdio.h>
#include <string.h>

static const struct url here = {.scheme = URL_REDIS};
static struct queue_config config = {.url = &here};
static struct resp_engine engine = {.queue = {.config = &config}};

static inline void on_done(struct queue_request *r, int rc, const struct err *err)
{
    (void)r;
    (void)rc;
    (void)err;
}

/* One request of each kind; `words` is what it says after the command's name. */
union any {
    struct queue_request request;
    struct queue_call call;
    struct queue_create create;
    struct queue_status status;
    struct queue_list list;
    struct queue_control_call control;
    struct queue_join join;
    struct queue_take take;
    struct queue_commit commit;
    struct queue_fail fail;
    struct queue_release release;
    struct queue_beat beat;
    struct queue_leave leave;
    struct queue_lost lost;
    struct queue_workers workers;
    struct queue_results results;
    struct queue_trim trim;
    struct queue_dead_list dead_list;
    struct queue_dead_show dead_show;
    struct queue_dead_redrive dead_redrive;
    struct queue_dead_drop dead_drop;
    struct queue_events events;
    struct queue_explain explain;
    struct queue_map map;
};

static struct ledger_held held[] = {{5, 50}, {6, 60}};
static const struct queue_lease leases[] = {{7, 70}, {8, 80}};
static const struct queue_result results[] = {
    {.chunk = 3, .epoch = 30, .params = 10, .duration_us = 1500000, .is_sum = true, .sum = -5},
    {.chunk = 4, .epoch = 31, .params = 10, .duration_us = 7, .output = {"a\0b", 3}},
};

static inline union any make(enum queue_verb verb)
{
    union any a;
    struct queue_worker w = {STR("w"), (1ull << 62) + 1};
    memset(&a, 0, sizeof a);
    queue_request_init(&a.request, verb, on_done, NULL);
    a.call.job = STR("j");
    switch (verb) {
    case QUEUE_CREATE:
        a.create.spec = (struct ledger_spec){.first = -3,
                                             .params = 25,
                                             .chunk_params = 10,
                                             .window = 100,
                                             .max_attempts = 5,
                                             .retry_min_ms = 1,
                                             .retry_max_ms = 2,
                                             .retry_jitter = 3,
                                             .stale_ms = 4,
                                             .kernel = STR("k"),
                                             .input = STR("i")};
        break;
    case QUEUE_CONTROL:
        a.control.control = QUEUE_FORGET;
        break;
    case QUEUE_JOIN:
        a.join.worker = w;
        a.join.slots = 2;
        a.join.host = STR("box");
        a.join.inflight = 9;
        a.join.block_ms = 700;
        a.join.held = held;
        a.join.held_count = 2;
        break;
    case QUEUE_TAKE:
        a.take.worker = w;
        a.take.count = 64;
        a.take.block_ms = 500;
        break;
    case QUEUE_COMMIT:
        a.commit.worker = w;
        a.commit.results = results;
        a.commit.count = 2;
        break;
    case QUEUE_FAIL:
        a.fail.worker = w;
        a.fail.chunk = 1;
        a.fail.epoch = 2;
        a.fail.final = true;
        a.fail.reason = STR("why not");
        break;
    case QUEUE_RELEASE:
    case QUEUE_BEAT:
        a.release.worker = w;
        a.release.leases = leases;
        a.release.count = 2;
        break;
    case QUEUE_LEAVE:
        a.leave.worker = w;
        break;
    case QUEUE_LOST:
        a.lost.worker = w;
        a.lost.reason = STR("killed");
        break;
    case QUEUE_RESULTS:
        a.results.cursor = 11;
        a.results.count = 100;
        a.results.block_ms = 20;
        break;
    case QUEUE_TRIM:
        a.trim.seq = (1795221346450ull << 22) + 3;
        break;
    case QUEUE_DEAD_LIST:
        a.dead_list.after = 4;
        a.dead_list.count = 10;
        break;
    case QUEUE_DEAD_SHOW:
        a.dead_show.chunk = 4;
        break;
    case QUEUE_DEAD_REDRIVE:
        a.dead_redrive.all = true;
        break;
    case QUEUE_DEAD_DROP:
        a.dead_drop.chunk = 4;
        break;
    case QUEUE_EVENTS:
        a.events.after = 6;
        a.events.count = 7;
        break;
    case QUEUE_EXPLAIN:
        a.explain.of_chunk = true;
        a.explain.chunk = 12;
        break;
    case QUEUE_MAP:
        a.map.cells_max = 9;
        a.map.ran_max = 7;
        a.map.since_ms = 12;
        break;
    default:
        break;
    }
    return a;
}

#endif
