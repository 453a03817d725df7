/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/mem.h"
#include "io/http_client.h"

#include <stdio.h>

static const struct {
    const char *bytes;
    bool ended;
    int rc, status;
    const char *body;
} rows[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", false, 0, 200, "{}"},
    {"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}rest", false, 0, 200, "{}"},
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", false, TTG_EAGAIN, 0, NULL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", true, TTG_EPROTO, 0, NULL},
    {"HTTP/1.0 401 Unauthorized\r\n\r\nno", true, 0, 401, "no"},
    {"HTTP/1.0 200 OK\r\n\r\nhalf", false, TTG_EAGAIN, 0, NULL},
    {"HTTP/1.1 204 No Content\r\n\r\n", false, 0, 204, ""},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n"
     "\r\n",
     false, 0, 200, "abc0123456789"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
     true, 0, 200, "abc"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false, TTG_EAGAIN, 0,
     NULL},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", true, TTG_EPROTO, 0,
     NULL},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", false, TTG_EPROTO, 0,
     NULL},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", false, TTG_EFULL, 0,
     NULL},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", false, TTG_EPROTO, 0, NULL},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", false, TTG_EPROTO, 0, NULL},
    {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", false, TTG_EFULL, 0, NULL},
    {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false, TTG_EPROTO, 0, NULL},
    {"HTTP/1.1 20 OK\r\n\r\n", false, TTG_EPROTO, 0, NULL},
    {"AMQP\0\0\11\1\r\n", false, TTG_EAGAIN, 0, NULL},
    {"-ERR\r\n", false, TTG_EPROTO, 0, NULL},
    {"", false, TTG_EAGAIN, 0, NULL},
    {"", true, TTG_EPROTO, 0, NULL},
};

static void answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct http_answer a = {0};
        struct buf room;
        buf_init(&room, HTTP_BODY_BYTES_MAX);
        int rc = http_answer_read(str_of(rows[i].bytes), rows[i].ended, &room, &a);
        if (rc != rows[i].rc)
            fail_msg("row %zu: %d, not %d", i, rc, rows[i].rc);
        if (!rc) {
            assert_int_equal(a.status, rows[i].status);
            assert_true(str_eq(a.body, str_of(rows[i].body)));
        }
        buf_done(&room);
    }
}

/* Cut off anywhere an answer is not whole, and whole it is the same however it came. */
static void answers_in_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf room;
        size_t len = strlen(rows[i].bytes);
        buf_init(&room, HTTP_BODY_BYTES_MAX);
        if (rows[i].rc == 0 && !rows[i].ended && i != 1) /* 1: something follows */
            for (size_t n = 0; n < len; n++) {
                struct http_answer a;
                if (http_answer_read(str_make(rows[i].bytes, n), false, &room, &a) != TTG_EAGAIN)
                    fail_msg("row %zu: whole after %zu bytes", i, n);
            }
        buf_done(&room);
    }
}

static void dates(void **state)
{
    static const struct {
        const char *text;
        uint64_t s;
    } dates[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Thu, 01 Jan 1970 00:00:01 GMT", 1},
        {"Thu, 29 Feb 2024 23:59:60 GMT", 1709251200},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
        {"Sun, 06 Nov 1994 08:49:37", 0},
        {"Sun, 06 anF 1994 08:49:37 GMT", 0},
        {"Sun, 06 No 1994 08:49:37 GMT", 0},
        {"Sun, 32 Nov 1994 08:49:37 GMT", 0},
        {"Sun, 06 Nov 1969 08:49:37 GMT", 0},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 0},
        {"", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(dates); i++) {
        char text[200];
        struct http_answer a = {0};
        struct buf room;
        buf_init(&room, HTTP_BODY_BYTES_MAX);
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\ndate: %s\r\nContent-Length: 2\r\n\r\n{}",
                 dates[i].text);
        assert_int_equal(http_answer_read(str_of(text), false, &room, &a), 0);
        if (a.date_ms != dates[i].s * 1000)
            fail_msg("'%s': %llu", dates[i].text, (unsigned long long)a.date_ms);
        buf_done(&room);
    }
}

static void without_memory(void **state)
{
    struct http_answer a;
    struct buf room;
    (void)state;
    buf_init(&room, HTTP_BODY_BYTES_MAX);
    mem_fail_at(1);
    assert_int_equal(http_answer_read(str_of(rows[7].bytes), false, &room, &a), TTG_ENOMEM);
    mem_fail_at(0);
    buf_done(&room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(answers_in_pieces),
        cmocka_unit_test(dates),
        cmocka_unit_test(without_memory),
    };
    return tap_run(tests);
}
