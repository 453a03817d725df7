/* SPDX-License-Identifier: Apache-2.0 */
#include "io/lines.h"

#include "base/hash.h"
#include "base/mem.h"
#include "io/unpacked.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 20, PATH_BYTES = 4096 };

/* The file: this head, (chunks + 1) offsets, crc32c of all before it. Little-endian as the machine;
 * an index never leaves it except on a shared file system of equal machines. */
struct head {
    char magic[8];
    uint64_t chunk_lines, lines, chunks, digest;
    uint64_t text_bytes, text_mtime_ns;
    uint64_t separator;
    char text_path[PATH_BYTES];
};

static const char magic[8] = {'T', 'T', 'G', 'L', 'I', 'N', 'E', '1'};

struct indexer {
    const struct lines_spec *spec;
    struct unpacked *in;
    int index_fd, text_fd; /* text_fd -1: the file itself is read later */
    struct head head;
    struct buf out; /* offsets not yet written */
    uint32_t crc;
    uint64_t offset, line_at; /* where the present line begins */
    char last;
    char temporary[PATH_BYTES];
};

static int write_all(int fd, const void *bytes, size_t len)
{
    const char *p = bytes;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int flush_offsets(struct indexer *x, struct err *err)
{
    x->crc = hash_crc32c(x->crc, buf_ptr(&x->out), buf_len(&x->out));
    int e = write_all(x->index_fd, buf_ptr(&x->out), buf_len(&x->out));
    buf_clear(&x->out);
    return e ? err_set_errno(err, e, "cannot write %s", x->temporary) : 0;
}

static int add_offset(struct indexer *x, uint64_t offset, struct err *err)
{
    if (buf_add(&x->out, &offset, sizeof offset))
        return err_set(err, TTG_ENOMEM, "cannot index %s: out of memory", x->spec->path);
    return buf_len(&x->out) >= READ_BYTES ? flush_offsets(x, err) : 0;
}

static int scan(struct indexer *x, const char *bytes, size_t len, struct err *err)
{
    const char *p = bytes, *end = bytes + len;
    while (p < end) {
        if (x->line_at == x->offset + (uint64_t)(p - bytes)) { /* a line begins here */
            if (x->head.lines % x->spec->chunk_lines == 0) {
                int rc = add_offset(x, x->line_at, err);
                if (rc)
                    return rc;
                x->head.chunks++;
            }
            x->head.lines++;
        }
        const char *stop = memchr(p, x->spec->separator, (size_t)(end - p));
        p = stop ? stop + 1 : end;
        if (stop)
            x->line_at = x->offset + (uint64_t)(p - bytes);
    }
    x->offset += len;
    x->head.digest = hash_xxh3(bytes, len, x->head.digest);
    return 0;
}

static int read_all(struct indexer *x, struct err *err)
{
    char *bytes = mem_alloc(READ_BYTES);
    if (!bytes)
        return err_set(err, TTG_ENOMEM, "cannot index %s: out of memory", x->spec->path);
    int rc = 0;
    for (size_t len = 1; !rc && len > 0;) {
        /* Full pieces, so that the digest does not depend on how a pipe delivers. */
        size_t got = 0;
        do {
            rc = unpacked_read(x->in, bytes + got, READ_BYTES - got, &len, err);
            got += len;
        } while (!rc && len > 0 && got < READ_BYTES);
        if (!rc)
            rc = scan(x, bytes, got, err);
        int e = !rc && x->text_fd >= 0 ? write_all(x->text_fd, bytes, got) : 0;
        if (e)
            rc = err_set_errno(err, e, "cannot write %s", x->spec->text_path);
    }
    mem_free(bytes);
    return rc;
}

static int describe_text(struct indexer *x, struct err *err)
{
    const char *path = x->text_fd >= 0 ? x->spec->text_path : x->spec->path;
    char real[PATH_MAX];
    struct stat st;
    if (x->text_fd >= 0 && fsync(x->text_fd) != 0)
        return err_set_errno(err, errno, "cannot write %s", path);
    if (!realpath(path, real) || stat(real, &st) != 0)
        return err_set_errno(err, errno, "cannot find %s", path);
    if (strlen(real) >= PATH_BYTES)
        return err_set(err, TTG_ERANGE, "the path of %s is longer than %d bytes", path,
                       PATH_BYTES - 1);
    memcpy(x->head.text_path, real, strlen(real) + 1);
    x->head.text_bytes = (uint64_t)st.st_size;
    x->head.text_mtime_ns =
        (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
    return x->head.text_bytes == x->offset
               ? 0
               : err_set(err, TTG_ESTALE, "%s changed while it was read; try again", path);
}

/* Or the rename itself may not survive a power cut. */
static int sync_directory_of(const char *path)
{
    char dir[PATH_BYTES] = ".";
    const char *slash = strrchr(path, '/');
    if (slash)
        snprintf(dir, sizeof dir, "%.*s", (int)(slash - path + 1), path);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int e = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return e;
}

/* The head comes last, when its numbers are known, and so does its part of the checksum. */
static int finish(struct indexer *x, struct err *err)
{
    int rc = add_offset(x, x->offset, err);
    if (!rc)
        rc = flush_offsets(x, err);
    if (!rc)
        rc = describe_text(x, err);
    if (rc)
        return rc;
    uint32_t crc = hash_crc32c(x->crc, &x->head, sizeof x->head);
    int e = write_all(x->index_fd, &crc, sizeof crc);
    if (!e && pwrite(x->index_fd, &x->head, sizeof x->head, 0) != (ssize_t)sizeof x->head)
        e = errno ? errno : ENOSPC;
    if (!e && fsync(x->index_fd) != 0)
        e = errno;
    if (!e && rename(x->temporary, x->spec->index_path) != 0)
        e = errno;
    if (!e)
        e = sync_directory_of(x->spec->index_path);
    return e ? err_set_errno(err, e, "cannot write %s", x->spec->index_path) : 0;
}

static int open_outputs(struct indexer *x, struct err *err)
{
    snprintf(x->temporary, sizeof x->temporary, "%s.new", x->spec->index_path);
    x->index_fd = open(x->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (x->index_fd < 0 || lseek(x->index_fd, sizeof x->head, SEEK_SET) < 0)
        return err_set_errno(err, errno, "cannot create %s", x->temporary);
    if (unpacked_is_plain(x->in))
        return 0;
    x->text_fd = open(x->spec->text_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (x->text_fd < 0)
        return err_set_errno(err, errno, "cannot create %s", x->spec->text_path);
    return 0;
}

int lines_index(const struct lines_spec *spec, struct lines_info *ret_info, struct err *err)
{
    struct indexer x = {.spec = spec, .index_fd = -1, .text_fd = -1};
    buf_init(&x.out, 2 * READ_BYTES);
    memcpy(x.head.magic, magic, sizeof magic);
    x.head.chunk_lines = spec->chunk_lines;
    x.head.separator = (unsigned char)spec->separator;
    int rc = unpacked_open(&x.in, spec->path, err);
    if (!rc)
        rc = open_outputs(&x, err);
    if (!rc)
        rc = read_all(&x, err);
    if (!rc)
        rc = finish(&x, err);
    if (!rc)
        *ret_info = (struct lines_info){x.head.lines, x.head.chunks, x.head.digest};
    if (rc && x.index_fd >= 0)
        unlink(x.temporary);
    if (x.index_fd >= 0)
        close(x.index_fd);
    if (x.text_fd >= 0)
        close(x.text_fd);
    unpacked_close(x.in);
    buf_done(&x.out);
    return rc;
}

struct lines {
    int text_fd;
    void *map;
    size_t map_bytes;
    const struct head *head;
    const uint64_t *offsets;
    struct lines_info info;
};

static int check_index(struct lines *l, const char *path, struct err *err)
{
    const struct head *h = l->map;
    size_t fixed = sizeof *h + sizeof(uint64_t) + sizeof(uint32_t);
    if (l->map_bytes < fixed || memcmp(h->magic, magic, sizeof magic) != 0)
        return err_set(err, TTG_ECORRUPT, "%s is not an index of lines", path);
    if (h->chunks != (l->map_bytes - fixed) / sizeof(uint64_t) ||
        !memchr(h->text_path, '\0', sizeof h->text_path) || h->chunk_lines == 0)
        return err_set(err, TTG_ECORRUPT, "%s is damaged; submit the job again", path);
    l->head = h;
    l->offsets = (const uint64_t *)(h + 1);
    uint32_t crc = hash_crc32c(0, l->offsets, (h->chunks + 1) * sizeof(uint64_t)), stored;
    crc = hash_crc32c(crc, h, sizeof *h);
    memcpy(&stored, l->offsets + h->chunks + 1, sizeof stored);
    if (crc != stored)
        return err_set(err, TTG_ECORRUPT, "%s is damaged; submit the job again", path);
    l->info = (struct lines_info){h->lines, h->chunks, h->digest};
    return 0;
}

static int check_text(struct lines *l, struct err *err)
{
    struct stat st;
    const char *path = l->head->text_path;
    l->text_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (l->text_fd < 0 || fstat(l->text_fd, &st) != 0)
        return err_set_errno(err, errno, "cannot open the input %s", path);
    uint64_t mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
    if ((uint64_t)st.st_size != l->head->text_bytes || mtime_ns != l->head->text_mtime_ns)
        return err_set(err, TTG_ESTALE,
                       "the input %s changed since the job was made; restore it, or run a new job",
                       path);
    return 0;
}

int lines_open(struct lines **ret_lines, const char *index_path, struct err *err)
{
    struct lines *l = mem_zalloc(sizeof *l);
    if (!l)
        return err_set(err, TTG_ENOMEM, "cannot open %s: out of memory", index_path);
    struct stat st;
    l->text_fd = -1;
    int rc = 0, fd = open(index_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        rc = err_set_errno(err, errno, "cannot open the index of lines %s", index_path);
    else if (st.st_size == 0)
        rc = err_set(err, TTG_ECORRUPT, "%s is not an index of lines", index_path);
    if (!rc) {
        l->map_bytes = (size_t)st.st_size;
        l->map = mmap(NULL, l->map_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (l->map == MAP_FAILED) {
            l->map = NULL;
            rc = err_set_errno(err, errno, "cannot map %s", index_path);
        }
    }
    if (fd >= 0)
        close(fd);
    if (!rc)
        rc = check_index(l, index_path, err);
    if (!rc)
        rc = check_text(l, err);
    if (rc) {
        lines_close(l);
        return rc;
    }
    *ret_lines = l;
    return 0;
}

static const char name_format[] = "lines:%016llx:%s";
enum { NAME_HEAD_BYTES = 6 + 16 + 1 };

int lines_name(struct buf *out, const char *index_path, const struct lines_info *info,
               struct err *err)
{
    char real[PATH_MAX];
    if (!realpath(index_path, real))
        return err_set_errno(err, errno, "cannot find %s", index_path);
    int rc = buf_printf(out, name_format, (unsigned long long)info->digest, real);
    return rc ? err_set(err, rc, "the name of %s: %s", index_path, err_text(rc)) : 0;
}

int lines_open_named(struct lines **ret_lines, struct str name, struct err *err)
{
    char again[PATH_MAX + NAME_HEAD_BYTES];
    if (!str_starts(name, STR("lines:")) || name.len <= NAME_HEAD_BYTES ||
        name.len >= sizeof again || memchr(name.ptr, 0, name.len))
        return err_set(err, TTG_EVERSION,
                       "the job's input '%.*s' is of a kind this version does not know",
                       (int)(name.len < 200 ? name.len : 200), name.ptr);
    char *path = mem_dup(name.ptr + NAME_HEAD_BYTES, name.len - NAME_HEAD_BYTES);
    struct lines *l = NULL;
    int rc = path ? lines_open(&l, path, err) : err_set(err, TTG_ENOMEM, "out of memory");
    if (!rc) {
        snprintf(again, sizeof again, name_format, (unsigned long long)l->info.digest, path);
        if (!str_eq(name, str_of(again)))
            rc = err_set(err, TTG_ESTALE,
                         "%s is the index of another input than this job's; run a new job", path);
    }
    mem_free(path);
    if (rc)
        lines_close(l);
    else
        *ret_lines = l;
    return rc;
}

void lines_close(struct lines *l)
{
    if (!l)
        return;
    if (l->map)
        munmap(l->map, l->map_bytes);
    if (l->text_fd >= 0)
        close(l->text_fd);
    mem_free(l);
}

const struct lines_info *lines_info(const struct lines *l)
{
    return &l->info;
}

char lines_separator(const struct lines *l)
{
    return (char)l->head->separator;
}

/* Drops the CR of CR LF within the new bytes; one at their end waits for what follows. */
static void drop_cr(struct buf *out, size_t from)
{
    char *bytes = buf_ptr(out);
    size_t to = from, len = buf_len(out);
    for (size_t i = from; i < len; i++)
        if (bytes[i] != '\r' || i + 1 == len || bytes[i + 1] != '\n')
            bytes[to++] = bytes[i];
    buf_truncate(out, to);
}

int lines_read(struct lines_reader *r, struct buf *out, size_t bytes_max, bool *ret_end,
               struct err *err)
{
    const struct lines *l = r->lines;
    if (r->chunk >= l->info.chunks)
        return err_set(err, TTG_ERANGE, "chunk %llu is not in the input",
                       (unsigned long long)r->chunk);
    uint64_t from = l->offsets[r->chunk] + r->at, end = l->offsets[r->chunk + 1];
    size_t want = end - from < bytes_max ? (size_t)(end - from) : bytes_max, before = buf_len(out);
    char *at;
    if (want > 0 && want < 2 && end - from > 1)
        want = 2; /* room to see what follows a CR */
    int rc = buf_reserve(out, want + 1, &at);
    if (rc)
        return err_set(err, rc, "a chunk's lines need more than %zu bytes", out->bytes_max);
    ssize_t n = pread(l->text_fd, at, want, (off_t)from);
    if (n < 0)
        return err_set_errno(err, errno, "cannot read the input %s", l->head->text_path);
    if ((size_t)n != want)
        return err_set(err, TTG_ESTALE, "the input %s became shorter", l->head->text_path);
    bool last = from + want == end;
    if (!last && at[want - 1] == '\r')
        want--; /* with its LF, if that follows, in the next piece */
    buf_grew(out, want);
    r->at += want;
    if (last && want > 0 && at[want - 1] != lines_separator(l))
        buf_add_char(out, lines_separator(l));
    if (lines_separator(l) == '\n')
        drop_cr(out, before);
    *ret_end = last;
    return 0;
}
