/* SPDX-License-Identifier: Apache-2.0 */
/* cleanup - what the files of `ttg cleanup` share.
 *
 * Two steps with nothing in between but the user's word: *find* makes a list of things that carry
 * ttg's names and labels, *remove* takes exactly those that were shown. What is in use is shown as
 * well, and stays. There is no pattern that could match what somebody else owns: a directory must
 * lie in our state directory and hold our files, a process must be noted there and have started
 * when the note says, a job must be one that the queue lists, an object must have our label. */
#ifndef TTG_CMD_CLEANUP_CLEANUP_H
#define TTG_CMD_CLEANUP_CLEANUP_H

#include "cmd/command.h"
#include "cmd/options.h"
#include "io/guard.h"
#include "io/loop.h"
#include "queue/queue.h"

enum { CLEANUP_ITEMS_MAX = 100000, CLEANUP_QUEUES_MAX = 16 };

enum cleanup_kind {
    CLEANUP_DEMO, /* a directory of `ttg demo`, with its servers */
    CLEANUP_RUN,  /* a directory of an embedded job */
    CLEANUP_JOB,  /* on a queue */
    CLEANUP_KUBERNETES,
    CLEANUP_CONTAINER, /* of podman or docker, as are the next three */
    CLEANUP_POD,
    CLEANUP_NETWORK,
    CLEANUP_VOLUME,
    CLEANUP_KINDS,
};

struct cleanup_item {
    enum cleanup_kind kind;
    bool stays, removed;
    size_t source; /* which queue, or which program */
    char *name;    /* path, job, or name of the object */
    char *note;    /* for people */
};

struct cleanup_queue {
    struct url url;
    char shown[URL_TEXT_BYTES_MAX];
};

struct cleanup {
    struct command_run *command;
    struct loop *loop;
    struct guard *guard;
    struct cleanup_item *items;
    size_t count, cap;
    struct cleanup_queue *queues;
    size_t queue_count;
    bool local, redis, rabbitmq, pods, all;
    int trouble; /* the first error that was said but did not stop us */
};

/* Takes a copy of the texts. TTG_EFULL, TTG_ENOMEM. */
int cleanup_add(struct cleanup *c, const struct cleanup_item *item, struct err *err);
/* Says what went wrong; the rest is done all the same. */
void cleanup_trouble(struct cleanup *c, const struct err *err);

/* Each adds what it finds; an error ends the command. */
int cleanup_local_find(struct cleanup *c, struct err *err);
int cleanup_queues_find(struct cleanup *c, struct err *err);
int cleanup_objects_find(struct cleanup *c, struct err *err);

/* Whether an object has the name of a demo that runs just now (ttg-demo-PID...). */
bool cleanup_demo_lives(const char *name);

/* The jobs of a broker; called by cleanup_queues_find. */
int cleanup_rabbit_find(struct cleanup *c, size_t source, const struct queue_config *config,
                        struct err *err);

/* Each removes one item; an error is said and the others are removed all the same. */
int cleanup_local_remove(struct cleanup *c, struct cleanup_item *item, struct err *err);
int cleanup_queues_remove(struct cleanup *c, struct cleanup_item *item, struct err *err);
int cleanup_objects_remove(struct cleanup *c, struct cleanup_item *item, struct err *err);

#endif
