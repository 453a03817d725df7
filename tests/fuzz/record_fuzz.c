/* SPDX-License-Identifier: Apache-2.0 */
/* A record from a damaged log: refused, or it reads as what it would be written as. */
#include "base/ensure.h"
#include "base/mem.h"
#include "wire/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record r, again;
    struct buf out;
    struct str *argv = NULL;
    size_t cap = 0, argc;
    int rc;
    if (record_open(&r, str_make(data, size)))
        return 0;
    buf_init(&out, 1 << 24);
    ensure(record_begin(&out, r.kind, r.now_ms, r.client) == 0);
    while ((rc = record_next(&r, &argv, &cap, &argc)) == 1)
        ensure(record_command(&out, argc, argv) == 0);
    ensure(record_open(&again, buf_str(&out)) == 0);
    ensure(again.kind == r.kind && again.now_ms == r.now_ms && again.client == r.client);
    mem_free(argv);
    buf_done(&out);
    return 0;
}
