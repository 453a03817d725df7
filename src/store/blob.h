/* SPDX-License-Identifier: Apache-2.0 */
/* blob - immutable bytes outside memory, in files beside the log.
 *
 * Blobs are not logged: replay writes them again. So only a snapshot makes them last: it is put in
 * place after the blobs are synced and it carries the list of blob files with their lengths; a
 * start cuts the files to that list and replays from there. A file goes when no blob of it is in
 * use and every snapshot that could refer to it is gone. The functions fit core_env; `ctx` is the
 * struct store. */
#ifndef TTG_STORE_BLOB_H
#define TTG_STORE_BLOB_H

#include "core/core.h"
#include "store/store.h"

int store_blob_write(void *ctx, struct str bytes, struct blob_ref *ret_ref);
/* Appends to `out`. TTG_ECORRUPT when the bytes are not the ones that were written. */
int store_blob_read(void *ctx, struct blob_ref ref, struct buf *out);
void store_blob_free(void *ctx, struct blob_ref ref);

#endif
