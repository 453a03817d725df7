/* SPDX-License-Identifier: Apache-2.0 */
/* killat - dies at a chosen system call: LD_PRELOAD it, and the process is gone as by kill -9 at
 * its call number $TTG_SHIM_KILL_AT of those that leave a trace outside (files, sockets), counted
 * from 1: before it, after it, or, if it writes, after half of it ($TTG_SHIM_KILL_WHEN: before,
 * after, half). With $TTG_SHIM_KILL_CALL only calls of that name count. The name of the call goes
 * to the file $TTG_SHIM_LOG. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static atomic_long calls;

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static void die(const char *name, const char *when)
{
    char line[80];
    const char *path = getenv("TTG_SHIM_LOG");
    int fd =
        path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0644) : -1;
    if (fd >= 0) {
        int len = snprintf(line, sizeof line, "%s %s\n", when, name);
        syscall(SYS_write, fd, line, (size_t)len);
    }
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Whether this call is the one: NULL, or when to die. */
static const char *chosen(const char *name)
{
    const char *at = getenv("TTG_SHIM_KILL_AT"), *when = getenv("TTG_SHIM_KILL_WHEN");
    const char *call = getenv("TTG_SHIM_KILL_CALL");
    if (!at || (call && strcmp(call, name) != 0) || atomic_fetch_add(&calls, 1) + 1 != atol(at))
        return NULL;
    return when ? when : "before";
}

static const char *before(const char *name)
{
    const char *when = chosen(name);
    if (when && strcmp(when, "before") == 0)
        die(name, when);
    return when;
}

/* `len` bytes, or half of them when that is how it ends; whole sectors stay whole. */
static size_t part(const char *when, size_t len)
{
    if (!when || strcmp(when, "half") != 0)
        return len;
    return len % 512 == 0 ? len / 1024 * 512 : len / 2;
}

#define WRAP(type, name, params, args)                                                             \
    EXPORT type name params;                                                                       \
    EXPORT type name params                                                                        \
    {                                                                                              \
        static type(*real) params;                                                                 \
        void *at = next(#name);                                                                    \
        memcpy(&real, &at, sizeof real);                                                           \
        const char *when = before(#name);                                                          \
        type result = real args;                                                                   \
        if (when)                                                                                  \
            die(#name, when);                                                                      \
        return result;                                                                             \
    }

WRAP(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, part(when, n), o))
WRAP(ssize_t, pwrite64, (int fd, const void *b, size_t n, off_t o), (fd, b, part(when, n), o))
WRAP(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, part(when, n)))
WRAP(ssize_t, send, (int fd, const void *b, size_t n, int f), (fd, b, part(when, n), f))
WRAP(ssize_t, recv, (int fd, void *b, size_t n, int f), (fd, b, n, f))
WRAP(ssize_t, read, (int fd, void *b, size_t n), (fd, b, n))
WRAP(int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, syncfs, (int fd), (fd))
WRAP(int, ftruncate, (int fd, off_t n), (fd, n))
WRAP(int, ftruncate64, (int fd, off_t n), (fd, n))
WRAP(int, fallocate, (int fd, int mode, off_t o, off_t n), (fd, mode, o, n))
WRAP(int, fallocate64, (int fd, int mode, off_t o, off_t n), (fd, mode, o, n))
WRAP(int, unlinkat, (int dir, const char *path, int f), (dir, path, f))
WRAP(int, renameat, (int d1, const char *p1, int d2, const char *p2), (d1, p1, d2, p2))
WRAP(int, rename, (const char *from, const char *to), (from, to))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))

#define WRAP_OPEN_PATH(name)                                                                       \
    EXPORT int name(const char *path, int flags, ...);                                             \
    EXPORT int name(const char *path, int flags, ...)                                              \
    {                                                                                              \
        static int (*real)(const char *, int, ...);                                                \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        unsigned mode = flags & O_CREAT ? va_arg(args, unsigned) : 0;                              \
        va_end(args);                                                                              \
        void *at = next(#name);                                                                    \
        memcpy(&real, &at, sizeof real);                                                           \
        const char *when = before(#name);                                                          \
        int result = real(path, flags, mode);                                                      \
        if (when)                                                                                  \
            die(#name, when);                                                                      \
        return result;                                                                             \
    }

WRAP_OPEN_PATH(open)
WRAP_OPEN_PATH(open64)

#define WRAP_OPEN(name)                                                                            \
    EXPORT int name(int dir, const char *path, int flags, ...);                                    \
    EXPORT int name(int dir, const char *path, int flags, ...)                                     \
    {                                                                                              \
        static int (*real)(int, const char *, int, ...);                                           \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        unsigned mode = flags & O_CREAT ? va_arg(args, unsigned) : 0;                              \
        va_end(args);                                                                              \
        void *at = next(#name);                                                                    \
        memcpy(&real, &at, sizeof real);                                                           \
        const char *when = before(#name);                                                          \
        int result = real(dir, path, flags, mode);                                                 \
        if (when)                                                                                  \
            die(#name, when);                                                                      \
        return result;                                                                             \
    }

WRAP_OPEN(openat)
WRAP_OPEN(openat64)
