/* SPDX-License-Identifier: Apache-2.0 */
/* demo - what the files of `ttg demo` share.
 *
 * A demo is one or two *acts* for each backend: an undisturbed job, and the same job with one
 * worker killed in the middle of a chunk. An act is an ordinary `run` (job/run.h) with ordinary
 * worker processes; nothing is simulated but the work itself. What a viewer is told comes from the
 * queue's own events and from the results, not from what we meant to do. */
#ifndef TTG_CMD_DEMO_DEMO_H
#define TTG_CMD_DEMO_DEMO_H

#include "cmd/command.h"
#include "cmd/embedded.h"
#include "cmd/monitor_term.h"
#include "cmd/options.h"
#include "cmd/state_dir.h"
#include "io/guard.h"
#include "io/loop.h"
#include "io/process.h"
#include "job/progress.h"
#include "job/run.h"

enum {
    DEMO_WORKERS_MAX = 64,
    DEMO_PATH_BYTES = STATE_DIR_BYTES,
    DEMO_TRIES = 3,
    DEMO_YARD_BYTES = 32,
};

enum demo_backend { DEMO_EMBEDDED, DEMO_REDIS, DEMO_RABBITMQ, DEMO_BACKENDS };

struct demo_preset {
    const char *name, *simulate_ms; /* per parameter */
    uint64_t params, chunk_params;
    uint64_t chunk_us; /* of simulated work */
    uint64_t kill_us;  /* after the victim's last result; 0: in the middle of a chunk */
};

/* What one worker's death looked like. */
struct demo_kill {
    bool done;
    unsigned tries;
    uint32_t victim;
    pid_t pid;
    uint64_t at_ms, into_ms; /* wall clock; into_ms: since the victim's last result */
    bool lost_known;         /* the queue told when it noticed */
    uint64_t lost_ms;        /* after the kill */
    uint64_t takeover_ms;    /* after the kill: the last of its chunks had started elsewhere */
    uint64_t taken, chunk;   /* how many; the last one */
    uint32_t to;             /* who took that one */
    char why[128];           /* as the queue put it */
};

struct demo_act {
    struct demo *demo;
    struct run *run;
    struct run_totals totals;
    enum run_end end;
    bool ended, fault;
    struct err err;
    const char *job, *address; /* as workers see the queue */
    enum demo_backend backend;
    uint64_t began_ms, chunks, done;
    char *worker_words[COMMAND_WORDS_MAX];
    pid_t pids[DEMO_WORKERS_MAX];
    uint64_t last_ms[DEMO_WORKERS_MAX]; /* the last result of each worker came in */
    uint32_t *who;                      /* by chunk: worker + 1, 0: no result yet */
    bool *taken;                        /* by chunk: taken over from the victim */
    struct progress progress;
    struct loop_timer kill_timer;
    struct demo_kill kill;
    bool again;                /* the victim's successor was started */
    uint64_t look_ms, said_ms; /* pods: when they are looked at next, when that was told */
    unsigned gone;             /* looks in a row that found none */
};

struct demo {
    struct command_run *command;
    struct loop *loop;
    struct loop_signal sigint, sigterm, sighup;
    int signal; /* that we were told to stop by */
    struct guard *guard;
    const struct demo_preset *preset;
    struct demo_preset pods; /* for this many workers */
    uint32_t workers;
    bool fault, json, keep, bar, bar_drawn, cli, web;
    bool podman, k8s;  /* server and workers are containers, or pods */
    const char *image; /* of ttg, for them */
    char *tool_file, yard[DEMO_YARD_BYTES], worker_name[DEMO_YARD_BYTES + 32];
    struct process killer; /* of a container or pod */
    char dir[DEMO_PATH_BYTES];
    struct demo_act *act;      /* that runs now */
    struct monitor_term *term; /* has the screen; what is said waits in `later` */
    struct buf later;
    struct err out_err; /* standard output failed */
};

/* Server and workers are no processes of ours. */
static inline bool demo_is_outside(const struct demo *d)
{
    return d->podman || d->k8s;
}

/* --- demo_act.c --- */

/* Where an act's chunks wait. */
struct demo_place {
    const char *address; /* for workers */
    struct queue_config queue;
    char *const *node; /* `ttg node ...`, or NULL */
};

/* Runs one job to its end. 0, TTG_ECANCELED (a signal), or why it failed. Free it in any case. */
int demo_act(struct demo *d, struct demo_act *a, const struct demo_place *place, struct err *err);
void demo_act_free(struct demo_act *a);
/* All chunks have their result, and those written are those that were committed. */
bool demo_act_good(const struct demo_act *a);
/* Starts podman's or kubectl's command that kills a worker, or brings one back. */
int demo_kill(struct demo *d, const char *const *words,
              void (*on_exit)(struct process *p, struct process_exit e), struct err *err);
/* It has ended. */
void demo_act_killed(struct demo_act *a);

/* --- demo_broker.c --- */

enum {
    BROKER_SERVER,
    BROKER_EPMD,
    BROKER_WEB, /* the dashboard */
    BROKER_PROCESSES,
    DEMO_TOOL = BROKER_PROCESSES, /* the guard's slots of podman or kubectl */
    DEMO_KILLER,
    DEMO_SLOTS,
    BROKER_URL_BYTES = RUN_DIR_BYTES + 32,
};

struct broker {
    struct demo *demo;
    enum demo_backend backend;
    struct process processes[BROKER_PROCESSES]; /* the server first */
    _Atomic pid_t own_slots[BROKER_PROCESSES];
    struct loop_timer look;
    char dir[DEMO_PATH_BYTES], log[DEMO_PATH_BYTES + 16], url[BROKER_URL_BYTES];
    char web_log[DEMO_PATH_BYTES + 16], web_url[256];
    char inner_url[128]; /* as containers see it */
    uint16_t port;
    struct run_dir node; /* of a node of our own */
    bool up;
    double seconds; /* until it was up */
    struct err failed;
};

/* Starts process i: the server, or one that it needs. */
int broker_process(struct broker *b, int i, const char *program, char *const *argv,
                   char *const *envp, struct err *err);
/* Ports of 127.0.0.1 that nobody has just now. */
int broker_ports(uint16_t *ret_ports, size_t count, struct err *err);
/* Makes a file of the demo. */
int demo_write(const char *path, struct str text, struct err *err);
/* Whether the server's program is there; TTG_ENOENT with the name of its package. */
int broker_installed(enum demo_backend backend, struct err *err);
/* Starts a server of our own on free ports of 127.0.0.1 (a node: on a socket in its directory) and
 * waits until it serves. */
int broker_start(struct broker *b, struct demo *d, enum demo_backend backend, struct err *err);
/* A dashboard for it: `web_url` is what to open. */
int broker_web(struct broker *b, struct err *err);
/* Ends it; with `leave` it goes on without us. */
void broker_stop(struct broker *b, bool leave);

/* As deploy/ runs them. */
struct demo_image {
    const char *name, *port, *scheme, *user, *data; /* no name: that of ttg */
    const char *words[16];
};
extern const struct demo_image demo_images[DEMO_BACKENDS];

/* --- demo_podman.c ---
 *
 * With --runtime podman the server and the workers are containers on a network of the demo's own,
 * the *yard*. All of them, the network and the server's volume are called after it and carry our
 * label. We stay outside, and reach the server by a port of 127.0.0.1. */

/* Whether podman and the images are there; makes the network. */
int demo_podman_open(struct demo *d, enum demo_backend from, enum demo_backend to, struct err *err);
/* Starts the server's container; its urls are known then. */
int demo_podman_serve(struct broker *b, struct err *err);
/* The address that workers have, once the server is up. */
int demo_podman_address(struct broker *b, struct err *err);
/* Removes the server's container and volume. */
void demo_podman_end_server(struct broker *b);
/* `podman run ... ttg worker ...` for the crew. */
void demo_podman_worker(struct command_words *w, const struct demo *d);
/* Kills a worker's container; it takes a moment until it is dead. */
int demo_podman_kill(struct demo *d, uint32_t worker, struct err *err);
/* Removes all that is left. */
void demo_podman_close(struct demo *d);

/* --- demo_k8s.c ---
 *
 * With --runtime k8s they are pods in a namespace of the demo's own, which has the name of the
 * yard. We stay outside, and reach the server by `kubectl port-forward`. */

/* Whether kubectl reaches a cluster; makes the namespace. */
int demo_k8s_open(struct demo *d, struct err *err);
/* Starts the server's pod and the port-forward; its urls are known then. */
int demo_k8s_serve(struct broker *b, struct err *err);
/* The address that workers have. */
int demo_k8s_address(struct broker *b, struct err *err);
/* Starts an act's workers, and waits until all of them run. */
int demo_k8s_workers(struct demo *d, const struct demo_act *a, struct err *err);
/* Deletes a worker's pod with force: it is killed some 2 s later. */
int demo_k8s_kill(struct demo *d, uint32_t worker, struct err *err);
/* Starts it anew. */
int demo_k8s_again(struct demo *d, uint32_t worker, struct err *err);
/* Which of an act's workers have neither ended nor vanished: how many, and in words. */
int demo_k8s_look(struct demo *d, const struct demo_act *a, size_t *ret_alive, struct buf *ret_text,
                  struct err *err);
/* Removes the namespace. */
void demo_k8s_close(struct demo *d);

/* --- demo_watch.c --- */

/* With --monitor cli: takes the terminal for this act. Harmless without. */
void demo_watch_open(struct demo *d, const struct demo_act *a, const struct demo_place *place);
/* All chunks are done. */
void demo_watch_hold(struct demo *d);
/* Lets the viewer look at the end, and gives the terminal back. */
void demo_watch_close(struct demo *d);
/* With --monitor web on a terminal: until Enter, or a signal. */
void demo_wait_for_enter(struct demo *d, const char *what);

/* --- demo_show.c --- */

extern const char *const demo_backend_names[DEMO_BACKENDS];

/* What was held back while the screen was taken. */
void demo_say_later(struct demo *d);
/* A line for people: standard output, or standard error with --json. */
void demo_say(struct demo *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
void demo_bar(struct demo *d, const struct demo_act *a, const struct queue_status *status);
/* Where color is wanted; otherwise the empty text. */
const char *demo_red(const struct demo *d);
const char *demo_green(const struct demo *d);
const char *demo_plain(const struct demo *d);

/* How an act ended, with the map of who computed what. */
void demo_show_act(struct demo *d, const struct demo_act *a);

/* What is left of a backend's acts for the table and the JSON line. */
struct demo_line {
    bool ran, fault, good, interrupted;
    enum demo_backend backend;
    double seconds, undisturbed_seconds;
    struct queue_status status;
    enum run_proof proof;
    uint64_t lines;
    struct demo_kill kill;
    char trouble[ERR_TEXT_BYTES_MAX]; /* why it did not run */
};
void demo_show_cost(struct demo *d, const struct demo_line *l);
void demo_show_table(struct demo *d, const struct demo_line *lines, size_t count);
int demo_show_json(struct demo *d, const struct demo_line *l);

#endif
