/* SPDX-License-Identifier: Apache-2.0 */
#include "job/raw.h"

#include "wire/message.h"

static int add_value(struct buf *out, const struct message_result *m)
{
    switch (m->value) {
    case MESSAGE_OUTPUT:
        return buf_add_str(out, m->text);
    case MESSAGE_OUTPUT_BASE64:
        return buf_add_unbase64(out, m->text);
    case MESSAGE_SUM: {
        char digits[48];
        size_t len = str_from_i128(digits, m->sum);
        digits[len] = '\n';
        return buf_add(out, digits, len + 1);
    }
    case MESSAGE_SUMMARY: {
        int rc = buf_add_str(out, m->text);
        return rc ? rc : buf_add_char(out, '\n');
    }
    default:
        return 0;
    }
}

int raw_add(struct buf *out, struct str lines, struct buf *room, struct err *err)
{
    int rc = 0;
    for (struct str rest = lines; rest.len > 0 && !rc;) {
        struct message_result m;
        struct str line = str_cut(rest, '\n', &rest);
        rc = message_read_result(&m, line, room, err);
        if (rc)
            return rc;
        rc = add_value(out, &m);
        if (rc)
            err_set(err, rc, "a result cannot be printed: %s", err_text(rc));
    }
    return rc;
}
