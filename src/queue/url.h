/* SPDX-License-Identifier: Apache-2.0 */
/* url - a queue's address, taken apart and checked.
 *
 *     embedded:DIR                                ttg+unix:PATH
 *     ttg://[:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]           ttgs://...
 *     redis://[USER:PASSWORD@]HOST[:PORT][/DB]                 rediss://...
 *     redis+sentinel://[USER:PASSWORD@]HOST[:PORT],.../MASTER[/DB]  rediss+sentinel://...
 *     redis+cluster://[USER:PASSWORD@]HOST[:PORT],...               rediss+cluster://...
 *     amqp://[USER:PASSWORD@]HOST[:PORT],.../VHOST             amqps://...
 *
 * USER, PASSWORD, VHOST and MASTER may hold %XX. IPv6 addresses stand in brackets. The sentinels
 * are told the same user and password as the servers, unless
 * ?sentinel_user=...&sentinel_password=... stands at the end. */
#ifndef TTG_QUEUE_URL_H
#define TTG_QUEUE_URL_H

#include "base/err.h"
#include "base/str.h"

enum url_scheme {
    URL_EMBEDDED,
    URL_TTG_UNIX,
    URL_TTG,
    URL_REDIS,
    URL_REDIS_SENTINEL,
    URL_REDIS_CLUSTER,
    URL_AMQP,
};

enum { URL_HOSTS_MAX = 16, URL_TEXT_BYTES_MAX = 1024 };

struct url {
    enum url_scheme scheme;
    bool tls;
    const char *user, *password; /* NULL: none given */
    const char *path;            /* embedded: directory; ttg+unix: socket; sentinel: master name;
                                    amqp: virtual host; otherwise "" */
    const char *sentinel_user, *sentinel_password; /* NULL: as for the servers */
    unsigned db;                                   /* redis and sentinel */
    size_t host_count;
    struct {
        const char *name;
        uint16_t port;
    } hosts[URL_HOSTS_MAX];
    char bytes[2 * URL_TEXT_BYTES_MAX]; /* what the pointers point into: do not copy the struct */
};

/* TTG_EUSAGE with a message that names the part that is wrong; never shows the password. */
int url_parse(struct url *u, struct str text, struct err *err);

/* The address for logs and messages: without the password. `out` has URL_TEXT_BYTES_MAX bytes. */
void url_show(const struct url *u, char *out);

#endif
