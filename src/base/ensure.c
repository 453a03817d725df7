/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ensure.h"

#include "base/ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void ensure_failed(const char *what, const char *file, int line)
{
    char text[512];
    int n = snprintf(text, sizeof text, "ensure failed: %s at %s:%d\n", what, file, line);
    if (n > (int)sizeof text - 1)
        n = (int)sizeof text - 1;
    if (write(STDERR_FILENO, text, (size_t)n) < 0)
        abort();
    ring_dump(STDERR_FILENO);
    abort();
}
