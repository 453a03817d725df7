/* SPDX-License-Identifier: Apache-2.0 */
/* history - through which servers a job went, and how many of the results read are still true.
 *
 * A Redis server that is promoted or restarted may lack the newest changes of the one before. What
 * it has is a prefix of what that one had, and the first script that it runs notes the newest
 * result of that prefix: a fork. Each server's time is a generation, known by a number and an
 * identity. A collector remembers the newest few generations it has read from; when the server's
 * list says something else, the results that both have in common end at the lowest fork since the
 * newest generation that both know. Pure: texts in, a verdict out. */
#ifndef TTG_QUEUE_HISTORY_H
#define TTG_QUEUE_HISTORY_H

#include "base/str.h"

enum { HISTORY_ID_BYTES = 40, HISTORY_KEPT = 4, HISTORY_MAX = 64, HISTORY_TEXT_BYTES = 512 };

/* One generation, and the newest result there was when it began. */
struct history_entry {
    uint64_t number;
    char id[HISTORY_ID_BYTES];
    uint64_t cursor; /* of that result; 0: there was none */
    uint64_t count;  /* results up to it */
    int64_t chunk;   /* whose result it is; -1: none */
};

/* Newest first. */
struct history {
    size_t count;
    struct history_entry entries[HISTORY_MAX];
};

enum history_verdict {
    HISTORY_SAME,    /* all that was read is still true */
    HISTORY_FORKED,  /* only what lies up to the fork */
    HISTORY_UNKNOWN, /* nothing in common is known */
};

/* "NUMBER ID CURSOR COUNT CHUNK", with the cursor as a number. False: it is no such text. */
bool history_add(struct history *h, struct str text);

/* What a collector keeps: the newest few, as a text without blanks; "" for none. */
bool history_read(struct history *h, struct str text);
void history_write(const struct history *h, char out[HISTORY_TEXT_BYTES]);

/* `mine` is what was read from, `now` the server's list. *ret_fork, with HISTORY_FORKED, is the
 * newest result in common. */
enum history_verdict history_compare(const struct history *mine, const struct history *now,
                                     struct history_entry *ret_fork);

#endif
