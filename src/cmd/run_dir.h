/* SPDX-License-Identifier: Apache-2.0 */
/* run_dir - the directory of an embedded job: its node's data, socket, lock and index of lines.
 *
 * Without an address each run gets a fresh one below the user's state directory
 * ($XDG_STATE_HOME/ttg/jobs, else ~/.local/state/ttg/jobs); it goes when the job is complete. What
 * was not completed stays, and `--resume` takes the newest such one. */
#ifndef TTG_CMD_RUN_DIR_H
#define TTG_CMD_RUN_DIR_H

#include "base/err.h"

#include <stdbool.h>

enum { RUN_DIR_BYTES = 4096, RUN_DIR_JOB_BYTES = 65 };

struct run_dir {
    char path[RUN_DIR_BYTES - 64], data[RUN_DIR_BYTES], socket[RUN_DIR_BYTES], index[RUN_DIR_BYTES],
        text[RUN_DIR_BYTES];
    bool own;     /* we made it: it may be removed */
    bool resumed; /* it was there */
    int lock_fd;
};

/* `dir` NULL: a fresh one, or with `resume` the newest unfinished one of that job, if there is any.
 * TTG_EBUSY when another run has it. */
int run_dir_open(struct run_dir *d, const char *dir, const char *job, bool resume, struct err *err);
/* For those who only look, beside a run or without one: no lock. With `make` the directory is made;
 * without, TTG_EINVAL when there is no node's data. */
int run_dir_attach(struct run_dir *d, const char *dir, bool make, struct err *err);
/* The same for the newest one kept of that job, or of any job with NULL. */
int run_dir_newest(struct run_dir *d, const char *job, char ret_job[RUN_DIR_JOB_BYTES],
                   struct err *err);
/* Whether somebody listens on the socket. */
bool run_dir_node_lives(const struct run_dir *d);
/* With `remove` an own directory goes with all in it. */
void run_dir_close(struct run_dir *d, bool remove);

#endif
