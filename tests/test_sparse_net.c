/*
 * test_sparse_net.c - the lists of layers of the networks, the memory of their rows, and the
 * reference: against a walk of the definition that keeps every tensor apart.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../kernels/common/half.h"
#include "../kernels/sparse_net/back.h"
#include "../kernels/sparse_net/sparse_net.h"
#include "../suites/suite.h"
#include "sparse_net_scan.h"
#include "test.h"

enum { VOXELS = 300, SIDE = 48 };

/* ---- lists ---- */

static struct kmap_coord coord[VOXELS];

static void make_coords(void)
{
    unsigned char seen[SIDE * SIDE] = { 0 };
    unsigned at = 1;
    for (int i = 0; i < VOXELS;) {
        at = at * 1103515245u + 12345u;
        const int x = (int)(at >> 8) % SIDE, y = (int)(at >> 20) % SIDE;
        if (seen[x * SIDE + y])
            continue;
        seen[x * SIDE + y] = 1;
        coord[i++] = (struct kmap_coord){ 0, x, y, (x * 3 + y) % 41 };
    }
}

static void plan_of(enum sparse_net_kind kind, struct kmap_plan *p)
{
    const int size[3] = { SIDE, SIDE, 48 };
    CHECK((kind == SPARSE_NET_CENTERPOINT
               ? kmap_plan_centerpoint(size, 1, VOXELS, p)
               : kmap_plan_minkunet(size, 1, VOXELS, false, true, p)) == OP_OK);
}

/* Layers per level with kernel 3, or between the level and the next. */
static int count(const struct sparse_net *net, const struct kmap_plan *p, int level, int same)
{
    int n = 0;
    for (int i = 0; i < net->layers; i++) {
        const int step = net->layer[i].step;
        n += step >= 0 && p->step[step].from == level && (p->step[step].to == level) == same;
    }
    return n;
}

static void try_lists(void)
{
    static const int minkunet[] = { 6, 8, 8, 8, 4 }, centerpoint[] = { 5, 4, 4, 4, 0 };
    for (int kind = 0; kind < 3; kind++) {
        struct kmap_plan p;
        struct sparse_net net;
        plan_of((enum sparse_net_kind)kind, &p);
        CHECK(sparse_net_of((enum sparse_net_kind)kind, &p, 4, &net) == OP_OK);
        const int *same = kind == SPARSE_NET_CENTERPOINT ? centerpoint : minkunet;
        int total = 0;
        for (int l = 0; l < 5; l++) {
            CHECK(count(&net, &p, l, 1) == same[l]);
            if (l < 4)
                CHECK(count(&net, &p, l, 0) == (kind == SPARSE_NET_CENTERPOINT ? 1 : 2));
            total += count(&net, &p, l, 1) + count(&net, &p, l, 0);
        }
        CHECK(total == (kind == SPARSE_NET_CENTERPOINT ? 21 : 42));
        CHECK(sparse_net_of((enum sparse_net_kind)kind, &p, 5, &net) == OP_EINVAL);
        CHECK(sparse_net_of(kind == SPARSE_NET_CENTERPOINT ? SPARSE_NET_MINKUNET_1X
                                                           : SPARSE_NET_CENTERPOINT,
                            &p, 4, &net) == OP_EINVAL);
    }
}

/* ---- flows: what a tuner may choose, and keeps by name ---- */

static void try_flow(const struct sparse_net_impl *impl, int at)
{
    const struct sparse_net_flow *f = &impl->flow[at];
    const struct spconv_impl *layer = f->layer ? spconv_find(f->layer) : NULL;
    CHECK(strlen(f->name) < 16 && !strpbrk(f->name, " /"));
    CHECK(!f->layer || layer);
    CHECK(f->setting >= 0 && f->setting <= (layer ? layer->settings : 0));
    CHECK(f->refines >= 0 && f->refines <= at);
    if (f->refines) { /* a size of the same rows, or what they leave free */
        const struct sparse_net_flow *of = &impl->flow[f->refines - 1];
        CHECK(!of->refines);
        CHECK(!strcmp(f->layer, of->layer) || (f->dgrad && !strcmp(f->dgrad, of->dgrad)));
    }
    for (int k = 0; k < at; k++) {
        const struct sparse_net_flow *other = &impl->flow[k];
        CHECK(strcmp(f->name, other->name));
        if (f->layer && other->layer && !strcmp(f->layer, other->layer) && f->setting)
            CHECK(f->setting != other->setting);
    }
}

static void try_flows(void)
{
    int most = 0;
    for (const struct sparse_net_impl *i = sparse_net_rows; i->base.name; i++) {
        CHECK(i->flows <= SPARSE_NET_FLOWS_MAX);
        CHECK(i->flows > 1 ? i->base.flags & OP_CHOOSES : 1);
        for (int f = 0; f < i->flows; f++)
            try_flow(i, f);
        most = i->flows > most ? i->flows : most;
    }
    CHECK(most == 8 + 54); /* every grouping but the middle, which is the flow that they refine */
}

/* ---- memory: the writer of every column of every slot ---- */

enum { COLUMNS = 1024 };
static int writer[SPARSE_NET_SLOTS_MAX][COLUMNS];

static void write_tensor(const struct sparse_net *net, int t)
{
    const struct sparse_tensor *x = &net->tensor[t];
    const int slot = net->tensor[x->whole].slot;
    CHECK(x->at + x->channels <= COLUMNS);
    for (int c = 0; c < x->channels; c++)
        writer[slot][x->at + c] = t;
    /* a row of another pitch leaves nothing of what lay there */
    for (int c = 0; c < COLUMNS; c++)
        if (writer[slot][c] >= 0 && net->tensor[writer[slot][c]].whole != x->whole)
            writer[slot][c] = -1;
}

/* Columns of a tensor hold it, or where it is a whole its parts. */
static void read_tensor(const struct sparse_net *net, int t)
{
    const struct sparse_tensor *x = &net->tensor[t];
    for (int c = 0; c < x->channels; c++) {
        const int by = writer[net->tensor[x->whole].slot][x->at + c];
        CHECK(by == t || (by >= 0 && x->whole == t && net->tensor[by].whole == t));
    }
}

static void try_memory(const struct sparse_net *net)
{
    memset(writer, 0xff, sizeof writer);
    CHECK(net->slots > 0 && net->slots <= SPARSE_NET_SLOTS_MAX);
    write_tensor(net, net->input);
    for (int i = 0; i < net->layers; i++) {
        const struct sparse_layer *l = &net->layer[i];
        CHECK(net->tensor[l->from].channels == l->channels);
        CHECK(net->tensor[l->to].channels == l->columns);
        read_tensor(net, l->from);
        if (l->residual >= 0)
            read_tensor(net, l->residual);
        write_tensor(net, l->to);
        for (int t = 0; l->join >= 0 && t < net->tensors; t++)
            if (net->tensor[t].member == l->join)
                read_tensor(net, t);
        if (l->join >= 0)
            write_tensor(net, l->join);
    }
    read_tensor(net, net->output);
}

/* ---- the reference ---- */

/* The same network with every tensor in memory of its own, sums term by term. */
static void walk(const struct sparse_net_problem *p, const struct sparse_net_args *a, double *y)
{
    const struct sparse_net *net = p->net;
    half_bits *rows[SPARSE_NET_TENSORS_MAX] = { 0 };
    for (int t = 0; t < net->tensors; t++)
        rows[t] = calloc((size_t)p->host->n[net->tensor[t].level] * (size_t)net->tensor[t].channels,
                         sizeof **rows);
    memcpy(rows[net->input], a->x,
           2 * (size_t)p->host->n[0] * (size_t)net->tensor[net->input].channels);
    for (int i = 0; i < net->layers; i++) {
        const struct sparse_layer *l = &net->layer[i];
        const struct kmap *m = l->step < 0 ? NULL : &p->host->map[l->step].map;
        const struct sparse_tensor *to = &net->tensor[l->to];
        for (int k = 0; k < p->host->n[to->level]; k++)
            for (int o = 0; o < l->columns; o++) {
                double v = a->b[l->b + (size_t)o];
                for (int d = 0; d < l->taps; d++) {
                    const int j = m ? m->table.index[k * m->taps + d] : k;
                    for (int c = 0; j >= 0 && c < l->channels; c++)
                        v += (double)half_to_float(rows[l->from][j * l->channels + c]) *
                             half_to_float(((const half_bits *)a->w)
                                               [l->w + (size_t)((d * l->channels + c) * l->columns +
                                                                o)]);
                }
                if (l->residual >= 0)
                    v += half_to_float(rows[l->residual][k * l->columns + o]);
                v = l->relu && v < 0 ? 0 : v;
                rows[l->to][k * l->columns + o] = half_from_float((float)v);
                if (to->member >= 0)
                    rows[to->member][k * net->tensor[to->member].channels + to->column + o] =
                        half_from_float((float)v);
                if (l->to == net->output)
                    y[k * l->columns + o] = v;
            }
    }
    for (int t = 0; t < net->tensors; t++)
        free(rows[t]);
}

static void try_reference(enum sparse_net_kind kind)
{
    struct kmap_plan plan;
    struct kmap_host_net maps;
    struct sparse_net net, apart;
    plan_of(kind, &plan);
    CHECK(sparse_net_of(kind, &plan, 4, &net) == OP_OK);
    CHECK(kmap_host_net(&plan, coord, &maps) == OP_OK);
    apart = net;
    sparse_net_separate(&apart);
    try_memory(&net);
    try_memory(&apart);
    const size_t out = (size_t)maps.n[net.tensor[net.output].level] *
                       (size_t)net.tensor[net.output].channels;
    half_bits *x = calloc((size_t)VOXELS * 4, sizeof *x), *w = calloc(net.weights, sizeof *w);
    float *b = calloc(net.biases, sizeof *b);
    double *got = malloc(out * sizeof *got), *want = malloc(out * sizeof *want);
    for (size_t i = 0; i < (size_t)VOXELS * 4; i++)
        x[i] = half_from_float(cb_random_at(CB_UNIFORM, 3, 1, 0, i));
    for (size_t i = 0; i < net.weights; i++)
        w[i] = half_from_float(.1f * cb_random_at(CB_UNIFORM, 3, 2, 0, i));
    for (size_t i = 0; i < net.biases; i++)
        b[i] = .1f * cb_random_at(CB_UNIFORM, 3, 3, 0, i);
    const struct sparse_net_problem p = { &net, &plan, &maps, 0 };
    const struct sparse_net_args a = { .x = x, .w = w, .b = b };
    double off = 0, size = 0;
    walk(&p, &a, want);
    CHECK(sparse_net_ref(&p, &a, got) == OP_OK);
    for (size_t i = 0; i < out; i++) {
        off += (got[i] - want[i]) * (got[i] - want[i]);
        size += want[i] * want[i];
    }
    CHECK(size > 0 && isfinite(size) && off <= 1e-8 * size);
    w[net.layer[net.layers / 2].w] = half_from_float(8); /* a weight in the middle matters */
    CHECK(sparse_net_ref(&p, &a, got) == OP_OK);
    off = 0;
    for (size_t i = 0; i < out; i++)
        off += (got[i] - want[i]) * (got[i] - want[i]);
    CHECK(off > 1e-8 * size);
    free(x);
    free(w);
    free(b);
    free(got);
    free(want);
    kmap_host_net_free(&maps);
}

/* ---- gradients: differences of the output of a network that rounds nothing ---- */

enum { POINTS = 60, TRIED = 10 };

/* Sum of g y, everything in double; act: NULL, or gets the rows of all tensors, rounded. */
static double objective(const struct sparse_net_problem *p, const double *x, const double *w,
                        const float *b, const double *g, half_bits *const *act)
{
    const struct sparse_net *net = p->net;
    double *rows[SPARSE_NET_TENSORS_MAX] = { 0 }, sum = 0;
    for (int t = 0; t < net->tensors; t++)
        rows[t] = calloc((size_t)p->host->n[net->tensor[t].level] * (size_t)net->tensor[t].channels,
                         sizeof **rows);
    memcpy(rows[net->input], x,
           sizeof *x * (size_t)p->host->n[0] * (size_t)net->tensor[net->input].channels);
    for (int i = 0; i < net->layers; i++) {
        const struct sparse_layer *l = &net->layer[i];
        const struct kmap *m = l->step < 0 ? NULL : &p->host->map[l->step].map;
        const struct sparse_tensor *to = &net->tensor[l->to];
        double *y = rows[l->to];
        for (int k = 0; k < p->host->n[to->level]; k++) {
            for (int o = 0; o < l->columns; o++)
                y[k * l->columns + o] = (double)b[l->b + (size_t)o] +
                                        (l->residual < 0 ? 0 : rows[l->residual][k * l->columns + o]);
            for (int d = 0; d < l->taps; d++) {
                const int j = m ? m->table.index[k * m->taps + d] : k;
                for (int c = 0; j >= 0 && c < l->channels; c++)
                    for (int o = 0; o < l->columns; o++)
                        y[k * l->columns + o] +=
                            rows[l->from][j * l->channels + c] *
                            w[l->w + (size_t)((d * l->channels + c) * l->columns + o)];
            }
            for (int o = 0; o < l->columns; o++) {
                double *v = &y[k * l->columns + o];
                *v = l->relu && *v < 0 ? 0 : *v;
                if (to->member >= 0)
                    rows[to->member][k * net->tensor[to->member].channels + to->column + o] = *v;
                if (l->to == net->output)
                    sum += *v * g[k * l->columns + o];
            }
        }
    }
    for (int t = 0; t < net->tensors; t++) {
        const int n = p->host->n[net->tensor[t].level] * net->tensor[t].channels;
        for (int i = 0; act && i < n; i++)
            act[t][i] = half_from_float((float)rows[t][i]);
        free(rows[t]);
    }
    return sum;
}

/* Largest gradient of a layer, and its place. */
static size_t largest(const struct sparse_layer *l, const double *dw)
{
    size_t at = l->w;
    for (size_t i = l->w; i < l->w + (size_t)(l->taps * l->channels * l->columns); i++)
        at = fabs(dw[i]) > fabs(dw[at]) ? i : at;
    return at;
}

/* ---- what gradients need beside products: fused or not, the same bits ---- */

struct walk {
    const struct sparse_net_problem *p;
    const struct sparse_net_args *a;
    struct sparse_net net;
    struct net_back back;
    half_bits *const *act, *grad[SPARSE_NET_TENSORS_MAX];
};

static size_t elements(const struct walk *v, int t)
{
    return (size_t)v->p->host->n[v->net.tensor[t].level] * (size_t)v->net.tensor[t].channels;
}

/* Columns of rows of `from` to those of `to`, which have `channels`. */
static void walk_pass(enum net_back_pass pass, const half_bits *from, int step, half_bits *to,
                      int channels, size_t n)
{
    for (size_t i = 0; pass && i < n; i++) {
        const half_bits x = from[i / (size_t)channels * (size_t)step + i % (size_t)channels];
        to[i] = pass == NET_BACK_ADD ? half_from_float(half_to_float(to[i]) + half_to_float(x)) : x;
    }
}

/* Of all halves: the products below take most of this program's time. */
static float value_of[1 << 16];

/* Gradients of a layer's weights, and sums of that of its input. */
static void walk_products(const struct walk *v, const struct sparse_layer *l, double *dw, double *dx)
{
    const struct kmap *m = l->step < 0 ? NULL : &v->p->host->map[l->step].map;
    const half_bits *w = v->a->w, *x = v->act[l->from], *g = v->grad[v->back.grad[l->to]];
    for (int k = 0; k < v->p->host->n[v->net.tensor[l->to].level]; k++)
        for (int d = 0; d < l->taps; d++) {
            const int j = m ? m->table.index[k * m->taps + d] : k;
            for (int c = 0; j >= 0 && c < l->channels; c++) {
                const double xc = value_of[x[j * l->channels + c]];
                const size_t at = l->w + (size_t)(d * l->channels + c) * (size_t)l->columns;
                double sum = 0;
                for (int o = 0; o < l->columns; o++) {
                    const double go = value_of[g[k * l->columns + o]];
                    dw[at + (size_t)o] += xc * go;
                    sum += value_of[w[at + (size_t)o]] * go;
                }
                dx[j * l->channels + c] += sum;
            }
        }
}

static void walk_layer(struct walk *v, int i, double *dw, double *dx)
{
    const struct sparse_layer *l = &v->net.layer[i];
    const struct net_back_layer *b = &v->back.layer[i];
    const int *at = v->back.grad;
    half_bits *g = v->grad[at[l->to]], *to = v->grad[at[l->from]];
    const size_t n = elements(v, l->to), in = elements(v, l->from);
    for (int t = 0; t < v->net.tensors; t++)
        if (l->join >= 0 && v->net.tensor[t].member == l->join)
            walk_pass(v->back.part[t], v->grad[at[l->join]] + v->net.tensor[t].column,
                      v->net.tensor[l->join].channels, v->grad[at[t]], v->net.tensor[t].channels,
                      elements(v, t));
    for (size_t e = 0; b->mask && e < n; e++)
        g[e] = half_to_float(v->act[l->to][e]) > 0 ? g[e] : 0;
    if (b->residual)
        walk_pass(b->residual, g, l->columns, v->grad[at[l->residual]], l->columns, n);
    memset(dx, 0, in * sizeof *dx);
    walk_products(v, l, dw, dx);
    const half_bits *before = b->before < 0 ? NULL : v->grad[at[b->before]];
    for (size_t e = 0; l->from != v->net.input && e < in; e++) {
        const float sum = (float)dx[e] + (before ? half_to_float(before[e]) : 0);
        to[e] = b->masked && !(half_to_float(v->act[l->from][e]) > 0) ? 0 : half_from_float(sum);
    }
}

/* Memory that nothing wrote is not a number. */
static void walk_back(struct walk *v, double *dw)
{
    size_t most = 0;
    for (int t = 0; t < v->net.tensors; t++) {
        const size_t n = elements(v, t);
        v->grad[t] = malloc(n * sizeof *v->grad[t]);
        memset(v->grad[t], 0xff, n * sizeof *v->grad[t]);
        most = n > most ? n : most;
    }
    double *dx = malloc(most * sizeof *dx);
    memset(dw, 0, v->net.weights * sizeof *dw);
    memcpy(v->grad[v->net.output], v->a->g, elements(v, v->net.output) * sizeof *v->grad[0]);
    for (int i = v->net.layers - 1; i >= 0; i--)
        walk_layer(v, i, dw, dx);
    for (int t = 0; t < v->net.tensors; t++)
        free(v->grad[t]);
    free(dx);
}

struct passes {
    int masks, copies, adds, parts, memories;
};

static struct passes passes_of(const struct walk *v)
{
    struct passes n = { 0 };
    for (int i = 0; i < v->net.layers; i++) {
        n.masks += v->back.layer[i].mask;
        n.copies += v->back.layer[i].residual == NET_BACK_COPY;
        n.adds += v->back.layer[i].residual == NET_BACK_ADD;
    }
    for (int t = 0; t < v->net.tensors; t++) {
        n.parts += v->back.part[t] != NET_BACK_NONE;
        n.memories += v->back.grad[t] == t;
    }
    return n;
}

/* A layer's plan with one thing wrong; 0: nothing there to get wrong. */
static int plant(int fault, const struct sparse_layer *l, struct net_back *b,
                 struct net_back_layer *to)
{
    if (fault == 0 && to->masked)
        to->masked = 0;
    else if (fault == 1 && to->before >= 0)
        to->before = -1;
    else if (fault == 2 && to->before >= 0 && to->before != l->from)
        to->before = l->from; /* as if it had been copied */
    else if (fault == 3 && b->grad[l->to] != l->to)
        b->grad[l->to] = l->to;
    else
        return 0;
    return 1;
}

static double norm_of(const double *x, const double *less, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (x[i] - (less ? less[i] : 0)) * (x[i] - (less ? less[i] : 0));
    return sqrt(sum);
}

static void try_back(const struct sparse_net_problem *p, const struct sparse_net_args *a,
                     half_bits *const *act, const double *want, int centerpoint)
{
    struct walk v = { .p = p, .a = a, .net = *p->net, .act = act };
    const size_t n = p->net->weights;
    double *dw = malloc(n * sizeof *dw), *fused = malloc(n * sizeof *fused);
    int fuses[SPARSE_NET_LAYERS_MAX], relus = 0, residuals = 0, pointwise = 0, planted = 0;
    sparse_net_keep(&v.net);
    for (int h = 0; h < 1 << 16; h++)
        value_of[h] = half_to_float((half_bits)h);
    for (int i = 0; i < v.net.layers; i++) {
        const struct sparse_layer *l = &v.net.layer[i];
        relus += l->relu;
        residuals += l->residual >= 0;
        pointwise += l->step < 0 && l->to != v.net.output;
        fuses[i] = 1;
    }
    net_back_of(&v.net, NULL, &v.back);
    const struct passes every = passes_of(&v);
    CHECK(every.masks == relus && every.copies == residuals && every.memories == v.net.tensors);
    walk_back(&v, dw);
    CHECK(norm_of(dw, want, n) < 3e-3 * norm_of(want, NULL, n)); /* rounded once less a sum */

    net_back_of(&v.net, fuses, &v.back);
    const struct net_back good = v.back;
    const struct passes few = passes_of(&v);
    CHECK(few.masks == centerpoint && !few.copies && !few.adds && few.parts == every.parts);
    CHECK(few.memories == v.net.tensors - pointwise);
    walk_back(&v, fused);
    CHECK(!memcmp(fused, dw, n * sizeof *dw));

    for (int fault = 0; fault < 4; fault++)
        for (int i = fault * 3, found = 0; i < v.net.layers && !found; i++) {
            v.back = good;
            found = plant(fault, &v.net.layer[i], &v.back, &v.back.layer[i]);
            if (!found)
                continue;
            planted++;
            walk_back(&v, fused);
            CHECK(memcmp(fused, dw, n * sizeof *dw));
        }
    CHECK(planted == (centerpoint ? 3 : 4));

    for (int some = 2; some < 4; some++) { /* where only some products can */
        for (int i = 0; i < v.net.layers; i++)
            fuses[i] = i % some != 1;
        net_back_of(&v.net, fuses, &v.back);
        const struct passes between = passes_of(&v);
        CHECK(between.masks > few.masks && between.masks < every.masks);
        walk_back(&v, fused);
        CHECK(!memcmp(fused, dw, n * sizeof *dw));
    }
    free(dw);
    free(fused);
}

/* ---- gradients of a network, and what they are made by ---- */

static void try_gradients(enum sparse_net_kind kind)
{
    const int size[3] = { SIDE, SIDE, 48 };
    struct kmap_plan plan;
    struct kmap_host_net maps;
    struct sparse_net net;
    CHECK((kind == SPARSE_NET_CENTERPOINT
               ? kmap_plan_centerpoint(size, 1, POINTS, &plan)
               : kmap_plan_minkunet(size, 1, POINTS, false, true, &plan)) == OP_OK);
    CHECK(sparse_net_of(kind, &plan, 4, &net) == OP_OK);
    CHECK(kmap_host_net(&plan, coord, &maps) == OP_OK);
    for (int i = 0; i < plan.steps; i++)
        CHECK(kmap_host_pairs(&maps.map[i]) == OP_OK);
    const size_t out = (size_t)maps.n[net.tensor[net.output].level] *
                       (size_t)net.tensor[net.output].channels, in = (size_t)POINTS * 4;
    half_bits *x = calloc(in, sizeof *x), *w = calloc(net.weights, sizeof *w),
              *g = calloc(out, sizeof *g), *act[SPARSE_NET_TENSORS_MAX] = { 0 };
    double *xd = calloc(in, sizeof *xd), *wd = calloc(net.weights, sizeof *wd),
           *gd = calloc(out, sizeof *gd), *y = calloc(out, sizeof *y),
           *dw = calloc(net.weights, sizeof *dw);
    float *b = calloc(net.biases, sizeof *b);
    for (size_t i = 0; i < in; i++)
        xd[i] = half_to_float(x[i] = half_from_float(cb_random_at(CB_UNIFORM, 5, 1, 0, i)));
    for (size_t i = 0; i < net.weights; i++)
        wd[i] = half_to_float(w[i] = half_from_float(.15f * cb_random_at(CB_UNIFORM, 5, 2, 0, i)));
    for (size_t i = 0; i < out; i++)
        gd[i] = half_to_float(g[i] = half_from_float(cb_random_at(CB_UNIFORM, 5, 3, 0, i)));
    for (size_t i = 0; i < net.biases; i++)
        b[i] = .2f * cb_random_at(CB_UNIFORM, 5, 4, 0, i);
    for (int t = 0; t < net.tensors; t++)
        act[t] = calloc((size_t)maps.n[net.tensor[t].level] * (size_t)net.tensor[t].channels,
                        sizeof **act);
    const struct sparse_net_problem p = { &net, &plan, &maps, 1 };
    const struct sparse_net_args a = { .x = x, .w = w, .b = b, .g = g };
    /* rows of the reference first: they are nearly those that nothing rounded */
    CHECK(sparse_net_ref_keep(&p, &a, y, act) == OP_OK);
    double kept = 0, off = 0;
    for (size_t i = 0; i < out; i++)
        kept += y[i] * gd[i];
    off = objective(&p, xd, wd, b, gd, act) - kept;
    CHECK(kept != 0 && fabs(off) < .02 * fabs(kept));
    CHECK(sparse_net_ref_train(&p, &a, act, dw) == OP_OK);
    for (int i = 0; i < TRIED; i++) {
        const size_t at = largest(&net.layer[i * (net.layers - 1) / (TRIED - 1)], dw);
        const double was = wd[at], step = 1e-5;
        wd[at] = was + step;
        const double above = objective(&p, xd, wd, b, gd, NULL);
        wd[at] = was - step;
        const double below = objective(&p, xd, wd, b, gd, NULL);
        wd[at] = was;
        CHECK_NEAR((above - below) / (2 * step), dw[at], .01 * fabs(dw[at]));
        CHECK(dw[at] != 0);
    }
    try_back(&p, &a, act, dw, kind == SPARSE_NET_CENTERPOINT);
    for (int t = 0; t < net.tensors; t++)
        free(act[t]);
    free(x), free(w), free(g), free(xd), free(wd), free(gd), free(y), free(dw), free(b);
    kmap_host_net_free(&maps);
}

/* ---- a case on the host ---- */

static void try_case(void)
{
    static const struct cb_policy policy = { .name = "exact", .invocations = 1, .rotate_l2 = 2,
                                             .flush_l2 = 3, .executions_max = 64 };
    struct cb_context c = { .policy = &policy, .cache = CB_HOT, .seed = 11, .order_seed = 5,
                            .once = true, .aa = -1 };
    const struct cb_op *op = suite_op("sparse_net");
    const struct op_impl *impl[64] = { NULL }, *i;
    struct cb_case out;
    char scan[64];
    int rows = 0, ran = 0;
    snprintf(scan, sizeof scan, "kitti:/tmp/test_sparse_net_%ld.bin", (long)getpid());
    sparse_net_scan(scan, 300);
    void *p = calloc(1, op->params_size), *in, *b;
    json_t *j = json_pack("{s:s,s:s,s:i}", "scan", scan, "network", "minkunet_0.5x", "samples", 1);
    CHECK(!cb_params_from_json(op, j, p));
    CHECK(!cb_device_open("host", &c.device));
    while (rows < 63 && (i = op->impl(rows)))
        impl[rows++] = i;
    CHECK(rows > 5 && !cb_run_case(&c, op, p, impl, &out) && out.status == CB_OK);
    for (int o = 0; o < out.count; o++)
        if (!out.out[o].impl->sm_max) {
            ran++;
            CHECK(out.out[o].status == CB_OK && out.out[o].r1.compared && !out.out[o].r1.bad);
        }
    CHECK(ran == 2);
    cb_case_free(&out);

    struct cb_region y;
    struct cb_accuracy r1 = { 0 }, r2 = { 0 };
    double limit;
    half_bits v;
    CHECK(!op->open(&c, p, &in) && !op->prepare(&c, in, 1, 1));
    CHECK(!op->bind(&c, in, op->impl(0), &b) && op->outputs(b, 0, 0, &y, 1) == 1);
    CHECK(!op->run(b, 0, 0) && !op->expect(&c, in, 0, 0));
    CHECK(!op->check(&c, b, 0, 0, &r1, &r2, &limit) && !r1.bad && r1.rel_fro < limit);
    half_bits *last = (half_bits *)y.data + y.bytes / sizeof v - 1;
    CHECK(!cb_download(c.device, &v, last, sizeof v));
    v = half_from_float(half_to_float(v) + 8);
    CHECK(!cb_upload(c.device, last, &v, sizeof v));
    r1 = (struct cb_accuracy){ 0 };
    CHECK(!op->check(&c, b, 0, 0, &r1, &r2, &limit) && r1.bad == 1);
    op->unbind(b);
    op->close(in);
    json_decref(j);
    free(p);
    cb_device_close(c.device);
    unlink(scan + strlen("kitti:"));
}

/* A training step through the harness; a gradient that is off is found. */
static void try_train(void)
{
    static const struct cb_policy policy = { .name = "exact", .invocations = 1 };
    struct cb_context c = { .policy = &policy, .cache = CB_HOT, .seed = 11, .aa = -1 };
    const struct cb_op *op = suite_op("sparse_net");
    struct cb_region r[8];
    struct cb_accuracy r1 = { 0 }, r2 = { 0 };
    void *p = calloc(1, op->params_size), *in, *b;
    char scan[64];
    const char *why;
    double limit;
    int offered = 0;
    const struct op_impl *impl;
    snprintf(scan, sizeof scan, "kitti:/tmp/test_sparse_net_%ld.bin", (long)getpid());
    sparse_net_scan(scan, 150);
    json_t *j = json_pack("{s:s,s:s,s:s,s:i}", "scan", scan, "network", "minkunet_0.5x", "pass",
                          "train", "batch", 2);
    CHECK(!cb_params_from_json(op, j, p) && !cb_device_open("host", &c.device));
    CHECK(!op->open(&c, p, &in) && !op->prepare(&c, in, 1, 1));
    for (int i = 0; (impl = op->impl(i)); i++)
        offered += !impl->sm_min && op->ready(in, impl, &why) == OP_OK;
    CHECK(offered == 1); /* on the host the definition; rows of inference refuse */
    CHECK(!op->bind(&c, in, op->impl(0), &b) && !op->run(b, 0, 0) && !op->expect(&c, in, 0, 0));
    const int n = op->outputs(b, 0, 0, r, 8);
    CHECK(n >= 2);
    CHECK(!op->check(&c, b, 0, 0, &r1, &r2, &limit) && r1.compared && !r1.bad);
    CHECK(r1.rel_fro < 1e-6);
    for (int i = 0; i < 2; i++) { /* the first, the last */
        const struct cb_region *at = &r[i ? n - 1 : 1];
        float *v = (float *)((char *)at->data + (i ? at->bytes - sizeof *v : 0)), was = *v;
        *v += 1000;
        r1 = (struct cb_accuracy){ 0 };
        CHECK(!op->check(&c, b, 0, 0, &r1, &r2, &limit) && r1.bad == 1);
        *v = was;
    }
    *(half_bits *)r[0].data = half_from_float(1000);
    r1 = (struct cb_accuracy){ 0 };
    CHECK(!op->check(&c, b, 0, 0, &r1, &r2, &limit) && r1.bad == 1);
    op->unbind(b);
    op->close(in);
    json_decref(j);
    free(p);
    cb_device_close(c.device);
    unlink(scan + strlen("kitti:"));
}

static double figure_of(const struct cb_figure *f, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(f[i].name, name))
            return f[i].value;
    return -1;
}

/* Two scans in turns, through every way of the host; what a tuner found is found again, and every
 * way gives the same result. */
static void try_host_row(void)
{
    static const struct cb_policy policy = { .name = "exact", .invocations = 1 };
    struct cb_context c = { .policy = &policy, .cache = CB_COLD, .seed = 11, .aa = -1 };
    const struct cb_op *op = suite_op("sparse_net");
    const struct op_impl *host = NULL, *i;
    char scan[96], folder[64], command[128], was[64] = "";
    void *p = calloc(1, op->params_size), *in, *b;
    struct cb_figure f[CB_FIGURES_MAX];
    struct cb_region y[2] = { 0 };
    struct cb_accuracy r1 = { 0 }, r2 = { 0 };
    double limit;
    for (int t = 0; (i = op->impl(t)); t++)
        host = strcmp(i->name, "autotuned_host") ? host : i;
    snprintf(folder, sizeof folder, "/tmp/test_sparse_net_%ld", (long)getpid());
    setenv("CLAIMBENCH_CACHE", folder, 1);
    snprintf(scan, sizeof scan, "kitti:%s.bin", folder);
    sparse_net_scan(scan, 200);
    json_t *j = json_pack("{s:s,s:s,s:i}", "scan", scan, "network", "minkunet_0.5x", "samples", 1);
    CHECK(host && !cb_params_from_json(op, j, p) && !cb_device_open("host", &c.device));
    CHECK(!op->open(&c, p, &in) && !op->prepare(&c, in, 2, 2));
    for (int again = 0; again < 2; again++) {
        CHECK(!op->bind(&c, in, host, &b));
        CHECK(op->choice(b) && (!again || !strcmp(was, op->choice(b))));
        snprintf(was, sizeof was, "%.63s", op->choice(b));
        for (int set = 0; set < 2; set++) {
            CHECK(op->outputs(b, set, set, &y[set], 1) == 1 && y[set].data != y[!set].data);
            CHECK(!op->run(b, set, set) && !op->expect(&c, in, set, set));
            r1 = (struct cb_accuracy){ 0 };
            CHECK(!op->check(&c, b, set, set, &r1, &r2, &limit));
            CHECK(r1.compared && !r1.bad && r1.rel_fro < limit);
        }
        /* mirrored: as many rows in another order */
        CHECK(y[0].bytes == y[1].bytes && memcmp(y[0].data, y[1].data, y[0].bytes));
        CHECK(!op->check(&c, b, 0, 0, &r1, &r2, &limit) && r1.bad > 0); /* the other's reference */
        const int n = op->figures(b, f);
        CHECK(figure_of(f, n, "tuning_stored") == again && figure_of(f, n, "maps") > 0);
        CHECK(figure_of(f, n, "tuning_trials") == 1 + 9 * 2 && figure_of(f, n, "wall") > 0);
        op->unbind(b);
    }
    op->close(in);
    json_decref(j);
    free(p);
    cb_device_close(c.device);
    unlink(scan + strlen("kitti:"));
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(!system(command));
}

/* Groups of layers by the search and by all settings: what is the same has the same time, rows
 * without a group refuse, and a subject that needs a GPU skips the case. */
static void try_groups(void)
{
    static const struct cb_policy policy = { .name = "exact", .invocations = 1 };
    struct cb_context c = { .policy = &policy, .seed = 11, .aa = -1 };
    const struct cb_op *op = suite_op("tuned_groups");
    const struct op_impl *impl[16] = { NULL };
    struct cb_case out;
    char scan[96];
    void *p = calloc(1, op->params_size);
    int rows = 0, settings = 0;
    double whole = 0;
    snprintf(scan, sizeof scan, "kitti:/tmp/test_groups_%ld.bin", (long)getpid());
    sparse_net_scan(scan, 200);
    while (rows < 15 && (impl[rows] = op->impl(rows)))
        rows++;
    CHECK(rows == 11 && !cb_device_open("host", &c.device));
    for (int gpu = 0; gpu < 2; gpu++) {
        json_t *j = json_pack("{s:s,s:s,s:s,s:i}", "scan", scan, "network", "minkunet_0.5x",
                              "tuned", gpu ? "autotuned" : "autotuned_host", "samples", 2);
        CHECK(!cb_params_from_json(op, j, p) && !cb_run_case(&c, op, p, impl, &out));
        json_decref(j);
        CHECK(out.status == (gpu ? CB_SKIPPED : CB_OK) && out.count == rows);
        for (int i = 0; i < rows; i++) {
            const struct cb_outcome *o = &out.out[i];
            const struct cb_figure *f = o->figures;
            const int n = o->figure_count, last = !strcmp(o->impl->name, "whole");
            const char *slash = strstr(o->choice, " / ");
            if (gpu || !strcmp(o->impl->name, "down_4")) {
                CHECK(o->status == (gpu ? CB_SKIPPED : CB_UNSUPPORTED));
                continue;
            }
            CHECK(o->status == CB_OK && n == 10 && figure_of(f, n, "tuned") > 0);
            CHECK(!last == (slash != NULL) && figure_of(f, n, "every") > 0);
            if (slash && strlen(slash + 3) == (size_t)(slash - o->choice) &&
                !strncmp(slash + 3, o->choice, strlen(slash + 3)))
                CHECK(figure_of(f, n, "missed") == 0);
            if (!strncmp(o->choice, "rows /", 6))
                CHECK(figure_of(f, n, "gain") == 1);
            CHECK(figure_of(f, n, "looked_at") == (last ? 27 : 3));
            CHECK(figure_of(f, n, "trials") <= figure_of(f, n, "looked_at"));
            settings += last ? 0 : (int)figure_of(f, n, "settings");
            whole = last ? figure_of(f, n, "settings") : whole;
        }
        cb_case_free(&out);
    }
    CHECK(settings == 27 && whole == settings);
    free(p);
    cb_device_close(c.device);
    unlink(scan + strlen("kitti:"));
}

int main(void)
{
    char folder[64], command[128];
    snprintf(folder, sizeof folder, "/tmp/test_sparse_net_case_%ld", (long)getpid());
    setenv("CLAIMBENCH_CACHE", folder, 1);
    make_coords();
    try_lists();
    try_flows();
    try_reference(SPARSE_NET_MINKUNET_05X);
    try_reference(SPARSE_NET_CENTERPOINT);
    try_gradients(SPARSE_NET_MINKUNET_05X);
    try_gradients(SPARSE_NET_CENTERPOINT);
    try_train();
    try_case();
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(!system(command));
    try_host_row();
    try_groups();
    return TEST_END();
}
