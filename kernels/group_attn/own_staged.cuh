/*
 * own_staged.cuh - keys of the attention of own_even.cuh by the bulk copy engine (compute
 * capability 9.0): a thread asks for K and V of a part, a box of 64 channels of the group's rows
 * each, where copies of 16 bytes take all threads 30 instructions a time.
 *
 * A box arrives in the 128-byte swizzle, which is the layout of own_attention.cuh: 16-byte chunk c
 * of row r at 128 r + 16 (c ^ r % 8), from multiples of 1024 on.  Rows between the group's last and
 * the last tile's are never written: those of V are zeros from the beginning, since they are
 * weighed with 0; scores of those of K are replaced.
 */
#ifndef KERNELS_GROUP_ATTN_OWN_STAGED_CUH
#define KERNELS_GROUP_ATTN_OWN_STAGED_CUH

#include "../common/mbarrier.cuh"
#include "../common/tma.cuh"
#include "own_even.cuh"

struct KeysByBoxes {
    static constexpr bool TWO = true; /* a share may begin with a part's last round */

    CUtensorMap map; /* of [slots][3 channels] */

    template <class Shape>
    __device__ __forceinline__ static uint32_t barrier(uint32_t shared, unsigned count)
    {
        return shared + 2 * Shape::BUFFER + count % 2 * 8;
    }

    template <class Shape>
    __device__ __forceinline__ void begin(const AttentionWork &w, uint4 *buffers) const
    {
        constexpr int ROW = 128 / sizeof(uint4), BUFFER = Shape::BUFFER / sizeof(uint4);
        const uint32_t shared = shared_address(buffers);
        const int tail = (Shape::ROWS - w.group) * ROW;
        for (int i = threadIdx.x; i < 2 * tail; i += blockDim.x)
            buffers[i / tail * BUFFER + (Shape::ROWS + w.group) * ROW + i % tail] =
                make_uint4(0, 0, 0, 0);
        if (threadIdx.x == 0) {
            tma_map_fetch(&map);
            mbarrier_init(barrier<Shape>(shared, 0), 1);
            mbarrier_init(barrier<Shape>(shared, 1), 1);
            mbarrier_init_done();
        }
        __syncthreads();
    }

    template <class Shape>
    __device__ __forceinline__ void fetch(const AttentionWork &w, int part, uint32_t shared,
                                          unsigned count) const
    {
        if (threadIdx.x == 0) {
            const AttentionPart p(w, part);
            const uint32_t to = shared + count % 2 * Shape::BUFFER;
            const uint32_t full = barrier<Shape>(shared, count);
            mbarrier_expect(full, 2 * w.group * 128);
            bulk_copy_box(to, &map, w.channels + p.column, p.at, full);
            bulk_copy_box(to + Shape::ROWS * 128, &map, 2 * w.channels + p.column, p.at, full);
        }
        __syncwarp();
    }

    template <class Shape>
    __device__ __forceinline__ void wait(uint32_t shared, unsigned count) const
    {
        mbarrier_wait(barrier<Shape>(shared, count), count / 2 & 1);
    }
};

constexpr int STAGED_BARRIERS = 2 * 8; /* bytes behind the buffers */

template <int Tiles, bool Early>
__global__ void __launch_bounds__(AttentionShape<Tiles>::THREADS, AttentionShape<Tiles>::BLOCKS)
    group_attention_staged(const __grid_constant__ AttentionWork w,
                           const __grid_constant__ KeysByBoxes keys)
{
    extern __shared__ __align__(1024) uint4 stages[];
    attend_share<Tiles, Early>(w, keys, stages);
}

/* ---- host: what own_launch.cuh asks of a way to spread the work ---- */

struct StagedParts {
    typedef void (*Kernel)(AttentionWork, KeysByBoxes);
    static constexpr bool EVEN = true;
    static constexpr int BYTES = STAGED_BARRIERS;

    template <int Tiles, bool Early> static Kernel kernel()
    {
        return group_attention_staged<Tiles, Early>;
    }

    template <bool Early>
    static enum op_status launch(Kernel kernel, const struct group_attn_problem *p, int blocks,
                                 int threads, int bytes, op_stream s, const AttentionWork &w)
    {
        KeysByBoxes keys;
        if (!tma_map_half(&keys.map, w.qkv, p->slots, 3 * w.channels, p->group))
            return OP_EDEVICE;
        return launch_early_shared(kernel, dim3((unsigned)blocks), threads, 1, (size_t)bytes, s, w,
                                   keys);
    }
};

#endif
