/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "base/err.h"

#include <errno.h>
#include <string.h>

static void every_code_has_a_row(void **state)
{
    (void)state;
    static const int codes[] = {
#define X(code, symbol, retry, text) symbol,
        TTG_ERROR_TABLE(X)
#undef X
    };
    for (size_t i = 0; i < COUNT(codes); i++) {
        assert_true(codes[i] < 0);
        assert_memory_equal(err_name(codes[i]), "TTG_E", 5);
        assert_string_not_equal(err_name(codes[i]), "TTG_E?");
        assert_string_not_equal(err_text(codes[i]), "unknown error");
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(codes[i], codes[j]);
    }
    assert_string_equal(err_name(TTG_ESTALE), "TTG_ESTALE");
    assert_string_equal(err_name(0), "OK");
    assert_string_equal(err_text(0), "no error");
    assert_string_equal(err_name(-1), "TTG_E?");
    assert_string_equal(err_text(-1), "unknown error");
    assert_true(err_retry_helps(TTG_EFULL));
    assert_false(err_retry_helps(TTG_ESTALE));
    assert_false(err_retry_helps(0));
    assert_false(err_retry_helps(-1));
}

static void translates_errno(void **state)
{
    (void)state;
    static const struct {
        int errnum, code;
    } cases[] = {
        {ENOMEM, TTG_ENOMEM},
        {EINVAL, TTG_EINVAL},
        {ENOENT, TTG_ENOENT},
        {ENOTDIR, TTG_ENOENT},
        {EEXIST, TTG_EEXIST},
        {EACCES, TTG_EACCES},
        {EPERM, TTG_EACCES},
        {EROFS, TTG_EACCES},
        {ENOSPC, TTG_ENOSPC},
        {EDQUOT, TTG_ENOSPC},
        {EFBIG, TTG_ENOSPC},
        {EAGAIN, TTG_EAGAIN},
        {EINTR, TTG_EAGAIN},
        {EBUSY, TTG_EBUSY},
        {EADDRINUSE, TTG_EBUSY},
        {ETIMEDOUT, TTG_ETIMEOUT},
        {ECONNREFUSED, TTG_EUNREACH},
        {ENETDOWN, TTG_EUNREACH},
        {EPIPE, TTG_ECLOSED},
        {ECONNRESET, TTG_ECLOSED},
        {EMFILE, TTG_EFULL},
        {ENFILE, TTG_EFULL},
        {ERANGE, TTG_ERANGE},
        {ECANCELED, TTG_ECANCELED},
        {EISDIR, TTG_EINVAL},
        {EIO, TTG_EIO},
        {123456, TTG_EIO},
        {0, TTG_EIO},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(err_from_errno(cases[i].errnum), cases[i].code);
}

static void says_what_happened(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(err_set(&e, TTG_EINVAL, "CHUNK_SIZE is '%s'", "abc"), TTG_EINVAL);
    assert_int_equal(e.code, TTG_EINVAL);
    assert_string_equal(e.text, "CHUNK_SIZE is 'abc'");
    assert_int_equal(err_set(NULL, TTG_EIO, "nobody asks"), TTG_EIO);
    assert_int_equal(err_set_errno(&e, ENOSPC, "%s", "/tmp/x"), TTG_ENOSPC);
    assert_string_equal(e.text, "/tmp/x: No space left on device");
    assert_int_equal(err_set_errno(NULL, ENOENT, "x"), TTG_ENOENT);
    assert_int_equal(err_set_errno(&e, 123456, "x"), TTG_EIO);
    assert_string_equal(e.text, "x: unknown system error");
}

static void wraps_its_own_text(void **state)
{
    (void)state;
    struct err e;
    err_set(&e, TTG_EIO, "inner");
    err_set(&e, TTG_EPROTO, "outer: %s", e.text);
    assert_string_equal(e.text, "outer: inner");
}

static void cuts_long_texts(void **state)
{
    (void)state;
    struct err e;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(&e, TTG_EIO, "%s", text);
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES_MAX - 1);
    assert_string_equal(e.text + ERR_TEXT_BYTES_MAX - 5, "x...");
    err_set_errno(&e, ENOSPC, "%s", text);
    assert_non_null(strstr(e.text, "x...: No space left on device"));
    text[ERR_TEXT_BYTES_MAX - 1] = '\0'; /* just fits */
    err_set(&e, TTG_EIO, "%s", text);
    assert_string_equal(e.text, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_row), cmocka_unit_test(translates_errno),
        cmocka_unit_test(says_what_happened),   cmocka_unit_test(wraps_its_own_text),
        cmocka_unit_test(cuts_long_texts),
    };
    return tap_run(tests);
}
