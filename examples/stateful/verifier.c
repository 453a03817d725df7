/* SPDX-License-Identifier: Apache-2.0 */
/* verifier - worker 3: compares each client's sum with what the runner has sent.
 *
 * Results come at least once; the ids of those seen are kept like any worker's messages, so a
 * repetition is known for one, also after a restart. */
#include "scenario.h"
#include "streams.h"

#include <string.h>
#include <ttg/state.h>

static int rebuild(void *user, struct ttg_bytes client, void *state, const struct ttg_row *row)
{
    (void)user;
    (void)client;
    *(uint64_t *)state += row->rows;
    return 0;
}

static void check(const ttg_state *s, int rc)
{
    if (!rc)
        return;
    fprintf(stderr, "Worker 3: %s: %s\n", ttg_error_name(rc), ttg_state_message(s));
    exit(1);
}

static void verify(ttg_state *s, const struct streams_message *m, long long expected)
{
    const char *client = streams_value(m, "client_id"), *id = streams_value(m, "msg_id");
    const char *sum = streams_value(m, "sum");
    const struct ttg_bytes value = {sum, strlen(sum)};
    const struct ttg_state_input message = {.size = sizeof message,
                                            .client = {client, strlen(client)},
                                            .id = {id, strlen(id)},
                                            .values = &value,
                                            .value_count = 1};
    enum ttg_state_outcome outcome;
    uint64_t rows = 0;
    check(s, ttg_state_process(s, &message, &outcome));
    if (outcome != TTG_STATE_NEW)
        return;
    check(s, ttg_state_get(s, message.client, NULL, &rows));
    SAY("Worker 3: Expected sum for client %s: %lld", client, expected);
    SAY("Worker 3: %s [%s] - Expected: %lld, Received: %s%s",
        atoll(sum) == expected && rows == 1 ? "SUCCESS" : "FAILURE", client, expected, sum,
        rows == 1 ? "" : " (another result was there before)");
}

int main(void)
{
    static struct streams_message messages[STREAMS_BATCH];
    static const char *const columns[] = {"msg_id", "sum"};
    const struct ttg_state_options options = {.size = sizeof options,
                                              .columns = columns,
                                              .column_count = 2,
                                              .state_bytes = sizeof(uint64_t),
                                              .rebuild = rebuild};
    long long expected = expected_sum(setting_number("NUM_CHUNKS", 3));
    ttg_state *s;
    check(s, ttg_state_open(&s, setting("VERIFIER_DIR", "run/verifier-data"), &options));
    struct streams *in = streams_open(queue_address());
    streams_group(in, QUEUE_2_3, "worker-3");
    for (;;) {
        size_t count = streams_take(in, messages, STREAMS_BATCH, 1000);
        for (size_t i = 0; i < count; i++)
            verify(s, &messages[i], expected);
        if (count == 0)
            continue;
        check(s, ttg_state_commit(s));
        streams_ack(in, messages, count);
    }
}
