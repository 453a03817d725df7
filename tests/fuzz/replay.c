/* SPDX-License-Identifier: Apache-2.0 */
/* replay - a fuzz target without a fuzzer: each file of its corpus, and mutations of it.
 *
 * Linked with X_fuzz.c it runs tests/fuzz/corpus/X/ and speaks TAP, in every build and with any
 * compiler. The mutations are few and always the same ones, so that a failure repeats; the input
 * that fails is left in a file which `X_fuzz FILE` and libFuzzer's programs run again. */
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/prng.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MUTATIONS = 300, FILE_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* There when the build has a sanitizer. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static struct str running;
static char crash_path[512];

/* Only write(2) and the like: the program is about to die. */
static void keep_input(void)
{
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, running.ptr, running.len) < 0 || write(1, "# input: ", 9) < 0 ||
        write(1, crash_path, strlen(crash_path)) < 0 || write(1, "\n", 1) < 0)
        return;
    close(fd);
}

static void on_abort(int number)
{
    keep_input();
    signal(number, SIG_DFL);
    raise(number);
}

/* On a heap block of exactly this size, so that a sanitizer sees each byte too far. */
static void run(struct str input)
{
    uint8_t *copy = mem_alloc(input.len);
    ensure(copy);
    memcpy(copy, input.ptr, input.len);
    running = str_make(copy, input.len);
    LLVMFuzzerTestOneInput(copy, input.len);
    mem_free(copy);
}

static bool read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    buf_clear(out);
    for (int c; f && (c = fgetc(f)) != EOF;)
        if (buf_add_char(out, (char)c))
            break;
    bool good = f && feof(f);
    if (f)
        fclose(f);
    return good;
}

static void mutate(struct buf *b, struct prng *p)
{
    static const char dictionary[] = "\0\r\n\xff\x7f\x80-09*$:\"\\{}[], ";
    for (uint64_t n = 1 + prng_below(p, 4); n > 0; n--) {
        size_t len = buf_len(b), at = len ? (size_t)prng_below(p, len) : 0;
        switch (len ? prng_below(p, 6) : 5) {
        case 0:
            buf_ptr(b)[at] ^= (char)(1 << prng_below(p, 8));
            break;
        case 1:
            buf_ptr(b)[at] = dictionary[prng_below(p, sizeof dictionary - 1)];
            break;
        case 2:
            buf_truncate(b, at);
            break;
        case 3: /* leaves a piece out */
            memmove(buf_ptr(b) + at, buf_ptr(b) + len - (len - at) / 2, (len - at) / 2);
            buf_truncate(b, at + (len - at) / 2);
            break;
        case 4: { /* repeats a piece */
            char piece[16];
            size_t count = len - at < sizeof piece ? len - at : sizeof piece;
            memcpy(piece, buf_ptr(b) + at, count);
            ensure(buf_add(b, piece, count) == 0);
            break;
        }
        default:
            ensure(buf_add_char(b, (char)prng_u64(p)) == 0);
        }
    }
}

static void run_mutations(struct str seed)
{
    struct prng p;
    struct buf b;
    prng_init(&p, seed.len);
    buf_init(&b, 2 * FILE_BYTES_MAX);
    for (int i = 0; i < MUTATIONS; i++) {
        buf_clear(&b);
        ensure(buf_add_str(&b, seed) == 0);
        mutate(&b, &p);
        run(buf_str(&b));
    }
    buf_done(&b);
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    struct str name = str_of(slash ? slash + 1 : argv[0]);
    name.len -= name.len > 5 ? 5 : 0; /* _fuzz */
    snprintf(crash_path, sizeof crash_path, "%s.failed", argv[0]);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(keep_input);
    signal(SIGABRT, on_abort);

    struct buf b;
    buf_init(&b, FILE_BYTES_MAX);
    for (int i = 1; i < argc; i++)
        if (read_file(argv[i], &b))
            run(buf_str(&b));
    if (argc > 1) {
        buf_done(&b);
        return 0;
    }

    char dir[256], path[600];
    snprintf(dir, sizeof dir, "tests/fuzz/corpus/%.*s", STR_ARG(name));
    struct dirent **entries;
    int count = scandir(dir, &entries, NULL, alphasort), number = 0, failed = 0;
    run(STR(""));
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
            bool good = read_file(path, &b);
            if (good) {
                run(buf_str(&b));
                run_mutations(buf_str(&b));
            }
            failed += !good;
            printf("%sok %d - %s\n", good ? "" : "not ", ++number, path);
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    if (number == 0)
        printf("not ok 1 - no corpus in %s\n", dir);
    printf("1..%d\n", number);
    buf_done(&b);
    return failed || number == 0;
}
