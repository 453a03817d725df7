/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin that does what the chunk number says: see plugin_test.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ttg/plugin.h>
#include <unistd.h>

struct state {
    uint32_t slot;
    char arg[32];
};

static int init(uint32_t slot, const char *arg, void **ret_state, char *reason)
{
    if (strcmp(arg, "refuse") == 0) {
        snprintf(reason, 256, "slot %u has no licence", slot);
        return 1;
    }
    struct state *s = calloc(1, sizeof *s);
    if (!s)
        return 1;
    s->slot = slot;
    snprintf(s->arg, sizeof s->arg, "%s", arg);
    *ret_state = s;
    return 0;
}

static void done(void *state)
{
    free(state);
}

static void nap_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static int sum_all(struct ttg_call *call)
{
    for (int64_t i = call->start;; i++) {
        ttg_sum(call, i);
        if (i == call->end)
            return TTG_DONE;
    }
}

static int say_all(struct state *s, struct ttg_call *call)
{
    char text[256];
    int n = snprintf(text, sizeof text, "%s %u %s %s %u %lld-%lld %zu", s->arg, s->slot, call->job,
                     call->worker, call->attempt, (long long)call->start, (long long)call->end,
                     call->lines_bytes);
    ttg_write(call, text, (size_t)n);
    return TTG_DONE;
}

static int run(void *state, struct ttg_call *call)
{
    struct state *s = state;
    switch (call->chunk) {
    case 1:
        return say_all(s, call);
    case 2:
        ttg_fail(call, "try again");
        return TTG_RETRY;
    case 3:
        ttg_fail(call, "never");
        return TTG_PERMANENT;
    case 4:
        return TTG_RETRY;
    case 5:
        return 77;
    case 6:
        while (ttg_write(call, "0123456789", 10) == 0)
            ;
        return TTG_DONE;
    case 7:
        ttg_sum(call, 1);
        ttg_write(call, "x", 1);
        return TTG_DONE;
    case 8:
        while (!ttg_stopped(call))
            nap_ms(1);
        return TTG_DONE;
    case 9: /* until the test lets it: it removes the file */
        while (access(s->arg, F_OK) == 0)
            nap_ms(1);
        return TTG_DONE;
    default:
        return sum_all(call);
    }
}

TTG_PLUGIN(.name = "good", .run = run, .init = init, .done = done);
