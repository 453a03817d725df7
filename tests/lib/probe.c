/* SPDX-License-Identifier: Apache-2.0 */
/* probe - a program that links the library, for lib_test.py: one call of the library, or a few, for
 * each subcommand; says on stdout what came of it. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ttg/ttg.h>
#include <unistd.h>

static ttg_queue *queue;
static ttg_worker *worker;

static int say(int rc, const char *message)
{
    printf("%s%s%s\n", rc ? ttg_error_name(rc) : "done", rc ? ": " : "", rc ? message : "");
    return rc ? 1 : 0;
}

static void sleep_ms(long ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&ts, NULL);
}

/* ---- functions that compute ---- */

static int square_sum(void *state, struct ttg_call *call)
{
    (void)state;
    ttg_sum(call, 0);
    for (int64_t i = call->start;; i++) {
        ttg_sum(call, i * i);
        if (i == call->end)
            return TTG_DONE;
    }
}

/* The first attempt at chunk 3 says that it runs, then never ends by itself. */
static int hang(void *state, struct ttg_call *call)
{
    if (call->chunk == 3 && call->attempt == 1) {
        close(open(state, O_CREAT | O_WRONLY, 0600));
        while (!ttg_stopped(call))
            sleep_ms(1);
        return TTG_RETRY;
    }
    sleep_ms(1);
    return square_sum(NULL, call);
}

static int slow(void *state, struct ttg_call *call)
{
    (void)state;
    close(open(state, O_CREAT | O_WRONLY, 0600));
    sleep_ms(200);
    return square_sum(NULL, call);
}

static int moody(void *state, struct ttg_call *call)
{
    (void)state;
    if (call->chunk == 7) {
        ttg_fail(call, "seven is bad");
        return TTG_PERMANENT;
    }
    if (call->chunk % 5 == 1 && call->attempt == 1) {
        ttg_fail(call, "not now");
        return TTG_RETRY;
    }
    return square_sum(NULL, call);
}

/* The lines in capitals, with bytes around them that are no text. */
static int upper(void *state, struct ttg_call *call)
{
    (void)state;
    char head[2] = {(char)0xff, 0};
    int rc = ttg_write(call, head, sizeof head);
    for (size_t i = 0; i < call->lines_bytes && !rc; i++) {
        char c = (char)toupper((unsigned char)call->lines[i]);
        rc = ttg_write(call, &c, 1);
    }
    return rc ? TTG_PERMANENT : TTG_DONE;
}

static void on_signal(int signo)
{
    (void)signo;
    ttg_worker_stop(worker);
}

static int run_worker(char **argv)
{
    static const struct {
        const char *name;
        int (*run)(void *state, struct ttg_call *call);
    } modes[] = {
        {"square", square_sum}, {"hang", hang}, {"slow", slow}, {"moody", moody}, {"upper", upper}};
    struct ttg_worker_options o = {.size = sizeof o, .name = argv[2], .state = argv[4]};
    struct ttg_totals totals = {.size = sizeof totals};
    if (argv[4] && argv[5])
        o.slots = (uint32_t)strtoul(argv[5], NULL, 10);
    if (argv[4] && argv[5] && argv[6])
        o.idle_ms = strtoull(argv[6], NULL, 10);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, argv[3]) == 0)
            o.run = modes[i].run;
    int rc = ttg_worker_open(&worker, queue, argv[1], &o);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    if (!rc)
        rc = ttg_worker_run(worker);
    ttg_worker_totals(worker, &totals);
    printf("committed %" PRIu64 " failed %" PRIu64 " stale %" PRIu64 " released %" PRIu64 "\n",
           totals.committed, totals.failed, totals.stale, totals.released);
    say(rc, ttg_worker_message(worker));
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    ttg_worker_close(worker);
    return rc ? 1 : 0;
}

/* ---- jobs ---- */

static int submit(char **argv)
{
    struct ttg_job_options o = {.size = sizeof o, .retry_min_ms = 1, .retry_max_ms = 1};
    o.params = strtoull(argv[2], NULL, 10);
    o.chunk_params = strtoull(argv[3], NULL, 10);
    o.max_attempts = 3;
    return say(ttg_job_submit(queue, argv[1], &o), ttg_queue_message(queue));
}

static int submit_lines(char **argv)
{
    struct ttg_job_options o = {.size = sizeof o, .input_file = argv[2]};
    o.chunk_params = strtoull(argv[3], NULL, 10);
    return say(ttg_job_submit(queue, argv[1], &o), ttg_queue_message(queue));
}

static void print_status(const struct ttg_status *s)
{
    printf("state %d chunks %" PRIu64 " completed %" PRIu64 " dead %" PRIu64 " params %" PRIu64
           " failures %" PRIu64 " sum %s\n",
           s->state, s->chunks, s->completed, s->dead, s->params_completed, s->failures,
           s->has_sum == 1 ? s->sum : "-");
}

static int status(char **argv)
{
    struct ttg_status s = {.size = sizeof s};
    int rc = ttg_job_status(queue, argv[1], &s);
    if (rc)
        return say(rc, ttg_queue_message(queue));
    print_status(&s);
    return 0;
}

static int wait_for_job(char **argv)
{
    struct ttg_status s = {.size = sizeof s};
    int rc = ttg_job_wait(queue, argv[1], strtoull(argv[2], NULL, 10), &s);
    if (!rc || rc == TTG_ETIMEOUT)
        print_status(&s);
    return say(rc, ttg_queue_message(queue));
}

static int control(char **argv)
{
    int rc = TTG_EINVAL;
    if (strcmp(argv[2], "pause") == 0)
        rc = ttg_job_pause(queue, argv[1]);
    else if (strcmp(argv[2], "resume") == 0)
        rc = ttg_job_resume(queue, argv[1]);
    else if (strcmp(argv[2], "cancel") == 0)
        rc = ttg_job_cancel(queue, argv[1]);
    else if (strcmp(argv[2], "forget") == 0)
        rc = ttg_job_forget(queue, argv[1]);
    else if (strcmp(argv[2], "redrive") == 0)
        rc = ttg_job_redrive(queue, argv[1], argv[3] ? strtoull(argv[3], NULL, 10) : TTG_ALL);
    return say(rc, ttg_queue_message(queue));
}

static int dead(char **argv)
{
    struct ttg_dead d = {.size = sizeof d};
    uint64_t after = TTG_ALL;
    int rc;
    for (; (rc = ttg_job_dead_next(queue, argv[1], after, &d)) == 0; after = d.chunk)
        printf("chunk %" PRIu64 " attempts %u worker %s reason %s\n", d.chunk, d.attempts, d.worker,
               d.reason);
    return say(rc == TTG_EDONE ? 0 : rc, ttg_queue_message(queue));
}

/* ---- results ---- */

static void print_result(const struct ttg_result *r, uint64_t cursor)
{
    printf("%" PRIu64 " chunk %" PRIu64 " %" PRId64 "..%" PRId64 " attempt %" PRIu64 " ", cursor,
           r->chunk, r->start, r->end, r->attempt);
    if (r->sum)
        printf("sum %s\n", r->sum);
    for (size_t i = 0; r->output && i < r->output_bytes; i++)
        printf("%02x", (unsigned char)r->output[i]);
    if (r->output)
        printf("\n");
}

/* Up to `count` of them behind a cursor, then what is forgotten, if so asked. */
static int results(char **argv)
{
    struct ttg_results_options o = {.size = sizeof o};
    const struct ttg_result *result;
    ttg_results *r = NULL;
    uint64_t count = strtoull(argv[3], NULL, 10);
    o.cursor = strtoull(argv[2], NULL, 10);
    o.wait_ms = argv[4] ? strtoull(argv[4], NULL, 10) : 0;
    int rc = ttg_results_open(&r, queue, argv[1], &o);
    for (; !rc && count > 0 && (rc = ttg_results_next(r, &result)) == 0; count--)
        print_result(result, ttg_results_cursor(r));
    if (!rc && argv[4] && argv[5])
        rc = ttg_results_forget(r);
    say(rc, ttg_results_message(r));
    ttg_results_close(r);
    return 0;
}

/* ---- two queues in one program ---- */

struct side {
    pthread_t thread;
    const char *url;
    uint64_t params, completed;
    int rc;
    int64_t sum;
    char total[48];
};

static void *side_worker(void *arg)
{
    struct side *s = arg;
    struct ttg_worker_options o = {.size = sizeof o, .run = square_sum, .slots = 2};
    ttg_queue *q = NULL;
    ttg_worker *w = NULL;
    s->rc = ttg_queue_open(&q, s->url, NULL);
    if (!s->rc)
        s->rc = ttg_worker_open(&w, q, "pair", &o);
    ttg_queue_close(q); /* handles are independent */
    if (!s->rc)
        s->rc = ttg_worker_run(w);
    ttg_worker_close(w);
    return NULL;
}

static int side_submit(struct side *s, ttg_queue **ret_queue)
{
    struct ttg_job_options o = {.size = sizeof o, .params = s->params, .chunk_params = 10};
    int rc = ttg_queue_open(ret_queue, s->url, NULL);
    if (!rc)
        rc = ttg_job_submit(*ret_queue, "pair", &o);
    return rc ? rc : pthread_create(&s->thread, NULL, side_worker, s);
}

static int side_results(struct side *s, ttg_queue *q)
{
    struct ttg_results_options o = {.size = sizeof o, .wait_ms = TTG_FOREVER};
    struct ttg_status status = {.size = sizeof status};
    const struct ttg_result *result;
    ttg_results *r = NULL;
    int rc = ttg_results_open(&r, q, "pair", &o);
    while (!rc && (rc = ttg_results_next(r, &result)) == 0) {
        s->sum += result->sum_i64;
        s->completed++;
    }
    ttg_results_close(r);
    if (rc == TTG_EDONE)
        rc = ttg_job_wait(q, "pair", TTG_FOREVER, &status);
    snprintf(s->total, sizeof s->total, "%s", status.sum);
    return rc;
}

static int two(char **argv)
{
    struct side sides[2] = {{.url = argv[0], .params = 5000}, {.url = argv[1], .params = 7000}};
    ttg_queue *queues[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++)
        if (side_submit(&sides[i], &queues[i]))
            return say(TTG_EINVAL, ttg_queue_message(queues[i]));
    for (int i = 0; i < 2; i++) {
        int rc = side_results(&sides[i], queues[i]);
        pthread_join(sides[i].thread, NULL);
        printf("%s worker %s results %" PRIu64 " sum %" PRId64 " %s\n",
               rc ? ttg_error_name(rc) : "done", sides[i].rc ? ttg_error_name(sides[i].rc) : "done",
               sides[i].completed, sides[i].sum, sides[i].total);
        ttg_queue_close(queues[i]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int words;
        int (*run)(char **argv);
    } commands[] = {
        {"worker", 6, run_worker}, {"submit", 6, submit},     {"lines", 6, submit_lines},
        {"status", 4, status},     {"wait", 5, wait_for_job}, {"control", 5, control},
        {"dead", 4, dead},         {"results", 6, results},   {"two", 4, two}};
    struct ttg_queue_options o = {.size = sizeof o, .retry_ms = 1000, .client_name = "probe"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (argc < commands[i].words || strcmp(argv[1], commands[i].name) != 0)
            continue;
        if (commands[i].run == two)
            return two(argv + 2);
        int rc = ttg_queue_open(&queue, argv[2], &o);
        int code = rc ? say(rc, ttg_queue_message(queue)) : commands[i].run(argv + 2);
        ttg_queue_close(queue);
        return code;
    }
    return 2;
}
