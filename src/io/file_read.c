/* SPDX-License-Identifier: Apache-2.0 */
#include "io/file_read.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { FILE_READ_BYTES = 16384 };

static int read_to_end(int fd, const char *path, struct buf *out, struct err *err)
{
    for (;;) {
        char piece[FILE_READ_BYTES];
        ssize_t n = read(fd, piece, sizeof piece);
        if (n == 0)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "cannot read %s", path);
        int rc = buf_add(out, piece, (size_t)n);
        if (rc == TTG_EFULL)
            return err_set(err, rc, "cannot read %s: larger than %zu bytes", path, out->bytes_max);
        if (rc)
            return err_set(err, rc, "cannot read %s: %s", path, err_text(rc));
    }
}

int file_read(const char *path, struct buf *out, struct err *err)
{
    /* Not blocking: a fifo nobody writes to must not hang the start. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot open %s", path);
    int rc = read_to_end(fd, path, out, err);
    close(fd);
    return rc;
}
