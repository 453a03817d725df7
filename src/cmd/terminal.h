/* SPDX-License-Identifier: Apache-2.0 */
/* terminal - the whole screen and single keys, and everything as it was afterwards.
 *
 * Standard output and standard input are the terminal. ANSI sequences that every terminal of the
 * last decades knows; nothing is asked of it. */
#ifndef TTG_CMD_TERMINAL_H
#define TTG_CMD_TERMINAL_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct terminal {
    bool on, raw;
};

enum terminal_key {
    KEY_NONE,
    KEY_UP = 256,
    KEY_DOWN,
    KEY_PAGE_UP,
    KEY_PAGE_DOWN,
    KEY_OTHER, /* a sequence that we do not know */
};

/* Whether full-screen output makes sense: a terminal that is not dumb. */
bool terminal_is_smart(void);
/* Whether the environment says UTF-8. */
bool terminal_is_utf8(void);
/* Columns and rows; 80 by 24 where nobody knows. */
void terminal_size(unsigned *ret_width, unsigned *ret_height);

/* Takes the screen. Ctrl-C still sends its signal. */
void terminal_open(struct terminal *t);
/* Gives it back as it was. Harmless when it was not taken. */
void terminal_close(struct terminal *t);
/* Shows these lines from the top, and nothing else. */
int terminal_show(const struct terminal *t, struct str lines, struct err *err);

/* The first key in `bytes`, which moves on; KEY_NONE at the end. ASCII keys are themselves. */
int terminal_key(struct str *bytes);

#endif
