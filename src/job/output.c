/* SPDX-License-Identifier: Apache-2.0 */
#include "job/output.h"

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "io/disk.h"
#include "io/file_read.h"
#include "io/lock.h"
#include "io/stdio.h"
#include "job/raw.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CURSOR_TEXT_BYTES = 1024,
    OUTPUT_PATH_BYTES = 4096,
    RAW_BYTES_MAX = 1 << 30,
    /* So much of so large lines does not stay in memory once it is on disk: what comes next is
     * written much faster into the pages that it leaves. */
    FORGET_BYTES = 1 << 20,
    FORGET_LINE_BYTES = 4096,
};

struct output {
    int fd; /* -1: standard output */
    bool raw;
    struct buf text, room; /* raw: of the lines at hand */
    char path[OUTPUT_PATH_BYTES], cursor_path[OUTPUT_PATH_BYTES];
    char job[128];
    struct output_cursor at, synced; /* synced: how far it was known to be on disk */
};

/* The cursor is a line of text, so that people can read it, with a checksum at its end. */
static int cursor_format(const struct output *o, const struct output_cursor *c, char *out)
{
    int n = snprintf(out, CURSOR_TEXT_BYTES,
                     "ttg-cursor 1 job=%s created_ms=%llu seq=%llu bytes=%llu lines=%llu", o->job,
                     (unsigned long long)c->job_created_ms, (unsigned long long)c->seq,
                     (unsigned long long)c->bytes, (unsigned long long)c->lines);
    if (c->history[0])
        n += snprintf(out + n, CURSOR_TEXT_BYTES - (size_t)n, " history=%s", c->history);
    return n + snprintf(out + n, CURSOR_TEXT_BYTES - (size_t)n, " crc=%08x\n",
                        hash_crc32c(0, out, (size_t)n));
}

static int cursor_read(struct output *o, struct err *err)
{
    struct buf text;
    char again[CURSOR_TEXT_BYTES], job[65];
    unsigned long long created, seq, bytes, lines;
    buf_init(&text, CURSOR_TEXT_BYTES - 1);
    int rc = file_read(o->cursor_path, &text, err);
    if (rc) {
        buf_done(&text);
        return rc;
    }
    const char *line = buf_cstr(&text);
    int fields =
        line ? sscanf(line, "ttg-cursor 1 job=%64s created_ms=%llu seq=%llu bytes=%llu lines=%llu",
                      job, &created, &seq, &bytes, &lines)
             : 0;
    if (fields == 5) {
        const char *history = strstr(line, " history=");
        o->at = (struct output_cursor){created, seq, bytes, lines, ""};
        if (history && sscanf(history, " history=%511s", o->at.history) != 1)
            o->at.history[0] = '\0'; /* and the texts differ */
        snprintf(o->job, sizeof o->job, "%s", job);
        cursor_format(o, &o->at, again);
    }
    if (fields != 5 || !str_eq(str_of(again), buf_str(&text)))
        rc = err_set(err, TTG_ECORRUPT,
                     "%s is damaged; remove it and the output to collect all results again",
                     o->cursor_path);
    buf_done(&text);
    return rc;
}

static int sync_directory(const char *path, struct err *err)
{
    char dir[OUTPUT_PATH_BYTES] = ".";
    const char *slash = strrchr(path, '/');
    if (slash)
        snprintf(dir, sizeof dir, "%.*s", (int)(slash - path + 1), path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int e = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return e ? err_set_errno(err, e, "cannot sync %s", dir) : 0;
}

/* Aside and swapped, so that there is always a whole one. */
static int cursor_write(const struct output *o, const struct output_cursor *c, struct err *err)
{
    char text[CURSOR_TEXT_BYTES], aside[OUTPUT_PATH_BYTES + 8];
    int len = cursor_format(o, c, text);
    snprintf(aside, sizeof aside, "%s.new", o->cursor_path);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int e = fd < 0 ? errno : 0;
    if (!e && write(fd, text, (size_t)len) != len)
        e = errno ? errno : ENOSPC;
    if (!e && fdatasync(fd) != 0)
        e = errno;
    if (fd >= 0)
        close(fd);
    if (!e && rename(aside, o->cursor_path) != 0)
        e = errno;
    return e ? err_set_errno(err, e, "cannot write %s", o->cursor_path)
             : sync_directory(o->cursor_path, err);
}

/* An output that is there: goes on behind the cursor. */
static int output_resume(struct output *o, const struct output_spec *spec, struct err *err)
{
    struct stat st;
    if (fstat(o->fd, &st) != 0)
        return err_set_errno(err, errno, "cannot look at %s", o->path);
    int rc = cursor_read(o, err);
    if (rc == TTG_ENOENT && st.st_size > 0)
        return err_set(err, TTG_EEXIST,
                       "%s is not empty and has no cursor %s: its job is complete, or it is no "
                       "output of ttg",
                       o->path, o->cursor_path);
    if (rc == TTG_ENOENT) { /* the crash came before the first save */
        o->at = (struct output_cursor){spec->job_created_ms, 0, 0, 0, ""};
        return cursor_write(o, &o->at, err);
    }
    if (rc)
        return rc;
    if (strcmp(o->job, spec->job) != 0 || o->at.job_created_ms != spec->job_created_ms)
        return err_set(err, TTG_ESTALE,
                       "%s belongs to another run of job %s; choose another --output",
                       o->cursor_path, o->job);
    if ((uint64_t)st.st_size < o->at.bytes)
        return err_set(
            err, TTG_ECORRUPT,
            "%s has %llu bytes, its cursor says %llu: was it changed? Remove it and %s to "
            "collect all results again",
            o->path, (unsigned long long)st.st_size, (unsigned long long)o->at.bytes,
            o->cursor_path);
    if (ftruncate(o->fd, (off_t)o->at.bytes) != 0)
        return err_set_errno(err, errno, "cannot cut %s", o->path);
    return 0;
}

static int output_open_file(struct output *o, const struct output_spec *spec, struct err *err)
{
    struct stat st;
    const char *cursor = spec->cursor_path;
    if (strlen(spec->path) >= sizeof o->path - 16 ||
        (cursor && strlen(cursor) >= sizeof o->cursor_path - 16))
        return err_set(err, TTG_ERANGE, "the path of the output is too long");
    snprintf(o->path, sizeof o->path, "%s", spec->path);
    snprintf(o->cursor_path, sizeof o->cursor_path, cursor ? "%s" : "%s.cursor",
             cursor ? cursor : spec->path);
    /* Appending: when others cut the file or add to it, its length tells for ever. */
    o->fd = open(spec->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (o->fd < 0 || fstat(o->fd, &st) != 0)
        return err_set_errno(err, errno, "cannot open the output %s", spec->path);
    if (!S_ISREG(st.st_mode))
        return err_set(err, TTG_EINVAL, "the output %s is no regular file; use standard output",
                       spec->path);
    if (lock_file(o->fd) != 0)
        return err_set(err, TTG_EBUSY, "another process collects into %s", spec->path);
    if (spec->resume)
        return output_resume(o, spec, err);
    if (st.st_size > 0)
        return err_set(err, TTG_EEXIST,
                       "the output %s is not empty; remove it, choose another, or continue with "
                       "--resume",
                       spec->path);
    o->at = (struct output_cursor){spec->job_created_ms, 0, 0, 0, ""};
    return cursor_write(o, &o->at, err);
}

int output_open(struct output **ret_output, const struct output_spec *spec,
                struct output_cursor *ret_cursor, struct err *err)
{
    struct output *o = mem_zalloc(sizeof *o);
    if (!o)
        return err_set(err, TTG_ENOMEM, "out of memory");
    o->fd = -1;
    o->raw = spec->raw;
    buf_init(&o->text, RAW_BYTES_MAX);
    buf_init(&o->room, RAW_BYTES_MAX);
    snprintf(o->job, sizeof o->job, "%s", spec->job);
    o->at.job_created_ms = spec->job_created_ms;
    int rc = spec->path ? output_open_file(o, spec, err) : 0;
    if (rc) {
        output_close(o);
        return rc;
    }
    o->synced = o->at;
    *ret_cursor = o->at;
    *ret_output = o;
    return 0;
}

void output_close(struct output *o)
{
    if (!o)
        return;
    if (o->fd >= 0)
        close(o->fd);
    buf_done(&o->text);
    buf_done(&o->room);
    mem_free(o);
}

static int print(struct output *o, struct str lines, struct err *err)
{
    int rc = 0;
    if (o->raw) {
        buf_clear(&o->text);
        rc = raw_add(&o->text, lines, &o->room, err);
        lines = buf_str(&o->text);
    }
    return rc ? rc : stdio_write(lines, err);
}

int output_add(struct output *o, struct str lines, uint64_t line_count, struct err *err)
{
    if (o->fd < 0) {
        int rc = print(o, lines, err);
        o->at.lines += rc ? 0 : line_count;
        return rc;
    }
    size_t done = 0;
    while (done < lines.len) {
        ssize_t n = write(o->fd, lines.ptr + done, lines.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int e = n < 0 ? errno : ENOSPC;
            /* Back to whole lines: the same ones come again. */
            if (ftruncate(o->fd, (off_t)o->at.bytes) != 0)
                return err_set_errno(err, errno, "cannot cut the output %s", o->path);
            return err_set_errno(err, e, "cannot write the output %s", o->path);
        }
        done += (size_t)n;
    }
    o->at.bytes += lines.len;
    o->at.lines += line_count;
    return 0;
}

/* Whether the file is still the one we wrote: what was saved in it is trimmed from the queue. */
static int still_there(const struct output *o, struct err *err)
{
    struct stat ours, named;
    const char *what = NULL;
    if (fstat(o->fd, &ours) != 0)
        return err_set_errno(err, errno, "cannot look at %s", o->path);
    if (stat(o->path, &named) != 0)
        what = "was removed";
    else if (named.st_ino != ours.st_ino || named.st_dev != ours.st_dev)
        what = "is another file now";
    else if ((uint64_t)ours.st_size != o->at.bytes)
        what = "was changed";
    return what ? err_set(err, TTG_ECORRUPT,
                          "the output %s %s while it was written: results in it may be lost; to "
                          "compute them again, start without --resume and with another --output",
                          o->path, what)
                : 0;
}

static void forget_large(const struct output *o, const struct output_cursor *before)
{
    uint64_t bytes = o->at.bytes - before->bytes, lines = o->at.lines - before->lines;
    if (bytes >= FORGET_BYTES && bytes / FORGET_LINE_BYTES >= lines)
        disk_forget_file(o->fd, before->bytes, bytes);
}

int output_save(struct output *o, uint64_t seq, const char *history, bool *ret_saved,
                struct err *err)
{
    struct output_cursor next = o->at;
    *ret_saved = o->fd >= 0;
    if (o->fd < 0)
        return 0;
    int rc = still_there(o, err);
    if (rc)
        return rc;
    if (fdatasync(o->fd) != 0)
        return err_set_errno(err, errno, "cannot sync the output %s", o->path);
    forget_large(o, &o->synced);
    o->synced = o->at;
    next.seq = seq;
    snprintf(next.history, sizeof next.history, "%s", history);
    rc = cursor_write(o, &next, err);
    if (!rc)
        o->at = next;
    return rc;
}

bool output_is_file(const struct output *o)
{
    return o->fd >= 0;
}

/* Where the first byte behind the `skip`-th newline from the end stands: lines are taken back in
 * small numbers, so it is looked for from there. */
static int find_back(const struct output *o, uint64_t skip, uint64_t *ret_bytes, struct err *err)
{
    char block[65536];
    uint64_t at = o->at.bytes;
    while (at > 0) {
        size_t len = at < sizeof block ? (size_t)at : sizeof block;
        ssize_t n = pread(o->fd, block, len, (off_t)(at - len));
        if (n != (ssize_t)len)
            return err_set_errno(err, n < 0 ? errno : EIO, "cannot read back %s", o->path);
        for (size_t i = len; i-- > 0;)
            if (block[i] == '\n' && skip-- == 0) {
                *ret_bytes = at - len + i + 1;
                return 0;
            }
        at -= len;
    }
    *ret_bytes = 0;
    return 0;
}

int output_line(struct output *o, uint64_t lines, struct buf *out, uint64_t *ret_bytes,
                struct err *err)
{
    uint64_t from, to;
    char *at;
    buf_clear(out);
    if (lines > o->at.lines)
        return err_set(err, TTG_ECORRUPT, "%s has only %llu lines", o->path,
                       (unsigned long long)o->at.lines);
    int rc = find_back(o, o->at.lines - lines, &to, err);
    if (!rc && lines > 0)
        rc = find_back(o, o->at.lines - lines + 1, &from, err);
    if (rc || lines == 0) {
        *ret_bytes = 0;
        return rc;
    }
    rc = buf_reserve(out, to - from, &at);
    if (rc)
        return err_set(err, rc, "%s: %s", o->path, err_text(rc));
    if (pread(o->fd, at, to - from, (off_t)from) != (ssize_t)(to - from))
        return err_set_errno(err, EIO, "cannot read back %s", o->path);
    buf_grew(out, to - from);
    *ret_bytes = to;
    return 0;
}

/* First the cursor: a crash before the cut finds a file that is longer than it says, as always. */
int output_cut(struct output *o, uint64_t lines, uint64_t bytes, uint64_t seq, const char *history,
               struct err *err)
{
    struct output_cursor next = o->at;
    next.lines = lines;
    next.bytes = bytes;
    next.seq = seq;
    snprintf(next.history, sizeof next.history, "%s", history);
    int rc = cursor_write(o, &next, err);
    if (rc)
        return rc;
    o->at = o->synced = next;
    if (ftruncate(o->fd, (off_t)bytes) != 0)
        return err_set_errno(err, errno, "cannot cut %s", o->path);
    return 0;
}

int output_finish(struct output *o, struct err *err)
{
    if (o->fd < 0)
        return 0;
    int rc = still_there(o, err);
    if (rc)
        return rc;
    if (unlink(o->cursor_path) != 0 && errno != ENOENT)
        return err_set_errno(err, errno, "cannot remove %s", o->cursor_path);
    return sync_directory(o->cursor_path, err);
}

uint64_t output_lines(const struct output *o)
{
    return o->at.lines;
}
