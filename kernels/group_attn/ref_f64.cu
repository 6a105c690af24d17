/*
 * ref_f64.cu - the references in double precision on the GPU.
 *
 * The definition, an element or a row to a thread: nothing is shared with the timed kernels but
 * the order of weights in memory.
 */
#include <cuda_fp16.h>
#include <stdlib.h>

#include "../common/half.h"
#include "group_attn.h"
#include "want.h"

constexpr int BLOCK = 128;

/* ---- attention alone ---- */

static __global__ __launch_bounds__(BLOCK) void wanted(struct group_attn_problem p,
                                                       struct group_attn_args a, int exact,
                                                       double *want, float *bound)
{
    const size_t c = (size_t)p.heads * p.head;
    const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    const size_t row = i / p.heads, at = i % p.heads * p.head;
    if (row >= (size_t)p.n)
        return;
    const half_bits *qkv = (const half_bits *)a.qkv;
    const half_bits *first = qkv + row / p.group * p.group * 3 * c + at;
    group_attn_row(p.group, p.head, 3 * c, qkv + row * 3 * c + at, first + c, first + 2 * c, exact,
                   want + row * c + at, bound + row * c + at);
}

/* ---- the encoder ---- */

static __global__ void widen(size_t count, const half_bits *x, double *y)
{
    const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    if (i < count)
        y[i] = half_to_float(x[i]);
}

static __global__ void gather(size_t count, int c, const int32_t *slot,
                              const struct flatten_cell *cell, const double *y, double *x,
                              double *xe)
{
    const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    if (i >= count)
        return;
    const int row = slot[i / c], j = (int)(i % c), half = c / 2;
    const double angle =
        (j < half ? cell[row].x : cell[row].y) / pow(10000.0, 2.0 * (j % half / 2) / half);
    x[i] = y[(size_t)row * c + j];
    xe[i] = x[i] + (j % half % 2 ? cos(angle) : sin(angle));
}

/* out [rows][outs] = in [rows][ins] W^T + b, rows of out `stride` apart. */
static __global__ void linear(size_t rows, int outs, int ins, int stride, const half_bits *w,
                              const half_bits *b, const double *in, double *out)
{
    const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x, row = i / outs;
    const int j = (int)(i % outs);
    if (row >= rows)
        return;
    double sum = half_to_float(b[j]);
    for (int k = 0; k < ins; k++)
        sum += (double)half_to_float(w[(size_t)j * ins + k]) * in[row * ins + k];
    out[row * stride + j] = sum;
}

/* part: of each slot. */
static __global__ void attend(size_t slots, int heads, int head, const int32_t *part,
                              const int32_t *begin, const double *qkv, double *o)
{
    const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x, row = i / heads;
    const size_t c = (size_t)heads * head, at = i % heads * head;
    if (row >= slots)
        return;
    const double *q = qkv + row * 3 * c + at;
    double *to = o + row * c + at, most = -INFINITY, sum = 0;
    const int first = begin[part[row]], past = begin[part[row] + 1];
    for (int d = 0; d < head; d++)
        to[d] = 0;
    for (int again = 0; again < 2; again++)
        for (int s = first; s < past; s++) {
            const double *k = qkv + (size_t)s * 3 * c + c + at, *v = k + c;
            double score = 0;
            for (int d = 0; d < head; d++)
                score += q[d] * k[d];
            score /= sqrt((double)head);
            if (!again) {
                most = fmax(most, score);
                continue;
            }
            const double weight = exp(score - most);
            sum += weight;
            for (int d = 0; d < head; d++)
                to[d] += weight * v[d];
        }
    for (int d = 0; d < head; d++)
        to[d] /= sum;
}

/* y of row slot[i] = norm(from[i] + added[i]); slot NULL: row i. */
static __global__ void add_norm(int rows, int c, const half_bits *norm, const double *from,
                                const double *added, const int32_t *slot, double *y)
{
    const int i = blockIdx.x * BLOCK + threadIdx.x;
    if (i >= rows)
        return;
    const double *a = from + (size_t)i * c, *b = added + (size_t)i * c;
    double *to = y + (size_t)(slot ? slot[i] : i) * c, mean = 0, variance = 0;
    for (int j = 0; j < c; j++)
        mean += (a[j] + b[j]) / c;
    for (int j = 0; j < c; j++)
        variance += (a[j] + b[j] - mean) * (a[j] + b[j] - mean) / c;
    for (int j = 0; j < c; j++)
        to[j] = (a[j] + b[j] - mean) / sqrt(variance + GROUP_ATTN_EPS) * half_to_float(norm[j]) +
                half_to_float(norm[c + j]);
}

static __global__ void gelu(size_t count, double *x)
{
    const size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x;
    if (i < count)
        x[i] *= 0.5 * (1 + erf(x[i] / sqrt(2.0)));
}

static unsigned blocks(size_t count)
{
    return (unsigned)((count + BLOCK - 1) / BLOCK);
}

/* Of one layer at a time; the parts are uploaded before each. */
struct room {
    double *x, *xe, *qkv, *o, *t, *hidden;
    int32_t *slot, *part, *begin;
};

static enum op_status room_of(const struct encoder_problem *p, size_t slots,
                              const struct op_memory *m, struct room *r)
{
    const size_t c = (size_t)p->layer.heads * p->layer.head;
    const size_t doubles[] = { c, c, 3 * c, c, c, (size_t)p->layer.hidden };
    double **const d[] = { &r->x, &r->xe, &r->qkv, &r->o, &r->t, &r->hidden };
    int32_t **const n[] = { &r->slot, &r->part, &r->begin };
    int failed = 0;
    for (int i = 0; i < 6; i++)
        failed |= !(*d[i] = (double *)m->take(m->context, slots * doubles[i] * sizeof(double)));
    for (int i = 0; i < 3; i++)
        failed |= !(*n[i] = (int32_t *)m->take(m->context, (slots + 1) * sizeof(int32_t)));
    return failed ? OP_ENOMEM : OP_OK;
}

static enum op_status upload(const struct encoder_parts *parts, const struct room *r, op_stream s)
{
    const size_t slots = (size_t)parts->slots;
    int32_t *part = (int32_t *)malloc(slots * sizeof *part);
    if (!part)
        return OP_ENOMEM;
    for (int i = 0; i < parts->count; i++)
        for (int k = parts->begin[i]; k < parts->begin[i + 1]; k++)
            part[k] = i;
    const int failed =
        cudaMemcpyAsync(r->slot, parts->slot, slots * sizeof(int32_t), cudaMemcpyHostToDevice, s) ||
        cudaMemcpyAsync(r->begin, parts->begin, ((size_t)parts->count + 1) * sizeof(int32_t),
                        cudaMemcpyHostToDevice, s) ||
        cudaMemcpyAsync(r->part, part, slots * sizeof(int32_t), cudaMemcpyHostToDevice, s) ||
        cudaStreamSynchronize(s);
    free(part);
    return failed ? OP_EDEVICE : OP_OK;
}

static enum op_status layer(const struct encoder_problem *p, const struct encoder_args *a, int l,
                            int slots, const struct room *r, double *y, op_stream s)
{
    const struct encoder_offsets at = encoder_offsets_of(&p->layer);
    const half_bits *w = (const half_bits *)a->weight + (size_t)l * at.count;
    const int n = p->layer.n, c = p->layer.heads * p->layer.head, hidden = p->layer.hidden;
    const size_t all = (size_t)slots * c, square = (size_t)c * c;
    gather<<<blocks(all), BLOCK, 0, s>>>(all, c, r->slot, a->frame.cell, y, r->x, r->xe);
    linear<<<blocks(2 * all), BLOCK, 0, s>>>(slots, 2 * c, c, 3 * c, w + at.qkv, w + at.qkv_bias,
                                             r->xe, r->qkv);
    linear<<<blocks(all), BLOCK, 0, s>>>(slots, c, c, 3 * c, w + at.qkv + 2 * square,
                                         w + at.qkv_bias + 2 * c, r->x, r->qkv + 2 * c);
    attend<<<blocks((size_t)slots * p->layer.heads), BLOCK, 0, s>>>(
        slots, p->layer.heads, p->layer.head, r->part, r->begin, r->qkv, r->o);
    /* queries only from here on */
    linear<<<blocks((size_t)n * c), BLOCK, 0, s>>>(n, c, c, c, w + at.out, w + at.out_bias, r->o,
                                                   r->t);
    add_norm<<<blocks(n), BLOCK, 0, s>>>(n, c, w + at.norm1, r->x, r->t, NULL, r->xe);
    linear<<<blocks((size_t)n * hidden), BLOCK, 0, s>>>(n, hidden, c, hidden, w + at.fc1,
                                                        w + at.fc1_bias, r->xe, r->hidden);
    gelu<<<blocks((size_t)n * hidden), BLOCK, 0, s>>>((size_t)n * hidden, r->hidden);
    linear<<<blocks((size_t)n * c), BLOCK, 0, s>>>(n, c, hidden, c, w + at.fc2, w + at.fc2_bias,
                                                   r->hidden, r->t);
    add_norm<<<blocks(n), BLOCK, 0, s>>>(n, c, w + at.norm2, r->xe, r->t, r->slot, y);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN
enum op_status group_attn_wanted_cuda(const struct group_attn_problem *p,
                                      const struct group_attn_args *a, int exact, double *want,
                                      float *bound, op_stream s)
{
    wanted<<<blocks((size_t)p->n * p->heads), BLOCK, 0, s>>>(*p, *a, exact, want, bound);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

enum op_status encoder_ref_cuda(const struct encoder_problem *p, enum encoder_scheme scheme,
                                const struct encoder_host *h, const struct encoder_args *a,
                                const struct op_memory *memory, double *y, op_stream s)
{
    const size_t count = (size_t)p->layer.n * p->layer.heads * p->layer.head;
    const int most = p->layer.slots; /* windows have fewer: n */
    struct room r;
    enum op_status status = encoder_check(p);
    if (!status)
        status = room_of(p, (size_t)most, memory, &r);
    if (!status)
        widen<<<blocks(count), BLOCK, 0, s>>>(count, (const half_bits *)a->x, y);
    for (int l = 0; !status && l < p->layers; l++) {
        struct encoder_parts parts;
        status = encoder_parts_of(p, scheme, &h->frame, l, &parts);
        if (!status)
            status = upload(&parts, &r, s);
        if (!status)
            status = layer(p, a, l, parts.slots, &r, y, s);
        encoder_parts_free(&parts);
    }
    return status;
}
OP_END
