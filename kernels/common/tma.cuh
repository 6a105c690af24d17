/*
 * tma.cuh - copies by the bulk copy engine (compute capability 9.0).
 *
 * One thread starts a copy; it ends by counting its bytes off an mbarrier
 * (mbarrier.cuh), which must expect them.  Shared addresses are those of the
 * shared window.  A buffer that threads have read may be handed to the next
 * copy after a barrier among them; one they have written needs a proxy fence.
 */
#ifndef KERNELS_COMMON_TMA_CUH
#define KERNELS_COMMON_TMA_CUH

#include <cuda.h>
#include <cuda_runtime.h>
#include <stdint.h>

/* For data that is read once: it leaves the L2 cache first. */
static __device__ __forceinline__ uint64_t l2_evict_first()
{
    uint64_t policy;
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

/* `bytes` neighbours; all three multiples of 16. */
static __device__ __forceinline__ void bulk_copy(uint32_t shared, const void *global,
                                                 unsigned bytes, uint32_t barrier)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 " [%0], [%1], %2, [%3];" ::"r"(shared),
                 "l"(global), "r"(bytes), "r"(barrier)
                 : "memory");
}

static __device__ __forceinline__ void bulk_copy(uint32_t shared, const void *global,
                                                 unsigned bytes, uint32_t barrier,
                                                 uint64_t policy)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(shared),
                 "l"(global), "r"(bytes), "r"(barrier), "l"(policy)
                 : "memory");
}

/* The same to this address of every block of the cluster whose bit is set, each of which counts
 * the bytes off the barrier at that address of its own. */
static __device__ __forceinline__ void bulk_copy_to(uint32_t shared, const void *global,
                                                    unsigned bytes, uint32_t barrier,
                                                    unsigned blocks)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
                 ".multicast::cluster [%0], [%1], %2, [%3], %4;" ::"r"(shared),
                 "l"(global), "r"(bytes), "r"(barrier), "h"((unsigned short)blocks)
                 : "memory");
}

/* ---- boxes of a matrix ---- */

/* The map itself, ahead of the first copy by it. */
static __device__ __forceinline__ void tma_map_fetch(const CUtensorMap *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/* The box of the map that begins at column x, row y. */
static __device__ __forceinline__ void bulk_copy_box(uint32_t shared, const CUtensorMap *map, int x,
                                                     int y, uint32_t barrier)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%2, %3}], [%4];" ::"r"(shared),
                 "l"(map), "r"(x), "r"(y), "r"(barrier)
                 : "memory");
}

/* The same to this address of every block of the cluster whose bit is set, each of
 * which counts the bytes off the barrier at that address of its own. */
static __device__ __forceinline__ void bulk_copy_box_to(uint32_t shared, const CUtensorMap *map,
                                                        int x, int y, uint32_t barrier,
                                                        unsigned blocks)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile"
                 ".mbarrier::complete_tx::bytes.multicast::cluster"
                 " [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(shared),
                 "l"(map), "r"(x), "r"(y), "r"(barrier), "h"((unsigned short)blocks)
                 : "memory");
}

/* The box of a map of three dimensions that begins at (x, y, z), x fastest; also below zero. */
static __device__ __forceinline__ void bulk_copy_box3(uint32_t shared, const CUtensorMap *map, int x,
                                                      int y, int z, uint32_t barrier)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                 " [%0], [%1, {%2, %3, %4}], [%5];" ::"r"(shared),
                 "l"(map), "r"(x), "r"(y), "r"(z), "r"(barrier)
                 : "memory");
}

/*
 * Host: map of a row-major matrix with boxes of 128 bytes of columns by `box_rows`,
 * stored with the 128-byte swizzle that wgmma reads:
 *
 *   byte b of row i of a box stands at 128 i + (b ^ 16 (i % 8))
 *
 * Boxes begin at multiples of 1024 in shared memory; elements outside the matrix
 * arrive as zeros and count as bytes.  The encoder is asked of the runtime, so
 * that nothing links against the driver's library.  False where it refuses.
 */
static inline bool tma_map_of(CUtensorMap *map, CUtensorMapDataType type, int dimensions,
                              const void *from, const cuuint64_t *size, const cuuint64_t *stride,
                              const cuuint32_t *box)
{
    typedef CUresult Encode(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                            const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
                            const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
                            CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
    void *encode = NULL;
    cudaDriverEntryPointQueryResult found;
    if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &encode, 12000,
                                         cudaEnableDefault, &found) ||
        found != cudaDriverEntryPointSuccess)
        return false;
    const cuuint32_t step[] = { 1, 1, 1 };
    return ((Encode *)encode)(map, type, dimensions, (void *)from, size, stride, box, step,
                              CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                              CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                              CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

static inline bool tma_map(CUtensorMap *map, CUtensorMapDataType type, int element,
                           const void *matrix, int rows, int columns, int box_rows)
{
    const cuuint64_t size[] = { (cuuint64_t)columns, (cuuint64_t)rows };
    const cuuint64_t stride[] = { (cuuint64_t)columns * element };
    const cuuint32_t box[] = { 128u / element, (cuuint32_t)box_rows };
    return tma_map_of(map, type, 2, matrix, size, stride, box);
}

static inline bool tma_map_half(CUtensorMap *map, const void *matrix, int rows, int columns,
                                int box_rows)
{
    return tma_map(map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, matrix, rows, columns, box_rows);
}

/* Columns: a multiple of 16. */
static inline bool tma_map_bytes(CUtensorMap *map, const void *matrix, int rows, int columns,
                                 int box_rows)
{
    return tma_map(map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 1, matrix, rows, columns, box_rows);
}

/* The same of halves [planes][rows][columns], columns a multiple of 8: boxes of 64 columns by
 * box_rows by box_planes, rows of the box one after another. */
static inline bool tma_map_half3(CUtensorMap *map, const void *from, int planes, int rows,
                                 int columns, int box_rows, int box_planes)
{
    const cuuint64_t size[] = { (cuuint64_t)columns, (cuuint64_t)rows, (cuuint64_t)planes };
    const cuuint64_t stride[] = { (cuuint64_t)columns * 2, (cuuint64_t)rows * columns * 2 };
    const cuuint32_t box[] = { 64, (cuuint32_t)box_rows, (cuuint32_t)box_planes };
    return tma_map_of(map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, from, size, stride, box);
}

#endif
