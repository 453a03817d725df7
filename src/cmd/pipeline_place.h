/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline_place - a pipeline's file, its state directory and its queue, for `ttg pipeline`. */
#ifndef TTG_CMD_PIPELINE_PLACE_H
#define TTG_CMD_PIPELINE_PLACE_H

#include "cmd/command.h"
#include "cmd/embedded.h"
#include "cmd/options.h"
#include "cmd/queue_choice.h"
#include "pipeline/spec.h"

#include <limits.h>

struct pipeline_place {
    struct spec spec;
    char file[PATH_MAX], state[PATH_MAX];
    struct queue_choice choice;
    bool embedded;
    struct run_dir dir;
    struct command_words node;
    char address[RUN_DIR_BYTES + 32]; /* of the embedded node */
    char shown[URL_TEXT_BYTES_MAX];   /* the queue, without a password */
};

/* Reads the file and finds its state; with `make` the directory is made. TTG_EUSAGE, .... Close it
 * also after a failure. */
int pipeline_place_open(struct pipeline_place *p, struct command_run *r, const char *file,
                        bool make, struct err *err);
/* Which queue: --queue or a variable, what the file says, or a node inside the state directory. */
int pipeline_place_queue(struct pipeline_place *p, struct command_run *r, struct err *err);
void pipeline_place_close(struct pipeline_place *p);

/* `ttg pipeline dlq`, `ttg pipeline clean`. */
int pipeline_dlq(struct command_run *r);
int pipeline_clean(struct command_run *r);

#endif
