/*
 * test_quant.c - quantisers: by their definitions, by enumeration, against plain loops; and
 * changes of a model that must not change its output.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../harness/error.h"
#include "../suites/models/quant_fold.h"
#include "../suites/models/quant_model.h"
#include "test.h"

static float noise(void)
{
    static unsigned state = 7;
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        state = state * 1664525 + 1013904223;
        sum += (float)(state >> 8) / (1 << 24) - 0.5f;
    }
    return sum;
}

static float *made(int count, float spread)
{
    float *x = malloc((size_t)count * sizeof *x);
    for (int i = 0; x && i < count; i++)
        x[i] = spread * noise();
    return x;
}

static float *copy(const float *x, int count)
{
    float *c = malloc((size_t)count * sizeof *c);
    if (c)
        memcpy(c, x, (size_t)count * sizeof *c);
    return c;
}

static void test_grid(void)
{
    /* codes 0 ... 15 hit exactly: scale 0.5, zero 4 */
    float w[16];
    for (int i = 0; i < 16; i++)
        w[i] = 0.5f * (float)(i - 4);
    struct quant_grid g = { 4, 16, QUANT_MIN_MAX };
    struct quant_step s = quant_fit(&g, w, 16);
    CHECK_NEAR(s.scale, 0.5, 0);
    CHECK(s.zero == 4 && s.high == 15);
    for (int i = 0; i < 16; i++)
        CHECK(quant_code(&s, w[i]) == i && quant_value(&s, w[i]) == w[i]);

    /* all positive: the zero point cannot leave the codes, unless 0 is in the range */
    const float up[4] = { 8, 9, 10, 11 };
    s = quant_fit(&g, up, 4);
    CHECK(s.zero == 0);
    g.range = QUANT_WITH_ZERO;
    s = quant_fit(&g, up, 4);
    CHECK(s.zero == 0);
    CHECK_NEAR(s.scale, 11.0 / 15, 1e-6);
    const float none[4] = { 0 };
    s = quant_fit(&g, none, 4);
    CHECK(quant_value(&s, 0) == 0);
    g.range = QUANT_SYMMETRIC;
    s = quant_fit(&g, (const float[]){ -3.5f, 1 }, 2);
    CHECK(s.low == -7 && s.high == 7 && s.zero == 0);
    CHECK(quant_value(&s, -3.5f) == -3.5f);

    /* a short last group is a group of its own */
    float v[7] = { 0, 1, 2, 3, 100, 107.5f, 115 };
    const struct quant_grid four = { 4, 4, QUANT_WITH_ZERO };
    CHECK(quant_groups(&four, 7) == 2);
    quant_round(&four, v, 1, 7);
    CHECK_NEAR(v[1], 1, 1e-6);
    CHECK_NEAR(v[6], 115, 1e-4);
}

/* Every pair of extremes of level 1: does level 2 stay in INT8? */
static int overflows(int bound)
{
    int count = 0;
    for (int low = -bound; low <= 0; low++)
        for (int high = 0; high <= bound; high++) {
            int scale = (int)lrint((high - low) / 15.0);
            scale = scale < 1 ? 1 : scale;
            const int zero = (int)lrint((double)-low / scale);
            const int ends[2] = { low, high };
            int out = 0;
            for (int e = 0; e < 2; e++) {
                int q = (int)lrint((double)ends[e] / scale) + zero;
                q = q < 0 ? 0 : q > 15 ? 15 : q;
                out |= (q - zero) * scale < -128 || (q - zero) * scale > 127;
            }
            count += out;
        }
    return count;
}

static void test_progressive(void)
{
    CHECK(overflows(119) == 0);
    CHECK(overflows(120) == 7);
    CHECK(overflows(127) == 278);
    enum { N = 24, K = 96, G = 32 };
    float *w = made(N * K, 1), scale[N];
    signed char q[N * K], permuted[N * K];
    int order[K];
    CHECK(w && !qoq_progressive(w, N, K, G, NULL, q, scale));
    double worst = 0;
    for (int i = 0; w && i < N * K; i++)
        worst = fmax(worst, fabs((double)(w[i] - scale[i / K] * q[i])) / scale[i / K]);
    CHECK(worst <= 0.5 + 16); /* half a step of level 1, at the ends up to one of level 2 */
    for (int p = 0; p < K; p++)
        order[p] = p;
    CHECK(!qoq_progressive(w, N, K, G, order, permuted, scale));
    CHECK(!memcmp(q, permuted, sizeof q));
    for (int p = 0; p < K; p++)
        order[p] = (p * 7 + 3) % K; /* other groups, the same channels */
    CHECK(!qoq_progressive(w, N, K, G, order, permuted, scale));
    CHECK(memcmp(q, permuted, sizeof q));
    free(w);
}

/* Errors of the output on inputs x, from the weights themselves. */
static double output_error(const float *a, const float *b, int n, int k, const float *x, int rows)
{
    double sum = 0;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < n; j++) {
            double d = 0;
            for (int p = 0; p < k; p++)
                d += (double)x[i * k + p] * (double)(a[j * k + p] - b[j * k + p]);
            sum += d * d;
        }
    return sum / rows;
}

static void test_gptq(void)
{
    enum { N = 20, K = 300, ROWS = 500 };
    float *w = made(N * K, 1), *x = made(ROWS * K, 1), *h = malloc(K * K * sizeof *h);
    const struct quant_grid g = { 3, 64, QUANT_WITH_ZERO };
    for (int i = 0; i < ROWS; i++) /* channels that go together, some loud, one dead */
        for (int p = 0; p < K; p++)
            x[i * K + p] = p == 17 ? 0 : x[i * K + p] * (p % 50 ? 1 : 8) + x[i * K + p / 10 * 10];
    CHECK(!quant_gram(x, ROWS, K, h));
    float *rtn = copy(w, N * K), *gptq = copy(w, N * K), *ordered = copy(w, N * K);
    double energy, per[N];
    quant_round(&g, rtn, N, K);
    CHECK(!quant_gptq(&g, h, 0, gptq, N, K) && !quant_gptq(&g, h, QUANT_REORDERED, ordered, N, K));
    const double e_rtn = output_error(rtn, w, N, K, x, ROWS);
    const double e_gptq = output_error(gptq, w, N, K, x, ROWS);
    const double e_ordered = output_error(ordered, w, N, K, x, ROWS);
    CHECK(e_gptq < 0.7 * e_rtn);
    CHECK(e_ordered < e_gptq);
    CHECK(gptq[17] == 0); /* a channel that never comes is zeroed */
    /* clipping: of no use where nothing stands out, of much where weights have tails */
    float *tails = copy(w, N * K), *clipped = malloc(N * K * sizeof *clipped);
    const struct quant_grid two = { 2, 64, QUANT_MIN_MAX };
    for (int i = 0; i < N * K; i++)
        tails[i] *= i % 61 ? 1 : 4;
    memcpy(clipped, tails, N * K * sizeof *w);
    memcpy(ordered, tails, N * K * sizeof *w);
    CHECK(!quant_gptq(&two, h, 0, ordered, N, K));
    CHECK(!quant_gptq(&two, h, QUANT_CLIPPED, clipped, N, K));
    CHECK(output_error(clipped, tails, N, K, x, ROWS) <
          0.8 * output_error(ordered, tails, N, K, x, ROWS));
    for (int j = 0; j < N; j++) /* on a grid of four values a group */
        for (int p = 0, other = 0; p < K; other = ++p % 64 ? other : 0) {
            bool seen = false;
            for (int q = p / 64 * 64; q < p; q++)
                seen |= fabsf(clipped[j * K + q] - clipped[j * K + p]) <= 0;
            other += !seen;
            CHECK(other <= 4);
        }
    float *e = malloc(N * K * sizeof *e);
    for (int i = 0; i < N * K; i++)
        e[i] = rtn[i] - w[i];
    CHECK(!quant_energy(e, N, K, h, &energy, per));
    CHECK_NEAR(energy / e_rtn, 1, 1e-4);
    /* inputs without correlation leave nothing to make up for: round to nearest */
    memset(h, 0, K * K * sizeof *h);
    for (int p = 0; p < K; p++)
        h[p * K + p] = 1;
    memcpy(gptq, w, N * K * sizeof *w);
    CHECK(!quant_gptq(&g, h, 0, gptq, N, K));
    CHECK(!memcmp(gptq, rtn, N * K * sizeof *w));
    /* and with clipping what AWQ's own search comes to, whose H this is */
    float *eye = calloc(K * K, sizeof *eye);
    memcpy(clipped, tails, N * K * sizeof *w);
    memcpy(ordered, tails, N * K * sizeof *w);
    for (int p = 0; p < K; p++)
        eye[p * K + p] = 16; /* K rows: a mean of squares of 16 K / K */
    for (int p = 0; p < K; p++)
        h[p * K + p] = 16;
    CHECK(!quant_gptq(&two, h, QUANT_CLIPPED, clipped, N, K));
    CHECK(!awq_clip(&two, ordered, N, K, eye, K));
    quant_round(&two, ordered, N, K);
    CHECK(!memcmp(clipped, ordered, N * K * sizeof *w));
    free(eye), free(tails), free(clipped);
    free(w), free(x), free(h), free(rtn), free(gptq), free(ordered), free(e);
}

struct searched {
    const float *w, *x;
    float *now;
    int n, k, rows, calls;
    double first, least;
};

static int look(void *context, double *loss)
{
    struct searched *s = context;
    *loss = output_error(s->now, s->w, s->n, s->k, s->x, s->rows);
    if (!s->calls++)
        s->first = s->least = *loss;
    s->least = fmin(s->least, *loss);
    return 0;
}

static void test_awq(void)
{
    enum { N = 16, K = 128, ROWS = 700 };
    const struct quant_grid g = { 3, 64, QUANT_MIN_MAX };
    float *w = made(N * K, 1), *x = made(ROWS * K, 1), *q = copy(w, N * K), scale[K];
    double mean[K], ratio;
    for (int i = 0; i < ROWS; i++)
        for (int p = 0; p < K; p += 40)
            x[i * K + p] *= 30;
    quant_mean_abs(x, ROWS, K, mean);
    CHECK(mean[40] > 20 * mean[41]);
    struct quant_matrix set = { q, N, K };
    struct searched s = { w, x, q, N, K, ROWS, 0, 0, 0 };
    CHECK(!awq_search(&g, &set, 1, mean, look, &s, scale, &ratio));
    CHECK(s.calls == AWQ_GRID && ratio > 0 && s.least < 0.7 * s.first);
    CHECK(!memcmp(q, w, N * K * sizeof *w)); /* what was tried is taken back */
    double low = scale[0], high = scale[0];
    for (int p = 0; p < K; p++) {
        low = fmin(low, scale[p]);
        high = fmax(high, scale[p]);
    }
    CHECK_NEAR(low * high, 1, 1e-5);
    float *rtn = copy(w, N * K), *clipped = copy(w, N * K);
    quant_round(&g, rtn, N, K);
    CHECK(!awq_clip(&g, clipped, N, K, x, ROWS));
    quant_round(&g, clipped, N, K);
    CHECK(output_error(clipped, w, N, K, x, ROWS) < output_error(rtn, w, N, K, x, ROWS));
    bool marked[K];
    CHECK(!quant_mark(&set, 1, mean, 0.03, QUANT_BY_INPUT, 0, marked));
    int count = 0;
    for (int p = 0; p < K; p++)
        count += marked[p];
    CHECK(count == 4 && marked[0] && marked[40] && marked[80] && marked[120]);
    struct quant_steps steps = { 0, 0, 0 };
    quant_compare_steps(&g, w, w, N, K, &steps);
    CHECK(steps.groups == 2 * N && steps.changed == 0);
    CHECK_NEAR(steps.ratio, 2 * N, 1e-9);
    free(w), free(x), free(q), free(rtn), free(clipped);
}

static void test_rotation(void)
{
    enum { N = 3 };
    const int sizes[] = { 64, 172, 96, 1 };
    for (int t = 0; t < 4; t++) {
        const int k = sizes[t];
        float *x = made(N * k, 1), *y = copy(x, N * k);
        double before = 0, after = 0, most = 0;
        qoq_rotate(y, N, k, 5);
        for (int i = 0; i < N * k; i++) {
            before += (double)x[i] * (double)x[i];
            after += (double)y[i] * (double)y[i];
        }
        CHECK_NEAR(after / before, 1, 1e-5);
        qoq_rotate_back(y, N, k, 5);
        for (int i = 0; i < N * k; i++)
            most = fmax(most, fabs((double)(x[i] - y[i])));
        CHECK_NEAR(most, 0, 1e-5);
        free(x), free(y);
    }
}

/* More channels than one product holds, more tokens and outputs than a block, codes as large as
 * they come: scales of 1 leave the integers, which are checked to the last. */
static void test_exact(void)
{
    enum { N = 70, K = 2100, M = 261 };
    struct int_linear *l = int_linear_new(N, K, 1, 8, false, false);
    float *x = malloc((size_t)M * K * sizeof *x), *y = malloc((size_t)M * N * sizeof *y);
    int wrong = 0;
    CHECK(l && x && y);
    for (int i = 0; l && i < N * K; i++)
        l->code[i] = (short)(i / K % 3 == 0 ? -128 : i / K % 3 == 1 ? 127 : i * 37 % 256 - 128);
    for (int i = 0; x && i < M * K; i++)
        x[i] = (float)(i / K % 2 ? i * 29 % 255 - 127 : i / K % 4 ? 127 : -127);
    for (int i = 0; x && i < M; i++)
        x[i * K + 7] = 127; /* the greatest of each token: scales of 1 */
    for (int j = 0; l && j < N; j++)
        l->scale[j] = 1;
    const struct llama_linear linear = { .n = N, .k = K, .apply = int_linear_apply, .context = l };
    if (l && x && y) {
        CHECK(!int_linear_apply(&linear, x, M, y));
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++) {
                long sum = 0;
                for (int p = 0; p < K; p++)
                    sum += (long)x[i * K + p] * l->code[j * K + p];
                wrong += y[i * N + j] < (float)sum || y[i * N + j] > (float)sum;
            }
        CHECK(wrong == 0);
    }
    int_linear_free(l);
    free(x), free(y);
}

static void test_integers(void)
{
    enum { N = 9, K = 70, M = 21 };
    struct int_linear *l = int_linear_new(N, K, 2, 8, false, true);
    float *x = made(M * K, 3), y[M * N], bias[N];
    CHECK(l && x);
    if (!l || !x)
        return;
    l->start[1] = 30;
    l->act_bits[1] = 4;
    for (int p = 0; p < K; p++)
        l->order[p] = (p * 3 + 1) % K;
    for (int i = 0; i < N * K; i++)
        l->code[i] = (short)(i * 37 % 255 - 127);
    for (int i = 0; i < 2 * N; i++)
        l->scale[i] = 0.25f * (float)(1 + i % 3);
    for (int j = 0; j < N; j++)
        bias[j] = (float)j;
    const struct llama_linear linear = { .n = N, .k = K, .bias = bias, .apply = int_linear_apply,
                                         .context = l };
    CHECK(!int_linear_apply(&linear, x, M, y));
    double worst = 0;
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double want = bias[j], terms = fabs(want);
            for (int g = 0; g < 2; g++) {
                const int from = g ? 30 : 0, to = g ? K : 30, top = g ? 7 : 127;
                float most = 0;
                long sum = 0;
                for (int p = from; p < to; p++)
                    most = fmaxf(most, fabsf(x[i * K + l->order[p]]));
                for (int p = from; p < to; p++)
                    sum += lrint((double)x[i * K + l->order[p]] * top / (double)most) *
                           l->code[j * K + p];
                const double part = (double)sum * (double)most / top * (double)l->scale[2 * j + g];
                want += part;
                terms += fabs(part);
            }
            worst = fmax(worst, fabs((double)y[i * N + j] - want) / terms);
        }
    CHECK(worst < 1e-3); /* scales are halves */
    int_linear_free(l);
    free(x);

    test_exact();
    float kv[8] = { -1, -0.5f, 0, 0.25f, 0.5f, 1, 1.5f, 2 }, same[4] = { 3, 3, 3, 3 };
    const float before[8] = { -1, -0.5f, 0, 0.25f, 0.5f, 1, 1.5f, 2 };
    kv_round(4, kv, 8);
    for (int i = 0; i < 8; i++)
        CHECK_NEAR(kv[i], before[i], 0.5 * 3 / 15 + 2e-3);
    CHECK_NEAR(kv[0], -1, 2e-3);
    CHECK_NEAR(kv[7], 2, 4e-3);
    kv_round(4, same, 4); /* no range, no division by zero */
    CHECK(same[0] == 3);
}

/* ---- models: made up, in the format of llama2.c ---- */

enum { DIM = 32, HIDDEN = 40, LAYERS = 2, HEADS = 4, KV = 2, VOCAB = 48, CONTEXT = 64 };

static void put(FILE *f, int count, float spread, float middle)
{
    for (int i = 0; i < count; i++) {
        const float x = middle + spread * noise();
        fwrite(&x, sizeof x, 1, f);
    }
}

static int write_model(char path[64])
{
    const int head[7] = { DIM, HIDDEN, LAYERS, HEADS, KV, VOCAB, CONTEXT };
    strcpy(path, "/tmp/test_quant_XXXXXX.bin");
    const int fd = mkstemps(path, 4);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!f)
        return -1;
    fwrite(head, sizeof head, 1, f);
    put(f, VOCAB * DIM, 1, 0);
    put(f, LAYERS * DIM, 0.5f, 1);
    put(f, LAYERS * DIM * DIM, 0.5f, 0);
    put(f, 2 * LAYERS * DIM / 2 * DIM, 0.5f, 0);
    put(f, LAYERS * DIM * DIM, 0.5f, 0);
    put(f, LAYERS * DIM, 0.5f, 1);
    put(f, 3 * LAYERS * DIM * HIDDEN, 0.5f, 0);
    put(f, DIM, 0.5f, 1);
    put(f, CONTEXT * (DIM / HEADS), 0, 0);
    return fclose(f);
}

static double mean_loss(const struct llama *m, const struct token_set *t)
{
    double loss[16] = { 0 }, sum = 0;
    if (quant_evaluate(m, t, NULL, false, loss, NULL)) {
        printf("%s\n", cb_error_text());
        return NAN;
    }
    for (int i = 0; i < t->count; i++)
        sum += loss[i] / t->count;
    return sum;
}

static void test_folds(const struct checkpoint *c, const struct token_set *t, double want)
{
    struct llama m;
    float scale[HIDDEN], lambda[KV * DIM / HEADS];
    for (int set = 0; set < FOLD_SETS; set++) {
        CHECK(!llama_open(c, true, &m));
        for (int p = 0; p < HIDDEN; p++) /* equal in the query heads of a kv head */
            scale[p] = 1 + 0.25f * (float)(p % (DIM / HEADS));
        CHECK(!fold_scale(&m, 1, set, scale));
        CHECK_NEAR(mean_loss(&m, t), want, 1e-4);
        CHECK(fold_possible(&m.config, set) == (set != FOLD_O));
        llama_close(&m);
    }
    CHECK(!llama_open(c, true, &m));
    for (int p = 0; p < KV * DIM / HEADS; p++)
        lambda[p] = 0.5f + (float)(p / 2 % 3);
    CHECK(!fold_keys(&m, 0, lambda));
    CHECK_NEAR(mean_loss(&m, t), want, 1e-4);
    CHECK(!fold_rotation(&m, 3));
    CHECK_NEAR(mean_loss(&m, t), want, 1e-4);
    CHECK(m.layer[0].attn_norm[3] == 1);
    CHECK(!fold_outliers(&m, 0.05, 16, true, 9));
    CHECK_NEAR(mean_loss(&m, t), want, 1e-4);
    CHECK(fabsf(m.layer[0].attn_norm[0]) >= 1);
    llama_close(&m);
}

static double of_recipe(const struct checkpoint *c, const struct token_set *t,
                        struct quant_recipe r, int bits)
{
    const struct quant_options o = { .grid = { bits, 16, QUANT_MIN_MAX }, .share = 0.1,
                                     .factor = 2, .seed = 1, .outlier_factor = 1 };
    struct quantised *q;
    if (quantised_open(c, &r, &o, t, &q)) {
        printf("%s\n", cb_error_text());
        return NAN;
    }
    const double loss = mean_loss(&q->model, t);
    quantised_close(q);
    return loss;
}

static void test_models(void)
{
    char path[64];
    struct checkpoint c;
    struct llama m;
    struct token_set t, again;
    CHECK(!write_model(path) && !checkpoint_load(path, &c));
    CHECK(!llama_open(&c, true, &m));
    CHECK(!token_set_sample(&m, 1, 6, CONTEXT, 11, &t));
    CHECK(!token_set_sample(&m, 1, 6, CONTEXT, 11, &again));
    CHECK(t.token && again.token && !memcmp(t.token, again.token, 6 * CONTEXT * sizeof(int)));
    CHECK_STR(t.sha256, again.sha256);
    CHECK(t.token[CONTEXT] == 1 && t.vocab_min <= VOCAB);
    token_set_free(&again);
    const double want = mean_loss(&m, &t);
    CHECK(want > 0 && want < log(VOCAB));

    /* windows as llama_score sees them */
    double log_prob[CONTEXT], sum = 0, loss[16];
    CHECK(!llama_score(&m, t.token + 2 * CONTEXT, CONTEXT, log_prob));
    for (int i = 1; i < CONTEXT; i++)
        sum -= log_prob[i] / (CONTEXT - 1);
    struct quant_reference ref;
    double kl[6] = { 1, 1, 1, 1, 1, 1 };
    CHECK(!quant_reference_new(&m, &t, 1 << 20, &ref) && ref.sequences == 6);
    CHECK(!quant_evaluate(&m, &t, &ref, true, loss, kl));
    CHECK_NEAR(loss[2], sum, 1e-6);
    CHECK(!quant_evaluate(&m, &t, &ref, false, loss, kl));
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(kl[i], 0, 1e-6);
    quant_reference_free(&ref);
    CHECK(!quant_reference_new(&m, &t, 2 * (CONTEXT - 1) * VOCAB * sizeof(float) + 5, &ref));
    CHECK(ref.sequences == 2 && !quant_evaluate(&m, &t, &ref, true, loss, kl));
    CHECK(!quant_evaluate(&m, &t, &ref, false, loss, kl));
    CHECK(isfinite(kl[1]) && isnan(kl[2])); /* of windows without a reference nothing is said */
    quant_reference_free(&ref);
    llama_close(&m);

    test_folds(&c, &t, want);

    /* 8 bits cost next to nothing, whatever the way */
    const unsigned w = QUANT_WEIGHTS;
    CHECK_NEAR(of_recipe(&c, &t, (struct quant_recipe){ 0 }, 8), want, 1e-9);
    CHECK_NEAR(of_recipe(&c, &t, (struct quant_recipe){ .flags = w | QUANT_HALF }, 8), want, 2e-3);
    const unsigned floats[] = { 0, QUANT_GPTQ, QUANT_GPTQ | QUANT_GPTQ_ORDER, QUANT_AWQ,
                                QUANT_AWQ | QUANT_AWQ_CLIP, QUANT_AWQ | QUANT_LINEAR_LOSS,
                                QUANT_AWQ | QUANT_GPTQ, QUANT_AWQ | QUANT_AWQ_CLIP | QUANT_GPTQ,
                                QUANT_KEEP, QUANT_SCALE_SHARE };
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        const struct quant_recipe r = { .flags = w | floats[i] };
        CHECK_NEAR(of_recipe(&c, &t, r, 8), want, 2e-2);
        CHECK(of_recipe(&c, &t, r, 2) > want + 0.05);
    }
    const unsigned smooth = QUANT_ROTATE | QUANT_SMOOTH_KEYS | QUANT_SMOOTH_OUT | QUANT_SMOOTH;
    const struct quant_recipe integers[] = {
        { .flags = w, .integer = QUANT_W8, .act_bits = 8, .kv_bits = 8 },
        { .flags = w | smooth, .integer = QUANT_W8, .act_bits = 8, .kv_bits = 8 },
        { .flags = w | QUANT_ROTATE_INSIDE, .integer = QUANT_W8, .act_bits = 8, .kv_bits = 8 },
    };
    for (int i = 0; i < 3; i++)
        CHECK_NEAR(of_recipe(&c, &t, integers[i], 4), want, 5e-2);
    const struct quant_recipe four[] = {
        { .flags = w, .integer = QUANT_W4, .act_bits = 8 },
        { .flags = w | QUANT_QOQ_CLIP, .integer = QUANT_W4, .act_bits = 8 },
        { .flags = w | QUANT_QOQ_CLIP | QUANT_QOQ_ORDER, .integer = QUANT_PROGRESSIVE,
          .act_bits = 8 },
        { .flags = w, .integer = QUANT_W4_GROUPS, .act_bits = 8 },
        { .flags = w, .integer = QUANT_W4_ROW, .act_bits = 8 },
    };
    for (int i = 0; i < 5; i++) {
        const double is = of_recipe(&c, &t, four[i], 4);
        CHECK(is > want + 1e-3 && is < want + 1);
    }

    /* windows left out: what is left has its own hash */
    const int first = t.token[t.length], windows = t.count;
    char before[65];
    memcpy(before, t.sha256, sizeof before);
    CHECK(token_set_skip(&t, windows) == -1);
    CHECK(!token_set_skip(&t, 0) && !strcmp(t.sha256, before) && t.count == windows);
    CHECK(!token_set_skip(&t, 1) && t.count == windows - 1 && t.token[0] == first);
    CHECK(strcmp(t.sha256, before) != 0);

    /* what cannot be */
    CHECK(token_set_load("/nowhere.u16", "", 8, 0, &again) == -1);
    CHECK_STR(cb_error_text(), "not available: /nowhere.u16");
    CHECK(token_set_load(path, "", 8, 0, &again) == -1);
    CHECK(strstr(cb_error_text(), "a text needs a tokenizer"));
    token_set_free(&t);
    checkpoint_free(&c);
    unlink(path);
}

int main(void)
{
    test_grid();
    test_progressive();
    test_gptq();
    test_awq();
    test_rotation();
    test_integers();
    test_models();
    return TEST_END();
}
