/* own_launch.cuh - set-up and launches of our own rows, for either Machine. */
#ifndef KERNELS_GROUP_ATTN_OWN_LAUNCH_CUH
#define KERNELS_GROUP_ATTN_OWN_LAUNCH_CUH

#include <stdlib.h>

#include "../common/half.h"
#include "../spconv/upload.cuh"
#include "own_even.cuh"
#include "own_rows.cuh"

/* Memory of all operand sets: they run one after another. */
struct OwnState {
    half *x[2], *qkv, *o; /* x: between two layers in turn */
    const half *blocks, *parameters, *table;
    int multiprocessors;
};

/* ---- attention ---- */

/* How the work is spread: a part to a block, or equal shares; where the kernels made for a number
 * of tiles do not fit the group, a part to a block in either case. */
struct WholeParts {
    typedef void (*Kernel)(AttentionWork);
    static constexpr bool EVEN = false;
    static constexpr int BYTES = 0; /* behind the buffers */

    template <int Tiles, bool Early> static Kernel kernel()
    {
        return group_attention<Tiles, Early>;
    }

    template <bool Early>
    static enum op_status launch(Kernel kernel, const struct group_attn_problem *, int blocks,
                                 int threads, int bytes, op_stream s, const AttentionWork &w)
    {
        if constexpr (Early)
            return launch_early_shared(kernel, dim3((unsigned)blocks), threads, 1, (size_t)bytes, s,
                                       w);
        kernel<<<(unsigned)blocks, threads, bytes, s>>>(w);
        return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
    }
};

struct EvenParts : WholeParts {
    static constexpr bool EVEN = true;

    template <int Tiles, bool Early> static Kernel kernel()
    {
        return group_attention_even<Tiles, Early>;
    }
};

template <class Spread> struct AttentionChoice {
    typename WholeParts::Kernel whole;
    typename Spread::Kernel even; /* NULL: whole */
    int threads, bytes;
    int rounds, resident; /* of a part, and blocks to a multiprocessor, where even */
};

template <int Tiles, bool Early, class Spread>
static AttentionChoice<Spread> attention_choice(int group)
{
    typedef AttentionShape<Tiles> A;
    if constexpr (Spread::EVEN && Tiles)
        return { NULL, Spread::template kernel<Tiles, Early>(), A::THREADS,
                 EvenShape<Tiles>::BYTES + Spread::BYTES, EvenShape<Tiles>::ROUNDS, A::BLOCKS };
    return { group_attention<Tiles, Early>, NULL, A::THREADS, attention_bytes(group), 0, 0 };
}

template <bool Early, class Spread> static AttentionChoice<Spread> choose_attention(int group)
{
    switch ((group + 7) / 8) {
    case 18: /* 144 */
        return attention_choice<18, Early, Spread>(group);
    case 9: /* 69 */
        return attention_choice<9, Early, Spread>(group);
    default:
        return attention_choice<0, Early, Spread>(group);
    }
}

/* Even: all kernels ask for the same division of shared memory and L1 cache, so that none waits
 * for a multiprocessor to change it. */
template <bool Early, class Spread> static enum op_status prepare_attention(int group)
{
    const AttentionChoice<Spread> c = choose_attention<Early, Spread>(group);
    const void *kernel = c.even ? (const void *)c.even : (const void *)c.whole;
    if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, c.bytes) ||
        (Spread::EVEN &&
         cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                              cudaSharedmemCarveoutMaxShared)))
        return OP_EDEVICE;
    return OP_OK;
}

template <bool Early, class Spread>
static enum op_status attend(const struct group_attn_problem *p, int multiprocessors,
                             const half *qkv, half *o, op_stream s)
{
    const int channels = p->heads * p->head, groups = p->slots / p->group;
    const AttentionWork w = { qkv, o, groups, p->group, channels,
                              1.44269504f / sqrtf((float)p->head) };
    const AttentionChoice<Spread> c = choose_attention<Early, Spread>(p->group);
    const int parts = groups * (channels / PART);
    if (!c.even)
        return WholeParts::launch<Early>(c.whole, p, parts, c.threads, c.bytes, s, w);
    const int blocks = even_blocks(parts, c.rounds, c.resident * multiprocessors);
    return Spread::template launch<Early>(c.even, p, blocks, c.threads, c.bytes, s, w);
}

static enum op_status count_multiprocessors(int *count)
{
    int device = 0;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(count, cudaDevAttrMultiProcessorCount, device))
        return OP_EDEVICE;
    return OP_OK;
}

/* *state: how many multiprocessors there are, to be freed by the caller. */
template <bool Early, class Spread> static enum op_status setup_shares(int group, void **state)
{
    int *count = (int *)malloc(sizeof *count);
    *state = count;
    const enum op_status status = count ? count_multiprocessors(count) : OP_ENOMEM;
    return status ? status : prepare_attention<Early, Spread>(group);
}

/* ---- rows ---- */

template <template <int> class Machine, int Stages> struct Rowwise {
    typedef Machine<RowsShape<Stages>::BLOCKS> M;

    static enum op_status prepare()
    {
        return cudaFuncSetAttribute(encoder_rows<M, Stages>,
                                    cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    M::BYTES) == cudaSuccess
                   ? OP_OK
                   : OP_EDEVICE;
    }

    template <bool Early>
    static enum op_status run(const OwnState *t, const RowsWork &w, op_stream s)
    {
        const int most = t->multiprocessors / M::CLUSTER;
        const int some = (w.tiles + M::CLUSTER - 1) / M::CLUSTER;
        const unsigned blocks = (unsigned)((some < most ? some : most) * M::CLUSTER);
        if constexpr (Early)
            return launch_early_shared(encoder_rows<M, Stages>, dim3(blocks), M::THREADS,
                                       M::CLUSTER, M::BYTES, s, w);
        encoder_rows<M, Stages><<<blocks, M::THREADS, M::BYTES, s>>>(w);
        return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
    }
};

/* ---- encoder ---- */

/* Order of a layer. */
static inline int own_order(int layer) { return layer % FLATTEN_ORDERS; }

template <template <int> class Machine, bool Early, class Spread>
static enum op_status run_encoder(const struct encoder_problem *p, const struct encoder_args *a,
                                  const OwnState *t, op_stream s)
{
    const struct group_attn_problem *l = &p->layer;
    const size_t rank_step = (size_t)l->n, slot_step = (size_t)l->slots;
    RowsWork w = {};
    w.n = l->n, w.slots = l->slots, w.group = l->group, w.tiles = (l->n + TILE - 1) / TILE;
    w.slot = a->frame.slot, w.rank = a->frame.rank, w.cell = a->frame.cell;
    w.table = t->table, w.blocks = t->blocks, w.parameters = t->parameters;
    w.o = t->o, w.x = (const half *)a->x, w.y = t->x[0], w.qkv = t->qkv;
    enum op_status status = Rowwise<Machine, QKV>::template run<Early>(t, w, s);
    w.blocks += OWN_QKV_BLOCKS * OWN_BLOCK / 2;
    w.parameters += OWN_FIRST;
    for (int layer = 0; !status && layer < p->layers; layer++) {
        const bool last = layer + 1 == p->layers;
        status = attend<Early, Spread>(l, t->multiprocessors, t->qkv, t->o, s);
        if (status)
            break;
        w.x = t->x[layer % 2];
        w.y = last ? (half *)a->y : t->x[(layer + 1) % 2];
        w.slot = a->frame.slot + (size_t)own_order(layer) * slot_step;
        w.rank = a->frame.rank + (size_t)own_order(layer + 1) * rank_step;
        status = last ? Rowwise<Machine, REST>::template run<Early>(t, w, s)
                      : Rowwise<Machine, REST | QKV>::template run<Early>(t, w, s);
        w.blocks += (OWN_REST_BLOCKS + OWN_QKV_BLOCKS) * OWN_BLOCK / 2;
        w.parameters += OWN_LAYER;
    }
    return status;
}

/* Packed weights and the table of the embedding, on the device. */
static enum op_status own_upload(const struct encoder_problem *p, const struct encoder_host *h,
                                 const struct op_memory *memory, op_stream s, OwnState *t)
{
    const size_t bytes = own_blocks_bytes(p->layers), numbers = own_parameters_count(p->layers);
    const size_t entries = (size_t)p->side * OWN_CHANNELS / 2;
    half_bits *blocks = (half_bits *)malloc(bytes);
    half_bits *parameters = (half_bits *)malloc(numbers * sizeof *parameters);
    half_bits *table = (half_bits *)malloc(entries * sizeof *table);
    float *exact = (float *)malloc(entries * sizeof *exact);
    enum op_status status = blocks && parameters && table && exact ? OP_OK : OP_ENOMEM;
    if (!status) {
        own_pack(p->layers, h->weights, blocks, parameters);
        encoder_embed_table(p->side, OWN_CHANNELS, exact);
        for (size_t i = 0; i < entries; i++)
            table[i] = half_from_float(exact[i]);
        t->blocks = (const half *)upload(memory, s, blocks, bytes / 2, &status);
        t->parameters = (const half *)upload(memory, s, parameters, numbers, &status);
        t->table = (const half *)upload(memory, s, table, entries, &status);
    }
    free(blocks);
    free(parameters);
    free(table);
    free(exact);
    return status;
}

static enum op_status own_fill(const struct encoder_problem *p, const struct encoder_host *h,
                               const struct op_memory *memory, op_stream s, OwnState *t)
{
    const size_t rows = (size_t)p->layer.n * OWN_CHANNELS;
    const size_t slots = (size_t)p->layer.slots * OWN_CHANNELS;
    enum op_status status = count_multiprocessors(&t->multiprocessors);
    t->x[0] = scratch<half>(memory, rows, &status);
    t->x[1] = scratch<half>(memory, rows, &status);
    t->qkv = scratch<half>(memory, 3 * slots, &status);
    t->o = scratch<half>(memory, slots, &status);
    return status ? status : own_upload(p, h, memory, s, t);
}

/* *state: that of the first set, whose memory the others share. */
template <template <int> class Machine, bool Early, class Spread>
static enum op_status setup_encoder(const struct encoder_problem *p, const struct encoder_host *h,
                                    const struct op_memory *memory, op_stream s, void **state)
{
    OwnState *t = (OwnState *)calloc(1, sizeof *t);
    enum op_status status = OP_OK;
    if (!t)
        return OP_ENOMEM;
    if (*state)
        *t = *(const OwnState *)*state;
    else
        status = own_fill(p, h, memory, s, t);
    if (!status)
        status = prepare_attention<Early, Spread>(p->layer.group);
    if (!status)
        status = Rowwise<Machine, QKV>::prepare();
    if (!status)
        status = Rowwise<Machine, REST | QKV>::prepare();
    if (!status)
        status = Rowwise<Machine, REST>::prepare();
    if (status)
        free(t);
    else
        *state = t;
    return status;
}

#endif
