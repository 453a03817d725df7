/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/answer.h"

#include <jansson.h>

/* "-12", up to 128 bits. */
static int sum_from_text(struct str s, __int128 *ret_sum)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    __int128 sum = 0;
    if (s.len == (size_t)negative)
        return TTG_EPROTO;
    for (size_t i = negative; i < s.len; i++) {
        int digit = s.ptr[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_add_overflow(sum, negative ? -digit : digit, &sum))
            return TTG_EPROTO;
    }
    *ret_sum = sum;
    return 0;
}

static struct str text_of(const json_t *value)
{
    return str_make(json_string_value(value), json_string_length(value));
}

static int parse_sum(const json_t *value, struct answer *ret_answer, struct err *err)
{
    ret_answer->kind = ANSWER_SUM;
    if (json_is_integer(value)) {
        ret_answer->sum = json_integer_value(value);
        return 0;
    }
    if (json_is_string(value) && sum_from_text(text_of(value), &ret_answer->sum) == 0)
        return 0;
    return err_set(err, TTG_EPROTO, "\"sum\" must be an integer, or one in a string");
}

static int parse_result(const json_t *value, struct answer *ret_answer, struct buf *text)
{
    ret_answer->kind = ANSWER_RESULT;
    if (json_is_string(value))
        return buf_add_str(text, text_of(value));
    char *json = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    int rc = json ? buf_add_str(text, str_of(json)) : TTG_ENOMEM;
    free(json);
    return rc;
}

static int parse_error(const json_t *value, const json_t *permanent, struct answer *ret_answer,
                       struct buf *text, struct err *err)
{
    ret_answer->kind = ANSWER_ERROR;
    ret_answer->permanent = json_is_true(permanent);
    if (!json_is_string(value))
        return err_set(err, TTG_EPROTO, "\"error\" must be a string");
    if (permanent && !json_is_boolean(permanent))
        return err_set(err, TTG_EPROTO, "\"permanent\" must be true or false");
    return buf_add_str(text, text_of(value));
}

int answer_parse(struct str line, struct answer *ret_answer, struct buf *text, struct err *err)
{
    json_error_t e;
    json_t *root = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (!root && json_error_code(&e) == json_error_out_of_memory)
        return err_set(err, TTG_ENOMEM, "out of memory");
    if (!root)
        return err_set(err, TTG_EPROTO, "not one line of JSON (%s)", e.text);
    json_t *result = json_object_get(root, "result"), *sum = json_object_get(root, "sum");
    json_t *error = json_object_get(root, "error");
    struct answer a = {0};
    int rc;
    if ((result != NULL) + (sum != NULL) + (error != NULL) != 1)
        rc =
            err_set(err, TTG_EPROTO, "not an object with one of \"result\", \"sum\" and \"error\"");
    else if (result)
        rc = parse_result(result, &a, text);
    else if (sum)
        rc = parse_sum(sum, &a, err);
    else
        rc = parse_error(error, json_object_get(root, "permanent"), &a, text, err);
    json_decref(root);
    if (rc == TTG_EFULL || rc == TTG_ENOMEM)
        err_set(err, rc, "%s", err_text(rc));
    if (!rc)
        *ret_answer = a;
    return rc;
}
