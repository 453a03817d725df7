/* SPDX-License-Identifier: Apache-2.0 */
/* Requests from anybody: words stay inside the input, and what arrives in pieces reads the same. */
#include "base/ensure.h"
#include "wire/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct resp_limits limits = {1024, 65536};
    struct resp_request whole;
    struct err err;
    size_t at = 0, len;
    resp_request_init(&whole);
    while (at < size) {
        struct str rest = str_make(data + at, size - at);
        int rc = resp_parse(&whole, &limits, rest, &len, &err);
        if (rc == 0)
            ensure(len > rest.len);
        if (rc != 1)
            break;
        ensure(len > 0 && len <= rest.len && whole.argc <= limits.args_max + RESP_LINE_BYTES_MAX);
        size_t bytes = 0, needed;
        for (size_t i = 0; i < whole.argc; i++)
            bytes += whole.argv[i].len;
        ensure(bytes <= len);
        size_t argc = whole.argc;
        /* Any shorter piece is incomplete and asks for no more than there is. */
        if (len > 1) {
            ensure(resp_parse(&whole, &limits, str_make(rest.ptr, len - 1), &needed, &err) == 0);
            ensure(needed <= len);
            ensure(resp_parse(&whole, &limits, str_make(rest.ptr, len), &needed, &err) == 1);
            ensure(needed == len && whole.argc == argc);
        }
        at += len;
    }
    resp_request_done(&whole);
    return 0;
}
