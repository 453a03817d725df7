/* SPDX-License-Identifier: Apache-2.0 */
/* submit - creates a job and waits for its end.
 *
 *     ttg node --data /tmp/ttg --unix /tmp/ttg.sock &
 *     ./submit ttg+unix:/tmp/ttg.sock squares 1000000 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <ttg/ttg.h>

int main(int argc, char **argv)
{
    struct ttg_status status = {.size = sizeof status};
    struct ttg_job_options options = {.size = sizeof options, .first = 1, .chunk_params = 1000};
    ttg_queue *queue = NULL;
    if (argc != 4)
        return 2;
    options.params = strtoull(argv[3], NULL, 10);
    int rc = ttg_queue_open(&queue, argv[1], NULL);
    if (!rc)
        rc = ttg_job_submit(queue, argv[2], &options);
    if (!rc)
        rc = ttg_job_wait(queue, argv[2], TTG_FOREVER, &status);
    if (rc)
        fprintf(stderr, "submit: %s\n", ttg_queue_message(queue));
    else
        printf("%" PRIu64 " of %" PRIu64 " chunks, sum %s\n", status.completed, status.chunks,
               status.sum);
    ttg_queue_close(queue);
    return rc || status.completed < status.chunks;
}
