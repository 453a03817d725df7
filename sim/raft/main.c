/* SPDX-License-Identifier: Apache-2.0 */
/* sim/raft - runs seeds until the time is over, prints what they covered, shrinks what fails. */
#include "core/raft/plant.h"
#include "sim/raft_inner.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct options {
    uint64_t seed, seeds, until_us;
    double seconds;
    uint32_t faults, nodes, groups;
    bool has_faults, trace, planted, quiet;
    const char *plant;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void usage(void)
{
    fputs("usage: raft [--seed N] [--seconds S] [--seeds N] [--trace]\n"
          "            [--faults LIST|none] [--until MS] [--nodes N] [--groups N]\n"
#ifdef RAFT_PLANTED
          "            [--plant NAME] [--all-plants]\n"
#endif
          "Runs seeds from --seed on. --seconds 0: only that one. The last line of options\n"
          "narrows one seed, as the shrinker does.\n",
          stderr);
    exit(2);
}

static uint32_t parse_faults(const char *text)
{
    uint32_t faults = 0;
    char copy[512];
    snprintf(copy, sizeof copy, "%s", text);
    for (char *at = strtok(copy, ","); at; at = strtok(NULL, ",")) {
        int f = 0;
        while (f < VW_FAULT_COUNT && strcmp(at, vw_fault_names[f]))
            f++;
        if (f < VW_FAULT_COUNT)
            faults |= 1u << f;
        else if (strcmp(at, "none"))
            usage();
    }
    return faults;
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option table[] = {{"seed", 1, 0, 's'},
                                          {"seconds", 1, 0, 't'},
                                          {"seeds", 1, 0, 'n'},
                                          {"faults", 1, 0, 'f'},
                                          {"until", 1, 0, 'u'},
                                          {"nodes", 1, 0, 'N'},
                                          {"groups", 1, 0, 'G'},
                                          {"trace", 0, 0, 'v'},
                                          {"plant", 1, 0, 'p'},
                                          {"all-plants", 0, 0, 'P'},
                                          {0}};
    *o = (struct options){.seed = 1, .seconds = 60};
    for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (c) {
        case 's':
            o->seed = strtoull(optarg, NULL, 10);
            break;
        case 't':
            o->seconds = strtod(optarg, NULL);
            break;
        case 'n':
            o->seeds = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            o->faults = parse_faults(optarg);
            o->has_faults = true;
            break;
        case 'u':
            o->until_us = (uint64_t)(strtod(optarg, NULL) * 1000);
            break;
        case 'N':
            o->nodes = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'G':
            o->groups = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'v':
            o->trace = true;
            break;
        case 'p':
            o->plant = optarg;
            break;
        case 'P':
            o->planted = true;
            break;
        default:
            usage();
        }
    }
    if (optind < argc || o->nodes > 9 || o->groups > VW_GROUPS_MAX)
        usage();
}

static void plan_of(const struct options *o, uint64_t seed, struct vw_plan *plan)
{
    vw_plan_of_seed(seed, plan);
    if (o->has_faults)
        plan->faults = o->faults;
    if (o->until_us)
        plan->chaos_us = o->until_us;
    if (o->nodes)
        plan->nodes = o->nodes;
    if (o->groups)
        plan->groups = o->groups;
}

static void print_faults(uint32_t faults)
{
    const char *comma = "";
    for (int f = 0; f < VW_FAULT_COUNT; f++)
        if (faults >> f & 1) {
            printf("%s%s", comma, vw_fault_names[f]);
            comma = ",";
        }
    if (!faults)
        fputs("none", stdout);
}

static void report(struct world *w, const char *program, const struct options *o,
                   struct vw_plan *plan, struct vw_result *r)
{
    printf("\nseed %llu fails at %.1f ms: %s\n", (unsigned long long)plan->seed,
           (double)r->at_us / 1000, r->what);
    w->trace = false;
    vw_shrink(w, plan, r);
    printf("smallest: %.1f ms: %s\nrepeat with:\n  %s --seconds 0 --seed %llu --faults ",
           (double)r->at_us / 1000, r->what, program, (unsigned long long)plan->seed);
    print_faults(plan->faults);
    printf(" --until %llu --nodes %u --groups %u%s%s --trace\n",
           (unsigned long long)(plan->chaos_us / 1000), plan->nodes, plan->groups,
           o->plant ? " --plant " : "", o->plant ? o->plant : "");
}

static int print_coverage(const struct vw_counts *c, uint64_t seeds)
{
    int idle = 0;
#define X(name)                                                                                    \
    printf("  %-22s %12llu%s\n", #name, (unsigned long long)c->name,                               \
           c->name ? "" : "   <- never happened");                                                 \
    idle += c->name == 0;
    VW_COUNTS(X)
#undef X
    if (idle && seeds >= 1000) {
        puts("The run was idle where it should not be: that proves nothing.");
        return 1;
    }
    return 0;
}

static int print_latency(struct world *w, uint64_t seed, bool transfer, uint32_t times,
                         uint64_t p50_us, uint64_t p99_us)
{
    uint64_t *us = calloc(times, sizeof *us);
    if (!us)
        return 1;
    vw_measure(w, seed, transfer, times, us);
    uint64_t p50 = us[times / 2], p99 = us[times * 99 / 100], max = us[times - 1];
    free(us);
    bool good = p50 <= p50_us && p99 <= p99_us;
    printf("%s, %u times: p50 %.1f ms, p99 %.1f ms, max %.1f ms (simulated; limits %.0f, %.0f)%s\n",
           transfer ? "writes stop for a transfer" : "leader crash to next acknowledged write",
           times, (double)p50 / 1000, (double)p99 / 1000, (double)max / 1000, (double)p50_us / 1000,
           (double)p99_us / 1000, good ? "" : " TOO SLOW");
    return !good;
}

static int run(struct world *w, const struct options *o, const char *program)
{
    struct vw_counts sum = {0};
    double start = now_s();
    uint64_t sim_us = 0, seeds = 0;
    for (uint64_t seed = o->seed;; seed++) {
        struct vw_plan plan;
        struct vw_result r;
        plan_of(o, seed, &plan);
        vw_run(w, &plan, &r);
        vw_counts_add(&sum, &r.counts);
        sim_us += r.sim_us;
        seeds++;
        if (r.failed) {
            report(w, program, o, &plan, &r);
            return 1;
        }
        if (o->seeds ? seeds == o->seeds : now_s() - start >= o->seconds)
            break;
    }
    double took = now_s() - start, sim = (double)sim_us / 1e6;
    printf("%llu seeds from %llu clean: %.0f s simulated in %.1f s, %.0f times real time\n",
           (unsigned long long)seeds, (unsigned long long)o->seed, sim, took, sim / took);
    int bad = 0;
    if (seeds > 1) {
        bad |= print_coverage(&sum, seeds);
        bad |= print_latency(w, o->seed, false, 500, 450000, 900000);
        bad |= print_latency(w, o->seed, true, 500, 10000, 10000);
    }
    return bad;
}

#ifdef RAFT_PLANTED
static const struct {
    const char *name, *text;
} plants[] = {{"NONE", ""},
#define X(name, text) {#name, text},
              RAFT_PLANT_TABLE(X)
#undef X
};

static void choose(const char *name)
{
    for (int i = 1; i < RAFT_PLANT_COUNT; i++)
        if (!strcmp(name, plants[i].name)) {
            raft_plant = (enum raft_plant)i;
            return;
        }
    usage();
}

struct hunt {
    uint64_t seeds;
    struct vw_result result;
};

/* In a child: a bent rule may also break an assertion of the core. */
static void hunt_plant(struct world *w, const struct options *o, struct hunt *h)
{
    uint64_t most = o->seeds ? o->seeds : 50000;
    h->seeds = 0;
    h->result.failed = false;
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        return;
    if (pid == 0) {
        while (!h->result.failed && h->seeds < most) {
            struct vw_plan plan;
            plan_of(o, o->seed + h->seeds++, &plan);
            vw_run(w, &plan, &h->result);
        }
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status)) {
        h->result.failed = true;
        snprintf(h->result.what, sizeof h->result.what, "an assertion of the core");
    }
}

static int run_plants(struct world *w, const struct options *o)
{
    struct hunt *h =
        mmap(NULL, sizeof *h, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (h == MAP_FAILED)
        return 1;
    int missed = 0, bent = 0, only = (int)raft_plant;
    puts("| bent rule | what is bent | seeds until noticed | noticed by |\n|---|---|---|---|");
    for (int i = 1; i < RAFT_PLANT_COUNT; i++) {
        if (only && i != only)
            continue;
        raft_plant = (enum raft_plant)i;
        hunt_plant(w, o, h);
        bent++;
        missed += !h->result.failed;
        printf("| %s | %s | %s%llu | %s |\n", plants[i].name, plants[i].text,
               h->result.failed ? "" : "**not within** ", (unsigned long long)h->seeds,
               h->result.failed ? h->result.what : "");
    }
    printf("\n%d of %d bent rules noticed\n", bent - missed, bent);
    munmap(h, sizeof *h);
    return missed > 0;
}
#endif

int main(int argc, char **argv)
{
    struct options o;
    parse(&o, argc, argv);
    struct world *w = vw_new();
    w->trace = o.trace;
#ifdef RAFT_PLANTED
    if (o.plant)
        choose(o.plant);
    int code = o.planted ? run_plants(w, &o) : run(w, &o, argv[0]);
#else
    if (o.plant || o.planted)
        usage();
    int code = run(w, &o, argv[0]);
#endif
    vw_free(w);
    return code;
}
