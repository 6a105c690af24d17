/*
 * w4a8_sweep.c - times our W4A8 kernel in every tiling that a layer can have, for the table of
 * kernels/gemm/w4a8_shapes.h.
 *
 *     w4a8_sweep [-d DEVICE] [-l N,K] [-m M] [-f channel|group] [-a] [-s] [-n]
 *
 * Without -l the layers of Llama-3-8B and Llama-2-70B, without -m 1, 16, 64, 128, 256 tokens. Every
 * tiling is checked against the FP64 reference before it is timed: weights out of cache, launches
 * of a graph, the median of five windows.  A line for what is in use, one for each tiling that is
 * faster (-a: for all), in microseconds, and rows that need no tiling beside them, among them
 * strips and the stream where they take the layer, whatever the rule says.  -s: of the tilings
 * only those in slices and that of the rule; -n: none but that one.
 *
 * Ends with 1 if a tiling is wrong.  Needs compute capability 9.0.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

#include "../kernels/gemm/w4a8.h"
#include "../kernels/gemm/w4a8_shapes.h"
#include "../kernels/gemm/w4a8_stream.h"
#include "../kernels/gemm/w4a8_strips.h"
#include "gemm_sweep.h"

#ifdef WITH_CUDA
static struct w4a8_shape shape; /* of the row that is bound next */
static int grouped;
static enum { ALL, SLICES, RULE } which = ALL; /* tilings */

static enum op_status set_up(const struct gemm_problem *p, const struct gemm_args *a,
                             const struct op_memory *m, op_stream s, void **state)
{
    return gemm_w4a8_own_shaped(p, a, grouped, shape, m, s, state);
}

static const char *text_of(struct w4a8_shape s, char *text, size_t size)
{
    static const char *const spread[] = { "rest", "rest_too", "all", "none" };
    snprintf(text, size, "%3d tokens x %3d channels, cluster %d, %d a multiprocessor, %s%s%.0d",
             s.tokens, 128 * s.blocks_64, s.cluster, s.each, spread[s.spread],
             s.slices ? ", slices " : "", s.slices);
    return text;
}

static bool same(struct w4a8_shape a, struct w4a8_shape b)
{
    return a.tokens == b.tokens && a.blocks_64 == b.blocks_64 && a.cluster == b.cluster &&
           a.each == b.each && a.spread == b.spread && a.slices == b.slices;
}

/* The number-th of all tilings; false behind the last. */
static bool tiling(int number, struct w4a8_shape *s)
{
    static const int tile[][2] = { { 8, 1 },  { 8, 2 },  { 16, 1 },  { 16, 2 },  { 32, 1 }, { 32, 2 },
                                   { 64, 1 }, { 64, 2 }, { 128, 1 }, { 128, 2 }, { 256, 1 } };
    static const int slices[] = { 2, 3, 4, 5, 8 };
    enum { TILES = sizeof tile / sizeof *tile, WHOLE = W4A8_NONE + 1,
           SPREADS = WHOLE + sizeof slices / sizeof *slices };
    const int spread = number % SPREADS, each = number / SPREADS % 2;
    const int cluster = number / SPREADS / 2 % 3, t = number / SPREADS / 6;
    if (t >= TILES)
        return false;
    *s = (struct w4a8_shape){ tile[t][0], tile[t][1], 1 << cluster, 1 + each,
                              spread < WHOLE ? (enum w4a8_spread)spread : W4A8_NONE,
                              spread < WHOLE ? 0 : slices[spread - WHOLE] };
    return true;
}

/* Tiles of far more or far fewer tokens than there are do not pay. */
static bool worth(struct w4a8_shape s, int m)
{
    return (s.tokens == 8 || s.tokens < 2 * m) && 16 * s.tokens >= m &&
           (s.each == 1 ||
            (s.cluster == 1 && !s.slices && !w4a8_wide(s.tokens, s.blocks_64)));
}

/* Rows that need no tiling. */
static int try_beside(struct sweep_layer *l, int *wrong)
{
    const char *const names[][3] = {
        { "w4a8_channel_few", "w4a8_channel_portable", "cublaslt_fp8" },
        { "w4a8_group_few", "w4a8_group_portable", "cublaslt_fp8" },
    };
    for (int i = 0; i < 3; i++) {
        const struct gemm_impl *other = sweep_find(names[grouped][i]);
        const char *why;
        double us = 0;
        const int timed = op_gemm.ready(l->instance, &other->base, &why) == OP_OK
                              ? sweep_try(l, other, &us, wrong) : 0;
        if (timed < 0)
            return -1;
        if (timed)
            printf("%32s %8.2f  %s\n", "", us, other->base.name);
    }
    return 0;
}

/* Strips, or the kernel that streams slices, if it can take the layer. */
static int try_few(struct sweep_layer *l, const struct gemm_impl *own, bool stream, int *wrong)
{
    struct gemm_impl row = *own;
    double us = 0;
    if (stream)
        row.setup = grouped ? gemm_w4a8_group_stream_setup : gemm_w4a8_channel_stream_setup;
    else
        row.setup = grouped ? gemm_w4a8_group_strips_setup : gemm_w4a8_channel_strips_setup;
    row.run = stream ? gemm_w4a8_stream : gemm_w4a8_strips;
    row.teardown = stream ? gemm_w4a8_stream_teardown : gemm_w4a8_strips_teardown;
    const int timed = sweep_try(l, &row, &us, wrong);
    if (timed > 0)
        printf("%32s %8.2f  %s\n", "", us, stream ? "stream" : "strips");
    return timed < 0 ? -1 : 0;
}

static int try_layer(struct sweep_layer *l, bool all, int *wrong)
{
    const struct gemm_problem p = { .m = l->p.m, .n = l->p.n, .k = l->p.k, .group = l->p.group };
    const int sms = cb_device_info(l->c.device)->multiprocessors;
    const struct gemm_impl *own = sweep_find(grouped ? "w4a8_group_own" : "w4a8_channel_own");
    struct gemm_impl row = *own;
    const struct w4a8_shape best = w4a8_best(&p, sms);
    const bool strips = w4a8_strips_best(&p, grouped, sms);
    const bool stream = w4a8_stream_best(&p, grouped, sms);
    char text[128];
    double in_use = 0, us = 0;
    row.setup = set_up;
    row.run = gemm_w4a8_tiles;
    row.teardown = gemm_w4a8_tiles_teardown;
    if (sweep_try(l, own, &in_use, wrong) < 0)
        return -1;
    if (strips)
        snprintf(text, sizeof text, "strips, %d a block", w4a8_strips_of(p.n, sms));
    else if (stream)
        snprintf(text, sizeof text, "stream");
    else
        text_of(best, text, sizeof text);
    printf("%-7s %5d x %5d m %4d %8.2f  in use: %s\n", grouped ? "group" : "channel", l->p.n, l->p.k,
           l->p.m, in_use, text);
    if (try_beside(l, wrong) || try_few(l, own, false, wrong) ||
        try_few(l, own, true, wrong))
        return -1;
    for (int i = 0; tiling(i, &shape); i++) {
        const bool rule = same(shape, best), wanted = which == ALL || (which == SLICES && shape.slices);
        if (!(rule ? strips || stream : wanted && worth(shape, l->p.m)))
            continue;
        const int timed = sweep_try(l, &row, &us, wrong);
        if (timed < 0)
            return -1;
        if (timed && (all || us < in_use))
            printf("%32s %8.2f  %s\n", "", us, text_of(shape, text, sizeof text));
    }
    fflush(stdout);
    return 0;
}

static int sweep(struct cb_device *d, int (*layer)[2], int layers, const int *ms, int count,
                 bool all)
{
    const struct cb_policy policy = { .name = "sweep", .invocations = 1, .rotate_l2 = 2,
                                      .flush_l2 = 3, .executions_max = 64 };
    static const char *const rows[][3] = { { "w4a8_channel_own", "cublaslt_fp8" },
                                           { "w4a8_group_own", "cublaslt_fp8" } };
    int wrong = 0;
    for (int i = 0; i < layers; i++)
        for (int j = 0; j < count; j++) {
            struct sweep_layer l = { .c = { .device = d, .policy = &policy, .cache = CB_COLDW,
                                            .seed = 3, .order_seed = 5, .aa = -1 },
                                     .p = { ms[j], layer[i][0], layer[i][1], W4A8_GROUP } };
            const double bytes = (double)w4a8_packed_bytes(l.p.n, l.p.k, grouped);
            const int status = sweep_open(&l, rows[grouped], bytes) || try_layer(&l, all, &wrong);
            op_gemm.close(l.instance);
            if (status)
                return -1;
        }
    if (wrong)
        cb_error("%d tilings gave wrong results", wrong);
    return wrong ? -1 : 0;
}

int main(int argc, char **argv)
{
    static int layers[][2] = { { 6144, 4096 },  { 4096, 4096 },  { 28672, 4096 },
                                     { 4096, 14336 }, { 10240, 8192 }, { 8192, 8192 },
                                     { 57344, 8192 }, { 8192, 28672 } };
    static const int tokens[] = { 1, 16, 64, 128, 256 };
    const char *device = "auto";
    int one[1][2] = { { 0, 0 } }, m = 0, c;
    bool all = false, good = true;
    while ((c = getopt(argc, argv, "d:l:m:f:asn")) >= 0)
        switch (c) {
        case 'd': device = optarg; break;
        case 'l': good = good && sscanf(optarg, "%d,%d", &one[0][0], &one[0][1]) == 2; break;
        case 'm': good = good && (m = atoi(optarg)) > 0; break;
        case 'f':
            grouped = !strcmp(optarg, "group");
            good = good && (grouped || !strcmp(optarg, "channel"));
            break;
        case 'a': all = true; break;
        case 's': which = SLICES; break;
        case 'n': which = RULE; break;
        default: good = false;
        }
    if (!good || optind < argc) {
        fprintf(stderr, "usage: %s [-d DEVICE] [-l N,K] [-m M] [-f channel|group] [-a] [-s] [-n]\n",
                argv[0]);
        return 2;
    }
    struct cb_device *d = NULL;
    int status = cb_device_open(device, &d);
    if (!status && cb_device_info(d)->sm != 90)
        status = cb_error("needs a GPU of compute capability 9.0");
    if (!status)
        status = sweep(d, one[0][0] ? one : layers, one[0][0] ? 1 : 8, m ? &m : tokens, m ? 1 : 5,
                       all);
    if (status)
        fprintf(stderr, "w4a8_sweep: %s\n", cb_error_text());
    cb_device_close(d);
    return status ? 1 : 0;
}
#else
int main(void)
{
    fprintf(stderr, "w4a8_sweep: built without CUDA\n");
    return 1;
}
#endif
