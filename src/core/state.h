/* SPDX-License-Identifier: Apache-2.0 */
/* state - what the core is made of, for the files of the core only.
 *
 * The core is a list of parts; each brings its commands, its section of a snapshot and what it has
 * to do in time. A new part is one more line in core.c. */
#ifndef TTG_CORE_STATE_H
#define TTG_CORE_STATE_H

#include "base/map.h"
#include "base/pack.h"
#include "base/tree.h"
#include "core/core.h"

enum { CORE_PARTS_MAX = 8 };

/* How streams are cut into blocks; changed by the logged command TTG.CONFIG. */
struct stream_config {
    uint64_t node_entries_max; /* 0: no limit */
    uint64_t node_bytes_max;   /* 0: no limit but that of a block */
};

struct core {
    struct core_env env;
    struct map keys;        /* struct key, by name */
    struct tree keys_order; /* the same, by hash of the name: for SCAN */
    struct stream_config streams;
    uint64_t boot;               /* raised at each start */
    uint64_t now_ms, served_ms;  /* of the newest record; core/served.h */
    void *parts[CORE_PARTS_MAX]; /* what the part number i keeps; see core_part_state */
};

/* A snapshot on its way out. Errors stick in p.rc. */
struct core_saver {
    struct packer p;
    struct buf buf;
    int (*write)(void *ctx, struct str bytes);
    void *ctx;
    uint32_t crc;
};

/* Hands on what has gathered once it is worth a write; call it after each element. */
void core_save_some(struct core_saver *s);

struct core_part {
    const char *name;                    /* of its section in a snapshot */
    const struct core_command *commands; /* up to a row without name */
    /* Any may be NULL. */
    int (*open)(struct core *c); /* core_new; 0 or TTG_ENOMEM */
    void (*close)(struct core *c);
    void (*save)(const struct core *c, struct core_saver *s);
    void (*load)(struct core *c, struct unpacker *u); /* errors in u->rc */
    int (*loaded)(struct core *c);                    /* all parts are there: tie them together */
    uint64_t (*digest)(const struct core *c);
    void (*boot)(struct core *c, uint64_t now_ms);
    uint64_t (*next_ms)(const struct core *c);
    void (*tick)(struct core *c, uint64_t now_ms);
    /* FLUSHALL: NULL when it may, else why not. */
    const char *(*flush_refused)(const struct core *c);
    /* FLUSHALL goes ahead: let go of every key, they are all freed next. */
    void (*flush)(struct core *c);
};

/* Where a part keeps its pointer; found by the address of its description. */
void **core_part_state(struct core *c, const struct core_part *part);

/* Tells the node that commands parked on this key may go on. */
void core_ready(struct core *c, struct str key);

/* Whether somebody wants to hear of moves; only then core_tell_move. */
bool core_tells_moves(const struct core *c);
void core_tell_move(const struct core *c, const struct core_move *move);

#endif
