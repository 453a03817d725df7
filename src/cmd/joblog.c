/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/joblog.h"

#include "base/mem.h"
#include "wire/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FLUSH_BYTES = 1 << 16, TEXT_BYTES_MAX = 1 << 26 };

struct joblog {
    int fd, error; /* errno of the first write that failed */
    const char *path, *job;
    char *const *words;
    const struct ledger_spec *spec;
    struct buf out, room;
};

static void flush(struct joblog *j)
{
    while (buf_len(&j->out) > 0 && !j->error) {
        ssize_t n = write(j->fd, buf_ptr(&j->out), buf_len(&j->out));
        if (n >= 0)
            buf_consume(&j->out, (size_t)n);
        else if (errno != EINTR)
            j->error = errno;
    }
    buf_clear(&j->out);
}

int joblog_open(struct joblog **ret_log, const char *path, char *const *words, const char *job,
                const struct ledger_spec *spec, struct err *err)
{
    struct joblog *j = mem_zalloc(sizeof *j);
    struct stat st;
    if (!j)
        return err_set(err, TTG_ENOMEM, "out of memory");
    *j = (struct joblog){.path = path, .words = words, .job = job, .spec = spec};
    buf_init(&j->out, TEXT_BYTES_MAX);
    buf_init(&j->room, TEXT_BYTES_MAX);
    j->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (j->fd < 0 || fstat(j->fd, &st) != 0) {
        int rc = err_set_errno(err, errno, "cannot open the job log %s", path);
        mem_free(j);
        return rc;
    }
    if (st.st_size == 0)
        buf_add_str(&j->out, STR("Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal"
                                 "\tCommand\n"));
    *ret_log = j;
    return 0;
}

/* One word of the command with its placeholders filled in; tabs and newlines would end a field. */
static void add_word(struct buf *out, const char *word, const char *const names[],
                     const char *const values[])
{
    for (const char *p = word; *p;) {
        size_t i = 0;
        while (names[i] && strncmp(p, names[i], strlen(names[i])) != 0)
            i++;
        if (names[i]) {
            buf_add_str(out, str_of(values[i]));
            p += strlen(names[i]);
        } else {
            buf_add_char(out, (unsigned char)*p < ' ' ? ' ' : *p);
            p++;
        }
    }
}

static void add_command(struct joblog *j, uint64_t chunk, uint64_t attempt)
{
    static const char *const names[] = {"{start}", "{end}", "{chunk}", "{attempt}", "{job}", NULL};
    uint64_t at = chunk * j->spec->chunk_params, left = j->spec->params - at;
    uint64_t count = left < j->spec->chunk_params ? left : j->spec->chunk_params;
    int64_t first = (int64_t)((uint64_t)j->spec->first + at);
    char texts[4][24];
    snprintf(texts[0], sizeof texts[0], "%lld", (long long)first);
    snprintf(texts[1], sizeof texts[1], "%lld", (long long)((uint64_t)first + count - 1));
    snprintf(texts[2], sizeof texts[2], "%llu", (unsigned long long)chunk);
    snprintf(texts[3], sizeof texts[3], "%llu", (unsigned long long)attempt);
    const char *values[] = {texts[0], texts[1], texts[2], texts[3], j->job};
    if (!j->words) /* a kernel without a command */
        buf_add_str(&j->out, j->spec->kernel);
    for (size_t i = 0; j->words && j->words[i]; i++) {
        if (i > 0)
            buf_add_char(&j->out, ' ');
        add_word(&j->out, j->words[i], names, values);
    }
    buf_add_char(&j->out, '\n');
}

/* "2026-02-09T10:00:12Z" as seconds since 1970; 0 when it is no date. */
static double seconds_of(struct str date)
{
    char text[32];
    struct tm tm = {0};
    snprintf(text, sizeof text, "%.*s", STR_ARG(date));
    return strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) ? (double)timegm(&tm) : 0;
}

void joblog_results(struct joblog *j, struct str lines)
{
    while (lines.len > 0) {
        struct str rest, line = str_cut(lines, '\n', &rest);
        struct message_result m;
        struct err err;
        uint64_t chunk;
        lines = rest;
        if (message_read_result(&m, line, &j->room, &err) ||
            message_chunk_number(m.chunk_id, &chunk))
            continue;
        double started = seconds_of(m.completed_at) - m.duration_seconds;
        size_t bytes = m.value == MESSAGE_OUTPUT_BASE64 ? m.text.len / 4 * 3 : m.text.len;
        buf_printf(&j->out, "%llu\t%.*s\t%.3f\t%.3f\t0\t%zu\t0\t0\t", (unsigned long long)chunk + 1,
                   STR_ARG(m.worker_id), started > 0 ? started : 0, m.duration_seconds, bytes);
        add_command(j, chunk, m.attempt);
        if (buf_len(&j->out) > FLUSH_BYTES)
            flush(j);
    }
    flush(j);
}

void joblog_dead(struct joblog *j, const struct queue_event *e)
{
    int status = 1, signal = 0;
    char reason[400];
    struct str rest, line = str_cut(e->text, '\n', &rest); /* behind it: what was said last */
    snprintf(reason, sizeof reason, "%.*s", STR_ARG(line));
    if (sscanf(reason, "exit status %d", &status) != 1)
        status = 1;
    for (int n = 1; n < 32 && !signal; n++) {
        char name[24];
        snprintf(name, sizeof name, "SIG%s", sigabbrev_np(n) ? sigabbrev_np(n) : "?");
        signal = strstr(reason, name) ? n : 0;
    }
    buf_printf(&j->out, "%lld\t%.*s\t%.3f\t0.000\t0\t0\t%d\t%d\t", (long long)e->chunk + 1,
               STR_ARG(e->from), (double)e->at_ms / 1000, signal ? 0 : status, signal);
    add_command(j, (uint64_t)e->chunk, e->value);
    flush(j);
}

int joblog_close(struct joblog *j, struct err *err)
{
    if (!j)
        return 0;
    flush(j);
    int rc = j->error ? err_set_errno(err, j->error, "cannot write the job log %s", j->path) : 0;
    close(j->fd);
    buf_done(&j->out);
    buf_done(&j->room);
    mem_free(j);
    return rc;
}
