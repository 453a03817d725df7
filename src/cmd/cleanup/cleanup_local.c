/* SPDX-License-Identifier: Apache-2.0 */
/* What ttg keeps on this machine: directories of demos and of embedded jobs, and the processes that
 * are noted in them. */
#include "base/clock.h"
#include "cmd/cleanup/cleanup.h"
#include "cmd/leftover.h"
#include "cmd/run_dir.h"
#include "cmd/state_dir.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PATH_BYTES = STATE_DIR_BYTES,
    NOTE_BYTES = 1024,
    GONE_TRIES = 200,
    GONE_MS = 10,
    DEMO_DIRS_MAX = 8,
};

/* A directory with that file in it: nothing else in the state directory is ours to remove. */
static bool is_ours(const char *path, const char *file)
{
    char inside[PATH_BYTES + 32];
    struct stat dir, st;
    snprintf(inside, sizeof inside, "%s/%s", path, file);
    return lstat(path, &dir) == 0 && S_ISDIR(dir.st_mode) && dir.st_uid == getuid() &&
           lstat(inside, &st) == 0 && S_ISREG(st.st_mode);
}

static size_t note_age(const char *path, char note[NOTE_BYTES])
{
    char at[CLOCK_TEXT_BYTES];
    struct stat st;
    if (stat(path, &st) != 0)
        return 0;
    clock_text(at, (uint64_t)st.st_mtime * 1000);
    return (size_t)snprintf(note, NOTE_BYTES, "last changed %s", at);
}

static int find_demo(struct cleanup *c, const char *path, struct err *err)
{
    struct leftover found[LEFTOVER_MAX];
    char note[NOTE_BYTES] = "";
    size_t n = leftover_read(path, found), len = note_age(path, note);
    bool in_use = false;
    for (size_t i = 0; i < n; i++) {
        in_use = in_use || strcmp(found[i].name, "demo") == 0;
        if (len < sizeof note - 64)
            len +=
                (size_t)snprintf(note + len, sizeof note - len, "%s %s %d",
                                 i == 0 ? "; runs:" : ",", found[i].name, (int)found[i].mark.pid);
    }
    if (in_use)
        snprintf(note, sizeof note, "in use by a ttg demo");
    struct cleanup_item item = {
        .kind = CLEANUP_DEMO, .stays = in_use, .name = (char *)(uintptr_t)path, .note = note};
    return cleanup_add(c, &item, err);
}

bool cleanup_demo_lives(const char *name)
{
    struct leftover found[LEFTOVER_MAX];
    char path[PATH_BYTES], top[STATE_DIR_BYTES];
    struct str prefix = STR("ttg-demo-"), rest, digits;
    uint64_t pid;
    bool lives = false;
    if (!str_starts(str_of(name), prefix))
        return false;
    digits = str_cut(str_of(name + prefix.len), '-', &rest);
    if (str_to_u64(digits, &pid) || state_dir_path("demo", top, NULL))
        return false;
    for (unsigned i = 0; i < DEMO_DIRS_MAX && !lives; i++) { /* PID.0, or the next that was free */
        snprintf(path, sizeof path, "%.3900s/%llu.%u", top, (unsigned long long)pid, i);
        size_t n = leftover_read(path, found);
        for (size_t j = 0; j < n; j++)
            lives =
                lives || (strcmp(found[j].name, "demo") == 0 && (uint64_t)found[j].mark.pid == pid);
    }
    return lives;
}

static int find_run(struct cleanup *c, const char *path, struct err *err)
{
    char note[NOTE_BYTES] = "";
    struct run_dir dir;
    struct cleanup_item item = {.kind = CLEANUP_RUN, .name = (char *)(uintptr_t)path, .note = note};
    note_age(path, note);
    int rc = run_dir_open(&dir, path, "", true, err);
    if (rc == TTG_EBUSY) {
        item.stays = true;
        snprintf(note, sizeof note, "in use by a ttg run");
    } else if (rc) {
        return rc;
    } else if (run_dir_node_lives(&dir)) {
        item.stays = true;
        snprintf(note, sizeof note, "in use: its node still serves");
    }
    if (!rc)
        run_dir_close(&dir, false);
    return cleanup_add(c, &item, err);
}

static int find_in(struct cleanup *c, const char *part, const char *file,
                   int (*find)(struct cleanup *c, const char *path, struct err *err),
                   struct err *err)
{
    char top[STATE_DIR_BYTES], path[PATH_BYTES];
    int rc = state_dir_path(part, top, err);
    DIR *dir = rc ? NULL : opendir(top);
    for (struct dirent *e; dir && !rc && (e = readdir(dir));) {
        int n = snprintf(path, sizeof path, "%s/%s", top, e->d_name);
        if (e->d_name[0] != '.' && n < PATH_BYTES - 128 && is_ours(path, file))
            rc = find(c, path, err);
    }
    if (dir)
        closedir(dir);
    return rc;
}

int cleanup_local_find(struct cleanup *c, struct err *err)
{
    int rc = find_in(c, "demo", "processes", find_demo, err);
    return rc ? rc : find_in(c, "jobs", "run.lock", find_run, err);
}

/* --- removing --- */

static int remove_demo(struct cleanup *c, const char *path, struct err *err)
{
    struct leftover found[LEFTOVER_MAX];
    size_t n = leftover_read(path, found);
    for (size_t i = 0; i < n; i++)
        if (strcmp(found[i].name, "demo") == 0)
            return err_set(err, TTG_EBUSY, "%s is in use by a ttg demo", path);
    for (size_t i = 0; i < n; i++)
        pid_signal(&found[i].mark, SIGKILL, true);
    for (int tries = 0; leftover_read(path, found) > 0; tries++) {
        if (tries == GONE_TRIES)
            return err_set(err, TTG_EBUSY, "process %d (%s) of %s does not end",
                           (int)found[0].mark.pid, found[0].name, path);
        loop_turn(c->loop, GONE_MS);
    }
    return state_dir_remove(path) ? 0 : err_set_errno(err, errno, "cannot remove %s", path);
}

static int remove_run(const char *path, struct err *err)
{
    struct run_dir dir;
    int rc = run_dir_open(&dir, path, "", true, err);
    if (rc)
        return rc;
    dir.own = !run_dir_node_lives(&dir);
    run_dir_close(&dir, true);
    return access(path, F_OK) != 0 ? 0 : err_set(err, TTG_EBUSY, "%s could not be removed", path);
}

int cleanup_local_remove(struct cleanup *c, struct cleanup_item *item, struct err *err)
{
    return item->kind == CLEANUP_DEMO ? remove_demo(c, item->name, err)
                                      : remove_run(item->name, err);
}
