/* net.c - the layers of the networks, and which memory their rows lie in. */
#include <string.h>

#include "sparse_net.h"

/* ---- building ---- */

struct builder {
    struct sparse_net *net;
    const struct kmap_plan *maps;
    int missing; /* a map that the plan does not have */
};

static int add_tensor(struct builder *b, int level, int channels)
{
    struct sparse_net *net = b->net;
    net->tensor[net->tensors] = (struct sparse_tensor){ .level = level, .channels = channels,
                                                        .whole = net->tensors, .member = -1 };
    return net->tensors++;
}

static int add_part(struct builder *b, int whole, int at, int channels)
{
    const int t = add_tensor(b, b->net->tensor[whole].level, channels);
    b->net->tensor[t].whole = whole;
    b->net->tensor[t].at = at;
    b->net->tensor[t].member = whole;
    b->net->tensor[t].column = at;
    return t;
}

static int step_of(struct builder *b, int from, int to)
{
    for (int i = 0; i < b->maps->steps; i++) {
        const struct kmap_step *s = &b->maps->step[i];
        if (s->transpose ? s->to == from && s->from == to : s->from == from && s->to == to)
            return i;
    }
    b->missing = 1;
    return -1;
}

static size_t align(size_t n)
{
    return (n + 127) / 128 * 128;
}

/* Between the levels of the tensors; pointwise: 1x1x1. */
static struct sparse_layer *add_layer(struct builder *b, int from, int to, int pointwise, int relu)
{
    struct sparse_net *net = b->net;
    struct sparse_layer *l = &net->layer[net->layers++];
    const struct sparse_tensor *x = &net->tensor[from], *y = &net->tensor[to];
    *l = (struct sparse_layer){ .step = -1, .taps = 1, .channels = x->channels,
                                .columns = y->channels, .from = from, .to = to, .residual = -1,
                                .join = -1, .relu = relu, .w = net->weights, .b = net->biases };
    if (!pointwise) {
        l->step = step_of(b, x->level, y->level);
        l->taps = l->step < 0 ? 1 : kmap_taps(&b->maps->step[l->step].shape);
    }
    net->weights += align((size_t)l->taps * (size_t)l->channels * (size_t)l->columns);
    net->biases += align((size_t)l->columns);
    return l;
}

/* A layer to a new tensor, which is returned. */
static int conv(struct builder *b, int from, int level, int columns)
{
    const int to = add_tensor(b, level, columns);
    add_layer(b, from, to, 0, 1);
    return to;
}

/* A residual block into `to`, which has its channels. */
static void block_into(struct builder *b, int from, int to)
{
    const int level = b->net->tensor[from].level, columns = b->net->tensor[to].channels;
    const int mid = conv(b, from, level, columns);
    int residual = from;
    if (b->net->tensor[from].channels != columns) {
        residual = add_tensor(b, level, columns);
        add_layer(b, from, residual, 1, 0);
    }
    struct sparse_layer *l = add_layer(b, mid, to, 0, 1);
    l->residual = residual;
    l->last = 1;
}

static int block(struct builder *b, int from, int columns)
{
    const int to = add_tensor(b, b->net->tensor[from].level, columns);
    block_into(b, from, to);
    return to;
}

/* ---- networks ---- */

static void minkunet(struct builder *b, int features, int half_width)
{
    static const int width[] = { 64, 64, 64, 128, 256, 256, 128, 64, 64 };
    int skip[4], at, cs[9];
    for (int i = 0; i < 9; i++)
        cs[i] = half_width ? width[i] / 2 : width[i];
    /* rows that come up again lie behind the columns of what comes up to them */
    for (int l = 0; l < 4; l++)
        skip[l] = add_part(b, add_tensor(b, l, cs[8 - l] + cs[l]), cs[8 - l], cs[l]);
    b->net->input = add_tensor(b, 0, features);
    add_layer(b, conv(b, b->net->input, 0, cs[0]), skip[0], 0, 1);
    at = skip[0];
    for (int l = 1; l <= 4; l++) {
        at = block(b, conv(b, at, l, cs[l - 1]), cs[l]);
        if (l < 4) {
            block_into(b, at, skip[l]);
            at = skip[l];
        } else {
            at = block(b, at, cs[l]);
        }
    }
    for (int l = 3; l >= 0; l--) {
        const int whole = b->net->tensor[skip[l]].whole;
        add_layer(b, at, add_part(b, whole, 0, cs[8 - l]), 0, 1);
        at = block(b, block(b, whole, cs[8 - l]), cs[8 - l]);
    }
    b->net->output = add_tensor(b, 0, SPARSE_NET_CLASSES);
    add_layer(b, at, b->net->output, 1, 0);
}

static void centerpoint(struct builder *b, int features)
{
    int at = b->net->input = add_tensor(b, 0, features);
    for (int l = 0; l < 4; l++)
        at = block(b, block(b, conv(b, at, l, 16 << l), 16 << l), 16 << l);
    b->net->output = conv(b, at, 4, 128);
}

/* ---- memory ---- */

/* First layer that writes a whole tensor or a part of it, last that reads it. */
static void life_of(const struct sparse_net *net, int whole, int *first, int *last)
{
    *first = whole == net->input ? -1 : net->layers;
    *last = whole == net->output ? net->layers : -1;
    for (int i = 0; i < net->layers; i++) {
        const struct sparse_layer *l = &net->layer[i];
        if ((net->tensor[l->to].whole == whole || l->join == whole) && i < *first)
            *first = i;
        if (net->tensor[l->from].whole == whole ||
            (l->residual >= 0 && net->tensor[l->residual].whole == whole) ||
            (l->join >= 0 && net->tensor[whole].member == l->join))
            *last = i;
    }
}

/* By first use; the slot of the same level that is free, else a new one. */
static void place(struct sparse_net *net)
{
    int level[SPARSE_NET_SLOTS_MAX], busy[SPARSE_NET_SLOTS_MAX], first, last;
    for (int now = -1; now < net->layers; now++)
        for (int t = 0; t < net->tensors; t++) {
            int slot = 0;
            life_of(net, t, &first, &last);
            if (net->tensor[t].whole != t || first != now)
                continue;
            while (slot < net->slots &&
                   (level[slot] != net->tensor[t].level || busy[slot] >= now))
                slot++;
            net->slots += slot == net->slots;
            level[slot] = net->tensor[t].level;
            busy[slot] = last;
            net->tensor[t].slot = slot;
        }
}

void sparse_net_separate(struct sparse_net *net)
{
    for (int t = 0; t < net->tensors; t++) {
        net->tensor[t].whole = t;
        net->tensor[t].at = 0;
    }
    for (int i = 0; i < net->layers; i++) { /* what comes up is written last, into column 0 */
        const struct sparse_tensor *to = &net->tensor[net->layer[i].to];
        net->layer[i].join = to->column ? -1 : to->member;
    }
    net->slots = 0;
    place(net);
}

void sparse_net_keep(struct sparse_net *net)
{
    sparse_net_separate(net);
    for (int t = 0; t < net->tensors; t++)
        net->tensor[t].slot = t;
    net->slots = net->tensors;
}

size_t sparse_net_slot_bytes(const struct sparse_net *net, const int rows[KMAP_LEVELS_MAX],
                             int slot)
{
    size_t most = 0;
    for (int t = 0; t < net->tensors; t++) {
        const struct sparse_tensor *x = &net->tensor[t];
        const size_t bytes = 2 * (size_t)rows[x->level] * (size_t)x->channels;
        if (x->whole == t && x->slot == slot && bytes > most)
            most = bytes;
    }
    return most;
}

enum op_status sparse_net_of(enum sparse_net_kind kind, const struct kmap_plan *maps, int features,
                             struct sparse_net *net)
{
    struct builder b = { net, maps, 0 };
    memset(net, 0, sizeof *net);
    const int steps = kind == SPARSE_NET_CENTERPOINT ? 8 : 13; /* of the plan in kmap */
    if (features < 2 || features % 2 || maps->levels != 5 || maps->steps != steps)
        return OP_EINVAL;
    if (kind == SPARSE_NET_CENTERPOINT)
        centerpoint(&b, features);
    else
        minkunet(&b, features, kind == SPARSE_NET_MINKUNET_05X);
    place(net);
    return b.missing ? OP_EINVAL : OP_OK;
}

/* ---- groups ---- */

/* The step whose map a step uses: of a transpose the one between the same levels. */
static int map_of(const struct kmap_plan *maps, int step)
{
    const struct kmap_step *s = &maps->step[step];
    for (int i = 0; i < step; i++)
        if (maps->step[i].from == s->from && maps->step[i].to == s->to)
            return i;
    return step;
}

int sparse_net_group(const struct kmap_plan *maps, int step)
{
    int group = -1;
    for (int i = 0; i <= map_of(maps, step); i++)
        group += map_of(maps, i) == i;
    return group;
}

int sparse_net_groups(const struct kmap_plan *maps)
{
    int most = -1;
    for (int i = 0; i < maps->steps; i++)
        most = sparse_net_group(maps, i) > most ? sparse_net_group(maps, i) : most;
    return most + 1;
}

/* ---- how much it is ---- */

struct spconv_problem sparse_net_layer_problem(const struct sparse_net *net,
                                               const struct kmap_plan *plan,
                                               const struct kmap_host_net *maps, int layer)
{
    const struct sparse_layer *l = &net->layer[layer];
    const int same = l->step < 0 || plan->step[l->step].from == plan->step[l->step].to;
    return (struct spconv_problem){ maps->n[net->tensor[l->from].level],
                                    maps->n[net->tensor[l->to].level], l->channels, l->columns,
                                    l->taps, sparse_net_pairs(net, maps, layer), same,
                                    SPCONV_FORWARD, SPCONV_F16 };
}

long sparse_net_pairs(const struct sparse_net *net, const struct kmap_host_net *maps, int layer)
{
    const struct sparse_layer *l = &net->layer[layer];
    return l->step < 0 ? maps->n[net->tensor[l->to].level] : maps->map[l->step].map.pairs_total;
}

double sparse_net_flops(const struct sparse_net *net, const struct kmap_host_net *maps)
{
    double flops = 0;
    for (int i = 0; i < net->layers; i++)
        flops += 2.0 * (double)sparse_net_pairs(net, maps, i) * net->layer[i].channels *
                 net->layer[i].columns;
    return flops;
}
