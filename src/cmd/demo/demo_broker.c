/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis or RabbitMQ server of the demo's own: on free ports of 127.0.0.1, all its files in the
 * demo's directory, ended with it. The machine's own servers are not touched. */
#include "base/mem.h"
#include "cmd/demo/demo.h"
#include "cmd/leftover.h"
#include "io/file_read.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    LOOK_MS = 20,
    ANSWER_US = 200000,
    START_MS_MAX = 60000,
    WEB_MS_MAX = 10000,
    GONE_TRIES = 200,
    LOG_BYTES_MAX = 1 << 22,
    ENV_MAX = 512,
    ENV_BYTES = DEMO_PATH_BYTES + 256,
};

static const char rabbitmq_server[] = "/usr/lib/rabbitmq/bin/rabbitmq-server";

struct environment {
    char *list[ENV_MAX];
    char room[12][ENV_BYTES];
    size_t count, made;
};

int broker_installed(enum demo_backend backend, struct err *err)
{
    char *file = NULL;
    int rc = 0;
    if (backend == DEMO_REDIS && process_find("redis-server", &file, NULL))
        rc = err_set(err, TTG_ENOENT,
                     "redis-server is not installed; try: apt-get install redis-server");
    else if (backend == DEMO_RABBITMQ &&
             (access(rabbitmq_server, X_OK) != 0 || process_find("epmd", &file, NULL)))
        rc = err_set(err, TTG_ENOENT,
                     "RabbitMQ is not installed; try: apt-get install rabbitmq-server");
    mem_free(file);
    return rc;
}

/* --- ports --- */

int broker_ports(uint16_t *ret_ports, size_t count, struct err *err)
{
    int fds[4], rc = 0;
    size_t n = 0;
    for (; n < count && !rc; n++) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        socklen_t len = sizeof in;
        fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fds[n] < 0 || bind(fds[n], (struct sockaddr *)&in, len) != 0 ||
            getsockname(fds[n], (struct sockaddr *)&in, &len) != 0)
            rc = err_set_errno(err, errno, "no free port on 127.0.0.1");
        ret_ports[n] = ntohs(in.sin_port);
    }
    while (n > 0)
        if (fds[--n] >= 0)
            close(fds[n]);
    return rc;
}

/* Not only accepts: before a container's port podman may do that itself. Redis and a node say PONG;
 * to RabbitMQ it is a header of the wrong kind, and it names the right one. */
static bool serves(uint16_t port)
{
    static const char ping[8] = "PING\r\n\r\n";
    struct timeval limit = {.tv_usec = ANSWER_US};
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char answer;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
               connect(fd, (struct sockaddr *)&in, sizeof in) == 0 &&
               send(fd, ping, sizeof ping, MSG_NOSIGNAL) == sizeof ping &&
               recv(fd, &answer, 1, 0) == 1;
    if (fd >= 0)
        close(fd);
    return yes;
}

/* --- processes --- */

static void last_line(const struct broker *b, char *out, size_t bytes)
{
    struct buf text;
    buf_init(&text, LOG_BYTES_MAX);
    file_read(b->log, &text, NULL);
    struct str last = STR(""), rest = str_trim(buf_str(&text));
    while (rest.ptr)
        last = str_cut(rest, '\n', &rest);
    snprintf(out, bytes, "%.*s", STR_ARG(last));
    buf_done(&text);
}

static void on_exit_of(struct process *p, struct process_exit e)
{
    struct broker *b = container_of(p, struct broker, processes[BROKER_SERVER]);
    char line[256];
    last_line(b, line, sizeof line);
    err_set(&b->failed, TTG_ECHILD, "the %s server ended (%s %d): %s",
            demo_backend_names[b->backend], e.signal ? "signal" : "exit code",
            e.signal ? e.signal : e.status, line);
    for (int i = 0; i < 2 && b->demo->act && b->demo->act->run; i++) /* at once */
        run_stop(b->demo->act->run);
}

static void on_helper_exit(struct process *p, struct process_exit e)
{
    (void)p;
    (void)e;
}

int broker_process(struct broker *b, int i, const char *program, char *const *argv,
                   char *const *envp, struct err *err)
{
    static const char *const names[] = {
        [BROKER_SERVER] = NULL, [BROKER_EPMD] = "epmd", [BROKER_WEB] = "monitor"};
    struct demo *d = b->demo;
    const char *log_path = i == BROKER_WEB ? b->web_log : b->log;
    const char *name = names[i] ? names[i] : demo_backend_names[b->backend];
    char *file = NULL;
    int rc = process_find(program, &file, err);
    if (rc)
        return rc;
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int fd = log < 0 ? -1 : fcntl(log, F_DUPFD_CLOEXEC, 3);
    struct process_spec spec = {
        .file = file,
        .argv = argv,
        .envp = envp,
        .dir = b->dir,
        .fds = {-1, fd, fd},
        .group = d->keep ? &b->own_slots[i] : guard_slot(d->guard, (uint32_t)i),
        /* Asked to leave it running, we may not take it along when we go. */
        .death_signal = d->keep ? SIGURG : SIGKILL,
    };
    rc = process_start(&b->processes[i], d->loop, &spec,
                       i == BROKER_SERVER ? on_exit_of : on_helper_exit, err);
    if (!rc)
        rc = leftover_note(d->dir, b->processes[i].pid, name, err);
    if (log >= 0)
        close(log);
    if (fd >= 0)
        close(fd);
    mem_free(file);
    return rc;
}

/* --- Redis --- */

static int start_redis(struct broker *b, struct err *err)
{
    char port[8];
    int rc = broker_ports(&b->port, 1, err);
    if (rc)
        return rc;
    snprintf(port, sizeof port, "%u", b->port);
    snprintf(b->url, sizeof b->url, "redis://127.0.0.1:%u", b->port);
    const char *const words[] = {"redis-server",
                                 "--port",
                                 port,
                                 "--bind",
                                 "127.0.0.1",
                                 "--dir",
                                 b->dir,
                                 "--appendonly",
                                 "yes",
                                 "--appendfsync",
                                 "always",
                                 "--save",
                                 "",
                                 NULL};
    return broker_process(b, BROKER_SERVER, "redis-server", (char *const *)(uintptr_t)words,
                          environ, err);
}

/* --- RabbitMQ --- */

static void variable(struct environment *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void variable(struct environment *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(e->room[e->made], ENV_BYTES, format, args);
    va_end(args);
    e->list[e->count++] = e->room[e->made++];
}

/* Ours without what would steer the machine's own server. */
static void inherit(struct environment *e)
{
    for (char **v = environ; *v && e->count < ENV_MAX - 16; v++)
        if (strncmp(*v, "RABBITMQ_", 9) != 0 && strncmp(*v, "ERL_", 4) != 0 &&
            strncmp(*v, "HOME=", 5) != 0)
            e->list[e->count++] = *v;
}

int demo_write(const char *path, struct str text, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len;
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    return written ? 0 : err_set_errno(err, errnum, "cannot write %s", path);
}

static int write_config(const struct broker *b, struct err *err)
{
    char path[DEMO_PATH_BYTES + 32], text[256];
    snprintf(path, sizeof path, "%s/rabbitmq.conf", b->dir);
    snprintf(text, sizeof text, "listeners.tcp.1 = 127.0.0.1:%u\ndisk_free_limit.absolute = 1MB\n",
             b->port);
    int rc = demo_write(path, str_of(text), err);
    snprintf(path, sizeof path, "%s/plugins", b->dir);
    return rc ? rc : demo_write(path, STR("[].\n"), err);
}

static int start_rabbitmq(struct broker *b, struct err *err)
{
    uint16_t ports[3] = {0}; /* AMQP, distribution, epmd */
    char epmd_port[8];
    int rc = broker_ports(ports, 3, err);
    b->port = ports[0];
    if (!rc)
        rc = write_config(b, err);
    struct environment *e = rc ? NULL : mem_zalloc(sizeof *e);
    if (rc || !e)
        return rc ? rc : err_set(err, TTG_ENOMEM, "out of memory");
    snprintf(b->url, sizeof b->url, "amqp://guest:guest@127.0.0.1:%u/", b->port);
    snprintf(epmd_port, sizeof epmd_port, "%u", ports[2]);
    inherit(e);
    variable(e, "HOME=%s", b->dir);
    variable(e, "RABBITMQ_NODENAME=ttg%u@localhost", b->port);
    variable(e, "RABBITMQ_NODE_PORT=%u", b->port);
    variable(e, "RABBITMQ_DIST_PORT=%u", ports[1]);
    variable(e, "RABBITMQ_MNESIA_BASE=%s/data", b->dir);
    variable(e, "RABBITMQ_LOG_BASE=%s/log", b->dir);
    variable(e, "RABBITMQ_CONFIG_FILE=%s/rabbitmq.conf", b->dir);
    variable(e, "RABBITMQ_ENABLED_PLUGINS_FILE=%s/plugins", b->dir);
    variable(e, "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 1:1 -kernel inet_dist_use_interface "
                "{127,0,0,1}");
    variable(e, "ERL_EPMD_PORT=%s", epmd_port);
    variable(e, "ERL_EPMD_ADDRESS=127.0.0.1");
    const char *const epmd[] = {"epmd", "-address", "127.0.0.1", "-port", epmd_port, NULL};
    const char *const server[] = {rabbitmq_server, NULL};
    rc = broker_process(b, BROKER_EPMD, "epmd", (char *const *)(uintptr_t)epmd, e->list, err);
    if (!rc)
        rc = broker_process(b, BROKER_SERVER, rabbitmq_server, (char *const *)(uintptr_t)server,
                            e->list, err);
    mem_free(e);
    return rc;
}

/* --- a node --- */

static int start_node(struct broker *b, struct err *err)
{
    struct command_words words = {0};
    int rc = run_dir_open(&b->node, b->dir, "", false, err);
    if (rc)
        return rc;
    b->node.own = true;
    snprintf(b->url, sizeof b->url, "ttg+unix:%s", b->node.socket);
    command_word(&words, "ttg");
    command_word(&words, "node");
    command_word(&words, "--data");
    command_word(&words, b->node.data);
    command_word(&words, "--unix");
    command_word(&words, b->node.socket);
    return broker_process(b, BROKER_SERVER, "/proc/self/exe", words.list, environ, err);
}

/* --- the dashboard --- */

static bool read_web_url(struct broker *b)
{
    struct buf text;
    buf_init(&text, LOG_BYTES_MAX);
    file_read(b->web_log, &text, NULL);
    const char *all = buf_cstr(&text), *url = all ? strstr(all, "http://") : NULL;
    bool whole = url && strchr(url, '\n');
    if (whole)
        snprintf(b->web_url, sizeof b->web_url, "%.*s", (int)strcspn(url, "\n"), url);
    buf_done(&text);
    return whole;
}

int broker_web(struct broker *b, struct err *err)
{
    const char *const words[] = {"ttg", "monitor", "--web", ":0", "--queue", b->url, NULL};
    struct demo *d = b->demo;
    int rc = broker_process(b, BROKER_WEB, "/proc/self/exe", (char *const *)(uintptr_t)words,
                            environ, err);
    uint64_t until_ms = loop_now_update(d->loop) / 1000000 + WEB_MS_MAX;
    while (!rc && !d->signal && !read_web_url(b)) {
        if (!process_runs(&b->processes[BROKER_WEB]) || loop_now_ms(d->loop) > until_ms)
            return err_set(err, TTG_ECHILD, "the dashboard does not start; see %s", b->web_log);
        loop_turn(d->loop, LOOK_MS);
    }
    return rc;
}

/* --- all of them --- */

/* A node that is a process has a directory of an embedded job. */
static bool has_node_dir(const struct broker *b)
{
    return b->backend == DEMO_EMBEDDED && !demo_is_outside(b->demo);
}

static void on_look(struct loop_timer *t)
{
    struct broker *b = container_of(t, struct broker, look);
    b->up = has_node_dir(b) ? run_dir_node_lives(&b->node) : serves(b->port);
    if (!b->up)
        loop_timer_after_ms(&b->look, LOOK_MS);
}

static int wait_until_up(struct broker *b, struct err *err)
{
    struct demo *d = b->demo;
    uint64_t from = loop_now_update(d->loop);
    loop_timer_after_ms(&b->look, 0);
    while (!b->up && !b->failed.code && !d->signal) {
        if (loop_now_ns(d->loop) - from > START_MS_MAX * (uint64_t)1000000)
            err_set(&b->failed, TTG_ETIMEOUT, "the %s server does not serve after %d s",
                    demo_backend_names[b->backend], START_MS_MAX / 1000);
        else if (loop_turn(d->loop, LOOK_MS))
            err_set(&b->failed, TTG_EIO, "cannot wait");
    }
    b->seconds = (double)(loop_now_ns(d->loop) - from) / 1e9;
    if (b->up)
        return 0;
    return b->failed.code ? err_set(err, b->failed.code, "%s", b->failed.text)
                          : err_set(err, TTG_ECANCELED, "stopped");
}

/* What the server's script has started: whoever kills the script alone leaves that behind. */
static int note_children(const struct broker *b, struct err *err)
{
    pid_t children[16];
    size_t n = pid_children(b->processes[BROKER_SERVER].pid, children, 16);
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++)
        rc = leftover_note(b->demo->dir, children[i], demo_backend_names[b->backend], err);
    return rc;
}

int broker_start(struct broker *b, struct demo *d, enum demo_backend backend, struct err *err)
{
    *b = (struct broker){.demo = d, .backend = backend};
    loop_timer_init(&b->look, d->loop, on_look);
    snprintf(b->dir, sizeof b->dir, "%.4000s/%s", d->dir, demo_backend_names[backend]);
    snprintf(b->log, sizeof b->log, "%s/server.log", b->dir);
    snprintf(b->web_log, sizeof b->web_log, "%s/monitor.log", b->dir);
    b->node.lock_fd = -1;
    int rc = demo_is_outside(d) ? 0 : broker_installed(backend, err);
    if (!rc)
        rc = state_dir_make(b->dir, err);
    if (!rc)
        rc = d->podman                  ? demo_podman_serve(b, err)
             : d->k8s                   ? demo_k8s_serve(b, err)
             : backend == DEMO_REDIS    ? start_redis(b, err)
             : backend == DEMO_RABBITMQ ? start_rabbitmq(b, err)
                                        : start_node(b, err);
    if (!rc)
        rc = wait_until_up(b, err);
    if (!rc)
        rc = d->podman ? demo_podman_address(b, err)
             : d->k8s  ? demo_k8s_address(b, err)
                       : note_children(b, err);
    if (rc)
        broker_stop(b, false);
    return rc;
}

/* What was killed takes a moment to go, and may still write into its directory. */
static void wait_until_gone(struct broker *b)
{
    struct demo *d = b->demo;
    struct leftover left[LEFTOVER_MAX];
    for (int tries = 0; tries < GONE_TRIES; tries++) {
        size_t n = leftover_read(d->dir, left), others = 0;
        for (size_t i = 0; i < n; i++)
            others += strcmp(left[i].name, "demo") != 0;
        if (others == 0)
            return;
        loop_turn(d->loop, LOOK_MS);
    }
}

void broker_stop(struct broker *b, bool leave)
{
    if (!b->demo)
        return;
    struct err err;
    loop_timer_stop(&b->look);
    if (!b->up && !demo_is_outside(b->demo) && process_runs(&b->processes[BROKER_SERVER]))
        note_children(b, &err);
    for (int i = 0; i < BROKER_PROCESSES; i++) {
        if (leave)
            process_leave(&b->processes[i]);
        else
            process_kill(&b->processes[i]);
    }
    if (!leave && b->demo->podman)
        demo_podman_end_server(b);
    if (!leave)
        wait_until_gone(b);
    if (has_node_dir(b))
        run_dir_close(&b->node, !leave);
}
