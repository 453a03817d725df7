/* SPDX-License-Identifier: Apache-2.0 */
/* failsync - a disk that begins to fail: LD_PRELOAD it, and once the file $TTG_SHIM_FAIL exists
 * every fdatasync and fsync of the process answers EIO. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int fdatasync(int fd);
EXPORT int fsync(int fd);

static int sync_or_fail(const char *name, int fd)
{
    const char *trigger = getenv("TTG_SHIM_FAIL");
    int (*real)(int);
    if (trigger && access(trigger, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    void *at = dlsym(RTLD_NEXT, name);
    memcpy(&real, &at, sizeof real);
    return real(fd);
}

int fdatasync(int fd)
{
    return sync_or_fail("fdatasync", fd);
}

int fsync(int fd)
{
    return sync_or_fail("fsync", fd);
}
