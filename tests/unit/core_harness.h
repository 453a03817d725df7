/* SPDX-License-Identifier: Apache-2.0 */
/* core_harness - a core under test: commands as text, answers as short text.
 *
 * Answers are written in one line: OK, -ERR text, 5, "text", (nil), (nil-array), [a b c]. */
#ifndef TESTS_CORE_HARNESS_H
#define TESTS_CORE_HARNESS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "core/core.h"

#include <stdio.h>

enum { H_WORDS_MAX = 64, H_BLOBS_MAX = 100000 };

/* Blobs are kept in memory; refs are indexes. */
struct h_blobs {
    struct str blobs[H_BLOBS_MAX];
    size_t count, live;
    bool fails;
};

struct h {
    struct core *core;
    uint64_t now_ms;
    struct buf out, text, resume, ready;
    struct core_call call;
    struct h_blobs *blobs;
    bool may_block, retry, silent;
};

static inline int h_blob_write(void *ctx, struct str bytes, struct blob_ref *ret_ref)
{
    struct h_blobs *b = ctx;
    if (b->fails || b->count == H_BLOBS_MAX)
        return TTG_ENOSPC;
    b->blobs[b->count] = str_make(mem_dup(bytes.ptr, bytes.len), bytes.len);
    *ret_ref = (struct blob_ref){.offset = b->count++, .bytes = (uint32_t)bytes.len};
    b->live++;
    return 0;
}

static inline int h_blob_read(void *ctx, struct blob_ref ref, struct buf *out)
{
    struct h_blobs *b = ctx;
    if (b->fails || ref.offset >= b->count || !b->blobs[ref.offset].ptr)
        return TTG_EIO;
    return buf_add_str(out, b->blobs[ref.offset]);
}

static inline void h_blob_free(void *ctx, struct blob_ref ref)
{
    struct h_blobs *b = ctx;
    assert_true(ref.offset < b->count && b->blobs[ref.offset].ptr);
    mem_free((char *)(uintptr_t)b->blobs[ref.offset].ptr);
    b->blobs[ref.offset].ptr = NULL;
    b->live--;
}

static inline void h_on_ready(void *ctx, struct str key)
{
    struct h_blobs *b = ctx;
    (void)b;
    (void)key;
}

static inline void h_open(struct h *h)
{
    *h = (struct h){.now_ms = 1000};
    h->blobs = mem_zalloc(sizeof *h->blobs);
    struct core_env env = {.ctx = h->blobs,
                           .blob_write = h_blob_write,
                           .blob_read = h_blob_read,
                           .blob_free = h_blob_free,
                           .on_ready = h_on_ready};
    assert_int_equal(core_new(&env, &h->core), 0);
    buf_init(&h->out, 64 << 20);
    buf_init(&h->text, 64 << 20);
    buf_init(&h->resume, 1 << 20);
}

static inline void h_close(struct h *h)
{
    core_free(h->core);
    assert_int_equal(h->blobs->live, 0);
    mem_free(h->blobs);
    buf_done(&h->out);
    buf_done(&h->text);
    buf_done(&h->resume);
}

/* One RESP value as text; returns what is behind it. */
static inline const char *h_show(struct buf *to, const char *at)
{
    const char *line_end = strstr(at, "\r\n"), *next = line_end + 2;
    int64_t n = 0;
    struct str rest = str_make(at + 1, (size_t)(line_end - at - 1));
    str_to_i64(rest, &n);
    switch (*at) {
    case '+':
    case ':':
        buf_add_str(to, rest);
        return next;
    case '-':
        buf_add(to, "-", 1);
        buf_add_str(to, rest);
        return next;
    case '_':
        buf_add(to, "(nil)", 5);
        return next;
    case '$':
        if (n < 0) {
            buf_add(to, "(nil)", 5);
            return next;
        }
        buf_add_char(to, '"');
        buf_add(to, next, (size_t)n);
        buf_add_char(to, '"');
        return next + n + 2;
    default:
        if (n < 0) {
            buf_add(to, "(nil-array)", 11);
            return next;
        }
        n *= *at == '%' ? 2 : 1;
        buf_add_char(to, '[');
        for (int64_t i = 0; i < n; i++) {
            if (i)
                buf_add_char(to, ' ');
            next = h_show(to, next);
        }
        buf_add_char(to, ']');
        return next;
    }
}

/* Runs words; the answer is valid until the next call. "(blocked)" when it waits. */
static inline const char *h_run_words(struct h *h, size_t argc, const struct str *argv)
{
    const struct core_command *command = core_find(argv[0]);
    assert_non_null(command);
    struct reply reply = {.out = h->silent ? NULL : &h->out};
    buf_clear(&h->out);
    buf_clear(&h->text);
    h->call = (struct core_call){.now_ms = h->now_ms,
                                 .client = 1,
                                 .argc = argc,
                                 .argv = argv,
                                 .reply = &reply,
                                 .may_block = h->may_block,
                                 .resume = h->may_block ? &h->resume : NULL,
                                 .retry = h->retry};
    bool fits =
        command->arity >= 0 ? argc == (size_t)command->arity : argc >= (size_t)-command->arity;
    if (!fits)
        return "(arity)";
    core_exec(h->core, command, &h->call);
    if (h->silent)
        return "";
    if (h->call.blocked) {
        assert_int_equal(buf_len(&h->out), 0);
        return "(blocked)";
    }
    assert_true(buf_len(&h->out) > 0);
    const char *text = buf_cstr(&h->out);
    const char *end = h_show(&h->text, text);
    assert_ptr_equal(end, text + buf_len(&h->out));
    return buf_cstr(&h->text);
}

/* Words parted by blanks. */
static inline const char *h_run(struct h *h, const char *line)
{
    struct str words[H_WORDS_MAX], rest = str_of(line);
    size_t n = 0;
    while (rest.ptr) {
        assert_true(n < H_WORDS_MAX);
        words[n++] = str_cut(rest, ' ', &rest);
    }
    return h_run_words(h, n, words);
}

#define h_expect(h, line, answer) assert_string_equal(h_run(h, line), answer)

#endif
