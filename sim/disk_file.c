/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/disk_file.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

static int grow(char **at, size_t *cap, size_t need)
{
    if (need <= *cap)
        return 0;
    size_t to = (need + SIM_SECTOR - 1) / SIM_SECTOR * SIM_SECTOR;
    if (to < *cap * 2)
        to = *cap * 2;
    char *bytes = realloc(*at, to);
    if (!bytes)
        return TTG_ENOMEM;
    memset(bytes + *cap, 0, to - *cap);
    *at = bytes;
    *cap = to;
    return 0;
}

int sim_file_grow(struct sim_file *f, size_t len)
{
    size_t before = f->now_cap;
    int rc = grow(&f->now, &f->now_cap, len);
    if (rc || f->now_cap == before)
        return rc;
    unsigned char *dirty = realloc(f->dirty, f->now_cap / SIM_SECTOR);
    if (!dirty)
        abort();
    memset(dirty + before / SIM_SECTOR, 0, (f->now_cap - before) / SIM_SECTOR);
    f->dirty = dirty;
    return 0;
}

void sim_file_clear(struct sim_file *f)
{
    free(f->now);
    free(f->safe);
    free(f->dirty);
    *f = (struct sim_file){0};
}

void sim_dir_copy(struct sim_dir *to, const struct sim_dir *from)
{
    struct sim_entry *at = realloc(to->at, (from->count + 1) * sizeof *at);
    if (!at)
        abort();
    if (from->count > 0)
        memcpy(at, from->at, from->count * sizeof *at);
    *to = (struct sim_dir){at, from->count};
}

struct sim_entry *sim_dir_add(struct sim_dir *dir)
{
    struct sim_entry *at = realloc(dir->at, (dir->count + 1) * sizeof *at);
    if (!at)
        abort();
    dir->at = at;
    return &at[dir->count++];
}

struct sim_entry *sim_dir_find(struct sim_dir *dir, const char *name)
{
    for (size_t i = 0; i < dir->count; i++)
        if (strcmp(dir->at[i].name, name) == 0)
            return &dir->at[i];
    return NULL;
}

void sim_dir_remove(struct sim_dir *dir, struct sim_entry *entry)
{
    *entry = dir->at[--dir->count];
}

bool sim_dir_has(const struct sim_dir *dir, int file)
{
    for (size_t i = 0; i < dir->count; i++)
        if (dir->at[i].file == file)
            return true;
    return false;
}

void sim_file_put(struct sim_file *f, uint64_t offset, const char *bytes, size_t len)
{
    if (len == 0)
        return;
    memcpy(f->now + offset, bytes, len);
    memset(f->dirty + offset / SIM_SECTOR, 1,
           (size_t)((offset + len - 1) / SIM_SECTOR - offset / SIM_SECTOR + 1));
    if (offset + len > f->now_len)
        f->now_len = (size_t)(offset + len);
}

void sim_file_set(struct sim_file *f, size_t len)
{
    if (grow(&f->safe, &f->safe_cap, f->now_cap))
        abort();
    if (len > 0)
        memcpy(f->safe, f->now, len);
    f->now_len = f->safe_len = len;
}

int sim_file_sync(struct sim_file *f)
{
    int rc = grow(&f->safe, &f->safe_cap, f->now_len);
    for (size_t i = 0; !rc && i * SIM_SECTOR < f->now_len; i++)
        if (f->dirty[i])
            memcpy(f->safe + i * SIM_SECTOR, f->now + i * SIM_SECTOR, SIM_SECTOR);
    if (!rc && f->now_len < f->safe_cap)
        memset(f->safe + f->now_len, 0, f->safe_cap - f->now_len);
    f->safe_len = f->now_len;
    return rc;
}

void sim_file_is_clean(struct sim_file *f)
{
    if (f->now_cap > 0)
        memset(f->dirty, 0, f->now_cap / SIM_SECTOR);
}

static bool survives(struct prng *random, enum sim_keep keep)
{
    return keep == SIM_KEEP_ANY ? prng_chance(random, 0.5) : keep == SIM_KEEP_ALL;
}

/* What of a file is left: its length from before or now, each unsynced sector old or new. */
void sim_file_crash(struct sim_file *f, struct prng *random, enum sim_keep keep)
{
    size_t len = f->now_len == f->safe_len || survives(random, keep) ? f->now_len : f->safe_len;
    /* Only as far as needed: room to spare on either side would grow the other at each crash. */
    if (f->safe_cap < f->now_cap && grow(&f->safe, &f->safe_cap, f->now_cap))
        abort();
    for (size_t i = 0; i * SIM_SECTOR < f->now_cap; i++)
        if (f->dirty[i] && survives(random, keep))
            memcpy(f->safe + i * SIM_SECTOR, f->now + i * SIM_SECTOR, SIM_SECTOR);
    if (len < f->safe_cap)
        memset(f->safe + len, 0, f->safe_cap - len);
    f->safe_len = len;
    size_t kept = len < f->safe_cap ? len : f->safe_cap;
    if (f->now_cap < kept && sim_file_grow(f, kept))
        abort();
    if (kept > 0)
        memcpy(f->now, f->safe, kept);
    if (f->now_cap > kept)
        memset(f->now + kept, 0, f->now_cap - kept);
    f->now_len = len;
    sim_file_is_clean(f);
}
