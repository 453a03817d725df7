/* SPDX-License-Identifier: Apache-2.0 */
/* ttg bench: what a chunk costs here. Each figure is that of an ordinary `ttg run`, started as a
 * user would, from its start to its proven end; a figure of a run that was not proven does not
 * exist. */
#include "base/log.h"
#include "base/mem.h"
#include "cmd/ask.h"
#include "cmd/leftover.h"
#include "cmd/state_dir.h"
#include "cmd/tool.h"
#include "io/stdio.h"
#include "wire/json.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

typedef unsigned long long number; /* for printf */

enum {
    SAID_BYTES_MAX = 1 << 20,
    TRIES_MAX = 12, /* until a run takes long enough */
    GROWTH_MAX = 20,
    STOP_MS = 10000,
    LEAVE_MS = 100, /* between looks whether a run has left its job */
    LEAVE_TRIES = 100,
    GOOD_SHARE = 100, /* a chunk should take a hundred times what its handing out costs */
};

/* One kind of run. */
struct trial {
    const char *key, *what;
    const char *prefetch; /* NULL: as it is */
    bool command;
    uint64_t chunks, chunks_max; /* of the first run; a run is never longer than the second */
    double seconds, cpu_seconds; /* of the last run, with `chunks` of that one */
};

enum { START, NOOP, ROUND_TRIP, COMMAND, TRIALS };

struct bench {
    struct command_run *command;
    struct loop *loop;
    struct guard *guard;
    struct loop_signal sigint, sigterm;
    int signal;
    struct process process;
    bool ended;
    struct process_exit exit;
    struct queue_choice choice;
    bool embedded;
    char dir[STATE_DIR_BYTES];
    uint64_t workers, target_ms;
    unsigned runs;
    struct trial trials[TRIALS];
};

/* --- one run --- */

static void on_exit_of(struct process *p, struct process_exit e)
{
    struct bench *b = container_of(p, struct bench, process);
    b->ended = true;
    b->exit = e;
}

static void on_signal(struct loop_signal *s)
{
    struct bench *b = s->signo == SIGINT ? container_of(s, struct bench, sigint)
                                         : container_of(s, struct bench, sigterm);
    b->signal = s->signo;
    process_end(&b->process, STOP_MS);
}

/* Ended children, with theirs. */
static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_CHILDREN, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void run_words(const struct bench *b, const struct trial *t, const char *job,
                      const char *place, struct command_words *w, char room[2][32])
{
    static const enum option_id passed[] = {OPT_CONFIG,   OPT_QUEUE_RETRY, OPT_REDIS_WAIT,
                                            OPT_QUEUE_CA, OPT_QUEUE_CERT,  OPT_QUEUE_KEY,
                                            OPT_SYNC,     OPT_QUEUE_TYPE};
    const struct options *o = b->command->options;
    snprintf(room[0], 32, "%llu", (number)t->chunks);
    snprintf(room[1], 32, "%llu", (number)b->workers);
    const char *const words[] = {"ttg",    "run",         "--job", job,         "--params",
                                 room[0],  "--chunk",     "1",     "--workers", room[1],
                                 "--json", "--log-level", "ERROR"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        command_word(w, words[i]);
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        command_option(w, o, passed[i]);
    if (option_bool(o, OPT_QUEUE_NO_VERIFY))
        command_word(w, "--queue-no-verify");
    if (b->embedded || o->slots[OPT_QUEUE].source == OPTION_FROM_FLAG) {
        command_word(w, "--queue"); /* otherwise it learns it as we did */
        command_word(w, b->embedded ? place : option_text(o, OPT_QUEUE));
    }
    if (t->prefetch) {
        command_word(w, "--prefetch");
        command_word(w, t->prefetch);
    }
    if (!t->command) {
        command_word(w, "--simulate-ms");
        command_word(w, "0");
    }
}

/* The summary of the run says that all is there and proven. */
static bool is_proven(struct str said, uint64_t chunks)
{
    struct json object, name, value;
    uint64_t completed = 0;
    bool verified = false;
    if (json_parse(str_trim(said), &object, NULL) || object.type != JSON_OBJECT)
        return false;
    for (struct str at = json_inside(object); json_next(&at, &name, &value);) {
        if (json_is(name, STR("completed")))
            json_u64(value, &completed);
        else if (json_is(name, STR("verified")))
            verified = str_eq(value.raw, STR("true"));
    }
    return verified && completed == chunks;
}

static int execute(struct bench *b, struct trial *t, char *const *argv, struct buf *said,
                   struct err *err)
{
    int fd = tool_output("said");
    if (fd < 0)
        return err_set(err, TTG_EIO, "cannot make a file in memory");
    struct process_spec spec = {.file = "/proc/self/exe",
                                .argv = argv,
                                .envp = environ,
                                .fds = {-1, -1, fd}, /* results go to standard output: nowhere */
                                .group = guard_slot(b->guard, 0),
                                .death_signal = SIGTERM};
    double cpu = cpu_seconds();
    uint64_t began_ns = loop_now_update(b->loop);
    b->ended = false;
    int rc = process_start(&b->process, b->loop, &spec, on_exit_of, err);
    while (!rc && !b->ended)
        loop_turn(b->loop, LOOP_FOREVER);
    t->seconds = (double)(loop_now_update(b->loop) - began_ns) / 1e9;
    t->cpu_seconds = cpu_seconds() - cpu;
    tool_said(fd, said);
    close(fd);
    return rc;
}

/* The queue of somebody else is left as it was. `ran`: the job was there. */
static void forget(struct bench *b, const char *job, bool ran)
{
    static const enum queue_control steps[] = {QUEUE_CANCEL, QUEUE_FORGET};
    struct ask_config config = {.job = job};
    struct ask ask;
    struct err err = {0};
    int rc = ask_open(&ask, b->command, &config, &err);
    for (unsigned i = 0, tries = 0; i < 2 && !rc;) {
        rc = ask_control(&ask, steps[i], &err);
        if (rc == TTG_EBUSY && tries++ < LEAVE_TRIES) { /* the run is not quite gone for a broker */
            bool never = false;
            rc = ask_wait(&ask, &never, loop_now_ms(ask.loop) + LEAVE_MS, &err);
            rc = rc == TTG_ETIMEOUT ? 0 : rc;
        } else {
            rc = rc == TTG_EDONE ? 0 : rc;
            i++;
        }
    }
    ask_close(&ask);
    if (rc && ran)
        log_warn("bench.left", kv_str("job", job), kv_str("reason", err.text));
}

static int run_once(struct bench *b, struct trial *t, struct err *err)
{
    struct command_run *r = b->command;
    char job[32], place[STATE_DIR_BYTES + 32], path[STATE_DIR_BYTES + 16], room[2][32];
    static char *just_true[] = {(char *)(uintptr_t) "true"};
    char **words = r->word_count ? r->words : just_true;
    size_t word_count = !t->command ? 0 : r->word_count ? r->word_count : 1;
    struct command_words w = {0};
    snprintf(job, sizeof job, "bench-%016llx", (number)queue_random());
    snprintf(path, sizeof path, "%s/%u", b->dir, ++b->runs);
    snprintf(place, sizeof place, "embedded:%s", path);
    run_words(b, t, job, place, &w, room);
    char **argv = mem_array(w.count + word_count + 2, sizeof *argv);
    if (!argv)
        return err_set(err, TTG_ENOMEM, "out of memory");
    size_t n = 0;
    for (; n < w.count; n++)
        argv[n] = w.list[n];
    if (word_count > 0)
        argv[n++] = (char *)(uintptr_t) "--";
    for (size_t i = 0; i < word_count; i++)
        argv[n++] = words[i];
    argv[n] = NULL;

    struct buf said;
    buf_init(&said, SAID_BYTES_MAX);
    int rc = execute(b, t, argv, &said, err);
    struct str rest, text = str_trim(buf_str(&said));
    if (!rc && b->signal)
        rc = err_set(err, TTG_ECANCELED, "stopped");
    else if (!rc && (b->exit.status != 0 || !is_proven(text, t->chunks)))
        rc = err_set(err, TTG_ECHILD, "%s: the run failed: %.*s", t->what,
                     STR_ARG(str_cut(text, '\n', &rest)));
    if (b->embedded)
        state_dir_remove(path);
    else if (b->exit.status != EXIT_LOST)
        forget(b, job, !rc);
    buf_done(&said);
    mem_free(argv);
    return rc;
}

/* --- the figures --- */

static double per_second(const struct trial *t)
{
    return (double)t->chunks / t->seconds;
}

/* Longer and longer runs, until one takes as long as was asked for. */
static int measure(struct bench *b, struct trial *t, struct err *err)
{
    double target = (double)b->target_ms / 1000;
    int rc = run_once(b, t, err);
    for (unsigned i = 1; !rc && i < TRIES_MAX && t->seconds < target; i++) {
        double more = target / t->seconds * 1.2;
        uint64_t chunks = (uint64_t)((double)t->chunks * (more < GROWTH_MAX ? more : GROWTH_MAX));
        if (t->chunks == t->chunks_max)
            break;
        t->chunks = chunks < t->chunks_max ? chunks : t->chunks_max;
        rc = run_once(b, t, err);
    }
    return rc;
}

/* "1,234,567" */
static const char *grouped(double value, char room[32])
{
    char digits[32];
    int len = snprintf(digits, sizeof digits, "%.0f", value), at = 0;
    for (int i = 0; i < len; i++) {
        room[at++] = digits[i];
        if ((len - i) % 3 == 1 && i + 1 < len)
            room[at++] = ',';
    }
    room[at] = '\0';
    return room;
}

/* "3.2 ms" */
static const char *time_text(double seconds, char room[32])
{
    if (seconds < 0.001)
        snprintf(room, 32, "%.3g us", seconds * 1e6);
    else if (seconds < 1)
        snprintf(room, 32, "%.3g ms", seconds * 1e3);
    else
        snprintf(room, 32, "%.3g s", seconds);
    return room;
}

/* Of a worker's time, for a chunk in which nothing is done. */
static double chunk_cost(const struct bench *b, const struct trial *t)
{
    return (double)b->workers / per_second(t);
}

static int show(const struct bench *b, const struct trial *t)
{
    char line[200], rate[32], cpu[32], count[32];
    if (t == &b->trials[START])
        snprintf(line, sizeof line,
                 "%-16s %12s    a run of one chunk, from the command to its end\n", t->what,
                 time_text(t->seconds, rate));
    else
        snprintf(line, sizeof line,
                 "%-16s %12s /s %s chunks in %.1f s, %s of processor time each\n", t->what,
                 grouped(per_second(t), rate), grouped((double)t->chunks, count), t->seconds,
                 time_text(t->cpu_seconds / (double)t->chunks, cpu));
    return command_print(b->command, str_of(line));
}

static int show_advice(const struct bench *b)
{
    char text[500], a[32], c[32], d[32], e[32];
    double chunk = chunk_cost(b, &b->trials[NOOP]), command = chunk_cost(b, &b->trials[COMMAND]);
    snprintf(text, sizeof text,
             "A chunk costs a worker %s, one with a command %s: in chunks that take %s, with\n"
             "commands %s, and longer, less than 1 %% is lost.\n",
             time_text(chunk, a), time_text(command, c), time_text(chunk * GOOD_SHARE, d),
             time_text(command * GOOD_SHARE, e));
    return command_print(b->command, str_of(text));
}

static int show_json(const struct bench *b)
{
    struct buf out;
    char where[URL_TEXT_BYTES_MAX] = "embedded";
    buf_init(&out, SAID_BYTES_MAX);
    if (!b->embedded)
        url_show(&b->choice.url, where);
    buf_add_str(&out, STR("{\"queue\":"));
    buf_add_json(&out, str_of(where));
    buf_printf(&out, ",\"workers\":%llu,\"start_seconds\":%.6f", (number)b->workers,
               b->trials[START].seconds);
    for (size_t i = NOOP; i < TRIALS; i++) {
        const struct trial *t = &b->trials[i];
        buf_printf(&out,
                   ",\"%s\":{\"chunks\":%llu,\"seconds\":%.6f,\"chunks_per_second\":%.1f,"
                   "\"cpu_seconds_per_chunk\":%.9f}",
                   t->key, (number)t->chunks, t->seconds, per_second(t),
                   t->cpu_seconds / (double)t->chunks);
    }
    buf_add_str(&out, STR("}\n"));
    int code = command_print(b->command, buf_str(&out));
    buf_done(&out);
    return code;
}

/* --- the whole --- */

static int configure(struct bench *b, struct err *err)
{
    const struct options *o = b->command->options;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    b->workers = option_text(o, OPT_BENCH_WORKERS) ? option_u64(o, OPT_BENCH_WORKERS)
                 : processors > 0                  ? (uint64_t)processors
                                                   : 1;
    b->target_ms = option_ms(o, OPT_BENCH_SECONDS);
    char *file = NULL;
    int rc = b->command->word_count ? process_find(b->command->words[0], &file, err) : 0;
    mem_free(file);
    if (!rc)
        rc = queue_choose(&b->choice, b->command, err);
    b->embedded = !rc && (!b->choice.given || b->choice.url.scheme == URL_EMBEDDED);
    if (!rc && b->choice.given && b->embedded)
        rc = err_set(err, TTG_EUSAGE, "--queue embedded: has no directory here; leave --queue out");
    if (!rc)
        rc = loop_open(&b->loop, err);
    if (!rc)
        rc = guard_open(&b->guard, 1, err);
    if (!rc)
        rc = leftover_dir(b->dir, "bench", err);
    if (!rc && (rc = loop_signal_start(&b->sigint, b->loop, SIGINT, on_signal)) == 0)
        rc = loop_signal_start(&b->sigterm, b->loop, SIGTERM, on_signal);
    return rc;
}

static int go(struct bench *b)
{
    bool json = option_bool(b->command->options, OPT_JSON);
    struct err err = {0};
    int code = EXIT_DONE;
    for (size_t i = 0; i < TRIALS && !code; i++) {
        struct trial *t = &b->trials[i];
        int rc = i == START ? run_once(b, t, &err) : measure(b, t, &err);
        if (b->signal)
            return b->signal == SIGINT ? EXIT_SIGINT : EXIT_SIGTERM;
        code = rc ? command_fail(b->command, &err) : json ? EXIT_DONE : show(b, t);
        if (rc == TTG_ECHILD && b->exit.status > 0) /* it says more than ours */
            code = b->exit.status;
    }
    return code ? code : json ? show_json(b) : show_advice(b);
}

static void close_bench(struct bench *b)
{
    guard_close(b->guard);
    if (b->loop) {
        loop_signal_stop(&b->sigint);
        loop_signal_stop(&b->sigterm);
        loop_close(b->loop);
    }
    if (b->dir[0])
        state_dir_remove(b->dir);
}

int cmd_bench(struct command_run *r)
{
    struct bench b = {
        .command = r,
        .trials = {
            [START] = {.key = "start", .what = "start", .chunks = 1, .chunks_max = 1},
            [NOOP] = {.key = "noop", .what = "no work", .chunks = 1000, .chunks_max = 10000000},
            [ROUND_TRIP] = {.key = "round_trip",
                            .what = "one at a time",
                            .prefetch = "0",
                            .chunks = 500,
                            .chunks_max = 10000000},
            [COMMAND] = {.key = "command",
                         .what = "a command each",
                         .command = true,
                         .chunks = 20,
                         .chunks_max = 1000000}}};
    struct err err = {0};
    int rc = configure(&b, &err);
    int code = rc ? command_fail(r, &err) : go(&b);
    close_bench(&b);
    return code;
}
