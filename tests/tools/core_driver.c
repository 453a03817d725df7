/* SPDX-License-Identifier: Apache-2.0 */
/* core_driver - a core behind stdin and stdout, for tests that compare it with a real server.
 *
 * Input is a sequence of
 *     run NOW_MS CLIENT ARGC\n  LENGTH\n BYTES\n ...     run a command
 *     timeout CLIENT\n                                   a waiting client gives up
 *     reload\n                                           save, load into a new core, go on there
 *     replay\n                                           run the log again on a new core
 * The answer to each is any number of "reply CLIENT LENGTH\n BYTES", then "done WAITING\n" with the
 * number of clients that wait. reload and replay end the program with status 3 when the digests
 * differ. Waiting clients are served as a node does it: oldest first, when a key became ready. */
#include "base/buf.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "core/core.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORDS_MAX = 1 << 16, RECORDS_MAX = 1 << 20, CLIENTS_MAX = 64, LINE_BYTES_MAX = 100 };

struct record {
    uint64_t now_ms, client;
    size_t argc;
    struct str *argv;
    size_t key_at, key_count; /* of one that waits */
};

static struct core *core;
static struct record records[RECORDS_MAX];
static size_t record_count;
static struct record waiting[CLIENTS_MAX];
static struct buf resumes[CLIENTS_MAX];
static size_t waiting_count;
static struct str ready[WORDS_MAX]; /* keys, copied */
static size_t ready_count;

static void on_ready(void *ctx, struct str key)
{
    (void)ctx;
    ensure(ready_count < WORDS_MAX);
    ready[ready_count++] = str_make(mem_dup(key.ptr, key.len), key.len);
}

static void open_core(struct core **ret_core)
{
    struct core_env env = {.on_ready = on_ready};
    ensure(core_new(&env, ret_core) == 0);
}

static void free_record(struct record *r)
{
    for (size_t i = 0; i < r->argc; i++)
        mem_free((char *)(uintptr_t)r->argv[i].ptr);
    mem_free(r->argv);
}

static struct record copy_record(const struct record *r, uint64_t now_ms)
{
    struct record copy = *r;
    copy.now_ms = now_ms;
    copy.argv = mem_alloc((r->argc + 1) * sizeof *r->argv);
    for (size_t i = 0; i < r->argc; i++)
        copy.argv[i] = str_make(mem_dup(r->argv[i].ptr, r->argv[i].len), r->argv[i].len);
    return copy;
}

static void send_reply(uint64_t client, struct str bytes)
{
    printf("reply %" PRIu64 " %zu\n", client, bytes.len);
    fwrite(bytes.ptr, 1, bytes.len, stdout);
}

/* True when the command has been answered, false when it waits. */
static bool run(struct record *r, uint64_t now_ms, struct buf *resume, bool retry)
{
    struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    struct reply reply = {.out = &out};
    struct core_call call = {.now_ms = now_ms,
                             .client = r->client,
                             .argc = r->argc,
                             .argv = r->argv,
                             .reply = &reply,
                             .may_block = true,
                             .resume = resume,
                             .retry = retry};
    const struct core_command *command = r->argc ? core_find(r->argv[0]) : NULL;
    if (!command) {
        reply_error(&reply, "ERR unknown command");
    } else if (command->arity >= 0 ? (size_t)command->arity != r->argc
                                   : (size_t)-command->arity > r->argc) {
        char name[40] = "";
        for (size_t i = 0; command->name[i]; i++)
            name[i] = (char)(command->name[i] | 0x20);
        reply_error(&reply, "ERR wrong number of arguments for '%s' command", name);
    } else {
        core_exec(core, command, &call);
    }
    if (!call.blocked)
        send_reply(r->client, buf_str(&out));
    r->key_at = call.key_at;
    r->key_count = call.key_count;
    if (call.changed) {
        ensure(record_count < RECORDS_MAX);
        records[record_count++] = copy_record(r, now_ms);
    }
    buf_done(&out);
    return !call.blocked;
}

static void forget(size_t i)
{
    free_record(&waiting[i]);
    buf_done(&resumes[i]);
    waiting_count--;
    memmove(&waiting[i], &waiting[i + 1], (waiting_count - i) * sizeof *waiting);
    memmove(&resumes[i], &resumes[i + 1], (waiting_count - i) * sizeof *resumes);
}

static bool waits_for(const struct record *r, struct str key)
{
    for (size_t i = 0; i < r->key_count; i++)
        if (str_eq(r->argv[r->key_at + i], key))
            return true;
    return false;
}

static void serve_waiting(uint64_t now_ms)
{
    while (ready_count > 0) {
        struct str key = ready[0];
        memmove(ready, ready + 1, --ready_count * sizeof *ready);
        for (size_t i = 0; i < waiting_count;) {
            if (waits_for(&waiting[i], key) && run(&waiting[i], now_ms, &resumes[i], true))
                forget(i);
            else
                i++;
        }
        mem_free((char *)(uintptr_t)key.ptr);
    }
}

static void drop_ready(void)
{
    while (ready_count > 0)
        mem_free((char *)(uintptr_t)ready[--ready_count].ptr);
}

static void read_bytes(char *to, size_t len)
{
    if (len > 0 && fread(to, 1, len, stdin) != len)
        exit(2);
}

static void command_run(const char *line)
{
    struct record r = {0};
    if (sscanf(line, "run %" SCNu64 " %" SCNu64 " %zu", &r.now_ms, &r.client, &r.argc) != 3)
        exit(2);
    r.argv = mem_zalloc((r.argc + 1) * sizeof *r.argv);
    for (size_t i = 0; i < r.argc; i++) {
        char text[LINE_BYTES_MAX];
        if (!fgets(text, sizeof text, stdin))
            exit(2);
        size_t len = strtoull(text, NULL, 10);
        char *bytes = mem_alloc(len + 1);
        read_bytes(bytes, len + 1);
        r.argv[i] = str_make(bytes, len);
    }
    buf_init(&resumes[waiting_count], 1 << 20);
    if (run(&r, r.now_ms, &resumes[waiting_count], false)) {
        free_record(&r);
        buf_done(&resumes[waiting_count]);
    } else {
        ensure(waiting_count + 1 < CLIENTS_MAX);
        waiting[waiting_count++] = r;
    }
    serve_waiting(r.now_ms);
}

static void command_timeout(const char *line)
{
    uint64_t client;
    if (sscanf(line, "timeout %" SCNu64, &client) != 1)
        exit(2);
    for (size_t i = 0; i < waiting_count; i++) {
        if (waiting[i].client != client)
            continue;
        send_reply(client, STR("*-1\r\n"));
        forget(i);
        return;
    }
}

static int append(void *ctx, struct str bytes)
{
    return buf_add_str(ctx, bytes);
}

/* The new core takes the place of the old one if it holds the same. */
static void swap_in(struct core *fresh)
{
    if (core_digest(core) != core_digest(fresh)) {
        printf("DIGESTS DIFFER\n");
        exit(3);
    }
    core_free(core);
    core = fresh;
}

static void command_reload(void)
{
    struct buf bytes;
    struct core *fresh;
    buf_init(&bytes, SIZE_MAX / 2);
    open_core(&fresh);
    ensure(core_save(core, append, &bytes) == 0);
    if (core_load(fresh, buf_str(&bytes)))
        exit(3);
    buf_done(&bytes);
    swap_in(fresh);
}

static void command_replay(void)
{
    struct core *fresh;
    open_core(&fresh);
    for (size_t i = 0; i < record_count; i++) {
        struct reply reply = {0};
        struct core_call call = {.now_ms = records[i].now_ms,
                                 .client = records[i].client,
                                 .argc = records[i].argc,
                                 .argv = records[i].argv,
                                 .reply = &reply};
        core_exec(fresh, core_find(records[i].argv[0]), &call);
        ensure(call.changed);
    }
    swap_in(fresh);
}

int main(void)
{
    char line[LINE_BYTES_MAX];
    open_core(&core);
    while (fgets(line, sizeof line, stdin)) {
        if (strncmp(line, "run ", 4) == 0)
            command_run(line);
        else if (strncmp(line, "timeout ", 8) == 0)
            command_timeout(line);
        else if (strncmp(line, "reload", 6) == 0)
            command_reload();
        else
            command_replay();
        drop_ready();
        printf("done %zu\n", waiting_count);
        fflush(stdout);
    }
    while (waiting_count > 0)
        forget(0);
    while (record_count > 0)
        free_record(&records[--record_count]);
    core_free(core);
    return 0;
}
