/*
 * gpu_spconv.c - every implementation of spconv on inputs that no correct one rounds,
 * compared to the bit, on maps and channels that tiles do not fit.
 *
 * `gpu_spconv time [SCAN]` prints microseconds, hot, and the error on uniform inputs for the
 * layers of MinkUNet on a SemanticKITTI scan; without SCAN, or with "-", on that of the shared
 * data (suites/data/shared.h).  `gpu_spconv time SCAN NAME` takes only rows whose name begins so;
 * `gpu_spconv time SCAN variants` times the forms of own beside it, on few voxels too.
 */
#include <stdlib.h>
#include <string.h>

#include "../harness/device.h"
#include "../harness/error.h"
#include "../kernels/common/half.h"
#include "../kernels/spconv/own_layer.h"
#include "../kernels/spconv/own_variants.h"
#include "../kernels/spconv/plan.h"
#include "../suites/data/shared.h"
#include "test.h"
#include "tiny.h"

#ifdef WITH_CUDA
#include "own_parts_check.h"
#include "spconv_scene.h"

/* ---- operands ---- */

struct operands {
    struct cb_device *d;
    struct spconv_problem p;
    struct spconv_map host;
    struct spconv_args a;
    double *want;
    float *bound, *loose;
    size_t bytes; /* of y */
};

struct pool {
    struct cb_device *d;
    void *taken[64];
    int count;
};

static void *take(void *context, size_t bytes)
{
    struct pool *pool = context;
    void *p;
    if (pool->count == 64 || cb_alloc(pool->d, bytes, &p))
        return NULL;
    return pool->taken[pool->count++] = p;
}

static const void *upload(struct cb_device *d, const void *from, size_t bytes)
{
    void *to = NULL;
    CHECK(!cb_alloc(d, bytes + 16, &to) && !cb_upload(d, to, from, bytes));
    return to;
}

static void *random_tensor(struct operands *o, uint32_t id, long rows, long columns, bool exact)
{
    const bool half = o->p.dtype == SPCONV_F16;
    void *p = NULL;
    CHECK(!cb_alloc(o->d, (size_t)rows * (size_t)columns * (half ? 2 : 4), &p));
    CHECK(!cb_random(o->d, p, half ? CB_F16 : CB_F32, exact ? CB_EXACT : CB_UNIFORM, 3, id, 0, rows,
                     columns, false));
    return p;
}

static void operands_open(struct operands *o, const struct scene_map *m, bool exact)
{
    struct spconv_map *to = &o->a.map;
    const struct spconv_problem *p = &o->p;
    o->host = (struct spconv_map){ m->by_out, m->by_in, m->start, m->pair_in, m->pair_out };
    to->by_out = upload(o->d, m->by_out, (size_t)m->out * m->taps * 4);
    to->by_in = upload(o->d, m->by_in, (size_t)m->in * m->taps * 4);
    to->start = upload(o->d, m->start, ((size_t)m->taps + 1) * 4);
    to->pair_in = upload(o->d, m->pair_in, (size_t)m->pairs * 4);
    to->pair_out = upload(o->d, m->pair_out, (size_t)m->pairs * 4);
    o->a.x = random_tensor(o, 1, p->in, p->cin, exact);
    o->a.w = random_tensor(o, 2, (long)p->taps * p->cin, p->cout, exact);
    o->a.g = random_tensor(o, 3, p->out, p->cout, exact);
    const struct spconv_size size = spconv_result(p);
    const size_t count = (size_t)(size.rows * size.columns);
    o->bytes = count * (p->dtype == SPCONV_F16 && p->pass != SPCONV_WGRAD ? 2 : 4);
    CHECK(!cb_alloc(o->d, o->bytes, (void **)&o->a.y));
    CHECK(!cb_alloc(o->d, count * 8, (void **)&o->want));
    CHECK(!cb_alloc(o->d, count * 4, (void **)&o->bound));
    CHECK(!cb_alloc(o->d, count * 4, (void **)&o->loose));
    CHECK(spconv_ref_cuda(p, &o->a, o->want, o->bound, o->loose, cb_device_stream(o->d)) == OP_OK);
    CHECK(!cb_sync(o->d));
}

static void operands_close(struct operands *o)
{
    void *all[] = { (void *)o->a.map.by_out, (void *)o->a.map.by_in,    (void *)o->a.map.start,
                    (void *)o->a.map.pair_in, (void *)o->a.map.pair_out, (void *)o->a.x,
                    (void *)o->a.w,           (void *)o->a.g,            o->a.y,
                    o->want,                  o->bound,                  o->loose };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cb_free(o->d, all[i]);
}

static struct cb_accuracy compare(struct operands *o, const float *bound)
{
    const struct spconv_size size = spconv_result(&o->p);
    const bool half = o->p.dtype == SPCONV_F16 && o->p.pass != SPCONV_WGRAD;
    const struct cb_view got = { o->a.y, half ? CB_F16 : CB_F32, size.rows, size.columns, false };
    struct cb_accuracy a = { 0 };
    CHECK(!cb_compare(o->d, &got, o->want, bound, &a));
    return a;
}

/* The k-th row of all tables, variants last. */
static const struct spconv_impl *impl_at(int k)
{
    const struct spconv_impl *const table[] = { spconv_kernels, spconv_baselines,
                                                spconv_variants };
    for (int t = 0; t < 3; t++)
        for (int i = 0; table[t][i].base.name; i++)
            if (k-- == 0)
                return &table[t][i];
    return NULL;
}

/* Sets up and calls `use`; what it took is given back. */
static void with_impl(struct operands *o, const struct spconv_impl *i,
                      void (*use)(struct operands *, const struct spconv_impl *, void *state))
{
    struct pool pool = { .d = o->d };
    const struct op_memory memory = { take, &pool };
    const char *why;
    void *state = NULL;
    const int sm = cb_device_info(o->d)->sm;
    if (!i->run || sm < i->base.sm_min || sm > i->base.sm_max || i->supports(&o->p, &why) != OP_OK)
        return;
    const enum op_status s = i->setup ? i->setup(&o->p, &o->host, &o->a, &memory,
                                                 cb_device_stream(o->d), &state)
                                      : OP_OK;
    CHECK(s == OP_OK);
    if (s == OP_OK)
        use(o, i, state);
    else
        printf("%s: set-up: %s\n", i->base.name, op_status_name(s));
    if (i->teardown)
        i->teardown(state);
    for (int k = 0; k < pool.count; k++)
        cb_free(o->d, pool.taken[k]);
}

/* ---- exactness ---- */

static int tried, wrong;

static void describe(const struct operands *o, const struct spconv_impl *i)
{
    static const char *const pass[] = { "forward", "dgrad", "wgrad" };
    static const char *const dtype[] = { "f16", "tf32", "f32" };
    printf("%-20s %s %s in %d out %d taps %d channels %d > %d", i->base.name, pass[o->p.pass],
           dtype[o->p.dtype], o->p.in, o->p.out, o->p.taps, o->p.cin, o->p.cout);
}

static void try_exact(struct operands *o, const struct spconv_impl *i, void *state)
{
    bool ok = true;
    if (i->base.role == OP_ABLATION)
        return;
    for (int turn = 0; turn < 2 && ok; turn++) {
        CHECK(!cb_fill(o->d, o->a.y, 0xff, o->bytes));
        ok = i->run(&o->p, &o->a, state, cb_device_stream(o->d)) == OP_OK;
        const bool lost = cb_sync(o->d);
        if (lost) {
            describe(o, i);
            printf(": %s\n", cb_error_text());
            exit(1);
        }
        const struct cb_accuracy a = compare(o, NULL);
        ok = ok && !a.bad && !a.nonfinite;
        if (!ok) {
            describe(o, i);
            printf(": turn %d: %ld of %ld wrong, worst at %ld by %g\n", turn, a.bad, a.compared,
                   a.worst, a.max_abs);
        }
    }
    CHECK(ok && !cb_guards_check(o->d));
    tried++;
    wrong += !ok;
}

/* A gradient with a residual, masked: the bits of the same without a mask, or 0. */
static void try_masked(struct operands *o, const struct spconv_impl *i, void *state)
{
    const struct spconv_size size = spconv_result(&o->p);
    const size_t count = (size_t)(size.rows * size.columns);
    struct spconv_rest rest = { .bias = NULL };
    half_bits *mask = malloc(o->bytes), *want = malloc(o->bytes), *got = malloc(o->bytes);
    void *on[2];
    long differ = 0, zeros = 0;
    if (!i->run_with)
        goto done;
    for (int t = 0; t < 2; t++)
        on[t] = random_tensor(o, 4 + (uint32_t)t, size.rows, size.columns, true);
    CHECK(!cb_download(o->d, mask, on[1], o->bytes));
    rest.residual = on[0];
    CHECK(i->run_with(&o->p, &o->a, &rest, state, cb_device_stream(o->d)) == OP_OK);
    CHECK(!cb_sync(o->d) && !cb_download(o->d, want, o->a.y, o->bytes));
    rest.mask = on[1];
    for (int turn = 0; turn < 2; turn++) {
        CHECK(!cb_fill(o->d, o->a.y, 0xff, o->bytes));
        CHECK(i->run_with(&o->p, &o->a, &rest, state, cb_device_stream(o->d)) == OP_OK);
        if (cb_sync(o->d)) {
            describe(o, i);
            printf(", masked: %s\n", cb_error_text());
            exit(1);
        }
        CHECK(!cb_download(o->d, got, o->a.y, o->bytes));
        for (size_t e = 0; e < count; e++) {
            const bool kept = half_to_float(mask[e]) > 0;
            differ += got[e] != (kept ? want[e] : 0);
            zeros += !kept;
        }
    }
    if (differ) {
        describe(o, i);
        printf(", masked: %ld of %zu wrong\n", differ, 2 * count);
    }
    CHECK(!differ && (zeros || count < 20) && !cb_guards_check(o->d));
    tried++;
    wrong += differ > 0;
    for (int t = 0; t < 2; t++)
        cb_free(o->d, on[t]);
done:
    free(mask);
    free(want);
    free(got);
}

/* The reference of the GPU is the definition: the same as that of the host. */
static void try_reference(struct operands *o)
{
    const struct spconv_size size = spconv_result(&o->p);
    const size_t count = (size_t)(size.rows * size.columns), element = o->p.dtype ? 4 : 2;
    const size_t bytes[] = { (size_t)o->p.in * o->p.cin * element,
                             (size_t)o->p.taps * o->p.cin * o->p.cout * element,
                             (size_t)o->p.out * o->p.cout * element };
    const void *const from[] = { o->a.x, o->a.w, o->a.g };
    void *to[3];
    for (int t = 0; t < 3; t++) {
        to[t] = malloc(bytes[t]);
        CHECK(!cb_download(o->d, to[t], from[t], bytes[t]));
    }
    const struct spconv_args host = { o->host, to[0], to[1], to[2], NULL };
    double *want = malloc(count * 8), *got = malloc(count * 8);
    float *bound = malloc(count * 4), *loose = malloc(count * 4);
    long bad = 0;
    CHECK(spconv_ref(&o->p, &host, want, bound, loose) == OP_OK);
    CHECK(!cb_download(o->d, got, o->want, count * 8));
    for (size_t i = 0; i < count; i++)
        bad += !(want[i] == got[i]);
    CHECK(bad == 0);
    for (int t = 0; t < 3; t++)
        free(to[t]);
    free(want);
    free(got);
    free(bound);
    free(loose);
}

/* One weight of the middle tap changed behind the reference: the comparison must notice. */
static void try_planted(struct operands *o, const struct spconv_impl *i, void *state)
{
    const size_t at = (size_t)(o->p.taps / 2) * o->p.cin * o->p.cout * (o->p.dtype ? 4 : 2);
    unsigned char *w = (unsigned char *)o->a.w + at;
    unsigned char first[4], other[4] = { 0, 0x7b, 0, 0x7b };
    CHECK(!cb_download(o->d, first, w, sizeof first));
    CHECK(!cb_upload(o->d, w, other, sizeof other));
    CHECK(i->run(&o->p, &o->a, state, cb_device_stream(o->d)) == OP_OK && !cb_sync(o->d));
    CHECK(compare(o, NULL).bad > 0);
    CHECK(!cb_upload(o->d, w, first, sizeof first));
}

static long differences(struct cb_device *d, const void *device, const void *host, size_t words)
{
    uint32_t *got = malloc(words * sizeof *got);
    long differ = 0;
    CHECK(!cb_download(d, got, device, words * sizeof *got));
    for (size_t i = 0; i < words; i++)
        differ += got[i] != ((const uint32_t *)host)[i];
    free(got);
    return differ;
}

/* A plan of the device with the memory that it took. */
struct planned {
    struct cb_device *d;
    struct pool pool;
    const int32_t *table;
    struct own_plan plan;
};

static void plan_open(struct planned *o, struct cb_device *d, const struct scene_map *m, int splits,
                      const struct own_cut *cut)
{
    *o = (struct planned){ .d = d, .pool.d = d };
    const struct op_memory memory = { take, &o->pool };
    struct own_plan_work work;
    o->table = upload(d, m->by_out, (size_t)m->out * m->taps * 4);
    const struct own_source source = { o->table, NULL, NULL, m->out, m->taps };
    CHECK(own_plan_open(m->out, m->taps, splits, cut, &memory, cb_device_stream(d), &o->plan,
                        &work) == OP_OK);
    CHECK(own_plan_make(&source, &o->plan, &work, cb_device_stream(d)) == OP_OK && !cb_sync(d));
}

static void plan_close(struct planned *o)
{
    for (int k = 0; k < o->pool.count; k++)
        cb_free(o->d, o->pool.taken[k]);
    cb_free(o->d, (void *)o->table);
}

/* The plan of the device is that of the host: rows, masks of half tiles. */
static void try_plan(struct cb_device *d, const struct scene_map *m, int splits)
{
    if (!test_takes())
        return;
    static const struct own_cut whole = { .lanes = 264, .columns = 64, .least = 3, .most = 32 };
    const struct spconv_table t = { m->by_out, m->out, m->taps };
    struct spconv_plan host;
    struct planned o;
    CHECK(spconv_plan_make(&t, splits, SPCONV_BY_GRAY, &host) == OP_OK);
    plan_open(&o, d, m, splits, &whole);
    const int tiles = splits * host.tiles;
    CHECK(!differences(d, o.plan.row, host.row, (size_t)tiles * SPCONV_TILE));
    uint32_t *mask = malloc((size_t)tiles * 2 * sizeof *mask);
    for (int i = 0; i < 2 * tiles; i++)
        mask[i] = spconv_plan_mask(&host, i / 2 / host.tiles,
                                   i / 2 % host.tiles * SPCONV_TILE + i % 2 * 64, 64);
    CHECK(!differences(d, o.plan.mask, mask, (size_t)tiles * 2));
    free(mask);
    spconv_plan_free(&host);
    plan_close(&o);
}

/* Parts of a plan are what they must be; the longest. */
static int check_parts(const struct planned *o, int rows)
{
    const struct own_plan *plan = &o->plan;
    int32_t count[2];
    int longest;
    struct own_part *part = malloc((size_t)plan->parts * sizeof *part);
    uint32_t *mask = malloc((size_t)plan->splits * plan->tiles * 8);
    CHECK(!cb_download(o->d, count, plan->count, sizeof count));
    CHECK(!cb_download(o->d, part, plan->part, (size_t)plan->parts * sizeof *part));
    CHECK(!cb_download(o->d, mask, plan->mask, (size_t)plan->splits * plan->tiles * 8));
    CHECK(!wrong_parts(plan, part, mask, count, rows, &longest));
    free(part);
    free(mask);
    return longest;
}

static void try_parts(struct cb_device *d, const struct scene_map *m, int splits)
{
    for (int most = 1; most <= 32; most *= 3) {
        struct planned o;
        plan_open(&o, d, m, splits, &(struct own_cut){ m->out, 16, 3, most });
        CHECK(check_parts(&o, m->out) <= most); /* so many lanes have slots for all */
        plan_close(&o);
    }
    for (int lanes = 1; lanes <= 300; lanes += 23) {
        struct planned o;
        plan_open(&o, d, m, splits, &(struct own_cut){ lanes, 64, 3, 0 });
        const int longest = check_parts(&o, m->out), each = (o.plan.taps + 2) / 3;
        CHECK(lanes < splits * o.plan.tiles * each || longest <= 3); /* a lane for every part */
        plan_close(&o);
    }
}

/* Rows of halves or floats, small integers, in host memory and on the device. */
static void *mirrored(struct cb_device *d, bool half, size_t n, const void **device)
{
    half_bits *h = malloc(n * 4);
    for (size_t i = 0; i < n; i++)
        if (half)
            h[i] = half_from_float((float)(scene_below(5) - 2));
        else
            ((float *)(void *)h)[i] = (float)(scene_below(5) - 2);
    *device = upload(d, h, n * (half ? 2 : 4));
    return h;
}

/* A layer with bias, residual and ReLU that reads and writes parts of wider rows. */
static void try_layer(struct cb_device *d, const struct scene_map *m, int splits)
{
    if (!test_takes())
        return;
    enum { C = 64, X = 96, Y = 192, R = 80 };
    struct planned o;
    struct own_layer *layer;
    struct own_cut cut;
    const struct own_choice choice = { .splits = splits };
    struct own_layer_io io = { .x_step = X, .y_step = Y, .residual_step = R, .relu = 1 };
    const void *dev[5];
    half_bits *x = mirrored(d, true, (size_t)m->in * X, &dev[0]);
    half_bits *w = mirrored(d, true, (size_t)m->taps * C * C, &dev[1]);
    half_bits *r = mirrored(d, true, (size_t)m->out * R, &dev[2]);
    half_bits *y = mirrored(d, true, (size_t)m->out * Y, &dev[3]);
    float *bias = mirrored(d, false, C, &dev[4]);
    half_bits *got = malloc((size_t)m->out * Y * 2);
    long differ = 0;
    io.x = (const half_bits *)dev[0] + 32;
    io.y = (half_bits *)dev[3] + 64;
    io.residual = (const half_bits *)dev[2] + 16;
    io.bias = dev[4];
    CHECK(own_cut_for(&choice, C, C, &cut) == OP_OK);
    plan_open(&o, d, m, splits, &cut);
    const struct op_memory memory = { take, &o.pool };
    CHECK(own_layer_open(choice.shape, &o.plan, m->taps, C, C, dev[1], 0, &memory,
                         cb_device_stream(d), &layer) == OP_OK);
    for (int turn = 0; turn < 2; turn++) { /* then once more on what is there */
        const half_bits *const before = turn ? y + 64 : r + 16;
        const size_t step = turn ? Y : R;
        CHECK(own_layer_run(layer, &io, cb_device_stream(d)) == OP_OK && !cb_sync(d));
        CHECK(!cb_download(d, got, dev[3], (size_t)m->out * Y * 2));
        for (int k = 0; k < m->out; k++)
            for (int c = 0; c < Y; c++) {
                float want = half_to_float(y[(size_t)k * Y + c]);
                if (c >= 64 && c < 64 + C) {
                    want = bias[c - 64] + half_to_float(before[(size_t)k * step + c - 64]);
                    for (int t = 0; t < m->taps; t++)
                        for (int i = 0, j = m->by_out[(size_t)k * m->taps + t]; j >= 0 && i < C;
                             i++)
                            want += half_to_float(x[(size_t)j * X + 32 + i]) *
                                    half_to_float(w[((size_t)t * C + i) * C + c - 64]);
                    want = want > 0 ? want : 0;
                }
                differ += half_to_float(got[(size_t)k * Y + c]) != want;
            }
        memcpy(y, got, (size_t)m->out * Y * 2);
        io.residual = io.y;
        io.residual_step = io.y_step;
    }
    CHECK(differ == 0);
    own_layer_close(layer);
    plan_close(&o);
    for (int k = 0; k < 5; k++)
        cb_free(d, (void *)dev[k]);
    free(x);
    free(w);
    free(r);
    free(y);
    free(bias);
    free(got);
}

static void try_map(struct cb_device *d, const struct scene_map *m, int cin, int cout)
{
    for (int pass = 0; pass < 3; pass++)
        for (int dtype = 0; dtype < 3; dtype++) {
            struct operands o = { .d = d,
                                  .p = { m->in, m->out, cin, cout, m->taps, m->pairs, m->same,
                                         (enum spconv_pass)pass, (enum spconv_dtype)dtype } };
            operands_open(&o, m, true);
            if ((long)m->in * cin < 1 << 16)
                try_reference(&o);
            for (int k = 0; impl_at(k); k++) {
                with_impl(&o, impl_at(k), try_exact);
                if (pass == SPCONV_DGRAD && dtype == SPCONV_F16)
                    with_impl(&o, impl_at(k), try_masked);
            }
            if (pass == SPCONV_FORWARD && m->same && cin == 64)
                with_impl(&o, spconv_find("implicit_s1"), try_planted);
            operands_close(&o);
        }
}

/* Sums of wgrad over more pairs than a surface of few voxels has; such counts, no multiple of any
 * tile, as a library is known to have left the last terms of. */
static void try_long(struct cb_device *d)
{
    enum { ROWS = 194308, SIDE = 46106, TAPS = 3, C = 64 };
    struct scene_map m = { .in = ROWS, .out = ROWS, .taps = TAPS, .same = 1,
                           .pairs = ROWS + 2 * SIDE };
    const size_t cells = (size_t)ROWS * TAPS;
    m.by_out = malloc(cells * sizeof *m.by_out);
    m.by_in = malloc(cells * sizeof *m.by_in);
    m.start = calloc(TAPS + 1, sizeof *m.start);
    m.pair_in = malloc((size_t)m.pairs * sizeof *m.pair_in);
    m.pair_out = malloc((size_t)m.pairs * sizeof *m.pair_out);
    memset(m.by_out, 0xff, cells * sizeof *m.by_out);
    memset(m.by_in, 0xff, cells * sizeof *m.by_in);
    for (int t = 0, e = 0; t < TAPS; m.start[++t] = e)
        for (int k = t == 0; k < (t == 1 ? ROWS : SIDE + (t == 0)); k++, e++) {
            const int j = k + t - 1;
            m.by_out[(size_t)k * TAPS + (size_t)t] = j;
            m.by_in[(size_t)j * TAPS + (size_t)t] = k;
            m.pair_in[e] = j;
            m.pair_out[e] = k;
        }
    struct operands o = { .d = d, .p = { ROWS, ROWS, C, C, TAPS, m.pairs, 1, SPCONV_WGRAD,
                                         SPCONV_F16 } };
    operands_open(&o, &m, true);
    for (int k = 0; impl_at(k); k++)
        with_impl(&o, impl_at(k), try_exact);
    operands_close(&o);
    scene_map_free(&m);
}

static void try_all(struct cb_device *d)
{
    static const struct {
        int n, kernel, cin, cout;
    } shapes[] = { { 1, 3, 64, 64 },      { 5, 3, 16, 16 },      { 128, 3, 64, 64 },
                   { 129, 2, 32, 64 },    { 700, 3, 4, 64 },     { 700, 3, 6, 16 },
                   { 900, 3, 7, 5 },      { 3000, 3, 64, 64 },   { 3000, 2, 64, 64 },
                   { 3000, 3, 16, 32 },   { 2000, 3, 32, 32 },   { 2500, 3, 96, 96 },
                   { 2500, 3, 64, 128 },  { 4000, 3, 128, 128 }, { 2500, 2, 128, 256 },
                   { 3000, 3, 256, 256 }, { 1500, 3, 192, 128 }, { 1500, 3, 384, 256 },
                   { 1500, 3, 48, 80 },   { 20000, 3, 64, 64 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int n = shapes[i].n;
        struct scene_voxel *v = scene_surface(&n);
        struct scene_map m = scene_map_make(v, n, shapes[i].kernel);
        for (int splits = 1; splits <= 3; splits++) {
            try_plan(d, &m, splits);
            try_parts(d, &m, splits);
        }
        for (int splits = 1; splits <= 3 && n > 200 && n < 4000; splits++)
            if (cb_device_info(d)->sm == 90)
                try_layer(d, &m, splits);
        try_map(d, &m, shapes[i].cin, shapes[i].cout);
        scene_map_free(&m);
        free(v);
    }
    try_long(d);
    printf("%d implementations on problems, %d wrong\n", tried, wrong);
}

/* The rows, plans, layers and forms of own that are no rows. */
static void try_tiny(struct cb_device *d)
{
    int n = 500;
    struct scene_voxel *v = scene_surface(&n);
    struct scene_map m = scene_map_make(v, n, 3);
    tiny_op(d, "spconv");
    for (int splits = 1; splits <= 3; splits += 2) {
        try_plan(d, &m, splits);
        if (cb_device_info(d)->sm == 90)
            try_layer(d, &m, splits);
    }
    for (int c = 16; c <= 256; c *= 2) {
        struct operands o = { .d = d, .p = { m.in, m.out, c, c, m.taps, m.pairs, m.same,
                                             SPCONV_FORWARD, SPCONV_F16 } };
        operands_open(&o, &m, true);
        for (const struct spconv_impl *i = spconv_variants; i->base.name; i++)
            with_impl(&o, i, try_exact);
        operands_close(&o);
        o = (struct operands){ .d = d, .p = o.p };
        o.p.pass = SPCONV_DGRAD;
        operands_open(&o, &m, true);
        for (int k = 0; test_takes() && impl_at(k); k++)
            with_impl(&o, impl_at(k), try_masked);
        operands_close(&o);
    }
    scene_map_free(&m);
    free(v);
}

/* ---- times ---- */

struct timed {
    struct operands *o;
    const struct spconv_impl *i;
    void *state;
};

static int enqueue(void *arg, int step)
{
    const struct timed *t = arg;
    (void)step;
    return t->i->run(&t->o->p, &t->o->a, t->state, cb_device_stream(t->o->d)) == OP_OK ? 0 : -1;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void time_one(struct operands *o, const struct spconv_impl *i, void *state)
{
    enum { WINDOWS = 9, LAUNCHES = 20 };
    struct timed t = { o, i, state };
    struct spconv_counts counts = { (double)o->p.pairs, 0 };
    struct cb_graph *graph = NULL;
    double us[WINDOWS];
    struct cb_window w;
    if (cb_graph_make(o->d, enqueue, &t, LAUNCHES, &graph))
        graph = NULL;
    for (int k = -2; k < WINDOWS; k++) {
        const int status = graph ? cb_graph_window(o->d, graph, true, &w)
                                 : cb_window(o->d, enqueue, &t, 0, LAUNCHES, true, &w);
        if (status) {
            describe(o, i);
            printf(": %s\n", cb_error_text());
            exit(1);
        }
        if (k >= 0)
            us[k] = w.us / LAUNCHES;
    }
    cb_graph_free(o->d, graph);
    qsort(us, WINDOWS, sizeof *us, by_value);
    if (i->counts)
        i->counts(&o->p, state, &counts);
    const struct cb_accuracy a = compare(o, i->half_sums ? o->loose : o->bound);
    describe(o, i);
    printf(": %9.2f us  %6.1f TFLOP/s  executed/useful %.2f  error %.2e  bad %ld\n",
           us[WINDOWS / 2],
           2e-6 * (double)o->p.pairs * o->p.cin * o->p.cout / us[WINDOWS / 2],
           counts.slots / (double)o->p.pairs, a.rel_fro, a.bad);
    fflush(stdout);
}

static void time_layer(struct cb_device *d, const struct scene_map *m, int cin, int cout,
                       enum spconv_pass pass, enum spconv_dtype dtype, const char *name)
{
    struct operands o = { .d = d, .p = { m->in, m->out, cin, cout, m->taps, m->pairs, m->same, pass,
                                         dtype } };
    operands_open(&o, m, false);
    for (int k = 0; impl_at(k); k++)
        if (!strncmp(impl_at(k)->base.name, name, strlen(name)))
            with_impl(&o, impl_at(k), time_one);
    operands_close(&o);
}

/* The layers that own is tuned for: at each stride those of MinkUNet-1x and 0.5x, to the next
 * stride and back; the same of a part of the scan, where what is left are few tiles. */
static void time_variants(struct cb_device *d, const char *path)
{
    static const int width[] = { 64, 64, 128, 256, 256 }, few[] = { 300, 2100, 5000 };
    static const int narrow[] = { 4, 16, 32 };
    int n;
    struct scene_voxel *v = scene_scan(path, 4, .05f, &n);
    if (!v) {
        SKIP("gpu_spconv time: no scan");
        return;
    }
    for (int level = 0; level < 5; level++) {
        const int c = width[level];
        struct scene_map m = scene_map_make(v, n, 3);
        printf("stride %d: %d voxels, %ld pairs\n", 1 << level, n, m.pairs);
        time_layer(d, &m, c, c, SPCONV_FORWARD, SPCONV_F16, "own");
        for (int k = 0; level == 0 && k < 3; k++)
            time_layer(d, &m, narrow[k], k ? narrow[k] : 32, SPCONV_FORWARD, SPCONV_F16, "own");
        if (level == 2)
            time_layer(d, &m, 96, 96, SPCONV_FORWARD, SPCONV_F16, "own");
        scene_map_free(&m);
        m = scene_map_make(v, n, 2);
        time_layer(d, &m, c, c, SPCONV_FORWARD, SPCONV_F16, "own");
        time_layer(d, &m, c, c, SPCONV_DGRAD, SPCONV_F16, "own");
        scene_map_free(&m);
        for (int k = 0; level == 3 && k < 3; k++) {
            m = scene_map_make(v, few[k], 3);
            printf("stride %d, a part: %d voxels, %ld pairs\n", 1 << level, few[k], m.pairs);
            for (int wide = 32; wide <= 256; wide *= 2)
                time_layer(d, &m, wide, wide, SPCONV_FORWARD, SPCONV_F16, "own");
            scene_map_free(&m);
        }
        scene_halve(v, &n);
    }
    free(v);
}

static void time_scan(struct cb_device *d, const char *path, const char *name)
{
    static const int width[] = { 64, 64, 128, 256, 256 }; /* at strides 1, 2, 4, 8, 16 */
    int n;
    struct scene_voxel *v = scene_scan(path, 4, .05f, &n);
    if (!v) {
        SKIP("gpu_spconv time: no scan");
        return;
    }
    for (int level = 0; level < 5; level++) {
        const int c = width[level];
        struct scene_map m = scene_map_make(v, n, 3);
        printf("stride %d: %d voxels, %ld pairs\n", 1 << level, n, m.pairs);
        for (int pass = 0; pass < 3; pass++)
            time_layer(d, &m, c, c, (enum spconv_pass)pass, SPCONV_F16, name);
        if (level == 0)
            time_layer(d, &m, 4, 64, SPCONV_FORWARD, SPCONV_F16, name);
        if (level == 2) {
            time_layer(d, &m, c, c, SPCONV_FORWARD, SPCONV_TF32, name);
            time_layer(d, &m, c, c, SPCONV_FORWARD, SPCONV_F32, name);
        }
        scene_map_free(&m);
        m = scene_map_make(v, n, 2);
        time_layer(d, &m, c, c, SPCONV_FORWARD, SPCONV_F16, name);
        scene_map_free(&m);
        scene_halve(v, &n);
    }
    free(v);
}
#endif

int main(int argc, char **argv)
{
#ifdef WITH_CUDA
    struct cb_device *d;
    char path[DATA_PATH];
    if (cb_device_open("cuda:0", &d)) {
        SKIP("gpu_spconv: no GPU");
        return TEST_END();
    }
    data_find("pointcloud", "semantickitti_000000.bin", path);
    if (argc > 2 && strcmp(argv[2], "-"))
        snprintf(path, sizeof path, "%s", argv[2]);
    if (argc > 3 && !strcmp(argv[1], "time") && !strcmp(argv[3], "variants"))
        time_variants(d, path);
    else if (argc > 1 && !strcmp(argv[1], "time"))
        time_scan(d, path, argc > 3 ? argv[3] : "");
    else if (test_tiny())
        try_tiny(d);
    else
        try_all(d);
    cb_device_close(d);
#else
    (void)argc, (void)argv;
    SKIP("gpu_spconv: built without CUDA");
#endif
    return TEST_END();
}
