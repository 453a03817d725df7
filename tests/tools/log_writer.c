/* SPDX-License-Identifier: Apache-2.0 */
/* log_writer - a process to kill: writes a log and says what it may say.
 *
 * usage: log_writer write DIR SYNC   appends for ever, with a snapshot by a forked child now and
 *                                    then; each line on stdout is a position that is acknowledged
 *        log_writer verify DIR       checks every record; the last position on stdout, 1 when the
 *                                    store cannot be opened or a record is wrong */
#include "base/err.h"
#include "io/disk.h"
#include "io/realclock.h"
#include "store/writer.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct state {
    uint64_t last, sum;
};

static size_t record(char *out, uint64_t position)
{
    return (size_t)sprintf(out, "record %llu %.*s", (unsigned long long)position,
                           (int)(position * 7 % 150),
                           "................................................................"
                           "................................................................"
                           "......................");
}

static int on_record(void *ctx, const struct store_record *r)
{
    struct state *s = ctx;
    char bytes[256];
    size_t len = record(bytes, r->position);
    if (r->position != s->last + 1 || !str_eq(r->bytes, str_make(bytes, len)))
        return TTG_ECORRUPT;
    s->last = r->position;
    s->sum += r->position;
    return 0;
}

static int on_snapshot(void *ctx, uint64_t position, struct str bytes)
{
    struct state *s = ctx;
    if (bytes.len != sizeof *s)
        return TTG_ECORRUPT;
    memcpy(s, bytes.ptr, sizeof *s);
    return s->last == position && s->sum == position * (position + 1) / 2 ? 0 : TTG_ECORRUPT;
}

static void must(int rc, const struct err *e, const char *what)
{
    if (!rc)
        return;
    fprintf(stderr, "log_writer: %s: %s: %s\n", what, err_name(rc), e->text);
    exit(1);
}

static void snapshot(struct store *s, const struct state *state, struct err *e)
{
    struct store_snapshot *w;
    must(store_snapshot_begin(s, &w, e), e, "snapshot");
    pid_t child = fork();
    if (child == 0)
        _exit(store_snapshot_write(w, str_make(state, sizeof *state)) || store_snapshot_end(w));
    int status = 1;
    waitpid(child, &status, 0);
    must(store_snapshot_finish(s, status ? TTG_ECHILD : 0, e), e, "snapshot");
}

static void write_for_ever(struct store *s, struct state *state, struct err *e)
{
    struct store_writer *w;
    char bytes[256];
    uint64_t said = 0, next_snapshot = state->last + 3000, now_ms = 0;
    must(store_writer_start(s, realclock(), &w), e, "thread");
    for (;; now_ms++) {
        for (int i = 0; i < 20; i++) {
            size_t len = record(bytes, state->last + 1);
            if (store_reserve(s, 1, len, now_ms))
                break;
            must(store_append(s, 0, 0, str_make(bytes, len), &state->last), e, "append");
            state->sum += state->last;
        }
        must(store_writer_poll(w, now_ms, e), e, "write");
        struct pollfd p = {.fd = store_writer_fd(w), .events = POLLIN};
        if (store_writer_busy(w))
            poll(&p, 1, -1);
        must(store_writer_poll(w, now_ms, e), e, "write");
        if (store_ack_position(s) > said) {
            said = store_ack_position(s);
            int n = sprintf(bytes, "%llu\n", (unsigned long long)said);
            if (write(1, bytes, (size_t)n) != n)
                exit(1);
        }
        if (state->last >= next_snapshot && !store_writer_busy(w)) {
            next_snapshot += 3000;
            snapshot(s, state, e);
        }
    }
}

int main(int argc, char **argv)
{
    bool writes = argc == 4 && strcmp(argv[1], "write") == 0;
    if (!writes && !(argc == 3 && strcmp(argv[1], "verify") == 0)) {
        fprintf(stderr, "usage: log_writer write DIR SYNC | log_writer verify DIR\n");
        return 2;
    }
    struct err e = {0};
    struct store_options o = {.segment_bytes = 256 << 10};
    struct state state = {0};
    struct store *s;
    if (writes)
        must(store_sync_parse(str_of(argv[3]), &o, &e), &e, "options");
    must(disk_open(argv[2], 1, &o.disk, &e), &e, "open");
    must(store_open(&o, &s, &e), &e, "open");
    const struct store_recovery recovery = {&state, on_snapshot, on_record};
    must(store_recover(s, &recovery, NULL, &e), &e, "recover");
    if (writes)
        write_for_ever(s, &state, &e);
    printf("%llu\n", (unsigned long long)state.last);
    store_close(s);
    disk_free(o.disk);
    return 0;
}
