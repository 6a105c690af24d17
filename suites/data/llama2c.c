/*
 * llama2c.c - checkpoints of the llama2.c project.
 *
 *   byte  0  int32 dim, hidden, layers, heads, kv heads, vocabulary, context
 *            (a negative vocabulary: the output matrix is not the embedding)
 *        28  float32, rows are output channels, L = layers:
 *            embedding [vocabulary][dim]
 *            attention norm [L][dim]
 *            wq [L][dim][dim]  wk [L][kv][dim]  wv [L][kv][dim]  wo [L][dim][dim]
 *            feed-forward norm [L][dim]
 *            gate [L][hidden][dim]  down [L][dim][hidden]  up [L][hidden][dim]
 *            norm [dim]
 *            two tables of the rotation, [context][head size / 2] each, not used
 *            output [vocabulary][dim], unless it is the embedding
 *
 * All else is fixed: rotation of adjacent pairs, base 10000, epsilon 1e-5.
 */
#include "llama2c.h"

#include <limits.h>
#include <string.h>

#include "../../harness/error.h"
#include "alloc.h"
#include "build.h"

enum { HEADER = 28 };

struct cursor {
    const unsigned char *data;
    uint64_t at;
};

/* Products stay below 2^52: every size has passed checkpoint_check_config. */
static struct tensor next(struct cursor *p, int rows, int cols)
{
    struct tensor t = { .dtype = TENSOR_F32, .rows = rows, .cols = cols, .data = p->data + p->at };
    p->at += 4 * (uint64_t)rows * (uint64_t)cols;
    return t;
}

static uint64_t expected(const struct llama_config *c)
{
    uint64_t n = (uint64_t)c->vocab * (uint64_t)c->dim * (c->tied ? 1 : 2) + (uint64_t)c->dim +
                 (uint64_t)c->context * (uint64_t)c->head_dim, layer = 0;
    for (int s = 0; s < SLOT_Q_BIAS; s++) {
        int rows, cols;
        checkpoint_slot_shape(c, s, &rows, &cols);
        layer += (uint64_t)rows * (uint64_t)cols;
    }
    return HEADER + 4 * (n + layer * (uint64_t)c->layers);
}

int llama2c_parse(const char *name, const void *data, size_t size, struct checkpoint *out)
{
    static const enum checkpoint_slot order[] = { SLOT_ATTN_NORM, SLOT_Q,    SLOT_K,
                                                  SLOT_V,         SLOT_O,    SLOT_FFN_NORM,
                                                  SLOT_GATE,      SLOT_DOWN, SLOT_UP };
    int32_t head[7];
    *out = (struct checkpoint){ 0 };
    if (size < HEADER)
        return cb_error("%s: %zu bytes: shorter than the header of a llama2.c checkpoint", name,
                        size);
    memcpy(head, data, sizeof head);
    if (!memcmp(data, "24ka", 4))
        return cb_error("%s: byte 0: a later version of the llama2.c format, which is not read",
                        name);
    struct llama_config *c = &out->config;
    const int heads = head[3];
    *c = (struct llama_config){
        .dim = head[0], .hidden = head[1], .layers = head[2], .heads = heads, .kv_heads = head[4],
        .vocab = head[5] > 0 ? head[5] : head[5] == INT32_MIN ? INT_MAX : -head[5],
        .context = head[6], .tied = head[5] > 0, .norm_eps = 1e-5, .rope_theta = 10000
    };
    if (heads > 0 && c->dim > 0) {
        if (c->dim % heads) {
            cb_error("%s: %d heads do not divide width %d", name, heads, c->dim);
            goto failed;
        }
        c->head_dim = c->dim / heads;
    }
    if (checkpoint_check_config(name, c))
        goto failed;
    if (expected(c) != size) {
        cb_error("%s: %zu bytes, but its header asks for %llu", name, size,
                 (unsigned long long)expected(c));
        goto failed;
    }
    out->layer = data_calloc((size_t)c->layers, sizeof *out->layer);
    if (!out->layer) {
        cb_error("%s: no memory for %d layers", name, c->layers);
        goto failed;
    }
    struct cursor p = { data, HEADER };
    out->embedding = next(&p, c->vocab, c->dim);
    for (size_t s = 0; s < sizeof order / sizeof *order; s++)
        for (int l = 0; l < c->layers; l++) {
            int rows, cols;
            checkpoint_slot_shape(c, order[s], &rows, &cols);
            out->layer[l][order[s]] = next(&p, rows, cols);
        }
    out->norm = next(&p, 1, c->dim);
    next(&p, c->context, c->head_dim);
    out->output = c->tied ? out->embedding : next(&p, c->vocab, c->dim);
    data_text(out->format, sizeof out->format, "llama2.c");
    return 0;
failed:
    checkpoint_free(out);
    return -1;
}
