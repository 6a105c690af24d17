/*
 * own_sm90.cu - rows of activations normalised, activated and quantised, each read once and
 * written once; and the same in two kernels with halves between them, the baseline.
 *
 * What is published reads a row three times for NORM and has two kernels for SILU; here a row
 * stays in registers.  What a NORM needs to know of its row, the mean square and the largest
 * value, is found in one pass: the largest |x gain| is known before the root, by which it is
 * multiplied as every other value is.  That leaves one reduction before the codes and one, of
 * which nothing but two numbers waits, after them.
 */
#include "heads.cuh"
#include "own.h"
#include "rope.cuh"
#include "rows.cuh"

/* Blocks that the device runs at once; 0 if it does not say. */
template <class Kernel> static unsigned blocks_at_once(Kernel kernel, int threads)
{
    int device, sms, blocks;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, 0))
        return 0;
    return (unsigned)(sms * blocks);
}

/* Rows without a rest are worth a kernel of their own where many follow one another, and one
 * whose blocks stay where each then has several: with one or two, some would wait for the others.
 */
template <template <int> class Kind, int V, int Blocks, bool Between>
static enum op_status launch_rows(const quant_problem *p, const quant_args *a,
                                  const quant_shape &shape, void *between, op_stream s)
{
    constexpr bool MANY = V == 4;
    /* a sum that is kept as well would need registers for two rows of two operands */
    constexpr bool STAYS = MANY && Blocks == 1 && !Between && !Kind<V>::KEEPS;
    const bool full = shape.threads * V * Blocks * V8 == p->n;
    unsigned grid = (unsigned)p->m * Blocks;
    auto kernel = MANY && full ? quant_rows<Kind, V, Blocks, Between, MANY, false>
                               : quant_rows<Kind, V, Blocks, Between, false, false>;
    if (STAYS && full && shape.form == QUANT_STAYS && shape.threads <= STAY_THREADS) {
        const auto staying = quant_rows<Kind, V, Blocks, Between, MANY, STAYS>;
        const unsigned at_once = blocks_at_once(staying, shape.threads);
        if (!at_once)
            return OP_EDEVICE;
        if (grid >= 4 * at_once) {
            kernel = staying;
            grid = at_once;
        }
    }
    return launch_early(kernel, dim3(grid), shape.threads, Blocks, s, p->m, p->n,
                        1.0f / (float)p->n, *a, (uint4 *)between);
}

template <template <int> class Kind, bool Between>
static enum op_status with_shape(const quant_problem *p, const quant_args *a,
                                 const quant_shape &shape, void *between, op_stream s)
{
    if (!shape.threads)
        return OP_EUNSUPPORTED;
#define SHAPE(V, Blocks)                                                                           \
    if (shape.vectors == V && shape.blocks == Blocks)                                              \
    return launch_rows<Kind, V, Blocks, Between>(p, a, shape, between, s)
    SHAPE(1, 1);
    SHAPE(2, 1);
    SHAPE(4, 1);
    SHAPE(1, 2);
    SHAPE(2, 2);
    SHAPE(4, 2);
    SHAPE(1, 4);
    SHAPE(2, 4);
    SHAPE(1, 8);
    SHAPE(2, 8);
#undef SHAPE
    return OP_EUNSUPPORTED;
}

static enum op_status launch_add(const quant_problem *p, const quant_args *a, op_stream s)
{
    constexpr int SHARE = ADD_THREADS * ADD_VECTORS; /* vectors of a block */
    const size_t vectors = (size_t)p->m * p->n / V8;
    return launch_early(quant_add, dim3((unsigned)((vectors + SHARE - 1) / SHARE)), ADD_THREADS, 1,
                        s, (const uint4 *)a->x, (const uint4 *)a->residual, (uint4 *)a->y, vectors);
}

OP_BEGIN

enum op_status quant_own_with(const struct quant_problem *p, const struct quant_args *a,
                              struct quant_shape shape, op_stream s)
{
    if (p->kernel != QUANT_ROPE_KV && p->n % V8)
        return OP_EUNSUPPORTED;
    switch (p->kernel) {
    case QUANT_PLAIN:
        return with_shape<Plain, false>(p, a, shape, NULL, s);
    case QUANT_NORM:
        return with_shape<PlainNorm, false>(p, a, shape, NULL, s);
    case QUANT_ADD_NORM:
        return with_shape<AddNorm, false>(p, a, shape, NULL, s);
    case QUANT_SILU:
        return with_shape<Silu, false>(p, a, shape, NULL, s);
    case QUANT_ADD:
        return launch_add(p, a, s);
    case QUANT_ROPE_KV:
        return shape.form == QUANT_HEADS ? run_heads(p, a, shape, s)
                                         : launch_rope<true, true>(p, a, s);
    }
    return OP_EINVAL;
}

enum op_status quant_own(const struct quant_problem *p, const struct quant_args *a, void *state,
                         op_stream s)
{
    (void)state;
    return quant_own_with(p, a, p->kernel == QUANT_ROPE_KV ? heads_shape_of(p) : quant_shape_of(p),
                          s);
}

enum op_status quant_unfused(const struct quant_problem *p, const struct quant_args *a, void *state,
                             op_stream s)
{
    const quant_shape shape = quant_shape_of(p);
    enum op_status status = OP_EUNSUPPORTED;
    if (p->kernel != QUANT_ROPE_KV && p->n % V8)
        return OP_EUNSUPPORTED;
    switch (p->kernel) {
    case QUANT_NORM:
        status = with_shape<PlainNorm, true>(p, a, shape, state, s);
        break;
    case QUANT_ADD_NORM:
        status = with_shape<AddNorm, true>(p, a, shape, state, s);
        break;
    case QUANT_SILU:
        status = with_shape<Silu, true>(p, a, shape, state, s);
        break;
    case QUANT_ROPE_KV:
        status = launch_rope<true, false>(p, a, s);
        return status == OP_OK ? launch_rope<false, true>(p, a, s) : status;
    case QUANT_PLAIN:
    case QUANT_ADD:
        return OP_EUNSUPPORTED;
    }
    if (status != OP_OK)
        return status;
    quant_problem plain = *p;
    quant_args second = *a;
    plain.kernel = QUANT_PLAIN;
    second.x = state;
    return with_shape<Plain, false>(p, &second, quant_shape_of(&plain), NULL, s);
}
OP_END
