/* own_pack.c - weights as own.h draws them. */
#include <string.h>

#include "../common/half.h"
#include "own.h"

size_t own_blocks_bytes(int layers)
{
    return (size_t)layers * (OWN_QKV_BLOCKS + OWN_REST_BLOCKS) * OWN_BLOCK;
}

size_t own_parameters_count(int layers)
{
    return OWN_FIRST + (size_t)layers * OWN_LAYER;
}

int own_channel(int place)
{
    return place / 32 * 32 + place % 8 / 2 * 8 + place / 8 % 4 * 2 + place % 2;
}

/* 128 x 128 of a matrix with rows of `step`, times a factor. */
static uint16_t *pack_block(const float *w, size_t step, float factor, uint16_t *block)
{
    for (int out = 0; out < OWN_CHANNELS; out++)
        for (int in = 0; in < OWN_CHANNELS; in++) {
            const int chunk = in % 64 / 8 ^ out % 8;
            block[in / 64 * 64 * OWN_CHANNELS + out * 64 + chunk * 8 + in % 8] =
                half_from_float(factor *
                                w[(size_t)own_channel(out) * step + (size_t)own_channel(in)]);
        }
    return block + OWN_BLOCK / 2;
}

static uint16_t *pack_numbers(const float *x, int count, float factor, uint16_t *to)
{
    for (int i = 0; i < count; i++)
        to[i] = half_from_float(factor * x[i]);
    return to + count;
}

static uint16_t *pack_qkv(const struct encoder_weights *w, uint16_t *block)
{
    for (int i = 0; i < 3; i++)
        block = pack_block(w->qkv + i * OWN_CHANNELS * OWN_CHANNELS, OWN_CHANNELS, 1, block);
    return block;
}

void own_pack(int layers, const struct encoder_weights *weights, uint16_t *blocks,
              uint16_t *parameters)
{
    blocks = pack_qkv(weights, blocks);
    parameters = pack_numbers(weights->qkv_bias, 3 * OWN_CHANNELS, 1, parameters);
    for (int l = 0; l < layers; l++) {
        const struct encoder_weights *w = weights + l;
        blocks = pack_block(w->out, OWN_CHANNELS, 1, blocks);
        for (int h = 0; h < OWN_HIDDEN; h += OWN_CHANNELS) {
            blocks = pack_block(w->fc1 + h * OWN_CHANNELS, OWN_CHANNELS, OWN_FC1_FACTOR, blocks);
            blocks = pack_block(w->fc2 + h, OWN_HIDDEN, 1, blocks);
        }
        parameters = pack_numbers(w->out_bias, OWN_CHANNELS, 1, parameters);
        parameters = pack_numbers(w->norm1, 2 * OWN_CHANNELS, 1, parameters);
        parameters = pack_numbers(w->fc1_bias, OWN_HIDDEN, OWN_FC1_FACTOR, parameters);
        parameters = pack_numbers(w->fc2_bias, OWN_CHANNELS, 1, parameters);
        parameters = pack_numbers(w->norm2, 2 * OWN_CHANNELS, 1, parameters);
        if (l + 1 < layers) {
            blocks = pack_qkv(w + 1, blocks);
            parameters = pack_numbers(w[1].qkv_bias, 3 * OWN_CHANNELS, 1, parameters);
        } else {
            memset(parameters, 0, 3 * OWN_CHANNELS * sizeof *parameters);
        }
    }
}
