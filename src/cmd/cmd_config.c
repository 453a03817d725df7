/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/options.h"

static const struct command *named_command(const char *word)
{
    return word ? command_find(str_of(word)) : NULL;
}

unsigned cmd_config_set(char **words)
{
    const struct command *c = named_command(words[0]);
    return c ? IN_CONFIG | 1u << (unsigned)(c - commands) : IN_ALL;
}

/* A password inside a URL, or a whole secret, does not belong on a screen. */
static int add_value(struct buf *out, const struct option_row *row, struct str value)
{
    if (row->secret && value.len > 0)
        return buf_add_str(out, STR("***"));
    struct str before, after = {NULL, 0};
    for (size_t i = 0; i + 3 <= value.len; i++)
        if (memcmp(value.ptr + i, "://", 3) == 0) {
            after = str_make(value.ptr + i + 3, value.len - i - 3);
            break;
        }
    const char *at = after.len ? memrchr(after.ptr, '@', after.len) : NULL;
    const char *colon = at ? memchr(after.ptr, ':', (size_t)(at - after.ptr)) : NULL;
    if (!colon)
        return buf_add_str(out, value);
    before = str_make(value.ptr, (size_t)(colon + 1 - value.ptr));
    int rc = buf_add_str(out, before);
    if (!rc)
        rc = buf_add_str(out, STR("***"));
    return rc ? rc : buf_add(out, at, (size_t)(value.ptr + value.len - at));
}

/* All items of a list, as they would stand in the file. */
static int add_slot(struct buf *out, const struct options *o, enum option_id id)
{
    const struct option_slot *slot = &o->slots[id];
    if (option_rows[id].type != OPTION_LIST)
        return add_value(out, &option_rows[id], option_str(o, id));
    int rc = 0;
    for (size_t i = 0; i < slot->item_count && !rc; i++) {
        rc = i > 0 ? buf_add_char(out, ',') : 0;
        if (!rc)
            rc = add_value(out, &option_rows[id], str_of(slot->items[i]));
    }
    return rc;
}

static const char *title(const struct option_row *row)
{
    return row->flag ? row->flag : row->variable;
}

static int add_line(const struct options *o, enum option_id id, struct buf *out)
{
    const struct option_row *row = &option_rows[id];
    size_t start = buf_len(out);
    /* What is not set is commented out, so that the output can serve as a file. */
    bool comment = !option_text(o, id) || !option_key(row);
    int rc = buf_printf(out, "%s%s = ", comment ? "# " : "", title(row));
    if (!rc)
        rc = add_slot(out, o, id);
    size_t width = buf_len(out) - start;
    if (!rc)
        rc = buf_printf(out, "%*s  # ", width < 36 ? (int)(36 - width) : 0, "");
    if (!rc)
        rc = option_origin(o, id, out);
    return rc ? rc : buf_add_char(out, '\n');
}

static int add_json_name(struct buf *out, const char *name, const char *text)
{
    int rc = buf_printf(out, "\"%s\":", name);
    if (rc)
        return rc;
    return text ? buf_add_json(out, str_of(text)) : buf_add_str(out, STR("null"));
}

static int add_json(const struct options *o, enum option_id id, bool first, struct buf *out)
{
    static const char *const sources[] = {"default", "file", "variable", "flag"};
    const struct option_row *row = &option_rows[id];
    struct buf text;
    buf_init(&text, OPTIONS_FILE_BYTES_MAX);
    int rc = buf_add_str(out, first ? STR("{") : STR(",{"));
    if (!rc)
        rc = add_json_name(out, "name", title(row));
    if (!rc)
        rc = buf_add_str(out, STR(",\"value\":"));
    if (!rc)
        rc = add_slot(&text, o, id);
    if (!rc)
        rc = option_text(o, id) ? buf_add_json(out, buf_str(&text)) : buf_add_str(out, STR("null"));
    buf_clear(&text);
    if (!rc)
        rc = buf_printf(out, ",\"source\":\"%s\",", sources[o->slots[id].source]);
    if (!rc)
        rc = option_origin(o, id, &text);
    if (!rc)
        rc = buf_add_str(out, STR("\"origin\":"));
    if (!rc)
        rc = buf_add_json(out, buf_str(&text));
    if (!rc)
        rc = buf_add_char(out, ',');
    if (!rc)
        rc = add_json_name(out, "variable", row->variable);
    if (!rc)
        rc = buf_add_char(out, ',');
    if (!rc)
        rc = add_json_name(out, "key", option_key(row));
    buf_done(&text);
    return rc ? rc : buf_add_char(out, '}');
}

int cmd_config(struct command_run *r)
{
    const struct options *o = r->options;
    const struct command *c = named_command(r->arg_count ? r->args[0] : NULL);
    bool json = option_bool(o, OPT_JSON), first = true;
    struct err e = {0};
    if (r->arg_count && !c)
        return command_unknown(r, r->args[0]);
    unsigned set = c ? 1u << (unsigned)(c - commands) : (unsigned)IN_ALL;
    struct buf out;
    buf_init(&out, 1 << 24);
    int rc = 0;
    if (json) {
        rc = buf_add_char(&out, '{');
        if (!rc)
            rc = add_json_name(&out, "file", o->file_path);
        if (!rc)
            rc = buf_add_str(&out, STR(",\"settings\":["));
    } else if (o->file_path) {
        rc = buf_printf(&out, "# file %s\n", o->file_path);
    }
    for (unsigned id = 0; id < OPT_COUNT && !rc; id++) {
        if (!(option_rows[id].commands & set) || option_rows[id].only_flag)
            continue;
        rc = json ? add_json(o, id, first, &out) : add_line(o, id, &out);
        first = false;
    }
    if (!rc && json)
        rc = buf_add_str(&out, STR("]}\n"));
    int code = rc ? (err_set(&e, rc, "%s", err_text(rc)), command_fail(r, &e))
                  : command_print(r, buf_str(&out));
    buf_done(&out);
    return code;
}
