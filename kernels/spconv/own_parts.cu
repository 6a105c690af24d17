/* own_parts.cu - see own_parts.h.  A counting sort by one block: a plan has hundreds of tiles. */
#include "own_parts.h"
#include "upload.cuh"

constexpr int THREADS = 1024;

/* Tile i of a range: taps of its parts are q + 1 for the first `longer` parts, then q. */
struct Cut {
    uint32_t taps;
    int parts, q, longer;
};

static __device__ __forceinline__ Cut cut_of(const own_plan &plan, int tile, int most)
{
    Cut c;
    c.taps = plan.mask[2 * tile] | plan.mask[2 * tile + 1];
    const int all = __popc(c.taps);
    c.parts = all > most ? (all + most - 1) / most : 1;
    c.q = all / c.parts;
    c.longer = all % c.parts;
    return c;
}

static __global__ __launch_bounds__(THREADS) void make_parts(own_plan plan, own_parts out)
{
    __shared__ int place[SPCONV_TAPS_MAX + 2]; /* by SPCONV_TAPS_MAX - length */
    __shared__ int slots, done;
    if (threadIdx.x == 0)
        slots = done = 0;
    for (int split = 0; split < plan.splits; split++) {
        const int first = split * plan.tiles;
        if (threadIdx.x < SPCONV_TAPS_MAX + 2)
            place[threadIdx.x] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < plan.tiles; i += THREADS) {
            const Cut c = cut_of(plan, first + i, out.most);
            if (c.longer)
                atomicAdd(place + SPCONV_TAPS_MAX - c.q - 1, c.longer);
            atomicAdd(place + SPCONV_TAPS_MAX - c.q, c.parts - c.longer);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int k = 0; k <= SPCONV_TAPS_MAX; k++) {
                const int count = place[k];
                place[k] = done;
                done += count;
            }
        }
        __syncthreads();
        for (int i = threadIdx.x; i < plan.tiles; i += THREADS) {
            const Cut c = cut_of(plan, first + i, out.most);
            const int longer =
                c.longer ? atomicAdd(place + SPCONV_TAPS_MAX - c.q - 1, c.longer) : 0;
            const int rest = atomicAdd(place + SPCONV_TAPS_MAX - c.q, c.parts - c.longer);
            const int slot = c.parts > 1 ? atomicAdd(&slots, c.parts - 1) : 0;
            uint32_t left = c.taps;
            for (int k = 0; k < c.parts; k++) {
                own_part part = { first + i, 0, c.parts << 8 | k, slot };
                for (int n = k < c.longer ? c.q + 1 : c.q; n > 0; n--) {
                    part.taken |= left & -left;
                    left &= left - 1;
                }
                out.part[k < c.longer ? longer + k : rest + k - c.longer] = part;
            }
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        out.count[0] = done;
        out.count[1] = slots;
    }
}

OP_BEGIN
enum op_status own_parts_open(const struct own_plan *plan, int most,
                              const struct op_memory *memory, struct own_parts *parts)
{
    enum op_status status = OP_OK;
    if (most < 1)
        return OP_EINVAL;
    const int tiles = plan->splits * plan->tiles, each = (plan->taps + most - 1) / most;
    parts->most = most;
    parts->room = tiles * each;
    parts->slots = each > 1 ? tiles * (each - 1) : 1;
    parts->part = scratch<struct own_part>(memory, (size_t)parts->room, &status);
    parts->count = scratch<int32_t>(memory, 2, &status);
    return status;
}

enum op_status own_parts_make(const struct own_plan *plan, const struct own_parts *parts,
                              op_stream s)
{
    make_parts<<<1, THREADS, 0, s>>>(*plan, *parts);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}
OP_END
