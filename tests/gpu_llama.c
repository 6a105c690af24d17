/*
 * gpu_llama.c - a model on the GPU and on the host: products of integers and rounded values
 * the same to the bit; whole passes, their parts, what calibration sees, quantised models and
 * their losses within the tolerances that stand here.  Models of files: gpu_perplexity.c.
 *
 * Tolerances: the host and cuBLAS add in different orders, so hidden states of a few hundred
 * terms differ by some 1e-6 of their size.  A rounding that falls on the other side for that
 * moves an integer model by more: losses of quantised models are compared more loosely.
 */
#include <stdlib.h>

#include "../suites/models/llama_machine.h"
#include "../suites/models/llama_upload.h"
#include "../suites/models/quant_model.h"
#include "llama_gpu.h"
#include "made_model.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA
static unsigned state = 7;

static float noise(void)
{
    state = state * 1664525 + 1013904223;
    return (float)(state >> 8) / (1 << 23) - 1;
}

/* ---- integers, to the bit ---- */

/* The GPU's product of x [m][k] with l, which may lie there already. */
static void gpu_product(struct cb_device *d, const struct gpu_linear *l, const float *x, int m,
                        float *y)
{
    op_stream s = cb_device_stream(d);
    const size_t rows = (size_t)m, bytes = rows * (size_t)l->k * sizeof *x;
    struct gpu_room in = { 0 }, code = { 0 }, scale = { 0 }, total = { 0 }, out = { 0 };
    ok(gpu_room_fill(d, &in, x, bytes));
    ok(gpu_room_take(d, &code, rows * (size_t)l->groups.padded));
    ok(gpu_room_take(d, &scale, rows * (size_t)l->groups.groups * sizeof *x));
    ok(gpu_room_take(d, &total, rows * sizeof *x));
    ok(gpu_room_take(d, &out, rows * (size_t)l->n * sizeof *y));
    ok(cb_fill(d, code.p, 0x55, rows * (size_t)l->groups.padded));
    ok(cb_fill(d, out.p, 0xff, rows * (size_t)l->n * sizeof *y)); /* NaN, should one be left */
    if (l->turn)
        CHECK(llama_turn(l->sign.p, m, l->k, l->turn, in.p, s) == OP_OK);
    CHECK(llama_quantise(&l->groups, in.p, m, code.p, scale.p, total.p, s) == OP_OK);
    CHECK(llama_int_product(&l->groups, code.p, scale.p, total.p, l->w.p, l->scale.p,
                            l->has_offset ? l->offset.p : NULL, l->has_bias ? l->bias.p : NULL, m,
                            l->n, out.p, s) == OP_OK);
    ok(cb_download(d, y, out.p, rows * (size_t)l->n * sizeof *y));
    ok(cb_guards_check(d));
    gpu_room_free(d, &in);
    gpu_room_free(d, &code);
    gpu_room_free(d, &scale);
    gpu_room_free(d, &total);
    gpu_room_free(d, &out);
}

/* groups > 1: of 20 and then of `size` channels, in an order of their own, 8 and 4 bits. */
static struct int_linear *make_codes(int n, int k, int groups, int size, bool offset, bool rotate)
{
    struct int_linear *l = int_linear_new(n, k, groups, 8, offset, groups > 1);
    CHECK(l != NULL);
    for (int g = 1; l && g < groups; g++) {
        l->start[g] = 20 + (g - 1) * size;
        l->act_bits[g] = 4;
    }
    for (int p = 0; l && l->order && p < k; p++)
        l->order[p] = (p + k / 2) % k;
    for (int i = 0; l && i < n * k; i++)
        l->code[i] = (short)(i * 37 % 256 - 128);
    for (int i = 0; l && i < n * groups; i++)
        l->scale[i] = 0.01f * (1.5f + noise());
    for (int j = 0; l && offset && j < n; j++)
        l->offset[j] = noise();
    if (l) {
        l->rotate = rotate;
        l->seed = 3;
    }
    return l;
}

static void try_integers(struct cb_device *d, int m, int n, int k, int groups, int size,
                         bool offset, bool rotate)
{
    struct int_linear *codes = make_codes(n, k, groups, size, offset, rotate);
    float *x = malloc((size_t)(m * k) * sizeof *x), *bias = malloc((size_t)n * sizeof *bias);
    float *host = malloc((size_t)(m * n) * sizeof *host);
    float *gpu = malloc((size_t)(m * n) * sizeof *gpu);
    struct gpu_linear there = { 0 };
    const bool with_bias = n % 2;
    for (int i = 0; i < m * k; i++)
        x[i] = i / k % 5 == 3 ? 0 : noise() * (i % 11 == 4 ? 30 : 1); /* tokens of zeros too */
    for (int j = 0; j < n; j++)
        bias[j] = noise();
    const struct llama_linear l = { .n = n, .k = k, .apply = int_linear_apply, .context = codes,
                                    .bias = with_bias ? bias : NULL };
    if (codes && ok(int_linear_apply(&l, x, m, host)) &&
        ok(gpu_linear_take(d, &l, false, &there))) {
        int differ = 0, changed = 0;
        gpu_product(d, &there, x, m, gpu);
        for (int i = 0; i < m * n; i++)
            differ += memcmp(&host[i], &gpu[i], sizeof *gpu) != 0 && host[i] != gpu[i];
        CHECK(differ == 0);
        if (differ)
            printf("  %d x %d x %d, %d groups: %d of %d outputs differ\n", m, n, k, groups, differ,
                   m * n);
        codes->code[(n - 1) * k + k - 1] ^= 1; /* a planted fault must show, and there alone */
        ok(gpu_linear_take(d, &l, false, &there));
        gpu_product(d, &there, x, m, gpu);
        for (int i = 0; i < m * n; i++)
            changed += host[i] != gpu[i];
        CHECK(changed > 0 && changed <= m);
    }
    gpu_linear_free(d, &there);
    int_linear_free(codes);
    free(x), free(bias), free(host), free(gpu);
}

static void test_rounding(struct cb_device *d)
{
    enum { COUNT = 37 };
    static const int sizes[] = { 8, 64, 128, 70 };
    for (int i = 0; i < 4; i++)
        for (int bits = 4; bits <= 8; bits += 4) {
            const int size = sizes[i], n = COUNT * size;
            float *x = malloc((size_t)n * sizeof *x), *y = malloc((size_t)n * sizeof *y);
            struct gpu_room there = { 0 };
            for (int c = 0; c < n; c++)
                x[c] = c / size == 5 ? 0.3f : noise() * 4;
            ok(gpu_room_fill(d, &there, x, (size_t)n * sizeof *x));
            CHECK(llama_kv_round(bits, COUNT, size, there.p, cb_device_stream(d)) == OP_OK);
            ok(cb_download(d, y, there.p, (size_t)n * sizeof *y));
            for (int v = 0; v < COUNT; v++)
                kv_round(bits, x + v * size, size);
            CHECK(!memcmp(x, y, (size_t)n * sizeof *x));
            gpu_room_free(d, &there);
            free(x), free(y);
        }
}

/* ---- passes ---- */

struct logits {
    float *row; /* [n][vocab] */
    int vocab;
};

static int keep_logits(void *context, int position, const float *logits)
{
    struct logits *l = context;
    memcpy(l->row + (size_t)position * (size_t)l->vocab, logits, (size_t)l->vocab * sizeof *logits);
    return 0;
}

/* Largest difference over the root mean square. */
static double apart(const float *a, const float *b, size_t n)
{
    double most = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        const double difference = fabs((double)a[i] - (double)b[i]);
        most = difference > most || isnan(difference) ? difference : most;
        square += (double)a[i] * (double)a[i];
    }
    return most / sqrt(square / (double)n);
}

struct seen {
    double sum[SLOTS], square[SLOTS];
    const struct llama_config *config;
};

static int see_inputs(void *context, enum checkpoint_slot slot, const float *x, int m)
{
    struct seen *s = context;
    int rows, cols;
    checkpoint_slot_shape(s->config, slot, &rows, &cols);
    const int width = slot == SLOT_K || slot == SLOT_V ? rows : cols;
    for (int i = 0; i < m * width; i++) {
        s->sum[slot] += (double)x[i] * (1 + i % width % 7);
        s->square[slot] += (double)x[i] * (double)x[i];
    }
    return 0;
}

/* All logits of a model, in two calls of which the second goes on; and the parts of layer 1. */
static void pass(const struct llama *m, const int *token, int n, float *row, float *parts,
                 struct seen *seen)
{
    const size_t dim = (size_t)m->config.dim;
    struct llama with = *m;
    struct logits l = { row, m->config.vocab };
    float *x = malloc((size_t)n * dim * sizeof *x);
    with.watch = see_inputs;
    with.watch_context = seen;
    ok(llama_refresh_all(&with));
    struct llama_state *s = llama_begin(&with, n);
    if (ok(s ? 0 : -1)) {
        ok(llama_each(s, token, n / 3, keep_logits, &l));
        ok(llama_each(s, token + n / 3, n - n / 3, keep_logits, &l));
        llama_embed(m, token, n, x);
        ok(llama_run_attention(s, 1, x, n, parts));
        ok(llama_run_ffn(s, 1, x, n, parts + (size_t)n * dim));
        ok(llama_run_layer(s, 1, x, n));
        memcpy(parts + 2 * (size_t)n * dim, x, (size_t)n * dim * sizeof *x);
    }
    llama_end(s);
    free(x);
}

static void compare_passes(struct cb_device *d, struct llama *m, int n, bool half, double near)
{
    const size_t logits = (size_t)n * (size_t)m->config.vocab;
    const size_t parts = 3 * (size_t)n * (size_t)m->config.dim;
    float *a = malloc((logits + parts) * sizeof *a), *b = malloc((logits + parts) * sizeof *b);
    int *token = malloc((size_t)n * sizeof *token);
    struct seen seen[2] = { { .config = &m->config }, { .config = &m->config } };
    for (int i = 0; i < n; i++)
        token[i] = (i * i + 7 * i) % m->config.vocab;
    memset(a, 0xff, (logits + parts) * sizeof *a);
    memset(b, 0x7f, (logits + parts) * sizeof *b);
    pass(m, token, n, a, a + logits, &seen[0]);
    if (ok(llama_gpu_open(d, &m->config, half, &m->machine))) {
        pass(m, token, n, b, b + logits, &seen[1]);
        const double in_logits = apart(a, b, logits);
        const double in_parts = apart(a + logits, b + logits, parts);
        CHECK(in_logits < near && in_parts < near);
        if (!(in_logits < near && in_parts < near))
            printf("  logits differ by %g, parts by %g\n", in_logits, in_parts);
        for (int s = 0; s < SLOTS; s++) {
            CHECK((seen[0].square[s] > 0) == ((s >= SLOT_Q && s <= SLOT_O) ||
                                              s == SLOT_GATE || s == SLOT_DOWN));
            CHECK_NEAR(seen[1].square[s] / (seen[0].square[s] + 1e-30),
                       seen[0].square[s] > 0, near);
            CHECK(fabs(seen[1].sum[s] - seen[0].sum[s]) <=
                  near * 30 * sqrt(seen[0].square[s]) + 1e-30);
        }
        /* a planted fault: a norm gain changed on the host shows once it is refreshed */
        m->layer[0].ffn_norm[1] += 3;
        struct seen none = { .config = &m->config };
        pass(m, token, n, b, b + logits, &none);
        CHECK(apart(a, b, logits) > near);
        m->layer[0].ffn_norm[1] -= 3;
        ok(cb_guards_check(d));
    }
    llama_machine_close(m->machine);
    m->machine = NULL;
    free(a), free(b), free(token);
}

static const struct llama_config plain = { .vocab = 50, .dim = 24, .hidden = 40, .layers = 2,
                                           .heads = 6, .kv_heads = 3, .head_dim = 8,
                                           .context = 512, .norm_eps = 1e-2, .rope_theta = 1000 };

static void try_model(struct cb_device *d, struct llama_config config, int n, bool half)
{
    struct checkpoint c = made_model(config);
    struct llama m;
    if (ok(llama_open(&c, true, &m)))
        compare_passes(d, &m, n, half, half ? 2e-2 : 1e-4);
    llama_close(&m);
    made_model_free(&c);
}

static void test_models(struct cb_device *d)
{
    struct llama_config c = plain;
    try_model(d, c, 65, false);
    try_model(d, c, 65, true);
    c.rope_halves = c.qkv_bias = true;
    c.window = 37;
    try_model(d, c, 130, false);
    c.kv_heads = 6;
    c.layers = 3;
    try_model(d, c, 40, false);
    c.heads = c.kv_heads = 1; /* and more tokens than rows of a tile or threads of a block */
    c.head_dim = 22;
    try_model(d, c, 301, false);
}

/* ---- quantised models ---- */

static int hostile(const struct llama_linear *l, const float *x, int m, float *y)
{
    (void)l, (void)x, (void)m, (void)y;
    return -1;
}

static void test_refused(struct cb_device *d)
{
    struct checkpoint c = made_model(plain);
    struct llama m;
    ok(llama_open(&c, true, &m));
    ok(llama_gpu_open(d, &m.config, false, &m.machine));
    m.layer[1].linear[SLOT_UP].apply = hostile;
    CHECK(!llama_refresh(&m, 0) && llama_refresh(&m, 1) == -1);
    CHECK_STR(cb_error_text(), "made: layer 1: a replaced product, which the host alone can do");
    llama_machine_close(m.machine);
    llama_close(&m);
    made_model_free(&c);
}

/* One recipe, calibrated and evaluated on either side.  Where a search decides, two candidates
 * of nearly the same loss may change places. */
static void try_recipe(struct cb_device *d, const struct checkpoint *c, struct quant_recipe r,
                       const struct token_set *t, double near)
{
    double loss[2][8], kl[2][8] = { { 0 } }, before[8];
    for (int side = 0; side < 2; side++) {
        struct quant_options o = { .grid = { 4, 16, QUANT_MIN_MAX }, .share = 0.1, .factor = 2,
                                   .seed = 1 };
        struct quant_reference reference = { 0 };
        struct quantised *q = NULL;
        struct llama m;
        if (side && !ok(llama_gpu_open(d, &c->config, false, &o.machine)))
            return;
        ok(llama_open(c, true, &m));
        m.machine = o.machine;
        ok(quant_reference_new(&m, t, (size_t)1 << 30, &reference));
        ok(quant_evaluate(&m, t, &reference, true, before, NULL));
        llama_close(&m);
        if (ok(quantised_open(c, &r, &o, t, &q)))
            ok(quant_evaluate(&q->model, t, &reference, false, loss[side], kl[side]));
        quantised_close(q);
        quant_reference_free(&reference);
        llama_machine_close(o.machine);
    }
    for (int i = 0; i < t->count; i++) {
        CHECK_NEAR(loss[1][i], loss[0][i], near);
        CHECK_NEAR(kl[1][i], kl[0][i], near);
    }
    CHECK(kl[0][0] > 0.001 && fabs(loss[0][0] - before[0]) > 1e-5); /* quantising shows at all */
    ok(cb_guards_check(d));
}

static void test_recipes(struct cb_device *d)
{
    static const struct quant_recipe recipes[] = {
        { .flags = QUANT_WEIGHTS },
        { .flags = QUANT_WEIGHTS | QUANT_AWQ | QUANT_AWQ_CLIP },
        { .flags = QUANT_WEIGHTS | QUANT_GPTQ },
        { .flags = QUANT_WEIGHTS | QUANT_SMOOTH, .integer = QUANT_W8, .act_bits = 8, .kv_bits = 8 },
        { .flags = QUANT_WEIGHTS | QUANT_ROTATE | QUANT_QOQ_CLIP | QUANT_SMOOTH_KEYS,
          .integer = QUANT_W4, .act_bits = 8, .kv_bits = 4 },
        { .flags = QUANT_WEIGHTS | QUANT_QOQ_ORDER, .integer = QUANT_PROGRESSIVE, .act_bits = 8,
          .kv_bits = 4 },
        { .flags = QUANT_WEIGHTS | QUANT_ROTATE | QUANT_ROTATE_INSIDE, .integer = QUANT_W4_ROW,
          .act_bits = 4, .kv_bits = 4 },
        { .flags = QUANT_WEIGHTS, .integer = QUANT_W4_GROUPS, .act_bits = 4, .kv_bits = 4 },
    };
    struct llama_config config = plain;
    config.dim = 32;
    config.hidden = 48;
    config.heads = 4;
    config.kv_heads = 2;
    config.rope_halves = true;
    struct checkpoint c = made_model(config);
    struct llama m;
    struct token_set t;
    ok(llama_open(&c, true, &m));
    if (ok(token_set_sample(&m, 1, 4, 48, 5, &t)))
        for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i += test_tiny() ? 5 : 1)
            try_recipe(d, &c, recipes[i], &t, recipes[i].integer ? 0.1 : i ? 1e-2 : 1e-4);
    token_set_free(&t);
    llama_close(&m);
    made_model_free(&c);
}

static void test_integers(struct cb_device *d)
{
    try_integers(d, 1, 1, 8, 1, 0, true, false);
    try_integers(d, 5, 37, 70, 1, 0, true, false);
    try_integers(d, 65, 130, 96, 1, 0, false, true); /* rotated by Hadamard matrices of 32 */
    try_integers(d, 64, 64, 128, 1, 0, true, true);
    try_integers(d, 33, 65, 148, 2, 128, false, false);
    try_integers(d, 70, 129, 300, 6, 64, false, false); /* groups of 20, 64 x 4 and 24 */
    try_integers(d, 3, 33, 2100, 1, 0, true, false);    /* the host adds three parts */
}

#endif

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0); /* what takes long is known by its last line */
#ifdef WITH_CUDA
    struct cb_device *d;
    if (cb_device_open("cuda:0", &d)) {
        SKIP("gpu_llama: no GPU");
        return TEST_END();
    }
    done("device");
    test_integers(d);
    test_rounding(d);
    done("integers");
    if (test_tiny()) {
        try_model(d, plain, 65, false);
        try_model(d, plain, 65, true);
    } else {
        test_models(d);
        test_refused(d);
    }
    done("passes");
    test_recipes(d);
    done("recipes");
    cb_device_close(d);
#else
    SKIP("gpu_llama: built without CUDA");
#endif
    return TEST_END();
}
