/* SPDX-License-Identifier: Apache-2.0 */
/* sink_kind - the last stage: each record is one line of a file, once.
 *
 * A record is a message and carries its id, so the file itself says what was written: at a start it
 * is read, a torn last line is cut, and an id that is there already is passed over. A message is
 * acknowledged when its line is on disk. Beside the state, STAGE.ends says which clients have
 * ended on which paths. Who writes holds a lock on the file, so an owner that was stopped and lost
 * the sink cannot write beside the next one. */
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/lock.h"
#include "pipeline/kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 20, FULL_PAUSE_MS = 500, SLOTS_MIN = 1024 };

struct id {
    uint64_t a, b; /* both 0: free */
};

struct sink {
    struct part *part;
    int fd, ends_fd;
    off_t bytes, ends_bytes;          /* safe */
    struct buf pending, pending_ends; /* to be written */
    struct loop_timer full;
    bool told_full, writing;
    struct id *slots;
    size_t slot_count, id_count;
    struct ends ends;
    uint64_t expected, expected_all;
    struct buf room;
};

static struct sink *sink_of(const struct part *p)
{
    return p->own;
}

/* --- the ids that are in the file --- */

static struct id *slot_of(struct id *slots, size_t count, struct id id)
{
    size_t i = (size_t)id.a & (count - 1);
    while ((slots[i].a | slots[i].b) != 0 && (slots[i].a != id.a || slots[i].b != id.b))
        i = (i + 1) & (count - 1);
    return &slots[i];
}

static int ids_grow(struct sink *s)
{
    size_t count = s->slot_count ? s->slot_count * 2 : SLOTS_MIN;
    struct id *slots = mem_zalloc(count * sizeof *slots);
    if (!slots)
        return TTG_ENOMEM;
    for (size_t i = 0; i < s->slot_count; i++)
        if ((s->slots[i].a | s->slots[i].b) != 0)
            *slot_of(slots, count, s->slots[i]) = s->slots[i];
    mem_free(s->slots);
    s->slots = slots;
    s->slot_count = count;
    return 0;
}

/* *ret_new: it was not in yet. 128 bits: two of 10^12 ids meet with a chance of 10^-15. */
static int ids_add(struct sink *s, const struct message *m, bool *ret_new)
{
    struct id id = {
        hash_xxh3_two(m->client.ptr, m->client.len, m->id.ptr, m->id.len, m->client.len),
        hash_xxh3_two(m->client.ptr, m->client.len, m->id.ptr, m->id.len, ~m->client.len)};
    if ((id.a | id.b) == 0)
        id.b = 1;
    if (2 * s->id_count >= s->slot_count && ids_grow(s))
        return TTG_ENOMEM;
    struct id *slot = slot_of(s->slots, s->slot_count, id);
    *ret_new = (slot->a | slot->b) == 0;
    *slot = id;
    s->id_count += *ret_new;
    return 0;
}

/* --- what is there at the start --- */

/* Reads whole lines; the rest behind the last one is cut off. */
static int read_lines(struct sink *s, int fd, const char *path,
                      int (*on_line)(struct sink *s, struct str line), off_t *ret_bytes,
                      struct err *err)
{
    struct buf b;
    off_t done = 0;
    int rc = 0;
    buf_init(&b, MESSAGE_BYTES_MAX + READ_BYTES);
    for (off_t at = 0; !rc;) {
        char *room;
        rc = buf_reserve(&b, READ_BYTES, &room);
        ssize_t n = rc ? 0 : pread(fd, room, READ_BYTES, at);
        if (n < 0)
            rc = err_set_errno(err, errno, "%s", path);
        if (n <= 0)
            break;
        buf_grew(&b, (size_t)n);
        at += n;
        for (const char *end; !rc && (end = memchr(buf_ptr(&b), '\n', buf_len(&b)));) {
            size_t len = (size_t)(end - buf_ptr(&b));
            rc = on_line(s, str_make(buf_ptr(&b), len));
            done += (off_t)len + 1;
            buf_consume(&b, len + 1);
            if (buf_len(&b) == 0)
                break;
        }
    }
    if (rc && !err->code)
        err_set(err, rc, "%s is not what this sink wrote (byte %lld); move it away", path,
                (long long)done);
    if (!rc && ftruncate(fd, done) < 0)
        rc = err_set_errno(err, errno, "%s", path);
    buf_done(&b);
    *ret_bytes = done;
    return rc;
}

static int on_record(struct sink *s, struct str line)
{
    struct message m;
    struct err why;
    bool fresh;
    if (message_parse(line, false, &m, &s->room, &why))
        return TTG_EUSAGE;
    return ids_add(s, &m, &fresh);
}

static int count_end(struct sink *s, const struct message *m, bool *ret_new)
{
    enum ends_outcome outcome;
    bool all = str_eq(m->client, MESSAGE_ALL);
    int rc = ends_add(&s->ends, m->client, m->path, all ? s->expected_all : s->expected, &outcome);
    *ret_new = !rc && outcome != ENDS_KNOWN;
    return rc;
}

static int on_end(struct sink *s, struct str line)
{
    struct message m;
    struct err why;
    bool fresh;
    if (message_parse(line, false, &m, &s->room, &why))
        return TTG_EUSAGE;
    return count_end(s, &m, &fresh);
}

static int open_file(struct sink *s, const char *path, int *ret_fd, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    (void)s;
    if (fd < 0)
        return err_set_errno(err, errno, "sink: %s", path);
    *ret_fd = fd;
    return lock_file(fd) == TTG_EBUSY
               ? err_set(err, TTG_EBUSY, "sink: %s is being written by another process", path)
               : 0;
}

static int open_files(struct sink *s, struct err *err)
{
    struct part *p = s->part;
    struct buf path;
    int rc = open_file(s, p->stage->path, &s->fd, err);
    if (!rc)
        rc = read_lines(s, s->fd, p->stage->path, on_record, &s->bytes, err);
    buf_init(&path, 8192);
    if (!rc)
        rc = buf_printf(&path, "%s/%s.ends", p->config.state, p->stage->name);
    if (!rc)
        rc = open_file(s, buf_cstr(&path), &s->ends_fd, err);
    if (!rc)
        rc = read_lines(s, s->ends_fd, buf_cstr(&path), on_end, &s->ends_bytes, err);
    buf_done(&path);
    return rc;
}

/* --- writing --- */

static int append(int fd, struct buf *b, off_t *bytes)
{
    size_t done = 0, len = buf_len(b);
    while (done < len) {
        ssize_t n = write(fd, buf_ptr(b) + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int rc = err_from_errno(errno);
            if (ftruncate(fd, *bytes) < 0)
                return TTG_EIO;
            return rc;
        }
        done += (size_t)n;
    }
    if (len > 0 && fdatasync(fd) < 0)
        return TTG_EIO; /* nobody knows what is on disk: the next owner reads it again */
    *bytes += (off_t)len;
    buf_clear(b);
    return 0;
}

/* TTG_EAGAIN: the disk is full; wait. */
static int write_pending(struct sink *s, struct err *err)
{
    int rc = append(s->fd, &s->pending, &s->bytes);
    if (!rc)
        rc = append(s->ends_fd, &s->pending_ends, &s->ends_bytes);
    if (rc == TTG_ENOSPC) {
        if (!s->told_full)
            log_warn("sink.full", kv_str("file", s->part->stage->path),
                     kv_str("then", "it takes no more until there is room"));
        s->told_full = true;
        return TTG_EAGAIN;
    }
    s->told_full = false;
    return rc ? err_set(err, rc, "sink: writing %s: %s", s->part->stage->path, err_text(rc)) : 0;
}

static void finish_turn(struct sink *s)
{
    struct err err;
    int rc = write_pending(s, &err);
    s->writing = rc == TTG_EAGAIN;
    if (s->writing) {
        loop_timer_after_ms(&s->full, FULL_PAUSE_MS);
        return;
    }
    if (rc) {
        part_fail(s->part, &err);
        return;
    }
    s->part->finished = ends_is_complete(&s->ends, MESSAGE_ALL, s->expected_all);
    part_commit(s->part);
}

static void on_full(struct loop_timer *t)
{
    finish_turn(container_of(t, struct sink, full));
}

static int take(struct sink *s, struct part_message *pm)
{
    struct part *p = s->part;
    struct message m;
    struct err why;
    bool fresh = false;
    struct str text = str_make(pm->bytes, pm->len);
    if (message_parse(text, false, &m, &p->room, &why))
        return part_send_dead(p, text, str_of(why.text), 0);
    int rc = m.end                                               ? count_end(s, &m, &fresh)
             : ends_is_complete(&s->ends, m.client, s->expected) ? 0
                                                                 : ids_add(s, &m, &fresh);
    struct buf *b = m.end ? &s->pending_ends : &s->pending;
    if (!rc && fresh)
        rc = message_add(b, &m);
    if (!rc && fresh)
        rc = buf_add_char(b, '\n');
    p->counts.ends += m.end;
    p->counts.in += !m.end;
    p->counts.out += !m.end && fresh;
    p->counts.duplicates += !m.end && !fresh;
    return rc;
}

static void sink_work(struct part *p)
{
    struct sink *s = sink_of(p);
    struct err err;
    for (int i = 0; i < PART_CREDIT && part_first(p) && !part_is_enough(p); i++) {
        struct part_message *pm = part_first(p);
        int rc = take(s, pm);
        if (rc) {
            err_set(&err, rc, "sink %s: %s", p->stage->name, err_text(rc));
            part_fail(p, &err);
            return;
        }
        part_done(p, pm);
    }
    finish_turn(s);
}

/* --- life --- */

static int sink_ready(struct part *p, struct err *err)
{
    struct sink *s = sink_of(p);
    loop_timer_stop(&s->full);
    if (s->fd >= 0) /* ids of lines that wait for room are known already: they must be written */
        return write_pending(s, err);
    int rc = open_files(s, err);
    p->finished = !rc && ends_is_complete(&s->ends, MESSAGE_ALL, s->expected_all);
    return rc;
}

static int sink_open(struct part *p, struct err *err)
{
    struct sink *s = p->own = mem_zalloc(sizeof *s);
    if (!s)
        return err_set(err, TTG_ENOMEM, "out of memory");
    s->part = p;
    s->fd = s->ends_fd = -1;
    s->expected = route_ends(p->config.spec, p->config.stage, false);
    s->expected_all = route_ends(p->config.spec, p->config.stage, true);
    ends_init(&s->ends);
    buf_init(&s->pending, 1 << 30);
    buf_init(&s->pending_ends, 1 << 30);
    buf_init(&s->room, MESSAGE_BYTES_MAX);
    loop_timer_init(&s->full, p->config.loop, on_full);
    return 0;
}

static void sink_close(struct part *p)
{
    struct sink *s = sink_of(p);
    if (!s)
        return;
    loop_timer_stop(&s->full);
    if (s->fd >= 0)
        close(s->fd);
    if (s->ends_fd >= 0)
        close(s->ends_fd);
    ends_done(&s->ends);
    buf_done(&s->pending);
    buf_done(&s->pending_ends);
    buf_done(&s->room);
    mem_free(s->slots);
    mem_free(s);
    p->own = NULL;
}

const struct part_kind sink_kind = {
    .open = sink_open, .close = sink_close, .ready = sink_ready, .work = sink_work};
