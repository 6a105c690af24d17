/*
 * encoder_operands.c - frames, weights and rows of all operand sets.
 *
 * Weights are drawn as an untrained network has them, uniform within Xavier's bound; so are biases
 * and what belongs to the norms, which an untrained network has as 0 and 1: errors there would
 * hide.  All are rounded to half once, so that every row, whatever it stores, computes with the same
 * numbers.  Sets hold mirror images of one scene and different rows.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../harness/error.h"
#include "../../harness/sha.h"
#include "../../kernels/common/half.h"
#include "encoder_part.h"

size_t encoder_operands_rows(const struct encoder_operands *o)
{
    return (size_t)o->p.layer.n * (size_t)(o->p.layer.heads * o->p.layer.head);
}

static size_t slot_count(const struct encoder_operands *o)
{
    return (size_t)FLATTEN_ORDERS * (size_t)o->p.layer.slots;
}

static size_t rank_count(const struct encoder_operands *o)
{
    return (size_t)FLATTEN_ORDERS * (size_t)o->p.layer.n;
}

static size_t weight_count(const struct encoder_operands *o)
{
    return (size_t)o->p.layers * encoder_offsets_of(&o->p.layer).count;
}

/* ---- weights ---- */

static float drawn(const struct encoder_operands *o, size_t i, double middle, double reach)
{
    const float u = cb_random_at(CB_UNIFORM, o->seed, ENCODER_TENSOR_WEIGHT, 0, i);
    return half_to_float(half_from_float((float)(middle + reach * (double)u)));
}

/* Numbers first .. past - 1 of all weights. */
static void draw(struct encoder_operands *o, size_t first, size_t past, double middle, double reach)
{
    for (size_t i = first; i < past; i++)
        o->number[i] = drawn(o, i, middle, reach);
}

static void draw_layer(struct encoder_operands *o, size_t base)
{
    const struct encoder_offsets at = encoder_offsets_of(&o->p.layer);
    const size_t c = (size_t)(o->p.layer.heads * o->p.layer.head), h = (size_t)o->p.layer.hidden;
    const double bias = 0.1, gain = 0.2;
    draw(o, base + at.qkv, base + at.qkv_bias, 0, sqrt(6.0 / (double)(4 * c)));
    draw(o, base + at.qkv_bias, base + at.out, 0, bias);
    draw(o, base + at.out, base + at.out_bias, 0, sqrt(6.0 / (double)(2 * c)));
    draw(o, base + at.out_bias, base + at.norm1, 0, bias);
    draw(o, base + at.norm1, base + at.norm1 + c, 1, gain);
    draw(o, base + at.norm1 + c, base + at.norm2, 0, bias);
    draw(o, base + at.norm2, base + at.norm2 + c, 1, gain);
    draw(o, base + at.norm2 + c, base + at.fc1, 0, bias);
    draw(o, base + at.fc1, base + at.fc1_bias, 0, sqrt(6.0 / (double)(c + h)));
    draw(o, base + at.fc1_bias, base + at.fc2, 0, bias);
    draw(o, base + at.fc2, base + at.fc2_bias, 0, sqrt(6.0 / (double)(c + h)));
    draw(o, base + at.fc2_bias, base + at.count, 0, bias);
}

static int make_weights(struct encoder_operands *o)
{
    const size_t count = encoder_offsets_of(&o->p.layer).count;
    o->number = malloc(weight_count(o) * sizeof *o->number);
    if (!o->number)
        return cb_error("no memory for weights");
    for (int l = 0; l < o->p.layers; l++) {
        draw_layer(o, (size_t)l * count);
        o->weights[l] = encoder_weights_at(&o->p.layer, o->number + (size_t)l * count);
    }
    return 0;
}

/* ---- frames ---- */

static int order_scene(const struct encoder_operands *o, struct encoder_scene *s)
{
    s->slot = malloc(slot_count(o) * sizeof *s->slot);
    s->rank = malloc(rank_count(o) * sizeof *s->rank);
    if (!s->slot || !s->rank)
        return cb_error("no memory for orders");
    const struct flatten_args a = { s->pillars.cell, s->slot, s->rank };
    return op_result(flatten_reference(&o->cut, &a, NULL, NULL), "flatten", "reference");
}

static int scene_of(struct encoder_operands *o, int set)
{
    struct encoder_scene *s = &o->scene[set % ENCODER_SCENES];
    if (s->slot)
        return 0;
    if (set && pillars_mirror(&o->scene[0].pillars, set & 1, set & 2, &s->pillars))
        return -1;
    return order_scene(o, s);
}

int encoder_operands_open(struct encoder_operands *o, int frames, int frame, int pillars)
{
    struct pillars *p = &o->scene[0].pillars;
    if (pillars_generate(frames, (uint64_t)frame, pillars, p))
        return -1;
    o->cut.n = p->n;
    o->p.layer = (struct group_attn_problem){ p->n, flatten_slots(&o->cut), flatten_group(&o->cut),
                                              ENCODER_PUBLISHED_HEADS, ENCODER_PUBLISHED_HEAD,
                                              ENCODER_PUBLISHED_HIDDEN };
    if (op_result(flatten_check(&o->cut), "encoder", "groups") ||
        op_result(encoder_check(&o->p), "encoder", "problem") ||
        cb_sha256(p->cell, (size_t)p->n * sizeof *p->cell, o->sha256))
        return -1;
    return scene_of(o, 0) || make_weights(o) ? -1 : 0;
}

/* ---- on the device ---- */

static int put(const struct encoder_operands *o, struct op_sets *to, int set, const void *from,
               size_t bytes)
{
    return cb_alloc(o->device, bytes, &to->set[set]) ||
                   (from && cb_upload(o->device, to->set[set], from, bytes))
               ? -1
               : 0;
}

int encoder_operands_make(struct encoder_operands *o, int sets)
{
    const size_t rows = encoder_operands_rows(o), weights = weight_count(o);
    struct op_sets *const all[] = { &o->cell, &o->slot, &o->rank, &o->weight, &o->x, &o->y };
    half_bits *half = malloc(weights * sizeof *half);
    int status = half ? 0 : cb_error("no memory for weights");
    for (int i = 0; !status && i < 6; i++)
        status = op_sets_open(all[i], sets);
    for (size_t i = 0; half && i < weights; i++)
        half[i] = half_from_float(o->number[i]);
    for (int s = 0; !status && s < sets; s++) {
        const struct encoder_scene *scene = &o->scene[s % ENCODER_SCENES];
        status = scene_of(o, s % ENCODER_SCENES) ||
                 put(o, &o->cell, s, scene->pillars.cell,
                     (size_t)o->p.layer.n * sizeof *scene->pillars.cell) ||
                 put(o, &o->slot, s, scene->slot, slot_count(o) * sizeof *scene->slot) ||
                 put(o, &o->rank, s, scene->rank, rank_count(o) * sizeof *scene->rank) ||
                 put(o, &o->weight, s, half, weights * sizeof *half) ||
                 put(o, &o->x, s, NULL, 2 * rows) || put(o, &o->y, s, NULL, 2 * rows) ||
                 cb_random(o->device, o->x.set[s], CB_F16, CB_NORMAL, o->seed, ENCODER_TENSOR_X,
                           (uint32_t)s, o->p.layer.n, (long)rows / o->p.layer.n, false);
    }
    if (!status)
        status = cb_sync(o->device); /* uploads read what is freed now */
    free(half);
    return status ? -1 : 0;
}

void encoder_operands_close(struct encoder_operands *o)
{
    struct op_sets *const all[] = { &o->cell, &o->slot, &o->rank, &o->weight, &o->x, &o->y };
    for (int i = 0; i < 6; i++)
        op_sets_close(o->device, all[i]);
    for (int i = 0; i < ENCODER_SCENES; i++) {
        pillars_free(&o->scene[i].pillars);
        free(o->scene[i].slot);
        free(o->scene[i].rank);
    }
    free(o->number);
    *o = (struct encoder_operands){ 0 };
}

struct encoder_host encoder_operands_host(const struct encoder_operands *o, int set)
{
    const struct encoder_scene *s = &o->scene[set % ENCODER_SCENES];
    return (struct encoder_host){ { s->pillars.cell, s->slot, s->rank }, o->weights };
}

struct encoder_args encoder_operands_at(const struct encoder_operands *o, int set)
{
    return (struct encoder_args){ { o->cell.set[set], o->slot.set[set], o->rank.set[set] },
                                  o->weight.set[set], o->x.set[set], o->y.set[set] };
}
