/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/pipeline_place.h"

#include "cmd/state_dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int find_state(struct pipeline_place *p, struct command_run *r, bool make, struct err *err)
{
    char path[STATE_DIR_BYTES + SPEC_NAME_BYTES + 2];
    const char *given = option_text(r->options, OPT_PIPELINE_STATE);
    int rc = 0;
    if (given) {
        snprintf(path, sizeof path, "%s", given);
    } else if (p->spec.state) {
        snprintf(path, sizeof path, "%s", p->spec.state);
    } else {
        char all[STATE_DIR_BYTES];
        rc = state_dir_path("pipelines", all, err);
        if (!rc)
            snprintf(path, sizeof path, "%s/%s", all, p->spec.name);
    }
    if (!rc && make)
        rc = state_dir_make(path, err);
    if (!rc && !realpath(path, p->state)) {
        rc =
            errno == ENOENT
                ? err_set(err, TTG_EUSAGE,
                          "pipeline %s has no state in %s: it has not run, or with another --state",
                          p->spec.name, path)
                : err_set_errno(err, errno, "%s", path);
        p->state[0] = '\0';
    }
    return rc;
}

int pipeline_place_open(struct pipeline_place *p, struct command_run *r, const char *file,
                        bool make, struct err *err)
{
    *p = (struct pipeline_place){.dir = {.lock_fd = -1}};
    int rc = spec_load(&p->spec, file, err);
    if (!rc && !realpath(file, p->file))
        rc = err_set_errno(err, errno, "%s", file);
    return rc ? rc : find_state(p, r, make, err);
}

int pipeline_place_queue(struct pipeline_place *p, struct command_run *r, struct err *err)
{
    char path[PATH_MAX + 8];
    struct err why = {0};
    int rc = queue_choose(&p->choice, r, err);
    if (rc)
        return rc;
    if (!p->choice.given && p->spec.queue) {
        rc = url_parse(&p->choice.url, str_of(p->spec.queue), &why);
        if (rc)
            return err_set(err, rc, "%s: queue: %s", p->file, why.text);
        p->choice.given = true;
    }
    p->choice.config.client_name = "pipeline";
    p->embedded = !p->choice.given || p->choice.url.scheme == URL_EMBEDDED;
    if (!p->embedded) {
        url_show(&p->choice.url, p->shown);
        return 0;
    }
    snprintf(path, sizeof path, "%s/queue", p->state);
    rc = run_dir_attach(&p->dir, p->choice.given ? p->choice.url.path : path, true, err);
    if (rc)
        return rc;
    embedded_node(&p->node, &p->dir, r->options);
    snprintf(p->address, sizeof p->address, "ttg+unix:%s", p->dir.socket);
    snprintf(p->shown, sizeof p->shown, "embedded");
    return url_parse(&p->choice.url, str_of(p->address), err);
}

void pipeline_place_close(struct pipeline_place *p)
{
    run_dir_close(&p->dir, false);
    spec_done(&p->spec);
}
