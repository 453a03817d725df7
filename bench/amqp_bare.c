/* SPDX-License-Identifier: Apache-2.0 */
/* amqp_bare - what a plain client of a RabbitMQ broker can do, to compare `ttg run` with.
 *
 *     amqp_bare --host H --port P [--chunks N] [--processes K] [--window W] [--quorum]
 *               [--user U --password P]
 *
 * Publishes N tasks with confirms; K processes take them (basic.consume), publish a result each,
 * wait for its confirm, then acknowledge the task; one process consumes the results and adds them
 * up. With --window 1 each confirm is waited for before the next message; with W as many are under
 * way. Nothing is recovered. Prints {"seconds":, "count":, "total":} from the first task to the
 * last result; the queues stay. The messages are those of ttg, durable and persistent. */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *host = "127.0.0.1", *user = "guest", *password = "guest";
static int port = 5672;
static unsigned long chunks = 20000, window = 1;
static unsigned processes = 3;
static int quorum;

static const char task[] = "{\"chunk_id\":\"%05lu\",\"start_param\":%lu,\"end_param\":%lu,"
                           "\"total_in_chunk\":1,\"created_at\":\"2026-02-09T10:00:00Z\"}";
static const char result[] =
    "{\"chunk_id\":\"%05lu\",\"start_param\":%lu,\"end_param\":%lu,\"worker_id\":\"worker-0\","
    "\"attempt\":1,\"status\":\"complete\",\"params_processed\":1,\"duration_seconds\":0.000001,"
    "\"completed_at\":\"2026-02-09T10:00:12Z\",\"result_summary\":{\"sum\":%lu,\"count\":1}}";

static void die(const char *what)
{
    fprintf(stderr, "amqp_bare: %s\n", what);
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void check(amqp_connection_state_t c)
{
    if (amqp_get_rpc_reply(c).reply_type != AMQP_RESPONSE_NORMAL)
        die("the broker refuses");
}

static amqp_connection_state_t open_connection(void)
{
    amqp_connection_state_t c = amqp_new_connection();
    if (amqp_socket_open(amqp_tcp_socket_new(c), host, port))
        die("cannot connect");
    if (amqp_login(c, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, user, password).reply_type !=
        AMQP_RESPONSE_NORMAL)
        die("cannot log in");
    amqp_channel_open(c, 1);
    check(c);
    amqp_confirm_select(c, 1);
    check(c);
    return c;
}

static void declare(amqp_connection_state_t c, const char *name)
{
    amqp_table_entry_t type = {
        .key = amqp_cstring_bytes("x-queue-type"),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("quorum")}};
    amqp_table_t arguments = {quorum, &type};
    amqp_queue_delete(c, 1, amqp_cstring_bytes(name), 0, 0);
    check(c);
    amqp_queue_declare(c, 1, amqp_cstring_bytes(name), 0, 1, 0, 0, arguments);
    check(c);
}

static void publish(amqp_connection_state_t c, const char *queue, const char *body)
{
    amqp_bytes_t bytes = {strlen(body), (void *)(uintptr_t)body};
    amqp_basic_properties_t p = {._flags =
                                     AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG,
                                 .content_type = amqp_cstring_bytes("application/json"),
                                 .delivery_mode = 2};
    if (amqp_basic_publish(c, 1, amqp_empty_bytes, amqp_cstring_bytes(queue), 1, 0, &p, bytes))
        die("cannot publish");
}

/* What came in over a connection so far. */
struct seen {
    unsigned long confirmed, messages;
    unsigned long number, sum; /* of the last message: its chunk, its "sum" */
    uint64_t tag;
};

static unsigned long number_after(amqp_bytes_t body, const char *name)
{
    const char *at = memmem(body.bytes, body.len, name, strlen(name));
    return at ? strtoul(at + strlen(name), NULL, 10) : 0;
}

/* One frame. Body frames end a message here: they are small. */
static void take_frame(amqp_connection_state_t c, struct seen *s)
{
    amqp_frame_t f;
    amqp_maybe_release_buffers(c);
    if (amqp_simple_wait_frame(c, &f))
        die("the connection is gone");
    if (f.frame_type == AMQP_FRAME_BODY) {
        s->messages++;
        s->number = number_after(f.payload.body_fragment, "\"chunk_id\":\"");
        s->sum = number_after(f.payload.body_fragment, "\"sum\":");
    }
    if (f.frame_type != AMQP_FRAME_METHOD)
        return;
    if (f.payload.method.id == AMQP_BASIC_DELIVER_METHOD)
        s->tag = ((amqp_basic_deliver_t *)f.payload.method.decoded)->delivery_tag;
    if (f.payload.method.id == AMQP_BASIC_ACK_METHOD) {
        amqp_basic_ack_t *a = f.payload.method.decoded;
        s->confirmed = a->multiple ? a->delivery_tag : s->confirmed + 1;
    }
}

static void feed(void)
{
    amqp_connection_state_t c = open_connection();
    struct seen s = {0};
    char body[512];
    for (unsigned long i = 0; i < chunks; i++) {
        snprintf(body, sizeof body, task, i, i, i);
        publish(c, "bare.tasks", body);
        while (i + 1 - s.confirmed >= window)
            take_frame(c, &s);
    }
    while (s.confirmed < chunks)
        take_frame(c, &s);
    exit(0);
}

static void consume(amqp_connection_state_t c, const char *queue, unsigned long prefetch)
{
    amqp_basic_qos(c, 1, 0, (uint16_t)prefetch, 0);
    check(c);
    amqp_basic_consume(c, 1, amqp_cstring_bytes(queue), amqp_empty_bytes, 0, 0, 0,
                       amqp_empty_table);
    check(c);
}

/* Until it is killed. */
static void work(void)
{
    amqp_connection_state_t c = open_connection();
    struct seen s = {0};
    unsigned long published = 0, acked = 0;
    char body[512];
    consume(c, "bare.tasks", window);
    for (;;) {
        take_frame(c, &s);
        if (published < s.messages) {
            published = s.messages;
            snprintf(body, sizeof body, result, s.number, s.number, s.number, s.number);
            publish(c, "bare.results", body);
        }
        if (s.confirmed > acked) {
            acked = s.confirmed;
            amqp_basic_ack(c, 1, acked, 1);
        }
    }
}

/* The sum of all results. */
static unsigned long collect(void)
{
    amqp_connection_state_t c = open_connection();
    struct seen s = {0};
    unsigned long acked = 0, counted = 0, total = 0;
    unsigned char *seen = calloc(chunks, 1);
    if (!seen)
        die("out of memory");
    consume(c, "bare.results", 0);
    while (s.messages < chunks) {
        take_frame(c, &s);
        if (s.messages > counted) {
            if (s.number >= chunks || seen[s.number]++)
                die("a result that nobody asked for, or twice");
            counted = s.messages;
            total += s.sum;
        }
        if (s.messages >= acked + 1000 || (s.messages == chunks && acked < chunks)) {
            acked = s.messages;
            amqp_basic_ack(c, 1, s.tag, 1);
        }
    }
    free(seen);
    return total;
}

int main(int argc, char **argv)
{
    pid_t pids[65];
    unsigned count = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--quorum") == 0) {
            quorum = 1;
            continue;
        }
        if (strcmp(argv[i], "--host") == 0)
            host = value;
        else if (strcmp(argv[i], "--port") == 0)
            port = (int)strtol(value, NULL, 10);
        else if (strcmp(argv[i], "--chunks") == 0)
            chunks = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--processes") == 0)
            processes = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--window") == 0)
            window = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--user") == 0)
            user = value;
        else if (strcmp(argv[i], "--password") == 0)
            password = value;
        else
            die("see the head of bench/amqp_bare.c");
        i++;
    }
    if (processes == 0 || processes > 64 || window == 0 || window > 65535 || chunks == 0)
        die("1 to 64 processes, 1 to 65535 messages under way");
    amqp_connection_state_t c = open_connection();
    declare(c, "bare.tasks");
    declare(c, "bare.results");
    double begun = now_s();
    for (unsigned i = 0; i <= processes; i++) {
        pids[count] = fork();
        if (pids[count] == 0) {
            if (i == processes)
                feed();
            work();
        }
        count++;
    }
    unsigned long total = collect();
    double seconds = now_s() - begun;
    for (unsigned i = 0; i < count; i++) {
        kill(pids[i], 9);
        waitpid(pids[i], NULL, 0);
    }
    printf("{\"seconds\": %.6f, \"count\": %lu, \"total\": %lu}\n", seconds, chunks, total);
    amqp_connection_close(c, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(c);
    return 0;
}
