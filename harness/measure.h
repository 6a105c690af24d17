/*
 * measure.h - timing the implementations of a case together.
 *
 * All implementations of a case run in turns: a round executes each of them
 * once, in random order.  A drifting clock then moves them all alike, and the
 * ratio of two of them within a round is free of the drift.  Every sample is
 * kept, so that another statistic can be drawn without measuring again.
 */
#ifndef HARNESS_MEASURE_H
#define HARNESS_MEASURE_H

#include <stdint.h>

#include "device.h"
#include "stats.h"

/* What is in the L2 cache when a launch starts. */
enum cb_cache {
    CB_HOT,  /* operands of the previous launch: one operand set */
    CB_COLD, /* none of the operands: all rotate */
    CB_COLDW /* activations and output, not the weights: weights rotate */
};
enum cb_regime {
    CB_STEADY, /* one window after another */
    CB_BURST   /* idle between windows: the latency of an occasional call */
};
const char *cb_cache_name(enum cb_cache c);   /* "hot", "cold", "coldw" */
const char *cb_regime_name(enum cb_regime r); /* "steady", "burst" */
int cb_cache_parse(const char *text, enum cb_cache *out);   /* 0 or -1 */
int cb_regime_parse(const char *text, enum cb_regime *out); /* 0 or -1 */

/* How long and how often; from configs/profiles/NAME.json. */
struct cb_policy {
    char name[32];
    int invocations;
    double warmup_first_s, warmup_max_s; /* first case of a process: at least, at most */
    double warmup_case_s;                /* later cases: at least */
    int rounds_discarded;
    int rounds_min, rounds_max; /* rounds_max <= CB_ROUNDS_MAX */
    int samples_per_round;      /* q; one where a window holds several executions */
    double eps;                 /* stop when the 95 % interval is this narrow, relative half-width */
    double t_max_s;             /* or after this long, warm-up apart */
    double settled_s;           /* rounds at a clock that follows the power last so long at least */
    double window_us;           /* shortest window; shorter executions are repeated in it */
    int executions_max;         /* in one window */
    /* A row estimated slower than `far` times the fastest is a far row: it gets
     * its own number of executions per window and is timed in every far_every-th
     * round, at least far_rounds times.  far = 0: no such rows. */
    double far;
    int far_every, far_rounds;
    /* A far row beyond `remote` times the fastest whose execution takes remote_us or
     * more is timed remote_rounds times only: that it is slower needs no narrow
     * interval.  0: no such rows. */
    double remote, remote_us;
    int remote_rounds;
    int far_once;               /* 1: far rows are measured in the first invocation only */
    double converge_within;     /* the best row of each side within this factor of the fastest
                                 * must converge; slower rows rest after rounds_min rounds */
    double delta;               /* margin of a verdict */
    double flush_l2, rotate_l2; /* scratch and rotation, in units of the L2 */
    double timeout_s;           /* of one case; 0: from the above */
    double cooldown_s;          /* idle between cases */
};
enum { CB_ROUNDS_MAX = 2000 };

/* One implementation under measurement. */
struct cb_subject {
    cb_enqueue_fn *run; /* step s works on operand set s mod sets */
    void *arg;
    bool syncs, no_capture; /* from the flags of the row */
    int side;               /* rows of one side are compared with those of another: the
                             * fastest of each is what a headline ratio is made of */
    double hint_us;         /* host-visible time of an earlier execution; 0: none */
};

enum cb_mode { CB_MODE_E, CB_MODE_G, CB_MODE_L }; /* event, graph, plain launches */
const char *cb_mode_name(enum cb_mode m);         /* "E", "G", "L" */

struct cb_timing {
    int rounds;          /* length of us; 0: not measured */
    double *us;          /* [rounds] microseconds per execution, NAN where the row sat out; owned */
    double *clock_mhz;   /* [rounds] or NULL; owned */
    struct cb_stats stats; /* over the rounds it took part in */
    enum cb_mode mode;
    int k_exec;          /* executions per window */
    bool far, remote, gate;
    double null_us;      /* an empty kernel in the same mode and k; 0: not measured */
    double estimate_us;
    const char *stop;    /* "converged", "max_samples" or "max_time" */
};

/* Who watches the device while a case is sampled; any member may be NULL. */
struct cb_watch {
    void (*begin)(void *arg), (*end)(void *arg); /* around the rounds */
    bool (*throttled)(void *arg); /* since it was last asked: the round is taken again */
    void *arg;
};

/* What cb_measure learns about the whole case. */
struct cb_session {
    int sets;            /* given: operand sets that rotate, 1 when hot */
    bool flush;          /* given: flush before every window (mode E) instead of rotation */
    bool first;          /* given: first case of this process */
    int rounds, rounds_repeated;
    double wall_s, clock_min, clock_max, clock_median; /* MHz; 0: unknown */
    double warmup_s;
    bool clock_stable;
    bool settled;        /* the clock moved: warmed up again until it was stable, rounds taken anew */
    double bytes;        /* given: bytes that one execution touches, 0: unknown; decides on refills */
    double l2;           /* given: bytes of the L2 */
    const struct cb_watch *watch; /* given, or NULL */
    int refills;         /* untimed executions before each hot window */
    /* Given, or NULL: called for every subject after the last round, while its graph
     * still exists; again(again_arg) repeats the path that was timed, untimed, and must be
     * called once: a remote row of remote_rounds 1 is timed by it.  A
     * return of -1 ends the measurement as a lost device. */
    int (*after)(void *arg, int subject, int (*again)(void *), void *again_arg);
    void *after_arg;
};

/* Measures count subjects; out [count] is released with cb_timing_free.  The
 * same order_seed gives the same order of launches.  0 or -1. */
int cb_measure(struct cb_device *d, const struct cb_policy *p, enum cb_cache cache,
               enum cb_regime regime, const struct cb_subject *subject, int count,
               uint64_t order_seed, struct cb_session *session, struct cb_timing *out);
void cb_timing_free(struct cb_timing *t); /* accepts NULL and { 0 } */

/* Paired ratio a/b over the rounds in which both took part, with its 95 %
 * interval (level 1 - alpha).  n rounds are used; value 0 if there is none. */
struct cb_interval cb_ratio(const struct cb_timing *a, const struct cb_timing *b, double alpha,
                            int *n);

#endif
