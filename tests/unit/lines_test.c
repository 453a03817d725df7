/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include "io/lines.h"
#include "io/unpacked.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

static char dir[64], text[128], packed_text[128], index_path[128], kept[128];

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/ttg-lines-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(text, sizeof text, "%s/in.txt", dir);
    snprintf(packed_text, sizeof packed_text, "%s/in.packed", dir);
    snprintf(index_path, sizeof index_path, "%s/in.idx", dir);
    snprintf(kept, sizeof kept, "%s/kept.txt", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(text);
    unlink(packed_text);
    unlink(index_path);
    unlink(kept);
    return rmdir(dir);
}

static void write_file(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static int index_of(const char *path, uint64_t chunk_lines, char separator, struct lines_info *info)
{
    struct err err;
    struct lines_spec spec = {path, index_path, kept, chunk_lines, separator};
    return lines_index(&spec, info, &err);
}

/* All chunks one behind the other, in pieces of `piece` bytes, with a '|' between chunks. */
static void read_chunks(struct buf *out, size_t piece)
{
    struct lines *l;
    struct err err = {0};
    if (lines_open(&l, index_path, &err))
        fail_msg("%s", err.text);
    for (uint64_t c = 0; c < lines_info(l)->chunks; c++) {
        struct lines_reader r = {l, c, 0};
        for (bool end = false; !end;)
            if (lines_read(&r, out, piece, &end, &err))
                fail_msg("%s", err.text);
        buf_add_char(out, '|');
    }
    lines_close(l);
}

static void cuts_at_lines(void **state)
{
    (void)state;
    static const struct {
        struct str in;
        uint64_t chunk_lines;
        char separator;
        uint64_t lines;
        const char *out;
    } cases[] = {
        {STR(""), 2, '\n', 0, ""},
        {STR("\n"), 2, '\n', 1, "\n|"},
        {STR("a"), 2, '\n', 1, "a\n|"},
        {STR("a\nb\nc\n"), 2, '\n', 3, "a\nb\n|c\n|"},
        {STR("a\nb\nc"), 1, '\n', 3, "a\n|b\n|c\n|"},
        {STR("a\r\nb\rb\r\nc\r\n"), 2, '\n', 3, "a\nb\rb\n|c\n|"},
        {STR("\r\n\r\n\r\r\n"), 9, '\n', 3, "\n\n\r\n|"},
        {STR("a\nb\r\n\0c"), 1, '\0', 2, "a\nb\r\n#|c#|"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t piece = 1; piece < 12; piece++) {
            struct lines_info info;
            struct buf out;
            buf_init(&out, 1000);
            write_file(text, cases[i].in.ptr, cases[i].in.len);
            assert_int_equal(index_of(text, cases[i].chunk_lines, cases[i].separator, &info), 0);
            assert_int_equal(info.lines, cases[i].lines);
            read_chunks(&out, piece);
            for (size_t k = 0; k < buf_len(&out); k++)
                if (buf_ptr(&out)[k] == '\0')
                    buf_ptr(&out)[k] = '#';
            assert_string_equal(buf_cstr(&out), cases[i].out);
            buf_done(&out);
        }
}

static void make_numbers(struct buf *b, unsigned count)
{
    buf_init(b, 100 << 20);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(buf_printf(b, "%u\n", i * 7), 0);
}

static void reads_packed_files(void **state)
{
    (void)state;
    struct buf plain, out;
    make_numbers(&plain, 400000); /* more than one piece of reading */
    size_t cap = compressBound(buf_len(&plain)) + 100;
    char *packed = malloc(cap);
    for (int zstd = 0; zstd < 2; zstd++) {
        size_t len = cap;
        if (zstd) {
            len = ZSTD_compress(packed, cap, buf_ptr(&plain), buf_len(&plain), 1);
            assert_false(ZSTD_isError(len));
        } else {
            z_stream z = {.next_in = (unsigned char *)buf_ptr(&plain),
                          .avail_in = (uInt)buf_len(&plain),
                          .next_out = (unsigned char *)packed,
                          .avail_out = (uInt)cap};
            assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, 0), Z_OK);
            assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
            len = z.total_out;
            deflateEnd(&z);
        }
        struct lines_info info, again;
        write_file(packed_text, packed, len);
        assert_int_equal(index_of(packed_text, 1000, '\n', &info), 0);
        assert_int_equal(info.lines, 400000);
        assert_int_equal(info.chunks, 400);
        buf_init(&out, 100 << 20);
        read_chunks(&out, 4096);
        assert_int_equal(buf_len(&out), buf_len(&plain) + 400);
        buf_done(&out);
        write_file(text, buf_ptr(&plain), buf_len(&plain));
        assert_int_equal(index_of(text, 1000, '\n', &again), 0);
        assert_true(again.digest == info.digest);
        write_file(packed_text, packed, len - 7); /* cut off */
        assert_int_equal(index_of(packed_text, 1000, '\n', &info), TTG_ECORRUPT);
        packed[len / 2] ^= 0x55; /* damaged: an error, or (no checksum) another text */
        packed[len / 2 + 1] ^= 0x55;
        write_file(packed_text, packed, len);
        if (index_of(packed_text, 1000, '\n', &info) == 0)
            assert_true(again.digest != info.digest);
    }
    free(packed);
    buf_done(&plain);
}

static void notices_a_changed_file(void **state)
{
    (void)state;
    struct lines_info info;
    struct lines *l;
    struct err err;
    write_file(text, "a\nb\n", 4);
    assert_int_equal(index_of(text, 1, '\n', &info), 0);
    write_file(text, "a\nb\nc\n", 6);
    assert_int_equal(lines_open(&l, index_path, &err), TTG_ESTALE);
    assert_non_null(strstr(err.text, "changed"));
    unlink(text);
    assert_int_equal(lines_open(&l, index_path, &err), TTG_ENOENT);
}

static void is_named_by_its_content(void **state)
{
    (void)state;
    struct lines_info info;
    struct lines *l;
    struct err err;
    struct buf name;
    buf_init(&name, 10000);
    write_file(text, "a\nb\n", 4);
    assert_int_equal(index_of(text, 1, '\n', &info), 0);
    assert_int_equal(lines_name(&name, index_path, &info, &err), 0);
    assert_int_equal(lines_open_named(&l, buf_str(&name), &err), 0);
    lines_close(l);
    write_file(text, "a\nc\n", 4); /* indexed anew: another job's input */
    assert_int_equal(index_of(text, 1, '\n', &info), 0);
    assert_int_equal(lines_open_named(&l, buf_str(&name), &err), TTG_ESTALE);
    buf_done(&name);
    assert_int_equal(lines_open_named(&l, STR("csv:x"), &err), TTG_EVERSION);
    assert_int_equal(lines_open_named(&l, STR("lines:0123456789abcdef:"), &err), TTG_EVERSION);
}

static void refuses_damaged_indexes(void **state)
{
    (void)state;
    struct lines_info info;
    struct lines *l;
    struct err err;
    write_file(text, "a\nb\nc\n", 6);
    assert_int_equal(index_of(text, 1, '\n', &info), 0);
    static char bytes[16384];
    int fd = open(index_path, O_RDONLY);
    ssize_t len = read(fd, bytes, sizeof bytes);
    close(fd);
    assert_true(len > 4096);
    for (ssize_t i = 0; i < len; i += i < 80 || i > len - 48 ? 1 : 61) {
        bytes[i] ^= 4;
        write_file(index_path, bytes, (size_t)len);
        assert_int_equal(lines_open(&l, index_path, &err), TTG_ECORRUPT);
        bytes[i] ^= 4;
        write_file(index_path, bytes, (size_t)i);
        assert_int_equal(lines_open(&l, index_path, &err), TTG_ECORRUPT);
    }
}

static void says_what_cannot_be_read(void **state)
{
    (void)state;
    struct lines_info info;
    struct err err;
    struct lines_spec none = {"/nowhere/at/all", index_path, kept, 1, '\n'};
    struct lines_spec folder = {dir, index_path, kept, 1, '\n'};
    assert_int_equal(lines_index(&none, &info, &err), TTG_ENOENT);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
    assert_int_equal(lines_index(&folder, &info, &err), TTG_EINVAL);
    assert_non_null(strstr(err.text, "directory"));
    assert_int_not_equal(access(index_path, F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(cuts_at_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_packed_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(notices_a_changed_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_named_by_its_content, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_damaged_indexes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_what_cannot_be_read, set_up, tear_down),
    };
    return tap_run(tests);
}
