/*
 * ref.c - kernel maps by their definition: sorted keys, one binary search an output and tap.
 *
 * Decides what every builder must give.  Written to be read; some hundred milliseconds for a
 * LiDAR scan.
 */
#include <string.h>

#include "../common/radix.h"
#include "ref_part.h"

static uint64_t key_of(const int size[3], const struct kmap_coord *c)
{
    return (((uint64_t)c->b * (uint64_t)size[0] + (uint64_t)c->x) * (uint64_t)size[1] +
            (uint64_t)c->y) * (uint64_t)size[2] + (uint64_t)c->z;
}

static int inside(const struct kmap_coord *c, const int size[3], int batch)
{
    return c->b >= 0 && c->b < batch && c->x >= 0 && c->x < size[0] && c->y >= 0 &&
           c->y < size[1] && c->z >= 0 && c->z < size[2];
}

static int find(const struct keyed *e, int n, uint64_t key)
{
    int low = 0, high = n;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (e[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && e[low].key == key ? e[low].row : -1;
}

static int padded(int n)
{
    return (n + KMAP_PAD - 1) / KMAP_PAD * KMAP_PAD;
}

void kmap_host_free(struct kmap_host *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < sizeof h->memory / sizeof *h->memory; i++)
        free(h->memory[i]);
    *h = (struct kmap_host){ 0 };
}

/* ---- outputs ---- */

/* Outputs along one axis that meet p: q with stride q - pad + t = p.  Returns the first, *last. */
static int first_output(const struct kmap_shape *s, int a, int p, int out, int *last)
{
    if (s->rule == KMAP_FLOOR)
        return *last = p / s->stride[a];
    int low = p + s->pad[a] - (s->kernel[a] - 1), high = (p + s->pad[a]) / s->stride[a];
    *last = high < out ? high : out - 1;
    return low <= 0 ? 0 : (low + s->stride[a] - 1) / s->stride[a];
}

static int candidates(const struct kmap_shape *s, const int out[3], const struct kmap_coord *c,
                      struct keyed *to)
{
    const int p[3] = { c->x, c->y, c->z };
    int first[3], last[3], n = 0;
    for (int a = 0; a < 3; a++)
        first[a] = first_output(s, a, p[a], out[a], &last[a]);
    for (int x = first[0]; x <= last[0]; x++)
        for (int y = first[1]; y <= last[1]; y++)
            for (int z = first[2]; z <= last[2]; z++) {
                struct kmap_coord q = { c->b, x, y, z };
                if (to)
                    to[n].key = key_of(out, &q);
                n++;
            }
    return n;
}

static enum op_status make_outputs(const struct kmap_shape *s, const struct kmap_coord *in,
                                   int n_in, struct kmap_host *h)
{
    int out[3];
    size_t total = 0, unique = 0;
    kmap_out_size(s, out);
    for (int j = 0; j < n_in; j++)
        total += (size_t)candidates(s, out, &in[j], NULL);
    struct keyed *e = calloc(total + 1, sizeof *e);
    if (!e)
        return OP_ENOMEM;
    size_t at = 0;
    for (int j = 0; j < n_in; j++)
        at += (size_t)candidates(s, out, &in[j], e + at);
    if (radix_sort(e, total)) {
        free(e);
        return OP_ENOMEM;
    }
    for (size_t i = 0; i < total; i++)
        if (!i || e[i].key != e[i - 1].key)
            e[unique++].key = e[i].key;
    struct kmap_coord *q = take(h, COORD, unique, sizeof *q);
    for (size_t i = 0; q && i < unique; i++) {
        uint64_t k = e[i].key;
        q[i].z = (int32_t)(k % (uint64_t)out[2]);
        k /= (uint64_t)out[2];
        q[i].y = (int32_t)(k % (uint64_t)out[1]);
        k /= (uint64_t)out[1];
        q[i].x = (int32_t)(k % (uint64_t)out[0]);
        q[i].b = (int32_t)(k / (uint64_t)out[0]);
    }
    free(e);
    h->map.out_coord = q;
    h->map.n_out = (int)unique;
    return q ? OP_OK : OP_ENOMEM;
}

/* ---- the table ---- */

static enum op_status new_table(struct kmap_host *h)
{
    struct kmap *m = &h->map;
    int rows = padded(m->n_out);
    int32_t *index = take(h, TABLE, (size_t)rows * (size_t)m->taps, sizeof *index);
    if (!index)
        return OP_ENOMEM;
    memset(index, 0xff, (size_t)rows * (size_t)m->taps * sizeof *index);
    m->table = (struct kmap_table){ rows, m->taps, 1, index };
    return OP_OK;
}

static void fill_table(struct kmap_host *h, const struct keyed *e, const struct kmap_coord *q)
{
    struct kmap *m = &h->map;
    const struct kmap_shape *s = &m->shape;
    int32_t *index = h->memory[TABLE];
    int tap[KMAP_TAPS_MAX][3];
    long pairs = 0;
    for (int d = 0; d < m->taps; d++)
        kmap_tap_at(s, d, tap[d]);
#pragma omp parallel for schedule(static) reduction(+ : pairs)
    for (int k = 0; k < m->n_out; k++)
        for (int d = 0; d < m->taps; d++) {
            const int *t = tap[d];
            struct kmap_coord p = { q[k].b, q[k].x * s->stride[0] - s->pad[0] + t[0],
                                    q[k].y * s->stride[1] - s->pad[1] + t[1],
                                    q[k].z * s->stride[2] - s->pad[2] + t[2] };
            int j = inside(&p, s->size, s->batch) ? find(e, m->n_in, key_of(s->size, &p)) : -1;
            index[(size_t)k * (size_t)m->taps + (size_t)d] = j;
            pairs += j >= 0;
        }
    m->pairs_total = pairs;
}

static enum op_status sorted_inputs(const struct kmap_shape *s, const struct kmap_coord *in, int n,
                                    struct keyed *e)
{
    for (int j = 0; j < n; j++) {
        if (!inside(&in[j], s->size, s->batch))
            return OP_EINVAL;
        e[j] = (struct keyed){ key_of(s->size, &in[j]), j };
    }
    if (radix_sort(e, (size_t)n))
        return OP_ENOMEM;
    for (int j = 1; j < n; j++)
        if (e[j].key == e[j - 1].key)
            return OP_EINVAL;
    return OP_OK;
}

enum op_status kmap_host_build(const struct kmap_shape *s, const struct kmap_coord *in, int n_in,
                               struct kmap_host *h)
{
    *h = (struct kmap_host){ 0 };
    if (n_in < 0 || kmap_shape_check(s))
        return OP_EINVAL;
    struct keyed *e = calloc((size_t)n_in + 1, sizeof *e);
    if (!e)
        return OP_ENOMEM;
    h->map = (struct kmap){ .shape = *s, .taps = kmap_taps(s), .n_in = n_in, .n_out = n_in };
    enum op_status status = sorted_inputs(s, in, n_in, e);
    if (!status && s->rule != KMAP_SAME)
        status = make_outputs(s, in, n_in, h);
    if (!status)
        status = new_table(h);
    if (!status)
        fill_table(h, e, s->rule == KMAP_SAME ? in : h->map.out_coord);
    free(e);
    if (status)
        kmap_host_free(h);
    return status;
}

enum op_status kmap_host_transpose(const struct kmap *m, struct kmap_host *t)
{
    *t = (struct kmap_host){ 0 };
    t->map = (struct kmap){ .shape = m->shape, .taps = m->taps, .n_in = m->n_out,
                            .n_out = m->n_in, .pairs_total = m->pairs_total };
    enum op_status status = new_table(t);
    if (status) {
        kmap_host_free(t);
        return status;
    }
    int32_t *index = t->memory[TABLE];
    for (int k = 0; k < m->n_out; k++)
        for (int d = 0; d < m->taps; d++) {
            int j = m->table.index[(size_t)k * (size_t)m->table.row_step +
                                   (size_t)d * (size_t)m->table.tap_step];
            if (j >= 0)
                index[(size_t)j * (size_t)m->taps + (size_t)d] = k;
        }
    return OP_OK;
}
