/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/command.h"

#include "base/mem.h"
#include "base/trace.h"
#include "io/process.h"
#include "worker/kernel.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

enum field { FIELD_START, FIELD_END, FIELD_CHUNK, FIELD_ATTEMPT, FIELD_JOB, FIELD_TRACE, FIELDS };

static const struct {
    struct str placeholder, variable;
} fields[FIELDS] = {
    [FIELD_START] = {STR("{start}"), STR("TTG_START=")},
    [FIELD_END] = {STR("{end}"), STR("TTG_END=")},
    [FIELD_CHUNK] = {STR("{chunk}"), STR("TTG_CHUNK=")},
    [FIELD_ATTEMPT] = {STR("{attempt}"), STR("TTG_ATTEMPT=")},
    [FIELD_JOB] = {STR("{job}"), STR("TTG_JOB=")},
    [FIELD_TRACE] = {STR("{traceparent}"), STR("TRACEPARENT=")},
};

static const struct str param_word = STR("{param}");
#define ALL_PARAMS "{}"

static bool is_ours(const char *variable)
{
    struct str v = str_of(variable);
    for (int f = 0; f < FIELDS; f++)
        if (str_starts(v, fields[f].variable))
            return true;
    return str_starts(v, STR("TTG_WORKER="));
}

static int env_copy(struct command *c, const char *worker)
{
    size_t count = 0;
    while (environ && environ[count])
        count++;
    c->env = mem_array(count + 1, sizeof *c->env);
    if (!c->env)
        return TTG_ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (!is_ours(environ[i]))
            c->env[c->env_count++] = environ[i];
    struct buf b;
    buf_init(&b, 4096);
    int rc = buf_printf(&b, "TTG_WORKER=%s", worker ? worker : "");
    c->worker = rc ? NULL : mem_dup(buf_ptr(&b), buf_len(&b));
    buf_done(&b);
    if (!c->worker)
        return rc ? rc : TTG_ENOMEM;
    c->env[c->env_count++] = c->worker;
    return 0;
}

bool command_takes_one(const char *arg)
{
    return strstr(arg, param_word.ptr) != NULL;
}

int command_open(struct command *c, char *const *argv, const char *worker, struct err *err)
{
    *c = (struct command){.argv = argv};
    if (!argv || !argv[0])
        return err_set(err, TTG_EUSAGE, "no command given; write it after --");
    for (; argv[c->argc]; c->argc++) {
        c->all_params += strcmp(argv[c->argc], ALL_PARAMS) == 0;
        c->takes_params |= c->all_params > 0 || command_takes_one(argv[c->argc]);
    }
    int rc = process_find(argv[0], &c->file, err);
    if (rc)
        return rc == TTG_ENOMEM ? rc : err ? (err->code = TTG_EUSAGE) : TTG_EUSAGE;
    rc = env_copy(c, worker);
    return rc ? err_set(err, rc, "command %s: %s", argv[0], err_text(rc)) : 0;
}

int command_make_absolute(struct command *c, struct err *err)
{
    if (c->file[0] == '/')
        return 0;
    char here[PATH_MAX];
    struct buf b;
    buf_init(&b, 2ul * PATH_MAX);
    if (!getcwd(here, sizeof here))
        return err_set_errno(err, errno, "command %s: current directory", c->argv[0]);
    int rc = buf_printf(&b, "%s/%s", here, c->file);
    char *file = rc ? NULL : mem_dup(buf_ptr(&b), buf_len(&b));
    buf_done(&b);
    if (!file)
        return err_set(err, TTG_ENOMEM, "command %s: out of memory", c->argv[0]);
    mem_free(c->file);
    c->file = file;
    return 0;
}

void command_close(struct command *c)
{
    mem_free(c->file);
    mem_free(c->env);
    mem_free(c->worker);
    *c = (struct command){0};
}

/* Empty where there are no leases. */
static int add_trace(struct buf *b, const struct kernel_task *t)
{
    struct trace trace;
    char text[TRACE_PARENT_BYTES];
    if (t->epoch == 0)
        return 0;
    trace_of(&trace, str_of(t->job), t->created_ms, t->chunk, t->epoch);
    trace_parent(&trace, text);
    return buf_add_str(b, str_of(text));
}

static int add_field(struct buf *b, const struct kernel_task *t, enum field f)
{
    switch (f) {
    case FIELD_START:
        return buf_add_i64(b, t->start);
    case FIELD_END:
        return buf_add_i64(b, t->end);
    case FIELD_CHUNK:
        return buf_add_u64(b, t->chunk);
    case FIELD_ATTEMPT:
        return buf_add_u64(b, t->attempt);
    case FIELD_TRACE:
        return add_trace(b, t);
    default:
        return buf_add_str(b, str_of(t->job));
    }
}

static size_t count_params(struct command_params p)
{
    size_t count = 0;
    for (struct str rest = p.text; rest.len > 0; count++)
        str_cut(rest, p.separator, &rest);
    return count;
}

static int add_params(struct buf *b, struct command_params p)
{
    int rc = 0;
    for (struct str rest = p.text; rest.len > 0 && !rc;) {
        rc = buf_add_str(b, str_cut(rest, p.separator, &rest));
        if (!rc)
            rc = buf_add_char(b, '\0');
    }
    return rc;
}

/* One argument with its placeholders filled in, and a NUL. */
static int add_argument(struct buf *b, const struct kernel_task *t, struct command_params params,
                        const char *arg)
{
    int rc = 0;
    struct str only, rest;
    while (*arg && !rc) {
        size_t plain = strcspn(arg, "{");
        rc = buf_add(b, arg, plain);
        arg += plain;
        if (*arg == '\0' || rc)
            break;
        int f = 0;
        while (f < FIELDS && !str_starts(str_of(arg), fields[f].placeholder))
            f++;
        if (f < FIELDS) {
            rc = add_field(b, t, (enum field)f);
            arg += fields[f].placeholder.len;
        } else if (str_starts(str_of(arg), param_word)) {
            only = str_cut(params.text, params.separator, &rest);
            rc = buf_add_str(b, only);
            arg += param_word.len;
        } else {
            rc = buf_add_char(b, *arg++);
        }
    }
    return rc ? rc : buf_add_char(b, '\0');
}

/* Offsets first: the text may move while it grows. */
static int fill_text(const struct command *c, struct command_line *line,
                     const struct kernel_task *t, struct command_params params, size_t *env_offset)
{
    int rc = 0;
    for (size_t i = 0; i < c->argc && !rc; i++)
        if (strcmp(c->argv[i], ALL_PARAMS) == 0)
            rc = add_params(&line->text, params);
        else if (strchr(c->argv[i], '{'))
            rc = add_argument(&line->text, t, params, c->argv[i]);
    *env_offset = buf_len(&line->text);
    for (int f = 0; f < FIELDS && !rc; f++) {
        rc = buf_add_str(&line->text, fields[f].variable);
        if (!rc)
            rc = add_field(&line->text, t, (enum field)f);
        if (!rc)
            rc = buf_add_char(&line->text, '\0');
    }
    return rc;
}

static int prepare(const struct command *c, struct command_line *line)
{
    buf_init(&line->text, COMMAND_TEXT_BYTES_MAX);
    line->argv = mem_array(c->argc + 1, sizeof *line->argv);
    line->envp = mem_array(c->env_count + FIELDS + 1, sizeof *line->envp);
    if (!line->argv || !line->envp) {
        command_line_done(line);
        return TTG_ENOMEM;
    }
    line->words_max = c->argc;
    memcpy(line->envp, c->env, c->env_count * sizeof *c->env);
    return 0;
}

static int grow_argv(struct command_line *line, size_t words)
{
    if (words <= line->words_max)
        return 0;
    char **argv = mem_array(words + 1, sizeof *argv);
    if (!argv)
        return TTG_ENOMEM;
    mem_free(line->argv);
    line->argv = argv;
    line->words_max = words;
    return 0;
}

static char *next_word(char **at)
{
    char *word = *at;
    *at += strlen(word) + 1;
    return word;
}

int command_fill(const struct command *c, struct command_line *line, const struct kernel_task *t,
                 struct command_params params)
{
    int rc = line->argv ? 0 : prepare(c, line);
    if (rc)
        return rc;
    line->envp[c->env_count] = NULL;
    if (!t) {
        memcpy(line->argv, c->argv, (c->argc + 1) * sizeof *c->argv);
        return 0;
    }
    size_t env_offset, count = count_params(params), words = c->argc + c->all_params * count;
    buf_clear(&line->text);
    rc = fill_text(c, line, t, params, &env_offset);
    if (!rc)
        rc = grow_argv(line, words);
    if (rc)
        return rc;
    char *at = buf_ptr(&line->text), *env_at = at + env_offset, **word = line->argv;
    for (size_t i = 0; i < c->argc; i++)
        if (strcmp(c->argv[i], ALL_PARAMS) == 0)
            for (size_t n = 0; n < count; n++)
                *word++ = next_word(&at);
        else
            *word++ = strchr(c->argv[i], '{') ? next_word(&at) : c->argv[i];
    *word = NULL;
    for (size_t f = 0; f < FIELDS; f++)
        line->envp[c->env_count + f] = next_word(&env_at);
    line->envp[c->env_count + FIELDS] = NULL;
    return 0;
}

void command_line_done(struct command_line *line)
{
    if (line->argv)
        buf_done(&line->text);
    mem_free(line->argv);
    mem_free(line->envp);
    *line = (struct command_line){0};
}
