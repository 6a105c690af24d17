/*
 * test_encoder_own.c - the layout of packed weights (kernels/group_attn/own.h): every number of
 * every layer found where the drawing has it, once; the form chosen is the fastest recorded.
 */
#include <math.h>
#include <stdlib.h>

#include "../kernels/common/half.h"
#include "../kernels/group_attn/own.h"
#include "test.h"

enum { C = OWN_CHANNELS, LAYERS = 2 };

static const struct group_attn_problem shape = { 1, 1, 1, C / OWN_HEAD, OWN_HEAD, OWN_HIDDEN };

/* Numbers that tell where they come from: exact in half, halved too, neighbours different. */
static float number(size_t i)
{
    return (float)((i * 7919 + i / 2048 * 31) % 2039) - 1019;
}

/* Byte of a block at which the weight from place `in` to place `out` stands. */
static size_t byte_of(int out, int in)
{
    const int chunk = in % 64 / 8;
    return (size_t)(in / 64 * (OWN_BLOCK / 2) + out * 128 + 16 * (chunk ^ out % 8) + in % 8 * 2);
}

/* The block at `block` is rows `first_out`.., columns `first_in`.. of w with rows of `step`, times
 * the factor. */
static int block_is(const char *block, const float *w, int step, int first_out, int first_in,
                    float factor)
{
    int same = 1;
    for (int out = 0; out < C; out++)
        for (int in = 0; in < C; in++) {
            half_bits h;
            memcpy(&h, block + byte_of(out, in), sizeof h);
            same &= half_to_float(h) ==
                    factor * w[(first_out + own_channel(out)) * step + first_in + own_channel(in)];
        }
    return same;
}

static int numbers_are(const half_bits *h, const float *x, int count, float factor)
{
    int same = 1;
    for (int i = 0; i < count; i++)
        same &= half_to_float(h[i]) == factor * x[i];
    return same;
}

/* Lane t keeps eight neighbours: places 8 j + 2 t and the next hold channels 8 t + 2 j, .. */
static void channels(void)
{
    int met[C] = { 0 }, all = 1;
    for (int a = 0; a < C / 32; a++)
        for (int j = 0; j < 4; j++)
            for (int t = 0; t < 4; t++)
                for (int b = 0; b < 2; b++) {
                    const int place = 32 * a + 8 * j + 2 * t + b;
                    CHECK(own_channel(place) == 32 * a + 8 * t + 2 * j + b);
                    met[own_channel(place)]++;
                }
    for (int i = 0; i < C; i++)
        all &= met[i] == 1;
    CHECK(all);
}

/* Every byte of a block holds one weight. */
static void bytes(void)
{
    static char met[OWN_BLOCK];
    int all = 1;
    for (int out = 0; out < C; out++)
        for (int in = 0; in < C; in++) {
            met[byte_of(out, in)]++;
            met[byte_of(out, in) + 1]++;
        }
    for (int i = 0; i < OWN_BLOCK; i++)
        all &= met[i] == 1;
    CHECK(all);
}

static const char *check_qkv(const char *block, const struct encoder_weights *w)
{
    for (int i = 0; i < 3; i++, block += OWN_BLOCK)
        CHECK(block_is(block, w->qkv, C, i * C, 0, 1));
    return block;
}

static void check_parameters(const half_bits *h, const struct encoder_weights *w, int last)
{
    static const float none[3 * C];
    CHECK(numbers_are(h + OWN_OUT_BIAS, w->out_bias, C, 1));
    CHECK(numbers_are(h + OWN_NORM1, w->norm1, 2 * C, 1));
    CHECK(numbers_are(h + OWN_FC1_BIAS, w->fc1_bias, OWN_HIDDEN, OWN_FC1_FACTOR));
    CHECK(numbers_are(h + OWN_FC2_BIAS, w->fc2_bias, C, 1));
    CHECK(numbers_are(h + OWN_NORM2, w->norm2, 2 * C, 1));
    CHECK(numbers_are(h + OWN_QKV_BIAS, last ? none : w[1].qkv_bias, 3 * C, 1));
}

/* us of eight layers as recorded on an H200: suite flatformer, experiments `encoder` and
 * `encoder_frames`, state hot; medians of three invocations.  At 18,400 and 60,000 all forms in one
 * run of gpu_encoder, own_staged in a later one; elsewhere own_sm90, which own_lean is faster than.
 * 0: not timed. */
static const struct {
    int group, pillars;
    double us[OWN_FORMS];
} recorded[] = {
    { 69, 5000, { 157.8, 140.4, 142.2 } },
    { 144, 5000, { 192.0, 144.3, 146.3 } },
    { 69, 10000, { 204.8, 180.0, 181.4 } },
    { 144, 10000, { 220.3, 205.2, 206.0 } },
    { 69, 15582, { 239.5, 215.5, 216.0 } },
    { 144, 15582, { 227.7, 229.6, 233.4 } },
    { 69, 18400, { 235.3, 249.7, 246.7, 222.8 } },
    { 144, 18400, { 239.9, 247.3, 251.4, 241.4 } },
    { 69, 21334, { 272.4, 265.2, 266.8 } },
    { 144, 21334, { 292.4, 295.9, 300.0 } },
    { 69, 25145, { 264.8, 268.6, 274.1 } },
    { 144, 25145, { 299.5, 301.9, 309.3 } },
    { 69, 30000, { 369.4, 390.4, 344.1 } },
    { 144, 30000, { 425.1, 427.5, 379.4 } },
    { 69, 60000, { 619.0, 653.7, 649.4, 631.0 } },
    { 144, 60000, { 703.0, 727.0, 728.6, 703.0 } },
    { 69, 90000, { 925.3, 977.4, 1000.5 } },
    { 144, 90000, { 1018.3, 1050.4, 1081.4 } },
    { 69, 120000, { 1203.5, 1268.0, 1336.5 } },
    { 144, 120000, { 1358.6, 1403.4, 1473.4 } },
};

static void fitting(void)
{
    for (size_t i = 0; i < sizeof recorded / sizeof *recorded; i++) {
        const double *us = recorded[i].us;
        double least = INFINITY;
        for (int form = 0; form < OWN_FORMS; form++)
            least = us[form] > 0 ? fmin(least, us[form]) : least;
        CHECK(us[own_fitting(recorded[i].pillars, recorded[i].group, 132)] <= 1.03 * least);
    }
    CHECK(own_fitting(18400, 69, 132) == OWN_STAGED && own_fitting(18400, 144, 132) == OWN_LEAN);
    CHECK(own_fitting(1, 1, 132) == OWN_EVEN);
    CHECK(own_fitting(200000, OWN_GROUP_MAX, 132) == OWN_LEAN);
    CHECK(own_fitting(15582, OWN_GROUP_MAX + 1, 132) == OWN_LEAN); /* ends */
}

int main(void)
{
    const size_t count = encoder_offsets_of(&shape).count, bytes_all = own_blocks_bytes(LAYERS);
    float *x = malloc(LAYERS * count * sizeof *x);
    char *blocks = malloc(bytes_all);
    half_bits *parameters = malloc(own_parameters_count(LAYERS) * sizeof *parameters);
    struct encoder_weights w[LAYERS];
    if (!x || !blocks || !parameters)
        return 1;
    for (size_t i = 0; i < LAYERS * count; i++)
        x[i] = number(i);
    for (int l = 0; l < LAYERS; l++)
        w[l] = encoder_weights_at(&shape, x + (size_t)l * count);
    memset(blocks, 0xee, bytes_all);
    own_pack(LAYERS, w, (uint16_t *)(void *)blocks, parameters);
    channels();
    bytes();
    fitting();

    const char *at = check_qkv(blocks, w);
    const half_bits *h = parameters + OWN_FIRST;
    CHECK(numbers_are(parameters, w[0].qkv_bias, 3 * C, 1));
    for (int l = 0; l < LAYERS; l++, h += OWN_LAYER) {
        CHECK(block_is(at, w[l].out, C, 0, 0, 1));
        CHECK(block_is(at + OWN_BLOCK, w[l].fc1, C, 0, 0, OWN_FC1_FACTOR));
        CHECK(block_is(at + 2 * OWN_BLOCK, w[l].fc2, OWN_HIDDEN, 0, 0, 1));
        CHECK(block_is(at + 3 * OWN_BLOCK, w[l].fc1, C, C, 0, OWN_FC1_FACTOR));
        CHECK(block_is(at + 4 * OWN_BLOCK, w[l].fc2, OWN_HIDDEN, 0, C, 1));
        at += OWN_REST_BLOCKS * OWN_BLOCK;
        if (l + 1 < LAYERS)
            at = check_qkv(at, w + l + 1);
        check_parameters(h, w + l, l + 1 == LAYERS);
    }
    CHECK((size_t)(at - blocks) == bytes_all);
    CHECK((size_t)(h - parameters) == own_parameters_count(LAYERS));
    CHECK(!block_is(blocks, w[0].qkv, C, C, 0, 1)); /* k is not q: the check can fail */
    free(x);
    free(blocks);
    free(parameters);
    return TEST_END();
}
