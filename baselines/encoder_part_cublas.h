/* encoder_part_cublas.h - what set-up and run of the encoder with cuBLAS share. */
#ifndef BASELINES_ENCODER_PART_CUBLAS_H
#define BASELINES_ENCODER_PART_CUBLAS_H

#include "attend_cublas.h"
#include "encoder_cublas.h"
#include "linear_cublas.h"

enum { C = ENCODER_CHANNELS, HALVES = 6, WIDE = 6 }; /* the latter: parts of buffers */

struct encoder_form {
    enum encoder_scheme scheme;
    int published, padded, flash;
};

/* Whether rows stay in groups until the end of a layer. */
static inline int keeps_groups(const struct encoder_form *f)
{
    return f->published && !f->padded;
}

/* Bytes of each are at least what the set needs. */
struct encoder_buffers {
    size_t tokens, score_bytes; /* for so many */
    void *half;  /* [HALVES][tokens][C]: x, xe and o, qkv; later a, hidden; published: three
                  * operands, qkv */
    void *row;   /* [n][C], half or float: x between layers */
    void *split, *score; /* attention by batched products */
    float *embedding, *wide; /* published: [n][C]; [WIDE][tokens][C] */
    float *padded[2];        /* and SST: embedding [tokens][C] of windows, of shifted ones */
};

/* Layers of one kind: of the same order, or with the same windows. */
struct encoder_kind {
    struct encoder_tokens tokens; /* counts and buckets; its arrays are freed */
    struct encoder_on_device device;
    const int32_t *token; /* SST: [n] of each row */
    struct linear qk, v, out, fc1, fc2; /* published: qk is q, k or v alone */
};

struct encoder_state {
    struct encoder_form form;
    int owner; /* of the library and the handle */
    struct linear_library library;
    cublasHandle_t handle;
    int kinds;
    struct encoder_kind kind[FLATTEN_ORDERS];
    struct encoder_buffers b;
    const void *table;         /* half [side][C / 2] */
    const int32_t *pad, *keep; /* published: [slots] place in the order, [n] slot */
};

/* Part i of the half buffer. */
static inline void *half_at(const struct encoder_state *v, int i)
{
    return (uint16_t *)v->b.half + (size_t)i * v->b.tokens * C;
}

static inline float *wide_at(const struct encoder_state *v, int i)
{
    return v->b.wide + (size_t)i * v->b.tokens * C;
}

static inline const void *weight_at(const struct encoder_args *a, size_t layer_at, size_t at)
{
    return (const uint16_t *)a->weight + layer_at + at;
}

#endif
