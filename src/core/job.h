/* SPDX-License-Identifier: Apache-2.0 */
/* job - a ledger with the two streams that show it to any Redis client.
 *
 * The ledger decides; the streams follow. Each move of a chunk is mirrored at once, within the same
 * command, so that both are one state: the task stream holds the chunks that are open, the pending
 * list of its group the leases, the result stream the results. What plain clients do to the streams
 * comes back through the streams' hooks (job_foreign.c).
 *
 * Running out of memory half-way through a mirrored change stops the process: the command is not in
 * the log yet, so the restart is at a state where it has not happened. */
#ifndef TTG_CORE_JOB_H
#define TTG_CORE_JOB_H

#include "base/clock.h"
#include "base/err.h"
#include "core/args.h"
#include "core/ledger.h"
#include "core/xcmd.h"

enum { JOB_NAME_BYTES_MAX = 64, JOB_GUARD_BYTES = 256, JOB_VALUE_BYTES_MAX = 64 << 20 };

struct job {
    struct map_node node;
    struct list link; /* in order of creation */
    struct core *core;
    struct ledger *ledger;
    struct str name, tasks_key, results_key; /* owned, in one block with the job */
    struct stream *tasks, *results;
    struct stream_group *group;
    uint64_t created_ms;
    char created_text[CLOCK_TEXT_BYTES];
    uint64_t text_ms; /* of now_text: most results share it with the one before */
    char now_text[CLOCK_TEXT_BYTES];
    char guard[JOB_GUARD_BYTES];
    bool by_client; /* a client's own command moves this pending entry: leave it to it */
    const struct str *extra_fields; /* of the foreign result under way: pairs */
    size_t extra_pairs;
    char bytes[];
};

struct jobs {
    struct map by_name;
    struct list all;
};

struct jobs *core_jobs(const struct core *c);
struct job *job_find(const struct core *c, struct str name);
bool job_name_valid(struct str name);

/* Creates the streams too. TTG_ENOMEM, TTG_EEXIST with a text: a stream's key is taken. */
int job_new(struct core *c, struct str name, const struct ledger_spec *spec, uint64_t now_ms,
            struct job **ret_job, struct err *err);
/* With its streams. */
void job_delete(struct core *c, struct job *j);

/* After each change: wakes who waits for the job or one of its streams. */
void job_wake(struct job *j);

/* job_mirror.c */
extern const struct ledger_ops job_mirror_ops;
void job_mirror_attach(struct job *j); /* ties workers to consumers and guards the streams */

static inline struct stream_id job_task_id(const struct job *j, uint64_t chunk)
{
    return (struct stream_id){j->created_ms, chunk + 1};
}

/* job_foreign.c */
extern const struct stream_hooks job_task_hooks, job_result_hooks;

/* job_text.c: one result as its line of output, from the fields of its stream entry. */
int job_result_line(struct buf *out, struct stream_entry *e);
/* "00042"; the length. Room for 20 bytes. */
size_t job_chunk_text(char *out, uint64_t chunk);
/* "0.35" */
size_t job_seconds_text(char *out, uint64_t us);
/* A whole JSON value. If it is an object with an integer member "sum", that is in ret_sum. */
bool job_json_valid(struct str text, bool *ret_has_sum, __int128 *ret_sum);

/* Commands. */
bool arg_job(struct core *c, struct core_call *call, size_t i, struct job **ret_job);
bool arg_u64(struct core_call *call, size_t i, uint64_t max, uint64_t *ret_value);
const char *job_state_text(enum ledger_state state);
/* Capped at 2^63-1, the largest number that a reply can carry. */
void reply_count(struct reply *r, uint64_t value);
/* Nothing to give yet: wait for the job named in argv[1]. */
void job_park(struct core_call *call, uint64_t block_ms);

/* Runs a command that needs nothing of a job but its ledger (status, pause, resume, cancel,
 * workers, dead letters, events, explain), for engines that keep no streams. False: another one. */
bool job_exec_ledger(struct ledger *l, struct core_call *call);
void job_view_status(struct job *j, struct core_call *call);
void job_view_pause(struct job *j, struct core_call *call);
void job_view_resume(struct job *j, struct core_call *call);
void job_view_cancel(struct job *j, struct core_call *call);

void job_create(struct core *c, struct core_call *call);
void job_status(struct core *c, struct core_call *call);
void job_list(struct core *c, struct core_call *call);
void job_pause(struct core *c, struct core_call *call);
void job_resume(struct core *c, struct core_call *call);
void job_cancel(struct core *c, struct core_call *call);
void job_forget(struct core *c, struct core_call *call);
void job_join(struct core *c, struct core_call *call);
void job_take(struct core *c, struct core_call *call);
void job_commit(struct core *c, struct core_call *call);
void job_fail(struct core *c, struct core_call *call);
void job_release(struct core *c, struct core_call *call);
void job_beat(struct core *c, struct core_call *call);
void job_leave(struct core *c, struct core_call *call);
void job_lost(struct core *c, struct core_call *call);
void job_workers(struct core *c, struct core_call *call);
void job_results(struct core *c, struct core_call *call);
void job_trim(struct core *c, struct core_call *call);
void job_dead_list(struct core *c, struct core_call *call);
void job_dead_show(struct core *c, struct core_call *call);
void job_dead_redrive(struct core *c, struct core_call *call);
void job_dead_drop(struct core *c, struct core_call *call);
void job_events(struct core *c, struct core_call *call);
void job_explain(struct core *c, struct core_call *call);
void job_map(struct core *c, struct core_call *call);
/* The same of a ledger alone. */
void job_view_map(struct job *j, struct core_call *call);

#endif
