/*
 * llama_cuda.c - a GPU as the machine that runs a model; see llama_machine.h.
 *
 * Weights of one model lie there at a time, in memory that later models of the shape take
 * over.  Keys and values of a layer lie by head, as on the host:
 *
 *     key, value   [layers][kv_heads][capacity][head_dim]
 *     scores       [heads][rows][capacity]
 *
 * The heads of one kv head follow one another, so the products of attention are `share`
 * strided batches of kv_heads each, share = heads / kv_heads.  cuBLAS is column-major: to it
 * X [m][k] is X^T, and it is asked for Y^T = W X^T.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cublas_v2.h>

#include "../../harness/error.h"
#include "../../kernels/common/half.h"
#include "../../kernels/models/llama_steps.h"
#include "llama_machine.h"
#include "llama_upload.h"

enum {
    ROWS = 2048,            /* tokens at a time */
    SCORES = 1 << 28,       /* scores at a time, 1 GB */
    LOGITS = 1 << 26        /* logits at a time, 256 MB */
};

struct layer {
    struct gpu_linear linear[SLOTS];
    struct gpu_room attn_norm, ffn_norm;
};

struct gpu {
    struct llama_machine base;
    struct llama_config config;
    cublasHandle_t handle;
    bool half;
    struct layer *layer;            /* [layers] */
    struct gpu_linear output;
    struct gpu_room norm;
    /* of the inputs of one product: halves; turned; codes, their scales, sums */
    struct gpu_room halves, turned, code, scale, total;
    struct gpu_room head_sign;      /* [head_dim] of rotated queries and keys */
    int head_turn;
    struct kv_rounding kv;          /* bits 0: as they are */
    const struct llama *model;      /* whose weights these are */
};

struct llama_run {
    struct gpu *gpu;
    int capacity, rows, logit_rows;
    float *key, *value, *cosine, *sine; /* angles [capacity][head_dim/2] */
    float *x, *h, *q, *k, *v, *mixed, *gate, *up, *scores, *logits;
    int *next;                          /* [logit_rows] */
    double *loss;                       /* [2][logit_rows]: losses, divergences */
    float *seen;                        /* of the host, [rows][widest] */
    double *sums;                       /* of the host, [2][logit_rows] */
};

static int step(enum op_status s, const char *what)
{
    return s == OP_OK ? 0 : cb_error("%s: %s", what, op_status_name(s));
}

static int blas(cublasStatus_t s, const char *what)
{
    return s == CUBLAS_STATUS_SUCCESS ? 0 : cb_error("%s: %s", what, cublasGetStatusString(s));
}

static op_stream stream(const struct gpu *g)
{
    return cb_device_stream(g->base.device);
}

/* ---- weights ---- */

static int refresh_layer(struct gpu *g, const struct llama_layer *l, struct layer *to)
{
    const size_t bytes = (size_t)g->config.dim * sizeof(float);
    struct cb_device *d = g->base.device;
    if (gpu_room_fill(d, &to->attn_norm, l->attn_norm, bytes) ||
        gpu_room_fill(d, &to->ffn_norm, l->ffn_norm, bytes))
        return -1;
    for (int s = 0; s < SLOTS; s++)
        if (l->linear[s].n && gpu_linear_take(d, &l->linear[s], g->half, &to->linear[s]))
            return -1;
    return 0;
}

static int refresh_after_rope(struct gpu *g, const struct llama *m)
{
    const int size = g->config.head_dim;
    g->kv = (struct kv_rounding){ 0 };
    if (!m->after_rope)
        return 0;
    if (m->after_rope != kv_after_rope)
        return cb_error("%s: what is done after the rotary embedding, the host alone can do",
                        m->checkpoint->name);
    g->kv = *(const struct kv_rounding *)m->context;
    if (!g->kv.rotate)
        return 0;
    float *sign = malloc((size_t)size * sizeof *sign);
    if (!sign)
        return cb_error("no memory for %d signs", size);
    g->head_turn = qoq_rotation(size, 0, sign);
    const int status =
        gpu_room_fill(g->base.device, &g->head_sign, sign, (size_t)size * sizeof *sign);
    free(sign);
    return status;
}

static int refresh(struct llama_machine *machine, const struct llama *m, int layer)
{
    struct gpu *g = (struct gpu *)machine;
    g->model = m;
    if (refresh_after_rope(g, m))
        return -1;
    if (layer < g->config.layers)
        return refresh_layer(g, &m->layer[layer], &g->layer[layer]);
    return gpu_linear_take(machine->device, &m->output, g->half, &g->output) ||
                   gpu_room_fill(machine->device, &g->norm, m->norm,
                                 (size_t)g->config.dim * sizeof(float))
               ? -1
               : 0;
}

static void close_gpu(struct llama_machine *machine)
{
    struct gpu *g = (struct gpu *)machine;
    struct cb_device *d = machine->device;
    struct gpu_room *rooms[] = { &g->norm, &g->halves, &g->turned,   &g->code,
                                 &g->scale, &g->total, &g->head_sign };
    for (int i = 0; g->layer && i < g->config.layers; i++) {
        for (int s = 0; s < SLOTS; s++)
            gpu_linear_free(d, &g->layer[i].linear[s]);
        gpu_room_free(d, &g->layer[i].attn_norm);
        gpu_room_free(d, &g->layer[i].ffn_norm);
    }
    gpu_linear_free(d, &g->output);
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        gpu_room_free(d, rooms[i]);
    if (g->handle)
        cublasDestroy(g->handle);
    free(g->layer);
    free(g);
}

/* ---- products ---- */

/* y [m][n] = x [m][k] w^T, w [n][k]. */
static int product(struct gpu *g, const struct gpu_linear *l, const float *x, int m, float *y)
{
    const float one = 1, zero = 0;
    const size_t count = (size_t)m * (size_t)l->k;
    if (!g->half)
        return blas(cublasSgemm(g->handle, CUBLAS_OP_T, CUBLAS_OP_N, l->n, m, l->k, &one, l->w.p,
                                l->k, x, l->k, &zero, y, l->n),
                    "cublasSgemm");
    if (gpu_room_take(g->base.device, &g->halves, count * sizeof(half_bits)) ||
        step(llama_to_half(x, count, g->halves.p, stream(g)), "halves"))
        return -1;
    return blas(cublasGemmEx(g->handle, CUBLAS_OP_T, CUBLAS_OP_N, l->n, m, l->k, &one, l->w.p,
                             CUDA_R_16F, l->k, g->halves.p, CUDA_R_16F, l->k, &zero, y, CUDA_R_32F,
                             l->n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                "cublasGemmEx");
}

static int product_of_codes(struct gpu *g, const struct gpu_linear *l, const float *x, int m,
                            float *y)
{
    struct cb_device *d = g->base.device;
    const size_t rows = (size_t)m, width = (size_t)l->k * sizeof(float);
    if (gpu_room_take(d, &g->code, rows * (size_t)l->groups.padded) ||
        gpu_room_take(d, &g->scale, rows * (size_t)l->groups.groups * sizeof(float)) ||
        gpu_room_take(d, &g->total, rows * sizeof(float)))
        return -1;
    if (l->turn) {
        if (gpu_room_take(d, &g->turned, rows * width) ||
            cb_copy(d, g->turned.p, x, rows * width) ||
            step(llama_turn(l->sign.p, m, l->k, l->turn, g->turned.p, stream(g)), "rotation"))
            return -1;
        x = g->turned.p;
    }
    if (step(llama_quantise(&l->groups, x, m, g->code.p, g->scale.p, g->total.p, stream(g)),
             "quantised activations"))
        return -1;
    return step(llama_int_product(&l->groups, g->code.p, g->scale.p, g->total.p, l->w.p, l->scale.p,
                                  l->has_offset ? l->offset.p : NULL,
                                  l->has_bias ? l->bias.p : NULL, m, l->n, y, stream(g)),
                "product of integers");
}

static int apply(struct gpu *g, const struct gpu_linear *l, const float *x, int m, float *y)
{
    if (l->integers)
        return product_of_codes(g, l, x, m, y);
    if (product(g, l, x, m, y))
        return -1;
    return l->has_bias ? step(llama_add_bias(l->bias.p, m, l->n, y, stream(g)), "bias") : 0;
}

/* Shows the host what goes into a slot; returns what it says. */
static int watch(struct llama_run *r, enum checkpoint_slot slot, const float *x, int m, int width)
{
    const struct llama *model = r->gpu->model;
    if (!model->watch)
        return 0;
    return cb_download(r->gpu->base.device, r->seen, x, (size_t)m * (size_t)width * sizeof(float))
               ? -1
               : model->watch(model->watch_context, slot, r->seen, m);
}

/* ---- attention ---- */

static int turn_heads(struct gpu *g, float *x, int count)
{
    const int size = g->config.head_dim;
    return step(llama_turn(g->head_sign.p, count, size, g->head_turn, x, stream(g)),
                "rotation of heads");
}

/* Rotates queries and keys, rounds what is kept, and keeps it. */
static int place(struct llama_run *r, int layer, int position, int m)
{
    struct gpu *g = r->gpu;
    const struct llama_config *c = &g->config;
    const int size = c->head_dim, kv = c->kv_heads;
    const size_t angles = (size_t)position * (size_t)size / 2;
    const size_t at = (size_t)layer * (size_t)kv * (size_t)r->capacity * (size_t)size;
    const float *cosine = r->cosine + angles, *sine = r->sine + angles;
    op_stream s = stream(g);
    if (step(llama_rope(cosine, sine, m, c->heads, size, c->rope_halves, r->q, s), "rotary") ||
        step(llama_rope(cosine, sine, m, kv, size, c->rope_halves, r->k, s), "rotary"))
        return -1;
    if (g->kv.rotate && (turn_heads(g, r->q, m * c->heads) || turn_heads(g, r->k, m * kv)))
        return -1;
    if (g->kv.bits && (step(llama_kv_round(g->kv.bits, m * kv, size, r->k, s), "rounded keys") ||
                       step(llama_kv_round(g->kv.bits, m * kv, size, r->v, s), "rounded values")))
        return -1;
    int seen;
    if ((seen = watch(r, SLOT_K, r->k, m, kv * size)) ||
        (seen = watch(r, SLOT_V, r->v, m, kv * size)))
        return seen;
    return step(llama_keep(r->k, m, kv, size, r->capacity, position, r->key + at, s), "keys") ||
                   step(llama_keep(r->v, m, kv, size, r->capacity, position, r->value + at, s),
                        "values")
               ? -1
               : 0;
}

static int attend(struct llama_run *r, int layer, int position, int m)
{
    struct gpu *g = r->gpu;
    const struct llama_config *c = &g->config;
    const int size = c->head_dim, kv = c->kv_heads, share = c->heads / kv, tokens = position + m;
    const int width = c->heads * size, ld = r->capacity;
    const long long cache = (long long)r->capacity * size, head = (long long)r->rows * ld;
    const float *key = r->key + layer * kv * cache, *value = r->value + layer * kv * cache;
    const float scale = (float)(1 / sqrt(size)), one = 1, zero = 0;
    for (int h = 0; h < share; h++)
        if (blas(cublasSgemmStridedBatched(g->handle, CUBLAS_OP_T, CUBLAS_OP_N, tokens, m, size,
                                           &scale, key, size, cache, r->q + h * size, width,
                                           share * size, &zero, r->scores + h * head, ld,
                                           share * head, kv),
                 "scores"))
            return -1;
    if (step(llama_softmax(c->heads, r->rows, ld, m, position, tokens, c->window, r->scores,
                           stream(g)),
             "softmax"))
        return -1;
    for (int h = 0; h < share; h++)
        if (blas(cublasSgemmStridedBatched(g->handle, CUBLAS_OP_N, CUBLAS_OP_N, size, m, tokens,
                                           &one, value, size, cache, r->scores + h * head, ld,
                                           share * head, &zero, r->mixed + h * size, width,
                                           share * size, kv),
                 "weighted values"))
            return -1;
    return 0;
}

/* ---- a layer ---- */

/* Normed inputs in h become what is to be added, in h. */
static int run_attention(struct llama_run *r, int layer, int position, int m)
{
    struct gpu *g = r->gpu;
    const struct gpu_linear *l = g->layer[layer].linear;
    int seen = watch(r, SLOT_Q, r->h, m, g->config.dim);
    if (seen)
        return seen;
    if (apply(g, &l[SLOT_Q], r->h, m, r->q) || apply(g, &l[SLOT_K], r->h, m, r->k) ||
        apply(g, &l[SLOT_V], r->h, m, r->v))
        return -1;
    if ((seen = place(r, layer, position, m)))
        return seen;
    if (attend(r, layer, position, m))
        return -1;
    seen = watch(r, SLOT_O, r->mixed, m, l[SLOT_O].k);
    return seen ? seen : apply(g, &l[SLOT_O], r->mixed, m, r->h);
}

static int run_ffn(struct llama_run *r, int layer, int m)
{
    struct gpu *g = r->gpu;
    const struct gpu_linear *l = g->layer[layer].linear;
    const size_t count = (size_t)m * (size_t)g->config.hidden;
    int seen = watch(r, SLOT_GATE, r->h, m, g->config.dim);
    if (seen)
        return seen;
    if (apply(g, &l[SLOT_GATE], r->h, m, r->gate) || apply(g, &l[SLOT_UP], r->h, m, r->up) ||
        step(llama_silu_times(r->up, count, r->gate, stream(g)), "SiLU"))
        return -1;
    seen = watch(r, SLOT_DOWN, r->gate, m, g->config.hidden);
    return seen ? seen : apply(g, &l[SLOT_DOWN], r->gate, m, r->h);
}

static int norm(struct llama_run *r, const struct gpu_room *gain, int m)
{
    const struct llama_config *c = &r->gpu->config;
    return step(llama_rmsnorm(r->x, gain->p, c->norm_eps, m, c->dim, r->h, stream(r->gpu)), "norm");
}

static int run_layer(struct llama_run *r, int layer, int position, int m)
{
    struct gpu *g = r->gpu;
    const size_t count = (size_t)m * (size_t)g->config.dim;
    int status;
    if (norm(r, &g->layer[layer].attn_norm, m))
        return -1;
    if ((status = run_attention(r, layer, position, m)))
        return status;
    if (step(llama_add(r->h, count, r->x, stream(g)), "sum") ||
        norm(r, &g->layer[layer].ffn_norm, m))
        return -1;
    if ((status = run_ffn(r, layer, m)))
        return status;
    return step(llama_add(r->h, count, r->x, stream(g)), "sum");
}

/* ---- a run ---- */

static int part(struct llama_run *r, enum llama_part what, int layer, int position, int m,
                const float *x, float *y)
{
    struct cb_device *d = r->gpu->base.device;
    const size_t bytes = (size_t)m * (size_t)r->gpu->config.dim * sizeof(float);
    float *through = what == LLAMA_LAYER ? r->x : r->h;
    if (cb_upload(d, through, x, bytes))
        return -1;
    const int status = what == LLAMA_LAYER       ? run_layer(r, layer, position, m)
                       : what == LLAMA_ATTENTION ? run_attention(r, layer, position, m)
                                                 : run_ffn(r, layer, m);
    return status ? status : cb_download(d, y, through, bytes);
}

static int tokens(struct llama_run *r, int position, int m, const float *x)
{
    struct gpu *g = r->gpu;
    if (cb_upload(g->base.device, r->x, x, (size_t)m * (size_t)g->config.dim * sizeof(float)))
        return -1;
    for (int i = 0; i < g->config.layers; i++)
        if (run_layer(r, i, position, m))
            return -1;
    return norm(r, &g->norm, m);
}

static int logits(struct llama_run *r, int first, int m, float *out)
{
    const size_t dim = (size_t)r->gpu->config.dim, vocab = (size_t)r->gpu->config.vocab;
    for (int at = 0, rows; at < m; at += rows) {
        rows = m - at < r->logit_rows ? m - at : r->logit_rows;
        if (apply(r->gpu, &r->gpu->output, r->h + (size_t)(first + at) * dim, rows, r->logits) ||
            cb_download(r->gpu->base.device, out + (size_t)at * vocab, r->logits,
                        (size_t)rows * vocab * sizeof *out))
            return -1;
    }
    return 0;
}

static int losses(struct llama_run *r, int first, int m, const int *next, float *reference,
                  bool fill, double *loss, double *kl)
{
    const size_t dim = (size_t)r->gpu->config.dim, vocab = (size_t)r->gpu->config.vocab;
    struct cb_device *d = r->gpu->base.device;
    double *apart = r->loss + r->logit_rows;
    for (int at = 0, rows; at < m; at += rows) {
        rows = m - at < r->logit_rows ? m - at : r->logit_rows;
        if (apply(r->gpu, &r->gpu->output, r->h + (size_t)(first + at) * dim, rows, r->logits) ||
            cb_upload(d, r->next, next + at, (size_t)rows * sizeof *next) ||
            step(llama_losses(r->logits, r->next, rows, r->gpu->config.vocab,
                              reference ? reference + (size_t)at * vocab : NULL, fill, r->loss,
                              apart, stream(r->gpu)),
                 "losses") ||
            cb_download(d, r->sums, r->loss, (size_t)rows * sizeof(double)) ||
            cb_download(d, r->sums + r->logit_rows, apart, (size_t)rows * sizeof(double)))
            return -1;
        for (int i = 0; i < rows; i++) {
            *loss += r->sums[i];
            *kl += r->sums[r->logit_rows + i];
        }
    }
    return 0;
}

static void end(struct llama_run *r)
{
    if (!r)
        return;
    void *all[] = { r->key, r->value, r->cosine, r->sine, r->x,    r->h,      r->q,    r->k,
                    r->v,   r->mixed, r->gate,   r->up,   r->scores, r->logits, r->next, r->loss };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cb_free(r->gpu->base.device, all[i]);
    free(r->seen);
    free(r->sums);
    free(r);
}

/* Angles of all positions, as the host computes them. */
static int make_angles(struct llama_run *r, const struct llama *m)
{
    const size_t pairs = (size_t)m->config.head_dim / 2, count = (size_t)r->capacity * pairs;
    float *host = malloc(2 * count * sizeof *host);
    if (!host)
        return cb_error("no memory for %zu angles", count);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < r->capacity; i++)
        for (size_t p = 0; p < pairs; p++) {
            const double angle = i * m->frequency[p];
            host[(size_t)i * pairs + p] = (float)cos(angle);
            host[count + (size_t)i * pairs + p] = (float)sin(angle);
        }
    struct cb_device *d = r->gpu->base.device;
    const int status = cb_upload(d, r->cosine, host, count * sizeof *host) ||
                               cb_upload(d, r->sine, host + count, count * sizeof *host)
                           ? -1
                           : 0;
    free(host);
    return status;
}

static int at_most(size_t limit, size_t per, int rows)
{
    const size_t fit = limit / per < 1 ? 1 : limit / per;
    return fit < (size_t)rows ? (int)fit : rows;
}

static int make_room(struct llama_run *r)
{
    const struct llama_config *c = &r->gpu->config;
    const size_t n = (size_t)r->rows, heads = (size_t)c->heads, size = (size_t)c->head_dim;
    const size_t kv = (size_t)c->kv_heads * size, capacity = (size_t)r->capacity;
    const size_t kept = (size_t)c->layers * capacity * kv, hidden = (size_t)c->hidden;
    const size_t dim = (size_t)c->dim, of_logits = (size_t)r->logit_rows;
    size_t widest = dim > hidden ? dim : hidden;
    widest = heads * size > widest ? heads * size : widest;
    const struct {
        float **to;
        size_t count;
    } rooms[] = { { &r->key, kept },          { &r->value, kept },
                  { &r->cosine, capacity * size / 2 }, { &r->sine, capacity * size / 2 },
                  { &r->x, n * dim },         { &r->h, n * dim },
                  { &r->q, n * heads * size }, { &r->mixed, n * heads * size },
                  { &r->k, n * kv },          { &r->v, n * kv },
                  { &r->gate, n * hidden },   { &r->up, n * hidden },
                  { &r->scores, heads * n * capacity },
                  { &r->logits, of_logits * (size_t)c->vocab } };
    struct cb_device *d = r->gpu->base.device;
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        if (cb_alloc(d, rooms[i].count * sizeof(float), (void **)rooms[i].to))
            return -1;
    if (cb_alloc(d, of_logits * sizeof *r->next, (void **)&r->next) ||
        cb_alloc(d, 2 * of_logits * sizeof *r->loss, (void **)&r->loss))
        return -1;
    r->seen = malloc(n * widest * sizeof *r->seen);
    r->sums = malloc(2 * of_logits * sizeof *r->sums);
    return r->seen && r->sums ? 0 : cb_error("no memory for %zu tokens", n);
}

static int begin(struct llama_machine *machine, const struct llama *m, int capacity,
                 struct llama_run **out, int *rows)
{
    struct gpu *g = (struct gpu *)machine;
    struct llama_run *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r)
        return cb_error("no memory");
    r->gpu = g;
    r->capacity = capacity;
    r->rows = at_most(SCORES, (size_t)g->config.heads * (size_t)capacity,
                      capacity < ROWS ? capacity : ROWS);
    r->logit_rows = at_most(LOGITS, (size_t)g->config.vocab, r->rows);
    if (make_room(r) || make_angles(r, m)) {
        end(r);
        return -1;
    }
    *out = r;
    *rows = r->rows;
    return 0;
}

int llama_gpu_open(struct cb_device *d, const struct llama_config *c, bool half,
                   struct llama_machine **out)
{
    struct gpu *g = calloc(1, sizeof *g);
    *out = NULL;
    if (!g)
        return cb_error("no memory");
    g->base = (struct llama_machine){ d, refresh, begin, end, part, tokens, logits, losses,
                                      close_gpu };
    g->config = *c;
    g->half = half;
    g->layer = calloc((size_t)c->layers, sizeof *g->layer);
    const int status = !g->layer ? cb_error("no memory for %d layers", c->layers)
                       : blas(cublasCreate(&g->handle), "cublasCreate") ||
                               blas(cublasSetStream(g->handle, stream(g)), "cublasSetStream")
                           ? -1
                           : 0;
    if (status)
        close_gpu(&g->base);
    else
        *out = &g->base;
    return status;
}
