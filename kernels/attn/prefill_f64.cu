/* prefill_f64.cu - on the GPU what prefill_ref.c does on the host.  Not timed. */
#include <cuda_runtime.h>

#include "prefill_at.h"
#include "value.h"

constexpr int THREADS = 128;

/* A block makes a query token and head. */
static __global__ void __launch_bounds__(THREADS)
    attend(struct attn_problem p, struct prefill_args a, const int *token, struct attn_wanted w)
{
    __shared__ double part[THREADS];
    const struct prefill_rows r =
        prefill_rows_at(&p, &a, token[blockIdx.x / p.heads], blockIdx.x % p.heads);
    double *const score = w.score + (size_t)blockIdx.x * p.length;
    double most = -INFINITY, sum = 0;
    for (int t = threadIdx.x; t < r.keys; t += THREADS)
        most = fmax(most, score[t] = prefill_score(&r, p.head_dim, t));
    part[threadIdx.x] = most;
    __syncthreads();
    for (int i = 0; i < THREADS; i++)
        most = fmax(most, part[i]);
    __syncthreads();
    for (int t = threadIdx.x; t < r.keys; t += THREADS)
        sum += score[t] = exp(score[t] - most);
    part[threadIdx.x] = sum;
    __syncthreads();
    sum = 0;
    for (int i = 0; i < THREADS; i++)
        sum += part[i];
    for (int d = threadIdx.x; d < p.head_dim; d += THREADS) {
        double out = 0, squares = 0;
        for (int t = 0; t < r.keys; t++) {
            const double term = score[t] / sum * half_to_float(r.v[t * r.stride + d]);
            out += term;
            squares += term * term;
        }
        w.want[(size_t)blockIdx.x * p.head_dim + d] = out;
        w.spread[(size_t)blockIdx.x * p.head_dim + d] = sqrt(squares);
    }
}

OP_BEGIN

enum op_status prefill_ref_cuda(const struct attn_problem *p, const struct prefill_args *a,
                                const int *token, int tokens, const struct attn_wanted *w,
                                op_stream s)
{
    if (attn_meaningless(p))
        return OP_EINVAL;
    attend<<<tokens * p->heads, THREADS, 0, s>>>(*p, *a, token, *w);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END
