/*
 * gpu_attn.c - every implementation of attn against double precision on shapes that tiles,
 * pages and splits do not fit, lengths of all kinds; codes of the GPU and of the host, to the
 * bit; and that the check sees faults planted in the cache.
 *
 * Runs on the first GPU, and the rows of the host where there is none.  `gpu_attn quick` takes
 * every third shape, `gpu_attn few` every sixth; TEST_TINY: tiny.h.  `gpu_attn sweep` prints
 * microseconds of own kernels instead, out of cache, for every shape of block and some numbers of
 * splits: what the constants of split_plan.h are taken from.
 */
#include <stdlib.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../kernels/attn/kernels.h"
#include "../suites/ops/attn_part.h"
#include "../suites/suite.h"
#include "graph_median.h"
#include "test.h"
#include "tiny.h"

static int tried, wrong;

static void try_case(struct cb_context *c, const struct cb_op *op, json_t *params)
{
    if (!test_takes()) {
        json_decref(params);
        return;
    }
    const struct op_impl *impl[64], *i;
    int count = 0;
    struct cb_case out;
    void *p = calloc(1, op->params_size);
    char label[CB_ID_MAX];
    for (int k = 0; count < 63 && (i = op->impl(k)); k++)
        impl[count++] = i;
    impl[count] = NULL;
    CHECK(!cb_params_from_json(op, params, p));
    cb_params_label(op, p, label, sizeof label);
    int lost = cb_run_case(c, op, p, impl, &out);
    CHECK(!lost);
    if (lost)
        printf("%s: %s\n", label, cb_error_text());
    for (int k = 0; k < out.count; k++) {
        const struct cb_outcome *o = &out.out[k];
        if (o->status == CB_SKIPPED || o->status == CB_UNSUPPORTED)
            continue;
        tried++;
        printf("%s: %s: r1 %.2e r2 %.2e\n", label, o->impl->name, o->r1.rel_fro, o->r2.rel_fro);
        if (o->status != CB_OK) {
            wrong++;
            printf("%s: %s: %s: %s\n", label, o->impl->name, cb_status_name(o->status), o->reason);
        }
        CHECK(o->status == CB_OK);
    }
    cb_case_free(&out);
    free(p);
    json_decref(params);
    if (lost)
        exit(1);
}

/* ---- faults ---- */

static const struct attn_impl *find(const char *name)
{
    const struct attn_impl *const table[] = { attn_references, attn_kernels, attn_baselines };
    for (int t = 0; t < 3; t++)
        for (const struct attn_impl *i = table[t]; i->base.name; i++)
            if (!strcmp(i->base.name, name))
                return i;
    return NULL;
}

/* Set-up of a row's own kernel with a plan; any row with NULL. */
static enum op_status set_up(const struct attn_operands *o, const struct attn_impl *i,
                             const struct split_choice *plan, const struct attn_args *a,
                             const struct op_memory *memory, void **state)
{
    const op_stream stream = cb_device_stream(o->device);
#ifdef WITH_CUDA
    static attn_setup_as_fn *const as[ATTN_SCHEMES] = {
        [ATTN_KV16] = attn_kv16_setup_as,
        [ATTN_KV8] = attn_kv8_setup_as,
        [ATTN_KV8_STATIC] = attn_kv8_static_setup_as,
        [ATTN_KV4] = attn_kv4_setup_as,
    };
    if (plan)
        return as[i->scheme](&o->p, a, plan, memory, stream, state);
#endif
    (void)plan;
    return i->setup ? i->setup(&o->p, a, memory, stream, state) : OP_OK;
}

/* Runs one row, `runs` times, on operands whose reference is known; elements out of their
 * bounds. */
static long off(const struct attn_operands *o, const struct attn_expectation *e,
                const struct attn_impl *i, const struct split_choice *plan, int runs)
{
    struct op_pool pool = { .device = o->device };
    struct op_memory memory = op_pool_memory(&pool);
    const struct attn_args a = attn_operands_at(o, i->scheme, 0, 0);
    struct cb_accuracy r1 = { .worst = -1 }, r2 = { .worst = -1 };
    void *state = NULL;
    const enum op_status s = set_up(o, i, plan, &a, &memory, &state);
    CHECK(s == OP_OK);
    for (int k = 0; s == OP_OK && k < runs; k++) {
        cb_fill(o->device, a.out, 0xff, 2 * attn_out_count(&o->p));
        CHECK(i->run(&o->p, &a, state, cb_device_stream(o->device)) == OP_OK);
    }
    CHECK(!cb_sync(o->device) && !attn_expectation_check(e, o, i, 0, &r1, &r2));
    if (i->teardown)
        i->teardown(state);
    op_pool_free(&pool);
    return r1.bad + r1.nonfinite;
}

/* The address in the table of sequence b's page with its token t. */
static char *page_at(const struct attn_operands *o, enum attn_scheme s, int b, int which, int t)
{
    const size_t width = (size_t)attn_table_pages(&o->p);
    char *page = NULL;
    CHECK(!cb_download(o->device, &page,
                       (char *)o->table[s].set[0] +
                           (((size_t)b * 2 + (size_t)which) * width + (size_t)(t / o->p.page)) *
                               sizeof page,
                       sizeof page));
    return page;
}

/* One byte of one key or value, of the last token, is turned: each must be seen. */
static void try_faults(struct cb_device *d, const char *name)
{
    const struct attn_impl *i = find(name);
    struct attn_operands o = { .device = d, .p = { 2, 8, 2, 128, 70, 64, 0 }, .made = { 0, 3 } };
    struct attn_expectation e = { .device = d };
    if (!i || !i->run)
        return;
    CHECK(!attn_operands_open(&o) && !attn_operands_make(&o, 1u << i->scheme, 1, 1));
    CHECK(!attn_expectation_open(&e, &o, 1u << i->scheme) && !attn_expectation_compute(&e, &o, 0, 0));
    CHECK(off(&o, &e, i, NULL, 1) == 0);
    for (int which = 0; which < 2; which++) {
        char *const at = page_at(&o, i->scheme, 1, which, 69) +
                         attn_data_at(i->scheme, 128, 64, 1, 69 % 64);
        unsigned char kept[8], turned[8];
        CHECK(!cb_download(d, kept, at, sizeof kept));
        for (size_t k = 0; k < sizeof kept; k++)
            turned[k] = kept[k] ^ (i->scheme == ATTN_KV4 ? 0x88 : 0x80);
        CHECK(!cb_upload(d, at, turned, sizeof turned));
        CHECK(off(&o, &e, i, NULL, 1) > 0);
        CHECK(!cb_upload(d, at, kept, sizeof kept));
    }
    CHECK(off(&o, &e, i, NULL, 1) == 0);
    attn_expectation_close(&e);
    attn_operands_close(&o);
}

/* ---- plans ---- */

#ifdef WITH_CUDA
static const char *const own[] = { "kv4_own", "kv8_own", "kv8_static_own", "kv16_split" };

/* Every shape of block, whole sequences and split ones, twice, as counters must be 0 again. */
static void try_plans(struct cb_device *d, const struct attn_problem *p, int spread)
{
    struct attn_operands o = { .device = d, .p = *p, .made = { spread, 5 } };
    struct attn_expectation e = { .device = d };
    const unsigned all = (1u << ATTN_SCHEMES) - 1;
    CHECK(!attn_operands_open(&o) && !attn_operands_make(&o, all, 1, 1));
    CHECK(!attn_expectation_open(&e, &o, all) && !attn_expectation_compute(&e, &o, 0, 0));
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        for (int shape = 0; shape < SPLIT_SHAPES; shape++)
            for (int splits = 1; splits < 50; splits *= 6)
                CHECK(off(&o, &e, find(own[i]), &(struct split_choice){ shape, splits }, 2) == 0);
    attn_expectation_close(&e);
    attn_operands_close(&o);
}

struct timed {
    const struct attn_operands *o;
    const struct attn_impl *i;
    void *state[64];
    int sets;
};

static int enqueue(void *arg, int step)
{
    const struct timed *t = arg;
    const struct attn_args a = attn_operands_at(t->o, t->i->scheme, step % t->sets, step % t->sets);
    return op_result(t->i->run(&t->o->p, &a, t->state[step % t->sets], cb_device_stream(t->o->device)),
                     t->i->base.name, "run");
}

static void time_plan(const struct attn_operands *o, const struct attn_impl *i,
                      const struct split_choice *plan, int sets)
{
    struct op_pool pool = { .device = o->device };
    struct op_memory memory = op_pool_memory(&pool);
    struct timed t = { .o = o, .i = i, .sets = sets };
    enum op_status s = OP_OK;
    for (int k = 0; s == OP_OK && k < sets; k++) {
        const struct attn_args a = attn_operands_at(o, i->scheme, k, k);
        t.state[k] = k ? t.state[0] : NULL;
        s = set_up(o, i, plan, &a, &memory, &t.state[k]);
    }
    if (s == OP_OK)
        printf(" %6.1f", graph_median(o->device, enqueue, &t, 4 * sets));
    else
        printf("      -");
    for (int k = 0; k < sets; k++)
        attn_split_teardown(t.state[k]);
    op_pool_free(&pool);
}

/* One line a kernel: its own plan, then the shapes of block with some numbers of splits. */
static void sweep(struct cb_device *d, const struct attn_problem *p)
{
    static const int splits[] = { 1, 2, 4, 16, 32 };
    enum { CASES = sizeof splits / sizeof *splits };
    struct attn_operands o = { .device = d, .p = *p, .made = { 0, 5 } };
    CHECK(!attn_operands_open(&o));
    const double bytes = attn_cache_bytes(&o.p, ATTN_KV4);
    const int sets = bytes > 150e6 ? 2 : bytes > 30e6 ? 5 : 16;
    CHECK(!attn_operands_make(&o, 1u << ATTN_KV4 | 1u << ATTN_KV8, sets, sets));
    for (size_t i = 0; i < 2; i++) {
        const struct attn_impl *const row = find(own[i]);
        printf("%s heads %d/%d batch %d length %d, bytes alone %.1f us: plan", own[i], p->heads,
               p->kv_heads, p->batch, p->length, attn_cache_bytes(&o.p, row->scheme) / 4.54e6);
        time_plan(&o, row, NULL, sets);
        for (int shape = 0; shape < SPLIT_SHAPES; shape++) {
            printf(" | shape %d", shape);
            for (int k = 0; k < CASES && (k == 0 || splits[k] * 64 <= p->length); k++) {
                printf(" /%d", splits[k]);
                time_plan(&o, row, &(struct split_choice){ shape, splits[k] }, sets);
            }
        }
        printf("\n");
        fflush(stdout);
    }
    attn_operands_close(&o);
}
#endif

/* ---- codes ---- */

#ifdef WITH_CUDA
static void try_codes(struct cb_device *gpu, enum attn_scheme s, int head_dim)
{
    const struct attn_problem p = { 1, 3, 3, head_dim, 320, 32, 0 };
    const int count = 10;
    const size_t from = (size_t)count * attn_page_bytes(ATTN_KV16, 3, head_dim, 32);
    const size_t to = (size_t)count * attn_page_bytes(s, 3, head_dim, 32);
    const float scale[2] = { 0.03f, 0.02f };
    half_bits *x = malloc(from);
    unsigned char *want = malloc(to), *got = malloc(to);
    void *x_device, *codes, *scale_device;
    for (size_t k = 0; k < from / 2; k++) {
        const size_t row = k / (size_t)head_dim;
        const float v = cb_random_at(CB_NORMAL, 5, 1, 0, k);
        x[k] = half_from_float(row % 7 == 0   ? 3.5f              /* all the same */
                               : row % 7 == 1 ? 30000 + 20 * v    /* far from 0 */
                               : row % 7 == 2 ? v * 0x1p-20f      /* below normal halves */
                               : row % 7 == 3 ? -fabsf(v)
                                              : v);
    }
    CHECK(attn_quantise(&p, s, x, count, scale, 1, want) == OP_OK);
    CHECK(!cb_alloc(gpu, from, &x_device) && !cb_alloc(gpu, to, &codes) &&
          !cb_alloc(gpu, sizeof scale, &scale_device) && !cb_upload(gpu, x_device, x, from) &&
          !cb_upload(gpu, scale_device, scale, sizeof scale));
    CHECK(attn_quantise_cuda(&p, s, x_device, count, scale_device, 1, codes,
                             cb_device_stream(gpu)) == OP_OK);
    CHECK(!cb_sync(gpu) && !cb_download(gpu, got, codes, to));
    CHECK(!memcmp(got, want, to));
    cb_free(gpu, x_device);
    cb_free(gpu, codes);
    cb_free(gpu, scale_device);
    free(x);
    free(want);
    free(got);
}
#endif

int main(int argc, char **argv)
{
    const size_t step = argc < 2 ? 1 : !strcmp(argv[1], "quick") ? 3 : 6;
    /* batch, heads, kv_heads, head_dim, length, page, spread */
    static const int shapes[][7] = {
        { 1, 1, 1, 128, 1, 64, 0 },       { 1, 8, 8, 128, 64, 64, 0 },
        { 3, 8, 2, 128, 63, 64, 0 },      { 2, 6, 2, 64, 65, 64, 0 },
        { 2, 8, 1, 96, 130, 64, 0 },      { 4, 16, 2, 128, 255, 64, 90 },
        { 1, 32, 8, 128, 1000, 64, 0 },   { 2, 9, 1, 128, 257, 64, 0 },
        { 2, 32, 2, 128, 512, 64, 50 },   { 2, 20, 1, 64, 300, 64, 0 },
        { 5, 4, 4, 128, 777, 64, 100 },   { 3, 12, 3, 96, 400, 16, 70 },
        { 2, 8, 8, 64, 333, 32, 60 },     { 2, 8, 4, 128, 500, 48, 60 },
        { 1, 16, 1, 128, 2047, 64, 0 },   { 1, 16, 2, 128, 2048, 64, 0 },
        { 1, 8, 8, 96, 1024, 128, 0 },    { 1, 32, 8, 128, 8000, 64, 0 },
        { 40, 8, 8, 128, 200, 64, 99 },   { 300, 2, 1, 128, 97, 64, 99 },
        { 1, 17, 1, 128, 3001, 64, 0 },   { 7, 8, 8, 64, 1500, 80, 100 },
        { 33, 32, 8, 128, 640, 64, 30 },  { 2, 64, 8, 128, 1280, 64, 0 } };
    const struct cb_policy policy = { .name = "exact", .invocations = 1, .rotate_l2 = 2, .flush_l2 = 3,
                                      .executions_max = 64 };
    struct cb_context c = { .policy = &policy, .cache = CB_HOT, .seed = 11, .order_seed = 5,
                            .once = true, .aa = -1 };
    int status = cb_device_open("auto", &c.device);
    CHECK(!status);
    if (status)
        return TEST_END();
    const bool gpu = cb_device_info(c.device)->sm > 0;
    if (!gpu)
        SKIP("gpu_attn: no GPU, rows of the host only");
#ifdef WITH_CUDA
    if (gpu && argc > 1 && !strcmp(argv[1], "sweep")) {
        /* batch, heads, kv_heads, length */
        static const int cases[][4] = {
            { 64, 32, 32, 1024 }, { 256, 32, 8, 1280 }, { 96, 64, 8, 1280 }, { 1, 32, 8, 8000 },
            { 64, 32, 32, 128 },  { 64, 32, 32, 256 },  { 64, 32, 32, 512 }, { 16, 32, 8, 1280 } };
        for (size_t t = 0; t < sizeof cases / sizeof *cases; t++) {
            const int *const n = cases[t];
            sweep(c.device, &(struct attn_problem){ n[0], n[1], n[2], 128, n[3], 64, 0 });
        }
        cb_device_close(c.device);
        return TEST_END();
    }
#endif
    if (gpu && test_tiny()) {
        tiny_op(c.device, "attn");
        tiny_op(c.device, "attn_prefill");
#ifdef WITH_CUDA
        for (int s = ATTN_KV8; s < ATTN_SCHEMES; s++)
            try_codes(c.device, (enum attn_scheme)s, 96);
        if (cb_device_info(c.device)->sm >= 80)
            try_plans(c.device, &(struct attn_problem){ 2, 8, 2, 128, 300, 64, 0 }, 60);
#endif
        cb_device_close(c.device);
        return TEST_END();
    }
    for (size_t t = 0; t < sizeof shapes / sizeof *shapes; t += step) {
        const int *s = shapes[t];
        if (!gpu && (double)s[0] * s[1] * s[3] * s[4] > 3e6)
            continue;
        try_case(&c, suite_op("attn"),
                 json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "batch", s[0], "heads", s[1],
                           "kv_heads", s[2], "head_dim", s[3], "length", s[4], "page", s[5],
                           "spread", s[6]));
    }
    /* batch, heads, kv_heads, head_dim, length, page */
    static const int prompts[][6] = { { 1, 1, 1, 128, 64, 64 },   { 2, 4, 2, 64, 80, 16 },
                                      { 1, 6, 2, 96, 192, 64 },   { 3, 4, 4, 128, 144, 48 },
                                      { 2, 8, 1, 128, 704, 64 },  { 1, 2, 1, 128, 2048, 64 } };
    for (size_t t = 0; t < sizeof prompts / sizeof *prompts; t += step > 3 ? 3 : 1) {
        const int *s = prompts[t];
        if (gpu || s[4] < 200)
            try_case(&c, suite_op("attn_prefill"),
                     json_pack("{s:i,s:i,s:i,s:i,s:i,s:i}", "batch", s[0], "heads", s[1],
                               "kv_heads", s[2], "head_dim", s[3], "length", s[4], "page", s[5]));
    }
    static const char *const on_host[] = { "ref_kv16", "ref_kv8", "ref_kv8_static", "ref_kv4" };
    static const char *const on_gpu[] = { "kv4_own",    "kv8_own",       "kv8_static_own",
                                          "kv16_split", "kv4_published", "kv8_published" };
    if (gpu)
        for (size_t i = 0; i < sizeof on_gpu / sizeof *on_gpu; i++)
            try_faults(c.device, on_gpu[i]);
    else
        for (size_t i = 0; i < sizeof on_host / sizeof *on_host; i++)
            try_faults(c.device, on_host[i]);
#ifdef WITH_CUDA
    if (gpu) {
        static const struct attn_problem planned[] = { { 3, 8, 8, 128, 777, 64, 0 },
                                                       { 2, 16, 2, 128, 1030, 32, 0 },
                                                       { 2, 18, 2, 128, 600, 48, 0 },
                                                       { 2, 12, 3, 96, 400, 16, 0 },
                                                       { 3, 8, 2, 64, 555, 64, 0 },
                                                       { 1, 24, 2, 64, 1111, 64, 0 } };
        for (size_t t = 0; t < sizeof planned / sizeof *planned; t++)
            try_plans(c.device, &planned[t], t % 2 ? 90 : 0);
    }
    if (gpu)
        for (int s = ATTN_KV8; s < ATTN_SCHEMES; s++)
            for (int head_dim = 64; head_dim <= 128; head_dim += 32)
                try_codes(c.device, (enum attn_scheme)s, head_dim);
#endif
    cb_device_close(c.device);
    printf("%d executions of implementations, %d wrong\n", tried, wrong);
    return TEST_END();
}
