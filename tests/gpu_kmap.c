/*
 * gpu_kmap.c - every builder of kernel maps on the GPU against the reference, entry by entry:
 * random clouds of awkward sizes, the shapes and networks of TorchSparse++, generated scans; orders
 * and pairs; capture into a graph; planted faults, which must be found.
 *
 * `gpu_kmap times` also prints how long the maps of scans take; with a folder of shared test data,
 * of the real ones too.
 */
#include <stdlib.h>

#include "../harness/device.h"
#include "../harness/error.h"
#include "../kernels/kmap/build.h"
#include "../suites/data/scan.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA
#include "../kernels/kmap/device.h"
#include "../kernels/kmap/forms.h"
#include "kmap_run.h"

/* ---- against the reference ---- */

static int tried;

static void check_result(struct run *r, const struct kmap_host_net *want, const char *label)
{
    char text[128];
    fetch_all(r);
    const long wrong = kmap_compare(r->p, want, &r->got, text, sizeof text);
    CHECK(wrong == 0);
    if (wrong)
        printf("  %s, %s: %ld wrong: %s\n", label, r->impl->base.name, wrong, text);
    tried++;
}

/* Something changed in the result must be found. */
static void check_faults(struct run *r, const struct kmap_host_net *want)
{
    char text[128];
    const int last = r->p->steps - 1, rows = r->p->step[last].transpose ? want->n[r->p->step[last].from]
                                                                        : want->n[r->p->step[last].to];
    if (!rows || !want->n[r->p->levels - 1])
        return; /* a tiny cloud without outputs */
    int32_t *entry = (int32_t *)r->got.table[last];
    struct kmap_coord *coord = (struct kmap_coord *)r->got.coord[r->p->levels - 1];
    int32_t *changed[] = { entry, entry + (size_t)(rows - 1) * (size_t)kmap_taps(&r->p->step[last].shape),
                           (int32_t *)r->got.source, (int32_t *)r->got.count, &coord[0].y };
    for (size_t i = 0; i < sizeof changed / sizeof *changed; i++) {
        *changed[i] += 1;
        CHECK(kmap_compare(r->p, want, &r->got, text, sizeof text) > 0);
        *changed[i] -= 1;
    }
    if (r->got.mask[last]) {
        *(uint32_t *)r->got.mask[last] ^= 1;
        CHECK(kmap_compare(r->p, want, &r->got, text, sizeof text) > 0);
        *(uint32_t *)r->got.mask[last] ^= 1;
    }
}

/* Runs that can be captured: once into a graph, replayed on poisoned outputs. */
static void check_graph(struct run *r, const struct kmap_host_net *want)
{
    struct cb_graph *g = NULL;
    if (r->impl->base.flags & OP_NO_CAPTURE)
        return;
    CHECK(!cb_graph_make(r->arena.d, enqueue, r, 1, &g));
    CHECK(g != NULL);
    poison(r);
    CHECK(g && !cb_graph_launch(r->arena.d, g) && !cb_sync(r->arena.d));
    check_result(r, want, "graph");
    cb_graph_free(r->arena.d, g);
}

static void try_plan(struct cb_device *d, const char *label, const struct kmap_plan *p,
                     const struct kmap_coord *in, bool thorough)
{
    if (!test_takes())
        return;
    struct kmap_host_net want;
    CHECK(kmap_host_net(p, in, &want) == OP_OK);
    for (const struct kmap_impl *i = kmap_builders; i->base.name; i++) {
        const char *why;
        struct run r;
        if (i->supports(p, &why) != OP_OK)
            continue;
        const bool opened = open_run(&r, d, p, i, in);
        CHECK(opened);
        for (int again = 0; opened && again < 2; again++) {
            poison(&r);
            const bool ran = !enqueue(&r, 0) && !cb_sync(d);
            CHECK(ran);
            if (!ran) {
                printf("  %s: %s\n", label, cb_error_text());
                break;
            }
            check_result(&r, &want, label);
        }
        if (opened && thorough) {
            check_faults(&r, &want);
            check_graph(&r, &want);
        }
        CHECK(!cb_guards_check(d));
        close_run(&r);
    }
    kmap_host_net_free(&want);
}

/* ---- plans ---- */

/* Room for the outputs of any cloud. */
static void widen(struct kmap_plan *p)
{
    for (int l = 1; l < p->levels; l++) {
        const double cells = (double)p->batch * p->size[l][0] * p->size[l][1] * p->size[l][2];
        const double most = 8.0 * p->cap[l - 1];
        p->cap[l] = (int)(most < cells ? most : cells);
    }
}

static struct kmap_shape strided(enum kmap_rule rule, const struct cloud *c, int kx, int ky, int kz,
                                 int sx, int sy, int sz, int px, int py, int pz)
{
    struct kmap_shape s = { rule, { kx, ky, kz }, { sx, sy, sz }, { px, py, pz },
                            { c->size[0], c->size[1], c->size[2] }, c->batch };
    return s;
}

static void try_cloud(struct cb_device *d, const struct cloud *c)
{
    const struct kmap_shape shapes[] = {
        kmap_same(3, c->size, c->batch), kmap_same(1, c->size, c->batch),
        strided(KMAP_SAME, c, 1, 3, 1, 1, 1, 1, 0, 1, 0), strided(KMAP_SAME, c, 5, 1, 3, 1, 1, 1, 2, 0, 1),
        kmap_half(c->size, c->batch), strided(KMAP_SPCONV, c, 3, 3, 3, 2, 2, 2, 1, 1, 1),
        strided(KMAP_SPCONV, c, 3, 3, 3, 2, 2, 2, 1, 0, 1), strided(KMAP_FLOOR, c, 3, 3, 3, 2, 2, 2, 1, 1, 1),
        strided(KMAP_SPCONV, c, 1, 3, 1, 1, 2, 1, 0, 0, 0), strided(KMAP_SPCONV, c, 2, 2, 2, 2, 2, 2, 0, 0, 0),
        strided(KMAP_SPCONV, c, 1, 1, 1, 2, 2, 2, 0, 0, 0), strided(KMAP_FLOOR, c, 2, 3, 2, 3, 1, 2, 0, 0, 1),
    };
    struct kmap_plan p;
    char label[96];
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (kmap_plan_single(&shapes[i], c->n, c->sorted, &p) != OP_OK)
            continue; /* no outputs in so small a grid */
        if (p.levels == 2 && i % 2) { /* with its transpose */
            p.step[1] = p.step[0];
            p.step[1].transpose = true;
            p.steps = 2;
        }
        widen(&p);
        snprintf(label, sizeof label, "%d of %d x %d x %d, shape %zu", c->n, c->size[0], c->size[1],
                 c->size[2], i);
        try_plan(d, label, &p, c->coord, i % 4 == 0);
    }
    if (kmap_plan_minkunet(c->size, c->batch, c->n, c->sorted, true, &p) == OP_OK)
        try_plan(d, "minkunet", &p, c->coord, true);
    if (kmap_plan_centerpoint(c->size, c->batch, c->n, &p) == OP_OK) {
        widen(&p);
        try_plan(d, "centerpoint", &p, c->coord, true);
    }
}

static void try_clouds(struct cb_device *d)
{
    static const int sizes[][3] = { { 1, 1, 1 }, { 7, 5, 3 }, { 64, 40, 33 }, { 2, 300, 17 }, { 129, 41, 130 },
                                    { 1200, 1100, 70 } };
    static const int counts[] = { 1, 2, 9, 127, 128, 129, 513, 3000 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
            const bool sorted = (s + k) % 2;
            struct cloud c = random_cloud(counts[k], sizes[s], (s + k) % 3 ? 1 : 3, sorted, s * 100 + k);
            try_cloud(d, &c);
            free(c.coord);
        }
}

/* A level that does not fit: reported, nothing written behind the end. */
static void try_overflow(struct cb_device *d)
{
    static const int size[3] = { 60, 60, 60 };
    struct cloud c = random_cloud(500, size, 1, false, 7);
    const struct kmap_shape s = strided(KMAP_SPCONV, &c, 3, 3, 3, 2, 2, 2, 1, 1, 1);
    struct kmap_plan p;
    CHECK(kmap_plan_single(&s, c.n, false, &p) == OP_OK);
    p.cap[1] = 130;
    for (const struct kmap_impl *i = kmap_builders; i->base.name; i++) {
        const char *why;
        struct run r;
        int count[KMAP_LEVELS_MAX];
        if (i->supports(&p, &why) != OP_OK || !open_run(&r, d, &p, i, c.coord))
            continue;
        const enum op_status status = i->run(&p, &r.args, r.state, cb_device_stream(d));
        CHECK(!cb_sync(d) && !cb_download(d, count, r.args.count, sizeof count));
        CHECK(status == OP_ENOMEM || (status == OP_OK && count[1] > p.cap[1]));
        CHECK(!cb_guards_check(d));
        close_run(&r);
    }
    free(c.coord);
}

/* ---- orders and pairs ---- */

static void *on_device(struct arena *a, const void *from, size_t bytes)
{
    void *p = take(a, bytes);
    CHECK(p && !cb_upload(a->d, p, from, bytes));
    return p;
}

static void same_bytes(struct arena *a, const char *what, const void *got, const void *want, size_t bytes)
{
    void *p = malloc(bytes);
    CHECK(!cb_download(a->d, p, got, bytes));
    CHECK(!memcmp(p, want, bytes));
    if (memcmp(p, want, bytes))
        printf("  %s differ\n", what);
    free(p);
}

/* extra: rows that there is room for behind the last one, the count then known to the device. */
static void try_order(struct cb_device *d, struct kmap_host *h, int splits, int tile, int extra, bool masks)
{
    if (!test_takes())
        return;
    struct arena a = { .d = d };
    const struct kmap *m = &h->map;
    const size_t rows = (size_t)m->table.rows + (size_t)extra, taps = (size_t)m->taps;
    CHECK(kmap_host_order(h, splits, tile) == OP_OK);
    int32_t *table = take(&a, rows * taps * 4), n = m->n_out;
    uint32_t *mask = take(&a, rows * 4), *plain = calloc(rows, 4);
    CHECK(!cb_upload(d, table, m->table.index, (size_t)m->table.rows * taps * 4));
    for (int k = 0; k < m->n_out; k++)
        for (size_t t = 0; t < taps; t++)
            plain[k] |= (uint32_t)(m->table.index[(size_t)k * taps + t] >= 0) << t;
    CHECK(!cb_upload(d, mask, plain, rows * 4));
    const struct kmap_source source = { table, masks ? mask : NULL, extra ? on_device(&a, &n, 4) : NULL,
                                        extra ? (int)rows : n, (int)rows, m->taps };
    const struct kmap_order *o = &m->order;
    const size_t s = (size_t)splits, bytes = kmap_sort_bytes((int)rows), wide = (size_t)o->taps;
    const struct kmap_order_memory to = { take(&a, s * rows * 4), take(&a, s * rows * 4),
        take(&a, s * rows / (size_t)tile * 4), take(&a, s * rows * wide * 4), take(&a, rows * 4),
        take(&a, rows * 4), take(&a, bytes), bytes };
    CHECK(kmap_order_cuda(&source, splits, tile, &to, cb_device_stream(d)) == OP_OK);
    CHECK(!cb_sync(d));
    for (size_t k = 0; k < s; k++) {
        const size_t host = k * (size_t)o->rows, dev = k * rows;
        same_bytes(&a, "rows of an order", to.row + dev, o->row + host, (size_t)o->rows * 4);
        same_bytes(&a, "masks of an order", to.mask + dev, o->mask + host, (size_t)o->rows * 4);
        same_bytes(&a, "tile masks", to.tile_mask + dev / (size_t)tile, o->tile_mask + host / (size_t)tile,
                   (size_t)(o->rows / tile) * 4);
        same_bytes(&a, "table of an order", to.table + dev * wide, o->table.index + host * wide,
                   (size_t)o->rows * wide * 4);
    }
    CHECK(!cb_guards_check(d));
    free(plain);
    release(&a);
}

/* Pairs of the rows of a list: those of the map that have such an output. */
static void check_half(struct arena *a, const struct kmap *m, const struct kmap_list *l)
{
    const struct kmap_pairs *p = &m->pairs;
    int32_t *start = calloc((size_t)m->taps + 1, sizeof *start);
    int32_t *in = malloc((size_t)m->pairs_total * 4 + 4);
    int32_t *out = malloc((size_t)m->pairs_total * 4 + 4), count = 0;
    for (int d = 0; d < m->taps; d++) {
        for (int k = p->start[d]; k < p->start[d + 1]; k++)
            if (p->out[k] < l->source.n) {
                in[count] = p->in[k];
                out[count++] = p->out[k];
            }
        start[d + 1] = count;
    }
    same_bytes(a, "starts of half", l->start, start, ((size_t)m->taps + 1) * 4);
    same_bytes(a, "inputs of half", l->in, in, (size_t)count * 4);
    same_bytes(a, "outputs of half", l->out, out, (size_t)count * 4);
    free(start);
    free(in);
    free(out);
}

static void try_pairs(struct cb_device *d, struct kmap_host *h)
{
    struct arena a = { .d = d };
    const struct kmap *m = &h->map;
    const size_t taps = (size_t)m->taps, most = taps * (size_t)m->n_out, pairs = (size_t)m->pairs_total;
    CHECK(kmap_host_pairs(h) == OP_OK);
    const struct kmap_source source = {
        on_device(&a, m->table.index, (size_t)m->table.rows * taps * 4), NULL, NULL, m->n_out,
        m->table.rows, m->taps };
    struct kmap_list l[2]; /* of the map, and of its first half at the same time */
    for (int i = 0; i < 2; i++) {
        l[i] = (struct kmap_list){ source, take(&a, (taps + 1) * 4), take(&a, (taps + 1) * 4),
                                   take(&a, most * 4), take(&a, most * 4),
                                   take(&a, taps * (size_t)m->table.rows / KMAP_PAD * 4) };
        l[i].source.n = i ? (m->n_out + 1) / 2 : m->n_out;
        l[i].source.rows = kmap_padded(l[i].source.n);
    }
    CHECK(kmap_pairs_cuda(l, 2, cb_device_stream(d)) == OP_OK && !cb_sync(d));
    same_bytes(&a, "starts", l[0].start, m->pairs.start, (taps + 1) * 4);
    same_bytes(&a, "padded starts", l[0].padded, m->pairs.padded, (taps + 1) * 4);
    same_bytes(&a, "inputs of pairs", l[0].in, m->pairs.in, pairs * 4);
    same_bytes(&a, "outputs of pairs", l[0].out, m->pairs.out, pairs * 4);
    check_half(&a, m, &l[1]);
    CHECK(!cb_guards_check(d));
    release(&a);
}

static void try_forms(struct cb_device *d)
{
    static const int size[3] = { 80, 70, 20 }, counts[] = { 1, 128, 1000, 20000 };
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        if (test_tiny() && counts[k] != 1000)
            continue;
        struct cloud c = random_cloud(counts[k], size, 1, k % 2, k);
        const struct kmap_shape shapes[] = { kmap_same(3, size, 1), kmap_half(size, 1),
                                             strided(KMAP_SPCONV, &c, 3, 3, 3, 2, 2, 2, 1, 1, 1) };
        for (size_t i = 0; i < 3; i++) {
            struct kmap_host h;
            CHECK(kmap_host_build(&shapes[i], c.coord, c.n, &h) == OP_OK);
            try_pairs(d, &h);
            for (int s = 1; s <= 4; s++)
                try_order(d, &h, s, s == 2 ? 32 : s == 3 ? 64 : 128, s % 2 ? 0 : 256, s > 2);
            kmap_host_free(&h);
        }
        free(c.coord);
    }
}

/* ---- scans ---- */

/* Median over single launches, by graph unless plain; -1: it failed. */
static double median_us(struct cb_device *d, cb_enqueue_fn *work, void *arg, bool plain)
{
    enum { TIMES = 21 };
    double t[TIMES];
    struct cb_graph *g = NULL;
    if (!plain && (cb_graph_make(d, work, arg, 1, &g) || !g))
        return -1;
    for (int i = 0; i < TIMES; i++) {
        struct cb_window w = { 0 };
        if (plain ? cb_window(d, work, arg, 0, 1, false, &w) : cb_graph_window(d, g, true, &w))
            return -1;
        t[i] = w.us;
        for (int k = i; k > 0 && t[k] < t[k - 1]; k--) {
            const double swap = t[k];
            t[k] = t[k - 1];
            t[k - 1] = swap;
        }
    }
    cb_graph_free(d, g);
    return t[TIMES / 2];
}

static void print_times(struct cb_device *d, const char *label, const struct kmap_plan *p,
                        const struct kmap_coord *in)
{
    for (const struct kmap_impl *i = kmap_builders; i->base.name; i++) {
        const char *why;
        struct run r;
        if (i->supports(p, &why) != OP_OK || !open_run(&r, d, p, i, in))
            continue;
        printf("%-40s %-9s %8.1f us\n", label, i->base.name, median_us(d, enqueue, &r, i->base.flags & OP_NO_CAPTURE));
        close_run(&r);
    }
}

struct order_run {
    struct kmap_source source;
    struct kmap_order_memory to;
    struct cb_device *d;
    int splits;
};

static int enqueue_order(void *arg, int step)
{
    const struct order_run *o = arg;
    (void)step;
    return kmap_order_cuda(&o->source, o->splits, 128, &o->to, cb_device_stream(o->d)) ? -1 : 0;
}

static void print_orders(struct cb_device *d, const char *label, const struct kmap_shape *s,
                         const struct voxels *v)
{
    struct arena a = { .d = d };
    struct kmap_host h;
    CHECK(kmap_host_build(s, v->coord, v->n, &h) == OP_OK);
    const struct kmap *m = &h.map;
    const size_t rows = (size_t)m->table.rows, taps = (size_t)m->taps, bytes = kmap_sort_bytes(m->table.rows);
    struct order_run o = { .d = d };
    o.source = (struct kmap_source){ on_device(&a, m->table.index, rows * taps * 4), NULL, NULL, m->n_out,
                                     m->table.rows, m->taps };
    o.to = (struct kmap_order_memory){ take(&a, 4 * rows * 4), take(&a, 4 * rows * 4), take(&a, rows),
        take(&a, rows * (taps + 4) * 4), take(&a, rows * 4), take(&a, rows * 4), take(&a, bytes), bytes };
    for (o.splits = 1; o.splits <= 4; o.splits++)
        printf("%-40s order S=%d %6.1f us\n", label, o.splits, median_us(d, enqueue_order, &o, false));
    release(&a);
    kmap_host_free(&h);
}

static void try_scan(struct cb_device *d, const char *name, bool detection, bool times)
{
    struct voxels v;
    struct kmap_plan p;
    char label[128], why[256];
    if (!scan_available(name, why, sizeof why)) {
        printf("SKIP gpu_kmap %s: %s\n", name, why);
        return;
    }
    CHECK(!scan_voxels(name, detection ? SCAN_DETECTION : SCAN_SEGMENTATION, 1, &v));
    if (!detection) {
        struct kmap_shape s = kmap_same(3, v.size, v.batch);
        CHECK(kmap_plan_single(&s, v.n, v.sorted, &p) == OP_OK);
        snprintf(label, sizeof label, "%s, kernel 3 stride 1", name);
        try_plan(d, label, &p, v.coord, true);
        if (times) {
            print_times(d, label, &p, v.coord);
            print_orders(d, label, &s, &v);
        }
        s = kmap_half(v.size, v.batch);
        CHECK(kmap_plan_single(&s, v.n, v.sorted, &p) == OP_OK);
        snprintf(label, sizeof label, "%s, kernel 2 stride 2", name);
        if (times)
            print_times(d, label, &p, v.coord);
        CHECK(kmap_plan_minkunet(v.size, v.batch, v.n, v.sorted, false, &p) == OP_OK);
    } else {
        CHECK(kmap_plan_centerpoint(v.size, v.batch, v.n, &p) == OP_OK);
    }
    snprintf(label, sizeof label, "%s, all maps", name);
    try_plan(d, label, &p, v.coord, true);
    if (times)
        print_times(d, label, &p, v.coord);
    voxels_free(&v);
}
#endif

int main(int argc, char **argv)
{
#ifdef WITH_CUDA
    struct cb_device *d = NULL;
    const bool times = argc > 1 && !strcmp(argv[1], "times");
    CHECK(!cb_device_open("auto", &d));
    if (!d)
        return TEST_END();
    if (!cb_device_info(d)->sm) {
        SKIP("gpu_kmap: no GPU");
        cb_device_close(d);
        return TEST_END();
    }
    if (test_tiny()) {
        tiny_op(d, "kmap");
        try_forms(d);
        cb_device_close(d);
        return TEST_END();
    }
    try_clouds(d);
    try_overflow(d);
    try_forms(d);
    try_scan(d, "nuscenes_1f", false, times);
    try_scan(d, "semantickitti_1f", false, times);
    try_scan(d, "nuscenes_10f", true, times);
    try_scan(d, "waymo_1f", true, times);
    try_scan(d, "semantickitti_000000", false, times);
    try_scan(d, "nuscenes_keyframe", false, times);
    cb_device_close(d);
    printf("%d results compared\n", tried);
#else
    (void)argc, (void)argv;
    SKIP("gpu_kmap: built without CUDA");
#endif
    return TEST_END();
}
