/* impls.c - the table of kernels of gemm, and which problems each covers. */
#include "awq_layout.h"
#include "published.h"

/* ---- which problems ---- */

static enum op_status no(const char **why, const char *text)
{
    *why = text;
    return OP_EUNSUPPORTED;
}

/* The groups that AWQ's kernels were written for. */
static enum op_status awq_groups(const struct gemm_problem *p, const char **why)
{
    if (p->group != 64 && p->group != 128)
        return no(why, "group is neither 64 nor 128");
    if (p->k % p->group)
        return no(why, "group does not divide k");
    return OP_OK;
}

static enum op_status awq_tiles(const struct gemm_problem *p, const char **why)
{
    if (p->n % 128)
        return no(why, "n is not a multiple of 128, the width of the published tile");
    return awq_groups(p, why);
}

static enum op_status awq2023_rows(const struct gemm_problem *p, const char **why)
{
    if (p->m > 8)
        return no(why, "m exceeds 8: published for up to 8 tokens");
    if (p->n % 4)
        return no(why, "n is not a multiple of 4, the rows of a block");
    return awq_groups(p, why);
}

static enum op_status awq2024_rows(const struct gemm_problem *p, const char **why)
{
    if (p->m > 7)
        return no(why, "m exceeds 7: published for less than 8 tokens");
    if (p->n % 8)
        return no(why, "n is not a multiple of 8, the rows of a block");
    return awq_groups(p, why);
}

static enum op_status awq2024_tiles(const struct gemm_problem *p, const char **why)
{
    if (p->m < 8)
        return no(why, "m is less than 8: the published code takes the GEMV");
    return awq_tiles(p, why);
}

static enum op_status gptq_words(const struct gemm_problem *p, const char **why)
{
    if (p->n % 8 || p->k % 8)
        return no(why, "n or k is not a multiple of 8, the codes of a word");
    if (p->k % p->group)
        return no(why, "group does not divide k");
    return OP_OK;
}

/* ---- bytes ---- */

static double codes_bytes(const struct gemm_problem *p)
{
    return 0.5 * p->n * p->k;
}

/* A half scale and 4 bits of zero point for each group that there is room for. */
static double awq2023_gemv_bytes(const struct gemm_problem *p)
{
    return codes_bytes(p) + 2.5 * 8 * awq_zero_words(p->k, p->group) * p->n;
}

static double awq2024_bytes(const struct gemm_problem *p)
{
    return codes_bytes(p) + 4.0 * 8 * awq_zero_words(p->k, p->group) * p->n;
}

/* A group index for every input channel; with reordering an input channel too. */
static double gptq_bytes(const struct gemm_problem *p)
{
    return gemm_weight_bytes(p, GEMM_W4A16) + 4.0 * p->k;
}

static double gptq_r_bytes(const struct gemm_problem *p)
{
    return gptq_bytes(p) + 4.0 * p->k;
}

/* Half partial sums of eight slices, written and read. */
static double awq2023_partials(const struct gemm_problem *p)
{
    return 2.0 * 8 * 2 * p->m * p->n;
}

/* The first half of k's sums, where k is split. */
static double awq2024_partials(const struct gemm_problem *p)
{
    return p->m <= 32 ? 2.0 * 2 * p->m * p->n : 0;
}

static double awq2024_partials_f32(const struct gemm_problem *p)
{
    return 2 * awq2024_partials(p);
}

/* ---- the table ---- */

#define AWQ2023 "AWQ, arXiv 2306.00978, code of June 2023"
#define AWQ2023_GEMV "AWQ, arXiv 2306.00978, code of September 2023"
#define AWQ2024 "AWQ, arXiv 2306.00978, code of February 2024"

#define AWQ2023_GEMM_ROW                                                                          \
    .scheme = GEMM_W4A16, .accumulate = GEMM_ACC_F32, .supports = awq_tiles,                      \
    .extra_bytes = awq2023_partials, .setup = OP_CUDA(gemm_awq2023_gemm_setup),                   \
    .teardown = OP_CUDA(w4_packed_free)
#define AWQ2024_GEMV_ROW(sums)                                                                    \
    .scheme = GEMM_W4A16, .accumulate = sums, .rounds_zero = 1, .supports = awq2024_rows,         \
    .weight_bytes = awq2024_bytes, .setup = OP_CUDA(gemm_awq2024_gemv_setup),                     \
    .teardown = OP_CUDA(w4_packed_free)
#define AWQ2024_GEMM_ROW(sums, partials)                                                          \
    .scheme = GEMM_W4A16, .accumulate = sums, .rounds_zero = 1, .supports = awq2024_tiles,        \
    .weight_bytes = awq2024_bytes, .extra_bytes = partials,                                       \
    .setup = OP_CUDA(gemm_awq2024_gemm_setup), .teardown = OP_CUDA(w4_packed_free)

/* base of the row that leaves a stage out of w4a16_<kernel> */
#define WITHOUT(kernel, suffix, text, from, left_out, instance)                                   \
    .base = { .name = "w4a16_" #kernel "_" #suffix, .title = text ", " #suffix, .origin = from,   \
              .role = OP_ABLATION, .ablates = "w4a16_" #kernel, .stage = left_out,                \
              .sm_min = 80, .sm_max = 999, .symbol = instance },                                  \
    .run = OP_CUDA(gemm_##kernel##_##suffix)

/* The instances that the smallest numbers of tokens run. */
#define GEMM_2023(stage) "awq2023_gemmIL8op_stage" #stage "E"
#define GEMV_2024(stage, sum) "awq2024_gemvILi1EL8op_stage" #stage "E" sum
#define GEMM_2024(stage, sum) "awq2024_gemmI8AwqShapeILi16ELi128ELi2ELi4EEL8op_stage" #stage "E" sum

const struct gemm_impl gemm_kernels[] = {
    /* published: AWQ */
    { .base = { .name = "w4a16_awq2023_gemm", .title = "AWQ 2023 GEMM", .role = OP_PAPER,
                .origin = AWQ2023, .sm_min = 80, .sm_max = 999, .symbol = GEMM_2023(0) },
      AWQ2023_GEMM_ROW, .run = OP_CUDA(gemm_awq2023_gemm) },
    { .base = { .name = "w4a16_awq2023_gemv", .title = "AWQ 2023 GEMV", .role = OP_PAPER,
                .origin = AWQ2023_GEMV, .sm_min = 80, .sm_max = 999, .symbol = "awq2023_gemv" },
      .scheme = GEMM_W4A16, .accumulate = GEMM_ACC_F32, .supports = awq2023_rows,
      .weight_bytes = awq2023_gemv_bytes, .setup = OP_CUDA(gemm_awq2023_gemv_setup),
      .teardown = OP_CUDA(w4_packed_free), .run = OP_CUDA(gemm_awq2023_gemv) },
    { .base = { .name = "w4a16_awq2024_gemv", .title = "AWQ 2024 GEMV", .role = OP_PAPER,
                .origin = AWQ2024 ", half sums in a thread", .sm_min = 80, .sm_max = 999,
                .symbol = GEMV_2024(0, "7__half2") },
      AWQ2024_GEMV_ROW(GEMM_ACC_F16), .run = OP_CUDA(gemm_awq2024_gemv) },
    { .base = { .name = "w4a16_awq2024_gemv_f32", .title = "AWQ 2024 GEMV, float sums",
                .role = OP_PAPER, .origin = AWQ2024 ", with float sums", .sm_min = 80,
                .sm_max = 999, .symbol = GEMV_2024(0, "6float2") },
      AWQ2024_GEMV_ROW(GEMM_ACC_F32), .run = OP_CUDA(gemm_awq2024_gemv_f32) },
    { .base = { .name = "w4a16_awq2024_gemm", .title = "AWQ 2024 GEMM", .role = OP_PAPER,
                .origin = AWQ2024 ", half sums since December 2024", .sm_min = 80, .sm_max = 999,
                .symbol = GEMM_2024(0, "6InHalf") },
      AWQ2024_GEMM_ROW(GEMM_ACC_F16, awq2024_partials), .run = OP_CUDA(gemm_awq2024_gemm) },
    { .base = { .name = "w4a16_awq2024_gemm_f32", .title = "AWQ 2024 GEMM, float sums",
                .role = OP_PAPER, .origin = AWQ2024 ", with float sums", .sm_min = 80,
                .sm_max = 999, .symbol = GEMM_2024(0, "7InFloat") },
      AWQ2024_GEMM_ROW(GEMM_ACC_F32, awq2024_partials_f32),
      .run = OP_CUDA(gemm_awq2024_gemm_f32) },

    /* published: GPTQ, what AWQ compares with */
    { .base = { .name = "w4a16_gptq", .title = "GPTQ", .role = OP_PAPER,
                .origin = "GPTQ-for-LLaMa's Triton kernel, in CUDA", .sm_min = 80, .sm_max = 999,
                .symbol = "gptqI9GptqShapeILi16ELi32ELi128ELi1EELb0E" },
      .scheme = GEMM_W4A16, .accumulate = GEMM_ACC_F32, .supports = gptq_words,
      .weight_bytes = gptq_bytes, .setup = OP_CUDA(gemm_gptq_setup),
      .teardown = OP_CUDA(w4_packed_free), .run = OP_CUDA(gemm_gptq) },
    { .base = { .name = "w4a16_gptq_r", .title = "GPTQ reordered", .role = OP_PAPER,
                .origin = "GPTQ-for-LLaMa's Triton kernel, in CUDA, input channels in a random "
                          "order for that of sensitivity, X gathered",
                .sm_min = 80, .sm_max = 999,
                .symbol = "gptqI9GptqShapeILi16ELi32ELi128ELi1EELb1E" },
      .scheme = GEMM_W4A16, .accumulate = GEMM_ACC_F32, .supports = gptq_words,
      .weight_bytes = gptq_r_bytes, .setup = OP_CUDA(gemm_gptq_r_setup),
      .teardown = OP_CUDA(w4_packed_free), .run = OP_CUDA(gemm_gptq_r) },

    /* AWQ's kernels with a stage left out */
    { WITHOUT(awq2023_gemm, nodeq, "AWQ 2023 GEMM", AWQ2023, OP_NODEQ, GEMM_2023(1)),
      AWQ2023_GEMM_ROW },
    { WITHOUT(awq2023_gemm, loadonly, "AWQ 2023 GEMM", AWQ2023, OP_LOADONLY, GEMM_2023(2)),
      AWQ2023_GEMM_ROW },
    { WITHOUT(awq2023_gemm, mmaonly, "AWQ 2023 GEMM", AWQ2023, OP_MMAONLY, GEMM_2023(3)),
      AWQ2023_GEMM_ROW },
    { WITHOUT(awq2023_gemm, deqonly, "AWQ 2023 GEMM", AWQ2023, OP_DEQONLY, GEMM_2023(4)),
      AWQ2023_GEMM_ROW },
    { WITHOUT(awq2024_gemv, nodeq, "AWQ 2024 GEMV", AWQ2024, OP_NODEQ, GEMV_2024(1, "7__half2")),
      AWQ2024_GEMV_ROW(GEMM_ACC_F16) },
    { WITHOUT(awq2024_gemv, loadonly, "AWQ 2024 GEMV", AWQ2024, OP_LOADONLY,
              GEMV_2024(2, "7__half2")),
      AWQ2024_GEMV_ROW(GEMM_ACC_F16) },
    { WITHOUT(awq2024_gemv, mmaonly, "AWQ 2024 GEMV", AWQ2024, OP_MMAONLY,
              GEMV_2024(3, "7__half2")),
      AWQ2024_GEMV_ROW(GEMM_ACC_F16) },
    { WITHOUT(awq2024_gemv, deqonly, "AWQ 2024 GEMV", AWQ2024, OP_DEQONLY,
              GEMV_2024(4, "7__half2")),
      AWQ2024_GEMV_ROW(GEMM_ACC_F16) },
    { WITHOUT(awq2024_gemm, nodeq, "AWQ 2024 GEMM", AWQ2024, OP_NODEQ, GEMM_2024(1, "6InHalf")),
      AWQ2024_GEMM_ROW(GEMM_ACC_F16, awq2024_partials) },
    { WITHOUT(awq2024_gemm, loadonly, "AWQ 2024 GEMM", AWQ2024, OP_LOADONLY,
              GEMM_2024(2, "6InHalf")),
      AWQ2024_GEMM_ROW(GEMM_ACC_F16, awq2024_partials) },
    { WITHOUT(awq2024_gemm, mmaonly, "AWQ 2024 GEMM", AWQ2024, OP_MMAONLY,
              GEMM_2024(3, "6InHalf")),
      AWQ2024_GEMM_ROW(GEMM_ACC_F16, awq2024_partials) },
    { WITHOUT(awq2024_gemm, deqonly, "AWQ 2024 GEMM", AWQ2024, OP_DEQONLY,
              GEMM_2024(4, "6InHalf")),
      AWQ2024_GEMM_ROW(GEMM_ACC_F16, awq2024_partials) },

    { .base = { .name = NULL } },
};
