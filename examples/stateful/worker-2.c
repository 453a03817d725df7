/* SPDX-License-Identifier: Apache-2.0 */
/* worker-2 - adds up the chunks of each client, survives kill -9 at any moment, and hands each
 * client's sum on exactly once.
 *
 * The order of its steps is what makes it so, see docs/stateful.md:
 * rows -> commit -> send the results -> confirmed -> finish -> commit -> acknowledge. */
#include "scenario.h"
#include "streams.h"

#include <string.h>
#include <time.h>
#include <ttg/state.h>

struct sum {
    uint64_t chunks;
    long long sum;
};

static uint64_t expected_chunks;

/* ---- what the state manager asks for ---- */

static int rebuild(void *user, struct ttg_bytes client, void *state, const struct ttg_row *row)
{
    struct sum *s = state;
    (void)user;
    (void)client;
    s->chunks += row->rows;
    s->sum += atoll(row->values[1].ptr);
    return 0;
}

static int extract(void *user, const struct ttg_state_input *message, ttg_values *values)
{
    const struct streams_message *m = message->body;
    const char *chunk = streams_value(m, "chunk_number"), *value = streams_value(m, "value");
    (void)user;
    int rc = ttg_value_add(values, chunk, strlen(chunk));
    return rc ? rc : ttg_value_add(values, value, strlen(value));
}

static int merge(void *user, struct ttg_bytes client, const void *state, ttg_values *values)
{
    char digits[32];
    (void)user;
    (void)client;
    int len = snprintf(digits, sizeof digits, "%lld", ((const struct sum *)state)->sum);
    int rc = ttg_value_add(values, "", 0);
    return rc ? rc : ttg_value_add(values, digits, (size_t)len);
}

static int ready(void *user, struct ttg_bytes client, const void *state)
{
    (void)user;
    (void)client;
    return ((const struct sum *)state)->chunks >= expected_chunks;
}

/* ---- the steps ---- */

static void fail(const ttg_state *s, int rc)
{
    fprintf(stderr, "Worker 2: %s: %s\n", ttg_error_name(rc), ttg_state_message(s));
    exit(1);
}

/* Room may come back: says why nothing goes on, and waits. Anything else ends the worker; the next
 * one goes on from what is on disk. */
static void wait_for_room(const ttg_state *s, int rc)
{
    static time_t said;
    const struct timespec pause = {0, 100000000};
    if (rc != TTG_ENOSPC)
        fail(s, rc);
    if (time(NULL) >= said + 5) {
        SAY("Worker 2: Taking no more chunks: %s", ttg_state_message(s));
        said = time(NULL);
    }
    nanosleep(&pause, NULL);
}

static void commit(ttg_state *s)
{
    for (int rc; (rc = ttg_state_commit(s));)
        wait_for_room(s, rc);
}

static void process(ttg_state *s, const struct streams_message *m)
{
    const char *client = streams_value(m, "client_id"), *chunk = streams_value(m, "chunk_number");
    const char *id = streams_value(m, "msg_id");
    const struct ttg_state_input message = {.size = sizeof message,
                                            .client = {client, strlen(client)},
                                            .id = {id, strlen(id)},
                                            .body = m};
    enum ttg_state_outcome outcome;
    const void *state;
    for (int rc; (rc = ttg_state_process(s, &message, &outcome));)
        wait_for_room(s, rc);
    if (outcome != TTG_STATE_NEW) {
        SAY("Worker 2: Skipping chunk %s for client %s (%s)", chunk, client,
            outcome == TTG_STATE_LATE ? "it is complete without" : "already processed");
        return;
    }
    SAY("Worker 2: Processing chunk %s for client %s", chunk, client);
    int rc = ttg_state_get(s, message.client, &state, NULL);
    if (rc)
        fail(s, rc);
    const struct sum *sum = state;
    if (sum->chunks < expected_chunks)
        SAY("Worker 2: Client %s not ready yet (%llu/%llu chunks, sum: %lld)", client,
            (unsigned long long)sum->chunks, (unsigned long long)expected_chunks, sum->sum);
}

/* Sends the client's result; returns when the queue has it. */
static void send_result(ttg_state *s, struct streams *out, struct ttg_bytes client)
{
    char id[TTG_RESULT_ID_BYTES], digits[32];
    const void *state;
    int rc = ttg_state_get(s, client, &state, NULL);
    if (rc)
        fail(s, rc);
    long long sum = ((const struct sum *)state)->sum;
    int len = snprintf(digits, sizeof digits, "%lld", sum);
    SAY("Worker 2: Client %s is ready! Aggregated sum: %lld", client.ptr, sum);
    ttg_state_result_id(client, (struct ttg_bytes){digits, (size_t)len}, id);
    const struct streams_field fields[] = {{"client_id", client.ptr, client.len},
                                           {"msg_id", id, strlen(id)},
                                           {"sum", digits, (size_t)len}};
    streams_send(out, QUEUE_2_3, fields, 3);
    SAY("Worker 2: Sent result chunk for client %s (sum: %lld)", client.ptr, sum);
}

/* All clients that are ready, and whose rows are on disk. */
static void send_ready(ttg_state *s, struct streams *out)
{
    struct ttg_bytes client;
    int finished = 0;
    while (ttg_state_ready_next(s, &client) == 0) {
        send_result(s, out, client);
        for (int rc; (rc = ttg_state_finish(s, client));)
            wait_for_room(s, rc);
        finished = 1;
    }
    if (finished)
        commit(s);
}

static int say_client(void *ctx, struct ttg_bytes client, const void *state, uint64_t rows,
                      uint64_t duplicates)
{
    (void)ctx;
    (void)state;
    (void)duplicates;
    SAY("Worker 2: Rebuilt state for client %s (%llu unique rows)", client.ptr,
        (unsigned long long)rows);
    return 0;
}

static ttg_state *open_state(void)
{
    static const char *const columns[] = {"msg_id", "chunk_number", "value"};
    const struct ttg_state_options options = {.size = sizeof options,
                                              .columns = columns,
                                              .column_count = 3,
                                              .state_bytes = sizeof(struct sum),
                                              .rebuild = rebuild,
                                              .extract = extract,
                                              .merge = merge,
                                              .ready = ready};
    ttg_state *s;
    SAY("Worker 2: Rebuilding state from metadata...");
    for (int rc;;) {
        rc = ttg_state_open(&s, setting("METADATA_DIR", "/app/worker-data/metadata"), &options);
        if (!rc)
            break;
        wait_for_room(s, rc);
        ttg_state_close(s);
    }
    int rc = ttg_state_rebuild(s, say_client, NULL);
    if (rc)
        fail(s, rc);
    return s;
}

int main(void)
{
    static struct streams_message messages[STREAMS_BATCH];
    size_t batch = (size_t)setting_number("BATCH", STREAMS_BATCH);
    expected_chunks = (uint64_t)setting_number("EXPECTED_CHUNKS", 3);
    ttg_state *s = open_state();
    struct streams *in = streams_open(queue_address()), *out = streams_open(queue_address());
    streams_group(in, QUEUE_1_2, "worker-2");
    for (;;) {
        send_ready(s, out); /* the first time: what an earlier life did not get to */
        size_t count = streams_take(in, messages, batch, 1000);
        for (size_t i = 0; i < count; i++)
            process(s, &messages[i]);
        commit(s); /* also when none came: the files then show all there is */
        send_ready(s, out);
        streams_ack(in, messages, count);
    }
}
