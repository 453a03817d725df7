/* SPDX-License-Identifier: Apache-2.0 */
/* lostwrites - a power cut for one real process: LD_PRELOAD it, and all bytes that were written to
 * files below $TTG_SHIM_DIR and not synced are gone when the process dies.
 *
 * kill -9 never tests an fsync, because the kernel keeps what was written. So this keeps, for each
 * file, the content as of its last fdatasync or fsync; SIGUSR2 writes those contents back over
 * the files and kills the process with SIGKILL. Writing back goes straight to the kernel, with what
 * it needs allocated beforehand, under a lock that every write and sync takes: nothing is
 * acknowledged in between. With TTG_SHIM_NOSYNC=1 syncs only pretend: a test that still passes then
 * tests nothing; with TTG_SHIM_SYNC_US=N each takes so long. Names (creations, renames, removals)
 * are left as they are; the simulator covers those.
 *
 * Watched: pwrite, write, fallocate, ftruncate, fdatasync, fsync, open, openat,
 * close of descriptors below 1024. Files are read back from disk at open, so it is for small
 * stores. Of a file that is only appended to, as the log of a Redis is, the length is all that is
 * kept. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { FILES_MAX = 256, DESCRIPTORS_MAX = 1024, PATH_BYTES = 512 };

struct file {
    bool used;
    dev_t device;
    ino_t inode;
    int keep; /* a descriptor of our own, to write back through */
    bool appended;
    char *safe;
    size_t len, cap;
    /* The bytes changed since: only these are copied at a sync. */
    size_t dirty_from, dirty_to;
};

static struct file files[FILES_MAX];
static int file_of[DESCRIPTORS_MAX]; /* index + 1 */
static char root[PATH_BYTES];
static bool pretend;
static useconds_t sync_us;
static pid_t owner;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);

static void find(void *slot, const char *name)
{
    void *at = dlsym(RTLD_NEXT, name);
    memcpy(slot, &at, sizeof at);
    if (!at)
        abort();
}

/* Everything that was not synced disappears, and so do we. */
static void on_power_cut(int number)
{
    (void)number;
    if (getpid() != owner)
        return;
    /* A sync under way in another thread either counts or is never answered. */
    pthread_mutex_lock(&lock);
    for (int i = 0; i < FILES_MAX; i++) {
        struct file *f = &files[i];
        if (!f->used)
            continue;
        struct stat st;
        size_t at = 0;
        while (at < f->len && !f->appended) {
            ssize_t n = real_pwrite(f->keep, f->safe + at, f->len - at, (off_t)at);
            if (n <= 0)
                break;
            at += (size_t)n;
        }
        if (fstat(f->keep, &st) == 0 && (size_t)st.st_size > f->len)
            if (real_ftruncate(f->keep, (off_t)f->len) != 0)
                break;
    }
    kill(getpid(), SIGKILL);
}

__attribute__((constructor)) static void begin(void)
{
    find(&real_pwrite, "pwrite");
    find(&real_write, "write");
    find(&real_fallocate, "fallocate");
    find(&real_ftruncate, "ftruncate");
    find(&real_fdatasync, "fdatasync");
    find(&real_fsync, "fsync");
    find(&real_openat, "openat");
    find(&real_open, "open");
    find(&real_close, "close");
    const char *dir = getenv("TTG_SHIM_DIR"), *fake = getenv("TTG_SHIM_NOSYNC");
    if (!dir || !realpath(dir, root))
        root[0] = '\0';
    const char *us = getenv("TTG_SHIM_SYNC_US");
    pretend = fake && strcmp(fake, "1") == 0;
    sync_us = us ? (useconds_t)strtoul(us, NULL, 10) : 0;
    owner = getpid();
    if (root[0])
        signal(SIGUSR2, on_power_cut);
}

/* With the signal held off, or its handler could wait for us for ever. */
static sigset_t enter(void)
{
    sigset_t one, before;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &one, &before);
    pthread_mutex_lock(&lock);
    return before;
}

static void leave(sigset_t before)
{
    int kept = errno;
    pthread_mutex_unlock(&lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = kept;
}

static struct file *watched(int fd)
{
    if (fd < 0 || fd >= DESCRIPTORS_MAX || !file_of[fd] || getpid() != owner)
        return NULL;
    return &files[file_of[fd] - 1];
}

static void touch(struct file *f, size_t from, size_t to)
{
    if (f->dirty_from >= f->dirty_to) {
        f->dirty_from = from;
        f->dirty_to = to;
        return;
    }
    f->dirty_from = from < f->dirty_from ? from : f->dirty_from;
    f->dirty_to = to > f->dirty_to ? to : f->dirty_to;
}

/* What is in the file now is what survives. */
static void remember(struct file *f)
{
    struct stat st;
    if (fstat(f->keep, &st) != 0)
        abort();
    size_t len = (size_t)st.st_size;
    if (f->appended) {
        f->len = len;
        return;
    }
    if (len > f->cap) {
        char *safe = realloc(f->safe, len);
        if (!safe)
            abort();
        memset(safe + f->cap, 0, len - f->cap);
        f->safe = safe;
        f->cap = len;
    }
    /* A forked child (of a snapshot) may have made it longer without our seeing it. */
    if (len > f->len)
        touch(f, f->len, len);
    size_t to = f->dirty_to < len ? f->dirty_to : len;
    for (size_t at = f->dirty_from; at < to;) {
        ssize_t n = pread(f->keep, f->safe + at, to - at, (off_t)at);
        if (n <= 0)
            abort();
        at += (size_t)n;
    }
    f->len = len;
    f->dirty_from = f->dirty_to = 0;
}

/* Its name is gone. */
static void forget(int i)
{
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
        if (file_of[fd] == i + 1)
            return;
    real_close(files[i].keep);
    free(files[i].safe);
    files[i] = (struct file){0};
}

static bool below_root(int fd)
{
    char link[32], path[PATH_BYTES];
    size_t len = strlen(root), at = sizeof link;
    unsigned number = (unsigned)fd;
    link[--at] = '\0';
    do
        link[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    at -= sizeof "/proc/self/fd/" - 1;
    memcpy(link + at, "/proc/self/fd/", sizeof "/proc/self/fd/" - 1);
    ssize_t n = readlink(link + at, path, sizeof path);
    return len > 0 && n > (ssize_t)len && memcmp(path, root, len) == 0 && path[len] == '/';
}

static void watch(int fd, bool emptied, bool appended)
{
    struct stat st;
    if (fd < 0 || fd >= DESCRIPTORS_MAX || getpid() != owner || fstat(fd, &st) != 0 ||
        !S_ISREG(st.st_mode) || !below_root(fd))
        return;
    int free_at = -1;
    for (int i = 0; i < FILES_MAX; i++) {
        struct file *f = &files[i];
        struct stat kept;
        if (f->used && f->device == st.st_dev && f->inode == st.st_ino) {
            file_of[fd] = i + 1;
            return;
        }
        if (f->used && fstat(f->keep, &kept) == 0 && kept.st_nlink == 0)
            forget(i);
        if (!f->used && free_at < 0)
            free_at = i;
    }
    if (free_at < 0)
        abort();
    struct file *f = &files[free_at];
    int keep = fcntl(fd, F_DUPFD_CLOEXEC, DESCRIPTORS_MAX);
    if (keep < 0)
        abort();
    *f = (struct file){
        .used = true, .device = st.st_dev, .inode = st.st_ino, .keep = keep, .appended = appended};
    if (!emptied) {
        touch(f, 0, (size_t)st.st_size);
        remember(f);
    }
    file_of[fd] = free_at + 1;
}

/* Only what may be written can lose anything; of what is written blindly only appending. */
static int opened(int fd, int flags)
{
    bool appended = (flags & O_ACCMODE) == O_WRONLY && flags & O_APPEND;
    if (fd >= 0 && fd < DESCRIPTORS_MAX)
        file_of[fd] = 0;
    if ((flags & O_ACCMODE) == O_RDWR || appended)
        watch(fd, flags & O_TRUNC, appended);
    return fd;
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    sigset_t before = enter();
    int fd = opened(real_openat(dir, path, flags, mode), flags);
    leave(before);
    return fd;
}

EXPORT int openat64(int dir, const char *path, int flags, ...) __attribute__((alias("openat")));

EXPORT int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    sigset_t before = enter();
    int fd = opened(real_open(path, flags, mode), flags);
    leave(before);
    return fd;
}

EXPORT int open64(const char *path, int flags, ...) __attribute__((alias("open")));

EXPORT int close(int fd)
{
    sigset_t before = enter();
    if (fd >= 0 && fd < DESCRIPTORS_MAX && getpid() == owner)
        file_of[fd] = 0;
    int rc = real_close(fd);
    leave(before);
    return rc;
}

EXPORT ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    sigset_t before = enter();
    struct file *f = watched(fd);
    ssize_t n = real_pwrite(fd, bytes, len, offset);
    if (f && n > 0)
        touch(f, (size_t)offset, (size_t)offset + (size_t)n);
    leave(before);
    return n;
}

EXPORT ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t offset)
    __attribute__((alias("pwrite")));

EXPORT ssize_t write(int fd, const void *bytes, size_t len)
{
    struct file *f = watched(fd);
    if (!f)
        return real_write(fd, bytes, len);
    sigset_t before = enter();
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t n = real_write(fd, bytes, len);
    if (n > 0 && at >= 0)
        touch(f, (size_t)at, (size_t)at + (size_t)n);
    leave(before);
    return n;
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t len)
{
    sigset_t before = enter();
    int rc = real_fallocate(fd, mode, offset, len);
    leave(before);
    return rc;
}

EXPORT int fallocate64(int fd, int mode, off_t offset, off_t len)
    __attribute__((alias("fallocate")));

EXPORT int ftruncate(int fd, off_t len)
{
    sigset_t before = enter();
    struct file *f = watched(fd);
    if (f)
        touch(f, (size_t)len, f->cap);
    int rc = real_ftruncate(fd, len);
    leave(before);
    return rc;
}

EXPORT int ftruncate64(int fd, off_t len) __attribute__((alias("ftruncate")));

static int synced(int fd, int (*really)(int))
{
    if (sync_us)
        usleep(sync_us);
    sigset_t before = enter();
    struct file *f = watched(fd);
    int rc = 0;
    if (!f)
        rc = really(fd);
    else if (!pretend)
        remember(f); /* a real one would only cost time */
    leave(before);
    return rc;
}

EXPORT int fdatasync(int fd)
{
    return synced(fd, real_fdatasync);
}

EXPORT int fsync(int fd)
{
    return synced(fd, real_fsync);
}
