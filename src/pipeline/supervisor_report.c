/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_report - what instances report, and the status file made of it. */
#include "base/log.h"
#include "io/realclock.h"
#include "pipeline/supervisor_state.h"
#include "wire/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

typedef unsigned long long number;

/* --- reports --- */

static void add_counts(struct part_counts *sum, const struct part_counts *c)
{
    sum->in += c->in;
    sum->out += c->out;
    sum->ends += c->ends;
    sum->retries += c->retries;
    sum->dead += c->dead;
    sum->duplicates += c->duplicates;
}

void supervisor_counts(const struct watched_stage *st, size_t partitions,
                       struct part_counts *ret_counts)
{
    *ret_counts = (struct part_counts){0};
    for (size_t i = 0; i < partitions; i++) {
        add_counts(ret_counts, &st->part[i].before);
        add_counts(ret_counts, &st->part[i].now);
    }
}

static uint64_t member(struct json object, const char *name)
{
    struct str at = json_inside(object);
    struct json key, value;
    uint64_t n = 0;
    while (json_next(&at, &key, &value))
        if (json_is(key, str_of(name)))
            return value.type == JSON_BOOL ? value.raw.ptr[0] == 't' : json_u64(value, &n) ? 0 : n;
    return 0;
}

static void heard_part(struct watched_instance *w, struct json v)
{
    struct watched_stage *st = &w->s->stages[w->stage];
    uint64_t n = member(v, "part"), epoch = member(v, "epoch");
    if (n >= w->s->spec->stages[w->stage].partitions || st->part[n].epoch != epoch)
        return; /* of an owner that is not it any more */
    struct watched_part *p = &st->part[n];
    uint64_t before = p->now.in + p->now.out + p->now.ends;
    p->now = (struct part_counts){.in = member(v, "in"),
                                  .out = member(v, "out"),
                                  .ends = member(v, "ends"),
                                  .retries = member(v, "retries"),
                                  .dead = member(v, "dead"),
                                  .duplicates = member(v, "duplicates")};
    p->owned = member(v, "owned");
    p->idle = member(v, "idle");
    p->finished = member(v, "finished");
    if (p->now.in + p->now.out + p->now.ends > before)
        p->failures = 0;
}

static void heard_lost(struct watched_instance *w, struct json v)
{
    struct str at = json_inside(v);
    struct json key, value;
    struct buf reason;
    int64_t code = TTG_EIO;
    buf_init(&reason, ERR_TEXT_BYTES_MAX * 2);
    while (json_next(&at, &key, &value))
        if (json_is(key, STR("reason")))
            json_add_text(value, &reason);
        else if (json_is(key, STR("code")))
            json_i64(value, &code);
    uint64_t n = member(v, "lost");
    if (n < w->s->spec->stages[w->stage].partitions)
        supervisor_lost_part(w, (size_t)n, member(v, "epoch"), (int)code, buf_str(&reason));
    buf_done(&reason);
}

void supervisor_heard(struct watched_instance *w, struct str line)
{
    struct json root, key, value, part;
    if (json_parse(line, &root, NULL) || root.type != JSON_OBJECT) {
        log_warn("instance.unclear", kv_s("line", line));
        return;
    }
    struct str at = json_inside(root);
    while (json_next(&at, &key, &value)) {
        if (json_is(key, STR("lost"))) {
            heard_lost(w, root);
        } else if (json_is(key, STR("parts"))) {
            struct str parts = json_inside(value);
            while (json_item(&parts, &part))
                heard_part(w, part);
        }
    }
}

/* --- the status --- */

static void add_instance(struct buf *b, const struct watched_instance *w, bool first)
{
    bool some = false;
    const struct watched_stage *st = &w->s->stages[w->stage];
    buf_printf(b, "%s{\"instance\":%zu,\"pid\":%d,\"restarts\":%u,\"partitions\":[",
               first ? "" : ",", w->number, (int)w->process.pid, w->restarts);
    for (size_t i = 0; i < st->assign.partitions; i++)
        if (st->assign.part[i].owner == (int)w->number) {
            buf_printf(b, "%s%zu", some ? "," : "", i);
            some = true;
        }
    buf_add_str(b, STR("]}"));
}

static void add_stage(struct buf *b, const struct supervisor *s, size_t n)
{
    const struct spec_stage *st = &s->spec->stages[n];
    const struct watched_stage *w = &s->stages[n];
    struct part_counts c;
    uint64_t moves = 0, finished = 0, up = 0;
    supervisor_counts(w, st->partitions, &c);
    for (size_t i = 0; i < st->partitions; i++) {
        moves += w->part[i].moves;
        finished += w->part[i].finished;
    }
    for (size_t i = 0; i < st->instances; i++)
        up += process_runs(&w->instances[i].process);
    buf_printf(b,
               "%s{\"stage\":\"%s\",\"kind\":\"%s\",\"in\":%llu,\"out\":%llu,\"ends\":%llu,"
               "\"queued\":%llu,\"retries\":%llu,\"duplicates\":%llu,\"dead\":%llu,"
               "\"partitions\":%llu,\"finished\":%llu,\"moves\":%llu,\"instances_up\":%llu,"
               "\"instances\":[",
               n ? "," : "", st->name, spec_kind_name(st), (number)c.in, (number)c.out,
               (number)c.ends, (number)w->queued, (number)c.retries, (number)c.duplicates,
               (number)w->dead, (number)st->partitions, (number)finished, (number)moves,
               (number)up);
    for (size_t i = 0; i < st->instances; i++)
        add_instance(b, &w->instances[i], i == 0);
    buf_add_str(b, STR("]}"));
}

void supervisor_save_status(struct supervisor *s, const char *state)
{
    struct clock *clock = realclock();
    struct buf *b = &s->status, path, fresh;
    uint64_t now_ms = clock->wall_ms(clock);
    buf_clear(b);
    buf_printf(b, "{\"pipeline\":\"%s\",\"state\":\"%s\",\"pid\":%d,\"seconds\":%.3f,\"queue\":",
               s->spec->name, state, (int)getpid(), (double)(now_ms - s->started_wall_ms) / 1000);
    buf_add_json(b, str_of(s->config.queue_text));
    buf_add_str(b, STR(",\"stages\":["));
    for (size_t i = 0; i < s->spec->stage_count; i++)
        add_stage(b, s, i);
    buf_add_str(b, STR("]}\n"));
    buf_init(&path, 8192);
    buf_init(&fresh, 8192);
    if (buf_printf(&path, "%s/status.json", s->config.state) == 0 &&
        buf_printf(&fresh, "%s/status.new", s->config.state) == 0) {
        int fd = open(buf_cstr(&fresh), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        bool good = fd >= 0 && write(fd, buf_ptr(b), buf_len(b)) == (ssize_t)buf_len(b);
        if (fd >= 0)
            close(fd);
        if (good)
            rename(buf_cstr(&fresh), buf_cstr(&path));
    }
    buf_done(&path);
    buf_done(&fresh);
}
