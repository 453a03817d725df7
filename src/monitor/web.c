/* SPDX-License-Identifier: Apache-2.0 */
#include "monitor/web_state.h"

#include "base/mem.h"
#include "io/unpacked.h"

#include <stdio.h>

enum { WRONG_MAX = 20, WRONG_MS = 60000, SWEEP_MS = 5000, FILE_BYTES_MAX = 4 << 20 };

/* Nothing but what this server itself sends is run, loaded or asked, and no other page frames it.
 */
static const char page_headers[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\n"
    "Referrer-Policy: no-referrer\r\nCross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\nVary: Accept-Encoding\r\n";

static void on_sweep(struct loop_timer *t)
{
    web_line_sweep(container_of(t, struct web, sweep), loop_now_ms(t->loop));
    loop_timer_after_ms(t, SWEEP_MS);
}

int web_open(struct web **ret_web, const struct web_config *config, struct err *err)
{
    struct web *w = mem_zalloc(sizeof *w);
    if (!w)
        return err_set(err, TTG_ENOMEM, "out of memory");
    w->config = *config;
    list_init(&w->lines);
    loop_timer_init(&w->sweep, config->loop, on_sweep);
    if (loop_timer_after_ms(&w->sweep, SWEEP_MS)) {
        mem_free(w);
        return err_set(err, TTG_ENOMEM, "out of memory");
    }
    *ret_web = w;
    return 0;
}

void web_close(struct web *w)
{
    if (!w)
        return;
    loop_timer_stop(&w->sweep);
    web_line_close_all(w);
    mem_free(w);
}

/* --- who may what --- */

/* Takes as long for a token that is nearly right as for one that is not. */
static bool token_eq(struct str a, struct str b)
{
    unsigned differ = a.len != b.len;
    for (size_t i = 0; i < a.len; i++)
        differ |= (unsigned)(a.ptr[i] ^ (b.len > 0 ? b.ptr[i % b.len] : '\1'));
    return differ == 0;
}

static bool has_token(const struct web *w, const struct http_request *r)
{
    static const struct str bearer = {"Bearer ", 7};
    if (!w->config.token || !str_starts(r->authorization, bearer))
        return false;
    struct str given =
        str_make(r->authorization.ptr + bearer.len, r->authorization.len - bearer.len);
    return token_eq(str_trim(given), str_of(w->config.token));
}

/* Guessing ends after a few wrong tokens, for a while and for everybody. */
static bool too_many_wrong(struct web *w)
{
    uint64_t now_ms = loop_now_ms(w->config.loop);
    if (now_ms >= w->wrong_ms + WRONG_MS) {
        w->wrong_ms = now_ms;
        w->wrong_count = 0;
    }
    return w->wrong_count >= WRONG_MAX;
}

static void refuse(struct http_exchange *x, const char *status, const char *text)
{
    http_answer(x, status, "text/plain; charset=utf-8", page_headers, str_of(text));
}

/* Whether the request may see data (or act); answers when it may not. */
static bool allowed(struct web *w, struct http_exchange *x, const struct http_request *r, bool acts)
{
    if (too_many_wrong(w)) {
        refuse(x, "429 Too Many Requests", "too many wrong tokens: wait a minute\n");
        return false;
    }
    if (has_token(w, r))
        return true;
    if (r->authorization.len > 0)
        w->wrong_count++;
    if (r->authorization.len == 0 && !acts && w->config.open) {
        if (http_host_is_literal(r->host))
            return true;
        refuse(x, "403 Forbidden", "by this name only with the token\n");
        return false;
    }
    refuse(x, w->config.token ? "401 Unauthorized" : "403 Forbidden",
           w->config.token ? "the token is needed\n"
                           : "no token is set: only this machine may look, and nobody act\n");
    return false;
}

/* --- files --- */

static void answer_file(struct http_exchange *x, const struct http_request *r,
                        const struct web_file *f)
{
    char headers[sizeof page_headers + 64];
    struct buf plain;
    snprintf(headers, sizeof headers, "%s%s", page_headers,
             r->takes_gzip ? "Content-Encoding: gzip\r\n" : "");
    if (r->takes_gzip) {
        http_answer(x, "200 OK", f->type, headers, str_make(f->bytes, f->len));
        return;
    }
    buf_init(&plain, FILE_BYTES_MAX);
    if (unpacked_gzip(f->bytes, f->len, &plain))
        http_answer_text(x, "500 Internal Server Error", "out of memory\n");
    else
        http_answer(x, "200 OK", f->type, headers, buf_str(&plain));
    buf_done(&plain);
}

static const struct web_file *file_find(struct str path)
{
    const struct web_file *f = web_files;
    if (str_eq(path, STR("/favicon.ico")))
        path = STR("/favicon.svg");
    while (f->path && !str_eq(path, str_of(f->path)))
        f++;
    return f->path ? f : NULL;
}

/* Another site's page cannot send our header without asking first, and we do not answer that. */
static bool from_our_page(const struct http_request *r)
{
    struct str origin = r->origin;
    if (!str_eq(r->ttg, STR("1")) || !str_starts(r->content_type, STR("application/json")))
        return false;
    if (origin.len == 0)
        return true;
    return origin.len > r->host.len &&
           str_eq(str_make(origin.ptr + origin.len - r->host.len, r->host.len), r->host) &&
           origin.ptr[origin.len - r->host.len - 1] == '/';
}

void web_request(struct web *w, struct http_exchange *x, const struct http_request *r)
{
    const struct web_file *f = file_find(r->path);
    bool posts = str_eq(r->method, STR("POST"));
    if (f && !posts)
        answer_file(x, r, f);
    else if (str_eq(r->path, STR("/events")) && !posts && !r->head && allowed(w, x, r, false))
        web_watch_request(w, x, r);
    else if (str_eq(r->path, STR("/explain")) && !posts && allowed(w, x, r, false))
        web_act_explain(w, x, r);
    else if (str_eq(r->path, STR("/action")) && posts && !from_our_page(r))
        refuse(x, "403 Forbidden", "Content-Type: application/json and X-TTG: 1 are needed\n");
    else if (str_eq(r->path, STR("/action")) && posts && allowed(w, x, r, true))
        web_act_request(w, x, r);
}
