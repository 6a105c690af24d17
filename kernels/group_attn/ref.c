/* ref.c - attention in parts, an encoder layer and all of them, by the definition. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <omp.h>

#include "../common/half.h"
#include "group_attn.h"
#include "want.h"

enum op_status group_attn_check(const struct group_attn_problem *p)
{
    if (p->n < 1 || p->group < 1 || p->heads < 1 || p->head < 1 || p->hidden < 1)
        return OP_EINVAL;
    if (p->slots < p->n || p->slots % p->group || p->heads * p->head % 4)
        return OP_EINVAL;
    return OP_OK;
}

static double dot(const double *a, const double *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* One query row against the keys of its group; score: room for a group. */
static void attend(int group, int head, size_t step, const double *q, const double *k,
                   const double *v, double *score, double *o)
{
    double most = -INFINITY, sum = 0;
    for (int j = 0; j < group; j++) {
        score[j] = dot(q, k + (size_t)j * step, head) / sqrt(head);
        most = fmax(most, score[j]);
    }
    memset(o, 0, (size_t)head * sizeof *o);
    for (int j = 0; j < group; j++) {
        const double weight = exp(score[j] - most);
        sum += weight;
        for (int c = 0; c < head; c++)
            o[c] += weight * v[(size_t)j * step + (size_t)c];
    }
    for (int c = 0; c < head; c++)
        o[c] /= sum;
}

/* Part i holds slots begin[i] .. begin[i + 1] - 1. */
static enum op_status attend_parts(const struct group_attn_problem *p, int count,
                                   const int32_t *begin, const double *q, const double *k,
                                   const double *v, double *o)
{
    const size_t step = (size_t)p->heads * (size_t)p->head;
    int failed = 0;
#pragma omp parallel for schedule(dynamic) reduction(| : failed)
    for (int i = 0; i < count; i++) {
        const int size = begin[i + 1] - begin[i];
        double *score = malloc((size_t)size * sizeof *score);
        failed |= !score;
        for (int s = begin[i]; score && s < begin[i + 1]; s++)
            for (int h = 0; h < p->heads; h++) {
                const size_t at = (size_t)h * (size_t)p->head;
                const size_t first = (size_t)begin[i] * step + at, row = (size_t)s * step + at;
                attend(size, p->head, step, q + row, k + first, v + first, score, o + row);
            }
        free(score);
    }
    return failed ? OP_ENOMEM : OP_OK;
}

/* Groups of slots: begin [slots / group + 1], to be freed; NULL: no memory. */
static int32_t *groups_of(const struct group_attn_problem *p)
{
    int32_t *begin = malloc(((size_t)p->slots / (size_t)p->group + 1) * sizeof *begin);
    for (int i = 0; begin && i <= p->slots / p->group; i++)
        begin[i] = i * p->group;
    return begin;
}

enum op_status group_attn_ref(const struct group_attn_problem *p, const double *q, const double *k,
                              const double *v, double *o)
{
    if (group_attn_check(p) != OP_OK)
        return OP_EINVAL;
    int32_t *begin = groups_of(p);
    enum op_status status =
        begin ? attend_parts(p, p->slots / p->group, begin, q, k, v, o) : OP_ENOMEM;
    free(begin);
    return status;
}

enum op_status group_attn_wanted(const struct group_attn_problem *p,
                                 const struct group_attn_args *a, int exact, double *want,
                                 float *bound)
{
    const size_t c = (size_t)p->heads * (size_t)p->head;
    const half_bits *qkv = a->qkv;
    if (group_attn_check(p) != OP_OK)
        return OP_EINVAL;
#pragma omp parallel for schedule(static)
    for (int s = 0; s < p->n; s++)
        for (int h = 0; h < p->heads; h++) {
            const size_t at = (size_t)h * (size_t)p->head, row = (size_t)s;
            const half_bits *first = qkv + (size_t)(s / p->group * p->group) * 3 * c + at;
            group_attn_row(p->group, p->head, 3 * c, qkv + row * 3 * c + at, first + c,
                           first + 2 * c, exact, want + row * c + at, bound + row * c + at);
        }
    return OP_OK;
}

void encoder_embed(struct flatten_cell c, int channels, double *e)
{
    const int half = channels / 2;
    for (int i = 0; i < half; i++) {
        const double f = pow(10000, 2.0 * (i / 2) / half);
        e[i] = i % 2 ? cos(c.x / f) : sin(c.x / f);
        e[half + i] = i % 2 ? cos(c.y / f) : sin(c.y / f);
    }
}

/* y = W x + b */
static void linear(const float *w, const float *b, int rows, int cols, const double *x, double *y)
{
    for (int i = 0; i < rows; i++) {
        y[i] = (double)b[i];
        for (int j = 0; j < cols; j++)
            y[i] += (double)w[(size_t)i * (size_t)cols + (size_t)j] * x[j];
    }
}

static void layer_norm(const float *norm, int n, double *x)
{
    double mean = 0, variance = 0;
    for (int i = 0; i < n; i++)
        mean += x[i] / n;
    for (int i = 0; i < n; i++)
        variance += (x[i] - mean) * (x[i] - mean) / n;
    for (int i = 0; i < n; i++)
        x[i] = (x[i] - mean) / sqrt(variance + GROUP_ATTN_EPS) * (double)norm[i] +
               (double)norm[n + i];
}

/* What follows attention, of one row: o its heads, u its x in and y out; room: [hidden + C]. */
static void finish_row(const struct group_attn_problem *p, const struct encoder_weights *w,
                       const double *o, double *u, double *room)
{
    const int c = p->heads * p->head;
    double *hidden = room, *out = room + p->hidden;
    linear(w->out, w->out_bias, c, c, o, out);
    for (int i = 0; i < c; i++)
        u[i] += out[i];
    layer_norm(w->norm1, c, u);
    linear(w->fc1, w->fc1_bias, p->hidden, c, u, hidden);
    for (int i = 0; i < p->hidden; i++)
        hidden[i] *= 0.5 * (1 + erf(hidden[i] / sqrt(2)));
    linear(w->fc2, w->fc2_bias, c, p->hidden, hidden, out);
    for (int i = 0; i < c; i++)
        u[i] += out[i];
    layer_norm(w->norm2, c, u);
}

/* Each row is a query once: among the first n slots. */
static enum op_status check_slots(const struct group_attn_problem *p, int slots,
                                  const int32_t *slot)
{
    char *met = calloc((size_t)p->n, 1);
    enum op_status status = met ? OP_OK : OP_ENOMEM;
    for (int s = 0; !status && s < slots; s++) {
        if (slot[s] < 0 || slot[s] >= p->n || (s < p->n && met[slot[s]]))
            status = OP_EINVAL;
        else
            met[slot[s]] = 1;
    }
    free(met);
    return status;
}

static enum op_status layer_over(const struct group_attn_problem *p,
                                 const struct encoder_weights *w, const struct flatten_cell *cell,
                                 const struct encoder_parts *parts, const double *x, double *y)
{
    const int c = p->heads * p->head, slots = parts->slots;
    const int32_t *slot = parts->slot;
    enum op_status status = check_slots(p, slots, slot);
    if (status)
        return status;
    const size_t all = (size_t)slots * (size_t)c, square = (size_t)c * (size_t)c;
    const size_t rest = (size_t)c + (size_t)p->hidden; /* of a thread */
    double *room = malloc((4 * all + (size_t)omp_get_max_threads() * rest) * sizeof *room);
    if (!room)
        return OP_ENOMEM;
    double *q = room, *k = q + all, *v = k + all, *o = v + all, *rests = o + all;
#pragma omp parallel for schedule(static)
    for (int s = 0; s < slots; s++) {
        const double *row = x + (size_t)slot[s] * (size_t)c;
        const size_t at = (size_t)s * (size_t)c;
        double *xe = rests + (size_t)omp_get_thread_num() * rest;
        encoder_embed(cell[slot[s]], c, xe);
        for (int i = 0; i < c; i++)
            xe[i] += row[i];
        linear(w->qkv, w->qkv_bias, c, c, xe, q + at);
        linear(w->qkv + square, w->qkv_bias + c, c, c, xe, k + at);
        linear(w->qkv + 2 * square, w->qkv_bias + 2 * c, c, c, row, v + at);
    }
    status = attend_parts(p, parts->count, parts->begin, q, k, v, o);
#pragma omp parallel for schedule(static)
    for (int s = 0; s < p->n; s++) {
        double *u = y + (size_t)slot[s] * (size_t)c;
        if (y != x)
            memcpy(u, x + (size_t)slot[s] * (size_t)c, (size_t)c * sizeof *u);
        finish_row(p, w, o + (size_t)s * (size_t)c, u,
                   rests + (size_t)omp_get_thread_num() * rest);
    }
    free(room);
    return status;
}

enum op_status encoder_layer_ref(const struct group_attn_problem *p,
                                 const struct encoder_weights *w, const struct flatten_cell *cell,
                                 const int32_t *slot, const double *x, double *y)
{
    if (group_attn_check(p) != OP_OK)
        return OP_EINVAL;
    int32_t *begin = groups_of(p);
    const struct encoder_parts parts = { p->slots, p->slots / p->group, (int32_t *)slot, begin };
    enum op_status status = begin ? layer_over(p, w, cell, &parts, x, y) : OP_ENOMEM;
    free(begin);
    return status;
}

enum op_status encoder_ref(const struct encoder_problem *p, enum encoder_scheme scheme,
                           const struct encoder_host *h, const uint16_t *x, double *y)
{
    const size_t count = (size_t)p->layer.n * (size_t)(p->layer.heads * p->layer.head);
    enum op_status status = encoder_check(p);
    for (size_t i = 0; !status && i < count; i++)
        y[i] = (double)half_to_float(x[i]);
    for (int l = 0; !status && l < p->layers; l++) {
        struct encoder_parts parts;
        status = encoder_parts_of(p, scheme, &h->frame, l, &parts);
        if (!status)
            status = layer_over(&p->layer, &h->weights[l], h->frame.cell, &parts, y, y);
        encoder_parts_free(&parts);
    }
    return status;
}
