/* SPDX-License-Identifier: Apache-2.0 */
/* stream_idmp - which messages of which producer a stream has taken lately, so that one that is
 * sent again is not added again: XADD IDMP and IDMPAUTO of Redis 8.6.
 *
 * A producer's messages are known by its name (pid) and an id of its choice (iid). The newest
 * `ids_max` of each are kept for `duration_s`. What is over goes when something is added, so time
 * alone changes nothing and replay decides the same. */
#ifndef TTG_CORE_STREAM_IDMP_H
#define TTG_CORE_STREAM_IDMP_H

#include "core/stream.h"

enum {
    IDMP_DURATION_S = 100,
    IDMP_DURATION_S_MAX = 86400,
    IDMP_IDS = 100,
    IDMP_IDS_MAX = 10000,
};

struct stream_idmp {
    uint64_t duration_s, ids_max;
    uint64_t added, duplicates; /* ever */
    size_t ids;                 /* of all producers */
    struct tree producers;      /* by name */
    struct list by_use;         /* the same, the one that was quiet longest first */
};

/* NULL when there is no memory. */
struct stream_idmp *idmp_new(void);
void idmp_free(struct stream_idmp *m); /* NULL is fine */
/* Forgets all messages; the counters stay. */
void idmp_clear(struct stream_idmp *m);

/* Whether the message is known, and the entry that it became. */
bool idmp_find(const struct stream_idmp *m, struct str pid, struct str iid, uint64_t now_ms,
               struct stream_id *ret_entry);

/* Notes a message in two steps, as the entry may fail in between. */
struct idmp_producer;
struct idmp_message;
struct idmp_note {
    struct idmp_producer *producer;
    struct idmp_message *message;
    bool fresh; /* the producer is a new one */
};
/* TTG_ENOMEM; nothing has changed then. */
int idmp_prepare(struct stream_idmp *m, struct str pid, struct str iid, struct idmp_note *ret_note);
void idmp_commit(struct stream_idmp *m, struct idmp_note *note, struct stream_id entry,
                 uint64_t now_ms);
void idmp_cancel(struct idmp_note *note);

/* An id made of the content, whatever the order of the pairs: IDMP_AUTO_BYTES. */
enum { IDMP_AUTO_BYTES = 16 };
void idmp_auto(const struct str *fields, size_t pairs, char *out);

void idmp_save(const struct stream_idmp *m, struct core_saver *out);
/* NULL with u->rc set on an error. */
struct stream_idmp *idmp_load(struct unpacker *u);
uint64_t idmp_digest(const struct stream_idmp *m);

#endif
