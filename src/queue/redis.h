/* SPDX-License-Identifier: Apache-2.0 */
/* redis - the scripts that make a plain Redis a queue; made from src/queue/redis/ at build time. */
#ifndef TTG_QUEUE_REDIS_H
#define TTG_QUEUE_REDIS_H

struct redis_script {
    const char *name, *sha, *text;
};

extern const struct redis_script redis_scripts[]; /* ends with a NULL name */

#endif
