/* SPDX-License-Identifier: Apache-2.0 */
#include "job/tally.h"

#include "base/mem.h"
#include "core/ledger.h"
#include "io/unpacked.h"
#include "wire/message.h"

enum { READ_BYTES = 1 << 20, LINE_BYTES_MAX = 1 << 30 };

void tally_init(struct tally *t)
{
    *t = (struct tally){0};
    buf_init(&t->room, LINE_BYTES_MAX);
    buf_init(&t->output, LINE_BYTES_MAX);
}

void tally_done(struct tally *t)
{
    mem_free(t->seen);
    buf_done(&t->room);
    buf_done(&t->output);
}

void tally_clear(struct tally *t)
{
    struct tally_grid grid = t->grid;
    tally_done(t);
    tally_init(t);
    t->grid = grid;
}

/* The first interval that ends at or behind the chunk. */
static size_t place_of(const struct tally *t, uint64_t chunk)
{
    size_t low = 0, high = t->count;
    /* Mostly the next chunk of the last interval, or close to it. */
    if (t->count > 0 && t->seen[t->count - 1].to <= chunk)
        return t->seen[t->count - 1].to == chunk ? t->count - 1 : t->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->seen[mid].to < chunk)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* 1: new, 0: seen before. */
static int see(struct tally *t, uint64_t chunk)
{
    size_t i = place_of(t, chunk);
    struct tally_interval *at = t->seen + i;
    if (i < t->count && chunk >= at->from && chunk < at->to)
        return 0;
    if (i < t->count && at->to == chunk) {
        at->to++;
        if (i + 1 < t->count && at[1].from == at->to) {
            at->to = at[1].to;
            t->count--;
            memmove(at + 1, at + 2, (t->count - i - 1) * sizeof *at);
        }
        return 1;
    }
    if (i < t->count && at->from == chunk + 1) {
        at->from--;
        return 1;
    }
    if (t->count == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        struct tally_interval *seen = mem_realloc(t->seen, cap * sizeof *seen);
        if (!seen)
            return TTG_ENOMEM;
        t->seen = seen;
        t->cap = cap;
        at = seen + i;
    }
    memmove(at + 1, at, (t->count - i) * sizeof *at);
    *at = (struct tally_interval){chunk, chunk + 1};
    t->count++;
    return 1;
}

bool tally_has(const struct tally *t, uint64_t chunk)
{
    size_t i = place_of(t, chunk);
    return i < t->count && chunk >= t->seen[i].from && chunk < t->seen[i].to;
}

uint64_t tally_first_missing(const struct tally *t)
{
    return t->count > 0 && t->seen[0].from == 0 ? t->seen[0].to : 0;
}

static int add_digest(struct tally *t, uint64_t chunk, const struct message_result *m)
{
    char summary[96];
    uint64_t d[2];
    struct str text = m->text;
    char kind = 'o';
    if (m->value == MESSAGE_SUM) {
        text = str_make(summary, ledger_summary_text(summary, m->sum, m->count));
        kind = 's';
        t->has_sum = true;
        t->sum_overflow |= __builtin_add_overflow(t->sum, m->sum, &t->sum);
    } else if (m->value == MESSAGE_SUMMARY) {
        kind = 's';
    } else if (m->value == MESSAGE_OUTPUT_BASE64) {
        buf_clear(&t->output);
        int rc = buf_add_unbase64(&t->output, m->text);
        if (rc)
            return rc;
        text = buf_str(&t->output);
    }
    ledger_result_digest(chunk, kind, text, d);
    t->digest[0] += d[0];
    t->digest[1] += d[1];
    return 0;
}

/* Whether a line says the parameters that its chunk has; one that says none is let pass. */
static bool in_place(const struct tally_grid *g, uint64_t chunk, const struct message_result *m)
{
    uint64_t offset;
    if (g->chunk_params == 0 || !m->has_range)
        return true;
    if (__builtin_mul_overflow(chunk, g->chunk_params, &offset) || offset >= g->params)
        return true; /* past the last chunk: told as that */
    uint64_t left = g->params - offset;
    uint64_t count = left < g->chunk_params ? left : g->chunk_params;
    uint64_t start = (uint64_t)g->first + offset;
    return (uint64_t)m->start_param == start && (uint64_t)m->end_param == start + count - 1 &&
           m->params_processed == count;
}

static void garbled(struct tally *t)
{
    if (t->garbled < TALLY_LISTED_MAX)
        t->garbled_lines[t->garbled] = t->lines;
    t->garbled++;
}

static int add_line(struct tally *t, struct str line)
{
    struct message_result m;
    struct err err;
    uint64_t chunk;
    t->lines++;
    int rc = message_read_result(&m, line, &t->room, &err);
    if (rc == TTG_ENOMEM)
        return rc;
    if (rc || message_chunk_number(m.chunk_id, &chunk) || chunk == UINT64_MAX ||
        !str_eq(m.status, STR("complete"))) {
        garbled(t);
        return 0;
    }
    int news = see(t, chunk);
    if (news < 0)
        return news;
    if (news == 0) {
        if (t->doubled < TALLY_LISTED_MAX)
            t->doubled_chunks[t->doubled] = chunk;
        t->doubled++;
        return 0;
    }
    if (!in_place(&t->grid, chunk, &m)) {
        if (t->misplaced < TALLY_LISTED_MAX)
            t->misplaced_chunks[t->misplaced] = chunk;
        t->misplaced++;
    }
    t->chunks++;
    t->params += m.params_processed;
    rc = add_digest(t, chunk, &m);
    if (rc == TTG_EPROTO)
        garbled(t);
    return rc == TTG_EPROTO ? 0 : rc;
}

int tally_add(struct tally *t, struct str lines)
{
    int rc = 0;
    while (lines.len > 0 && !rc) {
        struct str rest, line = str_cut(lines, '\n', &rest);
        rc = add_line(t, line);
        lines = rest;
    }
    return rc;
}

int tally_file(struct tally *t, const char *path, struct err *err)
{
    struct unpacked *in;
    struct buf bytes;
    int rc = unpacked_open(&in, path, err);
    if (rc)
        return rc;
    buf_init(&bytes, LINE_BYTES_MAX);
    for (size_t len = 1; !rc && len > 0;) {
        char *at;
        rc = buf_reserve(&bytes, READ_BYTES, &at);
        if (rc) {
            err_set(err, rc, "%s: a line is longer than %d bytes", path, LINE_BYTES_MAX);
            break;
        }
        rc = unpacked_read(in, at, READ_BYTES, &len, err);
        if (rc)
            break;
        buf_grew(&bytes, len);
        const char *last = buf_len(&bytes) ? memrchr(buf_ptr(&bytes), '\n', buf_len(&bytes)) : NULL;
        size_t whole = len == 0 ? buf_len(&bytes) : last ? (size_t)(last + 1 - buf_ptr(&bytes)) : 0;
        if (whole > 0 && (rc = tally_add(t, str_make(buf_ptr(&bytes), whole))))
            err_set(err, rc, "%s: %s", path, err_text(rc));
        buf_consume(&bytes, whole);
    }
    buf_done(&bytes);
    unpacked_close(in);
    return rc;
}

static void list(struct buf *report, const uint64_t *numbers, uint64_t count)
{
    uint64_t shown = count < TALLY_LISTED_MAX ? count : TALLY_LISTED_MAX;
    for (uint64_t i = 0; i < shown; i++)
        buf_printf(report, " %llu", (unsigned long long)numbers[i]);
    if (count > shown)
        buf_printf(report, " and %llu more", (unsigned long long)(count - shown));
    buf_add_char(report, '\n');
}

static uint64_t find_missing(const struct tally *t, uint64_t chunks, uint64_t *out)
{
    uint64_t missing = 0, at = 0;
    for (size_t i = 0; i <= t->count && at < chunks; i++) {
        uint64_t to = i < t->count ? t->seen[i].from : chunks;
        if (to > chunks)
            to = chunks;
        for (uint64_t c = at; c < to && missing + (c - at) < TALLY_LISTED_MAX; c++)
            out[missing + (c - at)] = c;
        missing += to > at ? to - at : 0;
        at = i < t->count ? t->seen[i].to : chunks;
    }
    return missing;
}

enum tally_verdict tally_compare(const struct tally *t, const struct tally_truth *truth,
                                 struct buf *report)
{
    uint64_t missing_chunks[TALLY_LISTED_MAX];
    uint64_t missing = find_missing(t, truth->chunks, missing_chunks);
    uint64_t allowed = truth->completed == UINT64_MAX ? 0 : truth->chunks - truth->completed;
    bool beyond = t->count > 0 && t->seen[t->count - 1].to > truth->chunks;
    bool digest = !truth->has_digest ||
                  (t->digest[0] == truth->digest[0] && t->digest[1] == truth->digest[1]);
    size_t before = buf_len(report);
    if (missing > allowed) {
        buf_printf(report, "missing %llu:", (unsigned long long)(missing - allowed));
        list(report, missing_chunks, missing);
    }
    if (missing < allowed)
        buf_printf(report, "%llu results of chunks that the ledger does not call done\n",
                   (unsigned long long)(allowed - missing));
    if (t->doubled > 0) {
        buf_printf(report, "doubled %llu:", (unsigned long long)t->doubled);
        list(report, t->doubled_chunks, t->doubled);
    }
    if (t->misplaced > 0) {
        buf_printf(report,
                   "not the parameters of their chunk %llu:", (unsigned long long)t->misplaced);
        list(report, t->misplaced_chunks, t->misplaced);
    }
    if (t->garbled > 0) {
        buf_printf(report, "no result in %llu lines:", (unsigned long long)t->garbled);
        list(report, t->garbled_lines, t->garbled);
    }
    if (beyond)
        buf_printf(report, "results of chunks past the last one, %llu\n",
                   (unsigned long long)truth->chunks - 1);
    if (!digest)
        buf_printf(report,
                   "digest %016llx%016llx of the results, %016llx%016llx in the ledger: "
                   "a result is not what was committed\n",
                   (unsigned long long)t->digest[0], (unsigned long long)t->digest[1],
                   (unsigned long long)truth->digest[0], (unsigned long long)truth->digest[1]);
    return buf_len(report) == before ? TALLY_PROVEN : TALLY_WRONG;
}
