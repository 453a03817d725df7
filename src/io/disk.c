/* SPDX-License-Identifier: Apache-2.0 */
#include "io/disk.h"

#include "base/mem.h"
#include "io/thread.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    DISK_ZERO_BYTES = 65536,
    DISK_REMOVE_ASIDE_BYTES = 4 << 20,
    DISK_FREE_STEP_BYTES = 1 << 20,
    DISK_FREE_PAUSE_NS = 2000000,
    DISK_LOCK_WAIT_MS = 1000,
    DISK_LOCK_POLL_MS = 5,
};

struct disk_real {
    struct disk disk;
    int dir;
};

static int dir_of(struct disk *d)
{
    return ((struct disk_real *)d)->dir;
}

static int failure(void)
{
    return err_from_errno(errno);
}

static int real_open(struct disk *d, const char *name, unsigned flags, int *ret_file)
{
    int how = O_CLOEXEC | O_NOFOLLOW | (flags & DISK_WRITE ? O_RDWR : O_RDONLY);
    if (flags & DISK_CREATE)
        how |= O_CREAT | O_TRUNC;
    int file = openat(dir_of(d), name, how, 0600);
    if (file < 0)
        return failure();
    *ret_file = file;
    return 0;
}

static void real_close(struct disk *d, int file)
{
    (void)d;
    close(file);
}

static int real_read(struct disk *d, int file, uint64_t offset, void *bytes, size_t len,
                     size_t *ret_len)
{
    (void)d;
    size_t at = 0;
    while (at < len) {
        ssize_t n = pread(file, (char *)bytes + at, len - at, (off_t)(offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failure();
        if (n == 0)
            break;
        at += (size_t)n;
    }
    *ret_len = at;
    return 0;
}

static int real_write(struct disk *d, int file, uint64_t offset, const void *bytes, size_t len)
{
    (void)d;
    size_t at = 0;
    while (at < len) {
        ssize_t n = pwrite(file, (const char *)bytes + at, len - at, (off_t)(offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failure();
        at += (size_t)n;
    }
    return 0;
}

static int real_size(struct disk *d, int file, uint64_t *ret_bytes)
{
    (void)d;
    struct stat st;
    if (fstat(file, &st) != 0)
        return failure();
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

static int real_truncate(struct disk *d, int file, uint64_t bytes)
{
    (void)d;
    return ftruncate(file, (off_t)bytes) == 0 ? 0 : failure();
}

/* For file systems that cannot allocate: zeros take the room just as well. */
static int fill_with_zeros(struct disk *d, int file, uint64_t bytes)
{
    static const char zeros[DISK_ZERO_BYTES];
    uint64_t at = 0;
    int rc = real_size(d, file, &at);
    while (!rc && at < bytes) {
        size_t len = bytes - at < sizeof zeros ? (size_t)(bytes - at) : sizeof zeros;
        rc = real_write(d, file, at, zeros, len);
        at += len;
    }
    return rc;
}

static int real_allocate(struct disk *d, int file, uint64_t bytes)
{
    int rc;
    do
        rc = fallocate(file, 0, 0, (off_t)bytes);
    while (rc != 0 && errno == EINTR);
    if (rc == 0)
        return 0;
    return errno == EOPNOTSUPP || errno == ENOSYS ? fill_with_zeros(d, file, bytes) : failure();
}

static int real_next_data(struct disk *d, int file, uint64_t offset, uint64_t *ret_offset)
{
    (void)d;
    off_t at = lseek(file, (off_t)offset, SEEK_DATA);
    if (at < 0 && errno == ENXIO)
        return real_size(d, file, ret_offset);
    /* A file system that cannot tell may hold data everywhere. */
    *ret_offset = at < 0 ? offset : (uint64_t)at;
    return 0;
}

int disk_sync_file(int file)
{
    return fdatasync(file) == 0 ? 0 : failure();
}

static int real_sync(struct disk *d, int file)
{
    (void)d;
    return disk_sync_file(file);
}

void disk_forget_file(int file, uint64_t offset, uint64_t len)
{
    posix_fadvise(file, (off_t)offset, (off_t)len, POSIX_FADV_DONTNEED); /* an advice only */
}

static void real_forget(struct disk *d, int file, uint64_t offset, uint64_t len)
{
    (void)d;
    disk_forget_file(file, offset, len);
}

static int real_map(struct disk *d, int file, size_t len, const char **ret_bytes)
{
    (void)d;
    void *at = mmap(NULL, len, PROT_READ, MAP_PRIVATE, file, 0);
    if (at == MAP_FAILED)
        return failure();
    *ret_bytes = at;
    return 0;
}

static void real_unmap(struct disk *d, const char *bytes, size_t len)
{
    (void)d;
    munmap((void *)(uintptr_t)bytes, len);
}

static int real_rename(struct disk *d, const char *from, const char *to)
{
    return renameat(dir_of(d), from, dir_of(d), to) == 0 ? 0 : failure();
}

/* Bit by bit and one file at a time: giving back much at once keeps a disk busy (it may tell the
 * device of each block), and syncs of the log wait meanwhile. */
static void *close_one(void *arg)
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    const struct timespec pause = {.tv_nsec = DISK_FREE_PAUSE_NS};
    int file = (int)(intptr_t)arg;
    struct stat st;
    pthread_mutex_lock(&one);
    off_t size = fstat(file, &st) == 0 ? st.st_size : 0;
    while (size > DISK_FREE_STEP_BYTES) {
        size -= DISK_FREE_STEP_BYTES;
        if (ftruncate(file, size) != 0)
            break;
        nanosleep(&pause, NULL);
    }
    close(file);
    pthread_mutex_unlock(&one);
    return NULL;
}

/* The last close of a file without a name gives its room back, which takes a second a gigabyte. */
static void close_aside(int file)
{
    if (thread_start_detached(close_one, (void *)(intptr_t)file))
        close(file);
}

static int real_remove(struct disk *d, const char *name)
{
    struct stat st;
    int file = openat(dir_of(d), name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int rc = unlinkat(dir_of(d), name, 0) == 0 ? 0 : failure();
    if (file >= 0 && !rc && fstat(file, &st) == 0 && st.st_size >= DISK_REMOVE_ASIDE_BYTES)
        close_aside(file);
    else if (file >= 0)
        close(file);
    return rc;
}

static int real_list(struct disk *d, int (*each)(void *ctx, const char *name), void *ctx)
{
    int copy = openat(dir_of(d), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0)
        return failure();
    DIR *dir = fdopendir(copy);
    if (!dir) {
        int rc = failure();
        close(copy);
        return rc;
    }
    int rc = 0;
    while (!rc) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            rc = errno ? failure() : 0;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = each(ctx, entry->d_name);
    }
    closedir(dir);
    return rc;
}

static int real_sync_dir(struct disk *d)
{
    return fsync(dir_of(d)) == 0 ? 0 : failure();
}

static int real_sync_all(struct disk *d)
{
    return syncfs(dir_of(d)) == 0 ? 0 : failure();
}

/* Somebody who was killed holds his locks until the kernel is done with his last write and his
 * memory. Whoever starts the successor cannot see when that is, so a while is waited for. */
static bool lock_soon(int file)
{
    const struct timespec pause = {.tv_nsec = DISK_LOCK_POLL_MS * 1000000L};
    for (int waited_ms = 0;; waited_ms += DISK_LOCK_POLL_MS) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(file, F_SETLK, &lock) == 0)
            return true;
        if ((errno != EACCES && errno != EAGAIN) || waited_ms >= DISK_LOCK_WAIT_MS)
            return false;
        nanosleep(&pause, NULL);
    }
}

/* A record lock, not flock: a forked snapshot writer does not inherit it, so that a node can start
 * again at once when its predecessor died and left that child behind. And it knows its holder. */
static int real_lock(struct disk *d, const char *name, int *ret_file, uint64_t *ret_holder)
{
    int file = openat(dir_of(d), name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return failure();
    if (lock_soon(file)) {
        *ret_file = file;
        return 0;
    }
    int rc = errno == EACCES || errno == EAGAIN ? TTG_EBUSY : failure();
    if (rc == TTG_EBUSY) {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        bool held = fcntl(file, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
        *ret_holder = held && lock.l_pid > 0 ? (uint64_t)lock.l_pid : 0;
    }
    close(file);
    return rc;
}

static const struct disk_ops real_ops = {
    .open = real_open,
    .close = real_close,
    .read = real_read,
    .write = real_write,
    .size = real_size,
    .truncate = real_truncate,
    .allocate = real_allocate,
    .next_data = real_next_data,
    .sync = real_sync,
    .forget = real_forget,
    .map = real_map,
    .unmap = real_unmap,
    .rename = real_rename,
    .remove = real_remove,
    .list = real_list,
    .sync_dir = real_sync_dir,
    .sync_all = real_sync_all,
    .lock = real_lock,
};

/* Every new directory is synced into its parent: or a power cut takes the whole store with it. */
static int make_dirs(char *path, struct err *e)
{
    for (char *at = path + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char cut = *at;
        *at = '\0';
        int made = mkdir(path, 0700);
        int errnum = errno;
        if (made == 0) {
            char *slash = strrchr(path, '/');
            char kept = slash ? slash[1] : '\0';
            if (slash)
                slash[1] = '\0';
            int parent = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (slash)
                slash[1] = kept;
            if (parent >= 0) {
                fsync(parent);
                close(parent);
            }
        } else if (errnum != EEXIST) {
            return err_set_errno(e, errnum, "cannot create directory %s", path);
        }
        *at = cut;
        if (cut == '\0')
            return 0;
    }
}

int disk_open(const char *path, int create, struct disk **ret_disk, struct err *e)
{
    if (path[0] == '\0')
        return err_set(e, TTG_EINVAL, "the name of the data directory is empty");
    struct disk_real *r = mem_zalloc(sizeof *r);
    char *copy = mem_strdup(path);
    int rc = 0;
    if (!r || !copy)
        rc = err_set(e, TTG_ENOMEM, "out of memory");
    if (!rc && create)
        rc = make_dirs(copy, e);
    if (!rc) {
        r->dir = open(copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (r->dir < 0)
            rc = err_set_errno(e, errno, "cannot open directory %s", copy);
    }
    if (rc) {
        mem_free(copy);
        mem_free(r);
        return rc;
    }
    r->disk = (struct disk){&real_ops, copy};
    *ret_disk = &r->disk;
    return 0;
}

void disk_free(struct disk *d)
{
    if (!d)
        return;
    close(dir_of(d));
    mem_free(d->path);
    mem_free(d);
}
