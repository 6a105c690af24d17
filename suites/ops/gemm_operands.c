/* gemm_operands.c - X and W of gemm, and what the schemes make of them. */
#include "../../harness/error.h"
#include "../../kernels/gemm/quantise.h"
#include "gemm_part.h"

static bool on_gpu(const struct gemm_operands *o)
{
#ifdef WITH_CUDA
    return cb_device_info(o->device)->sm > 0;
#else
    (void)o;
    return false;
#endif
}

/* The CUDA form of a call on a GPU, else the host's; arguments without the stream. */
#ifdef WITH_CUDA
#define BY_DEVICE(o, f, ...)                                                                       \
    (on_gpu(o) ? f##_cuda(__VA_ARGS__, cb_device_stream((o)->device)) : f(__VA_ARGS__))
#else
#define BY_DEVICE(o, f, ...) (on_gpu(o) ? OP_EDEVICE : f(__VA_ARGS__))
#endif

static int make(struct gemm_operands *o, struct op_sets *t, int count, size_t bytes)
{
    if (op_sets_open(t, count))
        return -1;
    for (int s = 0; s < count; s++)
        if (cb_alloc(o->device, bytes, &t->set[s]))
            return -1;
    return 0;
}

/* Seed of exact operands: other values in every set. */
static uint64_t exact_seed(const struct gemm_operands *o, uint32_t tensor, int set)
{
    return o->seed ^ (uint64_t)tensor << 56 ^ (uint64_t)(set + 1) << 32;
}

static int make_x(struct gemm_operands *o, int sets)
{
    const size_t count = (size_t)o->p.m * (size_t)o->p.k;
    if (make(o, &o->x, sets, 2 * count))
        return -1;
    for (int s = 0; s < sets; s++)
        if (o->exact
                ? op_result(BY_DEVICE(o, gemm_exact_x, count, exact_seed(o, GEMM_TENSOR_X, s),
                                      o->x.set[s]),
                            "X", "exact values")
                : cb_random(o->device, o->x.set[s], CB_F16, CB_NORMAL, o->seed, GEMM_TENSOR_X,
                            (uint32_t)s, o->p.m, o->p.k, false))
            return -1;
    return 0;
}

static int make_w(struct gemm_operands *o, int sets)
{
    if (make(o, &o->w, sets, 2 * (size_t)o->p.n * (size_t)o->p.k))
        return -1;
    for (int s = 0; s < sets; s++)
        if (cb_random(o->device, o->w.set[s], CB_F16, o->exact ? CB_EXACT : CB_NORMAL, o->seed,
                      GEMM_TENSOR_W, (uint32_t)s, o->p.n, o->p.k, false))
            return -1;
    return 0;
}

static int make_w4(struct gemm_operands *o, int sets, int symmetric)
{
    const size_t count = (size_t)o->p.n * (size_t)o->p.k, groups = count / (size_t)o->p.group;
    struct op_sets *code = &o->code[symmetric], *scale = &o->scale[symmetric],
                   *zero = &o->zero[symmetric];
    if (make(o, code, sets, count) || make(o, scale, sets, 2 * groups) ||
        make(o, zero, sets, groups))
        return -1;
    for (int s = 0; s < sets; s++) {
        const uint64_t seed = exact_seed(o, GEMM_TENSOR_W + (unsigned)symmetric, s);
        const enum op_status status =
            o->exact ? BY_DEVICE(o, gemm_exact_w4, &o->p, seed, symmetric, code->set[s],
                                 scale->set[s], zero->set[s])
                     : BY_DEVICE(o, gemm_quantise_w4, &o->p, o->w.set[s], symmetric, code->set[s],
                                 scale->set[s], zero->set[s]);
        if (op_result(status, "W", "4-bit codes"))
            return -1;
    }
    return 0;
}

static int make_fp8(struct gemm_operands *o, const struct op_sets *from, size_t count,
                    struct op_sets *code, struct op_sets *scale)
{
    if (make(o, code, from->count, count) || make(o, scale, from->count, sizeof(float)))
        return -1;
    for (int s = 0; s < from->count; s++)
        if (op_result(BY_DEVICE(o, gemm_quantise_fp8, from->set[s], count, o->exact, code->set[s],
                                scale->set[s]),
                      "X or W", "FP8 codes"))
            return -1;
    return 0;
}

int gemm_operands_open(struct gemm_operands *o, unsigned schemes, int weight_sets, int input_sets)
{
    const size_t m = (size_t)o->p.m, n = (size_t)o->p.n, k = (size_t)o->p.k;
    if (make_x(o, input_sets) || make_w(o, weight_sets) || make(o, &o->y, input_sets, 2 * m * n))
        return -1;
    if ((schemes & 1u << GEMM_W4A16 && make_w4(o, weight_sets, 0)) ||
        (schemes & 1u << GEMM_W4A16_SYM && make_w4(o, weight_sets, 1)))
        return -1;
    if (schemes & 1u << GEMM_FP8 && (make_fp8(o, &o->x, m * k, &o->x8, &o->x8_scale) ||
                                     make_fp8(o, &o->w, n * k, &o->w8, &o->w8_scale)))
        return -1;
    return cb_sync(o->device);
}

void gemm_operands_close(struct gemm_operands *o)
{
    struct op_sets *const all[] = { &o->x,       &o->y,       &o->x8,       &o->x8_scale,
                                    &o->w,       &o->w8,      &o->w8_scale, &o->code[0],
                                    &o->code[1], &o->scale[0], &o->scale[1], &o->zero[0],
                                    &o->zero[1] };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        op_sets_close(o->device, all[i]);
}

static void *at(const struct op_sets *t, int set)
{
    return t->count ? t->set[set % t->count] : NULL;
}

struct gemm_args gemm_operands_at(const struct gemm_operands *o, enum gemm_scheme scheme,
                                  int weights, int inputs)
{
    struct gemm_args a = { .x = at(&o->x, inputs), .w = at(&o->w, weights),
                           .y = at(&o->y, inputs) };
    if (scheme == GEMM_FP8) {
        a.x8 = at(&o->x8, inputs);
        a.w8 = at(&o->w8, weights);
        a.x8_scale = at(&o->x8_scale, inputs);
        a.w8_scale = at(&o->w8_scale, weights);
    } else if (scheme == GEMM_W4A16 || scheme == GEMM_W4A16_SYM) {
        const int symmetric = scheme == GEMM_W4A16_SYM;
        a.w4 = (struct gemm_w4){ at(&o->code[symmetric], weights),
                                 at(&o->scale[symmetric], weights),
                                 at(&o->zero[symmetric], weights) };
    }
    return a;
}
