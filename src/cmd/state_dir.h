/* SPDX-License-Identifier: Apache-2.0 */
/* state_dir - where ttg keeps what it needs between commands of one user.
 *
 * $XDG_STATE_HOME/ttg, else ~/.local/state/ttg, else a directory in /tmp. `jobs` below it holds
 * embedded jobs (run_dir.h), `demo` what `ttg demo` and `ttg bench` need while they run. */
#ifndef TTG_CMD_STATE_DIR_H
#define TTG_CMD_STATE_DIR_H

#include "base/err.h"

#include <stdbool.h>

enum { STATE_DIR_BYTES = 4096 };

/* The path of one part, "jobs" or "demo", without making it. TTG_ERANGE: too long. */
int state_dir_path(const char *part, char out[STATE_DIR_BYTES], struct err *err);
/* Makes a directory with all above it, for us alone. */
int state_dir_make(const char *path, struct err *err);
/* Removes a directory with all in it; does not follow links or leave the file system. False:
 * something stays. */
bool state_dir_remove(const char *path);

#endif
