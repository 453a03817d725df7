/* SPDX-License-Identifier: Apache-2.0 */
/* A coprocess answers whatever it likes: the text stays within its limit, an error says why. */
#include "base/ensure.h"
#include "wire/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct answer a = {0};
    struct err err = {0};
    struct buf text;
    buf_init(&text, 1000);
    int rc = answer_parse(str_make(data, size), STR("00042"), &a, &text, &err);
    ensure((rc == 0) == (err.text[0] == '\0'));
    ensure(buf_len(&text) <= 1000);
    if (rc == 0 && a.kind != ANSWER_SUM)
        ensure(a.sum == 0);
    if (rc == 0 && a.kind != ANSWER_RESULT)
        ensure(a.kind == ANSWER_SUM ? buf_len(&text) == 0 : true);
    buf_done(&text);
    return 0;
}
