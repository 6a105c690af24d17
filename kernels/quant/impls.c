/* impls.c - the table of kernels of quant, and which problems each covers. */
#include "own.h"
#include "published.h"
#include "quant.h"

static enum op_status no(const char **why, const char *text)
{
    *why = text;
    return OP_EUNSUPPORTED;
}

/* ---- which problems ---- */

static enum op_status published(const struct quant_problem *p, const char **why)
{
    (void)p, (void)why;
    return OP_OK;
}

static enum op_status own(const struct quant_problem *p, const char **why)
{
    const int wide = p->kernel != QUANT_ADD && p->kernel != QUANT_ROPE_KV;
    if (p->n % QUANT_VECTOR)
        return no(why, "n is not a multiple of 8");
    if (wide && !quant_shape_of(p).threads)
        return no(why, "a row does not fit the registers of a cluster");
    return OP_OK;
}

static enum op_status unfused(const struct quant_problem *p, const char **why)
{
    if (p->kernel == QUANT_PLAIN || p->kernel == QUANT_ADD)
        return no(why, "one kernel as it is: nothing is fused");
    return own(p, why);
}

/* ---- halves between two kernels of a row ---- */

static int has_between(const struct quant_problem *p, int fused_norm)
{
    return p->kernel == QUANT_SILU ||
           (!fused_norm && (p->kernel == QUANT_NORM || p->kernel == QUANT_ADD_NORM));
}

static enum op_status between_setup(const struct quant_problem *p, const struct quant_args *a,
                                    const struct op_memory *memory, op_stream s, void **state)
{
    (void)a, (void)s;
    if (!has_between(p, 0))
        return OP_OK;
    if (!*state)
        *state = memory->take(memory->context, 2 * (size_t)p->m * (size_t)p->n);
    return *state ? OP_OK : OP_ENOMEM;
}

/* Written and read. */
static double unfused_bytes(const struct quant_problem *p)
{
    if (p->kernel == QUANT_ROPE_KV) /* the keys that the second kernel reads */
        return 2.0 * p->m * p->kv_heads * p->head_dim;
    return has_between(p, 0) ? 4.0 * p->m * p->n : 0;
}

/* The sum that NORM reads again too; rows are counted once, as they stay in the caches. */
static double published_bytes(const struct quant_problem *p)
{
    const double between = has_between(p, 1) ? 4.0 : p->kernel == QUANT_ADD_NORM ? 2.0 : 0;
    return between * p->m * p->n;
}

/* ---- the table ---- */

const struct quant_impl quant_kernels[] = {
    { .base = { .name = "quant_published",
                .title = "QServe",
                .role = OP_PAPER,
                .origin = "QServe, arXiv 2405.04532, section 5.1, and the authors' kernels",
                .sm_min = 75,
                .sm_max = 999 },
      .arithmetic = QUANT_CODES_OF_FLOAT | QUANT_SILU_TWICE | QUANT_SUMS_HALF | QUANT_NO_LEAST |
                    QUANT_CACHE_AS_STORED | QUANT_ANGLES,
      .supports = published,
      .extra_bytes = published_bytes,
      .setup = between_setup,
      .run = OP_CUDA(quant_published) },
    { .base = { .name = "quant_unfused",
                .title = "two kernels, halves between",
                .role = OP_BASELINE,
                .origin = "normalise, activate or rotate, then quantise: the kernels of quant_own "
                          "taken apart",
                .sm_min = 90,
                .sm_max = 90 },
      .code_sums = 1,
      .supports = unfused,
      .extra_bytes = unfused_bytes,
      .setup = between_setup,
      .run = OP_CUDA(quant_unfused) },
    { .base = { .name = "quant_own",
                .title = "rows in registers",
                .role = OP_OWN,
                .origin = "for the work of QServe, arXiv 2405.04532, section 5.1",
                .sm_min = 90,
                .sm_max = 90 },
      .code_sums = 1,
      .supports = own,
      .run = OP_CUDA(quant_own) },
    { .base = { .name = NULL } },
};
