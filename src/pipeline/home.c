/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/home.h"

#include "base/buf.h"
#include "io/file_read.h"
#include "io/lock.h"
#include "io/realclock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum { EPOCH_BITS = 24, TEXT_BYTES = 1 << 20 };

static int path_of(const struct home *h, const char *name, char out[PATH_MAX], struct err *err)
{
    return snprintf(out, PATH_MAX, "%s/%s", h->path, name) < PATH_MAX
               ? 0
               : err_set(err, TTG_EUSAGE, "%s: the path is too long", h->path);
}

/* A small file, replaced as a whole; on disk afterwards. */
static int write_file(struct home *h, const char *name, struct str text, struct err *err)
{
    char path[PATH_MAX], fresh[PATH_MAX + 8];
    int rc = path_of(h, name, path, err);
    if (rc)
        return rc;
    snprintf(fresh, sizeof fresh, "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "%s", fresh);
    if (write(fd, text.ptr, text.len) != (ssize_t)text.len || fsync(fd) < 0)
        rc = err_set_errno(err, errno, "%s", fresh);
    close(fd);
    if (!rc && rename(fresh, path) < 0)
        rc = err_set_errno(err, errno, "%s", path);
    int dir = open(h->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!rc && (dir < 0 || fsync(dir) < 0))
        rc = err_set_errno(err, errno, "%s", h->path);
    if (dir >= 0)
        close(dir);
    return rc;
}

static int read_file(struct home *h, const char *name, struct buf *out, struct err *err)
{
    char path[PATH_MAX];
    int rc = path_of(h, name, path, err);
    return rc ? rc : file_read(path, out, err);
}

static int take_lock(struct home *h, struct err *err)
{
    char path[PATH_MAX], pid[32];
    int rc = path_of(h, "supervisor.lock", path, err);
    if (rc)
        return rc;
    h->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (h->lock_fd < 0)
        return err_set_errno(err, errno, "%s", path);
    if (lock_file(h->lock_fd))
        return err_set(err, TTG_EBUSY, "the pipeline runs already, as process %d; its state is %s",
                       (int)home_supervisor(h->path), h->path);
    int n = snprintf(pid, sizeof pid, "%-20d\n", (int)getpid());
    return pwrite(h->lock_fd, pid, (size_t)n, 0) == n ? 0 : err_set_errno(err, errno, "%s", path);
}

/* What must not change while there is state: it decides who knows which client. */
static int add_shape(struct buf *out, const struct spec *spec)
{
    int rc = 0;
    for (size_t i = 0; i < spec->stage_count && !rc; i++) {
        const struct spec_stage *st = &spec->stages[i];
        rc = buf_printf(out, "%s %s %llu %d %d %llu\n", st->name, spec_kind_name(st),
                        (unsigned long long)st->partitions, (int)st->by, (int)st->merge,
                        (unsigned long long)st->top);
        for (size_t k = 0; k < st->from_count && !rc; k++)
            rc = buf_printf(out, " from %s\n", spec->stages[st->from[k]].name);
    }
    return rc;
}

static int check_name(struct home *h, const struct spec *spec, const char *queue, struct err *err)
{
    struct buf is, wanted;
    struct str is_rest, rest;
    buf_init(&is, TEXT_BYTES);
    buf_init(&wanted, TEXT_BYTES);
    int rc = buf_printf(&wanted, "%s %s\n", spec->name, queue);
    if (!rc)
        rc = add_shape(&wanted, spec);
    if (!rc)
        rc = read_file(h, "pipeline", &is, err);
    struct str has = str_cut(buf_str(&is), '\n', &is_rest),
               name = str_cut(buf_str(&wanted), '\n', &rest);
    if (rc == TTG_ENOENT)
        rc = write_file(h, "pipeline", buf_str(&wanted), err);
    else if (!rc && !str_eq(has, name))
        rc = err_set(err, TTG_EUSAGE,
                     "the state in %s belongs to: %.*s, not to: %.*s; name another \"state\", or "
                     "use `ttg pipeline clean`",
                     h->path, STR_ARG(has), STR_ARG(name));
    else if (!rc && !str_eq(is_rest, rest))
        rc = err_set(err, TTG_EUSAGE,
                     "the stages have changed (names, order, kinds, \"from\", \"by\" or "
                     "\"partitions\") while there is state in %s; `ttg pipeline clean` first",
                     h->path);
    buf_done(&is);
    buf_done(&wanted);
    return rc;
}

/* Seconds since 1970, or one more than the last time: higher than every earlier one, also when the
 * directory was lost but the queue still knows old epochs. */
static int raise_boot(struct home *h, struct err *err)
{
    struct buf text;
    uint64_t last = 0;
    char fresh[32];
    struct clock *clock = realclock();
    buf_init(&text, TEXT_BYTES);
    int rc = read_file(h, "boot", &text, err);
    if (!rc && str_to_u64(str_trim(buf_str(&text)), &last))
        rc = err_set(err, TTG_ECORRUPT, "%s/boot holds no number", h->path);
    buf_done(&text);
    if (rc && rc != TTG_ENOENT)
        return rc;
    uint64_t boot = clock->wall_ms(clock) / 1000;
    if (boot <= last)
        boot = last + 1;
    h->first_epoch = boot << EPOCH_BITS;
    int n = snprintf(fresh, sizeof fresh, "%llu\n", (unsigned long long)boot);
    return write_file(h, "boot", str_make(fresh, (size_t)n), err);
}

int home_open(struct home *h, const char *path, const struct spec *spec, const char *queue,
              struct err *err)
{
    char done[PATH_MAX];
    *h = (struct home){.path = path, .lock_fd = -1};
    int rc = take_lock(h, err);
    if (!rc)
        rc = check_name(h, spec, queue, err);
    if (!rc)
        rc = raise_boot(h, err);
    if (!rc)
        rc = path_of(h, "done", done, err);
    if (!rc)
        h->done = access(done, F_OK) == 0;
    if (rc)
        home_close(h);
    return rc;
}

int home_set_done(struct home *h, struct err *err)
{
    h->done = true;
    return write_file(h, "done", STR("done\n"), err);
}

void home_close(struct home *h)
{
    if (h->lock_fd >= 0)
        close(h->lock_fd);
    h->lock_fd = -1;
}

pid_t home_supervisor(const char *path)
{
    char lock[PATH_MAX], text[32] = {0};
    uint64_t pid = 0;
    if (snprintf(lock, sizeof lock, "%s/supervisor.lock", path) >= PATH_MAX)
        return 0;
    int fd = open(lock, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    bool free = flock(fd, LOCK_SH | LOCK_NB) == 0;
    ssize_t n = free ? 0 : pread(fd, text, sizeof text - 1, 0);
    close(fd);
    if (n > 0 && str_to_u64(str_trim(str_make(text, (size_t)n)), &pid))
        pid = 0;
    return (pid_t)pid;
}
