/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of an HTTP client: none leaves its bytes, and the parts lie inside. */
#include "base/ensure.h"
#include "io/http.h"

static void inside(struct str all, struct str part)
{
    ensure(part.len == 0 || (part.ptr >= all.ptr && part.ptr + part.len <= all.ptr + all.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_make(data, size);
    struct http_request r;
    size_t len;
    char value[32];
    while (http_parse(rest, &r, &len) == 0) {
        ensure(len > 0 && len <= rest.len && r.path.len > 0 && r.path.ptr[0] == '/');
        const struct str parts[] = {r.method, r.path,          r.query, r.body,        r.host,
                                    r.origin, r.authorization, r.ttg,   r.content_type};
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            inside(str_make(rest.ptr, len), parts[i]);
        if (http_param(r.query, "job", value, sizeof value))
            ensure(strlen(value) < sizeof value);
        http_host_is_literal(r.host);
        rest = str_make(rest.ptr + len, rest.len - len);
    }
    return 0;
}
