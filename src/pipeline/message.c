/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/message.h"

#include "base/hash.h"
#include "wire/json.h"

#include <stdio.h>

enum member { ID, CLIENT, KEY, VALUE, END, IN, MEMBERS };
static const struct str names[MEMBERS] = {STR("id"),    STR("client"), STR("key"),
                                          STR("value"), STR("end"),    STR("in")};

static int find(struct json object, struct json members[MEMBERS], bool made, struct err *err)
{
    struct str at = json_inside(object);
    struct json name, value;
    while (json_next(&at, &name, &value)) {
        int i = 0;
        while (i < MEMBERS && !json_is(name, names[i]))
            i++;
        if (i == MEMBERS || (i == IN && !made))
            return err_set(err, TTG_EPROTO, "unknown member %.*s", STR_ARG(name.raw));
        if (members[i].raw.ptr)
            return err_set(err, TTG_EPROTO, "two members %.*s", STR_ARG(name.raw));
        members[i] = value;
    }
    return 0;
}

/* Offsets for now: the room may move while it grows. Numbers are taken for their text. */
static int add_text(struct json v, const char *name, struct buf *room, size_t ends[2],
                    struct err *err)
{
    ends[0] = buf_len(room);
    int rc = v.type == JSON_NUMBER ? buf_add_str(room, v.raw)
             : v.type == JSON_STRING
                 ? json_add_text(v, room)
                 : err_set(err, TTG_EPROTO, "\"%s\" is neither a text nor a number", name);
    ends[1] = buf_len(room);
    if (!rc && ends[1] - ends[0] > MESSAGE_TEXT_BYTES_MAX)
        return err_set(err, TTG_EPROTO, "\"%s\" is longer than %d bytes", name,
                       MESSAGE_TEXT_BYTES_MAX);
    return rc == TTG_EPROTO || !rc ? rc : err_set(err, rc, "%s", err_text(rc));
}

static int check(const struct message *m, bool made, struct err *err)
{
    if (!made && m->id.len == 0)
        return err_set(err, TTG_EPROTO, "\"id\" is missing or empty");
    if (!made && !m->has_client)
        return err_set(err, TTG_EPROTO, "\"client\" is missing");
    if (m->has_client && m->client.len == 0)
        return err_set(err, TTG_EPROTO, "\"client\" is empty");
    if (!m->end && str_eq(m->client, MESSAGE_ALL))
        return err_set(err, TTG_EPROTO, "the client \"*\" means all clients and only ends");
    return 0;
}

int message_parse(struct str text, bool made, struct message *ret_message, struct buf *room,
                  struct err *err)
{
    struct json root, members[MEMBERS] = {0};
    size_t ends[MEMBERS][2] = {{0}};
    struct err why = {0};
    int rc = json_parse(text, &root, &why);
    if (rc)
        return err_set(err, TTG_EPROTO, "%s", why.text);
    if (root.type != JSON_OBJECT)
        return err_set(err, TTG_EPROTO, "not a JSON object");
    rc = find(root, members, made, err);
    buf_clear(room);
    bool flag = members[END].raw.ptr && members[END].type == JSON_BOOL;
    for (int i = 0; i < MEMBERS && !rc; i++)
        if (members[i].raw.ptr && i != VALUE && !(i == END && flag))
            rc = add_text(members[i], names[i].ptr, room, ends[i], err);
    if (rc)
        return rc;
    struct str all = buf_str(room), views[MEMBERS];
    for (int i = 0; i < MEMBERS; i++)
        views[i] = str_make(all.ptr + ends[i][0], ends[i][1] - ends[i][0]);
    struct message m = {.id = views[ID],
                        .client = views[CLIENT],
                        .key = views[KEY],
                        .in = views[IN],
                        .path = views[END],
                        .has_client = members[CLIENT].raw.ptr != NULL,
                        .has_key = members[KEY].raw.ptr != NULL,
                        .end = members[END].raw.ptr && !(flag && members[END].raw.ptr[0] == 'f'),
                        .value = members[VALUE].raw.ptr ? members[VALUE].raw : STR("null")};
    rc = check(&m, made, err);
    if (!rc)
        *ret_message = m;
    return rc;
}

int message_add(struct buf *out, const struct message *m)
{
    int rc = buf_add_str(out, STR("{\"id\":"));
    if (!rc)
        rc = buf_add_json(out, m->id);
    if (!rc)
        rc = buf_add_str(out, STR(",\"client\":"));
    if (!rc)
        rc = buf_add_json(out, m->client);
    if (m->end) {
        if (!rc)
            rc = buf_add_str(out, STR(",\"end\":"));
        if (!rc)
            rc = buf_add_json(out, m->path);
    } else {
        if (!rc)
            rc = buf_add_str(out, STR(",\"key\":"));
        if (!rc)
            rc = buf_add_json(out, m->key);
        if (!rc)
            rc = buf_add_str(out, STR(",\"value\":"));
        if (!rc)
            rc = buf_add_str(out, m->value);
    }
    return rc ? rc : buf_add_char(out, '}');
}

struct str message_hash_id(char out[MESSAGE_TEXT_BYTES_MAX], struct str a, struct str b)
{
    char length[32]; /* so that "a" + "bc" is not "ab" + "c" */
    int n = snprintf(length, sizeof length, "%zu:", a.len);
    uint64_t seed = hash_xxh3(length, (size_t)n, 1);
    uint64_t x = hash_xxh3_two(a.ptr, a.len, b.ptr, b.len, seed);
    uint64_t y = hash_xxh3_two(a.ptr, a.len, b.ptr, b.len, seed + 1);
    n = snprintf(out, MESSAGE_TEXT_BYTES_MAX, "%016llx%016llx", (unsigned long long)x,
                 (unsigned long long)y);
    return str_make(out, (size_t)n);
}

struct str message_child_id(char out[MESSAGE_TEXT_BYTES_MAX], struct str id, size_t stage,
                            uint64_t n)
{
    char tail[48];
    int len = snprintf(tail, sizeof tail, "/%zu.%llu", stage, (unsigned long long)n);
    if (id.len + (size_t)len > MESSAGE_ID_BYTES_MAX)
        return message_hash_id(out, id, str_make(tail, (size_t)len));
    memcpy(out, id.ptr, id.len);
    memcpy(out + id.len, tail, (size_t)len);
    return str_make(out, id.len + (size_t)len);
}
