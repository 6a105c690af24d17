/* llama_model.c - a model in memory and its products with weights; see llama.h and llama.c. */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>

#include "../../harness/error.h"
#include "llama_machine.h"
#include "llama_part.h"

enum {
    BLOCK = 128,     /* channels decoded at a time: 2 MB if 4096 wide, about a core's cache */
    LEAST = 32,      /* channels that are worth a product */
    SMALL = 1 << 18  /* products of so many multiplications take no longer in one thread */
};

void *llama_take(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX) {
        cb_error("no memory for %zu x %zu bytes", count, size);
        return NULL;
    }
    void *p = malloc(bytes ? bytes : 1);
    if (!p)
        cb_error("no memory for %zu bytes", bytes);
    return p;
}

int llama_one_blas_thread(void)
{
    const int threads = openblas_get_num_threads();
    openblas_set_num_threads(1);
    return threads;
}

/* ---- linear layers ---- */

/* Channels j ... j + count - 1 of y, from their rows of the matrix. */
static void product(const struct llama_linear *l, const float *w, int j, int count,
                    const float *x, int m, float *y)
{
    if (m == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, count, l->k, 1, w, l->k, x, 1, 0, y + j, 1);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, count, l->k, 1, x, l->k, w, l->k,
                    0, y + j, l->n);
    if (l->bias)
        for (int i = 0; i < m; i++)
            for (int c = j; c < j + count; c++)
                y[(size_t)i * (size_t)l->n + (size_t)c] += l->bias[c];
}

/* Output channels at a time: every product copies its x anew, so few and large ones, but two
 * for each thread, since threads are not equally fast. */
static int block_of(const struct llama_linear *l, int threads)
{
    const int pieces = threads > 1 ? 2 * threads : 1, each = (l->n + pieces - 1) / pieces;
    return !l->dense ? BLOCK : (each + LEAST - 1) / LEAST * LEAST;
}

int llama_apply(const struct llama_linear *l, const float *x, int m, float *y)
{
    const size_t k = (size_t)l->k, piece = BLOCK * k;
    const bool parallel = (double)m * l->n * l->k > SMALL && !omp_in_parallel();
    const int threads = parallel ? omp_get_max_threads() : 1, block = block_of(l, threads);
    float *decoded = NULL;
    if (!l->dense && !(decoded = llama_take((size_t)threads * piece, sizeof *decoded)))
        return -1;
    const int blas = llama_one_blas_thread();
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int j = 0; j < l->n; j += block) {
        const int count = l->n - j < block ? l->n - j : block;
        const float *w = l->dense ? l->dense + (size_t)j * k : NULL;
        if (!w) {
            float *mine = decoded + (size_t)omp_get_thread_num() * piece;
            tensor_rows(&l->w, j, count, mine);
            w = mine;
        }
        product(l, w, j, count, x, m, y);
    }
    openblas_set_num_threads(blas);
    free(decoded);
    return 0;
}

float *llama_dense(struct llama_linear *l)
{
    if (l->own)
        return l->own;
    float *w = llama_take((size_t)l->n * (size_t)l->k, sizeof *w);
    if (!w)
        return NULL;
    tensor_rows(&l->w, 0, l->n, w);
    l->dense = l->own = w;
    return w;
}

static float *vector(const struct tensor *t)
{
    float *v = llama_take((size_t)t->cols, sizeof *v);
    if (v)
        tensor_rows(t, 0, 1, v);
    return v;
}

static int open_linear(const struct tensor *w, const struct tensor *bias, bool resident,
                       struct llama_linear *out)
{
    *out = (struct llama_linear){ .n = w->rows, .k = w->cols, .w = *w, .apply = llama_apply };
    /* A mapped FP32 matrix is used where it lies, if the file happens to align it. */
    if (w->dtype == TENSOR_F32 && (uintptr_t)w->data % _Alignof(float) == 0)
        out->dense = w->data;
    else if (resident && !llama_dense(out))
        return -1;
    if (bias->dtype != TENSOR_NONE && !(out->bias = vector(bias)))
        return -1;
    return 0;
}

/* ---- the model ---- */

/* Llama 3 keeps what turns more than rope_high times within the original context,
 * slows what turns less than rope_low times by the factor, and blends between. */
static double scaled(const struct llama_config *c, double frequency)
{
    if (c->rope_scaling == ROPE_LINEAR)
        return frequency / c->rope_factor;
    if (c->rope_scaling == ROPE_LLAMA3) {
        const double turns = c->rope_original * frequency / (2 * acos(-1));
        double keep = (turns - c->rope_low) / (c->rope_high - c->rope_low);
        keep = keep < 0 ? 0 : keep > 1 ? 1 : keep;
        return frequency * (keep + (1 - keep) / c->rope_factor);
    }
    return frequency;
}

static int set_frequencies(const struct checkpoint *c, struct llama *m)
{
    const int pairs = c->config.head_dim / 2;
    float *factor = NULL;
    m->frequency = llama_take((size_t)pairs, sizeof *m->frequency);
    if (!m->frequency)
        return -1;
    if (c->rope_factors.dtype != TENSOR_NONE && !(factor = vector(&c->rope_factors)))
        return -1;
    for (int i = 0; i < pairs; i++) {
        const double plain = pow(c->config.rope_theta, -2.0 * i / c->config.head_dim);
        m->frequency[i] = scaled(&c->config, plain) / (factor ? (double)factor[i] : 1.0);
    }
    free(factor);
    return 0;
}

int llama_open(const struct checkpoint *c, bool resident, struct llama *out)
{
    static const enum checkpoint_slot bias[SLOTS] = {
        [SLOT_Q] = SLOT_Q_BIAS, [SLOT_K] = SLOT_K_BIAS, [SLOT_V] = SLOT_V_BIAS
    };
    static const enum checkpoint_slot linear[] = { SLOT_Q,    SLOT_K,  SLOT_V,   SLOT_O,
                                                   SLOT_GATE, SLOT_UP, SLOT_DOWN };
    const struct tensor absent = { 0 };
    *out = (struct llama){ .config = c->config, .checkpoint = c };
    out->layer = calloc((size_t)c->config.layers, sizeof *out->layer);
    if (!out->layer) {
        cb_error("%s: no memory for %d layers", c->name, c->config.layers);
        goto failed;
    }
    if (set_frequencies(c, out) || !(out->norm = vector(&c->norm)) ||
        open_linear(&c->output, &absent, resident, &out->output))
        goto failed;
    for (int i = 0; i < c->config.layers; i++) {
        struct llama_layer *l = &out->layer[i];
        const struct tensor *t = c->layer[i];
        if (!(l->attn_norm = vector(&t[SLOT_ATTN_NORM])) ||
            !(l->ffn_norm = vector(&t[SLOT_FFN_NORM])))
            goto failed;
        for (size_t s = 0; s < sizeof linear / sizeof *linear; s++)
            if (open_linear(&t[linear[s]], bias[linear[s]] ? &t[bias[linear[s]]] : &absent,
                            resident, &l->linear[linear[s]]))
                goto failed;
    }
    return 0;
failed:
    llama_close(out);
    return cb_error_in("%s", c->name);
}

static void close_linear(struct llama_linear *l)
{
    free(l->own);
    free(l->bias);
}

void llama_close(struct llama *m)
{
    if (!m)
        return;
    for (int i = 0; m->layer && i < m->config.layers; i++) {
        free(m->layer[i].attn_norm);
        free(m->layer[i].ffn_norm);
        for (int s = 0; s < SLOTS; s++)
            close_linear(&m->layer[i].linear[s]);
    }
    close_linear(&m->output);
    free(m->layer);
    free(m->norm);
    free(m->embedding);
    free(m->frequency);
    *m = (struct llama){ 0 };
}

int llama_refresh(const struct llama *m, int layer)
{
    if (m->machine && m->machine->refresh(m->machine, m, layer))
        return cb_error_in("%s: layer %d", m->checkpoint->name, layer);
    return 0;
}

int llama_refresh_all(const struct llama *m)
{
    for (int i = 0; i <= m->config.layers; i++)
        if (llama_refresh(m, i))
            return -1;
    return 0;
}
