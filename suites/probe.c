/* probe.c - environment, ceilings and self-test of a device. */
#include "probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/env.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../harness/runner.h"
#include "suite.h"

/* ---- a small verified kernel ---- */

static int verify(struct cb_device *d)
{
    enum { N = 1 << 16 };
    float *p = NULL, *host = malloc(N * sizeof *host);
    int status = host ? cb_alloc(d, N * sizeof *p, (void **)&p) : cb_error("no memory");
    if (!status)
        status = cb_random(d, p, CB_F32, CB_UNIFORM, 42, 1, 0, 1, N, false) || cb_sync(d) ||
                 cb_download(d, host, p, N * sizeof *p) || cb_guards_check(d);
    for (long i = 0; !status && i < N; i++)
        if (host[i] != cb_random_at(CB_UNIFORM, 42, 1, 0, (uint64_t)i))
            status = cb_error("a small kernel gave a wrong number at %ld", i);
    cb_free(d, p);
    free(host);
    return status;
}

/* ---- timer ---- */

static int null_work(void *d, int step)
{
    (void)step;
    return cb_null(d);
}

struct spinning {
    struct cb_device *d;
    double us;
};

static int spin_work(void *arg, int step)
{
    struct spinning *s = arg;
    (void)step;
    return cb_spin(s->d, s->us);
}

static double median_window(struct cb_device *d, cb_enqueue_fn *work, void *arg, int count)
{
    enum { TIMES = 15 };
    double us[TIMES];
    struct cb_window w;
    for (int i = -2; i < TIMES; i++) {
        if (cb_window(d, work, arg, 0, count, i >= -1, &w))
            return NAN;
        if (i >= 0)
            us[i] = w.us;
    }
    return cb_median(us, TIMES);
}

static double null_in_graph(struct cb_device *d)
{
    enum { K = 100, TIMES = 15 };
    struct cb_graph *g;
    struct cb_window w;
    double us[TIMES];
    if (cb_graph_make(d, null_work, d, K, &g) || !g)
        return 0;
    int status = cb_graph_launch(d, g) || cb_sync(d);
    for (int i = 0; i < TIMES && !status; i++) {
        status = cb_graph_window(d, g, true, &w);
        us[i] = w.us / K;
    }
    cb_graph_free(d, g);
    return status ? NAN : cb_median(us, TIMES);
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

/* A spin kernel of 50, 200 and 1000 us must be reported within 1 us or 0.5 %. */
static json_t *timer(struct cb_device *d, bool *ok)
{
    static const double lengths[] = { 50, 200, 1000 };
    double tick = 0, empty = median_window(d, null_work, d, 0);
    json_t *t = json_object(), *spins = json_array();
    *ok = true;
    if (cb_timer_tick_ns(d, &tick))
        tick = NAN;
    json_object_set_new(t, "globaltimer_tick_ns", number(tick));
    json_object_set_new(t, "event_empty_us", number(empty));
    json_object_set_new(t, "null_E_us", number(median_window(d, null_work, d, 1)));
    json_object_set_new(t, "null_G_us", number(null_in_graph(d)));
    double base = median_window(d, null_work, d, 1);
    for (int i = 0; i < 3; i++) {
        struct spinning s = { d, lengths[i] };
        double us = median_window(d, spin_work, &s, 1);
        /* the kernel spins at least that long by the device's timer, whose tick may be coarse;
         * its launch is what a null kernel costs */
        double over = us - lengths[i] - (isfinite(base) ? base : 0);
        double allowed = fmax(1, 0.005 * lengths[i]) + tick * 1e-3;
        bool good = fabs(over) <= allowed;
        *ok = *ok && good;
        json_array_append_new(spins, json_pack("{s:f,s:o,s:b}", "asked_us", lengths[i], "measured_us", number(us), "ok", (int)good));
    }
    json_object_set_new(t, "spin", spins);
    return t;
}

/* ---- ceilings ---- */

static json_t *ceiling_json(const struct cb_ceiling *c)
{
    return json_pack("{s:i,s:s,s:f,s:s,s:[f,f],s:f}", "device", 0, "id", c->id, "value", c->value, "unit",
                     c->unit, "ci95", c->low, c->high, "bytes", c->bytes);
}

/* Rates of the tensor cores: what the vendor's library reaches on a few large products. */
static const struct tensor {
    const char *id, *row;
    int sizes; /* that are tried */
} tensors[] = { { "tensor_fp16", "cublas_f16", 3 },
                { "tensor_int8", "cublaslt_int8_alone", 2 },
                { "tensor_fp8", "cublaslt_fp8", 2 } };

/* NULL where the row does not run. */
static json_t *tensor_peak(struct cb_device *d, const struct tensor *of)
{
    static const int sizes[][3] = { { 8192, 8192, 8192 }, { 4096, 8192, 8192 }, { 8192, 4096, 16384 } };
    const struct cb_policy policy = { .name = "ceiling", .invocations = 1, .warmup_first_s = 0.3, .warmup_max_s = 1,
        .warmup_case_s = 0.1, .rounds_discarded = 1, .rounds_min = 11, .rounds_max = 21, .samples_per_round = 1,
        .eps = 0.005, .t_max_s = 1, .window_us = 200, .executions_max = 4096, .converge_within = 1.5,
        .delta = 0.01, .flush_l2 = 3, .rotate_l2 = 2 };
    const struct cb_op *op = suite_op("gemm");
    const struct op_impl *impl[2] = { NULL, NULL }, *i;
    struct cb_context c = { .device = d, .policy = &policy, .cache = CB_HOT, .seed = 1, .order_seed = 1, .aa = -1, .first = true };
    json_t *best = NULL;
    double most = 0;
    for (int k = 0; op && (i = op->impl(k)); k++)
        if (!strcmp(i->name, of->row))
            impl[0] = i;
    for (int s = 0; impl[0] && s < of->sizes; s++) {
        struct cb_case out;
        void *params = calloc(1, op->params_size);
        json_t *j = json_pack("{s:i,s:i,s:i}", "m", sizes[s][0], "n", sizes[s][1], "k", sizes[s][2]);
        int status = params ? cb_params_from_json(op, j, params) : -1;
        json_decref(j);
        if (!status && !cb_run_case(&c, op, params, impl, &out)) {
            const struct cb_timing *t = &out.out[0].timing;
            double flops = out.out[0].work.flops;
            if (t->rounds && flops / t->stats.median > most) {
                most = flops / t->stats.median;
                json_decref(best);
                best = json_pack("{s:i,s:s,s:f,s:s,s:[f,f],s:[i,i,i]}", "device", 0, "id", of->id, "value",
                                 1e6 * most, "unit", "op/s", "ci95", 1e6 * flops / t->stats.ci95.high,
                                 1e6 * flops / t->stats.ci95.low, "shape", sizes[s][0], sizes[s][1], sizes[s][2]);
            }
        }
        if (!status)
            cb_case_free(&out);
        free(params);
        c.first = false;
    }
    return best;
}

static json_t *ceilings(struct cb_device *d)
{
    struct cb_ceiling c[CB_CEILINGS_MAX];
    json_t *list = json_array();
    int n = cb_ceilings(d, c);
    for (int i = 0; i < n; i++)
        json_array_append_new(list, ceiling_json(&c[i]));
    for (size_t t = 0; t < sizeof tensors / sizeof *tensors && cb_device_info(d)->sm >= 70; t++) {
        json_t *peak = tensor_peak(d, tensors + t);
        if (peak)
            json_array_append_new(list, peak);
    }
    return list;
}

/* ---- cold check ---- */

struct copying {
    struct cb_device *d;
    void *buffer, *out;
    size_t bytes;
};

static int same_work(void *arg, int step)
{
    struct copying *c = arg;
    (void)step;
    return cb_copy(c->d, c->out, c->buffer, c->bytes);
}

/* A copy of an eighth of the L2: cold it must not be faster than the memory,
 * hot it must be. */
static json_t *cold_check(struct cb_device *d, double dram, bool *ok)
{
    enum { TIMES = 11 };
    struct copying c = { .d = d, .bytes = cb_device_info(d)->l2 / 8 / 256 * 256 };
    double hot[TIMES], cold[TIMES];
    struct cb_window w;
    *ok = false;
    int status = cb_alloc(d, c.bytes, &c.buffer) || cb_alloc(d, c.bytes, &c.out) ||
                 cb_fill(d, c.buffer, 7, c.bytes);
    for (int i = 0; i < TIMES && !status; i++) {
        status = same_work(&c, 0) || same_work(&c, 0) || cb_window(d, same_work, &c, 0, 1, true, &w);
        hot[i] = w.us;
        status = status || cb_flush(d) || cb_window(d, same_work, &c, 0, 1, true, &w);
        cold[i] = w.us;
    }
    cb_free(d, c.buffer);
    cb_free(d, c.out);
    if (status)
        return NULL;
    double h = 2e6 * (double)c.bytes / cb_median(hot, TIMES), k = 2e6 * (double)c.bytes / cb_median(cold, TIMES);
    *ok = k <= 1.1 * dram && h > k;
    return json_pack("{s:f,s:f,s:f,s:b}", "bytes", (double)c.bytes, "hot_bps", h, "cold_bps", k, "ok", (int)*ok);
}

static double value_of(const json_t *list, const char *id)
{
    size_t i;
    json_t *c;
    json_array_foreach((json_t *)list, i, c)
        if (!strcmp(cb_json_text(c, "id"), id))
            return json_number_value(json_object_get(c, "value"));
    return 0;
}

/* ---- the child ---- */

static json_t *answer_of(const char *what, const char *device)
{
    struct cb_device *d = NULL;
    json_t *answer = json_object();
    bool timer_ok, cold_ok;
    if (!strcmp(what, "count")) {
        json_object_set_new(answer, "gpus", json_integer(cb_device_count()));
        return answer;
    }
    if (cb_device_open(device, &d)) {
        json_decref(answer);
        return NULL;
    }
    const struct cb_device_info *info = cb_device_info(d);
    json_object_set_new(answer, "name", json_string(info->name));
    json_object_set_new(answer, "slug", json_string(info->slug));
    json_object_set_new(answer, "uuid", json_string(info->uuid));
    json_object_set_new(answer, "sm", json_integer(info->sm));
    int status = !strcmp(what, "identify") ? 0 : verify(d);
    if (!status && (!strcmp(what, "quick") || !strcmp(what, "full") || !strcmp(what, "selftest"))) {
        json_t *env = cb_env(d);
        if (!env)
            status = -1;
        else
            json_object_set_new(answer, "env", env);
        json_object_set_new(answer, "timer", timer(d, &timer_ok));
        json_object_set_new(answer, "timer_ok", json_boolean(timer_ok || !info->sm));
    }
    if (!status && (!strcmp(what, "full") || !strcmp(what, "selftest"))) {
        json_t *list = ceilings(d);
        json_object_set_new(answer, "ceilings", list);
        if (info->sm) {
            json_t *cold = cold_check(d, value_of(list, "dram_copy"), &cold_ok);
            json_object_set_new(answer, "cold_check", cold ? cold : json_null());
            json_object_set_new(answer, "cold_unverified", json_boolean(!cold_ok));
        }
    }
    if (status) {
        json_decref(answer);
        answer = NULL;
    }
    cb_device_close(d);
    return answer;
}

int probe_worker(const json_t *plan)
{
    json_t *answer = answer_of(cb_json_text(plan, "probe"), cb_json_text(plan, "device"));
    if (!answer) {
        cb_child_tell(json_pack("{s:s,s:s}", "event", "failed", "error", cb_error_text()));
        return 14;
    }
    return cb_child_tell(json_pack("{s:s,s:o}", "event", "probe", "answer", answer)) ? 14 : 0;
}
