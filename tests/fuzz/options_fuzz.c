/* SPDX-License-Identifier: Apache-2.0 */
/* Options and settings from anybody: the input up to the first empty line is a command line (a word
 * a line), the rest a configuration file. What is taken is inside its range. */
#include "base/ensure.h"
#include "base/mem.h"
#include "cmd/config_file.h"
#include "cmd/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORDS_MAX = 32 };

static const char *no_variable(const char *name)
{
    (void)name;
    return NULL;
}

static void try_words(char **words, unsigned set)
{
    struct options o;
    struct options_input in = {set, words, set == IN_WORKER, no_variable};
    struct err e = {0};
    if (options_parse(&o, &in, &e))
        ensure(e.code == TTG_EUSAGE && e.text[0]);
    else if (set == IN_WORKER)
        ensure(option_u64(&o, OPT_CHUNK) >= 1 && option_f64(&o, OPT_FAULT_RATE) <= 1 &&
               option_ms(&o, OPT_DRAIN) <= 86400000);
    options_done(&o);
}

static int on_setting(void *ctx, unsigned line, const char *key, const char *value)
{
    (void)ctx;
    ensure(line > 0 && *key);
    enum option_id id = option_by_key(str_of(key), IN_ALL);
    union option_number n;
    if (id == OPT_COUNT)
        return 0;
    struct err e = {0};
    return option_value(&option_rows[id], str_of(value), &n, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_dup(data, size), *at = text, *words[WORDS_MAX + 1] = {NULL};
    char *end = text + size;
    for (size_t n = 0; n < WORDS_MAX && at < end && *at != '\n'; n++) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        words[n] = at;
        at = newline ? newline : end;
        *at = '\0';
        at += newline ? 1 : 0;
    }
    /* The file --config names would be read: the fuzzer must not look at this machine. */
    for (size_t n = 0; words[n]; n++)
        if (strstr(words[n], "conf"))
            *words[n] = '\0';
    try_words(words, IN_WORKER);
    try_words(words, IN_HELP);
    struct buf file;
    struct err e = {0};
    buf_init(&file, 1 << 20);
    if (at < end && buf_add(&file, at, (size_t)(end - at)) == 0)
        config_file_parse("file", &file, on_setting, NULL, &e);
    buf_done(&file);
    mem_free(text);
    return 0;
}
