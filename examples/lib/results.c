/* SPDX-License-Identifier: Apache-2.0 */
/* results - prints a job's results as they are committed, and goes on behind a cursor.
 *
 *     ./results ttg+unix:/tmp/ttg.sock squares [CURSOR] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <ttg/ttg.h>

int main(int argc, char **argv)
{
    struct ttg_results_options options = {.size = sizeof options, .wait_ms = TTG_FOREVER};
    const struct ttg_result *result;
    ttg_queue *queue = NULL;
    ttg_results *results = NULL;
    if (argc < 3 || ttg_queue_open(&queue, argv[1], NULL))
        return fprintf(stderr, "results: %s\n", ttg_queue_message(queue)), 2;
    options.cursor = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    int rc = ttg_results_open(&results, queue, argv[2], &options);
    while (!rc && (rc = ttg_results_next(results, &result)) == 0)
        printf("%" PRId64 "..%" PRId64 " %s\n", result->start, result->end,
               result->sum ? result->sum : result->output);
    fprintf(stderr, "results: %s; cursor %" PRIu64 "\n", ttg_results_message(results),
            ttg_results_cursor(results));
    ttg_results_close(results);
    ttg_queue_close(queue);
    return rc != TTG_EDONE;
}
