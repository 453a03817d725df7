/* SPDX-License-Identifier: Apache-2.0 */
/* aggregate - what a shared library exports to be the aggregate of a pipeline's stage.
 *
 *     #include <ttg/aggregate.h>
 *
 *     struct longest { size_t len; char text[100]; };
 *
 *     static int rebuild(void *user, struct ttg_bytes client, void *state,
 *                        const struct ttg_kept *row)
 *     {
 *         struct longest *l = state;
 *         if (row->key.len > l->len && row->key.len < sizeof l->text) {
 *             memcpy(l->text, row->key.ptr, row->key.len);
 *             l->len = row->key.len;
 *         }
 *         return 0;
 *     }
 *
 *     static int result(void *user, struct ttg_bytes client, const void *state,
 *                       struct ttg_rows *out)
 *     {
 *         const struct longest *l = state;
 *         char number[24];
 *         int len = snprintf(number, sizeof number, "%zu", l->len);
 *         return ttg_put(out, l->text, l->len, number, (size_t)len);
 *     }
 *
 *     TTG_AGGREGATE(.state_bytes = sizeof(struct longest), .rebuild = rebuild, .result = result);
 *
 *     cc -shared -fPIC -O2 -o longest.so longest.c
 *     {"name": "longest", "from": "words", "aggregate": "longest.so"}
 *
 * Each message of a client becomes a row of its file; `rebuild` adds a row to the client's state,
 * when the message comes and again after a restart. When the client has ended on all paths,
 * `result` makes the messages that go on, once. Functions return 0; anything else from `extract` or
 * `rebuild` makes the message a dead letter, and from `result` stops the pipeline, which can be run
 * again with a better library. They are called by one thread for a partition; the library is loaded
 * once for all partitions of a process. docs/pipelines.md has the rest. */
#ifndef TTG_AGGREGATE_H
#define TTG_AGGREGATE_H

#include <stdint.h>
#include <ttg/bytes.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when a library must be compiled again. New fields at an end do not count: see `size`. */
#define TTG_AGGREGATE_ABI 1

/* What is kept of a message: key and value are its own (the value is JSON), unless `extract` has
 * put others. A summary stands for `rows` messages, and has no id. */
struct ttg_kept {
    struct ttg_bytes id, key, value;
    uint64_t rows;
};

/* Where functions put keys and values, with ttg_put. */
struct ttg_rows {
    int (*put)(struct ttg_rows *rows, struct ttg_bytes key, struct ttg_bytes value);
};

struct ttg_aggregate {
    uint32_t abi; /* TTG_AGGREGATE_ABI */
    uint32_t size;
    const char *name;
    size_t state_bytes; /* of a client's state: zeros at first, up to 1 MiB */

    /* Adds a row to a client's state; must not change it when it fails. Required. */
    int (*rebuild)(void *user, struct ttg_bytes client, void *state, const struct ttg_kept *row);
    /* Puts what is to be sent of a client that has ended; each value is JSON. The same state must
     * give the same. Required. */
    int (*result)(void *user, struct ttg_bytes client, const void *state, struct ttg_rows *out);
    /* Puts what is to be kept of a message: one key and value, any bytes. Optional. */
    int (*extract)(void *user, struct ttg_bytes client, const struct ttg_kept *message,
                   struct ttg_rows *out);
    /* Puts rows that, given to `rebuild` one after the other, do to a new state what all rows so
     * far did: the first one's `rows` will be the number of messages, the others' 0. Optional: a
     * client's file then grows with its messages. */
    int (*merge)(void *user, struct ttg_bytes client, const void *state, struct ttg_rows *out);
    /* Frees what a state points to: the client leaves memory, and perhaps comes back. Optional. */
    void (*drop)(void *user, void *state);
    /* How many bytes a state points to. Optional. */
    size_t (*memory)(void *user, const void *state);

    /* Once for a partition: sets *ret_user. `argument` is the stage's, or "". Not 0: the pipeline
     * does not start; `reason` (256 bytes) may say why. Optional. */
    int (*init)(const char *argument, void **ret_user, char *reason);
    void (*done)(void *user);
};

/* Not 0: no room; return it. */
static inline int ttg_put(struct ttg_rows *rows, const void *key, size_t key_len, const void *value,
                          size_t value_len)
{
    struct ttg_bytes k, v;
    k.ptr = (const char *)key;
    k.len = key_len;
    v.ptr = (const char *)value;
    v.len = value_len;
    return (rows->put)(rows, k, v);
}

#ifdef __cplusplus
#define TTG_AGGREGATE_EXTERN extern "C"
#else
#define TTG_AGGREGATE_EXTERN extern
#endif

/* Defines the one symbol that the stage looks for: `ttg_aggregate`. */
#define TTG_AGGREGATE(...)                                                                         \
    TTG_AGGREGATE_EXTERN __attribute__((visibility("default")))                                    \
    const struct ttg_aggregate ttg_aggregate;                                                      \
    const struct ttg_aggregate ttg_aggregate = {                                                   \
        .abi = TTG_AGGREGATE_ABI, .size = sizeof(struct ttg_aggregate), __VA_ARGS__}

#ifdef __cplusplus
}
#endif

#endif
