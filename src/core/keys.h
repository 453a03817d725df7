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

/* Adds a key that does not exist yet, without a value: the caller sets it at once. Wakes who waits
 * for it. NULL when there is no memory. */
struct key *key_add(struct core *c, struct str name, enum key_type type);

/* Frees the value; the caller sets another one at once. */
void key_clear(struct key *k);

/* Another name; a key that has it is deleted. TTG_ENOMEM, nothing has changed then. */
int key_rename(struct core *c, struct key *k, struct str name);

/* Removes the key with its value, guarded or not, and wakes who waits for it. */
void key_delete(struct core *c, struct key *k);

/* The first key whose name hashes to `hash` or above; NULL when there is none. */
struct key *key_from(const struct core *c, uint64_t hash);
struct key *key_next(const struct key *k);

/* "stream". */
const char *key_type_name(enum key_type type);

/* Why the key must not be deleted, replaced or renamed; NULL when it may. */
const char *key_guard(const struct key *k);

#endif
