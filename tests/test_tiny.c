/*
 * test_tiny.c - the smallest problems of the GPU tests (tiny.h): every row of every operator that
 * needs a GPU has a case that it takes.  In a build without CUDA, whose rows take nothing, that
 * parameters are read, problems can be made and every operator has a case.
 */
#include "../kernels/gemm/w4a16_shapes.h"
#include "../kernels/gemm/w4a8_shapes.h"
#include "../kernels/gemm/w4a8_stream.h"
#include "../kernels/gemm/w4a8_strips.h"
#include "tiny.h"

/* Operators whose rows on the GPU are those of others, or launch nothing of their own. */
static bool stands_for_others(const char *op)
{
    static const char *const names[] = { "executed", "gemm_ladder", "spmm_select", "spmm_choice",
                                         "spmm_confusion" };
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (!strcmp(op, names[k]))
            return true;
    return false;
}

/* What rows take hangs on the GPU that is there; tiny_op sees to it then. */
static bool asks_the_device(const char *op)
{
    return !strcmp(op, "gnn");
}

static int rows_seen, rows_taken;

static void test_op(const struct cb_op *op, struct cb_context *c, const char *scan)
{
    const struct op_impl *impl[TINY_ROWS], *i;
    int place[TINY_ROWS], turns[2 * TINY_ROWS] = { 0 }, wanted = 0, cases = 0;
    bool judged = !asks_the_device(op->name);
#ifndef WITH_CUDA
    judged = false;
#endif
    for (int k = 0; (i = op->impl(k)); k++)
        wanted += !tiny_leaves(i);
    if (!wanted || stands_for_others(op->name))
        return;
    for (int t = 0; t < TINY_CASES; t++) {
        const struct tiny_case *one = &tiny_cases[t];
        void *instance = NULL;
        const char *why = "";
        if (strcmp(one->op, op->name))
            continue;
        cases++;
        void *p = tiny_params(one, op, scan);
        const int opened = !op->open(c, p, &instance);
        CHECK(opened);
        if (!opened)
            printf("%s %s: %s\n", op->name, one->params, cb_error_text());
        const int count = tiny_rows(one, op, impl, place);
        int taken = 0;
        for (int k = 0; opened && k < count; k++)
            if (op->ready(instance, impl[k], &why) == OP_OK) {
                turns[place[k]]++;
                taken++;
            }
        CHECK(taken > 0 || !judged); /* else the case is there for nothing */
        if (!taken && judged)
            printf("%s %s: no row takes it\n", op->name, one->params);
        if (opened)
            op->close(instance);
        free(p);
    }
    CHECK(cases > 0);
    if (!cases)
        printf("%s: no case\n", op->name);
    for (int k = 0; (i = op->impl(k)); k++) {
        if (tiny_leaves(i))
            continue;
        rows_seen++;
        rows_taken += turns[k] > 0;
        CHECK(turns[k] > 0 || !judged);
        if (!turns[k] && judged)
            printf("%s: %s: no case\n", op->name, i->name);
    }
}

/* ---- tilings of gemm ---- */

/* On an H200: each is one compiled kernel, a number below 1024. */
enum { SMS = 132, TILINGS = 1024 };

static int small_tiling(const struct gemm_problem *p, int overlap)
{
    const struct w4_small_shape s = w4_small_shape(p, SMS, overlap);
    const int tokens = p->m <= 8 ? 0 : p->m <= 16 ? 1 : 2, warps = tokens * 4 + s.warps / 4 - 1;
    return p->m > W4_SMALL_TOKENS ? -1 : (warps * 16 + s.across) * 4 + s.strips / 2;
}

static int large_tiling(const struct gemm_problem *p)
{
    const struct w4_large_shape s = w4_large_shape(p);
    return s.tokens * 2 + s.blocks_64 - 1;
}

static int w4a8_tiling(const struct gemm_problem *p)
{
    const struct w4a8_shape s = w4a8_best(p, SMS);
    if (w4a8_strips_best(p, 0, SMS))
        return 2 * TILINGS - 1 - w4a8_strips_of(p->n, SMS);
    if (w4a8_stream_best(p, 0, SMS))
        return 2 * TILINGS - 1;
    if (s.slices)
        return TILINGS + s.tokens * 2 + s.blocks_64;
    return (s.tokens * 2 + s.blocks_64 - 1) * (s.cluster == 1 ? 1 : -1) + TILINGS / 2;
}

enum { SMALL, LARGE, W4A8, KINDS };

static void mark(const struct gemm_problem *p, bool seen[KINDS][2 * TILINGS], unsigned kinds)
{
    /* last: the same kernels for launches that overlap */
    const int at[KINDS + 1] = { small_tiling(p, 0), large_tiling(p), w4a8_tiling(p),
                                small_tiling(p, 1) };
    for (int k = 0; k <= KINDS; k++)
        if (kinds >> k % KINDS & 1 && at[k] >= 0)
            seen[k % KINDS][at[k]] = true;
}

/* What the rules choose for any problem is chosen for one of the cases too. */
static void test_tilings(void)
{
    static const int ms[] = { 1, 2, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, 256, 257, 1024 };
    static bool any[KINDS][2 * TILINGS], here[KINDS][2 * TILINGS];
    int count = 0;
    for (size_t i = 0; i < sizeof ms / sizeof *ms; i++)
        for (int n = 128; n <= 28672; n += n < 4096 ? 128 : 640)
            for (int k = 128; k <= 12288; k += 640)
                mark(&(struct gemm_problem){ ms[i], n, k, 128 }, any, (1u << KINDS) - 1);
    for (int t = 0; t < TINY_CASES; t++) {
        const char *const rows = tiny_cases[t].rows;
        struct gemm_problem p = { .group = 128 };
        if (strcmp(tiny_cases[t].op, "gemm"))
            continue;
        CHECK(sscanf(tiny_cases[t].params, "{'m': %d, 'n': %d, 'k': %d", &p.m, &p.n, &p.k) == 3);
        mark(&p, here,
             !*rows                        ? (1u << KINDS) - 1
             : strstr(rows, "w4a16_small") ? 1u << SMALL
             : strstr(rows, "w4a16_large") ? 1u << LARGE
             : strstr(rows, "own")         ? 1u << W4A8
                                           : 0);
    }
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < 2 * TILINGS; i++) {
            count += any[k][i];
            CHECK(!any[k][i] || here[k][i]);
            if (any[k][i] && !here[k][i])
                printf("gemm: kind %d, tiling %d: no case\n", k, i);
        }
    printf("%d tilings of gemm\n", count);
    CHECK(count >= 30);
}

int main(void)
{
    struct cb_context c = { .seed = 11, .aa = -1 };
    char scan[64];
    CHECK(!cb_device_open("host", &c.device));
    tiny_scan(scan);
    for (int k = 0; suite_ops[k]; k++)
        test_op(suite_ops[k], &c, scan);
    for (int t = 0; t < TINY_CASES; t++) /* no case of an operator that there is not */
        CHECK(suite_op(tiny_cases[t].op) != NULL);
    test_tilings();
    unlink(scan + strlen("kitti:"));
    cb_device_close(c.device);
    printf("%d rows need a GPU, %d have a case here\n", rows_seen, rows_taken);
    return TEST_END();
}
