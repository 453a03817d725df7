/* SPDX-License-Identifier: Apache-2.0 */
/* small - lists, sets and hashes as tools and tests need them: correct, not tuned. */
#ifndef TTG_CORE_SMALL_H
#define TTG_CORE_SMALL_H

#include "base/list.h"
#include "core/state.h"

struct small_item {
    union {
        struct list link;      /* list */
        struct tree_node node; /* set, hash: by name */
    };
    struct str name, value; /* owned; the value of a hash's field */
};

struct small {
    struct list items; /* list */
    struct tree tree;  /* set, hash */
    size_t count;
};

struct small *small_new(void);
void small_free(struct small *m, bool is_list);

/* NULL when there is no memory; copies both. */
struct small_item *small_item_new(struct str name, struct str value);
void small_item_free(struct small_item *item);

struct small_item *small_find(const struct small *m, struct str name);
/* Adds an item to a set or hash that has none of this name. */
void small_add(struct small *m, struct small_item *item);
/* Takes it out and frees it. */
void small_remove(struct small *m, struct small_item *item);

void small_save(const struct small *m, bool is_list, struct core_saver *out);
void small_load(struct small *m, bool is_list, struct unpacker *u);
uint64_t small_digest(const struct small *m, bool is_list);

#endif
