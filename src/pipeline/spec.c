/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/spec.h"

#include "base/mem.h"
#include "base/suggest.h"
#include "io/file_read.h"
#include "pipeline/spec_read.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* --- keys of the top level --- */

static int set_pipeline(struct spec_reader *r, struct json v)
{
    return spec_name(r, v, &r->spec->name);
}

static int set_queue(struct spec_reader *r, struct json v)
{
    return spec_text(r, v, &r->spec->queue);
}

static int set_state(struct spec_reader *r, struct json v)
{
    return spec_path(r, v, &r->spec->state);
}

static int set_stages(struct spec_reader *r, struct json v);

static const struct spec_key top_keys[] = {
    {"pipeline", set_pipeline, false, 0}, {"about", spec_remark, false, 0},
    {"queue", set_queue, false, 0},       {"state", set_state, false, 0},
    {"stages", set_stages, false, 0},
};
enum { TOP_KEYS = sizeof top_keys / sizeof *top_keys };

static int set_stages(struct spec_reader *r, struct json v)
{
    struct spec *s = r->spec;
    struct json value;
    uint64_t inboxes = 0;
    if (v.type != JSON_ARRAY)
        return spec_wrong(r, v.raw.ptr, "the stages are a list: [{\"name\": ...}, ...]");
    s->stages = spec_keep(s, SPEC_STAGES_MAX * sizeof *s->stages);
    if (!s->stages)
        return spec_no_memory(r);
    struct str at = json_inside(v);
    while (json_item(&at, &value)) {
        if (s->stage_count == SPEC_STAGES_MAX)
            return spec_wrong(r, value.raw.ptr, "more than %d stages", SPEC_STAGES_MAX);
        int rc = spec_stage_read(r, value, &s->stages[s->stage_count]);
        if (rc)
            return rc;
        const char *new_name = s->stages[s->stage_count].name;
        if (spec_stage_of(s, str_of(new_name)) < SPEC_STAGES_MAX)
            return spec_wrong(r, value.raw.ptr, "there are two stages '%s'", new_name);
        inboxes += s->stages[s->stage_count++].partitions + 1;
        if (inboxes > SPEC_INBOXES_MAX)
            return spec_wrong(r, value.raw.ptr,
                              "more than %d partitions in all, with one for dead letters in each "
                              "stage: give some stages fewer",
                              SPEC_INBOXES_MAX);
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

static int add_from(struct spec_reader *r, struct json name)
{
    struct spec *s = r->spec;
    const char *text;
    int rc = spec_text(r, name, &text);
    if (rc)
        return rc;
    size_t i = spec_stage_of(s, str_of(text));
    if (i == SPEC_STAGES_MAX) {
        struct suggest near;
        suggest_init(&near, str_of(text));
        for (size_t k = 0; k < s->stage_count; k++)
            suggest_offer(&near, s->stages[k].name);
        return spec_wrong(r, name.raw.ptr, "there is no stage '%.80s'%s%s%s", text,
                          near.best ? "; did you mean '" : "", near.best ? near.best : "",
                          near.best ? "'?" : "");
    }
    for (size_t k = 0; k < r->stage->from_count; k++)
        if (r->stage->from[k] == i)
            return spec_wrong(r, name.raw.ptr, "'%s' is there twice", text);
    r->stage->from[r->stage->from_count++] = i;
    return 0;
}

static int read_from(struct spec_reader *r, size_t stage)
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
    struct spec_reader r = {.spec = s, .text = text, .path = path, .err = err};
    struct json top;
    struct err why;
    unsigned seen = 0;
    *s = (struct spec){0};
    char *copy = spec_keep(s, strlen(dir) + 1);
    if (!copy)
        return spec_no_memory(&r);
    memcpy(copy, dir, strlen(dir));
    s->dir = copy;
    size_t bad = 0;
    int rc = json_parse(text, &top, &why);
    if (rc == TTG_ENOMEM)
        return spec_no_memory(&r);
    if (rc) {
        if (sscanf(why.text, "not JSON: byte %zu", &bad) != 1 || bad > text.len)
            bad = 0;
        return spec_wrong(&r, text.ptr + bad, "%s", why.text);
    }
    if (top.type != JSON_OBJECT)
        return spec_wrong(&r, top.raw.ptr, "a pipeline is an object: {\"pipeline\": NAME, ...}");
    rc = spec_object(&r, top, top_keys, TOP_KEYS, &seen);
    if (rc)
        return rc;
    if (!s->name)
        return spec_wrong(&r, top.raw.ptr, "\"pipeline\": NAME is missing");
    if (s->stage_count == 0)
        return spec_wrong(&r, top.raw.ptr, "\"stages\": [...] is missing or empty");
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
