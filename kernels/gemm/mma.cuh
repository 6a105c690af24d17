/*
 * mma.cuh - tensor-core products of a warp, their fragments, and copies to
 * shared memory that do not wait (compute capability 8.0 and later).
 *
 * mma m16n8k16, lane l, r = l/4, c = l%4*2:
 *
 *   A  [16][16]   a0 (r, c..c+1)  a1 (r+8, c..)  a2 (r, c+8..)  a3 (r+8, c+8..)
 *   B  [16][8]    b0 (c..c+1, r)  b1 (c+8.., r)
 *   C  [16][8]    c0 c1 (r, c..c+1)  c2 c3 (r+8, c..); of halves two to a register
 *
 * ldmatrix loads four 8x8 matrices of 16-bit elements: lane l points at row l%8
 * of matrix l/8, 16 bytes, and gets of each matrix elements (r, c..c+1), or
 * (c..c+1, r) where it is transposed.
 */
#ifndef KERNELS_GEMM_MMA_CUH
#define KERNELS_GEMM_MMA_CUH

#include <cuda_fp16.h>
#include <stdint.h>

static __device__ __forceinline__ uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* Volatile: an ablation that loads the same again must do so. */
static __device__ __forceinline__ void ldmatrix(uint32_t (&d)[4], uint32_t row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(row)
                 : "memory");
}

static __device__ __forceinline__ void ldmatrix(uint32_t (&d)[4], const void *row)
{
    ldmatrix(d, shared_address(row));
}

static __device__ __forceinline__ void ldmatrix_trans(uint32_t (&d)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* c += a b, float sums */
static __device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                           uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* c += a b, half sums */
static __device__ __forceinline__ void mma(uint32_t (&c)[2], const uint32_t (&a)[4], uint32_t b0,
                                           uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, "
        "{%0,%1};"
        : "+r"(c[0]), "+r"(c[1])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* 16 bytes; zeros, and nothing read, where not valid. */
static __device__ __forceinline__ void copy_async(void *shared, const void *global, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                 "l"(global), "r"(valid ? 16 : 0)
                 : "memory");
}

static __device__ __forceinline__ void copy_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until at most Left of the thread's groups are still on their way. */
template <int Left> static __device__ __forceinline__ void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
}

/* 16 bytes of shared memory, loaded each time they are asked for. */
static __device__ __forceinline__ uint4 reload(uint32_t shared)
{
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(shared)
                 : "memory");
    return v;
}

static __device__ __forceinline__ uint4 reload(const void *shared)
{
    return reload(shared_address(shared));
}

/* The same of two bytes. */
static __device__ __forceinline__ uint32_t reload_pair(uint32_t shared)
{
    uint16_t v;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(v) : "r"(shared) : "memory");
    return v;
}

/* A flag in global memory between blocks: what was written before set is seen
 * after get has returned the value. */
static __device__ __forceinline__ void flag_set(int *flag, int value)
{
    asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}

static __device__ __forceinline__ int flag_get(const int *flag)
{
    int value;
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
    return value;
}

#endif
