/* SPDX-License-Identifier: Apache-2.0 */
/* worker - computes chunks with a C function, two at a time: the sum of squares.
 *
 *     ./worker ttg+unix:/tmp/ttg.sock squares */
#include <signal.h>
#include <stdio.h>
#include <ttg/ttg.h>

static ttg_worker *worker;

static void on_signal(int signo)
{
    (void)signo;
    ttg_worker_stop(worker); /* what runs is finished, the rest given back */
}

static int square_sum(void *state, struct ttg_call *call)
{
    (void)state;
    for (int64_t i = call->start;; i++) {
        ttg_sum(call, i * i);
        if (i == call->end)
            return TTG_DONE;
    }
}

int main(int argc, char **argv)
{
    struct ttg_worker_options options = {.size = sizeof options, .run = square_sum, .slots = 2};
    ttg_queue *queue = NULL;
    if (argc != 3 || ttg_queue_open(&queue, argv[1], NULL))
        return fprintf(stderr, "worker: %s\n", ttg_queue_message(queue)), 2;
    int rc = ttg_worker_open(&worker, queue, argv[2], &options);
    signal(SIGTERM, on_signal);
    if (!rc && (rc = ttg_worker_run(worker)))
        fprintf(stderr, "worker: %s\n", ttg_worker_message(worker));
    ttg_queue_close(queue);
    return rc != 0 && rc != TTG_ECANCELED; /* the worker's handle ends with the process */
}
