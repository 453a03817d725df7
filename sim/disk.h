/* SPDX-License-Identifier: Apache-2.0 */
/* sim/disk - a directory in memory that behaves as badly as a disk may.
 *
 * What was written and not synced is, after a crash, there or not, sector by sector (512 bytes, so
 * writes are torn and reordered); a name lives only once its directory was synced, and of the
 * changes before that a random front part survives. A failed sync drops what it should have
 * written, as the kernel does. Everything follows from one seed. */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "base/prng.h"
#include "io/disk.h"

#include <stdbool.h>

struct sim_disk;

/* For what a call is counted as a step: everything that changes files or syncs. */
enum sim_disk_step { SIM_WRITE, SIM_ALLOCATE, SIM_TRUNCATE, SIM_SYNC, SIM_NAME, SIM_SYNC_DIR };

struct sim_disk_faults {
    uint64_t crash_at; /* the step (from 1) during which the power goes; 0: never */
    uint64_t fail_at;  /* the step that fails with fail_code; 0: none */
    int fail_code;
    bool fail_for_ever;       /* and every one after it that takes room or syncs */
    bool ignore_sync;         /* a lying disk: sync says yes and does nothing */
    bool keep_all, keep_none; /* at a crash: all unsynced sectors survive, or none */
    uint64_t room_bytes;      /* 0: no limit */
    uint64_t sync_ms;         /* what a sync takes: told to on_delay */
    void (*on_delay)(void *ctx, uint64_t ms);
    void *ctx;
};

int sim_disk_new(uint64_t seed, struct sim_disk **ret_disk);
void sim_disk_free(struct sim_disk *d);
struct disk *sim_disk_disk(struct sim_disk *d);

/* May be changed at any time. */
struct sim_disk_faults *sim_disk_faults(struct sim_disk *d);
/* Steps so far. */
uint64_t sim_disk_steps(const struct sim_disk *d);
bool sim_disk_crashed(const struct sim_disk *d);

/* The power goes now. Every call fails until the restart. */
void sim_disk_crash(struct sim_disk *d);
/* The power is back: what survived is there, all descriptors and locks are gone. */
void sim_disk_restart(struct sim_disk *d);
/* The process died, not the machine: descriptors and locks are gone, all writes are kept. */
void sim_disk_kill(struct sim_disk *d);

/* For tests that look inside or break something. The content is both written and durable. NULL and
 * false when there is no such file. */
const char *sim_disk_bytes(struct sim_disk *d, const char *name, size_t *ret_len);
bool sim_disk_flip(struct sim_disk *d, const char *name, uint64_t offset, unsigned bit);
bool sim_disk_set(struct sim_disk *d, const char *name, const void *bytes, size_t len);
bool sim_disk_delete(struct sim_disk *d, const char *name);
/* An independent copy of all files as they are now, for trying many damages on one state. */
int sim_disk_clone(const struct sim_disk *d, struct sim_disk **ret_disk);

#endif
