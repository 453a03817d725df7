/* SPDX-License-Identifier: Apache-2.0 */
/* embedded - the command lines of the processes that a command starts for itself. */
#ifndef TTG_CMD_EMBEDDED_H
#define TTG_CMD_EMBEDDED_H

#include "cmd/options.h"
#include "cmd/run_dir.h"

enum { COMMAND_WORDS_MAX = 64 };

/* Ends with NULL; the words stay whose they are. */
struct command_words {
    char *list[COMMAND_WORDS_MAX];
    size_t count;
};

void command_word(struct command_words *w, const char *word);
/* The option as a flag with its value, when it was given. */
void command_option(struct command_words *w, const struct options *o, enum option_id id);

/* `ttg node` of that directory, which goes when nobody needs it any more. */
void embedded_node(struct command_words *w, const struct run_dir *dir, const struct options *o);

#endif
