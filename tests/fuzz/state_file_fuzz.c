/* SPDX-License-Identifier: Apache-2.0 */
/* A client's file may hold anything. It is refused or taken up; what was taken up is the same after
 * a row more, a compaction and a restart. Rows come back as they were written, and so do ids and
 * names. */
#include "base/ensure.h"
#include "base/mem.h"
#include "sim/disk.h"
#include "state/csv.h"
#include "state/ids.h"
#include "state/name.h"
#include "state/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t rows, bytes;
};

static int on_apply(void *user, struct str client, void *state, const struct state_row *row)
{
    struct sum *s = state;
    uint64_t bytes;
    (void)user;
    (void)client;
    if (row->id.len == 0 && str_to_u64(row->values[0], &bytes))
        return TTG_ECORRUPT;
    s->rows += row->rows;
    s->bytes += row->id.len == 0 ? bytes : row->values[0].len;
    return 0;
}

static int on_merge(void *user, struct str client, const void *state, struct state_values *values)
{
    char digits[20];
    (void)user;
    (void)client;
    return state_value_add(
        values, str_make(digits, str_from_u64(digits, ((const struct sum *)state)->bytes)));
}

static int open_state(struct sim_disk *rows, struct sim_disk *log, struct state **ret)
{
    static const struct str columns[] = {{"msg_id", 6}, {"value", 5}};
    static struct clock_virtual clock;
    clock_virtual_init(&clock, 0);
    const struct state_options o = {.columns = columns,
                                    .column_count = 2,
                                    .state_bytes = sizeof(struct sum),
                                    .apply = on_apply,
                                    .merge = on_merge,
                                    .compact_rows = 3,
                                    .log_bytes = 1 << 16,
                                    .clock = &clock.clock,
                                    .disk_rows = sim_disk_disk(rows),
                                    .disk_log = sim_disk_disk(log)};
    return state_open("sim", &o, ret, NULL);
}

static struct sum sum_of(struct state *s)
{
    void *found;
    return state_get(s, STR("X"), &found, NULL, NULL) ? (struct sum){0} : *(struct sum *)found;
}

static void take_up(struct str bytes)
{
    static const char head[] = "msg_id,value\n";
    struct sim_disk *rows, *log;
    struct state *s;
    char file[70000];
    size_t len = bytes.len < 65536 ? bytes.len : 65536;
    ensure(!sim_disk_new(1, &rows) && !sim_disk_new(2, &log));
    memcpy(file, head, sizeof head - 1);
    if (len)
        memcpy(file + sizeof head - 1, bytes.ptr, len);
    sim_disk_set(rows, "X.csv", file, len + sizeof head - 1);
    ensure(open_state(rows, log, &s) == 0);
    int rc = state_rebuild(s, NULL, NULL, NULL);
    if (!rc) {
        struct sum before = sum_of(s);
        const struct str value = STR("a,\"b\"\n");
        const struct state_message m = {STR("X"), STR("~new, \"one\""), &value, 1, NULL};
        enum state_outcome outcome;
        ensure(state_process(s, &m, &outcome, NULL) == 0);
        uint64_t more = outcome == STATE_NEW;
        ensure(state_commit(s, NULL) == 0);
        state_close(s); /* compacts */
        ensure(open_state(rows, log, &s) == 0);
        ensure(state_rebuild(s, NULL, NULL, NULL) == 0);
        ensure(state_process(s, &m, &outcome, NULL) == 0 && outcome == STATE_DUPLICATE);
        struct sum after = sum_of(s);
        ensure(after.rows == before.rows + more && after.bytes == before.bytes + more * value.len);
    }
    state_close(s);
    sim_disk_free(rows);
    sim_disk_free(log);
}

static void rows_come_back(struct str bytes)
{
    struct csv_row row, again;
    size_t used;
    char *copy = mem_dup(bytes.ptr, bytes.len);
    struct buf out;
    buf_init(&out, 1 << 24);
    if (csv_read(copy, bytes.len, &row, &used) == 0 && row.count > 0) {
        ensure(used <= bytes.len);
        for (size_t i = 0; i < row.count; i++)
            ensure(!csv_add(&out, row.fields[i], i + 1 < row.count ? ',' : '\n'));
        /* One empty field is a blank line, which we never write: ids are not empty. */
        if (row.count > 1 || row.fields[0].len > 0) {
            ensure(csv_read(buf_ptr(&out), buf_len(&out), &again, &used) == 0);
            ensure(again.count == row.count);
            for (size_t i = 0; i < row.count; i++)
                ensure(str_eq(again.fields[i], row.fields[i]));
        }
    }
    buf_done(&out);
    mem_free(copy);
}

static void names_come_back(struct str bytes, bool fold)
{
    struct buf name, client;
    bool cut;
    buf_init(&name, 1 << 20);
    buf_init(&client, 1 << 20);
    struct str id = str_make(bytes.ptr, bytes.len < 4096 ? bytes.len : 4096);
    ensure(name_add(&name, id, fold, &cut) == 0 && buf_len(&name) <= NAME_BYTES_MAX);
    int rc = name_read(buf_str(&name), &client);
    ensure(cut ? rc == TTG_EAGAIN : rc == 0 && str_eq(buf_str(&client), id));
    buf_clear(&client);
    (void)name_read(id, &client);
    buf_done(&name);
    buf_done(&client);
}

static int on_piece(void *ctx, struct str text)
{
    return ids_read(ctx, text);
}

static void ids_come_back(struct str bytes)
{
    struct ids one, other;
    ids_init(&one, 1);
    ids_init(&other, 2);
    /* Ranges are short lies about long lists: kept small here. */
    if (bytes.len < 4096 && !memchr(bytes.ptr, '[', bytes.len) && ids_read(&one, bytes) == 0) {
        ensure(ids_text(&one, 4 * IDS_BYTES_MAX, on_piece, &other) == 0);
        ensure(one.count == other.count);
    }
    ids_done(&one);
    ids_done(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str rest = str_make((const char *)data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        rows_come_back(rest);
        break;
    case 1:
        names_come_back(rest, false);
        names_come_back(rest, true);
        break;
    case 2:
        ids_come_back(rest);
        break;
    default: /* as 'a' + 3 * ... of a printable byte: the whole way */
        if (!memchr(rest.ptr, '[', rest.len))
            take_up(rest);
    }
    return 0;
}
