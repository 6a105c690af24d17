/*
 * bev_cudnn.c - the detector behind the encoder by graphs of cuDNN: convolution, bias, relu and the
 * sum behind it in one plan, channels-last half with sums in float.
 *
 * Set-up times the plans that cuDNN's heuristics name for a layer and keeps the fastest whose
 * result is right, also in a graph behind a kernel that writes late (bev_vendor_right): on an H200
 * one for a map of 100 x 100 was right alone only.  Some layers have two forms: an addition behind
 * the relu in the graph, for which cuDNN compiles kernels, or after it; outputs of branches over all
 * channels, or in groups.  Layers of one shape share a plan; neighbours have a workspace each, so
 * that a plan that clears its own early clears no other's.
 */
#include "bev_vendor.h"
#include "cudnn_graph.h"

#include <math.h>
#include <stdlib.h>

/* A search is for maps whose time matters; compiling may take a second a plan. */
enum { PLANS = 40, PLANS_SMALL = 1, SMALL = 64 };
static const double SECONDS = .5; /* of making plans, for a form of a layer */

struct layer {
    struct cudnn_conv conv;
    struct cudnn_graph *graph; /* NULL: that of `like` */
    int like, other, plan;     /* other: in the second form */
};

struct state {
    struct bev_vendor around;
    struct cudnn_place place;
    int first;
    struct bev_expected expected; /* of the layer being chosen */
    struct layer layer[BEV_LAYERS_MAX];
};

void bev_cudnn_teardown(void *state)
{
    struct state *t = state;
    if (!t)
        return;
    for (int i = 0; i < BEV_LAYERS_MAX; i++)
        cudnn_graph_close(t->layer[i].graph);
    if (t->place.handle)
        t->place.library->Destroy(t->place.handle);
    free(t);
}

static enum op_status run_step(const struct bev_problem *p, void *state, int number,
                               const struct bev_step *step, op_stream s)
{
    const struct state *t = state;
    const struct layer *l = &t->layer[t->layer[number - t->first].like];
    char *workspace = (char *)t->around.workspace + (number & 1) * (BEV_WORKSPACE / 2);
    const enum op_status status =
        cudnn_graph_run(l->graph, l->plan, step->x, l->other ? step->grouped : step->w, step->bias,
                        step->y, workspace);
    if (status || !l->other || !step->layer->residual)
        return status;
    return bev_add(bev_map_size(p, step->layer->to), step->x, step->y, s);
}

static struct cudnn_conv conv_of(const struct bev_step *step)
{
    const struct bev_layer *l = step->layer;
    return (struct cudnn_conv){ step->side,  step->channels, step->rows, l->kernel,
                                l->stride, l->relu,        l->residual,  1 };
}

/* The earlier layer of the same shape; itself: none. */
static int alike(const struct state *t, int at)
{
    const struct cudnn_conv *c = &t->layer[at].conv;
    for (int i = 0; i < at; i++) {
        const struct cudnn_conv *d = &t->layer[i].conv;
        if (c->side == d->side && c->channels == d->channels && c->rows == d->rows &&
            c->kernel == d->kernel && c->stride == d->stride && c->relu == d->relu &&
            c->residual == d->residual)
            return i;
    }
    return at;
}

/* Replaces the layer's plan by a faster one of this form among the first `most`, if any is. */
static enum op_status try_plans(const struct bev_problem *p, struct state *t, int number,
                                const struct bev_step *step, int other, int most, float *least,
                                op_stream s)
{
    struct layer *l = &t->layer[number - t->first], before = *l;
    struct cudnn_conv conv = l->conv;
    int best = -1;
    if (other) {
        conv.residual = 0;
        conv.groups = step->layer->groups;
    }
    const enum op_status status = cudnn_graph_open(&t->place, &conv, BEV_WORKSPACE / 2, most,
                                                    &l->graph);
    l->other = other;
    for (int i = 0; !status && i < cudnn_graph_plans(l->graph); i++) {
        l->plan = i;
        const float ms =
            bev_vendor_time(p, &t->around, run_step, t, number, step, *least, s);
        if (ms < *least &&
            bev_vendor_right(p, &t->around, run_step, t, number, step, &t->expected, s)) {
            *least = ms;
            best = i;
        }
    }
    if (best < 0) {
        cudnn_graph_close(l->graph);
        *l = before;
        return status;
    }
    cudnn_graph_close(before.graph);
    cudnn_graph_keep(l->graph, best);
    l->plan = 0;
    return OP_OK;
}

static enum op_status try_form(const struct bev_problem *p, struct state *t, int number,
                               const struct bev_step *step, int other, float *least, op_stream s)
{
    enum op_status status = OP_OK;
    if (p->side < SMALL)
        status = try_plans(p, t, number, step, other, PLANS_SMALL, least, s);
    if (p->side >= SMALL || (!status && !t->layer[number - t->first].graph)) /* none was right */
        status = try_plans(p, t, number, step, other, PLANS, least, s);
    return status;
}

static enum op_status choose(const struct bev_problem *p, struct state *t, int number,
                             const struct bev_step *step, op_stream s)
{
    const int at = number - t->first;
    struct layer *l = &t->layer[at];
    float least = INFINITY;
    l->conv = conv_of(step);
    l->like = alike(t, at);
    if (l->like != at)
        return OP_OK;
    enum op_status status = bev_vendor_expect(&t->around, step, &t->expected, s);
    if (!status)
        status = try_form(p, t, number, step, 0, &least, s);
    if (l->conv.residual || step->layer->groups > 1) {
        const enum op_status second = try_form(p, t, number, step, 1, &least, s);
        status = l->graph ? OP_OK : second;
    }
    return l->graph || status ? status : OP_EUNSUPPORTED;
}

enum op_status bev_cudnn_setup(const struct bev_problem *p, const struct bev_args *a,
                               const struct op_memory *m, op_stream s, void **state)
{
    const struct bev_shape *n = bev_shape_of(p);
    struct state *t = calloc(1, sizeof *t);
    const char *why;
    *state = t;
    if (!t)
        return OP_ENOMEM;
    t->first = n->first;
    t->place.seconds = SECONDS;
    t->place.library = cudnn_library(&why);
    if (!t->place.library)
        return OP_EUNSUPPORTED;
    if (t->place.library->Create(&t->place.handle) ||
        t->place.library->SetStream(t->place.handle, s))
        return OP_EDEVICE;
    enum op_status status = bev_vendor_open(p, a, m, s, &t->around);
    for (int i = n->first; i < n->end && !status; i++) {
        const struct bev_step step = bev_vendor_step(p, a, &t->around, i);
        status = choose(p, t, i, &step, s);
    }
    return status;
}

enum op_status bev_cudnn(const struct bev_problem *p, const struct bev_args *a, void *state,
                         op_stream s)
{
    struct state *t = state;
    return bev_vendor_run(p, a, &t->around, run_step, t, s);
}

enum op_status bev_cudnn_supports(const struct bev_problem *p, const char **why)
{
    (void)p;
    return cudnn_library(why) ? OP_OK : OP_EUNSUPPORTED;
}
