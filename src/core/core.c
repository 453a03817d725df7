/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ensure.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "core/parts.h"
#include "core/served.h"

#include <pthread.h>

/* The order is that of the sections in a snapshot. */
static const struct core_part *const parts[] = {&keys_part, &streams_part, &small_part, &jobs_part,
                                                &served_part};
enum { PARTS = sizeof parts / sizeof *parts };
_Static_assert((int)PARTS <= (int)CORE_PARTS_MAX, "more room for parts");

#define SNAPSHOT_MAGIC "ttgcore1"
enum { SNAPSHOT_CRC_BYTES = 4, SAVE_PIECE_BYTES = 64 << 10 };

enum { TABLE_SLOTS = 512, COMMANDS_MAX = 256, NAME_BYTES_MAX = 64 };

static struct {
    pthread_once_t once;
    const struct core_command *all[COMMANDS_MAX]; /* in the order of the parts */
    size_t count;
    const struct core_command *slots[TABLE_SLOTS]; /* by hash of the lower-case name */
} table = {.once = PTHREAD_ONCE_INIT};

static size_t slot_of(struct str name)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < name.len; i++)
        h = (h ^ ((unsigned char)name.ptr[i] | 0x20u)) * 16777619u;
    return (h ^ h >> 15) & (TABLE_SLOTS - 1);
}

static void table_fill(void)
{
    for (size_t p = 0; p < PARTS; p++) {
        for (const struct core_command *row = parts[p]->commands; row && row->name; row++) {
            ensure(table.count < COMMANDS_MAX);
            table.all[table.count++] = row;
            size_t i = slot_of(str_of(row->name));
            while (table.slots[i])
                i = (i + 1) % TABLE_SLOTS;
            table.slots[i] = row;
        }
    }
}

const struct core_command *core_find(struct str name)
{
    pthread_once(&table.once, table_fill);
    if (name.len > NAME_BYTES_MAX)
        return NULL;
    for (size_t i = slot_of(name); table.slots[i]; i = (i + 1) % TABLE_SLOTS)
        if (str_eq_nocase(str_of(table.slots[i]->name), name))
            return table.slots[i];
    return NULL;
}

const struct core_command *core_command_at(size_t i)
{
    pthread_once(&table.once, table_fill);
    return i < table.count ? table.all[i] : NULL;
}

static void core_close(struct core *c, size_t count)
{
    while (count-- > 0)
        if (parts[count]->close)
            parts[count]->close(c);
    mem_free(c);
}

int core_new(const struct core_env *env, struct core **ret_core)
{
    struct core *c = mem_zalloc(sizeof *c);
    if (!c)
        return TTG_ENOMEM;
    if (env)
        c->env = *env;
    c->streams = (struct stream_config){.node_entries_max = 100, .node_bytes_max = 4096};
    for (size_t i = 0; i < PARTS; i++) {
        int rc = parts[i]->open ? parts[i]->open(c) : 0;
        if (rc) {
            core_close(c, i);
            return rc;
        }
    }
    *ret_core = c;
    return 0;
}

void core_free(struct core *c)
{
    if (c)
        core_close(c, PARTS);
}

void **core_part_state(struct core *c, const struct core_part *part)
{
    size_t i = 0;
    while (i < PARTS && parts[i] != part)
        i++;
    ensure(i < PARTS);
    return &c->parts[i];
}

bool core_tells_moves(const struct core *c)
{
    return c->env.on_move != NULL;
}

void core_tell_move(const struct core *c, const struct core_move *move)
{
    c->env.on_move(c->env.ctx, move);
}

void core_ready(struct core *c, struct str key)
{
    if (c->env.on_ready)
        c->env.on_ready(c->env.ctx, key);
}

void core_exec(struct core *c, const struct core_command *command, struct core_call *call)
{
    ensure(call->argc > 0);
    call->changed = call->blocked = false;
    command->run(c, call);
    ensure(!call->blocked || (call->may_block && !call->changed));
    if (call->changed)
        served_note(c, call->now_ms);
}

/* The row of a subcommand, or NULL. */
static const struct core_command *sub_row(struct str group, struct str sub)
{
    char name[NAME_BYTES_MAX];
    if (group.len + 1 + sub.len > sizeof name)
        return NULL;
    memcpy(name, group.ptr, group.len);
    name[group.len] = ' ';
    if (sub.len > 0)
        memcpy(name + group.len + 1, sub.ptr, sub.len);
    return core_find(str_make(name, group.len + 1 + sub.len));
}

bool core_writes(const struct core_command *command, size_t argc, const struct str *argv)
{
    const struct core_command *row = argc > 1 ? sub_row(argv[0], argv[1]) : NULL;
    return (row ? row : command)->flags & CORE_WRITE;
}

bool core_sub_find(struct core_call *call, const struct core_command **ret_row)
{
    char name[NAME_BYTES_MAX];
    struct str group = call->argv[0], sub = call->argv[1];
    const struct core_command *row = sub_row(group, sub);
    if (!row) {
        struct str shown = str_of(core_find(group)->name);
        reply_error(call->reply, "ERR unknown subcommand '%.*s'. Try %.*s HELP.",
                    (int)(sub.len > 128 ? 128 : sub.len), sub.ptr, STR_ARG(shown));
        return false;
    }
    if (!core_arity_fits(row, call->argc)) {
        size_t i = 0;
        for (; row->name[i] && i + 1 < sizeof name; i++)
            name[i] = row->name[i] == ' ' ? '|' : (char)(row->name[i] | 0x20);
        name[i] = '\0';
        reply_error(call->reply, "ERR wrong number of arguments for '%s' command", name);
        return false;
    }
    *ret_row = row;
    return true;
}

bool core_arity_fits(const struct core_command *row, size_t argc)
{
    return row->arity >= 0 ? argc == (size_t)row->arity : argc >= (size_t)-row->arity;
}

uint64_t core_now_ms(const struct core *c)
{
    return c->now_ms;
}

uint64_t core_boot(struct core *c, uint64_t now_ms)
{
    c->boot++;
    served_boot(c, now_ms);
    for (size_t i = 0; i < PARTS; i++)
        if (parts[i]->boot)
            parts[i]->boot(c, now_ms);
    return c->boot;
}

uint64_t core_next_ms(const struct core *c)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < PARTS; i++) {
        uint64_t at = parts[i]->next_ms ? parts[i]->next_ms(c) : UINT64_MAX;
        if (at < next)
            next = at;
    }
    return next;
}

void core_tick(struct core *c, uint64_t now_ms)
{
    served_note(c, now_ms);
    for (size_t i = 0; i < PARTS; i++)
        if (parts[i]->tick)
            parts[i]->tick(c, now_ms);
}

const char *core_flush_refused(const struct core *c)
{
    const char *why = NULL;
    for (size_t i = 0; i < PARTS && !why; i++)
        if (parts[i]->flush_refused)
            why = parts[i]->flush_refused(c);
    return why;
}

void core_flush(struct core *c)
{
    for (size_t i = 0; i < PARTS; i++)
        if (parts[i]->flush)
            parts[i]->flush(c);
}

static void save_out(struct core_saver *s)
{
    struct str bytes = buf_str(&s->buf);
    if (s->p.rc || bytes.len == 0)
        return;
    s->crc = hash_crc32c(s->crc, bytes.ptr, bytes.len);
    s->p.rc = s->write(s->ctx, bytes);
    buf_clear(&s->buf);
}

void core_save_some(struct core_saver *s)
{
    if (buf_len(&s->buf) >= SAVE_PIECE_BYTES)
        save_out(s);
}

int core_save(const struct core *c, int (*write)(void *ctx, struct str bytes), void *ctx)
{
    struct core_saver s = {.write = write, .ctx = ctx};
    buf_init(&s.buf, SIZE_MAX / 2);
    s.p.out = &s.buf;
    pack_str(&s.p, STR(SNAPSHOT_MAGIC));
    pack_u64(&s.p, c->boot);
    pack_u64(&s.p, c->streams.node_entries_max);
    pack_u64(&s.p, c->streams.node_bytes_max);
    for (size_t i = 0; i < PARTS; i++) {
        if (!parts[i]->save)
            continue;
        pack_str(&s.p, str_of(parts[i]->name));
        parts[i]->save(c, &s);
        core_save_some(&s);
    }
    pack_str(&s.p, STR("")); /* no section has this name: the end */
    save_out(&s);
    unsigned char crc[SNAPSHOT_CRC_BYTES];
    for (int i = 0; i < SNAPSHOT_CRC_BYTES; i++)
        crc[i] = (unsigned char)(s.crc >> 8 * i);
    int rc = s.p.rc ? s.p.rc : write(ctx, str_make(crc, sizeof crc));
    buf_done(&s.buf);
    return rc;
}

static bool crc_fits(struct str bytes)
{
    if (bytes.len < SNAPSHOT_CRC_BYTES)
        return false;
    size_t body = bytes.len - SNAPSHOT_CRC_BYTES;
    uint32_t crc = 0;
    for (int i = 0; i < SNAPSHOT_CRC_BYTES; i++)
        crc |= (uint32_t)(unsigned char)bytes.ptr[body + (size_t)i] << 8 * i;
    return crc == hash_crc32c(0, bytes.ptr, body);
}

/* Sections come in the order of the parts; one that an older version did not write is left out. */
static int load_sections(struct core *c, struct unpacker *u)
{
    struct str name = unpack_str(u);
    for (size_t i = 0; i < PARTS && !u->rc && name.len > 0; i++) {
        if (!parts[i]->load || !str_eq(name, str_of(parts[i]->name)))
            continue;
        parts[i]->load(c, u);
        name = unpack_str(u);
    }
    if (!u->rc && name.len > 0)
        u->rc = TTG_ECORRUPT; /* unknown, or out of order */
    int rc = unpack_end(u);
    for (size_t i = 0; i < PARTS && !rc; i++)
        if (parts[i]->loaded)
            rc = parts[i]->loaded(c);
    return rc;
}

int core_load(struct core *c, struct str bytes)
{
    ensure(c->keys.count == 0);
    if (!crc_fits(bytes))
        return TTG_ECORRUPT;
    struct unpacker u = unpack_of(str_make(bytes.ptr, bytes.len - SNAPSHOT_CRC_BYTES));
    if (!str_eq(unpack_str(&u), STR(SNAPSHOT_MAGIC)))
        return TTG_ECORRUPT;
    c->boot = unpack_u64(&u);
    c->streams.node_entries_max = unpack_u64(&u);
    c->streams.node_bytes_max = unpack_u64(&u);
    return load_sections(c, &u);
}

uint64_t core_digest(const struct core *c)
{
    uint64_t digest =
        hash_u64(c->streams.node_entries_max + 1) ^ hash_u64(c->streams.node_bytes_max + 2);
    for (size_t i = 0; i < PARTS; i++)
        if (parts[i]->digest)
            digest = hash_u64(digest + parts[i]->digest(c));
    return digest;
}
