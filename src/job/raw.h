/* SPDX-License-Identifier: Apache-2.0 */
/* raw - what the programs of a job printed, without the JSON around it. */
#ifndef TTG_JOB_RAW_H
#define TTG_JOB_RAW_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Adds for each result line its output, byte for byte, or its sum or summary as a line. `room` is
 * for decoding. TTG_EPROTO: a line is no result. */
int raw_add(struct buf *out, struct str lines, struct buf *room, struct err *err);

#endif
