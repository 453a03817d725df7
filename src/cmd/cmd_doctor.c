/* SPDX-License-Identifier: Apache-2.0 */
/* ttg doctor: is what a job relies on set up so that nothing can get lost? */
#include "cmd/command.h"
#include "cmd/doctor.h"
#include "cmd/queue_choice.h"
#include "cmd/state_dir.h"
#include "io/loop.h"
#include "io/tls.h"

#include <stdio.h>

enum { TEXT_BYTES_MAX = 16 << 20, EXIT_UNSAFE = EXIT_FAILED_CHUNKS };

struct report {
    struct doctor doctor;
    struct queue_choice choice;
    char queue[URL_TEXT_BYTES_MAX];
    bool json;
    unsigned unsafe, warnings;
    struct buf findings;
};

/* --- what is said --- */

static int add_json(struct buf *out, const char *name, struct str value)
{
    int rc =
        buf_printf(out, "%s\"%s\":", buf_str(out).ptr[buf_len(out) - 1] == '{' ? "" : ",", name);
    return rc ? rc : buf_add_json(out, value);
}

static int finding_json(struct report *r, const struct doctor_finding *f)
{
    struct buf *out = &r->findings;
    int rc = buf_add_str(out, buf_len(out) ? STR(",{") : STR("{"));
    if (!rc)
        rc = add_json(out, "id", str_of(f->id));
    if (!rc)
        rc = add_json(out, "level", f->level == DOCTOR_UNSAFE ? STR("unsafe") : STR("warning"));
    if (!rc)
        rc = add_json(out, "where", str_of(f->where));
    if (!rc)
        rc = add_json(out, "found", buf_str(&f->found));
    if (!rc)
        rc = add_json(out, "means", str_of(f->means));
    if (!rc)
        rc = add_json(out, "fix", str_of(f->fix));
    return rc ? rc : buf_add_char(out, '}');
}

static int on_finding(void *ctx, const struct doctor_finding *f)
{
    struct report *r = ctx;
    bool unsafe = f->level == DOCTOR_UNSAFE;
    *(unsafe ? &r->unsafe : &r->warnings) += 1;
    if (r->json)
        return finding_json(r, f);
    return buf_printf(&r->findings, "%s %s: %.*s  [%s]\n    means: %s\n    fix:   %s\n",
                      unsafe ? "UNSAFE " : "warning", f->where, STR_ARG(buf_str(&f->found)), f->id,
                      f->means, f->fix);
}

/* Each kind once, with how many places of it were looked at. */
static int add_checked(const struct report *r, struct buf *out)
{
    int rc = 0;
    bool first = true;
    for (int kind = 0; kind < DOCTOR_KINDS && !rc; kind++) {
        size_t count = 0;
        const struct doctor_facts *one = NULL;
        for (size_t i = 0; i < r->doctor.place_count; i++)
            if ((int)r->doctor.places[i]->kind == kind) {
                one = r->doctor.places[i];
                count++;
            }
        if (!one)
            continue;
        struct buf where;
        buf_init(&where, 2 * DOCTOR_WHERE_BYTES);
        rc = count == 1 ? buf_add_str(&where, str_of(one->where))
                        : buf_printf(&where, "%s and %zu more like it", one->where, count - 1);
        if (!rc && r->json) {
            rc = buf_add_str(out, first ? STR("{") : STR(",{"));
            if (!rc)
                rc = add_json(out, "where", buf_str(&where));
            if (!rc)
                rc = add_json(out, "what", str_of(doctor_covers((enum doctor_kind)kind)));
            if (!rc)
                rc = buf_add_char(out, '}');
        } else if (!rc) {
            rc = buf_printf(out, "%s%.*s (%s)", first ? "" : "; ", STR_ARG(buf_str(&where)),
                            doctor_covers((enum doctor_kind)kind));
        }
        buf_done(&where);
        first = false;
    }
    return rc;
}

static int say(struct report *r, struct buf *out)
{
    struct buf *findings = &r->findings;
    int rc;
    if (r->json) {
        rc = buf_add_str(out, STR("{"));
        if (!rc)
            rc = add_json(out, "queue", str_of(r->queue));
        if (!rc)
            rc = buf_printf(out, ",\"safe\":%s,\"unsafe\":%u,\"warnings\":%u,\"checked\":[",
                            r->unsafe ? "false" : "true", r->unsafe, r->warnings);
        if (!rc)
            rc = add_checked(r, out);
        if (!rc)
            rc = buf_printf(out, "],\"findings\":[%.*s]}\n", STR_ARG(buf_str(findings)));
        return rc;
    }
    rc = buf_add_str(out, buf_str(findings));
    if (!rc && r->unsafe + r->warnings == 0)
        rc = buf_add_str(out, STR("all good: "));
    else if (!rc)
        rc = buf_printf(out, "%u unsafe, %u warnings; looked at: ", r->unsafe, r->warnings);
    if (!rc)
        rc = add_checked(r, out);
    return rc ? rc : buf_add_char(out, '\n');
}

/* --- what is looked at --- */

static int look_at_queue(struct report *r, const struct options *o, struct err *err)
{
    struct queue_config *config = &r->choice.config;
    const char *management = option_text(o, OPT_MANAGEMENT);
    struct doctor_ask ask = {
        .doctor = &r->doctor, .config = config, .management = management, .tls = NULL};
    bool encrypted = config->url->tls || (management && strncmp(management, "https:", 6) == 0);
    int rc = encrypted ? queue_tls(config, &ask.tls, err) : 0;
    if (!rc)
        rc = loop_open(&ask.loop, err);
    if (!rc)
        rc = config->url->scheme == URL_AMQP ? doctor_rabbit(&ask, err) : doctor_resp(&ask, err);
    loop_close(ask.loop);
    tls_free(ask.tls);
    return rc;
}

static int look(struct report *r, const struct command_run *run, struct err *err)
{
    const struct options *o = run->options;
    char state[STATE_DIR_BYTES];
    int rc = queue_choose(&r->choice, run, err);
    if (!rc)
        rc = doctor_here(&r->doctor, err);
    if (rc)
        return rc;
    if (!r->choice.given) {
        rc = state_dir_path("jobs", state, err);
        snprintf(r->queue, sizeof r->queue, "embedded");
        return rc ? rc : doctor_directory(&r->doctor, state, option_text(o, OPT_SYNC), err);
    }
    url_show(&r->choice.url, r->queue);
    if (r->choice.url.scheme == URL_EMBEDDED)
        return doctor_directory(&r->doctor, r->choice.url.path, option_text(o, OPT_SYNC), err);
    return look_at_queue(r, o, err);
}

int cmd_doctor(struct command_run *run)
{
    struct report r = {.json = option_bool(run->options, OPT_JSON)};
    struct err err = {0};
    struct buf out;
    doctor_init(&r.doctor);
    buf_init(&r.findings, TEXT_BYTES_MAX);
    buf_init(&out, 2 * TEXT_BYTES_MAX);
    int rc = look(&r, run, &err);
    if (!rc) {
        rc = doctor_judge(&r.doctor, on_finding, &r);
        if (!rc)
            rc = say(&r, &out);
        if (rc)
            err_set(&err, rc, "%s", err_text(rc));
    }
    int code = rc ? command_fail(run, &err) : command_print(run, buf_str(&out));
    buf_done(&out);
    buf_done(&r.findings);
    doctor_done(&r.doctor);
    return code ? code : r.unsafe ? EXIT_UNSAFE : EXIT_DONE;
}
