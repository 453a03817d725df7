/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/static_range.h"

#include "base/ensure.h"

struct static_range static_range(uint64_t params, uint64_t workers, uint64_t worker)
{
    ensure(worker < workers);
    uint64_t each = params / workers, rest = params % workers;
    /* worker * each <= params, so nothing overflows. */
    return (struct static_range){worker * each + (worker < rest ? worker : rest),
                                 each + (worker < rest ? 1 : 0)};
}
