/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/job_spec.h"

#include "base/mem.h"
#include "cmd/kernel_options.h"
#include "io/lines.h"
#include "io/process.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEXT_BYTES_MAX = LEDGER_TEXT_BYTES_MAX };

int job_range_parse(struct str text, int64_t *ret_first, uint64_t *ret_count, struct err *err)
{
    int64_t first, last;
    size_t dots = 0;
    while (dots + 1 < text.len && !(text.ptr[dots] == '.' && text.ptr[dots + 1] == '.'))
        dots++;
    bool found = dots + 1 < text.len;
    if (!found || str_to_i64(str_make(text.ptr, dots), &first) ||
        str_to_i64(str_make(text.ptr + dots + 2, text.len - dots - 2), &last))
        return err_set(err, TTG_EUSAGE,
                       "--range %.*s: write it as A..B with numbers from -9223372036854775808 to "
                       "9223372036854775807",
                       STR_ARG(text));
    if (last < first)
        return err_set(err, TTG_EUSAGE, "--range %.*s: the last parameter is below the first",
                       STR_ARG(text));
    uint64_t more = (uint64_t)last - (uint64_t)first;
    if (more >= (uint64_t)1 << 63)
        return err_set(err, TTG_EUSAGE, "--range %.*s: more than 2^63 parameters", STR_ARG(text));
    *ret_first = first;
    *ret_count = more + 1;
    return 0;
}

int kernel_check(const struct command_run *r, struct err *err)
{
    struct kernel_config kernel;
    char *file = NULL;
    int rc = kernel_from_options(&kernel, r, err);
    if (!rc && (kernel.type == KERNEL_EXEC || kernel.type == KERNEL_COPROC))
        rc = process_find(kernel.argv[0], &file, err);
    mem_free(file);
    if (!rc && kernel.type == KERNEL_PLUGIN && access(kernel.plugin, R_OK) != 0)
        rc = err_set_errno(err, errno, "cannot read the plugin %s", kernel.plugin);
    return rc == TTG_ENOENT || rc == TTG_EACCES ? err_set(err, TTG_EUSAGE, "%s", err->text) : rc;
}

static int index_paths(const struct job_place *place, const char *input, char index[PATH_MAX],
                       char text[PATH_MAX], struct err *err)
{
    const char *base = place->output ? place->output : input;
    if (!place->index && strcmp(base, "-") == 0)
        return err_set(err, TTG_EUSAGE,
                       "--input - with a queue elsewhere needs --output FILE: the lines are kept "
                       "beside it for the workers");
    int n = place->index ? snprintf(index, PATH_MAX, "%s", place->index)
                         : snprintf(index, PATH_MAX, "%s.ttg-index", base);
    int m = place->text ? snprintf(text, PATH_MAX, "%s", place->text)
                        : snprintf(text, PATH_MAX, "%s.ttg-text", base);
    return n < PATH_MAX && m < PATH_MAX ? 0
                                        : err_set(err, TTG_ERANGE, "--input: the path is too long");
}

/* The lines become an index, whose path and digest are the job's input. */
static int spec_input(struct job_spec *s, const struct command_run *r,
                      const struct job_place *place, struct err *err)
{
    const struct options *o = r->options;
    const char *input = option_text(o, OPT_INPUT);
    char index[PATH_MAX], text[PATH_MAX];
    struct lines_info info;
    struct lines *lines = NULL;
    int rc = index_paths(place, input, index, text, err);
    if (rc)
        return rc;
    struct lines_spec spec = {.path = input,
                              .index_path = index,
                              .text_path = text,
                              .chunk_lines = option_u64(o, OPT_CHUNK),
                              .separator = option_bool(o, OPT_NULL_LINES) ? '\0' : '\n'};
    rc = place->resume ? lines_open(&lines, index, err) : TTG_ENOENT;
    if (!rc) {
        info = *lines_info(lines);
        lines_close(lines);
    } else if (rc == TTG_ENOENT) {
        rc = lines_index(&spec, &info, err);
    } else if (rc == TTG_ESTALE) { /* what is computed already came from other lines */
        rc = err_set(err, TTG_EINVAL, "%s", err->text);
    }
    if (rc == TTG_ENOENT || rc == TTG_EACCES)
        return err_set(err, TTG_EINVAL, "%s", err->text); /* a wrong path, not a lost one */
    if (rc)
        return rc;
    s->spec.first = 0;
    s->spec.params = info.lines;
    return lines_name(&s->input, index, &info, err);
}

static int spec_params(struct job_spec *s, const struct command_run *r,
                       const struct job_place *place, struct err *err)
{
    const struct options *o = r->options;
    const char *range = option_text(o, OPT_RANGE), *input = option_text(o, OPT_INPUT);
    bool params = o->slots[OPT_PARAMS].source == OPTION_FROM_FLAG;
    if ((range != NULL) + (input != NULL) + params > 1)
        return err_set(err, TTG_EUSAGE, "--params, --range and --input exclude each other");
    if (option_bool(o, OPT_NULL_LINES) && !input)
        return err_set(err, TTG_EUSAGE, "--null needs --input");
    if (input)
        return spec_input(s, r, place, err);
    if (range)
        return job_range_parse(str_of(range), &s->spec.first, &s->spec.params, err);
    if (r->word_count > 0 && o->slots[OPT_PARAMS].source == OPTION_FROM_DEFAULT)
        return err_set(err, TTG_EUSAGE,
                       "what the command is to run for is missing: --params N, --range A..B or "
                       "--input FILE (--input - for the lines of standard input)");
    s->spec.first = 0;
    s->spec.params = option_u64(o, OPT_PARAMS);
    return 0;
}

void job_spec_limits(struct ledger_spec *spec, const struct options *o)
{
    uint64_t retry_ms = option_ms(o, OPT_RETRY_DELAY), stale_ms = option_ms(o, OPT_STALE_THRESHOLD);
    spec->chunk_params = option_u64(o, OPT_CHUNK);
    spec->max_attempts = (uint32_t)option_u64(o, OPT_MAX_ATTEMPTS);
    spec->retry_min_ms = retry_ms < UINT32_MAX ? (uint32_t)retry_ms : UINT32_MAX;
    spec->retry_max_ms =
        spec->retry_min_ms > LEDGER_RETRY_MAX_MS ? spec->retry_min_ms : LEDGER_RETRY_MAX_MS;
    spec->retry_jitter = LEDGER_RETRY_JITTER;
    spec->retry_asked = o->slots[OPT_RETRY_DELAY].source != OPTION_FROM_DEFAULT;
    spec->stale_ms = stale_ms < UINT32_MAX ? (uint32_t)stale_ms : UINT32_MAX;
}

int job_spec_from_options(struct job_spec *ret_spec, const struct command_run *r,
                          const struct job_place *place, struct err *err)
{
    struct job_spec *s = ret_spec;
    const struct options *o = r->options;
    struct kernel_config kernel;
    *s = (struct job_spec){0};
    buf_init(&s->kernel, TEXT_BYTES_MAX);
    buf_init(&s->input, TEXT_BYTES_MAX);
    int rc = kernel_from_options(&kernel, r, err);
    if (!rc && kernel_describe(&kernel, &s->kernel))
        rc = err_set(err, TTG_EUSAGE, "the command is longer than %d bytes", TEXT_BYTES_MAX);
    if (!rc)
        rc = spec_params(s, r, place, err);
    if (rc)
        return rc;
    job_spec_limits(&s->spec, o);
    rc = kernel_check_chunk(&kernel, s->spec.chunk_params, err);
    if (rc)
        return rc;
    s->spec.window = (uint32_t)option_u64(o, OPT_WINDOW);
    s->spec.kernel = buf_str(&s->kernel);
    s->spec.input = buf_str(&s->input);
    rc = ledger_spec_check(&s->spec, err);
    return rc == TTG_EINVAL ? err_set(err, TTG_EUSAGE, "%s", err->text) : rc;
}

void job_spec_done(struct job_spec *s)
{
    buf_done(&s->kernel);
    buf_done(&s->input);
}
