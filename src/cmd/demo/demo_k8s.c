/* SPDX-License-Identifier: Apache-2.0 */
/* The demo's server and workers as pods, in a namespace of the demo's own.
 *
 * kubectl does all of it; objects go to it as files of JSON, of which there are few enough to be
 * written by hand. Workers are bare pods, as in parallel-workers-standalone.yaml: no controller
 * answers a death before the queue does. `kubectl port-forward` stands for the server: by it the
 * collector, which stays outside, reaches the pod. The namespace is what is removed in the end.
 *
 * A pod that is deleted with force is told to stop, and killed 2 s later (the kubelet waits that
 * long at least). So chunks are longer here: else the worker would end its chunk and leave. */
#include "base/mem.h"
#include "cmd/demo/demo.h"
#include "cmd/leftover.h"
#include "cmd/tool.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum {
    OUTPUT_BYTES_MAX = 1 << 20,
    LOOK_MS = 300,
    START_MS_MAX = 120000, /* images may have to come first */
    NAME_BYTES = 64,
    WORDS_MAX = 24,
};

static const char labels[] = "\"app.kubernetes.io/name\":\"ttg\",\"app.kubernetes.io/part-of\":"
                             "\"ttg\",\"ttg.io/component\":";

struct pod {
    char name[NAME_BYTES];
    const char *component, *set, *image, *port;
    const char *const *args;
    const char *cpu, *memory; /* at most */
    const char *mounts[4];
    const char *env; /* a list of JSON, or NULL */
};

static int kubectl(struct demo *d, const char *const *words, struct buf *out, struct err *err)
{
    return tool_run(d->loop, guard_slot(d->guard, DEMO_TOOL), words, out, err);
}

/* --- objects --- */

static void add_namespace(struct buf *b, const struct demo *d)
{
    char host[LEFTOVER_HOST_BYTES];
    leftover_host(host);
    buf_printf(b,
               "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\","
               "\"labels\":{%s\"demo\",\"ttg.io/demo-of\":\"%s\"}}}\n",
               d->yard, labels, host);
}

/* The queue has no password: who is not of this namespace stays out, where the network enforces
 * policies. */
static void add_policy(struct buf *b, const struct demo *d)
{
    buf_printf(b,
               "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"NetworkPolicy\",\"metadata\":"
               "{\"name\":\"ours\",\"namespace\":\"%s\"},\"spec\":{\"podSelector\":{},"
               "\"policyTypes\":[\"Ingress\"],\"ingress\":[{\"from\":[{\"podSelector\":{}}]}]}}\n",
               d->yard);
}

static void add_mounts(struct buf *b, const struct pod *p)
{
    buf_add_str(b, STR("\"volumeMounts\":["));
    for (size_t i = 0; i < 4 && p->mounts[i]; i++)
        buf_printf(b, "%s{\"name\":\"d%zu\",\"mountPath\":\"%s\"}", i ? "," : "", i, p->mounts[i]);
    buf_add_str(b, STR("]}],\"volumes\":["));
    for (size_t i = 0; i < 4 && p->mounts[i]; i++)
        buf_printf(b, "%s{\"name\":\"d%zu\",\"emptyDir\":{}}", i ? "," : "", i);
    buf_add_str(b, STR("]}}\n"));
}

static void add_pod(struct buf *b, const struct demo *d, const struct pod *p)
{
    buf_printf(b,
               "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\","
               "\"namespace\":\"%s\",\"labels\":{%s\"%s\",\"ttg.io/set\":\"%s\"}},"
               "\"spec\":{\"restartPolicy\":\"Never\","
               "\"enableServiceLinks\":false,\"automountServiceAccountToken\":false,"
               "\"terminationGracePeriodSeconds\":5,\"securityContext\":{\"runAsNonRoot\":true,"
               "\"runAsUser\":1000,\"runAsGroup\":1000,\"fsGroup\":1000,"
               "\"seccompProfile\":{\"type\":\"RuntimeDefault\"}},",
               p->name, d->yard, labels, p->component, p->set);
    buf_add_str(b, STR("\"containers\":[{\"name\":\"ttg\",\"image\":"));
    buf_add_json(b, str_of(p->image));
    buf_add_str(b, STR(",\"imagePullPolicy\":\"IfNotPresent\",\"args\":["));
    for (size_t i = 0; p->args[i]; i++) {
        buf_add_str(b, i ? STR(",") : STR(""));
        buf_add_json(b, str_of(p->args[i]));
    }
    buf_add_str(b, STR("],"));
    if (p->env)
        buf_printf(b, "\"env\":%s,", p->env);
    if (p->port)
        buf_printf(b,
                   "\"readinessProbe\":{\"tcpSocket\":{\"port\":%s},\"periodSeconds\":1,"
                   "\"failureThreshold\":60},",
                   p->port);
    buf_printf(b,
               "\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"128Mi\"},"
               "\"limits\":{\"cpu\":\"%s\",\"memory\":\"%s\"}},\"securityContext\":{"
               "\"readOnlyRootFilesystem\":true,\"allowPrivilegeEscalation\":false,"
               "\"capabilities\":{\"drop\":[\"ALL\"]}},",
               p->cpu, p->memory);
    add_mounts(b, p);
}

/* Writes them to a file of the demo's directory; `path` says which. */
static int write_objects(const struct demo *d, const char *name, const struct buf *b,
                         char path[DEMO_PATH_BYTES + 64], struct err *err)
{
    snprintf(path, DEMO_PATH_BYTES + 64, "%s/%s.json", d->dir, name);
    return b->failed ? err_set(err, b->failed, "out of memory") : demo_write(path, buf_str(b), err);
}

static int create(struct demo *d, const char *name, const struct buf *b, struct err *err)
{
    char path[DEMO_PATH_BYTES + 64];
    const char *const words[] = {"kubectl", "create", "--filename", path, NULL};
    int rc = write_objects(d, name, b, path, err);
    return rc ? rc : kubectl(d, words, NULL, err);
}

/* --- the namespace --- */

int demo_k8s_open(struct demo *d, struct err *err)
{
    const char *const which[] = {"kubectl", "config", "current-context", NULL};
    const char *const ask[] = {"kubectl", "version", "--request-timeout=10s", NULL};
    struct err why = {0};
    struct buf b;
    if (process_find("kubectl", &d->tool_file, NULL))
        return err_set(err, TTG_ENOENT,
                       "--runtime k8s: kubectl is not installed; "
                       "https://kubernetes.io/docs/tasks/tools/ says how");
    if (kubectl(d, ask, NULL, &why))
        return err_set(err, TTG_ENOENT,
                       "--runtime k8s: kubectl reaches no cluster (%.200s); `kubectl config "
                       "current-context` names the one it asks, and in the source tree "
                       "deploy/k8s/local/setup-local.sh makes one on this machine",
                       why.text);
    buf_init(&b, OUTPUT_BYTES_MAX);
    bool named = kubectl(d, which, &b, NULL) == 0;
    struct str context = str_trim(buf_str(&b));
    snprintf(d->yard, sizeof d->yard, "ttg-demo-%d", (int)getpid());
    demo_say(d, "kubernetes: all of it is in the namespace %s of %s%.*s", d->yard,
             named ? "the context " : "this cluster", named ? (int)context.len : 0, context.ptr);
    buf_clear(&b);
    add_namespace(&b, d);
    int rc = create(d, "namespace", &b, err);
    if (rc)
        d->yard[0] = '\0'; /* there is nothing to remove */
    buf_clear(&b);
    add_policy(&b, d);
    if (!rc)
        rc = create(d, "policy", &b, err);
    buf_done(&b);
    return rc;
}

void demo_k8s_close(struct demo *d)
{
    const char *const pods[] = {
        "kubectl", "delete",           "pods",    "--all",        "--namespace",
        d->yard,   "--grace-period=0", "--force", "--wait=false", NULL};
    const char *const all[] = {
        "kubectl", "delete", "namespace", d->yard, "--timeout=25s", "--ignore-not-found", NULL};
    struct err err;
    process_kill(&d->killer);
    if (d->yard[0] && !(d->keep && !d->signal)) {
        kubectl(d, pods, NULL, NULL); /* nobody has to be waited for */
        if (kubectl(d, all, NULL, &err))
            demo_say(d, "the namespace %s is not gone yet: %s; try: kubectl delete namespace %s",
                     d->yard, err.text, d->yard);
    }
    mem_free(d->tool_file);
    d->tool_file = NULL;
}

/* --- waiting for pods --- */

/* "NAME READY REASON MESSAGE", a word that is missing is empty. */
static const char format[] =
    "--output=jsonpath={range .items[*]}{.metadata.name}{\"\\t\"}"
    "{.status.conditions[?(@.type==\"Ready\")].status}{\"\\t\"}"
    "{.status.containerStatuses[0].state.waiting.reason}{.status.containerStatuses[0].state."
    "terminated.reason}{\"\\t\"}{.status.conditions[?(@.type==\"PodScheduled\")].message}{\"\\n\"}"
    "{end}";

struct look {
    size_t ready;
    char why[256]; /* one is not */
    bool hopeless;
};

static void look_at(struct look *l, struct str line)
{
    struct str name = str_cut(line, '\t', &line), ready = str_cut(line, '\t', &line);
    struct str reason = str_cut(line, '\t', &line), message = line;
    if (str_eq(ready, STR("True"))) {
        l->ready++;
        return;
    }
    bool image = str_starts(reason, STR("ErrImage")) || str_starts(reason, STR("ImagePull")) ||
                 str_eq(reason, STR("InvalidImageName"));
    bool ended = str_eq(reason, STR("Error")) || str_eq(reason, STR("Completed")) ||
                 str_eq(reason, STR("StartError")) || str_starts(reason, STR("CreateContainer"));
    l->hopeless = l->hopeless || image || ended;
    snprintf(l->why, sizeof l->why, "%.*s: %.*s%s%.*s", STR_ARG(name), STR_ARG(reason),
             image             ? ", the cluster cannot get its image (docs/demo.md)"
             : reason.len == 0 ? "not ready. "
                               : "",
             (int)(message.len < 120 ? message.len : 120), message.len ? message.ptr : "");
}

/* Until that many pods are ready. */
static int wait_ready(struct demo *d, const char *selector, size_t count, struct err *err)
{
    const char *const words[] = {"kubectl",    "get",    "pods", "--namespace", d->yard,
                                 "--selector", selector, format, NULL};
    struct look l = {0};
    struct buf out;
    uint64_t until_ms = loop_now_update(d->loop) / 1000000 + START_MS_MAX, again_ms = 0;
    buf_init(&out, OUTPUT_BYTES_MAX);
    int rc = 0;
    while (!rc && !d->signal && l.ready < count && !l.hopeless) {
        while (!d->signal && loop_now_ms(d->loop) < again_ms)
            loop_turn(d->loop, again_ms - loop_now_ms(d->loop));
        l = (struct look){0};
        buf_clear(&out);
        rc = kubectl(d, words, &out, err);
        for (struct str rest = buf_str(&out); rest.ptr && !rc;) {
            struct str line = str_cut(rest, '\n', &rest);
            if (line.len > 0)
                look_at(&l, line);
        }
        again_ms = loop_now_update(d->loop) / 1000000 + LOOK_MS;
        if (!rc && l.ready < count && loop_now_ms(d->loop) > until_ms)
            rc = err_set(err, TTG_ETIMEOUT, "the pods do not start: %s", l.why);
    }
    buf_done(&out);
    if (!rc && d->signal)
        return err_set(err, TTG_ECANCELED, "stopped");
    return !rc && l.hopeless ? err_set(err, TTG_ECHILD, "the pods do not start: %s", l.why) : rc;
}

/* --- the server --- */

int demo_k8s_serve(struct broker *b, struct err *err)
{
    struct demo *d = b->demo;
    const struct demo_image *image = &demo_images[b->backend];
    bool rabbitmq = b->backend == DEMO_RABBITMQ;
    char selector[NAME_BYTES], path[NAME_BYTES], ports[32];
    struct pod p = {.component = demo_backend_names[b->backend],
                    .set = demo_backend_names[b->backend],
                    .image = image->name ? image->name : d->image,
                    .port = image->port,
                    .args = image->words,
                    .cpu = rabbitmq ? "1" : "500m",
                    .memory = rabbitmq ? "1Gi" : "256Mi",
                    .mounts = {image->data, "/tmp", rabbitmq ? "/var/log/rabbitmq" : NULL}};
    struct buf out;
    if (rabbitmq)
        p.env = "[{\"name\":\"HOME\",\"value\":\"/var/lib/rabbitmq\"},{\"name\":"
                "\"RABBITMQ_DEFAULT_USER\",\"value\":\"ttg\"},{\"name\":"
                "\"RABBITMQ_DEFAULT_PASS\",\"value\":\"ttg\"}]";
    snprintf(p.name, sizeof p.name, "server-%s", p.component);
    snprintf(selector, sizeof selector, "ttg.io/set=%s", p.set);
    buf_init(&out, OUTPUT_BYTES_MAX);
    add_pod(&out, d, &p);
    int rc = create(d, "server", &out, err);
    buf_done(&out);
    if (!rc)
        rc = wait_ready(d, selector, 1, err);
    if (!rc)
        rc = broker_ports(&b->port, 1, err);
    if (rc)
        return rc;
    snprintf(b->url, sizeof b->url, "%s127.0.0.1:%u", image->scheme, b->port);
    snprintf(path, sizeof path, "pod/server-%s", p.component);
    snprintf(ports, sizeof ports, "%u:%s", b->port, image->port);
    const char *const words[] = {"kubectl", "port-forward", "--namespace", d->yard,
                                 path,      ports,          NULL};
    return broker_process(b, BROKER_SERVER, d->tool_file, (char *const *)(uintptr_t)words, environ,
                          err);
}

int demo_k8s_address(struct broker *b, struct err *err)
{
    struct demo *d = b->demo;
    const struct demo_image *image = &demo_images[b->backend];
    char name[NAME_BYTES];
    struct buf out;
    snprintf(name, sizeof name, "server-%s", demo_backend_names[b->backend]);
    const char *const ask[] = {
        "kubectl", "get", "pod", name, "--namespace", d->yard, "--output=jsonpath={.status.podIP}",
        NULL};
    buf_init(&out, OUTPUT_BYTES_MAX);
    int rc = kubectl(d, ask, &out, err);
    struct str address = str_trim(buf_str(&out));
    bool six = memchr(address.ptr, ':', address.len);
    if (!rc && (address.len == 0 || address.len > 64))
        rc = err_set(err, TTG_EIO, "the pod %s has no address", name);
    if (!rc)
        snprintf(b->inner_url, sizeof b->inner_url, "%s%s%.*s%s:%s", image->scheme, six ? "[" : "",
                 STR_ARG(address), six ? "]" : "", image->port);
    buf_done(&out);
    return rc;
}

/* --- workers --- */

static void add_worker(struct buf *b, const struct demo *d, const struct demo_act *a,
                       uint32_t worker)
{
    char name[16];
    const char *const args[] = {"worker",
                                "--queue",
                                a->address,
                                "--job",
                                a->job,
                                "--name",
                                name,
                                "--drain",
                                "4",
                                "--simulate-ms",
                                d->preset->simulate_ms,
                                "--log-level",
                                "WARN",
                                NULL};
    struct pod p = {.component = "worker",
                    .set = a->job,
                    .image = d->image,
                    .args = args,
                    .cpu = "500m",
                    .memory = "256Mi",
                    .mounts = {"/tmp"}};
    snprintf(name, sizeof name, "worker-%u", worker);
    snprintf(p.name, sizeof p.name, "%s-worker-%u", a->job, worker);
    add_pod(b, d, &p);
}

int demo_k8s_workers(struct demo *d, const struct demo_act *a, struct err *err)
{
    char selector[NAME_BYTES];
    struct buf b;
    buf_init(&b, OUTPUT_BYTES_MAX);
    for (uint32_t i = 0; i < d->workers; i++)
        add_worker(&b, d, a, i);
    int rc = create(d, a->job, &b, err);
    buf_done(&b);
    snprintf(selector, sizeof selector, "ttg.io/set=%s", a->job);
    return rc ? rc : wait_ready(d, selector, d->workers, err);
}

static void on_killer_exit(struct process *p, struct process_exit e)
{
    struct demo *d = container_of(p, struct demo, killer);
    (void)e;
    if (d->act)
        demo_act_killed(d->act);
}

int demo_k8s_kill(struct demo *d, uint32_t worker, struct err *err)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s-worker-%u", d->act->job, worker);
    const char *const words[] = {"kubectl", "delete",           "pod",     name, "--namespace",
                                 d->yard,   "--grace-period=0", "--force", NULL};
    return demo_kill(d, words, on_killer_exit, err);
}

int demo_k8s_again(struct demo *d, uint32_t worker, struct err *err)
{
    char path[DEMO_PATH_BYTES + 64];
    const char *const words[] = {"kubectl", "create", "--filename", path, NULL};
    struct buf b;
    buf_init(&b, OUTPUT_BYTES_MAX);
    add_worker(&b, d, d->act, worker);
    int rc = write_objects(d, "again", &b, path, err);
    buf_done(&b);
    return rc ? rc : demo_kill(d, words, on_killer_exit, err);
}

int demo_k8s_look(struct demo *d, const struct demo_act *a, size_t *ret_alive, struct buf *ret_text,
                  struct err *err)
{
    static const char phases[] =
        "--output=jsonpath={range .items[*]}{.metadata.name}{\"\\t\"}{.status.phase}{\"\\t\"}"
        "{.status.reason}{.status.containerStatuses[0].state.waiting.reason}"
        "{.status.containerStatuses[0].state.terminated.reason}{\"\\n\"}{end}";
    char selector[NAME_BYTES];
    const char *const words[] = {"kubectl",    "get",    "pods", "--namespace", d->yard,
                                 "--selector", selector, phases, NULL};
    struct buf out;
    size_t alive = 0;
    snprintf(selector, sizeof selector, "ttg.io/set=%s", a->job);
    buf_init(&out, OUTPUT_BYTES_MAX);
    int rc = kubectl(d, words, &out, err);
    for (struct str rest = buf_str(&out), line; !rc && rest.len > 0;) {
        line = str_cut(rest, '\n', &rest);
        struct str name = str_cut(line, '\t', &line), phase = str_cut(line, '\t', &line);
        if (name.len == 0)
            continue;
        alive += !str_eq(phase, STR("Succeeded")) && !str_eq(phase, STR("Failed"));
        buf_printf(ret_text, "%s%.*s: %.*s%s%.*s", buf_len(ret_text) ? ", " : "", STR_ARG(name),
                   STR_ARG(phase), line.len ? " " : "", STR_ARG(line));
    }
    buf_done(&out);
    if (!rc)
        *ret_alive = alive;
    return rc;
}
