/* SPDX-License-Identifier: Apache-2.0 */
/* ttg pipeline: check, run, status, drain; dlq is in pipeline_dlq.c, clean in pipeline_clean.c.
 * `instance` is what run starts for each stage. */
#include "base/suggest.h"
#include "cmd/pipeline_place.h"
#include "io/file_read.h"
#include "io/loop.h"
#include "pipeline/home.h"
#include "pipeline/instance.h"
#include "pipeline/supervisor.h"
#include "wire/json.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATUS_BYTES_MAX = 16 << 20, LOOK_MS = 50 };

/* --- the status --- */

static struct json member(struct json object, const char *name)
{
    struct str at = json_inside(object);
    struct json key, value;
    while (object.type == JSON_OBJECT && json_next(&at, &key, &value))
        if (json_is(key, str_of(name)))
            return value;
    return (struct json){JSON_NULL, STR("")};
}

static struct str bare(struct json v)
{
    return v.type == JSON_STRING ? str_make(v.raw.ptr + 1, v.raw.len - 2) : v.raw;
}

static int cell(struct json stage, const char *name, char out[24])
{
    struct str s = bare(member(stage, name));
    return snprintf(out, 24, "%.*s", STR_ARG(s));
}

/* A table for people. */
static void show_stages(struct buf *out, struct json root)
{
    static const char *const names[] = {"in",   "out",        "queued", "retries",
                                        "dead", "duplicates", "moves",  "instances_up"};
    struct str at;
    struct json stage;
    buf_printf(out, "%-16s %-10s %10s %10s %8s %8s %6s %6s %6s %5s\n", "STAGE", "KIND", "IN", "OUT",
               "QUEUED", "RETRIES", "DEAD", "AGAIN", "MOVES", "UP");
    at = json_inside(member(root, "stages"));
    while (json_item(&at, &stage)) {
        char c[8][24];
        struct str name = bare(member(stage, "stage")), kind = bare(member(stage, "kind"));
        for (int i = 0; i < 8; i++)
            cell(stage, names[i], c[i]);
        buf_printf(out, "%-16.*s %-10.*s %10s %10s %8s %8s %6s %6s %6s %5s\n", STR_ARG(name),
                   STR_ARG(kind), c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]);
    }
}

/* What the supervisor wrote last, as JSON or as a table. `gone`: nobody runs, whatever it says. */
static int add_status(struct pipeline_place *p, bool json, bool gone, struct buf *out,
                      struct err *err)
{
    char path[PATH_MAX + 16];
    struct buf text;
    struct json root = {0};
    buf_init(&text, STATUS_BYTES_MAX);
    snprintf(path, sizeof path, "%s/status.json", p->state);
    int rc = file_read(path, &text, err);
    if (rc == TTG_ENOENT)
        rc = err_set(err, TTG_EUSAGE, "pipeline %s has not run here", p->spec.name);
    if (!rc)
        rc = json_parse(buf_str(&text), &root, err);
    if (!rc) {
        struct str state = bare(member(root, "state"));
        bool active = str_eq(state, STR("running")) || str_eq(state, STR("draining"));
        const char *crashed = gone && active ? "crashed" : NULL;
        if (json && !crashed) {
            rc = buf_add_str(out, buf_str(&text));
        } else if (json) {
            size_t head = (size_t)(state.ptr - buf_ptr(&text));
            struct str all = buf_str(&text);
            buf_add(out, all.ptr, head);
            buf_add_str(out, STR("crashed"));
            rc = buf_add(out, state.ptr + state.len, all.len - head - state.len);
        } else {
            struct str queue = bare(member(root, "queue")), s = bare(member(root, "seconds"));
            buf_printf(out, "pipeline %s: %s, %.*s s, queue %.*s\n", p->spec.name,
                       crashed ? "not running (it crashed; `ttg pipeline run` goes on)" : "",
                       STR_ARG(s), STR_ARG(queue));
            if (!crashed) {
                buf_clear(out);
                buf_printf(out, "pipeline %s: %.*s, %.*s s, queue %.*s\n", p->spec.name,
                           STR_ARG(state), STR_ARG(s), STR_ARG(queue));
            }
            show_stages(out, root);
        }
    }
    buf_done(&text);
    return rc;
}

static int pipeline_status(struct command_run *r)
{
    struct pipeline_place p;
    struct err err = {0};
    struct buf out;
    buf_init(&out, STATUS_BYTES_MAX);
    int rc = pipeline_place_open(&p, r, r->args[1], false, &err);
    if (!rc)
        rc = add_status(&p, option_bool(r->options, OPT_JSON), home_supervisor(p.state) == 0, &out,
                        &err);
    int code = rc ? command_fail(r, &err) : command_print(r, buf_str(&out));
    pipeline_place_close(&p);
    buf_done(&out);
    return code;
}

/* --- check --- */

static int pipeline_check(struct command_run *r)
{
    struct spec spec;
    struct err err = {0};
    struct buf out;
    int rc = spec_load(&spec, r->args[1], &err), code;
    if (rc) {
        code = command_fail(r, &err);
    } else {
        buf_init(&out, STATUS_BYTES_MAX);
        if (option_bool(r->options, OPT_JSON))
            buf_printf(&out, "{\"pipeline\":\"%s\",\"stages\":%zu,\"good\":true}\n", spec.name,
                       spec.stage_count);
        else
            buf_printf(&out, "%s is good: pipeline %s, %zu stages\n", r->args[1], spec.name,
                       spec.stage_count);
        code = command_print(r, buf_str(&out));
        buf_done(&out);
    }
    spec_done(&spec);
    return code;
}

/* --- run --- */

static void instance_words(struct command_words *w, struct pipeline_place *p,
                           const struct options *o)
{
    static const enum option_id passed[] = {OPT_LOG_LEVEL, OPT_LOG_FORMAT, OPT_QUEUE_RETRY,
                                            OPT_QUEUE_CA,  OPT_QUEUE_CERT, OPT_QUEUE_KEY};
    command_word(w, "ttg");
    command_word(w, "pipeline");
    command_word(w, "instance");
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        command_option(w, o, passed[i]);
    if (option_bool(o, OPT_QUEUE_NO_VERIFY))
        command_word(w, "--queue-no-verify");
    command_word(w, p->file);
    command_word(w, SUPERVISOR_STAGE);
    command_word(w, p->state);
}

/* Instances learn the address by a variable: a password in it is not for everybody's eyes. */
static int pass_address(struct pipeline_place *p, struct command_run *r, struct err *err)
{
    struct buf text;
    buf_init(&text, URL_TEXT_BYTES_MAX * 2);
    int rc = 0;
    if (p->embedded)
        rc = buf_add_str(&text, str_of(p->address));
    else if (option_text(r->options, OPT_QUEUE))
        rc = buf_add_str(&text, str_of(option_text(r->options, OPT_QUEUE)));
    else if (p->spec.queue)
        rc = buf_add_str(&text, str_of(p->spec.queue));
    const char *value = rc || buf_len(&text) == 0 ? NULL : buf_cstr(&text);
    const char *type = option_text(r->options, OPT_QUEUE_TYPE);
    if (rc || (value && setenv("TTG_QUEUE", value, 1) != 0) ||
        (type && setenv("TTG_QUEUE_TYPE", type, 1) != 0))
        rc = err_set(err, TTG_ENOMEM, "out of memory");
    buf_done(&text);
    return rc;
}

static int exit_code(enum supervisor_end end, int signo, uint64_t dead)
{
    if (end == SUPERVISOR_STOPPED)
        return 128 + signo;
    return dead > 0 ? EXIT_FAILED_CHUNKS : EXIT_DONE;
}

static int supervise(struct pipeline_place *p, struct command_run *r, struct home *home,
                     int *ret_code, struct err *err)
{
    struct command_words words = {0};
    enum supervisor_end end = SUPERVISOR_STOPPED;
    uint64_t dead = 0;
    int signo = 0;
    instance_words(&words, p, r->options);
    struct supervisor_config config = {.spec = &p->spec,
                                       .state = p->state,
                                       .queue_text = p->shown,
                                       .queue = &p->choice.config,
                                       .node = p->embedded ? p->node.list : NULL,
                                       .node_lives = p->embedded && run_dir_node_lives(&p->dir),
                                       .instance = words.list,
                                       .first_epoch = home->first_epoch};
    int rc = pass_address(p, r, err);
    if (!rc)
        rc = supervisor_run(&config, &end, &signo, &dead, err);
    if (!rc && end == SUPERVISOR_DONE)
        rc = home_set_done(home, err);
    *ret_code = rc ? 0 : exit_code(end, signo, dead);
    return rc;
}

/* A pipeline that begins anew gives the same ids to other messages: what an earlier one wrote would
 * be taken for them. */
static int check_outputs(const struct pipeline_place *p, struct err *err)
{
    char path[PATH_MAX + 16];
    struct stat st;
    snprintf(path, sizeof path, "%s/pipeline", p->state);
    if (access(path, F_OK) == 0)
        return 0;
    for (size_t i = 0; i < p->spec.stage_count; i++) {
        const struct spec_stage *stage = &p->spec.stages[i];
        if (stage->kind == SPEC_SINK && stat(stage->path, &st) == 0 && st.st_size > 0)
            return err_set(err, TTG_EUSAGE,
                           "%s has lines of an earlier run, but there is no state of it in %s; "
                           "move the file away",
                           stage->path, p->state);
    }
    return 0;
}

static int pipeline_run(struct command_run *r)
{
    struct pipeline_place p;
    struct home home = {.lock_fd = -1};
    struct err err = {0};
    struct buf out;
    int code = EXIT_DONE;
    buf_init(&out, STATUS_BYTES_MAX);
    int rc = pipeline_place_open(&p, r, r->args[1], true, &err);
    if (!rc)
        rc = pipeline_place_queue(&p, r, &err);
    if (!rc)
        rc = check_outputs(&p, &err);
    if (!rc)
        rc = home_open(&home, p.state, &p.spec, p.shown, &err);
    bool was_done = !rc && home.done;
    if (!rc && !was_done)
        rc = supervise(&p, r, &home, &code, &err);
    if (was_done)
        fprintf(stderr,
                "ttg pipeline: %s has run to its end already; `ttg pipeline clean` lets it "
                "begin anew\n",
                p.spec.name);
    if (!rc)
        rc = add_status(&p, option_bool(r->options, OPT_JSON), false, &out, &err);
    int printed = rc ? command_fail(r, &err) : command_print(r, buf_str(&out));
    home_close(&home);
    pipeline_place_close(&p);
    buf_done(&out);
    return printed ? printed : code;
}

static int pipeline_instance(struct command_run *r)
{
    struct spec spec;
    struct queue_choice choice;
    struct err err = {0};
    int rc = spec_load(&spec, r->args[1], &err);
    if (!rc)
        rc = queue_choose(&choice, r, &err);
    if (!rc && !choice.given)
        rc = err_set(&err, TTG_EUSAGE, "no queue; `ttg pipeline run` starts instances");
    size_t stage = rc ? 0 : spec_stage_of(&spec, str_of(r->args[2]));
    if (!rc && stage == SPEC_STAGES_MAX)
        rc = err_set(&err, TTG_EUSAGE, "there is no stage '%s'", r->args[2]);
    if (!rc && chdir(spec.dir) != 0)
        rc = err_set_errno(&err, errno, "%s", spec.dir);
    if (!rc) {
        choice.config.client_name = r->args[2];
        struct instance_config config = {.spec = &spec,
                                         .stage = stage,
                                         .queue = &choice.config,
                                         .state = r->args[3],
                                         .in = STDIN_FILENO,
                                         .out = STDOUT_FILENO};
        rc = instance_run(&config, &err);
    }
    spec_done(&spec);
    return rc ? command_fail(r, &err) : EXIT_DONE;
}

/* --- drain --- */

static int wait_gone(const char *state, struct err *err)
{
    struct loop *loop;
    int rc = loop_open(&loop, err);
    while (!rc && home_supervisor(state) > 0)
        rc = loop_turn(loop, LOOK_MS);
    if (loop)
        loop_close(loop);
    return rc;
}

static int pipeline_drain(struct command_run *r)
{
    struct pipeline_place p;
    struct err err = {0};
    struct buf out;
    buf_init(&out, STATUS_BYTES_MAX);
    int rc = pipeline_place_open(&p, r, r->args[1], false, &err);
    pid_t pid = rc ? 0 : home_supervisor(p.state);
    if (!rc && pid == 0)
        rc = err_set(&err, TTG_EUSAGE, "pipeline %s does not run", p.spec.name);
    if (!rc && kill(pid, SIGTERM) != 0 && errno != ESRCH)
        rc = err_set_errno(&err, errno, "process %d", (int)pid);
    if (!rc)
        rc = wait_gone(p.state, &err);
    if (!rc)
        rc = add_status(&p, option_bool(r->options, OPT_JSON), true, &out, &err);
    int code = rc ? command_fail(r, &err) : command_print(r, buf_str(&out));
    pipeline_place_close(&p);
    buf_done(&out);
    return code;
}

/* --- the command --- */

static const struct verb {
    const char *name;
    size_t args_min, args_max; /* without the verb itself */
    const char *takes;
    int (*run)(struct command_run *r);
} verbs[] = {
    {"check", 1, 1, "FILE", pipeline_check},
    {"run", 1, 1, "FILE", pipeline_run},
    {"status", 1, 1, "FILE", pipeline_status},
    {"drain", 1, 1, "FILE", pipeline_drain},
    {"clean", 1, 1, "FILE", pipeline_clean},
    {"dlq", 2, 3, "list|redrive|drop FILE [STAGE]", pipeline_dlq},
    {"instance", 3, 3, "FILE STAGE STATE", pipeline_instance},
};

int cmd_pipeline(struct command_run *r)
{
    struct err err;
    struct suggest near;
    if (r->arg_count == 0) {
        err_set(&err, TTG_EUSAGE, "what to do is missing: check, run, status, drain, clean or dlq");
        return command_fail(r, &err);
    }
    suggest_init(&near, str_of(r->args[0]));
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        const struct verb *v = &verbs[i];
        suggest_offer(&near, v->name);
        if (strcmp(v->name, r->args[0]) != 0)
            continue;
        if (r->arg_count - 1 >= v->args_min && r->arg_count - 1 <= v->args_max)
            return v->run(r);
        err_set(&err, TTG_EUSAGE, "%s takes %s", v->name, v->takes);
        return command_fail(r, &err);
    }
    err_set(&err, TTG_EUSAGE, "'%s' is not one of check, run, status, drain, clean, dlq%s%s%s",
            r->args[0], near.best ? "; did you mean '" : "", near.best ? near.best : "",
            near.best ? "'?" : "");
    return command_fail(r, &err);
}
