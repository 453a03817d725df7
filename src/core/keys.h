/* SPDX-License-Identifier: Apache-2.0 */
/* keys - the keyspace: names and the values behind them. */
#ifndef TTG_CORE_KEYS_H
#define TTG_CORE_KEYS_H

#include "core/state.h"

struct stream;

enum key_type { KEY_STRING, KEY_LIST, KEY_SET, KEY_HASH, KEY_STREAM };

struct key {
    struct map_node node;
    struct tree_node order;
    struct str name;
    enum key_type type;
    union {
        struct str string;     /* owned */
        struct small *small;   /* list, set, hash */
        struct stream *stream; /* owned */
    };
};

/* NULL when there is none. */
struct key *key_find(const struct core *c, struct str name);

/* NULL when there is none or it is no stream. */
struct stream *key_stream(const struct core *c, struct str name);

/* Finds the stream or creates an empty one. TTG_EEXIST when the key holds another type,
 * TTG_ENOMEM. */
int key_stream_open(struct core *c, struct str name, struct stream **ret_stream);

/* Removes the key with its value, guarded or not, and wakes who waits for it. */
void key_delete(struct core *c, struct key *k);

/* Why the key must not be deleted, replaced or renamed; NULL when it may. */
const char *key_guard(const struct key *k);

#endif
