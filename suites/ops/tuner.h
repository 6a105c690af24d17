/*
 * tuner.h - greedy choice of one setting a group by the time of the whole, and its record.
 *
 * Groups are tuned in order.  Every allowed setting of a group is tried while earlier groups keep
 * what was chosen for them and later ones their first setting; what is kept is the fastest by the
 * mean of some samples of the whole.  Trials are groups x settings, not settings ^ groups, and the
 * best is found where times of groups add up.
 *
 * A setting may refine another, as a size that a dataflow is run with refines the dataflow.  First
 * all groups choose among settings that refine nothing, then, again in order, each among those that
 * refine its choice: the pruning of the publication.
 *
 * Where a group can be timed alone, its settings are first estimated: the fastest of three runs of
 * the group after one that warms up.  The whole is the sum of its groups and of what no setting
 * changes, so that the difference to the setting in force is what a setting would gain.  Settings
 * are tried in the order of these times, and those that would gain less than a thousandth of the
 * whole are discarded without a trial of it.  Only a trial of the whole makes a setting the choice.
 *
 * Samples above five times the mean of the trial so far are dropped, as published.  A trial ends
 * early, discarded,
 *     once what it kept took longer than all samples of the best so far;
 *     after two samples of which the fastest is 3 % above the mean of the best;
 *     after three of which none is below the mean of the best.
 *
 * What this pruning may miss, tuner_every finds: it times every allowed setting of every group.
 *
 * Source: Sparse Autotuner of TorchSparse++ (arXiv 2311.12862).
 */
#ifndef SUITES_OPS_TUNER_H
#define SUITES_OPS_TUNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TUNER_GROUPS_MAX = 16, TUNER_SETTINGS_MAX = 64 };

struct tuner_space {
    int groups, settings;
    uint64_t allowed[TUNER_GROUPS_MAX]; /* bit s: setting s; setting 0 always */
    int refines[TUNER_SETTINGS_MAX];    /* 1 + an earlier setting that refines none; 0: none */
    int samples;                        /* of a trial, >= 1 */
};

/* What is timed. */
struct tuner_subject {
    int (*choose)(void *context, const int *setting); /* [groups]; untimed.  0 or -1 */
    int (*sample)(void *context, double *us);         /* the whole once.  0 or -1 */
    /* One group of what was chosen, once; the whole ran before.  0 or -1; NULL: cannot be timed. */
    int (*alone)(void *context, int group, double *us);
    void *context;
};

struct tuner_result {
    int setting[TUNER_GROUPS_MAX];
    double first_us, us; /* mean with all first settings, and of what was chosen */
    double seconds;      /* of the search */
    int trials, discarded, samples; /* settings; of them discarded; samples of the whole */
    int estimated;                  /* of those discarded: by the time of the group alone */
    struct tuner_effort {
        int settings, trials; /* looked at, and of them tried: discarded ones, not estimated ones */
        double seconds;
    } effort[TUNER_GROUPS_MAX]; /* of each group; not in a record */
};

/* 0 with the choice in force, or -1 after cb_error: no space, or the subject failed. */
int tuner_search(const struct tuner_space *space, const struct tuner_subject *subject,
                 struct tuner_result *out);

/* Of every group the setting whose fastest of space->samples runs of the group alone is least,
 * among all that are allowed: nothing is estimated or discarded, and what refines another is tried
 * whatever was chosen.  Trials, samples and seconds are those of all groups; us and first_us 0.  0
 * with the choice in force, or -1 after cb_error: no space, no alone, or the subject failed. */
int tuner_every(const struct tuner_space *space, const struct tuner_subject *subject,
                struct tuner_result *out);

/* ---- record ---- */

/* What a result holds for, and the names of settings and groups. */
struct tuner_key {
    const char *row, *network, *workload, *gpu, *precision, *pass;
    const char *const *setting; /* [settings] */
    const char *const *group;   /* [groups] */
};

/*
 * A file KEY.json in the folder `tuned` of $CLAIMBENCH_CACHE, else of $XDG_CACHE_HOME/claimbench,
 * else of ~/.cache/claimbench:
 *
 *     schema "claimbench/tuned", version 1
 *     row network workload gpu precision pass     texts; all must be those asked for
 *     groups      [{ "group": name, "setting": name }] in order
 *     us first_us seconds      numbers: mean of the choice and of the first settings, of the search
 *     trials discarded estimated samples     whole numbers
 *
 * tuner_load: true if there is one that fits the key and the space; a file that does not fit, or
 * cannot be read, is as none.  tuner_save: 0 or -1 after cb_error.  path[size]: the file, also
 * where there is none.
 */
bool tuner_load(const struct tuner_key *key, const struct tuner_space *space, char *path,
                size_t size, struct tuner_result *out);
int tuner_save(const struct tuner_key *key, const struct tuner_space *space,
               const struct tuner_result *r, char *path, size_t size);

#endif
