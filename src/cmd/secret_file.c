/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int secret_read(const char *what, const char *path, char secret[SECRET_BYTES_MAX + 1],
                struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int rc = err_set_errno(err, errno, "%s %s", what, path);
        if (rc == TTG_ENOENT || rc == TTG_EACCES) /* a wrong path */
            err->code = rc = TTG_EINVAL;
        return rc;
    }
    ssize_t len = fstat(fd, &st) < 0 ? -1 : read(fd, secret, SECRET_BYTES_MAX);
    close(fd);
    if (len < 0)
        return err_set_errno(err, errno, "%s %s", what, path);
    if (S_ISREG(st.st_mode) && st.st_mode & (S_IRWXO | S_IWGRP))
        return err_set(err, TTG_EUSAGE, "%s %s can be read by others: chmod 600 %s", what, path,
                       path);
    secret[len] = 0;
    secret[strcspn(secret, "\r\n")] = 0;
    if (secret[0] == 0)
        return err_set(err, TTG_EUSAGE, "%s %s has an empty first line", what, path);
    return 0;
}
