/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "cmd/doctor.h"

#include <stdarg.h>
#include <stdio.h>

void doctor_init(struct doctor *d)
{
    *d = (struct doctor){0};
}

void doctor_done(struct doctor *d)
{
    for (size_t i = 0; i < d->place_count; i++) {
        buf_done(&d->places[i]->text);
        mem_free(d->places[i]);
    }
    d->place_count = 0;
}

struct doctor_facts *doctor_place(struct doctor *d, enum doctor_kind kind, const char *format, ...)
{
    struct doctor_facts *f = d->place_count < DOCTOR_PLACES_MAX ? mem_zalloc(sizeof *f) : NULL;
    va_list args;
    if (!f)
        return NULL;
    f->kind = kind;
    va_start(args, format);
    vsnprintf(f->where, sizeof f->where, format, args);
    va_end(args);
    buf_init(&f->text, DOCTOR_FACTS_BYTES_MAX);
    d->places[d->place_count++] = f;
    return f;
}

int doctor_note(struct doctor_facts *f, struct str name, struct str value)
{
    if (memchr(name.ptr, '\0', name.len) || memchr(value.ptr, '\0', value.len))
        return 0; /* no fact that a rule knows */
    int rc = buf_add_str(&f->text, name);
    if (!rc)
        rc = buf_add_char(&f->text, '\0');
    if (!rc)
        rc = buf_add_str(&f->text, value);
    return rc ? rc : buf_add_char(&f->text, '\0');
}

int doctor_note_i64(struct doctor_facts *f, const char *name, int64_t value)
{
    char digits[20];
    return doctor_note(f, str_of(name), str_make(digits, str_from_i64(digits, value)));
}

int doctor_note_clock(struct doctor_facts *f, int64_t theirs_ms, int64_t grain_ms,
                      uint64_t before_ms, uint64_t after_ms)
{
    int64_t ahead = theirs_ms - grain_ms - (int64_t)after_ms;
    int64_t behind = (int64_t)before_ms - theirs_ms - grain_ms;
    return doctor_note_i64(f, "ttg.clock_ms", ahead > 0 ? ahead : behind > 0 ? -behind : 0);
}

const char *doctor_text(const struct doctor_facts *f, const char *name)
{
    struct str all = buf_str(&f->text);
    const char *at = all.ptr, *end = all.ptr + all.len;
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (strcmp(at, name) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}

bool doctor_number(const struct doctor_facts *f, const char *name, int64_t *ret_value)
{
    const char *text = doctor_text(f, name);
    return text && str_to_i64(str_of(text), ret_value) == 0;
}

bool doctor_is(const struct doctor_facts *f, const char *name, const char *value)
{
    const char *text = doctor_text(f, name);
    return text && strcmp(text, value) == 0;
}
