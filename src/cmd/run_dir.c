/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/run_dir.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/str.h"
#include "cmd/state_dir.h"
#include "io/lock.h"
#include "io/realclock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int jobs_dir(char out[RUN_DIR_BYTES], struct err *err)
{
    int rc = state_dir_path("jobs", out, err);
    return rc ? rc : state_dir_make(out, err);
}

/* The socket's path has to fit into an address of about a hundred bytes. */
static int place_socket(struct run_dir *d, struct err *err)
{
    struct sockaddr_un un;
    snprintf(d->socket, sizeof d->socket, "%s/node.sock", d->path);
    if (strlen(d->socket) < sizeof un.sun_path)
        return 0;
    char real[RUN_DIR_BYTES];
    if (!realpath(d->path, real))
        return err_set_errno(err, errno, "cannot find %s", d->path);
    snprintf(d->socket, sizeof d->socket, "/tmp/ttg-%u", getuid());
    struct stat st;
    if ((mkdir(d->socket, 0700) != 0 && errno != EEXIST) || lstat(d->socket, &st) != 0)
        return err_set_errno(err, errno, "cannot make %s", d->socket);
    if (!S_ISDIR(st.st_mode) || st.st_uid != getuid() || (st.st_mode & 077))
        return err_set(err, TTG_EACCES, "%s is not a private directory of yours", d->socket);
    size_t len = strlen(d->socket);
    snprintf(d->socket + len, sizeof d->socket - len, "/%016llx.sock",
             (unsigned long long)hash_xxh3(real, strlen(real), 0));
    return 0;
}

static int lock(struct run_dir *d, struct err *err)
{
    char path[RUN_DIR_BYTES + 16];
    snprintf(path, sizeof path, "%s/run.lock", d->path);
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return err_set_errno(err, errno, "cannot open %s", path);
    if (lock_file(d->lock_fd) == 0)
        return 0;
    close(d->lock_fd);
    d->lock_fd = -1;
    return err_set(err, TTG_EBUSY, "another ttg run works in %s", d->path);
}

static void set_names(struct run_dir *d)
{
    snprintf(d->data, sizeof d->data, "%s/node", d->path);
    snprintf(d->index, sizeof d->index, "%s/input.index", d->path);
    snprintf(d->text, sizeof d->text, "%s/input.text", d->path);
}

static int use(struct run_dir *d, const char *path, struct err *err)
{
    snprintf(d->path, sizeof d->path, "%s", path);
    int rc = state_dir_make(path, err);
    if (!rc)
        rc = lock(d, err);
    if (!rc)
        rc = place_socket(d, err);
    set_names(d);
    return rc;
}

static int make_fresh(struct run_dir *d, const char *jobs, const char *job, struct err *err)
{
    char stamp[CLOCK_TEXT_BYTES], path[RUN_DIR_BYTES + 160];
    struct clock *c = realclock();
    clock_text(stamp, c->wall_ms(c));
    d->own = true;
    for (unsigned n = 0;; n++) {
        snprintf(path, sizeof path, "%s/%s-%.4s%.2s%.2s-%.2s%.2s%.2s-%d.%u", jobs, job, stamp,
                 stamp + 5, stamp + 8, stamp + 11, stamp + 14, stamp + 17, (int)getpid(), n);
        if (strlen(path) >= RUN_DIR_BYTES - 64)
            return err_set(err, TTG_ERANGE, "the path of the state directory is too long");
        if (mkdir(path, 0700) == 0)
            return use(d, path, err);
        if (errno != EEXIST)
            return err_set_errno(err, errno, "cannot make %s", path);
    }
}

/* Names are JOB-YYYYMMDD-HHMMSS-PID.N: the length of JOB, 0 when it is no such name. */
static size_t job_of_name(const char *name)
{
    static const char form[] = "-dddddddd-dddddd-";
    for (const char *at = name; (at = strchr(at, '-')); at++) {
        size_t i = 0;
        while (form[i] && (form[i] == 'd' ? at[i] >= '0' && at[i] <= '9' : at[i] == form[i]))
            i++;
        if (!form[i] && at[i] && at[i + strspn(at + i, "0123456789.")] == '\0')
            return (size_t)(at - name);
    }
    return 0;
}

/* The newest directory of the job, of any job with NULL; its name and the job's length. */
static size_t find_newest(const char *jobs, const char *job, char best[256])
{
    size_t best_len = 0;
    DIR *dir = opendir(jobs);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        size_t len = job_of_name(e->d_name);
        if (len == 0 || (job && (strlen(job) != len || strncmp(e->d_name, job, len) != 0)))
            continue;
        if (best_len == 0 || strcmp(e->d_name + len, best + best_len) > 0) {
            snprintf(best, 256, "%s", e->d_name);
            best_len = len;
        }
    }
    if (dir)
        closedir(dir);
    return best_len;
}

int run_dir_open(struct run_dir *d, const char *dir, const char *job, bool resume, struct err *err)
{
    char jobs[RUN_DIR_BYTES], name[256], newest[RUN_DIR_BYTES];
    *d = (struct run_dir){.lock_fd = -1};
    if (dir) {
        struct stat st;
        d->resumed = stat(dir, &st) == 0;
        return use(d, dir, err);
    }
    int rc = jobs_dir(jobs, err);
    if (rc)
        return rc;
    if (!resume || !find_newest(jobs, job, name))
        return make_fresh(d, jobs, job, err);
    d->own = d->resumed = true;
    snprintf(newest, sizeof newest, "%.3800s/%s", jobs, name);
    return use(d, newest, err);
}

int run_dir_attach(struct run_dir *d, const char *dir, bool make, struct err *err)
{
    struct stat st;
    *d = (struct run_dir){.lock_fd = -1};
    int rc = make ? state_dir_make(dir, err) : 0;
    if (rc)
        return rc;
    snprintf(d->path, sizeof d->path, "%s", dir);
    set_names(d);
    if (!make && (stat(dir, &st) != 0 || stat(d->data, &st) != 0))
        return err_set(err, TTG_EINVAL, "there is no embedded queue in %s", dir);
    d->resumed = true;
    return place_socket(d, err);
}

int run_dir_newest(struct run_dir *d, const char *job, char ret_job[RUN_DIR_JOB_BYTES],
                   struct err *err)
{
    char jobs[RUN_DIR_BYTES], name[256], newest[RUN_DIR_BYTES];
    *d = (struct run_dir){.lock_fd = -1};
    int rc = jobs_dir(jobs, err);
    if (rc)
        return rc;
    size_t len = find_newest(jobs, job, name);
    if (len == 0 || len >= RUN_DIR_JOB_BYTES)
        return err_set(err, TTG_EINVAL,
                       "no job%s%s is kept in %s (complete ones go); name the queue with --queue",
                       job ? " " : "", job ? job : "", jobs);
    snprintf(ret_job, RUN_DIR_JOB_BYTES, "%.*s", (int)len, name);
    snprintf(newest, sizeof newest, "%.3800s/%s", jobs, name);
    return run_dir_attach(d, newest, false, err);
}

bool run_dir_node_lives(const struct run_dir *d)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(un.sun_path, d->socket, strnlen(d->socket, sizeof un.sun_path - 1));
    bool lives = fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof un) == 0;
    if (fd >= 0)
        close(fd);
    return lives;
}

void run_dir_close(struct run_dir *d, bool remove)
{
    if (remove && d->own && d->lock_fd >= 0) {
        state_dir_remove(d->path);
        if (strncmp(d->socket, d->path, strlen(d->path)) != 0)
            unlink(d->socket);
    }
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    d->lock_fd = -1;
}
