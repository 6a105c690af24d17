/*
 * test_boxes.c - arithmetic of boxes against double, their definition on maps that can be followed
 * by hand, equal scores, limits of numbers, generated maps, sets of operands.
 */
#include <math.h>
#include <stdlib.h>

#include "../harness/params.h"
#include "../kernels/boxes/box.h"
#include "../suites/data/build.h"
#include "../suites/ops/head_map.h"
#include "../suites/ops/ops.h"
#include "test.h"

enum { SIDE = 40, OUT = 14 };

static half_bits map[SIDE * SIDE * OUT];
static int32_t count[BOXES_GROUPS];
static struct boxes_box box[BOXES_RESULT];

static int run(enum bev_net net, int side)
{
    const struct boxes_problem p = { side, net };
    const struct boxes_args a = { map, count, box };
    int candidates = -1;
    CHECK(boxes_reference(&p, &a, &candidates) == OP_OK);
    return candidates;
}

static void numbers(void)
{
    double worst = 0;
    for (int i = -8000; i <= 8000; i++) {
        const double x = i / 100., want = exp(x);
        worst = fmax(worst, fabs(box_exp((float)x) - exp((double)(float)x)) / want);
    }
    CHECK(worst < 4e-7);
    CHECK(box_exp(1000) == box_exp(80) && box_exp(-1000) == box_exp(-80) && box_exp(0) == 1);
    CHECK_NEAR(box_sigmoid(1), 1 / (1 + exp(-1)), 1e-7);
    for (int n = 0; n < BEV_NETS; n++) {
        const struct boxes_rules *r = &boxes_rules[n];
        CHECK(box_score(r->lowest, 1) < r->threshold); /* what is left out has no candidate */
        CHECK(boxes_most(n) <= BOXES_RESULT && bev_shapes[n].out <= OUT);
        CHECK(bev_shapes[n].branch_at[0] == r->offset && bev_shapes[n].branch_at[1] == r->height &&
              bev_shapes[n].branch_at[2] == r->size && bev_shapes[n].branch_at[3] == r->rotation);
        CHECK(bev_shapes[n].branch_at[bev_shapes[n].branches - 1] == r->heat);
        CHECK(r->iou < 0 || r->iou == bev_shapes[n].branch_at[bev_shapes[n].branches - 2]);
    }
}

/* ---- area, by corners cut off, in double ---- */

struct point {
    double x, y;
};

static int cut(const struct point *in, int n, double a, double b, double c, struct point *out)
{
    int m = 0;
    for (int i = 0; i < n; i++) {
        const struct point p = in[i], q = in[(i + 1) % n];
        const double u = a * p.x + b * p.y - c, v = a * q.x + b * q.y - c;
        if (u <= 0)
            out[m++] = p;
        if ((u < 0 && v > 0) || (u > 0 && v < 0))
            out[m++] = (struct point){ p.x + (q.x - p.x) * u / (u - v),
                                       p.y + (q.y - p.y) * u / (u - v) };
    }
    return m;
}

static double shared(const struct boxes_box *a, const struct boxes_box *b)
{
    static const int sign[4][2] = { { 1, 1 }, { -1, 1 }, { -1, -1 }, { 1, -1 } };
    struct point p[16], q[16];
    int n = 4;
    for (int i = 0; i < 4; i++) {
        const double u = sign[i][0] * .5 * b->length, v = sign[i][1] * .5 * b->width;
        p[i] = (struct point){ b->x + u * b->cosine - v * b->sine,
                               b->y + u * b->sine + v * b->cosine };
    }
    for (int i = 0; i < 4; i++) {
        const double angle = i < 2 ? 1 : -1, along = i % 2 ? a->width : a->length;
        const double nx = angle * (i % 2 ? -a->sine : a->cosine);
        const double ny = angle * (i % 2 ? a->cosine : a->sine);
        n = cut(p, n, nx, ny, nx * a->x + ny * a->y + .5 * along, q);
        memcpy(p, q, sizeof p);
    }
    double area = 0;
    for (int i = 0; i < n; i++)
        area += .5 * (p[i].x * p[(i + 1) % n].y - p[(i + 1) % n].x * p[i].y);
    return n ? area : 0;
}

static struct boxes_box random_box(int i, int k)
{
    const float angle = 3.2f * data_value(5, i, k);
    return (struct boxes_box){ .x = 50 + 3 * data_value(1, i, k), .y = 3 * data_value(2, i, k) - 60,
                               .length = expf(1.5f * data_value(3, i, k)),
                               .width = expf(data_value(4, i, k)), .sine = sinf(angle),
                               .cosine = cosf(angle) };
}

static void areas(void)
{
    long bad = 0, meet = 0, apart = 0, same = 0;
    for (int i = 0; i < 20000; i++) {
        const struct boxes_box a = random_box(i, 0), b = random_box(i, 1);
        const double want = shared(&a, &b);
        bad += !(fabs(box_shared(&a, &b) - want) <= 2e-4 * (1 + want));
        meet += want > .1;
        if (box_apart(&a, &b)) {
            apart++;
            bad += want > 0;
        }
        same += fabs(box_shared(&a, &a) - a.length * a.width) <= 2e-5 * a.length * a.width;
    }
    CHECK(bad == 0 && meet > 2000 && apart > 500 && same == 20000);
    struct boxes_box a = { .length = 4, .width = 2, .cosine = 1 }, b = a;
    CHECK(box_shared(&a, &b) == 8 && box_overlaps(&a, &b, .999f) && !box_overlaps(&a, &b, 1));
    b.x = 4; /* side by side */
    CHECK(box_shared(&a, &b) == 0 && !box_overlaps(&a, &b, 0));
    b.x = 2; /* a third of the union: not more than that */
    CHECK(box_shared(&a, &b) == 4 && box_overlaps(&a, &b, .33f) && !box_overlaps(&a, &b, .34f));
    b.x = 0, b.sine = 1, b.cosine = 0; /* across: 2 x 2 */
    CHECK(box_shared(&a, &b) == 4);
    b.length = b.width = .5f; /* inside */
    CHECK_NEAR(box_shared(&a, &b), .25, 1e-7);
}

/* ---- maps ---- */

/* No candidates; of every cell a box of 1 m without an angle. */
static void clear(enum bev_net net, int side)
{
    const struct boxes_rules *r = &boxes_rules[net];
    const int out = bev_shapes[net].out;
    memset(map, 0, sizeof map);
    for (int i = 0; i < side * side; i++) {
        for (int k = 0; k < BOXES_CLASSES; k++)
            map[i * out + r->heat + k] = half_from_float(-9);
        map[i * out + r->rotation + 1] = half_from_float(2);
        if (r->iou >= 0)
            map[i * out + r->iou] = half_from_float(1);
    }
}

static void put(enum bev_net net, int cell, int channel, float v)
{
    map[cell * bev_shapes[net].out + channel] = half_from_float(v);
}

static void by_hand(void)
{
    const struct boxes_rules *r = &boxes_rules[BEV_FLATFORMER];
    const enum bev_net net = BEV_FLATFORMER;
    clear(net, SIDE);
    CHECK(run(net, SIDE) == 0 && !count[0] && !count[1] && !count[2]);
    const int at = 7 * SIDE + 9;
    put(net, at, r->heat, 2);
    put(net, at, r->heat + 2, 1);
    put(net, at, r->offset, .5f);
    put(net, at, r->offset + 1, .25f);
    put(net, at, r->height, 1.5f);
    put(net, at, r->size, 1);
    put(net, at, r->iou, .5f);
    CHECK(run(net, SIDE) == 2 && count[0] == 1 && !count[1] && count[2] == 1);
    CHECK_NEAR(box[0].score, .25 / (1 + exp(-2)), 1e-6);
    CHECK_NEAR(box[0].x, 9.5 * .32 - 74.88, 1e-5);
    CHECK_NEAR(box[0].y, 7.25 * .32 - 74.88, 1e-5);
    CHECK_NEAR(box[0].length, exp(1), 1e-6);
    CHECK(box[0].z == 1.5f && box[0].width == 1 && box[0].sine == 0 && box[0].cosine == 1);
    CHECK(box[0].label == 0 && box[boxes_at(net, 2)].label == 2);
    put(net, at, r->iou, -1); /* no candidate */
    CHECK(run(net, SIDE) == 0);
    put(net, at, r->iou, 7); /* as 1 */
    put(net, at, r->rotation, 3);
    put(net, at, r->rotation + 1, -4);
    CHECK(run(net, SIDE) == 2);
    CHECK_NEAR(box[0].score, 1 / (1 + exp(-2)), 1e-6);
    CHECK_NEAR(box[0].sine, .6, 1e-7);
    CHECK_NEAR(box[0].cosine, -.8, 1e-7);
    put(net, at + 1, r->heat, 1); /* behind it, but of 0.32 m to the right: two thirds are shared */
    put(net, at + 1, r->size, 1);
    put(net, at + 1, r->offset, -.5f); /* at its place */
    put(net, at + 1, r->offset + 1, .25f);
    put(net, at + 1, r->rotation, 3);
    put(net, at + 1, r->rotation + 1, -4);
    CHECK(run(net, SIDE) == 3 && count[0] == 1);
    put(net, at + 1, r->offset, 30); /* far away */
    CHECK(run(net, SIDE) == 3 && count[0] == 2 && box[1].score < box[0].score);
    put(net, at + 1, r->heat, 3); /* in front */
    CHECK(run(net, SIDE) == 3 && count[0] == 2 && box[0].x > box[1].x);
}

/* One class of a cell, the first of equal ones; one suppression for all. */
static void agnostic(void)
{
    const enum bev_net net = BEV_CENTERPOINT;
    const struct boxes_rules *r = &boxes_rules[net];
    clear(net, SIDE);
    put(net, 5, r->heat + 1, 1);
    put(net, 5, r->heat + 2, 1);
    put(net, 6, r->heat, 0);
    put(net, 6, r->offset, -1); /* where the first is */
    CHECK(run(net, SIDE) == 2 && count[0] == 1 && !count[1] && !count[2] && box[0].label == 1);
    put(net, 6, r->offset, 0);
    CHECK(run(net, SIDE) == 2 && count[0] == 2 && box[1].label == 0);
}

/* Equal scores go by index; no more than there may be. */
static void equal(void)
{
    const enum bev_net net = BEV_FLATFORMER;
    const struct boxes_rules *r = &boxes_rules[net];
    clear(net, SIDE);
    for (int i = 0; i < SIDE * SIDE; i++) {
        put(net, i, r->heat, 1);
        for (int k = 0; k < 3; k++)
            put(net, i, r->size + k, -3); /* 5 cm: none overlap */
    }
    CHECK(run(net, SIDE) == SIDE * SIDE && count[0] == r->after[0]);
    int order = 1;
    for (int i = 0; i < count[0]; i++)
        order &= fabs(box[i].x - (i % SIDE * .32 - 74.88)) < 1e-4 &&
                 fabs(box[i].y - (i / SIDE * .32 - 74.88)) < 1e-4;
    CHECK(order);
    for (int i = 0; i < SIDE * SIDE; i++)
        for (int k = 0; k < 3; k++)
            put(net, i, r->heat + k, 1); /* 4800: the first class whole, some of the third not */
    CHECK(run(net, SIDE) == 3 * SIDE * SIDE && count[1] == 100 && count[2] == 100);
}

static void generated(void)
{
    static const int objects[] = { 0, 20, 400 };
    int before = 0;
    for (int n = 0; n < BEV_NETS; n++)
        for (int i = 0; i < 3; i++) {
            head_map_generate(n, SIDE, objects[i], 3, map);
            const int candidates = run(n, SIDE), all = count[0] + count[1] + count[2];
            CHECK(!i ? !candidates && !all : candidates > 2 * all && all >= 5);
            CHECK(i < 2 || all > before);
            before = all;
        }
    CHECK(boxes_reference(&(struct boxes_problem){ 0, 0 }, NULL, NULL) == OP_EINVAL);
    CHECK(boxes_check(&(struct boxes_problem){ 2049, 0 }) == OP_EINVAL);
}

/* Operand sets: as many maps as the operator makes, then the same again; each with its own boxes. */
static void rotating(void)
{
    enum { SETS = 6 };
    struct cb_context c = { .seed = 3, .aa = -1 };
    void *instance = NULL, *bound = NULL, *params = calloc(1, op_boxes.params_size);
    json_t *given = json_pack("{s:i,s:i}", "side", 40, "objects", 9);
    struct cb_accuracy r1, r2;
    double limit;
    CHECK(!cb_device_open("host", &c.device) && !cb_params_from_json(&op_boxes, given, params));
    CHECK(!op_boxes.open(&c, params, &instance) && !op_boxes.prepare(&c, instance, 1, SETS));
    CHECK(!op_boxes.bind(&c, instance, op_boxes.impl(0), &bound)); /* the reference */
    struct cb_region got[SETS][1 + BOXES_GROUPS];
    for (int set = 0; set < SETS; set++) {
        CHECK(!op_boxes.run(bound, 0, set));
        CHECK(!op_boxes.check(&c, bound, 0, set, &r1, &r2, &limit) && !r1.bad && r1.compared > 3);
        CHECK(op_boxes.outputs(bound, 0, set, got[set], 1 + BOXES_GROUPS) > 1);
    }
    CHECK(memcmp(got[0][1].data, got[1][1].data, sizeof(struct boxes_box)));
    CHECK(!memcmp(got[0][1].data, got[4][1].data, got[0][1].bytes));
    CHECK(!memcmp(got[1][1].data, got[5][1].data, got[1][1].bytes));
    op_boxes.unbind(bound);
    op_boxes.close(instance);
    cb_device_close(c.device);
    json_decref(given);
    free(params);
}

int main(void)
{
    numbers();
    areas();
    by_hand();
    agnostic();
    equal();
    generated();
    rotating();
    return TEST_END();
}
