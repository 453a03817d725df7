/* SPDX-License-Identifier: Apache-2.0 */
/* sim/disk_file - files and names of the simulated disk: as they are, and as a crash leaves them.
 *
 * Memory comes from the C library here: the failing allocations that a test arms are meant for the
 * code under test. */
#ifndef SIM_DISK_FILE_H
#define SIM_DISK_FILE_H

#include "base/prng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_SECTOR = 512, SIM_NAME_MAX = 120 };

/* Which unsynced sectors survive a crash. */
enum sim_keep { SIM_KEEP_ANY, SIM_KEEP_ALL, SIM_KEEP_NONE };

/* A file's content as written, and as a crash would leave it at worst. */
struct sim_file {
    int refs; /* names (now, safe, in pending changes) are swept; this counts open descriptors */
    char *now, *safe;
    size_t now_len, safe_len, now_cap, safe_cap;
    unsigned char *dirty; /* one for each sector of now_cap */
    bool used;
};

struct sim_entry {
    char name[SIM_NAME_MAX];
    int file;
};

struct sim_dir {
    struct sim_entry *at;
    size_t count;
};

/* Memory for `len` bytes; what is new is zero. TTG_ENOMEM. */
int sim_file_grow(struct sim_file *f, size_t len);
void sim_file_clear(struct sim_file *f);

void sim_dir_copy(struct sim_dir *to, const struct sim_dir *from);
struct sim_entry *sim_dir_add(struct sim_dir *dir);
struct sim_entry *sim_dir_find(struct sim_dir *dir, const char *name);
void sim_dir_remove(struct sim_dir *dir, struct sim_entry *entry);
bool sim_dir_has(const struct sim_dir *dir, int file);

/* Writes where memory is already; the sectors are then unsynced. */
void sim_file_put(struct sim_file *f, uint64_t offset, const char *bytes, size_t len);
/* The first `len` bytes as they are now are the whole content, on disk. */
void sim_file_set(struct sim_file *f, size_t len);
int sim_file_sync(struct sim_file *f);
/* Forgets which sectors are unsynced, whether or not they reached the disk. */
void sim_file_is_clean(struct sim_file *f);
void sim_file_crash(struct sim_file *f, struct prng *random, enum sim_keep keep);

#endif
