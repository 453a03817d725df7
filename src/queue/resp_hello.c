/* SPDX-License-Identifier: Apache-2.0 */
/* How a connection begins: where to, the first commands, and what their refusals mean. Then the
 * dialect of ttg nodes, which serve the commands as they are. */
#include "queue/resp.h"

enum { LARGE_WORDS = 64 << 10 };

struct dial_to resp_address(const struct url *u, size_t host)
{
    if (u->scheme == URL_TTG_UNIX)
        return (struct dial_to){.path = u->path};
    size_t i = host % u->host_count;
    return (struct dial_to){.host = u->hosts[i].name, .port = u->hosts[i].port};
}

int resp_hello(const struct url *u, const char *name, struct buf *out)
{
    int rc = 0, count = 0;
    if (u->password) {
        count++;
        rc |= resp_command(out, u->user ? 3 : 2) | resp_word(out, STR("AUTH"));
        if (u->user)
            rc |= resp_word(out, str_of(u->user));
        rc |= resp_word(out, str_of(u->password));
    }
    if (u->db > 0) {
        count++;
        rc |= resp_command(out, 2) | resp_word(out, STR("SELECT")) | resp_word_u64(out, u->db);
    }
    if (name) {
        count++;
        rc |= resp_command(out, 3) | resp_word(out, STR("CLIENT")) |
              resp_word(out, STR("SETNAME")) | resp_word(out, str_of(name));
    }
    return rc ? TTG_ENOMEM : count;
}

int resp_hello_check(struct str reply, struct err *err)
{
    struct resp_cursor c = resp_cursor_of(reply);
    struct resp_value v;
    if (!resp_next(&c, &v) || v.type != RESP_ERROR)
        return 0;
    struct str rest, word = str_cut(v.s, ' ', &rest);
    bool auth = str_eq(word, STR("NOAUTH")) || str_eq(word, STR("WRONGPASS")) ||
                str_eq(word, STR("NOPERM")) || str_eq(word, STR("DENIED"));
    bool later = str_eq(word, STR("LOADING")) || str_eq(word, STR("BUSY")) ||
                 str_eq(word, STR("MASTERDOWN")) ||
                 str_starts(v.s, STR("ERR max number of clients"));
    return err_set(err,
                   auth    ? TTG_EAUTH
                   : later ? TTG_EAGAIN
                           : TTG_EUSAGE,
                   "%.*s%s", STR_ARG(v.s),
                   auth ? " (the password goes into the address: scheme://:PASSWORD@host)" : "");
}

/* --- the node's dialect --- */

static int node_greet(struct resp_engine *e, struct buf *out)
{
    (void)e;
    return resp_command(out, 1) | resp_word(out, STR("PING")) ? TTG_ENOMEM : 1;
}

static int node_command_head(const struct queue_request *r, size_t count, struct buf *out)
{
    struct str name, sub;
    resp_verb_name(r, &name, &sub);
    int rc = resp_command(out, count + 1 + (sub.ptr ? 1 : 0));
    if (!rc)
        rc = resp_word(out, name);
    return !rc && sub.ptr ? resp_word(out, sub) : rc;
}

/* Large words become the output themselves: their head is put in front of them. False: nothing was
 * done. */
static bool node_hand_over(struct queue_request *r, size_t count, struct buf *out)
{
    char room[RESP_FRONT_BYTES + 1];
    struct buf head = {.data = room, .cap = RESP_FRONT_BYTES, .bytes_max = RESP_FRONT_BYTES};
    size_t words = buf_len(&r->words);
    if (words < LARGE_WORDS || buf_len(out) > 0 || words + RESP_FRONT_BYTES > out->bytes_max ||
        node_command_head(r, count, &head) || !buf_put_front(&r->words, buf_str(&head)))
        return false;
    return buf_hand_over(&r->words, out);
}

static int node_command(struct resp_engine *e, struct queue_request *r, size_t count,
                        struct buf *out)
{
    (void)e;
    if (node_hand_over(r, count, out))
        return 0;
    size_t before = buf_len(out);
    int rc = node_command_head(r, count, out);
    if (!rc)
        rc = buf_add_str(out, buf_str(&r->words));
    if (rc && out->data)
        buf_truncate(out, before);
    return rc;
}

static int node_decode(struct resp_engine *e, struct queue_request *r, struct str reply,
                       struct err *err)
{
    return resp_decode(r, reply, &e->scratch, err);
}

const struct resp_dialect resp_node_dialect = {
    .greet = node_greet, .command = node_command, .decode = node_decode};
