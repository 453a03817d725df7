/* SPDX-License-Identifier: Apache-2.0 */
/* A server answers a request however it likes: what the request then says is memory of ours. The
 * first byte is the request, the rest the answer. */
#include "base/ensure.h"
#include "queue/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

union any {
    struct queue_request request;
    struct queue_status status;
    struct queue_join join;
    struct queue_take take;
    struct queue_commit commit;
    struct queue_beat beat;
    struct queue_list list;
    struct queue_workers workers;
    struct queue_dead_list dead_list;
    struct queue_dead_show dead_show;
    struct queue_events events;
    struct queue_explain explain;
    struct queue_map map;
    struct queue_results results;
};

static uint64_t sum(const void *bytes, size_t count, size_t size)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count * size; i++)
        total += ((const unsigned char *)bytes)[i];
    return total;
}

static uint64_t texts(const struct str *s, size_t count)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += sum(s[i].ptr, s[i].len, 1);
    return total;
}

static uint64_t use(const union any *a)
{
    switch (a->request.verb) {
    case QUEUE_STATUS:
        return texts(&a->status.kernel, 1) + texts(&a->status.input, 1);
    case QUEUE_JOIN:
        return texts(&a->join.kernel, 1) + texts(&a->join.input, 1) + texts(&a->join.version, 1);
    case QUEUE_TAKE:
        return sum(a->take.runs, a->take.run_count, sizeof *a->take.runs);
    case QUEUE_COMMIT:
        ensure(a->commit.accepted <= a->commit.count);
        return sum(a->commit.verdicts, a->commit.verdict_count, sizeof *a->commit.verdicts);
    case QUEUE_BEAT:
        return sum(a->beat.gone, a->beat.gone_count, sizeof *a->beat.gone);
    case QUEUE_LIST:
        return a->list.count ? texts(&a->list.jobs[a->list.count - 1].job, 1) : 0;
    case QUEUE_WORKERS:
        return a->workers.count ? texts(&a->workers.workers[a->workers.count - 1].name, 1) : 0;
    case QUEUE_DEAD_LIST:
        return sum(a->dead_list.dead, a->dead_list.dead_count, sizeof *a->dead_list.dead);
    case QUEUE_DEAD_SHOW:
        return sum(a->dead_show.reasons, a->dead_show.reason_count, sizeof *a->dead_show.reasons);
    case QUEUE_EVENTS:
        return sum(a->events.events, a->events.event_count, sizeof *a->events.events);
    case QUEUE_EXPLAIN:
        return texts(&a->explain.why, 1) + texts(&a->explain.reason, 1);
    case QUEUE_RESULTS:
        return texts(&a->results.lines, 1);
    case QUEUE_MAP:
        return sum(a->map.cells, a->map.cell_count, sizeof *a->map.cells) +
               sum(a->map.leases, a->map.lease_count, sizeof *a->map.leases) +
               sum(a->map.ran, a->map.ran_count, sizeof *a->map.ran);
    default:
        return 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ledger_held held[] = {{5, 50}, {6, 60}};
    struct resp_scan scan = {0};
    struct err err = {0};
    struct buf scratch;
    size_t len;
    union any a;
    if (size == 0 || resp_scan(&scan, str_make(data + 1, size - 1), 4096, &len))
        return 0;
    memset(&a, 0, sizeof a);
    a.request.verb = (enum queue_verb)(data[0] % QUEUE_VERBS);
    if (a.request.verb == QUEUE_JOIN) {
        a.join.held = held;
        a.join.held_count = 2;
    } else if (a.request.verb == QUEUE_TAKE) {
        a.take.count = 64;
    } else if (a.request.verb == QUEUE_COMMIT) {
        a.commit.count = 2;
    }
    buf_init(&scratch, 1 << 20);
    int rc = resp_decode(&a.request, str_make(data + 1, len), &scratch, &err);
    ensure((rc == 0) == (err.text[0] == '\0'));
    uint64_t used = rc ? 0 : use(&a);
    buf_done(&scratch);
    return used == UINT64_MAX;
}
