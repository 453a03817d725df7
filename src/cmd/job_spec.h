/* SPDX-License-Identifier: Apache-2.0 */
/* job_spec - from the options of `run` and `submit` to a job: its parameters, chunks and rules. */
#ifndef TTG_CMD_JOB_SPEC_H
#define TTG_CMD_JOB_SPEC_H

#include "cmd/options.h"
#include "core/ledger.h"

struct job_spec {
    struct ledger_spec spec; /* its texts lie in the buffers */
    struct buf kernel, input;
};

/* Where the index of the input's lines goes. */
struct job_place {
    const char *index, *text; /* NULL: beside the output, or else beside the input */
    const char *output;
    bool resume; /* an index that fits is used again */
};

/* Reads the whole input when there is one. TTG_EUSAGE with a message. Free with job_spec_done, also
 * after a failure. */
int job_spec_from_options(struct job_spec *ret_spec, const struct command_run *r,
                          const struct job_place *place, struct err *err);
void job_spec_done(struct job_spec *s);
/* Size of the chunks, attempts, pauses and times out. */
struct options;
void job_spec_limits(struct ledger_spec *spec, const struct options *o);

/* Whether the kernel's options make sense and its command is there. */
int kernel_check(const struct command_run *r, struct err *err);

/* "A..B", both inclusive, to the first and the number of them (0: 2^64 of them does not happen). */
int job_range_parse(struct str text, int64_t *ret_first, uint64_t *ret_count, struct err *err);

#endif
