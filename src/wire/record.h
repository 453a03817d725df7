/* SPDX-License-Identifier: Apache-2.0 */
/* record - what a node writes into its log: which commands changed the state, and when.
 *
 * A record is applied as a whole or not at all, so the commands of a transaction share one. Replay
 * runs them again at the recorded time on behalf of the recorded client. */
#ifndef TTG_WIRE_RECORD_H
#define TTG_WIRE_RECORD_H

#include "base/buf.h"

enum record_kind {
    RECORD_COMMANDS = 1, /* one or several commands of a client */
    RECORD_BOOT = 2,     /* a node started */
    RECORD_TICK = 3,     /* time alone made something due */
};

enum { RECORD_HEAD_BYTES_MAX = 24, RECORD_NUMBER_BYTES_MAX = 10 };

/* Starts a record at the end of `out`; the commands of a RECORD_COMMANDS follow. */
int record_begin(struct buf *out, enum record_kind kind, uint64_t now_ms, uint64_t client);
int record_command(struct buf *out, size_t argc, const struct str *argv);
/* The room that record_command needs at most. */
size_t record_command_bytes(size_t argc, const struct str *argv);

struct record {
    enum record_kind kind;
    uint64_t now_ms, client;
    struct str rest; /* the commands not yet read */
};

/* TTG_ECORRUPT when the bytes are no record. Views into `bytes`. */
int record_open(struct record *r, struct str bytes);

/* The words of the next command, in an array that grows as needed: start with NULL and 0, mem_free
 * it at the end. 1, 0 behind the last one, TTG_ECORRUPT, TTG_ENOMEM. */
int record_next(struct record *r, struct str **argv, size_t *cap, size_t *ret_argc);

#endif
