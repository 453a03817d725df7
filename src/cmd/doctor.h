/* SPDX-License-Identifier: Apache-2.0 */
/* doctor - is what a job relies on set up so that nothing can get lost?
 *
 * Two halves. Gathering (doctor_redis.c, doctor_rabbit.c, doctor_here.c) asks servers and this
 * machine and notes facts: names and values, for each place. Deciding (doctor_rules.c) is a table
 * of rules over the facts of one place, without any server: what is wrong, what that means for the
 * user's data, and how to fix it. */
#ifndef TTG_CMD_DOCTOR_H
#define TTG_CMD_DOCTOR_H

#include "base/buf.h"
#include "base/err.h"
#include "queue/queue.h"

enum doctor_kind {
    DOCTOR_HERE,      /* this machine */
    DOCTOR_DIRECTORY, /* where a node's data, or the state of runs, lies */
    DOCTOR_NODE,
    DOCTOR_REDIS,
    DOCTOR_SENTINEL,
    DOCTOR_CLUSTER, /* of Redis: one node's view of the whole */
    DOCTOR_RABBIT,  /* the broker as a whole */
    DOCTOR_RABBIT_NODE,
    DOCTOR_RABBIT_QUEUE,
    DOCTOR_KINDS,
};

enum { DOCTOR_PLACES_MAX = 256, DOCTOR_WHERE_BYTES = 256, DOCTOR_FACTS_BYTES_MAX = 1 << 20 };

/* Facts that gathering computes have names that begin with "ttg."; others are the server's own
 * words (INFO, CONFIG GET, the members of the management API's objects). */
struct doctor_facts {
    enum doctor_kind kind;
    char where[DOCTOR_WHERE_BYTES];
    struct buf text; /* name NUL value NUL ... */
};

struct doctor {
    struct doctor_facts *places[DOCTOR_PLACES_MAX];
    size_t place_count;
};

void doctor_init(struct doctor *d);
void doctor_done(struct doctor *d);

/* A further place; NULL when there is no memory, or no room for it. */
struct doctor_facts *doctor_place(struct doctor *d, enum doctor_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int doctor_note(struct doctor_facts *f, struct str name, struct str value);
int doctor_note_i64(struct doctor_facts *f, const char *name, int64_t value);
/* Notes by how much another clock is off for certain: it said `theirs_ms`, exact to `grain_ms`
 * either way, at some moment between these two of ours. A machine that is busy may have taken its
 * time. */
int doctor_note_clock(struct doctor_facts *f, int64_t theirs_ms, int64_t grain_ms,
                      uint64_t before_ms, uint64_t after_ms);

/* NULL: not known. */
const char *doctor_text(const struct doctor_facts *f, const char *name);
/* False: not known, or no number. */
bool doctor_number(const struct doctor_facts *f, const char *name, int64_t *ret_value);
bool doctor_is(const struct doctor_facts *f, const char *name, const char *value);

/* --- deciding --- */

enum doctor_level {
    DOCTOR_WARNING, /* works, but something is lost or slow in a case that may come */
    DOCTOR_UNSAFE,  /* results may be lost, or the job stands still until somebody acts */
};

struct doctor_finding {
    const char *id; /* stable */
    enum doctor_level level;
    const char *where, *means, *fix;
    struct buf found; /* the setting as it is */
};

/* Calls `on_finding` for each rule that a place breaks. */
int doctor_judge(const struct doctor *d,
                 int (*on_finding)(void *ctx, const struct doctor_finding *finding), void *ctx);
/* What the rules for a kind look at, in a few words. */
const char *doctor_covers(enum doctor_kind kind);

/* --- gathering: TTG_EUNREACH and so on when nothing could be learned --- */

struct doctor_ask {
    struct doctor *doctor;
    struct loop *loop;
    const struct queue_config *config; /* with the address */
    struct tls *tls;
    const char *management; /* of RabbitMQ, "http://HOST:PORT"; NULL: port 15672 of the host */
    const char *sync;       /* of an embedded node */
};

int doctor_here(struct doctor *d, struct err *err);
/* `path` or what of it exists. */
int doctor_directory(struct doctor *d, const char *path, const char *sync, struct err *err);
/* Redis in all its forms, and ttg nodes. */
int doctor_resp(const struct doctor_ask *a, struct err *err);
int doctor_rabbit(const struct doctor_ask *a, struct err *err);

#endif
