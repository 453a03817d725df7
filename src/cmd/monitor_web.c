/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/monitor_web.h"

#include "base/log.h"
#include "cmd/ask.h"
#include "io/loop.h"
#include "io/random.h"

#include <signal.h>
#include <stdio.h>

enum { TOKEN_DIGITS = 32 };
const uint64_t web_patience_ms = UINT64_C(365) * 24 * 3600 * 1000;

struct serving {
    struct ask ask;
    struct web *web;
    struct http_server *http;
    struct loop_signal signals[2];
    struct web_access access;
    int signo;
};

static bool token_given(const struct options *o)
{
    return option_text(o, OPT_TOKEN_FILE) || option_str(o, OPT_TOKEN).len > 0;
}

/* From the file, else from the variable; "" when neither is given. */
static int token_read(const struct options *o, char token[SECRET_BYTES_MAX + 1], struct err *err)
{
    const char *path = option_text(o, OPT_TOKEN_FILE);
    struct str plain = option_str(o, OPT_TOKEN);
    int rc = path ? secret_read("token file", path, token, err) : 0;
    if (!path && plain.len > SECRET_BYTES_MAX)
        return err_set(err, TTG_EUSAGE, "TTG_TOKEN: a token has at most %d characters",
                       SECRET_BYTES_MAX);
    if (!path)
        snprintf(token, SECRET_BYTES_MAX + 1, "%.*s", STR_ARG(plain));
    if (!rc && token_given(o) && strlen(token) < WEB_TOKEN_BYTES_MIN)
        return err_set(err, TTG_EUSAGE, "%s%s: a token has at least %d characters",
                       path ? "token file " : "", path ? path : "TTG_TOKEN", WEB_TOKEN_BYTES_MIN);
    return rc;
}

int web_access_choose(struct web_access *a, const char *address, const struct options *o,
                      struct err *err)
{
    struct net_addr addr;
    int rc = net_addr_parse(&addr, str_of(address), 0, err);
    if (rc)
        return rc;
    a->local = net_addr_is_local(&addr);
    a->given = token_given(o);
    if (!a->local && !a->given)
        return err_set(err, TTG_EUSAGE,
                       "%s can be reached by others: give --token-file FILE, which the page will "
                       "ask for, or use an address of this machine alone",
                       address);
    rc = token_read(o, a->token, err);
    if (!rc && !a->token[0] && random_secret(a->token, TOKEN_DIGITS))
        return err_set(err, TTG_EIO, "no random numbers for a token: give --token-file FILE");
    return rc;
}

/* The token stands behind #, which browsers send to nobody. One from a file is not said again. */
void web_access_say(const struct web_access *a, const char *command, const struct net_addr *addr)
{
    char text[NET_TEXT_BYTES];
    net_addr_text(addr, text);
    fprintf(stderr, "ttg %s: http://%s/%s%s\n", command, text,
            a->given ? "" : "#token=", a->given ? "" : a->token);
}

/* --- ttg monitor --web --- */

static void on_signal(struct loop_signal *s)
{
    struct serving *v = s->signo == SIGINT ? container_of(s, struct serving, signals[0])
                                           : container_of(s, struct serving, signals[1]);
    v->signo = s->signo;
    loop_stop(s->loop);
}

static void on_request(void *ctx, struct http_exchange *x, const struct http_request *r)
{
    struct serving *v = ctx;
    bool asks = !str_eq(r->method, STR("POST"));
    if (asks && (str_eq(r->path, STR("/healthz")) || str_eq(r->path, STR("/readyz"))))
        http_answer_text(x, "200 OK", "ok\n");
    else if (asks && str_eq(r->path, STR("/metrics")))
        web_metrics(v->web, x);
    else
        web_request(v->web, x, r);
}

static int serve(struct serving *v, struct command_run *r, struct err *err)
{
    const char *address = option_text(r->options, OPT_WEB);
    struct ask_config ask = {.job = r->arg_count > 0 ? r->args[0] : NULL};
    int rc = web_access_choose(&v->access, address, r->options, err);
    if (!rc)
        rc = ask_open(&v->ask, r, &ask, err);
    if (rc)
        return rc;
    struct web_config config = {.loop = v->ask.loop,
                                .queue = v->ask.choice.config,
                                .job = v->ask.job_given ? v->ask.job : NULL,
                                .management = option_text(r->options, OPT_MANAGEMENT),
                                .token = v->access.token,
                                .open = v->access.local};
    config.queue.retry_ms = web_patience_ms;
    config.queue.client_name = "monitor";
    struct http_config http = {.address = address, .ctx = v, .on_request = on_request};
    rc = web_open(&v->web, &config, err);
    if (!rc)
        rc = http_open(&v->http, v->ask.loop, &http, err);
    if (rc)
        return rc;
    loop_signal_start(&v->signals[0], v->ask.loop, SIGINT, on_signal);
    loop_signal_start(&v->signals[1], v->ask.loop, SIGTERM, on_signal);
    web_access_say(&v->access, "monitor", http_addr(v->http));
    rc = loop_run(v->ask.loop);
    loop_signal_stop(&v->signals[0]);
    loop_signal_stop(&v->signals[1]);
    return rc ? err_set(err, rc, "%s", err_text(rc)) : 0;
}

int monitor_web(struct command_run *r)
{
    struct serving v = {.ask = {.dir = {.lock_fd = -1}}};
    struct err err = {0};
    int rc = serve(&v, r, &err);
    http_close(v.http);
    web_close(v.web);
    ask_close(&v.ask);
    return rc ? command_fail(r, &err) : v.signo == SIGINT ? EXIT_SIGINT : EXIT_DONE;
}

/* --- beside a node --- */

void node_web_request(void *ctx, struct http_exchange *x, const struct http_request *r)
{
    struct node_web *nw = ctx;
    if (nw->web)
        web_request(nw->web, x, r);
    else
        http_answer_text(x, "404 Not Found", "try /metrics, /healthz or /readyz\n");
}

/* How the node reaches itself: its Unix socket, else a plain port. */
static int own_address(struct node_web *nw, const struct node_options *options, struct node *n)
{
    const char *at;
    size_t tls = 0;
    while (tls < NODE_LISTEN_MAX && options->tls_listen[tls])
        tls++;
    if (options->unix_path)
        return buf_printf(&nw->address, "ttg+unix:%s", options->unix_path);
    for (size_t i = 0; node_address(n, i + tls); i++) { /* those with TLS are the last */
        at = node_address(n, i);
        if (!strrchr(at, ':'))
            continue;
        /* One that listens everywhere is also here. */
        const char *port = strrchr(at, ':');
        bool any = strncmp(at, "0.0.0.0:", 8) == 0 || strncmp(at, "[::]:", 5) == 0;
        return buf_printf(&nw->address, "ttg://%.*s%s", any ? 9 : (int)(port - at),
                          any ? "127.0.0.1" : at, port);
    }
    return TTG_ENOENT;
}

int node_web_open(struct node_web *nw, const struct options *o, const struct node_options *options,
                  struct node *n, struct err *err)
{
    const struct net_addr *http = node_http_addr(n);
    buf_init(&nw->address, URL_TEXT_BYTES_MAX);
    if (!http)
        return 0;
    int rc = token_read(o, nw->token, err);
    if (rc)
        return rc;
    if (!nw->token[0] && options->password)
        snprintf(nw->token, sizeof nw->token, "%s", options->password);
    rc = own_address(nw, options, n);
    if (rc) { /* TLS alone: it would need a certificate for itself */
        log_info("node.no_dashboard", kv_str("why", "only TLS: add --unix PATH"));
        return 0;
    }
    rc = url_parse(&nw->url, buf_str(&nw->address), err);
    nw->url.password = options->password;
    struct web_config config = {.loop = node_loop(n),
                                .queue = {.url = &nw->url,
                                          .client_name = "monitor",
                                          .retry_ms = web_patience_ms,
                                          .seed = queue_random()},
                                .token = nw->token[0] ? nw->token : NULL,
                                .open = net_addr_is_local(http)};
    return rc ? rc : web_open(&nw->web, &config, err);
}

void node_web_close(struct node_web *nw)
{
    web_close(nw->web);
    nw->web = NULL;
    buf_done(&nw->address);
}
