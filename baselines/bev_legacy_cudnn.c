/*
 * bev_legacy_cudnn.c - the detector behind the encoder by cuDNN's older interface: every convolution
 * with its bias and relu in one call of a fixed function, by the fastest of its algorithms.
 *
 * The library is opened at run time, so that a build needs its headers only and runs without it.
 */
#if __has_include(<cudnn.h>)
#include <cudnn.h>
#define HAVE_CUDNN 1
#endif

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>

#include "bev_vendor.h"

#ifdef HAVE_CUDNN

/* ---- the library ---- */

#define EACH(f)                                                                                  \
    f(cudnnCreate) f(cudnnDestroy) f(cudnnSetStream) f(cudnnCreateTensorDescriptor)              \
    f(cudnnDestroyTensorDescriptor) f(cudnnSetTensor4dDescriptor)                                \
    f(cudnnCreateFilterDescriptor) f(cudnnDestroyFilterDescriptor) f(cudnnSetFilter4dDescriptor) \
    f(cudnnCreateConvolutionDescriptor) f(cudnnDestroyConvolutionDescriptor)                     \
    f(cudnnSetConvolution2dDescriptor) f(cudnnSetConvolutionMathType)                            \
    f(cudnnCreateActivationDescriptor) f(cudnnDestroyActivationDescriptor)                       \
    f(cudnnSetActivationDescriptor) f(cudnnConvolutionBiasActivationForward)
#define MEMBER(name) __typeof__(&name) name;

static struct {
    int tried, there;
    EACH(MEMBER)
} lib;

static void *symbol(void *handle, const char *name)
{
    void *p = dlsym(handle, name);
    if (!p)
        lib.there = 0;
    return p;
}

static int opened(void)
{
    if (lib.tried)
        return lib.there;
    lib.tried = 1;
    void *handle = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return 0;
    lib.there = 1;
    /* POSIX lets a pointer to a function be kept in one to void; C does not: by address */
#define FIND(name) *(void **)&lib.name = symbol(handle, #name);
    EACH(FIND)
    return lib.there;
}

/* ---- state ---- */

struct conv {
    cudnnTensorDescriptor_t x, y, bias;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t conv;
    cudnnConvolutionFwdAlgo_t algo;
};

struct state {
    struct bev_vendor around;
    cudnnHandle_t handle;
    cudnnActivationDescriptor_t relu, none;
    int first;
    struct bev_expected expected; /* of the layer being chosen */
    struct conv conv[BEV_LAYERS_MAX];
};

void bev_legacy_teardown(void *state)
{
    struct state *t = state;
    if (!t)
        return;
    for (int i = 0; i < BEV_LAYERS_MAX; i++) {
        struct conv *c = &t->conv[i];
        if (c->x)
            lib.cudnnDestroyTensorDescriptor(c->x);
        if (c->y)
            lib.cudnnDestroyTensorDescriptor(c->y);
        if (c->bias)
            lib.cudnnDestroyTensorDescriptor(c->bias);
        if (c->w)
            lib.cudnnDestroyFilterDescriptor(c->w);
        if (c->conv)
            lib.cudnnDestroyConvolutionDescriptor(c->conv);
    }
    if (t->relu)
        lib.cudnnDestroyActivationDescriptor(t->relu);
    if (t->none)
        lib.cudnnDestroyActivationDescriptor(t->none);
    if (t->handle)
        lib.cudnnDestroy(t->handle);
    free(t);
}

static int tensor(cudnnTensorDescriptor_t *d, int channels, int side)
{
    return lib.cudnnCreateTensorDescriptor(d) ||
           lib.cudnnSetTensor4dDescriptor(*d, CUDNN_TENSOR_NHWC, CUDNN_DATA_HALF, 1, channels, side,
                                          side);
}

static int describe(const struct bev_step *step, struct conv *c)
{
    const struct bev_layer *l = step->layer;
    const int pad = l->kernel / 2;
    return tensor(&c->x, step->channels, step->side) ||
           tensor(&c->y, step->rows, step->side / l->stride) || tensor(&c->bias, step->rows, 1) ||
           lib.cudnnCreateFilterDescriptor(&c->w) ||
           lib.cudnnSetFilter4dDescriptor(c->w, CUDNN_DATA_HALF, CUDNN_TENSOR_NHWC, step->rows,
                                          step->channels, l->kernel, l->kernel) ||
           lib.cudnnCreateConvolutionDescriptor(&c->conv) ||
           lib.cudnnSetConvolution2dDescriptor(c->conv, pad, pad, l->stride, l->stride, 1, 1,
                                               CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT) ||
           lib.cudnnSetConvolutionMathType(c->conv, CUDNN_TENSOR_OP_MATH);
}

static int activation(cudnnActivationDescriptor_t *d, cudnnActivationMode_t mode)
{
    return lib.cudnnCreateActivationDescriptor(d) ||
           lib.cudnnSetActivationDescriptor(*d, mode, CUDNN_NOT_PROPAGATE_NAN, 0);
}

/* ---- a run ---- */

static enum op_status run_step(const struct bev_problem *p, void *state, int number,
                               const struct bev_step *step, op_stream s)
{
    const struct state *t = state;
    const struct conv *c = &t->conv[number - t->first];
    const float one = 1, zero = 0;
    if (lib.cudnnConvolutionBiasActivationForward(
            t->handle, &one, c->x, step->x, c->w, step->w, c->conv, c->algo, t->around.workspace,
            BEV_WORKSPACE, &zero, c->y, step->y, c->bias, step->bias,
            step->layer->relu ? t->relu : t->none, c->y, step->y))
        return OP_EDEVICE;
    return step->layer->residual ? bev_add(bev_map_size(p, step->layer->to), step->x, step->y, s)
                                 : OP_OK;
}

/* The fastest algorithm; without relu cuDNN fuses the bias with one only. */
static enum op_status choose(const struct bev_problem *p, struct state *t, int number,
                             const struct bev_step *step, op_stream s)
{
    struct conv *c = &t->conv[number - t->first];
    cudnnConvolutionFwdAlgo_t best = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
    float least = INFINITY;
    const enum op_status status = bev_vendor_expect(&t->around, step, &t->expected, s);
    for (int i = 0; i < CUDNN_CONVOLUTION_FWD_ALGO_COUNT && !status; i++) {
        c->algo = (cudnnConvolutionFwdAlgo_t)i;
        if (!step->layer->relu && c->algo != CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM)
            continue;
        const float ms = bev_vendor_time(p, &t->around, run_step, t, number, step, least, s);
        if (ms < least &&
            bev_vendor_right(p, &t->around, run_step, t, number, step, &t->expected, s)) {
            least = ms;
            best = c->algo;
        }
    }
    c->algo = best;
    return status ? status : least < INFINITY ? OP_OK : OP_EUNSUPPORTED;
}

enum op_status bev_legacy_setup(const struct bev_problem *p, const struct bev_args *a,
                                const struct op_memory *m, op_stream s, void **state)
{
    const struct bev_shape *n = bev_shape_of(p);
    struct state *t = calloc(1, sizeof *t);
    *state = t;
    if (!t)
        return OP_ENOMEM;
    t->first = n->first;
    enum op_status status = bev_vendor_open(p, a, m, s, &t->around);
    if (!status && (!opened() || lib.cudnnCreate(&t->handle) || lib.cudnnSetStream(t->handle, s) ||
                    activation(&t->relu, CUDNN_ACTIVATION_RELU) ||
                    activation(&t->none, CUDNN_ACTIVATION_IDENTITY)))
        status = OP_EDEVICE;
    for (int i = n->first; i < n->end && !status; i++) {
        const struct bev_step step = bev_vendor_step(p, a, &t->around, i);
        status = describe(&step, &t->conv[i - n->first]) ? OP_EDEVICE : choose(p, t, i, &step, s);
    }
    return status;
}

enum op_status bev_legacy(const struct bev_problem *p, const struct bev_args *a, void *state,
                          op_stream s)
{
    struct state *t = state;
    return bev_vendor_run(p, a, &t->around, run_step, t, s);
}

enum op_status bev_legacy_supports(const struct bev_problem *p, const char **why)
{
    (void)p;
    if (opened())
        return OP_OK;
    *why = "libcudnn.so.9 is not here";
    return OP_EUNSUPPORTED;
}

#else

void bev_legacy_teardown(void *state)
{
    (void)state;
}

enum op_status bev_legacy_setup(const struct bev_problem *p, const struct bev_args *a,
                                const struct op_memory *m, op_stream s, void **state)
{
    (void)p, (void)a, (void)m, (void)s;
    *state = NULL;
    return OP_EUNSUPPORTED;
}

enum op_status bev_legacy(const struct bev_problem *p, const struct bev_args *a, void *state,
                          op_stream s)
{
    (void)p, (void)a, (void)state, (void)s;
    return OP_EUNSUPPORTED;
}

enum op_status bev_legacy_supports(const struct bev_problem *p, const char **why)
{
    (void)p;
    *why = "built without cuDNN's headers";
    return OP_EUNSUPPORTED;
}

#endif
