/* bev_vendor_cuda.c - see bev_vendor.h. */
#include "bev_vendor.h"

#include <math.h>
#include <stdlib.h>

#include <cuda_runtime_api.h>

enum { REPEATS = 8, FILLS = 2, REPLAYS = 2 };
static const float LAUNCH_MS = .1f; /* what a launch of its own may add */

static half_bits *take(const struct op_memory *m, size_t elements, int *failed)
{
    half_bits *p = m->take(m->context, elements * sizeof *p);
    *failed |= !p;
    return p;
}

enum op_status bev_vendor_open(const struct bev_problem *p, const struct bev_args *a,
                               const struct op_memory *m, op_stream s, struct bev_vendor *v)
{
    const struct bev_shape *n = bev_shape_of(p);
    const struct bev_layer *last = &bev_layers[n->end - 1];
    const size_t half_neck = bev_map_size(p, BEV_NECK) / 2;
    const size_t last_weights = bev_weight_at(n->end) - bev_weight_at(n->end - 1);
    int failed = 0;
    for (int i = 0; i < BEV_RESULT; i++)
        v->map[i] = take(m, bev_map_size(p, (enum bev_map)i), &failed);
    v->plain = take(m, half_neck, &failed);
    v->up = take(m, half_neck, &failed);
    v->rows = take(m, (size_t)p->side * (size_t)p->side * (size_t)last->rows, &failed);
    v->bias = take(m, bev_bias_at(n->end), &failed);
    v->outputs = take(m, last_weights * (size_t)last->groups, &failed);
    v->pattern = take(m, BEV_PERIOD, &failed);
    v->workspace = m->take(m->context, BEV_WORKSPACE);
    v->got = m->take(m->context, sizeof *v->got);
    if (failed || !v->workspace || !v->got)
        return OP_ENOMEM;
    const enum op_status status = bev_spread(last, a->w + bev_weight_at(n->end - 1), v->outputs, s);
    return status ? status : bev_narrow(bev_bias_at(n->end), a->b, v->bias, s);
}

static half_bits *target(const struct bev_vendor *v, const struct bev_layer *l)
{
    if (l->to == BEV_NECK)
        return l->up ? v->up : v->plain;
    return l->to == BEV_RESULT ? v->rows : v->map[l->to];
}

struct bev_step bev_vendor_step(const struct bev_problem *p, const struct bev_args *a,
                                const struct bev_vendor *v, int number)
{
    const struct bev_layer *l = &bev_layers[number];
    return (struct bev_step){
        .layer = l,
        .side = p->side / bev_shape_of(p)->map[l->from].scale,
        .channels = l->cin * l->groups,
        .rows = l->rows,
        .x = v->map[l->from],
        .w = l->groups > 1 ? v->outputs : a->w + bev_weight_at(number),
        .grouped = a->w + bev_weight_at(number),
        .bias = v->bias + bev_bias_at(number),
        .y = target(v, l),
    };
}

enum op_status bev_vendor_run(const struct bev_problem *p, const struct bev_args *a,
                              const struct bev_vendor *v, bev_step_fn *step, void *state,
                              op_stream s)
{
    const struct bev_shape *n = bev_shape_of(p);
    enum op_status status = bev_scatter(p, a, v->map[BEV_CANVAS], s);
    for (int i = n->first; i < n->end && !status; i++) {
        const struct bev_step what = bev_vendor_step(p, a, v, i);
        status = step(p, state, i, &what, s);
        if (!status && bev_layers[i].up)
            status = bev_join(p, v->plain, v->up, v->map[BEV_NECK], s);
    }
    return status ? status : bev_pick(p, v->rows, a->y, s);
}

/* Whether it can be part of a CUDA graph, as runs are. */
static int captures(const struct bev_problem *p, bev_step_fn *step, void *state, int number,
                    const struct bev_step *what, op_stream s)
{
    cudaGraph_t graph = NULL;
    if (cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal))
        return 0;
    const enum op_status status = step(p, state, number, what, s);
    const int good = !cudaStreamEndCapture(s, &graph) && graph && !status;
    if (graph)
        cudaGraphDestroy(graph);
    return good;
}

/* Of what is enqueued between two events. */
static int elapsed(const cudaEvent_t event[2], op_stream s, float *ms)
{
    return cudaEventRecord(event[1], s) || cudaEventSynchronize(event[1]) ||
                   cudaEventElapsedTime(ms, event[0], event[1])
               ? -1
               : 0;
}

static int time_between(const struct bev_problem *p, const struct bev_vendor *v, bev_step_fn *step,
                        void *state, int number, const struct bev_step *what, float least,
                        op_stream s, const cudaEvent_t event[2], float *ms)
{
    if (step(p, state, number, what, s)) /* loads its code */
        return -1;
    if (!captures(p, step, state, number, what, s))
        return -1;
    if (cudaEventRecord(event[0], s) || step(p, state, number, what, s) || elapsed(event, s, ms))
        return -1;
    if (*ms > 2 * least + LAUNCH_MS)
        return 0;
    for (int i = 0; i < FILLS; i++) /* the device is busy until all behind is enqueued */
        if (cudaMemsetAsync(v->workspace, 0, BEV_WORKSPACE, s))
            return -1;
    if (step(p, state, number, what, s) || cudaEventRecord(event[0], s))
        return -1;
    for (int r = 0; r < REPEATS; r++)
        if (step(p, state, number, what, s))
            return -1;
    return elapsed(event, s, ms);
}

float bev_vendor_time(const struct bev_problem *p, const struct bev_vendor *v, bev_step_fn *step,
                      void *state, int number, const struct bev_step *what, float least,
                      op_stream s)
{
    cudaEvent_t event[2] = { NULL, NULL };
    float ms = INFINITY;
    if (cudaEventCreate(&event[0]) || cudaEventCreate(&event[1]) ||
        time_between(p, v, step, state, number, what, least, s, event, &ms))
        ms = INFINITY;
    for (int i = 0; i < 2; i++)
        if (event[i])
            cudaEventDestroy(event[i]);
    cudaGetLastError(); /* of an algorithm that did not launch */
    return ms;
}

/* ---- whether it is right ---- */

static size_t rows_of(const struct bev_step *what)
{
    const size_t side = (size_t)(what->side / what->layer->stride);
    return side * side * (size_t)what->rows;
}

static size_t elements_of(const struct bev_step *what)
{
    return (size_t)what->side * (size_t)what->side * (size_t)what->channels;
}

static half_bits *copy_of(const half_bits *from, size_t count, op_stream s, int *failed)
{
    half_bits *to = malloc(count * sizeof *to);
    *failed |= !to || cudaMemcpyAsync(to, from, count * sizeof *to, cudaMemcpyDeviceToHost, s) ||
               cudaStreamSynchronize(s);
    return to;
}

enum op_status bev_vendor_expect(const struct bev_vendor *v, const struct bev_step *what,
                                 struct bev_expected *e, op_stream s)
{
    const size_t weights = (size_t)what->rows * (size_t)what->channels *
                           (size_t)(what->layer->kernel * what->layer->kernel);
    half_bits *x = malloc(BEV_PERIOD * sizeof *x);
    int failed = !x;
    half_bits *w = copy_of(what->w, weights, s, &failed);
    half_bits *bias = copy_of(what->bias, (size_t)what->rows, s, &failed);
    if (!failed) {
        const struct bev_sample sample = { what->layer, what->side, what->channels, what->rows,
                                           x, w, bias };
        bev_sample_fill(x, BEV_PERIOD);
        bev_sample_expect(&sample, e);
        failed = cudaMemcpyAsync(v->pattern, x, BEV_PERIOD * sizeof *x, cudaMemcpyHostToDevice,
                                 s) ||
                 cudaMemcpyAsync(v->got->at, e->at, sizeof e->at, cudaMemcpyHostToDevice, s) ||
                 bev_late(elements_of(what), BEV_PERIOD, v->pattern, (half_bits *)what->x, s) ||
                 cudaStreamSynchronize(s);
    }
    free(x);
    free(w);
    free(bias);
    return failed ? OP_EDEVICE : OP_OK;
}

/* One judged run.  The input is not a number until just before the step. */
static int enqueue_judged(const struct bev_problem *p, const struct bev_vendor *v,
                          bev_step_fn *step, void *state, int number, const struct bev_step *what,
                          op_stream s)
{
    const size_t in = elements_of(what), out = rows_of(what);
    return cudaMemsetAsync((void *)what->x, 0xff, in * sizeof *what->x, s) ||
                   cudaMemsetAsync(what->y, 0xff, out * sizeof *what->y, s) ||
                   cudaMemsetAsync(v->workspace, 0xff, BEV_WORKSPACE, s) ||
                   cudaMemsetAsync(&v->got->broken, 0, sizeof v->got->broken, s) ||
                   bev_late(in, BEV_PERIOD, v->pattern, (half_bits *)what->x, s) ||
                   step(p, state, number, what, s) ||
                   bev_places(out, what->y, BEV_PLACES, v->got->at, v->got->value,
                              &v->got->broken, s)
               ? -1
               : 0;
}

static int got_right(const struct bev_vendor *v, const struct bev_expected *e, op_stream s)
{
    half_bits value[BEV_PLACES];
    int broken = -1;
    return !cudaMemcpyAsync(value, v->got->value, sizeof value, cudaMemcpyDeviceToHost, s) &&
           !cudaMemcpyAsync(&broken, &v->got->broken, sizeof broken, cudaMemcpyDeviceToHost, s) &&
           !cudaStreamSynchronize(s) && !broken && !bev_sample_wrong(e, value);
}

int bev_vendor_right(const struct bev_problem *p, const struct bev_vendor *v, bev_step_fn *step,
                     void *state, int number, const struct bev_step *what,
                     const struct bev_expected *e, op_stream s)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    int right = !enqueue_judged(p, v, step, state, number, what, s) && got_right(v, e, s);
    if (right && !cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal)) {
        const int failed = enqueue_judged(p, v, step, state, number, what, s);
        right = !cudaStreamEndCapture(s, &graph) && graph && !failed &&
                !cudaGraphInstantiate(&exec, graph, 0);
        for (int i = 0; i < REPLAYS && right; i++)
            right = !cudaGraphLaunch(exec, s) && got_right(v, e, s);
    } else {
        right = 0;
    }
    if (exec)
        cudaGraphExecDestroy(exec);
    if (graph)
        cudaGraphDestroy(graph);
    cudaGetLastError(); /* of what was not right */
    return right;
}
