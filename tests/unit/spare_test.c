/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/spare.h"

#include <pthread.h>
#include <string.h>

enum { PIECE = SPARE_BYTES_MIN };

static void gives_back_what_fits(void **state)
{
    (void)state;
    size_t bytes = 0;
    void *piece = mem_alloc(2 * PIECE);
    assert_null(spare_take(PIECE, &bytes));
    assert_true(spare_give(piece, 2 * PIECE));
    assert_null(spare_take(PIECE - 1, &bytes));     /* too small to be worth it */
    assert_null(spare_take(2 * PIECE + 1, &bytes)); /* too large */
    assert_ptr_equal(spare_take(PIECE, &bytes), piece);
    assert_int_equal(bytes, 2 * PIECE);
    assert_null(spare_take(PIECE, &bytes));
    mem_free(piece);
    assert_false(spare_give(NULL, PIECE));
    piece = mem_alloc(SPARE_BYTES_MAX);
    assert_true(spare_give(piece, SPARE_BYTES_MAX));
    assert_null(spare_take(SPARE_BYTES_MAX / SPARE_WASTE - 1, &bytes)); /* it would be wasted */
    assert_ptr_equal(spare_take(SPARE_BYTES_MAX / SPARE_WASTE, &bytes), piece);
    assert_false(spare_give(piece, SPARE_BYTES_MAX + 1));
    assert_false(spare_give(piece, PIECE - 1));
    mem_free(piece);
}

static void keeps_a_few(void **state)
{
    (void)state;
    size_t bytes;
    for (int i = 0; i < SPARE_PIECES; i++)
        assert_true(spare_give(mem_alloc(PIECE), PIECE));
    void *more = mem_alloc(PIECE);
    assert_false(spare_give(more, PIECE));
    mem_free(more);
    spare_drop();
    assert_null(spare_take(PIECE, &bytes));
}

/* A buffer moves into a spare piece with all that is in it, and leaves it to the next one. */
static void buffers_pass_them_on(void **state)
{
    (void)state;
    static char text[2 * PIECE];
    struct buf b;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 7 % 251);
    buf_init(&b, SIZE_MAX / 2);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(buf_add(&b, "before", 6), 0);
        buf_consume(&b, 6);
        for (size_t i = 0; i < sizeof text; i += PIECE / 64)
            assert_int_equal(buf_add(&b, text + i, PIECE / 64), 0);
        assert_int_equal(buf_len(&b), sizeof text);
        assert_memory_equal(buf_ptr(&b), text, sizeof text);
        assert_non_null(buf_cstr(&b));
        buf_done(&b);
    }
    mem_fail_at(12); /* the first steps, from 256 bytes on; then no memory is needed */
    for (size_t i = 0; i < sizeof text; i += PIECE / 64)
        assert_int_equal(buf_add(&b, text + i, PIECE / 64), 0);
    mem_fail_at(0);
    buf_done(&b);
    spare_drop();
}

static void *many_rounds(void *arg)
{
    char mine = (char)(size_t)arg;
    for (int i = 0; i < 2000; i++) {
        size_t bytes = PIECE + (size_t)(i % 3) * PIECE / 2, room = bytes;
        char *piece = spare_take(bytes, &room);
        if (!piece)
            piece = mem_alloc(bytes);
        piece[0] = piece[sizeof(size_t)] = piece[room - 1] = mine;
        for (int k = 0; k < 50; k++)
            assert_true(piece[0] == mine && piece[sizeof(size_t)] == mine);
        assert_true(piece[room - 1] == mine);
        if (!spare_give(piece, room))
            mem_free(piece);
    }
    return NULL;
}

/* Nobody has a piece that another one has. */
static void threads_share_them(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, many_rounds, (void *)(i + 1)), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    spare_drop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_fits),
        cmocka_unit_test(keeps_a_few),
        cmocka_unit_test(buffers_pass_them_on),
        cmocka_unit_test(threads_share_them),
    };
    return tap_run(tests);
}
