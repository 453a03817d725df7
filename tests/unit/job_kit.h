/* SPDX-License-Identifier: Apache-2.0 */
/* job_kit - a core under test: one command after the other, what changed it in a log, and answers
 * as short text. */
#ifndef TESTS_JOB_KIT_H
#define TESTS_JOB_KIT_H

#include "tap.h"

#include "base/pack.h"
#include "core/core.h"

#include <stdio.h>
#include <stdlib.h>

struct session {
    struct core *c;
    struct buf out, log, resume;
    uint64_t now_ms, client;
    bool blocked, changed, may_block;
    struct reply reply;
};

static inline void session_open(struct session *s)
{
    *s = (struct session){.now_ms = 1770631200000, .client = 7, .may_block = true};
    buf_init(&s->out, 64 << 20);
    buf_init(&s->log, 64 << 20);
    buf_init(&s->resume, 1 << 20);
    assert_int_equal(core_new(NULL, &s->c), 0);
    assert_int_equal(core_boot(s->c, s->now_ms), 1);
}

static inline void session_close(struct session *s)
{
    core_free(s->c);
    buf_done(&s->out);
    buf_done(&s->log);
    buf_done(&s->resume);
}

/* The reply without types and lengths of strings: "-ERR x", ":5" becomes "5", arrays "[a b]". */
static const char *readable(struct session *s)
{
    static char text[65536];
    size_t at = 0;
    size_t left[32], depth = 0;
    const char *p = buf_len(&s->out) ? buf_ptr(&s->out) : "", *end = p + buf_len(&s->out);
    while (p < end) {
        const char *line_end = memchr(p, '\r', (size_t)(end - p));
        assert_non_null(line_end);
        char type = *p++;
        long n = strtol(p, NULL, 10);
        bool opens = (type == '*' || type == '%') && n >= 0;
        if (at && text[at - 1] != '[')
            text[at++] = ' ';
        if (opens) {
            text[at++] = '[';
            left[depth++] = (size_t)n * (type == '%' ? 2 : 1);
        } else if (type == '$' && n >= 0) {
            memcpy(text + at, line_end + 2, (size_t)n);
            at += (size_t)n;
            line_end += 2 + n;
        } else if (type == '$' || type == '*' || type == '_') {
            at += (size_t)sprintf(text + at, "nil");
        } else {
            if (type == '-')
                text[at++] = '-';
            memcpy(text + at, p, (size_t)(line_end - p));
            at += (size_t)(line_end - p);
        }
        p = line_end + 2;
        if (opens && left[depth - 1] > 0)
            continue;
        if (opens) {
            text[at++] = ']';
            depth--;
        }
        while (depth > 0 && --left[depth - 1] == 0) {
            text[at++] = ']';
            depth--;
        }
    }
    text[at] = '\0';
    return text;
}

static inline void log_command(struct session *s, size_t argc, const struct str *argv)
{
    struct packer p = {.out = &s->log};
    pack_u64(&p, s->now_ms);
    pack_u64(&p, s->client);
    pack_u64(&p, argc);
    for (size_t i = 0; i < argc; i++)
        pack_str(&p, argv[i]);
    assert_int_equal(p.rc, 0);
}

static const char *run_words(struct session *s, size_t argc, const struct str *argv)
{
    const struct core_command *row = core_find(argv[0]);
    assert_non_null(row);
    buf_clear(&s->out);
    s->reply = (struct reply){.out = &s->out};
    struct core_call call = {.now_ms = s->now_ms,
                             .client = s->client,
                             .argc = argc,
                             .argv = argv,
                             .reply = &s->reply,
                             .resume = &s->resume,
                             .may_block = s->may_block};
    core_exec(s->c, row, &call);
    s->blocked = call.blocked;
    s->changed = call.changed;
    if (call.changed)
        log_command(s, argc, argv);
    assert_false(call.changed && (row->flags & CORE_READ));
    return call.blocked ? "(blocked)" : readable(s);
}

/* Words are split at blanks. */
static const char *run(struct session *s, const char *format, ...)
{
    static char line[8192];
    struct str argv[512];
    size_t argc = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = str_of(word);
    return run_words(s, argc, argv);
}

#endif
