/* SPDX-License-Identifier: Apache-2.0 */
/* slowchild - a disk that is slow for a child: LD_PRELOAD it, and in a process that was forked and
 * has not started another program each fdatasync waits while there is a file $TTG_SHIM_HOLD. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int fdatasync(int fd);

static pid_t first;
static const char *hold;
static int (*real)(int);

__attribute__((constructor)) static void begin(void)
{
    void *at = dlsym(RTLD_NEXT, "fdatasync");
    memcpy(&real, &at, sizeof real);
    first = getpid();
    hold = getenv("TTG_SHIM_HOLD");
}

int fdatasync(int fd)
{
    while (getpid() != first && hold && access(hold, F_OK) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    return real(fd);
}
