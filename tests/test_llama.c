/*
 * test_llama.c - the forward pass: against the definition in double on made-up models
 * with every option of the config, and against a published small model where its files
 * are: whole sequences and single steps, replaced products.
 */
#include <stdlib.h>

#include "../harness/error.h"
#include "../suites/data/shared.h"
#include "../suites/models/llama.h"
#include "made_model.h"
#include "test.h"

/* A file of uint16 as ints; how many, 0 if it is not there. */
static int tokens(const char *file, int **out)
{
    char path[DATA_PATH];
    *out = NULL;
    FILE *f = fopen(data_shared(file, path), "rb");
    if (!f)
        return 0;
    int n = 0;
    unsigned char b[2];
    *out = malloc(65536 * sizeof **out);
    while (*out && n < 65536 && fread(b, 1, 2, f) == 2)
        (*out)[n++] = b[0] | b[1] << 8;
    fclose(f);
    return n;
}

struct first {
    float logits[6];
};

static int see_seventh(void *context, int position, const float *logits)
{
    struct first *f = context;
    if (position == 7)
        memcpy(f->logits, logits, sizeof f->logits);
    return position == 7;
}

/* The output product through another function, which counts its calls. */
static int counting(const struct llama_linear *l, const float *x, int m, float *y)
{
    ++*(int *)l->context;
    return llama_apply(l, x, m, y);
}

static int flip_keys(void *context, int layer, int m, float *q, float *k, float *v)
{
    const struct llama_config *c = context;
    (void)layer, (void)q, (void)v;
    for (int i = 0; i < m * c->kv_heads * c->head_dim; i++)
        k[i] = -k[i];
    return 0;
}

static double loss(const struct llama *m, const int *token, int sequences, int length)
{
    double *log_prob = malloc((size_t)length * sizeof *log_prob), sum = 0;
    for (int i = 0; i < sequences; i++) {
        if (!log_prob || llama_score(m, token + (long)i * length, length, log_prob)) {
            printf("%s\n", cb_error_text());
            sum = NAN;
            break;
        }
        for (int t = 1; t < length; t++)
            sum -= log_prob[t];
    }
    free(log_prob);
    return sum / sequences / (length - 1);
}

static void test_published(void)
{
    char path[DATA_PATH];
    struct checkpoint c;
    struct llama m;
    int *greedy, *samples, out[256];
    const int greedy_count = tokens("llm/stories260K_greedy257.u16", &greedy);
    const int sample_count = tokens("llm/stories260K_samples_64x512.u16", &samples);
    if (greedy_count != 257 || sample_count != 64 * 512) {
        SKIP("test_llama: stories260K: the test files are not here");
        free(greedy);
        free(samples);
        return;
    }
    CHECK(!checkpoint_load(data_shared("llm/stories260K.bin", path), &c));
    CHECK(!llama_open(&c, false, &m));
    CHECK(checkpoint_parameters(&c) == 260032);
    CHECK(m.config.dim == 64 && m.config.hidden == 172 && m.config.layers == 5);
    CHECK(m.config.heads == 8 && m.config.kv_heads == 4 && m.config.head_dim == 8);
    CHECK(m.config.vocab == 512 && m.config.context == 512 && m.config.tied);

    /* the story, a token at a time */
    CHECK(!llama_greedy(&m, greedy, 1, 256, out));
    int same = 0;
    while (same < 256 && out[same] == greedy[same + 1])
        same++;
    CHECK(same == 256);

    /* from a longer start, fed at once, the same goes on */
    CHECK(!llama_greedy(&m, greedy, 100, 157, out));
    CHECK(!memcmp(out, greedy + 100, 157 * sizeof *out));

    static const double want[6] = { -9.04545, 1.45270, -9.04570, -9.04525, -9.04410, -9.04530 };
    struct first first = { { 0 } };
    struct llama_state *s = llama_begin(&m, 512);
    CHECK(s && llama_each(s, samples, 512, see_seventh, &first) == 1);
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(first.logits[i], want[i], 1e-3);

    double mean = loss(&m, samples, 64, 512);
    CHECK_NEAR(mean, 1.298301, 2e-5);
    CHECK_NEAR(exp(mean), 3.663067, 1e-4);

    /* products through another function; all weights copied; keys changed on the way */
    int calls = 0;
    struct llama_linear *down = &m.layer[2].linear[SLOT_DOWN];
    down->apply = counting;
    down->context = &calls;
    CHECK_NEAR(loss(&m, samples, 1, 512), loss(&m, samples, 1, 512), 0);
    CHECK(calls == 4); /* twice, in two pieces of 256 */
    const double before = loss(&m, samples, 1, 512);
    float *w = llama_dense(down);
    CHECK(w && w == llama_dense(down));
    CHECK_NEAR(loss(&m, samples, 1, 512), before, 0);
    for (int i = 0; w && i < down->n * down->k; i++)
        w[i] = 0;
    CHECK(fabs(loss(&m, samples, 1, 512) - before) > 1e-3);
    m.after_rope = flip_keys;
    m.context = &m.config;
    CHECK(loss(&m, samples, 1, 512) > before + 0.1);

    /* what cannot be */
    CHECK(!llama_begin(&m, 513));
    CHECK_STR(cb_error_text(),
              "stories260K.bin: a sequence of 513 tokens; the model takes 1 to 512");
    llama_rewind(s);
    CHECK(llama_feed(s, (int[]){ 1, 512 }, 2, NULL) == -1);
    CHECK_STR(cb_error_text(), "stories260K.bin: token 512 at 1; the vocabulary has 512");
    CHECK(!llama_feed(s, samples, 512, NULL) && llama_position(s) == 512);
    CHECK(llama_feed(s, samples, 1, NULL) == -1);
    CHECK_STR(cb_error_text(), "stories260K.bin: 1 tokens after 512, but room for 512");
    llama_end(s);
    llama_close(&m);
    checkpoint_free(&c);
    free(greedy);
    free(samples);
}

/* ---- made-up models, against the definition ---- */

enum { VOCAB = 50, DIM = 24, HIDDEN = 40, LAYERS = 2, HEADS = 6, KV = 3, HEAD = 8, LENGTH = 300 };

static void times(const struct tensor *w, const struct tensor *bias, const double *x, double *y)
{
    const float *f = w->data, *b = bias ? bias->data : NULL;
    for (int j = 0; j < w->rows; j++) {
        y[j] = b ? (double)b[j] : 0;
        for (int p = 0; p < w->cols; p++)
            y[j] += (double)f[j * w->cols + p] * x[p];
    }
}

static void norm(const struct tensor *gain, double eps, const double *x, double *y)
{
    double sum = 0;
    for (int c = 0; c < DIM; c++)
        sum += x[c] * x[c];
    for (int c = 0; c < DIM; c++)
        y[c] = x[c] / sqrt(sum / DIM + eps) * (double)((const float *)gain->data)[c];
}

static void turn(const struct checkpoint *c, int position, int heads, double *x)
{
    const struct llama_config *k = &c->config;
    for (int h = 0; h < heads; h++)
        for (int p = 0; p < HEAD / 2; p++) {
            double *head = x + h * HEAD, frequency = 1 / pow(k->rope_theta, 2.0 * p / HEAD);
            double wave = 2 * acos(-1) / frequency;
            if (k->rope_scaling == ROPE_LINEAR)
                frequency /= k->rope_factor;
            if (k->rope_scaling == ROPE_LLAMA3 && wave > k->rope_original / k->rope_low) {
                frequency /= k->rope_factor;
            } else if (k->rope_scaling == ROPE_LLAMA3 && wave > k->rope_original / k->rope_high) {
                const double smooth =
                    (k->rope_original / wave - k->rope_low) / (k->rope_high - k->rope_low);
                frequency = (1 - smooth) * frequency / k->rope_factor + smooth * frequency;
            }
            if (c->rope_factors.data)
                frequency /= (double)((const float *)c->rope_factors.data)[p];
            double *a = head + (k->rope_halves ? p : 2 * p);
            double *b = head + (k->rope_halves ? p + HEAD / 2 : 2 * p + 1);
            const double angle = position * frequency, a0 = *a, b0 = *b;
            *a = a0 * cos(angle) - b0 * sin(angle);
            *b = a0 * sin(angle) + b0 * cos(angle);
        }
}

/* Logits after each token, token by token. */
static void define(const struct checkpoint *c, const int *token, double (*logits)[VOCAB])
{
    static double key[LAYERS][LENGTH][KV * HEAD], value[LAYERS][LENGTH][KV * HEAD];
    const struct llama_config *k = &c->config;
    for (int t = 0; t < LENGTH; t++) {
        double x[DIM], h[DIM], q[HEADS * HEAD], mixed[HEADS * HEAD] = { 0 }, gate[HIDDEN],
            up[HIDDEN];
        for (int i = 0; i < DIM; i++)
            x[i] = (double)((const float *)c->embedding.data)[token[t] * DIM + i];
        for (int l = 0; l < LAYERS; l++) {
            const struct tensor *w = c->layer[l];
            norm(&w[SLOT_ATTN_NORM], k->norm_eps, x, h);
            times(&w[SLOT_Q], &w[SLOT_Q_BIAS], h, q);
            times(&w[SLOT_K], &w[SLOT_K_BIAS], h, key[l][t]);
            times(&w[SLOT_V], &w[SLOT_V_BIAS], h, value[l][t]);
            turn(c, t, HEADS, q);
            turn(c, t, KV, key[l][t]);
            memset(mixed, 0, sizeof mixed);
            for (int head = 0; head < HEADS; head++) {
                const int kv = head / (HEADS / KV) * HEAD;
                double weight[LENGTH], sum = 0;
                const int from = k->window && t >= k->window ? t - k->window + 1 : 0;
                for (int j = from; j <= t; j++) {
                    weight[j] = 0;
                    for (int i = 0; i < HEAD; i++)
                        weight[j] += q[head * HEAD + i] * key[l][j][kv + i];
                    sum += weight[j] = exp(weight[j] / sqrt(HEAD));
                }
                for (int j = from; j <= t; j++)
                    for (int i = 0; i < HEAD; i++)
                        mixed[head * HEAD + i] += weight[j] / sum * value[l][j][kv + i];
            }
            times(&w[SLOT_O], NULL, mixed, h);
            for (int i = 0; i < DIM; i++)
                x[i] += h[i];
            norm(&w[SLOT_FFN_NORM], k->norm_eps, x, h);
            times(&w[SLOT_GATE], NULL, h, gate);
            times(&w[SLOT_UP], NULL, h, up);
            for (int i = 0; i < HIDDEN; i++)
                gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
            times(&w[SLOT_DOWN], NULL, gate, h);
            for (int i = 0; i < DIM; i++)
                x[i] += h[i];
        }
        norm(&c->norm, k->norm_eps, x, h);
        times(&c->output, NULL, h, logits[t]);
    }
}

struct compared {
    double (*want)[VOCAB];
    double most;
};

static int see_all(void *context, int position, const float *logits)
{
    struct compared *c = context;
    for (int i = 0; i < VOCAB; i++)
        c->most = fmax(c->most, fabs((double)logits[i] - c->want[position][i]));
    return 0;
}

static void compare(struct checkpoint c)
{
    static double want[LENGTH][VOCAB];
    struct compared compared = { want, 0 };
    struct llama m;
    int token[LENGTH];
    float logits[VOCAB];
    double log_prob[LENGTH];
    for (int i = 0; i < LENGTH; i++)
        token[i] = (i * i + 7 * i) % VOCAB;
    define(&c, token, want);
    CHECK(!llama_open(&c, true, &m));
    struct llama_state *s = llama_begin(&m, LENGTH);
    CHECK(s && !llama_each(s, token, LENGTH, see_all, &compared)); /* more than a piece */
    CHECK_NEAR(compared.most, 0, 2e-4);
    compared.most = 0;
    llama_rewind(s);
    CHECK(!llama_feed(s, token, 10, NULL) && llama_position(s) == 10);
    for (int i = 10; i < 40; i++) {
        CHECK(!llama_feed(s, &token[i], 1, logits));
        see_all(&compared, i, logits);
    }
    CHECK(!llama_each(s, token + 40, LENGTH - 40, see_all, &compared));
    CHECK_NEAR(compared.most, 0, 2e-4);
    CHECK(!llama_score(&m, token, LENGTH, log_prob));
    double sum = 0;
    for (int i = 0; i < VOCAB; i++)
        sum += exp(want[LENGTH - 2][i]);
    CHECK_NEAR(log_prob[LENGTH - 1], want[LENGTH - 2][token[LENGTH - 1]] - log(sum), 2e-4);
    CHECK(log_prob[0] == 0);
    llama_end(s);
    llama_close(&m);
    made_model_free(&c);
}

static void test_defined(void)
{
    const struct llama_config plain = { .vocab = VOCAB, .dim = DIM, .hidden = HIDDEN,
                                        .layers = LAYERS, .heads = HEADS, .kv_heads = KV,
                                        .head_dim = HEAD, .context = 512, .norm_eps = 1e-2,
                                        .rope_theta = 1000 };
    struct llama_config c = plain;
    compare(made_model(c));
    c.rope_halves = c.qkv_bias = true;
    compare(made_model(c));
    c.window = 37;
    c.rope_scaling = ROPE_LINEAR;
    c.rope_factor = 4;
    compare(made_model(c));
    c = plain;
    c.rope_scaling = ROPE_LLAMA3; /* of four pairs one is kept, one blended, two slowed */
    c.rope_factor = 8;
    c.rope_low = 1;
    c.rope_high = 4;
    c.rope_original = 64;
    compare(made_model(c));
    struct checkpoint with_factors = made_model(plain);
    with_factors.rope_factors = made_tensor(1, HEAD / 2, 0.5, 2);
    compare(with_factors);
}

int main(void)
{
    test_defined();
    test_published();
    return TEST_END();
}
