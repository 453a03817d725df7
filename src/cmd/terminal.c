/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/terminal.h"

#include "base/buf.h"
#include "io/stdio.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { FRAME_BYTES_MAX = 1 << 23 };

static struct termios before; /* there is one terminal per process */

bool terminal_is_smart(void)
{
    const char *term = getenv("TERM");
    return stdio_is_terminal(STDIO_OUT) && term && *term && strcmp(term, "dumb") != 0;
}

bool terminal_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (!value || !*value)
            continue;
        const char *dot = strchr(value, '.');
        return dot && (str_eq_nocase(str_make(dot + 1, 5), STR("utf-8")) ||
                       str_eq_nocase(str_make(dot + 1, 4), STR("utf8")));
    }
    return false;
}

static unsigned number_of(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    uint64_t n;
    return text && str_to_u64(str_of(text), &n) == 0 && n > 0 && n < 10000 ? (unsigned)n
                                                                           : otherwise;
}

void terminal_size(unsigned *ret_width, unsigned *ret_height)
{
    struct winsize w = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0)
        ioctl(STDERR_FILENO, TIOCGWINSZ, &w);
    *ret_width = w.ws_col > 0 ? w.ws_col : number_of("COLUMNS", 80);
    *ret_height = w.ws_row > 0 ? w.ws_row : number_of("LINES", 24);
}

void terminal_open(struct terminal *t)
{
    struct err err;
    if (t->on)
        return;
    t->raw = stdio_is_terminal(STDIO_IN) && tcgetattr(STDIN_FILENO, &before) == 0;
    if (t->raw) {
        struct termios raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    }
    t->on = true;
    stdio_write(STR("\033[?1049h\033[?25l\033[?7l"), &err); /* other page, no cursor, no wrapping */
}

void terminal_close(struct terminal *t)
{
    struct err err;
    if (!t->on)
        return;
    t->on = false;
    stdio_write(STR("\033[0m\033[?7h\033[?25h\033[?1049l"), &err);
    if (t->raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
}

int terminal_show(const struct terminal *t, struct str lines, struct err *err)
{
    struct buf b;
    if (!t->on)
        return 0;
    buf_init(&b, FRAME_BYTES_MAX);
    buf_add_str(&b, STR("\033[H"));
    unsigned width, height, count = 0;
    terminal_size(&width, &height);
    while (lines.len > 0 && count < height) {
        struct str line = str_cut(lines, '\n', &lines);
        /* Erased before, not behind: a line may end in the last column. */
        buf_add_str(&b, count == 0 ? STR("\033[K") : STR("\r\n\033[K"));
        buf_add_str(&b, line);
        count++;
    }
    int rc = buf_add_str(&b, count < height ? STR("\r\n\033[J") : STR(""));
    if (!rc)
        rc = stdio_write(buf_str(&b), err);
    buf_done(&b);
    return rc;
}

/* ESC [ letter, ESC O letter, ESC [ number ~ */
static int sequence(struct str *bytes)
{
    size_t i = 2, number = 0;
    while (i < bytes->len &&
           ((bytes->ptr[i] >= '0' && bytes->ptr[i] <= '9') || bytes->ptr[i] == ';')) {
        number = number < 1000 ? number * 10 + (size_t)(bytes->ptr[i] & 15) : number;
        i++;
    }
    char last = i < bytes->len ? bytes->ptr[i] : '\0';
    i += i < bytes->len;
    *bytes = str_make(bytes->ptr + i, bytes->len - i);
    return last == 'A'                  ? KEY_UP
           : last == 'B'                ? KEY_DOWN
           : last == '~' && number == 5 ? KEY_PAGE_UP
           : last == '~' && number == 6 ? KEY_PAGE_DOWN
                                        : KEY_OTHER;
}

int terminal_key(struct str *bytes)
{
    if (bytes->len == 0)
        return KEY_NONE;
    if (bytes->len >= 2 && bytes->ptr[0] == '\033' &&
        (bytes->ptr[1] == '[' || bytes->ptr[1] == 'O'))
        return sequence(bytes);
    unsigned char c = (unsigned char)bytes->ptr[0];
    *bytes = str_make(bytes->ptr + 1, bytes->len - 1);
    return c >= ' ' && c < 0x7f ? c : KEY_OTHER;
}
