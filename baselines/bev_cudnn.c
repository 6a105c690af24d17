/*
 * bev_cudnn.c - the detector behind the encoder by cuDNN: every convolution with its bias and relu
 * in one call, channels-last, half with sums in float.
 *
 * The library is opened at run time, so that a build needs its headers only and runs without it.
 * The transposed 2 x 2 layer, whose windows do not overlap, is a 1 x 1 one to four times the
 * channels, put in place by kernels/bev/around.cu.  Outputs of the branches are one grouped
 * convolution, 8 rows a branch.
 */
#if __has_include(<cudnn.h>)
#include <cudnn.h>
#define HAVE_CUDNN 1
#endif

#include <dlfcn.h>
#include <stdlib.h>

#include "../kernels/bev/kernels.h"

#ifdef HAVE_CUDNN

static const size_t WORKSPACE = (size_t)512 << 20;

/* ---- the library ---- */

#define EACH(f)                                                                                  \
    f(cudnnCreate) f(cudnnDestroy) f(cudnnSetStream) f(cudnnCreateTensorDescriptor)              \
    f(cudnnDestroyTensorDescriptor) f(cudnnSetTensor4dDescriptor)                                \
    f(cudnnCreateFilterDescriptor) f(cudnnDestroyFilterDescriptor) f(cudnnSetFilter4dDescriptor) \
    f(cudnnCreateConvolutionDescriptor) f(cudnnDestroyConvolutionDescriptor)                     \
    f(cudnnSetConvolution2dDescriptor) f(cudnnSetConvolutionMathType)                            \
    f(cudnnSetConvolutionGroupCount) f(cudnnGetConvolutionForwardAlgorithm_v7)                   \
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
    cudnnHandle_t handle;
    cudnnActivationDescriptor_t relu, none;
    struct conv conv[BEV_LAYERS];
    half_bits *map[BEV_MAPS];      /* the result is not ours */
    half_bits *plain, *up, *rows;  /* parts of the neck; rows of the branches' outputs */
    half_bits *bias;
    void *workspace;
};

void bev_cudnn_teardown(void *state)
{
    struct state *t = state;
    if (!t)
        return;
    for (int i = 0; i < BEV_LAYERS; i++) {
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

/* Without relu cuDNN fuses the bias with one algorithm only. */
static int choose(const struct state *t, const struct bev_layer *l, struct conv *c)
{
    cudnnConvolutionFwdAlgoPerf_t found[CUDNN_CONVOLUTION_FWD_ALGO_COUNT];
    int count = 0;
    c->algo = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;
    if (!l->relu)
        return 0;
    if (lib.cudnnGetConvolutionForwardAlgorithm_v7(t->handle, c->x, c->w, c->conv, c->y,
                                                   CUDNN_CONVOLUTION_FWD_ALGO_COUNT, &count, found))
        return 0; /* the one that is always there */
    for (int i = 0; i < count; i++)
        if (!found[i].status && found[i].memory <= WORKSPACE) {
            c->algo = found[i].algo;
            break;
        }
    return 0;
}

static int describe(const struct bev_problem *p, const struct state *t, int number, struct conv *c)
{
    const struct bev_layer *l = &bev_layers[number];
    const int side = p->side / bev_maps[l->from].scale, pad = l->kernel / 2;
    return tensor(&c->x, l->cin * l->groups, side) || tensor(&c->y, l->rows, side / l->stride) ||
           tensor(&c->bias, l->rows, 1) || lib.cudnnCreateFilterDescriptor(&c->w) ||
           lib.cudnnSetFilter4dDescriptor(c->w, CUDNN_DATA_HALF, CUDNN_TENSOR_NHWC, l->rows, l->cin,
                                          l->kernel, l->kernel) ||
           lib.cudnnCreateConvolutionDescriptor(&c->conv) ||
           lib.cudnnSetConvolution2dDescriptor(c->conv, pad, pad, l->stride, l->stride, 1, 1,
                                               CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT) ||
           lib.cudnnSetConvolutionMathType(c->conv, CUDNN_TENSOR_OP_MATH) ||
           lib.cudnnSetConvolutionGroupCount(c->conv, l->groups) || choose(t, l, c);
}

static int activation(cudnnActivationDescriptor_t *d, cudnnActivationMode_t mode)
{
    return lib.cudnnCreateActivationDescriptor(d) ||
           lib.cudnnSetActivationDescriptor(*d, mode, CUDNN_NOT_PROPAGATE_NAN, 0);
}

static half_bits *take(const struct op_memory *m, size_t elements, int *failed)
{
    half_bits *p = m->take(m->context, elements * sizeof *p);
    *failed |= !p;
    return p;
}

enum op_status bev_cudnn_setup(const struct bev_problem *p, const struct bev_args *a,
                               const struct op_memory *m, op_stream s, void **state)
{
    struct state *t = calloc(1, sizeof *t);
    const size_t cells = (size_t)p->side * (size_t)p->side;
    int failed = 0;
    *state = t;
    if (!t)
        return OP_ENOMEM;
    for (int i = 0; i < BEV_RESULT; i++)
        t->map[i] = take(m, bev_map_size(p, (enum bev_map)i), &failed);
    t->plain = take(m, cells * 128, &failed);
    t->up = take(m, cells / 4 * 512, &failed);
    t->rows = take(m, cells * BEV_BRANCHES * BEV_BRANCH_ROWS, &failed);
    t->bias = take(m, bev_bias_at(BEV_LAYERS), &failed);
    t->workspace = m->take(m->context, WORKSPACE);
    if (failed || !t->workspace)
        return OP_ENOMEM;
    if (!opened() || lib.cudnnCreate(&t->handle) || lib.cudnnSetStream(t->handle, s) ||
        activation(&t->relu, CUDNN_ACTIVATION_RELU) ||
        activation(&t->none, CUDNN_ACTIVATION_IDENTITY))
        return OP_EDEVICE;
    for (int i = 0; i < BEV_LAYERS; i++)
        if (describe(p, t, i, &t->conv[i]))
            return OP_EDEVICE;
    return bev_narrow(bev_bias_at(BEV_LAYERS), a->b, t->bias, s);
}

/* ---- a run ---- */

static half_bits *target(const struct state *t, const struct bev_layer *l)
{
    if (l->to == BEV_NECK)
        return l->up ? t->up : t->plain;
    return l->to == BEV_RESULT ? t->rows : t->map[l->to];
}

static enum op_status run_layer(const struct bev_problem *p, const struct bev_args *a,
                                const struct state *t, int number, op_stream s)
{
    const struct bev_layer *l = &bev_layers[number];
    const struct conv *c = &t->conv[number];
    const float one = 1, zero = 0;
    half_bits *y = target(t, l);
    if (lib.cudnnConvolutionBiasActivationForward(
            t->handle, &one, c->x, t->map[l->from], c->w, a->w + bev_weight_at(number), c->conv,
            c->algo, t->workspace, WORKSPACE, &zero, c->y, y, c->bias, t->bias + bev_bias_at(number),
            l->relu ? t->relu : t->none, c->y, y))
        return OP_EDEVICE;
    return l->residual ? bev_add(bev_map_size(p, l->to), t->map[l->from], y, s) : OP_OK;
}

enum op_status bev_cudnn(const struct bev_problem *p, const struct bev_args *a, void *state,
                         op_stream s)
{
    const struct state *t = state;
    enum op_status status = bev_scatter(p, a, t->map[BEV_CANVAS], s);
    for (int i = 0; i < BEV_LAYERS && !status; i++) {
        status = run_layer(p, a, t, i, s);
        if (!status && bev_layers[i].up)
            status = bev_join(p->side, t->plain, t->up, t->map[BEV_NECK], s);
    }
    return status ? status
                  : bev_pick((size_t)p->side * (size_t)p->side, t->rows, a->y, s);
}

enum op_status bev_cudnn_supports(const struct bev_problem *p, const char **why)
{
    (void)p;
    if (opened())
        return OP_OK;
    *why = "libcudnn.so.9 is not here";
    return OP_EUNSUPPORTED;
}

#else

void bev_cudnn_teardown(void *state)
{
    (void)state;
}

enum op_status bev_cudnn_setup(const struct bev_problem *p, const struct bev_args *a,
                               const struct op_memory *m, op_stream s, void **state)
{
    (void)p, (void)a, (void)m, (void)s;
    *state = NULL;
    return OP_EUNSUPPORTED;
}

enum op_status bev_cudnn(const struct bev_problem *p, const struct bev_args *a, void *state,
                         op_stream s)
{
    (void)p, (void)a, (void)state, (void)s;
    return OP_EUNSUPPORTED;
}

enum op_status bev_cudnn_supports(const struct bev_problem *p, const char **why)
{
    (void)p;
    *why = "built without cuDNN's headers";
    return OP_EUNSUPPORTED;
}

#endif
