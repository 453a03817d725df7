/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/rabbit_jobs.h"

#include "queue/amqp.h"
#include "queue/management.h"

#include <stdio.h>

enum { PATH_BYTES = 1024, NAME_BYTES = 300 };

/* /api/queues/VHOST with all but letters and digits escaped. */
static void path_of(const struct url *url, char out[PATH_BYTES])
{
    size_t len = (size_t)snprintf(out, PATH_BYTES, "/api/queues/");
    for (const char *s = url->path && *url->path ? url->path : "/"; *s && len < PATH_BYTES - 32;
         s++) {
        bool plain =
            (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9');
        len += (size_t)snprintf(out + len, PATH_BYTES - len, plain ? "%c" : "%%%02X",
                                (unsigned)(unsigned char)*s);
    }
    snprintf(out + len, PATH_BYTES - len, "?columns=name");
}

/* --- what it says --- */

static int each_job(struct json queues, int (*on_job)(void *ctx, const char *job, struct err *err),
                    void *ctx, struct err *err)
{
    struct str at = queues.type == JSON_ARRAY ? json_inside(queues) : STR("");
    struct json queue;
    struct buf name;
    struct str job;
    char text[NAME_BYTES];
    int rc = 0;
    buf_init(&name, NAME_BYTES);
    while (!rc && json_item(&at, &queue)) {
        buf_clear(&name);
        if (json_add_text(management_member(queue, STR("name")), &name) ||
            !amqp_job_of(buf_str(&name), STR("job"), &job))
            continue;
        snprintf(text, sizeof text, "%.*s", STR_ARG(job));
        rc = on_job(ctx, text, err);
    }
    buf_done(&name);
    return rc;
}

int rabbit_jobs(struct loop *loop, const struct queue_config *config, const char *given,
                int (*on_job)(void *ctx, const char *job, struct err *err), void *ctx,
                struct err *err)
{
    struct management m;
    struct json queues = {0};
    char path[PATH_BYTES];
    path_of(config->url, path);
    int rc = management_open(&m, loop, config, given, err);
    if (!rc)
        rc = management_get(&m, path, &queues, err);
    if (rc)
        err_set(err, rc,
                "%s; the jobs of a broker are listed by its management API "
                "(rabbitmq-plugins enable rabbitmq_management; --management URL)",
                err->text);
    else
        rc = each_job(queues, on_job, ctx, err);
    management_close(&m);
    return rc;
}
