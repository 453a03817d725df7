/* SPDX-License-Identifier: Apache-2.0 */
/* parts - the parts that the core is made of, and what core.c offers to them. */
#ifndef TTG_CORE_PARTS_H
#define TTG_CORE_PARTS_H

#include "core/state.h"

extern const struct core_part keys_part;    /* keyspace and generic commands */
extern const struct core_part streams_part; /* X commands */
extern const struct core_part small_part;   /* strings, lists, sets, hashes */
extern const struct core_part jobs_part;    /* the job ledger and TTG commands */

extern const struct core_command stream_commands[];
extern const struct core_command small_commands[];
extern const struct core_command key_commands[];
extern const struct core_command job_commands[];

bool core_arity_fits(const struct core_command *row, size_t argc);

/* For container commands: the row of "ARGV0 ARGV1", with the arity checked. False: answered. */
bool core_sub_find(struct core_call *call, const struct core_command **ret_row);

/* Why a part forbids to empty the keyspace; NULL when it may be. */
const char *core_flush_refused(const struct core *c);
/* Tells all parts to let go of the keys. */
void core_flush(struct core *c);

#endif
