/*
 * gpu_quant.c - every row of quant on inputs that nothing rounds and on normal ones, on shapes
 * that vectors, warps, blocks and clusters do not fit; every shape of the own kernels; rows in
 * which all is 0; that two kernels with halves between give the bits of one, or nearly.
 *
 * Runs on the first GPU, and on the host where there is none (then only the host's row is tried,
 * which is said).  `gpu_quant forms` checks the shapes and forms of the own kernels only;
 * `gpu_quant sweep [kernel [tokens]]` times them instead, out of cache.
 */
#include <math.h>
#include <stdlib.h>

#include "../harness/bench.h"
#include "../harness/error.h"
#include "../harness/params.h"
#include "../kernels/quant/own.h"
#include "../suites/suite.h"
#include "quant_forms.h"
#include "test.h"
#include "tiny.h"

static int tried, wrong;

/* Rows of the table, or one that is not in it. */
static void try_case(struct cb_context *c, const struct cb_op *op, const struct op_impl *row,
                     json_t *params)
{
    if (!test_takes()) {
        json_decref(params);
        return;
    }
    const struct op_impl *impl[16], *i;
    struct cb_case out;
    void *p = calloc(1, op->params_size);
    char label[CB_ID_MAX];
    int count = 0;
    while (count < 15 && (i = row ? count ? NULL : row : op->impl(count)))
        impl[count++] = i;
    impl[count] = NULL;
    CHECK(!cb_params_from_json(op, params, p));
    cb_params_label(op, p, label, sizeof label);
    const int lost = cb_run_case(c, op, p, impl, &out);
    CHECK(!lost);
    if (lost)
        printf("%s: %s\n", label, cb_error_text());
    for (int k = 0; k < out.count; k++) {
        const struct cb_outcome *o = &out.out[k];
        if (o->status == CB_SKIPPED || o->status == CB_UNSUPPORTED)
            continue;
        tried++;
        if (o->status != CB_OK || !(o->deterministic || o->ran_once)) {
            wrong++;
            printf("%s: %s: %s: %s%s\n", label, o->impl->name, cb_status_name(o->status), o->reason,
                   o->deterministic || o->ran_once ? "" : " (not the same twice)");
        }
        CHECK(o->status == CB_OK && (o->deterministic || o->ran_once));
    }
    cb_case_free(&out);
    free(p);
    json_decref(params);
    if (lost)
        exit(1);
}

static void try_rows(struct cb_context *c, const struct cb_op *op)
{
    static const char *const kernel[] = { "plain", "norm", "add_norm", "silu", "add" };
    static const int shapes[][2] = { { 1, 8 },       { 1, 1 },       { 3, 7 },       { 2, 24 },
                                     { 5, 100 },     { 33, 256 },    { 7, 1000 },    { 4, 1032 },
                                     { 1, 4096 },    { 16, 4096 },   { 9, 4104 },    { 3, 5120 },
                                     { 2, 8192 },    { 2, 8200 },    { 17, 11008 },  { 5, 14336 },
                                     { 3, 13824 },   { 1, 16392 },   { 2, 28672 },   { 3, 32776 },
                                     { 1, 65536 },   { 700, 4096 },  { 300, 8192 },  { 260, 11008 },
                                     { 200, 14336 }, { 150, 20480 }, { 100, 28672 }, { 80, 40960 },
                                     { 1500, 1024 }, { 2000, 64 } };
    for (size_t k = 0; k < sizeof kernel / sizeof *kernel; k++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int exact = 0; exact < 2; exact++) {
                c->exact = exact;
                try_case(c, op, NULL,
                         json_pack("{s:s,s:i,s:i}", "kernel", kernel[k], "m", shapes[s][0], "n",
                                   shapes[s][1]));
            }
}

static json_t *heads_params(const int shape[6], int bits)
{
    return json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "kernel", "rope_kv", "m", shape[0],
                     "length", shape[1], "heads", shape[2], "kv_heads", shape[3], "head_dim",
                     shape[4], "page", shape[5], "bits", bits);
}

static void try_heads(struct cb_context *c, const struct cb_op *op)
{
    /* m, length, heads, kv_heads, head_dim, page */
    static const int shapes[][6] = { { 1, 1, 32, 32, 128, 64 },    { 3, 1, 32, 8, 128, 64 },
                                     { 64, 1, 8, 8, 64, 64 },      { 130, 65, 8, 2, 128, 64 },
                                     { 99, 33, 9, 3, 64, 16 },     { 34, 17, 6, 1, 96, 32 },
                                     { 5, 5, 3, 3, 32, 16 },       { 70, 35, 4, 2, 256, 16 },
                                     { 600, 300, 64, 8, 128, 64 }, { 1200, 1200, 4, 4, 160, 64 } };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int bits = 4; bits <= 8; bits += 4)
            for (int exact = 0; exact < 2; exact++) {
                c->exact = exact;
                try_case(c, op, NULL, heads_params(shapes[s], bits));
            }
}

#ifdef WITH_CUDA
/* ---- forms that are not the ones chosen, by the checks of the operator ---- */

/* One case of chosen_form; under a sanitizer, if it is of the part. */
static void try_form(struct cb_context *c, const struct cb_op *op, json_t *params)
{
    static int turn;
    int part;
    const int parts = tiny_parts(&part);
    if (turn++ % parts == part)
        try_case(c, op, &quant_form_row.base, params);
    else
        json_decref(params);
}

static void try_row_forms(struct cb_context *c, const struct cb_op *op)
{
    static const char *const kernel[] = { "plain", "norm", "add_norm", "silu" };
    /* the last has more rows than the device takes at once, and is for forms that ask ahead */
    static const int shapes[][2] = { { 3, 1000 }, { 5, 4096 },  { 40, 8192 }, { 3, 11008 },
                                     { 2, 8 },    { 2, 28672 }, { 40, 4104 }, { 3500, 1024 } };
    const int step = test_tiny() ? 2 : 1, far = test_tiny() ? 3 : 1; /* of forms; of shapes */
    const size_t count = test_tiny() ? 4 : sizeof shapes / sizeof *shapes;
    for (size_t k = 0; k < sizeof kernel / sizeof *kernel; k++)
        for (size_t s = 0; s < count; s += (size_t)far)
            for (int f = (int)k % step; quant_form_at(f, &chosen_form); f += step)
                for (int exact = 0; exact < 2; exact++) {
                    const bool asks = chosen_form.form == QUANT_LEAN_AHEAD;
                    if (!quant_has_form((enum quant_kernel)k, chosen_form.form) ||
                        asks != (shapes[s][0] == 3500) || (test_tiny() && exact != f / 2 % 2))
                        continue;
                    c->exact = exact;
                    try_form(c, op,
                             json_pack("{s:s,s:i,s:i}", "kernel", kernel[k], "m", shapes[s][0], "n",
                                       shapes[s][1]));
                }
}

static void try_head_forms(struct cb_context *c, const struct cb_op *op)
{
    /* m, length, heads, kv_heads, head_dim, page */
    static const int shapes[][6] = { { 3, 1, 32, 8, 128, 64 },     { 34, 17, 6, 1, 96, 32 },
                                     { 99, 33, 9, 3, 64, 16 },     { 5, 5, 3, 3, 32, 16 },
                                     { 70, 35, 4, 2, 256, 16 },    { 130, 65, 32, 32, 128, 64 },
                                     { 600, 300, 64, 8, 128, 64 }, { 1200, 1200, 4, 4, 160, 64 } };
    for (size_t s = 0; s < (test_tiny() ? 2 : sizeof shapes / sizeof *shapes); s++)
        for (int f = 0; quant_form_at(f, &chosen_form); f += test_tiny() ? 3 : 1)
            for (int bits = 4; bits <= 8 && chosen_form.form == QUANT_HEADS; bits += 4) {
                c->exact = f / 2 % 2;
                try_form(c, op, heads_params(shapes[s], bits));
            }
}

/* ---- the own kernels by hand: operands of one launch ---- */

struct operands {
    struct cb_device *d;
    struct quant_problem p;
    struct quant_args a;
    void *halves; /* between two kernels */
};

static void *room(struct cb_device *d, size_t bytes)
{
    void *p = NULL;
    CHECK(!cb_alloc(d, bytes, &p) && !cb_fill(d, p, 0xA5, bytes));
    return p;
}

static struct operands open_operands(struct cb_device *d, enum quant_kernel kernel, int m, int n,
                                     bool zero)
{
    const size_t count = (size_t)m * (size_t)n;
    struct operands o = { .d = d, .p = { .kernel = kernel, .m = m, .n = n } };
    void *x = room(d, 4 * count), *residual = room(d, 2 * count), *gain = room(d, 2 * (size_t)n);
    CHECK(!cb_random(d, x, CB_F16, CB_NORMAL, 3, 1, 0, m, 2 * n, false));
    CHECK(!cb_random(d, residual, CB_F16, CB_NORMAL, 3, 2, 0, m, n, false));
    CHECK(!cb_random(d, gain, CB_F16, CB_NORMAL, 3, 3, 0, 1, n, false));
    if (zero)
        CHECK(!cb_fill(d, x, 0, 4 * count) && !cb_fill(d, residual, 0, 2 * count));
    o.a = (struct quant_args){ .x = x,
                               .residual = residual,
                               .gain = gain,
                               .y = room(d, 2 * count),
                               .code = room(d, count),
                               .scale = room(d, 2 * (size_t)m),
                               .sum = room(d, 2 * (size_t)m),
                               .code_sum = room(d, 4 * (size_t)m) };
    o.halves = room(d, 2 * count);
    return o;
}

static void close_operands(struct operands *o)
{
    void *all[] = {
        (void *)o->a.x, (void *)o->a.residual, (void *)o->a.gain, o->a.y, o->a.code, o->a.scale,
        o->a.sum,       o->a.code_sum,         o->halves
    };
    CHECK(!cb_sync(o->d) && !cb_guards_check(o->d));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cb_free(o->d, all[i]);
}

/* codes, scale, code sum and sum of all rows, one after another; the sum of values of a
 * normalised row is added up by threads and differs with their number */
static unsigned char *results(const struct operands *o, size_t *bytes)
{
    const size_t m = (size_t)o->p.m, n = (size_t)o->p.n;
    unsigned char *to = malloc(m * n + 8 * m);
    *bytes = m * n + 6 * m;
    CHECK(!cb_download(o->d, to, o->a.code, m * n) &&
          !cb_download(o->d, to + m * n, o->a.scale, 2 * m) &&
          !cb_download(o->d, to + m * n + 2 * m, o->a.code_sum, 4 * m) &&
          !cb_download(o->d, to + m * n + 6 * m, o->a.sum, 2 * m));
    return to;
}

static void poison(const struct operands *o)
{
    const size_t m = (size_t)o->p.m, n = (size_t)o->p.n;
    CHECK(!cb_fill(o->d, o->a.code, 0x5A, m * n) && !cb_fill(o->d, o->a.scale, 0x5A, 2 * m) &&
          !cb_fill(o->d, o->a.sum, 0x5A, 2 * m) && !cb_fill(o->d, o->a.code_sum, 0x5A, 4 * m));
}

static long different(const unsigned char *a, const unsigned char *b, size_t bytes)
{
    long count = 0;
    for (size_t i = 0; i < bytes; i++)
        count += a[i] != b[i];
    return count;
}

/* Every shape gives the bits of the shape that is chosen, but for the root of the mean square,
 * whose last bit hangs on the order of a sum: at most one code of 10000 moves with it; and for
 * SILU, whose reciprocal lean rows make otherwise. */
static void try_shapes(struct cb_device *d, enum quant_kernel kernel, int m, int n)
{
    if (!test_takes())
        return;
    struct operands o = open_operands(d, kernel, m, n, false);
    size_t bytes;
    CHECK(quant_own(&o.p, &o.a, NULL, cb_device_stream(d)) == OP_OK && !cb_sync(d));
    unsigned char *want = results(&o, &bytes);
    const bool norms = kernel == QUANT_NORM || kernel == QUANT_ADD_NORM;
    const double share = norms ? 1e-4 : kernel == QUANT_SILU ? 5e-4 : 0;
    const long allowed = share > 0 ? (long)(share * (double)bytes) + m : 0;
    struct quant_form_of f;
    for (int i = 0; quant_form_at(i, &f); i++) {
        const struct quant_shape shape = quant_form_shape(&o.p, f);
        if (!shape.threads)
            continue;
        poison(&o);
        CHECK(quant_own_with(&o.p, &o.a, shape, cb_device_stream(d)) == OP_OK && !cb_sync(d));
        unsigned char *got = results(&o, &bytes);
        const long off = different(got, want, bytes);
        CHECK(off <= allowed);
        if (off > allowed)
            printf("  kernel %d, m %d, n %d, %d vectors, %d blocks of %d: %ld bytes differ\n",
                   (int)kernel, m, n, shape.vectors, shape.blocks, shape.threads, off);
        free(got);
    }
    poison(&o);
    if (quant_unfused(&o.p, &o.a, o.halves, cb_device_stream(d)) == OP_OK) {
        CHECK(!cb_sync(d));
        unsigned char *got = results(&o, &bytes);
        CHECK(different(got, want, bytes) <= allowed);
        free(got);
    }
    free(want);
    close_operands(&o);
}

/* Rows of nothing but 0: codes 0, the scale of the least range, sums 0. */
static void try_zero(struct cb_device *d, enum quant_kernel kernel)
{
    struct operands o = open_operands(d, kernel, 3, 1000, true);
    size_t bytes;
    CHECK(quant_own(&o.p, &o.a, NULL, cb_device_stream(d)) == OP_OK && !cb_sync(d));
    unsigned char *got = results(&o, &bytes);
    for (size_t i = 0; i < bytes + 6; i++)
        if (i < 3000 || i >= 3006)
            CHECK(got[i] == 0 || (got[i] == 0x80 && i >= bytes));
    free(got);
    close_operands(&o);
}

static void try_own(struct cb_device *d)
{
    static const int shapes[][2] = { { 3, 8 },     { 5, 1000 },    { 2, 4096 },
                                     { 40, 4104 }, { 2, 8192 },    { 3, 11008 },
                                     { 2, 28672 }, { 300, 14336 }, { 3800, 4096 } };
    for (int k = QUANT_PLAIN; k <= QUANT_SILU; k++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s += test_tiny() ? 3 : 1)
            try_shapes(d, (enum quant_kernel)k, shapes[s][0], shapes[s][1]);
        try_zero(d, (enum quant_kernel)k);
    }
}
#endif

int main(int argc, char **argv)
{
    const struct cb_policy policy = {
        .name = "exact", .invocations = 1, .rotate_l2 = 2, .flush_l2 = 3, .executions_max = 64
    };
    struct cb_context c = {
        .policy = &policy, .cache = CB_HOT, .seed = 11, .order_seed = 5, .once = true, .aa = -1
    };
    const int status = cb_device_open("auto", &c.device);
    CHECK(!status);
    if (status)
        return TEST_END();
    const bool gpu = cb_device_info(c.device)->sm > 0;
    const bool only_sweep = argc > 1 && !strcmp(argv[1], "sweep");
    const bool only_forms = argc > 1 && !strcmp(argv[1], "forms");
    if (!gpu)
        SKIP("gpu_quant: no GPU, rows of the host only");
#ifdef WITH_CUDA
    if (gpu && cb_device_info(c.device)->sm == 90) {
        if (only_sweep) {
            CHECK(!quant_sweep(&c, argc > 2 ? argv[2] : NULL, argc > 3 ? atoi(argv[3]) : 0));
        } else {
            try_row_forms(&c, suite_op("quant"));
            try_head_forms(&c, suite_op("quant"));
            try_own(c.device);
        }
    } else if (gpu) {
        SKIP("gpu_quant: the own kernels need compute capability 9.0");
    }
#endif
    if (gpu && !only_sweep && !only_forms && test_tiny()) {
        tiny_op(c.device, "quant");
    } else if (!only_sweep && !only_forms) {
        try_rows(&c, suite_op("quant"));
        try_heads(&c, suite_op("quant"));
    }
    cb_device_close(c.device);
    printf("%d executions of implementations, %d wrong\n", tried, wrong);
    return TEST_END();
}
