/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/answer.h"

#include "wire/json.h"

enum member { RESULT, SUM, ERROR, PERMANENT, CHUNK_ID, MEMBERS };

static const struct str names[MEMBERS] = {
    [RESULT] = {"result", 6},       [SUM] = {"sum", 3},           [ERROR] = {"error", 5},
    [PERMANENT] = {"permanent", 9}, [CHUNK_ID] = {"chunk_id", 8},
};

static int find_members(struct json root, struct json *members, bool *has, struct err *err)
{
    struct json name, value;
    struct str at = json_inside(root);
    while (json_next(&at, &name, &value))
        for (int m = 0; m < MEMBERS; m++) {
            if (!json_is(name, names[m]))
                continue;
            if (has[m])
                return err_set(err, TTG_EPROTO, "two members \"%s\"", names[m].ptr);
            has[m] = true;
            members[m] = value;
        }
    if (has[RESULT] + has[SUM] + has[ERROR] != 1)
        return err_set(err, TTG_EPROTO, "not one of \"result\", \"sum\" and \"error\"");
    return 0;
}

/* A sum may stand in a string, as many languages cannot write big integers. */
static int parse_sum(struct json value, struct answer *a, struct err *err)
{
    if (value.type == JSON_STRING)
        value = (struct json){JSON_NUMBER, str_make(value.raw.ptr + 1, value.raw.len - 2)};
    a->kind = ANSWER_SUM;
    if (value.type != JSON_NUMBER || json_i128(value, &a->sum) != 0)
        return err_set(err, TTG_EPROTO, "\"sum\" must be an integer of at most 128 bits");
    return 0;
}

static int add_text(struct json value, struct buf *text, struct err *err)
{
    int rc = value.type == JSON_STRING ? json_add_text(value, text) : buf_add_str(text, value.raw);
    return rc ? err_set(err, rc, "%s", err_text(rc)) : 0;
}

int answer_parse(struct str line, struct str chunk_id, struct answer *ret_answer, struct buf *text,
                 struct err *err)
{
    struct json root, members[MEMBERS];
    bool has[MEMBERS] = {false};
    struct answer a = {0};
    int rc = json_parse(line, &root, err);
    if (rc)
        return rc;
    if (root.type != JSON_OBJECT)
        return err_set(err, TTG_EPROTO, "not a JSON object");
    rc = find_members(root, members, has, err);
    if (rc)
        return rc;
    if (has[CHUNK_ID] && !json_is(members[CHUNK_ID], chunk_id))
        return err_set(err, TTG_EPROTO, "the answer is for chunk_id %.*s, not \"%.*s\"",
                       STR_ARG(members[CHUNK_ID].raw), STR_ARG(chunk_id));
    if (has[PERMANENT] && members[PERMANENT].type != JSON_BOOL)
        return err_set(err, TTG_EPROTO, "\"permanent\" must be true or false");
    if (has[ERROR] && members[ERROR].type != JSON_STRING)
        return err_set(err, TTG_EPROTO, "\"error\" must be a string");
    if (has[SUM]) {
        rc = parse_sum(members[SUM], &a, err);
    } else {
        a.kind = has[ERROR] ? ANSWER_ERROR : ANSWER_RESULT;
        a.permanent = has[PERMANENT] && members[PERMANENT].raw.ptr[0] == 't';
        rc = add_text(members[has[ERROR] ? ERROR : RESULT], text, err);
    }
    if (!rc)
        *ret_answer = a;
    return rc;
}
