/* SPDX-License-Identifier: Apache-2.0 */
/* ttg node: options, the password file, the log file, and what systemd expects. */
#include "base/buf.h"
#include "base/log.h"
#include "cmd/monitor_web.h"
#include "cmd/options.h"
#include "cmd/secret_file.h"
#include "io/realclock.h"
#include "job/crew.h"
#include "node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Standard error becomes the file: whatever writes there follows. */
static int log_reopen(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return -errno;
    int rc = dup2(fd, STDERR_FILENO) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

static void on_hangup(void *ctx)
{
    const char *path = ctx;
    if (path)
        log_reopen(path);
}

/* A datagram for systemd. */
static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    if (!path || (path[0] != '/' && path[0] != '@'))
        return;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && len < sizeof(un.sun_path)) {
        memcpy(un.sun_path, path, len);
        if (path[0] == '@')
            un.sun_path[0] = 0;
        sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&un,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    }
    if (fd >= 0)
        close(fd);
}

static void on_stopping(void)
{
    notify("STOPPING=1");
}

/* Also a line for a script that started us. */
static void say_ready(const struct node *n)
{
    for (size_t i = 0; node_address(n, i); i++)
        printf("listening on %s\n", node_address(n, i));
    printf("ready\n");
    fflush(stdout);
    notify("READY=1");
}

static void report_print(const struct store_report *report)
{
    printf("records %llu, positions %llu to %llu, snapshot at %llu, %llu segments, %llu bytes\n",
           (unsigned long long)report->records, (unsigned long long)report->first,
           (unsigned long long)report->last, (unsigned long long)report->snapshot_position,
           (unsigned long long)report->segments, (unsigned long long)report->log_bytes);
    if (report->torn_bytes > 0)
        printf("torn tail: %llu bytes in %s from offset %llu; the next start cuts it\n",
               (unsigned long long)report->torn_bytes, report->torn_file,
               (unsigned long long)report->torn_offset);
    if (report->damaged)
        printf("damaged: %s at offset %llu; at least %llu records (%llu bytes) behind it\n",
               report->damage_file, (unsigned long long)report->damage_offset,
               (unsigned long long)report->lost_records_min,
               (unsigned long long)report->lost_bytes);
}

static int check_or_repair(const char *dir, bool repair, struct err *e)
{
    struct store_options o = {0};
    struct store_report report = {0};
    char stamp[CLOCK_TEXT_BYTES], plain[CLOCK_TEXT_BYTES];
    size_t len = 0;
    struct clock *clock = realclock();
    int rc = disk_open(dir, 0, &o.disk, e);
    if (rc)
        return rc;
    clock_text(stamp, clock->wall_ms(clock));
    for (const char *at = stamp; *at; at++)
        if (*at != '-' && *at != ':')
            plain[len++] = *at;
    plain[len] = 0;
    rc = repair ? store_repair(&o, plain, &report, e) : store_check(&o, &report, e);
    report_print(&report);
    if (!rc)
        printf(repair && report.damaged ? "repaired\n" : "good\n");
    disk_free(o.disk);
    return rc;
}

static int list_take(const struct options *o, enum option_id id, const char *out[NODE_LISTEN_MAX],
                     struct err *e)
{
    const struct option_slot *slot = &o->slots[id];
    if (slot->item_count > NODE_LISTEN_MAX)
        return err_set(e, TTG_EUSAGE, "--%s can be given %d times at most", option_rows[id].flag,
                       NODE_LISTEN_MAX);
    for (size_t i = 0; i < slot->item_count; i++)
        out[i] = slot->items[i];
    return 0;
}

/* Sockets handed over by systemd start at descriptor 3. */
static int sockets_given(void)
{
    uint64_t pid, count;
    const char *for_pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    if (!for_pid || !fds || str_to_u64(str_of(for_pid), &pid) || str_to_u64(str_of(fds), &count) ||
        pid != (uint64_t)getpid() || count > NODE_LISTEN_MAX)
        return 0;
    for (int fd = 3; fd < 3 + (int)count; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    return (int)count;
}

static int serve(struct command_run *r, struct err *e)
{
    const struct options *o = r->options;
    char password[SECRET_BYTES_MAX + 1];
    const char *password_file = option_text(o, OPT_PASSWORD_FILE);
    const char *log_file = option_text(o, OPT_LOG_FILE);
    struct node_options node = {
        .data_dir = option_text(o, OPT_DATA),
        .unix_path = option_text(o, OPT_UNIX),
        .http = option_text(o, OPT_HTTP),
        .insecure = option_bool(o, OPT_INSECURE),
        .tls_cert = option_text(o, OPT_TLS_CERT),
        .tls_key = option_text(o, OPT_TLS_KEY),
        .tls_ca = option_text(o, OPT_TLS_CA),
        .tls_verify = option_bool(o, OPT_TLS_CLIENTS),
        .sync = option_text(o, OPT_SYNC),
        .until_eof = option_bool(o, OPT_UNTIL_EOF),
        .clients_max = option_u64(o, OPT_MAX_CLIENTS),
        .snapshot_log_bytes = option_u64(o, OPT_SNAPSHOT_LOG),
        .clock = realclock(),
        .on_hangup = on_hangup,
        .on_hangup_ctx = (void *)(uintptr_t)log_file,
        .on_stopping = on_stopping,
    };
    node.listen_fd = 3;
    node.listen_fds = sockets_given();
    int rc = list_take(o, OPT_LISTEN, node.listen, e);
    if (!rc)
        rc = list_take(o, OPT_TLS_LISTEN, node.tls_listen, e);
    if (rc)
        return rc;
    if (!node.listen[0] && !node.tls_listen[0] && !node.unix_path && !node.listen_fds)
        return err_set(e, TTG_EUSAGE,
                       "nothing to listen on: give --unix PATH, --listen ADDR or "
                       "--tls-listen ADDR");
    rc = password_file ? secret_read("password file", password_file, password, e) : 0;
    if (rc)
        return rc;
    if (password_file)
        node.password = password;
    rc = log_file ? log_reopen(log_file) : 0;
    if (rc)
        return err_set_errno(e, -rc, "log file %s", log_file);
    struct node *n;
    struct node_web web = {0};
    node.on_http = node_web_request;
    node.on_http_ctx = &web;
    rc = node_open(&node, &n, e);
    if (rc)
        return rc;
    rc = node_web_open(&web, o, &node, n, e);
    if (!rc) {
        say_ready(n);
        rc = node_run(n, e);
    }
    node_web_close(&web);
    node_close(n);
    if (!rc)
        log_info("node.stopped");
    return rc;
}

int cmd_node(struct command_run *r)
{
    const struct options *o = r->options;
    const char *dir = option_text(o, OPT_DATA);
    struct err e = {0};
    int rc;
    if (option_bool(o, OPT_COMMANDS)) {
        struct buf out;
        buf_init(&out, 1 << 20);
        rc = node_commands_markdown(&out);
        int printed = rc ? EXIT_LOST : command_print(r, buf_str(&out));
        buf_done(&out);
        return printed;
    }
    if (!dir)
        rc = err_set(&e, TTG_EUSAGE, "give the directory of the data: --data DIR");
    else if (option_bool(o, OPT_CHECK) || option_bool(o, OPT_REPAIR))
        rc = check_or_repair(dir, option_bool(o, OPT_REPAIR), &e);
    else
        rc = serve(r, &e);
    if (!rc)
        return EXIT_DONE;
    int code = command_fail(r, &e);
    if (e.code == TTG_ENOSPC && option_bool(o, OPT_UNTIL_EOF))
        return CREW_NODE_NO_ROOM; /* for who started us */
    return code == EXIT_USAGE ? EXIT_USAGE : EXIT_LOST;
}
