/*
 * test_tuner.c - the greedy search against all choices of a made-up table of times, trials that are
 * discarded, samples that are dropped, settings estimated by the group alone, the search that tries
 * all, and the record.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../suites/ops/tuner.h"
#include "test.h"

enum { GROUPS = 4, SETTINGS = 5 };

/* Times of groups by setting; they add up, but for what a pair of neighbours adds. */
struct table {
    double us[GROUPS][SETTINGS], pair; /* pair: where two neighbours have the same setting */
    int setting[GROUPS];
    unsigned noise;   /* state of a generator; 0: none */
    int spike;        /* the sample of every trial that takes 30 times as long; -1: none */
    int taken;        /* samples of this trial */
    int fails_after;  /* samples in all, then -1 */
    long samples;
    int lies;         /* alone, what is slow looks fast */
    long alone;       /* runs of a group alone */
};

static double time_of(const struct table *t, const int *setting)
{
    double us = 0;
    for (int g = 0; g < GROUPS; g++)
        us += t->us[g][setting[g]] + (g && setting[g] == setting[g - 1] ? t->pair : 0);
    return us;
}

static int choose(void *context, const int *setting)
{
    struct table *t = context;
    memcpy(t->setting, setting, sizeof t->setting);
    t->taken = 0;
    return 0;
}

static int sample(void *context, double *us)
{
    struct table *t = context;
    if (t->samples++ >= t->fails_after)
        return cb_error("planted");
    *us = time_of(t, t->setting);
    if (t->noise) {
        t->noise = t->noise * 1103515245u + 12345u;
        *us *= 1 + .01 * (double)(t->noise >> 16 & 255) / 255;
    }
    if (t->taken++ == t->spike)
        *us *= 30;
    return 0;
}

static int alone(void *context, int g, double *us)
{
    struct table *t = context;
    if (t->alone++ >= t->fails_after)
        return cb_error("planted");
    *us = t->us[g][t->setting[g]];
    *us = t->lies ? 1e6 / *us : *us;
    return 0;
}

static void make_table(unsigned seed, struct table *t)
{
    *t = (struct table){ .spike = -1, .fails_after = 1 << 30 };
    for (int g = 0; g < GROUPS; g++)
        for (int s = 0; s < SETTINGS; s++) {
            seed = seed * 1103515245u + 12345u;
            t->us[g][s] = 50 + (double)(seed >> 16 & 1023);
        }
}

static double best_of_all(const struct table *t, const uint64_t *allowed, int *best)
{
    double least = INFINITY;
    for (int i = 0; i < SETTINGS * SETTINGS * SETTINGS * SETTINGS; i++) {
        int setting[GROUPS], rest = i, good = 1;
        for (int g = 0; g < GROUPS; g++, rest /= SETTINGS) {
            setting[g] = rest % SETTINGS;
            good &= !setting[g] || (allowed[g] >> setting[g] & 1);
        }
        if (good && time_of(t, setting) < least) {
            least = time_of(t, setting);
            memcpy(best, setting, sizeof setting);
        }
    }
    return least;
}

static struct tuner_space space_of(unsigned forbidden)
{
    struct tuner_space space = { .groups = GROUPS, .settings = SETTINGS, .samples = 10 };
    for (int g = 0; g < GROUPS; g++)
        space.allowed[g] = ~(uint64_t)(g == 2 ? forbidden : 0);
    return space;
}

static void try_best(void)
{
    int discarded = 0;
    for (unsigned seed = 1; seed <= 40; seed++) {
        struct table t;
        struct tuner_result r;
        int best[GROUPS];
        make_table(seed, &t);
        t.noise = seed % 2 ? seed : 0;
        t.spike = seed % 3 ? -1 : 7;
        const struct tuner_space space = space_of(seed % 4 ? 0 : 6);
        const struct tuner_subject subject = { choose, sample, NULL, &t };
        const double least = best_of_all(&t, space.allowed, best);
        CHECK(!tuner_search(&space, &subject, &r));
        /* noise may swap settings that are a hundredth apart */
        CHECK(time_of(&t, r.setting) <= least * 1.01);
        if (!t.noise && t.spike < 0)
            CHECK(!memcmp(r.setting, best, sizeof best) && fabs(r.us - least) < 1e-6 * least);
        CHECK(!memcmp(t.setting, r.setting, sizeof best)); /* in force */
        CHECK(r.setting[2] == 0 || (space.allowed[2] >> r.setting[2] & 1));
        CHECK(r.trials == 1 + GROUPS * (SETTINGS - 1) - (seed % 4 ? 0 : 2));
        CHECK(r.samples <= r.trials * space.samples && r.first_us >= r.us && r.seconds >= 0);
        discarded += r.discarded;
    }
    CHECK(discarded > 40);
}

/* Where groups act on each other greedy still ends no worse than it began, and can miss the best. */
static void try_pairs(void)
{
    int missed = 0;
    for (unsigned seed = 1; seed <= 40; seed++) {
        struct table t;
        struct tuner_result r;
        int best[GROUPS];
        const int none[GROUPS] = { 0 };
        make_table(seed, &t);
        t.pair = -600;
        const struct tuner_space space = space_of(0);
        const struct tuner_subject subject = { choose, sample, NULL, &t };
        for (int g = 0; g < GROUPS; g++)
            for (int s = 0; s < SETTINGS; s++)
                t.us[g][s] += 1000;
        const double least = best_of_all(&t, space.allowed, best);
        CHECK(!tuner_search(&space, &subject, &r));
        CHECK(time_of(&t, r.setting) <= time_of(&t, none) && time_of(&t, r.setting) >= least);
        missed += time_of(&t, r.setting) > least;
    }
    CHECK(missed > 0);
}

/* A spike is dropped from a mean, and a hopeless trial takes few samples. */
static void try_samples(void)
{
    struct table t;
    struct tuner_result r;
    make_table(3, &t);
    for (int g = 0; g < GROUPS; g++)
        for (int s = 0; s < SETTINGS; s++)
            t.us[g][s] = s ? 1000 : 10;
    t.spike = 5; /* of the first trial: later ones have ended */
    struct tuner_space space = space_of(0);
    const struct tuner_subject subject = { choose, sample, NULL, &t };
    CHECK(!tuner_search(&space, &subject, &r));
    CHECK(r.us == 40 && r.first_us == 40);
    CHECK(r.discarded == r.trials - 1 && r.samples == space.samples + r.discarded);
    for (int g = 0; g < GROUPS; g++)
        CHECK(r.setting[g] == 0);
    t.samples = 0;
    t.fails_after = 30;
    t.us[0][0] = 2000; /* now a search goes on */
    CHECK(tuner_search(&space, &subject, &r) == -1 && strstr(cb_error_text(), "planted"));
    space.samples = 0;
    CHECK(tuner_search(&space, &subject, &r) == -1);
}

/* Settings 3 and 4 refine setting 2, 1 refines 0: tried in groups that chose that one, and only
 * there, after all groups have chosen. */
static void try_refined(void)
{
    static const double us[GROUPS][SETTINGS] = {
        { 1000, 1500, 990, 900, 800 },    /* chosen: the last is best */
        { 1000, 990, 1001, 10, 10 },      /* not: what would be best is not tried */
        { 1000, 900, 999, 950, 998 },
        { 1000, 200, 1300, 100, 100 },
    };
    struct table t;
    struct tuner_result r;
    make_table(1, &t);
    memcpy(t.us, us, sizeof us);
    struct tuner_space space = space_of(0);
    space.refines[3] = space.refines[4] = 1 + 2;
    space.refines[1] = 1 + 0;
    const struct tuner_subject subject = { choose, sample, NULL, &t };
    CHECK(!tuner_search(&space, &subject, &r));
    CHECK(r.setting[0] == 4 && r.setting[1] == 1 && r.setting[2] == 3 && r.setting[3] == 1);
    CHECK(r.trials == 1 + GROUPS + 2 + 1 + 2 + 1);
    space.allowed[0] &= ~((uint64_t)1 << 2); /* refines what is not allowed: not tried either */
    CHECK(!tuner_search(&space, &subject, &r) && r.setting[0] == 0);
    space.refines[3] = 1 + 3;
    CHECK(tuner_search(&space, &subject, &r) == -1 && strstr(cb_error_text(), "not earlier"));
    space.refines[3] = 1 + 1; /* which refines itself */
    CHECK(tuner_search(&space, &subject, &r) == -1 && strstr(cb_error_text(), "not earlier"));
}

/* Trials that cannot win end after so many samples: a twentieth slower, a hundredth, as fast. */
static void try_discarded(void)
{
    static const double slower[] = { 1.05, 1.01, 1 };
    static const int taken[] = { 2, 3, 10 };
    for (int k = 0; k < 3; k++) {
        struct table t;
        struct tuner_result r;
        make_table(1, &t);
        for (int g = 0; g < GROUPS; g++)
            for (int s = 0; s < SETTINGS; s++)
                t.us[g][s] = s ? 1000 * (1 + GROUPS * (slower[k] - 1)) : 1000;
        const struct tuner_space space = space_of(0);
        const struct tuner_subject subject = { choose, sample, NULL, &t };
        CHECK(!tuner_search(&space, &subject, &r));
        CHECK(r.samples == space.samples + taken[k] * (r.trials - 1));
        CHECK(r.discarded == (k < 2 ? r.trials - 1 : 0));
    }
}

/* Settings that the group alone shows to gain nothing are not tried, of the rest the fastest comes
 * first; an estimate that is wrong costs trials, never the choice. */
static void try_alone(void)
{
    int same = 0;
    for (unsigned seed = 1; seed <= 40; seed++) {
        struct table t;
        struct tuner_result r, whole;
        int best[GROUPS], none[GROUPS] = { 0 };
        make_table(seed, &t);
        t.noise = seed % 2 ? seed : 0;
        const struct tuner_space space = space_of(seed % 4 ? 0 : 6);
        const struct tuner_subject subject = { choose, sample, alone, &t };
        const struct tuner_subject without = { choose, sample, NULL, &t };
        const double least = best_of_all(&t, space.allowed, best);
        CHECK(!tuner_search(&space, &without, &whole) && !whole.estimated && !t.alone);
        CHECK(!tuner_search(&space, &subject, &r));
        /* noise apart, a thousandth a group is not worth a trial */
        CHECK(time_of(&t, r.setting) <= least * (t.noise ? 1.02 : 1 + .0011 * GROUPS));
        same += !memcmp(r.setting, best, sizeof best);
        CHECK(r.trials == whole.trials && r.samples < whole.samples);
        CHECK(r.estimated > 0 && r.estimated <= r.discarded && r.discarded < r.trials);
        CHECK(t.alone == 4 * (r.trials - 1 + GROUPS));
        CHECK(!memcmp(t.setting, r.setting, sizeof best)); /* in force */
        t.lies = 1;
        t.noise = 0;
        CHECK(!tuner_search(&space, &subject, &r));
        CHECK(time_of(&t, r.setting) <= time_of(&t, none) && r.us <= r.first_us);
        t.fails_after = 20;
        CHECK(tuner_search(&space, &subject, &r) == -1 && strstr(cb_error_text(), "planted"));
    }
    CHECK(same > 30);
}

/* Every setting, those too that refine what was not chosen: the best of the whole where times add
 * up; the work of each group is counted. */
static void try_every(void)
{
    int missed = 0;
    for (unsigned seed = 1; seed <= 40; seed++) {
        struct table t;
        struct tuner_result r, greedy;
        int best[GROUPS], settings = 0, trials = 0;
        make_table(seed, &t);
        struct tuner_space space = space_of(seed % 4 ? 0 : 6);
        const struct tuner_subject subject = { choose, sample, alone, &t };
        const struct tuner_subject without = { choose, sample, NULL, &t };
        const double least = best_of_all(&t, space.allowed, best);
        space.refines[3] = space.refines[4] = 1 + 1;
        CHECK(!tuner_every(&space, &subject, &r) && t.samples == 1);
        CHECK(!memcmp(r.setting, best, sizeof best) && time_of(&t, r.setting) == least);
        CHECK(!memcmp(t.setting, r.setting, sizeof best)); /* in force */
        CHECK(r.trials == GROUPS * SETTINGS - (seed % 4 ? 0 : 2));
        CHECK(t.alone == r.trials * (1 + space.samples) && r.samples == r.trials * space.samples);
        for (int g = 0; g < GROUPS; g++)
            CHECK(r.effort[g].settings == (g == 2 && seed % 4 == 0 ? SETTINGS - 2 : SETTINGS) &&
                  r.effort[g].trials == r.effort[g].settings);
        CHECK(!tuner_search(&space, &subject, &greedy));
        missed += time_of(&t, greedy.setting) > least;
        for (int g = 0; g < GROUPS; g++) {
            settings += greedy.effort[g].settings;
            trials += greedy.effort[g].trials;
        }
        CHECK(settings == greedy.trials - 1 && trials == settings - greedy.estimated);
        CHECK(tuner_every(&space, &without, &r) == -1 && strstr(cb_error_text(), "alone"));
        t.fails_after = 50;
        t.samples = t.alone = 0;
        CHECK(tuner_every(&space, &subject, &r) == -1 && strstr(cb_error_text(), "planted"));
        space.samples = 0;
        CHECK(tuner_every(&space, &subject, &r) == -1);
    }
    CHECK(missed > 0);
}

static void try_record(void)
{
    static const char *const setting[] = { "s0", "s1", "s2", "s3", "s4" };
    static const char *const group[] = { "k3 1", "k2 1", "k3 2", "k2 2" };
    struct tuner_key key = { "autotuned", "minkunet_1x", "kitti:/a b/c.bin", "NVIDIA H200", "f16",
                             "infer", setting, group };
    struct tuner_space space = space_of(1u << 4);
    struct tuner_result r = { .setting = { 3, 0, 2, 1 }, .us = 10.5, .first_us = 21, .seconds = 3,
                              .trials = 17, .discarded = 4, .estimated = 2, .samples = 99 }, got;
    char folder[64], path[4096], again[4096];
    snprintf(folder, sizeof folder, "/tmp/test_tuner_%ld/a/b", (long)getpid());
    setenv("CLAIMBENCH_CACHE", folder, 1);
    CHECK(!tuner_load(&key, &space, path, sizeof path, &got));
    CHECK(strstr(path, folder) == path && !strchr(path, ' ') && !strchr(path, ':'));
    CHECK(!tuner_save(&key, &space, &r, again, sizeof again) && !strcmp(path, again));
    CHECK(tuner_load(&key, &space, path, sizeof path, &got));
    CHECK(!memcmp(got.setting, r.setting, sizeof r.setting) && got.us == r.us &&
          got.first_us == r.first_us && got.seconds == 3 && got.trials == 17 &&
          got.discarded == 4 && got.estimated == 2 && got.samples == 99);
    key.gpu = "NVIDIA H100"; /* another key, another file */
    CHECK(!tuner_load(&key, &space, again, sizeof again, &got) && strcmp(path, again));
    key.gpu = "NVIDIA_H200"; /* the same file, but not the same key */
    CHECK(!tuner_load(&key, &space, again, sizeof again, &got) && !strcmp(path, again));
    key.gpu = "NVIDIA H200";
    space.allowed[2] &= ~((uint64_t)1 << 2); /* what was chosen is not allowed any more */
    CHECK(!tuner_load(&key, &space, path, sizeof path, &got));
    space = space_of(0);
    space.groups = 3;
    CHECK(!tuner_load(&key, &space, path, sizeof path, &got));
    space.groups = GROUPS;
    CHECK(tuner_load(&key, &space, path, sizeof path, &got));
    FILE *f = fopen(path, "w");
    fputs("{", f);
    fclose(f);
    CHECK(!tuner_load(&key, &space, path, sizeof path, &got));
    unlink(path);
    setenv("CLAIMBENCH_CACHE", "/dev/null", 1);
    CHECK(tuner_save(&key, &space, &r, path, sizeof path) == -1);
    for (char *end = strchr(folder, 0); end > folder + 5; end = strrchr(folder, '/')) {
        *end = 0;
        char tuned[128];
        snprintf(tuned, sizeof tuned, "%s/tuned", folder);
        rmdir(tuned);
        rmdir(folder);
    }
}

int main(void)
{
    try_best();
    try_pairs();
    try_samples();
    try_refined();
    try_discarded();
    try_alone();
    try_every();
    try_record();
    return TEST_END();
}
