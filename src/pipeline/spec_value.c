/* SPDX-License-Identifier: Apache-2.0 */
/* spec_value - single values of a pipeline's file, and where a mistake is. */
#include "base/mem.h"
#include "base/suggest.h"
#include "pipeline/spec_read.h"

#include <stdio.h>

/* --- memory and places --- */

void *spec_keep(struct spec *s, size_t bytes)
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

int spec_line_of(const struct spec_reader *r, const char *at)
{
    int line = 1;
    for (const char *c = r->text.ptr; c < at; c++)
        line += *c == '\n';
    return line;
}

int(spec_wrong)(const struct spec_reader *r, const char *at, const char *format, ...)
{
    struct buf b;
    va_list args;
    buf_init(&b, ERR_TEXT_BYTES_MAX);
    va_start(args, format);
    if (r->stage && r->stage->name)
        buf_printf(&b, "stage '%s': ", r->stage->name);
    buf_vprintf(&b, format, args);
    va_end(args);
    err_set(r->err, TTG_EUSAGE, "%s:%d: %.*s", r->path, spec_line_of(r, at), STR_ARG(buf_str(&b)));
    buf_done(&b);
    return TTG_EUSAGE;
}

int spec_no_memory(const struct spec_reader *r)
{
    return err_set(r->err, TTG_ENOMEM, "%s: out of memory", r->path);
}

/* --- values --- */

int spec_text(struct spec_reader *r, struct json v, const char **ret_text)
{
    struct buf b;
    if (v.type != JSON_STRING)
        return spec_wrong(r, v.raw.ptr, "a text in quotes is expected here");
    buf_init(&b, SPEC_FILE_BYTES_MAX);
    int rc = json_add_text(v, &b);
    struct str s = buf_str(&b);
    char *text = rc ? NULL : spec_keep(r->spec, s.len + 1);
    if (text)
        memcpy(text, s.ptr, s.len);
    bool nul = s.len > 0 && memchr(s.ptr, 0, s.len) != NULL;
    buf_done(&b);
    if (!text)
        return spec_no_memory(r);
    if (nul)
        return spec_wrong(r, v.raw.ptr, "a text with a NUL in it");
    *ret_text = text;
    return 0;
}

static bool is_name(const char *s)
{
    size_t len = strlen(s);
    return len > 0 && len <= SPEC_NAME_BYTES &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == len;
}

int spec_name(struct spec_reader *r, struct json v, const char **ret_name)
{
    const char *name;
    int rc = spec_text(r, v, &name);
    if (rc)
        return rc;
    if (!is_name(name))
        return spec_wrong(r, v.raw.ptr, "'%.80s' is no name: 1 to 64 of A-Z a-z 0-9 _ -", name);
    *ret_name = name;
    return 0;
}

int spec_number(struct spec_reader *r, struct json v, uint64_t min, uint64_t max,
                uint64_t *ret_value)
{
    uint64_t value;
    if (v.type != JSON_NUMBER || json_u64(v, &value) || value < min || value > max)
        return spec_wrong(r, v.raw.ptr, "a whole number from %llu to %llu is expected here",
                          (unsigned long long)min, (unsigned long long)max);
    *ret_value = value;
    return 0;
}

int spec_remark(struct spec_reader *r, struct json v)
{
    const char *text;
    return spec_text(r, v, &text);
}

int spec_flag(struct spec_reader *r, struct json v, bool *ret_flag)
{
    if (v.type != JSON_BOOL)
        return spec_wrong(r, v.raw.ptr, "true or false is expected here");
    *ret_flag = v.raw.ptr[0] == 't';
    return 0;
}

/* Paths and commands with a slash are relative to the file. */
int spec_path(struct spec_reader *r, struct json v, const char **ret_path)
{
    const char *path;
    int rc = spec_text(r, v, &path);
    if (rc)
        return rc;
    if (path[0] == '\0')
        return spec_wrong(r, v.raw.ptr, "a path is expected here");
    if (path[0] == '/') {
        *ret_path = path;
        return 0;
    }
    size_t bytes = strlen(r->spec->dir) + strlen(path) + 2;
    char *full = spec_keep(r->spec, bytes);
    if (!full)
        return spec_no_memory(r);
    snprintf(full, bytes, "%s/%s", r->spec->dir, path);
    *ret_path = full;
    return 0;
}

int spec_command(struct spec_reader *r, struct json v, char *const **ret_argv)
{
    struct str at;
    struct json word;
    size_t count = 0;
    if (v.type != JSON_ARRAY)
        return spec_wrong(r, v.raw.ptr,
                          "a command is a list of words: [\"python3\", \"split.py\"]");
    char **argv = spec_keep(r->spec, (SPEC_WORDS_MAX + 1) * sizeof *argv);
    if (!argv)
        return spec_no_memory(r);
    at = json_inside(v);
    while (json_item(&at, &word)) {
        const char *text;
        if (count == SPEC_WORDS_MAX)
            return spec_wrong(r, word.raw.ptr, "more than %d words", SPEC_WORDS_MAX);
        int rc = spec_text(r, word, &text);
        if (rc)
            return rc;
        argv[count++] = (char *)(uintptr_t)text;
    }
    if (count == 0 || argv[0][0] == '\0')
        return spec_wrong(r, v.raw.ptr, "an empty command");
    *ret_argv = argv;
    return 0;
}

/* --- objects --- */

static int unknown_key(struct spec_reader *r, struct json name, const struct spec_key *keys,
                       size_t count)
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
        spec_wrong(r, name.raw.ptr, "unknown key '%.*s'; did you mean '%s'?", STR_ARG(word),
                   near.best);
    else
        spec_wrong(r, name.raw.ptr, "unknown key '%.*s'; there are: %.*s", STR_ARG(word),
                   STR_ARG(buf_str(&all)));
    buf_done(&all);
    return TTG_EUSAGE;
}

/* Every member once, and only known ones; *ret_seen: a bit for each. */
int spec_object(struct spec_reader *r, struct json object, const struct spec_key *keys,
                size_t count, unsigned *ret_seen)
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
            return spec_wrong(r, name.raw.ptr, "'%s' is there twice", keys[i].name);
        seen |= 1u << i;
        int rc = keys[i].set(r, value);
        if (rc)
            return rc;
    }
    *ret_seen = seen;
    return 0;
}
