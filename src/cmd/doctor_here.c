/* SPDX-License-Identifier: Apache-2.0 */
/* Facts about this machine: limits of a process, and the disk below a directory. */
#include "cmd/doctor.h"

#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/statfs.h>

int doctor_here(struct doctor *d, struct err *err)
{
    struct rlimit files;
    struct doctor_facts *f = doctor_place(d, DOCTOR_HERE, "this machine");
    int rc = f ? 0 : TTG_ENOMEM;
    if (!rc && getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY)
        rc = doctor_note_i64(f, "ttg.files", (int64_t)files.rlim_cur);
    return rc ? err_set(err, rc, "out of memory") : 0;
}

static const char *file_system(long type)
{
    static const struct {
        long type;
        const char *name;
    } rows[] = {{0x01021994, "tmpfs"},      {(long)0x858458f6, "ramfs"}, {0x6969, "nfs"},
                {(long)0xff534d42, "cifs"}, {(long)0xfe534d42, "cifs"},  {0x65735546, "fuse"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (type == rows[i].type)
            return rows[i].name;
    return "disk";
}

int doctor_directory(struct doctor *d, const char *path, const char *sync, struct err *err)
{
    struct statfs s;
    char at[4096];
    struct doctor_facts *f = doctor_place(d, DOCTOR_DIRECTORY, "%s", path);
    snprintf(at, sizeof at, "%s", path);
    /* What does not exist yet will lie on the disk of what does. */
    while (statfs(at, &s) != 0) {
        char *slash = strrchr(at, '/');
        if (errno != ENOENT || !slash)
            return err_set_errno(err, errno, "cannot look at %s", path);
        if (slash == at)
            slash++;
        if (!*slash)
            return err_set_errno(err, ENOENT, "cannot look at %s", path);
        *slash = '\0';
    }
    int rc = f ? 0 : TTG_ENOMEM;
    if (!rc)
        rc = doctor_note(f, STR("ttg.file_system"), str_of(file_system((long)s.f_type)));
    if (!rc)
        rc = doctor_note_i64(f, "ttg.free_bytes", (int64_t)(s.f_bavail * (uint64_t)s.f_bsize));
    if (!rc && sync)
        rc = doctor_note(f, STR("ttg.sync"), str_of(sync));
    return rc ? err_set(err, rc, "out of memory") : 0;
}
