/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_rule - what the tables of rules share. A rule looks at the facts of one place, says
 * whether it is broken and notes what it saw; a fact that is not known breaks nothing, unless that
 * is what the rule is about.
 *
 *     doctor_rules.c         this machine, directories, nodes; all tables together
 *     doctor_rules_redis.c   Redis, Sentinels, clusters
 *     doctor_rules_rabbit.c  RabbitMQ */
#ifndef TTG_CMD_DOCTOR_RULE_H
#define TTG_CMD_DOCTOR_RULE_H

#include "cmd/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MIB = 1 << 20,
    CLOCK_MS_WARN = 2000,
    CLOCK_MS_MAX = 30 * 60 * 1000, /* half of what keeps epochs apart, see lib/job.lua */
};

struct rule {
    const char *id;
    enum doctor_kind kind;
    enum doctor_level level;
    bool (*broken)(const struct doctor_facts *f, struct buf *found);
    const char *means, *fix;
};

struct rule_table {
    const struct rule *rules;
    size_t count;
};
extern const struct rule_table doctor_rules_redis, doctor_rules_rabbit;

static inline bool say(struct buf *found, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline bool say(struct buf *found, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(found, format, args);
    va_end(args);
    return true;
}

static inline bool shows(const struct doctor_facts *f, struct buf *found, const char *name)
{
    return say(found, "%s is %s", name, doctor_text(f, name));
}

/* name is known and has this value */
static inline bool has(const struct doctor_facts *f, struct buf *found, const char *name,
                       const char *value)
{
    return doctor_is(f, name, value) && shows(f, found, name);
}

static inline int64_t number(const struct doctor_facts *f, const char *name, int64_t unknown)
{
    int64_t n;
    return doctor_number(f, name, &n) ? n : unknown;
}

static inline bool below(const struct doctor_facts *f, struct buf *found, const char *name,
                         int64_t least)
{
    int64_t n;
    return doctor_number(f, name, &n) && n < least && shows(f, found, name);
}

/* "7.0.15" as 70015; 0: not known */
static inline int64_t version(const struct doctor_facts *f, const char *name)
{
    const char *text = doctor_text(f, name);
    int major = 0, minor = 0, patch = 0;
    return text && sscanf(text, "%d.%d.%d", &major, &minor, &patch) >= 2
               ? major * 10000L + minor * 100L + patch
               : 0;
}

static inline bool older(const struct doctor_facts *f, struct buf *found, const char *name,
                         int64_t than)
{
    int64_t v = version(f, name);
    return v > 0 && v < than && shows(f, found, name);
}

static inline bool clients_near(const struct doctor_facts *f, struct buf *found)
{
    int64_t now = number(f, "connected_clients", 0), max = number(f, "maxclients", INT64_MAX);
    return now > max / 5 * 4 &&
           say(found, "%lld of %lld connections are in use", (long long)now, (long long)max);
}

/* --- clocks --- */

static inline int64_t clock_off_ms(const struct doctor_facts *f)
{
    int64_t ms = number(f, "ttg.clock_ms", 0);
    return ms < 0 ? -ms : ms;
}

static inline bool clock_wrong(const struct doctor_facts *f, struct buf *found)
{
    return clock_off_ms(f) > CLOCK_MS_MAX &&
           say(found, "its clock and ours differ by %lld s", (long long)clock_off_ms(f) / 1000);
}

static inline bool clock_off(const struct doctor_facts *f, struct buf *found)
{
    int64_t ms = clock_off_ms(f);
    return ms > CLOCK_MS_WARN && ms <= CLOCK_MS_MAX &&
           say(found, "its clock and ours differ by %lld.%03lld s", (long long)ms / 1000,
               (long long)ms % 1000);
}

/* It could not be asked. */
static inline bool hidden(const struct doctor_facts *f, struct buf *found)
{
    return doctor_text(f, "ttg.error") && say(found, "%s", doctor_text(f, "ttg.error"));
}

#endif
