/*
 * gpu_group_attn.c - our own attention in groups and our own encoder on the GPU, against double
 * precision of the host: sizes around groups, tiles of rows and shares of blocks, layers 1 to 8,
 * runs one after another and captured in a graph, results the same to the bit; planted faults,
 * which must be found.
 *
 * `gpu_group_attn quick` leaves out most sizes; `gpu_group_attn times` times the rows at the sizes
 * of the suite in place of testing them, by replays of a graph.
 */
#include <stdlib.h>
#include <time.h>

#include "../harness/device.h"
#include "../harness/error.h"
#include "../kernels/common/half.h"
#include "../kernels/group_attn/group_attn.h"
#include "../suites/data/build.h"
#include "../suites/data/pillars.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA

enum { HEADS = 8, HEAD = 16, C = HEADS * HEAD, HIDDEN = 256, TAKEN_MAX = 64 };

static const double LIMIT = 2e-3; /* of the whole result */
static const float ELEMENT = 0.05f;  /* of an element, where rows have a norm near 1 */

static int tried;

/* ---- device memory ---- */

struct pool {
    struct cb_device *d;
    void *taken[TAKEN_MAX];
    int count;
};

/* What it held before is not zero, as halves not a number. */
static void *take(void *context, size_t bytes)
{
    struct pool *p = context;
    void *got = NULL;
    if (p->count == TAKEN_MAX || cb_alloc(p->d, bytes, &got))
        return NULL;
    cb_fill(p->d, got, 0xff, bytes);
    p->taken[p->count++] = got;
    return got;
}

static void *give(struct pool *p, const void *from, size_t bytes)
{
    void *to = take(p, bytes);
    CHECK(to && !cb_upload(p->d, to, from, bytes));
    return to;
}

static void free_all(struct pool *p)
{
    for (int i = 0; i < p->count; i++)
        cb_free(p->d, p->taken[i]);
    p->count = 0;
}

/* ---- inputs ---- */

static double uniform(uint64_t seed, uint64_t stream, uint64_t i)
{
    return (double)(data_hash(seed, stream, i) >> 40) * 0x1p-23 - 1; /* [-1, 1) */
}

static half_bits normal(uint64_t seed, uint64_t stream, uint64_t i)
{
    double sum = 0;
    for (int k = 0; k < 4; k++)
        sum += uniform(seed, stream * 4 + (uint64_t)k, i);
    return half_from_float((float)(sum * 0.866));
}

/* A frame with everything an encoder needs, on the host. */
struct scene {
    struct encoder_problem p;
    struct flatten_cell *cell;
    int32_t *slot, *rank;
    float *number;
    struct encoder_weights weights[ENCODER_LAYERS_MAX];
    half_bits *x, *half_number;
};

static void free_scene(struct scene *s)
{
    free(s->cell);
    free(s->slot);
    free(s->rank);
    free(s->number);
    free(s->x);
    free(s->half_number);
}

/* As a network's: within Xavier's bound; gains near 1, biases not zero. */
static void make_weights(struct scene *s, uint64_t seed)
{
    const struct encoder_offsets at = encoder_offsets_of(&s->p.layer);
    const size_t ends[] = { at.qkv_bias, at.out, at.out_bias, at.norm1, at.norm2,
                            at.fc1, at.fc1_bias, at.fc2, at.fc2_bias, at.count };
    const double reach[] = { sqrt(6.0 / (4 * C)), 0.1, sqrt(6.0 / (2 * C)), 0.1, 0.2,
                             0.2, sqrt(6.0 / (C + HIDDEN)), 0.1, sqrt(6.0 / (C + HIDDEN)), 0.1 };
    for (int l = 0; l < s->p.layers; l++) {
        float *w = s->number + (size_t)l * at.count;
        int part = 0;
        for (size_t i = 0; i < at.count; i++) {
            part += i == ends[part];
            const int gain = (part == 4 && i < at.norm1 + C) || (part == 5 && i < at.norm2 + C);
            const double v = gain + reach[part] * uniform(seed + 5, (uint64_t)l, i);
            w[i] = half_to_float(half_from_float((float)v));
            s->half_number[(size_t)l * at.count + i] = half_from_float(w[i]);
        }
        s->weights[l] = encoder_weights_at(&s->p.layer, w);
    }
}

/* n cells of a grid at random, in raster order. */
static int make_scene(struct scene *s, int n, int side, int window, int group, int layers,
                      uint64_t seed)
{
    const struct flatten_problem cut = { n, side, window, group, FLATTEN_SERPENTINE };
    const int slots = flatten_slots(&cut);
    *s = (struct scene){ .p = { { n, slots, flatten_group(&cut), HEADS, HEAD, HIDDEN }, layers,
                                side, window } };
    const size_t numbers = encoder_offsets_of(&s->p.layer).count * (size_t)layers;
    s->cell = malloc((size_t)n * sizeof *s->cell);
    s->slot = malloc((size_t)slots * FLATTEN_ORDERS * sizeof *s->slot);
    s->rank = malloc((size_t)n * FLATTEN_ORDERS * sizeof *s->rank);
    s->number = malloc(numbers * sizeof *s->number);
    s->half_number = malloc(numbers * sizeof *s->half_number);
    s->x = malloc((size_t)n * C * sizeof *s->x);
    CHECK(s->cell && s->slot && s->rank && s->number && s->half_number && s->x);
    if (!s->cell || !s->slot || !s->rank || !s->number || !s->half_number || !s->x)
        return -1;
    for (int i = 0, left = n; i < side * side && left; i++) /* each set of cells as likely */
        if ((int)(data_hash(seed, 9, (uint64_t)i) % (uint64_t)(side * side - i)) < left)
            s->cell[n - left--] = (struct flatten_cell){ i % side, i / side };
    const struct flatten_args a = { s->cell, s->slot, s->rank };
    CHECK(flatten_reference(&cut, &a, NULL, NULL) == OP_OK);
    make_weights(s, seed);
    for (size_t i = 0; i < (size_t)n * C; i++)
        s->x[i] = normal(seed, 1, i);
    return 0;
}

/* ---- encoder ---- */

struct run {
    struct cb_device *d;
    const struct encoder_problem *p;
    const struct encoder_impl *impl;
    const struct encoder_args *a;
    void *state;
};

static int enqueue(void *context, int step)
{
    const struct run *r = context;
    (void)step;
    return r->impl->run(r->p, r->a, r->state, cb_device_stream(r->d)) == OP_OK ? 0 : -1;
}

static struct encoder_args upload(struct pool *m, const struct scene *s)
{
    const size_t n = (size_t)s->p.layer.n, slots = (size_t)s->p.layer.slots;
    const size_t numbers = encoder_offsets_of(&s->p.layer).count * (size_t)s->p.layers;
    return (struct encoder_args){
        { give(m, s->cell, n * sizeof *s->cell),
          give(m, s->slot, slots * FLATTEN_ORDERS * sizeof *s->slot),
          give(m, s->rank, n * FLATTEN_ORDERS * sizeof *s->rank) },
        give(m, s->half_number, 2 * numbers), give(m, s->x, 2 * n * C), take(m, 2 * n * C)
    };
}

static struct cb_accuracy judge(struct cb_device *d, const void *y, int n, const double *want,
                                const float *bound)
{
    const struct cb_view got = { y, CB_F16, n, C, false };
    struct cb_accuracy accuracy = { 0 };
    CHECK(!cb_sync(d) && !cb_compare(d, &got, want, bound, &accuracy));
    return accuracy;
}

static bool good(const struct cb_accuracy *a)
{
    return a->compared > 0 && !a->bad && !a->nonfinite && a->rel_fro <= LIMIT;
}

/* One row: twice, in a graph, and with faults. */
static void one_encoder(struct run *r, const struct scene *s, const struct encoder_host *h,
                        const double *want, const float *bound)
{
    struct pool memory = { .d = r->d };
    const struct op_memory op = { take, &memory };
    const size_t bytes = (size_t)s->p.layer.n * C * 2;
    const struct encoder_args a = *r->a;
    void *first = take(&memory, bytes);
    struct cb_graph *g = NULL;
    bool same = false;
    const enum op_status status = r->impl->setup(&s->p, h, &a, &op, cb_device_stream(r->d),
                                                 &r->state);
    CHECK(status == OP_OK);
    for (int again = 0; !status && again < 3; again++) {
        CHECK(!cb_fill(r->d, a.y, 0xff, bytes));
        if (again == 2) {
            CHECK(!cb_graph_make(r->d, enqueue, r, 2, &g));
            CHECK(g && !cb_graph_launch(r->d, g));
        } else {
            CHECK(!enqueue(r, 0));
        }
        const struct cb_accuracy e = judge(r->d, a.y, s->p.layer.n, want, bound);
        CHECK(good(&e));
        if (!again || !good(&e))
            printf("%s: n %d group %d layers %d: error %.2e, largest %.2e, beyond bound %ld, not "
                   "finite %ld\n",
                   r->impl->base.name, s->p.layer.n, s->p.layer.group, s->p.layers, e.rel_fro,
                   e.max_abs, e.bad, e.nonfinite);
        if (!again)
            CHECK(!cb_copy(r->d, first, a.y, bytes));
        CHECK(!cb_same(r->d, first, a.y, bytes, &same) && same);
        tried++;
    }
    cb_graph_free(r->d, g);
    if (!status && s->p.layer.n > 8) { /* one wrong input, three rows exchanged in one order */
        half_bits x = half_from_float(half_to_float(s->x[5 * C + 7]) + 3);
        CHECK(!cb_upload(r->d, (half_bits *)a.x + 5 * C + 7, &x, sizeof x) && !enqueue(r, 0));
        struct cb_accuracy e = judge(r->d, a.y, s->p.layer.n, want, bound);
        CHECK(!good(&e));
        CHECK(!cb_upload(r->d, (void *)a.x, s->x, bytes));
        /* in a circle: layers 0 and 4 take this order, and two exchanged twice are as they were */
        int32_t wrong[3] = { s->slot[1], s->slot[2], s->slot[0] };
        CHECK(!cb_upload(r->d, (void *)a.frame.slot, wrong, sizeof wrong) && !enqueue(r, 0));
        e = judge(r->d, a.y, s->p.layer.n, want, bound);
        CHECK(!good(&e));
        CHECK(!cb_upload(r->d, (void *)a.frame.slot, s->slot, sizeof wrong) && !cb_sync(r->d));
    }
    CHECK(!cb_guards_check(r->d));
    r->impl->teardown(r->state);
    free_all(&memory);
}

static void encoders(struct cb_device *d, int n, int side, int window, int group, int layers)
{
    struct scene s;
    struct pool memory = { .d = d };
    const char *why;
    const size_t count = (size_t)n * C;
    double *want = malloc(count * sizeof *want);
    float *bound = malloc(count * sizeof *bound);
    if (make_scene(&s, n, side, window, group, layers, (uint64_t)(n * 7 + group)) || !want ||
        !bound)
        return;
    const struct encoder_host h = { { s.cell, s.slot, s.rank }, s.weights };
    CHECK(encoder_ref(&s.p, ENCODER_GROUPS, &h, s.x, want) == OP_OK);
    for (size_t i = 0; i < count; i++)
        bound[i] = ELEMENT;
    const struct encoder_args a = upload(&memory, &s);
    const double *want_there = give(&memory, want, count * sizeof *want);
    const float *bound_there = give(&memory, bound, count * sizeof *bound);
    for (const struct encoder_impl *i = encoder_own; i->base.name; i++) {
        const int sm = cb_device_info(d)->sm;
        struct run r = { d, &s.p, i, &a, NULL };
        if (!i->run || sm < i->base.sm_min || sm > i->base.sm_max ||
            i->supports(&s.p, &why) != OP_OK)
            continue;
        one_encoder(&r, &s, &h, want_there, bound_there);
    }
    free_all(&memory);
    free_scene(&s);
    free(want);
    free(bound);
}

/* ---- attention ---- */

struct attention_run {
    struct cb_device *d;
    const struct group_attn_problem *p;
    const struct group_attn_impl *impl;
    const struct group_attn_args *a;
    void *state;
};

static int enqueue_attention(void *context, int step)
{
    const struct attention_run *r = context;
    (void)step;
    return r->impl->run(r->p, r->a, r->state, cb_device_stream(r->d)) == OP_OK ? 0 : -1;
}

static void end_attention(struct attention_run *r)
{
    if (r->impl->teardown)
        r->impl->teardown(r->state);
}

static void one_attention(struct attention_run *r, const half_bits *qkv, const double *want,
                          const float *bound)
{
    const size_t bytes = (size_t)r->p->slots * C * 2;
    CHECK(r->impl->setup(r->p, NULL, cb_device_stream(r->d), &r->state) == OP_OK);
    CHECK(!cb_fill(r->d, r->a->o, 0xff, bytes) && !enqueue_attention(r, 0));
    struct cb_accuracy e = judge(r->d, r->a->o, r->p->slots, want, bound);
    CHECK(good(&e));
    if (!good(&e))
        printf("%s: group %d of %d: error %.2e, largest %.2e, beyond bound %ld, not finite %ld\n",
               r->impl->base.name, r->p->group, r->p->slots, e.rel_fro, e.max_abs, e.bad,
               e.nonfinite);
    /* one channel of the first group's values, which some query sees whatever it looks for */
    half_bits *faulty = malloc((size_t)r->p->group * 3 * C * sizeof *faulty);
    CHECK(faulty != NULL);
    memcpy(faulty, qkv, (size_t)r->p->group * 3 * C * sizeof *faulty);
    for (int j = 0; j < r->p->group; j++)
        faulty[(3 * j + 2) * C] = half_from_float(half_to_float(faulty[(3 * j + 2) * C]) + 60);
    CHECK(!cb_upload(r->d, (void *)r->a->qkv, faulty, (size_t)r->p->group * 6 * C));
    CHECK(!enqueue_attention(r, 0));
    e = judge(r->d, r->a->o, r->p->slots, want, bound);
    CHECK(!good(&e));
    CHECK(!cb_upload(r->d, (void *)r->a->qkv, qkv, (size_t)r->p->group * 6 * C));
    free(faulty);
    CHECK(!cb_sync(r->d) && !cb_guards_check(r->d));
    end_attention(r);
    tried++;
}

/* Queries larger by `sharp`: few keys decide, and scores leave what exp can take. */
static void attentions(struct cb_device *d, int groups, int group, double sharp)
{
    const struct group_attn_problem p = { groups * group, groups * group, group,
                                          HEADS,          HEAD,           HIDDEN };
    struct pool memory = { .d = d };
    const char *why;
    const size_t count = (size_t)p.slots * C;
    half_bits *qkv = malloc(3 * count * sizeof *qkv), *o = malloc(count * sizeof *o);
    double *want = malloc(count * sizeof *want);
    float *bound = malloc(count * sizeof *bound);
    CHECK(qkv && o && want && bound);
    for (size_t i = 0; i < 3 * count; i++) {
        const float v = half_to_float(normal(3, 2, i));
        qkv[i] = half_from_float(i / C % 3 ? v : (float)sharp * v);
    }
    const struct group_attn_args host = { qkv, o };
    CHECK(group_attn_wanted(&p, &host, 0, want, bound) == OP_OK);
    const struct group_attn_args a = { give(&memory, qkv, 6 * count), take(&memory, 2 * count) };
    const double *want_there = give(&memory, want, count * sizeof *want);
    const float *bound_there = give(&memory, bound, count * sizeof *bound);
    for (const struct group_attn_impl *i = group_attn_own; i->base.name; i++) {
        const int sm = cb_device_info(d)->sm;
        struct attention_run r = { d, &p, i, &a, NULL };
        if (i->run && sm >= i->base.sm_min && sm <= i->base.sm_max &&
            i->supports(&p, &why) == OP_OK)
            one_attention(&r, qkv, want_there, bound_there);
    }
    free_all(&memory);
    free(qkv);
    free(o);
    free(want);
    free(bound);
}

static void every_group(struct cb_device *d, bool quick)
{
    static const int sizes[] = { 1, 7, 8, 16, 17, 36, 69, 72, 73, 80, 100, 128, 137, 143, 144, 145,
                                 169, 200, 256, 300, 384 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (!quick || sizes[i] == 69 || sizes[i] == 144 || sizes[i] == 100)
            for (int sharp = 1; sharp <= 400; sharp *= 20)
                attentions(d, 5, sizes[i], sharp);
    attentions(d, 300, 144, 1); /* more parts than the GPU holds: blocks go through several */
    attentions(d, 600, 69, 20);
    printf("attention: %d results\n", tried);
}

static void every_encoder(struct cb_device *d, bool quick)
{
    static const int counts[] = { 1, 15, 16, 17, 63, 64, 65, 69, 70, 137, 138, 139, 143, 144, 145,
                                  287, 288, 289, 400 };
    static const int groups[] = { 69, 144, 40, 200 };
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k += quick ? 4 : 1)
        for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
            encoders(d, counts[k], 48, 9, groups[g], 1 + (int)(k + g) % 3);
    encoders(d, 1000, 64, 9, 69, 8);
    encoders(d, 1000, 64, 13, 144, 8);
    encoders(d, 18400, PILLARS_SIDE, 13, 144, 2); /* one pass of all blocks */
    if (!quick) {
        encoders(d, 18400, PILLARS_SIDE, 9, 69, 2);
        encoders(d, 60000, PILLARS_SIDE, 13, 144, 1); /* several */
        encoders(d, 60000, PILLARS_SIDE, 9, 69, 2);
    }
}

/* ---- times ---- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void time_graph(struct cb_device *d, cb_enqueue_fn *work, void *context, const char *what)
{
    enum { WINDOWS = 31, STEPS = 8 };
    double us[WINDOWS];
    struct cb_graph *g = NULL;
    struct cb_window w;
    CHECK(!cb_graph_make(d, work, context, STEPS, &g));
    for (int i = 0; g && i < 5; i++)
        CHECK(!cb_graph_launch(d, g));
    for (int i = 0; g && i < WINDOWS; i++) {
        CHECK(!cb_graph_window(d, g, false, &w));
        us[i] = w.us / STEPS;
    }
    if (g) {
        qsort(us, WINDOWS, sizeof *us, ascending);
        printf("%-40s %8.1f us (%.1f to %.1f)\n", what, us[WINDOWS / 2], us[3], us[WINDOWS - 4]);
    }
    cb_graph_free(d, g);
}

static void times_of(struct cb_device *d, int n, int window, int group)
{
    struct scene s;
    struct pool memory = { .d = d };
    char what[100];
    const char *why;
    if (make_scene(&s, n, PILLARS_SIDE, window, group, 8, 3))
        return;
    const struct encoder_host h = { { s.cell, s.slot, s.rank }, s.weights };
    const struct encoder_args a = upload(&memory, &s);
    const struct group_attn_args attention = { take(&memory, (size_t)s.p.layer.slots * C * 6),
                                               take(&memory, (size_t)s.p.layer.slots * C * 2) };
    const struct op_memory op = { take, &memory };
    const int sm = cb_device_info(d)->sm;
    CHECK(!cb_random(d, (void *)attention.qkv, CB_F16, CB_NORMAL, 1, 1, 1, s.p.layer.slots, 3 * C,
                     false));
    for (const struct encoder_impl *i = encoder_own; i->base.name; i++) {
        struct run r = { d, &s.p, i, &a, NULL };
        if (!i->run || sm < i->base.sm_min || sm > i->base.sm_max ||
            i->supports(&s.p, &why) != OP_OK)
            continue;
        CHECK(i->setup(&s.p, &h, &a, &op, cb_device_stream(d), &r.state) == OP_OK);
        snprintf(what, sizeof what, "encoder %s %d group %d", i->base.name, n, group);
        time_graph(d, enqueue, &r, what);
        i->teardown(r.state);
    }
    for (const struct group_attn_impl *i = group_attn_own; i->base.name; i++) {
        struct attention_run r = { d, &s.p.layer, i, &attention, NULL };
        if (!i->run || sm < i->base.sm_min || sm > i->base.sm_max)
            continue;
        CHECK(i->setup(&s.p.layer, &op, cb_device_stream(d), &r.state) == OP_OK);
        snprintf(what, sizeof what, "attention %s %d group %d", i->base.name, n, group);
        time_graph(d, enqueue_attention, &r, what);
        end_attention(&r);
    }
    free_all(&memory);
    free_scene(&s);
}

static void times(struct cb_device *d)
{
    static const int counts[] = { 5000, 18400, 30000, 60000, 120000 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        times_of(d, counts[i], 13, 144);
        times_of(d, counts[i], 9, 69);
    }
}

int main(int argc, char **argv)
{
    struct cb_device *d = NULL;
    const char *mode = argc > 1 ? argv[1] : "";
    const time_t began = time(NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!cb_device_count()) {
        SKIP("gpu_group_attn: no GPU");
        return TEST_END();
    }
    CHECK(!cb_device_open("cuda", &d));
    if (!d)
        return TEST_END();
    if (!strcmp(mode, "times")) {
        times(d);
    } else if (test_tiny()) {
        tiny_op(d, "group_attn");
    } else {
        every_group(d, !strcmp(mode, "quick"));
        every_encoder(d, !strcmp(mode, "quick"));
    }
    cb_device_close(d);
    printf("%d results compared, %.0f s\n", tried, difftime(time(NULL), began));
    return TEST_END();
}

#else

int main(void)
{
    SKIP("gpu_group_attn: built without CUDA");
    return TEST_END();
}

#endif
