/* own_wgrad_sm90.cu - set-up and launch of own_wgrad.cuh. */
#include <stdlib.h>

#include "own.h"
#include "own_wgrad.cuh"

typedef void (*OwnWgradKernel)(OwnWgradWork);

struct OwnWgrad {
    OwnWgradWork work;
    OwnWgradKernel kernel;
    int threads, bytes;
    int blocks, wide; /* of 64 channels of x and g in a tile */
};

template <int Blocks, int Wide> static void use(OwnWgrad *v)
{
    typedef OwnWgradShape<Blocks, Wide> Shape;
    v->kernel = own_wgrad<Blocks, Wide>;
    v->threads = Shape::THREADS;
    v->bytes = Shape::BYTES;
    v->blocks = Blocks;
    v->wide = Wide;
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

/* Four blocks to a multiprocessor, in stages of whole pairs; fewer where chunks get short. */
static int chunk_of(const struct spconv_problem *p, const OwnWgrad *v, int sms)
{
    const long tiles = (long)div_up(p->cin, v->blocks * 64) * div_up(p->cout, v->wide * 64);
    const long chunk = p->pairs * tiles / (4 * sms);
    const long least = 4 * WGRAD_PAIRS;
    return (int)((chunk < least ? least : chunk) / WGRAD_PAIRS * WGRAD_PAIRS);
}

OP_BEGIN
enum op_status spconv_own_wgrad_setup(const struct spconv_problem *p,
                                      const struct spconv_map *host, const struct spconv_args *a,
                                      const struct op_memory *memory, op_stream s, void **state)
{
    const char *why;
    int device, sms;
    (void)a, (void)memory, (void)s;
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
    v->work.chunk = chunk_of(p, v, sms);
    for (int d = 0; d <= p->taps; d++) {
        v->work.start[d] = host->start[d];
        v->work.first_chunk[d] =
            d ? v->work.first_chunk[d - 1] + div_up(host->start[d] - host->start[d - 1], v->work.chunk)
              : 0;
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
    if (cudaMemsetAsync(a->y, 0, (size_t)p->taps * p->cin * p->cout * sizeof(float), s))
        return OP_EDEVICE;
    const dim3 grid(work.first_chunk[p->taps], div_up(p->cin, v->blocks * 64),
                    div_up(p->cout, v->wide * 64));
    if (grid.x)
        v->kernel<<<grid, v->threads, v->bytes, s>>>(work);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

void spconv_own_wgrad_teardown(void *state)
{
    free(state);
}
OP_END
