/*
 * test_measure.c - rounds of windows on the host, over work that takes a known time:
 * stop rule, rows that sit out, mode and window, what is asked after the rounds.
 */
#include <stdlib.h>
#include <time.h>

#include "../harness/error.h"
#include "../harness/measure.h"
#include "test.h"

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

/* Takes us microseconds. */
struct work {
    double us;
    int calls, fail_at;      /* fail_at: number of the call that fails; 0: none */
    int set_mask;            /* of the steps it was called with */
    double growth;           /* every call takes this much longer than the one before */
};

static int work(void *arg, int step)
{
    struct work *w = arg;
    double end = now_us() + w->us;
    w->calls++;
    w->set_mask |= 1 << step;
    w->us += w->growth;
    if (w->calls == w->fail_at)
        return cb_error("call %d failed", w->calls);
    while (now_us() < end)
        ;
    return 0;
}

static const struct cb_policy quick = {
    .name = "test", .invocations = 1, .warmup_max_s = 0.01, .rounds_discarded = 1,
    .rounds_min = 11, .rounds_max = 11, .samples_per_round = 1, .eps = 1, .t_max_s = 5,
    .window_us = 100, .executions_max = 64, .far_every = 1, .far_rounds = 6, .remote_rounds = 3,
    .converge_within = 1.5, .delta = 0.01, .flush_l2 = 3, .rotate_l2 = 2,
};

static struct cb_device *device;

static int measure(const struct cb_policy *p, struct work *w, int count, struct cb_session *session,
                   struct cb_timing *out)
{
    struct cb_subject subject[8] = { { 0 } };
    for (int i = 0; i < count; i++) {
        subject[i].run = work;
        subject[i].arg = &w[i];
        subject[i].side = i == 0;
    }
    for (int i = 0; i < 8; i++)
        out[i] = (struct cb_timing){ 0 };
    return cb_measure(device, p, CB_HOT, CB_STEADY, subject, count, 3, session, out);
}

static void release(struct cb_timing *t)
{
    for (int i = 0; i < 8; i++)
        cb_timing_free(&t[i]);
}

static int rounds_of(const struct cb_timing *t)
{
    int n = 0;
    for (int r = 0; r < t->rounds; r++)
        n += !isnan(t->us[r]);
    return n;
}

/* Times are those of the work; a machine that others use too may add to them. */
static void check_times(void)
{
    struct work w[2] = { { .us = 50 }, { .us = 80 } };
    struct cb_session s = { .first = true };
    struct cb_timing t[8];
    CHECK(!measure(&quick, w, 2, &s, t));
    CHECK(s.rounds == 11 && t[0].rounds == 11 && t[1].rounds == 11);
    /* at least the work; of eleven rounds on a busy machine the fastest is held to a maximum */
    CHECK(t[0].stats.n == 11 && t[0].stats.min >= 49.9 && t[0].stats.min < 120);
    CHECK(t[1].stats.min >= 79.9 && t[1].stats.min < 190);
    /* 100 us hold two executions of the faster row, and so of the other */
    CHECK(t[0].k_exec <= 2 && t[1].k_exec == t[0].k_exec && t[0].mode == CB_MODE_L);
    CHECK(!t[0].far && !t[1].far && !t[0].remote && s.wall_s > 0);
    /* the ratio of a round is paired with itself */
    int n;
    struct cb_interval r = cb_ratio(&t[1], &t[0], 0.05, &n);
    CHECK(n == 11 && r.value > 0.5 && r.value < 5 && r.low <= r.value && r.value <= r.high);
    r = cb_ratio(&t[0], &t[0], 0.05, &n);
    CHECK(n == 11 && r.value == 1 && r.low == 1 && r.high == 1);
    release(t);
    CHECK(!t[0].us && !t[0].clock_mhz);
}

/* One window that is as long as the policy wants holds one execution. */
static void check_window(void)
{
    struct work w[1] = { { .us = 150 } };
    struct cb_session s = { 0 };
    struct cb_timing t[8];
    CHECK(!measure(&quick, w, 1, &s, t));
    CHECK(t[0].k_exec == 1 && t[0].mode == CB_MODE_E);
    release(t);

    /* what rotates is in the window whole times, and every set has its turn */
    w[0] = (struct work){ .us = 5 };
    s = (struct cb_session){ .sets = 3 };
    struct cb_policy p = quick;
    p.executions_max = 4;
    CHECK(!measure(&p, w, 1, &s, t));
    CHECK(t[0].k_exec == 6 && t[0].mode == CB_MODE_L && w[0].set_mask == 63);
    release(t);

    /* with a flush in between there is one execution a window */
    w[0] = (struct work){ .us = 5 };
    s = (struct cb_session){ .sets = 1, .flush = true };
    p.rounds_min = p.rounds_max = 6;
    CHECK(!measure(&p, w, 1, &s, t));
    CHECK(t[0].k_exec == 1 && t[0].mode == CB_MODE_E);
    release(t);

    /* operands that fit the cache are touched before each hot window */
    s = (struct cb_session){ .bytes = 1000, .l2 = 1e6 };
    CHECK(!measure(&p, w, 1, &s, t) && s.refills == 2);
    release(t);
    s = (struct cb_session){ .bytes = 3e6, .l2 = 1e6 };
    CHECK(!measure(&p, w, 1, &s, t) && s.refills == 0);
    release(t);
}

struct after {
    const struct work *w;
    int order[8], runs[8], count, fail_at;
};

static int after(void *arg, int subject, int (*again)(void *), void *again_arg)
{
    struct after *a = arg;
    int before = a->w[subject].calls;
    if (again(again_arg))
        return -1;
    a->runs[a->count] = a->w[subject].calls - before;
    a->order[a->count++] = subject;
    return a->count == a->fail_at ? cb_error("the check failed") : 0;
}

/* Rows far from the fastest take part in some rounds, remote ones in a few. */
static void check_far(void)
{
    struct work w[3] = { { .us = 100 }, { .us = 600 }, { .us = 3000 } };
    struct cb_policy p = quick;
    struct cb_session s = { 0 };
    struct cb_timing t[8];
    p.far = 3;
    p.far_every = 2;
    p.remote = 10;
    p.remote_us = 2000;
    p.remote_rounds = 1;
    CHECK(!measure(&p, w, 3, &s, t));
    CHECK(!t[0].far && t[1].far && !t[1].remote && t[2].far && t[2].remote);
    CHECK(rounds_of(&t[0]) == 11 && rounds_of(&t[1]) == 6 && rounds_of(&t[2]) == 1);
    CHECK(t[1].rounds == 11 && t[2].rounds == 11);
    CHECK(t[1].stats.n == 6 && t[2].stats.n == 1 && t[2].stats.median >= 3000);
    for (int r = 0; r < 11; r++)
        CHECK(isnan(t[1].us[r]) == (r % 2 != 0));
    CHECK(!isnan(t[2].us[0]));
    int n;
    cb_ratio(&t[1], &t[0], 0.05, &n);
    CHECK(n == 6);
    cb_ratio(&t[2], &t[1], 0.05, &n);
    CHECK(n == 1);
    release(t);

    /* with somebody who asks after the rounds, the remote row is timed there, once in all */
    struct after a = { .w = w };
    s = (struct cb_session){ .after = after, .after_arg = &a };
    w[2].calls = 0;
    CHECK(!measure(&p, w, 3, &s, t));
    CHECK(a.count == 3 && a.runs[2] == 1 && rounds_of(&t[2]) == 1 && !isnan(t[2].us[0]));
    CHECK(w[2].calls == 4); /* three of them to estimate it */
    release(t);

    /* three rounds of a remote row are spread over the least number of rounds; none after it */
    p.remote_rounds = 3;
    p.rounds_max = 20;
    p.eps = 1e-6;
    p.t_max_s = 0;
    w[0].us = 100, w[1].us = 120, w[2].us = 3000;
    s = (struct cb_session){ 0 };
    CHECK(!measure(&p, w, 3, &s, t));
    CHECK(t[2].remote && rounds_of(&t[2]) == 3);
    release(t);

    /* slow in relation but short in itself: not remote */
    p = quick;
    p.far = 3, p.remote = 10, p.remote_us = 1e6;
    w[0].us = 20, w[1].us = 600;
    s = (struct cb_session){ 0 };
    CHECK(!measure(&p, w, 2, &s, t));
    CHECK(t[1].far && !t[1].remote && rounds_of(&t[1]) == 11);
    release(t);
}

static void check_stop(void)
{
    struct cb_policy p = quick;
    struct cb_session s = { 0 };
    struct cb_timing t[8];
    struct work w[2] = { { .us = 100 }, { .us = 105 } };
    p.rounds_min = 6;
    p.rounds_max = 200;
    p.eps = 1e9;
    /* any interval is narrow enough: the first test stops */
    CHECK(!measure(&p, w, 2, &s, t));
    CHECK_STR(t[0].stop, "converged");
    CHECK(s.rounds == 6);
    release(t);

    /* none is: the most rounds */
    p.eps = 1e-9;
    p.rounds_max = 14;
    s = (struct cb_session){ 0 };
    w[0].growth = 0.5; /* no two rounds have the same ratio */
    CHECK(!measure(&p, w, 2, &s, t));
    CHECK_STR(t[1].stop, "max_samples");
    CHECK(s.rounds == 14 && t[1].rounds == 14);
    release(t);

    /* the time is over, but never before the least number of rounds */
    p.rounds_max = 2000;
    p.t_max_s = 0;
    s = (struct cb_session){ 0 };
    CHECK(!measure(&p, w, 2, &s, t));
    CHECK_STR(t[0].stop, "max_time");
    CHECK(s.rounds == 6);
    release(t);

    /* a row that carries no headline ratio may be as wide as it likes */
    struct work three[3] = { { .us = 50 }, { .us = 50 }, { .us = 200, .growth = 20 } };
    p = quick;
    p.rounds_min = 6;
    p.rounds_max = 200;
    p.eps = 0.2;
    s = (struct cb_session){ 0 };
    CHECK(!measure(&p, three, 3, &s, t));
    CHECK_STR(t[0].stop, "converged");
    CHECK(s.rounds < 100); /* 6 on a quiet machine */
    release(t);
}

/* Rounds beyond the least number are of rows that the stop rule waits for. */
static void check_rest(void)
{
    struct work w[4] = { { .us = 100 }, { .us = 104 }, { .us = 180 }, { .us = 600 } };
    struct cb_policy p = quick;
    struct cb_session s = { 0 };
    struct cb_timing t[8];
    p.far = 3;
    p.converge_within = 1.5;
    p.rounds_max = 40;
    p.eps = 1e-9; /* never narrow enough */
    w[0].growth = 0.5;
    CHECK(!measure(&p, w, 4, &s, t));
    CHECK(s.rounds == 40 && rounds_of(&t[0]) == 40 && rounds_of(&t[1]) == 40);
    CHECK(!t[2].far && rounds_of(&t[2]) == 11 && t[2].stats.n == 11);
    CHECK(t[3].far && rounds_of(&t[3]) == 11);
    for (int r = 0; r < 40; r++)
        CHECK(isnan(t[2].us[r]) == (r >= 11));
    release(t);

    /* all of them where none is much slower */
    p.converge_within = 10;
    s = (struct cb_session){ 0 };
    CHECK(!measure(&p, w, 3, &s, t));
    CHECK(rounds_of(&t[2]) == 40);
    release(t);
}

/* ---- what is asked during and after ---- */

struct watcher {
    int begun, ended, asked, slow; /* slow: the first so many rounds are said to be throttled */
};

static void begin(void *arg)
{
    ((struct watcher *)arg)->begun++;
}

static void end(void *arg)
{
    ((struct watcher *)arg)->ended++;
}

static bool throttled(void *arg)
{
    struct watcher *w = arg;
    return w->asked++ < w->slow;
}

static void check_around(void)
{
    struct work w[2] = { { .us = 20 }, { .us = 20 } };
    struct watcher watcher = { .slow = 3 };
    const struct cb_watch watch = { begin, end, throttled, &watcher };
    struct after a = { .w = w };
    struct cb_session s = { .sets = 2, .watch = &watch, .after = after, .after_arg = &a };
    struct cb_policy p = quick;
    struct cb_timing t[8];
    CHECK(!measure(&p, w, 2, &s, t));
    CHECK(watcher.begun == 1 && watcher.ended == 1);
    /* a slowed-down round is taken again, in the beginning one in five at most */
    CHECK(s.rounds_repeated >= 1 && s.rounds_repeated <= 3 && s.rounds == 11);
    /* each subject once, on every set of operands */
    CHECK(a.count == 2 && a.order[0] == 0 && a.order[1] == 1 && a.runs[0] == 2 && a.runs[1] == 2);
    release(t);

    a = (struct after){ .w = w, .fail_at = 2 };
    s = (struct cb_session){ .after = after, .after_arg = &a };
    cb_error_clear();
    CHECK(measure(&p, w, 2, &s, t) == -1);
    CHECK_STR(cb_error_text(), "the check failed");
    release(t);
}

/* An execution that fails ends the measurement, wherever it is. */
static void check_failures(void)
{
    struct cb_timing t[8];
    struct cb_session s = { 0 };
    for (int n = 1; n <= 20; n += n < 6 ? 1 : 7) {
        struct work w[2] = { { .us = 120 }, { .us = 120, .fail_at = n } };
        s = (struct cb_session){ 0 };
        cb_error_clear();
        CHECK(measure(&quick, w, 2, &s, t) == -1);
        CHECK(strstr(cb_error_text(), "failed") && w[1].calls == n);
        release(t);
    }
    CHECK(measure(&quick, NULL, 0, &s, t) == -1);
    CHECK_STR(cb_error_text(), "nothing to measure");
}

/* The same seed gives the same order of launches. */
static int trace[400], traced;

static int traced_work(void *arg, int step)
{
    (void)step;
    if (traced < 400)
        trace[traced++] = *(int *)arg;
    return 0;
}

static void check_order(void)
{
    int name[3] = { 0, 1, 2 }, first[400], count = 0, differs = 0;
    struct cb_policy p = quick;
    p.warmup_max_s = 0;
    p.window_us = 1e-3;
    for (int run = 0; run < 3; run++) {
        struct cb_subject subject[3];
        struct cb_timing t[8] = { { 0 } };
        struct cb_session s = { 0 };
        for (int i = 0; i < 3; i++)
            subject[i] = (struct cb_subject){ .run = traced_work, .arg = &name[i] };
        traced = 0;
        CHECK(!cb_measure(device, &p, CB_HOT, CB_STEADY, subject, 3, run == 2 ? 8 : 7, &s, t));
        CHECK(traced >= 3 * (3 + 11));
        if (run == 0)
            memcpy(first, trace, sizeof first), count = traced;
        int same = traced == count && !memcmp(first, trace, (size_t)count * sizeof *first);
        if (run == 1)
            CHECK(same);
        else if (run == 2)
            differs = !same;
        release(t);
    }
    CHECK(differs);
}

static void check_names(void)
{
    enum cb_cache c = CB_HOT;
    enum cb_regime r = CB_STEADY;
    static const char *const caches[] = { "hot", "cold", "coldw" };
    for (int i = 0; i < 3; i++) {
        CHECK(!cb_cache_parse(caches[i], &c) && (int)c == i);
        CHECK_STR(cb_cache_name(c), caches[i]);
    }
    CHECK(!cb_regime_parse("burst", &r) && r == CB_BURST);
    CHECK_STR(cb_regime_name(CB_STEADY), "steady");
    CHECK(cb_cache_parse("warm", &c) == -1 && cb_regime_parse("", &r) == -1);
    CHECK_STR(cb_error_text(), "regime '' is none of steady, burst");
    CHECK_STR(cb_mode_name(CB_MODE_G), "G");
    cb_timing_free(NULL);
}

/* Rounds that only one of two took part in do not pair. */
static void check_ratio(void)
{
    double a[] = { 2, NAN, 4, 6, 8 }, b[] = { 1, 1, NAN, 3, 0 };
    struct cb_timing x = { .rounds = 5, .us = a }, y = { .rounds = 5, .us = b };
    int n = -1;
    struct cb_interval r = cb_ratio(&x, &y, 0.05, &n);
    CHECK(n == 2 && r.value == 2 && r.low == 2 && r.high == 2);
    y.rounds = 1;
    r = cb_ratio(&x, &y, 0.05, &n);
    CHECK(n == 1 && r.value == 2);
    y.rounds = 0;
    r = cb_ratio(&x, &y, 0.05, &n);
    CHECK(n == 0 && r.value == 0);
}

int main(void)
{
    CHECK(!cb_device_open("host", &device));
    check_names();
    check_ratio();
    check_times();
    check_window();
    check_far();
    check_rest();
    check_stop();
    check_around();
    check_failures();
    check_order();
    cb_device_close(device);
    return TEST_END();
}
