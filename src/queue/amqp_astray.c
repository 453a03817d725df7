/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/amqp_astray.h"

enum { WAIT_MS = 10000 }; /* at first, up to twice that: many may begin to wait at once */

void amqp_astray_came(struct amqp_astray *a)
{
    a->since_ms = 0;
}

bool amqp_astray_look(struct amqp_astray *a, struct prng *prng, bool waits, uint64_t now_ms,
                      struct err *why)
{
    if (!waits || a->since_ms == 0) {
        a->since_ms = waits ? now_ms : 0;
        return false;
    }
    if (a->limit_ms == 0)
        a->limit_ms = WAIT_MS + prng_below(prng, WAIT_MS);
    if (now_ms - a->since_ms < a->limit_ms)
        return false;
    err_set(why, TTG_ECLOSED,
            "nothing was delivered for %.0f s: what a dead node had under way comes again",
            (double)a->limit_ms / 1000);
    a->since_ms = 0;
    a->limit_ms *= 2;
    return true;
}
