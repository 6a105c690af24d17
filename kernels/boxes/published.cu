/*
 * published.cu - boxes as detectors' published code finds them: all scores by one radix sort (CUB),
 * the best decoded, split by class, overlaps of all pairs as bits of 64 x 64 tiles, and one box
 * after the other through them.
 *
 * There the bits are copied to the host, which goes through them, and classes are split by masks
 * whose sizes the host waits for; here both are kernels, so that a graph can hold them.
 */
#include <cub/device/device_radix_sort.cuh>
#include <cuda_runtime.h>
#include <stdlib.h>

#include "suppress.cuh"

constexpr int THREADS = 256;

struct sort_state {
    float *score, *sorted;    /* [scores] */
    int *index, *order;       /* [scores] */
    boxes_box *box, *members; /* [BOXES_TOP], [BOXES_GROUPS][BOXES_TOP] */
    int *count;               /* [BOXES_GROUPS] members */
    word *bits;
    void *temp;
    size_t bytes;
};

/* 0: no candidate. */
__global__ void __launch_bounds__(THREADS)
score_all(boxes_view v, int scores, float *score, int *index)
{
    const int i = blockIdx.x * THREADS + threadIdx.x, cell = i % v.cells;
    int label;
    if (i >= scores)
        return;
    const float s = v.rules.groups > 1
                        ? box_score_of(&v.rules, v.map + (size_t)cell * v.out, i / v.cells)
                        : best_of(v, cell, &label);
    score[i] = s > v.rules.threshold ? s : 0;
    index[i] = i;
}

/* Label -1: no box. */
__global__ void __launch_bounds__(THREADS)
decode_top(boxes_view v, int scores, const float *sorted, const int *order, boxes_box *box)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= BOXES_TOP)
        return;
    if (i < scores && sorted[i] > 0)
        box[i] = box_of(v, order[i], sorted[i]);
    else
        box[i].label = -1;
}

/* A warp a group. */
__global__ void __launch_bounds__(32)
split_groups(struct boxes_rules rules, const boxes_box *box, boxes_box *members, int *count)
{
    const int group = blockIdx.x, lane = threadIdx.x;
    int n = 0;
    for (int i = lane; i < BOXES_TOP; i += 32) {
        const int label = box[i].label;
        const bool own = rules.groups > 1 ? label == group : label >= 0;
        const unsigned lanes = __ballot_sync(~0u, own);
        const int at = n + __popc(lanes & ((1u << lane) - 1));
        if (own && at < rules.before[group])
            members[group * BOXES_TOP + at] = box[i];
        n += __popc(lanes);
    }
    if (!lane)
        count[group] = n < rules.before[group] ? n : rules.before[group];
}

__global__ void __launch_bounds__(TILE)
overlap_all(struct boxes_rules rules, const boxes_box *members, const int *count, word *bits)
{
    __shared__ boxes_box tile[TILE];
    const int group = blockIdx.z, n = count[group], first = blockIdx.x * TILE;
    const int row = blockIdx.y * TILE + threadIdx.x;
    if (blockIdx.x < blockIdx.y || first >= n)
        return;
    members += (size_t)group * BOXES_TOP;
    if (first + (int)threadIdx.x < n)
        tile[threadIdx.x] = members[first + threadIdx.x];
    __syncthreads();
    if (row < n)
        bits[((size_t)group * BOXES_TOP + row) * WORDS + blockIdx.x] =
            overlapped(members[row], row, tile, first, n, rules.overlap[group]);
}

/* A block a group, a word a thread. */
__global__ void __launch_bounds__(WORDS)
go_through(struct boxes_rules rules, const boxes_box *members, const int *count, const word *bits,
           int32_t *found, boxes_box *out)
{
    __shared__ word gone[WORDS];
    const int group = blockIdx.x, t = threadIdx.x, n = group < rules.groups ? count[group] : 0;
    int kept = 0;
    for (int g = 0; g < group; g++)
        out += rules.after[g];
    gone[t] = 0;
    __syncthreads();
    for (int i = 0; i < n && kept < rules.after[group]; i++) {
        const size_t row = (size_t)group * BOXES_TOP + i;
        const bool stays = !(gone[i / TILE] >> i % TILE & 1);
        __syncthreads();
        if (stays) {
            if (t >= i / TILE && t * TILE < n)
                gone[t] |= bits[row * WORDS + t];
            if (!t)
                out[kept] = members[row];
            kept++;
        }
        __syncthreads();
    }
    if (!t)
        found[group] = kept;
}

static cudaError_t sort(const sort_state *t, void *temp, size_t *bytes, int scores, op_stream s)
{
    return cub::DeviceRadixSort::SortPairsDescending(temp, *bytes, t->score, t->sorted, t->index,
                                                     t->order, scores, 0, 32, s);
}

template <class T> static T *take(const op_memory *m, size_t count)
{
    return (T *)m->take(m->context, count * sizeof(T));
}

OP_BEGIN

enum op_status boxes_sort_setup(const struct boxes_problem *p, const struct op_memory *m,
                                op_stream s, void **state)
{
    sort_state *t = (sort_state *)calloc(1, sizeof *t);
    *state = t;
    if (boxes_check(p) != OP_OK)
        return OP_EINVAL;
    if (!t)
        return OP_ENOMEM;
    const int scores = scores_of(p);
    t->score = take<float>(m, scores);
    t->sorted = take<float>(m, scores);
    t->index = take<int>(m, scores);
    t->order = take<int>(m, scores);
    t->box = take<boxes_box>(m, BOXES_TOP);
    t->members = take<boxes_box>(m, BOXES_GROUPS * BOXES_TOP);
    t->count = take<int>(m, BOXES_GROUPS);
    t->bits = take<word>(m, (size_t)BOXES_GROUPS * BOXES_TOP * WORDS);
    if (!t->score || !t->sorted || !t->index || !t->order || !t->box || !t->members || !t->count ||
        !t->bits)
        return OP_ENOMEM;
    if (sort(t, NULL, &t->bytes, scores, s) != cudaSuccess)
        return OP_EDEVICE;
    t->temp = m->take(m->context, t->bytes);
    return t->temp ? OP_OK : OP_ENOMEM;
}

enum op_status boxes_sort(const struct boxes_problem *p, const struct boxes_args *a, void *state,
                          op_stream s)
{
    const sort_state *t = (const sort_state *)state;
    const boxes_view v = view_of(p, a);
    const int scores = scores_of(p), groups = v.rules.groups;
    size_t bytes = t->bytes;
    score_all<<<(scores + THREADS - 1) / THREADS, THREADS, 0, s>>>(v, scores, t->score, t->index);
    if (sort(t, t->temp, &bytes, scores, s) != cudaSuccess)
        return OP_EDEVICE;
    decode_top<<<BOXES_TOP / THREADS, THREADS, 0, s>>>(v, scores, t->sorted, t->order, t->box);
    split_groups<<<groups, 32, 0, s>>>(v.rules, t->box, t->members, t->count);
    overlap_all<<<dim3(WORDS, WORDS, groups), TILE, 0, s>>>(v.rules, t->members, t->count, t->bits);
    go_through<<<BOXES_GROUPS, WORDS, 0, s>>>(v.rules, t->members, t->count, t->bits, a->count,
                                              a->box);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END
