/* SPDX-License-Identifier: Apache-2.0 */
#include "io/unpacked.h"

#include "base/buf.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { IN_BYTES = 256 * 1024, MAGIC_BYTES = 4 };

enum packing { PLAIN, GZIP, ZSTD };

struct unpacked {
    int fd;
    enum packing packing;
    bool regular;
    bool inside; /* a frame was begun and not ended: the end of input here is a cut */
    bool eof;
    char *name;
    z_stream gz;
    ZSTD_DCtx *zstd;
    size_t at, end; /* unread part of `in` */
    unsigned char in[IN_BYTES];
};

static int fill(struct unpacked *u, size_t at_least, struct err *err)
{
    if (u->at > 0) {
        memmove(u->in, u->in + u->at, u->end - u->at);
        u->end -= u->at;
        u->at = 0;
    }
    while (u->end < at_least && !u->eof) {
        ssize_t n = read(u->fd, u->in + u->end, sizeof u->in - u->end);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "cannot read %s", u->name);
        u->eof = n == 0;
        u->end += (size_t)n;
    }
    return 0;
}

static int detect(struct unpacked *u, struct err *err)
{
    int rc = fill(u, MAGIC_BYTES, err);
    if (rc)
        return rc;
    if (u->end >= 2 && memcmp(u->in, "\x1f\x8b", 2) == 0) {
        u->packing = GZIP;
        if (inflateInit2(&u->gz, 15 + 16) != Z_OK)
            return err_set(err, TTG_ENOMEM, "cannot unpack %s: out of memory", u->name);
    } else if (u->end >= 4 && memcmp(u->in, "\x28\xb5\x2f\xfd", 4) == 0) {
        u->packing = ZSTD;
        u->zstd = ZSTD_createDCtx();
        if (!u->zstd)
            return err_set(err, TTG_ENOMEM, "cannot unpack %s: out of memory", u->name);
    }
    return 0;
}

int unpacked_open(struct unpacked **ret_u, const char *path, struct err *err)
{
    bool standard = strcmp(path, "-") == 0;
    struct unpacked *u = mem_zalloc(sizeof *u);
    if (!u)
        return err_set(err, TTG_ENOMEM, "cannot open %s: out of memory", path);
    struct stat st;
    int rc = 0;
    u->name = mem_strdup(standard ? "standard input" : path);
    u->fd = standard ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (!u->name)
        rc = err_set(err, TTG_ENOMEM, "cannot open %s: out of memory", path);
    else if (u->fd < 0 || fstat(u->fd, &st) != 0)
        rc = err_set_errno(err, errno, "cannot open %s", u->name);
    else if (S_ISDIR(st.st_mode))
        rc = err_set(err, TTG_EINVAL, "cannot read %s: it is a directory", u->name);
    else
        rc = detect(u, err);
    if (rc) {
        unpacked_close(u);
        return rc;
    }
    u->regular = S_ISREG(st.st_mode) && !standard;
    *ret_u = u;
    return 0;
}

void unpacked_close(struct unpacked *u)
{
    if (!u)
        return;
    if (u->packing == GZIP)
        inflateEnd(&u->gz);
    ZSTD_freeDCtx(u->zstd);
    if (u->fd >= 0)
        close(u->fd);
    mem_free(u->name);
    mem_free(u);
}

bool unpacked_is_plain(const struct unpacked *u)
{
    return u->packing == PLAIN && u->regular;
}

static int damaged(const struct unpacked *u, const char *how, struct err *err)
{
    return err_set(err, TTG_ECORRUPT, "cannot unpack %s: %s; is the file complete?", u->name, how);
}

static int gz_step(struct unpacked *u, void *out, size_t bytes, size_t *ret_len, struct err *err)
{
    u->gz.next_in = u->in + u->at;
    u->gz.avail_in = (uInt)(u->end - u->at);
    u->gz.next_out = out;
    u->gz.avail_out = bytes > INT32_MAX ? INT32_MAX : (uInt)bytes;
    uInt room = u->gz.avail_out;
    u->inside = true;
    int z = inflate(&u->gz, Z_NO_FLUSH);
    u->at = u->end - u->gz.avail_in;
    *ret_len = room - u->gz.avail_out;
    if (z == Z_STREAM_END) { /* members may follow one another */
        u->inside = false;
        inflateReset2(&u->gz, 15 + 16);
    } else if (z != Z_OK && z != Z_BUF_ERROR) {
        return damaged(u, u->gz.msg ? u->gz.msg : "damaged data", err);
    }
    return 0;
}

static int zstd_step(struct unpacked *u, void *out, size_t bytes, size_t *ret_len, struct err *err)
{
    ZSTD_inBuffer in = {u->in + u->at, u->end - u->at, 0};
    ZSTD_outBuffer to = {out, bytes, 0};
    size_t hint = ZSTD_decompressStream(u->zstd, &to, &in);
    if (ZSTD_isError(hint))
        return damaged(u, ZSTD_getErrorName(hint), err);
    u->at += in.pos;
    *ret_len = to.pos;
    u->inside = hint != 0;
    return 0;
}

int unpacked_read(struct unpacked *u, void *out, size_t bytes, size_t *ret_len, struct err *err)
{
    *ret_len = 0;
    while (*ret_len == 0 && bytes > 0) {
        int rc = u->at == u->end ? fill(u, 1, err) : 0;
        if (rc)
            return rc;
        if (u->at == u->end && u->packing == PLAIN)
            return 0;
        bool starved = u->at == u->end;
        if (u->packing == PLAIN) {
            *ret_len = u->end - u->at < bytes ? u->end - u->at : bytes;
            memcpy(out, u->in + u->at, *ret_len);
            u->at += *ret_len;
            return 0;
        }
        if (starved && !u->inside)
            return 0;
        rc = (u->packing == GZIP ? gz_step : zstd_step)(u, out, bytes, ret_len, err);
        if (rc)
            return rc;
        if (starved && *ret_len == 0 && u->inside)
            return damaged(u, "it ends in the middle", err);
    }
    return 0;
}

int unpacked_gzip(const void *packed, size_t bytes, struct buf *out)
{
    z_stream z = {0};
    char room[16384];
    int rc = 0, end = Z_OK;
    if (bytes > UINT_MAX || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
        return TTG_ENOMEM;
    z.next_in = (Bytef *)(uintptr_t)packed;
    z.avail_in = (uInt)bytes;
    while (!rc && end != Z_STREAM_END) {
        z.next_out = (Bytef *)room;
        z.avail_out = sizeof room;
        end = inflate(&z, Z_NO_FLUSH);
        if (end != Z_OK && end != Z_STREAM_END)
            rc = TTG_ECORRUPT;
        else
            rc = buf_add(out, room, sizeof room - z.avail_out);
    }
    inflateEnd(&z);
    return rc;
}
