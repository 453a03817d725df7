/* SPDX-License-Identifier: Apache-2.0 */
/* Replies from a hostile server: a scan in two pieces agrees with one in one piece, and reading
 * stays inside what was scanned. */
#include "base/ensure.h"
#include "base/err.h"
#include "wire/resp_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = str_make(data, size);
    struct resp_scan once = {0}, twice = {0};
    size_t len_once = 0, len_twice = 0;
    int rc_once = resp_scan(&once, all, 4096, &len_once);
    int rc_twice = resp_scan(&twice, str_make(data, size / 2), 4096, &len_twice);
    if (rc_twice == TTG_EAGAIN)
        rc_twice = resp_scan(&twice, all, 4096, &len_twice);
    ensure(rc_once == rc_twice && len_once == len_twice);
    if (rc_once)
        return 0;
    struct resp_cursor c = resp_cursor_of(str_make(data, len_once)), skipper = c;
    struct resp_value v;
    uint64_t bytes = 0;
    while (resp_next(&c, &v))
        for (size_t i = 0; i < v.s.len; i++)
            bytes += (unsigned char)v.s.ptr[i];
    resp_skip(&skipper);
    ensure(skipper.at == c.at && c.at == c.end);
    return bytes == UINT64_MAX;
}
