/* SPDX-License-Identifier: Apache-2.0 */
#include "node/snapshot.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PAUSE_MS = 2000,
    RETRY_MS = 10000,
    TIGHT_LOG_BYTES = 1 << 20,
    SYNC_FILES_MAX = 64,
    SHORT_BYTES = 8 << 20,
    SMALL_HEAP_BYTES = 32 << 20,
    WAIT_MS = 20
};

struct snapshotter {
    struct node *node;
    pid_t child; /* 0: none */
    int pidfd;
    bool ended; /* the child is gone with `rc`; to be put in place */
    int rc;
    struct loop_poll poll;
    uint64_t began_ns, not_before_ms;
};

struct child {
    struct store_snapshot *snapshot;
    uint64_t bytes;
};

static void be_nice(void)
{
    setpriority(PRIO_PROCESS, 0, 10);
}

/* What is short is better over soon: as long as it lasts, each page that the node writes to is
 * copied. What takes long has to leave the processor to those that somebody waits for. */
static int child_write(void *ctx, struct str bytes)
{
    struct child *c = ctx;
    c->bytes += bytes.len;
    if (c->bytes > SHORT_BYTES && c->bytes - bytes.len <= SHORT_BYTES)
        be_nice();
    return store_snapshot_write(c->snapshot, bytes);
}

/* What is large, the child has no use for, and its parent will write to or free at once. */
static void leave_behind(struct node *n, struct store_snapshot *snapshot)
{
    store_snapshot_forked(snapshot);
    list_each(it, &n->clients)
    {
        struct client *c = container_of(it, struct client, link);
        struct buf *both[] = {&c->conn.in, &c->conn.out};
        for (int i = 0; i < 2; i++)
            if (both[i]->cap >= MEM_LARGE_BYTES)
                buf_done(both[i]);
    }
}

static _Noreturn void child_run(struct node *n, struct store_snapshot *snapshot, pid_t parent,
                                int pipe_end)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    leave_behind(n, snapshot);
    struct child child = {snapshot, 0};
    int files[SYNC_FILES_MAX];
    size_t count = 0;
    int rc = core_save(n->core, child_write, &child);
    if (!rc)
        rc = store_snapshot_seal(snapshot);
    if (!rc)
        rc = store_snapshot_files(snapshot, files, SYNC_FILES_MAX, &count);
    /* The disk takes longer than all of the above: until then the node would pay with a page for
     * each one that it writes to. */
    hugeheap_leave(&n->heap);
    if (pipe_end >= 0)
        close(pipe_end);
    be_nice();
    for (size_t i = 0; i < count && !rc; i++) {
        rc = disk_sync_file(files[i]);
        if (rc && i + 1 < count) /* a blob file: final, see store_snapshot_files */
            rc = TTG_EIO;
    }
    _exit(rc == 0 ? 0 : rc == TTG_EIO ? 2 : rc == TTG_ENOSPC ? 3 : 1);
}

/* With little to save we wait until the child has given its heap back: as long as it has it, each
 * page that we write to is copied, and in that time it may be most of them. The child closes its
 * end of a pipe then, or the kernel does. */
static pid_t fork_child(struct node *n, struct store_snapshot *snapshot)
{
    bool small = hugeheap_bytes(&n->heap) <= SMALL_HEAP_BYTES;
    int ends[2];
    if (!small || pipe2(ends, O_CLOEXEC))
        ends[0] = ends[1] = -1;
    if (small)
        mem_return_holes(); /* else they grow for as long as the node lives */
    uint64_t began_ns = n->clock->mono_ns(n->clock);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        child_run(n, snapshot, parent, ends[1]);
    int failure = errno;
    if (ends[0] >= 0) {
        close(ends[1]);
        if (pid > 0)
            poll(&(struct pollfd){.fd = ends[0]}, 1, WAIT_MS);
        close(ends[0]);
    }
    n->stats.snapshot_fork_us = (n->clock->mono_ns(n->clock) - began_ns) / 1000;
    errno = failure;
    return pid;
}

/* Puts it in place as soon as the log is written up to it. */
static void finish(struct snapshotter *s)
{
    struct node *n = s->node;
    struct err err;
    err_set(&err, s->rc, "%s", err_text(s->rc));
    int failed = store_snapshot_finish(n->store, s->rc, &err);
    if (failed == TTG_EAGAIN)
        return;
    s->ended = false;
    uint64_t ms = (n->clock->mono_ns(n->clock) - s->began_ns) / 1000000;
    struct store_stats stats;
    store_stats(n->store, &stats);
    if (!failed && !s->rc) {
        s->not_before_ms = loop_now_ms(n->loop) + PAUSE_MS;
        log_info("snapshot.written", kv_u64("position", stats.snapshot_position),
                 kv_u64("bytes", stats.snapshot_bytes), kv_u64("ms", ms),
                 kv_u64("fork_us", n->stats.snapshot_fork_us));
        return;
    }
    n->stats.snapshots_failed++;
    s->not_before_ms = loop_now_ms(n->loop) + RETRY_MS;
    log_warn("snapshot.failed", kv_str("reason", err.text), kv_u64("ms", ms));
    if (s->rc == TTG_EIO || failed == TTG_EIO)
        node_fail(n, TTG_EIO, &err);
}

static void child_ended(struct snapshotter *s, int status)
{
    static const int codes[] = {0, TTG_ENOMEM, TTG_EIO, TTG_ENOSPC};
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    loop_poll_stop(&s->poll);
    close(s->pidfd);
    s->child = 0;
    s->ended = true;
    s->rc = codes[code < 4 ? code : 1];
    finish(s);
}

static void on_child(struct loop_poll *p, unsigned events)
{
    (void)events;
    struct snapshotter *s = container_of(p, struct snapshotter, poll);
    int status = 0;
    if (waitpid(s->child, &status, WNOHANG) == s->child)
        child_ended(s, status);
}

int snapshot_begin(struct node *n, struct err *err)
{
    struct snapshotter *s = n->snapshotter;
    struct store_snapshot *snapshot;
    if (snapshot_running(n))
        return err_set(err, TTG_EBUSY, "a snapshot is being written already");
    s->not_before_ms = loop_now_ms(n->loop) + RETRY_MS;
    int rc = store_snapshot_begin(n->store, &snapshot, err);
    if (rc)
        return rc;
    s->began_ns = n->clock->mono_ns(n->clock);
    pid_t pid = fork_child(n, snapshot);
    if (pid < 0) {
        rc = err_set_errno(err, errno, "fork");
        store_snapshot_finish(n->store, TTG_ENOMEM, NULL);
        return rc;
    }
    s->child = pid;
    s->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    rc = s->pidfd < 0 ? TTG_EIO : loop_poll_start(&s->poll, n->loop, s->pidfd, LOOP_READ, on_child);
    if (rc) {
        /* Nobody would tell us of its end. */
        int status;
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        s->child = 0;
        store_snapshot_finish(n->store, TTG_ENOMEM, NULL);
        return err_set(err, rc, "cannot watch the snapshot's process");
    }
    return 0;
}

bool snapshot_running(const struct node *n)
{
    return n->snapshotter && (n->snapshotter->child || n->snapshotter->ended);
}

void snapshot_check(struct node *n)
{
    struct snapshotter *s = n->snapshotter;
    struct err err;
    if (s->ended)
        finish(s);
    if (s->child) /* it keeps the disk busy: a sync takes long now and then */
        store_writer_yield(n->writer);
    if (snapshot_running(n) || n->stopping || loop_now_ms(n->loop) < s->not_before_ms)
        return;
    struct store_stats stats;
    store_stats(n->store, &stats);
    /* The larger the state, the rarer: writing a snapshot should not cost more than the log. */
    uint64_t due = n->snapshot_log_bytes;
    if (stats.disk_tight && due > TIGHT_LOG_BYTES) /* so that log can go while there is room */
        due = TIGHT_LOG_BYTES;
    if (stats.snapshot_bytes > due)
        due = stats.snapshot_bytes;
    if (stats.bytes_since_snapshot < due)
        return;
    if (snapshot_begin(n, &err))
        log_warn("snapshot.failed", kv_str("reason", err.text));
}

int snapshot_open(struct node *n, struct err *err)
{
    n->snapshotter = mem_zalloc(sizeof(*n->snapshotter));
    if (!n->snapshotter)
        return err_set(err, TTG_ENOMEM, "out of memory");
    n->snapshotter->node = n;
    return 0;
}

void snapshot_close(struct node *n)
{
    struct snapshotter *s = n->snapshotter;
    if (!s)
        return;
    if (s->child) {
        int status;
        kill(s->child, SIGKILL);
        waitpid(s->child, &status, 0);
        loop_poll_stop(&s->poll);
        close(s->pidfd);
        s->ended = true;
    }
    if (s->ended)
        store_snapshot_finish(n->store, TTG_ECANCELED, NULL);
    mem_free(s);
    n->snapshotter = NULL;
}
