/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot file of any bytes is read or refused, and so is the list of blob files in it.
 *
 * With the first byte odd, the rest is content: the head, the sums and the tail are made right, and
 * the second byte is the length of the list. */
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "sim/disk.h"
#include "store/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_snapshot(void *ctx, uint64_t position, struct str bytes)
{
    *(uint64_t *)ctx = position;
    hash_crc32c(0, bytes.ptr, bytes.len);
    return 0;
}

static char *complete(const uint8_t *data, size_t size, size_t *ret_len)
{
    size_t table = size > 0 ? data[0] : 0, bytes = size > 0 ? size - 1 : 0;
    size_t chunks = (bytes + SNAPSHOT_CHUNK_BYTES - 1) / SNAPSHOT_CHUNK_BYTES;
    size_t len = SECTOR_BYTES + bytes + 4 * chunks + SECTOR_BYTES;
    char *file = mem_zalloc(len);
    ensure(file);
    char *at = file + SECTOR_BYTES, *sums = at + bytes;
    snapshot_head_write(file, &(struct snapshot_head){1, table < bytes ? table : bytes});
    if (bytes > 0)
        memcpy(at, data + 1, bytes);
    for (size_t i = 0; i < chunks; i++) {
        size_t from = i * SNAPSHOT_CHUNK_BYTES;
        size_t n = bytes - from < SNAPSHOT_CHUNK_BYTES ? bytes - from : SNAPSHOT_CHUNK_BYTES;
        put_u32(sums + 4 * i, snapshot_chunk_crc(1, i, at + from, n));
    }
    snapshot_tail_write(sums + 4 * chunks, 1, bytes, hash_crc32c(0, sums, 4 * chunks));
    *ret_len = len;
    return file;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct sim_disk *sim;
    struct store *s;
    ensure(sim_disk_new(1, &sim) == 0);
    struct store_options o = {.disk = sim_disk_disk(sim), .segment_bytes = 4096};

    /* A log of one record for it to stand on. */
    uint64_t position = 0;
    const struct store_recovery recovery = {&position, on_snapshot, NULL};
    ensure(store_open(&o, &s, NULL) == 0 && store_recover(s, &recovery, NULL, NULL) == 0);
    ensure(store_reserve(s, 1, 1, 0) == 0 && store_append(s, 0, 0, STR("a"), NULL) == 0);
    ensure(store_flush(s, NULL) == 0);
    store_close(s);

    char name[STORE_NAME_BYTES];
    file_name_write(name, FILE_SNAPSHOT, 1);
    if (data[0] & 1) {
        size_t len;
        char *file = complete(data + 1, size - 1, &len);
        sim_disk_set(sim, name, file, len);
        mem_free(file);
    } else {
        sim_disk_set(sim, name, data + 1, size - 1);
    }
    struct store_report report;
    int checked = store_check(&o, &report, NULL);
    int rc = store_open(&o, &s, NULL);
    ensure((checked == 0) == (rc == 0));
    if (!rc) {
        /* Either it counts, or the whole log in front of it does. */
        ensure(store_recover(s, &recovery, &report, NULL) == 0);
        ensure(report.last == 1 && report.snapshot_position == position);
        ensure((report.snapshots_bad == 0) == (position == 1));
        store_close(s);
    }
    sim_disk_free(sim);
    return 0;
}
