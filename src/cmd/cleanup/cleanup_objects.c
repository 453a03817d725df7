/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of Kubernetes, podman and docker that carry our label, by their own command-line tools.
 * Volumes hold data: they are looked for with --all only. */
#include "base/mem.h"
#include "cmd/cleanup/cleanup.h"
#include "io/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define LABEL "app.kubernetes.io/part-of=ttg"
#define FILTER "label=app.kubernetes.io/part-of=ttg"

enum { OUTPUT_BYTES_MAX = 1 << 22, WORDS_MAX = 16, TIMEOUT_MS = 30000 };
enum tool { KUBECTL, PODMAN, DOCKER };

static const char *const tools[] = {"kubectl", "podman", "docker"};

/* --- running them --- */

struct call {
    struct process process;
    bool ended;
    struct process_exit exit;
};

static void on_exit_of(struct process *p, struct process_exit e)
{
    struct call *c = container_of(p, struct call, process);
    c->ended = true;
    c->exit = e;
}

static void read_back(int fd, struct buf *out)
{
    char *room;
    ssize_t n = 1;
    for (off_t at = 0; n > 0 && buf_reserve(out, 4096, &room) == 0; at += n) {
        n = pread(fd, room, 4096, at);
        if (n > 0)
            buf_grew(out, (size_t)n);
    }
}

static int output_fd(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC), moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0)
        close(fd);
    return moved;
}

static void first_line(struct str text, char *out, size_t bytes)
{
    struct str rest, line = str_cut(str_trim(text), '\n', &rest);
    snprintf(out, bytes, "%.*s", STR_ARG(line));
}

/* Runs `words` (ends with NULL); `out` gets its standard output. TTG_ECHILD with the first line of
 * its standard error. */
static int run_tool(struct cleanup *c, const char *const *words, struct buf *out, struct err *err)
{
    struct call call = {0};
    struct buf said;
    char *file = NULL, line[256];
    int rc = process_find(words[0], &file, err);
    if (rc)
        return rc;
    int fds[2] = {output_fd("out"), output_fd("err")};
    struct process_spec spec = {.file = file,
                                .argv = (char *const *)(uintptr_t)words,
                                .envp = environ,
                                .fds = {-1, fds[0], fds[1]},
                                .group = guard_slot(c->guard, 0)};
    buf_init(&said, OUTPUT_BYTES_MAX);
    rc = process_start(&call.process, c->loop, &spec, on_exit_of, err);
    uint64_t until_ms = loop_now_update(c->loop) / 1000000 + TIMEOUT_MS;
    while (!rc && !call.ended && loop_now_ms(c->loop) < until_ms)
        loop_turn(c->loop, until_ms - loop_now_ms(c->loop));
    if (!rc && !call.ended) {
        process_kill(&call.process);
        rc = err_set(err, TTG_ETIMEOUT, "%s does not answer", words[0]);
    }
    read_back(fds[1], &said);
    first_line(buf_str(&said), line, sizeof line);
    if (!rc && call.exit.status != 0)
        rc = err_set(err, TTG_ECHILD, "%s: %s", words[0], line);
    if (!rc)
        read_back(fds[0], out);
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    buf_done(&said);
    mem_free(file);
    return rc;
}

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

static int find(struct cleanup *c, enum tool tool, enum cleanup_kind kind, const char *const *words,
                struct err *err)
{
    struct buf out;
    char name[256];
    buf_init(&out, OUTPUT_BYTES_MAX);
    int rc = run_tool(c, words, &out, err);
    for (struct str rest = buf_str(&out); rest.ptr && !rc;) {
        struct str line = str_trim(str_cut(rest, '\n', &rest));
        if (!is_name(line))
            continue;
        snprintf(name, sizeof name, "%.*s", STR_ARG(line));
        struct cleanup_item item = {
            .kind = kind, .source = tool, .name = name, .note = (char *)(uintptr_t) "label " LABEL};
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
    int rc = find(c, KUBECTL, CLEANUP_KUBERNETES, get, err);
    if (!rc)
        find(c, KUBECTL, CLEANUP_KUBERNETES, keda, NULL); /* most clusters do not know them */
    return rc;
}

static int find_containers(struct cleanup *c, enum tool tool, struct err *err)
{
    const char *name = tools[tool];
    const char *const pods[] = {name,   "pod",      "ps",        "--filter",
                                FILTER, "--format", "{{.Name}}", NULL};
    const char *const all[] = {name,   "ps",       "--all",      "--filter",
                               FILTER, "--format", "{{.Names}}", NULL};
    const char *const volumes[] = {name,   "volume",   "ls",        "--filter",
                                   FILTER, "--format", "{{.Name}}", NULL};
    int rc = tool == PODMAN ? find(c, tool, CLEANUP_POD, pods, err) : 0;
    if (!rc)
        rc = find(c, tool, CLEANUP_CONTAINER, all, err);
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
        any = true;
        int rc = t == KUBECTL ? find_kubernetes(c, err) : find_containers(c, t, err);
        if (rc == TTG_ENOMEM || rc == TTG_EFULL)
            return rc;
        if (rc)
            cleanup_trouble(c, err);
    }
    if (!any && !c->all) {
        err_set(err, TTG_ENOENT, "--pods: neither kubectl nor podman nor docker is installed");
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
        [CLEANUP_VOLUME] = {tool, "volume", "rm", name},
    };
    struct buf out;
    buf_init(&out, OUTPUT_BYTES_MAX);
    int rc = run_tool(c, words[item->kind], &out, err);
    buf_done(&out);
    return rc;
}
