/*
 * test_encoder.c - how rows are cut into tokens, the references of the encoder, and its bounds.
 *
 * The steps that run on a GPU are followed here in double, token by token: with no rounding they
 * must give the reference, whatever is padded; rounded as halves are, they must stay within the
 * bounds that rows are judged by; and what is left out must show.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/device.h"
#include "../harness/error.h"
#include "../kernels/common/half.h"
#include "../kernels/group_attn/tokens.h"
#include "../suites/ops/encoder_part.h"
#include "test.h"

enum { C = ENCODER_PUBLISHED_HEADS * ENCODER_PUBLISHED_HEAD };

/* ---- tokens ---- */

/* Every row is written once; parts, items and buckets cover the tokens in order. */
static int are_whole(const struct encoder_tokens *t, int n)
{
    char *met = calloc((size_t)n, 1);
    int good = met != NULL, at = 0, queries = 0;
    for (int i = 0; good && i < t->tokens; i++) {
        good &= t->from[i] < n && t->to[i] < n && (t->to[i] < 0 || t->to[i] == t->from[i]);
        if (t->to[i] >= 0)
            good &= !met[t->to[i]]++;
    }
    for (int i = 0; good && i < n; i++)
        good &= met[i];
    for (int i = 0; good && i < t->parts; i++) {
        const struct encoder_part *p = &t->part[i];
        good &= p->first == at && p->valid >= 1 && p->valid <= p->length;
        for (int k = 0; good && k < p->length; k++)
            good &= t->of[at + k] == i && (t->from[at + k] >= 0) == (k < p->valid);
        at += p->length;
    }
    for (int i = 0; good && i < t->items; i++) {
        const struct encoder_item *e = &t->item[i];
        const struct encoder_part *p = &t->part[t->of[e->query]];
        good &= e->queries >= 1 && e->queries <= ENCODER_ITEM_ROWS && e->key == p->first;
        good &= e->keys == p->valid && e->query + e->queries <= p->first + p->valid;
        queries += e->queries;
    }
    for (int i = 0; good && i < t->parts; i++)
        queries -= t->part[i].valid;
    free(met);
    return good && at == t->tokens && queries == 0;
}

static int buckets_are_whole(const struct encoder_tokens *t)
{
    int good = 1, part = 0, token = 0;
    for (int b = 0; b < t->buckets; b++) {
        const struct encoder_bucket *k = &t->bucket[b];
        good &= k->part == part && k->token == token;
        for (int i = 0; i < k->parts; i++)
            good &= t->part[part + i].length == k->length;
        part += k->parts;
        token += k->parts * k->length;
    }
    return good && (!t->buckets || (part == t->parts && token == t->tokens));
}

static int window_at(const struct encoder_problem *p, int layer, struct flatten_cell c)
{
    const int shift = layer % 2 ? p->window / 2 : 0;
    return (c.y + shift) / p->window * 1000 + (c.x + shift) / p->window;
}

/* Rows of one part have one window, those of different parts have not; SST's lengths. */
static int windows_are_right(const struct encoder_problem *p, int layer,
                             const struct flatten_cell *cell, const struct encoder_tokens *t,
                             int padded)
{
    int good = 1;
    for (int i = 0; i < t->parts; i++) {
        const struct encoder_part *a = &t->part[i];
        const int window = window_at(p, layer, cell[t->from[a->first]]), rows = a->valid;
        const int area = p->window * p->window;
        const int level = rows < 30 ? 30 : rows < 60 ? 60 : rows < 100 ? 100 : area;
        for (int k = 0; k < rows; k++)
            good &= window_at(p, layer, cell[t->from[a->first + k]]) == window;
        for (int k = 0; k < i; k++)
            good &= window_at(p, layer, cell[t->from[t->part[k].first]]) != window;
        good &= a->length == (!padded ? rows : level < area ? level : area);
    }
    return good;
}

static void cut(const struct encoder_operands *o)
{
    const struct encoder_host h = encoder_operands_host(o, 0);
    struct encoder_tokens t;
    for (int l = 0; l < FLATTEN_ORDERS; l++) {
        CHECK(encoder_tokens_of(&o->p, ENCODER_GROUPS, &h.frame, l, &t) == OP_OK);
        CHECK(t.tokens == o->p.layer.slots && are_whole(&t, o->p.layer.n) && buckets_are_whole(&t));
        CHECK(!memcmp(t.from, h.frame.slot + (size_t)l * (size_t)t.tokens,
                      (size_t)t.tokens * sizeof *t.from));
        encoder_tokens_free(&t);
        CHECK(encoder_tokens_of(&o->p, ENCODER_WINDOWS, &h.frame, l, &t) == OP_OK);
        CHECK(t.tokens == o->p.layer.n && are_whole(&t, o->p.layer.n));
        CHECK(windows_are_right(&o->p, l, h.frame.cell, &t, 0));
        encoder_tokens_free(&t);
        CHECK(encoder_tokens_padded(&o->p, &h.frame, l, &t) == OP_OK);
        CHECK(are_whole(&t, o->p.layer.n) && buckets_are_whole(&t));
        CHECK(windows_are_right(&o->p, l, h.frame.cell, &t, 1));
        if (t.parts) { /* a check that never fails is none */
            t.to[t.part[0].first] = -1;
            CHECK(!are_whole(&t, o->p.layer.n));
        }
        encoder_tokens_free(&t);
    }
    CHECK(encoder_tokens_groups(&o->p.layer, &t) == OP_OK);
    int straight = buckets_are_whole(&t) && t.tokens == o->p.layer.slots;
    for (int i = 0; i < t.tokens; i++)
        straight &= t.from[i] == i && t.to[i] == (i < o->p.layer.n ? i : -1);
    CHECK(straight);
    encoder_tokens_free(&t);
}

/* ---- the steps, followed in double ---- */

struct steps {
    const struct encoder_operands *o;
    int half;     /* results of steps are rounded to half */
    int lose_key; /* of each part, the last one */
    double *x, *qkv, *a, *u;
};

static double rounded(const struct steps *s, double v)
{
    return s->half ? (double)half_to_float(half_from_float((float)v)) : v;
}

static void linear(const struct steps *s, const float *w, const float *b, int outs, int ins,
                   const double *x, double *y)
{
    for (int i = 0; i < outs; i++) {
        double sum = (double)b[i];
        for (int j = 0; j < ins; j++)
            sum += (double)w[(size_t)i * (size_t)ins + (size_t)j] * x[j];
        y[i] = rounded(s, sum);
    }
}

static void norm(const struct steps *s, const float *n, const double *a, const double *b, double *y)
{
    double mean = 0, square = 0;
    for (int i = 0; i < C; i++)
        mean += (a[i] + b[i]) / C;
    for (int i = 0; i < C; i++)
        square += (a[i] + b[i] - mean) * (a[i] + b[i] - mean) / C;
    for (int i = 0; i < C; i++)
        y[i] = rounded(s, (a[i] + b[i] - mean) / sqrt(square + GROUP_ATTN_EPS) * (double)n[i] +
                              (double)n[C + i]);
}

/* o of one query, keys first .. first + keys - 1. */
static void attend(const struct steps *s, int query, int first, int keys, double *o)
{
    double score[512];
    for (int h = 0; h < ENCODER_PUBLISHED_HEADS; h++) {
        const int at = h * ENCODER_PUBLISHED_HEAD;
        double most = -INFINITY, sum = 0;
        for (int j = 0; j < keys; j++) {
            score[j] = 0;
            for (int d = 0; d < ENCODER_PUBLISHED_HEAD; d++)
                score[j] += s->qkv[(size_t)query * 3 * C + (size_t)(at + d)] *
                            s->qkv[(size_t)(first + j) * 3 * C + (size_t)(C + at + d)] / 4;
            most = fmax(most, score[j]);
        }
        for (int j = 0; j < keys; j++)
            sum += exp(score[j] - most);
        for (int d = 0; d < ENCODER_PUBLISHED_HEAD; d++) {
            double all = 0;
            for (int j = 0; j < keys; j++)
                all += rounded(s, exp(score[j] - most) / sum) *
                       s->qkv[(size_t)(first + j) * 3 * C + (size_t)(2 * C + at + d)];
            o[at + d] = rounded(s, all);
        }
    }
}

static void layer(struct steps *s, const struct encoder_tokens *t, const struct encoder_weights *w,
                  const struct flatten_cell *cell, double *y)
{
    double e[C], xe[C], o[C], hidden[ENCODER_PUBLISHED_HIDDEN], f[C];
    for (int i = 0; i < t->tokens; i++) {
        double *x = s->x + (size_t)i * C, *qkv = s->qkv + (size_t)i * 3 * C;
        memset(x, 0, C * sizeof *x);
        memset(e, 0, sizeof e);
        if (t->from[i] >= 0) {
            memcpy(x, y + (size_t)t->from[i] * C, C * sizeof *x);
            encoder_embed(cell[t->from[i]], C, e);
        }
        for (int c = 0; c < C; c++)
            xe[c] = rounded(s, x[c] + rounded(s, e[c]));
        linear(s, w->qkv, w->qkv_bias, 2 * C, C, xe, qkv);
        linear(s, w->qkv + 2 * C * C, w->qkv_bias + 2 * C, C, C, x, qkv + 2 * C);
    }
    for (int i = 0; i < t->tokens; i++) {
        const struct encoder_part *p = &t->part[t->of[i]];
        if (t->to[i] < 0)
            continue;
        attend(s, i, p->first, p->valid - (s->lose_key && p->valid > 1), o);
        linear(s, w->out, w->out_bias, C, C, o, f);
        norm(s, w->norm1, s->x + (size_t)i * C, f, s->u + (size_t)t->to[i] * C);
    }
    for (int i = 0; i < s->o->p.layer.n; i++) {
        double *u = s->u + (size_t)i * C;
        linear(s, w->fc1, w->fc1_bias, ENCODER_PUBLISHED_HIDDEN, C, u, hidden);
        for (int c = 0; c < ENCODER_PUBLISHED_HIDDEN; c++)
            hidden[c] = rounded(s, 0.5 * hidden[c] * (1 + erf(hidden[c] / sqrt(2))));
        linear(s, w->fc2, w->fc2_bias, C, ENCODER_PUBLISHED_HIDDEN, hidden, f);
        norm(s, w->norm2, u, f, y + (size_t)i * C);
    }
}

enum way { IN_GROUPS, IN_WINDOWS, IN_PADDED_WINDOWS };

static void follow(const struct encoder_operands *o, enum way way, int half, int lose_key,
                   double *y)
{
    const struct encoder_host h = encoder_operands_host(o, 0);
    const half_bits *x = o->x.set[0];
    struct steps s = { .o = o, .half = half, .lose_key = lose_key };
    for (size_t i = 0; i < encoder_operands_rows(o); i++)
        y[i] = (double)half_to_float(x[i]);
    for (int l = 0; l < o->p.layers; l++) {
        struct encoder_tokens t;
        const enum encoder_scheme scheme = way == IN_GROUPS ? ENCODER_GROUPS : ENCODER_WINDOWS;
        CHECK((way == IN_PADDED_WINDOWS ? encoder_tokens_padded(&o->p, &h.frame, l, &t)
                                        : encoder_tokens_of(&o->p, scheme, &h.frame, l, &t)) ==
              OP_OK);
        const size_t rows = (size_t)t.tokens * C;
        s.x = malloc(rows * sizeof *s.x);
        s.qkv = malloc(3 * rows * sizeof *s.qkv);
        s.u = malloc(encoder_operands_rows(o) * sizeof *s.u);
        CHECK(s.x && s.qkv && s.u);
        if (s.x && s.qkv && s.u)
            layer(&s, &t, &o->weights[l], h.frame.cell, y);
        free(s.x);
        free(s.qkv);
        free(s.u);
        encoder_tokens_free(&t);
    }
}

/* Elements beyond their bound, and the relative error of all. */
static long off(const struct encoder_operands *o, const double *want, const double *got,
                double *rel)
{
    const size_t count = encoder_operands_rows(o);
    float *bound = malloc(count * sizeof *bound);
    double error = 0, size = 0;
    long bad = 0;
    CHECK(bound != NULL);
    if (bound)
        encoder_bounds(o->p.layer.n, C, want, bound);
    for (size_t i = 0; bound && i < count; i++) {
        bad += !(fabs(got[i] - want[i]) <= (double)bound[i]);
        error += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    free(bound);
    *rel = sqrt(error / size);
    return bad;
}

static void compare(const struct encoder_operands *o, int with_halves)
{
    const struct encoder_host h = encoder_operands_host(o, 0);
    const size_t count = encoder_operands_rows(o);
    double *want = malloc(count * sizeof *want), *got = malloc(count * sizeof *got), rel;
    CHECK(want && got);
    for (int way = IN_GROUPS; want && got && way <= IN_PADDED_WINDOWS; way++) {
        const enum encoder_scheme scheme = way == IN_GROUPS ? ENCODER_GROUPS : ENCODER_WINDOWS;
        CHECK(encoder_ref(&o->p, scheme, &h, o->x.set[0], want) == OP_OK);
        follow(o, (enum way)way, 0, 0, got);
        CHECK(off(o, want, got, &rel) == 0 && rel < 1e-12);
        if (!with_halves)
            continue;
        follow(o, (enum way)way, 1, 0, got);
        CHECK(off(o, want, got, &rel) == 0 && rel < encoder_limit && rel > 1e-5);
        printf("way %d: relative error of halves %.2g\n", way, rel);
        follow(o, (enum way)way, 1, 1, got);
        const long bad = off(o, want, got, &rel);
        CHECK(bad > 0 || rel > encoder_limit); /* a key that is left out shows */
        got[count / 2] += 0.1;
        CHECK(off(o, want, got, &rel) > bad - 2 && off(o, want, got, &rel) > 0);
    }
    free(want);
    free(got);
}

/* ---- rows of the table ---- */

static void rows(const struct encoder_operands *o)
{
    const struct encoder_host h = encoder_operands_host(o, 0);
    const struct encoder_args a = encoder_operands_at(o, 0);
    const size_t count = encoder_operands_rows(o);
    double *want = malloc(count * sizeof *want);
    CHECK(want != NULL);
    for (const struct encoder_impl *i = encoder_references; want && i->base.name; i++) {
        void *state = NULL;
        const char *why;
        int same = 1;
        CHECK(i->supports(&o->p, &why) == OP_OK);
        CHECK(i->setup(&o->p, &h, &a, NULL, NULL, &state) == OP_OK);
        CHECK(i->run(&o->p, &a, state, NULL) == OP_OK);
        CHECK(encoder_ref(&o->p, i->scheme, &h, a.x, want) == OP_OK);
        for (size_t k = 0; k < count; k++)
            same &= ((const half_bits *)a.y)[k] == half_from_float((float)want[k]);
        CHECK(same);
        i->teardown(state);
    }
    free(want);
}

static void numbers(const struct encoder_operands *o)
{
    const struct encoder_offsets at = encoder_offsets_of(&o->p.layer);
    const struct encoder_weights w = encoder_weights_at(&o->p.layer, o->number);
    float table[40 * C / 2];
    double e[C];
    int same = 1;
    CHECK(at.count == 132480); /* of a layer, as published */
    CHECK(w.fc2_bias + C == o->number + at.count && w.fc1 == o->number + at.fc1);
    encoder_embed_table(40, C, table);
    encoder_embed((struct flatten_cell){ 17, 39 }, C, e);
    for (int i = 0; i < C / 2; i++)
        same &= table[17 * C / 2 + i] == (float)e[i] &&
                table[39 * C / 2 + i] == (float)e[C / 2 + i];
    CHECK(same);
    struct encoder_problem p = o->p;
    p.layers = ENCODER_LAYERS_MAX + 1;
    CHECK(encoder_check(&p) == OP_EINVAL);
    p = o->p;
    p.window = p.side + 1;
    CHECK(encoder_check(&p) == OP_EINVAL);
}

/* ---- attention alone: what is wanted, and how exact it can be ---- */

static void alone(int n, int group)
{
    const struct flatten_problem f = { n, 468, 9, group, FLATTEN_SERPENTINE };
    const struct group_attn_problem p = { n, flatten_slots(&f), flatten_group(&f),
                                          ENCODER_PUBLISHED_HEADS, ENCODER_PUBLISHED_HEAD, 1 };
    const size_t count = (size_t)n * C, all = (size_t)p.slots * C;
    half_bits *qkv = malloc(3 * all * sizeof *qkv), *o = malloc(all * sizeof *o);
    double *want = malloc(count * sizeof *want);
    float *bound = malloc(count * sizeof *bound);
    long bad = 0, exact_bad = 0;
    CHECK(qkv && o && want && bound);
    if (qkv && o && want && bound) {
        const struct group_attn_args a = { qkv, o };
        for (size_t i = 0; i < 3 * all; i++)
            qkv[i] = half_from_float(cb_random_at(CB_NORMAL, 3, 1, 0, i));
        CHECK(group_attn_references[0].run(&p, &a, NULL, NULL) == OP_OK);
        CHECK(group_attn_wanted(&p, &a, 0, want, bound) == OP_OK);
        for (size_t i = 0; i < count; i++)
            bad += !(fabs((double)half_to_float(o[i]) - want[i]) <= (double)bound[i]);
        CHECK(bad == 0);
        CHECK(group_attn_wanted(&p, &a, 1, want, bound) == OP_OK);
        for (size_t i = 0; i < count; i++)
            exact_bad += bound[i] != 0 || (double)half_to_float(o[i]) != want[i];
        CHECK(exact_bad > 0); /* random operands do round */
    }
    free(qkv);
    free(o);
    free(want);
    free(bound);
}

static int open(struct cb_device *d, struct encoder_operands *o, int n, int window, int group,
                int layers, int sst)
{
    *o = (struct encoder_operands){ .device = d, .seed = 5,
                                    .p = { .layers = layers, .side = PILLARS_SIDE, .window = sst },
                                    .cut = { .side = PILLARS_SIDE, .window = window,
                                             .group = group } };
    const int status = encoder_operands_open(o, 1, 2, n) || encoder_operands_make(o, 1);
    CHECK(!status);
    if (status)
        printf("  %s\n", cb_error_text());
    return !status;
}

int main(void)
{
    static const int sizes[][4] = { { 1, 13, 144, 12 },   { 68, 9, 69, 9 },   { 69, 9, 69, 12 },
                                    { 143, 13, 144, 12 }, { 145, 13, 144, 13 }, { 900, 9, 69, 5 } };
    struct cb_device *d = NULL;
    struct encoder_operands o;
    CHECK(!cb_device_open("host", &d));
    if (!d)
        return TEST_END();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int *s = sizes[i];
        if (open(d, &o, s[0], s[1], s[2], s[0] > 100 ? 1 : 2, s[3])) {
            cut(&o);
            if (s[0] < 500)
                compare(&o, 0);
        }
        encoder_operands_close(&o);
    }
    if (open(d, &o, 5000, 13, 144, 1, 12))
        cut(&o);
    encoder_operands_close(&o);
    if (open(d, &o, 150, 9, 69, 4, 12)) {
        compare(&o, 1);
        rows(&o);
        numbers(&o);
    }
    encoder_operands_close(&o);
    alone(150, 69);
    alone(20, 144);
    cb_device_close(d);
    return TEST_END();
}
