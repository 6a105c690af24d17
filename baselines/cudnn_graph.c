/*
 * cudnn_graph.c - see cudnn_graph.h.
 *
 *     x, w -> conv -> sum (virtual) -> + bias -> [virtual] -> relu -> [virtual] -> + x -> y
 *
 * What lies between operations is virtual and float: it never reaches memory.  Sizes are N C H W as
 * cuDNN wants them, channels innermost by the strides.  All descriptors of a graph live as long as
 * it does.
 */
#include "cudnn_graph.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MADE_MAX = 128, CONFIGS_MAX = 48, ALIGNMENT = 16 };
/* of tensors */
enum { ID_X = 1, ID_W, ID_BIAS, ID_Y, ID_SUM, ID_BIASED, ID_RECTIFIED };

struct cudnn_graph {
    const struct cudnn_library *library;
    void *handle;
    enum op_status status; /* of building: the first failure */
    void *made[MADE_MAX];  /* all descriptors but plans */
    int count;
    void *plan[CONFIGS_MAX];
    int plans, tried;
};

/* ---- the library ---- */

const struct cudnn_library *cudnn_library(const char **why)
{
    static struct cudnn_library lib;
    static int tried, there;
    static const struct {
        const char *name;
        size_t at;
    } entry[] = {
#define ENTRY(name) { "cudnn" #name, offsetof(struct cudnn_library, name) }
        ENTRY(Create), ENTRY(Destroy), ENTRY(SetStream), ENTRY(BackendCreateDescriptor),
        ENTRY(BackendDestroyDescriptor), ENTRY(BackendSetAttribute), ENTRY(BackendGetAttribute),
        ENTRY(BackendFinalize), ENTRY(BackendExecute),
#undef ENTRY
    };
    if (!tried) {
        void *handle = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
        tried = 1;
        there = handle != NULL;
        for (size_t i = 0; there && i < sizeof entry / sizeof *entry; i++) {
            void *p = dlsym(handle, entry[i].name);
            there = p != NULL;
            memcpy((char *)&lib + entry[i].at, &p, sizeof p); /* C converts no such pointers */
        }
    }
    *why = there ? "" : "libcudnn.so.9 is not here";
    return there ? &lib : NULL;
}

/* ---- descriptors: after a failure all of these do nothing ---- */

static void fail(struct cudnn_graph *g, enum op_status status)
{
    if (!g->status)
        g->status = status;
}

static void *make(struct cudnn_graph *g, enum cudnn_kind kind)
{
    void *d = NULL;
    if (g->count == MADE_MAX)
        fail(g, OP_ENOMEM);
    if (!g->status && g->library->BackendCreateDescriptor(kind, &d))
        fail(g, OP_EDEVICE);
    if (!g->status)
        g->made[g->count++] = d;
    return g->status ? NULL : d;
}

static void set(struct cudnn_graph *g, void *d, enum cudnn_attribute name, enum cudnn_type type,
                int64_t count, const void *values)
{
    if (!g->status && g->library->BackendSetAttribute(d, name, type, count, values))
        fail(g, OP_EUNSUPPORTED);
}

static void set_value(struct cudnn_graph *g, void *d, enum cudnn_attribute name,
                      enum cudnn_type type, int value)
{
    set(g, d, name, type, 1, &value);
}

static void set_number(struct cudnn_graph *g, void *d, enum cudnn_attribute name, int64_t value)
{
    set(g, d, name, CUDNN_OF_INT64, 1, &value);
}

static void set_pair(struct cudnn_graph *g, void *d, enum cudnn_attribute name, int64_t value)
{
    const int64_t both[2] = { value, value };
    set(g, d, name, CUDNN_OF_INT64, 2, both);
}

static void set_descriptor(struct cudnn_graph *g, void *d, enum cudnn_attribute name, void *value)
{
    set(g, d, name, CUDNN_OF_DESCRIPTOR, 1, &value);
}

static void set_float(struct cudnn_graph *g, void *d, enum cudnn_attribute name, float value)
{
    set(g, d, name, CUDNN_OF_FLOAT, 1, &value);
}

static void finish(struct cudnn_graph *g, void *d)
{
    if (!g->status && g->library->BackendFinalize(d))
        fail(g, OP_EUNSUPPORTED);
}

/* ---- the graph ---- */

/* [n][high][wide][channels] of memory. */
static void *tensor(struct cudnn_graph *g, int id, int n, int channels, int high, int wide)
{
    const int64_t sizes[4] = { n, channels, high, wide };
    const int64_t strides[4] = { (int64_t)high * wide * channels, 1, (int64_t)wide * channels,
                                 channels };
    const bool between = id >= ID_SUM; /* a byte, as cuDNN reads it */
    void *d = make(g, CUDNN_KIND_TENSOR);
    set_number(g, d, CUDNN_AT_TENSOR_ID, id);
    set_value(g, d, CUDNN_AT_TENSOR_TYPE, CUDNN_OF_DATA_TYPE,
              between ? CUDNN_IS_FLOAT : CUDNN_IS_HALF);
    set(g, d, CUDNN_AT_TENSOR_SIZES, CUDNN_OF_INT64, 4, sizes);
    set(g, d, CUDNN_AT_TENSOR_STRIDES, CUDNN_OF_INT64, 4, strides);
    set_number(g, d, CUDNN_AT_TENSOR_ALIGNMENT, ALIGNMENT);
    set(g, d, CUDNN_AT_TENSOR_VIRTUAL, CUDNN_OF_BOOLEAN, 1, &between);
    finish(g, d);
    return d;
}

static void *convolve(struct cudnn_graph *g, const struct cudnn_conv *c, void *x, void *w, void *y)
{
    void *how = make(g, CUDNN_KIND_CONVOLUTION);
    set_number(g, how, CUDNN_AT_CONV_DIMENSIONS, 2);
    set_value(g, how, CUDNN_AT_CONV_PRECISION, CUDNN_OF_DATA_TYPE, CUDNN_IS_FLOAT);
    set_value(g, how, CUDNN_AT_CONV_MODE, CUDNN_OF_CONVOLUTION_MODE, CUDNN_CORRELATES);
    set_pair(g, how, CUDNN_AT_CONV_PAD_BEFORE, c->kernel / 2);
    set_pair(g, how, CUDNN_AT_CONV_PAD_AFTER, c->kernel / 2);
    set_pair(g, how, CUDNN_AT_CONV_STRIDE, c->stride);
    set_pair(g, how, CUDNN_AT_CONV_DILATION, 1);
    finish(g, how);
    void *op = make(g, CUDNN_KIND_OP_CONVOLUTION);
    set_float(g, op, CUDNN_AT_OP_CONV_ALPHA, 1);
    set_float(g, op, CUDNN_AT_OP_CONV_BETA, 0);
    set_descriptor(g, op, CUDNN_AT_OP_CONV_DESCRIPTION, how);
    set_descriptor(g, op, CUDNN_AT_OP_CONV_X, x);
    set_descriptor(g, op, CUDNN_AT_OP_CONV_W, w);
    set_descriptor(g, op, CUDNN_AT_OP_CONV_Y, y);
    finish(g, op);
    return op;
}

/* b NULL: one operand */
static void *pointwise(struct cudnn_graph *g, enum cudnn_value mode, void *x, void *b, void *y)
{
    void *how = make(g, CUDNN_KIND_POINTWISE);
    set_value(g, how, CUDNN_AT_POINTWISE_MODE, CUDNN_OF_POINTWISE_MODE, mode);
    set_value(g, how, CUDNN_AT_POINTWISE_PRECISION, CUDNN_OF_DATA_TYPE, CUDNN_IS_FLOAT);
    finish(g, how);
    void *op = make(g, CUDNN_KIND_OP_POINTWISE);
    set_descriptor(g, op, CUDNN_AT_OP_POINTWISE_DESCRIPTION, how);
    set_descriptor(g, op, CUDNN_AT_OP_POINTWISE_X, x);
    if (b)
        set_descriptor(g, op, CUDNN_AT_OP_POINTWISE_B, b);
    set_descriptor(g, op, CUDNN_AT_OP_POINTWISE_Y, y);
    finish(g, op);
    return op;
}

static void *describe(struct cudnn_graph *g, const struct cudnn_conv *c)
{
    const int side = c->side / c->stride;
    void *x = tensor(g, ID_X, 1, c->channels, c->side, c->side);
    void *w = tensor(g, ID_W, c->rows, c->channels / c->groups, c->kernel, c->kernel);
    void *bias = tensor(g, ID_BIAS, 1, c->rows, 1, 1);
    void *y = tensor(g, ID_Y, 1, c->rows, side, side);
    void *sum = tensor(g, ID_SUM, 1, c->rows, side, side), *next = y, *op[4];
    int ops = 0;
    op[ops++] = convolve(g, c, x, w, sum);
    if (c->relu || c->residual)
        next = tensor(g, ID_BIASED, 1, c->rows, side, side);
    op[ops++] = pointwise(g, CUDNN_ADDS, sum, bias, next);
    if (c->relu) {
        void *from = next;
        next = c->residual ? tensor(g, ID_RECTIFIED, 1, c->rows, side, side) : y;
        op[ops++] = pointwise(g, CUDNN_RELU, from, NULL, next);
    }
    if (c->residual)
        op[ops++] = pointwise(g, CUDNN_ADDS, next, x, y);
    void *graph = make(g, CUDNN_KIND_GRAPH);
    if (g->handle)
        set(g, graph, CUDNN_AT_GRAPH_HANDLE, CUDNN_OF_HANDLE, 1, &g->handle);
    set(g, graph, CUDNN_AT_GRAPH_OPS, CUDNN_OF_DESCRIPTOR, ops, op);
    finish(g, graph);
    return graph;
}

/* ---- plans ---- */

/* cuDNN may have no plan for what it named: that is none of ours. */
static void try_plan(struct cudnn_graph *g, void *config, void *device, size_t workspace)
{
    const struct cudnn_library *l = g->library;
    void *plan = NULL;
    int64_t count = 0, bytes = -1;
    g->tried++;
    if (l->BackendCreateDescriptor(CUDNN_KIND_PLAN, &plan))
        return;
    int status = l->BackendSetAttribute(plan, CUDNN_AT_PLAN_CONFIG, CUDNN_OF_DESCRIPTOR, 1, &config);
    if (!status && g->handle)
        status = l->BackendSetAttribute(plan, CUDNN_AT_PLAN_HANDLE, CUDNN_OF_HANDLE, 1, &g->handle);
    if (!status && device)
        status = l->BackendSetAttribute(plan, CUDNN_AT_PLAN_DEVICE, CUDNN_OF_DESCRIPTOR, 1, &device);
    if (!status)
        status = l->BackendFinalize(plan);
    if (!status)
        status = l->BackendGetAttribute(plan, CUDNN_AT_PLAN_WORKSPACE, CUDNN_OF_INT64, 1, &count,
                                        &bytes);
    if (!status && bytes >= 0 && (uint64_t)bytes <= workspace)
        g->plan[g->plans++] = plan;
    else
        l->BackendDestroyDescriptor(plan);
}

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Plans of one way to guess, until there are `most` or the time is over. */
static void guess(struct cudnn_graph *g, void *graph, const struct cudnn_place *at,
                  enum cudnn_value mode, size_t workspace, int most)
{
    void *device = at->device;
    const double from = now();
    const struct cudnn_library *l = g->library;
    void *config[CONFIGS_MAX], *h = make(g, CUDNN_KIND_HEURISTICS);
    int64_t count = 0;
    const int room = most - g->plans;
    set_descriptor(g, h, CUDNN_AT_HEURISTICS_GRAPH, graph);
    set_value(g, h, CUDNN_AT_HEURISTICS_MODE, CUDNN_OF_HEURISTIC, mode);
    if (device)
        set_descriptor(g, h, CUDNN_AT_HEURISTICS_DEVICE, device);
    if (g->status || room <= 0 || l->BackendFinalize(h))
        return; /* nothing is guessed for this graph */
    for (int i = 0; i < room; i++)
        config[i] = make(g, CUDNN_KIND_CONFIG);
    if (g->status || l->BackendGetAttribute(h, CUDNN_AT_HEURISTICS_RESULTS, CUDNN_OF_DESCRIPTOR,
                                            room, &count, config))
        return;
    for (int i = 0; i < room && i < count; i++) {
        try_plan(g, config[i], device, workspace);
        if (at->seconds > 0 && g->plans && now() - from > at->seconds)
            break;
    }
}

enum op_status cudnn_graph_open(const struct cudnn_place *at, const struct cudnn_conv *conv,
                                size_t workspace, int most, struct cudnn_graph **out)
{
    struct cudnn_graph *g = calloc(1, sizeof *g);
    *out = NULL;
    if (!g)
        return OP_ENOMEM;
    g->library = at->library;
    g->handle = at->handle;
    most = most < CONFIGS_MAX ? most : CONFIGS_MAX;
    void *graph = describe(g, conv);
    guess(g, graph, at, CUDNN_GUESS_A, workspace, most);
    if (!g->plans)
        guess(g, graph, at, CUDNN_GUESS_FALLBACK, workspace, most);
    if (!g->plans)
        fail(g, OP_EUNSUPPORTED);
    const enum op_status status = g->plans ? OP_OK : g->status;
    if (status)
        cudnn_graph_close(g);
    else
        *out = g;
    return status;
}

int cudnn_graph_plans(const struct cudnn_graph *g)
{
    return g->plans;
}

int cudnn_graph_tried(const struct cudnn_graph *g)
{
    return g->tried;
}

void cudnn_graph_keep(struct cudnn_graph *g, int plan)
{
    for (int i = 0; i < g->plans; i++)
        if (i != plan)
            g->library->BackendDestroyDescriptor(g->plan[i]);
    g->plan[0] = g->plan[plan];
    g->plans = 1;
}

enum op_status cudnn_graph_run(const struct cudnn_graph *g, int plan, const void *x, const void *w,
                               const void *bias, void *y, void *workspace)
{
    const struct cudnn_library *l = g->library;
    const int64_t id[4] = { ID_X, ID_W, ID_BIAS, ID_Y };
    const void *const at[4] = { x, w, bias, y };
    void *operands = NULL;
    if (l->BackendCreateDescriptor(CUDNN_KIND_OPERANDS, &operands))
        return OP_EDEVICE;
    int status = l->BackendSetAttribute(operands, CUDNN_AT_OPERANDS_IDS, CUDNN_OF_INT64, 4, id);
    if (!status)
        status = l->BackendSetAttribute(operands, CUDNN_AT_OPERANDS_POINTERS, CUDNN_OF_POINTER, 4,
                                        at);
    if (!status)
        status = l->BackendSetAttribute(operands, CUDNN_AT_OPERANDS_WORKSPACE, CUDNN_OF_POINTER, 1,
                                        &workspace);
    if (!status)
        status = l->BackendFinalize(operands);
    if (!status)
        status = l->BackendExecute(g->handle, g->plan[plan], operands);
    l->BackendDestroyDescriptor(operands);
    return status ? OP_EDEVICE : OP_OK;
}

void cudnn_graph_close(struct cudnn_graph *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->plans; i++)
        g->library->BackendDestroyDescriptor(g->plan[i]);
    while (g->count)
        g->library->BackendDestroyDescriptor(g->made[--g->count]);
    free(g);
}
