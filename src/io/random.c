/* SPDX-License-Identifier: Apache-2.0 */
#include "io/random.h"

#include "base/err.h"
#include "base/hash.h"
#include "io/realclock.h"

#include <sys/random.h>
#include <unistd.h>

uint64_t random_u64(void)
{
    uint64_t value;
    if (getrandom(&value, sizeof value, 0) == (ssize_t)sizeof value)
        return value;
    struct clock *c = realclock();
    return hash_u64(c->wall_ms(c) ^ hash_u64(c->mono_ns(c) ^ (uint64_t)getpid()));
}

int random_secret(char *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char byte;
        if (getrandom(&byte, 1, 0) != 1)
            return TTG_EIO;
        out[i] = "0123456789abcdef"[byte & 15];
    }
    out[count] = '\0';
    return 0;
}
