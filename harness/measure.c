/*
 * measure.c - rounds of windows: warm-up, stop rule, statistics.
 *
 * One case goes through: estimate every subject; choose mode and executions per
 * window; capture graphs; warm up until the clock is stable; rounds in random
 * order until the paired ratios are narrow, those beyond the least number only of
 * rows that the ratios wait for; a last untimed execution of each for the
 * caller's check, which is the timed one of a row that is timed once.
 */
#include "measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "error.h"

static const char *const cache_names[] = { "hot", "cold", "coldw" };
static const char *const regime_names[] = { "steady", "burst" };

const char *cb_cache_name(enum cb_cache c)
{
    return cache_names[c];
}

const char *cb_regime_name(enum cb_regime r)
{
    return regime_names[r];
}

const char *cb_mode_name(enum cb_mode m)
{
    return m == CB_MODE_E ? "E" : m == CB_MODE_G ? "G" : "L";
}

int cb_cache_parse(const char *text, enum cb_cache *out)
{
    for (int i = 0; i < 3; i++)
        if (!strcmp(text, cache_names[i])) {
            *out = (enum cb_cache)i;
            return 0;
        }
    return cb_error("cache state '%s' is none of hot, cold, coldw", text);
}

int cb_regime_parse(const char *text, enum cb_regime *out)
{
    for (int i = 0; i < 2; i++)
        if (!strcmp(text, regime_names[i])) {
            *out = (enum cb_regime)i;
            return 0;
        }
    return cb_error("regime '%s' is none of steady, burst", text);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void sleep_s(double s)
{
    struct timespec t = { (time_t)s, (long)((s - floor(s)) * 1e9) };
    nanosleep(&t, NULL);
}

void cb_timing_free(struct cb_timing *t)
{
    if (!t)
        return;
    free(t->us);
    free(t->clock_mhz);
    t->us = t->clock_mhz = NULL;
}

struct cb_interval cb_ratio(const struct cb_timing *a, const struct cb_timing *b, double alpha,
                            int *n)
{
    double rho[CB_ROUNDS_MAX];
    int count = 0, rounds = a->rounds < b->rounds ? a->rounds : b->rounds;
    for (int r = 0; r < rounds && count < CB_ROUNDS_MAX; r++)
        if (!isnan(a->us[r]) && !isnan(b->us[r]) && b->us[r] > 0)
            rho[count++] = a->us[r] / b->us[r];
    if (n)
        *n = count;
    return count ? cb_median_ci(rho, count, alpha) : (struct cb_interval){ 0 };
}

/* ---- one subject while it is measured ---- */

struct runner {
    struct cb_device *d;
    const struct cb_policy *p;
    const struct cb_subject *s;
    struct cb_session *session;
    struct cb_timing *t;
    struct cb_graph *graph;
    int refills;
    int next;  /* step at which the next window of plain launches starts */
    int every; /* takes part in every every-th round */
    bool last; /* is timed once, behind the rounds */
    bool rests; /* has its rounds: the stop rule does not wait for it */
    double round_us; /* windows of a round last so long together; 0: a millisecond, or one window */
};

static int gather_once(struct runner *r, struct cb_window *w)
{
    for (int i = 0; i < r->refills; i++)
        if (r->s->run(r->s->arg, 0))
            return -1;
    if (r->session->flush && cb_flush(r->d))
        return -1;
    if (r->graph)
        return cb_graph_window(r->d, r->graph, r->t->gate, w);
    int first = r->next;
    r->next = (first + r->t->k_exec) % (r->session->sets > 0 ? r->session->sets : 1);
    return cb_window(r->d, r->s->run, r->s->arg, first, r->t->k_exec, r->t->gate, w);
}

/* One window; one that the gate cut short is taken again with the gate off. */
static int sample(struct runner *r, double *us, double *mhz)
{
    struct cb_window w = { 0 };
    if (gather_once(r, &w))
        return -1;
    if (w.timed_out) {
        r->t->gate = false;
        if (gather_once(r, &w))
            return -1;
    }
    *us = w.us / r->t->k_exec;
    *mhz = w.clock_mhz;
    return 0;
}

/* Median of q windows: one round's value.  A window of a millisecond needs no
 * repetition, unless the clock follows the power: see settle. */
static int round_value(struct runner *r, double *us, double *mhz)
{
    enum { MOST = 32 };
    double t[MOST], f[MOST], window = r->t->estimate_us * r->t->k_exec;
    bool settled = r->round_us > 0;
    int most = settled ? MOST : r->p->samples_per_round;
    int q = window <= 0 || (r->t->mode == CB_MODE_G && !settled)
                ? 1
                : (int)ceil((settled ? r->round_us : 1e3) / window);
    q = q > most ? most : q;
    q = q < 1 ? 1 : q > MOST ? MOST : q;
    for (int i = 0; i < q; i++)
        if (sample(r, &t[i], &f[i]))
            return -1;
    *us = cb_median(t, q);
    *mhz = cb_median(f, q);
    return 0;
}

/* The only sample of a row that is timed once, in the place of the first round. */
static int sample_last(struct runner *r)
{
    return round_value(r, &r->t->us[0], &r->t->clock_mhz[0]);
}

static int again(void *arg)
{
    struct runner *r = arg;
    if (r->last)
        return sample_last(r);
    if (r->graph)
        return cb_graph_launch(r->d, r->graph) || cb_sync(r->d) ? -1 : 0;
    /* every set once, as the windows of plain launches do */
    for (int i = 0; i < (r->session->sets > 0 ? r->session->sets : 1); i++)
        if (r->s->run(r->s->arg, i))
            return -1;
    return cb_sync(r->d);
}

static int null_step(void *arg, int step)
{
    (void)step;
    return cb_null(arg);
}

/* ---- choosing mode and window ---- */

static int estimate(struct runner *r)
{
    double us[3];
    struct cb_window w;
    /* launch latency does not count in what took this long */
    if (r->s->hint_us > 5000) {
        r->t->estimate_us = r->s->hint_us;
        return 0;
    }
    for (int i = 0; i < 3; i++) {
        if (cb_window(r->d, r->s->run, r->s->arg, i % (r->session->sets ? r->session->sets : 1), 1,
                      false, &w))
            return -1;
        us[i] = w.us;
    }
    r->t->estimate_us = cb_median(us, 3) > 0.01 ? cb_median(us, 3) : 0.01;
    return 0;
}

/* Executions that fill a window, a multiple of the rotation. */
static int executions(const struct cb_policy *p, double us, int sets)
{
    double k = ceil(p->window_us / us);
    if (k > p->executions_max)
        k = p->executions_max;
    if (k < 1)
        k = 1;
    return (int)(ceil(k / sets) * sets);
}

static int choose(struct runner *r, int count, double fastest)
{
    const struct cb_policy *p = r[0].p;
    struct cb_session *session = r[0].session;
    struct cb_device *d = r[0].d;
    int k = executions(p, fastest, session->sets);
    bool plain = session->flush || (fastest >= p->window_us && session->sets == 1);
    for (int i = 0; i < count; i++) {
        struct cb_timing *t = r[i].t;
        t->far = p->far > 0 && t->estimate_us > p->far * fastest;
        t->remote = t->far && p->remote > 0 && t->estimate_us > p->remote * fastest &&
                    t->estimate_us >= p->remote_us;
        r[i].last = t->remote && p->remote_rounds == 1;
        r[i].every = t->remote ? (p->rounds_min + p->remote_rounds - 1) / p->remote_rounds
                     : t->far  ? p->far_every
                               : 1;
        /* what a far row needs is in the cache from the row before it, which had the same operands */
        r[i].refills = t->remote ? 0 : t->far ? session->refills / 2 : session->refills;
        t->gate = !r[i].s->syncs;
        t->k_exec = session->flush ? 1 : t->far ? executions(p, t->estimate_us, session->sets) : k;
        t->mode = CB_MODE_E;
        /* what is timed once is long: a graph, launched once before, would only add executions */
        if (plain || (r[i].last && t->k_exec == 1))
            continue;
        if (!r[i].last && !r[i].s->syncs && !r[i].s->no_capture &&
            cb_graph_make(d, r[i].s->run, r[i].s->arg, t->k_exec, &r[i].graph))
            return -1;
        if (r[i].graph) {
            t->mode = CB_MODE_G;
            if (cb_graph_launch(d, r[i].graph) || cb_sync(d)) /* first launch: ungated */
                return -1;
        } else {
            t->mode = CB_MODE_L;
            int most = session->sets > CB_GATE_MAX ? session->sets : CB_GATE_MAX;
            if (cb_device_info(d)->sm && t->k_exec > most)
                t->k_exec = most / session->sets * session->sets;
        }
    }
    return 0;
}

static int null_times(struct runner *r, int count)
{
    struct cb_device *d = r[0].d;
    if (!cb_device_info(d)->sm)
        return 0;
    int last = -1;
    double value = 0;
    for (int i = 0; i < count; i++) {
        struct cb_timing *t = r[i].t;
        if (t->mode != CB_MODE_G)
            continue;
        if (t->k_exec != last) {
            struct cb_graph *g = NULL;
            struct cb_window w;
            double us[5];
            int status = cb_graph_make(d, null_step, d, t->k_exec, &g);
            if (!status && g)
                status = cb_graph_launch(d, g) || cb_sync(d);
            for (int j = 0; !status && g && j < 5; j++) {
                status = cb_graph_window(d, g, true, &w);
                us[j] = w.us / t->k_exec;
            }
            value = status || !g ? 0 : cb_median(us, 5);
            cb_graph_free(d, g);
            if (status)
                return -1;
            last = t->k_exec;
        }
        t->null_us = value;
    }
    return 0;
}

/* ---- warm-up ---- */

/* Runs the near subjects in turns until the clocks of the last five slices of
 * 100 ms lie within 1 %, at least and at most as the policy says. */
static int warm_up(struct runner *r, int count)
{
    enum { SLICES = 5 };
    const struct cb_policy *p = r[0].p;
    struct cb_session *session = r[0].session;
    double least = session->first ? p->warmup_first_s : p->warmup_case_s;
    double start = now_s(), slice_start = start, mean[SLICES] = { 0 }, sum = 0;
    int slices = 0, n = 0;
    bool has_clock = cb_device_info(r[0].d)->sm > 0;
    session->clock_stable = !has_clock;
    for (int i = 0;; i = (i + 1) % count) {
        double us, mhz, now;
        if (r[i].t->far)
            continue;
        if (sample(&r[i], &us, &mhz))
            return -1;
        sum += mhz, n += mhz > 0;
        now = now_s();
        if (has_clock && now - slice_start >= 0.1) {
            double low = 1e9, high = 0;
            memmove(mean, mean + 1, (SLICES - 1) * sizeof *mean);
            mean[SLICES - 1] = n ? sum / n : 0;
            for (int s = 0; s < SLICES; s++) {
                low = fmin(low, mean[s]);
                high = fmax(high, mean[s]);
            }
            slices++;
            session->clock_stable = slices >= SLICES && low > 0 && high <= 1.01 * low;
            slice_start = now, sum = 0, n = 0;
        }
        session->warmup_s = now - start;
        if (session->warmup_s >= p->warmup_max_s)
            return 0;
        /* a later case of a process inherits the stable clock of the one before */
        if (session->warmup_s >= least && (session->clock_stable || !session->first))
            return 0;
    }
}

/* ---- rounds ---- */

static bool narrow(struct cb_interval i, double eps)
{
    return i.value > 0 && (i.high - i.low) / (2 * i.value) <= eps;
}

/* Does row i carry a headline ratio: the runner-up, or the fastest of a side
 * that the fastest of all is not of? */
static bool leads(const struct runner *r, const double *median, int count, int i, int best,
                  int second)
{
    if (i == second)
        return true;
    if (r[i].s->side == r[best].s->side)
        return false;
    for (int k = 0; k < count; k++)
        if (r[k].s->side == r[i].s->side && median[k] < median[i])
            return false;
    return true;
}

static bool converged(const struct runner *r, int count)
{
    const struct cb_policy *p = r[0].p;
    int best = -1, second = -1;
    double median[count];
    for (int i = 0; i < count; i++) {
        median[i] = r[i].t->far || r[i].rests ? INFINITY : cb_median(r[i].t->us, r[i].t->rounds);
        if (best < 0 || median[i] < median[best]) {
            second = best;
            best = i;
        } else if (second < 0 || median[i] < median[second]) {
            second = i;
        }
    }
    if (count == 1)
        return narrow(cb_median_ci(r[0].t->us, r[0].t->rounds, 0.05), p->eps);
    for (int i = 0; i < count; i++)
        if (i != best && median[i] <= p->converge_within * median[best] &&
            leads(r, median, count, i, best, second) &&
            !narrow(cb_ratio(r[i].t, r[best].t, 0.05, NULL), p->eps))
            return false;
    return true;
}

/* After the least number of rounds: rows that converged() does not look at have theirs. */
static void let_rest(struct runner *r, int count)
{
    const struct cb_policy *p = r[0].p;
    double median[count], best = INFINITY;
    for (int i = 0; i < count; i++) {
        median[i] = r[i].t->far || r[i].rests ? INFINITY : cb_median(r[i].t->us, r[i].t->rounds);
        best = fmin(best, median[i]);
    }
    for (int i = 0; i < count; i++)
        r[i].rests = r[i].rests || r[i].t->far || median[i] > p->converge_within * best;
}

static double clock_before; /* MHz that the case before in this process ended at; 0: none */

/* Has the clock of any row not yet come to rest? */
static bool clock_moves(const struct runner *r, int count)
{
    double f[CB_ROUNDS_MAX], most = 1e-3 * cb_device_info(r[0].d)->clock_khz;
    for (int i = 0; i < count; i++) {
        int n = 0;
        for (int k = 0; k < r[i].t->rounds; k++)
            if (r[i].t->clock_mhz[k] > 0)
                f[n++] = r[i].t->clock_mhz[k];
        if (cb_clock_moves(f, n, most, clock_before))
            return true;
    }
    return false;
}

/* until: the time on now_s() after which the case has been sampled long enough.
 * Rounds that a moving clock will have taken anew anyway end as soon as that is seen. */
static int rounds(struct runner *r, int count, enum cb_regime regime, uint64_t order_seed,
                  double until)
{
    const struct cb_policy *p = r[0].p;
    struct cb_session *session = r[0].session;
    int order[count], discard = p->rounds_discarded, test = p->rounds_min;
    uint64_t state = order_seed;
    double start = now_s();
    const char *stop = "max_samples";
    for (int i = 0; i < count; i++)
        order[i] = i;
    if (session->watch && session->watch->begin)
        session->watch->begin(session->watch->arg);
    const struct cb_watch *watch = session->watch;
    for (int round = -discard; round < p->rounds_max; round++) {
        cb_shuffle(order, count, &state);
        for (int o = 0; o < count; o++) {
            struct runner *x = &r[order[o]];
            double us = NAN, mhz = 0;
            bool turn = round < 0 ? !x->t->far || (round == -1 && !x->t->remote)
                                  : round % x->every == 0 && (!x->t->remote || round < p->rounds_min);
            if (turn && !x->last && !x->rests) {
                if (regime == CB_BURST)
                    sleep_s(0.05);
                if (round_value(x, &us, &mhz))
                    return -1;
            }
            if (round >= 0) {
                x->t->us[round] = us;
                x->t->clock_mhz[round] = mhz;
                x->t->rounds = round + 1;
            }
        }
        int n = round + 1;
        /* a round that a slow-down of the hardware overlaps is taken again, a fifth of them at most */
        if (watch && watch->throttled && watch->throttled(watch->arg) && n > 0 &&
            session->rounds_repeated < 1 + n / 5) {
            session->rounds_repeated++;
            round--;
            continue;
        }
        session->rounds = n > 0 ? n : 0;
        if (n >= p->rounds_min && now_s() > until && !converged(r, count)) {
            stop = "max_time";
            break;
        }
        if (n < test || (session->settled && now_s() - start < p->settled_s))
            continue;
        if (converged(r, count)) {
            stop = "converged";
            break;
        }
        if (regime == CB_STEADY && !session->settled && clock_moves(r, count))
            break;
        if (!session->settled) /* there all rows make the load that the clock follows */
            let_rest(r, count);
        test = cb_next_test(n);
    }
    for (int i = 0; i < count; i++)
        r[i].t->stop = stop;
    session->wall_s += now_s() - start;
    if (watch && watch->end)
        watch->end(watch->arg);
    return 0;
}

/* The rounds once more, at the clock that the case has come to. The clock that follows the power
 * swings over some milliseconds, so that they last settled_s at least, and few rows long enough each
 * to fill that with SETTLED_ROUNDS; many rows in short turns see the same clock: rounds of 10 ms a
 * row scattered by 3 to 10 %, those of a window by 1 to 2 %. */
static int settle(struct runner *r, int count, uint64_t order_seed, double until)
{
    enum { SETTLED_ROUNDS = 100 };
    struct cb_session *session = r[0].session;
    bool first = session->first;
    int near = 0;
    for (int i = 0; i < count; i++)
        near += !r[i].t->far;
    for (int i = 0; i < count; i++) {
        r[i].round_us = fmax(1e3, 1e6 * r[0].p->settled_s / (SETTLED_ROUNDS * near));
        r[i].rests = false;
    }
    session->first = true;
    session->settled = true;
    int status = warm_up(r, count);
    if (!status)
        status = rounds(r, count, CB_STEADY, order_seed, until + session->warmup_s);
    session->first = first;
    return status;
}

static int summarise(struct runner *r, int count)
{
    struct cb_session *session = r[0].session;
    size_t room = 0, n = 0;
    for (int i = 0; i < count; i++)
        room += (size_t)r[i].t->rounds;
    double *all = malloc((room ? room : 1) * sizeof *all);
    double *took = malloc((size_t)(session->rounds + 1) * sizeof *took);
    int status = all && took ? 0 : cb_error("no memory for statistics");
    for (int i = 0; !status && i < count; i++) {
        int taken = 0;
        for (int k = 0; k < r[i].t->rounds; k++) {
            if (!isnan(r[i].t->us[k]))
                took[taken++] = r[i].t->us[k];
            if (r[i].t->clock_mhz[k] > 0)
                all[n++] = r[i].t->clock_mhz[k];
        }
        if (taken)
            status = cb_stats(took, taken, &r[i].t->stats);
    }
    if (!status && n) {
        session->clock_median = cb_median(all, (int)n);
        session->clock_min = session->clock_max = all[0];
        for (size_t k = 0; k < n; k++) {
            session->clock_min = fmin(session->clock_min, all[k]);
            session->clock_max = fmax(session->clock_max, all[k]);
        }
    }
    free(all);
    free(took);
    return status;
}

int cb_measure(struct cb_device *d, const struct cb_policy *p, enum cb_cache cache,
               enum cb_regime regime, const struct cb_subject *subject, int count,
               uint64_t order_seed, struct cb_session *session, struct cb_timing *out)
{
    if (count < 1)
        return cb_error("nothing to measure");
    struct runner *r = calloc((size_t)count, sizeof *r);
    int status = r ? 0 : cb_error("no memory to measure %d implementations", count);
    double fastest = INFINITY;
    if (session->sets < 1)
        session->sets = 1;
    /* refilling the cache makes sense only if it can hold what is touched */
    session->refills = cache == CB_HOT && session->bytes <= 2 * session->l2 ? 2 : 0;
    for (int i = 0; !status && i < count; i++) {
        size_t room = (size_t)p->rounds_max;
        out[i] = (struct cb_timing){ .us = malloc(room * sizeof(double)),
                                     .clock_mhz = malloc(room * sizeof(double)) };
        r[i] = (struct runner){ .d = d, .p = p, .s = &subject[i], .session = session,
                                .t = &out[i] };
        if (!out[i].us || !out[i].clock_mhz)
            status = cb_error("no memory for %zu samples", room);
        else
            status = estimate(&r[i]);
        if (!status && out[i].estimate_us < fastest)
            fastest = out[i].estimate_us;
    }
    if (!status)
        status = choose(r, count, fastest) || null_times(r, count) || warm_up(r, count);
    double until = now_s() + p->t_max_s;
    if (!status)
        status = rounds(r, count, regime, order_seed, until);
    if (!status && regime == CB_STEADY && clock_moves(r, count))
        status = settle(r, count, order_seed, until);
    for (int i = 0; !status && i < count; i++)
        status = session->after ? session->after(session->after_arg, i, again, &r[i])
                 : r[i].last    ? sample_last(&r[i])
                                : 0;
    if (!status)
        status = summarise(r, count);
    clock_before = session->clock_median;
    for (int i = 0; r && i < count; i++)
        cb_graph_free(d, r[i].graph);
    free(r);
    return status ? -1 : 0;
}
