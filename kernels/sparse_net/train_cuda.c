/*
 * train_cuda.c - a training step layer by layer through rows of spconv: forward with all rows kept,
 * then gradients.  Every group of layers has rows for forward, dgrad and wgrad, which can be
 * changed; what one needs is made when it is first chosen and kept.
 *
 * What the gradients need beside products follows from back.h: passes of their own, or for a fused
 * row products that add and mask.
 *
 * A run makes the maps and what the rows read of them: orders of the map and of its transpose,
 * lists of pairs, or this suite's plans.  The layers read copies of the same that set-up made, as
 * in listed_cuda.c: they take their sizes from the host.
 */
#include <stdlib.h>
#include <string.h>

#include "../common/share.h"
#include "../spconv/own_plans.h"
#include "back.h"
#include "forms.h"

enum { PASSES = 3 };

/* A table on the device and the orders of it. */
struct side {
    const int32_t *table;
    const uint32_t *mask; /* taps of its rows, as builders of this suite make them; NULL: made */
    int32_t *made; /* memory of a transposed table that no step of the plan is; else NULL */
    int level;     /* of its rows */
    struct kmap_order_memory order[KMAP_SPLITS_MAX];
    struct own_plan plan; /* row NULL: not opened */
};

struct train {
    const struct sparse_net_impl *impl;
    struct sparse_net_problem p;
    struct sparse_net_args a;
    struct op_share share; /* scratch of all layers, of memory of the set-up */
    struct op_memory memory;
    struct sparse_net net;
    struct net_memory m;
    struct net_back back;
    void *grad[SPARSE_NET_TENSORS_MAX], *term; /* term: one more gradient */
    struct kmap_host transpose[KMAP_STEPS_MAX];
    struct spconv_map host[KMAP_STEPS_MAX + 1], device[KMAP_STEPS_MAX + 1]; /* last: rows with */
    int32_t *same;                                                          /* themselves */
    int flow[KMAP_STEPS_MAX];
    struct side side[KMAP_STEPS_MAX][2]; /* forward, backward */
    struct own_plan_work work; /* of all plans of this suite's rows */
    int room;                  /* tiles that work has room for */
    struct kmap_list lists[KMAP_STEPS_MAX];
    struct net_layer_row open[SPARSE_NET_LAYERS_MAX][PASSES][NET_ROWS_MAX];
    int chosen[SPARSE_NET_LAYERS_MAX][PASSES];
};

/* ---- maps ---- */

static int rows_of_side(const struct train *v, const struct side *side)
{
    return kmap_padded(v->p.maps->cap[side->level]);
}

/* A side of a step, as a run makes it. */
static struct kmap_source source_of(const struct train *v, int step, int back)
{
    const struct side *side = &v->side[step][back];
    return (struct kmap_source){ side->table, NULL, v->m.maps.count + side->level,
                                 v->p.maps->cap[side->level], rows_of_side(v, side),
                                 kmap_taps(&v->p.maps->step[step].shape) };
}

/* The step of the plan that is the transpose of a step; -1: none. */
static int transpose_of(const struct kmap_plan *maps, int step)
{
    const struct kmap_step *s = &maps->step[step];
    for (int i = 0; i < maps->steps; i++)
        if (maps->step[i].from == s->from && maps->step[i].to == s->to &&
            maps->step[i].transpose != s->transpose)
            return i;
    return -1;
}

/* Of a map of a level with itself the transpose has the same rows, with taps from the other end:
 * its order costs the same, so that it is made of the table itself. */
static enum op_status open_sides(int i, struct train *v)
{
    const struct kmap_plan *maps = v->p.maps;
    const struct kmap_step *s = &maps->step[i];
    const int other = s->from == s->to ? i : transpose_of(maps, i);
    struct side *side = v->side[i];
    enum op_status status = OP_OK;
    side[0].level = net_step_level(maps, i);
    side[0].table = v->m.maps.table[i];
    side[0].mask = v->m.maps.mask[i];
    side[1].level = s->from == s->to ? s->from : s->transpose ? s->to : s->from;
    if (other < 0)
        side[1].made = net_take(&v->memory,
                                (size_t)rows_of_side(v, &side[1]) *
                                    (size_t)kmap_taps(&s->shape) * sizeof(int32_t),
                                &status);
    side[1].table = other < 0 ? side[1].made : v->m.maps.table[other];
    side[1].mask = other < 0 ? NULL : v->m.maps.mask[other];
    return status;
}

static enum op_status upload(const int32_t *from, size_t count, const struct op_memory *memory,
                             op_stream s, const int32_t **to)
{
    enum op_status status = OP_OK;
    void *p = net_take(memory, count * sizeof *from, &status);
    *to = p;
    return status ? status : net_upload(p, from, count * sizeof *from, s);
}

static enum op_status send_map(int i, const struct spconv_problem *p, op_stream s, struct train *v)
{
    const struct spconv_map *h = &v->host[i];
    struct spconv_map *d = &v->device[i];
    const size_t taps = (size_t)p->taps, pairs = (size_t)p->pairs;
    enum op_status status = upload(h->by_out, (size_t)p->out * taps, &v->memory, s, &d->by_out);
    if (!status)
        status = upload(h->by_in, (size_t)p->in * taps, &v->memory, s, &d->by_in);
    if (!status)
        status = upload(h->start, taps + 1, &v->memory, s, &d->start);
    if (!status)
        status = upload(h->pair_in, pairs, &v->memory, s, &d->pair_in);
    return status ? status : upload(h->pair_out, pairs, &v->memory, s, &d->pair_out);
}

static enum op_status open_map(int i, op_stream s, struct train *v)
{
    const struct kmap *m = &v->p.host->map[i].map;
    const struct spconv_problem p = { .in = m->n_in, .out = m->n_out, .taps = m->taps,
                                      .pairs = m->pairs_total };
    enum op_status status = kmap_host_transpose(m, &v->transpose[i]);
    if (status)
        return status;
    v->host[i] = (struct spconv_map){ m->table.index, v->transpose[i].map.table.index,
                                      m->pairs.start, m->pairs.in, m->pairs.out };
    status = open_sides(i, v);
    const struct kmap_source source = source_of(v, i, 0);
    if (!status)
        status = net_list_open(m, &source, &v->memory, &v->lists[i]);
    return status ? status : send_map(i, &p, s, v);
}

/* Rows with themselves, of the longest level; start is a layer's own matter on the host. */
static enum op_status open_same(op_stream s, struct train *v)
{
    struct spconv_map *d = &v->device[KMAP_STEPS_MAX];
    int32_t *same;
    const enum op_status status = net_same_open(v->p.maps, &v->memory, s, &v->same, &same);
    v->host[KMAP_STEPS_MAX] = (struct spconv_map){ v->same, v->same, NULL, v->same, v->same };
    d->by_out = same;
    d->by_in = d->pair_in = d->pair_out = d->by_out;
    return status;
}

/* ---- forms of maps ---- */

static int is_own(const struct sparse_net_flow *flow)
{
    return !strcmp(flow->layer, "own");
}

static enum op_status open_forms(int i, op_stream s, struct train *v)
{
    const struct sparse_net_flow *flow = &v->impl->flow[v->flow[i]];
    const int taps = kmap_taps(&v->p.maps->step[i].shape);
    const int splits[3] = { flow->splits, flow->back, flow->wback };
    enum op_status status = OP_OK;
    for (int k = 0; !status && k < 3; k++)
        if (splits[k])
            status = net_order_open(rows_of_side(v, &v->side[i][k > 0]), taps, splits[k],
                                    &v->memory, &v->side[i][k > 0].order[splits[k] - 1]);
    for (int k = 0; !status && is_own(flow) && k < 2; k++) {
        struct side *side = &v->side[i][k];
        const int rows = v->p.maps->cap[side->level];
        struct own_choice choice = { .splits = 0 };
        struct own_plan_work unused; /* of one plan alone */
        struct own_cut cut;
        if (side->plan.row)
            continue;
        status = net_own_cut(&v->net, i, rows, k, &choice, &cut);
        if (!status)
            status = own_plan_open(rows, taps, choice.splits, &cut, &v->memory, s, &side->plan,
                                   &unused);
    }
    return status;
}

/* Plans of both sides of all maps that this suite's rows read. */
static struct own_plans plans_of(const struct train *v)
{
    struct own_plans p = { 0 };
    for (int i = 0; i < v->p.maps->steps; i++)
        for (int k = 0; is_own(&v->impl->flow[v->flow[i]]) && k < 2; k++) {
            const struct side *side = &v->side[i][k];
            p.source[p.count] = (struct own_source){
                side->table, side->mask, v->m.maps.count + side->level, v->p.maps->cap[side->level],
                kmap_taps(&v->p.maps->step[i].shape)
            };
            p.plan[p.count++] = side->plan;
        }
    return p;
}

static enum op_status open_plans(struct train *v)
{
    const struct own_plans plans = plans_of(v);
    const int tiles = own_plans_tiles(&plans);
    if (tiles <= v->room)
        return OP_OK;
    v->room = tiles;
    return own_plans_open(tiles, &v->memory, &v->work);
}

static enum op_status make_side(const struct train *v, int i, int back, op_stream s)
{
    const struct sparse_net_flow *flow = &v->impl->flow[v->flow[i]];
    const struct side *side = &v->side[i][back];
    const int splits[2] = { back ? flow->back : flow->splits,
                            back && flow->wback != flow->back ? flow->wback : 0 };
    const struct kmap_source source = source_of(v, i, back);
    enum op_status status = OP_OK;
    if (side->made)
        status = net_transpose_table(v->m.maps.table[i], v->m.maps.count + v->side[i][0].level,
                                     v->p.maps->cap[v->side[i][0].level], source.taps, side->made,
                                     rows_of_side(v, side), s);
    for (int k = 0; !status && k < 2; k++)
        if (splits[k])
            status = kmap_order_cuda(&source, splits[k], KMAP_PAD, &side->order[splits[k] - 1], s);
    return status;
}

static enum op_status make_forms(const struct train *v, int parts, op_stream s)
{
    const struct own_plans plans = plans_of(v);
    struct kmap_list lists[KMAP_STEPS_MAX];
    enum op_status status = OP_OK;
    int count = 0;
    for (int i = 0; !status && i < v->p.maps->steps; i++) {
        if (!sparse_net_has_step(parts, v->p.maps, i))
            continue;
        status = make_side(v, i, 0, s);
        if (!status)
            status = make_side(v, i, 1, s);
        if (v->impl->flow[v->flow[i]].pairs)
            lists[count++] = v->lists[i];
    }
    if (!status && count)
        status = kmap_pairs_cuda(lists, count, s);
    return status || !plans.count ? status : own_plans_make(&plans, &v->work, s);
}

/* ---- layers ---- */

static struct spconv_problem problem_of(const struct train *v, int i, enum spconv_pass pass)
{
    struct spconv_problem p = sparse_net_layer_problem(&v->net, v->p.maps, v->p.host, i);
    p.pass = pass;
    return p;
}

static int map_of(const struct train *v, int i)
{
    return v->net.layer[i].step < 0 ? KMAP_STEPS_MAX : v->net.layer[i].step;
}

static struct spconv_args args_of(const struct train *v, int i, enum spconv_pass pass, void *y)
{
    const struct sparse_layer *l = &v->net.layer[i];
    return (struct spconv_args){
        v->device[map_of(v, i)], net_rows_of(&v->m, &v->net, l->from).at,
        (const char *)v->a.w + 2 * l->w, v->grad[l->to],
        pass == SPCONV_WGRAD ? (void *)(v->a.dw + l->w) : y
    };
}

/* Rows of a flow; of 1x1x1 layers cuBLAS, or this suite's. */
static const struct spconv_impl *row_of(const struct train *v, int i, int flow,
                                        enum spconv_pass pass)
{
    const struct sparse_net_flow *f = &v->impl->flow[flow];
    const struct spconv_problem p = problem_of(v, i, pass);
    const char *const names[PASSES] = { f->layer, f->dgrad, f->wgrad };
    const int point = v->net.layer[i].step < 0;
    const struct spconv_impl *row =
        spconv_find(point && !is_own(f) ? "gather_fused" : names[pass]);
    const char *why;
    if (row && row->supports(&p, &why) && pass == SPCONV_WGRAD)
        row = spconv_find("wgrad_s1"); /* rows of x that are no multiples of 16 bytes */
    return row && !row->supports(&p, &why) ? row : NULL;
}

/* y: of the set-up; rows that keep addresses keep those of x, w and g, which stay. */
static enum op_status open_pass(int i, int flow, enum spconv_pass pass, op_stream s,
                                struct train *v)
{
    const struct spconv_impl *row = row_of(v, i, flow, pass);
    const struct spconv_problem p = problem_of(v, i, pass);
    const struct spconv_args args = args_of(v, i, pass, v->term);
    const int32_t start[2] = { 0, p.out };
    struct spconv_map host = v->host[map_of(v, i)];
    if (v->net.layer[i].step < 0)
        host.start = start;
    const int like = net_layer_like(&v->net, i);
    return net_row_open(row, 0, &p, &host, &args, &v->memory, s,
                        like < 0 ? NULL : v->open[like][pass], v->open[i][pass],
                        &v->chosen[i][pass]);
}

enum op_status sparse_net_train_choose(void *state, const int *flow, op_stream s)
{
    struct train *v = state;
    enum op_status status = OP_OK;
    for (int i = 0; !status && i < v->p.maps->steps; i++) {
        v->flow[i] = flow[sparse_net_group(v->p.maps, i)];
        status = open_forms(i, s, v);
    }
    if (!status)
        status = open_plans(v);
    for (int i = 0; !status && i < v->net.layers; i++)
        for (int pass = 0; !status && pass < PASSES; pass++)
            if (pass != SPCONV_DGRAD || v->net.layer[i].from != v->net.input)
                status = open_pass(i, v->net.layer[i].step < 0 ? 0 : v->flow[v->net.layer[i].step],
                                   (enum spconv_pass)pass, s, v);
    return status;
}

/* Which products may add and mask, in the first flow. */
static void open_back(struct train *v)
{
    int fuses[SPARSE_NET_LAYERS_MAX];
    for (int i = 0; i < v->net.layers; i++) {
        const struct spconv_impl *row =
            v->net.layer[i].from == v->net.input ? NULL : row_of(v, i, 0, SPCONV_DGRAD);
        fuses[i] = row && row->run_with;
    }
    net_back_of(&v->net, v->impl->fused ? fuses : NULL, &v->back);
}

static enum op_status open_gradients(struct train *v)
{
    enum op_status status = OP_OK;
    size_t most = 0;
    for (int t = 0; t < v->net.tensors; t++) {
        const size_t bytes = sparse_net_slot_bytes(&v->net, v->p.maps->cap, t);
        most = bytes > most ? bytes : most;
        if (v->back.grad[t] == t)
            v->grad[t] = net_take(&v->memory, bytes, &status);
    }
    for (int t = 0; t < v->net.tensors; t++)
        v->grad[t] = v->grad[v->back.grad[t]];
    v->term = net_take(&v->memory, most, &status);
    return status;
}

enum op_status sparse_net_train_setup(const struct sparse_net_impl *impl,
                                      const struct sparse_net_problem *p,
                                      const struct sparse_net_args *a,
                                      const struct op_memory *memory, op_stream s, void **state)
{
    static const int first[KMAP_STEPS_MAX];
    struct train *v = calloc(1, sizeof *v);
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    v->impl = impl;
    v->p = *p;
    v->a = *a;
    v->share.from = *memory;
    v->memory = op_share_memory(&v->share);
    v->net = *p->net;
    sparse_net_keep(&v->net);
    open_back(v);
    enum op_status status = net_memory_open(impl, p, &v->net, a, memory, &v->m);
    if (!status)
        status = open_gradients(v);
    for (int i = 0; !status && i < p->maps->steps; i++)
        status = open_map(i, s, v);
    if (!status)
        status = open_same(s, v);
    if (!status)
        status = sparse_net_train_choose(v, first, s);
    if (status)
        sparse_net_train_teardown(v);
    else
        *state = v;
    return status;
}

void sparse_net_train_teardown(void *state)
{
    struct train *v = state;
    if (!v)
        return;
    for (int i = 0; i < SPARSE_NET_LAYERS_MAX; i++)
        for (int pass = 0; pass < PASSES; pass++)
            net_rows_close(v->open[i][pass]);
    for (int i = 0; i < KMAP_STEPS_MAX; i++)
        kmap_host_free(&v->transpose[i]);
    net_memory_close(&v->m);
    free(v->same);
    free(v);
}

/* ---- runs ---- */

static int level_rows(const struct train *v, int tensor)
{
    return v->p.host->n[v->net.tensor[tensor].level];
}

static struct net_rows gradient_of(const struct train *v, int tensor)
{
    return (struct net_rows){ v->grad[tensor], v->net.tensor[tensor].channels };
}

/* rest: NULL where there is none, and where the row cannot do it. */
static enum op_status run_pass(const struct train *v, int i, enum spconv_pass pass, void *y,
                               const struct spconv_rest *rest, op_stream s)
{
    const struct net_layer_row *open = &v->open[i][pass][v->chosen[i][pass]];
    const struct spconv_problem p = problem_of(v, i, pass);
    const struct spconv_args args = args_of(v, i, pass, y);
    return rest ? open->row->run_with(&p, &args, rest, open->state, s)
                : open->row->run(&p, &args, open->state, s);
}

static int does_rest(const struct train *v, int i, enum spconv_pass pass)
{
    return v->open[i][pass][v->chosen[i][pass]].row->run_with != NULL;
}

static enum op_status pass_rows(enum net_back_pass pass, struct net_rows from, struct net_rows to,
                                int channels, int n, op_stream s)
{
    return pass == NET_BACK_NONE  ? OP_OK
           : pass == NET_BACK_ADD ? net_add_rows(from, to, channels, n, s)
                                  : net_copy_rows(from, to, channels, n, NULL, 0, s);
}

/* Members of a tensor side by side into it; back: its gradient to theirs. */
static enum op_status join(const struct train *v, int whole, int back, op_stream s)
{
    const struct net_rows all = back ? gradient_of(v, whole) : net_rows_of(&v->m, &v->net, whole);
    enum op_status status = OP_OK;
    for (int t = 0; !status && t < v->net.tensors; t++) {
        const struct sparse_tensor *x = &v->net.tensor[t];
        const struct net_rows columns = { (char *)all.at + 2 * x->column, all.step };
        const int n = level_rows(v, t);
        if (x->member != whole)
            continue;
        if (!back)
            status = net_copy_rows(net_rows_of(&v->m, &v->net, t), columns, x->channels, n, NULL,
                                   0, s);
        else
            status = pass_rows(v->back.part[t], columns, gradient_of(v, t), x->channels, n, s);
    }
    return status;
}

static enum op_status forward(const struct train *v, int i, op_stream s)
{
    const struct sparse_layer *l = &v->net.layer[i];
    void *y = net_rows_of(&v->m, &v->net, l->to).at;
    const void *residual = l->residual < 0 ? NULL : net_rows_of(&v->m, &v->net, l->residual).at;
    const struct spconv_rest rest = { .bias = v->a.b + l->b, .residual = residual,
                                      .relu = l->relu };
    const int at_once = does_rest(v, i, SPCONV_FORWARD);
    enum op_status status = run_pass(v, i, SPCONV_FORWARD, y, at_once ? &rest : NULL, s);
    if (!status && !at_once)
        status = net_finish_rows(y, v->a.b + l->b, residual, level_rows(v, l->to), l->columns,
                                 l->relu, s);
    return !status && l->join >= 0 ? join(v, l->join, 0, s) : status;
}

/* A gradient's first term is copied or written in place, later ones are added. */
static enum op_status backward(const struct train *v, int i, op_stream s)
{
    const struct sparse_layer *l = &v->net.layer[i];
    const struct net_back_layer *b = &v->back.layer[i];
    const int n = level_rows(v, l->to), from_n = level_rows(v, l->from);
    const struct net_rows g = gradient_of(v, l->to);
    enum op_status status = l->join < 0 ? OP_OK : join(v, l->join, 1, s);
    if (!status && b->mask)
        status = net_mask_rows(g.at, net_rows_of(&v->m, &v->net, l->to).at,
                               (size_t)n * (size_t)l->columns, s);
    if (!status && b->residual)
        status = pass_rows(b->residual, g, gradient_of(v, l->residual), l->columns, n, s);
    if (!status)
        status = run_pass(v, i, SPCONV_WGRAD, NULL, NULL, s);
    if (status || l->from == v->net.input)
        return status;
    const struct net_rows x = gradient_of(v, l->from), term = { v->term, l->channels };
    const struct spconv_rest rest = {
        .residual = b->before < 0 ? NULL : gradient_of(v, b->before).at,
        .mask = b->masked ? net_rows_of(&v->m, &v->net, l->from).at : NULL
    };
    const int at_once = (rest.residual || rest.mask) && does_rest(v, i, SPCONV_DGRAD);
    const int add = rest.residual && !at_once;
    status = run_pass(v, i, SPCONV_DGRAD, add ? term.at : x.at, at_once ? &rest : NULL, s);
    return !status && add ? net_add_rows(term, x, l->channels, from_n, s) : status;
}

static enum op_status all_backward(const struct train *v, int parts, op_stream s)
{
    const struct sparse_tensor *out = &v->net.tensor[v->net.output];
    const struct net_rows g = { (void *)v->a.g, out->channels };
    enum op_status status = net_copy_rows(g, gradient_of(v, v->net.output), out->channels,
                                          level_rows(v, v->net.output), NULL, 0, s);
    for (int i = v->net.layers - 1; !status && i >= 0; i--)
        if (sparse_net_has_step(parts, v->p.maps, v->net.layer[i].step))
            status = backward(v, i, s);
    return status;
}

/* Rows of the input are in the caller's order: the layers' maps are those of the host. */
enum op_status sparse_net_train_run(const struct sparse_net_problem *p,
                                    const struct sparse_net_args *a, void *state, int parts,
                                    op_stream s)
{
    const struct train *v = state;
    const struct sparse_tensor *in = &v->net.tensor[v->net.input];
    const struct sparse_tensor *out = &v->net.tensor[v->net.output];
    const struct net_rows x = { (void *)a->x, in->channels }, y = { a->y, out->channels };
    enum op_status status = OP_OK;
    if (parts & SPARSE_NET_MAPS)
        status = v->m.builder->run(p->maps, &v->m.maps, v->m.builder_state, s);
    if (!status && parts & SPARSE_NET_ORDERS)
        status = make_forms(v, parts, s);
    if (!status && parts == SPARSE_NET_ALL)
        status = net_copy_rows(x, net_rows_of(&v->m, &v->net, v->net.input), in->channels,
                               p->maps->n_in, NULL, 0, s);
    for (int i = 0; !status && parts & SPARSE_NET_LAYERS && i < v->net.layers; i++)
        if (sparse_net_has_step(parts, p->maps, v->net.layer[i].step))
            status = forward(v, i, s);
    if (!status && parts & SPARSE_NET_BACK)
        status = all_backward(v, parts, s);
    if (!status && parts == SPARSE_NET_ALL)
        status = net_copy_rows(net_rows_of(&v->m, &v->net, v->net.output), y, out->channels,
                               level_rows(v, v->net.output), NULL, 0, s);
    return status;
}

const void *sparse_net_train_rows(const void *state, int tensor)
{
    const struct train *v = state;
    return net_rows_of(&v->m, &v->net, tensor).at;
}
