/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/state_dir.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int state_dir_path(const char *part, char out[STATE_DIR_BYTES], struct err *err)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = state && *state == '/' ? snprintf(out, STATE_DIR_BYTES, "%s/ttg/%s", state, part)
            : home && *home == '/'
                ? snprintf(out, STATE_DIR_BYTES, "%s/.local/state/ttg/%s", home, part)
                : snprintf(out, STATE_DIR_BYTES, "/tmp/ttg-%u/%s", getuid(), part);
    return n >= STATE_DIR_BYTES - 128
               ? err_set(err, TTG_ERANGE, "the path of the state directory is too long")
               : 0;
}

int state_dir_make(const char *path, struct err *err)
{
    char part[STATE_DIR_BYTES];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part - 64)
        return err_set(err, TTG_ERANGE, "the path of the job's directory is empty or too long");
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return err_set_errno(err, errno, "cannot make the directory %s", part);
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path) != 0 && errno != ENOENT ? -1 : 0;
}

bool state_dir_remove(const char *path)
{
    return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0;
}
