/* SPDX-License-Identifier: Apache-2.0 */
/* source_kind - the lines of a file, or of what a command prints, become messages.
 *
 * A cursor file counts the lines that are safe with the queue; after a restart so many are passed
 * over, so a command must print the same again. What lay between the last cursor and a crash is
 * sent twice, under the same ids, which count lines. */
#include "base/log.h"
#include "base/mem.h"
#include "io/file_read.h"
#include "io/guard.h"
#include "io/process.h"
#include "pipeline/kinds.h"
#include "worker/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { AHEAD_BYTES = 1 << 20, CURSOR_EVERY_MS = 200 };

struct source {
    struct part *part;
    struct process process;
    struct guard *guard;
    char *file; /* of the command */
    struct stream out;
    int fd;          /* of the file; -1 */
    struct buf text; /* read and not committed */
    size_t taken;    /* bytes of it in the commit under way, or being put together */
    uint64_t lines, taken_lines;
    uint64_t skip; /* lines still to be passed over */
    bool eof, exited, opened, ended, ending;
    uint64_t cursor_ms;
    char path[PIPE_NAME_BYTES + 4096];
};

static struct source *source_of(const struct part *p)
{
    return p->own;
}

static void fail(struct source *s, int code, const char *text)
{
    struct err err;
    err_set(&err, code, "source %s: %s", s->part->stage->name, text);
    part_fail(s->part, &err);
}

/* --- the cursor --- */

static int save_cursor(struct source *s, struct err *err)
{
    char text[64], fresh[sizeof s->path + 8];
    int n = snprintf(text, sizeof text, "%llu%s\n", (unsigned long long)s->lines,
                     s->ended ? " ended" : "");
    snprintf(fresh, sizeof fresh, "%s.new", s->path);
    s->cursor_ms = loop_now_ms(s->part->config.loop);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, text, (size_t)n) == n;
    if (fd >= 0)
        close(fd);
    if (good && rename(fresh, s->path) == 0)
        return 0;
    /* Only lines that are sent twice, and known by their ids: no reason to stop. */
    log_warn("source.cursor", kv_str("file", s->path), kv_str("reason", strerror(errno)));
    (void)err;
    return 0;
}

static int load_cursor(struct source *s, struct err *err)
{
    struct buf text;
    buf_init(&text, 256);
    int rc = file_read(s->path, &text, err);
    if (rc == TTG_ENOENT) {
        buf_done(&text);
        return 0;
    }
    struct str rest, line = str_cut(buf_str(&text), '\n', &rest);
    struct str number = str_cut(line, ' ', &rest);
    if (!rc && str_to_u64(number, &s->lines))
        rc = err_set(err, TTG_ECORRUPT, "%s holds no number of lines", s->path);
    s->ended = !rc && str_eq(rest, STR("ended"));
    s->skip = s->lines;
    buf_done(&text);
    return rc;
}

/* --- reading --- */

static void pass_over(struct source *s)
{
    while (s->skip > 0) {
        struct str all = buf_str(&s->text);
        const char *end = all.len ? memchr(all.ptr, '\n', all.len) : NULL;
        if (!end)
            return;
        buf_consume(&s->text, (size_t)(end - all.ptr) + 1);
        s->skip--;
    }
}

static void at_end(struct source *s)
{
    s->eof = true;
    if (buf_len(&s->text) > 0 && buf_ptr(&s->text)[buf_len(&s->text) - 1] != '\n' &&
        buf_add_char(&s->text, '\n'))
        fail(s, TTG_ENOMEM, "out of memory");
    pass_over(s);
    if (s->skip > 0)
        fail(s, TTG_EUSAGE, "it has fewer lines than it had; a source must give the same again");
}

static void read_file(struct source *s)
{
    while (!s->eof && buf_len(&s->text) < AHEAD_BYTES) {
        char *at;
        if (buf_reserve(&s->text, STREAM_READ_BYTES, &at)) {
            fail(s, TTG_ENOMEM, "out of memory, or a line that is too long");
            return;
        }
        ssize_t n = read(s->fd, at, STREAM_READ_BYTES);
        if (n < 0 && errno != EINTR) {
            fail(s, err_from_errno(errno), strerror(errno));
            return;
        }
        if (n == 0)
            at_end(s);
        if (n > 0)
            buf_grew(&s->text, (size_t)n);
        pass_over(s);
    }
}

static void on_out(struct loop_poll *poll, unsigned events)
{
    struct source *s = container_of(poll, struct source, out.poll);
    (void)events;
    int n = stream_read(&s->out, &s->text);
    if (n == TTG_EAGAIN)
        return;
    if (n < 0) {
        fail(s, n, "reading what the command prints");
        return;
    }
    if (n == 0)
        stream_close(&s->out);
    pass_over(s);
    if (n == 0 && s->exited)
        at_end(s);
    if (buf_len(&s->text) >= AHEAD_BYTES && stream_is_open(&s->out) && s->skip == 0)
        loop_poll_stop(&s->out.poll); /* the command waits in its pipe */
    part_pump(s->part);
}

static void on_exit_of(struct process *p, struct process_exit e)
{
    struct source *s = container_of(p, struct source, process);
    char text[128], room[PROCESS_SIGNAL_BYTES];
    if (e.signal || e.status != 0) {
        snprintf(text, sizeof text, "its command %s %s", e.signal ? "was killed by" : "failed:",
                 e.signal ? process_signal_name(e.signal, room) : "exit status not 0");
        fail(s, TTG_ECHILD, text);
        return;
    }
    s->exited = true;
    if (!stream_is_open(&s->out)) {
        at_end(s);
        part_pump(s->part);
    }
}

static int start_command(struct source *s, struct err *err)
{
    const struct spec_stage *st = s->part->stage;
    struct process_spec spec = {.argv = st->argv, .envp = environ, .fds = {-1, -1, -1}};
    int rc = process_find(st->argv[0], &s->file, err);
    if (!rc)
        rc = guard_open(&s->guard, 1, err);
    if (!rc)
        rc = stream_open(&s->out, false, &spec.fds[1], err);
    if (rc)
        return rc;
    spec.file = s->file;
    spec.group = guard_slot(s->guard, 0);
    spec.fds[2] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    rc = process_start(&s->process, s->part->config.loop, &spec, on_exit_of, err);
    close(spec.fds[1]);
    if (spec.fds[2] >= 0)
        close(spec.fds[2]);
    if (!rc)
        rc = stream_watch(&s->out, s->part->config.loop, LOOP_READ, on_out);
    return rc;
}

static int source_ready(struct part *p, struct err *err)
{
    struct source *s = source_of(p);
    s->taken = 0; /* what was not committed is sent again */
    s->taken_lines = 0;
    s->ending = false;
    if (s->opened)
        return 0;
    s->opened = true;
    int rc = load_cursor(s, err);
    if (rc || s->ended) {
        p->finished = s->ended;
        return rc;
    }
    if (p->stage->argv)
        return start_command(s, err);
    s->fd = open(p->stage->path, O_RDONLY | O_CLOEXEC);
    return s->fd < 0 ? err_set_errno(err, errno, "source %s: %s", p->stage->name, p->stage->path)
                     : 0;
}

/* --- sending --- */

static bool has_line(const struct source *s)
{
    size_t left = buf_len(&s->text) - s->taken;
    return s->skip == 0 && left > 0 && memchr(buf_ptr(&s->text) + s->taken, '\n', left) != NULL;
}

static bool source_wants(const struct part *p)
{
    const struct source *s = source_of(p);
    if (s->ended || p->draining || !s->opened)
        return false;
    return has_line(s) || s->eof || s->fd >= 0;
}

static int send_line(struct source *s, struct str line, uint64_t number)
{
    struct part *p = s->part;
    struct message m = {.client = str_of(p->stage->name)};
    struct err err = {0};
    char id[MESSAGE_TEXT_BYTES_MAX];
    struct buf value;
    int rc = 0;
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (str_trim(line).len == 0 && !p->stage->text)
        return 0;
    buf_init(&value, MESSAGE_BYTES_MAX);
    if (p->stage->text) {
        rc = buf_add_json(&value, line);
        m.value = buf_str(&value);
    } else if (message_parse(line, true, &m, &p->room, &err)) {
        rc = part_send_dead(p, line, str_of(err.text), 0);
        buf_done(&value);
        return rc;
    }
    if (!m.has_client && !p->stage->text)
        m.client = str_of(p->stage->name);
    int n = snprintf(id, sizeof id, "%s:%llu", p->stage->name, (unsigned long long)number);
    if (m.id.len == 0)
        m.id = str_make(id, (size_t)n);
    if (!rc)
        rc = m.end ? part_send_end(p, m.client, STR("")) : part_send(p, &m);
    p->counts.in += !m.end;
    p->counts.ends += m.end;
    buf_done(&value);
    return rc;
}

static void source_work(struct part *p)
{
    struct source *s = source_of(p);
    int rc = 0;
    if (s->fd >= 0)
        read_file(s);
    for (int i = 0; i < PART_BATCH && has_line(s) && !rc && !part_is_enough(p); i++) {
        struct str rest, all = buf_str(&s->text);
        struct str line = str_cut(str_make(all.ptr + s->taken, all.len - s->taken), '\n', &rest);
        rc = send_line(s, line, s->lines + s->taken_lines + 1);
        s->taken += line.len + 1;
        s->taken_lines++;
    }
    if (!rc && s->eof && !has_line(s) && !p->over) {
        rc = part_send_end(p, MESSAGE_ALL, STR(""));
        s->ending = true;
    }
    if (rc)
        fail(s, rc, err_text(rc));
    else
        part_commit(p);
}

static int source_committed(struct part *p, struct err *err)
{
    struct source *s = source_of(p);
    buf_consume(&s->text, s->taken);
    s->lines += s->taken_lines;
    s->taken = 0;
    s->taken_lines = 0;
    s->ended = s->ending;
    p->finished = s->ended;
    if (stream_is_open(&s->out) && !s->out.poll.loop && buf_len(&s->text) < AHEAD_BYTES / 2) {
        int rc = stream_watch(&s->out, p->config.loop, LOOP_READ, on_out);
        if (rc)
            return err_set(err, rc, "source %s: %s", p->stage->name, err_text(rc));
    }
    if (s->ended || loop_now_ms(p->config.loop) - s->cursor_ms >= CURSOR_EVERY_MS)
        return save_cursor(s, err);
    return 0;
}

/* --- life --- */

static int source_open(struct part *p, struct err *err)
{
    struct source *s = p->own = mem_zalloc(sizeof *s);
    if (!s)
        return err_set(err, TTG_ENOMEM, "out of memory");
    s->part = p;
    s->fd = -1;
    stream_init(&s->out);
    buf_init(&s->text, MESSAGE_BYTES_MAX + AHEAD_BYTES);
    int n = snprintf(s->path, sizeof s->path, "%s/%s.cursor", p->config.state, p->stage->name);
    return n < (int)sizeof s->path ? 0 : err_set(err, TTG_EUSAGE, "the state's path is too long");
}

static void source_close(struct part *p)
{
    struct source *s = source_of(p);
    struct err err;
    if (!s)
        return;
    if (p->owned && s->opened && !s->ended && s->lines > 0)
        save_cursor(s, &err);
    process_kill(&s->process);
    stream_close(&s->out);
    guard_close(s->guard);
    if (s->fd >= 0)
        close(s->fd);
    mem_free(s->file);
    buf_done(&s->text);
    mem_free(s);
    p->own = NULL;
}

const struct part_kind source_kind = {.open = source_open,
                                      .close = source_close,
                                      .ready = source_ready,
                                      .work = source_work,
                                      .wants = source_wants,
                                      .committed = source_committed};
