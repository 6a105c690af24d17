/*
 * wgmma.cu - a k loop that waits on a barrier: the compiler moves the waiting
 * out of line, behind the end, from where it jumps back into the loop.  That
 * jump is backward but makes no loop.  Not part of any build; cannot run.
 */
#include <stdint.h>

extern "C" __global__ void wgmma_wait(uint64_t da, uint64_t db, float *y, int k)
{
    __shared__ uint64_t bar[2];
    float d[4] = { 0, 0, 0, 0 };
    uint32_t b0 = (uint32_t)__cvta_generic_to_shared(bar);
#pragma unroll 1
    for (int p = 0; p < k; p++) {
        asm volatile("{\n.reg .pred P1;\nW_%=:\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 P1, [%0], %1;\n"
                     "@!P1 bra W_%=;\n}" ::"r"(b0 + 8 * (p & 1)),
                     "r"(p >> 1 & 1));
        asm volatile("wgmma.fence.sync.aligned;");
        asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 "
                     "{%0,%1,%2,%3}, %4, %5, 1, 1, 1, 0, 0;"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "l"(da + p), "l"(db + p));
        asm volatile("wgmma.commit_group.sync.aligned;\n"
                     "wgmma.wait_group.sync.aligned 0;" ::: "memory");
    }
    for (int i = 0; i < 4; i++)
        y[threadIdx.x * 4 + i] = d[i];
}
