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
#include <type_traits>

#include "heads.cuh"
#include "lean.cuh"
#include "own.h"
#include "rows.cuh"

/* Rows without a rest are worth a kernel of their own where many follow one another, but for SILU:
 * there the compiler has the first vectors computed before the last of both operands are asked
 * for (64 rows of 14336 4.4 us in place of 3.5). */
template <template <int> class Kind, int V, int Blocks, bool Between>
static enum op_status launch_rows(const quant_problem *p, const quant_args *a,
                                  const quant_shape &shape, void *between, op_stream s)
{
    constexpr bool WHOLE = V == 4 && !std::is_same_v<Kind<V>, Silu<V>>;
    const bool full = WHOLE && shape.threads * V * Blocks * V8 == p->n;
    return launch_early(full ? quant_rows<Kind, V, Blocks, Between, WHOLE>
                             : quant_rows<Kind, V, Blocks, Between, false>,
                        dim3((unsigned)p->m * Blocks), shape.threads, Blocks, s, p->n,
                        1.0f / (float)p->n, *a, (uint4 *)between);
}

template <int Value> struct Count {
    static constexpr int value = Value;
};

/* launch(vectors, blocks) of the shape, as types. */
template <class Launch> static enum op_status with_counts(const quant_shape &shape, Launch launch)
{
    if (!shape.threads)
        return OP_EUNSUPPORTED;
#define SHAPE(V, Blocks)                                                                           \
    if (shape.vectors == V && shape.blocks == Blocks)                                              \
        return launch(Count<V>{}, Count<Blocks>{});
    QUANT_EACH_SHAPE(SHAPE)
#undef SHAPE
    return OP_EUNSUPPORTED;
}

template <template <int> class Kind, bool Between>
static enum op_status with_shape(const quant_problem *p, const quant_args *a,
                                 const quant_shape &shape, void *between, op_stream s)
{
    return with_counts(shape, [&](auto v, auto blocks) {
        return launch_rows<Kind, decltype(v)::value, decltype(blocks)::value, Between>(p, a, shape,
                                                                                       between, s);
    });
}

template <template <int> class Kind>
static enum op_status with_lean(const quant_problem *p, const quant_args *a,
                                const quant_shape &shape, op_stream s)
{
    return with_counts(shape, [&](auto v, auto blocks) {
        constexpr int V = decltype(v)::value, Blocks = decltype(blocks)::value;
        const bool full = V == 4 && shape.threads * V * Blocks * V8 == p->n;
        const auto kernel =
            full ? quant_lean<Kind, V, Blocks, V == 4> : quant_lean<Kind, V, Blocks, false>;
        const int ahead = shape.form == QUANT_LEAN_AHEAD
                              ? (int)blocks_at_once(kernel, shape.threads) / Blocks
                              : 0;
        return launch_early(kernel, dim3((unsigned)p->m * Blocks), shape.threads, Blocks, s, p->m,
                            p->n, ahead, 1.0f / (float)p->n, *a);
    });
}

/* Codes of a row that is not normalised, in the form that the shape says. */
template <template <int> class Kind, template <int> class Lean>
static enum op_status with_form(const quant_problem *p, const quant_args *a,
                                const quant_shape &shape, op_stream s)
{
    return shape.form == QUANT_LEAN ? with_lean<Lean>(p, a, shape, s)
                                    : with_shape<Kind, false>(p, a, shape, NULL, s);
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
    const bool rows = p->kernel != QUANT_ROPE_KV && p->kernel != QUANT_ADD;
    if (p->kernel != QUANT_ROPE_KV && p->n % V8)
        return OP_EUNSUPPORTED;
    if (rows && !quant_has_form(p->kernel, shape.form))
        return OP_EUNSUPPORTED;
    switch (p->kernel) {
    case QUANT_PLAIN:
        return with_form<Plain, LeanPlain>(p, a, shape, s);
    case QUANT_NORM:
        return with_lean<LeanNorm>(p, a, shape, s);
    case QUANT_ADD_NORM:
        return with_lean<LeanAddNorm>(p, a, shape, s);
    case QUANT_SILU:
        return with_form<Silu, LeanSilu>(p, a, shape, s);
    case QUANT_ADD:
        return launch_add(p, a, s);
    case QUANT_ROPE_KV:
        return run_heads<true, true>(p, a, shape, s);
    }
    return OP_EINVAL;
}

enum op_status quant_own(const struct quant_problem *p, const struct quant_args *a, void *state,
                         op_stream s)
{
    (void)state;
    return quant_own_with(
        p, a, p->kernel == QUANT_ROPE_KV ? heads_shape_of(p, heads_all(p)) : quant_shape_of(p), s);
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
        status = run_heads<true, false>(p, a, heads_shape_of(p, p->heads + p->kv_heads), s);
        return status == OP_OK ? run_heads<false, true>(p, a, heads_shape_of(p, 2 * p->kv_heads), s)
                               : status;
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
    return with_form<Plain, LeanPlain>(p, &second, quant_shape_of(&plain), s);
}
OP_END
