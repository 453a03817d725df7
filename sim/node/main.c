/* SPDX-License-Identifier: Apache-2.0 */
/* sim-node - many seeds, or one with its story. Speaks TAP.
 *
 *     sim-node                            the seeds in tests/seeds/node
 *     sim-node --seed N [--seconds S]     from seed N on, for S seconds (0: only that one)
 *     sim-node --seed N --trace           tells what happens
 *     sim-node --seeds FILE               the seeds named there, one a line
 *     sim-node --planted                  each bug on purpose must be caught
 *     sim-node --plant NAME --seed N      one of them */
#include "sim/node_world.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PLANT_SEEDS_MAX = 400 };

static struct world world;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool run_seed(uint64_t seed, enum world_plant plant)
{
    return world_run(&world, seed, plant) == 0;
}

static void print_failure(uint64_t seed)
{
    printf("# %s\n# repeat: build/release/sim-node --seed %llu --trace%s%s\n", world.failure,
           (unsigned long long)seed, world.plant ? " --plant " : "",
           world.plant ? world_plant_name(world.plant) : "");
}

struct totals {
    uint64_t seeds, crashes, flips, cuts, pauses, acked, grants, records, refused, snapshots, waits;
};

static void add(struct totals *t)
{
    t->seeds++;
    t->crashes += world.crashes;
    t->flips += world.flips;
    t->cuts += world.cuts;
    t->pauses += world.pauses;
    t->acked += world.acked;
    t->grants += world.grants;
    t->records += world.records;
    t->refused += world.refused;
    t->waits += world.waits;
    t->snapshots += world.snapshots;
}

static void print_totals(const struct totals *t)
{
    printf("# %llu seeds: %llu acknowledged commits, %llu leases, %llu records, %llu snapshots; "
           "%llu crashes of the node, %llu flipped bits, %llu cuts, %llu pauses, %llu refused "
           "for a full disk, %llu times a slow worker left the end to others\n",
           (unsigned long long)t->seeds, (unsigned long long)t->acked,
           (unsigned long long)t->grants, (unsigned long long)t->records,
           (unsigned long long)t->snapshots, (unsigned long long)t->crashes,
           (unsigned long long)t->flips, (unsigned long long)t->cuts, (unsigned long long)t->pauses,
           (unsigned long long)t->refused, (unsigned long long)t->waits);
}

static int run_for(uint64_t seed, double seconds, enum world_plant plant)
{
    struct totals t = {0};
    double end = now_s() + seconds;
    do {
        bool ok = run_seed(seed, plant);
        add(&t);
        if (!ok) {
            printf("1..1\nnot ok 1 - seed %llu\n", (unsigned long long)seed);
            print_failure(seed);
            return 1;
        }
        seed++;
    } while (now_s() < end);
    printf("1..1\nok 1 - %llu seeds up to %llu\n", (unsigned long long)t.seeds,
           (unsigned long long)seed - 1);
    print_totals(&t);
    return 0;
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[256];
    struct totals t = {0};
    int number = 0, failed = 0;
    if (!f) {
        printf("Bail out! cannot read %s\n", path);
        return 1;
    }
    while (fgets(line, sizeof line, f)) {
        char *end;
        uint64_t seed = strtoull(line, &end, 10);
        if (end == line)
            continue; /* a comment */
        bool ok = run_seed(seed, PLANT_NONE);
        add(&t);
        failed += !ok;
        printf("%sok %d - seed %llu\n", ok ? "" : "not ", ++number, (unsigned long long)seed);
        if (!ok)
            print_failure(seed);
    }
    fclose(f);
    printf("1..%d\n", number);
    print_totals(&t);
    return failed > 0;
}

/* In a child, as some bugs end it: an invariant of the ledger that fails is a catch too. */
static bool planted_caught(uint64_t seed, enum world_plant plant)
{
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        return false;
    if (child == 0) {
        for (uint64_t tried = 0; tried < PLANT_SEEDS_MAX; tried++) {
            if (run_seed(seed + tried, plant))
                continue;
            printf("# seed %llu: %s\n", (unsigned long long)(seed + tried), world.failure);
            fflush(stdout);
            _exit(0);
        }
        _exit(1);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child)
        return false;
    if (WIFSIGNALED(status))
        printf("# an invariant of the ledger stopped it\n");
    return WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int run_planted(uint64_t seed)
{
    int missed = 0;
    printf("1..%d\n", PLANT_COUNT - 1);
    for (enum world_plant plant = PLANT_NONE + 1; plant < PLANT_COUNT; plant++) {
        bool caught = planted_caught(seed, plant);
        missed += !caught;
        printf("%sok %d - %s\n", caught ? "" : "not ", (int)plant, world_plant_name(plant));
    }
    return missed > 0;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    double seconds = 0;
    bool planted = false;
    const char *seeds = NULL;
    enum world_plant plant = PLANT_NONE;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--seed") == 0 && more)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seconds") == 0 && more)
            seconds = strtod(argv[++i], NULL);
        else if (strcmp(argv[i], "--seeds") == 0 && more)
            seeds = argv[++i];
        else if (strcmp(argv[i], "--trace") == 0)
            world.trace = true;
        else if (strcmp(argv[i], "--planted") == 0)
            planted = true;
        else if (strcmp(argv[i], "--plant") == 0 && more) {
            i++;
            for (plant = PLANT_COUNT - 1; plant > 0 && strcmp(argv[i], world_plant_name(plant));)
                plant--;
        } else {
            fprintf(stderr, "see the head of sim/node/main.c\n");
            return 2;
        }
    }
    if (planted)
        return run_planted(seed);
    if (argc == 1)
        seeds = "tests/seeds/node";
    return seeds ? run_file(seeds) : run_for(seed, seconds, plant);
}
