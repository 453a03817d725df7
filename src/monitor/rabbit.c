/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/rabbit.h"

#include "base/mem.h"
#include "io/loop.h"
#include "queue/amqp.h"
#include "queue/management.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PERIOD_MS = 2000,
    AWAY_MS = 10000,
    JOBS_EVERY = 3, /* rounds, while the job in view is there */
    CLIENTS_MAX = 512,
    PATH_BYTES = 2048,
};

enum question { QUEUES, CONNECTIONS, CHANNELS, NODES, OVERVIEW, JOBS, QUESTIONS };

/* A connection, and what its channels have not acknowledged. */
struct client {
    char connection[MODEL_NAME_BYTES], worker[MODEL_NAME_BYTES], host[MODEL_NAME_BYTES];
    uint64_t unacked;
};

struct rabbit {
    struct management management;
    struct loop_timer timer;
    struct rabbit_config config;
    struct buf path, text;
    enum question question;
    bool stopped;
    struct err why; /* code 0: it answers */
    struct model_broker next;
    struct client clients[CLIENTS_MAX];
    size_t client_count;
    struct model_job jobs[MODEL_JOBS];
    size_t job_count;
    uint64_t rounds;
};

/* --- what is in an answer --- */

/* The member a.b.c of an object. */
static struct json at(struct json object, const char *path)
{
    struct str rest = str_of(path);
    while (rest.len > 0)
        object = management_member(object, str_cut(rest, '.', &rest));
    return object;
}

static uint64_t number(struct json object, const char *path)
{
    uint64_t n = 0;
    return json_u64(at(object, path), &n) ? 0 : n;
}

static double rate(struct json object, const char *path)
{
    double n = 0;
    return json_f64(at(object, path), &n) ? 0 : n;
}

static bool is_true(struct json object, const char *path)
{
    struct json v = at(object, path);
    return v.type == JSON_BOOL && str_eq(v.raw, STR("true"));
}

static void text(struct rabbit *b, struct json object, const char *path, char *out, size_t room)
{
    buf_clear(&b->text);
    json_add_text(at(object, path), &b->text);
    struct str s = buf_str(&b->text);
    snprintf(out, room, "%.*s", (int)(s.len < room ? s.len : room - 1), s.ptr);
}

/* The elements of a list, or of a page of one. */
static struct str items(struct json value)
{
    struct json page = at(value, "items");
    return page.type == JSON_ARRAY    ? json_inside(page)
           : value.type == JSON_ARRAY ? json_inside(value)
                                      : STR("");
}

static void take_queue(struct rabbit *b, struct json q)
{
    if (b->next.queue_count == MODEL_DEPTHS)
        return;
    struct model_depth *d = &b->next.queues[b->next.queue_count++];
    text(b, q, "name", d->name, sizeof d->name);
    d->ready = number(q, "messages_ready");
    d->unacked = number(q, "messages_unacknowledged");
    d->consumers = number(q, "consumers");
    d->in = rate(q, "message_stats.publish_details.rate");
    d->out = rate(q, "message_stats.deliver_get_details.rate");
}

static void take_connection(struct rabbit *b, struct json c)
{
    if (b->client_count == CLIENTS_MAX)
        return;
    struct client *to = &b->clients[b->client_count++];
    *to = (struct client){.unacked = 0};
    text(b, c, "name", to->connection, sizeof to->connection);
    text(b, c, "client_properties.connection_name", to->worker, sizeof to->worker);
    text(b, c, "client_properties.host", to->host, sizeof to->host);
    if (!to->host[0]) /* not one of ours, or an older one */
        text(b, c, "peer_host", to->host, sizeof to->host);
}

static void take_channel(struct rabbit *b, struct json c)
{
    char name[MODEL_NAME_BYTES];
    text(b, c, "connection_details.name", name, sizeof name);
    for (size_t i = 0; i < b->client_count; i++)
        if (strcmp(b->clients[i].connection, name) == 0)
            b->clients[i].unacked += number(c, "messages_unacknowledged");
}

static void add_alarm(struct rabbit *b, struct json node, const char *what)
{
    char name[MODEL_NAME_BYTES];
    size_t len = strlen(b->next.alarms), room = sizeof b->next.alarms - len;
    text(b, node, "name", name, sizeof name);
    snprintf(b->next.alarms + len, room, "%s%s on %s", len ? ", " : "", what, name);
}

static void take_node(struct rabbit *b, struct json n)
{
    b->next.nodes++;
    b->next.nodes_running += is_true(n, "running");
    if (is_true(n, "mem_alarm"))
        add_alarm(b, n, "memory is full");
    if (is_true(n, "disk_free_alarm"))
        add_alarm(b, n, "the disk is full");
}

/* A job is there when its marker is; who takes tasks are its workers. */
static void take_job(struct rabbit *b, struct json q)
{
    char name[MODEL_NAME_BYTES];
    struct str job;
    text(b, q, "name", name, sizeof name);
    bool marks = amqp_job_of(str_of(name), STR("job"), &job);
    if (!marks && !amqp_job_of(str_of(name), STR("tasks"), &job))
        return;
    size_t i = 0;
    while (i < b->job_count && !str_eq(job, str_of(b->jobs[i].name)))
        i++;
    if (i == MODEL_JOBS)
        return;
    struct model_job *j = &b->jobs[i];
    if (i == b->job_count) {
        *j = (struct model_job){.state = LEDGER_CANCELED};
        snprintf(j->name, sizeof j->name, "%.*s", STR_ARG(job));
        b->job_count++;
    }
    j->named |= marks;
    j->workers += marks ? 0 : number(q, "consumers");
}

/* What has tasks but no marker is nobody's job, or somebody else's. */
static void tell_jobs(struct rabbit *b)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->job_count; i++)
        if (b->jobs[i].named)
            b->jobs[kept++] = b->jobs[i];
    model_jobs_named(b->config.model, b->jobs, kept);
}

static void take(struct rabbit *b, struct json value)
{
    static void (*const takes[])(struct rabbit * b, struct json item) = {
        [QUEUES] = take_queue,     [CONNECTIONS] = take_connection,
        [CHANNELS] = take_channel, [NODES] = take_node,
        [JOBS] = take_job,
    };
    if (b->question == OVERVIEW) {
        text(b, value, "rabbitmq_version", b->next.version, sizeof b->next.version);
        return;
    }
    struct str rest = items(value);
    struct json item;
    while (json_item(&rest, &item))
        takes[b->question](b, item);
    if (b->question == JOBS)
        tell_jobs(b);
}

/* --- questions --- */

/* The queues of the job that people ask about, by a pattern; ours have no odd characters. */
static int add_pattern(struct buf *out, const char *job)
{
    struct amqp_names names;
    char pattern[2 * AMQP_NAME_BYTES + 64] = "^";
    amqp_names_of(&names, str_of(job));
    size_t len = 1;
    for (const char *c = names.tasks; *c && len < sizeof pattern - 64; c++) {
        if (*c == '.')
            pattern[len++] = '\\';
        pattern[len++] = *c;
    }
    len -= strlen("tasks");
    snprintf(pattern + len, sizeof pattern - len, "(tasks(\\.(retry.*|suspect|dlq))?|results)$");
    return management_add_word(out, str_of(pattern));
}

static int add_path(struct rabbit *b)
{
    struct str vhost = str_of(b->management.config->url->path);
    buf_clear(&b->path);
    switch (b->question) {
    case QUEUES:
        buf_add_str(&b->path, STR("/api/queues/"));
        management_add_word(&b->path, vhost);
        buf_add_str(&b->path,
                    STR("?page=1&page_size=50&columns=name,messages_ready,messages_unacknowledged,"
                        "consumers,message_stats.publish_details.rate,"
                        "message_stats.deliver_get_details.rate&use_regex=true&name="));
        return add_pattern(&b->path, b->config.model->job);
    case CONNECTIONS:
    case CHANNELS:
        buf_add_str(&b->path, STR("/api/vhosts/"));
        management_add_word(&b->path, vhost);
        return buf_add_str(&b->path,
                           b->question == CONNECTIONS
                               ? STR("/connections?page=1&page_size=500&columns=name,peer_host,"
                                     "client_properties.connection_name,client_properties.host")
                               : STR("/channels?page=1&page_size=500&columns=connection_details."
                                     "name,messages_unacknowledged"));
    case JOBS: /* ^ttg\.(.*\.)?(job|tasks)$ */
        buf_add_str(&b->path, STR("/api/queues/"));
        management_add_word(&b->path, vhost);
        return buf_add_str(&b->path,
                           STR("?page=1&page_size=500&columns=name,consumers&use_regex=true&name="
                               "%5Ettg%5C.%28.%2A%5C.%29%3F%28job%7Ctasks%29%24"));
    case NODES:
        return buf_add_str(&b->path,
                           STR("/api/nodes?columns=name,running,mem_alarm,disk_free_alarm"));
    default:
        return buf_add_str(&b->path, STR("/api/overview?columns=rabbitmq_version"));
    }
}

static void again(struct rabbit *b, uint64_t ms)
{
    if (!b->stopped)
        loop_timer_after_ms(&b->timer, ms);
}

/* Where chunks wait comes first, then where they go. */
static int queue_cmp(const void *a, const void *b)
{
    const struct model_depth *x = a, *y = b;
    int results = (strstr(x->name, ".results") != NULL) - (strstr(y->name, ".results") != NULL);
    return results ? results : strcmp(x->name, y->name);
}

static void settle(struct rabbit *b)
{
    b->next.source = MODEL_MANAGEMENT;
    qsort(b->next.queues, b->next.queue_count, sizeof b->next.queues[0], queue_cmp);
    model_broker(b->config.model, &b->next);
    for (size_t i = 0; i < b->client_count; i++)
        model_place(b->config.model, str_of(b->clients[i].worker), str_of(b->clients[i].host),
                    b->clients[i].unacked);
    b->question = QUEUES;
    b->rounds++;
    again(b, PERIOD_MS);
    b->config.on_news(b->config.ctx);
}

/* The queues have to be told; who may not see nodes or connections of others gets the rest. */
static void on_answer(void *ctx, int rc, struct json value, const struct err *err)
{
    struct rabbit *b = ctx;
    if (rc && (b->question == QUEUES || rc != TTG_EAUTH)) {
        b->why = *err;
        b->question = QUEUES;
        again(b, AWAY_MS);
        return;
    }
    if (!rc)
        take(b, value);
    b->why.code = 0;
    if (++b->question == JOBS && b->config.model->known && b->rounds % JOBS_EVERY)
        b->question++;
    if (b->question == QUESTIONS)
        settle(b);
    else
        again(b, 0);
}

static void on_timer(struct loop_timer *t)
{
    struct rabbit *b = container_of(t, struct rabbit, timer);
    if (b->question == QUEUES) {
        b->next = (struct model_broker){.source = MODEL_NO_BROKER};
        b->client_count = b->job_count = 0;
    }
    struct err err;
    int rc = add_path(b) ? err_set(&err, TTG_ENOMEM, "out of memory")
                         : management_start(&b->management, buf_cstr(&b->path), &err);
    if (rc)
        on_answer(b, rc, (struct json){.type = JSON_NULL}, &err);
}

/* --- life --- */

int rabbit_open(struct rabbit **ret_rabbit, const struct rabbit_config *config, struct err *err)
{
    struct rabbit *b = mem_zalloc(sizeof *b);
    if (!b)
        return err_set(err, TTG_ENOMEM, "out of memory");
    buf_init(&b->path, PATH_BYTES);
    buf_init(&b->text, MODEL_TEXT_BYTES * 16);
    loop_timer_init(&b->timer, config->loop, on_timer);
    b->config = *config;
    int rc = management_open(&b->management, config->loop, config->queue, config->given, err);
    if (rc) {
        rabbit_close(b);
        return rc;
    }
    b->management.ctx = b;
    b->management.on_answer = on_answer;
    loop_timer_after_ms(&b->timer, 0);
    *ret_rabbit = b;
    return 0;
}

void rabbit_close(struct rabbit *b)
{
    if (!b)
        return;
    loop_timer_stop(&b->timer);
    management_close(&b->management);
    buf_done(&b->path);
    buf_done(&b->text);
    mem_free(b);
}

void rabbit_stop(struct rabbit *b)
{
    b->stopped = true;
    loop_timer_stop(&b->timer);
}

const char *rabbit_why(const struct rabbit *b)
{
    return b->why.code ? b->why.text : NULL;
}
