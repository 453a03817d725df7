/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/buf.h"
#include "base/ring.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

enum { LOG_LINE_BYTES_MAX = 16384, LOG_CONTEXTS_MAX = 8, LOG_CONTEXT_BYTES_MAX = 64 };

static struct {
    pthread_mutex_t lock;
    struct log_setup setup;
    struct {
        const char *key;
        char value[LOG_CONTEXT_BYTES_MAX + 1];
    } contexts[LOG_CONTEXTS_MAX];
    size_t context_count;
    char line[LOG_LINE_BYTES_MAX + 3]; /* being built: "}\n" always fits, and a NUL */
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .setup = {.level = LOG_INFO}};

static const char *const level_names[] = {"DEBUG", "INFO", "WARN", "ERROR"};

static void lock(void)
{
    pthread_mutex_lock(&state.lock);
}

static void unlock(void)
{
    pthread_mutex_unlock(&state.lock);
}

void log_setup(const struct log_setup *setup)
{
    static bool handlers;
    if (!handlers) /* a forked child may log although another thread was just logging */
        handlers = pthread_atfork(lock, unlock, unlock) == 0;
    state.setup = *setup;
}

void log_context(const char *key, const char *value)
{
    lock();
    size_t i = 0;
    while (i < state.context_count && strcmp(state.contexts[i].key, key) != 0)
        i++;
    if (!value && i < state.context_count) {
        state.context_count--; /* the others keep their order */
        for (; i < state.context_count; i++)
            state.contexts[i] = state.contexts[i + 1];
    }
    if (value && i < LOG_CONTEXTS_MAX) {
        if (i == state.context_count)
            state.context_count++;
        state.contexts[i].key = key;
        snprintf(state.contexts[i].value, sizeof state.contexts[i].value, "%s", value);
    }
    unlock();
}

bool log_enabled(enum log_level level)
{
    return state.setup.sink && level >= state.setup.level;
}

bool log_is_json(void)
{
    return state.setup.format == LOG_JSON;
}

bool log_level_parse(struct str s, enum log_level *ret_level)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++)
        if (str_eq_nocase(s, str_of(level_names[i]))) {
            *ret_level = (enum log_level)i;
            return true;
        }
    if (!str_eq_nocase(s, STR("warning")))
        return false;
    *ret_level = LOG_WARN;
    return true;
}

bool log_format_parse(struct str s, enum log_format *ret_format)
{
    bool json = str_eq_nocase(s, STR("json"));
    if (!json && !str_eq_nocase(s, STR("text")))
        return false;
    *ret_format = json ? LOG_JSON : LOG_TEXT;
    return true;
}

/* "TIME LEVEL event ..." or {"time":"...","level":"LEVEL",...}, both also without a time. */
bool log_line_level(struct str line, enum log_level *ret_level)
{
    static const struct str time = STR("{\"time\":\""), level = STR("\"level\":\"");
    struct str rest, word;
    if (str_starts(line, STR("{"))) {
        if (str_starts(line, time))
            str_cut(str_make(line.ptr + time.len, line.len - time.len), '"', &rest);
        else
            rest = line;
        if (rest.len < 1 || !str_starts(str_make(rest.ptr + 1, rest.len - 1), level))
            return false;
        rest = str_make(rest.ptr + 1 + level.len, rest.len - 1 - level.len);
        word = str_cut(rest, '"', &rest);
    } else {
        word = str_cut(line, ' ', &rest);
        if (word.len > 0 && word.ptr[0] >= '0' && word.ptr[0] <= '9')
            word = str_cut(rest, ' ', &rest);
    }
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++)
        if (str_eq(word, str_of(level_names[i]))) {
            *ret_level = (enum log_level)i;
            return true;
        }
    return false;
}

static bool plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return s.len > 0;
}

/* On a full line the add fails and the value is left out: the event itself still gets through. */
static int add_value(struct buf *b, const struct kv *kv, enum log_format format)
{
    switch (kv->type) {
    case KV_STR:
        if (format == LOG_TEXT && plain(kv->value.s))
            return buf_add_str(b, kv->value.s);
        return buf_add_json(b, kv->value.s);
    case KV_U64:
        return buf_add_u64(b, kv->value.u);
    case KV_I64:
        return buf_add_i64(b, kv->value.i);
    case KV_F64:
        if (format == LOG_JSON && !isfinite(kv->value.f))
            return buf_add_str(b, STR("null"));
        return buf_printf(b, "%.6g", kv->value.f);
    case KV_BOOL:
        return buf_add_str(b, kv->value.b ? STR("true") : STR("false"));
    case KV_NONE:
        break;
    }
    return 0;
}

static void add_kv(struct buf *b, const struct kv *kv, enum log_format format)
{
    if (kv->type == KV_NONE)
        return;
    size_t before = buf_len(b);
    int rc =
        format == LOG_JSON ? buf_printf(b, ",\"%s\":", kv->key) : buf_printf(b, " %s=", kv->key);
    if (!rc)
        rc = add_value(b, kv, format);
    if (rc)
        buf_truncate(b, before);
}

static void add_contexts(struct buf *b, enum log_format format)
{
    for (size_t i = 0; i < state.context_count; i++) {
        struct kv kv = kv_str(state.contexts[i].key, state.contexts[i].value);
        add_kv(b, &kv, format);
    }
}

static void format_line(struct buf *b, enum log_level level, const char *event,
                        const struct kv *kvs, size_t count, enum log_format format)
{
    char time[CLOCK_TEXT_BYTES] = "";
    if (state.setup.clock)
        clock_text_ms(time, state.setup.clock->wall_ms(state.setup.clock));
    if (format == LOG_JSON)
        buf_printf(b, "{%s%s%s\"level\":\"%s\",\"event\":\"%s\"", *time ? "\"time\":\"" : "", time,
                   *time ? "\"," : "", level_names[level], event);
    else
        buf_printf(b, "%s%s%s %s", time, *time ? " " : "", level_names[level], event);
    add_contexts(b, format);
    for (size_t i = 0; i < count; i++)
        add_kv(b, &kvs[i], format);
    b->bytes_max += 2; /* the end of the line always fits */
    if (format == LOG_JSON)
        buf_add_char(b, '}');
}

void log_emit(enum log_level level, const char *event, const struct kv *kvs, size_t count)
{
    lock();
    /* Fixed memory, which never grows: events get through when there is no more memory. */
    struct buf line = {
        .data = state.line, .cap = LOG_LINE_BYTES_MAX + 2, .bytes_max = LOG_LINE_BYTES_MAX};
    bool printed = log_enabled(level);
    format_line(&line, level, event, kvs, count, printed ? state.setup.format : LOG_TEXT);
    ring_add(buf_ptr(&line), buf_len(&line));
    if (printed && buf_add_char(&line, '\n') == 0)
        state.setup.sink(state.setup.sink_ctx, buf_ptr(&line), buf_len(&line));
    unlock();
}

static bool limit_pass(struct log_limit *l, uint64_t now_ms, uint64_t pause_ms,
                       uint64_t *ret_left_out)
{
    if (now_ms < l->next_ms) {
        l->left_out++;
        return false;
    }
    l->next_ms = now_ms + pause_ms;
    *ret_left_out = l->left_out;
    l->left_out = 0;
    return true;
}

bool log_limit_pass(struct log_limit *l, uint64_t now_ms, uint64_t *ret_left_out)
{
    return limit_pass(l, now_ms, 1000, ret_left_out);
}

bool log_limit_minute(struct log_limit *l, uint64_t now_ms)
{
    uint64_t left_out;
    return limit_pass(l, now_ms, 60000, &left_out);
}
