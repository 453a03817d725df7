/* SPDX-License-Identifier: Apache-2.0 */
/* What servers say about themselves: slots, histories, greetings. Whatever it is, it is refused or
 * makes sense, and a history that was written is read back the same. */
#include "base/ensure.h"
#include "queue/redis.h"
#include "queue/resp_locate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void slots(struct str reply)
{
    struct resp_node from = {"127.0.0.1", 1}, node;
    struct resp_slots s;
    unsigned first, last;
    if (!resp_slots_begin(&s, reply))
        return;
    while (resp_slots_next(&s, &from, &first, &last, &node)) {
        ensure(last < 16384 && node.port > 0);
        ensure(strlen(node.host) < sizeof node.host);
    }
}

static void histories(struct str reply, struct str text)
{
    static struct history h, again;
    char written[HISTORY_TEXT_BYTES];
    struct history_entry fork;
    struct resp_cursor c = resp_cursor_of(reply);
    if (!redis_read_history(&c, &h) && !history_read(&h, text))
        return;
    history_write(&h, written);
    ensure(history_read(&again, str_of(written)));
    ensure(again.count == (h.count < HISTORY_KEPT ? h.count : HISTORY_KEPT));
    history_compare(&again, &h, &fork);
    ensure(h.count == 0 || history_compare(&h, &h, &fork) == HISTORY_SAME);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = str_make(data, size);
    struct resp_scan scan = {0};
    struct err err;
    size_t len;
    resp_key_slot(all);
    histories(STR("*0\r\n"), all);
    if (resp_scan(&scan, all, 1 << 20, &len))
        return 0;
    static struct resp_engine engine;
    engine.hello_left = 1;
    slots(str_make(data, len));
    histories(str_make(data, len), STR(""));
    redis_greeted(&engine, str_make(data, len), &err);
    engine.hello_left = 0;
    redis_greeted(&engine, str_make(data, len), &err);
    ensure(strlen(engine.server) <= 16);
    return 0;
}
