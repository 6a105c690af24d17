/*
 * test_group_attn.c - the reference of attention in groups and of the encoder layer: cases with
 * known results, who sees whom, what the embedding and the order of slots change.
 */
#include <stdlib.h>

#include "../kernels/group_attn/group_attn.h"
#include "test.h"

enum { N = 7, GROUP = 3, SLOTS = 9, HEADS = 2, HEAD = 4, C = HEADS * HEAD, HIDDEN = 6 };

static const struct group_attn_problem small = { N, SLOTS, GROUP, HEADS, HEAD, HIDDEN };

static double value(int i)
{
    return sin(1.7 * i + 0.3 * (i % 5)) * 1.5;
}

/* ---- attention ---- */

static void attention(void)
{
    static double q[SLOTS * C], k[SLOTS * C], v[SLOTS * C], o[SLOTS * C], o2[SLOTS * C];
    int same = 1, inside = 1;
    for (int i = 0; i < SLOTS * C; i++) {
        q[i] = value(i);
        k[i] = 0.25; /* equal keys: the mean of the values */
        v[i] = value(i + 99);
    }
    CHECK(group_attn_ref(&small, q, k, v, o) == OP_OK);
    for (int s = 0; s < SLOTS; s++)
        for (int c = 0; c < C; c++) {
            double mean = 0;
            for (int j = s / GROUP * GROUP; j < s / GROUP * GROUP + GROUP; j++)
                mean += v[j * C + c] / GROUP;
            same &= fabs(o[s * C + c] - mean) < 1e-12;
        }
    CHECK(same);
    /* a key far along a query's direction takes all of it; scores past exp's range are fine */
    k[1 * C] = 1e4;
    q[0 * C] = 1e3;
    CHECK(group_attn_ref(&small, q, k, v, o2) == OP_OK);
    for (int c = 0; c < HEAD; c++)
        CHECK_NEAR(o2[c], v[1 * C + c], 1e-12);
    /* the other head and the other groups have not seen it */
    for (int c = HEAD; c < C; c++)
        inside &= o2[c] == o[c];
    for (int i = GROUP * C; i < SLOTS * C; i++)
        inside &= o2[i] == o[i];
    CHECK(inside);
    /* scale: two keys whose scores differ by s weigh as exp(s / sqrt(d)) */
    const struct group_attn_problem pair = { 2, 2, 2, 1, 4, 1 };
    const double pq[] = { 1, 0, 0, 0, 0, 0, 0, 0 }, pk[] = { 3, 0, 0, 0, 1, 0, 0, 0 };
    const double pv[] = { 1, 0, 0, 0, 0, 1, 0, 0 };
    CHECK(group_attn_ref(&pair, pq, pk, pv, o) == OP_OK);
    CHECK_NEAR(o[0] / o[1], exp(2 / sqrt(4.0)), 1e-12);
    CHECK_NEAR(o[4], 0.5, 1e-12);
}

/* ---- layer ---- */

struct layer {
    float qkv[3 * C * C], qkv_bias[3 * C], out[C * C], out_bias[C], norm1[2 * C], norm2[2 * C];
    float fc1[HIDDEN * C], fc1_bias[HIDDEN], fc2[C * HIDDEN], fc2_bias[C];
    struct encoder_weights w;
    struct flatten_cell cell[N];
    int32_t slot[SLOTS];
    double x[N * C], y[N * C];
};

static void draw(float *w, int n, int seed)
{
    for (int i = 0; i < n; i++)
        w[i] = (float)(0.4 * value(i + seed));
}

static void make(struct layer *l)
{
    static const int32_t slot[SLOTS] = { 4, 0, 6, 2, 1, 5, 3, 1, 5 }; /* filled as flatten.h says */
    draw(l->qkv, 3 * C * C, 1);
    draw(l->qkv_bias, 3 * C, 2);
    draw(l->out, C * C, 3);
    draw(l->out_bias, C, 4);
    draw(l->norm1, 2 * C, 5);
    draw(l->norm2, 2 * C, 6);
    draw(l->fc1, HIDDEN * C, 7);
    draw(l->fc1_bias, HIDDEN, 8);
    draw(l->fc2, C * HIDDEN, 9);
    draw(l->fc2_bias, C, 10);
    l->w = (struct encoder_weights){ l->qkv, l->qkv_bias, l->out, l->out_bias, l->norm1, l->norm2,
                                     l->fc1, l->fc1_bias, l->fc2, l->fc2_bias };
    memcpy(l->slot, slot, sizeof slot);
    for (int i = 0; i < N; i++)
        l->cell[i] = (struct flatten_cell){ 3 * i, 40 - i * i };
    for (int i = 0; i < N * C; i++)
        l->x[i] = value(3 * i + 1);
}

static enum op_status forward(struct layer *l)
{
    for (int i = 0; i < N * C; i++)
        l->y[i] = NAN;
    return encoder_layer_ref(&small, &l->w, l->cell, l->slot, l->x, l->y);
}

/* With all products zero only the two norms are left. */
static void norms_alone(struct layer *l)
{
    memset(l->out, 0, sizeof l->out);
    memset(l->out_bias, 0, sizeof l->out_bias);
    memset(l->fc2, 0, sizeof l->fc2);
    memset(l->fc2_bias, 0, sizeof l->fc2_bias);
    for (int c = 0; c < C; c++) {
        l->norm1[c] = l->norm2[c] = 1;
        l->norm1[C + c] = 0;
        l->norm2[C + c] = 2;
        l->x[2 * C + c] = 5; /* a constant row has no deviation: what the norm adds */
    }
    CHECK(forward(l) == OP_OK);
    for (int r = 0; r < N; r++) {
        double mean = 0, square = 0;
        for (int c = 0; c < C; c++) {
            mean += l->y[r * C + c] / C;
            square += l->y[r * C + c] * l->y[r * C + c] / C;
        }
        CHECK_NEAR(mean, 2, 1e-9);
        CHECK_NEAR(square - mean * mean, r == 2 ? 0 : 1, 1e-4);
    }
}

static double largest_change(const struct layer *l, const double *before, int row)
{
    double most = 0;
    for (int c = 0; c < C; c++)
        most = fmax(most, fabs(l->y[row * C + c] - before[row * C + c]));
    return most;
}

static void layer(void)
{
    struct layer *l = calloc(1, sizeof *l);
    double before[N * C];
    int finite = 1;
    CHECK(l != NULL);
    if (!l)
        return;
    make(l);
    CHECK(forward(l) == OP_OK);
    memcpy(before, l->y, sizeof before);
    for (int i = 0; i < N * C; i++)
        finite &= isfinite(l->y[i]);
    CHECK(finite);
    /* in place gives the same */
    CHECK(encoder_layer_ref(&small, &l->w, l->cell, l->slot, l->x, l->x) == OP_OK);
    CHECK(!memcmp(l->x, before, sizeof before));
    make(l);
    /* row 5 is a key of its own group (2, 1, 5) and, repeated, of the last (3): no one else's */
    l->x[5 * C] += 0.5;
    CHECK(forward(l) == OP_OK);
    for (int r = 0; r < N; r++)
        CHECK((largest_change(l, before, r) > 1e-9) == (r == 5 || r == 2 || r == 1 || r == 3));
    make(l);
    /* a cell moves its row's embedding: seen by the same rows, through q and k */
    l->cell[5].y += 3;
    CHECK(forward(l) == OP_OK);
    for (int r = 0; r < N; r++)
        CHECK((largest_change(l, before, r) > 1e-9) == (r == 5 || r == 2 || r == 1 || r == 3));
    make(l);
    /* the order inside a group changes nothing but rounding */
    l->slot[0] = 6, l->slot[2] = 4;
    CHECK(forward(l) == OP_OK);
    for (int r = 0; r < N; r++)
        CHECK(largest_change(l, before, r) < 1e-12);
    l->slot[0] = 0; /* row 0 twice among the queries */
    CHECK(forward(l) == OP_EINVAL);
    make(l);
    l->slot[SLOTS - 1] = N;
    CHECK(forward(l) == OP_EINVAL);
    make(l);
    norms_alone(l);
    free(l);
}

static void embedding(void)
{
    double e[128];
    encoder_embed((struct flatten_cell){ 17, 300 }, 128, e);
    CHECK_NEAR(e[0], sin(17.0), 1e-15);
    CHECK_NEAR(e[1], cos(17.0), 1e-15);
    CHECK_NEAR(e[2], sin(17 / pow(10000, 2.0 / 64)), 1e-15);
    CHECK_NEAR(e[63], cos(17 / pow(10000, 62.0 / 64)), 1e-15);
    CHECK_NEAR(e[64], sin(300.0), 1e-15);
    CHECK_NEAR(e[127], cos(300 / pow(10000, 62.0 / 64)), 1e-15);
}

int main(void)
{
    attention();
    layer();
    embedding();
    struct group_attn_problem p = small;
    p.slots = 8;
    CHECK(group_attn_check(&p) == OP_EINVAL);
    p = small;
    p.n = 10;
    CHECK(group_attn_check(&p) == OP_EINVAL);
    return TEST_END();
}
