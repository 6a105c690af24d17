/*
 * test_kmap.c - kernel maps: the reference against the definition written once more as a search of
 * all pairs; taps, shapes, forms, plans; the arithmetic that the kernels share with the host.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "../kernels/kmap/build.h"
#include "../kernels/kmap/device.h"
#include "../kernels/kmap/morton.h"
#include "../suites/data/build.h"
#include "test.h"

enum { CLOUD = 150 };

static int cloud(struct kmap_coord *c, const int size[3], int batch, uint64_t seed)
{
    int n = 0;
    for (int i = 0; i < CLOUD; i++) {
        const uint64_t h = data_hash(seed, 1, (uint64_t)i);
        const struct kmap_coord v = { (int)(h >> 48) % batch, (int)(h & 0xfff) % size[0],
                                      (int)(h >> 16 & 0xfff) % size[1], (int)(h >> 32 & 0xfff) % size[2] };
        bool twice = false;
        for (int k = 0; k < n; k++)
            twice |= !memcmp(&c[k], &v, sizeof v);
        if (!twice)
            c[n++] = v;
    }
    return n;
}

/* ---- by the definition: every output against every input and tap ---- */

static bool meets(const struct kmap_shape *s, const struct kmap_coord *q, const struct kmap_coord *p,
                  int d)
{
    int t[3];
    kmap_tap_at(s, d, t);
    return q->b == p->b && p->x == s->stride[0] * q->x - s->pad[0] + t[0] &&
           p->y == s->stride[1] * q->y - s->pad[1] + t[1] &&
           p->z == s->stride[2] * q->z - s->pad[2] + t[2];
}

static void check_table(const struct kmap *m, const struct kmap_coord *in)
{
    const struct kmap_coord *out = m->out_coord ? m->out_coord : in;
    long pairs = 0, wrong = 0;
    for (int k = 0; k < m->table.rows; k++)
        for (int d = 0; d < m->taps; d++) {
            int want = -1;
            for (int j = 0; k < m->n_out && j < m->n_in; j++)
                if (meets(&m->shape, &out[k], &in[j], d))
                    want = j;
            wrong += m->table.index[k * m->taps + d] != want;
            pairs += want >= 0;
        }
    CHECK(!wrong);
    CHECK(pairs == m->pairs_total);
}

static int before(const struct kmap_coord *a, const struct kmap_coord *b)
{
    return a->b != b->b ? a->b < b->b : a->x != b->x ? a->x < b->x : a->y != b->y ? a->y < b->y : a->z < b->z;
}

/* Each possible output is there exactly if the rule says so; ascending. */
static void check_outputs(const struct kmap *m, const struct kmap_coord *in)
{
    int size[3], found = 0;
    bool ordered = true, right = true;
    kmap_out_size(&m->shape, size);
    for (int k = 1; k < m->n_out; k++)
        ordered &= before(&m->out_coord[k - 1], &m->out_coord[k]);
    for (int b = 0; b < m->shape.batch; b++)
        for (int x = 0; x < size[0]; x++)
            for (int y = 0; y < size[1]; y++)
                for (int z = 0; z < size[2]; z++) {
                    const struct kmap_coord q = { b, x, y, z };
                    bool is = false;
                    for (int j = 0; j < m->n_in && !is; j++) {
                        const struct kmap_coord *p = &in[j];
                        if (m->shape.rule == KMAP_FLOOR)
                            is = p->b == b && p->x / m->shape.stride[0] == x &&
                                 p->y / m->shape.stride[1] == y && p->z / m->shape.stride[2] == z;
                        else
                            for (int d = 0; d < m->taps && !is; d++)
                                is = meets(&m->shape, &q, p, d);
                    }
                    if (is && found < m->n_out)
                        right &= !memcmp(&m->out_coord[found], &q, sizeof q);
                    found += is;
                }
    CHECK(ordered);
    CHECK(right);
    CHECK(found == m->n_out);
}

static void check_pairs(struct kmap_host *h)
{
    const struct kmap *m = &h->map;
    CHECK(kmap_host_pairs(h) == OP_OK);
    bool right = m->pairs.start[0] == 0 && m->pairs.start[m->taps] == m->pairs_total;
    for (int d = 0; d < m->taps; d++) {
        const int n = m->pairs.start[d + 1] - m->pairs.start[d];
        right &= m->pairs.padded[d + 1] - m->pairs.padded[d] == kmap_padded(n);
        for (int i = m->pairs.start[d]; i < m->pairs.start[d + 1]; i++) {
            right &= m->table.index[m->pairs.out[i] * m->taps + d] == m->pairs.in[i];
            right &= i == m->pairs.start[d] || m->pairs.out[i] > m->pairs.out[i - 1];
        }
    }
    CHECK(right);
}

static void check_order(struct kmap_host *h, int splits, int tile)
{
    CHECK(kmap_host_order(h, splits, tile) == OP_OK);
    const struct kmap *m = &h->map;
    const struct kmap_order *o = &m->order;
    bool right = o->taps * splits >= m->taps && o->rows == m->table.rows;
    long pairs = 0;
    for (int s = 0; s < splits; s++) {
        unsigned char *seen = calloc((size_t)o->rows + 1, 1);
        for (int i = 0; i < o->rows; i++) {
            const int at = s * o->rows + i, row = o->row[at];
            right &= row >= 0 ? row < m->n_out && !seen[row]++ : i >= m->n_out && !o->mask[at];
            right &= !i || row < 0 || o->mask[at - 1] >= o->mask[at];
            right &= (o->mask[at] & ~o->tile_mask[at / tile]) == 0;
            for (int l = 0; l < o->taps; l++) {
                const int d = s * o->taps + l, index = o->table.index[at * o->taps + l];
                const int want = row >= 0 && d < m->taps ? m->table.index[row * m->taps + d] : -1;
                right &= index == want && (o->mask[at] >> l & 1) == (want >= 0);
                pairs += index >= 0;
            }
        }
        free(seen);
    }
    CHECK(right);
    CHECK(pairs == m->pairs_total);
    CHECK(kmap_redundancy(m) >= 1 || !m->pairs_total);
}

static void check_transpose(const struct kmap *m)
{
    struct kmap_host t;
    CHECK(kmap_host_transpose(m, &t) == OP_OK);
    bool right = t.map.n_out == m->n_in && t.map.n_in == m->n_out;
    for (int k = 0; k < m->n_out; k++)
        for (int d = 0; d < m->taps; d++) {
            const int j = m->table.index[k * m->taps + d];
            right &= j < 0 || t.map.table.index[j * m->taps + d] == k;
        }
    long pairs = 0;
    for (int i = 0; i < t.map.table.rows * m->taps; i++)
        pairs += t.map.table.index[i] >= 0;
    CHECK(right);
    CHECK(pairs == m->pairs_total);
    kmap_host_free(&t);
}

static void try_shape(const struct kmap_shape *s, uint64_t seed)
{
    struct kmap_coord c[CLOUD];
    struct kmap_host h;
    const int n = cloud(c, s->size, s->batch, seed);
    CHECK(kmap_host_build(s, c, n, &h) == OP_OK);
    check_table(&h.map, c);
    if (s->rule == KMAP_SAME)
        CHECK(h.map.n_out == n && !h.map.out_coord);
    else
        check_outputs(&h.map, c);
    check_pairs(&h);
    for (int splits = 1; splits <= 4; splits++)
        check_order(&h, splits, splits == 2 ? 32 : 128);
    check_transpose(&h.map);
    kmap_host_free(&h);
}

static void try_shapes(void)
{
    static const int sizes[][3] = { { 9, 9, 9 }, { 20, 3, 11 }, { 1, 1, 40 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int *z = sizes[i];
        const struct kmap_shape shapes[] = {
            kmap_same(3, z, 2), kmap_same(1, z, 1), kmap_half(z, 2),
            { KMAP_SPCONV, { 3, 3, 3 }, { 2, 2, 2 }, { 1, 1, 1 }, { z[0], z[1], z[2] }, 1 },
            { KMAP_SPCONV, { 3, 3, 3 }, { 2, 2, 2 }, { 1, 1, 2 }, { z[0], z[1], z[2] }, 1 },
            { KMAP_FLOOR, { 3, 3, 3 }, { 2, 2, 2 }, { 1, 1, 1 }, { z[0], z[1], z[2] }, 2 },
            { KMAP_SPCONV, { 2, 2, 2 }, { 2, 2, 2 }, { 1, 1, 1 }, { z[0], z[1], z[2] }, 1 },
            { KMAP_SAME, { 5, 1, 3 }, { 1, 1, 1 }, { 2, 0, 1 }, { z[0], z[1], z[2] }, 1 },
        };
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
            try_shape(&shapes[k], i * 10 + k);
    }
    /* by the spconv rule kernel 2 stride 2 is the halving */
    static const int even[3] = { 8, 10, 12 };
    struct kmap_coord c[CLOUD];
    struct kmap_shape s = kmap_half(even, 1);
    struct kmap_host a, b;
    const int n = cloud(c, even, 1, 3);
    CHECK(kmap_host_build(&s, c, n, &a) == OP_OK);
    s.rule = KMAP_SPCONV;
    CHECK(kmap_host_build(&s, c, n, &b) == OP_OK);
    CHECK(a.map.n_out == b.map.n_out && !memcmp(a.map.table.index, b.map.table.index,
                                                (size_t)a.map.table.rows * 8 * sizeof(int32_t)));
    kmap_host_free(&a);
    kmap_host_free(&b);
}

/* ---- numbers of taps ---- */

static void try_taps(void)
{
    static const int size[3] = { 4, 4, 4 };
    const struct kmap_shape odd = kmap_same(3, size, 1), even = kmap_half(size, 1);
    CHECK(kmap_tap_index(&odd, 1, 0, 0) == 1 && kmap_tap_index(&odd, 0, 0, 1) == 9);
    CHECK(kmap_tap_index(&even, 1, 0, 0) == 4 && kmap_tap_index(&even, 0, 0, 1) == 1);
    const struct kmap_shape *const both[] = { &odd, &even };
    for (int i = 0; i < 2; i++)
        for (int d = 0; d < kmap_taps(both[i]); d++) {
            int t[3];
            kmap_tap_at(both[i], d, t);
            CHECK(kmap_tap_index(both[i], t[0], t[1], t[2]) == d);
        }
}

/* ---- what is refused ---- */

static void try_refusals(void)
{
    static const int size[3] = { 4, 4, 4 };
    struct kmap_host h;
    const struct kmap_coord outside = { 0, 4, 0, 0 }, twice[2] = { { 0, 1, 1, 1 }, { 0, 1, 1, 1 } };
    struct kmap_shape s = kmap_same(3, size, 1);
    CHECK(kmap_host_build(&s, &outside, 1, &h) == OP_EINVAL && !h.map.table.index);
    CHECK(kmap_host_build(&s, twice, 2, &h) == OP_EINVAL);
    s.stride[0] = 2;
    CHECK(kmap_shape_check(&s) == OP_EINVAL);
    s = kmap_same(5, size, 1); /* 125 taps */
    CHECK(kmap_shape_check(&s) == OP_EINVAL);
    s = kmap_half(size, 0);
    CHECK(kmap_shape_check(&s) == OP_EINVAL);
    s = kmap_half(size, 1);
    s.kernel[1] = 5;
    s.rule = KMAP_SPCONV; /* no output fits */
    CHECK(kmap_shape_check(&s) == OP_EINVAL);
}

/* ---- networks ---- */

static void try_plans(void)
{
    static const int size[3] = { 33, 17, 50 };
    struct kmap_coord c[CLOUD];
    struct kmap_plan p;
    struct kmap_host_net net;
    const int n = cloud(c, size, 2, 9);
    CHECK(kmap_plan_minkunet(size, 2, n, false, true, &p) == OP_OK);
    CHECK(p.levels == 5 && p.steps == 13 && p.size[4][0] == 3 && p.size[4][1] == 2 && p.size[4][2] == 4);
    CHECK(kmap_host_net(&p, c, &net) == OP_OK);
    for (int l = 1; l < 5; l++)
        CHECK(net.n[l] <= net.n[l - 1] && net.n[l] <= p.cap[l]);
    CHECK(net.map[12].map.n_out == net.n[3] && net.map[12].map.n_in == net.n[4]);
    /* the reference passes its own comparison; rows in another order do, something wrong does not */
    struct kmap_result got = { .source = NULL };
    int source[CLOUD], count[KMAP_LEVELS_MAX];
    char text[128];
    for (int l = 0; l < 5; l++) {
        got.coord[l] = net.coord[l];
        count[l] = net.n[l];
    }
    for (int i = 0; i < n; i++)
        source[i] = i;
    for (int i = 0; i < p.steps; i++)
        got.table[i] = net.map[i].map.table.index;
    got.source = source;
    got.count = count;
    CHECK(kmap_compare(&p, &net, &got, text, sizeof text) == 0);
    source[3] = 4;
    CHECK(kmap_compare(&p, &net, &got, text, sizeof text) == 1 && strstr(text, "source"));
    source[3] = 3;
    count[2]--;
    CHECK(kmap_compare(&p, &net, &got, text, sizeof text) > 0 && strstr(text, "rows of level 2"));
    count[2]++;
    const size_t bytes = (size_t)net.map[0].map.table.rows * 27 * sizeof(int32_t);
    int32_t *copy = malloc(bytes);
    memcpy(copy, net.map[0].map.table.index, bytes);
    copy[13 + 27] = 0; /* the centre of row 1 */
    got.table[0] = copy;
    CHECK(kmap_compare(&p, &net, &got, text, sizeof text) == 1 && strstr(text, "step 0, row 1"));
    free(copy);
    kmap_host_net_free(&net);
    CHECK(kmap_plan_centerpoint((const int[3]){ 1504, 41, 1504 }, 1, 1000, &p) == OP_OK);
    static const int want[5][3] = { { 1504, 41, 1504 }, { 752, 21, 752 }, { 376, 11, 376 }, { 188, 5, 188 },
                                    { 188, 2, 188 } };
    CHECK(p.steps == 8 && !memcmp(p.size, want, sizeof want));
}

/* Which builder takes which plan. */
static void try_table(void)
{
    static const int small[3] = { 100, 41, 100 }, large[3] = { 3200, 3200, 600 };
    struct kmap_plan net, one, wide;
    const struct kmap_shape s = kmap_same(3, large, 1);
    const char *why;
    CHECK(!kmap_plan_minkunet(large, 1, 1000, true, false, &net) && !kmap_plan_single(&s, 1000, true, &one) &&
          !kmap_plan_centerpoint(small, 1, 1000, &wide));
    for (const struct kmap_impl *i = kmap_builders; i->base.name; i++) {
        const bool fly = !strcmp(i->base.name, "hash_fly"), octree = !strcmp(i->base.name, "octree");
        const bool grid = !strcmp(i->base.name, "grid"), search = !strcmp(i->base.name, "search");
        CHECK((i->supports(&net, &why) == OP_OK) == (fly || octree));
        CHECK((i->supports(&one, &why) == OP_OK) == (fly || search));
        CHECK((i->supports(&wide, &why) == OP_OK) == (fly || grid));
        CHECK(i->base.title && i->base.origin && i->teardown);
    }
}

/* ---- Morton keys ---- */

static void try_morton(void)
{
    for (uint32_t v = 0; v < 1 << 20; v += v < 4096 ? 1 : 997) {
        uint64_t slow = 0;
        for (int b = 0; b < 20; b++)
            slow |= (uint64_t)(v >> b & 1) << 3 * b;
        if (morton_spread(v) != slow || morton_compact(slow) != v || morton_compact(slow | slow << 1) != v) {
            CHECK(morton_spread(v) == slow);
            break;
        }
    }
    CHECK(morton_compact(morton_spread(0xfffff)) == 0xfffff);
    CHECK(morton_key(1, 0, 0, 1, 4) == (1u << 12 | 1) && morton_key(0, 1, 0, 0, 4) == 4);
    CHECK(morton_first_of(8, 7, 5) == 1 && morton_first_of(9, 8, 5) == 0 && morton_first_of(1 << 12, 0, 5) == 4);
    CHECK(kmap_bits(1) == 0 && kmap_bits(2) == 1 && kmap_bits(1024) == 10 && kmap_bits(1025) == 11);
}

int main(void)
{
    try_taps();
    try_shapes();
    try_refusals();
    try_plans();
    try_table();
    try_morton();
    return TEST_END();
}
