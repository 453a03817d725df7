/* SPDX-License-Identifier: Apache-2.0 */
#include "io/process.h"

#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_STACK_BYTES = 32768 };

/* ---- the child, until its exec: it shares our memory, we stand still ---- */

struct child {
    const struct process_spec *spec;
    pid_t parent;
    sigset_t mask;
    int error;        /* errno of the step that failed */
    const char *step; /* NULL: exec */
};

/* The sanitizers' own view of the process must not notice the child. */
#if defined(__clang__)
#define CHILD_CODE __attribute__((noinline, no_sanitize("address", "thread", "undefined")))
#else
#define CHILD_CODE                                                                                 \
    __attribute__((noinline, no_sanitize_address, no_sanitize_thread, no_sanitize_undefined))
#endif

/* Handlers of ours must not run in the child: they would write to our memory. The layout is the
 * system call's, the same on all our targets as long as all but the handler is zero. */
static CHILD_CODE void child_reset_signals(void)
{
    struct {
        void *handler;
        unsigned long rest[4];
    } action, none = {0};
    for (int signo = 1; signo < 32; signo++) {
        if (syscall(SYS_rt_sigaction, signo, NULL, &action, 8ul) < 0)
            continue;
        if ((action.handler != (void *)SIG_DFL && action.handler != (void *)SIG_IGN) ||
            signo == SIGPIPE || signo == SIGXFSZ)
            syscall(SYS_rt_sigaction, signo, &none, NULL, 8ul);
    }
}

static CHILD_CODE void child_close_others(void)
{
    if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0)
        return;
    for (int fd = 3; fd < 4096; fd++) /* before Linux 5.9; ours are closed by the exec anyway */
        syscall(SYS_close, fd);
}

static CHILD_CODE int child_main(void *arg)
{
    struct child *c = arg;
    const struct process_spec *spec = c->spec;
    syscall(SYS_setpgid, 0, 0);
    /* First the signal, then the look: a parent that died before is seen by the look. */
    syscall(SYS_prctl, PR_SET_PDEATHSIG, spec->death_signal ? spec->death_signal : SIGKILL, 0, 0,
            0);
    if ((pid_t)syscall(SYS_getppid) != c->parent)
        syscall(SYS_exit_group, 127);
    *spec->group = (pid_t)syscall(SYS_getpid);
    child_reset_signals();
    for (int i = 0; i < 3; i++) {
        int fd = spec->fds[i];
        if (fd < 0)
            fd = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", i == 0 ? O_RDONLY : O_WRONLY, 0);
        c->step = "standard streams";
        if (fd < 0 || (fd != i && syscall(SYS_dup3, fd, i, 0) < 0))
            goto out;
    }
    child_close_others();
    c->step = "directory";
    if (spec->dir && syscall(SYS_chdir, spec->dir) < 0)
        goto out;
    c->step = NULL;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &c->mask, NULL, 8ul);
    syscall(SYS_execve, spec->file, spec->argv, spec->envp);
out:
    c->error = errno;
    syscall(SYS_exit_group, 127);
    return 0;
}

/* ---- start ---- */

static int start_error(const struct child *c, struct err *err)
{
    const struct process_spec *spec = c->spec;
    if (c->step && c->step[0] == 'd')
        return err_set_errno(err, c->error, "cannot run %s in %s", spec->file, spec->dir);
    if (c->step)
        return err_set_errno(err, c->error, "cannot run %s: %s", spec->file, c->step);
    if (c->error == ENOEXEC)
        return err_set(err, TTG_EINVAL,
                       "cannot run %s: not a program; a script needs a first line like #!/bin/sh",
                       spec->file);
    if (c->error == ENOENT && access(spec->file, F_OK) == 0)
        return err_set(err, TTG_ENOENT,
                       "cannot run %s: the interpreter in its first line does not exist",
                       spec->file);
    return err_set_errno(err, c->error, "cannot run %s", spec->file);
}

/* Sets p->pid and p->pid_fd. */
static int start_child(struct process *p, const struct process_spec *spec, struct err *err)
{
    _Alignas(16) char stack[CHILD_STACK_BYTES];
    struct child c = {.spec = spec, .parent = getpid()};
    sigset_t all;
    int pid_fd = -1;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &c.mask);
    pid_t pid = clone(child_main, stack + sizeof stack,
                      CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &c, &pid_fd);
    int errnum = errno;
    pthread_sigmask(SIG_SETMASK, &c.mask, NULL);
    if (pid < 0)
        return err_set_errno(err, errnum, "cannot start a process for %s", spec->file);
    if (c.error) {
        atomic_store(spec->group, 0);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        close(pid_fd);
        return start_error(&c, err);
    }
    p->pid = pid;
    p->pid_fd = pid_fd;
    return 0;
}

static void on_pid_ready(struct loop_poll *poll, unsigned events);

/* Where we are process 1 of a container (or a subreaper), what we killed of a group becomes our
 * child and would stay a zombie for ever. Elsewhere there is nothing to wait for. */
static void reap_orphans(struct process *p, int flags)
{
    for (int i = 0; i < PROCESS_OLD_GROUPS; i++) {
        pid_t rc = 1;
        while (p->old_groups[i] > 0 && rc > 0)
            rc = waitpid(-p->old_groups[i], NULL, flags);
        if (rc < 0)
            p->old_groups[i] = 0;
    }
}

static void remember_group(struct process *p)
{
    int i = 0;
    while (i < PROCESS_OLD_GROUPS - 1 && p->old_groups[i] > 0)
        i++;
    p->old_groups[i] = p->pid;
}

static void on_kill_timer(struct loop_timer *t)
{
    struct process *p = container_of(t, struct process, kill_timer);
    kill(-p->pid, SIGKILL);
}

int process_start(struct process *p, struct loop *l, const struct process_spec *spec,
                  void (*on_exit)(struct process *p, struct process_exit e), struct err *err)
{
    ensure(!process_runs(p));
    reap_orphans(p, WNOHANG);
    p->loop = l;
    p->group = spec->group;
    p->on_exit = on_exit;
    p->poll = (struct loop_poll){0};
    loop_timer_init(&p->kill_timer, l, on_kill_timer);
    int rc = start_child(p, spec, err);
    if (rc)
        return rc;
    rc = loop_poll_start(&p->poll, l, p->pid_fd, LOOP_READ, on_pid_ready);
    if (rc) {
        process_kill(p);
        return err_set(err, rc, "cannot watch %s: %s", spec->file, err_text(rc));
    }
    return 0;
}

/* ---- end ---- */

static struct process_exit exit_of(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (struct process_exit){.status = info->si_status};
    return (struct process_exit){-1, info->si_status, info->si_code == CLD_DUMPED};
}

/* The leader has exited (or `wait`: will). Kills its group while its number is still taken by the
 * leader's remains, then lets go of it. */
static struct process_exit process_reap(struct process *p)
{
    siginfo_t info = {0};
    struct process_exit e = {.status = -1};
    int rc;
    do
        rc = waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOWAIT);
    while (rc < 0 && errno == EINTR);
    if (rc == 0)
        e = exit_of(&info);
    kill(-p->pid, SIGKILL);
    atomic_store(p->group, 0);
    if (rc == 0)
        waitpid(p->pid, NULL, 0);
    loop_timer_stop(&p->kill_timer);
    loop_poll_stop(&p->poll);
    close(p->pid_fd);
    remember_group(p);
    p->pid = 0;
    return e;
}

static void on_pid_ready(struct loop_poll *poll, unsigned events)
{
    (void)events;
    struct process *p = container_of(poll, struct process, poll);
    struct process_exit e = process_reap(p);
    p->on_exit(p, e);
}

void process_end(struct process *p, uint64_t grace_ms)
{
    if (!process_runs(p))
        return;
    /* A stopped process acts on no other signal before it goes on. In this order: a process that
     * ends under a leak checker is stopped by it for a moment, and a late SIGCONT takes that back,
     * so that the checker waits for ever. */
    if (grace_ms > 0) {
        kill(-p->pid, SIGCONT);
        kill(-p->pid, SIGTERM);
    }
    if (grace_ms == 0 || loop_timer_after_ms(&p->kill_timer, grace_ms) != 0)
        kill(-p->pid, SIGKILL);
}

void process_kill(struct process *p)
{
    if (process_runs(p)) {
        kill(-p->pid, SIGKILL);
        process_reap(p);
    }
    reap_orphans(p, 0);
}

void process_leave(struct process *p)
{
    if (!process_runs(p))
        return;
    atomic_store(p->group, 0);
    loop_timer_stop(&p->kill_timer);
    loop_poll_stop(&p->poll);
    close(p->pid_fd);
    p->pid = 0;
}

/* ---- helpers ---- */

static int fd_above_2(int fd)
{
    if (fd > 2)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    close(fd);
    return moved;
}

int process_pipe(int ret_fds[2], struct err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set_errno(err, errno, "cannot make a pipe");
    if (fds[0] <= 2 || fds[1] <= 2) {
        fds[0] = fd_above_2(fds[0]);
        fds[1] = fd_above_2(fds[1]);
        if (fds[0] < 0 || fds[1] < 0) {
            int rc = err_set_errno(err, errno, "cannot make a pipe");
            if (fds[0] >= 0)
                close(fds[0]);
            if (fds[1] >= 0)
                close(fds[1]);
            return rc;
        }
    }
    ret_fds[0] = fds[0];
    ret_fds[1] = fds[1];
    return 0;
}

/* 0, or the errno that says why it cannot be run. */
static int file_errno(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return errno;
    if (S_ISDIR(st.st_mode))
        return EISDIR;
    return access(path, X_OK) < 0 ? errno : 0;
}

static int find_in_path(const char *command, struct buf *path, int *ret_errno)
{
    const char *env = getenv("PATH");
    struct str rest = str_of(env ? env : "/usr/local/bin:/usr/bin:/bin");
    int why = ENOENT;
    while (rest.ptr) {
        struct str dir = str_cut(rest, ':', &rest);
        buf_clear(path);
        int rc = buf_printf(path, "%.*s/%s", STR_ARG(dir.len ? dir : STR(".")), command);
        if (rc)
            return rc;
        const char *text = buf_cstr(path);
        if (!text)
            return TTG_ENOMEM;
        int errnum = file_errno(text);
        if (errnum == 0)
            why = 0;
        else if (errnum == EACCES)
            why = EACCES;
        if (why == 0)
            break;
    }
    *ret_errno = why;
    return 0;
}

int process_find(const char *command, char **ret_file, struct err *err)
{
    struct buf path;
    int why = 0;
    buf_init(&path, PATH_MAX);
    int rc = 0;
    bool slash = strchr(command, '/') != NULL;
    if (slash)
        why = file_errno(command);
    else if (command[0] == '\0')
        why = ENOENT;
    else
        rc = find_in_path(command, &path, &why);
    char *file = NULL;
    if (!rc && !why)
        file = slash ? mem_strdup(command) : mem_dup(buf_ptr(&path), buf_len(&path));
    buf_done(&path);
    if (rc)
        return err_set(err, rc, "command %s: %s", command, err_text(rc));
    if (why == ENOENT)
        return err_set(err, TTG_ENOENT,
                       strpbrk(command, " |;<>")
                           ? "command not found: '%s'; for a line of the shell: sh -c 'LINE'"
                       : slash ? "command not found: %s: no such file"
                               : "command not found: %s is in no directory of PATH",
                       command);
    if (why == EISDIR)
        return err_set(err, TTG_EACCES, "command %s is a directory", command);
    if (why == EACCES)
        return err_set(err, TTG_EACCES, "command %s is not executable; try: chmod +x %s", command,
                       command);
    if (why)
        return err_set_errno(err, why, "command %s", command);
    if (!file)
        return err_set(err, TTG_ENOMEM, "command %s: out of memory", command);
    *ret_file = file;
    return 0;
}

const char *process_signal_name(int signo, char room[PROCESS_SIGNAL_BYTES])
{
    const char *name = signo > 0 && signo < SIGRTMIN ? sigabbrev_np(signo) : NULL;
    if (name)
        snprintf(room, PROCESS_SIGNAL_BYTES, "SIG%s", name);
    else if (signo >= SIGRTMIN && signo <= SIGRTMAX)
        snprintf(room, PROCESS_SIGNAL_BYTES, "SIGRTMIN+%d", signo - SIGRTMIN);
    else
        snprintf(room, PROCESS_SIGNAL_BYTES, "signal %d", signo);
    return room;
}
