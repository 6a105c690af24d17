/*
 * quant.h - what stands between the products of a decoder layer: normalise, activate,
 * rotate, add, each followed by quantisation where the next product wants codes.
 *
 * Rows of activations, X half [m][n] throughout; values in float, rounded to half once:
 *
 *   PLAIN     v = x                                          after attention
 *   NORM      v = half(x gain / sqrt(mean x^2 + eps))        before qkv, gate and up
 *   ADD_NORM  y = half(x + residual), then NORM of y         the same, residual stream kept
 *   SILU      v = half(gate / (1 + exp(-gate)) up)           before down
 *   ADD       y = half(x + residual)                         nothing is quantised
 *
 * and of v per row, as gemm/quantise.h has it for X of 8 bits:
 *
 *   a = max(max |v|, 1e-5)     scale = half(a / 127)     code = rint(v (127 / a))
 *   sum = half(sum v)          code_sum = sum of code
 *
 *   ROPE_KV   of a row x = q of `heads`, k and v of `kv_heads` heads, rotates q and k by the
 *             position of the token, rounds to half once, and writes k and v so rounded into a
 *             paged cache, KV8 or KV4 of attn/page.h
 *
 * Sources: QServe, arXiv 2405.04532, section 5.1 and the authors' kernels.
 */
#ifndef KERNELS_QUANT_H
#define KERNELS_QUANT_H

#include "../op.h"

OP_BEGIN

enum quant_kernel { QUANT_PLAIN, QUANT_NORM, QUANT_ADD_NORM, QUANT_SILU, QUANT_ADD, QUANT_ROPE_KV };

#define QUANT_EPS       1e-5f
#define QUANT_ROPE_BASE 10000.0f /* angle of pair j of D / 2: token base^(-2 j / D) */
enum { QUANT_HEAD_MAX = 256 };

struct quant_problem {
    enum quant_kernel kernel;
    int m, n; /* rows (tokens), channels; each >= 1.  ROPE_KV: n = (heads + 2 kv_heads) head_dim */
    /* ROPE_KV, else 0.  Tokens are those of m / length sequences, from their start on:
     * row i is token i % length of sequence i / length */
    int heads, kv_heads; /* kv_heads divides heads */
    int head_dim;        /* a multiple of 32 */
    int bits;            /* of the cache: 4 or 8 */
    int page;            /* tokens per page, a multiple of 16 */
    int length;          /* divides m */
};

/* Operands of one launch, 256-byte aligned, row-major.  What a kernel has no use for is NULL. */
struct quant_args {
    const void *x;        /* half [m][n]; SILU: [m][2 n], gate then up */
    const void *residual; /* half [m][n]; ADD, ADD_NORM */
    const void *gain;     /* half [n]; NORM, ADD_NORM */
    void *y;              /* half [m][n]: ADD, ADD_NORM; ROPE_KV: [m][heads + kv_heads][head_dim] */
    signed char *code;    /* [m][n] */
    void *scale, *sum;    /* half [m] */
    int *code_sum;        /* [m]; rows without code_sums leave it alone */
    /* ROPE_KV */
    const float *rotation; /* [length][head_dim / 2][2]: cosine and sine of the angle by which
                            * channels j and j + head_dim / 2 of a head turn */
    void *const *page;     /* [m / length][2][quant_table_pages]: keys, then values */
};

/* As attn_table_pages has it. */
static inline int quant_table_pages(const struct quant_problem *p)
{
    return (p->length + p->page - 1) / p->page + 1;
}

typedef enum op_status quant_run_fn(const struct quant_problem *, const struct quant_args *,
                                    void *state, op_stream);
/* Once per operand set, takes memory for what is kept between two launches of a row; *state is
 * that of the first set on entry, to be shared. */
typedef enum op_status quant_setup_fn(const struct quant_problem *, const struct quant_args *,
                                      const struct op_memory *, op_stream, void **state);

/* How a row's arithmetic departs from the definition; which changes what is correct, not how
 * well it is checked. */
enum quant_flag {
    QUANT_CODES_OF_FLOAT = 1,   /* NORM: codes of the values before they are rounded to half */
    QUANT_SILU_TWICE = 2,       /* SILU: the activation is rounded to half before the product */
    QUANT_SUMS_HALF = 4,        /* NORM: each of 1024 threads adds up in half */
    QUANT_NO_LEAST = 8,         /* a is not kept above 1e-5, or above less than that */
    QUANT_CACHE_AS_STORED = 16, /* ROPE_KV: as cache.h has it of what is published */
    QUANT_ANGLES = 32           /* ROPE_KV: makes its angles in float, off by 2^-22 of the token */
};

struct quant_impl {
    struct op_impl base; /* first */
    unsigned arithmetic; /* enum quant_flag, or-ed */
    int code_sums;       /* writes code_sum */
    /* OP_OK, or OP_EUNSUPPORTED and *why set to a constant text. */
    enum op_status (*supports)(const struct quant_problem *, const char **why);
    /* Bytes moved beside the operands once: what one launch leaves to the next. */
    double (*extra_bytes)(const struct quant_problem *);
    quant_setup_fn *setup; /* NULL: none */
    quant_run_fn *run;     /* NULL where the build has no CUDA */
};

/* Tables, ended by an entry whose base.name is NULL. */
extern const struct quant_impl quant_references[]; /* ref.c: host */
extern const struct quant_impl quant_kernels[];    /* impls.c */

/* Is the problem one?  OP_OK or OP_EINVAL. */
enum op_status quant_valid(const struct quant_problem *p);

/* Bytes of every operand once: the floor under the time of any implementation. */
double quant_read_bytes(const struct quant_problem *p);
double quant_written_bytes(const struct quant_problem *p);

/* Row i in double precision, of host operands: PLAIN, NORM, SILU the values v before they are
 * rounded, [n]; ADD the sum y; ADD_NORM the values of the rounded y. */
void quant_ref_row(const struct quant_problem *p, const struct quant_args *a, int i, double *v);

OP_END
#endif
