/*
 * spmm_edges.cu - C = A B edge by edge, as graph libraries without a sparse format do.
 *
 * Each entry (i, k) of A takes row k of B, scales it and adds it to row i of C by
 * atomics; C is cleared before.  Nothing is summed in registers, so every entry
 * costs a read of a row of B and an atomic write of a row of C.
 *
 * edges_scatter: both at once.
 * edges_messages: two passes.  Gather writes val * B[k] of every entry into a
 * buffer [nnz][n], scatter adds the buffer into C.
 */
#include "spmm_edges.h"

constexpr int BLOCK = 256;

template <int V> struct alignas(4 * V) Floats {
    float v[V];
};

#if __CUDA_ARCH__ >= 900 /* one atomic of 16 bytes */
static __device__ __forceinline__ void add_floats(float *c, const Floats<4> &x)
{
    atomicAdd((float4 *)c, make_float4(x.v[0], x.v[1], x.v[2], x.v[3]));
}
#endif

template <int V> static __device__ __forceinline__ void add_floats(float *c, const Floats<V> &x)
{
#pragma unroll
    for (int i = 0; i < V; i++)
        atomicAdd(c + i, x.v[i]);
}

/* One thread per V columns of an entry; `lanes` of them make a row.  GATHER: from B, else
 * from messages; SCATTER: into C, else into messages. */
template <int V, bool GATHER, bool SCATTER>
static __global__ __launch_bounds__(BLOCK) void edges(spmm_matrix a, size_t count, int lanes,
                                                      const Floats<V> *__restrict__ b,
                                                      Floats<V> *__restrict__ messages,
                                                      float *__restrict__ c)
{
    const float *val = (const float *)a.val;
    for (size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x; i < count;
         i += (size_t)gridDim.x * BLOCK) {
        const size_t e = i / lanes;
        const int lane = (int)(i - e * lanes);
        Floats<V> x;
        if (GATHER) {
            const float value = __ldg(val + e);
            x = b[(size_t)__ldg(a.col + e) * lanes + lane];
#pragma unroll
            for (int k = 0; k < V; k++)
                x.v[k] *= value;
        } else {
            x = messages[i];
        }
        if (SCATTER)
            add_floats(c + ((size_t)__ldg(a.row + e) * lanes + lane) * V, x);
        else
            messages[i] = x;
    }
}

template <int V>
static enum op_status launch(const struct spmm_problem *p, const struct spmm_args *args,
                             void *messages, op_stream s)
{
    const int lanes = p->n / V;
    const size_t count = (size_t)p->nnz * lanes, blocks = (count + BLOCK - 1) / BLOCK;
    const unsigned grid = (unsigned)(blocks < 65536 ? blocks : 65536);
    const Floats<V> *b = (const Floats<V> *)args->b;
    Floats<V> *m = (Floats<V> *)messages;
    float *c = (float *)args->c;
    if (cudaMemsetAsync(c, 0, sizeof(float) * (size_t)p->m * p->n, s) != cudaSuccess)
        return OP_EDEVICE;
    if (!count)
        return OP_OK;
    if (messages) {
        edges<V, true, false><<<grid, BLOCK, 0, s>>>(args->a, count, lanes, b, m, c);
        edges<V, false, true><<<grid, BLOCK, 0, s>>>(args->a, count, lanes, b, m, c);
    } else {
        edges<V, true, true><<<grid, BLOCK, 0, s>>>(args->a, count, lanes, b, m, c);
    }
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN
enum op_status spmm_edges_messages_setup(const struct spmm_problem *p,
                                         const struct spmm_matrix *host,
                                         const struct spmm_args *args,
                                         const struct op_memory *memory, op_stream s, void **state)
{
    const size_t bytes = sizeof(float) * (size_t)p->nnz * p->n;
    (void)host, (void)args, (void)s;
    *state = memory->take(memory->context, bytes ? bytes : 16);
    return *state ? OP_OK : OP_ENOMEM;
}

enum op_status spmm_edges(const struct spmm_problem *p, const struct spmm_args *args, void *state,
                          op_stream s)
{
    if (p->n % 4 == 0)
        return launch<4>(p, args, state, s);
    return p->n % 2 == 0 ? launch<2>(p, args, state, s) : launch<1>(p, args, state, s);
}
OP_END
