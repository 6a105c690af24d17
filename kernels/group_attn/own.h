/*
 * own.h - our own rows: attention in groups, and the encoder in two kernels a layer.
 *
 * Between layers activations stand in the order of slots of the layer that reads them, so that
 * attention (own_attention.cuh) meets its groups as neighbours.  What is done row by row is one
 * kernel (own_rows.cuh), which writes each row to where the next layer's order has it:
 *
 *     q k v of layer 0 -> [attention -> rest of layer l, then q k v of layer l + 1] x layers
 *
 * Packed weights are blocks of OWN_BLOCK bytes in the order in which that kernel takes them, each
 * a matrix of 128 outputs by 128 inputs of halves:
 *
 *     layer 0: q k v, then of every layer l: out, fc1 of hidden 0-127, fc2 of the same, fc1 of
 *     hidden 128-255, fc2 of the same, and q k v of layer l + 1 but for the last
 *
 * A block is two halves of 64 inputs, output i in 128 bytes, 16-byte chunk c of it at
 * 16 (c ^ i % 8): what wgmma reads, and without bank conflicts what ldmatrix reads.  Outputs and
 * inputs are permuted alike, so that the lane of a warp that has columns 8 j + 2 t and the next
 * (t = lane % 4) of products' sums keeps eight neighbouring channels in j = 0 .. 3:
 *
 *     place 32 a + 8 j + 2 t + b   holds channel   32 a + 8 t + 2 j + b
 *
 * Sums of one product are then inputs of the next as they stand, and rows are read and written
 * 16 bytes at a time without shared memory.
 *
 * Parameters are halves in the order of channels: q k v biases of layer 0 (OWN_FIRST), then of
 * every layer OWN_LAYER: out bias, norm1, fc1 bias, fc2 bias, norm2, q k v biases of the next.
 * fc1 and its bias are packed times OWN_FC1_FACTOR: gelu(x) = h + h tanh(h ..) has h = x / 2.
 */
#ifndef KERNELS_GROUP_ATTN_OWN_H
#define KERNELS_GROUP_ATTN_OWN_H

#include <stdint.h>

#include "group_attn.h"

OP_BEGIN

#define OWN_FC1_FACTOR 0.5f

enum {
    OWN_CHANNELS = 128,
    OWN_HEAD = 16,
    OWN_HIDDEN = 256,
    OWN_GROUP_MAX = 384, /* 96 KB of K and V */
    OWN_BLOCK = OWN_CHANNELS * OWN_CHANNELS * 2,
    OWN_QKV_BLOCKS = 3,
    OWN_REST_BLOCKS = 5,
    OWN_FIRST = 3 * OWN_CHANNELS,
    /* in a layer's parameters */
    OWN_OUT_BIAS = 0,
    OWN_NORM1 = OWN_OUT_BIAS + OWN_CHANNELS,
    OWN_FC1_BIAS = OWN_NORM1 + 2 * OWN_CHANNELS,
    OWN_FC2_BIAS = OWN_FC1_BIAS + OWN_HIDDEN,
    OWN_NORM2 = OWN_FC2_BIAS + OWN_CHANNELS,
    OWN_QKV_BIAS = OWN_NORM2 + 2 * OWN_CHANNELS,
    OWN_LAYER = OWN_QKV_BIAS + 3 * OWN_CHANNELS
};

/* Bytes of blocks and halves of parameters for so many layers. */
size_t own_blocks_bytes(int layers);
size_t own_parameters_count(int layers);

/* The fastest of our forms for sm_90: `own_lean`, `own_even`, `own_wide` or `own_staged`
 * (own_fit.c). */
enum own_form { OWN_LEAN, OWN_EVEN, OWN_WIDE, OWN_STAGED, OWN_FORMS };
enum own_form own_fitting(int pillars, int group, int multiprocessors);

/* Channel at a place of a block's outputs or inputs. */
int own_channel(int place);

/* Packs; blocks [own_blocks_bytes], parameters [own_parameters_count] halves. */
void own_pack(int layers, const struct encoder_weights *weights, uint16_t *blocks,
              uint16_t *parameters);

/* Set-up and run of a row; the encoder's state is memory that all operand sets share. */
#define OWN_ATTENTION(name)                                                                     \
    extern group_attn_run_fn group_attn_##name##_run;                                           \
    enum op_status group_attn_##name##_setup(const struct group_attn_problem *,                 \
                                             const struct op_memory *, op_stream, void **);
#define OWN_ENCODER(name)                                                                       \
    extern encoder_run_fn encoder_##name##_run;                                                 \
    enum op_status encoder_##name##_setup(const struct encoder_problem *,                       \
                                          const struct encoder_host *,                          \
                                          const struct encoder_args *, const struct op_memory *, \
                                          op_stream, void **);

/* own_portable.cu */
OWN_ATTENTION(own)
OWN_ENCODER(own)
/* own_sm90.cu */
OWN_ATTENTION(own_sm90)
OWN_ATTENTION(own_even)
OWN_ATTENTION(own_staged)
OWN_ENCODER(own_sm90)
OWN_ENCODER(own_even)
OWN_ENCODER(own_wide)
OWN_ENCODER(own_lean)
OWN_ENCODER(own_staged)
OWN_ENCODER(own_fit)

#undef OWN_ATTENTION
#undef OWN_ENCODER

OP_END
#endif
