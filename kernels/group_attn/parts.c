/* parts.c - which rows attend to each other, and where the weights of a layer lie. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "group_attn.h"

enum op_status encoder_check(const struct encoder_problem *p)
{
    if (group_attn_check(&p->layer) != OP_OK || p->side < 1 || p->window < 1)
        return OP_EINVAL;
    if (p->window > p->side || (int64_t)p->side * p->side > FLATTEN_CELLS_MAX)
        return OP_EINVAL;
    return p->layers < 1 || p->layers > ENCODER_LAYERS_MAX ? OP_EINVAL : OP_OK;
}

/* ---- weights ---- */

struct encoder_offsets encoder_offsets_of(const struct group_attn_problem *p)
{
    const size_t c = (size_t)p->heads * (size_t)p->head, h = (size_t)p->hidden;
    struct encoder_offsets o = { .qkv = 0 };
    o.qkv_bias = o.qkv + 3 * c * c;
    o.out = o.qkv_bias + 3 * c;
    o.out_bias = o.out + c * c;
    o.norm1 = o.out_bias + c;
    o.norm2 = o.norm1 + 2 * c;
    o.fc1 = o.norm2 + 2 * c;
    o.fc1_bias = o.fc1 + h * c;
    o.fc2 = o.fc1_bias + h;
    o.fc2_bias = o.fc2 + c * h;
    o.count = o.fc2_bias + c;
    return o;
}

struct encoder_weights encoder_weights_at(const struct group_attn_problem *p, const float *base)
{
    const struct encoder_offsets o = encoder_offsets_of(p);
    return (struct encoder_weights){ base + o.qkv,   base + o.qkv_bias, base + o.out,
                                     base + o.out_bias, base + o.norm1, base + o.norm2,
                                     base + o.fc1,   base + o.fc1_bias, base + o.fc2,
                                     base + o.fc2_bias };
}

void encoder_embed_table(int side, int channels, float *table)
{
    const int half = channels / 2;
    for (int at = 0; at < side; at++)
        for (int i = 0; i < half; i++) {
            const double angle = at / pow(10000, 2.0 * (i / 2) / half);
            table[(size_t)at * (size_t)half + (size_t)i] =
                (float)(i % 2 ? cos(angle) : sin(angle));
        }
}

/* ---- parts ---- */

void encoder_parts_free(struct encoder_parts *p)
{
    free(p->slot);
    free(p->begin);
    *p = (struct encoder_parts){ 0 };
}

static enum op_status groups(const struct encoder_problem *p, const struct encoder_frame *f,
                             int layer, struct encoder_parts *out)
{
    const int group = p->layer.group;
    memcpy(out->slot, f->slot + (size_t)(layer % FLATTEN_ORDERS) * (size_t)out->slots,
           (size_t)out->slots * sizeof *out->slot);
    for (int i = 0; i <= out->count; i++)
        out->begin[i] = i * group;
    return OP_OK;
}

/* Window of a cell: odd layers have windows shifted by half a side. */
static int window_of(const struct encoder_problem *p, int layer, int across, struct flatten_cell c)
{
    const int shift = layer % 2 ? p->window / 2 : 0;
    return (c.y + shift) / p->window * across + (c.x + shift) / p->window;
}

/* Counting sort: rows of a window stay in their order; windows without rows are no parts. */
static enum op_status windows(const struct encoder_problem *p, const struct encoder_frame *f,
                              int layer, struct encoder_parts *out)
{
    const int across = (p->side + p->window - 1) / p->window + 1, all = across * across;
    int32_t *first = calloc((size_t)all + 1, sizeof *first);
    if (!first)
        return OP_ENOMEM;
    for (int i = 0; i < p->layer.n; i++)
        first[window_of(p, layer, across, f->cell[i]) + 1]++;
    out->count = 0;
    for (int w = 0; w < all; w++) {
        if (first[w + 1])
            out->begin[out->count++] = first[w];
        first[w + 1] += first[w];
    }
    out->begin[out->count] = p->layer.n;
    for (int i = 0; i < p->layer.n; i++)
        out->slot[first[window_of(p, layer, across, f->cell[i])]++] = i;
    free(first);
    return OP_OK;
}

enum op_status encoder_parts_of(const struct encoder_problem *p, enum encoder_scheme scheme,
                                const struct encoder_frame *host, int layer,
                                struct encoder_parts *out)
{
    const int grouped = scheme == ENCODER_GROUPS;
    *out = (struct encoder_parts){ .slots = grouped ? p->layer.slots : p->layer.n };
    out->count = grouped ? out->slots / p->layer.group : out->slots; /* at most */
    out->slot = malloc((size_t)out->slots * sizeof *out->slot);
    out->begin = malloc(((size_t)out->count + 1) * sizeof *out->begin);
    enum op_status status = OP_ENOMEM;
    if (out->slot && out->begin)
        status = (grouped ? groups : windows)(p, host, layer, out);
    if (status)
        encoder_parts_free(out);
    return status;
}
