/* SPDX-License-Identifier: Apache-2.0 */
/* The mechanism below the X commands, against a naive model of the same. */
#include "tap.h"

#include "core_harness.h"

#include "base/list.h"
#include "base/prng.h"
#include "core/keys.h"
#include "core/stream_store.h"

enum { MODEL_MAX = 4000, OWNERS = 3 };

struct model_entry {
    struct stream_id id;
    unsigned shape; /* which fields */
    bool live;
};

struct model_pending {
    bool in;
    int owner;
    uint64_t deliveries;
};

struct model {
    struct model_entry entries[MODEL_MAX];
    struct model_pending pending[MODEL_MAX]; /* of the entry with the same index */
    size_t count, live;
};

/* What an entry of a shape holds; several share their field names. */
static size_t fields_of(unsigned shape, struct str *fields)
{
    static const struct str names[] = {STR("name"), STR("other"), STR("")};
    static const char long_value[3000] = "";
    size_t pairs = 1 + shape % 3;
    for (size_t i = 0; i < pairs; i++) {
        fields[2 * i] = names[shape % 7 == 0 ? (i + 1) % 3 : i];
        fields[2 * i + 1] = str_make(long_value, shape % 11 == 0 ? 3000 : shape % 20);
    }
    return pairs;
}

static void expect_entry(struct stream_entry *e, const struct model_entry *want)
{
    struct str fields[6], name, value;
    assert_int_equal(stream_id_cmp(e->id, want->id), 0);
    assert_int_equal(e->pairs, fields_of(want->shape, fields));
    for (size_t i = 0; i < e->pairs; i++) {
        stream_entry_field(e, &name, &value);
        assert_true(str_eq(name, fields[2 * i]));
        assert_true(str_eq(value, fields[2 * i + 1]));
    }
}

static void check_range(const struct stream *s, const struct model *m, struct stream_id from,
                        struct stream_id to, bool reverse)
{
    struct stream_iter it;
    struct stream_entry e;
    stream_iter_open(&it, s, from, to, reverse);
    for (size_t k = 0; k < m->count; k++) {
        const struct model_entry *want = &m->entries[reverse ? m->count - 1 - k : k];
        if (!want->live || stream_id_cmp(want->id, from) < 0 || stream_id_cmp(want->id, to) > 0)
            continue;
        assert_true(stream_iter_next(&it, &e));
        expect_entry(&e, want);
    }
    assert_false(stream_iter_next(&it, &e));
    assert_int_equal(it.rc, 0);
    stream_iter_close(&it);
}

static void check_pending(const struct stream_group *g, const struct model *m)
{
    const struct stream_pending *p = stream_pending_from(g, NULL, STREAM_ID_MIN);
    const struct stream_pending *of[OWNERS];
    struct stream_consumer *consumers[OWNERS];
    for (int i = 0; i < OWNERS; i++) {
        consumers[i] = stream_consumer_find(g, str_make(&"012"[i], 1));
        of[i] = stream_pending_from(g, consumers[i], STREAM_ID_MIN);
    }
    for (size_t i = 0; i < m->count; i++) {
        const struct model_pending *want = &m->pending[i];
        struct stream_id id = m->entries[i].id;
        if (!want->in) {
            assert_null(stream_pending_find(g, id));
            continue;
        }
        assert_int_equal(stream_id_cmp(p->id, id), 0);
        assert_ptr_equal(p->consumer, consumers[want->owner]);
        assert_int_equal(p->deliveries, want->deliveries);
        assert_ptr_equal(of[want->owner], p);
        of[want->owner] = stream_pending_next(p, true);
        assert_ptr_equal(stream_pending_find(g, id), p);
        p = stream_pending_next(p, false);
    }
    assert_null(p);
}

static void check(const struct stream *s, const struct model *m, struct prng *p)
{
    size_t first = 0;
    struct stream_id last_live = STREAM_ID_MIN;
    assert_int_equal(s->length, m->live);
    while (first < m->count && !m->entries[first].live)
        first++;
    struct stream_id want = first < m->count ? m->entries[first].id : STREAM_ID_MIN;
    assert_int_equal(stream_id_cmp(s->first_id, want), 0);
    for (size_t i = 0; i < m->count; i++)
        if (m->entries[i].live)
            last_live = m->entries[i].id;
    assert_int_equal(stream_id_cmp(stream_last_live(s), last_live), 0);
    check_range(s, m, STREAM_ID_MIN, STREAM_ID_MAX, false);
    check_range(s, m, STREAM_ID_MIN, STREAM_ID_MAX, true);
    struct stream_id from = {prng_below(p, s->last_id.ms + 2), prng_below(p, 3)};
    struct stream_id to = {from.ms + prng_below(p, 20), prng_below(p, 3)};
    check_range(s, m, from, to, prng_chance(p, 0.5));
}

static void model_remove(struct model *m, size_t i)
{
    m->entries[i].live = false;
    m->live--;
}

static void do_append(struct stream *s, struct model *m, struct prng *p)
{
    struct str fields[6];
    struct stream_id id = {s->last_id.ms + prng_below(p, 3), prng_below(p, 3)};
    unsigned shape = (unsigned)prng_below(p, 1000);
    size_t pairs = fields_of(shape, fields);
    int rc = stream_append(s, id, fields, pairs);
    if (m->count > 0 && stream_id_cmp(id, m->entries[m->count - 1].id) <= 0) {
        assert_int_equal(rc, TTG_EINVAL);
        return;
    }
    if (rc == TTG_EINVAL) {
        assert_int_equal(m->count, 0);
        return;
    }
    assert_int_equal(rc, 0);
    m->entries[m->count] = (struct model_entry){id, shape, true};
    m->pending[m->count++] = (struct model_pending){0};
    m->live++;
}

static void do_remove(struct stream *s, struct model *m, struct prng *p)
{
    if (m->count == 0)
        return;
    size_t i = prng_below(p, m->count);
    int rc = stream_remove(s, m->entries[i].id, prng_chance(p, 0.5));
    assert_int_equal(rc, m->entries[i].live ? 0 : TTG_ENOENT);
    if (!rc)
        model_remove(m, i);
}

/* Exact trimming by id or length. */
static void do_trim(struct stream *s, struct model *m, struct prng *p)
{
    struct stream_trim t = {.by_id = prng_chance(p, 0.5)};
    uint64_t removed, want = 0;
    t.id_min = (struct stream_id){s->first_id.ms + prng_below(p, 8), prng_below(p, 3)};
    t.length_max = m->live > 10 ? m->live - prng_below(p, 10) : m->live;
    for (size_t i = 0; i < m->count; i++) {
        bool goes =
            t.by_id ? stream_id_cmp(m->entries[i].id, t.id_min) < 0 : m->live > t.length_max;
        if (!m->entries[i].live || !goes)
            continue;
        model_remove(m, i);
        want++;
    }
    assert_int_equal(stream_trim(s, &t, &removed), 0);
    assert_int_equal(removed, want);
}

static void do_pending(struct stream_group *g, struct model *m, struct prng *p)
{
    if (m->count == 0)
        return;
    size_t i = prng_below(p, m->count);
    int owner = (int)prng_below(p, OWNERS);
    struct stream_consumer *to = stream_consumer_find(g, str_make(&"012"[owner], 1));
    struct stream_pending *at = stream_pending_find(g, m->entries[i].id);
    struct model_pending *want = &m->pending[i];
    uint64_t pick = prng_below(p, 3);
    assert_int_equal(at != NULL, want->in);
    if (pick == 0) {
        assert_non_null(stream_deliver(to, m->entries[i].id, 7));
        *want = (struct model_pending){true, owner, 1};
    } else if (pick == 1 && at) {
        stream_pending_move(at, to, 8, at->deliveries + 1);
        want->owner = owner;
        want->deliveries++;
    } else if (at) {
        stream_pending_remove(at);
        want->in = false;
    }
}

static int append_bytes(void *ctx, struct str bytes)
{
    return buf_add_str(ctx, bytes);
}

/* Saves the core, loads it into another one and goes on there. Blobs pass to the new one. */
static void reload(struct h *h)
{
    struct buf bytes;
    struct core *fresh;
    struct core_env env = h->core->env;
    buf_init(&bytes, SIZE_MAX / 2);
    assert_int_equal(core_new(&env, &fresh), 0);
    assert_int_equal(core_save(h->core, append_bytes, &bytes), 0);
    assert_int_equal(core_load(fresh, buf_str(&bytes)), 0);
    assert_int_equal(core_digest(fresh), core_digest(h->core));
    h->core->env.blob_free = NULL;
    core_free(h->core);
    h->core = fresh;
    buf_done(&bytes);
}

static void play(uint64_t seed, bool spills)
{
    static struct model m;
    struct h h;
    struct stream *s;
    struct prng p;
    m = (struct model){0};
    h_open(&h);
    prng_init(&p, seed);
    h.core->streams.node_entries_max = 1 + prng_below(&p, 12);
    assert_int_equal(key_stream_open(h.core, STR("s"), &s), 0);
    s->spill = spills;
    struct stream_group *g = stream_group_add(s, STR("g"), STREAM_ID_MIN, 0);
    for (int i = 0; i < OWNERS; i++)
        assert_non_null(stream_consumer_add(g, str_make(&"012"[i], 1), 1));
    for (int step = 0; step < 1500; step++) {
        uint64_t pick = prng_below(&p, 100);
        h.blobs->fails = prng_chance(&p, 0.1) && pick < 50;
        if (pick < 50)
            do_append(s, &m, &p);
        else if (pick < 65)
            do_remove(s, &m, &p);
        else if (pick < 68)
            do_trim(s, &m, &p);
        else
            do_pending(g, &m, &p);
        h.blobs->fails = false;
        if (step % 20 == 0)
            check(s, &m, &p);
        if (step % 20 == 0)
            check_pending(g, &m);
        if (step % 100 == 99) {
            reload(&h);
            s = key_stream(h.core, STR("s"));
            g = stream_group_find(s, STR("g"));
        }
    }
    assert_int_equal(h.blobs->count > 0, spills);
    h_close(&h);
}

static void agrees_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        play(seed, false);
        play(seed, true);
    }
}

/* What reads old blocks says so when the disk does not give them. */
static void unreadable_blocks(void **state)
{
    (void)state;
    struct h h;
    struct stream *s;
    h_open(&h);
    h_expect(&h, "TTG.CONFIG stream-node-max-entries 2", "OK");
    assert_int_equal(key_stream_open(h.core, STR("s"), &s), 0);
    s->spill = true;
    for (uint64_t i = 1; i <= 20; i++)
        assert_int_equal(
            stream_append(s, (struct stream_id){i, 0}, (struct str[]){STR("f"), STR("v")}, 1), 0);
    assert_int_equal(h.blobs->live, 6);
    h_expect(&h, "XRANGE s 1 1", "[[\"1-0\" [\"f\" \"v\"]]]");
    h_expect(&h, "XGROUP CREATE s g 0", "OK");
    h_run(&h, "XREADGROUP GROUP g c COUNT 1 STREAMS s >");
    h.blobs->fails = true;
    h_expect(&h, "XRANGE s 1 1",
             "[-ERR old entries cannot be read back from disk: input/output error]");
    h_expect(&h, "XTRIM s MINID 2",
             "-ERR old entries cannot be read back from disk: input/output error");
    h_expect(&h, "XAUTOCLAIM s g d 0 -", "[\"0-0\" [] []]");
    h_expect(&h, "XCLAIM s g d 0 1-0", "[]");
    h_expect(&h, "XDEL s 1-0",
             "-ERR old entries cannot be read back from disk: input/output error");
    h_expect(&h, "XPENDING s g - + 10", "[[\"1-0\" \"c\" 0 1]]");
    h_expect(&h, "XLEN s", "20");
    h_expect(&h, "XRANGE s 19 +", "[[\"19-0\" [\"f\" \"v\"]] [\"20-0\" [\"f\" \"v\"]]]");
    h_expect(&h, "XTRIM s MINID 3", "2"); /* whole blocks need no reading */
    h.blobs->fails = false;
    h_expect(&h, "XDEL s 4-0", "1");
    assert_int_equal(h.blobs->live, 4);
    h_expect(&h, "XRANGE s - + COUNT 1", "[[\"3-0\" [\"f\" \"v\"]]]");
    h_expect(&h, "DEL s", "1");
    h_close(&h);
}

/* Guarded streams tell their guardian and refuse what would harm it. */
static struct {
    int delivered, acked, added;
} seen;

static void on_deliver(void *ctx, struct stream *s, struct stream_pending *p, struct stream_id id,
                       uint64_t now_ms)
{
    (void)ctx, (void)s, (void)id, (void)now_ms;
    assert_non_null(p);
    seen.delivered++;
}

static void on_ack(void *ctx, struct stream *s, struct stream_pending *p, uint64_t now_ms)
{
    (void)ctx, (void)now_ms;
    assert_int_equal(stream_remove(s, p->id, false), 0);
    seen.acked++;
}

static bool on_add(void *ctx, struct stream *s, struct stream_id id, const struct str *fields,
                   size_t pairs, uint64_t now_ms)
{
    (void)ctx, (void)s, (void)id, (void)now_ms;
    seen.added++;
    return pairs == 1 && str_eq(fields[0], STR("f"));
}

static void guardians(void **state)
{
    (void)state;
    static const char *const refused[] = {"XDEL s 1-0",
                                          "XTRIM s MAXLEN 0",
                                          "DEL s",
                                          "RENAME s t",
                                          "RENAME k s",
                                          "SET s v",
                                          "XGROUP SETID s g 0",
                                          "XGROUP DESTROY s g",
                                          "XSETID s 9-9",
                                          "XADD s MAXLEN 1 * f v",
                                          "XGROUP DELCONSUMER s g c"};
    struct h h;
    struct stream *s;
    const struct stream_hooks hooks = {on_deliver, on_ack, on_add};
    h_open(&h);
    h_expect(&h, "XGROUP CREATE s g 0 MKSTREAM", "OK");
    h_expect(&h, "SET k v", "OK");
    s = key_stream(h.core, STR("s"));
    s->guard = "this stream belongs to a job";
    s->hooks = &hooks;
    h_expect(&h, "XADD s 1-0 f v", "\"1-0\"");
    h_expect(&h, "XADD s 2-0 stale v", "\"2-0\"");
    h_expect(&h, "XLEN s", "1");
    h_expect(&h, "XREADGROUP GROUP g c STREAMS s >", "[[\"s\" [[\"1-0\" [\"f\" \"v\"]]]]]");
    uint64_t digest = core_digest(h.core);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        h_expect(&h, refused[i], "-ERR this stream belongs to a job");
        assert_false(h.call.changed);
    }
    assert_int_equal(core_digest(h.core), digest);
    h_expect(&h, "XCLAIM s g d 0 1-0 JUSTID", "[\"1-0\"]");
    h_expect(&h, "XACK s g 1-0", "1");
    h_expect(&h, "XLEN s", "0");
    h_expect(&h, "XINFO GROUPS s",
             "[[\"name\" \"g\" \"consumers\" 2 \"pending\" 0 \"last-delivered-id\" \"1-0\" "
             "\"entries-read\" 1 \"lag\" 0]]");
    assert_int_equal(seen.added, 2);
    assert_int_equal(seen.delivered, 2);
    assert_int_equal(seen.acked, 1);
    h_close(&h);
}

/* Each allocation of each command fails once: it says so, and nothing has changed. */
static void failing_allocations(void **state)
{
    (void)state;
    static const char *const setup[] = {"XADD s 1-0 a 1", "XADD s 2-0 b 2", "XGROUP CREATE s g 0",
                                        "SET k 1", "RPUSH l a"};
    static const char *const commands[] = {"XADD t 3-0 a 1",
                                           "XADD s 3-0 a 1",
                                           "XGROUP CREATE t g 0 MKSTREAM",
                                           "XGROUP CREATE s h 0",
                                           "SET k 2",
                                           "SET n 2",
                                           "RPUSH l b c",
                                           "SADD m a b",
                                           "HSET o a 1 b 2",
                                           "RENAME k s",
                                           "INCR k",
                                           "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
                                           "XCLAIM s g c 0 1-0 FORCE",
                                           "XACK s g 1-0 2-0 3-0 4-0 5-0 6-0 7-0 8-0 9-0",
                                           "XDEL s 1-0",
                                           "XTRIM s MAXLEN 1",
                                           "XGROUP CREATECONSUMER s g c",
                                           "APPEND k x"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        for (size_t n = 1;; n++) {
            struct h h;
            h_open(&h);
            for (size_t k = 0; k < sizeof setup / sizeof *setup; k++)
                h_run(&h, setup[k]);
            uint64_t digest = core_digest(h.core);
            /* XREADGROUP and XCLAIM note that the consumer was there */
            bool notes = commands[i][1] == 'R' || commands[i][1] == 'C';
            mem_fail_at(n);
            char *at;
            assert_true(buf_reserve(&h.out, 4096, &at) == 0 || n == 1);
            const char *answer = h_run(&h, commands[i]);
            int failed = mem_failed();
            mem_fail_at(0);
            bool refused = answer && str_starts(str_of(answer), STR("-OOM"));
            if (refused && !notes) {
                assert_false(h.call.changed);
                assert_int_equal(core_digest(h.core), digest);
            }
            h_close(&h);
            if (!failed)
                break;
        }
    }
}

static int refuse(void *ctx, struct str bytes)
{
    (void)ctx, (void)bytes;
    return TTG_ENOSPC;
}

/* Loading fails at each allocation once, and at each byte that is cut off or changed. */
static void damaged_snapshots(void **state)
{
    (void)state;
    static const char *const setup[] = {"TTG.CONFIG stream-node-max-entries 2",
                                        "XADD s 1-0 a 1",
                                        "XADD s 2-0 b 2 c 3",
                                        "XADD s 3-0 a 1",
                                        "XDEL s 1-0",
                                        "XGROUP CREATE s g 0",
                                        "XREADGROUP GROUP g c COUNT 1 STREAMS s >",
                                        "SET k 1",
                                        "RPUSH l a b",
                                        "SADD m a b",
                                        "HSET o a 1 b 2"};
    struct h h;
    struct core *c;
    struct buf bytes;
    h_open(&h);
    buf_init(&bytes, 1 << 20);
    for (size_t i = 0; i < sizeof setup / sizeof *setup; i++)
        h_run(&h, setup[i]);
    assert_int_equal(core_save(h.core, refuse, NULL), TTG_ENOSPC);
    assert_int_equal(core_save(h.core, append_bytes, &bytes), 0);
    for (size_t n = 1, failed = 1; failed; n++) {
        assert_int_equal(core_new(NULL, &c), 0);
        mem_fail_at(n);
        int rc = core_load(c, buf_str(&bytes));
        failed = (size_t)mem_failed();
        mem_fail_at(0);
        assert_int_equal(rc, failed ? TTG_ENOMEM : 0);
        assert_true(failed || core_digest(c) == core_digest(h.core));
        core_free(c);
    }
    for (size_t i = 0; i < buf_len(&bytes); i++) {
        assert_int_equal(core_new(NULL, &c), 0);
        assert_int_equal(core_load(c, str_make(buf_ptr(&bytes), i)), TTG_ECORRUPT);
        buf_ptr(&bytes)[i] ^= 0x40;
        assert_int_equal(core_load(c, buf_str(&bytes)), TTG_ECORRUPT);
        buf_ptr(&bytes)[i] ^= 0x40;
        core_free(c);
    }
    buf_done(&bytes);
    h_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_model),
        cmocka_unit_test(unreadable_blocks),
        cmocka_unit_test(guardians),
        cmocka_unit_test(failing_allocations),
        cmocka_unit_test(damaged_snapshots),
    };
    return tap_run(tests);
}
