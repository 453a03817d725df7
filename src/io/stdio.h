/* SPDX-License-Identifier: Apache-2.0 */
/* stdio - the three descriptors every process is started with, made safe to use.
 *
 * Results go to standard output and a write that fails is an error of the run: a closed pipe, a
 * full disk and a descriptor that was never open are all noticed. The log goes to standard error
 * and never stops anything: what cannot be written is dropped. */
#ifndef TTG_IO_STDIO_H
#define TTG_IO_STDIO_H

#include "base/err.h"
#include "base/log.h"

/* Once, first thing in main. Occupies the descriptors 0-2 where they are closed, so that no file or
 * socket gets their number; reads and writes on them still fail. Ignores SIGPIPE and SIGXFSZ (a
 * file over the limit): the write tells (children must be given the default back). */
void stdio_init(void);

/* Writes all of it, also to a pipe in non-blocking mode. TTG_ENOSPC, TTG_ECLOSED, TTG_EIO, ... with
 * a message that names standard output. */
int stdio_write(struct str bytes, struct err *err);

/* To standard error, as far as it goes. */
void stdio_complain(struct str bytes);

/* The same as a sink for the log. */
log_sink stdio_log_sink;

enum stdio_stream { STDIO_IN, STDIO_OUT, STDIO_ERR };
bool stdio_is_terminal(enum stdio_stream stream);

#endif
