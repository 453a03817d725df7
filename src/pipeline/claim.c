/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/claim.h"

#include "base/log.h"
#include "io/lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 16, OPEN_DIRS = 8 };

static int sync_dir(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) < 0 ? err_set_errno(err, errno, "%s", path) : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, OPEN_DIRS, FTW_DEPTH | FTW_PHYS);
}

/* --- copying --- */

static int copy_file(const char *from, const char *to, struct err *err)
{
    char bytes[COPY_BYTES];
    int in = open(from, O_RDONLY | O_CLOEXEC), rc = 0;
    if (in < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, errno, "%s", from);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0)
        rc = err_set_errno(err, errno, "%s", to);
    for (ssize_t n; !rc && (n = read(in, bytes, sizeof bytes)) != 0;)
        if (n < 0 || write(out, bytes, (size_t)n) != n)
            rc = err_set_errno(err, n < 0 ? errno : ENOSPC, "copying %s", from);
    if (!rc && fsync(out) < 0)
        rc = err_set_errno(err, errno, "%s", to);
    close(in);
    if (out >= 0)
        close(out);
    return rc;
}

/* Directories last: the log beside the rows is read after the rows it tells about. */
static int copy_tree(const char *from, const char *to, bool dirs, struct err *err)
{
    struct dirent *e;
    int rc = mkdir(to, 0700) < 0 && errno != EEXIST ? err_set_errno(err, errno, "%s", to) : 0;
    DIR *d = rc ? NULL : opendir(from);
    if (!rc && !d)
        rc = err_set_errno(err, errno, "%s", from);
    while (!rc && (e = readdir(d))) {
        char a[PATH_MAX], b[PATH_MAX];
        struct stat st;
        int n = snprintf(a, sizeof a, "%s/%s", from, e->d_name);
        int m = snprintf(b, sizeof b, "%s/%s", to, e->d_name);
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strcmp(e->d_name, "lock") == 0)
            continue;
        if (n >= (int)sizeof a || m >= (int)sizeof b)
            rc = err_set(err, TTG_EUSAGE, "%s: the path is too long", from);
        else if (lstat(a, &st) < 0)
            continue; /* it has just gone */
        else if (S_ISDIR(st.st_mode) && dirs)
            rc = copy_tree(a, b, false, err);
        else if (S_ISREG(st.st_mode) && !dirs)
            rc = copy_file(a, b, err);
        if (!rc && S_ISDIR(st.st_mode) && dirs)
            rc = copy_tree(a, b, true, err);
    }
    if (d)
        closedir(d);
    return rc ? rc : sync_dir(to, err);
}

/* --- who has what --- */

static int lock_of(const char *dir, int *ret_fd, struct err *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "%s", path);
    if (lock_file(fd)) {
        close(fd);
        return TTG_EBUSY;
    }
    *ret_fd = fd;
    return 0;
}

/* The newest epoch there is, 0: none; the directories of older ones go. */
static int find_newest(const char *base, uint64_t *ret_epoch, struct err *err)
{
    struct dirent *e;
    uint64_t epoch;
    *ret_epoch = 0;
    DIR *d = opendir(base);
    if (!d)
        return err_set_errno(err, errno, "%s", base);
    while ((e = readdir(d)))
        if (str_to_u64(str_of(e->d_name), &epoch) == 0 && epoch > *ret_epoch)
            *ret_epoch = epoch;
    rewinddir(d);
    while ((e = readdir(d))) {
        char path[PATH_MAX];
        bool copy = str_starts(str_of(e->d_name), STR("new-")); /* that was not finished */
        bool old = str_to_u64(str_of(e->d_name), &epoch) == 0 && epoch < *ret_epoch;
        if ((old || copy) &&
            snprintf(path, sizeof path, "%s/%s", base, e->d_name) < (int)sizeof path)
            remove_tree(path);
    }
    closedir(d);
    return 0;
}

static int take_over(const char *base, const char *last, const char *mine, uint64_t epoch,
                     int *ret_lock, struct err *err)
{
    char copy[PATH_MAX];
    int rc = lock_of(last, ret_lock, err);
    if (rc == 0)
        return rename(last, mine) < 0 ? err_set_errno(err, errno, "%s", last) : 0;
    if (rc != TTG_EBUSY)
        return rc;
    log_warn("state.copied", kv_str("from", last),
             kv_str("reason", "its owner lost it but has not ended"));
    snprintf(copy, sizeof copy, "%s/new-%llu", base, (unsigned long long)epoch);
    rc = copy_tree(last, copy, false, err);
    if (!rc)
        rc = copy_tree(last, copy, true, err);
    if (!rc && rename(copy, mine) < 0)
        rc = err_set_errno(err, errno, "%s", copy);
    if (!rc && lock_of(mine, ret_lock, err))
        rc = err_set(err, TTG_EBUSY, "%s is in use", mine);
    return rc;
}

int claim_dir(const char *base, uint64_t epoch, struct buf *path, int *ret_lock, struct err *err)
{
    char last[PATH_MAX], mine[PATH_MAX];
    uint64_t newest;
    int lock = -1;
    if (mkdir(base, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, errno, "%s", base);
    int rc = find_newest(base, &newest, err);
    if (rc)
        return rc;
    if (newest > epoch)
        return err_set(err, TTG_ESTALE, "%s has a newer owner: epoch %llu, ours is %llu", base,
                       (unsigned long long)newest, (unsigned long long)epoch);
    if (snprintf(mine, sizeof mine, "%s/%llu", base, (unsigned long long)epoch) + 32 >
        (int)sizeof mine)
        return err_set(err, TTG_EUSAGE, "%s: the path is too long", base);
    snprintf(last, sizeof last, "%s/%llu", base, (unsigned long long)newest);
    if (newest == 0 && mkdir(mine, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, errno, "%s", mine);
    if (newest == 0 || newest == epoch)
        rc = lock_of(mine, &lock, err) ? err_set(err, TTG_EBUSY, "%s is in use", mine) : 0;
    else
        rc = take_over(base, last, mine, epoch, &lock, err);
    if (!rc)
        rc = sync_dir(base, err);
    if (!rc)
        rc = buf_add_str(path, str_of(mine));
    if (rc && lock >= 0)
        close(lock);
    else if (!rc)
        *ret_lock = lock;
    return rc;
}

int claim_epoch(const char *state, const char *name, uint64_t epoch, struct err *err)
{
    char path[PATH_MAX], text[32];
    uint64_t last = 0;
    if (snprintf(path, sizeof path, "%s/%s.epoch", state, name) >= (int)sizeof path)
        return err_set(err, TTG_EUSAGE, "%s: the path is too long", state);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "%s", path);
    int rc = lock_file(fd) ? err_set(err, TTG_EBUSY, "%s is in use", path) : 0;
    ssize_t n = rc ? 0 : pread(fd, text, sizeof text, 0);
    if (n > 0 && str_to_u64(str_trim(str_make(text, (size_t)n)), &last))
        last = 0; /* torn by a crash: the queue has the last word */
    if (!rc && last > epoch)
        rc = err_set(err, TTG_ESTALE, "%s has a newer owner: epoch %llu, ours is %llu", name,
                     (unsigned long long)last, (unsigned long long)epoch);
    n = snprintf(text, sizeof text, "%020llu\n", (unsigned long long)epoch);
    if (!rc && pwrite(fd, text, (size_t)n, 0) != n)
        rc = err_set_errno(err, errno, "%s", path);
    close(fd);
    return rc;
}
