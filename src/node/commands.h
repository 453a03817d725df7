/* SPDX-License-Identifier: Apache-2.0 */
/* commands - the tables of the node's own commands, and what their files share. */
#ifndef TTG_NODE_COMMANDS_H
#define TTG_NODE_COMMANDS_H

#include "node/state.h"

/* What clients are told so that they know what to expect; ttg_version in INFO is ours. */
#define NODE_REDIS_VERSION "7.0.15"

extern const struct node_command connection_commands[], server_commands[];

void command_unknown_sub(struct reply *r, const char *name, struct str sub);

void command_info(struct client *c, size_t argc, const struct str *argv, struct reply *r);
void command_config(struct client *c, size_t argc, const struct str *argv, struct reply *r);
void command_command(struct client *c, size_t argc, const struct str *argv, struct reply *r);

#endif
