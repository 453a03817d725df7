/* SPDX-License-Identifier: Apache-2.0 */
/* What streams cost, alone in memory: time and bytes of entries and of pending ones. The same
 * figures of a redis-server: MEMORY USAGE of a stream with the same entries. */
#include "base/mem.h"
#include "core/keys.h"
#include "core/stream.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PAIRS = 6 };

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double begun;

static void report(const char *what, uint64_t n)
{
    double took = seconds() - begun;
    printf("%-46s %8.0f ns  %10.0f /s\n", what, took / (double)n * 1e9, (double)n / took);
    begun = seconds();
}

/* The fields of a task: 150 bytes with their names. */
static size_t make_fields(struct str *fields)
{
    static const char *const text[] = {
        "chunk_id",  "0000012345",        "start_param", "1234500000",
        "end_param", "1234599999",        "created_at",  "2026-01-01T00:00:00.000000Z",
        "job",       "a-job-with-a-name", "description", "0123456789012345678901"};
    size_t bytes = 0;
    for (size_t i = 0; i < 2 * PAIRS; i++) {
        fields[i] = str_of(text[i]);
        bytes += fields[i].len;
    }
    return bytes;
}

static void mechanism(uint64_t n)
{
    struct core_env env = {0};
    struct stream_config config = {100, 4096};
    struct str fields[2 * PAIRS];
    size_t payload = make_fields(fields), values = 0;
    for (size_t i = 0; i < PAIRS; i++)
        values += fields[2 * i + 1].len;
    size_t before = mallinfo2().uordblks;
    struct stream *s = stream_new(&env, &config);
    begun = seconds();
    for (uint64_t i = 1; i <= n; i++)
        stream_append(s, (struct stream_id){1700000000000, i}, fields, PAIRS);
    report("append, 150 bytes", n);
    double bytes = (double)(mallinfo2().uordblks - before) / (double)n;
    printf("%-46s %8.1f bytes (names and values: %zu, values alone: %zu)\n", "an entry takes",
           bytes, payload, values);

    struct stream_group *g = stream_group_add(s, STR("ttg-workers"), STREAM_ID_MIN, 0);
    struct stream_consumer *c[3] = {stream_consumer_add(g, STR("worker-0"), 0),
                                    stream_consumer_add(g, STR("worker-1"), 0),
                                    stream_consumer_add(g, STR("worker-2"), 0)};
    struct stream_pending **pending = mem_array(n, sizeof *pending);
    before = mallinfo2().uordblks;
    begun = seconds();
    for (uint64_t i = 1; i <= n; i++)
        pending[i - 1] = stream_deliver(c[i % 3], (struct stream_id){1700000000000, i}, 5);
    report("deliver", n);
    printf("%-46s %8.1f bytes\n", "a pending entry takes",
           (double)(mallinfo2().uordblks - before) / (double)n);
    begun = seconds();
    for (uint64_t i = 1; i <= n; i++)
        if (!stream_pending_find(g, (struct stream_id){1700000000000, i * 7919 % n + 1}))
            abort();
    report("find a pending entry, at random", n);
    for (uint64_t i = 0; i < n; i++)
        stream_pending_remove(pending[i]);
    report("acknowledge", n);
    for (uint64_t i = 1; i <= n; i++)
        stream_remove(s, (struct stream_id){1700000000000, i}, false);
    report("remove from the front, one by one", n);

    enum { WINDOW = 4096 };
    uint64_t base = n;
    for (uint64_t i = 1; i <= n; i++) {
        stream_append(s, (struct stream_id){1700000000000, base + i}, fields, PAIRS);
        pending[i - 1] = stream_deliver(c[i % 3], (struct stream_id){1700000000000, base + i}, 5);
        if (i <= WINDOW)
            continue;
        uint64_t k = i - WINDOW;
        stream_pending_remove(pending[k - 1]);
        stream_remove(s, (struct stream_id){1700000000000, base + k}, false);
    }
    report("append, deliver, acknowledge, remove", n);
    stream_free(s);
    mem_free(pending);
}

static int append_bytes(void *ctx, struct str bytes)
{
    return buf_add_str(ctx, bytes);
}

/* A snapshot of a stream whose entries are all pending. */
static void snapshot(uint64_t n)
{
    struct core *c, *again;
    struct stream *s;
    struct str fields[2 * PAIRS];
    struct buf bytes;
    make_fields(fields);
    buf_init(&bytes, SIZE_MAX / 2);
    if (core_new(NULL, &c) || core_new(NULL, &again) || key_stream_open(c, STR("s"), &s))
        abort();
    struct stream_group *g = stream_group_add(s, STR("g"), STREAM_ID_MIN, 0);
    struct stream_consumer *who = stream_consumer_add(g, STR("c"), 0);
    for (uint64_t i = 1; i <= n; i++) {
        stream_append(s, (struct stream_id){1700000000000, i}, fields, PAIRS);
        stream_deliver(who, (struct stream_id){1700000000000, i}, 5);
    }
    begun = seconds();
    if (core_save(c, append_bytes, &bytes))
        abort();
    report("save, an entry with its pending one", n);
    if (core_load(again, buf_str(&bytes)))
        abort();
    report("load", n);
    if (core_digest(c) != core_digest(again))
        abort();
    printf("%-46s %8.1f bytes\n", "in a snapshot", (double)buf_len(&bytes) / (double)n);
    core_free(c);
    core_free(again);
    buf_done(&bytes);
}

static void commands(uint64_t n)
{
    struct core *c;
    struct buf out;
    struct str fields[2 * PAIRS], argv[3 + 2 * PAIRS] = {STR("XADD"), STR("s"), STR("*")};
    make_fields(fields);
    memcpy(argv + 3, fields, sizeof fields);
    buf_init(&out, 1 << 30);
    core_new(NULL, &c);
    struct reply reply = {.out = &out};
    struct core_call call = {.now_ms = 1700000000000, .reply = &reply};
    begun = seconds();
    for (uint64_t i = 0; i < n; i++) {
        call.now_ms += i % 8 == 0;
        call.argc = sizeof argv / sizeof *argv;
        call.argv = argv;
        buf_clear(&out);
        core_exec(c, core_find(argv[0]), &call);
    }
    report("XADD *", n);
    static const struct str group[] = {STR("XGROUP"), STR("CREATE"), STR("s"), STR("g"), STR("0")};
    static const struct str read[] = {STR("XREADGROUP"), STR("GROUP"), STR("g"),
                                      STR("c"),          STR("COUNT"), STR("1"),
                                      STR("STREAMS"),    STR("s"),     STR(">")};
    call.argc = 5;
    call.argv = group;
    core_exec(c, core_find(group[0]), &call);
    begun = seconds();
    for (uint64_t i = 0; i < n; i++) {
        buf_clear(&out);
        call.argc = 9;
        call.argv = read;
        core_exec(c, core_find(read[0]), &call);
        /* *1 *2 $1 s *1 *2 $ID */
        const char *at = buf_ptr(&out) + 4 + 4 + 7 + 4 + 4;
        struct str rest, id = str_make(strchr(at, '\n') + 1, 40);
        id = str_cut(id, '\r', &rest);
        struct str ack[] = {STR("XACK"), STR("s"), STR("g"), id};
        call.argc = 4;
        call.argv = ack;
        core_exec(c, core_find(ack[0]), &call);
        if (!call.changed)
            abort();
    }
    report("XREADGROUP COUNT 1 and XACK", n);
    core_free(c);
    buf_done(&out);
}

int main(int argc, char **argv)
{
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    mechanism(n);
    commands(n);
    snapshot(n);
    return 0;
}
