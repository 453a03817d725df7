/* SPDX-License-Identifier: Apache-2.0 */
/* slowchild - a disk that is slow for a child: LD_PRELOAD it, and in a process that was forked and
 * has not started another program each fdatasync takes $TTG_SHIM_MS longer. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int fdatasync(int fd);

static pid_t first;
static long ms;
static int (*real)(int);

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("TTG_SHIM_MS");
    void *at = dlsym(RTLD_NEXT, "fdatasync");
    memcpy(&real, &at, sizeof real);
    first = getpid();
    ms = text ? strtol(text, NULL, 10) : 0;
}

int fdatasync(int fd)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (getpid() != first && nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
    return real(fd);
}
