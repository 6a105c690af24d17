/* ref.c - boxes by their definition, on the host. */
#include <stdlib.h>

#include "box.h"

const struct boxes_rules boxes_rules[BEV_NETS] = {
    [BEV_FLATFORMER] = { .cell = .32f, .origin = -74.88f, .threshold = .1f, .lowest = -2.2f,
                         .groups = 3, .offset = 0, .height = 2, .size = 3, .rotation = 6, .iou = 10,
                         .heat = 11, .before = { 2048, 1024, 1024 }, .after = { 300, 100, 100 },
                         .overlap = { .8f, .55f, .55f } },
    [BEV_CENTERPOINT] = { .cell = .8f, .origin = -75.2f, .threshold = .1f, .lowest = -2.2f,
                          .groups = 1, .offset = 0, .height = 2, .size = 3, .rotation = 6,
                          .iou = -1, .heat = 8, .before = { 4096 }, .after = { 500 }, .overlap = { .7f } },
};

struct candidate {
    float score;
    int index, label;
};

enum op_status boxes_check(const struct boxes_problem *p)
{
    return p->side < 1 || p->side > 2048 || (unsigned)p->net >= BEV_NETS ? OP_EINVAL : OP_OK;
}

int boxes_at(enum bev_net net, int group)
{
    int at = 0;
    for (int g = 0; g < group; g++)
        at += boxes_rules[net].after[g];
    return at;
}

int boxes_most(enum bev_net net)
{
    return boxes_at(net, boxes_rules[net].groups);
}

static int in_order(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;
    if (a->score != b->score)
        return a->score < b->score ? 1 : -1;
    return (a->index > b->index) - (a->index < b->index);
}

static int collect(const struct boxes_problem *p, const half_bits *map, struct candidate *list)
{
    const struct boxes_rules *r = &boxes_rules[p->net];
    const int cells = p->side * p->side, out = bev_shapes[p->net].out;
    int n = 0;
    for (int cell = 0; cell < cells; cell++) {
        struct candidate best = { 0, cell, 0 };
        for (int k = 0; k < BOXES_CLASSES; k++) {
            const float score = box_score_of(r, map + (size_t)cell * (size_t)out, k);
            if (r->groups > 1 && score > r->threshold)
                list[n++] = (struct candidate){ score, k * cells + cell, k };
            else if (score > best.score)
                best = (struct candidate){ score, cell, k };
        }
        if (r->groups == 1 && best.score > r->threshold)
            list[n++] = best;
    }
    qsort(list, (size_t)n, sizeof *list, in_order);
    return n;
}

/* Those of a group, in order. */
static int decode(const struct boxes_problem *p, const half_bits *map, const struct candidate *list,
                  int n, int group, struct boxes_box *box)
{
    const struct boxes_rules *r = &boxes_rules[p->net];
    const int cells = p->side * p->side, out = bev_shapes[p->net].out;
    int found = 0;
    for (int i = 0; i < n && i < BOXES_TOP && found < r->before[group]; i++) {
        const int cell = list[i].index % cells;
        if (r->groups == 1 || list[i].label == group)
            box[found++] = box_decode(r, map + (size_t)cell * (size_t)out, cell % p->side,
                                      cell / p->side, list[i].label, list[i].score);
    }
    return found;
}

static int suppress(const struct boxes_box *box, int n, float limit, int most,
                    struct boxes_box *out)
{
    int kept = 0;
    for (int i = 0; i < n && kept < most; i++) {
        int stays = 1;
        for (int k = 0; k < kept && stays; k++)
            stays = !box_overlaps(&out[k], &box[i], limit);
        if (stays)
            out[kept++] = box[i];
    }
    return kept;
}

enum op_status boxes_reference(const struct boxes_problem *p, const struct boxes_args *a,
                               int *candidates)
{
    if (boxes_check(p) != OP_OK)
        return OP_EINVAL;
    const struct boxes_rules *r = &boxes_rules[p->net];
    const size_t most = (size_t)p->side * (size_t)p->side * BOXES_CLASSES;
    struct candidate *list = malloc(most * sizeof *list);
    struct boxes_box *box = malloc(BOXES_TOP * sizeof *box);
    if (list && box) {
        const int n = collect(p, a->map, list);
        if (candidates)
            *candidates = n;
        for (int g = 0; g < BOXES_GROUPS; g++) {
            const int found = g < r->groups ? decode(p, a->map, list, n, g, box) : 0;
            a->count[g] = suppress(box, found, r->overlap[g], r->after[g],
                                   a->box + boxes_at(p->net, g < r->groups ? g : 0));
        }
    }
    const enum op_status status = list && box ? OP_OK : OP_ENOMEM;
    free(list);
    free(box);
    return status;
}

static enum op_status run(const struct boxes_problem *p, const struct boxes_args *a, void *state,
                          op_stream s)
{
    (void)state, (void)s;
    return boxes_reference(p, a, NULL);
}

const struct boxes_impl boxes_references[] = {
    { .base = { .name = "ref_boxes", .title = "definition, host", .role = OP_REFERENCE,
                .origin = "sorted, then box by box" },
      .run = run },
    { .base = { .name = NULL } },
};
