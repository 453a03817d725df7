/* SPDX-License-Identifier: Apache-2.0 */
#include "io/guard.h"

#include "base/ensure.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct guard {
    pid_t pid;
    int pipe_fd; /* its end tells the guard that we are gone */
    uint32_t slots;
    _Atomic pid_t *table; /* shared */
};

/* Runs in a fork of a process that may have threads: only system calls. */
static _Noreturn void guard_main(int pipe_fd, _Atomic pid_t *table, uint32_t slots)
{
    static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTSTP};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    setsid();
    prctl(PR_SET_NAME, "ttg-guard");
    /* Nothing of ours may stay open in it: whoever reads our output waits for its end. */
    if (pipe_fd != 0)
        dup2(pipe_fd, 0);
    syscall(SYS_close_range, 1u, ~0u, 0u);
    (void)!chdir("/");

    char byte;
    ssize_t n;
    do
        n = read(0, &byte, 1);
    while (n > 0 || (n < 0 && errno == EINTR));
    for (uint32_t i = 0; i < slots; i++) {
        pid_t group = atomic_load(&table[i]);
        if (group > 0)
            kill(-group, SIGKILL);
    }
    _exit(0);
}

static int guard_fork(struct guard *g, struct err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set_errno(err, errno, "process guard: pipe");
    sigset_t all, old; /* no handler of ours may run in the child */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid == 0)
        guard_main(fds[0], g->table, g->slots);
    int errnum = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    close(fds[0]);
    if (pid < 0) {
        close(fds[1]);
        return err_set_errno(err, errnum, "process guard: fork");
    }
    g->pid = pid;
    g->pipe_fd = fds[1];
    return 0;
}

int guard_open(struct guard **ret_guard, uint32_t slots, struct err *err)
{
    struct sigaction sa;
    if (sigaction(SIGCHLD, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN)
        signal(SIGCHLD, SIG_DFL);
    if (sigaction(SIGPIPE, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
    struct guard *g = mem_zalloc(sizeof *g);
    if (!g)
        return err_set(err, TTG_ENOMEM, "process guard: out of memory");
    g->slots = slots;
    void *table = mmap(NULL, slots * sizeof *g->table, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED) {
        mem_free(g);
        return err_set(err, TTG_ENOMEM, "process guard: out of memory");
    }
    g->table = table;
    int rc = guard_fork(g, err);
    if (rc) {
        munmap(table, slots * sizeof *g->table);
        mem_free(g);
        return rc;
    }
    *ret_guard = g;
    return 0;
}

_Atomic pid_t *guard_slot(struct guard *g, uint32_t slot)
{
    ensure(slot < g->slots);
    return &g->table[slot];
}

static void guard_reap(struct guard *g)
{
    while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

int guard_check(struct guard *g, struct err *err)
{
    if (g->pid > 0 && waitpid(g->pid, NULL, WNOHANG) == 0)
        return 0;
    if (g->pid > 0)
        close(g->pipe_fd);
    g->pid = 0;
    return guard_fork(g, err);
}

void guard_close(struct guard *g)
{
    if (!g)
        return;
    if (g->pid > 0) {
        close(g->pipe_fd);
        guard_reap(g);
    }
    munmap(g->table, g->slots * sizeof *g->table);
    mem_free(g);
}
