/* SPDX-License-Identifier: Apache-2.0 */
#include "io/figures.h"

#include "io/realclock.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t resident_bytes(void)
{
    unsigned long long size, pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu", &size, &pages) != 2)
        pages = 0;
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_fds(void)
{
    uint64_t count = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        count++;
    if (d)
        closedir(d);
    return count > 3 ? count - 3 : 0; /* two dots, and the directory itself */
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

void figures_process(struct process_figures *ret_figures)
{
    static double start; /* as seen at the first call: when serving begins */
    struct rusage u = {0};
    struct clock *c = realclock();
    if (start <= 0)
        start = (double)c->wall_ms(c) / 1e3;
    getrusage(RUSAGE_SELF, &u);
    *ret_figures = (struct process_figures){resident_bytes(), open_fds(),
                                            seconds_of(u.ru_utime) + seconds_of(u.ru_stime), start};
}

void figures_answer(struct http_exchange *x, const char *kind,
                    void (*write)(void *ctx, struct buf *out), void *ctx)
{
    struct process_figures p;
    struct buf out;
    buf_init(&out, HTTP_ANSWER_BYTES_MAX - 4096);
    figures_process(&p);
    metric_process(&out, kind, &p);
    write(ctx, &out);
    if (out.failed)
        http_answer_text(x, "500 Internal Server Error", "out of memory\n");
    else
        http_answer(x, "200 OK", "text/plain; version=0.0.4; charset=utf-8", NULL, buf_str(&out));
    buf_done(&out);
}

static void on_request(void *ctx, struct http_exchange *x, const struct http_request *r)
{
    struct figures *f = ctx;
    bool asks = !str_eq(r->method, STR("POST"));
    if (asks && str_eq(r->path, STR("/metrics")))
        figures_answer(x, f->config.kind, f->config.write, f->config.ctx);
    else if (asks && str_eq(r->path, STR("/healthz")))
        http_answer_text(x, "200 OK", "ok\n");
    else if (asks && str_eq(r->path, STR("/readyz")) && f->config.ready &&
             !f->config.ready(f->config.ctx))
        http_answer_text(x, "503 Service Unavailable", "not ready\n");
    else if (asks && str_eq(r->path, STR("/readyz")))
        http_answer_text(x, "200 OK", "ready\n");
    else if (f->config.on_request)
        f->config.on_request(f->config.ctx, x, r);
    else
        http_answer_text(x, "404 Not Found", "try /metrics, /healthz or /readyz\n");
}

int figures_open(struct figures *f, struct loop *loop, const struct figures_config *config,
                 struct err *err)
{
    struct process_figures started;
    struct http_config http = {.address = config->address, .ctx = f, .on_request = on_request};
    f->config = *config;
    figures_process(&started);
    return http_open(&f->http, loop, &http, err);
}

void figures_close(struct figures *f)
{
    http_close(f->http);
    f->http = NULL;
}
