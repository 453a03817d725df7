/* SPDX-License-Identifier: Apache-2.0 */
/* model_run - the part of the model that knows workers: what they run and ran. */
#ifndef TTG_MONITOR_MODEL_RUN_H
#define TTG_MONITOR_MODEL_RUN_H

#include "monitor/model.h"

/* Something happened that may concern a worker. */
void run_event(struct model *m, const struct model_event *e);
/* The round is over: leases that are gone are explained, states and figures follow. */
void run_settle(struct model *m);

#endif
