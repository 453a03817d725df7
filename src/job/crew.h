/* SPDX-License-Identifier: Apache-2.0 */
/* crew - the processes of `ttg run`: a node if there is none yet, and the workers.
 *
 * They are this very program, executed again as `ttg node` and `ttg worker`: running locally is the
 * same code as running on many machines. Who dies is started again at once; who dies again and
 * again gets growing pauses, and the crew is given up unless the job gets on. When we
 * die, workers are told to stop (parent-death signal) and finish their chunk; the node goes once
 * nobody is connected to it any more.
 *
 * What workers write to standard error passes through us, so that it is known what one that died
 * said last. */
#ifndef TTG_JOB_CREW_H
#define TTG_JOB_CREW_H

#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;
struct crew;

/* A worker has ended in disorder: by a signal, or with an exit code of its own. */
struct crew_death {
    const char *name;
    uint64_t incarnation;
    struct str reason; /* how, and the last lines of its standard error; lives until the return */
};

/* Words end with NULL; all pointers stay the caller's and live as long as the crew. */
struct crew_config {
    char *const *node; /* `ttg node --data DIR ...`; NULL: no node */
    char *const
        *worker; /* `ttg worker ...`; CREW_NAME and CREW_INCARNATION stand for those of a start */
    /* Path of another program whose words these are, and which runs as long as the worker does.
     * One of them may end with CREW_NAME. What it writes is not shown. NULL: this very program. */
    const char *worker_program;
    bool node_lives; /* another one serves there still: ours starts when it is needed */
    uint32_t workers, first_worker; /* named worker-FIRST ... */
    const char *worker_name;        /* of a single one; NULL: as above */
    enum log_level log_level;       /* from which on their messages are shown */
    uint64_t drain_ms;              /* how long workers have to stop before they are killed */
    void *ctx;
    /* Whether a node is missing; asked before one is started again. May be NULL: always. */
    bool (*node_needed)(void *ctx);
    /* Whether a worker that died is started again now; if not, asked again a little later. May be
     * NULL: always. */
    bool (*worker_needed)(void *ctx, const char *name);
    /* Whether a worker that ends with this code is not to be started again; on_failed follows,
     * unless it is 0. May be NULL: only 0 and 2. */
    bool (*is_final)(void *ctx, int status);
    /* The node or a worker cannot be kept running: it fails each time. */
    void (*on_failed)(void *ctx, const struct err *err);
    /* Everybody has ended after crew_stop. */
    void (*on_stopped)(void *ctx);
    /* For statistics and tests; may be NULL. `died`: was not asked to end. */
    void (*on_worker)(void *ctx, const char *name, pid_t pid, bool died);
    /* May be NULL. Before it is started again. */
    void (*on_death)(void *ctx, const struct crew_death *death);
};

/* With this code a node with --until-eof ends when the disk has no room for its log. One that has
 * never served is given up at once then, the other waits: room may come back. */
enum { CREW_NODE_NO_ROOM = 5 };

#define CREW_NAME "{worker-name}"
#define CREW_INCARNATION "{worker-incarnation}"

int crew_start(struct crew **ret_crew, struct loop *loop, const struct crew_config *config,
               struct err *err);
/* Other names for workers that have not been started: worker-FIRST .... */
void crew_name_workers(struct crew *c, uint32_t first);
/* Starts the workers: once the job is there. */
void crew_start_workers(struct crew *c);
/* Workers that end by themselves with code 0 are not started again from now on. */
void crew_job_ended(struct crew *c);
/* The job goes on, although workers were told that it is over (the queue went back in time): those
 * that ended by themselves a while ago are started again. */
void crew_call_back(struct crew *c);
/* The node serves, or chunks end one way or the other: who died before is not hopeless. */
void crew_progress(struct crew *c);
/* There is something to tell the queue: the node stays, and on_stopped waits. Each keep has its
 * release. */
void crew_keep(struct crew *c);
void crew_release(struct crew *c);
/* TERM to the workers; when they have ended, TERM to the node; then on_stopped. The second time:
 * at once. */
void crew_stop(struct crew *c);
/* Kills who still runs. NULL is fine. */
void crew_free(struct crew *c);

/* The node's process, 0 when there is none. */
pid_t crew_node_pid(const struct crew *c);
uint32_t crew_workers_running(const struct crew *c);

#endif
