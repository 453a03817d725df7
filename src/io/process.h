/* SPDX-License-Identifier: Apache-2.0 */
/* process - a command: started fast, watched, ended with all it started.
 *
 * Each command leads a process group of its own. The group ends with its leader: what the leader
 * leaves behind is killed when it exits. When we die by whatever cause, the leader dies by its
 * parent-death signal and the group by the guard (guard.h). The child shares our memory until its
 * exec (as vfork does), so a start costs the same however much memory we use; descriptors above 2
 * are closed in it, whoever opened them.
 *
 * The parent-death signal is tied to the *thread* that starts a command: it must live as long as
 * the process, as the thread of the event loop does. */
#ifndef TTG_IO_PROCESS_H
#define TTG_IO_PROCESS_H

#include "base/err.h"
#include "io/guard.h"
#include "io/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_exit {
    int status; /* -1 when a signal ended it, or when nobody could learn it */
    int signal; /* 0 when it exited */
    bool core_dumped;
};

enum { PROCESS_OLD_GROUPS = 8 };

struct process {
    pid_t pid; /* 0: none */
    int pid_fd;
    _Atomic pid_t *group; /* in the guard's table */
    struct loop *loop;
    struct loop_poll poll;
    struct loop_timer kill_timer;
    void (*on_exit)(struct process *p, struct process_exit e);
    pid_t old_groups[PROCESS_OLD_GROUPS]; /* of earlier commands, whose rest may still be dying */
};

struct process_spec {
    const char *file;  /* path, not searched for */
    char *const *argv; /* ends with NULL, as envp */
    char *const *envp;
    const char *dir;      /* NULL: stay */
    int fds[3];           /* become 0, 1, 2; -1: /dev/null. All at least 3, see process_pipe */
    _Atomic pid_t *group; /* guard_slot */
    int death_signal;     /* the leader gets it when we die; 0: SIGKILL */
};

/* A pipe with both ends at 3 or above and closed on exec. ret_fds[0] is the end to read. */
int process_pipe(int ret_fds[2], struct err *err);

/* Finds a command as a shell would (PATH, unless it has a slash) into `out`, a mem_ string.
 * TTG_ENOENT, TTG_EACCES (also for a directory) with a message. */
int process_find(const char *command, char **ret_file, struct err *err);

/* `p` must be zeroed or ended. on_exit comes once, from the loop; afterwards `p` may be used again.
 * On an error there is no child; an error of exec is told as such. */
int process_start(struct process *p, struct loop *l, const struct process_spec *spec,
                  void (*on_exit)(struct process *p, struct process_exit e), struct err *err);

static inline bool process_runs(const struct process *p)
{
    return p->pid > 0;
}

/* TERM to the group, KILL after grace_ms (0: at once). Harmless when it does not run. */
void process_end(struct process *p, uint64_t grace_ms);

/* KILL to the group and waits; on_exit does not come. Harmless when it does not run. */
void process_kill(struct process *p);

/* Lets it go on without us: it is neither watched nor ended any more; on_exit does not come. */
void process_leave(struct process *p);

/* "SIGSEGV", "SIGRTMIN+3"; static storage or `room`. */
enum { PROCESS_SIGNAL_BYTES = 16 };
const char *process_signal_name(int signo, char room[PROCESS_SIGNAL_BYTES]);

#endif
