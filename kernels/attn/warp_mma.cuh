/* warp_mma.cuh - what attention needs beside gemm's mma.cuh (compute capability 8.0). */
#ifndef KERNELS_ATTN_WARP_MMA_CUH
#define KERNELS_ATTN_WARP_MMA_CUH

#include "../gemm/mma.cuh"

/* ldmatrix at an address of the shared window; two: lanes 0-15 point, d[0], d[1] are loaded. */
template <bool Transposed, bool Two>
static __device__ __forceinline__ void load_matrices(uint32_t (&d)[4], uint32_t row)
{
    if constexpr (Two && Transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                     : "=r"(d[0]), "=r"(d[1])
                     : "r"(row)
                     : "memory");
    else if constexpr (Two)
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                     : "=r"(d[0]), "=r"(d[1])
                     : "r"(row)
                     : "memory");
    else if constexpr (Transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                     : "r"(row)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                     : "r"(row)
                     : "memory");
}

/* 8x8 halves, lane l holding (l/4, l%4*2 ..), transposed. */
static __device__ __forceinline__ uint32_t transpose(uint32_t m)
{
    uint32_t t;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(t) : "r"(m));
    return t;
}

/* 1, 2 or 4 words of shared memory, aligned to all of them, loaded each time they are asked for. */
template <int Words>
static __device__ __forceinline__ void load_words(uint32_t from, uint32_t (&x)[Words])
{
    static_assert(Words == 1 || Words == 2 || Words == 4, "a load takes 4, 8 or 16 bytes");
    if constexpr (Words == 4)
        asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                     : "r"(from)
                     : "memory");
    else if constexpr (Words == 2)
        asm volatile("ld.shared.v2.u32 {%0,%1}, [%2];"
                     : "=r"(x[0]), "=r"(x[1])
                     : "r"(from)
                     : "memory");
    else
        asm volatile("ld.shared.u32 %0, [%1];" : "=r"(x[0]) : "r"(from) : "memory");
}

/* The same of global memory. */
template <int Words>
static __device__ __forceinline__ void load_global(const void *from, uint32_t (&x)[Words])
{
    static_assert(Words == 1 || Words == 2 || Words == 4, "a load takes 4, 8 or 16 bytes");
    if constexpr (Words == 4) {
        const uint4 t = *(const uint4 *)from;
        x[0] = t.x, x[1] = t.y, x[2] = t.z, x[3] = t.w;
    } else if constexpr (Words == 2) {
        const uint2 t = *(const uint2 *)from;
        x[0] = t.x, x[1] = t.y;
    } else {
        x[0] = *(const uint32_t *)from;
    }
}

/* 2^x to about 22 bits; 0 for -infinity. */
static __device__ __forceinline__ float exp2_approx(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* 16 bytes to an address of the shared window; zeros, and nothing read, where not valid. */
static __device__ __forceinline__ void copy_to(uint32_t shared, const void *global, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global),
                 "r"(valid ? 16 : 0)
                 : "memory");
}

#endif
