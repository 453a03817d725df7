/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/history.h"

#include <stdio.h>

static bool is_word(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i], letter = (char)(c | 32);
        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9'))
            return false;
    }
    return true;
}

/* Fields with one separator between them. */
static bool parse(struct history_entry *e, struct str text, char separator)
{
    struct str rest = text, field;
    *e = (struct history_entry){0};
    field = str_cut(rest, separator, &rest);
    if (str_to_u64(field, &e->number) || !rest.ptr)
        return false;
    field = str_cut(rest, separator, &rest);
    if (field.len == 0 || field.len >= sizeof e->id || !rest.ptr || !is_word(field))
        return false;
    memcpy(e->id, field.ptr, field.len);
    field = str_cut(rest, separator, &rest);
    if (str_to_u64(field, &e->cursor) || !rest.ptr)
        return false;
    field = str_cut(rest, separator, &rest);
    return str_to_u64(field, &e->count) == 0 && rest.ptr && str_to_i64(rest, &e->chunk) == 0;
}

bool history_add(struct history *h, struct str text)
{
    if (h->count == HISTORY_MAX || !parse(&h->entries[h->count], text, ' '))
        return false;
    h->count++;
    return true;
}

bool history_read(struct history *h, struct str text)
{
    h->count = 0;
    while (text.len > 0) {
        struct str rest, one = str_cut(text, ',', &rest);
        if (h->count == HISTORY_MAX || !parse(&h->entries[h->count], one, ':'))
            return false;
        h->count++;
        text = rest;
    }
    return true;
}

void history_write(const struct history *h, char out[HISTORY_TEXT_BYTES])
{
    size_t used = 0, kept = h->count < HISTORY_KEPT ? h->count : HISTORY_KEPT;
    out[0] = '\0';
    for (size_t i = 0; i < kept; i++) {
        const struct history_entry *e = &h->entries[i];
        int n = snprintf(out + used, HISTORY_TEXT_BYTES - used, "%s%llu:%s:%llu:%llu:%lld",
                         i ? "," : "", (unsigned long long)e->number, e->id,
                         (unsigned long long)e->cursor, (unsigned long long)e->count,
                         (long long)e->chunk);
        used += (size_t)n;
    }
}

static bool same(const struct history_entry *a, const struct history_entry *b)
{
    return a->number == b->number && strcmp(a->id, b->id) == 0;
}

/* The lowest fork of the newest `count` generations, if it is lower than *fork. */
static void lower(const struct history *h, size_t count, struct history_entry *fork)
{
    for (size_t i = 0; i < count; i++)
        if (h->entries[i].cursor < fork->cursor)
            *fork = h->entries[i];
}

enum history_verdict history_compare(const struct history *mine, const struct history *now,
                                     struct history_entry *ret_fork)
{
    struct history_entry fork = {.cursor = UINT64_MAX, .chunk = -1};
    if (mine->count == 0 || now->count == 0)
        return HISTORY_SAME; /* nothing was read, or this server tells nothing */
    for (size_t i = 0; i < mine->count; i++)
        for (size_t j = 0; j < now->count; j++) {
            if (!same(&mine->entries[i], &now->entries[j]))
                continue;
            if (i == 0 && j == 0)
                return HISTORY_SAME;
            lower(now, j, &fork);
            lower(mine, i, &fork);
            *ret_fork = fork;
            return HISTORY_FORKED;
        }
    /* What began without any result has none in common with anything before. */
    if (now->entries[now->count - 1].cursor == 0) {
        fork.cursor = 0;
        *ret_fork = fork;
        return HISTORY_FORKED;
    }
    return HISTORY_UNKNOWN;
}
