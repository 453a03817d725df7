/* SPDX-License-Identifier: Apache-2.0 */
/* unpacked - reads a file's text whether it is plain, gzip or zstd, as its first bytes say. */
#ifndef TTG_IO_UNPACKED_H
#define TTG_IO_UNPACKED_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct unpacked;

/* `path` "-" is standard input. TTG_ENOENT, TTG_EACCES, ..., with a message. */
int unpacked_open(struct unpacked **ret_u, const char *path, struct err *err);
void unpacked_close(struct unpacked *u);

/* A whole gzip file in memory. TTG_ECORRUPT, TTG_EFULL, TTG_ENOMEM. */
struct buf;
int unpacked_gzip(const void *packed, size_t bytes, struct buf *out);

/* Whether the bytes come as they lie in a regular file, so that an offset in the text is an offset
 * in the file. */
bool unpacked_is_plain(const struct unpacked *u);

/* At most `bytes` of text; *ret_len is 0 only at the end. TTG_ECORRUPT when the packed data is
 * damaged or cut off. */
int unpacked_read(struct unpacked *u, void *out, size_t bytes, size_t *ret_len, struct err *err);

#endif
