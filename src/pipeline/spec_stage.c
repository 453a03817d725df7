/* SPDX-License-Identifier: Apache-2.0 */
/* spec_stage - a stage of a pipeline's file: its keys, and what goes together. */
#include "pipeline/spec_read.h"

/* --- keys of a stage --- */

static int set_name(struct spec_reader *r, struct json v)
{
    return spec_name(r, v, &r->stage->name);
}

/* Names are looked up when all stages are known. */
static int set_from(struct spec_reader *r, struct json v)
{
    if (v.type != JSON_STRING && v.type != JSON_ARRAY)
        return spec_wrong(r, v.raw.ptr, "the name of a stage, or a list of them, is expected here");
    r->from[r->stage - r->spec->stages] = v;
    return 0;
}

static int set_input(struct spec_reader *r, struct json v)
{
    return spec_flag(r, v, &r->stage->input);
}

static int set_source(struct spec_reader *r, struct json v)
{
    r->stage->kind = SPEC_SOURCE;
    return v.type == JSON_STRING ? spec_path(r, v, &r->stage->path)
                                 : spec_command(r, v, &r->stage->argv);
}

static int set_format(struct spec_reader *r, struct json v)
{
    if (v.type != JSON_STRING || (!json_is(v, STR("json")) && !json_is(v, STR("text"))))
        return spec_wrong(r, v.raw.ptr, "\"json\" or \"text\" is expected here");
    r->stage->text = json_is(v, STR("text"));
    return 0;
}

static int set_exec(struct spec_reader *r, struct json v)
{
    r->stage->kind = SPEC_EXEC;
    return spec_command(r, v, &r->stage->argv);
}

static int set_coproc(struct spec_reader *r, struct json v)
{
    r->stage->kind = SPEC_COPROC;
    return spec_command(r, v, &r->stage->argv);
}

static int set_plugin(struct spec_reader *r, struct json v)
{
    r->stage->kind = SPEC_PLUGIN;
    return spec_path(r, v, &r->stage->path);
}

static int set_argument(struct spec_reader *r, struct json v)
{
    return spec_text(r, v, &r->stage->argument);
}

static int set_sink(struct spec_reader *r, struct json v)
{
    r->stage->kind = SPEC_SINK;
    return spec_path(r, v, &r->stage->path);
}

static const char *const merges[] = {"sum", "count", "min", "max", "top", "collect"};

static bool is_library(struct json v)
{
    struct str text = v.raw, ending = STR(".so\"");
    return text.len > ending.len &&
           (str_eq(str_make(text.ptr + text.len - ending.len, ending.len), ending) ||
            memchr(text.ptr, '/', text.len));
}

static int set_aggregate(struct spec_reader *r, struct json v)
{
    struct spec_stage *st = r->stage;
    struct json name, value;
    st->kind = SPEC_AGGREGATE;
    if (v.type == JSON_OBJECT) {
        struct str at = json_inside(v);
        if (!json_next(&at, &name, &value) || !json_is(name, STR("top")) || at.len > 1)
            return spec_wrong(r, v.raw.ptr, "the only aggregate with a number is {\"top\": N}");
        st->merge = SPEC_TOP;
        return spec_number(r, value, 1, 100000, &st->top);
    }
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++)
        if (v.type == JSON_STRING && i != SPEC_TOP && json_is(v, str_of(merges[i]))) {
            st->merge = (enum spec_merge)i;
            return 0;
        }
    if (v.type == JSON_ARRAY) {
        st->merge = SPEC_COMMAND;
        return spec_command(r, v, &st->argv);
    }
    if (v.type == JSON_STRING && is_library(v)) {
        st->merge = SPEC_LIBRARY;
        return spec_path(r, v, &st->path);
    }
    return spec_wrong(r, v.raw.ptr,
                      "an aggregate is \"sum\", \"count\", \"min\", \"max\", \"collect\", "
                      "{\"top\": N}, a command [\"...\"] or a library \"LIB.so\"");
}

static int set_merge(struct spec_reader *r, struct json v)
{
    return spec_flag(r, v, &r->stage->merges);
}

static int set_compact(struct spec_reader *r, struct json v)
{
    return spec_number(r, v, 10, 100000000, &r->stage->compact);
}

static int set_by(struct spec_reader *r, struct json v)
{
    static const char *const names[] = {"client", "key", "id"};
    for (size_t i = 0; i < 3; i++)
        if (v.type == JSON_STRING && json_is(v, str_of(names[i]))) {
            r->stage->by = (enum spec_by)i;
            return 0;
        }
    return spec_wrong(r, v.raw.ptr, "\"client\", \"key\" or \"id\" is expected here");
}

static int set_partitions(struct spec_reader *r, struct json v)
{
    return spec_number(r, v, 1, SPEC_PARTITIONS_MAX, &r->stage->partitions);
}

static int set_instances(struct spec_reader *r, struct json v)
{
    return spec_number(r, v, 1, SPEC_PARTITIONS_MAX, &r->stage->instances);
}

static int set_batch(struct spec_reader *r, struct json v)
{
    return spec_number(r, v, 1, 10000, &r->stage->batch);
}

static int set_attempts(struct spec_reader *r, struct json v)
{
    return spec_number(r, v, 1, 1000000, &r->stage->attempts);
}

static int set_limit(struct spec_reader *r, struct json v)
{
    return spec_number(r, v, 1, 10000000, &r->stage->limit);
}

static int set_timeout(struct spec_reader *r, struct json v)
{
    double seconds;
    if (v.type != JSON_NUMBER || json_f64(v, &seconds) || seconds <= 0 || seconds > 86400)
        return spec_wrong(r, v.raw.ptr, "seconds, up to 86400, are expected here");
    r->stage->timeout_ms = (uint64_t)(seconds * 1000);
    if (r->stage->timeout_ms == 0)
        r->stage->timeout_ms = 1;
    return 0;
}

enum { ANY = ~0, RUNS = 1 << SPEC_EXEC | 1 << SPEC_COPROC | 1 << SPEC_PLUGIN };
enum { KEEPS = 1 << SPEC_AGGREGATE };
enum { FED = RUNS | 1 << SPEC_AGGREGATE | 1 << SPEC_SINK, WIDE = RUNS | 1 << SPEC_AGGREGATE };

static const struct spec_key stage_keys[] = {
    {"name", set_name, false, ANY},
    {"about", spec_remark, false, ANY},
    {"from", set_from, false, FED},
    {"input", set_input, false, WIDE},
    {"source", set_source, true, ANY},
    {"exec", set_exec, true, ANY},
    {"coproc", set_coproc, true, ANY},
    {"plugin", set_plugin, true, ANY},
    {"aggregate", set_aggregate, true, ANY},
    {"sink", set_sink, true, ANY},
    {"format", set_format, false, 1 << SPEC_SOURCE},
    {"argument", set_argument, false, 1 << SPEC_PLUGIN | KEEPS},
    {"merge", set_merge, false, KEEPS},
    {"compact", set_compact, false, KEEPS},
    {"by", set_by, false, WIDE},
    {"partitions", set_partitions, false, WIDE},
    {"instances", set_instances, false, WIDE},
    {"batch", set_batch, false, 1 << SPEC_EXEC | 1 << SPEC_PLUGIN},
    {"attempts", set_attempts, false, RUNS | KEEPS},
    {"timeout", set_timeout, false, RUNS | KEEPS},
    {"limit", set_limit, false, FED},
};
enum { STAGE_KEYS = sizeof stage_keys / sizeof *stage_keys };

const char *spec_kind_name(const struct spec_stage *st)
{
    static const char *const names[] = {"source", "exec", "coproc", "plugin", "aggregate", "sink"};
    return names[st->kind];
}

/* Those that only some aggregates have. */
static int check_aggregate(struct spec_reader *r, struct json object, unsigned seen)
{
    static const struct {
        const char *key, *whose;
        enum spec_merge merge;
    } only[] = {{"merge", "a command", SPEC_COMMAND},
                {"attempts", "a command", SPEC_COMMAND},
                {"timeout", "a command", SPEC_COMMAND},
                {"argument", "a library", SPEC_LIBRARY}};
    for (size_t i = 0; i < STAGE_KEYS; i++)
        for (size_t k = 0; seen & 1u << i && k < sizeof only / sizeof *only; k++)
            if (strcmp(stage_keys[i].name, only[k].key) == 0 && r->stage->merge != only[k].merge)
                return spec_wrong(r, object.raw.ptr, "only an aggregate with %s has '%s'",
                                  only[k].whose, only[k].key);
    return r->stage->by != SPEC_BY_ID
               ? 0
               : spec_wrong(r, object.raw.ptr,
                            "an aggregate by \"id\" would never see two messages together; use "
                            "\"client\" or \"key\"");
}

static int check_stage(struct spec_reader *r, struct json object, unsigned seen)
{
    struct spec_stage *st = r->stage;
    const char *kinds[2] = {0};
    size_t count = 0;
    for (size_t i = 0; i < STAGE_KEYS; i++)
        if (seen & 1u << i && stage_keys[i].is_kind && count++ < 2)
            kinds[count - 1] = stage_keys[i].name;
    if (!st->name)
        return spec_wrong(r, object.raw.ptr, "a stage needs a name");
    if (count == 0)
        return spec_wrong(
            r, object.raw.ptr,
            "what it does is missing: one of source exec coproc plugin aggregate sink");
    if (count > 1)
        return spec_wrong(r, object.raw.ptr, "it is '%s' and '%s'; a stage is one of them",
                          kinds[0], kinds[1]);
    for (size_t i = 0; i < STAGE_KEYS; i++)
        if (seen & 1u << i && !(stage_keys[i].kinds & 1 << st->kind))
            return spec_wrong(r, object.raw.ptr, "a stage of kind '%s' has no '%s'", kinds[0],
                              stage_keys[i].name);
    int rc = st->kind == SPEC_AGGREGATE ? check_aggregate(r, object, seen) : 0;
    if (rc)
        return rc;
    if (st->partitions == 0)
        st->partitions = st->instances ? st->instances : 1;
    if (st->instances == 0)
        st->instances = st->partitions;
    if (st->instances > st->partitions)
        return spec_wrong(r, object.raw.ptr,
                          "%llu instances for %llu partitions: some would never get a message",
                          (unsigned long long)st->instances, (unsigned long long)st->partitions);
    return 0;
}

int spec_stage_read(struct spec_reader *r, struct json v, struct spec_stage *st)
{
    unsigned seen = 0;
    *st = (struct spec_stage){.line = spec_line_of(r, v.raw.ptr),
                              .batch = 1,
                              .attempts = 5,
                              .limit = 10000,
                              .compact = 10000};
    if (v.type != JSON_OBJECT)
        return spec_wrong(r, v.raw.ptr, "a stage is an object: {\"name\": ..., ...}");
    r->stage = st;
    int rc = spec_object(r, v, stage_keys, STAGE_KEYS, &seen);
    if (!rc)
        rc = check_stage(r, v, seen);
    r->stage = NULL;
    return rc;
}
