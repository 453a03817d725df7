/* SPDX-License-Identifier: Apache-2.0 */
/* ttg - the library: submit a job, compute its chunks with a function of yours, read its results.
 *
 *     #include <ttg/ttg.h>
 *
 *     static int square_sum(void *state, struct ttg_call *call)
 *     {
 *         for (int64_t i = call->start;; i++) {
 *             ttg_sum(call, i * i);
 *             if (i == call->end)
 *                 return TTG_DONE;
 *         }
 *     }
 *
 * docs/library.md explains each function; examples/lib has whole programs, each under 40 lines.
 *
 * Errors: functions that can fail return 0 or a negative code of <ttg/error.h>; the handle then has
 * a message for people (ttg_queue_message and the like). The ..._open functions set their handle
 * also when they fail, so that it can be asked, unless there is no memory for it (NULL); close it
 * in each case. Where a handle or a required pointer is NULL the answer is TTG_EINVAL; ..._close
 * accepts NULL.
 *
 * Options and answers begin with their `size`: the program sets it, as in
 *     struct ttg_job_options options = {.size = sizeof options, .params = 1000};
 * so that a program and a library of different versions understand each other. Where nothing else
 * is said, 0 and NULL mean the default. All that is passed in is copied.
 *
 * Threads: handles are independent of each other and may be closed in any order. Each one belongs
 * to one thread at a time; only ttg_worker_stop may be called from anywhere, even from a signal
 * handler. Functions block; they are not to be called from a worker's function with the worker's
 * own handle. After a fork the child leaves its parent's handles alone.
 *
 * The library prints nothing, keeps no state between handles and leaves signals alone. It has no
 * node inside: a queue is a Redis server or a node that was started with `ttg node`. */
#ifndef TTG_TTG_H
#define TTG_TTG_H

#include <stddef.h>
#include <stdint.h>

#include <ttg/error.h>
#include <ttg/plugin.h>
#include <ttg/version.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TTG_API __attribute__((visibility("default")))
#define TTG_FOREVER UINT64_MAX /* for the ..._ms where it is allowed */

/* TTG_VERSION of the library that is linked, which may be another than that of the header. */
TTG_API const char *ttg_version(void);

/* "TTG_ESTALE", one short phrase for people, and whether the same call may succeed later by itself.
 * Static storage; also for 0 and for codes that are not in the table. */
TTG_API const char *ttg_error_name(int code);
TTG_API const char *ttg_error_text(int code);
TTG_API int ttg_error_retry_helps(int code);

/* ---- a queue: where jobs are ---- */

typedef struct ttg_queue ttg_queue;

struct ttg_queue_options {
    size_t size;
    uint64_t retry_ms;       /* without a connection for so long: TTG_EUNREACH; default 60,000 */
    const char *client_name; /* shown by the server's CLIENT LIST; default: none */
    const char *tls_ca_file; /* for ttgs:// and rediss://; default: the system's */
    const char *tls_cert_file, *tls_key_file; /* PEM, to prove who we are; default: none */
    int tls_no_verify;                        /* not 0: accepts any certificate; for tests */
};

/* `url`: ttg+unix:PATH, ttg://[:PASSWORD@]HOST[:PORT],...,
 * redis://[USER:PASSWORD@]HOST[:PORT][/DB], and ttgs:// and rediss:// for TLS. `options` may be
 * NULL. Connects with the first call that needs it, again when it was cut. TTG_EUSAGE: the address
 * or the certificates are wrong, TTG_EUNSUPPORTED, TTG_EVERSION (options that this library does not
 * know), TTG_ENOMEM. */
TTG_API int ttg_queue_open(ttg_queue **ret_queue, const char *url,
                           const struct ttg_queue_options *options);
TTG_API void ttg_queue_close(ttg_queue *q);
/* Of the last call with this handle that failed; "" when none did. Until the next call. */
TTG_API const char *ttg_queue_message(const ttg_queue *q);

/* ---- jobs. `job` is a name of [A-Za-z0-9_-]{1,64}; NULL: "default" ----
 *
 * Each of these ends with TTG_EUNREACH when the queue is not there for retry_ms, TTG_EAUTH,
 * TTG_ENOENT (no such job), TTG_EFULL (the queue refuses writes for now), TTG_EPROTO (it is none),
 * TTG_EINVAL, TTG_ENOMEM, and with what is named. */

struct ttg_job_options {
    size_t size;
    int64_t first;          /* the lowest parameter */
    uint64_t params;        /* how many, at most 2^63; 0: a job that is finished at once */
    const char *input_file; /* instead: its lines are the parameters. The workers must see it and
                               the index that is made beside it, FILE.ttg-index */
    uint64_t chunk_params;  /* parameters of a chunk; default 100 */
    uint32_t max_attempts;  /* then the chunk is a dead letter; default 5 */
    uint32_t window;        /* chunks that wait in the queue at a time; default 65,536 */
    uint32_t retry_min_ms;  /* pause after a failed attempt, doubling up to max: 100, */
    uint32_t retry_max_ms;  /* 5,000 */
    const char *kernel;     /* a description for people; default "function" */
};

/* Creates the job. When one of this name exists with the same options it is that one, and 0: a
 * submitter that died half-way is simply run again. TTG_EEXIST: the name is taken by a job with
 * other options, TTG_EDONE: by one that has ended. */
TTG_API int ttg_job_submit(ttg_queue *q, const char *job, const struct ttg_job_options *options);

enum ttg_job_state { TTG_JOB_RUNNING, TTG_JOB_PAUSED, TTG_JOB_FINISHED, TTG_JOB_CANCELED };

/* A chunk is completed, dead (letter), dropped (a dead letter given up), or still open. */
struct ttg_status {
    size_t size;
    int state; /* enum ttg_job_state */
    uint64_t chunks, completed, dead, dropped;
    uint64_t leased, delayed; /* computed now; waiting for another attempt */
    uint64_t params_total, params_completed;
    uint64_t attempts, failures, reclaimed; /* started, failed, taken from lost workers */
    uint64_t stale_dropped;                 /* results that came too late and did not count */
    uint64_t workers, workers_lost;
    uint64_t results;                 /* numbered from 1 in order of commit */
    uint64_t created_ms, finished_ms; /* since 1970; 0: not yet */
    int has_sum;                      /* 1: in `sum`; -1: it did not fit 128 bits; 0: no sums */
    char sum[48];                     /* of all results, decimal */
};

TTG_API int ttg_job_status(ttg_queue *q, const char *job, struct ttg_status *status);
/* Waits until the job has ended (finished or canceled), at most `timeout_ms`: TTG_ETIMEOUT, or
 * TTG_FOREVER. `status` is the last one, also after TTG_ETIMEOUT; NULL: not asked for. */
TTG_API int ttg_job_wait(ttg_queue *q, const char *job, uint64_t timeout_ms,
                         struct ttg_status *status);

/* Repeating them is harmless. TTG_EDONE: the job has ended. */
TTG_API int ttg_job_pause(ttg_queue *q, const char *job);
TTG_API int ttg_job_resume(ttg_queue *q, const char *job);
TTG_API int ttg_job_cancel(ttg_queue *q, const char *job);
/* Removes an ended job with its results. TTG_EBUSY: it has not ended. */
TTG_API int ttg_job_forget(ttg_queue *q, const char *job);

/* A chunk that was given up. The texts live until the next call with this queue. */
struct ttg_dead {
    size_t size;
    uint64_t chunk, dead_ms;
    uint32_t attempts;
    const char *worker, *reason; /* of the last attempt */
};

#define TTG_ALL UINT64_MAX

/* The dead letter behind chunk `after`, or the first with TTG_ALL. TTG_EDONE: there is no more. */
TTG_API int ttg_job_dead_next(ttg_queue *q, const char *job, uint64_t after, struct ttg_dead *dead);
/* Gives a dead letter (or TTG_ALL) new attempts. TTG_ENOENT: that chunk is no dead letter. */
TTG_API int ttg_job_redrive(ttg_queue *q, const char *job, uint64_t chunk);

/* ---- results ---- */

typedef struct ttg_results ttg_results;

struct ttg_results_options {
    size_t size;
    uint64_t cursor;  /* goes on behind this one, see ttg_results_cursor; 0: from the start */
    uint64_t wait_ms; /* for the next result; default: not at all; TTG_FOREVER */
};

/* Lives, with its texts, until the next call with these results. */
struct ttg_result {
    uint64_t chunk;     /* from 0 */
    int64_t start, end; /* parameters, inclusive */
    uint64_t params;
    uint64_t attempt, duration_us;
    const char *worker;
    const char *sum;    /* decimal, up to 128 bits; NULL: there is output instead */
    int64_t sum_i64;    /* the sum where it fits, */
    int sum_fits;       /* and whether it does */
    const char *output; /* any bytes, with a NUL behind them; NULL: there is a sum */
    size_t output_bytes;
    const char *line; /* all of it in the form of `ttg run`'s output: JSON, no newline */
};

/* With connections of its own to the same queue. */
TTG_API int ttg_results_open(ttg_results **ret_results, const ttg_queue *q, const char *job,
                             const struct ttg_results_options *options);
TTG_API void ttg_results_close(ttg_results *r);
TTG_API const char *ttg_results_message(const ttg_results *r);

/* The next result in order of commit; each chunk comes once. TTG_EDONE: the job has ended and all
 * have come. TTG_EAGAIN: none within wait_ms. TTG_ENOENT also: those behind the cursor were
 * forgotten (ttg_results_forget, here or elsewhere). TTG_ERANGE: the queue has lost results that
 * were handed out before (it was restored, or ran without syncs). After TTG_EAGAIN and errors that
 * a retry may help it can be called again. */
TTG_API int ttg_results_next(ttg_results *r, const struct ttg_result **ret_result);

/* Where the last result stands. Keep it together with what you make of the results, in one
 * transaction, and no crash can make you miss one or count it twice. */
TTG_API uint64_t ttg_results_cursor(const ttg_results *r);

/* Tells the queue that all up to the cursor is safe with you, so that it need not keep it; the
 * newest 10,000 stay for onlookers. */
TTG_API int ttg_results_forget(ttg_results *r);

/* ---- a worker ---- */

typedef struct ttg_worker ttg_worker;

struct ttg_worker_options {
    size_t size;
    /* Computes a chunk, as in <ttg/plugin.h>: adds to the result with ttg_sum or ttg_write and
     * returns TTG_DONE, or says why with ttg_fail and returns TTG_RETRY or TTG_PERMANENT. Called
     * from threads of the library or from ttg_worker_run's; never twice at a time for one slot. */
    int (*run)(void *state, struct ttg_call *call);
    void *state;      /* handed to it; shared by all slots, call->slot tells them apart */
    const char *name; /* unique in the job; a newer worker of the same name replaces this one;
                         default: HOST-PID-NUMBER */
    uint32_t slots;   /* chunks at a time, 1 (the default) .. 1024 */
    uint32_t prefetch_chunks_max; /* taken ahead at most; TTG_NO_PREFETCH; default 4,096 */
    uint64_t timeout_ms;     /* of a chunk; then ttg_stopped answers 1 and the attempt has failed;
                                default: none */
    uint64_t idle_ms;        /* for the job to appear; default 30,000; TTG_FOREVER */
    uint64_t drain_ms;       /* for running chunks to end after ttg_worker_stop; default 25,000 */
    size_t output_bytes_max; /* of a chunk; default 1 MiB */
};

#define TTG_NO_PREFETCH UINT32_MAX

/* With connections of its own to the same queue. TTG_EINVAL: no run function, slots, name. */
TTG_API int ttg_worker_open(ttg_worker **ret_worker, const ttg_queue *q, const char *job,
                            const struct ttg_worker_options *options);
/* Waits until run has returned from all chunks; one that ignores ttg_stopped for 5 s is left
 * behind in its thread, with what it uses. */
TTG_API void ttg_worker_close(ttg_worker *w);
TTG_API const char *ttg_worker_message(const ttg_worker *w);

/* Takes chunks, computes and commits them. 0: the job has ended. TTG_ECANCELED: it was stopped, all
 * is committed or given back. TTG_ETIMEOUT: no such job within idle_ms. TTG_EBUSY: a newer worker
 * of this name came. TTG_EUNREACH and the other codes of jobs: lost, or stopped while the queue did
 * not answer; what was not committed will be computed elsewhere. Once for each handle. */
TTG_API int ttg_worker_run(ttg_worker *w);

/* From any thread, and from signal handlers. The first time: running chunks end, the rest goes
 * back. The second time: ttg_stopped answers 1, their results do not count. Also before
 * ttg_worker_run. The handle may not be closed meanwhile. */
TTG_API void ttg_worker_stop(ttg_worker *w);

struct ttg_totals {
    size_t size;
    uint64_t committed, stale, failed, released; /* chunks */
    uint64_t params;                             /* computed */
};
/* After ttg_worker_run. */
TTG_API int ttg_worker_totals(const ttg_worker *w, struct ttg_totals *totals);

#ifdef __cplusplus
}
#endif

#endif
