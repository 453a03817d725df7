/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a snapshot: refused, or a core that works and saves itself to an equal one. The
 * checksum at the end is made to fit, or nothing would get past it. */
#include "base/ensure.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "core/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int append(void *ctx, struct str bytes)
{
    return buf_add_str(ctx, bytes);
}

static int no_blob(void *ctx, struct blob_ref ref, struct buf *out)
{
    (void)ctx, (void)ref, (void)out;
    return TTG_EIO;
}

static void run(struct core *c, size_t argc, const struct str *argv)
{
    struct buf out;
    buf_init(&out, 1 << 24);
    struct reply reply = {.out = &out};
    struct core_call call = {.now_ms = 5, .argc = argc, .argv = argv, .reply = &reply};
    core_exec(c, core_find(argv[0]), &call);
    buf_done(&out);
}

/* Touches what was loaded. */
static void use(struct core *c)
{
    static const struct str keys[] = {STR("s"), STR("t"), STR("k")};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct str k = keys[i];
        run(c, 4, (struct str[]){STR("XRANGE"), k, STR("-"), STR("+")});
        run(c, 4, (struct str[]){STR("XREVRANGE"), k, STR("+"), STR("-")});
        run(c, 4, (struct str[]){STR("XINFO"), STR("STREAM"), k, STR("FULL")});
        run(c, 7,
            (struct str[]){STR("XREADGROUP"), STR("GROUP"), STR("g"), STR("c"), STR("STREAMS"), k,
                           STR(">")});
        run(c, 6, (struct str[]){STR("XAUTOCLAIM"), k, STR("g"), STR("d"), STR("0"), STR("-")});
        run(c, 5, (struct str[]){STR("XADD"), k, STR("*"), STR("f"), STR("v")});
        run(c, 3, (struct str[]){STR("XDEL"), k, STR("1-1")});
        run(c, 4, (struct str[]){STR("XTRIM"), k, STR("MAXLEN"), STR("2")});
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct core_env env = {.blob_read = no_blob};
    struct core *c, *again;
    struct buf in, out;
    buf_init(&in, SIZE_MAX / 2);
    buf_init(&out, SIZE_MAX / 2);
    uint32_t crc = hash_crc32c(0, data, size);
    unsigned char tail[4] = {(unsigned char)crc, (unsigned char)(crc >> 8),
                             (unsigned char)(crc >> 16), (unsigned char)(crc >> 24)};
    ensure(buf_add(&in, data, size) == 0 && buf_add(&in, tail, sizeof tail) == 0);
    ensure(core_new(&env, &c) == 0 && core_new(&env, &again) == 0);
    int rc = core_load(c, buf_str(&in));
    ensure(rc == 0 || rc == TTG_ECORRUPT);
    if (rc == 0) {
        ensure(core_save(c, append, &out) == 0);
        ensure(core_load(again, buf_str(&out)) == 0);
        ensure(core_digest(c) == core_digest(again));
        use(c);
        core_digest(c);
    }
    core_free(c);
    core_free(again);
    buf_done(&in);
    buf_done(&out);
    return 0;
}
