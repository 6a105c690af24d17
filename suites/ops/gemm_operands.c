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

/* ---- integer codes ---- */

/* Which of the three forms of codes a scheme takes; X of W4A8 is that of W8A8. */
static int form_of(enum gemm_scheme s)
{
    return s == GEMM_W4A4_GROUP ? 2 : s == GEMM_W4A4_CHANNEL ? 1 : 0;
}

static unsigned bit(enum gemm_scheme s)
{
    return 1u << s;
}

/* Halves to make codes from: those of a set, or into scratch ones that lose nothing. */
static int source_of(struct gemm_operands *o, const struct op_sets *from, int set, size_t rows,
                     size_t length, int low, int high, int shifted, void *scratch,
                     const void **out)
{
    const bool x = from == &o->x;
    *out = from->set[set];
    if (!o->exact)
        return 0;
    *out = scratch;
    return op_result(BY_DEVICE(o, gemm_exact_rows, rows, length, low, high, shifted,
                               exact_seed(o, x ? GEMM_TENSOR_X : GEMM_TENSOR_W, set), scratch),
                     x ? "X" : "W", "exact values");
}

/* scheme: one of those that have the form. */
static int make_int_x(struct gemm_operands *o, int sets, enum gemm_scheme scheme, unsigned schemes,
                      void *scratch)
{
    const struct int_codes c = int_codes_of(&o->p, scheme);
    const int form = form_of(scheme);
    const size_t m = (size_t)o->p.m, count = m * (size_t)o->p.k, rows = count / (size_t)c.length;
    const bool sums = !form && schemes & (bit(GEMM_W4A8_CHANNEL) | bit(GEMM_W4A8_GROUP));
    const bool groups = !form && schemes & bit(GEMM_W4A8_GROUP);
    struct op_sets *code = &o->int_x[form], *scale = &o->int_x_scale[form];
    if (make(o, code, sets, count) || make(o, scale, sets, 2 * rows) ||
        (sums && (make(o, &o->x_sum, sets, 2 * m) || make(o, &o->x_code_sum, sets, 4 * m))) ||
        (groups && make(o, &o->x_group_sum, sets, 4 * count / (size_t)o->p.group)))
        return -1;
    for (int s = 0; s < sets; s++) {
        const struct int_x_sums to = { sums ? o->x_sum.set[s] : NULL,
                                       sums ? o->x_code_sum.set[s] : NULL,
                                       groups ? o->x_group_sum.set[s] : NULL };
        const void *x;
        if (source_of(o, &o->x, s, rows, (size_t)c.length, -c.top, c.top, 0, scratch, &x) ||
            op_result(BY_DEVICE(o, gemm_quantise_int_x, &o->p, scheme, x, code->set[s],
                                scale->set[s], to),
                      "X", "integer codes"))
            return -1;
    }
    return 0;
}

static int make_int_w(struct gemm_operands *o, int sets, enum gemm_scheme scheme, void *scratch)
{
    const struct int_codes c = int_codes_of(&o->p, scheme);
    const size_t count = (size_t)o->p.n * (size_t)o->p.k, rows = count / (size_t)c.length;
    struct op_sets *code = &o->int_w[form_of(scheme)], *scale = &o->int_w_scale[form_of(scheme)];
    if (make(o, code, sets, count) || make(o, scale, sets, 2 * rows))
        return -1;
    for (int s = 0; s < sets; s++) {
        const void *w;
        if (source_of(o, &o->w, s, rows, (size_t)c.length, -c.top, c.top, 0, scratch, &w) ||
            op_result(BY_DEVICE(o, gemm_quantise_int_w, &o->p, scheme, w, code->set[s],
                                scale->set[s]),
                      "W", "integer codes"))
            return -1;
    }
    return 0;
}

static int make_w4a8(struct gemm_operands *o, int sets, int progressive, void *scratch)
{
    const int top = PROTECTED_TOP;
    const size_t n = (size_t)o->p.n, k = (size_t)o->p.k;
    const size_t zeros = progressive ? n * k / (size_t)o->p.group : n;
    struct op_sets *code = &o->w4a8[progressive], *scale = &o->w4a8_scale[progressive],
                   *second = &o->w4a8_second[progressive], *zero = &o->w4a8_zero[progressive];
    if (make(o, code, sets, n * k) || make(o, scale, sets, 2 * n) ||
        make(o, second, sets, progressive ? zeros : 2 * n) || make(o, zero, sets, zeros))
        return -1;
    for (int s = 0; s < sets; s++) {
        const void *w;
        if (source_of(o, &o->w, s, n, k, progressive ? -top : 0, progressive ? top : 15,
                      !progressive, scratch, &w))
            return -1;
        const enum op_status status =
            progressive ? BY_DEVICE(o, gemm_quantise_w4_progressive, &o->p, w, code->set[s],
                                    scale->set[s], second->set[s], zero->set[s])
                        : BY_DEVICE(o, gemm_quantise_w4_channel, &o->p, w, code->set[s],
                                    scale->set[s], second->set[s], zero->set[s]);
        if (op_result(status, "W", progressive ? "progressive codes" : "4-bit codes"))
            return -1;
    }
    return 0;
}

static int make_int(struct gemm_operands *o, unsigned schemes, int weight_sets, int input_sets,
                    void *scratch)
{
    static const enum gemm_scheme signed_codes[] = { GEMM_W8A8, GEMM_W4A4_CHANNEL,
                                                     GEMM_W4A4_GROUP };
    const unsigned w4a8 = bit(GEMM_W4A8_CHANNEL) | bit(GEMM_W4A8_GROUP);
    for (int i = 0; i < 3; i++) {
        const enum gemm_scheme s = signed_codes[i];
        if (schemes & (bit(s) | (s == GEMM_W8A8 ? w4a8 : 0)) &&
            make_int_x(o, input_sets, s, schemes, scratch))
            return -1;
        if (schemes & bit(s) && make_int_w(o, weight_sets, s, scratch))
            return -1;
    }
    if (schemes & bit(GEMM_W4A8_CHANNEL) && make_w4a8(o, weight_sets, 0, scratch))
        return -1;
    return schemes & bit(GEMM_W4A8_GROUP) ? make_w4a8(o, weight_sets, 1, scratch) : 0;
}

static int make_ints(struct gemm_operands *o, unsigned schemes, int weight_sets, int input_sets)
{
    const size_t m = (size_t)o->p.m, n = (size_t)o->p.n, k = (size_t)o->p.k;
    void *scratch = NULL;
    if (!(schemes >> GEMM_W8A8))
        return 0;
    if (o->exact && cb_alloc(o->device, 2 * (m > n ? m : n) * k, &scratch))
        return -1;
    int status = make_int(o, schemes, weight_sets, input_sets, scratch);
    if (!status)
        status = cb_sync(o->device); /* before the scratch goes */
    cb_free(o->device, scratch);
    return status;
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
    if (make_ints(o, schemes, weight_sets, input_sets))
        return -1;
    return cb_sync(o->device);
}

void gemm_operands_close(struct gemm_operands *o)
{
    struct op_sets *const one[] = { &o->x,        &o->y,     &o->x8,         &o->x8_scale, &o->w,
                                    &o->w8,       &o->w8_scale, &o->x_sum,   &o->x_code_sum,
                                    &o->x_group_sum };
    struct op_sets *const two[] = { o->code,       o->scale,       o->zero,     o->w4a8,
                                    o->w4a8_scale, o->w4a8_second, o->w4a8_zero };
    struct op_sets *const three[] = { o->int_x, o->int_x_scale, o->int_w, o->int_w_scale };
    for (size_t i = 0; i < sizeof one / sizeof *one; i++)
        op_sets_close(o->device, one[i]);
    for (size_t i = 0; i < 2 * sizeof two / sizeof *two; i++)
        op_sets_close(o->device, &two[i / 2][i % 2]);
    for (size_t i = 0; i < 3 * sizeof three / sizeof *three; i++)
        op_sets_close(o->device, &three[i / 3][i % 3]);
}

static void *at(const struct op_sets *t, int set)
{
    return t->count ? t->set[set % t->count] : NULL;
}

static void integers_at(const struct gemm_operands *o, enum gemm_scheme scheme, int weights,
                        int inputs, struct gemm_args *a)
{
    const int form = form_of(scheme), progressive = scheme == GEMM_W4A8_GROUP;
    const bool w4a8 = progressive || scheme == GEMM_W4A8_CHANNEL;
    a->int_x.code = at(&o->int_x[form], inputs);
    a->int_x.scale = at(&o->int_x_scale[form], inputs);
    if (w4a8) {
        a->int_x.sum = at(&o->x_sum, inputs);
        a->int_x.code_sum = at(&o->x_code_sum, inputs);
        a->int_x.group_sum = progressive ? at(&o->x_group_sum, inputs) : NULL;
    }
    void *const code = at(&o->w4a8[progressive], weights),
               *const scale = at(&o->w4a8_scale[progressive], weights),
               *const second = at(&o->w4a8_second[progressive], weights),
               *const zero = at(&o->w4a8_zero[progressive], weights);
    if (progressive)
        a->w4_progressive = (struct gemm_w4_progressive){ code, scale, second, zero };
    else if (w4a8)
        a->w4_channel = (struct gemm_w4_channel){ code, scale, second, zero };
    else
        a->int_w = (struct gemm_int_w){ at(&o->int_w[form], weights),
                                        at(&o->int_w_scale[form], weights) };
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
    } else if (scheme >= GEMM_W8A8) {
        integers_at(o, scheme, weights, inputs, &a);
    }
    return a;
}
