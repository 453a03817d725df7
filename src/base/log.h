/* SPDX-License-Identifier: Apache-2.0 */
/* log - one event a line: the event's name first, then key=value.
 *
 *     log_info("lease.expired", kv_u64("task", 17), kv_str("worker", w), kv_u64("age_ms", 5012));
 *     2026-02-09T10:00:12.345Z INFO lease.expired job=sweep task=17 worker=w3 age_ms=5012
 *
 * Values may hold any bytes; they are quoted where needed, so a line stays a line. Every event goes
 * to the ring of recent events; those at or above the level go to the sink. Without a sink nothing
 * is printed: the library is silent, the command installs one that writes to standard error. */
#ifndef TTG_BASE_LOG_H
#define TTG_BASE_LOG_H

#include "base/clock.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

enum kv_type { KV_NONE, KV_STR, KV_U64, KV_I64, KV_F64, KV_BOOL };

struct kv {
    const char *key;
    enum kv_type type;
    union {
        struct str s;
        uint64_t u;
        int64_t i;
        double f;
        bool b;
    } value;
};

static inline struct kv kv_s(const char *key, struct str s)
{
    return (struct kv){key, KV_STR, {.s = s}};
}

/* `text` may be NULL. */
static inline struct kv kv_str(const char *key, const char *text)
{
    return kv_s(key, str_of(text ? text : ""));
}

static inline struct kv kv_u64(const char *key, uint64_t u)
{
    return (struct kv){key, KV_U64, {.u = u}};
}

static inline struct kv kv_i64(const char *key, int64_t i)
{
    return (struct kv){key, KV_I64, {.i = i}};
}

static inline struct kv kv_f64(const char *key, double f)
{
    return (struct kv){key, KV_F64, {.f = f}};
}

static inline struct kv kv_bool(const char *key, bool b)
{
    return (struct kv){key, KV_BOOL, {.b = b}};
}

/* How many lines before this one were left out: only where there are any. */
static inline struct kv kv_left_out(uint64_t count)
{
    return (struct kv){"left_out", count ? KV_U64 : KV_NONE, {.u = count}};
}

/* Gets one whole line with its newline. */
typedef void log_sink(void *ctx, const char *line, size_t len);

struct log_setup {
    enum log_level level;
    enum log_format format;
    struct clock *clock; /* NULL: lines carry no time */
    log_sink *sink;      /* NULL: silent */
    void *sink_ctx;
};

/* For the whole process; call before other threads start. */
void log_setup(const struct log_setup *setup);

/* Sets or, with NULL, drops a piece of context that every later line of the process carries, such
 * as "worker" or "job". `key` is a literal; the value is copied, cut at 64 bytes. */
void log_context(const char *key, const char *value);

/* Whether a line of this level would reach the sink: to skip costly arguments. */
bool log_enabled(enum log_level level);
bool log_is_json(void);

/* False and unchanged when the text names no level or format. */
bool log_level_parse(struct str s, enum log_level *ret_level);
bool log_format_parse(struct str s, enum log_format *ret_format);

/* The level of a line that some process of ours wrote; false: it is no line of a log. */
bool log_line_level(struct str line, enum log_level *ret_level);

void log_emit(enum log_level level, const char *event, const struct kv *kvs, size_t count);

/* For events that may repeat: passes at most one line a second and says how many it left out. */
struct log_limit {
    uint64_t next_ms, left_out;
};
bool log_limit_pass(struct log_limit *l, uint64_t now_ms, uint64_t *ret_left_out);
/* For what may last for days: at most one line a minute. */
bool log_limit_minute(struct log_limit *l, uint64_t now_ms);

#define LOG_KVS(...)                                                                               \
    ((const struct kv[]){{0}, ##__VA_ARGS__}) + 1,                                                 \
        sizeof((const struct kv[]){{0}, ##__VA_ARGS__}) / sizeof(struct kv) - 1
#define log_debug(event, ...) log_emit(LOG_DEBUG, event, LOG_KVS(__VA_ARGS__))
#define log_info(event, ...) log_emit(LOG_INFO, event, LOG_KVS(__VA_ARGS__))
#define log_warn(event, ...) log_emit(LOG_WARN, event, LOG_KVS(__VA_ARGS__))
#define log_error(event, ...) log_emit(LOG_ERROR, event, LOG_KVS(__VA_ARGS__))

#endif
