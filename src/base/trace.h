/* SPDX-License-Identifier: Apache-2.0 */
/* trace - names by which one chunk, and one try at it, are found in the logs of all processes.
 *
 * In the form of OpenTelemetry, and made of what everybody knows: the trace is a chunk of a job
 * (its name and when it was created), the span a lease (its epoch). So nobody has to pass them on.
 * Only logs in JSON carry them; in lines for people they would be noise. */
#ifndef TTG_BASE_TRACE_H
#define TTG_BASE_TRACE_H

#include "base/log.h"

enum { TRACE_ID_DIGITS = 32, TRACE_SPAN_DIGITS = 16, TRACE_PARENT_BYTES = 56 };

struct trace {
    char id[TRACE_ID_DIGITS + 1];
    char span[TRACE_SPAN_DIGITS + 1]; /* "": of no lease */
};

/* `epoch` 0: the chunk as a whole. */
void trace_of(struct trace *t, struct str job, uint64_t created_ms, uint64_t chunk, uint64_t epoch);
/* W3C's traceparent, for commands that pass it on: "00-ID-SPAN-01". */
void trace_parent(const struct trace *t, char out[TRACE_PARENT_BYTES]);

/* As members of a log line, when it is JSON. `t` lives until the line is written. */
struct kv kv_trace(const struct trace *t);
struct kv kv_span(const struct trace *t);

#endif
