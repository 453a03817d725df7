/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/config_file.h"

#include "io/file_read.h"

struct line {
    const char *path;
    unsigned number;
    char *at; /* NUL-terminated, may be changed */
};

static int wrong(const struct line *l, struct err *err, const char *what)
{
    return err_set(err, TTG_EUSAGE, "%s:%u: %s", l->path, l->number, what);
}

static char *trim(char *text)
{
    struct str s = str_trim(str_of(text));
    char *start = text + (s.ptr - text);
    start[s.len] = '\0';
    return start;
}

static void cut_comment(char *value)
{
    for (char *p = value; *p; p++)
        if (*p == '#' && (p == value || p[-1] == ' ' || p[-1] == '\t')) {
            *p = '\0';
            return;
        }
}

/* "a b" # comment. There are no escapes: what holds a double quote needs none around it. */
static int unquote(const struct line *l, char *value, struct err *err)
{
    char *end = strchr(value + 1, '"');
    if (!end)
        return wrong(l, err, "no closing quote");
    char *rest = trim(end + 1);
    if (*rest && *rest != '#')
        return wrong(l, err, "text behind the closing quote");
    *end = '\0';
    return 0;
}

static int read_line(const struct line *l, config_on_setting *on_setting, void *ctx,
                     struct err *err)
{
    char *key = trim(l->at);
    if (!*key || *key == '#')
        return 0;
    char *equals = strchr(key, '=');
    if (!equals)
        return wrong(l, err, "expected is a line 'key = value'");
    *equals = '\0';
    char *value = trim(equals + 1);
    key = trim(key);
    if (!*key)
        return wrong(l, err, "no key before '='");
    if (*value == '"') {
        int rc = unquote(l, value, err);
        return rc ? rc : on_setting(ctx, l->number, key, value + 1);
    }
    cut_comment(value);
    return on_setting(ctx, l->number, key, trim(value));
}

int config_file_parse(const char *path, struct buf *text, config_on_setting *on_setting, void *ctx,
                      struct err *err)
{
    if (!buf_cstr(text))
        return err_set(err, TTG_ENOMEM, "out of memory");
    struct line l = {path, 1, buf_ptr(text)};
    char *end = l.at + buf_len(text);
    int rc = 0;
    for (; l.at < end && !rc; l.number++) {
        char *newline = memchr(l.at, '\n', (size_t)(end - l.at));
        char *line_end = newline ? newline : end;
        *line_end = '\0';
        if (memchr(l.at, '\0', (size_t)(line_end - l.at)))
            return wrong(&l, err, "a NUL byte: this is not a text file");
        rc = read_line(&l, on_setting, ctx, err);
        l.at = line_end + 1;
    }
    return rc;
}

int config_file_read(const char *path, struct buf *text, config_on_setting *on_setting, void *ctx,
                     struct err *err)
{
    int rc = file_read(path, text, err);
    return rc ? rc : config_file_parse(path, text, on_setting, ctx, err);
}
