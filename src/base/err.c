/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#undef err_set
#undef err_set_errno

struct err_row {
    int code;
    bool retry;
    const char *name, *text;
};

static const struct err_row rows[] = {
#define X(code, symbol, retry, text) {code, retry, #symbol, text},
    TTG_ERROR_TABLE(X)
#undef X
};

static const struct err_row *err_row(int code)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].code == code)
            return &rows[i];
    return NULL;
}

const char *err_name(int code)
{
    const struct err_row *row = err_row(code);
    return code == 0 ? "OK" : row ? row->name : "TTG_E?";
}

const char *err_text(int code)
{
    const struct err_row *row = err_row(code);
    return code == 0 ? "no error" : row ? row->text : "unknown error";
}

bool err_retry_helps(int code)
{
    const struct err_row *row = err_row(code);
    return row && row->retry;
}

int err_from_errno(int errnum)
{
    switch (errnum) {
    case ENOMEM:
        return TTG_ENOMEM;
    case EINVAL:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return TTG_EINVAL;
    case ENOENT:
    case ENOTDIR:
        return TTG_ENOENT;
    case EEXIST:
        return TTG_EEXIST;
    case EACCES:
    case EPERM:
    case EROFS:
        return TTG_EACCES;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return TTG_ENOSPC;
    case EAGAIN:
    case EINTR:
        return TTG_EAGAIN;
    case EBUSY:
    case EADDRINUSE:
    case ETXTBSY:
        return TTG_EBUSY;
    case ETIMEDOUT:
        return TTG_ETIMEOUT;
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:
        return TTG_EUNREACH;
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ESHUTDOWN:
    case ENOTCONN:
        return TTG_ECLOSED;
    case EMFILE:
    case ENFILE:
        return TTG_EFULL;
    case ERANGE:
    case EOVERFLOW:
        return TTG_ERANGE;
    case ECANCELED:
        return TTG_ECANCELED;
    default:
        return TTG_EIO;
    }
}

/* Formats before it writes, because an argument may be the old text of `e`. */
static void err_fill(struct err *e, int code, const char *reason, const char *format, va_list args)
{
    char text[ERR_TEXT_BYTES_MAX];
    size_t room = sizeof text - strlen(reason);
    int n = vsnprintf(text, room, format, args);
    if (n < 0)
        text[0] = '\0';
    if (n >= (int)room)
        memcpy(text + room - 4, "...", 4);
    e->code = code;
    snprintf(e->text, sizeof e->text, "%s%s", text, reason);
}

int err_set(struct err *e, int code, const char *format, ...)
{
    if (!e)
        return code;
    va_list args;
    va_start(args, format);
    err_fill(e, code, "", format, args);
    va_end(args);
    return code;
}

int err_set_errno(struct err *e, int errnum, const char *format, ...)
{
    int code = err_from_errno(errnum);
    if (!e)
        return code;
    char reason[128];
    const char *text = strerrordesc_np(errnum);
    snprintf(reason, sizeof reason, ": %s", text ? text : "unknown system error");
    va_list args;
    va_start(args, format);
    err_fill(e, code, reason, format, args);
    va_end(args);
    return code;
}
