/* SPDX-License-Identifier: Apache-2.0 */
/* The demo's server and workers as containers.
 *
 * `podman run` in the foreground stands for its container: it writes what the container writes,
 * passes SIGTERM on and ends with it. So the crew and the broker treat it like a process of their
 * own. But kill -9 of it leaves the container behind: ends are made by name. */
#include "base/mem.h"
#include "cmd/demo/demo.h"
#include "cmd/tool.h"

#include <stdio.h>
#include <unistd.h>

#define LABEL "app.kubernetes.io/part-of=ttg"

enum { OUTPUT_BYTES_MAX = 1 << 16, NAME_BYTES = DEMO_YARD_BYTES + 32 };

const struct demo_image demo_images[DEMO_BACKENDS] = {
    [DEMO_EMBEDDED] = {NULL,
                       "6380",
                       "ttg://",
                       "1000:1000",
                       "/data",
                       {"node", "--data", "/data/node", "--listen", "0.0.0.0:6380", "--insecure",
                        "--log-level", "WARN"}},
    [DEMO_REDIS] = {"docker.io/library/redis:7.2",
                    "6379",
                    "redis://",
                    "redis",
                    "/data",
                    {"redis-server", "--dir", "/data", "--appendonly", "yes", "--appendfsync",
                     "always", "--save", "", "--protected-mode", "no"}},
    [DEMO_RABBITMQ] = {"docker.io/library/rabbitmq:3.12-management",
                       "5672",
                       "amqp://ttg:ttg@",
                       "rabbitmq",
                       "/var/lib/rabbitmq",
                       {NULL}},
};

static int podman(struct demo *d, const char *const *words, struct buf *out, struct err *err)
{
    return tool_run(d->loop, guard_slot(d->guard, DEMO_TOOL), words, out, err);
}

static const char *image_name(const struct demo *d, enum demo_backend backend)
{
    return demo_images[backend].name ? demo_images[backend].name : d->image;
}

/* --- the yard --- */

static int check_image(struct demo *d, const char *name, struct err *err)
{
    const char *const words[] = {"podman", "image", "exists", name, NULL};
    if (podman(d, words, NULL, NULL) == 0)
        return 0;
    if (strcmp(name, d->image) == 0)
        return err_set(err, TTG_ENOENT,
                       "podman has no image %s; in the source tree, CONTAINER_ENGINE=podman "
                       "deploy/k8s/local/build.sh makes ttg:latest",
                       name);
    return err_set(err, TTG_ENOENT, "podman has no image %s; try: podman pull %s", name, name);
}

int demo_podman_open(struct demo *d, enum demo_backend from, enum demo_backend to, struct err *err)
{
    const char *const make[] = {"podman", "network", "create", "--label", LABEL, d->yard, NULL};
    if (process_find("podman", &d->tool_file, NULL))
        return err_set(err, TTG_ENOENT,
                       "--runtime podman: podman is not installed; try: apt-get install podman");
    int rc = check_image(d, d->image, err);
    if (!rc && from == to) /* of several, one that is missing does not end all */
        rc = check_image(d, image_name(d, from), err);
    if (rc)
        return rc;
    snprintf(d->yard, sizeof d->yard, "ttg-demo-%d", (int)getpid());
    snprintf(d->worker_name, sizeof d->worker_name, "%s-%s", d->yard, CREW_NAME);
    rc = podman(d, make, NULL, err);
    if (rc)
        d->yard[0] = '\0';
    return rc;
}

void demo_podman_close(struct demo *d)
{
    const char *const remove[] = {"podman", "network", "rm",    "--force",
                                  "--time", "0",       d->yard, NULL};
    struct err err;
    process_kill(&d->killer);
    if (d->yard[0] && !(d->keep && !d->signal) && podman(d, remove, NULL, &err))
        demo_say(d, "cannot remove the containers of %s: %s; try: ttg cleanup --pods", d->yard,
                 err.text);
    mem_free(d->tool_file);
    d->tool_file = NULL;
}

/* --- the server --- */

static void server_name(const struct demo *d, const char *what, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "%s-%s", d->yard, what);
}

/* What all containers are started with. */
static void common_words(struct command_words *w, const struct demo *d)
{
    const char *const words[] = {"podman",         "--log-level=fatal", "run",
                                 "--rm",           "--pull=never",      "--network",
                                 d->yard,          "--label",           LABEL,
                                 "--cap-drop=all", "--security-opt",    "no-new-privileges"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        command_word(w, words[i]);
}

int demo_podman_serve(struct broker *b, struct err *err)
{
    struct demo *d = b->demo;
    const struct demo_image *image = &demo_images[b->backend];
    struct command_words w = {0};
    char name[NAME_BYTES], volume[NAME_BYTES], publish[64], mount[NAME_BYTES + 64];
    server_name(d, "server", name);
    server_name(d, "data", volume);
    const char *const make[] = {"podman", "volume", "create", "--label", LABEL, volume, NULL};
    int rc = check_image(d, image_name(d, b->backend), err);
    if (!rc)
        rc = broker_ports(&b->port, 1, err);
    if (!rc)
        rc = podman(d, make, NULL, err);
    if (rc)
        return rc;
    snprintf(b->url, sizeof b->url, "%s127.0.0.1:%u", image->scheme, b->port);
    snprintf(publish, sizeof publish, "127.0.0.1:%u:%s", b->port, image->port);
    snprintf(mount, sizeof mount, "%s:%s", volume, image->data);
    const char *const words[] = {"--name",    name,        "--hostname", "ttg-server", "--user",
                                 image->user, "--publish", publish,      "--volume",   mount};
    common_words(&w, d);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        command_word(&w, words[i]);
    if (b->backend == DEMO_RABBITMQ) {
        command_word(&w, "--env=RABBITMQ_DEFAULT_USER=ttg");
        command_word(&w, "--env=RABBITMQ_DEFAULT_PASS=ttg");
    }
    command_word(&w, image_name(d, b->backend));
    for (size_t i = 0; image->words[i]; i++)
        command_word(&w, image->words[i]);
    return broker_process(b, BROKER_SERVER, d->tool_file, w.list, environ, err);
}

int demo_podman_address(struct broker *b, struct err *err)
{
    struct demo *d = b->demo;
    const struct demo_image *image = &demo_images[b->backend];
    char name[NAME_BYTES];
    struct buf out;
    server_name(d, "server", name);
    const char *const ask[] = {
        "podman", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        name,     NULL};
    buf_init(&out, OUTPUT_BYTES_MAX);
    int rc = podman(d, ask, &out, err);
    struct str address = str_trim(buf_str(&out));
    if (!rc && (address.len == 0 || address.len > 64))
        rc = err_set(err, TTG_EIO, "podman gave the container %s no address", name);
    if (!rc)
        snprintf(b->inner_url, sizeof b->inner_url, "%s%.*s:%s", image->scheme, STR_ARG(address),
                 image->port);
    buf_done(&out);
    return rc;
}

void demo_podman_end_server(struct broker *b)
{
    char name[NAME_BYTES], volume[NAME_BYTES];
    server_name(b->demo, "server", name);
    server_name(b->demo, "data", volume);
    const char *const end[] = {"podman", "rm", "--force", "--ignore", "--time", "0", name, NULL};
    const char *const remove[] = {"podman", "volume", "rm", "--force", volume, NULL};
    podman(b->demo, end, NULL, NULL);
    podman(b->demo, remove, NULL, NULL);
}

/* --- workers --- */

void demo_podman_worker(struct command_words *w, const struct demo *d)
{
    common_words(w, d);
    command_word(w, "--replace"); /* what was killed may still be about to go */
    command_word(w, "--name");
    command_word(w, d->worker_name);
    command_word(w, "--read-only");
    command_word(w, d->image);
}

static void on_killer_exit(struct process *p, struct process_exit e)
{
    (void)p;
    (void)e;
}

int demo_podman_kill(struct demo *d, uint32_t worker, struct err *err)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s-worker-%u", d->yard, worker);
    const char *const words[] = {"podman", "kill", "--signal", "KILL", name, NULL};
    return demo_kill(d, words, on_killer_exit, err);
}
