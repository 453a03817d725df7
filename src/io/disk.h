/* SPDX-License-Identifier: Apache-2.0 */
/* disk - the few file system calls that a store needs, for one flat directory.
 *
 * The store decides what has to be durable in which order; this is the edge where that happens.
 * It is a table of functions, because the simulator brings a disk of its own that loses, tears and
 * flips what the real one does only on the worst day. Names are file names without a slash.
 *
 * Every call returns 0 or a TTG_E code. After a `sync` that failed nobody knows what is on disk:
 * the kernel may have dropped the pages, and a second sync would succeed without having written
 * them. Such a file must not be trusted again by this process. */
#ifndef TTG_IO_DISK_H
#define TTG_IO_DISK_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct disk;

enum disk_flags {
    DISK_WRITE = 1,  /* reading is always allowed */
    DISK_CREATE = 2, /* create it, empty; an old file of that name is emptied */
};

struct disk_ops {
    int (*open)(struct disk *d, const char *name, unsigned flags, int *ret_file);
    void (*close)(struct disk *d, int file);

    /* Reads up to `len` bytes; less only at the end of the file. */
    int (*read)(struct disk *d, int file, uint64_t offset, void *bytes, size_t len,
                size_t *ret_len);
    /* Writes all or fails; on failure any part may have been written. */
    int (*write)(struct disk *d, int file, uint64_t offset, const void *bytes, size_t len);
    int (*size)(struct disk *d, int file, uint64_t *ret_bytes);
    int (*truncate)(struct disk *d, int file, uint64_t bytes);

    /* Makes the file `bytes` long (never shorter) and takes the room from the file system now, so
     * that later writes below do not fail for lack of it. New bytes read as zero. */
    int (*allocate)(struct disk *d, int file, uint64_t bytes);

    /* The first place at or behind `offset` that may hold something else than zero; the size of the
     * file when there is none. Skips room that was never written without reading it. */
    int (*next_data)(struct disk *d, int file, uint64_t offset, uint64_t *ret_offset);

    /* Content and size are on disk afterwards. */
    int (*sync)(struct disk *d, int file);
    /* What was synced will not be read soon: the kernel may use its memory for what comes next. May
     * be NULL. */
    void (*forget)(struct disk *d, int file, uint64_t offset, uint64_t len);

    /* A read-only view of the first `len` > 0 bytes. */
    int (*map)(struct disk *d, int file, size_t len, const char **ret_bytes);
    void (*unmap)(struct disk *d, const char *bytes, size_t len);

    int (*rename)(struct disk *d, const char *from, const char *to);
    int (*remove)(struct disk *d, const char *name);
    /* Names in no order, without "." and ".."; a result other than 0 of `each` ends it. */
    int (*list)(struct disk *d, int (*each)(void *ctx, const char *name), void *ctx);
    /* Creations, renames and removals so far are on disk afterwards. */
    int (*sync_dir)(struct disk *d);
    /* All files of the directory with their content and names are on disk afterwards: one call
     * for many files, that may write more than these. */
    int (*sync_all)(struct disk *d);

    /* Takes the lock of a file, creating it: one process at a time, and it goes with the process,
     * however that ends; a forked child does not share it. Waits a second for a holder that is
     * about to go. TTG_EBUSY, and then the holder's
     * process id (0 when unknown). Released by `close`. */
    int (*lock)(struct disk *d, const char *name, int *ret_file, uint64_t *ret_holder);
};

struct disk {
    const struct disk_ops *ops;
    char *path; /* for messages */
};

/* The directory at `path`, created (mode 0700, with missing parents) when `create`. */
int disk_open(const char *path, int create, struct disk **ret_disk, struct err *e);
/* Accepts NULL. */
void disk_free(struct disk *d);

/* `sync` for a file of such a disk, where nothing but its number is left. */
int disk_sync_file(int file);
/* As `forget`. */
void disk_forget_file(int file, uint64_t offset, uint64_t len);

#endif
