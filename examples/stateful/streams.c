/* SPDX-License-Identifier: Apache-2.0 */
#include "streams.h"

#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { REPLY_BYTES = 1 << 20, COMMAND_BYTES = 1 << 16, RETRY_MS = 100 };

struct streams {
    char address[256], stream[64], group[64];
    int fd;
    int old;       /* messages of an earlier connection or life may wait to be taken again */
    char last[48]; /* among those: behind this one */
    char command[COMMAND_BYTES];
    size_t command_len;
    char reply[REPLY_BYTES + 1];
    size_t got, at;
};

/* ---- connection ---- */

static void pause_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static int dial_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path)
        return -1;
    memcpy(a.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int dial_tcp(const char *address)
{
    char host[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    const char *colon = strrchr(address, ':');
    if (!colon)
        return -1;
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    if (getaddrinfo(host, colon + 1, &hints, &found))
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static void hang_up(struct streams *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    s->old = 1;
    snprintf(s->last, sizeof s->last, "0");
}

/* ---- commands: an array of strings ---- */

static void command(struct streams *s, size_t words)
{
    s->command_len = (size_t)snprintf(s->command, COMMAND_BYTES, "*%zu\r\n", words);
}

static void word_of(struct streams *s, const char *bytes, size_t len)
{
    size_t room = COMMAND_BYTES - s->command_len;
    size_t head = (size_t)snprintf(s->command + s->command_len, room, "$%zu\r\n", len);
    if (head + len + 2 >= room) {
        fprintf(stderr, "a message is too long\n");
        exit(1);
    }
    memcpy(s->command + s->command_len + head, bytes, len);
    memcpy(s->command + s->command_len + head + len, "\r\n", 2);
    s->command_len += head + len + 2;
}

static void words(struct streams *s, ...)
{
    va_list args;
    va_start(args, s);
    for (const char *word; (word = va_arg(args, const char *));)
        word_of(s, word, strlen(word));
    va_end(args);
}

/* ---- replies ---- */

/* A line from the reply, without its end; NULL: cut off. */
static char *line(struct streams *s)
{
    for (;;) {
        char *end = memmem(s->reply + s->at, s->got - s->at, "\r\n", 2);
        if (end) {
            char *start = s->reply + s->at;
            *end = '\0';
            s->at = (size_t)(end - s->reply) + 2;
            return start;
        }
        if (s->got == REPLY_BYTES)
            return NULL;
        ssize_t n = read(s->fd, s->reply + s->got, REPLY_BYTES - s->got);
        if (n <= 0)
            return NULL;
        s->got += (size_t)n;
    }
}

/* A bulk string, with a NUL behind it; NULL: cut off, or it is none. */
static char *bulk(struct streams *s, size_t *ret_len)
{
    const char *head = line(s);
    if (!head || head[0] != '$')
        return NULL;
    size_t len = strtoul(head + 1, NULL, 10);
    while (s->got < s->at + len + 2) {
        ssize_t n = s->got < REPLY_BYTES ? read(s->fd, s->reply + s->got, REPLY_BYTES - s->got) : 0;
        if (n <= 0)
            return NULL;
        s->got += (size_t)n;
    }
    char *start = s->reply + s->at;
    start[len] = '\0';
    s->at += len + 2;
    *ret_len = len;
    return start;
}

/* Sends the command; the first line of its reply, or NULL: cut off. */
static char *ask(struct streams *s)
{
    s->got = s->at = 0;
    for (size_t sent = 0; sent < s->command_len;) {
        ssize_t n = send(s->fd, s->command + sent, s->command_len - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return NULL;
        sent += (size_t)n;
    }
    return line(s);
}

static int connect_once(struct streams *s)
{
    s->fd = strchr(s->address, '/') ? dial_unix(s->address) : dial_tcp(s->address);
    if (s->fd < 0 || !s->group[0])
        return s->fd >= 0;
    command(s, 6);
    words(s, "XGROUP", "CREATE", s->stream, s->group, "0", "MKSTREAM", NULL);
    const char *reply = ask(s); /* that the group exists is well */
    return reply && (reply[0] == '+' || strncmp(reply, "-BUSYGROUP", 10) == 0);
}

static void need_connection(struct streams *s)
{
    while (s->fd < 0 && !connect_once(s)) {
        hang_up(s);
        pause_ms(RETRY_MS);
    }
}

struct streams *streams_open(const char *address)
{
    struct streams *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    snprintf(s->address, sizeof s->address, "%s", address);
    s->fd = -1;
    hang_up(s);
    need_connection(s);
    return s;
}

void streams_close(struct streams *s)
{
    hang_up(s);
    free(s);
}

void streams_group(struct streams *s, const char *stream, const char *group)
{
    snprintf(s->stream, sizeof s->stream, "%s", stream);
    snprintf(s->group, sizeof s->group, "%s", group);
    hang_up(s);
    need_connection(s);
}

/* Anything but a connection that was cut is not for us to mend. */
static void refuse(const char *reply)
{
    fprintf(stderr, "the queue answers: %s\n", reply);
    exit(1);
}

void streams_send(struct streams *s, const char *stream, const struct streams_field *fields,
                  size_t count)
{
    for (;;) {
        need_connection(s);
        command(s, 3 + 2 * count);
        words(s, "XADD", stream, "*", NULL);
        for (size_t i = 0; i < count; i++) {
            words(s, fields[i].name, NULL);
            word_of(s, fields[i].value, fields[i].len);
        }
        char *reply = ask(s);
        if (reply && reply[0] == '$')
            return; /* its id: the server has it, and on a ttg node it is on disk */
        if (reply && strncmp(reply, "-FULL", 5) != 0 && strncmp(reply, "-OOM", 4) != 0)
            refuse(reply);
        if (!reply)
            hang_up(s);
        pause_ms(RETRY_MS);
    }
}

/* [[stream, [[id, [name, value, ...]], ...]]]; the first line is read. 0: cut off. */
static int read_messages(struct streams *s, struct streams_message *messages, size_t *ret_count)
{
    size_t len;
    const char *head;
    *ret_count = 0;
    if (!line(s) || !bulk(s, &len) || !(head = line(s)) || head[0] != '*')
        return 0;
    size_t count = strtoul(head + 1, NULL, 10);
    for (size_t i = 0; i < count; i++) {
        struct streams_message *m = &messages[i];
        const char *id;
        *m = (struct streams_message){.count = 0};
        if (!line(s) || !(id = bulk(s, &len)) || !(head = line(s)))
            return 0;
        snprintf(m->id, sizeof m->id, "%s", id);
        size_t parts = head[0] == '*' && head[1] != '-' ? strtoul(head + 1, NULL, 10) : 0;
        for (size_t k = 0; k < parts / 2; k++) {
            struct streams_field f;
            if (!(f.name = bulk(s, &len)) || !(f.value = bulk(s, &f.len)))
                return 0;
            if (m->count < STREAMS_FIELDS_MAX)
                m->fields[m->count++] = f;
        }
    }
    *ret_count = count;
    return 1;
}

size_t streams_take(struct streams *s, struct streams_message *messages, size_t max, int wait_ms)
{
    char count[24], block[24];
    snprintf(count, sizeof count, "%zu", max < STREAMS_BATCH ? max : STREAMS_BATCH);
    snprintf(block, sizeof block, "%d", wait_ms > 0 ? wait_ms : 1);
    for (;;) {
        size_t found = 0;
        need_connection(s);
        command(s, s->old ? 9 : 11);
        words(s, "XREADGROUP", "GROUP", s->group, s->group, "COUNT", count, NULL);
        if (!s->old)
            words(s, "BLOCK", block, NULL);
        words(s, "STREAMS", s->stream, s->old ? s->last : ">", NULL);
        char *reply = ask(s);
        if (reply && reply[0] == '-')
            refuse(reply);
        int none = reply && (reply[1] == '-' || reply[1] == '0');
        if (!reply || (!none && !read_messages(s, messages, &found))) {
            hang_up(s);
            pause_ms(RETRY_MS);
            continue;
        }
        if (found == 0 && s->old) {
            s->old = 0;
            continue;
        }
        if (found && s->old)
            snprintf(s->last, sizeof s->last, "%s", messages[found - 1].id);
        return found;
    }
}

void streams_ack(struct streams *s, const struct streams_message *messages, size_t count)
{
    if (count == 0)
        return;
    command(s, 3 + count);
    words(s, "XACK", s->stream, s->group, NULL);
    for (size_t i = 0; i < count; i++)
        words(s, messages[i].id, NULL);
    char *reply = s->fd >= 0 ? ask(s) : NULL;
    if (reply && reply[0] == '-')
        refuse(reply);
    if (!reply)
        hang_up(s); /* they come again, and are known */
}

const char *streams_value(const struct streams_message *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->fields[i].name, name) == 0)
            return m->fields[i].value;
    return "";
}
