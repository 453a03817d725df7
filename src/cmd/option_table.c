/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/option_table.h"

#include <math.h>

const struct option_row option_rows[OPT_COUNT] = {
#define OPTION(id, ...) [OPT_##id] = {__VA_ARGS__},
#include "cmd/option_rows.h"
#undef OPTION
};

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {
    {"ns", 1},           {"us", 1000},          {"ms", 1000000},       {"s", 1000000000},
    {"m", 60000000000u}, {"min", 60000000000u}, {"h", 3600000000000u}, {"d", 86400000000000u},
};

static const struct unit size_units[] = {
    {"B", 1},
    {"K", 1u << 10},
    {"KiB", 1u << 10},
    {"kB", 1000},
    {"KB", 1000},
    {"M", 1u << 20},
    {"MiB", 1u << 20},
    {"MB", 1000000},
    {"G", 1u << 30},
    {"GiB", 1u << 30},
    {"GB", 1000000000u},
    {"T", (uint64_t)1 << 40},
    {"TiB", (uint64_t)1 << 40},
    {"TB", 1000000000000u},
};

static int find_unit(const struct unit *units, size_t count, struct str name, uint64_t *ret_factor)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(name, str_of(units[i].name))) {
            *ret_factor = units[i].factor;
            return 0;
        }
    return TTG_EINVAL;
}

/* "1.5h": a number, then a unit; a plain number has the unit `plain`. */
static int parse_with_unit(struct str text, const struct unit *units, size_t count,
                           const char *plain, uint64_t *ret_value)
{
    size_t digits = text.len;
    while (digits > 0 && ((text.ptr[digits - 1] | 32) >= 'a' && (text.ptr[digits - 1] | 32) <= 'z'))
        digits--;
    struct str number = str_make(text.ptr, digits);
    struct str name = str_make(text.ptr + digits, text.len - digits);
    uint64_t factor, whole;
    if (find_unit(units, count, name.len > 0 ? name : str_of(plain), &factor))
        return TTG_EINVAL;
    int rc = str_to_u64(number, &whole);
    if (rc == 0)
        return __builtin_mul_overflow(whole, factor, ret_value) ? TTG_ERANGE : 0;
    double fraction;
    if (rc == TTG_ERANGE || (rc = str_to_f64(number, &fraction)))
        return rc;
    fraction = round(fraction * (double)factor);
    if (fraction < 0 || fraction >= 0x1p64)
        return TTG_ERANGE;
    *ret_value = (uint64_t)fraction;
    return 0;
}

static int parse_bool(struct str text, bool *ret_value)
{
    static const char *const words[] = {"false", "no", "off", "0", "true", "yes", "on", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_eq_nocase(text, str_of(words[i]))) {
            *ret_value = i >= 4;
            return 0;
        }
    return TTG_EINVAL;
}

struct str option_choice(const struct option_row *row, size_t n)
{
    struct str rest = str_of(row->choices), choice = {NULL, 0};
    for (size_t i = 0; i <= n; i++) {
        if (!rest.ptr)
            return (struct str){NULL, 0};
        choice = str_cut(rest, '|', &rest);
    }
    return choice;
}

static int parse_choice(const struct option_row *row, struct str text, uint64_t *ret_index)
{
    for (size_t i = 0;; i++) {
        struct str choice = option_choice(row, i);
        if (!choice.ptr)
            return TTG_EINVAL;
        if (str_eq_nocase(choice, text)) {
            *ret_index = i;
            return 0;
        }
    }
}

static int check_name(struct str text)
{
    if (text.len > OPTION_NAME_BYTES_MAX)
        return TTG_ERANGE;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i], letter = (char)(c | 32);
        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '-')
            return TTG_EINVAL;
    }
    return 0;
}

static int parse_tri(struct str text, enum option_auto *ret)
{
    bool b = false;
    if (str_eq_nocase(text, STR("auto"))) {
        *ret = OPTION_UNDECIDED;
        return 0;
    }
    int rc = parse_bool(text, &b);
    if (!rc)
        *ret = b ? OPTION_YES : OPTION_NO;
    return rc;
}

/* Without the range. */
static int parse(const struct option_row *row, struct str text, union option_number *ret)
{
    switch (row->type) {
    case OPTION_BOOL:
        return parse_bool(text, &ret->b);
    case OPTION_AUTO:
        return parse_tri(text, &ret->tri);
    case OPTION_U64: {
        int64_t below_zero;
        int rc = str_to_u64(text, &ret->u);
        /* -1 is a number too, just out of range. */
        return rc == TTG_EINVAL && !str_to_i64(text, &below_zero) ? TTG_ERANGE : rc;
    }
    case OPTION_I64:
        return str_to_i64(text, &ret->i);
    case OPTION_F64:
        return str_to_f64(text, &ret->f);
    case OPTION_DURATION:
        return parse_with_unit(text, duration_units, sizeof duration_units / sizeof(struct unit),
                               row->unit, &ret->u);
    case OPTION_SIZE:
        return parse_with_unit(text, size_units, sizeof size_units / sizeof(struct unit), "B",
                               &ret->u);
    case OPTION_ENUM:
        return parse_choice(row, text, &ret->u);
    case OPTION_NAME:
        return check_name(text);
    case OPTION_STRING:
    case OPTION_LIST:
        break;
    }
    return 0;
}

static int compare(enum option_type type, union option_number a, union option_number b)
{
    if (type == OPTION_I64)
        return (a.i > b.i) - (a.i < b.i);
    if (type == OPTION_F64)
        return (a.f > b.f) - (a.f < b.f);
    return (a.u > b.u) - (a.u < b.u);
}

static bool in_range(const struct option_row *row, union option_number value)
{
    union option_number limit;
    if (row->min && !parse(row, str_of(row->min), &limit) && compare(row->type, value, limit) < 0)
        return false;
    return !row->max || parse(row, str_of(row->max), &limit) ||
           compare(row->type, value, limit) <= 0;
}

int option_expects(const struct option_row *row, struct buf *out)
{
    static const char *const nouns[] = {
        [OPTION_BOOL] = "true or false",
        [OPTION_AUTO] = "true, false or auto",
        [OPTION_U64] = "a whole number",
        [OPTION_I64] = "a whole number",
        [OPTION_F64] = "a number",
        [OPTION_DURATION] = "a time",
        [OPTION_SIZE] = "a size in bytes",
        [OPTION_ENUM] = "one of ",
        [OPTION_STRING] = "a text",
        [OPTION_NAME] = "1 to 64 letters, digits, _ and -",
        [OPTION_LIST] = "a list separated by commas",
    };
    int rc = buf_add_str(out, str_of(nouns[row->type]));
    if (!rc && row->type == OPTION_ENUM)
        for (size_t i = 0; !rc && option_choice(row, i).ptr; i++)
            rc = buf_printf(out, "%s%.*s", i ? ", " : "", STR_ARG(option_choice(row, i)));
    if (!rc && row->type == OPTION_DURATION)
        rc = buf_printf(out, " (units ns us ms s m h d; plain: %s)", row->unit);
    if (!rc && row->type == OPTION_SIZE)
        rc = buf_add_str(out, STR(" (units K M G, kB MB GB)"));
    if (!rc && row->min)
        rc = buf_printf(out, " from %s to %s", row->min, row->max);
    return rc;
}

int option_value(const struct option_row *row, struct str text, union option_number *ret,
                 struct err *err)
{
    const char *wrong = NULL;
    union option_number value = {.u = 0};
    int rc = parse(row, text, &value);
    if (text.len == 0 && !row->empty_ok)
        wrong = "is empty";
    else if (memchr(text.len ? text.ptr : "x", '\0', text.len ? text.len : 1))
        wrong = "holds a NUL byte";
    else if (rc == TTG_ERANGE || (!rc && !in_range(row, value)))
        wrong = "is out of range";
    else if (rc)
        wrong = row->type == OPTION_ENUM ? "is not known" : "is not valid";
    if (!wrong) {
        *ret = value;
        return 0;
    }
    struct buf expects;
    buf_init(&expects, ERR_TEXT_BYTES_MAX);
    option_expects(row, &expects);
    err_set(err, TTG_EUSAGE, "%s; expected is %.*s", wrong, STR_ARG(buf_str(&expects)));
    buf_done(&expects);
    return TTG_EUSAGE;
}

const char *option_key(const struct option_row *row)
{
    if (row->only_flag)
        return NULL;
    return row->key ? row->key : row->flag;
}

enum option_id option_by_flag(struct str flag, unsigned set)
{
    for (unsigned i = 0; i < OPT_COUNT; i++)
        if (option_rows[i].flag && option_rows[i].commands & set &&
            str_eq(str_of(option_rows[i].flag), flag))
            return i;
    return OPT_COUNT;
}

enum option_id option_by_letter(char letter, unsigned set)
{
    for (unsigned i = 0; i < OPT_COUNT; i++)
        if (letter && option_rows[i].commands & set && option_rows[i].letter == letter)
            return i;
    return OPT_COUNT;
}

static bool same_key(struct str a, const char *b)
{
    if (!b || a.len != strlen(b))
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (a.ptr[i] != b[i] && !(a.ptr[i] == '_' && b[i] == '-'))
            return false;
    return true;
}

enum option_id option_by_key(struct str key, unsigned set)
{
    for (unsigned i = 0; i < OPT_COUNT; i++)
        if (option_rows[i].commands & set && same_key(key, option_key(&option_rows[i])))
            return i;
    return OPT_COUNT;
}
