/* SPDX-License-Identifier: Apache-2.0 */
#include "io/lock.h"

#include "base/err.h"

#include <errno.h>
#include <sys/file.h>
#include <time.h>

enum { WAIT_MS = 1000, POLL_MS = 5 };

int lock_file(int fd)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
    for (int waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited_ms += POLL_MS) {
        if (errno == EINTR)
            continue;
        if (errno != EWOULDBLOCK)
            return TTG_EIO;
        if (waited_ms >= WAIT_MS)
            return TTG_EBUSY;
        nanosleep(&pause, NULL);
    }
    return 0;
}
