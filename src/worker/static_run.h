/* SPDX-License-Identifier: Apache-2.0 */
/* static_run - a worker on its own: a range of parameters, cut into chunks, through a kernel.
 *
 * No queue and no other worker: a failed chunk is tried again by its slot after a pause, and given
 * up after the last attempt; what is not done when the run is stopped is not done by anybody. The
 * caller brings loop and kernel settings, gets each result, and the totals at the end. */
#ifndef TTG_WORKER_STATIC_RUN_H
#define TTG_WORKER_STATIC_RUN_H

#include "io/loop.h"
#include "worker/kernel.h"

struct static_totals {
    uint64_t chunks, chunks_done, chunks_failed; /* failed: given up */
    uint64_t params, params_done, params_failed;
    uint64_t attempts, attempts_most; /* all; of one chunk */
    bool has_sum;                     /* each chunk that is done had one */
    __int128 sum;
    bool stopped; /* by static_run_stop */
    uint64_t duration_ns;
};

struct static_config {
    uint64_t first, count; /* parameters; count may be 0; they end within int64_t */
    uint64_t chunk_params; /* > 0 */
    uint64_t batch;        /* log progress each so many parameters; > 0 */
    uint32_t max_attempts; /* > 0 */
    uint64_t retry_min_ms, retry_max_ms;
    uint64_t retry_seed; /* of the jitter */
    const char *job;
    struct kernel_config kernel; /* on_done and ctx are set here */

    /* Each chunk that is done. What is not 0 ends the run: nothing further is wanted. */
    int (*on_chunk)(void *ctx, const struct kernel_task *t, const struct kernel_result *r);
    /* Once, from the loop, when nothing runs any more: the caller may stop the loop. `rc` is what
     * on_chunk returned. */
    void (*on_end)(void *ctx, const struct static_totals *totals, int rc);
    void *ctx;
};

struct static_run;

/* Checks the kernel and starts with the next turn of the loop. TTG_EUSAGE, ... with a message.
 * `config` is copied, what it points to is used until the close. */
int static_run_start(struct static_run **ret_run, struct loop *loop,
                     const struct static_config *config, struct err *err);

/* No chunk is started any more; those that run have `drain_ms` to end, the last kill_grace_ms of it
 * after being asked to. Again: the shorter time counts. */
void static_run_stop(struct static_run *r, uint64_t drain_ms);

/* Not from on_chunk; from on_end it is fine only after the loop has ended. NULL is fine. */
void static_run_close(struct static_run *r);

#endif
