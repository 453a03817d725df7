/* SPDX-License-Identifier: Apache-2.0 */
/* err - the error table, and messages for people.
 *
 * A code says which kind of failure; a `struct err` adds what happened, to what, and what to try.
 * System errors are translated where they occur, so nobody above sees errno. */
#ifndef TTG_BASE_ERR_H
#define TTG_BASE_ERR_H

#include <stdbool.h>
#include <ttg/error.h>

enum { ERR_TEXT_BYTES_MAX = 512 };

struct err {
    int code; /* 0 or TTG_E... */
    char text[ERR_TEXT_BYTES_MAX];
};

/* "TTG_ESTALE"; "TTG_E?" for a code that is not in the table. Static storage. */
const char *err_name(int code);

/* One short phrase for people. Static storage. */
const char *err_text(int code);

/* Whether the same call may succeed later by itself. */
bool err_retry_helps(int code);

/* Translates an errno value (positive). Never 0: an unknown one becomes TTG_EIO. */
int err_from_errno(int errnum);

/* Fills `e` (which may be NULL) and returns `code`. Too long a text ends in "...". */
int err_set(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same from errno: "WHAT: No space left on device". Returns the translated code. */
int err_set_errno(struct err *e, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__ /* it cannot see into them, and would assume that they may return 0 */
#define err_set(e, code, ...) ((void)err_set(e, code, __VA_ARGS__), (code))
#define err_set_errno(e, errnum, ...) ((void)err_set_errno(e, errnum, __VA_ARGS__), TTG_EIO)
#endif

#endif
