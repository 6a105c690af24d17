/*
 * own.cu - boxes without a sort: candidates alone are collected, the best chosen by digits of their
 * keys, and placed by how many are in front.
 *
 *     key     score's bits << 32 | ~index: the greater is in front, no two are equal
 *
 *     boxes_collect   candidates' keys, in no order
 *     boxes_choose    one block: those of the 4096 greatest keys
 *     boxes_place     every box to its place in its group: four threads count keys in front of one
 *     boxes_overlap   bits of overlaps, 64 rows a block; the last block of a group goes through
 *                     them, 64 boxes at a time, until there are enough
 *
 * Candidates are few, and so are boxes that stay: latency bounds all of it.
 */
#include <cuda_runtime.h>
#include <stdlib.h>

#include "suppress.cuh"

constexpr int THREADS = 256, CHOOSERS = 1024, DIGIT = 8, DIGITS = 1 << DIGIT;
constexpr int PARTS = THREADS / TILE; /* threads a key, tiles at a time */
/* counters */
constexpr int FOUND = 0, CHOSEN = 1, MEMBERS = 2, DONE = MEMBERS + BOXES_GROUPS;
constexpr int COUNTERS = DONE + BOXES_GROUPS;

struct rank_state {
    word *key, *chosen, *bits; /* [scores], [BOXES_TOP], [BOXES_GROUPS][BOXES_TOP][WORDS] */
    boxes_box *box;            /* [BOXES_GROUPS][BOXES_TOP] */
    int *counter;              /* [COUNTERS] */
};

static __device__ __forceinline__ unsigned index_of(word key)
{
    return ~(unsigned)key;
}

/* Appends the keys of a warp's lanes that have one. */
static __device__ __forceinline__ void append(bool has, word key, int *counter, word *to)
{
    const int lane = threadIdx.x % 32;
    const unsigned lanes = __ballot_sync(~0u, has);
    int at = 0;
    if (!lanes)
        return;
    if (!lane)
        at = atomicAdd(counter, __popc(lanes));
    at = __shfl_sync(~0u, at, 0);
    if (has)
        to[at + __popc(lanes & ((1u << lane) - 1))] = key;
}

/* count: of groups that will have no box. */
__global__ void __launch_bounds__(THREADS)
boxes_collect(boxes_view v, word *key, int *counter, int32_t *count)
{
    const int cell = blockIdx.x * THREADS + threadIdx.x;
    const bool inside = cell < v.cells;
    if (cell < BOXES_GROUPS)
        count[cell] = 0;
    if (v.rules.groups == 1) {
        int label;
        const float score = inside ? best_of(v, cell, &label) : 0;
        append(score > v.rules.threshold, (word)half_float_bits(score) << 32 | ~(unsigned)cell,
               counter + FOUND, key);
        return;
    }
    for (int k = 0; k < BOXES_CLASSES; k++) {
        const float score =
            inside ? box_score_of(&v.rules, v.map + (size_t)cell * v.out, k) : 0;
        append(score > v.rules.threshold,
               (word)half_float_bits(score) << 32 | ~(unsigned)(k * v.cells + cell),
               counter + FOUND, key);
    }
}

/* The first warp: the digit at which `want` keys from the greatest digit down are reached; *above:
 * keys of greater digits. */
static __device__ __forceinline__ int crossing(const int *keys, int want, int *above)
{
    constexpr int EACH = DIGITS / 32;
    const int lane = threadIdx.x % 32, first = (31 - lane) * EACH; /* lane 0 has the greatest */
    int sum = 0;
    for (int i = 0; i < EACH; i++)
        sum += keys[first + i];
    int upto = sum;
    for (int d = 1; d < 32; d *= 2) {
        const int other = __shfl_up_sync(~0u, upto, d);
        upto += lane >= d ? other : 0;
    }
    const unsigned reached = __ballot_sync(~0u, upto >= want);
    const int at = __ffs(reached) - 1; /* there are as many */
    int left = __shfl_sync(~0u, upto - sum, at), digit = (31 - at) * EACH + EACH - 1;
    while (left + keys[digit] < want)
        left += keys[digit--];
    *above = left;
    return digit;
}

/* The greatest key that `want` of n are not below. */
static __device__ word limit_of(const word *key, int n, int want)
{
    __shared__ int keys[DIGITS], left, whole;
    __shared__ word limit;
    word prefix = 0, known = 0;
    for (int shift = 64 - DIGIT; shift >= 0; shift -= DIGIT) {
        if (threadIdx.x < DIGITS)
            keys[threadIdx.x] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < n; i += CHOOSERS)
            if ((key[i] & known) == prefix)
                atomicAdd(&keys[(int)(key[i] >> shift) & (DIGITS - 1)], 1);
        __syncthreads();
        if (threadIdx.x < 32) {
            int above;
            const int digit = crossing(keys, want, &above);
            if (!threadIdx.x) {
                limit = prefix | (word)digit << shift;
                left = want - above;
                whole = left == keys[digit];
            }
        }
        __syncthreads();
        prefix = limit;
        want = left;
        known |= (word)(DIGITS - 1) << shift;
        if (whole) /* all that begin so */
            break;
    }
    return prefix;
}

__global__ void __launch_bounds__(CHOOSERS)
boxes_choose(const word *key, word *chosen, int *counter)
{
    __shared__ int taken;
    const int n = counter[FOUND];
    const word least = n > BOXES_TOP ? limit_of(key, n, BOXES_TOP) : 0;
    if (!threadIdx.x)
        taken = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += CHOOSERS)
        if (key[i] >= least)
            chosen[atomicAdd(&taken, 1)] = key[i];
    if (!threadIdx.x)
        counter[CHOSEN] = n < BOXES_TOP ? n : BOXES_TOP;
}

__global__ void __launch_bounds__(THREADS)
boxes_place(boxes_view v, const word *chosen, boxes_box *box, int *counter)
{
    __shared__ word key[BOXES_TOP];
    const int n = counter[CHOSEN], i = blockIdx.x * TILE + threadIdx.x / PARTS;
    const int part = threadIdx.x % PARTS;
    if (blockIdx.x * TILE >= n)
        return;
    for (int k = threadIdx.x; k < n; k += THREADS)
        key[k] = chosen[k];
    __syncthreads();
    const word own = key[i < n ? i : 0];
    const unsigned group = v.rules.groups > 1 ? index_of(own) / v.cells : 0, base = group * v.cells;
    int place = 0;
    for (int k = part; k < n; k += PARTS)
        place += key[k] > own && index_of(key[k]) - base < (unsigned)v.cells;
    for (int d = 1; d < PARTS; d *= 2)
        place += __shfl_xor_sync(~0u, place, d);
    if (part || i >= n || place >= v.rules.before[group])
        return;
    box[group * BOXES_TOP + place] =
        box_of(v, (int)index_of(own), half_bits_float((uint32_t)(own >> 32)));
    atomicAdd(&counter[MEMBERS + group], 1);
}

/* Of 64 boxes in order those that stay: none of `gone`, none that one in front overlaps, no more
 * than there is room for. */
static __device__ __forceinline__ word staying(const word *bits, word gone, int n, int room)
{
    word alive = (n >= TILE ? ~(word)0 : ((word)1 << n) - 1) & ~gone, kept = 0;
    while (alive && room--) {
        const int i = __ffsll((long long)alive) - 1;
        kept |= (word)1 << i;
        alive &= ~(bits[i] | (word)1 << i);
    }
    return kept;
}

/* One block: through n boxes of a group.  bits: of this group. */
static __device__ void finish(const boxes_box *box, const word *bits, int n, int most,
                              boxes_box *out, int32_t *count)
{
    __shared__ word gone[WORDS], own[TILE], kept;
    const int words = (n + TILE - 1) / TILE, t = threadIdx.x % TILE, part = threadIdx.x / TILE;
    int total = 0;
    if (threadIdx.x < WORDS)
        gone[threadIdx.x] = 0;
    for (int w = 0; w < words && total < most; w++) {
        const int first = w * TILE, row = first + t;
        if (!part)
            own[t] = row < n ? __ldcg(bits + (size_t)row * WORDS + w) : 0;
        __syncthreads();
        if (!threadIdx.x)
            kept = staying(own, gone[w], n - first, most - total);
        __syncthreads();
        const word stays = kept;
        if (!part && stays >> t & 1)
            out[total + __popcll(stays & (((word)1 << t) - 1))] = box[row];
        if (w + 1 + t < words) {
            word over = 0;
            for (int i = part; i < TILE; i += PARTS)
                if (stays >> i & 1)
                    over |= __ldcg(bits + (size_t)(first + i) * WORDS + w + 1 + t);
            if (over)
                atomicOr(&gone[w + 1 + t], over);
        }
        total += __popcll(stays);
        __syncthreads(); /* `own`, `kept` and `gone` are the next 64's */
    }
    if (!threadIdx.x)
        *count = total;
}

__global__ void __launch_bounds__(THREADS)
boxes_overlap(boxes_view v, const boxes_box *box, word *bits, int *counter, int32_t *count,
              boxes_box *out)
{
    __shared__ boxes_box tile[PARTS][TILE];
    __shared__ int last;
    const int group = blockIdx.y, n = counter[MEMBERS + group], words = (n + TILE - 1) / TILE;
    const int t = threadIdx.x % TILE, part = threadIdx.x / TILE, row = blockIdx.x * TILE + t;
    int at = 0;
    if ((int)blockIdx.x >= words)
        return;
    for (int g = 0; g < group; g++)
        at += v.rules.after[g];
    box += (size_t)group * BOXES_TOP;
    bits += (size_t)group * BOXES_TOP * WORDS;
    const boxes_box own = box[row < n ? row : 0];
    for (int from = blockIdx.x; from < words; from += PARTS) {
        const int w = from + part, first = w * TILE;
        if (first + t < n)
            tile[part][t] = box[first + t];
        __syncthreads();
        if (w < words && row < n)
            bits[(size_t)row * WORDS + w] =
                overlapped(own, row, tile[part], first, n, v.rules.overlap[group]);
        __syncthreads();
    }
    __threadfence();
    __syncthreads();
    if (!threadIdx.x)
        last = atomicAdd(&counter[DONE + group], 1) == words - 1;
    __syncthreads();
    if (!last)
        return;
    __threadfence();
    finish(box, bits, n, v.rules.after[group], out + at, count + group);
}

template <class T> static T *take(const op_memory *m, size_t count)
{
    return (T *)m->take(m->context, count * sizeof(T));
}

OP_BEGIN

enum op_status boxes_rank_setup(const struct boxes_problem *p, const struct op_memory *m, op_stream,
                                void **state)
{
    rank_state *t = (rank_state *)calloc(1, sizeof *t);
    *state = t;
    if (boxes_check(p) != OP_OK)
        return OP_EINVAL;
    if (!t)
        return OP_ENOMEM;
    t->key = take<word>(m, scores_of(p));
    t->chosen = take<word>(m, BOXES_TOP);
    t->bits = take<word>(m, (size_t)BOXES_GROUPS * BOXES_TOP * WORDS);
    t->box = take<boxes_box>(m, BOXES_GROUPS * BOXES_TOP);
    t->counter = take<int>(m, COUNTERS);
    return t->key && t->chosen && t->bits && t->box && t->counter ? OP_OK : OP_ENOMEM;
}

enum op_status boxes_rank(const struct boxes_problem *p, const struct boxes_args *a, void *state,
                          op_stream s)
{
    const rank_state *t = (const rank_state *)state;
    const boxes_view v = view_of(p, a);
    if (cudaMemsetAsync(t->counter, 0, COUNTERS * sizeof *t->counter, s))
        return OP_EDEVICE;
    boxes_collect<<<(v.cells + THREADS - 1) / THREADS, THREADS, 0, s>>>(v, t->key, t->counter,
                                                                        a->count);
    boxes_choose<<<1, CHOOSERS, 0, s>>>(t->key, t->chosen, t->counter);
    boxes_place<<<WORDS, THREADS, 0, s>>>(v, t->chosen, t->box, t->counter);
    boxes_overlap<<<dim3(WORDS, v.rules.groups), THREADS, 0, s>>>(v, t->box, t->bits, t->counter,
                                                                  a->count, a->box);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END
