/* SPDX-License-Identifier: Apache-2.0 */
/* runner - sends the chunks of all clients to worker 2, in turn.
 *
 * NUM_CHUNKS for each of NUM_CLIENTS, CHUNK_DELAY_MS between two chunks. To make it hard for the
 * receiver: SHUFFLE=SEED sends them in any order, DUPLICATES=P sends P of 100 twice. */
#include "scenario.h"
#include "streams.h"

#include <string.h>
#include <time.h>

static unsigned long long random_state;

static unsigned long long random_below(unsigned long long n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % n;
}

static struct streams_field field(const char *name, const char *value)
{
    return (struct streams_field){name, value, strlen(value)};
}

static void send_chunk(struct streams *queue, long long client, long long chunk)
{
    char name[32], id[64], number[32], value[32];
    snprintf(name, sizeof name, "CLI%lld", client);
    snprintf(id, sizeof id, "%s%08lld", name, chunk);
    snprintf(number, sizeof number, "%lld", chunk);
    snprintf(value, sizeof value, "%lld", 10 * chunk);
    const struct streams_field fields[] = {field("client_id", name), field("msg_id", id),
                                           field("chunk_number", number), field("value", value)};
    streams_send(queue, QUEUE_1_2, fields, 4);
    SAY("Runner: Sent chunk %lld for client %s (value: %s)", chunk, name, value);
}

int main(void)
{
    long long chunks = setting_number("NUM_CHUNKS", 3);
    long long clients = setting_number("NUM_CLIENTS", 2);
    long delay_ms = (long)setting_number("CHUNK_DELAY_MS", 1000);
    unsigned long long duplicates = (unsigned long long)setting_number("DUPLICATES", 0);
    random_state = (unsigned long long)setting_number("SHUFFLE", 0);
    size_t count = (size_t)(chunks * clients);
    long long *order = malloc(count * sizeof *order);
    if (!order)
        return 1;
    for (size_t i = 0; i < count; i++) {
        size_t with = random_state ? random_below(i + 1) : i;
        order[i] = order[with];
        order[with] = (long long)i;
    }
    struct streams *queue = streams_open(queue_address());
    for (size_t i = 0; i < count; i++) {
        const struct timespec pause = {delay_ms / 1000, delay_ms % 1000 * 1000000};
        long long client = order[i] % clients + 1, chunk = order[i] / clients + 1;
        send_chunk(queue, client, chunk);
        if (duplicates && random_below(100) < duplicates)
            send_chunk(queue, client, chunk);
        nanosleep(&pause, NULL);
    }
    SAY("Runner: All chunks sent");
    streams_close(queue);
    free(order);
    return 0;
}
