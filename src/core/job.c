/* SPDX-License-Identifier: Apache-2.0 */
#include "core/job.h"

#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "core/parts.h"

#include <stdio.h>

enum { JOB_KEY_BYTES_MAX = JOB_NAME_BYTES_MAX + 32 };

struct jobs *core_jobs(const struct core *c)
{
    return *core_part_state((struct core *)(uintptr_t)c, &jobs_part);
}

static bool job_is(const struct map_node *n, const void *key)
{
    return str_eq(container_of(n, const struct job, node)->name, *(const struct str *)key);
}

static uint64_t name_hash(struct str name)
{
    return hash_xxh3(name.ptr, name.len, 0);
}

struct job *job_find(const struct core *c, struct str name)
{
    struct map_node *n = map_find(&core_jobs(c)->by_name, name_hash(name), job_is, &name);
    return n ? container_of(n, struct job, node) : NULL;
}

bool job_name_valid(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char ch = name.ptr[i];
        if (!(ch >= 'a' && ch <= 'z') && !(ch >= 'A' && ch <= 'Z') && !(ch >= '0' && ch <= '9') &&
            ch != '_' && ch != '-')
            return false;
    }
    return name.len > 0 && name.len <= JOB_NAME_BYTES_MAX;
}

/* The job named default has the names that scripts of the older system use. */
static struct str stream_name(char *at, struct str job, const char *what)
{
    bool is_default = str_eq(job, STR("default"));
    int len = is_default ? snprintf(at, JOB_KEY_BYTES_MAX, "ttg:%s", what)
                         : snprintf(at, JOB_KEY_BYTES_MAX, "ttg:{%.*s}:%s", STR_ARG(job), what);
    return str_make(at, (size_t)len);
}

/* The shell of a job without ledger and streams. */
static struct job *job_alloc(struct core *c, struct str name)
{
    struct job *j = mem_zalloc(sizeof *j + name.len + (size_t)(2 * JOB_KEY_BYTES_MAX));
    if (!j || map_reserve(&core_jobs(c)->by_name)) {
        mem_free(j);
        return NULL;
    }
    memcpy(j->bytes, name.ptr, name.len);
    j->name = str_make(j->bytes, name.len);
    j->tasks_key = stream_name(j->bytes + name.len, name, "tasks");
    j->results_key = stream_name(j->bytes + name.len + JOB_KEY_BYTES_MAX, name, "results");
    j->core = c;
    snprintf(j->guard, sizeof j->guard,
             "LIVEJOB this stream belongs to job %.*s; TTG.JOB FORGET deletes it once the job has "
             "ended",
             STR_ARG(name));
    return j;
}

static void job_enter(struct core *c, struct job *j)
{
    struct jobs *jobs = core_jobs(c);
    int rc = map_add(&jobs->by_name, &j->node, name_hash(j->name));
    ensure(rc == 0);
    list_push_back(&jobs->all, &j->link);
}

static void job_set_created(struct job *j, uint64_t created_ms)
{
    j->created_ms = created_ms;
    clock_text(j->created_text, created_ms);
}

static int job_open_streams(struct core *c, struct job *j)
{
    int rc = key_stream_open(c, j->tasks_key, &j->tasks);
    if (!rc)
        rc = key_stream_open(c, j->results_key, &j->results);
    if (!rc)
        j->group = stream_group_add(j->tasks, STR("ttg-workers"), STREAM_ID_MIN, 0);
    if (!rc && !j->group)
        rc = TTG_ENOMEM;
    if (!rc)
        j->results->spill = true;
    return rc;
}

static void job_delete_streams(struct core *c, struct job *j)
{
    const struct str keys[] = {j->tasks_key, j->results_key};
    for (size_t i = 0; i < 2; i++) {
        struct key *k = key_find(c, keys[i]);
        if (k)
            key_delete(c, k);
    }
}

int job_new(struct core *c, struct str name, const struct ledger_spec *spec, uint64_t now_ms,
            struct job **ret_job, struct err *err)
{
    struct job *j = job_alloc(c, name);
    int rc = j ? 0 : TTG_ENOMEM;
    if (rc)
        return rc;
    const struct str keys[] = {j->tasks_key, j->results_key};
    for (size_t i = 0; i < 2 && !rc; i++)
        if (key_find(c, keys[i]))
            rc = err_set(err, TTG_EEXIST, "the key %.*s exists already; delete it first",
                         STR_ARG(keys[i]));
    if (rc) {
        mem_free(j);
        return rc;
    }
    rc = job_open_streams(c, j);
    if (!rc)
        rc = ledger_new(name, spec, c->boot, now_ms, NULL, &j->ledger);
    if (rc) {
        job_delete_streams(c, j);
        mem_free(j);
        return rc;
    }
    job_set_created(j, now_ms);
    job_mirror_attach(j);
    struct ledger_status s;
    ledger_status(j->ledger, &s);
    if (s.fed > 0)
        job_mirror_ops.on_fed(j, 0, s.fed); /* what was fed before there was a mirror */
    job_enter(c, j);
    *ret_job = j;
    return 0;
}

static void job_free(struct job *j)
{
    ledger_free(j->ledger);
    mem_free(j);
}

static void job_leave_table(struct core *c, struct job *j)
{
    map_remove(&core_jobs(c)->by_name, &j->node);
    list_remove(&j->link);
}

void job_delete(struct core *c, struct job *j)
{
    job_leave_table(c, j);
    job_delete_streams(c, j);
    core_ready(c, j->name);
    job_free(j);
}

void job_wake(struct job *j)
{
    if (!j->core)
        return; /* a ledger alone: its owner sees to the effects */
    unsigned effects = ledger_effects(j->ledger);
    if (effects)
        core_ready(j->core, j->name);
    if (effects & LEDGER_WAKE_TAKERS)
        core_ready(j->core, j->tasks_key);
    if (effects & LEDGER_WAKE_RESULTS)
        core_ready(j->core, j->results_key);
}

void core_each_worker(const struct core *c, void (*fn)(void *ctx, const struct core_worker *w),
                      void *ctx)
{
    struct jobs *jobs = core_jobs(c);
    list_each(it, &jobs->all)
    {
        struct job *j = container_of(it, struct job, link);
        for (struct ledger_worker *w = NULL; (w = ledger_worker_next(j->ledger, w));) {
            struct ledger_worker_info info;
            ledger_worker_info(w, &info);
            if (info.foreign)
                continue;
            bool away = !info.client && c->served_ms > info.away_from_ms;
            fn(ctx, &(struct core_worker){j->name, info.name, info.incarnation, info.client,
                                          away ? c->served_ms - info.away_from_ms : 0});
        }
    }
}

/* --- the part --- */

static int jobs_open(struct core *c)
{
    struct jobs *jobs = mem_zalloc(sizeof *jobs);
    if (!jobs)
        return TTG_ENOMEM;
    map_init(&jobs->by_name);
    list_init(&jobs->all);
    *core_part_state(c, &jobs_part) = jobs;
    return 0;
}

static void jobs_clear(struct core *c)
{
    struct jobs *jobs = core_jobs(c);
    list_each(it, &jobs->all)
    {
        struct job *j = container_of(it, struct job, link);
        job_leave_table(c, j);
        job_free(j);
    }
}

static void jobs_close(struct core *c)
{
    struct jobs *jobs = core_jobs(c);
    jobs_clear(c);
    map_done(&jobs->by_name);
    mem_free(jobs);
}

static void jobs_save(const struct core *c, struct core_saver *s)
{
    struct jobs *jobs = core_jobs(c);
    pack_u64(&s->p, jobs->by_name.count);
    list_each(it, &jobs->all)
    {
        struct job *j = container_of(it, struct job, link);
        pack_str(&s->p, j->name);
        ledger_save(j->ledger, &s->p);
        core_save_some(s);
    }
}

static void jobs_load(struct core *c, struct unpacker *u)
{
    for (uint64_t count = unpack_count(u, 20); count > 0 && !u->rc; count--) {
        struct str name = unpack_str(u);
        if (!u->rc && (!job_name_valid(name) || job_find(c, name)))
            u->rc = TTG_ECORRUPT;
        struct job *j = u->rc ? NULL : job_alloc(c, name);
        if (!u->rc && !j)
            u->rc = TTG_ENOMEM;
        if (!u->rc)
            u->rc = ledger_load(u, NULL, &j->ledger);
        if (u->rc) {
            mem_free(j);
            return;
        }
        job_enter(c, j);
    }
}

/* The streams were loaded by their own part. */
static int jobs_loaded(struct core *c)
{
    struct jobs *jobs = core_jobs(c);
    list_each(it, &jobs->all)
    {
        struct job *j = container_of(it, struct job, link);
        struct ledger_status s;
        ledger_status(j->ledger, &s);
        if (s.boot > c->boot || !str_eq(s.name, j->name))
            return TTG_ECORRUPT;
        job_set_created(j, s.created_ms);
        j->tasks = key_stream(c, j->tasks_key);
        j->results = key_stream(c, j->results_key);
        j->group = j->tasks ? stream_group_find(j->tasks, STR("ttg-workers")) : NULL;
        if (!j->group || !j->results)
            return TTG_ECORRUPT;
        job_mirror_attach(j);
    }
    return 0;
}

static uint64_t jobs_digest(const struct core *c)
{
    struct jobs *jobs = core_jobs(c);
    uint64_t digest = jobs->by_name.count;
    list_each(it, &jobs->all)
    {
        digest = hash_u64(digest + ledger_digest(container_of(it, struct job, link)->ledger));
    }
    return digest;
}

static void jobs_boot(struct core *c, uint64_t now_ms)
{
    struct jobs *jobs = core_jobs(c);
    list_each(it, &jobs->all)
    {
        struct job *j = container_of(it, struct job, link);
        ledger_boot(j->ledger, c->boot, now_ms, c->served_ms);
        job_wake(j);
    }
}

static uint64_t jobs_next_ms(const struct core *c)
{
    struct jobs *jobs = core_jobs(c);
    uint64_t next = UINT64_MAX;
    list_each(it, &jobs->all)
    {
        uint64_t at = ledger_next_ms(container_of(it, struct job, link)->ledger);
        next = at < next ? at : next;
    }
    return next;
}

static void jobs_tick(struct core *c, uint64_t now_ms)
{
    struct jobs *jobs = core_jobs(c);
    list_each(it, &jobs->all)
    {
        struct job *j = container_of(it, struct job, link);
        if (ledger_next_ms(j->ledger) > now_ms)
            continue;
        ledger_tick(j->ledger, now_ms);
        job_wake(j);
    }
}

static const char *jobs_flush_refused(const struct core *c)
{
    struct jobs *jobs = core_jobs(c);
    list_each(it, &jobs->all)
    {
        struct ledger_status s;
        ledger_status(container_of(it, struct job, link)->ledger, &s);
        if (s.state == LEDGER_RUNNING || s.state == LEDGER_PAUSED)
            return "LIVEJOB there are jobs that have not ended; cancel them first";
    }
    return NULL;
}

const struct core_part jobs_part = {
    .name = "jobs",
    .commands = job_commands,
    .open = jobs_open,
    .close = jobs_close,
    .save = jobs_save,
    .load = jobs_load,
    .loaded = jobs_loaded,
    .digest = jobs_digest,
    .boot = jobs_boot,
    .next_ms = jobs_next_ms,
    .tick = jobs_tick,
    .flush_refused = jobs_flush_refused,
    .flush = jobs_clear,
};
