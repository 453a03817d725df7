/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/disk.h"

#include "base/ensure.h"
#include "base/list.h"
#include "base/mem.h"
#include "sim/disk_file.h"

#include <stdlib.h>
#include <string.h>

enum {
    SIM_FILES_MAX = 256,
    SIM_OPEN_MAX = 256,
    SIM_CHANGES_MAX = 1024,
};

struct sim_disk {
    struct disk disk;
    struct prng random;
    struct sim_disk_faults faults;
    uint64_t steps;
    bool crashed;
    struct sim_file files[SIM_FILES_MAX];
    struct sim_dir now;
    /* The directory after each change since it was synced; [0] is the synced one. */
    struct sim_dir *past;
    size_t past_count;
    struct {
        int file;
        bool open, write, lock;
    } open[SIM_OPEN_MAX];
    bool locked;
};

static struct sim_disk *sim_of(struct disk *disk)
{
    return container_of(disk, struct sim_disk, disk);
}

/* Files that no name and no descriptor leads to, now or after a crash, are gone. */
static void sweep(struct sim_disk *d)
{
    for (int i = 0; i < SIM_FILES_MAX; i++) {
        bool reached = !d->files[i].used || d->files[i].refs > 0 || sim_dir_has(&d->now, i);
        for (size_t k = 0; k < d->past_count && !reached; k++)
            reached = sim_dir_has(&d->past[k], i);
        if (!reached)
            sim_file_clear(&d->files[i]);
    }
}

static void dir_changed(struct sim_disk *d)
{
    ensure(d->past_count < SIM_CHANGES_MAX);
    struct sim_dir *past = realloc(d->past, (d->past_count + 1) * sizeof *past);
    ensure(past);
    d->past = past;
    past[d->past_count] = (struct sim_dir){0};
    sim_dir_copy(&past[d->past_count++], &d->now);
}

/* Counts a step. A result other than 0: the call fails with it; *ret_crash: after doing a part. */
static int step(struct sim_disk *d, enum sim_disk_step kind, bool *ret_crash)
{
    const struct sim_disk_faults *f = &d->faults;
    *ret_crash = false;
    if (d->crashed)
        return TTG_EIO;
    d->steps++;
    if (f->crash_at && d->steps >= f->crash_at) {
        *ret_crash = true;
        return TTG_EIO;
    }
    if (!f->fail_at || d->steps < f->fail_at)
        return 0;
    bool counts = kind == SIM_WRITE || kind == SIM_ALLOCATE || kind == SIM_SYNC;
    if (d->steps == f->fail_at || (f->fail_for_ever && counts))
        return f->fail_code;
    return 0;
}

/* The same, for steps that have no parts. */
static int step_whole(struct sim_disk *d, enum sim_disk_step kind)
{
    bool crash;
    int rc = step(d, kind, &crash);
    if (crash)
        sim_disk_crash(d);
    return rc;
}

static struct sim_file *file_of(struct sim_disk *d, int file)
{
    ensure(file >= 0 && file < SIM_OPEN_MAX && d->open[file].open);
    return &d->files[d->open[file].file];
}

static int new_open(struct sim_disk *d, int file, bool write, bool lock)
{
    for (int i = 0; i < SIM_OPEN_MAX; i++) {
        if (d->open[i].open)
            continue;
        d->open[i].open = true;
        d->open[i].file = file;
        d->open[i].write = write;
        d->open[i].lock = lock;
        if (file >= 0)
            d->files[file].refs++;
        return i;
    }
    ensure_failed("too many open simulated files", __FILE__, __LINE__);
}

static int create(struct sim_disk *d, const char *name, int *ret_file)
{
    int rc = step_whole(d, SIM_NAME);
    if (rc)
        return rc;
    struct sim_entry *entry = sim_dir_find(&d->now, name);
    if (entry) {
        struct sim_file *f = &d->files[entry->file];
        f->now_len = 0;
        *ret_file = entry->file;
        if (f->now_cap > 0) {
            memset(f->now, 0, f->now_cap);
            memset(f->dirty, 1, f->now_cap / SIM_SECTOR);
        }
        return 0;
    }
    int free_at = 0;
    while (free_at < SIM_FILES_MAX && d->files[free_at].used)
        free_at++;
    ensure(free_at < SIM_FILES_MAX);
    ensure(strlen(name) < SIM_NAME_MAX);
    d->files[free_at] = (struct sim_file){.used = true};
    entry = sim_dir_add(&d->now);
    strcpy(entry->name, name);
    entry->file = free_at;
    dir_changed(d);
    *ret_file = free_at;
    return 0;
}

static int sim_open(struct disk *disk, const char *name, unsigned flags, int *ret_file)
{
    struct sim_disk *d = sim_of(disk);
    if (d->crashed)
        return TTG_EIO;
    const struct sim_entry *entry = sim_dir_find(&d->now, name);
    int file = entry ? entry->file : -1;
    if (flags & DISK_CREATE) {
        int rc = create(d, name, &file);
        if (rc)
            return rc;
    }
    if (file < 0)
        return TTG_ENOENT;
    *ret_file = new_open(d, file, flags & DISK_WRITE, false);
    return 0;
}

static void sim_close(struct disk *disk, int file)
{
    struct sim_disk *d = sim_of(disk);
    /* Whoever lived through a crash closes what is gone already. */
    if (file < 0 || file >= SIM_OPEN_MAX || !d->open[file].open)
        return;
    if (d->open[file].lock)
        d->locked = false;
    if (d->open[file].file >= 0)
        d->files[d->open[file].file].refs--;
    d->open[file].open = false;
    sweep(d);
}

static int sim_read(struct disk *disk, int file, uint64_t offset, void *bytes, size_t len,
                    size_t *ret_len)
{
    struct sim_disk *d = sim_of(disk);
    if (d->crashed)
        return TTG_EIO;
    const struct sim_file *f = file_of(d, file);
    size_t n = offset >= f->now_len ? 0 : f->now_len - (size_t)offset;
    n = n < len ? n : len;
    if (n > 0)
        memcpy(bytes, f->now + offset, n);
    *ret_len = n;
    return 0;
}

static uint64_t room_used(const struct sim_disk *d)
{
    uint64_t used = 0;
    for (int i = 0; i < SIM_FILES_MAX; i++)
        used += d->files[i].used ? d->files[i].now_len : 0;
    return used;
}

static bool room_for(const struct sim_disk *d, const struct sim_file *f, uint64_t len)
{
    uint64_t more = len > f->now_len ? len - f->now_len : 0;
    return !d->faults.room_bytes || !more || room_used(d) + more <= d->faults.room_bytes;
}

static int sim_write(struct disk *disk, int file, uint64_t offset, const void *bytes, size_t len)
{
    struct sim_disk *d = sim_of(disk);
    bool crash;
    int rc = step(d, SIM_WRITE, &crash);
    if (rc && !crash && rc != TTG_ENOSPC)
        return rc;
    ensure(d->crashed || d->open[file].write);
    if (d->crashed)
        return rc;
    struct sim_file *f = file_of(d, file);
    if (!rc && !room_for(d, f, offset + len))
        rc = TTG_ENOSPC;
    /* What fails in the middle has written a part. */
    if (rc)
        len = (size_t)prng_below(&d->random, len + 1) / SIM_SECTOR * SIM_SECTOR;
    if (rc == TTG_ENOSPC && offset + len > f->now_len)
        len = f->now_len > offset ? f->now_len - (size_t)offset : 0;
    if (!sim_file_grow(f, (size_t)offset + len))
        sim_file_put(f, offset, bytes, len);
    if (crash)
        sim_disk_crash(d);
    return rc;
}

static int sim_size(struct disk *disk, int file, uint64_t *ret_bytes)
{
    struct sim_disk *d = sim_of(disk);
    if (d->crashed)
        return TTG_EIO;
    *ret_bytes = file_of(d, file)->now_len;
    return 0;
}

static int sim_truncate(struct disk *disk, int file, uint64_t bytes)
{
    struct sim_disk *d = sim_of(disk);
    int rc = step_whole(d, SIM_TRUNCATE);
    if (rc)
        return rc;
    struct sim_file *f = file_of(d, file);
    rc = sim_file_grow(f, (size_t)bytes);
    if (!rc && bytes < f->now_len) {
        memset(f->now + bytes, 0, f->now_len - (size_t)bytes);
        memset(f->dirty + bytes / SIM_SECTOR, 1,
               (f->now_len - 1) / SIM_SECTOR - (size_t)bytes / SIM_SECTOR + 1);
    }
    if (!rc)
        f->now_len = (size_t)bytes;
    return rc;
}

static int sim_allocate(struct disk *disk, int file, uint64_t bytes)
{
    struct sim_disk *d = sim_of(disk);
    int rc = step_whole(d, SIM_ALLOCATE);
    if (rc)
        return rc;
    struct sim_file *f = file_of(d, file);
    if (!room_for(d, f, bytes))
        return TTG_ENOSPC;
    rc = sim_file_grow(f, (size_t)bytes);
    if (!rc && bytes > f->now_len)
        f->now_len = (size_t)bytes;
    return rc;
}

static int sim_next_data(struct disk *disk, int file, uint64_t offset, uint64_t *ret_offset)
{
    struct sim_disk *d = sim_of(disk);
    if (d->crashed)
        return TTG_EIO;
    const struct sim_file *f = file_of(d, file);
    while (offset < f->now_len && f->now[offset] == 0)
        offset++;
    *ret_offset = offset;
    return 0;
}

static int sim_sync(struct disk *disk, int file)
{
    struct sim_disk *d = sim_of(disk);
    int rc = step_whole(d, SIM_SYNC);
    if (d->crashed)
        return rc;
    struct sim_file *f = file_of(d, file);
    if (d->faults.sync_ms && d->faults.on_delay)
        d->faults.on_delay(d->faults.ctx, d->faults.sync_ms);
    if (d->faults.ignore_sync)
        return rc;
    if (!rc)
        rc = sim_file_sync(f);
    /* Also after a failure: the pages are taken for clean, and the next sync does not know them. */
    sim_file_is_clean(f);
    return rc;
}

static int sim_map(struct disk *disk, int file, size_t len, const char **ret_bytes)
{
    size_t got;
    char *copy = mem_alloc(len);
    if (!copy)
        return TTG_ENOMEM;
    int rc = sim_read(disk, file, 0, copy, len, &got);
    if (rc)
        mem_free(copy);
    else
        *ret_bytes = copy;
    return rc;
}

static void sim_unmap(struct disk *disk, const char *bytes, size_t len)
{
    (void)disk;
    (void)len;
    mem_free((void *)(uintptr_t)bytes);
}

static int sim_rename(struct disk *disk, const char *from, const char *to)
{
    struct sim_disk *d = sim_of(disk);
    int rc = step_whole(d, SIM_NAME);
    if (rc)
        return rc;
    struct sim_entry *entry = sim_dir_find(&d->now, from);
    if (!entry)
        return TTG_ENOENT;
    ensure(strlen(to) < SIM_NAME_MAX);
    struct sim_entry *old = sim_dir_find(&d->now, to);
    if (old && old != entry) {
        old->file = entry->file;
        sim_dir_remove(&d->now, entry);
    } else {
        strcpy(entry->name, to);
    }
    dir_changed(d);
    return 0;
}

static int sim_remove(struct disk *disk, const char *name)
{
    struct sim_disk *d = sim_of(disk);
    int rc = step_whole(d, SIM_NAME);
    if (rc)
        return rc;
    struct sim_entry *entry = sim_dir_find(&d->now, name);
    if (!entry)
        return TTG_ENOENT;
    sim_dir_remove(&d->now, entry);
    dir_changed(d);
    return 0;
}

static int sim_list(struct disk *disk, int (*each)(void *ctx, const char *name), void *ctx)
{
    struct sim_disk *d = sim_of(disk);
    if (d->crashed)
        return TTG_EIO;
    struct sim_dir copy = {0};
    sim_dir_copy(&copy, &d->now);
    int rc = 0;
    for (size_t i = 0; i < copy.count && !rc; i++)
        rc = each(ctx, copy.at[i].name);
    free(copy.at);
    return rc;
}

static void past_clear(struct sim_disk *d, size_t from)
{
    for (size_t i = from; i < d->past_count; i++)
        free(d->past[i].at);
    d->past_count = from;
}

static void dir_is_safe(struct sim_disk *d)
{
    past_clear(d, 1);
    sim_dir_copy(&d->past[0], &d->now);
    sweep(d);
}

static int sim_sync_dir(struct disk *disk)
{
    struct sim_disk *d = sim_of(disk);
    int rc = step_whole(d, SIM_SYNC_DIR);
    if (!rc && !d->faults.ignore_sync)
        dir_is_safe(d);
    return rc;
}

static int sim_sync_all(struct disk *disk)
{
    struct sim_disk *d = sim_of(disk);
    int rc = step_whole(d, SIM_SYNC);
    if (rc || d->faults.ignore_sync)
        return rc;
    for (size_t i = 0; i < d->now.count && !rc; i++)
        rc = sim_file_sync(&d->files[d->now.at[i].file]);
    for (size_t i = 0; i < d->now.count; i++)
        sim_file_is_clean(&d->files[d->now.at[i].file]);
    if (!rc)
        dir_is_safe(d);
    return rc;
}

static int sim_lock(struct disk *disk, const char *name, int *ret_file, uint64_t *ret_holder)
{
    struct sim_disk *d = sim_of(disk);
    (void)name;
    if (d->crashed)
        return TTG_EIO;
    *ret_holder = 0;
    if (d->locked)
        return TTG_EBUSY;
    d->locked = true;
    *ret_file = new_open(d, -1, false, true);
    return 0;
}

static const struct disk_ops sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .read = sim_read,
    .write = sim_write,
    .size = sim_size,
    .truncate = sim_truncate,
    .allocate = sim_allocate,
    .next_data = sim_next_data,
    .sync = sim_sync,
    .map = sim_map,
    .unmap = sim_unmap,
    .rename = sim_rename,
    .remove = sim_remove,
    .list = sim_list,
    .sync_dir = sim_sync_dir,
    .sync_all = sim_sync_all,
    .lock = sim_lock,
};

int sim_disk_new(uint64_t seed, struct sim_disk **ret_disk)
{
    static char path[] = "sim";
    struct sim_disk *d = calloc(1, sizeof *d);
    if (!d)
        return TTG_ENOMEM;
    d->disk = (struct disk){&sim_ops, path};
    prng_init(&d->random, seed);
    dir_changed(d);
    *ret_disk = d;
    return 0;
}

void sim_disk_free(struct sim_disk *d)
{
    if (!d)
        return;
    for (int i = 0; i < SIM_FILES_MAX; i++)
        sim_file_clear(&d->files[i]);
    past_clear(d, 0);
    free(d->past);
    free(d->now.at);
    free(d);
}

struct disk *sim_disk_disk(struct sim_disk *d)
{
    return &d->disk;
}

struct sim_disk_faults *sim_disk_faults(struct sim_disk *d)
{
    return &d->faults;
}

uint64_t sim_disk_steps(const struct sim_disk *d)
{
    return d->steps;
}

bool sim_disk_crashed(const struct sim_disk *d)
{
    return d->crashed;
}

void sim_disk_crash(struct sim_disk *d)
{
    if (d->crashed)
        return;
    enum sim_keep keep = d->faults.keep_all    ? SIM_KEEP_ALL
                         : d->faults.keep_none ? SIM_KEEP_NONE
                                               : SIM_KEEP_ANY;
    size_t kept = (size_t)prng_below(&d->random, d->past_count);
    if (d->faults.keep_all || d->faults.keep_none)
        kept = d->faults.keep_all ? d->past_count - 1 : 0;
    sim_dir_copy(&d->now, &d->past[kept]);
    for (int i = 0; i < SIM_FILES_MAX; i++)
        if (d->files[i].used)
            sim_file_crash(&d->files[i], &d->random, keep);
    d->crashed = true;
}

void sim_disk_kill(struct sim_disk *d)
{
    for (int i = 0; i < SIM_OPEN_MAX; i++)
        if (d->open[i].open)
            sim_close(&d->disk, i);
    d->locked = false;
}

void sim_disk_restart(struct sim_disk *d)
{
    sim_disk_crash(d);
    d->crashed = false;
    sim_disk_kill(d);
    dir_is_safe(d);
}

static struct sim_file *named(struct sim_disk *d, const char *name)
{
    const struct sim_entry *entry = sim_dir_find(&d->now, name);
    return entry ? &d->files[entry->file] : NULL;
}

const char *sim_disk_bytes(struct sim_disk *d, const char *name, size_t *ret_len)
{
    const struct sim_file *f = named(d, name);
    if (!f)
        return NULL;
    *ret_len = f->now_len;
    return f->now;
}

bool sim_disk_flip(struct sim_disk *d, const char *name, uint64_t offset, unsigned bit)
{
    struct sim_file *f = named(d, name);
    if (!f || offset >= f->now_len)
        return false;
    f->now[offset] = (char)(f->now[offset] ^ (1 << (bit & 7)));
    sim_file_set(f, f->now_len);
    return true;
}

bool sim_disk_set(struct sim_disk *d, const char *name, const void *bytes, size_t len)
{
    int file;
    struct sim_disk_faults faults = d->faults;
    d->faults = (struct sim_disk_faults){0};
    bool ok = sim_open(&d->disk, name, DISK_WRITE | DISK_CREATE, &file) == 0;
    if (ok) {
        ok = sim_write(&d->disk, file, 0, bytes, len) == 0 && sim_sync(&d->disk, file) == 0;
        sim_close(&d->disk, file);
    }
    dir_is_safe(d);
    d->faults = faults;
    return ok;
}

bool sim_disk_delete(struct sim_disk *d, const char *name)
{
    struct sim_entry *entry = sim_dir_find(&d->now, name);
    if (!entry)
        return false;
    sim_dir_remove(&d->now, entry);
    dir_is_safe(d);
    return true;
}

int sim_disk_clone(const struct sim_disk *d, struct sim_disk **ret_disk)
{
    struct sim_disk *copy;
    int rc = sim_disk_new(1, &copy);
    for (size_t i = 0; !rc && i < d->now.count; i++) {
        const struct sim_file *f = &d->files[d->now.at[i].file];
        if (!sim_disk_set(copy, d->now.at[i].name, f->now_len ? f->now : "", f->now_len))
            rc = TTG_ENOMEM;
    }
    if (!rc)
        *ret_disk = copy;
    return rc;
}
