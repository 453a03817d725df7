/* SPDX-License-Identifier: Apache-2.0 */
/* Any words as commands, one a line, parted by blanks: answered, and run again from the log they
 * give the same state. A line that begins with a blank moves the time on. */
#include "base/ensure.h"
#include "base/mem.h"
#include "core/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORDS_MAX = 40, LINES_MAX = 60 };

static bool exec_line(struct core *c, struct str line, uint64_t now_ms, struct buf *out)
{
    struct str words[WORDS_MAX], rest = line;
    size_t n = 0;
    while (rest.ptr && n < WORDS_MAX)
        words[n++] = str_cut(rest, ' ', &rest);
    const struct core_command *command = core_find(words[0]);
    if (!command ||
        (command->arity >= 0 ? (size_t)command->arity != n : (size_t)-command->arity > n))
        return false;
    struct buf resume;
    buf_init(&resume, 1 << 16);
    struct reply reply = {.out = out, .resp3 = now_ms % 2};
    struct core_call call = {.now_ms = now_ms,
                             .argc = n,
                             .argv = words,
                             .reply = &reply,
                             .may_block = out != NULL,
                             .resume = out ? &resume : NULL};
    core_exec(c, command, &call);
    ensure(!out || call.blocked == (buf_len(out) == 0));
    ensure(!(command->flags & CORE_READ) || !call.changed);
    if (out)
        buf_clear(out);
    buf_done(&resume);
    return call.changed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct core *live, *replay;
    struct buf out;
    struct str rest = str_make(data, size);
    uint64_t now_ms = 1000;
    buf_init(&out, 1 << 26);
    ensure(core_new(NULL, &live) == 0 && core_new(NULL, &replay) == 0);
    for (int i = 0; i < LINES_MAX && rest.ptr; i++) {
        struct str line = str_cut(rest, '\n', &rest);
        now_ms += line.len > 0 && line.ptr[0] == ' ' ? 100 : 0;
        line = str_trim(line);
        if (line.len > 0 && exec_line(live, line, now_ms, &out))
            ensure(exec_line(replay, line, now_ms, NULL));
    }
    ensure(core_digest(live) == core_digest(replay));
    core_free(live);
    core_free(replay);
    buf_done(&out);
    return 0;
}
