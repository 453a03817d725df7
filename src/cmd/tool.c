/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/tool.h"

#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { OUTPUT_BYTES_MAX = 1 << 22, TIMEOUT_MS = 30000 };

struct call {
    struct process process;
    bool ended;
    struct process_exit exit;
};

static void on_exit_of(struct process *p, struct process_exit e)
{
    struct call *c = container_of(p, struct call, process);
    c->ended = true;
    c->exit = e;
}

void tool_said(int fd, struct buf *out)
{
    char *room;
    ssize_t n = 1;
    for (off_t at = 0; n > 0 && buf_reserve(out, 4096, &room) == 0; at += n) {
        n = pread(fd, room, 4096, at);
        if (n > 0)
            buf_grew(out, (size_t)n);
    }
}

int tool_output(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC), moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0)
        close(fd);
    return moved;
}

/* What it complained about last; before it there may be pages of its log. */
static void last_line(struct str text, char *out, size_t bytes)
{
    struct str line = STR(""), rest = str_trim(text);
    while (rest.ptr)
        line = str_cut(rest, '\n', &rest);
    snprintf(out, bytes, "%.*s", STR_ARG(line));
}

int tool_run(struct loop *loop, _Atomic pid_t *group, const char *const *words, struct buf *out,
             struct err *err)
{
    struct call call = {0};
    struct buf said;
    char *file = NULL, line[256];
    int rc = process_find(words[0], &file, err);
    if (rc)
        return rc;
    int fds[2] = {tool_output("out"), tool_output("err")};
    struct process_spec spec = {.file = file,
                                .argv = (char *const *)(uintptr_t)words,
                                .envp = environ,
                                .fds = {-1, fds[0], fds[1]},
                                .group = group};
    buf_init(&said, OUTPUT_BYTES_MAX);
    rc = process_start(&call.process, loop, &spec, on_exit_of, err);
    uint64_t until_ms = loop_now_update(loop) / 1000000 + TIMEOUT_MS;
    while (!rc && !call.ended && loop_now_ms(loop) < until_ms)
        loop_turn(loop, until_ms - loop_now_ms(loop));
    if (!rc && !call.ended) {
        process_kill(&call.process);
        rc = err_set(err, TTG_ETIMEOUT, "%s does not answer", words[0]);
    }
    tool_said(fds[1], &said);
    last_line(buf_str(&said), line, sizeof line);
    if (!rc && call.exit.status != 0)
        rc = err_set(err, TTG_ECHILD, "%s: %s", words[0], line);
    if (!rc && out)
        tool_said(fds[0], out);
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    buf_done(&said);
    mem_free(file);
    return rc;
}
