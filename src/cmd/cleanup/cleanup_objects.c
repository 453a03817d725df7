/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of Kubernetes, podman and docker that carry our label, by their own command-line tools.
 * Volumes hold data: they are looked for with --all only. */
#include "base/mem.h"
#include "cmd/cleanup/cleanup.h"
#include "cmd/leftover.h"
#include "cmd/tool.h"
#include "io/stdio.h"

#include <stdio.h>
#include <stdlib.h>

#define LABEL "app.kubernetes.io/part-of=ttg"
#define FILTER "label=app.kubernetes.io/part-of=ttg"

enum { OUTPUT_BYTES_MAX = 1 << 22, WORDS_MAX = 16 };
enum tool { KUBECTL, PODMAN, DOCKER };

static const char *const tools[] = {"kubectl", "podman", "docker"};

/* --- finding --- */

/* A name that cannot be taken for an option. */
static bool is_name(struct str s)
{
    bool good = s.len > 0 && s.len < 256 && s.ptr[0] != '-';
    for (size_t i = 0; i < s.len && good; i++)
        good = (s.ptr[i] >= 'a' && s.ptr[i] <= 'z') || (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z') ||
               (s.ptr[i] >= '0' && s.ptr[i] <= '9') || strchr("._/-", s.ptr[i]);
    return good;
}

/* Without the kind that kubectl puts in front. */
static const char *bare_name(const char *name)
{
    const char *slash = strchr(name, '/');
    return slash ? slash + 1 : name;
}

static int find(struct cleanup *c, enum tool tool, enum cleanup_kind kind, const char *const *words,
                struct err *err)
{
    struct buf out;
    char name[256];
    buf_init(&out, OUTPUT_BYTES_MAX);
    int rc = tool_run(c->loop, guard_slot(c->guard, 0), words, &out, err);
    for (struct str rest = buf_str(&out); rest.ptr && !rc;) {
        struct str line = str_trim(str_cut(rest, '\n', &rest));
        if (!is_name(line))
            continue;
        snprintf(name, sizeof name, "%.*s", STR_ARG(line));
        bool in_use = cleanup_demo_lives(tool == KUBECTL ? bare_name(name) : name);
        const char *note = in_use ? "in use by a ttg demo" : "label " LABEL;
        struct cleanup_item item = {.kind = kind,
                                    .stays = in_use,
                                    .source = tool,
                                    .name = name,
                                    .note = (char *)(uintptr_t)note};
        rc = cleanup_add(c, &item, err);
    }
    buf_done(&out);
    return rc;
}

static int find_kubernetes(struct cleanup *c, struct err *err)
{
    const char *kinds =
        c->all ? "deployments,statefulsets,jobs,cronjobs,pods,services,configmaps,secrets,"
                 "poddisruptionbudgets,networkpolicies,persistentvolumeclaims"
               : "deployments,statefulsets,jobs,cronjobs,pods,services,configmaps,"
                 "poddisruptionbudgets,networkpolicies";
    const char *const get[] = {"kubectl", "get",      kinds,  "--selector",
                               LABEL,     "--output", "name", "--request-timeout=10s",
                               NULL};
    const char *const keda[] = {"kubectl",
                                "get",
                                "scaledobjects.keda.sh,triggerauthentications.keda.sh",
                                "--selector",
                                LABEL,
                                "--output",
                                "name",
                                "--request-timeout=10s",
                                NULL};
    /* Of demos of this user and machine: who else's lives cannot be known here. */
    char host[LEFTOVER_HOST_BYTES], of_demos[128];
    leftover_host(host);
    snprintf(of_demos, sizeof of_demos, LABEL ",ttg.io/demo-of=%s", host);
    const char *const demos[] = {"kubectl", "get",      "namespaces", "--selector",
                                 of_demos,  "--output", "name",       "--request-timeout=10s",
                                 NULL};
    int rc = find(c, KUBECTL, CLEANUP_KUBERNETES, get, err);
    if (!rc)
        find(c, KUBECTL, CLEANUP_KUBERNETES, keda, NULL); /* most clusters do not know them */
    if (!rc)
        find(c, KUBECTL, CLEANUP_KUBERNETES, demos, NULL); /* or they are none of our business */
    return rc;
}

/* kubectl alone says nothing: on many machines it is installed and was never told of a cluster. One
 * that it was told of and that does not answer may well have something of ours. */
static bool knows_cluster(struct cleanup *c)
{
    const char *const ask[] = {"kubectl", "config", "current-context", NULL};
    return getenv("KUBERNETES_SERVICE_HOST") || /* we are in one */
           tool_run(c->loop, guard_slot(c->guard, 0), ask, NULL, NULL) == 0;
}

static int find_containers(struct cleanup *c, enum tool tool, struct err *err)
{
    const char *name = tools[tool];
    const char *const pods[] = {name,   "pod",      "ps",        "--filter",
                                FILTER, "--format", "{{.Name}}", NULL};
    const char *const all[] = {name,   "ps",       "--all",      "--filter",
                               FILTER, "--format", "{{.Names}}", NULL};
    const char *const networks[] = {name,   "network",  "ls",        "--filter",
                                    FILTER, "--format", "{{.Name}}", NULL};
    const char *const volumes[] = {name,   "volume",   "ls",        "--filter",
                                   FILTER, "--format", "{{.Name}}", NULL};
    int rc = tool == PODMAN ? find(c, tool, CLEANUP_POD, pods, err) : 0;
    if (!rc)
        rc = find(c, tool, CLEANUP_CONTAINER, all, err);
    if (!rc)
        rc = find(c, tool, CLEANUP_NETWORK, networks, err);
    if (!rc && c->all)
        rc = find(c, tool, CLEANUP_VOLUME, volumes, err);
    return rc;
}

int cleanup_objects_find(struct cleanup *c, struct err *err)
{
    bool any = false;
    for (enum tool t = KUBECTL; t <= DOCKER; t++) {
        char *file = NULL;
        if (process_find(tools[t], &file, NULL))
            continue;
        mem_free(file);
        if (t == KUBECTL && !knows_cluster(c)) {
            stdio_complain(STR("left out: Kubernetes, kubectl was told of no cluster\n"));
            continue;
        }
        any = true;
        int rc = t == KUBECTL ? find_kubernetes(c, err) : find_containers(c, t, err);
        if (rc == TTG_ENOMEM || rc == TTG_EFULL)
            return rc;
        if (rc)
            cleanup_trouble(c, err);
    }
    if (!any && !c->all) {
        err_set(err, TTG_ENOENT,
                "--pods: neither kubectl (with a cluster) nor podman nor docker is there");
        cleanup_trouble(c, err);
    }
    return 0;
}

/* --- removing --- */

int cleanup_objects_remove(struct cleanup *c, struct cleanup_item *item, struct err *err)
{
    const char *tool = tools[item->source], *name = item->name;
    const char *const words[CLEANUP_KINDS][WORDS_MAX] = {
        [CLEANUP_KUBERNETES] = {tool, "delete", name, "--ignore-not-found", "--wait=false"},
        [CLEANUP_CONTAINER] = {tool, "rm", "--force", name},
        [CLEANUP_POD] = {tool, "pod", "rm", "--force", name},
        [CLEANUP_NETWORK] = {tool, "network", "rm", name},
        [CLEANUP_VOLUME] = {tool, "volume", "rm", name},
    };
    return tool_run(c->loop, guard_slot(c->guard, 0), words[item->kind], NULL, err);
}
