/* SPDX-License-Identifier: Apache-2.0 */
/* state_driver - a stateful worker that reads what to do from its standard input, a line each:
 *
 *     row CLIENT ID VALUE   -> new, duplicate, late, finished
 *     commit | checkpoint | finish CLIENT | forget CLIENT
 *     many N                a row of each of N clients, named by their number; commits by thousands
 *     list                  -> client CLIENT ROWS BYTES, in order of the files
 *     stats                 -> clients_in_memory, memory_bytes, evictions
 *
 * Words are in hex, as they may hold any bytes. usage: state_driver DIR [CLIENTS_MAX] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ttg/state.h>

static ttg_state *state;

static int rebuild(void *user, struct ttg_bytes client, void *s, const struct ttg_row *row)
{
    (void)user;
    (void)client;
    *(uint64_t *)s += row->values[0].len;
    return 0;
}

static void check(int rc)
{
    if (!rc)
        return;
    printf("error %s %s\n", ttg_error_name(rc), ttg_state_message(state));
    exit(1);
}

static struct ttg_bytes unhex(const char *word)
{
    size_t len = word ? strlen(word) / 2 : 0;
    char *out = calloc(1, len + 1);
    for (size_t i = 0; i < len; i++) {
        unsigned byte = 0;
        sscanf(word + 2 * i, "%2x", &byte);
        out[i] = (char)byte;
    }
    return (struct ttg_bytes){out, len};
}

static void row(struct ttg_bytes client, struct ttg_bytes id, struct ttg_bytes value, int say)
{
    static const char *const names[] = {"new", "duplicate", "late", "finished"};
    const struct ttg_state_input m = {
        .size = sizeof m, .client = client, .id = id, .values = &value, .value_count = 1};
    enum ttg_state_outcome outcome;
    check(ttg_state_process(state, &m, &outcome));
    if (say)
        puts(names[outcome]);
}

static void many(uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        char name[32];
        const struct ttg_bytes client = {name,
                                         (size_t)snprintf(name, sizeof name, "client-%" PRIu64, i)};
        row(client, client, client, 0);
        if (i % 1000 == 999)
            check(ttg_state_commit(state));
    }
    check(ttg_state_commit(state));
    puts("done");
}

static int list(void *ctx, struct ttg_bytes client, const void *s, uint64_t rows,
                uint64_t duplicates)
{
    (void)ctx;
    (void)duplicates;
    printf("client ");
    for (size_t i = 0; i < client.len; i++)
        printf("%02x", (unsigned char)client.ptr[i]);
    printf("- %" PRIu64 " %" PRIu64 "\n", rows, *(const uint64_t *)s);
    return 0;
}

static void stats(void)
{
    struct ttg_state_counts now = {.size = sizeof now};
    check(ttg_state_stats(state, &now));
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", now.clients_in_memory, now.memory_bytes,
           now.evictions);
}

static void act(char *line)
{
    const char *verb = strtok(line, " \n"), *words[3];
    for (size_t i = 0; i < 3; i++)
        words[i] = strtok(NULL, " \n");
    /* A dash stands for an empty word, which strtok would pass over. */
    struct ttg_bytes w[3];
    for (size_t i = 0; i < 3; i++)
        w[i] = unhex(words[i] && words[i][0] != '-' ? words[i] : "");
    if (!verb)
        return;
    if (strcmp(verb, "row") == 0)
        row(w[0], w[1], w[2], 1);
    else if (strcmp(verb, "commit") == 0)
        check(ttg_state_commit(state));
    else if (strcmp(verb, "checkpoint") == 0)
        check(ttg_state_checkpoint(state));
    else if (strcmp(verb, "finish") == 0)
        check(ttg_state_finish(state, w[0]));
    else if (strcmp(verb, "forget") == 0)
        check(ttg_state_forget(state, w[0]));
    else if (strcmp(verb, "many") == 0 && words[0])
        many(strtoull(words[0], NULL, 10));
    else if (strcmp(verb, "list") == 0)
        check(ttg_state_rebuild(state, list, NULL));
    else if (strcmp(verb, "stats") == 0)
        stats();
    for (size_t i = 0; i < 3; i++)
        free((void *)(uintptr_t)w[i].ptr);
}

int main(int argc, char **argv)
{
    static const char *const columns[] = {"msg_id", "value"};
    static char line[1 << 20];
    const struct ttg_state_options options = {
        .size = sizeof options,
        .columns = columns,
        .column_count = 2,
        .state_bytes = sizeof(uint64_t),
        .rebuild = rebuild,
        .clients_max = argc > 2 ? strtoull(argv[2], NULL, 10) : 0,
    };
    if (argc < 2)
        return 2;
    check(ttg_state_open(&state, argv[1], &options));
    while (fgets(line, sizeof line, stdin))
        act(line);
    ttg_state_close(state);
    return 0;
}
