/* SPDX-License-Identifier: Apache-2.0 */
/* A pipeline's file from anybody: it is refused with its place and a reason, or every stage of it
 * is fed, within its limits, and reached by the ends. A message from anybody: what is read and
 * written again reads as the same. */
#include "base/ensure.h"
#include "pipeline/message.h"
#include "pipeline/route.h"
#include "pipeline/spec.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_stage(const struct spec *s, size_t i)
{
    const struct spec_stage *st = &s->stages[i];
    ensure(st->name && st->line > 0);
    ensure(spec_stage_of(s, str_of(st->name)) == i);
    ensure(st->partitions >= 1 && st->partitions <= SPEC_PARTITIONS_MAX);
    ensure(st->instances >= 1 && st->instances <= st->partitions);
    ensure(st->attempts >= 1 && st->limit >= 1 && st->batch >= 1);
    ensure((st->kind == SPEC_SOURCE) == (st->from_count == 0 && !st->input));
    ensure((st->kind == SPEC_SINK) == (st->to_count == 0));
    ensure(st->kind != SPEC_EXEC || (st->argv && st->argv[0]));
    ensure(st->kind != SPEC_SINK || (st->path && st->path[0] == '/'));
    ensure(st->kind == SPEC_SOURCE || route_ends(s, i, true) >= 1);
    for (size_t k = 0; k < st->from_count; k++)
        ensure(st->from[k] < s->stage_count && st->from[k] != i);
}

static void try_file(struct str text)
{
    struct spec s;
    struct err e = {0};
    int rc = spec_parse(&s, text, "f", "/dir", &e);
    if (rc)
        ensure(rc == TTG_EUSAGE && strncmp(e.text, "f:", 2) == 0);
    for (size_t i = 0; i < s.stage_count && !rc; i++)
        check_stage(&s, i);
    spec_done(&s);
}

static void try_message(struct str text, bool made)
{
    struct message m, again;
    struct err e = {0};
    struct buf room, room_again, out;
    buf_init(&room, MESSAGE_BYTES_MAX);
    buf_init(&room_again, MESSAGE_BYTES_MAX);
    buf_init(&out, MESSAGE_BYTES_MAX);
    int rc = message_parse(text, made, &m, &room, &e);
    if (rc)
        ensure(rc == TTG_EPROTO && e.text[0]);
    if (!rc && !made) {
        ensure(message_add(&out, &m) == 0);
        ensure(message_parse(buf_str(&out), false, &again, &room_again, &e) == 0);
        ensure(str_eq(m.id, again.id) && str_eq(m.client, again.client));
        ensure(m.end == again.end && (m.end || str_eq(m.key, again.key)));
        ensure(m.end ? str_eq(m.path, again.path) : str_eq(m.value, again.value));
    }
    buf_done(&room);
    buf_done(&room_again);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_make((const char *)data, size);
    try_file(text);
    try_message(text, false);
    try_message(text, true);
    return 0;
}
