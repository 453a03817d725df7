/* SPDX-License-Identifier: Apache-2.0 */
/* A message from anybody: what is read and written again reads as the same. */
#include "base/ensure.h"
#include "wire/json.h"
#include "wire/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void task_round_trip(struct str text, struct buf *room, struct buf *out, struct buf *again)
{
    struct message_task t;
    if (message_read_task(&t, text, room, NULL))
        return;
    ensure(message_add_task(out, &t) == 0);
    t.total_in_chunk = 0;
    struct buf second;
    buf_init(&second, 1 << 24);
    if (message_read_task(&t, buf_str(out), &second, NULL) == 0) {
        ensure(message_add_task(again, &t) == 0);
        ensure(str_eq(buf_str(out), buf_str(again)));
    }
    buf_done(&second);
}

static void result_round_trip(struct str text, struct buf *room, struct buf *out, struct buf *again)
{
    struct message_result m;
    if (message_read_result(&m, text, room, NULL))
        return;
    ensure(message_add_result(out, &m) == 0);
    struct buf second;
    buf_init(&second, 1 << 24);
    ensure(message_read_result(&m, buf_str(out), &second, NULL) == 0);
    ensure(message_add_result(again, &m) == 0);
    buf_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf b[6];
    for (size_t i = 0; i < 6; i++)
        buf_init(&b[i], 1 << 24);
    task_round_trip(str_make(data, size), &b[0], &b[1], &b[2]);
    result_round_trip(str_make(data, size), &b[3], &b[4], &b[5]);
    for (size_t i = 0; i < 6; i++)
        buf_done(&b[i]);
    return 0;
}
