/* SPDX-License-Identifier: Apache-2.0 */
#include "io/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { STDIO_LOG_WAIT_MS = 100 };

void stdio_init(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* The wrong direction on purpose: using it must fail, as on the closed descriptor. The
         * lowest free number is taken, and that is `fd`. */
        if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            abort();
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

/* 0, or errno. Waits at most `wait_ms` each time when nothing can be written at once. */
static int write_all(int fd, struct str bytes, int wait_ms)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n >= 0) {
            bytes.ptr += n;
            bytes.len -= (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            if (poll(&p, 1, wait_ms) == 0)
                return EAGAIN;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

int stdio_write(struct str bytes, struct err *err)
{
    int errnum = write_all(STDOUT_FILENO, bytes, -1);
    if (errnum == EPIPE)
        return err_set(err, TTG_ECLOSED, "standard output was closed by its reader");
    if (errnum == EBADF)
        return err_set(err, TTG_ECLOSED, "standard output is closed");
    return errnum ? err_set_errno(err, errnum, "cannot write to standard output") : 0;
}

void stdio_complain(struct str bytes)
{
    write_all(STDERR_FILENO, bytes, STDIO_LOG_WAIT_MS);
}

void stdio_log_sink(void *ctx, const char *line, size_t len)
{
    (void)ctx;
    stdio_complain(str_make(line, len));
}

bool stdio_is_terminal(enum stdio_stream stream)
{
    return isatty((int)stream);
}
