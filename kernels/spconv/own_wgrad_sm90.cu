/* own_wgrad_sm90.cu - set-up and launch of own_wgrad.cuh. */
#include <stdlib.h>

#include "own.h"
#include "own_wgrad.cuh"
#include "upload.cuh"

typedef void (*OwnWgradKernel)(OwnWgradWork);

struct OwnWgrad {
    OwnWgradWork work;
    OwnWgradKernel kernel;
    int threads, bytes;
    int blocks, wide; /* of 64 channels of x and g in a tile */
    int resident;     /* thread blocks on a multiprocessor */
};

template <int Blocks, int Wide> static void use(OwnWgrad *v)
{
    typedef OwnWgradShape<Blocks, Wide> Shape;
    v->kernel = own_wgrad<Blocks, Wide>;
    v->threads = Shape::THREADS;
    v->bytes = Shape::BYTES;
    v->blocks = Blocks;
    v->wide = Wide;
    v->resident = Shape::RESIDENT;
}

template <int Blocks> static void use_wide(OwnWgrad *v)
{
    if (v->work.cout <= 64)
        use<Blocks, 1>(v);
    else if (v->work.cout <= 128)
        use<Blocks, 2>(v);
    else
        use<Blocks, 4>(v);
}

static int div_up(int a, int b)
{
    return (a + b - 1) / b;
}

/* Chunks of all taps before each, first [taps + 1]. */
static void count_chunks(const int32_t *start, int taps, int chunk, int *first)
{
    for (int d = 0; d <= taps; d++)
        first[d] = d ? first[d - 1] + div_up(start[d] - start[d - 1], chunk) : 0;
}

/* Of taps that have several. */
static int kept_chunks(const OwnWgradWork *w)
{
    int kept = 0;
    for (int d = 0; d < w->taps; d++) {
        const int chunks = w->first_chunk[d + 1] - w->first_chunk[d];
        kept += chunks > 1 ? chunks : 0;
    }
    return kept;
}

/* As many thread blocks as run in two rounds, in stages of whole pairs; fewer where chunks get
 * short. */
static void choose_chunks(const struct spconv_problem *p, const int32_t *start, int sms,
                          OwnWgrad *v)
{
    const long tiles = (long)div_up(p->cin, v->blocks * 64) * div_up(p->cout, v->wide * 64);
    const long least = 4 * WGRAD_PAIRS, blocks = 2L * v->resident * sms;
    const long share = p->pairs * tiles / blocks;
    int *first = v->work.first_chunk;
    v->work.chunk = (int)((share < least ? least : share) / WGRAD_PAIRS * WGRAD_PAIRS);
    count_chunks(start, p->taps, v->work.chunk, first);
    /* the last of every tap is short, and those blocks would be a round of their own */
    while (first[p->taps] * tiles > blocks && v->work.chunk < 2 * share) {
        v->work.chunk += WGRAD_PAIRS;
        count_chunks(start, p->taps, v->work.chunk, first);
    }
}

OP_BEGIN
enum op_status spconv_own_wgrad_setup(const struct spconv_problem *p,
                                      const struct spconv_map *host, const struct spconv_args *a,
                                      const struct op_memory *memory, op_stream s, void **state)
{
    const char *why;
    int device, sms;
    (void)a, (void)s;
    *state = NULL;
    if (spconv_own_wgrad_supports(p, &why) != OP_OK)
        return OP_EUNSUPPORTED;
    OwnWgrad *v = (OwnWgrad *)calloc(1, sizeof *v);
    if (!v)
        return OP_ENOMEM;
    v->work.cin = p->cin;
    v->work.cout = p->cout;
    v->work.taps = p->taps;
    if (p->cin <= 64)
        use_wide<1>(v);
    else
        use_wide<2>(v);
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaFuncSetAttribute((const void *)v->kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             v->bytes)) {
        free(v);
        return OP_EDEVICE;
    }
    for (int d = 0; d <= p->taps; d++)
        v->work.start[d] = host->start[d];
    choose_chunks(p, host->start, sms, v);
    enum op_status status = OP_OK;
    if (kept_chunks(&v->work))
        v->work.partial = scratch<float>(
            memory, (size_t)v->work.first_chunk[p->taps] * p->cin * p->cout, &status);
    if (status != OP_OK) {
        free(v);
        return status;
    }
    *state = v;
    return OP_OK;
}

enum op_status spconv_own_wgrad(const struct spconv_problem *p, const struct spconv_args *a,
                                void *state, op_stream s)
{
    const OwnWgrad *v = (const OwnWgrad *)state;
    OwnWgradWork work = v->work;
    work.pair_in = a->map.pair_in;
    work.pair_out = a->map.pair_out;
    work.x = (const half *)a->x;
    work.g = (const half *)a->g;
    work.y = (float *)a->y;
    const dim3 grid(work.first_chunk[p->taps], div_up(p->cin, v->blocks * 64),
                    div_up(p->cout, v->wide * 64));
    if (grid.x)
        v->kernel<<<grid, v->threads, v->bytes, s>>>(work);
    if (cudaGetLastError() != cudaSuccess)
        return OP_EDEVICE;
    return launch_early(join_chunks, dim3(div_up(p->cin * p->cout, 4 * 32), p->taps), JOIN_THREADS,
                        1, s, work);
}

void spconv_own_wgrad_counts(const struct spconv_problem *p, const void *state,
                             struct spconv_counts *counts)
{
    const OwnWgrad *v = (const OwnWgrad *)state;
    counts->slots = (double)p->pairs;
    counts->extra_bytes = 2.0 * sizeof(float) * kept_chunks(&v->work) * p->cin * p->cout;
}

void spconv_own_wgrad_teardown(void *state)
{
    free(state);
}
OP_END
