/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/spec.h"

#include "base/mem.h"
#include "base/suggest.h"
#include "io/file_read.h"
#include "wire/json.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* --- memory and places --- */

struct reader {
    struct spec *spec;
    struct str text;
    const char *path;
    struct err *err;
    struct spec_stage *stage; /* NULL: the top level */
    struct json from[SPEC_STAGES_MAX];
};

static void *keep(struct spec *s, size_t bytes)
{
    if (s->text_count == s->text_cap) {
        size_t cap = s->text_cap ? s->text_cap * 2 : 64;
        char **more = mem_realloc(s->texts, cap * sizeof *more);
        if (!more)
            return NULL;
        s->texts = more;
        s->text_cap = cap;
    }
    char *room = mem_zalloc(bytes);
    if (room)
        s->texts[s->text_count++] = room;
    return room;
}

static int line_of(const struct reader *r, const char *at)
{
    int line = 1;
    for (const char *c = r->text.ptr; c < at; c++)
        line += *c == '\n';
    return line;
}

static int wrong(const struct reader *r, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int wrong(const struct reader *r, const char *at, const char *format, ...)
{
    struct buf b;
    va_list args;
    buf_init(&b, ERR_TEXT_BYTES_MAX);
    va_start(args, format);
    if (r->stage && r->stage->name)
        buf_printf(&b, "stage '%s': ", r->stage->name);
    buf_vprintf(&b, format, args);
    va_end(args);
    err_set(r->err, TTG_EUSAGE, "%s:%d: %.*s", r->path, line_of(r, at), STR_ARG(buf_str(&b)));
    buf_done(&b);
    return TTG_EUSAGE;
}

#ifdef __clang_analyzer__ /* it cannot see into it, and would assume that it may return 0 */
#define wrong(r, at, ...) ((void)wrong(r, at, __VA_ARGS__), TTG_EUSAGE)
#endif

static int no_memory(const struct reader *r)
{
    return err_set(r->err, TTG_ENOMEM, "%s: out of memory", r->path);
}

/* --- values --- */

static int read_text(struct reader *r, struct json v, const char **ret_text)
{
    struct buf b;
    if (v.type != JSON_STRING)
        return wrong(r, v.raw.ptr, "a text in quotes is expected here");
    buf_init(&b, SPEC_FILE_BYTES_MAX);
    int rc = json_add_text(v, &b);
    struct str s = buf_str(&b);
    char *text = rc ? NULL : keep(r->spec, s.len + 1);
    if (text)
        memcpy(text, s.ptr, s.len);
    bool nul = s.len > 0 && memchr(s.ptr, 0, s.len) != NULL;
    buf_done(&b);
    if (!text)
        return no_memory(r);
    if (nul)
        return wrong(r, v.raw.ptr, "a text with a NUL in it");
    *ret_text = text;
    return 0;
}

static bool is_name(const char *s)
{
    size_t len = strlen(s);
    return len > 0 && len <= SPEC_NAME_BYTES &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

static int read_name(struct reader *r, struct json v, const char **ret_name)
{
    const char *name;
    int rc = read_text(r, v, &name);
    if (rc)
        return rc;
    if (!is_name(name))
        return wrong(r, v.raw.ptr, "'%.80s' is no name: 1 to 64 of A-Z a-z 0-9 _ -", name);
    *ret_name = name;
    return 0;
}

static int read_number(struct reader *r, struct json v, uint64_t min, uint64_t max,
                       uint64_t *ret_value)
{
    uint64_t value;
    if (v.type != JSON_NUMBER || json_u64(v, &value) || value < min || value > max)
        return wrong(r, v.raw.ptr, "a whole number from %llu to %llu is expected here",
                     (unsigned long long)min, (unsigned long long)max);
    *ret_value = value;
    return 0;
}

/* Paths and commands with a slash are relative to the file. */
static int read_path(struct reader *r, struct json v, const char **ret_path)
{
    const char *path;
    int rc = read_text(r, v, &path);
    if (rc)
        return rc;
    if (path[0] == '\0')
        return wrong(r, v.raw.ptr, "a path is expected here");
    if (path[0] == '/') {
        *ret_path = path;
        return 0;
    }
    size_t bytes = strlen(r->spec->dir) + strlen(path) + 2;
    char *full = keep(r->spec, bytes);
    if (!full)
        return no_memory(r);
    snprintf(full, bytes, "%s/%s", r->spec->dir, path);
    *ret_path = full;
    return 0;
}

static int read_command(struct reader *r, struct json v, char *const **ret_argv)
{
    struct str at;
    struct json word;
    size_t count = 0;
    if (v.type != JSON_ARRAY)
        return wrong(r, v.raw.ptr, "a command is a list of words: [\"python3\", \"split.py\"]");
    char **argv = keep(r->spec, (SPEC_WORDS_MAX + 1) * sizeof *argv);
    if (!argv)
        return no_memory(r);
    at = json_inside(v);
    while (json_item(&at, &word)) {
        const char *text;
        if (count == SPEC_WORDS_MAX)
            return wrong(r, word.raw.ptr, "more than %d words", SPEC_WORDS_MAX);
        int rc = read_text(r, word, &text);
        if (rc)
            return rc;
        argv[count++] = (char *)(uintptr_t)text;
    }
    if (count == 0 || argv[0][0] == '\0')
        return wrong(r, v.raw.ptr, "an empty command");
    *ret_argv = argv;
    return 0;
}

/* --- keys of a stage --- */

static int set_name(struct reader *r, struct json v)
{
    return read_name(r, v, &r->stage->name);
}

static int set_nothing(struct reader *r, struct json v)
{
    const char *text;
    return read_text(r, v, &text);
}

/* Names are looked up when all stages are known. */
static int set_from(struct reader *r, struct json v)
{
    if (v.type != JSON_STRING && v.type != JSON_ARRAY)
        return wrong(r, v.raw.ptr, "the name of a stage, or a list of them, is expected here");
    r->from[r->stage - r->spec->stages] = v;
    return 0;
}

static int set_input(struct reader *r, struct json v)
{
    if (v.type != JSON_BOOL)
        return wrong(r, v.raw.ptr, "true or false is expected here");
    r->stage->input = v.raw.ptr[0] == 't';
    return 0;
}

static int set_source(struct reader *r, struct json v)
{
    r->stage->kind = SPEC_SOURCE;
    return v.type == JSON_STRING ? read_path(r, v, &r->stage->path)
                                 : read_command(r, v, &r->stage->argv);
}

static int set_format(struct reader *r, struct json v)
{
    if (v.type != JSON_STRING || (!json_is(v, STR("json")) && !json_is(v, STR("text"))))
        return wrong(r, v.raw.ptr, "\"json\" or \"text\" is expected here");
    r->stage->text = json_is(v, STR("text"));
    return 0;
}

static int set_exec(struct reader *r, struct json v)
{
    r->stage->kind = SPEC_EXEC;
    return read_command(r, v, &r->stage->argv);
}

static int set_coproc(struct reader *r, struct json v)
{
    r->stage->kind = SPEC_COPROC;
    return read_command(r, v, &r->stage->argv);
}

static int set_plugin(struct reader *r, struct json v)
{
    r->stage->kind = SPEC_PLUGIN;
    return read_path(r, v, &r->stage->path);
}

static int set_argument(struct reader *r, struct json v)
{
    return read_text(r, v, &r->stage->argument);
}

static int set_sink(struct reader *r, struct json v)
{
    r->stage->kind = SPEC_SINK;
    return read_path(r, v, &r->stage->path);
}

static const char *const merges[] = {"sum", "count", "min", "max", "top", "collect"};

static int set_aggregate(struct reader *r, struct json v)
{
    struct json name, value;
    r->stage->kind = SPEC_AGGREGATE;
    if (v.type == JSON_OBJECT) {
        struct str at = json_inside(v);
        if (!json_next(&at, &name, &value) || !json_is(name, STR("top")) || at.len > 1)
            return wrong(r, v.raw.ptr, "the only aggregate with a number is {\"top\": N}");
        r->stage->merge = SPEC_TOP;
        return read_number(r, value, 1, 100000, &r->stage->top);
    }
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++)
        if (v.type == JSON_STRING && i != SPEC_TOP && json_is(v, str_of(merges[i]))) {
            r->stage->merge = (enum spec_merge)i;
            return 0;
        }
    return wrong(r, v.raw.ptr,
                 "an aggregate is \"sum\", \"count\", \"min\", \"max\", \"collect\" or {\"top\": "
                 "N}");
}

static int set_by(struct reader *r, struct json v)
{
    static const char *const names[] = {"client", "key", "id"};
    for (size_t i = 0; i < 3; i++)
        if (v.type == JSON_STRING && json_is(v, str_of(names[i]))) {
            r->stage->by = (enum spec_by)i;
            return 0;
        }
    return wrong(r, v.raw.ptr, "\"client\", \"key\" or \"id\" is expected here");
}

static int set_partitions(struct reader *r, struct json v)
{
    return read_number(r, v, 1, SPEC_PARTITIONS_MAX, &r->stage->partitions);
}

static int set_instances(struct reader *r, struct json v)
{
    return read_number(r, v, 1, SPEC_PARTITIONS_MAX, &r->stage->instances);
}

static int set_batch(struct reader *r, struct json v)
{
    return read_number(r, v, 1, 10000, &r->stage->batch);
}

static int set_attempts(struct reader *r, struct json v)
{
    return read_number(r, v, 1, 1000000, &r->stage->attempts);
}

static int set_limit(struct reader *r, struct json v)
{
    return read_number(r, v, 1, 10000000, &r->stage->limit);
}

static int set_timeout(struct reader *r, struct json v)
{
    double seconds;
    if (v.type != JSON_NUMBER || json_f64(v, &seconds) || seconds <= 0 || seconds > 86400)
        return wrong(r, v.raw.ptr, "seconds, up to 86400, are expected here");
    r->stage->timeout_ms = (uint64_t)(seconds * 1000);
    if (r->stage->timeout_ms == 0)
        r->stage->timeout_ms = 1;
    return 0;
}

enum { ANY = ~0, RUNS = 1 << SPEC_EXEC | 1 << SPEC_COPROC | 1 << SPEC_PLUGIN };
enum { FED = RUNS | 1 << SPEC_AGGREGATE | 1 << SPEC_SINK, WIDE = RUNS | 1 << SPEC_AGGREGATE };

static const struct key {
    const char *name;
    int (*set)(struct reader *r, struct json v);
    bool is_kind; /* says what the stage is */
    int kinds;    /* who may have it */
} stage_keys[] = {
    {"name", set_name, false, ANY},
    {"about", set_nothing, false, ANY},
    {"from", set_from, false, FED},
    {"input", set_input, false, WIDE},
    {"source", set_source, true, ANY},
    {"exec", set_exec, true, ANY},
    {"coproc", set_coproc, true, ANY},
    {"plugin", set_plugin, true, ANY},
    {"aggregate", set_aggregate, true, ANY},
    {"sink", set_sink, true, ANY},
    {"format", set_format, false, 1 << SPEC_SOURCE},
    {"argument", set_argument, false, 1 << SPEC_PLUGIN},
    {"by", set_by, false, WIDE},
    {"partitions", set_partitions, false, WIDE},
    {"instances", set_instances, false, WIDE},
    {"batch", set_batch, false, 1 << SPEC_EXEC | 1 << SPEC_PLUGIN},
    {"attempts", set_attempts, false, RUNS},
    {"timeout", set_timeout, false, RUNS},
    {"limit", set_limit, false, FED},
};
enum { STAGE_KEYS = sizeof stage_keys / sizeof *stage_keys };

/* --- keys of the top level --- */

static int set_pipeline(struct reader *r, struct json v)
{
    return read_name(r, v, &r->spec->name);
}

static int set_queue(struct reader *r, struct json v)
{
    return read_text(r, v, &r->spec->queue);
}

static int set_state(struct reader *r, struct json v)
{
    return read_path(r, v, &r->spec->state);
}

static int set_stages(struct reader *r, struct json v);

static const struct key top_keys[] = {
    {"pipeline", set_pipeline, false, ANY}, {"about", set_nothing, false, ANY},
    {"queue", set_queue, false, ANY},       {"state", set_state, false, ANY},
    {"stages", set_stages, false, ANY},
};
enum { TOP_KEYS = sizeof top_keys / sizeof *top_keys };

static int unknown_key(struct reader *r, struct json name, const struct key *keys, size_t count)
{
    struct suggest near;
    struct str word = str_make(name.raw.ptr + 1, name.raw.len - 2);
    struct buf all;
    buf_init(&all, 300);
    suggest_init(&near, word);
    for (size_t i = 0; i < count; i++) {
        suggest_offer(&near, keys[i].name);
        buf_printf(&all, "%s%s", i ? " " : "", keys[i].name);
    }
    if (near.best)
        wrong(r, name.raw.ptr, "unknown key '%.*s'; did you mean '%s'?", STR_ARG(word), near.best);
    else
        wrong(r, name.raw.ptr, "unknown key '%.*s'; there are: %.*s", STR_ARG(word),
              STR_ARG(buf_str(&all)));
    buf_done(&all);
    return TTG_EUSAGE;
}

/* Every member once, and only known ones; *ret_seen: a bit for each. */
static int read_object(struct reader *r, struct json object, const struct key *keys, size_t count,
                       unsigned *ret_seen)
{
    struct str at = json_inside(object);
    struct json name, value;
    unsigned seen = 0;
    while (json_next(&at, &name, &value)) {
        size_t i = 0;
        while (i < count && !json_is(name, str_of(keys[i].name)))
            i++;
        if (i == count)
            return unknown_key(r, name, keys, count);
        if (seen & 1u << i)
            return wrong(r, name.raw.ptr, "'%s' is there twice", keys[i].name);
        seen |= 1u << i;
        int rc = keys[i].set(r, value);
        if (rc)
            return rc;
    }
    *ret_seen = seen;
    return 0;
}

const char *spec_kind_name(const struct spec_stage *st)
{
    static const char *const names[] = {"source", "exec", "coproc", "plugin", "aggregate", "sink"};
    return names[st->kind];
}

static int check_stage(struct reader *r, struct json object, unsigned seen)
{
    struct spec_stage *st = r->stage;
    const char *kinds[2] = {0};
    size_t count = 0;
    for (size_t i = 0; i < STAGE_KEYS; i++)
        if (seen & 1u << i && stage_keys[i].is_kind && count++ < 2)
            kinds[count - 1] = stage_keys[i].name;
    if (!st->name)
        return wrong(r, object.raw.ptr, "a stage needs a name");
    if (count == 0)
        return wrong(r, object.raw.ptr,
                     "what it does is missing: one of source exec coproc plugin aggregate sink");
    if (count > 1)
        return wrong(r, object.raw.ptr, "it is '%s' and '%s'; a stage is one of them", kinds[0],
                     kinds[1]);
    for (size_t i = 0; i < STAGE_KEYS; i++)
        if (seen & 1u << i && !(stage_keys[i].kinds & 1 << st->kind))
            return wrong(r, object.raw.ptr, "a stage of kind '%s' has no '%s'", kinds[0],
                         stage_keys[i].name);
    if (st->kind == SPEC_AGGREGATE && st->by == SPEC_BY_ID)
        return wrong(r, object.raw.ptr,
                     "an aggregate by \"id\" would never see two messages together; use "
                     "\"client\" or \"key\"");
    if (st->partitions == 0)
        st->partitions = st->instances ? st->instances : 1;
    if (st->instances == 0)
        st->instances = st->partitions;
    if (st->instances > st->partitions)
        return wrong(r, object.raw.ptr,
                     "%llu instances for %llu partitions: some would never get a message",
                     (unsigned long long)st->instances, (unsigned long long)st->partitions);
    return 0;
}

static int read_stage(struct reader *r, struct json v, struct spec_stage *st)
{
    unsigned seen = 0;
    *st = (struct spec_stage){
        .line = line_of(r, v.raw.ptr), .batch = 1, .attempts = 5, .limit = 10000};
    if (v.type != JSON_OBJECT)
        return wrong(r, v.raw.ptr, "a stage is an object: {\"name\": ..., ...}");
    r->stage = st;
    int rc = read_object(r, v, stage_keys, STAGE_KEYS, &seen);
    if (!rc)
        rc = check_stage(r, v, seen);
    r->stage = NULL;
    return rc;
}

static int set_stages(struct reader *r, struct json v)
{
    struct spec *s = r->spec;
    struct json value;
    if (v.type != JSON_ARRAY)
        return wrong(r, v.raw.ptr, "the stages are a list: [{\"name\": ...}, ...]");
    s->stages = keep(s, SPEC_STAGES_MAX * sizeof *s->stages);
    if (!s->stages)
        return no_memory(r);
    struct str at = json_inside(v);
    while (json_item(&at, &value)) {
        if (s->stage_count == SPEC_STAGES_MAX)
            return wrong(r, value.raw.ptr, "more than %d stages", SPEC_STAGES_MAX);
        int rc = read_stage(r, value, &s->stages[s->stage_count]);
        if (rc)
            return rc;
        const char *new_name = s->stages[s->stage_count].name;
        if (spec_stage_of(s, str_of(new_name)) < SPEC_STAGES_MAX)
            return wrong(r, value.raw.ptr, "there are two stages '%s'", new_name);
        s->stage_count++;
    }
    return 0;
}

size_t spec_stage_of(const struct spec *s, struct str name)
{
    for (size_t i = 0; i < s->stage_count; i++)
        if (str_eq(name, str_of(s->stages[i].name)))
            return i;
    return SPEC_STAGES_MAX;
}

/* --- who feeds whom --- */

static int add_from(struct reader *r, struct json name)
{
    struct spec *s = r->spec;
    const char *text;
    int rc = read_text(r, name, &text);
    if (rc)
        return rc;
    size_t i = spec_stage_of(s, str_of(text));
    if (i == SPEC_STAGES_MAX) {
        struct suggest near;
        suggest_init(&near, str_of(text));
        for (size_t k = 0; k < s->stage_count; k++)
            suggest_offer(&near, s->stages[k].name);
        return wrong(r, name.raw.ptr, "there is no stage '%.80s'%s%s%s", text,
                     near.best ? "; did you mean '" : "", near.best ? near.best : "",
                     near.best ? "'?" : "");
    }
    for (size_t k = 0; k < r->stage->from_count; k++)
        if (r->stage->from[k] == i)
            return wrong(r, name.raw.ptr, "'%s' is there twice", text);
    r->stage->from[r->stage->from_count++] = i;
    return 0;
}

static int read_from(struct reader *r, size_t stage)
{
    struct json v = r->from[stage], value;
    int rc = 0;
    r->stage = &r->spec->stages[stage];
    if (v.raw.ptr && v.type == JSON_STRING)
        rc = add_from(r, v);
    if (v.raw.ptr && v.type == JSON_ARRAY) {
        struct str at = json_inside(v);
        while (!rc && json_item(&at, &value))
            rc = add_from(r, value);
    }
    r->stage = NULL;
    return rc;
}

/* --- the whole --- */

int spec_parse(struct spec *s, struct str text, const char *path, const char *dir, struct err *err)
{
    struct reader r = {.spec = s, .text = text, .path = path, .err = err};
    struct json top;
    struct err why;
    unsigned seen = 0;
    *s = (struct spec){0};
    char *copy = keep(s, strlen(dir) + 1);
    if (!copy)
        return no_memory(&r);
    memcpy(copy, dir, strlen(dir));
    s->dir = copy;
    size_t bad = 0;
    int rc = json_parse(text, &top, &why);
    if (rc == TTG_ENOMEM)
        return no_memory(&r);
    if (rc) {
        if (sscanf(why.text, "not JSON: byte %zu", &bad) != 1 || bad > text.len)
            bad = 0;
        return wrong(&r, text.ptr + bad, "%s", why.text);
    }
    if (top.type != JSON_OBJECT)
        return wrong(&r, top.raw.ptr, "a pipeline is an object: {\"pipeline\": NAME, ...}");
    rc = read_object(&r, top, top_keys, TOP_KEYS, &seen);
    if (rc)
        return rc;
    if (!s->name)
        return wrong(&r, top.raw.ptr, "\"pipeline\": NAME is missing");
    if (s->stage_count == 0)
        return wrong(&r, top.raw.ptr, "\"stages\": [...] is missing or empty");
    for (size_t i = 0; i < s->stage_count && !rc; i++)
        rc = read_from(&r, i);
    return rc ? rc : spec_connect(s, path, err);
}

int spec_load(struct spec *s, const char *path, struct err *err)
{
    struct buf text;
    char dir[PATH_MAX];
    *s = (struct spec){0};
    buf_init(&text, SPEC_FILE_BYTES_MAX);
    int rc = file_read(path, &text, err);
    if (rc == TTG_ENOENT || rc == TTG_EACCES || rc == TTG_EFULL)
        rc = err->code = TTG_EUSAGE;
    if (!rc && !realpath(path, dir))
        rc = err_set_errno(err, errno, "%s", path);
    if (!rc) {
        *strrchr(dir, '/') = '\0';
        rc = spec_parse(s, buf_str(&text), path, dir, err);
    }
    buf_done(&text);
    return rc;
}

void spec_done(struct spec *s)
{
    for (size_t i = 0; i < s->text_count; i++)
        mem_free(s->texts[i]);
    mem_free(s->texts);
    *s = (struct spec){0};
}
