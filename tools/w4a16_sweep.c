/*
 * w4a16_sweep.c - times our W4A16 kernel for many tokens in every tiling that a layer can have, for
 * the table of kernels/gemm/w4a16_shapes.h.
 *
 *     w4a16_sweep [-d DEVICE] [-l N,K] [-m M] [-s] [-a]
 *     w4a16_sweep -S [-d DEVICE] [-l N,K] [-m M] [-s]
 *     w4a16_sweep -c [-S] [-d DEVICE]
 *
 * Without -l the layers of Llama-2-7B and 70B, without -m 32, 64, 128, 256 tokens; -s: symmetric.
 * Every tiling is checked against the FP64 reference before it is timed: weights out of cache,
 * launches of a graph, the median of five windows.  A line for cuBLAS in FP16, one for the tiling
 * in use and one for each that is faster (-a: for all), in microseconds.
 *
 * -S: the same of the kernel of strips for up to 16 tokens, without -m 1, 4, 8 and 16: a line for
 * w4a16_small in launches that overlap, one for each tiling of strips, with * for that of the
 * table, and at the end sums over the layers of a model: w4a16_small, the table's tilings, the
 * fastest.
 *
 * -c times nothing: all tilings on problems that they do not fit, with operands that no sum rounds,
 * with zeros and symmetric, to the bit; with -S those of strips.
 *
 * Ends with 1 if a tiling is wrong.  Needs compute capability 9.0.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

#include "../kernels/gemm/w4a16.h"
#include "gemm_sweep.h"

#ifdef WITH_CUDA
static struct w4_large_shape shape; /* of the row that is bound next */
static int symmetric;

static const char *const rows[][3] = { { "w4a16_large", "cublas_f16" },
                                       { "w4a16_large_sym", "cublas_f16" } };

static enum op_status set_up(const struct gemm_problem *p, const struct gemm_args *a,
                             const struct op_memory *m, op_stream s, void **state)
{
    return gemm_w4a16_large_shaped(p, a, symmetric, shape, m, s, state);
}

static const char *text_of(struct w4_large_shape s, char *text, size_t size)
{
    char split[32];
    snprintf(split, sizeof split, "split %d", s.cluster);
    snprintf(text, size, "%3d tokens x %3d channels, %s, share %d, skew %d%s", s.tokens,
             128 * s.blocks_64, s.spread ? "spread" : s.cluster > 1 ? split : "whole", s.share,
             s.skew, s.fine ? ", fine" : "");
    return text;
}

static bool same(struct w4_large_shape a, struct w4_large_shape b)
{
    return a.tokens == b.tokens && a.blocks_64 == b.blocks_64 && a.cluster == b.cluster &&
           a.spread == b.spread && a.share == b.share && a.skew == b.skew &&
           a.fine == b.fine;
}

/* The number-th of all tilings; false behind the last. */
static bool tiling(int number, struct w4_large_shape *s)
{
    static const int tile[][2] = { { 16, 1 },  { 16, 2 },  { 32, 1 },  { 32, 2 }, { 64, 1 },
                                   { 64, 2 },  { 128, 1 }, { 128, 2 }, { 256, 1 } };
    /* cluster, spread, share */
    static const int form[][3] = { { 1, 1, 1 }, { 1, 0, 1 }, { 1, 1, 2 }, { 1, 0, 2 },
                                   { 2, 0, 1 }, { 3, 0, 1 }, { 4, 0, 1 }, { 8, 0, 1 } };
    enum { TILES = sizeof tile / sizeof *tile, FORMS = sizeof form / sizeof *form };
    const int *f = form[number / 4 % FORMS], t = number / 4 / FORMS;
    if (t >= TILES)
        return false;
    *s = (struct w4_large_shape){ tile[t][0], tile[t][1], f[0], f[1], f[2],
                                  number % 2 * W4_LARGE_SKEW, number / 2 % 2 };
    return true;
}

/* Tiles of fewer tokens than there are read W again, tiles of more multiply for nothing; what a
 * warpgroup that begins later hides are the ends of large tiles, and X is much from 128 tokens on.
 * fine is told from tiles that are spread. */
static bool worth(struct w4_large_shape s, int m)
{
    const bool large = s.tokens * s.blocks_64 >= 128;
    return (s.tokens == 16 || s.tokens < 2 * m) && (s.tokens >= m || s.tokens >= 128) &&
           (!s.skew || (large && s.cluster == 1)) && (!s.fine || (s.spread && s.share == 1)) &&
           (s.share == 1 || (s.tokens >= 128 && (s.spread || s.skew))) && s.cluster <= 4;
}

static int time_layer(struct sweep_layer *l, bool all, int *wrong)
{
    const struct gemm_problem p = { .m = l->p.m, .n = l->p.n, .k = l->p.k, .group = l->p.group };
    const struct w4_large_shape best = w4_large_shape(&p);
    struct gemm_impl row = *sweep_find(rows[symmetric][0]);
    char text[128];
    double in_use = 0, us = 0;
    if (sweep_try(l, sweep_find("cublas_f16"), &us, wrong) < 0)
        return -1;
    row.setup = set_up;
    shape = best;
    if (sweep_try(l, &row, &in_use, wrong) < 0)
        return -1;
    printf("%5d x %5d m %4d %8.2f  cublas_f16\n", l->p.n, l->p.k, l->p.m, us);
    printf("%20s %8.2f  in use: %s\n", "", in_use, text_of(best, text, sizeof text));
    for (int i = 0; tiling(i, &shape); i++) {
        if (!worth(shape, l->p.m) || same(shape, best))
            continue;
        const int timed = sweep_try(l, &row, &us, wrong);
        if (timed < 0)
            return -1;
        if (timed && (all || us < in_use))
            printf("%20s %8.2f  %s\n", "", us, text_of(shape, text, sizeof text));
    }
    fflush(stdout);
    return 0;
}

/* Every tiling, more tokens than its tile has too. */
static int check_layer(struct sweep_layer *l, int *tried, int *wrong)
{
    struct gemm_impl row = *sweep_find(rows[symmetric][0]);
    char text[128];
    row.setup = set_up;
    for (int i = 0; tiling(i, &shape); i++) {
        if (!shape.skew != !shape.fine || (shape.fine && shape.cluster > 1))
            continue; /* one with the other covers both */
        const int before = *wrong, done = sweep_try(l, &row, NULL, wrong);
        if (done < 0)
            return -1;
        *tried += done;
        if (*wrong > before)
            printf("WRONG: %d x %d m %d%s: %s\n", l->p.n, l->p.k, l->p.m,
                   symmetric ? " symmetric" : "", text_of(shape, text, sizeof text));
    }
    return 0;
}

/* ---- strips ---- */

static struct w4_strips_shape strips; /* of the row that is bound next */

static const char *const strips_rows[][3] = { { "w4a16_small_pdl", "w4a16_strips", NULL },
                                              { "w4a16_small_pdl_sym", "w4a16_strips_sym", NULL } };

static enum op_status set_up_strips(const struct gemm_problem *p, const struct gemm_args *a,
                                    const struct op_memory *m, op_stream s, void **state)
{
    return gemm_w4a16_strips_shaped(p, a, symmetric, strips, m, s, state);
}

/* The number-th tiling of strips for so many tokens; false behind the last. */
static bool strips_tiling(int number, int tokens, struct w4_strips_shape *s)
{
    *s = (struct w4_strips_shape){ number / W4_STRIPS_CLUSTER + 1, number % W4_STRIPS_CLUSTER + 1 };
    return s->across <= (tokens > 8 ? 2 : 1);
}

static bool same_strips(struct w4_strips_shape a, struct w4_strips_shape b)
{
    return a.across == b.across && a.cluster == b.cluster;
}

static const char *strips_text(struct w4_strips_shape s, char *text, size_t size)
{
    snprintf(text, size, "strips: %d across, clusters of %d", s.across, s.cluster);
    return text;
}

/* us: w4a16_small, strips by the table, the fastest of all. */
static int time_strips(struct sweep_layer *l, double us[3], int *wrong)
{
    const struct gemm_problem p = { .m = l->p.m, .n = l->p.n, .k = l->p.k, .group = l->p.group };
    const struct w4_strips_shape table = w4_strips_row(&p).shape;
    struct gemm_impl row = *sweep_find(strips_rows[symmetric][1]);
    char text[128];
    us[0] = us[1] = INFINITY;
    if (sweep_try(l, sweep_find(strips_rows[symmetric][0]), &us[0], wrong) < 0)
        return -1;
    printf("%5d x %5d m %4d %8.2f    %s\n", p.n, p.k, p.m, us[0], strips_rows[symmetric][0]);
    us[2] = us[0];
    row.setup = set_up_strips;
    for (int i = 0; strips_tiling(i, p.m, &strips); i++) {
        double t = INFINITY;
        const int timed = sweep_try(l, &row, &t, wrong);
        if (timed < 0)
            return -1;
        if (!timed)
            continue;
        const bool chosen = same_strips(strips, table);
        printf("%20s %8.2f  %c %s\n", "", t, chosen ? '*' : ' ',
               strips_text(strips, text, sizeof text));
        us[1] = chosen ? t : us[1];
        us[2] = fmin(us[2], t);
    }
    fflush(stdout);
    return 0;
}

static int check_strips(struct sweep_layer *l, int *tried, int *wrong)
{
    struct gemm_impl row = *sweep_find(strips_rows[symmetric][1]);
    char text[128];
    row.setup = set_up_strips;
    for (int i = 0; strips_tiling(i, l->p.m, &strips); i++) {
        const int before = *wrong, done = sweep_try(l, &row, NULL, wrong);
        if (done < 0)
            return -1;
        *tried += done;
        if (*wrong > before)
            printf("WRONG: %d x %d m %d%s: %s\n", l->p.n, l->p.k, l->p.m,
                   symmetric ? " symmetric" : "", strips_text(strips, text, sizeof text));
    }
    return 0;
}

/* ---- all layers ---- */

static const struct cb_policy policy = { .name = "sweep", .invocations = 1, .rotate_l2 = 2,
                                         .flush_l2 = 3, .executions_max = 64 };

static struct sweep_layer layer_of(struct cb_device *d, int m, int n, int k)
{
    return (struct sweep_layer){ .c = { .device = d, .policy = &policy, .cache = CB_COLDW,
                                        .seed = 3, .order_seed = 5, .aa = -1 },
                                 .p = { m, n, k, W4_GROUP } };
}

static int sweep(struct cb_device *d, int (*layer)[2], int layers, const int *ms, int count,
                 bool all)
{
    int wrong = 0;
    for (int i = 0; i < layers; i++)
        for (int j = 0; j < count; j++) {
            struct sweep_layer l = layer_of(d, ms[j], layer[i][0], layer[i][1]);
            const double bytes = (double)w4_packed_bytes(l.p.n, l.p.k, symmetric, W4_LARGE_NEAR);
            const int status =
                sweep_open(&l, rows[symmetric], bytes) || time_layer(&l, all, &wrong);
            op_gemm.close(l.instance);
            if (status)
                return -1;
        }
    return wrong ? cb_error("%d tilings gave wrong results", wrong) : 0;
}

/* Layers of a model are four that follow one another. */
static int sweep_strips(struct cb_device *d, int (*layer)[2], int layers, const int *ms, int count)
{
    enum { MODEL = 4 };
    int wrong = 0;
    for (int j = 0; j < count; j++) {
        double sum[3] = { 0 };
        for (int i = 0; i < layers; i++) {
            struct sweep_layer l = layer_of(d, ms[j], layer[i][0], layer[i][1]);
            const double bytes = (double)w4_packed_bytes(l.p.n, l.p.k, symmetric, W4_NEAR);
            double us[3];
            const int status =
                sweep_open(&l, strips_rows[symmetric], bytes) || time_strips(&l, us, &wrong);
            op_gemm.close(l.instance);
            if (status)
                return -1;
            for (int k = 0; k < 3; k++)
                sum[k] = (i % MODEL ? sum[k] : 0) + us[k];
            if (i % MODEL == MODEL - 1)
                printf("sum, k of the last %5d, m %2d: w4a16_small %7.2f, strips by the table "
                       "%7.2f, fastest %7.2f\n",
                       layer[i][1], ms[j], sum[0], sum[1], sum[2]);
        }
    }
    return wrong ? cb_error("%d tilings gave wrong results", wrong) : 0;
}

static int check(struct cb_device *d, bool of_strips)
{
    /* m, n, k: one tile and many, fewer groups than blocks of a cluster, channels that end within a
     * tile, within the first of two blocks that share X, and units for all blocks and more */
    static const int problem[][3] = { { 5, 72, 384 },     { 17, 520, 1152 },  { 33, 264, 128 },
                                      { 64, 4360, 1024 }, { 65, 1288, 640 },  { 100, 136, 2048 },
                                      { 129, 8712, 512 }, { 257, 4096, 1024 } };
    /* one strip and many rounds of them, shares that differ, fewer groups than warps behind one
     * another and rings that come round more than once */
    static const int few[][3] = { { 1, 8, 128 },      { 1, 24, 384 },     { 2, 4104, 2304 },
                                  { 8, 520, 1152 },   { 5, 22024, 640 },  { 8, 33000, 1152 },
                                  { 1, 4096, 11008 }, { 9, 40, 1152 },    { 16, 4104, 4480 },
                                  { 13, 12296, 640 }, { 16, 29000, 1152 } };
    const int (*const problems)[3] = of_strips ? few : problem;
    const size_t count = of_strips ? sizeof few / sizeof *few : sizeof problem / sizeof *problem;
    int wrong = 0, tried = 0;
    for (size_t i = 0; i < count; i++)
        for (symmetric = 0; symmetric < 2; symmetric++) {
            struct sweep_layer l = layer_of(d, problems[i][0], problems[i][1], problems[i][2]);
            l.c.exact = true;
            const int status =
                sweep_open(&l, of_strips ? strips_rows[symmetric] : rows[symmetric], INFINITY) ||
                (of_strips ? check_strips : check_layer)(&l, &tried, &wrong);
            op_gemm.close(l.instance);
            if (status)
                return -1;
        }
    printf("%d runs, %d wrong\n", tried, wrong);
    return wrong ? cb_error("%d tilings gave wrong results", wrong) : 0;
}

int main(int argc, char **argv)
{
    static int layers[][2] = { { 12288, 4096 }, { 4096, 4096 }, { 22016, 4096 }, { 4096, 11008 },
                               { 10240, 8192 }, { 8192, 8192 }, { 57344, 8192 }, { 8192, 28672 } };
    static const int tokens[][4] = { { 32, 64, 128, 256 }, { 1, 4, 8, 16 } };
    const char *device = "auto";
    int one[1][2] = { { 0, 0 } }, m = 0, c;
    bool all = false, only_check = false, of_strips = false, good = true;
    while ((c = getopt(argc, argv, "d:l:m:sacS")) >= 0)
        switch (c) {
        case 'd': device = optarg; break;
        case 'l': good = good && sscanf(optarg, "%d,%d", &one[0][0], &one[0][1]) == 2; break;
        case 'm': good = good && (m = atoi(optarg)) > 0; break;
        case 's': symmetric = 1; break;
        case 'a': all = true; break;
        case 'c': only_check = true; break;
        case 'S': of_strips = true; break;
        default: good = false;
        }
    if (!good || optind < argc) {
        fprintf(stderr, "usage: %s [-d DEVICE] [-l N,K] [-m M] [-s] [-a] [-c] [-S]\n", argv[0]);
        return 2;
    }
    struct cb_device *d = NULL;
    int status = cb_device_open(device, &d);
    if (!status && cb_device_info(d)->sm != 90)
        status = cb_error("needs a GPU of compute capability 9.0");
    int (*const which)[2] = one[0][0] ? one : layers;
    const int *const ms = m ? &m : tokens[of_strips], count = m ? 1 : 4;
    if (!status && only_check)
        status = check(d, of_strips);
    else if (!status && of_strips)
        status = sweep_strips(d, which, one[0][0] ? 1 : 8, ms, count);
    else if (!status)
        status = sweep(d, which, one[0][0] ? 1 : 8, ms, count, all);
    if (status)
        fprintf(stderr, "w4a16_sweep: %s\n", cb_error_text());
    cb_device_close(d);
    return status ? 1 : 0;
}
#else
int main(void)
{
    fprintf(stderr, "w4a16_sweep: built without CUDA\n");
    return 1;
}
#endif
