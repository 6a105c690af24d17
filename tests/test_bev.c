/*
 * test_bev.c - the layers behind the encoder: their table, and the reference on weights that let
 * one number through, whose way can be followed by hand.
 */
#include <math.h>
#include <stdlib.h>

#include "../baselines/bev_sample.h"
#include "../kernels/bev/bev.h"
#include "test.h"

enum { SIDE = 12 };

static enum bev_net net;
static half_bits *weights;
static float *biases;
static half_bits x[3 * BEV_IN];
static double want[SIDE * SIDE * BEV_OUT];

static void try_table(void)
{
    const struct bev_problem p = { 468, 20000, BEV_FLATFORMER };
    CHECK_NEAR(bev_flops(&p) * 1e-9, 329, 1); /* of the specification */
    CHECK(bev_shapes[BEV_FLATFORMER].out == BEV_OUT);
    CHECK(bev_check(&p) == OP_OK);
    CHECK(bev_check(&(struct bev_problem){ 467, 1, BEV_FLATFORMER }) == OP_EINVAL);
    CHECK(bev_check(&(struct bev_problem){ 4, 17, BEV_FLATFORMER }) == OP_EINVAL);
    CHECK(bev_check(&(struct bev_problem){ 4, 17, BEV_CENTERPOINT }) == OP_OK);
    CHECK(bev_check(&(struct bev_problem){ 4, 17, BEV_NETS }) == OP_EINVAL);
}

static void try_shape(const struct bev_shape *n)
{
    int outs = 0;
    CHECK(n->end - n->first <= BEV_LAYERS_MAX && !bev_layers[n->end].name);
    CHECK(bev_weight_at(n->first) == 0 && bev_bias_at(n->first) == 0);
    for (int i = n->first; i < n->end; i++) {
        const struct bev_layer *l = &bev_layers[i];
        CHECK(l->name && n->map[l->from].channels == l->cin * l->groups);
        CHECK(l->groups > 1 || l->up || l->at + l->rows <= n->map[l->to].channels);
        CHECK(!l->up || l->at + l->rows / 4 == n->map[l->to].channels);
        CHECK(!l->residual || (l->stride == 1 && l->cin == l->rows));
        CHECK(n->map[l->to].scale * (l->up ? 2 : 1) == n->map[l->from].scale * l->stride);
        CHECK(l->from != l->to);
        CHECK(bev_weight_at(i + 1) - bev_weight_at(i) ==
              (size_t)(l->rows * l->kernel * l->kernel * l->cin));
    }
    for (int i = 0; i < n->branches; i++) {
        CHECK(n->branch_at[i] == outs && n->branch_out[i] <= BEV_BRANCH_ROWS);
        outs += n->branch_out[i];
    }
    CHECK(outs == n->out && n->map[BEV_RESULT].channels == outs);
    CHECK(n->map[BEV_CANVAS].channels == n->heights * BEV_IN);
}

static enum op_status refuses(const struct bev_problem *p, const char **why)
{
    (void)p;
    *why = "refused";
    return OP_EUNSUPPORTED;
}

/* A row that says nothing covers FlatFormer's layers only. */
static void try_covers(void)
{
    const struct bev_problem p = { 4, 1, BEV_FLATFORMER }, q = { 4, 1, BEV_CENTERPOINT };
    struct bev_impl i = { .base = { .name = "one" } };
    const char *why = NULL;
    CHECK(bev_covers(&i, &p, &why) == OP_OK);
    CHECK(bev_covers(&i, &q, &why) == OP_EUNSUPPORTED && why);
    i.nets = 1 << BEV_CENTERPOINT;
    CHECK(bev_covers(&i, &p, &why) == OP_EUNSUPPORTED);
    CHECK(bev_covers(&i, &q, &why) == OP_OK);
    i.supports = refuses;
    CHECK(bev_covers(&i, &q, &why) == OP_EUNSUPPORTED && !strcmp(why, "refused"));
}

static void set(int layer, int row, int dy, int dx, int c, float v)
{
    const struct bev_layer *l = &bev_layers[layer];
    const int k = l->kernel;
    weights[bev_weight_at(layer) +
            (size_t)(((row * k + dy) * k + dx) * l->cin + c)] = half_from_float(v);
}

static void clear(void)
{
    memset(weights, 0, bev_weight_at(bev_shapes[net].end) * sizeof *weights);
    memset(biases, 0, bev_bias_at(bev_shapes[net].end) * sizeof *biases);
}

static enum op_status run(int n, const struct flatten_cell *cell)
{
    const struct bev_problem p = { SIDE, n, net };
    const struct bev_args a = { x, cell, weights, biases, NULL };
    return bev_reference(&p, &a, want);
}

/* All of the result but one number is 0. */
static void only(int y, int xx, int channel, double value)
{
    long others = 0;
    const int out = bev_shapes[net].out;
    for (int i = 0; i < SIDE * SIDE * out; i++) {
        if (i == (y * SIDE + xx) * out + channel)
            CHECK_NEAR(want[i], value, 1e-12);
        else
            others += want[i] != 0;
    }
    CHECK(others == 0);
}

/* Through stage 0 alone: channel 9 of a pillar. */
static void try_plain(void)
{
    const struct flatten_cell cell = { 5, 3 };
    clear();
    memset(x, 0, sizeof x);
    x[9] = half_from_float(2.5f);
    set(0, 4, 1, 1, 9, 2);       /* layers 1 to 3 are zero: what is added passes */
    set(8, 70, 0, 0, 4, 1);
    set(10, 7, 1, 1, 70, 1);
    set(11, 64 * 2 + 3, 1, 1, 7, 1);
    set(12, 8 * 2 + 1, 0, 2, 3, -1); /* branch 2, output 1: cell (y - 1, x + 1), no relu */
    CHECK(run(1, &cell) == OP_OK);
    only(4, 4, bev_branch_at[2] + 1, -5);
    set(12, 8 * 2 + 1, 0, 2, 3, 0);
    set(12, 8 * 2 + 5, 0, 2, 3, 1); /* a row that has no output */
    CHECK(run(1, &cell) == OP_OK);
    only(0, 0, 0, 0);
    biases[bev_bias_at(12) + 8 * 6 + 2] = .5f; /* the last channel everywhere */
    CHECK(run(1, &cell) == OP_OK);
    for (int i = 0; i < SIDE * SIDE; i++)
        CHECK_NEAR(want[i * BEV_OUT + 13], .5, 0);
}

/* Through stage 1: stride 2 reads cells (2 y, 2 x), a quarter of the transposed layer writes
 * (2 y + 1, 2 x). */
static void try_up(void)
{
    const struct flatten_cell cell[2] = { { 6, 4 }, { 7, 9 } }; /* the second is in no even row */
    clear();
    memset(x, 0, sizeof x);
    x[0] = x[BEV_IN] = half_from_float(3);
    set(0, 0, 1, 1, 0, 1);
    set(4, 10, 1, 1, 0, 1);
    for (int i = 5; i < 8; i++)
        set(i, 10, 1, 1, 10, .5f); /* with what is added, times 1.5 each */
    set(9, 2 * 128 + 20, 0, 0, 10, 1);
    set(10, 0, 1, 1, 128 + 20, 1);
    set(11, 64 * 6, 1, 1, 0, 1);
    set(12, 8 * 6 + 2, 1, 1, 0, 1);
    CHECK(run(2, cell) == OP_OK);
    only(5, 6, 13, 3 * 1.5 * 1.5 * 1.5);
    set(4, 10, 1, 1, 0, -1); /* cut by relu */
    CHECK(run(2, cell) == OP_OK);
    only(0, 0, 0, 0);
}

/* The rim is zero: a tap that looks over the edge adds nothing. */
static void try_edge(void)
{
    const struct flatten_cell corner = { 0, SIDE - 1 };
    clear();
    memset(x, 0, sizeof x);
    x[1] = half_from_float(1);
    for (int dy = 0; dy < 3; dy++)
        for (int dx = 0; dx < 3; dx++)
            set(0, 0, dy, dx, 1, 1);
    set(8, 0, 0, 0, 0, 1);
    set(10, 0, 1, 1, 0, 1);
    set(11, 0, 1, 1, 0, 1);
    set(12, 0, 1, 1, 0, 1);
    CHECK(run(1, &corner) == OP_OK);
    double sum = 0;
    for (int i = 0; i < SIDE * SIDE; i++)
        sum += want[i * BEV_OUT];
    CHECK_NEAR(sum, 4, 1e-12); /* the four cells of the corner */
    const struct flatten_cell outside = { SIDE, 0 };
    CHECK(run(1, &outside) == OP_EINVAL);
}

/* CenterPoint: the upper height of a cell is channels 128 .. 255; through all of stage 1, and through
 * stage 0 alone. */
static void try_center(void)
{
    const int at = bev_shapes[BEV_CENTERPOINT].first;
    const struct flatten_cell cell[2] = { { 2 * 6 + 1, 4 }, { 2 * 6, 4 } };
    net = BEV_CENTERPOINT;
    clear();
    memset(x, 0, sizeof x);
    x[5] = half_from_float(3);
    x[BEV_IN + 5] = half_from_float(100); /* of the lower height: nobody reads it */
    set(at, 0, 1, 1, 128 + 5, 1);
    for (int i = 1; i < 6; i++)
        set(at + i, i, 1, 1, i - 1, 1);
    set(at + 6, 200, 1, 1, 5, 1);
    for (int i = 7; i < 12; i++)
        set(at + i, 200 + i - 6, 1, 1, 200 + i - 7, .5f);
    set(at + 13, 3 * 256 + 250, 0, 0, 205, 1);
    set(at + 14, 9, 1, 1, 256 + 250, 1);
    set(at + 15, 64 * 4 + 1, 1, 1, 9, 1);
    set(at + 16, 8 * 4 + 2, 1, 1, 1, -1);
    CHECK(run(2, cell) == OP_OK);
    only(5, 7, 10, -3. / 32);
    set(at + 13, 3 * 256 + 250, 0, 0, 205, 0);
    set(at + 12, 255, 0, 0, 5, 2);
    set(at + 14, 9, 1, 1, 256 + 250, 0);
    set(at + 14, 9, 1, 1, 255, 1);
    CHECK(run(2, cell) == OP_OK);
    only(4, 6, 10, -6);
    const struct flatten_cell outside = { 2 * SIDE, 0 };
    CHECK(run(1, &outside) == OP_EINVAL);
    net = BEV_FLATFORMER;
}

/* ---- results judged at some places ---- */

enum { AROUND = 20, CHANNELS = 24, ROWS = 24 };

/* Input by input: what each adds to the outputs around it. */
static void make_result(const struct bev_sample *s, half_bits *y)
{
    static double sum[AROUND * AROUND * ROWS];
    const struct bev_layer *l = s->layer;
    const int side = s->side / l->stride, k = l->kernel;
    for (int i = 0; i < side * side * ROWS; i++)
        sum[i] = half_to_float(s->bias[i % ROWS]);
    for (int v = 0; v < s->side; v++)
        for (int u = 0; u < s->side; u++)
            for (int tap = 0; tap < k * k; tap++) {
                const int a = v - tap / k + k / 2, b = u - tap % k + k / 2;
                if (a < 0 || b < 0 || a % l->stride || b % l->stride || a / l->stride >= side ||
                    b / l->stride >= side)
                    continue;
                for (int r = 0; r < ROWS; r++)
                    for (int c = 0; c < CHANNELS; c++)
                        sum[(a / l->stride * side + b / l->stride) * ROWS + r] +=
                            (double)half_to_float(s->x[(v * s->side + u) * CHANNELS + c]) *
                            half_to_float(s->w[(r * k * k + tap) * CHANNELS + c]);
            }
    for (int i = 0; i < side * side * ROWS; i++) {
        double v = l->relu ? fmax(sum[i], 0) : sum[i];
        y[i] = half_from_float((float)(l->residual ? v + half_to_float(s->x[i]) : v));
    }
}

/* Elements that are not finite, and those that differ at the places drawn. */
static long wrong(const struct bev_sample *s, const half_bits *y, int count)
{
    static struct bev_expected e;
    half_bits got[BEV_PLACES];
    long bad = 0;
    bev_sample_expect(s, &e);
    for (int i = 0; i < count; i++)
        bad += (y[i] & 0x7c00) == 0x7c00;
    for (int i = 0; i < BEV_PLACES; i++)
        got[i] = y[e.at[i]];
    return bad + bev_sample_wrong(&e, got);
}

/* Where x begins anew after BEV_PERIOD elements: a copy of the layer's map that is whole. */
static void try_period(void)
{
    enum { WIDE = 210 }; /* WIDE * WIDE * CHANNELS > BEV_PERIOD */
    const int count = WIDE * WIDE * CHANNELS;
    const struct bev_layer l = { .kernel = 1, .stride = 1, .residual = 1 };
    half_bits *x0 = malloc((size_t)count * sizeof *x0);
    half_bits w[ROWS * CHANNELS] = { 0 }, bias[ROWS] = { 0 };
    const struct bev_sample s = { &l, WIDE, CHANNELS, ROWS, x0, w, bias };
    CHECK(count > BEV_PERIOD && x0);
    if (x0) {
        bev_sample_fill(x0, (size_t)count);
        for (int i = BEV_PERIOD; i < count; i++)
            x0[i] = x0[i - BEV_PERIOD];
        CHECK(wrong(&s, x0, count) == 0); /* weights of 0: y is x */
        for (int i = BEV_PERIOD; i < count; i++)
            x0[i] = 0;
        CHECK(wrong(&s, x0, count) > 10);
    }
    free(x0);
}

static void try_sample(int kernel, int stride, int relu, int residual)
{
    static half_bits x0[AROUND * AROUND * CHANNELS], w[ROWS * 9 * CHANNELS], bias[ROWS];
    static half_bits y[AROUND * AROUND * ROWS];
    const struct bev_layer l = { .kernel = kernel, .stride = stride, .relu = relu,
                                 .residual = residual };
    const struct bev_sample s = { &l, AROUND, CHANNELS, ROWS, x0, w, bias };
    const int side = AROUND / stride, count = side * side * ROWS, last = count - 1;
    bev_sample_fill(x0, sizeof x0 / sizeof *x0);
    bev_sample_fill(w, (size_t)(ROWS * kernel * kernel * CHANNELS));
    bev_sample_fill(bias, ROWS);
    make_result(&s, y);
    CHECK(wrong(&s, y, count) == 0);
    const half_bits right = y[last];
    y[last] = 0xffff; /* as it was before */
    CHECK(wrong(&s, y, count) >= 1);
    y[last] = right;
    for (int r = 0; r < ROWS; r++) /* a corner that nothing wrote */
        y[r] = 0;
    CHECK(wrong(&s, y, count) >= 1);
    make_result(&s, y);
    const half_bits weight = w[CHANNELS + 3]; /* another weight in a hundred places */
    w[CHANNELS + 3] = half_from_float(half_to_float(weight) + 8);
    CHECK(wrong(&s, y, count) >= 10);
    w[CHANNELS + 3] = weight;
    CHECK(wrong(&s, y, count) == 0);
}

int main(void)
{
    weights = malloc(bev_weight_at(bev_shapes[BEV_CENTERPOINT].end) * sizeof *weights);
    biases = malloc(bev_bias_at(bev_shapes[BEV_CENTERPOINT].end) * sizeof *biases);
    CHECK(weights && biases);
    if (weights && biases) {
        try_table();
        for (int i = 0; i < BEV_NETS; i++)
            try_shape(&bev_shapes[i]);
        try_covers();
        try_plain();
        try_up();
        try_edge();
        try_center();
    }
    free(weights);
    free(biases);
    for (int form = 0; form < 8; form++) {
        try_sample(3, 1, form & 1, form >> 1 & 1);
        try_sample(form & 4 ? 3 : 1, form & 4 ? 2 : 1, form & 1, 0);
    }
    try_period();
    return TEST_END();
}
