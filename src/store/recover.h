/* SPDX-License-Identifier: Apache-2.0 */
/* recover - what start, check and repair share. */
#ifndef TTG_STORE_RECOVER_H
#define TTG_STORE_RECOVER_H

#include "store/survey.h"
#include "store/walk.h"

int store_lock(struct disk *disk, int *ret_file, struct err *e);

/* Makes a segment with a head and no records; on disk afterwards. */
int segment_begin(struct disk *disk, uint64_t number, uint64_t first, uint64_t *capacity,
                  int *ret_file, struct err *e);

/* Reads the log that the survey found from `w->from` on, to its end, and judges all of it. */
int survey_walk(const struct survey *sv, struct walk *w, struct err *e);

void report_fill(struct store_report *r, const struct survey *sv, const struct walk *w);

#endif
