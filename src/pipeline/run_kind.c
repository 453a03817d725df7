/* SPDX-License-Identifier: Apache-2.0 */
/* run_kind - stages that keep nothing: a command, a coprocess or a plugin makes messages of
 * messages. The work is done by the kernels that also run chunks (worker/kernel.h).
 *
 * What is made of a message has ids made of its id, so doing it again makes the same messages. An
 * end is passed on; it needs no counting here, because nothing overtakes in a partition. */
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/kinds.h"
#include "wire/json.h"
#include "worker/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum {
    RETRY_MS_MIN = 100,
    RETRY_MS_MAX = 5000,
    OUTPUT_BYTES_MAX = 16 << 20,
    GRACE_MS = 1000,
    TRYING_BYTES = 1024,
};

struct run {
    struct part *part;
    struct kernel *kernel;
    struct kernel_source source;
    struct buf lines; /* what the kernel is given */
    size_t lines_at;
    size_t batch;         /* messages in it: the first ones of the part */
    size_t single;        /* so many of the next messages go alone: one of them fails */
    size_t handled;       /* since the last commit */
    uint64_t attempts;    /* of the first message */
    uint64_t retry_ms;    /* not before */
    uint64_t made[10000]; /* messages made of each message of the batch */
    uint64_t runs;
    bool busy;          /* the kernel works */
    bool forgot;        /* and what it works on has been forgotten */
    int trying;         /* plugin: the file that says what was begun; -1: none */
    struct buf crashed; /* what had been begun last when the process before us died, */
    uint64_t crashes;   /* and how often */
    struct buf room;
};

static void run_work(struct part *p);

static int run_read(struct kernel_source *s, struct buf *out, size_t bytes_max, bool *ret_end)
{
    struct run *r = container_of(s, struct run, source);
    struct str rest = str_make(buf_ptr(&r->lines) + r->lines_at, buf_len(&r->lines) - r->lines_at);
    if (rest.len > bytes_max)
        rest.len = bytes_max;
    r->lines_at += rest.len;
    *ret_end = r->lines_at == buf_len(&r->lines);
    return buf_add_str(out, rest);
}

/* --- what a command made --- */

/* Which message of the batch an output names by "in". */
static int find_origin(struct run *r, struct str in, size_t *ret_index, struct message *origin,
                       struct err *err)
{
    size_t i = 0;
    list_each(it, &r->part->messages)
    {
        struct part_message *m = container_of(it, struct part_message, link);
        if (i == r->batch)
            break;
        if (message_parse(str_make(m->bytes, m->len), false, origin, &r->part->room, err) == 0 &&
            (r->batch == 1 || str_eq(origin->id, in))) {
            *ret_index = i;
            return 0;
        }
        i++;
    }
    return err_set(err, TTG_EPROTO,
                   in.len
                       ? "\"in\" names no message of the batch: %.*s"
                       : "with \"batch\" each message made needs \"in\", the id of its origin%.*s",
                   (int)(in.len > 80 ? 80 : in.len), in.ptr);
}

static int use_output(struct run *r, struct str text, struct err *err)
{
    char id[MESSAGE_TEXT_BYTES_MAX];
    struct message made, origin;
    size_t i = 0;
    int rc = message_parse(text, true, &made, &r->room, err);
    if (!rc && made.end)
        rc = err_set(err, TTG_EPROTO, "a stage does not end clients; ends pass by themselves");
    if (!rc)
        rc = find_origin(r, made.in, &i, &origin, err);
    if (rc)
        return rc;
    made.id = message_child_id(id, origin.id, r->part->config.stage, r->made[i]++);
    if (!made.has_client)
        made.client = origin.client;
    if (!made.has_key)
        made.key = origin.key;
    rc = part_send(r->part, &made);
    return rc ? err_set(err, rc, "%s", err_text(rc)) : 0;
}

/* A JSON array of messages, or a message a line. */
static int use_outputs(struct run *r, struct str text, struct err *err)
{
    struct json root, value;
    memset(r->made, 0, r->batch * sizeof *r->made);
    text = str_trim(text);
    if (text.len > 0 && text.ptr[0] == '[') {
        int rc = json_parse(text, &root, err);
        struct str at = rc ? STR("") : json_inside(root);
        while (!rc && json_item(&at, &value))
            rc = use_output(r, value.raw, err);
        return rc;
    }
    if (str_eq(text, STR("null")) && r->part->stage->kind == SPEC_COPROC)
        return 0;
    while (text.len > 0) {
        struct str line = str_trim(str_cut(text, '\n', &text));
        int rc = line.len > 0 ? use_output(r, line, err) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

/* --- results --- */

static void finish_batch(struct run *r)
{
    for (size_t i = 0; i < r->batch; i++)
        part_done(r->part, part_first(r->part));
    r->part->counts.in += r->batch;
    r->handled += r->batch;
    r->single -= r->single > 0;
    r->attempts = 0;
}

static void use_failure(struct run *r, bool permanent, struct str reason)
{
    struct part *p = r->part;
    struct part_message *m = part_first(p);
    if (r->batch > 1) { /* each alone: one bad message must not take others with it */
        r->single = r->batch;
        return;
    }
    if (!permanent && ++r->attempts < p->stage->attempts) {
        uint64_t ms = RETRY_MS_MIN;
        for (uint64_t i = 1; i < r->attempts && ms < RETRY_MS_MAX; i++)
            ms *= 2;
        r->retry_ms = loop_now_ms(p->config.loop) + (ms < RETRY_MS_MAX ? ms : RETRY_MS_MAX);
        p->counts.retries++;
        return;
    }
    int rc = part_send_dead(p, str_make(m->bytes, m->len), reason,
                            permanent ? r->attempts + 1 : r->attempts);
    if (rc) {
        struct err err;
        err_set(&err, rc, "%s: %s", p->name, err_text(rc));
        part_fail(p, &err);
        return;
    }
    finish_batch(r);
}

static void use_result(struct run *r, const struct kernel_result *result)
{
    struct part *p = r->part;
    size_t sends = p->send_count, bytes = buf_len(&p->bytes);
    uint64_t sent = p->sent;
    struct err err = {0};
    struct buf reason;
    int rc = 0;
    if (result->status == KERNEL_OK && result->has_sum)
        rc = err_set(&err, TTG_EPROTO, "a sum is no list of messages");
    else if (result->status == KERNEL_OK)
        rc = use_outputs(r, result->output, &err);
    if (result->status == KERNEL_OK && rc == 0) {
        finish_batch(r);
        return;
    }
    p->send_count = sends; /* all of a message's output counts, or nothing */
    p->sent = sent;
    if (buf_len(&p->bytes) > bytes)
        buf_truncate(&p->bytes, bytes);
    buf_init(&reason, 8192);
    if (rc)
        buf_printf(&reason, "bad output: %s", err.text);
    else
        buf_printf(&reason, "%.*s%s%.*s", STR_ARG(result->reason),
                   result->stderr_tail.len ? ": " : "", STR_ARG(result->stderr_tail));
    use_failure(r, result->status == KERNEL_PERMANENT, str_trim(buf_str(&reason)));
    buf_done(&reason);
}

static void on_done(void *ctx, uint32_t slot, const struct kernel_result *result)
{
    struct run *r = ctx;
    (void)slot;
    r->busy = false;
    if (r->forgot)
        return; /* `ready` comes again */
    use_result(r, result);
    if (!r->part->over)
        run_work(r->part);
}

/* --- what a plugin was doing when it took the process with it --- */

/* The file holds "attempts id" of the message that was begun last. A full disk: then such a crash
 * is not counted. */
static void note_start(struct run *r, struct str id)
{
    char text[TRYING_BYTES];
    if (r->trying < 0)
        return;
    if (str_eq(id, buf_str(&r->crashed))) {
        r->attempts = r->crashes;
        buf_clear(&r->crashed);
    }
    int n = snprintf(text, sizeof text, "%llu %.*s\n", (unsigned long long)r->attempts + 1,
                     STR_ARG(id));
    if (pwrite(r->trying, text, (size_t)n, 0) != n)
        log_debug("plugin.note", kv_str("partition", r->part->name));
}

static int open_note(struct run *r, struct err *err)
{
    char text[TRYING_BYTES];
    struct buf path;
    buf_init(&path, 8192);
    int rc = buf_printf(&path, "%s/%s.trying", r->part->config.state, r->part->name);
    r->trying = rc ? -1 : open(buf_cstr(&path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (!rc && r->trying < 0)
        rc = err_set_errno(err, errno, "%s", buf_cstr(&path));
    buf_done(&path);
    ssize_t n = rc ? 0 : pread(r->trying, text, sizeof text, 0);
    if (n <= 0)
        return rc;
    struct str rest, line = str_cut(str_make(text, (size_t)n), '\n', &rest);
    struct str number = str_cut(line, ' ', &rest);
    return str_to_u64(number, &r->crashes) ? 0 : buf_add_str(&r->crashed, rest);
}

/* It did not crash: the note is no longer true. */
static void close_note(struct run *r)
{
    if (r->trying < 0)
        return;
    if (ftruncate(r->trying, 0) < 0)
        log_debug("plugin.note", kv_str("partition", r->part->name));
    close(r->trying);
}

/* --- a turn --- */

/* Makes the lines of the next batch; false: the first message is not for the command, and has been
 * dealt with. */
static bool gather(struct run *r, struct err *err)
{
    struct part *p = r->part;
    struct message m;
    size_t most = r->single > 0 ? 1 : p->stage->batch;
    r->batch = 0;
    buf_clear(&r->lines);
    list_each(it, &p->messages)
    {
        struct part_message *pm = container_of(it, struct part_message, link);
        struct err why;
        struct str text = str_make(pm->bytes, pm->len);
        int rc = r->batch == most ? TTG_EFULL : message_parse(text, false, &m, &p->room, &why);
        if (rc == TTG_EFULL || ((rc || m.end) && r->batch > 0))
            break;
        if (rc || m.end) {
            rc = rc ? part_send_dead(p, text, str_of(why.text), 0)
                    : part_send_end(p, m.client, m.path.len ? m.path : STR("input"));
            p->counts.ends += m.end;
            part_done(p, pm);
            r->handled++;
            if (rc)
                err_set(err, rc, "%s: %s", p->name, err_text(rc));
            return false;
        }
        if (r->batch == 0)
            note_start(r, m.id);
        if (message_add(&r->lines, &m) || buf_add_char(&r->lines, '\n')) {
            err_set(err, TTG_ENOMEM, "%s: out of memory", p->name);
            return false;
        }
        r->batch++;
    }
    return true;
}

/* True: it is over already, and used. */
static bool start(struct run *r)
{
    struct part *p = r->part;
    struct kernel_result result;
    if (p->stage->kind == SPEC_PLUGIN && r->attempts >= p->stage->attempts) {
        r->attempts--; /* this one is not begun */
        use_failure(r, true, STR("the plugin ended the process each time"));
        return true;
    }
    struct kernel_task task = {.chunk = r->runs++,
                               .start = 0,
                               .end = (int64_t)r->batch - 1,
                               .attempt = (uint32_t)r->attempts + 1,
                               .job = p->config.spec->name,
                               .lines = &r->source};
    r->lines_at = 0;
    r->busy = true;
    if (!kernel_start(r->kernel, 0, &task, &result))
        return false;
    r->busy = false;
    use_result(r, &result);
    return true;
}

static void run_work(struct part *p)
{
    struct run *r = p->own;
    struct err err = {0};
    while (!p->over) {
        uint64_t now_ms = loop_now_ms(p->config.loop);
        if (r->retry_ms > now_ms) {
            r->handled = 0;
            part_pause(p, r->retry_ms - now_ms);
            return;
        }
        if (!part_first(p) || r->handled >= PART_BATCH || part_is_enough(p)) {
            r->handled = 0;
            part_commit(p);
            return;
        }
        bool runs = gather(r, &err);
        if (err.code)
            part_fail(p, &err);
        else if (runs && !start(r))
            return;
    }
}

/* --- life --- */

static int run_ready(struct part *p, struct err *err)
{
    struct run *r = p->own;
    (void)err;
    r->forgot = r->busy;
    r->attempts = r->retry_ms = r->handled = r->single = r->batch = 0;
    if (!r->busy)
        return 0;
    kernel_cancel(r->kernel, 0);
    return TTG_EAGAIN;
}

static int open_kernel(struct run *r, struct err *err)
{
    struct part *p = r->part;
    struct kernel_config config;
    kernel_config_init(&config);
    config.type = p->stage->kind == SPEC_EXEC     ? KERNEL_EXEC
                  : p->stage->kind == SPEC_COPROC ? KERNEL_COPROC
                                                  : KERNEL_PLUGIN;
    config.slots = 1;
    config.worker = p->name;
    config.timeout_ms = p->stage->timeout_ms;
    config.kill_grace_ms = GRACE_MS;
    config.output_bytes_max = OUTPUT_BYTES_MAX;
    config.argv = p->stage->argv;
    config.bare_lines = true;
    config.plugin = p->stage->path;
    config.plugin_arg = p->stage->argument;
    config.on_done = on_done;
    config.ctx = r;
    return kernel_open(&r->kernel, p->config.loop, &config, err);
}

static int run_open(struct part *p, struct err *err)
{
    struct run *r = p->own = mem_zalloc(sizeof *r);
    if (!r)
        return err_set(err, TTG_ENOMEM, "out of memory");
    r->part = p;
    r->trying = -1;
    r->source = (struct kernel_source){run_read, '\n'};
    buf_init(&r->lines, 1 << 30);
    buf_init(&r->room, MESSAGE_BYTES_MAX);
    buf_init(&r->crashed, TRYING_BYTES);
    int rc = p->stage->kind == SPEC_PLUGIN ? open_note(r, err) : 0;
    return rc ? rc : open_kernel(r, err);
}

static void run_close(struct part *p)
{
    struct run *r = p->own;
    if (!r)
        return;
    kernel_close(r->kernel);
    close_note(r);
    buf_done(&r->crashed);
    buf_done(&r->lines);
    buf_done(&r->room);
    mem_free(r);
    p->own = NULL;
}

const struct part_kind run_kind = {
    .open = run_open, .close = run_close, .ready = run_ready, .work = run_work};
