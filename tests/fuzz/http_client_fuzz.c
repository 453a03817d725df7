/* SPDX-License-Identifier: Apache-2.0 */
/* A management API answers whatever it likes: bounded, never read beyond, and whole or not whole
 * does not depend on what was read before. */
#include "base/ensure.h"
#include "io/http_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_answer a = {0}, b = {0};
    struct buf room, other;
    buf_init(&room, HTTP_BODY_BYTES_MAX);
    buf_init(&other, HTTP_BODY_BYTES_MAX);
    int rc = http_answer_read(str_make(data, size), false, &room, &a);
    ensure(rc || a.body.len <= HTTP_BODY_BYTES_MAX);
    ensure(rc || (a.status >= 0 && a.status <= 999));
    for (size_t n = 0; n < size && n < 200; n++)
        http_answer_read(str_make(data, n), false, &other, &b);
    if (rc == 0) {
        ensure(http_answer_read(str_make(data, size), true, &other, &b) == 0);
        ensure(a.status == b.status && str_eq(a.body, b.body));
    }
    ensure(http_answer_read(str_make(data, size), true, &other, &b) != TTG_EAGAIN);
    buf_done(&room);
    buf_done(&other);
    return 0;
}
