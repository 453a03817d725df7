/* SPDX-License-Identifier: Apache-2.0 */
/* kinds - what each kind of stage does with the messages of a partition.
 *
 *     run_kind.c        exec, coproc, plugin: nothing is kept
 *     aggregate_kind.c  state for each client, which goes out when the client has ended
 *     source_kind.c     reads a file or a command
 *     sink_kind.c       writes a file */
#ifndef TTG_PIPELINE_KINDS_H
#define TTG_PIPELINE_KINDS_H

#include "pipeline/part.h"

struct part_kind {
    /* Before the inbox is asked for. May be NULL. */
    int (*open)(struct part *p, struct err *err);
    void (*close)(struct part *p);
    /* The inbox is ours (again): what was in memory of uncommitted messages is to be forgotten. The
     * first time, files may be opened: nobody else can acknowledge from now on. TTG_EAGAIN: not
     * yet; it is called again soon. */
    int (*ready)(struct part *p, struct err *err);
    /* The owner's turn: looks at messages, puts a commit together, and calls part_commit or
     * part_pause once, at once or later. */
    void (*work)(struct part *p);
    /* Whether there is work without messages. May be NULL. */
    bool (*wants)(const struct part *p);
    /* What was sent is safe with the queue. May be NULL. */
    int (*committed)(struct part *p, struct err *err);
};

extern const struct part_kind run_kind, aggregate_kind, source_kind, sink_kind;

#endif
