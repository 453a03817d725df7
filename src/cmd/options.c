/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/options.h"

#include "base/ensure.h"
#include "base/mem.h"
#include "base/suggest.h"
#include "cmd/config_file.h"

#include <stdio.h>

static int no_memory(struct err *err)
{
    return err_set(err, TTG_ENOMEM, "out of memory");
}

/* ---- one value ---- */

static int add_item(struct option_slot *slot, const char *item, struct err *err)
{
    const char **items = mem_realloc(slot->items, (slot->item_count + 1) * sizeof *items);
    if (!items)
        return no_memory(err);
    slot->items = items;
    items[slot->item_count++] = item;
    return 0;
}

/* "a,b" from a variable or the file: the pieces need a NUL of their own. */
static int add_items(struct option_slot *slot, const char *text, struct err *err)
{
    for (struct str rest = str_of(text); rest.ptr;) {
        struct str item = str_trim(str_cut(rest, ',', &rest));
        char *copy = mem_dup(item.ptr, item.len);
        if (!copy)
            return no_memory(err);
        int rc = add_item(slot, copy, err);
        if (rc) {
            mem_free(copy);
            return rc;
        }
    }
    return 0;
}

/* `where` names the option as the user wrote it: "--chunk abc", "CHUNK_SIZE=abc". */
static int set_value(struct options *o, enum option_id id, enum option_source source,
                     const char *text, const char *where, struct err *err)
{
    struct option_slot *slot = &o->slots[id];
    struct err why = {0};
    int rc = option_value(&option_rows[id], str_of(text), &slot->number, &why);
    if (rc)
        return err_set(err, rc, "%s %s", where, why.text);
    slot->source = source;
    slot->text = text;
    if (option_rows[id].type != OPTION_LIST)
        return 0;
    if (source != OPTION_FROM_FLAG)
        return add_items(slot, text, err);
    char *copy = mem_strdup(text);
    rc = copy ? add_item(slot, copy, err) : no_memory(err);
    if (rc)
        mem_free(copy);
    return rc;
}

/* ---- flags ---- */

static int unknown_flag(const struct options *o, struct str name, struct err *err)
{
    struct suggest s;
    suggest_init(&s, name);
    for (size_t i = 0; i < OPT_COUNT; i++)
        if (option_rows[i].commands & o->set)
            suggest_offer(&s, option_rows[i].flag);
    enum option_id other = option_by_flag(name, IN_ALL);
    if (other != OPT_COUNT)
        for (size_t c = 0; c < CMD_COUNT; c++)
            if (option_rows[other].commands & 1u << c)
                return err_set(err, TTG_EUSAGE,
                               "option --%.*s does not belong to this command "
                               "but to 'ttg %s'",
                               STR_ARG(name), commands[c].name);
    if (s.best)
        return err_set(err, TTG_EUSAGE, "unknown option --%.*s; did you mean --%s?", STR_ARG(name),
                       s.best);
    return err_set(err, TTG_EUSAGE, "unknown option --%.*s", STR_ARG(name));
}

static int needs_value(enum option_id id, struct err *err)
{
    struct buf expects;
    buf_init(&expects, ERR_TEXT_BYTES_MAX);
    option_expects(&option_rows[id], &expects);
    err_set(err, TTG_EUSAGE, "--%s needs a value: %.*s", option_rows[id].flag,
            STR_ARG(buf_str(&expects)));
    buf_done(&expects);
    return TTG_EUSAGE;
}

/* What a message shows of a value. */
static const char *shown(enum option_id id, const char *text)
{
    return option_rows[id].secret && *text ? "***" : text;
}

static int set_flag(struct options *o, enum option_id id, const char *text, struct err *err)
{
    char where[160];
    snprintf(where, sizeof where, "--%s %s", option_rows[id].flag, shown(id, text));
    return set_value(o, id, OPTION_FROM_FLAG, text, where, err);
}

/* `word` starts with "--". `*at` is moved past the value when that is the next word. */
static int parse_long(struct options *o, char ***at, struct err *err)
{
    struct str rest, name = str_cut(str_of(**at + 2), '=', &rest);
    const char *value = rest.ptr;
    enum option_id id = option_by_flag(name, o->set);
    if (id == OPT_COUNT && str_starts(name, STR("no-"))) {
        enum option_id positive = option_by_flag(str_make(name.ptr + 3, name.len - 3), o->set);
        if (positive != OPT_COUNT && option_is_switch(&option_rows[positive])) {
            if (value)
                return err_set(err, TTG_EUSAGE, "--%.*s takes no value", STR_ARG(name));
            return set_flag(o, positive, "false", err);
        }
    }
    if (id == OPT_COUNT)
        return unknown_flag(o, name, err);
    if (!value && option_is_switch(&option_rows[id]))
        value = "true";
    if (!value) {
        value = (*at)[1];
        if (!value || strcmp(value, "--") == 0)
            return needs_value(id, err);
        ++*at;
    }
    return set_flag(o, id, value, err);
}

/* `-n5`, `-n 5`, `-ab` for two switches. */
static int parse_letters(struct options *o, char ***at, struct err *err)
{
    for (const char *p = **at + 1; *p; p++) {
        enum option_id id = option_by_letter(*p, o->set);
        if (id == OPT_COUNT)
            return err_set(err, TTG_EUSAGE, "unknown option -%c in '%s'", *p, **at);
        if (option_is_switch(&option_rows[id])) {
            int rc = set_flag(o, id, "true", err);
            if (rc)
                return rc;
            continue;
        }
        const char *value = p[1] ? p + 1 : (*at)[1];
        if (!value || strcmp(value, "--") == 0)
            return needs_value(id, err);
        if (!p[1])
            ++*at;
        return set_flag(o, id, value, err);
    }
    return 0;
}

static int parse_words(struct options *o, const struct options_input *in, struct err *err)
{
    size_t count = 0;
    while (in->words[count])
        count++;
    o->args = mem_array(count + 1, sizeof *o->args);
    if (!o->args)
        return no_memory(err);
    char **at = in->words;
    int rc = 0;
    for (; !rc && *at && strcmp(*at, "--") != 0; at++) {
        if (strncmp(*at, "--", 2) == 0)
            rc = parse_long(o, &at, err);
        else if (**at == '-' && (*at)[1])
            rc = parse_letters(o, &at, err);
        else
            o->args[o->arg_count++] = *at;
    }
    if (rc || !*at)
        return rc;
    at++;
    if (in->takes_command) {
        o->words = at;
        while (at[o->word_count])
            o->word_count++;
        return o->word_count ? 0 : err_set(err, TTG_EUSAGE, "no command behind --");
    }
    while (*at)
        o->args[o->arg_count++] = *at++;
    return 0;
}

/* ---- variables, file, defaults ---- */

static int set_from_variable(struct options *o, const struct options_input *in, enum option_id id,
                             struct err *err)
{
    const char *names[] = {option_rows[id].variable, option_rows[id].variable_else};
    for (size_t i = 0; i < 2; i++) {
        const char *text = names[i] ? in->variable(names[i]) : NULL;
        if (!text)
            continue;
        char where[160];
        snprintf(where, sizeof where, "%s=%s", names[i], shown(id, text));
        o->slots[id].variable = names[i];
        return set_value(o, id, OPTION_FROM_VARIABLE, text, where, err);
    }
    return 0;
}

struct from_file {
    struct options *o;
    struct err *err;
};

/* All rows with this key: two commands may share one. */
static int on_setting(void *ctx, unsigned line, const char *key, const char *value)
{
    struct from_file *f = ctx;
    struct options *o = f->o;
    char where[600];
    if (option_by_key(str_of(key), IN_ALL) == OPT_COUNT) {
        struct suggest s;
        suggest_init(&s, str_of(key));
        for (size_t i = 0; i < OPT_COUNT; i++)
            suggest_offer(&s, option_key(&option_rows[i]));
        return err_set(f->err, TTG_EUSAGE, "%s:%u: unknown setting '%s'%s%s%s", o->file_path, line,
                       key, s.best ? "; did you mean '" : "", s.best ? s.best : "",
                       s.best ? "'?" : "");
    }
    snprintf(where, sizeof where, "%s:%u: %s = %s", o->file_path, line, key,
             shown(option_by_key(str_of(key), IN_ALL), value));
    for (unsigned c = 0; c < CMD_COUNT; c++) {
        enum option_id id = option_by_key(str_of(key), 1u << c);
        if (id == OPT_COUNT)
            continue;
        union option_number unused;
        struct err why = {0};
        if (option_value(&option_rows[id], str_of(value), &unused, &why))
            return err_set(f->err, TTG_EUSAGE, "%s %s", where, why.text);
        struct option_slot *slot = &o->slots[id];
        if (slot->source == OPTION_FROM_FILE && slot->line != line)
            return err_set(f->err, TTG_EUSAGE, "%s: line %u has set it already", where, slot->line);
        if (!(option_rows[id].commands & o->set) || slot->source != OPTION_FROM_DEFAULT)
            continue;
        slot->line = line;
        int rc = set_value(o, id, OPTION_FROM_FILE, value, where, f->err);
        if (rc)
            return rc;
    }
    return 0;
}

/* The file that --config or TTG_CONFIG names has to be there; the usual place may be empty. */
static int find_file(struct options *o, const struct options_input *in, bool *ret_must,
                     struct err *err)
{
    const char *named = option_text(o, OPT_CONFIG), *top = in->variable("XDG_CONFIG_HOME");
    const char *rest = "/ttg/config";
    *ret_must = named != NULL;
    if (!named && (!top || *top != '/')) { /* relative ones are to be ignored, says the standard */
        top = in->variable("HOME");
        rest = "/.config/ttg/config";
    }
    if (!named && (!top || !*top))
        return 0;
    struct buf path;
    buf_init(&path, 1 << 16);
    int rc = named ? buf_add_str(&path, str_of(named)) : buf_printf(&path, "%s%s", top, rest);
    o->file_path = rc ? NULL : mem_strdup(buf_cstr(&path) ? buf_cstr(&path) : "");
    buf_done(&path);
    return o->file_path ? 0 : no_memory(err);
}

static int read_file(struct options *o, const struct options_input *in, struct err *err)
{
    if (!(option_rows[OPT_CONFIG].commands & o->set))
        return 0;
    bool must;
    struct from_file f = {o, err};
    int rc = find_file(o, in, &must, err);
    if (rc || !o->file_path)
        return rc;
    rc = config_file_read(o->file_path, &o->file, on_setting, &f, err);
    if (rc == TTG_ENOENT && !must) {
        mem_free(o->file_path);
        o->file_path = NULL;
        return 0;
    }
    if (!rc || rc == TTG_ENOMEM)
        return rc;
    if (err)
        err->code = TTG_EUSAGE; /* whatever the disk said: the user named the file */
    return TTG_EUSAGE;
}

static void set_default(struct options *o, enum option_id id)
{
    const struct option_row *row = &option_rows[id];
    struct err why = {0};
    if (!row->def)
        return;
    /* A unit test reads all defaults, so this is a bug of the table. */
    ensure(set_value(o, id, OPTION_FROM_DEFAULT, row->def, row->flag ? row->flag : "", &why) == 0 ||
           why.code == TTG_ENOMEM);
}

int options_parse(struct options *o, const struct options_input *in, struct err *err)
{
    *o = (struct options){.set = in->set};
    buf_init(&o->file, OPTIONS_FILE_BYTES_MAX);
    int rc = parse_words(o, in, err);
    for (unsigned id = 0; !rc && id < OPT_COUNT; id++)
        if (option_rows[id].commands & o->set && o->slots[id].source == OPTION_FROM_DEFAULT)
            rc = set_from_variable(o, in, id, err);
    if (!rc)
        rc = read_file(o, in, err);
    for (unsigned id = 0; !rc && id < OPT_COUNT; id++)
        if (o->slots[id].source == OPTION_FROM_DEFAULT)
            set_default(o, id);
    return rc;
}

void options_done(struct options *o)
{
    for (size_t i = 0; i < OPT_COUNT; i++) {
        for (size_t n = 0; n < o->slots[i].item_count; n++)
            mem_free((void *)(uintptr_t)o->slots[i].items[n]);
        mem_free(o->slots[i].items);
    }
    mem_free(o->args);
    mem_free(o->file_path);
    buf_done(&o->file);
}

/* ---- reading ---- */

bool option_given(const struct options *o, enum option_id id)
{
    return o->slots[id].source != OPTION_FROM_DEFAULT;
}

bool option_bool(const struct options *o, enum option_id id)
{
    ensure(option_rows[id].type == OPTION_BOOL);
    return o->slots[id].number.b;
}

enum option_auto option_tri(const struct options *o, enum option_id id)
{
    ensure(option_rows[id].type == OPTION_AUTO);
    return o->slots[id].number.tri;
}

uint64_t option_u64(const struct options *o, enum option_id id)
{
    ensure(option_rows[id].type == OPTION_U64 || option_rows[id].type == OPTION_SIZE ||
           option_rows[id].type == OPTION_ENUM);
    return o->slots[id].number.u;
}

int64_t option_i64(const struct options *o, enum option_id id)
{
    ensure(option_rows[id].type == OPTION_I64);
    return o->slots[id].number.i;
}

double option_f64(const struct options *o, enum option_id id)
{
    ensure(option_rows[id].type == OPTION_F64);
    return o->slots[id].number.f;
}

uint64_t option_ns(const struct options *o, enum option_id id)
{
    ensure(option_rows[id].type == OPTION_DURATION);
    return o->slots[id].number.u;
}

uint64_t option_ms(const struct options *o, enum option_id id)
{
    uint64_t ns = option_ns(o, id);
    return ns / 1000000 + (ns % 1000000 != 0);
}

const char *option_text(const struct options *o, enum option_id id)
{
    return o->slots[id].text;
}

struct str option_str(const struct options *o, enum option_id id)
{
    const struct option_slot *slot = &o->slots[id];
    if (option_rows[id].type == OPTION_ENUM && slot->text)
        return option_choice(&option_rows[id], slot->number.u);
    return str_of(slot->text);
}

int option_origin(const struct options *o, enum option_id id, struct buf *out)
{
    const struct option_slot *slot = &o->slots[id];
    switch (slot->source) {
    case OPTION_FROM_FLAG:
        return buf_printf(out, "flag --%s", option_rows[id].flag);
    case OPTION_FROM_VARIABLE:
        return buf_printf(out, "variable %s", slot->variable);
    case OPTION_FROM_FILE:
        return buf_printf(out, "file %s:%u", o->file_path, slot->line);
    case OPTION_FROM_DEFAULT:
        break;
    }
    return buf_add_str(out, slot->text ? STR("default") : STR("not set"));
}
