/*
 * warp.cuh - sums over the 32 lanes of a warp, and loads of neighbouring floats.
 *
 * All lanes must call the functions that shuffle.
 */
#ifndef KERNELS_COMMON_WARP_CUH
#define KERNELS_COMMON_WARP_CUH

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

/*
 * Tree of five steps; the sum is in lane 0.
 *
 *   lane   0    1    2   ...  15   16 ... 31
 *   16     +16  +17  +18 ...  +31
 *   8      +8   +9   ...
 */
template <class T> static __device__ __forceinline__ T warp_sum(T v)
{
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2)
        v += __shfl_down_sync(ALL_LANES, v, d);
    return v;
}

/* V neighbouring floats by one load where p is aligned to V floats. */
template <int V> static __device__ __forceinline__ void load_floats(const float *p, float (&x)[V])
{
    static_assert(V == 1 || V == 2 || V == 4, "a load takes 4, 8 or 16 bytes");
    if constexpr (V == 4) {
        const float4 t = __ldg((const float4 *)p);
        x[0] = t.x, x[1] = t.y, x[2] = t.z, x[3] = t.w;
    } else if constexpr (V == 2) {
        const float2 t = __ldg((const float2 *)p);
        x[0] = t.x, x[1] = t.y;
    } else {
        x[0] = __ldg(p);
    }
}

template <int V> static __device__ __forceinline__ void store_floats(float *p, const float (&x)[V])
{
    if constexpr (V == 4)
        *(float4 *)p = make_float4(x[0], x[1], x[2], x[3]);
    else if constexpr (V == 2)
        *(float2 *)p = make_float2(x[0], x[1]);
    else
        *p = x[0];
}

#endif
