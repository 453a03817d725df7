/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/leftover.h"

#include "base/buf.h"
#include "io/file_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1 << 16 };

static void place(const char *dir, char path[STATE_DIR_BYTES + 16])
{
    snprintf(path, STATE_DIR_BYTES + 16, "%s/processes", dir);
}

int leftover_note(const char *dir, pid_t pid, const char *name, struct err *err)
{
    char path[STATE_DIR_BYTES + 16], line[256];
    struct pid_mark m = pid_mark(pid);
    place(dir, path);
    int n = snprintf(line, sizeof line, "%d %llu %s %.*s\n", (int)pid, (unsigned long long)m.start,
                     m.boot, LEFTOVER_NAME_BYTES - 1, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write(fd, line, (size_t)n) == n;
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    return written ? 0 : err_set_errno(err, errnum, "cannot write %s", path);
}

int leftover_dir(char dir[STATE_DIR_BYTES], const char *name, struct err *err)
{
    char top[STATE_DIR_BYTES];
    int rc = state_dir_path("demo", top, err);
    dir[0] = '\0';
    if (!rc)
        rc = state_dir_make(top, err);
    if (rc)
        return rc;
    for (unsigned n = 0;; n++) {
        snprintf(dir, STATE_DIR_BYTES, "%.3900s/%d.%u", top, (int)getpid(), n);
        if (mkdir(dir, 0700) == 0)
            break;
        if (errno != EEXIST) {
            rc = err_set_errno(err, errno, "cannot make %s", dir);
            dir[0] = '\0';
            return rc;
        }
    }
    return leftover_note(dir, getpid(), name, err);
}

static bool read_line(struct str line, struct leftover *l)
{
    uint64_t pid;
    struct str rest, word = str_cut(line, ' ', &rest);
    *l = (struct leftover){0};
    if (str_to_u64(word, &pid) || pid == 0 || pid > INT32_MAX)
        return false;
    word = str_cut(rest, ' ', &rest);
    if (str_to_u64(word, &l->mark.start) || l->mark.start == 0)
        return false;
    word = str_cut(rest, ' ', &rest);
    if (word.len != PID_BOOT_BYTES - 1 || rest.len == 0 || rest.len >= LEFTOVER_NAME_BYTES)
        return false;
    l->mark.pid = (pid_t)pid;
    memcpy(l->mark.boot, word.ptr, word.len);
    memcpy(l->name, rest.ptr, rest.len);
    return true;
}

size_t leftover_read(const char *dir, struct leftover *out)
{
    char path[STATE_DIR_BYTES + 16];
    struct buf text;
    size_t count = 0;
    place(dir, path);
    buf_init(&text, FILE_BYTES_MAX);
    if (file_read(path, &text, NULL) == 0)
        for (struct str rest = buf_str(&text); rest.ptr && count < LEFTOVER_MAX;)
            if (read_line(str_cut(rest, '\n', &rest), &out[count]) && pid_lives(&out[count].mark))
                count++;
    buf_done(&text);
    return count;
}

void leftover_host(char out[LEFTOVER_HOST_BYTES])
{
    char host[48] = "";
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    for (char *c = host; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.", *c))
            *c = '-';
    snprintf(out, LEFTOVER_HOST_BYTES, "h%s.%u", host, (unsigned)geteuid());
}
