/* impls.c - the table of kernels of gemm, and which problems each covers. */
#include "awq_layout.h"
#include "published.h"
#include "qserve_kernels.h"
#include "qserve_layout.h"
#include "w4a16.h"
#include "w4a16_shapes.h"
#include "w4a8.h"
#include "w4a8_shapes.h"
#include "w4a8_stream.h"
#include "w4a8_strips.h"

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

static enum op_status own_groups(const struct gemm_problem *p, const char **why)
{
    if (p->group != W4_GROUP)
        return no(why, "group is not 128");
    if (p->n % 8)
        return no(why, "n is not a multiple of 8, 16 bytes of a row of Y");
    return OP_OK;
}

/* What w4a16_small plans on a GPU with 132 multiprocessors of 228 kB. */
static int own_small_plan(const struct gemm_problem *p, int overlap, struct w4_small_plan *plan)
{
    const struct w4_small_shape s = w4_small_shape(p, 132, overlap);
    const size_t room = s.room == 1 ? 232448 : 233472 / (size_t)s.room - 1024;
    return w4_small_plan(p, 0, s, 132 * s.blocks, 0, room, W4_STAGES, plan);
}

static enum op_status own_small(const struct gemm_problem *p, const char **why)
{
    struct w4_small_plan plan;
    if (own_groups(p, why))
        return OP_EUNSUPPORTED;
    if (p->m > W4_SMALL_TOKENS)
        return no(why, "m exceeds 32: w4a16_large is for more tokens");
    if (own_small_plan(p, 0, &plan) || own_small_plan(p, 1, &plan))
        return no(why, "n k is too large for the 32 bits in which parts of W are counted");
    return OP_OK;
}

static enum op_status own_strips(const struct gemm_problem *p, const char **why)
{
    if (own_groups(p, why))
        return OP_EUNSUPPORTED;
    if (p->m > W4_STRIPS_TOKENS)
        return no(why, "m exceeds 16: w4a16_small and w4a16_large are for more tokens");
    if (!w4_strips_takes(p))
        return no(why, "n k is too large for the 32 bits in which strips are counted");
    return OP_OK;
}

/* Tiles of QServe's kernels: k by the tile's, n by its width, group as published. */
static enum op_status qserve_tiles(const struct gemm_problem *p, int n, int k, const char **why)
{
    if (p->k > 132096)
        return no(why, "k exceeds 132096: sums of so many products may not fit 32 bits");
    if (p->k % k)
        return no(why, k == 128 ? "k is not a multiple of 128, the depth of the published tile"
                                : "k is not a multiple of 64, the depth of the published tile");
    if (p->n % n)
        return no(why, n == 256   ? "n is not a multiple of 256, the width of the published tile"
                       : n == 128 ? "n is not a multiple of 128, the width of the published tile"
                                  : "n is not a multiple of 64, the width of the published tile");
    return OP_OK;
}

static enum op_status qserve_w8a8(const struct gemm_problem *p, const char **why)
{
    return qserve_tiles(p, p->m > 128 ? 256 : 64, 64, why);
}

static enum op_status qserve_channel(const struct gemm_problem *p, const char **why)
{
    return qserve_tiles(p, p->m > 256 ? 128 : 64, p->m < 128 ? 128 : 64, why);
}

static enum op_status qserve_groups(const struct gemm_problem *p, int n, const char **why)
{
    if (p->group != QSERVE_GROUP)
        return no(why, "group is not 128, the only one published");
    return qserve_tiles(p, n, 128, why);
}

static enum op_status qserve_group(const struct gemm_problem *p, const char **why)
{
    return qserve_groups(p, p->m > 128 ? 128 : 64, why);
}

static enum op_status qserve_group_v2(const struct gemm_problem *p, const char **why)
{
    return qserve_groups(p, 64, why);
}

static enum op_status atom_tiles(const struct gemm_problem *p, const char **why)
{
    return qserve_groups(p, 128, why);
}

static enum op_status quarot_tiles(const struct gemm_problem *p, const char **why)
{
    return qserve_tiles(p, 256, 128, why);
}

static enum op_status own_bytes_of_x(const struct gemm_problem *p, int grouped, const char **why)
{
    if (p->k > W4A8_MOST_K)
        return no(why, "k exceeds 65536: sums of so many products may not fit 32 bits");
    if (p->k % 16 || p->n % 8)
        return no(why, "k is not a multiple of 16 or n not one of 8: 16 bytes of a row");
    return w4a8_covers(p, grouped) ? OP_OK : no(why, "group is not 128");
}

static enum op_status own_channel(const struct gemm_problem *p, const char **why)
{
    return own_bytes_of_x(p, 0, why);
}

static enum op_status own_group(const struct gemm_problem *p, const char **why)
{
    return own_bytes_of_x(p, 1, why);
}

static enum op_status own_channel_few(const struct gemm_problem *p, const char **why)
{
    return p->m > W4A8_FEW ? no(why, "m exceeds 32") : own_channel(p, why);
}

static enum op_status own_group_few(const struct gemm_problem *p, const char **why)
{
    return p->m > W4A8_FEW ? no(why, "m exceeds 32") : own_group(p, why);
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

static double own_bytes(const struct gemm_problem *p)
{
    return (double)w4_packed_bytes(p->n, p->k, 0, W4_NEAR);
}

static double own_sym_bytes(const struct gemm_problem *p)
{
    return (double)w4_packed_bytes(p->n, p->k, 1, W4_NEAR);
}

/* Float sums of tiles that blocks share, written and read. */
static double own_small_sums(const struct gemm_problem *p, int overlap)
{
    struct w4_small_plan plan;
    return own_small_plan(p, overlap, &plan) ? 0 : 2.0 * (double)plan.workspace_bytes;
}

static double own_small_partials(const struct gemm_problem *p)
{
    return own_small_sums(p, 0);
}

static double own_small_pdl_partials(const struct gemm_problem *p)
{
    return own_small_sums(p, 1);
}

/* Where the choice is w4a16_small. */
static double own_partials(const struct gemm_problem *p)
{
    return w4_small_best(p) ? own_small_sums(p, 0) : 0;
}

static double own_pdl_partials(const struct gemm_problem *p)
{
    return w4_small_best(p) && !w4_strips_best(p) ? own_small_sums(p, 1) : 0;
}

static double own_channel_bytes(const struct gemm_problem *p)
{
    return (double)w4a8_packed_bytes(p->n, p->k, 0) + 4.0 * p->n;
}

static double own_group_bytes(const struct gemm_problem *p)
{
    return (double)w4a8_packed_bytes(p->n, p->k, 1) + 2.0 * p->n;
}

/* Sums of tiles that blocks share, written and read, on a GPU with 132 multiprocessors. */
static double own_w4a8_sums(const struct gemm_problem *p, int grouped)
{
    const struct w4a8_shape shape = w4a8_best(p, 132);
    struct w4a8_plan plan;
    if (w4a8_strips_best(p, grouped, 132) || w4a8_stream_best(p, grouped, 132) ||
        w4a8_plan(p, grouped, shape, 132 * shape.each / shape.cluster, 232448, &plan))
        return 0;
    return 2 * w4a8_partials(&plan, w4a8_div_up(p->k, W4A8_GROUP));
}

static double own_channel_sums(const struct gemm_problem *p)
{
    return own_w4a8_sums(p, 0);
}

static double own_group_sums(const struct gemm_problem *p)
{
    return own_w4a8_sums(p, 1);
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

/* Integer sums of 32 bits, written by one kernel and read by the next. */
static double quarot_sums(const struct gemm_problem *p)
{
    return 2.0 * 4 * p->m * p->n;
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

/* Our own: the base of a row, what follows from its scheme, and how it runs. */
#define OWN(suffix, text, from, min, max, instance)                                               \
    .base = { .name = "w4a16" suffix, .title = text, .origin = from, .role = OP_OWN,              \
              .sm_min = min, .sm_max = max, .symbol = instance },                                 \
    .accumulate = GEMM_ACC_F32
#define OWN_WITHOUT(kernel, suffix, text, left_out, instance)                                     \
    .base = { .name = "w4a16_" #kernel "_" #suffix, .title = text ", " #suffix, .origin = OWN_ON, \
              .role = OP_ABLATION, .ablates = "w4a16_" #kernel, .stage = left_out, .sm_min = 90,  \
              .sm_max = 90, .symbol = instance },                                                 \
    .accumulate = GEMM_ACC_F32, OWN_ZEROS,                                                        \
    .setup = OP_CUDA(gemm_w4a16_##kernel##_##suffix##_setup), OWN_RUN(w4a16_##kernel)
#define OWN_FEW .supports = own_small, .extra_bytes = own_small_partials
#define OWN_FEW_PDL .supports = own_small, .extra_bytes = own_small_pdl_partials
#define OWN_ZEROS .scheme = GEMM_W4A16, .weight_bytes = own_bytes
#define OWN_SYM .scheme = GEMM_W4A16_SYM, .weight_bytes = own_sym_bytes
#define OWN_RUN(kernel)                                                                           \
    .teardown = OP_CUDA(gemm_##kernel##_teardown), .run = OP_CUDA(gemm_##kernel)
#define OWN_STRIPS(suffix, text)                                                                   \
    OWN("_strips" suffix, "W4A16 strips" text ", " PDL, OWN_ON, 90, 90, NULL),                     \
        .supports = own_strips, OWN_RUN(w4a16_strips)
#define OWN_ON "W4A16 as in AWQ, arXiv 2306.00978, for compute capability 9.0"
#define PDL "programmatic dependent launch"
#define MANY "W4A16 many tokens, " PDL

/* QServe's, and what it compares with */
#define QSERVE "QServe, arXiv 2405.04532, and its code"
#define QSERVE_ROW(name_, text, from, instance)                                                   \
    .base = { .name = name_, .title = text, .origin = from, .role = OP_PAPER, .sm_min = 80,       \
              .sm_max = 999, .symbol = instance }
#define QSERVE_CHANNEL                                                                            \
    .scheme = GEMM_W4A8_CHANNEL, .accumulate = GEMM_ACC_S32, .supports = qserve_channel,          \
    .setup = OP_CUDA(gemm_w4a8_channel_setup), .teardown = OP_CUDA(qserve_packed_free)
#define QSERVE_GROUPS                                                                             \
    .scheme = GEMM_W4A8_GROUP, .accumulate = GEMM_ACC_S32,                                        \
    .setup = OP_CUDA(gemm_w4a8_group_setup), .teardown = OP_CUDA(qserve_packed_free)
#define ATOM                                                                                      \
    .scheme = GEMM_W4A4_GROUP, .accumulate = GEMM_ACC_F32, .supports = atom_tiles,                \
    .setup = OP_CUDA(gemm_w4a4_group_setup), .teardown = OP_CUDA(qserve_packed_free)
#define ATOM_ON "in the manner of Atom, arXiv 2310.19102, by products of bytes"
#define QSERVE_WITHOUT(kernel, suffix, text, from, left_out, instance)                            \
    .base = { .name = #kernel "_" #suffix, .title = text ", " #suffix, .origin = from,            \
              .role = OP_ABLATION, .ablates = #kernel, .stage = left_out, .sm_min = 80,           \
              .sm_max = 999, .symbol = instance },                                                \
    .run = OP_CUDA(gemm_##kernel##_##suffix)

/* Our own W4A8: by products of unsigned with signed bytes. */
#define OWN_W4A8(form, suffix, text, from, role_, min, max, instance)                              \
    .base = { .name = "w4a8_" #form "_" #suffix, .title = text, .origin = from, .role = role_,     \
              .sm_min = min, .sm_max = max, .symbol = instance },                                  \
    OWN_W4A8_##form, .setup = OP_CUDA(gemm_w4a8_##form##_##suffix##_setup)
#define OWN_W4A8_channel                                                                           \
    .scheme = GEMM_W4A8_CHANNEL, .accumulate = GEMM_ACC_S32, .supports = own_channel,              \
    .weight_bytes = own_channel_bytes
#define OWN_W4A8_group                                                                             \
    .scheme = GEMM_W4A8_GROUP, .accumulate = GEMM_ACC_S32, .supports = own_group,                  \
    .weight_bytes = own_group_bytes
#define OWN_W4A8_FEW_ROW(form, text, grouped)                                                      \
    .base = { .name = "w4a8_" #form "_few", .title = text, .origin = W4A8_ON, .role = OP_OWN,      \
              .sm_min = 90, .sm_max = 90,                                                          \
              .symbol = "w4a8_portableILi8ELi2ELb" grouped "ELb1E" },                              \
    .accumulate = GEMM_ACC_S32, .supports = own_##form##_few, .weight_bytes = own_##form##_bytes,  \
    .setup = OP_CUDA(gemm_w4a8_##form##_few_setup), OWN_RUN(w4a8_few)
#define OWN_W4A8_WITHOUT(form, suffix, text, left_out, instance)                                   \
    .base = { .name = "w4a8_" #form "_own_" #suffix, .title = text ", " #suffix,                   \
              .origin = W4A8_ON, .role = OP_ABLATION, .ablates = "w4a8_" #form "_own",             \
              .stage = left_out, .sm_min = 90, .sm_max = 90, .symbol = instance },                 \
    OWN_W4A8_##form, .extra_bytes = own_##form##_sums,                                             \
    .setup = OP_CUDA(gemm_w4a8_##form##_own_##suffix##_setup), OWN_RUN(w4a8_own)
#define W4A8_ON "W4A8 as in QServe, arXiv 2405.04532, for compute capability 9.0"
#define W4A8_PORTABLE "W4A8 as in QServe, arXiv 2405.04532, without what 9.0 adds"

/* The instances that the smallest numbers of tokens run. */
#define QSERVE_FEW(form, stage)                                                                   \
    "qserve_gemmI11QserveShapeILi32ELi64ELi128ELi32ELi32ELi3EEL11qserve_form" #form               \
    "EL8op_stage" #stage "E"
#define QSERVE_ATOM(stage)                                                                        \
    "qserve_gemmI11QserveShapeILi128ELi128ELi64ELi64ELi32ELi4EEL11qserve_form4EL8op_stage" #stage \
    "E"
#define OWN_SMALL(stages) "w4a16_smallILi8ELi8ELi1ELi4ELb0E8W4StagesIL" stages "E"
#define OWN_LARGE(stages) "w4a16_largeILi2ELi128ELb0E8W4StagesIL" stages "E"
#define OWN_W4A8_FEW(grouped, stages)                                                              \
    "w4a8_stripsILi2ELb" grouped "E10W4A8StagesIL" stages "E"
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

    /* published: QServe */
    { QSERVE_ROW("w4a8_channel", "QServe W4A8 per channel", QSERVE, QSERVE_FEW(1, 0)),
      QSERVE_CHANNEL, .run = OP_CUDA(gemm_w4a8_channel) },
    { QSERVE_ROW("w4a8_group", "QServe W4A8 per group", QSERVE, QSERVE_FEW(2, 0)), QSERVE_GROUPS,
      .supports = qserve_group, .run = OP_CUDA(gemm_w4a8_group) },
    { QSERVE_ROW("w4a8_group_v2", "QServe W4A8 per group, later", QSERVE " in OmniServe",
                 "qserve_gemmI11QserveShapeILi128ELi64ELi64ELi64ELi32ELi4EE"),
      QSERVE_GROUPS, .supports = qserve_group_v2, .run = OP_CUDA(gemm_w4a8_group_v2) },
    { QSERVE_ROW("w8a8", "QServe W8A8", QSERVE,
                 "qserve_gemmI11QserveShapeILi64ELi64ELi64ELi32ELi32ELi6EE"),
      .scheme = GEMM_W8A8, .accumulate = GEMM_ACC_S32, .supports = qserve_w8a8,
      .run = OP_CUDA(gemm_w8a8) },

    /* what QServe compares with, on GPUs without products of 4-bit integers */
    { QSERVE_ROW("w4a4_group", "Atom W4A4 per group (emulated)", ATOM_ON, QSERVE_ATOM(0)), ATOM,
      .run = OP_CUDA(gemm_w4a4_group) },
    { QSERVE_ROW("w4a4_channel", "QuaRot W4A4 per channel (emulated)",
                 "in the manner of QuaRot, arXiv 2404.00456, by products of bytes",
                 "qserve_gemmI11QserveShapeILi128ELi256ELi64ELi64ELi64ELi3EE"),
      .scheme = GEMM_W4A4_CHANNEL, .accumulate = GEMM_ACC_S32, .supports = quarot_tiles,
      .extra_bytes = quarot_sums, .setup = OP_CUDA(gemm_w4a4_channel_setup),
      .teardown = OP_CUDA(qserve_packed_free), .run = OP_CUDA(gemm_w4a4_channel) },

    /* our own */
    { OWN("", "W4A16, beyond few tokens " PDL, OWN_ON, 90, 90, NULL), OWN_ZEROS, .supports = own_groups,
      .extra_bytes = own_partials, .setup = OP_CUDA(gemm_w4a16_setup), OWN_RUN(w4a16) },
    { OWN("_sym", "W4A16 symmetric, beyond few tokens " PDL, OWN_ON, 90, 90, NULL), OWN_SYM, .supports = own_groups,
      .extra_bytes = own_partials, .setup = OP_CUDA(gemm_w4a16_sym_setup), OWN_RUN(w4a16) },
    { OWN("_pdl", "W4A16, " PDL, OWN_ON, 90, 90, NULL), OWN_ZEROS, .supports = own_groups,
      .extra_bytes = own_pdl_partials, .setup = OP_CUDA(gemm_w4a16_pdl_setup), OWN_RUN(w4a16) },
    { OWN("_pdl_sym", "W4A16 symmetric, " PDL, OWN_ON, 90, 90, NULL), OWN_SYM,
      .supports = own_groups, .extra_bytes = own_pdl_partials,
      .setup = OP_CUDA(gemm_w4a16_pdl_sym_setup), OWN_RUN(w4a16) },
    { OWN("_small", "W4A16 few tokens", OWN_ON, 90, 90, OWN_SMALL("b1ELb1ELb1")), OWN_ZEROS,
      OWN_FEW, .setup = OP_CUDA(gemm_w4a16_small_setup), OWN_RUN(w4a16_small) },
    { OWN("_small_sym", "W4A16 few tokens, symmetric", OWN_ON, 90, 90, NULL), OWN_SYM, OWN_FEW,
      .setup = OP_CUDA(gemm_w4a16_small_sym_setup), OWN_RUN(w4a16_small) },
    { OWN("_small_pdl", "W4A16 few tokens, " PDL, OWN_ON, 90, 90, OWN_SMALL("b1ELb1ELb1")),
      OWN_ZEROS, OWN_FEW_PDL, .setup = OP_CUDA(gemm_w4a16_small_pdl_setup),
      OWN_RUN(w4a16_small) },
    { OWN("_small_pdl_sym", "W4A16 few tokens, symmetric, " PDL, OWN_ON, 90, 90, NULL), OWN_SYM,
      OWN_FEW_PDL, .setup = OP_CUDA(gemm_w4a16_small_pdl_sym_setup), OWN_RUN(w4a16_small) },
    { OWN_STRIPS("", ""), OWN_ZEROS, .setup = OP_CUDA(gemm_w4a16_strips_setup) },
    { OWN_STRIPS("_sym", ", symmetric"), OWN_SYM,
      .setup = OP_CUDA(gemm_w4a16_strips_sym_setup) },
    { OWN("_large", MANY, OWN_ON, 90, 90, OWN_LARGE("b1ELb1ELb1")), OWN_ZEROS,
      .supports = own_groups, .setup = OP_CUDA(gemm_w4a16_large_setup), OWN_RUN(w4a16_large) },
    { OWN("_large_sym", MANY ", symmetric", OWN_ON, 90, 90, NULL), OWN_SYM,
      .supports = own_groups, .setup = OP_CUDA(gemm_w4a16_large_sym_setup), OWN_RUN(w4a16_large) },
    { OWN("_portable", "W4A16 portable", "W4A16 as in AWQ, arXiv 2306.00978, without what 9.0 adds",
          80, 999, "w4a16_smallILi8ELi4ELi1ELi4ELb0E"),
      OWN_ZEROS, .supports = own_groups, .setup = OP_CUDA(gemm_w4a16_portable_setup),
      OWN_RUN(w4a16_portable) },
    { OWN("_portable_sym", "W4A16 portable, symmetric",
          "W4A16 as in AWQ, arXiv 2306.00978, without what 9.0 adds", 80, 999, NULL),
      OWN_SYM, .supports = own_groups, .setup = OP_CUDA(gemm_w4a16_portable_sym_setup),
      OWN_RUN(w4a16_portable) },
    { OWN_W4A8(channel, own, "W4A8 per channel, " PDL, W4A8_ON, OP_OWN, 90, 90,
               OWN_W4A8_FEW("0", "b1ELb1ELb1")),
      .extra_bytes = own_channel_sums, OWN_RUN(w4a8_own) },
    { OWN_W4A8(group, own, "W4A8 per group, " PDL, W4A8_ON, OP_OWN, 90, 90,
               OWN_W4A8_FEW("1", "b1ELb1ELb1")),
      .extra_bytes = own_group_sums, OWN_RUN(w4a8_own) },
    { OWN_W4A8_FEW_ROW(channel, "W4A8 per channel, few tokens, " PDL, "0"),
      .scheme = GEMM_W4A8_CHANNEL },
    { OWN_W4A8_FEW_ROW(group, "W4A8 per group, few tokens, " PDL, "1"),
      .scheme = GEMM_W4A8_GROUP },
    { OWN_W4A8(channel, portable, "W4A8 per channel portable", W4A8_PORTABLE, OP_OWN, 80, 999,
               "w4a8_portableILi8ELi2ELb0ELb0E"),
      OWN_RUN(w4a8_portable) },
    { OWN_W4A8(group, portable, "W4A8 per group portable", W4A8_PORTABLE, OP_OWN, 80, 999,
               "w4a8_portableILi8ELi2ELb1ELb0E"),
      OWN_RUN(w4a8_portable) },

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

    /* our own with a stage left out */
    { OWN_WITHOUT(small, nodeq, "W4A16 few tokens", OP_NODEQ, OWN_SMALL("b1ELb0ELb1")),
      OWN_FEW },
    { OWN_WITHOUT(small, loadonly, "W4A16 few tokens", OP_LOADONLY, OWN_SMALL("b1ELb0ELb0")),
      OWN_FEW },
    { OWN_WITHOUT(small, mmaonly, "W4A16 few tokens", OP_MMAONLY, OWN_SMALL("b0ELb0ELb1")),
      OWN_FEW },
    { OWN_WITHOUT(small, deqonly, "W4A16 few tokens", OP_DEQONLY, OWN_SMALL("b0ELb1ELb0")),
      OWN_FEW },
    { OWN_WITHOUT(large, nodeq, MANY, OP_NODEQ, OWN_LARGE("b1ELb0ELb1")),
      .supports = own_groups },
    { OWN_WITHOUT(large, loadonly, MANY, OP_LOADONLY, OWN_LARGE("b1ELb0ELb0")),
      .supports = own_groups },
    { OWN_WITHOUT(large, mmaonly, MANY, OP_MMAONLY, OWN_LARGE("b0ELb0ELb1")),
      .supports = own_groups },
    { OWN_WITHOUT(large, deqonly, MANY, OP_DEQONLY, OWN_LARGE("b0ELb1ELb0")),
      .supports = own_groups },
    { OWN_W4A8_WITHOUT(channel, nodeq, "W4A8 per channel", OP_NODEQ, OWN_W4A8_FEW("0", "b1ELb0ELb1")) },
    { OWN_W4A8_WITHOUT(channel, loadonly, "W4A8 per channel", OP_LOADONLY, OWN_W4A8_FEW("0", "b1ELb0ELb0")) },
    { OWN_W4A8_WITHOUT(channel, mmaonly, "W4A8 per channel", OP_MMAONLY, OWN_W4A8_FEW("0", "b0ELb0ELb1")) },
    { OWN_W4A8_WITHOUT(channel, deqonly, "W4A8 per channel", OP_DEQONLY, OWN_W4A8_FEW("0", "b0ELb1ELb0")) },
    { OWN_W4A8_WITHOUT(group, nodeq, "W4A8 per group", OP_NODEQ, OWN_W4A8_FEW("1", "b1ELb0ELb1")) },
    { OWN_W4A8_WITHOUT(group, loadonly, "W4A8 per group", OP_LOADONLY, OWN_W4A8_FEW("1", "b1ELb0ELb0")) },
    { OWN_W4A8_WITHOUT(group, mmaonly, "W4A8 per group", OP_MMAONLY, OWN_W4A8_FEW("1", "b0ELb0ELb1")) },
    { OWN_W4A8_WITHOUT(group, deqonly, "W4A8 per group", OP_DEQONLY, OWN_W4A8_FEW("1", "b0ELb1ELb0")) },

    /* QServe's and Atom's with a stage left out */
    { QSERVE_WITHOUT(w4a8_channel, nodeq, "QServe W4A8 per channel", QSERVE,
                     OP_NODEQ, QSERVE_FEW(1, 1)),
      QSERVE_CHANNEL },
    { QSERVE_WITHOUT(w4a8_channel, loadonly, "QServe W4A8 per channel", QSERVE,
                     OP_LOADONLY, QSERVE_FEW(1, 2)),
      QSERVE_CHANNEL },
    { QSERVE_WITHOUT(w4a8_channel, mmaonly, "QServe W4A8 per channel", QSERVE,
                     OP_MMAONLY, QSERVE_FEW(1, 3)),
      QSERVE_CHANNEL },
    { QSERVE_WITHOUT(w4a8_channel, deqonly, "QServe W4A8 per channel", QSERVE,
                     OP_DEQONLY, QSERVE_FEW(1, 4)),
      QSERVE_CHANNEL },
    /* two rows without conversion: shares are taken after the later, which has none at all */
    { QSERVE_WITHOUT(w4a8_group, noscale, "QServe W4A8 per group", QSERVE,
                     OP_NODEQ, QSERVE_FEW(3, 1)),
      QSERVE_GROUPS, .supports = qserve_group },
    { QSERVE_WITHOUT(w4a8_group, nodeq, "QServe W4A8 per group", QSERVE,
                     OP_NODEQ, QSERVE_FEW(2, 1)),
      QSERVE_GROUPS, .supports = qserve_group },
    { QSERVE_WITHOUT(w4a8_group, loadonly, "QServe W4A8 per group", QSERVE,
                     OP_LOADONLY, QSERVE_FEW(2, 2)),
      QSERVE_GROUPS, .supports = qserve_group },
    { QSERVE_WITHOUT(w4a8_group, mmaonly, "QServe W4A8 per group", QSERVE,
                     OP_MMAONLY, QSERVE_FEW(2, 3)),
      QSERVE_GROUPS, .supports = qserve_group },
    { QSERVE_WITHOUT(w4a8_group, deqonly, "QServe W4A8 per group", QSERVE,
                     OP_DEQONLY, QSERVE_FEW(2, 4)),
      QSERVE_GROUPS, .supports = qserve_group },
    { QSERVE_WITHOUT(w4a4_group, nodeq, "Atom W4A4 per group (emulated)", ATOM_ON,
                     OP_NODEQ, QSERVE_ATOM(1)),
      ATOM },
    { QSERVE_WITHOUT(w4a4_group, loadonly, "Atom W4A4 per group (emulated)", ATOM_ON,
                     OP_LOADONLY, QSERVE_ATOM(2)),
      ATOM },
    { QSERVE_WITHOUT(w4a4_group, mmaonly, "Atom W4A4 per group (emulated)", ATOM_ON,
                     OP_MMAONLY, QSERVE_ATOM(3)),
      ATOM },
    { QSERVE_WITHOUT(w4a4_group, deqonly, "Atom W4A4 per group (emulated)", ATOM_ON,
                     OP_DEQONLY, QSERVE_ATOM(4)),
      ATOM },

    { .base = { .name = NULL } },
};
