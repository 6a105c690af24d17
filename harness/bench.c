/*
 * bench.c - one case: inputs, set-up, correctness, measurement, correctness again.
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "error.h"

const char *cb_status_name(enum cb_status s)
{
    static const char *const names[] = { "ok",      "wrong",   "unsupported", "crashed",
                                         "timeout", "skipped", "oom",         "interrupted" };
    return names[s];
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

/* A case while it runs. */
struct job {
    struct cb_context *c;
    const struct cb_op *op;
    void *instance;
    struct cb_case *out;
    void **bound;      /* [out->count] */
    int weight_sets, input_sets;
    int expected;      /* set whose reference stands on the device; -1: none */
    void *scratch;     /* copy of an output, to compare two runs to the bit */
    size_t scratch_bytes;
    bool same;
    double least_us;   /* shortest host_us of a row that passed; 0: none yet */
    int *subject;      /* [count] index into out of each subject under measurement */
    int set;           /* of the check after the measurement */
};

/* What an error text says about a case; the texts of oom and out_of_bounds
 * come from device.c and the backends. */
static void give_up(struct cb_outcome *o, enum cb_status fallback)
{
    const char *text = cb_error_text();
    o->status = strstr(text, "oom: ") ? CB_OOM : fallback;
    snprintf(o->reason, sizeof o->reason, "%.255s", text);
}

static int weights_of(const struct job *j, int set)
{
    return set % j->weight_sets;
}

static int inputs_of(const struct job *j, int set)
{
    return set % j->input_sets;
}

/* ---- correctness ---- */

static int each_output(struct job *j, int i, int set, int (*act)(struct job *, struct cb_region, size_t))
{
    struct cb_region region[8];
    size_t at = 0;
    int n = j->op->outputs(j->bound[i], weights_of(j, set), inputs_of(j, set), region, 8);
    for (int k = 0; k < n; k++) {
        if (act(j, region[k], at))
            return -1;
        at += (region[k].bytes + 255) / 256 * 256;
    }
    return 0;
}

static int poison_ff(struct job *j, struct cb_region r, size_t at)
{
    (void)at;
    return cb_fill(j->c->device, r.data, 0xFF, r.bytes);
}

static int poison_a5(struct job *j, struct cb_region r, size_t at)
{
    (void)at;
    return cb_fill(j->c->device, r.data, 0xA5, r.bytes);
}

static int keep(struct job *j, struct cb_region r, size_t at)
{
    if (at + r.bytes > j->scratch_bytes) {
        void *more; /* with the regions before this one */
        if (cb_alloc(j->c->device, at + r.bytes, &more))
            return -1;
        if (at && cb_copy(j->c->device, more, j->scratch, at)) {
            cb_free(j->c->device, more);
            return -1;
        }
        cb_free(j->c->device, j->scratch);
        j->scratch = more;
        j->scratch_bytes = at + r.bytes;
    }
    return cb_copy(j->c->device, (char *)j->scratch + at, r.data, r.bytes);
}

static int against_kept(struct job *j, struct cb_region r, size_t at)
{
    bool same = false;
    if (cb_same(j->c->device, (char *)j->scratch + at, r.data, r.bytes, &same))
        return -1;
    j->same = j->same && same;
    return 0;
}

/* Does what the implementation left in the outputs of this set pass? 1, 0, or -1
 * with the device in doubt. */
static int passes(struct job *j, int i, int set)
{
    struct cb_outcome *o = &j->out->out[i];
    double limit = INFINITY;
    if (cb_guards_check(j->c->device)) {
        bool ours = strstr(cb_error_text(), "out_of_bounds") != NULL;
        give_up(o, CB_WRONG);
        return ours && !cb_guards_mend(j->c->device) ? 0 : -1;
    }
    if (o->impl->role == OP_ABLATION)
        return 1;
    if (j->expected != set) {
        if (j->op->expect(j->c, j->instance, weights_of(j, set), inputs_of(j, set)))
            return -1;
        j->expected = set;
    }
    o->r1 = o->r2 = (struct cb_accuracy){ .worst = -1 };
    if (j->op->check(j->c, j->bound[i], weights_of(j, set), inputs_of(j, set), &o->r1, &o->r2, &limit))
        return -1;
    if (o->r1.nonfinite)
        snprintf(o->reason, sizeof o->reason, "%ld of %ld elements are NaN or Inf", o->r1.nonfinite,
                 o->r1.compared);
    else if (o->r1.bad)
        snprintf(o->reason, sizeof o->reason, "%ld of %ld elements beyond their bound, worst at %ld by %.3g",
                 o->r1.bad, o->r1.compared, o->r1.worst, o->r1.max_abs);
    else if (!(o->r1.rel_fro <= limit))
        snprintf(o->reason, sizeof o->reason, "relative error %.3g beyond the limit %.3g",
                 o->r1.rel_fro, limit);
    else if (!o->r1.compared)
        snprintf(o->reason, sizeof o->reason, "no element was compared");
    else
        return 1;
    o->status = CB_WRONG;
    return 0;
}

/* A row so slow that it will be timed once, over poison and checked: that is its second execution.
 * A first one may also load its kernels, which takes milliseconds. */
static bool plainly_remote(const struct job *j, double host_us)
{
    enum { LOADING = 5 }; /* times remote_us */
    const struct cb_policy *p = j->c->policy;
    return p->remote > 0 && p->remote_rounds == 1 && !j->c->once && j->least_us > 0 &&
           host_us > LOADING * p->remote_us && host_us > p->remote * j->least_us;
}

/* Two runs over different poison: right both times, and equal to the bit?  One run of a row that
 * is plainly remote. */
static int check_before(struct job *j, int i)
{
    struct cb_outcome *o = &j->out->out[i];
    struct cb_device *d = j->c->device;
    for (int pass = 0; pass < 2; pass++) {
        if (each_output(j, i, 0, pass ? poison_a5 : poison_ff))
            return -1;
        double start = now_us();
        if (j->op->run(j->bound[i], 0, 0)) {
            give_up(o, CB_WRONG);
            return cb_sync(d); /* a launch that was refused leaves the device whole */
        }
        if (cb_sync(d))
            return -1;
        o->host_us = now_us() - start;
        int good = passes(j, i, 0);
        if (good < 0)
            return -1;
        if (!good)
            return 0;
        if (!pass && plainly_remote(j, o->host_us)) {
            o->ran_once = true;
            return 0;
        }
        if (!pass && each_output(j, i, 0, keep))
            return -1;
    }
    if (!j->least_us || o->host_us < j->least_us)
        j->least_us = o->host_us;
    j->same = true;
    if (each_output(j, i, 0, against_kept))
        return -1;
    o->deterministic = j->same;
    return 0;
}

/* After timing: a random set through the path that was timed. */
static int check_after(void *arg, int subject, int (*again)(void *), void *again_arg)
{
    struct job *j = arg;
    int i = j->subject[subject];
    struct cb_outcome *o = &j->out->out[i];
    double start = now_us();
    if (each_output(j, i, j->set, poison_ff) || again(again_arg))
        return -1;
    int good = passes(j, i, j->set);
    j->out->check_s += (now_us() - start) * 1e-6;
    if (good < 0)
        return -1;
    o->post_check = good;
    if (!good) {
        char text[200];
        snprintf(text, sizeof text, "%.199s", o->reason);
        snprintf(o->reason, sizeof o->reason, "after timing: %s", text);
    }
    return 0;
}

/* ---- operand sets ---- */

/* How many sets rotate so that nothing of a set is left in the L2 when its turn
 * comes again, or a flush where that takes too much memory. */
static int plan_sets(struct job *j)
{
    const struct cb_policy *p = j->c->policy;
    struct cb_session *s = &j->out->session;
    double w, in, out, l2 = (double)cb_device_info(j->c->device)->l2;
    size_t room;
    j->weight_sets = j->input_sets = 1;
    j->op->set_bytes(j->instance, &w, &in, &out);
    s->sets = 1;
    s->bytes = w + in + out;
    s->l2 = l2;
    if (cb_memory_free(j->c->device, &room))
        return -1;
    if (s->bytes > 0.9 * (double)room)
        return cb_error("oom: the operands take %.1f GB, %.1f GB are free", s->bytes * 1e-9,
                        (double)room * 1e-9);
    if (j->c->cache == CB_HOT)
        return 0;
    double f = j->c->cache == CB_COLD ? w + in + out : w;
    double sets = f > 0 ? fmax(2, ceil(p->rotate_l2 * l2 / f) + 1) : INFINITY;
    double total = sets * f + (j->c->cache == CB_COLD ? 0 : in + out);
    if (sets > p->executions_max || total > 0.5 * (double)room) {
        if (j->c->cache == CB_COLDW)
            return cb_error("unsupported: coldw needs %.0f sets of weights of %.0f bytes", sets, f);
        s->flush = true;
        return 0;
    }
    s->sets = (int)sets;
    j->weight_sets = s->sets;
    if (j->c->cache == CB_COLD)
        j->input_sets = s->sets;
    /* the invariant: between two uses of a set, the others must have filled the L2 twice */
    if ((s->sets - 1) * f < p->rotate_l2 * l2)
        return cb_error("rotation of %d sets of %.0f bytes does not leave the L2 cold", s->sets, f);
    return 0;
}

/* ---- one implementation ---- */

static bool left_out(const struct cb_context *c, const char *name)
{
    for (int i = 0; c->leave_out && c->leave_out[i]; i++)
        if (!strcmp(c->leave_out[i], name))
            return true;
    return false;
}

static bool applies(struct job *j, struct cb_outcome *o)
{
    const struct op_impl *i = o->impl;
    int sm = cb_device_info(j->c->device)->sm;
    const char *why = "";
    o->status = CB_SKIPPED;
    if (i->sm_min > 0 && sm == 0) {
#ifdef WITH_CUDA
        snprintf(o->reason, sizeof o->reason, "no device");
#else
        snprintf(o->reason, sizeof o->reason, "not built");
#endif
        return false;
    }
    if (i->sm_max == 0 && sm > 0) {
        snprintf(o->reason, sizeof o->reason, "runs on the host only");
        return false;
    }
    o->status = CB_UNSUPPORTED;
    if (sm < i->sm_min || sm > i->sm_max) {
        snprintf(o->reason, sizeof o->reason, "needs compute capability %d.%d to %d.%d",
                 i->sm_min / 10, i->sm_min % 10, i->sm_max / 10, i->sm_max % 10);
        return false;
    }
    if (j->op->ready(j->instance, i, &why) != OP_OK) {
        snprintf(o->reason, sizeof o->reason, "%s", why ? why : "not supported");
        return false;
    }
    o->status = CB_OK;
    o->left_out = left_out(j->c, i->name);
    return !o->left_out;
}

static int timed_check(struct job *j, int i)
{
    double start = now_us();
    int status = check_before(j, i);
    j->out->check_s += (now_us() - start) * 1e-6;
    return status;
}

static int set_up(struct job *j, int i)
{
    struct cb_outcome *o = &j->out->out[i];
    double start = now_us();
    if (j->op->bind(j->c, j->instance, o->impl, &j->bound[i])) {
        give_up(o, CB_UNSUPPORTED);
        return cb_sync(j->c->device);
    }
    if (cb_sync(j->c->device))
        return -1;
    o->setup_us = now_us() - start;
    j->out->bind_s += o->setup_us * 1e-6;
    o->work = j->op->work ? j->op->work(j->instance, o->impl) : (struct cb_work){ 0 };
    if (j->op->choice && j->op->choice(j->bound[i]))
        snprintf(o->choice, sizeof o->choice, "%s", j->op->choice(j->bound[i]));
    return j->op->untimed ? 0 : timed_check(j, i);
}

static void drop(struct job *j, int i)
{
    if (j->bound[i])
        j->op->unbind(j->bound[i]);
    j->bound[i] = NULL;
}

/* ---- the case ---- */

struct step_arg {
    struct job *j;
    int i;
};

static int run_step(void *arg, int step)
{
    struct step_arg *s = arg;
    return s->j->op->run(s->j->bound[s->i], weights_of(s->j, step), inputs_of(s->j, step));
}

static int measure(struct job *j)
{
    struct cb_case *out = j->out;
    size_t n = (size_t)out->count;
    struct cb_subject *subject = calloc(n, sizeof *subject);
    struct step_arg *arg = calloc(n, sizeof *arg);
    struct cb_timing *timing = calloc(n, sizeof *timing);
    int count = 0, status = subject && arg && timing ? 0 : cb_error("no memory for a case");
    for (int i = 0; !status && i < out->count; i++) {
        if (out->out[i].status != CB_OK || out->out[i].left_out)
            continue;
        unsigned flags = out->out[i].impl->flags;
        arg[count] = (struct step_arg){ j, i };
        subject[count] = (struct cb_subject){ run_step, &arg[count], (flags & OP_SYNCS) != 0,
                                              (flags & OP_NO_CAPTURE) != 0,
                                              out->out[i].impl->role == OP_BASELINE,
                                              out->out[i].host_us };
        j->subject[count++] = i;
    }
    if (!status && count) {
        uint64_t state = j->c->order_seed ^ 0xC0FFEEu;
        out->session.first = j->c->first;
        out->session.watch = j->c->watch;
        out->session.after = check_after;
        out->session.after_arg = j;
        /* None that was checked before: its result may be kept.  Where only weights rotate,
         * one output serves all of them and holds what the last set gave. */
        if (out->session.sets > 1)
            j->set = j->input_sets < out->session.sets
                         ? out->session.sets - 1
                         : 1 + (int)(cb_splitmix(&state) % (uint64_t)(out->session.sets - 1));
        status = cb_reset_l2(j->c->device) ||
                 cb_measure(j->c->device, j->c->policy, j->c->cache, j->c->regime, subject, count,
                            j->c->order_seed, &out->session, timing);
    }
    for (int s = 0; timing && s < count; s++) {
        struct cb_outcome *o = &out->out[j->subject[s]];
        if (!status && o->status == CB_OK)
            o->timing = timing[s];
        else
            cb_timing_free(&timing[s]); /* what is wrong has no time */
    }
    free(subject);
    free(arg);
    free(timing);
    return status ? -1 : 0;
}

/* What a profiler is to see: one more execution of each row behind a mark, 1 for the first row. */
static int show(struct job *j)
{
    if (cb_profile(j->c->device, true))
        return -1;
    for (int i = 0; i < j->out->count; i++) {
        if (j->out->out[i].status != CB_OK || j->out->out[i].left_out)
            continue;
        if (cb_mark(j->c->device, i + 1) || j->op->run(j->bound[i], 0, 0) || cb_sync(j->c->device))
            return -1;
    }
    return cb_profile(j->c->device, false);
}

static int run_untimed(struct job *j)
{
    for (int i = 0; i < j->out->count; i++) {
        struct cb_outcome *o = &j->out->out[i];
        if (o->status != CB_OK)
            continue;
        double start = now_us();
        if (j->op->run && j->op->run(j->bound[i], 0, 0)) {
            give_up(o, CB_WRONG);
            continue;
        }
        if (cb_sync(j->c->device))
            return -1;
        o->host_us = now_us() - start;
    }
    return 0;
}

static void collect(struct job *j)
{
    struct cb_case *out = j->out;
    out->status = CB_OK;
    for (int i = 0; i < out->count; i++) {
        struct cb_outcome *o = &out->out[i];
        if (o->status == CB_OK && j->op->figures && j->bound[i])
            o->figure_count = j->op->figures(j->bound[i], o->figures);
        bool excused = o->status == CB_OK || o->status == CB_UNSUPPORTED ||
                       o->status == CB_SKIPPED || (o->impl->flags & OP_KNOWN_WRONG);
        if (!excused && out->status == CB_OK) {
            out->status = o->status;
            snprintf(out->reason, sizeof out->reason, "%.60s: %.180s", o->impl->name, o->reason);
        }
    }
}

int cb_run_case(struct cb_context *c, const struct cb_op *op, const void *params,
                const struct op_impl *const *impl, struct cb_case *out)
{
    struct job j = { .c = c, .op = op, .out = out, .expected = -1, .weight_sets = 1, .input_sets = 1 };
    int count = 0, status = 0, aa = c->aa;
    bool whole = false;
    double start = now_us();
    memset(out, 0, sizeof *out);
    while (impl[count])
        count++;
    out->count = count + (aa >= 0 && aa < count);
    out->out = calloc((size_t)out->count + 1, sizeof *out->out);
    j.bound = calloc((size_t)out->count + 1, sizeof *j.bound);
    j.subject = calloc((size_t)out->count + 1, sizeof *j.subject);
    if (!out->out || !j.bound || !j.subject) {
        status = cb_error("no memory for a case");
        goto done;
    }
    for (int i = 0; i < out->count; i++) {
        out->out[i].impl = impl[i < count ? i : aa];
        out->out[i].copy = i < count ? 1 : 2;
    }
    out->status = CB_OK;
    if (op->open(c, params, &j.instance)) {
        const char *text = cb_error_text();
        /* an input that this machine has not got is no failure */
        bool absent = strstr(text, "not available") != NULL;
        out->status = strstr(text, "oom: ") ? CB_OOM : absent ? CB_SKIPPED : CB_WRONG;
        snprintf(out->reason, sizeof out->reason, "%.255s", text);
        goto record;
    }
    if (op->inputs)
        out->input_count = op->inputs(j.instance, out->inputs);
    if (op->statistics)
        out->statistic_count = op->statistics(j.instance, out->statistics);
    int ready = 0;
    for (int i = 0; i < out->count; i++)
        ready += applies(&j, &out->out[i]);
    if (ready && !op->untimed) {
        if (plan_sets(&j) || op->prepare(c, j.instance, j.weight_sets, j.input_sets)) {
            const char *text = cb_error_text();
            out->status = strstr(text, "oom: ") ? CB_OOM
                          : strstr(text, "unsupported: ") ? CB_UNSUPPORTED
                                                          : CB_CRASHED;
            snprintf(out->reason, sizeof out->reason, "%.255s", text);
            if (out->status == CB_CRASHED)
                status = -1;
            goto record;
        }
    }
    out->prepare_s = (now_us() - start) * 1e-6;
    for (int i = 0; i < out->count && !status; i++) {
        if (out->out[i].status != CB_OK || out->out[i].left_out)
            continue;
        cb_error_clear();
        status = set_up(&j, i);
        if (status) { /* a fault: this implementation did it, the context is lost */
            give_up(&out->out[i], CB_CRASHED);
        } else if (out->out[i].status != CB_OK) {
            drop(&j, i);
        }
    }
    if (!status)
        status = op->untimed ? run_untimed(&j) : c->once ? show(&j) : measure(&j);
    if (status && out->status == CB_OK) {
        out->status = strstr(cb_error_text(), "oom: ") ? CB_OOM : CB_CRASHED;
        snprintf(out->reason, sizeof out->reason, "%.255s", cb_error_text());
        goto record;
    }
    collect(&j);
    whole = true;
record:
    if (!whole) /* rows that had no turn share what happened to the case */
        for (int i = 0; i < out->count; i++) {
            struct cb_outcome *o = &out->out[i];
            if (o->status == CB_OK && !o->timing.rounds && !o->left_out) {
                o->status = out->status == CB_WRONG ? CB_SKIPPED : out->status;
                snprintf(o->reason, sizeof o->reason, "%s", out->reason);
            }
        }
done:
    for (int i = 0; j.bound && i < out->count; i++)
        drop(&j, i);
    cb_free(c->device, j.scratch);
    if (j.instance)
        op->close(j.instance);
    free(j.bound);
    free(j.subject);
    out->wall_s = (now_us() - start) * 1e-6;
    return status ? -1 : 0;
}

void cb_case_free(struct cb_case *out)
{
    for (int i = 0; i < out->count; i++)
        cb_timing_free(&out->out[i].timing);
    free(out->out);
    out->out = NULL;
    out->count = 0;
}
